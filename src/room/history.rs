//! A room's history: its last lines, bounded in lines and in bytes.
//!
//! The room's pass is its only reader and writer, because `/last` is an operation in the inbox. So the
//! history needs no lock and no snapshot, a push allocates nothing once the capacity is there, and the
//! shown lines are in the order of the room's lines.
//!
//! The lines are copied once into one ring of bytes. Slices of the passes' buffers would save that copy,
//! but a kept line of 20 bytes would keep its whole batch in memory, up to 1 MiB; and one copy costs little
//! beside the writes of the line to every member's socket.

use crate::text::replies;
use memchr::{memchr_iter, memrchr, memrchr_iter};
use std::collections::VecDeque;

/// The most bytes that a room's history holds, line ends counted.
pub const MAX_BYTES: usize = 64 << 10;

/// The spare capacity that is kept: less than this is not worth a reallocation.
const SPARE_BYTES: usize = 4 << 10;

/// The last lines of a room: as many whole lines without a gap as are within both bounds. A line longer
/// than [`MAX_BYTES`] leaves the history empty.
#[derive(Debug, Default)]
pub struct History {
    /// The lines, end to end, each with its LF.
    text: VecDeque<u8>,
    /// The length of each line with its LF, the oldest line first: four bytes a line.
    lengths: VecDeque<u32>,
    /// The most lines; 0 keeps no line and allocates nothing.
    max_lines: usize,
}

impl History {
    /// Creates an empty history of at most `max_lines` lines and [`MAX_BYTES`] bytes.
    #[must_use]
    pub fn new(max_lines: usize) -> Self {
        Self { max_lines, ..Self::default() }
    }

    /// Returns the number of lines.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Returns true if there is no line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Drops all lines and their memory.
    pub fn clear(&mut self) {
        *self = Self::new(self.max_lines);
    }

    /// Appends a batch's lines, end to end, each with its LF.
    ///
    /// The lines are scanned from their end, and only as far as they are kept: a batch of 1 MiB costs as
    /// much as its last 64 KiB.
    pub fn push(&mut self, lines: &[u8]) {
        let lines = &lines[..memrchr(b'\n', lines).map_or(0, |end| end + 1)];
        if lines.is_empty() || self.max_lines == 0 {
            return;
        }
        let (new, whole) = newest(lines, self.max_lines);
        if whole {
            self.evict_for(new);
        } else {
            // Only the last of the new lines are kept: older lines before them would leave a gap.
            self.text.clear();
            self.lengths.clear();
        }
        self.reserve(new.len());
        self.text.extend(new);
        self.record_lengths(new);
        self.shrink();
    }

    /// Returns the last `count` lines, oldest first, without their line ends.
    pub fn last(&mut self, count: usize) -> impl Iterator<Item = &[u8]> {
        let lengths = self.lengths.range(self.len().saturating_sub(count)..);
        let bytes: usize = lengths.clone().map(|length| *length as usize).sum();
        let from = self.text.len() - bytes;
        let mut rest = &self.text.make_contiguous()[from..];
        lengths.map(move |length| {
            let (line, after) = rest.split_at(*length as usize);
            rest = after;
            &line[..line.len() - 1]
        })
    }

    /// Returns the last `count` lines as a peer is shown them, oldest first, and their number.
    pub(crate) fn render_last(&mut self, count: usize) -> (Vec<u8>, u64) {
        let mut shown = (Vec::new(), 0);
        for line in self.last(count) {
            replies::push_recalled(&mut shown.0, line);
            shown.1 += 1;
        }
        shown
    }

    /// Drops the oldest lines that the bounds exclude once `new` is appended.
    fn evict_for(&mut self, new: &[u8]) {
        let spare = self.max_lines - memchr_iter(b'\n', new).count();
        let mut bytes = 0;
        while self.len() > spare || self.text.len() - bytes + new.len() > MAX_BYTES {
            // Not empty: the new lines alone are within both bounds.
            bytes += self.lengths.pop_front().unwrap_or_default() as usize;
        }
        self.text.drain(..bytes);
    }

    /// Reserves capacity for `count` more bytes, and for [`MAX_BYTES`] in all at most.
    fn reserve(&mut self, count: usize) {
        let wanted = self.text.len() + count;
        if wanted > self.text.capacity() {
            let capacity = wanted.next_power_of_two().min(MAX_BYTES);
            self.text.reserve_exact(capacity - self.text.len());
        }
    }

    /// Appends the lengths of the new lines.
    fn record_lengths(&mut self, new: &[u8]) {
        let mut from = 0;
        for end in memchr_iter(b'\n', new) {
            // At most MAX_BYTES, which a u32 holds.
            self.lengths.push_back(u32::try_from(end + 1 - from).unwrap_or_default());
            from = end + 1;
        }
    }

