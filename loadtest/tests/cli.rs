//! The program as a user runs it: exit codes, messages and files.
#![allow(clippy::unwrap_used, reason = "a test stops at the first error")]

mod common;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use common::{Fault, serve};

fn loadtest(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadtest")).args(arguments).output().unwrap()
}

/// Runs 12 members in 3 rooms for a short time, with additional arguments.
fn short(scenario: &str, target: SocketAddr, more: &[&str]) -> Output {
    let target = target.to_string();
    let shape = ["--connections", "12", "--rooms", "3", "--lines", "10", "--patience", "700ms"];
    loadtest(&[&[scenario, "--target", &target], &shape[..], more].concat())
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn error(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Returns a directory that only this test uses.
fn scratch(name: &str) -> std::path::PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&path).unwrap();
    path
}

#[test]
fn good_run_writes_a_table_a_json_file_and_a_page() {
    let directory = scratch("clean");
    let (result, page) = (directory.join("a.json"), directory.join("a.html"));
    let files = ["--json", result.to_str().unwrap(), "--report", page.to_str().unwrap()];
    let output = short("flood", serve(Fault::None), &[&["--in-flight", "2"], &files[..]].concat());
    assert_eq!(code(&output), 0, "{}{}", text(&output), error(&output));
    assert!(text(&output).contains("GOOD: 120 deliveries, each once and in its room's order"), "{}", text(&output));
    let value = json(&result);
    for key in ["sent", "expected", "delivered", "lost", "duplicated", "misordered"] {
        assert!(value[key].is_u64(), "{key}");
    }
    for key in ["p50", "p90", "p99", "p999", "max"] {
        assert!(value["latency_us"][key].is_u64(), "{key}");
    }
    assert_eq!(
        (value["sent"].as_u64(), value["delivered"].as_u64(), value["lost"].as_u64()),
        (Some(30), Some(120), Some(0))
    );
    assert!(value["generator"]["cpu_share"].is_f64() && value["generator"]["saturated"].is_boolean());
    assert!(value["version"].is_string() && value["machine"]["cores"].is_u64());
    assert_eq!(value["parameters"]["in_flight"], 2);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("<svg") && page.contains("</html>") && !page.contains("http://cdn"), "{page}");
}

#[test]
fn server_process_given_by_pid_is_measured() {
    let directory = scratch("process");
    let result = directory.join("a.json");
    let pid = std::process::id().to_string();
    let more = ["--in-flight", "2", "--pid", &pid, "--json", result.to_str().unwrap()];
    let output = short("flood", serve(Fault::None), &more);
    let value = json(&result);
    let server = &value["server"];
    assert!(server["cpu_ns_per_delivery"].as_f64().unwrap() > 0.0, "{}{}", text(&output), error(&output));
    assert!(server["rss_bytes"].as_u64().unwrap() > 0 && server["rss_bytes_per_connection"].is_f64());
}

#[test]
fn lost_lines_give_exit_code_1() {
    let output = short("steady", serve(Fault::LoseForOne(3)), &["--rate", "100/s"]);
    assert_eq!(code(&output), 1, "{}", text(&output));
    assert!(text(&output).contains("WRONG: 3 of 120 deliveries lost"), "{}", text(&output));
}

#[test]
fn rooms_are_spread_over_several_processes() {
    let output =
        short("flood", serve(Fault::LoseForOne(3)), &["--in-flight", "2", "--processes", "2", "--threads", "2"]);
    assert_eq!(code(&output), 1, "{}{}", text(&output), error(&output));
    assert!(text(&output).contains("30 sent, 120 deliveries expected, 117 delivered"), "{}", text(&output));
}

#[test]
fn storm_and_idle_are_measured() {
    let target = serve(Fault::None).to_string();
    let output = loadtest(&["storm", "--target", &target, "--connections", "20"]);
    assert_eq!(code(&output), 0, "{}", text(&output));
    assert!(text(&output).contains("210 of 210 joins"), "{}", text(&output));
    let output = loadtest(&["idle", "--target", &target, "--connections", "20", "--rooms", "4", "--duration", "10ms"]);
    assert_eq!(code(&output), 0, "{}", text(&output));
    assert!(text(&output).contains("GOOD: 20 connections joined and left"), "{}", text(&output));
}

