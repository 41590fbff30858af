//! Rooms that several servers share: one order on each server, each sender's order everywhere.

use super::super::Room;
use super::{feed, final_counters, room_on, send_lines};
use crate::metrics::{Counters, Metrics};
use crate::protocol::ProtocolKind;

/// The number of servers of the rooms. The rooms have number 3, so member i is on server i modulo 3.
const SERVERS: usize = 3;
/// The number of members of the rooms: two on each server.
const MEMBERS: usize = 6;

/// Lets the members receive lines by the script of their server: `a` is the first line. Returns the counters.
fn run(scripts: [&str; SERVERS], has_total_order: bool) -> Counters {
    run_members(std::array::from_fn(|member| scripts[member % SERVERS]), has_total_order)
}

/// Lets each member receive lines by a script. The letters of all scripts are received in turns.
fn run_members(scripts: [&str; MEMBERS], has_total_order: bool) -> Counters {
    let mut room = room_on(SERVERS, has_total_order, MEMBERS, ProtocolKind::Line);
    let mut metrics = Metrics::default();
    let lines = send_lines(&mut room, 6);
    let longest = scripts.iter().map(|script| script.len()).max().unwrap_or(0);
    for at in 0..longest {
        for (member, script) in scripts.iter().enumerate() {
            if let Some(letter) = script.as_bytes().get(at) {
                feed(&mut room, member, &[&lines[usize::from(letter - b'a')]], &mut metrics);
            }
        }
    }
    let counters = final_counters(&mut room, metrics);
    assert_eq!((counters.corrupt, counters.expected), (0, 36), "{scripts:?}: {counters:?}");
    counters
}

/// Asserts the numbers of lost and duplicated lines, and of lines out of their sender's and their room's order.
#[track_caller]
fn assert_faults(counters: &Counters, expected: [u64; 4]) {
    let found = [counters.lost, counters.duplicated, counters.misordered_sender, counters.misordered_room];
    assert_eq!(found, expected, "{counters:?}");
}

#[test]
fn servers_may_have_orders_of_their_own() {
    // Lines a, c and e are those of one sender, and b, d and f those of another one.
    let counters = run(["abcdef", "bdacef", "acebdf"], false);
    assert_faults(&counters, [0; 4]);
    assert_eq!(counters.delivered, 36);
}

#[test]
fn total_order_is_one_order_on_all_servers() {
    assert_faults(&run(["abcdef"; SERVERS], true), [0; 4]);
    let counters = run(["abcdef", "bacdef", "abcdef"], true);
    assert_faults(&counters, [0, 0, 0, 2]);
}

#[test]
fn told_gap_on_one_server_breaks_no_total_order() {
    let (mut room, mut metrics) = (room_on(SERVERS, true, MEMBERS, ProtocolKind::Line), Metrics::default());
    let lines = send_lines(&mut room, 6);
    let gap = b"*** 2 lines from node n0 are missing\n".to_vec();
    for member in 0..MEMBERS {
        if member % SERVERS == 1 {
            feed(&mut room, member, &[&lines[0], &gap, &lines[3], &lines[4], &lines[5]], &mut metrics);
        } else {
            feed(&mut room, member, &lines.iter().collect::<Vec<_>>(), &mut metrics);
        }
    }
    assert_eq!((room.in_flight(), room.is_complete()), (0, true));
    let counters = final_counters(&mut room, metrics);
    assert_faults(&counters, [0; 4]);
    assert_eq!((counters.told_missing, counters.untrue_gaps, counters.delivered), (4, 0, 32), "{counters:?}");
}

#[test]
fn members_on_one_server_must_see_one_order() {
    let counters = run_members(["abcdef", "badcfe", "acebdf", "bacdef", "badcfe", "acebdf"], false);
    assert_faults(&counters, [0, 0, 0, 1]);
}

#[test]
fn order_of_a_sender_holds_on_every_server() {
    let counters = run(["abcdef", "cbadef", "abcdef"], false);
    assert_faults(&counters, [0, 0, 2, 0]);
}

#[test]
fn lost_and_duplicated_lines_are_counted_on_each_server() {
    assert_faults(&run(["abcdef", "abdef", "bacdef"], false), [2, 0, 0, 0]);
    assert_faults(&run(["abcdef", "abccdef", "bacdef"], false), [0, 2, 0, 0]);
    assert_faults(&run_members(["abcdef", "abcdef", "abcdef", "abbcdef", "abcdf", "abcdef"], false), [1, 1, 0, 0]);
}

#[test]
fn line_is_in_flight_until_the_members_on_every_server_have_it() {
    let (mut room, mut metrics) = (room_on(SERVERS, false, 5, ProtocolKind::Line), Metrics::default());
    let lines = send_lines(&mut room, 2);
    for member in 0..4 {
        feed(&mut room, member, &[&lines[0], &lines[1]], &mut metrics);
        assert_eq!(room.in_flight(), 2);
    }
    feed(&mut room, 4, &[&lines[1]], &mut metrics);
    feed(&mut room, 4, &[&lines[0]], &mut metrics);
    assert_eq!((room.in_flight(), room.is_complete()), (0, true));
    assert_faults(&final_counters(&mut room, metrics), [0, 0, 0, 1]);
}

#[test]
fn server_without_a_member_in_the_room_delays_no_line() {
    let (mut room, mut metrics) = (room_on(SERVERS, false, 2, ProtocolKind::Line), Metrics::default());
    let lines = send_lines(&mut room, 2);
    feed(&mut room, 0, &[&lines[0], &lines[1]], &mut metrics);
    feed(&mut room, 1, &[&lines[1], &lines[0]], &mut metrics);
    assert_eq!((room.in_flight(), room.is_complete()), (0, true));
    assert_faults(&final_counters(&mut room, metrics), [0; 4]);
}

#[test]
fn last_member_on_each_server_is_in_every_sample() {
    let mut room = room_on(SERVERS, false, 100, ProtocolKind::Line);
    room.deferred_reads = true;
    let sampled = |room: &Room| (97..100).all(|member| room.is_read_immediately(member));
    for _ in 0..32 {
        assert!(sampled(&room), "each server has a member that paces the room");
        room.rotate_sample();
    }
}

#[test]
fn random_orders_of_the_servers_have_no_fault() {
    for seed in 0..50 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut room, mut metrics) = (room_on(SERVERS, false, MEMBERS, ProtocolKind::Line), Metrics::default());
        let lines = send_lines(&mut room, 100);
        // Each server merges the lines of the two senders in its own way.
        let order = |random: &mut fastrand::Rng| {
            let (mut next, mut order) = ([0, 1], Vec::new());
            while let Some(sender) = (0..2).filter(|sender| next[*sender] < lines.len()).max_by_key(|_| random.u8(..)) {
                order.push(next[sender]);
                next[sender] += 2;
            }
            order
        };
        let orders: Vec<Vec<usize>> = (0..SERVERS).map(|_| order(&mut random)).collect();
        let mut at = [0; MEMBERS];
        while at.iter().any(|at| *at < lines.len()) {
            let member = random.usize(..MEMBERS);
            let Some(line) = orders[member % SERVERS].get(at[member]) else { continue };
            at[member] += 1;
            feed(&mut room, member, &[&lines[*line]], &mut metrics);
        }
        assert_eq!((room.in_flight(), room.is_complete()), (0, true), "seed {seed}");
        assert_faults(&final_counters(&mut room, metrics), [0; 4]);
        assert!(room.orders.iter().all(|order| order.log.retained_bytes() == 0), "seed {seed}");
    }
}
