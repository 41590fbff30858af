//! The output of the program: files, standard output, exit codes and the JSON's schema.
#![allow(clippy::unwrap_used, reason = "a test stops at the first error")]

mod common;

use std::fs::{self, File, OpenOptions};
use std::io::pipe;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::schema::mismatches;
use common::{Fault, serve};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use serde_json::Value;
use tempfile::TempDir;

/// The escape character, which begins the sequences that move a terminal's cursor and change its colors.
const ESCAPE: char = '\x1b';

/// Returns the program with arguments.
fn loadtest(arguments: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    program.args(arguments);
    program
}

/// Returns the program for a short run of 12 members in 3 rooms, with additional arguments.
fn short(target: SocketAddr, more: &[&str]) -> Command {
    let mut program = loadtest(&["flood", "--connections", "12", "--rooms", "3", "--lines", "10", "--in-flight", "2"]);
    program.args(["--patience", "700ms", "--target", &target.to_string()]).args(more);
    program
}

/// Returns the program for a run of 6 members that send nothing, with additional arguments. The verdict of such a run does
/// not depend on how busy the machine is.
fn storm(target: SocketAddr, more: &[&str]) -> Command {
    let mut program = loadtest(&["storm", "--connections", "6", "--target", &target.to_string()]);
    program.args(more);
    program
}

/// Returns an address at which no server listens.
fn unused_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

