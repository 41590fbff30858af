//! Runs against a server with one fault each: the counters show the fault exactly, on a busy machine, too.
//!
//! Verdicts on recorded measurements are tested in `verdicts.rs`.

mod common;

use std::time::Duration;

use common::{
    Fault, assert_passed, assert_verdict, plan, plan_with, refusing_address, run, run_with, serve, serve_with_victim,
};
use loadtest::plan::{Pacing, Plan, Stop};
use loadtest::verdict::VerdictKind;

/// The rooms of the usual plan. The fault occurs in each of them.
const ROOMS: u64 = 2;

#[test]
fn run_without_fault_delivers_each_line_once() {
    let result = run(&Plan { pacing: Pacing::Closed { window: 2 }, ..plan_with(Fault::None) });
    let counters = &result.outcome.counters;
    assert_eq!((counters.sent, counters.expected, counters.delivered), (40, 200, 200), "{counters:?}");
    assert_eq!((counters.lost, counters.duplicated, counters.misordered, counters.corrupt), (0, 0, 0, 0));
    assert_eq!((counters.join_notices, counters.join_notices_expected), (30, 30));
    // In each room, four members are told of the first leaver, and then one member of three more.
    assert_eq!((counters.leave_notices_expected, counters.leave_notices_lost), (7 * ROOMS, 0), "{counters:?}");
    assert_eq!((counters.untrue_notices, counters.untrue_skips), (0, 0), "{counters:?}");
    assert_eq!((result.outcome.worst_rooms.len(), counters.sampled_members), (2, 10));
    assert_passed(&result);
    assert!(
        result.outcome.latency_us.p50 >= 1 && result.outcome.latency_us.max >= result.outcome.latency_us.p99,
        "{result:?}"
    );
}

#[test]
fn line_lost_for_one_member_is_counted() {
    let result = run_with(Fault::LoseForOne(5));
    assert_eq!((result.outcome.counters.lost, result.outcome.counters.delivered), (ROOMS, 200 - ROOMS));
    assert_eq!((result.outcome.counters.duplicated, result.outcome.counters.misordered), (0, 0));
    assert_verdict(&result, VerdictKind::Wrong, "2 of 200 deliveries lost");
}

#[test]
fn line_lost_for_all_members_is_counted_and_later_lines_are_in_order() {
    let result = run_with(Fault::LoseForAll(5));
    assert_eq!((result.outcome.counters.lost, result.outcome.counters.delivered), (5 * ROOMS, 200 - 5 * ROOMS));
    assert_eq!((result.outcome.counters.duplicated, result.outcome.counters.misordered), (0, 0));
    assert_verdict(&result, VerdictKind::Wrong, "10 of 200 deliveries lost");
}

#[test]
fn loss_of_the_last_line_is_counted() {
    let result = run_with(Fault::LoseForOne(20));
    assert_eq!(result.outcome.counters.lost, ROOMS);
    assert_verdict(&result, VerdictKind::Wrong, "2 of 200 deliveries lost");
}

#[test]
fn duplicate_for_one_member_is_counted() {
    let result = run_with(Fault::Duplicate(7));
    assert_eq!(
        (result.outcome.counters.duplicated, result.outcome.counters.lost, result.outcome.counters.misordered),
        (ROOMS, 0, 0)
    );
    assert_eq!(result.outcome.counters.delivered, 200);
    assert_verdict(&result, VerdictKind::Wrong, "2 delivered more than once");
}

#[test]
fn duplicate_for_all_members_is_counted() {
    let result = run_with(Fault::DuplicateForAll(7));
    assert_eq!(
        (result.outcome.counters.duplicated, result.outcome.counters.lost, result.outcome.counters.misordered),
        (5 * ROOMS, 0, 0)
    );
}

#[test]
fn swapped_lines_of_two_senders_are_counted() {
    let result = run_with(Fault::Swap(9));
    let counters = &result.outcome.counters;
    assert_eq!((counters.lost, counters.duplicated), (0, 0), "{counters:?}");
    // The member that is read first defines the order of its room. Where it is the one with the swapped lines, the four
    // others differ from that order.
    assert!([2, 5, 8].contains(&counters.misordered_room), "{counters:?}");
    assert_eq!(counters.misordered, counters.misordered_room, "{counters:?}");
    assert_verdict(&result, VerdictKind::Wrong, "out of their room's common order");
}

