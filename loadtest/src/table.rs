//! The figures of a run as a table for a terminal.

use std::fmt::Write as _;

use crate::format::{bytes, micros, si, thousands};
use crate::histogram::{Percentiles, QuantileValue};
use crate::limit::Limit;
use crate::metrics::Counters;
use crate::outcome::{Outcome, PhaseFigures, ServerFigures, Step};
use crate::return_figures::ReturnFigures;
use crate::saturation::is_own_lag;
use crate::slow_closes::SlowCloses;
use crate::slowest::SlowFigures;
use crate::test_result::TestResult;
use crate::worker_pool::HostFigures;

/// Rows of a name and a text, under a heading.
#[derive(Debug, Default)]
struct Table(String);

impl Table {
    fn row(&mut self, name: &str, text: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "  {name:<13} {text}");
    }
}

/// Renders the whole table. Its last line is the verdict.
#[must_use]
pub fn render(result: &TestResult) -> String {
    let TestResult { outcome, verdict } = result;
    let mut table = Table::default();
    let _ = writeln!(table.0, "{}", heading(outcome));
    if let Some(arguments) = outcome.parameters.get("server_arguments").and_then(serde_json::Value::as_array) {
        let words: Vec<&str> = arguments.iter().filter_map(serde_json::Value::as_str).collect();
        let words = if words.is_empty() { "its default bounds".to_owned() } else { words.join(" ") };
        table.row("started with", &words);
    }
    let counters = &outcome.counters;
    phase_row(&mut table, "joined", &outcome.join);
    if counters.join_notices_expected > 0 {
        notices_row(&mut table, counters);
    }
    if counters.sent > 0 {
        sending_rows(&mut table, outcome);
    }
    if let Some(figures) = &outcome.returns {
        return_rows(&mut table, counters, figures);
    }
    if let Some(closes) = &outcome.slow_closes {
        slow_rows(&mut table, counters, closes);
    }
    if outcome.parameters.contains_key("servers") || counters.gap_notices + counters.split_notices > 0 {
        gap_row(&mut table, counters);
    }
    check_rows(&mut table, counters);
    phase_row(&mut table, "left", &outcome.leave);
    if let Some(figures) = &outcome.server {
        server_rows(&mut table, figures, outcome);
    }
    if counters.window_delivered > 0 {
        generator_rows(&mut table, outcome);
    }
    host_rows(&mut table, &outcome.hosts);
    if let Some(limit) = &outcome.limit {
        limit_rows(&mut table, limit);
    }
    step_rows(&mut table, &outcome.steps);
    let _ = writeln!(table.0, "{}", verdict.text);
    table.0
}

/// Returns a line that describes the run's scenario and parameters.
#[must_use]
pub fn heading(outcome: &Outcome) -> String {
    let value = |key: &str| {
        let value = outcome.parameters.get(key).filter(|value| !value.is_null() && **value != 0)?;
        Some(value.to_string().trim_end_matches(".0").to_owned())
    };
    let mut text = outcome.scenario.clone();
    let names =
        [("servers", " servers"), ("connections", " connections"), ("rooms", " rooms"), ("senders", " senders a room")];
    let parts = names.into_iter().filter_map(|(key, name)| value(key).map(|value| format!("{value}{name}")));
    let rest = [
        ("lines_per_second_per_room", " lines/s a room"),
        ("in_flight", " lines in flight a room"),
        ("size_bytes", " bytes a line"),
        ("duration_seconds", " s"),
        ("stay_seconds", " s a stay"),
        ("away_seconds", " s away"),
        ("every_seconds", " s between cuts"),
        ("jitter_seconds", " s jitter"),
        ("read_rate_bytes_per_second", " bytes/s read by a slow member"),
    ];
    let rest = rest.into_iter().filter_map(|(key, name)| value(key).map(|value| format!("{value}{name}")));
    text.push_str(": ");
    text.push_str(&parts.chain(rest).collect::<Vec<_>>().join(", "));
    if let Some(protocol) = outcome.parameters.get("protocol").and_then(|value| value.as_str()) {
        let _ = write!(text, " ({protocol})");
    }
    text
}

