//! Telnet commands as clients and attackers send them, and the replies, byte for byte.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::telnet::{BINARY_REQUEST, TIMING_MARK};
use common::{TestServer, test_settings};
use std::num::NonZeroU32;

/// The options that `PuTTY` sends first.
const PUTTY: &[u8] =
    b"\xFF\xFB\x1F\xFF\xFB\x20\xFF\xFB\x18\xFF\xFB\x27\xFF\xFD\x01\xFF\xFB\x03\xFF\xFD\x03\xFF\xFB\x24";

/// The reply to `PuTTY`: DONT to each WILL, WONT to each DO.
const TO_PUTTY: &[u8] =
    b"\xFF\xFE\x1F\xFF\xFE\x20\xFF\xFE\x18\xFF\xFE\x27\xFF\xFC\x01\xFF\xFE\x03\xFF\xFC\x03\xFF\xFE\x24";

/// The options that Linux telnet sends first at port 23.
const LINUX: &[u8] =
    b"\xFF\xFD\x26\xFF\xFB\x26\xFF\xFD\x03\xFF\xFB\x18\xFF\xFB\x1F\xFF\xFB\x20\xFF\xFB\x21\xFF\xFB\x22\
    \xFF\xFB\x27\xFF\xFD\x05";

/// The reply to Linux telnet.
const TO_LINUX: &[u8] =
    b"\xFF\xFC\x26\xFF\xFE\x26\xFF\xFC\x03\xFF\xFE\x18\xFF\xFE\x1F\xFF\xFE\x20\xFF\xFE\x21\xFF\xFE\x22\
    \xFF\xFE\x27\xFF\xFC\x05";

/// The bytes that Linux telnet sends for Ctrl-C.
const CTRL_C: &[u8] = b"\xFF\xF4\xFF\xFD\x06";

/// Sends `greeting` in one piece on one connection and byte by byte on another. Both must receive
/// exactly `answers`, and then join and receive a line.
fn expect_answers(greeting: &[u8], answers: &[u8]) {
    for chunk in [usize::MAX, 1] {
        let server = TestServer::start();
        let mut alice = server.connect();
        let all = [greeting, b"JOIN room alice\r\n"].concat();
        for bytes in all.chunks(chunk) {
            alice.send(bytes);
        }
        // The first command makes the server ask for letters that are not ASCII.
        alice.expect_bytes(BINARY_REQUEST);
        alice.expect_bytes(answers);
        alice.expect_text("alice has joined\r\n");
        alice.send("hello\r\n");
        alice.expect_text("alice: hello\r\n");
        alice.half_close();
        assert_eq!(alice.read_to_end_lossy(), "");
    }
}

#[test]
fn putty_greeting_is_answered() {
    expect_answers(PUTTY, TO_PUTTY);
}

#[test]
fn linux_telnet_greeting_is_answered() {
    expect_answers(LINUX, TO_LINUX);
}

/// These commands crashed a telnetd (CVE-2022-39028).
#[test]
fn erase_commands_before_any_text_are_ignored() {
    expect_answers(b"\xFF\xF7", b"");
    expect_answers(b"\xFF\xF8", b"");
    expect_answers(b"\xFF\xF7\xFF\xF8\xFF\xF4", b"");
}

#[test]
fn commands_without_a_reply_get_none() {
    expect_answers(b"\xFF\xF1\xFF\xF2\xFF\xF3\xFF\xF5\xFF\xF9\xFF\xEC\xFF\xED\xFF\xEE\xFF\xEF\xFF\xF0", b"");
    expect_answers(b"\xFF\xFC\x01\xFF\xFE\x01\xFF\xFC\x06\xFF\xFE\x1F", b"");
    expect_answers(
        b"\xFF\xFA\x1F\x00\x50\x00\x18\xFF\xF0\xFF\xFA\x18\x00xterm\xFF\xF0\xFF\xFA\x27\x00\xFF\xFFA\n\xFF\xF0",
        b"",
    );
}

