//! Outstanding events: the last event of each room that a connection that ends waits for.

use crate::peer::events::{MembershipSlot, PeerEvents};

/// The memberships of a connection that ends of which a last line may follow, by slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::connection) struct OutstandingEvents([Option<LastEvent>; 2]);

/// Which event is the last of a membership that was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastEvent {
    /// The removal of a peer that the room admitted.
    Removal,
    /// The refusal of a peer that the room has not admitted yet, or else its removal.
    RefusalOrRemoval,
}

impl OutstandingEvents {
    /// Adds the membership in `slot`, whose last event is `last`.
    pub(super) fn add(&mut self, slot: MembershipSlot, last: LastEvent) {
        self.0[slot as usize] = Some(last);
    }

    /// Returns whether no last line is outstanding.
    pub(super) fn is_empty(self) -> bool {
        self.0 == [None, None]
    }

    /// Removes the membership in `slot` if its last event is among `events`.
    pub(super) fn handle(&mut self, slot: MembershipSlot, events: PeerEvents) {
        let removal = PeerEvents::LEFT_ROOM | PeerEvents::SHUTDOWN | PeerEvents::ROOM_FAILED;
        let last = match self.0[slot as usize] {
            Some(LastEvent::Removal) => removal,
            Some(LastEvent::RefusalOrRemoval) => removal | PeerEvents::NAME_TAKEN | PeerEvents::ROOM_CLOSED,
            None => return,
        };
        if events.intersects(last) {
            self.0[slot as usize] = None;
        }
    }
}
