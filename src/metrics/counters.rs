//! Counters: what the server did so far, as numbers that tests and operators can rely on.

use std::sync::atomic::{AtomicU64, Ordering};

/// What one pass or one connection's turn did, counted without sharing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetricsDelta {
    /// Delivery passes.
    pub passes: u64,
    /// Lines that passes laid out: said, joined, left, noticed.
    pub lines: u64,
    /// Lines handed to members, one for each line and member.
    pub deliveries: u64,
    /// System calls that wrote to a socket.
    pub writes: u64,
    /// Times that a socket took less than it was given, so that a backlog began.
    pub would_blocks: u64,
    /// Connections woken to look at something.
    pub wakes: u64,
    /// Copies of a room's roster.
    pub copies: u64,
    /// Entries copied in these.
    pub entries_copied: u64,
    /// Peers admitted to a room.
    pub joins: u64,
    /// Peers that have left a room.
    pub leaves: u64,
}

/// The sums of all tallies since the start. All accesses are relaxed: a sum orders nothing.
#[derive(Debug, Default)]
pub struct Counters {
    passes: AtomicU64,
    lines: AtomicU64,
    deliveries: AtomicU64,
    writes: AtomicU64,
    would_blocks: AtomicU64,
    wakes: AtomicU64,
    copies: AtomicU64,
    entries_copied: AtomicU64,
    joins: AtomicU64,
    leaves: AtomicU64,
}

impl Counters {
    /// Adds a tally. Called once a pass, and once for what a connection writes itself: no counter is touched per
    /// delivery.
    pub fn add(&self, metrics: &MetricsDelta) {
        for (sum, part) in self.all().into_iter().zip(metrics.all()) {
            if part > 0 {
                sum.fetch_add(part, Ordering::Relaxed);
            }
        }
    }

    /// The sums now. Each is right; together they may be from slightly different moments.
    #[must_use]
    pub fn read(&self) -> MetricsDelta {
        let [passes, lines, deliveries, writes, would_blocks, wakes, copies, entries_copied, joins, leaves] =
            self.all().map(|sum| sum.load(Ordering::Relaxed));
        MetricsDelta { passes, lines, deliveries, writes, would_blocks, wakes, copies, entries_copied, joins, leaves }
    }

    fn all(&self) -> [&AtomicU64; 10] {
        [
            &self.passes,
            &self.lines,
            &self.deliveries,
            &self.writes,
            &self.would_blocks,
            &self.wakes,
            &self.copies,
            &self.entries_copied,
            &self.joins,
            &self.leaves,
        ]
    }
}

impl MetricsDelta {
    /// In the order of [`Counters::all`].
    fn all(&self) -> [u64; 10] {
        [
            self.passes,
            self.lines,
            self.deliveries,
            self.writes,
            self.would_blocks,
            self.wakes,
            self.copies,
            self.entries_copied,
            self.joins,
            self.leaves,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_is_added_in_its_own_place() {
        let metrics = MetricsDelta {
            passes: 1,
            lines: 2,
            deliveries: 3,
            writes: 4,
            would_blocks: 5,
            wakes: 6,
            copies: 7,
            entries_copied: 8,
            joins: 9,
            leaves: 10,
        };
        let counters = Counters::default();
        counters.add(&metrics);
        assert_eq!(counters.read(), metrics);
        counters.add(&metrics);
        assert_eq!(counters.read().all(), metrics.all().map(|part| 2 * part));
    }
}
