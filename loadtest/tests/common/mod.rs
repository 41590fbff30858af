//! A small chat server of our own that can be told to do wrong, and plans for short runs against it.
#![allow(dead_code, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use loadtest::coordinator;
use loadtest::plan::{Pacing, Plan, Stop};
use loadtest::protocol::ProtocolKind;
use loadtest::test_result::TestResult;

/// What the server does wrong; where it is about a line, it is the room's line with this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// One member isn't sent a line.
    LoseForOne(u64),
    /// Nobody is sent a line.
    LoseForAll(u64),
    /// One member is sent a line twice.
    Duplicate(u64),
    /// All members are sent a line twice.
    DuplicateForAll(u64),
    /// One member is sent a line after the one that follows it.
    Swap(u64),
    /// A line arrives with one letter changed.
    Corrupt(u64),
    /// A line arrives at one member under another name.
    Rename(u64),
    /// A line arrives at all members under another name.
    RenameForAll(u64),
    /// A line arrives at one member with another planned time.
    Planned(u64),
    /// A line arrives at one member with another end.
    CrLf(u64),
    /// A line arrives at all members with another end.
    CrLfForAll(u64),
    /// A line arrives at all members with words in front.
    Front(u64),
    /// Somebody is told of a newcomer who doesn't exist.
    GhostJoin,
    /// Somebody is told of a newcomer twice.
    JoinTwice,
    /// Somebody is told that a member has left who has not.
    GhostLeave,
    /// All connections are closed at a line.
    CloseAll(u64),
    /// One connection is closed at a line.
    CloseOne(u64),
    /// One member is told that lines were skipped, instead of being sent three of them.
    Skip(u64),
    /// One newcomer isn't announced to somebody.
    LoseNotice,
    /// Everybody gets an `ERROR` for an answer.
    Refuse,
    /// It speaks HTTP.
    Http,
    /// It takes connections and says nothing.
    Silent,
    /// It never ends a connection.
    KeepOpen,
}

/// What happens to the server: by connection.
enum Happening {
    Came(usize, TcpStream),
    Said(usize, String),
    Went(usize),
}

/// A member of a room.
struct Member {
    stream: TcpStream,
    room: Option<String>,
    name: String,
    /// A line held back to come after the next one.
    held: Option<String>,
    /// Lines still to be left out.
    skipping: u64,
}

/// Starts a server on a free port whose faults strike a room's last member. It ends with the test program.
pub(crate) fn serve(fault: Fault) -> SocketAddr {
    serve_wronging(fault, usize::MAX)
}

/// Starts a server whose faults strike the member at a place of each room, or the last if there are fewer.
pub(crate) fn serve_wronging(fault: Fault, victim: usize) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, happenings) = channel();
    thread::spawn(move || hub(&happenings, fault, victim));
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let stream = stream.unwrap();
            let tell = tell.clone();
            tell.send(Happening::Came(number, stream.try_clone().unwrap())).unwrap();
            thread::spawn(move || listen(number, stream, &tell));
        }
    });
    address
}

fn listen(number: usize, stream: TcpStream, tell: &Sender<Happening>) {
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { break };
        let _ = tell.send(Happening::Said(number, line));
    }
    let _ = tell.send(Happening::Went(number));
}

