//! HDR histograms of durations from 1 microsecond to 1 hour.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::serialization::{Serializer as _, V2Serializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::clock::Tick;

/// One hour: longer durations count as one hour.
const LONGEST_US: u64 = 3_600_000_000;

/// A histogram of durations with `DIGITS` significant digits. It allocates memory at the first record.
#[derive(Clone, Debug, Default)]
pub struct Histogram<const DIGITS: u8>(Option<hdrhistogram::Histogram<u64>>);

/// The percentiles that reports show, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Percentiles {
    /// The median.
    pub p50: u64,
    /// The 90th percentile.
    pub p90: u64,
    /// The 99th percentile.
    pub p99: u64,
    /// The 99.9th percentile.
    pub p999: u64,
    /// The maximum.
    pub max: u64,
}

impl<const DIGITS: u8> Histogram<DIGITS> {
    /// Records a duration `count` times.
    pub fn record(&mut self, duration: Tick, count: u64) {
        if self.0.is_none() {
            self.0 = hdrhistogram::Histogram::new_with_bounds(1, LONGEST_US, DIGITS).ok();
        }
        if let Some(histogram) = &mut self.0 {
            // Rounding up ensures that no latency is reported as shorter than it was.
            histogram.saturating_record_n(duration.div_ceil(1000), count);
        }
    }

    /// Adds all records of another histogram.
    pub fn add(&mut self, other: &Self) {
        match (&mut self.0, &other.0) {
            // Both histograms have the same bounds, so adding cannot fail.
            (Some(ours), Some(theirs)) => _ = ours.add(theirs),
            (ours @ None, Some(theirs)) => *ours = Some(theirs.clone()),
            (_, None) => {}
        }
    }

    /// Returns the number of recorded durations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, hdrhistogram::Histogram::len)
    }

    /// Returns the duration in microseconds that the given share of all durations does not exceed; 0.99 is the 99th
    /// percentile.
    #[must_use]
    pub fn quantile(&self, share: f64) -> u64 {
        self.0.as_ref().map_or(0, |histogram| histogram.value_at_quantile(share))
    }

    /// Returns the number of durations in each bucket. A bucket ends at its bound in microseconds and includes it; the
    /// last bucket has no bound. Buckets after the last one with a duration are left out.
    #[must_use]
    pub fn bucket_counts(&self, bounds: &[u64]) -> Vec<u64> {
        let mut counts = Vec::new();
        for recorded in self.0.iter().flat_map(hdrhistogram::Histogram::iter_recorded) {
            // A value stands for all values that the histogram cannot tell from it: the lowest of them decides.
            let lowest =
                self.0.as_ref().map_or(0, |histogram| histogram.lowest_equivalent(recorded.value_iterated_to()));
            let bucket = bounds.partition_point(|&bound| bound < lowest);
            if bucket >= counts.len() {
                counts.resize(bucket + 1, 0);
            }
            counts[bucket] += recorded.count_since_last_iteration();
        }
        counts
    }

    /// Returns points for a plot, at rising density towards 1: a share, and the microseconds that it does not exceed.
    #[must_use]
    pub fn curve(&self) -> Vec<(f64, u64)> {
        let points = 60;
        let count = self.count();
        let shares = (0..=points).map(|point| 1.0 - 10_f64.powf(-f64::from(point) / 12.0));
        // Shares above 1 - 1/count have no durations of their own.
        let resolved = shares.take_while(|share| (1.0 - share) * count as f64 >= 1.0);
        resolved.map(|share| (share, self.quantile(share))).collect()
    }

    /// Returns the percentiles that reports show.
    #[must_use]
    pub fn percentiles(&self) -> Percentiles {
        Percentiles {
            p50: self.quantile(0.5),
            p90: self.quantile(0.9),
            p99: self.quantile(0.99),
            p999: self.quantile(0.999),
            max: self.0.as_ref().map_or(0, hdrhistogram::Histogram::max),
        }
    }
}

/// Serializes as base64 of the V2 encoding, which all HDR histogram libraries read.
impl<const DIGITS: u8> Serialize for Histogram<DIGITS> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        if let Some(histogram) = &self.0 {
            V2Serializer::new().serialize(histogram, &mut bytes).map_err(ser::Error::custom)?;
        }
        serializer.serialize_str(&STANDARD.encode(bytes))
    }
}

impl<'de, const DIGITS: u8> Deserialize<'de> for Histogram<DIGITS> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = STANDARD.decode(String::deserialize(deserializer)?).map_err(de::Error::custom)?;
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let histogram = hdrhistogram::serialization::Deserializer::new().deserialize(&mut bytes.as_slice());
        Ok(Self(Some(histogram.map_err(de::Error::custom)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a histogram of 1 to 1000 milliseconds, each recorded once.
    fn thousand() -> Histogram<3> {
        let mut histogram = Histogram::default();
        (1..=1000).for_each(|ms| histogram.record(ms * 1_000_000, 1));
        histogram
    }

    fn close(value: u64, wanted: u64) -> bool {
        value.abs_diff(wanted) * 1000 <= wanted
    }

    #[test]
    fn percentiles_match_known_input() {
        let found = thousand().percentiles();
        assert!(close(found.p50, 500_000), "{found:?}");
        assert!(close(found.p90, 900_000), "{found:?}");
        assert!(close(found.p99, 990_000), "{found:?}");
        assert!(close(found.p999, 999_000), "{found:?}");
        assert!(close(found.max, 1_000_000), "{found:?}");
    }

    #[test]
    fn merging_and_serializing_keep_all_counts() {
        let mut both = thousand();
        both.add(&thousand());
        let text = serde_json::to_string(&both).unwrap();
        let back: Histogram<3> = serde_json::from_str(&text).unwrap();
        assert_eq!((back.count(), back.percentiles()), (2000, thousand().percentiles()));
        let empty: Histogram<3> = serde_json::from_str("\"\"").unwrap();
        assert_eq!((empty.count(), empty.percentiles()), (0, Percentiles::default()));
    }

    #[test]
    fn bucket_includes_its_bound() {
        let mut histogram = Histogram::<2>::default();
        assert!(histogram.bucket_counts(&[10, 100]).is_empty());
        for (us, count) in [(1, 1), (10, 2), (11, 4), (100, 8)] {
            histogram.record(us * 1000, count);
        }
        assert_eq!(histogram.bucket_counts(&[10, 100, 1000]), [3, 12]);
        histogram.record(5_000_000_000, 16);
        assert_eq!(histogram.bucket_counts(&[10, 100, 1000]), [3, 12, 0, 16]);
    }

    #[test]
    fn fraction_of_a_microsecond_counts_as_one() {
        let mut histogram = Histogram::<3>::default();
        histogram.record(1, 3);
        assert_eq!(histogram.percentiles(), Percentiles { p50: 1, p90: 1, p99: 1, p999: 1, max: 1 });
    }
}