fn run(program: &mut Command) -> Output {
    program.output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn error(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// Asserts the exit code, with both outputs in the message.
fn assert_code(output: &Output, wanted: i32) {
    assert_eq!(code(output), wanted, "{}{}", out(output), error(output));
}

/// Returns a file's path in a directory, as text for an argument.
fn path(directory: &TempDir, name: &str) -> String {
    directory.path().join(name).to_str().unwrap().to_owned()
}

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn json(path: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn json_on_standard_output_moves_the_table_to_standard_error() {
    for name in ["-", "/dev/stdout"] {
        let output = run(&mut short(serve(Fault::None), &["--json", name]));
        let result: Value = serde_json::from_str(out(&output)).unwrap();
        assert_eq!(result["delivered"], 120);
        assert!(error(&output).contains("  checks        0 lost"), "{}", error(&output));
        assert!(error(&output).trim_end().ends_with(result["verdict"]["text"].as_str().unwrap()), "{}", error(&output));
    }
}

#[test]
fn json_names_its_version_time_and_command_line() {
    let directory = directory();
    let file = path(&directory, "a.json");
    run(&mut short(serve(Fault::None), &["--json", &file]));
    let result = json(&file);
    assert_eq!(result["schema_version"], 1);
    let started = result["started_at"].as_str().unwrap();
    assert!(humantime::parse_rfc3339(started).is_ok() && started.ends_with('Z'), "{started}");
    let arguments: Vec<&str> = result["command_line"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!((arguments[1], *arguments.last().unwrap()), ("flood", file.as_str()));
    assert!(result["server_version"].is_null() && result["machine"]["cores"].is_u64(), "{result}");
    assert_eq!(result["parameters"]["size_bytes"], 64);
}

#[test]
fn quiet_run_prints_only_a_verdict_that_is_not_good() {
    let directory = directory();
    let file = path(&directory, "a.json");
    let output = run(&mut storm(serve(Fault::None), &["--quiet", "--json", &file]));
    assert_eq!((code(&output), out(&output), error(&output)), (0, "", ""));
    assert_eq!(json(&file)["joined"], 6);
    let output = run(&mut short(serve(Fault::LoseForOne(3)), &["-q"]));
    assert_eq!((code(&output), out(&output)), (1, ""));
    assert_eq!(error(&output), "WRONG: 3 of 120 deliveries lost\n");
}

#[test]
fn condition_that_holds_gives_exit_code_4_after_a_good_run() {
    let output = run(&mut storm(serve(Fault::None), &["--fail-if", "joined>=6", "--fail-if", "lost>0"]));
    assert_code(&output, 4);
    assert_eq!(error(&output), "loadtest: --fail-if joined>=6: joined is 6\n");
    let output = run(&mut storm(serve(Fault::None), &["--fail-if", "joined>6", "--fail-if", "join.seconds>1000s"]));
    assert_code(&output, 0);
    let output = run(&mut short(serve(Fault::LoseForOne(3)), &["--fail-if", "lost>0"]));
    assert_code(&output, 1);
    assert!(error(&output).contains("--fail-if lost>0: lost is 3\n"), "{}", error(&output));
}

#[test]
fn each_condition_that_holds_is_named_with_its_value() {
    let conditions = ["--fail-if", "p99>0us", "--fail-if", "lost>0", "--fail-if", "p95<0", "--fail-if", "p50<1000s"];
    let output = run(&mut short(serve(Fault::None), &[&["--percentiles", "50,95"], &conditions[..]].concat()));
    let lines: Vec<&str> = error(&output).lines().filter(|line| line.contains("--fail-if")).collect();
    let [p99, p50] = lines[..] else { panic!("two conditions hold: {lines:?}") };
    assert!(p99.starts_with("loadtest: --fail-if p99>0us: latency_us.p99 is ") && p99.ends_with(" µs"), "{p99}");
    assert!(p50.starts_with("loadtest: --fail-if p50<1000s: latency_us.p50 is "), "{p50}");
}

#[test]
fn condition_on_an_unmeasured_figure_holds() {
    let output = run(&mut storm(serve(Fault::None), &["--fail-if", "p99>1s"]));
    assert_code(&output, 4);
    assert!(error(&output).contains("--fail-if p99>1s: latency_us.p99 was not measured"), "{}", error(&output));
    let output = run(&mut storm(serve(Fault::None), &["--fail-if", "server.cpu_share>1%"]));
    assert!(error(&output).contains("server.cpu_share was not measured"), "{}", error(&output));
}

#[test]
fn wrong_condition_is_refused_before_the_run() {
    for (condition, words) in [
        ("latency>5ms", "--fail-if latency>5ms: `latency` is no figure of a result; similar names are "),
        ("p95>5ms", "add 95 to --percentiles"),
        ("lost>5ms", "`ms` is no unit of lost"),
        ("p99", "a condition is a figure, an operator and a number"),
    ] {
        let output = run(&mut short(unused_address(), &["--fail-if", condition]));
        assert_eq!((code(&output), out(&output)), (2, ""), "{condition}: {}", error(&output));
        assert!(error(&output).contains(words), "{condition}: {}", error(&output));
    }
}

#[test]
fn full_standard_output_is_an_error_of_one_line_and_files_are_written() {
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    let directory = directory();
    let file = path(&directory, "a.json");
    let output = run(storm(serve(Fault::None), &["--json", &file]).stdout(full()));
    assert_code(&output, 3);
    assert_eq!(error(&output), "loadtest: cannot write to standard output: No space left on device (os error 28)\n");
    assert_eq!(json(&file)["joined"], 6);
    let output = run(loadtest(&["zoo", "--list"]).stdout(full()));
    assert_code(&output, 3);
    let output = run(&mut storm(serve(Fault::None), &["-q", "--json", "/dev/full"]));
    assert_eq!(error(&output), "loadtest: cannot write /dev/full: No space left on device (os error 28)\n");
    assert_code(&output, 3);
}

#[test]
fn full_standard_error_ends_no_run() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = run(short(serve(Fault::LoseForOne(3)), &["-q"]).stderr(full));
    assert_eq!(code(&output), 1);
}

#[test]
fn closed_standard_output_is_no_error() {
    let closed = || {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        writer
    };
    for more in [&[][..], &["--json", "-"]] {
        let output = run(storm(serve(Fault::None), more).stdout(closed()));
        assert_code(&output, 0);
    }
}

#[test]
fn two_options_with_the_same_file_are_refused() {
    let directory = directory();
    let (file, link) = (path(&directory, "a.json"), path(&directory, "link"));
    fs::write(&file, "old").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    for (first, second) in [(&file, &file), (&file, &link), (&"-".to_owned(), &"/dev/stdout".to_owned())] {
        let output = run(&mut short(unused_address(), &["--json", first, "--report", second]));
        assert_eq!((code(&output), error(&output).lines().count()), (2, 1), "{}", error(&output));
        assert!(error(&output).contains("--json and --report name the same file"), "{}", error(&output));
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "old");
}

#[test]
fn run_that_cannot_begin_leaves_all_files_as_they_were() {
    let directory = directory();
    let (old, new) = (path(&directory, "old.json"), path(&directory, "new.html"));
    fs::write(&old, "old").unwrap();
    for more in [&[][..], &["--size", "3"], &["--fail-if", "nothing>1"]] {
        let output = run(&mut short(unused_address(), &[&["--json", &old, "--report", &new], more].concat()));
        assert!(code(&output) >= 2, "{}", error(&output));
    }
    assert_eq!(fs::read_to_string(&old).unwrap(), "old");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "a run that cannot begin leaves no new file");
}

#[test]
fn option_without_an_effect_is_refused() {
    for (arguments, option) in [
        (&["limit", "--report", "x"][..], "--report"),
        (&["compare", "--json", "x", "a.json", "b.json"], "--json"),
        (&["markdown", "--json", "x", "a.json"], "--json"),
        (&["zoo", "--list", "--json", "x"], "--json"),
        (&["zoo", "--fail-if", "p99>1ms"], "--fail-if"),
    ] {
        let output = run(&mut loadtest(arguments));
        assert_eq!((code(&output), out(&output), error(&output).lines().count()), (2, "", 1), "{}", error(&output));
        assert!(error(&output).contains(&format!("does not honour {option}: leave it out")), "{}", error(&output));
    }
}

#[test]
fn limit_writes_its_json_without_a_table() {
    let directory = directory();
    let file = path(&directory, "limit.json");
    let output =
        run(&mut loadtest(&["limit", "--sockets", "2", "--lines", "1", "--duration", "1ms", "-q", "--json", &file]));
    assert_eq!((code(&output), out(&output), error(&output)), (0, "", ""));
    assert_eq!((&json(&file)["schema_version"], &json(&file)["sockets"]), (&1.into(), &2.into()));
    assert_eq!(mismatches("limit", &json(&file)), Vec::<String>::new());
}

#[test]
fn seconds_are_written_as_csv_and_as_a_histogram_log() {
    let directory = directory();
    let (table, log, result) = (path(&directory, "a.csv"), path(&directory, "a.hlog"), path(&directory, "a.json"));
    let target = serve(Fault::None).to_string();
    let shape = ["--connections", "4", "--rooms", "1", "--rate", "20/s", "--warmup", "0s", "--duration", "1100ms"];
    let files = ["--csv", &table, "--histograms", &log, "--json", &result, "--percentiles", "50,99.99"];
    let output = run(&mut loadtest(&[&["steady", "--target", &target], &shape[..], &files[..]].concat()));
    assert!(out(&output).contains("\n  latency       p50 ") && out(&output).contains("  p99.99 "), "{}", out(&output));
    let result = json(&result);
    let quantiles: Vec<f64> =
        result["percentiles"].as_array().unwrap().iter().filter_map(|one| one["quantile"].as_f64()).collect();
    assert_eq!(quantiles, [0.5, 0.9999]);
    let delivered = result["timeline"][0]["delivered"].as_u64().unwrap();
    let rows = fs::read_to_string(&table).unwrap();
    let rows: Vec<&str> = rows.lines().collect();
    assert!(rows[0].starts_with("second,delivered,count,min_us,") && rows.len() == 2, "{rows:?}");
    assert!(rows[1].starts_with(&format!("0,{delivered},{delivered},")), "{rows:?}");
    let counts = read_log(&fs::read(&log).unwrap());
    assert_eq!(counts[0], ("latency".to_owned(), delivered));
    assert!(counts.contains(&("send_lag".to_owned(), result["send_lag_us"]["count"].as_u64().unwrap())), "{counts:?}");
}

/// Returns the tag and the count of each histogram of a log.
fn read_log(log: &[u8]) -> Vec<(String, u64)> {
    let read = |entry: LogEntry<'_>| {
        let LogEntry::Interval(interval) = entry else { return None };
        let bytes = STANDARD.decode(interval.encoded_histogram()).unwrap();
        let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
        Some((interval.tag().unwrap().as_str().to_owned(), histogram.len()))
    };
    IntervalLogIterator::new(log).map(Result::unwrap).filter_map(read).collect()
}

#[test]
fn results_of_all_scenarios_match_the_schema() {
    let (good, lossy) = (serve(Fault::None).to_string(), serve(Fault::LoseForAll(3)).to_string());
    let (refusing, pid) = (serve(Fault::Refuse).to_string(), std::process::id().to_string());
    let few = ["--connections", "6", "--rooms", "2", "--patience", "300ms"];
    let brief = ["--rate", "40/s", "--warmup", "0s", "--duration", "200ms"];
    for (arguments, target) in [
        (&[&["steady"], &brief[..]].concat()[..], &good),
        (&[&["steady", "--pid", &pid], &brief[..]].concat(), &lossy),
        (&["steady", "--rate", "0.01/s", "--warmup", "100ms", "--duration", "100ms"], &good),
        (&["flood", "--lines", "5", "--pid", &pid], &good),
        (&[&["step", "--steps", "2", "--until-p99", "1h"], &brief[..]].concat(), &good),
        (&[&["churn", "--stay", "50ms", "--away", "20ms"], &brief[..]].concat(), &good),
        (&[&["reconnect", "--jitter", "20ms"], &brief[..]].concat(), &good),
        (&[&["slow", "--share", "50%"], &brief[..]].concat(), &good),
        (&["storm"], &good),
        (&["storm"], &refusing),
        (&["idle", "--duration", "10ms"], &good),
    ] {
        let output = run(loadtest(arguments).args(few).args(["--target", target, "--json", "-"]));
        let result: Value =
            serde_json::from_str(out(&output)).unwrap_or_else(|_| panic!("{arguments:?}: {}", error(&output)));
        assert_eq!(mismatches("result", &result), Vec::<String>::new(), "{arguments:?}: {result:#}");
    }
}

#[test]
fn slow_members_are_in_every_form_of_output() {
    let directory = directory();
    let skipping = || serve(Fault::Skip(5)).to_string();
    let shape = ["slow", "--connections", "10", "--rooms", "2", "--rate", "50/s", "--warmup", "0s", "--duration", "1s"];
    let [result, page] = ["a.json", "a.html"].map(|name| path(&directory, name));
    let files = ["--json", &result, "--report", &page, "--fail-if", "slow_skipped>6", "--target", &skipping()];
    let output = run(loadtest(&shape).args(files));
    assert!([0, 3].contains(&code(&output)), "{}{}", out(&output), error(&output));
    let value = json(&result);
    assert_eq!((&value["slow_members"], &value["slow_skipped"]), (&2.into(), &6.into()), "{value:#}");
    assert_eq!((&value["lost"], &value["slow_closes"]), (&0.into(), &serde_json::json!({})), "{value:#}");
    assert_eq!(value["parameters"]["read_rate_bytes_per_second"], 4096, "{value:#}");
    assert!(out(&output).contains("  slow readers  2 members, ") && out(&output).contains("6 skipped"), "{output:?}");
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("deliveries skipped for slow members"), "{page}");
    let bound = ["--fail-if", "slow_skipped>=6", "--target", &skipping()];
    assert!([3, 4].contains(&code(&run(loadtest(&shape).args(bound)))));
}

