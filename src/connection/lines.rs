//! Lines: what a peer's line means in the connection's state, and how lines get into the room's inbox.

use super::Connection;
use super::close_reason::CloseReason;
use super::delayed_line::Payment;
use super::poll_slice::COMMAND_WORK;
use super::state::ConnectionState;
use crate::peer::line_batch::count_lines;
use crate::protocol::commands::{self, ParsedLine};
use crate::text::{messages, sanitize};

/// Encoded lines are sent to the room when they have grown to this many bytes: small lines grow, by a name each, and
/// one read could otherwise be far beyond a room's budget.
const SEND_BYTES: usize = 16 << 10;

/// Encoded lines, and how many.
pub(super) type EncodedLines = (Box<[u8]>, u32);

/// Lines that are being encoded for a room.
#[derive(Debug, Default)]
pub(super) struct LineEncoder {
    bytes: Vec<u8>,
    lines: u32,
}

/// Input for which the room's inbox had no capacity.
#[derive(Debug, Default)]
pub(super) struct BlockedInput {
    /// Lines.
    lines: Option<EncodedLines>,
    /// The line of a command, which has to come after them.
    command: Option<Box<[u8]>>,
}

impl LineEncoder {
    /// Adds one line, which `push` appends with its LF.
    pub(super) fn add(&mut self, push: impl FnOnce(&mut Vec<u8>)) {
        push(&mut self.bytes);
        self.lines += 1;
    }

    /// Takes the lines out; `None` when there are none.
    fn take(&mut self) -> Option<EncodedLines> {
        let lines = (self.lines > 0).then(|| (Box::from(&self.bytes[..]), self.lines));
        self.bytes.clear();
        self.lines = 0;
        lines
    }
}

impl BlockedInput {
    /// Returns what is blocked, if anything is.
    fn some(self) -> Option<Box<Self>> {
        (self.lines.is_some() || self.command.is_some()).then(|| Box::new(self))
    }
}

impl Connection {
    /// Does what a line asks for: joins with it, encodes it for the room, or runs it as a command.
    pub(super) fn handle_line(
        &mut self,
        line: &[u8],
        payment: Payment,
        lines: &mut LineEncoder,
    ) -> Result<(), CloseReason> {
        if matches!(self.state, ConnectionState::NotJoined) {
            return self.handle_first_line(line, payment);
        }
        let text = sanitize::sanitize(line);
        #[cfg(test)]
        super::tests::panic_if_asked(&text);
        let commands = self.context.live.commands();
        let parsed = if commands { commands::parse(&text) } else { Ok(ParsedLine::Chat((&*text).into())) };
        if !matches!(parsed, Ok(ParsedLine::Chat(_))) {
            self.slice.charge(COMMAND_WORK);
            // The lines before a command come before what it does.
            self.send_lines(lines);
            if self.blocked_input.is_some() {
                self.block_command(line);
                return Ok(());
            }
            if payment == Payment::Due && self.delay_command(&parsed, line) {
                return Ok(());
            }
        }
        match parsed {
            Ok(ParsedLine::Chat(text)) => {
                if let Some(membership) = self.state.admitted_membership() {
                    lines.add(|out| messages::push_chat(out, &membership.user(), &text));
                }
            }
            Ok(ParsedLine::Command(command)) => self.run_command(command, line, lines)?,
            Err(error) => self.reply_line(&error),
        }
        if lines.bytes.len() >= SEND_BYTES {
            self.send_lines(lines);
        }
        Ok(())
    }

    /// Sends encoded lines to the room, or keeps them until its inbox has capacity.
    pub(super) fn send_lines(&mut self, lines: &mut LineEncoder) {
        if let Some(lines) = lines.take() {
            let blocked = self.blocked_input.take();
            self.blocked_input = self.send_or_block(lines, blocked);
        }
    }

    fn send_or_block(
        &self,
        (bytes, count): EncodedLines,
        blocked: Option<Box<BlockedInput>>,
    ) -> Option<Box<BlockedInput>> {
        let mut blocked = blocked.map(|blocked| *blocked).unwrap_or_default();
        if let Some(membership) = self.state.admitted_membership()
            && let Err(bytes) = membership.send_lines(bytes, count)
        {
            blocked.lines = Some((bytes, count));
        }
        blocked.some()
    }

    /// Keeps the line of a command until the room's inbox has capacity.
    pub(super) fn block_command(&mut self, line: &[u8]) {
        self.blocked_input.get_or_insert_default().command = Some(line.into());
    }

    /// Sends blocked lines again; returns the line of the command after them, if no line is blocked any more.
    pub(super) fn resend_blocked_lines(&mut self) -> Option<Box<[u8]>> {
        let mut blocked = self.blocked_input.take()?;
        if let Some(lines) = blocked.lines.take() {
            blocked = self.send_or_block(lines, Some(blocked))?;
        }
        if blocked.lines.is_some() {
            self.blocked_input = Some(blocked);
            return None;
        }
        blocked.command
    }

    /// Returns how many lines are blocked, for a connection whose close was cut.
    pub(super) fn count_blocked_lines(&self) -> u64 {
        let lines = self.blocked_input.as_ref().and_then(|blocked| blocked.lines.as_ref());
        lines.map_or(0, |(_, count)| u64::from(*count))
    }

    /// Returns how many lines were received and not processed: in held input, and a blocked or delayed command.
    pub(super) fn count_unprocessed_lines(&self) -> u64 {
        let held = self.held_input.as_deref().map_or(0, |held| count_lines(held));
        let has_command = self.blocked_input.as_ref().is_some_and(|blocked| blocked.command.is_some());
        held + u64::from(has_command) + u64::from(self.delayed_line.is_some())
    }

    /// Takes the lines that are blocked, for a connection that ends; a blocked command is dropped.
    pub(super) fn take_blocked_lines(&mut self) -> Option<EncodedLines> {
        self.blocked_input.take().and_then(|blocked| blocked.lines)
    }
}
