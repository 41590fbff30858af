//! A load of the load generator, for the tests that run one. Not a part of `common`, so that no other test links the generator.

#![allow(unreachable_pub)]

use crate::common::DEADLINE;
use loadtest::coordinator::{self, ProgressSnapshot};
use loadtest::departures::Departures;
use loadtest::plan::{Arrivals, Pacing, Plan, Stop};
use loadtest::protocol::ProtocolKind;
use loadtest::test_result::TestResult;
use loadtest::verdict::VerdictKind;
use loadtest::worker_hosts::WorkerHosts;
use std::net::SocketAddr;
use std::time::Duration;

/// Returns the plan of one run: two rooms of five members, in each of which two members send 50 lines a second.
pub fn plan(target: SocketAddr) -> Plan {
    Plan {
        target,
        servers: Vec::new(),
        total_order: false,
        protocol: ProtocolKind::Line,
        connections: 10,
        rooms: 2,
        senders: 2,
        size: 64.into(),
        pacing: Pacing::Open { millilines_per_second: 100_000 },
        arrivals: Arrivals::Fixed,
        seed: 1,
        departures: Departures::None,
        slow_readers: None,
        stop: Stop::Lines(200),
        warmup: Duration::ZERO,
        read_every: Duration::ZERO,
        patience: DEADLINE,
        connecting: 16,
        sources: 1,
        first_room: 0,
        threads: 1,
        processes: 1,
        hosts: WorkerHosts::default(),
    }
}

/// Runs a plan, and returns the result of the run.
pub fn run(plan: &Plan, on_progress: &mut dyn FnMut(&ProgressSnapshot)) -> TestResult {
    TestResult::new("steady", plan, &coordinator::run(plan, None, on_progress).unwrap())
}

/// Returns whether a run found no fault. Whether the generator had enough CPU time depends on the machine.
pub fn is_judged(result: &TestResult) -> bool {
    matches!(result.verdict.kind, VerdictKind::Good | VerdictKind::Saturated)
}
