//! A peer's buffer: bytes go straight to its socket; what the socket does not take is its backlog.

use crate::peer::line_batch::{LineBatch, Route, count_lines, push_with_cr};
use crate::peer::write_lock::LockState;
use crate::text::messages;
use memchr::{memchr, memrchr};
use socket2::SockRef;
use std::collections::VecDeque;
use std::io;

/// Where a peer's bytes go. It never blocks: `WouldBlock` says "not now".
pub trait ByteSink: Send + Sync {
    /// Writes some of `bytes`, at once or not at all; how many it took.
    ///
    /// # Errors
    /// `WouldBlock` when nothing can be taken now; anything else ends the peer.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;
}

impl ByteSink for tokio::net::TcpStream {
    /// Straight to the system: what the runtime notes of a socket is one more place in memory for each
    /// delivery. It is asked when the socket takes nothing, so that it tells when that changes. (A
    /// Rust program gets an error for a broken pipe, and no signal.)
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match SockRef::from(self).send(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Self::try_write(self, bytes),
            done => done,
        }
    }
}

/// What a put did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PutOutcome {
    /// Calls of the sink.
    pub writes: u64,
    /// Lines that went straight to the sink, with no buffer to count them.
    pub lines: u64,
    /// Whether the sink took less than all: there is a backlog that was not there before.
    pub blocked: bool,
    /// Whether lines were dropped.
    pub skipped: bool,
    /// Whether the sink failed just now.
    pub failed: bool,
}

/// How far a drain came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DrainStatus {
    /// No backlog is left.
    Empty,
    /// The sink took this many bytes and there are more.
    Progress(usize),
    /// The sink takes nothing now.
    Blocked,
    /// The sink failed just now, and the backlog is lost.
    Failed,
}

/// How a peer is served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutputSettings {
    /// The bound of its backlog, in bytes.
    pub(crate) limit: usize,
    /// The route of its lines.
    pub(crate) route: Route,
}

/// Hands a room's lines to a peer: straight to its sink, and what that does not take to its
/// buffer, which is made for it. A peer that reads in time has none.
pub(crate) fn put(
    buffer: &mut LockState<OutputBuffer>,
    batch: &LineBatch,
    settings: OutputSettings,
    sink: &(impl ByteSink + ?Sized),
) -> PutOutcome {
    if let Some(buffer) = buffer {
        return buffer.put(batch, settings, sink);
    }
    if settings.route == Route::Buffered {
        return buffer.insert(Box::new(OutputBuffer::new(settings))).keep_rest(batch, 0);
    }
    let written = sink.try_write(&batch.bytes);
    if batch.dropped_after == 0 && matches!(written, Ok(count) if count == batch.bytes.len()) {
        return PutOutcome { writes: 1, lines: batch.lines, ..PutOutcome::default() };
    }
    buffer.insert(Box::new(OutputBuffer::new(settings))).take_in(batch, written)
}

/// What of a peer's lines waits to be written. Whoever holds the peer's turn works on it.
///
/// 1. Bytes MUST leave in the order in which they were put.
/// 2. Nothing MUST be written around a backlog or around a gap that was not yet told.
/// 3. A line MUST be kept whole or dropped whole; one whose head was written MUST be kept.
/// 4. Dropped lines MUST be counted, and told in the place where they are missing.
/// 5. The backlog MUST NOT exceed its limit by more than the rest of one line and what the
///    server itself says (a notice, an error).
#[derive(Debug)]
pub(crate) struct OutputBuffer {
    /// What the sink did not take.
    backlog: VecDeque<u8>,
    settings: OutputSettings,
    /// Lines dropped since the last that was kept.
    gap: u64,
    /// Lines accepted by this buffer.
    lines: u64,
    /// Lines of these that were dropped.
    lines_lost: u64,
    /// The sink failed, or the peer has ended: take nothing any more.
    closed: bool,
}

impl OutputBuffer {
    pub(crate) fn new(settings: OutputSettings) -> Self {
        Self { backlog: VecDeque::new(), settings, gap: 0, lines: 0, lines_lost: 0, closed: false }
    }

    /// Writes a room's lines unless that would overtake something (rule 2); what is not written is
    /// kept.
    fn put(&mut self, batch: &LineBatch, settings: OutputSettings, sink: &(impl ByteSink + ?Sized)) -> PutOutcome {
        self.settings = settings;
        if self.closed {
            return PutOutcome::default();
        }
        if self.is_empty() && settings.route != Route::Buffered {
            return self.take_in(batch, sink.try_write(&batch.bytes));
        }
        self.keep_rest(batch, 0)
    }