#[test]
fn swapped_lines_of_one_sender_are_counted() {
    let result = run(&Plan { senders: 1, ..plan_with(Fault::Swap(9)) });
    let counters = &result.outcome.counters;
    assert_eq!((counters.misordered_sender, counters.misordered), (ROOMS, ROOMS), "{counters:?}");
    assert_eq!((counters.lost, counters.duplicated), (0, 0), "{counters:?}");
    assert_verdict(&result, VerdictKind::Wrong, "2 out of their sender's order");
}

#[test]
fn changed_letter_is_counted_as_corrupt() {
    let result = run_with(Fault::Corrupt(4));
    assert_eq!(
        (result.outcome.counters.corrupt, result.outcome.counters.lost),
        (ROOMS, ROOMS),
        "{:?}",
        result.outcome.counters
    );
    assert_verdict(&result, VerdictKind::Wrong, "2 lines that no member sent");
}

#[test]
fn any_changed_part_of_a_line_is_counted_as_corrupt() {
    let all = 5 * ROOMS;
    let cases = [
        (Fault::Rename(4), ROOMS),
        (Fault::RenameForAll(4), all),
        (Fault::Planned(4), ROOMS),
        (Fault::CrLf(4), ROOMS),
        (Fault::CrLfForAll(4), all),
        (Fault::Front(4), all),
    ];
    std::thread::scope(|scope| {
        for (fault, members) in cases {
            scope.spawn(move || {
                let result = run_with(fault);
                let counters = &result.outcome.counters;
                assert_eq!((counters.corrupt, counters.lost), (members, members), "{fault:?} {counters:?}");
                assert_verdict(&result, VerdictKind::Wrong, "lines that no member sent");
            });
        }
    });
}

#[test]
fn wrong_and_repeated_notices_are_counted() {
    for fault in [Fault::GhostJoin, Fault::JoinTwice, Fault::GhostLeave] {
        let result = run_with(fault);
        assert!(result.outcome.counters.untrue_notices > 0, "{fault:?} {:?}", result.outcome.counters);
        assert_verdict(&result, VerdictKind::Wrong, "that were wrong or repeated");
    }
}

#[test]
fn skipped_lines_are_counted_as_lost_and_as_announced() {
    let result = run_with(Fault::Skip(4));
    let counters = &result.outcome.counters;
    assert_eq!((counters.skip_notices, counters.skipped, counters.lost), (ROOMS, 3 * ROOMS, 3 * ROOMS), "{counters:?}");
    assert_eq!(counters.untrue_skips, 0, "{counters:?}");
    assert_verdict(&result, VerdictKind::Wrong, "(6 announced as skipped)");
}

#[test]
fn lost_join_notice_is_counted() {
    let result = run_with(Fault::LoseNotice);
    let counters = &result.outcome.counters;
    assert!(counters.join_notices < counters.join_notices_expected, "{counters:?}");
    assert_verdict(&result, VerdictKind::Wrong, "join notices lost");
}

#[test]
fn join_notices_to_newcomers_in_place_of_old_members_are_untrue() {
    let mut plan = plan(serve(Fault::ReverseJoins));
    // Each member has joined before the next one asks to join.
    plan.connecting = 1;
    let result = run(&plan);
    let counters = &result.outcome.counters;
    assert_eq!((counters.join_notices, counters.join_notices_expected), (10, 30), "{counters:?}");
    assert_eq!((counters.untrue_notices, result.verdict.exit_code()), (10 * ROOMS, 1), "{counters:?}");
    assert!(result.verdict.text.contains("20 of 30 join notices lost"), "{}", result.verdict.text);
}

#[test]
fn lost_leave_notices_are_counted() {
    let result = run_with(Fault::LoseLeaves);
    let counters = &result.outcome.counters;
    let expected = 4 * ROOMS;
    assert_eq!((counters.leave_notices_expected, counters.leave_notices_lost), (expected, expected), "{counters:?}");
    assert_eq!((counters.lost, result.outcome.leave.count, result.verdict.exit_code()), (0, 10, 1), "{counters:?}");
    assert!(result.verdict.text.contains("8 of 8 expected leave notices lost"), "{}", result.verdict.text);
}

