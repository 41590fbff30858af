//! A row of a comparison: one figure on both sides, and the difference that the runs show.
//!
//! The interval of the ratio decides: where it contains 1, the runs show no difference.

use super::bootstrap::{Interval, Samples, median};
use super::figures::Figure;

/// One figure on both sides.
#[derive(Debug)]
pub struct Row {
    /// The figure.
    pub figure: &'static Figure,
    /// The number of values on each side.
    pub counts: [usize; 2],
    /// The median of each side.
    pub medians: [f64; 2],
    /// The second median as a multiple of the first one; `None` where that is 0.
    pub ratio: Option<f64>,
    /// The 95 % interval of the ratio; `None` with fewer than two values on a side.
    pub interval: Option<Interval>,
}

impl Row {
    /// Compares the values of a figure. Returns `None` where a side has no value, and where all values are 0.
    #[must_use]
    pub fn new(figure: &'static Figure, samples: &Samples, seed: u64) -> Option<Self> {
        let (first, second) = samples.sides();
        if first.is_empty() || second.is_empty() || first.iter().chain(&second).all(|&value| value == 0.0) {
            return None;
        }
        let medians = [median(&first), median(&second)];
        Some(Self {
            figure,
            counts: [first.len(), second.len()],
            medians,
            ratio: (medians[0] > 0.0).then(|| medians[1] / medians[0]),
            interval: samples.ratio_interval(seed),
        })
    }

    /// Returns the percentage by which the second side is at least worse, with 95 % confidence. It is negative where the
    /// second side may be better.
    #[must_use]
    pub fn least_worsening(&self) -> Option<f64> {
        let Interval { low, high } = self.interval?;
        Some(100.0 * if self.figure.higher_is_better { 1.0 - high } else { low - 1.0 })
    }

    /// Returns the difference in words; an empty text where the row has no interval.
    #[must_use]
    pub fn describe_difference(&self) -> String {
        let (Some(ratio), Some(interval)) = (self.ratio, self.interval) else { return String::new() };
        if interval.contains(1.0) {
            let half_width = 100.0 * interval.half_width();
            return format!("no difference (smallest that would show: {half_width:.1} %)");
        }
        let percent = |ratio: f64| 100.0 * (ratio - 1.0).abs();
        let (one, other) = (percent(interval.low), percent(interval.high));
        let (least, most) = (one.min(other), one.max(other));
        format!("{} by {:.1} % (95 %: {least:.1} to {most:.1})", self.figure.word(ratio), percent(ratio))
    }
}
