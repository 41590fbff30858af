//! Tests of the telnet decoder followed by the line decoder, with the bytes of real and hostile clients.

use super::{
    Decoder, FIRST_COMMAND, IAC, Item, SB, SubnegotiationTooLong, TERMINAL_TYPE_REQUEST, TelnetCommand, TelnetOption,
};
use crate::protocol::line_decoder::LineDecoder;
use proptest::prelude::*;

/// An item or line of the decoded stream.
#[derive(Debug, PartialEq)]
enum Event {
    Line(String),
    Command(TelnetCommand),
    TooLong(SubnegotiationTooLong),
}

/// Both decoders in a row, as a connection has them.
struct Reader {
    decoder: Decoder,
    lines: LineDecoder,
    events: Vec<Event>,
    /// The bytes read, those of them that were data, and those that were not.
    counts: (usize, usize, usize),
}

impl Reader {
    fn new() -> Self {
        Self { decoder: Decoder::default(), lines: LineDecoder::new(1 << 20), events: Vec::new(), counts: (0, 0, 0) }
    }

    /// Returns a reader that has requested `options`.
    fn with_request(options: &[TelnetOption]) -> Self {
        let mut reader = Self::new();
        reader.decoder.request(options);
        reader
    }

    fn read(&mut self, mut input: &[u8]) {
        self.counts.0 += input.len();
        while let Some(item) = self.decoder.next_item(&mut input) {
            match item {
                Ok(item) => self.handle(item),
                Err(too_long) => {
                    self.events.push(Event::TooLong(too_long));
                    return;
                }
            }
        }
        assert!(input.is_empty());
        self.counts.2 += self.decoder.take_command_bytes() as usize;
    }

    fn handle(&mut self, item: Item<'_>) {
        match item {
            Item::Data(mut run) => {
                assert!(!run.is_empty());
                self.counts.1 += run.len();
                while let Some(line) = self.lines.next_line(&mut run) {
                    self.events.push(Event::Line(line.unwrap().escape_ascii().to_string()));
                }
            }
            Item::Command(command) => {
                match command {
                    TelnetCommand::Interrupt | TelnetCommand::EraseLine => self.lines.erase_line(),
                    TelnetCommand::EraseCharacter => self.lines.erase_character(),
                    _ => {}
                }
                self.events.push(Event::Command(command));
            }
        }
    }

    /// Reads the end of the stream, and checks that each byte counted as data or as a command byte.
    fn finish(mut self) -> Vec<Event> {
        if let Some(item) = self.decoder.finish() {
            self.handle(item);
        }
        assert!(self.decoder.finish().is_none(), "the end of the stream is read once");
        self.events.extend(self.lines.finish().map(|line| Event::Line(line.escape_ascii().to_string())));
        let (read, data, command) = self.counts;
        // A CR, or the IAC of an unfinished command or subnegotiation, may be left at the end.
        assert!(data + command <= read && read <= data + command + 1, "{read} bytes, {data} of data, {command} not");
        self.events
    }
}

/// Reads `bytes` at once, byte by byte and split at every place; asserts that the events are equal.
fn read_in(reader: impl Fn() -> Reader, bytes: &[u8]) -> Vec<Event> {
    let read = |chunks: &[&[u8]]| {
        let mut reader = reader();
        for chunk in chunks {
            reader.read(chunk);
            if matches!(reader.events.last(), Some(Event::TooLong(_))) {
                return reader.events;
            }
        }
        reader.finish()
    };
    let events = read(&[bytes]);
    assert_eq!(read(&bytes.chunks(1).collect::<Vec<_>>()), events, "byte by byte");
    for at in 0..bytes.len() {
        let (before, after) = bytes.split_at(at);
        assert_eq!(read(&[before, after]), events, "split at {at}");
    }
    events
}

fn read(bytes: &[u8]) -> Vec<Event> {
    read_in(Reader::new, bytes)
}

fn line(text: &str) -> Event {
    Event::Line(text.to_owned())
}

/// Returns the event of a refusal with `verb` and `option`.
fn refusal(verb: u8, option: u8) -> Event {
    Event::Command(TelnetCommand::Refuse { reply: [0xFF, verb, option] })
}

