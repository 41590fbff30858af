//! One order of lines per room, joins and leaves included, and the order of each sender's lines.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;
#[path = "common/order.rs"]
mod order;

use common::TestServer;
use order::{MemberLog, RoomLog};
use std::sync::Barrier;
use std::thread;

const SENDERS: usize = 8;
const LINES: usize = 2_000;
const GUESTS: usize = 4;
const VISITS: usize = 20;

/// Joins, sends [`LINES`] lines and leaves. Returns the lines received.
fn send_lines(server: &TestServer, name: &str, start: &Barrier) -> MemberLog {
    let mut client = server.connect();
    start.wait();
    let mut sender = client.sender();
    let seen = thread::scope(|scope| {
        let seen = scope.spawn(move || client.read_to_end());
        sender.send(format!("JOIN room {name}\n"));
        for number in 0..LINES {
            sender.send(format!("{number}\n"));
        }
        sender.half_close();
        seen.join().unwrap()
    });
    MemberLog { name: name.to_owned(), lines: seen }
}

/// Joins, reads some lines and leaves, [`VISITS`] times.
fn join_and_leave(server: &TestServer, name: &str, start: &Barrier) -> Vec<MemberLog> {
    start.wait();
    let stay = |visit: usize| {
        let mut client = server.connect();
        client.send(format!("JOIN room {name}\n{}", "a word\n".repeat(visit)));
        // The room sends at least its own `has joined` and its own lines.
        let mut lines: Vec<String> = (0..=visit).map(|_| client.read_line()).collect();
        lines.extend(client.leave());
        MemberLog { name: name.to_owned(), lines }
    };
    (0..VISITS).map(stay).collect()
}

fn check_one_order(workers: u16) {
    let server = TestServer::start_with(common::test_settings(|settings| {
        settings.network.workers = Some(workers);
    }));
    let mut witness = server.join("room", "witness");
    let start = Barrier::new(SENDERS + GUESTS);
    let stays: Vec<Vec<MemberLog>> = thread::scope(|scope| {
        let (server, start) = (&server, &start);
        let senders: Vec<_> =
            (0..SENDERS).map(|n| scope.spawn(move || vec![send_lines(server, &format!("s{n}"), start)])).collect();
        let guests: Vec<_> =
            (0..GUESTS).map(|n| scope.spawn(move || join_and_leave(server, &format!("g{n}"), start))).collect();
        // The witness reads during the run, so that it is never a slow reader.
        let mut lines = vec!["witness has joined".to_owned()];
        let mut left = 0;
        while left < SENDERS + GUESTS * VISITS {
            let line = witness.read_line();
            left += usize::from(line.ends_with(" has left"));
            lines.push(line);
        }
        let mut stays = vec![vec![MemberLog { name: "witness".to_owned(), lines }]];
        stays.extend(senders.into_iter().chain(guests).map(|thread| thread.join().unwrap()));
        stays
    });

    let seen = RoomLog::new(stays[0][0].lines.clone());
    for stays in &stays {
        seen.check(stays);
    }
    for sender in 0..SENDERS {
        let prefix = format!("s{sender}: ");
        let own = seen.lines().iter().filter_map(|line| line.strip_prefix(&prefix));
        assert!(own.eq((0..LINES).map(|number| number.to_string())), "s{sender}'s lines are not in their order");
    }
}

#[test]
fn members_see_one_order_with_one_worker() {
    check_one_order(1);
}

#[test]
fn members_see_one_order_with_two_workers() {
    check_one_order(2);
}

#[test]
fn members_see_one_order_with_four_workers() {
    check_one_order(4);
}
