//! `zoo` as a user runs it: against the real server, and against small servers that an attack harms.

#![allow(clippy::unwrap_used, reason = "a test stops at the first error")]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use common::build_server;
use common::schema::mismatches;

/// The good clients of all runs: few, so that a busy machine can carry them.
const SHAPE: [[&str; 2]; 4] = [["--connections", "20"], ["--rooms", "2"], ["--each", "2s"], ["--patience", "20s"]];

/// The environment variable that holds the harm of a toy server.
const HARM: &str = "TOY_SERVER_HARM";

/// Runs `zoo` with the usual good clients. No latency counts as slow, as other programs use the machine, too.
fn zoo(server: &Path, more: &[&str]) -> Output {
    let shape = SHAPE.iter().filter(|option| !more.contains(&option[0])).flatten();
    let mut program = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    program.args(["zoo", "--spawn", "--floor", "1h", "--server", server.to_str().unwrap()]).args(shape).args(more);
    program.output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Returns a directory that only this test uses.
fn scratch(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Returns a program that runs a toy server with a harm: this test program, started at one test.
fn toy_program(harm: &str) -> PathBuf {
    let path = scratch("toys").join(harm);
    let tests = std::env::current_exe().unwrap();
    let command = format!("exec '{}' --exact toy_server --nocapture 3>&1 >/dev/null", tests.display());
    std::fs::write(&path, format!("#!/bin/sh\nexport {HARM}={harm}\n{command}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// An event of a toy server's connection.
enum ToyEvent {
    Connected(usize, TcpStream),
    Line(usize, String),
    Closed(usize),
}

/// A toy server with the harm that the environment names. It prints its address to descriptor 3, which the program of
/// [`toy_program`] connects to standard output. Without a harm it is no server.
#[test]
fn toy_server() {
    let Ok(harm) = std::env::var(HARM) else { return };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut out = std::fs::File::create("/dev/fd/3").unwrap();
    writeln!(out, "toy listening on tcp://{}", listener.local_addr().unwrap()).unwrap();
    let (events_out, events) = channel();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            let _ = events_out.send(ToyEvent::Connected(number, stream.try_clone().unwrap()));
            let events_out = events_out.clone();
            thread::spawn(move || {
                for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                    let _ = events_out.send(ToyEvent::Line(number, String::from_utf8_lossy(&line).trim().to_owned()));
                }
                let _ = events_out.send(ToyEvent::Closed(number));
            });
        }
    });
    let mut toy = Toy { harm, ..Toy::default() };
    for event in events {
        toy.handle(event);
    }
}

/// A chat server of one thread. Its harm begins with the first bad client.
#[derive(Default)]
struct Toy {
    harm: String,
    attacked: bool,
    streams: BTreeMap<usize, TcpStream>,
    /// The room and name of each member.
    members: BTreeMap<usize, (String, String)>,
    /// Rooms that were opened by bad clients.
    bad_rooms: std::collections::BTreeSet<String>,
}

impl Toy {
    fn handle(&mut self, event: ToyEvent) {
        match event {
            ToyEvent::Connected(number, mut stream) => {
                let _ = stream.write_all(b"Welcome! Use the command:\nJOIN <ROOMNAME> <USERNAME>\n");
                self.streams.insert(number, stream);
            }
            ToyEvent::Line(number, line) => match self.members.get(&number).cloned() {
                Some((room, name)) => self.handle_line(number, &room, &name, &line),
                None => self.join(number, &line),
            },
            ToyEvent::Closed(number) => {
                if self.harm == "keep-descriptors" && self.members.get(&number).is_some_and(|(room, _)| is_bad(room)) {
                    return;
                }
                if let Some(stream) = self.streams.remove(&number) {
                    let _ = stream.shutdown(std::net::Shutdown::Both);
                }
                if let Some((room, name)) = self.members.remove(&number) {
                    self.broadcast(&room, &format!("{name} has left\n"));
                }
            }
        }
    }

    fn join(&mut self, number: usize, line: &str) {
        let [_, room, name] = line.split(' ').collect::<Vec<_>>()[..] else { return };
        self.members.insert(number, (room.to_owned(), name.to_owned()));
        self.broadcast(room, &format!("{name} has joined\n"));
        if is_bad(room) {
            self.attacked = true;
            self.bad_rooms.insert(room.to_owned());
        }
        if self.harm == "end" && self.attacked {
            std::process::exit(7);
        }
    }

    fn handle_line(&mut self, number: usize, room: &str, name: &str, line: &str) {
        let leaked = if self.harm == "leak-rooms" { self.bad_rooms.len() } else { 0 };
        match line {
            "/rooms" => self.answer(number, &format!("*** {} rooms\n", 1 + leaked).replace("1 rooms", "1 room")),
            "/who" => self.answer(number, &format!("*** 1 in {room}: {name}\n")),
            "/quit" => _ = self.streams[&number].shutdown(std::net::Shutdown::Both),
            _ if self.harm == "lose-line" && std::mem::take(&mut self.attacked) && !is_bad(room) => {}
            _ => self.broadcast(room, &format!("{name}: {line}\n")),
        }
    }

    fn answer(&mut self, number: usize, text: &str) {
        if let Some(stream) = self.streams.get_mut(&number) {
            let _ = stream.write_all(text.as_bytes());
        }
    }

    fn broadcast(&mut self, room: &str, text: &str) {
        let numbers: Vec<usize> =
            self.members.iter().filter(|(_, member)| member.0 == room).map(|(number, _)| *number).collect();
        for number in numbers {
            self.answer(number, text);
        }
    }
}

/// Returns whether a room is one of bad clients.
fn is_bad(room: &str) -> bool {
    room.starts_with("z-")
}

#[test]
fn real_server_withstands_light_attacks() {
    let directory = scratch("zoo-results");
    let plot = directory.join("plot.svg");
    let more = [
        "--kinds",
        "silent,half-close,storm",
        "--rounds",
        "1",
        "--settle",
        "60s",
        "--results",
        directory.to_str().unwrap(),
    ];
    let output = zoo(build_server(), &[&more[..], &["--plot", plot.to_str().unwrap()]].concat());
    // The generator may lack a CPU on a busy machine, but no attack may have an effect.
    assert_ne!(output.status.code(), Some(1), "{}", text(&output));
    let result: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(directory.join("zoo.json")).unwrap()).unwrap();
    let kinds = result["kinds"].as_array().unwrap();
    let names: Vec<&str> = kinds.iter().map(|kind| kind["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["silent", "half-close", "storm", "together"]);
    for kind in kinds {
        for phase in ["here", "control"] {
            assert!(kind[phase]["attack"]["connects"].as_u64().unwrap() > 0, "{kind}");
            assert!(kind[phase]["delivered"].as_u64().unwrap() > 0 && kind[phase]["lost"] == 0, "{kind}");
        }
        assert!(kind["memory"]["rss_bytes"].as_u64().unwrap() > 0, "{kind}");
    }
    assert!(
        result["ceiling"]["bytes"].as_u64().unwrap() > 0 && result["server_arguments"].as_array().unwrap().is_empty()
    );
    let page = std::fs::read_to_string(directory.join("zoo.md")).unwrap();
    assert!(page.contains("| storm |") && page.contains("![](zoo.svg)"), "{page}");
    assert_eq!(std::fs::read(plot).unwrap(), std::fs::read(directory.join("zoo.svg")).unwrap());
}

#[test]
fn toy_server_without_harm_is_good() {
    let file = scratch("toy-result").join("zoo.json");
    let output = zoo(
        &toy_program("none"),
        &["--kinds", "reset", "--rounds", "1", "--settle", "60s", "--json", file.to_str().unwrap()],
    );
    assert_ne!(output.status.code(), Some(1), "{}", text(&output));
    assert!(!text(&output).contains("left over: "), "{}", text(&output));
    let result = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(mismatches("zoo", &result), Vec::<String>::new(), "{result:#}");
}

#[test]
fn line_lost_under_attack_is_found() {
    let output = zoo(&toy_program("lose-line"), &["--kinds", "reset", "--rounds", "1", "--patience", "5s"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("deliveries lost"), "{}", text(&output));
    assert!(text(&output).contains("1 of 1 attacks had an effect: reset"), "{}", text(&output));
}

#[test]
fn leaked_rooms_descriptors_and_a_dead_server_are_found() {
    for (harm, words) in [
        ("leak-rooms", "left over: *** 2 rooms"),
        ("keep-descriptors", " descriptors stayed open after the attack"),
        ("end", "the server ended with exit status: 7"),
    ] {
        let output = zoo(&toy_program(harm), &["--kinds", "reset", "--rounds", "1", "--patience", "5s"]);
        assert_eq!(output.status.code(), Some(1), "{harm}: {}", text(&output));
        assert!(text(&output).contains(words), "{harm}: {}", text(&output));
    }
}

#[test]
fn soak_samples_the_server_and_draws_a_plot() {
    let directory = scratch("soak-results");
    let more = ["--soak", "4s", "--kinds", "silent,reset", "--results", directory.to_str().unwrap()];
    let output = zoo(build_server(), &more);
    assert!(text(&output).contains("descriptors       first third"), "{}", text(&output));
    let result: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(directory.join("zoo-soak.json")).unwrap()).unwrap();
    let soak = &result["soak"];
    assert!(soak["samples"].as_array().unwrap().len() >= 3 && soak["churns"].as_u64().unwrap() >= 2, "{soak}");
    assert!(soak["phase"]["lost"] == 0 && soak["phase"]["attack"]["connects"].as_u64().unwrap() > 300, "{soak}");
    assert!(std::fs::read_to_string(directory.join("zoo-soak.svg")).unwrap().matches("<svg").count() == 4);
}

#[test]
fn signal_ends_a_phase_with_the_figures_so_far_and_leaves_no_process() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["zoo", "--spawn", "--server", build_server().to_str().unwrap(), "--kinds", "silent", "--each", "1h"])
        .args(["--connections", "20", "--rooms", "2"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = program.id().to_string();
    let children = || std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let started = Instant::now();
    while children().split_whitespace().count() < 2 {
        assert!(started.elapsed() < Duration::from_secs(60), "the servers did not start");
        thread::sleep(Duration::from_millis(5));
    }
    let started = children();
    assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
    let mut out = BufReader::new(program.stdout.take().unwrap());
    let mut table = String::new();
    std::io::Read::read_to_string(&mut out, &mut table).unwrap();
    assert_eq!(program.wait().unwrap().code(), Some(143), "{table}");
    for child in started.split_whitespace() {
        assert!(!Path::new("/proc").join(child).exists(), "the process {child} still runs");
    }
}

#[test]
fn kinds_are_listed_without_a_server() {
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest")).args(["zoo", "--list"]).output().unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(listed.lines().count() >= 30 && listed.contains("half-close") && !listed.contains("together"), "{listed}");
}

#[test]
fn unwritable_results_are_reported_before_the_run() {
    for option in [["--results", "/nowhere"], ["--plot", "/nowhere/zoo.svg"]] {
        let output = zoo(build_server(), &option);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), error.lines().count()), (Some(3), 1), "{error}");
        assert!(error.contains("cannot write /nowhere/zoo."), "{error}");
    }
}

#[test]
fn wrong_options_are_refused_in_one_line() {
    for (arguments, words) in [
        (&["--kinds", "who,unicorn"][..], "--kinds unicorn is no kind of bad client: --list shows them all"),
        (&["--each", "1ms"], "--each 1ms is too short to measure"),
        (&["--soak", "1s"], "--soak needs 3s or more"),
        (&["--rooms", "30"], "--rooms 30 is more than --connections 20"),
        (&["--rate", "0"], "--rate 0 sends nothing"),
    ] {
        let output = zoo(build_server(), arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), error.lines().count()), (Some(2), 1), "{arguments:?}: {error}");
        assert!(error.contains(words), "{arguments:?}: {error}");
    }
}
