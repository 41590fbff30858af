//! A run from outside: all in, then talk, then all out; the server's process is looked at in between.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::clock::{SECOND, Tick, now, sleep_until, ticks};
use crate::interrupt;
use crate::message::{Command, Event, Progress, Report, ThreadUsage};
use crate::plan::{Pacing, Plan, Stop};
use crate::process::{Process, Sample, segments_sent};
use crate::sheet::Sheet;
use crate::worker_pool::WorkerPool;

/// From the decision to talk to the first line: time for all processes to hear of it.
const HEADSTART: Tick = SECOND / 20;
/// How long other programs' traffic is watched before talking.
const LISTENING: Tick = SECOND / 10;
/// The share of it beside which the server's writes can still be counted.
const OTHERS: f64 = 0.02;
/// Longer than any worker stays silent: they tell their progress four times a second.
const DEAF: Tick = 30 * SECOND;

/// What is going on, for whoever watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment {
    /// Connections that the run will have.
    pub connections: u64,
    /// The sum of all workers' progress; the highest of their percentiles.
    pub progress: Progress,
    /// Seconds since talking began, and how many it lasts; `None` before.
    pub talk: Option<(f64, f64)>,
}

/// All that came out of a run.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// All workers' notes.
    pub sheet: Sheet,
    /// Why it ended early: the first worker's line.
    pub failure: Option<String>,
    /// What the server said when it first refused something.
    pub refusal: Option<String>,
    /// From the first line to the end of talking, in nanoseconds.
    pub talked: Tick,
    /// What each worker's thread used in the window.
    pub thread_usages: Vec<ThreadUsage>,
    /// From the first connect to the last entry, in nanoseconds.
    pub joining: Tick,
    /// From the first goodbye to the last end, in nanoseconds.
    pub leaving: Tick,
    /// The measured window, in nanoseconds.
    pub window: Tick,
    /// The server's process, if it is known.
    pub server: Option<Samples>,
    /// Segments with data that the machine sent in the window, this program's own left out; `None` where other
    /// programs sent too many of them to tell.
    pub segments: Option<u64>,
}

/// The server's process at the run's turns.
#[derive(Clone, Copy, Debug, Default)]
pub struct Samples {
    /// Before the first connection.
    pub before: Sample,
    /// When all were in.
    pub settled: Sample,
    /// At the start of the measured window.
    pub from: Sample,
    /// At its end.
    pub to: Sample,
    /// When all were out.
    pub left: Sample,
}

/// A run in progress.
struct Coordinator<'a> {
    plan: &'a Plan,
    worker_pool: WorkerPool,
    server: Option<&'a Process>,
    watch: &'a mut dyn FnMut(&Moment),
    /// Each worker's last words.
    progress: Vec<Progress>,
    /// Reports of the workers that are done.
    reports: Vec<Report>,
    /// How many workers are all in.
    settled: usize,
    /// How many workers have nothing more to expect.
    drained: usize,
    /// When talking began.
    talk: Option<Tick>,
}

/// Runs a plan to its end. A run that fails on its way still returns what it measured.
///
/// # Errors
/// When it could not begin.
pub fn run(plan: &Plan, server: Option<&Process>, watch: &mut dyn FnMut(&Moment)) -> Result<Run> {
    plan.check()?;
    let mut samples = Samples { before: sample(server), ..Samples::default() };
    // Memory that an earlier run left behind is reused by this one's connections: it is theirs.
    samples.before.rss = server.map_or(0, Process::fresh_rss);
    let worker_pool =
        WorkerPool::start(plan.shares(whole_us(now())), plan.processes).context("cannot start the workers")?;
    let progress = vec![Progress::default(); worker_pool.workers()];
    let mut coordinator = Coordinator {
        plan,
        worker_pool,
        server,
        watch,
        progress,
        reports: Vec::new(),
        settled: 0,
        drained: 0,
        talk: None,
    };
    let mut segments = None;
    if coordinator.all(|coordinator| coordinator.settled) {
        samples.settled = sample(server);
        segments = coordinator.talk(&mut samples);
    }
    let interrupted = interrupt::caught();
    coordinator.worker_pool.tell(Command::Leave);
    while coordinator.reports.len() < coordinator.worker_pool.workers() && coordinator.listen() {}
    samples.left = sample(server);
    let mut run = gather(plan, coordinator.reports, server.map(|_| samples), segments);
    if let Some(signal) = interrupted {
        let talked = Duration::from_millis(run.talked / 1_000_000);
        run.failure = Some(format!("stopped by {} after {}", signal.name(), humantime::format_duration(talked)));
    }
    Ok(run)
}

/// A tick cut to whole microseconds, in which lines tell when they were planned.
fn whole_us(tick: Tick) -> Tick {
    tick - tick % 1000
}

fn sample(server: Option<&Process>) -> Sample {
    server.and_then(|server| server.sample().ok()).unwrap_or_default()
}

