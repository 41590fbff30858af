//! The comparison of two results of the same work.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Error, Result};
use serde_json::Value;

use crate::format::si;
use crate::plan::UsageError;
use crate::table::heading;
use crate::test_result::TestResult;
use crate::verdict::VerdictKind;

/// The parameters that define the work. The others describe the server and the generator.
const WORK: [&str; 15] = [
    "connections",
    "rooms",
    "senders",
    "size_bytes",
    "lines_per_second_per_room",
    "in_flight",
    "duration_seconds",
    "lines",
    "read_every_seconds",
    "until_p99_seconds",
    "raise",
    "more_percent",
    "first_lines_per_second_per_room",
    "first_connections",
    "first_rooms",
];

/// The figures that are compared: their names, and their pointers into the JSON.
const FIGURES: [(&str, &str); 17] = [
    ("deliveries/s", "/deliveries_per_second"),
    ("latency p50 µs", "/latency_us/p50"),
    ("latency p90 µs", "/latency_us/p90"),
    ("latency p99 µs", "/latency_us/p99"),
    ("latency p99.9 µs", "/latency_us/p999"),
    ("latency max µs", "/latency_us/max"),
    ("joins/s", "/join/per_second"),
    ("join p99 µs", "/join/latency_us/p99"),
    ("join server CPU s", "/join/server_cpu_seconds"),
    ("server ns/delivery", "/server/cpu_ns_per_delivery"),
    ("server cores", "/server/cpu_share"),
    ("server RSS", "/server/rss_bytes"),
    ("RSS/connection", "/server/rss_bytes_per_connection"),
    ("lines/write", "/server/lines_per_write"),
    ("times the limit", "/limit/distance"),
    ("generator ns/del.", "/generator/cpu_ns_per_delivery"),
    ("lost", "/lost"),
];

/// Compares two files. Returns the text, and whether both results are good.
///
/// # Errors
/// Fails when a file cannot be read, or when the two results differ in a parameter of the work.
pub fn compare_files(first: &Path, second: &Path) -> Result<(String, bool)> {
    let (first, second) = (TestResult::read(first)?, TestResult::read(second)?);
    let good = [&first, &second].iter().all(|result| result.verdict.kind == VerdictKind::Good);
    Ok((compare(&first, &second)?, good))
}

/// Compares two results.
///
/// # Errors
/// Fails when the two results differ in a parameter of the work, and names it.
pub fn compare(first: &TestResult, second: &TestResult) -> Result<String> {
    if first.outcome.scenario != second.outcome.scenario {
        return Err(different_work(&format!("scenario is {} and {}", first.outcome.scenario, second.outcome.scenario)));
    }
    let value = |result: &TestResult, key: &str| result.outcome.parameters.get(key).cloned().unwrap_or(Value::Null);
    for key in WORK {
        let (a, b) = (value(first, key), value(second, key));
        // In `step`, these parameters are a result of the run.
        let reached =
            first.outcome.scenario == "step" && ["lines_per_second_per_room", "connections", "rooms"].contains(&key);
        if a != b && !reached {
            return Err(different_work(&format!("{key} is {a} and {b}")));
        }
    }
    let mut text = format!("{}\n", heading(&first.outcome));
    for key in ["protocol", "threads", "processes"] {
        let (a, b) = (value(first, key), value(second, key));
        if a != b {
            let _ = writeln!(text, "  {key} differs: {a} and {b}");
        }
    }
    if first.outcome.machine != second.outcome.machine {
        text.push_str("  the machines differ: compare only ratios that were measured on one machine\n");
    }
    let _ = writeln!(text, "  {:<20} {:>12} {:>12} {:>8}", "", "first", "second", "ratio");
    for (name, result) in [("first", first), ("second", second)] {
        if result.verdict.kind != VerdictKind::Good {
            let _ = writeln!(text, "  the {name} result is not good: its figures measure nothing");
        }
    }
    let (a, b) = (serde_json::to_value(first)?, serde_json::to_value(second)?);
    for (name, pointer) in FIGURES {
        let figure = |value: &Value| value.pointer(pointer).and_then(Value::as_f64);
        if let (Some(a), Some(b)) = (figure(&a), figure(&b))
            && (a != 0.0 || b != 0.0)
        {
            let ratio = if a == 0.0 { "-".into() } else { format!("{:.3}", b / a) };
            let _ = writeln!(text, "  {name:<20} {:>12} {:>12} {ratio:>8}", si(a), si(b));
        }
    }
    let _ = writeln!(text, "  first:  {}\n  second: {}", first.verdict.text, second.verdict.text);
    Ok(text)
}

fn different_work(what: &str) -> Error {
    UsageError::new(format!("different work cannot be compared: {what}")).into()
}
