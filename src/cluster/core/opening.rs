//! Opening a room, and comparing it with other servers after an interruption: who is awaited, and what waits meanwhile.

use crate::cluster::core::nodes::is_alive;
use crate::cluster::core::origin_room::{OriginRoom, Output};
use crate::cluster::core::rooms::{OpenRoom, WAITING_PAUSE};
use crate::cluster::core::stored::LivePlaces;
use crate::cluster::core::{Channel, Core};
use crate::cluster::frame::Head;
use crate::room::remote::RemoteChange;
use crate::text::names::{NodeName, RoomName};
use std::collections::BTreeSet;

/// How long a room waits at most for other servers before it admits its first member, in milliseconds.
const OPENING: u64 = 500;

/// How long a room waits for its last lines, in milliseconds.
const HISTORY_TIMEOUT: u64 = 300;

/// How long a comparison of a room waits for other servers at most, in milliseconds.
const COMPARISON: u64 = 5_000;

/// The rooms that are compared in each millisecond after an interruption.
const ROOMS_PER_MILLISECOND: u64 = 10;

/// The most bytes of updates that are held back while a room is compared.
pub(super) const MAX_HELD_BACK: usize = 256 << 10;

/// The members of other servers are awaited.
#[derive(Debug)]
pub(super) struct Opening {
    /// The servers that have not answered.
    pub(super) missing: BTreeSet<NodeName>,
    pub(super) until: u64,
    /// When the servers were asked last.
    pub(super) asked_at: u64,
    /// How often they were asked again.
    pub(super) tries: u32,
    /// The changes of a room that is compared; `None` where the room opens.
    pub(super) held_back: Option<Vec<RemoteChange>>,
    pub(super) held_bytes: usize,
    /// Whether the last lines of the room were asked for, once all servers have answered.
    pub(super) is_history_asked: bool,
    /// The first place of each stream whose changes have come since: they are no earlier lines.
    pub(super) live: LivePlaces,
}

impl Opening {
    /// Returns an opening, or a comparison if changes are `held_back`, which asks for no last lines.
    fn new(missing: BTreeSet<NodeName>, until: u64, asked_at: u64, held_back: Option<Vec<RemoteChange>>) -> Self {
        let is_history_asked = held_back.is_some();
        let (tries, held_bytes, live) = (0, 0, LivePlaces::default());
        Self { missing, until, asked_at, tries, held_back, held_bytes, is_history_asked, live }
    }

    pub(super) fn is_awaiting_history(&self) -> bool {
        self.held_back.is_none() && self.is_history_asked
    }
}

impl OpenRoom {
    /// Holds changes of other servers back from now on, until these have answered or that takes too long.
    fn hold_back(&mut self, missing: BTreeSet<NodeName>, until: u64, now: u64) {
        // The servers are asked at the next look at the room.
        let asked_at = now.saturating_sub(2 * WAITING_PAUSE);
        match &mut self.opening {
            Some(opening @ Opening { held_back: Some(_), .. }) => {
                (opening.missing, opening.until, opening.asked_at, opening.tries) = (missing, until, asked_at, 0);
            }
            // The room may have been opened out of reach, without waiting for the servers.
            Some(opening) => {
                opening.missing.extend(missing);
                (opening.until, opening.asked_at) = (opening.until.max(now + OPENING), asked_at);
            }
            None => {
                self.opening = Some(Opening::new(missing, until, asked_at, Some(Vec::new())));
            }
        }
    }
}

impl Core {
    /// Opens a room that wants its first member. The room gets [`RemoteChange::Opened`] when all servers have answered.
    pub(crate) fn open_room(&mut self, room: RoomName, instance: u64) {
        let missing = if self.has_other_nodes() { self.alive_nodes() } else { BTreeSet::new() };
        let (until, asked_at) = (self.now + OPENING, self.now);
        self.insert_room(room, instance);
        if let Some(open) = self.rooms.get_mut(&room) {
            open.opening = Some(Opening::new(missing, until, asked_at, None));
        }
        self.send_data(Channel::All, Head::Hello { room });
        self.end_opening_if_done(room);
        self.schedule(room, WAITING_PAUSE);
    }

