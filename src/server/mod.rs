//! The server: composes listeners, connections and rooms, runs them, and ends them gracefully.
//!
//! Composition lives here, with acceptance and admission of connections. Nothing here parses an argument or a line.

mod acceptor;
mod admission;
mod memory_ceiling;
mod probe;
mod proxied;
mod refusal;

pub use probe::ServerProbe;

use crate::config::{Live, Settings, TrustedProxies};
use crate::connection::{ServerContext, UnflushedInputs};
use crate::limits::memory::MemoryBudget;
use crate::limits::slice_budget::SliceBudget;
use crate::metrics::counters::MetricsDelta;
use crate::net::{ActivatedSockets, BoundAddress, BoundListener, ListenError, Listener};
use crate::room::registry::Registry;
use acceptor::{Acceptor, Starter};
use admission::Admission;
use memory_ceiling::memory_ceiling;
use proxied::ProxyGate;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

/// How long the end may take after all waits were cut. Only a bug takes so long.
const ABORT_TIMEOUT: Duration = Duration::from_secs(1);

/// A server that listens, and serves when it is run.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<Listener>,
    context: Arc<ServerContext>,
    admission: Arc<Admission>,
    proxies: Arc<ProxyGate>,
    /// Every task of the server: listeners, connections, passes.
    tasks: TaskTracker,
}

/// Figures of a server, for tests and metrics.
#[derive(Clone, Debug)]
pub struct ServerStats {
    context: Arc<ServerContext>,
    admission: Arc<Admission>,
}

impl Server {
    /// Listens on all addresses of `settings`, for at most `max_connections` at a time. Needs a runtime.
    ///
    /// # Errors
    /// [`ListenError`] for the first address that can't be listened on.
    pub fn bind(settings: &Settings, max_connections: usize) -> Result<Self, ListenError> {
        Self::bind_with(settings, max_connections, ActivatedSockets::default())
    }

    /// Listens as [`Server::bind`] does, and with the sockets that the service manager has passed.
    ///
    /// # Errors
    /// [`ListenError`], also for a listener whose socket was not passed.
    pub fn bind_with(
        settings: &Settings,
        max_connections: usize,
        activated: ActivatedSockets,
    ) -> Result<Self, ListenError> {
        let listeners = Listener::bind_all(&settings.network, activated)?;
        let tasks = TaskTracker::new();
        let memory = MemoryBudget::new(memory_ceiling(settings.network.memory));
        let shutdown = CancellationToken::new();
        let admission =
            Arc::new(Admission::new(&settings.network, max_connections, Arc::clone(&memory), shutdown.clone()));
        let context = Arc::new(ServerContext {
            live: Live::new(settings.live),
            registry: Arc::new(Registry::with_memory(settings.rooms, memory, tasks.clone())),
            shutdown,
            abort: CancellationToken::new(),
            motd: settings.motd.clone(),
            slices: SliceBudget::new(Handle::current().metrics().num_workers(), Instant::now().into_std()),
            unflushed_inputs: UnflushedInputs::default(),
        });
        let proxies = Arc::new(ProxyGate::new(TrustedProxies::new(settings.network.trust.clone())));
        Ok(Self { listeners, context, admission, proxies, tasks })
    }

    /// Returns where the server listens, in the order of the settings.
    #[must_use]
    pub fn addresses(&self) -> Vec<BoundAddress> {
        self.listeners.iter().map(|listener| listener.address().clone()).collect()
    }

    /// Returns where the server listens and what stands before each listener, in the order of the settings.
    #[must_use]
    pub fn listeners(&self) -> Vec<BoundListener> {
        self.listeners.iter().map(Listener::bound).collect()
    }

    /// Returns the trusted proxies, which may be replaced while the server runs.
    #[must_use]
    pub fn trusted_proxies(&self) -> Arc<TrustedProxies> {
        Arc::clone(&self.proxies.trusted)
    }

    /// Returns a probe of the runtime and of the passes of rooms; `None` where no room opens, which is a bug. Needs the
    /// server's runtime.
    #[must_use]
    pub fn probe(&self) -> Option<ServerProbe> {
        ServerProbe::new()
    }

    /// Returns figures that stay readable while the server runs.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        ServerStats { context: Arc::clone(&self.context), admission: Arc::clone(&self.admission) }
    }

    /// Serves until `shutdown` completes. Then connections in the kernel's queue are refused with a reason, every room is
    /// told, and peers have the drain time to take their output. No task of the server is left when this returns, but for
    /// passes that take more than a second beyond that time.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { listeners, context, admission, proxies, tasks } = self;
        for listener in listeners {
            let starter = Starter {
                context: Arc::clone(&context),
                admission: Arc::clone(&admission),
                tasks: tasks.clone(),
                protocol: listener.protocol(),
                proxy: listener.proxy(),
                proxies: Arc::clone(&proxies),
            };
            let accepting = tasks.spawn(Acceptor { listener, starter }.run());
            tasks.spawn(async move {
                if let Err(error) = accepting.await {
                    error!(%error, "a listener panicked: it accepts no connection any more");
                }
            });
        }
        shutdown.await;
        info!(rooms = context.registry.len(), "shutting down");
        let drain = context.live.get().drain;
        let deadline = Instant::now() + drain;
        context.shutdown.cancel();
        context.registry.request_input_flush();
        // The input flush gets half of the drain time; the output buffers get the rest.
        if timeout(drain / 2, context.unflushed_inputs.wait_until_none()).await.is_err() {
            warn!("the time for lines that were received but not sent to their rooms is over");
        }
        context.registry.shut_down();
        tasks.close();
        if timeout_at(deadline, tasks.wait()).await.is_err() {
            warn!(connections = admission.connections(), "closed before they had read everything");
            context.abort.cancel();
            if timeout(ABORT_TIMEOUT, tasks.wait()).await.is_err() {
                error!(tasks = tasks.len(), "tasks did not end: this is a bug");
            }
        }
    }
}

impl ServerStats {
    /// Returns how many rooms there are.
    #[must_use]
    pub fn rooms(&self) -> usize {
        self.context.registry.len()
    }

    /// Returns how many connections there are, those that are being closed among them. Of connections whose PROXY header
    /// has not come it counts those beyond the first 64.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.admission.connections()
    }

    /// Returns the budget of what waits for peers and of the histories.
    #[must_use]
    pub fn memory(&self) -> &MemoryBudget {
        self.context.registry.memory()
    }

    /// Returns what was done so far.
    #[must_use]
    pub fn counters(&self) -> MetricsDelta {
        self.context.registry.counters().read()
    }
}