#[test]
fn members_that_come_back_are_in_every_form_of_output() {
    let directory = directory();
    let target = serve(Fault::None).to_string();
    let shape = ["--connections", "10", "--rooms", "2", "--rate", "50/s", "--warmup", "0s", "--duration", "1s"];
    for scenario in [&["churn", "--stay", "100ms", "--away", "50ms"][..], &["reconnect", "--jitter", "100ms"]] {
        let [result, page, table] = ["a.json", "a.html", "a.csv"].map(|name| path(&directory, name));
        let files = ["--json", &result, "--report", &page, "--csv", &table, "--fail-if", "returned<1"];
        let output = run(loadtest(scenario).args(shape).args(files).args(["--target", &target]));
        assert!([0, 3].contains(&code(&output)), "{}{}", out(&output), error(&output));
        let value = json(&result);
        assert_eq!(value["returned"], value["departures"], "{value:#}");
        assert_eq!(value["returns"]["join_us"]["count"], value["returned"], "{value:#}");
        assert!(
            out(&output).contains("  came back     ") && out(&output).contains("  joined again  p50 "),
            "{output:?}"
        );
        let page = fs::read_to_string(page).unwrap();
        assert!(page.contains("joining again without own lag") && page.contains("members that came back"), "{page}");
        assert!(fs::read_to_string(table).unwrap().lines().count() >= 2);
        let bound = ["--fail-if", "returns.join_us.p50<3600s", "--json", "-"];
        let output = run(loadtest(scenario).args(shape).args(bound).args(["--target", &target]));
        assert!([3, 4].contains(&code(&output)), "{}{}", out(&output), error(&output));
    }
    let repeated = ["churn", "--stay", "100ms", "--repeat", "2", "--target", &target];
    let output = run(loadtest(&repeated).args(shape));
    assert!(
        [0, 3].contains(&code(&output)) && out(&output).contains("return-p99"),
        "{}{}",
        out(&output),
        error(&output)
    );
}

