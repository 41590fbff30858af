//! Tests of the telnet decoder followed by the line decoder, with the bytes of real and hostile clients.

use super::{Decoder, Item, SubnegotiationTooLong, TelnetCommand, TelnetOption};
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
}

impl Reader {
    fn new() -> Self {
        Self { decoder: Decoder::default(), lines: LineDecoder::new(1 << 20), events: Vec::new() }
    }

    fn read(&mut self, mut input: &[u8]) {
        let (length, mut data) = (input.len(), 0);
        while let Some(item) = self.decoder.next_item(&mut input) {
            match item {
                Ok(Item::Data(mut run)) => {
                    assert!(!run.is_empty());
                    data += run.len();
                    while let Some(line) = self.lines.next_line(&mut run) {
                        self.events.push(Event::Line(line.unwrap().escape_ascii().to_string()));
                    }
                }
                Ok(Item::Command(command)) => {
                    match command {
                        TelnetCommand::Interrupt | TelnetCommand::EraseLine => self.lines.erase_line(),
                        TelnetCommand::EraseCharacter => self.lines.erase_character(),
                        _ => {}
                    }
                    self.events.push(Event::Command(command));
                }
                Err(too_long) => {
                    self.events.push(Event::TooLong(too_long));
                    return;
                }
            }
        }
        assert!(input.is_empty());
        assert_eq!(
            data + self.decoder.take_command_bytes() as usize,
            length,
            "each byte counts as data or as a command byte"
        );
    }
}

/// Reads `bytes` at once, byte by byte and split at every place; asserts that the events are equal.
fn read_in(reader: impl Fn() -> Reader, bytes: &[u8]) -> Vec<Event> {
    let read = |chunks: &[&[u8]]| {
        let mut reader = reader();
        for chunk in chunks {
            reader.read(chunk);
        }
        reader.events
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

/// Commands that do not affect a line, and bytes that are no commands: an LF after an IAC ends no line.
#[test]
fn commands_without_a_request_are_ignored() {
    let has_effect = |byte: &u8| matches!(byte, 0xF4 | 0xF6..=0xF8 | 0xFA..=0xFF);
    for byte in (0..=0xFF).filter(|byte| !has_effect(byte)) {
        assert_ignored(&[0xFF, byte]);
    }
}

#[test]
fn doubled_iac_is_one_data_byte() {
    assert_eq!(read(b"a\xFF\xFFb\r\xFF\xFF\n"), [line("a\\xffb\\xff")]);
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

#[test]
fn requested_options_are_enabled_and_window_sizes_reported() {
    let requested = || {
        let mut reader = Reader::new();
        assert_eq!(reader.decoder.enable_options(), b"\xFF\xFB\x01\xFF\xFB\x03\xFF\xFD\x1F");
        reader
    };
    let enabled = |option| Event::Command(TelnetCommand::Enabled(option));
    let window = |columns, rows| Event::Command(TelnetCommand::WindowSize { columns, rows });
    assert_eq!(
        read_in(
            requested,
            b"\xFF\xFA\x1F\0\x01\0\x01\xFF\xF0\xFF\xFD\x01\xFF\xFD\x03\xFF\xFB\x1F\xFF\xFA\x1F\0\x50\0\x18\xFF\xF0a\
              \xFF\xFA\x1F\xFF\xFF\xFF\xFF\0\xFF\xFF\xFF\xF0"
        ),
        [
            enabled(TelnetOption::Echo),
            enabled(TelnetOption::SuppressGoAhead),
            enabled(TelnetOption::WindowSize),
            window(80, 24),
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

/// Every telnet connection holds a decoder, so its size bounds memory.
#[test]
fn decoder_stays_within_20_bytes() {
    assert!(size_of::<Decoder>() <= 20, "{}", size_of::<Decoder>());
}

/// Generates bytes in which commands are as frequent as data.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let frequent = b"\xFF\xFF\xFF\xFF\xFA\xF0\xF4\xF6\xF7\xF8\xF1\xFB\xFC\xFD\xFE\x01\x03\x06\x1F\n\r\0\x08ab";
    prop::collection::vec(prop_oneof![4 => prop::sample::select(&frequent[..]), 1 => any::<u8>()], 0..200)
}

proptest! {
    /// Any split of any bytes gives the same events, and a command has two bytes at least.
    #[test]
    fn chunking_does_not_change_the_items(bytes in bytes(), requested in any::<bool>()) {
        let reader = || {
            let mut reader = Reader::new();
            if requested {
                reader.decoder.enable_options();
            }
            reader
        };
        let events = read_in(reader, &bytes);
        let commands = events.iter().filter(|event| matches!(event, Event::Command(_))).count();
        prop_assert!(2 * commands <= bytes.len());
    }

    /// Data that the caller puts back is decoded to the same data again.
    #[test]
    fn unread_data_is_decoded_to_the_same_items_again(bytes in bytes(), most in 1usize..4) {
        prop_assert_eq!(read_with_unread_data(&bytes, most), read_with_unread_data(&bytes, usize::MAX));
    }
}

/// Returns the data and commands in `bytes`; uses at most `most` bytes of each data item and puts the
/// rest back.
fn read_with_unread_data(bytes: &[u8], most: usize) -> (Vec<u8>, Vec<TelnetCommand>) {
    let (mut decoder, mut input) = (Decoder::default(), bytes);
    let (mut data, mut commands) = (Vec::new(), Vec::new());
    while let Some(Ok(item)) = decoder.next_item(&mut input) {
        match item {
            Item::Data(run) => {
                let (used, left) = run.split_at(run.len().min(most));
                data.extend_from_slice(used);
                input = &bytes[bytes.len() - input.len() - left.len()..];
            }
            Item::Command(command) => commands.push(command),
        }
    }
    (data, commands)
}
