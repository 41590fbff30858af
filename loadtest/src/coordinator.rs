//! The coordinator of a run: joins, sending and leaves of all workers, with samples of the server's process in between.

use std::time::Duration;

use anyhow::Result;

use crate::clock::{SECOND, Tick, now, ticks};
use crate::interrupt;
use crate::message::{Command, Event, ThreadUsage, WorkerProgress, WorkerReport};
use crate::metrics::Metrics;
use crate::plan::{Pacing, Plan, Stop};
use crate::process::{Process, Sample, segments_sent};
use crate::worker_pool::{HostFigures, WorkerPool};

/// Time from the start command to the first line, in which the command reaches all processes.
const START_DELAY: Tick = SECOND / 20;
/// Time for which the traffic of other programs is measured before sending.
const BACKGROUND_WINDOW: Tick = SECOND / 10;
/// The largest share of that traffic at which the server's writes can still be counted.
const MAX_BACKGROUND_SHARE: f64 = 0.02;
/// Time without any event after which the workers count as stuck. They send progress four times per second.
const EVENT_TIMEOUT: Tick = 30 * SECOND;
/// Interval at which signals are checked while no event arrives.
const SIGNAL_CHECK_INTERVAL: Tick = SECOND / 20;
/// Time for which the reports of the workers are awaited after a signal.
const STOP_TIMEOUT: Tick = SECOND * 7 / 10;

/// A snapshot of a run's progress.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProgressSnapshot {
    /// The number of connections of the run.
    pub connections: u64,
    /// The sum of all workers' progress, with the highest of their percentiles.
    pub progress: WorkerProgress,
    /// Seconds since sending started, and its planned seconds, warm-up included; `None` before. A run that a number of
    /// lines ends has no planned seconds: they are 0.
    pub sending: Option<(f64, f64)>,
    /// Seconds of warm-up at the start of sending.
    pub warmup: f64,
    /// Lines that all rooms send, where their number ends the run.
    pub planned_lines: Option<u64>,
    /// Whether the members have been told to leave.
    pub leaving: bool,
}

/// The raw data of a run.
#[derive(Clone, Debug, Default)]
pub struct RunRecord {
    /// The metrics of all workers.
    pub metrics: Metrics,
    /// The reason of an early end: the first failure of a worker, or a signal.
    pub failure: Option<String>,
    /// The server's text at its first refusal.
    pub refusal: Option<String>,
    /// Nanoseconds from the first line to the end of sending.
    pub sending_time: Tick,
    /// The CPU use of each worker's thread in the window.
    pub thread_usages: Vec<ThreadUsage>,
    /// Nanoseconds from the first connect to the last join.
    pub joining: Tick,
    /// Nanoseconds from the first shutdown to the last close.
    pub leaving: Tick,
    /// Length of the measured window in nanoseconds.
    pub window: Tick,
    /// Samples of the server's process, where it is known.
    pub server: Option<ServerSamples>,
    /// Segments with data that this machine sent in the window, without the generator's own. `None` where other
    /// programs sent too many to tell them apart.
    pub segments: Option<u64>,
    /// The worker hosts, where the plan names some.
    pub hosts: Vec<HostFigures>,
}

/// Samples of the server's process between the phases of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerSamples {
    /// Before the first connection.
    pub before_joins: Sample,
    /// After the last join.
    pub after_joins: Sample,
    /// At the start of the measured window.
    pub window_start: Sample,
    /// At the end of the measured window.
    pub window_end: Sample,
    /// After the last close.
    pub after_leaves: Sample,
}

/// The state of a run.
struct Coordinator<'a> {
    plan: &'a Plan,
    worker_pool: WorkerPool,
    server: Option<&'a Process>,
    on_progress: &'a mut dyn FnMut(&ProgressSnapshot),
    /// The latest progress of each worker.
    progress: Vec<WorkerProgress>,
    /// The reports of the workers that have finished.
    reports: Vec<WorkerReport>,
    /// The number of workers whose connections have all joined.
    all_joined: usize,
    /// The number of workers that expect no more deliveries.
    drained: usize,
    /// The tick at which sending started.
    sending_since: Option<Tick>,
    /// Whether the members have been told to leave.
    leaving: bool,
}

