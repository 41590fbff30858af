//! A peer's output buffer: bytes go straight to its socket, and bytes that the socket does not take wait here.
//!
//! Which lines are kept, dropped, told and encoded is decided here. Nothing here takes the write lock: its holder calls.

use crate::peer::byte_sink::ByteSink;
use crate::peer::line_batch::{LineBatch, count_lines, extend_with_cr};
use crate::peer::output::{DrainStatus, Encode, OutputOp, OutputSettings, PutOutcome};
use crate::peer::route::Route;
use crate::peer::waiting_output::{SegmentKind, WaitingOutput};
use crate::peer::write_lock::LockState;
use crate::text::messages;
use crate::text::time::Minute;
use memchr::{memchr, memrchr};
use std::collections::VecDeque;
use std::io;

/// The most bytes of lines that are encoded at a time: a slow reader's waiting lines stay lines, which are shorter,
/// until they are about to be written.
const ENCODED_AT_A_TIME: usize = 32 << 10;

/// How many bytes more than its limit the backlog of a peer of [`Route::Buffered`] holds while the sink has not
/// blocked: as much as the kernel's send buffer takes of the lines of a peer that passes write to directly. The
/// peer's own task had no turn to write them yet, so they do not show that the peer reads slowly.
pub(super) const UNBLOCKED_ALLOWANCE: usize = 4 << 20;

/// The most times that lines are encoded for one stretch if nothing comes of them.
const EMPTY_ENCODINGS: usize = 4;

/// The capacity for bytes that are no lines beyond the backlog's bound: Linux telnet shows nothing before the answer to
/// its timing mark, so a full backlog must not drop that answer.
const RAW_ALLOWANCE: usize = 4 << 10;

/// Puts a room's lines into a peer's output: straight to its sink, and what that does not take into the buffer,
/// which is made for it. A peer that reads in time has no buffer.
pub(crate) fn put(
    buffer: &mut LockState<OutputBuffer>,
    batch: &LineBatch,
    settings: OutputSettings,
    sink: &(impl ByteSink + ?Sized),
) -> PutOutcome {
    if let Some(buffer) = buffer {
        return buffer.put(batch, settings, sink);
    }
    let Some(direct) = batch.direct_bytes(settings.route) else {
        return buffer.insert(Box::new(OutputBuffer::new(settings))).keep_rest(batch, 0);
    };
    let written = sink.try_write(direct);
    if batch.dropped_after() == 0 && matches!(written, Ok(count) if count == direct.len()) {
        return PutOutcome { writes: 1, lines: batch.lines(), ..PutOutcome::default() };
    }
    buffer.insert(Box::new(OutputBuffer::new(settings))).keep_unwritten(batch, written)
}

/// The part of a peer's output that waits to be written. The holder of the peer's write lock works on it.
///
/// 1. Bytes MUST leave in the order in which they were put, but for [`OutputOp::Encoded`].
/// 2. No write MUST overtake waiting bytes or a gap that is not yet told.
/// 3. A line MUST be kept whole or dropped whole; one whose first bytes were written MUST be kept. Encoded bytes
///    MUST end between two lines whenever others are appended.
/// 4. Dropped lines MUST be counted, and told in the place where they are missing.
/// 5. A line that is put into an empty backlog MUST be kept, however long it is.
/// 6. The backlog MUST NOT exceed its limit by more than the line of rule 5, the rest of one begun line and what the
///    server itself adds (a notice, an error). With [`Route::Buffered`] what the connection has encoded is bounded by
///    the connection, and the limit is [`UNBLOCKED_ALLOWANCE`] higher from each progress of the sink until the sink
///    blocks.
#[derive(Debug)]
pub(crate) struct OutputBuffer {
    /// Bytes in their final form. They go out first and are never cut.
    encoded: VecDeque<u8>,
    /// Lines, and bytes between them, that are encoded when `encoded` is empty.
    waiting: WaitingOutput,
    settings: OutputSettings,
    /// Lines dropped since the last that was kept.
    gap: u64,
    /// Lines accepted by this buffer.
    lines: u64,
    /// Lines of these that were dropped.
    lines_lost: u64,
    /// Whether the sink has blocked since it last took bytes.
    sink_blocked: bool,
    /// Whether the sink failed or the peer has ended: nothing is taken any more.
    closed: bool,
}

impl OutputBuffer {
    pub(crate) fn new(settings: OutputSettings) -> Self {
        let (encoded, waiting) = (VecDeque::new(), WaitingOutput::default());
        Self { encoded, waiting, settings, gap: 0, lines: 0, lines_lost: 0, sink_blocked: false, closed: false }
    }