fn wont(option: u8) -> Event {
    refusal(0xFC, option)
}

fn dont(option: u8) -> Event {
    refusal(0xFE, option)
}

/// Asserts that `command` changes nothing in the data around it and causes no event.
#[track_caller]
fn assert_ignored(command: &[u8]) {
    let events = read(&[b"be", command, b"fore\r", command, b"\nafter\r", command, b"\0"].concat());
    assert_eq!(events, [line("before"), line("after")], "{command:x?}");
}

#[test]
fn putty_negotiation_is_refused_option_by_option() {
    let greeting = b"\xFF\xFB\x1F\xFF\xFB\x20\xFF\xFB\x18\xFF\xFB\x27\xFF\xFD\x01\xFF\xFB\x03\xFF\xFD\x03\xFF\xFB\x24";
    let answers = [dont(0x1F), dont(0x20), dont(0x18), dont(0x27), wont(1), dont(3), wont(3), dont(0x24)];
    let mut expected = Vec::from(answers);
    expected.push(line("JOIN room alice"));
    assert_eq!(read(&[greeting, &b"JOIN room alice\r\n"[..]].concat()), expected);
}

#[test]
fn linux_telnet_negotiation_on_port_23_is_refused_option_by_option() {
    let greeting = b"\xFF\xFD\x26\xFF\xFB\x26\xFF\xFD\x03\xFF\xFB\x18\xFF\xFB\x1F\xFF\xFB\x20\xFF\xFB\x21\xFF\xFB\x22\
        \xFF\xFB\x27\xFF\xFD\x05";
    let mut expected = vec![wont(0x26), dont(0x26), wont(3)];
    expected.extend([0x18, 0x1F, 0x20, 0x21, 0x22, 0x27].map(dont));
    expected.extend([wont(5), line("JOIN room alice")]);
    assert_eq!(read(&[greeting, &b"JOIN room alice\r\n"[..]].concat()), expected);
}

#[test]
fn interrupt_drops_the_line_and_each_timing_mark_gets_a_reply() {
    let interrupt = || Event::Command(TelnetCommand::Interrupt);
    assert_eq!(
        read(b"one\r\nhalf\xFF\xF4\xFF\xFD\x06two\r\n\xFF\xF4\xFF\xFD\x06"),
        [line("one"), interrupt(), wont(6), line("two"), interrupt(), wont(6)]
    );
    // The same as a Synch (RFC 854, page 9), with its Data Mark in the stream.
    assert_eq!(read(b"\xFF\xF4\xFF\xF2\xFF\xFD\x06a\r\n"), [interrupt(), wont(6), line("a")]);
}

#[test]
fn break_suspend_and_ctrl_d_keep_the_unfinished_line() {
    assert_eq!(read(b"a\xFF\xF3\xFF\xFD\x06b\r\n"), [wont(6), line("ab")], "Ctrl-\\");
    assert_eq!(read(b"a\xFF\xED\xFF\xFD\x06b\r\n"), [wont(6), line("ab")], "Ctrl-Z");
    assert_eq!(read(b"a\x04\r\n"), [line("a\\x04")], "Ctrl-D stays in the line");
}

#[test]
fn erase_commands_before_any_data_erase_nothing() {
    let erase = [TelnetCommand::EraseCharacter, TelnetCommand::EraseLine].map(Event::Command);
    let mut expected = Vec::from(erase);
    expected.push(line("JOIN room alice"));
    assert_eq!(read(b"\xFF\xF7\xFF\xF8JOIN room alice\r\n"), expected);
}

#[test]
fn erase_commands_edit_the_unfinished_line() {
    let (character, whole) = (Event::Command(TelnetCommand::EraseCharacter), Event::Command(TelnetCommand::EraseLine));
    assert_eq!(read(b"gr\xC3\xBC\xFF\xF7u\r\nno\xFF\xF8yes\r\n"), [character, line("gru"), whole, line("yes")]);
}

#[test]
fn are_you_there_is_reported() {
    assert_eq!(read(b"a\xFF\xF6b\n"), [Event::Command(TelnetCommand::AreYouThere), line("ab")]);
}

