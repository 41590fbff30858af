//! Event mailbox: the events raised for one connection, and the waker of its task.
//!
//! `tests/loom.rs` includes this file and runs the interleavings of its steps.

use crate::peer::events::PeerEvents;
use crate::peer::sync::{AtomicU32, AtomicWaker, Ordering};
use std::task::Context;

/// The events raised for one connection, and the waker of its task.
#[derive(Debug, Default)]
pub(crate) struct EventMailbox {
    raised: AtomicU32,
    waker: AtomicWaker,
}

impl EventMailbox {
    /// Raises `events` and wakes the connection's task, unless all of them are raised already. Returns
    /// true if it woke the task.
    pub(crate) fn raise(&self, events: PeerEvents) -> bool {
        // Release: pairs with the Acquire swap in `take`, which makes everything before this raise visible
        // to the connection. When the bits were set already, the thread that set them wakes the task, and
        // the task has not taken them yet.
        let before = self.raised.fetch_or(events.bits(), Ordering::Release);
        let new = !PeerEvents::from_bits(before).contains(events);
        if new {
            self.waker.wake();
        }
        new
    }

    /// Takes the raised events. An event that is raised after this call wakes the task of `context`.
    pub(crate) fn take(&self, context: &Context<'_>) -> PeerEvents {
        // The waker is registered before the load: an event raised in between is either seen or wakes.
        self.waker.register(context.waker());
        if self.raised.load(Ordering::Relaxed) == 0 {
            return PeerEvents::NONE;
        }
        // Acquire: pairs with the Release in `raise`.
        PeerEvents::from_bits(self.raised.swap(0, Ordering::Acquire))
    }
}
