//! Metrics and health checks over HTTP: exact counts of what clients do, readiness, and what Prometheus makes of them.

#![allow(clippy::expect_used, clippy::unwrap_used)]
// The values that are compared are whole numbers, which a float holds exactly.
#![allow(clippy::cast_precision_loss, clippy::float_cmp)]

mod common;
#[path = "metrics/conversation.rs"]
mod conversation;
#[path = "metrics/expressions.rs"]
mod expressions;
#[path = "metrics/http.rs"]
mod http;
#[path = "metrics/prometheus.rs"]
mod prometheus;
#[path = "metrics/readiness.rs"]
mod readiness;
#[path = "metrics/scrape.rs"]
mod scrape;

use common::ServerProcess;
use scrape::Scrape;
use std::net::SocketAddr;

/// The families of `/metrics` with their types, in their order.
const FAMILIES: [(&str, &str); 26] = [
    ("roomcast_build_info", "gauge"),
    ("roomcast_connections", "gauge"),
    ("roomcast_listener_failures_total", "counter"),
    ("roomcast_connections_limit", "gauge"),
    ("roomcast_rooms", "gauge"),
    ("roomcast_lines_total", "counter"),
    ("roomcast_deliveries_total", "counter"),
    ("roomcast_writes_total", "counter"),
    ("roomcast_skipped_lines_total", "counter"),
    ("roomcast_rate_limited_seconds_total", "counter"),
    ("roomcast_closes_total", "counter"),
    ("roomcast_refused_total", "counter"),
    ("roomcast_backlog_bytes", "gauge"),
    ("roomcast_memory_bytes", "gauge"),
    ("roomcast_memory_limit_bytes", "gauge"),
    ("roomcast_log_lines_dropped_total", "counter"),
    ("roomcast_pass_duration_seconds", "histogram"),
    ("roomcast_delivery_latency_seconds", "histogram"),
    ("roomcast_pass_members", "histogram"),
    ("roomcast_pass_lines_per_write", "histogram"),
    ("process_cpu_seconds_total", "counter"),
    ("process_resident_memory_bytes", "gauge"),
    ("process_virtual_memory_bytes", "gauge"),
    ("process_open_fds", "gauge"),
    ("process_max_fds", "gauge"),
    ("process_start_time_seconds", "gauge"),
];

/// Starts the program with metrics on a free port; returns it and the port's address, which it prints.
fn start_with_metrics(args: &[&str]) -> (ServerProcess, SocketAddr) {
    let server = ServerProcess::start(&[&["--metrics", "127.0.0.1:0"], args].concat());
    let line = server.startup_lines.iter().find_map(|line| line.split_once(" listening on http://"));
    let (address, path) = line.expect("no line for metrics").1.split_once('/').unwrap();
    assert_eq!(path, "metrics");
    let address = address.parse().unwrap();
    (server, address)
}

#[test]
fn each_metric_has_its_name_its_type_and_a_help() {
    let (_server, metrics) = start_with_metrics(&[]);
    let scrape = Scrape::of(metrics);
    let families: Vec<(&str, &str)> = scrape.families.iter().map(|(name, kind)| (&**name, &**kind)).collect();
    assert_eq!(families, FAMILIES);
    let version = format!("roomcast_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(scrape.value(&version), 1.0);
}

#[test]
fn limits_are_those_of_the_flags() {
    let (_server, metrics) = start_with_metrics(&["--max-connections", "77", "--memory", "64MiB"]);
    let scrape = Scrape::of(metrics);
    assert_eq!(scrape.value("roomcast_connections_limit"), 77.0);
    assert_eq!(scrape.value("roomcast_memory_limit_bytes"), f64::from(64 << 20));
    let (_server, metrics) = start_with_metrics(&["--memory", "0"]);
    assert!(Scrape::of(metrics).text.contains("\nroomcast_memory_limit_bytes +Inf\n"), "no ceiling is no number");
}

#[test]
fn server_without_the_flag_answers_no_http() {
    let server = ServerProcess::start(&[]);
    assert!(server.startup_lines.iter().all(|line| !line.contains("http")), "{:?}", server.startup_lines);
}

#[test]
fn listeners_are_told_apart_by_their_url() {
    let path = std::env::temp_dir().join(format!("roomcast-metrics-{}\"\\.sock", std::process::id()));
    let unix = format!("unix:{}", path.display());
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_roomcast"));
    command.args(["--listen", "tcp://127.0.0.1:0", "--listen", &unix, "--metrics", "127.0.0.1:0"]);
    let server = ServerProcess::start_command(&mut command);
    let line = server.startup_lines.iter().find_map(|line| line.split_once(" listening on http://")).unwrap().1;
    let metrics = line.strip_suffix("/metrics").unwrap().parse().unwrap();
    let _alice = server.join("room", "alice");
    let (tcp, escaped) = (server.address, unix.replace('\\', "\\\\").replace('"', "\\\""));
    let scrape = Scrape::of(metrics);
    assert_eq!(scrape.value(&format!("roomcast_connections{{listener=\"tcp://{tcp}\"}}")), 1.0);
    assert_eq!(scrape.value(&format!("roomcast_connections{{listener=\"{escaped}\"}}")), 0.0);
}

#[test]
fn figures_of_the_process_are_those_of_the_kernel() {
    let (server, metrics) = start_with_metrics(&[]);
    let scrape = Scrape::of(metrics);
    let resident = scrape.value("process_resident_memory_bytes") / 1024.0;
    let kernel = server.status_kib("VmRSS") as f64;
    assert!(resident > kernel / 2.0 && resident < kernel * 2.0, "{resident} KiB, and {kernel} KiB by the kernel");
    // The connection of the scrape was open, too.
    assert!((scrape.value("process_open_fds") - server.open_files() as f64).abs() <= 2.0);
    assert!(scrape.value("process_max_fds") > scrape.value("process_open_fds"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let started = scrape.value("process_start_time_seconds");
    assert!(started <= now + 1.0 && started > now - 3_600.0, "started at {started}, now it is {now}");
}
