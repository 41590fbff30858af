//! A cluster: several servers that share their rooms, over a message bus.
//!
//! ```text
//! room ─ pass ─► tap ─► task ─► state machine ─► frames ─► bus (NATS)
//!                                    │                      │
//! room ◄─ inbox ◄─ update ◄──────────┘◄──────── frames ◄────┘
//! ```
//!
//! A pass gives what members of this server did to the [tap], before any member has it, and waits for nothing. The
//! [task] feeds the state machine ([`core`]), which has no I/O, with that and with the frames of other servers. What
//! comes from there enters a room through its inbox, as an operation, so that all members of a room on one server see one
//! order.
//!
//! In the default order no frame is waited for and none is sent twice: each carries its position in the changes of its server in its room, so a
//! receiver knows exactly what it has missed, and asks for a snapshot where that were joins and leaves. What waits for the
//! bus is bounded in bytes and in age ([`core`], 8 MiB and 5 s for each of two connections).
//!
//! With `--cluster-order total` the frames of rooms go through a log, which is one stream of `JetStream` (`room_log.rs`), and
//! every server, the one that sent a frame included, takes them from there in one order ([`core`], `ordered.rs`). A frame is
//! tried until the log has it. What waits is bounded in bytes; when it waits for too long, rooms are this server's alone.
//!
//! With `--history-for` NATS keeps the changes of rooms in a stream of `JetStream` (`history.rs`). A room that is opened while no
//! other server has members in it reads its last lines there.
//!
//! The bus is behind two queues of requests and one of events ([`bus`]). NATS is the one engine ([`nats`]), in builds with
//! the feature `cluster`.

#[cfg(any(feature = "cluster", test))]
mod backward;
#[cfg_attr(not(feature = "cluster"), expect(dead_code, reason = "a build without an engine has no bus"))]
pub(crate) mod bus;
pub(crate) mod core;
pub(crate) mod frame;
#[cfg(feature = "cluster")]
mod history;
#[cfg(feature = "cluster")]
mod log_reader;
#[cfg(feature = "cluster")]
mod nats;
#[cfg(feature = "cluster")]
mod room_log;
#[cfg(feature = "cluster")]
mod subjects;
mod tap;
mod task;

use crate::config::{ClusterOrder, ClusterSettings};
use crate::room::registry::Registry;
use crate::text::names::NodeName;
use core::Core;
use frame::MAX_RAW;
use std::sync::Arc;
use std::time::Duration;
pub(crate) use tap::Shared;
use tap::{LocalEvent, RoomTap};
use task::{Clock, ClusterTask};
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// How long a start with `--cluster-required` waits for the bus.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a start with `--history-for` waits for the bus, so that the rooms of before have their lines.
const STORE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the end waits until the other servers are told.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a server can't be part of a cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The build has no bus.
    #[error("--cluster: this build has no cluster: build with cargo build --release --features cluster")]
    NotBuilt,
    /// The settings of the bus can't be used.
    #[error("{0}")]
    Settings(String),
    /// No server of the bus answers; holds where.
    #[error("--cluster {0}: no NATS server answers; start one, or leave --cluster-required out to serve meanwhile")]
    NoAnswer(String),
    /// NATS has no log for rooms.
    #[error(
        "--cluster-order total: NATS has no JetStream for the log; start it with nats-server -js, or leave \
         --cluster-required out to serve meanwhile"
    )]
    NoLog,
}

/// A server's part in a cluster. Its drop ends the task without telling the other servers.
#[derive(Debug)]
pub(crate) struct Cluster {
    events: UnboundedSender<LocalEvent>,
    shared: Arc<Shared>,
    servers: Vec<String>,
    order: ClusterOrder,
    task: JoinHandle<()>,
    /// The lines of other servers' operators, until somebody takes them.
    operator_lines: Option<OperatorLines>,
}

/// Lines of operators of other servers, with the server of each.
pub(crate) type OperatorLines = mpsc::Receiver<(NodeName, String)>;

/// The lines of operators that wait.
const OPERATOR_LINES: usize = 64;

