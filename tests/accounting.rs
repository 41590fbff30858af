//! Accounting: what a connection sends is charged before the server acts on it, and delayed beyond its budgets.
//!
//! Times are lower bounds alone: no machine is too slow for them.

mod common;

use common::telnet::AGREEMENT;
use common::{TestServer, test_settings};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// 2,000 requests cost 12,000 units; the burst is 8,000, and 4,000 a second follow.
#[test]
fn commands_beyond_the_budget_of_their_address_are_delayed_and_not_lost() {
    let server = TestServer::start();
    let mut alice = server.join("room", "alice");
    let start = Instant::now();
    alice.send(["/who\n".repeat(2_000), "done\n".to_owned()].concat());
    for _ in 0..2_000 {
        alice.expect_line("*** 1 in room: alice");
    }
    alice.expect_line("alice: done");
    assert!(start.elapsed() >= Duration::from_millis(990), "all answers came within {:?}", start.elapsed());
}

#[test]
fn new_connections_of_an_address_refill_no_budget() {
    let server = TestServer::start();
    let _witness = server.join("room", "witness");
    let start = Instant::now();
    for round in 0..10 {
        let mut alice = server.join("room", &format!("alice{round}"));
        alice.send(["/who\n".repeat(200), "/quit\n".to_owned()].concat());
        let answers = alice.read_to_end();
        assert_eq!(answers.len(), 200, "{answers:?}");
    }
    assert!(start.elapsed() >= Duration::from_millis(990), "2,000 answers came within {:?}", start.elapsed());
}

/// A rename costs as many units as the room has members, since each of them is told.
#[test]
fn renames_are_charged_by_the_members_that_are_told() {
    let server = TestServer::start();
    let _members: Vec<_> = (0..100).map(|number| server.join("room", &format!("m{number}"))).collect();
    let mut alice = server.join("room", "alice");
    // 120 renames of 105 units: 12,600 units.
    let renames: Vec<_> = (0..120).map(|number| format!("/nick a{number}\n")).collect();
    let start = Instant::now();
    alice.send(renames.concat() + "done\n");
    alice.skip_to_line("a119: done");
    assert!(start.elapsed() >= Duration::from_millis(1_100), "the line came after {:?}", start.elapsed());
}

#[test]
fn commands_are_not_delayed_without_a_rate() {
    let server = TestServer::start_with(test_settings(|settings| settings.live.rate = 0));
    let mut alice = server.join("room", "alice");
    alice.send(["/who\n".repeat(20_000), "done\n".to_owned()].concat());
    for _ in 0..20_000 {
        alice.expect_line("*** 1 in room: alice");
    }
    alice.expect_line("alice: done");
}

#[test]
fn bytes_beyond_the_byte_rate_are_delayed_and_not_lost() {
    let server = TestServer::start_with(test_settings(|settings| {
        (settings.live.byte_rate, settings.live.byte_burst) = (64 << 10, NonZeroU32::new(32 << 10).unwrap());
    }));
    let mut alice = server.join("room", "alice");
    let (line, start) = ("x".repeat(4 << 10), Instant::now());
    alice.send(format!("{line}\n").repeat(24));
    for _ in 0..24 {
        alice.expect_line(&format!("alice: {line}"));
    }
    // 96 KiB, of which 32 KiB are the burst; the last read is charged before its lines are said.
    assert!(start.elapsed() >= Duration::from_millis(990), "all lines came within {:?}", start.elapsed());
}

/// The budget is 4 MiB at once, and 2 MiB a second: a member with times is delayed, and loses no line.
#[test]
fn lines_that_are_encoded_wait_for_the_budget_of_their_reader() {
    const LINES: usize = 400;
    let server = TestServer::start_with(test_settings(|settings| {
        settings.live.byte_rate = 0;
        settings.live.backlog = 64 << 20;
    }));
    let (mut talker, mut reader) = server.join_pair("room", "talker", "reader");
    reader.send("/time on\n");
    assert!(reader.read_line().contains("time is on"));
    let (line, start) = ("x".repeat(19_000), Instant::now());
    talker.send(format!("{line}\n").repeat(LINES));
    for _ in 0..LINES {
        assert!(reader.read_line().ends_with(&format!("talker: {line}")));
    }
    assert!(start.elapsed() >= Duration::from_millis(1_400), "7.6 MB were encoded within {:?}", start.elapsed());
    reader.send("/quit\n");
    assert!(reader.read_to_end().is_empty());
}