#[test]
fn result_that_does_not_match_the_schema_is_noticed() {
    let output = run(&mut short(serve(Fault::None), &["--json", "-"]));
    let good: Value = serde_json::from_str(out(&output)).unwrap();
    let changed = |change: fn(&mut Value)| {
        let mut result = good.clone();
        change(&mut result);
        mismatches("result", &result)
    };
    assert_eq!(changed(|result| result["lost"] = "none".into()), [".lost is none of the types"]);
    assert_eq!(changed(|result| result["latency_us"]["p99"] = 1.5.into()), [".latency_us.p99 is none of the types"]);
    assert_eq!(changed(|result| result["new"] = 1.into()), [".new is not in the schema"]);
    assert_eq!(changed(|result| result["verdict"]["kind"] = "fine".into()), [".verdict.kind matches no choice"]);
    assert_eq!(changed(|result| _ = result.as_object_mut().unwrap().remove("lost")), [".lost is missing"]);
}

#[test]
fn unmeasured_figures_are_null() {
    let target = serve(Fault::None).to_string();
    let shape = ["--rate", "0.01/s", "--warmup", "1s", "--duration", "200ms", "--connections", "2", "--rooms", "1"];
    let output = run(loadtest(&[&["steady"], &shape[..]].concat()).args(["--target", &target, "--json", "-"]));
    let result: Value = serde_json::from_str(out(&output)).unwrap();
    assert_eq!((&result["latency_us"]["count"], &result["window_delivered"]), (&0.into(), &0.into()), "{result:#}");
    for pointer in ["/latency_us/p99", "/latency_us/max", "/percentiles/0/value_us", "/generator/cpu_ns_per_delivery"] {
        assert!(result.pointer(pointer).unwrap().is_null(), "{pointer}: {result:#}");
    }
    assert!(error(&output).contains("  latency       not measured"), "{}", error(&output));
}

