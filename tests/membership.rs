//! Joining and leaving, when many do it at once.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::{Client, TestServer, eventually};
use std::sync::Barrier;
use std::thread;

/// A join that meets the removal of the room it wants: it never ends up in a room that is gone.
#[test]
fn a_join_meets_the_removal_of_an_empty_room() {
    const VISITORS: usize = 8;
    const VISITS: usize = 150;
    let server = TestServer::start();
    let start = Barrier::new(VISITORS);
    thread::scope(|scope| {
        for visitor in 0..VISITORS {
            let (server, start) = (&server, &start);
            scope.spawn(move || {
                let name = format!("u{visitor}");
                start.wait();
                for visit in 0..VISITS {
                    let mut client = server.join("room", &name);
                    // What is said is heard: the room that admitted it is the room it speaks in.
                    client.send(format!("{visit}\n"));
                    client.skip_to(&format!("{name}: {visit}"));
                    client.leave();
                }
            });
        }
    });
    eventually("no room is left", || server.watch.rooms() == 0);
    eventually("no connection is left", || server.watch.connections() == 0);
    let counters = server.watch.counters();
    assert_eq!((counters.joins, counters.leaves), (1_200, 1_200));
}

#[test]
fn of_many_who_want_a_name_one_gets_it() {
    const RIVALS: usize = 16;
    let server = TestServer::start();
    for round in 0..20 {
        let start = Barrier::new(RIVALS);
        let clients: Vec<(Client, String)> = thread::scope(|scope| {
            let rival = |n: usize| {
                let (server, start) = (&server, &start);
                scope.spawn(move || {
                    let mut client = server.connect();
                    start.wait();
                    client.send(if n.is_multiple_of(2) { "JOIN room king\n" } else { "JOIN room KING\n" });
                    let first = client.line();
                    (client, first)
                })
            };
            let rivals: Vec<_> = (0..RIVALS).map(rival).collect();
            rivals.into_iter().map(|rival| rival.join().unwrap()).collect()
        });
        let winners = clients.iter().filter(|(_, line)| line.to_lowercase() == "king has joined").count();
        let losers = clients.iter().filter(|(_, line)| line == "ERROR").count();
        assert_eq!((winners, losers), (1, RIVALS - 1), "round {round}");
        drop(clients);
        eventually("the room is gone", || server.watch.rooms() == 0);
    }
}

/// Everybody goes at once: what is written is far less than a line for each and everybody.
#[test]
fn a_mass_exit_does_not_cost_a_write_for_each_line() {
    const CROWD: usize = 300;
    let server = TestServer::start();
    let mut witness = server.join("room", "witness");
    let crowd: Vec<Client> = (0..CROWD).map(|n| server.join("room", &format!("u{n}"))).collect();
    let before = server.watch.counters();
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..CROWD {
                while !witness.line().ends_with(" has left") {}
            }
        });
        drop(crowd);
    });
    // A pass is counted when it has ended.
    eventually("all are counted", || server.watch.counters().leaves == before.leaves + CROWD as u64);
    let after = server.watch.counters();
    let (copies, writes) = (after.copies - before.copies, after.writes - before.writes);
    assert!(copies <= CROWD as u64 && writes <= (CROWD * CROWD / 2) as u64, "{copies} copies, {writes} writes");
}
