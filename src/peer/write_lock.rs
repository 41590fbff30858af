//! A peer's write lock: a delegation lock (flat combining) that never makes a thread wait.
//!
//! Two kinds of threads write to a peer: the delivery pass of its room, and its own connection, which drains the
//! output buffer and adds replies. A thread that fails to take the lock delegates its item to the holder. No item
//! is lost, and no item overtakes an earlier item of the same thread:
//!
//! 1. A thread that takes the lock MUST first apply all deferred items, and then do its own work.
//! 2. A thread that fails to take the lock MUST append its item to the deferred list.
//! 3. **Each thread MUST look again at the end**, the holder after it has released the lock, the other thread
//!    after it has deferred its item: while the list has an item and the lock is free, take the lock and apply
//!    the list (rule 1).
//!
//! Without rule 3 an item that is deferred between the holder's last look at the list and the release would stay
//! in the list until the next write to the peer.
//!
//! Rule 3 applies every item. The thread that deferred the item tries the lock once more. If that try comes after
//! the release, it succeeds. If the try comes before the release, it fails, but a failed try swaps the slot's
//! state, too. The release is the next swap of the state, reads what the failed try wrote, and so acquires the
//! item: the holder's next look at the list finds it. This argument requires every change of the slot's state to
//! be a read-modify-write with `AcqRel`. With weaker orderings both threads could miss the item (Dekker's
//! pattern).
//!
//! A panic of the holder releases the lock and keeps the state. The holder then skips rule 3, so an item that
//! another thread deferred meanwhile stays in the list until the next operation on the lock.
//!
//! To hold the lock is to have the state, which moves out of the atomic slot and back. `tests/loom.rs` runs this
//! file, the atomic slot and the deferred list under loom.

use crate::peer::atomic_slot::AtomicSlot;
use crate::peer::deferred_list::{Deferrable, DeferredList};

/// The state that the lock guards. It exists only while there is something to keep.
pub(crate) type LockState<D> = Option<Box<D>>;

/// A state that one thread at a time changes, and the items that other threads deferred meanwhile.
pub(crate) struct WriteLock<D, T> {
    /// The state while the lock is free.
    state: AtomicSlot<D>,
    /// Items of threads that failed to take the lock.
    deferred: DeferredList<T>,
}

/// The lock while a thread holds it. Its drop releases the lock, in a panic as well: a panic must not end the
/// peer's output.
struct LockGuard<'a, D> {
    slot: &'a AtomicSlot<D>,
    state: LockState<D>,
}

impl<D> Drop for LockGuard<'_, D> {
    fn drop(&mut self) {
        self.slot.put(self.state.take());
    }
}

impl<D, T: Deferrable> WriteLock<D, T> {
    /// Returns a free lock without a state.
    pub(crate) fn new() -> Self {
        Self { state: AtomicSlot::new(), deferred: DeferredList::new() }
    }

    /// Applies `item` with `apply` if the lock is free, and otherwise defers it.
    ///
    /// `limit` bounds the weight of the deferred list. Calls `apply` once for each item that this call applies,
    /// the deferred items of other threads included.
    pub(crate) fn apply_or_defer(&self, item: &T, limit: usize, mut apply: impl FnMut(&mut LockState<D>, &T)) {
        if self.with_lock(&mut apply, |state, apply| apply(state, item)).is_none() {
            self.deferred.push(item, limit);
        }
        self.drain_deferred(apply);
    }

    /// Applies all deferred items with `apply` and then does `work`. Returns `None` if another thread holds the
    /// lock.
    pub(crate) fn try_with<R>(
        &self,
        mut apply: impl FnMut(&mut LockState<D>, &T),
        work: impl FnOnce(&mut LockState<D>) -> R,
    ) -> Option<R> {
        let result = self.with_lock(&mut apply, |state, _| work(state));
        self.drain_deferred(apply);
        result
    }

    /// Takes the lock and follows rule 1. Returns `None` if another thread holds the lock.
    fn with_lock<A: FnMut(&mut LockState<D>, &T), R>(
        &self,
        apply: &mut A,
        work: impl FnOnce(&mut LockState<D>, &mut A) -> R,
    ) -> Option<R> {
        let mut guard = LockGuard { slot: &self.state, state: self.state.take()? };
        for item in &self.deferred.take() {
            apply(&mut guard.state, item);
        }
        Some(work(&mut guard.state, apply))
    }

    /// Follows rule 3. The calling thread must not hold the lock.
    fn drain_deferred(&self, mut apply: impl FnMut(&mut LockState<D>, &T)) {
        while !self.deferred.is_empty() && self.with_lock(&mut apply, |_, _| ()).is_some() {}
    }
}
