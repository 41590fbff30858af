//! Faults fed to a room byte by byte, without a socket.

use super::*;
use crate::metrics::{Counters, Metrics};
use crate::protocol::ProtocolKind;

mod several_servers;

/// Returns a room whose members have all joined. The first two members send.
pub(super) fn room(members: usize, kind: ProtocolKind) -> Room {
    room_on(1, false, members, kind)
}

/// Returns the same room on several servers, with one order on each or on all. Member i is on server i modulo their number.
pub(super) fn room_on(servers: usize, has_total_order: bool, members: usize, kind: ProtocolKind) -> Room {
    let mut room = Room::new(RoomConfig {
        number: 3,
        first: 0,
        connections: 0..members,
        senders: members.min(2),
        size: 40.into(),
        seed: 1,
        epoch: 1000,
        protocol: kind.protocol(),
        deferred_reads: false,
        servers,
        has_total_order,
        slow_readers: None,
    });
    (0..members).for_each(|member| _ = room.mark_joined(member));
    room
}

/// Sends `count` lines in turn. Returns the bytes that the server makes of each.
pub(super) fn send_lines(room: &mut Room, count: usize) -> Vec<Vec<u8>> {
    let mut text = Vec::new();
    let line = |room: &mut Room, text: &mut Vec<u8>| {
        let sender = room.next_line(1000, 1000, text).unwrap();
        let mut line = format!(":{}!u@h PRIVMSG #r :", room.member_name(sender)).into_bytes();
        if room.protocol.echoes_to_sender() {
            line = format!("{}: ", room.member_name(sender)).into_bytes();
        }
        line.extend_from_slice(text);
        line.push(b'\n');
        line
    };
    (0..count).map(|_| line(room, &mut text)).collect()
}

/// Lets a member receive lines one by one.
pub(super) fn feed(room: &mut Room, member: usize, lines: &[&Vec<u8>], metrics: &mut Metrics) {
    for line in lines {
        room.receive(member, line, 2000, metrics);
    }
}

/// Lets every member receive its own join notice and those of all later members.
pub(super) fn announce_joins(room: &mut Room, metrics: &mut Metrics) {
    let members = room.cursors.len();
    for (member, joined) in (0..members).flat_map(|member| (member..members).map(move |joined| (member, joined))) {
        let notice = format!("{} has joined\n", room.member_name(joined));
        room.receive(member, notice.as_bytes(), 2000, metrics);
    }
}

/// Returns the counters at the planned end of a run.
pub(super) fn final_counters(room: &mut Room, mut metrics: Metrics) -> Counters {
    room.add_final_counts(false, &mut metrics);
    metrics.counters
}

#[test]
fn line_split_at_any_byte_is_reassembled() {
    let (mut room, mut metrics) = (room(3, ProtocolKind::Line), Metrics::default());
    let stream = send_lines(&mut room, 4).concat();
    for (member, step) in [(0, 7), (1, 1), (2, stream.len())] {
        for chunk in stream.chunks(step) {
            room.receive(member, chunk, 2000, &mut metrics);
        }
    }
    assert!(room.is_complete());
    assert_eq!(room.in_flight(), 0);
    let counters = final_counters(&mut room, metrics);
    assert_eq!((counters.expected, counters.delivered, counters.lost, counters.corrupt), (12, 12, 0, 0));
}

#[test]
fn swapped_lines_of_two_senders_break_only_the_room_order() {
    let (mut room, mut metrics) = (room(3, ProtocolKind::Line), Metrics::default());
    let lines = send_lines(&mut room, 4);
    let [a, b, c, d] = &lines[..] else { panic!() };
    feed(&mut room, 0, &[a, b, c, d], &mut metrics);
    feed(&mut room, 1, &[b, a, c, d], &mut metrics);
    feed(&mut room, 2, &[a, b, c, d], &mut metrics);
    let counters = final_counters(&mut room, metrics);
    assert_eq!((counters.misordered_room, counters.misordered_sender, counters.misordered), (1, 0, 1), "{counters:?}");
    assert_eq!((counters.delivered, counters.lost, counters.duplicated), (12, 0, 0));
}

