//! Runs in which members leave and come back, against a server with one fault each: the counters show the fault exactly, on a
//! busy machine, too.

mod common;

use std::time::Duration;

use common::{Fault, LONG_PATIENCE, assert_passed, assert_verdict, plan, serve, serve_with_victim};
use loadtest::coordinator;
use loadtest::departures::Departures;
use loadtest::metrics::Counters;
use loadtest::plan::{Pacing, Plan, Stop};
use loadtest::test_result::TestResult;
use loadtest::verdict::VerdictKind;

/// The rooms of the plan. A fault occurs once in each of them.
const ROOMS: u64 = 2;

const fn ms(time: u64) -> Duration {
    Duration::from_millis(time)
}

/// Three of five members come and go.
const CHURN: Departures = Departures::Churn { share: 0.6, stay: ms(100), away: ms(50) };
/// Three of five members are cut three times.
const CUTS: Departures =
    Departures::Cuts { share: 0.6, first: ms(300), every: Some(ms(500)), jitter: ms(100), reset: false };

/// Returns a plan for two rooms of five members, of which the first one sends 200 lines a second.
fn plan_with(departures: Departures, fault: Fault) -> Plan {
    let plan = plan(serve_with_victim(fault, 0));
    Plan { senders: 1, departures, stop: Stop::After(ms(1500)), patience: fault.patience(), ..plan }
}

fn run(plan: &Plan) -> TestResult {
    let scenario = if matches!(plan.departures, Departures::Churn { .. }) { "churn" } else { "reconnect" };
    let run = coordinator::run(plan, None, &mut |_| ()).unwrap_or_else(|error| panic!("{error:#}"));
    TestResult::new(scenario, plan, &run)
}

/// Returns the numbers of faults by their kinds: lost, duplicated, misordered and corrupt lines, lost join and leave notices,
/// untrue notices, and lines that were announced as skipped and were not.
fn faults(counters: &Counters) -> [u64; 8] {
    [
        counters.lost,
        counters.duplicated,
        counters.misordered,
        counters.corrupt,
        counters.join_notices_expected - counters.join_notices,
        counters.leave_notices_lost,
        counters.untrue_notices,
        counters.untrue_skips,
    ]
}

#[test]
fn members_that_come_and_go_receive_each_line_of_their_stays_once() {
    for threads in [1, 2] {
        let result = run(&Plan { threads, ..plan_with(CHURN, Fault::None) });
        let counters = &result.outcome.counters;
        assert_eq!(faults(counters), [0; 8], "{counters:?}");
        assert!(counters.departures > 0 && counters.sent > 0, "{counters:?}");
        assert_eq!((counters.returned, counters.expected), (counters.departures, counters.delivered), "{counters:?}");
        assert_eq!(
            (counters.joined, counters.left, counters.closed, counters.withheld),
            (10, 10, 0, 0),
            "{counters:?}"
        );
        let returns = result.outcome.returns.as_ref().unwrap_or_else(|| panic!("no figures"));
        assert_eq!((returns.join_us.count, returns.away_us.count), (counters.returned, counters.returned));
        assert_passed(&result);
    }
}

#[test]
fn stays_that_end_before_all_members_show_them_are_no_fault() {
    for threads in [1, 2] {
        let short = Departures::Churn { share: 0.8, stay: ms(10), away: ms(5) };
        let result = run(&Plan { threads, ..plan_with(short, Fault::None) });
        assert_eq!(faults(&result.outcome.counters), [0; 8], "{:?}", result.outcome.counters);
    }
}

#[test]
fn members_that_are_cut_at_once_come_back() {
    for (share, reset, cut) in [(1.0, false, 5), (1.0, true, 5), (0.6, true, 3)] {
        let departures = Departures::Cuts { share, first: ms(300), every: Some(ms(500)), jitter: ms(100), reset };
        let result = run(&plan_with(departures, Fault::None));
        let counters = &result.outcome.counters;
        assert_eq!(faults(counters), [0; 8], "{counters:?}");
        assert!(counters.departures >= cut * ROOMS && counters.departures.is_multiple_of(cut), "{counters:?}");
        assert_eq!((counters.returned, counters.expected), (counters.departures, counters.delivered), "{counters:?}");
        assert_eq!((counters.joined, counters.left, counters.closed), (10, 10, 0), "{counters:?}");
        assert_passed(&result);
    }
}

