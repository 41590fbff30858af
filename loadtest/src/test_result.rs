//! The result of a run, as `--json` keeps it: an outcome and the verdict on it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::coordinator::RunRecord;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::saturation::saturation;
use crate::verdict::Verdict;

/// An outcome and the verdict on it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TestResult {
    /// Every figure.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Whether the figures can be relied on.
    pub verdict: Verdict,
}

impl TestResult {
    /// Computes the figures of a run of a plan, and judges them.
    #[must_use]
    pub fn new(scenario: &str, plan: &Plan, run: &RunRecord) -> Self {
        let mut outcome = Outcome::new(scenario, plan, run);
        outcome.generator.saturated = saturation(plan, &outcome).is_some();
        let verdict = Verdict::new(plan, run.failure.as_deref(), &outcome);
        Self { outcome, verdict }
    }

    /// Reads a result that `--json` wrote.
    ///
    /// # Errors
    /// Fails when the file cannot be read or holds no result.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not a result of --json", path.display()))
    }
}

/// Splits a file's name into its row and the number of its run: `redis-2.json` is run 2 of `redis`. A name without a number
/// is a row of its own.
#[must_use]
pub fn split_run_number(path: &Path) -> (String, Option<u32>) {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let split = stem.rsplit_once('-').and_then(|(row, number)| Some((row.to_owned(), number.parse().ok()?)));
    split.map_or((stem, None), |(row, number)| (row, Some(number)))
}

/// Returns the file of a run: run 2 of `redis.json` is `redis-2.json`.
#[must_use]
pub fn add_run_number(path: &Path, number: u32) -> PathBuf {
    add_to_stem(path, &format!("-{number}"))
}

/// Returns a path with a text between the name and the extension.
#[must_use]
pub fn add_to_stem(path: &Path, text: &str) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(text);
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_of_a_run_is_added_before_the_extension_and_found_there() {
        let file = add_run_number(Path::new("results/a.b.json"), 12);
        assert_eq!(file, Path::new("results/a.b-12.json"));
        assert_eq!(split_run_number(&file), ("a.b".into(), Some(12)));
        assert_eq!(add_run_number(Path::new("plain"), 1), Path::new("plain-1"));
        assert_eq!(split_run_number(Path::new("redis-fast.json")), ("redis-fast".into(), None));
    }
}
