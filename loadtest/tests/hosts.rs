//! Load from several worker hosts: processes of this machine, threads with a clock of their own, and faked hosts.
#![allow(clippy::unwrap_used, reason = "a test stops at the first error")]
#![allow(clippy::cast_precision_loss, reason = "an hour in nanoseconds fits into the 52 bits of a float")]

mod common;

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use common::{Fault, serve};
use loadtest::coordinator;
use loadtest::plan::{Pacing, Plan, Stop};
use loadtest::test_result::TestResult;
use loadtest::verdict::VerdictKind;
use loadtest::worker_hosts::Token;
use loadtest::worker_pool::WorkerHost;
use rustix::process::{Pid, Signal, kill_process};

/// One hour in nanoseconds.
const HOUR: i64 = 3_600_000_000_000;

/// A `loadtest worker` as a process. Dropping it kills the process.
struct HostProcess {
    child: Child,
    address: String,
    lines: Lines<BufReader<ChildStdout>>,
}

impl HostProcess {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
        command.env_remove("LOADTEST_TOKEN").args(["worker", "--listen", "127.0.0.1:0"]).args(arguments);
        Self::start_command(command)
    }

    fn start_command(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let address = first.strip_prefix("listening on ").unwrap().to_owned();
        Self { child, address, lines }
    }

    fn next_line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }
}

impl Drop for HostProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn send_signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Starts a worker host in a thread of this test, with a clock that is ahead of the machine's clock.
fn host_with_clock_offset(clock_offset: i64) -> String {
    let host = WorkerHost::bind("127.0.0.1:0", None, 1000).unwrap().with_clock_offset(clock_offset);
    let address = host.address().unwrap().to_string();
    thread::spawn(move || host.serve());
    address
}

/// Returns the usual plan for some hosts. The test server's faults decide its end, and no patience does.
fn plan(target: SocketAddr, hosts: &[&str]) -> Plan {
    let mut plan = common::plan(target);
    plan.patience = Duration::from_secs(60);
    plan.hosts.addresses = hosts.iter().map(ToString::to_string).collect();
    plan
}

/// Returns a plan whose two rooms stop at their first line, which the server loses: the run lasts until it is ended.
fn stalled_plan(hosts: &[&str]) -> Plan {
    Plan { pacing: Pacing::Closed { window: 1 }, ..plan(serve(Fault::LoseForAll(1)), hosts) }
}

/// Runs a plan, and calls `then` once when both rooms of the plan have sent their first line.
fn run_stalled(plan: &Plan, then: impl FnOnce()) -> TestResult {
    let mut then = Some(then);
    let run = coordinator::run(plan, None, &mut |snapshot| {
        if snapshot.progress.sent == 2
            && let Some(then) = then.take()
        {
            then();
        }
    });
    TestResult::new("flood", plan, &run.unwrap())
}

/// Returns the line that a plan is refused with before the run.
fn refusal(plan: &Plan) -> String {
    format!("{:#}", coordinator::run(plan, None, &mut |_| ()).unwrap_err())
}

fn loadtest(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.env_remove("LOADTEST_TOKEN").args(arguments);
    command
}

/// Returns the command of a coordinator whose run lasts until it is ended.
fn stalled_coordinator(host: &HostProcess) -> Command {
    let target = serve(Fault::LoseForAll(1)).to_string();
    let mut command = loadtest(&["flood", "--target", &target, "--workers", &host.address, "--in-flight", "1"]);
    command.args(["--connections", "10", "--rooms", "2", "--lines", "20", "--patience", "60s"]).stdout(Stdio::null());
    command
}

fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

fn assert_all_delivered(result: &TestResult) {
    let counters = &result.outcome.counters;
    assert_eq!((counters.sent, counters.expected, counters.delivered), (40, 200, 200), "{counters:?}");
    assert_eq!((counters.join_notices, counters.left), (30, 10), "{counters:?}");
    // A busy machine makes the generator the bottleneck, which is not the subject here.
    assert!(matches!(result.verdict.kind, VerdictKind::Good | VerdictKind::Saturated), "{}", result.verdict.text);
}

