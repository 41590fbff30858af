//! The soak: all kinds attack together for a long time, and nothing may grow.

use anyhow::Result;

use super::judge::Limits;
use super::monitor::Monitor;
use super::phase::figures;
use super::result::{SoakResult, SoakSample};
use super::server_pair::ServerPair;
use crate::attack::{Attack, AttackOrder, AttackReport};
use crate::clock::{SECOND, Tick, now, ticks};
use crate::coordinator;
use crate::format::bytes;
use crate::histogram::Histogram;
use crate::interrupt;
use crate::metrics::SecondMetrics;
use crate::plan::{Plan, Stop};
use crate::verdict::{Verdict, VerdictKind};

/// Interval at which all bad clients are replaced.
const CHURN_INTERVAL: Tick = 20 * SECOND;
/// Churns of a soak that is shorter than several intervals.
const LEAST_CHURNS: u64 = 12;
/// Seconds of the periods whose 99th percentiles are compared.
const PERIOD: usize = 10;
/// Periods of a soak that is shorter than several of them.
const LEAST_PERIODS: usize = 12;
/// Seconds of a soak that count as its warm-up: the server's pools and the kernel's buffers grow to what the attack needs.
const WARMUP: usize = 20;
/// The least and the most percent of a soak that count as its warm-up.
const WARMUP_PERCENT: (usize, usize) = (10, 33);
/// The factor by which memory may grow from the first to the last third.
const MEMORY_FACTOR: f64 = 1.2;
/// Bytes of growth that count as noise.
const MEMORY_SLACK: f64 = (8 << 20) as f64;
/// The factor by which the 99th percentile may grow.
const LATENCY_FACTOR: f64 = 1.5;
/// The share of descriptors by which two medians may differ, as connections come and go, and as some stay until the server
/// has delivered the lines that it received.
const DESCRIPTOR_SHARE: f64 = 0.1;
/// The number of descriptors by which they may differ.
const DESCRIPTOR_SLACK: f64 = 8.0;

/// The attack of a soak, which is replaced at an interval.
struct Churn<'a> {
    servers: &'a ServerPair,
    order: AttackOrder,
    attack: Option<Attack>,
    interval: Tick,
    next: Tick,
    count: u64,
    total: AttackReport,
    /// The first failure of an attack.
    failure: Option<String>,
}

/// Runs a soak: one long phase of the good clients beside all kinds.
///
/// # Errors
/// Fails when the plan is invalid.
pub(super) fn run_soak(
    servers: &ServerPair,
    plan: &Plan,
    kinds: &[String],
    seed: u64,
    limits: &Limits,
) -> Result<(SoakResult, Verdict)> {
    let length = if let Stop::After(length) = plan.stop { ticks(length) } else { 0 };
    let order = AttackOrder { target: servers.here.server.address(), kinds: kinds.to_vec(), seed };
    let interval = CHURN_INTERVAL.min(length / LEAST_CHURNS).max(SECOND);
    let (total, failure) = (AttackReport::default(), None);
    let mut churn = Churn { servers, order, attack: None, interval, next: 0, count: 0, total, failure };
    let mut monitor = None;
    let record = coordinator::run(plan, Some(&servers.here.process), &mut |snapshot| {
        let Some((elapsed, planned)) = snapshot.sending else { return };
        monitor.get_or_insert_with(|| Monitor::watch_each_second(servers.here.server.pid()));
        churn.on_progress(elapsed < planned);
    })?;
    let mut soak = SoakResult { phase: figures(plan, &record), ..SoakResult::default() };
    churn.stop_attack();
    soak.samples = monitor.map(Monitor::stop).unwrap_or_default();
    // The samples after the attack's end show the server at rest.
    soak.samples.retain(|sample| sample.at <= length as f64 / SECOND as f64);
    soak.p99_us = period_p99(&record.metrics.seconds);
    (soak.churns, soak.phase.attack) = (churn.count, Some(churn.total));
    soak.faults.extend(churn.failure);
    judge_soak(&mut soak, limits);
    let verdict = verdict(&soak);
    Ok((soak, verdict))
}

