//! A peer's output buffer: bytes go straight to its socket, and bytes that the socket does not take wait here.
//!
//! Which lines are kept, dropped, told and encoded is decided here. Nothing here takes the write lock: its holder calls.

mod drain;
mod keep;
mod moved;
mod sealed;

use crate::limits::memory::{
    CHARGE_UNIT, KERNEL_SEND_BUFFER, MemoryBudget, MemoryCharge, MemoryPressure, RegisteredBacklog,
};
use crate::peer::byte_sink::ByteSink;
use crate::peer::line_batch::{DropPrecedence, LineBatch, count_lines};
use crate::peer::line_frames::{FrameCut, cut_frames};
use crate::peer::output::{OutputOp, OutputSettings, PutOutcome};
use crate::peer::route::Route;
use crate::peer::waiting_output::{DroppedLines, SegmentKind, WaitingOutput};
use crate::peer::write_lock::LockState;
use crate::text::time::Minute;
use memchr::memchr;
pub(crate) use moved::MovedBuffer;
use sealed::SealedOutput;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

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
        return buffer.insert(Box::new(OutputBuffer::new(settings, sink.memory()))).put(batch, settings, sink);
    };
    let written = sink.try_write(direct);
    if batch.dropped_after() == 0 && matches!(written, Ok(count) if count == direct.len()) {
        return PutOutcome { writes: 1, lines: batch.lines(), ..PutOutcome::default() };
    }
    buffer.insert(Box::new(OutputBuffer::new(settings, sink.memory()))).keep_unwritten(batch, written)
}

/// The part of a peer's output that waits to be written. The holder of the peer's write lock works on it.
///
/// 1. Bytes MUST leave in the order in which they were put, but for [`OutputOp::Encoded`] and [`OutputOp::Sealed`]. The
///    bytes of a sealing transport MUST leave in the order in which it made them.
/// 2. No write MUST overtake waiting bytes or a gap that is not yet told.
/// 3. A line MUST be kept whole or dropped whole; one whose first bytes were written MUST be kept. Encoded bytes
///    MUST end between two lines whenever others are appended.
/// 4. Dropped lines MUST be counted, and told in the place where they are missing.
/// 5. A line that is put into an empty backlog MUST be kept, however long it is.
/// 6. The backlog MUST NOT exceed its limit by more than the line of rule 5, the rest of one begun line and what the
///    server itself adds (a notice, an error). With [`Route::Buffered`] what the connection has encoded is bounded by
///    the connection. The limit is higher by the allowance of the settings from each progress of a drain until a drain
///    finds the sink blocked: the peer's own task had no turn to write those lines, so they do not show that the peer
///    reads slowly.
/// 7. The limit MUST be a quarter for a buffer that is made at [`MemoryPressure::High`], and no buffer has an allowance
///    at that pressure. At [`MemoryPressure::Full`] no line but that of rule 5 MUST be kept.
/// 8. All memory MUST be charged to the sink's budget while the buffer exists: its own in units of [`CHARGE_UNIT`], that
///    of a shared batch once for all peers, and the kernel's send buffer from the moment at which the sink did not take
///    all that it was offered.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "four independent facts, of which no combination is a state")]
pub(crate) struct OutputBuffer {
    /// Bytes of a transport that is not plain, such as TLS records. They go out first.
    sealed: SealedOutput,
    /// Bytes in the form that the peer's program reads. They go out next and are never cut.
    encoded: VecDeque<u8>,
    /// Lines, and bytes between them, that are encoded when `encoded` is empty.
    waiting: WaitingOutput,
    /// The lines in the frames that are in `encoded` or `sealed`, those included of which some bytes are written. A byte of
    /// a frame's header may look like the end of a line, so lines are counted before they are framed.
    framed_lines: u32,
    settings: OutputSettings,
    /// Lines dropped since the last that was kept.
    gap: u64,
    /// Lines of [`DropPrecedence::Low`] among these.
    low_gap: u64,
    /// Lines accepted by this buffer.
    lines: u64,
    /// Lines of these that were dropped.
    lines_lost: u64,
    /// Lines that were dropped since they were last counted in the metrics.
    skipped: u64,
    /// Whether a drain has found the sink blocked since the sink last took bytes.
    sink_blocked: bool,
    /// Whether the sink has not taken all that it was offered: the kernel's send buffer is full.
    kernel_full: bool,
    /// Whether the buffer was made under memory pressure, so that it holds less.
    made_under_pressure: bool,
    /// The memory of this buffer and of the kernel's.
    charge: MemoryCharge,
    /// The entry by which the budget finds this backlog; `None` until the connection registers it.
    registration: Option<RegisteredBacklog>,
    /// Whether the sink failed or the peer has ended: nothing is taken any more.
    closed: bool,
}

