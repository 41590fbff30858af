//! Input: from the bytes of a read to lines, as long as nothing pauses it.

use super::Connection;
use super::close_reason::CloseReason;
use super::delayed_line::Payment;
use super::lines::LineEncoder;
use super::poll_slice::{ITEM_WORK, SYSTEM_CALL_WORK};
use super::state::ConnectionState;
use super::telnet::TelnetState;
use super::timers::Deadline;
use crate::limits::rate::RateLimit;
use crate::protocol::join::{JoinError, TLS_HELLO};
use crate::protocol::line_decoder::LineTooLong;
use crate::protocol::telnet::{IAC, Item, SubnegotiationTooLong};
use bytes::{Buf, Bytes};
use memchr::memchr;
use std::borrow::Cow;
use std::cell::RefCell;
use std::io;
use std::time::Instant;

/// The most that one read takes, in bytes.
const READ_BYTES: usize = 16 << 10;

/// The most that one read takes of a peer that has used much of its rate, in bytes: read input that the rates delay takes
/// memory, and holds the peer's end up.
const DELAYED_READ_BYTES: usize = 2 << 10;

thread_local! {
    /// The buffers of the connection that this worker thread is serving now; a quiet connection has none. They are
    /// taken out while they are in use, so a panic leaves nothing in them for the next connection.
    static SCRATCH: RefCell<Option<Box<Scratch>>> = const { RefCell::new(None) };
}

/// Where a connection reads into and encodes lines in.
#[derive(Debug)]
struct Scratch {
    input: Vec<u8>,
    lines: LineEncoder,
}

/// The time of a read, and the rate of lines that is in force.
#[derive(Clone, Copy)]
struct InputClock {
    now: Instant,
    limit: RateLimit,
}

impl Connection {
    /// Reads once and processes what came, after the input that was held back.
    pub(super) fn read_input(&mut self) -> Result<(), CloseReason> {
        if self.held_input.is_some() || self.input_closed || self.is_flushing_input() {
            return self.resume_input();
        }
        let most = self.read_size();
        self.slice.charge(SYSTEM_CALL_WORK);
        with_scratch(|Scratch { input, lines }| match self.peer.sink().try_read(&mut input[..most]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            read => self.process_read(read, input, lines),
        })
    }

    /// Returns the most that the next read takes, in bytes.
    fn read_size(&self) -> usize {
        let now = Instant::now();
        let is_near_a_limit = self.line_rate.is_half_used(&self.line_limit(), now)
            || self.byte_rate.is_half_used(&self.byte_limit(), now);
        if is_near_a_limit { DELAYED_READ_BYTES } else { READ_BYTES }
    }

