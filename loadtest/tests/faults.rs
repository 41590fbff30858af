//! Runs against a server with one fault each: the counters show the fault, and the verdict names it.

mod common;

use common::{Fault, plan, run, run_with, serve, serve_with_victim};
use loadtest::plan::{Pacing, Stop};
use loadtest::verdict::VerdictKind;

/// The rooms of the usual plan. The fault occurs in each of them.
const ROOMS: u64 = 2;

#[test]
fn run_without_fault_is_good() {
    let mut plan = plan(serve(Fault::None));
    plan.patience = std::time::Duration::from_secs(30);
    plan.pacing = Pacing::Closed { window: 2 };
    let result = run(&plan);
    let counters = &result.outcome.counters;
    assert_eq!((counters.sent, counters.expected, counters.delivered), (40, 200, 200), "{counters:?}");
    assert_eq!((counters.lost, counters.duplicated, counters.misordered, counters.corrupt), (0, 0, 0, 0));
    assert_eq!((counters.join_notices, counters.join_notices_expected), (30, 30));
    // In each room, four members are told of the first leaver, and then one member of three more.
    assert_eq!((counters.leave_notices_expected, counters.leave_notices_lost), (7 * ROOMS, 0), "{counters:?}");
    assert_eq!((counters.untrue_notices, counters.untrue_skips), (0, 0), "{counters:?}");
    assert_eq!((result.outcome.worst_rooms.len(), counters.sampled_members), (2, 10));
    assert_eq!((result.verdict.kind, result.verdict.exit_code()), (VerdictKind::Good, 0), "{}", result.verdict.text);
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
    assert_eq!(result.verdict.exit_code(), 1);
    assert!(result.verdict.text.contains("2 of 200 deliveries lost"), "{}", result.verdict.text);
}

#[test]
fn line_lost_for_all_members_is_counted_and_later_lines_are_in_order() {
    let result = run_with(Fault::LoseForAll(5));
    assert_eq!((result.outcome.counters.lost, result.outcome.counters.delivered), (5 * ROOMS, 200 - 5 * ROOMS));
    assert_eq!((result.outcome.counters.duplicated, result.outcome.counters.misordered), (0, 0));
    assert_eq!(result.verdict.exit_code(), 1);
}

#[test]
fn loss_of_the_last_line_is_counted() {
    let result = run_with(Fault::LoseForOne(20));
    assert_eq!(result.outcome.counters.lost, ROOMS);
    assert_eq!(result.verdict.exit_code(), 1);
}

#[test]
fn duplicate_for_one_member_is_counted() {
    let result = run_with(Fault::Duplicate(7));
    assert_eq!(
        (result.outcome.counters.duplicated, result.outcome.counters.lost, result.outcome.counters.misordered),
        (ROOMS, 0, 0)
    );
    assert_eq!((result.outcome.counters.delivered, result.verdict.exit_code()), (200, 1));
    assert!(result.verdict.text.contains("more than once"), "{}", result.verdict.text);
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
    assert_eq!((counters.misordered, counters.misordered_room), (ROOMS, ROOMS), "{counters:?}");
    assert_eq!((counters.lost, counters.duplicated), (0, 0), "{counters:?}");
    assert_eq!(result.verdict.exit_code(), 1);
}

#[test]
fn swapped_lines_of_one_sender_are_counted() {
    let mut plan = plan(serve(Fault::Swap(9)));
    plan.senders = 1;
    let result = run(&plan);
    assert_eq!(
        (result.outcome.counters.misordered_sender, result.outcome.counters.misordered),
        (ROOMS, ROOMS),
        "{:?}",
        result.outcome.counters
    );
    assert_eq!(
        (result.outcome.counters.lost, result.outcome.counters.duplicated, result.verdict.exit_code()),
        (0, 0, 1)
    );
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
    assert_eq!(result.verdict.exit_code(), 1);
}

#[test]
fn any_changed_part_of_a_line_is_counted_as_corrupt() {
    let all = 5 * ROOMS;
    for (fault, members) in [
        (Fault::Rename(4), ROOMS),
        (Fault::RenameForAll(4), all),
        (Fault::Planned(4), ROOMS),
        (Fault::CrLf(4), ROOMS),
        (Fault::CrLfForAll(4), all),
        (Fault::Front(4), all),
    ] {
        let result = run_with(fault);
        assert_eq!(
            (result.outcome.counters.corrupt, result.outcome.counters.lost),
            (members, members),
            "{fault:?} {:?}",
            result.outcome.counters
        );
        assert_eq!(result.verdict.exit_code(), 1, "{fault:?}");
    }
}

