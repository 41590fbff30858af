//! A replay: what the newcomers of a batch are shown of the past, laid out once for all of them.

use crate::peer::line_batch::count_lines;
use crate::room::history::{History, newest};
use crate::text::replies;

/// The past before a batch, and the batch's own lines as far as newcomers want them, as these are
/// shown. Each newcomer has a stretch of it: a crowd costs no copy each, which could be 64 KiB.
pub(crate) struct Replay {
    /// The lines, each behind `*** `.
    text: Vec<u8>,
    /// Bytes of the batch that are in it.
    consumed: usize,
    /// The most lines that a newcomer is shown.
    lines: usize,
}

impl Replay {
    /// The last `lines` lines of `history`, for newcomers that are shown as many.
    pub(crate) fn new(history: &mut History, lines: usize) -> Self {
        Self { text: history.render_last(lines).0, consumed: 0, lines }
    }

    /// Goes on with the lines that the `batch` has now; the place behind them.
    pub(crate) fn extend(&mut self, batch: &[u8]) -> usize {
        for line in batch[self.consumed..].split_inclusive(|byte| *byte == b'\n') {
            replies::push_recalled(&mut self.text, &line[..line.len() - 1]);
        }
        self.consumed = batch.len();
        self.text.len()
    }

    /// What a newcomer at `place` is shown, and how many lines these are.
    pub(crate) fn lines_before(&self, place: usize) -> (&[u8], u64) {
        let (shown, _) = newest(&self.text[..place], self.lines);
        (shown, count_lines(shown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_has_the_last_lines_before_it() {
        let mut history = History::new(9);
        history.push(b"a: 1\na: 2\na: 3\n");
        let mut replay = Replay::new(&mut history, 2);
        let mut batch = Vec::new();
        let places = [&b""[..], b"a: 4\n", b"", b"a: 5\na: 6\na: 7\n"].map(|more| {
            batch.extend_from_slice(more);
            replay.extend(&batch)
        });
        let shown = ["*** a: 2\n*** a: 3\n", "*** a: 3\n*** a: 4\n", "*** a: 3\n*** a: 4\n", "*** a: 6\n*** a: 7\n"];
        for (place, shown) in places.into_iter().zip(shown) {
            assert_eq!(replay.lines_before(place), (shown.as_bytes(), 2));
        }
        assert_eq!(replay.lines_before(0), (&b""[..], 0));
        // A crowd that comes at once has one text.
        let length = replay.text.len();
        assert!((0..3_000).all(|_| replay.extend(&batch) == places[3]));
        assert_eq!(replay.text.len(), length);
    }
}
