//! The program: runs the scenario that the arguments name and returns the exit code.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::args::CommonArgs;
use crate::clock::wall_time;
use crate::output::condition::{self, ResolvedCondition};
use crate::output::console::{self, Console};
use crate::output::{csv, document, files, histogram_log};
use crate::plan::UsageError;
use crate::probe::resolve_target;
use crate::scenario::{Cli, LimitArgs, Repetition, Scenario, StepArgs, ZooArgs};
use crate::server::{NO_RATE_BOUNDS, find_program};
use crate::test_bed::{TestBed, with_limit};
use crate::test_result::TestResult;
use crate::worker_pool::WorkerHost;
use crate::{attack, compare, html_report, limit, markdown, open_files, ramp, repeat, table, worker_pool, zoo};

/// Runs the scenario that the arguments name and returns the exit code.
///
/// # Errors
/// Returns one line for the user. The exit code is 2 for a [`UsageError`] and 3 for any other error.
pub fn run(cli: &Cli) -> Result<u8> {
    if let Some(repetition) = cli.scenario.repetition() {
        let (text, code) = repeat::run(&repetition, &cli.common, &mut start_test_bed)?;
        if !cli.common.quiet {
            console::print(text.as_bytes())?;
        }
        return Ok(code);
    }
    let program = Program::new(&cli.common)?;
    match &cli.scenario {
        Scenario::Worker(args) => {
            let host = WorkerHost::bind(&args.listen, cli.common.token(), open_files::raise_limit()?)?;
            console::print(format!("listening on {}\n", host.address()?).as_bytes())?;
            host.serve()?;
            Ok(0)
        }
        Scenario::ChildWorker => {
            open_files::raise_limit()?;
            worker_pool::run_child_process()?;
            Ok(0)
        }
        Scenario::Attack => {
            attack::run_child_process()?;
            Ok(0)
        }
        Scenario::Zoo(args) => program.run_zoo(args),
        Scenario::Compare(args) => {
            let (text, code) = compare::compare_files(args)?;
            console::print(text.as_bytes())?;
            Ok(code)
        }
        Scenario::Markdown(args) => {
            console::print(markdown::render_files(&args.results)?.as_bytes())?;
            Ok(0)
        }
        Scenario::Limit(args) => program.run_limit(args),
        Scenario::Step(args) => program.run_step(args),
        Scenario::Steady(args) => program.run_once(&args.repetition()),
        Scenario::Flood(args) => program.run_once(&args.repetition()),
        Scenario::Storm(args) => program.run_once(&args.repetition()),
        Scenario::Churn(args) => program.run_once(&args.repetition()),
        Scenario::Reconnect(args) => program.run_once(&args.repetition()),
        Scenario::Slow(args) => program.run_once(&args.repetition()),
        Scenario::Idle(args) => program.run_once(&args.repetition()),
    }
}

/// The program with its common options.
struct Program<'a> {
    common: &'a CommonArgs,
    console: Console,
    /// The conditions of `--fail-if`.
    conditions: Vec<ResolvedCondition>,
    /// The time at which the program started.
    started_at: SystemTime,
}

impl<'a> Program<'a> {
    /// Checks the common options, so that no run is wasted on a file that cannot be written.
    fn new(common: &'a CommonArgs) -> Result<Self> {
        let conditions = condition::resolve(&common.fail_if, &common.percentiles.0)?;
        files::check(&common.files())?;
        let tables_on_stderr = common.files().iter().any(|(_, path)| files::is_standard_output(path));
        let console = Console { quiet: common.quiet, tables_on_stderr };
        Ok(Self { common, console, conditions, started_at: SystemTime::now() })
    }

    /// Runs the plan of a scenario once, on a test bed of its own.
    fn run_once(&self, Repetition { scenario, plan, .. }: &Repetition<'_>) -> Result<u8> {
        let mut test_bed = start_test_bed(self.common)?;
        let plan = plan(self.common, test_bed.target());
        let result = test_bed.run(scenario, &plan)?;
        drop(test_bed);
        self.write_results(with_limit(result)?)
    }

    fn run_step(&self, args: &StepArgs) -> Result<u8> {
        let mut test_bed = start_test_bed(self.common)?;
        let first = args.plan(self.common, test_bed.target());
        let on_step = &mut |step: &str| self.console.print_progress(step);
        let result = ramp::run(args, first, &mut |plan| test_bed.run("step", plan), on_step)?;
        self.write_results(result)
    }