    /// Writes a room's lines unless that would overtake something (rule 2); keeps what is not written.
    fn put(&mut self, batch: &LineBatch, settings: OutputSettings, sink: &(impl ByteSink + ?Sized)) -> PutOutcome {
        self.settings = settings;
        if self.closed {
            return PutOutcome::default();
        }
        match batch.direct_bytes(settings.route) {
            Some(direct) if self.is_empty() => self.keep_unwritten(batch, sink.try_write(direct)),
            _ => self.keep_rest(batch, 0),
        }
    }

    /// Keeps what the sink did not take of a batch that it was offered.
    fn keep_unwritten(&mut self, batch: &LineBatch, written: io::Result<usize>) -> PutOutcome {
        match written {
            Ok(written) => PutOutcome { writes: 1, ..self.keep_rest(batch, written) },
            Err(error) if is_transient(&error) => {
                self.sink_blocked = true;
                PutOutcome { writes: 1, ..self.keep_rest(batch, 0) }
            }
            Err(_) => {
                self.close();
                PutOutcome { writes: 1, failed: true, ..PutOutcome::default() }
            }
        }
    }

    /// Keeps what follows the first `written` bytes of a batch.
    fn keep_rest(&mut self, batch: &LineBatch, written: usize) -> PutOutcome {
        let (was_empty, lost_before) = (self.is_empty(), self.lines_lost);
        let direct = batch.direct_bytes(self.settings.route).unwrap_or_else(|| batch.lf());
        self.lines += batch.lines() + batch.dropped_after();
        let begun_end = end_of_begun_line(direct, written);
        self.encoded.extend(&direct[written..begun_end]);
        // The rest waits with LF alone: with CR LF each line before it was a byte longer.
        let added = if self.settings.route == Route::DirectCrLf { count_lines(&direct[..begun_end]) } else { 0 };
        for (minute, lines) in batch.runs_after(begun_end - usize::try_from(added).unwrap_or_default()) {
            if batch.is_last() {
                self.tell_gap();
                self.waiting.push(SegmentKind::Lines(minute), lines, self.limit());
            } else {
                self.keep(minute, lines);
            }
        }
        self.lose(batch.dropped_after());
        let blocked = was_empty && written < direct.len() || batch.dropped_after() > 0;
        PutOutcome { blocked, skipped: self.lines_lost > lost_before, ..PutOutcome::default() }
    }

    /// Adds what the connection itself has for its peer.
    pub(crate) fn apply(&mut self, op: OutputOp) {
        match op {
            OutputOp::Route(route) => self.settings.route = route,
            _ if self.closed => {}
            OutputOp::Lines(text) => {
                self.tell_gap();
                self.append_lines(Minute::now(), &text);
            }
            OutputOp::Reply(lines) => {
                self.lines += count_lines(&lines);
                self.keep(Minute::now(), &lines);
            }
            OutputOp::Raw(bytes) => {
                self.tell_gap();
                if self.held() + bytes.len() <= self.limit() + RAW_ALLOWANCE {
                    self.waiting.push(SegmentKind::Raw, &bytes, self.limit());
                }
            }
            OutputOp::Encoded(bytes) => {
                // Bytes in here that look like line ends will be counted as such when they are thrown away.
                self.lines += count_lines(&bytes);
                self.encoded.extend(bytes);
            }
        }
    }

    /// Writes one stretch of what waits. `encode` is asked on [`Route::Buffered`].
    pub(crate) fn drain(
        &mut self,
        route: Route,
        encode: Option<Encode<'_>>,
        sink: &(impl ByteSink + ?Sized),
    ) -> DrainStatus {
        self.settings.route = route;
        self.encode_waiting(encode);
        let stretch = self.encoded.as_slices().0;
        if stretch.is_empty() {
            if !self.is_empty() {
                // The peer is shown none of the lines that were encoded, and more wait.
                return DrainStatus::Progress(0);
            }
            (self.encoded, self.waiting) = (VecDeque::new(), WaitingOutput::default());
            return DrainStatus::Empty;
        }
        match sink.try_write(stretch) {
            Ok(count) => {
                self.sink_blocked = false;
                self.encoded.drain(..count);
                DrainStatus::Progress(count)
            }
            Err(error) if is_transient(&error) => {
                self.sink_blocked = true;
                DrainStatus::Blocked
            }
            Err(_) => {
                self.close();
                DrainStatus::Failed
            }
        }
    }

    /// Encodes waiting lines until something is encoded, at most [`EMPTY_ENCODINGS`] times: a peer may be shown none of
    /// some lines.
    fn encode_waiting(&mut self, mut encode: Option<Encode<'_>>) {
        for _ in 0..EMPTY_ENCODINGS {
            if !self.encoded.is_empty() || self.is_empty() {
                break;
            }
            self.encode_next(&mut encode);
        }
    }

