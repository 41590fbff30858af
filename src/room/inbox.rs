//! A room's inbox: a queue of operations with a byte capacity, and the count that starts its passes.

pub(crate) use crate::room::pass_counter::PassDue;

use crate::metrics::counters::MetricsDelta;
use crate::peer::Peer;
use crate::peer::byte_sink::ByteSink;
use crate::peer::events::{MembershipSlot, PeerEvents};
use crate::room::pass_counter::PassCounter;
use crate::room::roster::MemberKey;
use crate::text::names::UserName;
use crossbeam_channel::{Receiver, Sender, unbounded};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An operation for the room's next pass. Kept small, since a block of the queue holds 31 of them.
pub(crate) enum Operation {
    /// Delivers a member's lines to all members.
    SendLines {
        /// The lines end to end, each with its line end.
        bytes: Box<[u8]>,
        /// The number of lines.
        lines: u32,
    },
    /// Admits a peer.
    Join(Box<MemberRef>),
    /// Removes a member.
    Leave(Box<MemberRef>),
    /// Gives a member another name.
    Rename(Box<MemberRef>, Box<UserName>),
    /// Shows a member the names of the members, its own among them.
    ShowMembers(Box<MemberRef>, MemberListing),
    /// Shows a member the rooms of the server.
    ShowRooms { peer: Arc<Peer<dyn ByteSink>>, slot: MembershipSlot },
    /// Shows a member this number of last lines.
    ShowHistory { peer: Arc<Peer<dyn ByteSink>>, slot: MembershipSlot, count: u16 },
    /// Delivers a line to one member.
    Whisper(Box<Whisper>),
    /// Raises `INBOX_READY` for a member that waits for capacity.
    NotifyReady { peer: Arc<Peer<dyn ByteSink>>, slot: MembershipSlot },
    /// Raises `FLUSH_INPUT` for all members.
    FlushInput,
    /// Sends the shutdown notice after all replies that are due, removes all members and closes the room to joins.
    Shutdown,
}

/// How a list of members is worded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemberListing {
    /// The reply to `/who`.
    Who,
    /// The hint for a new member.
    JoinHint,
}

/// A peer, and the key that it requests or holds.
pub(crate) struct MemberRef {
    pub(crate) key: MemberKey,
    pub(crate) peer: Arc<Peer<dyn ByteSink>>,
}

impl MemberRef {
    /// Raises room events in the slot of this membership.
    pub(crate) fn raise(&self, events: PeerEvents, metrics: &mut MetricsDelta) {
        self.peer.raise(events.in_slot(self.key.slot), metrics);
    }
}

/// A member that the room answers, and the slot of the membership that asked.
#[derive(Clone)]
pub(crate) struct Requester {
    pub(crate) peer: Arc<Peer<dyn ByteSink>>,
    pub(crate) slot: MembershipSlot,
}

impl Requester {
    /// Raises room events in the slot of this membership.
    pub(crate) fn raise(&self, events: PeerEvents, metrics: &mut MetricsDelta) {
        self.peer.raise(events.in_slot(self.slot), metrics);
    }
}

/// A line from one member to another.
pub(crate) struct Whisper {
    /// The sender.
    pub(crate) sender: Requester,
    /// The sender's name.
    pub(crate) from: UserName,
    pub(crate) to: Addressee,
    pub(crate) text: Box<str>,
}

/// The member to which a whisper goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Addressee {
    /// The one member of this name.
    Named(UserName),
    /// The member that whispered last to the sender in this room.
    LastWhisperer,
}

/// The inbox of one room.
///
/// The [`PassCounter`] counts operations: the thread that moves it from 0 has to run the pass.
///
/// Senders and passes take no lock. The queue's receiving side spins for the instant between a sender's
/// claim of a place and its filling, and its sending side does so at the border of two blocks.
pub(crate) struct Inbox {
    /// Allocates nothing until the first send.
    sender: Sender<Operation>,
    receiver: Receiver<Operation>,
    /// Operations that are sent and in no completed batch.
    counter: PassCounter,
    /// Bytes of lines that are sent and in no committed batch.
    bytes: AtomicUsize,
    /// The most that `bytes` may grow to.
    capacity: usize,
}

impl Inbox {
    pub(crate) fn new(capacity: usize) -> Self {
        let (sender, receiver) = unbounded();
        Self { sender, receiver, counter: PassCounter::new(), bytes: AtomicUsize::new(0), capacity }
    }

    /// Sends lines, or returns them when they would exceed the capacity. An inbox without lines takes any
    /// number of bytes.
    pub(crate) fn try_send_lines(&self, bytes: Box<[u8]>, lines: u32) -> Result<Option<PassDue>, Box<[u8]>> {
        if self.reserve(bytes.len()) { Ok(self.send(Operation::SendLines { bytes, lines })) } else { Err(bytes) }
    }

