//! The programs that people connect with, each in a terminal of its own, which sends whole lines.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::TestServer;
use common::screen::{Screen, is_there};

/// The key that takes GNU telnet to its own prompt.
const ESCAPE: &str = "\x1D";

#[test]
fn two_people_with_telnet_hold_a_conversation_and_a_third_sees_it() {
    if !is_there("telnet") {
        return;
    }
    let server = TestServer::start();
    let mut witness = server.join("lobby", "witness");
    let mut alice = Screen::telnet(&server);
    alice.join("lobby", "alice");
    let mut bob = Screen::telnet(&server);
    bob.join("lobby", "bob");
    alice.shows(&["alice has joined", "bob has joined", "█"]);
    alice.types("hello bob\r");
    bob.shows(&["JOIN lobby bob", "bob has joined", "alice: hello bob", "█"]);
    bob.types("grüße, 你好\r");
    alice.shows(&["bob has joined", "hello bob", "alice: hello bob", "bob: grüße, 你好", "█"]);
    bob.shows(&["alice: hello bob", "grüße, 你好", "bob: grüße, 你好", "█"]);
    bob.types(ESCAPE);
    bob.shows(&["telnet> █"]);
    bob.types("quit\r");
    bob.ends();
    alice.shows(&["bob: grüße, 你好", "bob has left", "█"]);
    drop(alice);
    for line in
        ["alice has joined", "bob has joined", "alice: hello bob", "bob: grüße, 你好", "bob has left", "alice has left"]
    {
        witness.expect(line);
    }
}

#[test]
fn telnet_shows_the_error_and_why_and_ends() {
    if !is_there("telnet") {
        return;
    }
    let server = TestServer::start();
    let mut alice = Screen::telnet(&server);
    alice.types("hello?\r");
    let reason = "the first line did not start with JOIN; write: JOIN <ROOMNAME> <USERNAME>";
    alice.shows(&["hello?", "ERROR", reason, "Connection closed by foreign host.", "█"]);
    alice.ends();
}

/// Ctrl-C: telnet throws away all that it gets, until its timing mark is answered.
#[test]
fn talk_goes_on_after_ctrl_c_in_telnet() {
    if !is_there("telnet") {
        return;
    }
    let server = TestServer::start();
    let mut bob = server.join("lobby", "bob");
    let mut alice = Screen::telnet(&server);
    alice.join("lobby", "alice");
    for round in 1..=3 {
        alice.types("not to be sai\x03");
        alice.types(&format!("round {round}\r"));
        alice.until("her line is there", |alice| alice.rows().contains(&format!("alice: round {round}")));
        bob.send(format!("heard {round}\n"));
        alice.shows(&[&format!("alice: round {round}"), &format!("bob: heard {round}"), "█"]);
    }
    bob.expect("alice has joined");
    for round in 1..=3 {
        bob.expect(&format!("alice: round {round}"));
        bob.expect(&format!("bob: heard {round}"));
    }
}

/// Ctrl-Z and Ctrl-\ become telnet's SUSP and BRK, each with a timing mark, too.
#[test]
fn talk_goes_on_after_ctrl_z_and_ctrl_backslash_in_telnet() {
    if !is_there("telnet") {
        return;
    }
    let server = TestServer::start();
    let mut alice = Screen::telnet(&server);
    alice.join("lobby", "alice");
    for key in ['\x1A', '\x1C'] {
        alice.types(&format!("{key}"));
        alice.types(&format!("behind {}\r", key.escape_debug()));
        let line = format!("alice: behind {}", key.escape_debug());
        alice.until("her line is there", |alice| alice.rows().contains(&line));
        alice.shows(&[&line, "█"]);
    }
}

#[test]
fn telnet_asks_whether_anybody_is_there() {
    if !is_there("telnet") {
        return;
    }
    let server = TestServer::start();
    let mut alice = Screen::telnet(&server);
    alice.join("lobby", "alice");
    alice.types(ESCAPE);
    alice.shows(&["telnet> █"]);
    alice.types("send ayt\r");
    alice.shows(&["telnet> send ayt", "*** yes, roomcast is here", "█"]);
    alice.types("good\r");
    alice.shows(&["good", "alice: good", "█"]);
}

