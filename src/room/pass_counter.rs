//! Pass counter: counts the operations of a room's inbox, and says which thread has to run the room's passes.
//!
//! `tests/loom.rs` includes this file and runs the interleavings of its steps.

use crate::peer::sync::{AtomicUsize, Ordering};

/// States that the caller has sent the first operation to a quiet room, and has to make a pass token of
/// it: no other thread runs the room's next pass.
#[must_use = "the room delivers nothing until its pass runs"]
#[derive(Debug)]
pub(crate) struct PassDue(());

/// The number of operations that are sent and in no completed batch.
///
/// The number is the whole protocol: **the thread that moves it from 0 has to run the pass, and the pass ends when it
/// has moved it back to 0.** So at most one pass runs at a time.
#[derive(Debug)]
pub(crate) struct PassCounter(AtomicUsize);

impl PassCounter {
    /// Returns the counter of a quiet inbox.
    pub(crate) fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Counts an operation that was sent. The first one in a quiet inbox makes a pass due.
    pub(crate) fn mark_sent(&self) -> Option<PassDue> {
        // Release: pairs with the Acquire in `pending`, so that a pass finds the operation in the queue.
        // Acquire: pairs with the Release in `complete`, so that a new pass sees the work of the last one.
        (self.0.fetch_add(1, Ordering::AcqRel) == 0).then_some(PassDue(()))
    }

    /// Returns the number of counted operations, which are sent and in no completed batch.
    pub(crate) fn pending(&self) -> usize {
        // Acquire: pairs with the Release in `mark_sent`.
        self.0.load(Ordering::Acquire)
    }

    /// Completes a batch of `operations` operations. Returns true if more are counted: the caller has to
    /// run one more pass.
    pub(crate) fn complete(&self, operations: usize) -> bool {
        // Release: pairs with the Acquire in `mark_sent` of the thread that starts the next pass. Acquire:
        // pairs with the Release in `mark_sent` of the operations that are left.
        self.0.fetch_sub(operations, Ordering::AcqRel) != operations
    }
}
