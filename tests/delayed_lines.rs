//! Lines that the server has received and not passed on yet: none is lost without a word, whatever their sender does.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::{Client, ServerProcess, TestServer, numbered_lines, test_settings};
use std::num::NonZeroU32;

const NOTICE: &str = "*** server is shutting down";

/// Starts a server that delays lines to `rate` lines a second after ten lines.
fn start_with_rate(rate: u32) -> TestServer {
    TestServer::start_with(test_settings(|settings| {
        settings.live.rate = rate;
        settings.live.burst = NonZeroU32::new(10).unwrap();
    }))
}

/// Reads `mallory: 0` up to `mallory: count - 1`.
#[track_caller]
fn expect_numbered(witness: &mut Client, count: usize) {
    for number in 0..count {
        witness.expect_line(&format!("mallory: {number}"));
    }
}

/// The sender closes with unread lines in its socket, so that the server's next write meets a reset.
#[test]
fn lines_of_a_sender_that_closed_are_said_at_the_rate_before_its_leave() {
    let server = start_with_rate(1_000);
    let mut witness = server.join("room", "witness");
    let mut mallory = server.connect();
    mallory.send("JOIN room mallory\n".to_owned() + &numbered_lines(8_000));
    drop(mallory);
    witness.expect_line("mallory has joined");
    expect_numbered(&mut witness, 8_000);
    witness.expect_line("mallory has left");
}

#[test]
fn lines_of_a_sender_that_was_reset_are_said_at_the_rate_before_its_leave() {
    let server = start_with_rate(500);
    let mut witness = server.join("room", "witness");
    let mut mallory = server.join("room", "mallory");
    witness.expect_line("mallory has joined");
    mallory.send(numbered_lines(3_000));
    witness.expect_line("mallory: 0");
    mallory.reset();
    for number in 1..3_000 {
        witness.expect_line(&format!("mallory: {number}"));
    }
    witness.expect_line("mallory has left");
    server.join("room", "mallory");
}

/// At the rate the commands would take minutes, and no client reads their answers.
#[test]
fn commands_of_a_sender_that_was_reset_do_not_delay_its_lines_and_its_leave() {
    let server = start_with_rate(10);
    let mut witness = server.join("room", "witness");
    let mut mallory = server.join("room", "mallory");
    witness.expect_line("mallory has joined");
    mallory.send("/help\n/who\n/unknown\n/ignore bob\n".repeat(400) + "first words\n/nick sally\nlast words\n");
    mallory.read_line();
    mallory.reset();
    for line in ["mallory: first words", "mallory is now known as sally", "sally: last words", "sally has left"] {
        witness.expect_line(line);
    }
}

#[test]
fn unfinished_last_line_of_a_delayed_sender_is_said() {
    let server = start_with_rate(100);
    let mut witness = server.join("room", "witness");
    let mut mallory = server.connect();
    mallory.send("JOIN room mallory\n".to_owned() + &numbered_lines(50) + "unfinished");
    mallory.half_close();
    witness.expect_line("mallory has joined");
    expect_numbered(&mut witness, 50);
    witness.expect_line("mallory: unfinished");
    witness.expect_line("mallory has left");
}

/// The rest of a line that was cut may be anything.
#[test]
fn unfinished_line_of_a_delayed_sender_that_was_reset_is_not_said() {
    let server = start_with_rate(100);
    let mut witness = server.join("room", "witness");
    let mut mallory = server.join("room", "mallory");
    witness.expect_line("mallory has joined");
    mallory.send(numbered_lines(50) + "pay 1000");
    witness.expect_line("mallory: 0");
    mallory.reset();
    for number in 1..50 {
        witness.expect_line(&format!("mallory: {number}"));
    }
    witness.expect_line("mallory has left");
}

/// At one line a second the lines would take hours.
#[test]
fn lines_that_the_rate_holds_back_are_said_before_the_shutdown_notice() {
    let mut server = start_with_rate(1);
    let mut witness = server.join("room", "witness");
    let mut senders: Vec<Client> = (0..5).map(|n| server.join("room", &format!("mallory{n}"))).collect();
    for sender in &mut senders {
        sender.send(numbered_lines(5_000));
    }
    witness.skip_to_line("mallory4: 3");
    server.begin_shutdown();
    let seen = witness.read_to_end();
    assert_eq!(seen.last().unwrap(), NOTICE);
    for n in 0..5 {
        let prefix = format!("mallory{n}: ");
        let last: Vec<&str> = seen.iter().filter_map(|line| line.strip_prefix(&prefix)).collect();
        let first: usize = last[0].parse().unwrap();
        let expected: Vec<String> = (first..5_000).map(|number| number.to_string()).collect();
        assert_eq!(last, expected, "lines of {prefix}");
    }
    // The end waits for output that the senders do not read.
    drop(senders);
    server.wait_for_exit();
}

/// The commands among the lines are run, too, and answered before the notice.
#[test]
fn commands_that_the_rate_holds_back_are_answered_before_the_shutdown_notice() {
    let mut server = start_with_rate(1);
    let mut alice = server.join("room", "alice");
    let mut mallory = server.join("room", "mallory");
    let commands = "/msg alice psst\n/nick m\n/last 1\n/rooms\n/who\n/wrong\n/me ends\n";
    mallory.send(numbered_lines(20) + commands);
    alice.skip_to_line("mallory: 3");
    server.begin_shutdown();
    let (heard, seen) = (alice.read_to_end(), mallory.read_to_end());
    for line in ["*** mallory whispers: psst", "mallory is now known as m", "* m ends"] {
        assert!(heard.contains(&line.to_owned()), "{line:?} is not in {heard:?}");
    }
    assert!(seen.iter().any(|line| line.starts_with("*** unknown command /wrong")), "{seen:?}");
    assert!(seen.iter().any(|line| line.starts_with("*** 1 room: ")), "{seen:?}");
    assert_eq!((heard.last().unwrap().as_str(), seen.last().unwrap().as_str()), (NOTICE, NOTICE));
    server.wait_for_exit();
}

/// The flush of the input takes what had arrived, and no more than a bound.
#[test]
fn sender_that_sends_on_and_on_does_not_delay_the_end() {
    let mut server = start_with_rate(1);
    let mut witness = server.join("room", "witness");
    let mallory = server.join("room", "mallory");
    let mut sender = mallory.sender();
    std::thread::scope(|scope| {
        scope.spawn(move || while sender.try_send(numbered_lines(1_000)).is_ok() {});
        witness.skip_to_line("mallory: 5");
        server.begin_shutdown();
        assert_eq!(witness.read_to_end().last().unwrap(), NOTICE);
        // The end waits for output that the sender does not read.
        mallory.stream().shutdown(std::net::Shutdown::Both).unwrap();
        drop(mallory);
        server.wait_for_exit();
    });
}

#[test]
fn lines_that_a_kick_drops_are_counted_in_the_log() {
    let mut server = ServerProcess::start(&["-v"]);
    let mut mallory = server.join("room", "mallory");
    mallory.send("x".repeat(20_001) + "\none\ntwo\n");
    mallory.expect_error();
    server.send_signal("TERM");
    let (_, log) = server.wait_for_exit();
    let closed = log.lines().find(|line| line.contains("name=\"mallory\"") && line.contains("closed"));
    assert!(closed.is_some_and(|line| line.contains("lines_dropped=3")), "the line too long and two more: {log}");
}
