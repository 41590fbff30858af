//! Input: reads bytes, charges them, and keeps what has to wait.

use super::Connection;
use super::close_reason::CloseReason;
use super::delayed_line::Payment;
use super::lines::LineEncoder;
use super::poll_slice::SYSTEM_CALL_WORK;
use super::timers::Deadline;
use crate::limits::rate::RateLimit;
use bytes::{Buf, Bytes};
use std::cell::RefCell;
use std::io;
use std::num::NonZeroU32;
use std::time::Instant;

/// The most that one read takes, in bytes.
const READ_BYTES: usize = 16 << 10;

/// The most that one read takes of a peer that has used much of its rate, in bytes: read input that the rates delay takes
/// memory, and holds the peer's end up.
const DELAYED_READ_BYTES: usize = 2 << 10;

/// Reads of fewer bytes are short. A longer one that ends no line is a part of a long line, or of a record of TLS, in a
/// segment of the network; the rate of bytes bounds how many of them come.
const SHORT_READ: usize = 1 << 10;

/// Short reads without a line's end, per second and at once. More are delayed: what arrives in between comes with the next read,
/// so keys, telnet commands and parts of lines in segments of a few bytes cost the server no read and no event each. A key
/// that is held down repeats 30 times a second. It does not apply where the rate of lines is off.
const PARTIAL_READS: RateLimit = RateLimit::new(50, NonZeroU32::MIN.saturating_add(249));

thread_local! {
    /// The buffers of the connection that this worker thread is serving now; a quiet connection has none. They are
    /// taken out while they are in use, so a panic leaves nothing in them for the next connection.
    static SCRATCH: RefCell<Option<Box<Scratch>>> = const { RefCell::new(None) };
}

/// Where a connection reads into and encodes lines in.
#[derive(Debug)]
struct Scratch {
    input: Vec<u8>,
    /// The bytes that a transport which is not plain decodes from the input.
    plain: Vec<u8>,
    lines: LineEncoder,
}

impl Connection {
    /// Reads once and processes what came, after the input that was held back.
    pub(super) fn read_input(&mut self) -> Result<(), CloseReason> {
        if self.has_input_to_resume() {
            return self.resume_input();
        }
        if self.delay_handshake()? {
            return Ok(());
        }
        let most = self.read_size();
        self.slice.charge(SYSTEM_CALL_WORK);
        with_scratch(|scratch| match self.peer.sink().try_read(&mut scratch.input[..most]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            read => self.process_read(read, scratch),
        })
    }

    /// Returns the most that the next read takes, in bytes.
    fn read_size(&self) -> usize {
        let now = Instant::now();
        let is_near_a_limit = self.line_rate.is_half_used(&self.line_limit(), now)
            || self.byte_rate.is_half_used(&self.byte_limit(), now);
        let most = if is_near_a_limit { DELAYED_READ_BYTES } else { READ_BYTES };
        self.transport.as_ref().map_or(most, |transport| most.min(transport.read_capacity()))
    }

    /// Reads once what the system has received, whether or not the runtime knows of it; returns the number of bytes, and
    /// `None` if that is nothing.
    pub(super) fn read_received_input(&mut self) -> Result<Option<usize>, CloseReason> {
        let most = self.transport.as_ref().map_or(READ_BYTES, |transport| READ_BYTES.min(transport.read_capacity()));
        self.slice.charge(SYSTEM_CALL_WORK);
        with_scratch(|scratch| match self.peer.sink().read_received(&mut scratch.input[..most]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            read => {
                let count = *read.as_ref().unwrap_or(&0);
                self.process_read(read, scratch).map(|()| Some(count))
            }
        })
    }

    /// Reads once what the system has received when a deadline is over; returns false if that is nothing, or if earlier input
    /// waits.
    pub(super) fn read_late_input(&mut self) -> Result<bool, CloseReason> {
        if self.has_received_input() || self.is_input_paused() || self.has_unpaid_handshake() {
            Ok(false)
        } else {
            Ok(self.read_received_input()?.is_some())
        }
    }

    /// Returns whether the connection has input that it has received and not processed.
    pub(super) fn has_received_input(&self) -> bool {
        self.held_input.is_some() || self.has_waiting_records()
    }

    /// Returns whether input goes on without a read.
    pub(super) fn has_input_to_resume(&self) -> bool {
        self.has_received_input() || self.input_closed || self.is_flushing_input()
    }

    /// Processes the bytes of a read, its end of input, or its error.
    fn process_read(
        &mut self,
        read: io::Result<usize>,
        Scratch { input, plain, lines }: &mut Scratch,
    ) -> Result<(), CloseReason> {
        match read {
            Ok(0) => {
                self.input_closed = true;
                self.check_connected()?;
                self.drop_truncated_line();
                self.end_of_input(lines)
            }
            Ok(count) => {
                self.charge_input(count);
                if self.web.is_none() {
                    self.restart_idle_deadline();
                }
                let lines_before = self.lines_in;
                let outcome = if self.transport.is_some() {
                    self.process_sealed(&mut input[..count], plain, lines)
                } else {
                    self.process_plain(&input[..count], lines)
                };
                if self.lines_in == lines_before && count < SHORT_READ {
                    self.charge_partial_reads(1);
                }
                outcome
            }
            Err(error) => Err(CloseReason::Lost(error.kind())),
        }
    }

