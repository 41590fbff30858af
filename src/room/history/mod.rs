//! A room's history: its last lines, bounded in lines and in bytes.
//!
//! The room's pass is its only reader and writer, because `/last` is an operation in the inbox. So the
//! history needs no lock and no snapshot, and the shown lines are in the order of the room's lines.
//!
//! Talk and notices are kept apart and bounded apart, so that joins and leaves push no talk out.

mod line_ring;

pub use line_ring::MAX_BYTES;

use crate::limits::memory::{MemoryBudget, MemoryCharge, MemoryPressure};
use crate::peer::line_batch::TimedLines;
use crate::room::line_runs::{LineKind, LineRuns};
use crate::text::replies;
use crate::text::time::Minute;
use line_ring::LineRing;
use memchr::{memchr_iter, memrchr_iter};
use serde::{Deserialize, Serialize};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Range;
use std::sync::Arc;

/// The most notices that a history keeps, whatever the number of its lines: a few kilobytes.
const MAX_NOTICES: usize = 64;

/// The last lines of a room: as many talk lines without a gap as are within both bounds, and the last notices among
/// them. A line longer than [`MAX_BYTES`] leaves no talk before it.
///
/// A history's memory is charged to a budget. While that is full, a new line takes the place of older ones, and a history
/// grows only by its newest line.
#[derive(Clone, Debug)]
pub struct History {
    talk: LineRing<()>,
    /// The notices, each tagged with the number of talk lines that came before it: that is its place among them.
    notices: LineRing<u64>,
    /// The most talk lines; 0 keeps no line and allocates nothing.
    max_lines: usize,
    /// The memory of both rings. A copy of the history is charged, too.
    charge: MemoryCharge,
    /// A random number of this history, which is not 0: the numbers of lines of another one say nothing about it.
    numbering: u32,
    /// Whether a member has asked for the numbers of lines.
    numbers_lines: bool,
}

/// The lines of a history, as another process continues it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MovedHistory {
    talk: LineRing<()>,
    notices: LineRing<u64>,
    numbering: u32,
    numbers_lines: bool,
}

/// A place in a history: the number of talk lines and of notices that were pushed before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HistoryOffset {
    talk: u64,
    notices: u64,
}

impl History {
    /// Creates an empty history of at most `max_lines` talk lines of [`MAX_BYTES`] bytes, and as many notices, but
    /// 64 at most.
    #[must_use]
    pub fn new(max_lines: usize) -> Self {
        Self::with_charge(max_lines, MemoryCharge::default())
    }

    /// Creates an empty history, as [`History::new`] does, whose memory is charged to `memory`.
    pub(crate) fn with_memory(max_lines: usize, memory: &Arc<MemoryBudget>) -> Self {
        Self::with_charge(max_lines, MemoryCharge::new(Some(memory)))
    }

    /// Returns a copy of the lines for another process.
    pub(super) fn export(&self) -> MovedHistory {
        let Self { numbering, numbers_lines, .. } = *self;
        MovedHistory { talk: self.talk.clone(), notices: self.notices.clone(), numbering, numbers_lines }
    }

    /// Goes on with the lines of another process, as far as this one keeps so many.
    pub(super) fn import(&mut self, MovedHistory { talk, notices, numbering, numbers_lines }: MovedHistory) {
        (self.talk, self.notices) = (talk, notices);
        (self.numbering, self.numbers_lines) = (numbering, numbers_lines);
        self.talk.evict_for(0, 0, self.max_lines);
        self.notices.evict_for(0, 0, self.max_lines.min(MAX_NOTICES));
        self.evict_notices();
        self.charge.set(self.talk.memory() + self.notices.memory());
    }

    fn with_charge(max_lines: usize, charge: MemoryCharge) -> Self {
        let (talk, notices) = (LineRing::default(), LineRing::default());
        Self { talk, notices, max_lines, charge, numbering: random_numbering(), numbers_lines: false }
    }

    /// Returns the number of lines.
    #[must_use]
    pub fn len(&self) -> usize {
        self.talk.len() + self.notices.len()
    }

    /// Returns true if there is no line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops all lines and their memory. Later lines have another numbering.
    pub fn clear(&mut self) {
        *self = Self::with_charge(self.max_lines, MemoryCharge::new(self.charge.budget()));
    }

    /// Drops all lines. The numbering stays, and the numbers of later lines go on.
    pub(super) fn drop_lines(&mut self) {
        self.talk.skip(0);
        self.notices.skip(0);
    }

