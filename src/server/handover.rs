//! Handover of a server: stops it for a moment, copies it for another process, and lets it go on if that process fails.
//!
//! 1. The acceptors pause; clients wait in the kernel's queues. Connections that wait for a place or for a PROXY header get theirs, or
//!    are refused, before the next step.
//! 2. Each connection stops: it takes no input any more, and its room owes it no answer.
//! 3. The rooms finish their passes. From now on nothing is sent to a room.
//! 4. Each connection is copied, and writes nothing from then on.
//!
//! A handover keeps one copy of the state and its encoding in memory: twice what `--memory` bounds at most, beside a few kilobytes for
//! each connection and at most 64 KiB of talk for each room.

use super::admission::Admission;
use crate::config::RoomSettings;
use crate::connection::handover::HandoverStep;
use crate::connection::{CopiedConnection, MovedConnection, ServerContext};
use crate::limits::addresses::MovedAddress;
use crate::net::{BoundAddress, Listener, LocalListener, Socket};
use crate::peer::Peer;
use crate::peer::byte_sink::ByteSink;
use crate::room::moved::MovedRoom;
use crate::text::names::{RoomName, UserName};
use crate::text::replies::format_duration;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use tracing::info;

/// The time between two looks at what a step waits for.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// How long the peers that can't be moved may take for their notice.
const NOTICE_TIMEOUT: Duration = Duration::from_secs(1);

/// Pauses the acceptors. A connection that is accepted is inside until it is served or refused.
#[derive(Debug)]
pub(super) struct AcceptGate {
    paused: watch::Sender<bool>,
    /// The acceptors that are not paused, and the connections that wait for a place or a header. Relaxed: an acceptor counts
    /// itself before it locks `paused`, and the count is read after the lock that has set `paused`; so an acceptor that saw no
    /// pause is counted in time.
    inside: Arc<AtomicUsize>,
}

/// Counts an acceptor or an accepted connection as inside.
#[derive(Debug)]
pub(super) struct Inside(Arc<AtomicUsize>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for AcceptGate {
    fn default() -> Self {
        Self { paused: watch::Sender::new(false), inside: Arc::default() }
    }
}

impl AcceptGate {
    /// Counts one more inside.
    pub(super) fn stay_inside(&self) -> Inside {
        self.inside.fetch_add(1, Ordering::Relaxed);
        Inside(Arc::clone(&self.inside))
    }

    /// Waits until the acceptors may accept.
    pub(super) async fn enter(&self) -> Inside {
        loop {
            // Counted first, so that a pause that begins now waits for it.
            let inside = self.stay_inside();
            if !*self.paused.borrow() {
                return inside;
            }
            drop(inside);
            self.wait_until(false).await;
        }
    }

    /// Waits until the acceptors have to pause.
    pub(super) async fn paused(&self) {
        self.wait_until(true).await;
    }

    async fn wait_until(&self, paused: bool) {
        // The gate has the sender, so it is not closed.
        let _ = self.paused.subscribe().wait_for(|is_paused| *is_paused == paused).await;
    }

    fn is_empty(&self) -> bool {
        self.inside.load(Ordering::Relaxed) == 0
    }
}

/// The parts of a server that a handover works on.
#[derive(Debug)]
pub(super) struct HandoverParts {
    pub(super) context: Arc<ServerContext>,
    pub(super) admission: Arc<Admission>,
    pub(super) gate: Arc<AcceptGate>,
    pub(super) rooms: RoomSettings,
    /// Whether other servers share the rooms.
    pub(super) is_in_cluster: bool,
    /// The listeners, each with the URL of the settings. Weak, so that they close with their acceptors.
    pub(super) listeners: Vec<(String, Weak<Listener>)>,
    /// The listener for metrics, with the address of the settings.
    pub(super) metrics: Option<(SocketAddr, Weak<TcpListener>)>,
    /// The operators' listener.
    pub(super) admin: Option<(PathBuf, Weak<LocalListener>)>,
    /// Held during a handover, and from the beginning of the server's end on.
    pub(super) running: Arc<Mutex<()>>,
}

/// A server as another process continues it. The descriptors come apart, in this order: the listeners, that for metrics, that for
/// operators, the connections.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MovedServer {
    pub(super) allow_duplicate_names: bool,
    pub(super) listeners: Vec<MovedListener>,
    pub(super) metrics: Option<SocketAddr>,
    pub(super) admin: Option<PathBuf>,
    pub(super) rooms: Vec<MovedRoom>,
    pub(super) connections: Vec<MovedConnection>,
    /// The members whose connections can't be moved: the new process lets them leave.
    pub(super) left: Vec<(RoomName, UserName)>,
    pub(super) addresses: Vec<MovedAddress>,
    pub(super) next_id: u64,
}

/// A listener without its descriptor.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MovedListener {
    /// The URL of the settings.
    pub(super) url: String,
    pub(super) address: BoundAddress,
    pub(super) is_activated: bool,
}

