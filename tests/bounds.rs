//! Limits and timeouts: the behaviour at each of them.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::telnet::AGREEMENT;
use common::{
    Client, ServerProcess, TestServer, numbered_lines, read_lines_and_skip_notices, test_settings, wait_until,
};
use rlimit::Resource;
use roomcast::SlowReader;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::{Duration, Instant};

/// Long enough for a JOIN on a busy machine.
const SHORT: Duration = Duration::from_secs(2);

#[test]
fn login_timeout_closes_a_connection_without_a_join_line() {
    let server = TestServer::start_with(test_settings(|settings| {
        settings.live.login_timeout = SHORT;
    }));
    let mut silent = server.connect();
    assert!(silent.expect_error().contains("no JOIN line came within 2 s"));
    // The timeout counts from the connect: single bytes do not extend it.
    let mut slow = server.connect();
    while slow.try_send("J").is_ok() {}
    // The login timeout does not apply to a member.
    let mut alice = server.join("room", "alice");
    wait_until("both connections without a join are closed", || server.stats.connections() == 1);
    alice.send("still here\n");
    alice.expect_line("alice: still here");
}

#[test]
fn connection_beyond_the_maximum_gets_an_error() {
    let server = TestServer::start_with(test_settings(|settings| {
        settings.network.max_connections = NonZeroUsize::new(2);
    }));
    let (mut alice, bob) = (server.join("room", "alice"), server.join("room", "bob"));
    for _ in 0..100 {
        let mut refused = Client::connect_raw(server.address);
        assert!(refused.expect_error().contains("server is full"));
    }
    bob.leave();
    wait_until("bob's connection is closed", || server.stats.connections() == 1);
    server.join("room", "carol");
    alice.expect_line("bob has joined");
}

/// The accept loop waits while no descriptor is free, and continues when one is.
/// More of them than the server closes lingeringly at a time, each of which waits.
#[test]
fn each_connection_of_a_burst_beyond_the_maximum_is_told() {
    let server = TestServer::start_with(test_settings(|settings| {
        settings.network.max_connections = NonZeroUsize::new(1);
    }));
    let _member = server.join("room", "alice");
    let refused: Vec<Client> = (0..100).map(|_| Client::connect_raw(server.address)).collect();
    for mut client in refused {
        assert_eq!(client.read_to_end(), ["ERROR", "server is full: try again later"]);
    }
}

#[test]
fn server_without_free_descriptors_accepts_again_after_one_is_free() {
    let server = ServerProcess::start(&["-v"]);
    let mut alice = server.join("room", "alice");
    let pid = server.process.id();
    let most = rlimit::getrlimit(Resource::NOFILE).unwrap().1;
    let limit = |files: u64| {
        let pid = pid.try_into().unwrap();
        rlimit::prlimit(pid, Resource::NOFILE, Some((files, most)), None).unwrap();
    };
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    limit(open as u64);
    // The kernel completes these connections, and the server does not accept them.
    let mut waiting: Vec<Client> = (0..3).map(|_| Client::connect_raw(server.address)).collect();
    for _ in 0..100 {
        alice.send("still here\n");
        alice.expect_line("alice: still here");
    }
    limit(most);
    for client in &mut waiting {
        client.expect_text(common::WELCOME);
    }
    server.send_signal("TERM");
    let (code, log) = { server }.wait_for_exit();
    assert_eq!(code, Some(0));
    let complaints = log.lines().filter(|line| line.contains("can't accept")).count();
    assert!((1..50).contains(&complaints), "the pauses between attempts do not grow: {complaints} attempts");
}

#[test]
fn lines_beyond_the_rate_are_delayed_and_not_lost() {
    let burst = NonZeroU32::new(10).unwrap();
    let server = TestServer::start_with(test_settings(|settings| {
        settings.live.rate = 100;
        settings.live.burst = burst;
    }));
    let (mut alice, mut bob) = server.join_pair("room", "alice", "bob");
    let start = Instant::now();
    alice.send(numbered_lines(300));
    // A sender within the rate is not delayed.
    bob.send("hello\n");
    let mut seen: Vec<String> = (0..301).map(|_| bob.read_line()).collect();
    let hello = seen.iter().position(|line| line == "bob: hello").unwrap();
    assert!(hello < 300, "bob's line waited for alice's last line");
    seen.remove(hello);
    assert!(seen.into_iter().eq((0..300).map(|number| format!("alice: {number}"))));
    // The JOIN and 9 lines are the burst, and the rate limits the others.
    assert!(start.elapsed() >= Duration::from_millis(2_900), "{:?}", start.elapsed());
}

