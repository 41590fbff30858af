//! The registry of backlogs: what a memory budget asks to drop lines at its ceiling.

use crate::limits::memory::{KERNEL_SEND_BUFFER, MemoryBudget};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// The most backlogs that one reclaim drops: each is one wake of a task.
const RECLAIMED_AT_ONCE: usize = 64;

/// The owner of a backlog.
pub trait BacklogOwner: Send + Sync {
    /// Asks the owner to drop the lines of its backlog soon, and to close if that is not enough. Never waits.
    fn request_reclaim(&self);
}

/// A backlog as the budget sees it.
pub(super) struct BacklogEntry {
    /// How many bytes of lines could be dropped; 0 after a request to drop them.
    bytes: Arc<AtomicUsize>,
    /// Whether the owner was asked. It is asked again only when it has lines again.
    is_asked: AtomicBool,
    owner: Weak<dyn BacklogOwner>,
}

/// The registration of a backlog, until it is dropped.
pub struct RegisteredBacklog {
    budget: Arc<MemoryBudget>,
    id: u64,
    bytes: Arc<AtomicUsize>,
    /// The number of bytes that was last set.
    last: usize,
}

impl MemoryBudget {
    /// Adds the backlog of the connection `id`, which a reclaim may ask to drop its lines. Takes the write lock of one
    /// shard for an instant.
    #[must_use]
    pub fn register_backlog(self: &Arc<Self>, id: u64, owner: Weak<dyn BacklogOwner>) -> RegisteredBacklog {
        let bytes = Arc::new(AtomicUsize::new(0));
        self.backlogs.insert(id, BacklogEntry { bytes: Arc::clone(&bytes), is_asked: AtomicBool::new(false), owner });
        RegisteredBacklog { budget: Arc::clone(self), id, bytes, last: 0 }
    }

    /// Returns how many backlogs are registered.
    #[must_use]
    pub fn backlogs(&self) -> usize {
        self.backlogs.len()
    }

    /// Returns how many bytes of lines wait in registered backlogs, but for those that were asked to drop their lines and
    /// have not changed since. Takes the read lock of one shard after the other.
    #[must_use]
    pub fn backlog_bytes(&self) -> u64 {
        self.backlogs.iter().map(|entry| entry.bytes.load(Ordering::Relaxed) as u64).sum()
    }

    /// Asks the largest backlogs, of `wanted` bytes together, to drop their lines. A connection closes if the kernel's buffers
    /// take more than half of the ceiling.
    pub(super) fn reclaim(&self, wanted: u64) {
        let mut largest = BinaryHeap::with_capacity(RECLAIMED_AT_ONCE + 1);
        for entry in &self.backlogs {
            let bytes = entry.bytes.load(Ordering::Relaxed);
            if bytes == 0 && entry.is_asked.load(Ordering::Relaxed) {
                continue;
            }
            largest.push(Reverse((bytes, *entry.key())));
            if largest.len() > RECLAIMED_AT_ONCE {
                largest.pop();
            }
        }
        let mut asked = 0;
        for Reverse((bytes, id)) in largest.into_sorted_vec() {
            if asked >= wanted {
                break;
            }
            // Backlogs without lines come last. They have the kernel's buffer, which ends with their connection.
            asked += if bytes > 0 { bytes } else { KERNEL_SEND_BUFFER } as u64;
            // The guard of the map ends here: the last owner of a peer that ends meanwhile may be this thread.
            let owner = self.backlogs.get(&id).and_then(|entry| {
                entry.bytes.store(0, Ordering::Relaxed);
                entry.is_asked.store(true, Ordering::Relaxed);
                entry.owner.upgrade()
            });
            if let Some(owner) = owner {
                owner.request_reclaim();
            }
        }
    }
}

impl RegisteredBacklog {
    /// Sets how many bytes of lines could be dropped.
    pub fn set_bytes(&mut self, bytes: usize) {
        // After a request to drop lines the backlog counts again only when it has changed.
        if std::mem::replace(&mut self.last, bytes) != bytes {
            self.bytes.store(bytes, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for RegisteredBacklog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisteredBacklog").field("id", &self.id).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Drop for RegisteredBacklog {
    fn drop(&mut self) {
        self.budget.backlogs.remove(&self.id);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Counts requests.
    #[derive(Default)]
    pub(crate) struct Owner(AtomicUsize);

    impl BacklogOwner for Owner {
        fn request_reclaim(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns backlogs of these sizes, which are registered with `budget`.
    pub(crate) fn backlogs(budget: &Arc<MemoryBudget>, sizes: &[usize]) -> Vec<(Arc<Owner>, RegisteredBacklog)> {
        let register = |(id, bytes): (usize, &usize)| {
            let owner = Arc::<Owner>::default();
            let weak: Weak<Owner> = Arc::downgrade(&owner);
            let mut backlog = budget.register_backlog(id as u64, weak);
            backlog.set_bytes(*bytes);
            (owner, backlog)
        };
        sizes.iter().enumerate().map(register).collect()
    }

    pub(crate) fn requests(backlogs: &[(Arc<Owner>, RegisteredBacklog)]) -> Vec<usize> {
        backlogs.iter().map(|(owner, _)| owner.0.load(Ordering::Relaxed)).collect()
    }

    #[test]
    fn registration_of_a_backlog_ends_when_it_is_dropped() {
        let budget = MemoryBudget::new(1);
        let mut backlogs = backlogs(&budget, &[1, 2]);
        assert_eq!((budget.backlogs(), budget.backlog_bytes()), (2, 3));
        backlogs.pop();
        assert_eq!((budget.backlogs(), budget.backlog_bytes()), (1, 1));
        // The owner of a registered backlog may be gone already.
        let (owner, _backlog) = backlogs.pop().unwrap();
        drop(owner);
        budget.charge(2);
    }

    #[test]
    fn reclaim_asks_for_as_much_as_is_wanted_and_for_no_more() {
        let budget = MemoryBudget::new(6400);
        let backlogs = backlogs(&budget, &[5, 801, 4]);
        budget.charge(6401);
        assert_eq!(requests(&backlogs), [0, 1, 0], "801 bytes are wanted");
    }

    #[test]
    fn one_reclaim_asks_a_bounded_number_of_backlogs_the_largest_ones() {
        let budget = MemoryBudget::new(1 << 40);
        let sizes: Vec<_> = (1..=RECLAIMED_AT_ONCE + 10).collect();
        let backlogs = backlogs(&budget, &sizes);
        budget.charge((1 << 40) + 1);
        let mut expected = vec![0; 10];
        expected.resize(sizes.len(), 1);
        assert_eq!(requests(&backlogs), expected);
    }

    #[test]
    fn backlog_without_lines_counts_as_the_kernel_buffer_of_its_socket() {
        let budget = MemoryBudget::new(6400);
        let backlogs = backlogs(&budget, &[0, 0]);
        budget.charge(6401);
        assert_eq!(requests(&backlogs).iter().sum::<usize>(), 1, "one kernel buffer is more than is wanted");
    }

    #[test]
    fn backlog_is_shown_with_its_owner_and_its_bytes() {
        let budget = MemoryBudget::new(6400);
        let backlogs = backlogs(&budget, &[5]);
        assert_eq!(format!("{:?}", backlogs[0].1), "RegisteredBacklog { id: 0, bytes: 5, .. }");
    }
}
