//! Runs in which some members read slowly, against a server with one fault each: what slow members miss is compared with what they
//! were told, and all other members are checked as ever.

mod common;

use std::time::Duration;

use common::{Fault, assert_passed, assert_verdict, plan, serve_with_victim};
use loadtest::coordinator;
use loadtest::metrics::Counters;
use loadtest::plan::{Plan, Stop};
use loadtest::slow_readers::{ReadRate, SlowReaders};
use loadtest::test_result::TestResult;
use loadtest::verdict::VerdictKind;

/// The rooms of the plan. A fault occurs once in each of them.
const ROOMS: u64 = 2;
/// The slow member of each room of five.
const SLOW: usize = 4;
/// A fast member that does not send.
const FAST: usize = 3;

/// Runs two rooms of five members, of which two send and one reads slowly, against a server whose fault affects one member.
fn run(fault: Fault, victim: usize) -> TestResult {
    let readers = SlowReaders { share: 0.2, rate: ReadRate { bytes_per_second: 2000 } };
    assert!(readers.includes(SLOW, 5, 2) && !readers.includes(FAST, 5, 2));
    let plan = plan(serve_with_victim(fault, victim));
    let (slow_readers, stop) = (Some(readers), Stop::After(Duration::from_millis(700)));
    let plan = Plan { slow_readers, stop, patience: fault.patience(), ..plan };
    let run = coordinator::run(&plan, None, &mut |_| ()).unwrap_or_else(|error| panic!("{error:#}"));
    TestResult::new("slow", &plan, &run)
}

/// Returns the numbers of lines that were skipped, lost, and announced although they were not missing, and of closed slow and fast
/// members.
fn counts(counters: &Counters) -> [u64; 5] {
    [counters.slow_skipped, counters.lost, counters.untrue_skips, counters.slow_closed, counters.closed]
}

#[test]
fn slow_members_are_no_fault_where_they_are_told_what_they_missed() {
    for (fault, expected) in
        [(Fault::None, [0; 5]), (Fault::Skip(20), [3, 0, 0, 0, 0]), (Fault::MisreportSkip(20, 3), [3, 0, 0, 0, 0])]
    {
        let result = run(fault, SLOW);
        let counters = &result.outcome.counters;
        assert_eq!(counts(counters), expected.map(|count| count * ROOMS), "{fault:?}: {counters:?}");
        assert_eq!((counters.slow_members, counters.duplicated, counters.misordered), (ROOMS, 0, 0), "{counters:?}");
        assert_eq!(counters.expected, counters.delivered + counters.slow_skipped, "{counters:?}");
        assert_eq!(counters.slow_delivered * 5 + counters.slow_skipped * 4, counters.delivered, "{counters:?}");
        let timed = counters.delivered - counters.slow_delivered;
        assert!(result.outcome.latency_us.count <= timed, "{} of {timed}", result.outcome.latency_us.count);
        assert_passed(&result);
    }
}

#[test]
fn each_fault_beside_slow_members_is_counted() {
    let cases = [
        (Fault::MisreportSkip(20, 2), SLOW, [2, 1, 0, 0, 0], "deliveries lost"),
        (Fault::MisreportSkip(20, 5), SLOW, [3, 0, 2, 0, 0], "announced as skipped that were not missing"),
        (Fault::SkipNothing(20), SLOW, [0, 0, 10, 0, 0], "announced as skipped that were not missing"),
        (Fault::LoseForOne(20), SLOW, [0, 1, 0, 0, 0], "deliveries lost"),
        (Fault::LoseForOne(20), FAST, [0, 1, 0, 0, 0], "deliveries lost"),
        (Fault::Skip(20), FAST, [0, 3, 0, 0, 0], "deliveries lost (6 announced as skipped)"),
    ];
    std::thread::scope(|scope| {
        for (fault, victim, expected, words) in cases {
            scope.spawn(move || {
                let result = run(fault, victim);
                let counters = &result.outcome.counters;
                assert_eq!(counts(counters), expected.map(|count| count * ROOMS), "{fault:?}: {counters:?}");
                assert_verdict(&result, VerdictKind::Wrong, words);
            });
        }
    });
}

#[test]
fn changed_and_repeated_lines_of_a_slow_member_are_counted() {
    for (fault, words) in [
        (Fault::Duplicate(20), "delivered more than once"),
        (Fault::Swap(20), "out of their room's common order"),
        (Fault::Corrupt(20), "lines that no member sent"),
    ] {
        let result = run(fault, SLOW);
        let counters = &result.outcome.counters;
        let found = counters.duplicated + counters.misordered + counters.corrupt;
        assert_eq!(found, ROOMS, "{fault:?}: {counters:?}");
        assert_verdict(&result, VerdictKind::Wrong, words);
    }
}

#[test]
fn close_of_a_slow_member_is_counted_by_its_reason() {
    for (fault, reason) in
        [(Fault::CloseOne(20), "without a reason"), (Fault::KickOne(20), "more than 8 bytes waited: read faster")]
    {
        let result = run(fault, SLOW);
        let counters = &result.outcome.counters;
        assert_eq!(counts(counters), [0, 0, 0, ROOMS, 0], "{fault:?}: {counters:?}");
        assert_eq!((counters.errors, counters.leave_notices_lost, counters.untrue_notices), (0, 0, 0), "{counters:?}");
        let closes = result.outcome.slow_closes.as_ref().unwrap_or_else(|| panic!("no closes"));
        assert_eq!(closes.iter().collect::<Vec<_>>(), [(reason, ROOMS)]);
        assert_passed(&result);
    }
}

#[test]
fn close_of_a_fast_member_is_a_failure() {
    let result = run(Fault::CloseOne(20), FAST);
    let counters = &result.outcome.counters;
    assert_eq!(counts(counters), [0, 0, 0, 0, ROOMS], "{counters:?}");
    assert_verdict(&result, VerdictKind::Incomplete, "closed 2 connections during the run");
}
