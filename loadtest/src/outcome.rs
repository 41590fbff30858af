//! The outcome of a run: every figure that reports show, in the form that `--json` keeps.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::clock::SECOND;
use crate::coordinator::{RunRecord, ServerSamples};
use crate::format::ratio;
use crate::histogram::{DEFAULT_QUANTILES, Percentiles, Quantile, QuantileValue};
use crate::limit::Limit;
use crate::machine::Machine;
use crate::metrics::{Counters, Metrics};
use crate::plan::{Pacing, Plan, Stop};
use crate::process;
use crate::return_figures::ReturnFigures;
use crate::slow_closes::SlowCloses;
use crate::slowest::SlowFigures;
use crate::timeline::{LATENCY_BOUNDS_US, TimelineSecond, timeline};
use crate::worker_pool::HostFigures;

/// The outcome of one run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Outcome {
    /// The generator's version.
    pub version: String,
    /// The scenario's name.
    pub scenario: String,
    /// The server's name and version, where it was spawned and printed them.
    pub server_version: Option<String>,
    /// Every parameter of the run.
    pub parameters: Map<String, Value>,
    /// The machine of the run.
    pub machine: Machine,
    /// Milliseconds from 1970 to the end of the run. They give the order of runs, and so whether two servers took turns.
    #[serde(default)]
    pub recorded_unix_ms: Option<u64>,
    /// Every counter.
    #[serde(flatten)]
    pub counters: Counters,
    /// Length of the measured window in seconds.
    pub window_seconds: f64,
    /// Seconds from the first line to the end of a run that ended during the warm-up.
    #[serde(rename = "ended_in_warmup_seconds")]
    pub ended_in_warmup: Option<f64>,
    /// The server's text at its first refusal.
    pub refusal: Option<String>,
    /// Deliveries per second in the window; null in JSON where no window was measured.
    #[serde(deserialize_with = "crate::unmeasured::deserialize")]
    #[cfg_attr(test, schemars(with = "Option<f64>"))]
    pub deliveries_per_second: f64,
    /// Bytes received per second in the window; null in JSON where no window was measured.
    #[serde(deserialize_with = "crate::unmeasured::deserialize")]
    #[cfg_attr(test, schemars(with = "Option<f64>"))]
    pub bytes_per_second: f64,
    /// Time from a line's planned time to its arrival at a member.
    pub latency_us: Percentiles,
    /// The quantiles of that latency that the options name.
    pub percentiles: Vec<QuantileValue>,
    /// The same quantiles of the latency without own lag.
    pub percentiles_without_lag: Vec<QuantileValue>,
    /// Time from a line's planned time to its write to the socket: the generator's own delay.
    pub send_lag_us: Percentiles,
    /// Time from a line's planned time until the socket had accepted all of it.
    #[serde(default)]
    pub write_lag_us: Percentiles,
    /// The longest time that a delivery can have waited in the kernel until the generator read it.
    #[serde(default)]
    pub receive_lag_us: Percentiles,
    /// Latency without send lag and receive lag.
    #[serde(default)]
    pub latency_without_lag_us: Percentiles,
    /// At most ten members with the highest mean latency, in falling order.
    #[serde(default)]
    pub worst_members: Vec<SlowFigures>,
    /// At most ten rooms with the highest mean latency, in falling order.
    #[serde(default)]
    pub worst_rooms: Vec<SlowFigures>,
    /// The phase of joining.
    pub join: PhaseFigures,
    /// The phase of leaving.
    pub leave: PhaseFigures,
    /// The members that left during the run and came back, where the plan lets some leave.
    #[serde(default)]
    pub returns: Option<ReturnFigures>,
    /// The reasons for which the server closed members that read slowly, with their numbers; null where all members read at once.
    #[serde(default)]
    pub slow_closes: Option<SlowCloses>,
    /// The figures of the server's process, where its ID is known.
    pub server: Option<ServerFigures>,
    /// The figures of the generator.
    pub generator: GeneratorFigures,
    /// The worker hosts, where some generated the load in place of this machine.
    #[serde(default)]
    pub hosts: Vec<HostFigures>,
    /// The cost of bare writes on this machine, for comparison.
    pub limit: Option<Limit>,
    /// The figures of each second.
    pub timeline: Vec<TimelineSecond>,
    /// The bounds of `latency_buckets` in `timeline`: the longest latency of each bucket but the last, which has no
    /// bound.
    #[serde(default)]
    pub latency_bounds_us: Vec<u64>,
    /// Points of the latency plot: a share of the deliveries, and the microseconds that it does not exceed.
    #[serde(rename = "latency_curve_us")]
    pub latency_curve: Vec<(f64, u64)>,
    /// The steps of `step`.
    pub steps: Vec<Step>,
    /// The recorded histograms, which other files than the JSON hold.
    #[serde(skip)]
    pub metrics: Metrics,
}

