//! The rooms that are open here, and when each is looked at.

use crate::cluster::core::nodes::is_alive;
use crate::cluster::core::opening::Opening;
use crate::cluster::core::ordered::OwnChanges;
use crate::cluster::core::origin_room::OriginRoom;
use crate::cluster::core::{Core, Effect};
use crate::cluster::frame::{Position, StreamId};
use crate::text::names::{NodeName, RoomName, UserName};
use std::collections::{BTreeMap, HashMap, HashSet};

/// How long a room is quiet before it says where it stands, in milliseconds.
pub(super) const QUIET: u64 = 1_000;

/// How often a quiet room says again where it stands at least, in milliseconds. It begins with [`QUIET`], and each pause is
/// twice the one before.
const TAIL_PAUSE: u64 = 30_000;

/// The time between two looks at a room that waits for others, in milliseconds.
pub(super) const WAITING_PAUSE: u64 = 100;

/// The time after which members of a server are asked for again if the server has said nothing of the room.
const SILENT: u64 = 75_000;

/// A room that is open here.
#[derive(Debug)]
pub(super) struct OpenRoom {
    pub(super) instance: u64,
    /// The number of its stream of changes.
    pub(super) stream: u64,
    pub(super) members: HashMap<UserName, u64>,
    pub(super) at: Position,
    pub(super) own: OwnChanges,
    pub(super) origins: BTreeMap<NodeName, OriginRoom>,
    pub(super) opening: Option<Opening>,
    /// When a change or the place was published.
    pub(super) published_at: u64,
    /// How often the place was said since the last change.
    pub(super) tails: u32,
    /// Members that have to take another name, and have not yet.
    pub(super) conflicts: HashSet<UserName>,
    /// When the room is looked at next.
    pub(super) due: u64,
    /// True once the room was told that it is this server's alone.
    pub(super) is_alone: bool,
    /// True until the members are sent to all servers: after an interruption, or since one has asked.
    pub(super) is_snapshot_due: bool,
    /// When the members were sent last.
    pub(super) snapshot_at: u64,
}

impl OpenRoom {
    /// Returns the number of members on this server.
    pub(super) fn member_count(&self) -> usize {
        self.members.len()
    }

    /// Returns true if a member of this server has a name.
    pub(super) fn has_member(&self, name: &UserName) -> bool {
        self.members.contains_key(name)
    }

    /// Returns true if changes of this server from a place on come after all that have happened here.
    pub(super) fn is_at(&self, stream: u64, from: Position) -> bool {
        self.stream == stream && from.total() >= self.own.at.total()
    }

    /// Returns the time from the last change or place until the place is said.
    fn tail_pause(&self) -> u64 {
        (QUIET << self.tails.min(5)).min(TAIL_PAUSE)
    }
}

impl Core {
    pub(super) fn insert_room(&mut self, room: RoomName, instance: u64) {
        if let Some(before) = self.rooms.remove(&room) {
            self.timers.remove(&(before.due, room));
        } else {
            self.effects.push(Effect::Subscribe(room));
        }
        let due = self.now + QUIET;
        self.last_stream += 1;
        let open = OpenRoom {
            instance,
            stream: self.last_stream,
            members: HashMap::new(),
            at: Position::default(),
            own: OwnChanges::default(),
            origins: BTreeMap::new(),
            opening: None,
            published_at: self.now,
            tails: 0,
            conflicts: HashSet::new(),
            due,
            is_alone: false,
            is_snapshot_due: false,
            snapshot_at: 0,
        };
        self.rooms.insert(room, open);
        self.timers.insert((due, room));
        self.complete_unless_awaited(room);
    }

    /// Closes a room that has no member any more. Other servers know that from its last change, or ask.
    pub(crate) fn close_room(&mut self, room: RoomName, instance: u64) {
        if self.instance_of(room) != Some(instance) {
            return;
        }
        // A room that is shut down has members until here.
        self.publish_leaves(room);
        if let Some(open) = self.rooms.remove(&room) {
            self.remember_place(room, open.stream, open.at);
            self.timers.remove(&(open.due, room));
            self.effects.push(Effect::Unsubscribe(room));
            self.count_changed(room);
            self.complete_unless_awaited(room);
            // A server that has missed the last change asks, and hears that the room is not open here.
            self.send_tail(StreamId { room, stream: open.stream }, open.at);
            self.send_snapshot(room);
        }
    }

