//! What the server offers a telnet when it is to edit the line, as a raw socket sees it.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::TestServer;
use common::telnet::TIMING_MARK;

/// Offers to echo and to edit, and asks how large the window is.
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

/// `PuTTY` sends CR LF for Enter, telnet CR NUL: the editor is gone when the second half comes.
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
            // It is taken in as soon as this is answered.
            alice.send(b"\xFF\xFD\x06");
            alice.read_until_bytes(TIMING_MARK);
        }
        alice.send("fine\r\n");
        alice.expect_text("alice: fine\r\n");
    }
}

/// Sizes that no window has, changes of mind without end.
#[test]
fn hostile_window_sizes_and_options_affect_only_their_sender() {
    let server = TestServer::start();
    let mut bob = server.join("room", "bob");
    let mut mallory = server.join("room", "mallory");
    bob.expect_line("mallory has joined");
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
