//! A peer's outbox: bytes go straight to its socket; what the socket does not take is its backlog.

use crate::peer::line_batch::{Form, Piece, count_lines, push_with_cr};
use crate::peer::write_lock::Desk;
use crate::text::messages;
use memchr::{memchr, memrchr};
use socket2::SockRef;
use std::collections::VecDeque;
use std::io;

/// Where a peer's bytes go. It never blocks: `WouldBlock` says "not now".
pub trait Outlet: Send + Sync {
    /// Writes some of `bytes`, at once or not at all; how many it took.
    ///
    /// # Errors
    /// `WouldBlock` when nothing can be taken now; anything else ends the peer.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;
}

impl Outlet for tokio::net::TcpStream {
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

/// What becomes of the lines that a slow reader's backlog has no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SlowReader {
    /// They are dropped and counted; the peer is told how many, where they are missing.
    Skip,
    /// The peer is closed, with a reason.
    Kick,
}

/// What a put did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Put {
    /// Calls of the outlet.
    pub writes: u64,
    /// Lines that went straight to the outlet, with no outbox to count them.
    pub lines: u64,
    /// Whether the outlet took less than all: there is a backlog that was not there before.
    pub blocked: bool,
    /// Whether lines were dropped.
    pub skipped: bool,
    /// Whether the outlet failed just now.
    pub broke: bool,
}

/// How far a drain came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drained {
    /// No backlog is left.
    Empty,
    /// The outlet took this many bytes and there are more.
    Some(usize),
    /// The outlet takes nothing now.
    Blocked,
    /// The outlet failed just now, and the backlog is lost.
    Broken,
}

/// How a peer is served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// The bound of its backlog, in bytes.
    pub(crate) limit: usize,
    /// The form of its lines.
    pub(crate) form: Form,
}

