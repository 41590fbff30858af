//! A small chat server with selectable faults, and plans for short runs against it.
#![allow(dead_code, reason = "each test program uses only a part")]
#![allow(clippy::unwrap_used, reason = "a test stops at the first error")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use loadtest::clock::SECOND;
use loadtest::coordinator::{self, RunRecord};
use loadtest::departures::Departures;
use loadtest::message::ThreadUsage;
use loadtest::metrics::LineTimes;
use loadtest::plan::{Arrivals, Pacing, Plan, Stop};
use loadtest::protocol::ProtocolKind;
use loadtest::test_result::TestResult;
use loadtest::verdict::VerdictKind;
use loadtest::worker_hosts::WorkerHosts;
use socket2::{Domain, Socket, Type};

/// The patience where nothing is missing: no pause of a busy machine is as long.
pub(crate) const LONG_PATIENCE: Duration = Duration::from_secs(60);

/// The patience where something is missing: each run waits as long as this, and no pause of a busy machine may be.
pub(crate) const SHORT_PATIENCE: Duration = Duration::from_secs(5);

pub(crate) mod cluster;
pub(crate) mod schema;

/// The server's fault. A number is the number of the affected line in its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No fault.
    None,
    /// One member does not receive a line.
    LoseForOne(u64),
    /// No member receives a line.
    LoseForAll(u64),
    /// One member receives a line twice.
    Duplicate(u64),
    /// All members receive a line twice.
    DuplicateForAll(u64),
    /// One member receives a line after the line that follows it.
    Swap(u64),
    /// One member receives a line with a changed letter.
    Corrupt(u64),
    /// One member receives a line with another sender's name.
    Rename(u64),
    /// All members receive a line with another sender's name.
    RenameForAll(u64),
    /// One member receives a line with another planned time.
    Planned(u64),
    /// One member receives a line that ends in CR LF.
    CrLf(u64),
    /// All members receive a line that ends in CR LF.
    CrLfForAll(u64),
    /// All members receive a line with additional text at its start.
    Front(u64),
    /// A member receives a join notice of a member that does not exist.
    GhostJoin,
    /// A member receives a join notice twice.
    JoinTwice,
    /// A member receives a leave notice of a member that has not left.
    GhostLeave,
    /// The server closes all connections at a line.
    CloseAll(u64),
    /// The server closes one connection at a line.
    CloseOne(u64),
    /// One member receives a skip notice in place of three lines.
    Skip(u64),
    /// One member receives a notice of this many skipped lines in place of three lines from this one on.
    MisreportSkip(u64, u64),
    /// The server closes one connection at a line, and says why.
    KickOne(u64),
    /// One member receives a notice of ten skipped lines after a line, although no line is missing.
    SkipNothing(u64),
    /// One member receives every line later than the others by this time.
    Delay(Duration),
    /// Newcomers are told of the old members, and the old members are not told of newcomers.
    ReverseJoins,
    /// No member is told of a leave.
    LoseLeaves,
    /// Each leave is announced twice.
    LeaveTwice,
    /// Some members do not receive a join notice.
    LoseNotice,
    /// The server answers every join with `ERROR`.
    Refuse,
    /// The server refuses every join with a text that holds escape sequences.
    RefuseWithEscapes,
    /// The server speaks HTTP.
    Http,
    /// The server accepts connections and sends nothing.
    Silent,
    /// The server never closes a connection.
    KeepOpen,
    /// The server closes all members of a room when the first one leaves.
    CloseAtLeave,
    /// One member does not receive a line, and all receive a notice 50 times a second.
    Keepalive(u64),
    /// The server answers no join, and all connections receive a notice 50 times a second.
    JoinsUnanswered,
    /// The first member of a room is told twice of the first return of another one.
    ReturnTwice,
    /// The first member of a room is not told of the first return of another one.
    LoseReturn,
    /// The first member of a room is not told of the first leave.
    LoseLeave,
    /// No other member is told of a return or a leave.
    HideReturns,
    /// Every return to one room is refused.
    RefuseReturnsToOne,
    /// The first member that comes back into a room receives the last line from before its join.
    ReturnShowsLine,
    /// The first return of each member is refused because its name is still taken.
    NameTaken,
    /// Every return is refused.
    RefuseReturns,
}

