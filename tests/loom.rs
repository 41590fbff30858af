//! The write lock under loom, which runs it in every interleaving of its steps.
//!
//! The test includes `src/peer/write_lock.rs` itself. Loom can't see into crossbeam's cell and arc-swap's
//! pointer, so a slot and a deferred list of this file replace them: their flags are loom's atomics, with
//! no stronger orderings than the real ones. The locked state is a list of the items applied to it, in
//! place of an output buffer.

#![allow(clippy::expect_used, clippy::unwrap_used, unreachable_pub)]
#![allow(clippy::option_option, clippy::trivially_copy_pass_by_ref, reason = "as the real ones have it")]

#[allow(dead_code)]
#[path = "../src/peer/write_lock.rs"]
mod write_lock;

/// The module path from which `write_lock.rs` imports its parts.
mod peer {
    pub(crate) use super::{atomic_slot, deferred_list};
}

/// Replaces the atomic slot.
mod atomic_slot {
    use loom::sync::atomic::{AtomicU8, Ordering};
    use std::sync::Mutex;

    pub struct AtomicSlot<T> {
        /// As in the real slot: 0 is empty, 1 full, 2 taken.
        state: AtomicU8,
        /// Never contended: only the thread that has changed the state accesses the value.
        value: Mutex<Option<Box<T>>>,
    }

    impl<T> AtomicSlot<T> {
        pub fn new() -> Self {
            Self { state: AtomicU8::new(0), value: Mutex::new(None) }
        }

        pub fn take(&self) -> Option<Option<Box<T>>> {
            match self.state.swap(2, Ordering::AcqRel) {
                2 => None,
                1 => Some(self.value.try_lock().unwrap().take()),
                _ => Some(None),
            }
        }

        pub fn put(&self, value: Option<Box<T>>) {
            let state = u8::from(value.is_some());
            *self.value.try_lock().unwrap() = value;
            self.state.swap(state, Ordering::AcqRel);
        }
    }
}

/// Replaces the lock-free deferred list.
mod deferred_list {
    use loom::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::Mutex;

    pub trait Deferrable: Clone {}

    impl Deferrable for usize {}

    pub struct DeferredList<T> {
        /// The number of the newest item, counted from 1, or 0 for an empty list. Replaces the real list's head.
        newest: AtomicUsize,
        /// Every item ever pushed, with the number of the item before it.
        items: Mutex<Vec<(T, usize)>>,
    }

    impl<T: Deferrable> DeferredList<T> {
        pub fn new() -> Self {
            Self { newest: AtomicUsize::new(0), items: Mutex::new(Vec::new()) }
        }

        pub fn push(&self, item: &T, _limit: usize) {
            let own = {
                let mut items = self.items.try_lock().unwrap();
                items.push((item.clone(), 0));
                items.len()
            };
            let mut before = self.newest.load(Ordering::Acquire);
            loop {
                self.items.try_lock().unwrap()[own - 1].1 = before;
                match self.newest.compare_exchange(before, own, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => return,
                    Err(newer) => before = newer,
                }
            }
        }

        pub fn is_empty(&self) -> bool {
            self.newest.load(Ordering::Acquire) == 0
        }

        pub fn take(&self) -> Vec<T> {
            let mut taken = Vec::new();
            if self.is_empty() {
                return taken;
            }
            let mut at = self.newest.swap(0, Ordering::AcqRel);
            let items = self.items.try_lock().unwrap();
            while at > 0 {
                let (item, before) = &items[at - 1];
                taken.push(item.clone());
                at = *before;
            }
            taken.reverse();
            taken
        }
    }
}

use loom::sync::Arc;
use loom::thread;
use write_lock::{LockState, WriteLock};

type TestLock = WriteLock<Vec<usize>, usize>;

/// Appends an item to the state, and creates the state for the first one.
fn accept(state: &mut LockState<Vec<usize>>, item: &usize) {
    state.get_or_insert_default().push(*item);
}

fn apply_or_defer(lock: &TestLock, item: usize) {
    lock.apply_or_defer(&item, usize::MAX, accept);
}

/// Removes the state and returns its items.
fn clear(state: &mut LockState<Vec<usize>>) -> Vec<usize> {
    state.take().map_or_else(Vec::new, |state| *state)
}

/// Returns the state's items after all other threads have ended.
fn state(lock: &TestLock) -> Vec<usize> {
    lock.try_with(|_, item| panic!("{item} was still deferred"), clear).expect("the lock is still held")
}

fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(check);
}

/// Two delivery passes write to one peer, as during a move between rooms.
#[test]
fn two_writers_lose_nothing_and_keep_their_own_order() {
    model(|| {
        let lock: Arc<TestLock> = Arc::new(WriteLock::new());
        let other = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || [10, 11].into_iter().for_each(|item| apply_or_defer(&lock, item)))
        };
        for item in [20, 21] {
            apply_or_defer(&lock, item);
        }
        other.join().unwrap();
        let state = state(&lock);
        assert_eq!(state.len(), 4, "an item is missing or doubled: {state:?}");
        for writer in [1, 2] {
            let own: Vec<usize> = state.iter().copied().filter(|item| item / 10 == writer).collect();
            assert_eq!(own, [writer * 10, writer * 10 + 1]);
        }
    });
}

/// A delivery pass writes while the connection drains: an item that the drain missed must be in the state
/// when both have ended.
#[test]
fn writer_and_drainer_leave_no_item_deferred() {
    model(|| {
        let lock: Arc<TestLock> = Arc::new(WriteLock::new());
        let other = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || [1, 2].into_iter().for_each(|item| apply_or_defer(&lock, item)))
        };
        let drained = lock.try_with(accept, clear).unwrap_or_default();
        other.join().unwrap();
        let mut all = drained;
        all.extend(state(&lock));
        assert_eq!(all, [1, 2]);
    });
}

/// Three delivery passes write to one peer.
#[test]
fn three_writers_lose_nothing() {
    model(|| {
        let lock: Arc<TestLock> = Arc::new(WriteLock::new());
        let others: Vec<_> = [1, 2]
            .into_iter()
            .map(|item| {
                let lock = Arc::clone(&lock);
                thread::spawn(move || apply_or_defer(&lock, item))
            })
            .collect();
        apply_or_defer(&lock, 3);
        for other in others {
            other.join().unwrap();
        }
        let mut state = state(&lock);
        state.sort_unstable();
        assert_eq!(state, [1, 2, 3]);
    });
}
