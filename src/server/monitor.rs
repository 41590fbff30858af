//! The monitor: the answers to `/metrics`, `/healthz` and `/readyz`.

use super::ServerStats;
use super::metrics_text::metrics_text;
use crate::http::{Handler, Responder, Response, Status};
use crate::metrics::process::ProcessStart;
use crate::metrics::text_format::CONTENT_TYPE;
use crate::net::{BoundAddress, ListenError, listen_for_metrics};
use std::net::SocketAddr;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::error;

/// The listener for metrics and health checks, whose task runs until this is stopped or dropped.
#[derive(Debug)]
pub(super) struct Monitor {
    address: BoundAddress,
    stop: CancellationToken,
    task: JoinHandle<()>,
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
        let stop = CancellationToken::new();
        let responder = Responder::new(listener, MonitorPages { stats, start: ProcessStart::read() });
        let task = tokio::spawn(responder.run(stop.clone()));
        Ok(Self { address: BoundAddress::Metrics(address), stop, task })
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