fn phase_row(table: &mut Table, name: &str, phase: &PhaseFigures) {
    if phase.count == 0 || phase.seconds == 0.0 {
        return;
    }
    let (count, rate) = (thousands(phase.count), si(phase.per_second));
    let mut text = format!("{count} in {:.2} s ({rate}/s)", phase.seconds);
    if phase.latency_us.count > 0 {
        let took = &phase.latency_us;
        let _ = write!(text, ", each p50 {} p99 {}", micros(took.p50), micros(took.p99));
    }
    if let Some(cpu) = phase.server_cpu_seconds {
        let _ = write!(text, ", server CPU {cpu:.2} s");
    }
    table.row(name, &text);
}

fn notices_row(table: &mut Table, counters: &Counters) {
    let (seen, expected) = (thousands(counters.join_notices), thousands(counters.join_notices_expected));
    let told = counters.leave_notices_expected.saturating_sub(counters.leave_notices_lost);
    let mut text = format!(
        "{seen} of {expected} joins, {} of {} expected leaves, {} leaves seen",
        thousands(told),
        thousands(counters.leave_notices_expected),
        thousands(counters.leave_notices)
    );
    if counters.untrue_notices > 0 {
        let _ = write!(text, ", {} untrue", thousands(counters.untrue_notices));
    }
    table.row("notices", &text);
}

fn sending_rows(table: &mut Table, outcome: &Outcome) {
    let counters = &outcome.counters;
    let (sent, expected, delivered) =
        (thousands(counters.sent), thousands(counters.expected), thousands(counters.delivered));
    let mut text = format!("{sent} sent, {expected} deliveries expected, {delivered} delivered");
    if counters.in_flight > 0 {
        let _ = write!(text, ", {} in flight at the end", thousands(counters.in_flight));
    }
    table.row("lines", &text);
    if let Some(seconds) = outcome.ended_in_warmup {
        return table.row("", &format!("ended in warm-up after {seconds:.1} s: nothing was measured"));
    }
    let (rate, volume) = (si(outcome.deliveries_per_second), bytes(outcome.bytes_per_second));
    table.row("throughput", &format!("{rate} deliveries/s, {volume}/s over {:.1} s", outcome.window_seconds));
    latency_rows(table, outcome);
    if outcome.parameters.get("read_every_seconds").and_then(serde_json::Value::as_f64).is_some_and(|every| every > 0.0)
    {
        let (sampled, all) = (thousands(counters.sampled_members), thousands(counters.members));
        table.row("", &format!("sampled at {sampled} of {all} members: see --read-every"));
    }
    if let Some(member) = outcome.worst_members.first() {
        let room = outcome.worst_rooms.first().map_or(String::new(), |room| format!("; {}", describe_slow(room)));
        table.row("slowest", &(describe_slow(member) + &room));
    }
}

/// Adds the quantiles that the options name, and the maximum, with and without the generator's own lag. A star marks each
/// one of which so much is own lag that it shows the generator.
fn latency_rows(table: &mut Table, outcome: &Outcome) {
    if outcome.latency_us.count == 0 {
        return table.row("latency", "not measured: no line that was planned within the window arrived");
    }
    let values = |quantiles: &[QuantileValue], max: u64| -> Vec<(String, u64)> {
        let named = quantiles.iter().map(|value| (value.quantile.to_string(), value.value_us.unwrap_or(0)));
        named.chain([("max".to_owned(), max)]).collect()
    };
    let with = values(&outcome.percentiles, outcome.latency_us.max);
    let without = values(&outcome.percentiles_without_lag, outcome.latency_without_lag_us.max);
    let is_own = |at: usize| without.get(at).is_some_and(|(_, without)| is_own_lag(with[at].1, *without));
    let text = |(at, (name, value)): (usize, &(String, u64))| {
        format!("{name} {}{}", micros(*value), if is_own(at) { "*" } else { "" })
    };
    table.row("latency", &with.iter().enumerate().map(text).collect::<Vec<_>>().join("  "));
    let text = |(name, value): &(String, u64)| format!("{name} {}", micros(*value));
    table.row("", &format!("{}  without own lag", without.iter().map(text).collect::<Vec<_>>().join("  ")));
    if (0..with.len()).any(is_own) {
        table.row("", "* too much of it is the generator's own lag");
    }
}

