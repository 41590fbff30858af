//! Decides whether the generator was the bottleneck. The figures do not describe the server then.

use crate::format::micros;
use crate::outcome::{GeneratorFigures, Outcome, ServerFigures};
use crate::plan::{Pacing, Plan};

/// The largest share of the window that a worker may compute or wait for a CPU. A busier worker may not have kept up.
const MAX_BUSY_SHARE: f64 = 0.95;
/// Cores that a server must use or wait for in a closed loop with a busy generator. Below it, the generator was busy
/// for another reason than the server's deliveries.
const MIN_SERVER_CORES: f64 = 0.9;
/// The largest share of the window that a worker of a closed loop may wait for a CPU, if it also waits longer than it
/// computes. More of it delays the loop. In an open loop the send lag shows the delay.
const MAX_WAITED_SHARE: f64 = 0.3;
/// Cores below which a side of a closed loop spent much of its time waiting for lines of the other side.
const IDLE_SHARE: f64 = 0.7;
/// Send lag in microseconds that a machine shared with the server may cause: the median and the 99th percentile. Both
/// processes wait for a time slice or two of the scheduler then.
const MAX_SEND_LAG_US: (u64, u64) = (1000, 5000);
/// The shortest window in seconds for which a decision is possible.
const MIN_WINDOW_SECONDS: f64 = 0.1;

/// Returns the reason why the generator was the bottleneck, if it was.
#[must_use]
pub fn saturation(plan: &Plan, outcome: &Outcome) -> Option<String> {
    match plan.pacing {
        _ if outcome.window_seconds < MIN_WINDOW_SECONDS => None,
        Pacing::Open { .. } => open_loop_saturation(outcome),
        Pacing::Closed { .. } => closed_loop_saturation(outcome),
        Pacing::Quiet => None,
    }
}

/// Returns whether both sides of a closed loop had idle time. More lines in flight would raise the throughput then.
pub(crate) fn both_sides_idle(plan: &Plan, outcome: &Outcome) -> bool {
    let server = outcome.server.as_ref().is_some_and(|server| cores_demanded(server) < IDLE_SHARE);
    let closed = matches!(plan.pacing, Pacing::Closed { .. });
    closed && server && outcome.window_seconds >= MIN_WINDOW_SECONDS && outcome.generator.busy_share < IDLE_SHARE
}

/// Returns the cores that a server used or waited for.
fn cores_demanded(server: &ServerFigures) -> f64 {
    server.cpu_share + server.waited_share
}

/// Checks an open loop: its workers must have had time, and its latency must not consist of the send lag.
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
    Some(format!("the generator sent late ({quantile} {}): lower the rate, or give the generator a CPU", micros(lag)))
}

/// Checks a closed loop, in which one side is always busy: it should be the server.
fn closed_loop_saturation(outcome: &Outcome) -> Option<String> {
    let generator = &outcome.generator;
    let starved = generator.waited_share > MAX_WAITED_SHARE.max(generator.cpu_share);
    if generator.busy_share <= MAX_BUSY_SHARE && !starved {
        return None;
    }
    match &outcome.server {
        Some(server) if cores_demanded(server) >= MIN_SERVER_CORES => None,
        Some(_) => Some(format!("{} while the server was not busy: {}", describe_load(generator), remedy(generator))),
        None => Some(format!("{}: give --pid to show whether the server was busy too", describe_load(generator))),
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
        "give the generator a CPU, or lower the load"
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::plan::tests::plan;

    /// Returns an outcome of a generator that computed for a share of the window.
    pub(crate) fn busy(share: f64) -> Outcome {
        waiting(share, 0.0)
    }

    /// Returns an outcome of a generator that also waited for a CPU.
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
    fn closed_loop_is_saturated_unless_the_server_was_busy() {
        let mut outcome = busy(0.99);
        assert!(saturation(&plan(CLOSED), &outcome).is_some_and(|why| why.contains("give --pid")));
        outcome.server = Some(server(0.8, 0.0));
        assert!(saturation(&plan(CLOSED), &outcome).is_some_and(|why| why.contains("while the server was not busy")));
        outcome.server = Some(server(0.95, 0.0));
        assert_eq!(saturation(&plan(CLOSED), &outcome), None);
    }

    #[test]
    fn waiting_for_a_cpu_counts_as_busy() {
        let mut outcome = waiting(0.3, 0.68);
        assert!(
            saturation(&plan(OPEN), &outcome)
                .is_some_and(|why| why.contains("waited 68 % for a CPU: give the generator a CPU"))
        );
        outcome.server = Some(server(0.4, 0.1));
        assert!(saturation(&plan(CLOSED), &outcome).is_some_and(|why| why.contains("while the server was not busy")));
        outcome.server = Some(server(0.6, 0.4));
        assert_eq!(saturation(&plan(CLOSED), &outcome), None, "both sides shared the CPUs");
        let mut outcome = Outcome { server: Some(server(0.3, 0.0)), ..waiting(0.2, 0.6) };
        assert!(saturation(&plan(CLOSED), &outcome).is_some_and(|why| why.contains("and waited 60 % for a CPU while")));
        outcome.server = Some(server(0.6, 0.35));
        assert_eq!(saturation(&plan(CLOSED), &outcome), None);
        let outcome = Outcome { server: Some(server(0.5, 0.1)), ..waiting(0.35, 0.25) };
        assert_eq!(saturation(&plan(CLOSED), &outcome), None, "two cores shared with other programs");
    }

    #[test]
    fn closed_loop_with_two_idle_sides_is_detected() {
        let mut outcome = waiting(0.4, 0.1);
        assert!(!both_sides_idle(&plan(CLOSED), &outcome), "the server's process is not known");
        outcome.server = Some(server(0.5, 0.1));
        assert!(both_sides_idle(&plan(CLOSED), &outcome) && !both_sides_idle(&plan(OPEN), &outcome));
        outcome.server = Some(server(1.2, 0.0));
        assert!(!both_sides_idle(&plan(CLOSED), &outcome));
    }

    #[test]
    fn open_loop_with_late_sends_is_saturated() {
        let mut outcome = busy(0.1);
        (outcome.send_lag_us.p99, outcome.latency_us.p99) = (30_000, 40_000);
        assert!(saturation(&plan(OPEN), &outcome).is_some_and(|why| why.contains("sent late (p99 30 ms)")));
        outcome.latency_us.p99 = 400_000;
        assert_eq!(saturation(&plan(OPEN), &outcome), None);
        (outcome.send_lag_us.p50, outcome.latency_us.p50) = (2000, 5000);
        assert!(saturation(&plan(OPEN), &outcome).is_some_and(|why| why.contains("sent late (p50 2")));
        (outcome.send_lag_us.p50, outcome.send_lag_us.p99) = (900, 4500);
        (outcome.latency_us.p50, outcome.latency_us.p99) = (1000, 5000);
        assert_eq!(saturation(&plan(OPEN), &outcome), None, "lag below the bounds");
    }

    #[test]
    fn very_short_window_is_never_saturated() {
        let outcome = Outcome { window_seconds: 0.02, ..busy(1.0) };
        assert_eq!(saturation(&plan(OPEN), &outcome), None);
    }
}