#[test]
fn wrong_and_repeated_notices_are_counted() {
    for fault in [Fault::GhostJoin, Fault::JoinTwice, Fault::GhostLeave] {
        let result = run_with(fault);
        assert!(result.outcome.counters.untrue_notices > 0, "{fault:?} {:?}", result.outcome.counters);
        assert_eq!(result.verdict.exit_code(), 1, "{fault:?}: {}", result.verdict.text);
        assert!(result.verdict.text.contains("that were wrong or repeated"), "{fault:?}: {}", result.verdict.text);
    }
}

#[test]
fn skipped_lines_are_counted_as_lost_and_as_announced() {
    let result = run_with(Fault::Skip(4));
    let counters = &result.outcome.counters;
    assert_eq!((counters.skip_notices, counters.skipped, counters.lost), (ROOMS, 3 * ROOMS, 3 * ROOMS), "{counters:?}");
    assert_eq!(counters.untrue_skips, 0, "{counters:?}");
    assert!(result.verdict.text.contains("(6 announced as skipped)"), "{}", result.verdict.text);
}

#[test]
fn lost_join_notice_is_counted() {
    let result = run_with(Fault::LoseNotice);
    assert!(
        result.outcome.counters.join_notices < result.outcome.counters.join_notices_expected,
        "{:?}",
        result.outcome.counters
    );
    assert_eq!(result.verdict.exit_code(), 1);
    assert!(result.verdict.text.contains("join notices lost"), "{}", result.verdict.text);
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
        (10, VerdictKind::Unmeasured),
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
fn lines_in_transit_at_a_failure_are_not_lost() {
    let mut plan = plan(serve(Fault::CloseAll(10)));
    plan.stop = Stop::After(std::time::Duration::from_secs(60));
    plan.warmup = std::time::Duration::from_secs(60);
    let result = run(&plan);
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
    assert_eq!((result.verdict.kind, result.verdict.exit_code()), (VerdictKind::Unmeasured, 3));
    assert!(result.verdict.text.contains("during the run"), "{}", result.verdict.text);
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
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let result = run(&plan(address));
    assert_eq!(result.verdict.exit_code(), 3);
    assert!(result.verdict.text.contains("cannot connect"), "{}", result.verdict.text);
}

#[test]
fn closed_loop_is_checked_with_immediate_and_deferred_reads() {
    for read_every in [0, 2] {
        for (fault, lost, duplicated) in
            [(Fault::None, 0, 0), (Fault::LoseForOne(50), 2, 0), (Fault::Duplicate(50), 0, 2)]
        {
            let mut plan = plan(serve(fault));
            plan.pacing = Pacing::Closed { window: 8 };
            plan.stop = Stop::Lines(200);
            plan.read_every = std::time::Duration::from_millis(read_every);
            // A line that is lost is waited for to the end of the patience; no other wait may be as long.
            plan.patience = std::time::Duration::from_secs(if fault == Fault::None { 30 } else { 5 });
            let result = run(&plan);
            let counters = &result.outcome.counters;
            assert_eq!(counters.expected, 5 * counters.sent, "{fault:?} {counters:?}");
            // A line that is lost for the member that paces its room ends the sending there.
            if !matches!(fault, Fault::LoseForOne(_)) {
                assert_eq!(counters.sent, 400, "{fault:?} {counters:?}");
            }
            assert_eq!(
                (counters.lost, counters.duplicated, counters.misordered),
                (lost, duplicated, 0),
                "{fault:?} {counters:?}"
            );
        }
    }
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
    let mut plan = plan(serve_with_victim(fault, victim));
    (plan.connections, plan.rooms) = (40, 1);
    plan.pacing = Pacing::Closed { window: 8 };
    plan.stop = Stop::Lines(100);
    plan.read_every = std::time::Duration::from_millis(2);
    let result = run(&plan);
    let counters = &result.outcome.counters;
    let expected = match fault {
        Fault::LoseForOne(_) => (1, 0, 0),
        Fault::Duplicate(_) => (0, 1, 0),
        _ => (1, 0, 1),
    };
    let found = (counters.lost, counters.duplicated, counters.corrupt);
    assert_eq!((found, counters.misordered), (expected, 0), "{fault:?} for {victim}: {counters:?}");
    assert_eq!(result.verdict.exit_code(), 1);
}

#[test]
fn rooms_are_spread_over_two_threads() {
    let mut plan = plan(serve(Fault::LoseForOne(3)));
    plan.threads = 2;
    let result = run(&plan);
    assert_eq!(
        (result.outcome.counters.sent, result.outcome.counters.lost, result.outcome.counters.delivered),
        (40, ROOMS, 200 - ROOMS)
    );
}
