//! The scenario `step`: runs with a rising load until a step is not good.

use anyhow::Result;

use crate::format::{micros, si};
use crate::outcome::{Outcome, Step};
use crate::plan::{Pacing, Plan};
use crate::scenario::{Raise, StepArgs};
use crate::test_result::TestResult;
use crate::verdict::{Verdict, VerdictKind};

/// The reason that ended the steps, where it is not a step that exceeded a bound.
type StopReason = Option<String>;

/// Runs step after step. The result is the one of the last good step, with the figures of all steps. When deliveries
/// were wrong, or no step was good, it is the result of the step that ended the scenario. `on_step` gets one line for each
/// step.
///
/// # Errors
/// Fails when the first step cannot run.
pub fn run(
    args: &StepArgs,
    first: Plan,
    run: &mut dyn FnMut(&Plan) -> Result<TestResult>,
    on_step: &mut dyn FnMut(&str),
) -> Result<TestResult> {
    let first_parameters = Outcome::new("step", &first, &crate::coordinator::RunRecord::default()).parameters;
    let mut plan = first;
    let mut steps: Vec<Step> = Vec::new();
    let mut best: Option<TestResult> = None;
    let mut failure: StopReason = None;
    for _ in 0..args.steps.max(1) {
        let result = match run(&plan) {
            Err(error) if best.is_some() => {
                failure = Some(format!("no further step: {error:#}"));
                break;
            }
            other => other?,
        };
        let step = evaluate_step(args, &plan, &result);
        let good = step.problem.is_empty();
        on_step(&describe_step(&step));
        steps.push(step);
        if !good {
            if result.verdict.kind == VerdictKind::Incomplete {
                failure = Some(result.verdict.text.trim_start_matches("INCOMPLETE: ").to_owned());
            }
            if best.is_none() || result.verdict.kind == VerdictKind::Wrong {
                best = Some(result);
            }
            break;
        }
        best = Some(result);
        plan = args.next_plan(&plan);
    }
    let mut result = best.unwrap_or_default();
    result.verdict = ramp_verdict(args, &result, &steps, failure);
    for key in ["lines_per_second_per_room", "connections", "rooms"] {
        result
            .outcome
            .parameters
            .insert(format!("first_{key}"), first_parameters.get(key).cloned().unwrap_or_default());
    }
    result.outcome.parameters.insert("until_p99_seconds".into(), args.until_p99.as_secs_f64().into());
    result
        .outcome
        .parameters
        .insert("raise".into(), if args.raise == Raise::Rate { "rate" } else { "connections" }.into());
    result.outcome.parameters.insert("more_percent".into(), args.more.into());
    result.outcome.steps = steps;
    Ok(result)
}

fn evaluate_step(args: &StepArgs, plan: &Plan, result: &TestResult) -> Step {
    let outcome = &result.outcome;
    let rate_per_room = match plan.pacing {
        Pacing::Open { millilines_per_second } => millilines_per_second as f64 / 1e3,
        Pacing::Quiet | Pacing::Closed { .. } => 0.0,
    };
    let late = u128::from(outcome.latency_us.p99) > args.until_p99.as_micros();
    let problem = match (&result.verdict.kind, late) {
        (VerdictKind::Good, false) => String::new(),
        (VerdictKind::Good, true) => format!("p99 above {}", humantime::format_duration(args.until_p99)),
        _ => result.verdict.text.clone(),
    };
    Step {
        connections: plan.connections as u64,
        rate_per_room,
        deliveries_per_second: outcome.deliveries_per_second,
        latency_us: outcome.latency_us,
        cpu_ns_per_delivery: outcome.server.as_ref().map(|server| server.cpu_ns_per_delivery),
        problem,
    }
}

fn describe_step(step: &Step) -> String {
    let (rate, p99) = (si(step.rate_per_room), micros(step.latency_us.p99));
    let problem = if step.problem.is_empty() { String::new() } else { format!(" - {}", step.problem) };
    format!("{} connections, {rate} lines/s a room: p99 {p99}{problem}", step.connections)
}

fn ramp_verdict(args: &StepArgs, result: &TestResult, steps: &[Step], failure: StopReason) -> Verdict {
    let last_good = steps.iter().rev().find(|step| step.problem.is_empty());
    // A failure is no overload: earlier good steps do not make the run good.
    if let Some(failure) = failure {
        let good = last_good.map_or(String::new(), |step| format!("; the last good step: {}", describe_step(step)));
        return Verdict { kind: VerdictKind::Incomplete, text: format!("INCOMPLETE: {failure}{good}") };
    }
    let ended = steps.last().filter(|step| !step.problem.is_empty()).map_or_else(
        || format!("all {} steps were good", steps.len()),
        |step| format!("the next step was not good: {}", step.problem),
    );
    match (last_good, result.verdict.kind) {
        (_, VerdictKind::Wrong) => result.verdict.clone(),
        (Some(step), _) => {
            Verdict { kind: VerdictKind::Good, text: format!("LAST GOOD STEP: {}; {ended}", describe_step(step)) }
        }
        (None, _) => Verdict {
            kind: VerdictKind::Incomplete,
            text: format!(
                "NO GOOD STEP: the first step was not good ({}): lower --rate or --connections, or raise --until-p99 {}",
                steps.first().map_or("none", |step| &step.problem),
                humantime::format_duration(args.until_p99)
            ),
        },
    }
}
