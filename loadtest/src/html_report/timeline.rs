//! The timeline of the report: deliveries, latency and its distribution over time, as plots and as a table.

use super::plots::figure;
use super::tables::table;
use crate::format::{micros, micros_label, si};
use crate::outcome::Outcome;
use crate::plot::{Axes, Axis, Column, HeatMap, Series, chart, heat_map};
use crate::timeline::TimelineSecond;

/// The most stretches that the plots show: more of them cannot be told apart at the plots' width.
const MAX_STRETCHES: usize = 180;

/// One or more seconds that the plots show as one.
#[derive(Debug, PartialEq)]
struct Stretch {
    /// The first second, and the one after the last.
    span: (f64, f64),
    /// Deliveries per second.
    rate: f64,
    /// The highest median of the seconds; `None` where no latency was measured.
    p50: Option<u64>,
    /// The highest 99th percentile of the seconds.
    p99: Option<u64>,
    /// The number of latencies in each bucket.
    latency_buckets: Vec<u64>,
}

/// Returns the timeline, unless the run was shorter than two seconds.
pub(super) fn section(outcome: &Outcome) -> String {
    let seconds = &outcome.timeline;
    if seconds.len() < 2 {
        return String::new();
    }
    let stretches = stretches(seconds, MAX_STRETCHES);
    let length = stretches.first().map_or(1.0, |stretch| stretch.span.1 - stretch.span.0);
    let note = if length > 1.0 {
        format!(
            "<p class=\"note\">Each point stands for {length} seconds: their mean rate and highest percentiles.</p>\n"
        )
    } else {
        String::new()
    };
    let label = |second: f64| if second.fract() == 0.0 { format!("{second:.0}") } else { String::new() };
    let x = Axis::linear("time in seconds since the first line", &label).covering(0.0, seconds.len() as f64);
    let rate = chart(
        &Axes { title: "Deliveries over time", x, y: Axis::linear("deliveries per second", &si) },
        &[series("deliveries", &stretches, |stretch| Some(stretch.rate))],
    );
    let us = |value: Option<u64>| value.map(|us| us as f64);
    let latency = chart(
        &Axes { title: "Latency over time", x, y: Axis::logarithmic("latency", &micros_label) },
        &[series("p50", &stretches, |stretch| us(stretch.p50)), series("p99", &stretches, |stretch| us(stretch.p99))],
    );
    format!(
        "<h2>Timeline</h2>\n{note}{}{}{}<p class=\"note\">The warm-up is included. A second without a measured latency is a gap.</p>\n{}",
        figure(&rate),
        figure(&latency),
        heat_map_figure(outcome, x, &stretches),
        details(&stretches)
    )
}

/// Returns a series of one value of each stretch. A missing value is a gap.
fn series(name: &str, stretches: &[Stretch], value: impl Fn(&Stretch) -> Option<f64>) -> Series {
    let middle = |stretch: &Stretch| f64::midpoint(stretch.span.0, stretch.span.1);
    let points = stretches.iter().map(|stretch| (middle(stretch), value(stretch).unwrap_or(f64::NAN))).collect();
    Series { name: name.into(), points }
}

/// Returns the heat map; nothing for a result of a version that kept no buckets.
fn heat_map_figure(outcome: &Outcome, x: Axis<'_>, stretches: &[Stretch]) -> String {
    let bounds = &outcome.latency_bounds_us;
    if bounds.is_empty() || stretches.iter().all(|stretch| stretch.latency_buckets.is_empty()) {
        return String::new();
    }
    let column = |stretch: &Stretch| Column { span: stretch.span, counts: stretch.latency_buckets.clone() };
    let y = Axis::logarithmic("latency", &micros_label);
    let map = HeatMap { title: "Share of the deliveries by latency over time", x, y, bounds };
    figure(&heat_map(&map, &stretches.iter().map(column).collect::<Vec<_>>()))
}

