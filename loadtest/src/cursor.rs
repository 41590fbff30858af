//! The position of one member in its room's common order, and its state after it has diverged from that order.

use std::collections::{BTreeMap, VecDeque};

use crate::clock::Tick;
use crate::metrics::{LineTimes, Metrics};
use crate::slowest::LatencySum;

/// A member's position and state.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    /// The offset in the log of the next byte that the member should receive.
    pub(crate) at: usize,
    /// The line that this byte belongs to.
    pub(crate) line: usize,
    /// Bytes of an unfinished line that is not in the log; nearly always empty.
    pub(crate) partial: Vec<u8>,
    /// The state of a member that has received other bytes than the log has.
    pub(crate) divergence: Option<Box<Divergence>>,
    /// Distinct lines that the member has received.
    pub(crate) delivered: u64,
    /// The phase of the member's connection.
    pub(crate) state: MemberState,
    /// Whether the server has refused the member without a reason so far.
    pub(crate) refusal_pending: bool,
    /// Lines that the server has announced to the member as skipped.
    pub(crate) skipped: u64,
    /// Lines that the server has told the member as missing while lines were sent.
    pub(crate) told: u64,
    /// The latencies of the member's deliveries in the measured window.
    pub(crate) latency: LatencySum,
    /// Whether the latency of at least one of them was measured exactly.
    pub(crate) sampled: bool,
    /// Lines of the room before the member's current stay; 0 for a stay from the start.
    pub(crate) base: u64,
    /// The state of a member that has come back, until its position is known.
    pub(crate) unlocated: Option<Box<Unlocated>>,
    /// The lines and notices that a leaving member still has to receive.
    pub(crate) owed: Option<Box<Owed>>,
    /// Whether the connection of a member has ended whose position is not known yet.
    pub(crate) ended: bool,
}

/// The bytes that a member has received before its position in the common order is known.
#[derive(Debug, Default)]
pub(crate) struct Unlocated {
    /// All bytes since the notice of its own join.
    pub(crate) bytes: Vec<u8>,
    /// The end of each read in these bytes, and its tick.
    pub(crate) reads: Vec<(usize, Tick)>,
    /// The length of the frames that have been searched for a line.
    pub(crate) searched: usize,
    /// The sender and the sequence number of the first line.
    pub(crate) first_line: Option<(usize, u32)>,
    /// Whether the server has refused the connection.
    pub(crate) refused: bool,
}

/// The lines and notices that other members had received when a member started to leave.
#[derive(Debug)]
pub(crate) struct Owed {
    /// For each sender, the number of its lines.
    pub(crate) lines: Vec<u32>,
    /// The number of the next notice.
    pub(crate) notices: usize,
}

impl Cursor {
    /// Records `count` deliveries, received at `now`, of lines that were planned and sent at the same ticks.
    pub(crate) fn record_deliveries(
        &mut self,
        now: Tick,
        line: LineTimes,
        count: u64,
        timed: bool,
        metrics: &mut Metrics,
    ) {
        metrics.record_deliveries(now, line, count, timed);
        self.delivered += count;
        if metrics.in_window(line.planned) {
            // An untimed delivery arrived after the previous read.
            let arrived = if timed { now } else { metrics.previous_deferred_read };
            self.latency.record(arrived.saturating_sub(line.planned), count);
            self.sampled |= timed;
        }
    }
}

/// The phase of a member's connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum MemberState {
    /// Not in its room yet.
    #[default]
    Joining,
    /// In its room.
    Joined,
    /// Its connection has ended.
    Left,
}

/// A line that a diverged member has received but the log does not have.
#[derive(Debug)]
pub(crate) struct PendingLine {
    /// The index of the sender.
    pub(crate) sender: usize,
    /// The line's number among the lines of its sender.
    pub(crate) sequence: u32,
    /// The times of the line.
    pub(crate) times: LineTimes,
    /// Whether it arrived after a later line of the same sender.
    pub(crate) late: bool,
    /// Lines announced as skipped to a slow member between the line before it and this one.
    pub(crate) announced: u64,
    /// The line's bytes.
    pub(crate) raw: Vec<u8>,
}

/// The state of a member that has diverged from the common order: each of its lines is checked on its own.
#[derive(Debug)]
pub(crate) struct Divergence {
    /// The next sequence number of each sender.
    pub(crate) next: Vec<u32>,
    /// Lines that the member has not received although later lines of the same sender arrived: by sender and first
    /// sequence number of each range, the number after its last one. A server may skip many lines at once.
    missing: BTreeMap<(usize, u32), u32>,
    /// Lines received that have no position in the log yet.
    pub(crate) pending: VecDeque<PendingLine>,
    /// Whether the first of these lines has no position until another member receives it or the log skips lines.
    pub(crate) blocked: bool,
    /// The length of the log at whose end the member last waited with a blocked line.
    pub(crate) waiting_at: Option<usize>,
}

/// The relation of a diverged member's line to earlier ones of its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The next line of its sender, or one after a gap.
    New,
    /// A missing line that arrives after a later one.
    Late,
    /// A line that the member has received before.
    Duplicate,
}

impl Divergence {
    /// Returns the state of a member that expects these sequence numbers next.
    pub(crate) fn new(next: Vec<u32>) -> Self {
        Self { next, missing: BTreeMap::new(), pending: VecDeque::new(), blocked: false, waiting_at: None }
    }

    /// Records a line, and returns its relation to the earlier lines of the same sender.
    pub(crate) fn classify(&mut self, sender: usize, sequence: u32) -> Arrival {
        let next = self.next[sender];
        if sequence >= next {
            if sequence > next {
                self.missing.insert((sender, next), sequence);
            }
            self.next[sender] = sequence + 1;
            return Arrival::New;
        }
        if self.remove_missing(sender, sequence) { Arrival::Late } else { Arrival::Duplicate }
    }

    /// Removes a line from the missing ones. Returns whether it was missing.
    fn remove_missing(&mut self, sender: usize, sequence: u32) -> bool {
        let range = self.missing.range((sender, 0)..=(sender, sequence)).next_back();
        let Some((&(_, first), &end)) = range.filter(|(_, end)| sequence < **end) else { return false };
        self.missing.remove(&(sender, first));
        if first < sequence {
            self.missing.insert((sender, first), sequence);
        }
        if sequence + 1 < end {
            self.missing.insert((sender, sequence + 1), end);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_line_is_late_once_and_then_a_duplicate() {
        let mut divergence = Divergence::new(vec![0, 0]);
        assert_eq!(divergence.classify(1, 0), Arrival::New);
        assert_eq!(divergence.classify(0, 6), Arrival::New);
        for sequence in [3, 0, 5, 1, 2, 4] {
            assert_eq!(divergence.classify(0, sequence), Arrival::Late, "line {sequence}");
            assert_eq!(divergence.classify(0, sequence), Arrival::Duplicate, "line {sequence}");
        }
        assert_eq!((divergence.classify(0, 7), divergence.classify(1, 0)), (Arrival::New, Arrival::Duplicate));
        assert!(divergence.missing.is_empty());
    }
}
