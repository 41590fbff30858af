//! The state of a connection: where it stands with its rooms, as one enum with named transitions.
//!
//! The states, their transitions and the room events that cause them live here. Nothing here writes to a peer, reads
//! from it or knows a deadline.

mod outcome;
mod outstanding;
mod room_events;

pub(super) use outcome::{MembershipEnd, Refusal, RoomOutcome};

use crate::peer::events::MembershipSlot;
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

    /// The JOIN line was refused, and the peer may send another one.
    pub(super) fn return_to_login(&mut self) {
        *self = Self::NotJoined;
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
}

#[cfg(test)]
mod tests;