/// Hands a room's lines to a peer: straight to its outlet, and what that does not take to its
/// outbox, which is made for it. A peer that reads in time has none.
pub(crate) fn put(outbox: &mut Desk<Outbox>, piece: &Piece, terms: Terms, outlet: &(impl Outlet + ?Sized)) -> Put {
    if let Some(outbox) = outbox {
        return outbox.put(piece, terms, outlet);
    }
    if terms.form == Form::Own {
        return outbox.insert(Box::new(Outbox::new(terms))).keep_rest(piece, 0);
    }
    let written = outlet.try_write(&piece.bytes);
    if piece.lost_behind == 0 && matches!(written, Ok(count) if count == piece.bytes.len()) {
        return Put { writes: 1, lines: piece.lines, ..Put::default() };
    }
    outbox.insert(Box::new(Outbox::new(terms))).take_in(piece, written)
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
pub(crate) struct Outbox {
    /// What the outlet did not take.
    backlog: VecDeque<u8>,
    terms: Terms,
    /// Lines dropped since the last that was kept.
    gap: u64,
    /// Lines accepted by this outbox.
    lines: u64,
    /// Lines of these that were dropped.
    lines_lost: u64,
    /// The outlet failed, or the peer has ended: take nothing any more.
    closed: bool,
}

impl Outbox {
    pub(crate) fn new(terms: Terms) -> Self {
        Self { backlog: VecDeque::new(), terms, gap: 0, lines: 0, lines_lost: 0, closed: false }
    }

    /// Writes a room's lines unless that would overtake something (rule 2); what is not written is
    /// kept.
    fn put(&mut self, piece: &Piece, terms: Terms, outlet: &(impl Outlet + ?Sized)) -> Put {
        self.terms = terms;
        if self.closed {
            return Put::default();
        }
        if self.is_empty() && terms.form != Form::Own {
            return self.take_in(piece, outlet.try_write(&piece.bytes));
        }
        self.keep_rest(piece, 0)
    }

    /// Takes in a piece that the outlet was given, and took so much of.
    fn take_in(&mut self, piece: &Piece, written: io::Result<usize>) -> Put {
        match written {
            Ok(written) => Put { writes: 1, ..self.keep_rest(piece, written) },
            Err(error) if is_passing(&error) => Put { writes: 1, ..self.keep_rest(piece, 0) },
            Err(_) => {
                self.close();
                Put { writes: 1, broke: true, ..Put::default() }
            }
        }
    }

    /// Keeps what is not written of a piece.
    fn keep_rest(&mut self, piece: &Piece, written: usize) -> Put {
        let (was_empty, lost_before) = (self.is_empty(), self.lines_lost);
        self.lines += piece.lines + piece.lost_behind;
        let (begun, rest) = split_begun(&piece.bytes, written);
        self.backlog.extend(begun);
        self.keep(rest);
        self.lose(piece.lost_behind);
        let blocked = was_empty && written < piece.bytes.len() || piece.lost_behind > 0;
        Put { blocked, skipped: self.lines_lost > lost_before, ..Put::default() }
    }

    /// Keeps what the server says to this peer alone, bound or not: it is short, and said seldom.
    /// The `raw` bytes behind it are no text: they stay as they are, and are kept within the bound
    /// alone, since a peer may ask for them on and on.
    pub(crate) fn answer(&mut self, text: &[u8], raw: &[u8], terms: Terms) {
        self.terms = terms;
        if !self.closed {
            self.tell_gap();
            self.append(text);
            if self.backlog.len() + raw.len() <= terms.limit {
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
    pub(crate) fn drain(&mut self, outlet: &(impl Outlet + ?Sized)) -> Drained {
        if self.backlog.is_empty() {
            self.tell_gap();
        }
        let stretch = self.backlog.as_slices().0;
        if stretch.is_empty() {
            self.backlog = VecDeque::new();
            return Drained::Empty;
        }
        match outlet.try_write(stretch) {
            Ok(taken) => {
                self.backlog.drain(..taken);
                Drained::Some(taken)
            }
            Err(error) if is_passing(&error) => Drained::Blocked,
            Err(_) => {
                self.close();
                Drained::Broken
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
    pub(crate) fn is_done(&self) -> bool {
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
            if self.backlog.len() > self.terms.limit / 2 {
                return self.lose(count_lines(lines));
            }
            self.tell_gap();
        }
        let room = self.terms.limit.saturating_sub(self.backlog.len()).min(lines.len());
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
            self.append(messages::skipped(self.gap).as_bytes());
            self.gap = 0;
        }
    }

    /// Appends what the server says, in the peer's form.
    fn append(&mut self, text: &[u8]) {
        self.lines += count_lines(text);
        if self.terms.form == Form::CrLf {
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
        if needed > self.terms.limit / 2 && needed > self.backlog.capacity() {
            self.backlog.reserve_exact(self.terms.limit.max(needed) - self.backlog.len());
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
fn is_passing(error: &io::Error) -> bool {
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

    impl Outlet for Pipe {
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
    fn terms(limit: usize) -> Terms {
        Terms { limit, form: Form::Lf }
    }

    fn piece(text: &str) -> Piece {
        Piece::new(Bytes::copy_from_slice(text.as_bytes()), count_lines(text.as_bytes()))
    }

    fn drain_all(outbox: &mut Outbox, pipe: &Pipe) {
        pipe.allow(usize::MAX / 2);
        while let Drained::Some(_) = outbox.drain(pipe) {}
        assert_eq!(outbox.drain(pipe), Drained::Empty);
        assert_eq!(outbox.backlog.capacity(), 0, "an empty backlog keeps no memory");
    }

    #[test]
    fn straight_through_while_the_outlet_takes_it() {
        let (mut outbox, pipe) = (None, Pipe::default());
        pipe.allow(100);
        let done = put(&mut outbox, &piece("a line longer than the backlog\n"), terms(10), &pipe);
        assert_eq!(done, Put { writes: 1, lines: 1, ..Put::default() });
        assert_eq!(pipe.text(), "a line longer than the backlog\n");
        assert!(outbox.is_none(), "nothing waits, and nothing is kept");
    }

    #[test]
    fn an_outbox_is_made_for_what_the_outlet_does_not_take() {
        let (mut outbox, pipe) = (None, Pipe::default());
        pipe.allow(3);
        let done = put(&mut outbox, &piece("one\ntwo\n"), terms(100), &pipe);
        assert_eq!(done, Put { writes: 1, blocked: true, ..Put::default() });
        assert_eq!(put(&mut outbox, &piece("three\n"), terms(100), &pipe), Put::default(), "behind the backlog");
        let outbox = &mut outbox.unwrap();
        drain_all(outbox, &pipe);
        assert_eq!(pipe.text(), "one\ntwo\nthree\n");
        assert_eq!(outbox.lines_out(), 3);
    }

    #[test]
    fn what_was_lost_before_there_was_an_outbox_is_told() {
        use crate::peer::deferred_list::Piece as _;
        let (mut outbox, pipe) = (None, Pipe::default());
        pipe.allow(100);
        let mut first = piece("a\n");
        first.lose(&piece("b\n"));
        let done = put(&mut outbox, &first, terms(100), &pipe);
        assert!(done.blocked && done.skipped && done.lines == 0);
        drain_all(&mut outbox.unwrap(), &pipe);
        assert_eq!(pipe.text(), "a\n*** 1 line skipped\n");
    }

    #[test]
    fn nothing_is_written_around_a_backlog() {
        let (mut outbox, pipe) = (Outbox::new(terms(100)), Pipe::default());
        pipe.allow(3);
        let put = outbox.put(&piece("one\ntwo\n"), outbox.terms, &pipe);
        assert_eq!(put, Put { writes: 1, blocked: true, ..Put::default() });
        pipe.allow(50);
        let put = outbox.put(&piece("three\n"), outbox.terms, &pipe);
        assert_eq!(put, Put::default(), "told once that there is a backlog, and no write");
        assert_eq!(pipe.text(), "one");
        drain_all(&mut outbox, &pipe);
        assert_eq!(pipe.text(), "one\ntwo\nthree\n");
    }

    #[test]
    fn lines_are_lost_whole_and_told_in_their_place() {
        let (mut outbox, pipe) = (Outbox::new(terms(8)), Pipe::default());
        pipe.allow(2);
        // 2 bytes are written, 4 are the rest of that line and kept beyond any limit, then one
        // line of 4 fits and two are lost.
        let put = outbox.put(&piece("12345\nabc\ndef\nghi\n"), outbox.terms, &pipe);
        assert!(put.blocked && put.skipped);
        assert!(outbox.put(&piece("lost\n"), outbox.terms, &pipe).skipped);
        drain_all(&mut outbox, &pipe);
        outbox.put(&piece("on\n"), outbox.terms, &pipe);
        assert_eq!(pipe.text(), "12345\nabc\n*** 3 lines skipped\non\n");
        assert_eq!(outbox.lines_out(), 4, "the notice among them");
    }

    #[test]
    fn after_a_gap_it_waits_until_half_is_free() {
        let (mut outbox, pipe) = (Outbox::new(terms(8)), Pipe::default());
        assert!(!outbox.put(&piece("123\n567\n"), outbox.terms, &pipe).skipped);
        assert!(outbox.put(&piece("a\n"), outbox.terms, &pipe).skipped);
        pipe.allow(2);
        assert_eq!(outbox.drain(&pipe), Drained::Some(2));
        assert!(outbox.put(&piece("b\n"), outbox.terms, &pipe).skipped, "room for it, but 6 of 8 are in use");
        pipe.allow(2);
        assert_eq!(outbox.drain(&pipe), Drained::Some(2));
        outbox.put(&piece("c\n"), outbox.terms, &pipe);
        drain_all(&mut outbox, &pipe);
        assert_eq!(pipe.text(), "123\n567\n*** 2 lines skipped\n*** 1 line skipped\n", "the notice fills it");
        outbox.put(&piece("d\n"), outbox.terms, &pipe);
        assert!(pipe.text().ends_with("skipped\nd\n"));
    }

    #[test]
    fn what_was_lost_on_the_way_is_told_behind_its_piece() {
        use crate::peer::deferred_list::Piece as _;
        let (mut outbox, pipe) = (Outbox::new(terms(100)), Pipe::default());
        pipe.allow(100);
        let mut first = piece("a\n");
        first.lose(&piece("b\nc\n"));
        let put = outbox.put(&first, outbox.terms, &pipe);
        assert!(put.skipped && put.blocked, "the connection has to be told: there is a gap to tell");
        outbox.put(&piece("d\n"), outbox.terms, &pipe);
        drain_all(&mut outbox, &pipe);
        assert_eq!(pipe.text(), "a\n*** 2 lines skipped\nd\n");
    }

    #[test]
    fn an_answer_is_kept_even_by_a_full_backlog() {
        let (mut outbox, pipe) = (Outbox::new(terms(4)), Pipe::default());
        outbox.put(&piece("abc\ndef\n"), outbox.terms, &pipe);
        outbox.answer(b"ERROR\n", b"", outbox.terms);
        drain_all(&mut outbox, &pipe);
        assert_eq!(pipe.text(), "abc\n*** 1 line skipped\nERROR\n");
    }

    #[test]
    fn answers_that_are_no_text_are_bounded_and_counted() {
        let (mut outbox, pipe) = (Outbox::new(terms(8)), Pipe::default());
        for _ in 0..9 {
            // WONT 10: the option is a byte that looks like a line end.
            outbox.answer(b"", b"\xFF\xFC\n", outbox.terms);
        }
        assert_eq!(outbox.backlog.len(), 6);
        outbox.close();
        assert_eq!(outbox.lines_out(), 0, "none of them went out");
        assert_eq!(outbox.drain(&pipe), Drained::Empty);
    }

    #[test]
    fn a_broken_outlet_takes_nothing_more() {
        let (mut outbox, pipe) = (Outbox::new(terms(10)), Pipe::default());
        pipe.allow(2);
        outbox.put(&piece("a\nb\n"), outbox.terms, &pipe);
        pipe.broken.store(true, Ordering::Relaxed);
        assert_eq!(outbox.drain(&pipe), Drained::Broken);
        assert_eq!(outbox.drain(&pipe), Drained::Empty);
        assert_eq!(outbox.put(&piece("c\n"), outbox.terms, &pipe), Put::default());
        assert_eq!(outbox.backlog.capacity(), 0);
        assert_eq!(outbox.lines_out(), 1, "what was thrown away did not go out");
    }

    #[test]
    fn the_backlog_stays_in_its_bound() {
        let (mut outbox, pipe) = (Outbox::new(terms(1 << 20)), Pipe::default());
        for _ in 0..3_000 {
            outbox.put(&piece(&format!("{}\n", "x".repeat(999))), outbox.terms, &pipe);
            assert!(outbox.backlog.len() <= 1 << 20 && outbox.backlog.capacity() <= 1 << 20);
        }
        assert_eq!(outbox.lines_out(), (1 << 20) / 1000);
    }
}
