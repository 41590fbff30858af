//! Results as a Markdown table: one row per name, with all rounds in each cell.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;

use crate::format::{bytes, micros, si, thousands};
use crate::outcome::Outcome;
use crate::table::heading;
use crate::test_result::{TestResult, split_run_number};
use crate::verdict::VerdictKind;

/// A column: its head, and the function that renders its cell. Cells without a figure are empty.
type Column = (&'static str, fn(&Outcome) -> String);

const COLUMNS: [Column; 9] = [
    ("deliveries/s", |outcome| if_sent(outcome, si(outcome.deliveries_per_second))),
    ("CPU a delivery", |outcome| {
        let ns = outcome.server.as_ref().map(|server| format!("{} ns", si(server.cpu_ns_per_delivery)));
        if_sent(outcome, ns.unwrap_or_default())
    }),
    ("lines/write", |outcome| {
        outcome.server.as_ref().and_then(|server| server.lines_per_write).map_or(String::new(), si)
    }),
    ("x bare writes", |outcome| {
        let distance = outcome.limit.as_ref().and_then(|limit| limit.distance);
        if_sent(outcome, distance.map_or(String::new(), |distance| format!("{distance:.2}")))
    }),
    ("p50", |outcome| if_sent(outcome, micros(outcome.latency_us.p50))),
    ("p99", |outcome| if_sent(outcome, micros(outcome.latency_us.p99))),
    ("CPU of all joins", |outcome| match outcome.join.server_cpu_seconds {
        Some(seconds) if outcome.counters.sent == 0 => format!("{seconds:.2} s"),
        _ => String::new(),
    }),
    ("RSS a connection", |outcome| {
        outcome.server.as_ref().map_or(String::new(), |server| bytes(server.rss_bytes_per_connection))
    }),
    ("lost, twice, disordered", |outcome| {
        let counters = &outcome.counters;
        if_sent(outcome, [counters.lost, counters.duplicated, counters.misordered].map(thousands).join(", "))
    }),
];

/// Renders files as a table: `redis-1.json` and `redis-2.json` are two rounds of the row `redis`.
///
/// # Errors
/// Fails when a file cannot be read.
pub fn render_files(paths: &[PathBuf]) -> Result<String> {
    let mut rows: BTreeMap<String, Vec<TestResult>> = BTreeMap::new();
    for path in paths {
        rows.entry(split_run_number(path).0).or_default().push(TestResult::read(path)?);
    }
    let filled = |column: &&Column| rows.values().flatten().any(|result| !column.1(&result.outcome).is_empty());
    let columns: Vec<&Column> = COLUMNS.iter().filter(filled).collect();
    let mut text = String::new();
    if let Some(first) = rows.values().flatten().next() {
        let work = heading(&first.outcome);
        let work = work.rsplit_once(" (").map_or(work.as_str(), |(work, _)| work);
        let _ = writeln!(text, "{work}\n");
    }
    let heads: Vec<&str> = columns.iter().map(|column| column.0).collect();
    let _ = writeln!(text, "| | {} |\n|---|{}", heads.join(" | "), "---:|".repeat(heads.len()));
    for (name, rounds) in &rows {
        let cell =
            |column: &&Column| rounds.iter().map(|result| render_cell(result, column)).collect::<Vec<_>>().join(" / ");
        let _ = writeln!(text, "| {name} | {} |", columns.iter().map(cell).collect::<Vec<_>>().join(" | "));
    }
    Ok(text)
}

/// Renders a cell: its figure, followed by the verdict where that is not good.
fn render_cell(result: &TestResult, column: &Column) -> String {
    let figure = column.1(&result.outcome);
    match result.verdict.kind {
        VerdictKind::Good => figure,
        VerdictKind::Incomplete => "incomplete".into(),
        _ if figure.is_empty() => figure,
        VerdictKind::Wrong => figure + " (wrong)",
        VerdictKind::Saturated => figure + " (saturated)",
    }
}

fn if_sent(outcome: &Outcome, text: String) -> String {
    if outcome.counters.sent > 0 { text } else { String::new() }
}
