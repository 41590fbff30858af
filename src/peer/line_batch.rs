//! Line batches: whole lines on their way to peers, in the encodings that direct routes share.

use crate::limits::memory::MemoryBudget;
use crate::peer::deferred_list::Deferrable;
use crate::peer::line_frames::extend_with_frames;
use crate::peer::line_numbers::LineNumbers;
use crate::peer::route::Route;
use crate::peer::shared_lines::{BatchMemoryRef, SharedSlice};
use crate::text::time::Minute;
use bytes::Bytes;
use memchr::memchr_iter;
use std::ops::Range;
use std::slice;
use std::sync::{Arc, OnceLock};

/// Whole lines in shared memory, for one peer.
#[derive(Clone, Debug)]
pub struct LineBatch {
    /// The lines, each with its LF.
    lf: Bytes,
    /// The same lines in a second encoding, where a peer of its route was expected.
    second: Option<SecondEncoding>,
    /// How many lines these are.
    lines: u64,
    /// How many lines after these were dropped before they reached the output buffer.
    dropped_after: u64,
    /// When the lines were said.
    minutes: Minutes,
    /// Whether the peer's output takes no line after these.
    is_last: bool,
    /// The memory of the batch of which these lines are all or a part.
    memory: BatchMemoryRef,
}

/// Lines in the encoding of a direct route other than [`Route::DirectLf`].
#[derive(Clone, Debug)]
struct SecondEncoding {
    route: Route,
    bytes: Bytes,
}

/// Which lines a peer that falls behind loses first. The term is that of RFC 2597, section 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum DropPrecedence {
    /// The lines may fill a peer's whole backlog.
    #[default]
    Low,
    /// The lines may fill half of a peer's backlog: the sender sends far more than others in its room.
    High,
}

/// The minutes in which the lines of a batch were said, and their drop precedence.
#[derive(Clone, Debug)]
enum Minutes {
    /// All lines are one run.
    One(MinuteRun),
    /// The runs, in order. The last one ends with the batch.
    Many(Arc<[MinuteRun]>),
}

/// Successive lines of one drop precedence that were said in one minute.
#[derive(Clone, Copy, Debug)]
struct MinuteRun {
    minute: Minute,
    precedence: DropPrecedence,
    /// The number of bytes of the batch up to the end of the run, with LF; more than the batch has means its end.
    end: usize,
}

impl Minutes {
    fn runs(&self) -> &[MinuteRun] {
        match self {
            Self::One(run) => slice::from_ref(run),
            Self::Many(runs) => runs,
        }
    }

    /// Returns the minutes of the lines that follow the first `from` bytes.
    fn after(&self, from: usize) -> Self {
        match self {
            Self::One(run) => Self::One(*run),
            Self::Many(runs) => {
                let shift = |run: &MinuteRun| MinuteRun { end: run.end.saturating_sub(from), ..*run };
                Self::Many(runs.iter().map(shift).collect())
            }
        }
    }
}

impl LineBatch {
    /// Returns a batch of `lines` whole lines that end in LF and were all said in `minute`.
    #[must_use]
    pub fn new(bytes: Bytes, lines: u64, minute: Minute) -> Self {
        let minutes = Minutes::One(MinuteRun { minute, precedence: DropPrecedence::Low, end: usize::MAX });
        let memory = BatchMemoryRef::new(bytes.len());
        Self { lf: bytes, second: None, lines, dropped_after: 0, minutes, is_last: false, memory }
    }

    /// Returns how many lines these are.
    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    /// Returns how many lines after these were dropped.
    pub(crate) fn dropped_after(&self) -> u64 {
        self.dropped_after
    }

    /// Returns whether the peer's output takes no line after these.
    pub(crate) fn is_last(&self) -> bool {
        self.is_last
    }

    /// Returns the lines, each with its LF.
    pub(crate) fn lf(&self) -> &[u8] {
        &self.lf
    }

    /// Returns the lines that follow the first `from` bytes, each with its LF: successive lines of one minute and one
    /// drop precedence together, with both.
    pub(crate) fn runs_after(&self, from: usize) -> impl Iterator<Item = (Minute, DropPrecedence, &[u8])> {
        let mut start = from;
        let runs = self.minutes.runs().iter().map(move |run| {
            let end = run.end.min(self.lf.len()).max(start);
            let lines = &self.lf[start..end];
            start = end;
            (run.minute, run.precedence, lines)
        });
        runs.filter(|(.., lines)| !lines.is_empty())
    }

