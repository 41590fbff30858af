//! Tests of the output buffer: order, whole lines, gaps, bounds, and each route's encoding.

use super::drain::ENCODED_AT_A_TIME;
use super::*;
use crate::limits::memory::{BacklogOwner, UNBLOCKED_ALLOWANCE};
use crate::peer::deferred_list::Deferrable as _;
use crate::peer::line_batch::EncodedBatch;
use crate::peer::output::DrainStatus;
use crate::peer::tests::ChargedSink;
use bytes::Bytes;
use proptest::prelude::*;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Takes as many bytes as it was allowed, then would block.
#[derive(Default)]
struct Pipe {
    allowed: AtomicUsize,
    broken: AtomicBool,
    taken: Mutex<Vec<u8>>,
}

impl Pipe {
    fn allowing(bytes: usize) -> Self {
        let pipe = Self::default();
        pipe.allow(bytes);
        pipe
    }

    fn allow(&self, bytes: usize) {
        self.allowed.store(bytes, Ordering::Relaxed);
    }

    fn text(&self) -> String {
        String::from_utf8(self.taken.try_lock().unwrap().clone()).unwrap()
    }
}

impl ByteSink for Pipe {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let take = self.allowed.load(Ordering::Relaxed).min(bytes.len());
        if take == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.allowed.fetch_sub(take, Ordering::Relaxed);
        self.taken.try_lock().unwrap().extend(&bytes[..take]);
        Ok(take)
    }
}

/// Lines that end in LF, and so many bytes of backlog.
fn settings(limit: usize) -> OutputSettings {
    OutputSettings { limit, allowance: 0, route: Route::DirectLf }
}

fn batch(text: &str) -> LineBatch {
    LineBatch::new(Bytes::copy_from_slice(text.as_bytes()), count_lines(text.as_bytes()), Minute::default())
}

impl OutputBuffer {
    /// Puts lines as a delivery pass does, encoded for the buffer's route.
    fn put_text(&mut self, text: &str, sink: &Pipe) -> PutOutcome {
        let batch = batch(text);
        self.put(&batch.encoded_for(self.settings.route), self.settings, sink)
    }

    fn drain_once(&mut self, sink: &Pipe) -> DrainStatus {
        self.drain(self.settings.route, Some(&mut in_brackets), None, sink)
    }
}

/// Encodes each line as `[line]` without a line end, as no other route does.
fn in_brackets(lines: &[u8], _: Minute, out: &mut VecDeque<u8>) {
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        out.push_back(b'[');
        out.extend(&line[..line.len() - 1]);
        out.push_back(b']');
    }
}

/// Seals bytes as `<bytes>`.
fn in_angles(bytes: &[u8], wire: &mut Vec<u8>) -> bool {
    wire.push(b'<');
    wire.extend_from_slice(bytes);
    wire.push(b'>');
    true
}

fn drain_all(buffer: &mut OutputBuffer, pipe: &Pipe) {
    pipe.allow(usize::MAX / 2);
    while let DrainStatus::Progress(_) = buffer.drain_once(pipe) {}
    assert_eq!(buffer.drain_once(pipe), DrainStatus::Empty);
    let memory = (buffer.encoded.capacity(), buffer.waiting.own_memory());
    assert_eq!(memory, (0, 0), "an empty buffer keeps no memory");
}

#[test]
fn lines_go_straight_to_a_sink_that_takes_them() {
    let (mut buffer, pipe) = (None, Pipe::allowing(100));
    let outcome = put(&mut buffer, &batch("a line longer than the backlog\n"), settings(10), &pipe);
    assert_eq!(outcome, PutOutcome { writes: 1, lines: 1, ..PutOutcome::default() });
    assert_eq!(pipe.text(), "a line longer than the backlog\n");
    assert!(buffer.is_none(), "nothing waits, and nothing is kept");
}

#[test]
fn a_buffer_is_made_for_what_the_sink_does_not_take() {
    let (mut buffer, pipe) = (None, Pipe::allowing(3));
    let outcome = put(&mut buffer, &batch("one\ntwo\n"), settings(100), &pipe);
    assert_eq!(outcome, PutOutcome { writes: 1, blocked: true, ..PutOutcome::default() });
    let outcome = put(&mut buffer, &batch("three\n"), settings(100), &pipe);
    assert_eq!(outcome, PutOutcome::default(), "the line waits after the backlog");
    let buffer = &mut buffer.unwrap();
    drain_all(buffer, &pipe);
    assert_eq!(pipe.text(), "one\ntwo\nthree\n");
    assert_eq!(buffer.lines_out(), 3);
}

#[test]
fn lines_dropped_before_there_was_a_buffer_are_told() {
    let (mut buffer, pipe) = (None, Pipe::allowing(100));
    let mut first = batch("a\n");
    first.record_loss(&batch("b\n"));
    let outcome = put(&mut buffer, &first, settings(100), &pipe);
    assert!(outcome.blocked && outcome.skipped && outcome.lines == 0);
    drain_all(&mut buffer.unwrap(), &pipe);
    assert_eq!(pipe.text(), "a\n*** 1 line skipped\n");
}

#[test]
fn no_write_overtakes_a_backlog() {
    let (mut buffer, pipe) = (OutputBuffer::new(settings(100), None), Pipe::allowing(3));
    let outcome = buffer.put_text("one\ntwo\n", &pipe);
    assert_eq!(outcome, PutOutcome { writes: 1, blocked: true, ..PutOutcome::default() });
    pipe.allow(50);
    let outcome = buffer.put_text("three\n", &pipe);
    assert_eq!(outcome, PutOutcome::default(), "the connection was told of the backlog once, and no write is tried");
    assert_eq!(pipe.text(), "one");
    drain_all(&mut buffer, &pipe);
    assert_eq!(pipe.text(), "one\ntwo\nthree\n");
}

#[test]
fn lines_are_dropped_whole_and_told_in_their_place() {
    let (mut buffer, pipe) = (OutputBuffer::new(settings(8), None), Pipe::allowing(2));
    // 2 bytes are written, 4 are the rest of that line and kept whatever the limit, then one line of 4 fits and two
    // are dropped.
    let outcome = buffer.put_text("12345\nabc\ndef\nghi\n", &pipe);
    assert!(outcome.blocked && outcome.skipped);
    assert!(buffer.put_text("lost\n", &pipe).skipped);
    drain_all(&mut buffer, &pipe);
    buffer.put_text("on\n", &pipe);
    assert_eq!(pipe.text(), "12345\nabc\n*** 3 lines skipped\non\n");
    assert_eq!(buffer.lines_out(), 4, "the notice is one of them");
}

