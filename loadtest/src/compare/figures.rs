//! The figures that are compared, with the direction in which each is better.

use serde_json::Value;

use crate::format::{bytes, si};
use crate::plan::UsageError;

/// A figure of a result.
#[derive(Debug)]
pub struct Figure {
    /// The name in tables and in `--figures`.
    pub name: &'static str,
    /// The pointer into the JSON of a result.
    pointer: &'static str,
    /// The words for a difference.
    kind: Kind,
    /// Whether a higher value is better.
    pub higher_is_better: bool,
    /// Renders a value with its unit.
    pub render: fn(f64) -> String,
}

/// The kinds of figures, by the words for a difference.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A rate or a duration: faster or slower.
    Speed,
    /// An amount: more or less.
    Amount,
}

/// The figures in the order of the table's rows.
pub static FIGURES: [Figure; 17] = [
    rate("deliveries/s", "/deliveries_per_second"),
    duration("p50", "/latency_us/p50"),
    duration("p90", "/latency_us/p90"),
    duration("p99", "/latency_us/p99"),
    duration("p99.9", "/latency_us/p999"),
    duration("max", "/latency_us/max"),
    rate("joins/s", "/join/per_second"),
    duration("join-p99", "/join/latency_us/p99"),
    cost("join-cpu", "/join/server_cpu_seconds", render_seconds),
    cost("ns/delivery", "/server/cpu_ns_per_delivery", si),
    cost("server-cores", "/server/cpu_share", si),
    cost("rss", "/server/rss_bytes", bytes),
    cost("rss/connection", "/server/rss_bytes_per_connection", bytes),
    Figure { higher_is_better: true, ..cost("lines/write", "/server/lines_per_write", si) },
    cost("times-the-limit", "/limit/distance", si),
    cost("generator-ns/delivery", "/generator/cpu_ns_per_delivery", si),
    cost("lost", "/lost", si),
];

/// Returns a figure of which higher values are faster.
const fn rate(name: &'static str, pointer: &'static str) -> Figure {
    Figure { name, pointer, kind: Kind::Speed, higher_is_better: true, render: si }
}

/// Returns a figure in microseconds, of which lower values are faster.
const fn duration(name: &'static str, pointer: &'static str) -> Figure {
    Figure { name, pointer, kind: Kind::Speed, higher_is_better: false, render: render_micros }
}

/// Returns an amount of which lower values are better.
const fn cost(name: &'static str, pointer: &'static str, render: fn(f64) -> String) -> Figure {
    Figure { name, pointer, kind: Kind::Amount, higher_is_better: false, render }
}

impl Figure {
    /// Returns the figure's value in the JSON of a result, where that has one.
    #[must_use]
    pub fn value(&self, result: &Value) -> Option<f64> {
        result.pointer(self.pointer).and_then(Value::as_f64)
    }

    /// Returns the word for a second side whose value is `ratio` times the first one.
    #[must_use]
    pub fn word(&self, ratio: f64) -> &'static str {
        match (self.kind, ratio > 1.0) {
            (Kind::Speed, higher) if higher == self.higher_is_better => "faster",
            (Kind::Speed, _) => "slower",
            (Kind::Amount, true) => "more",
            (Kind::Amount, false) => "less",
        }
    }
}

/// Checks that all names are names of figures.
///
/// # Errors
/// Names the first one that is not, and the names that exist.
pub fn check_names(names: &[String]) -> Result<(), UsageError> {
    let known = |name: &&String| FIGURES.iter().any(|figure| figure.name == name.as_str());
    match names.iter().find(|name| !known(name)) {
        None => Ok(()),
        Some(name) => {
            let all: Vec<&str> = FIGURES.iter().map(|figure| figure.name).collect();
            Err(UsageError::new(format!("--figures {name} is not a figure: use {}", all.join(", "))))
        }
    }
}

fn render_seconds(seconds: f64) -> String {
    render_micros(seconds * 1e6)
}

fn render_micros(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{} µs", si(us)),
        us if us < 1e6 => format!("{} ms", si(us / 1e3)),
        us => format!("{} s", si(us / 1e6)),
    }
}