    /// Takes in a batch that the sink was given, and took so much of.
    fn take_in(&mut self, batch: &LineBatch, written: io::Result<usize>) -> PutOutcome {
        match written {
            Ok(written) => PutOutcome { writes: 1, ..self.keep_rest(batch, written) },
            Err(error) if is_transient(&error) => PutOutcome { writes: 1, ..self.keep_rest(batch, 0) },
            Err(_) => {
                self.close();
                PutOutcome { writes: 1, failed: true, ..PutOutcome::default() }
            }
        }
    }

    /// Keeps what is not written of a batch.
    fn keep_rest(&mut self, batch: &LineBatch, written: usize) -> PutOutcome {
        let (was_empty, lost_before) = (self.is_empty(), self.lines_lost);
        self.lines += batch.lines + batch.dropped_after;
        let (begun, rest) = split_begun(&batch.bytes, written);
        self.backlog.extend(begun);
        self.keep(rest);
        self.lose(batch.dropped_after);
        let blocked = was_empty && written < batch.bytes.len() || batch.dropped_after > 0;
        PutOutcome { blocked, skipped: self.lines_lost > lost_before, ..PutOutcome::default() }
    }

    /// Keeps what the server says to this peer alone, bound or not: it is short, and said seldom.
    /// The `raw` bytes behind it are no text: they stay as they are, and are kept within the bound
    /// alone, since a peer may ask for them on and on.
    pub(crate) fn answer(&mut self, text: &[u8], raw: &[u8], settings: OutputSettings) {
        self.settings = settings;
        if !self.closed {
            self.tell_gap();
            self.append(text);
            if self.backlog.len() + raw.len() <= settings.limit {
                // Some of these bytes look like line ends, and will be counted as such.
                self.lines += count_lines(raw);
                self.backlog.extend(raw);
            }
        }
    }

    /// Takes whole lines off the front of the backlog: as many as `most` bytes hold, but one at least.
    pub(crate) fn take(&mut self, most: usize, into: &mut Vec<u8>) {
        if self.backlog.is_empty() {
            self.tell_gap();
        }
        let waiting = self.backlog.make_contiguous();
        let head = &waiting[..most.min(waiting.len())];
        let count = memrchr(b'\n', head).or_else(|| memchr(b'\n', waiting)).map_or(waiting.len(), |end| end + 1);
        into.extend(self.backlog.drain(..count));
    }

    /// Writes one stretch of the backlog.
    pub(crate) fn drain(&mut self, sink: &(impl ByteSink + ?Sized)) -> DrainStatus {
        if self.backlog.is_empty() {
            self.tell_gap();
        }
        let stretch = self.backlog.as_slices().0;
        if stretch.is_empty() {
            self.backlog = VecDeque::new();
            return DrainStatus::Empty;
        }
        match sink.try_write(stretch) {
            Ok(taken) => {
                self.backlog.drain(..taken);
                DrainStatus::Progress(taken)
            }
            Err(error) if is_transient(&error) => DrainStatus::Blocked,
            Err(_) => {
                self.close();
                DrainStatus::Failed
            }
        }
    }

    /// Takes nothing any more, and frees what was kept: that is lost.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.lines_lost += count_lines(self.backlog.make_contiguous());
        self.backlog = VecDeque::new();
        self.gap = 0;
    }

    /// Lines that were accepted and not dropped.
    pub(crate) fn lines_out(&self) -> u64 {
        self.lines - self.lines_lost
    }

    /// Whether nothing waits, and it takes more.
    pub(crate) fn is_disposable(&self) -> bool {
        self.is_empty() && !self.closed
    }

    /// Nothing waits, and no gap is untold.
    fn is_empty(&self) -> bool {
        self.backlog.is_empty() && self.gap == 0
    }

    /// Keeps as many whole lines as there is room for, and drops the others (rules 3 to 5).
    ///
    /// After a gap it starts again only when half of the room is free, so that a reader just
    /// short of keeping up gets long stretches and few notices.
    fn keep(&mut self, lines: &[u8]) {
        if self.gap > 0 {
            if self.backlog.len() > self.settings.limit / 2 {
                return self.lose(count_lines(lines));
            }
            self.tell_gap();
        }
        let room = self.settings.limit.saturating_sub(self.backlog.len()).min(lines.len());
        let kept = memrchr(b'\n', &lines[..room]).map_or(0, |at| at + 1);
        self.make_room(kept);
        self.backlog.extend(&lines[..kept]);
        self.lose(count_lines(&lines[kept..]));
    }

    fn lose(&mut self, lines: u64) {
        self.gap += lines;
        self.lines_lost += lines;
    }

    fn tell_gap(&mut self) {
        if self.gap > 0 {
            self.append(messages::skipped_notice(self.gap).as_bytes());
            self.gap = 0;
        }
    }

    /// Appends what the server says, in the peer's route.
    fn append(&mut self, text: &[u8]) {
        self.lines += count_lines(text);
        if self.settings.route == Route::DirectCrLf {
            let mut bytes = Vec::new();
            push_with_cr(&mut bytes, text);
            self.backlog.extend(bytes);
        } else {
            self.backlog.extend(text);
        }
    }

    /// Lets the backlog double as usual, but never grow far beyond its limit.
    fn make_room(&mut self, more: usize) {
        let needed = self.backlog.len() + more;
        if needed > self.settings.limit / 2 && needed > self.backlog.capacity() {
            self.backlog.reserve_exact(self.settings.limit.max(needed) - self.backlog.len());
        }
    }
}

