//! Input: from the bytes of a read to what the room gets.

use super::telnet::Negotiation;
use super::terminal::{KEYS, Terminal};
use super::{BlockedInput, Connection, EncodedLines, RoomState};
use crate::connection::close_reason::CloseReason;
use crate::connection::timers::Deadline;
use crate::peer::Peer;
use crate::peer::events::MembershipSlot;
use crate::peer::output_buffer::ByteSink;
use crate::protocol::commands::{self, ParsedLine};
use crate::protocol::join::{Effect, JoinError, Session};
use crate::protocol::line_decoder::LineTooLong;
use crate::protocol::telnet::{self, IAC, Item};
use crate::text::messages;
use crate::text::names::{RoomName, UserName};
use bytes::{Buf, Bytes};
use memchr::memchr;
use std::borrow::Cow;
use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use tokio::time::Instant;

/// The most that one read takes, in bytes.
const READ: usize = 64 << 10;

/// A parcel is handed to the room when it has grown to this many bytes: small lines grow, by a
/// name each, and one read could be a parcel far beyond a room's budget.
const PARCEL: usize = 16 << 10;

/// How a TLS client begins: a handshake record (RFC 8446, section 5.1).
const TLS_HELLO: &[u8] = &[0x16, 3];

thread_local! {
    /// The buffers that a connection reads into and lays out in. They belong to the worker thread:
    /// a quiet connection has none.
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch { input: vec![0; READ], encoder: LineEncoder::default() });
}

struct Scratch {
    input: Vec<u8>,
    encoder: LineEncoder,
}

/// Lines laid out, on their way into a parcel.
#[derive(Default)]
pub(super) struct LineEncoder {
    bytes: Vec<u8>,
    lines: u32,
}

impl LineEncoder {
    /// Adds one line, as `lay_out` has it.
    pub(super) fn add(&mut self, lay_out: impl FnOnce(&mut Vec<u8>)) {
        lay_out(&mut self.bytes);
        self.lines += 1;
    }

    /// What is in it; it is empty then.
    fn take(&mut self) -> Option<EncodedLines> {
        let encoder = (self.lines > 0).then(|| (Box::from(&self.bytes[..]), self.lines));
        self.bytes.clear();
        self.lines = 0;
        encoder
    }
}

impl Connection {
    pub(super) fn read(&mut self) -> Result<(), CloseReason> {
        SCRATCH.with_borrow_mut(|Scratch { input, encoder }| match self.peer.sink().try_read(input) {
            Ok(0) => {
                self.input_closed = true;
                self.check_connected()?;
                self.end_of_input(encoder)
            }
            Ok(count) => {
                let (rest, outcome) = self.feed(&input[..count], encoder);
                self.held = (!rest.is_empty()).then(|| Box::new(Bytes::copy_from_slice(rest)));
                outcome
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(CloseReason::Lost(error.kind())),
        })
    }

    /// A reset is reported once, and a delivery's write may have met it first: then a read finds
    /// what looks like the end of input. But a socket that was reset has no peer any more.
    fn check_connected(&self) -> Result<(), CloseReason> {
        let lost = |_| CloseReason::Lost(io::ErrorKind::ConnectionReset);
        self.peer.sink().peer_addr().map(drop).map_err(lost)
    }

    /// Goes on with the input that is held, if nothing is waited for any more.
    pub(super) fn resume_input(&mut self) -> Result<(), CloseReason> {
        SCRATCH.with_borrow_mut(|Scratch { encoder, .. }| {
            if let Some(mut held) = self.held.take() {
                let input = Bytes::clone(&held);
                let (rest, outcome) = self.feed(&input, encoder);
                held.advance(held.len() - rest.len());
                self.held = Some(held).filter(|held| !held.is_empty());
                outcome?;
            }
            if self.held.is_none() && self.input_closed { self.end_of_input(encoder) } else { Ok(()) }
        })
    }

    /// Works on `input` line by line until something has to be waited for; what is left of it.
    fn feed<'a>(&mut self, mut input: &'a [u8], encoder: &mut LineEncoder) -> (&'a [u8], Result<(), CloseReason>) {
        // It is empty, but behind a panic: no line of another peer's may get into this one's room.
        encoder.take();
        let outcome = self.take_lines(&mut input, encoder);
        self.post(encoder);
        (input, outcome)
    }