/// Environment, linemode, authentication and encryption with parameters (CVE-2026-24061,
/// CVE-2026-32746).
#[test]
fn dangerous_options_are_refused() {
    let environment = b"\xFF\xFB\x27\xFF\xFA\x27\x00\x00USER\x01-f root\xFF\xF0";
    let linemode = b"\xFF\xFB\x22\xFF\xFA\x22\x03\x01\x03\x00\xFF\xF0";
    let others = b"\xFF\xFB\x25\xFF\xFD\x25\xFF\xFB\x26\xFF\xFD\x26";
    let refusals = b"\xFF\xFE\x27\xFF\xFE\x22\xFF\xFE\x25\xFF\xFC\x25\xFF\xFE\x26\xFF\xFC\x26";
    expect_answers(&[&environment[..], linemode, others].concat(), refusals);
}

#[test]
fn interrupt_drops_the_line_and_its_timing_mark_is_answered_each_time() {
    let server = TestServer::start();
    let mut alice = server.join("room", "alice");
    alice.send_first_command();
    for round in 0..3 {
        alice.send([b"not to be sai", CTRL_C].concat());
        alice.expect_bytes(TIMING_MARK);
        if round == 0 {
            alice.expect_text("*** the line was dropped; /quit leaves\r\n");
        }
        alice.send("hello\r\n");
        alice.expect_text("alice: hello\r\n");
    }
    // The bytes that Linux telnet sends for Ctrl-\ and Ctrl-Z.
    alice.send(b"\xFF\xF3\xFF\xFD\x06\xFF\xED\xFF\xFD\x06");
    alice.expect_bytes(&[TIMING_MARK, TIMING_MARK].concat());
}

/// A timing mark tells the client the place in the output from which it may read again.
#[test]
fn timing_mark_is_answered_after_the_output_before_it() {
    const LINES: usize = 800;
    let server = TestServer::start_with(test_settings(|settings| {
        (settings.live.rate, settings.live.byte_rate) = (0, 0);
        settings.live.backlog = 32 << 20;
    }));
    let (mut bob, mut alice) = server.join_pair("room", "bob", "alice");
    alice.send_first_command();
    let line = "x".repeat(19_000);
    for _ in 0..LINES {
        bob.send(format!("{line}\n"));
        bob.expect_line(&format!("bob: {line}"));
    }
    // The room has delivered the earlier lines when this one arrives.
    bob.send("last\n");
    bob.expect_line("bob: last");
    alice.send(b"\xFF\xFD\x06");
    for _ in 0..LINES {
        alice.expect_line(&format!("bob: {line}"));
    }
    let before = alice.read_until_bytes(TIMING_MARK);
    assert!([&b""[..], b"bob: last\r\n"].contains(&&before[..]), "{}", before.escape_ascii());
}

#[test]
fn are_you_there_is_answered_at_most_once_a_second() {
    let server = TestServer::start();
    let mut alice = server.join("room", "alice");
    alice.send_first_command();
    alice.send(b"\xFF\xF6".repeat(1_000));
    alice.send("done\r\n");
    let mut answers = 0;
    loop {
        match &*alice.read_line() {
            "*** yes, roomcast is here" => answers += 1,
            line => break assert_eq!(line, "alice: done"),
        }
    }
    assert!((1..=10).contains(&answers), "{answers} answers to 1000 questions");
}

#[test]
fn option_request_flood_is_answered_within_bounds() {
    let server = TestServer::start();
    let mut alice = server.join("room", "alice");
    let mut mallory = server.join("room", "mallory");
    mallory.send_first_command();
    mallory.send(b"\xFF\xFD\x01".repeat(5_000));
    mallory.send("done\r\n");
    alice.expect_line("mallory has joined");
    alice.expect_line("mallory: done");
    let answers = mallory.read_until_bytes("mallory: done\r\n");
    let count = answers.len() / 3;
    assert_eq!(answers, b"\xFF\xFC\x01".repeat(count));
    assert!((200..2_000).contains(&count), "{count} answers to 5000 requests");
}

