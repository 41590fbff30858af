//! The plots of the report that do not show time: latency by percentile, and the steps of `step`.

use super::tables::table;
use crate::format::{micros, micros_label, si, thousands};
use crate::outcome::{Outcome, Step};
use crate::plot::{Axes, Axis, Series, chart};

/// Returns a plot of the report.
pub(super) fn figure(svg: &str) -> String {
    format!("<figure>{svg}</figure>\n")
}

/// Returns the latency that each share of the deliveries does not exceed.
pub(super) fn percentile_plot(outcome: &Outcome) -> String {
    if outcome.latency_curve.len() < 2 {
        return String::new();
    }
    let nines = |share: f64| -(1.0 - share).log10();
    let points = outcome.latency_curve.iter().map(|&(share, us)| (nines(share), us as f64)).collect();
    // Only whole numbers of nines have a label: 90%, 99%, 99.9%.
    let label = |nines: f64| {
        let whole = (nines - nines.round()).abs() < 1e-6;
        if whole { format!("{}%", trim_zeros(100.0 * (1.0 - 10_f64.powf(-nines)))) } else { String::new() }
    };
    let (x, y) = (Axis::linear("share of deliveries", &label), Axis::logarithmic("latency at most", &micros_label));
    let axes = Axes { title: "Latency by percentile", x, y };
    format!("<h2>Distribution of latency</h2>\n{}", figure(&chart(&axes, &[Series { name: "latency".into(), points }])))
}

/// Returns the steps of `step` as a plot and a table.
pub(super) fn step_section(steps: &[Step]) -> String {
    if steps.is_empty() {
        return String::new();
    }
    let plot = if steps.len() > 1 { figure(&step_plot(steps)) } else { String::new() };
    let row = |(index, step): (usize, &Step)| {
        vec![
            (index + 1).to_string(),
            thousands(step.connections),
            si(step.rate_per_room),
            si(step.deliveries_per_second),
            micros(step.latency_us.p50),
            micros(step.latency_us.p99),
            step.cpu_ns_per_delivery.map_or("-".into(), |ns| format!("{} ns", si(ns))),
            if step.problem.is_empty() { "good".into() } else { step.problem.clone() },
        ]
    };
    let columns =
        ["step", "connections", "lines/s per room", "deliveries/s", "p50", "p99", "server CPU per delivery", "result"];
    let rows: Vec<Vec<String>> = steps.iter().enumerate().map(row).collect();
    format!("<h2>Steps</h2>\n{plot}{}", table(&columns, &rows))
}

fn step_plot(steps: &[Step]) -> String {
    let series = |name: &str, value: fn(&Step) -> u64| {
        let points = steps.iter().map(|step| (step.deliveries_per_second, value(step) as f64)).collect();
        Series { name: name.into(), points }
    };
    let (x, y) = (Axis::linear("deliveries per second", &si), Axis::logarithmic("latency", &micros_label));
    let axes = Axes { title: "Latency at each step", x, y };
    chart(&axes, &[series("p50", |step| step.latency_us.p50), series("p99", |step| step.latency_us.p99)])
}

/// Returns a percentage without trailing zeros: 99, 99.9, 99.99.
fn trim_zeros(percent: f64) -> String {
    let text = format!("{percent:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