    /// Returns `lines`, a slice of [`LineBatch::lf`], to be kept in the memory of the batch, which `budget` is charged for
    /// once; `None` where a copy is the better choice.
    pub(super) fn share(&self, lines: &[u8], budget: Option<&Arc<MemoryBudget>>) -> Option<SharedSlice> {
        self.memory.share(&self.lf, lines, budget)
    }

    /// Returns the bytes that go out directly on `route`; `None` where the batch has no such encoding.
    pub(crate) fn direct_bytes(&self, route: Route) -> Option<&[u8]> {
        match route {
            Route::DirectLf => Some(&self.lf),
            Route::DirectCrLf | Route::DirectFrames => {
                self.second.as_ref().filter(|second| second.route == route).map(|second| &*second.bytes)
            }
            Route::Buffered | Route::BufferedFrames => None,
        }
    }

    /// Returns the batch with the encoding that goes out directly on `route`. For the holder of a write lock that meets a
    /// batch which was chosen before the peer's route changed.
    pub(crate) fn encoded_for(&self, route: Route) -> Self {
        let mut bytes = Vec::new();
        match route {
            Route::DirectCrLf => {
                bytes.reserve_exact(self.lf.len() + usize::try_from(self.lines).unwrap_or_default());
                extend_with_cr(&mut bytes, &self.lf);
            }
            Route::DirectFrames => extend_with_frames(&mut bytes, &self.lf),
            Route::DirectLf | Route::Buffered | Route::BufferedFrames => return self.clone(),
        }
        Self { second: Some(SecondEncoding { route, bytes: bytes.into() }), ..self.clone() }
    }
}

impl Deferrable for LineBatch {
    /// Last lines weigh nothing: a peer has them once, and they are a short notice that has to arrive.
    fn weight(&self) -> usize {
        if self.is_last { 0 } else { self.lf.len() }
    }

    fn record_loss(&mut self, lost: &Self) {
        // No line follows last lines, and no gap is told after them.
        if !self.is_last {
            self.dropped_after += lost.lines + lost.dropped_after;
        }
    }
}

/// Returns how many lines end in `bytes`.
pub(crate) fn count_lines(bytes: &[u8]) -> u64 {
    memchr_iter(b'\n', bytes).count() as u64
}

/// Appends `lines`, which end in LF, with CR LF.
pub(crate) fn extend_with_cr(out: &mut impl for<'a> Extend<&'a u8>, lines: &[u8]) {
    let mut from = 0;
    for end in memchr_iter(b'\n', lines) {
        out.extend(&lines[from..end]);
        out.extend(b"\r\n");
        from = end + 1;
    }
    out.extend(&lines[from..]);
}

/// A position between two lines of a batch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BatchOffset {
    /// Bytes before it, with LF.
    pub(crate) bytes: usize,
    /// Lines before it.
    pub(crate) lines: u64,
}

/// Lines for many peers: encoded at most once for each direct route, never for each peer.
#[derive(Debug)]
pub(crate) struct EncodedBatch {
    lf: LineBatch,
    /// Made for the first peer whose lines end in CR LF. Boxed: most batches have none.
    cr_lf: OnceLock<Box<LineBatch>>,
    /// Made for the first peer whose lines leave in frames. Boxed: most batches have none.
    frames: OnceLock<Box<LineBatch>>,
    /// The numbers of the lines, if a member of the room has asked for them.
    numbers: Option<Box<Numbered>>,
}

/// The numbers of a batch's lines, and the batch with them.
#[derive(Debug)]
struct Numbered {
    numbers: LineNumbers,
    /// Made for the first peer that wants numbers.
    batch: OnceLock<EncodedBatch>,
}

impl EncodedBatch {
    /// Returns a batch of `lines` whole lines that end in LF and are said now.
    pub(crate) fn new(bytes: Bytes, lines: u64) -> Self {
        Self::said_in(Minute::now(), bytes, lines)
    }

    /// Returns a batch of `lines` whole lines that end in LF and were all said in `minute`.
    pub(crate) fn said_in(minute: Minute, bytes: Bytes, lines: u64) -> Self {
        Self::of(LineBatch::new(bytes, lines, minute))
    }

    /// Returns the batch as the last lines of its peers: an output that has taken them takes no line and no reply any
    /// more. They are kept whatever the backlog's limit, so they have to be short.
    pub(crate) fn into_last(mut self) -> Self {
        self.lf.is_last = true;
        Self { numbers: self.numbers, ..Self::of(self.lf) }
    }

