//! The program: from arguments to exit code.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::args::Common;
use crate::conductor::{self, Run};
use crate::interrupt;
use crate::outcome::Outcome;
use crate::plan::{Impossible, Plan};
use crate::probe::{probe, resolve};
use crate::process::Process;
use crate::progress::Progress;
use crate::scenario::{Cli, Flood, LimitArgs, Scenario, Steady, Steps};
use crate::server::{Server, find};
use crate::verdict::Kind;
use crate::{compare, crew, files, limit, markdown, report, stairs, table};

/// How long bare writes are measured beside a run.
const LIMIT: Duration = Duration::from_secs(1);
/// Arguments that a spawned server gets where its bound on a sender's rate would be what is measured.
const UNBOUND: [&str; 2] = ["--rate", "0"];

/// Does what the arguments say; returns the exit code.
///
/// # Errors
/// With one line for the user; the exit code is 3 then.
pub fn run(cli: &Cli) -> Result<u8> {
    let common = &cli.common;
    // A file that can't be written is told before the run, not after it.
    for path in common.json.iter().chain(&common.report) {
        let open = std::fs::OpenOptions::new().append(true).create(true).open(path);
        open.with_context(|| format!("cannot write {}", path.display()))?;
    }
    match &cli.scenario {
        Scenario::Worker => {
            files::raise()?;
            crew::serve()?;
            Ok(0)
        }
        Scenario::Compare(files) => compare::files(&files.first, &files.second).map(|(text, good)| {
            show(&text);
            if good { 0 } else { 3 }
        }),
        Scenario::Markdown(args) => markdown::files(&args.results).map(|text| {
            show(&text);
            0
        }),
        Scenario::Limit(args) => bare(args, common),
        Scenario::Steady(args) => {
            let mut stand = Stand::new(common, steady_arguments(args))?;
            finish(common, &limited(stand.run("steady", &args.plan(common, stand.target))?)?)
        }
        Scenario::Flood(args) => flood(args, common),
        Scenario::Step(args) => step(args, common),
        Scenario::Storm(args) => {
            let mut stand = Stand::new(common, &[])?;
            let plan = args.plan(common, stand.target);
            finish(common, &stand.run("storm", &plan)?)
        }
        Scenario::Idle(args) => {
            let mut stand = Stand::new(common, &[])?;
            let plan = args.plan(common, stand.target);
            finish(common, &stand.run("idle", &plan)?)
        }
    }
}

/// A sender above the server's default bound would be held back by design: then the bound is taken away.
fn steady_arguments(args: &Steady) -> &'static [&'static str] {
    let rate = args.total_rate.map_or(args.rate, |total| total.shared(args.rooms));
    let bound = 1_000_000 * args.senders.max(1) as u64;
    if rate.millilines_per_second > bound { &UNBOUND } else { &[] }
}

fn flood(args: &Flood, common: &Common) -> Result<u8> {
    let mut stand = Stand::new(common, &UNBOUND)?;
    let plan = args.plan(common, stand.target);
    finish(common, &limited(stand.run("flood", &plan)?)?)
}

fn step(args: &Steps, common: &Common) -> Result<u8> {
    let mut stand = Stand::new(common, &UNBOUND)?;
    let first = args.plan(common, stand.target);
    let outcome = stairs::climb(args, first, &mut |plan| stand.run("step", plan))?;
    finish(common, &outcome)
}

fn bare(args: &LimitArgs, common: &Common) -> Result<u8> {
    // Both ends of every socket are here.
    files::check(args.sockets * 2, 1, files::raise()?)?;
    let found = limit::measure(args.sockets, args.lines, args.size, args.duration)?;
    show(&table::limit(&found));
    if let Some(path) = &common.json {
        save(path, &serde_json::to_string_pretty(&found)?)?;
    }
    Ok(0)
}

/// The server and the means to measure it.
struct Stand {
    target: std::net::SocketAddr,
    process: Option<Process>,
    /// Connections that one process may open.
    possible: usize,
    /// What a server started here was told besides its port.
    arguments: Vec<String>,
    /// The server, if it was started here: it lives as long as this.
    server: Option<Server>,
}

impl Stand {
    fn new(common: &Common, arguments: &[&str]) -> Result<Self> {
        let possible = files::raise()?;
        // The parser cannot tell: one may stand before the scenario, the other after it.
        if !common.spawn && (common.server.is_some() || !common.server_arg.is_empty()) {
            bail!(Impossible::new("--server and --server-arg are about a server of our own: add --spawn".into()));
        }
        let mut all: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        all.extend(common.server_arg.iter().cloned());
        let server = if common.spawn { Some(Server::spawn(&find(common.server.as_deref())?, &all)?) } else { None };
        let target = match &server {
            Some(server) => server.address(),
            None => resolve(&common.target)?,
        };
        let pid = server.as_ref().map(Server::pid).or(common.pid);
        let process = pid.map(|pid| Process::new(pid).with_context(|| format!("--pid {pid} cannot be looked at")));
        Ok(Self { target, process: process.transpose()?, possible, arguments: all, server })
    }

    fn run(&mut self, scenario: &str, plan: &Plan) -> Result<Outcome> {
        plan.check()?;
        files::check_plan(plan, self.possible)?;
        probe(plan)?;
        let mut progress = Progress::new();
        let mut run: Run = conductor::run(plan, self.process.as_ref(), &mut |moment| progress.show(moment))?;
        progress.end();
        if let Some(how) = self.server.as_mut().and_then(Server::ended) {
            let before = run.failure.take().map_or(String::new(), |failure| format!(": {failure}"));
            run.failure = Some(format!("the spawned server {how}{before}"));
        }
        let mut outcome = Outcome::new(scenario, plan, &run);
        if self.server.is_some() {
            outcome.parameters.insert("server_arguments".into(), self.arguments.clone().into());
        }
        Ok(outcome)
    }
}

/// Measures bare writes of as many lines as the server put in one write, and the distance to them.
fn limited(mut outcome: Outcome) -> Result<Outcome> {
    // After a failure there is no whole run to be compared with anything.
    let whole = outcome.verdict.kind != Kind::Unmeasured && interrupt::caught().is_none();
    let Some(figures) = outcome.server.as_ref().filter(|_| whole) else {
        return Ok(outcome);
    };
    let Some(lines) = figures.lines_per_write else { return Ok(outcome) };
    let delivered = outcome.tally.window_delivered.max(1);
    let line_bytes = usize::try_from(outcome.tally.window_bytes / delivered)?;
    let possible = files::raise()? / 2;
    let sockets = usize::try_from(outcome.connections())?.min(possible);
    let lines = (1..4096_usize).find(|&count| count as f64 + 0.5 > lines).unwrap_or(4096);
    let mut found = match limit::measure(sockets, lines, line_bytes.max(1), LIMIT) {
        Ok(found) => found,
        Err(error) => {
            eprintln!("loadtest: no limit beside this run: {error:#}");
            return Ok(outcome);
        }
    };
    found.distance = Some(figures.cpu_ns_per_delivery / found.cpu_ns_per_delivery);
    outcome.limit = Some(found);
    Ok(outcome)
}

/// Shows an outcome wherever it is wanted.
fn finish(common: &Common, outcome: &Outcome) -> Result<u8> {
    show(&table::table(outcome));
    if let Some(path) = &common.json {
        save(path, &serde_json::to_string_pretty(outcome)?)?;
    }
    if let Some(path) = &common.report {
        save(path, &report::page(outcome)?)?;
    }
    Ok(outcome.verdict.exit_code())
}

/// Prints; whoever reads may have had enough.
fn show(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn save(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