impl Cluster {
    /// Connects the rooms of `registry` with those of other servers, in the background; `None` for a server of its own.
    /// Lines of other servers are at most `max_line` bytes long, and a room's history has `history_lines` lines. Needs a runtime.
    ///
    /// # Errors
    /// [`ClusterError`] for settings that no server could be reached with.
    pub(crate) fn start(
        settings: &ClusterSettings,
        registry: &Arc<Registry>,
        (max_line, history_lines): (usize, usize),
    ) -> Result<Option<Self>, ClusterError> {
        let Some(node) = settings.node.filter(|_| settings.is_on()) else { return Ok(None) };
        check(settings)?;
        let (events, local) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::new());
        registry.set_tap(Arc::new(RoomTap { events: events.clone(), shared: Arc::clone(&shared) }));
        let (lines, operator_lines) = mpsc::channel(OPERATOR_LINES);
        let clock = Clock::start();
        let core = Core::new(node, clock.now(), longest_line(max_line), settings.order);
        let (weak, own_settings, own_shared) = (Arc::downgrade(registry), settings.clone(), Arc::clone(&shared));
        let kept_lines = settings.keeps_history().then_some(history_lines);
        let task = tokio::spawn(async move {
            match connect(&own_settings, node).await {
                Ok(bus) => {
                    let task = ClusterTask::new(core, weak, bus, (local, own_shared), lines, clock);
                    task.keeping_lines(kept_lines).run().await;
                }
                Err(error) => tracing::error!(%error, "the server is in no cluster"),
            }
        });
        let (servers, order) = (settings.servers.clone(), settings.order);
        Ok(Some(Self { events, shared, servers, order, task, operator_lines: Some(operator_lines) }))
    }

    /// Waits until the bus is connected.
    ///
    /// # Errors
    /// [`ClusterError::NoAnswer`] or [`ClusterError::NoLog`] after 5 seconds.
    pub(crate) async fn wait_until_connected(&self) -> Result<(), ClusterError> {
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        let has_log = || self.order == ClusterOrder::Sender || self.shared.is_log_there();
        while !(self.shared.is_connected() && has_log()) {
            if Instant::now() >= deadline || self.task.is_finished() {
                return Err(if self.shared.is_connected() {
                    ClusterError::NoLog
                } else {
                    ClusterError::NoAnswer(without_passwords(&self.servers))
                });
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Waits until the lines that NATS keeps can be read, but not for long.
    pub(crate) async fn wait_for_store(&self) {
        let deadline = Instant::now() + STORE_TIMEOUT;
        while !self.shared.has_store() && Instant::now() < deadline && !self.task.is_finished() {
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Returns the state and the counts.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Returns a way to have other servers run lines of operators, and the lines that these send.
    pub(crate) fn operators(&mut self) -> (ClusterOperators, Option<OperatorLines>) {
        (ClusterOperators(self.events.clone()), self.operator_lines.take())
    }

    /// Returns whether members of this server wait for a log.
    pub(crate) fn is_ordered(&self) -> bool {
        self.shared.is_ordered()
    }

    /// Lets everything happen that waits for the log of a cluster with one order, before rooms are shut down.
    pub(crate) async fn end_waiting(&self) {
        let (done, ended) = oneshot::channel();
        if self.events.send(LocalEvent::EndWaiting(done)).is_ok() {
            let _ = timeout(STOP_TIMEOUT, ended).await;
        }
    }

    /// Tells the other servers that this one stops, and waits until the bus has it, but not for long.
    pub(crate) async fn stop(mut self) {
        let _ = self.events.send(LocalEvent::Stop);
        let _ = timeout(STOP_TIMEOUT, &mut self.task).await;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Has other servers run lines of operators.
#[derive(Clone, Debug)]
pub(crate) struct ClusterOperators(UnboundedSender<LocalEvent>);

impl ClusterOperators {
    /// Has all other servers run a line.
    pub(crate) fn send(&self, line: &str) {
        let _ = self.0.send(LocalEvent::Operator(line.to_owned()));
    }
}

#[cfg(feature = "cluster")]
use nats::connect;

/// Returns URLs without the users and passwords in them.
fn without_passwords(urls: &[String]) -> String {
    let hide = |url: &String| match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        _ => url.clone(),
    };
    urls.iter().map(hide).collect::<Vec<_>>().join(",")
}

/// Returns the bound of a line of another server, with the name of its member: each byte of a line may have become three, and
/// other servers may have another `--max-line`.
fn longest_line(max_line: usize) -> usize {
    max_line.saturating_mul(3).max(MAX_RAW).saturating_add(MAX_PREFIX)
}

/// The most bytes before the text in a line of a member: `* `, a name and a blank.
const MAX_PREFIX: usize = 23;

/// Checks the files that the settings name, before the server listens.
#[cfg(feature = "cluster")]
fn check(settings: &ClusterSettings) -> Result<(), ClusterError> {
    let files = [("--cluster-credentials", &settings.credentials), ("--cluster-ca", &settings.ca)];
    for (flag, path) in files.into_iter().filter_map(|(flag, path)| Some((flag, path.as_ref()?))) {
        let error = |error| ClusterError::Settings(format!("{flag} {}: {error}", path.display()));
        std::fs::read(path).map_err(error)?;
    }
    Ok(())
}

#[cfg(not(feature = "cluster"))]
fn check(_: &ClusterSettings) -> Result<(), ClusterError> {
    Err(ClusterError::NotBuilt)
}

#[cfg(not(feature = "cluster"))]
fn connect(_: &ClusterSettings, _: NodeName) -> std::future::Ready<Result<bus::Bus, ClusterError>> {
    std::future::ready(Err(ClusterError::NotBuilt))
}
