//! Telnet option negotiation by RFC 1143. The server refuses every option that it did not request.

use super::{IAC, TelnetCommand};

/// A telnet option that the server requests in order to edit a user's line itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TelnetOption {
    /// ECHO (RFC 857): the server echoes typed characters.
    Echo,
    /// SUPPRESS-GO-AHEAD (RFC 858): together with [`Echo`](Self::Echo) it makes clients send each key at
    /// once.
    SuppressGoAhead,
    /// NAWS (RFC 1073): the client sends the size of its window.
    WindowSize,
}

/// A negotiation verb (RFC 854, page 14). WILL and WONT speak of the sender's option, DO and DONT of the
/// receiver's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Will = 0xFB,
    Wont = 0xFC,
    Do = 0xFD,
    Dont = 0xFE,
}

/// The state of an option (RFC 1143, section 7), without the queue: at most one request per option is
/// unanswered, and a caller whose wish has changed sends the opposite request after the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum QState {
    /// Disabled.
    #[default]
    No,
    /// The server has requested to enable the option; the peer has not answered.
    WantYes,
    /// Enabled.
    Yes,
    /// The server has requested to disable the option; the peer has not answered.
    WantNo,
}

/// The states of all options that the server may request, indexed by [`TelnetOption`].
#[derive(Debug, Default)]
pub(super) struct OptionStates([QState; TelnetOption::ALL.len()]);

impl TelnetOption {
    const ALL: [Self; 3] = [Self::Echo, Self::SuppressGoAhead, Self::WindowSize];