    fn take_lines(&mut self, input: &mut &[u8], encoder: &mut LineEncoder) -> Result<(), CloseReason> {
        let now = Instant::now().into_std();
        if self.telnet.is_none() && memchr(IAC, input).is_some() {
            self.telnet = Some(Box::new(Negotiation::new(now)));
        }
        loop {
            self.take_items(input, encoder, now)?;
            self.pay_for_commands(now);
            self.show_typed();
            // What was waited for may have been just that: nobody else would go on then.
            if input.is_empty() || self.is_input_paused() {
                return Ok(());
            }
        }
    }

    fn take_items(
        &mut self,
        input: &mut &[u8],
        encoder: &mut LineEncoder,
        now: std::time::Instant,
    ) -> Result<(), CloseReason> {
        while !input.is_empty() && !self.is_input_paused() {
            let before = *input;
            let item = match &mut self.telnet {
                Some(telnet) => telnet.decoder.next_item(input),
                None => Some(Ok(Item::Data(std::mem::take(input)))),
            };
            match item {
                None => {}
                Some(Err(telnet::SubnegotiationTooLong)) => return Err(CloseReason::BadTelnet),
                Some(Ok(Item::Command(command))) => self.negotiate(command, now),
                Some(Ok(Item::Data(mut run))) => {
                    self.take_run(&mut run, encoder, now)?;
                    // What something has to be waited for with is put back.
                    *input = &before[before.len() - input.len() - run.len()..];
                    if run == [IAC]
                        && let Some(telnet) = &mut self.telnet
                    {
                        telnet.decoder.unread_escaped_iac();
                    }
                }
            }
            self.note_nvt();
        }
        Ok(())
    }

    /// Works on data line by line until something has to be waited for.
    fn take_run(
        &mut self,
        run: &mut &[u8],
        encoder: &mut LineEncoder,
        now: std::time::Instant,
    ) -> Result<(), CloseReason> {
        while !run.is_empty() && !self.is_input_paused() {
            if let Err(later) = self.rate.check(&self.host.limit, now) {
                self.deadlines.set(Deadline::RateLimit, later.into());
                break;
            }
            match self.next_line(run, now) {
                None => {}
                Some(Err(LineTooLong)) => return Err(CloseReason::LineTooLong(self.host.config.max_line)),
                Some(Ok(line)) => {
                    self.note_nvt();
                    self.rate.spend(&self.host.limit, now);
                    self.lines_in += 1;
                    self.take_line(&line, encoder)?;
                }
            }
        }
        if self.session == Session::Greeting && self.lines.starts_with(TLS_HELLO) {
            return Err(CloseReason::JoinError(JoinError::Tls));
        }
        Ok(())
    }