/// Returns the figures of the plots as a table that is folded at first.
fn details(stretches: &[Stretch]) -> String {
    let text = |us: Option<u64>| us.map_or("-".into(), micros);
    let time = |stretch: &Stretch| match stretch.span.1 - stretch.span.0 {
        length if length > 1.0 => format!("{:.0} to {:.0}", stretch.span.0, stretch.span.1),
        _ => format!("{:.0}", stretch.span.0),
    };
    let row = |stretch: &Stretch| vec![time(stretch), si(stretch.rate), text(stretch.p50), text(stretch.p99)];
    let rows: Vec<Vec<String>> = stretches.iter().map(row).collect();
    let table = table(&["second", "deliveries per second", "p50", "p99"], &rows);
    format!("<details><summary>The timeline as a table</summary>{table}</details>\n")
}

/// Divides seconds into at most `most` stretches of equal length. The last one may be shorter.
fn stretches(seconds: &[TimelineSecond], most: usize) -> Vec<Stretch> {
    let length = seconds.len().div_ceil(most).max(1);
    let stretch = |(index, part): (usize, &[TimelineSecond])| {
        let from = (index * length) as f64;
        let delivered: u64 = part.iter().map(|second| second.delivered).sum();
        let mut latency_buckets = Vec::new();
        for second in part {
            add_counts(&mut latency_buckets, &second.latency_buckets);
        }
        Stretch {
            span: (from, from + part.len() as f64),
            rate: delivered as f64 / part.len() as f64,
            p50: part.iter().filter_map(|second| second.p50).max(),
            p99: part.iter().filter_map(|second| second.p99).max(),
            latency_buckets,
        }
    };
    seconds.chunks(length).enumerate().map(stretch).collect()
}

/// Adds counts to a sum, element by element.
fn add_counts(sum: &mut Vec<u64>, more: &[u64]) {
    if more.len() > sum.len() {
        sum.resize(more.len(), 0);
    }
    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(delivered: u64, p99: Option<u64>, latency_buckets: &[u64]) -> TimelineSecond {
        TimelineSecond { delivered, p50: p99, p99, latency_buckets: latency_buckets.to_vec() }
    }

    #[test]
    fn stretch_has_the_mean_rate_the_highest_percentile_and_all_latencies() {
        let seconds =
            [second(10, Some(5), &[1]), second(20, None, &[]), second(30, Some(9), &[0, 3]), second(7, None, &[])];
        let found = stretches(&seconds, 2);
        assert_eq!((found.len(), found[0].span, found[1].span), (2, (0.0, 2.0), (2.0, 4.0)));
        assert_eq!((found[0].rate, found[0].p99), (15.0, Some(5)));
        assert_eq!(found[1].latency_buckets, [0, 3]);
        let whole = stretches(&seconds[..3], 1);
        assert_eq!((whole.len(), whole[0].p50, whole[0].latency_buckets.clone()), (1, Some(9), vec![1, 3]));
        assert_eq!(stretches(&seconds, 180).len(), 4, "a short run is shown second by second");
    }

    #[test]
    fn silent_second_is_a_gap_in_the_latency_and_no_zero() {
        let seconds = [second(10, Some(5), &[10]), second(0, None, &[]), second(10, Some(5), &[10])];
        let outcome = Outcome { timeline: seconds.to_vec(), latency_bounds_us: vec![1, 10, 100], ..Outcome::default() };
        let html = section(&outcome);
        assert_eq!(html.matches("<polyline").count(), 1, "only the deliveries have a line through all seconds");
        assert!(html.contains("p99: 2 points from 5 µs to 5 µs, 1 without a value."), "{html}");
        assert!(html.contains("3 columns, 1 without a value."), "{html}");
        assert!(html.contains("<tr><th>1</th><td>0</td><td>-</td><td>-</td></tr>"), "{html}");
    }

    #[test]
    fn timeline_needs_two_seconds_and_the_heat_map_needs_buckets() {
        let one = Outcome { timeline: vec![second(1, Some(5), &[1])], ..Outcome::default() };
        assert_eq!(section(&one), "");
        let old = Outcome { timeline: vec![second(1, Some(5), &[]), second(1, Some(5), &[])], ..Outcome::default() };
        assert_eq!(section(&old).matches("<svg").count(), 2);
    }
}