    fn of(lf: LineBatch) -> Self {
        Self { lf, cr_lf: OnceLock::new(), frames: OnceLock::new(), numbers: None }
    }

    /// Gives the lines in `ranges`, in bytes with LF, a high drop precedence. The ranges are in order and apart from each
    /// other; the batch is not encoded for another route yet.
    pub(crate) fn with_high_precedence(mut self, ranges: &[Range<usize>]) -> Self {
        if let (Minutes::One(MinuteRun { minute, .. }), false) = (&self.lf.minutes, ranges.is_empty()) {
            let run = |precedence, end| MinuteRun { minute: *minute, precedence, end };
            let both =
                |range: &Range<usize>| [run(DropPrecedence::Low, range.start), run(DropPrecedence::High, range.end)];
            let runs = ranges.iter().flat_map(both);
            self.lf.minutes = Minutes::Many(runs.chain([run(DropPrecedence::Low, usize::MAX)]).collect());
        }
        self
    }

    /// Gives the lines numbers, for peers that want them.
    pub(crate) fn with_numbers(mut self, numbers: Option<LineNumbers>) -> Self {
        self.numbers = numbers.map(|numbers| Box::new(Numbered { numbers, batch: OnceLock::new() }));
        self
    }

    /// Returns the batch as a peer gets it that gets the numbers of this numbering.
    pub(crate) fn numbered_for(&self, numbering: impl FnOnce() -> u32) -> &Self {
        match &self.numbers {
            Some(numbered) if numbered.numbers.is_of(numbering()) => numbered.batch.get_or_init(|| self.number()),
            _ => self,
        }
    }

    /// Returns the lines from one position to another, with numbers, for a peer that gets those of this numbering; `None` for
    /// another one.
    pub(crate) fn numbered_part(
        &self,
        numbering: impl FnOnce() -> u32,
        from: BatchOffset,
        to: BatchOffset,
    ) -> Option<Self> {
        let numbers =
            self.numbers.as_ref().map(|numbered| &numbered.numbers).filter(|numbers| numbers.is_of(numbering()))?;
        let mut bytes = Vec::new();
        numbers.cursor().append(&self.lf.lf, from.bytes..to.bytes, &mut bytes);
        let mut part = LineBatch::new(Bytes::from(bytes), to.lines - from.lines, self.first_minute());
        part.is_last = self.lf.is_last;
        Some(Self::of(part))
    }

    /// Returns the batch with numbers.
    fn number(&self) -> Self {
        let Some(numbered) = &self.numbers else {
            return Self::of(self.lf.clone());
        };
        let (mut bytes, mut from) = (Vec::with_capacity(self.lf.lf.len()), 0);
        let (mut runs, mut cursor) = (Vec::new(), numbered.numbers.cursor());
        for run in self.lf.minutes.runs() {
            let end = run.end.min(self.lf.lf.len()).max(from);
            cursor.append(&self.lf.lf, from..end, &mut bytes);
            runs.push(MinuteRun { end: bytes.len(), ..*run });
            from = end;
        }
        let minutes = match runs[..] {
            [run] => Minutes::One(MinuteRun { end: usize::MAX, ..run }),
            _ => Minutes::Many(runs.into()),
        };
        let memory = BatchMemoryRef::new(bytes.len());
        Self::of(LineBatch { lf: bytes.into(), second: None, minutes, memory, ..self.lf.clone() })
    }

    fn first_minute(&self) -> Minute {
        self.lf.minutes.runs().first().map_or_else(Minute::now, |run| run.minute)
    }

    /// Returns how many lines these are.
    pub(crate) fn lines(&self) -> u64 {
        self.lf.lines
    }

    /// Returns all lines, with the encoding that `route` writes.
    pub(crate) fn whole(&self, route: Route) -> &LineBatch {
        match route {
            Route::DirectLf | Route::Buffered | Route::BufferedFrames => &self.lf,
            Route::DirectCrLf => self.cr_lf.get_or_init(|| Box::new(self.lf.encoded_for(route))),
            Route::DirectFrames => self.frames.get_or_init(|| Box::new(self.lf.encoded_for(route))),
        }
    }

