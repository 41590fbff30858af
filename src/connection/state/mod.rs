//! The state of a connection: where it stands with its rooms, as one enum with named transitions.
//!
//! The states, their transitions and the room events that cause them live here. The state does no I/O and has no
//! deadlines.

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
    /// A peer whose JOIN line was not accepted yet.
    NotJoined,
    /// A peer that has asked a room for admission and waits for the answer.
    Joining(Membership),
    /// A member of a room; lines are chat or commands.
    Joined(Membership),
    /// A member that waits for one answer of its room (name, listing, history, whisper). One request at a time bounds
    /// the operations that it can put in the inbox.
    AwaitingReply(Membership),
    /// A member that has asked another room for admission.
    SwitchingRooms {
        /// The membership of its room.
        current: Membership,
        /// The requested membership of the other room. Boxed, since few connections have one.
        next: Box<Membership>,
    },
    /// A member whose previous room has not sent its last line yet.
    LeavingPrevious {
        /// The membership of its new room.
        current: Membership,
        /// The slot of the membership of its previous room.
        previous: MembershipSlot,
    },
    /// A member that waits for the shutdown notice of its room.
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

    /// Moves to `Joining`, with the membership that a JOIN line requests.
    pub(super) fn begin_joining(&mut self, membership: Membership) {
        *self = Self::Joining(membership);
    }

    /// Moves to `NotJoined`, after a room refused a JOIN line: the peer may send another one.
    pub(super) fn return_to_login(&mut self) {
        *self = Self::NotJoined;
    }

    /// Calls `send`, which sends a request to the member's room, and moves to `AwaitingReply`. Returns false, without the
    /// call, in any state but `Joined`.
    pub(super) fn begin_request(&mut self, send: impl FnOnce(&mut Membership)) -> bool {
        let (next, is_sent) = match mem::replace(self, Self::Left) {
            Self::Joined(mut membership) => {
                send(&mut membership);
                (Self::AwaitingReply(membership), true)
            }
            other => (other, false),
        };
        *self = next;
        is_sent
    }

    /// Moves from `Joined` to `SwitchingRooms`. `next` is the requested membership of the other room, in the slot that
    /// the member's own room does not use.
    pub(super) fn begin_switching(&mut self, next: Membership) {
        *self = match mem::replace(self, Self::Left) {
            Self::Joined(current) => Self::SwitchingRooms { current, next: Box::new(next) },
            other => other,
        };
    }

    /// Moves a member to `AwaitingShutdown`, after a room refused it because the server is shutting down: the notice of
    /// its own room follows. Returns false for a peer that is no member, which gets no notice.
    pub(super) fn begin_awaiting_shutdown(&mut self) -> bool {
        match mem::replace(self, Self::Left) {
            Self::Joined(current) | Self::SwitchingRooms { current, .. } => *self = Self::AwaitingShutdown(current),
            other => *self = other,
        }
        self.admitted_membership().is_some()
    }

    /// Drops all memberships and moves to `Leaving`, or to `Left` if no room sends a last line. At most one last line of
    /// each room follows.
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
