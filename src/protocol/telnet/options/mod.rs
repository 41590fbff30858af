//! Telnet option negotiation by RFC 1143: the state of each option that the server uses.
//!
//! The server accepts BINARY, and refuses every other option that it did not request. Nothing here decodes
//! bytes or sends them: verbs come in, and commands and bytes go out.

use super::{IAC, TelnetCommand};
use serde::{Deserialize, Serialize};

/// A telnet option of which the server makes use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TelnetOption {
    /// The peer's BINARY (RFC 856), DO and DONT 0: the peer sends all eight bits of each byte. Without it
    /// GNU telnet takes bytes of UTF-8 for its special characters, and lines are lost.
    PeerBinary,
    /// The server's BINARY (RFC 856), WILL and WONT 0: the server sends all eight bits of each byte.
    OwnBinary,
    /// ECHO (RFC 857), WILL and WONT 1: the server echoes typed characters.
    Echo,
    /// SUPPRESS-GO-AHEAD (RFC 858), WILL and WONT 3: together with [`Echo`](Self::Echo) it makes clients
    /// send each key at once.
    SuppressGoAhead,
    /// NAWS (RFC 1073), DO and DONT 31: the client sends the size of its window.
    WindowSize,
    /// TERMINAL-TYPE (RFC 1091), DO and DONT 24: the client sends the name of its terminal when it gets a
    /// `TERMINAL_TYPE_REQUEST`.
    TerminalType,
}

/// A negotiation verb (RFC 854, page 14). WILL and WONT speak of the sender's option, DO and DONT of the
/// receiver's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Verb {
    Will = 0xFB,
    Wont = 0xFC,
    Do = 0xFD,
    Dont = 0xFE,
}

/// The state of an option: RFC 1143, section 7, changed for peers that never answer WONT or DONT.
///
/// RFC 1143 sends no request while an earlier one is unanswered, and keeps the opposite wish in a queue.
/// Some clients answer nothing to WONT and DONT, and their options could never be enabled again. Therefore
/// an option is disabled as soon as WONT or DONT is sent, and the next request follows at once. A compliant
/// peer answers in order: the first refusal after that acknowledges the WONT or DONT, and is no answer to
/// the request. A positive answer comes from a peer that sends no acknowledgement, so none is due any more.
/// Therefore at most one acknowledgement is due, and one bit in the state counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum QState {
    /// Disabled.
    #[default]
    No,
    /// The server has requested to enable the option; the peer has not answered.
    WantYes,
    /// Enabled.
    Yes,
    /// The server has disabled the option; the peer has not acknowledged that (RFC 1143: WANTNO, queue
    /// empty).
    WantNo,
    /// The server has disabled the option and requested it again; the peer has answered neither (RFC 1143:
    /// WANTNO, queue opposite).
    WantNoThenYes,
}

/// The most times that a connection accepts BINARY: far more than a user switches it by hand.
///
/// A request that is sent again breaks the rule of RFC 1143 against loops (section 3): the answers to both
/// may cross a request of the peer for the opposite, and from then on each side answers the other's changes.
/// Each round of such a loop needs one acceptance, so this bounds it.
const MAX_ACCEPTANCES: u8 = 16;

/// The states of all options that the server may use.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct OptionStates {
    /// The states, indexed by [`TelnetOption`].
    states: [QState; TelnetOption::ALL.len()],
    /// How often BINARY was accepted in either direction, at most [`MAX_ACCEPTANCES`].
    acceptances: u8,
}

impl TelnetOption {
    const ALL: [Self; 6] =
        [Self::PeerBinary, Self::OwnBinary, Self::Echo, Self::SuppressGoAhead, Self::WindowSize, Self::TerminalType];

    /// Returns the option's code (IANA telnet options).
    pub(super) fn code(self) -> u8 {
        match self {
            Self::PeerBinary | Self::OwnBinary => 0,
            Self::Echo => 1,
            Self::SuppressGoAhead => 3,
            Self::TerminalType => 24,
            Self::WindowSize => 31,
        }
    }

    /// Returns the verbs with which the server requests to enable and to disable the option.
    fn request_verbs(self) -> (Verb, Verb) {
        match self {
            Self::OwnBinary | Self::Echo | Self::SuppressGoAhead => (Verb::Will, Verb::Wont),
            Self::PeerBinary | Self::WindowSize | Self::TerminalType => (Verb::Do, Verb::Dont),
        }
    }

    /// Returns whether the server accepts the option when the peer asks for it.
    fn is_accepted(self) -> bool {
        matches!(self, Self::PeerBinary | Self::OwnBinary)
    }

    /// Returns the option that a peer's `verb` and option code mean. DO ECHO means the server's ECHO, which
    /// the server may request; WILL ECHO means the peer's own, which it never does.
    fn from_peer(verb: Verb, option: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.code() == option && known.request_verbs().1 == verb.refusal())
    }
}

