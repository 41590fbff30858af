//! The tap: how passes reach the cluster's task, without waiting for it.

use crate::cluster::core::ClusterCounts;
use crate::room::operation::Requester;
use crate::room::remote::{EarlierLine, LocalChange, RemoteWhisper, Tap};
use crate::text::names::{NodeName, RoomName, UserName};
use arc_swap::ArcSwap;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

/// The most bytes of lines that wait for the cluster's task. Beyond that lines are a hole that others are told of.
const MAX_WAITING: usize = 8 << 20;

/// An event for the cluster's task: of a pass, of an operator, or the server's end.
pub(super) enum LocalEvent {
    Open(RoomName, u64),
    /// The changes of a batch, and whether they have happened in the room.
    Batch(RoomName, u64, Vec<LocalChange>, bool),
    Close(RoomName, u64),
    CheckNode(RoomName, NodeName),
    Whisper(RemoteWhisper, Requester),
    History(RoomName, NodeName, Vec<EarlierLine>),
    Returned(NodeName, u64, Option<UserName>),
    /// Have other servers run an operator's line.
    Operator(String),
    /// Let everything happen that waits for the log, and drop this.
    EndWaiting(oneshot::Sender<()>),
    /// Tell the other servers, and end.
    Stop,
}

/// The state that the cluster's task shares with all others.
#[derive(Debug)]
pub(crate) struct Shared {
    /// True if another server is known. Relaxed: a room that sees the value of before asks nobody, or waits for nobody.
    has_other_nodes: AtomicBool,
    /// True while the bus is connected. Relaxed: for metrics.
    is_connected: AtomicBool,
    /// True once the log of rooms is there. Relaxed: the start of the server alone waits for it.
    is_log_there: AtomicBool,
    /// True while members wait for the log. Relaxed: the task takes batches of both kinds at any time.
    is_ordered: AtomicBool,
    /// True once the server stops, so that members wait for no log. Relaxed, as `is_ordered`.
    is_ending: AtomicBool,
    /// True while lines that NATS keeps can be read. Relaxed: a room that sees the value of before opens without them.
    has_store: AtomicBool,
    /// The bytes of lines that wait for the task. Relaxed: the queue orders them.
    waiting: AtomicUsize,
    /// The rooms of other servers.
    rooms: ArcSwap<BTreeMap<RoomName, usize>>,
    counts: ArcSwap<ClusterCounts>,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            has_other_nodes: AtomicBool::new(false),
            is_connected: AtomicBool::new(false),
            is_log_there: AtomicBool::new(false),
            is_ordered: AtomicBool::new(false),
            is_ending: AtomicBool::new(false),
            has_store: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            rooms: ArcSwap::default(),
            counts: ArcSwap::default(),
        }
    }

    pub(super) fn set_other_nodes(&self, has_some: bool) {
        self.has_other_nodes.store(has_some, Ordering::Relaxed);
    }

    pub(super) fn set_ordered(&self, is_ordered: bool) {
        self.is_ordered.store(is_ordered, Ordering::Relaxed);
    }

    /// Has members wait for no log any more.
    pub(super) fn end_ordered(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
    }

    pub(super) fn set_connected(&self, is_connected: bool) {
        self.is_connected.store(is_connected, Ordering::Relaxed);
    }

    pub(super) fn set_store(&self, is_usable: bool) {
        self.has_store.store(is_usable, Ordering::Relaxed);
    }

    pub(super) fn set_rooms(&self, rooms: BTreeMap<RoomName, usize>) {
        self.rooms.store(Arc::new(rooms));
    }

    pub(super) fn set_counts(&self, counts: ClusterCounts) {
        self.counts.store(Arc::new(counts));
    }

    /// Stops counting a batch that the task has.
    pub(super) fn release(&self, changes: &[LocalChange]) {
        self.waiting.fetch_sub(line_bytes(changes), Ordering::Relaxed);
    }

    /// Records that the log of rooms is there.
    pub(super) fn set_log_there(&self) {
        self.is_log_there.store(true, Ordering::Relaxed);
    }

    /// Returns whether the log of rooms is there, in a cluster with one order.
    pub(super) fn is_log_there(&self) -> bool {
        self.is_log_there.load(Ordering::Relaxed)
    }

    /// Returns whether members wait for the log.
    pub(crate) fn is_ordered(&self) -> bool {
        self.is_ordered.load(Ordering::Relaxed) && !self.is_ending.load(Ordering::Relaxed)
    }

    /// Returns whether the bus is connected.
    pub(crate) fn is_connected(&self) -> bool {
        self.is_connected.load(Ordering::Relaxed)
    }

    /// Returns whether lines that NATS keeps can be read.
    pub(crate) fn has_store(&self) -> bool {
        self.has_store.load(Ordering::Relaxed)
    }

    /// Returns what the task has counted.
    pub(crate) fn counts(&self) -> ClusterCounts {
        **self.counts.load()
    }
}

