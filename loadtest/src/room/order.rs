//! The check of order: members follow the room's log, and the lines of a diverged member are checked one by one.

use super::Room;
use crate::clock::Tick;
use crate::cursor::{Arrival, Divergence, MemberState, PendingLine};
use crate::metrics::Metrics;
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
        // Lines of one batch are planned at the same tick, and are recorded together.
        let (mut planned, mut count) = (0, 0);
        for entry in self.log.entries_from(before).take_while(|entry| entry.end <= to) {
            if entry.planned != planned && count > 0 {
                metrics.record_deliveries(now, planned, count, timed);
                cursor.delivered += count;
                count = 0;
            }
            planned = entry.planned;
            count += 1;
            cursor.line += 1;
        }
        if count > 0 {
            metrics.record_deliveries(now, planned, count, timed);
            cursor.delivered += count;
        }
        self.skip_own_lines(member);
        self.update_floor(member, before);
    }

    /// Moves a sender without an echo past its own lines in the log.
    fn skip_own_lines(&mut self, member: usize) {
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
    fn update_floor(&mut self, member: usize, before: usize) {
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
    }

    /// Checks one line of a member.
    pub(super) fn receive_line(&mut self, member: usize, line: &ReceivedLine<'_>, now: Tick, metrics: &mut Metrics) {
        let raw = line.raw;
        let cursor = &self.cursors[member];
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
        if !diverged {
            if expected == self.log.lines() && stamp.sequence == self.logged[sender] {
                self.append(raw, planned, sender, stamp.sequence);
                self.advance(member, self.log.end(), now, metrics);
                return self.place_diverged_lines(metrics);
            }
            let next = self.expected_sequences(expected);
            if stamp.sequence < next[sender] {
                metrics.counters.duplicated += 1;
                return;
            }
            self.cursors[member].divergence = Some(Box::new(Divergence::new(next)));
            self.diverged_members += 1;
        }
        let pending = PendingLine { sender, sequence: stamp.sequence, planned, late: false, raw: raw.to_vec() };
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

    fn append(&mut self, raw: &[u8], planned: Tick, sender: usize, sequence: u32) {
        self.log.append(raw, planned, sender, sequence);
        self.logged[sender] = self.logged[sender].max(sequence + 1);
        let before = self.cursors[sender].line;
        self.skip_own_lines(sender);
        self.update_floor(sender, before);
    }

    /// Returns the sequence number that a member at a line of the log expects next from each sender.
    fn expected_sequences(&self, line: usize) -> Vec<u32> {
        let mut next = self.logged.clone();
        let mut known = vec![false; next.len()];
        for entry in self.log.entries_from(line) {
            if !std::mem::replace(&mut known[entry.sender], true) {
                next[entry.sender] = entry.sequence;
            }
        }
        next
    }

    /// Checks a line of a diverged member, and queues it for a position in the log.
    fn receive_diverged(&mut self, member: usize, mut line: PendingLine, now: Tick, metrics: &mut Metrics) {
        let timed = self.is_read_immediately(member);
        let cursor = &mut self.cursors[member];
        let Some(divergence) = cursor.divergence.as_mut() else { return };
        match divergence.classify(line.sender, line.sequence) {
            Arrival::Duplicate => {
                metrics.counters.duplicated += 1;
                return;
            }
            Arrival::Late => {
                line.late = true;
                metrics.counters.misordered += 1;
                metrics.counters.misordered_sender += 1;
            }
            Arrival::New => {}
        }
        metrics.record_deliveries(now, line.planned, 1, timed);
        cursor.delivered += 1;
        divergence.pending.push_back(line);
    }

    /// Finds the positions of diverged members' lines in the log, as far as possible. When no present member can still
    /// receive a missing line, the log continues without it.
    fn place_diverged_lines(&mut self, metrics: &mut Metrics) {
        while self.diverged_members > 0 {
            let present = |member: &usize| self.cursors[*member].state != MemberState::Left;
            let members: Vec<usize> = (0..self.cursors.len()).filter(present).collect();
            for &member in &members {
                while self.place_next_line(member, metrics) {}
            }
            let waiting = |member: &usize| {
                let cursor = &self.cursors[*member];
                let has_pending = cursor.divergence.as_ref().is_some_and(|divergence| !divergence.pending.is_empty());
                has_pending && cursor.line == self.log.lines()
            };
            if members.is_empty() || !members.iter().all(waiting) {
                return;
            }
            self.skip_gap(members[0]);
        }
    }

    /// Finds the position of a diverged member's next line. Returns whether one was found.
    fn place_next_line(&mut self, member: usize, metrics: &mut Metrics) -> bool {
        let cursor = &mut self.cursors[member];
        let before = cursor.line;
        let leads = self.protocol.echoes_to_sender() || member >= self.sent.len();
        let Some(divergence) = cursor.divergence.as_mut() else { return false };
        let Some(line) = divergence.pending.pop_front() else { return false };
        let key = (line.sender, line.sequence);
        let logged = self.logged[line.sender];
        let due = line.sequence == logged || self.gaps.contains(&key);
        match self.log.find(line.sender, line.sequence) {
            Some(place) if place >= before => {
                cursor.line = place + 1;
                // The server must send all members the same bytes, including members without an echo.
                metrics.counters.corrupt += u64::from(self.log.line_bytes(place) != line.raw);
            }
            None if due && before == self.log.lines() && leads => {
                self.gaps.retain(|gap| *gap != key);
                self.append(&line.raw, line.planned, line.sender, line.sequence);
                self.cursors[member].line = self.log.lines();
            }
            None if due || line.sequence > logged => {
                divergence.pending.push_front(line);
                return false;
            }
            // The member has already passed the line's position. A late line has been counted before.
            Some(_) | None => {
                metrics.counters.misordered_room += 1;
                metrics.counters.misordered += u64::from(!line.late);
            }
        }
        self.finish_placing(member, before);
        true
    }

    /// Appends a diverged member's next line to the log although earlier lines of its sender are missing for every
    /// member.
    fn skip_gap(&mut self, member: usize) {
        let cursor = &mut self.cursors[member];
        let before = cursor.line;
        let Some(line) = cursor.divergence.as_mut().and_then(|divergence| divergence.pending.pop_front()) else {
            return;
        };
        self.gaps.extend((self.logged[line.sender]..line.sequence).map(|sequence| (line.sender, sequence)));
        self.append(&line.raw, line.planned, line.sender, line.sequence);
        self.cursors[member].line = self.log.lines();
        self.finish_placing(member, before);
    }

    /// Moves a diverged member to the start of its line, and updates the floor.
    fn finish_placing(&mut self, member: usize, before: usize) {
        let cursor = &mut self.cursors[member];
        cursor.at = self.log.start_of(cursor.line);
        self.skip_own_lines(member);
        self.update_floor(member, before);
    }
}
