//! The synchronisation that [`crate::turn`] is built from, in one place so that `tests/loom.rs`
//! can put loom's in its stead.

use crossbeam_utils::atomic::AtomicCell;

/// Holds a value that one thread at a time can take out. Lock-free: an atomic pointer.
///
/// Taking, whether it succeeds or not, and putting back are swaps with `AcqRel`: [`crate::turn`]
/// says what relies on that.
pub(crate) struct Slot<T>(AtomicCell<Option<Box<T>>>);

impl<T> Slot<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(AtomicCell::new(Some(Box::new(value))))
    }

    /// Takes the value; `None` while another thread has it.
    pub(crate) fn take(&self) -> Option<Box<T>> {
        self.0.take()
    }

    /// Puts the value back.
    pub(crate) fn put(&self, value: Box<T>) {
        self.0.swap(Some(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_takes_no_lock() {
        assert!(AtomicCell::<Option<Box<String>>>::is_lock_free());
        let slot = Slot::new('a');
        let value = slot.take().unwrap();
        assert!(slot.take().is_none());
        slot.put(value);
        assert_eq!(slot.take().as_deref(), Some(&'a'));
    }
}
