//! Members that have diverged from the common order: their lines are checked one by one, and get positions in the log.
//!
//! The work for a line is constant on average: a line is looked up by its sender and sequence number, and a member
//! whose next line is missing in the log is visited again when the log gets that line.

use std::collections::{HashMap, HashSet};

use super::Room;
use super::common_order::CommonOrder;
use super::slow::SlowMember;
use crate::clock::Tick;
use crate::cursor::{Arrival, Cursor, Divergence, MemberState, PendingLine};
use crate::metrics::Metrics;

/// The most lines of a room that may wait for a position in the log. Further lines of blocked members are not compared
/// with the room's order, so that a server that loses many lines does not use up the generator's memory.
const MAX_PENDING_LINES: usize = 1 << 17;

/// The state of finding positions for the lines of diverged members. A line is named by sender and sequence number.
#[derive(Debug, Default)]
pub(super) struct Placement {
    /// Lines that the log skipped because no member had received them. They may still arrive.
    gaps: HashSet<(usize, u32)>,
    /// For each line that the log lacks: the members that cannot continue before the log gets it.
    blocked: HashMap<(usize, u32), Vec<usize>>,
    /// Members whose next line may have a position now.
    unblocked: Vec<usize>,
    /// Lines of all members that have no position yet.
    pending: usize,
    /// The length of the log that `waiting` refers to.
    waiting_at: usize,
    /// Members that have reached the end of the log and have a blocked line.
    waiting: usize,
}

impl Room {
    /// Lets a member's lines be checked one by one from now on. `next` holds the sequence number that the member
    /// expects next from each sender.
    pub(super) fn mark_diverged(&mut self, member: usize, next: Vec<u32>) {
        self.cursors[member].divergence = Some(Box::new(Divergence::new(next)));
    }

    /// Checks a line of a diverged member, and queues it for a position in the log.
    pub(super) fn receive_diverged(&mut self, member: usize, mut line: PendingLine, now: Tick, metrics: &mut Metrics) {
        let timed = self.is_read_immediately(member);
        let order = self.order_number(member);
        let placement = &mut self.orders[order].placement;
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
        let line_times = line.times;
        line.announced = self.slow.get_mut(&member).map_or(0, SlowMember::take_announced);
        if !divergence.blocked || placement.pending < MAX_PENDING_LINES {
            divergence.pending.push_back(line);
            placement.pending += 1;
        }
        if !divergence.blocked {
            placement.unblocked.push(member);
        }
        cursor.record_deliveries(now, line_times, 1, timed, metrics);
    }

    /// Finds the positions of diverged members' lines in the log of an order, as far as possible. When no present member can
    /// still receive a missing line, the log continues without it.
    pub(super) fn place_diverged_lines(&mut self, order: usize, metrics: &mut Metrics) {
        loop {
            while let Some(member) = self.orders[order].placement.unblocked.pop() {
                while self.place_next_line(member, metrics) {}
                self.note_waiting(member);
            }
            if !self.orders[order].all_members_wait() {
                return;
            }
            let present = |cursor: &Cursor| cursor.state != MemberState::Left && cursor.unlocated.is_none();
            let mut members = self.orders[order].members();
            let Some(first) = members.find(|member| present(&self.cursors[*member])) else { return };
            self.skip_gap(first);
        }
    }

