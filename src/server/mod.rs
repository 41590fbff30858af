//! The server: composes listeners, connections and rooms, runs them, and ends them gracefully.
//!
//! Composition lives here, with acceptance and admission of connections. Nothing here parses an argument or a line.

mod acceptor;
mod admission;
mod handle;
mod handover;
mod memory_ceiling;
mod metrics_text;
mod monitor;
mod probe;
mod proxied;
mod refusal;
mod server_state;
mod stall_check;
mod start_error;
mod take_over;

use crate::admin::{AdminContext, AdminHooks, AdminServer, run_cluster_lines};
use crate::cluster::{Cluster, ClusterError};
use crate::config::{Live, LiveLog, Settings, TrustedProxies};
pub use crate::connection::readiness::NotReady;
use crate::connection::readiness::{AcceptLoops, RunningLoop};
use crate::connection::{ConnectionDirectory, HandoverGate, ServerContext, UnflushedInputs};
use crate::limits::bans::BanList;
use crate::limits::handshake_budget::HandshakeBudget;
use crate::limits::memory::MemoryBudget;
use crate::limits::slice_budget::SliceBudget;
use crate::metrics::counters::MetricsDelta;
use crate::metrics::listener_counts::{ListenerCounts, ListenerNumber};
use crate::net::{ActivatedSockets, BoundAddress, BoundListener, Listener, TlsAcceptor};
use crate::room::registry::Registry;
use acceptor::{Acceptor, Starter};
use admission::Admission;
use handle::LiveParts;
pub use handle::{Reloaded, ServerHandle};
use handover::{AcceptGate, HandoverParts};
pub use handover::{Freeze, FreezeError, HandoverTurn};
use memory_ceiling::memory_ceiling;
use monitor::Monitor;
pub use probe::ServerProbe;
use proxied::ProxyGate;
use server_state::ServerState;
pub use stall_check::Stall;
pub use start_error::StartError;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use take_over::{HandedListeners, TakenOver};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

/// How long the end may take after all waits were cut. Only a bug takes so long.
const ABORT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the last lines of rooms may take until other servers are told that this one stops.
const QUIET_TIMEOUT: Duration = Duration::from_millis(300);

/// A server that listens, and serves when it is run.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<Arc<Listener>>,
    /// The URL of each listener in the settings.
    listener_urls: Vec<String>,
    context: Arc<ServerContext>,
    admission: Arc<Admission>,
    bans: Arc<BanList>,
    /// The socket of the operators' commands.
    admin: Option<AdminServer>,
    admin_hooks: AdminHooks,
    /// The settings of the start.
    settings: Settings,
    /// The certificate of the TLS listeners; `None` without one.
    tls: Option<TlsAcceptor>,
    proxies: Arc<ProxyGate>,
    /// Where acceptors pause during a handover.
    gate: Arc<AcceptGate>,
    /// Held during a handover, and from the beginning of the end on.
    running: Arc<Mutex<()>>,
    /// The connections and rooms that another process has handed over, until the server runs.
    taken_over: TakenOver,
    /// Every task of the server but those of the monitor: listeners, connections, passes.
    tasks: TaskTracker,
    state: Arc<ServerState>,
    /// Answers to metrics and health checks, if the settings ask for it.
    monitor: Option<Monitor>,
    /// The exchange with other servers, if there are some.
    cluster: Option<Cluster>,
}

/// Figures of a server, for tests and metrics.
#[derive(Clone, Debug)]
pub struct ServerStats {
    context: Arc<ServerContext>,
    admission: Arc<Admission>,
    state: Arc<ServerState>,
}

impl Server {
    /// Listens on all addresses of `settings`, for at most `max_connections` at a time. Metrics and health checks are
    /// answered from now on. Needs a runtime.
    ///
    /// # Errors
    /// [`StartError`] for a certificate that can't be used, or for the first address that can't be listened on.
    pub fn bind(settings: &Settings, max_connections: usize) -> Result<Self, StartError> {
        Self::bind_with(settings, max_connections, ActivatedSockets::default())
    }

    /// Listens as [`Server::bind`] does, and with the sockets that the service manager has passed.
    ///
    /// # Errors
    /// [`StartError`], also for a listener whose socket was not passed.
    pub fn bind_with(
        settings: &Settings,
        max_connections: usize,
        activated: ActivatedSockets,
    ) -> Result<Self, StartError> {
        Self::build(settings, max_connections, activated, HandedListeners::default())
    }