#[test]
fn after_a_gap_lines_are_kept_only_when_half_of_the_limit_is_free() {
    let (mut buffer, pipe) = (OutputBuffer::new(settings(8), None), Pipe::default());
    assert!(!buffer.put_text("123\n567\n", &pipe).skipped);
    assert!(buffer.put_text("a\n", &pipe).skipped);
    pipe.allow(2);
    assert_eq!(buffer.drain_once(&pipe), DrainStatus::Progress(2));
    assert!(buffer.put_text("b\n", &pipe).skipped, "it would fit, but 6 of 8 bytes are in use");
    pipe.allow(2);
    assert_eq!(buffer.drain_once(&pipe), DrainStatus::Progress(2));
    buffer.put_text("c\n", &pipe);
    drain_all(&mut buffer, &pipe);
    assert_eq!(pipe.text(), "123\n567\n*** 2 lines skipped\n*** 1 line skipped\n", "the notice fills it");
    buffer.put_text("d\n", &pipe);
    assert!(pipe.text().ends_with("skipped\nd\n"));
}

#[test]
fn lines_dropped_on_the_way_are_told_after_their_batch() {
    let (mut buffer, pipe) = (OutputBuffer::new(settings(100), None), Pipe::allowing(100));
    let mut first = batch("a\n");
    first.record_loss(&batch("b\nc\n"));
    let outcome = buffer.put(&first, buffer.settings, &pipe);
    assert!(outcome.skipped && outcome.blocked, "the connection has to be told: there is a gap to tell");
    buffer.put_text("d\n", &pipe);
    drain_all(&mut buffer, &pipe);
    assert_eq!(pipe.text(), "a\n*** 2 lines skipped\nd\n");
}

#[test]
fn the_servers_own_lines_are_kept_by_a_full_backlog() {
    let (mut buffer, pipe) = (OutputBuffer::new(settings(4), None), Pipe::default());
    buffer.put_text("abc\ndef\n", &pipe);
    buffer.apply(OutputOp::Lines(b"ERROR\n".to_vec()));
    drain_all(&mut buffer, &pipe);
    assert_eq!(pipe.text(), "abc\n*** 1 line skipped\nERROR\n");
}

#[test]
fn raw_bytes_are_bounded_and_are_no_lines() {
    let (mut buffer, pipe) = (OutputBuffer::new(settings(8), None), Pipe::default());
    for _ in 0..RAW_ALLOWANCE {
        // WONT 10: the option is a byte that looks like a line end.
        buffer.apply(OutputOp::Raw(b"\xFF\xFC\n".to_vec()));
    }
    assert_eq!(buffer.waiting.weight(), (8 + RAW_ALLOWANCE) / 3 * 3);
    buffer.close();
    assert_eq!(buffer.lines_out(), 0, "none of them went out");
    assert_eq!(buffer.drain_once(&pipe), DrainStatus::Empty);
}

#[test]
fn a_broken_sink_takes_nothing_more() {
    let (mut buffer, pipe) = (OutputBuffer::new(settings(10), None), Pipe::allowing(2));
    buffer.put_text("a\nb\n", &pipe);
    pipe.broken.store(true, Ordering::Relaxed);
    assert_eq!(buffer.drain_once(&pipe), DrainStatus::Failed);
    assert_eq!(buffer.drain_once(&pipe), DrainStatus::Empty);
    assert_eq!(buffer.put_text("c\n", &pipe), PutOutcome::default());
    assert_eq!((buffer.encoded.capacity(), buffer.waiting.own_memory()), (0, 0));
    assert_eq!(buffer.lines_out(), 1, "what was thrown away did not go out");
}

#[test]
fn a_put_into_a_broken_sink_reports_the_failure_and_keeps_nothing() {
    let (mut none, pipe) = (None, Pipe::default());
    pipe.broken.store(true, Ordering::Relaxed);
    let failed = PutOutcome { writes: 1, failed: true, ..PutOutcome::default() };
    assert_eq!(put(&mut none, &batch("a\n"), settings(10), &pipe), failed);
    let kept = none.unwrap();
    assert!(kept.closed && kept.is_empty());
    let mut buffer = OutputBuffer::new(settings(10), None);
    assert_eq!(buffer.put_text("a\n", &pipe), failed);
    assert_eq!(buffer.put_text("b\n", &pipe), PutOutcome::default());
}

#[test]
fn the_backlog_stays_within_its_bound() {
    let (mut buffer, pipe) = (OutputBuffer::new(settings(1 << 20), None), Pipe::default());
    for _ in 0..3_000 {
        buffer.put_text(&format!("{}\n", "x".repeat(999)), &pipe);
        assert!(buffer.waiting.weight() <= 1 << 20 && buffer.waiting.own_memory() <= 1 << 20);
    }
    let kept = buffer.lines_out();
    assert!((950..=1048).contains(&kept), "{kept} lines, each with its segment");
}

/// A reader that takes a part now and then: the memory of both queues together stays near the bound.
#[test]
fn the_memory_of_a_slow_reader_stays_near_its_bound() {
    for route in [Route::DirectLf, Route::DirectCrLf, Route::Buffered] {
        let limit = 1 << 20;
        let (mut buffer, pipe) =
            (OutputBuffer::new(OutputSettings { limit, allowance: 0, route }, None), Pipe::default());
        for round in 0..20 {
            for _ in 0..2_000 {
                buffer.put_text(&format!("{}\n", "x".repeat(999)), &pipe);
            }
            pipe.allow(100_000 * (round % 7));
            while let DrainStatus::Progress(_) = buffer.drain_once(&pipe) {}
            let memory = buffer.encoded.capacity() + buffer.waiting.own_memory();
            let bound = if route == Route::Buffered { limit + UNBLOCKED_ALLOWANCE } else { limit };
            assert!(memory <= bound + 4 * ENCODED_AT_A_TIME, "{memory} on {route:?}");
        }
    }
}

/// The pass puts lines while the peer's own task has no turn to write them.
#[test]
fn a_buffered_peer_whose_sink_takes_bytes_loses_no_line() {
    let settings = OutputSettings { limit: 1 << 20, allowance: UNBLOCKED_ALLOWANCE, route: Route::Buffered };
    let line = format!("{}\n", "x".repeat(19_000));
    let (mut buffer, pipe) = (OutputBuffer::new(settings, None), Pipe::default());
    for _ in 0..10 {
        for _ in 0..100 {
            assert!(!buffer.put_text(&line, &pipe).skipped);
        }
        pipe.allow(usize::MAX / 2);
        // Two MB of lines come while the sink has taken a part of the two MB before.
        for _ in 0..60 {
            assert!(matches!(buffer.drain_once(&pipe), DrainStatus::Progress(_)));
        }
        for _ in 0..100 {
            assert!(!buffer.put_text(&line, &pipe).skipped);
        }
        drain_all(&mut buffer, &pipe);
    }
    assert_eq!(buffer.lines_out(), 2_000);
}

