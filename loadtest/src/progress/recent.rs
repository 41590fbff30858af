//! The figures of the last minute of sending, and sparklines of them.

use std::collections::VecDeque;

/// The number of seconds that are kept.
pub(super) const KEPT_SECONDS: usize = 60;
/// Seconds from the end of a second until all workers have reported it. They send progress four times per second.
const REPORT_DELAY: f64 = 0.3;
/// The letters of a sparkline, from the lowest value to the highest.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The figures of one second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RecentSecond {
    /// Deliveries per second.
    pub(super) rate: f64,
    /// The 99th percentile of latency in microseconds; `None` where no latency was measured.
    pub(super) p99: Option<u64>,
}

/// The seconds of the last minute, from the oldest to the newest.
#[derive(Debug, Default)]
pub(super) struct RecentSeconds {
    seconds: VecDeque<RecentSecond>,
    /// The number of seconds recorded since sending started.
    recorded: u64,
    /// The time since sending started and the number of deliveries, when the last second was recorded.
    last: (f64, u64),
}

impl RecentSeconds {
    /// Records the seconds that are over. Where several seconds passed since the last call, each has their average rate,
    /// and only the last one has a percentile.
    pub(super) fn record(&mut self, elapsed: f64, delivered: u64, p99: Option<u64>) {
        let over = whole_seconds(elapsed - REPORT_DELAY);
        if over <= self.recorded {
            return;
        }
        let length = (elapsed - self.last.0).max(f64::MIN_POSITIVE);
        let rate = delivered.saturating_sub(self.last.1) as f64 / length;
        let missed = (over - self.recorded - 1).min(KEPT_SECONDS as u64);
        (0..missed).for_each(|_| self.push(RecentSecond { rate, p99: None }));
        self.push(RecentSecond { rate, p99 });
        self.recorded = over;
        self.last = (elapsed, delivered);
    }

    fn push(&mut self, second: RecentSecond) {
        if self.seconds.len() == KEPT_SECONDS {
            self.seconds.pop_front();
        }
        self.seconds.push_back(second);
    }

    /// Returns the last second, if one has been recorded.
    pub(super) fn last(&self) -> Option<RecentSecond> {
        self.seconds.back().copied()
    }

    /// Returns the highest rate of the last minute.
    pub(super) fn highest_rate(&self) -> f64 {
        self.seconds.iter().map(|second| second.rate).fold(0.0, f64::max)
    }

    /// Returns the highest 99th percentile of the last minute; `None` where no latency was measured.
    pub(super) fn highest_p99(&self) -> Option<u64> {
        self.seconds.iter().filter_map(|second| second.p99).max()
    }

    /// Returns a sparkline of the rates of the newest seconds.
    pub(super) fn rate_sparkline(&self, width: usize) -> String {
        sparkline(self.newest(width).map(|second| Some(second.rate)), self.highest_rate())
    }

    /// Returns a sparkline of the 99th percentiles of the newest seconds. A second without one is a gap.
    pub(super) fn p99_sparkline(&self, width: usize) -> String {
        let highest = self.highest_p99().unwrap_or(0) as f64;
        sparkline(self.newest(width).map(|second| second.p99.map(|us| us as f64)), highest)
    }

    fn newest(&self, width: usize) -> impl Iterator<Item = &RecentSecond> {
        self.seconds.iter().skip(self.seconds.len().saturating_sub(width))
    }
}

/// Returns one letter for each value, with a height from 0 to `highest`. A missing value is a space.
fn sparkline(values: impl Iterator<Item = Option<f64>>, highest: f64) -> String {
    let top = LEVELS.len() - 1;
    let letter = |value: f64| {
        let level =
            (1..=top).rev().find(|&level| highest > 0.0 && value / highest >= level as f64 / LEVELS.len() as f64);
        LEVELS[level.unwrap_or(0)]
    };
    values.map(|value| value.map_or(' ', letter)).collect()
}

/// Returns the whole seconds of a time.
fn whole_seconds(seconds: f64) -> u64 {
    std::time::Duration::try_from_secs_f64(seconds).map_or(0, |time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_is_recorded_once_all_workers_have_reported_it() {
        let mut recent = RecentSeconds::default();
        recent.record(1.1, 90, Some(5));
        assert_eq!(recent.last(), None);
        recent.record(1.5, 150, Some(7));
        recent.record(1.7, 170, Some(8));
        assert_eq!(recent.last(), Some(RecentSecond { rate: 100.0, p99: Some(7) }));
        recent.record(2.5, 350, None);
        assert_eq!(recent.last(), Some(RecentSecond { rate: 200.0, p99: None }));
        assert_eq!(recent.rate_sparkline(60), "▅█");
        assert_eq!(recent.p99_sparkline(60), "█ ");
        assert_eq!(recent.rate_sparkline(1), "█", "the newest seconds are shown");
    }

    #[test]
    fn missed_seconds_have_the_average_rate_and_no_percentile() {
        let mut recent = RecentSeconds::default();
        recent.record(4.0, 400, Some(3));
        assert_eq!(recent.p99_sparkline(60), "  █");
        assert_eq!(recent.rate_sparkline(60), "███");
        recent.record(1e9, 400, Some(3));
        assert_eq!(recent.rate_sparkline(100).chars().count(), KEPT_SECONDS);
        assert_eq!(recent.highest_p99(), Some(3), "older seconds are forgotten");
    }

    #[test]
    fn sparkline_starts_at_zero() {
        let values = [0.0, 1.0, 2.0, 4.0, 8.0].map(Some);
        assert_eq!(sparkline(values.into_iter(), 8.0), "▁▂▃▅█");
        assert_eq!(sparkline([Some(0.0), None].into_iter(), 0.0), "▁ ");
    }
}
