//! Joins, leaves and resets under load: each member receives exactly the room's lines, and no room, peer or
//! memory remains.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;
#[path = "common/order.rs"]
mod order;

use common::{Client, ClientSender, ServerProcess, TestServer, numbered_lines, wait_until};
use order::{MemberLog, RoomLog};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;

/// The size of one run.
#[derive(Clone, Copy)]
struct Churn {
    peers: usize,
    rooms: usize,
    /// The number of joins of each peer.
    visits: usize,
    seed: u64,
}

/// Joins random rooms one after another, sends some lines in each, and leaves in a random way. Returns the
/// lines received in each room, or `None` after a reset.
fn join_rooms(churn: Churn, address: SocketAddr, peer: usize, start: &Barrier) -> Vec<(usize, Option<MemberLog>)> {
    let mut random = fastrand::Rng::with_seed(churn.seed + peer as u64);
    let mut stays = Vec::new();
    start.wait();
    for visit in 0..churn.visits {
        let room = random.usize(..churn.rooms);
        // Each visit has its own name, because a room may process the last leave after this join.
        let name = format!("p{peer}v{visit}");
        let mut client = Client::join(address, &format!("r{room}"), &name);
        let said = random.usize(..20);
        client.send(numbered_lines(said));
        if random.u8(..4) == 0 {
            client.reset();
            stays.push((room, None));
            continue;
        }
        let mut seen = vec![format!("{name} has joined")];
        while random.u8(..8) > 0 && seen.len() <= said {
            seen.push(client.read_line());
        }
        seen.extend(client.leave());
        stays.push((room, Some(MemberLog { name, lines: seen })));
    }
    stays
}

/// Runs all peers with a witness in each room. Returns the number of lines received, each of them checked.
fn run_peers(churn: Churn, address: SocketAddr) -> usize {
    let witnesses: Vec<Client> =
        (0..churn.rooms).map(|room| Client::join(address, &format!("r{room}"), "witness")).collect();
    let start = Barrier::new(churn.peers);
    thread::scope(|scope| {
        let mut senders: Vec<ClientSender> = witnesses.iter().map(Client::sender).collect();
        let readers: Vec<_> =
            witnesses.into_iter().map(|mut witness| scope.spawn(move || witness.read_to_end())).collect();
        let peers: Vec<_> = (0..churn.peers)
            .map(|peer| {
                scope.spawn({
                    let start = &start;
                    move || join_rooms(churn, address, peer, start)
                })
            })
            .collect();
        let stays: Vec<_> = peers.into_iter().flat_map(|peer| peer.join().unwrap()).collect();
        leave_last(&mut senders, address);
        let seen: Vec<RoomLog> = readers.into_iter().map(|reader| RoomLog::new(reader.join().unwrap())).collect();
        check(&seen, stays)
    })
}

/// Lets the witnesses leave last. The server notices a reset a little later than its client.
fn leave_last(witnesses: &mut [ClientSender], address: SocketAddr) {
    for (room, witness) in witnesses.iter_mut().enumerate() {
        // The server handles earlier resets before this later join.
        Client::join(address, &format!("r{room}"), "last").leave();
        witness.half_close();
    }
}

fn check(witnesses: &[RoomLog], stays: Vec<(usize, Option<MemberLog>)>) -> usize {
    let mut visits: HashMap<usize, usize> = HashMap::new();
    let mut received = 0;
    for (room, stay) in stays {
        *visits.entry(room).or_default() += 1;
        if let Some(stay) = stay {
            received += witnesses[room].check(&[stay]);
        }
    }
    for (room, witness) in witnesses.iter().enumerate() {
        let joined = witness.lines().iter().filter(|line| line.ends_with(" has joined")).count();
        // The extra join is the one named `last`.
        assert_eq!(joined, visits.get(&room).copied().unwrap_or_default() + 1, "room {room}");
    }
    received
}

fn check_lines_and_cleanup(churn: Churn) {
    let server = TestServer::start();
    let received = run_peers(churn, server.address);
    assert!(received > churn.peers * churn.visits, "{received} lines");
    wait_until("no room is left", || server.stats.rooms() == 0);
    wait_until("no peer is left", || server.stats.connections() == 0);
    let counters = server.stats.counters();
    assert_eq!(counters.joins, counters.leaves);
    assert_eq!(counters.joins, (churn.peers * churn.visits + 2 * churn.rooms) as u64);
}

#[test]
fn forty_peers_that_join_and_leave_lose_no_line() {
    check_lines_and_cleanup(Churn { peers: 40, rooms: 5, visits: 10, seed: 1 });
}

#[test]
#[ignore = "stress: run it in release mode"]
fn two_hundred_peers_that_join_and_leave_lose_no_line() {
    check_lines_and_cleanup(Churn { peers: 200, rooms: 20, visits: 100, seed: 2 });
}

/// The first rounds fill the allocator's pools. After them the memory must not grow.
#[test]
#[ignore = "stress: run it in release mode"]
fn memory_does_not_grow_after_repeated_joins_and_leaves() {
    let server = ServerProcess::start(&[]);
    let round = |seed| {
        run_peers(Churn { peers: 100, rooms: 20, visits: 30, seed }, server.address);
        server.status_kib("VmRSS")
    };
    let settled = (10..13).map(round).max().unwrap();
    let after = (20..26).fold(0, |_, seed| round(seed));
    assert!(after < settled + 4 * 1024, "{settled} KiB became {after} KiB");
}
