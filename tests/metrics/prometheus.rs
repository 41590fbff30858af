//! Prometheus itself: its linter and its server read what the program serves, and its tool runs the tests of the rules.

use crate::common::folder::Folder;
use crate::common::prometheus::Prometheus;
use crate::common::pty::is_installed;
use crate::common::wait_until;
use crate::expressions::{dashboard_expressions, packaged};
use crate::scrape::Scrape;
use crate::start_with_metrics;
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

/// Runs promtool, which must succeed without a warning; returns its output.
#[track_caller]
fn promtool(args: &[&str], input: &str) -> String {
    let mut command = Command::new("promtool");
    command.args(args).current_dir(packaged("prometheus"));
    let mut tool = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    tool.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = tool.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {args:?}: {told}");
    told
}

#[test]
fn linter_of_prometheus_accepts_the_metrics() {
    if !is_installed("promtool") {
        return;
    }
    let (server, metrics) = start_with_metrics(&[]);
    let mut alice = server.join("room", "alice");
    alice.send("hello\n");
    alice.expect_line("alice: hello");
    assert_eq!(promtool(&["check", "metrics"], &Scrape::of(metrics).text), "", "the linter has a remark");
}

#[test]
fn alert_rules_are_valid_and_pass_their_tests() {
    if !is_installed("promtool") {
        return;
    }
    let told = promtool(&["check", "config", "prometheus.yml"], "");
    assert!(told.contains("SUCCESS"), "{told}");
    let told = promtool(&["test", "rules", "roomcast.rules.test.yml"], "");
    assert!(told.contains("SUCCESS"), "{told}");
}

/// The tool parses expressions as rules; Grafana replaces the variables before it sends them.
#[test]
fn expressions_of_the_dashboard_are_valid() {
    if !is_installed("promtool") {
        return;
    }
    let expressions = dashboard_expressions().into_iter().map(|(expression, _)| expression);
    let rules =
        expressions.enumerate().fold("groups:\n- name: dashboard\n  rules:\n".to_owned(), |rules, (number, expr)| {
            let expr = expr.replace("$__rate_interval", "5m").replace("$instance", ".*");
            rules + &format!("  - record: panel:{number}\n    expr: '{expr}'\n")
        });
    let folder = Folder::new("dashboard");
    let told = promtool(&["check", "rules", "--lint=none", &folder.write("rules.yml", &rules)], "");
    assert!(told.contains("SUCCESS"), "{told}");
}

/// The packaged configuration with a short interval and the server's port.
#[test]
fn prometheus_scrapes_the_server_and_evaluates_its_rules() {
    if !is_installed("prometheus") {
        return;
    }
    let (server, metrics) = start_with_metrics(&[]);
    let (mut alice, mut bob) = server.join_pair("room", "alice", "bob");
    alice.send("hello\n");
    bob.expect_line("alice: hello");
    bob.send("hi\n");
    alice.skip_to_line("bob: hi");
    let packaged_config = fs::read_to_string(packaged("prometheus/prometheus.yml")).unwrap();
    let rules = packaged("prometheus/roomcast.rules.yml");
    let config = packaged_config.replace("127.0.0.1:9464", &metrics.to_string()).replace(": 15s", ": 1s");
    let config = config.replace("- roomcast.rules.yml", &format!("- {}", rules.display()));
    assert!(config != packaged_config && config.contains(": 1s"), "{config}");
    let folder = Folder::new("prometheus");
    let prometheus = Prometheus::start(&folder.write("prometheus.yml", &config), &folder.text("data"));

    wait_until("the server is scraped", || {
        let targets = prometheus.api("targets");
        let error = targets["activeTargets"][0]["lastError"].as_str().unwrap_or_default();
        assert_eq!(error, "", "{targets}");
        prometheus.query("up").as_deref() == Some("1")
    });
    // Two joins and two lines: to one, two and two times two members.
    for (query, value) in [
        ("roomcast_lines_total", "4"),
        ("roomcast_deliveries_total", "7"),
        ("roomcast_rooms", "1"),
        ("sum(roomcast_connections)", "2"),
        ("sum(roomcast_closes_total)", "0"),
        ("count(roomcast_delivery_latency_seconds_bucket)", "13"),
    ] {
        wait_until(query, || prometheus.query(query).as_deref() == Some(value));
    }
    wait_until("the rules are evaluated", || {
        let rules = prometheus.api("rules")["groups"][0]["rules"].take();
        let health = |rule: &Value| rule["health"].as_str().unwrap_or_default().to_owned();
        let healths: Vec<String> = rules.as_array().into_iter().flatten().map(health).collect();
        assert!(!healths.contains(&"err".to_owned()), "{rules}");
        !healths.is_empty() && healths.iter().all(|health| health == "ok")
    });
}