    /// Reads once what the system has received, whether or not the runtime knows of it; returns false if that is
    /// nothing.
    pub(super) fn read_received_input(&mut self) -> Result<bool, CloseReason> {
        self.slice.charge(SYSTEM_CALL_WORK);
        with_scratch(|Scratch { input, lines }| match self.peer.sink().read_received(input) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            read => self.process_read(read, input, lines).map(|()| true),
        })
    }

    /// Reads once what the system has received when a deadline is over; returns false if that is nothing, or if earlier input
    /// waits.
    pub(super) fn read_late_input(&mut self) -> Result<bool, CloseReason> {
        if self.held_input.is_some() || self.is_input_paused() { Ok(false) } else { self.read_received_input() }
    }

    /// Processes the bytes of a read, its end of input, or its error.
    fn process_read(
        &mut self,
        read: io::Result<usize>,
        input: &[u8],
        lines: &mut LineEncoder,
    ) -> Result<(), CloseReason> {
        match read {
            Ok(0) => {
                self.input_closed = true;
                self.check_connected()?;
                self.end_of_input(lines)
            }
            Ok(count) => {
                self.charge_input(count);
                self.restart_idle_deadline();
                let (rest, outcome) = self.process_input(&input[..count], lines);
                self.held_input = (!rest.is_empty()).then(|| Box::new(Bytes::copy_from_slice(rest)));
                outcome
            }
            Err(error) => Err(CloseReason::Lost(error.kind())),
        }
    }

    /// Charges bytes that were read to the rate of bytes. Beyond the rate they wait before they are processed.
    fn charge_input(&mut self, count: usize) {
        let (limit, now) = (self.byte_limit(), Instant::now());
        self.byte_rate.spend_many(u32::try_from(count).unwrap_or(u32::MAX), &limit, now);
        if let Err(later) = self.byte_rate.check(&limit, now)
            && self.check_connected().is_ok()
        {
            self.deadlines.extend(Deadline::RateLimit, later.into());
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
        with_scratch(|Scratch { lines, .. }| {
            if let Some(mut held) = self.held_input.take() {
                let input = Bytes::clone(&held);
                let (rest, outcome) = self.process_input(&input, lines);
                held.advance(held.len() - rest.len());
                self.held_input = Some(held).filter(|held| !held.is_empty());
                outcome?;
            }
            if self.held_input.is_none() && self.input_closed { self.end_of_input(lines) } else { Ok(()) }
        })?;
        self.continue_input_flush()
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

    /// Processes `input` until something pauses it, and sends the lines in it; returns what is left.
    fn process_input<'a>(
        &mut self,
        mut input: &'a [u8],
        lines: &mut LineEncoder,
    ) -> (&'a [u8], Result<(), CloseReason>) {
        let outcome = self.decode_input(&mut input, lines);
        self.send_lines(lines);
        (input, outcome)
    }

    fn decode_input(&mut self, input: &mut &[u8], lines: &mut LineEncoder) -> Result<(), CloseReason> {
        let clock = InputClock { now: Instant::now(), limit: self.line_limit() };
        if self.telnet.is_none() && memchr(IAC, input).is_some() {
            self.telnet = Some(Box::new(TelnetState::new(clock.now)));
        }
        loop {
            self.decode_telnet(input, lines, clock)?;
            self.schedule_redraw();
            // A pause may have ended in this call, and no event follows that would resume input.
            if input.is_empty() || self.is_input_paused() {
                return Ok(());
            }
        }
    }

    /// Returns the limit of lines that is in force; none while the input is flushed.
    fn line_limit(&self) -> RateLimit {
        let live = self.context.live.get();
        RateLimit::new(if self.is_flushing_input() { 0 } else { live.rate }, live.burst)
    }

    /// Returns the limit of bytes that is in force; none while the input is flushed.
    fn byte_limit(&self) -> RateLimit {
        let live = self.context.live.get();
        RateLimit::new(if self.is_flushing_input() { 0 } else { live.byte_rate }, live.byte_burst)
    }

    /// Takes telnet's commands out of `input` and runs them; hands on the data between them.
    fn decode_telnet(
        &mut self,
        input: &mut &[u8],
        lines: &mut LineEncoder,
        clock: InputClock,
    ) -> Result<(), CloseReason> {
        while !input.is_empty() && !self.is_input_paused() {
            let before = *input;
            let item = match &mut self.telnet {
                Some(telnet) => telnet.decoder.next_item(input),
                None => Some(Ok(Item::Data(std::mem::take(input)))),
            };
            self.charge_telnet_commands(clock.now);
            self.note_nvt();
            match item {
                None => {}
                Some(Err(SubnegotiationTooLong)) => return Err(CloseReason::BadTelnet),
                Some(Ok(Item::Command(command))) => self.handle_telnet_command(command, clock.now),
                Some(Ok(Item::Data(mut data))) => {
                    let outcome = self.decode_lines(&mut data, lines, clock);
                    // Data that has to wait is put back; after an error it is counted.
                    match &mut self.telnet {
                        Some(telnet) if data == [IAC] => telnet.decoder.unread_literal_iac(),
                        _ => *input = &before[before.len() - input.len() - data.len()..],
                    }
                    outcome?;
                }
            }
        }
        Ok(())
    }

    /// Cuts `data` into lines, and handles each, until something pauses input.
    fn decode_lines(
        &mut self,
        data: &mut &[u8],
        lines: &mut LineEncoder,
        clock: InputClock,
    ) -> Result<(), CloseReason> {
        while !data.is_empty() && !self.is_input_paused() {
            if let Err(later) = self.line_rate.check(&clock.limit, clock.now) {
                self.deadlines.extend(Deadline::RateLimit, later.into());
                break;
            }
            let before = data.len();
            let line = self.next_line(data, clock.now)?;
            self.slice.charge_bytes(before - data.len());
            if let Some(line) = line {
                self.note_nvt();
                self.line_rate.spend(&clock.limit, clock.now);
                self.lines_in += 1;
                self.slice.charge(ITEM_WORK);
                self.handle_line(&line, Payment::Due, lines)?;
            }
        }
        if matches!(self.state, ConnectionState::NotJoined) && self.line_decoder.starts_with(TLS_HELLO) {
            return Err(CloseReason::BadJoin(JoinError::Tls));
        }
        Ok(())
    }

    /// Takes the next line off the front of `data`, without its end; `None` when no line ends in what was taken.
    fn next_line<'a>(&mut self, data: &mut &'a [u8], now: Instant) -> Result<Option<Cow<'a, [u8]>>, CloseReason> {
        if self.input_line_mut().is_some() {
            let line = self.take_keys(data, now)?;
            return Ok(line.map(|line| Cow::Owned(line.into_bytes())));
        }
        let line = self.line_decoder.next_line(data).transpose();
        line.map_err(|LineTooLong| CloseReason::LineTooLong(self.line_decoder.max_line()))
    }

    /// The peer's side has ended: its last line counts, finished or not. What stands in an input line was not
    /// entered, and is dropped.
    fn end_of_input(&mut self, lines: &mut LineEncoder) -> Result<(), CloseReason> {
        if self.is_input_paused() {
            return Ok(());
        }
        if let Some(Item::Data(mut rest)) = self.telnet.as_mut().and_then(|telnet| telnet.decoder.finish()) {
            let clock = InputClock { now: Instant::now(), limit: self.line_limit() };
            self.decode_lines(&mut rest, lines, clock)?;
            if let (false, Some(telnet)) = (rest.is_empty(), &mut self.telnet) {
                telnet.decoder.unread_literal_iac();
                return Ok(());
            }
        }
        if let Some(line) = self.line_decoder.finish() {
            self.lines_in += 1;
            let outcome = self.handle_line(&line, Payment::Due, lines);
            self.send_lines(lines);
            outcome?;
        }
        match self.state {
            _ if self.is_input_paused() => Ok(()),
            ConnectionState::NotJoined => Err(CloseReason::BadJoin(JoinError::EndOfInput)),
            _ => Err(CloseReason::Eof),
        }
    }
}

/// Runs `work` with the worker thread's buffers.
fn with_scratch<R>(work: impl FnOnce(&mut Scratch) -> R) -> R {
    let mut scratch = SCRATCH
        .take()
        .unwrap_or_else(|| Box::new(Scratch { input: vec![0; READ_BYTES], lines: LineEncoder::default() }));
    let result = work(&mut scratch);
    SCRATCH.set(Some(scratch));
    result
}
