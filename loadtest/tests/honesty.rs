//! The generator suspects itself first: stopped, starved or overfed it says so, and only progress renews its patience.
#![allow(clippy::unwrap_used, reason = "a test stops at the first error")]

mod common;

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use common::{Fault, refusing_address, run_with, serve};
use loadtest::verdict::VerdictKind;

/// Starts the program with 12 members in 3 rooms. It prints its progress to a pipe.
fn start(scenario: &str, target: SocketAddr, more: &[&str]) -> Child {
    let mut program = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    program.args([scenario, "--target", &target.to_string(), "--connections", "12", "--rooms", "3"]).args(more);
    program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn run_program(scenario: &str, target: SocketAddr, more: &[&str]) -> Output {
    start(scenario, target, more).wait_with_output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap().success());
}

/// Waits for the first progress line of a phase, and returns the rest of standard error.
fn wait_for(child: &mut Child, phase: &str) -> BufReader<std::process::ChildStderr> {
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with(phase) {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the program ended before it was {phase}");
    }
    lines
}

#[test]
fn keepalives_of_the_server_do_not_renew_the_patience() {
    let result = run_with(Fault::Keepalive(5));
    assert_eq!(result.outcome.counters.lost, 2, "{}", result.verdict.text);
    assert_eq!(result.verdict.kind, VerdictKind::Wrong, "{}", result.verdict.text);
}

#[test]
fn join_that_is_never_answered_ends_the_run_beside_keepalives() {
    let result = run_with(Fault::JoinsUnanswered);
    assert_eq!(result.outcome.counters.joined, 0);
    assert!(result.verdict.text.contains("0 of 10 connections joined"), "{}", result.verdict.text);
}

#[test]
fn stop_of_the_generator_is_its_own_fault() {
    for scenario in [&["steady", "--rate", "20/s"][..], &["flood", "--in-flight", "2"]] {
        let options = ["--duration", "6s", "--warmup", "0s", "--patience", "1s"];
        let mut program = start(scenario[0], serve(Fault::None), &[&scenario[1..], &options].concat());
        let rest = wait_for(&mut program, "sending");
        signal(&program, "STOP");
        // Longer than the patience: the deliveries that are missing at the end of the stop are not lost.
        thread::sleep(Duration::from_millis(2500));
        signal(&program, "CONT");
        drop(thread::spawn(move || rest.lines().count()));
        let output = program.wait_with_output().unwrap();
        let text = text(&output);
        assert_eq!(output.status.code(), Some(3), "{text}");
        assert!(text.contains("SATURATED: the generator was stopped"), "{text}");
        assert!(text.contains(" 0 lost, 0 duplicated"), "{text}");
    }
}

#[test]
fn rate_beyond_the_generator_is_no_loss_of_the_server() {
    for rate in ["200000/s", "10000000/s"] {
        let output = run_program("steady", serve(Fault::None), &["--rate", rate, "--duration", "1s", "--warmup", "0s"]);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(3), "{rate}: {text}");
        assert!(!text.contains("WRONG"), "{rate}: {text}");
    }
}

#[test]
fn signal_ends_each_phase_with_the_figures_so_far() {
    // Without the signal each of these runs would last for an hour.
    for (phase, fault, options) in [
        ("joining", Fault::JoinsUnanswered, &["--duration", "1h"][..]),
        ("sending", Fault::None, &["--duration", "1h"]),
        ("leaving", Fault::KeepOpen, &["--lines", "1"]),
    ] {
        let patience = ["--patience", "1h"];
        let mut program = start("steady", serve(fault), &[options, &patience].concat());
        let rest = wait_for(&mut program, phase);
        drop(thread::spawn(move || rest.lines().count()));
        signal(&program, "INT");
        let output = program.wait_with_output().unwrap();
        let text = text(&output);
        assert_eq!(output.status.code(), Some(130), "{phase} {fault:?}: {text}");
        assert!(text.contains("stopped by SIGINT after") && text.contains("checks "), "{phase} {fault:?}: {text}");
    }
}

/// Waits until a program has installed its handler of SIGINT.
fn wait_for_handlers(child: &Child) {
    let sigint_is_caught = |status: String| {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or_default();
        u64::from_str_radix(mask.trim(), 16).unwrap_or_default() & 0b10 != 0
    };
    while !sigint_is_caught(std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap()) {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn signal_ends_the_check_of_a_server_that_does_not_answer() {
    // The kernel drops the connects to a listener whose queue is full.
    let (socket, unanswered) = refusing_address();
    socket.listen(0).unwrap();
    let _queued = TcpStream::connect(unanswered).unwrap();
    for target in [unanswered, serve(Fault::Silent)] {
        let program = start("steady", target, &["--patience", "1h"]);
        wait_for_handlers(&program);
        signal(&program, "INT");
        let output = program.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", text(&output));
        // The second one has to greet, or to accept the connection still where the signal comes early.
        let words = format!("stopped by SIGINT while {target} was awaited to ");
        assert!(text(&output).contains(&words), "{}", text(&output));
    }
}

#[test]
fn window_without_a_line_measures_nothing() {
    let options = ["--rate", "0.1/s", "--warmup", "1s", "--duration", "1s"];
    let output = run_program("steady", serve(Fault::None), &options);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(text(&output).contains("nothing was measured"), "{}", text(&output));
}

#[test]
fn numbers_that_would_overflow_are_refused() {
    let target = serve(Fault::None);
    for (options, words) in [
        (&["--duration", "600years"][..], "--duration 600years is too long: with --warmup at most 1day"),
        (&["--lines", "6148914691236517206"], "--lines 6148914691236517206 is too many"),
        (&["--patience", "2h"], "--patience 2h is too long: at most 1h"),
    ] {
        let output = run_program("steady", target, options);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        assert!(text(&output).contains(words), "{}", text(&output));
    }
}
