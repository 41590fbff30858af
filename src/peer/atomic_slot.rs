//! An atomic slot: holds at most one value, and gives it to one thread at a time without blocking the others.

use crate::peer::sync::{AtomicCell, AtomicU8, Ordering};

/// The slot is free and holds no value.
const EMPTY: u8 = 0;
/// The slot is free and holds a value.
const FULL: u8 = 1;
/// A thread has taken the slot.
const TAKEN: u8 = 2;

/// A value, or the right to store one, that one thread at a time takes. Lock-free.
///
/// [`AtomicSlot::take`] and [`AtomicSlot::put`] each swap one atomic with `AcqRel`, and a `take` that fails
/// swaps it, too. The release sequence that these swaps form is what [`crate::peer::write_lock`] relies on.
pub(crate) struct AtomicSlot<T> {
    /// `EMPTY`, `FULL` or `TAKEN`.
    state: AtomicU8,
    /// The value while the state is `FULL`. Only the thread that has taken the slot accesses the value. The box
    /// keeps an empty slot as small as a pointer.
    value: AtomicCell<Option<Box<T>>>,
}

impl<T> AtomicSlot<T> {
    /// Returns a free slot without a value.
    pub(crate) fn new() -> Self {
        Self { state: AtomicU8::new(EMPTY), value: AtomicCell::new(None) }
    }

    /// Takes the slot and its value. Returns `None` while another thread has taken the slot.
    #[allow(clippy::option_option, reason = "the outer option is the slot, the inner one its value")]
    pub(crate) fn take(&self) -> Option<Option<Box<T>>> {
        // AcqRel: the acquire pairs with the swap in `put` and makes the value visible. The release pairs with
        // the swap in `put`, too: the holder's `put` reads what a failed `take` wrote, and so sees all that the
        // failed thread did before.
        match self.state.swap(TAKEN, Ordering::AcqRel) {
            TAKEN => None,
            FULL => Some(self.value.take()),
            _ => Some(None),
        }
    }

    /// Stores `value`, if there is one, and frees the slot. Only the thread that has taken the slot may call it.
    pub(crate) fn put(&self, value: Option<Box<T>>) {
        let state = if value.is_some() { FULL } else { EMPTY };
        if value.is_some() {
            self.value.store(value);
        }
        // AcqRel: the release pairs with the swap of the next `take` and makes the value visible to it. The
        // acquire pairs with the swap of each `take` that failed since this thread took the slot.
        self.state.swap(state, Ordering::AcqRel);
    }
}