impl Fault {
    /// Returns the patience of a run against a server with this fault: short where the run waits to its end.
    pub(crate) fn patience(self) -> Duration {
        match self {
            // A corrupt line is missing, too.
            Self::LoseForOne(_)
            | Self::LoseForAll(_)
            | Self::Skip(_)
            | Self::MisreportSkip(..)
            | Self::LoseNotice
            | Self::KeepOpen
            | Self::Corrupt(_)
            | Self::Rename(_)
            | Self::RenameForAll(_)
            | Self::Planned(_)
            | Self::CrLf(_)
            | Self::CrLfForAll(_)
            | Self::Front(_)
            | Self::Keepalive(_)
            | Self::JoinsUnanswered
            | Self::LoseLeaves
            | Self::LoseLeave
            | Self::LoseReturn
            | Self::ReverseJoins => SHORT_PATIENCE,
            // The patience passes once, and no correct return is awaited.
            Self::RefuseReturns | Self::RefuseReturnsToOne | Self::HideReturns => Duration::from_secs(2),
            // No byte ever comes, so any patience has the same result.
            Self::Silent => Duration::from_millis(100),
            _ => LONG_PATIENCE,
        }
    }
}

/// An event of a connection, by its number.
enum ServerEvent {
    Connected(usize, TcpStream),
    Line(usize, String),
    Closed(usize),
    /// A fiftieth of a second has passed.
    Tick,
}

/// A member of a room.
struct Member {
    stream: TcpStream,
    room: Option<String>,
    name: String,
    /// A line that is held back until the next one.
    held: Option<String>,
    /// The number of lines still to be skipped.
    skipping: u64,
    /// The lines that are delayed, each with the time of its write.
    delayed: Option<Sender<(Instant, String)>>,
}

impl Member {
    /// Writes a line at a later time, without delaying other members.
    fn write_later(&mut self, at: Instant, text: String) {
        let delayed = self.delayed.get_or_insert_with(|| {
            let (sender, lines) = channel::<(Instant, String)>();
            let mut stream = self.stream.try_clone().unwrap();
            thread::spawn(move || {
                for (at, text) in lines {
                    thread::sleep(at.saturating_duration_since(Instant::now()));
                    let _ = stream.write_all(text.as_bytes());
                }
            });
            sender
        });
        let _ = delayed.send((at, text));
    }
}

/// Starts a server on a free port whose faults affect a room's last member. The server ends with the test program.
pub(crate) fn serve(fault: Fault) -> SocketAddr {
    serve_with_victim(fault, usize::MAX)
}

/// Starts a server whose faults affect the member at an index of each room, or the last one in smaller rooms.
pub(crate) fn serve_with_victim(fault: Fault, victim: usize) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (event_sender, events) = channel();
    thread::spawn(move || run_server(&events, fault, victim));
    if matches!(fault, Fault::Keepalive(_) | Fault::JoinsUnanswered) {
        let event_sender = event_sender.clone();
        thread::spawn(move || {
            while event_sender.send(ServerEvent::Tick).is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
        });
    }
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let stream = stream.unwrap();
            let event_sender = event_sender.clone();
            event_sender.send(ServerEvent::Connected(number, stream.try_clone().unwrap())).unwrap();
            thread::spawn(move || read_lines(number, stream, &event_sender));
        }
    });
    address
}

/// Returns an address that refuses connections as long as the socket exists.
pub(crate) fn refusing_address() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

fn read_lines(number: usize, stream: TcpStream, event_sender: &Sender<ServerEvent>) {
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { break };
        let _ = event_sender.send(ServerEvent::Line(number, line));
    }
    let _ = event_sender.send(ServerEvent::Closed(number));
}