#[test]
fn commands_that_do_not_affect_a_line_are_ignored() {
    let has_effect = |byte: &u8| matches!(byte, 0xF4 | 0xF6..=0xF8 | 0xFA..=0xFF);
    for byte in (FIRST_COMMAND..=0xFF).filter(|byte| !has_effect(byte)) {
        assert_ignored(&[0xFF, byte]);
    }
}

#[test]
fn iac_before_a_byte_that_is_no_command_is_data_and_the_byte_is_data() {
    assert_eq!(read(b"L\xFFo ends \xFF\nnext\n"), [line("L\\xffo ends \\xff"), line("next")]);
    assert_eq!(read(b"a\xFF\r\nb\xFF\r\0c\xFF\0\n"), ["a\\xff", "b\\xff", "c\\xff"].map(line));
    assert_eq!(read(b"a\xFF\x7Fb\n"), [line("ab")], "DEL erases the literal FF");
    for byte in (b' '..=b'~').chain(0x80..FIRST_COMMAND) {
        assert_eq!(read(&[0xFF, byte, b'\n']), [line(&[0xFF, byte].escape_ascii().to_string())], "{byte:x}");
        assert_eq!(
            read(&[0xFF, SB, 24, b'x', 0xFF, byte, b'\n']),
            [line(&[0xFF, byte].escape_ascii().to_string())],
            "a subnegotiation without SE ends before {byte:x}"
        );
    }
    let mut reader = Reader::new();
    reader.read(b"\xFFa\xFF\n");
    assert!(!reader.decoder.is_nvt(), "a literal FF is no command");
}

#[test]
fn lone_iac_at_the_end_of_the_stream_is_data() {
    assert_eq!(read(b"a\nb\xFF"), [line("a"), line("b\\xff")]);
    assert_eq!(read(b"\xFF"), [line("\\xff")]);
    assert_eq!(read(b"a\xFF\xFF\xFF"), [line("a\\xff\\xff")]);
    for unfinished in [&b"a\xFF\xFB"[..], b"a\xFF\xFA\x18b\xFF", b"a\xFF\xFA\x18b", b"a\xFF\xF1"] {
        assert_eq!(read(unfinished), [line("a")], "an unfinished command is dropped: {unfinished:x?}");
    }
}

#[test]
fn doubled_iac_is_one_data_byte() {
    // After the first LF a CR inside a line is dropped.
    assert_eq!(read(b"\na\xFF\xFFb\r\xFF\xFF\n"), [line(""), line("a\\xffb\\xff")]);
    let mut reader = Reader::new();
    reader.read(b"\xFF\xFF\xFFa");
    assert!(!reader.decoder.is_nvt(), "a doubled IAC is no command");
}

#[test]
fn subnegotiation_of_a_disabled_option_is_ignored() {
    assert_ignored(b"\xFF\xFA\x18\x00xterm\xFF\xF0");
    assert_ignored(b"\xFF\xFA\x18\n\r\0\x08\xFF\xF0");
    assert_ignored(b"\xFF\xFA\xFF\xF0");
    assert_ignored(b"\xFF\xFA\x18\xFF\xFF\xF0\xFF\xFF\xFF\xF0");
    assert_ignored(b"\xFF\xFA\x1F\x00\x50\x00\x18\xFF\xF0");
}

#[test]
fn subnegotiation_without_se_ends_at_the_next_command() {
    assert_ignored(b"\xFF\xFA\x18abc\xFF\xF1");
    assert_ignored(b"\xFF\xFA\x18abc\xFF\xFA\x18def\xFF\xF0");
    assert_eq!(read(b"\xFF\xFA\x18abc\xFF\xFD\x06\xFF\xF0d\n"), [wont(6), line("d")]);
    assert_eq!(read(b"a\xFF\xFA\x18abc\xFF\xF4d\n"), [Event::Command(TelnetCommand::Interrupt), line("d")]);
}

