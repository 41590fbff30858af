//! Shards: the copy of a sum that each thread adds to, so that workers don't contend for a cache line.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The number of shards of a sum: more than most machines run workers.
pub(super) const SHARDS: usize = 16;

/// The shard that the next thread gets. Relaxed: the order of threads has no meaning.
static NEXT_SHARD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The shard that this thread adds to.
    static SHARD: usize = NEXT_SHARD.fetch_add(1, Ordering::Relaxed) % SHARDS;
}

/// Returns the shard of this thread. A thread that has dropped its thread-locals adds to the first shard.
pub(super) fn own_shard() -> usize {
    SHARD.try_with(|shard| *shard).unwrap_or_default()
}