/// Handles all events in one thread, so that the server's actions have one order.
fn run_server(events: &Receiver<ServerEvent>, fault: Fault, victim: usize) {
    let mut members: BTreeMap<usize, Member> = BTreeMap::new();
    let mut lines: BTreeMap<String, u64> = BTreeMap::new();
    let mut history = RoomHistory::default();
    let mut kept = Vec::new();
    for event in events {
        match event {
            ServerEvent::Connected(number, mut stream) => {
                let greeting = match fault {
                    Fault::Http => "HTTP/1.1 400 Bad Request\r\n\r\n",
                    Fault::Silent => "",
                    _ => "Welcome! Use the command:\nJOIN <ROOMNAME> <USERNAME>\n",
                };
                let _ = stream.write_all(greeting.as_bytes());
                let member = Member { stream, room: None, name: String::new(), held: None, skipping: 0, delayed: None };
                members.insert(number, member);
            }
            ServerEvent::Line(number, line) => match members.get(&number).and_then(|member| member.room.clone()) {
                None => join(&mut members, number, &line, fault, &mut history),
                Some(room) => {
                    let count = lines.entry(room.clone()).or_default();
                    *count += 1;
                    let line = format!("{}: {line}\n", members[&number].name);
                    broadcast(&mut members, &room, &line, *count, (fault, victim));
                    history.last_lines.insert(room, line);
                }
            },
            ServerEvent::Tick => {
                for member in members.values_mut() {
                    let _ = member.stream.write_all(b"*** tick\n");
                }
            }
            ServerEvent::Closed(number) => {
                let Some(member) = members.remove(&number) else { continue };
                if fault == Fault::KeepOpen {
                    kept.push(member.stream);
                    continue;
                }
                let _ = member.stream.shutdown(Shutdown::Both);
                let Some(room) = member.room else { continue };
                if fault == Fault::CloseAtLeave {
                    for other in members.values().filter(|other| other.room.as_ref() == Some(&room)) {
                        let _ = other.stream.shutdown(Shutdown::Both);
                    }
                }
                let line = match fault {
                    Fault::LoseLeaves | Fault::HideReturns => continue,
                    Fault::LeaveTwice => format!("{} has left\n", member.name).repeat(2),
                    _ => format!("{} has left\n", member.name),
                };
                let is_first = fault == Fault::LoseLeave && history.affected.insert(room.clone());
                let fault = if is_first { Fault::LoseForOne(0) } else { Fault::None };
                broadcast(&mut members, &room, &line, 0, (fault, 0));
            }
        }
    }
}

/// The past of the server's rooms.
#[derive(Default)]
struct RoomHistory {
    /// The join requests of members that have joined once.
    joins: BTreeSet<String>,
    /// The join requests that were refused because of a taken name.
    refused: BTreeSet<String>,
    /// The rooms in which a fault that occurs once has occurred.
    affected: BTreeSet<String>,
    /// The last line of each room.
    last_lines: BTreeMap<String, String>,
}

impl RoomHistory {
    /// Returns the fault that affects the return of a member.
    fn fault_of_return(&mut self, fault: Fault, line: &str) -> Fault {
        if self.joins.insert(line.to_owned()) {
            return Fault::None;
        }
        let room = line.split(' ').nth(1).unwrap_or_default();
        let occurs = match fault {
            Fault::NameTaken => self.refused.insert(line.to_owned()),
            Fault::RefuseReturns | Fault::HideReturns => true,
            Fault::RefuseReturnsToOne => room.ends_with('0'),
            Fault::ReturnTwice | Fault::LoseReturn => self.affected.insert(room.to_owned()),
            Fault::ReturnShowsLine => self.last_lines.contains_key(room) && self.affected.insert(room.to_owned()),
            _ => false,
        };
        if occurs { fault } else { Fault::None }
    }
}

fn join(members: &mut BTreeMap<usize, Member>, number: usize, line: &str, fault: Fault, history: &mut RoomHistory) {
    let Some(member) = members.get_mut(&number) else { return };
    if fault == Fault::JoinsUnanswered {
        return;
    }
    let of_return = history.fault_of_return(fault, line);
    let refusal = match fault {
        _ if of_return == Fault::NameTaken => "ERROR\nthe name u is taken in r: connect again and choose another\n",
        _ if matches!(of_return, Fault::RefuseReturns | Fault::RefuseReturnsToOne) => "ERROR\nthe server is full\n",
        Fault::Refuse => "ERROR\nthe server is full\n",
        Fault::RefuseWithEscapes => "ERROR\n\x1b[2Jfull\u{9b}31m\u{202e}\n",
        _ => "",
    };
    if !refusal.is_empty() {
        let _ = member.stream.write_all(refusal.as_bytes());
        if of_return != Fault::None {
            let _ = member.stream.shutdown(Shutdown::Both);
        }
        return;
    }
    let words: Vec<&str> = line.split(' ').collect();
    let [_, room, name] = words[..] else { return };
    member.room = Some(room.to_owned());
    name.clone_into(&mut member.name);
    let notice = format!("{name} has joined\n");
    let room = room.to_owned();
    if fault == Fault::ReverseJoins {
        return join_in_reverse(members, number, &room);
    }
    let first =
        members.values().filter(|member| member.room.as_ref() == Some(&room)).map(|member| &member.name).min().cloned();
    let mut other_told = BTreeSet::new();
    for (other, member) in members.iter_mut().filter(|(_, member)| member.room.as_ref() == Some(&room)) {
        let is_first = Some(&member.name) == first.as_ref();
        let times = match of_return {
            Fault::LoseReturn if is_first => 0,
            Fault::HideReturns if *other != number => 0,
            Fault::ReturnTwice if is_first => 2,
            _ => usize::from(fault != Fault::LoseNotice || *other == number || name.ends_with('1')),
        };
        let _ = member.stream.write_all(notice.repeat(times).as_bytes());
        if of_return == Fault::ReturnShowsLine && *other == number {
            let _ = member.stream.write_all(history.last_lines[&room].as_bytes());
        }
        // Two members of a room: whichever order they join in, the later one has another member to notify.
        if *other != number && name.ends_with(['3', '4']) && other_told.insert(room.clone()) {
            let more = match fault {
                Fault::GhostJoin => "ghost has joined\n".to_owned(),
                Fault::JoinTwice => notice.clone(),
                Fault::GhostLeave => notice.replace("joined", "left"),
                _ => String::new(),
            };
            let _ = member.stream.write_all(more.as_bytes());
        }
    }
}

