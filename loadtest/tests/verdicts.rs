//! Verdicts on recorded measurements: no run, no clock.

#![allow(clippy::unwrap_used, reason = "a test stops at the first error")]

mod common;

use clap::Parser as _;
use common::{plan, recorded_run};
use loadtest::clock::SECOND;
use loadtest::coordinator::RunRecord;
use loadtest::metrics::Counters;
use loadtest::plan::{Pacing, Plan};
use loadtest::ramp;
use loadtest::scenario::{Cli, Scenario};
use loadtest::test_result::TestResult;
use loadtest::verdict::VerdictKind;

/// A fault of the server in the counters of a run.
type SetFault = fn(&mut Counters);

/// Returns the result of a recorded run with a change.
fn judged(plan: &Plan, change: impl FnOnce(&mut RunRecord)) -> TestResult {
    let mut run = recorded_run();
    change(&mut run);
    TestResult::new("steady", plan, &run)
}

/// Returns the usual plan, whose server does not exist.
fn open_plan() -> Plan {
    plan(([127, 0, 0, 1], 1234).into())
}

fn closed_plan() -> Plan {
    Plan { pacing: Pacing::Closed { window: 2 }, ..open_plan() }
}

/// Asserts the verdict on a recorded run with a change.
#[track_caller]
fn assert_verdict(plan: &Plan, change: impl FnOnce(&mut RunRecord), kind: VerdictKind, exit_code: u8, words: &str) {
    let verdict = judged(plan, change).verdict;
    assert_eq!((verdict.kind, verdict.exit_code()), (kind, exit_code), "{}", verdict.text);
    assert!(verdict.text.contains(words), "{words:?} is not in {}", verdict.text);
}

#[test]
fn run_without_fault_is_good() {
    for plan in [open_plan(), closed_plan()] {
        let words = "GOOD: 200 deliveries, each once and in its room's order";
        assert_verdict(&plan, |_| (), VerdictKind::Good, 0, words);
    }
}

#[test]
fn good_run_names_what_slow_members_missed() {
    let slow = |run: &mut RunRecord| {
        let counters = &mut run.metrics.counters;
        (counters.slow_members, counters.slow_closed) = (3, 1);
        (counters.slow_skipped, counters.slow_leaves_skipped, counters.skipped) = (1200, 1, 1201);
    };
    let words =
        "each once and in its room's order; 1,200 skipped for slow members, which were told; 1 slow members closed";
    assert_verdict(&open_plan(), slow, VerdictKind::Good, 0, words);
    let lost = |run: &mut RunRecord| {
        slow(run);
        run.metrics.counters.lost = 2;
    };
    assert_verdict(&open_plan(), lost, VerdictKind::Wrong, 1, "WRONG: 2 of 200 deliveries lost");
}

#[test]
fn good_run_names_the_members_that_came_back() {
    let returned = |run: &mut RunRecord| {
        (run.metrics.counters.departures, run.metrics.counters.returned) = (3, 3);
    };
    let words = "each once and in its room's order; 3 members came back";
    assert_verdict(&open_plan(), returned, VerdictKind::Good, 0, words);
}

#[test]
fn each_fault_of_the_server_is_wrong_and_named() {
    let faults: [(SetFault, &str); 8] = [
        (|found| found.lost = 2, "WRONG: 2 of 200 deliveries lost"),
        (|found| (found.lost, found.skipped) = (6, 6), "WRONG: 6 of 200 deliveries lost (6 announced as skipped)"),
        (|found| found.duplicated = 2, "WRONG: 2 delivered more than once"),
        (|found| found.misordered_sender = 3, "WRONG: 3 out of their sender's order"),
        (|found| found.misordered_room = 3, "WRONG: 3 out of their room's common order"),
        (|found| found.corrupt = 4, "WRONG: 4 lines that no member sent"),
        (|found| found.untrue_notices = 1, "WRONG: 1 join or leave notices that were wrong or repeated"),
        (|found| found.join_notices -= 5, "WRONG: 5 of 30 join notices lost"),
    ];
    for (fault, words) in faults {
        assert_verdict(&open_plan(), |run| fault(&mut run.metrics.counters), VerdictKind::Wrong, 1, words);
    }
}

#[test]
fn generator_without_enough_cpu_time_is_saturated() {
    let without_cpu = |run: &mut RunRecord| {
        run.thread_usages[0].cpu = SECOND / 5;
        run.thread_usages[0].waited = SECOND * 4 / 5;
    };
    for plan in [open_plan(), closed_plan()] {
        assert_verdict(&plan, without_cpu, VerdictKind::Saturated, 3, "waited 80 % for a CPU");
    }
    assert!(judged(&closed_plan(), without_cpu).outcome.generator.saturated);
    let late = |run: &mut RunRecord| {
        run.metrics.latency.record(SECOND / 2, 100);
        run.metrics.latency_without_lag.record(SECOND / 1000, 100);
    };
    assert_verdict(&open_plan(), late, VerdictKind::Saturated, 3, "p90 500 ms is 1 ms without the generator's own lag");
}

