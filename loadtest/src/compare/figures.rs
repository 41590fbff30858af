//! The figures that are compared, with the direction in which each is better.

use serde_json::Value;

use crate::format::{bytes, si};
use crate::output::figure;
use crate::plan::UsageError;

/// A figure of a result.
#[derive(Debug)]
pub struct Figure {
    /// The name in tables: a short name, or the path in the JSON of a result.
    pub name: &'static str,
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
pub static FIGURES: [Figure; 19] = [
    rate("deliveries/s"),
    duration("p50"),
    duration("p90"),
    duration("p99"),
    duration("p99.9"),
    duration("max"),
    rate("joins/s"),
    duration("join-p99"),
    duration("return-p50"),
    duration("return-p99"),
    cost("join-cpu", render_seconds),
    cost("ns/delivery", si),
    cost("server-cores", si),
    cost("rss", bytes),
    cost("rss/connection", bytes),
    Figure { higher_is_better: true, ..cost("lines/write", si) },
    cost("times-the-limit", si),
    cost("generator-ns/delivery", si),
    cost("lost", si),
];

/// Returns a figure of which higher values are faster.
const fn rate(name: &'static str) -> Figure {
    Figure { name, kind: Kind::Speed, higher_is_better: true, render: si }
}

/// Returns a figure in microseconds, of which lower values are faster.
const fn duration(name: &'static str) -> Figure {
    Figure { name, kind: Kind::Speed, higher_is_better: false, render: render_micros }
}

/// Returns an amount of which lower values are better.
const fn cost(name: &'static str, render: fn(f64) -> String) -> Figure {
    Figure { name, kind: Kind::Amount, higher_is_better: false, render }
}

impl Figure {
    /// Returns the figure's value in the JSON of a result, where that has one.
    #[must_use]
    pub fn value(&self, result: &Value) -> Option<f64> {
        figure::Figure::in_tables(self.name).value(result)
    }

    /// Returns whether an option means this figure by a name: every name that `--fail-if` takes is one.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        figure::Figure::find(name, &[]).is_ok_and(|found| found == figure::Figure::in_tables(self.name))
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

/// Checks that all names are names of compared figures.
///
/// # Errors
/// Names the first one that is not, and the names in the table.
pub fn check_names(names: &[String]) -> Result<(), UsageError> {
    let known = |name: &&String| FIGURES.iter().any(|figure| figure.is_named(name));
    match names.iter().find(|name| !known(name)) {
        None => Ok(()),
        Some(name) => {
            let all: Vec<&str> = FIGURES.iter().map(|figure| figure.name).collect();
            Err(UsageError::new(format!("--figures {name} is no figure of a comparison: use {}", all.join(", "))))
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