    /// Ends a comparison: changes that were held back are told now.
    pub(super) fn flush_held_back(&mut self, room: RoomName) {
        let Some(open) = self.rooms.get_mut(&room) else { return };
        if let Some(held) =
            open.opening.take_if(|opening| opening.held_back.is_some()).and_then(|opening| opening.held_back)
        {
            self.update_room(room, held);
        }
    }

    /// Records that a server has answered about a room.
    pub(super) fn on_answer(&mut self, room: RoomName, node: NodeName) {
        if let Some(opening) = self.rooms.get_mut(&room).and_then(|open| open.opening.as_mut()) {
            opening.missing.remove(&node);
        }
        self.end_opening_if_done(room);
    }

    /// Asks a server that has members in a room which is opened for its last lines, or NATS if there is none. Returns true if
    /// an answer is awaited.
    fn ask_history(&mut self, room: RoomName) -> bool {
        let (until, is_in_reach) = (self.now + HISTORY_TIMEOUT, self.is_in_reach());
        let nodes = &self.nodes;
        let Some(open) = self.rooms.get_mut(&room) else { return false };
        let Some(opening) = open.opening.as_mut() else { return false };
        if std::mem::replace(&mut opening.is_history_asked, true) {
            return opening.until > self.now;
        }
        let has_members = |(node, origin): &(&NodeName, &OriginRoom)| {
            is_in_reach && !origin.members().is_empty() && is_alive(nodes, node)
        };
        opening.until = until;
        let instance = open.instance;
        let Some(node) = open.origins.iter().find(has_members).map(|(node, _)| *node) else {
            return self.read_stored(room, instance);
        };
        self.send_control(Channel::Node(node), Head::HistoryWanted { room });
        true
    }

    /// Returns the opening of a room, while it opens.
    pub(super) fn opening_mut(&mut self, room: RoomName) -> Option<&mut Opening> {
        let opening = self.rooms.get_mut(&room)?.opening.as_mut();
        opening.filter(|opening| opening.held_back.is_none())
    }

    /// Returns true if an instance of a room is opened as soon as its last lines have come.
    pub(super) fn awaits_history(&self, room: RoomName, instance: u64) -> bool {
        self.rooms.get(&room).is_some_and(|open| {
            open.instance == instance && open.opening.as_ref().is_some_and(Opening::is_awaiting_history)
        })
    }

    /// Gives a room that is opened its last lines, and opens it.
    pub(super) fn on_history(&mut self, room: RoomName, lines: RemoteChange) {
        let Some(open) = self.rooms.get_mut(&room) else { return };
        if let Some(opening) = open.opening.take_if(|opening| opening.is_awaiting_history()) {
            self.update_room(room, vec![lines, RemoteChange::Opened]);
            self.ask_on(room, opening.missing);
        }
    }

    /// Asks servers on that have not answered in time: they may have members whose next word is far away.
    fn ask_on(&mut self, room: RoomName, missing: BTreeSet<NodeName>) {
        for node in missing {
            if let Some(boot) = self.nodes.get(&node).map(|node| node.origin.boot) {
                self.follow_if_unknown(room, (node, boot));
            }
        }
    }