#[test]
fn failure_refusal_and_close_are_failed_runs() {
    let failure = |run: &mut RunRecord| run.failure = Some("127.0.0.1:1234 closed every connection".into());
    let kind = VerdictKind::Incomplete;
    assert_verdict(&open_plan(), failure, kind, 3, "INCOMPLETE: 127.0.0.1:1234 closed every connection");
    let refusal = |run: &mut RunRecord| {
        run.refusal = Some("ERROR: too fast".into());
        run.metrics.counters.errors = 2;
    };
    assert_verdict(&open_plan(), refusal, kind, 3, "refused 2 times, first with `ERROR: too fast`");
    let close = |run: &mut RunRecord| run.metrics.counters.closed = 2;
    assert_verdict(&open_plan(), close, kind, 3, "closed 2 connections during the run");
}

/// Runs the steps of a ramp from 20 lines per second on. Each step has a recorded run with the change of the same
/// number; a step without a change cannot run. Returns the result, and the rates of the steps.
fn ramp(more: &[&str], changes: &[fn(&mut RunRecord)]) -> (TestResult, Vec<Pacing>) {
    let shape = ["loadtest", "step", "--connections", "10", "--rooms", "2", "--rate", "20/s", "--more", "50"];
    let cli = Cli::try_parse_from([&shape[..], more].concat()).unwrap();
    let Scenario::Step(args) = &cli.scenario else { panic!("not a ramp: {cli:?}") };
    let (mut rates, mut changes) = (Vec::new(), changes.iter());
    let first = args.plan(&cli.common, open_plan().target);
    let mut run = |plan: &Plan| {
        rates.push(plan.pacing);
        let change = changes.next().ok_or_else(|| anyhow::anyhow!("no recorded run is left"))?;
        Ok(judged(plan, change))
    };
    let result = ramp::run(args, first, &mut run, &mut |_| ());
    (result.unwrap(), rates)
}

#[track_caller]
fn assert_ramp(result: &TestResult, steps: usize, kind: VerdictKind, words: &[&str]) {
    let verdict = &result.verdict;
    assert_eq!((verdict.kind, result.outcome.steps.len()), (kind, steps), "{}", verdict.text);
    assert!(words.iter().all(|words| verdict.text.contains(words)), "{words:?} are not in {}", verdict.text);
}

#[test]
fn ramp_raises_the_rate_while_its_steps_are_good() {
    let (result, rates) = ramp(&["--steps", "3"], &[|_| (), |_| (), |_| ()]);
    assert_ramp(&result, 3, VerdictKind::Good, &["LAST GOOD STEP: 10 connections, 45", "all 3 steps were good"]);
    let rate = |millilines_per_second| Pacing::Open { millilines_per_second };
    assert_eq!(rates, [rate(20_000), rate(30_000), rate(45_000)]);
}

#[test]
fn ramp_ends_before_a_saturated_or_slow_step() {
    let (result, _) = ramp(&[], &[|_| (), |run| run.thread_usages[0].waited = SECOND / 2]);
    let words = ["LAST GOOD STEP: 10 connections, 20", "the next step was not good: SATURATED: "];
    assert_ramp(&result, 2, VerdictKind::Good, &words);
    let slow = |run: &mut RunRecord| {
        run.metrics.latency.record(SECOND, 100);
        run.metrics.latency_without_lag.record(SECOND, 100);
    };
    let (result, _) = ramp(&["--until-p99", "50ms"], &[|_| (), slow]);
    assert_ramp(&result, 2, VerdictKind::Good, &["the next step was not good: p99 above 50ms"]);
}

#[test]
fn ramp_without_a_good_step_is_failed() {
    let (result, _) = ramp(&["--until-p99", "1us"], &[|_| ()]);
    assert_ramp(&result, 1, VerdictKind::Incomplete, &["NO GOOD STEP: the first step was not good (p99 above 1us)"]);
    assert_eq!(result.verdict.exit_code(), 3);
}

#[test]
fn failing_step_is_a_failure_after_good_steps() {
    let (result, _) = ramp(&[], &[|_| (), |run| run.failure = Some("the server ended".into())]);
    let words = ["INCOMPLETE: the server ended", "the last good step: 10 connections, 20"];
    assert_ramp(&result, 2, VerdictKind::Incomplete, &words);
    let (result, _) = ramp(&[], &[|_| ()]);
    assert_ramp(&result, 1, VerdictKind::Incomplete, &["INCOMPLETE: no further step: no recorded run is left"]);
}

#[test]
fn wrong_step_is_wrong_after_good_steps() {
    let (result, _) = ramp(&[], &[|_| (), |run| run.metrics.counters.lost = 3]);
    assert_ramp(&result, 2, VerdictKind::Wrong, &["WRONG: 3 of 200 deliveries lost"]);
}
