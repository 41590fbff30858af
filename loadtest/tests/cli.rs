//! The program as a user runs it: exit codes, messages and files.
//!
//! The verdict on a run depends on the machine where the generator may lack a CPU. Verdicts on recorded measurements
//! are tested in `verdicts.rs`.
#![allow(clippy::unwrap_used, reason = "a test stops at the first error")]

mod common;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::time::SystemTime;

use common::cluster::{ClusterFault, serve_cluster};
use common::{Fault, recorded_run, refusing_address, serve};
use loadtest::coordinator::RunRecord;
use loadtest::output::document;
use loadtest::plan::{Pacing, Plan};
use loadtest::test_result::TestResult;

fn loadtest(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadtest")).args(arguments).output().unwrap()
}

/// Runs 12 members in 3 rooms for a short time against a new server with a fault, with additional arguments.
fn short(scenario: &str, fault: Fault, more: &[&str]) -> Output {
    short_to(scenario, serve(fault), &[&["--patience", &patience(fault)], more].concat())
}

/// Runs the same against a server at an address.
fn short_to(scenario: &str, target: SocketAddr, more: &[&str]) -> Output {
    let target = target.to_string();
    let shape = ["--connections", "12", "--rooms", "3", "--lines", "10"];
    loadtest(&[&[scenario, "--target", &target], &shape[..], more].concat())
}

/// Returns the value of `--patience` for a server with a fault.
fn patience(fault: Fault) -> String {
    humantime::format_duration(fault.patience()).to_string()
}

/// Asserts that a run found no fault of the server, and that its exit code is that of its verdict.
#[track_caller]
fn assert_passed(output: &Output) {
    let code = if has_verdict(output, "SATURATED: ") { 3 } else { 0 };
    assert!(code == 3 || has_verdict(output, "GOOD: "), "{}{}", text(output), error(output));
    assert_eq!(self::code(output), code, "{}", text(output));
}

/// Asserts that the verdict on a run is wrong and names a fault, and that its exit code is that of its verdict. Only a
/// verdict on a generator without enough CPU time may take its place.
#[track_caller]
fn assert_wrong(output: &Output, words: &str) {
    let code = if has_verdict(output, "SATURATED: ") { 3 } else { 1 };
    assert!(code == 3 || has_verdict(output, &format!("WRONG: {words}")), "{}{}", text(output), error(output));
    assert_eq!(self::code(output), code, "{}", text(output));
}

/// Returns whether a line of standard output starts with the words of a verdict.
fn has_verdict(output: &Output, words: &str) -> bool {
    text(output).lines().any(|line| line.starts_with(words))
}

