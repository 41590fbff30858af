//! The figures of the report that need no plot: cards, percentiles and the limit of the machine.

use std::fmt::Write as _;

use super::tables::{pairs, table};
use crate::format::{bytes, si, thousands};
use crate::histogram::Percentiles;
use crate::markup::escape;
use crate::outcome::Outcome;
use crate::table::if_recorded;

/// Returns the figures that matter most as cards.
pub(super) fn cards(outcome: &Outcome) -> String {
    let counters = &outcome.counters;
    let mut cards = Vec::new();
    if counters.sent > 0 && outcome.ended_in_warmup.is_none() {
        let wrong = counters.lost + counters.duplicated + counters.misordered + counters.corrupt;
        let latency = |us: u64| if_recorded(&outcome.latency_us, us);
        cards.push(("deliveries per second", si(outcome.deliveries_per_second)));
        cards.push(("latency p50", latency(outcome.latency_us.p50)));
        cards.push(("latency p99", latency(outcome.latency_us.p99)));
        cards.push(("lost or wrong deliveries", thousands(wrong)));
        if counters.told_missing > 0 {
            cards.push(("lines told as missing", thousands(counters.told_missing)));
        }
        if let Some(returns) = &outcome.returns {
            cards.push(("members that came back", thousands(counters.returned)));
            cards.push(("joining again p99", if_recorded(&returns.join_us, returns.join_us.p99)));
        }
        if counters.slow_members > 0 {
            cards.push(("deliveries skipped for slow members", thousands(counters.slow_skipped)));
            cards.push(("slow members closed", thousands(counters.slow_closed)));
        }
    } else {
        cards.push(("connections", thousands(counters.joined)));
        cards.push(("joins per second", si(outcome.join.per_second)));
    }
    if let Some(server) = &outcome.server {
        if counters.window_delivered > 0 {
            cards.push(("server CPU per delivery", format!("{} ns", si(server.cpu_ns_per_delivery))));
        }
        cards.push(("memory per connection", bytes(server.rss_bytes_per_connection)));
    }
    let mut html = "<div class=\"cards\">".to_owned();
    for (name, value) in cards {
        // Writing to a string cannot fail.
        let _ = write!(html, "<div><b>{}</b><span>{name}</span></div>", escape(&value));
    }
    html + "</div>\n"
}

/// Returns a table of named percentiles. A row without any duration has dashes.
#[must_use]
pub fn percentile_table(rows: &[(&str, &Percentiles)]) -> String {
    let row = |(name, found): &(&str, &Percentiles)| -> Vec<String> {
        let figures = [found.p50, found.p90, found.p99, found.p999, found.max].map(|us| if_recorded(found, us));
        std::iter::once((*name).to_owned()).chain(figures).collect()
    };
    table(&["", "p50", "p90", "p99", "p99.9", "max"], &rows.iter().map(row).collect::<Vec<_>>())
}

/// Returns the cost of bare writes on the same machine beside the server's, where it was measured.
pub(super) fn limit_section(outcome: &Outcome) -> String {
    let Some(limit) = &outcome.limit else { return String::new() };
    let mut rows = vec![
        ("bare writes, deliveries per second", si(limit.deliveries_per_second)),
        ("bare writes, CPU per delivery", format!("{} ns", si(limit.cpu_ns_per_delivery))),
    ];
    if let Some(server) = &outcome.server {
        rows.push(("server, deliveries per second", si(outcome.deliveries_per_second)));
        rows.push(("server, CPU per delivery", format!("{} ns", si(server.cpu_ns_per_delivery))));
    }
    if let Some(distance) = limit.distance {
        rows.push(("server's cost divided by that of bare writes", format!("{distance:.2}")));
    }
    format!(
        "<h2>Limit of the machine</h2>\n{}<p class=\"note\">Bare writes of {} lines of {} bytes to {} sockets, by one \
         thread and without a server, measured after the run.</p>\n",
        pairs(&rows),
        limit.lines_per_write,
        limit.line_bytes,
        limit.sockets
    )
}