#[test]
fn the_allowance_of_a_buffered_peer_is_bounded_and_ends_when_the_sink_blocks() {
    let limit = 100_000;
    let settings = OutputSettings { limit, allowance: UNBLOCKED_ALLOWANCE, route: Route::Buffered };
    let line = format!("{}\n", "x".repeat(999));
    let (mut buffer, pipe) = (OutputBuffer::new(settings, None), Pipe::default());
    while !buffer.put_text(&line, &pipe).skipped {}
    let (bound, held) = (limit + UNBLOCKED_ALLOWANCE, buffer.waiting.weight());
    assert!((bound - 2_000..=bound).contains(&held), "{held}");
    let lines = usize::try_from(buffer.waiting.count_lines()).unwrap();
    assert_eq!(buffer.drain_once(&pipe), DrainStatus::Blocked);
    // An encoded line is a byte longer.
    pipe.allow((lines - 75) * 1_001);
    while let DrainStatus::Progress(_) = buffer.drain_once(&pipe) {}
    let held = buffer.waiting.weight();
    assert!((limit / 2..limit).contains(&held), "the sink blocks with {held} bytes left");
    assert!(buffer.put_text(&line, &pipe).skipped, "after a gap half of the limit has to be free");
    pipe.allow(60_000);
    while let DrainStatus::Progress(_) = buffer.drain_once(&pipe) {}
    while !buffer.put_text(&line, &pipe).skipped {}
    assert!(buffer.waiting.weight() <= limit, "the sink has blocked since: {}", buffer.waiting.weight());
}

#[test]
fn one_line_fits_into_an_empty_backlog_of_any_limit() {
    for route in [Route::DirectLf, Route::DirectCrLf, Route::Buffered] {
        for limit in [0, 1, 1_000, 1_500] {
            let (mut buffer, pipe) =
                (OutputBuffer::new(OutputSettings { limit, allowance: 0, route }, None), Pipe::default());
            // The allowance of a buffered peer ends.
            buffer.apply(OutputOp::Encoded(b"x".to_vec()));
            assert_eq!(buffer.drain_once(&pipe), DrainStatus::Blocked);
            if route != Route::Buffered {
                drain_all(&mut buffer, &pipe);
                pipe.allow(0);
            }
            let line = format!("{}\n", "y".repeat(1_499));
            assert!(!buffer.put_text(&line, &pipe).skipped, "{route:?}, limit {limit}");
            assert!(buffer.put_text("second\n", &pipe).skipped, "{route:?}, limit {limit}");
            drain_all(&mut buffer, &pipe);
            assert!(pipe.text().contains(line.trim_end()) && skipped(&pipe.text().replace(['[', ']'], "\n")) == 1);
            pipe.allow(0);
            assert!(!buffer.put_text(&line, &pipe).skipped, "{route:?}, limit {limit}: the gap was told");
        }
    }
}

#[test]
fn one_line_fits_after_the_notice_of_a_gap() {
    let (mut buffer, pipe) = (OutputBuffer::new(settings(10), None), Pipe::default());
    buffer.put_text("123456789\nlost\n", &pipe);
    pipe.allow(10);
    assert_eq!(buffer.drain_once(&pipe), DrainStatus::Progress(10));
    assert!(!buffer.put_text("longer than the limit\n", &pipe).skipped);
    drain_all(&mut buffer, &pipe);
    assert_eq!(pipe.text(), "123456789\n*** 1 line skipped\nlonger than the limit\n");
}

#[test]
fn a_short_backlog_reserves_little() {
    let (mut buffer, pipe) = (OutputBuffer::new(settings(1 << 30), None), Pipe::default());
    buffer.put_text("a\n", &pipe);
    buffer.put_text("b\n", &pipe);
    assert!(buffer.waiting.own_memory() <= 256, "{}", buffer.waiting.own_memory());
}

#[test]
fn a_buffered_peer_gets_lines_from_its_encoder_alone() {
    let settings = OutputSettings { limit: 100, allowance: UNBLOCKED_ALLOWANCE, route: Route::Buffered };
    let (mut state, pipe) = (None, Pipe::allowing(100));
    let outcome = put(&mut state, &batch("one\n"), settings, &pipe);
    assert_eq!(outcome, PutOutcome { blocked: true, ..PutOutcome::default() }, "no write, and the connection is told");
    let buffer = &mut state.unwrap();
    assert!(!buffer.put_text("two\n", &pipe).blocked);
    assert_eq!(pipe.text(), "");
    drain_all(buffer, &pipe);
    assert_eq!(pipe.text(), "[one][two]");
}

/// A member that ignores a name is shown none of its lines.
#[test]
fn lines_that_encode_to_nothing_lose_none_of_those_after_them() {
    let (mut buffer, pipe) = (
        OutputBuffer::new(
            OutputSettings { limit: 1 << 20, allowance: UNBLOCKED_ALLOWANCE, route: Route::Buffered },
            None,
        ),
        Pipe::allowing(1 << 20),
    );
    let put = |buffer: &mut OutputBuffer, text: &str, minute| {
        let lines = count_lines(text.as_bytes());
        let batch = LineBatch::new(Bytes::copy_from_slice(text.as_bytes()), lines, Minute(minute));
        buffer.put(
            &batch,
            OutputSettings { limit: 1 << 20, allowance: UNBLOCKED_ALLOWANCE, route: Route::Buffered },
            &pipe,
        );
    };
    // Several minutes, and more than is encoded at a time.
    put(&mut buffer, "hidden\n", 1);
    put(&mut buffer, &"hidden\n".repeat(50_000), 2);
    put(&mut buffer, "shown\n", 3);
    let mut encode = |lines: &[u8], _: Minute, out: &mut VecDeque<u8>| {
        let lines = lines.split_inclusive(|byte| *byte == b'\n').filter(|line| *line != b"hidden\n");
        lines.for_each(|line| out.extend(line));
    };
    let mut drains = 0;
    while buffer.drain(Route::Buffered, Some(&mut encode), None, &pipe) != DrainStatus::Empty {
        drains += 1;
        assert!(drains < 100, "the drain ends");
    }
    assert_eq!(pipe.text(), "shown\n");
    assert!(buffer.is_empty());
}