/// Sends a new member its own join notice and those of the members before it.
fn join_in_reverse(members: &mut BTreeMap<usize, Member>, number: usize, room: &str) {
    let others = members.iter().filter(|(other, member)| **other != number && member.room.as_deref() == Some(room));
    let others: Vec<String> = others.map(|(_, member)| member.name.clone()).collect();
    let Some(member) = members.get_mut(&number) else { return };
    let names = std::iter::once(&member.name).chain(&others);
    let notices = names.map(|name| format!("{name} has joined\n")).collect::<Vec<String>>().concat();
    let _ = member.stream.write_all(notices.as_bytes());
}

/// Sends a room's line number `count` to its members. The fault affects one of them or all.
fn broadcast(
    members: &mut BTreeMap<usize, Member>,
    room: &str,
    line: &str,
    count: u64,
    (fault, victim): (Fault, usize),
) {
    let mut names: Vec<_> = members.iter().filter(|(_, member)| member.room.as_deref() == Some(room)).collect();
    names.sort_by_key(|(_, member)| member.name.clone());
    let victim = names.get(victim).or(names.last()).map(|(at, _)| **at);
    for (number, member) in members.iter_mut().filter(|(_, member)| member.room.as_deref() == Some(room)) {
        let here = Some(*number) == victim;
        let mut text = line.to_owned();
        match fault {
            Fault::LoseForOne(at) | Fault::Keepalive(at) if here && at == count => text.clear(),
            Fault::LoseForAll(at) if at == count => text.clear(),
            Fault::Duplicate(at) if here && at == count => text.push_str(line),
            Fault::DuplicateForAll(at) if at == count => text.push_str(line),
            Fault::Corrupt(at) if here && at == count => text = line.replace("abc", "abd"),
            Fault::Rename(at) if here && at == count => text = renamed(line),
            Fault::RenameForAll(at) if at == count => text = renamed(line),
            Fault::Planned(at) if here && at == count => text = replanned(line),
            Fault::CrLf(at) if here && at == count => text = line.replace('\n', "\r\n"),
            Fault::CrLfForAll(at) if at == count => text = line.replace('\n', "\r\n"),
            Fault::Front(at) if at == count => text.insert_str(0, "ad "),
            Fault::Swap(at) if here && at == count => {
                member.held = Some(std::mem::take(&mut text));
            }
            Fault::Skip(at) if here && at == count => {
                member.skipping = 3;
                text = "*** 3 lines skipped\n".into();
            }
            Fault::MisreportSkip(at, told) if here && at == count => {
                member.skipping = 3;
                text = format!("*** {told} lines skipped\n");
            }
            Fault::KickOne(at) if here && at == count => {
                let _ = member.stream.write_all(b"ERROR\nmore than 8 bytes waited: read faster\n");
                let _ = member.stream.shutdown(Shutdown::Both);
            }
            Fault::SkipNothing(at) if here && at == count => text.push_str("*** 10 lines skipped\n"),
            Fault::Delay(time) if here && count > 0 => {
                member.write_later(Instant::now() + time, std::mem::take(&mut text));
            }
            Fault::CloseAll(at) if at == count => _ = member.stream.shutdown(Shutdown::Both),
            Fault::CloseOne(at) if here && at == count => _ = member.stream.shutdown(Shutdown::Both),
            _ => text.push_str(&member.held.take().unwrap_or_default()),
        }
        if member.skipping > 0 && count > 0 {
            member.skipping -= 1;
            if !matches!(fault, Fault::Skip(at) | Fault::MisreportSkip(at, _) if at == count) {
                text.clear();
            }
        }
        let _ = member.stream.write_all(text.as_bytes());
    }
}