    /// Processes plain bytes of a read.
    pub(super) fn process_plain(&mut self, input: &[u8], lines: &mut LineEncoder) -> Result<(), CloseReason> {
        if self.web.is_some() { self.process_web(input, lines) } else { self.process_lines(input, lines) }
    }

    /// Processes bytes of lines, and keeps those that have to wait.
    pub(super) fn process_lines(&mut self, input: &[u8], lines: &mut LineEncoder) -> Result<(), CloseReason> {
        let (rest, outcome) = self.process_input(input, lines, false);
        self.held_input = (!rest.is_empty()).then(|| Box::new(Bytes::copy_from_slice(rest)));
        outcome
    }

    /// Charges bytes that were read to the rate of bytes. Beyond the rate they wait before they are processed.
    fn charge_input(&mut self, count: usize) {
        let (limit, now) = (self.byte_limit(), Instant::now());
        // Also without a limit: operators see how long the peer has sent nothing.
        self.byte_rate.touch(now);
        self.byte_rate.spend_many(u32::try_from(count).unwrap_or(u32::MAX), &limit, now);
        if let Err(later) = self.byte_rate.check(&limit, now)
            && self.check_connected().is_ok()
        {
            self.delay_input(later, now);
        }
    }

    /// Charges short reads without a line's end, or records without content, to the rate of those. Beyond the rate the next
    /// one waits.
    pub(super) fn charge_partial_reads(&mut self, count: u32) {
        if self.line_limit().is_unlimited() {
            return;
        }
        let now = Instant::now();
        self.partial_read_rate.spend_many(count, &PARTIAL_READS, now);
        if let Err(later) = self.partial_read_rate.check(&PARTIAL_READS, now)
            && self.check_connected().is_ok()
        {
            self.delay_input(later, now);
        }
    }

    /// Moves the deadline of a member that sends nothing; without an idle timeout there is none to move.
    pub(super) fn restart_idle_deadline(&mut self) {
        if self.deadlines.is_set(Deadline::Idle) {
            self.deadlines.set_after(Deadline::Idle, self.context.live.get().idle_timeout);
        }
    }

    /// Processes the input that was held back, unless input is still paused.
    pub(super) fn resume_input(&mut self) -> Result<(), CloseReason> {
        if self.is_input_paused() {
            return Ok(());
        }
        with_scratch(|Scratch { plain, lines, .. }| {
            if let Some(mut held) = self.held_input.take() {
                let input = Bytes::clone(&held);
                self.slice.charge(SYSTEM_CALL_WORK);
                let peer_is_gone = self.check_connected().is_err();
                let (rest, outcome) = self.process_input(&input, lines, peer_is_gone);
                held.advance(held.len() - rest.len());
                self.held_input = Some(held).filter(|held| !held.is_empty());
                outcome?;
            }
            if self.held_input.is_none() && self.has_waiting_records() && !self.is_input_paused() {
                self.process_sealed(&mut [], plain, lines)?;
            }
            if self.input_closed && !self.has_received_input() { self.end_of_input(lines) } else { Ok(()) }
        })?;
        self.continue_input_flush()
    }

    /// Decodes some of the records that wait, and processes what they hold.
    pub(super) fn decode_waiting_records(&mut self) -> Result<(), CloseReason> {
        with_scratch(|Scratch { plain, lines, .. }| self.process_sealed(&mut [], plain, lines))
    }

    /// Runs the command that waited until the room has taken the lines before it.
    pub(super) fn run_blocked_command(&mut self) -> Result<(), CloseReason> {
        let Some(command) = self.take_blocked_command() else {
            return Ok(());
        };
        self.handle_waiting_line(&command, Payment::Due)
    }

    /// Handles a line that was kept until its turn, and sends what it says.
    pub(super) fn handle_waiting_line(&mut self, line: &[u8], payment: Payment) -> Result<(), CloseReason> {
        with_scratch(|Scratch { lines, .. }| {
            let outcome = self.handle_line(line, payment, lines);
            self.send_lines(lines);
            outcome
        })
    }

    /// Reports a reset that looks like the end of input: a reset is reported once, and a delivery's write may have
    /// met it first. But a socket that was reset has no peer any more, and its unfinished line is dropped.
    pub(super) fn check_connected(&self) -> Result<(), CloseReason> {
        if self.peer.sink().is_connected() { Ok(()) } else { Err(CloseReason::Lost(io::ErrorKind::ConnectionReset)) }
    }
}

/// Runs `work` with the worker thread's buffers.
fn with_scratch<R>(work: impl FnOnce(&mut Scratch) -> R) -> R {
    let mut scratch = SCRATCH.take().unwrap_or_else(|| {
        Box::new(Scratch { input: vec![0; READ_BYTES], plain: Vec::new(), lines: LineEncoder::default() })
    });
    let result = work(&mut scratch);
    SCRATCH.set(Some(scratch));
    result
}