/// The tap of all rooms of a server.
#[derive(Debug)]
pub(super) struct RoomTap {
    pub(super) events: UnboundedSender<LocalEvent>,
    pub(super) shared: Arc<Shared>,
}

impl RoomTap {
    fn send(&self, event: LocalEvent) {
        // Without the task the rooms are this server's alone.
        let _ = self.events.send(event);
    }
}

impl Tap for RoomTap {
    fn opens_rooms(&self) -> bool {
        let asks = self.shared.has_other_nodes.load(Ordering::Relaxed) || self.shared.has_store();
        asks && !self.events.is_closed()
    }

    fn open(&self, room: RoomName, instance: u64) {
        self.send(LocalEvent::Open(room, instance));
    }

    fn is_ordered(&self) -> bool {
        self.shared.is_ordered() && !self.events.is_closed()
    }

    fn on_batch(&self, room: RoomName, instance: u64, mut changes: Vec<LocalChange>, is_shown: bool) {
        let mut bytes = line_bytes(&changes);
        if self.shared.waiting.load(Ordering::Relaxed).saturating_add(bytes) > MAX_WAITING {
            for change in &mut changes {
                if let LocalChange::Lines { bytes, .. } = change {
                    *bytes = Bytes::new();
                }
            }
            bytes = 0;
        }
        self.shared.waiting.fetch_add(bytes, Ordering::Relaxed);
        self.send(LocalEvent::Batch(room, instance, changes, is_shown));
    }

    fn close(&self, room: RoomName, instance: u64) {
        self.send(LocalEvent::Close(room, instance));
    }

    fn check_node(&self, room: RoomName, node: NodeName) {
        self.send(LocalEvent::CheckNode(room, node));
    }

    fn send_history(&self, room: RoomName, node: NodeName, lines: Vec<EarlierLine>) {
        self.send(LocalEvent::History(room, node, lines));
    }

    fn send_whisper(&self, whisper: RemoteWhisper, sender: Requester) {
        self.send(LocalEvent::Whisper(whisper, sender));
    }

    fn return_whisper(&self, node: NodeName, id: u64, addressee: Option<UserName>) {
        self.send(LocalEvent::Returned(node, id, addressee));
    }

    fn remote_room_count(&self) -> usize {
        self.shared.rooms.load().len()
    }

    fn merge_rooms(&self, rooms: Vec<(RoomName, usize)>) -> Vec<(RoomName, usize)> {
        let remote = self.shared.rooms.load_full();
        if remote.is_empty() {
            return rooms;
        }
        let mut merged: BTreeMap<RoomName, usize> = rooms.into_iter().collect();
        for (room, members) in remote.iter() {
            *merged.entry(*room).or_default() += members;
        }
        merged.into_iter().collect()
    }
}

/// Returns the bytes of the lines in changes.
fn line_bytes(changes: &[LocalChange]) -> usize {
    changes.iter().map(|change| if let LocalChange::Lines { bytes, .. } = change { bytes.len() } else { 0 }).sum()
}
