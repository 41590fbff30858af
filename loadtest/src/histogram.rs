//! HDR histograms of durations from 1 microsecond to 1 hour, and the figures that reports show of them.

use std::fmt;
use std::str::FromStr;

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

/// The figures of a histogram that reports show, in microseconds. Without a recorded duration all of them are 0 here and
/// null in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(from = "PercentilesJson", into = "PercentilesJson")]
pub struct Percentiles {
    /// The number of recorded durations.
    pub count: u64,
    /// The minimum.
    pub min: u64,
    /// The mean, with a resolution of a thousandth.
    pub mean: f64,
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

/// The JSON form of [`Percentiles`]: every figure but the count is null where no duration was recorded.
#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Percentiles"))]
struct PercentilesJson {
    /// The number of recorded durations.
    count: u64,
    /// The minimum in microseconds.
    min: Option<u64>,
    /// The mean in microseconds.
    mean: Option<f64>,
    /// The median in microseconds.
    p50: Option<u64>,
    /// The 90th percentile in microseconds.
    p90: Option<u64>,
    /// The 99th percentile in microseconds.
    p99: Option<u64>,
    /// The 99.9th percentile in microseconds.
    p999: Option<u64>,
    /// The maximum in microseconds.
    max: Option<u64>,
}

impl From<Percentiles> for PercentilesJson {
    fn from(figures: Percentiles) -> Self {
        let recorded = |figure: u64| (figures.count > 0).then_some(figure);
        Self {
            count: figures.count,
            min: recorded(figures.min),
            mean: (figures.count > 0).then_some(figures.mean),
            p50: recorded(figures.p50),
            p90: recorded(figures.p90),
            p99: recorded(figures.p99),
            p999: recorded(figures.p999),
            max: recorded(figures.max),
        }
    }
}

impl From<PercentilesJson> for Percentiles {
    fn from(json: PercentilesJson) -> Self {
        Self {
            count: json.count,
            min: json.min.unwrap_or(0),
            mean: json.mean.unwrap_or(0.0),
            p50: json.p50.unwrap_or(0),
            p90: json.p90.unwrap_or(0),
            p99: json.p99.unwrap_or(0),
            p999: json.p999.unwrap_or(0),
            max: json.max.unwrap_or(0),
        }
    }
}

/// A share of all recorded durations: 0.99 for the 99th percentile.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Quantile(f64);

/// The quantiles that reports show where the options name no others.
pub const DEFAULT_QUANTILES: [Quantile; 4] = [Quantile(0.5), Quantile(0.9), Quantile(0.99), Quantile(0.999)];

/// A quantile and its value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct QuantileValue {
    /// The share of all durations that the value is not exceeded by.
    pub quantile: Quantile,
    /// The value in microseconds; null where no duration was recorded.
    pub value_us: Option<u64>,
}

impl FromStr for Quantile {
    type Err = String;

    /// Parses a percentage: `99.9`.
    fn from_str(text: &str) -> Result<Self, String> {
        let usage = || format!("`{text}` is no percentage between 0 and 100, like 99.9");
        let percent: f64 = text.trim().parse().map_err(|_| usage())?;
        // The exponent keeps the decimal digits: 99.9 divided by 100 is not the number nearest to 0.999.
        let share: f64 = format!("{percent}e-2").parse().map_err(|_| usage())?;
        if (0.0..=1.0).contains(&share) { Ok(Self(share)) } else { Err(usage()) }
    }
}

/// Shows the percentage: `p99.9`.
impl fmt::Display for Quantile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.6}", self.0 * 100.0);
        write!(formatter, "p{}", text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl<const DIGITS: u8> Histogram<DIGITS> {
    /// A histogram without a recorded duration.
    pub const EMPTY: Self = Self(None);

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

    /// Returns the values of quantiles.
    #[must_use]
    pub fn quantile_values(&self, quantiles: &[Quantile]) -> Vec<QuantileValue> {
        let value = |quantile: &Quantile| QuantileValue {
            quantile: *quantile,
            value_us: (self.count() > 0).then(|| self.quantile(quantile.0)),
        };
        quantiles.iter().map(value).collect()
    }

    /// Returns the histogram of the crate `hdrhistogram`; `None` where no duration was recorded.
    pub(crate) fn recorded(&self) -> Option<&hdrhistogram::Histogram<u64>> {
        self.0.as_ref().filter(|histogram| !histogram.is_empty())
    }

    /// Returns the figures that reports show.
    #[must_use]
    pub fn percentiles(&self) -> Percentiles {
        Percentiles {
            count: self.count(),
            min: self.0.as_ref().map_or(0, hdrhistogram::Histogram::min),
            mean: self.0.as_ref().map_or(0.0, |histogram| (histogram.mean() * 1e3).round() / 1e3),
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
        assert_eq!(back.percentiles(), Percentiles { count: 2000, ..thousand().percentiles() });
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
        let ones = Percentiles { count: 3, min: 1, mean: 1.0, p50: 1, p90: 1, p99: 1, p999: 1, max: 1 };
        assert_eq!(histogram.percentiles(), ones);
    }

    #[test]
    fn count_minimum_and_mean_stand_beside_the_percentiles() {
        let found = thousand().percentiles();
        assert_eq!(found.count, 1000);
        assert!(close(found.min, 1000) && (found.mean - 500_500.0).abs() < 501.0, "{found:?}");
    }

    #[test]
    fn unmeasured_percentiles_are_null_in_json() {
        let json = serde_json::to_value(Percentiles::default()).unwrap();
        assert_eq!(json["count"], 0);
        for figure in ["min", "mean", "p50", "p90", "p99", "p999", "max"] {
            assert!(json[figure].is_null(), "{figure} of {json}");
        }
        assert_eq!(serde_json::from_value::<Percentiles>(json).unwrap(), Percentiles::default());
        let measured = thousand().percentiles();
        let json = serde_json::to_value(measured).unwrap();
        assert_eq!(json["p99"], measured.p99);
        assert_eq!(serde_json::from_value::<Percentiles>(json).unwrap(), measured);
    }

    #[test]
    fn quantiles_are_parsed_as_percentages_and_shown_with_their_digits() {
        for (text, shown) in [("50", "p50"), ("99.9", "p99.9"), ("99.99", "p99.99"), ("0", "p0"), ("100", "p100")] {
            assert_eq!(text.parse::<Quantile>().unwrap().to_string(), shown);
        }
        assert_eq!("99.9".parse::<Quantile>(), Ok(Quantile(0.999)));
        for text in ["", "p99", "101", "-1", "NaN", "inf"] {
            assert!(text.parse::<Quantile>().is_err(), "{text}");
        }
    }

    #[test]
    fn value_of_a_quantile_is_null_without_a_duration() {
        let value = |histogram: &Histogram<3>| histogram.quantile_values(&[Quantile(0.999)])[0].value_us;
        assert_eq!(value(&Histogram::EMPTY), None);
        assert!(value(&thousand()).is_some_and(|us| close(us, 999_000)));
    }
}
