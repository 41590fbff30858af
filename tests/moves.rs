//! Names and rooms that are changed, by many at once.
//!
//! What is guaranteed to who goes from room to room: of each room it sees a contiguous stretch of
//! what everybody there sees, from its own `has joined` to just before its `has left`. It is let into
//! the new room before it leaves the old one, so the old one's last lines may come between the new
//! one's first. They never come behind a line that it has said in the new one.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;
#[path = "common/order.rs"]
mod order;

use common::{Client, TestServer, test_settings, wait_until};
use order::{MemberLog, RoomLog};
use std::sync::Barrier;
use std::thread;

/// Waits until nobody is left, and nobody has been lost on the way.
fn nothing_is_left(server: &TestServer) {
    wait_until("no room is left", || server.stats.rooms() == 0);
    wait_until("no connection is left", || server.stats.connections() == 0);
    let counters = server.stats.counters();
    assert_eq!(counters.joins, counters.leaves);
}

/// Half of the rivals are in the room and want another name, half of them want to come.
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
                        let refused = format!("*** the name {king} is taken here: choose another");
                        let got = loop {
                            match client.read_line() {
                                line if line == named => break true,
                                line if !is_member && line == joined => break true,
                                line if line == refused || line == "ERROR" => break false,
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
            nothing_is_left(&server);
        }
    }
}

/// Two who change places with each other's names, again and again: each has one of the two, or a
/// third, and the witness sees every name go from hand to hand.
#[test]
fn name_is_free_after_its_holder_is_renamed() {
    const ROUNDS: usize = 300;
    let server = TestServer::start_with(test_settings(|settings| {
        settings.live.rate = 0;
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
    nothing_is_left(&server);
}

/// Who is lost in the midst of a change leaves nothing behind: all its names can be had again.
#[test]
fn peer_reset_during_a_change_frees_both_names() {
    for workers in [1, 2, 4] {
        let server = TestServer::start_with(test_settings(|settings| {
            settings.network.workers = Some(workers);
        }));
        // They keep the rooms.
        let witnesses = ["room", "other"].map(|room| server.join(room, "witness"));
        for change in ["/nick spirit\n", "/nick GHOST\n", "/join other\n", "/join other spirit\n/nick ghost\n"] {
            for _ in 0..20 {
                let mut client = server.join("room", "ghost");
                client.send(change);
                client.reset();
                for (room, name) in [("room", "ghost"), ("room", "spirit"), ("other", "ghost"), ("other", "spirit")] {
                    wait_until("the name can be had", || {
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
        nothing_is_left(&server);
    }
}

/// How much of it there is.
#[derive(Clone, Copy)]
struct Moves {
    workers: u16,
    movers: usize,
    rooms: usize,
    /// How many rooms each enters.
    visits: usize,
    /// Whether some are lost on the way.
    resets: bool,
}

/// The room that a line was said in: it is at the end of each name.
fn room_of(line: &str) -> usize {
    let name = line.split([' ', ':']).next().unwrap();
    name.rsplit('r').next().unwrap().parse().unwrap_or_else(|_| panic!("{line:?} names no room"))
}

/// What a mover saw from its coming to its end, and the names under which it entered rooms.
struct Journey {
    lines: Vec<String>,
    /// Each with the room, and whether something was said there.
    entered: Vec<(String, usize)>,
}

/// Goes from room to room, with a new name in each, says something there, and changes its name.
fn travel(plan: Moves, server: &TestServer, mover: usize, start: &Barrier) -> Vec<Journey> {
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
        // Sometimes it goes on before it has seen anything.
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

/// Checks a journey against the rooms that it went through; how many lines it saw.
fn check(journey: &Journey, rooms: &[RoomLog]) -> usize {
    // The lines of one room, stay by stay.
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
    // Nothing of the old room behind what was said in the new one.
    let place = |line: &str| journey.lines.iter().position(|seen| seen == line).unwrap();
    for (stay, (name, room)) in journey.entered.iter().enumerate() {
        let to =
            journey.entered.get(stay + 1).map_or(journey.lines.len(), |(name, _)| place(&format!("{name} has joined")));
        let said = place(&format!("{name}: a"));
        let strange = journey.lines.get(said..to).unwrap_or_default().iter().find(|line| room_of(line) != *room);
        assert_eq!(strange, None, "behind {name}'s first line");
    }
    journey.lines.len()
}

fn everybody_sees_one_order(plan: Moves) {
    let server = TestServer::start_with(test_settings(|settings| {
        settings.network.workers = Some(plan.workers);
        settings.live.rate = 0;
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
            (0..plan.movers).map(|mover| scope.spawn(move || travel(plan, server, mover, start))).collect();
        start.wait();
        let mut journeys = Vec::new();
        for mover in movers {
            journeys.extend(mover.join().unwrap());
        }
        for (room, mut sender) in senders.into_iter().enumerate() {
            // Whoever was reset before this is gone when this is said: its reset came first.
            server.join(&format!("r{room}"), &format!("lastr{room}")).leave();
            sender.half_close();
        }
        let rooms: Vec<RoomLog> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
        let seen: usize = journeys.iter().map(|journey| check(journey, &rooms)).sum();
        let entered: usize = journeys.iter().map(|journey| journey.entered.len()).sum();
        assert!(seen >= 4 * entered, "{seen} lines of {entered} stays");
    });
    nothing_is_left(&server);
}

#[test]
fn moving_peers_see_the_order_of_each_room() {
    for workers in [1, 2, 4] {
        everybody_sees_one_order(Moves { workers, movers: 12, rooms: 3, visits: 30, resets: false });
    }
}

#[test]
fn moving_peers_see_the_order_of_each_room_while_others_are_reset() {
    for workers in [1, 2, 4] {
        everybody_sees_one_order(Moves { workers, movers: 12, rooms: 3, visits: 30, resets: true });
    }
}

#[test]
#[ignore = "stress: run it in release mode"]
fn hundred_moving_peers_see_the_order_of_each_room() {
    for workers in [1, 2, 4] {
        for resets in [false, true] {
            everybody_sees_one_order(Moves { workers, movers: 100, rooms: 8, visits: 50, resets });
        }
    }
}
