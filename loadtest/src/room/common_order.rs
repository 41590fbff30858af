//! The common order of a room's lines: one of all members, or one of the members on each server where several share the room.

use std::iter::StepBy;
use std::ops::Range;

use super::Room;
use super::diverged::Placement;
use crate::plan::server_number;
use crate::room_log::RoomLog;

/// One common order of a room's lines, and how far its members have received it.
pub(super) struct CommonOrder {
    /// The first member that has this order.
    first: usize,
    /// The distance between two members that have this order: the number of orders of the room.
    step: usize,
    /// The number of members of the room.
    room_size: usize,
    /// The lines in this order.
    pub(super) log: RoomLog,
    /// For each sender, the number of its lines in the log.
    pub(super) logged: Vec<u32>,
    /// Lines that every member that is read immediately has received; `usize::MAX` where no member is left.
    pub(super) floor: usize,
    /// The number of lines that each of these members must reach before the floor rises.
    pub(super) floor_target: usize,
    /// The number of these members that have not reached it.
    pub(super) below_target: usize,
    /// Whether a member has moved on since the floor was last computed.
    pub(super) floor_outdated: bool,
    /// The state of finding positions for the lines of members that have diverged from this order.
    pub(super) placement: Placement,
    /// Members without a position in the order: their connections have ended, or they have come back and their position is
    /// not known yet.
    pub(super) outside_members: usize,
}

impl CommonOrder {
    /// Returns order number `index` of `count` orders of a room with these members. Order `index` is that of the members for
    /// which [`server_number`] returns it.
    pub(super) fn new((index, count): (usize, usize), (room, room_size): (usize, usize), senders: usize) -> Self {
        Self {
            first: (index + count - room % count) % count,
            step: count,
            room_size,
            log: RoomLog::default(),
            logged: vec![0; senders],
            floor: 0,
            floor_target: 1,
            below_target: 0,
            floor_outdated: false,
            placement: Placement::default(),
            outside_members: 0,
        }
    }

    /// Returns the members that have this order.
    pub(super) fn members(&self) -> StepBy<Range<usize>> {
        (self.first.min(self.room_size)..self.room_size).step_by(self.step)
    }

    /// Returns the number of members that have a position in this order.
    pub(super) fn located_members(&self) -> usize {
        self.members().len() - self.outside_members
    }
}

impl Room {
    /// Returns the number of a member's common order.
    pub(super) fn order_number(&self, member: usize) -> usize {
        server_number((self.number as usize, member), self.orders.len())
    }

    /// Returns a member's common order.
    pub(super) fn order(&self, member: usize) -> &CommonOrder {
        &self.orders[self.order_number(member)]
    }

    /// Returns a member's common order, to change it.
    pub(super) fn order_mut(&mut self, member: usize) -> &mut CommonOrder {
        let number = self.order_number(member);
        &mut self.orders[number]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_member_has_one_order() {
        for (room, members, count) in [(0, 5, 1), (3, 5, 1), (0, 7, 3), (1, 7, 3), (5, 7, 3), (4, 2, 3)] {
            let mut seen = vec![0; members];
            for index in 0..count {
                let order = CommonOrder::new((index, count), (room, members), 1);
                for member in order.members() {
                    assert_eq!(server_number((room, member), count), index);
                    seen[member] += 1;
                }
            }
            assert!(seen.iter().all(|count| *count == 1), "room {room} of {members} with {count} orders: {seen:?}");
        }
    }
}