#[test]
fn each_fault_beside_departures_is_counted() {
    let cases = [
        (Fault::LoseForOne(20), [1, 0, 0, 0, 0, 0, 0, 0], "deliveries lost"),
        (Fault::Duplicate(20), [0, 1, 0, 0, 0, 0, 0, 0], "delivered more than once"),
        (Fault::ReturnShowsLine, [0, 1, 0, 0, 0, 0, 0, 0], "delivered more than once"),
        (Fault::LoseReturn, [0, 0, 0, 0, 1, 0, 0, 0], "join notices lost"),
        (Fault::LoseLeave, [0, 0, 0, 0, 0, 1, 0, 0], "expected leave notices lost"),
        (Fault::ReturnTwice, [0, 0, 0, 0, 0, 0, 1, 0], "wrong or repeated"),
        (Fault::SkipNothing(20), [0, 0, 0, 0, 0, 0, 0, 10], "announced as skipped that were not missing"),
    ];
    std::thread::scope(|scope| {
        for (fault, expected, words) in cases {
            for departures in [CHURN, CUTS] {
                scope.spawn(move || {
                    let result = run(&plan_with(departures, fault));
                    let counters = &result.outcome.counters;
                    let (lines, expected_lines) = (&faults(counters)[..4], &expected.map(|count| count * ROOMS)[..4]);
                    assert_eq!(lines, expected_lines, "{fault:?}: {counters:?}");
                    // A member that missed a notice may be the first to show the next one, which makes their order ambiguous.
                    let notices = |faults: [u64; 8]| faults[4..].iter().sum::<u64>();
                    let (found, expected) = (notices(faults(counters)), notices(expected) * ROOMS);
                    assert!(found >= expected && (found > 0) == (expected > 0), "{fault:?}: {counters:?}");
                    assert_verdict(&result, VerdictKind::Wrong, words);
                });
            }
        }
    });
}

#[test]
fn leaves_that_no_member_is_told_of_are_lost() {
    let result = run(&plan_with(CHURN, Fault::LoseLeaves));
    let counters = &result.outcome.counters;
    assert!(counters.leave_notices_lost > 0 && counters.leave_notices == 0, "{counters:?}");
    assert_eq!((counters.lost, counters.duplicated, counters.untrue_notices), (0, 0, 0), "{counters:?}");
}

#[test]
fn name_that_is_still_taken_is_tried_again() {
    let all = Departures::Cuts { share: 1.0, first: ms(300), every: None, jitter: ms(50), reset: true };
    let result = run(&Plan { patience: LONG_PATIENCE, ..plan_with(all, Fault::NameTaken) });
    let counters = &result.outcome.counters;
    assert_eq!((counters.names_taken, counters.returned, counters.errors), (10, 10, 0), "{counters:?}");
    assert_eq!((faults(counters), counters.connections_refused), ([0; 8], 0), "{counters:?}");
    assert_passed(&result);
}

#[test]
fn server_that_lets_no_member_back_in_is_reported() {
    let result = run(&plan_with(CHURN, Fault::RefuseReturns));
    let verdict = &result.verdict;
    assert_eq!((verdict.kind, result.outcome.counters.returned), (VerdictKind::Incomplete, 0), "{}", verdict.text);
    let words = "kept a member that came back out of its room for 2s";
    assert!(verdict.text.contains(words) && verdict.text.contains("the server is full"), "{}", verdict.text);
}

#[test]
fn stays_that_are_announced_to_no_other_member_are_lost_notices() {
    let plan = plan_with(CHURN, Fault::HideReturns);
    // A room has about one line, which shows the position of few returns.
    let result = run(&Plan { pacing: Pacing::Open { millilines_per_second: 1_000 }, ..plan });
    let counters = &result.outcome.counters;
    assert!(counters.returned > 0 && counters.leave_notices_lost > 0, "{counters:?}");
    assert!(counters.join_notices_expected > counters.join_notices, "{counters:?}");
    assert_eq!(faults(counters)[..4], [0; 4], "{counters:?}");
    assert_verdict(&result, VerdictKind::Wrong, "join notices lost");
}

#[test]
fn returns_in_transit_are_no_fault_where_the_run_ends_early() {
    let churn = Departures::Churn { share: 0.8, stay: ms(10), away: ms(5) };
    let plan = Plan { threads: 2, stop: Stop::After(LONG_PATIENCE), ..plan_with(churn, Fault::RefuseReturnsToOne) };
    let result = run(&plan);
    let (counters, verdict) = (&result.outcome.counters, &result.verdict);
    assert_eq!((verdict.kind, faults(counters)), (VerdictKind::Incomplete, [0; 8]), "{}: {counters:?}", verdict.text);
    assert!(counters.returned > 0, "{counters:?}");
}

#[test]
fn members_that_are_away_at_the_end_come_back() {
    let departures = Departures::Churn { share: 0.6, stay: ms(100), away: Duration::from_secs(3600) };
    let mut plan = Plan { stop: Stop::After(ms(3000)), ..plan(serve(Fault::None)) };
    (plan.senders, plan.departures) = (1, departures);
    let counters = run(&plan).outcome.counters;
    assert_eq!((counters.departures, counters.returned, faults(&counters)), (6, 6, [0; 8]), "{counters:?}");
}
