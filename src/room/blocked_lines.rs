//! Blocked lines: how a batch queues the lines of blocked senders and takes them in their turn.

use crate::peer::events::PeerEvents;
use crate::room::batch::Batch;
use crate::room::fair_queue::Entry;
use crate::room::heavy_senders::sender_number;
use crate::room::inbox::Inbox;
use crate::room::operation::{BlockedLines, Operation};
use std::mem;

impl Batch {
    /// Queues an operation that has to wait for the turn of blocked lines: those lines, and what their sender sent after
    /// them. Returns any other operation.
    pub(super) fn queue_blocked(&mut self, operation: Operation) -> Option<Operation> {
        if let (Some(queue), Some(sender)) = (&mut self.blocked, operation.sender()) {
            match queue.defer(sender, operation) {
                Ok(()) => return None,
                Err(operation) => return self.queue_lines(operation),
            }
        }
        self.queue_lines(operation)
    }

    /// Queues blocked lines. A room that shuts down takes no more of them: they are applied, and are dropped in that.
    fn queue_lines(&mut self, operation: Operation) -> Option<Operation> {
        match operation {
            Operation::SendBlockedLines(lines) if !self.takes_no_lines() => {
                self.blocked.get_or_insert_default().push(*lines);
                None
            }
            other => Some(other),
        }
    }

    /// Returns the number of operations that wait for the turn of blocked lines, and which the inbox still counts.
    pub(super) fn blocked_operations(&self) -> usize {
        self.blocked.as_ref().map_or(0, |queue| queue.operations())
    }

    /// Returns the cost in operations of [`Batch::take_blocked_lines`], which is due if the batch has capacity for the
    /// lines that come next; `None` if it has not, or if no lines are blocked. An empty batch takes lines of any length.
    pub(super) fn blocked_lines_cost(&self, capacity: usize) -> Option<usize> {
        let Entry { lines, later } = self.blocked.as_ref()?.first()?;
        let fits = self.inbox_bytes == 0 || self.inbox_bytes + lines.bytes.len() <= capacity;
        let later_cost: usize = later.iter().map(|operation| self.operation_cost(operation)).sum();
        fits.then(|| Self::lines_cost(lines.bytes.len()) + later_cost)
    }

    /// Returns true if all blocked lines are so few that the batch takes them at once and has capacity left for as many
    /// lines of other senders.
    pub(super) fn blocked_lines_are_few(&self, capacity: usize) -> bool {
        self.blocked.as_ref().is_some_and(|queue| queue.bytes() <= capacity / 2)
    }

    /// Takes the blocked lines that come next, and applies what their sender sent after them.
    pub(super) fn take_blocked_lines(&mut self, inbox: &Inbox) {
        let Some(Entry { lines, later }) = self.blocked.as_mut().and_then(|queue| queue.pop()) else { return };
        if self.blocked.as_ref().is_some_and(|queue| queue.is_empty()) {
            self.blocked = None;
        }
        let BlockedLines { bytes, lines, sender, charge } = lines;
        inbox.accept_blocked(bytes.len());
        self.begin_operation();
        self.append_lines((bytes, lines), sender_number(sender.peer.id()));
        // The batch charges the lines from here on.
        self.charge_memory();
        drop(charge);
        self.ready_senders.push(sender);
        for operation in later {
            self.apply_or_queue(operation);
        }
    }

    /// Raises `INBOX_READY` for the senders whose blocked lines are in a batch or were dropped.
    pub(super) fn raise_inbox_ready(&mut self) {
        for sender in mem::take(&mut self.ready_senders) {
            sender.raise(PeerEvents::INBOX_READY, &mut self.metrics);
        }
    }
}
