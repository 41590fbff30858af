//! Telnet: what a peer's telnet commands do to its connection.

use super::Connection;
use super::agreement::{INPUT_LINE_OPTIONS, NEEDED_OPTIONS};
use super::timers::Deadline;
use crate::net::ListenerProtocol;
use crate::peer::OutputOp;
use crate::protocol::telnet::{Decoder, TERMINAL_TYPE_REQUEST, TIMING_MARK, TelnetBudget, TelnetCommand, TelnetOption};
use crate::text::replies::{self, InputLineRefusal};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::time::{Duration, Instant};

/// The columns of a window whose size the peer has not told: the editor's own default.
pub(super) const UNKNOWN_WIDTH: u16 = 0;

/// How long a notice about an interrupt waits for a timing mark after the interrupt.
const TIMING_MARK_WAIT: Duration = Duration::from_millis(200);

/// The telnet state of a peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TelnetState {
    pub(super) decoder: Decoder,
    budget: TelnetBudget,
    /// The columns of its window.
    pub(super) columns: u16,
    /// Whether its terminal can't move the cursor; `None` until the peer has told the terminal's type.
    pub(super) is_dumb: Option<bool>,
    /// Whether the peer was asked to send letters that are not ASCII as they are. Once is enough: the server never
    /// withdraws that request.
    pub(super) has_requested_binary: bool,
    /// Whether the peer was told how to leave, after its first interrupt.
    has_told_how_to_leave: bool,
    /// The notice about the peer's interrupt that is kept back. Linux telnet throws all output away until its timing mark, which
    /// follows the interrupt, is answered.
    interrupt_notice: Option<Cow<'static, str>>,
}

impl TelnetState {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            decoder: Decoder::default(),
            budget: TelnetBudget::new(now),
            columns: UNKNOWN_WIDTH,
            is_dumb: None,
            has_requested_binary: false,
            has_told_how_to_leave: false,
            interrupt_notice: None,
        }
    }
}

impl Connection {
    /// Does what a telnet command asks for.
    pub(super) fn handle_telnet_command(&mut self, command: TelnetCommand, now: Instant) {
        let Some(telnet) = &mut self.telnet else {
            return;
        };
        match command {
            TelnetCommand::Interrupt => self.handle_interrupt(),
            TelnetCommand::EraseLine => match self.input_line_mut() {
                Some(input_line) => input_line.erase_line(),
                None => self.line_decoder.erase_line(),
            },
            TelnetCommand::EraseCharacter => match self.input_line_mut() {
                Some(input_line) => input_line.erase_character(),
                None => self.line_decoder.erase_character(),
            },
            TelnetCommand::AreYouThere if telnet.budget.allow_are_you_there(now) => {
                self.reply(replies::ARE_YOU_THERE_REPLY.into());
            }
            TelnetCommand::Refuse { reply } if telnet.budget.allow_reply(now) => {
                self.add_output([OutputOp::Raw(reply.to_vec())]);
                if reply[2] == TIMING_MARK {
                    self.send_interrupt_notice();
                }
            }
            // Too many replies were asked for.
            TelnetCommand::AreYouThere | TelnetCommand::Refuse { .. } => {}
            // Without the budget: the decoder bounds their number.
            TelnetCommand::Accept { reply, .. } => self.add_output([OutputOp::Encoded(reply.to_vec())]),
            TelnetCommand::Enabled(option) => self.on_option_enabled(option),
            TelnetCommand::Disabled { option, reply } => self.on_option_disabled(option, reply),
            TelnetCommand::TerminalType { dumb } => {
                telnet.is_dumb = Some(dumb);
                self.check_agreement();
            }
            TelnetCommand::WindowSize { columns, .. } => {
                telnet.columns = columns;
                if let Some(input_line) = self.input_line_mut() {
                    input_line.resize(columns);
                }
            }
        }
    }

    /// Drops the line that is being typed, and tells its user why where that is not plain: telnet sends an interrupt
    /// for Ctrl-C, and without BINARY also in the middle of many letters.
    fn handle_interrupt(&mut self) {
        if let Some(input_line) = self.input_line_mut() {
            input_line.erase_line();
        } else if self.line_decoder.ends_in_partial_character() {
            // The rest of the line follows.
            if self.line_decoder.discard_line() {
                self.delay_interrupt_notice(replies::LINE_LOST_TO_INTERRUPT);
            }
            return;
        } else {
            self.line_decoder.erase_line();
        }
        if let Some(notice) = self.how_to_leave() {
            self.delay_interrupt_notice(notice);
        }
    }

    /// Tells a peer that has pressed Ctrl-C for the first time how to leave.
    pub(super) fn tell_how_to_leave(&mut self) {
        if let Some(notice) = self.how_to_leave() {
            self.reply(notice.into());
        }
    }