    /// Takes the next line off the front of `run`. `None`: there is none yet in what was taken, which
    /// is all, or as many keys as are worked on at a time.
    fn next_line<'a>(
        &mut self,
        run: &mut &'a [u8],
        now: std::time::Instant,
    ) -> Option<Result<Cow<'a, [u8]>, LineTooLong>> {
        let Some((editor, out)) = self.editor() else {
            return self.lines.next_line(run);
        };
        let some = run.len().min(KEYS);
        let mut keys = &run[..some];
        let line = editor.next_line(out, &mut keys);
        let used = some - keys.len();
        *run = &run[used..];
        self.pay(u32::try_from(used).unwrap_or(u32::MAX), now);
        line.map(|line| Ok(Cow::Owned(line.into_bytes())))
    }

    /// Writes what the editor has drawn of what was typed.
    fn show_typed(&mut self) {
        if self.terminal.as_ref().is_some_and(|terminal| !terminal.out.is_empty()) {
            self.begin_draining();
            self.drain();
        }
    }

    fn take_line(&mut self, line: &[u8], encoder: &mut LineEncoder) -> Result<(), CloseReason> {
        let text = match self.session.line(line).map_err(CloseReason::JoinError)? {
            Effect::Join { room, user } => return self.join(room, user),
            Effect::Say(text) => text,
        };
        let meant = if self.host.config.plain { Ok(ParsedLine::Chat(&text)) } else { commands::parse(&text) };
        match meant {
            Ok(ParsedLine::Chat(text)) => {
                if let RoomState::Inside(membership) = &self.room_state {
                    encoder.add(|out| messages::push_chat(out, &membership.user(), text));
                }
            }
            Ok(ParsedLine::Command(command)) => {
                // What was said before it comes before it.
                self.post(encoder);
                match &mut self.blocked_input {
                    Some(blocked_input) => blocked_input.command = Some(line.into()),
                    None => self.run_command(command, line, encoder)?,
                }
            }
            Err(misuse) => self.reply_line(&misuse),
        }
        if encoder.bytes.len() >= PARCEL {
            self.post(encoder);
        }
        Ok(())
    }

    fn join(&mut self, room: RoomName, user: UserName) -> Result<(), CloseReason> {
        self.deadlines.clear(Deadline::Login);
        // From now on the room tells when the server ends.
        self.ending = None;
        let peer: Arc<Peer<dyn ByteSink>> = Arc::clone(&self.peer) as _;
        let asked = self.host.registry.join(room, user, peer, MembershipSlot::A);
        self.room_state = RoomState::Waiting(asked.map_err(|_| CloseReason::Shutdown)?);
        Ok(())
    }

    /// Hands the draft in.
    pub(super) fn post(&mut self, encoder: &mut LineEncoder) {
        if let Some(encoder) = encoder.take() {
            self.hand_in(encoder);
        }
    }

    /// Hands lines to the room, or keeps them until its inbox has room.
    fn hand_in(&mut self, (bytes, lines): EncodedLines) {
        if let RoomState::Inside(membership) = &self.room_state
            && let Err(bytes) = membership.send_lines(bytes, lines)
        {
            self.blocked_input.get_or_insert_default().encoder = Some((bytes, lines));
        }
    }

    /// The room's inbox has room again for what was unsent.
    pub(super) fn try_again(&mut self, BlockedInput { encoder, command }: BlockedInput) -> Result<(), CloseReason> {
        if let Some(encoder) = encoder {
            self.hand_in(encoder);
        }
        match (command, &mut self.blocked_input) {
            (Some(line), None) => SCRATCH.with_borrow_mut(|Scratch { encoder, .. }| {
                let outcome = self.take_line(&line, encoder);
                self.post(encoder);
                outcome
            }),
            (command, Some(blocked_input)) => {
                blocked_input.command = command;
                Ok(())
            }
            (None, None) => Ok(()),
        }
    }

    /// The unfinished line, if there is one.
    fn finish(&mut self) -> Option<Vec<u8>> {
        let terminal = self.terminal.as_deref_mut();
        let typed = terminal.and_then(|Terminal { editor, out }| Some(editor.take()?.close(out).into_bytes()));
        typed.filter(|line| !line.is_empty()).or_else(|| self.lines.finish())
    }

    /// The peer's side has ended: its last line counts, finished or not.
    fn end_of_input(&mut self, encoder: &mut LineEncoder) -> Result<(), CloseReason> {
        if self.is_input_paused() {
            return Ok(());
        }
        if let Some(line) = self.finish() {
            self.lines_in += 1;
            let outcome = self.take_line(&line, encoder);
            self.post(encoder);
            outcome?;
        }
        match self.session {
            _ if self.is_input_paused() => Ok(()),
            Session::Greeting => Err(CloseReason::JoinError(JoinError::Nothing)),
            Session::Joined => Err(CloseReason::Eof),
        }
    }
}