#[test]
fn loss_at_the_first_receiver_is_counted() {
    let (mut room, mut metrics) = (room(3, ProtocolKind::Line), Metrics::default());
    let lines = send_lines(&mut room, 6);
    let all: Vec<&Vec<u8>> = lines.iter().collect();
    // The third line is lost for the member that is read first.
    feed(&mut room, 0, &[&all[..2], &all[3..]].concat(), &mut metrics);
    feed(&mut room, 1, &all, &mut metrics);
    feed(&mut room, 2, &all, &mut metrics);
    let counters = final_counters(&mut room, metrics);
    assert_eq!(
        (counters.lost, counters.misordered, counters.duplicated, counters.delivered),
        (1, 0, 0, 17),
        "{counters:?}"
    );
}

#[test]
fn line_from_another_room_is_corrupt() {
    let (mut room, mut metrics) = (room(2, ProtocolKind::Line), Metrics::default());
    let lines = send_lines(&mut room, 1);
    let mut other = format!("{}: ", room.member_name(0)).into_bytes();
    payload::encode(&Stamp { room: 4, sender: 0, sequence: 0, planned_us: 0 }, 40, &mut other);
    other.push(b'\n');
    feed(&mut room, 0, &[&lines[0], &other], &mut metrics);
    feed(&mut room, 1, &[&other, &lines[0]], &mut metrics);
    let counters = final_counters(&mut room, metrics);
    assert_eq!((counters.corrupt, counters.delivered, counters.lost), (2, 2, 0), "{counters:?}");
}

#[test]
fn line_with_another_sender_or_other_bytes_is_corrupt() {
    let (mut room, mut metrics) = (room(3, ProtocolKind::Irc), Metrics::default());
    let line = send_lines(&mut room, 1).remove(0);
    let changed = |from: &str, to: &str| String::from_utf8(line.clone()).unwrap().replace(from, to).into_bytes();
    // The first receiver's bytes become the log, but the stamp decides which sender is valid.
    feed(&mut room, 1, &[&changed("x00000!", "x00001!"), &line], &mut metrics);
    assert_eq!(metrics.counters.corrupt, 1);
    feed(&mut room, 2, &[&changed("u@h", "u@i")], &mut metrics);
    assert_eq!(metrics.counters.corrupt, 2, "{:?}", metrics.counters);
}

#[test]
fn wrong_and_repeated_notices_are_untrue() {
    let (mut room, mut metrics) = (room(2, ProtocolKind::Line), Metrics::default());
    let name = room.member_name(1);
    for notice in [format!("{name} has joined\n"), format!("{name} has joined\n"), "ghost has joined\n".into()] {
        room.receive(0, notice.as_bytes(), 2000, &mut metrics);
    }
    room.receive(0, b"ghost has left\n", 2000, &mut metrics);
    assert_eq!((metrics.counters.join_notices, metrics.counters.untrue_notices), (1, 3));
    room.receive(0, format!("{name} has left\n").as_bytes(), 2000, &mut metrics);
    assert_eq!(final_counters(&mut room, metrics).untrue_notices, 4, "the member has not left");
}

#[test]
fn leave_notice_may_precede_the_close_of_its_subject() {
    let (mut room, mut metrics) = (room(2, ProtocolKind::Line), Metrics::default());
    room.receive(0, format!("{} has left\n", room.member_name(1)).as_bytes(), 2000, &mut metrics);
    room.mark_left(1);
    let counters = final_counters(&mut room, metrics);
    assert_eq!((counters.leave_notices, counters.untrue_notices), (1, 0), "{counters:?}");
}

#[test]
fn leave_notices_of_a_step_are_expected_at_members_that_stay() {
    let (mut room, mut metrics) = (room(4, ProtocolKind::Line), Metrics::default());
    announce_joins(&mut room, &mut metrics);
    assert_eq!(room.start_leave_step(LeaveStep::One, &mut metrics), 3..4);
    let notice = format!("{} has left\n", room.member_name(3));
    for member in [0, 1, 1] {
        room.receive(member, notice.as_bytes(), 2000, &mut metrics);
    }
    assert!(!room.all_leaves_announced(), "member 2 was not told");
    room.add_leave_counts(&mut metrics);
    let counters = &metrics.counters;
    assert_eq!((counters.leave_notices_expected, counters.leave_notices_lost), (3, 1), "{counters:?}");
    assert_eq!((counters.leave_notices, counters.untrue_notices), (2, 1), "member 1 was told twice: {counters:?}");
}

