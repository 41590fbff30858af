//! The two-writers protocol under loom, which runs it in every interleaving of its steps.
//!
//! Modelled: `src/peer/write_lock.rs` itself, the very file. Not modelled: crossbeam's cell and arc-swap's
//! pointer, which loom can't see into; a slot and a late list of this file stand in for them, whose
//! flags are loom's atomics with no stronger orderings than the real ones have. What an outbox does
//! in its lock is not modelled either: a state here is a list of what it got.

#![allow(clippy::expect_used, clippy::unwrap_used, unreachable_pub)]
#![allow(clippy::option_option, clippy::trivially_copy_pass_by_ref, reason = "as the real ones have it")]

#[allow(dead_code)]
#[path = "../src/peer/write_lock.rs"]
mod write_lock;

/// Where `write_lock.rs` looks for what it is built from.
mod peer {
    pub(crate) use super::{atomic_slot, deferred_list};
}

/// A stand-in for the atomic cell.
mod atomic_slot {
    use loom::sync::atomic::{AtomicU8, Ordering};
    use std::sync::Mutex;

    pub struct AtomicSlot<T> {
        /// As in the real one: 0 is empty, 1 full, 2 taken.
        state: AtomicU8,
        /// In nobody's way: only who has moved the state looks here.
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

/// A stand-in for the lock-free list.
mod deferred_list {
    use loom::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::Mutex;

    pub trait Deferrable: Clone {}

    impl Deferrable for usize {}

    pub struct DeferredList<T> {
        /// Where the newest item is, counted from 1; 0: nothing is there. In the place of the
        /// real list's head.
        newest: AtomicUsize,
        /// Every item ever pushed, and where the one before it is.
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

type TestTurn = WriteLock<Vec<usize>, usize>;

/// Puts a item on the state, which is made for the first one.
fn accept(state: &mut LockState<Vec<usize>>, item: &usize) {
    state.get_or_insert_default().push(*item);
}

fn apply_or_defer(lock: &TestTurn, item: usize) {
    lock.apply_or_defer(&item, usize::MAX, accept);
}

/// Takes everything off the state, and so the state.
fn clear(state: &mut LockState<Vec<usize>>) -> Vec<usize> {
    state.take().map_or_else(Vec::new, |state| *state)
}

/// What is on the state when everybody has gone: with nobody left, the lock is free.
fn state(lock: &TestTurn) -> Vec<usize> {
    lock.try_with(|_, item| panic!("{item} was left behind"), clear).expect("the lock is free")
}

fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(check);
}

/// Two passes (a peer that changes rooms has two for a moment) write to one peer.
#[test]
fn two_writers_lose_nothing_and_keep_their_own_order() {
    model(|| {
        let lock: Arc<TestTurn> = Arc::new(WriteLock::new());
        let other = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || [10, 11].into_iter().for_each(|item| apply_or_defer(&lock, item)))
        };
        for item in [20, 21] {
            apply_or_defer(&lock, item);
        }
        other.join().unwrap();
        let state = state(&lock);
        assert_eq!(state.len(), 4, "each item once: {state:?}");
        for writer in [1, 2] {
            let own: Vec<usize> = state.iter().copied().filter(|item| item / 10 == writer).collect();
            assert_eq!(own, [writer * 10, writer * 10 + 1]);
        }
    });
}

/// A pass writes while the connection drains: what the connection's work did not see is on the
/// state all the same when both have gone.
#[test]
fn writer_and_drainer_leave_no_item_deferred() {
    model(|| {
        let lock: Arc<TestTurn> = Arc::new(WriteLock::new());
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

/// Three at once.
#[test]
fn three_writers_lose_nothing() {
    model(|| {
        let lock: Arc<TestTurn> = Arc::new(WriteLock::new());
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
