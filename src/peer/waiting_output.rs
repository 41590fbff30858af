//! Waiting output: what a peer's socket has not taken and what is not encoded yet.

use crate::peer::line_batch::count_lines;
use crate::text::time::Minute;
use memchr::{memchr, memrchr};
use std::collections::VecDeque;

/// Lines with their LF, and bytes that are no lines, in the order in which they go out.
#[derive(Debug, Default)]
pub(super) struct WaitingOutput {
    /// All segments end to end.
    bytes: VecDeque<u8>,
    /// The segments; neighbours differ in kind or minute.
    segments: VecDeque<Segment>,
}

/// The kinds of segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SegmentKind {
    /// Whole lines that were said in this minute, each with its LF, to be encoded for the peer's route.
    Lines(Minute),
    /// Bytes that go out as they are, such as telnet's answers.
    Raw,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    kind: SegmentKind,
    len: usize,
}

impl WaitingOutput {
    /// Returns what counts against a limit: the bytes that wait, and the memory of each segment but the first.
    pub(super) fn weight(&self) -> usize {
        self.bytes.len() + self.segments.len().saturating_sub(1) * size_of::<Segment>()
    }

    /// Returns whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Appends bytes of one kind; grows by doubling, but not beyond `limit` for bytes that are within it.
    pub(super) fn push(&mut self, kind: SegmentKind, bytes: &[u8], limit: usize) {
        if bytes.is_empty() {
            return;
        }
        self.reserve(bytes.len(), limit);
        self.bytes.extend(bytes);
        match self.segments.back_mut() {
            Some(last) if last.kind == kind => last.len += bytes.len(),
            _ => self.segments.push_back(Segment { kind, len: bytes.len() }),
        }
    }

    /// Moves the front segment to the end of `into`, as far as `most` bytes go: whole lines, but at least one.
    /// Returns its kind; `None` when nothing waits.
    pub(super) fn take_front(&mut self, most: usize, into: &mut Vec<u8>) -> Option<SegmentKind> {
        let Segment { kind, len } = *self.segments.front()?;
        let count = match kind {
            SegmentKind::Lines(_) => self.end_of_lines(most.min(len)).min(len),
            SegmentKind::Raw => len,
        };
        into.extend(self.bytes.drain(..count));
        if count == len {
            self.segments.pop_front();
        } else if let Some(front) = self.segments.front_mut() {
            front.len -= count;
        }
        Some(kind)
    }

    /// Returns how many lines wait.
    pub(super) fn count_lines(&self) -> u64 {
        let (head, tail) = self.bytes.as_slices();
        let mut at = 0;
        let mut lines = 0;
        for segment in &self.segments {
            let range = at..at + segment.len;
            if matches!(segment.kind, SegmentKind::Lines(_)) {
                lines += count_lines(clip(head, range.clone(), 0)) + count_lines(clip(tail, range.clone(), head.len()));
            }
            at = range.end;
        }
        lines
    }

    /// Returns the length of the whole lines in the first `most` bytes, or else of the first line.
    fn end_of_lines(&self, most: usize) -> usize {
        let (head, tail) = self.bytes.as_slices();
        let in_head = &head[..most.min(head.len())];
        let in_tail = &tail[..most.saturating_sub(head.len()).min(tail.len())];
        memrchr(b'\n', in_tail)
            .map(|at| head.len() + at)
            .or_else(|| memrchr(b'\n', in_head))
            .or_else(|| memchr(b'\n', head))
            .or_else(|| memchr(b'\n', tail).map(|at| head.len() + at))
            .map_or(self.bytes.len(), |end| end + 1)
    }

    fn reserve(&mut self, more: usize, limit: usize) {
        let needed = self.bytes.len() + more;
        if needed > limit / 2 && needed > self.bytes.capacity() {
            self.bytes.reserve_exact(limit.max(needed) - self.bytes.len());
        }
    }

