//! Decides whether the generator was the bottleneck. The figures do not describe the server then.

use crate::format::{micros, thousands};
use crate::outcome::{GeneratorFigures, Outcome, ServerFigures};
use crate::plan::{Pacing, Plan};
use crate::return_figures::ReturnFigures;

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
/// The largest part of a percentile of latency that may be the generator's own lag.
const MAX_LAG_SHARE: f64 = 0.4;
/// Own lag in microseconds that is never judged: the cost of a wake and of a few system calls.
const MIN_LAG_US: u64 = 200;
/// The largest share of the window in which a worker may be stopped.
const MAX_STOPPED_SHARE: f64 = 0.02;
/// Own lag in microseconds after which a server may drop lines of a member that is not read, or close it.
const LOSSY_LAG_US: u64 = 1_000_000;
/// The shortest window in seconds for which a decision is possible.
const MIN_WINDOW_SECONDS: f64 = 0.1;

/// The reason why the figures describe the generator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saturation {
    /// The reason and the remedy.
    pub reason: String,
    /// Whether it may also be the cause of missing deliveries. Such a run is no evidence against the server.
    pub explains_losses: bool,
}

/// Returns the reason why the generator was the bottleneck, if it was.
#[must_use]
pub fn saturation(plan: &Plan, outcome: &Outcome) -> Option<Saturation> {
    let reason = match plan.pacing {
        Pacing::Quiet => None,
        _ if outcome.counters.unsent > 0 => Some(unsent_text(outcome)),
        _ if outcome.window_seconds < MIN_WINDOW_SECONDS => None,
        _ if outcome.generator.stopped_share > MAX_STOPPED_SHARE => Some(stopped_text(outcome)),
        Pacing::Open { .. } => open_loop_saturation(outcome),
        Pacing::Closed { .. } => closed_loop_saturation(plan, outcome),
    };
    reason.map(|reason| Saturation { reason, explains_losses: explains_losses(outcome) })
}

/// Returns whether the generator left lines unsent or unread for so long that deliveries may be missing because of it.
fn explains_losses(outcome: &Outcome) -> bool {
    outcome.counters.unsent > 0
        || outcome.send_lag_us.max > LOSSY_LAG_US
        || outcome.receive_lag_us.max > LOSSY_LAG_US
        || outcome.generator.stopped_share * outcome.window_seconds * 1e6 > LOSSY_LAG_US as f64
}

fn unsent_text(outcome: &Outcome) -> String {
    let (unsent, sent) = (thousands(outcome.counters.unsent), thousands(outcome.counters.sent));
    format!("the generator sent {sent} lines and had no time for {unsent} more: lower --rate, or add --threads")
}

fn stopped_text(outcome: &Outcome) -> String {
    let percent = outcome.generator.stopped_share * 100.0;
    format!("the generator was stopped or had no CPU for {percent:.0} % of the window: give it a CPU of its own")
}

