//! A room's history: its last lines, bounded in lines and in bytes.
//!
//! It belongs to the room's pass, which writes it and reads it: `/last` is asked for through the
//! inbox, as all else is. So it takes no lock and no snapshot, a push costs no allocation once the
//! memory is there, and what is shown is in order with what is said.
//!
//! The lines are copied, once, into one ring of bytes. To keep slices of the passes' buffers would
//! save that copy, but a kept line of 20 bytes would hold its whole batch in memory, up to 1 MiB; and a
//! line is written to a socket once for each member anyway, beside which one copy is nothing.

use crate::text::replies;
use memchr::{memchr_iter, memrchr, memrchr_iter};
use std::collections::VecDeque;

/// The most bytes that a room's history holds, line ends counted.
pub const MAX_BYTES: usize = 64 << 10;

/// Memory that is kept though the lines don't need it: below this there is little to give back.
const SPARE_BYTES: usize = 4 << 10;

/// The last lines of a room: the longest row of whole lines up to now that is within both bounds.
/// There is never a gap in it, so a line longer than [`MAX_BYTES`] leaves it empty.
#[derive(Debug, Default)]
pub struct History {
    /// The lines end to end, each with its LF.
    text: VecDeque<u8>,
    /// How long each line is, with its LF; the oldest is the first. Four bytes a line, on top.
    lengths: VecDeque<u32>,
    /// The most lines; 0 keeps nothing and allocates nothing.
    max_lines: usize,
}

impl History {
    /// Keeps the last `max_lines` lines, as far as [`MAX_BYTES`] hold them.
    #[must_use]
    pub fn new(max_lines: usize) -> Self {
        Self { max_lines, ..Self::default() }
    }

    /// How many lines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::new(self.max_lines);
    }

    /// Takes a pass's lines, end to end, each with its LF.
    ///
    /// They are looked at from their end, and no further than they are kept: a batch of 1 MiB costs
    /// as much as its last 64 KiB.
    pub fn push(&mut self, lines: &[u8]) {
        let lines = &lines[..memrchr(b'\n', lines).map_or(0, |end| end + 1)];
        if lines.is_empty() || self.max_lines == 0 {
            return;
        }
        let (new, whole) = newest(lines, self.max_lines);
        if whole {
            self.evict_for(new);
        } else {
            // What came before the new lines is not wanted, or there would be a gap.
            self.text.clear();
            self.lengths.clear();
        }
        self.reserve(new.len());
        self.text.extend(new);
        self.record_lengths(new);
        self.shrink();
    }

    /// The last `count` lines, oldest first, without their line ends.
    pub fn last(&mut self, count: usize) -> impl Iterator<Item = &[u8]> {
        let lengths = self.lengths.range(self.len().saturating_sub(count)..);
        let bytes: usize = lengths.clone().map(|length| *length as usize).sum();
        let from = self.text.len() - bytes;
        let mut rest = &self.text.make_contiguous()[from..];
        lengths.map(move |length| {
            let (line, behind) = rest.split_at(*length as usize);
            rest = behind;
            &line[..line.len() - 1]
        })
    }

    /// The last `count` lines as somebody is shown them, oldest first, and how many these are.
    pub(crate) fn render_last(&mut self, count: usize) -> (Vec<u8>, u64) {
        let mut shown = (Vec::new(), 0);
        for line in self.last(count) {
            replies::push_recalled(&mut shown.0, line);
            shown.1 += 1;
        }
        shown
    }

    /// Lets the oldest lines go for which `new` leaves no room.
    fn evict_for(&mut self, new: &[u8]) {
        let spare = self.max_lines - memchr_iter(b'\n', new).count();
        let mut bytes = 0;
        while self.len() > spare || self.text.len() - bytes + new.len() > MAX_BYTES {
            // Not empty: the new lines alone are within both bounds.
            bytes += self.lengths.pop_front().unwrap_or_default() as usize;
        }
        self.text.drain(..bytes);
    }

    /// Makes place for `count` bytes more, and for no more than [`MAX_BYTES`] in all.
    fn reserve(&mut self, count: usize) {
        let wanted = self.text.len() + count;
        if wanted > self.text.capacity() {
            let capacity = wanted.next_power_of_two().min(MAX_BYTES);
            self.text.reserve_exact(capacity - self.text.len());
        }
    }

    /// Notes where the lines end that were just taken.
    fn record_lengths(&mut self, new: &[u8]) {
        let mut from = 0;
        for end in memchr_iter(b'\n', new) {
            // At most MAX_BYTES, which a u32 holds.
            self.lengths.push_back(u32::try_from(end + 1 - from).unwrap_or_default());
            from = end + 1;
        }
    }

    /// Gives memory back when lines have become much shorter than those it was made for.
    fn shrink(&mut self) {
        let spare = (2 * self.text.len()).max(SPARE_BYTES);
        if self.text.capacity() > 2 * spare {
            self.text.shrink_to(spare);
        }
    }
}

/// The last of `lines` that are within both bounds, and whether that is all of them.
pub(crate) fn newest(lines: &[u8], max_lines: usize) -> (&[u8], bool) {
    let least = lines.len().saturating_sub(MAX_BYTES);
    let mut from = lines.len();
    // A line begins behind the end of the one before, and the first one at 0.
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
    fn the_last_lines_in_order() {
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
    fn no_history_takes_no_memory() {
        let mut history = History::new(0);
        history.push(&b"a: hello\n".repeat(1_000));
        assert_eq!((history.len(), history.text.capacity(), history.lengths.capacity()), (0, 0, 0));
    }

    #[test]
    fn a_line_beyond_the_bound_leaves_no_gap() {
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
    fn a_large_batch_is_not_read_from_its_beginning() {
        // Were it read whole 10,000 times, that would be 60 GB.
        let batch = b"user: hello\n".repeat(500_000);
        let mut history = History::new(100);
        for _ in 0..10_000 {
            history.push(&batch);
        }
        assert_eq!((history.len(), history.text.len()), (100, 1_200));
    }

    #[test]
    fn memory_is_bounded_and_given_back() {
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
        /// What it says is what a list of all lines says, however they came in batches.
        #[test]
        fn it_is_the_end_of_all_that_was_said(
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
