//! The figures of members that left during the run and came back.

use serde::{Deserialize, Serialize};

use crate::histogram::Percentiles;
use crate::metrics::Metrics;

/// The durations of returns. The counters of a result have their numbers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReturnFigures {
    /// Time from the planned return of a member to the notice of its own join, refused attempts included.
    pub join_us: Percentiles,
    /// That time without the generator's own lag.
    pub join_without_lag_us: Percentiles,
    /// Time from a member's leave or cut to the notice of its own join.
    pub away_us: Percentiles,
}

impl ReturnFigures {
    /// Returns the figures of recorded returns.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            join_us: metrics.return_join.percentiles(),
            join_without_lag_us: metrics.return_join_without_lag.percentiles(),
            away_us: metrics.absence.percentiles(),
        }
    }

    /// Returns the percentiles of joining again, with and without the generator's own lag, in microseconds.
    #[must_use]
    pub fn join_percentiles(&self) -> [(&'static str, u64, u64); 3] {
        let (join, without) = (&self.join_us, &self.join_without_lag_us);
        [
            ("p50 of joining again", join.p50, without.p50),
            ("p90 of joining again", join.p90, without.p90),
            ("p99 of joining again", join.p99, without.p99),
        ]
    }
}