#[test]
fn rooms_are_spread_over_two_hosts() {
    let (mut first, mut second) = (HostProcess::start(&[]), HostProcess::start(&[]));
    let target = serve(Fault::None).to_string();
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("two-hosts.json");
    let workers = format!("{},{}", first.address, second.address);
    // Each host serves one run after the other.
    for _ in 0..2 {
        let mut command = loadtest(&["flood", "--target", &target, "--workers", &workers, "--in-flight", "2"]);
        command.args(["--connections", "12", "--rooms", "4", "--lines", "10", "--patience", "60s", "--threads", "2"]);
        let (table, errors) = text(&command.arg("--json").arg(&file).output().unwrap());
        assert!(table.contains("40 sent, 120 deliveries expected, 120 delivered"), "{table}{errors}");
        let value: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        for (index, host) in [&mut first, &mut second].into_iter().enumerate() {
            let row = format!("host          {}: 6 connections, 2 threads, clock ", host.address);
            assert!(table.contains(&row), "{table}");
            let figures = &value["hosts"][index];
            assert_eq!(figures["address"], host.address.as_str());
            assert_eq!((figures["connections"].as_u64(), figures["threads"].as_u64()), (Some(6), Some(2)));
            // Both processes have one clock, so its offset lies within the bound of the error.
            let figure = |key: &str| figures[key].as_f64().unwrap();
            assert!(figure("offset_us").abs() <= figure("error_us"), "{figures}");
            assert!(figures["drift_us"].is_f64() && figures["machine"]["cores"].is_u64(), "{figures}");
            let line = host.next_line();
            assert!(line.ends_with(&format!("6 connections in 2 rooms of {target} (line)")), "{line}");
            assert!(host.next_line().ends_with(" ended"));
        }
    }
}

#[test]
fn hosts_whose_clocks_differ_by_an_hour_give_the_same_counts() {
    let earlier = -i64::try_from(loadtest::clock::now() / 2).unwrap();
    for offsets in [[0, 0], [0, HOUR], [HOUR, earlier]] {
        let hosts = offsets.map(host_with_clock_offset);
        let mut plan = plan(serve(Fault::None), &[&hosts[0], &hosts[1]]);
        assert_all_delivered(&common::run(&plan));
        // A plan that ends by time: both the start and the end of the window are ticks that cross the link.
        (plan.stop, plan.warmup) = (Stop::After(Duration::from_millis(200)), Duration::from_millis(100));
        let result = common::run(&plan);
        let outcome = &result.outcome;
        // 200 lines per second in each of two rooms, for 300 ms.
        assert_eq!((outcome.counters.sent, outcome.counters.delivered), (120, 600), "{:?}", outcome.counters);
        assert_eq!(outcome.counters.lost, 0, "{:?}", outcome.counters);
        for (figures, offset) in outcome.hosts.iter().zip(offsets) {
            let difference = (figures.offset_us - offset as f64 / 1e3).abs();
            assert!(difference <= figures.error_us + 0.001, "{figures:?} of {offset}");
        }
        // The span of both hosts' windows, on the clock of the coordinator.
        assert!((outcome.window_seconds - 0.2).abs() < 1e-6, "{} s", outcome.window_seconds);
    }
}

#[test]
fn wrong_token_is_refused_with_the_host_and_the_remedy() {
    let host = HostProcess::start(&["--token", "secret"]);
    let mut plan = plan(serve(Fault::None), &[&host.address]);
    for token in [None, Token::new("secrets")] {
        plan.hosts.token = token;
        let refusal = refusal(&plan);
        assert!(refusal.starts_with(&format!("worker host {} refused the token", host.address)), "{refusal}");
        assert!(refusal.contains("--token or LOADTEST_TOKEN") && !refusal.contains("secret"), "{refusal}");
    }
    plan.hosts.token = Token::new("secret");
    assert_all_delivered(&common::run(&plan));
}

#[test]
fn host_without_a_token_listens_on_loopback_only() {
    // An empty variable is no token.
    let output = loadtest(&["worker", "--listen", "0.0.0.0:0"]).env("LOADTEST_TOKEN", "").output().unwrap();
    let (_, errors) = text(&output);
    assert_eq!((output.status.code(), errors.lines().count()), (Some(2), 1), "{errors}");
    assert!(errors.contains("--listen 0.0.0.0:0 is open to other machines"), "{errors}");
    assert!(errors.contains("give a --token"), "{errors}");
}

#[test]
fn token_of_the_environment_is_used_by_both_sides() {
    let mut command = loadtest(&["worker", "--listen", "127.0.0.1:0"]);
    command.env("LOADTEST_TOKEN", "secret");
    let host = HostProcess::start_command(command);
    let target = serve(Fault::None).to_string();
    let run = |token: &str| {
        let mut command = loadtest(&["idle", "--target", &target, "--workers", &host.address, "--duration", "1ms"]);
        command.args(["--connections", "4", "--rooms", "2"]).env("LOADTEST_TOKEN", token).output().unwrap()
    };
    let output = run("secret");
    assert_eq!(output.status.code(), Some(0), "{:?}", text(&output));
    let output = run("other");
    assert_eq!(output.status.code(), Some(3), "{:?}", text(&output));
    assert!(text(&output).1.contains("refused the token"), "{:?}", text(&output));
}

