//! Whether a run's figures can be relied on, in one line, and the exit code that says so.

use serde::{Deserialize, Serialize};

use crate::format::thousands;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::saturation::{both_sides_idle, saturation};

/// What a run comes to; the numbers are the program's exit codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// Everything arrived once and in order, and the generator was not the bottleneck.
    #[default]
    Good,
    /// Something was lost, came twice, came out of order, or was never sent.
    Wrong,
    /// The generator itself was the bottleneck.
    Saturated,
    /// It could not be measured.
    Unmeasured,
}

/// A verdict and its reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What it comes to.
    pub kind: VerdictKind,
    /// One line for a person.
    pub text: String,
}

impl Verdict {
    /// Judges a run that ended early with `failure`, or at its end.
    #[must_use]
    pub fn new(plan: &Plan, failure: Option<&str>, outcome: &Outcome) -> Self {
        let violations = violations(outcome);
        let violations_so_far =
            if violations.is_empty() { String::new() } else { format!("; by then {}", violations.join(", ")) };
        let verdict = |kind, text| Self { kind, text };
        if let Some(failure) = failure {
            return verdict(VerdictKind::Unmeasured, format!("FAILED: {failure}{violations_so_far}"));
        }
        // What was refused is not on its way to anybody: it is told before what is missing.
        if outcome.counters.errors > 0 {
            let count = thousands(outcome.counters.errors);
            let first = outcome.refusal.as_ref().map_or(String::new(), |words| format!(", first with `{words}`"));
            return verdict(
                VerdictKind::Unmeasured,
                format!("FAILED: {} refused {count} times{first}{violations_so_far}", plan.target),
            );
        }
        if !violations.is_empty() {
            return verdict(VerdictKind::Wrong, format!("WRONG: {}", violations.join(", ")));
        }
        if outcome.counters.closed > 0 {
            let count = thousands(outcome.counters.closed);
            return verdict(
                VerdictKind::Unmeasured,
                format!("FAILED: {} closed {count} connections during the run", plan.target),
            );
        }
        if let Some(reason) = saturation(plan, outcome) {
            return verdict(VerdictKind::Saturated, format!("SATURATED: {reason}"));
        }
        verdict(VerdictKind::Good, good_text(plan, outcome))
    }

    /// The program's exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            VerdictKind::Good => 0,
            VerdictKind::Wrong => 1,
            VerdictKind::Saturated | VerdictKind::Unmeasured => 3,
        }
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
        return format!("GOOD: {} deliveries, each once and in its room's order", thousands(counters.delivered));
    }
    format!("GOOD: {} connections in and out", thousands(counters.joined))
}

/// What must never happen, where it did.
fn violations(outcome: &Outcome) -> Vec<String> {
    let counters = &outcome.counters;
    let skipped = if counters.skipped > 0 {
        format!(" ({} announced as skipped)", thousands(counters.skipped))
    } else {
        String::new()
    };
    // What was refused was not taken on, and is no loss.
    let lost = if counters.errors > 0 { "missing" } else { "lost" };
    let missing = counters.join_notices_expected.saturating_sub(counters.join_notices);
    // Notices are owed to those who came in: when not all did, that is told instead.
    let missing = if outcome.join.count == outcome.connections() { missing } else { 0 };
    [
        (counters.lost, format!("of {} deliveries {lost}{skipped}", thousands(counters.expected))),
        (counters.duplicated, "delivered more than once".into()),
        (counters.misordered_sender, "out of their sender's order".into()),
        (counters.misordered_room, "out of their room's common order".into()),
        (counters.corrupt, "lines that nobody sent".into()),
        (counters.untrue_notices, "notices of joins or leaves that did not happen, or told twice".into()),
        (missing, format!("of {} join notices lost", thousands(counters.join_notices_expected))),
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
    fn a_busy_generator_is_not_believed() {
        let verdict = Verdict::new(&plan(OPEN), None, &busy(0.97));
        assert_eq!((verdict.kind, verdict.exit_code()), (VerdictKind::Saturated, 3));
        assert!(verdict.text.starts_with("SATURATED: the generator's busiest thread computed for 97 %"), "{verdict:?}");
        assert_eq!(Verdict::new(&plan(OPEN), None, &busy(0.5)).kind, VerdictKind::Good);
    }

    #[test]
    fn a_refusal_is_told_with_its_words_before_what_is_missing() {
        let mut outcome = busy(0.1);
        (outcome.counters.errors, outcome.counters.expected, outcome.counters.lost) = (3, 1000, 7);
        outcome.refusal = Some("ERROR: too long".into());
        let verdict = Verdict::new(&plan(OPEN), None, &outcome);
        assert_eq!(
            (verdict.kind, verdict.text.as_str()),
            (
                VerdictKind::Unmeasured,
                "FAILED: 127.0.0.1:1234 refused 3 times, first with `ERROR: too long`; by then 7 of 1,000 deliveries missing"
            )
        );
    }

    #[test]
    fn every_wrong_is_named() {
        let mut outcome = busy(0.1);
        outcome.counters.expected = 1000;
        outcome.counters.lost = 7;
        outcome.counters.duplicated = 2;
        let verdict = Verdict::new(&plan(OPEN), None, &outcome);
        assert_eq!(verdict.exit_code(), 1);
        assert_eq!(verdict.text, "WRONG: 7 of 1,000 deliveries lost, 2 delivered more than once");
    }
}