/// Each of telnet's own words for "drop that", the one with urgent data among them.
#[test]
fn what_telnet_can_send_leaves_the_line_whole() {
    if !is_there("telnet") {
        return;
    }
    let server = TestServer::start();
    let mut alice = Screen::telnet(&server);
    alice.join("lobby", "alice");
    for word in ["synch", "brk", "ip", "ao", "ec", "el", "ga", "nop", "eor", "eof", "susp", "abort"] {
        alice.types(ESCAPE);
        alice.shows(&["telnet> █"]);
        alice.types(&format!("send {word}\r"));
        alice.shows(&[&format!("telnet> send {word}"), "█"]);
        alice.types(&format!("behind {word}\r"));
        alice.shows(&[&format!("behind {word}"), &format!("alice: behind {word}"), "█"]);
    }
}

/// Telnet's own way of Ctrl-Z, from its prompt: the terminal is the shell's meanwhile.
#[test]
fn telnet_is_suspended_and_comes_back() {
    if !is_there("telnet") || !is_there("bash") {
        return;
    }
    let server = TestServer::start();
    let mut bob = server.join("lobby", "bob");
    let mut alice = Screen::run("bash", &["--norc", "--noprofile", "-i"]);
    alice.types("PS1='shell: '\r");
    alice.shows(&["shell: █"]);
    alice.types(&format!("telnet {} {}\r", server.address.ip(), server.address.port()));
    alice.shows(&["Welcome! Use the command:", "JOIN <ROOMNAME> <USERNAME>", "█"]);
    alice.join_editing("lobby", "alice");
    bob.expect("alice has joined");
    alice.types("half a");
    alice.shows(&["> half a█"]);
    alice.types(ESCAPE);
    alice.until("telnet's prompt", |alice| alice.rows().iter().any(|row| row.ends_with("telnet> █")));
    alice.types("z\r");
    alice.shows(&["shell: █"]);
    bob.send("still there?\n");
    bob.expect("bob: still there?");
    alice.types("fg\r");
    alice.shows(&["bob: still there?", "> half a█"]);
    alice.types(" line\r");
    alice.shows(&["bob: still there?", "alice: half a line", "> █"]);
    bob.expect("alice: half a line");
}

#[test]
fn plink_joins_talks_and_quits() {
    if !is_there("plink") {
        return;
    }
    let server = TestServer::start();
    let mut bob = server.join("lobby", "bob");
    let mut alice = Screen::plink(&server);
    alice.join("lobby", "alice");
    bob.expect("alice has joined");
    alice.types("grüße, 你好\r");
    alice.shows(&["alice has joined", "grüße, 你好", "alice: grüße, 你好", "█"]);
    bob.expect("alice: grüße, 你好");
    bob.send("hi\n");
    alice.shows(&["alice: grüße, 你好", "bob: hi", "█"]);
    bob.expect("bob: hi");
    alice.types("/quit so long\r");
    alice.ends();
    bob.expect("alice: so long");
    bob.expect("alice has left");
}

#[test]
fn nc_joins_talks_and_quits() {
    if !is_there("nc") {
        return;
    }
    let server = TestServer::start();
    let mut bob = server.join("lobby", "bob");
    let mut alice = Screen::nc(&server);
    alice.join("lobby", "alice");
    bob.expect("alice has joined");
    alice.types("grüße, 你好\r");
    alice.shows(&["alice has joined", "grüße, 你好", "alice: grüße, 你好", "█"]);
    bob.expect("alice: grüße, 你好");
    alice.types("/ui on\r");
    alice.shows(&["/ui on", "*** /ui needs a telnet client, such as telnet or PuTTY", "█"]);
    alice.types("/quit\r");
    bob.expect("alice has left");
    // nc stays until its own input ends, too.
    alice.types("\x04");
    alice.ends();
}

/// Ctrl-C in nc or plink ends the program, as anywhere.
#[test]
fn ctrl_c_ends_nc_and_plink() {
    let server = TestServer::start();
    let mut bob = server.join("lobby", "bob");
    for (program, open) in [("nc", Screen::nc as fn(&TestServer) -> Screen), ("plink", Screen::plink)] {
        if !is_there(program) {
            continue;
        }
        let mut alice = open(&server);
        alice.join("lobby", "alice");
        bob.expect("alice has joined");
        alice.types("not to be sai\x03");
        alice.ends();
        bob.expect("alice has left");
    }
}
