//! The program: runs the scenario that the arguments name and returns the exit code.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::args::CommonArgs;
use crate::plan::{Plan, UsageError};
use crate::probe::resolve_target;
use crate::scenario::{Cli, LimitArgs, Scenario, StepArgs, ZooArgs};
use crate::server::{NO_RATE_BOUNDS, find_program};
use crate::test_bed::{TestBed, with_limit};
use crate::test_result::TestResult;
use crate::{attack, compare, html_report, limit, markdown, open_files, ramp, table, worker_pool, zoo};

/// Runs the scenario that the arguments name and returns the exit code.
///
/// # Errors
/// Returns one line for the user. The exit code is 2 for a [`UsageError`] and 3 for any other error.
pub fn run(cli: &Cli) -> Result<u8> {
    let common = &cli.common;
    check_writable(common.json.iter().chain(&common.report))?;
    match &cli.scenario {
        Scenario::Worker => {
            open_files::raise_limit()?;
            worker_pool::run_child_process()?;
            Ok(0)
        }
        Scenario::Attack => {
            attack::run_child_process()?;
            Ok(0)
        }
        Scenario::Zoo(args) => run_zoo(args, common),
        Scenario::Compare(files) => {
            let (text, good) = compare::compare_files(&files.first, &files.second)?;
            print(&text);
            Ok(if good { 0 } else { 3 })
        }
        Scenario::Markdown(args) => {
            print(&markdown::render_files(&args.results)?);
            Ok(0)
        }
        Scenario::Limit(args) => run_limit(args, common),
        Scenario::Steady(args) => {
            let result = run_plan(common, "steady", &NO_RATE_BOUNDS, |target| args.plan(common, target))?;
            write_results(common, &with_limit(result)?)
        }
        Scenario::Flood(args) => {
            let result = run_plan(common, "flood", &NO_RATE_BOUNDS, |target| args.plan(common, target))?;
            write_results(common, &with_limit(result)?)
        }
        Scenario::Step(args) => run_step(args, common),
        Scenario::Storm(args) => {
            write_results(common, &run_plan(common, "storm", &NO_RATE_BOUNDS, |target| args.plan(common, target))?)
        }
        Scenario::Idle(args) => {
            write_results(common, &run_plan(common, "idle", &NO_RATE_BOUNDS, |target| args.plan(common, target))?)
        }
    }
}

/// Runs one plan on a test bed of its own, whose server is started with `arguments` if it is started here.
fn run_plan(
    common: &CommonArgs,
    scenario: &str,
    arguments: &[&str],
    plan: impl FnOnce(SocketAddr) -> Plan,
) -> Result<TestResult> {
    let mut test_bed = start_test_bed(common, arguments)?;
    let plan = plan(test_bed.target());
    test_bed.run(scenario, &plan)
}

fn run_step(args: &StepArgs, common: &CommonArgs) -> Result<u8> {
    let mut test_bed = start_test_bed(common, &NO_RATE_BOUNDS)?;
    let first = args.plan(common, test_bed.target());
    let result = ramp::run(args, first, &mut |plan| test_bed.run("step", plan))?;
    write_results(common, &result)
}

/// Runs the zoo, prints its table, writes it to the files that the options name, and returns the exit code.
fn run_zoo(args: &ZooArgs, common: &CommonArgs) -> Result<u8> {
    if args.list {
        print(&zoo::render_kinds());
        return Ok(0);
    }
    let name = if args.soak.is_some() { "zoo-soak" } else { "zoo" };
    let file = |directory: &Path, kind: &str| directory.join(format!("{name}.{kind}"));
    check_writable(args.plot.iter().chain(&args.results.as_ref().map(|directory| file(directory, "json"))))?;
    let result = zoo::run(args, common)?;
    let table = zoo::render_table(&result);
    print(&table);
    write_json(common, &result)?;
    let svg = result.soak.as_ref().map_or_else(|| zoo::latency_plot(&result), zoo::soak_plot);
    if let Some(path) = &args.plot {
        write_file(path, &svg)?;
    }
    if let Some(path) = &common.report {
        write_file(path, &html_report::render_text("zoo", &table, &svg))?;
    }
    if let Some(directory) = &args.results {
        write_file(&file(directory, "svg"), &svg)?;
        write_file(&file(directory, "json"), &serde_json::to_string_pretty(&result)?)?;
        write_file(&file(directory, "md"), &zoo::render_markdown(&result, &format!("{name}.svg")))?;
    }
    Ok(result.verdict.exit_code())
}

fn run_limit(args: &LimitArgs, common: &CommonArgs) -> Result<u8> {
    // This process holds both ends of every socket.
    open_files::check(args.sockets * 2, 1, open_files::raise_limit()?)?;
    let found = limit::measure(args.sockets, args.lines, args.size, args.duration)?;
    print(&table::render_limit(&found));
    write_json(common, &found)?;
    Ok(0)
}

/// Returns a test bed for the server that the options name, or for one that is spawned with `arguments` and the
/// arguments of the options.
fn start_test_bed(common: &CommonArgs, arguments: &[&str]) -> Result<TestBed> {
    // The parser cannot check this: --spawn may precede the scenario and --server follow it.
    if !common.spawn && (common.server.is_some() || !common.server_arg.is_empty()) {
        bail!(UsageError::new("--server and --server-arg describe a spawned server: add --spawn".into()));
    }
    if !common.spawn {
        return TestBed::attach(resolve_target(&common.target)?, common.pid);
    }
    let mut all: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    all.extend(common.server_arg.iter().cloned());
    TestBed::spawn(&find_program(common.server.as_deref())?, all)
}

/// Prints a result as a table, writes it to the files that the options name, and returns the exit code.
fn write_results(common: &CommonArgs, result: &TestResult) -> Result<u8> {
    print(&table::render(result));
    write_json(common, result)?;
    if let Some(path) = &common.report {
        write_file(path, &html_report::render(result))?;
    }
    Ok(result.verdict.exit_code())
}

/// Checks that files can be written. A file that cannot is reported before the run, so that no run is wasted.
fn check_writable<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> Result<()> {
    for path in paths {
        let open = std::fs::OpenOptions::new().append(true).create(true).open(path);
        open.with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Prints a text. A closed standard output, as after `| head`, is no error.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Writes a value to the file of `--json`, where that option is given.
fn write_json(common: &CommonArgs, value: &impl Serialize) -> Result<()> {
    match &common.json {
        Some(path) => write_file(path, &serde_json::to_string_pretty(value)?),
        None => Ok(()),
    }
}

fn write_file(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
