//! Line numbers: the numbers of what is said in a room, as a prefix of its lines.

use crate::text::messages;
use memchr::memchr_iter;
use std::ops::Range;

/// The numbers of a batch's lines of talk; notices have none.
#[derive(Clone, Debug)]
pub(crate) struct LineNumbers {
    /// The room's numbering, which is not 0.
    numbering: u32,
    /// The number of the first line.
    first: u64,
    /// Where the lines are in the batch, in bytes with LF, in order.
    talk: Box<[Range<usize>]>,
}

impl LineNumbers {
    /// Returns the numbers of the lines in `talk` from `first` on.
    pub(crate) fn new(numbering: u32, first: u64, talk: Box<[Range<usize>]>) -> Self {
        Self { numbering, first, talk }
    }

    /// Returns whether a peer that gets the numbers of this numbering gets these.
    pub(crate) fn is_of(&self, numbering: u32) -> bool {
        self.numbering == numbering
    }

    /// Returns a cursor at the start of the batch.
    pub(crate) fn cursor(&self) -> NumberCursor<'_> {
        NumberCursor { number: self.first, talk: &self.talk, at: 0 }
    }
}

/// A place in a batch that moves forward only: all parts of a batch together cost one pass over it.
#[derive(Debug)]
pub(crate) struct NumberCursor<'a> {
    /// The number of the next line of talk.
    number: u64,
    /// The talk that ends after the place.
    talk: &'a [Range<usize>],
    /// The bytes of the batch before the place.
    at: usize,
}

impl NumberCursor<'_> {
    /// Appends a part of the batch's lines, with `#7 ` before the line number 7, and moves to its end. The part begins and
    /// ends between two lines, and not before the end of an earlier one.
    pub(crate) fn append(&mut self, batch: &[u8], part: Range<usize>, out: &mut Vec<u8>) {
        while let Some(lines) = self.next_talk(part.start) {
            self.number += memchr_iter(b'\n', &batch[lines]).count() as u64;
        }
        let mut copied = part.start;
        while let Some(lines) = self.next_talk(part.end) {
            out.extend_from_slice(&batch[copied..lines.start]);
            copied = lines.start;
            for length in memchr_iter(b'\n', &batch[lines.clone()]) {
                let end = lines.start + length + 1;
                messages::push_line_number(out, self.number);
                out.extend_from_slice(&batch[copied..end]);
                (self.number, copied) = (self.number + 1, end);
            }
        }
        out.extend_from_slice(&batch[copied..part.end]);
    }

    /// Moves past the next talk before `end`, and returns where it is; `None` if there is none.
    fn next_talk(&mut self, end: usize) -> Option<Range<usize>> {
        let (run, following) = self.talk.split_first().filter(|(run, _)| run.start.max(self.at) < end)?;
        let lines = run.start.max(self.at)..run.end.min(end);
        if run.end <= end {
            self.talk = following;
        }
        self.at = lines.end;
        Some(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: &[u8] = b"a joined\nx: 1\nx: 2\na left\nx: 3\n";

    /// Returns the part of the batch from one line to another, with numbers.
    fn numbered(from: usize, to: usize) -> String {
        let numbers = LineNumbers::new(1, 9, [9..19, 26..31].into());
        let ends: Vec<usize> = std::iter::once(0).chain(memchr_iter(b'\n', BATCH).map(|end| end + 1)).collect();
        let mut out = Vec::new();
        numbers.cursor().append(BATCH, ends[from]..ends[to], &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn successive_parts_have_the_numbers_of_the_whole() {
        let numbers = LineNumbers::new(1, 9, [9..19, 26..31].into());
        for cuts in [[0, 0, 31], [9, 14, 19], [14, 14, 26], [0, 19, 31], [14, 26, 31], [26, 31, 31]] {
            let (mut cursor, mut out, mut from) = (numbers.cursor(), Vec::new(), 0);
            for to in cuts.into_iter().chain([BATCH.len()]) {
                cursor.append(BATCH, from..to, &mut out);
                from = to;
            }
            assert_eq!(String::from_utf8(out).unwrap(), numbered(0, 5), "{cuts:?}");
        }
    }

    #[test]
    fn talk_has_numbers_and_notices_have_none_in_each_part() {
        let lines = ["a joined\n", "#9 x: 1\n", "#10 x: 2\n", "a left\n", "#11 x: 3\n"];
        for from in 0..=lines.len() {
            for to in from..=lines.len() {
                assert_eq!(numbered(from, to), lines[from..to].concat(), "{from} to {to}");
            }
        }
    }

    #[test]
    fn numbers_are_for_peers_of_their_numbering() {
        let numbers = LineNumbers::new(7, 1, Box::default());
        assert!(numbers.is_of(7) && !numbers.is_of(0) && !numbers.is_of(8));
    }
}