    /// Answers a server that asks for the members of a room. Servers that ask at one moment share an answer.
    pub(super) fn answer_hello(&mut self, room: RoomName) {
        let now = self.now;
        match self.rooms.get_mut(&room) {
            Some(open) if now.saturating_sub(open.snapshot_at) < WAITING_PAUSE => {
                open.is_snapshot_due = true;
                self.schedule(room, WAITING_PAUSE);
            }
            _ => self.send_snapshot(room),
        }
    }

    /// Returns the number of the stream of a room that is open here.
    pub(super) fn stream_of(&self, room: RoomName) -> Option<u64> {
        self.rooms.get(&room).map(|open| open.stream)
    }

    /// Returns the instance of a room that is open here.
    pub(super) fn instance_of(&self, room: RoomName) -> Option<u64> {
        self.rooms.get(&room).map(|open| open.instance)
    }

    /// Looks at the rooms whose time has come.
    pub(super) fn run_timers(&mut self) {
        while let Some((due, room)) = self.timers.first().copied().filter(|(due, _)| *due <= self.now) {
            self.timers.remove(&(due, room));
            if let Some(open) = self.rooms.get_mut(&room) {
                // The room has no timer until the look is over; one that is set meanwhile is kept if it is earlier.
                open.due = u64::MAX;
                let pause = self.look_at_room(room);
                self.schedule(room, pause.max(1));
            }
        }
    }

    /// Does what is due in a room. Returns the time until the next look.
    fn look_at_room(&mut self, room: RoomName) -> u64 {
        let now = self.now;
        if self.rooms.get_mut(&room).is_some_and(|open| std::mem::take(&mut open.is_snapshot_due)) {
            // Other servers compare with it.
            self.send_snapshot(room);
        }
        self.repeat_hello(room);
        let conflicts = self.rooms.get(&room).map(|open| open.conflicts.iter().copied().collect::<Vec<UserName>>());
        for name in conflicts.unwrap_or_default() {
            self.check_name(room, name);
        }
        self.end_opening_if_done(room);
        let nodes = &self.nodes;
        let Some(open) = self.rooms.get_mut(&room) else { return TAIL_PAUSE };
        for (node, origin) in &mut open.origins {
            if is_alive(nodes, node) && !origin.members().is_empty() && now.saturating_sub(origin.heard) > SILENT {
                origin.heard = now;
                origin.want_snapshot(now);
            }
        }
        if now.saturating_sub(open.published_at) >= open.tail_pause() {
            (open.published_at, open.tails) = (now, open.tails.saturating_add(1));
            let (of, at) = (StreamId { room, stream: open.stream }, open.at);
            self.send_tail(of, at);
        }
        self.ask_for_snapshots(room);
        let Some(open) = self.rooms.get(&room) else { return TAIL_PAUSE };
        let waits = |node: &NodeName| is_alive(&self.nodes, node);
        let is_waiting = self.is_in_reach()
            && (open.opening.is_some() || open.origins.iter().any(|(node, origin)| !origin.is_known() && waits(node)));
        let until_tail = open.tail_pause().saturating_sub(now.saturating_sub(open.published_at)).max(1);
        // Last lines are awaited in any case.
        let is_waiting = is_waiting || open.opening.as_ref().is_some_and(Opening::is_awaiting_history);
        if is_waiting { WAITING_PAUSE.min(until_tail) } else { until_tail }
    }

    pub(super) fn schedule(&mut self, room: RoomName, pause: u64) {
        let Some(open) = self.rooms.get_mut(&room) else { return };
        let due = self.now + pause;
        if due < open.due {
            self.timers.remove(&(open.due, room));
            open.due = due;
            self.timers.insert((due, room));
        }
    }

    /// Returns whether a room is open here.
    pub(super) fn is_open(&self, room: RoomName) -> bool {
        self.rooms.contains_key(&room)
    }
}
