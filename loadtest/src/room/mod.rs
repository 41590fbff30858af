//! A room as the generator sees it: composes the senders' lines in turn, and checks every delivery to every member.
//!
//! A room uses no socket. Received bytes are passed in with the member's index, so that each fault can be tested alone.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::clock::Tick;
use crate::cursor::{Cursor, MemberState};
use crate::payload::{self, Stamp};
use crate::protocol::Protocol;
use crate::random::mix;
use crate::size_mix::SizeMix;
use crate::slow_readers::SlowReaders;

mod common_order;
mod counts;
mod diverged;
mod gaps;
mod membership;
mod notice_log;
mod order;
mod receiver;
mod returning;
mod sample;
mod send_times;
mod slow;
mod stays;

use common_order::CommonOrder;
pub(crate) use counts::LeaveStep;
use gaps::ToldNotices;
use membership::{Membership, Spread};
use returning::Returns;
use send_times::SendTimes;
use slow::SlowMember;

/// A room: its members' positions, their common order and its lines in flight.
pub(crate) struct Room {
    /// The room's number in the whole run, which its lines carry.
    number: u32,
    /// The room's name.
    pub(crate) name: String,
    /// Bytes of a line's text.
    size: SizeMix,
    /// The seed of the sizes.
    seed: u64,
    /// The tick that planned times count from.
    epoch: Tick,
    /// The protocol that decodes received bytes.
    protocol: &'static dyn Protocol,
    /// The connections of the members, by their index in the worker.
    pub(crate) connections: Range<usize>,
    /// The position of each member.
    cursors: Vec<Cursor>,
    /// The common orders of the members' lines.
    orders: Vec<CommonOrder>,
    /// For each sender, the number of its lines sent.
    sent: Vec<u32>,
    /// For each sender, the times at which it sent the lines that are not in every log.
    send_times: Vec<SendTimes>,
    /// Lines sent by all senders together.
    total_sent: usize,
    /// The sender of the next line.
    next_sender: usize,
    /// Whether most members are read at an interval only.
    deferred_reads: bool,
    /// The part of the members that is read immediately where reads are deferred.
    sample: usize,
    /// The joins and leaves, and what the members were told of them.
    membership: Membership,
    /// The join and leave notices that the members were told as missing.
    told: ToldNotices,
    /// The members that leave and come back, and what the members were told of them, while lines are sent; `None` where all
    /// members stay.
    returns: Option<Box<Returns>>,
    /// The members that read slowly, by their index.
    slow: BTreeMap<usize, SlowMember>,
}

/// The content of received bytes, apart from lines.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// The server expects the connection to join its room.
    pub(crate) ready: bool,
    /// The connection joined its room.
    pub(crate) entered: bool,
    /// Bytes to send in reply.
    pub(crate) reply: Vec<u8>,
    /// The first fault of the server.
    pub(crate) fault: Option<ServerFault>,
    /// The server has refused the connection because the name of its member is still taken.
    pub(crate) name_taken: bool,
}

/// A fault of the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ServerFault {
    /// The server refused the connection or a line.
    Refused(String),
    /// The server sent bytes that are no message of the protocol.
    UnknownFrame(String),
    /// The server sent a member that came back many lines that it sent no other member of this room.
    AheadOfRoom(u32),
}

/// The parameters of a room.
pub(crate) struct RoomConfig {
    /// The room's number in the whole run.
    pub(crate) number: usize,
    /// The number in the name of the run's first room.
    pub(crate) first: u16,
    /// The connections of the members, by their index in the worker.
    pub(crate) connections: Range<usize>,
    /// The number of members that send.
    pub(crate) senders: usize,
    /// Bytes of a line's text.
    pub(crate) size: SizeMix,
    /// The seed of the sizes.
    pub(crate) seed: u64,
    /// The tick that planned times count from.
    pub(crate) epoch: Tick,
    /// The protocol that decodes received bytes.
    pub(crate) protocol: &'static dyn Protocol,
    /// Whether most members are read at an interval only.
    pub(crate) deferred_reads: bool,
    /// The number of servers that share the room. Its members take turns in joining them.
    pub(crate) servers: usize,
    /// Whether the members on all servers must see one order, and not only those on each.
    pub(crate) has_total_order: bool,
    /// The members that read slowly, where the plan has some.
    pub(crate) slow_readers: Option<SlowReaders>,
}

