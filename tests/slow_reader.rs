//! One peer of many never reads while megabytes are owed to it.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::{Client, DEADLINE, ServerProcess, read_lines_and_skip_notices};
use std::sync::mpsc;
use std::thread;

/// As long as a line may be, with its number in front.
fn line(number: usize) -> String {
    format!("{number:0>8} {}", "x".repeat(19_991))
}

/// How far ahead of the slowest reader the sender may be, in lines: none of the readers has more
/// than a third of its backlog to catch up.
const WINDOW: usize = 16;

/// `lines` lines from one of `peers` to all, one of whom sleeps. The server's memory stays in
/// bounds, the others get everything, and the sleeper sees where it lost how many.
fn one_sleeps(peers: usize, lines: usize, workers: &str) {
    let server = ServerProcess::start(&["--rate", "0", "--workers", workers]);
    let mut sender = server.join("room", "sender");
    let mut sleeper = server.join("room", "sleeper");
    let readers: Vec<Client> = (2..peers).map(|n| server.join("room", &format!("r{n}"))).collect();
    sender.skip_to_line(&format!("r{} has joined", peers - 1));
    let before = server.status_kib("VmHWM");
    let (heard, hearing) = mpsc::channel();
    thread::scope(|scope| {
        let mut writer = sender.sender();
        for (reader, mut client) in readers.into_iter().chain([sender]).enumerate() {
            let heard = heard.clone();
            scope.spawn(move || {
                // All but the last to join, and the sender, have still to see the last one come.
                if reader < peers - 3 {
                    client.skip_to_line(&format!("r{} has joined", peers - 1));
                }
                for number in 0..lines {
                    assert_eq!(client.read_line()["sender: ".len()..], line(number));
                    heard.send(reader).unwrap();
                }
            });
        }
        let mut behind = vec![0; peers - 1];
        for number in 0..lines {
            writer.send(format!("{}\n", line(number)));
            for behind in &mut behind {
                *behind += 1;
            }
            while behind.iter().any(|behind| *behind >= WINDOW) {
                behind[hearing.recv_timeout(DEADLINE).unwrap()] -= 1;
            }
        }
    });
    let grown = server.status_kib("VmHWM") - before;
    // The sleeper's backlog, and a batch or two in flight.
    assert!(grown < 8 * 1024, "{grown} KiB for 1 MiB of backlog");
    // It wakes up.
    sleeper.skip_to_line(&format!("r{} has joined", peers - 1));
    let lost = read_lines_and_skip_notices(&mut sleeper, lines, |number| format!("sender: {}", line(number)));
    assert!(lost * 20_000 > lines * 20_000 / 2, "most of it was lost: {lost} of {lines}");
}

#[test]
fn stopped_reader_among_ten_misses_20_mb_in_bounded_memory() {
    one_sleeps(10, 1_000, "2");
}

#[test]
#[ignore = "stress: run it in release mode"]
fn stopped_reader_among_a_hundred_misses_200_mb_in_bounded_memory() {
    for workers in ["1", "2", "4"] {
        one_sleeps(100, 10_500, workers);
    }
}
