//! Remote members: the members of a room that are on other servers of a cluster, and the exchange with those servers.
//!
//! A room passes every committed batch on to a [`Tap`], and takes the lines and the membership changes of other servers
//! as [`RemoteUpdate`]s through its inbox, so that they stand in the one order of the room. Remote members are no peers:
//! no pass writes to them.

use crate::room::operation::Requester;
use crate::text::messages::missing_notice;
use crate::text::names::{NodeName, RoomName, UserName};
use crate::text::time::Minute;
use arc_swap::ArcSwap;
use bytes::Bytes;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A change that the members of this server made in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LocalChange {
    /// Members' lines end to end, each with its LF, and their number.
    Lines { bytes: Bytes, lines: u32 },
    /// A peer has joined.
    Joined(UserName),
    /// A member has left.
    Left(UserName),
    /// A member has another name.
    Renamed(UserName, UserName),
    /// A peer that waits to join wants a name, in a cluster with one order.
    Claimed(UserName),
    /// A member wants another name, in a cluster with one order.
    ClaimedRename(UserName, UserName),
}

/// Changes of a room that come from other servers, applied in one batch and in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RemoteUpdate(pub(crate) Vec<RemoteChange>);

/// One change that comes from another server, or from the log of a cluster with one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RemoteChange {
    /// Lines of a server's members end to end, each with its LF, and their number.
    Lines { node: NodeName, bytes: Bytes, lines: u32 },
    /// A line of the server, with its LF.
    Notice(String),
    /// A remote member joins, with a line.
    Joined(NodeName, UserName),
    /// A remote member leaves, with a line.
    Left(NodeName, UserName),
    /// A remote member takes another name, with a line.
    Renamed(NodeName, UserName, UserName),
    /// A remote member that was there before is known from now on, without a line.
    Added(NodeName, UserName),
    /// A remote member is out of reach, without a line.
    Removed(NodeName, UserName),
    /// Lines from before the room was opened here, the oldest first, which `/last` shows.
    Earlier(Vec<EarlierLine>),
    /// Lines of which the room has none, from before those that it has, the oldest first, which `/last` shows.
    Stored(Vec<EarlierLine>),
    /// A server that opens the room wants its last lines.
    HistoryWanted(NodeName),
    /// The room is as other servers see it: joins that waited for that are decided.
    Opened,
    /// The server was heard again or is gone: joins that waited for its answer are decided.
    NodeChecked(NodeName),
    /// In a cluster with one order: whether the peers that wait to join with a name get it, now.
    JoinDecided(UserName, bool),
    /// In a cluster with one order: whether a member gets another name, now.
    RenameDecided(UserName, UserName, bool),
    /// In a cluster with one order: a member of this server has left, and its last lines have come.
    Departed(UserName),
    /// A member of this server has to take another name, since an older member of another server has this one.
    Yield(UserName),
}

/// A line of a room's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EarlierLine {
    /// The minute in which it was said.
    pub(crate) minute: Minute,
    /// True for a line of the room, and false for a member's.
    pub(crate) is_notice: bool,
    /// The line without its LF.
    pub(crate) text: Bytes,
}

impl RemoteUpdate {
    /// Returns the bytes that the update holds while it waits: lines, and a fixed amount for each change.
    pub(crate) fn bytes(&self) -> usize {
        let change = |change: &RemoteChange| match change {
            RemoteChange::Lines { bytes, .. } => bytes.len(),
            RemoteChange::Notice(line) => line.len(),
            RemoteChange::Earlier(lines) | RemoteChange::Stored(lines) => {
                lines.iter().map(|line| size_of::<EarlierLine>() + line.text.len()).sum()
            }
            _ => 0,
        };
        self.0.iter().map(|each| size_of::<RemoteChange>() + change(each)).sum()
    }

    /// Replaces lines by the notice that they are missing. Returns their number.
    fn drop_lines(&mut self) -> u64 {
        let mut dropped = 0;
        for change in &mut self.0 {
            if let RemoteChange::Lines { node, lines, .. } = change {
                dropped += u64::from(*lines);
                *change = RemoteChange::Notice(missing_notice(u64::from(*lines), node));
            }
        }
        dropped
    }
}

/// A line from a member of another server to a member of this one.
#[derive(Debug)]
pub(crate) struct IncomingWhisper {
    pub(crate) node: NodeName,
    /// The number with which the outcome is returned.
    pub(crate) id: u64,
    pub(crate) from: UserName,
    pub(crate) to: UserName,
    pub(crate) text: Box<str>,
}

/// A line from a member of this server to a member of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteWhisper {
    /// The addressee's server.
    pub(crate) node: NodeName,
    pub(crate) room: RoomName,
    pub(crate) from: UserName,
    pub(crate) to: UserName,
    pub(crate) text: Box<str>,
}

/// The exchange of one room with other servers. Passes call it; each call returns at once.
pub(crate) trait Tap: std::fmt::Debug + Send + Sync {
    /// Returns true if a room has to be opened before it admits the first peer: another server is known, or lines of rooms
    /// that were closed are kept.
    fn opens_rooms(&self) -> bool;

    /// Called when a room wants its first member: the room waits for [`RemoteChange::Opened`].
    fn open(&self, room: RoomName, instance: u64);

    /// Returns true if lines, joins, leaves and renames of this server's members happen when they come back as
    /// [`RemoteUpdate`]s, and not before.
    fn is_ordered(&self) -> bool;

    /// Called with the changes of a batch before any member has it. `is_shown`: they happen in the batch itself.
    fn on_batch(&self, room: RoomName, instance: u64, changes: Vec<LocalChange>, is_shown: bool);

