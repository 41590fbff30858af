//! Any bytes in any chunks: what a member says is what a plain reference says, in line mode and in the input line.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::telnet::AGREEMENT_WITHOUT_WINDOW;
use common::{Client, TestServer};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::cell::Cell;

/// The line that ends each test case.
const LAST: &str = "end of the case";

/// Bytes of a sender, and the text that other members see of them. No text begins with a continuation byte of UTF-8,
/// and none holds a slash, which begins a command.
const PIECES: [(&[u8], &str); 32] = [
    (b"a", "a"),
    (b"word ", "word "),
    (b"*** forged", "*** forged"),
    (b"bob: hi", "bob: hi"),
    ("grüße".as_bytes(), "grüße"),
    ("У меня".as_bytes(), "У меня"),
    ("한국어".as_bytes(), "한국어"),
    ("👩\u{200D}🚒".as_bytes(), "👩\u{200D}🚒"),
    ("🇩🇪".as_bytes(), "🇩🇪"),
    // Invalid UTF-8, and FF that begins no telnet command.
    (b"\xC3", "\u{FFFD}"),
    (b"\xE2\x82", "\u{FFFD}"),
    (b"\xF5", "\u{FFFD}"),
    (b"\xFF\xFF", "\u{FFFD}"),
    (b"\xFFo", "\u{FFFD}o"),
    // Escape sequences and controls.
    (b"\x1B[D", ""),
    (b"\x1B[38;5;1m", ""),
    (b"\x1BOP", ""),
    (b"\x1B[3~", ""),
    (b"\x1B]0;title\x07", ""),
    (b"\x1B(B", ""),
    (b"\x07", ""),
    (b"\0", ""),
    (b"\xC2\x85", ""),
    (b"\xE2\x80\xAE", ""),
    (b"\xEF\xBB\xBF", ""),
    // Erased characters.
    (b"x\x08", ""),
    (b"yy\x7F\x7F", ""),
    ("é\u{7F}".as_bytes(), ""),
    // Telnet commands.
    (b"\xFF\xF1", ""),
    (b"\xFF\xFB\x55", ""),
    (b"\xFF\xFA\x1F\x00\x50\x00\x18\xFF\xF0", ""),
    (b"\xFF\xFD\x06", ""),
];

/// The keys among the pieces that move the cursor or erase after it, so that the input line says another text.
const CURSOR_KEYS: [&[u8]; 2] = [b"\x1B[D", b"\x1B[3~"];

/// How a sender types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Line,
    InputLine,
}

/// One line: indices of pieces, and whether it ends in CR LF.
type Typed = (Vec<usize>, bool);

fn is_typed_in(mode: Mode, piece: usize) -> bool {
    mode == Mode::Line || !CURSOR_KEYS.contains(&PIECES[piece].0)
}

/// Returns the bytes of the lines.
fn bytes_of(lines: &[Typed], mode: Mode) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (pieces, crlf) in lines {
        let pieces = pieces.iter().filter(|piece| is_typed_in(mode, **piece));
        bytes.extend(pieces.flat_map(|piece| PIECES[*piece].0));
        bytes.extend_from_slice(if *crlf { b"\r\n" } else { b"\n" });
    }
    bytes
}

/// Returns the lines that another member sees.
fn said(lines: &[Typed], mode: Mode) -> Vec<String> {
    let text = |pieces: &[usize]| -> String {
        pieces.iter().filter(|piece| is_typed_in(mode, **piece)).map(|piece| PIECES[*piece].1).collect()
    };
    let said = lines.iter().map(|(pieces, _)| text(pieces));
    // An empty Enter in the input line says nothing.
    said.filter(|text| mode == Mode::Line || !text.is_empty()).map(|text| format!("mallory: {text}")).collect()
}

/// Sends `bytes` in chunks of the lengths `chunks`, again and again.
fn send_in_chunks(client: &mut Client, mut bytes: &[u8], chunks: &[usize]) {
    let mut lengths = chunks.iter().cycle();
    while !bytes.is_empty() {
        let (chunk, rest) = bytes.split_at(bytes.len().min(*lengths.next().unwrap()));
        client.send(chunk);
        bytes = rest;
    }
}

#[test]
fn what_is_said_equals_a_plain_reference() {
    let server = TestServer::start_with(common::test_settings(|settings| {
        (settings.live.rate, settings.live.byte_rate) = (0, 0);
    }));
    let typed = prop::collection::vec((prop::collection::vec(0..PIECES.len(), 0..8), any::<bool>()), 1..8);
    let chunks = prop::collection::vec(1usize..40, 1..8);
    for mode in [Mode::Line, Mode::InputLine] {
        let rooms = Cell::new(0);
        let mut runner =
            TestRunner::new(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() });
        let outcome = runner.run(&(typed.clone(), chunks.clone()), |(typed, chunks)| {
            rooms.set(rooms.get() + 1);
            let name = format!("{mode:?}{}", rooms.get());
            let (mut witness, mut mallory) = server.join_pair(&name, "witness", "mallory");
            if mode == Mode::InputLine {
                mallory.send([b"/ui\r\n/ui on\r\n", AGREEMENT_WITHOUT_WINDOW].concat());
                mallory.read_until_bytes("*** ui is on\r\n");
            }
            send_in_chunks(&mut mallory, &bytes_of(&typed, mode), &chunks);
            mallory.send(format!("{LAST}\n"));
            for line in said(&typed, mode) {
                prop_assert_eq!(witness.read_line(), line);
            }
            prop_assert_eq!(witness.read_line(), format!("mallory: {LAST}"));
            Ok(())
        });
        outcome.unwrap();
    }
}
