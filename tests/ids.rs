//! `/ids`: numbers of what is said in a room, and what a member that comes back has missed.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::web::{WebClient, start_web};
use common::{Client, TestServer, test_settings};

/// Asks with this line; returns the numbering and the next number, after the lines that come before.
#[track_caller]
fn ask(client: &mut Client, line: &str) -> (Vec<String>, String, u64) {
    client.send(format!("{line}\n"));
    let mut before = Vec::new();
    loop {
        let line = client.read_line();
        match line.strip_prefix("*** ids is on: numbering ") {
            Some(rest) => {
                let (numbering, next) = rest.split_once(", next line #").unwrap();
                return (before, numbering.to_owned(), next.parse().unwrap());
            }
            None => before.push(line),
        }
    }
}

#[test]
fn talk_has_numbers_and_notices_have_none() {
    let server = TestServer::start();
    let (mut alice, mut bob) = server.join_pair("lobby", "alice", "bob");
    bob.send("before\n");
    alice.expect_line("bob: before");
    alice.send("/ids\n");
    alice.expect_line("*** ids is off: /ids on numbers what is said in this room");
    let (before, numbering, next) = ask(&mut alice, "/ids on");
    assert_eq!((before, numbering.len(), next), (Vec::new(), 8, 2));
    bob.send("one\n/me two\n/nick bobby\nthree\n");
    for line in ["#2 bob: one", "#3 * bob two", "bob is now known as bobby", "#4 bobby: three"] {
        alice.expect_line(line);
    }
    bob.skip_to_line("bobby: three");
    let _carol = server.join("lobby", "carol");
    alice.expect_line("carol has joined");
    let (_, again, next) = ask(&mut alice, "/ids");
    assert_eq!((again, next), (numbering, 5));
    alice.send("/ids off\n");
    alice.expect_line("*** ids is off: /ids on numbers what is said in this room");
    alice.send("four\n");
    alice.expect_line("alice: four");
}

#[test]
fn member_that_comes_back_gets_what_it_missed_once() {
    let server = TestServer::start();
    let (mut alice, mut bob) = server.join_pair("lobby", "alice", "bob");
    let (_, numbering, _) = ask(&mut bob, "/ids on");
    alice.send("one\n");
    bob.expect_line("#1 alice: one");
    drop(bob);
    alice.skip_to_line("bob has left");
    alice.send("two\nthree\n");
    alice.skip_to_line("alice: three");
    let mut bob = server.join("lobby", "bob");
    let (missed, again, next) = ask(&mut bob, &format!("/ids {numbering} 1"));
    assert_eq!(missed, ["*** #2 alice: two", "*** #3 alice: three"]);
    assert_eq!((again, next), (numbering.clone(), 4));
    alice.send("four\n");
    bob.expect_line("#4 alice: four");
    let (missed, ..) = ask(&mut bob, &format!("/ids {numbering} 4"));
    assert_eq!(missed, [""; 0]);
    let (missed, _, next) = ask(&mut bob, &format!("/ids {numbering} 1000"));
    assert_eq!((missed.len(), next), (0, 5));
}

#[test]
fn lines_that_the_history_has_lost_are_told() {
    let server = TestServer::start_with(test_settings(|settings| settings.rooms.history_lines = 3));
    let (mut alice, mut bob) = server.join_pair("lobby", "alice", "bob");
    let (_, numbering, _) = ask(&mut bob, "/ids on");
    for number in 1..=10 {
        alice.send(format!("{number}\n"));
        bob.expect_line(&format!("#{number} alice: {number}"));
    }
    let (missed, ..) = ask(&mut bob, &format!("/ids {numbering} 2"));
    assert_eq!(missed, ["*** 5 lines before #8 are gone", "*** #8 alice: 8", "*** #9 alice: 9", "*** #10 alice: 10"]);
}

