//! The acceptor: one task a listener, which no error ends and none makes spin.

use crate::config::ProxyVersions;
use crate::connection::{Connection, ServerContext};
use crate::net::{ACCEPT_QUEUE, Listener, ListenerProtocol, PeerAddress, Socket};
use crate::server::admission::{Admission, Admitted, Entrant, WaitingEntrant};
use crate::server::proxied::ProxyGate;
use crate::server::refusal::{RefusalReason, refuse};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

/// The pause after a failed accept; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The longest pause after a failed accept.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Connections that are accepted before the other tasks of the worker get their turn: about 150 µs of work.
const ACCEPTS_PER_TURN: u32 = 4;

/// Accepts the connections of one listener.
pub(super) struct Acceptor {
    pub(super) listener: Listener,
    pub(super) starter: Starter,
}

/// Starts the connections of one listener.
#[derive(Clone)]
pub(super) struct Starter {
    pub(super) context: Arc<ServerContext>,
    pub(super) admission: Arc<Admission>,
    /// Where connections are spawned.
    pub(super) tasks: TaskTracker,
    /// The protocol in which the listener's connections begin.
    pub(super) protocol: ListenerProtocol,
    /// The versions of the PROXY header with which the listener's connections begin; `None` without a proxy.
    pub(super) proxy: Option<ProxyVersions>,
    /// Which proxies are trusted.
    pub(super) proxies: Arc<ProxyGate>,
}

impl Acceptor {
    /// Accepts until the server begins to end, and then refuses the connections that are queued.
    pub(super) async fn run(self) {
        let Self { listener, starter } = self;
        let shutdown = starter.context.shutdown.clone();
        let (mut pause, mut accepted_in_turn) = (FIRST_PAUSE, 0);
        let dead_timeout = || starter.context.live.get().dead_timeout;
        while let Some(accepted) = shutdown.run_until_cancelled(listener.accept(dead_timeout)).await {
            match accepted {
                Ok((stream, address)) => {
                    pause = FIRST_PAUSE;
                    starter.start(stream, address).await;
                    accepted_in_turn += 1;
                    if accepted_in_turn == ACCEPTS_PER_TURN {
                        accepted_in_turn = 0;
                        yield_now().await;
                    }
                }
                // The client was faster: it is gone, and out of the queue.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // Most likely no descriptor is left. The connection stays in the kernel's queue, and would be
                    // reported at once again.
                    warn!(%error, ?pause, "can't accept");
                    shutdown.run_until_cancelled(sleep(pause)).await;
                    pause = LONGEST_PAUSE.min(pause * 2);
                }
            }
        }
        refuse_queued(&listener, &starter).await;
    }
}

/// Refuses the connections that wait in the kernel's queue: their clients have a connection, and a listener that is closed
/// would reset it without a word. Refuses at most as many as the queue holds, because others may connect meanwhile.
async fn refuse_queued(listener: &Listener, starter: &Starter) {
    for _ in 0..ACCEPT_QUEUE {
        match listener.accept_queued() {
            Ok((stream, address)) => starter.refuse(stream, address, RefusalReason::Shutdown),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            // The client was faster, or a signal came.
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {}
            Err(error) => {
                warn!(%error, "can't accept: clients in the queue are closed without a reason");
                break;
            }
        }
        yield_now().await;
    }
}

impl Starter {
    /// Starts an accepted connection, after the PROXY header on a listener that takes one.
    async fn start(&self, stream: TcpStream, address: PeerAddress) {
        match self.proxy {
            Some(versions) => self.start_proxied(stream, address, versions),
            None => self.admit(stream, address).await,
        }
    }

    /// Serves or refuses a connection from `address`, or makes it wait for a place.
    pub(super) async fn admit(&self, stream: TcpStream, address: PeerAddress) {
        match self.admission.admit(address.ip(), Instant::now()).await {
            Admitted::Serve(entrant) => self.serve(stream, address, entrant),
            Admitted::Wait(waiting) => {
                self.tasks.spawn(self.clone().serve_when_place_is_free(stream, address, waiting));
            }
            Admitted::Refuse(reason) => self.refuse(stream, address, reason),
        }
    }

    fn serve(&self, stream: TcpStream, address: PeerAddress, Entrant { id, permit, ticket }: Entrant) {
        if address.is_proxy() {
            debug!(%address, "opened by a proxy");
        } else {
            info!(%address, "opened");
        }
        let socket = Socket::new(stream, permit);
        let connection = Connection::new(Arc::clone(&self.context), socket, (address, self.protocol), id, ticket);
        self.tasks.spawn(connection.serve());
    }

    async fn serve_when_place_is_free(self, stream: TcpStream, address: PeerAddress, waiting: WaitingEntrant) {
        match self.admission.wait(waiting).await {
            Ok(entrant) => self.serve(stream, address, entrant),
            Err(reason) => self.refuse(stream, address, reason),
        }
    }

    /// Tells the peer why it is not served, and closes the connection.
    pub(super) fn refuse(&self, stream: TcpStream, address: PeerAddress, reason: RefusalReason) {
        info!(%address, %reason, "refused");
        let permit = self.admission.refusal_permit();
        if let Some(closing) = refuse(stream, reason, permit, self.protocol, self.context.abort.clone()) {
            self.tasks.spawn(closing);
        }
    }
}
