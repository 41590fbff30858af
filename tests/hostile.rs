//! Bad input: its sender gets an error, and other members are not affected.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::{Client, ServerProcess, TestServer, test_settings, wait_until};
use std::num::NonZeroU32;
use std::time::Duration;

/// Two members that talk while other clients misbehave.
struct Neighbours(Client, Client);

impl Neighbours {
    fn new(server: &TestServer) -> Self {
        let (alice, bob) = server.join_pair("room", "alice", "bob");
        Self(alice, bob)
    }

    #[track_caller]
    fn talk(&mut self) {
        self.0.send("how are you\n");
        self.1.send("fine\n");
        for client in [&mut self.0, &mut self.1] {
            let mut lines = [client.read_line(), client.read_line()];
            lines.sort();
            assert_eq!(lines, ["alice: how are you", "bob: fine"]);
        }
    }
}

#[test]
fn first_line_of_a_megabyte_gets_an_error() {
    let server = TestServer::start();
    let mut neighbours = Neighbours::new(&server);
    for end in ["", "\n"] {
        let mut client = server.connect();
        client.send(format!("JOIN {}{end}", "x".repeat(1 << 20)));
        assert!(
            client.expect_error().contains("longer than 20000 bytes"),
            "the reason does not arrive after the whole line is sent"
        );
        neighbours.talk();
    }
}

#[test]
fn endless_line_is_closed_while_it_is_sent() {
    let server = TestServer::start();
    let mut neighbours = Neighbours::new(&server);
    let mut client = server.join("other", "mallory");
    // The server closes after 20,001 bytes and a time in which it discards input.
    let stretch = "x".repeat(64 << 10);
    while client.try_send(&stretch).is_ok() {}
    neighbours.talk();
    wait_until("the endless line's connection is closed", || server.stats.connections() == 2);
}

#[test]
fn random_bytes_affect_only_their_sender() {
    let server = TestServer::start();
    let mut neighbours = Neighbours::new(&server);
    let mut random = fastrand::Rng::with_seed(1);
    for round in 0..60 {
        let mut bytes: Vec<u8> = (0..random.usize(..3_000)).map(|_| random.u8(..)).collect();
        // Every third round may contain telnet commands.
        let commands = round % 3 == 0;
        bytes.retain(|byte| commands || *byte != 0xFF);
        let mut client = server.connect();
        if round % 2 == 0 {
            client.send(format!("JOIN other r{round}\n"));
        }
        // The server may have closed already, since most random first lines are no JOIN.
        let _ = client.try_send(&bytes);
        client.half_close();
        let seen = client.read_to_end_lossy();
        let expected = if round % 2 == 0 { format!("r{round} has joined") } else { "ERROR".to_owned() };
        assert!(seen.lines().any(|line| line.ends_with(&expected)), "{seen:?}");
        let lines = bytes.split(|byte| *byte == b'\n').count() - 1;
        assert!(round % 2 == 1 || commands || seen.lines().count() >= lines, "{lines} of {seen:?}");
    }
    neighbours.talk();
}

/// A NUL is dropped. An FF before a byte that is no telnet command is data, and no name may contain it.
#[test]
fn nul_or_ff_at_any_position_is_handled() {
    let server = TestServer::start();
    let (join, line) = (&b"JOIN room x\n"[..], &b"hello\n"[..]);
    for byte in [0, 0xFF] {
        for place in 0..join.len() + line.len() {
            let mut bytes = [join, line].concat();
            bytes.insert(place, byte);
            let mut client = server.connect();
            client.send(&bytes);
            client.half_close();
            let seen = client.read_to_end();
            if byte == 0xFF && place < join.len() {
                assert_eq!(seen[0], "ERROR", "{byte} at {place}: {seen:?}");
                continue;
            }
            let text = String::from_utf8_lossy(&bytes[join.len()..]);
            let text = if byte == 0 { "hello" } else { text.trim_end() };
            assert_eq!(seen, ["x has joined", &format!("x: {text}")], "{byte} at {place}");
        }
    }
}

/// A doubled FF is one byte of data, also when the rate limit delays the rest of its line.
#[test]
fn doubled_ff_stays_one_byte_when_the_rate_limit_divides_it() {
    let server = TestServer::start_with(test_settings(|settings| {
        settings.live.rate = 10;
        settings.live.burst = NonZeroU32::MIN;
    }));
    let mut alice = server.connect();
    alice.send(b"JOIN room alice\n\xFF\xFFab\n");
    alice.expect_line("alice has joined");
    alice.expect_line("alice: \u{FFFD}ab");
}

