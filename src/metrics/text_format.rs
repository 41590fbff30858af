//! The text format 0.0.4 of Prometheus: metric families with their help, type and samples.
//!
//! The format is described at <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use crate::metrics::histogram::{HistogramSums, Scale};
use std::fmt::{self, Display, Write};

/// The content type of the text. Prometheus 3 refuses an answer without it.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// One label of a sample: its name and its value.
pub(crate) type Label<'a> = (&'a str, &'a str);

/// Metric families as text.
#[derive(Debug, Default)]
pub(crate) struct MetricsText(String);

/// A family whose help and type are written, and to which samples are added.
#[derive(Debug)]
pub(crate) struct Family<'a> {
    text: &'a mut MetricsText,
    name: &'a str,
}

impl MetricsText {
    /// Begins a family of counters. `help` is one sentence.
    pub(crate) fn counters<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, help, "counter")
    }

    /// Begins a family of gauges.
    pub(crate) fn gauges<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, help, "gauge")
    }

    /// Writes a counter without labels.
    pub(crate) fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.counters(name, help).sample(&[], value);
    }

    /// Writes a gauge without labels.
    pub(crate) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.gauges(name, help).sample(&[], value);
    }

    /// Writes a histogram: its buckets, which count all smaller observations, too, its sum and its count.
    pub(crate) fn histogram(&mut self, name: &str, help: &str, (scale, sums): (&Scale, &HistogramSums)) {
        self.family(name, help, "histogram");
        let cumulative = sums.cumulative();
        for (bound, count) in scale.bounds.iter().zip(cumulative) {
            self.line(name, "_bucket", &[("le", &in_shown_unit(*bound, scale).to_string())], count);
        }
        self.line(name, "_bucket", &[("le", "+Inf")], sums.count());
        self.line(name, "_sum", &[], in_shown_unit(sums.sum, scale));
        self.line(name, "_count", &[], sums.count());
    }

    /// Returns the text.
    pub(crate) fn into_string(self) -> String {
        self.0
    }

    /// Writes the help and the type of a family, once.
    fn family<'a>(&'a mut self, name: &'a str, help: &str, kind: &str) -> Family<'a> {
        self.write(format_args!("# HELP {name} {}\n# TYPE {name} {kind}\n", Escaped { text: help, quotes: false }));
        Family { text: self, name }
    }

    /// Writes one sample.
    fn line(&mut self, name: &str, suffix: &str, labels: &[Label<'_>], value: impl Display) {
        self.write(format_args!("{name}{suffix}"));
        for (index, (label, value)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            self.write(format_args!("{before}{label}=\"{}\"", Escaped { text: value, quotes: true }));
        }
        self.write(format_args!("{} {value}\n", if labels.is_empty() { "" } else { "}" }));
    }

    fn write(&mut self, text: fmt::Arguments<'_>) {
        // A String takes any text.
        let _ = self.0.write_fmt(text);
    }
}

impl Family<'_> {
    /// Adds a sample with these labels.
    pub(crate) fn sample(&mut self, labels: &[Label<'_>], value: impl Display) -> &mut Self {
        self.text.line(self.name, "", labels, value);
        self
    }
}

/// Returns a number of observed units in the unit in which the histogram is shown.
#[expect(clippy::cast_precision_loss, reason = "a sum of more than 2^53 nanoseconds needs no exact nanosecond")]
fn in_shown_unit(value: u64, scale: &Scale) -> f64 {
    value as f64 / scale.units as f64
}

/// A number that may be infinite, as the format writes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number(pub(crate) f64);

impl Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == f64::INFINITY { f.write_str("+Inf") } else { self.0.fmt(f) }
    }
}

/// A text with the escapes of the format: of a backslash and a line feed, and of a quote in a label's value.
struct Escaped<'a> {
    text: &'a str,
    quotes: bool,
}

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.chars().try_for_each(|char| match char {
            '\\' => f.write_str("\\\\"),
            '\n' => f.write_str("\\n"),
            '"' if self.quotes => f.write_str("\\\""),
            _ => f.write_char(char),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::histogram::{BOUNDS, HistogramShard};

    fn text(write: impl FnOnce(&mut MetricsText)) -> String {
        let mut text = MetricsText::default();
        write(&mut text);
        text.into_string()
    }

    #[test]
    fn family_has_its_help_and_type_once_and_each_sample_on_a_line() {
        let written = text(|text| {
            text.counters("closes_total", "Closed connections.").sample(&[("reason", "eof")], 3).sample(&[], 4);
            text.gauge("rooms", "Rooms now.", 2);
        });
        assert_eq!(
            written,
            "# HELP closes_total Closed connections.\n# TYPE closes_total counter\ncloses_total{reason=\"eof\"} 3\n\
             closes_total 4\n# HELP rooms Rooms now.\n# TYPE rooms gauge\nrooms 2\n"
        );
    }

    #[test]
    fn labels_and_help_are_escaped() {
        let written = text(|text| {
            let labels = [("path", "a\"b\\c\nd"), ("listener", "unix:/tmp/é")];
            text.gauges("g", "A \"quote\", a \\ and\na line.").sample(&labels, 1);
        });
        let sample = r#"g{path="a\"b\\c\nd",listener="unix:/tmp/é"} 1"#;
        assert_eq!(written, format!("# HELP g A \"quote\", a \\\\ and\\na line.\n# TYPE g gauge\n{sample}\n"));
    }

    #[test]
    fn infinity_is_written_as_prometheus_reads_it() {
        assert!(text(|text| text.gauge("limit", "A limit.", Number(f64::INFINITY))).ends_with("limit +Inf\n"));
        assert!(text(|text| text.gauge("part", "A part.", Number(0.25))).ends_with("part 0.25\n"));
    }

    #[test]
    fn histogram_has_ascending_buckets_whose_last_one_is_the_count() {
        let scale = Scale { bounds: std::array::from_fn(|index| 50_000 << index), units: 1_000_000_000 };
        let (shard, mut sums) = (HistogramShard::default(), HistogramSums::default());
        for value in [1, 60_000, 70_000, 1 << 40] {
            shard.observe(&scale, value);
        }
        sums.add(&shard);
        let written = text(|text| text.histogram("h_seconds", "Seconds.", (&scale, &sums)));
        let lines: Vec<&str> = written.lines().collect();
        assert_eq!(lines[..2], ["# HELP h_seconds Seconds.", "# TYPE h_seconds histogram"]);
        assert_eq!(lines[2], "h_seconds_bucket{le=\"0.00005\"} 1");
        assert_eq!(lines[3], "h_seconds_bucket{le=\"0.0001\"} 3");
        let counts = lines[2..=BOUNDS + 2].iter().map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap());
        assert!(counts.is_sorted(), "{written}");
        let end = ["h_seconds_bucket{le=\"+Inf\"} 4", "h_seconds_sum 1099.511757777", "h_seconds_count 4"];
        assert_eq!(lines[BOUNDS + 2..], end);
    }
}
