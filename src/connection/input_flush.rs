//! Input flush: at shutdown each connection sends its room all input that it has received, before the room's notice.

use super::Connection;
use super::close_reason::CloseReason;
use super::timers::Deadline;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;
use tracing::warn;

/// The most kibibytes of a flush: four times what a receive buffer holds. A peer that sends on and on must not delay the
/// server's end. A read of fewer bytes counts as a kibibyte.
const FLUSH_KIB: u8 = 128;

/// The connections of a server that have not flushed their input yet.
#[derive(Debug, Default)]
pub(crate) struct UnflushedInputs {
    count: AtomicUsize,
    /// Notified when the count becomes 0.
    none_left: Notify,
}

/// The progress of a connection's input flush.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum InputFlush {
    /// The server is not shutting down.
    #[default]
    NotRequested,
    /// The connection sends all that it has received, at once. Holds the kibibytes that are left.
    Running(u8),
    /// The connection takes no input any more.
    Done,
}

impl UnflushedInputs {
    /// Counts one more connection.
    pub(super) fn add(&self) {
        // Relaxed: `remove` of the same connection comes later in the order of this one atomic.
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    fn remove(&self) {
        // Release: pairs with the Acquire in `wait_until_none`, so that the lines of the flush are in their inbox before
        // the notice.
        if self.count.fetch_sub(1, Ordering::Release) == 1 {
            self.none_left.notify_waiters();
        }
    }

    /// Waits until every connection has flushed its input.
    pub(crate) async fn wait_until_none(&self) {
        loop {
            let none_left = self.none_left.notified();
            // Acquire: pairs with the Release in `remove`.
            if self.count.load(Ordering::Acquire) == 0 {
                return;
            }
            none_left.await;
        }
    }
}

impl Connection {
    /// Lifts the limits of the input's rate, so that the caller can resume input, and handles a line that waits for the
    /// budget of its address.
    pub(super) fn begin_input_flush(&mut self) -> Result<(), CloseReason> {
        if self.input_flush == InputFlush::NotRequested {
            self.input_flush = InputFlush::Running(FLUSH_KIB);
            self.deadlines.clear(Deadline::RateLimit);
            self.end_encoding_delay();
            self.handle_delayed_line()?;
        }
        Ok(())
    }

    /// Reads and sends received input until the socket has none. Stops while a cause other than the rate pauses input.
    pub(super) fn continue_input_flush(&mut self) -> Result<(), CloseReason> {
        while let InputFlush::Running(left) = self.input_flush
            && !self.is_input_paused()
            && self.held_input.is_none()
        {
            if self.has_waiting_records() {
                self.decode_waiting_records()?;
            } else if left == 0 {
                let connection = self.peer.id().0;
                warn!(connection, address = %self.address, "input was not read to its end: the server is shutting down");
                self.end_input_flush();
            } else if !self.input_closed
                && let Some(count) = self.read_received_input()?
            {
                let read = u8::try_from(count.div_ceil(1 << 10).max(1)).unwrap_or(u8::MAX);
                self.input_flush = InputFlush::Running(left.saturating_sub(read));
            } else {
                self.end_input_flush();
            }
        }
        Ok(())
    }

    /// Ends the connection's part in the flush: the rooms' notices do not wait for it any more.
    pub(super) fn end_input_flush(&mut self) {
        if self.input_flush != InputFlush::Done {
            self.input_flush = InputFlush::Done;
            self.context.unflushed_inputs.remove();
        }
    }

    /// Returns whether the rate limits are lifted.
    pub(super) fn is_flushing_input(&self) -> bool {
        matches!(self.input_flush, InputFlush::Running(_))
    }
}

impl Drop for Connection {
    /// Counts a connection that ended by a panic as flushed, and takes it out of the directory and of a handover.
    fn drop(&mut self) {
        self.leave_directory();
        self.leave_handover();
        self.end_input_flush();
    }
}