    /// Sends a whisper, or returns it when it would exceed the capacity.
    pub(crate) fn try_send_whisper(&self, whisper: Box<Whisper>) -> Result<Option<PassDue>, Box<Whisper>> {
        if self.reserve(whisper.text.len()) { Ok(self.send(Operation::Whisper(whisper))) } else { Err(whisper) }
    }

    /// Reserves capacity for `len` bytes. Returns false if there is too little.
    fn reserve(&self, len: usize) -> bool {
        // Relaxed: the queue orders operations, and this count orders nothing.
        let reserved = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
            (held == 0 || held + len <= self.capacity).then_some(held + len)
        });
        reserved.is_ok()
    }

    /// Sends lines whatever the capacity.
    pub(crate) fn send_final_lines(&self, bytes: Box<[u8]>, lines: u32) -> Option<PassDue> {
        self.bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        self.send(Operation::SendLines { bytes, lines })
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

    /// Completes a batch of `operations` operations. Returns true if more are counted: the caller has to
    /// run one more pass.
    pub(crate) fn complete(&self, operations: usize) -> bool {
        self.counter.complete(operations)
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("pending", &self.counter).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    fn send_bytes(inbox: &Inbox, len: usize) -> Result<Option<PassDue>, Box<[u8]>> {
        inbox.try_send_lines(vec![b'x'; len].into(), 1)
    }

    #[test]
    fn first_operation_in_a_quiet_inbox_makes_a_pass_due() {
        let inbox = Inbox::new(100);
        assert!(inbox.send(Operation::Shutdown).is_some());
        assert!(inbox.send(Operation::Shutdown).is_none(), "a pass is due already");
        let operations = inbox.pending();
        assert_eq!(inbox.take(operations).count(), 2);
        assert!(inbox.send(Operation::Shutdown).is_none(), "the pass still runs");
        assert!(inbox.complete(operations), "the pass has to go on");
        assert_eq!(inbox.take(1).count(), 1);
        assert!(!inbox.complete(1));
        assert!(inbox.send(Operation::Shutdown).is_some(), "the inbox is quiet again");
    }

    #[test]
    fn take_returns_no_more_operations_than_asked_for() {
        let inbox = Inbox::new(100);
        for _ in 0..3 {
            let _ = inbox.send(Operation::Shutdown);
        }
        assert_eq!(inbox.take(2).count(), 2);
        assert_eq!(inbox.take(2).count(), 1);
    }

    #[test]
    fn capacity_bounds_bytes_until_a_commit_releases_them() {
        let inbox = Inbox::new(100);
        assert!(send_bytes(&inbox, 500).is_ok(), "an empty inbox takes any number of bytes");
        assert!(send_bytes(&inbox, 1).is_err());
        assert_eq!(inbox.take(1).count(), 1);
        assert!(send_bytes(&inbox, 1).is_err(), "the lines are taken, but their batch is not committed");
        inbox.release_bytes(500);
        assert!(send_bytes(&inbox, 60).is_ok() && send_bytes(&inbox, 40).is_ok());
        let back = send_bytes(&inbox, 1).unwrap_err();
        assert_eq!(back.len(), 1, "the lines are returned");
    }

    /// Each sender runs the passes that its operations make due.
    #[test]
    fn passes_never_overlap_and_take_everything() {
        const SENDERS: usize = 4;
        const SENDS: usize = 20_000;
        let (inbox, start) = (Inbox::new(usize::MAX), Barrier::new(SENDERS));
        let (running, handled) = (AtomicBool::new(false), AtomicUsize::new(0));
        let pass = |_: PassDue| loop {
            assert!(!running.swap(true, Ordering::Relaxed), "two passes at a time");
            let operations = inbox.pending();
            handled.fetch_add(inbox.take(operations).count(), Ordering::Relaxed);
            assert!(running.swap(false, Ordering::Relaxed));
            if !inbox.complete(operations) {
                break;
            }
        };
        thread::scope(|scope| {
            for _ in 0..SENDERS {
                scope.spawn(|| {
                    start.wait();
                    for _ in 0..SENDS {
                        inbox.send(Operation::Shutdown).map(pass);
                    }
                });
            }
        });
        assert_eq!(handled.into_inner(), SENDERS * SENDS);
        assert!(inbox.is_empty() && inbox.pending() == 0);
    }

    #[test]
    fn operation_fits_in_three_words() {
        assert!(size_of::<Operation>() <= 24);
    }
}
