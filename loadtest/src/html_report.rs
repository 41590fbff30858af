//! The report of a run as one self-contained HTML page: verdict, figures, plots, parameters.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::Value;

use crate::format::{bytes, micros, si, thousands};
use crate::outcome::{Outcome, Step, TimelineSecond};
use crate::plot::{Axes, Axis, Series, chart};
use crate::table::{heading, render as render_table};
use crate::test_result::TestResult;
use crate::verdict::VerdictKind;

const STYLE: &str = include_str!("html_report.css");

/// Renders the page.
///
/// # Errors
/// Fails when a plot cannot be drawn.
pub fn render(result: &TestResult) -> Result<String> {
    let TestResult { outcome, verdict } = result;
    let title = escape(&heading(outcome));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>{STYLE}</style></head><body><main>\n<h1>{}</h1>\n<p class=\"work\">{title}</p>\n",
        escape(&outcome.scenario)
    );
    let class = match verdict.kind {
        VerdictKind::Good => "good",
        VerdictKind::Wrong => "wrong",
        VerdictKind::Saturated | VerdictKind::Unmeasured => "unmeasured",
    };
    // Writing to a string cannot fail.
    let _ = writeln!(page, "<p class=\"verdict {class}\">{}</p>", escape(&verdict.text));
    cards(&mut page, outcome);
    plots(&mut page, outcome)?;
    step_table(&mut page, &outcome.steps);
    let _ = writeln!(page, "<h2>All figures</h2>\n<pre>{}</pre>", escape(&render_table(result)));
    parameter_table(&mut page, outcome);
    page.push_str("</main></body></html>\n");
    Ok(page)
}

/// Renders a page with a title, a plot and a table of text.
#[must_use]
pub fn render_text(title: &str, table: &str, svg: &str) -> String {
    let (title, table) = (escape(title), escape(table));
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style></head>\
         <body><main>\n<h1>{title}</h1>\n{svg}\n<pre>{table}</pre>\n</main></body></html>\n"
    )
}

/// Adds the most important figures.
fn cards(page: &mut String, outcome: &Outcome) {
    let counters = &outcome.counters;
    let mut cards = Vec::new();
    if counters.sent > 0 && outcome.ended_in_warmup.is_none() {
        cards.push(("deliveries a second", si(outcome.deliveries_per_second)));
        cards.push(("latency p50", micros(outcome.latency_us.p50)));
        cards.push(("latency p99", micros(outcome.latency_us.p99)));
        cards.push(("lost, twice, disordered", thousands(counters.lost + counters.duplicated + counters.misordered)));
    } else {
        cards.push(("connections", thousands(counters.joined)));
        cards.push(("joins a second", si(outcome.join.per_second)));
    }
    if let Some(server) = &outcome.server {
        if counters.window_delivered > 0 {
            cards.push(("server CPU a delivery", format!("{} ns", si(server.cpu_ns_per_delivery))));
        }
        cards.push(("memory a connection", bytes(server.rss_bytes_per_connection)));
    }
    page.push_str("<div class=\"cards\">");
    for (name, value) in cards {
        let _ = write!(page, "<div><b>{}</b><span>{name}</span></div>", escape(&value));
    }
    page.push_str("</div>\n");
}

