//! The numbers of members of all rooms, for `/rooms`: each server says every second which of its own have changed.

use crate::cluster::core::{Channel, Core, parts};
use crate::cluster::frame::{CountsPart, Head, Origin};
use crate::text::names::{NodeName, RoomName};
use std::collections::{BTreeMap, BTreeSet};

/// The most rooms in one frame.
const ROOMS_PER_FRAME: usize = 2_000;

/// The most rooms of one server that are believed.
const MAX_ROOMS: usize = 200_000;

/// The time between two requests for all counts of one server, in milliseconds.
const ASK_PAUSE: u64 = 2_000;

/// The counts that are to be sent.
#[derive(Debug, Default)]
pub(super) struct Counts {
    changed: BTreeSet<RoomName>,
    /// The number of the last frame of changes.
    number: u64,
    /// The servers that want all counts.
    wanted: BTreeSet<NodeName>,
}

impl Core {
    /// Notes that the number of members of a room has changed.
    pub(super) fn count_changed(&mut self, room: RoomName) {
        self.counts_of_rooms.changed.insert(room);
    }

    /// Notes that a server wants all counts.
    pub(super) fn want_counts(&mut self, node: NodeName) {
        self.counts_of_rooms.wanted.insert(node);
    }

    /// Sends the counts that have changed, and all counts to the servers that want them.
    pub(super) fn send_counts(&mut self) {
        let changed: Vec<RoomName> = std::mem::take(&mut self.counts_of_rooms.changed).into_iter().collect();
        for rooms in changed.chunks(ROOMS_PER_FRAME) {
            self.counts_of_rooms.number += 1;
            let rooms = rooms.iter().map(|room| (*room, self.member_count(room))).collect();
            let number = self.counts_of_rooms.number;
            self.send_control(Channel::All, Head::Counts { number, part: CountsPart::Changed, rooms });
        }
        let wanted = std::mem::take(&mut self.counts_of_rooms.wanted);
        if wanted.is_empty() {
            return;
        }
        let all: Vec<(RoomName, u32)> = self.rooms.keys().map(|room| (*room, self.member_count(room))).collect();
        let number = self.counts_of_rooms.number;
        for node in wanted {
            for (rooms, is_first, is_last) in parts(&all, ROOMS_PER_FRAME) {
                let part = CountsPart::All { is_first, is_last };
                self.send_control(Channel::Node(node), Head::Counts { number, part, rooms: rooms.to_vec() });
            }
        }
    }

    /// Says that this server lives.
    pub(super) fn send_heartbeat(&mut self) {
        let counts = self.counts_of_rooms.number;
        self.send_control(Channel::All, Head::Heartbeat { counts });
    }

    /// Asks a server for its counts if its last ones have not come.
    pub(super) fn check_counts_number(&mut self, name: NodeName, number: u64) {
        if self.nodes.get(&name).is_some_and(|node| node.counts_number.is_none_or(|last| last < number)) {
            self.ask_counts(name);
        }
    }

    /// Follows the counts of a server.
    pub(super) fn on_counts(
        &mut self,
        origin: &Origin,
        (number, part): (u64, CountsPart),
        rooms: Vec<(RoomName, u32)>,
    ) {
        let (now, name) = (self.now, origin.node);
        let Some(node) = self.nodes.get_mut(&name) else { return };
        match part {
            CountsPart::All { is_first, .. } => {
                node.counts_number = None;
                if is_first {
                    node.rooms.clear();
                }
            }
            CountsPart::Changed if node.counts_number.is_some_and(|last| last.saturating_add(1) == number) => {}
            CountsPart::Changed => return self.ask_counts(name),
        }
        node.counts_asked_at = now;
        if !matches!(part, CountsPart::All { is_last: false, .. }) {
            node.counts_number = Some(number);
        }
        for (room, members) in &rooms {
            if *members == 0 {
                node.rooms.remove(room);
            } else if node.rooms.len() < MAX_ROOMS {
                node.rooms.insert(*room, *members);
            }
        }
        for (room, members) in rooms {
            if members > 0 {
                self.follow_if_unknown(room, (name, origin.boot));
            } else {
                self.compare_if_members(room, name);
            }
        }
        if matches!(part, CountsPart::All { is_last: true, .. }) {
            self.compare_rooms_without_count(name);
        }
    }

    /// Wants the members of a server anew in the rooms that are not open there.
    fn compare_rooms_without_count(&mut self, name: NodeName) {
        let Some(node) = self.nodes.get(&name) else { return };
        let uncounted: Vec<RoomName> =
            self.rooms.keys().filter(|room| !node.rooms.contains_key(room)).copied().collect();
        for room in uncounted {
            self.compare_if_members(room, name);
        }
    }

    /// Asks a server for all counts, unless it was asked a moment ago.
    pub(super) fn ask_counts(&mut self, name: NodeName) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(&name) else { return };
        if node.counts_asked_at == 0 || now.saturating_sub(node.counts_asked_at) >= ASK_PAUSE {
            node.counts_asked_at = now;
            node.counts_number = None;
            self.send_control(Channel::Node(name), Head::CountsWanted);
        }
    }

    /// Returns the rooms of other servers that are alive, with their numbers of members there.
    pub(crate) fn remote_rooms(&self) -> BTreeMap<RoomName, usize> {
        let mut rooms = BTreeMap::new();
        for node in self.nodes.values().filter(|node| node.is_alive()) {
            for (room, members) in &node.rooms {
                *rooms.entry(*room).or_default() += *members as usize;
            }
        }
        rooms
    }

    fn member_count(&self, room: &RoomName) -> u32 {
        self.rooms.get(room).map_or(0, |room| u32::try_from(room.member_count()).unwrap_or(u32::MAX))
    }
}
