//! One phase: the good clients join, talk for the phase's length beside an attack, and leave.

use anyhow::Result;

use super::result::PhaseFigures;
use super::server_pair::{ServerPair, WatchedServer};
use crate::attack::{Attack, AttackOrder};
use crate::clock::{SECOND, Tick, now, ticks};
use crate::coordinator::{self, ProgressSnapshot, RunRecord};
use crate::interrupt;
use crate::plan::{Plan, Stop};
use crate::test_result::TestResult;
use crate::verdict::VerdictKind;

/// The server that an attack is aimed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// The server of the good clients.
    Here,
    /// The control server.
    Control,
}

/// The attack of a phase while it runs.
struct RunningAttack<'a> {
    attack: Option<Attack>,
    target: &'a WatchedServer,
    /// The tick and the target's CPU time at the attack's start.
    started: Option<(Tick, u64)>,
    /// The tick at which the attack ends.
    until: Tick,
    /// The same figures as at the start, soon after the end.
    ended: Option<(Tick, u64)>,
}

/// Runs a phase with an attack, or a calm one. A signal ends it early.
///
/// # Errors
/// Fails when the plan is invalid, or when no process can be started.
pub(super) fn run_phase(
    servers: &ServerPair,
    plan: &Plan,
    attack: Option<(Aim, &[String], u64)>,
) -> Result<PhaseFigures> {
    let aim = attack.map_or(Aim::Here, |(aim, _, _)| aim);
    let target = if aim == Aim::Here { &servers.here } else { &servers.control };
    let order =
        attack.map(|(_, kinds, seed)| AttackOrder { target: target.server.address(), kinds: kinds.to_vec(), seed });
    let child = order.map(|order| Attack::spawn(&servers.generator, &order)).transpose()?;
    let mut running = RunningAttack { attack: child, target, started: None, until: 0, ended: None };
    let record =
        coordinator::run(plan, Some(&servers.here.process), &mut |snapshot| running.on_progress(plan, snapshot))?;
    let mut figures = figures(plan, &record);
    running.finish(&mut figures);
    Ok(figures)
}

impl RunningAttack<'_> {
    /// Starts the attack together with the sending of the good clients, measures its end, and ends it at a signal.
    fn on_progress(&mut self, plan: &Plan, snapshot: &ProgressSnapshot) {
        if interrupt::caught_signal().is_some() {
            self.attack = None;
        }
        if self.started.is_some() && self.ended.is_none() && now() >= self.until {
            self.ended = Some((now(), self.target.cpu()));
        }
        let (Some(attack), Some((elapsed, _)), None) = (&mut self.attack, snapshot.sending, self.started) else {
            return;
        };
        let now = now();
        self.until = match plan.stop {
            Stop::After(length) => now.saturating_add(ticks(length)).saturating_sub(seconds(elapsed)),
            Stop::Lines(_) => Tick::MAX,
        };
        self.started = Some((now, self.target.cpu()));
        // An attack that cannot start is noticed by its missing report.
        let _ = attack.start(self.until);
    }

    /// Ends the attack, and adds its figures.
    fn finish(self, figures: &mut PhaseFigures) {
        let Some((started, cpu)) = self.started else { return };
        let (ended, cpu_then) = self.ended.unwrap_or_else(|| (now(), self.target.cpu()));
        figures.server_cores = cpu_then.saturating_sub(cpu) as f64 / ended.saturating_sub(started).max(1) as f64;
        let wall = self.until.min(ended).saturating_sub(started).max(1) as f64;
        match self.attack.map(Attack::stop) {
            Some(Ok(report)) => {
                figures.attack_cores = report.cpu as f64 / wall;
                figures.attack = Some(report);
            }
            Some(Err(error)) if figures.problem.is_empty() => figures.problem = format!("{error:#}"),
            _ => {}
        }
    }
}

/// Returns the figures of a plan's run.
pub(super) fn figures(plan: &Plan, record: &RunRecord) -> PhaseFigures {
    let result = TestResult::new("zoo", plan, record);
    let (outcome, verdict) = (&result.outcome, &result.verdict);
    let (problem, saturated) = match verdict.kind {
        VerdictKind::Good => (String::new(), String::new()),
        VerdictKind::Saturated => (String::new(), verdict.text.clone()),
        VerdictKind::Wrong | VerdictKind::Incomplete => (verdict.text.clone(), String::new()),
    };
    PhaseFigures {
        latency_us: outcome.latency_us,
        send_lag_p99_us: outcome.send_lag_us.p99,
        delivered: outcome.counters.delivered,
        lost: outcome.counters.lost,
        closed: outcome.counters.closed,
        problem,
        saturated,
        server_cores: outcome.server.as_ref().map_or(0.0, |server| server.cpu_share),
        generator_cores: outcome.generator.cpu_seconds / outcome.window_seconds.max(f64::MIN_POSITIVE),
        attack: None,
        attack_cores: 0.0,
    }
}

fn seconds(seconds: f64) -> Tick {
    std::time::Duration::try_from_secs_f64(seconds).map_or(0, ticks).min(u64::MAX / SECOND * SECOND)
}