    /// Called when the room has no member any more, and no peer that waits to join.
    fn close(&self, room: RoomName, instance: u64);

    /// Asks whether a server still answers. The room gets [`RemoteChange::NodeChecked`].
    fn check_node(&self, room: RoomName, node: NodeName);

    /// Gives a server that opens a room its last lines, the oldest first.
    fn send_history(&self, room: RoomName, node: NodeName, lines: Vec<EarlierLine>);

    /// Sends a whisper. The outcome comes back as an operation of the room.
    fn send_whisper(&self, whisper: RemoteWhisper, sender: Requester);

    /// Returns the outcome of a whisper that another server sent: the addressee's spelling of its name, or `None` if the
    /// room has no such member.
    fn return_whisper(&self, node: NodeName, id: u64, addressee: Option<UserName>);

    /// Returns the number of rooms of other servers.
    fn remote_room_count(&self) -> usize;

    /// Adds the rooms of other servers to those of this one, with their numbers of members.
    fn merge_rooms(&self, rooms: Vec<(RoomName, usize)>) -> Vec<(RoomName, usize)>;
}

/// The most bytes of updates that wait in a room's inbox, whatever the capacity of its batches is. Beyond that, lines in
/// updates are dropped and told.
const MAX_UPDATE_BYTES: usize = 1 << 20;

/// The link of a room to the other servers of its cluster.
pub(crate) struct RoomLink {
    pub(crate) tap: Arc<dyn Tap>,
    /// Distinguishes the times that a room of this name was open. The pass alone writes it. Relaxed: a reader that sees the
    /// one before sends an update that has no effect.
    instance: AtomicU64,
    /// The last instance of all rooms of the server. Relaxed: it orders nothing.
    last_instance: Arc<AtomicU64>,
    /// The members on other servers. Any thread reads them; the pass alone replaces them.
    pub(crate) members: ArcSwap<RemoteMembers>,
    /// The bytes of updates that wait in the inbox. Relaxed: the queue orders them.
    update_bytes: AtomicUsize,
    /// The number of peers that wait to join. The pass alone writes it. Release, and Acquire in `has_waiting_joins`: a
    /// room that is found without waiting joins has none since its last pass.
    waiting_joins: AtomicUsize,
}

impl RoomLink {
    pub(crate) fn new(tap: Arc<dyn Tap>, last_instance: &Arc<AtomicU64>) -> Self {
        let link = Self {
            tap,
            instance: AtomicU64::new(0),
            last_instance: Arc::clone(last_instance),
            members: ArcSwap::from_pointee(RemoteMembers::default()),
            update_bytes: AtomicUsize::new(0),
            waiting_joins: AtomicUsize::new(0),
        };
        link.begin_instance();
        link
    }

    /// Returns the instance of the room.
    pub(crate) fn instance(&self) -> u64 {
        self.instance.load(Ordering::Relaxed)
    }

    /// Begins another instance, after the room has lost its last member.
    pub(super) fn begin_instance(&self) {
        let instance = self.last_instance.fetch_add(1, Ordering::Relaxed) + 1;
        self.instance.store(instance, Ordering::Relaxed);
    }

    /// Charges an update to the inbox. Its lines are dropped if the inbox has no capacity for them beside those that wait;
    /// returns their number. Where all lines come back from a log, the members of a room do not share its capacity.
    pub(super) fn admit_update(&self, update: &mut RemoteUpdate, capacity: usize) -> u64 {
        let capacity = if self.tap.is_ordered() { MAX_UPDATE_BYTES } else { capacity.min(MAX_UPDATE_BYTES) };
        let waiting = self.update_bytes.load(Ordering::Relaxed);
        let is_full = waiting > 0 && waiting.saturating_add(update.bytes()) > capacity;
        let dropped = if is_full { update.drop_lines() } else { 0 };
        self.update_bytes.fetch_add(update.bytes(), Ordering::Relaxed);
        dropped
    }

    /// Stops charging updates whose batch is committed.
    pub(super) fn release_updates(&self, bytes: usize) {
        self.update_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Publishes the number of peers that wait to join.
    pub(super) fn set_waiting_joins(&self, count: usize) {
        self.waiting_joins.store(count, Ordering::Release);
    }

    /// Returns whether peers wait to join.
    pub(super) fn has_waiting_joins(&self) -> bool {
        self.waiting_joins.load(Ordering::Acquire) > 0
    }
}

/// The members of one room on other servers. One set a server, which is copied when it changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct RemoteMembers(BTreeMap<NodeName, Arc<HashSet<UserName>>>);

impl RemoteMembers {
    /// Returns the number of members.
    pub(crate) fn len(&self) -> usize {
        self.0.values().map(|names| names.len()).sum()
    }

    /// Returns the first server, by name, with a member of this name, and the name in the member's own letters.
    pub(crate) fn find(&self, name: &UserName) -> Option<(NodeName, UserName)> {
        self.0.iter().find_map(|(node, names)| names.get(name).map(|own| (*node, *own)))
    }

    /// Returns the names of all members.
    pub(crate) fn names(&self) -> impl Iterator<Item = &UserName> {
        self.0.values().flat_map(|names| names.iter())
    }

    /// Adds a member.
    pub(crate) fn add(&mut self, node: NodeName, name: UserName) {
        Arc::make_mut(self.0.entry(node).or_default()).replace(name);
    }

    /// Removes a member.
    pub(crate) fn remove(&mut self, node: NodeName, name: &UserName) {
        if let Some(names) = self.0.get_mut(&node) {
            Arc::make_mut(names).remove(name);
            if names.is_empty() {
                self.0.remove(&node);
            }
        }
    }
}
