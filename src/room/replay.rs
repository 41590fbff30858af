//! A replay: the earlier lines that the joiners of a batch are shown.

use crate::peer::line_batch::TimedLines;
use crate::room::history::{History, HistoryOffset};
use crate::room::line_runs::LineRuns;
use crate::text::time::Minute;

/// The history before a batch and the batch's lines up to the last joiner. The lines of all joiners are selected
/// from this one copy, so a crowd of joiners does not keep 64 KiB each until it is delivered to.
pub(crate) struct Replay {
    lines: History,
    /// The number of the batch's bytes that are in `lines`.
    consumed: usize,
    /// The most lines that a joiner is shown.
    count: usize,
}

impl Replay {
    /// Creates a replay of the last `count` lines before each joiner, which begins with the lines of `history`.
    pub(crate) fn new(history: &History, count: usize) -> Self {
        Self { lines: history.clone(), consumed: 0, count }
    }

    /// Appends the lines that `batch` has by now, all said in `minute`, and returns the place after them.
    pub(crate) fn extend(&mut self, minute: Minute, batch: &[u8], runs: &LineRuns) -> HistoryOffset {
        for part in runs.after(self.consumed) {
            self.lines.append_unbounded(part.kind, minute, &batch[part.lines]);
        }
        self.consumed = batch.len();
        self.lines.end()
    }

    /// Returns the lines that a joiner at the place `end` is shown.
    pub(crate) fn lines_before(&mut self, end: HistoryOffset) -> TimedLines {
        self.lines.render_before(end, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::route::Route;
    use crate::room::line_runs::LineKind;

    fn texts(lines: TimedLines) -> String {
        let batch = lines.into_batch();
        str::from_utf8(batch.whole(Route::DirectLf).lf()).unwrap().to_owned()
    }

    #[test]
    fn each_place_has_the_last_lines_before_it() {
        let (mut history, mut runs) = (History::new(9), LineRuns::default());
        let earlier = b"a: 1\na: 2\na: 3\n";
        runs.extend(LineKind::Talk, earlier.len(), 3);
        history.push(Minute(1), earlier, &runs);
        let (mut replay, mut batch, mut runs) = (Replay::new(&history, 2), Vec::new(), LineRuns::default());
        let places = ["", "a: 4\n", "", "a: 5\na: 6\na: 7\n", "b has joined\n", "c has joined\n", ""].map(|more| {
            batch.extend_from_slice(more.as_bytes());
            let kind = if more.contains("joined") { LineKind::Notice } else { LineKind::Talk };
            if !more.is_empty() {
                runs.extend(kind, batch.len(), more.lines().count() as u64);
            }
            replay.extend(Minute(2), &batch, &runs)
        });
        let shown = [
            "*** a: 2\n*** a: 3\n",
            "*** a: 3\n*** a: 4\n",
            "*** a: 3\n*** a: 4\n",
            "*** a: 6\n*** a: 7\n",
            "*** a: 7\n*** b has joined\n",
            "*** a: 7\n*** c has joined\n",
            "*** a: 7\n*** c has joined\n",
        ];
        for (place, shown) in places.into_iter().zip(shown) {
            assert_eq!(texts(replay.lines_before(place)), shown);
        }
        assert_eq!(replay.lines.len(), 9, "a line is in the replay once, however many joiners come");
    }
}
