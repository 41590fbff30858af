//! A room's inbox: a lock-free queue of operations with a byte capacity, and who runs the next pass.

use crate::metrics::counters::MetricsDelta;
use crate::peer::Peer;
use crate::peer::byte_sink::ByteSink;
use crate::peer::events::{MembershipSlot, PeerEvents};
use crate::room::roster::MemberKey;
use crate::text::names::UserName;
use crossbeam_channel::{Receiver, Sender, unbounded};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Something for the room's next pass. Kept small: a queue block holds 31 of them.
pub(crate) enum Operation {
    /// A member's lines, laid out, each with its line end.
    SendLines {
        /// All of them, end to end.
        bytes: Box<[u8]>,
        /// How many these are.
        lines: u32,
    },
    /// Somebody wants a seat.
    Join(Box<MemberRef>),
    /// The peer gives its seat up.
    Leave(Box<MemberRef>),
    /// The peer wants this name instead of the one that it has.
    Rename(Box<MemberRef>, Box<UserName>),
    /// Show this peer so many of the last lines.
    ShowHistory { peer: Arc<Peer<dyn ByteSink>>, slot: MembershipSlot, count: u16 },
    /// Say something to one member alone.
    Whisper(Box<Whisper>),
    /// Tell this peer when you get here: it waits for the capacity.
    NotifyReady { peer: Arc<Peer<dyn ByteSink>>, slot: MembershipSlot },
    /// Say goodbye, let everybody go, and admit nobody any more.
    Shutdown,
}

/// A peer, and the seat it wants or has.
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

/// What one member says to another.
pub(crate) struct Whisper {
    /// The sender.
    pub(crate) sender: Requester,
    /// The sender's name.
    pub(crate) from: UserName,
    pub(crate) to: UserName,
    pub(crate) text: Box<str>,
}

/// The next pass is yours to run: nobody else will.
#[must_use = "the room stays mute until its pass is run"]
#[derive(Debug)]
pub(crate) struct PassToken;

/// The inbox of one room.
///
/// `pending` counts operations and is the whole protocol: **who moves it from 0 has to run the
/// pass, and the pass ends when it has moved it back to 0.** So at most one pass runs at a time.
pub(crate) struct Inbox {
    /// Allocates nothing until the first send.
    sender: Sender<Operation>,
    receiver: Receiver<Operation>,
    /// Operations sent and not yet settled.
    pending: AtomicUsize,
    /// Bytes of lines sent and not yet in a pass.
    bytes: AtomicUsize,
    /// The bound of `bytes`.
    capacity: usize,
}

impl Inbox {
    pub(crate) fn new(capacity: usize) -> Self {
        let (sender, receiver) = unbounded();
        Self { sender, receiver, pending: AtomicUsize::new(0), bytes: AtomicUsize::new(0), capacity }
    }

    /// Sends lines, or gives them back when they would exceed the capacity. An inbox without any
    /// takes one parcel of any size.
    pub(crate) fn try_send_lines(&self, bytes: Box<[u8]>, lines: u32) -> Result<Option<PassToken>, Box<[u8]>> {
        if self.reserve(bytes.len()) { Ok(self.send(Operation::SendLines { bytes, lines })) } else { Err(bytes) }
    }

    /// Sends what one member says to another, unless it would exceed the capacity.
    pub(crate) fn try_send_whisper(&self, whisper: Box<Whisper>) -> Result<Option<PassToken>, Box<Whisper>> {
        if self.reserve(whisper.text.len()) { Ok(self.send(Operation::Whisper(whisper))) } else { Err(whisper) }
    }

