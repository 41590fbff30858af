//! A room as its members see it: sends in turn, checks every delivery, and knows what everybody has.
//!
//! No socket here: bytes go in with the member that received them, so that each fault can be tested on its own.

use std::ops::Range;

use crate::clock::Tick;
use crate::cursor::{Cursor, Stage, Stray};
use crate::metrics::Metrics;
use crate::payload::{self, Stamp};
use crate::protocol::Protocol;
use crate::room_log::RoomLog;

mod order;
mod receiver;

/// One in so many members is read at once where the others are read now and then.
const SAMPLE: usize = 32;

/// Bytes that a member may have yet to read: well within what servers hold back for one.
const MOST_UNREAD: usize = 64 * 1024;

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
    said: usize,
    /// Whose turn it is to send.
    turn: usize,
    /// Whether only some members are read at once.
    lazy: bool,
    /// Lines that every member has which is read at once.
    floor: usize,
    /// The line count that everybody must reach for the floor to rise.
    target: usize,
    /// How many members have not reached it.
    behind: usize,
    /// How many members have left the common order.
    strays: usize,
    /// Newcomers' notices received by all members.
    join_notices: u64,
    /// Who is said to have left, before the room's account is made.
    leavers: Vec<usize>,
}

/// What a chunk of bytes told a member, besides lines.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// The server waits for the connection to enter its room.
    pub(crate) ready: bool,
    /// The connection is in its room now.
    pub(crate) entered: bool,
    /// What must be sent back.
    pub(crate) answer: Vec<u8>,
    /// A refusal, or words of another protocol: the first of them.
    pub(crate) trouble: Option<Trouble>,
}

/// Something that should not have been said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The server refused.
    Refused(String),
    /// It does not speak the protocol.
    Alien(String),
}

/// What [`Room::new`] needs to know.
pub(crate) struct Setup {
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
    pub(crate) lazy: bool,
}

impl Room {
    pub(crate) fn new(setup: Setup) -> Self {
        let members = setup.connections.len();
        let mut room = Self {
            number: u32::try_from(setup.number).unwrap_or(u32::MAX),
            name: format!("r{:05}", usize::from(setup.first) + setup.number),
            size: setup.size,
            epoch: setup.epoch,
            protocol: setup.protocol,
            connections: setup.connections,
            cursors: (0..members).map(|_| Cursor::default()).collect(),
            log: RoomLog::default(),
            sent: vec![0; setup.senders],
            logged: vec![0; setup.senders],
            gaps: Vec::new(),
            said: 0,
            turn: 0,
            lazy: setup.lazy,
            floor: 0,
            target: 1,
            behind: 0,
            strays: 0,
            join_notices: 0,
            leavers: Vec::new(),
        };
        if !room.protocol.echoes() {
            // A sender that isn't told its own lines cannot know the order around them: it never leads.
            room.strays = room.sent.len();
            let stray = || Some(Box::new(Stray::new(room.sent.clone())));
            room.cursors[..room.strays].iter_mut().for_each(|cursor| cursor.stray = stray());
        }
        room.retarget();
        room
    }

    /// Whether a member is read at once: it paces a closed loop, and its latency is measured. Senders are, the last
    /// member, and some between, so that early and late places in the server's order are among them.
    pub(crate) fn is_prompt(&self, member: usize) -> bool {
        !self.lazy || member < self.sent.len() || member + 1 == self.cursors.len() || member % SAMPLE == SAMPLE - 1
    }

    /// Lines that a member which is read at once has yet to receive.
    pub(crate) fn in_flight(&self) -> usize {
        self.said.saturating_sub(self.floor)
    }

    /// Whether members that are read now and then have so much to be read that more lines would try the server's
    /// patience with them: what it then leaves out would be our doing.
    pub(crate) fn waits_for_the_lazy(&mut self) -> bool {
        if self.lazy && self.log.retained_bytes() > MOST_UNREAD {
            self.retarget();
        }
        self.lazy && self.log.retained_bytes() > MOST_UNREAD
    }

    /// Lines sent so far.
    pub(crate) fn lines_sent(&self) -> u64 {
        self.said as u64
    }

