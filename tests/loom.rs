//! The write lock, the atomic slot, the deferred list, the event mailbox and the pass counter under loom, which runs
//! the interleavings of their steps and the values that their orderings let a load return.
//!
//! The test includes the files of `src/peer` and `src/room` themselves. `loom/sync.rs` replaces only the primitives
//! that they import from `src/peer/sync.rs`, with orderings that are no stronger. The models of the event mailbox and
//! of the pass counter have files of their own; those of the write lock are here, and its state is a list of the items
//! applied to it, in place of an output buffer.
//!
//! The models fail when the code is wrong. Each of these changes makes at least one of them fail:
//!
//! | change | message of the failure |
//! |---|---|
//! | rule 3 of the write lock is left out, for the holder, the other thread or both | an item was still deferred |
//! | `AtomicSlot::put` swaps with `Release`, or `take` with `Acquire` | an item was still deferred |
//! | `take` swaps only a free slot | an item was still deferred |
//! | `put` swaps with `Acquire`, or `take` with `Release` | causality violation |
//! | `put` frees the slot before it stores the value | causality violation, or a missing item |
//! | the guard does not put the state back in a panic | the lock was not released |
//! | the holder works before it applies deferred items (rule 1) | items out of order |
//! | the deferred list returns its newest item first | items out of order |
//! | a full deferred list drops an item without recording it | an item is neither applied nor recorded as lost |

#![allow(clippy::expect_used, clippy::unwrap_used, unreachable_pub)]

#[path = "../src/peer/atomic_slot.rs"]
mod atomic_slot;
#[path = "../src/peer/deferred_list.rs"]
mod deferred_list;
#[path = "../src/peer/event_mailbox.rs"]
mod event_mailbox;
#[path = "loom/events.rs"]
mod event_models;
#[allow(dead_code, reason = "the models raise few of the events")]
#[path = "../src/peer/events.rs"]
mod events;
#[path = "../src/room/pass_counter.rs"]
mod pass_counter;
#[path = "loom/passes.rs"]
mod pass_models;
#[path = "loom/sync.rs"]
mod sync;
#[path = "../src/peer/write_lock.rs"]
mod write_lock;

/// The module path from which the files import each other and their primitives.
mod peer {
    pub(crate) use super::{atomic_slot, deferred_list, events, sync};
}

use deferred_list::Deferrable;
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use write_lock::{LockState, WriteLock};

/// How often loom preempts threads in one execution. With 5 the models take 20 seconds, with 4 they take 3.
const PREEMPTIONS: usize = 4;

/// An item of weight 1. The tens of its id are its sender, the ones are its number.
#[derive(Clone, Debug, PartialEq)]
struct Item {
    id: usize,
    /// How many items after this one were dropped.
    lost: usize,
}

impl Deferrable for Item {
    fn weight(&self) -> usize {
        1
    }

    fn record_loss(&mut self, lost: &Self) {
        self.lost += 1 + lost.lost;
    }
}

type TestLock = WriteLock<Vec<Item>, Item>;

/// Appends an item to the state, and creates the state for the first one.
fn append(state: &mut LockState<Vec<Item>>, item: &Item) {
    state.get_or_insert_default().push(item.clone());
}

/// Removes the state and returns its items.
fn clear(state: &mut LockState<Vec<Item>>) -> Vec<Item> {
    state.take().map_or_else(Vec::new, |state| *state)
}

/// Applies or defers the items, in order.
fn send(lock: &TestLock, ids: &[usize], limit: usize) {
    for &id in ids {
        lock.apply_or_defer(&Item { id, lost: 0 }, limit, append);
    }
}

/// Sends the items from another thread.
fn spawn_sender(lock: &Arc<TestLock>, ids: &'static [usize], limit: usize) -> JoinHandle<()> {
    let lock = Arc::clone(lock);
    thread::spawn(move || send(&lock, ids, limit))
}

