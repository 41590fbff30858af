//! The conditions of `--fail-if`: `p99>50ms` holds where the 99th percentile of latency is above 50 milliseconds.
//!
//! A condition is parsed with the other options, resolved before the run, and evaluated after it. One that holds gives
//! exit code 4.

use std::cmp::Ordering;
use std::str::FromStr;

use serde_json::Value;

use super::figure::{Figure, Unit};
use crate::histogram::Quantile;
use crate::plan::UsageError;

/// The exit code of a good run in which a condition holds.
pub const EXIT_CODE: u8 = 4;

/// The form that errors show.
const USAGE: &str = "a condition is a figure, an operator and a number, like p99>50ms or server.rss_bytes>=1GiB";

/// An operator: its text, and whether a condition holds with an order of the figure and the bound.
type Operator = (&'static str, fn(Ordering) -> bool);

/// The operators. An operator of two characters precedes the one that begins like it.
const OPERATORS: [Operator; 6] = [
    (">=", Ordering::is_ge),
    ("<=", Ordering::is_le),
    ("==", Ordering::is_eq),
    ("!=", Ordering::is_ne),
    (">", Ordering::is_gt),
    ("<", Ordering::is_lt),
];

/// The quantity of a number with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quantity {
    /// A time; the unit's size is in nanoseconds.
    Time,
    /// A number of bytes.
    Bytes,
    /// A percentage.
    Percentage,
    /// A number without a unit, which counts in the unit of the figure.
    Number,
}

