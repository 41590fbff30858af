//! The check of order: members follow the room's log as long as they receive its bytes.

use super::Room;
use super::common_order::CommonOrder;
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
        let order = self.order_number(member);
        let cursor = &mut self.cursors[member];
        let before = cursor.line;
        cursor.at = to;
        // Lines of one batch are planned and sent at the same ticks, and are recorded together.
        let (mut line, mut count) = (LineTimes::default(), 0);
        for entry in self.orders[order].log.entries_from(before).take_while(|entry| entry.end <= to) {
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
        let order = self.order_number(member);
        let (log, cursor) = (&self.orders[order].log, &mut self.cursors[member]);
        while let Some(entry) = log.entry(cursor.line) {
            if entry.sender != member || cursor.at != log.start_of(cursor.line) {
                break;
            }
            cursor.at = entry.end;
            cursor.line += 1;
        }
    }

    /// Updates the floor after a member moved on from line `before`. The floor rises when the last member that is read
    /// immediately reaches the target.
    pub(super) fn update_floor(&mut self, member: usize, before: usize) {
        let (number, line) = (self.order_number(member), self.cursors[member].line);
        let is_read_immediately = self.is_read_immediately(member);
        let order = &mut self.orders[number];
        order.floor_outdated = true;
        if is_read_immediately && before < order.floor_target && line >= order.floor_target {
            order.below_target -= 1;
            if order.below_target == 0 {
                self.recompute_floor(number);
            }
        }
    }

    /// Recomputes the floors of all orders.
    pub(super) fn recompute_floors(&mut self) {
        (0..self.orders.len()).for_each(|order| self.recompute_floor(order));
    }

    /// Sets the floor of an order to the lines that every member that is read immediately has, and the target to the end of
    /// the log. Discards the lines that every member has.
    pub(super) fn recompute_floor(&mut self, order: usize) {
        let logged = self.orders[order].log.lines();
        let present = |member: &usize| self.cursors[*member].state != MemberState::Left;
        let line = |member: usize| self.cursors[member].line;
        // A line that a member was told as missing is not in flight to it.
        let told = |member: usize| usize::try_from(self.cursors[member].told).unwrap_or(usize::MAX);
        let all = self.orders[order].members().filter(present);
        let immediate = all.clone().filter(|&member| self.is_read_immediately(member));
        let needed = all.map(line).min();
        let floor = immediate.clone().map(|member| line(member).saturating_add(told(member))).min().unwrap_or(logged);
        let target = logged.max(immediate.clone().map(line).min().unwrap_or(logged) + 1);
        let below_target = immediate.filter(|member| line(*member) < target).count();
        let order = &mut self.orders[order];
        (order.floor_target, order.below_target, order.floor_outdated) = (target, below_target, false);
        order.floor = if needed.is_none() { usize::MAX } else { floor };
        order.log.discard_before(needed.unwrap_or(logged));
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
        let order = self.order(member);
        if !diverged
            && let Some(entry) = order.log.entry(expected)
            && order.log.slice(at, entry.end) == raw
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
        let (sender, times, number) = (stamp.sender as usize, self.times_of(member, &stamp), self.order_number(member));
        if !diverged {
            let is_slow = self.is_slow(member);
            let order = &mut self.orders[number];
            // A slow member may have missed lines that no other member has received yet.
            if expected == order.log.lines() && stamp.sequence == order.logged[sender] && !is_slow {
                self.append(number, raw, times, (sender, stamp.sequence));
                self.advance(member, self.orders[number].log.end(), now, metrics);
                return self.place_diverged_lines(number, metrics);
            }
            order.log.build_index();
            let place = order.log.find(sender, stamp.sequence);
            if place.map_or(stamp.sequence < order.logged[sender], |place| place < expected) {
                metrics.counters.duplicated += 1;
                return;
            }
            self.mark_diverged(member, self.expected_sequences(member, expected));
        }
        let pending =
            PendingLine { sender, sequence: stamp.sequence, times, late: false, announced: 0, raw: raw.to_vec() };
        self.receive_diverged(member, pending, now, metrics);
        self.place_diverged_lines(number, metrics);
    }

    /// Returns the times of a line that a member received.
    fn times_of(&self, member: usize, stamp: &Stamp) -> LineTimes {
        let planned = self.epoch + stamp.planned_us * 1000;
        let (sender, log) = (stamp.sender as usize, &self.order(member).log);
        let logged = || log.entry(log.find(sender, stamp.sequence)?).map(|entry| entry.times.sent);
        let sent = self.send_times[sender].get(stamp.sequence).or_else(logged);
        LineTimes { planned, sent: sent.unwrap_or(planned) }
    }

    /// Returns whether a line with this stamp was sent to this room, by the sender that the protocol names.
    fn matches_sent_line(&self, stamp: &Stamp, claimed: Option<&[u8]>) -> bool {
        let sender = stamp.sender as usize;
        stamp.room == self.number
            && self.sent.get(sender).is_some_and(|sent| stamp.sequence < *sent)
            && claimed.is_none_or(|name| name == self.member_name(sender).as_bytes())
    }

    /// Appends a line to the log of an order.
    pub(super) fn append(&mut self, order: usize, raw: &[u8], times: LineTimes, (sender, sequence): (usize, u32)) {
        let CommonOrder { log, logged, .. } = &mut self.orders[order];
        log.append(raw, times, sender, sequence);
        logged[sender] = logged[sender].max(sequence + 1);
        self.forget_send_times(sender);
        self.unblock_members(order, (sender, sequence));
        let before = self.cursors[sender].line;
        self.skip_own_lines(sender);
        self.update_floor(sender, before);
        self.note_waiting(sender);
        self.locate_first_lines(sender, sequence);
    }

    /// Removes the send times of a sender's lines that are in all logs, but for the log of members that have all left.
    fn forget_send_times(&mut self, sender: usize) {
        let orders = self.orders.iter().filter(|order| order.located_members() > 0);
        if let Some(logged) = orders.map(|order| order.logged[sender]).min() {
            self.send_times[sender].forget_before(logged);
        }
    }

    /// Returns the sequence number that a member at a line of its log expects next from each sender.
    pub(super) fn expected_sequences(&self, member: usize, line: usize) -> Vec<u32> {
        let CommonOrder { log, logged, .. } = self.order(member);
        let mut next = logged.clone();
        let mut known = vec![false; next.len()];
        for entry in log.entries_from(line) {
            if !std::mem::replace(&mut known[entry.sender], true) {
                next[entry.sender] = entry.sequence;
            }
        }
        next
    }
}
