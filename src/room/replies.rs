//! Deferred replies: what a member requested in a batch, and gets after all members have that batch.

use crate::metrics::counters::MetricsDelta;
use crate::peer::events::PeerEvents;
use crate::peer::line_batch::EncodedBatch;
use crate::room::batch::Batch;
use crate::room::inbox::{Requester, Whisper};
use crate::room::passes::{PassHost, REPLY_COST};
use crate::room::roster::{MemberKey, find_by_name, holds_key};
use crate::text::names::RoomName;
use crate::text::replies;
use bytes::Bytes;

/// The number of rooms that cost as much to list as one delivery: a look at one takes about 100 ns.
const ROOMS_PER_DELIVERY: usize = 32;

/// The reply to a request. The pass sends it after the batch, when the requester has the batch's lines and
/// the roster has the batch's joins, leaves and renames.
pub(crate) enum DeferredReply {
    /// The room gave the requester the name that it asked for.
    Renamed,
    /// The requester, which has this key, is shown the names of the members.
    Members(MemberKey),
    /// The requester is shown the rooms of the server.
    Rooms,
    /// The requester is shown this number of last lines.
    History(u16),
    /// The whisper is delivered, or the requester is told that no member has that name.
    Whisper(Box<Whisper>),
}

/// The replies of a batch, in the order of the requests.
pub(crate) type DeferredReplies = Vec<(Requester, DeferredReply)>;

impl DeferredReply {
    /// Returns the cost of the reply in deliveries.
    pub(crate) fn cost(&self, host: &impl PassHost) -> usize {
        match self {
            Self::Rooms => REPLY_COST + host.room_count() / ROOMS_PER_DELIVERY,
            _ => REPLY_COST,
        }
    }
}

impl Batch {
    /// Sends the reply to a request in `room` of the batch before this one. The history ends with the lines of that
    /// batch, and the roster has its joins, leaves and renames.
    pub(crate) fn send_reply(
        &mut self,
        (room, host): (&RoomName, &impl PassHost),
        requester: &Requester,
        reply: &DeferredReply,
        metrics: &mut MetricsDelta,
    ) {
        match reply {
            DeferredReply::Renamed => return requester.raise(PeerEvents::RENAMED, metrics),
            DeferredReply::Members(key) => self.deliver_members(room, key, requester, metrics),
            DeferredReply::Rooms => {
                let rooms = host.rooms();
                deliver_line(requester, metrics, |out| replies::push_rooms(out, room, rooms.into_iter()));
            }
            DeferredReply::Whisper(whisper) => self.deliver_whisper(whisper, metrics),
            DeferredReply::History(count) => self.deliver_history(requester, *count, metrics),
        }
        requester.raise(PeerEvents::REQUEST_DONE, metrics);
    }

    /// Delivers the names of the members, the requester's first, so that it is among those that are listed. A requester
    /// that has left meanwhile gets no reply.
    fn deliver_members(&self, room: &RoomName, key: &MemberKey, requester: &Requester, metrics: &mut MetricsDelta) {
        let (members, id) = (self.members_before(), requester.peer.id());
        if holds_key(members, key, id) {
            let others = members.iter().filter(|(_, peer)| peer.id() != id).map(|(other, _)| &other.name);
            let names = std::iter::once(&key.name).chain(others);
            deliver_line(requester, metrics, |out| replies::push_who(out, room, members.len(), names));
        }
    }

    fn deliver_history(&mut self, requester: &Requester, count: u16, metrics: &mut MetricsDelta) {
        let history = self.history_state().as_mut().and_then(|state| state.history.as_mut());
        let lines = history.map(|history| history.render_last(count.into())).unwrap_or_default();
        let reply = if lines.is_empty() {
            EncodedBatch::new(Bytes::from_static(replies::NO_HISTORY.as_bytes()), 1)
        } else {
            lines.into_batch()
        };
        requester.peer.deliver_batch(&reply, metrics);
    }

    /// Delivers a whisper to one member of that name, and its outcome to the sender.
    fn deliver_whisper(&self, Whisper { sender, from, to, text }: &Whisper, metrics: &mut MetricsDelta) {
        let mut reply = Vec::new();
        if let Some(member) = find_by_name(self.members_before(), *to) {
            let mut line = Vec::new();
            replies::push_whisper_received(&mut line, from, text);
            member.deliver_batch(&EncodedBatch::new(Bytes::from(line), 1), metrics);
            replies::push_whisper_sent(&mut reply, to, text);
        } else {
            replies::push_no_such_member(&mut reply, to);
        }
        sender.peer.deliver_batch(&EncodedBatch::new(Bytes::from(reply), 1), metrics);
    }
}

/// Delivers the line that `push` appends.
fn deliver_line(requester: &Requester, metrics: &mut MetricsDelta, push: impl FnOnce(&mut Vec<u8>)) {
    let mut line = Vec::new();
    push(&mut line);
    requester.peer.deliver_batch(&EncodedBatch::new(Bytes::from(line), 1), metrics);
}