    /// Finds the position of a diverged member's next line. Returns whether one was found.
    fn place_next_line(&mut self, member: usize, metrics: &mut Metrics) -> bool {
        let leads = (self.protocol.echoes_to_sender() || member >= self.sent.len()) && !self.is_slow(member);
        let number = self.order_number(member);
        let order = &mut self.orders[number];
        let cursor = &mut self.cursors[member];
        let before = cursor.line;
        let Some(divergence) = cursor.divergence.as_mut().filter(|_| cursor.state != MemberState::Left) else {
            return false;
        };
        let Some(line) = divergence.pending.pop_front() else { return false };
        let key = (line.sender, line.sequence);
        let logged = order.logged[line.sender];
        let due = line.sequence == logged || order.placement.gaps.contains(&key);
        match order.log.find(line.sender, line.sequence) {
            Some(place) if place >= before => {
                cursor.line = place + 1;
                // The server must send all members the same bytes, including members without an echo.
                metrics.counters.corrupt += u64::from(order.log.line_bytes(place) != line.raw);
                self.record_gap(member, place - before, line.announced);
            }
            None if due && before == order.log.lines() && leads => {
                self.append(number, &line.raw, line.times, key);
                self.cursors[member].line = self.orders[number].log.lines();
            }
            None if due || line.sequence > logged => {
                divergence.pending.push_front(line);
                divergence.blocked = true;
                order.placement.blocked.entry(key).or_default().push(member);
                return false;
            }
            // The member has already passed the line's position. A late line has been counted before.
            Some(_) | None => {
                metrics.counters.misordered_room += 1;
                metrics.counters.misordered += u64::from(!line.late);
                if let Some(slow) = self.slow.get_mut(&member) {
                    slow.on_late_line();
                }
            }
        }
        self.finish_placing(member, before);
        true
    }

    /// Lets the members continue that were blocked by a line which the log has now.
    pub(super) fn unblock_members(&mut self, order: usize, line: (usize, u32)) {
        let placement = &mut self.orders[order].placement;
        if placement.gaps.is_empty() && placement.blocked.is_empty() {
            return;
        }
        placement.gaps.remove(&line);
        for member in placement.blocked.remove(&line).unwrap_or_default() {
            if let Some(divergence) = self.cursors[member].divergence.as_mut() {
                divergence.blocked = false;
                placement.unblocked.push(member);
            }
        }
    }

    /// Appends a diverged member's next line to the log although earlier lines of its sender are missing for every
    /// member.
    fn skip_gap(&mut self, member: usize) {
        let cursor = &mut self.cursors[member];
        let before = cursor.line;
        let Some(line) = cursor.divergence.as_mut().and_then(|divergence| divergence.pending.pop_front()) else {
            return;
        };
        let number = self.order_number(member);
        let order = &mut self.orders[number];
        let skipped = order.logged[line.sender]..line.sequence;
        order.placement.gaps.extend(skipped.map(|sequence| (line.sender, sequence)));
        self.append(number, &line.raw, line.times, (line.sender, line.sequence));
        let cursor = &mut self.cursors[member];
        cursor.line = self.orders[number].log.lines();
        self.finish_placing(member, before);
    }

    /// Moves a diverged member to the start of its line after one of its lines has a position, and updates the floor.
    fn finish_placing(&mut self, member: usize, before: usize) {
        let number = self.order_number(member);
        let (order, cursor) = (&mut self.orders[number], &mut self.cursors[member]);
        order.placement.pending -= 1;
        cursor.at = order.log.start_of(cursor.line);
        self.skip_own_lines(member);
        self.update_floor(member, before);
    }

    /// Counts a member as waiting where its next line is blocked at the end of the log. Every append ends all waits.
    pub(super) fn note_waiting(&mut self, member: usize) {
        let number = self.order_number(member);
        let CommonOrder { log, placement, .. } = &mut self.orders[number];
        let end = log.lines();
        let cursor = &mut self.cursors[member];
        let Some(divergence) = cursor.divergence.as_mut().filter(|divergence| divergence.blocked) else { return };
        if cursor.line == end && divergence.waiting_at != Some(end) && cursor.state != MemberState::Left {
            divergence.waiting_at = Some(end);
            if placement.waiting_at != end {
                (placement.waiting_at, placement.waiting) = (end, 0);
            }
            placement.waiting += 1;
        }
    }

    /// Discards the lines of a member that has left, which get no position any more.
    pub(super) fn discard_pending(&mut self, member: usize) {
        let number = self.order_number(member);
        let placement = &mut self.orders[number].placement;
        let Some(divergence) = self.cursors[member].divergence.as_mut() else { return };
        placement.pending -= std::mem::take(&mut divergence.pending).len();
        if divergence.waiting_at.take() == Some(placement.waiting_at) {
            placement.waiting -= 1;
        }
    }
}

impl CommonOrder {
    /// Returns whether every present member waits at the end of the log.
    fn all_members_wait(&self) -> bool {
        let present = self.located_members();
        present > 0 && self.placement.waiting_at == self.log.lines() && self.placement.waiting == present
    }
}
