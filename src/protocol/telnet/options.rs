//! Options: what is agreed on with a peer. Everything is refused that was not offered.

use super::{Command, IAC};

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

/// What is said about an option: by who has it, or to who has it.
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
pub(super) struct Options([QState; TelnetOption::ALL.len()]);

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
    fn verbs(self) -> (Verb, Verb) {
        match self {
            Self::Echo | Self::SuppressGoAhead => (Verb::Will, Verb::Wont),
            Self::WindowSize => (Verb::Do, Verb::Dont),
        }
    }

    /// Which one a peer speaks of. The server's ECHO is one, the peer's is not.
    fn of(verb: Verb, option: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.code() == option && known.verbs().1 == verb.refusal())
    }
}

impl Verb {
    pub(super) fn read(byte: u8) -> Option<Self> {
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

    fn command(self, option: u8) -> [u8; 3] {
        [IAC, self as u8, option]
    }
}

impl Options {
    /// Hears what a peer says about an option.
    ///
    /// Only a change is answered (RFC 854, page 3), and the answer is always no, which asks for no
    /// answer: there is no loop, whatever the peer does. An option that was never offered needs no
    /// memory for that.
    pub(super) fn receive(&mut self, verb: Verb, option: u8) -> Option<Command> {
        let reply = verb.refusal().command(option);
        let refuse = verb.is_positive().then_some(Command::Refuse { reply });
        let Some(option) = TelnetOption::of(verb, option) else {
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
            (QState::WantYes, QState::Yes) => Some(Command::Agreed(option)),
            (_, QState::Yes) => None,
            (QState::Yes, _) => Some(Command::Declined { option, reply: Some(reply) }),
            _ => Some(Command::Declined { option, reply: None }),
        }
    }

    /// Offers each facility that is off.
    pub(super) fn offer(&mut self) -> Vec<u8> {
        self.ask(QState::No, QState::WantYes, |(offer, _)| offer)
    }

    /// Ends each facility that is on.
    pub(super) fn withdraw(&mut self) -> Vec<u8> {
        self.ask(QState::Yes, QState::WantNo, |(_, end)| end)
    }

    /// Whether a peer may tell how large its window is.
    pub(super) fn has_window(&self) -> bool {
        self.0[TelnetOption::WindowSize as usize] == QState::Yes
    }

    /// Asks to move each facility from one standing to another.
    fn ask(&mut self, from: QState, to: QState, verb: fn((Verb, Verb)) -> Verb) -> Vec<u8> {
        let mut said = Vec::new();
        for option in TelnetOption::ALL {
            let state = &mut self.0[option as usize];
            if *state == from {
                *state = to;
                said.extend(verb(option.verbs()).command(option.code()));
            }
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ECHO, as a peer speaks of the server's.
    const ECHO: u8 = 1;

    fn refused(verb: Verb, option: u8) -> Command {
        Command::Refuse { reply: [IAC, verb as u8, option] }
    }

    fn declined(option: TelnetOption, reply: Option<[u8; 3]>) -> Command {
        Command::Declined { option, reply }
    }

    #[test]
    fn what_was_not_offered_is_refused_every_time_and_a_refusal_is_not_answered() {
        let mut options = Options::default();
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
    fn an_offer_is_agreed_to_once_and_the_peers_own_option_is_another() {
        let mut options = Options::default();
        assert_eq!(options.offer(), b"\xFF\xFB\x01\xFF\xFB\x03\xFF\xFD\x1F");
        assert_eq!(options.offer(), b"", "one question at a time");
        assert_eq!(options.receive(Verb::Will, ECHO), Some(refused(Verb::Dont, ECHO)));
        assert_eq!(options.receive(Verb::Do, 31), Some(refused(Verb::Wont, 31)));
        assert!(!options.has_window());
        for (verb, option) in [
            (Verb::Do, TelnetOption::Echo),
            (Verb::Do, TelnetOption::SuppressGoAhead),
            (Verb::Will, TelnetOption::WindowSize),
        ] {
            assert_eq!(options.receive(verb, option.code()), Some(Command::Agreed(option)));
            assert_eq!(options.receive(verb, option.code()), None, "no change, no answer");
        }
        assert!(options.has_window());
        assert_eq!(options.offer(), b"");
    }

    #[test]
    fn an_offer_is_declined_and_may_be_made_again() {
        let mut options = Options::default();
        options.offer();
        assert_eq!(options.receive(Verb::Dont, ECHO), Some(declined(TelnetOption::Echo, None)));
        assert_eq!(options.receive(Verb::Dont, ECHO), None);
        assert_eq!(options.receive(Verb::Do, ECHO), Some(refused(Verb::Wont, ECHO)));
        assert_eq!(options.offer(), b"\xFF\xFB\x01");
    }

    #[test]
    fn each_side_may_end_what_was_agreed_on() {
        let mut options = Options::default();
        options.offer();
        options.receive(Verb::Do, ECHO);
        options.receive(Verb::Will, 31);
        assert_eq!(options.receive(Verb::Dont, ECHO), Some(declined(TelnetOption::Echo, Some(*b"\xFF\xFC\x01"))));
        assert_eq!(options.receive(Verb::Dont, ECHO), None);
        assert_eq!(options.withdraw(), b"\xFF\xFE\x1F", "SGA is not answered yet");
        assert!(!options.has_window());
        assert_eq!(options.withdraw(), b"");
        assert_eq!(options.receive(Verb::Wont, 31), Some(declined(TelnetOption::WindowSize, None)));
        options.offer();
        options.receive(Verb::Will, 31);
        options.withdraw();
        assert_eq!(options.receive(Verb::Will, 31), Some(declined(TelnetOption::WindowSize, None)), "can't be");
        assert!(!options.has_window());
    }

    /// Two servers that both offer and refuse everything fall silent.
    #[test]
    fn two_of_a_kind_do_not_loop() {
        let (mut left, mut right) = (Options::default(), Options::default());
        let (mut to_right, mut to_left) = (left.offer(), right.offer());
        for round in 0.. {
            if to_right.is_empty() && to_left.is_empty() {
                break;
            }
            assert!(round < 4, "{to_right:?} {to_left:?}");
            let answers = (answers(&mut left, &to_left), answers(&mut right, &to_right));
            (to_right, to_left) = answers;
        }
    }

    /// What is answered to whole negotiations.
    fn answers(options: &mut Options, heard: &[u8]) -> Vec<u8> {
        let mut said = Vec::new();
        for command in heard.as_chunks::<3>().0 {
            let asked = options.receive(Verb::read(command[1]).unwrap(), command[2]);
            if let Some(Command::Refuse { reply } | Command::Declined { reply: Some(reply), .. }) = asked {
                said.extend(reply);
            }
        }
        said
    }
}
