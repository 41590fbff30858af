//! Operations: what members and their connections ask of a room, as its inbox queues it for the next pass.

use crate::limits::memory::MemoryCharge;
use crate::metrics::counters::MetricsDelta;
use crate::peer::byte_sink::ByteSink;
use crate::peer::events::{MembershipSlot, PeerEvents};
use crate::peer::{Peer, PeerId};
use crate::room::heavy_senders::SenderNumber;
use crate::room::remote::{IncomingWhisper, RemoteUpdate};
use crate::room::roster::MemberKey;
use crate::text::names::UserName;
use std::sync::Arc;

/// An operation for the room's next pass. Kept small, since a block of the queue holds 31 of them.
pub(crate) enum Operation {
    /// Delivers a member's lines to all members.
    SendLines {
        /// The lines end to end, each with its line end.
        bytes: Box<[u8]>,
        /// The number of lines.
        lines: u32,
        /// A short number of the sender, which fits into the padding.
        sender: SenderNumber,
    },
    /// Admits a peer.
    Join(Box<MemberRef>),
    /// Removes a member.
    Leave(Box<MemberRef>),
    /// Gives a member another name.
    Rename(Box<MemberRef>, Box<UserName>),
    /// Shows a member the names of the members, its own among them.
    ShowMembers(Box<MemberRef>, MemberListing),
    /// Shows a member the rooms of the server.
    ShowRooms { peer: Arc<Peer<dyn ByteSink>>, slot: MembershipSlot },
    /// Shows a member this number of last lines.
    ShowHistory { peer: Arc<Peer<dyn ByteSink>>, slot: MembershipSlot, count: u16 },
    /// Numbers the lines for a member, or stops that.
    SetIds(Box<(Requester, IdsRequest)>),
    /// Delivers a line to one member.
    Whisper(Box<Whisper>),
    /// Delivers lines for which the inbox had no capacity, when their sender's turn comes, and then raises `INBOX_READY`
    /// for the sender.
    SendBlockedLines(Box<BlockedLines>),
    /// Delivers a line of the operators to all members; with its line end.
    Announce(Arc<[u8]>),
    /// Raises `FLUSH_INPUT` for all members.
    FlushInput,
    /// Applies changes that come from other servers to this instance of the room.
    Update(Box<(u64, RemoteUpdate)>),
    /// Delivers a whisper from another server, and returns the outcome to that.
    DeliverWhisper(Box<IncomingWhisper>),
    /// Gives the sender of a whisper to another server the outcome: lines with their line ends.
    WhisperOutcome(Box<(Requester, Vec<u8>)>),
    /// Sends the shutdown notice after all replies that are due, removes all members and closes the room to joins.
    Shutdown,
}

impl Operation {
    /// Returns the sender of an operation that must not overtake blocked lines of the same sender. A sender of blocked
    /// lines sends no [`Operation::SendLines`] before the room has taken them.
    pub(crate) fn sender(&self) -> Option<PeerId> {
        match self {
            Self::SendLines { .. }
            | Self::Announce(_)
            | Self::FlushInput
            | Self::Update(_)
            | Self::DeliverWhisper(_)
            | Self::Shutdown => None,
            Self::SendBlockedLines(lines) => Some(lines.sender.peer.id()),
            Self::Join(member) | Self::Leave(member) | Self::Rename(member, _) | Self::ShowMembers(member, _) => {
                Some(member.peer.id())
            }
            Self::ShowRooms { peer, .. } | Self::ShowHistory { peer, .. } => Some(peer.id()),
            Self::SetIds(request) => Some(request.0.peer.id()),
            Self::Whisper(whisper) => Some(whisper.sender.peer.id()),
            Self::WhisperOutcome(outcome) => Some(outcome.0.peer.id()),
        }
    }
}

/// Lines for which the inbox had no capacity, and their sender, which is told when the room has taken them.
pub(crate) struct BlockedLines {
    /// The lines end to end, each with its line end.
    pub(crate) bytes: Box<[u8]>,
    /// The number of lines.
    pub(crate) lines: u32,
    pub(crate) sender: Requester,
    /// Held until the lines are in a batch.
    pub(crate) charge: MemoryCharge,
}

/// How a list of members is worded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemberListing {
    /// The reply to `/who`.
    Who,
    /// The hint for a new member.
    JoinHint,
}

/// A peer, and the key that it requests or holds.
pub(crate) struct MemberRef {
    pub(crate) key: MemberKey,
    pub(crate) peer: Arc<Peer<dyn ByteSink>>,
}

impl MemberRef {
    /// Raises room events in the slot of this membership.
    pub(crate) fn raise(&self, events: PeerEvents, metrics: &mut MetricsDelta) {
        self.peer.raise(events.in_slot(self.key.slot), metrics);
    }
}

/// A member that the room answers, and the slot of the membership that asked.
#[derive(Clone)]
pub(crate) struct Requester {
    pub(crate) peer: Arc<Peer<dyn ByteSink>>,
    pub(crate) slot: MembershipSlot,
}

impl Requester {
    /// Raises room events in the slot of this membership.
    pub(crate) fn raise(&self, events: PeerEvents, metrics: &mut MetricsDelta) {
        self.peer.raise(events.in_slot(self.slot), metrics);
    }
}

/// A request of a member about the numbers of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdsRequest {
    /// Whether it gets them.
    State,
    /// Numbers from now on.
    On,
    /// No numbers from now on.
    Off,
    /// The lines of this numbering after this number, and numbers from now on.
    After {
        /// The numbering.
        numbering: u32,
        /// The number of the last line that the member has.
        last_id: u64,
    },
}

/// A line from one member to another.
pub(crate) struct Whisper {
    /// The sender.
    pub(crate) sender: Requester,
    /// The sender's name.
    pub(crate) from: UserName,
    pub(crate) to: Addressee,
    pub(crate) text: Box<str>,
    /// Held until the whisper is delivered.
    pub(crate) _charge: MemoryCharge,
}

/// The member to which a whisper goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Addressee {
    /// The one member of this name.
    Named(UserName),
    /// The member that whispered last to the sender in this room.
    LastWhisperer,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operation_fits_in_three_words() {
        assert!(size_of::<Operation>() <= 24);
    }
}
