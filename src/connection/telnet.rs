//! Negotiation: what a peer's telnet asks for besides its lines.

use super::Connection;
use crate::connection::timers::Deadline;
use crate::peer::line_batch::Route;
use crate::protocol::telnet::{Decoder, TelnetBudget, TelnetCommand, TelnetOption};
use crate::text::replies;
use std::time::Instant;

/// The columns of a window whose size nobody has told: the editor's own default.
const UNKNOWN: u16 = 0;

/// What is known of a peer's telnet.
pub(super) struct Negotiation {
    pub(super) decoder: Decoder,
    budget: TelnetBudget,
    /// How wide its window is.
    pub(super) columns: u16,
}

impl Negotiation {
    pub(super) fn new(now: Instant) -> Self {
        Self { decoder: Decoder::default(), budget: TelnetBudget::new(now), columns: UNKNOWN }
    }
}

impl Connection {
    /// Does what a telnet command asks for.
    pub(super) fn negotiate(&mut self, command: TelnetCommand, now: Instant) {
        let Some(telnet) = &mut self.telnet else {
            return;
        };
        match command {
            TelnetCommand::Interrupt | TelnetCommand::EraseLine => match self.editor() {
                Some((editor, out)) => editor.erase_line(out),
                None => self.lines.erase_line(),
            },
            TelnetCommand::EraseCharacter => match self.editor() {
                Some((editor, out)) => editor.erase_character(out),
                None => self.lines.erase_character(),
            },
            TelnetCommand::AreYouThere if telnet.budget.allow_are_you_there(now) => {
                self.reply(replies::ARE_YOU_THERE_REPLY.into())
            }
            TelnetCommand::Refuse { reply } if telnet.budget.allow_reply(now) => self.send_raw(&reply),
            TelnetCommand::Enabled(_) if self.terminal.as_ref().is_none_or(|terminal| terminal.editor.is_none()) => {
                // It was switched off before the answer came.
                let end = telnet.decoder.disable_options();
                self.send_raw(&end);
            }
            // Agreed as wanted; or too many answers were asked for.
            TelnetCommand::Enabled(_) | TelnetCommand::AreYouThere | TelnetCommand::Refuse { .. } => {}
            TelnetCommand::Disabled { option, reply } => {
                if let Some(reply) = reply {
                    self.send_raw(&reply);
                }
                // Without these the keys don't come one by one.
                if option != TelnetOption::WindowSize && self.editor().is_some() {
                    self.switch_editor(false);
                }
            }
            TelnetCommand::WindowSize { columns, .. } => {
                telnet.columns = columns;
                if let Some((editor, out)) = self.editor() {
                    editor.resize(out, columns);
                }
            }
        }
    }

    /// Notes that the peer is a network virtual terminal (RFC 854) once that shows: from then on its
    /// lines end in CR LF.
    pub(super) fn note_nvt(&mut self) {
        let has_commands = self.telnet.as_ref().is_some_and(|telnet| telnet.decoder.is_nvt());
        if (has_commands || self.lines.is_nvt()) && self.peer.route() == Route::DirectLf {
            self.peer.set_route(Route::DirectCrLf);
        }
    }

    /// Lets a peer pay for the bytes of its commands: beyond their rate it is read more slowly.
    pub(super) fn pay_for_commands(&mut self, now: Instant) {
        let bytes = self.telnet.as_mut().map_or(0, |telnet| telnet.decoder.take_command_bytes());
        self.pay(bytes, now);
    }

    /// Lets a peer pay for bytes that are no line's: telnet's, and keys that the editor works on.
    pub(super) fn pay(&mut self, bytes: u32, now: Instant) {
        if bytes > 0
            && let Some(telnet) = &mut self.telnet
            && let Err(later) = telnet.budget.spend_bytes(bytes, now)
        {
            self.deadlines.set(Deadline::RateLimit, later.into());
        }
    }
}
