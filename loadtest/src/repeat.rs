//! The repetition of a scenario: several runs on one server, or on two servers in turns.
//!
//! Two servers take turns in the order A B B A A B B A …, so that a slow drift of the machine affects both alike, and so
//! that neither one always runs first. A server that is started for the runs is started anew for each of them, because the
//! addresses and the memory layout of one process may make all its runs faster or slower than those of another one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Result, bail};

use crate::args::CommonArgs;
use crate::compare::{self, Rules, Run};
use crate::interrupt;
use crate::output::{console, document, files};
use crate::plan::UsageError;
use crate::probe::resolve_target;
use crate::protocol::ProtocolKind;
use crate::scenario::{DEFAULT_SEED, RepeatArgs, Repetition};
use crate::test_bed::{TestBed, with_limit};
use crate::test_result::{TestResult, add_run_number};

/// Starts a test bed for the server that the options name.
type StartTestBed<'a> = dyn FnMut(&CommonArgs) -> Result<TestBed> + 'a;

/// A server of a repetition, and its runs.
struct Side {
    /// The name in messages.
    name: &'static str,
    /// The options with this side's server, and with its file as `--json`.
    common: CommonArgs,
    /// The test bed of a server that runs already. It stays for all runs, since the memory of the server's connections
    /// counts from the memory before the first run.
    test_bed: Option<TestBed>,
    /// The runs so far.
    runs: Vec<Run>,
}

/// Runs a scenario as often as its options say, and writes each result to the file of its run. Returns the text of the
/// medians or of the comparison, and the exit code. A signal ends the repetition: the interrupted run does not count. A run
/// that cannot begin ends it, too, and the runs before it are summarized.
///
/// # Errors
/// Fails when the options contradict each other, when a file cannot be written, and when the first run cannot begin.
pub fn run(repetition: &Repetition<'_>, common: &CommonArgs, start: &mut StartTestBed<'_>) -> Result<(String, u8)> {
    let args = repetition.args;
    check(args, common)?;
    let name = if args.has_second_side() { "first" } else { "run" };
    let mut sides = vec![Side::new(name, common.clone())];
    if args.has_second_side() {
        sides.push(Side::new("second", second_options(args, common)?));
    }
    for path in sides.iter().filter_map(|side| side.common.json.as_ref()) {
        check_files(path, args.runs)?;
    }
    let end = run_rounds(&mut sides, repetition, start);
    match end {
        Err(error) if sides[0].runs.is_empty() => Err(error),
        Err(error) => {
            let (text, _) = summarize(&sides, args)?;
            Ok((format!("{text}INCOMPLETE: the repetition ended early: {error:#}\n"), 3))
        }
        Ok(()) => summarize(&sides, args),
    }
}

