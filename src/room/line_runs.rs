//! Line runs: which lines of a batch are talk and which are notices.

use std::ops::Range;

/// The kinds of lines that a history keeps apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineKind {
    /// A line that a member sent.
    Talk,
    /// A line of the room: a join, a leave, a rename, an announcement of the operators, the shutdown.
    Notice,
}

/// Successive lines of one kind.
#[derive(Clone, Copy, Debug)]
struct LineRun {
    kind: LineKind,
    /// The end of the run in the batch, in bytes.
    end: usize,
    /// The number of talk lines up to the end of the run.
    talk: u64,
}

/// A part of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunPart {
    pub(crate) kind: LineKind,
    /// The lines in the batch, in bytes.
    pub(crate) lines: Range<usize>,
    /// The number of talk lines up to the end of the run.
    pub(crate) talk: u64,
}

/// The runs of a batch's lines. Neighbours differ in kind, so a storm of joins is one run.
#[derive(Debug, Default)]
pub(crate) struct LineRuns {
    /// The beginning of the first run in the batch, in bytes.
    start: usize,
    /// The runs but the last one.
    earlier: Vec<LineRun>,
    /// The last run. Apart, since most batches have one run, which then allocates nothing.
    last: Option<LineRun>,
    talk: u64,
    notices: u64,
}

impl LineRuns {
    /// Records `lines` lines of one kind, which end at `end`.
    pub(crate) fn extend(&mut self, kind: LineKind, end: usize, lines: u64) {
        match kind {
            LineKind::Talk => self.talk += lines,
            LineKind::Notice => self.notices += lines,
        }
        let run = LineRun { kind, end, talk: self.talk };
        let replaced = self.last.replace(run);
        self.earlier.extend(replaced.filter(|last| last.kind != kind));
    }

    /// Forgets all runs. The next one begins at `start`.
    pub(crate) fn restart(&mut self, start: usize) {
        *self = Self { start, ..Self::default() };
    }

    /// Returns the number of lines of one kind.
    pub(crate) fn count(&self, kind: LineKind) -> u64 {
        match kind {
            LineKind::Talk => self.talk,
            LineKind::Notice => self.notices,
        }
    }

    /// Returns the lines after the byte `from` of the batch, run by run.
    pub(crate) fn after(&self, from: usize) -> impl DoubleEndedIterator<Item = RunPart> {
        let first = self.earlier.partition_point(|run| run.end <= from);
        (first..=self.earlier.len()).filter_map(move |at| {
            let LineRun { kind, end, talk } = *self.earlier.get(at).or(self.last.as_ref())?;
            let start = at.checked_sub(1).map_or(self.start, |before| self.earlier[before].end);
            (end > from).then(|| RunPart { kind, lines: start.max(from)..end, talk })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn successive_lines_of_one_kind_are_one_run() {
        let mut runs = LineRuns::default();
        runs.restart(10);
        for end in 0..10_000 {
            runs.extend(LineKind::Notice, 11 + end, 1);
        }
        runs.extend(LineKind::Talk, 10_020, 2);
        runs.extend(LineKind::Talk, 10_030, 1);
        runs.extend(LineKind::Notice, 10_040, 1);
        let part = |kind, lines, talk| RunPart { kind, lines, talk };
        let all = [
            part(LineKind::Notice, 10..10_010, 0),
            part(LineKind::Talk, 10_010..10_030, 3),
            part(LineKind::Notice, 10_030..10_040, 3),
        ];
        assert!(runs.after(0).eq(all.clone()) && runs.after(0).rev().eq(all.into_iter().rev()));
        assert!(runs.after(10_015).next().is_some_and(|first| first.lines == (10_015..10_030)));
        assert_eq!(runs.after(10_040).count(), 0);
        assert_eq!((runs.count(LineKind::Talk), runs.count(LineKind::Notice)), (3, 10_001));
    }
}
