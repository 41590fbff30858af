//! Whether the generator was the bottleneck, or what it was measured with: then its figures say little of the server.

use crate::format::micros;
use crate::outcome::{GeneratorFigures, Outcome, ServerFigures};
use crate::plan::{Pacing, Plan};

/// A worker that computes or waits for a CPU for more of the window than this cannot be trusted to have kept up.
const MAX_BUSY_SHARE: f64 = 0.95;
/// Cores that a server must use, or wait for, before a busy generator in a closed loop is believed to have been kept
/// busy by it.
const MIN_SERVER_CORES: f64 = 0.9;
/// A closed loop's worker that waits for a CPU for more of the window than this, and longer than it computes, holds the
/// loop up. (An open loop tells by how late it sends.)
const MAX_WAITED_SHARE: f64 = 0.3;
/// A side that used and waited for less of a core in a closed loop waited for the other's lines much of the time.
const IDLE_SHARE: f64 = 0.7;
/// Lateness of the generator's own sends, in microseconds, that a machine shared with the server may well cause: mostly,
/// and at times, when both wait for a slice or two of the scheduler's.
const MAX_SEND_LAG_US: (u64, u64) = (1000, 5000);
/// A window that is shorter, in seconds, says nothing about who was busy.
const MIN_WINDOW_SECONDS: f64 = 0.1;

/// Why the generator was the bottleneck, if it was.
#[must_use]
pub fn saturation(plan: &Plan, outcome: &Outcome) -> Option<String> {
    match plan.pacing {
        _ if outcome.window_seconds < MIN_WINDOW_SECONDS => None,
        Pacing::Open { .. } => open_loop_saturation(outcome),
        Pacing::Closed { .. } => closed_loop_saturation(outcome),
        Pacing::Quiet => None,
    }
}

/// Whether a closed loop left both sides time: with more lines in flight more would have gone through.
pub(crate) fn both_sides_idle(plan: &Plan, outcome: &Outcome) -> bool {
    let server = outcome.server.as_ref().is_some_and(|server| cores_demanded(server) < IDLE_SHARE);
    let closed = matches!(plan.pacing, Pacing::Closed { .. });
    closed && server && outcome.window_seconds >= MIN_WINDOW_SECONDS && outcome.generator.busy_share < IDLE_SHARE
}

/// Cores that a server used or waited for.
fn cores_demanded(server: &ServerFigures) -> f64 {
    server.cpu_share + server.waited_share
}

/// An open loop must have had time, and its own lateness must not be what is measured.
fn open_loop_saturation(outcome: &Outcome) -> Option<String> {
    let (lag, latency) = (&outcome.send_lag_us, &outcome.latency_us);
    if outcome.generator.busy_share > MAX_BUSY_SHARE {
        return Some(format!("{}: {}", describe_load(&outcome.generator), remedy(&outcome.generator)));
    }
    let (quantile, lag) = if lag.p50 > MAX_SEND_LAG_US.0 && lag.p50 * 3 > latency.p50 {
        ("p50", lag.p50)
    } else if lag.p99 > MAX_SEND_LAG_US.1 && lag.p99 * 2 > latency.p99 {
        ("p99", lag.p99)
    } else {
        return None;
    };
    Some(format!("the generator itself sent late ({quantile} {}): lower the rate, or give it a CPU", micros(lag)))
}

/// A closed loop keeps somebody busy: it should be the server.
fn closed_loop_saturation(outcome: &Outcome) -> Option<String> {
    let generator = &outcome.generator;
    let starved = generator.waited_share > MAX_WAITED_SHARE.max(generator.cpu_share);
    if generator.busy_share <= MAX_BUSY_SHARE && !starved {
        return None;
    }
    match &outcome.server {
        Some(server) if cores_demanded(server) >= MIN_SERVER_CORES => None,
        Some(_) => Some(format!("{} while the server had time: {}", describe_load(generator), remedy(generator))),
        None => Some(format!("{}: give --pid to tell whether the server was as busy", describe_load(generator))),
    }
}

fn describe_load(generator: &GeneratorFigures) -> String {
    let percent = generator.cpu_share * 100.0;
    let text = format!("the generator's busiest thread computed for {percent:.0} % of the window");
    match generator.busy_share - generator.cpu_share {
        waited if waited > 0.05 => format!("{text} and waited {:.0} % for a CPU", waited * 100.0),
        _ => text,
    }
}