#[test]
fn repeated_leave_notices_are_untrue() {
    let result = run_with(Fault::LeaveTwice);
    let counters = &result.outcome.counters;
    // One leaver is announced to four members, then three leavers to the first member, in each room.
    assert!(counters.untrue_notices >= 7 * ROOMS, "{counters:?}");
    assert_eq!((counters.leave_notices_lost, result.verdict.exit_code()), (0, 1), "{counters:?}");
}

#[test]
fn skip_notice_without_a_missing_line_is_untrue() {
    let result = run_with(Fault::SkipNothing(4));
    let counters = &result.outcome.counters;
    assert_eq!((counters.untrue_skips, counters.lost, result.verdict.exit_code()), (10 * ROOMS, 0, 1), "{counters:?}");
    assert!(result.verdict.text.contains("announced as skipped that were not missing"), "{}", result.verdict.text);
}

#[test]
fn member_that_the_server_delays_is_the_slowest_one() {
    let victim = 3;
    let mut plan = plan(serve_with_victim(Fault::Delay(std::time::Duration::from_millis(300)), victim));
    (plan.connections, plan.rooms) = (40, 1);
    plan.pacing = Pacing::Closed { window: 8 };
    plan.stop = Stop::After(std::time::Duration::from_secs(2));
    plan.read_every = std::time::Duration::from_millis(2);
    plan.patience = std::time::Duration::from_secs(30);
    let outcome = run(&plan).outcome;
    let slowest = outcome.worst_members.first().map(|slow| (slow.room, slow.member));
    assert_eq!(slowest, Some((0, Some(victim))), "{:?}", outcome.worst_members);
    let counters = &outcome.counters;
    assert_eq!((counters.lost, counters.members), (0, 40), "{counters:?}");
    // Four members belong to the first sample: two senders, the last member and one other.
    assert!(counters.sampled_members > 4, "the sample did not rotate: {counters:?}");
}

#[test]
fn server_that_closes_all_connections_is_reported() {
    let result = run_with(Fault::CloseAll(10));
    assert_eq!(
        (result.outcome.counters.closed, result.verdict.kind),
        (10, VerdictKind::Incomplete),
        "{:?}",
        result.outcome.counters
    );
    assert!(
        result.outcome.counters.delivered >= 40,
        "earlier deliveries are still counted: {:?}",
        result.outcome.counters
    );
    assert!(result.verdict.text.contains("closed every connection during the run"), "{}", result.verdict.text);
}

#[test]
fn server_that_keeps_connections_open_is_reported() {
    let result = run_with(Fault::KeepOpen);
    assert_eq!((result.verdict.exit_code(), result.outcome.leave.count), (3, 0));
    assert!(result.verdict.text.contains("kept 10 of 10 connections open"), "{}", result.verdict.text);
    assert_eq!(run_with(Fault::None).outcome.leave.count, 10);
}

#[test]
fn close_of_members_that_have_not_left_is_reported() {
    let result = run_with(Fault::CloseAtLeave);
    let counters = &result.outcome.counters;
    // In each room one member leaves, and the server closes the four others.
    assert_eq!((counters.left, counters.closed, counters.lost), (ROOMS, 4 * ROOMS, 0), "{counters:?}");
    assert_verdict(&result, VerdictKind::Incomplete, "closed 8 connections during the run");
}

#[test]
fn lines_in_transit_at_a_failure_are_not_lost() {
    let hour = Duration::from_secs(3600);
    let result = run(&Plan { stop: Stop::After(hour), warmup: hour, ..plan_with(Fault::CloseAll(10)) });
    assert_eq!(
        (result.outcome.counters.lost, result.outcome.window_seconds),
        (0, 0.0),
        "{:?}",
        result.outcome.counters
    );
    let table = loadtest::table::render(&result);
    assert!(table.contains("ended in warm-up after") && !table.contains("deliveries/s"), "{table}");
}