impl Churn<'_> {
    /// Replaces the attack when its time is over; ends it with the sending of the good clients or at a signal.
    fn on_progress(&mut self, sending: bool) {
        if !sending || interrupt::caught_signal().is_some() {
            self.stop_attack();
        } else if now() >= self.next {
            self.stop_attack();
            self.order.seed = self.order.seed.wrapping_add(1);
            self.next = now() + self.interval;
            self.count += 1;
            let until = self.next.saturating_add(SECOND);
            let started = Attack::spawn(&self.servers.generator, &self.order).and_then(|mut attack| {
                attack.start(until)?;
                Ok(attack)
            });
            match started {
                Ok(attack) => self.attack = Some(attack),
                Err(error) => _ = self.failure.get_or_insert(format!("{error:#}")),
            }
        }
    }

    fn stop_attack(&mut self) {
        match self.attack.take().map(Attack::stop) {
            Some(Ok(report)) => self.total.add(&report),
            Some(Err(error)) => _ = self.failure.get_or_insert(format!("{error:#}")),
            None => {}
        }
    }
}

/// Returns the 99th percentile of each period of [`PERIOD`] seconds, or of shorter ones in a short soak.
fn period_p99(seconds: &[SecondMetrics]) -> Vec<(f64, u64)> {
    let length = PERIOD.min(seconds.len() / LEAST_PERIODS).max(1);
    let period = |(at, seconds): (usize, &[SecondMetrics])| {
        let mut all = Histogram::<2>::default();
        for second in seconds {
            all.add(&second.latency);
        }
        ((at * length) as f64, all.quantile(0.99))
    };
    // The last seconds may be a part of a period, and contain deliveries after the attack.
    seconds.chunks_exact(length).enumerate().map(period).collect()
}

/// Compares the last third of a soak with the first one after the warm-up, and adds the effects to its faults.
pub fn judge_soak(soak: &mut SoakResult, limits: &Limits) {
    if !soak.phase.problem.is_empty() {
        soak.faults.push(soak.phase.problem.clone());
    }
    // There is a sample for each second.
    let warmup = (100 * WARMUP / soak.samples.len().max(1)).clamp(WARMUP_PERCENT.0, WARMUP_PERCENT.1);
    let of = |part: fn(&SoakSample) -> f64| soak.samples.iter().map(part).collect::<Vec<_>>();
    let memory = thirds(&of(|sample| (sample.rss + sample.kernel) as f64), warmup, mean);
    let descriptors = thirds(&of(|sample| sample.descriptors as f64), warmup, median);
    let p99 = thirds(&soak.p99_us.iter().map(|period| period.1 as f64).collect::<Vec<_>>(), warmup, median);
    let (Some(memory), Some(descriptors), Some(p99)) = (memory, descriptors, p99) else {
        soak.faults.push("too few samples to compare: raise --soak".into());
        return;
    };
    let named = |name: &str, (first, last): (f64, f64)| (name.to_owned(), first, last);
    soak.thirds = vec![named("memory", memory), named("descriptors", descriptors), named("p99_us", p99)];
    if memory.1 > memory.0 * MEMORY_FACTOR + MEMORY_SLACK {
        soak.faults.push(format!("memory grew from {} to {}", bytes(memory.0), bytes(memory.1)));
    }
    if (descriptors.1 - descriptors.0).abs() > descriptors.0 * DESCRIPTOR_SHARE + DESCRIPTOR_SLACK {
        soak.faults.push(format!("descriptors changed from {:.0} to {:.0}", descriptors.0, descriptors.1));
    }
    if p99.1 > p99.0.max(limits.floor_us as f64) * LATENCY_FACTOR {
        soak.faults.push(format!("p99 rose from {:.0} µs to {:.0} µs", p99.0, p99.1));
    }
    let peak = soak.samples.iter().map(|sample| sample.rss + sample.kernel).max().unwrap_or(0);
    if peak > limits.ceiling {
        let (peak, ceiling) = (bytes(peak as f64), bytes(limits.ceiling as f64));
        soak.faults.push(format!("memory {peak} is above the ceiling {ceiling}"));
    }
}

