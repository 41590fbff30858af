//! Room events: the transitions of a connection's state that a room causes.

use super::outstanding::{LastEvent, OutstandingEvents};
use super::{ConnectionState, MembershipEnd, Refusal, RoomOutcome};
use crate::peer::events::{MembershipSlot, PeerEvents};
use std::mem;

impl ConnectionState {
    /// Applies the events that the room in `slot` raised to the state; returns what the connection has to do.
    pub(in crate::connection) fn apply_room_events(&mut self, slot: MembershipSlot, events: PeerEvents) -> RoomOutcome {
        let mut outcome = RoomOutcome::default();
        match self {
            Self::Leaving(outstanding) => {
                outstanding.handle(slot, events);
                if outstanding.is_empty() {
                    *self = Self::Left;
                }
                return outcome;
            }
            Self::MembershipEnded { outstanding, .. } => {
                outstanding.handle(slot, events);
                return outcome;
            }
            _ if !self.uses_slot(slot) => return outcome,
            _ => {}
        }
        if events.contains(PeerEvents::JOINED) {
            outcome.admitted = self.on_joined(slot);
        }
        if events.contains(PeerEvents::NAME_TAKEN) {
            self.on_name_taken(slot, &mut outcome);
        }
        if events.contains(PeerEvents::ROOM_CLOSED) && !self.begin_awaiting_shutdown() {
            self.end_membership();
            outcome.end = Some(MembershipEnd::Shutdown);
        }
        if events.contains(PeerEvents::RENAMED) {
            self.on_renamed();
        }
        if events.contains(PeerEvents::REQUEST_DONE) {
            self.on_request_done();
        }
        if events.intersects(PeerEvents::LEFT_ROOM | PeerEvents::SHUTDOWN | PeerEvents::ROOM_FAILED) {
            self.on_membership_end(slot, events, &mut outcome);
        }
        // While the peer waits for an answer of its room, the conflict is raised again later.
        outcome.name_conflict = events.contains(PeerEvents::NAME_CONFLICT) && matches!(self, Self::Joined(_));
        outcome.inbox_ready = events.contains(PeerEvents::INBOX_READY);
        outcome
    }

    /// Returns whether a membership of the connection has this slot. A room that failed may raise its event twice, and
    /// the second one must end no other membership.
    fn uses_slot(&self, slot: MembershipSlot) -> bool {
        let current = self.membership().is_some_and(|membership| membership.slot() == slot);
        current
            || match self {
                Self::SwitchingRooms { next, .. } => next.slot() == slot,
                Self::LeavingPrevious { previous, .. } => *previous == slot,
                _ => false,
            }
    }

    /// Moves from `Joining` to `Joined`, or from `SwitchingRooms` to `LeavingPrevious`, after the room in `slot` admitted
    /// the peer. Returns whether the peer was waiting for that.
    fn on_joined(&mut self, slot: MembershipSlot) -> bool {
        match mem::replace(self, Self::Left) {
            Self::Joining(membership) => *self = Self::Joined(membership),
            Self::SwitchingRooms { current, next } if next.slot() == slot => {
                *self = Self::LeavingPrevious { current: *next, previous: current.slot() };
                // Its drop asks the previous room to remove the peer.
                drop(current);
            }
            other => {
                *self = other;
                return false;
            }
        }
        true
    }

    /// Ends a requested membership, a switch or a rename, after the room in `slot` refused the name.
    fn on_name_taken(&mut self, slot: MembershipSlot, outcome: &mut RoomOutcome) {
        match mem::replace(self, Self::Left) {
            Self::Joining(membership) => {
                outcome.end = Some(MembershipEnd::NameTaken(membership.room(), membership.user()));
                *self = Self::Joining(membership);
                self.end_membership();
            }
            Self::SwitchingRooms { current, next } if next.slot() == slot => {
                outcome.refused = Some(Refusal::NameTakenThere(next.room(), next.user()));
                *self = Self::Joined(current);
            }
            Self::AwaitingReply(mut membership) => {
                outcome.refused = membership.resolve_rename(false).map(Refusal::NameTakenHere);
                *self = Self::Joined(membership);
            }
            other => *self = other,
        }
    }

    /// Moves from `AwaitingReply` to `Joined`, with the new name.
    fn on_renamed(&mut self) {
        *self = match mem::replace(self, Self::Left) {
            Self::AwaitingReply(mut membership) => {
                membership.resolve_rename(true);
                Self::Joined(membership)
            }
            other => other,
        };
    }

    /// Moves from `AwaitingReply` to `Joined`.
    fn on_request_done(&mut self) {
        *self = match mem::replace(self, Self::Left) {
            Self::AwaitingReply(membership) => Self::Joined(membership),
            other => other,
        };
    }

    /// Moves to `MembershipEnded`, after the room of the peer, or the room that its JOIN line named, sent its last line.
    fn end_membership(&mut self) {
        let was_member = self.admitted_membership().is_some();
        let mut outstanding = OutstandingEvents::default();
        let membership = match mem::replace(self, Self::Left) {
            Self::Joining(membership)
            | Self::Joined(membership)
            | Self::AwaitingReply(membership)
            | Self::AwaitingShutdown(membership) => membership,
            Self::SwitchingRooms { current, next } => {
                outstanding.add(next.slot(), LastEvent::RefusalOrRemoval);
                current
            }
            Self::LeavingPrevious { current, previous } => {
                outstanding.add(previous, LastEvent::Removal);
                current
            }
            other => {
                *self = other;
                return;
            }
        };
        *self = Self::MembershipEnded { membership, was_member, outstanding };
    }

    /// Ends the membership in `slot`, after the last line of its room: the peer's own, the previous or the requested one.
    fn on_membership_end(&mut self, slot: MembershipSlot, events: PeerEvents, outcome: &mut RoomOutcome) {
        match mem::replace(self, Self::Left) {
            Self::LeavingPrevious { current, previous } if previous == slot => *self = Self::Joined(current),
            Self::SwitchingRooms { current, next } if next.slot() == slot => {
                outcome.refused = Some(Refusal::RoomFailed(next.room()));
                *self = Self::Joined(current);
            }
            other => {
                *self = other;
                self.end_membership();
                let is_shutdown = events.contains(PeerEvents::SHUTDOWN);
                outcome.end = Some(if is_shutdown { MembershipEnd::Shutdown } else { MembershipEnd::RoomFailed });
            }
        }
    }
}
