//! Agreement: an input line opens after its client has agreed to the telnet options that it needs.
//!
//! A client that is no telnet answers nothing, and would show the negotiation of each try as rubbish: the agreement has
//! a time limit, and its user is told how it ended.

use super::Connection;
use super::telnet::TelnetState;
use super::timers::Deadline;
use crate::peer::OutputOp;
use crate::protocol::telnet::TelnetOption;
use crate::text::replies::InputLineRefusal;
use std::time::Duration;
use tokio::time::Instant;

/// How long a client may take for its agreement.
const AGREEMENT_TIMEOUT: Duration = Duration::from_secs(2);

/// The options that are requested for an input line, in this order: a client has answered the first ones, or ignores
/// them, when it answers the last one.
const REQUESTED_OPTIONS: [TelnetOption; 5] = [
    TelnetOption::PeerBinary,
    TelnetOption::TerminalType,
    TelnetOption::WindowSize,
    TelnetOption::SuppressGoAhead,
    TelnetOption::Echo,
];

/// The options that end with the input line.
pub(super) const INPUT_LINE_OPTIONS: [TelnetOption; 3] =
    [TelnetOption::Echo, TelnetOption::SuppressGoAhead, TelnetOption::WindowSize];

/// The options without which a client does not send each key and leave the echo to the server.
pub(super) const NEEDED_OPTIONS: [TelnetOption; 2] = [TelnetOption::Echo, TelnetOption::SuppressGoAhead];

impl Connection {
    /// Requests the options of an input line; the input line opens when the client has agreed.
    pub(super) fn request_input_line(&mut self) {
        let telnet = self.telnet.get_or_insert_with(|| Box::new(TelnetState::new(Instant::now().into_std())));
        let request = telnet.decoder.request(&REQUESTED_OPTIONS);
        telnet.has_requested_binary = true;
        self.deadlines.set(Deadline::Agreement, Instant::now() + AGREEMENT_TIMEOUT);
        self.add_output([OutputOp::Encoded(request)]);
        self.check_agreement();
    }

    /// Opens the input line if the client has agreed, or gives it up if that is impossible.
    pub(super) fn check_agreement(&mut self) {
        let Some(telnet) = self.telnet.as_deref().filter(|_| self.awaits_agreement()) else {
            return;
        };
        if telnet.is_dumb == Some(true) {
            return self.refuse_input_line(InputLineRefusal::DumbTerminal);
        }
        let awaits_type = telnet.decoder.is_enabled(TelnetOption::TerminalType) && telnet.is_dumb.is_none();
        if self.has_agreed() && !awaits_type {
            self.end_agreement();
            self.open_input_line();
        }
    }

    /// Opens the input line after the time for the agreement, or gives it up. A client that sends each key needs no
    /// terminal type.
    pub(super) fn on_agreement_timeout(&mut self) {
        if self.has_agreed() {
            self.open_input_line();
        } else {
            self.end_input_line(InputLineRefusal::NoAnswer(AGREEMENT_TIMEOUT));
        }
    }

    /// Ends the input line, or the wait for it, and tells the peer why. Does nothing if the peer has neither.
    pub(super) fn refuse_input_line(&mut self, reason: InputLineRefusal) {
        if self.awaits_agreement() || self.input_line_mut().is_some() {
            self.end_agreement();
            self.end_input_line(reason);
        }
    }

    /// Closes the input line, withdraws its options, and tells the peer why.
    fn end_input_line(&mut self, reason: InputLineRefusal) {
        self.close_input_line();
        self.reply_line(&reason);
    }

    /// Returns whether the client sends each key and leaves the echo to the server.
    fn has_agreed(&self) -> bool {
        let is_enabled = |telnet: &TelnetState| NEEDED_OPTIONS.iter().all(|option| telnet.decoder.is_enabled(*option));
        self.telnet.as_deref().is_some_and(is_enabled)
    }

    /// Returns whether an input line waits for the client's agreement: as long as the agreement has a deadline.
    pub(super) fn awaits_agreement(&self) -> bool {
        self.deadlines.is_set(Deadline::Agreement)
    }

    /// Ends the wait for the client's agreement, if there is one.
    pub(super) fn end_agreement(&mut self) {
        self.deadlines.clear(Deadline::Agreement);
    }
}