    /// Appends the lines in `batch` that `runs` names, all said in `minute`.
    ///
    /// The runs are scanned from their end, and only as far as lines are kept: a batch of 1 MiB costs as much as
    /// its last 64 KiB, and a batch of 10,000 joins as much as 64.
    pub(crate) fn push(&mut self, minute: Minute, batch: &[u8], runs: &LineRuns) {
        if self.max_lines == 0 {
            return;
        }
        let (talk_before, bytes_before) = (self.talk.end(), self.talk.bytes());
        let mut talk = Newest::new(batch.len(), self.max_lines);
        let mut notices = Newest::new(batch.len(), self.max_lines.min(MAX_NOTICES));
        for part in runs.after(0).rev() {
            let newest = if part.kind == LineKind::Talk { &mut talk } else { &mut notices };
            newest.take(batch, part.lines);
            if talk.is_full && notices.is_full {
                break;
            }
        }
        talk.prepare(&mut self.talk, runs.count(LineKind::Talk));
        notices.prepare(&mut self.notices, runs.count(LineKind::Notice));
        for part in runs.after(talk.from.min(notices.from)) {
            let from = if part.kind == LineKind::Talk { talk.from } else { notices.from };
            let lines = &batch[part.lines.start.max(from).min(part.lines.end)..part.lines.end];
            match part.kind {
                LineKind::Talk => self.talk.append(lines, minute, ()),
                LineKind::Notice => self.notices.append(lines, minute, talk_before + part.talk),
            }
        }
        if self.charge.pressure() == MemoryPressure::Full {
            while self.talk.bytes() > bytes_before && self.talk.len() > 1 {
                self.talk.evict_oldest();
            }
        }
        self.evict_notices();
        self.talk.shrink();
        self.notices.shrink();
        self.charge.set(self.talk.memory() + self.notices.memory());
    }

    /// Returns the last `count` lines as a peer is shown them, oldest first.
    pub(crate) fn render_last(&mut self, count: usize) -> TimedLines {
        self.render_before(self.end(), count)
    }

    /// Returns the number of this history, which is not 0.
    pub(super) fn numbering(&self) -> u32 {
        self.numbering
    }

    /// Returns the number of the next talk line. The first one is 1; notices have none.
    pub(super) fn next_id(&self) -> u64 {
        self.talk.end() + 1
    }

    /// Notes that a member wants the numbers of lines.
    pub(super) fn number_lines(&mut self) {
        self.numbers_lines = true;
    }

    /// Returns whether a member has asked for the numbers of lines.
    pub(super) fn numbers_lines(&self) -> bool {
        self.numbers_lines
    }

    /// Adds the talk lines after the number `last_id` as a peer is shown them, oldest first, after the number of those that
    /// are gone.
    pub(super) fn render_after(&mut self, last_id: u64, shown: &mut TimedLines) {
        // The index of a line is its number less 1.
        let (first, end) = (self.talk.first(), self.talk.end());
        let from = last_id.max(first).min(end);
        if from > last_id {
            let (gone, next) = (from - last_id, from + 1);
            shown.push(Minute::now(), 1, |out| replies::push_ids_gone(out, gone, next));
        }
        for (id, (minute, (), line)) in (from + 1..).zip(self.talk.lines(from, end)) {
            shown.push(minute, 1, |out| replies::push_recalled_with_id(out, id, line));
        }
    }

    /// Returns the place after the newest line.
    pub(super) fn end(&self) -> HistoryOffset {
        HistoryOffset { talk: self.talk.end(), notices: self.notices.end() }
    }

    /// Appends all lines of `part` in memory that is not bounded: for a copy of a history.
    pub(super) fn append_unbounded(&mut self, kind: LineKind, minute: Minute, lines: &[u8]) {
        match kind {
            LineKind::Talk => self.talk.append(lines, minute, ()),
            LineKind::Notice => self.notices.append(lines, minute, self.talk.end()),
        }
        self.charge.set(self.talk.memory() + self.notices.memory());
    }

    /// Returns the last `count` lines before `end` as a peer is shown them, oldest first.
    pub(super) fn render_before(&mut self, end: HistoryOffset, count: usize) -> TimedLines {
        let mut shown = TimedLines::default();
        self.visit_before(end, count, |minute, _, line| {
            shown.push(minute, 1, |out| replies::push_recalled(out, line));
        });
        shown
    }

    /// Passes each line to `visit`, oldest first.
    pub(super) fn visit_all(&mut self, visit: impl FnMut(Minute, LineKind, &[u8])) {
        self.visit_before(self.end(), self.len(), visit);
    }

