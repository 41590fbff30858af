//! Replaces `src/peer/sync.rs`: the same names, with loom's primitives below them.
//!
//! No replacement is stronger than the original:
//!
//! | primitive | original | replacement |
//! |---|---|---|
//! | `AtomicU8`, `AtomicU32`, `AtomicUsize`, `Ordering` | std | loom's |
//! | `AtomicCell` | accesses acquire and release | no ordering; loom fails on two accesses that nothing orders |
//! | `AtomicWaker` | atomic-waker 1.1: the state is swapped and set with `AcqRel` | loom's, a mutex around the waker |
//! | `ArcSwapOption::load` | `SeqCst` (arc-swap 1.9.5, `strategy/hybrid.rs`) | `Acquire`, may return an old value |
//! | `ArcSwapOption::swap` | `SeqCst` (arc-swap 1.9.5, `lib.rs`) | `AcqRel` |
//! | `ArcSwapOption::rcu` | a load, then compare-and-swaps with `SeqCst`, on failure a load | `Acquire`, then `AcqRel`, on failure `Acquire` |
//!
//! arc-swap's protection of a value against a concurrent drop is not modelled: a replacement keeps every value
//! until the model's end.

pub(crate) use loom::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};

use loom::cell::Cell;
use std::cell::RefCell;
use std::sync::Arc;
use std::task::Waker;

/// Replaces `crossbeam_utils::atomic::AtomicCell`.
pub(crate) struct AtomicCell<T>(Cell<T>);

impl<T> AtomicCell<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Cell::new(value))
    }

    pub(crate) fn store(&self, value: T) {
        self.0.set(value);
    }

    pub(crate) fn take(&self) -> T
    where
        T: Default,
    {
        self.0.take()
    }
}

/// Replaces `atomic_waker::AtomicWaker`.
#[derive(Debug, Default)]
pub(crate) struct AtomicWaker(loom::future::AtomicWaker);

impl AtomicWaker {
    pub(crate) fn register(&self, waker: &Waker) {
        self.0.register_by_ref(waker);
    }

    pub(crate) fn wake(&self) {
        self.0.wake();
    }
}

/// Replaces `arc_swap::ArcSwapOption`.
pub(crate) struct ArcSwapOption<T> {
    /// The number of the current value, counted from 1; 0 is no value. No number is used twice.
    current: AtomicUsize,
    /// All values so far, by number. Loom does not see these accesses, and they order nothing: loom switches
    /// threads only at its own primitives.
    values: RefCell<Vec<Value<T>>>,
}

struct Value<T> {
    value: Arc<T>,
    /// Set before the value is published and read by each load of the value: loom fails where no ordering makes
    /// the value visible to the load.
    published: Cell<bool>,
}

impl<T> ArcSwapOption<T> {
    pub(crate) fn empty() -> Self {
        Self { current: AtomicUsize::new(0), values: RefCell::new(Vec::new()) }
    }

    pub(crate) fn load(&self) -> Option<Arc<T>> {
        self.value(self.current.load(Ordering::Acquire))
    }

    pub(crate) fn swap(&self, new: Option<Arc<T>>) -> Option<Arc<T>> {
        let new = self.number(new);
        self.value(self.current.swap(new, Ordering::AcqRel))
    }

    pub(crate) fn rcu(&self, mut next: impl FnMut(&Option<Arc<T>>) -> Option<Arc<T>>) -> Option<Arc<T>> {
        let mut current = self.current.load(Ordering::Acquire);
        loop {
            let value = self.value(current);
            let new = self.number(next(&value));
            match self.current.compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return value,
                Err(newer) => current = newer,
            }
        }
    }

    /// Returns the number of a value that is about to be published.
    fn number(&self, value: Option<Arc<T>>) -> usize {
        let Some(value) = value else {
            return 0;
        };
        let published = Cell::new(false);
        published.set(true);
        let mut values = self.values.borrow_mut();
        values.push(Value { value, published });
        values.len()
    }

    /// Returns the value of a number that was loaded.
    fn value(&self, number: usize) -> Option<Arc<T>> {
        let values = self.values.borrow();
        let found = values.get(number.checked_sub(1)?)?;
        assert!(found.published.get(), "a value was loaded before it was published");
        Some(Arc::clone(&found.value))
    }
}