/// Returns a line with another sender's name of the same length.
fn renamed(line: &str) -> String {
    line.replacen('u', "v", 1)
}

/// Returns a line whose planned time has another last digit.
fn replanned(line: &str) -> String {
    let at = line.find('#').unwrap() + 29;
    let digit = if &line[at..=at] == "7" { "6" } else { "7" };
    format!("{}{digit}{}", &line[..at], &line[at + 1..])
}

/// Returns a plan for two rooms of five members. Two members of each send; each room has 20 lines.
pub(crate) fn plan(target: SocketAddr) -> Plan {
    Plan {
        target,
        servers: Vec::new(),
        total_order: false,
        protocol: ProtocolKind::Line,
        connections: 10,
        rooms: 2,
        senders: 2,
        size: 64.into(),
        pacing: Pacing::Open { millilines_per_second: 200_000 },
        arrivals: Arrivals::Fixed,
        seed: 1,
        departures: Departures::None,
        slow_readers: None,
        stop: Stop::Lines(20),
        warmup: Duration::ZERO,
        read_every: Duration::ZERO,
        patience: LONG_PATIENCE,
        connecting: 16,
        sources: 1,
        first_room: 0,
        threads: 1,
        processes: 1,
        hosts: WorkerHosts::default(),
    }
}

/// Runs a plan without a display of its progress.
pub(crate) fn run(plan: &Plan) -> TestResult {
    let run = coordinator::run(plan, None, &mut |_| ()).unwrap();
    TestResult::new("steady", plan, &run)
}

/// Returns the usual plan for a new server with a fault.
pub(crate) fn plan_with(fault: Fault) -> Plan {
    Plan { patience: fault.patience(), ..plan(serve(fault)) }
}

/// Runs the usual plan against a server with a fault.
pub(crate) fn run_with(fault: Fault) -> TestResult {
    run(&plan_with(fault))
}

/// Asserts that a run found no fault of the server. Whether the generator had enough CPU time depends on the machine.
#[track_caller]
pub(crate) fn assert_passed(result: &TestResult) {
    let verdict = &result.verdict;
    assert!(matches!(verdict.kind, VerdictKind::Good | VerdictKind::Saturated), "{}", verdict.text);
}

/// Asserts that the verdict on a run is of a kind and names a fault. A verdict on a generator without enough CPU time
/// may take its place: that depends on the machine, while the counters do not.
#[track_caller]
pub(crate) fn assert_verdict(result: &TestResult, kind: VerdictKind, words: &str) {
    let verdict = &result.verdict;
    if verdict.kind != VerdictKind::Saturated {
        assert!(verdict.kind == kind && verdict.text.contains(words), "{words:?} is not in {}", verdict.text);
    }
}

/// Returns the record of a run of the usual plan on a calm machine: 40 lines, each delivered to 5 members after 1 ms.
pub(crate) fn recorded_run() -> RunRecord {
    let mut run = RunRecord { window: SECOND, sending_time: SECOND, joining: SECOND / 100, ..RunRecord::default() };
    let metrics = &mut run.metrics;
    metrics.set_window(SECOND, (SECOND, 2 * SECOND));
    let planned = SECOND + SECOND / 1000;
    metrics.record_deliveries(SECOND + SECOND / 500, LineTimes { planned, sent: planned }, 200, true);
    metrics.join.record(SECOND / 1000, 10);
    metrics.send_lag.record(SECOND / 100_000, 40);
    let counters = &mut metrics.counters;
    (counters.sent, counters.expected) = (40, 200);
    (counters.joined, counters.left, counters.leave_notices) = (10, 10, 20);
    (counters.join_notices, counters.join_notices_expected) = (30, 30);
    (counters.window_reads, counters.window_writes, counters.window_bytes) = (100, 40, 200 * 79);
    (counters.reads, counters.writes, counters.bytes_received) = (200, 40, 300 * 79);
    run.thread_usages.push(ThreadUsage { cpu: SECOND / 2, waited: 0, stopped: 0, wall: SECOND });
    run
}

/// Builds the server once, in this test's profile and target directory, and returns its path.
pub(crate) fn build_server() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--package", "roomcast", "--bin", "roomcast"]);
        // Tests of the server that run beside these have the same program.
        if cfg!(feature = "cluster") {
            cargo.args(["--features", "cluster"]);
        }
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        assert!(cargo.status().unwrap().success(), "the server does not build");
        Path::new(env!("CARGO_BIN_EXE_loadtest")).with_file_name("roomcast")
    })
}