/// A unit of a bound: its name, its quantity and its size.
type BoundUnit = (&'static str, Quantity, f64);

const UNITS: [BoundUnit; 14] = [
    ("", Quantity::Number, 1.0),
    ("k", Quantity::Number, 1e3),
    ("M", Quantity::Number, 1e6),
    ("%", Quantity::Percentage, 1.0),
    ("ns", Quantity::Time, 1.0),
    ("us", Quantity::Time, 1e3),
    ("µs", Quantity::Time, 1e3),
    ("μs", Quantity::Time, 1e3),
    ("ms", Quantity::Time, 1e6),
    ("s", Quantity::Time, 1e9),
    ("B", Quantity::Bytes, 1.0),
    ("KiB", Quantity::Bytes, 1024.0),
    ("MiB", Quantity::Bytes, 1_048_576.0),
    ("GiB", Quantity::Bytes, 1_073_741_824.0),
];

/// A condition as an option gives it.
#[derive(Clone, Debug)]
pub struct Condition {
    /// The whole text.
    text: String,
    /// The figure's name.
    name: String,
    /// The operator.
    operator: Operator,
    /// The bound's number and unit.
    bound: (f64, &'static BoundUnit),
}

/// A condition whose figure exists, with its bound in the figure's unit.
#[derive(Clone, Debug)]
pub struct ResolvedCondition {
    text: String,
    figure: Figure,
    holds: fn(Ordering) -> bool,
    bound: f64,
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let at = text.find(['<', '>', '=', '!']).ok_or(USAGE)?;
        let (name, rest) = text.split_at(at);
        let name = name.trim();
        let operator = OPERATORS.iter().find(|(operator, _)| rest.starts_with(operator));
        let operator = operator.filter(|_| !name.is_empty()).ok_or(USAGE)?;
        let bound = parse_bound(rest[operator.0.len()..].trim())?;
        Ok(Self { text: text.trim().into(), name: name.into(), operator: *operator, bound })
    }
}

/// Parses a number and its unit.
fn parse_bound(text: &str) -> Result<(f64, &'static BoundUnit), String> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit() && !".-+".contains(letter)).unwrap_or(text.len());
    let (number, unit) = (&text[..digits], text[digits..].trim());
    let number: f64 = number.parse().map_err(|_| format!("`{text}` is no number: {USAGE}"))?;
    let unit = UNITS.iter().find(|(name, _, _)| *name == unit).ok_or_else(|| {
        let names: Vec<&str> = UNITS.iter().map(|(name, _, _)| *name).filter(|name| !name.is_empty()).collect();
        format!("`{unit}` is no unit: the units are {}", names.join(" "))
    })?;
    Ok((number, unit))
}

impl Condition {
    /// Returns the condition with its figure and the bound in the figure's unit. `quantiles` are those that
    /// `--percentiles` names.
    ///
    /// # Errors
    /// Returns one line where no such figure exists, or where the bound has another quantity than the figure.
    pub fn resolve(&self, quantiles: &[Quantile]) -> Result<ResolvedCondition, UsageError> {
        let error = |why: String| UsageError::new(format!("--fail-if {}: {why}", self.text));
        let figure = Figure::find(&self.name, quantiles).map_err(error)?;
        let (number, (unit, quantity, size)) = self.bound;
        let size = match (quantity, figure.unit()) {
            (Quantity::Number, _) | (Quantity::Bytes, Unit::Bytes) | (Quantity::Time, Unit::Nanoseconds) => *size,
            (Quantity::Time, Unit::Microseconds) => size / 1e3,
            (Quantity::Time, Unit::Seconds) => size / 1e9,
            (Quantity::Percentage, Unit::Share) => 0.01,
            _ => return Err(error(format!("`{unit}` is no unit of {figure}"))),
        };
        Ok(ResolvedCondition { text: self.text.clone(), figure, holds: self.operator.1, bound: number * size })
    }
}

/// Resolves all conditions.
///
/// # Errors
/// Returns the error of the first condition that cannot be resolved.
pub fn resolve(conditions: &[Condition], quantiles: &[Quantile]) -> Result<Vec<ResolvedCondition>, UsageError> {
    conditions.iter().map(|condition| condition.resolve(quantiles)).collect()
}

impl ResolvedCondition {
    /// Returns one line where the condition holds for a result. A figure that was not measured breaks every bound.
    #[must_use]
    pub fn describe_if_broken(&self, result: &Value) -> Option<String> {
        let Self { text, figure, .. } = self;
        match figure.value(result) {
            None => Some(format!("--fail-if {text}: {figure} was not measured")),
            Some(value) if value.partial_cmp(&self.bound).is_some_and(self.holds) => {
                Some(format!("--fail-if {text}: {figure} is {}{}", shown(value), figure.unit()))
            }
            Some(_) => None,
        }
    }
}

/// Returns a number with at most three decimal digits.
fn shown(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Returns the line of a condition for a result with a 99th percentile of 50 ms, an RSS of 1 MiB and half a core.
    fn broken(text: &str) -> Option<String> {
        let condition: Condition = text.parse().unwrap();
        let result = json!({
            "lost": 3, "deliveries_per_second": 1500.25, "latency_us": {"p50": null, "p99": 50_000}, "window_seconds": 2.0,
            "server": {"rss_bytes": 1 << 20, "cpu_share": 0.5, "cpu_ns_per_delivery": 900},
        });
        condition.resolve(&[]).unwrap().describe_if_broken(&result)
    }

    #[test]
    fn condition_holds_by_its_operator() {
        for (text, holds) in [
            ("p99>50ms", false),
            ("p99>=50ms", true),
            ("p99<50ms", false),
            ("p99<=50ms", true),
            ("p99==50ms", true),
            ("p99!=50ms", false),
            ("p99 > 49.999ms", true),
        ] {
            assert_eq!(broken(text).is_some(), holds, "{text}");
        }
    }

    #[test]
    fn bound_is_converted_to_the_unit_of_its_figure() {
        for text in [
            "p99==50000",
            "p99==50000us",
            "p99==50000µs",
            "p99==0.05s",
            "p99==50k",
            "server.rss_bytes==1MiB",
            "rss_bytes==1024 KiB",
            "server.cpu_share==50%",
            "window_seconds==2000ms",
            "server.cpu_ns_per_delivery==0.9us",
            "lost==3",
            "deliveries_per_second==1500.25",
        ] {
            assert!(broken(text).is_some(), "{text}");
        }
    }

    #[test]
    fn broken_condition_names_figure_value_and_bound() {
        assert_eq!(broken("p99>=50ms").unwrap(), "--fail-if p99>=50ms: latency_us.p99 is 50000 µs");
        let rate = broken("deliveries_per_second<2k").unwrap();
        assert_eq!(rate, "--fail-if deliveries_per_second<2k: deliveries_per_second is 1500.25");
        assert_eq!(broken("p50<1us").unwrap(), "--fail-if p50<1us: latency_us.p50 was not measured");
    }

    #[test]
    fn malformed_condition_is_refused_in_one_line() {
        for (text, words) in [
            ("p99", "a condition is a figure"),
            (">5ms", "a condition is a figure"),
            ("p99=5ms", "a condition is a figure"),
            ("p99>", "`` is no number"),
            ("p99>fast", "`fast` is no number"),
            ("p99>5parsec", "`parsec` is no unit: the units are k M % ns us"),
            ("p99>>5", "`>5` is no number"),
        ] {
            let error = text.parse::<Condition>().unwrap_err();
            assert!(error.contains(words) && !error.contains('\n'), "{text}: {error}");
        }
    }

    #[test]
    fn condition_on_a_missing_figure_or_with_another_unit_is_refused() {
        let refused = |text: &str| text.parse::<Condition>().unwrap().resolve(&[]).unwrap_err().to_string();
        assert!(refused("latency>5ms").starts_with("--fail-if latency>5ms: `latency` is no figure of a result"));
        assert_eq!(refused("lost>5ms"), "--fail-if lost>5ms: `ms` is no unit of lost");
        assert_eq!(refused("p99>5KiB"), "--fail-if p99>5KiB: `KiB` is no unit of latency_us.p99");
        assert_eq!(refused("p99>5%"), "--fail-if p99>5%: `%` is no unit of latency_us.p99");
    }
}
