//! Shared lines: bytes of a batch that several peers keep, and that the memory budget counts once.

use crate::limits::memory::MemoryBudget;
use bytes::Bytes;
use std::sync::{Arc, OnceLock};

/// A slice is copied and not shared if it has fewer bytes than this: the memory of a shared segment would be more than
/// an eighth of the bytes.
const MIN_SHARED: usize = 512;

/// The memory of one batch that peers keep parts of. The last holder's drop releases the charge.
#[derive(Debug)]
struct BatchMemory {
    /// The bytes of the whole batch: a holder of any part keeps all of them in memory.
    bytes: usize,
    /// The budget, once a peer keeps a part.
    charged_to: OnceLock<Arc<MemoryBudget>>,
}

impl Drop for BatchMemory {
    fn drop(&mut self) {
        if let Some(budget) = self.charged_to.get() {
            budget.release(self.bytes);
        }
    }
}

/// The memory of one batch, as its lines and their parts hold it. Allocates nothing until a peer keeps a part or the
/// batch is cloned.
#[derive(Debug)]
pub(super) struct BatchMemoryRef {
    /// The bytes of the whole batch.
    bytes: usize,
    memory: OnceLock<Arc<BatchMemory>>,
}

impl BatchMemoryRef {
    /// Returns the memory of a batch of this many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        Self { bytes, memory: OnceLock::new() }
    }

    /// Returns `part`, a slice of `lines`, to keep, or `None` where a copy of it is the better choice: where it is short, or
    /// less than half of the batch. So a peer keeps at most twice its own bytes in memory.
    pub(super) fn share(&self, lines: &Bytes, part: &[u8], budget: Option<&Arc<MemoryBudget>>) -> Option<SharedSlice> {
        if part.len() < MIN_SHARED || part.len() < self.bytes / 2 {
            return None;
        }
        let memory = Arc::clone(self.memory());
        // The thread whose budget is stored charges; nothing is computed while the others wait for the store.
        if let Some(budget) = budget
            && memory.charged_to.get().is_none()
            && memory.charged_to.set(Arc::clone(budget)).is_ok()
        {
            budget.charge(memory.bytes);
        }
        Some(SharedSlice { bytes: lines.slice_ref(part), _memory: memory })
    }

    fn memory(&self) -> &Arc<BatchMemory> {
        self.memory.get_or_init(|| Arc::new(BatchMemory { bytes: self.bytes, charged_to: OnceLock::new() }))
    }
}

impl Clone for BatchMemoryRef {
    /// Returns the same memory, so that it is charged once.
    fn clone(&self) -> Self {
        Self { bytes: self.bytes, memory: OnceLock::from(Arc::clone(self.memory())) }
    }
}

/// A part of a batch that a peer keeps.
#[derive(Debug)]
pub(super) struct SharedSlice {
    pub(super) bytes: Bytes,
    /// Dropped after the bytes.
    _memory: Arc<BatchMemory>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_is_charged_once_and_released_by_its_last_holder() {
        let budget = MemoryBudget::new(1 << 20);
        let bytes = Bytes::from(vec![b'x'; 2000]);
        let batch = BatchMemoryRef::new(bytes.len());
        let copy = batch.clone();
        assert_eq!(budget.used(), 0, "no peer keeps a part");
        let first = batch.share(&bytes, &bytes[..1000], Some(&budget));
        let second = copy.share(&bytes, &bytes[500..], Some(&budget));
        assert!(first.is_some() && second.is_some());
        assert_eq!(budget.used(), 2000);
        drop((batch, copy, first));
        assert_eq!(budget.used(), 2000);
        drop(second);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn short_parts_and_small_parts_of_a_batch_are_not_shared() {
        let budget = MemoryBudget::new(1 << 20);
        let bytes = Bytes::from(vec![b'x'; 2000]);
        let batch = BatchMemoryRef::new(bytes.len());
        assert!(batch.share(&bytes, &bytes[..999], Some(&budget)).is_none());
        let short = BatchMemoryRef::new(MIN_SHARED - 1);
        assert!(short.share(&bytes, &bytes[..MIN_SHARED - 1], Some(&budget)).is_none());
        assert_eq!(budget.used(), 0);
        let least = BatchMemoryRef::new(MIN_SHARED);
        assert!(least.share(&bytes, &bytes[..MIN_SHARED], Some(&budget)).is_some());
    }
}
