//! Deferred replies: what a member requested in a batch, and gets after all members have that batch.

use crate::metrics::counters::MetricsDelta;
use crate::peer::Peer;
use crate::peer::byte_sink::ByteSink;
use crate::peer::events::PeerEvents;
use crate::peer::line_batch::{EncodedBatch, TimedLines};
use crate::room::batch::Batch;
use crate::room::operation::{Addressee, IdsRequest, MemberListing, Requester, Whisper};
use crate::room::passes::{PassHost, REPLY_COST};
use crate::room::remote::IncomingWhisper;
use crate::room::roster::{MemberKey, NameMatch, allows_duplicate_names, find_by_name, find_member, holds_key};
use crate::room::whisperers::Whisperer;
use crate::text::names::{RoomName, UserName};
use crate::text::replies;
use crate::text::time::Minute;
use bytes::Bytes;
use std::sync::Arc;

/// The number of rooms that cost as much to list as one delivery: a look at one takes about 100 ns.
const ROOMS_PER_DELIVERY: usize = 32;

/// The number of members that cost as much to compare with a name as one delivery.
const MEMBERS_PER_DELIVERY: usize = 128;

/// The reply to a request. The pass sends it after the batch, when the requester has the batch's lines and
/// the roster has the batch's joins, leaves and renames.
pub(crate) enum DeferredReply {
    /// The room gave the requester the name that it asked for.
    Renamed,
    /// The requester asked for the name that it has.
    NameKept(UserName),
    /// The requester, which has this key, is shown the names of the members.
    Members(MemberKey, MemberListing),
    /// The requester is shown the rooms of the server.
    Rooms,
    /// The requester is shown this number of last lines.
    History(u16),
    /// The requester is told whether it gets numbers, and gets them from now on or no longer.
    Ids(IdsRequest),
    /// The whisper is delivered, or the requester is told why not.
    Whisper(Box<Whisper>),
    /// The whisper of another server's member is delivered to the requester.
    IncomingWhisper(Box<IncomingWhisper>),
    /// The requester is told the outcome of its whisper to another server, in lines with their line ends.
    WhisperOutcome(Vec<u8>),
}

/// The replies of a batch, in the order of the requests.
pub(crate) type DeferredReplies = Vec<(Requester, DeferredReply)>;

