//! A room's inbox: a queue of operations with a byte capacity, and the count that starts its passes.

pub(crate) use crate::room::pass_counter::PassDue;

use crate::room::heavy_senders::SenderNumber;
use crate::room::operation::{BlockedLines, Operation};
use crate::room::pass_counter::PassCounter;
use crossbeam_channel::{Receiver, Sender, unbounded};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The outcome of a send of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a sender of blocked lines waits for INBOX_READY"]
pub enum SendStatus {
    /// The inbox had capacity for the lines: the room's next batch has them.
    Accepted,
    /// The inbox had no capacity, so the lines wait in the room for their sender's turn. The room raises `INBOX_READY`
    /// when a batch has them; until then the sender sends no other lines.
    Blocked,
}

/// The bytes that one batch may cause to be written to all members together: about 20 ms of writes over loopback. A
/// pass through a flooded room takes no longer, however many members the room has.
const DELIVERED_BYTES: usize = 20 << 20;

/// The least capacity of a batch, whatever the number of members: about what a connection sends at a time.
const MIN_CAPACITY: usize = 16 << 10;

/// The inbox of one room.
///
/// The [`PassCounter`] counts operations: the thread that moves it from 0 has to run the pass.
///
/// Senders and passes take no lock. The queue's receiving side spins for the instant between a sender's
/// claim of a place and its filling, and its sending side does so at the border of two blocks.
///
/// Lines that exceed the capacity are sent, too, but as blocked lines, which wait in the room for their sender's turn:
/// at most one operation of [`Operation::SendBlockedLines`] for each connection. While lines of any sender are blocked,
/// no sender's lines are accepted at once, so blocked senders do not starve.
pub(crate) struct Inbox {
    /// Allocates nothing until the first send.
    sender: Sender<Operation>,
    receiver: Receiver<Operation>,
    /// Operations that are sent and in no completed batch.
    counter: PassCounter,
    /// Bytes of lines that are accepted, or taken from the blocked lines, and in no committed batch.
    bytes: AtomicUsize,
    /// Blocked lines that no batch has.
    blocked: AtomicUsize,
    /// The most bytes of lines in one batch. The pass follows the number of members with it.
    batch_capacity: AtomicUsize,
    /// The most that `batch_capacity` may be, from the settings.
    max_capacity: usize,
}

impl Inbox {
    pub(crate) fn new(max_capacity: usize) -> Self {
        let (sender, receiver) = unbounded();
        Self {
            sender,
            receiver,
            counter: PassCounter::new(),
            bytes: AtomicUsize::new(0),
            blocked: AtomicUsize::new(0),
            batch_capacity: AtomicUsize::new(max_capacity),
            max_capacity,
        }
    }

    /// Sends lines, which become blocked lines of the sender when they exceed the capacity. An inbox without lines takes
    /// any number of bytes.
    pub(crate) fn send_lines(
        &self,
        (bytes, lines): (Box<[u8]>, u32),
        sender: SenderNumber,
        block: impl FnOnce(Box<[u8]>, u32) -> BlockedLines,
    ) -> (SendStatus, Option<PassDue>) {
        if self.reserve(bytes.len()) {
            return (SendStatus::Accepted, self.send(Operation::SendLines { bytes, lines, sender }));
        }
        // Relaxed, as in `reserve`: a sender that does not see this count yet sends its lines before these.
        self.blocked.fetch_add(1, Ordering::Relaxed);
        let blocked = Operation::SendBlockedLines(Box::new(block(bytes, lines)));
        (SendStatus::Blocked, self.send(blocked))
    }

    /// Reserves capacity for `len` bytes. Returns false if there is too little, or if lines are blocked.
    ///
    /// A quarter of a batch is left to blocked lines: the line of a sender that comes when the rest is full is in the
    /// same batch.
    fn reserve(&self, len: usize) -> bool {
        // Relaxed: the queue orders operations, and these counts order nothing.
        if self.blocked.load(Ordering::Relaxed) > 0 {
            return false;
        }
        let capacity = self.batch_capacity();
        let reserved = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
            (held == 0 || held + len <= capacity - capacity / 4).then_some(held + len)
        });
        reserved.is_ok()
    }

    /// Returns the most bytes of lines in one batch.
    pub(crate) fn batch_capacity(&self) -> usize {
        self.batch_capacity.load(Ordering::Relaxed)
    }

    /// Sets the capacity of batches for a room of `members` members.
    pub(crate) fn set_members(&self, members: usize) {
        let capacity = (DELIVERED_BYTES / members.max(1)).max(MIN_CAPACITY).min(self.max_capacity);
        self.batch_capacity.store(capacity, Ordering::Relaxed);
    }

    /// Counts blocked lines as accepted: the batch that is gathered has them.
    pub(crate) fn accept_blocked(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.blocked.fetch_sub(1, Ordering::Relaxed);
    }

    /// Sends an operation whatever the capacity: each connection has a few at a time at most.
    pub(crate) fn send(&self, operation: Operation) -> Option<PassDue> {
        if self.sender.send(operation).is_err() {
            unreachable!("the inbox holds a receiver, so its queue is never disconnected");
        }
        // The operation is sent before it is counted: a pass that reads the count finds that many
        // operations in the queue, though not always the ones that were counted.
        self.mark_sent()
    }

    /// Counts an operation that was sent. The first one in a quiet inbox makes a pass due.
    pub(crate) fn mark_sent(&self) -> Option<PassDue> {
        self.counter.mark_sent()
    }

    /// Returns true if the queue holds no operation, counted or not.
    pub(crate) fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }

    /// Sends an operation without counting it, like a thread that is preempted in between.
    #[cfg(test)]
    pub(crate) fn send_unmarked(&self, operation: Operation) {
        self.sender.send(operation).unwrap();
    }

    /// Returns the number of counted operations, which are sent and in no completed batch.
    pub(crate) fn pending(&self) -> usize {
        self.counter.pending()
    }

    /// Takes `count` operations, in the order in which they were sent.
    pub(crate) fn take(&self, count: usize) -> impl Iterator<Item = Operation> {
        self.receiver.try_iter().take(count)
    }

    /// Returns the capacity of lines whose batch is committed.
    pub(crate) fn release_bytes(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Stops counting blocked lines that a room dropped.
    pub(crate) fn drop_blocked(&self, count: usize) {
        if count > 0 {
            self.blocked.fetch_sub(count, Ordering::Relaxed);
        }
    }

    /// Completes a batch of `operations` operations. Returns true if more are counted: the caller has to
    /// run one more pass.
    pub(crate) fn complete(&self, operations: usize) -> bool {
        self.counter.complete(operations)
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { counter, bytes, blocked, batch_capacity, .. } = self;
        let mut inbox = f.debug_struct("Inbox");
        inbox.field("pending", counter).field("bytes", bytes).field("blocked", blocked);
        inbox.field("batch_capacity", batch_capacity).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "tests/inbox.rs"]
mod tests;
