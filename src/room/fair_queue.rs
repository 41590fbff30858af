//! The fair queue: the order in which a room takes the lines of senders for which its inbox had no capacity.

use crate::metrics::counters::MetricsDelta;
use crate::peer::PeerId;
use crate::peer::events::PeerEvents;
use crate::room::operation::{BlockedLines, Operation};
use std::collections::{BTreeMap, HashMap};

/// The lines of blocked senders, at most one entry for each sender.
///
/// The queue is a self-clocked fair queue (Golestani, INFOCOM 1994): an entry's finish tag is the virtual time at which it
/// comes plus its bytes, the smallest tag is taken first, and the virtual time is the tag of the entry taken last. So two
/// senders that always have an entry in the queue are served equal numbers of bytes, within one entry, and a short line
/// is taken before the longer entries that came with it or later.
///
/// A sender's next entry comes after its last one was taken. The virtual time has reached the last one's tag by then, so
/// the queue keeps no tag of a sender without an entry, and may be dropped when it is empty.
#[derive(Default)]
pub(crate) struct FairQueue {
    entries: BTreeMap<FinishTag, Entry>,
    /// The tag of each sender's entry.
    tags: HashMap<PeerId, FinishTag>,
    /// The finish tag of the entry that was taken last, in bytes.
    virtual_time: u64,
    /// The number of entries so far.
    pushed: u64,
    /// The bytes of all entries.
    bytes: usize,
    /// The number of operations in all entries, which the inbox still counts.
    operations: usize,
}

/// The place of an entry in the queue. Equal tags are served in the order in which the entries came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct FinishTag {
    bytes: u64,
    number: u64,
}

/// A sender's lines, and what it sent after them.
pub(crate) struct Entry {
    pub(crate) lines: BlockedLines,
    /// Later operations of the same sender: they come after the lines, so that a sender's order is kept. A connection
    /// has few: its leave, once or for both names of a pending rename.
    pub(crate) later: Vec<Operation>,
}

impl FairQueue {
    /// Adds the lines of a sender that has no entry.
    pub(crate) fn push(&mut self, lines: BlockedLines) {
        let tag = FinishTag { bytes: self.virtual_time + lines.bytes.len() as u64, number: self.pushed };
        self.pushed += 1;
        self.bytes += lines.bytes.len();
        self.operations += 1;
        let replaced = self.tags.insert(lines.sender.peer.id(), tag);
        debug_assert!(replaced.is_none(), "a sender has one entry at most");
        self.entries.insert(tag, Entry { lines, later: Vec::new() });
    }

    /// Adds a later operation of a sender to its entry; returns the operation if the sender has none.
    pub(crate) fn defer(&mut self, sender: PeerId, operation: Operation) -> Result<(), Operation> {
        let entry = self.tags.get(&sender).and_then(|tag| self.entries.get_mut(tag));
        let Some(entry) = entry else { return Err(operation) };
        entry.later.push(operation);
        self.operations += 1;
        Ok(())
    }

    /// Returns the entry that is taken next.
    pub(crate) fn first(&self) -> Option<&Entry> {
        self.entries.first_key_value().map(|(_, entry)| entry)
    }

    /// Takes the entry of the smallest finish tag.
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        let (tag, entry) = self.entries.pop_first()?;
        self.virtual_time = tag.bytes;
        self.tags.remove(&entry.lines.sender.peer.id());
        self.bytes -= entry.lines.bytes.len();
        self.operations -= 1 + entry.later.len();
        Some(entry)
    }

    /// Returns the bytes of all entries.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the number of operations in the queue.
    pub(crate) fn operations(&self) -> usize {
        self.operations
    }

    /// Returns true if the queue has no entry.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Drop for FairQueue {
    /// Raises `ROOM_FAILED` for the senders that are left after a panic, and for the members that a later operation is
    /// about. A queue that is dropped without a panic is empty.
    fn drop(&mut self) {
        let mut metrics = MetricsDelta::default();
        for Entry { lines, later } in self.entries.values() {
            lines.sender.raise(PeerEvents::ROOM_FAILED, &mut metrics);
            for operation in later {
                if let Operation::Join(member) | Operation::Leave(member) = operation {
                    member.raise(PeerEvents::ROOM_FAILED, &mut metrics);
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "tests/fair_queue.rs"]
mod tests;
