//! The report of a run as one self-contained HTML page: verdict, figures, plots, parameters.
//!
//! The page opens without a network and runs no script. Its colors follow the reader's preference for dark or light.
//! Every text from outside, such as a refusal of the server or an argument, is escaped.

use std::fmt::Write as _;

use crate::format::{micros, thousands};
use crate::markup::escape;
use crate::outcome::Outcome;
use crate::plot;
use crate::slowest::SlowFigures;
use crate::table::{heading, render as render_table};
use crate::test_result::TestResult;
use crate::verdict::VerdictKind;

mod figures;
mod plots;
mod tables;
mod timeline;

pub use figures::percentile_table;
pub use tables::table;

/// The style of the page, apart from that of its plots.
const STYLE: &str = include_str!("style.css");
/// The rule by which a browser loads nothing and runs nothing for the page.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// Renders the page.
#[must_use]
pub fn render(result: &TestResult) -> String {
    let TestResult { outcome, verdict } = result;
    let work = heading(outcome);
    let mut body = String::new();
    let class = match verdict.kind {
        VerdictKind::Good => "good",
        VerdictKind::Wrong => "wrong",
        VerdictKind::Saturated | VerdictKind::Incomplete => "incomplete",
    };
    // Writing to a string cannot fail.
    let _ = writeln!(body, "<p class=\"work\">{}</p>", escape(&work));
    let _ = writeln!(body, "<p class=\"verdict {class}\">{}</p>", escape(&verdict.text));
    body.push_str(&figures::cards(outcome));
    body.push_str(&latency_section(outcome));
    body.push_str(&figures::limit_section(outcome));
    body.push_str(&timeline::section(outcome));
    body.push_str(&slowest_section(outcome));
    body.push_str(&plots::percentile_plot(outcome));
    body.push_str(&plots::step_section(&outcome.steps));
    let _ = writeln!(
        body,
        "<h2>All figures</h2>\n<details><summary>The table of the terminal</summary><pre>{}</pre></details>",
        escape(&render_table(result))
    );
    body.push_str(&tables::parameter_section(outcome));
    page(&outcome.scenario, &work, &body)
}

/// Renders a page with a title, a plot and a table of text.
#[must_use]
pub fn render_text(title: &str, text: &str, svg: &str) -> String {
    page(title, title, &format!("{}<pre>{}</pre>\n", plots::figure(svg), escape(text)))
}

/// Returns the whole page around a body.
fn page(heading: &str, title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <title>{}</title>\n<style>\n{STYLE}{}</style></head>\n<body><main>\n<h1>{}</h1>\n{body}</main></body></html>\n",
        escape(title),
        plot::STYLE,
        escape(heading)
    )
}

/// Returns the percentiles of latency beside those of the generator's own delays.
fn latency_section(outcome: &Outcome) -> String {
    if outcome.counters.sent == 0 || outcome.ended_in_warmup.is_some() {
        return String::new();
    }
    let mut rows = vec![
        ("latency", &outcome.latency_us),
        ("latency without own lag", &outcome.latency_without_lag_us),
        ("send lag of the generator", &outcome.send_lag_us),
        ("receive lag of the generator", &outcome.receive_lag_us),
        ("time until the socket had the line", &outcome.write_lag_us),
    ];
    if let Some(returns) = &outcome.returns {
        rows.push(("joining again", &returns.join_us));
        rows.push(("joining again without own lag", &returns.join_without_lag_us));
        rows.push(("absence", &returns.away_us));
    }
    format!("<h2>Latency and own lag</h2>\n{}", percentile_table(&rows))
}

/// Returns the rooms and members with the highest mean latency, which percentiles over all deliveries hide.
fn slowest_section(outcome: &Outcome) -> String {
    if outcome.worst_members.is_empty() {
        return String::new();
    }
    let row = |slow: &SlowFigures| {
        let member = slow.member.map_or("all".into(), |member| member.to_string());
        vec![slow.room.to_string(), member, thousands(slow.count), micros(slow.mean_us), micros(slow.max_us)]
    };
    let rows: Vec<Vec<String>> = outcome.worst_rooms.iter().chain(&outcome.worst_members).map(row).collect();
    let table = tables::table(&["room", "member", "deliveries", "mean", "max"], &rows);
    format!("<h2>Slowest rooms and members</h2>\n{table}")
}

#[cfg(test)]
mod tests;