    /// Returns how many bytes of memory are reserved.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

/// Returns the part of `slice`, which begins at `start` of a whole, that is in `range` of that whole.
fn clip(slice: &[u8], range: std::ops::Range<usize>, start: usize) -> &[u8] {
    let from = range.start.saturating_sub(start).min(slice.len());
    let to = range.end.saturating_sub(start).min(slice.len());
    &slice[from..to]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 1 << 20;
    const LINES: SegmentKind = SegmentKind::Lines(Minute(0));

    fn take(waiting: &mut WaitingOutput, most: usize) -> Option<(SegmentKind, String)> {
        let mut taken = Vec::new();
        waiting.take_front(most, &mut taken).map(|kind| (kind, String::from_utf8(taken).unwrap()))
    }

    #[test]
    fn segments_are_taken_in_order_and_lines_whole() {
        let mut waiting = WaitingOutput::default();
        for (kind, text) in [(LINES, "one\n"), (LINES, "two\n"), (SegmentKind::Raw, "\x01\n\x02"), (LINES, "three\n")] {
            waiting.push(kind, text.as_bytes(), LIMIT);
        }
        assert_eq!(waiting.count_lines(), 3, "a raw byte that looks like a line end is none");
        assert_eq!(take(&mut waiting, 5), Some((LINES, "one\n".into())));
        assert_eq!(take(&mut waiting, 1), Some((LINES, "two\n".into())), "at least one line");
        assert_eq!(take(&mut waiting, 1), Some((SegmentKind::Raw, "\x01\n\x02".into())), "raw bytes are not cut");
        assert_eq!(take(&mut waiting, 99), Some((LINES, "three\n".into())));
        assert_eq!(take(&mut waiting, 99), None);
    }

    #[test]
    fn lines_of_one_minute_are_one_segment_and_other_minutes_are_charged() {
        let mut waiting = WaitingOutput::default();
        let later = SegmentKind::Lines(Minute(1));
        for (kind, text) in [(LINES, "a\n"), (LINES, "b\n"), (later, "c\n"), (later, "d\n")] {
            waiting.push(kind, text.as_bytes(), LIMIT);
        }
        assert_eq!(waiting.weight(), 8 + size_of::<Segment>(), "the second minute has a segment of its own");
        assert_eq!(take(&mut waiting, 99), Some((LINES, "a\nb\n".into())));
        assert_eq!(take(&mut waiting, 2), Some((later, "c\n".into())));
        assert_eq!(take(&mut waiting, 99), Some((later, "d\n".into())));
    }

    #[test]
    fn the_memory_stays_within_the_limit() {
        let mut waiting = WaitingOutput::default();
        for _ in 0..100 {
            waiting.push(LINES, &[b'\n'; 10], 1000);
            assert!(waiting.capacity() <= 1000, "{}", waiting.capacity());
        }
        let mut small = WaitingOutput::default();
        small.push(LINES, b"a\n", 1 << 30);
        assert!(small.capacity() < 100, "a short backlog reserves little: {}", small.capacity());
    }

    proptest! {
        /// However lines are pushed and taken, also where the ring wraps: all come out, in order, whole.
        #[test]
        fn what_is_pushed_is_taken_in_order(
            steps in prop::collection::vec((any::<bool>(), 0usize..40, 1usize..60), 0..60),
        ) {
            let (mut waiting, mut expected, mut taken) = (WaitingOutput::default(), Vec::new(), Vec::new());
            for (number, (push, len, most)) in steps.into_iter().enumerate() {
                if push {
                    let line = format!("{number}{}\n", "x".repeat(len));
                    waiting.push(LINES, line.as_bytes(), 64);
                    expected.extend_from_slice(line.as_bytes());
                } else if waiting.take_front(most, &mut taken).is_some() {
                    prop_assert_eq!(taken.last(), Some(&b'\n'));
                }
                prop_assert_eq!(waiting.count_lines(), count_lines(&expected) - count_lines(&taken));
            }
            while waiting.take_front(7, &mut taken).is_some() {}
            prop_assert_eq!(taken, expected);
        }
    }
}
