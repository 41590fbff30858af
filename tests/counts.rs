//! Counts what the server does for a line and for a join: the counts hold on any machine, fast or slow.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::{Client, TestServer, wait_until};
use roomcast::MetricsDelta;
use std::io::Read;
use std::sync::Barrier;
use std::thread;

const LINE: &str = "the quick brown fox jumps over the lazy dog\n";

/// Joins many members to one room at once: some threads connect, and wait for each other before they
/// send the JOIN lines.
fn join_at_once(server: &TestServer, members: usize) -> Vec<Client> {
    const THREADS: usize = 8;
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        let join = |thread: usize| {
            let start = &start;
            move || {
                let numbers = (thread..members).step_by(THREADS);
                let mut clients: Vec<(usize, Client)> = numbers.map(|number| (number, server.connect())).collect();
                start.wait();
                for (number, client) in &mut clients {
                    client.send(format!("JOIN room m{number}\n"));
                }
                clients.into_iter().map(|(_, client)| client).collect::<Vec<_>>()
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(join(thread))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// Reads all available bytes, so that no member is a slow reader.
fn read_available(clients: &[Client]) {
    let mut buffer = vec![0; 1 << 20];
    for client in clients {
        client.stream().set_nonblocking(true).unwrap();
        while client.stream().read(&mut buffer).is_ok_and(|count| count > 0) {}
        client.stream().set_nonblocking(false).unwrap();
    }
}

/// Returns the counts since `before`.
fn counts_since(before: &MetricsDelta, server: &TestServer) -> MetricsDelta {
    let now = server.stats.counters();
    MetricsDelta {
        lines: now.lines - before.lines,
        deliveries: now.deliveries - before.deliveries,
        writes: now.writes - before.writes,
        wakes: now.wakes - before.wakes,
        ..MetricsDelta::default()
    }
}

/// Under load each write carries many lines, and few tasks are woken.
#[test]
fn thousand_members_under_load_cost_few_writes() {
    const MEMBERS: usize = 1_000;
    const SENDERS: usize = 8;
    const LINES: usize = 400;
    let server = TestServer::start();
    let clients = join_at_once(&server, MEMBERS);
    wait_until("all have joined", || server.stats.counters().joins == MEMBERS as u64);
    read_available(&clients);
    let before = server.stats.counters();
    thread::scope(|scope| {
        for client in &clients[..SENDERS] {
            scope.spawn(|| {
                let mut sender = client.sender();
                (0..LINES).for_each(|_| sender.send(LINE));
            });
        }
    });
    let deliveries = (SENDERS * LINES * MEMBERS) as u64;
    wait_until("all lines are delivered", || {
        read_available(&clients);
        counts_since(&before, &server).deliveries >= deliveries
    });
    let done = counts_since(&before, &server);
    println!("{done:?}");
    assert_eq!((done.lines, done.deliveries), ((SENDERS * LINES) as u64, deliveries));
    assert!(done.writes * 5 <= deliveries, "{} writes for {deliveries} deliveries", done.writes);
    assert!(done.wakes * 5 <= deliveries, "{} wakes for {deliveries} deliveries", done.wakes);
}

/// Joins at the same moment are admitted in batches, with one copy of the roster for each batch.
#[test]
fn two_thousand_joins_at_once_cost_few_copies() {
    const MEMBERS: u64 = 2_000;
    let server = TestServer::start();
    let clients = join_at_once(&server, 2_000);
    wait_until("all have joined", || {
        read_available(&clients);
        server.stats.counters().joins == MEMBERS
    });
    let done = server.stats.counters();
    println!("{done:?}");
    assert!(done.copies * 5 <= MEMBERS, "{} copies for {MEMBERS} joins", done.copies);
    assert!(done.entries_copied <= done.copies * MEMBERS);
}
