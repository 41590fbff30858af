//! The figures of each second of sending.

use serde::{Deserialize, Serialize};

use crate::metrics::{Metrics, SecondMetrics};

/// The longest latency in microseconds of each bucket of [`TimelineSecond::latency_buckets`] but the last, which has no
/// bound. Five buckets cover a factor of ten.
pub const LATENCY_BOUNDS_US: [u64; 31] = [
    10, 16, 25, 40, 63, 100, 160, 250, 400, 630, 1_000, 1_600, 2_500, 4_000, 6_300, 10_000, 16_000, 25_000, 40_000,
    63_000, 100_000, 160_000, 250_000, 400_000, 630_000, 1_000_000, 1_600_000, 2_500_000, 4_000_000, 6_300_000,
    10_000_000,
];

/// The figures of one second of sending.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TimelineSecond {
    /// Deliveries received.
    pub delivered: u64,
    /// The median of their latency in microseconds; `None` where no latency was measured.
    #[serde(rename = "p50_us")]
    pub p50: Option<u64>,
    /// The 99th percentile of their latency in microseconds; `None` where no latency was measured.
    #[serde(rename = "p99_us")]
    pub p99: Option<u64>,
    /// The number of latencies in each bucket of [`LATENCY_BOUNDS_US`]. Empty buckets at the end are left out.
    #[serde(default)]
    pub latency_buckets: Vec<u64>,
}

impl TimelineSecond {
    fn new(second: &SecondMetrics) -> Self {
        let quantile = |share| (second.latency.count() > 0).then(|| second.latency.quantile(share));
        Self {
            delivered: second.delivered,
            p50: quantile(0.5),
            p99: quantile(0.99),
            latency_buckets: second.latency.bucket_counts(&LATENCY_BOUNDS_US),
        }
    }
}

/// Returns the figures of each whole second from the first line to the end of the window, those without a delivery
/// included.
#[must_use]
pub fn timeline(metrics: &Metrics) -> Vec<TimelineSecond> {
    metrics.whole_seconds().map(TimelineSecond::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{SECOND, Tick};
    use crate::metrics::LineTimes;

    /// Returns metrics of a window with deliveries at these milliseconds, each with a latency in milliseconds.
    fn metrics(window: (Tick, Tick), deliveries: &[(u64, u64)]) -> Metrics {
        let mut metrics = Metrics::default();
        metrics.set_window(SECOND, window);
        metrics.counters.sent = deliveries.len() as u64;
        for (at, latency) in deliveries {
            let now = SECOND + at * 1_000_000;
            let planned = now - latency * 1_000_000;
            metrics.record_deliveries(now, LineTimes { planned, sent: planned }, 2, true);
        }
        metrics
    }

    #[test]
    fn second_without_deliveries_has_no_percentiles() {
        let found = timeline(&metrics((SECOND, 5 * SECOND), &[(100, 1), (2100, 1), (2200, 50)]));
        assert_eq!(found.len(), 4, "silent seconds at the end are included");
        assert_eq!(found.iter().map(|second| second.delivered).collect::<Vec<_>>(), [2, 0, 4, 0]);
        assert_eq!((found[1].p50, found[1].p99, found[1].latency_buckets.len()), (None, None, 0));
        assert!(found[2].p50.is_some_and(|us| (1_000..1_020).contains(&us)), "{found:?}");
        assert!(found[2].p99.is_some_and(|us| (50_000..51_000).contains(&us)), "{found:?}");
        assert_eq!(serde_json::to_value(&found[3]).unwrap()["p50_us"], serde_json::Value::Null);
    }

    #[test]
    fn latencies_are_counted_in_the_bucket_of_their_bound() {
        let found = timeline(&metrics((SECOND, 2 * SECOND), &[(100, 1), (200, 50)]));
        let counts = &found[0].latency_buckets;
        assert_eq!(counts.iter().sum::<u64>(), 4);
        let of = |us: u64| LATENCY_BOUNDS_US.iter().position(|&bound| bound == us).unwrap();
        assert_eq!((counts[of(1_000)], counts[of(63_000)], counts.len()), (2, 2, of(63_000) + 1));
        assert!(LATENCY_BOUNDS_US.is_sorted());
    }

    #[test]
    fn second_after_the_window_is_left_out() {
        assert_eq!(timeline(&metrics((SECOND, 2 * SECOND), &[(100, 1), (1100, 1)])).len(), 1);
        assert_eq!(timeline(&metrics((SECOND, Tick::MAX), &[(2100, 1)])).len(), 3, "a window without an end");
        assert_eq!(timeline(&metrics((SECOND, 9 * SECOND), &[])), []);
    }
}
