//! A replay: the earlier lines that the joiners of a batch are shown, rendered once for all of them.

use crate::peer::line_batch::count_lines;
use crate::room::history::{History, newest};
use crate::text::replies;

/// The history before a batch and the batch's lines up to the last joiner, as joiners are shown them. Each
/// joiner's lines are a slice of it, so a crowd of joiners does not cost a rendering of 64 KiB each.
pub(crate) struct Replay {
    /// The lines, each after `*** `.
    text: Vec<u8>,
    /// The number of the batch's bytes that are in `text`.
    consumed: usize,
    /// The most lines that a joiner is shown.
    lines: usize,
}

impl Replay {
    /// Creates a replay that begins with the last `lines` lines of `history`.
    pub(crate) fn new(history: &mut History, lines: usize) -> Self {
        Self { text: history.render_last(lines).0, consumed: 0, lines }
    }

    /// Appends the lines that `batch` has by now, and returns the offset after them.
    pub(crate) fn extend(&mut self, batch: &[u8]) -> usize {
        for line in batch[self.consumed..].split_inclusive(|byte| *byte == b'\n') {
            replies::push_recalled(&mut self.text, &line[..line.len() - 1]);
        }
        self.consumed = batch.len();
        self.text.len()
    }

    /// Returns the lines that a joiner at the offset `end` is shown, and their number.
    pub(crate) fn lines_before(&self, end: usize) -> (&[u8], u64) {
        let (shown, _) = newest(&self.text[..end], self.lines);
        (shown, count_lines(shown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_offset_has_the_last_lines_before_it() {
        let mut history = History::new(9);
        history.push(b"a: 1\na: 2\na: 3\n");
        let mut replay = Replay::new(&mut history, 2);
        let mut batch = Vec::new();
        let offsets = [&b""[..], b"a: 4\n", b"", b"a: 5\na: 6\na: 7\n"].map(|more| {
            batch.extend_from_slice(more);
            replay.extend(&batch)
        });
        let shown = ["*** a: 2\n*** a: 3\n", "*** a: 3\n*** a: 4\n", "*** a: 3\n*** a: 4\n", "*** a: 6\n*** a: 7\n"];
        for (offset, shown) in offsets.into_iter().zip(shown) {
            assert_eq!(replay.lines_before(offset), (shown.as_bytes(), 2));
        }
        assert_eq!(replay.lines_before(0), (&b""[..], 0));
        // Joiners without a line between them share one rendering.
        let length = replay.text.len();
        assert!((0..3_000).all(|_| replay.extend(&batch) == offsets[3]));
        assert_eq!(replay.text.len(), length);
    }
}
