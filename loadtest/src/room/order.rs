//! The check of order: members follow the room's log as long as they receive its bytes.

use super::Room;
use crate::clock::Tick;
use crate::cursor::{MemberState, PendingLine};
use crate::metrics::{LineTimes, Metrics};
use crate::payload::{self, Stamp};

/// A received line.
pub(super) struct ReceivedLine<'a> {
    /// All bytes of the line.
    pub(super) raw: &'a [u8],
    /// The sender's name, where the protocol tells it.
    pub(super) sender: Option<&'a [u8]>,
    /// The text of the line.
    pub(super) text: &'a [u8],
}

impl Room {
    /// Moves a member to an offset of the log, and records the lines that end before it as delivered.
    pub(super) fn advance(&mut self, member: usize, to: usize, now: Tick, metrics: &mut Metrics) {
        let timed = self.is_read_immediately(member);
        let cursor = &mut self.cursors[member];
        let before = cursor.line;
        cursor.at = to;
        // Lines of one batch are planned and sent at the same ticks, and are recorded together.
        let (mut line, mut count) = (LineTimes::default(), 0);
        for entry in self.log.entries_from(before).take_while(|entry| entry.end <= to) {
            if entry.times != line && count > 0 {
                cursor.record_deliveries(now, line, count, timed, metrics);
                count = 0;
            }
            line = entry.times;
            count += 1;
            cursor.line += 1;
        }
        if count > 0 {
            cursor.record_deliveries(now, line, count, timed, metrics);
            // No line is missing before the next one of the log.
            self.take_announced(member);
        }
        self.skip_own_lines(member);
        self.update_floor(member, before);
    }

    /// Moves a sender without an echo past its own lines in the log.
    pub(super) fn skip_own_lines(&mut self, member: usize) {
        if self.protocol.echoes_to_sender() || member >= self.sent.len() {
            return;
        }
        let cursor = &mut self.cursors[member];
        while let Some(entry) = self.log.entry(cursor.line) {
            if entry.sender != member || cursor.at != self.log.start_of(cursor.line) {
                break;
            }
            cursor.at = entry.end;
            cursor.line += 1;
        }
    }

    /// Updates the floor after a member moved on from line `before`. The floor rises when the last member that is read
    /// immediately reaches the target.
    pub(super) fn update_floor(&mut self, member: usize, before: usize) {
        self.floor_outdated = true;
        if self.is_read_immediately(member)
            && before < self.floor_target
            && self.cursors[member].line >= self.floor_target
        {
            self.below_target -= 1;
            if self.below_target == 0 {
                self.recompute_floor();
            }
        }
    }

    /// Sets the floor to the lines that every member that is read immediately has, and the target to the end of the
    /// log. Discards the lines that every member has.
    pub(super) fn recompute_floor(&mut self) {
        let logged = self.log.lines();
        let present = |member: &usize| self.cursors[*member].state != MemberState::Left;
        let line = |member: usize| self.cursors[member].line;
        let all = (0..self.cursors.len()).filter(present);
        let immediate = all.clone().filter(|&member| self.is_read_immediately(member)).map(line);
        let needed = all.map(line).min().unwrap_or(logged);
        let floor = immediate.clone().min().unwrap_or(logged);
        let target = logged.max(floor + 1);
        let below_target = immediate.filter(|line| *line < target).count();
        (self.floor, self.floor_target, self.below_target) = (floor, target, below_target);
        self.log.discard_before(needed);
        self.floor_outdated = false;
    }

    /// Checks one line of a member.
    pub(super) fn receive_line(&mut self, member: usize, line: &ReceivedLine<'_>, now: Tick, metrics: &mut Metrics) {
        let raw = line.raw;
        let cursor = &self.cursors[member];
        if cursor.unlocated.is_some() {
            // The first message of a stay is the notice of the member's own join.
            metrics.counters.add_misplaced_in_room(1);
            return;
        }
        let (at, expected, diverged) = (cursor.at, cursor.line, cursor.divergence.is_some());
        if !diverged
            && let Some(entry) = self.log.entry(expected)
            && self.log.slice(at, entry.end) == raw
        {
            let end = entry.end;
            return self.advance(member, end, now, metrics);
        }
        let Some(stamp) = payload::decode(line.text, |stamp| self.size_of(stamp))
            .filter(|stamp| self.matches_sent_line(stamp, line.sender))
        else {
            metrics.counters.corrupt += 1;
            return;
        };
        let sender = stamp.sender as usize;
        let planned = self.epoch + stamp.planned_us * 1000;
        let logged = || self.log.find(sender, stamp.sequence).and_then(|place| self.log.entry(place));
        let sent = self.send_times[sender].get(stamp.sequence).or_else(|| logged().map(|entry| entry.times.sent));
        let times = LineTimes { planned, sent: sent.unwrap_or(planned) };
        if !diverged {
            // A slow member may have missed lines that no other member has received yet.
            if expected == self.log.lines() && stamp.sequence == self.logged[sender] && !self.is_slow(member) {
                self.append(raw, times, sender, stamp.sequence);
                self.advance(member, self.log.end(), now, metrics);
                return self.place_diverged_lines(metrics);
            }
            self.log.build_index();
            let received = self
                .log
                .find(sender, stamp.sequence)
                .map_or(stamp.sequence < self.logged[sender], |place| place < expected);
            if received {
                metrics.counters.duplicated += 1;
                return;
            }
            self.mark_diverged(member, self.expected_sequences(expected));
        }
        let pending =
            PendingLine { sender, sequence: stamp.sequence, times, late: false, announced: 0, raw: raw.to_vec() };
        self.receive_diverged(member, pending, now, metrics);
        self.place_diverged_lines(metrics);
    }

    /// Returns whether a line with this stamp was sent to this room, by the sender that the protocol names.
    fn matches_sent_line(&self, stamp: &Stamp, claimed: Option<&[u8]>) -> bool {
        let sender = stamp.sender as usize;
        stamp.room == self.number
            && self.sent.get(sender).is_some_and(|sent| stamp.sequence < *sent)
            && claimed.is_none_or(|name| name == self.member_name(sender).as_bytes())
    }

    pub(super) fn append(&mut self, raw: &[u8], times: LineTimes, sender: usize, sequence: u32) {
        self.log.append(raw, times, sender, sequence);
        self.send_times[sender].forget_up_to(sequence);
        self.logged[sender] = self.logged[sender].max(sequence + 1);
        self.unblock_members(sender, sequence);
        let before = self.cursors[sender].line;
        self.skip_own_lines(sender);
        self.update_floor(sender, before);
        self.note_waiting(sender);
        self.locate_first_lines(sender, sequence);
    }

    /// Returns the sequence number that a member at a line of the log expects next from each sender.
    pub(super) fn expected_sequences(&self, line: usize) -> Vec<u32> {
        let mut next = self.logged.clone();
        let mut known = vec![false; next.len()];
        for entry in self.log.entries_from(line) {
            if !std::mem::replace(&mut known[entry.sender], true) {
                next[entry.sender] = entry.sequence;
            }
        }
        next
    }
}
