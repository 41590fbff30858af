//! Telnet: what a peer's telnet commands do to its connection.

use super::Connection;
use super::input_line::INPUT_LINE_OPTIONS;
use super::timers::Deadline;
use crate::peer::OutputOp;
use crate::protocol::telnet::{Decoder, TERMINAL_TYPE_REQUEST, TelnetBudget, TelnetCommand, TelnetOption};
use crate::text::replies;
use std::time::Instant;

/// The columns of a window whose size the peer has not told: the editor's own default.
const UNKNOWN_WIDTH: u16 = 0;

/// The telnet state of a peer.
#[derive(Debug)]
pub(super) struct Negotiation {
    pub(super) decoder: Decoder,
    budget: TelnetBudget,
    /// The columns of its window.
    pub(super) columns: u16,
}

impl Negotiation {
    pub(super) fn new(now: Instant) -> Self {
        Self { decoder: Decoder::default(), budget: TelnetBudget::new(now), columns: UNKNOWN_WIDTH }
    }
}

impl Connection {
    /// Does what a telnet command asks for.
    pub(super) fn handle_telnet_command(&mut self, command: TelnetCommand, now: Instant) {
        let Some(telnet) = &mut self.telnet else {
            return;
        };
        match command {
            TelnetCommand::Interrupt | TelnetCommand::EraseLine => match &mut self.input_line {
                Some(input_line) => input_line.erase_line(),
                None => self.line_decoder.erase_line(),
            },
            TelnetCommand::EraseCharacter => match &mut self.input_line {
                Some(input_line) => input_line.erase_character(),
                None => self.line_decoder.erase_character(),
            },
            TelnetCommand::AreYouThere if telnet.budget.allow_are_you_there(now) => {
                self.reply(replies::ARE_YOU_THERE_REPLY.into());
            }
            TelnetCommand::Refuse { reply } if telnet.budget.allow_reply(now) => {
                self.add_output([OutputOp::Raw(reply.to_vec())]);
            }
            TelnetCommand::Accept { reply, .. } => self.add_output([OutputOp::Raw(reply.to_vec())]),
            TelnetCommand::Enabled(TelnetOption::TerminalType) => {
                self.add_output([OutputOp::Encoded(TERMINAL_TYPE_REQUEST.to_vec())]);
            }
            TelnetCommand::Enabled(_) if self.input_line.is_none() => {
                // The input line was switched off before the peer agreed.
                let end = telnet.decoder.withdraw(&INPUT_LINE_OPTIONS);
                self.add_output([OutputOp::Encoded(end)]);
            }
            // Agreed as wanted; or too many answers were asked for.
            TelnetCommand::Enabled(_)
            | TelnetCommand::AreYouThere
            | TelnetCommand::Refuse { .. }
            | TelnetCommand::TerminalType { .. } => {}
            TelnetCommand::Disabled { option, reply } => {
                if let Some(reply) = reply {
                    self.add_output([OutputOp::Encoded(reply.to_vec())]);
                }
                // Without these options the client does not send each key.
                if matches!(option, TelnetOption::Echo | TelnetOption::SuppressGoAhead) && self.input_line.is_some() {
                    self.switch_input_line(false);
                }
            }
            TelnetCommand::WindowSize { columns, .. } => {
                telnet.columns = columns;
                if let Some(input_line) = &mut self.input_line {
                    input_line.resize(columns);
                }
            }
        }
    }

    /// Gives the peer's lines CR LF once it shows that it is a network virtual terminal (RFC 854).
    pub(super) fn note_nvt(&mut self) {
        let has_commands = self.telnet.as_ref().is_some_and(|telnet| telnet.decoder.is_nvt());
        if has_commands || self.line_decoder.is_nvt() {
            self.peer.end_lines_in_cr_lf();
        }
    }

    /// Charges the bytes of telnet commands: beyond their rate the peer is read more slowly.
    pub(super) fn charge_telnet_commands(&mut self, now: Instant) {
        let bytes = self.telnet.as_mut().map_or(0, |telnet| telnet.decoder.take_command_bytes());
        self.charge_bytes(bytes, now);
    }

    /// Charges bytes that are no line's: telnet's, and keys of the input line.
    pub(super) fn charge_bytes(&mut self, bytes: u32, now: Instant) {
        if bytes > 0
            && !self.is_flushing_input()
            && let Some(telnet) = &mut self.telnet
            && let Err(later) = telnet.budget.spend_bytes(bytes, now)
        {
            self.deadlines.set(Deadline::RateLimit, later.into());
        }
    }
}
