//! Decoding of input: cuts the bytes of a read into telnet commands and lines, until something pauses it.

use super::Connection;
use super::close_reason::CloseReason;
use super::delayed_line::Payment;
use super::lines::LineEncoder;
use super::poll_slice::ITEM_WORK;
use super::state::ConnectionState;
use super::telnet::TelnetState;
use crate::limits::rate::RateLimit;
use crate::protocol::join::{JoinError, TLS_HELLO};
use crate::protocol::line_decoder::LineTooLong;
use crate::protocol::telnet::{IAC, Item, SubnegotiationTooLong};
use memchr::memchr;
use std::borrow::Cow;
use std::time::Instant;

/// The time, the rate and the state of the peer for one call that processes input.
#[derive(Clone, Copy)]
struct InputTerms {
    /// The time of the read, or of the end of the pause.
    now: Instant,
    /// The rate of lines that is in force.
    limit: RateLimit,
    /// Whether the peer was gone when a pause ended. Lines that concern it alone are dropped then, and its rate does not
    /// count them: its room would otherwise keep it as a member for as long as they take.
    peer_is_gone: bool,
}

impl Connection {
    /// Processes `input` until something pauses it, and sends the lines in it; returns what is left.
    pub(super) fn process_input<'a>(
        &mut self,
        mut input: &'a [u8],
        lines: &mut LineEncoder,
        peer_is_gone: bool,
    ) -> (&'a [u8], Result<(), CloseReason>) {
        let terms = InputTerms { now: Instant::now(), limit: self.line_limit(), peer_is_gone };
        let outcome = self.decode_input(&mut input, lines, terms);
        self.send_lines(lines);
        (input, outcome)
    }

    fn decode_input(
        &mut self,
        input: &mut &[u8],
        lines: &mut LineEncoder,
        terms: InputTerms,
    ) -> Result<(), CloseReason> {
        if self.telnet.is_none() && memchr(IAC, input).is_some() {
            self.telnet = Some(Box::new(TelnetState::new(terms.now)));
        }
        loop {
            self.decode_telnet(input, lines, terms)?;
            self.schedule_redraw();
            // A pause may have ended in this call, and no event follows that would resume input.
            if input.is_empty() || self.is_input_paused() {
                return Ok(());
            }
        }
    }

    /// Returns the limit of lines that is in force; none while the input is flushed.
    pub(super) fn line_limit(&self) -> RateLimit {
        let live = self.context.live.get();
        RateLimit::new(if self.is_flushing_input() { 0 } else { live.rate }, live.burst)
    }

    /// Returns the limit of bytes that is in force; none while the input is flushed.
    pub(super) fn byte_limit(&self) -> RateLimit {
        let live = self.context.live.get();
        RateLimit::new(if self.is_flushing_input() { 0 } else { live.byte_rate }, live.byte_burst)
    }

    /// Takes telnet's commands out of `input` and runs them; hands on the data between them.
    fn decode_telnet(
        &mut self,
        input: &mut &[u8],
        lines: &mut LineEncoder,
        terms: InputTerms,
    ) -> Result<(), CloseReason> {
        while !input.is_empty() && !self.is_input_paused() {
            let before = *input;
            let item = match &mut self.telnet {
                Some(telnet) => telnet.decoder.next_item(input),
                None => Some(Ok(Item::Data(std::mem::take(input)))),
            };
            self.charge_telnet_commands(terms.now);
            self.note_nvt();
            match item {
                None => {}
                Some(Err(SubnegotiationTooLong)) => return Err(CloseReason::BadTelnet),
                Some(Ok(Item::Command(command))) => self.handle_telnet_command(command, terms.now),
                Some(Ok(Item::Data(mut data))) => {
                    let outcome = self.decode_lines(&mut data, lines, terms);
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
        terms: InputTerms,
    ) -> Result<(), CloseReason> {
        while !data.is_empty() && !self.is_input_paused() {
            if let Err(later) = self.line_rate.check(&terms.limit, terms.now) {
                self.delay_input(later, terms.now);
                break;
            }
            let before = data.len();
            let line = self.next_line(data, terms.now)?;
            self.slice.charge_bytes(before - data.len());
            if let Some(line) = line {
                self.note_nvt();
                self.lines_in += 1;
                self.slice.charge(ITEM_WORK);
                if terms.peer_is_gone && self.drop_line_without_effect(&line)? {
                    continue;
                }
                self.line_rate.spend(&terms.limit, terms.now);
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
    pub(super) fn end_of_input(&mut self, lines: &mut LineEncoder) -> Result<(), CloseReason> {
        if self.is_input_paused() {
            return Ok(());
        }
        if let Some(Item::Data(mut rest)) = self.telnet.as_mut().and_then(|telnet| telnet.decoder.finish()) {
            let terms = InputTerms { now: Instant::now(), limit: self.line_limit(), peer_is_gone: false };
            self.decode_lines(&mut rest, lines, terms)?;
            if let (false, Some(telnet)) = (rest.is_empty(), &mut self.telnet) {
                telnet.decoder.unread_literal_iac();
                return Ok(());
            }
        }
        // A message of a browser ends in a line's end, so the rest is a part of one that is not complete.
        if let Some(line) = self.line_decoder.finish().filter(|_| self.web.is_none()) {
            self.lines_in += 1;
            let outcome = self.handle_line(&line, Payment::Due, lines);
            self.send_lines(lines);
            outcome?;
        }
        match self.state {
            _ if self.is_input_paused() => Ok(()),
            ConnectionState::NotJoined if self.web.is_none() => Err(CloseReason::BadJoin(JoinError::EndOfInput)),
            _ => Err(CloseReason::Eof),
        }
    }
}