impl OutputBuffer {
    /// Returns an empty buffer, whose memory is charged to `budget`.
    pub(crate) fn new(settings: OutputSettings, budget: Option<&Arc<MemoryBudget>>) -> Self {
        let charge = MemoryCharge::new(budget);
        Self {
            sealed: SealedOutput::default(),
            encoded: VecDeque::new(),
            waiting: WaitingOutput::default(),
            framed_lines: 0,
            settings,
            gap: 0,
            low_gap: 0,
            lines: 0,
            lines_lost: 0,
            skipped: 0,
            sink_blocked: false,
            kernel_full: false,
            made_under_pressure: charge.pressure() >= MemoryPressure::High,
            charge,
            registration: None,
            closed: false,
        }
    }

    /// Writes a room's lines unless that would overtake something (rule 2); keeps what is not written.
    fn put(&mut self, batch: &LineBatch, settings: OutputSettings, sink: &(impl ByteSink + ?Sized)) -> PutOutcome {
        self.settings = settings;
        if self.closed {
            return PutOutcome::default();
        }
        match batch.direct_bytes(settings.route) {
            Some(direct) if self.is_empty() => self.keep_unwritten(batch, sink.try_write(direct)),
            _ => {
                let outcome = self.keep_rest(batch, 0);
                self.update_charge();
                outcome
            }
        }
    }

    /// Keeps what the sink did not take of a batch that it was offered.
    fn keep_unwritten(&mut self, batch: &LineBatch, written: io::Result<usize>) -> PutOutcome {
        let written = match written {
            Ok(written) => written,
            Err(error) if is_transient(&error) => 0,
            Err(_) => {
                self.close();
                return PutOutcome { writes: 1, failed: true, ..PutOutcome::default() };
            }
        };
        let offered = batch.direct_bytes(self.settings.route).map_or(0, <[u8]>::len);
        self.kernel_full |= written < offered;
        let outcome = self.keep_rest(batch, written);
        self.update_charge();
        PutOutcome { writes: 1, ..outcome }
    }

    /// Keeps what follows the first `written` bytes of a batch.
    fn keep_rest(&mut self, batch: &LineBatch, written: usize) -> PutOutcome {
        let (was_empty, lost_before) = (self.is_empty(), self.lines_lost);
        let direct = batch.direct_bytes(self.settings.route).unwrap_or_else(|| batch.lf());
        self.lines += batch.lines() + batch.dropped_after();
        let rest = self.keep_begun(batch.lf(), direct, written);
        for (minute, precedence, lines) in batch.runs_after(rest) {
            if batch.is_last() {
                self.tell_gap();
                self.waiting.push(SegmentKind::Lines(minute), lines);
            } else {
                self.keep((minute, precedence), lines, Some(batch));
            }
        }
        self.lose(batch.dropped_after(), DropPrecedence::Low);
        let blocked = was_empty && written < direct.len() || batch.dropped_after() > 0;
        PutOutcome { blocked, skipped: self.lines_lost > lost_before, ..PutOutcome::default() }
    }

    /// Keeps the rest of the line or of the frame that the first `written` bytes of `direct` have begun; returns where the
    /// lines go on, in bytes with LF. `lf` is the same lines with LF.
    fn keep_begun(&mut self, lf: &[u8], direct: &[u8], written: usize) -> usize {
        let (begun_end, rest) = match self.settings.route {
            Route::DirectFrames => {
                let FrameCut { end, written_lines_end, lines_end } = cut_frames(direct, written);
                let begun = count_lines(&lf[written_lines_end..lines_end]);
                self.framed_lines = self.framed_lines.saturating_add(u32::try_from(begun).unwrap_or(u32::MAX));
                (end, lines_end)
            }
            Route::DirectCrLf => {
                // The rest waits with LF alone: with CR LF each line before it was a byte longer.
                let end = end_of_begun_line(direct, written);
                (end, end - usize::try_from(count_lines(&direct[..end])).unwrap_or_default())
            }
            Route::DirectLf | Route::Buffered | Route::BufferedFrames => {
                let end = end_of_begun_line(direct, written);
                (end, end)
            }
        };
        self.encoded.extend(&direct[written..begun_end]);
        rest
    }

    /// Adds what the connection itself has for its peer.
    pub(crate) fn apply(&mut self, op: OutputOp) {
        self.add(op);
        self.update_charge();
    }

