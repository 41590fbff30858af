//! Tests of negotiation: single exchanges, and random ones with compliant peers and with peers that answer
//! nothing to WONT and DONT.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

/// The code of ECHO.
const ECHO: u8 = 1;

/// Three options in an order that is not that of their codes.
const REQUESTED: [TelnetOption; 3] = [TelnetOption::TerminalType, TelnetOption::PeerBinary, TelnetOption::Echo];

fn refused(verb: Verb, option: u8) -> TelnetCommand {
    TelnetCommand::Refuse { reply: [IAC, verb as u8, option] }
}

fn disabled(option: TelnetOption, reply: Option<[u8; 3]>) -> TelnetCommand {
    TelnetCommand::Disabled { option, reply }
}

/// Returns the verb with which a compliant peer accepts the option.
fn acceptance(option: TelnetOption) -> Verb {
    if option.request_verbs().0 == Verb::Will { Verb::Do } else { Verb::Will }
}

/// Returns the verb with which a compliant peer refuses the option.
fn rejection(option: TelnetOption) -> Verb {
    acceptance(option).opposite()
}

impl Verb {
    /// Returns the verb about the same side's option that says the opposite.
    fn opposite(self) -> Self {
        match self {
            Self::Will => Self::Wont,
            Self::Wont => Self::Will,
            Self::Do => Self::Dont,
            Self::Dont => Self::Do,
        }
    }
}

#[test]
fn option_that_was_not_requested_is_refused_every_time_and_a_refusal_gets_no_reply() {
    let mut options = OptionStates::default();
    for option in 1..=255 {
        for _ in 0..2 {
            assert_eq!(options.receive(Verb::Do, option), Some(refused(Verb::Wont, option)));
            assert_eq!(options.receive(Verb::Will, option), Some(refused(Verb::Dont, option)));
            assert_eq!(options.receive(Verb::Dont, option), None);
            assert_eq!(options.receive(Verb::Wont, option), None);
        }
    }
    for option in TelnetOption::ALL {
        assert!(!options.is_enabled(option), "{option:?}");
    }
}

#[test]
fn binary_is_accepted_once_in_each_direction() {
    let mut options = OptionStates::default();
    for (verb, option, reply) in
        [(Verb::Will, TelnetOption::PeerBinary, b"\xFF\xFD\0"), (Verb::Do, TelnetOption::OwnBinary, b"\xFF\xFB\0")]
    {
        assert_eq!(options.receive(verb, 0), Some(TelnetCommand::Accept { option, reply: *reply }));
        assert!(options.is_enabled(option));
        assert_eq!(options.receive(verb, 0), None, "a verb that changes nothing gets no reply");
        assert_eq!(options.request(&[option]), b"", "an enabled option needs no request");
        let confirmation = [IAC, if verb == Verb::Will { 0xFE } else { 0xFC }, 0];
        assert_eq!(options.receive(verb.opposite(), 0), Some(disabled(option, Some(confirmation))));
        assert!(!options.is_enabled(option));
        assert_eq!(options.request(&[option]), reply);
        assert_eq!(options.receive(verb, 0), Some(TelnetCommand::Enabled(option)), "a request needs no reply");
    }
}

#[test]
fn requests_follow_the_order_of_the_options() {
    let mut options = OptionStates::default();
    assert_eq!(options.request(&REQUESTED), b"\xFF\xFD\x18\xFF\xFD\0\xFF\xFB\x01");
    for option in REQUESTED {
        let accepted = options.receive(acceptance(option), option.code());
        assert_eq!(accepted, Some(TelnetCommand::Enabled(option)));
    }
    assert_eq!(options.request(&REQUESTED), b"");
    assert_eq!(options.withdraw(&REQUESTED), b"\xFF\xFE\x18\xFF\xFE\0\xFF\xFC\x01");
    assert_eq!(options.withdraw(&REQUESTED), b"");
}

