//! The options that the server offers with the line editor, on a plain socket.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::TestServer;
use common::telnet::TIMING_MARK;

/// WILL ECHO, WILL SUPPRESS-GO-AHEAD, DO NAWS.
const OFFER: &[u8] = b"\xFF\xFB\x01\xFF\xFB\x03\xFF\xFD\x1F";

#[test]
fn client_that_refuses_echo_or_go_ahead_gets_no_line_editor() {
    for refusal in [b"\xFF\xFE\x01", b"\xFF\xFE\x03"] {
        let server = TestServer::start();
        let mut alice = server.join("room", "alice");
        alice.send("/ui on\r\n");
        alice.read_until_bytes("*** ui is on\r\n");
        alice.send(refusal);
        alice.read_until_bytes("*** ui is off\r\n");
        alice.send("fine\r\n");
        alice.expect_text("alice: fine\r\n");
    }
}

#[test]
fn options_are_offered_and_withdrawn_with_the_line_editor() {
    let server = TestServer::start();
    let mut alice = server.join("room", "alice");
    alice.send("/ui on\r\n");
    alice.expect_bytes(OFFER);
    alice.expect_text("*** ui is on\r\n");
    alice.send(b"\xFF\xFD\x01\xFF\xFD\x03\xFF\xFB\x1F\xFF\xFA\x1F\x00\x50\x00\x18\xFF\xF0");
    alice.send("/ui off\r\0");
    let end = alice.read_until_bytes("*** ui is off\r\n");
    assert!(end.ends_with(b"\xFF\xFC\x01\xFF\xFC\x03\xFF\xFE\x1F"), "{}", end.escape_ascii());
    alice.send(b"\xFF\xFE\x01\xFF\xFE\x03\xFF\xFC\x1Ffine\r\n");
    alice.expect_text("alice: fine\r\n");
}

/// `PuTTY` sends CR LF for Enter, telnet CR NUL: the line editor is off when the second byte arrives.
#[test]
fn enter_in_two_halves_ends_the_line_editor_once() {
    let server = TestServer::start();
    let mut alice = server.join("room", "alice");
    for enter in [&["\r\n"][..], &["\r\0"], &["\r"], &["\r", "\n"], &["\r", "\0"]] {
        alice.send("/ui on\r\n");
        alice.read_until_bytes("*** ui is on\r\n");
        alice.send("/ui off");
        for half in enter {
            alice.send(half);
            // The reply shows that the server has processed the bytes before.
            alice.send(b"\xFF\xFD\x06");
            alice.read_until_bytes(TIMING_MARK);
        }
        alice.send("fine\r\n");
        alice.expect_text("alice: fine\r\n");
    }
}

/// Sends window sizes that no terminal has, and changes options many times.
#[test]
fn hostile_window_sizes_and_options_affect_only_their_sender() {
    let server = TestServer::start();
    let (mut bob, mut mallory) = server.join_pair("room", "bob", "mallory");
    mallory.send("/ui on\r\n");
    mallory.send(b"\xFF\xFD\x01\xFF\xFD\x03\xFF\xFB\x1Fhalf a line");
    for size in [b"\0\0\0\0", b"\0\x01\0\x01", b"\xFE\xFE\0\0", b"\0\x02\xFE\xFE"] {
        mallory.send([&b"\xFF\xFA\x1F"[..], size, b"\xFF\xF0"].concat());
    }
    mallory.send(b"\xFF\xFC\x1F\xFF\xFB\x1F".repeat(100));
    mallory.send("\r\0/ui off\r\0");
    mallory.send(b"\xFF\xFD\x01\xFF\xFE\x01".repeat(100));
    bob.expect_line("mallory: half a line");
    mallory.send("/ui on\r\n/ui off\r\n".repeat(20));
    mallory.send("done\r\n");
    bob.expect_line("mallory: done");
    bob.send("fine\n");
    bob.expect_line("bob: fine");
}