#[test]
fn room_that_is_opened_anew_has_another_numbering() {
    let server = TestServer::start();
    let mut alice = server.join("lobby", "alice");
    let (_, numbering, _) = ask(&mut alice, "/ids on");
    alice.send("one\n");
    alice.expect_line("#1 alice: one");
    assert_eq!(alice.leave(), [""; 0]);
    common::wait_until("the room is gone", || server.stats.rooms() == 0);
    let mut alice = server.join("lobby", "alice");
    alice.send("other\n");
    alice.expect_line("alice: other");
    let (missed, other, next) = ask(&mut alice, &format!("/ids {numbering} 1"));
    assert_eq!((missed, next), (Vec::new(), 2), "lines of another numbering say nothing");
    assert_ne!(other, numbering);
}

#[test]
fn numbers_end_with_a_move_to_another_room() {
    let server = TestServer::start();
    let mut alice = server.join("lobby", "alice");
    let mut bob = server.join("hall", "bob");
    ask(&mut bob, "/ids on");
    ask(&mut alice, "/ids on");
    alice.send("/join hall\n");
    bob.expect_line("alice has joined");
    bob.send("hello\n");
    bob.expect_line("#1 bob: hello");
    alice.skip_to_line("bob: hello");
}

#[test]
fn ignored_names_say_nothing_with_numbers_either() {
    let server = TestServer::start();
    let (mut alice, mut bob) = server.join_pair("lobby", "alice", "bob");
    alice.send("/ignore bob\n");
    alice.expect_line("*** lines of bob are hidden from now on: /unignore bob shows them");
    let (_, numbering, _) = ask(&mut alice, "/ids on");
    bob.send("one\n/me two\n");
    bob.skip_to_line("* bob two");
    alice.send("three\n");
    alice.expect_line("#3 alice: three");
    let (missed, ..) = ask(&mut alice, &format!("/ids {numbering} 0"));
    assert_eq!(missed, ["*** #3 alice: three"]);
    alice.send("/unignore bob\n");
    alice.expect_line("*** lines of bob are shown from now on");
    let (missed, ..) = ask(&mut alice, &format!("/ids {numbering} 0"));
    assert_eq!(missed, ["*** #1 bob: one", "*** #2 * bob two", "*** #3 alice: three"]);
}

#[test]
fn server_without_history_numbers_no_line() {
    let server = TestServer::start_with(test_settings(|settings| settings.rooms.history_lines = 0));
    let mut alice = server.join("lobby", "alice");
    alice.send("/ids on\nhello\n");
    alice.expect_line("*** ids is off: this server keeps no history, so it numbers no line");
    alice.expect_line("alice: hello");
}

#[test]
fn wrong_arguments_are_told() {
    let server = TestServer::start();
    let mut alice = server.join("lobby", "alice");
    for arguments in ["maybe", "0000000z 1", "00000001", "00000001 x", "00000001 -1", "1 1", "00000001 1 2", "on on"] {
        alice.send(format!("/ids {arguments}\n"));
        let told = alice.read_line();
        assert!(told.starts_with("*** ") && told.contains("/ids on") && !told.contains("ids is"), "{told}");
    }
}

/// Browsers and plain peers, with and without numbers, see one order.
#[test]
fn peers_with_numbers_get_the_lines_of_all_others() {
    let (server, address) = start_web(|settings| settings.live.rate = 0);
    let mut alice = server.join("lobby", "alice");
    let mut web = WebClient::join(address, "lobby", "web");
    alice.expect_line("web has joined");
    let mut plain = server.join("lobby", "plain");
    web.expect_line("plain has joined");
    alice.expect_line("plain has joined");
    web.send("/ids on");
    assert!(web.next_line().unwrap().starts_with("*** ids is on"));
    ask(&mut plain, "/ids on");
    let mut sender = alice.sender();
    let sending = std::thread::spawn(move || {
        for number in 1..=3_000 {
            sender.send(format!("{number} {}\n", "x".repeat(number % 90)));
        }
    });
    for number in 1..=3_000 {
        let line = format!("alice: {number} {}", "x".repeat(number % 90));
        alice.expect_line(&line);
        web.expect_line(&format!("#{number} {line}"));
        plain.expect_line(&format!("#{number} {line}"));
    }
    sending.join().unwrap();
}
