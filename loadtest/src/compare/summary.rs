//! The summary of several runs of one side: medians with 95 % confidence intervals.

use std::fmt::Write as _;

use super::Run;
use super::bootstrap::{RESAMPLES, median, median_interval};
use super::figures::FIGURES;
use super::render::{MIN_PUBLISHED_RUNS, describe_bad_run, describe_side};
use crate::format::thousands;
use crate::table::heading;

/// Returns the exit code of several runs: 1 where lines were wrong in one of them, 3 where another one was not good.
#[must_use]
pub fn exit_code(runs: &[Run]) -> u8 {
    runs.iter().map(|run| run.result.verdict.exit_code()).filter(|&code| code != 0).min().unwrap_or(0)
}

/// Renders the median of each figure with its interval, and the extremes. The last line tells how many runs were good.
#[must_use]
pub fn render_medians(runs: &[Run], seed: u64) -> String {
    // Writing to a string cannot fail.
    let mut text = String::new();
    if let Some(first) = runs.first() {
        let _ = writeln!(text, "{}\n  {}", heading(&first.result.outcome), describe_side(runs));
    }
    let resamples = thousands(RESAMPLES as u64);
    let _ = writeln!(text, "  medians; 95 % intervals from {resamples} resamples, seed {seed}\n");
    text.push_str(&render_line(["", "median", "95 % interval", "lowest", "highest"]));
    for figure in &FIGURES {
        let values: Vec<f64> = runs.iter().filter_map(|run| run.value(figure)).collect();
        if values.iter().all(|&value| value == 0.0) {
            continue;
        }
        let interval = median_interval(&values, seed).map_or(String::new(), |bounds| {
            format!("{} to {}", (figure.render)(bounds.low), (figure.render)(bounds.high))
        });
        let (low, high) =
            values.iter().fold((f64::MAX, f64::MIN), |(low, high), &value| (value.min(low), value.max(high)));
        let [middle, low, high] = [median(&values), low, high].map(figure.render);
        text.push_str(&render_line([figure.name, &middle, &interval, &low, &high]));
    }
    text.push('\n');
    if (2..MIN_PUBLISHED_RUNS).contains(&runs.len()) {
        let _ = writeln!(text, "  {} runs: the intervals are too rough to publish", runs.len());
    }
    let bad: Vec<&Run> = runs.iter().filter(|run| !run.is_good()).collect();
    for run in &bad {
        let _ = writeln!(text, "  {}", describe_bad_run(run));
    }
    let verdict = match bad.len() {
        0 => format!("GOOD: all {} runs", runs.len()),
        bad => format!("NOT GOOD: {bad} of {} runs: their figures may not describe the server", runs.len()),
    };
    let _ = writeln!(text, "{verdict}");
    text
}

/// Renders five columns.
fn render_line([name, median, interval, low, high]: [&str; 5]) -> String {
    let line = format!("  {name:<21} {median:>10}  {interval:<22} {low:>10} {high:>10}");
    format!("{}\n", line.trim_end())
}
