//! The text of `/metrics`: every figure of the server under its name, read at the moment of the request.

use super::ServerStats;
use crate::cluster::Shared;
use crate::limits::memory::KERNEL_SEND_BUFFER;
use crate::metrics::counters::{Counters, MetricsDelta};
use crate::metrics::pass_histograms::{DELIVERY_LATENCY, LINES_PER_WRITE, MEMBERS, PASS_DURATION};
use crate::metrics::process::{ProcessFigures, ProcessStart};
use crate::metrics::text_format::{MetricsText, Number};
use std::time::Duration;

/// Returns the text. Takes no lock that a line waits for; it reads one shard of the registered backlogs after the other.
pub(super) fn metrics_text(stats: &ServerStats, start: &ProcessStart) -> String {
    let mut text = MetricsText::default();
    let counters = stats.context.registry.counters();
    write_server(&mut text, stats);
    write_work(&mut text, &counters.read());
    write_reasons(&mut text, counters);
    write_memory(&mut text, stats);
    write_passes(&mut text, counters);
    if let Some(cluster) = &stats.state.cluster {
        write_cluster(&mut text, cluster);
    }
    write_process(&mut text, start, &ProcessFigures::read());
    text.into_string()
}

/// Writes what the server is and how many connections and rooms it has.
fn write_server(text: &mut MetricsText, stats: &ServerStats) {
    text.gauges("roomcast_build_info", "The version of the program; the value is always 1.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    let mut connections =
        text.gauges("roomcast_connections", "Connections that are served now, those that have not joined among them.");
    for (listener, count) in stats.state.labels.iter().zip(stats.context.listener_counts.read()) {
        connections.sample(&[("listener", listener)], count);
    }
    text.counter(
        "roomcast_listener_failures_total",
        "Accept loops of listeners that failed and were started again.",
        stats.context.accept_loops.failures(),
    );
    let limit = stats.state.max_connections;
    text.gauge("roomcast_connections_limit", "The most connections at a time.", limit);
    text.gauge("roomcast_rooms", "Rooms that are open now.", stats.rooms());
}

/// Writes the sums of work.
fn write_work(text: &mut MetricsText, work: &MetricsDelta) {
    text.counter(
        "roomcast_lines_total",
        "Lines that rooms delivered: chat, joins, leaves, renames and notices.",
        work.lines,
    );
    text.counter(
        "roomcast_deliveries_total",
        "Lines delivered to members, one for each line and member.",
        work.deliveries,
    );
    text.counter("roomcast_writes_total", "System calls that wrote to a client's socket.", work.writes);
    text.counter(
        "roomcast_skipped_lines_total",
        "Lines dropped because a client did not read, which it is told.",
        work.skipped_lines,
    );
    text.counter(
        "roomcast_rate_limited_seconds_total",
        "Seconds by which rate limits delayed the input of connections, counted when a delay begins.",
        Number(Duration::from_micros(work.rate_limited_micros).as_secs_f64()),
    );
}

/// Writes why connections were closed and refused.
fn write_reasons(text: &mut MetricsText, counters: &Counters) {
    let mut closes = text.counters("roomcast_closes_total", "Connections that were served and have ended, by reason.");
    for (kind, count) in counters.closes() {
        closes.sample(&[("reason", kind.label())], count);
    }
    let mut refused = text.counters("roomcast_refused_total", "Connections that were not served, by reason.");
    for (kind, count) in counters.refusals() {
        refused.sample(&[("reason", kind.label())], count);
    }
}

/// Writes what waits for clients, and the memory that the ceiling bounds.
fn write_memory(text: &mut MetricsText, stats: &ServerStats) {
    let memory = stats.memory();
    text.gauge(
        "roomcast_backlog_bytes",
        "Bytes of lines that wait for clients whose sockets take nothing.",
        memory.backlog_bytes(),
    );
    let used = memory.used();
    let kernel = (memory.backlogs() as u64).saturating_mul(KERNEL_SEND_BUFFER as u64).min(used);
    text.gauges(
        "roomcast_memory_bytes",
        "Memory that counts against the ceiling: kernel buffers of blocked sockets, and queues (all the rest).",
    )
    .sample(&[("what", "kernel")], kernel)
    .sample(&[("what", "queues")], used - kernel);
    let ceiling = if memory.ceiling() == u64::MAX { f64::INFINITY } else { approximate(memory.ceiling()) };
    text.gauge("roomcast_memory_limit_bytes", "The memory ceiling; +Inf without one.", Number(ceiling));
    text.counter(
        "roomcast_log_lines_dropped_total",
        "Log records dropped because their reader was too slow.",
        stats.state.log_lines_dropped(),
    );
}

/// Writes the exchange with other servers.
fn write_cluster(text: &mut MetricsText, cluster: &Shared) {
    let counts = cluster.counts();
    let connected = u64::from(cluster.is_connected());
    text.gauge("roomcast_cluster_connected", "1 while the server is connected to NATS, else 0.", connected);
    let ordered = u64::from(cluster.is_ordered());
    text.gauge("roomcast_cluster_ordered", "1 while a log in JetStream gives lines one order, else 0.", ordered);
    text.gauge("roomcast_cluster_nodes", "Other servers of the cluster that are alive.", counts.nodes);
    text.gauge("roomcast_cluster_waiting_bytes", "Bytes of frames that wait for NATS.", counts.waiting_bytes);
    text.counters("roomcast_cluster_frames_total", "Frames that were exchanged with other servers.")
        .sample(&[("direction", "in")], counts.frames_in)
        .sample(&[("direction", "out")], counts.frames_out);
    text.counters("roomcast_cluster_frames_dropped_total", "Frames that were dropped, by reason.")
        .sample(&[("reason", "version")], counts.unknown_version)
        .sample(&[("reason", "malformed")], counts.malformed)
        .sample(&[("reason", "stale")], counts.stale)
        .sample(&[("reason", "queue_full")], counts.dropped_frames);
    text.counters(
        "roomcast_cluster_lines_lost_total",
        "Lines that did not reach the members of all servers, by reason.",
    )
    .sample(&[("reason", "missing")], counts.missing_lines)
    .sample(&[("reason", "rejected")], counts.rejected_lines)
    .sample(&[("reason", "queue_full")], counts.dropped_lines);
    let keeps_lines = u64::from(cluster.has_store());
    text.gauge("roomcast_cluster_keeps_lines", "1 while NATS keeps the lines of rooms, else 0.", keeps_lines);
    text.counters("roomcast_cluster_history_reads_total", "Readings of a room's lines that NATS keeps, by result.")
        .sample(&[("result", "lines")], counts.stored_found)
        .sample(&[("result", "empty")], counts.stored_empty)
        .sample(&[("result", "failed")], counts.stored_failed)
        .sample(&[("result", "late")], counts.stored_late);
}

/// Writes the histograms of passes.
fn write_passes(text: &mut MetricsText, counters: &Counters) {
    let passes = counters.passes();
    text.histogram(
        "roomcast_pass_duration_seconds",
        "The time that a pass took to deliver one batch of a room, the turns of other tasks included.",
        (&PASS_DURATION, &passes.duration),
    );
    text.histogram(
        "roomcast_delivery_latency_seconds",
        "The time from the arrival of a batch's first line in its room to the batch's last write.",
        (&DELIVERY_LATENCY, &passes.delivery_latency),
    );
    text.histogram("roomcast_pass_members", "The members of the room after each pass.", (&MEMBERS, &passes.members));
    text.histogram(
        "roomcast_pass_lines_per_write",
        "The lines that one write of a pass carried, on the average of the pass.",
        (&LINES_PER_WRITE, &passes.lines_per_write),
    );
}

/// Writes the figures of the process that the system tells.
fn write_process(text: &mut MetricsText, start: &ProcessStart, now: &ProcessFigures) {
    if let Some(seconds) = now.cpu_seconds {
        let help = "Processor time of user and system in seconds.";
        text.counter("process_cpu_seconds_total", help, Number(seconds));
    }
    for (name, help, value) in [
        ("process_resident_memory_bytes", "Resident memory in bytes.", now.resident_bytes),
        ("process_virtual_memory_bytes", "Address space in bytes.", now.virtual_bytes),
        ("process_open_fds", "Open file descriptors.", now.open_files),
        ("process_max_fds", "The most open file descriptors.", now.max_files),
    ] {
        if let Some(value) = value {
            text.gauge(name, help, value);
        }
    }
    if let Some(seconds) = start.seconds {
        let help = "The start of the process in seconds since 1970.";
        text.gauge("process_start_time_seconds", help, Number(seconds));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ceiling of more than 2^53 bytes needs no exact byte")]
fn approximate(bytes: u64) -> f64 {
    bytes as f64
}