#[test]
fn subnegotiation_of_more_than_4_kib_is_an_error() {
    let read = |content: &[u8], chunk| {
        let mut reader = Reader::new();
        for chunk in [b"\xFF\xFA", content, b"\xFF\xF0a\n"].concat().chunks(chunk) {
            reader.read(chunk);
            if reader.events.contains(&Event::TooLong(SubnegotiationTooLong)) {
                break;
            }
        }
        reader.events
    };
    for chunk in [1, 2, 1000, 100_000] {
        assert_eq!(read(&[1; 4096], chunk), [line("a")]);
        assert_eq!(read(&[0xFF; 8192], chunk), [line("a")], "a doubled IAC counts as one byte");
        for content in [&[1; 4097][..], &[0xFF; 8194], &vec![1; 70_000]] {
            assert_eq!(read(content, chunk), [Event::TooLong(SubnegotiationTooLong)]);
        }
    }
}

#[test]
fn first_command_shows_that_the_peer_is_an_nvt() {
    for command in [&b"\xFF\xF1"[..], b"\xFF\xFB\x01", b"\xFF\xFA\x18\xFF\xF0", b"\xFF\xEC"] {
        let mut reader = Reader::new();
        reader.read(b"a\n\xFF");
        assert!(!reader.decoder.is_nvt());
        reader.read(&command[1..]);
        assert!(reader.decoder.is_nvt() && !reader.lines.is_nvt(), "{command:x?}");
    }
}

/// The options that are requested for a line editor, in the order of the request.
const EDITING: [TelnetOption; 5] = [
    TelnetOption::PeerBinary,
    TelnetOption::TerminalType,
    TelnetOption::WindowSize,
    TelnetOption::SuppressGoAhead,
    TelnetOption::Echo,
];

fn enabled(option: TelnetOption) -> Event {
    Event::Command(TelnetCommand::Enabled(option))
}

#[test]
fn requested_options_are_enabled_and_window_sizes_reported() {
    let requested = || Reader::with_request(&EDITING);
    let window = |columns, rows| Event::Command(TelnetCommand::WindowSize { columns, rows });
    assert_eq!(
        read_in(
            requested,
            b"\xFF\xFA\x1F\0\x01\0\x01\xFF\xF0\xFF\xFD\x01\xFF\xFD\x03\xFF\xFB\x1F\xFF\xFA\x1F\0\x50\0\x18\xFF\xF0a\n\
              \xFF\xFA\x1F\xFF\xFF\xFF\xFF\0\xFF\xFF\xFF\xF0"
        ),
        [
            enabled(TelnetOption::Echo),
            enabled(TelnetOption::SuppressGoAhead),
            enabled(TelnetOption::WindowSize),
            window(80, 24),
            line("a"),
            window(0xFFFF, 0xFF)
        ],
        "a window size that arrives before NAWS is enabled is ignored"
    );
    // Too short, too long, without SE, of another option, and empty.
    for broken in [
        &b"\xFF\xFA\x1F\0\x50\0\xFF\xF0"[..],
        b"\xFF\xFA\x1F\0\x50\0\x18\0\xFF\xF0",
        b"\xFF\xFA\x1F\0\x50\0\x18\xFF\xF1",
        b"\xFF\xFA\x18\0\x50\0\x18\xFF\xF0",
        b"\xFF\xFA\xFF\xF0",
    ] {
        let events = read_in(requested, &[b"\xFF\xFB\x1F", broken].concat());
        assert_eq!(events, [enabled(TelnetOption::WindowSize)], "{broken:x?}");
    }
}

#[test]
fn terminal_type_is_reported_as_dumb_or_not() {
    let requested = || Reader::with_request(&EDITING);
    let is_dumb = |name: &[u8]| {
        let events = read_in(requested, &[b"\xFF\xFB\x18\xFF\xFA\x18\0", name, b"\xFF\xF0"].concat());
        match &events[..] {
            [first, Event::Command(TelnetCommand::TerminalType { dumb })] => {
                assert_eq!(*first, enabled(TelnetOption::TerminalType));
                *dumb
            }
            other => panic!("{} gave {other:?}", name.escape_ascii()),
        }
    };
    for name in [&b""[..], b"dumb", b"DUMB", b"Unknown", b"emacs", b"network", b"NETWORK"] {
        assert!(is_dumb(name), "{}", name.escape_ascii());
    }
    let longest = [b'x'; 4094];
    for name in [&b"xterm"[..], b"XTERM-256COLOR", b"dumber", b"dum", b"unknown1", b"networks", b"\xFF\xFF", &longest] {
        assert!(!is_dumb(name), "{}", name.escape_ascii());
    }
}