    /// Builds a server, whose listeners are those that another process has passed as far as the settings name them.
    fn build(
        settings: &Settings,
        max_connections: usize,
        activated: ActivatedSockets,
        mut handed: HandedListeners,
    ) -> Result<Self, StartError> {
        let certificate = settings.network.tls.as_ref().map(TlsAcceptor::prepare).transpose()?;
        let handed_peers = std::mem::take(&mut handed.peers);
        let bound = Listener::bind_all(&settings.network, activated, handed_peers)?;
        let (listener_urls, listeners): (Vec<String>, Vec<Arc<Listener>>) =
            bound.into_iter().map(|(url, listener)| (url, Arc::new(listener))).unzip();
        let admin = settings.moderation.admin_socket.as_deref().map(|path| match handed.take_admin(path) {
            Some(descriptor) => AdminServer::go_on(path, descriptor),
            None => AdminServer::bind(path),
        });
        let admin = admin.transpose()?;
        let tasks = TaskTracker::new();
        let memory = MemoryBudget::new(memory_ceiling(settings.network.memory));
        let shutdown = CancellationToken::new();
        let bans = BanList::new(settings.moderation.bans.clone());
        let (memory_of_admission, bans_of_admission) = (Arc::clone(&memory), Arc::clone(&bans));
        let admission = Admission::new(
            &settings.network,
            max_connections,
            memory_of_admission,
            bans_of_admission,
            shutdown.clone(),
        );
        let (workers, now) = (Handle::current().metrics().num_workers(), Instant::now().into_std());
        // Operators find connections in it, those of other servers, too, and a reload those that are banned.
        let has_directory = admin.is_some() || settings.moderation.bans.is_some() || settings.cluster.is_on();
        let context = Arc::new(ServerContext {
            live: Live::new(settings.live, settings.motd.clone()),
            registry: Arc::new(Registry::with_memory(settings.rooms, memory, tasks.clone())),
            draining: shutdown.child_token(),
            shutdown,
            abort: CancellationToken::new(),
            slices: SliceBudget::new(workers, now),
            handshakes: HandshakeBudget::new(workers, now),
            unflushed_inputs: UnflushedInputs::default(),
            accept_loops: AcceptLoops::new(listeners.len()),
            listener_counts: ListenerCounts::new(listeners.len()),
            handover: HandoverGate::default(),
            allowed_origins: settings.network.allow_origin.as_slice().into(),
            directory: has_directory.then(Arc::<ConnectionDirectory>::default),
        });
        let lines = (settings.live.max_line, settings.rooms.history_lines);
        let cluster = Cluster::start(&settings.cluster, &context.registry, lines)?;
        let (admission, admin_hooks) = (Arc::new(admission), AdminHooks::default());
        let addresses = listeners.iter().map(|listener| listener.address().clone()).collect();
        let shared = cluster.as_ref().map(Cluster::shared);
        let state = Arc::new(ServerState::new(addresses, max_connections, shared));
        let tls = certificate.map(TlsAcceptor::new);
        let proxies = Arc::new(ProxyGate::new(TrustedProxies::new(settings.network.trust.clone())));
        let monitor_address = settings.metrics.listen;
        let settings = settings.clone();
        let mut server = Self {
            listeners,
            listener_urls,
            context,
            admission,
            bans,
            admin,
            admin_hooks,
            settings,
            tls,
            proxies,
            gate: Arc::default(),
            running: Arc::default(),
            taken_over: TakenOver::default(),
            tasks,
            state,
            monitor: None,
            cluster,
        };
        let monitor = monitor_address.map(|address| match handed.take_metrics(address) {
            Some(descriptor) => Monitor::go_on(address, descriptor, server.stats()),
            None => Monitor::start(address, server.stats()),
        });
        server.monitor = monitor.transpose()?;
        Ok(server)
    }

    /// Gives the operators' commands that need the program something to call.
    pub fn set_admin_hooks(&mut self, hooks: AdminHooks) {
        self.admin_hooks = hooks;
    }

    /// Returns the bans, which a reload of the settings reads again.
    #[must_use]
    pub fn bans(&self) -> Arc<BanList> {
        Arc::clone(&self.bans)
    }

