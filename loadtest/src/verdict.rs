//! Whether a run's figures can be relied on, in one line, and the exit code that says so.

use serde::{Deserialize, Serialize};

use crate::machine::{grouped, micros};
use crate::outcome::Outcome;
use crate::plan::{Pacing, Plan};

/// A worker that computes for more of the window than this cannot be trusted to have kept up.
const BUSY: f64 = 0.95;
/// Cores that a server must use before a busy generator in a closed loop is believed to have been kept busy by it.
const SERVER_BUSY: f64 = 0.75;
/// Lateness of the generator's own sends, in microseconds, that a machine shared with the server may well cause; above
/// it, and above half the latency, the figures are more the generator's than the server's.
const LAG_US: u64 = 10_000;

/// What a run comes to; the numbers are the program's exit codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Everything arrived once and in order, and the generator was not the bottleneck.
    #[default]
    Good,
    /// Something was lost, came twice, came out of order, or was never sent.
    Wrong,
    /// It could not be measured, or not well.
    Unmeasured,
}

/// A verdict and its reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What it comes to.
    pub kind: Kind,
    /// One line for a person.
    pub text: String,
}

impl Verdict {
    /// Judges a run that ended early with `failure`, or at its end.
    #[must_use]
    pub fn new(plan: &Plan, failure: Option<&str>, outcome: &Outcome) -> Self {
        let wrongs = wrongs(outcome);
        let verdict = |kind, text| Self { kind, text };
        if let Some(failure) = failure {
            let wrong = if wrongs.is_empty() { String::new() } else { format!("; by then {}", wrongs.join(", ")) };
            return verdict(Kind::Unmeasured, format!("FAILED: {failure}{wrong}"));
        }
        if !wrongs.is_empty() {
            return verdict(Kind::Wrong, format!("WRONG: {}", wrongs.join(", ")));
        }
        if outcome.tally.closed > 0 {
            let count = grouped(outcome.tally.closed);
            return verdict(Kind::Unmeasured, format!("FAILED: {} closed {count} connections in mid-run", plan.target));
        }
        if outcome.tally.errors > 0 {
            let count = grouped(outcome.tally.errors);
            return verdict(Kind::Unmeasured, format!("FAILED: {} refused {count} times", plan.target));
        }
        if let Some(why) = saturation(plan, outcome) {
            return verdict(Kind::Unmeasured, format!("SATURATED: {why}"));
        }
        verdict(Kind::Good, good(outcome))
    }

    /// The program's exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Good => 0,
            Kind::Wrong => 1,
            Kind::Unmeasured => 3,
        }
    }
}

fn good(outcome: &Outcome) -> String {
    let tally = &outcome.tally;
    if tally.sent > 0 {
        return format!("GOOD: {} deliveries, each once and in its room's order", grouped(tally.delivered));
    }
    format!("GOOD: {} connections in and out", grouped(tally.joined))
}