    /// Whether a member was refused without a reason so far; asked once.
    pub(crate) fn unexplained(&mut self, member: usize) -> bool {
        std::mem::take(&mut self.cursors[member].refused)
    }

    /// Whether all notices of newcomers are there, where the protocol has them.
    pub(crate) fn introduced(&self) -> bool {
        !self.protocol.announces() || self.join_notices >= self.introductions()
    }

    /// The notices of newcomers owed: each member is told of itself and all after it.
    fn introductions(&self) -> u64 {
        let members = self.cursors.len() as u64;
        members * (members + 1) / 2
    }

    /// Appends the next line, planned at a tick, to what its sender is to write. `None` when no sender is left.
    pub(crate) fn say(&mut self, planned: Tick, text: &mut Vec<u8>) -> Option<usize> {
        let senders = self.sent.len();
        let sender = (0..senders)
            .map(|step| (self.turn + step) % senders)
            .find(|&sender| self.cursors[sender].stage == Stage::Inside)?;
        self.turn = (sender + 1) % senders;
        let stamp = Stamp {
            room: self.number,
            sender: u32::try_from(sender).unwrap_or(u32::MAX),
            sequence: self.sent[sender],
            planned_us: planned.saturating_sub(self.epoch) / 1000,
        };
        self.sent[sender] += 1;
        self.said += 1;
        text.clear();
        payload::encode(&stamp, self.size, text);
        Some(sender)
    }

    /// Takes back lines that a sender never got to write.
    pub(crate) fn unsay(&mut self, sender: usize, lines: u32) {
        let lines = lines.min(self.sent[sender]);
        self.sent[sender] -= lines;
        self.said -= lines as usize;
    }

    fn enter(&mut self, member: usize) -> bool {
        let cursor = &mut self.cursors[member];
        let new = cursor.stage == Stage::Outside;
        cursor.stage = Stage::Inside;
        new
    }

    /// The name under which a member enters; of the same length for all, so that all lines are equally long.
    pub(crate) fn member_name(&self, member: usize) -> String {
        format!("u{:05}x{member:05}", self.number)
    }

    /// Ends a member: nothing more is owed to it. Returns whether it had been in the room.
    pub(crate) fn gone(&mut self, member: usize) -> bool {
        let cursor = &mut self.cursors[member];
        let inside = cursor.stage == Stage::Inside;
        cursor.stage = Stage::Gone;
        cursor.partial = Vec::new();
        self.retarget();
        inside
    }

    /// Whether every line has arrived at every member that is left.
    pub(crate) fn complete(&self) -> bool {
        (0..self.cursors.len()).all(|member| self.owed(member) == self.cursors[member].delivered)
    }

    /// The lines that a member must have received once all have arrived.
    fn owed(&self, member: usize) -> u64 {
        match self.cursors[member].stage {
            Stage::Gone | Stage::Outside => self.cursors[member].delivered,
            Stage::Inside if self.protocol.echoes() => self.lines_sent(),
            Stage::Inside => self.lines_sent() - u64::from(self.sent.get(member).copied().unwrap_or(0)),
        }
    }

    /// Adds the room's final account, before anybody is made to leave. What has not arrived is lost, except where the
    /// run was cut short: then it may have been on its way.
    pub(crate) fn account(&self, cut_short: bool, metrics: &mut Metrics) {
        let here = |leaver: &&usize| self.cursors[**leaver].stage != Stage::Gone;
        metrics.counters.untrue_notices += self.leavers.iter().filter(here).count() as u64;
        metrics.counters.sent += self.lines_sent();
        if self.protocol.announces() {
            metrics.counters.join_notices_expected += self.introductions();
        }
        for (member, cursor) in self.cursors.iter().enumerate() {
            let owed = self.owed(member);
            metrics.counters.expected += owed;
            let missing = owed.saturating_sub(cursor.delivered);
            *(if cut_short { &mut metrics.counters.in_flight } else { &mut metrics.counters.lost }) += missing;
        }
    }
}

#[cfg(test)]
mod tests;