#[test]
fn terminal_type_is_ignored_unless_it_was_requested_and_complete() {
    let requested = || Reader::with_request(&EDITING);
    assert_eq!(read_in(requested, b"\xFF\xFA\x18\0dumb\xFF\xF0"), [], "before TERMINAL-TYPE is enabled");
    // SEND, no command, of another option, and without SE.
    for broken in [
        &b"\xFF\xFA\x18\x01dumb\xFF\xF0"[..],
        b"\xFF\xFA\x18\xFF\xF0",
        b"\xFF\xFA\x27\0dumb\xFF\xF0",
        b"\xFF\xFA\x18\0dumb\xFF\xF1",
    ] {
        let events = read_in(requested, &[b"\xFF\xFB\x18", broken].concat());
        assert_eq!(events, [enabled(TelnetOption::TerminalType)], "{broken:x?}");
    }
    assert_eq!(TERMINAL_TYPE_REQUEST, *b"\xFF\xFA\x18\x01\xFF\xF0");
}

/// telnet -8 asks for BINARY in both directions.
#[test]
fn binary_is_accepted_in_either_direction_and_once() {
    let accepted = |option, reply| Event::Command(TelnetCommand::Accept { option, reply });
    assert_eq!(
        read(b"\xFF\xFB\0\xFF\xFD\0\xFF\xFB\0\xFF\xFD\0a\n"),
        [
            accepted(TelnetOption::PeerBinary, *b"\xFF\xFD\0"),
            accepted(TelnetOption::OwnBinary, *b"\xFF\xFB\0"),
            line("a")
        ]
    );
}

/// `PuTTY` answers its own requests and the server's as one.
#[test]
fn putty_agrees_to_the_options_of_a_line_editor() {
    let answers = b"\xFF\xFB\x1F\xFF\xFB\x18\xFF\xFD\x01\xFF\xFB\x03\xFF\xFD\x03\xFF\xFB\0";
    let options = [
        enabled(TelnetOption::WindowSize),
        enabled(TelnetOption::TerminalType),
        enabled(TelnetOption::Echo),
        dont(3),
        enabled(TelnetOption::SuppressGoAhead),
        enabled(TelnetOption::PeerBinary),
    ];
    assert_eq!(read_in(|| Reader::with_request(&EDITING), answers), options);
}

/// The bytes of a client between the requests and withdrawals of the server.
#[test]
fn client_that_answers_nothing_to_a_withdrawal_is_asked_again() {
    let options = [TelnetOption::Echo, TelnetOption::SuppressGoAhead, TelnetOption::WindowSize];
    let mut reader = Reader::new();
    for round in 0..3 {
        reader.read(b"/ui on\r\n");
        let offer = reader.decoder.request(&options);
        assert_eq!(offer, b"\xFF\xFB\x01\xFF\xFB\x03\xFF\xFD\x1F", "round {round}");
        reader.read(b"\xFF\xFD\x01\xFF\xFD\x03\xFF\xFC\x1F/ui off\r\n");
        assert!(reader.decoder.is_enabled(TelnetOption::Echo));
        assert_eq!(reader.decoder.withdraw(&options), b"\xFF\xFC\x01\xFF\xFC\x03", "round {round}");
        assert!(!reader.decoder.is_enabled(TelnetOption::Echo));
    }
    let round = [
        line("/ui on"),
        enabled(TelnetOption::Echo),
        enabled(TelnetOption::SuppressGoAhead),
        Event::Command(TelnetCommand::Disabled { option: TelnetOption::WindowSize, reply: None }),
        line("/ui off"),
    ];
    for events in reader.events.chunks(round.len()) {
        assert_eq!(events, round);
    }
}

