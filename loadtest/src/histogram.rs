//! Durations counted in an HDR histogram: microseconds, of which at least one is counted, up to an hour.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::serialization::{Serializer as _, V2Serializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::clock::Tick;

/// An hour: longer waits count as one.
const LONGEST_US: u64 = 3_600_000_000;

/// A histogram of durations that keeps `DIGITS` significant digits. Costs memory only once something is recorded.
#[derive(Clone, Debug, Default)]
pub struct Histogram<const DIGITS: u8>(Option<hdrhistogram::Histogram<u64>>);

/// The percentiles that a report shows, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Half of all were at most this.
    pub p50: u64,
    /// 9 in 10.
    pub p90: u64,
    /// 99 in 100.
    pub p99: u64,
    /// 999 in 1000.
    pub p999: u64,
    /// The longest.
    pub max: u64,
}

impl<const DIGITS: u8> Histogram<DIGITS> {
    /// Counts a duration `count` times.
    pub fn record(&mut self, duration: Tick, count: u64) {
        if self.0.is_none() {
            self.0 = hdrhistogram::Histogram::new_with_bounds(1, LONGEST_US, DIGITS).ok();
        }
        if let Some(histogram) = &mut self.0 {
            // Rounded up: a latency is never told better than it was.
            histogram.saturating_record_n(duration.div_ceil(1000), count);
        }
    }

    /// Counts all that another histogram counted.
    pub fn add(&mut self, other: &Self) {
        match (&mut self.0, &other.0) {
            // Both have the same bounds, so there is nothing that would not fit.
            (Some(ours), Some(theirs)) => _ = ours.add(theirs),
            (ours @ None, Some(theirs)) => *ours = Some(theirs.clone()),
            (_, None) => {}
        }
    }

    /// How many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, hdrhistogram::Histogram::len)
    }

    /// The duration in microseconds that a share (0.99) of all did not exceed.
    #[must_use]
    pub fn quantile(&self, share: f64) -> u64 {
        self.0.as_ref().map_or(0, |histogram| histogram.value_at_quantile(share))
    }

    /// Points for a plot, ever denser towards 1: a share, and the microseconds that it did not exceed.
    #[must_use]
    pub fn curve(&self) -> Vec<(f64, u64)> {
        let points = 60;
        let count = self.count();
        let shares = (0..=points).map(|point| 1.0 - 10_f64.powf(-f64::from(point) / 12.0));
        // Beyond one in `count` there is nothing to be told.
        let told = shares.take_while(|share| (1.0 - share) * count as f64 >= 1.0);
        told.map(|share| (share, self.quantile(share))).collect()
    }

    /// The usual percentiles.
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

/// The V2 encoding that all HDR histogram libraries share, in base64: what other tools can read, too.
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

    /// 1 to 1000 milliseconds, once each.
    fn thousand() -> Histogram<3> {
        let mut histogram = Histogram::default();
        (1..=1000).for_each(|ms| histogram.record(ms * 1_000_000, 1));
        histogram
    }

    fn close(value: u64, wanted: u64) -> bool {
        value.abs_diff(wanted) * 1000 <= wanted
    }

    #[test]
    fn percentiles_of_known_input() {
        let found = thousand().percentiles();
        assert!(close(found.p50, 500_000), "{found:?}");
        assert!(close(found.p90, 900_000), "{found:?}");
        assert!(close(found.p99, 990_000), "{found:?}");
        assert!(close(found.p999, 999_000), "{found:?}");
        assert!(close(found.max, 1_000_000), "{found:?}");
    }

    #[test]
    fn merging_and_serializing_keep_every_count() {
        let mut both = thousand();
        both.add(&thousand());
        let text = serde_json::to_string(&both).unwrap();
        let back: Histogram<3> = serde_json::from_str(&text).unwrap();
        assert_eq!((back.count(), back.percentiles()), (2000, thousand().percentiles()));
        let empty: Histogram<3> = serde_json::from_str("\"\"").unwrap();
        assert_eq!((empty.count(), empty.percentiles()), (0, Percentiles::default()));
    }

    #[test]
    fn a_fraction_of_a_microsecond_counts_as_one() {
        let mut histogram = Histogram::<3>::default();
        histogram.record(1, 3);
        assert_eq!(histogram.percentiles(), Percentiles { p50: 1, p90: 1, p99: 1, p999: 1, max: 1 });
    }
}