    /// Takes room for so many bytes, if there is any.
    fn reserve(&self, len: usize) -> bool {
        // Relaxed: the capacity orders nothing, the queue does.
        let reserved = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
            (held == 0 || held + len <= self.capacity).then_some(held + len)
        });
        reserved.is_ok()
    }

    /// Sends lines, whatever the capacity.
    pub(crate) fn send_final_lines(&self, bytes: Box<[u8]>, lines: u32) -> Option<PassToken> {
        self.bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        self.send(Operation::SendLines { bytes, lines })
    }

    /// Sends an operation, whatever the capacity: there are at most a few for each connection.
    pub(crate) fn send(&self, operation: Operation) -> Option<PassToken> {
        // The inbox itself holds a receiver, so the queue is connected as long as this runs.
        let sent = self.sender.send(operation);
        debug_assert!(sent.is_ok());
        // Sent first, counted then: a pass that reads the count finds at least that many, though
        // not always the same ones.
        self.mark_sent()
    }

    /// Counts an operation that was sent; the first one has a pass to run.
    pub(crate) fn mark_sent(&self) -> Option<PassToken> {
        // Release: pairs with the Acquire in `pending`. Acquire: whoever starts a pass sees all
        // that the last pass did before its `complete`.
        (self.pending.fetch_add(1, Ordering::AcqRel) == 0).then_some(PassToken)
    }

    /// Whether no operation waits, counted or not.
    pub(crate) fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }

    /// Sends an operation and stops short of counting it, as a thread that is preempted there.
    #[cfg(test)]
    pub(crate) fn send_unmarked(&self, operation: Operation) {
        self.sender.send(operation).unwrap();
    }

    /// How many operations a pass may take now.
    pub(crate) fn pending(&self) -> usize {
        self.pending.load(Ordering::Acquire)
    }

    /// Takes `count` operations, in the order in which they were sent.
    pub(crate) fn take(&self, count: usize) -> impl Iterator<Item = Operation> {
        self.receiver.try_iter().take(count)
    }

    /// Gives back the room of lines that were taken, when no later ones are gathered behind them.
    pub(crate) fn release_bytes(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Ends a batch of `operations` operations: true if there are more, and one more pass is to be made.
    pub(crate) fn complete(&self, operations: usize) -> bool {
        // Release: the next pass, which starts by moving `pending` from 0, sees this one's work.
        self.pending.fetch_sub(operations, Ordering::AcqRel) != operations
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("pending", &self.pending).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    fn say(inbox: &Inbox, len: usize) -> Result<Option<PassToken>, Box<[u8]>> {
        inbox.try_send_lines(vec![b'x'; len].into(), 1)
    }

    #[test]
    fn the_first_to_push_into_a_quiet_room_runs_its_pass() {
        let inbox = Inbox::new(100);
        assert!(inbox.send(Operation::Shutdown).is_some());
        assert!(inbox.send(Operation::Shutdown).is_none(), "somebody runs already");
        let operations = inbox.pending();
        assert_eq!(inbox.take(operations).count(), 2);
        assert!(inbox.send(Operation::Shutdown).is_none(), "still running");
        assert!(inbox.complete(operations), "and has to go on");
        assert_eq!(inbox.take(1).count(), 1);
        assert!(!inbox.complete(1));
        assert!(inbox.send(Operation::Shutdown).is_some(), "quiet again");
    }

    #[test]
    fn a_pass_takes_no_more_than_it_was_told() {
        let inbox = Inbox::new(100);
        for _ in 0..3 {
            let _ = inbox.send(Operation::Shutdown);
        }
        assert_eq!(inbox.take(2).count(), 2);
        assert_eq!(inbox.take(2).count(), 1);
    }

    #[test]
    fn the_budget_bounds_bytes_until_a_pass_releases_them() {
        let inbox = Inbox::new(100);
        assert!(say(&inbox, 500).is_ok(), "an empty inbox takes any one parcel");
        assert!(say(&inbox, 1).is_err());
        assert_eq!(inbox.take(1).count(), 1);
        assert!(say(&inbox, 1).is_err(), "taken, but more are still gathered behind it");
        inbox.release_bytes(500);
        assert!(say(&inbox, 60).is_ok() && say(&inbox, 40).is_ok());
        let back = say(&inbox, 1).unwrap_err();
        assert_eq!(back.len(), 1, "the lines are given back, not lost");
    }

    /// Whoever is told that a pass is due runs it: never two at a time, and nothing is left over.
    #[test]
    fn passes_never_overlap_and_take_everything() {
        const SENDERS: usize = 4;
        const SENDS: usize = 20_000;
        let (inbox, start) = (Inbox::new(usize::MAX), Barrier::new(SENDERS));
        let (running, handled) = (AtomicBool::new(false), AtomicUsize::new(0));
        let pass = |_: PassToken| loop {
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
    fn an_operation_is_small() {
        assert!(size_of::<Operation>() <= 24);
    }
}