/// Runs a plan to its end. A run that fails still returns its measurements.
///
/// # Errors
/// Fails when the plan is invalid or the workers cannot be started.
pub fn run(plan: &Plan, server: Option<&Process>, on_progress: &mut dyn FnMut(&ProgressSnapshot)) -> Result<RunRecord> {
    plan.check()?;
    let mut samples = ServerSamples { before_joins: sample(server), ..ServerSamples::default() };
    // The server reuses memory of an earlier run for this run's connections, so memory counts from the first sample.
    samples.before_joins.rss = server.map_or(0, Process::initial_rss);
    let worker_pool = WorkerPool::start(plan.shares(truncate_to_us(now())), plan)?;
    let progress = vec![WorkerProgress::default(); worker_pool.workers()];
    let mut coordinator = Coordinator {
        plan,
        worker_pool,
        server,
        on_progress,
        progress,
        reports: Vec::new(),
        all_joined: 0,
        drained: 0,
        sending_since: None,
        leaving: false,
    };
    let mut segments = None;
    if coordinator.wait_for_all(|coordinator| coordinator.all_joined) {
        samples.after_joins = sample(server);
        segments = coordinator.run_sending(&mut samples);
    }
    coordinator.leaving = true;
    coordinator.collect_reports();
    samples.after_leaves = sample(server);
    let complete = coordinator.reports.len() == coordinator.worker_pool.workers();
    let hosts = coordinator.worker_pool.finish(complete);
    let mut run = merge_reports(plan, coordinator.reports, server.map(|_| samples), segments);
    run.hosts = hosts;
    if let Some(signal) = interrupt::caught_signal() {
        let sending_time = Duration::from_millis(run.sending_time / 1_000_000);
        run.failure = Some(format!("stopped by {} after {}", signal.name(), humantime::format_duration(sending_time)));
    }
    Ok(run)
}

/// Truncates a tick to whole microseconds, the resolution of planned times in lines.
fn truncate_to_us(tick: Tick) -> Tick {
    tick - tick % 1000
}

fn sample(server: Option<&Process>) -> Sample {
    server.and_then(|server| server.sample().ok()).unwrap_or_default()
}

impl Coordinator<'_> {
    /// Waits until every worker has reached a point. Returns `false` when a worker has finished before.
    fn wait_for_all(&mut self, reached: fn(&Self) -> usize) -> bool {
        while reached(self) < self.worker_pool.workers() {
            if !self.reports.is_empty() || interrupt::caught_signal().is_some() || !self.handle_next_event() {
                return false;
            }
        }
        true
    }

    /// Makes all workers leave, and collects their reports. After a signal they report at once, and a worker that does
    /// not is given up.
    fn collect_reports(&mut self) {
        self.worker_pool.broadcast(Command::Leave);
        while self.reports.len() < self.worker_pool.workers() && self.handle_next_event() {}
        if interrupt::caught_signal().is_none() {
            return;
        }
        self.worker_pool.broadcast(Command::Stop);
        let deadline = now() + STOP_TIMEOUT;
        while self.reports.len() < self.worker_pool.workers()
            && let Some(event) = self.worker_pool.next_event(deadline)
        {
            self.handle_event(event);
        }
    }

    /// Handles the next event. Returns `false` when none arrives within [`EVENT_TIMEOUT`], or a signal is caught.
    fn handle_next_event(&mut self) -> bool {
        let deadline = now() + EVENT_TIMEOUT;
        while now() < deadline && interrupt::caught_signal().is_none() {
            if let Some(event) = self.worker_pool.next_event(deadline.min(now() + SIGNAL_CHECK_INTERVAL)) {
                self.handle_event(event);
                return true;
            }
        }
        false
    }

    fn handle_event(&mut self, (worker, event): (usize, Event)) {
        match event {
            Event::Progress(progress) => {
                self.progress[worker] = progress;
                let snapshot = self.progress_snapshot();
                (self.on_progress)(&snapshot);
            }
            Event::AllJoined => self.all_joined += 1,
            Event::Drained => self.drained += 1,
            Event::Finished(report) => self.reports.push(*report),
        }
    }

    fn progress_snapshot(&self) -> ProgressSnapshot {
        let (length, planned_lines) = match self.plan.stop {
            Stop::After(duration) => ((self.plan.warmup + duration).as_secs_f64(), None),
            Stop::Lines(lines) => (0.0, Some(lines.saturating_mul(self.plan.rooms as u64))),
        };
        ProgressSnapshot {
            connections: self.plan.connections as u64,
            progress: self.progress.iter().fold(WorkerProgress::default(), WorkerProgress::with),
            sending: self.sending_since.map(|start| (now().saturating_sub(start) as f64 / SECOND as f64, length)),
            warmup: self.plan.warmup.as_secs_f64(),
            planned_lines,
            leaving: self.leaving,
        }
    }

    /// Runs the phase of sending, and samples the server's process at both ends of the window. Returns the segments
    /// sent within the window.
    fn run_sending(&mut self, samples: &mut ServerSamples) -> Option<u64> {
        if self.plan.pacing == Pacing::Quiet && self.plan.stop == Stop::Lines(0) {
            (samples.window_start, samples.window_end) = (samples.after_joins, samples.after_joins);
            return None;
        }
        let background = self.measure_background()?;
        let start = truncate_to_us(now() + START_DELAY + self.worker_pool.command_time());
        self.sending_since = Some(start);
        self.worker_pool.broadcast(Command::StartSending(start));
        let from = start + ticks(self.plan.warmup);
        if !self.handle_events_until(from) {
            return None;
        }
        samples.window_start = sample(self.server);
        let segments = segments_sent();
        // The window closes on time, or when all lines of a counted run have arrived, or when a worker fails.
        match self.plan.stop {
            Stop::After(duration) => self.handle_events_until(from + ticks(duration)),
            Stop::Lines(_) => self.wait_for_all(|coordinator| coordinator.drained),
        };
        samples.window_end = sample(self.server);
        let end = segments_sent();
        self.wait_for_all(|coordinator| coordinator.drained);
        server_segments(
            end?.saturating_sub(segments?),
            background,
            samples.window_end.at.saturating_sub(samples.window_start.at),
        )
    }

    /// Returns the segments that other programs send within [`BACKGROUND_WINDOW`], while the generator is idle;
    /// `Some(0)` where the kernel does not count them.
    fn measure_background(&mut self) -> Option<u64> {
        let before = segments_sent();
        self.handle_events_until(now() + BACKGROUND_WINDOW).then_some(())?;
        Some(before.and_then(|before| Some(segments_sent()?.saturating_sub(before))).unwrap_or(0))
    }

    /// Handles events until a tick. Returns `false` when a worker has finished.
    fn handle_events_until(&mut self, tick: Tick) -> bool {
        while now() < tick {
            if let Some(event) = self.worker_pool.next_event(tick.min(now() + SIGNAL_CHECK_INTERVAL)) {
                self.handle_event(event);
            }
            if !self.reports.is_empty() || interrupt::caught_signal().is_some() {
                return false;
            }
        }
        true
    }
}

