//! Tests of the inbox: when passes are due, and what its capacity bounds.

use super::*;
use crate::config::SlowReader;
use crate::limits::memory::MemoryCharge;
use crate::peer::byte_sink::ByteSink;
use crate::peer::events::MembershipSlot;
use crate::peer::{Peer, PeerId};
use crate::room::operation::Requester;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Barrier};
use std::thread;

/// A sender of lines, of which the inbox keeps nothing.
struct NullSink;

impl ByteSink for NullSink {
    fn try_write(&self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }
}

fn send_bytes(inbox: &Inbox, len: usize) -> SendStatus {
    let block = |bytes, lines| {
        let peer = Arc::new(Peer::new(PeerId(1), 0, SlowReader::Skip, NullSink));
        let charge = MemoryCharge::default();
        BlockedLines { bytes, lines, sender: Requester { peer, slot: MembershipSlot::A }, charge }
    };
    inbox.send_lines((vec![b'x'; len].into(), 1), 0, block).0
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
    let inbox = Inbox::new(1_000);
    assert_eq!(send_bytes(&inbox, 5_000), SendStatus::Accepted, "an empty inbox takes any number of bytes");
    assert_eq!(inbox.take(1).count(), 1);
    inbox.release_bytes(5_000);
    assert_eq!(send_bytes(&inbox, 700), SendStatus::Accepted);
    assert_eq!(send_bytes(&inbox, 50), SendStatus::Accepted, "three quarters are for lines that are accepted at once");
    assert_eq!(send_bytes(&inbox, 1), SendStatus::Blocked);
    let sent: Vec<_> = inbox.take(3).collect();
    assert!(matches!(&sent[..], [_, _, Operation::SendBlockedLines(lines)] if lines.bytes.len() == 1));
}

#[test]
fn no_lines_are_accepted_while_lines_are_blocked() {
    let inbox = Inbox::new(1_000);
    assert_eq!(send_bytes(&inbox, 750), SendStatus::Accepted);
    assert_eq!((send_bytes(&inbox, 9), send_bytes(&inbox, 9)), (SendStatus::Blocked, SendStatus::Blocked));
    inbox.release_bytes(750);
    assert_eq!(send_bytes(&inbox, 1), SendStatus::Blocked, "the inbox has capacity, but others came first");
    inbox.accept_blocked(9);
    inbox.drop_blocked(2);
    assert_eq!(send_bytes(&inbox, 741), SendStatus::Accepted);
    assert_eq!(send_bytes(&inbox, 1), SendStatus::Blocked, "lines that are taken from the blocked ones are counted");
}

#[test]
fn batch_capacity_follows_the_number_of_members_within_its_bounds() {
    let inbox = Inbox::new(1 << 20);
    let capacity = |members| {
        inbox.set_members(members);
        inbox.batch_capacity()
    };
    assert_eq!([0, 1, 20].map(capacity), [1 << 20; 3], "the settings bound it in a small room");
    assert_eq!(capacity(500), DELIVERED_BYTES / 500);
    assert_eq!(capacity(100_000), MIN_CAPACITY);
    let small = Inbox::new(1_000);
    small.set_members(100_000);
    assert_eq!(small.batch_capacity(), 1_000, "the settings may be below the least capacity");
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