/// Returns a figure of the first and of the last third of values, without the first `warmup` percent; `None` with too few
/// values.
fn thirds(values: &[f64], warmup: usize, figure: fn(&[f64]) -> f64) -> Option<(f64, f64)> {
    let rest = &values[values.len() * warmup / 100..];
    let third = rest.len() / 3;
    (third > 0).then(|| (figure(&rest[..third]), figure(&rest[rest.len() - third..])))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn verdict(soak: &SoakResult) -> Verdict {
    let kind = match &soak.faults[..] {
        [] if soak.phase.saturated.is_empty() || soak.phase.delivered > 0 => VerdictKind::Good,
        [first, ..] if first.starts_with("too few") || first.starts_with("INCOMPLETE: stopped by") => {
            VerdictKind::Incomplete
        }
        _ => VerdictKind::Wrong,
    };
    let text = match kind {
        VerdictKind::Good => "GOOD: memory, descriptors and latency stayed flat, and nothing was lost".to_owned(),
        VerdictKind::Incomplete if soak.faults[0].starts_with("INCOMPLETE") => soak.faults.join("; "),
        VerdictKind::Incomplete | VerdictKind::Saturated => format!("INCOMPLETE: {}", soak.faults.join("; ")),
        VerdictKind::Wrong => format!("WRONG: {}", soak.faults.join("; ")),
    };
    Verdict { kind, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { ratio: 1.5, floor_us: 1000, calm_us: 500, ceiling: 1 << 30 };

    /// Returns a soak of 90 samples, each changed with its share of the time.
    fn judged(change: impl Fn(f64, &mut SoakSample, &mut u64)) -> Vec<String> {
        let mut soak = SoakResult::default();
        for at in 0..90_u32 {
            let at = f64::from(at);
            let mut sample = SoakSample { at, rss: 100 << 20, kernel: 10 << 20, descriptors: 1000 };
            let mut p99 = 2000;
            change(at / 90.0, &mut sample, &mut p99);
            soak.samples.push(sample);
            soak.p99_us.push((at, p99));
        }
        judge_soak(&mut soak, &LIMITS);
        assert_eq!(verdict(&soak).exit_code() == 0, soak.faults.is_empty());
        soak.faults
    }

    #[test]
    fn flat_soak_is_good() {
        assert_eq!(judged(|_, _, _| ()), Vec::<String>::new());
        let warm_up = |share: f64, sample: &mut SoakSample, _: &mut u64| {
            if share < 0.2 {
                *sample = SoakSample { descriptors: 3, ..SoakSample::default() };
            }
        };
        assert_eq!(judged(warm_up), Vec::<String>::new());
    }

    #[test]
    fn each_growth_is_a_fault() {
        let grown = |share: f64, more: u64| if share > 0.5 { more } else { 0 };
        let memory = judged(|share, sample, _| sample.kernel += grown(share, 60 << 20));
        assert_eq!(memory, ["memory grew from 110.00 MiB to 170.00 MiB"]);
        let descriptors = judged(|share, sample, _| sample.descriptors += grown(share, 120));
        assert_eq!(descriptors, ["descriptors changed from 1000 to 1120"]);
        let latency = judged(|share, _, p99| *p99 += grown(share, 1100));
        assert_eq!(latency, ["p99 rose from 2000 µs to 3100 µs"]);
        let peak =
            judged(|share, sample, _| sample.rss = if (0.5..0.51).contains(&share) { 2 << 30 } else { sample.rss });
        assert_eq!(peak, ["memory 2.01 GiB is above the ceiling 1.00 GiB"]);
    }

    #[test]
    fn soak_without_samples_is_not_measured() {
        let mut soak = SoakResult::default();
        judge_soak(&mut soak, &LIMITS);
        assert_eq!(verdict(&soak).exit_code(), 3);
    }
}