/// Returns the segments of a window; `None` when other programs sent more than [`MAX_BACKGROUND_SHARE`] of them.
fn server_segments(segments: u64, background: u64, window: Tick) -> Option<u64> {
    let others = background as f64 * window as f64 / BACKGROUND_WINDOW as f64;
    (others <= segments as f64 * MAX_BACKGROUND_SHARE).then_some(segments)
}

fn merge_reports(
    plan: &Plan,
    reports: Vec<WorkerReport>,
    server: Option<ServerSamples>,
    segments: Option<u64>,
) -> RunRecord {
    let mut run = RunRecord { server, ..RunRecord::default() };
    let span = |spans: &mut dyn Iterator<Item = (Tick, Tick)>| {
        let (mut from, mut to) = (Tick::MAX, 0);
        spans.filter(|span| span.0 > 0).for_each(|span| (from, to) = (from.min(span.0), to.max(span.1)));
        to.saturating_sub(from)
    };
    run.joining = span(&mut reports.iter().map(|report| report.joining));
    run.leaving = span(&mut reports.iter().map(|report| report.leaving));
    run.window =
        span(&mut reports.iter().filter(|report| report.metrics.window.1 > report.metrics.window.0).map(|report| {
            let to = report.metrics.window.1;
            (report.metrics.window.0, if to == Tick::MAX { report.finished } else { to })
        }));
    for report in reports {
        run.sending_time = run.sending_time.max(report.finished.saturating_sub(report.metrics.start));
        run.metrics.add(&report.metrics);
        run.refusal = run.refusal.take().or(report.refusal);
        run.failure = run.failure.take().or(report.failure);
        run.thread_usages.push(report.usage);
    }
    let missing = plan.shares(0).len().saturating_sub(run.thread_usages.len());
    if missing > 0 {
        run.failure.get_or_insert(format!("{missing} workers sent no report"));
    }
    // The segments of this machine do not show which writes of a server went to worker hosts.
    run.segments = segments
        .filter(|_| plan.hosts.addresses.is_empty())
        .map(|count| count.saturating_sub(run.metrics.counters.window_writes));
    run
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_not_counted_with_other_traffic() {
        assert_eq!(server_segments(1000, 0, SECOND), Some(1000));
        assert_eq!(server_segments(1000, 2, SECOND), Some(1000));
        assert_eq!(server_segments(1000, 3, SECOND), None);
    }
}
