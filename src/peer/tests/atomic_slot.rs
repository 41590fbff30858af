//! Tests of the atomic slot.

use crate::peer::atomic_slot::AtomicSlot;
use crate::peer::sync::AtomicCell;

#[test]
fn slot_uses_no_lock() {
    assert!(AtomicCell::<Option<Box<String>>>::is_lock_free());
}

#[test]
fn slot_is_taken_once_and_returns_the_value_of_the_last_put() {
    let slot = AtomicSlot::new();
    for value in [None, Some(Box::new('a')), Some(Box::new('b')), None] {
        assert!(slot.take().is_some());
        assert!(slot.take().is_none(), "a taken slot was taken again");
        slot.put(value.clone());
        assert_eq!(slot.take(), Some(value));
        slot.put(None);
    }
}
