//! Waiting output: what a peer's socket has not taken and what is not encoded yet.

use crate::peer::line_batch::count_lines;
use crate::peer::shared_lines::SharedSlice;
use crate::text::time::Minute;
use bytes::Buf;
use memchr::{memchr, memrchr};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The size to which a block of copied bytes grows before the next one is begun. A peer that catches up gives its memory
/// back block by block.
const BLOCK_BYTES: usize = 64 << 10;

/// Lines with their LF, and bytes that are no lines, in the order in which they go out.
#[derive(Debug, Default)]
pub(super) struct WaitingOutput {
    segments: VecDeque<Segment>,
    /// The bytes of all segments.
    len: usize,
    /// The capacity of all blocks of copied bytes.
    copied_capacity: usize,
}

/// The kinds of segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum SegmentKind {
    /// Whole lines that were said in this minute, each with its LF, to be encoded for the peer's route.
    Lines(Minute),
    /// Bytes that go out as they are, such as telnet's answers.
    Raw,
}

/// Successive bytes of one kind.
#[derive(Debug)]
struct Segment {
    kind: SegmentKind,
    /// The number of dropped lines that this line tells; 0 for all other lines.
    told: u64,
    bytes: SegmentBytes,
}

#[derive(Debug)]
enum SegmentBytes {
    /// A block of the peer's own, of which the first `taken` bytes are taken.
    Copied { block: Vec<u8>, taken: usize },
    /// A part of a batch that other peers may keep, too.
    Shared(SharedSlice),
}

/// Successive bytes of one kind, as another process continues them.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MovedSegment {
    kind: SegmentKind,
    told: u64,
    bytes: Vec<u8>,
}

/// The lines that [`WaitingOutput::drop_lines`] dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DroppedLines {
    /// Lines, the notices of dropped lines left out.
    pub(super) lines: u64,
    /// Notices of dropped lines.
    pub(super) notices: u64,
    /// The lines that those notices told.
    pub(super) told: u64,
}

impl WaitingOutput {
    /// Returns what counts against a limit: the bytes that wait, and the memory of each segment but the first.
    pub(super) fn weight(&self) -> usize {
        self.len + self.segments.len().saturating_sub(1) * size_of::<Segment>()
    }

    /// Returns the bytes of memory that are the peer's own: all but those of shared batches.
    pub(super) fn own_memory(&self) -> usize {
        self.copied_capacity + self.segments.capacity() * size_of::<Segment>()
    }

    /// Returns whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a copy of bytes of one kind.
    pub(super) fn push(&mut self, kind: SegmentKind, bytes: &[u8]) {
        self.push_copied(kind, 0, bytes);
    }

    /// Appends a line that tells the number of lines which were dropped before it.
    pub(super) fn push_notice(&mut self, minute: Minute, told: u64, line: &[u8]) {
        self.push_copied(SegmentKind::Lines(minute), told, line);
    }

    /// Appends lines that are kept in the memory of their batch.
    pub(super) fn push_shared(&mut self, minute: Minute, lines: SharedSlice) {
        self.len += lines.bytes.len();
        let (kind, bytes) = (SegmentKind::Lines(minute), SegmentBytes::Shared(lines));
        self.segments.push_back(Segment { kind, told: 0, bytes });
    }

    /// Returns a copy for another process.
    pub(super) fn export(&self) -> Vec<MovedSegment> {
        let copy = |segment: &Segment| MovedSegment {
            kind: segment.kind,
            told: segment.told,
            bytes: segment.bytes().to_vec(),
        };
        self.segments.iter().map(copy).collect()
    }

    /// Returns the output of another process.
    pub(super) fn import(segments: &[MovedSegment]) -> Self {
        let mut output = Self::default();
        for MovedSegment { kind, told, bytes } in segments {
            output.push_copied(*kind, *told, bytes);
        }
        output
    }

    fn push_copied(&mut self, kind: SegmentKind, told: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.len += bytes.len();
        if told == 0
            && let Some(Segment { kind: last, told: 0, bytes: SegmentBytes::Copied { block, .. } }) =
                self.segments.back_mut()
            && *last == kind
            && block.len() + bytes.len() <= BLOCK_BYTES
        {
            let needed = block.len() + bytes.len();
            if needed > block.capacity() {
                self.copied_capacity -= block.capacity();
                block.reserve_exact(needed.next_power_of_two() - block.len());
                self.copied_capacity += block.capacity();
            }
            return block.extend_from_slice(bytes);
        }
        let block = bytes.to_vec();
        self.copied_capacity += block.capacity();
        self.segments.push_back(Segment { kind, told, bytes: SegmentBytes::Copied { block, taken: 0 } });
    }

