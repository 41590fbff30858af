//! The order of phases: a calm one, then two for each kind, with the aftermath between them.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::json;

use super::aftermath::{Rest, check_aftermath, measure_rest};
use super::judge::{Limits, MAX_RATIO, judge, verdict};
use super::monitor::Monitor;
use super::phase::{Aim, run_phase};
use super::result::{KindResult, Observation, ZooResult};
use super::server_pair::ServerPair;
use super::soak::run_soak;
use crate::args::CommonArgs;
use crate::attack::{self, kind::Kind};
use crate::interrupt;
use crate::machine::Machine;
use crate::open_files;
use crate::output::console;
use crate::plan::UsageError;
use crate::probe::probe;
use crate::scenario::ZooArgs;
use crate::verdict::{Verdict, VerdictKind};

/// The name of the run in which all chosen kinds attack together.
pub const TOGETHER: &str = "together";

/// One attack of the zoo: a kind, or several together.
struct Attack {
    name: &'static str,
    about: String,
    kinds: Vec<String>,
    sockets: usize,
    /// Whether the server has received lines at the end that it still has to deliver.
    leaves_lines: bool,
}

/// The state of a zoo.
struct Zoo<'a> {
    args: &'a ZooArgs,
    common: &'a CommonArgs,
    servers: ServerPair,
    rest: Rest,
    limits: Limits,
    /// Whether the last attack ended the server, or left something over. The next one gets new servers.
    burdened: bool,
}

/// Runs the zoo that the options describe. A signal ends it within the current phase; the result holds the kinds that
/// were measured until then.
///
/// # Errors
/// Fails when an option is invalid, a kind is unknown, or a server does not start.
pub fn run(args: &ZooArgs, common: &CommonArgs) -> Result<ZooResult> {
    let kinds = chosen_kinds(&args.kinds)?;
    check_options(args, common, &kinds)?;
    let mut servers = ServerPair::spawn(common)?;
    let plan = args.plan(common, servers.here.server.address(), args.each);
    probe(&plan)?;
    let rest = measure_rest(&servers.here);
    let machine = Machine::here();
    let mut result = ZooResult {
        version: env!("CARGO_PKG_VERSION").into(),
        parameters: parameters(args),
        server_arguments: common.server_arg.clone(),
        ceiling: servers.ceiling(common, &machine),
        machine,
        calm: run_phase(&servers, &plan, None)?,
        ..ZooResult::default()
    };
    let limits = Limits {
        ratio: MAX_RATIO,
        floor_us: u64::try_from(args.floor.as_micros()).unwrap_or(u64::MAX),
        calm_us: result.calm.latency_us.p99,
        ceiling: result.ceiling.bytes,
    };
    if let Some(length) = args.soak {
        let names: Vec<String> = kinds.iter().map(|kind| kind.name.to_owned()).collect();
        let plan = args.plan(common, plan.target, length);
        let (soak, verdict) = run_soak(&servers, &plan, &names, args.seed, &limits)?;
        (result.soak, result.verdict) = (Some(soak), verdict);
        return Ok(result);
    }
    let mut zoo = Zoo { args, common, servers, rest, limits, burdened: false };
    for attack in attacks(&kinds) {
        if interrupt::caught_signal().is_some() || !zoo.run_attack(&attack, &mut result)? {
            break;
        }
    }
    result.verdict = final_verdict(&result);
    Ok(result)
}

fn final_verdict(result: &ZooResult) -> Verdict {
    let verdict = verdict(&result.kinds, &result.calm);
    match interrupt::caught_signal() {
        Some(signal) => {
            let (name, count) = (signal.name(), result.kinds.len());
            let text = format!("INCOMPLETE: stopped by {name} after {count} attacks; by then {}", verdict.text);
            Verdict { kind: VerdictKind::Incomplete, text }
        }
        None => verdict,
    }
}

