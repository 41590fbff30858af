//! The verdict on a run: whether its figures can be relied on, in one line, and the program's exit code.

use serde::{Deserialize, Serialize};

use crate::format::thousands;
use crate::outcome::Outcome;
use crate::plan::{Pacing, Plan};
use crate::saturation::{both_sides_idle, saturation};

/// The kinds of verdict. Each has an exit code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum VerdictKind {
    /// Every line arrived once and in order, and the generator was not the bottleneck.
    #[default]
    Good,
    /// Lines or notices were lost, duplicated, misordered or corrupt.
    Wrong,
    /// The generator was the bottleneck.
    Saturated,
    /// The run ended early, or the server refused the load, so that its figures are not those of the plan.
    #[serde(alias = "unmeasured")]
    Incomplete,
}

/// A verdict and its reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Verdict {
    /// The kind of the verdict.
    pub kind: VerdictKind,
    /// The verdict in one line.
    pub text: String,
}

impl Verdict {
    /// Judges a run, which may have ended early with `failure`.
    #[must_use]
    pub fn new(plan: &Plan, failure: Option<&str>, outcome: &Outcome) -> Self {
        let violations = violations(plan, outcome);
        let violations_so_far =
            if violations.is_empty() { String::new() } else { format!("; by then {}", violations.join(", ")) };
        let verdict = |kind, text| Self { kind, text };
        if let Some(failure) = failure {
            return verdict(VerdictKind::Incomplete, format!("INCOMPLETE: {failure}{violations_so_far}"));
        }
        // Refused lines are not in transit. The refusal explains missing deliveries, so it comes first.
        if outcome.counters.errors > 0 {
            let count = thousands(outcome.counters.errors);
            let first = outcome.refusal.as_ref().map_or(String::new(), |words| format!(", first with `{words}`"));
            return verdict(
                VerdictKind::Incomplete,
                format!("INCOMPLETE: {} refused {count} times{first}{violations_so_far}", plan.server_list()),
            );
        }
        let saturation = saturation(plan, outcome);
        let explained = saturation.as_ref().is_some_and(|saturation| saturation.explains_losses);
        let is_excused = explained && only_missing(outcome);
        if !violations.is_empty() && !is_excused {
            return verdict(VerdictKind::Wrong, format!("WRONG: {}", violations.join(", ")));
        }
        if outcome.counters.closed > 0 && !explained {
            let count = thousands(outcome.counters.closed);
            return verdict(
                VerdictKind::Incomplete,
                format!("INCOMPLETE: {} closed {count} connections during the run", plan.server_list()),
            );
        }
        if plan.pacing != Pacing::Quiet && outcome.latency_us.count == 0 && outcome.counters.unsent == 0 {
            let text = "INCOMPLETE: nothing was measured: no line of the window arrived: raise --rate or --duration";
            return verdict(VerdictKind::Incomplete, text.into());
        }
        // The generator is suspected before the server.
        if let Some(saturation) = saturation {
            let closed =
                (outcome.counters.closed > 0).then(|| format!("{} closed", thousands(outcome.counters.closed)));
            let effects: Vec<String> = violations.into_iter().chain(closed).collect();
            let effects = if effects.is_empty() {
                String::new()
            } else {
                format!("; because of that no fault of the server: {}", effects.join(", "))
            };
            return verdict(VerdictKind::Saturated, format!("SATURATED: {}{effects}", saturation.reason));
        }
        verdict(VerdictKind::Good, good_text(plan, outcome))
    }

    /// Returns the program's exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            VerdictKind::Good => 0,
            VerdictKind::Wrong => 1,
            VerdictKind::Saturated | VerdictKind::Incomplete => 3,
        }
    }
}

/// Returns whether all violations are missing deliveries or notices, which a generator that does not send or read may
/// cause. It cannot cause repeated, changed or misplaced lines.
fn only_missing(outcome: &Outcome) -> bool {
    let counters = &outcome.counters;
    let untrue = counters.untrue_skips + counters.untrue_gaps;
    counters.duplicated + counters.misordered + counters.corrupt + counters.untrue_notices + untrue == 0
}

/// Returns the name of the order in which the members of a room must receive their lines: for a line, and for several.
fn order_text(plan: &Plan) -> (&'static str, &'static str) {
    match (plan.servers().len(), plan.total_order) {
        (1, _) => ("its room's order", "their room's common order"),
        (_, true) => ("its room's order on all servers", "their room's common order on all servers"),
        (_, false) => ("its room's order on each server", "their room's common order on each server"),
    }
}

fn good_text(plan: &Plan, outcome: &Outcome) -> String {
    let counters = &outcome.counters;
    if counters.sent > 0 && both_sides_idle(plan, outcome) {
        let count = thousands(counters.delivered);
        return format!(
            "GOOD: {count} deliveries in order, but neither side was busy: raise --in-flight for the highest rate"
        );
    }
    if counters.sent > 0 {
        let told = match counters.told_missing {
            0 => String::new(),
            lines => format!("; {} told as missing", thousands(lines)),
        };
        let returned = match counters.departures {
            0 => String::new(),
            _ => format!("; {} members came back", thousands(counters.returned)),
        };
        let slow = match (counters.slow_members, counters.slow_closed) {
            (0, _) => String::new(),
            (_, closed) => format!(
                "; {} skipped for slow members, which were told; {} slow members closed",
                thousands(counters.slow_skipped),
                thousands(closed)
            ),
        };
        return format!(
            "GOOD: {} deliveries, each once and in {}{told}{returned}{slow}",
            thousands(counters.delivered),
            order_text(plan).0
        );
    }
    format!("GOOD: {} connections joined and left", thousands(counters.joined))
}