/// The server reads the flooding peer more slowly, and still delivers its line after the flood.
#[test]
fn telnet_command_flood_delays_only_its_sender() {
    let server = TestServer::start();
    let (mut alice, mut mallory) = server.join_pair("room", "alice", "mallory");
    mallory.send(b"\xFF\xF1".repeat(20 << 10));
    mallory.send("still here\n");
    let (mut round, mut received) = (0, false);
    while round < 10 || !received {
        round += 1;
        alice.send(format!("{round}\n"));
        loop {
            match alice.read_line() {
                line if line == "mallory: still here" => received = true,
                line => break assert_eq!(line, format!("alice: {round}")),
            }
        }
    }
}

#[test]
fn endless_subnegotiation_gets_error_and_a_reason() {
    let server = TestServer::start();
    let mut alice = server.join("room", "alice");
    for greeting in ["", "JOIN room mallory\r\n"] {
        let mut mallory = server.connect();
        mallory.send(greeting);
        mallory.send_first_command();
        mallory.send(b"\xFF\xFA\x18");
        mallory.send([1; 8_000]);
        let reply = mallory.read_to_end();
        let [.., error, reason] = &reply[..] else { panic!("{reply:?}") };
        assert_eq!(error, "ERROR");
        assert!(reason.contains("subnegotiation was longer than 4096 bytes"), "{reason}");
    }
    alice.expect_line("mallory has joined");
    alice.expect_line("mallory has left");
    alice.send("fine\n");
    alice.expect_line("alice: fine");
}

/// Without `SO_OOBINLINE` the kernel would remove the Data Mark, which is urgent data, from the stream.
#[test]
fn synch_with_urgent_data_leaves_the_stream_whole() {
    let server = TestServer::start();
    let mut alice = server.join("room", "alice");
    alice.send_first_command();
    for round in 0..3 {
        alice.send(b"half \xFF");
        alice.send_urgent(b"\xF2");
        alice.send("and half\r\n");
        alice.expect_line("alice: half and half");
        alice.send(b"not to be sai\xFF\xF4\xFF");
        alice.send_urgent(b"\xF2");
        alice.send(b"\xFF\xFD\x06kept\r\n");
        alice.expect_bytes(TIMING_MARK);
        if round == 0 {
            alice.expect_line("*** the line was dropped; /quit leaves");
        }
        alice.expect_line("alice: kept");
    }
    alice.send("a");
    alice.send_urgent(b"b");
    alice.send("c\r\n");
    alice.expect_line("alice: abc");
}

#[test]
fn ff_that_begins_no_command_becomes_a_replacement_character() {
    let server = TestServer::start();
    let mut alice = server.join("room", "alice");
    alice.send(b"L\xFFo ends \xFF\nnext\n");
    alice.expect_text("alice: L\u{FFFD}o ends \u{FFFD}\nalice: next\n");
    alice.send(b"last \xFF");
    alice.half_close();
    assert_eq!(alice.read_to_end(), ["alice: last \u{FFFD}"]);
}

/// The line before an FF uses up the rate, so the FF waits; it may be the last byte of a read, and of the stream.
#[test]
fn ff_that_waits_for_the_rate_is_kept_at_every_split() {
    let server = TestServer::start_with(test_settings(|settings| {
        settings.live.rate = 100;
        settings.live.burst = NonZeroU32::MIN;
    }));
    let (mut bob, mut carol) = (server.join("room", "bob"), server.join("other", "carol"));
    let bytes = b"a\n\xFFo\n\xFF\xFFx\nb\n\xFF";
    for at in 0..=bytes.len() {
        let mut alice = server.connect();
        alice.send("JOIN room alice\n");
        bob.expect_line("alice has joined");
        alice.send(&bytes[..at]);
        // The server has most likely read the first part when it has answered another member.
        carol.send("ping\n");
        carol.expect_line("carol: ping");
        alice.send(&bytes[at..]);
        alice.half_close();
        for text in ["a", "\u{FFFD}o", "\u{FFFD}x", "b", "\u{FFFD}"] {
            bob.expect_line(&format!("alice: {text}"));
        }
        bob.expect_line("alice has left");
    }
}

#[test]
fn binary_is_accepted_in_both_directions() {
    // The request for the peer's BINARY is the answer to its offer, too.
    expect_answers(b"\xFF\xFB\0\xFF\xFD\0\xFF\xFB\0", b"\xFF\xFB\0");
}
