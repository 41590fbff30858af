//! The synchronisation that [`crate::peer::write_lock`] is built from, in one place so that `tests/loom.rs`
//! can put loom's in its stead.

use crossbeam_utils::atomic::AtomicCell;
use std::sync::atomic::{AtomicU8, Ordering};

/// Nobody has the slot, and nothing is in it.
const EMPTY: u8 = 0;
/// Nobody has the slot, and a value is in it.
const FULL: u8 = 1;
/// A thread has the slot.
const TAKEN: u8 = 2;

/// What one thread at a time can have: a value, or the right to put one there. Lock-free.
///
/// Taking, whether it succeeds or not, and putting back are swaps of one atomic with `AcqRel`:
/// [`crate::peer::write_lock`] says what relies on that. Who has the slot alone touches the value.
pub(crate) struct AtomicSlot<T> {
    state: AtomicU8,
    /// Costs a pointer as long as there is nothing to keep.
    value: AtomicCell<Option<Box<T>>>,
}

impl<T> AtomicSlot<T> {
    pub(crate) fn new() -> Self {
        Self { state: AtomicU8::new(EMPTY), value: AtomicCell::new(None) }
    }

    /// Takes the slot and what is in it; `None` while another thread has it.
    #[allow(clippy::option_option, reason = "whether it was free, and whether anything is in it")]
    pub(crate) fn take(&self) -> Option<Option<Box<T>>> {
        match self.state.swap(TAKEN, Ordering::AcqRel) {
            TAKEN => None,
            FULL => Some(self.value.take()),
            _ => Some(None),
        }
    }

    /// Gives the slot back, with something in it or not.
    pub(crate) fn put(&self, value: Option<Box<T>>) {
        let state = if value.is_some() { FULL } else { EMPTY };
        if value.is_some() {
            self.value.store(value);
        }
        self.state.swap(state, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_takes_no_lock_and_one_thread_at_a_time() {
        assert!(AtomicCell::<Option<Box<String>>>::is_lock_free());
        let slot = AtomicSlot::new();
        for value in [None, Some(Box::new('a')), Some(Box::new('b')), None] {
            assert!(slot.take().is_some());
            assert!(slot.take().is_none());
            slot.put(value.clone());
            assert_eq!(slot.take(), Some(value));
            slot.put(None);
        }
    }
}