impl Verb {
    /// Returns the verb that `byte` encodes.
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Will, Self::Wont, Self::Do, Self::Dont].into_iter().find(|verb| *verb as u8 == byte)
    }

    /// Returns whether the verb requests to enable an option, or accepts that.
    fn is_positive(self) -> bool {
        matches!(self, Self::Will | Self::Do)
    }

    /// Returns the verb that refuses this one.
    fn refusal(self) -> Self {
        match self {
            Self::Will | Self::Wont => Self::Dont,
            Self::Do | Self::Dont => Self::Wont,
        }
    }

    /// Returns the whole command: IAC, the verb and the option code.
    fn with_option(self, option: u8) -> [u8; 3] {
        [IAC, self as u8, option]
    }
}

impl OptionStates {
    /// Receives a peer's `verb` about `option` and returns what the connection has to do, if anything.
    ///
    /// Only a change of state and a refused question get a reply (RFC 854, page 3), and changes to enabled
    /// are bounded by the server's requests and by [`MAX_ACCEPTANCES`]. Therefore negotiation cannot loop
    /// with a peer that does not ask again for what was refused. An option that the server does not use needs
    /// no state for that.
    pub(super) fn receive(&mut self, verb: Verb, option: u8) -> Option<TelnetCommand> {
        let refusal = verb.refusal().with_option(option);
        let Some(option) = TelnetOption::from_peer(verb, option) else {
            return verb.is_positive().then_some(TelnetCommand::Refuse { reply: refusal });
        };
        let state = &mut self.states[option as usize];
        if !verb.is_positive() {
            return state.receive_negative(option, refusal);
        }
        let may_accept = option.is_accepted() && self.acceptances < MAX_ACCEPTANCES;
        let command = state.receive_positive(option, refusal, may_accept);
        self.acceptances += u8::from(matches!(command, Some(TelnetCommand::Accept { .. })));
        command
    }

    /// Requests each of `options` that is not enabled; returns the bytes to send, in the order of `options`.
    pub(super) fn request(&mut self, options: &[TelnetOption]) -> Vec<u8> {
        self.send(options, |state, (enable, _)| {
            *state = match state {
                QState::Yes => return None,
                QState::No | QState::WantYes => QState::WantYes,
                QState::WantNo | QState::WantNoThenYes => QState::WantNoThenYes,
            };
            Some(enable)
        })
    }

    /// Disables each of `options` that is enabled; returns the bytes to send, in the order of `options`.
    pub(super) fn withdraw(&mut self, options: &[TelnetOption]) -> Vec<u8> {
        self.send(options, |state, (_, disable)| {
            let was_enabled = *state == QState::Yes;
            was_enabled.then(|| {
                *state = QState::WantNo;
                disable
            })
        })
    }

    /// Returns whether the option is enabled.
    pub(super) fn is_enabled(&self, option: TelnetOption) -> bool {
        self.states[option as usize] == QState::Yes
    }

    /// Returns the commands with the verbs that `transition` chooses for `options`, if any.
    fn send(
        &mut self,
        options: &[TelnetOption],
        transition: impl Fn(&mut QState, (Verb, Verb)) -> Option<Verb>,
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        for option in options {
            if let Some(verb) = transition(&mut self.states[*option as usize], option.request_verbs()) {
                bytes.extend(verb.with_option(option.code()));
            }
        }
        bytes
    }
}

impl QState {
    /// Receives a peer's WILL or DO about `option`, whose refusal is `refusal`; accepts a question only if it
    /// may.
    fn receive_positive(&mut self, option: TelnetOption, refusal: [u8; 3], may_accept: bool) -> Option<TelnetCommand> {
        let (after, command) = match self {
            Self::Yes => return None,
            Self::WantYes | Self::WantNoThenYes => (Self::Yes, TelnetCommand::Enabled(option)),
            Self::No if may_accept => {
                let reply = option.request_verbs().0.with_option(option.code());
                (Self::Yes, TelnetCommand::Accept { option, reply })
            }
            // RFC 1143 calls a positive answer to WONT or DONT an error, and the option disabled. To accept
            // BINARY here would start a loop with a peer that answers each command.
            Self::No | Self::WantNo => (Self::No, TelnetCommand::Refuse { reply: refusal }),
        };
        *self = after;
        Some(command)
    }

    /// Receives a peer's WONT or DONT about `option`; `reply` confirms the end of an enabled option.
    fn receive_negative(&mut self, option: TelnetOption, reply: [u8; 3]) -> Option<TelnetCommand> {
        let (after, command) = match self {
            Self::No | Self::WantNo => (Self::No, None),
            Self::WantNoThenYes => (Self::WantYes, None),
            Self::WantYes => (Self::No, Some(TelnetCommand::Disabled { option, reply: None })),
            Self::Yes => (Self::No, Some(TelnetCommand::Disabled { option, reply: Some(reply) })),
        };
        *self = after;
        command
    }
}

#[cfg(test)]
mod tests;