/// Linux telnet shows nothing before the answer to its timing mark.
#[test]
fn raw_bytes_are_kept_by_a_full_backlog() {
    let (mut buffer, pipe) = (OutputBuffer::new(settings(8), None), Pipe::default());
    buffer.put_text("1234567\n", &pipe);
    buffer.apply(OutputOp::Raw(b"\xFF\xFC\x06".to_vec()));
    pipe.allow(100);
    drain_all(&mut buffer, &pipe);
    assert_eq!(*pipe.taken.try_lock().unwrap(), b"1234567\n\xFF\xFC\x06");
}

#[test]
fn a_line_is_encoded_with_the_minute_in_which_it_was_said() {
    let settings = OutputSettings { limit: 100, allowance: UNBLOCKED_ALLOWANCE, route: Route::Buffered };
    let (mut buffer, pipe) = (OutputBuffer::new(settings, None), Pipe::allowing(100));
    for (minute, text) in [(5, "a\n"), (5, "b\n"), (6, "c\n"), (5, "d\n")] {
        let batch = LineBatch::new(Bytes::copy_from_slice(text.as_bytes()), 1, Minute(minute));
        buffer.put(&batch, settings, &pipe);
    }
    let mut encode = |lines: &[u8], minute: Minute, out: &mut VecDeque<u8>| {
        out.extend(format!("{} {}", minute.0, str::from_utf8(lines).unwrap()).into_bytes());
    };
    while let DrainStatus::Progress(_) = buffer.drain(Route::Buffered, Some(&mut encode), None, &pipe) {}
    assert_eq!(pipe.text(), "5 a\nb\n6 c\n5 d\n", "lines of one minute are encoded together");
}

/// The peer types while lines wait: what it typed is echoed at once, and no line is torn.
#[test]
fn encoded_bytes_go_out_before_waiting_lines() {
    let settings = OutputSettings { limit: 100, allowance: UNBLOCKED_ALLOWANCE, route: Route::Buffered };
    let (mut buffer, pipe) = (OutputBuffer::new(settings, None), Pipe::allowing(4));
    buffer.put_text("one\ntwo\n", &pipe);
    assert_eq!(buffer.drain_once(&pipe), DrainStatus::Progress(4));
    buffer.apply(OutputOp::Encoded(b"<echo>".to_vec()));
    buffer.put_text("three\n", &pipe);
    drain_all(&mut buffer, &pipe);
    assert_eq!(pipe.text(), "[one][two]<echo>[three]");
}

/// A slow reader opens its input line with a half-written line in the backlog: that line is finished first.
#[test]
fn a_route_changes_between_two_lines() {
    let settings = OutputSettings { limit: 100, allowance: 0, route: Route::DirectCrLf };
    let (mut buffer, pipe) = (OutputBuffer::new(settings, None), Pipe::allowing(2));
    buffer.put_text("one\ntwo\n", &pipe);
    buffer.apply(OutputOp::Route(Route::Buffered));
    buffer.apply(OutputOp::Encoded(b"<prompt>".to_vec()));
    buffer.put_text("three\n", &pipe);
    drain_all(&mut buffer, &pipe);
    assert_eq!(pipe.text(), "one\r\n<prompt>[two][three]");
    buffer.apply(OutputOp::Encoded(b"<end>".to_vec()));
    buffer.apply(OutputOp::Route(Route::DirectCrLf));
    buffer.put_text("four\n", &pipe);
    drain_all(&mut buffer, &pipe);
    assert!(pipe.text().ends_with("[three]<end>four\r\n"), "{}", pipe.text());
}

/// Returns the payload of text frames, of which none is cut.
fn unframe(mut frames: &[u8]) -> String {
    let mut text = String::new();
    while !frames.is_empty() {
        let cut = cut_frames(frames, 1);
        assert_eq!(frames[0], 0x81, "{frames:?}");
        text.push_str(str::from_utf8(&frames[cut.end - cut.lines_end..cut.end]).unwrap());
        frames = &frames[cut.end..];
    }
    text
}

#[test]
fn begun_frame_is_kept_whole_and_the_lines_after_it_are_framed_anew() {
    let settings = OutputSettings { route: Route::DirectFrames, ..settings(100) };
    let (mut buffer, pipe) = (OutputBuffer::new(settings, None), Pipe::allowing(3));
    buffer.put_text("one\ntwo\n", &pipe);
    buffer.put_text("three\n", &pipe);
    assert_eq!((buffer.framed_lines, buffer.encoded.len()), (2, 7), "the rest of the frame");
    buffer.apply(OutputOp::Encoded(b"<pong>".to_vec()));
    drain_all(&mut buffer, &pipe);
    assert_eq!(*pipe.taken.try_lock().unwrap(), *b"\x81\x08one\ntwo\n<pong>\x81\x06three\n");
    assert_eq!(buffer.lines_out(), 3);
}

/// A frame of 10 bytes has a header that ends in LF.
#[test]
fn header_that_looks_like_a_line_end_is_no_line_of_a_buffer_that_is_closed() {
    for route in [Route::DirectFrames, Route::BufferedFrames] {
        let settings = OutputSettings { route, ..settings(1_000) };
        let (mut buffer, pipe) = (OutputBuffer::new(settings, None), Pipe::default());
        for _ in 0..3 {
            buffer.put_text("123456789\n", &pipe);
        }
        pipe.allow(1);
        buffer.drain(route, None, None, &pipe);
        buffer.apply(OutputOp::Encoded(b"\n".to_vec()));
        buffer.close();
        assert_eq!(buffer.lines_out(), 0, "{route:?}");
    }
}

#[test]
fn lines_that_the_connection_encodes_and_seals_leave_in_frames() {
    let settings = OutputSettings { route: Route::BufferedFrames, ..settings(1_000) };
    let (mut buffer, pipe) = (OutputBuffer::new(settings, None), Pipe::default());
    buffer.put_text("one\ntwo\n", &pipe);
    pipe.allow(usize::MAX);
    let mut seal = in_angles;
    while let DrainStatus::Progress(_) =
        buffer.drain(Route::BufferedFrames, Some(&mut in_brackets), Some(&mut seal), &pipe)
    {}
    assert_eq!(*pipe.taken.try_lock().unwrap(), *b"<\x81\x0A[one][two]>");
}

/// The gaps that a text tells, summed.
fn skipped(text: &str) -> u64 {
    let told = text.lines().filter(|line| line.starts_with("*** "));
    told.map(|line| line.split(' ').nth(1).unwrap().parse::<u64>().unwrap()).sum()
}