/// The figures of joining or leaving.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PhaseFigures {
    /// The number of members.
    pub count: u64,
    /// Seconds from the first to the last.
    pub seconds: f64,
    /// Members per second.
    pub per_second: f64,
    /// The duration of each join; not known for leaves.
    pub latency_us: Percentiles,
    /// CPU seconds of the server during the phase, where its process is known.
    pub server_cpu_seconds: Option<f64>,
}

/// The figures of the server's process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ServerFigures {
    /// CPU seconds in the measured window.
    pub cpu_seconds: f64,
    /// CPU seconds per second of the window.
    pub cpu_share: f64,
    /// Seconds in which threads of the server were ready without a CPU, per second of the window.
    pub waited_share: f64,
    /// CPU nanoseconds per delivery in the window; null in JSON without a delivery.
    #[serde(with = "crate::unmeasured")]
    #[cfg_attr(test, schemars(with = "Option<f64>"))]
    pub cpu_ns_per_delivery: f64,
    /// Resident memory at the end of the window.
    pub rss_bytes: u64,
    /// Growth of resident memory per connection.
    pub rss_bytes_per_connection: f64,
    /// Context switches in the window: voluntary ones, in which a thread slept, and involuntary ones, in which it was
    /// preempted.
    pub context_switches: [u64; 2],
    /// Writes in the window: the segments that the machine sent without the generator's own. They include the traffic
    /// of other programs. Without `TCP_NODELAY` the kernel merges small writes into one segment.
    pub writes: Option<u64>,
    /// Deliveries per write.
    pub lines_per_write: Option<f64>,
}

/// The figures of the generator in the measured window.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GeneratorFigures {
    /// CPU seconds of all workers.
    pub cpu_seconds: f64,
    /// CPU time of the busiest worker as a share of the window.
    pub cpu_share: f64,
    /// CPU nanoseconds per delivery; null in JSON without a delivery.
    #[serde(with = "crate::unmeasured")]
    #[cfg_attr(test, schemars(with = "Option<f64>"))]
    pub cpu_ns_per_delivery: f64,
    /// The largest share of the window in which a worker was ready without a CPU.
    pub waited_share: f64,
    /// The largest share of the window in which a worker computed or was ready without a CPU.
    pub busy_share: f64,
    /// The largest share of the window in which a worker was stopped or starved.
    #[serde(default)]
    pub stopped_share: f64,
    /// Deliveries per read; null in JSON without a delivery.
    #[serde(with = "crate::unmeasured")]
    #[cfg_attr(test, schemars(with = "Option<f64>"))]
    pub lines_per_read: f64,
    /// Whether the generator was the bottleneck. The figures do not describe the server then.
    pub saturated: bool,
}

/// The figures of one step of `step`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Step {
    /// Connections.
    pub connections: u64,
    /// Lines per second in each room.
    #[serde(rename = "lines_per_second_per_room")]
    pub rate_per_room: f64,
    /// Deliveries per second.
    pub deliveries_per_second: f64,
    /// Latency.
    pub latency_us: Percentiles,
    /// CPU nanoseconds of the server per delivery, where its process is known.
    pub cpu_ns_per_delivery: Option<f64>,
    /// The reason that the step is not good; empty for a good step.
    pub problem: String,
}

