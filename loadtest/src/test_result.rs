//! The result of a run, as `--json` keeps it: an outcome and the verdict on it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::coordinator::RunRecord;
use crate::format::escape_controls;
use crate::outcome::Outcome;
use crate::plan::{Plan, UsageError};
use crate::saturation::saturation;
use crate::verdict::Verdict;

/// The version of the JSON's names and units. A change that removes or renames a figure raises it.
pub const SCHEMA_VERSION: u32 = 1;

/// An outcome and the verdict on it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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

    /// Reads a result that `--json` wrote, and escapes the control characters of its texts.
    ///
    /// # Errors
    /// Fails when the file cannot be read, holds no result, or holds one of another [`SCHEMA_VERSION`].
    pub fn read(path: &Path) -> Result<Self> {
        let file = path.display();
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {file}"))?;
        let no_result = || format!("{file} is not a result of --json");
        let mut json: Value = serde_json::from_str(&text).with_context(no_result)?;
        match json.get("schema_version") {
            Some(version) if *version == SCHEMA_VERSION => {}
            None if json.get("verdict").is_none() => bail!(no_result()),
            version => {
                let version = version.map_or("no schema_version".into(), |version| format!("schema_version {version}"));
                let text = format!("{file} has {version}, but this program reads {SCHEMA_VERSION}: repeat its run");
                bail!(UsageError::new(text));
            }
        }
        escape_texts(&mut json);
        serde_json::from_value(json).with_context(no_result)
    }
}

/// Escapes the control characters of all texts of a JSON value.
fn escape_texts(json: &mut Value) {
    match json {
        Value::String(text) => *text = escape_controls(text),
        Value::Array(values) => values.iter_mut().for_each(escape_texts),
        Value::Object(values) => values.values_mut().for_each(escape_texts),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
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
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a text to a file, and returns the error of reading it as a result.
    fn read_error(text: &str) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let error = format!("{:#}", TestResult::read(file.path()).unwrap_err());
        error.replace(&file.path().display().to_string(), "FILE")
    }

    #[test]
    fn result_of_another_schema_version_is_refused_in_one_line() {
        let other = read_error("{\"schema_version\": 99, \"verdict\": {}}");
        assert_eq!(other, "FILE has schema_version 99, but this program reads 1: repeat its run");
        let old = read_error("{\"verdict\": {}}");
        assert_eq!(old, "FILE has no schema_version, but this program reads 1: repeat its run");
        assert_eq!(read_error("{}"), "FILE is not a result of --json");
        assert!(read_error("no json").starts_with("FILE is not a result of --json: "));
    }

    #[test]
    fn texts_of_a_json_value_are_escaped_at_every_depth() {
        let mut json = serde_json::json!({"a": ["x\u{1b}[2J"], "b": {"c": "\u{202e}"}, "d": 7});
        escape_texts(&mut json);
        assert_eq!(json, serde_json::json!({"a": ["x\\x1b[2J"], "b": {"c": "\\u{202e}"}, "d": 7}));
    }

    #[test]
    fn number_of_a_run_is_added_before_the_extension_and_found_there() {
        let file = add_run_number(Path::new("results/a.b.json"), 12);
        assert_eq!(file, Path::new("results/a.b-12.json"));
        assert_eq!(split_run_number(&file), ("a.b".into(), Some(12)));
        assert_eq!(add_run_number(Path::new("plain"), 1), Path::new("plain-1"));
        assert_eq!(split_run_number(Path::new("redis-fast.json")), ("redis-fast".into(), None));
    }
}
