//! Each command at its edges, on plain sockets.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::TestServer;

/// An Enter is a CR and one byte more, which comes when the line editor is gone.
#[test]
fn the_enter_that_ends_the_line_editor_says_nothing() {
    let server = TestServer::start();
    let mut bob = server.join("room", "bob");
    let mut alice = server.join("room", "alice");
    bob.expect("alice has joined");
    alice.send("on\r\n");
    bob.expect("alice: on");
    for enter in ["\r\n", "\r\0", "\n"] {
        alice.send(format!("/ui on\r\n/ui off{enter}hello{enter}"));
        bob.expect("alice: hello");
    }
    alice.send("/ui on\r\nand\r\n/ui off\r");
    bob.expect("alice: and");
    alice.send("\nand on\r\n");
    bob.expect("alice: and on");
}

/// Switched off and on before the terminal has answered: what is said is what is.
#[test]
fn the_line_editor_is_on_when_it_says_so() {
    let server = TestServer::start();
    let mut alice = server.join("room", "alice");
    alice.send("/ui on\r\n/ui off\r\n/ui on\r\nhello\r\n");
    alice.half_close();
    let seen = alice.rest_lossy();
    let (before, behind) = seen.split_at(seen.rfind("*** ui is ").unwrap());
    let says_on = behind.starts_with("*** ui is on");
    assert!(before.contains("*** ui is on") && behind.contains("alice: hello"), "{seen:?}");
    assert_eq!(says_on, behind.contains("\u{1B}[K"), "{seen:?}");
}