/// The rest of the line that was begun in the first `written` bytes, and the lines behind it.
fn split_begun(bytes: &[u8], written: usize) -> (&[u8], &[u8]) {
    let rest = &bytes[written..];
    let begun = match written.checked_sub(1).map(|last| bytes[last]) {
        None | Some(b'\n') => 0,
        Some(_) => memchr(b'\n', rest).map_or(rest.len(), |at| at + 1),
    };
    rest.split_at(begun)
}

/// An error that goes away by itself.
fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
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
        OutputSettings { limit, route: Route::DirectLf }
    }

    fn batch(text: &str) -> LineBatch {
        LineBatch::new(Bytes::copy_from_slice(text.as_bytes()), count_lines(text.as_bytes()))
    }

    fn drain_all(buffer: &mut OutputBuffer, pipe: &Pipe) {
        pipe.allow(usize::MAX / 2);
        while let DrainStatus::Progress(_) = buffer.drain(pipe) {}
        assert_eq!(buffer.drain(pipe), DrainStatus::Empty);
        assert_eq!(buffer.backlog.capacity(), 0, "an empty backlog keeps no memory");
    }

    #[test]
    fn straight_through_while_the_outlet_takes_it() {
        let (mut buffer, pipe) = (None, Pipe::default());
        pipe.allow(100);
        let done = put(&mut buffer, &batch("a line longer than the backlog\n"), settings(10), &pipe);
        assert_eq!(done, PutOutcome { writes: 1, lines: 1, ..PutOutcome::default() });
        assert_eq!(pipe.text(), "a line longer than the backlog\n");
        assert!(buffer.is_none(), "nothing waits, and nothing is kept");
    }

    #[test]
    fn an_outbox_is_made_for_what_the_outlet_does_not_take() {
        let (mut buffer, pipe) = (None, Pipe::default());
        pipe.allow(3);
        let done = put(&mut buffer, &batch("one\ntwo\n"), settings(100), &pipe);
        assert_eq!(done, PutOutcome { writes: 1, blocked: true, ..PutOutcome::default() });
        assert_eq!(
            put(&mut buffer, &batch("three\n"), settings(100), &pipe),
            PutOutcome::default(),
            "behind the backlog"
        );
        let buffer = &mut buffer.unwrap();
        drain_all(buffer, &pipe);
        assert_eq!(pipe.text(), "one\ntwo\nthree\n");
        assert_eq!(buffer.lines_out(), 3);
    }

    #[test]
    fn what_was_lost_before_there_was_an_outbox_is_told() {
        use crate::peer::deferred_list::Deferrable as _;
        let (mut buffer, pipe) = (None, Pipe::default());
        pipe.allow(100);
        let mut first = batch("a\n");
        first.record_loss(&batch("b\n"));
        let done = put(&mut buffer, &first, settings(100), &pipe);
        assert!(done.blocked && done.skipped && done.lines == 0);
        drain_all(&mut buffer.unwrap(), &pipe);
        assert_eq!(pipe.text(), "a\n*** 1 line skipped\n");
    }

    #[test]
    fn nothing_is_written_around_a_backlog() {
        let (mut buffer, pipe) = (OutputBuffer::new(settings(100)), Pipe::default());
        pipe.allow(3);
        let put = buffer.put(&batch("one\ntwo\n"), buffer.settings, &pipe);
        assert_eq!(put, PutOutcome { writes: 1, blocked: true, ..PutOutcome::default() });
        pipe.allow(50);
        let put = buffer.put(&batch("three\n"), buffer.settings, &pipe);
        assert_eq!(put, PutOutcome::default(), "told once that there is a backlog, and no write");
        assert_eq!(pipe.text(), "one");
        drain_all(&mut buffer, &pipe);
        assert_eq!(pipe.text(), "one\ntwo\nthree\n");
    }

    #[test]
    fn lines_are_lost_whole_and_told_in_their_place() {
        let (mut buffer, pipe) = (OutputBuffer::new(settings(8)), Pipe::default());
        pipe.allow(2);
        // 2 bytes are written, 4 are the rest of that line and kept beyond any limit, then one
        // line of 4 fits and two are lost.
        let put = buffer.put(&batch("12345\nabc\ndef\nghi\n"), buffer.settings, &pipe);
        assert!(put.blocked && put.skipped);
        assert!(buffer.put(&batch("lost\n"), buffer.settings, &pipe).skipped);
        drain_all(&mut buffer, &pipe);
        buffer.put(&batch("on\n"), buffer.settings, &pipe);
        assert_eq!(pipe.text(), "12345\nabc\n*** 3 lines skipped\non\n");
        assert_eq!(buffer.lines_out(), 4, "the notice among them");
    }

    #[test]
    fn after_a_gap_it_waits_until_half_is_free() {
        let (mut buffer, pipe) = (OutputBuffer::new(settings(8)), Pipe::default());
        assert!(!buffer.put(&batch("123\n567\n"), buffer.settings, &pipe).skipped);
        assert!(buffer.put(&batch("a\n"), buffer.settings, &pipe).skipped);
        pipe.allow(2);
        assert_eq!(buffer.drain(&pipe), DrainStatus::Progress(2));
        assert!(buffer.put(&batch("b\n"), buffer.settings, &pipe).skipped, "room for it, but 6 of 8 are in use");
        pipe.allow(2);
        assert_eq!(buffer.drain(&pipe), DrainStatus::Progress(2));
        buffer.put(&batch("c\n"), buffer.settings, &pipe);
        drain_all(&mut buffer, &pipe);
        assert_eq!(pipe.text(), "123\n567\n*** 2 lines skipped\n*** 1 line skipped\n", "the notice fills it");
        buffer.put(&batch("d\n"), buffer.settings, &pipe);
        assert!(pipe.text().ends_with("skipped\nd\n"));
    }

    #[test]
    fn what_was_lost_on_the_way_is_told_behind_its_piece() {
        use crate::peer::deferred_list::Deferrable as _;
        let (mut buffer, pipe) = (OutputBuffer::new(settings(100)), Pipe::default());
        pipe.allow(100);
        let mut first = batch("a\n");
        first.record_loss(&batch("b\nc\n"));
        let put = buffer.put(&first, buffer.settings, &pipe);
        assert!(put.skipped && put.blocked, "the connection has to be told: there is a gap to tell");
        buffer.put(&batch("d\n"), buffer.settings, &pipe);
        drain_all(&mut buffer, &pipe);
        assert_eq!(pipe.text(), "a\n*** 2 lines skipped\nd\n");
    }

    #[test]
    fn an_answer_is_kept_even_by_a_full_backlog() {
        let (mut buffer, pipe) = (OutputBuffer::new(settings(4)), Pipe::default());
        buffer.put(&batch("abc\ndef\n"), buffer.settings, &pipe);
        buffer.answer(b"ERROR\n", b"", buffer.settings);
        drain_all(&mut buffer, &pipe);
        assert_eq!(pipe.text(), "abc\n*** 1 line skipped\nERROR\n");
    }

    #[test]
    fn answers_that_are_no_text_are_bounded_and_counted() {
        let (mut buffer, pipe) = (OutputBuffer::new(settings(8)), Pipe::default());
        for _ in 0..9 {
            // WONT 10: the option is a byte that looks like a line end.
            buffer.answer(b"", b"\xFF\xFC\n", buffer.settings);
        }
        assert_eq!(buffer.backlog.len(), 6);
        buffer.close();
        assert_eq!(buffer.lines_out(), 0, "none of them went out");
        assert_eq!(buffer.drain(&pipe), DrainStatus::Empty);
    }

    #[test]
    fn a_broken_outlet_takes_nothing_more() {
        let (mut buffer, pipe) = (OutputBuffer::new(settings(10)), Pipe::default());
        pipe.allow(2);
        buffer.put(&batch("a\nb\n"), buffer.settings, &pipe);
        pipe.broken.store(true, Ordering::Relaxed);
        assert_eq!(buffer.drain(&pipe), DrainStatus::Failed);
        assert_eq!(buffer.drain(&pipe), DrainStatus::Empty);
        assert_eq!(buffer.put(&batch("c\n"), buffer.settings, &pipe), PutOutcome::default());
        assert_eq!(buffer.backlog.capacity(), 0);
        assert_eq!(buffer.lines_out(), 1, "what was thrown away did not go out");
    }

    #[test]
    fn the_backlog_stays_in_its_bound() {
        let (mut buffer, pipe) = (OutputBuffer::new(settings(1 << 20)), Pipe::default());
        for _ in 0..3_000 {
            buffer.put(&batch(&format!("{}\n", "x".repeat(999))), buffer.settings, &pipe);
            assert!(buffer.backlog.len() <= 1 << 20 && buffer.backlog.capacity() <= 1 << 20);
        }
        assert_eq!(buffer.lines_out(), (1 << 20) / 1000);
    }
}