impl Batch {
    /// Returns the cost in deliveries of [`Batch::send_reply`].
    pub(crate) fn reply_cost(&self, host: &impl PassHost, reply: &DeferredReply) -> usize {
        let members = self.members_before();
        let walk = match reply {
            DeferredReply::Rooms => (host.room_count() + self.remote_room_count()) / ROOMS_PER_DELIVERY,
            DeferredReply::Whisper(_) if allows_duplicate_names(members) => members.len() / MEMBERS_PER_DELIVERY,
            _ => 0,
        };
        REPLY_COST + walk
    }

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
            DeferredReply::NameKept(name) => {
                deliver_line(&requester.peer, metrics, |out| replies::push_name_kept(out, name));
                return requester.raise(PeerEvents::RENAMED, metrics);
            }
            DeferredReply::Members(key, listing) => {
                self.deliver_members((room, *listing), key, requester, metrics);
            }
            DeferredReply::Rooms => {
                let rooms = self.merge_rooms(host.rooms());
                deliver_line(&requester.peer, metrics, |out| replies::push_rooms(out, room, rooms.into_iter()));
            }
            DeferredReply::Whisper(whisper) => {
                if !self.deliver_whisper(whisper, metrics) {
                    return;
                }
            }
            DeferredReply::IncomingWhisper(whisper) => return self.deliver_incoming(requester, whisper, metrics),
            DeferredReply::WhisperOutcome(lines) => {
                deliver_line(&requester.peer, metrics, |out| out.extend_from_slice(lines));
            }
            DeferredReply::History(count) => self.deliver_history(requester, *count, metrics),
            DeferredReply::Ids(request) => self.set_ids(requester, *request, metrics),
        }
        requester.raise(PeerEvents::REQUEST_DONE, metrics);
    }

    /// Delivers the names of the members, the requester's first, so that it is among those that are listed. A requester
    /// that has left meanwhile gets no reply.
    fn deliver_members(
        &self,
        (room, listing): (&RoomName, MemberListing),
        key: &MemberKey,
        requester: &Requester,
        metrics: &mut MetricsDelta,
    ) {
        let (members, id) = (self.members_before(), requester.peer.id());
        if holds_key(members, key, id) {
            let others = members.iter().filter(|(_, peer)| peer.id() != id).map(|(other, _)| &other.name);
            let remote = self.cluster.as_ref().map(|cluster| cluster.members_before());
            let remote_names = remote.iter().flat_map(|remote| remote.names());
            let names = std::iter::once(&key.name).chain(others).chain(remote_names);
            let total = members.len() + remote.as_ref().map_or(0, |remote| remote.len());
            deliver_line(&requester.peer, metrics, |out| match listing {
                MemberListing::Who => replies::push_who(out, room, total, names),
                MemberListing::JoinHint => replies::push_join_hint(out, room, total, names),
            });
        }
    }

    fn deliver_history(&mut self, requester: &Requester, count: u16, metrics: &mut MetricsDelta) {
        let history = self.pass_state().as_mut().and_then(|state| state.history.as_mut());
        let lines = history.map(|history| history.render_last(count.into())).unwrap_or_default();
        let reply = if lines.is_empty() {
            EncodedBatch::new(Bytes::from_static(replies::NO_HISTORY.as_bytes()), 1)
        } else {
            lines.into_batch()
        };
        requester.peer.deliver_batch(&reply, metrics);
    }

    /// Numbers the lines of the batches after this for the requester, or stops that, and tells it so after the lines that it
    /// asked for.
    fn set_ids(&mut self, requester: &Requester, request: IdsRequest, metrics: &mut MetricsDelta) {
        let peer = &requester.peer;
        let Some(history) = self.pass_state().as_mut().and_then(|state| state.history.as_mut()) else {
            return deliver_line(peer, metrics, |out| out.extend_from_slice(replies::NO_IDS.as_bytes()));
        };
        let numbering = history.numbering();
        let mut lines = TimedLines::default();
        if let IdsRequest::After { numbering: wanted, last_id } = request
            && wanted == numbering
        {
            history.render_after(last_id, &mut lines);
        }
        let is_on = match request {
            IdsRequest::State => peer.ids_numbering() == numbering,
            IdsRequest::Off => false,
            IdsRequest::On | IdsRequest::After { .. } => true,
        };
        if is_on {
            history.number_lines();
        }
        peer.set_ids_numbering(if is_on { numbering } else { 0 });
        let next_id = history.next_id();
        lines.push(Minute::now(), 1, |out| {
            if is_on {
                replies::push_ids_on(out, numbering, next_id);
            } else {
                out.extend_from_slice(replies::IDS_OFF.as_bytes());
            }
        });
        peer.deliver_batch(&lines.into_batch(), metrics);
    }

    /// Delivers a whisper to its addressee, and the outcome to the sender. Returns false if the whisper goes to another
    /// server, whose answer is the outcome.
    fn deliver_whisper(&mut self, whisper: &Whisper, metrics: &mut MetricsDelta) -> bool {
        let Whisper { sender, from, to, text, _charge: _ } = whisper;
        if let Some(whisper) = self.remote_whisper(whisper) {
            self.send_remote_whisper(whisper, sender.clone());
            return false;
        }
        let mut outcome = Vec::new();
        if let Some((key, member)) = self.find_addressee(sender, *to, &mut outcome) {
            replies::push_whisper_sent(&mut outcome, &key.name, text);
            deliver_line(&member, metrics, |out| replies::push_whisper_received(out, from, text));
            if let Some(state) = self.pass_state() {
                state.whisperers.record(member.id(), Whisperer { id: sender.peer.id(), name: *from, node: None });
            }
        }
        deliver_line(&sender.peer, metrics, |out| out.append(&mut outcome));
        true
    }

    /// Returns the member to which a whisper of `sender` goes. Where there is none, appends the reason to `reply`.
    fn find_addressee(
        &mut self,
        sender: &Requester,
        to: Addressee,
        reply: &mut Vec<u8>,
    ) -> Option<(MemberKey, Arc<Peer<dyn ByteSink>>)> {
        let name = match to {
            Addressee::Named(name) => name,
            Addressee::LastWhisperer => {
                let last = self.pass_state().as_ref().and_then(|state| state.whisperers.last(sender.peer.id()));
                let Some(Whisperer { id, name, .. }) = last else {
                    reply.extend_from_slice(replies::NO_WHISPER.as_bytes());
                    return None;
                };
                if let Some((key, member)) = find_member(self.members_before(), name, id) {
                    return Some((*key, Arc::clone(member)));
                }
                match find_by_name(self.members_before(), name) {
                    NameMatch::None => replies::push_no_such_member(reply, &name),
                    NameMatch::One(..) | NameMatch::Several(_) => replies::push_whisperer_left(reply, &name),
                }
                return None;
            }
        };
        match find_by_name(self.members_before(), name) {
            NameMatch::One(key, member) => return Some((*key, Arc::clone(member))),
            NameMatch::None => replies::push_no_such_member(reply, &name),
            NameMatch::Several(count) => replies::push_several_members(reply, count, &name),
        }
        None
    }
}

/// Delivers the line that `push` appends.
pub(super) fn deliver_line(peer: &Peer<dyn ByteSink>, metrics: &mut MetricsDelta, push: impl FnOnce(&mut Vec<u8>)) {
    let mut line = Vec::new();
    push(&mut line);
    peer.deliver_batch(&EncodedBatch::new(Bytes::from(line), 1), metrics);
}