/// What must never happen, where it did.
fn wrongs(outcome: &Outcome) -> Vec<String> {
    let tally = &outcome.tally;
    let skipped =
        if tally.skipped > 0 { format!(" ({} announced as skipped)", grouped(tally.skipped)) } else { String::new() };
    let missing = tally.join_notices_expected.saturating_sub(tally.join_notices);
    // Notices are owed to those who came in: when not all did, that is told instead.
    let missing = if outcome.join.count == outcome.connections() { missing } else { 0 };
    [
        (tally.lost, format!("of {} deliveries lost{skipped}", grouped(tally.expected))),
        (tally.duplicated, "delivered more than once".into()),
        (tally.misordered_sender, "out of their sender's order".into()),
        (tally.misordered_room, "out of their room's common order".into()),
        (tally.corrupt, "lines that nobody sent".into()),
        (tally.untrue_notices, "notices of joins or leaves that did not happen, or told twice".into()),
        (missing, format!("of {} join notices lost", grouped(tally.join_notices_expected))),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{} {what}", grouped(count)))
    .collect()
}

/// Why the generator was the bottleneck, if it was.
#[must_use]
pub fn saturation(plan: &Plan, outcome: &Outcome) -> Option<String> {
    let generator = &outcome.generator;
    let percent = generator.cpu_share * 100.0;
    match plan.pacing {
        Pacing::Open { .. } if generator.cpu_share > BUSY => Some(format!(
            "the generator's busiest thread computed for {percent:.0} % of the window: add --threads or --processes"
        )),
        Pacing::Open { .. } => {
            let (lag, latency) = (outcome.send_lag_us.p99, outcome.latency_us.p99);
            (lag > LAG_US && lag * 2 > latency).then(|| {
                format!("the generator itself sent late (p99 {}): lower the rate, or give it a CPU", micros(lag))
            })
        }
        Pacing::Closed { .. } if generator.cpu_share > BUSY => match &outcome.server {
            Some(server) if server.cpu_share >= SERVER_BUSY => None,
            Some(_) => Some(format!(
                "the generator's busiest thread computed for {percent:.0} % of the window while the server had time: \
                 add --threads or --processes"
            )),
            None => Some(format!(
                "the generator's busiest thread computed for {percent:.0} % of the window: give --pid to tell whether \
                 the server was as busy"
            )),
        },
        Pacing::Closed { .. } | Pacing::Quiet => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::outcome::ServerFigures;
    use crate::plan::Stop;
    use crate::protocol::Dialect;

    fn plan(pacing: Pacing) -> Plan {
        Plan {
            target: ([127, 0, 0, 1], 1234).into(),
            protocol: Dialect::Line,
            connections: 2,
            rooms: 1,
            senders: 1,
            size: 64,
            pacing,
            stop: Stop::Lines(1),
            warmup: Duration::ZERO,
            read_every: Duration::ZERO,
            patience: Duration::ZERO,
            connecting: 1,
            sources: 1,
            threads: 1,
            processes: 1,
        }
    }

    /// An outcome of a generator that was busy for this share of the window.
    fn busy(share: f64) -> Outcome {
        let mut outcome = Outcome::default();
        outcome.generator.cpu_share = share;
        outcome
    }

    const OPEN: Pacing = Pacing::Open { millilines_per_second: 1000 };
    const CLOSED: Pacing = Pacing::Closed { window: 1 };

    #[test]
    fn a_busy_generator_is_not_believed() {
        let verdict = Verdict::new(&plan(OPEN), None, &busy(0.97));
        assert_eq!((verdict.kind, verdict.exit_code()), (Kind::Unmeasured, 3));
        assert!(verdict.text.starts_with("SATURATED: the generator's busiest thread computed for 97 %"), "{verdict:?}");
        assert_eq!(Verdict::new(&plan(OPEN), None, &busy(0.5)).kind, Kind::Good);
    }

    #[test]
    fn a_closed_loop_keeps_both_sides_busy() {
        let mut outcome = busy(0.99);
        assert!(saturation(&plan(CLOSED), &outcome).is_some_and(|why| why.contains("give --pid")));
        outcome.server = Some(ServerFigures { cpu_share: 0.2, ..ServerFigures::default() });
        assert!(saturation(&plan(CLOSED), &outcome).is_some_and(|why| why.contains("while the server had time")));
        outcome.server = Some(ServerFigures { cpu_share: 0.9, ..ServerFigures::default() });
        assert_eq!(saturation(&plan(CLOSED), &outcome), None);
    }

    #[test]
    fn late_sends_are_not_the_servers_latency() {
        let mut outcome = busy(0.1);
        outcome.send_lag_us.p99 = 30_000;
        outcome.latency_us.p99 = 40_000;
        assert!(saturation(&plan(OPEN), &outcome).is_some_and(|why| why.contains("sent late (p99 30 ms)")));
        outcome.latency_us.p99 = 400_000;
        assert_eq!(saturation(&plan(OPEN), &outcome), None);
    }

    #[test]
    fn every_wrong_is_named() {
        let mut outcome = busy(0.1);
        outcome.tally.expected = 1000;
        outcome.tally.lost = 7;
        outcome.tally.duplicated = 2;
        let verdict = Verdict::new(&plan(OPEN), None, &outcome);
        assert_eq!(verdict.exit_code(), 1);
        assert_eq!(verdict.text, "WRONG: 7 of 1,000 deliveries lost, 2 delivered more than once");
    }
}