/// Why a server can't be stopped for a handover.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FreezeError {
    /// Another handover or a reload runs, or the server ends.
    #[error("another upgrade or a reload is running, or the server is shutting down: try again")]
    Busy,
    /// The server drains.
    #[error("the server is draining, and an upgrade would let new connections in: restart it")]
    Draining,
    /// The server shares its rooms.
    #[error("a server of a cluster can't be upgraded in place: stop it and start it again, one server after the other")]
    Cluster,
    /// The connections can't be found without the operators' listing.
    #[error("an upgrade needs --admin PATH, or --bans FILE: start the server with one of them")]
    NoDirectory,
    /// A step took too long; holds what it waited for.
    #[error("the server could not be stopped within {}: {}", format_duration(*.0), .1)]
    Timeout(Duration, &'static str),
    /// The state can't be encoded, which is a bug.
    #[error("the state can't be encoded: this is a bug")]
    Encoding,
}

/// A right to hand a server over. While it lives no other handover and no end of the server begins, and operators' commands that change
/// something are refused.
#[derive(Debug)]
pub struct HandoverTurn {
    parts: Arc<HandoverParts>,
    _running: OwnedMutexGuard<()>,
    /// Held so that no reload runs meanwhile.
    _reloading: OwnedMutexGuard<()>,
}

/// A server that is stopped and copied. Its drop lets the server go on, unless another process has taken over.
pub struct Freeze {
    turn: HandoverTurn,
    state: Vec<u8>,
    sockets: Vec<HandedSocket>,
    connections: usize,
    unmovable: usize,
}

/// A socket that is passed on, which stays open in this process, too.
enum HandedSocket {
    Listener(Arc<Listener>),
    Metrics(Arc<TcpListener>),
    Admin(Arc<LocalListener>),
    Peer(Arc<Peer<Socket>>),
}

impl AsFd for HandedSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Listener(listener) => listener.as_fd(),
            Self::Metrics(listener) => listener.as_fd(),
            Self::Admin(listener) => listener.as_fd(),
            Self::Peer(peer) => peer.sink().as_fd(),
        }
    }
}

impl HandoverTurn {
    /// Takes the turn. A reload holds `reloading` while it runs.
    ///
    /// # Errors
    /// [`FreezeError::Busy`], [`FreezeError::Draining`], [`FreezeError::Cluster`] or
    /// [`FreezeError::NoDirectory`].
    pub(super) fn take(parts: &Arc<HandoverParts>, reloading: &Arc<Mutex<()>>) -> Result<Self, FreezeError> {
        let lock = |mutex: &Arc<Mutex<()>>| Arc::clone(mutex).try_lock_owned().map_err(|_| FreezeError::Busy);
        let running = lock(&parts.running)?;
        if parts.is_in_cluster {
            return Err(FreezeError::Cluster);
        }
        if parts.context.directory.is_none() {
            return Err(FreezeError::NoDirectory);
        }
        if parts.context.draining.is_cancelled() {
            return Err(FreezeError::Draining);
        }
        let reloading = lock(reloading)?;
        parts.context.handover.set_active(true);
        Ok(Self { parts: Arc::clone(parts), _running: running, _reloading: reloading })
    }

    /// Stops the server and copies it. If that fails, or is dropped, the server goes on.
    ///
    /// # Errors
    /// [`FreezeError`], if a connection or a room does not stop within `patience`.
    pub async fn freeze(self, patience: Duration) -> Result<Freeze, FreezeError> {
        let mut freeze = Freeze { turn: self, state: Vec::new(), sockets: Vec::new(), connections: 0, unmovable: 0 };
        let start = Instant::now();
        freeze.stop(start + patience).await.map_err(|step| FreezeError::Timeout(patience, step))?;
        freeze.copy(start + patience, patience).await?;
        Ok(freeze)
    }
}

impl Drop for HandoverTurn {
    fn drop(&mut self) {
        self.parts.context.handover.set_active(false);
    }
}

impl Freeze {
    /// Returns the state, which [`Server::take_over`](crate::Server::take_over) of another process reads.
    #[must_use]
    pub fn state(&self) -> &[u8] {
        &self.state
    }

