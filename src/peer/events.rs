//! Peer events: what rooms and passes tell a connection, without a queue and without a lock.

use serde::{Deserialize, Serialize};
use std::ops::BitOr;

/// One of the two memberships that a connection has at most: while it moves from one room to another,
/// the old membership is in one slot and the new membership is in the other.
///
/// A room raises its events in the slot that the connection joined with, so an event of the old room is
/// never taken for an event of the new room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MembershipSlot {
    /// The first slot. The constants of [`PeerEvents`] have its bits.
    #[default]
    A,
    /// The second slot.
    B,
}

impl MembershipSlot {
    /// Both slots.
    pub(crate) const ALL: [Self; 2] = [Self::A, Self::B];

    /// Returns the slot that this is not.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// A set of events for one connection.
///
/// The set has three groups of bits: events of the peer itself, events of the room in slot A, and events
/// of the room in slot B. The constants for room events are those of slot A:
/// [`PeerEvents::in_slot`] moves them to another slot, and [`PeerEvents::of_slot`] moves them back.
///
/// ```
/// use roomcast::peer::events::{MembershipSlot, PeerEvents};
///
/// let raised = PeerEvents::LEFT_ROOM.in_slot(MembershipSlot::B) | PeerEvents::OUTPUT_BLOCKED;
/// assert!(raised.contains(PeerEvents::OUTPUT_BLOCKED));
/// assert_eq!(raised.of_slot(MembershipSlot::A), PeerEvents::NONE);
/// assert_eq!(raised.of_slot(MembershipSlot::B), PeerEvents::LEFT_ROOM);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerEvents(u32);

/// The number of bits from a room event of slot A to the same event of slot B.
const SLOT_BITS: u32 = 12;

/// The lowest bit of a room event of slot A. Events of the peer itself have the bits below.
const FIRST_ROOM_BIT: u32 = 6;

/// All room events of slot A.
const ROOM_EVENTS: u32 = ((1 << SLOT_BITS) - 1) << FIRST_ROOM_BIT;

impl PeerEvents {
    /// No event.
    pub const NONE: Self = Self(0);

    /// The output buffer holds lines: the connection writes them when the socket takes bytes again.
    pub const OUTPUT_BLOCKED: Self = Self(1);
    /// The peer lost lines, and the configuration closes slow readers.
    pub const TOO_SLOW: Self = Self(1 << 1);
    /// A write to the socket failed: the connection reads what is left of the input, for a limited time.
    pub const WRITE_FAILED: Self = Self(1 << 2);
    /// The server is shutting down: the connection sends its room all input that it has received. An event of the peer
    /// itself, since a connection flushes its input once, whichever of its rooms raises the event.
    pub const FLUSH_INPUT: Self = Self(1 << 3);

    /// The server's memory ceiling is reached, and the peer has one of the largest backlogs: the connection drops the
    /// lines that wait.
    pub const RECLAIM: Self = Self(1 << 4);
    /// An operator wants something of the connection, which takes the requests out of the directory of connections.
    pub const OPERATOR_REQUEST: Self = Self(1 << 5);

    /// The room admitted the peer.
    pub const JOINED: Self = Self(1 << FIRST_ROOM_BIT);
    /// Another member of the room has the name that the peer asked for.
    pub const NAME_TAKEN: Self = Self(1 << (FIRST_ROOM_BIT + 1));
    /// The room removed the peer: no line of this room follows.
    pub const LEFT_ROOM: Self = Self(1 << (FIRST_ROOM_BIT + 2));
    /// The room's inbox took the lines that filled it: the connection sends its own again.
    pub const INBOX_READY: Self = Self(1 << (FIRST_ROOM_BIT + 3));
    /// The server is shutting down, and the room sent its last line: the connection flushes and closes.
    pub const SHUTDOWN: Self = Self(1 << (FIRST_ROOM_BIT + 4));
    /// A pass of the room panicked: no line of this room follows.
    pub const ROOM_FAILED: Self = Self(1 << (FIRST_ROOM_BIT + 5));
    /// The room gave the peer the name that it asked for.
    pub const RENAMED: Self = Self(1 << (FIRST_ROOM_BIT + 6));
    /// The room answered the peer's request: a list of members or rooms, the history, a whisper.
    pub const REQUEST_DONE: Self = Self(1 << (FIRST_ROOM_BIT + 7));
    /// The server is shutting down, and the room that the peer asked to join admits no member.
    pub const ROOM_CLOSED: Self = Self(1 << (FIRST_ROOM_BIT + 8));
    /// An older member of another server has the peer's name: the connection asks for another one.
    pub const NAME_CONFLICT: Self = Self(1 << (FIRST_ROOM_BIT + 9));