impl Zoo<'_> {
    /// Measures one attack: once, or several times where its only effect is on latency. Returns `false` when a signal
    /// has arrived.
    fn run_attack(&mut self, attack: &Attack, result: &mut ZooResult) -> Result<bool> {
        let mut rounds = Vec::new();
        let measured = loop {
            self.show_progress(&format!("{}: {} ({} sockets)", attack.name, attack.about, attack.sockets));
            let seen = self.run_round(attack, rounds.len() as u64)?;
            if interrupt::caught_signal().is_some() {
                return Ok(false);
            }
            rounds.push(seen);
            let judged = self.judge(attack, rounds.clone());
            let only_slow = judged.faults.len() == 1 && judged.ratio > self.limits.ratio;
            // The median of two rounds is the lower one, so a third one decides.
            let unclear = rounds.len() == 2 || only_slow;
            if !unclear || rounds.len() >= self.args.rounds as usize {
                break judged;
            }
        };
        for fault in &measured.faults {
            self.show_progress(&format!("  {fault}"));
        }
        result.kinds.push(measured);
        Ok(true)
    }

    /// Prints a line about the progress, except with `--quiet`.
    fn show_progress(&self, line: &str) {
        if !self.common.quiet {
            console::print_note(line);
        }
    }

    fn judge(&self, attack: &Attack, rounds: Vec<Observation>) -> KindResult {
        judge(attack.name, &attack.about, attack.sockets, rounds, &self.limits)
    }

    /// Starts new servers where the last attack burdened the old ones, so that each attack is judged alone.
    fn replace_burdened_servers(&mut self) -> Result<()> {
        if std::mem::take(&mut self.burdened) {
            self.servers = ServerPair::spawn(self.common)?;
            self.rest = measure_rest(&self.servers.here);
        }
        Ok(())
    }

    /// Attacks the good clients' server, waits for the aftermath, and attacks the control server.
    fn run_round(&mut self, attack: &Attack, round: u64) -> Result<Observation> {
        self.replace_burdened_servers()?;
        let servers = &mut self.servers;
        let plan = self.args.plan(self.common, servers.here.server.address(), self.args.each);
        let seed = self.args.seed.wrapping_add(round);
        let mut observed = Observation::default();
        let monitor = Monitor::watch_peak(servers.here.server.pid());
        let here = run_phase(servers, &plan, Some((Aim::Here, &attack.kinds, seed)));
        observed.memory = monitor.stop_peak();
        observed.here = here?;
        if let Some(how) = servers.here.server.exit_status() {
            observed.server_ended = how;
            self.burdened = true;
            return Ok(observed);
        }
        if interrupt::caught_signal().is_some() {
            return Ok(observed);
        }
        check_aftermath(&servers.here, self.rest, (self.args.settle, attack.leaves_lines), &mut observed);
        self.burdened =
            observed.idle_after.is_none() || observed.descriptors_left > 0 || !observed.left_over.is_empty();
        if interrupt::caught_signal().is_none() {
            observed.control = run_phase(servers, &plan, Some((Aim::Control, &attack.kinds, seed)))?;
        }
        Ok(observed)
    }
}

/// Returns the kinds with the given names, or all of them.
fn chosen_kinds(names: &[String]) -> Result<Vec<&'static Kind>> {
    if names.is_empty() {
        return Ok(attack::kinds().collect());
    }
    let known = |name: &String| {
        let found = attack::kinds().find(|kind| kind.name == *name);
        found.ok_or_else(|| {
            UsageError::new(format!("--kinds {name} is no kind of bad client: --list shows them all")).into()
        })
    };
    names.iter().map(known).collect()
}

/// Returns one attack for each kind, and one of all together where there are several.
fn attacks(kinds: &[&'static Kind]) -> Vec<Attack> {
    let one = |kind: &&'static Kind| Attack {
        name: kind.name,
        about: kind.about.into(),
        kinds: vec![kind.name.into()],
        sockets: kind.sockets(),
        leaves_lines: kind.leaves_lines,
    };
    let mut all: Vec<Attack> = kinds.iter().map(one).collect();
    if all.len() > 1 {
        all.push(Attack {
            name: TOGETHER,
            about: format!("all {} kinds together", all.len()),
            kinds: kinds.iter().map(|kind| kind.name.into()).collect(),
            sockets: kinds.iter().map(|kind| kind.sockets()).sum(),
            leaves_lines: kinds.iter().any(|kind| kind.leaves_lines),
        });
    }
    all
}

/// Checks the options that the parser cannot check.
fn check_options(args: &ZooArgs, common: &CommonArgs, kinds: &[&'static Kind]) -> Result<()> {
    const SHORTEST: Duration = Duration::from_millis(100);
    if common.pid.is_some() || common.protocol != crate::protocol::ProtocolKind::Line {
        bail!(UsageError::new("zoo starts its own two servers: leave --pid and --protocol out".into()));
    }
    if args.each < SHORTEST {
        let each = humantime::format_duration(args.each);
        bail!(UsageError::new(format!("--each {each} is too short to measure: give it 100ms or more, for example 3s")));
    }
    if args.soak.is_some_and(|length| length < Duration::from_secs(3)) {
        bail!(UsageError::new("--soak needs 3s or more, of which the first and the last third are compared".into()));
    }
    args.plan(common, (std::net::Ipv4Addr::LOCALHOST, 0).into(), args.each).check()?;
    // One process holds all bad clients, and the server holds those and the good ones.
    let sockets: usize = kinds.iter().map(|kind| kind.sockets()).sum();
    open_files::check(args.rooms.connections + sockets, 1, open_files::raise_limit()?)
}

fn parameters(args: &ZooArgs) -> serde_json::Map<String, serde_json::Value> {
    let value = json!({
        "connections": args.rooms.connections, "rooms": args.rooms.rooms, "size_bytes": args.size,
        "lines_per_second_per_room": args.rate.millilines_per_second as f64 / 1e3,
        "each_seconds": args.each.as_secs_f64(), "soak_seconds": args.soak.map(|length| length.as_secs_f64()), "seed": args.seed, "rounds": args.rounds,
        "floor_seconds": args.floor.as_secs_f64(), "kinds": args.kinds,
    });
    value.as_object().cloned().unwrap_or_default()
}
