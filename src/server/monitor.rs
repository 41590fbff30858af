//! The monitor: the answers to `/metrics`, `/healthz` and `/readyz`.

use super::ServerStats;
use super::metrics_text::metrics_text;
use crate::http::{Handler, Responder, Response, Status};
use crate::metrics::process::ProcessStart;
use crate::metrics::text_format::CONTENT_TYPE;
use crate::net::{BoundAddress, ListenError, listen_for_metrics, watch_tcp};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Weak;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::error;

/// The listener for metrics and health checks, whose task runs until this is stopped or dropped.
#[derive(Debug)]
pub(super) struct Monitor {
    address: BoundAddress,
    stop: CancellationToken,
    task: JoinHandle<()>,
    listener: Weak<TcpListener>,
}

/// Answers with the figures of a server.
struct MonitorPages {
    stats: ServerStats,
    start: ProcessStart,
}

impl Monitor {
    /// Listens on `address` and answers from now on. Needs a runtime.
    ///
    /// # Errors
    /// [`ListenError`] if the address can't be listened on.
    pub(super) fn start(address: SocketAddr, stats: ServerStats) -> Result<Self, ListenError> {
        let (listener, address) = listen_for_metrics(address)?;
        Ok(Self::serve(listener, address, stats))
    }

    /// Answers on a listener for `address` that another process has passed.
    ///
    /// # Errors
    /// [`ListenError`] if the system can't watch it.
    pub(super) fn go_on(address: SocketAddr, handed: OwnedFd, stats: ServerStats) -> Result<Self, ListenError> {
        let watch = || {
            let listener = watch_tcp(handed)?;
            let bound = listener.local_addr()?;
            Ok((listener, bound))
        };
        let (listener, bound) =
            watch().map_err(|error| ListenError { address: BoundAddress::Metrics(address), error })?;
        Ok(Self::serve(listener, bound, stats))
    }

    fn serve(listener: TcpListener, address: SocketAddr, stats: ServerStats) -> Self {
        let stop = CancellationToken::new();
        let responder = Responder::new(listener, MonitorPages { stats, start: ProcessStart::read() });
        let listener = responder.listener();
        let task = tokio::spawn(responder.run(stop.clone()));
        Self { address: BoundAddress::Metrics(address), stop, task, listener }
    }

    /// Returns the listener, which closes with the monitor.
    pub(super) fn listener(&self) -> Weak<TcpListener> {
        Weak::clone(&self.listener)
    }

    /// Returns where the monitor listens.
    pub(super) fn address(&self) -> &BoundAddress {
        &self.address
    }

    /// Closes the listener and all its connections, and waits for the end of its tasks.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.task).await {
            error!(%error, "the listener for metrics panicked");
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Handler for MonitorPages {
    fn respond(&self, path: &str) -> Response {
        match path {
            "/metrics" => Response::ok(CONTENT_TYPE, metrics_text(&self.stats, &self.start)),
            "/healthz" => Response::plain(Status::Ok, "alive"),
            "/readyz" => match self.stats.readiness() {
                Ok(()) => Response::plain(Status::Ok, "ready"),
                Err(reason) => Response::plain(Status::Unavailable, &reason.to_string()),
            },
            _ => Response::plain(Status::NotFound, "the paths are /metrics, /healthz and /readyz"),
        }
    }
}
