//! A comparison as text for a terminal.

use std::fmt::Write as _;

use super::bootstrap::RESAMPLES;
use super::{Comparison, Row, Run};
use crate::format::thousands;
use crate::table::heading;

/// The number of runs on each side below which an interval is too rough to publish: the median of four values is drawn
/// from so few distinct ones that the interval is often too narrow.
pub(super) const MIN_PUBLISHED_RUNS: usize = 5;
/// The share of figures without a true difference that a 95 % interval marks as different.
const MARKED_BY_CHANCE: f64 = 0.05;

impl Comparison<'_> {
    /// Renders the comparison. Its last line is the verdict.
    #[must_use]
    pub fn render(&self) -> String {
        let [first, second] = self.sides;
        // Writing to a string cannot fail.
        let mut text = format!("{}\n", heading(&first[0].result.outcome));
        let _ = writeln!(text, "  first:  {}\n  second: {}", describe_side(first), describe_side(second));
        for note in &self.notes {
            let _ = writeln!(text, "  {note}");
        }
        let _ = writeln!(text, "  {}\n", self.describe_method());
        text.push_str(&render_line(["", "first", "second", "ratio", "95 % interval"], "the second side is"));
        for row in &self.rows {
            text.push_str(&self.render_row(row));
        }
        text.push('\n');
        for footnote in self.footnotes() {
            let _ = writeln!(text, "  {footnote}");
        }
        let _ = writeln!(text, "{}", self.verdict().0);
        text
    }

    /// Describes how the medians and intervals were computed.
    fn describe_method(&self) -> String {
        let [first, second] = self.sides.map(<[Run]>::len);
        if first.min(second) < 2 {
            return format!(
                "{first} and {second} runs: no intervals, since one run does not show how far chance moves a figure"
            );
        }
        let resamples = thousands(RESAMPLES as u64);
        let of_pairs = if self.paired { " of pairs" } else { "" };
        let intervals = format!("95 % intervals from {resamples} resamples{of_pairs}, seed {}", self.rules.seed);
        if self.paired {
            return format!("medians of {first} runs a side that took turns; {intervals}");
        }
        format!(
            "medians of {first} and {second} runs; {intervals}; the sides did not take turns, so a change of the machine \
             between their runs counts as a difference"
        )
    }

    fn render_row(&self, row: &Row) -> String {
        let [first, second] = row.medians.map(row.figure.render);
        let ratio = row.ratio.map_or("-".into(), |ratio| format!("{ratio:.3}"));
        let interval = row.interval.map_or(String::new(), |bounds| format!("{:.3} to {:.3}", bounds.low, bounds.high));
        let mut difference = row.describe_difference();
        if row.counts != self.sides.map(<[Run]>::len) {
            let _ = write!(difference, " [from {} and {} runs]", row.counts[0], row.counts[1]);
        }
        render_line([row.figure.name, &first, &second, &ratio, &interval], &difference)
    }

    /// Returns the lines below the table: how far it can be relied on.
    fn footnotes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let compared = self.rows.iter().filter(|row| row.interval.is_some()).count();
        if compared > 0 {
            let by_chance = compared as f64 * MARKED_BY_CHANCE;
            notes.push(format!(
                "percentages are changes of the figure; of {compared} figures without a true difference about \
                 {by_chance:.1} would be marked anyway"
            ));
        }
        let runs = self.sides.map(<[Run]>::len).into_iter().min().unwrap_or(0);
        if (2..MIN_PUBLISHED_RUNS).contains(&runs) {
            notes.push(format!("{runs} runs a side: the intervals are too rough to publish; see --repeat"));
        }
        notes.extend(self.bad_runs().map(describe_bad_run));
        notes
    }
}

/// Returns the line of a run that is not good.
pub(super) fn describe_bad_run(run: &Run) -> String {
    format!("{}: {}", run.name, run.result.verdict.text)
}

/// Returns the names of the first and the last run, and the number of runs.
pub(super) fn describe_side(runs: &[Run]) -> String {
    match runs {
        [] => "no runs".into(),
        [run] => run.name.clone(),
        [first, .., last] => format!("{} runs, {} to {}", runs.len(), first.name, last.name),
    }
}

/// Renders five columns and a text.
fn render_line([name, first, second, ratio, interval]: [&str; 5], text: &str) -> String {
    let line = format!("  {name:<21} {first:>10} {second:>10} {ratio:>7}  {interval:<16} {text}");
    format!("{}\n", line.trim_end())
}
