//! Each rule of RFC 6455 that applies to a server's input, at every split; and tungstenite in both directions.

use super::*;
use crate::peer::line_frames::extend_with_frames;
use proptest::prelude::*;
use std::io::Cursor;
use tungstenite::protocol::frame::coding::{Control, OpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader};
use tungstenite::protocol::{Role, WebSocket};
use tungstenite::{Bytes, Message};

const MASK: [u8; 4] = [0x12, 0xA5, 0xFF, 0x0A];

/// Returns a masked frame with the shortest length.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ ..126 => frame.push(0x80 | u8::try_from(short).unwrap()),
        middle @ ..65_536 => {
            frame.push(0x80 | 0x7E);
            frame.extend(u16::try_from(middle).unwrap().to_be_bytes());
        }
        long => {
            frame.push(0x80 | 0x7F);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(0..).map(|(byte, at): (&u8, usize)| byte ^ MASK[at % 4]));
    frame
}

fn text(payload: &str) -> Vec<u8> {
    frame(0x81, payload.as_bytes())
}

/// The outcome of a stream: its lines, pings in order, and its end or error.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    lines: String,
    pings: Vec<Vec<u8>>,
    end: Option<PeerClose>,
    error: Option<FrameError>,
}

fn decode_chunks<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let (mut decoder, mut outcome, mut lines) = (FrameDecoder::default(), Outcome::default(), Vec::new());
    for chunk in chunks {
        match decoder.decode(chunk, &mut lines) {
            Ok(frames) => {
                outcome.pings.extend(frames.ping);
                outcome.end = outcome.end.or(frames.end);
            }
            Err(error) => {
                assert_eq!(outcome.error.replace(error), None, "a decoder that failed goes on");
            }
        }
        assert!(decoder.held_bytes() <= 2 * MAX_CONTROL + 16);
    }
    if outcome.error.is_some() {
        // Of a line that is not complete more or fewer bytes may have come.
        lines.truncate(lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
    }
    // Bytes of an unfinished character may be at the end.
    outcome.lines = String::from_utf8_lossy(&lines).into_owned();
    outcome
}

/// Decodes a stream in one piece, byte by byte, and at every split, which must all come to the same.
fn decode(wire: &[u8]) -> Outcome {
    let outcome = decode_chunks(wire.chunks(1));
    for at in 0..=wire.len() {
        let (first, second) = wire.split_at(at);
        let split = decode_chunks([first, second]);
        assert_eq!((&split.lines, split.end, split.error), (&outcome.lines, outcome.end, outcome.error), "at {at}");
    }
    outcome
}

#[track_caller]
fn assert_error(wire: &[u8], error: FrameError) {
    assert_eq!(decode(wire).error, Some(error));
}

#[test]
fn message_becomes_a_line_and_keeps_its_own_line_ends() {
    for (message, lines) in [
        ("hello", "hello\n"),
        ("", "\n"),
        ("a\nb", "a\nb\n"),
        ("a\nb\n", "a\nb\n"),
        ("\n", "\n"),
        ("a\r\n", "a\r\n"),
        ("grüße 🎉", "grüße 🎉\n"),
    ] {
        assert_eq!(decode(&text(message)), Outcome { lines: lines.to_owned(), ..Outcome::default() }, "{message:?}");
    }
}

#[test]
fn payload_of_each_form_of_length_is_decoded() {
    for length in [125, 126, 65_535, 65_536] {
        let message = "x".repeat(length);
        let wire = text(&message);
        for chunk in [1, 7, 4096, wire.len()] {
            assert_eq!(decode_chunks(wire.chunks(chunk)).lines, format!("{message}\n"), "{length}");
        }
    }
}

#[test]
fn fragments_are_one_message_with_control_frames_between_them() {
    let wire = [
        frame(0x01, "gr\u{fc}".as_bytes()),
        frame(0x89, b"ping"),
        frame(0x00, "\u{df}e ".as_bytes()),
        frame(0x8A, b"pong"),
        frame(0x00, b""),
        frame(0x80, b"you\n"),
        text("next"),
    ];
    let outcome = decode(&wire.concat());
    assert_eq!(
        outcome,
        Outcome { lines: "grüße you\nnext\n".to_owned(), pings: vec![b"ping".to_vec()], ..Outcome::default() }
    );
}

#[test]
fn character_may_be_cut_between_fragments_and_nowhere_else() {
    let letters = "ü€🎉";
    for at in 0..=letters.len() {
        let (first, second) = letters.as_bytes().split_at(at);
        let wire = [frame(0x01, first), frame(0x89, b""), frame(0x80, second)].concat();
        assert_eq!(decode(&wire).lines, format!("{letters}\n"), "{at}");
        if !letters.is_char_boundary(at) {
            assert_error(&frame(0x81, first), FrameError::NotUtf8);
        }
    }
}