/// Returns the state's items after all other threads have ended.
fn items(lock: &TestLock) -> Vec<Item> {
    let deferred = |_: &mut LockState<Vec<Item>>, item: &Item| panic!("an item was still deferred: {item:?}");
    lock.try_with(deferred, clear).expect("the lock was not released")
}

fn ids(items: &[Item]) -> Vec<usize> {
    items.iter().map(|item| item.id).collect()
}

/// Returns the ids of one sender's items.
fn ids_of(sender: usize, items: &[Item]) -> Vec<usize> {
    ids(items).into_iter().filter(|id| id / 10 == sender).collect()
}

/// Runs a check with a lock of its own in every execution that loom explores.
fn model(check: impl Fn(&Arc<TestLock>) + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(PREEMPTIONS);
    model.check(move || check(&Arc::new(WriteLock::new())));
}

/// Two delivery passes write to one peer, as during a move between rooms.
#[test]
fn two_senders_lose_no_item_and_keep_their_order() {
    model(|lock| {
        let other = spawn_sender(lock, &[10, 11], usize::MAX);
        send(lock, &[20, 21], usize::MAX);
        other.join().unwrap();
        let items = items(lock);
        assert_eq!(items.len(), 4, "an item is missing or doubled: {items:?}");
        assert_eq!(ids_of(1, &items), [10, 11]);
        assert_eq!(ids_of(2, &items), [20, 21]);
    });
}

/// A delivery pass writes while the connection drains: an item that the drain missed must be in the state
/// when both have ended.
#[test]
fn sender_and_drainer_leave_no_item_deferred() {
    model(|lock| {
        let sender = spawn_sender(lock, &[1, 2], usize::MAX);
        let mut all = lock.try_with(append, clear).unwrap_or_default();
        sender.join().unwrap();
        all.extend(items(lock));
        assert_eq!(ids(&all), [1, 2]);
    });
}

/// Three delivery passes write to one peer.
#[test]
fn three_senders_lose_no_item() {
    model(|lock| {
        let others = [spawn_sender(lock, &[1], usize::MAX), spawn_sender(lock, &[2], usize::MAX)];
        send(lock, &[3], usize::MAX);
        for other in others {
            other.join().unwrap();
        }
        let mut ids = ids(&items(lock));
        ids.sort_unstable();
        assert_eq!(ids, [1, 2, 3]);
    });
}

/// The deferred list is full after one item: the others are dropped, and each is recorded in the item before it.
#[test]
fn every_item_is_applied_or_recorded_as_lost() {
    model(|lock| {
        let other = spawn_sender(lock, &[10, 11, 12], 1);
        let mut all = lock.try_with(append, clear).unwrap_or_default();
        send(lock, &[20], 1);
        other.join().unwrap();
        all.extend(items(lock));
        let lost: usize = all.iter().map(|item| item.lost).sum();
        assert_eq!(all.len() + lost, 4, "an item is neither applied nor recorded as lost: {all:?}");
        assert!(ids(&all).is_sorted_by(|one, next| one / 10 != next / 10 || one < next), "{all:?}");
    });
}

/// The holder panics at its work while a delivery pass writes. The lock is free afterwards and the state is kept.
/// An item that was deferred meanwhile is applied by the next operation.
#[test]
fn panic_of_the_holder_releases_the_lock_and_loses_no_item() {
    model(|lock| {
        send(lock, &[10], usize::MAX);
        let sender = spawn_sender(lock, &[11, 12], usize::MAX);
        let result = catch_unwind(AssertUnwindSafe(|| lock.try_with(append, |_| resume_unwind(Box::new(())))));
        assert!(matches!(result, Err(_) | Ok(None::<()>)), "the work panics wherever it runs");
        sender.join().unwrap();
        let items = lock.try_with(append, clear).expect("the lock was not released");
        assert_eq!(ids(&items), [10, 11, 12]);
    });
}
