//! Histograms: how many observations are at most so large, for twelve fixed bounds.

use std::sync::atomic::{AtomicU64, Ordering};

/// The number of bounds of a histogram. Observations above the last one are counted apart.
pub(crate) const BOUNDS: usize = 12;

/// The bounds of a histogram, and the unit in which it observes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// The upper bounds, in ascending order: an observation belongs to the first one that it does not exceed.
    pub(crate) bounds: [u64; BOUNDS],
    /// How many of the observed units are 1 in the unit in which the histogram is shown.
    pub(crate) units: u64,
}

/// The observations of the threads of one shard.
#[derive(Debug, Default)]
pub(super) struct HistogramShard {
    /// The observations between each bound and the one before, and at the end those above the last bound. All accesses are
    /// relaxed: a sum orders nothing.
    buckets: [AtomicU64; BOUNDS + 1],
    /// The sum of the observations, relaxed, too.
    sum: AtomicU64,
}

/// The observations of all threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HistogramSums {
    buckets: [u64; BOUNDS + 1],
    /// The sum of the observations, in the observed unit.
    pub(crate) sum: u64,
}

impl Scale {
    /// Returns the index of the bucket of an observation.
    fn bucket(&self, value: u64) -> usize {
        self.bounds.partition_point(|bound| *bound < value)
    }
}

impl HistogramShard {
    /// Adds an observation.
    pub(super) fn observe(&self, scale: &Scale, value: u64) {
        self.buckets[scale.bucket(value)].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }
}

impl HistogramSums {
    /// Adds the observations of a shard.
    pub(super) fn add(&mut self, shard: &HistogramShard) {
        for (sum, part) in self.buckets.iter_mut().zip(&shard.buckets) {
            *sum += part.load(Ordering::Relaxed);
        }
        self.sum += shard.sum.load(Ordering::Relaxed);
    }

    /// Returns for each bound how many observations do not exceed it, and then the number of all observations.
    pub(crate) fn cumulative(&self) -> [u64; BOUNDS + 1] {
        let mut total = 0;
        self.buckets.map(|bucket| {
            total += bucket;
            total
        })
    }

    /// Returns the number of observations.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCALE: Scale = Scale { bounds: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000], units: 1 };

    fn sums(values: impl IntoIterator<Item = u64>) -> HistogramSums {
        let (shard, mut sums) = (HistogramShard::default(), HistogramSums::default());
        values.into_iter().for_each(|value| shard.observe(&SCALE, value));
        sums.add(&shard);
        sums
    }

    #[test]
    fn observation_is_counted_at_the_first_bound_that_it_does_not_exceed() {
        for (value, bucket) in [(0, 0), (1, 0), (2, 1), (3, 2), (5, 2), (6, 3), (5_000, 11), (5_001, 12)] {
            assert_eq!(SCALE.bucket(value), bucket, "{value}");
        }
    }

    #[test]
    fn cumulative_counts_ascend_to_the_number_of_observations() {
        let sums = sums([1, 3, 3, 700, 9_000]);
        assert_eq!(sums.cumulative(), [1, 1, 3, 3, 3, 3, 3, 3, 3, 4, 4, 4, 5]);
        assert_eq!((sums.count(), sums.sum), (5, 9_707));
    }

    #[test]
    fn histogram_without_observations_is_all_zero() {
        assert_eq!((sums([]).cumulative(), sums([]).count()), ([0; BOUNDS + 1], 0));
    }
}
