//! The acceptor: one task a listener, which no error ends and none makes spin.

use crate::connection::{Connection, ServerContext};
use crate::net::{Listener, PeerAddress, Socket};
use crate::server::admission::{Admission, Admitted};
use crate::server::refusal::refuse;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// The pause after a failed accept; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The longest pause after a failed accept.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Accepts the connections of one listener.
pub(super) struct Acceptor {
    pub(super) listener: Listener,
    pub(super) context: Arc<ServerContext>,
    pub(super) admission: Arc<Admission>,
    /// Where connections are spawned.
    pub(super) tasks: TaskTracker,
}

impl Acceptor {
    /// Accepts until the server begins to end.
    pub(super) async fn run(self) {
        let shutdown = self.context.shutdown.clone();
        let mut pause = FIRST_PAUSE;
        let dead_timeout = || self.context.live.get().dead_timeout;
        while let Some(accepted) = shutdown.run_until_cancelled(self.listener.accept(dead_timeout)).await {
            match accepted {
                Ok((stream, address)) => {
                    pause = FIRST_PAUSE;
                    self.start(stream, address);
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
    }

    /// Serves or refuses an accepted connection.
    fn start(&self, stream: TcpStream, address: PeerAddress) {
        match self.admission.admit() {
            Admitted::Serve(id, permit) => {
                let socket = Socket::new(stream, permit, Arc::clone(self.context.registry.memory()));
                info!(%address, "opened");
                let connection =
                    Connection::new(Arc::clone(&self.context), socket, (address, self.listener.protocol()), id);
                self.tasks.spawn(connection.serve());
            }
            Admitted::Refuse(permit) => {
                info!(%address, "refused: the server is full");
                let shared = (Arc::clone(self.context.registry.memory()), self.context.abort.clone());
                if let Some(closing) = refuse(stream, permit, self.listener.protocol(), shared) {
                    self.tasks.spawn(closing);
                }
            }
        }
    }
}
