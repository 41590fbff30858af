//! The memory charge: bytes that a room's lines hold of the server's memory budget.

use crate::limits::memory::MemoryBudget;
use std::sync::Arc;

/// Bytes that are charged to a budget. The drop releases them, also after a panic.
#[derive(Debug)]
pub(crate) struct MemoryCharge {
    memory: Arc<MemoryBudget>,
    bytes: usize,
}

impl MemoryCharge {
    /// Charges `bytes`, whatever the budget's ceiling: a room can't refuse the lines of a member.
    pub(crate) fn new(memory: &Arc<MemoryBudget>, bytes: usize) -> Self {
        if bytes > 0 {
            memory.charge(bytes);
        }
        Self { memory: Arc::clone(memory), bytes }
    }

    /// Charges more until `bytes` are charged in all. Releases nothing.
    pub(crate) fn grow_to(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.memory.charge(bytes - self.bytes);
            self.bytes = bytes;
        }
    }
}

impl Drop for MemoryCharge {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.memory.release(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charge_grows_and_is_released_by_its_drop() {
        let memory = MemoryBudget::new(100);
        let mut charge = MemoryCharge::new(&memory, 10);
        charge.grow_to(150);
        charge.grow_to(20);
        assert_eq!(memory.used(), 150, "a charge that can't be refused may exceed the ceiling");
        drop(charge);
        assert_eq!(memory.used(), 0);
    }
}
