//! Graceful shutdown as clients see it.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::{Client, DEADLINE, LOOPBACK, ServerProcess, TestServer, test_settings, wait_until};
use roomcast::{BoundAddress, Server};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

const NOTICE: &str = "*** server is shutting down";

/// Connections that are reset during the shutdown must not delay it, also when the room's last event arrives
/// together with a failed write.
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

/// A client that joins during the shutdown gets the notice as a member, or the error, and never both.
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

/// A client in the kernel's queue has its connection, and does not know that the server has not accepted it.
#[test]
fn clients_in_the_accept_queue_are_told_about_the_shutdown() {
    const CLIENTS: usize = 8;
    let settings = test_settings(|settings| settings.network.listen = vec![LOOPBACK]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let reading = runtime.block_on(async {
        let server = Server::bind(&settings, CLIENTS).unwrap();
        let Some(BoundAddress::Tcp(address)) = server.addresses().pop() else {
            panic!("the listener is a TCP listener")
        };
        let reading = (0..CLIENTS).map(|n| {
            let mut client = Client::connect_raw(address);
            client.send(format!("JOIN room u{n}\n"));
            thread::spawn(move || client.read_to_end())
        });
        let reading: Vec<_> = reading.collect();
        server.run(async {}).await;
        reading
    });
    for client in reading {
        let seen = client.join().unwrap();
        assert!(seen.len() == 2 && seen[0] == "ERROR" && seen[1].contains("shutting down"), "{seen:?}");
    }
}

/// A client that moves during the shutdown is always a member of a room, and gets the notice.
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
            let end = &seen[seen.len().saturating_sub(3)..];
            assert_eq!(end.last().map(String::as_str), Some(NOTICE), "{end:?}");
            assert_eq!(seen.iter().filter(|line| *line == NOTICE).count(), 1, "{end:?}");
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
        assert_eq!(alice.read_to_end(), [NOTICE], "the notice is not the only line");
        assert_eq!(bob.read_to_end(), [NOTICE]);
        assert!(stranger.expect_error().contains("shutting down"));
        assert_eq!(server.wait_for_exit().0, Some(0), "after SIG{signal}");
    }
}

/// Sends so many lines from `alice` that they exceed the socket buffer of a member that does not read.
/// Returns the lines that each member must receive.
fn fill_backlog(alice: &mut Client, lines: usize) -> Vec<String> {
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

/// Returns settings with a backlog that holds all lines of [`fill_backlog`].
fn set_large_backlog(settings: &mut roomcast::Settings) {
    settings.live.backlog = 64 << 20;
    (settings.live.rate, settings.live.byte_rate) = (0, 0);
}

#[test]
fn slow_reader_gets_every_line_before_the_end() {
    let mut server = TestServer::start_with(test_settings(set_large_backlog));
    let (mut alice, mut bob) = server.join_pair("room", "alice", "bob");
    let mut expected = fill_backlog(&mut alice, 1_500);
    server.begin_shutdown();
    assert_eq!(alice.read_to_end(), [NOTICE]);
    expected.push(NOTICE.to_owned());
    assert!(bob.read_to_end() == expected, "bob must receive every line, then the notice, then the end");
    server.wait_for_exit();
}

/// The deadline of the rate limit must not end the flush.
#[test]
fn reader_beyond_its_rate_gets_every_line_before_the_end() {
    let burst = std::num::NonZeroU32::new(2_000).unwrap();
    let mut server = TestServer::start_with(test_settings(|settings| {
        set_large_backlog(settings);
        settings.live.rate = 1;
        settings.live.burst = burst;
    }));
    let (mut alice, mut bob) = server.join_pair("room", "alice", "bob");
    let expected = fill_backlog(&mut alice, 1_500);
    bob.send("b\n".repeat(2_100));
    for _ in 0..1_999 {
        alice.expect_line("bob: b");
    }
    server.begin_shutdown();
    // The rate may have admitted one more line for each second.
    let more = alice.read_to_end().len();
    let seen = bob.read_to_end();
    assert_eq!((seen.len(), seen.last().unwrap().as_str()), (1_500 + 1_999 + more, NOTICE));
    assert!(seen[..1_500] == expected);
    server.wait_for_exit();
}

#[test]
fn stopped_reader_is_closed_at_the_drain_deadline() {
    let mut server = TestServer::start_with(test_settings(|settings| {
        set_large_backlog(settings);
        settings.live.drain = Duration::from_millis(50);
    }));
    let (mut alice, _bob) = server.join_pair("room", "alice", "bob");
    fill_backlog(&mut alice, 1_500);
    server.begin_shutdown();
    server.wait_for_exit();
    common::wait_until("no task of the server is left", || server.alive_tasks() == 0);
}

#[test]
fn second_signal_ends_the_server_at_once() {
    let drain = humantime::format_duration(10 * DEADLINE).to_string();
    let mut server =
        ServerProcess::start(&["--backlog", "64MiB", "--rate", "0", "--byte-rate", "0", "--drain", &drain]);
    let (mut alice, _bob) = server.join_pair("room", "alice", "bob");
    fill_backlog(&mut alice, 1_500);
    server.send_signal("INT");
    assert_eq!(alice.read_to_end(), [NOTICE], "the first signal must send the notice to alice");
    server.send_signal("TERM");
    assert_eq!(server.wait_for_exit().0, Some(128 + 15));
}

/// The commands that a busy peer sends on and on; `{}` is its number.
const COMMANDS: [&str; 9] =
    ["/who", "/rooms", "/last", "/msg busy0 hi", "/nick n{}", "/nick m{}", "/join other x{}", "/nonsense", "a line"];

#[test]
fn notice_is_the_last_line_of_peers_that_are_busy_with_commands() {
    for workers in [1, 2, 4] {
        let mut server = TestServer::start_with(test_settings(|settings| {
            settings.network.workers = Some(workers);
            (settings.live.rate, settings.live.byte_rate) = (0, 0);
        }));
        let busy: Vec<_> = (0..8 * COMMANDS.len()).map(|n| server.join("room", &format!("busy{n}"))).collect();
        let start = Barrier::new(busy.len() + 1);
        thread::scope(|scope| {
            for (number, mut client) in busy.into_iter().enumerate() {
                let start = &start;
                scope.spawn(move || {
                    let command = COMMANDS[number % COMMANDS.len()].replace("{}", &number.to_string());
                    let back =
                        if command.starts_with("/join") { format!("/join room y{number}\n") } else { String::new() };
                    let commands = format!("{command}\n{back}").repeat(200);
                    // The peers' own input and that of the others must not fill the sockets before they read.
                    let mut sender = client.sender();
                    let send = thread::spawn(move || sender.try_send(commands).is_ok());
                    start.wait();
                    let lines = client.read_to_end();
                    let _ = send.join().unwrap();
                    let notices = lines.iter().filter(|line| *line == "*** server is shutting down").count();
                    assert_eq!(notices, 1, "{command}");
                    assert_eq!(lines.last().unwrap(), "*** server is shutting down", "{command}");
                });
            }
            let lines = server.stats.counters().lines;
            start.wait();
            wait_until("the peers are in the middle", || server.stats.counters().lines > lines + 500);
            server.begin_shutdown();
        });
        server.wait_for_exit();
    }
}