    fn add(&mut self, op: OutputOp) {
        match op {
            OutputOp::Route(route) => self.settings.route = route,
            _ if self.closed => {}
            OutputOp::DropLines => self.drop_lines(),
            OutputOp::Lines(text) => {
                self.tell_gap();
                self.append_lines(Minute::now(), &text);
            }
            OutputOp::Reply(lines) => {
                self.lines += count_lines(&lines);
                self.keep((Minute::now(), DropPrecedence::Low), &lines, None);
            }
            OutputOp::Raw(bytes) => {
                // A gap that is told before bytes which are dropped would be a notice for each of many pings.
                if self.held() + bytes.len() <= self.limit() + RAW_ALLOWANCE {
                    self.tell_gap();
                    self.waiting.push(SegmentKind::Raw, &bytes);
                }
            }
            OutputOp::Encoded(bytes) => {
                // Bytes in here that look like line ends will be counted as such when they are thrown away.
                self.lines += if self.settings.route.has_frames() { 0 } else { count_lines(&bytes) };
                self.encoded.extend(bytes);
            }
            OutputOp::Sealed(bytes) => self.sealed.append(&bytes),
        }
    }

    /// Takes nothing any more, and frees what waited: that is lost.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.lines_lost += self.waiting.count_lines() + self.encoded_lines();
        self.framed_lines = 0;
        self.sealed = SealedOutput::default();
        (self.encoded, self.waiting) = (VecDeque::new(), WaitingOutput::default());
        (self.gap, self.low_gap) = (0, 0);
        self.registration = None;
        self.update_charge();
    }

    /// Drops the lines that wait, counts them and tells them in their place. Encoded bytes stay, and so do bytes that are
    /// no lines.
    fn drop_lines(&mut self) {
        let DroppedLines { lines, notices, told } = self.waiting.drop_lines();
        self.lose(lines, DropPrecedence::Low);
        // The lines that a dropped notice told are told again, and the notice itself did not go out.
        self.gap += told;
        self.lines_lost += notices;
    }

    /// Returns whether the budget can find this backlog.
    pub(crate) fn is_registered(&self) -> bool {
        self.registration.is_some()
    }

    /// Returns the budget to which the buffer is charged.
    pub(crate) fn budget(&self) -> Option<&Arc<MemoryBudget>> {
        self.charge.budget()
    }

    /// Keeps the entry by which the budget finds this backlog, as long as something waits.
    pub(crate) fn set_registration(&mut self, registration: RegisteredBacklog) {
        self.registration = Some(registration);
        self.update_charge();
    }

    /// Returns how many lines were dropped since the last call.
    pub(crate) fn take_skipped(&mut self) -> u64 {
        std::mem::take(&mut self.skipped)
    }

    /// Returns how many lines were accepted and not dropped.
    pub(crate) fn lines_out(&self) -> u64 {
        self.lines.saturating_sub(self.lines_lost)
    }

    /// Returns how many lines are encoded or sealed and not written whole. With frames and inside TLS it is those of all
    /// bytes that were encoded together.
    fn encoded_lines(&self) -> u64 {
        if self.settings.route.has_frames() {
            return u64::from(self.framed_lines);
        }
        let (head, tail) = self.encoded.as_slices();
        count_lines(head) + count_lines(tail) + self.sealed.lines()
    }

    /// Returns how many bytes are encoded or sealed and not written.
    pub(crate) fn encoded_len(&self) -> usize {
        self.encoded.len() + self.sealed.unwritten().len()
    }

    /// Returns how many bytes wait to be written.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.encoded_len() + self.waiting.weight()
    }

    /// Returns whether nothing waits and the buffer need not remember that it is closed.
    pub(crate) fn is_disposable(&self) -> bool {
        self.is_empty() && !self.closed
    }

    /// Returns whether nothing waits and no gap is untold.
    fn is_empty(&self) -> bool {
        self.sealed.is_empty() && self.encoded.is_empty() && self.waiting.is_empty() && self.gap == 0
    }

    /// Charges the memory that the buffer has now (rule 8).
    fn update_charge(&mut self) {
        let encoded = self.sealed.capacity() + self.encoded.capacity();
        let own = size_of::<Self>() + encoded + self.waiting.own_memory();
        let kernel = if self.kernel_full { KERNEL_SEND_BUFFER } else { 0 };
        self.charge.set(own - own % CHARGE_UNIT + kernel);
        if let Some(registration) = &mut self.registration {
            registration.set_bytes(self.waiting.weight());
        }
    }

    /// Appends lines of the server's own, whatever the limit.
    fn append_lines(&mut self, minute: Minute, text: &[u8]) {
        self.lines += count_lines(text);
        self.waiting.push(SegmentKind::Lines(minute), text);
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