#[test]
fn escape_sequences_of_a_server_are_shown_escaped_everywhere() {
    let directory = directory();
    let (result, page) = (path(&directory, "a.json"), path(&directory, "a.html"));
    let target = serve(Fault::RefuseWithEscapes);
    let output = run(&mut short(target, &["--json", &result, "--report", &page]));
    let shown = "it sent `ERROR: \\x1b[2Jfull\\u{9b}31m\\u{202e}`";
    assert!(out(&output).contains(shown), "{}{}", out(&output), error(&output));
    let (result, page) = (fs::read_to_string(result).unwrap(), fs::read_to_string(page).unwrap());
    assert!(page.contains(shown) && result.contains("\\\\x1b[2Jfull"), "{result}");
    for text in [out(&output), error(&output), &result, &page] {
        assert!(!text.contains([ESCAPE, '\u{9b}', '\u{202e}']), "{text}");
    }
}

#[test]
fn output_to_a_file_has_no_color() {
    let directory = directory();
    let file = directory.path().join("out");
    for arguments in [&["flood", "--no-such-option"][..], &["flood", "--help"], &["zoo", "--list"]] {
        let out = File::create(&file).unwrap();
        let mut program = loadtest(arguments);
        program.stderr(Stdio::from(out.try_clone().unwrap())).stdout(out).env("NO_COLOR", "1");
        assert!(program.status().unwrap().code().is_some());
        assert!(!read(&file).contains(ESCAPE), "{arguments:?}: {}", read(&file));
    }
    let output = run(&mut short(serve(Fault::None), &[]));
    assert!(!out(&output).contains(ESCAPE) && !error(&output).contains(ESCAPE), "{}", out(&output));
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}
