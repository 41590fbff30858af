//! The byte sink: all that a delivery pass sees of a socket.

use crate::limits::memory::MemoryBudget;
use std::io;
use std::sync::Arc;

/// Takes a peer's bytes. It never waits: `WouldBlock` says "not now".
pub trait ByteSink: Send + Sync {
    /// Writes some of `bytes`, at once or not at all; returns how many it took.
    ///
    /// # Errors
    /// `WouldBlock` when nothing can be taken now; anything else ends the peer.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Charges the peer's address for deliveries that a join, a leave or a rename of the peer has caused.
    fn charge_membership_change(&self, _deliveries: u32) {}

    /// Returns the budget to which the peer's waiting output is charged; `None` charges it to no budget.
    fn memory(&self) -> Option<&Arc<MemoryBudget>> {
        None
    }
}