#[test]
fn step_reports_the_last_good_step() {
    let target = serve(Fault::None).to_string();
    let shape = ["--connections", "6", "--rooms", "2", "--rate", "20/s", "--duration", "200ms", "--warmup", "0s"];
    let bounds = ["--steps", "2", "--until-p99", "1h"];
    let output = loadtest(&[&["step", "--target", &target], &shape[..], &bounds[..]].concat());
    assert!(text(&output).contains("step 1"), "{}{}", text(&output), error(&output));
    let bounds = ["--until-p99", "1us", "--raise", "connections"];
    let output = loadtest(&[&["step", "--target", &target], &shape[..], &bounds[..]].concat());
    assert_eq!(code(&output), 3, "{}", text(&output));
    assert!(text(&output).contains("NO GOOD STEP"), "{}", text(&output));
}

#[test]
fn failing_step_is_a_failure_after_good_steps() {
    let target = serve(Fault::CloseAll(9)).to_string();
    let shape = ["--connections", "2", "--rooms", "1", "--rate", "20/s", "--duration", "200ms", "--warmup", "0s"];
    let output = loadtest(&[&["step", "--target", &target, "--until-p99", "1h"], &shape[..]].concat());
    assert_eq!(code(&output), 3, "{}", text(&output));
    assert!(
        text(&output).contains("FAILED: 127.0.0.1") && text(&output).contains("the last good step: 2 conn"),
        "{}",
        text(&output)
    );
}

#[test]
fn limit_needs_no_server() {
    let output = loadtest(&["limit", "--sockets", "4", "--lines", "2", "--duration", "20ms"]);
    assert_eq!(code(&output), 0);
    assert!(text(&output).contains("bare writes of 2 lines of 78 bytes to 4 sockets:"), "{}", text(&output));
}

#[test]
fn invalid_plan_is_refused_in_one_line() {
    let target = serve(Fault::None).to_string();
    let refuse = |arguments: &[&str], words: &str| {
        let output = loadtest(&[&["steady", "--target", &target], arguments].concat());
        assert_eq!((code(&output), text(&output).as_str()), (2, ""), "{arguments:?}: {}", error(&output));
        assert!(error(&output).contains(words), "{arguments:?}: {}", error(&output));
    };
    refuse(&["--senders", "11"], "--senders 11 is more than the 10 members of a room");
    refuse(&["--rooms", "2000"], "--rooms 2000 is more than --connections 1000");
    refuse(&["--size", "3"], "--size 3 is not between 36");
    refuse(&["--rate", "0"], "--rate 0 sends nothing");
    refuse(&["--patience", "0s"], "--patience 0s waits for nothing");
    refuse(&["--rate", "fast"], "a rate is like 5/s");
    refuse(&["--duration", "0s"], "--duration 0s measures nothing");
    refuse(&["--connections", "9000000", "--rooms", "9000000"], "more than 65535 rooms");
}

#[test]
fn too_low_limit_of_open_files_is_reported_with_a_remedy() {
    let target = serve(Fault::None).to_string();
    let command = "ulimit -n 200; exec \"$0\" idle --connections 1000 --rooms 10 --target \"$1\"";
    let output = Command::new("sh").args(["-c", command, env!("CARGO_BIN_EXE_loadtest"), &target]).output().unwrap();
    assert_eq!(code(&output), 3);
    assert!(error(&output).contains("136 files") && error(&output).contains("--processes 8"), "{}", error(&output));
}

#[test]
fn missing_server_and_other_protocols_are_reported_with_a_remedy() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = short("steady", free, &[]);
    assert_eq!(code(&output), 3);
    assert!(error(&output).contains("cargo run --release") && error(&output).contains("--spawn"), "{}", error(&output));
    let output = short("steady", serve(Fault::Http), &[]);
    assert_eq!(code(&output), 3);
    assert!(error(&output).contains("does not speak --protocol line"), "{}", error(&output));
    let output = short("steady", serve(Fault::Silent), &[]);
    assert_eq!(code(&output), 3);
    assert!(error(&output).contains("did not greet in 700ms"), "{}", error(&output));
    assert_eq!(error(&output).lines().count(), 1, "{}", error(&output));
}