/// Returns whether a percentile of latency shows the generator's own lag rather than the server, from its value with and
/// without that lag in microseconds.
#[must_use]
pub fn is_own_lag(latency_us: u64, without_lag_us: u64) -> bool {
    let own = latency_us.saturating_sub(without_lag_us);
    own > MIN_LAG_US && own as f64 > latency_us as f64 * MAX_LAG_SHARE
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

/// Checks an open loop: its workers must have had time, and no percentile up to the 99th may consist of own lag. Higher
/// ones depend on a few deliveries; they are marked where they are shown.
fn open_loop_saturation(outcome: &Outcome) -> Option<String> {
    if outcome.generator.busy_share > MAX_BUSY_SHARE {
        return Some(format!("{}: {}", describe_load(&outcome.generator), remedy(&outcome.generator)));
    }
    let (latency, without) = (&outcome.latency_us, &outcome.latency_without_lag_us);
    let percentiles =
        [("p50", latency.p50, without.p50), ("p90", latency.p90, without.p90), ("p99", latency.p99, without.p99)];
    let returns = outcome.returns.iter().map(ReturnFigures::join_percentiles);
    let own = |(_, with, without): &(&str, u64, u64)| is_own_lag(*with, *without);
    let (name, with, without) = percentiles.into_iter().find(own).or_else(|| returns.flatten().find(own))?;
    Some(format!(
        "{name} {} is {} without the generator's own lag: lower the rate, or give the generator a CPU",
        micros(with),
        micros(without)
    ))
}

/// Checks a closed loop, in which one side is always busy: it should be the server.
fn closed_loop_saturation(plan: &Plan, outcome: &Outcome) -> Option<String> {
    let generator = &outcome.generator;
    let starved = generator.waited_share > MAX_WAITED_SHARE.max(generator.cpu_share);
    if generator.busy_share <= MAX_BUSY_SHARE && !starved {
        return None;
    }
    match &outcome.server {
        Some(server) if cores_demanded(server) >= MIN_SERVER_CORES => None,
        Some(_) => Some(format!("{} while the server was not busy: {}", describe_load(generator), remedy(generator))),
        // No process is measured where --servers names several.
        None if !plan.servers.is_empty() => Some(format!("{}: {}", describe_load(generator), remedy(generator))),
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
    use crate::histogram::Percentiles;
    use crate::plan::tests::plan;

    /// Returns an outcome of a generator that computed for a share of the window.
    pub(crate) fn busy(share: f64) -> Outcome {
        waiting(share, 0.0)
    }

    /// Returns an outcome of a generator that also waited for a CPU.
    fn waiting(cpu: f64, waited: f64) -> Outcome {
        let mut outcome = Outcome { window_seconds: 1.0, ..Outcome::default() };
        outcome.latency_us.count = 1;
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
        assert!(saturation(&plan(CLOSED), &outcome).is_some_and(|found| found.reason.contains("give --pid")));
        let several = Plan { servers: vec![([127, 0, 0, 1], 1).into()], ..plan(CLOSED) };
        assert!(saturation(&several, &outcome).is_some_and(|found| !found.reason.contains("--pid")));
        outcome.server = Some(server(0.8, 0.0));
        assert!(
            saturation(&plan(CLOSED), &outcome)
                .is_some_and(|found| found.reason.contains("while the server was not busy"))
        );
        outcome.server = Some(server(0.95, 0.0));
        assert_eq!(saturation(&plan(CLOSED), &outcome), None);
    }

    #[test]
    fn waiting_for_a_cpu_counts_as_busy() {
        let mut outcome = waiting(0.3, 0.68);
        assert!(
            saturation(&plan(OPEN), &outcome)
                .is_some_and(|found| found.reason.contains("waited 68 % for a CPU: give the generator a CPU"))
        );
        outcome.server = Some(server(0.4, 0.1));
        assert!(
            saturation(&plan(CLOSED), &outcome)
                .is_some_and(|found| found.reason.contains("while the server was not busy"))
        );
        outcome.server = Some(server(0.6, 0.4));
        assert_eq!(saturation(&plan(CLOSED), &outcome), None, "both sides shared the CPUs");
        let mut outcome = Outcome { server: Some(server(0.3, 0.0)), ..waiting(0.2, 0.6) };
        assert!(
            saturation(&plan(CLOSED), &outcome)
                .is_some_and(|found| found.reason.contains("and waited 60 % for a CPU while"))
        );
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

    /// Returns an outcome whose latency has these percentiles in microseconds, with and without own lag.
    fn lagging(with: [u64; 3], without: [u64; 3]) -> Outcome {
        let mut outcome = busy(0.1);
        [outcome.latency_us.p50, outcome.latency_us.p90, outcome.latency_us.p99] = with;
        let bare = &mut outcome.latency_without_lag_us;
        [bare.p50, bare.p90, bare.p99] = without;
        outcome
    }

    #[test]
    fn each_percentile_that_consists_of_own_lag_saturates_an_open_loop() {
        for (with, without, name) in [
            ([2400, 2400, 2400], [300, 2000, 2000], Some("p50 2.40 ms is 300 µs without")),
            ([300, 2400, 2400], [300, 400, 2000], Some("p90 2.40 ms is 400 µs without")),
            ([300, 400, 2400], [300, 400, 300], Some("p99 2.40 ms is 300 µs without")),
            ([250_000, 480_000, 500_000], [250_000, 250_000, 251_000], Some("p90 480 ms is 250 ms without")),
            ([300, 400, 2400], [200, 300, 1700], None),
            ([210, 250, 290], [20, 60, 100], None),
        ] {
            let found = saturation(&plan(OPEN), &lagging(with, without));
            match name {
                Some(name) => assert!(found.is_some_and(|found| found.reason.starts_with(name)), "{with:?}"),
                None => assert_eq!(found, None, "{with:?}"),
            }
        }
    }

    #[test]
    fn returns_that_consist_of_own_lag_saturate_an_open_loop() {
        let mut outcome = lagging([300, 400, 500], [300, 400, 500]);
        let figures = |p99| Percentiles { count: 9, p50: 300, p90: 400, p99, ..Percentiles::default() };
        outcome.returns = Some(ReturnFigures {
            join_us: figures(2400),
            join_without_lag_us: figures(2000),
            ..ReturnFigures::default()
        });
        assert_eq!(saturation(&plan(OPEN), &outcome), None);
        outcome.returns.as_mut().unwrap().join_without_lag_us = figures(500);
        let found = saturation(&plan(OPEN), &outcome).unwrap();
        assert!(found.reason.starts_with("p99 of joining again 2.40 ms is 500 µs without"), "{found:?}");
    }

    #[test]
    fn lag_explains_losses_only_where_it_is_long() {
        let mut outcome = lagging([300, 400, 2400], [300, 400, 300]);
        let explains = |outcome: &Outcome| saturation(&plan(OPEN), outcome).unwrap().explains_losses;
        assert!(!explains(&outcome));
        outcome.receive_lag_us.max = 7_000_000;
        assert!(explains(&outcome));
        outcome.receive_lag_us.max = 0;
        outcome.counters.unsent = 1;
        assert!(explains(&outcome));
    }

    #[test]
    fn stopped_generator_is_saturated_in_both_loops() {
        let mut outcome = Outcome { window_seconds: 10.0, server: Some(server(1.0, 0.0)), ..busy(0.1) };
        outcome.generator.stopped_share = 0.3;
        for pacing in [OPEN, CLOSED] {
            let found = saturation(&plan(pacing), &outcome).unwrap();
            assert!(found.reason.starts_with("the generator was stopped or had no CPU for 30 %"), "{found:?}");
            assert!(found.explains_losses);
        }
        outcome.generator.stopped_share = 0.01;
        assert_eq!(saturation(&plan(OPEN), &outcome), None);
    }

    #[test]
    fn unsent_lines_are_named_in_any_window() {
        let mut outcome = Outcome { window_seconds: 0.01, ..busy(0.1) };
        (outcome.counters.sent, outcome.counters.unsent) = (1000, 9000);
        let found = saturation(&plan(OPEN), &outcome).unwrap();
        assert!(found.reason.starts_with("the generator sent 1,000 lines and had no time for 9,000 more"), "{found:?}");
    }

    #[test]
    fn very_short_window_is_never_saturated() {
        let outcome = Outcome { window_seconds: 0.02, ..busy(1.0) };
        assert_eq!(saturation(&plan(OPEN), &outcome), None);
    }
}
