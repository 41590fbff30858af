//! Runs against several servers that share their rooms, with one fault each of what a server receives from the others.

mod common;

use std::time::Duration;

use common::cluster::{ClusterFault, SERVERS, serve_cluster};
use common::{LONG_PATIENCE, SHORT_PATIENCE, assert_passed, assert_verdict, plan, run};
use loadtest::metrics::Counters;
use loadtest::plan::{Pacing, Plan};
use loadtest::test_result::TestResult;
use loadtest::verdict::VerdictKind;

/// The members on the server with the fault: one in the first room, and two in the second one.
const AFFECTED: u64 = 3;
/// The deliveries of the usual plan: two rooms of five members with 20 lines.
const DELIVERIES: u64 = 200;

/// Returns the usual plan for new servers with a fault.
fn plan_with(fault: ClusterFault, patience: Duration) -> Plan {
    let servers = serve_cluster(fault);
    Plan { servers: servers.clone(), patience, ..plan(servers[0]) }
}

/// Runs the usual plan against servers with a fault that leaves nothing missing.
fn run_with(fault: ClusterFault) -> TestResult {
    run(&plan_with(fault, LONG_PATIENCE))
}

/// Asserts the numbers of lost and duplicated lines, and of lines out of their sender's and their room's order.
#[track_caller]
fn assert_faults(counters: &Counters, expected: [u64; 4]) {
    let found = [counters.lost, counters.duplicated, counters.misordered_sender, counters.misordered_room];
    assert_eq!(found, expected, "{counters:?}");
    assert_eq!((counters.expected, counters.corrupt, counters.untrue_notices), (DELIVERIES, 0, 0), "{counters:?}");
}

#[test]
fn correct_servers_pass_with_an_order_on_each() {
    let result = run_with(ClusterFault::None);
    let counters = &result.outcome.counters;
    assert_faults(counters, [0; 4]);
    assert_eq!((counters.delivered, counters.told_missing, counters.split_notices), (DELIVERIES, 0, 0));
    assert_eq!(counters.join_notices, counters.join_notices_expected, "{counters:?}");
    // In each room, four members are told of the first leaver, and then one member of three more.
    assert_eq!((counters.leave_notices_expected, counters.leave_notices_lost), (14, 0), "{counters:?}");
    assert_eq!(result.outcome.parameters["servers"], SERVERS);
    assert_passed(&result);
}

#[test]
fn rooms_on_several_threads_have_their_members_on_the_same_servers() {
    let result = run(&Plan { threads: 2, ..plan_with(ClusterFault::None, LONG_PATIENCE) });
    assert_faults(&result.outcome.counters, [0; 4]);
    assert_passed(&result);
}

#[test]
fn correct_servers_pass_with_a_closed_loop_and_deferred_reads() {
    let plan = plan_with(ClusterFault::None, LONG_PATIENCE);
    let result = run(&Plan { pacing: Pacing::Closed { window: 3 }, read_every: Duration::from_millis(5), ..plan });
    assert_faults(&result.outcome.counters, [0; 4]);
    assert_passed(&result);
}

#[test]
fn joins_on_other_servers_are_awaited() {
    let result = run(&Plan { connecting: 1, ..plan_with(ClusterFault::None, LONG_PATIENCE) });
    let counters = &result.outcome.counters;
    // The members join one after another, so that each is told of all later ones. It may be told of an earlier one, too.
    assert!(counters.join_notices >= 30, "{counters:?}");
    assert_eq!(counters.join_notices, counters.join_notices_expected, "{counters:?}");
    assert_faults(counters, [0; 4]);
}

#[test]
fn joins_that_no_other_server_announces_are_not_expected() {
    let result = run_with(ClusterFault::LoseJoins);
    let counters = &result.outcome.counters;
    // Two servers have two members of a room, and one has one.
    assert_eq!((counters.join_notices, counters.join_notices_expected), (14, 14), "{counters:?}");
    assert_passed(&result);
}

#[test]
fn leaves_that_another_server_does_not_announce_are_lost() {
    let result = run(&plan_with(ClusterFault::LoseLeaves, SHORT_PATIENCE));
    assert!(result.outcome.counters.leave_notices_lost > 0, "{:?}", result.outcome.counters);
    assert_verdict(&result, VerdictKind::Wrong, "expected leave notices lost");
}

#[test]
fn swapped_lines_of_one_sender_on_one_server_are_counted() {
    let result = run_with(ClusterFault::Swap(4));
    assert_faults(&result.outcome.counters, [0, 0, AFFECTED, 0]);
    assert_verdict(&result, VerdictKind::Wrong, "3 out of their sender's order");
}

#[test]
fn line_that_arrives_twice_on_one_server_is_counted() {
    let result = run_with(ClusterFault::Duplicate(4));
    assert_faults(&result.outcome.counters, [0, AFFECTED, 0, 0]);
    assert_verdict(&result, VerdictKind::Wrong, "3 delivered more than once");
}

#[test]
fn told_gap_is_counted_and_passes() {
    for pacing in [Pacing::Open { millilines_per_second: 200_000 }, Pacing::Closed { window: 2 }] {
        let plan = plan_with(ClusterFault::Gap(4, Some(2)), LONG_PATIENCE);
        let result = run(&Plan { pacing, ..plan });
        let counters = &result.outcome.counters;
        assert_faults(counters, [0; 4]);
        assert_eq!((counters.told_missing, counters.gap_notices), (2 * AFFECTED, AFFECTED), "{counters:?}");
        assert_eq!(counters.delivered + counters.told_missing, DELIVERIES, "{counters:?}");
        assert_passed(&result);
    }
}

#[test]
fn line_that_is_missing_and_not_told_is_lost() {
    for (told, lost) in [(None, 2 * AFFECTED), (Some(1), AFFECTED)] {
        let result = run(&plan_with(ClusterFault::Gap(4, told), SHORT_PATIENCE));
        assert_faults(&result.outcome.counters, [lost, 0, 0, 0]);
        assert_verdict(&result, VerdictKind::Wrong, &format!("{lost} of 200 deliveries lost"));
    }
}

#[test]
fn line_that_is_told_as_missing_and_arrives_is_untrue() {
    let result = run_with(ClusterFault::Gap(4, Some(5)));
    assert_eq!(result.outcome.counters.untrue_gaps, 3 * AFFECTED, "{:?}", result.outcome.counters);
    assert_verdict(&result, VerdictKind::Wrong, "9 lines told as missing that were not missing");
}

#[test]
fn split_that_is_told_is_no_fault() {
    let result = run_with(ClusterFault::Split(4));
    assert_eq!(result.outcome.counters.split_notices, 2 * AFFECTED, "{:?}", result.outcome.counters);
    assert_faults(&result.outcome.counters, [0; 4]);
    assert_passed(&result);
}

#[test]
fn total_order_finds_servers_with_two_orders() {
    let result = run(&Plan { total_order: true, ..plan_with(ClusterFault::None, LONG_PATIENCE) });
    let counters = &result.outcome.counters;
    assert!(counters.misordered_room > 0, "{counters:?}");
    assert_eq!((counters.lost, counters.duplicated, counters.misordered_sender), (0, 0, 0), "{counters:?}");
    assert_verdict(&result, VerdictKind::Wrong, "out of their room's common order on all servers");
}

#[test]
fn total_order_passes_with_one_order_on_all_servers() {
    let result = run(&Plan { total_order: true, ..plan_with(ClusterFault::TotalOrder, LONG_PATIENCE) });
    assert_faults(&result.outcome.counters, [0; 4]);
    assert_passed(&result);
}