    /// Returns the descriptors that belong to the state.
    #[must_use]
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.sockets.iter().map(HandedSocket::as_fd).collect()
    }

    /// Returns how many connections are moved, and how many can't be.
    #[must_use]
    pub fn connections(&self) -> (usize, usize) {
        (self.connections, self.unmovable)
    }

    /// Ends this process's part, after another process has taken over: tells the peers that can't be moved so. From now on
    /// the process must end without dropping the server.
    pub async fn end(self) {
        self.request(HandoverStep::HandedOver);
        let told = || self.gate().ended() >= self.unmovable;
        // Peers that do not read are not waited for.
        let _ = by(Instant::now() + NOTICE_TIMEOUT, told).await;
        std::mem::forget(self);
    }

    fn gate(&self) -> &crate::connection::HandoverGate {
        &self.turn.parts.context.handover
    }

    /// Makes all connections take a step.
    fn request(&self, step: HandoverStep) {
        self.gate().set_wanted(step);
        if let Some(directory) = &self.turn.parts.context.directory {
            directory.wake_all();
        }
    }

    fn live_connections(&self) -> usize {
        self.turn.parts.context.directory.as_ref().map_or(0, |directory| directory.len())
    }

    /// Takes the steps 1 to 3 of the module's list; the error names the step that took too long.
    async fn stop(&self, deadline: Instant) -> Result<(), &'static str> {
        let HandoverParts { gate, context, .. } = &*self.turn.parts;
        // A handover that has failed a moment ago may not have reached all connections yet.
        by(deadline, || self.gate().stopped() == 0)
            .await
            .ok_or("a connection has not gone on after another upgrade")?;
        gate.paused.send_replace(true);
        let is_empty = || gate.is_empty();
        by(deadline, is_empty).await.ok_or("a connection waits for a place or for its PROXY header")?;
        self.request(HandoverStep::Stopping);
        let are_stopped = || self.gate().stopped() >= self.live_connections() && self.gate().leaving() == 0;
        by(deadline, are_stopped).await.ok_or("a connection waits for its room")?;
        let are_quiet = || are_stopped() && context.registry.is_quiet();
        by(deadline, are_quiet).await.ok_or("a room has lines to deliver")
    }

    /// Takes step 4, and encodes the state.
    async fn copy(&mut self, deadline: Instant, patience: Duration) -> Result<(), FreezeError> {
        self.request(HandoverStep::Copied);
        let are_copied = || self.gate().copied() >= self.live_connections();
        let step = "a connection waits for its write lock";
        by(deadline, are_copied).await.ok_or(FreezeError::Timeout(patience, step))?;
        let (mut connections, mut left) = (Vec::new(), Vec::new());
        let (listeners, metrics, admin) = self.copy_listeners();
        for copy in self.gate().take_copies() {
            match copy {
                CopiedConnection::Moved(moved, peer) => {
                    connections.push(*moved);
                    self.sockets.push(HandedSocket::Peer(peer));
                }
                CopiedConnection::Unmovable(place) => {
                    self.unmovable += 1;
                    left.extend(place);
                }
            }
        }
        self.connections = connections.len();
        let HandoverParts { context, admission, rooms, .. } = &*self.turn.parts;
        let moved_rooms =
            context.registry.export_rooms().ok_or(FreezeError::Timeout(patience, "a room's pass runs"))?;
        let (addresses, next_id) = admission.export().await;
        let server = MovedServer {
            allow_duplicate_names: rooms.allow_duplicate_names,
            listeners,
            metrics,
            admin,
            rooms: moved_rooms,
            connections,
            left,
            addresses,
            next_id,
        };
        // Megabytes of backlogs take longer to encode than a worker of the runtime may be taken.
        let encoded = spawn_blocking(move || postcard::to_stdvec(&server)).await;
        self.state = encoded.ok().and_then(Result::ok).ok_or(FreezeError::Encoding)?;
        info!(
            connections = self.connections,
            unmovable = self.unmovable,
            bytes = self.state.len(),
            "stopped for an upgrade"
        );
        Ok(())
    }

    fn copy_listeners(&mut self) -> (Vec<MovedListener>, Option<SocketAddr>, Option<PathBuf>) {
        let parts = Arc::clone(&self.turn.parts);
        let mut listeners = Vec::new();
        for (url, listener) in &parts.listeners {
            // One that is closed already, since the server drains, is not passed on.
            if let Some(listener) = listener.upgrade() {
                let (address, is_activated) = (listener.address().clone(), listener.is_activated());
                listeners.push(MovedListener { url: url.clone(), address, is_activated });
                self.sockets.push(HandedSocket::Listener(listener));
            }
        }
        let metrics = parts.metrics.as_ref().and_then(|(address, listener)| Some((*address, listener.upgrade()?)));
        let metrics = metrics.map(|(address, listener)| {
            self.sockets.push(HandedSocket::Metrics(listener));
            address
        });
        let admin = parts.admin.as_ref().and_then(|(path, listener)| Some((path.clone(), listener.upgrade()?)));
        let admin = admin.map(|(path, listener)| {
            self.sockets.push(HandedSocket::Admin(listener));
            path
        });
        (listeners, metrics, admin)
    }
}

impl Drop for Freeze {
    /// Lets the server go on.
    fn drop(&mut self) {
        drop(self.gate().take_copies());
        self.request(HandoverStep::Running);
        self.turn.parts.gate.paused.send_replace(false);
    }
}

impl fmt::Debug for Freeze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Freeze").field("connections", &self.connections).finish_non_exhaustive()
    }
}

/// Looks again and again until something is done; `None` if it is not done by the deadline.
async fn by(deadline: Instant, is_done: impl Fn() -> bool) -> Option<()> {
    while !is_done() {
        if Instant::now() >= deadline {
            return None;
        }
        sleep(LOOK_AGAIN).await;
    }
    Some(())
}

/// The output of a member whose connection could not be moved: it takes and drops all lines.
#[derive(Debug)]
pub(super) struct DroppedOutput;

impl ByteSink for DroppedOutput {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }
}
