//! Runs against the real server, which is built and started on a free port.

#![allow(clippy::unwrap_used, reason = "a test stops at the first error")]

mod common;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use common::{assert_passed, build_server};
use loadtest::plan::{Pacing, Plan, Stop};
use loadtest::server::{NO_RATE_BOUNDS, Server};
use loadtest::slow_readers::{ReadRate, SlowReaders};
use loadtest::test_bed::TestBed;

fn spawn() -> Server {
    Server::spawn(build_server(), &NO_RATE_BOUNDS.map(ToOwned::to_owned)).unwrap()
}

fn plan(target: SocketAddr) -> Plan {
    Plan { connections: 60, rooms: 6, ..common::plan(target) }
}

#[test]
fn paced_run_delivers_each_line_once() {
    let server = spawn();
    let counters = common::run(&plan(server.address())).outcome.counters;
    assert_eq!((counters.sent, counters.expected, counters.delivered), (120, 1200, 1200), "{counters:?}");
    assert_eq!(
        (counters.duplicated, counters.misordered, counters.corrupt, counters.closed, counters.errors),
        (0, 0, 0, 0, 0)
    );
    assert_eq!((counters.join_notices, counters.join_notices_expected), (330, 330));
}

#[test]
fn flood_of_many_senders_delivers_each_line_once() {
    let server = spawn();
    for read_every in [0, 2] {
        let result = common::run(&Plan {
            senders: 10,
            pacing: Pacing::Closed { window: 32 },
            stop: Stop::Lines(500),
            read_every: Duration::from_millis(read_every),
            ..plan(server.address())
        });
        let counters = &result.outcome.counters;
        assert_eq!((counters.sent, counters.delivered, counters.lost), (3000, 30_000, 0), "{counters:?}");
        assert_eq!((counters.duplicated, counters.misordered, counters.corrupt), (0, 0, 0), "{counters:?}");
    }
}

/// A slow member reads far fewer bytes than its room sends beyond the buffers of the server and of the kernel.
#[test]
fn slow_member_is_told_what_it_missed_or_is_closed() {
    for (treatment, is_closed) in [("skip", false), ("kick", true)] {
        let bounds = ["--backlog", "16KiB", "--slow-reader", treatment].map(ToOwned::to_owned);
        let arguments = NO_RATE_BOUNDS.into_iter().map(ToOwned::to_owned).chain(bounds).collect::<Vec<_>>();
        let server = Server::spawn(build_server(), &arguments).unwrap();
        let rate = ReadRate { bytes_per_second: 2000 };
        let result = common::run(&Plan {
            connections: 20,
            rooms: 2,
            size: 2000.into(),
            stop: Stop::Lines(300),
            slow_readers: Some(SlowReaders { share: 0.2, rate }),
            ..plan(server.address())
        });
        let counters = &result.outcome.counters;
        let closed = if is_closed { 4 } else { 0 };
        assert_eq!((counters.slow_members, counters.slow_closed, counters.closed), (4, closed, 0), "{counters:?}");
        assert_eq!((counters.lost, counters.untrue_skips, counters.errors), (0, 0, 0), "{counters:?}");
        assert_eq!((counters.duplicated, counters.misordered, counters.corrupt), (0, 0, 0), "{counters:?}");
        assert_eq!(counters.expected, counters.delivered + counters.slow_skipped, "{counters:?}");
        assert_eq!(counters.delivered - counters.slow_delivered, 600 * 8, "{counters:?}");
        assert_eq!((counters.leave_notices_lost, counters.untrue_notices), (0, 0), "{counters:?}");
        assert!(is_closed || counters.slow_skipped > 0, "{counters:?}");
        assert_passed(&result);
    }
}

#[test]
fn storm_announces_each_join_to_all_members() {
    let server = spawn();
    let storm =
        Plan { connections: 100, rooms: 1, pacing: Pacing::Quiet, stop: Stop::Lines(0), ..plan(server.address()) };
    let result = common::run(&storm);
    assert_eq!(result.outcome.counters.join_notices, 5050, "{:?}", result.outcome.counters);
    assert_passed(&result);
}

#[test]
fn program_spawns_and_stops_a_server() {
    let server = build_server().to_str().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["--spawn", "flood", "--server", server, "--connections", "20", "--lines", "50"])
        .args(["--patience", "60s"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    // Whether the generator had enough CPU time depends on the machine.
    let verdict = if output.status.code() == Some(0) { "\nGOOD: 1,000 deliveries" } else { "\nSATURATED: " };
    assert!(text.contains(verdict), "{text}");
    assert!(text.contains("50 sent, 1,000 deliveries expected, 1,000 delivered"), "{text}");
    assert!(text.contains("  started with  --rate 0 --byte-rate 0"), "{text}");
    assert!(text.contains("0 lost, 0 duplicated") && text.contains("server        RSS"), "{text}");
    // Where other programs' traffic hides the server's writes, no bare writes are measured.
    assert_eq!(text.contains("lines a write"), text.contains("bare writes of"), "{text}");
}

#[test]
fn signal_stops_the_run_and_the_server_and_prints_the_table() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_loadtest"))
            .args(["steady", "--spawn", "--server", build_server().to_str().unwrap(), "--connections", "20"])
            .args(["--rooms", "2", "--duration", "1h", "--warmup", "0s", "--patience", "60s"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = program.id().to_string();
        let children = format!("/proc/{pid}/task/{pid}/children");
        // The first progress line of the phase of sending shows that the server runs and all members have joined.
        let mut words = BufReader::new(program.stderr.take().unwrap()).lines();
        assert!(words.any(|line| line.unwrap().contains("sending")));
        let server = std::fs::read_to_string(children).unwrap().trim().to_owned();
        assert!(Path::new("/proc").join(&server).join("status").is_file(), "{server}");
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        let output = program.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(
            text.contains(&format!("INCOMPLETE: stopped by SIG{signal} after")) && text.contains(" sent, "),
            "{text}"
        );
        assert!(!Path::new("/proc").join(&server).exists(), "the server still runs");
    }
}

#[test]
fn exit_status_of_a_killed_server_is_returned() {
    let mut server = spawn();
    assert_eq!(server.exit_status(), None);
    let pid = server.pid().to_string();
    assert!(Command::new("kill").args(["-s", "KILL", &pid]).status().unwrap().success());
    let how = std::iter::repeat_with(|| server.exit_status()).find_map(|how| how).unwrap();
    assert!(how.contains("signal: 9"), "{how}");
}

#[test]
fn server_that_ends_during_the_run_is_reported_with_its_status() {
    let mut test_bed = TestBed::spawn(build_server(), Vec::new()).unwrap();
    let plan = Plan { stop: Stop::After(Duration::from_secs(60)), ..plan(test_bed.target()) };
    let pid = test_bed.server().unwrap().pid().to_string();
    let files = format!("/proc/{pid}/fd");
    let connections = plan.connections;
    let killer = thread::spawn(move || {
        while std::fs::read_dir(&files).unwrap().count() < connections {
            thread::yield_now();
        }
        // A server that ends on its own may take longer than its exit status is waited for.
        assert!(Command::new("kill").args(["-s", "KILL", &pid]).status().unwrap().success());
    });
    let result = test_bed.run("steady", &plan).unwrap();
    killer.join().unwrap();
    let text = &result.verdict.text;
    assert!(text.starts_with("INCOMPLETE: the spawned server ended with signal: 9"), "{text}");
}
