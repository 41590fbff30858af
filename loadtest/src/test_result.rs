//! The result of a run, as `--json` keeps it: an outcome and the verdict on it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::coordinator::RunRecord;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::saturation::saturation;
use crate::verdict::Verdict;

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

    /// Reads a result that `--json` wrote.
    ///
    /// # Errors
    /// Fails when the file cannot be read or holds no result.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not a result of --json", path.display()))
    }
}