/// Runs all rounds, or those before a signal. Each round but the first one begins with the side that ended the one before.
fn run_rounds(sides: &mut [Side], repetition: &Repetition<'_>, start: &mut StartTestBed<'_>) -> Result<()> {
    for number in 1..=repetition.args.runs {
        for turn in turns(number, sides.len()) {
            if !sides[turn].run(repetition, number, start)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Returns the sides of a round in the order in which they run: forwards in the first round, backwards in the second one.
fn turns(round: u32, sides: usize) -> Vec<usize> {
    if round % 2 == 1 { (0..sides).collect() } else { (0..sides).rev().collect() }
}

/// Renders the medians of one side, or the comparison of two. A comparison takes runs that are not good as well, because a
/// side would gain from their absence; its exit code tells of them. It leaves out the only run of an unfinished round.
fn summarize(sides: &[Side], args: &RepeatArgs) -> Result<(String, u8)> {
    match sides {
        [first, second] if !second.runs.is_empty() && !first.runs.is_empty() => {
            let rounds = first.runs.len().min(second.runs.len());
            let mut bound = args.bound.clone();
            if rounds < 2 {
                // The repetition ended before any interval: its text and exit code tell of the end, not of a bound.
                bound.fail_if_slower = None;
            }
            let rules = Rules { bound, seed: DEFAULT_SEED, across_machines: false, include_bad: true };
            compare::compare(&first.runs[..rounds], &second.runs[..rounds], &rules)
        }
        [side, ..] if !side.runs.is_empty() => {
            Ok((compare::render_medians(&side.runs, DEFAULT_SEED), compare::exit_code(&side.runs)))
        }
        _ => bail!("no run has ended"),
    }
}

/// Checks the options before the first run.
fn check(args: &RepeatArgs, common: &CommonArgs) -> Result<()> {
    let error = |text: &str| Err(UsageError::new(text.into()).into());
    for (option, is_given) in [
        ("--report", common.report.is_some()),
        ("--csv", common.csv.is_some()),
        ("--histograms", common.histograms.is_some()),
        ("--fail-if", !common.fail_if.is_empty()),
    ] {
        if is_given {
            return error(&format!(
                "{option} is about one run: leave it out with --repeat and --against, and use --json"
            ));
        }
    }
    if let Some(path) = common.json.as_ref().filter(|path| !files::is_regular(path)) {
        let text = format!("--json {} is no file: the runs of a repetition have a file each", path.display());
        return Err(UsageError::new(text).into());
    }
    if args.bound.fail_if_slower.is_some() && !args.has_second_side() {
        return error("--fail-if-slower compares two servers: add --against or --against-server");
    }
    args.bound.check(usize::try_from(args.runs)?)?;
    compare::figures::check_names(&args.bound.figures)?;
    Ok(())
}

/// Returns the options of the second side.
fn second_options(args: &RepeatArgs, common: &CommonArgs) -> Result<CommonArgs> {
    let json = common.json.as_ref().map(|path| against_path(path));
    if let Some(program) = &args.against_server {
        let protocol = ProtocolKind::default();
        let server = Some(program.clone());
        return Ok(CommonArgs { spawn: true, server, protocol, pid: None, json, ..common.clone() });
    }
    let target = args.against.clone().unwrap_or_default();
    if resolve_target("--against", &target).is_err() {
        let text = format!("--against {target} is not an address with a port that can be resolved: give HOST:PORT");
        return Err(UsageError::new(text).into());
    }
    let protocol = args.against_protocol.unwrap_or(common.protocol);
    let pid = args.against_pid;
    Ok(CommonArgs { target, spawn: false, server: None, server_arg: Vec::new(), protocol, pid, json, ..common.clone() })
}

/// Returns the path of the second side's results: `against-` and the name of the first side's. A pattern such as `NAME-*`
/// does not match it.
fn against_path(path: &Path) -> PathBuf {
    let mut name = OsString::from("against-");
    name.push(path.file_name().unwrap_or_default());
    path.with_file_name(name)
}

/// Checks that the files of all runs can be written, and that no file of an earlier repetition follows them: a comparison
/// of `NAME-*.json` would take that file for a run of this one.
fn check_files(path: &Path, runs: u32) -> Result<()> {
    let left = add_run_number(path, runs + 1);
    if left.exists() {
        let text =
            format!("{} is left of a repetition with more runs: remove it, or name another file", left.display());
        return Err(UsageError::new(text).into());
    }
    let all: Vec<PathBuf> = (1..=runs).map(|number| add_run_number(path, number)).collect();
    files::check(&all.iter().map(|file| ("--json", file.as_path())).collect::<Vec<_>>())
}

impl Side {
    fn new(name: &'static str, common: CommonArgs) -> Self {
        Self { name, common, test_bed: None, runs: Vec::new() }
    }

    /// Runs the scenario once, and writes its result. Returns `false` when a signal has interrupted the run.
    fn run(&mut self, repetition: &Repetition<'_>, number: u32, start: &mut StartTestBed<'_>) -> Result<bool> {
        let mut test_bed = match self.test_bed.take() {
            Some(test_bed) => test_bed,
            None => start(&self.common)?,
        };
        let plan = (repetition.plan)(&self.common, test_bed.target());
        let started_at = SystemTime::now();
        let result = test_bed.run(repetition.scenario, &plan)?;
        if self.common.spawn {
            drop(test_bed);
        } else {
            self.test_bed = Some(test_bed);
        }
        if interrupt::caught_signal().is_some() {
            return Ok(false);
        }
        let mut result = with_limit(result)?;
        result.outcome.select_quantiles(&self.common.percentiles.0);
        let all = repetition.args.runs;
        let name = if repetition.args.has_second_side() { format!(", {} side", self.name) } else { String::new() };
        if !self.common.quiet {
            console::print_note(&format!("run {number} of {all}{name}: {}", result.verdict.text));
        }
        self.keep(number, result, started_at)?;
        Ok(true)
    }

    /// Writes the result of a run to its file, if there is one, and adds it to the runs.
    fn keep(&mut self, number: u32, result: TestResult, started_at: SystemTime) -> Result<()> {
        let file: Option<PathBuf> = self.common.json.as_ref().map(|path| add_run_number(path, number));
        if let Some(file) = &file {
            let json = document::to_json(&result, started_at)?;
            files::write(file, document::render(&json).as_bytes())?;
        }
        let name = file.map_or_else(|| format!("{}-{number}", self.name), |file| file.display().to_string());
        self.runs.push(Run::new(name, result)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sides_take_turns_in_an_order_that_favours_neither() {
        let order: Vec<usize> = (1..=4).flat_map(|round| turns(round, 2)).collect();
        assert_eq!(order, [0, 1, 1, 0, 0, 1, 1, 0]);
        assert_eq!((turns(1, 1), turns(2, 1)), (vec![0], vec![0]));
    }
}
