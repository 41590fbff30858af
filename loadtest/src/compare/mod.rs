//! The comparison of runs of the same work on two sides.
//!
//! Each side has one run or several. The comparison shows the median of each figure on both sides, the ratio of the
//! medians, and a 95 % confidence interval of that ratio. Runs of both sides that took turns are compared in pairs.

use anyhow::Result;
use serde_json::Value;

use crate::scenario::{CompareArgs, WorseningArgs};
use crate::test_result::TestResult;
use crate::verdict::VerdictKind;

pub mod bootstrap;
pub mod figures;
mod files;
mod render;
mod row;
mod summary;
#[cfg(test)]
mod tests;
mod work;

use bootstrap::Samples;
use figures::{FIGURES, Figure};
pub use row::Row;
pub use summary::{exit_code, render_medians};

/// A run that is compared.
#[derive(Clone, Debug)]
pub struct Run {
    /// The name in errors and tables: the path of its file.
    pub name: String,
    /// The result.
    pub result: TestResult,
    /// The result as JSON, into which the figures' pointers point.
    json: Value,
}

/// The rules of a comparison.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The bound of `--fail-if-slower`, and the figures that it judges.
    pub bound: WorseningArgs,
    /// The seed of the resampling.
    pub seed: u64,
    /// Whether results of different machines are compared.
    pub across_machines: bool,
    /// Whether results that are not good are compared.
    pub include_bad: bool,
}

/// A comparison of two sides.
#[derive(Debug)]
pub struct Comparison<'a> {
    /// The runs of each side.
    sides: [&'a [Run]; 2],
    /// The permitted differences of the two sides.
    notes: Vec<String>,
    /// Whether the runs took turns.
    paired: bool,
    /// The figures that both sides have.
    pub rows: Vec<Row>,
    /// The rules.
    rules: &'a Rules,
}

/// Compares results of files. Returns the text and the exit code.
///
/// # Errors
/// Fails when a file cannot be read, and when [`compare`] does.
pub fn compare_files(args: &CompareArgs) -> Result<(String, u8)> {
    let (first, second) = files::read_sides(args)?;
    let rules = Rules {
        bound: args.bound.clone(),
        seed: args.seed,
        across_machines: args.across_machines,
        include_bad: args.include_bad,
    };
    compare(&first, &second, &rules)
}

/// Compares the runs of two sides. Returns the text and the exit code.
///
/// # Errors
/// Fails when the runs cannot be compared, and names the parameter or the result that prevents a comparison.
pub fn compare(first: &[Run], second: &[Run], rules: &Rules) -> Result<(String, u8)> {
    let comparison = Comparison::new(first, second, rules)?;
    Ok((comparison.render(), comparison.verdict().1))
}

impl Run {
    /// Returns a run with its name.
    ///
    /// # Errors
    /// Fails when the result is no JSON.
    pub fn new(name: String, result: TestResult) -> Result<Self> {
        let json = serde_json::to_value(&result)?;
        Ok(Self { name, result, json })
    }

    /// Returns the value of a figure, where the run has one. A failed run has none: it may have ended before the server
    /// did any work.
    fn value(&self, figure: &Figure) -> Option<f64> {
        if self.result.verdict.kind == VerdictKind::Incomplete {
            return None;
        }
        figure.value(&self.json)
    }

    /// Returns whether the result is good.
    fn is_good(&self) -> bool {
        self.result.verdict.kind == VerdictKind::Good
    }
}

impl<'a> Comparison<'a> {
    /// Compares the runs of two sides.
    ///
    /// # Errors
    /// See [`compare`].
    pub fn new(first: &'a [Run], second: &'a [Run], rules: &'a Rules) -> Result<Self> {
        rules.bound.check(first.len().min(second.len()))?;
        figures::check_names(&rules.bound.figures)?;
        let notes = work::check(first, second, rules)?;
        let pairs = find_pairs(first, second);
        let row = |figure: &'static Figure| {
            Row::new(figure, &collect_samples(figure, first, second, pairs.as_deref()), rules.seed)
        };
        let rows = FIGURES.iter().filter_map(row).collect();
        Ok(Self { sides: [first, second], notes, paired: pairs.is_some(), rows, rules })
    }

    /// Returns the runs that are not good.
    fn bad_runs(&self) -> impl Iterator<Item = &'a Run> {
        let [first, second] = self.sides;
        first.iter().chain(second).filter(|run| !run.is_good())
    }

    /// Returns the rows of the figures that `--fail-if-slower` judges.
    fn judged_rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| self.rules.bound.figures.iter().any(|name| row.figure.is_named(name)))
    }

    /// Returns the comparison's last line and the exit code.
    fn verdict(&self) -> (String, u8) {
        let (bad, all) = (self.bad_runs().count(), self.sides[0].len() + self.sides[1].len());
        if bad > 0 {
            return (format!("NOT GOOD: {bad} of {all} runs: their figures may not describe the server"), 3);
        }
        let Some(bound) = self.rules.bound.fail_if_slower else {
            return (format!("GOOD: all {all} runs"), 0);
        };
        let bounds: Vec<(&Row, f64)> =
            self.judged_rows().filter_map(|row| Some((row, row.least_worsening()?))).collect();
        let judged: Vec<&str> = bounds.iter().map(|(row, _)| row.figure.name).collect();
        if judged.is_empty() {
            let names = self.rules.bound.figures.join(", ");
            return (format!("UNDECIDED: --fail-if-slower judges {names}, of which no run has figures"), 3);
        }
        let worse: Vec<String> = bounds
            .iter()
            .filter(|(_, percent)| *percent > bound.percent)
            .map(|(row, percent)| format!("{} by at least {percent:.1} %", row.figure.name))
            .collect();
        if worse.is_empty() {
            let judged = judged.join(", ");
            return (format!("GOOD: all {all} runs; not worse by more than {bound} with confidence: {judged}"), 0);
        }
        (format!("SLOWER: the second side is worse by more than {bound}: {}", worse.join(", ")), 4)
    }
}

/// Returns the indices of the runs that belong together, where both sides have the same number of runs and took turns: of
/// each two runs in order of time, one is of the first side and the other one of the second side. A result without a time
/// belongs to no pair.
fn find_pairs(first: &[Run], second: &[Run]) -> Option<Vec<(usize, usize)>> {
    if first.len() != second.len() {
        return None;
    }
    let mut runs = Vec::new();
    for (side, all) in [first, second].into_iter().enumerate() {
        for (at, run) in all.iter().enumerate() {
            runs.push((run.result.outcome.recorded_unix_ms?, side, at));
        }
    }
    runs.sort_unstable();
    let pair = |two: &[(u64, usize, usize)]| match *two {
        [(_, 0, first), (_, 1, second)] | [(_, 1, second), (_, 0, first)] => Some((first, second)),
        _ => None,
    };
    runs.chunks(2).map(pair).collect()
}

/// Returns the values of a figure. A pair counts only where both runs have a value.
fn collect_samples(figure: &Figure, first: &[Run], second: &[Run], pairs: Option<&[(usize, usize)]>) -> Samples {
    if let Some(pairs) = pairs {
        let values = |&(at, to): &(usize, usize)| Some((first[at].value(figure)?, second[to].value(figure)?));
        return Samples::Paired(pairs.iter().filter_map(values).collect());
    }
    let values = |side: &[Run]| side.iter().filter_map(|run| run.value(figure)).collect();
    Samples::Unpaired(values(first), values(second))
}
