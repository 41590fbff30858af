//! What a run comes to: every figure that is shown, in the form in which it is kept as JSON.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::clock::SECOND;
use crate::coordinator::{RunRecord, ServerSamples};
use crate::format::ratio;
use crate::histogram::Percentiles;
use crate::limit::Limit;
use crate::machine::Machine;
use crate::metrics::Counters;
use crate::plan::{Pacing, Plan, Stop};
use crate::process;

/// The outcome of one run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// The generator's version.
    pub version: String,
    /// The scenario's name.
    pub scenario: String,
    /// Every parameter.
    pub parameters: Map<String, Value>,
    /// Where it was run.
    pub machine: Machine,
    /// Every count.
    #[serde(flatten)]
    pub counters: Counters,
    /// How long the measured window was.
    pub window_seconds: f64,
    /// After how many seconds of talk the run ended, if that was before the window.
    #[serde(default)]
    pub ended_in_warmup: Option<f64>,
    /// What the server said when it first refused something.
    #[serde(default)]
    pub refusal: Option<String>,
    /// Deliveries received in it, a second.
    pub deliveries_per_second: f64,
    /// Bytes received in it, a second.
    pub bytes_per_second: f64,
    /// From a line's planned time to each member's receiving it.
    pub latency_us: Percentiles,
    /// From a line's planned time to its being handed to the kernel: the generator's own lateness.
    pub send_lag_us: Percentiles,
    /// Entering the rooms.
    pub join: PhaseFigures,
    /// Leaving them.
    pub leave: PhaseFigures,
    /// The server's process, when its id is known.
    pub server: Option<ServerFigures>,
    /// This program.
    pub generator: GeneratorFigures,
    /// What the machine itself can do, for comparison.
    pub limit: Option<Limit>,
    /// Second by second.
    pub timeline: Vec<TimelineSecond>,
    /// Latency at many shares of deliveries, for the plot: share and microseconds.
    pub latency_curve: Vec<(f64, u64)>,
    /// The steps of `step`.
    pub steps: Vec<Step>,
}

/// All members' way in, or out.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PhaseFigures {
    /// How many.
    pub count: u64,
    /// From the first to the last.
    pub seconds: f64,
    /// How many a second.
    pub per_second: f64,
    /// How long each took, where each can be told.
    pub latency_us: Percentiles,
    /// CPU seconds of the server meanwhile, when its process is known.
    pub server_cpu_seconds: Option<f64>,
}

/// What the server's process used.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ServerFigures {
    /// CPU seconds in the measured window.
    pub cpu_seconds: f64,
    /// Those for each second of the window.
    pub cpu_share: f64,
    /// Seconds in which its threads were ready without a CPU, for each second of the window.
    #[serde(default)]
    pub waited_share: f64,
    /// CPU nanoseconds in the window for each delivery in it.
    pub cpu_ns_per_delivery: f64,
    /// Resident memory at the window's end.
    pub rss_bytes: u64,
    /// What resident memory grew by for each connection.
    pub rss_bytes_per_connection: f64,
    /// Context switches in the window, asked for by the server (it slept) and not (it was put aside).
    pub context_switches: [u64; 2],
    /// Writes in the window: segments that left the machine's sockets less the generator's own. Other programs' traffic
    /// adds to it; a server without `TCP_NODELAY` has small writes merged into one segment.
    pub writes: Option<u64>,
    /// Deliveries for each of these.
    pub lines_per_write: Option<f64>,
}

/// What the generator used in the measured window.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct GeneratorFigures {
    /// CPU seconds of its workers.
    pub cpu_seconds: f64,
    /// The busiest worker's CPU time as a share of the window.
    pub cpu_share: f64,
    /// CPU nanoseconds for each delivery.
    pub cpu_ns_per_delivery: f64,
    /// The share of the window in which the worker that waited most was ready but had no CPU.
    pub waited_share: f64,
    /// The share of the window in which the worker with the least time left computed or waited for a CPU.
    #[serde(default)]
    pub busy_share: f64,
    /// Deliveries for each read.
    pub lines_per_read: f64,
    /// Whether it was the bottleneck: then the figures say little about the server.
    pub saturated: bool,
}

/// One second of talk.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TimelineSecond {
    /// Deliveries received.
    pub delivered: u64,
    /// Half of them took at most this.
    pub p50: u64,
    /// 99 in 100 of them.
    pub p99: u64,
}

/// One step of `step`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Step {
    /// Connections.
    pub connections: u64,
    /// Lines a second in each room.
    pub rate_per_room: f64,
    /// Deliveries a second.
    pub deliveries_per_second: f64,
    /// Latency.
    pub latency_us: Percentiles,
    /// CPU nanoseconds of the server for each delivery, when its process is known.
    pub cpu_ns_per_delivery: Option<f64>,
    /// Why it is not good; empty when it is.
    #[serde(rename = "trouble")]
    pub problem: String,
}