/// Bytes count whatever they are: telnet commands, and text that is erased again.
#[test]
fn line_after_erased_text_waits_for_the_byte_rate() {
    let server = TestServer::start_with(test_settings(|settings| {
        (settings.live.byte_rate, settings.live.byte_burst) = (64 << 10, NonZeroU32::new(8 << 10).unwrap());
    }));
    let mut alice = server.join("room", "alice");
    let erased = [&[b'x'; 1000][..], b"\xFF\xF8"].concat().repeat(80);
    let start = Instant::now();
    alice.send([erased, b"done\r\n".to_vec()].concat());
    alice.read_until_bytes("alice: done");
    assert!(start.elapsed() >= Duration::from_secs(1), "the line came after {:?}", start.elapsed());
}

/// The budget of telnet commands is 16 KiB a second, and 16 KiB at once.
#[test]
fn line_after_a_flood_of_telnet_commands_waits_for_their_budget() {
    let server = TestServer::start();
    let mut alice = server.join("room", "alice");
    let start = Instant::now();
    alice.send([b"\xFF\xF1".repeat(24 << 10), b"done\r\n".to_vec()].concat());
    alice.read_until_bytes("alice: done");
    assert!(start.elapsed() >= Duration::from_millis(1_900), "the line came after {:?}", start.elapsed());
}

/// A key costs an eighth of a byte of the same budget.
#[test]
fn line_after_a_flood_of_keys_waits_for_their_budget() {
    let server = TestServer::start_with(test_settings(|settings| settings.live.byte_rate = 0));
    let (mut witness, mut alice) = server.join_pair("room", "witness", "alice");
    alice.send([b"/ui on\r\n", AGREEMENT].concat());
    alice.read_until_bytes("*** ui is on\r\n");
    let start = Instant::now();
    // Each pair of keys adds a character and erases it.
    alice.send([b"x\x7F".repeat(120 << 10), b"done\r".to_vec()].concat());
    witness.expect_line("alice: done");
    assert!(start.elapsed() >= Duration::from_millis(900), "the line came after {:?}", start.elapsed());
}

/// The encoded lines of one read are sent to the room in parcels, each within its bound: the read has 16,000 lines of 8
/// bytes, and the room's inbox takes 20 KiB at a time.
#[test]
fn lines_of_one_read_are_sent_in_several_parcels() {
    const LINES: usize = 16_000;
    let server = TestServer::start_with(test_settings(|settings| {
        settings.rooms.inbox_bytes = 20 << 10;
        settings.network.workers = Some(1);
        (settings.live.rate, settings.live.byte_rate) = (0, 0);
    }));
    let mut alice = server.join("room", "alice");
    let before = server.stats.counters().passes;
    alice.send("\n".repeat(LINES));
    for _ in 0..LINES {
        alice.expect_line("alice: ");
    }
    let passes = server.stats.counters().passes - before;
    assert!(passes >= 6, "{passes} passes for 128,000 bytes of lines");
}

/// One worker serves both: the flood of empty lines is processed in slices.
#[test]
fn flood_of_one_connection_does_not_keep_its_worker_from_another() {
    let server = TestServer::start_with(test_settings(|settings| {
        settings.network.workers = Some(1);
        (settings.live.rate, settings.live.byte_rate) = (0, 0);
    }));
    let mut bob = server.join("other", "bob");
    let mallory = server.join("room", "mallory");
    let mut sender = mallory.sender();
    std::thread::scope(|scope| {
        let flood = scope.spawn(move || while sender.try_send("\n".repeat(64 << 10)).is_ok() {});
        for number in 0..100 {
            bob.send(format!("{number}\n"));
            bob.expect_line(&format!("bob: {number}"));
        }
        // A peer that reads nothing would delay the server's end.
        mallory.stream().shutdown(std::net::Shutdown::Both).unwrap();
        flood.join().unwrap();
    });
}