#[test]
fn full_inbox_blocks_its_senders_and_loses_no_line() {
    let server = TestServer::start_with(test_settings(|settings| {
        settings.rooms.inbox_bytes = 1_000;
        (settings.live.rate, settings.live.byte_rate) = (0, 0);
    }));
    let mut witness = server.join("room", "witness");
    std::thread::scope(|scope| {
        for sender in 0..4 {
            let mut client = server.join("room", &format!("s{sender}"));
            scope.spawn(move || {
                let mut sender = client.sender();
                std::thread::scope(|scope| {
                    scope.spawn(move || client.read_to_end());
                    sender.send(numbered_lines(5_000));
                    sender.half_close();
                });
            });
        }
        let mut next = [0; 4];
        while next != [5_000; 4] {
            let line = witness.read_line();
            if let Some((sender, number)) = line.strip_prefix('s').and_then(|line| line.split_once(": ")) {
                let next = &mut next[sender.parse::<usize>().unwrap()];
                assert_eq!(number, next.to_string());
                *next += 1;
            }
        }
    });
}

/// Sends lines until `done` returns true for a received one. The sender reads all lines, so that it is
/// never a slow reader.
fn send_until(alice: &mut Client, mut done: impl FnMut(&str) -> bool) -> usize {
    let line = "x".repeat(10_000);
    for said in 1.. {
        alice.send(format!("{line}\n"));
        loop {
            let received = alice.read_line();
            if done(&received) {
                return said;
            }
            if received.starts_with("alice: ") {
                break;
            }
        }
    }
    unreachable!("1.. has no end")
}

#[test]
fn stalled_reader_is_closed() {
    let server = TestServer::start_with(test_settings(|settings| {
        settings.live.stall_timeout = SHORT;
        (settings.live.rate, settings.live.byte_rate) = (0, 0);
    }));
    let (mut alice, _bob) = server.join_pair("room", "alice", "bob");
    send_until(&mut alice, |received| received == "bob has left");
}

#[test]
fn slow_reader_is_kicked_with_a_reason() {
    let config = test_settings(|settings| {
        settings.live.slow_reader = SlowReader::Kick;
        settings.live.backlog = 100_000;
        (settings.live.rate, settings.live.byte_rate) = (0, 0);
    });
    let server = TestServer::start_with(config);
    let (mut alice, mut bob) = server.join_pair("room", "alice", "bob");
    send_until(&mut alice, |received| received == "bob has left");
    let mut seen = bob.read_to_end();
    let reason = seen.pop().unwrap();
    assert!(reason.contains("more than 100000 bytes waited"), "{reason}");
    assert_eq!(seen.pop().unwrap(), "ERROR");
}

/// A sender that reads nothing is kicked while it waits for a full inbox: the event of the inbox must
/// not hide the one of the output buffer.
#[test]
fn slow_reader_that_floods_is_kicked_while_its_input_is_blocked() {
    let config = test_settings(|settings| {
        settings.live.slow_reader = SlowReader::Kick;
        settings.live.backlog = 200_000;
        settings.rooms.inbox_bytes = 200;
        settings.live.max_line = 100;
        (settings.live.rate, settings.live.byte_rate) = (0, 0);
    });
    let server = TestServer::start_with(config);
    let mut alice = server.join("room", "alice");
    for _ in 0..3 {
        let mallory = server.join("room", "mallory");
        alice.expect_line("mallory has joined");
        let mut sender = mallory.sender();
        // The sending fails when the server has closed.
        let flood = std::thread::spawn(move || while sender.try_send("a\nb\nc\n".repeat(10_000)).is_ok() {});
        alice.skip_to_line("mallory has left");
        // The reason may be lost: the server does not read a flooding peer to its end.
        drop(mallory);
        flood.join().unwrap();
    }
}

#[test]
fn slow_reader_is_told_how_many_lines_it_missed() {
    let server = TestServer::start_with(test_settings(|settings| {
        settings.live.backlog = 100_000;
        (settings.live.rate, settings.live.byte_rate) = (0, 0);
    }));
    let (mut alice, mut bob) = server.join_pair("room", "alice", "bob");
    let total = 1_000;
    let line = "x".repeat(20_000 - 10);
    for number in 0..total {
        alice.send(format!("{number} {line}\n"));
        assert!(alice.read_line().starts_with(&format!("alice: {number} ")));
    }
    let lost = read_lines_and_skip_notices(&mut bob, total, |number| format!("alice: {number} {line}"));
    assert!(lost > 0, "no line was skipped, although 20 MB exceed a socket and 100 kB");
    alice.send("and on\n");
    bob.expect_line("alice: and on");
}

