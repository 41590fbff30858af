//! Confidence intervals of medians by the bootstrap.
//!
//! A bootstrap draws as many values as were measured, with replacement, computes the statistic of the drawn values, and
//! repeats both many times. The spread of these statistics estimates how far the statistic of the measured values may be
//! from the true one. The percentile interval leaves out the same share of them at both ends. Source: B. Efron and R. J.
//! Tibshirani, An Introduction to the Bootstrap (1993), chapters 6 and 13.

use fastrand::Rng;

/// The number of resamples. Efron and Tibshirani ask for 1000 or more for an interval; ten times as many let another
/// seed move a bound by little.
pub const RESAMPLES: usize = 10_000;
/// The rank of both bounds of a 95 % interval among the sorted statistics, counted from the lowest and the highest one:
/// 2.5 % of `RESAMPLES + 1`, rounded down.
const BOUND_RANK: usize = (RESAMPLES + 1) * 25 / 1000;

/// A 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}

impl Interval {
    /// Returns whether a value is within the bounds.
    #[must_use]
    pub fn contains(self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// Returns half the distance of the bounds.
    #[must_use]
    pub fn half_width(self) -> f64 {
        (self.high - self.low) / 2.0
    }
}

/// The values of one figure on two sides.
#[derive(Clone, Debug, PartialEq)]
pub enum Samples {
    /// Each pair was measured one after the other. A resample draws whole pairs, so that a disturbance of the machine
    /// that slowed both runs of a pair leaves their ratio as it is.
    Paired(Vec<(f64, f64)>),
    /// A resample draws from each side alone.
    Unpaired(Vec<f64>, Vec<f64>),
}

impl Samples {
    /// Returns the values of each side.
    #[must_use]
    pub fn sides(&self) -> (Vec<f64>, Vec<f64>) {
        match self {
            Self::Paired(pairs) => pairs.iter().copied().unzip(),
            Self::Unpaired(first, second) => (first.clone(), second.clone()),
        }
    }

    /// Returns the interval of the ratio of the second median to the first one. Returns `None` where a side has fewer
    /// than two values, or the first side has a value of 0, to which no ratio exists.
    #[must_use]
    pub fn ratio_interval(&self, seed: u64) -> Option<Interval> {
        let (first, second) = self.sides();
        if first.len() < 2 || second.len() < 2 || first.iter().any(|&value| value <= 0.0) {
            return None;
        }
        let mut random = Rng::with_seed(seed);
        let (mut drawn_first, mut drawn_second) = (first.clone(), second.clone());
        Some(percentile_interval(|| {
            match self {
                Self::Paired(pairs) => {
                    for at in 0..pairs.len() {
                        (drawn_first[at], drawn_second[at]) = pairs[random.usize(..pairs.len())];
                    }
                }
                Self::Unpaired(..) => {
                    draw(&first, &mut drawn_first, &mut random);
                    draw(&second, &mut drawn_second, &mut random);
                }
            }
            select_median(&mut drawn_second) / select_median(&mut drawn_first)
        }))
    }
}

/// Returns the median of values, of which there must be at least one.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    select_median(&mut values.to_vec())
}

/// Returns the interval of a median, or `None` where there are fewer than two values.
#[must_use]
pub fn median_interval(values: &[f64], seed: u64) -> Option<Interval> {
    if values.len() < 2 {
        return None;
    }
    let mut random = Rng::with_seed(seed);
    let mut drawn = values.to_vec();
    Some(percentile_interval(|| {
        draw(values, &mut drawn, &mut random);
        select_median(&mut drawn)
    }))
}

/// Fills `drawn` with values that are drawn with replacement.
fn draw(values: &[f64], drawn: &mut [f64], random: &mut Rng) {
    drawn.fill_with(|| values[random.usize(..values.len())]);
}

/// Returns the median of values and changes their order.
fn select_median(values: &mut [f64]) -> f64 {
    let (middle, odd) = (values.len() / 2, values.len() % 2 == 1);
    let (below, &mut upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    if odd {
        return upper;
    }
    let lower = below.iter().copied().max_by(f64::total_cmp).unwrap_or(upper);
    f64::midpoint(lower, upper)
}

/// Returns the percentile interval of a statistic that `resample` computes from new resamples.
fn percentile_interval(mut resample: impl FnMut() -> f64) -> Interval {
    let mut statistics: Vec<f64> = (0..RESAMPLES).map(|_| resample()).collect();
    statistics.sort_unstable_by(f64::total_cmp);
    Interval { low: statistics[BOUND_RANK - 1], high: statistics[RESAMPLES - BOUND_RANK] }
}