    /// Returns the bits of the set.
    pub(super) const fn bits(self) -> u32 {
        self.0
    }

    /// Returns the set with these bits.
    pub(super) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Returns true if the set contains every event of `other`.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns true if the set contains at least one event of `other`.
    #[must_use]
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Moves room events, which have slot A's bits, to `slot`. Events of the peer itself stay.
    #[must_use]
    pub fn in_slot(self, slot: MembershipSlot) -> Self {
        match slot {
            MembershipSlot::A => self,
            MembershipSlot::B => Self(self.0 & !ROOM_EVENTS | (self.0 & ROOM_EVENTS) << SLOT_BITS),
        }
    }

    /// Returns the room events of `slot`, with slot A's bits, and no others.
    #[must_use]
    pub fn of_slot(self, slot: MembershipSlot) -> Self {
        match slot {
            MembershipSlot::A => Self(self.0 & ROOM_EVENTS),
            MembershipSlot::B => Self(self.0 >> SLOT_BITS & ROOM_EVENTS),
        }
    }
}

impl BitOr for PeerEvents {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: [PeerEvents; 6] = [
        PeerEvents::OUTPUT_BLOCKED,
        PeerEvents::TOO_SLOW,
        PeerEvents::WRITE_FAILED,
        PeerEvents::FLUSH_INPUT,
        PeerEvents::RECLAIM,
        PeerEvents::OPERATOR_REQUEST,
    ];
    const ROOM: [PeerEvents; 10] = [
        PeerEvents::JOINED,
        PeerEvents::NAME_TAKEN,
        PeerEvents::LEFT_ROOM,
        PeerEvents::INBOX_READY,
        PeerEvents::SHUTDOWN,
        PeerEvents::ROOM_FAILED,
        PeerEvents::RENAMED,
        PeerEvents::REQUEST_DONE,
        PeerEvents::ROOM_CLOSED,
        PeerEvents::NAME_CONFLICT,
    ];

    fn union(events: &[PeerEvents]) -> PeerEvents {
        events.iter().fold(PeerEvents::NONE, |all, event| all | *event)
    }

    #[test]
    fn every_event_has_a_bit_of_its_own_in_each_slot() {
        let in_b = ROOM.map(|event| event.in_slot(MembershipSlot::B));
        let all = [&PEER[..], &ROOM, &in_b].concat();
        assert_eq!(union(&all).0.count_ones() as usize, all.len());
    }

    #[test]
    fn room_events_are_seen_in_their_own_slot_only() {
        for slot in [MembershipSlot::A, MembershipSlot::B] {
            for event in ROOM {
                let raised = event.in_slot(slot) | union(&PEER);
                assert_eq!(raised.of_slot(slot), event);
                assert_eq!(raised.of_slot(slot.other()), PeerEvents::NONE);
            }
        }
    }

    #[test]
    fn events_of_the_peer_itself_are_in_no_slot() {
        for slot in [MembershipSlot::A, MembershipSlot::B] {
            assert_eq!(union(&PEER).in_slot(slot), union(&PEER));
            assert_eq!(union(&PEER).of_slot(slot), PeerEvents::NONE);
        }
    }

    #[test]
    fn sets_intersect_where_they_share_an_event() {
        let (shared, left, right) = (PeerEvents::JOINED, PeerEvents::RENAMED, PeerEvents::SHUTDOWN);
        assert!((shared | left).intersects(shared | right));
        assert!(!left.intersects(right) && !left.intersects(PeerEvents::NONE) && !PeerEvents::NONE.intersects(left));
        assert_eq!(shared | shared, shared);
    }
}