#[test]
fn request_is_accepted_once_and_the_same_option_of_the_peer_is_refused() {
    let mut options = OptionStates::default();
    let requested = [TelnetOption::Echo, TelnetOption::SuppressGoAhead, TelnetOption::WindowSize];
    assert_eq!(options.request(&requested), b"\xFF\xFB\x01\xFF\xFB\x03\xFF\xFD\x1F");
    assert_eq!(options.receive(Verb::Will, ECHO), Some(refused(Verb::Dont, ECHO)));
    assert_eq!(options.receive(Verb::Do, 31), Some(refused(Verb::Wont, 31)));
    for option in requested {
        assert!(!options.is_enabled(option));
        let verb = acceptance(option);
        assert_eq!(options.receive(verb, option.code()), Some(TelnetCommand::Enabled(option)));
        assert_eq!(options.receive(verb, option.code()), None, "a verb that changes nothing gets no reply");
        assert!(options.is_enabled(option));
    }
}

#[test]
fn request_without_an_answer_is_sent_again_and_its_late_answer_counts_once() {
    let mut options = OptionStates::default();
    for _ in 0..3 {
        assert_eq!(options.request(&[TelnetOption::Echo]), b"\xFF\xFB\x01");
    }
    assert_eq!(options.withdraw(&[TelnetOption::Echo]), b"", "an option that is not enabled is not withdrawn");
    assert_eq!(options.receive(Verb::Do, ECHO), Some(TelnetCommand::Enabled(TelnetOption::Echo)));
    assert_eq!(options.receive(Verb::Do, ECHO), None);
}

#[test]
fn refused_request_may_be_sent_again() {
    let mut options = OptionStates::default();
    options.request(&REQUESTED);
    assert_eq!(options.receive(Verb::Dont, ECHO), Some(disabled(TelnetOption::Echo, None)));
    assert_eq!(options.receive(Verb::Dont, ECHO), None);
    assert_eq!(options.receive(Verb::Do, ECHO), Some(refused(Verb::Wont, ECHO)));
    assert_eq!(options.request(&[TelnetOption::Echo]), b"\xFF\xFB\x01");
}

#[test]
fn peer_may_disable_an_enabled_option() {
    let mut options = OptionStates::default();
    options.request(&REQUESTED);
    options.receive(Verb::Do, ECHO);
    assert_eq!(options.receive(Verb::Dont, ECHO), Some(disabled(TelnetOption::Echo, Some(*b"\xFF\xFC\x01"))));
    assert_eq!(options.receive(Verb::Dont, ECHO), None);
    assert_eq!(options.receive(Verb::Wont, 24), Some(disabled(TelnetOption::TerminalType, None)));
}

#[test]
fn acknowledgement_of_a_withdrawal_is_no_answer_to_the_next_request() {
    for option in TelnetOption::ALL {
        let (accepts, rejects) = (acceptance(option), rejection(option));
        let mut options = OptionStates::default();
        options.request(&[option]);
        options.receive(accepts, option.code());
        for _ in 0..3 {
            assert_eq!(options.withdraw(&[option]).len(), 3);
            assert!(!options.is_enabled(option), "the option is disabled at once");
            assert_eq!(options.request(&[option]).len(), 3);
            assert_eq!(options.receive(rejects, option.code()), None, "the acknowledgement");
            assert_eq!(options.receive(accepts, option.code()), Some(TelnetCommand::Enabled(option)));
        }
        options.withdraw(&[option]);
        assert_eq!(options.receive(rejects, option.code()), None, "the acknowledgement");
        options.request(&[option]);
        assert_eq!(options.receive(rejects, option.code()), Some(disabled(option, None)), "the refusal of the request");
    }
}

#[test]
fn option_can_be_enabled_again_by_a_client_that_answers_nothing_to_a_withdrawal() {
    for option in TelnetOption::ALL {
        let (accepts, rejects) = (acceptance(option), rejection(option));
        let mut options = OptionStates::default();
        for _ in 0..3 {
            assert_eq!(options.request(&[option]).len(), 3);
            assert_eq!(options.receive(accepts, option.code()), Some(TelnetCommand::Enabled(option)));
            assert_eq!(options.withdraw(&[option]).len(), 3);
        }
        options.request(&[option]);
        options.receive(accepts, option.code());
        assert!(
            matches!(options.receive(rejects, option.code()), Some(TelnetCommand::Disabled { reply: Some(_), .. })),
            "no acknowledgement is due after a positive answer"
        );
    }
}

