//! Joins and leaves at the same moment.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::{Client, TestServer, wait_until};
use std::sync::Barrier;
use std::thread;

/// A join that meets the removal of its empty room enters a room that the registry has.
#[test]
fn join_during_the_removal_of_its_room_enters_a_live_room() {
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
                    // The room that admitted the member delivers its line.
                    client.send(format!("{visit}\n"));
                    client.skip_to_line(&format!("{name}: {visit}"));
                    assert!(server.stats.rooms() > 0, "the member's room is not in the registry");
                    client.leave();
                }
            });
        }
    });
    wait_until("no room is left", || server.stats.rooms() == 0);
    wait_until("no connection is left", || server.stats.connections() == 0);
    let counters = server.stats.counters();
    assert_eq!((counters.joins, counters.leaves), (1_200, 1_200));
}

#[test]
fn name_requested_by_many_joins_is_given_once() {
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
                    let first = client.read_line();
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
        wait_until("the room is removed", || server.stats.rooms() == 0);
    }
}

/// All members but one leave at the same moment. A unit test of the room counts the roster's copies.
#[test]
fn mass_exit_reaches_the_remaining_member() {
    const CROWD: usize = 300;
    let server = TestServer::start();
    let mut witness = server.join("room", "witness");
    let crowd: Vec<Client> = (0..CROWD).map(|n| server.join("room", &format!("u{n}"))).collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut gone = Vec::new();
            while gone.len() < CROWD {
                gone.extend(witness.read_line().strip_suffix(" has left").map(str::to_owned));
            }
            gone.sort_unstable();
            gone.dedup();
            assert_eq!(gone.len(), CROWD, "a leave notice is missing or doubled");
        });
        drop(crowd);
    });
    // A pass adds its counts when it has ended.
    wait_until("all leaves are counted", || server.stats.counters().leaves == CROWD as u64);
    witness.send("alone\n");
    witness.expect_line("witness: alone");
}