/// Replies count as lines in the output buffer of a peer that does not read.
#[test]
fn unread_replies_are_skipped_and_counted() {
    const ASKED: usize = 30_000;
    let server = TestServer::start_with(test_settings(|settings| {
        settings.live.backlog = 100_000;
        (settings.live.rate, settings.live.byte_rate) = (0, 0);
    }));
    let (mut alice, mut mallory) = server.join_pair("room", "alice", "mallory");
    mallory.send(format!("{}done\n", "/help\n".repeat(ASKED)));
    alice.expect_line("mallory: done");
    let (mut shown, mut lost) = (0, 0);
    for line in mallory.leave() {
        match line.strip_prefix("*** ").and_then(|told| told.split_once(" lines skipped")) {
            Some((count, "")) => lost += count.parse::<usize>().unwrap(),
            _ => shown += 1,
        }
    }
    assert!(lost > 0, "no line was skipped, although 20 MB exceed a socket and 100 kB");
    let mut bob = server.join("room", "bob");
    bob.send("/help\ndone\n");
    let help = std::iter::from_fn(|| Some(bob.read_line())).take_while(|line| line != "bob: done").count();
    assert_eq!(shown + lost, ASKED * help + 1, "a reply was neither received nor counted as skipped");
}

/// A reply does not extend the time in which a peer must read.
#[test]
fn stalled_reader_is_closed_although_it_sends_commands() {
    let server = TestServer::start_with(test_settings(|settings| {
        settings.live.stall_timeout = SHORT;
        settings.live.backlog = 100_000;
        (settings.live.rate, settings.live.byte_rate) = (0, 0);
    }));
    let (mut alice, bob) = server.join_pair("room", "alice", "bob");
    let mut sender = bob.sender();
    // The second part is an Are You There, which is answered once a second.
    let asked = std::thread::spawn(move || while sender.try_send(b"/help\n\xFF\xF6").is_ok() {});
    alice.expect_line("bob has left");
    drop(bob);
    asked.join().unwrap();
}

/// The line editor draws after each telnet command, so a short input can cause a long output.
#[test]
fn line_editor_output_is_bounded_while_it_waits_for_its_reader() {
    /// The number of pairs of a Ctrl-L, which redraws the row, and a doubled FF, which adds a character.
    const KEYS: usize = 4_000;
    let server = ServerProcess::start(&["--rate", "0", "--byte-rate", "0"]);
    let (mut alice, mut mallory) = server.join_pair("room", "alice", "mallory");
    // The bytes after the agreement announce a window of 500 columns.
    mallory.send([b"/ui on\r\n", AGREEMENT, b"\xFF\xFA\x1F\x01\xF4\x00\x18\xFF\xF0hi\r\n"].concat());
    alice.expect_line("mallory: hi");
    let before = server.status_kib("VmHWM");
    mallory.send([b"\x0C\xFF\xFF".repeat(KEYS), b"\r".to_vec()].concat());
    // Drawing may take long on a busy machine, so each read has a deadline of its own.
    let drawn = mallory.read_until_bytes("mallory: \u{FFFD}").len();
    assert_eq!(alice.read_line(), format!("mallory: {}", "\u{FFFD}".repeat(KEYS)));
    let grown = server.status_kib("VmHWM") - before;
    mallory.half_close();
    let drawn = drawn + mallory.read_to_end_lossy().len();
    // A row of 500 columns for each pair would be more than 3 MiB.
    assert!(drawn < 1 << 20, "{drawn} bytes were drawn");
    assert!(grown < 2 << 10, "{grown} KiB for {drawn} bytes that were drawn");
}

/// The input line refuses characters beyond the longest line, and its row says so; other members are not delayed.
#[test]
fn paste_of_a_megabyte_fills_the_input_line() {
    let server = TestServer::start();
    let (mut alice, mut mallory) = server.join_pair("room", "alice", "mallory");
    mallory.send([b"/ui on\r\n", AGREEMENT].concat());
    mallory.read_until_bytes("*** ui is on\r\n");
    let mut sender = mallory.sender();
    std::thread::scope(|scope| {
        scope.spawn(move || sender.send([vec![b'x'; 1 << 20], b"\r".to_vec()].concat()));
        mallory.read_until_bytes("[full] room> ");
        alice.send("still quick\n");
        alice.expect_line("alice: still quick");
        alice.expect_line(&format!("mallory: {}", "x".repeat(20_000)));
        mallory.half_close();
        mallory.read_to_end_lossy();
    });
}

/// A peer's next history request waits until the one before is answered, so requests do not fill the inbox.
#[test]
fn history_requests_are_answered_one_at_a_time() {
    const ASKED: u64 = 300;
    let server = TestServer::start_with(test_settings(|settings| {
        (settings.live.rate, settings.live.byte_rate) = (0, 0);
        settings.network.workers = Some(1);
    }));
    let mut alice = server.join("room", "alice");
    let before = server.stats.counters().passes;
    alice.send("/last 1\n".repeat(300));
    for _ in 0..ASKED {
        alice.expect_line("*** alice has joined");
    }
    let passes = server.stats.counters().passes - before;
    // The last pass may not be counted yet.
    assert!(passes >= ASKED - 1, "{passes} passes");
}