    /// Returns the notice for a peer that has pressed Ctrl-C for the first time, and `None` after that.
    fn how_to_leave(&mut self) -> Option<&'static str> {
        let is_first = !std::mem::replace(&mut self.telnet.as_mut()?.has_told_how_to_leave, true);
        let has_joined = self.state.admitted_membership().is_some();
        is_first.then_some(match (has_joined, self.context.live.commands()) {
            (true, true) => replies::LINE_DROPPED,
            (true, false) => replies::LINE_DROPPED_WITHOUT_COMMANDS,
            (false, _) => replies::LINE_DROPPED_BEFORE_JOIN,
        })
    }

    /// Keeps a notice about an interrupt until the timing mark that may follow it is answered.
    fn delay_interrupt_notice(&mut self, notice: &'static str) {
        if let Some(telnet) = &mut self.telnet {
            // A line that was lost is told of, whatever interrupts follow.
            telnet.interrupt_notice.get_or_insert(Cow::Borrowed(notice));
            self.deadlines.set(Deadline::InterruptNotice, tokio::time::Instant::now() + TIMING_MARK_WAIT);
        }
    }

    /// Sends the notice about an interrupt, if one is kept.
    pub(super) fn send_interrupt_notice(&mut self) {
        if let Some(notice) = self.telnet.as_mut().and_then(|telnet| telnet.interrupt_notice.take()) {
            self.deadlines.clear(Deadline::InterruptNotice);
            self.reply(notice.into_owned().into());
        }
    }

    fn on_option_enabled(&mut self, option: TelnetOption) {
        let is_wanted = self.input_line_mut().is_some() || self.awaits_agreement();
        let Some(telnet) = &mut self.telnet else {
            return;
        };
        if option == TelnetOption::TerminalType {
            self.add_output([OutputOp::Encoded(TERMINAL_TYPE_REQUEST.to_vec())]);
        } else if INPUT_LINE_OPTIONS.contains(&option) && !is_wanted {
            // The peer has agreed after the input line was switched off.
            let end = telnet.decoder.withdraw(&[option]);
            self.add_output([OutputOp::Encoded(end)]);
        }
        self.check_agreement();
    }

    fn on_option_disabled(&mut self, option: TelnetOption, reply: Option<[u8; 3]>) {
        if let Some(reply) = reply {
            self.add_output([OutputOp::Encoded(reply.to_vec())]);
        }
        if option == TelnetOption::WindowSize
            && let Some(telnet) = &mut self.telnet
        {
            telnet.columns = UNKNOWN_WIDTH;
        }
        if NEEDED_OPTIONS.contains(&option) {
            self.refuse_input_line(InputLineRefusal::Refused);
        } else {
            self.check_agreement();
        }
    }

    /// Gives the peer's lines CR LF once it shows that it is a network virtual terminal (RFC 854), and asks it for
    /// BINARY (RFC 856) at its first telnet command: without it GNU telnet takes bytes of many letters for Ctrl-C and
    /// other keys of its own.
    pub(super) fn note_nvt(&mut self) {
        if self.is_nvt() {
            self.peer.end_lines_in_cr_lf();
        }
        if let Some(telnet) = &mut self.telnet
            && telnet.decoder.is_nvt()
            && !std::mem::replace(&mut telnet.has_requested_binary, true)
        {
            let request = telnet.decoder.request(&[TelnetOption::PeerBinary]);
            self.add_output([OutputOp::Encoded(request)]);
        }
    }

    /// Returns whether the peer is a network virtual terminal.
    pub(super) fn is_nvt(&self) -> bool {
        if self.web.is_some() {
            return false;
        }
        let has_commands = self.telnet.as_ref().is_some_and(|telnet| telnet.decoder.is_nvt());
        has_commands || self.line_decoder.is_nvt() || self.protocol == ListenerProtocol::Telnet
    }

    /// Charges the bytes of telnet commands: beyond their rate the peer is read more slowly.
    pub(super) fn charge_telnet_commands(&mut self, now: Instant) {
        let bytes = self.telnet.as_mut().map_or(0, |telnet| telnet.decoder.take_command_bytes());
        self.charge_bytes(bytes, now);
    }

    /// Charges bytes that are no line's: telnet's, and keys of the input line. The bytes that a reset peer has sent are few
    /// and delay nothing, so that its place is free soon.
    pub(super) fn charge_bytes(&mut self, bytes: u32, now: Instant) {
        if bytes > 0
            && !self.is_flushing_input()
            && let Some(telnet) = &mut self.telnet
            && let Err(later) = telnet.budget.spend_bytes(bytes, now)
            && self.check_connected().is_ok()
        {
            self.deadlines.extend(Deadline::RateLimit, later.into());
        }
    }
}