proptest! {
    /// Wherever a sink cuts a write and whatever the limit: a line that was begun is finished, the others are there
    /// whole or told by number, and each direct route has its own line ends.
    #[test]
    fn begun_lines_are_finished_and_the_others_are_whole_or_told(
        lengths in prop::collection::vec(0usize..12, 1..8),
        cut in 0usize..100,
        limit in 0usize..60,
        route in prop::sample::select(&[Route::DirectLf, Route::DirectCrLf, Route::DirectFrames][..]),
    ) {
        let lines: Vec<String> = lengths.iter().enumerate().map(|(id, len)| format!("{id}{}\n", "x".repeat(*len))).collect();
        let (mut buffer, pipe) = (OutputBuffer::new(OutputSettings { limit, allowance: 0, route }, None), Pipe::allowing(cut));
        buffer.put_text(&lines.concat(), &pipe);
        pipe.allow(0);
        buffer.put_text("last\n", &pipe);
        drain_all(&mut buffer, &pipe);
        let text = if route.has_frames() { unframe(&pipe.taken.try_lock().unwrap()) } else { pipe.text() };
        let end = if route == Route::DirectCrLf { "\r\n" } else { "\n" };
        prop_assert!(text.is_empty() || text.ends_with(end));
        let seen: Vec<String> = text.split_terminator(end).filter(|line| !line.starts_with("*** ")).map(|line| format!("{line}\n")).collect();
        let said: Vec<String> = lines.into_iter().chain(["last\n".to_owned()]).collect();
        // A subsequence of what was said, and the rest was told.
        let mut rest = said.iter();
        prop_assert!(seen.iter().all(|line| rest.any(|other| other == line)), "{:?} of {:?}", seen, said);
        prop_assert_eq!(seen.len() as u64 + skipped(&text), said.len() as u64);
        prop_assert_eq!(buffer.lines_out(), text.lines().count() as u64);
    }
}

/// Owns a backlog and does nothing.
struct Owner;

impl BacklogOwner for Owner {
    fn request_reclaim(&self) {}
}

/// Owns a backlog and notes whether it was asked for it.
struct Asked(AtomicBool);