    /// Returns the lines from one position to another, with the encoding that `route` writes. No byte is copied, but for
    /// frames, which are made for the part: it may begin within one of the batch.
    pub(crate) fn part(&self, route: Route, from: BatchOffset, to: BatchOffset) -> LineBatch {
        let whole = if route == Route::DirectFrames { &self.lf } else { self.whole(route) };
        // With CR LF each line before a position is a byte longer.
        let in_cr_lf = |at: BatchOffset| at.bytes + usize::try_from(at.lines).unwrap_or_default();
        let second = whole.second.as_ref().map(|SecondEncoding { route, bytes }| SecondEncoding {
            route: *route,
            bytes: bytes.slice(in_cr_lf(from)..in_cr_lf(to)),
        });
        let part = LineBatch {
            lf: whole.lf.slice(from.bytes..to.bytes),
            second,
            lines: to.lines - from.lines,
            dropped_after: 0,
            minutes: whole.minutes.after(from.bytes),
            is_last: whole.is_last,
            memory: whole.memory.clone(),
        };
        if route == Route::DirectFrames { part.encoded_for(route) } else { part }
    }
}

/// Lines of several minutes, collected for one peer.
#[derive(Debug, Default)]
pub(crate) struct TimedLines {
    bytes: Vec<u8>,
    lines: u64,
    runs: Vec<MinuteRun>,
}

impl TimedLines {
    /// Returns true if there is no line.
    pub(crate) fn is_empty(&self) -> bool {
        self.lines == 0
    }

    /// Adds `lines` lines that were said in `minute`, which `append` appends with their LF.
    pub(crate) fn push(&mut self, minute: Minute, lines: u64, append: impl FnOnce(&mut Vec<u8>)) {
        append(&mut self.bytes);
        self.lines += lines;
        let end = self.bytes.len();
        match self.runs.last_mut() {
            Some(last) if last.minute == minute => last.end = end,
            _ => self.runs.push(MinuteRun { minute, precedence: DropPrecedence::Low, end }),
        }
    }

