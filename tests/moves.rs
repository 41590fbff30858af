//! Renames and moves between rooms at the same moment.
//!
//! A moving member receives a contiguous part of each room's lines, from its own `has joined` to just
//! before its `has left`. The new room admits it before it leaves the old one, so the old room's last
//! lines may come between the new room's first lines. They never come after its own first line in the
//! new room.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;
#[path = "common/order.rs"]
mod order;

use common::{Client, TestServer, test_settings, wait_until};
use order::{MemberLog, RoomLog};
use std::sync::Barrier;
use std::thread;

/// Waits until no room and no connection is left, and checks that each join had a leave.
fn wait_until_empty(server: &TestServer) {
    wait_until("no room is left", || server.stats.rooms() == 0);
    wait_until("no connection is left", || server.stats.connections() == 0);
    let counters = server.stats.counters();
    assert_eq!(counters.joins, counters.leaves);
}

/// Half of the rivals are members and request the name by a rename, the others by a join.
#[test]
fn name_requested_by_joins_and_renames_is_given_once() {
    const RIVALS: usize = 16;
    for workers in [1, 2, 4] {
        let server = TestServer::start_with(test_settings(|settings| {
            settings.network.workers = Some(workers);
        }));
        for round in 0..10 {
            let start = Barrier::new(RIVALS);
            let outcomes: Vec<(Client, bool)> = thread::scope(|scope| {
                let rival = |n: usize| {
                    let (server, start) = (&server, &start);
                    scope.spawn(move || {
                        let (own, is_member) = (format!("u{n}"), n.is_multiple_of(2));
                        let mut client = if is_member { server.join("room", &own) } else { server.connect() };
                        let king = if n.is_multiple_of(3) { "king" } else { "KING" };
                        start.wait();
                        client.send(if is_member { format!("/nick {king}\n") } else { format!("JOIN room {king}\n") });
                        let (named, joined) = (format!("{own} is now known as {king}"), format!("{king} has joined"));
                        let refused = format!("*** the name {king} is taken in room: ");
                        let got = loop {
                            match client.read_line() {
                                line if line == named => break true,
                                line if !is_member && line == joined => break true,
                                line if line.starts_with(&refused) || line == "ERROR" => break false,
                                _ => {}
                            }
                        };
                        (client, got)
                    })
                };
                let rivals: Vec<_> = (0..RIVALS).map(rival).collect();
                rivals.into_iter().map(|rival| rival.join().unwrap()).collect()
            });
            assert_eq!(outcomes.iter().filter(|(_, got)| *got).count(), 1, "round {round}");
            drop(outcomes);
            wait_until_empty(&server);
        }
    }
}

/// Three members rename themselves through the same names many times. The witness must never see a name
/// that two members have.
#[test]
fn name_is_free_after_its_holder_is_renamed() {
    const ROUNDS: usize = 300;
    let server = TestServer::start_with(test_settings(|settings| {
        (settings.live.rate, settings.live.byte_rate) = (0, 0);
    }));
    let mut witness = server.join("room", "witness");
    thread::scope(|scope| {
        for name in ["a", "b", "c"] {
            let mut client = server.join("room", name);
            scope.spawn(move || {
                let names = ["x", "y", "z", name].map(|name| format!("/nick {name}\n")).concat();
                client.send(names.repeat(ROUNDS));
                client.half_close();
                client.read_to_end()
            });
        }
        let (mut here, mut left) = (vec!["witness".to_owned()], 0);
        while left < 3 {
            let line = witness.read_line();
            if let Some((old, new)) = line.split_once(" is now known as ") {
                assert!(old == new || !here.iter().any(|name| name == new), "{line}: {here:?}");
                *here.iter_mut().find(|name| *name == old).unwrap() = new.to_owned();
            } else if let Some(name) = line.strip_suffix(" has joined") {
                here.push(name.to_owned());
            } else if let Some(name) = line.strip_suffix(" has left") {
                here.retain(|here| here != name);
                left += 1;
            }
        }
        assert_eq!(here, ["witness"]);
    });
    drop(witness);
    wait_until_empty(&server);
}

