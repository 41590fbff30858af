//! The log format of HDR histograms, version 1.3, which `HistogramLogAnalyzer`, `HistogramLogProcessor` and the HDR
//! libraries of other languages read.
//!
//! A header gives the time of the first line. Each further line holds a tag, the start and the length of an interval in
//! seconds, the maximum, and the compressed histogram in microseconds. The lines with the tag `latency` cover one second
//! each. The line with the tag `send_lag` covers the measured window.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::clock::Tick;
use crate::metrics::Metrics;

/// One line of the log.
struct Interval<'a> {
    tag: &'static str,
    start: Duration,
    length: Duration,
    histogram: &'a Histogram<u64>,
}

/// Renders the log. `start` is the wall-clock time of the first line. An interval without a recorded duration has no
/// line.
///
/// # Errors
/// Fails when a histogram cannot be encoded.
pub fn render(metrics: &Metrics, start: SystemTime) -> Result<Vec<u8>> {
    let (mut log, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
    let mut writer = IntervalLogWriterBuilder::new()
        .add_comment("[Histogram log format version 1.3]")
        .add_comment("[Values are microseconds, written by loadtest]")
        .with_start_time(start)
        .with_base_time(start)
        .begin_log_with(&mut log, &mut serializer)?;
    for interval in intervals(metrics) {
        writer
            .write_histogram(interval.histogram, interval.start, interval.length, Tag::new(interval.tag))
            .context("cannot encode a histogram")?;
    }
    Ok(log)
}

/// Returns the intervals in the order of their starts, which readers expect.
fn intervals(metrics: &Metrics) -> Vec<Interval<'_>> {
    let second = Duration::from_secs(1);
    let mut intervals: Vec<Interval<'_>> = metrics
        .whole_seconds()
        .zip(0_u32..)
        .filter_map(|(metrics, at)| {
            let histogram = metrics.latency.recorded()?;
            Some(Interval { tag: "latency", start: second * at, length: second, histogram })
        })
        .collect();
    let since_start = |tick: Tick| Duration::from_nanos(tick.saturating_sub(metrics.start));
    if let Some(histogram) = metrics.send_lag.recorded() {
        let (start, end) = (since_start(metrics.window.0), since_start(metrics.window.1));
        intervals.push(Interval { tag: "send_lag", start, length: end.saturating_sub(start), histogram });
    }
    intervals.sort_by_key(|interval| interval.start);
    intervals
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::clock::SECOND;
    use crate::metrics::LineTimes;

    #[test]
    fn log_is_read_back_with_tags_times_and_counts() {
        let mut metrics = Metrics::default();
        metrics.set_window(SECOND, (2 * SECOND, 4 * SECOND));
        metrics.counters.sent = 10;
        metrics.record_deliveries(SECOND + 5_000_000, LineTimes { planned: SECOND, sent: SECOND }, 4, true);
        metrics.record_deliveries(3 * SECOND + 7_000_000, LineTimes { planned: 3 * SECOND, sent: 3 * SECOND }, 6, true);
        metrics.send_lag.record(9_000, 2);
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let log = render(&metrics, start).unwrap();
        let text = String::from_utf8(log.clone()).unwrap();
        assert!(text.starts_with("#[Histogram log format version 1.3]\n"), "{text}");
        assert!(text.contains("\n#[StartTime: 1800000000.000 (seconds since epoch)]\n"), "{text}");
        let mut found = Vec::new();
        for entry in IntervalLogIterator::new(&log) {
            let LogEntry::Interval(interval) = entry.unwrap() else { continue };
            let bytes = STANDARD.decode(interval.encoded_histogram()).unwrap();
            let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
            let times = (interval.start_timestamp().as_secs(), interval.duration().as_secs());
            found.push((interval.tag().unwrap().as_str().to_owned(), times, histogram.len(), histogram.max() / 100));
        }
        let wanted = [("latency", (0, 1), 4, 50), ("send_lag", (1, 2), 2, 0), ("latency", (2, 1), 6, 70)];
        assert_eq!(found, wanted.map(|(tag, times, count, max)| (tag.to_owned(), times, count, max)));
    }
}
