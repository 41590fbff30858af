//! The result of a run, as `--json` keeps it: an outcome and the verdict on it.

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
}