    /// Moves bytes of one kind from the front to the end of `into`, as far as `most` bytes go: whole lines, but at least
    /// one. Raw bytes of one segment are moved together. Returns the kind; `None` when nothing waits.
    pub(super) fn take_front(&mut self, most: usize, into: &mut Vec<u8>) -> Option<SegmentKind> {
        let kind = self.segments.front()?.kind;
        let mut left = most;
        while let Some(front) = self.segments.front_mut().filter(|front| front.kind == kind) {
            let bytes = front.bytes();
            let count = match kind {
                SegmentKind::Raw => bytes.len(),
                SegmentKind::Lines(_) => end_of_lines(bytes, left, left == most),
            };
            into.extend_from_slice(&bytes[..count]);
            let is_rest = count < bytes.len();
            self.len -= count;
            left = left.saturating_sub(count);
            front.advance(count);
            if is_rest {
                break;
            }
            self.pop_front();
            if left == 0 || kind == SegmentKind::Raw {
                break;
            }
        }
        Some(kind)
    }

    /// Returns how many lines wait.
    pub(super) fn count_lines(&self) -> u64 {
        let lines = self.segments.iter().filter(|segment| segment.kind != SegmentKind::Raw);
        lines.map(|segment| count_lines(segment.bytes())).sum()
    }

    /// Drops all lines, and keeps the bytes that are no lines.
    pub(super) fn drop_lines(&mut self) -> DroppedLines {
        let mut dropped = DroppedLines::default();
        for Segment { kind, told, bytes } in std::mem::take(self).segments {
            let segment = Segment { kind, told, bytes };
            if kind == SegmentKind::Raw {
                self.push(kind, segment.bytes());
            } else if told > 0 {
                dropped.notices += 1;
                dropped.told += told;
            } else {
                dropped.lines += count_lines(segment.bytes());
            }
        }
        dropped
    }

    fn pop_front(&mut self) {
        if let Some(Segment { bytes: SegmentBytes::Copied { block, .. }, .. }) = self.segments.pop_front() {
            self.copied_capacity -= block.capacity();
        }
    }
}

impl Segment {
    /// Returns the bytes that wait.
    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            SegmentBytes::Copied { block, taken } => &block[*taken..],
            SegmentBytes::Shared(lines) => &lines.bytes,
        }
    }

    fn advance(&mut self, count: usize) {
        match &mut self.bytes {
            SegmentBytes::Copied { taken, .. } => *taken += count,
            SegmentBytes::Shared(lines) => lines.bytes.advance(count),
        }
    }
}