    /// Ends the opening or the comparison of a room when no server is missing, or when it takes too long.
    pub(super) fn end_opening_if_done(&mut self, room: RoomName) {
        let now = self.now;
        let (nodes, can_wait, is_shared) = (&self.nodes, self.is_in_reach(), self.is_shared());
        let Some(open) = self.rooms.get_mut(&room) else { return };
        let is_silent = |opening: &Opening| {
            // A server that was heard since it was asked answers no more. Of one that was not it is soon known.
            let since = opening.until.saturating_sub(OPENING);
            opening.missing.iter().any(|node| nodes.get(node).is_some_and(|node| !node.was_heard_since(since)))
        };
        let is_over = |opening: &mut Opening| {
            // A join waits for nobody while no server can be reached.
            let is_opening = opening.held_back.is_none();
            let is_late = opening.until <= now && !(is_opening && is_silent(opening));
            // A room is whole again only once the log is in reach.
            let can_end = is_opening || is_shared;
            can_end && (opening.missing.is_empty() || is_late || (is_opening && !can_wait))
        };
        let is_opening = open.opening.as_ref().is_some_and(|opening| opening.held_back.is_none());
        if !open.opening.as_mut().is_some_and(is_over) || (is_opening && self.ask_history(room)) {
            return;
        }
        let Some(open) = self.rooms.get_mut(&room) else { return };
        let Some(opening) = open.opening.take() else { return };
        let was_alone = std::mem::take(&mut open.is_alone);
        let changes = match opening.held_back {
            None => vec![RemoteChange::Opened],
            Some(held) if was_alone => {
                let mut changes = vec![RemoteChange::Notice("*** the room is whole again\n".to_owned())];
                changes.extend(held);
                changes
            }
            Some(held) => held,
        };
        self.update_room(room, changes);
        self.ask_on(room, opening.missing);
    }

    /// Asks all servers again for the members of a room that waits for some, and forgets those that are dead.
    pub(super) fn repeat_hello(&mut self, room: RoomName) {
        if !self.is_in_reach() || self.rooms.get(&room).is_none_or(|open| open.opening.is_none()) {
            return;
        }
        let (now, alive) = (self.now, self.alive_nodes());
        let Some(opening) = self.rooms.get_mut(&room).and_then(|open| open.opening.as_mut()) else { return };
        opening.missing.retain(|node| alive.contains(node));
        let pause = (2 * WAITING_PAUSE) << opening.tries.min(4);
        if opening.missing.is_empty() || now.saturating_sub(opening.asked_at) < pause {
            return;
        }
        (opening.asked_at, opening.tries) = (now, opening.tries.saturating_add(1));
        let missing: Vec<NodeName> = opening.missing.iter().copied().collect();
        for node in missing {
            // Of one that is gone it is soon known.
            self.ping(node);
            self.send_data(Channel::Node(node), Head::Hello { room });
        }
    }

    /// Compares all rooms with those of other servers, after an interruption: some in each millisecond.
    pub(super) fn compare_rooms(&mut self) {
        let rooms: Vec<RoomName> = self.rooms.keys().copied().collect();
        let missing = self.alive_nodes();
        let now = self.now;
        for (index, room) in rooms.into_iter().enumerate() {
            let Some(open) = self.rooms.get_mut(&room) else { continue };
            for origin in open.origins.values_mut() {
                origin.want_snapshot(now);
            }
            open.hold_back(missing.clone(), now + COMPARISON, now);
            open.is_snapshot_due = true;
            self.schedule(room, index as u64 / ROOMS_PER_MILLISECOND);
        }
    }

    /// Tells each room with members of other servers that these are out of reach.
    pub(super) fn withdraw_remote_members(&mut self) {
        let (now, node) = (self.now, self.origin.node);
        let alive = self.alive_nodes();
        let rooms: Vec<RoomName> = self.rooms.keys().copied().collect();
        for room in rooms {
            let Some(open) = self.rooms.get_mut(&room) else { continue };
            let mut output = Output::new(self.max_line, self.order);
            let has_remote = open.origins.values().any(|origin| !origin.members().is_empty());
            open.origins.values_mut().for_each(|origin| origin.withdraw(&mut output, now));
            if has_remote && !std::mem::replace(&mut open.is_alone, true) {
                output.changes.push(RemoteChange::Notice(format!("*** this room is on {node} only for now\n")));
            }
            self.update_room(room, output.changes);
            if let Some(open) = self.rooms.get_mut(&room).filter(|_| has_remote) {
                // The changes that follow are told after the end of the split.
                open.hold_back(alive.clone(), u64::MAX, now);
            }
        }
    }
}
