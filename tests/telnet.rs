//! The real `telnet` program, driven through a terminal of its own.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::{DEADLINE, TestServer};
use rexpect::session::{Options, PtySession, spawn_with_options};
use std::process::Command;

/// Whether GNU telnet is there. Where it is not, the test passes over it and says so, unless
/// `ROOMCAST_REQUIRE_ALL=1` makes it a failure.
fn is_there(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        assert_ne!(std::env::var("ROOMCAST_REQUIRE_ALL").as_deref(), Ok("1"), "{program} is missing");
        eprintln!("PASSED OVER: `{program}` is missing (Debian: inetutils-telnet)");
    }
    found
}

fn telnet(server: &TestServer) -> PtySession {
    let command = {
        let mut command = Command::new("telnet");
        command.args([server.address.ip().to_string(), server.address.port().to_string()]);
        command
    };
    let timeout = DEADLINE.as_millis().try_into().unwrap();
    let mut session =
        spawn_with_options(command, Options::new().timeout_ms(Some(timeout)).strip_ansi_escape_codes(true)).unwrap();
    session.exp_string("JOIN <ROOMNAME> <USERNAME>").unwrap();
    session
}

#[test]
fn two_people_with_telnet_hold_a_conversation_and_a_third_sees_it() {
    if !is_there("telnet") {
        return;
    }
    let server = TestServer::start();
    let mut witness = server.join("lobby", "witness");
    let mut alice = telnet(&server);
    alice.send_line("JOIN lobby alice").unwrap();
    alice.exp_string("alice has joined").unwrap();
    let mut bob = telnet(&server);
    bob.send_line("join lobby bob").unwrap();
    bob.exp_string("bob has joined").unwrap();
    alice.exp_string("bob has joined").unwrap();
    alice.send_line("hello bob").unwrap();
    bob.exp_string("alice: hello bob").unwrap();
    bob.send_line("grüße, alice").unwrap();
    // rexpect reads a byte as a character; the witness has seen the whole of it.
    alice.exp_string("bob: gr").unwrap();
    alice.exp_string("e, alice").unwrap();
    // Its way out: the escape character, then its own command.
    bob.send_control(']').unwrap();
    bob.exp_string("telnet>").unwrap();
    bob.send_line("quit").unwrap();
    bob.exp_eof().unwrap();
    alice.exp_string("bob has left").unwrap();
    drop(alice);
    for line in [
        "alice has joined",
        "bob has joined",
        "alice: hello bob",
        "bob: grüße, alice",
        "bob has left",
        "alice has left",
    ] {
        witness.expect(line);
    }
}

#[test]
fn telnet_shows_the_error_and_why_and_ends() {
    if !is_there("telnet") {
        return;
    }
    let server = TestServer::start();
    let mut alice = telnet(&server);
    alice.send_line("hello?").unwrap();
    alice.exp_string("ERROR").unwrap();
    alice.exp_string("write: JOIN <ROOMNAME> <USERNAME>").unwrap();
    alice.exp_string("Connection closed by foreign host.").unwrap();
    alice.exp_eof().unwrap();
}
