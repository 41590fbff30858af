//! A line ring: whole lines in one ring of bytes, each with its minute.

use crate::text::time::Minute;
use memchr::memchr_iter;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The most bytes that a history's lines of one kind have, line ends counted.
pub const MAX_BYTES: usize = 64 << 10;

const _: () = assert!(MAX_BYTES.is_power_of_two(), "the capacity of a ring is rounded up to a power of two");

/// The spare capacity that is kept: less than this is not worth a reallocation.
pub(super) const SPARE_BYTES: usize = 4 << 10;

/// Lines of one kind, without a gap. The lines that were ever pushed have indices from 0, which they keep.
///
/// The lines are copied once into the ring. Slices of the passes' buffers would save that copy, but a kept line of
/// 20 bytes would keep its whole batch in memory, up to 1 MiB; and one copy costs little beside the writes of the
/// line to every member's socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct LineRing<T> {
    /// The lines, end to end, each with its LF.
    text: VecDeque<u8>,
    records: VecDeque<LineRecord<T>>,
    /// The offset at which `text` begins. Offsets count all bytes that were ever pushed, and wrap.
    start: u32,
    /// The index of the first line that is kept.
    first: u64,
}

/// The data of a line beside its text.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct LineRecord<T> {
    /// The offset at which the line ends, its LF included. Kept in place of a length, so that any line is found at
    /// once; a ring holds less than 4 GiB, so an offset may wrap.
    end: u32,
    minute: Minute,
    tag: T,
}

impl<T> Default for LineRing<T> {
    fn default() -> Self {
        Self { text: VecDeque::new(), records: VecDeque::new(), start: 0, first: 0 }
    }
}

impl<T: Copy> LineRing<T> {
    /// Returns the number of lines.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns the index of the first line that is kept.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Returns the index of the next line that is pushed.
    pub(super) fn end(&self) -> u64 {
        self.first + self.records.len() as u64
    }

    /// Returns the tag of the line `index`, which is kept.
    pub(super) fn tag(&self, index: u64) -> T {
        self.records[self.place(index)].tag
    }

    /// Returns the length of the line `index`, which is kept, its LF included.
    pub(super) fn length(&self, index: u64) -> usize {
        let place = self.place(index);
        self.records[place].end.wrapping_sub(self.begin(place)) as usize
    }

    /// Returns the minute and the text, without its LF, of each line from the index `from` to the index `end`.
    pub(super) fn lines(&mut self, from: u64, end: u64) -> impl Iterator<Item = (Minute, T, &[u8])> {
        let (from, end) = (self.place(from), self.place(end));
        let mut begin = self.begin(from).wrapping_sub(self.start) as usize;
        let start = self.start;
        let text = &*self.text.make_contiguous();
        self.records.range(from..end).map(move |record| {
            let end = record.end.wrapping_sub(start) as usize;
            let line = &text[begin..end - 1];
            begin = end;
            (record.minute, record.tag, line)
        })
    }

    /// Drops all lines and counts `skipped` more, which are never kept.
    pub(super) fn skip(&mut self, skipped: u64) {
        self.first = self.end() + skipped;
        self.start = self.begin(self.records.len());
        self.text.clear();
        self.records.clear();
    }

    /// Drops the oldest lines until `lines` lines and `bytes` bytes more are within `max_lines` and [`MAX_BYTES`].
    pub(super) fn evict_for(&mut self, lines: usize, bytes: usize, max_lines: usize) {
        let most = max_lines.saturating_sub(lines);
        let mut evicted = 0;
        while self.len() > most || (self.len() > 0 && self.text.len() - evicted + bytes > MAX_BYTES) {
            evicted += self.length(self.first);
            self.pop_record();
        }
        self.text.drain(..evicted);
    }

    /// Drops the oldest line.
    pub(super) fn evict_oldest(&mut self) {
        let evicted = self.length(self.first);
        self.pop_record();
        self.text.drain(..evicted);
    }

    /// Appends lines, each with its LF, that were said in one minute.
    pub(super) fn append(&mut self, lines: &[u8], minute: Minute, tag: T) {
        self.reserve(lines.len());
        let base = self.begin(self.records.len());
        self.text.extend(lines);
        for end in memchr_iter(b'\n', lines) {
            // Offsets wrap.
            #[allow(clippy::cast_possible_truncation, reason = "offsets wrap")]
            let end = base.wrapping_add(end as u32 + 1);
            self.records.push_back(LineRecord { end, minute, tag });
        }
    }

    /// Frees capacity when lines are much shorter than the earlier ones that it was reserved for.
    pub(super) fn shrink(&mut self) {
        let spare = (2 * self.text.len()).max(SPARE_BYTES);
        if self.text.capacity() > 2 * spare {
            self.text.shrink_to(spare);
        }
    }

    /// Returns the reserved memory in bytes of text and in lines.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> (usize, usize) {
        (self.text.capacity(), self.records.capacity())
    }

    /// Returns the reserved memory in bytes.
    pub(super) fn memory(&self) -> usize {
        self.text.capacity() + self.records.capacity() * size_of::<LineRecord<T>>()
    }

    /// Returns the number of bytes, line ends counted.
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Returns the place in `records` of the line `index`.
    fn place(&self, index: u64) -> usize {
        // A kept line's distance from the first is below the number of lines in memory.
        usize::try_from(index - self.first).unwrap_or(usize::MAX)
    }

    /// Returns the offset at which the line at `place` begins.
    fn begin(&self, place: usize) -> u32 {
        if place == 0 { self.start } else { self.records[place - 1].end }
    }

    fn pop_record(&mut self) {
        if let Some(record) = self.records.pop_front() {
            self.start = record.end;
            self.first += 1;
        }
    }

    /// Reserves capacity for `count` more bytes, rounded up to a power of two. [`MAX_BYTES`] is one, so the capacity is
    /// within it where the bytes are.
    fn reserve(&mut self, count: usize) {
        let wanted = self.text.len() + count;
        if wanted > self.text.capacity() {
            self.text.reserve_exact(wanted.next_power_of_two() - self.text.len());
        }
    }
}