/// RFC 1143, section 7: "Error: DONT answered by WILL", and the option is disabled.
#[test]
fn positive_answer_to_a_withdrawal_is_refused_and_leaves_the_option_disabled() {
    for option in TelnetOption::ALL {
        let mut options = OptionStates::default();
        options.request(&[option]);
        options.receive(acceptance(option), option.code());
        options.withdraw(&[option]);
        assert_eq!(
            options.receive(acceptance(option), option.code()),
            Some(refused(option.request_verbs().1, option.code()))
        );
        assert!(!options.is_enabled(option));
    }
}

/// A peer that switches BINARY on and off on its own gets a bounded number of acceptances.
#[test]
fn binary_is_accepted_a_bounded_number_of_times() {
    let mut options = OptionStates::default();
    for round in 0..100 {
        let accepted = matches!(options.receive(Verb::Will, 0), Some(TelnetCommand::Accept { .. }));
        assert_eq!(accepted, round < MAX_ACCEPTANCES, "round {round}");
        options.receive(Verb::Wont, 0);
    }
    assert_eq!(options.receive(Verb::Will, 0), Some(refused(Verb::Dont, 0)));
    options.request(&[TelnetOption::PeerBinary]);
    let enabled = Some(TelnetCommand::Enabled(TelnetOption::PeerBinary));
    assert_eq!(options.receive(Verb::Will, 0), enabled, "the server's own requests are not bounded");
}

/// The answers to two unanswered requests cross a request of the peer for the opposite: without a bound, each side would
/// answer the other's changes for ever.
#[test]
fn repeated_request_that_crosses_a_request_of_the_peer_does_not_loop() {
    let mut link = Link::new(false);
    for _ in 0..3 {
        link.run(Step::Server(TelnetOption::OwnBinary, true));
    }
    link.run(Step::Deliver { to_server: false });
    link.run(Step::Peer(TelnetOption::OwnBinary, false));
    link.drain();
    assert!(!link.server.is_enabled(TelnetOption::OwnBinary));
    assert_eq!(link.peer.states[TelnetOption::OwnBinary as usize], PeerState::No);
}

/// Two servers that both request options and refuse all others stop after four rounds at most.
#[test]
fn two_servers_that_request_and_refuse_everything_do_not_loop() {
    let (mut left, mut right) = (OptionStates::default(), OptionStates::default());
    let (mut to_right, mut to_left) = (left.request(&TelnetOption::ALL), right.request(&TelnetOption::ALL));
    for round in 0.. {
        if to_right.is_empty() && to_left.is_empty() {
            break;
        }
        assert!(round < 4, "{to_right:?} {to_left:?}");
        let replies = (replies_to(&mut left, &to_left), replies_to(&mut right, &to_right));
        (to_right, to_left) = replies;
    }
    for option in TelnetOption::ALL {
        let is_binary = option.is_accepted();
        assert_eq!((left.is_enabled(option), right.is_enabled(option)), (is_binary, is_binary), "{option:?}");
    }
}

/// Returns the replies to `received`, a sequence of whole negotiation commands.
fn replies_to(options: &mut OptionStates, received: &[u8]) -> Vec<u8> {
    let commands = received.as_chunks::<3>().0.iter();
    commands
        .filter_map(|[_, verb, option]| reply_to(options, Verb::from_byte(*verb).unwrap(), *option))
        .flatten()
        .collect()
}

/// Returns the reply to one command, if there is one.
fn reply_to(options: &mut OptionStates, verb: Verb, option: u8) -> Option<[u8; 3]> {
    match options.receive(verb, option)? {
        TelnetCommand::Refuse { reply }
        | TelnetCommand::Accept { reply, .. }
        | TelnetCommand::Disabled { reply: Some(reply), .. } => Some(reply),
        _ => None,
    }
}

