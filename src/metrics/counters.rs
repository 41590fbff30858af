//! Counters: the work that the server has done so far, as numbers that tests and operators can rely on.

use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The number of shards of [`Counters`]: more than most machines run workers, and 2 KiB in all.
const SHARDS: usize = 16;

/// The shard that the next thread gets. Relaxed: the order of threads has no meaning.
static NEXT_SHARD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The shard that this thread adds to.
    static SHARD: usize = NEXT_SHARD.fetch_add(1, Ordering::Relaxed) % SHARDS;
}

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
}

/// The number of fields of [`MetricsDelta`].
const FIELDS: usize = 10;

/// The sums of all deltas since the start.
///
/// Each thread adds to a shard of its own cache lines, so workers don't contend for one. All accesses are
/// relaxed: a sum orders nothing.
#[derive(Debug, Default)]
pub struct Counters {
    shards: [CachePadded<[AtomicU64; FIELDS]>; SHARDS],
}

impl Counters {
    /// Adds a delta. Called once for each pass and once for each poll in which a connection writes: no
    /// delivery touches a counter.
    pub fn add(&self, metrics: &MetricsDelta) {
        // A thread that has dropped its thread-locals adds to the first shard.
        let shard = SHARD.try_with(|shard| *shard).unwrap_or_default();
        for (sum, part) in self.shards[shard].iter().zip(metrics.to_array()) {
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
}

impl MetricsDelta {
    /// Returns the fields in the order of their declaration.
    fn to_array(self) -> [u64; FIELDS] {
        let Self { passes, lines, deliveries, writes, would_blocks, wakes, copies, entries_copied, joins, leaves } =
            self;
        [passes, lines, deliveries, writes, would_blocks, wakes, copies, entries_copied, joins, leaves]
    }

    /// Returns the delta with these fields, in the order of their declaration.
    fn from_array(fields: [u64; FIELDS]) -> Self {
        let [passes, lines, deliveries, writes, would_blocks, wakes, copies, entries_copied, joins, leaves] = fields;
        Self { passes, lines, deliveries, writes, would_blocks, wakes, copies, entries_copied, joins, leaves }
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
        assert_eq!(size_of::<Counters>() % (SHARDS * align_of::<CachePadded<u64>>()), 0);
        assert!(size_of::<Counters>() <= SHARDS * 256);
    }
}