impl Room {
    pub(crate) fn new(config: RoomConfig) -> Self {
        let members = config.connections.len();
        let is_slow = |member: &usize| {
            config.slow_readers.is_some_and(|readers| readers.includes(*member, members, config.senders))
        };
        let orders = if config.has_total_order { 1 } else { config.servers };
        let new_order = |index| CommonOrder::new((index, orders), (config.number, members), config.senders);
        let mut room = Self {
            number: u32::try_from(config.number).unwrap_or(u32::MAX),
            name: format!("r{:05}", usize::from(config.first) + config.number),
            size: config.size,
            seed: config.seed,
            epoch: config.epoch,
            protocol: config.protocol,
            connections: config.connections,
            cursors: (0..members).map(|_| Cursor::default()).collect(),
            orders: (0..orders).map(new_order).collect(),
            sent: vec![0; config.senders],
            send_times: vec![SendTimes::default(); config.senders],
            total_sent: 0,
            next_sender: 0,
            deferred_reads: config.deferred_reads,
            sample: sample::FIRST_SAMPLE,
            membership: Membership::new(members, Spread { room: config.number, servers: config.servers }),
            told: ToldNotices::default(),
            returns: None,
            slow: (0..members).filter(is_slow).map(|member| (member, SlowMember::default())).collect(),
        };
        if !room.protocol.echoes_to_sender() {
            // A sender that receives no echo cannot know the order around its own lines. It counts as diverged from the
            // start, and never appends to the log.
            room.orders.iter_mut().for_each(|order| order.log.build_index());
            (0..room.sent.len()).for_each(|sender| room.mark_diverged(sender, room.sent.clone()));
        }
        room.recompute_floors();
        room
    }

    /// Returns the number of lines that some member that is read immediately has not received.
    pub(crate) fn in_flight(&self) -> usize {
        let floor = self.orders.iter().map(|order| order.floor).min().unwrap_or(0);
        self.total_sent.saturating_sub(floor)
    }

    /// Returns the number of lines sent.
    pub(crate) fn lines_sent(&self) -> u64 {
        self.total_sent as u64
    }

    /// Returns whether the server has refused a member without a reason so far, and resets the mark.
    pub(crate) fn take_unexplained_refusal(&mut self, member: usize) -> bool {
        std::mem::take(&mut self.cursors[member].refusal_pending)
    }

    /// Returns whether all join notices have arrived, or the protocol has none.
    pub(crate) fn all_joins_announced(&self) -> bool {
        !self.protocol.announces_joins() || self.membership.all_joins_announced()
    }

    /// Returns whether join notices of other servers have not arrived that a server may leave out.
    pub(crate) fn awaits_optional_joins(&self) -> bool {
        self.protocol.announces_joins() && self.membership.optional_joins_awaited() > 0
    }

    /// Writes the payload of the next line, planned for one tick and sent at another, to `text`. Returns its sender, or `None` when no sender
    /// is left.
    pub(crate) fn next_line(&mut self, planned: Tick, sent: Tick, text: &mut Vec<u8>) -> Option<usize> {
        let senders = self.sent.len();
        let sender = (0..senders)
            .map(|step| (self.next_sender + step) % senders)
            .find(|&sender| self.cursors[sender].state == MemberState::Joined)?;
        self.next_sender = (sender + 1) % senders;
        let stamp = Stamp {
            room: self.number,
            sender: u32::try_from(sender).unwrap_or(u32::MAX),
            sequence: self.sent[sender],
            planned_us: planned.saturating_sub(self.epoch) / 1000,
        };
        self.sent[sender] += 1;
        self.send_times[sender].push(sent);
        self.total_sent += 1;
        text.clear();
        payload::encode(&stamp, self.size_of(&stamp), text);
        Some(sender)
    }

    /// Returns the size of a line's text, which follows from its number.
    fn size_of(&self, stamp: &Stamp) -> usize {
        let line = u64::from(stamp.room) << 48 ^ u64::from(stamp.sender) << 32 ^ u64::from(stamp.sequence);
        self.size.pick(mix(self.seed ^ mix(line)))
    }

    /// Subtracts lines that a sender's connection did not write.
    pub(crate) fn retract_lines(&mut self, sender: usize, lines: u32) {
        let lines = lines.min(self.sent[sender]);
        self.sent[sender] -= lines;
        self.send_times[sender].remove_last(lines);
        self.total_sent -= lines as usize;
    }

    fn mark_joined(&mut self, member: usize) -> bool {
        let cursor = &mut self.cursors[member];
        let new = cursor.state == MemberState::Joining;
        cursor.state = MemberState::Joined;
        self.membership.mark_joined(member);
        new
    }

    /// Returns a member's name. All names have the same length, so that all lines have the same length.
    pub(crate) fn member_name(&self, member: usize) -> String {
        format!("u{:05}x{member:05}", self.number)
    }

    /// Returns whether a member's sending side is shut down, so that the server has to close its connection.
    pub(crate) fn is_leaving(&self, member: usize) -> bool {
        self.membership.is_leaving(member)
    }

    /// Marks a member as left: it expects no more deliveries. Returns whether it was in the room.
    pub(crate) fn mark_left(&mut self, member: usize) -> bool {
        self.discard_pending(member);
        let order = self.order_number(member);
        let cursor = &mut self.cursors[member];
        let inside = cursor.state == MemberState::Joined;
        self.orders[order].outside_members +=
            usize::from(cursor.state != MemberState::Left && cursor.unlocated.is_none());
        cursor.state = MemberState::Left;
        cursor.partial = Vec::new();
        cursor.unlocated = None;
        if let Some(returns) = &mut self.returns {
            returns.stays.start_leave(member);
            returns.forget(member);
        }
        self.membership.mark_left(member);
        // No line is sent once the first member is leaving.
        if !self.membership.is_leaving(member) {
            self.recompute_floor(order);
        }
        inside
    }
}

#[cfg(test)]
mod tests;