    /// Returns the lines as a batch.
    pub(crate) fn into_batch(self) -> EncodedBatch {
        let minutes = match self.runs[..] {
            [run] => Minutes::One(run),
            _ => Minutes::Many(self.runs.into()),
        };
        let lf = LineBatch { minutes, ..LineBatch::new(Bytes::from(self.bytes), self.lines, Minute::default()) };
        EncodedBatch::of(lf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Minute = Minute(12 * 60);

    #[test]
    fn a_batch_is_encoded_once_for_each_route() {
        let batch = EncodedBatch::new(Bytes::from_static(b"a\nbc\n\nd\n"), 4);
        assert_eq!(batch.whole(Route::DirectLf).direct_bytes(Route::DirectLf), Some(&b"a\nbc\n\nd\n"[..]));
        assert!(batch.cr_lf.get().is_none(), "no peer needs CR LF yet");
        let encoded = batch.whole(Route::DirectCrLf).direct_bytes(Route::DirectCrLf).unwrap();
        assert_eq!(encoded, b"a\r\nbc\r\n\r\nd\r\n");
        let again = batch.whole(Route::DirectCrLf).direct_bytes(Route::DirectCrLf).unwrap();
        assert_eq!(again.as_ptr(), encoded.as_ptr());
        assert!(batch.frames.get().is_none(), "no peer needs frames yet");
        let frames = batch.whole(Route::DirectFrames).direct_bytes(Route::DirectFrames).unwrap();
        assert_eq!(frames, b"\x81\x08a\nbc\n\nd\n");
        let again = batch.whole(Route::DirectFrames).direct_bytes(Route::DirectFrames).unwrap();
        assert_eq!(again.as_ptr(), frames.as_ptr());
    }

    #[test]
    fn a_part_has_the_same_lines_in_each_encoding() {
        let batch = EncodedBatch::new(Bytes::from_static(b"a\nbc\n\nd\n"), 4);
        let (from, to) = (BatchOffset { bytes: 2, lines: 1 }, BatchOffset { bytes: 6, lines: 3 });
        for (route, direct) in [
            (Route::DirectLf, Some(&b"bc\n\n"[..])),
            (Route::DirectCrLf, Some(&b"bc\r\n\r\n"[..])),
            (Route::DirectFrames, Some(b"\x81\x04bc\n\n")),
            (Route::Buffered, None),
            (Route::BufferedFrames, None),
        ] {
            let part = batch.part(route, from, to);
            assert_eq!((part.direct_bytes(route), part.lf(), part.lines()), (direct, &b"bc\n\n"[..], 2));
        }
    }

    #[test]
    fn a_batch_that_is_encoded_late_keeps_its_counts() {
        let mut batch = LineBatch::new(Bytes::from_static(b"a\n\nb\n"), 3, NOON);
        batch.record_loss(&LineBatch::new(Bytes::from_static(b"c\n"), 1, NOON));
        assert_eq!(batch.direct_bytes(Route::DirectCrLf), None);
        let encoded = batch.encoded_for(Route::DirectCrLf);
        assert_eq!(encoded.direct_bytes(Route::DirectCrLf), Some(&b"a\r\n\r\nb\r\n"[..]));
        assert_eq!((encoded.lf(), encoded.lines(), encoded.dropped_after()), (batch.lf(), 3, 1));
        let mut earlier = LineBatch::new(Bytes::from_static(b"z\n"), 1, NOON);
        earlier.record_loss(&encoded);
        assert_eq!(earlier.dropped_after(), 4, "the lines that a lost batch had lost are lost, too");
    }

    fn runs(batch: &LineBatch, from: usize) -> Vec<(u32, &str)> {
        batch.runs_after(from).map(|(minute, _, lines)| (minute.0, str::from_utf8(lines).unwrap())).collect()
    }

    #[test]
    fn each_line_keeps_the_minute_in_which_it_was_said() {
        let one = EncodedBatch::said_in(NOON, Bytes::from_static(b"a\nbc\n"), 2);
        assert_eq!(runs(one.whole(Route::Buffered), 0), [(720, "a\nbc\n")]);
        assert_eq!(runs(one.whole(Route::DirectCrLf), 2), [(720, "bc\n")]);
        let mut lines = TimedLines::default();
        for (minute, line) in [(5, "a\n"), (5, "b\n"), (6, "c\n"), (5, "d\n")] {
            lines.push(Minute(minute), 1, |out| out.extend_from_slice(line.as_bytes()));
        }
        let many = lines.into_batch();
        assert_eq!(many.lines(), 4);
        assert_eq!(runs(many.whole(Route::Buffered), 0), [(5, "a\nb\n"), (6, "c\n"), (5, "d\n")]);
        assert_eq!(runs(many.whole(Route::Buffered), 4), [(6, "c\n"), (5, "d\n")]);
        let (from, to) = (BatchOffset { bytes: 2, lines: 1 }, BatchOffset { bytes: 6, lines: 3 });
        assert_eq!(runs(&many.part(Route::Buffered, from, to), 0), [(5, "b\n"), (6, "c\n")]);
    }

    #[test]
    fn numbers_of_many_short_runs_cost_one_pass_over_the_batch() {
        // A count from the start of the batch for each run would read more than 50 GB.
        const LINES: usize = 100_000;
        let bytes = Bytes::from("u: hello 56\n".repeat(LINES));
        let heavy: Vec<Range<usize>> = (0..LINES).step_by(2).map(|line| line * 12..(line + 1) * 12).collect();
        let batch = EncodedBatch::said_in(NOON, bytes.clone(), LINES as u64).with_high_precedence(&heavy);
        let talk = std::iter::once(0..bytes.len()).collect();
        let batch = batch.with_numbers(Some(LineNumbers::new(7, 1, talk)));
        let numbered = batch.numbered_for(|| 7).whole(Route::Buffered);
        assert_eq!(numbered.runs_after(0).count(), LINES);
        let expected: Vec<String> = (1..=LINES).map(|number| format!("#{number} u: hello 56\n")).collect();
        assert!(numbered.lf() == expected.concat().as_bytes(), "each line has its number");
    }

    #[test]
    fn lines_in_marked_ranges_have_a_high_drop_precedence_in_the_whole_and_in_parts() {
        let batch = EncodedBatch::said_in(NOON, Bytes::from_static(b"a\nbc\n\nd\n"), 4);
        let batch = batch.with_high_precedence(&[0..2, 5..6]);
        let high = |batch: &LineBatch| -> Vec<String> {
            let runs = batch.runs_after(0).filter(|(_, precedence, _)| *precedence == DropPrecedence::High);
            runs.map(|(minute, _, lines)| format!("{} {}", minute.0, str::from_utf8(lines).unwrap())).collect()
        };
        assert_eq!(high(batch.whole(Route::DirectCrLf)), ["720 a\n", "720 \n"]);
        let part = batch.part(Route::DirectLf, BatchOffset { bytes: 2, lines: 1 }, BatchOffset { bytes: 8, lines: 4 });
        assert_eq!(high(&part), ["720 \n"]);
        assert_eq!(part.runs_after(0).count(), 3, "the lines before and after are runs of their own");
    }
}
