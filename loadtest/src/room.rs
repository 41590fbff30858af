//! A room as its members see it: sends in turn, checks every delivery, and knows what everybody has.
//!
//! No socket here: bytes go in with the member that received them, so that each fault can be tested on its own.

use std::ops::Range;

use crate::clock::Tick;
use crate::cursor::{Cursor, Divergence, MemberState};
use crate::metrics::Metrics;
use crate::payload::{self, Stamp};
use crate::protocol::Protocol;
use crate::room_log::RoomLog;

mod order;
mod receiver;

/// One in so many members is read at once where the others are read now and then.
const IMMEDIATE_EVERY: usize = 32;

/// Bytes that a member may have yet to read: well within what servers hold back for one.
const MAX_UNREAD_BYTES: usize = 64 * 1024;

/// One room.
pub(crate) struct Room {
    /// Its number in the whole run, which its lines carry.
    number: u32,
    /// Its name.
    pub(crate) name: String,
    /// Bytes of a line's text.
    size: usize,
    /// The tick that planned times count from.
    epoch: Tick,
    /// How frames are read.
    protocol: &'static dyn Protocol,
    /// Its members' connections, in its worker's numbering.
    pub(crate) connections: Range<usize>,
    /// Where each member is.
    cursors: Vec<Cursor>,
    /// The common order.
    log: RoomLog,
    /// How many lines each sender has sent.
    sent: Vec<u32>,
    /// How many lines of each sender the log has.
    logged: Vec<u32>,
    /// Lines that the log went past because no member had them, should they still come.
    gaps: Vec<(usize, u32)>,
    /// Lines sent by all of them.
    total_sent: usize,
    /// Whose turn it is to send.
    next_sender: usize,
    /// Whether only some members are read at once.
    deferred_reads: bool,
    /// Lines that every member has which is read at once.
    floor: usize,
    /// The line count that everybody must reach for the floor to rise.
    floor_target: usize,
    /// How many members have not reached it.
    below_target: usize,
    /// How many members have left the common order.
    diverged_members: usize,
    /// Newcomers' notices received by all members.
    join_notices: u64,
    /// Who is said to have left, before the room's account is made.
    leave_notices: Vec<usize>,
}

/// What a chunk of bytes told a member, besides lines.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// The server waits for the connection to enter its room.
    pub(crate) ready: bool,
    /// The connection is in its room now.
    pub(crate) entered: bool,
    /// What must be sent back.
    pub(crate) reply: Vec<u8>,
    /// A refusal, or words of another protocol: the first of them.
    pub(crate) fault: Option<ServerFault>,
}

/// Something that should not have been said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ServerFault {
    /// The server refused.
    Refused(String),
    /// It does not speak the protocol.
    UnknownFrame(String),
}

/// What [`Room::new`] needs to know.
pub(crate) struct RoomConfig {
    /// The room's number in the whole run.
    pub(crate) number: usize,
    /// The number that the run's first room is named by.
    pub(crate) first: u16,
    /// Its members' connections.
    pub(crate) connections: Range<usize>,
    /// How many of them send.
    pub(crate) senders: usize,
    /// Bytes of a line's text.
    pub(crate) size: usize,
    /// The tick that planned times count from.
    pub(crate) epoch: Tick,
    /// How frames are read.
    pub(crate) protocol: &'static dyn Protocol,
    /// Whether only some members are read at once.
    pub(crate) deferred_reads: bool,
}

impl Room {
    pub(crate) fn new(config: RoomConfig) -> Self {
        let members = config.connections.len();
        let mut room = Self {
            number: u32::try_from(config.number).unwrap_or(u32::MAX),
            name: format!("r{:05}", usize::from(config.first) + config.number),
            size: config.size,
            epoch: config.epoch,
            protocol: config.protocol,
            connections: config.connections,
            cursors: (0..members).map(|_| Cursor::default()).collect(),
            log: RoomLog::default(),
            sent: vec![0; config.senders],
            logged: vec![0; config.senders],
            gaps: Vec::new(),
            total_sent: 0,
            next_sender: 0,
            deferred_reads: config.deferred_reads,
            floor: 0,
            floor_target: 1,
            below_target: 0,
            diverged_members: 0,
            join_notices: 0,
            leave_notices: Vec::new(),
        };
        if !room.protocol.echoes_to_sender() {
            // A sender that isn't told its own lines cannot know the order around them: it never leads.
            room.diverged_members = room.sent.len();
            let divergence = || Some(Box::new(Divergence::new(room.sent.clone())));
            room.cursors[..room.diverged_members].iter_mut().for_each(|cursor| cursor.divergence = divergence());
        }
        room.recompute_floor();
        room
    }