#[test]
fn other_version_of_a_host_is_refused_with_both_versions() {
    let fake = fake_host(|mut link| {
        link.reply(r#"{"magic":"roomcast-loadtest","link":7,"version":"99.0.0","answer":"of a later version"}"#);
        link.next_line();
    });
    let refusal = refusal(&plan(serve(Fault::None), &[&fake]));
    let here = env!("CARGO_PKG_VERSION");
    assert!(refusal.starts_with(&format!("worker host {fake} runs version 99.0.0 (link version 7)")), "{refusal}");
    assert!(refusal.contains(&format!("this is version {here} (link version 1)")), "{refusal}");
    assert_eq!(refusal.lines().count(), 1, "{refusal}");
}

#[test]
fn other_version_of_a_coordinator_is_answered_with_the_version_of_the_host() {
    let host = HostProcess::start(&[]);
    let mut stream = TcpStream::connect(&host.address).unwrap();
    stream.write_all(b"{\"magic\":\"roomcast-loadtest\",\"link\":1,\"version\":\"99.0.0\"}\n").unwrap();
    let answer = BufReader::new(stream).lines().next().unwrap().unwrap();
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(answer["answer"]["refused"], "version", "{answer}");
    assert_all_delivered(&common::run(&plan(serve(Fault::None), &[&host.address])));
}

#[test]
fn program_that_is_no_worker_host_is_named() {
    let fake = fake_host(|mut link| {
        link.reply("HTTP/1.1 400 \u{1b}[31mBad Request");
        link.next_line();
    });
    let refusal = refusal(&plan(serve(Fault::None), &[&fake]));
    assert!(refusal.starts_with(&format!("worker host {fake} is no `loadtest worker`: it sent")), "{refusal}");
    assert!(refusal.contains("HTTP/1.1 400 \\x1b[31mBad Request"), "{refusal}");
}

#[test]
fn unreachable_host_is_named_with_the_remedy() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let error = refusal(&plan(serve(Fault::None), &[&free]));
    assert!(error.starts_with(&format!("worker host {free} is not reachable (")), "{error}");
    assert!(error.contains("start `loadtest worker --listen` there"), "{error}");
    let error = refusal(&plan(serve(Fault::None), &["nowhere"]));
    assert!(error.contains("--workers nowhere is not an address with a port"), "{error}");
}

#[test]
fn limit_of_open_files_is_checked_for_each_host() {
    let good = HostProcess::start(&[]);
    let mut command = Command::new("sh");
    let script = "ulimit -n 200; exec \"$0\" worker --listen 127.0.0.1:0";
    let small = HostProcess::start_command({
        command.args(["-c", script, env!("CARGO_BIN_EXE_loadtest")]).env_remove("LOADTEST_TOKEN");
        command
    });
    let mut plan = plan(serve(Fault::None), &[&good.address, &small.address]);
    plan.connections = 300;
    let error = refusal(&plan);
    let expected = format!("worker host {} may open 136 files, but its rooms have 150 connections", small.address);
    assert!(error.contains(&expected), "{error}");
    plan.connections = 10;
    assert_all_delivered(&common::run(&plan));
}

#[test]
fn host_that_vanishes_ends_the_run_with_the_figures_so_far() {
    let mut hosts = [HostProcess::start(&[]), HostProcess::start(&[])];
    let addresses = [hosts[0].address.clone(), hosts[1].address.clone()];
    let plan = stalled_plan(&[&addresses[0], &addresses[1]]);
    let result = run_stalled(&plan, || hosts[1].child.kill().unwrap());
    let verdict = &result.verdict;
    assert_eq!((verdict.kind, verdict.exit_code()), (VerdictKind::Incomplete, 3), "{}", verdict.text);
    assert!(
        verdict.text.contains(&format!("the link to worker host {} ended early", addresses[1])),
        "{}",
        verdict.text
    );
    let counters = &result.outcome.counters;
    assert_eq!((counters.joined, counters.sent, counters.lost), (5, 1, 0), "{counters:?}");
    let drifts: Vec<bool> = result.outcome.hosts.iter().map(|host| host.drift_us.is_some()).collect();
    assert_eq!(drifts, [true, false], "{:?}", result.outcome.hosts);
    // The other host is free for the next run.
    assert_all_delivered(&common::run(&self::plan(serve(Fault::None), &[&addresses[0]])));
}

