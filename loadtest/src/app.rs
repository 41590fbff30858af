//! The program: from arguments to exit code.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::args::CommonArgs;
use crate::plan::UsageError;
use crate::probe::resolve_target;
use crate::scenario::{Cli, FloodArgs, LimitArgs, Scenario, SteadyArgs, StepArgs};
use crate::server::find_program;
use crate::test_bed::{TestBed, with_limit};
use crate::test_result::TestResult;
use crate::{compare, html_report, limit, markdown, open_files, ramp, table, worker_pool};

/// Arguments that a spawned server gets where its bound on a sender's rate would be what is measured.
const NO_RATE_LIMIT: [&str; 2] = ["--rate", "0"];

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
            open_files::raise_limit()?;
            worker_pool::run_child_process()?;
            Ok(0)
        }
        Scenario::Compare(files) => compare::compare_files(&files.first, &files.second).map(|(text, good)| {
            print(&text);
            if good { 0 } else { 3 }
        }),
        Scenario::Markdown(args) => markdown::render_files(&args.results).map(|text| {
            print(&text);
            0
        }),
        Scenario::Limit(args) => run_limit(args, common),
        Scenario::Steady(args) => {
            let mut test_bed = start_test_bed(common, steady_server_arguments(args))?;
            write_results(common, &with_limit(test_bed.run("steady", &args.plan(common, test_bed.target()))?)?)
        }
        Scenario::Flood(args) => run_flood(args, common),
        Scenario::Step(args) => run_step(args, common),
        Scenario::Storm(args) => {
            let mut test_bed = start_test_bed(common, &[])?;
            let plan = args.plan(common, test_bed.target());
            write_results(common, &test_bed.run("storm", &plan)?)
        }
        Scenario::Idle(args) => {
            let mut test_bed = start_test_bed(common, &[])?;
            let plan = args.plan(common, test_bed.target());
            write_results(common, &test_bed.run("idle", &plan)?)
        }
    }
}

/// A sender above the server's default bound would be held back by design: then the bound is taken away.
fn steady_server_arguments(args: &SteadyArgs) -> &'static [&'static str] {
    let bound = 1_000_000 * args.sending.senders.max(1) as u64;
    if args.rate_per_room().millilines_per_second > bound { &NO_RATE_LIMIT } else { &[] }
}

fn run_flood(args: &FloodArgs, common: &CommonArgs) -> Result<u8> {
    let mut test_bed = start_test_bed(common, &NO_RATE_LIMIT)?;
    let plan = args.plan(common, test_bed.target());
    write_results(common, &with_limit(test_bed.run("flood", &plan)?)?)
}

fn run_step(args: &StepArgs, common: &CommonArgs) -> Result<u8> {
    let mut test_bed = start_test_bed(common, &NO_RATE_LIMIT)?;
    let first = args.plan(common, test_bed.target());
    let result = ramp::run(args, first, &mut |plan| test_bed.run("step", plan))?;
    write_results(common, &result)
}

fn run_limit(args: &LimitArgs, common: &CommonArgs) -> Result<u8> {
    // Both ends of every socket are here.
    open_files::check(args.sockets * 2, 1, open_files::raise_limit()?)?;
    let found = limit::measure(args.sockets, args.lines, args.size, args.duration)?;
    print(&table::render_limit(&found));
    if let Some(path) = &common.json {
        write_file(path, &serde_json::to_string_pretty(&found)?)?;
    }
    Ok(0)
}

/// The server that the options name, or one of our own with these arguments and the options' ones.
fn start_test_bed(common: &CommonArgs, arguments: &[&str]) -> Result<TestBed> {
    // The parser cannot tell: one may stand before the scenario, the other after it.
    if !common.spawn && (common.server.is_some() || !common.server_arg.is_empty()) {
        bail!(UsageError::new("--server and --server-arg are about a server of our own: add --spawn".into()));
    }
    if !common.spawn {
        return TestBed::attach(resolve_target(&common.target)?, common.pid);
    }
    let mut all: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    all.extend(common.server_arg.iter().cloned());
    TestBed::spawn(&find_program(common.server.as_deref())?, all)
}

/// Shows an outcome wherever it is wanted.
fn write_results(common: &CommonArgs, result: &TestResult) -> Result<u8> {
    print(&table::render(result));
    if let Some(path) = &common.json {
        write_file(path, &serde_json::to_string_pretty(result)?)?;
    }
    if let Some(path) = &common.report {
        write_file(path, &html_report::render(result)?)?;
    }
    Ok(result.verdict.exit_code())
}

/// Prints; whoever reads may have had enough.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn write_file(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
