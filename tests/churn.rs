//! Conservation under churn: what is received is what is owed, and nothing is left behind.

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

/// How much of it there is.
#[derive(Clone, Copy)]
struct Churn {
    peers: usize,
    rooms: usize,
    /// How often each peer comes.
    visits: usize,
    seed: u64,
}

/// One peer's visits: it joins a random room, says some lines, leaves in one of the ways there
/// are, and comes again. Gives what it saw of each room; `None` where it left without looking.
fn visit(churn: Churn, address: SocketAddr, peer: usize, start: &Barrier) -> Vec<(usize, Option<MemberLog>)> {
    let mut random = fastrand::Rng::with_seed(churn.seed + peer as u64);
    let mut stays = Vec::new();
    start.wait();
    for visit in 0..churn.visits {
        let room = random.usize(..churn.rooms);
        // A name of its own for each visit: a room may let the last one go after this one comes.
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

/// Runs it with a witness in each room; how many lines were received, all of them owed.
fn run(churn: Churn, address: SocketAddr) -> usize {
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
                    move || visit(churn, address, peer, start)
                })
            })
            .collect();
        let stays: Vec<_> = peers.into_iter().flat_map(|peer| peer.join().unwrap()).collect();
        wait_for_the_last(&mut senders, address);
        let seen: Vec<RoomLog> = readers.into_iter().map(|reader| RoomLog::new(reader.join().unwrap())).collect();
        check(&seen, stays)
    })
}

/// Lets the witnesses leave behind everybody else: a reset is noticed a little later.
fn wait_for_the_last(witnesses: &mut [ClientSender], address: SocketAddr) {
    for (room, witness) in witnesses.iter_mut().enumerate() {
        // Whoever was reset before this is gone when this is said: its reset came first.
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
        // One more than the visits: the last.
        assert_eq!(joined, visits.get(&room).copied().unwrap_or_default() + 1, "room {room}");
    }
    received
}

fn nothing_is_lost_and_nothing_is_left(churn: Churn) {
    let server = TestServer::start();
    let received = run(churn, server.address);
    assert!(received > churn.peers * churn.visits, "{received} lines");
    wait_until("no room is left", || server.stats.rooms() == 0);
    wait_until("no peer is left", || server.stats.connections() == 0);
    let counters = server.stats.counters();
    assert_eq!(counters.joins, counters.leaves);
    assert_eq!(counters.joins, (churn.peers * churn.visits + 2 * churn.rooms) as u64);
}

#[test]
fn forty_peers_that_join_and_leave_lose_no_line() {
    nothing_is_lost_and_nothing_is_left(Churn { peers: 40, rooms: 5, visits: 10, seed: 1 });
}

#[test]
#[ignore = "stress: run it in release mode"]
fn two_hundred_peers_that_join_and_leave_lose_no_line() {
    nothing_is_lost_and_nothing_is_left(Churn { peers: 200, rooms: 20, visits: 100, seed: 2 });
}

/// The first rounds fill the allocator's pools; from then on nothing may grow.
#[test]
#[ignore = "stress: run it in release mode"]
fn memory_does_not_grow_after_repeated_joins_and_leaves() {
    let server = ServerProcess::start(&[]);
    let round = |seed| {
        run(Churn { peers: 100, rooms: 20, visits: 30, seed }, server.address);
        server.status_kib("VmRSS")
    };
    let settled = (10..13).map(round).max().unwrap();
    let after = (20..26).fold(0, |_, seed| round(seed));
    assert!(after < settled + 4 * 1024, "{settled} KiB became {after} KiB");
}