/// Writes the result of a recorded run with a change, and with a number of lines in flight. Returns the file's path.
fn write_recorded(path: &Path, window: usize, change: impl FnOnce(&mut RunRecord)) -> String {
    let plan = Plan { pacing: Pacing::Closed { window }, ..common::plan(([127, 0, 0, 1], 1).into()) };
    let mut run = recorded_run();
    change(&mut run);
    let json = document::to_json(&TestResult::new("flood", &plan, &run), SystemTime::now()).unwrap();
    std::fs::write(path, document::render(&json)).unwrap();
    path.to_str().unwrap().to_owned()
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
    // Files that an earlier version of a test left there are no part of this one.
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

#[test]
fn run_writes_a_table_a_json_file_and_a_page() {
    let directory = scratch("clean");
    let (result, page) = (directory.join("a.json"), directory.join("a.html"));
    let files = ["--json", result.to_str().unwrap(), "--report", page.to_str().unwrap()];
    let output = short("flood", Fault::None, &[&["--in-flight", "2"], &files[..]].concat());
    assert_passed(&output);
    assert!(text(&output).contains("30 sent, 120 deliveries expected, 120 delivered"), "{}", text(&output));
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
    let output = short("flood", Fault::None, &more);
    let value = json(&result);
    let server = &value["server"];
    assert!(server["rss_bytes"].as_u64().unwrap() > 0, "{}{}", text(&output), error(&output));
    // The CPU time of threads that have ended is not known, and other tests end theirs: it may seem to be 0.
    assert!(server["cpu_seconds"].is_f64() && server["rss_bytes_per_connection"].is_f64());
}

#[test]
fn lost_lines_give_exit_code_1() {
    let output = short("steady", Fault::LoseForOne(3), &["--rate", "100/s"]);
    assert_wrong(&output, "3 of 120 deliveries lost");
    assert!(text(&output).contains("30 sent, 120 deliveries expected, 117 delivered"), "{}", text(&output));
}

#[test]
fn rooms_are_spread_over_several_processes() {
    let output = short("flood", Fault::LoseForOne(3), &["--in-flight", "2", "--processes", "2", "--threads", "2"]);
    assert_wrong(&output, "3 of 120 deliveries lost");
    assert!(text(&output).contains("30 sent, 120 deliveries expected, 117 delivered"), "{}", text(&output));
}

#[test]
fn storm_and_idle_are_measured() {
    let target = serve(Fault::None).to_string();
    let common = ["--target", &target, "--connections", "20", "--patience", "60s"];
    let output = loadtest(&[&["storm"], &common[..]].concat());
    assert_passed(&output);
    assert!(text(&output).contains("210 of 210 joins"), "{}", text(&output));
    let output = loadtest(&[&["idle", "--rooms", "4", "--duration", "10ms"], &common[..]].concat());
    assert_passed(&output);
    assert!(text(&output).contains("joined        20 in "), "{}", text(&output));
}

#[test]
fn step_reports_the_last_good_step() {
    let target = serve(Fault::None).to_string();
    let target = ["step", "--target", &target, "--patience", "60s"];
    let shape = ["--connections", "6", "--rooms", "2", "--rate", "20/s", "--duration", "200ms", "--warmup", "0s"];
    let bounds = ["--steps", "2", "--until-p99", "1h"];
    let output = loadtest(&[&target, &shape[..], &bounds[..]].concat());
    assert!(text(&output).contains("step 1"), "{}{}", text(&output), error(&output));
    let bounds = ["--until-p99", "1us", "--raise", "connections"];
    let output = loadtest(&[&target, &shape[..], &bounds[..]].concat());
    assert_eq!(code(&output), 3, "{}", text(&output));
    assert!(text(&output).contains("NO GOOD STEP"), "{}", text(&output));
}

#[test]
fn failing_step_gives_exit_code_3() {
    let target = serve(Fault::CloseAll(1)).to_string();
    let shape = ["--connections", "2", "--rooms", "1", "--rate", "20/s", "--duration", "200ms", "--warmup", "0s"];
    let output = loadtest(&[&["step", "--target", &target, "--patience", "60s"], &shape[..]].concat());
    assert_eq!(code(&output), 3, "{}", text(&output));
    assert!(text(&output).contains("INCOMPLETE: 127.0.0.1"), "{}", text(&output));
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
fn impossible_departures_are_refused_in_one_line() {
    let target = serve(Fault::None).to_string();
    let refuse = |arguments: &[&str], words: &str| {
        let output = loadtest(&[arguments, &["--target", &target]].concat());
        assert_eq!((code(&output), text(&output).as_str()), (2, ""), "{arguments:?}: {}", error(&output));
        assert!(error(&output).contains(words), "{arguments:?}: {}", error(&output));
    };
    refuse(&["churn", "--senders", "10"], "--senders 10 is every member of a room, but senders stay");
    refuse(&["churn", "--share", "0%"], "--share 0 % is not above 0 % and up to 100 %");
    refuse(&["churn", "--protocol", "irc"], "--protocol irc shows no member where its stay begins");
    refuse(&["reconnect", "--every", "1s"], "--every 1s is not longer than --jitter 1s");
    refuse(&["reconnect", "--jitter", "9s"], "exceeds --duration 10s");
}

#[test]
fn impossible_slow_readers_are_refused_in_one_line() {
    let target = serve(Fault::None).to_string();
    let refuse = |arguments: &[&str], words: &str| {
        let output = loadtest(&[&["slow"], arguments, &["--target", &target]].concat());
        assert_eq!((code(&output), text(&output).as_str()), (2, ""), "{arguments:?}: {}", error(&output));
        assert!(error(&output).contains(words), "{arguments:?}: {}", error(&output));
    };
    refuse(&["--senders", "20"], "--senders 20 is every member of a room, but senders read at once");
    refuse(&["--share", "0%"], "--share 0 % is not above 0 % and up to 100 %");
    refuse(&["--read-rate", "1B/s"], "--read-rate 1 B/s is not between 100 B/s and 2 MiB/s");
    refuse(&["--read-rate", "fast"], "a rate of reading is like 4KiB/s");
    refuse(&["--protocol", "irc"], "--protocol irc does not tell a slow reader how many lines it missed");
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
    let (_socket, address) = refusing_address();
    let output = short_to("steady", address, &[]);
    assert_eq!(code(&output), 3);
    assert!(error(&output).contains("cargo run --release") && error(&output).contains("--spawn"), "{}", error(&output));
    let output = short("steady", Fault::Http, &[]);
    assert_eq!(code(&output), 3);
    assert!(error(&output).contains("does not speak --protocol line"), "{}", error(&output));
    let output = short("steady", Fault::Silent, &[]);
    assert_eq!(code(&output), 3);
    assert!(error(&output).contains("did not greet in 100ms"), "{}", error(&output));
    assert_eq!(error(&output).lines().count(), 1, "{}", error(&output));
}

#[test]
fn compare_accepts_only_results_of_the_same_work() {
    let directory = scratch("compare");
    let write = |name: &str, window: usize| write_recorded(&directory.join(name), window, |_| ());
    let (first, same, other) = (write("a.json", 2), write("b.json", 2), write("c.json", 3));
    let output = loadtest(&["compare", &first, &same]);
    assert_eq!(code(&output), 0, "{}", error(&output));
    assert!(text(&output).contains("deliveries/s") && text(&output).contains("ratio"), "{}", text(&output));
    let output = loadtest(&["markdown", &first, &same]);
    assert!(text(&output).contains("| a |") && text(&output).contains("| b |"), "{}", text(&output));
    let output = loadtest(&["compare", &first, &other]);
    assert_eq!(code(&output), 2);
    assert!(error(&output).contains("different work cannot be compared: in_flight is 2 and 3"), "{}", error(&output));
    let output = loadtest(&["compare", &first, "--to", &same, &same]);
    assert!(code(&output) == 2 && error(&output).contains("b.json is given twice"), "{}", error(&output));
    let output = loadtest(&["compare", &first]);
    assert!(code(&output) == 2 && error(&output).contains("several with --to"), "{}", error(&output));
    let output = loadtest(&["compare", &first, "no-such-file.json"]);
    assert!(error(&output).contains("cannot read no-such-file.json"), "{}", error(&output));
}

#[test]
fn two_servers_are_loaded_in_turns_and_compared() {
    let directory = scratch("against");
    let file = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let files = ["a-1.json", "a-2.json", "against-a-1.json", "against-a-2.json"].map(file);
    let (base, other) = (serve(Fault::None), serve(Fault::None).to_string());
    let more = ["--in-flight", "2", "--repeat", "2", "--against", &other, "--json", &file("a.json")];
    let output = short_to("flood", base, &[&["--patience", "60s"], &more[..]].concat());
    let is_good = text(&output).ends_with("GOOD: all 4 runs\n") && !text(&output).contains("NOT GOOD");
    assert_eq!(code(&output), if is_good { 0 } else { 3 }, "{}{}", text(&output), error(&output));
    assert!(text(&output).contains("medians of 2 runs a side that took turns"), "{}", text(&output));
    assert!(text(&output).contains("2 runs a side: the intervals are too rough to publish"), "{}", text(&output));
    for (path, target) in files.iter().zip([&base.to_string(), &base.to_string(), &other, &other]) {
        let value = json(Path::new(path));
        assert_eq!((value["parameters"]["target"].as_str(), value["lost"].as_u64()), (Some(target.as_str()), Some(0)));
    }
    assert!(!directory.join("a.json").exists(), "no run has this file");
    let again = loadtest(&["compare", &files[0], &files[1], "--to", &files[2], &files[3]]);
    // A comparison of files refuses runs whose generator had no CPU.
    assert!(!is_good || text(&again) == text(&output), "{}{}", text(&again), error(&again));
    let output = loadtest(&["compare", directory.to_str().unwrap(), "--to", &files[2]]);
    assert!(code(&output) == 2 && error(&output).contains("has runs of a, against-a: name the"), "{}", error(&output));
    let output = short_to("flood", base, &["--repeat", "1", "--against", &other, "--json", &file("a.json")]);
    assert!(code(&output) == 2 && error(&output).contains("a-2.json is left of a repetition"), "{}", error(&output));
}

#[test]
fn repeated_runs_are_summarized_by_their_medians() {
    let output = short("flood", Fault::None, &["--in-flight", "2", "--repeat", "2"]);
    assert!([0, 3].contains(&code(&output)), "{}{}", text(&output), error(&output));
    assert!(
        text(&output).contains("2 runs, run-1 to run-2") && text(&output).contains("95 % interval"),
        "{}",
        text(&output)
    );
    assert!(!text(&output).contains("WRONG"), "{}", text(&output));
    let (_bound, closed) = refusing_address();
    let closed = closed.to_string();
    let output = short("flood", Fault::None, &["--in-flight", "2", "--repeat", "2", "--against", &closed]);
    assert_eq!(code(&output), 3, "{}{}", text(&output), error(&output));
    let words = "INCOMPLETE: the repetition ended early: nothing to measure at ";
    assert!(text(&output).contains(words), "{}", text(&output));
    // The server counts the lines of a room over both runs, so that only the first one loses a line.
    let output = short("flood", Fault::LoseForOne(3), &["--in-flight", "2", "--repeat", "2"]);
    assert!([1, 3].contains(&code(&output)), "{}{}", text(&output), error(&output));
    assert!(text(&output).contains("NOT GOOD: "), "{}", text(&output));
}

#[test]
fn result_that_is_not_good_is_marked() {
    let directory = scratch("bad");
    let good = write_recorded(&directory.join("good-1.json"), 2, |_| ());
    let bad = write_recorded(&directory.join("bad-1.json"), 2, |run| run.metrics.counters.lost = 3);
    let output = loadtest(&["markdown", &good, &bad]);
    let row = text(&output).lines().find(|line| line.starts_with("| bad |")).unwrap().to_owned();
    let cells: Vec<&str> = row.split('|').map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert!(cells[1..].iter().all(|cell| cell.ends_with("(wrong)")), "{row}");
    let output = loadtest(&["compare", &good, &bad]);
    assert_eq!((code(&output), text(&output).as_str()), (3, ""), "{}", error(&output));
    assert!(error(&output).contains("bad-1.json: WRONG: 3 of 200 deliveries lost"), "{}", error(&output));
    let output = loadtest(&["compare", &good, &bad, "--include-bad"]);
    assert_eq!(code(&output), 3, "{}", error(&output));
    assert!(text(&output).contains("NOT GOOD: 1 of 2 runs"), "{}", text(&output));
}

#[test]
fn wrong_usage_gives_exit_code_2() {
    for (arguments, words) in [
        (&["steady", "--target", "foo"][..], "--target foo is not an address with a port"),
        (&["limit", "--sockets", "0"], "--sockets, --lines"),
        (&["flood", "--in-flight", "1000000"], "--in-flight 1000000 of --size 64 is more than 8388608 bytes a sender"),
        (&["steady", "--server", "/bin/true"], "describe a spawned server: add --spawn"),
        (&["steady", "--spawn", "--server", "/nowhere"], "--server /nowhere is not a file"),
        (&["steady", "--repeat", "2", "--report", "a.html"], "--report is about one run"),
        (&["steady", "--fail-if-slower", "5%"], "add --against or --against-server"),
        (&["steady", "--against", "foo"], "--against foo is not an address with a port"),
        (&["steady", "--against", "127.0.0.1:1", "--fail-if-slower", "5%"], "needs two runs or more on each side"),
    ] {
        let output = loadtest(arguments);
        assert_eq!((code(&output), error(&output).lines().count()), (2, 1), "{arguments:?}: {}", error(&output));
        assert!(error(&output).contains(words), "{arguments:?}: {}", error(&output));
    }
}

#[test]
fn unwritable_file_is_reported_before_the_run() {
    let output = short("steady", Fault::None, &["--json", "/nowhere/a.json"]);
    assert_eq!((code(&output), text(&output).as_str()), (3, ""), "{}", error(&output));
    assert!(error(&output).contains("cannot write /nowhere/a.json"), "{}", error(&output));
}

#[test]
fn help_shows_an_example_for_each_scenario() {
    let load = ["steady", "flood", "step", "churn", "reconnect", "slow", "storm", "idle", "zoo"];
    for scenario in load.into_iter().chain(["limit", "compare", "markdown", "worker"]) {
        let output = loadtest(&[scenario, "--help"]);
        assert!(text(&output).contains(&format!("Example: loadtest {scenario}")), "{}", text(&output));
    }
}

/// Runs 12 members in 3 rooms for a short time against new servers that share their rooms, with additional arguments.
fn short_to_all(fault: ClusterFault, more: &[&str]) -> Output {
    let servers: Vec<String> = serve_cluster(fault).iter().map(ToString::to_string).collect();
    let shape = ["--connections", "12", "--rooms", "3", "--lines", "10", "--patience", "60s"];
    loadtest(&[&["flood", "--servers", &servers.join(",")], &shape[..], more].concat())
}

#[test]
fn told_gap_is_shown_in_the_table_and_in_json() {
    let path = scratch("servers").join("a.json");
    let output = short_to_all(ClusterFault::Gap(4, Some(2)), &["--json", path.to_str().unwrap()]);
    assert_passed(&output);
    let value = json(&path);
    let told = value["told_missing"].as_u64().unwrap();
    // Each room has four members, of which one or two are on the server with the fault; its own lines are not affected.
    assert!(told > 0, "{}", text(&output));
    assert_eq!(value["delivered"].as_u64().unwrap() + told, value["expected"].as_u64().unwrap(), "{}", text(&output));
    assert_eq!((value["lost"].as_u64(), value["parameters"]["servers"].as_u64()), (Some(0), Some(3)));
    let row = format!("  gaps          {told} lines told as missing with {} notices; 0 split notices", told / 2);
    assert!(text(&output).contains(&row), "{row} is not in {}", text(&output));
    assert!(text(&output).starts_with("flood: 3 servers, 12 connections, 3 rooms"), "{}", text(&output));
}

#[test]
fn two_orders_are_wrong_with_total_order_only() {
    let rate = ["--senders", "2", "--in-flight", "4"];
    assert_passed(&short_to_all(ClusterFault::None, &rate));
    let output = short_to_all(ClusterFault::None, &[&rate[..], &["--total-order"]].concat());
    assert!(text(&output).contains("out of their room's common order on all servers"), "{}", text(&output));
}

#[test]
fn option_that_contradicts_several_servers_is_refused_in_one_line() {
    for (arguments, words) in [
        (
            &["steady", "--servers", "127.0.0.1:1,127.0.0.1:2", "--spawn"][..],
            "--servers and --spawn exclude each other",
        ),
        (&["--target", "127.0.0.1:1", "steady", "--servers", "127.0.0.1:1"], "--servers and --target exclude"),
        (&["steady", "--servers", "127.0.0.1:1", "--pid", "1"], "--servers and --pid exclude each other"),
        (&["flood", "--servers", "127.0.0.1:1", "--against", "127.0.0.1:2"], "--servers and --against exclude"),
        (&["steady", "--total-order"], "--total-order compares the members of several servers"),
        (&["steady", "--servers", "127.0.0.1:1,127.0.0.1:1"], "--servers names 127.0.0.1:1 twice"),
        (&["steady", "--servers", "127.0.0.1:1,nowhere"], "--servers nowhere is not an address with a port"),
        (&["churn", "--servers", "127.0.0.1:1,127.0.0.1:2"], "--servers needs members that stay and read at once"),
        (&["zoo", "--servers", "127.0.0.1:1,127.0.0.1:2"], "`zoo` does not honour --servers"),
    ] {
        let output = loadtest(arguments);
        assert_eq!((code(&output), error(&output).lines().count()), (2, 1), "{arguments:?}: {}", error(&output));
        assert!(error(&output).contains(words), "{words} is not in {}", error(&output));
    }
}

#[test]
fn server_that_does_not_run_is_named() {
    let (_socket, refusing) = refusing_address();
    let servers = format!("{},{refusing}", serve(Fault::None));
    let output = loadtest(&["steady", "--servers", &servers]);
    assert_eq!(code(&output), 3);
    assert!(error(&output).contains(&format!("nothing to measure at {refusing}")), "{}", error(&output));
    assert!(error(&output).contains("leave it out of --servers"), "{}", error(&output));
}