#[test]
fn text_that_is_not_utf_8_is_found_at_its_first_bad_byte() {
    for bad in [&b"\xFF"[..], b"\x80", b"\xC0\xAF", b"\xED\xA0\x80", b"\xF4\x90\x80\x80", b"a\xC3(", b"\xE2\x82\n"] {
        assert_error(&frame(0x81, bad), FrameError::NotUtf8);
        // The message is not complete, and its bad bytes have come.
        assert_error(&frame(0x01, bad), FrameError::NotUtf8);
    }
}

#[test]
fn lines_before_an_error_are_kept() {
    let outcome = decode(&[text("one"), frame(0x82, b"two"), text("three")].concat());
    assert_eq!((&*outcome.lines, outcome.error), ("one\n", Some(FrameError::Binary)));
}

#[test]
fn each_broken_rule_has_its_error_and_code() {
    let unmasked = [0x81, 0x01, b'a'];
    assert_error(&unmasked, FrameError::NotMasked);
    for first in [0xC1, 0xA1, 0x91, 0x83, 0x87, 0x8B, 0x8F] {
        assert_error(&frame(first, b"a"), FrameError::BadFrame);
    }
    for opcode in [opcode::CLOSE, opcode::PING, opcode::PONG] {
        assert_error(&frame(opcode, b""), FrameError::BadControl);
        assert_error(&frame(FIN | opcode, &[b'x'; 126]), FrameError::BadControl);
    }
    assert_error(&frame(0x80, b"a"), FrameError::Mixed);
    assert_error(&[frame(0x01, b"a"), text("b")].concat(), FrameError::Mixed);
    assert_error(&[frame(0x01, b"a"), frame(0x82, b"b")].concat(), FrameError::Mixed);
    assert_error(&frame(0x82, b"a"), FrameError::Binary);
    assert_error(&frame(0x02, b"a"), FrameError::Binary);
    for (error, code) in [
        (FrameError::NotMasked, 1002),
        (FrameError::BadFrame, 1002),
        (FrameError::BadControl, 1002),
        (FrameError::Mixed, 1002),
        (FrameError::BadClose, 1002),
        (FrameError::Binary, 1003),
        (FrameError::NotUtf8, 1007),
    ] {
        assert_eq!(error.close_code() as u16, code);
    }
}

#[test]
fn length_that_is_not_the_shortest_is_an_error() {
    for (form, length, is_valid) in [
        (126, 125_u64, false),
        (126, 126, true),
        (127, 65_535, false),
        (127, 65_536, true),
        (127, u64::MAX / 2, true),
        (127, u64::MAX / 2 + 1, false),
    ] {
        let mut wire = vec![0x81, 0x80 | form];
        if form == 126 {
            wire.extend(u16::try_from(length).unwrap().to_be_bytes());
        } else {
            wire.extend(length.to_be_bytes());
        }
        wire.extend(MASK);
        assert_eq!(decode(&wire).error, (!is_valid).then_some(FrameError::BadFrame), "{form} {length}");
    }
}

#[test]
fn close_frame_ends_the_input() {
    for (payload, code) in [
        (&b""[..], None),
        (b"\x03\xE8", Some(1000)),
        (b"\x03\xE9bye", Some(1001)),
        (b"\x0B\xB8", Some(3000)),
        (b"\x13\x87", Some(4999)),
    ] {
        let outcome = decode(&[text("last"), frame(0x88, payload), text("dropped"), vec![0xFF]].concat());
        assert_eq!((&*outcome.lines, outcome.end, outcome.error), ("last\n", Some(PeerClose { code }), None));
    }
    for payload in [
        &b"\x03"[..],
        b"\x03\xE7",
        b"\x03\xEC",
        b"\x03\xED",
        b"\x03\xEE",
        b"\x03\xF7",
        b"\x07\xD0",
        b"\x13\x88",
        b"\x03\xE8\xFF",
    ] {
        assert_error(&frame(0x88, payload), FrameError::BadClose);
    }
}

#[test]
fn last_ping_of_a_call_is_answered_and_empty_frames_are_counted() {
    let wire = [frame(0x89, b"1"), frame(0x89, b"2"), frame(0x8A, b""), frame(0x01, b""), frame(0x80, b"x")].concat();
    let mut lines = Vec::new();
    let decoded = FrameDecoder::default().decode(&wire, &mut lines).unwrap();
    assert_eq!(decoded, DecodedFrames { frames: 5, empty_frames: 4, ping: Some(b"2".to_vec()), end: None });
    assert_eq!(lines, b"x\n");
}

#[test]
fn moved_decoder_goes_on_in_the_middle_of_a_frame() {
    let wire = [frame(0x01, "gr\u{fc}\u{df}e".as_bytes()), frame(0x89, b"ping"), frame(0x80, b"!")].concat();
    let expected = decode(&wire);
    for at in 0..wire.len() {
        let (mut decoder, mut lines) = (FrameDecoder::default(), Vec::new());
        decoder.decode(&wire[..at], &mut lines).unwrap();
        let moved = postcard::to_stdvec(&decoder).unwrap();
        let mut decoder: FrameDecoder = postcard::from_bytes(&moved).unwrap();
        decoder.decode(&wire[at..], &mut lines).unwrap();
        assert_eq!(String::from_utf8(lines).unwrap(), expected.lines, "{at}");
    }
}