impl BacklogOwner for Asked {
    fn request_reclaim(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Returns lines of 1,000 bytes.
fn thousands(lines: usize) -> String {
    format!("{}\n", "x".repeat(999)).repeat(lines)
}

#[test]
fn slow_readers_of_one_batch_are_charged_for_it_once() {
    let budget = MemoryBudget::new(1 << 30);
    let batch = batch(&thousands(100));
    let mut states: Vec<_> = (0..10).map(|_| (None, ChargedSink(Pipe::default(), Arc::clone(&budget)))).collect();
    for (state, pipe) in &mut states {
        put(state, &batch, settings(1 << 20), pipe);
    }
    assert_eq!(budget.used(), 100_000 + 10 * KERNEL_SEND_BUFFER as u64);
    drop(batch);
    for (at, (state, pipe)) in states.iter_mut().enumerate() {
        drain_all(state.as_mut().unwrap(), &pipe.0);
        assert!(pipe.0.text() == thousands(100));
        let shared = if at < 9 { 100_000 } else { 0 };
        assert_eq!(budget.used(), shared + (9 - at as u64) * KERNEL_SEND_BUFFER as u64);
    }
}

#[test]
fn reader_that_keeps_up_charges_nothing() {
    let budget = MemoryBudget::new(1 << 30);
    let pipe = ChargedSink(Pipe::allowing(1 << 20), Arc::clone(&budget));
    let settings = OutputSettings { limit: 1 << 20, allowance: UNBLOCKED_ALLOWANCE, route: Route::Buffered };
    let mut state = None;
    put(&mut state, &batch("short\n"), settings, &pipe);
    assert_eq!(budget.used(), 0, "a short line waits for the peer's own task");
    drain_all(state.as_mut().unwrap(), &pipe.0);
    assert_eq!(budget.used(), 0);
}

#[test]
fn backlog_is_a_quarter_under_high_pressure_and_one_line_without_memory() {
    for (used, kept) in [(0, 40), (800 << 20, 10), (1 << 30, 1)] {
        let budget = MemoryBudget::new(1 << 30);
        budget.charge(used);
        let pipe = ChargedSink(Pipe::default(), Arc::clone(&budget));
        let mut state = None;
        let outcome = put(&mut state, &batch(&thousands(100)), settings(40_000), &pipe);
        assert!(outcome.skipped);
        let buffer = state.as_mut().unwrap();
        assert_eq!(buffer.waiting.count_lines(), kept, "{used} bytes are charged");
        assert!(put(&mut state, &batch("more\n"), settings(40_000), &pipe).skipped);
        let told = 101 - kept;
        drain_all(state.as_mut().unwrap(), &pipe.0);
        assert!(pipe.0.text().ends_with(&format!("*** {told} lines skipped\n")));
    }
}

#[test]
fn dropped_backlog_is_told_with_the_gaps_that_it_told() {
    let (mut buffer, pipe) = (OutputBuffer::new(settings(8), None), Pipe::allowing(2));
    buffer.put_text("12345\nabc\nlost\nlost\n", &pipe);
    // The notice of two lines waits, and so does a reply of the connection itself.
    buffer.apply(OutputOp::Lines(b"reply\n".to_vec()));
    buffer.apply(OutputOp::Raw(b"\xFF\xF6".to_vec()));
    buffer.apply(OutputOp::DropLines);
    assert_eq!(buffer.lines_out(), 1, "the begun line stays");
    pipe.allow(100);
    while let DrainStatus::Progress(_) = buffer.drain_once(&pipe) {}
    assert_eq!(*pipe.taken.try_lock().unwrap(), b"12345\n\xFF\xF6*** 4 lines skipped\n");
    assert_eq!(buffer.lines_out(), 2);
}

/// A step of the conservation test.
#[derive(Clone, Debug)]
enum Step {
    Put { lines: usize, len: usize },
    Drain { allowed: usize },
    Reply(usize),
    Raw(usize),
    Echo(usize),
    DropLines,
    Register,
    Close,
    Panic,
}

fn steps() -> impl Strategy<Value = Vec<(Step, usize)>> {
    let step = prop_oneof![
        6 => (1usize..40, 0usize..2_000).prop_map(|(lines, len)| Step::Put { lines, len }),
        6 => (0usize..60_000).prop_map(|allowed| Step::Drain { allowed }),
        1 => (1usize..9_000).prop_map(Step::Reply),
        1 => (1usize..5_000).prop_map(Step::Raw),
        1 => (1usize..5_000).prop_map(Step::Echo),
        1 => Just(Step::DropLines),
        1 => Just(Step::Register),
        1 => Just(Step::Close),
        1 => Just(Step::Panic),
    ];
    prop::collection::vec((step, 0usize..3), 0..60)
}

proptest! {
    /// Three peers of a room take any steps, also in a panic: all that was charged is released, and meanwhile the charge is
    /// at least what the buffers hold of their own.
    #[test]
    fn charged_memory_is_released(steps in steps(), routes in prop::array::uniform3(0usize..5), ceiling in 0u64..600_000) {
        let budget = MemoryBudget::new(ceiling);
        let routes = routes.map(|route| [Route::DirectLf, Route::DirectCrLf, Route::Buffered, Route::DirectFrames, Route::BufferedFrames][route]);
        let settings = routes.map(|route| OutputSettings { limit: 50_000, allowance: 10_000, route });
        let pipe = ChargedSink(Pipe::default(), Arc::clone(&budget));
        let mut states: [LockState<OutputBuffer>; 3] = [None, None, None];
        let owner: Arc<dyn BacklogOwner> = Arc::new(Owner);
        for (step, peer) in steps {
            if let Step::Put { lines, len } = step {
                let batch = EncodedBatch::new(Bytes::from(format!("{}\n", "y".repeat(len)).repeat(lines)), lines as u64);
                for (state, settings) in states.iter_mut().zip(settings) {
                    put(state, batch.whole(settings.route), settings, &pipe);
                }
            }
            let state = &mut states[peer];
            let buffer = state.get_or_insert_with(|| Box::new(OutputBuffer::new(settings[peer], Some(&budget))));
            match step {
                Step::Put { .. } => {}
                Step::Drain { allowed } => {
                    pipe.0.allow(allowed);
                    while let DrainStatus::Progress(_) = buffer.drain(routes[peer], Some(&mut in_brackets), None, &pipe) {}
                    pipe.0.allow(0);
                }
                Step::Reply(len) => buffer.apply(OutputOp::Reply(format!("{}\n", "r".repeat(len)).into())),
                Step::Raw(len) => buffer.apply(OutputOp::Raw(vec![0xFF; len])),
                Step::Echo(len) => buffer.apply(OutputOp::Encoded(vec![b'e'; len])),
                Step::DropLines => buffer.apply(OutputOp::DropLines),
                Step::Register => {
                    if !buffer.is_registered() {
                        buffer.set_registration(budget.register_backlog(peer as u64, Arc::downgrade(&owner)));
                    }
                }
                Step::Close => buffer.close(),
                Step::Panic => {
                    let mut panics = |_: &[u8], _: Minute, _: &mut VecDeque<u8>| std::panic::resume_unwind(Box::new(()));
                    let drain = || buffer.drain(Route::Buffered, Some(&mut panics), None, &pipe);
                    // A panic occurs only where lines wait.
                    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(drain));
                }
            }
            let own = states.iter().flatten().map(|buffer| buffer.encoded.capacity() + buffer.waiting.own_memory());
            let own: usize = own.sum();
            prop_assert!(budget.used() + 3 * 2 * CHARGE_UNIT as u64 >= own as u64 || matches!(step, Step::Panic));
            if let Some(buffer) = states[peer].take_if(|buffer| buffer.is_disposable()) {
                drop(buffer);
            }
        }
        drop(states);
        prop_assert_eq!(budget.used(), 0);
        prop_assert_eq!(budget.backlogs(), 0);
    }
}

/// A flooder's lines come between those of a light sender, and the peer reads nothing, then reads slowly.
#[test]
fn slow_reader_loses_the_lines_of_high_precedence_and_no_other() {
    const LIMIT: usize = 2_000;
    let (mut buffer, pipe) = (OutputBuffer::new(settings(LIMIT), None), Pipe::default());
    let heavy = format!("flooder: {}\n", "x".repeat(90)).repeat(5);
    let mut expected = Vec::new();
    for number in 0..100 {
        let light = format!("alice: {number}\n");
        let text = format!("{heavy}{light}");
        let batch = EncodedBatch::new(Bytes::from(text.clone()), 6)
            .with_high_precedence(std::slice::from_ref(&(0..heavy.len())));
        buffer.put(batch.whole(Route::DirectLf), buffer.settings, &pipe);
        expected.push(light.trim_end().to_owned());
        assert!(buffer.held() <= LIMIT, "{}", buffer.held());
        // The peer reads a fifth of what is said.
        pipe.allow(100);
        buffer.drain_once(&pipe);
    }
    drain_all(&mut buffer, &pipe);
    let seen = pipe.text();
    assert!(seen.lines().filter(|line| line.starts_with("alice")).eq(&expected), "{seen}");
    let skipped = seen.lines().filter_map(|line| line.strip_prefix("*** ")?.split_once(" line"));
    let skipped: usize = skipped.map(|(count, _)| count.parse::<usize>().unwrap()).sum();
    let kept = seen.lines().filter(|line| line.starts_with("flooder")).count();
    assert_eq!((kept + skipped, kept > 10), (500, true), "each line is kept or told");
}

#[test]
fn lines_of_high_precedence_fill_half_of_the_limit() {
    for (range, kept) in [(0..8, 4), (0..0, 8), (4..8, 4), (0..4, 8)] {
        let (mut buffer, pipe) = (OutputBuffer::new(settings(8), None), Pipe::default());
        let batch = EncodedBatch::new(Bytes::from_static(b"a\nb\nc\nd\n"), 4);
        buffer.put(
            batch.with_high_precedence(std::slice::from_ref(&range)).whole(Route::DirectLf),
            buffer.settings,
            &pipe,
        );
        assert_eq!(buffer.held(), kept, "{range:?}");
    }
}

/// A reply of the connection that waited for the write lock.
#[test]
fn a_reply_is_bounded_as_the_lines_of_a_room_are_and_counted() {
    let (mut buffer, pipe) = (OutputBuffer::new(settings(8), None), Pipe::default());
    buffer.put_text("room\n", &pipe);
    buffer.apply(OutputOp::Reply(b"a\nb\n".to_vec()));
    assert_eq!(buffer.lines_out(), 2, "the second line of the reply exceeds the bound");
    drain_all(&mut buffer, &pipe);
    assert_eq!(pipe.text(), "room\na\n*** 1 line skipped\n");
    assert_eq!(buffer.lines_out(), 3);
}

#[test]
fn raw_bytes_follow_the_notice_of_the_lines_dropped_before_them() {
    let (mut buffer, pipe) = (OutputBuffer::new(settings(8), None), Pipe::default());
    buffer.put_text("1234567\nlost\n", &pipe);
    buffer.apply(OutputOp::Raw(b"<raw>".to_vec()));
    drain_all(&mut buffer, &pipe);
    assert_eq!(pipe.text(), "1234567\n*** 1 line skipped\n<raw>");
}

#[test]
fn raw_bytes_that_are_dropped_tell_no_gap() {
    let (mut buffer, pipe) = (OutputBuffer::new(settings(8), None), Pipe::default());
    buffer.put_text("1234567\n", &pipe);
    for _ in 0..100 {
        buffer.put_text("lost\n", &pipe);
        buffer.apply(OutputOp::Raw(vec![0xFF; RAW_ALLOWANCE + 1]));
    }
    assert_eq!(buffer.held(), 8);
    drain_all(&mut buffer, &pipe);
    assert_eq!(pipe.text(), "1234567\n*** 100 lines skipped\n");
}

#[test]
fn bytes_that_look_like_line_ends_are_no_lines_of_a_buffer_that_is_closed() {
    let (mut buffer, pipe) = (OutputBuffer::new(settings(100), None), Pipe::default());
    buffer.put_text("a\nb\n", &pipe);
    buffer.apply(OutputOp::Encoded(b"\n\n".to_vec()));
    buffer.apply(OutputOp::Raw(b"\n".to_vec()));
    pipe.allow(2);
    buffer.drain_once(&pipe);
    assert_eq!(pipe.text(), "\n\n", "encoded bytes go out first");
    pipe.allow(2);
    buffer.drain_once(&pipe);
    buffer.close();
    // The two encoded bytes cannot be told from lines once they went out.
    assert_eq!(buffer.lines_out(), 2 + 1);
}

/// The route of a direct peer changes without the write lock: the buffer has the old one.
#[test]
fn a_put_and_a_drain_use_the_route_that_they_are_given() {
    let (mut buffer, pipe) = (OutputBuffer::new(settings(100), None), Pipe::allowing(2));
    let cr_lf = OutputSettings { route: Route::DirectCrLf, ..settings(100) };
    let outcome = buffer.put(&batch("a\nb\n").encoded_for(Route::DirectCrLf), cr_lf, &pipe);
    assert_eq!(outcome, PutOutcome { writes: 1, blocked: true, ..PutOutcome::default() });
    drain_all(&mut buffer, &pipe);
    assert_eq!(pipe.text(), "a\r\nb\r\n");
    let (mut buffer, pipe) = (OutputBuffer::new(settings(100), None), Pipe::default());
    buffer.put_text("a\n", &pipe);
    pipe.allow(100);
    buffer.drain(Route::DirectCrLf, None, None, &pipe);
    assert_eq!(pipe.text(), "a\r\n");
}

#[test]
fn a_put_that_the_sink_takes_whole_blocks_nothing_and_charges_no_kernel_buffer() {
    let budget = MemoryBudget::new(1 << 30);
    let pipe = ChargedSink(Pipe::allowing(100), Arc::clone(&budget));
    let mut state = Some(Box::new(OutputBuffer::new(settings(100), Some(&budget))));
    let outcome = put(&mut state, &batch("a\n"), settings(100), &pipe);
    assert_eq!(outcome, PutOutcome { writes: 1, ..PutOutcome::default() });
    assert_eq!(budget.used(), 0);
}

#[test]
fn the_allowance_begins_again_when_the_sink_takes_bytes() {
    let settings = OutputSettings { limit: 8, allowance: 8, route: Route::DirectLf };
    let (mut buffer, pipe) = (OutputBuffer::new(settings, None), Pipe::default());
    buffer.put_text("1234567\n", &pipe);
    assert_eq!(buffer.drain_once(&pipe), DrainStatus::Blocked);
    assert!(buffer.put_text("lost\n", &pipe).skipped, "a blocked sink has no allowance");
    pipe.allow(1);
    assert_eq!(buffer.drain_once(&pipe), DrainStatus::Progress(1));
    assert_eq!(buffer.limit(), 16);
}

#[test]
fn output_of_the_connection_is_charged_at_once_and_a_close_releases_it() {
    let budget = MemoryBudget::new(1 << 30);
    let mut buffer = OutputBuffer::new(settings(100), Some(&budget));
    buffer.apply(OutputOp::Lines(thousands(100).into_bytes()));
    assert!(budget.used() + CHARGE_UNIT as u64 > 100_000, "{}", budget.used());
    let owner: Arc<dyn BacklogOwner> = Arc::new(Owner);
    buffer.set_registration(budget.register_backlog(1, Arc::downgrade(&owner)));
    buffer.apply(OutputOp::Encoded(b"e\n".to_vec()));
    buffer.close();
    assert_eq!((budget.used(), budget.backlogs()), (0, 0));
    assert_eq!(buffer.lines_out(), 0, "what was thrown away did not go out");
    assert_eq!(buffer.drain_once(&Pipe::default()), DrainStatus::Empty);
    assert_eq!(budget.used(), 0, "a closed buffer charges no kernel buffer that was never full");
}

#[test]
fn a_backlog_that_is_registered_late_is_found_with_all_its_lines() {
    let budget = MemoryBudget::new(1 << 20);
    let mut buffer = OutputBuffer::new(settings(1 << 20), Some(&budget));
    buffer.put_text(&thousands(100), &Pipe::default());
    let owner = Arc::new(Asked(AtomicBool::new(false)));
    let weak: std::sync::Weak<Asked> = Arc::downgrade(&owner);
    buffer.set_registration(budget.register_backlog(1, weak));
    assert!(buffer.is_registered());
    budget.charge(1 << 20);
    assert!(owner.0.load(Ordering::Relaxed), "the backlog has lines that could be dropped");
}

/// A peer that loses lines for want of memory makes the largest backlogs give theirs up.
#[test]
fn lines_that_are_refused_without_memory_are_demand_for_it() {
    let budget = MemoryBudget::new(1 << 20);
    let mut large = OutputBuffer::new(settings(1 << 20), Some(&budget));
    large.put_text(&thousands(100), &Pipe::default());
    budget.charge(1 << 20);
    let pipe = ChargedSink(Pipe::default(), Arc::clone(&budget));
    let mut state = None;
    put(&mut state, &batch("a\n"), settings(1 << 20), &pipe);
    let owner = Arc::new(Asked(AtomicBool::new(false)));
    let weak: std::sync::Weak<Asked> = Arc::downgrade(&owner);
    large.set_registration(budget.register_backlog(1, weak));
    assert!(!owner.0.load(Ordering::Relaxed), "nothing is charged or refused since the last reclaim");
    assert!(put(&mut state, &batch(&thousands(1_000)), settings(1 << 20), &pipe).skipped);
    assert!(owner.0.load(Ordering::Relaxed), "a megabyte was refused");
}

#[test]
fn lines_of_high_precedence_are_kept_up_to_half_of_the_limit_batch_by_batch() {
    let (mut buffer, pipe) = (OutputBuffer::new(settings(16), None), Pipe::default());
    for (text, is_kept) in [("a\nb\nc\n", true), ("d\n", true), ("e\n", false)] {
        let batch = EncodedBatch::new(Bytes::from_static(text.as_bytes()), count_lines(text.as_bytes()));
        let batch = batch.with_high_precedence(std::slice::from_ref(&(0..text.len())));
        let outcome = buffer.put(batch.whole(Route::DirectLf), buffer.settings, &pipe);
        assert_eq!(outcome.skipped, !is_kept, "{text}");
    }
    drain_all(&mut buffer, &pipe);
    assert_eq!(pipe.text(), "a\nb\nc\nd\n*** 1 line skipped\n");
}

#[test]
fn a_closed_buffer_tells_no_gap() {
    let (mut buffer, pipe) = (OutputBuffer::new(settings(2), None), Pipe::default());
    buffer.put_text("a\nlost\n", &pipe);
    buffer.close();
    pipe.allow(100);
    assert_eq!(buffer.drain_once(&pipe), DrainStatus::Empty);
    assert_eq!(pipe.text(), "");
}

#[test]
fn a_buffer_has_no_allowance_under_high_pressure() {
    let budget = MemoryBudget::new(1000);
    let settings = OutputSettings { limit: 8, allowance: 100, route: Route::DirectLf };
    let buffer = OutputBuffer::new(settings, Some(&budget));
    assert_eq!(buffer.limit(), 108);
    budget.charge(750);
    assert_eq!(buffer.limit(), 8);
}

#[test]
fn raw_bytes_that_were_about_to_be_written_are_no_lines_of_a_closed_buffer() {
    let (mut buffer, pipe) = (OutputBuffer::new(settings(100), None), Pipe::default());
    buffer.apply(OutputOp::Raw(b"\n\n".to_vec()));
    assert_eq!(buffer.drain_once(&pipe), DrainStatus::Blocked);
    buffer.put_text("a\n", &pipe);
    assert_eq!(buffer.lines_out(), 2 + 1, "bytes that look like line ends count until they are thrown away");
    buffer.close();
    assert_eq!(buffer.lines_out(), 0);
}

/// A peer whose transport seals all bytes.
#[test]
fn sealed_bytes_leave_in_the_order_in_which_the_transport_made_them() {
    let buffered = OutputSettings { route: Route::Buffered, ..settings(1 << 20) };
    let mut buffer = OutputBuffer::new(buffered, None);
    let pipe = Pipe::allowing(3);
    let drain =
        |buffer: &mut OutputBuffer| buffer.drain(Route::Buffered, Some(&mut in_brackets), Some(&mut in_angles), &pipe);
    buffer.apply(OutputOp::Sealed(b"hello".to_vec()));
    assert_eq!(drain(&mut buffer), DrainStatus::Progress(3));
    buffer.put_text("one\n", &pipe);
    buffer.apply(OutputOp::Encoded(b"echo".to_vec()));
    buffer.apply(OutputOp::Sealed(b"alert".to_vec()));
    assert_eq!((drain(&mut buffer), pipe.text().as_str()), (DrainStatus::Blocked, "hel"));
    assert_eq!(buffer.encoded_len(), "lo".len() + "alert".len() + "echo".len());
    for allowed in [4, 1_000] {
        pipe.allow(allowed);
        while let DrainStatus::Progress(_) = drain(&mut buffer) {}
    }
    assert_eq!(pipe.text(), "helloalert<echo><[one]>");
    assert_eq!((drain(&mut buffer), buffer.sealed.capacity()), (DrainStatus::Empty, 0));
}

/// Sealed bytes hold one record at the most: the lines after it stay lines, and can be dropped.
#[test]
fn slow_reader_of_a_sealing_transport_is_told_the_exact_number_of_skipped_lines() {
    let buffered = OutputSettings { route: Route::Buffered, ..settings(64 << 10) };
    let mut buffer = OutputBuffer::new(buffered, None);
    let (pipe, mut opened) = (Pipe::default(), Vec::new());
    let mut drain = |buffer: &mut OutputBuffer| {
        let mut encode = |lines: &[u8], _: Minute, out: &mut VecDeque<u8>| out.extend(lines);
        let mut seal = |bytes: &[u8], wire: &mut Vec<u8>| {
            opened.extend_from_slice(bytes);
            in_angles(bytes, wire)
        };
        buffer.drain(Route::Buffered, Some(&mut encode), Some(&mut seal), &pipe)
    };
    for number in 0..10_000 {
        buffer.put_text(&format!("line {number}\n"), &pipe);
        if number == 2_000 {
            assert_eq!(drain(&mut buffer), DrainStatus::Blocked);
        }
    }
    assert!(buffer.sealed.capacity() <= 40 << 10, "{}", buffer.sealed.capacity());
    pipe.allow(usize::MAX / 2);
    while let DrainStatus::Progress(_) = drain(&mut buffer) {}
    let text = String::from_utf8(opened).unwrap();
    let mut next = 0;
    for line in text.lines() {
        if let Some(count) = line.strip_prefix("*** ").and_then(|notice| notice.strip_suffix(" lines skipped")) {
            next += count.parse::<usize>().unwrap();
        } else {
            assert_eq!(line, format!("line {next}"));
            next += 1;
        }
    }
    assert_eq!(next, 10_000);
    assert!(text.contains(" lines skipped"), "nothing was skipped");
}

#[test]
fn transport_that_takes_nothing_any_more_ends_the_output() {
    let buffered = OutputSettings { route: Route::Buffered, ..settings(1 << 20) };
    let mut buffer = OutputBuffer::new(buffered, None);
    let pipe = Pipe::allowing(1_000);
    buffer.put_text("one\n", &pipe);
    let status = buffer.drain(Route::Buffered, Some(&mut in_brackets), Some(&mut |_, _| false), &pipe);
    assert_eq!((status, pipe.text().as_str()), (DrainStatus::Failed, ""));
    assert!(buffer.closed);
}

#[test]
fn lines_of_a_sealed_record_that_is_not_written_whole_count_as_lost() {
    let buffered = OutputSettings { route: Route::Buffered, ..settings(1 << 20) };
    let mut buffer = OutputBuffer::new(buffered, None);
    let pipe = Pipe::allowing(2);
    let mut encode = |lines: &[u8], _: Minute, out: &mut VecDeque<u8>| out.extend(lines);
    buffer.put_text("one\ntwo\n", &pipe);
    let status = buffer.drain(Route::Buffered, Some(&mut encode), Some(&mut in_angles), &pipe);
    assert_eq!((status, buffer.lines_out()), (DrainStatus::Progress(2), 2));
    buffer.close();
    assert_eq!((buffer.lines_out(), buffer.encoded_len()), (0, 0));
}