#[test]
fn compare_accepts_only_results_of_the_same_work() {
    let directory = scratch("compare");
    let target = serve(Fault::None);
    let run = |name: &str, window: &str| {
        let path = directory.join(name).to_str().unwrap().to_owned();
        short("flood", target, &["--in-flight", window, "--json", &path]);
        path
    };
    let (first, same, other) = (run("a.json", "2"), run("b.json", "2"), run("c.json", "3"));
    let output = loadtest(&["compare", &first, &same]);
    assert_eq!(code(&output), 0, "{}", error(&output));
    assert!(text(&output).contains("deliveries/s") && text(&output).contains("ratio"), "{}", text(&output));
    let output = loadtest(&["markdown", &first, &same]);
    assert!(text(&output).contains("| a |") && text(&output).contains("| b |"), "{}", text(&output));
    let output = loadtest(&["compare", &first, &other]);
    assert_eq!(code(&output), 2);
    assert!(error(&output).contains("different work cannot be compared: in_flight is 2 and 3"), "{}", error(&output));
    let output = loadtest(&["compare", &first, "no-such-file.json"]);
    assert!(error(&output).contains("cannot read no-such-file.json"), "{}", error(&output));
}

#[test]
fn result_that_is_not_good_is_marked() {
    let directory = scratch("bad");
    let (good, bad) = (directory.join("good-1.json"), directory.join("bad-1.json"));
    let run = |fault: Fault, path: &Path| {
        short("flood", serve(fault), &["--in-flight", "2", "--json", path.to_str().unwrap()])
    };
    assert_eq!(code(&run(Fault::None, &good)), 0);
    assert_eq!(code(&run(Fault::LoseForOne(3), &bad)), 1);
    let files = [good.to_str().unwrap(), bad.to_str().unwrap()];
    let output = loadtest(&["markdown", files[0], files[1]]);
    let row = text(&output).lines().find(|line| line.starts_with("| bad |")).unwrap().to_owned();
    let cells: Vec<&str> = row.split('|').map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert!(cells[1..].iter().all(|cell| cell.ends_with("(wrong)")), "{row}");
    let output = loadtest(&["compare", files[0], files[1]]);
    assert_eq!(code(&output), 3, "{}", text(&output));
    assert!(text(&output).contains("the second result is not good"), "{}", text(&output));
}

#[test]
fn wrong_usage_gives_exit_code_2() {
    for (arguments, words) in [
        (&["steady", "--target", "foo"][..], "--target foo is not an address with a port"),
        (&["limit", "--sockets", "0"], "--sockets, --lines"),
        (&["flood", "--in-flight", "1000000"], "--in-flight 1000000 of --size 64 is more than 8388608 bytes a sender"),
        (&["steady", "--server", "/bin/true"], "describe a spawned server: add --spawn"),
        (&["steady", "--spawn", "--server", "/nowhere"], "--server /nowhere is not a file"),
    ] {
        let output = loadtest(arguments);
        assert_eq!((code(&output), error(&output).lines().count()), (2, 1), "{arguments:?}: {}", error(&output));
        assert!(error(&output).contains(words), "{arguments:?}: {}", error(&output));
    }
}

#[test]
fn unwritable_file_is_reported_before_the_run() {
    let output = short("steady", serve(Fault::None), &["--json", "/nowhere/a.json"]);
    assert_eq!((code(&output), text(&output).as_str()), (3, ""), "{}", error(&output));
    assert!(error(&output).contains("cannot write /nowhere/a.json"), "{}", error(&output));
}

#[test]
fn help_shows_an_example_for_each_scenario() {
    for scenario in ["steady", "flood", "step", "storm", "idle", "zoo", "limit", "compare", "markdown", "worker"] {
        let output = loadtest(&[scenario, "--help"]);
        assert!(text(&output).contains(&format!("Example: loadtest {scenario}")), "{}", text(&output));
    }
}