impl Outcome {
    /// Computes the figures of a run of a plan.
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
            recorded_unix_ms: unix_ms(SystemTime::now()),
            window_seconds: seconds,
            deliveries_per_second: per_second(counters.window_delivered),
            bytes_per_second: per_second(counters.window_bytes),
            latency_us: run.metrics.latency.percentiles(),
            percentiles: run.metrics.latency.quantile_values(&DEFAULT_QUANTILES),
            percentiles_without_lag: run.metrics.latency_without_lag.quantile_values(&DEFAULT_QUANTILES),
            send_lag_us: run.metrics.send_lag.percentiles(),
            write_lag_us: run.metrics.write_lag.percentiles(),
            receive_lag_us: run.metrics.receive_lag.percentiles(),
            latency_without_lag_us: run.metrics.latency_without_lag.percentiles(),
            worst_members: run.metrics.slowest.members.clone(),
            worst_rooms: run.metrics.slowest.rooms.clone(),
            join: phase_figures(counters.joined, run.joining),
            leave: phase_figures(counters.left, run.leaving),
            ended_in_warmup: (counters.sent > 0 && run.window == 0).then(|| run.sending_time as f64 / SECOND as f64),
            refusal: run.refusal.clone(),
            generator: generator_figures(run),
            hosts: run.hosts.clone(),
            timeline: timeline(&run.metrics),
            latency_bounds_us: LATENCY_BOUNDS_US.into(),
            latency_curve: run.metrics.latency.curve(),
            counters,
            ..Self::default()
        };
        outcome.join.latency_us = run.metrics.join.percentiles();
        outcome.slow_closes = plan.slow_readers.map(|_| run.metrics.slow_closes.clone());
        outcome.returns = plan.departures.exist().then(|| ReturnFigures::new(&run.metrics));
        // A process that has ended has no last sample.
        if let Some(samples) = run.server.as_ref().filter(|samples| samples.window_end.at > 0) {
            outcome.server = Some(server_figures(samples, run));
            let cpu = |from: u64, to: u64| Some(to.saturating_sub(from) as f64 / SECOND as f64);
            outcome.join.server_cpu_seconds = cpu(samples.before_joins.cpu, samples.after_joins.cpu);
            outcome.leave.server_cpu_seconds = cpu(samples.window_end.cpu, samples.after_leaves.cpu);
        }
        outcome
    }

    /// Replaces the quantiles of latency by others.
    pub fn select_quantiles(&mut self, quantiles: &[Quantile]) {
        self.percentiles = self.metrics.latency.quantile_values(quantiles);
        self.percentiles_without_lag = self.metrics.latency_without_lag.quantile_values(quantiles);
    }

    /// Returns the planned number of connections.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.parameters.get("connections").and_then(Value::as_u64).unwrap_or(0)
    }
}

/// Returns the milliseconds from 1970 to a time; `None` for an earlier one.
fn unix_ms(time: SystemTime) -> Option<u64> {
    u64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
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
        stopped_share: most(|usage| usage.stopped),
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

/// Returns every parameter of a plan under the name of its option, followed by its unit.
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
        "target": plan.server_list(), "protocol": plan.protocol,
        "connections": plan.connections, "rooms": plan.rooms, "senders": plan.senders, "size_bytes": plan.size.to_value(),
        "arrivals": plan.arrivals, "seed": plan.seed,
        "lines_per_second_per_room": rate, "in_flight": window, "duration_seconds": duration, "lines": lines,
        "warmup_seconds": plan.warmup.as_secs_f64(), "read_every_seconds": plan.read_every.as_secs_f64(),
        "patience_seconds": plan.patience.as_secs_f64(),
        "connecting": plan.connecting, "sources": plan.sources, "first_room": plan.first_room, "threads": plan.threads, "processes": plan.processes,
        "workers": plan.hosts.addresses,
    });
    let mut parameters = value.as_object().cloned().unwrap_or_default();
    if !plan.servers.is_empty() {
        parameters.insert("servers".into(), plan.servers.len().into());
        parameters.insert("total_order".into(), plan.total_order.into());
    }
    parameters.extend(plan.departures.parameters());
    parameters.extend(plan.slow_readers.map(|readers| readers.parameters()).unwrap_or_default());
    parameters
}