#[test]
fn skipped_lines_are_compared_with_the_missing_ones() {
    let (mut room, mut metrics) = (room(3, ProtocolKind::Line), Metrics::default());
    announce_joins(&mut room, &mut metrics);
    let lines = send_lines(&mut room, 4);
    let [a, b, c, d] = &lines[..] else { panic!() };
    let skip = |lines: u64| format!("*** {lines} lines skipped\n").into_bytes();
    feed(&mut room, 0, &[a, b, c, d], &mut metrics);
    feed(&mut room, 1, &[a, b, &skip(10), c, d], &mut metrics);
    feed(&mut room, 2, &[a, &skip(2), d], &mut metrics);
    let counters = final_counters(&mut room, metrics);
    assert_eq!((counters.skipped, counters.untrue_skips, counters.lost), (12, 10, 2), "{counters:?}");
}

#[test]
fn reason_of_a_refusal_may_arrive_in_a_later_chunk() {
    let (mut room, mut metrics) = (room(1, ProtocolKind::Line), Metrics::default());
    assert_eq!(room.receive(0, b"ERROR\n", 2000, &mut metrics).fault, None);
    let received = room.receive(0, b"your line is too long\n", 2000, &mut metrics);
    assert_eq!(received.fault, Some(ServerFault::Refused("ERROR: your line is too long".into())));
    assert_eq!((metrics.counters.errors, room.take_unexplained_refusal(0)), (1, false));
    room.receive(0, b"ERROR\n", 2000, &mut metrics);
    assert!(room.take_unexplained_refusal(0));
}

#[test]
fn missing_lines_of_a_stopped_run_are_in_flight() {
    let (mut room, mut metrics) = (room(2, ProtocolKind::Line), Metrics::default());
    let lines = send_lines(&mut room, 3);
    feed(&mut room, 0, &[&lines[0]], &mut metrics);
    room.add_final_counts(true, &mut metrics);
    assert_eq!((metrics.counters.expected, metrics.counters.in_flight, metrics.counters.lost), (6, 5, 0));
}

#[test]
fn very_late_line_is_misordered_but_not_lost() {
    let (mut room, mut metrics) = (room(1, ProtocolKind::Line), Metrics::default());
    let lines = send_lines(&mut room, 4);
    let [a, b, c, d] = &lines[..] else { panic!() };
    feed(&mut room, 0, &[a, c, b, d, a], &mut metrics);
    let counters = final_counters(&mut room, metrics);
    assert_eq!((counters.lost, counters.duplicated, counters.delivered), (0, 1, 4), "{counters:?}");
    assert_eq!((counters.misordered_sender, counters.misordered_room), (1, 0), "no other member exists: {counters:?}");
}

#[test]
fn sender_without_echo_expects_no_own_lines() {
    let (mut room, mut metrics) = (room(3, ProtocolKind::Irc), Metrics::default());
    let lines = send_lines(&mut room, 4);
    let [a, b, c, d] = &lines[..] else { panic!() };
    feed(&mut room, 0, &[b, d], &mut metrics);
    feed(&mut room, 1, &[a, c], &mut metrics);
    feed(&mut room, 2, &[a, b, c, d], &mut metrics);
    assert!(room.is_complete());
    assert_eq!(room.in_flight(), 0);
    let counters = final_counters(&mut room, metrics);
    assert_eq!(
        (counters.expected, counters.delivered, counters.lost, counters.misordered),
        (8, 8, 0, 0),
        "{counters:?}"
    );
}

#[test]
fn member_that_left_expects_no_more_lines() {
    let (mut room, mut metrics) = (room(2, ProtocolKind::Line), Metrics::default());
    let lines = send_lines(&mut room, 3);
    feed(&mut room, 0, &[&lines[0], &lines[1], &lines[2]], &mut metrics);
    feed(&mut room, 1, &[&lines[0]], &mut metrics);
    assert_eq!(room.in_flight(), 2);
    assert!(room.mark_left(1));
    assert_eq!(room.in_flight(), 0);
    let counters = final_counters(&mut room, metrics);
    assert_eq!((counters.expected, counters.delivered, counters.lost), (4, 4, 0), "{counters:?}");
}

#[test]
fn unread_bytes_of_deferred_members_pause_sending() {
    let (mut room, mut metrics) = (room(40, ProtocolKind::Line), Metrics::default());
    room.deferred_reads = true;
    room.recompute_floors();
    let stream = send_lines(&mut room, 2000).concat();
    assert!(stream.len() > sample::MAX_UNREAD_BYTES);
    (0..40).filter(|&member| room.is_read_immediately(member)).collect::<Vec<_>>().into_iter().for_each(|member| {
        room.receive(member, &stream, 2000, &mut metrics);
    });
    assert_eq!(room.in_flight(), 0);
    assert!(room.awaits_deferred_reads());
    (0..40).filter(|&member| !room.is_read_immediately(member)).collect::<Vec<_>>().into_iter().for_each(|member| {
        room.receive(member, &stream, 2000, &mut metrics);
    });
    assert!(!room.awaits_deferred_reads() && room.is_complete());
    assert_eq!(metrics.counters.delivered, 80_000);
}

