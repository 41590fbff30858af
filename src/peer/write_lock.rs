//! Turns: who may write to a peer's socket now, when several want to.
//!
//! A peer is written by its room's delivery pass, and by its own connection when it drains a
//! backlog or answers. Nobody may wait for the other, and no item may be lost or overtaken:
//!
//! 1. Whoever gets the turn takes in what came deferred, then does its own work.
//! 2. Whoever fails to get the turn leaves its item in the late list.
//! 3. **Both look again at the end**, the one after releasing, the other after leaving its item:
//!    while there is something late and the turn is free, take it and go to 1.
//!
//! Without 3 a item left between the holder's last look and its release would lie there until
//! somebody wrote next. With it: if the leaver's second try comes after the release, it succeeds.
//! If it comes before, it fails; but a failed try swaps the slot, too, and the release, which is
//! the next swap of the slot, reads what that try wrote. So the release acquires the leaver's
//! item, and the holder's look behind it finds it. That needs every move of the slot to be a
//! read-modify-write with `AcqRel`: with less, both could miss (Dekker's pattern).
//!
//! Having the turn is having the state, which is there only while something is on it: it is taken
//! out of its slot and put back. `tests/loom.rs`
//! runs this very file under loom, which tries the interleavings of all that is below; the slot
//! and the late list are stand-ins there, since loom can't see into crossbeam and arc-swap.

use crate::peer::atomic_slot::AtomicSlot;
use crate::peer::deferred_list::{Deferrable, DeferredList};

/// What one thread at a time works on, if there is anything; the others leave their items there.
pub(crate) type LockState<D> = Option<Box<D>>;

/// A state that one thread at a time works at, and what the others left for it.
pub(crate) struct WriteLock<D, T> {
    /// What the holder of the turn works on.
    state: AtomicSlot<D>,
    /// Pieces left by those who found the turn taken.
    deferred: DeferredList<T>,
}

/// The state in somebody's hands. It is put back however its holder's work ends, even in a
/// panic: that must not mute the peer.
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
    pub(crate) fn new() -> Self {
        Self { state: AtomicSlot::new(), deferred: DeferredList::new() }
    }

    /// Works `item` in with `accept` now, or leaves it to whoever holds the turn.
    ///
    /// `limit` bounds the weight of what lies in the late list. `accept` is called once for every
    /// item that this call took in, others' late ones among them.
    pub(crate) fn apply_or_defer(&self, item: &T, limit: usize, mut accept: impl FnMut(&mut LockState<D>, &T)) {
        if self.with_lock(&mut accept, |state, accept| accept(state, item)).is_none() {
            self.deferred.push(item, limit);
        }
        self.drain_deferred(accept);
    }

    /// Does `work` if the turn is free, after taking in with `accept` what came deferred.
    pub(crate) fn try_with<R>(
        &self,
        mut accept: impl FnMut(&mut LockState<D>, &T),
        work: impl FnOnce(&mut LockState<D>) -> R,
    ) -> Option<R> {
        let done = self.with_lock(&mut accept, |state, _| work(state));
        self.drain_deferred(accept);
        done
    }

    /// Rule 1, if nobody has the turn.
    fn with_lock<A: FnMut(&mut LockState<D>, &T), R>(
        &self,
        accept: &mut A,
        work: impl FnOnce(&mut LockState<D>, &mut A) -> R,
    ) -> Option<R> {
        let mut held = LockGuard { slot: &self.state, state: self.state.take()? };
        for item in &self.deferred.take() {
            accept(&mut held.state, item);
        }
        Some(work(&mut held.state, accept))
    }

    /// Rule 3: no turn is held here.
    fn drain_deferred(&self, mut accept: impl FnMut(&mut LockState<D>, &T)) {
        while !self.deferred.is_empty() && self.with_lock(&mut accept, |_, _| ()).is_some() {}
    }
}
