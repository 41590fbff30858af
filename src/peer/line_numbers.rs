//! Line numbers: the numbers of what is said in a room, as a prefix of its lines.

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

    /// Appends a part of the batch's lines, which begins and ends between two lines, with `#7 ` before the line number 7.
    pub(crate) fn number(&self, batch: &[u8], part: Range<usize>, out: &mut Vec<u8>) {
        let (mut number, mut at) = (self.first, part.start);
        for run in &self.talk {
            if run.start >= part.end {
                break;
            }
            let (start, end) = (run.start.clamp(at, part.end), run.end.clamp(at, part.end));
            number += count(&batch[run.start..start.min(run.end).max(run.start)]);
            out.extend_from_slice(&batch[at..start]);
            let mut line_start = start;
            for line_end in memchr_iter(b'\n', &batch[start..end]).map(|end| start + end + 1) {
                out.extend_from_slice(format!("#{number} ").as_bytes());
                out.extend_from_slice(&batch[line_start..line_end]);
                (number, line_start) = (number + 1, line_end);
            }
            at = end;
        }
        out.extend_from_slice(&batch[at..part.end]);
    }
}

fn count(lines: &[u8]) -> u64 {
    memchr_iter(b'\n', lines).count() as u64
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
        numbers.number(BATCH, ends[from]..ends[to], &mut out);
        String::from_utf8(out).unwrap()
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