impl Outcome {
    /// What a run of a plan came to.
    #[must_use]
    pub fn new(scenario: &str, plan: &Plan, run: &RunRecord) -> Self {
        let counters = run.metrics.counters.clone();
        let seconds = run.window as f64 / SECOND as f64;
        let per_second = |count: u64| if run.window == 0 { 0.0 } else { count as f64 / seconds };
        let mut outcome = Self {
            version: env!("CARGO_PKG_VERSION").into(),
            scenario: scenario.into(),
            parameters: parameters(plan),
            machine: Machine::here(),
            window_seconds: seconds,
            deliveries_per_second: per_second(counters.window_delivered),
            bytes_per_second: per_second(counters.window_bytes),
            latency_us: run.metrics.latency.percentiles(),
            send_lag_us: run.metrics.send_lag.percentiles(),
            join: phase_figures(counters.joined, run.joining),
            leave: phase_figures(counters.left, run.leaving),
            ended_in_warmup: (counters.sent > 0 && run.window == 0).then(|| run.sending_time as f64 / SECOND as f64),
            refusal: run.refusal.clone(),
            generator: generator_figures(run),
            timeline: timeline(run),
            latency_curve: run.metrics.latency.curve(),
            counters,
            ..Self::default()
        };
        outcome.join.latency_us = run.metrics.join.percentiles();
        // A process that is gone can't be told about.
        if let Some(samples) = run.server.as_ref().filter(|samples| samples.window_end.at > 0) {
            outcome.server = Some(server_figures(samples, run));
            let cpu = |from: u64, to: u64| Some(to.saturating_sub(from) as f64 / SECOND as f64);
            outcome.join.server_cpu_seconds = cpu(samples.before_joins.cpu, samples.after_joins.cpu);
            outcome.leave.server_cpu_seconds = cpu(samples.window_end.cpu, samples.after_leaves.cpu);
        }
        outcome
    }
}

impl Outcome {
    /// The connections that the run was to have.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.parameters.get("connections").and_then(Value::as_u64).unwrap_or(0)
    }
}

fn phase_figures(count: u64, time: u64) -> PhaseFigures {
    let seconds = time as f64 / SECOND as f64;
    let per_second = if time == 0 { 0.0 } else { count as f64 / seconds };
    PhaseFigures { count, seconds, per_second, ..PhaseFigures::default() }
}

fn generator_figures(run: &RunRecord) -> GeneratorFigures {
    let cpu: u64 = run.thread_usages.iter().map(|usage| usage.cpu).sum();
    let most = |part: fn(&crate::message::ThreadUsage) -> u64| {
        run.thread_usages.iter().map(|usage| ratio(part(usage), usage.wall)).fold(0.0, f64::max)
    };
    let counters = &run.metrics.counters;
    GeneratorFigures {
        cpu_seconds: cpu as f64 / SECOND as f64,
        cpu_share: most(|usage| usage.cpu),
        cpu_ns_per_delivery: ratio(cpu, counters.window_delivered),
        waited_share: most(|usage| usage.waited),
        busy_share: most(|usage| usage.cpu + usage.waited),
        lines_per_read: ratio(counters.window_delivered, counters.window_reads),
        saturated: false,
    }
}

fn server_figures(samples: &ServerSamples, run: &RunRecord) -> ServerFigures {
    let (from, to) = (&samples.window_start, &samples.window_end);
    let cpu = to.cpu.saturating_sub(from.cpu);
    let delivered = run.metrics.counters.window_delivered;
    let joined = run.metrics.counters.joined;
    let top = to.rss.max(samples.after_joins.rss);
    let writes =
        run.segments.filter(|&count| process::plausible_writes(count, run.metrics.counters.window_reads, delivered));
    ServerFigures {
        cpu_seconds: cpu as f64 / SECOND as f64,
        cpu_share: ratio(cpu, to.at.saturating_sub(from.at)),
        waited_share: ratio(to.waited.saturating_sub(from.waited), to.at.saturating_sub(from.at)),
        cpu_ns_per_delivery: ratio(cpu, delivered),
        rss_bytes: top,
        rss_bytes_per_connection: ratio(top.saturating_sub(samples.before_joins.rss), joined),
        context_switches: [
            to.voluntary_switches.saturating_sub(from.voluntary_switches),
            to.involuntary_switches.saturating_sub(from.involuntary_switches),
        ],
        writes,
        lines_per_write: writes.filter(|_| delivered > 0).map(|writes| ratio(delivered, writes)),
    }
}

fn timeline(run: &RunRecord) -> Vec<TimelineSecond> {
    let second = |second: &crate::metrics::SecondMetrics| TimelineSecond {
        delivered: second.delivered,
        p50: second.latency.quantile(0.5),
        p99: second.latency.quantile(0.99),
    };
    // What arrived after the window came in part of a second, and was not sent in it.
    let whole = run.metrics.window.1.saturating_sub(run.metrics.start) / SECOND;
    let whole = usize::try_from(whole).unwrap_or(usize::MAX).max(1);
    run.metrics.seconds.iter().take(whole).map(second).collect()
}

/// Every parameter of a plan under the name of its option.
fn parameters(plan: &Plan) -> Map<String, Value> {
    let (rate, window) = match plan.pacing {
        Pacing::Quiet => (Value::Null, Value::Null),
        Pacing::Open { millilines_per_second } => (json!(millilines_per_second as f64 / 1e3), Value::Null),
        Pacing::Closed { window } => (Value::Null, json!(window)),
    };
    let (duration, lines) = match plan.stop {
        Stop::After(duration) => (json!(duration.as_secs_f64()), Value::Null),
        Stop::Lines(lines) => (Value::Null, json!(lines)),
    };
    let value = json!({
        "target": plan.target.to_string(), "protocol": plan.protocol,
        "connections": plan.connections, "rooms": plan.rooms, "senders": plan.senders, "size": plan.size,
        "rate": rate, "in_flight": window, "duration": duration, "lines": lines,
        "warmup": plan.warmup.as_secs_f64(), "read_every": plan.read_every.as_secs_f64(),
        "patience": plan.patience.as_secs_f64(),
        "connecting": plan.connecting, "sources": plan.sources, "first_room": plan.first_room, "threads": plan.threads, "processes": plan.processes,
    });
    value.as_object().cloned().unwrap_or_default()
}