    /// Returns where the server listens, in the order of the settings.
    #[must_use]
    pub fn addresses(&self) -> Vec<BoundAddress> {
        self.state.listeners.to_vec()
    }

    /// Returns where metrics and health checks are answered, if they are.
    #[must_use]
    pub fn metrics_address(&self) -> Option<&BoundAddress> {
        self.monitor.as_ref().map(Monitor::address)
    }

    /// Sets the source of the number of dropped log records, which the metrics show. Only the first call has an effect.
    pub fn count_log_drops(&self, log_lines_dropped: impl Fn() -> u64 + Send + Sync + 'static) {
        self.state.set_log_drops(Box::new(log_lines_dropped));
    }

    /// Returns the certificate of the TLS listeners, which may be replaced while the server runs; `None` without such a
    /// listener.
    #[must_use]
    pub fn tls(&self) -> Option<TlsAcceptor> {
        self.tls.clone()
    }

    /// Returns where the server listens and what stands before each listener, in the order of the settings.
    #[must_use]
    pub fn listeners(&self) -> Vec<BoundListener> {
        self.listeners.iter().map(|listener| listener.bound()).collect()
    }

    /// Waits until the server is in its cluster, if it has one.
    ///
    /// # Errors
    /// [`ClusterError::NoAnswer`] after 5 seconds.
    pub async fn wait_for_cluster(&self) -> Result<(), ClusterError> {
        match &self.cluster {
            Some(cluster) => cluster.wait_until_connected().await,
            None => Ok(()),
        }
    }

    /// Waits until the lines that NATS keeps can be read, for a second at most, where the settings keep some: the first rooms
    /// would have none without it.
    pub async fn wait_for_stored_lines(&self) {
        if let Some(cluster) = self.cluster.as_ref().filter(|_| self.settings.cluster.keeps_history()) {
            cluster.wait_for_store().await;
        }
    }

    /// Returns the trusted proxies, which may be replaced while the server runs.
    #[must_use]
    pub fn trusted_proxies(&self) -> Arc<TrustedProxies> {
        Arc::clone(&self.proxies.trusted)
    }

    /// Returns a probe of the runtime, the passes of rooms and the listeners; `None` where no room opens, which is a bug. Needs
    /// the server's runtime.
    #[must_use]
    pub fn probe(&self) -> Option<ServerProbe> {
        ServerProbe::new(self.stats())
    }