/// A client of tungstenite, whose frames the decoder reads.
fn client() -> WebSocket<Cursor<Vec<u8>>> {
    WebSocket::from_raw_socket(Cursor::new(Vec::new()), Role::Client, None)
}

#[test]
fn messages_of_tungstenite_are_decoded() {
    let mut client = client();
    for message in ["hello", "", "grüße 🎉", &"long ".repeat(20_000)] {
        client.send(Message::text(message)).unwrap();
    }
    client.send(Message::Ping(Bytes::from_static(b"there?"))).unwrap();
    client.close(None).unwrap();
    client.flush().unwrap();
    let wire = client.get_ref().get_ref().clone();
    for chunk in [1, 100, wire.len()] {
        let outcome = decode_chunks(wire.chunks(chunk));
        assert_eq!(outcome.lines, format!("hello\n\ngrüße 🎉\n{}\n", "long ".repeat(20_000)));
        assert_eq!(
            (outcome.pings, outcome.end, outcome.error),
            (vec![b"there?".to_vec()], Some(PeerClose { code: None }), None)
        );
    }
}

#[test]
fn frames_of_the_server_are_read_by_tungstenite() {
    let lines = format!("alice: hi\n{}\nbob: grüße 🎉\n", "x".repeat(70_000)) + &"carol: again\n".repeat(3_000);
    let mut wire = Vec::new();
    extend_with_frames(&mut wire, lines.as_bytes());
    wire.extend(ping_frame());
    wire.extend(pong_frame(&[b'x'; 200]));
    wire.extend(close_frame(CloseCode::GoingAway));
    let mut client = WebSocket::from_raw_socket(Cursor::new(wire), Role::Client, None);
    let (mut read, mut others) = (String::new(), Vec::new());
    while let Ok(message) = client.read() {
        match message {
            Message::Text(text) => {
                assert!(text.ends_with('\n'));
                read.push_str(&text);
            }
            other => others.push(other),
        }
    }
    assert_eq!(read, lines);
    let [Message::Ping(asked), Message::Pong(answered), Message::Close(Some(close))] = &others[..] else {
        panic!("{others:?}");
    };
    assert_eq!((asked.len(), answered.len(), u16::from(close.code)), (0, MAX_CONTROL, 1001));
}

proptest! {
    /// Any bytes are decoded alike in any chunks, and tungstenite agrees about valid streams of frames.
    #[test]
    fn any_frames_are_decoded_as_tungstenite_decodes_them(
        frames in prop::collection::vec(
            (prop::sample::select(&[0x01_u8, 0x81, 0x00, 0x80, 0x89, 0x8A, 0x88, 0x82][..]), "\\PC{0,40}"), 0..12),
        cut in 1..50_usize,
    ) {
        let mut wire = Vec::new();
        for (first, payload) in &frames {
            // tungstenite's own masking.
            let opcode = OpCode::from(first & 0x0F);
            let payload = if opcode == OpCode::Control(Control::Close) {
                Vec::new()
            } else {
                payload.as_bytes().to_vec()
            };
            let payload = if payload.len() > MAX_CONTROL { payload[..0].to_vec() } else { payload };
            let header = FrameHeader {
                is_final: first & FIN != 0, rsv1: false, rsv2: false, rsv3: false, opcode, mask: Some(MASK),
            };
            Frame::from_payload(header, payload.into()).format(&mut wire).unwrap();
        }
        let outcome = decode_chunks(wire.chunks(cut));
        prop_assert_eq!(&outcome.lines, &decode_chunks([&wire[..]]).lines);
        let mut server = WebSocket::from_raw_socket(Cursor::new(wire), Role::Server, None);
        let mut lines = String::new();
        let mut is_binary = false;
        while let Ok(message) = server.read() {
            match message {
                Message::Text(text) => {
                    lines.push_str(&text);
                    if !text.ends_with('\n') {
                        lines.push('\n');
                    }
                }
                Message::Binary(_) => {
                    is_binary = true;
                    break;
                }
                _ => {}
            }
        }
        if !is_binary && !matches!(frames.last(), Some((0x01 | 0x00, _))) && outcome.error.is_none() {
            // A message that is not complete is no message yet, but its lines may have come.
            prop_assert!(outcome.lines.starts_with(&lines));
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 1..40_usize) {
        let outcome = decode_chunks(bytes.chunks(cut));
        let whole = decode_chunks([&bytes[..]]);
        prop_assert_eq!((outcome.lines, outcome.end, outcome.error), (whole.lines, whole.end, whole.error));
    }
}