impl Coordinator<'_> {
    /// Waits until every worker has reached a point. `false` when one of them gave up before.
    fn all(&mut self, reached: fn(&Self) -> usize) -> bool {
        while reached(self) < self.worker_pool.workers() {
            if !self.reports.is_empty() || interrupt::caught().is_some() || !self.listen() {
                return false;
            }
        }
        true
    }

    /// Notes the next event. `false` when there is none for longer than workers are ever silent.
    fn listen(&mut self) -> bool {
        let Some(event) = self.worker_pool.event(now() + DEAF) else { return false };
        self.note(event);
        true
    }

    fn note(&mut self, (worker, event): (usize, Event)) {
        match event {
            Event::Progress(progress) => {
                self.progress[worker] = progress;
                let moment = self.moment();
                (self.watch)(&moment);
            }
            Event::Settled => self.settled += 1,
            Event::Drained => self.drained += 1,
            Event::Left(report) => self.reports.push(*report),
        }
    }

    fn moment(&self) -> Moment {
        let progress = self.progress.iter().fold(Progress::default(), |sum, one| Progress {
            joined: sum.joined + one.joined,
            sent: sum.sent + one.sent,
            delivered: sum.delivered + one.delivered,
            p99: sum.p99.max(one.p99),
        });
        let length = match self.plan.stop {
            Stop::After(duration) => (self.plan.warmup + duration).as_secs_f64(),
            Stop::Lines(_) => 0.0,
        };
        let talk = self.talk.map(|start| (now().saturating_sub(start) as f64 / SECOND as f64, length));
        Moment { connections: self.plan.connections as u64, progress, talk }
    }

    /// Talk, and what the server's process uses in the window. Returns the segments sent in it.
    fn talk(&mut self, samples: &mut Samples) -> Option<u64> {
        if self.plan.pacing == Pacing::Quiet && self.plan.stop == Stop::Lines(0) {
            (samples.from, samples.to) = (samples.settled, samples.settled);
            return None;
        }
        let background = self.background()?;
        let start = whole_us(now() + HEADSTART);
        self.talk = Some(start);
        self.worker_pool.tell(Command::Talk(start));
        let from = start + ticks(self.plan.warmup);
        if !self.listen_until(from) {
            return None;
        }
        samples.from = sample(self.server);
        let segments = segments_sent();
        // The window closes on time, or when all lines of a counted run are through, or when a worker gives up.
        match self.plan.stop {
            Stop::After(duration) => self.listen_until(from + ticks(duration)),
            Stop::Lines(_) => self.all(|coordinator| coordinator.drained),
        };
        samples.to = sample(self.server);
        let end = segments_sent();
        self.all(|coordinator| coordinator.drained);
        told_apart(end?.saturating_sub(segments?), background, samples.to.at.saturating_sub(samples.from.at))
    }

    /// Segments that other programs send in [`LISTENING`], while ours are quiet; `Some(0)` where nobody counts them.
    fn background(&mut self) -> Option<u64> {
        let before = segments_sent();
        self.listen_until(now() + LISTENING).then_some(())?;
        Some(before.and_then(|before| Some(segments_sent()?.saturating_sub(before))).unwrap_or(0))
    }

    /// Notes what is told until a tick. `false` when a worker gave up.
    fn listen_until(&mut self, tick: Tick) -> bool {
        while now() < tick {
            let Some(event) = self.worker_pool.event(tick) else { break };
            self.note(event);
            if !self.reports.is_empty() || interrupt::caught().is_some() {
                return false;
            }
        }
        sleep_until(tick);
        true
    }
}

/// The segments of a window, unless more than [`OTHERS`] of them were likely not the server's.
fn told_apart(segments: u64, background: u64, window: Tick) -> Option<u64> {
    let others = background as f64 * window as f64 / LISTENING as f64;
    (others <= segments as f64 * OTHERS).then_some(segments)
}

fn gather(plan: &Plan, reports: Vec<Report>, server: Option<Samples>, segments: Option<u64>) -> Run {
    let mut run = Run { server, ..Run::default() };
    let span = |spans: &mut dyn Iterator<Item = (Tick, Tick)>| {
        let (mut from, mut to) = (Tick::MAX, 0);
        spans.filter(|span| span.0 > 0).for_each(|span| (from, to) = (from.min(span.0), to.max(span.1)));
        to.saturating_sub(from)
    };
    run.joining = span(&mut reports.iter().map(|report| report.joining));
    run.leaving = span(&mut reports.iter().map(|report| report.leaving));
    run.window =
        span(&mut reports.iter().filter(|report| report.sheet.window.1 > report.sheet.window.0).map(|report| {
            let to = report.sheet.window.1;
            (report.sheet.window.0, if to == Tick::MAX { report.finished } else { to })
        }));
    for report in reports {
        run.talked = run.talked.max(report.finished.saturating_sub(report.sheet.start));
        run.sheet.add(&report.sheet);
        run.refusal = run.refusal.take().or(report.refusal);
        run.failure = run.failure.take().or(report.failure);
        run.thread_usages.push(report.usage);
    }
    let missing = plan.shares(0).len().saturating_sub(run.thread_usages.len());
    if missing > 0 {
        run.failure.get_or_insert(format!("{missing} workers never reported"));
    }
    run.segments = segments.map(|count| count.saturating_sub(run.sheet.tally.window_writes));
    run
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_not_counted_beside_others() {
        assert_eq!(told_apart(1000, 0, SECOND), Some(1000));
        assert_eq!(told_apart(1000, 2, SECOND), Some(1000));
        assert_eq!(told_apart(1000, 3, SECOND), None);
    }
}