#[test]
fn one_closed_connection_is_reported() {
    let result = run_with(Fault::CloseOne(10));
    assert_eq!(result.outcome.counters.closed, ROOMS, "{:?}", result.outcome.counters);
    assert_verdict(&result, VerdictKind::Incomplete, "closed 2 connections during the run");
}

#[test]
fn refusals_and_other_protocols_are_reported() {
    let cases = [
        (Fault::Refuse, "refused a connection: it sent `ERROR"),
        (Fault::Http, "does not speak --protocol line: it sent `HTTP/1.1 400"),
        (Fault::Silent, "0 of 10 connections joined"),
    ];
    for (fault, words) in cases {
        let result = run_with(fault);
        assert_eq!(result.verdict.exit_code(), 3, "{fault:?}");
        assert!(result.verdict.text.contains(words), "{fault:?}: {}", result.verdict.text);
    }
}

#[test]
fn missing_server_is_reported() {
    let (_socket, address) = refusing_address();
    let result = run(&plan(address));
    assert_eq!(result.verdict.exit_code(), 3);
    assert!(result.verdict.text.contains("cannot connect"), "{}", result.verdict.text);
}

#[test]
fn closed_loop_is_checked_with_immediate_and_deferred_reads() {
    std::thread::scope(|scope| {
        for read_every in [0, 2].map(Duration::from_millis) {
            for (fault, lost, duplicated) in
                [(Fault::None, 0, 0), (Fault::LoseForOne(50), 2, 0), (Fault::Duplicate(50), 0, 2)]
            {
                scope.spawn(move || assert_closed_loop(fault, read_every, (lost, duplicated)));
            }
        }
    });
}

fn assert_closed_loop(fault: Fault, read_every: Duration, (lost, duplicated): (u64, u64)) {
    let result =
        run(&Plan { pacing: Pacing::Closed { window: 8 }, stop: Stop::Lines(200), read_every, ..plan_with(fault) });
    let counters = &result.outcome.counters;
    assert_eq!(counters.expected, 5 * counters.sent, "{fault:?} {counters:?}");
    // A line that is lost for the member that paces its room ends the sending there.
    if !matches!(fault, Fault::LoseForOne(_)) {
        assert_eq!(counters.sent, 400, "{fault:?} {counters:?}");
    }
    let found = (counters.lost, counters.duplicated, counters.misordered);
    assert_eq!(found, (lost, duplicated, 0), "{fault:?} {counters:?}");
}

#[test]
fn fault_is_counted_at_any_member() {
    // The first sender, a member whose reads are deferred, and the last member, which is read immediately; each during
    // the run and at its end.
    let faults = [50, 100].map(|at| [Fault::LoseForOne(at), Fault::Duplicate(at), Fault::Rename(at)]);
    std::thread::scope(|scope| {
        for victim in [0, 3, 40] {
            for fault in faults.into_iter().flatten() {
                scope.spawn(move || assert_fault_is_counted(fault, victim));
            }
        }
    });
}

fn assert_fault_is_counted(fault: Fault, victim: usize) {
    let result = run(&Plan {
        connections: 40,
        rooms: 1,
        pacing: Pacing::Closed { window: 8 },
        stop: Stop::Lines(100),
        read_every: Duration::from_millis(2),
        patience: fault.patience(),
        ..plan(serve_with_victim(fault, victim))
    });
    let counters = &result.outcome.counters;
    let expected = match fault {
        Fault::LoseForOne(_) => (1, 0, 0),
        Fault::Duplicate(_) => (0, 1, 0),
        _ => (1, 0, 1),
    };
    let found = (counters.lost, counters.duplicated, counters.corrupt);
    assert_eq!((found, counters.misordered), (expected, 0), "{fault:?} for {victim}: {counters:?}");
    assert_verdict(&result, VerdictKind::Wrong, "WRONG: ");
}

#[test]
fn rooms_are_spread_over_two_threads() {
    let result = run(&Plan { threads: 2, ..plan_with(Fault::LoseForOne(3)) });
    assert_eq!(
        (result.outcome.counters.sent, result.outcome.counters.lost, result.outcome.counters.delivered),
        (40, ROOMS, 200 - ROOMS)
    );
}