    /// Whether a member is read at once: it paces a closed loop, and its latency is measured. Senders are, the last
    /// member, and some between, so that early and late places in the server's order are among them.
    pub(crate) fn is_read_immediately(&self, member: usize) -> bool {
        !self.deferred_reads
            || member < self.sent.len()
            || member + 1 == self.cursors.len()
            || member % IMMEDIATE_EVERY == IMMEDIATE_EVERY - 1
    }

    /// Lines that a member which is read at once has yet to receive.
    pub(crate) fn in_flight(&self) -> usize {
        self.total_sent.saturating_sub(self.floor)
    }

    /// Whether members that are read now and then have so much to be read that more lines would try the server's
    /// patience with them: what it then leaves out would be our doing.
    pub(crate) fn awaits_deferred_reads(&mut self) -> bool {
        if self.deferred_reads && self.log.retained_bytes() > MAX_UNREAD_BYTES {
            self.recompute_floor();
        }
        self.deferred_reads && self.log.retained_bytes() > MAX_UNREAD_BYTES
    }

    /// Lines sent so far.
    pub(crate) fn lines_sent(&self) -> u64 {
        self.total_sent as u64
    }

    /// Whether a member was refused without a reason so far; asked once.
    pub(crate) fn take_unexplained_refusal(&mut self, member: usize) -> bool {
        std::mem::take(&mut self.cursors[member].refusal_pending)
    }

    /// Whether all notices of newcomers are there, where the protocol has them.
    pub(crate) fn all_joins_announced(&self) -> bool {
        !self.protocol.announces_joins() || self.join_notices >= self.expected_join_notices()
    }

    /// The notices of newcomers owed: each member is told of itself and all after it.
    fn expected_join_notices(&self) -> u64 {
        let members = self.cursors.len() as u64;
        members * (members + 1) / 2
    }

    /// Appends the next line, planned at a tick, to what its sender is to write. `None` when no sender is left.
    pub(crate) fn next_line(&mut self, planned: Tick, text: &mut Vec<u8>) -> Option<usize> {
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
        self.total_sent += 1;
        text.clear();
        payload::encode(&stamp, self.size, text);
        Some(sender)
    }

    /// Takes back lines that a sender never got to write.
    pub(crate) fn retract_lines(&mut self, sender: usize, lines: u32) {
        let lines = lines.min(self.sent[sender]);
        self.sent[sender] -= lines;
        self.total_sent -= lines as usize;
    }

    fn mark_joined(&mut self, member: usize) -> bool {
        let cursor = &mut self.cursors[member];
        let new = cursor.state == MemberState::Joining;
        cursor.state = MemberState::Joined;
        new
    }

    /// The name under which a member enters; of the same length for all, so that all lines are equally long.
    pub(crate) fn member_name(&self, member: usize) -> String {
        format!("u{:05}x{member:05}", self.number)
    }

    /// Ends a member: nothing more is owed to it. Returns whether it had been in the room.
    pub(crate) fn mark_left(&mut self, member: usize) -> bool {
        let cursor = &mut self.cursors[member];
        let inside = cursor.state == MemberState::Joined;
        cursor.state = MemberState::Left;
        cursor.partial = Vec::new();
        self.recompute_floor();
        inside
    }

    /// Whether every line has arrived at every member that is left.
    pub(crate) fn is_complete(&self) -> bool {
        (0..self.cursors.len()).all(|member| self.expected_deliveries(member) == self.cursors[member].delivered)
    }

    /// The lines that a member must have received once all have arrived.
    fn expected_deliveries(&self, member: usize) -> u64 {
        match self.cursors[member].state {
            MemberState::Left | MemberState::Joining => self.cursors[member].delivered,
            MemberState::Joined if self.protocol.echoes_to_sender() => self.lines_sent(),
            MemberState::Joined => self.lines_sent() - u64::from(self.sent.get(member).copied().unwrap_or(0)),
        }
    }

    /// Adds the room's final account, before anybody is made to leave. What has not arrived is lost, except where the
    /// run was cut short: then it may have been on its way.
    pub(crate) fn add_final_counts(&self, stopped_early: bool, metrics: &mut Metrics) {
        let here = |leaver: &&usize| self.cursors[**leaver].state != MemberState::Left;
        metrics.counters.untrue_notices += self.leave_notices.iter().filter(here).count() as u64;
        metrics.counters.sent += self.lines_sent();
        if self.protocol.announces_joins() {
            metrics.counters.join_notices_expected += self.expected_join_notices();
        }
        for (member, cursor) in self.cursors.iter().enumerate() {
            let owed = self.expected_deliveries(member);
            metrics.counters.expected += owed;
            let missing = owed.saturating_sub(cursor.delivered);
            *(if stopped_early { &mut metrics.counters.in_flight } else { &mut metrics.counters.lost }) += missing;
        }
    }
}

#[cfg(test)]
mod tests;