/// Adds the members that left and came back: how many, and how long joining again took.
fn return_rows(table: &mut Table, counters: &Counters, figures: &ReturnFigures) {
    let (left, returned) = (thousands(counters.departures), thousands(counters.returned));
    let (refused, taken) = (thousands(counters.connections_refused), thousands(counters.names_taken));
    table.row(
        "came back",
        &format!("{returned} of {left} that left; {refused} connections refused, {taken} names still taken"),
    );
    if figures.join_us.count > 0 {
        let text = |took: &Percentiles| {
            let [p50, p90, p99, max] = [took.p50, took.p90, took.p99, took.max].map(micros);
            format!("p50 {p50}  p90 {p90}  p99 {p99}  max {max}")
        };
        let (join, without) = (text(&figures.join_us), text(&figures.join_without_lag_us));
        table.row("joined again", &join);
        table.row("", &format!("{without}  without own lag"));
        table.row("was away", &text(&figures.away_us));
    }
    if counters.withheld > 0 {
        let lines = thousands(counters.withheld);
        table.row(
            "withheld",
            &format!("{lines} lines that were planned for a room without a sender, or while a cut was due"),
        );
    }
}

/// Adds the members that read slowly: what they received and missed, and why the server closed some.
fn slow_rows(table: &mut Table, counters: &Counters, closes: &SlowCloses) {
    let text = format!(
        "{} members, {} deliveries; {} skipped, and {} leave notices, with {} notices; {} members closed",
        thousands(counters.slow_members),
        thousands(counters.slow_delivered),
        thousands(counters.slow_skipped),
        thousands(counters.slow_leaves_skipped),
        thousands(counters.slow_skip_notices),
        thousands(counters.slow_closed)
    );
    table.row("slow readers", &text);
    if counters.slow_skipped + counters.slow_closed + counters.in_flight + counters.lost == 0 {
        table.row("", "none missed a line: the server's buffers held what they had not read");
    }
    for (reason, count) in closes.iter() {
        table.row("", &format!("{} closed: {reason}", thousands(count)));
    }
}

/// Adds what the servers that share the rooms told their members of missing lines and of splits.
fn gap_row(table: &mut Table, counters: &Counters) {
    let untrue = match counters.untrue_gaps {
        0 => String::new(),
        lines => format!(" ({} of them received)", thousands(lines)),
    };
    let text = format!(
        "{} lines told as missing{untrue} with {} notices; {} split notices",
        thousands(counters.told_missing),
        thousands(counters.gap_notices),
        thousands(counters.split_notices)
    );
    table.row("gaps", &text);
}

/// Describes the latency of a member, or of all members of a room.
fn describe_slow(slow: &SlowFigures) -> String {
    let member = slow.member.map_or(String::new(), |member| format!("member {member} of "));
    let (mean, max) = (micros(slow.mean_us), micros(slow.max_us));
    format!("{member}room {}: mean {mean} max {max}", slow.room)
}

fn check_rows(table: &mut Table, counters: &Counters) {
    table.row(
        "checks",
        &format!(
            "{} lost, {} duplicated, {} out of sender's order, {} out of room's order, {} corrupt",
            thousands(counters.lost),
            thousands(counters.duplicated),
            thousands(counters.misordered_sender),
            thousands(counters.misordered_room),
            thousands(counters.corrupt)
        ),
    );
    let untrue = match counters.untrue_skips {
        0 => String::new(),
        lines => format!(", {} of them received", thousands(lines)),
    };
    table.row(
        "troubles",
        &format!(
            "{} unexpected closes, {} ERROR lines, {} skip notices ({} lines{})",
            thousands(counters.closed),
            thousands(counters.errors),
            thousands(counters.skip_notices),
            thousands(counters.skipped),
            untrue
        ),
    );
}

fn server_rows(table: &mut Table, figures: &ServerFigures, outcome: &Outcome) {
    let (rss, each) = (bytes(figures.rss_bytes as f64), bytes(figures.rss_bytes_per_connection));
    let mut text = format!("RSS {rss}, {each} a connection");
    if outcome.window_seconds == 0.0 {
        return table.row("server", &text);
    }
    let _ = write!(text, "; CPU {:.2} s ({:.0} % of a core)", figures.cpu_seconds, figures.cpu_share * 100.0);
    if outcome.counters.window_delivered > 0 {
        let _ = write!(text, ", {} ns a delivery", si(figures.cpu_ns_per_delivery));
    }
    table.row("server", &text);
    let [slept, aside] = figures.context_switches;
    let mut text = format!("{} context switches ({} not asked for)", thousands(slept + aside), thousands(aside));
    if let Some(lines) = figures.lines_per_write {
        let _ = write!(text, ", {} lines a write", si(lines));
    }
    table.row("", &text);
}