/// A peer that is reset during a rename or move frees its old and its new name in both rooms.
#[test]
fn peer_reset_during_a_change_frees_both_names() {
    for workers in [1, 2, 4] {
        let server = TestServer::start_with(test_settings(|settings| {
            settings.network.workers = Some(workers);
        }));
        // The witnesses keep both rooms in the registry.
        let witnesses = ["room", "other"].map(|room| server.join(room, "witness"));
        for change in ["/nick spirit\n", "/nick GHOST\n", "/join other\n", "/join other spirit\n/nick ghost\n"] {
            for _ in 0..20 {
                let mut client = server.join("room", "ghost");
                client.send(change);
                client.reset();
                for (room, name) in [("room", "ghost"), ("room", "spirit"), ("other", "ghost"), ("other", "spirit")] {
                    wait_until("the name is free", || {
                        let mut next = server.connect();
                        next.send(format!("JOIN {room} {name}\n"));
                        let joined = next.read_line() == format!("{name} has joined");
                        drop(next.leave());
                        joined
                    });
                }
            }
        }
        drop(witnesses);
        wait_until_empty(&server);
    }
}

/// The size of one run.
#[derive(Clone, Copy)]
struct Moves {
    workers: u16,
    movers: usize,
    rooms: usize,
    /// The number of rooms that each mover enters.
    visits: usize,
    /// Whether some movers reset their connections.
    resets: bool,
}

/// Returns the room that a line belongs to, which each name ends in.
fn room_of(line: &str) -> usize {
    let name = line.split([' ', ':']).next().unwrap();
    name.rsplit('r').next().unwrap().parse().unwrap_or_else(|_| panic!("{line:?} names no room"))
}

/// The lines that a mover received over one connection, and the names with which it entered rooms.
struct Journey {
    lines: Vec<String>,
    /// Each name with its room.
    entered: Vec<(String, usize)>,
}

/// Moves from room to room with a new name in each, and sends a line before and after a rename.
fn move_between_rooms(plan: Moves, server: &TestServer, mover: usize, start: &Barrier) -> Vec<Journey> {
    let mut random = fastrand::Rng::with_seed(mover as u64);
    let (mut journeys, mut here): (Vec<Journey>, Option<(Client, usize)>) = (Vec::new(), None);
    start.wait();
    for visit in 0..plan.visits {
        let verb = if here.is_some() { "/join" } else { "JOIN" };
        let (mut client, room) = here.take().unwrap_or_else(|| {
            journeys.push(Journey { lines: Vec::new(), entered: Vec::new() });
            (server.connect(), plan.rooms)
        });
        let next = (room + random.usize(1..plan.rooms)) % plan.rooms;
        let (name, second) = (format!("m{mover}v{visit}r{next}"), format!("M{mover}n{visit}r{next}"));
        client.send(format!("{verb} r{next} {name}\na\n/nick {second}\nb\n"));
        if plan.resets && random.u8(..8) == 0 {
            client.reset();
            journeys.pop();
            continue;
        }
        let journey = journeys.last_mut().unwrap();
        journey.entered.push((name, next));
        // In a quarter of the rooms the mover goes on without reading.
        let last = format!("{second}: b");
        while random.u8(..4) > 0 && journey.lines.last() != Some(&last) {
            while journey.lines.last() != Some(&last) {
                journey.lines.push(client.read_line());
            }
        }
        here = Some((client, next));
    }
    if let (Some((client, _)), Some(journey)) = (here, journeys.last_mut()) {
        journey.lines.extend(client.leave());
    }
    journeys
}