/// One thread owns all that the server knows, so that all that it does is in one order.
fn hub(happenings: &Receiver<Happening>, fault: Fault, victim: usize) {
    let mut members: BTreeMap<usize, Member> = BTreeMap::new();
    let mut lines: BTreeMap<String, u64> = BTreeMap::new();
    let mut kept = Vec::new();
    for happening in happenings {
        match happening {
            Happening::Came(number, mut stream) => {
                let greeting = match fault {
                    Fault::Http => "HTTP/1.1 400 Bad Request\r\n\r\n",
                    Fault::Silent => "",
                    _ => "Welcome! Use the command:\nJOIN <ROOMNAME> <USERNAME>\n",
                };
                let _ = stream.write_all(greeting.as_bytes());
                let member = Member { stream, room: None, name: String::new(), held: None, skipping: 0 };
                members.insert(number, member);
            }
            Happening::Said(number, line) => match members.get(&number).and_then(|member| member.room.clone()) {
                None => join(&mut members, number, &line, fault),
                Some(room) => {
                    let count = lines.entry(room.clone()).or_default();
                    *count += 1;
                    let line = format!("{}: {line}\n", members[&number].name);
                    broadcast(&mut members, &room, &line, *count, (fault, victim));
                }
            },
            Happening::Went(number) => {
                let Some(member) = members.remove(&number) else { continue };
                if fault == Fault::KeepOpen {
                    kept.push(member.stream);
                    continue;
                }
                let _ = member.stream.shutdown(Shutdown::Both);
                let Some(room) = member.room else { continue };
                let line = format!("{} has left\n", member.name);
                broadcast(&mut members, &room, &line, 0, (Fault::None, 0));
            }
        }
    }
}

fn join(members: &mut BTreeMap<usize, Member>, number: usize, line: &str, fault: Fault) {
    let Some(member) = members.get_mut(&number) else { return };
    if fault == Fault::Refuse {
        let _ = member.stream.write_all(b"ERROR\nthe house is full\n");
        return;
    }
    let words: Vec<&str> = line.split(' ').collect();
    let [_, room, name] = words[..] else { return };
    member.room = Some(room.to_owned());
    name.clone_into(&mut member.name);
    let notice = format!("{name} has joined\n");
    let room = room.to_owned();
    let mut other_told = std::collections::BTreeSet::new();
    for (other, member) in members.iter_mut().filter(|(_, member)| member.room.as_ref() == Some(&room)) {
        if fault != Fault::LoseNotice || *other == number || name.ends_with('1') {
            let _ = member.stream.write_all(notice.as_bytes());
        }
        if *other != number && name.ends_with('4') && other_told.insert(room.clone()) {
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

/// Sends a room's line number `count` to its members; the fault strikes one of them, or all.
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
            Fault::LoseForOne(at) if here && at == count => text.clear(),
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
            Fault::CloseAll(at) if at == count => _ = member.stream.shutdown(Shutdown::Both),
            Fault::CloseOne(at) if here && at == count => _ = member.stream.shutdown(Shutdown::Both),
            _ => text.push_str(&member.held.take().unwrap_or_default()),
        }
        if member.skipping > 0 && count > 0 {
            member.skipping -= 1;
            if fault != Fault::Skip(count) {
                text.clear();
            }
        }
        let _ = member.stream.write_all(text.as_bytes());
    }
}

/// A line under a name of the same length that nobody has.
fn renamed(line: &str) -> String {
    line.replacen('u', "v", 1)
}

/// A line whose planned time has another last digit.
fn replanned(line: &str) -> String {
    let at = line.find('#').unwrap() + 29;
    let digit = if &line[at..=at] == "7" { "6" } else { "7" };
    format!("{}{digit}{}", &line[..at], &line[at + 1..])
}

/// A plan for two rooms of five in which two members talk, 20 lines a room.
pub(crate) fn plan(target: SocketAddr) -> Plan {
    Plan {
        target,
        protocol: ProtocolKind::Line,
        connections: 10,
        rooms: 2,
        senders: 2,
        size: 64,
        pacing: Pacing::Open { millilines_per_second: 200_000 },
        stop: Stop::Lines(20),
        warmup: Duration::ZERO,
        read_every: Duration::ZERO,
        patience: Duration::from_millis(700),
        connecting: 16,
        sources: 1,
        first_room: 0,
        threads: 1,
        processes: 1,
    }
}

/// Runs a plan without watching.
pub(crate) fn run(plan: &Plan) -> TestResult {
    let run = coordinator::run(plan, None, &mut |_| ()).unwrap();
    TestResult::new("steady", plan, &run)
}

/// Runs the usual plan against a server with a fault.
pub(crate) fn run_with(fault: Fault) -> TestResult {
    run(&plan(serve(fault)))
}