fn plots(page: &mut String, outcome: &Outcome) -> Result<()> {
    if outcome.steps.len() > 1 {
        let along = |value: fn(&Step) -> u64| -> Vec<(f64, f64)> {
            let point = |step: &Step| (step.deliveries_per_second, value(step) as f64 / 1e3);
            outcome.steps.iter().map(point).collect()
        };
        let p50 = Series { name: "p50".into(), points: along(|step| step.latency_us.p50) };
        let p99 = Series { name: "p99".into(), points: along(|step| step.latency_us.p99) };
        let (x, y) = (Axis::linear("deliveries a second", &si), Axis::logarithmic("ms", &si));
        let axes = Axes { title: "", x, y };
        figure(page, "Latency at each step", &chart(&axes, &[p50, p99])?);
    }
    if outcome.latency_curve.len() > 1 {
        let nines = |share: f64| -(1.0 - share).log10();
        let points = outcome.latency_curve.iter().map(|&(share, us)| (nines(share), us as f64 / 1e3)).collect();
        // Only whole numbers of nines have a label: 90%, 99%, 99.9%.
        let label = |nines: f64| {
            let whole = (nines - nines.round()).abs() < 1e-6;
            if whole { format!("{}%", trim_zeros(100.0 * (1.0 - 10_f64.powf(-nines)))) } else { String::new() }
        };
        let (x, y) = (Axis::linear("share of deliveries", &label), Axis::logarithmic("ms at most", &si));
        let axes = Axes { title: "", x, y };
        figure(page, "Latency by percentile", &chart(&axes, &[Series { name: "latency".into(), points }])?);
    }
    if outcome.timeline.len() > 1 {
        let label = |second: f64| if second.fract() == 0.0 { format!("{second:.0}") } else { String::new() };
        let over_time = |value: fn(&TimelineSecond) -> f64| -> Vec<(f64, f64)> {
            outcome.timeline.iter().enumerate().map(|(at, second)| (at as f64, value(second))).collect()
        };
        let points = over_time(|second| second.delivered as f64);
        let (x, y) = (Axis::linear("second", &label), Axis::linear("deliveries", &si));
        let axes = Axes { title: "", x, y };
        figure(page, "Deliveries in each second", &chart(&axes, &[Series { name: "deliveries".into(), points }])?);
        let p50 = Series { name: "p50".into(), points: over_time(|second| second.p50 as f64 / 1e3) };
        let p99 = Series { name: "p99".into(), points: over_time(|second| second.p99 as f64 / 1e3) };
        let axes = Axes { y: Axis::linear("ms", &si), ..axes };
        figure(page, "Latency in each second", &chart(&axes, &[p50, p99])?);
    }
    Ok(())
}

fn figure(page: &mut String, title: &str, svg: &str) {
    let _ = writeln!(page, "<h2>{title}</h2>\n<figure>{svg}</figure>");
}

fn step_table(page: &mut String, steps: &[Step]) {
    if steps.is_empty() {
        return;
    }
    page.push_str(
        "<h2>StepArgs</h2>\n<table><tr><th>connections<th>lines/s a room<th>deliveries/s<th>p50<th>p99\
         <th>server ns<th class=\"text\">result</tr>\n",
    );
    for step in steps {
        let cpu = step.cpu_ns_per_delivery.map_or("-".into(), si);
        let result = if step.problem.is_empty() { "good" } else { &step.problem };
        let _ = writeln!(
            page,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{cpu}<td class=\"text\">{}</tr>",
            thousands(step.connections),
            si(step.rate_per_room),
            si(step.deliveries_per_second),
            micros(step.latency_us.p50),
            micros(step.latency_us.p99),
            escape(result)
        );
    }
    page.push_str("</table>\n");
}

fn parameter_table(page: &mut String, outcome: &Outcome) {
    page.push_str("<h2>Parameters and machine</h2>\n<table class=\"pairs\">\n");
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(page, "<tr><th>{}<td class=\"text\">{}</tr>", escape(name), escape(value));
    };
    for (name, value) in outcome.parameters.iter().filter(|(_, value)| !value.is_null()) {
        let text = value.as_str().map_or_else(|| Value::to_string(value), ToOwned::to_owned);
        row(name, &text);
    }
    let machine = &outcome.machine;
    row("cores", &machine.cores.to_string());
    row("cpu", &machine.cpu);
    row("kernel", &machine.kernel);
    row("memory", &bytes(machine.memory_bytes as f64));
    row("loadtest", &outcome.version);
    page.push_str("</table>\n");
}

/// Returns a percentage without trailing zeros: 99, 99.9, 99.99.
fn trim_zeros(percent: f64) -> String {
    let text = format!("{percent:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
