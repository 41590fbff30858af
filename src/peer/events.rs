//! `EventMailbox`: what a delivery pass tells a connection, without a queue and without a lock.

use atomic_waker::AtomicWaker;
use std::ops::BitOr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::task::Context;

/// A set of things that a connection was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerEvents(u16);

impl PeerEvents {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// The room has admitted the peer.
    pub const JOINED: Self = Self(1);
    /// The room has somebody of that name already.
    pub const NAME_TAKEN: Self = Self(1 << 1);
    /// The room has let the peer go: no line of it comes any more.
    pub const LEFT_ROOM: Self = Self(1 << 2);
    /// The room's inbox has taken what was in it: try again.
    pub const INBOX_READY: Self = Self(1 << 3);
    /// There is a backlog: drain it when the socket takes bytes again.
    pub const OUTPUT_BLOCKED: Self = Self(1 << 4);
    /// The peer lost lines, and slow readers are to be closed.
    pub const TOO_SLOW: Self = Self(1 << 5);
    /// The room has said goodbye: flush and close.
    pub const SHUTDOWN: Self = Self(1 << 6);
    /// The room has failed: nothing comes of it any more.
    pub const ROOM_FAILED: Self = Self(1 << 7);
    /// The socket failed in writing: hear the peer out, but not for long.
    pub const WRITE_FAILED: Self = Self(1 << 8);

    /// The room has given the peer the other name that it asked for.
    pub const RENAMED: Self = Self(1 << 9);
    /// What the peer has asked the room for was answered.
    pub const REQUEST_DONE: Self = Self(1 << 10);
    /// The room that the peer wants a seat in has said goodbye, and lets nobody in.
    pub const ROOM_CLOSED: Self = Self(1 << 11);

    /// Whether all of `other` is in here.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether anything of `other` is in here.
    #[must_use]
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for PeerEvents {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The events raised for one connection, and the waker of its task.
#[derive(Debug, Default)]
pub(crate) struct EventMailbox {
    raised: AtomicU16,
    waker: AtomicWaker,
}

impl EventMailbox {
    /// Raises `signal` and wakes the connection, unless it is raised already; true if it woke.
    pub(crate) fn raise(&self, events: PeerEvents) -> bool {
        // Release: pairs with the Acquire swap in `take`, which sees all that came before. When
        // the bit was set already, whoever set it has woken the task or is about to, and the
        // task has not looked since.
        let before = self.raised.fetch_or(events.0, Ordering::Release);
        let new = !PeerEvents(before).contains(events);
        if new {
            self.waker.wake();
        }
        new
    }

    /// Takes what was raised; what is raised from now on wakes the task of `context`.
    pub(crate) fn take(&self, context: &Context<'_>) -> PeerEvents {
        // First register, then look: a signal raised in between is either seen or wakes.
        self.waker.register(context.waker());
        if self.raised.load(Ordering::Relaxed) == 0 {
            return PeerEvents::NONE;
        }
        // Acquire: pairs with the Release in `raise`.
        PeerEvents(self.raised.swap(0, Ordering::Acquire))
    }
}
