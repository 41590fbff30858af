//! What clients see when the server ends.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::{Client, DEADLINE, ServerProcess, TestServer, test_settings};
use std::time::Duration;

const NOTICE: &str = "*** server is shutting down";

/// Connections that are lost in the very moment in which the server ends: none of them may be
/// waited for in vain. (The farewell once missed a goodbye that came together with a failed
/// write.)
#[test]
fn clients_reset_during_shutdown_do_not_delay_it() {
    for _ in 0..20 {
        let mut server = TestServer::start();
        let clients: Vec<Client> = (0..50).map(|n| server.join("room", &format!("u{n}"))).collect();
        clients.into_iter().for_each(Client::reset);
        server.begin_shutdown();
        server.wait_for_exit();
    }
}

/// Who is at the door in that moment is either let in and sees the notice, or gets the error;
/// never both.
#[test]
fn clients_that_join_during_shutdown_are_members_or_refused() {
    for _ in 0..5 {
        let mut server = TestServer::start();
        let mut clients: Vec<Client> = (0..20).map(|_| server.connect()).collect();
        for (n, client) in clients.iter_mut().enumerate() {
            client.send(format!("JOIN room{} u{n}\n", n % 3));
        }
        server.begin_shutdown();
        for (n, client) in clients.iter_mut().enumerate() {
            let seen = client.read_to_end();
            if seen[0] == "ERROR" {
                assert!(seen.len() == 2 && seen[1].contains("shutting down"), "{seen:?}");
            } else {
                assert_eq!((&*seen[0], &**seen.last().unwrap()), (&*format!("u{n} has joined"), NOTICE));
                assert!(!seen.iter().any(|line| line == "ERROR"), "{seen:?}");
            }
        }
        server.wait_for_exit();
    }
}

/// Who goes from room to room in that moment is a member all the time, and sees the notice.
#[test]
fn clients_that_move_during_shutdown_see_the_notice() {
    for _ in 0..10 {
        let mut server = TestServer::start();
        let mut clients: Vec<Client> = (0..16).map(|n| server.join("a", &format!("u{n}"))).collect();
        for (n, client) in clients.iter_mut().enumerate() {
            client.send(if n % 2 == 0 { "/join b\n/join a\n" } else { "/join c\n/join a\n" }.repeat(500));
        }
        clients[15].skip_to_line("u15 has joined");
        server.begin_shutdown();
        for mut client in clients {
            let seen = client.read_to_end();
            // Of one room or of both, and lines of the other one may come behind it.
            assert!(seen.iter().any(|line| line == NOTICE), "{:?}", &seen[seen.len().saturating_sub(3)..]);
            assert!(!seen.iter().any(|line| line == "ERROR"));
        }
        server.wait_for_exit();
    }
}

#[test]
fn members_see_the_notice_then_the_end_and_the_exit_code_is_0() {
    for signal in ["TERM", "INT"] {
        let mut server = ServerProcess::start(&[]);
        let mut alice = server.join("a", "alice");
        let mut bob = server.join("b", "bob");
        let mut stranger = Client::connect(server.address);
        alice.send("last words\n");
        alice.expect_line("alice: last words");
        server.send_signal(signal);
        assert_eq!(alice.read_to_end(), [NOTICE], "and nobody's `has left`");
        assert_eq!(bob.read_to_end(), [NOTICE]);
        assert!(stranger.expect_error().contains("shutting down"));
        assert_eq!(server.wait_for_exit().0, Some(0), "after SIG{signal}");
    }
}

/// Lets `alice` say so much that the sleeping `bob`'s socket and backlog hold a part of it.
fn put_to_sleep(alice: &mut Client, lines: usize) -> Vec<String> {
    let mut sender = alice.sender();
    let said = "x".repeat(9_990);
    let expected: Vec<String> = (0..lines).map(|number| format!("alice: {number} {said}")).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| expected.iter().for_each(|line| alice.expect_line(line)));
        for line in &expected {
            sender.send(format!("{}\n", line.strip_prefix("alice: ").unwrap()));
        }
    });
    expected
}

/// A backlog that holds what [`put_to_sleep`] says.
fn large_backlog(settings: &mut roomcast::Settings) {
    settings.live.backlog = 64 << 20;
    settings.live.rate = 0;
}

#[test]
fn slow_reader_gets_every_line_before_the_end() {
    let mut server = TestServer::start_with(test_settings(large_backlog));
    let mut alice = server.join("room", "alice");
    let mut bob = server.join("room", "bob");
    alice.expect_line("bob has joined");
    let mut owed = put_to_sleep(&mut alice, 1_500);
    server.begin_shutdown();
    assert_eq!(alice.read_to_end(), [NOTICE]);
    owed.push(NOTICE.to_owned());
    assert!(bob.read_to_end() == owed, "every line, then the notice, then the end");
    server.wait_for_exit();
}

/// The rate limit's own deadline once ended the flushing.
#[test]
fn reader_beyond_its_rate_gets_every_line_before_the_end() {
    let burst = std::num::NonZeroU32::new(2_000).unwrap();
    let mut server = TestServer::start_with(test_settings(|settings| {
        large_backlog(settings);
        settings.live.rate = 1;
        settings.live.burst = burst;
    }));
    let mut alice = server.join("room", "alice");
    let mut bob = server.join("room", "bob");
    alice.expect_line("bob has joined");
    let owed = put_to_sleep(&mut alice, 1_500);
    bob.send("b\n".repeat(2_100));
    for _ in 0..1_999 {
        alice.expect_line("bob: b");
    }
    server.begin_shutdown();
    // One more line may have passed for each second so far.
    let more = alice.read_to_end().len();
    let seen = bob.read_to_end();
    assert_eq!((seen.len(), seen.last().unwrap().as_str()), (1_500 + 1_999 + more, NOTICE));
    assert!(seen[..1_500] == owed);
    server.wait_for_exit();
}

#[test]
fn stopped_reader_is_closed_at_the_drain_deadline() {
    let mut server = TestServer::start_with(test_settings(|settings| {
        large_backlog(settings);
        settings.live.drain = Duration::from_millis(50);
    }));
    let mut alice = server.join("room", "alice");
    let _bob = server.join("room", "bob");
    alice.expect_line("bob has joined");
    put_to_sleep(&mut alice, 1_500);
    server.begin_shutdown();
    server.wait_for_exit();
}

#[test]
fn second_signal_ends_the_server_at_once() {
    let drain = humantime::format_duration(10 * DEADLINE).to_string();
    let mut server = ServerProcess::start(&["--backlog", "64MiB", "--rate", "0", "--drain", &drain]);
    let mut alice = server.join("room", "alice");
    let _bob = server.join("room", "bob");
    alice.expect_line("bob has joined");
    put_to_sleep(&mut alice, 1_500);
    server.send_signal("INT");
    assert_eq!(alice.read_to_end(), [NOTICE], "it ends, and waits for bob");
    server.send_signal("TERM");
    assert_eq!(server.wait_for_exit().0, Some(128 + 15));
}