    /// Passes the last `count` lines before `end` to `visit`, oldest first.
    fn visit_before(&mut self, end: HistoryOffset, count: usize, mut visit: impl FnMut(Minute, LineKind, &[u8])) {
        let from = self.first_shown(end, count);
        let mut notices = self.notices.lines(from.notices, end.notices).peekable();
        for (index, (minute, (), line)) in (from.talk..).zip(self.talk.lines(from.talk, end.talk)) {
            while let Some((minute, _, line)) = notices.next_if(|(_, talk_before, _)| *talk_before <= index) {
                visit(minute, LineKind::Notice, line);
            }
            visit(minute, LineKind::Talk, line);
        }
        notices.for_each(|(minute, _, line)| visit(minute, LineKind::Notice, line));
    }

    /// Returns the place at which the last `count` lines before `end` begin. At most half of them, rounded up, are
    /// notices, unless there is less talk. The talk in them has at most [`MAX_BYTES`] bytes.
    fn first_shown(&self, end: HistoryOffset, count: usize) -> HistoryOffset {
        let talk = usize::try_from(end.talk - self.talk.first()).unwrap_or(usize::MAX);
        let mut notices_left = count.div_ceil(2).max(count.saturating_sub(talk));
        let (mut first, mut bytes_left) = (end, MAX_BYTES);
        for _ in 0..count {
            let has_talk = first.talk > self.talk.first();
            let is_notice = first.notices > self.notices.first()
                && notices_left > 0
                && (!has_talk || self.notices.tag(first.notices - 1) >= first.talk);
            if is_notice {
                first.notices -= 1;
                notices_left -= 1;
                continue;
            }
            let length = if has_talk { self.talk.length(first.talk - 1) } else { usize::MAX };
            if length > bytes_left {
                break;
            }
            bytes_left -= length;
            first.talk -= 1;
        }
        first
    }

    /// Drops the notices that are older than a talk line that was dropped: between them and the talk that is kept
    /// would be a gap.
    fn evict_notices(&mut self) {
        while self.notices.len() > 0 && self.notices.tag(self.notices.first()) < self.talk.first() {
            self.notices.evict_oldest();
        }
    }
}

/// Returns a number that no earlier history had, most likely, and that is not 0.
fn random_numbering() -> u32 {
    // The standard library's hashers are seeded at random, each anew.
    let random = RandomState::new().build_hasher().finish();
    u32::try_from(random >> 32).unwrap_or(1).max(1)
}

/// The newest lines of one kind in a batch, taken from its end.
struct Newest {
    /// The place in the batch from which on the lines are taken.
    from: usize,
    lines: usize,
    bytes: usize,
    max_lines: usize,
    /// True if no earlier line is taken.
    is_full: bool,
}

impl Newest {
    /// Creates a selection of no line of a batch that ends at `end`.
    fn new(end: usize, max_lines: usize) -> Self {
        Self { from: end, lines: 0, bytes: 0, max_lines, is_full: false }
    }

    /// Takes the last of the lines at `place` that are within both bounds.
    fn take(&mut self, batch: &[u8], place: Range<usize>) {
        if self.is_full {
            return;
        }
        let end = place.end;
        let (taken, is_whole) = newest(&batch[place], self.max_lines - self.lines, MAX_BYTES - self.bytes);
        self.lines += memchr_iter(b'\n', taken).count();
        self.bytes += taken.len();
        self.is_full = !is_whole || self.lines == self.max_lines;
        self.from = end - taken.len();
    }

    /// Makes capacity in `ring` for the lines, of whose kind the batch has `total`.
    fn prepare<T: Copy>(&self, ring: &mut LineRing<T>, total: u64) {
        let skipped = total - self.lines as u64;
        if skipped > 0 {
            // Older lines before the new ones would leave a gap.
            ring.skip(skipped);
        }
        ring.evict_for(self.lines, self.bytes, self.max_lines);
    }
}

/// Returns the last of `lines` that are within both bounds, and true if these are all of them.
fn newest(lines: &[u8], max_lines: usize, max_bytes: usize) -> (&[u8], bool) {
    let least = lines.len().saturating_sub(max_bytes);
    let mut from = lines.len();
    // A line begins after the end of the line before, and the first one at 0.
    let ends = memrchr_iter(b'\n', &lines[least.saturating_sub(1)..lines.len().saturating_sub(1)]);
    let begins = ends.map(|end| least.saturating_sub(1) + end + 1).chain((least == 0).then_some(0));
    for begin in begins.take(max_lines) {
        from = begin;
    }
    (&lines[from..], from == 0)
}

#[cfg(test)]
mod tests;