/// Checks a journey's lines against those of its rooms. Returns the number of lines.
fn check(journey: &Journey, rooms: &[RoomLog]) -> usize {
    // The lines of each room are checked stay by stay.
    for (name, room) in &journey.entered {
        let own = journey.lines.iter().filter(|line| room_of(line) == *room);
        let mut lines: Vec<String> = own.skip_while(|line| **line != format!("{name} has joined")).cloned().collect();
        let again = |line: &String| {
            let joined = line.strip_suffix(" has joined");
            joined.is_some_and(|joined| joined != name && journey.entered.iter().any(|(name, _)| name == joined))
        };
        lines.truncate(lines.iter().position(again).unwrap_or(lines.len()));
        rooms[*room].check(&[MemberLog { name: name.clone(), lines }]);
    }
    // No line of the old room may come after the mover's first line in the new one.
    let place = |line: &str| journey.lines.iter().position(|seen| seen == line).unwrap();
    for (stay, (name, room)) in journey.entered.iter().enumerate() {
        let to =
            journey.entered.get(stay + 1).map_or(journey.lines.len(), |(name, _)| place(&format!("{name} has joined")));
        let said = place(&format!("{name}: a"));
        let strange = journey.lines.get(said..to).unwrap_or_default().iter().find(|line| room_of(line) != *room);
        assert_eq!(strange, None, "a line of the old room after {name}'s first line");
    }
    journey.lines.len()
}

fn check_one_order(plan: Moves) {
    let server = TestServer::start_with(test_settings(|settings| {
        settings.network.workers = Some(plan.workers);
        (settings.live.rate, settings.live.byte_rate) = (0, 0);
    }));
    let witnesses: Vec<Client> =
        (0..plan.rooms).map(|room| server.join(&format!("r{room}"), &format!("wr{room}"))).collect();
    let start = Barrier::new(plan.movers + 1);
    thread::scope(|scope| {
        let (server, start) = (&server, &start);
        let senders: Vec<_> = witnesses.iter().map(Client::sender).collect();
        let readers: Vec<_> = witnesses
            .into_iter()
            .enumerate()
            .map(|(room, mut witness)| {
                scope.spawn(move || {
                    let mut lines = vec![format!("wr{room} has joined")];
                    lines.extend(witness.read_to_end());
                    RoomLog::new(lines)
                })
            })
            .collect();
        let movers: Vec<_> =
            (0..plan.movers).map(|mover| scope.spawn(move || move_between_rooms(plan, server, mover, start))).collect();
        start.wait();
        let mut journeys = Vec::new();
        for mover in movers {
            journeys.extend(mover.join().unwrap());
        }
        for (room, mut sender) in senders.into_iter().enumerate() {
            // The server handles earlier resets before this later join.
            server.join(&format!("r{room}"), &format!("lastr{room}")).leave();
            sender.half_close();
        }
        let rooms: Vec<RoomLog> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
        let seen: usize = journeys.iter().map(|journey| check(journey, &rooms)).sum();
        let entered: usize = journeys.iter().map(|journey| journey.entered.len()).sum();
        assert!(seen >= 4 * entered, "{seen} lines of {entered} stays");
    });
    wait_until_empty(&server);
}

#[test]
fn moving_peers_see_the_order_of_each_room() {
    for workers in [1, 2, 4] {
        check_one_order(Moves { workers, movers: 12, rooms: 3, visits: 30, resets: false });
    }
}

#[test]
fn moving_peers_see_the_order_of_each_room_while_others_are_reset() {
    for workers in [1, 2, 4] {
        check_one_order(Moves { workers, movers: 12, rooms: 3, visits: 30, resets: true });
    }
}

#[test]
#[ignore = "stress: run it in release mode"]
fn hundred_moving_peers_see_the_order_of_each_room() {
    for workers in [1, 2, 4] {
        for resets in [false, true] {
            check_one_order(Moves { workers, movers: 100, rooms: 8, visits: 50, resets });
        }
    }
}
