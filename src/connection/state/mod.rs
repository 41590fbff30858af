//! The state of a connection: where it stands with its rooms, as one enum with named transitions.
//!
//! The states, their transitions and the room events that cause them live here. Nothing here writes to a peer, reads
//! from it or knows a deadline.

mod outcome;
mod outstanding;

pub(super) use outcome::{MembershipEnd, Refusal, RoomOutcome};

use crate::peer::events::{MembershipSlot, PeerEvents};
use crate::room::membership::Membership;
use outstanding::{LastEvent, OutstandingEvents};
use std::mem;

/// Where a connection stands. Each transition is a method; no other code changes the state.
///
/// ```text
/// NotJoined ─► Joining ─► Joined ◄─► AwaitingReply
///                           │ ▲
///                           ▼ │ (the other room refuses)
///                     SwitchingRooms ─► LeavingPrevious ─► Joined
///                           │ (the other room is closed)
///                           ▼
///                    AwaitingShutdown
/// any of these ─► MembershipEnded (the room refuses the JOIN line, shuts down or fails)
/// any of these ─► Leaving ─► Left
/// ```
#[derive(Debug)]
pub(super) enum ConnectionState {
    /// No JOIN line was accepted yet.
    NotJoined,
    /// A room was asked for admission and has not answered.
    Joining(Membership),
    /// A member of a room; lines are chat or commands.
    Joined(Membership),
    /// A member that has asked its room for another name, for its history or to whisper, one thing at a time: a peer
    /// could otherwise fill the room's inbox with what costs it a word.
    AwaitingReply(Membership),
    /// A member that has asked another room for admission.
    SwitchingRooms {
        /// The room that it is in.
        current: Membership,
        /// The room that it asked. Boxed: that is seldom.
        next: Box<Membership>,
    },
    /// A member whose previous room has not sent its last line yet.
    LeavingPrevious {
        /// The room that it is in.
        current: Membership,
        /// The slot of the membership that ends.
        previous: MembershipSlot,
    },
    /// A member of a room that is about to send the server's notice.
    AwaitingShutdown(Membership),
    /// The room refused the peer, or has sent its last line: the connection has to end.
    MembershipEnded {
        /// The membership that ended, for the log.
        membership: Membership,
        /// Whether the room had admitted the peer.
        was_member: bool,
        /// Other memberships of which a last line may follow.
        outstanding: OutstandingEvents,
    },
    /// The connection ends, and rooms have not sent their last line to it yet.
    Leaving(OutstandingEvents),
    /// The connection ends, and no line of a room follows.
    Left,
}

impl ConnectionState {
    /// Returns the membership of the room that the peer is in, or has asked for with its JOIN line.
    pub(super) fn membership(&self) -> Option<&Membership> {
        match self {
            Self::Joining(membership) | Self::MembershipEnded { membership, .. } => Some(membership),
            _ => self.admitted_membership(),
        }
    }

    /// Returns the membership of the room that admitted the peer.
    pub(super) fn admitted_membership(&self) -> Option<&Membership> {
        match self {
            Self::Joined(current)
            | Self::AwaitingReply(current)
            | Self::SwitchingRooms { current, .. }
            | Self::LeavingPrevious { current, .. }
            | Self::AwaitingShutdown(current)
            | Self::MembershipEnded { membership: current, was_member: true, .. } => Some(current),
            Self::NotJoined | Self::Joining(_) | Self::MembershipEnded { .. } | Self::Leaving(_) | Self::Left => None,
        }
    }

    /// Returns whether input has to wait for a room.
    pub(super) fn awaits_room(&self) -> bool {
        !matches!(self, Self::NotJoined | Self::Joined(_))
    }

    /// A JOIN line was accepted, and its room asked.
    pub(super) fn begin_joining(&mut self, membership: Membership) {
        *self = Self::Joining(membership);
    }

    /// A member is about to ask its room for something that the room answers; `ask` does. Returns what that
    /// returns; false leaves the state as it was. Does nothing for a peer that is no member, or waits already.
    pub(super) fn begin_request(&mut self, ask: impl FnOnce(&mut Membership) -> bool) -> bool {
        match mem::replace(self, Self::Left) {
            Self::Joined(mut membership) => {
                let asked = ask(&mut membership);
                *self = if asked { Self::AwaitingReply(membership) } else { Self::Joined(membership) };
                asked
            }
            other => {
                *self = other;
                false
            }
        }
    }

    /// A member has asked another room, in the slot that its own room does not use.
    pub(super) fn begin_switching(&mut self, next: Membership) {
        *self = match mem::replace(self, Self::Left) {
            Self::Joined(current) => Self::SwitchingRooms { current, next: Box::new(next) },
            other => other,
        };
    }

    /// No room admits a member any more: a member waits for its own room's notice, which follows. Returns false
    /// for a peer that is no member: no notice follows for it.
    pub(super) fn begin_awaiting_shutdown(&mut self) -> bool {
        match mem::replace(self, Self::Left) {
            Self::Joined(current) | Self::SwitchingRooms { current, .. } => *self = Self::AwaitingShutdown(current),
            other => *self = other,
        }
        self.admitted_membership().is_some()
    }

    /// The connection ends: gives up all memberships. At most one last line of each room follows.
    pub(super) fn begin_leaving(&mut self) {
        let mut outstanding = OutstandingEvents::default();
        match mem::replace(self, Self::Left) {
            Self::NotJoined | Self::Left => {}
            Self::Leaving(others) | Self::MembershipEnded { outstanding: others, .. } => outstanding = others,
            Self::Joining(membership) => outstanding.add(membership.slot(), LastEvent::RefusalOrRemoval),
            Self::Joined(current) | Self::AwaitingReply(current) | Self::AwaitingShutdown(current) => {
                outstanding.add(current.slot(), LastEvent::Removal);
            }
            Self::SwitchingRooms { current, next } => {
                outstanding.add(next.slot(), LastEvent::RefusalOrRemoval);
                outstanding.add(current.slot(), LastEvent::Removal);
            }
            Self::LeavingPrevious { current, previous } => {
                outstanding.add(previous, LastEvent::Removal);
                outstanding.add(current.slot(), LastEvent::Removal);
            }
        }
        if !outstanding.is_empty() {
            *self = Self::Leaving(outstanding);
        }
    }

    /// Follows the events that the room in `slot` raised; returns what they ask of the connection.
    pub(super) fn handle_room_events(&mut self, slot: MembershipSlot, events: PeerEvents) -> RoomOutcome {
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

    /// A room admitted the peer: one that comes from another room leaves that. Returns whether the peer was waiting.
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

    fn on_name_taken(&mut self, slot: MembershipSlot, outcome: &mut RoomOutcome) {
        match mem::replace(self, Self::Left) {
            Self::Joining(membership) => {
                *self = Self::Joining(membership);
                self.end_membership();
                outcome.end = Some(MembershipEnd::NameTaken);
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

    fn on_renamed(&mut self) {
        *self = match mem::replace(self, Self::Left) {
            Self::AwaitingReply(mut membership) => {
                membership.resolve_rename(true);
                Self::Joined(membership)
            }
            other => other,
        };
    }

    fn on_request_done(&mut self) {
        *self = match mem::replace(self, Self::Left) {
            Self::AwaitingReply(membership) => Self::Joined(membership),
            other => other,
        };
    }

    /// The room that the peer is in, or asked for with its JOIN line, sends nothing more.
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

    /// No line of the room in `slot` follows.
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

#[cfg(test)]
mod tests;