    /// Returns the option's code (IANA telnet options).
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Echo => 1,
            Self::SuppressGoAhead => 3,
            Self::WindowSize => 31,
        }
    }

    /// Returns the verbs with which the server requests to enable and to disable the option.
    fn request_verbs(self) -> (Verb, Verb) {
        match self {
            Self::Echo | Self::SuppressGoAhead => (Verb::Will, Verb::Wont),
            Self::WindowSize => (Verb::Do, Verb::Dont),
        }
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
    /// Only a change of state gets a reply (RFC 854, page 3), and every reply is a refusal, which needs no
    /// answer itself. Therefore negotiation cannot loop, whatever the peer sends. An option that was never
    /// requested needs no state for that.
    pub(super) fn receive(&mut self, verb: Verb, option: u8) -> Option<TelnetCommand> {
        let reply = verb.refusal().with_option(option);
        let refuse = verb.is_positive().then_some(TelnetCommand::Refuse { reply });
        let Some(option) = TelnetOption::from_peer(verb, option) else {
            return refuse;
        };
        let state = &mut self.0[option as usize];
        let before = *state;
        *state = match (before, verb.is_positive()) {
            (QState::WantYes | QState::Yes, true) => QState::Yes,
            // Also if the peer accepts WONT or DONT with a positive verb, which RFC 1143 calls an error.
            _ => QState::No,
        };
        match (before, *state) {
            (QState::No, _) => refuse,
            (QState::WantYes, QState::Yes) => Some(TelnetCommand::Enabled(option)),
            (_, QState::Yes) => None,
            (QState::Yes, _) => Some(TelnetCommand::Disabled { option, reply: Some(reply) }),
            _ => Some(TelnetCommand::Disabled { option, reply: None }),
        }
    }

    /// Requests to enable each disabled option; returns the bytes to send.
    pub(super) fn enable_all(&mut self) -> Vec<u8> {
        self.request_transition(QState::No, QState::WantYes, |(enable, _)| enable)
    }

    /// Requests to disable each enabled option; returns the bytes to send.
    pub(super) fn disable_all(&mut self) -> Vec<u8> {
        self.request_transition(QState::Yes, QState::WantNo, |(_, disable)| disable)
    }

    /// Returns whether NAWS is enabled, so that window sizes may arrive.
    pub(super) fn is_window_size_enabled(&self) -> bool {
        self.0[TelnetOption::WindowSize as usize] == QState::Yes
    }

    /// Moves each option in state `from` to state `to` and returns the requests for that.
    fn request_transition(&mut self, from: QState, to: QState, verb: fn((Verb, Verb)) -> Verb) -> Vec<u8> {
        let mut request = Vec::new();
        for option in TelnetOption::ALL {
            let state = &mut self.0[option as usize];
            if *state == from {
                *state = to;
                request.extend(verb(option.request_verbs()).with_option(option.code()));
            }
        }
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The code of ECHO.
    const ECHO: u8 = 1;

    fn refused(verb: Verb, option: u8) -> TelnetCommand {
        TelnetCommand::Refuse { reply: [IAC, verb as u8, option] }
    }

    fn disabled(option: TelnetOption, reply: Option<[u8; 3]>) -> TelnetCommand {
        TelnetCommand::Disabled { option, reply }
    }

    #[test]
    fn option_that_was_not_requested_is_refused_every_time_and_a_refusal_gets_no_reply() {
        let mut options = OptionStates::default();
        for option in 0..=255 {
            for _ in 0..2 {
                assert_eq!(options.receive(Verb::Do, option), Some(refused(Verb::Wont, option)));
                assert_eq!(options.receive(Verb::Will, option), Some(refused(Verb::Dont, option)));
                assert_eq!(options.receive(Verb::Dont, option), None);
                assert_eq!(options.receive(Verb::Wont, option), None);
            }
        }
    }

    #[test]
    fn request_is_accepted_once_and_the_same_option_of_the_peer_is_refused() {
        let mut options = OptionStates::default();
        assert_eq!(options.enable_all(), b"\xFF\xFB\x01\xFF\xFB\x03\xFF\xFD\x1F");
        assert_eq!(options.enable_all(), b"", "an unanswered request is not repeated");
        assert_eq!(options.receive(Verb::Will, ECHO), Some(refused(Verb::Dont, ECHO)));
        assert_eq!(options.receive(Verb::Do, 31), Some(refused(Verb::Wont, 31)));
        assert!(!options.is_window_size_enabled());
        for (verb, option) in [
            (Verb::Do, TelnetOption::Echo),
            (Verb::Do, TelnetOption::SuppressGoAhead),
            (Verb::Will, TelnetOption::WindowSize),
        ] {
            assert_eq!(options.receive(verb, option.code()), Some(TelnetCommand::Enabled(option)));
            assert_eq!(options.receive(verb, option.code()), None, "a verb that changes nothing gets no reply");
        }
        assert!(options.is_window_size_enabled());
        assert_eq!(options.enable_all(), b"");
    }

    #[test]
    fn refused_request_may_be_sent_again() {
        let mut options = OptionStates::default();
        options.enable_all();
        assert_eq!(options.receive(Verb::Dont, ECHO), Some(disabled(TelnetOption::Echo, None)));
        assert_eq!(options.receive(Verb::Dont, ECHO), None);
        assert_eq!(options.receive(Verb::Do, ECHO), Some(refused(Verb::Wont, ECHO)));
        assert_eq!(options.enable_all(), b"\xFF\xFB\x01");
    }

    #[test]
    fn either_side_may_disable_an_enabled_option() {
        let mut options = OptionStates::default();
        options.enable_all();
        options.receive(Verb::Do, ECHO);
        options.receive(Verb::Will, 31);
        assert_eq!(options.receive(Verb::Dont, ECHO), Some(disabled(TelnetOption::Echo, Some(*b"\xFF\xFC\x01"))));
        assert_eq!(options.receive(Verb::Dont, ECHO), None);
        assert_eq!(options.disable_all(), b"\xFF\xFE\x1F", "the unanswered request for SGA stays");
        assert!(!options.is_window_size_enabled());
        assert_eq!(options.disable_all(), b"");
        assert_eq!(options.receive(Verb::Wont, 31), Some(disabled(TelnetOption::WindowSize, None)));
        options.enable_all();
        options.receive(Verb::Will, 31);
        options.disable_all();
        assert_eq!(
            options.receive(Verb::Will, 31),
            Some(disabled(TelnetOption::WindowSize, None)),
            "a positive answer to DONT counts as disabled"
        );
        assert!(!options.is_window_size_enabled());
    }

    /// Two servers that both request options and refuse all others stop after four rounds at most.
    #[test]
    fn two_servers_that_request_and_refuse_everything_do_not_loop() {
        let (mut left, mut right) = (OptionStates::default(), OptionStates::default());
        let (mut to_right, mut to_left) = (left.enable_all(), right.enable_all());
        for round in 0.. {
            if to_right.is_empty() && to_left.is_empty() {
                break;
            }
            assert!(round < 4, "{to_right:?} {to_left:?}");
            let replies = (replies_to(&mut left, &to_left), replies_to(&mut right, &to_right));
            (to_right, to_left) = replies;
        }
    }

    /// Returns the replies to `received`, a sequence of whole negotiation commands.
    fn replies_to(options: &mut OptionStates, received: &[u8]) -> Vec<u8> {
        let mut request = Vec::new();
        for command in received.as_chunks::<3>().0 {
            let command = options.receive(Verb::from_byte(command[1]).unwrap(), command[2]);
            if let Some(TelnetCommand::Refuse { reply } | TelnetCommand::Disabled { reply: Some(reply), .. }) = command
            {
                request.extend(reply);
            }
        }
        request
    }
}