    /// Frees capacity when lines are much shorter than the earlier ones that it was reserved for.
    fn shrink(&mut self) {
        let spare = (2 * self.text.len()).max(SPARE_BYTES);
        if self.text.capacity() > 2 * spare {
            self.text.shrink_to(spare);
        }
    }
}

/// Returns the last of `lines` that are within both bounds, and true if these are all of them.
pub(crate) fn newest(lines: &[u8], max_lines: usize) -> (&[u8], bool) {
    let least = lines.len().saturating_sub(MAX_BYTES);
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(history: &mut History, count: usize) -> Vec<String> {
        history.last(count).map(|line| String::from_utf8(line.to_vec()).unwrap()).collect()
    }

    #[test]
    fn last_lines_are_in_order() {
        let mut history = History::new(3);
        assert_eq!((texts(&mut history, 9), history.is_empty()), (vec![], true));
        history.push(b"a: 1\n");
        history.push(b"a: 2\n\nb: 3\n");
        assert_eq!(texts(&mut history, 9), ["a: 2", "", "b: 3"]);
        assert_eq!(texts(&mut history, 1), ["b: 3"]);
        assert_eq!(texts(&mut history, 0), [""; 0]);
        history.push(b"");
        history.push(b"c: 4\nunfinished");
        assert_eq!(texts(&mut history, 9), ["", "b: 3", "c: 4"]);
    }

    #[test]
    fn history_of_no_lines_allocates_nothing() {
        let mut history = History::new(0);
        history.push(&b"a: hello\n".repeat(1_000));
        assert_eq!((history.len(), history.text.capacity(), history.lengths.capacity()), (0, 0, 0));
    }

    #[test]
    fn line_beyond_the_bound_leaves_no_gap() {
        let mut history = History::new(100);
        let mut longest = vec![b'x'; MAX_BYTES];
        longest[MAX_BYTES - 1] = b'\n';
        history.push(b"a: 1\n");
        history.push(&longest);
        assert_eq!((history.len(), history.text.len()), (1, MAX_BYTES));
        longest.insert(0, b'x');
        history.push(b"a: 2\n");
        history.push(&longest);
        assert!(history.is_empty());
        history.push(b"a: 3\n");
        assert_eq!(texts(&mut history, 9), ["a: 3"]);
    }

    #[test]
    fn push_scans_only_the_end_of_a_large_batch() {
        // A scan of the whole batch would read 60 GB in 10,000 pushes.
        let batch = b"user: hello\n".repeat(500_000);
        let mut history = History::new(100);
        for _ in 0..10_000 {
            history.push(&batch);
        }
        assert_eq!((history.len(), history.text.len()), (100, 1_200));
    }

    #[test]
    fn capacity_is_bounded_and_freed() {
        let mut history = History::new(100);
        let long = [&[b'x'; 999][..], b"\n"].concat();
        for _ in 0..200 {
            history.push(&long);
        }
        assert!((60_000..=MAX_BYTES).contains(&history.text.capacity()), "{}", history.text.capacity());
        for _ in 0..200 {
            history.push(b"short\n");
        }
        assert_eq!(history.len(), 100);
        assert!(history.text.capacity() <= 2 * SPARE_BYTES, "{}", history.text.capacity());
    }

    proptest! {
        /// The history equals the end of a list of all lines, however the lines come in batches.
        #[test]
        fn history_is_the_end_of_all_pushed_lines(
            batches in prop::collection::vec(prop::collection::vec(
                prop_oneof![8 => 0usize..30, 1 => 0usize..70_000], 0..12), 0..12),
            max_lines in 0usize..20,
            count in 0usize..25,
        ) {
            let mut history = History::new(max_lines);
            let mut all: Vec<String> = Vec::new();
            for batch in batches {
                let lines: Vec<String> = batch.iter().map(|&length| "x".repeat(length)).collect();
                let numbered = lines.iter().enumerate().map(|(at, line)| format!("{}{line}\n", all.len() + at));
                let lines: Vec<String> = numbered.collect();
                history.push(lines.concat().as_bytes());
                all.extend(lines);
                let mut bytes = 0;
                let kept = all.iter().rev().take(max_lines).take_while(|line| {
                    bytes += line.len();
                    bytes <= MAX_BYTES
                });
                let mut expected: Vec<String> = kept.take(count).map(|line| line.trim_end().to_owned()).collect();
                expected.reverse();
                prop_assert_eq!(texts(&mut history, count), expected);
                prop_assert!(history.text.capacity() <= MAX_BYTES);
            }
        }
    }
}