/// `nc -C` sends CR LF and is no telnet: nothing is enabled, and each user's command asks again.
#[test]
fn client_that_is_no_telnet_enables_nothing() {
    let mut reader = Reader::new();
    for _ in 0..2 {
        reader.read(b"JOIN r u\r\n/ui on\r\n");
        assert_eq!(reader.decoder.request(&EDITING).len(), 3 * EDITING.len());
        assert_eq!(reader.decoder.withdraw(&EDITING), b"");
        assert!(!EDITING.iter().any(|option| reader.decoder.is_enabled(*option)));
    }
}

/// Every telnet connection holds a decoder, so its size bounds memory.
#[test]
fn decoder_stays_within_28_bytes() {
    assert!(size_of::<Decoder>() <= 28, "{}", size_of::<Decoder>());
}

/// Generates bytes in which commands are as frequent as data.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let frequent = b"\xFF\xFF\xFF\xFF\xFA\xF0\xF4\xF6\xF7\xF8\xF1\xFB\xFC\xFD\xFE\0\x01\x03\x06\x18\x1F\n\r\0\x08ab";
    prop::collection::vec(prop_oneof![4 => prop::sample::select(&frequent[..]), 1 => any::<u8>()], 0..200)
}

proptest! {
    /// Any split of any bytes gives the same events, and a command has two bytes at least.
    #[test]
    fn chunking_does_not_change_the_items(bytes in bytes(), requested in any::<bool>()) {
        let reader = || Reader::with_request(if requested { &EDITING } else { &[] });
        let events = read_in(reader, &bytes);
        let commands = events.iter().filter(|event| matches!(event, Event::Command(_))).count();
        prop_assert!(2 * commands <= bytes.len());
    }

    /// Data that the caller puts back is decoded to the same data again, whatever reads the bytes came in.
    #[test]
    fn unread_data_is_decoded_to_the_same_items_again(bytes in bytes(), most in 0usize..4, at in any::<prop::sample::Index>()) {
        let whole = read_with_unread_data(&[&bytes], usize::MAX);
        let (before, after) = bytes.split_at(at.index(bytes.len() + 1));
        prop_assert_eq!(&read_with_unread_data(&[before, after], most), &whole);
        prop_assert_eq!(&read_with_unread_data(&bytes.chunks(1).collect::<Vec<_>>(), most), &whole);
    }
}

/// Every item is put back whole once, and its data is the same when it comes again.
#[test]
fn literal_iac_that_is_put_back_comes_again_at_every_split() {
    let bytes = b"a\xFF\xFFb\xFFc\xFF\xFF\xFF\xF4\xFF\xFA\x18\xFFd\xFF";
    let whole = read_with_unread_data(&[bytes], usize::MAX);
    assert_eq!(whole, (b"a\xFFb\xFFc\xFF\xFFd\xFF".to_vec(), vec![TelnetCommand::Interrupt]));
    for at in 0..=bytes.len() {
        let (before, after) = bytes.split_at(at);
        for most in [0, 1] {
            assert_eq!(read_with_unread_data(&[before, after], most), whole, "split at {at}");
        }
    }
}

/// Returns the data and commands in `reads`; puts each other data item back whole if `most` is 0, else the
/// bytes beyond the first `most`.
fn read_with_unread_data(reads: &[&[u8]], most: usize) -> (Vec<u8>, Vec<TelnetCommand>) {
    let (mut decoder, mut data, mut commands) = (Decoder::default(), Vec::new(), Vec::new());
    let mut put_back = false;
    for read in reads {
        let mut input = *read;
        while let Some(Ok(item)) = decoder.next_item(&mut input) {
            match item {
                Item::Data(run) => {
                    put_back = !put_back;
                    let used = if most > 0 {
                        run.len().min(most)
                    } else if put_back {
                        0
                    } else {
                        run.len()
                    };
                    let (used, left) = run.split_at(used);
                    data.extend_from_slice(used);
                    match left {
                        [IAC] => decoder.unread_literal_iac(),
                        left => input = &read[read.len() - input.len() - left.len()..],
                    }
                }
                Item::Command(command) => commands.push(command),
            }
        }
    }
    if let Some(Item::Data(_)) = decoder.finish() {
        decoder.unread_literal_iac();
    }
    if let Some(Item::Data(run)) = decoder.finish() {
        data.extend_from_slice(run);
    }
    (data, commands)
}