fn generator_rows(table: &mut Table, outcome: &Outcome) {
    let figures = &outcome.generator;
    table.row(
        "generator",
        &format!(
            "CPU {:.2} s, {} ns a delivery, {} lines a read{}",
            figures.cpu_seconds,
            si(figures.cpu_ns_per_delivery),
            si(figures.lines_per_read),
            if figures.saturated { ": SATURATED" } else { "" }
        ),
    );
    table.row(
        "",
        &format!(
            "busiest thread {:.0} % busy, {:.0} % waiting for a CPU; sent late by p50 {} p99 {}, read late by p50 {} p99 {}",
            figures.cpu_share * 100.0,
            figures.waited_share * 100.0,
            if_recorded(&outcome.send_lag_us, outcome.send_lag_us.p50),
            if_recorded(&outcome.send_lag_us, outcome.send_lag_us.p99),
            if_recorded(&outcome.receive_lag_us, outcome.receive_lag_us.p50),
            if_recorded(&outcome.receive_lag_us, outcome.receive_lag_us.p99)
        ),
    );
}

/// Adds a row for each worker host: its part of the load, and the offset of its clock.
fn host_rows(table: &mut Table, hosts: &[HostFigures]) {
    for host in hosts {
        let (connections, threads) = (thousands(host.connections as u64), host.threads);
        let drift = host.drift_us.map_or("unknown".into(), |drift| format!("{drift:+.1} µs"));
        let (offset, error) = (host.offset_us / 1e6, host.error_us);
        let address = &host.address;
        table.row(
            "host",
            &format!(
                "{address}: {connections} connections, {threads} threads, clock {offset:+.6} s (error at most {error:.1} µs, \
                 drift {drift})"
            ),
        );
    }
}

/// Adds the cost of bare writes, and the ratio of the server's cost to it.
fn limit_rows(table: &mut Table, limit: &Limit) {
    table.row(
        "limit",
        &format!(
            "bare writes of {} lines of {} bytes to {} sockets:",
            limit.lines_per_write, limit.line_bytes, limit.sockets
        ),
    );
    let (cost, rate) = (si(limit.cpu_ns_per_delivery), si(limit.deliveries_per_second));
    let mut text = format!("{cost} ns a delivery, {rate} deliveries/s");
    match limit.distance {
        Some(distance) if distance < 1.0 => text.push_str("; the server costs no more than that, within the noise"),
        Some(distance) => _ = write!(text, "; the server costs {distance:.2} times that"),
        None => {}
    }
    table.row("", &text);
}

/// Renders the cost of bare writes alone.
#[must_use]
pub fn render_limit(limit: &Limit) -> String {
    let mut table = Table::default();
    limit_rows(&mut table, limit);
    table.0
}

/// Returns a figure of recorded durations as text, and a dash where none was recorded.
pub(crate) fn if_recorded(durations: &Percentiles, figure: u64) -> String {
    if durations.count > 0 { micros(figure) } else { "-".into() }
}

fn step_rows(table: &mut Table, steps: &[Step]) {
    for (at, step) in steps.iter().enumerate() {
        let rate = si(step.rate_per_room);
        let took = &step.latency_us;
        let (p50, p99) = (if_recorded(took, took.p50), if_recorded(took, took.p99));
        let cpu = step.cpu_ns_per_delivery.map_or(String::new(), |ns| format!("  {} ns", si(ns)));
        let good = if step.problem.is_empty() { "good" } else { &step.problem };
        let through = si(step.deliveries_per_second);
        let connections = thousands(step.connections);
        table.row(
            &format!("step {}", at + 1),
            &format!("{connections:>6} connections {rate:>8} lines/s  {through:>8} deliveries/s  p50 {p50:>8}  p99 {p99:>8}{cpu}  {good}"),
        );
    }
}
