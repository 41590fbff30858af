//! Counters: the work that the server has done so far, as numbers that tests and operators can rely on.

use crate::metrics::pass_histograms::{PassFigures, PassHistograms, PassSums};
use crate::metrics::reasons::{CloseCounts, CloseKind, RefusalCounts, RefusalKind};
use crate::metrics::shards::{SHARDS, own_shard};
use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicU64, Ordering};

/// The work of one pass or of one connection's poll, counted without sharing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetricsDelta {
    /// Delivery passes.
    pub passes: u64,
    /// Lines in the batches of passes: chat, joins, leaves, renames and notices.
    pub lines: u64,
    /// Lines delivered to members, one for each line and member.
    pub deliveries: u64,
    /// System calls that wrote to a socket.
    pub writes: u64,
    /// Writes of which the socket took only a part, so that the rest went to the output buffer.
    pub would_blocks: u64,
    /// Events that woke a connection's task.
    pub wakes: u64,
    /// Copies of a room's roster.
    pub copies: u64,
    /// Entries in these copies.
    pub entries_copied: u64,
    /// Peers admitted to a room.
    pub joins: u64,
    /// Peers that left a room.
    pub leaves: u64,
    /// Lines that were dropped because a peer did not read.
    pub skipped_lines: u64,
    /// Microseconds by which rate limits delayed the input of connections.
    pub rate_limited_micros: u64,
}

/// The number of fields of [`MetricsDelta`].
const FIELDS: usize = 12;

/// The sums of one shard.
type Shard = CachePadded<[AtomicU64; FIELDS]>;

/// The sums of all deltas since the start, the histograms of passes, and the reasons for which connections ended.
///
/// Each thread adds to a shard of its own cache lines, so workers don't contend for one. All accesses are
/// relaxed: a sum orders nothing.
#[derive(Debug, Default)]
pub struct Counters {
    shards: [Shard; SHARDS],
    passes: PassHistograms,
    closes: CloseCounts,
    refusals: RefusalCounts,
}

impl Counters {
    /// Adds a delta. Called once for each pass and once for each poll in which a connection writes: no
    /// delivery touches a counter.
    pub fn add(&self, metrics: &MetricsDelta) {
        for (sum, part) in self.shards[own_shard()].iter().zip(metrics.to_array()) {
            if part > 0 {
                sum.fetch_add(part, Ordering::Relaxed);
            }
        }
    }

    /// Returns the sums. Each one includes every delta that was added before; two of them may be from
    /// slightly different moments.
    #[must_use]
    pub fn read(&self) -> MetricsDelta {
        let mut sums = [0; FIELDS];
        for shard in &self.shards {
            for (sum, part) in sums.iter_mut().zip(shard.iter()) {
                *sum += part.load(Ordering::Relaxed);
            }
        }
        MetricsDelta::from_array(sums)
    }

    /// Adds the figures of a pass to the histograms.
    pub(crate) fn observe_pass(&self, figures: &PassFigures) {
        self.passes.observe(figures);
    }

    /// Returns the histograms of all passes.
    pub(crate) fn passes(&self) -> PassSums {
        self.passes.read()
    }

    /// Counts a connection that has ended.
    pub(crate) fn count_close(&self, kind: CloseKind) {
        self.closes.add(kind as usize);
    }

    /// Returns each reason for which connections end, and how many have ended for it.
    pub(crate) fn closes(&self) -> impl Iterator<Item = (CloseKind, u64)> {
        CloseKind::ALL.iter().copied().zip(self.closes.read())
    }

    /// Counts an accepted connection that is not served.
    pub(crate) fn count_refusal(&self, kind: RefusalKind) {
        self.refusals.add(kind as usize);
    }

    /// Returns each reason for which connections are refused, and how many were refused for it.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (RefusalKind, u64)> {
        RefusalKind::ALL.iter().copied().zip(self.refusals.read())
    }
}

impl MetricsDelta {
    /// Returns the fields in the order of their declaration.
    fn to_array(self) -> [u64; FIELDS] {
        let Self {
            passes,
            lines,
            deliveries,
            writes,
            would_blocks,
            wakes,
            copies,
            entries_copied,
            joins,
            leaves,
            skipped_lines,
            rate_limited_micros,
        } = self;
        [
            passes,
            lines,
            deliveries,
            writes,
            would_blocks,
            wakes,
            copies,
            entries_copied,
            joins,
            leaves,
            skipped_lines,
            rate_limited_micros,
        ]
    }

    /// Returns the delta with these fields, in the order of their declaration.
    fn from_array(fields: [u64; FIELDS]) -> Self {
        let [
            passes,
            lines,
            deliveries,
            writes,
            would_blocks,
            wakes,
            copies,
            entries_copied,
            joins,
            leaves,
            skipped_lines,
            rate_limited_micros,
        ] = fields;
        Self {
            passes,
            lines,
            deliveries,
            writes,
            would_blocks,
            wakes,
            copies,
            entries_copied,
            joins,
            leaves,
            skipped_lines,
            rate_limited_micros,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const EACH_FIELD: MetricsDelta = MetricsDelta {
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
        skipped_lines: 11,
        rate_limited_micros: 12,
    };

    #[test]
    fn each_field_has_a_sum_of_its_own() {
        let counters = Counters::default();
        counters.add(&EACH_FIELD);
        assert_eq!(counters.read(), EACH_FIELD);
        counters.add(&EACH_FIELD);
        assert_eq!(counters.read().to_array(), EACH_FIELD.to_array().map(|part| 2 * part));
    }

    #[test]
    fn sums_include_the_deltas_of_all_threads() {
        const THREADS: usize = 3 * SHARDS;
        let counters = Counters::default();
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| counters.add(&EACH_FIELD));
            }
        });
        assert_eq!(counters.read().to_array(), EACH_FIELD.to_array().map(|part| THREADS as u64 * part));
    }

    #[test]
    fn shards_share_no_cache_line() {
        assert_eq!(size_of::<Shard>() % align_of::<CachePadded<u64>>(), 0);
        assert!(size_of::<Shard>() <= 256);
    }

    #[test]
    fn reasons_are_counted_by_kind() {
        let counters = Counters::default();
        counters.count_close(CloseKind::Quit);
        counters.count_refusal(RefusalKind::Full);
        counters.count_refusal(RefusalKind::Full);
        let closed: Vec<_> = counters.closes().filter(|(_, count)| *count > 0).collect();
        let refused: Vec<_> = counters.refusals().filter(|(_, count)| *count > 0).collect();
        assert_eq!((closed, refused), (vec![(CloseKind::Quit, 1)], vec![(RefusalKind::Full, 2)]));
    }
}