/// A peer's state of one option: the states of RFC 1143, section 7, with its queue.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum PeerState {
    #[default]
    No,
    Yes,
    WantNo,
    WantNoOpposite,
    WantYes,
    WantYesOpposite,
}

/// A peer that negotiates by RFC 1143, but for what it is `silent` about.
struct ModelPeer {
    /// The states, indexed by [`TelnetOption`].
    states: [PeerState; TelnetOption::ALL.len()],
    /// Whether the peer accepts each option that the server requests.
    accepts: [bool; TelnetOption::ALL.len()],
    /// Whether the peer answers nothing to WONT and DONT.
    silent: bool,
}

impl ModelPeer {
    /// Receives the server's request to enable or disable `option`; returns whether the reply is positive, if
    /// there is a reply.
    fn receive(&mut self, option: TelnetOption, positive: bool) -> Option<bool> {
        use PeerState::{No, WantNo, WantNoOpposite, WantYes, WantYesOpposite, Yes};
        let accepts = self.accepts[option as usize];
        let state = &mut self.states[option as usize];
        let (after, reply) = match (*state, positive) {
            (No, true) if accepts => (Yes, Some(true)),
            (No, true) => (No, Some(false)),
            (Yes | WantNoOpposite | WantYes, true) => (Yes, None),
            (WantYesOpposite, true) => (WantNo, Some(false)),
            (Yes, false) => (No, Some(false).filter(|_| !self.silent)),
            (WantNoOpposite, false) => (WantYes, Some(true)),
            (WantNo, _) | (No | WantYes | WantYesOpposite, false) => (No, None),
        };
        *state = after;
        reply
    }

    /// Does what the peer's own user wishes; returns whether the request is positive, if there is a request.
    fn wish(&mut self, option: TelnetOption, positive: bool) -> Option<bool> {
        use PeerState::{No, WantNo, WantNoOpposite, WantYes, WantYesOpposite, Yes};
        let state = &mut self.states[option as usize];
        let (after, request) = match (*state, positive) {
            (No, true) => (WantYes, Some(true)),
            (Yes, false) => (WantNo, Some(false)),
            (WantNo, true) => (WantNoOpposite, None),
            (WantNoOpposite, false) => (WantNo, None),
            (WantYes, false) => (WantYesOpposite, None),
            (WantYesOpposite, true) => (WantYes, None),
            (same, _) => (same, None),
        };
        *state = after;
        request
    }
}

/// One step of a negotiation.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The server requests or withdraws an option.
    Server(TelnetOption, bool),
    /// The peer's user enables or disables an option.
    Peer(TelnetOption, bool),
    /// The peer's answer to later requests changes.
    Policy(TelnetOption, bool),
    /// The oldest command on its way to the server, or to the peer, arrives.
    Deliver { to_server: bool },
}

/// A server and a peer, with the commands that are on their way.
struct Link {
    server: OptionStates,
    peer: ModelPeer,
    to_server: VecDeque<(TelnetOption, bool)>,
    to_peer: VecDeque<(TelnetOption, bool)>,
    /// Commands that the server sent in answer to the peer's.
    replies: usize,
    /// Commands that the peer sent.
    received: usize,
}

