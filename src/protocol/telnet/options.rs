//! OptionStates: what is agreed on with a peer. Everything is refused that was not offered.

use super::{IAC, TelnetCommand};

/// What a server may offer, or ask for, to edit a user's line itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TelnetOption {
    /// The server echoes what is typed (RFC 857).
    Echo,
    /// The server sends no Go Ahead (RFC 858). With [`Echo`](Self::Echo): a client sends each key at once.
    SuppressGoAhead,
    /// The client tells how large its window is (RFC 1073).
    WindowSize,
}

/// What is request about an option: by who has it, or to who has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Will = 0xFB,
    Wont = 0xFC,
    Do = 0xFD,
    Dont = 0xFE,
}

/// How far a facility is, as in RFC 1143, section 7, without its queue: there is one question at a
/// time, and who has changed his mind asks again when the answer has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum QState {
    /// Not in use.
    #[default]
    No,
    /// Offered, and not answered yet.
    WantYes,
    /// In use.
    Yes,
    /// Ended by the server, and not answered yet.
    WantNo,
}

/// Where each facility stands.
#[derive(Debug, Default)]
pub(super) struct OptionStates([QState; TelnetOption::ALL.len()]);

impl TelnetOption {
    const ALL: [Self; 3] = [Self::Echo, Self::SuppressGoAhead, Self::WindowSize];

    /// Its option's number.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Echo => 1,
            Self::SuppressGoAhead => 3,
            Self::WindowSize => 31,
        }
    }

    /// What the server says to offer it, and what to end it.
    fn request_verbs(self) -> (Verb, Verb) {
        match self {
            Self::Echo | Self::SuppressGoAhead => (Verb::Will, Verb::Wont),
            Self::WindowSize => (Verb::Do, Verb::Dont),
        }
    }

    /// Which one a peer speaks of. The server's ECHO is one, the peer's is not.
    fn from_peer(verb: Verb, option: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.code() == option && known.request_verbs().1 == verb.refusal())
    }
}

impl Verb {
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Will, Self::Wont, Self::Do, Self::Dont].into_iter().find(|verb| *verb as u8 == byte)
    }

    /// Whether it asks for an option, or agrees to it.
    fn is_positive(self) -> bool {
        matches!(self, Self::Will | Self::Do)
    }

    /// What says no to it.
    fn refusal(self) -> Self {
        match self {
            Self::Will | Self::Wont => Self::Dont,
            Self::Do | Self::Dont => Self::Wont,
        }
    }

    fn with_option(self, option: u8) -> [u8; 3] {
        [IAC, self as u8, option]
    }
}

impl OptionStates {
    /// Hears what a peer says about an option.
    ///
    /// Only a change is answered (RFC 854, page 3), and the answer is always no, which asks for no
    /// answer: there is no loop, whatever the peer does. An option that was never offered needs no
    /// memory for that.
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
            // Also where the end of an option is answered with yes, which can't be.
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

    /// Offers each facility that is off.
    pub(super) fn enable_all(&mut self) -> Vec<u8> {
        self.request_transition(QState::No, QState::WantYes, |(enable, _)| enable)
    }

    /// Ends each facility that is on.
    pub(super) fn disable_all(&mut self) -> Vec<u8> {
        self.request_transition(QState::Yes, QState::WantNo, |(_, disable)| disable)
    }

    /// Whether a peer may tell how large its window is.
    pub(super) fn is_window_size_enabled(&self) -> bool {
        self.0[TelnetOption::WindowSize as usize] == QState::Yes
    }

    /// Asks to move each facility from one standing to another.
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

    /// ECHO, as a peer speaks of the server's.
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
        assert_eq!(options.enable_all(), b"", "one question at a time");
        assert_eq!(options.receive(Verb::Will, ECHO), Some(refused(Verb::Dont, ECHO)));
        assert_eq!(options.receive(Verb::Do, 31), Some(refused(Verb::Wont, 31)));
        assert!(!options.is_window_size_enabled());
        for (verb, option) in [
            (Verb::Do, TelnetOption::Echo),
            (Verb::Do, TelnetOption::SuppressGoAhead),
            (Verb::Will, TelnetOption::WindowSize),
        ] {
            assert_eq!(options.receive(verb, option.code()), Some(TelnetCommand::Enabled(option)));
            assert_eq!(options.receive(verb, option.code()), None, "no change, no answer");
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
        assert_eq!(options.disable_all(), b"\xFF\xFE\x1F", "SGA is not answered yet");
        assert!(!options.is_window_size_enabled());
        assert_eq!(options.disable_all(), b"");
        assert_eq!(options.receive(Verb::Wont, 31), Some(disabled(TelnetOption::WindowSize, None)));
        options.enable_all();
        options.receive(Verb::Will, 31);
        options.disable_all();
        assert_eq!(options.receive(Verb::Will, 31), Some(disabled(TelnetOption::WindowSize, None)), "can't be");
        assert!(!options.is_window_size_enabled());
    }

    /// Two servers that both offer and refuse everything fall silent.
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

    /// What is answered to whole negotiations.
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