#[test]
fn latency_of_a_deferred_delivery_counts_up_to_the_previous_read() {
    let (mut room, mut metrics) = (room(40, ProtocolKind::Line), Metrics::default());
    room.deferred_reads = true;
    room.recompute_floors();
    metrics.set_window(0, (0, Tick::MAX));
    metrics.previous_deferred_read = 4_001_000;
    let line = send_lines(&mut room, 1).remove(0);
    (0..40).for_each(|member| _ = room.receive(member, &line, 10_001_000, &mut metrics));
    room.add_final_counts(false, &mut metrics);
    let means: Vec<u64> = metrics.slowest.members.iter().map(|slow| slow.mean_us).collect();
    assert_eq!(means, [10_000, 10_000, 10_000, 10_000, 4000, 4000, 4000, 4000, 4000, 4000]);
    assert_eq!(metrics.slowest.rooms[0].count, 40);
    assert_eq!((metrics.counters.sampled_members, metrics.counters.members), (4, 40));
}

#[test]
fn lines_of_a_diverged_member_are_found_without_a_search() {
    let (mut room, mut metrics) = (room(3, ProtocolKind::Line), Metrics::default());
    let stream = send_lines(&mut room, 200_000).concat();
    let line = stream.len() / 200_000;
    room.receive(0, &stream, 2000, &mut metrics);
    // The log keeps all lines until the last member has received them.
    room.receive(2, &stream[line..], 2000, &mut metrics);
    room.receive(1, &stream, 2000, &mut metrics);
    let counters = final_counters(&mut room, metrics);
    assert_eq!((counters.lost, counters.delivered, counters.misordered), (1, 599_999, 0), "{counters:?}");
}

#[test]
fn lines_after_many_gaps_are_placed_without_a_search() {
    let (mut room, mut metrics) = (room(3, ProtocolKind::Line), Metrics::default());
    let lines = send_lines(&mut room, 200_000);
    // Each second line of both senders is lost for every member.
    for line in lines.iter().enumerate().filter(|(at, _)| at % 4 > 1).map(|(_, line)| line) {
        (0..3).for_each(|member| _ = room.receive(member, line, 2000, &mut metrics));
    }
    assert_eq!(
        (room.in_flight(), room.orders[0].log.lines()),
        (100_000, 100_000),
        "every line that arrived has a position"
    );
    let counters = final_counters(&mut room, metrics);
    assert_eq!((counters.lost, counters.delivered, counters.misordered), (300_000, 300_000, 0), "{counters:?}");
}

#[test]
fn duplicates_at_a_member_that_lags_are_found_without_a_search() {
    let (mut room, mut metrics) = (room(2, ProtocolKind::Line), Metrics::default());
    let lines = send_lines(&mut room, 100_000);
    room.receive(0, &lines.concat(), 2000, &mut metrics);
    let twice: Vec<&[u8]> = lines.iter().flat_map(|line| [&line[..], line]).collect();
    room.receive(1, &twice.concat(), 2000, &mut metrics);
    let counters = final_counters(&mut room, metrics);
    assert_eq!((counters.duplicated, counters.lost, counters.misordered), (100_000, 0, 0), "{counters:?}");
}

#[test]
fn random_losses_are_counted_exactly_and_break_no_order() {
    let mut state = 7_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for _ in 0..50 {
        let (mut room, mut metrics) = (room(5, ProtocolKind::Line), Metrics::default());
        let lines = send_lines(&mut room, 200);
        let (mut next, mut lost) = ([0; 5], 0);
        while next.iter().any(|at| *at < lines.len()) {
            let member = usize::try_from(random(5)).unwrap();
            let Some(line) = lines.get(next[member]) else { continue };
            next[member] += 1;
            if random(10) == 0 {
                lost += 1;
            } else {
                room.receive(member, line, 2000, &mut metrics);
            }
        }
        let counters = final_counters(&mut room, metrics);
        let found = (counters.lost, counters.duplicated, counters.misordered, counters.corrupt);
        assert_eq!(found, (lost, 0, 0, 0), "{counters:?}");
    }
}