impl Link {
    fn new(silent: bool) -> Self {
        let peer = ModelPeer { states: Default::default(), accepts: [true; TelnetOption::ALL.len()], silent };
        let (to_server, to_peer) = (VecDeque::new(), VecDeque::new());
        Self { server: OptionStates::default(), peer, to_server, to_peer, replies: 0, received: 0 }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Server(option, enable) => {
                let bytes = if enable { self.server.request(&[option]) } else { self.server.withdraw(&[option]) };
                self.to_peer.extend((!bytes.is_empty()).then_some((option, enable)));
            }
            Step::Peer(option, enable) => {
                let request = self.peer.wish(option, enable);
                self.to_server.extend(request.map(|positive| (option, positive)));
            }
            Step::Policy(option, accepts) => self.peer.accepts[option as usize] = accepts,
            Step::Deliver { to_server: true } => self.deliver_to_server(),
            Step::Deliver { to_server: false } => {
                if let Some((option, positive)) = self.to_peer.pop_front() {
                    let reply = self.peer.receive(option, positive);
                    self.to_server.extend(reply.map(|positive| (option, positive)));
                }
            }
        }
    }

    fn deliver_to_server(&mut self) {
        let Some((option, positive)) = self.to_server.pop_front() else { return };
        self.received += 1;
        let verb = if positive { acceptance(option) } else { rejection(option) };
        if let Some([_, verb, _]) = reply_to(&mut self.server, verb, option.code()) {
            self.replies += 1;
            self.to_peer.push_back((option, Verb::from_byte(verb).unwrap().is_positive()));
        }
    }

    /// Delivers every command that is on its way, and those that come of them.
    fn drain(&mut self) {
        for _ in 0..1_000 {
            if self.to_server.is_empty() && self.to_peer.is_empty() {
                return;
            }
            self.run(Step::Deliver { to_server: true });
            self.run(Step::Deliver { to_server: false });
        }
        panic!("the negotiation does not end");
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Few options, so that the steps of one option meet.
    let option = prop::sample::select(vec![TelnetOption::PeerBinary, TelnetOption::OwnBinary, TelnetOption::Echo]);
    let step = (option, any::<bool>(), 0..10u8).prop_map(|(option, positive, kind)| match kind {
        0..3 => Step::Server(option, positive),
        3..5 => Step::Peer(option, positive),
        5 => Step::Policy(option, positive),
        _ => Step::Deliver { to_server: positive },
    });
    prop::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// However commands cross each other, both sides agree in the end, and the server owes no answer.
    #[test]
    fn both_sides_agree_with_a_compliant_peer_after_any_negotiation(steps in steps()) {
        let mut link = Link::new(false);
        for step in steps {
            link.run(step);
        }
        link.drain();
        prop_assert!(link.replies <= link.received, "{} replies to {} commands", link.replies, link.received);
        for option in TelnetOption::ALL {
            let (server, peer) = (link.server.states[option as usize], link.peer.states[option as usize]);
            let agreed = [(QState::No, PeerState::No), (QState::Yes, PeerState::Yes)];
            prop_assert!(agreed.contains(&(server, peer)), "{:?}: {:?} and {:?}", option, server, peer);
        }
    }

    /// A peer that answers nothing to WONT and DONT can get every option again.
    #[test]
    fn silent_peer_can_enable_each_option_after_any_negotiation(steps in steps()) {
        let mut link = Link::new(true);
        for step in steps.into_iter().filter(|step| !matches!(step, Step::Peer(..))) {
            link.run(step);
        }
        link.drain();
        link.peer.accepts = [true; TelnetOption::ALL.len()];
        for option in TelnetOption::ALL {
            link.run(Step::Server(option, false));
            link.drain();
            prop_assert!(!link.server.is_enabled(option));
            link.run(Step::Server(option, true));
            link.drain();
            prop_assert!(link.server.is_enabled(option), "{:?}", option);
            prop_assert_eq!(link.peer.states[option as usize], PeerState::Yes);
        }
    }

    /// Each command gets one reply at most, and a peer that repeats every verb causes no second reply.
    #[test]
    fn random_commands_get_one_reply_each_at_most(commands in prop::collection::vec((any::<u8>(), 0..4u8), 0..200)) {
        let mut server = OptionStates::default();
        server.request(&REQUESTED);
        for (option, verb) in commands {
            let verb = Verb::from_byte(0xFB + verb).unwrap();
            let was_refused = matches!(server.receive(verb, option % 40), Some(TelnetCommand::Refuse { .. }));
            if !was_refused {
                prop_assert_eq!(reply_to(&mut server, verb, option % 40), None);
            }
        }
    }
}
