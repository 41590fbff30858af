//! Tests of the fair queue against a model: which entry is taken next, and that none is lost.

use super::*;
use crate::config::SlowReader;
use crate::limits::memory::MemoryCharge;
use crate::peer::Peer;
use crate::peer::byte_sink::ByteSink;
use crate::peer::events::MembershipSlot;
use crate::room::operation::{MemberRef, Requester};
use crate::room::roster::MemberKey;
use crate::text::names::UserName;
use proptest::prelude::*;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::task::{Context, Waker};

struct NullSink;

impl ByteSink for NullSink {
    fn try_write(&self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }
}

fn lines(sender: u64, len: usize) -> BlockedLines {
    let peer = Arc::new(Peer::new(PeerId(sender), 0, SlowReader::Skip, NullSink));
    let charge = MemoryCharge::default();
    let sender = Requester { peer, slot: MembershipSlot::A };
    BlockedLines { bytes: vec![b'x'; len].into(), lines: 1, sender, charge }
}

/// Takes an entry; returns its sender and its bytes.
fn pop(queue: &mut FairQueue) -> Option<(u64, usize)> {
    queue.pop().map(|entry| (entry.lines.sender.peer.id().0, entry.lines.bytes.len()))
}

#[test]
fn short_lines_are_taken_before_longer_entries_that_came_earlier() {
    let mut queue = FairQueue::default();
    for (sender, len) in [(1, 16_000), (2, 16_000), (3, 20), (4, 16_000), (5, 20)] {
        queue.push(lines(sender, len));
    }
    let order: Vec<_> = std::iter::from_fn(|| pop(&mut queue)).map(|(sender, _)| sender).collect();
    assert_eq!(order, [3, 5, 1, 2, 4], "equal entries are taken in the order in which they came");
}

#[test]
fn sender_of_short_lines_does_not_starve_a_sender_of_long_ones() {
    let mut queue = FairQueue::default();
    queue.push(lines(1, 1_000));
    queue.push(lines(2, 10));
    let mut short = 0;
    while let (2, _) = pop(&mut queue).unwrap() {
        short += 10;
        queue.push(lines(2, 10));
    }
    assert!((980..=1_000).contains(&short), "{short} bytes of the short lines were taken before the long entry");
}

#[test]
fn later_operations_stay_with_the_lines_of_their_sender() {
    let mut queue = FairQueue::default();
    queue.push(lines(1, 10));
    assert!(queue.defer(PeerId(2), Operation::Shutdown).is_err(), "the sender has no lines in the queue");
    assert!(queue.defer(PeerId(1), Operation::FlushInput).is_ok());
    assert!(queue.defer(PeerId(1), Operation::Shutdown).is_ok());
    assert_eq!((queue.operations(), queue.bytes()), (3, 10));
    let entry = queue.pop().unwrap();
    assert!(matches!(entry.later[..], [Operation::FlushInput, Operation::Shutdown]));
    assert!(queue.is_empty() && queue.operations() == 0 && queue.bytes() == 0);
}

proptest! {
    /// Each sender has an entry at all times. The numbers of bytes that two of them were served differ by one entry at
    /// most, after each entry that is taken.
    #[test]
    fn senders_that_always_wait_are_served_equal_bytes(
        lengths in prop::collection::vec(prop::collection::vec(1_usize..17_000, 1..8), 2..8),
        takes in 1_usize..300,
    ) {
        let mut queue = FairQueue::default();
        let mut served = vec![(0, 0); lengths.len()];
        let next = |sender: usize, count: usize| lengths[sender][count % lengths[sender].len()];
        for sender in 0..lengths.len() {
            queue.push(lines(sender as u64, next(sender, 0)));
        }
        for _ in 0..takes {
            let (sender, len) = pop(&mut queue).unwrap();
            let (bytes, count) = &mut served[usize::try_from(sender).unwrap()];
            *bytes += len;
            *count += 1;
            queue.push(lines(sender, next(usize::try_from(sender).unwrap(), *count)));
            let longest = lengths.iter().flatten().max().unwrap();
            let (least, most) = (served.iter().min().unwrap().0, served.iter().max().unwrap().0);
            prop_assert!(most - least <= *longest, "{served:?}");
        }
    }

    /// Entries come and are taken in any order: each is taken once, after it came, and the sums are exact.
    #[test]
    fn every_entry_is_taken_once(steps in prop::collection::vec((0_u64..6, 1_usize..100, any::<bool>()), 0..200)) {
        let (mut queue, mut waiting) = (FairQueue::default(), HashMap::new());
        for (sender, len, is_push) in steps {
            if !is_push {
                let taken = pop(&mut queue);
                prop_assert_eq!(taken.is_some(), !waiting.is_empty());
                if let Some((sender, len)) = taken {
                    prop_assert_eq!(waiting.remove(&sender), Some(len));
                }
            } else if let Entry::Vacant(vacant) = waiting.entry(sender) {
                queue.push(lines(sender, len));
                vacant.insert(len);
            }
            prop_assert_eq!(queue.bytes(), waiting.values().sum::<usize>());
            prop_assert_eq!(queue.operations(), waiting.len());
            prop_assert_eq!(queue.first().is_none(), waiting.is_empty());
            prop_assert_eq!(queue.tags.len(), waiting.len(), "the queue keeps a tag of waiting senders alone");
        }
        while pop(&mut queue).is_some() {}
    }
}

/// A panic of a pass drops the queue: no other room event follows for these peers.
#[test]
fn dropped_queue_tells_its_senders_and_the_members_of_later_operations_that_the_room_failed() {
    let peers = [1, 2].map(|id| Arc::new(Peer::new(PeerId(id), 0, SlowReader::Skip, NullSink)));
    let mut queue = FairQueue::default();
    let sender = Requester { peer: Arc::clone(&peers[0]) as _, slot: MembershipSlot::A };
    queue.push(BlockedLines { sender, ..lines(1, 10) });
    let key = MemberKey { name: UserName::parse("bob").unwrap(), disambiguator: None, slot: MembershipSlot::B };
    let leaver = MemberRef { key, peer: Arc::clone(&peers[1]) as _ };
    assert!(queue.defer(PeerId(1), Operation::Leave(Box::new(leaver))).is_ok());
    drop(queue);
    let events = peers.map(|peer| peer.take_events(&Context::from_waker(Waker::noop())));
    assert_eq!(events, [MembershipSlot::A, MembershipSlot::B].map(|slot| PeerEvents::ROOM_FAILED.in_slot(slot)));
}