#[test]
fn reset_in_the_middle_of_a_line_drops_the_line() {
    let server = TestServer::start();
    let mut neighbours = Neighbours::new(&server);
    let mut mallory = server.join("room", "mallory");
    neighbours.0.expect_line("mallory has joined");
    neighbours.1.expect_line("mallory has joined");
    mallory.send("whole\nhalf of a li");
    for client in [&mut neighbours.0, &mut neighbours.1] {
        client.expect_line("mallory: whole");
    }
    mallory.reset();
    for client in [&mut neighbours.0, &mut neighbours.1] {
        client.expect_line("mallory has left");
    }
    neighbours.talk();
}

/// A client that closes with unread input resets the connection. The server still delivers the lines that
/// arrived before the reset.
#[test]
fn lines_of_a_client_that_never_reads_are_delivered() {
    let server = TestServer::start();
    let mut alice = server.join("room", "alice");
    for round in 0..100 {
        let mut client = Client::connect_raw(server.address);
        client.send(format!("JOIN room r{round}\nhello\nworld\n"));
        // Closing with the welcome unread resets the connection.
        drop(client);
        for line in ["has joined", "has left"] {
            if line == "has left" {
                alice.expect_line(&format!("r{round}: hello"));
                alice.expect_line(&format!("r{round}: world"));
            }
            alice.expect_line(&format!("r{round} {line}"));
        }
    }
}

/// A read after a write that found the reset must not report an end of input: the unfinished line would
/// be delivered.
#[test]
fn reset_found_by_a_write_drops_the_unfinished_line() {
    let server = TestServer::start();
    let mut alice = server.join("room", "alice");
    for _ in 0..200 {
        let mut mallory = server.join("room", "mallory");
        alice.expect_line("mallory has joined");
        mallory.send("half of a li");
        alice.send("a\nb\nc\n");
        mallory.reset();
        alice.send("d\ne\nf\n");
        let mut received: Vec<String> = (0..7).map(|_| alice.read_line()).collect();
        received.retain(|line| !line.starts_with("alice: "));
        assert_eq!(received, ["mallory has left"]);
    }
}

#[test]
fn half_close_leaves_the_room() {
    let server = TestServer::start();
    let mut neighbours = Neighbours::new(&server);
    let mut mallory = server.join("room", "mallory");
    mallory.send("bye\n");
    mallory.half_close();
    assert_eq!(mallory.read_to_end(), ["mallory: bye"]);
    for client in [&mut neighbours.0, &mut neighbours.1] {
        for line in ["mallory has joined", "mallory: bye", "mallory has left"] {
            client.expect_line(line);
        }
    }
    neighbours.talk();
}

fn check_silent_sockets(count: usize, server: &ServerProcess) {
    let mut alice = server.join("room", "alice");
    let mut crowd: Vec<Client> = (0..count).map(|_| Client::connect_raw(server.address)).collect();
    alice.send("still here\n");
    alice.expect_line("alice: still here");
    for client in &mut crowd {
        client.expect_text(common::WELCOME);
        assert!(client.expect_error().contains("no JOIN line came"));
    }
    let resident = server.status_kib("VmHWM");
    assert!(resident < 20_000 + 8 * count, "{resident} KiB for {count} sockets");
    alice.send("still here\n");
    alice.expect_line("alice: still here");
}

#[test]
fn thousand_silent_sockets_are_closed_in_bounded_memory() {
    check_silent_sockets(1_000, &ServerProcess::start(&["--login-timeout", "1s"]));
}

/// Opens 10,000 descriptors in each of two processes.
#[test]
#[ignore = "stress: run it in release mode"]
fn ten_thousand_silent_sockets_are_closed_in_bounded_memory() {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    check_silent_sockets(10_000, &ServerProcess::start(&["--login-timeout", "5s"]));
}

#[test]
fn stopped_reader_does_not_delay_other_members() {
    let server = TestServer::start_with(test_settings(|settings| {
        settings.live.stall_timeout = Duration::from_secs(3600);
        (settings.live.rate, settings.live.byte_rate) = (0, 0);
    }));
    let mut neighbours = Neighbours::new(&server);
    let _mallory = server.join("room", "mallory");
    neighbours.0.expect_line("mallory has joined");
    neighbours.1.expect_line("mallory has joined");
    let line = "x".repeat(19_000);
    for _ in 0..1_000 {
        neighbours.0.send(format!("{line}\n"));
        neighbours.0.read_line();
        neighbours.1.read_line();
    }
    neighbours.talk();
}