    /// Runs the zoo, prints its table, writes it to the files that the options name, and returns the exit code.
    fn run_zoo(&self, args: &ZooArgs) -> Result<u8> {
        if args.list {
            console::print(zoo::render_kinds().as_bytes())?;
            return Ok(0);
        }
        let name = if args.soak.is_some() { "zoo-soak" } else { "zoo" };
        let in_results = |kind: &str| args.results.as_ref().map(|directory| directory.join(format!("{name}.{kind}")));
        let results: Vec<PathBuf> = ["svg", "json", "md"].into_iter().filter_map(in_results).collect();
        let all = self.common.files().into_iter().chain(args.plot.as_deref().map(|path| ("--plot", path)));
        files::check(&all.chain(results.iter().map(|path| ("--results", path.as_path()))).collect::<Vec<_>>())?;
        let result = zoo::run(args, self.common)?;
        let table = zoo::render_table(&result);
        let printed = self.console.print_result(&table, &result.verdict);
        let json = self.render_json(&result)?;
        let svg = result.soak.as_ref().map_or_else(|| zoo::latency_plot(&result), zoo::soak_plot);
        write_if_named(self.common.json.as_deref(), || Ok(json.clone()))?;
        write_if_named(args.plot.as_deref(), || Ok(svg.clone()))?;
        write_if_named(self.common.report.as_deref(), || Ok(html_report::render_text("zoo", &table, &svg)))?;
        let markdown = zoo::render_markdown(&result, &format!("{name}.svg"));
        for (path, content) in results.iter().zip([svg, json, markdown]) {
            files::write(path, content.as_bytes())?;
        }
        printed?;
        Ok(result.verdict.exit_code())
    }

    fn run_limit(&self, args: &LimitArgs) -> Result<u8> {
        // This process holds both ends of every socket.
        open_files::check(args.sockets * 2, 1, open_files::raise_limit()?)?;
        let found = limit::measure(args.sockets, args.lines, args.size, args.duration)?;
        let printed = self.console.print_table(&table::render_limit(&found));
        write_if_named(self.common.json.as_deref(), || self.render_json(&found))?;
        printed?;
        Ok(0)
    }

    /// Prints a result as a table, writes it to the files that the options name, evaluates the conditions, and returns the
    /// exit code. A full standard output does not keep the files from being written.
    fn write_results(&self, mut result: TestResult) -> Result<u8> {
        result.outcome.select_quantiles(&self.common.percentiles.0);
        let (metrics, common) = (&result.outcome.metrics, self.common);
        let printed = self.console.print_result(&table::render(&result), &result.verdict);
        let json = document::to_json(&result, self.started_at)?;
        write_if_named(common.json.as_deref(), || Ok(document::render(&json)))?;
        write_if_named(common.report.as_deref(), || Ok(html_report::render(&result)))?;
        write_if_named(common.csv.as_deref(), || Ok(csv::render(metrics)))?;
        write_if_named(common.histograms.as_deref(), || histogram_log::render(metrics, wall_time(metrics.start)))?;
        printed?;
        let broken: Vec<String> =
            self.conditions.iter().filter_map(|condition| condition.describe_if_broken(&json)).collect();
        for line in &broken {
            console::print_note(&format!("loadtest: {line}"));
        }
        Ok(match result.verdict.exit_code() {
            0 if !broken.is_empty() => condition::EXIT_CODE,
            code => code,
        })
    }

    fn render_json(&self, result: &impl Serialize) -> Result<String> {
        Ok(document::render(&document::to_json(result, self.started_at)?))
    }
}

/// Writes a file where an option names one.
fn write_if_named<T: AsRef<[u8]>>(path: Option<&Path>, render: impl FnOnce() -> Result<T>) -> Result<()> {
    path.map_or(Ok(()), |path| files::write(path, render()?.as_ref()))
}

/// Returns a test bed for the server that the options name, or for one that is spawned without bounds on rates.
fn start_test_bed(common: &CommonArgs) -> Result<TestBed> {
    // The parser cannot check this: --spawn may precede the scenario and --server follow it.
    if !common.spawn && (common.server.is_some() || !common.server_arg.is_empty()) {
        bail!(UsageError::new("--server and --server-arg describe a spawned server: add --spawn".into()));
    }
    let test_bed = if !common.servers.is_empty() {
        let resolve = |server: &String| resolve_target("--servers", server);
        TestBed::attach_to_all(common.servers.iter().map(resolve).collect::<Result<_>>()?)?
    } else if common.spawn {
        let bounds = NO_RATE_BOUNDS.into_iter().map(ToOwned::to_owned);
        let arguments = bounds.chain(common.server_arg.iter().cloned()).collect();
        TestBed::spawn(&find_program(common.server.as_deref())?, arguments)?
    } else {
        TestBed::attach(resolve_target("--target", &common.target)?, common.pid)?
    };
    Ok(if common.quiet { test_bed.without_progress() } else { test_bed })
}