/// Returns the length of the whole lines in the first `most` bytes; if there is none, the length of the first line where
/// `at_least_one` is true, and else 0.
fn end_of_lines(lines: &[u8], most: usize, at_least_one: bool) -> usize {
    let end = memrchr(b'\n', &lines[..most.min(lines.len())]);
    let end = end.or_else(|| if at_least_one { memchr(b'\n', lines) } else { None });
    end.map_or(if at_least_one { lines.len() } else { 0 }, |end| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::memory::MemoryBudget;
    use crate::peer::shared_lines::BatchMemoryRef;
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::sync::Arc;

    const LINES: SegmentKind = SegmentKind::Lines(Minute(0));

    fn take(waiting: &mut WaitingOutput, most: usize) -> Option<(SegmentKind, String)> {
        let mut taken = Vec::new();
        waiting.take_front(most, &mut taken).map(|kind| (kind, String::from_utf8(taken).unwrap()))
    }

    #[test]
    fn segments_are_taken_in_order_and_lines_whole() {
        let mut waiting = WaitingOutput::default();
        for (kind, text) in [(LINES, "one\n"), (LINES, "two\n"), (SegmentKind::Raw, "\x01\n\x02"), (LINES, "three\n")] {
            waiting.push(kind, text.as_bytes());
        }
        assert_eq!(waiting.count_lines(), 3, "a raw byte that looks like a line end is none");
        assert_eq!(take(&mut waiting, 5), Some((LINES, "one\n".into())));
        assert_eq!(take(&mut waiting, 1), Some((LINES, "two\n".into())), "at least one line");
        assert_eq!(take(&mut waiting, 1), Some((SegmentKind::Raw, "\x01\n\x02".into())), "raw bytes are not cut");
        assert_eq!(take(&mut waiting, 99), Some((LINES, "three\n".into())));
        assert_eq!(take(&mut waiting, 99), None);
    }

    #[test]
    fn raw_bytes_of_one_segment_alone_are_taken_at_a_time() {
        let mut waiting = WaitingOutput::default();
        for byte in ["a", "b"] {
            waiting.push(SegmentKind::Raw, byte.repeat(BLOCK_BYTES).as_bytes());
        }
        for byte in ["a", "b"] {
            assert_eq!(take(&mut waiting, 4 * BLOCK_BYTES), Some((SegmentKind::Raw, byte.repeat(BLOCK_BYTES))));
        }
    }

    #[test]
    fn lines_of_one_minute_are_one_segment_and_other_minutes_are_charged() {
        let mut waiting = WaitingOutput::default();
        let later = SegmentKind::Lines(Minute(1));
        for (kind, text) in [(LINES, "a\n"), (LINES, "b\n"), (later, "c\n"), (later, "d\n")] {
            waiting.push(kind, text.as_bytes());
        }
        assert_eq!(waiting.weight(), 8 + size_of::<Segment>(), "the second minute has a segment of its own");
        assert_eq!(take(&mut waiting, 99), Some((LINES, "a\nb\n".into())));
        assert_eq!(take(&mut waiting, 2), Some((later, "c\n".into())));
        assert_eq!(take(&mut waiting, 99), Some((later, "d\n".into())));
    }

    #[test]
    fn memory_is_at_most_twice_what_waits_and_is_given_back_block_by_block() {
        let (mut waiting, mut taken) = (WaitingOutput::default(), Vec::new());
        waiting.push(LINES, b"a\n");
        assert!(waiting.copied_capacity < 100, "a short backlog reserves little: {}", waiting.copied_capacity);
        for _ in 0..10_000 {
            waiting.push(LINES, &[b'\n'; 100]);
            assert!(waiting.copied_capacity <= 2 * waiting.len + 100, "{}", waiting.copied_capacity);
        }
        while waiting.take_front(1000, &mut taken).is_some() {
            assert!(waiting.copied_capacity <= waiting.len + 2 * BLOCK_BYTES, "{}", waiting.copied_capacity);
        }
        assert_eq!((waiting.len, waiting.copied_capacity), (0, 0));
    }

    fn shared(text: &str, budget: &Arc<MemoryBudget>) -> SharedSlice {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        BatchMemoryRef::new(bytes.len()).share(&bytes, &bytes, Some(budget)).expect("the text is long enough")
    }

    #[test]
    fn shared_lines_are_taken_together_with_copied_lines_of_their_minute() {
        let budget = MemoryBudget::new(1 << 20);
        let text = format!("{}\n", "x".repeat(599)).repeat(2);
        let mut waiting = WaitingOutput::default();
        waiting.push(LINES, b"a\n");
        waiting.push_shared(Minute(0), shared(&text, &budget));
        waiting.push(LINES, b"b\n");
        assert_eq!(waiting.weight(), 4 + text.len() + 2 * size_of::<Segment>());
        assert_eq!(waiting.count_lines(), 4);
        assert_eq!(take(&mut waiting, 700), Some((LINES, format!("a\n{}", &text[..600]))));
        assert_eq!(take(&mut waiting, 599), Some((LINES, text[..600].to_owned())), "at least one line");
        assert_eq!(budget.used(), 0, "the batch is released with its last line");
        assert_eq!(take(&mut waiting, 99), Some((LINES, "b\n".into())));
    }

    #[test]
    fn dropped_lines_are_counted_apart_from_the_notices_among_them() {
        let budget = MemoryBudget::new(1 << 20);
        let mut waiting = WaitingOutput::default();
        waiting.push(LINES, b"a\nb\n");
        waiting.push(SegmentKind::Raw, b"\xFF\n");
        waiting.push_notice(Minute(0), 7, b"*** 7 lines skipped\n");
        waiting.push(LINES, b"c\n");
        waiting.push_shared(Minute(0), shared(&format!("{}\n", "x".repeat(599)), &budget));
        waiting.push_notice(Minute(0), 5, b"*** 5 lines skipped\n");
        assert_eq!(waiting.drop_lines(), DroppedLines { lines: 4, notices: 2, told: 12 });
        assert_eq!(budget.used(), 0);
        assert_eq!(waiting.weight(), 2, "bytes that are no lines are kept");
        assert_eq!(waiting.drop_lines(), DroppedLines::default());
        assert_eq!(waiting.own_memory(), waiting.copied_capacity + waiting.segments.capacity() * size_of::<Segment>());
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
                    waiting.push(LINES, line.as_bytes());
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