#[test]
fn signal_at_a_host_ends_the_run_and_is_named() {
    for (signal, name, code) in [(Signal::TERM, "SIGTERM", 143), (Signal::INT, "SIGINT", 130)] {
        let mut hosts = [HostProcess::start(&[]), HostProcess::start(&[])];
        let plan = stalled_plan(&[&hosts[0].address, &hosts[1].address]);
        let result = run_stalled(&plan, || send_signal(&hosts[0].child, signal));
        let text = &result.verdict.text;
        let expected = format!("INCOMPLETE: worker host {}: stopped by {name}", hosts[0].address);
        assert!(text.starts_with(&expected), "{text}");
        let counters = &result.outcome.counters;
        assert_eq!((counters.joined, counters.sent, counters.lost, counters.left), (10, 2, 0, 10), "{counters:?}");
        assert_eq!(hosts[0].child.wait().unwrap().code(), Some(code));
    }
}

#[test]
fn signal_ends_a_host_that_waits_for_a_coordinator() {
    let mut host = HostProcess::start(&[]);
    send_signal(&host.child, Signal::TERM);
    assert_eq!(host.child.wait().unwrap().code(), Some(143));
}

#[test]
fn signal_at_the_coordinator_ends_the_run_of_its_hosts() {
    let mut host = HostProcess::start(&[]);
    let mut coordinator = stalled_coordinator(&host).spawn().unwrap();
    assert!(host.next_line().contains("10 connections in 2 rooms"));
    send_signal(&coordinator, Signal::INT);
    assert_eq!(coordinator.wait().unwrap().code(), Some(130));
    assert!(host.next_line().ends_with(" ended"));
    assert_all_delivered(&common::run(&plan(serve(Fault::None), &[&host.address])));
}

#[test]
fn signal_at_the_coordinator_ends_it_while_a_host_is_silent() {
    let mut host = HostProcess::start(&[]);
    let coordinator = stalled_coordinator(&host).stdout(Stdio::piped()).spawn().unwrap();
    assert!(host.next_line().contains("10 connections in 2 rooms"));
    send_signal(&host.child, Signal::STOP);
    send_signal(&coordinator, Signal::INT);
    let output = coordinator.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(text(&output).0.contains("INCOMPLETE: stopped by SIGINT"), "{:?}", text(&output));
}

#[test]
fn end_of_the_coordinator_ends_the_run_of_its_hosts() {
    let mut host = HostProcess::start(&[]);
    let mut coordinator = stalled_coordinator(&host).spawn().unwrap();
    assert!(host.next_line().contains("10 connections in 2 rooms"));
    // A host serves one run at a time.
    let error = refusal(&plan(serve(Fault::None), &[&host.address]));
    assert!(error.contains(&format!("worker host {} is busy with another run", host.address)), "{error}");
    coordinator.kill().unwrap();
    coordinator.wait().unwrap();
    assert!(host.next_line().ends_with(" ended"));
    assert_all_delivered(&common::run(&plan(serve(Fault::None), &[&host.address])));
}

#[test]
fn host_that_sends_events_of_other_workers_fails() {
    let fake = fake_host(|mut link| {
        let program = format!(r#""magic":"roomcast-loadtest","link":1,"version":"{}""#, env!("CARGO_PKG_VERSION"));
        let machine = r#"{"cores":1,"cpu":"","kernel":"","memory_bytes":0}"#;
        link.next_line();
        link.reply(&format!(r#"{{{program},"answer":{{"accepted":{{"max_connections":100,"machine":{machine}}}}}}}"#));
        while link.next_line().contains("ReadClock") {
            link.reply(r#"{"Clock":{"received":5,"replied":5}}"#);
        }
        link.reply(r#"{"Event":[7,"AllJoined"]}"#);
        link.next_line();
    });
    let plan = plan(serve(Fault::None), &[&fake]);
    let result = TestResult::new("steady", &plan, &coordinator::run(&plan, None, &mut |_| ()).unwrap());
    let text = &result.verdict.text;
    assert!(text.contains(&format!("worker host {fake} ended early (it sent a message out of turn)")), "{text}");
}

/// The link of a faked worker host.
struct FakeLink {
    stream: TcpStream,
    lines: Lines<BufReader<TcpStream>>,
}

impl FakeLink {
    /// Returns the coordinator's next line; an empty one at the end of the link.
    fn next_line(&mut self) -> String {
        self.lines.next().and_then(Result::ok).unwrap_or_default()
    }

    fn reply(&mut self, line: &str) {
        self.stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

/// Starts a faked worker host for one coordinator.
fn fake_host(serve: impl FnOnce(FakeLink) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let stream = listener.accept().unwrap().0;
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        serve(FakeLink { stream, lines });
    });
    address
}