fn remedy(generator: &GeneratorFigures) -> &'static str {
    if generator.cpu_share > MAX_BUSY_SHARE {
        "add --threads or --processes"
    } else {
        "give it a CPU, or lower the load"
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::plan::tests::plan;

    /// An outcome of a generator that computed for this share of the window.
    pub(crate) fn busy(share: f64) -> Outcome {
        waiting(share, 0.0)
    }

    /// One that also waited for a CPU.
    fn waiting(cpu: f64, waited: f64) -> Outcome {
        let mut outcome = Outcome { window_seconds: 1.0, ..Outcome::default() };
        outcome.generator.cpu_share = cpu;
        outcome.generator.waited_share = waited;
        outcome.generator.busy_share = cpu + waited;
        outcome
    }

    fn server(cpu_share: f64, waited_share: f64) -> ServerFigures {
        ServerFigures { cpu_share, waited_share, ..ServerFigures::default() }
    }

    pub(crate) const OPEN: Pacing = Pacing::Open { millilines_per_second: 1000 };
    const CLOSED: Pacing = Pacing::Closed { window: 1 };

    #[test]
    fn a_closed_loop_keeps_both_sides_busy() {
        let mut outcome = busy(0.99);
        assert!(saturation(&plan(CLOSED), &outcome).is_some_and(|why| why.contains("give --pid")));
        outcome.server = Some(server(0.8, 0.0));
        assert!(saturation(&plan(CLOSED), &outcome).is_some_and(|why| why.contains("while the server had time")));
        outcome.server = Some(server(0.95, 0.0));
        assert_eq!(saturation(&plan(CLOSED), &outcome), None);
    }

    #[test]
    fn a_generator_without_a_cpu_is_as_busy_as_one_that_computes() {
        let mut outcome = waiting(0.3, 0.68);
        assert!(saturation(&plan(OPEN), &outcome).is_some_and(|why| why.contains("waited 68 % for a CPU: give it")));
        outcome.server = Some(server(0.4, 0.1));
        assert!(saturation(&plan(CLOSED), &outcome).is_some_and(|why| why.contains("while the server had time")));
        outcome.server = Some(server(0.6, 0.4));
        assert_eq!(saturation(&plan(CLOSED), &outcome), None, "both shared what there was");
        let mut outcome = Outcome { server: Some(server(0.3, 0.0)), ..waiting(0.2, 0.6) };
        assert!(saturation(&plan(CLOSED), &outcome).is_some_and(|why| why.contains("and waited 60 % for a CPU while")));
        outcome.server = Some(server(0.6, 0.35));
        assert_eq!(saturation(&plan(CLOSED), &outcome), None);
        let outcome = Outcome { server: Some(server(0.5, 0.1)), ..waiting(0.35, 0.25) };
        assert_eq!(saturation(&plan(CLOSED), &outcome), None, "a machine of two cores with others on it");
    }

    #[test]
    fn a_closed_loop_that_leaves_both_sides_time_is_told() {
        let mut outcome = waiting(0.4, 0.1);
        assert!(!both_sides_idle(&plan(CLOSED), &outcome), "nothing is known of the server");
        outcome.server = Some(server(0.5, 0.1));
        assert!(both_sides_idle(&plan(CLOSED), &outcome) && !both_sides_idle(&plan(OPEN), &outcome));
        outcome.server = Some(server(1.2, 0.0));
        assert!(!both_sides_idle(&plan(CLOSED), &outcome));
    }

    #[test]
    fn late_sends_are_not_the_servers_latency() {
        let mut outcome = busy(0.1);
        (outcome.send_lag_us.p99, outcome.latency_us.p99) = (30_000, 40_000);
        assert!(saturation(&plan(OPEN), &outcome).is_some_and(|why| why.contains("sent late (p99 30 ms)")));
        outcome.latency_us.p99 = 400_000;
        assert_eq!(saturation(&plan(OPEN), &outcome), None);
        (outcome.send_lag_us.p50, outcome.latency_us.p50) = (2000, 5000);
        assert!(saturation(&plan(OPEN), &outcome).is_some_and(|why| why.contains("sent late (p50 2")));
        (outcome.send_lag_us.p50, outcome.send_lag_us.p99) = (900, 4500);
        (outcome.latency_us.p50, outcome.latency_us.p99) = (1000, 5000);
        assert_eq!(saturation(&plan(OPEN), &outcome), None, "the machine's own unrest");
    }

    #[test]
    fn a_moment_says_nothing() {
        let outcome = Outcome { window_seconds: 0.02, ..busy(1.0) };
        assert_eq!(saturation(&plan(OPEN), &outcome), None);
    }
}
