//! How far one member is in its room's common order, and what is known of it once it has left that order.

use std::collections::{HashSet, VecDeque};

use crate::clock::Tick;

/// A member's place.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    /// The next byte of the log to be received.
    pub(crate) at: usize,
    /// The line that this byte belongs to.
    pub(crate) line: usize,
    /// Bytes of an unfinished line that isn't in the log; empty nearly always.
    pub(crate) partial: Vec<u8>,
    /// What is kept once the member has seen something other than the others.
    pub(crate) divergence: Option<Box<Divergence>>,
    /// Lines received, each counted once.
    pub(crate) delivered: u64,
    /// What the member does.
    pub(crate) state: MemberState,
    /// Whether it was refused, and the reason is still to come.
    pub(crate) refusal_pending: bool,
    /// The newcomers that it was told of: a bit for each member.
    announced: Vec<u64>,
}

impl Cursor {
    /// Notes that it was told of a newcomer. Returns whether that was new to it.
    pub(crate) fn record_join_notice(&mut self, newcomer: usize) -> bool {
        let (word, bit) = (newcomer / 64, 1 << (newcomer % 64));
        if word >= self.announced.len() {
            self.announced.resize(word + 1, 0);
        }
        let new = self.announced[word] & bit == 0;
        self.announced[word] |= bit;
        new
    }
}

/// Where a member is on its way through the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum MemberState {
    /// Not in its room yet.
    #[default]
    Joining,
    /// In its room.
    Joined,
    /// Its connection has ended.
    Left,
}

/// A line that a stray has received but the log has not.
#[derive(Debug)]
pub(crate) struct PendingLine {
    /// Who said it.
    pub(crate) sender: usize,
    /// Which one of its sender's lines it is.
    pub(crate) sequence: u32,
    /// When it was planned.
    pub(crate) planned: Tick,
    /// Whether a later line of its sender came before it.
    pub(crate) late: bool,
    /// Its bytes.
    pub(crate) raw: Vec<u8>,
}

/// The bookkeeping of a member that no longer receives what the others do: every line is checked on its own.
#[derive(Debug)]
pub(crate) struct Divergence {
    /// The next sequence of each sender.
    pub(crate) next: Vec<u32>,
    /// Lines that were jumped over.
    pub(crate) missing: HashSet<(usize, u32)>,
    /// Lines received that have no place in the log yet.
    pub(crate) pending: VecDeque<PendingLine>,
}

/// What a line means to a stray.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The next one of its sender, or one after a gap.
    New,
    /// One that had been jumped over.
    Late,
    /// One that had come before.
    Duplicate,
}

impl Divergence {
    /// A stray that expects these sequences next.
    pub(crate) fn new(next: Vec<u32>) -> Self {
        Self { next, missing: HashSet::new(), pending: VecDeque::new() }
    }

    /// Notes a line, and tells how it stands to the lines of the same sender before it.
    pub(crate) fn classify(&mut self, sender: usize, sequence: u32) -> Arrival {
        let next = self.next[sender];
        if sequence >= next {
            self.missing.extend((next..sequence).map(|sequence| (sender, sequence)));
            self.next[sender] = sequence + 1;
            return Arrival::New;
        }
        if self.missing.remove(&(sender, sequence)) { Arrival::Late } else { Arrival::Duplicate }
    }
}
