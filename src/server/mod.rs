//! The server: listens, accepts, refuses what is too much, and ends in good order.

use crate::config::{Config, RESERVED_FILES};
use crate::connection::{Connection, ServerContext};
use crate::limits::rate::RateLimit;
use crate::metrics::counters::MetricsDelta;
use crate::net::socket::{self, ListenError, linger_close};
use crate::peer::PeerId;
use crate::room::registry::Registry;
use crate::text::messages;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// The pause after a failed accept: the first, and the longest, since it doubles.
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Refused connections that are heard out at a time, so that they see why. More are closed at
/// once. Their files come out of the reserve.
const REFUSALS: usize = RESERVED_FILES / 2;

/// A server that listens, and serves when it is run.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<TcpListener>,
    acceptor: Arc<Acceptor>,
}

/// Watches a server from outside; for tests, and later for metrics.
#[derive(Clone, Debug)]
pub struct ServerStats(Arc<Acceptor>);

/// What all listeners share.
#[derive(Debug)]
struct Acceptor {
    context: Arc<ServerContext>,
    /// The most connections at a time.
    max_connections: usize,
    /// One permit for each connection that may still come.
    permits: Arc<Semaphore>,
    /// One for each refused connection that may be heard out.
    refusals: Arc<Semaphore>,
    /// Connections so far, which numbers them.
    arrivals: AtomicU64,
    /// All connections' tasks.
    tracker: TaskTracker,
}

impl Server {
    /// Listens on all addresses of `config`, for at most `connections` at a time. Needs a runtime.
    ///
    /// # Errors
    /// When an address can't be listened on.
    pub fn bind(config: Config, connections: usize) -> Result<Self, ListenError> {
        let listeners = socket::listen(&config)?;
        let context = ServerContext {
            limit: RateLimit::new(config.rate, config.burst),
            registry: Arc::new(
                Registry::new(config.inbox, config.allow_duplicate_names)
                    .with_history(config.history.into(), config.replay.into()),
            ),
            ending: CancellationToken::new(),
            config,
        };
        let acceptor = Acceptor {
            context: Arc::new(context),
            max_connections: connections.min(Semaphore::MAX_PERMITS),
            permits: Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS))),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
            arrivals: AtomicU64::new(0),
            tracker: TaskTracker::new(),
        };
        Ok(Self { listeners, acceptor: Arc::new(acceptor) })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(TcpListener::local_addr).collect()
    }

    /// Looks on while the server runs.
    #[must_use]
    pub fn watch(&self) -> ServerStats {
        ServerStats(Arc::clone(&self.acceptor))
    }

    /// Serves until `shutdown` is ready. Then it accepts nobody any more, every room is told, and
    /// peers have the `drain` time to take what they are owed.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { listeners, acceptor } = self;
        for listener in listeners {
            acceptor.tracker.spawn(Arc::clone(&acceptor).accept(listener));
        }
        shutdown.await;
        let context = &acceptor.context;
        info!(rooms = context.registry.len(), "shutting down");
        context.ending.cancel();
        context.registry.shut_down();
        acceptor.tracker.close();
        if timeout(context.config.drain, acceptor.tracker.wait()).await.is_err() {
            warn!(connections = acceptor.tracker.len(), "closed before they had read everything");
        }
    }
}

impl ServerStats {
    /// How many rooms there are.
    #[must_use]
    pub fn rooms(&self) -> usize {
        self.0.context.registry.len()
    }

    /// How many connections there are, those that are just being closed among them.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.max_connections - self.0.permits.available_permits()
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> MetricsDelta {
        self.0.context.registry.counters().read()
    }
}

impl Acceptor {
    /// Accepts until the server ends. No error ends it, and none makes it spin.
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut pause = ACCEPT_PAUSE.0;
        while let Some(accepted) = self.context.ending.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, address)) => {
                    pause = ACCEPT_PAUSE.0;
                    self.admit(stream, canonical(address));
                }
                // The client was faster: it is gone, and out of the queue.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // Most likely no file is left. The connection stays in the kernel's queue, and
                    // would be reported at once again.
                    warn!(%error, ?pause, "can't accept");
                    self.context.ending.run_until_cancelled(sleep(pause)).await;
                    pause = ACCEPT_PAUSE.1.min(pause * 2);
                }
            }
        }
    }

    fn admit(self: &Arc<Self>, stream: TcpStream, address: SocketAddr) {
        socket::set_options(&stream, &self.context.config);
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return self.refuse(stream, address);
        };
        let id = PeerId(self.arrivals.fetch_add(1, Ordering::Relaxed));
        info!(%address, "opened");
        let connection = Connection::new(Arc::clone(&self.context), stream, address, id, permit);
        self.tracker.spawn(connection.serve());
    }

    /// Tells why, in the one write that a new socket always takes, and closes.
    fn refuse(&self, stream: TcpStream, address: SocketAddr) {
        info!(%address, "refused: the server is full");
        let text = messages::error_lines(&"server is full: try again later");
        if stream.try_write(text.as_bytes()).is_ok()
            && let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned()
        {
            self.tracker.spawn(async move {
                linger_close(&stream, true).await;
                drop(permit);
            });
        }
    }
}

/// An IPv4 peer of an IPv6 socket is an IPv4 peer.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