    /// Returns figures that stay readable while the server runs.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        let (context, admission, state) = (&self.context, &self.admission, &self.state);
        ServerStats { context: Arc::clone(context), admission: Arc::clone(admission), state: Arc::clone(state) }
    }

    /// Returns a handle that stays valid while the server runs. A reload calls `read_settings`, which returns all settings
    /// anew or one line that says why it can't, and puts the log's settings in force in `log`.
    #[must_use]
    pub fn handle(
        &self,
        log: Arc<LiveLog>,
        read_settings: impl Fn() -> Result<Settings, String> + Send + Sync + 'static,
    ) -> ServerHandle {
        let parts = LiveParts {
            log,
            bans: Arc::clone(&self.bans),
            tls: self.tls.clone(),
            trusted_proxies: self.trusted_proxies(),
        };
        let handover = Arc::new(self.handover_parts());
        ServerHandle::new(Arc::clone(&self.context), self.settings.clone(), parts, handover, Box::new(read_settings))
    }

    fn handover_parts(&self) -> HandoverParts {
        let listeners = self.listener_urls.iter().cloned().zip(self.listeners.iter().map(Arc::downgrade));
        let (metrics, admin) = (self.settings.metrics.listen, self.settings.moderation.admin_socket.clone());
        HandoverParts {
            context: Arc::clone(&self.context),
            admission: Arc::clone(&self.admission),
            gate: Arc::clone(&self.gate),
            rooms: self.settings.rooms,
            is_in_cluster: self.cluster.is_some(),
            listeners: listeners.collect(),
            metrics: metrics.zip(self.monitor.as_ref().map(Monitor::listener)),
            admin: admin.zip(self.admin.as_ref().map(AdminServer::listener)),
            running: Arc::clone(&self.running),
        }
    }

    /// Serves until `shutdown` completes. Then connections in the kernel's queue are refused with a reason, but for those of
    /// activated sockets, which the next process serves; every room is told, and peers have the drain time to take their output. No task of the server is left when this returns, but for
    /// passes that take more than a second beyond that time.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self {
            listeners,
            context,
            admission,
            bans,
            admin,
            admin_hooks,
            tls,
            proxies,
            gate,
            running,
            taken_over,
            tasks,
            monitor,
            mut cluster,
            ..
        } = self;
        let mut taken_over = taken_over;
        for connection in taken_over.connections.drain(..) {
            tasks.spawn(connection.serve_on());
        }
        // Members whose connections could not be moved leave, after all others are served again.
        taken_over.left.clear();
        for (index, listener) in listeners.into_iter().enumerate() {
            let protocol = listener.protocol();
            listener.own_file();
            let starter = Starter {
                context: Arc::clone(&context),
                admission: Arc::clone(&admission),
                tasks: tasks.clone(),
                protocol,
                listener: ListenerNumber::from_index(index),
                tls: tls.clone().filter(|_| protocol.is_tls()),
                proxy: listener.proxy(),
                proxies: Arc::clone(&proxies),
                gate: Arc::clone(&gate),
            };
            let running = RunningLoop::new(Arc::clone(&context), starter.listener);
            tasks.spawn(Acceptor { listener, starter, running }.run());
        }
        context.accept_loops.set_accepting();
        if let Some(directory) = context.directory.clone() {
            let (operators, lines) = cluster.as_mut().map(Cluster::operators).unzip();
            let admin_context = || {
                let (directory, bans, hooks) = (Arc::clone(&directory), Arc::clone(&bans), admin_hooks.clone());
                AdminContext::new(Arc::clone(&context), directory, bans, hooks, operators.clone())
            };
            if let Some(lines) = lines.flatten() {
                tasks.spawn(run_cluster_lines(admin_context(), lines, context.shutdown.clone()));
            }
            if let Some(admin) = admin {
                tasks.spawn(admin.run(admin_context(), tasks.clone()));
            }
        }
        shutdown.await;
        // A handover that runs ends first: it ends this process, or lets the server go on until here.
        let _running = running.lock_owned().await;
        info!(rooms = context.registry.len(), "shutting down");
        let drain = context.live.get().drain;
        let deadline = Instant::now() + drain;
        context.shutdown.cancel();
        if let Some(cluster) = cluster.as_ref().filter(|cluster| cluster.is_ordered()) {
            // The second time takes what passes have committed that began before the first.
            cluster.end_waiting().await;
            wait_until_quiet(&context.registry).await;
            cluster.end_waiting().await;
        }
        context.registry.request_input_flush();
        // The input flush gets half of the drain time; the output buffers get the rest.
        if timeout(drain / 2, context.unflushed_inputs.wait_until_none()).await.is_err() {
            warn!("the time for lines that were received but not sent to their rooms is over");
        }
        context.registry.shut_down();
        if let Some(cluster) = cluster {
            wait_until_quiet(&context.registry).await;
            cluster.stop().await;
        }
        tasks.close();
        if timeout_at(deadline, tasks.wait()).await.is_err() {
            warn!(connections = admission.connections(), "closed before they had read everything");
            context.abort.cancel();
            if timeout(ABORT_TIMEOUT, tasks.wait()).await.is_err() {
                error!(tasks = tasks.len(), "tasks did not end: this is a bug");
            }
        }
        if let Some(monitor) = monitor {
            monitor.stop().await;
        }
    }
}

/// Waits until no room has an operation, but not for long.
async fn wait_until_quiet(registry: &Registry) {
    let deadline = Instant::now() + QUIET_TIMEOUT;
    while !registry.is_quiet() && Instant::now() < deadline {
        sleep(Duration::from_millis(5)).await;
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

    /// Returns whether the server takes no new connections: an operator drains it, or it is shutting down.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.context.draining.is_cancelled()
    }

    /// Returns the budget of what waits for peers and of the histories.
    #[must_use]
    pub fn memory(&self) -> &MemoryBudget {
        self.context.registry.memory()
    }

    /// Returns whether the server takes new clients.
    ///
    /// # Errors
    /// [`NotReady`] with the reason if it does not.
    pub fn readiness(&self) -> Result<(), NotReady> {
        self.context.readiness()
    }

    /// Returns what was done so far.
    #[must_use]
    pub fn counters(&self) -> MetricsDelta {
        self.context.registry.counters().read()
    }
}