    /// Encodes the next waiting lines, where nothing encoded is left.
    fn encode_next(&mut self, encode: &mut Option<Encode<'_>>) {
        if self.waiting.is_empty() {
            self.tell_gap();
        }
        let mut taken = Vec::new();
        match (self.waiting.take_front(ENCODED_AT_A_TIME, &mut taken), self.settings.route, encode) {
            (None, _, _) => {}
            (Some(SegmentKind::Raw), _, _) => {
                // As above: these bytes are no lines, but are counted as such when they are thrown away.
                self.lines += count_lines(&taken);
                self.encoded.extend(taken);
            }
            (Some(SegmentKind::Lines(minute)), Route::Buffered, Some(encode)) => {
                encode(&taken, minute, &mut self.encoded);
            }
            (Some(SegmentKind::Lines(_)), Route::DirectCrLf, _) => extend_with_cr(&mut self.encoded, &taken),
            (Some(SegmentKind::Lines(_)), _, _) => self.encoded.extend(taken),
        }
    }

    /// Takes nothing any more, and frees what waited: that is lost.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        let (head, tail) = self.encoded.as_slices();
        self.lines_lost += self.waiting.count_lines() + count_lines(head) + count_lines(tail);
        (self.encoded, self.waiting) = (VecDeque::new(), WaitingOutput::default());
        self.gap = 0;
    }

    /// Returns how many lines were accepted and not dropped.
    pub(crate) fn lines_out(&self) -> u64 {
        self.lines.saturating_sub(self.lines_lost)
    }

    /// Returns how many bytes are encoded and not written.
    pub(crate) fn encoded_len(&self) -> usize {
        self.encoded.len()
    }

    /// Returns whether nothing waits and the buffer need not remember that it is closed.
    pub(crate) fn is_disposable(&self) -> bool {
        self.is_empty() && !self.closed
    }

    /// Returns whether nothing waits and no gap is untold.
    fn is_empty(&self) -> bool {
        self.encoded.is_empty() && self.waiting.is_empty() && self.gap == 0
    }

    /// Returns the bytes that count against the backlog's limit.
    fn held(&self) -> usize {
        let encoded = if self.settings.route == Route::Buffered { 0 } else { self.encoded.len() };
        self.waiting.weight() + encoded
    }

    /// Returns the bound of the backlog for new lines (rule 6).
    fn limit(&self) -> usize {
        let allowed = self.settings.route == Route::Buffered && !self.sink_blocked;
        self.settings.limit + if allowed { UNBLOCKED_ALLOWANCE } else { 0 }
    }

    /// Keeps as many whole lines as the limit allows, and drops the others (rules 3 to 6).
    ///
    /// After a gap it starts again only when half of the limit is free, so that a reader just short of keeping up
    /// gets long stretches and few notices.
    fn keep(&mut self, minute: Minute, lines: &[u8]) {
        let (limit, held) = (self.limit(), self.held());
        if self.gap > 0 {
            if held > limit / 2 {
                return self.lose(count_lines(lines));
            }
            self.tell_gap();
        }
        let first = if held == 0 { memchr(b'\n', lines).map_or(lines.len(), |at| at + 1) } else { 0 };
        let free = limit.saturating_sub(self.held()).min(lines.len());
        let kept = memrchr(b'\n', &lines[..free]).map_or(0, |at| at + 1).max(first);
        self.waiting.push(SegmentKind::Lines(minute), &lines[..kept], limit);
        self.lose(count_lines(&lines[kept..]));
    }

    fn lose(&mut self, lines: u64) {
        self.gap += lines;
        self.lines_lost += lines;
    }

    fn tell_gap(&mut self) {
        if self.gap > 0 {
            self.append_lines(Minute::now(), messages::skipped_notice(self.gap).as_bytes());
            self.gap = 0;
        }
    }

    /// Appends lines of the server's own, whatever the limit.
    fn append_lines(&mut self, minute: Minute, text: &[u8]) {
        self.lines += count_lines(text);
        self.waiting.push(SegmentKind::Lines(minute), text, self.limit());
    }
}

/// Returns where the line ends that was begun in the first `written` bytes; `written` where none was.
fn end_of_begun_line(bytes: &[u8], written: usize) -> usize {
    match written.checked_sub(1).map(|last| bytes[last]) {
        None | Some(b'\n') => written,
        Some(_) => memchr(b'\n', &bytes[written..]).map_or(bytes.len(), |at| written + at + 1),
    }
}

/// Returns whether an error goes away by itself.
fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests;