/// Describes the violations of the guarantees, with their number.
fn violations(plan: &Plan, outcome: &Outcome) -> Vec<String> {
    let counters = &outcome.counters;
    let explained = counters.untrue_skips + counters.slow_skipped + counters.slow_leaves_skipped;
    let announced = counters.skipped.saturating_sub(explained);
    let skipped =
        if announced > 0 { format!(" ({} announced as skipped)", thousands(announced)) } else { String::new() };
    // The server did not accept refused lines, so it did not lose them.
    let lost = if counters.errors > 0 { "missing" } else { "lost" };
    let missing = counters.join_notices_expected.saturating_sub(counters.join_notices);
    // Missing notices are reported only where all members joined; a failure reports missing members.
    let missing = if outcome.join.count == outcome.connections() { missing } else { 0 };
    [
        (counters.lost, format!("of {} deliveries {lost}{skipped}", thousands(counters.expected))),
        (counters.duplicated, "delivered more than once".into()),
        (counters.misordered_sender, "out of their sender's order".into()),
        (counters.misordered_room, format!("out of {}", order_text(plan).1)),
        (counters.corrupt, "lines that no member sent".into()),
        (counters.untrue_notices, "join or leave notices that were wrong or repeated".into()),
        (missing, format!("of {} join notices lost", thousands(counters.join_notices_expected))),
        (
            counters.leave_notices_lost,
            format!("of {} expected leave notices lost", thousands(counters.leave_notices_expected)),
        ),
        (counters.untrue_skips, "lines announced as skipped that were not missing".into()),
        (counters.untrue_gaps, "lines told as missing that were not missing".into()),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{} {what}", thousands(count)))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::plan;
    use crate::saturation::tests::{OPEN, busy};

    #[test]
    fn busy_generator_is_a_saturated_verdict() {
        let verdict = Verdict::new(&plan(OPEN), None, &busy(0.97));
        assert_eq!((verdict.kind, verdict.exit_code()), (VerdictKind::Saturated, 3));
        assert!(verdict.text.starts_with("SATURATED: the generator's busiest thread computed for 97 %"), "{verdict:?}");
        assert_eq!(Verdict::new(&plan(OPEN), None, &busy(0.5)).kind, VerdictKind::Good);
    }

    #[test]
    fn refusal_with_its_text_precedes_missing_deliveries() {
        let mut outcome = busy(0.1);
        (outcome.counters.errors, outcome.counters.expected, outcome.counters.lost) = (3, 1000, 7);
        outcome.refusal = Some("ERROR: too long".into());
        let verdict = Verdict::new(&plan(OPEN), None, &outcome);
        assert_eq!(
            (verdict.kind, verdict.text.as_str()),
            (
                VerdictKind::Incomplete,
                "INCOMPLETE: 127.0.0.1:1234 refused 3 times, first with `ERROR: too long`; by then 7 of 1,000 deliveries missing"
            )
        );
    }

    #[test]
    fn verdict_is_decided_in_the_order_of_the_documentation() {
        let mut outcome = busy(0.97);
        outcome.latency_us.count = 0;
        let counters = &mut outcome.counters;
        (counters.errors, counters.duplicated, counters.lost, counters.closed) = (1, 1, 1, 1);
        let mut next = |failure: Option<&str>, change: fn(&mut Outcome)| {
            let text = Verdict::new(&plan(OPEN), failure, &outcome).text;
            change(&mut outcome);
            text
        };
        let begins = [
            (next(Some("a failure"), |_| ()), "INCOMPLETE: a failure"),
            (next(None, |outcome| outcome.counters.errors = 0), "INCOMPLETE: 127.0.0.1:1234 refused 1 times"),
            (next(None, |outcome| outcome.counters.duplicated = 0), "WRONG: 1 of 0 deliveries lost, 1 delivered more"),
            (next(None, |outcome| outcome.counters.lost = 0), "WRONG: 1 of 0 deliveries lost"),
            (next(None, |outcome| outcome.counters.closed = 0), "INCOMPLETE: 127.0.0.1:1234 closed 1 connections"),
            (next(None, |outcome| outcome.latency_us.count = 1), "INCOMPLETE: nothing was measured"),
            (next(None, |outcome| (outcome.counters.lost, outcome.counters.closed) = (1, 1)), "SATURATED"),
            (next(None, |outcome| outcome.receive_lag_us.max = 2_000_000), "WRONG: 1 of 0 deliveries lost"),
            (next(None, |outcome| *outcome = busy(0.5)), "SATURATED"),
            (next(None, |_| ()), "GOOD"),
        ];
        for (text, begin) in begins {
            assert!(text.starts_with(begin), "{begin} is not the start of {text}");
        }
    }

    #[test]
    fn every_violation_is_named() {
        let mut outcome = busy(0.1);
        outcome.counters.expected = 1000;
        outcome.counters.lost = 7;
        outcome.counters.duplicated = 2;
        (outcome.counters.skipped, outcome.counters.untrue_skips) = (14, 10);
        (outcome.counters.leave_notices_expected, outcome.counters.leave_notices_lost) = (20, 3);
        let verdict = Verdict::new(&plan(OPEN), None, &outcome);
        assert_eq!(verdict.exit_code(), 1);
        assert_eq!(
            verdict.text,
            "WRONG: 7 of 1,000 deliveries lost (4 announced as skipped), 2 delivered more than once, 3 of 20 expected \
             leave notices lost, 10 lines announced as skipped that were not missing"
        );
    }
}
