//! Lines: what a peer's line means in the connection's state, and how lines get into the room's inbox.

use super::Connection;
use super::close_reason::CloseReason;
use super::delayed_line::Payment;
use super::poll_slice::COMMAND_WORK;
use super::state::ConnectionState;
use crate::peer::line_batch::count_lines;
use crate::protocol::commands::{self, CommandError, ParsedLine};
use crate::room::membership::SendStatus;
use crate::text::{messages, sanitize};

/// Encoded lines are sent to the room when they have grown to this many bytes: small lines grow, by a name each, and
/// one read could otherwise be far beyond a room's budget.
const SEND_BYTES: usize = 16 << 10;

/// Encoded lines, and how many.
type EncodedLines = (Box<[u8]>, u32);

/// Lines that are being encoded for a room.
#[derive(Debug, Default)]
pub(super) struct LineEncoder {
    bytes: Vec<u8>,
    lines: u32,
}

/// Input that waits until the room has taken lines of this connection for which its inbox had no capacity.
#[derive(Debug, Default)]
pub(super) struct BlockedInput {
    /// The line of a command, which has to come after those lines.
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
        let parsed = self.parse_line(&text);
        if !matches!(parsed, Ok(ParsedLine::Chat(_))) {
            self.slice.charge(COMMAND_WORK);
            // The lines before a command come before what it does.
            self.send_lines(lines);
            if self.blocked_input.is_some() {
                self.block_command(line);
                return Ok(());
            }
            if payment == Payment::Due && self.delay_command(&parsed, line)? {
                return Ok(());
            }
        }
        if self.is_muted() {
            return self.handle_muted_line(parsed, lines);
        }
        match parsed {
            Ok(ParsedLine::Chat(text)) => {
                if let Some(membership) = self.state.admitted_membership() {
                    lines.add(|out| messages::push_chat(out, &membership.user(), &text));
                }
            }
            Ok(ParsedLine::Command(command)) => self.run_command(command, lines)?,
            Err(error) => self.reply_line(&error),
        }
        if lines.bytes.len() >= SEND_BYTES {
            self.send_lines(lines);
        }
        Ok(())
    }

    /// Drops a line of a peer that is gone if it has no effect, since no client reads the answer to its command; returns
    /// whether it was dropped. The budget of the address pays for the look at the line.
    ///
    /// # Errors
    /// [`CloseReason::Lost`] if the budget would have to wait for that.
    pub(super) fn drop_line_without_effect(&mut self, line: &[u8]) -> Result<bool, CloseReason> {
        self.slice.charge(COMMAND_WORK);
        let text = sanitize::sanitize(line);
        let parsed = self.parse_line(&text);
        if self.state.admitted_membership().is_none() || !commands::concerns_sender_alone(&parsed) {
            return Ok(false);
        }
        self.delay_command(&parsed, line)?;
        Ok(true)
    }

    /// Parses the text of a line, which is chat where the settings turn commands off.
    fn parse_line<'a>(&self, text: &'a str) -> Result<ParsedLine<'a>, CommandError<'a>> {
        if self.context.live.commands() { commands::parse(text) } else { Ok(ParsedLine::Chat(text.into())) }
    }

    /// Sends encoded lines to the room. When its inbox has no capacity for them, they wait in the room, and input waits
    /// until it raises `INBOX_READY`.
    pub(super) fn send_lines(&mut self, lines: &mut LineEncoder) {
        if let Some((bytes, count)) = lines.take()
            && let Some(membership) = self.state.admitted_membership()
            && membership.send_lines(bytes, count) == SendStatus::Blocked
        {
            self.blocked_input.get_or_insert_default();
        }
    }

    /// Keeps the line of a command until the room has taken the lines before it.
    fn block_command(&mut self, line: &[u8]) {
        self.blocked_input.get_or_insert_default().command = Some(line.into());
    }

    /// Returns the length of the blocked command's line in bytes.
    pub(super) fn blocked_command_len(&self) -> usize {
        self.blocked_input.as_ref().and_then(|blocked| blocked.command.as_ref()).map_or(0, |line| line.len())
    }

    /// Ends the wait for the room, which has taken the blocked lines; returns the line of the command after them.
    pub(super) fn take_blocked_command(&mut self) -> Option<Box<[u8]>> {
        self.blocked_input.take()?.command
    }

    /// Returns how many lines were received and not processed: in held input, and a blocked or delayed command.
    pub(super) fn count_unprocessed_lines(&self) -> u64 {
        let held = self.held_input.as_deref().map_or(0, |held| count_lines(held));
        let has_command = self.blocked_input.as_ref().is_some_and(|blocked| blocked.command.is_some());
        held + u64::from(has_command) + u64::from(self.delayed_line.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoder_gives_its_lines_once() {
        let mut encoder = LineEncoder::default();
        assert_eq!(encoder.take(), None);
        encoder.add(|out| out.extend_from_slice(b"one\n"));
        encoder.add(|out| out.extend_from_slice(b"two\n"));
        assert_eq!(encoder.take(), Some((Box::from(&b"one\ntwo\n"[..]), 2)));
        assert_eq!(encoder.take(), None);
    }
}
