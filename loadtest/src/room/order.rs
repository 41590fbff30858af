//! The check of order: members follow the room's log; whoever leaves it is checked line by line.

use super::Room;
use crate::clock::Tick;
use crate::cursor::{Ahead, Arrival, Stage, Stray};
use crate::metrics::Metrics;
use crate::payload::{self, Stamp};

/// A line as it arrived.
pub(super) struct Line<'a> {
    /// All its bytes.
    pub(super) raw: &'a [u8],
    /// Who is said to have said it, where the protocol tells.
    pub(super) by: Option<&'a [u8]>,
    /// What was said.
    pub(super) text: &'a [u8],
}

impl Room {
    /// Moves a member to a place of the log: all lines that end by there have arrived.
    pub(super) fn pass(&mut self, member: usize, to: usize, now: Tick, metrics: &mut Metrics) {
        let timed = self.is_prompt(member);
        let cursor = &mut self.cursors[member];
        let before = cursor.line;
        cursor.at = to;
        // Lines of one batch are planned at the same tick: they are counted together.
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
        self.skip_own(member);
        self.reach(member, before);
    }

    /// Where senders aren't told their own lines, their place moves over these by itself.
    fn skip_own(&mut self, member: usize) {
        if self.protocol.echoes() || member >= self.sent.len() {
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

    /// Notes that a member came from line `before` to where it is now; raises the floor when it was the last one that
    /// is read at once.
    fn reach(&mut self, member: usize, before: usize) {
        if self.is_prompt(member) && before < self.target && self.cursors[member].line >= self.target {
            self.behind -= 1;
            if self.behind == 0 {
                self.retarget();
            }
        }
    }

    /// Sets the floor to what everybody has, and the next target to all that is known.
    pub(super) fn retarget(&mut self) {
        let logged = self.log.lines();
        let present = |member: &usize| self.cursors[*member].stage != Stage::Gone;
        let line = |member: usize| self.cursors[member].line;
        let all = (0..self.cursors.len()).filter(present);
        let prompt = all.clone().filter(|&member| self.is_prompt(member)).map(line);
        let needed = all.map(line).min().unwrap_or(logged);
        let floor = prompt.clone().min().unwrap_or(logged);
        let target = logged.max(floor + 1);
        let behind = prompt.filter(|line| *line < target).count();
        (self.floor, self.target, self.behind) = (floor, target, behind);
        self.log.discard_before(needed);
    }

    /// Takes in one line.
    pub(super) fn line(&mut self, member: usize, said: &Line<'_>, now: Tick, metrics: &mut Metrics) {
        let raw = said.raw;
        let cursor = &self.cursors[member];
        let (at, line, stray) = (cursor.at, cursor.line, cursor.stray.is_some());
        if !stray
            && let Some(entry) = self.log.entry(line)
            && self.log.slice(at, entry.end) == raw
        {
            let end = entry.end;
            return self.pass(member, end, now, metrics);
        }
        let Some(stamp) = payload::decode(said.text, self.size).filter(|stamp| self.was_sent(stamp, said.by)) else {
            metrics.counters.corrupt += 1;
            return;
        };
        let sender = stamp.sender as usize;
        let planned = self.epoch + stamp.planned_us * 1000;
        if !stray {
            if line == self.log.lines() && stamp.sequence == self.logged[sender] {
                self.append(raw, planned, sender, stamp.sequence);
                self.pass(member, self.log.end(), now, metrics);
                return self.settle_strays(metrics);
            }
            let next = self.expected(line);
            if stamp.sequence < next[sender] {
                metrics.counters.duplicated += 1;
                return;
            }
            self.cursors[member].stray = Some(Box::new(Stray::new(next)));
            self.strays += 1;
        }
        let ahead = Ahead { sender, sequence: stamp.sequence, planned, late: false, raw: raw.to_vec() };
        self.stray_line(member, ahead, now, metrics);
        self.settle_strays(metrics);
    }

    /// Whether a line with this stamp was sent to this room, by whom it is said to be.
    fn was_sent(&self, stamp: &Stamp, by: Option<&[u8]>) -> bool {
        let sender = stamp.sender as usize;
        stamp.room == self.number
            && self.sent.get(sender).is_some_and(|sent| stamp.sequence < *sent)
            && by.is_none_or(|name| name == self.member_name(sender).as_bytes())
    }

    fn append(&mut self, raw: &[u8], planned: Tick, sender: usize, sequence: u32) {
        self.log.append(raw, planned, sender, sequence);
        self.logged[sender] = self.logged[sender].max(sequence + 1);
        let before = self.cursors[sender].line;
        self.skip_own(sender);
        self.reach(sender, before);
    }

    /// What a member at a line of the log expects next from each sender.
    fn expected(&self, line: usize) -> Vec<u32> {
        let mut next = self.logged.clone();
        let mut known = vec![false; next.len()];
        for entry in self.log.entries_from(line) {
            if !std::mem::replace(&mut known[entry.sender], true) {
                next[entry.sender] = entry.sequence;
            }
        }
        next
    }

    /// Takes in a line of a member that no longer follows the log.
    fn stray_line(&mut self, member: usize, mut ahead: Ahead, now: Tick, metrics: &mut Metrics) {
        let timed = self.is_prompt(member);
        let cursor = &mut self.cursors[member];
        let Some(stray) = cursor.stray.as_mut() else { return };
        match stray.arrive(ahead.sender, ahead.sequence) {
            Arrival::Again => {
                metrics.counters.duplicated += 1;
                return;
            }
            Arrival::Late => {
                ahead.late = true;
                metrics.counters.misordered += 1;
                metrics.counters.misordered_sender += 1;
            }
            Arrival::New => {}
        }
        metrics.record_deliveries(now, ahead.planned, 1, timed);
        cursor.delivered += 1;
        stray.ahead.push_back(ahead);
    }

    /// Finds the places of strays' lines in the log, as far as it goes; when no member is left that could
    /// still bring a missing line, the log goes on without it.
    fn settle_strays(&mut self, metrics: &mut Metrics) {
        while self.strays > 0 {
            let present = |member: &usize| self.cursors[*member].stage != Stage::Gone;
            let members: Vec<usize> = (0..self.cursors.len()).filter(present).collect();
            for &member in &members {
                while self.settle_line(member, metrics) {}
            }
            let waiting = |member: &usize| {
                let cursor = &self.cursors[*member];
                let ahead = cursor.stray.as_ref().is_some_and(|stray| !stray.ahead.is_empty());
                ahead && cursor.line == self.log.lines()
            };
            if members.is_empty() || !members.iter().all(waiting) {
                return;
            }
            self.go_past_gap(members[0]);
        }
    }

    /// Gives one line of a stray its place. Returns whether there was one to be given.
    fn settle_line(&mut self, member: usize, metrics: &mut Metrics) -> bool {
        let cursor = &mut self.cursors[member];
        let before = cursor.line;
        let leads = self.protocol.echoes() || member >= self.sent.len();
        let Some(stray) = cursor.stray.as_mut() else { return false };
        let Some(line) = stray.ahead.pop_front() else { return false };
        let key = (line.sender, line.sequence);
        let logged = self.logged[line.sender];
        let due = line.sequence == logged || self.gaps.contains(&key);
        match self.log.find(line.sender, line.sequence) {
            Some(place) if place >= before => {
                cursor.line = place + 1;
                // All members must be sent the same bytes, also those which say nothing to us.
                metrics.counters.corrupt += u64::from(self.log.line_bytes(place) != line.raw);
            }
            None if due && before == self.log.lines() && leads => {
                self.gaps.retain(|gap| *gap != key);
                self.append(&line.raw, line.planned, line.sender, line.sequence);
                self.cursors[member].line = self.log.lines();
            }
            None if due || line.sequence > logged => {
                stray.ahead.push_front(line);
                return false;
            }
            // Its place is one that the member has passed; a line that came late is counted already.
            Some(_) | None => {
                metrics.counters.misordered_room += 1;
                metrics.counters.misordered += u64::from(!line.late);
            }
        }
        self.place(member, before);
        true
    }

    /// Logs a stray's next line although lines before it are missing: nobody has them.
    fn go_past_gap(&mut self, member: usize) {
        let cursor = &mut self.cursors[member];
        let before = cursor.line;
        let Some(line) = cursor.stray.as_mut().and_then(|stray| stray.ahead.pop_front()) else { return };
        self.gaps.extend((self.logged[line.sender]..line.sequence).map(|sequence| (line.sender, sequence)));
        self.append(&line.raw, line.planned, line.sender, line.sequence);
        self.cursors[member].line = self.log.lines();
        self.place(member, before);
    }

    /// Puts a stray at the start of its line, and tells the floor.
    fn place(&mut self, member: usize, before: usize) {
        let cursor = &mut self.cursors[member];
        cursor.at = self.log.start_of(cursor.line);
        self.skip_own(member);
        self.reach(member, before);
    }
}
