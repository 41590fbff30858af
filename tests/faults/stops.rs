//! The server, or a reader, is stopped and goes on later.

use super::conversation::{NOTICE, with_arguments};
use crate::common::{Client, DEADLINE, ServerProcess, numbered_lines, pty, wait_until};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// Lines that each of two members sends while the server is stopped.
const LINES: usize = 500;

/// A stop that is longer than most timeouts.
const LONG_STOP: Duration = Duration::from_secs(31);

/// Stops a process, calls `meanwhile`, and lets the process go on.
fn while_stopped(pid: u32, meanwhile: impl FnOnce()) {
    let signal = |name: &str| {
        let status = Command::new("kill").args([name, &pid.to_string()]).status();
        assert!(status.unwrap().success(), "kill {name} fails");
    };
    signal("-STOP");
    wait_until("the process is stopped", || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status.lines().any(|line| line.starts_with("State:\tT"))
    });
    meanwhile();
    signal("-CONT");
}

/// Clients of each kind send while the server is stopped for some time: members, one that has not joined, one that
/// connects only then, and one that ends then.
fn stop_server(server: &mut ServerProcess, time: Duration) {
    let (mut alice, mut bob) = server.join_pair("room", "alice", "bob");
    let mut leaver = server.join("room", "leaver");
    for client in [&mut alice, &mut bob] {
        client.expect_line("leaver has joined");
    }
    let mut early = Client::connect(server.address);
    let mut late = None;
    while_stopped(server.process.id(), || {
        for client in [&mut alice, &mut bob] {
            client.send(numbered_lines(LINES));
        }
        early.send("JOIN early early\nhello\n");
        leaver.send("unfinished");
        leaver.half_close();
        let mut client = Client::connect_raw(server.address);
        client.send("JOIN late late\nhello\n");
        late = Some(client);
        thread::sleep(time);
    });
    let mut late = late.unwrap();
    late.expect_text(crate::common::WELCOME);
    for (client, name) in [(&mut early, "early"), (&mut late, "late")] {
        for line in [format!("{name} has joined"), format!("{name}: hello")] {
            client.expect_line(&line);
        }
    }
    // The rest of the lines is in the order in which the room has taken them.
    for client in [&mut alice, &mut bob] {
        client.send("done\n");
    }
    let streams = [&mut alice, &mut bob].map(|client| {
        let mut lines = Vec::new();
        while lines.iter().filter(|line: &&String| line.ends_with(": done")).count() < 2 {
            lines.push(client.read_line());
        }
        lines
    });
    assert!(streams[0] == streams[1], "the members see different orders");
    let mut numbers: Vec<String> = numbered_lines(LINES).lines().map(str::to_owned).collect();
    numbers.push("done".to_owned());
    for sender in ["alice", "bob"] {
        let said = streams[0].iter().filter_map(|line| line.strip_prefix(&format!("{sender}: ")));
        assert!(said.eq(numbers.iter()), "lines of {sender} are lost or out of order");
    }
    for line in ["leaver: unfinished", "leaver has left"] {
        assert_eq!(streams[0].iter().filter(|seen| *seen == line).count(), 1, "{line}");
    }
    server.send_signal("TERM");
    for client in [&mut alice, &mut bob, &mut early, &mut late] {
        assert_eq!(client.read_to_end(), [NOTICE], "the notice must be the only line after the talk");
    }
    assert_eq!(server.wait_for_exit().0, Some(0));
}

#[test]
fn stopped_server_loses_no_line_and_closes_no_connection() {
    stop_server(&mut ServerProcess::start(&with_arguments(&[])), Duration::ZERO);
}

/// A client of its own process that joins a room. Dropping it ends the process.
struct Reader(Child);

impl Reader {
    fn join(server: &ServerProcess, room: &str, name: &str) -> Option<(Self, BufReader<std::process::ChildStdout>)> {
        if !pty::is_installed("nc") {
            return None;
        }
        let mut command = Command::new("nc");
        command.args(["127.0.0.1", &server.address.port().to_string()]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        process.stdin.as_mut().unwrap().write_all(format!("JOIN {room} {name}\n").as_bytes()).unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        while line != format!("{name} has joined\n") {
            line.clear();
            assert!(output.read_line(&mut line).unwrap() > 0, "nc has ended before it joined");
        }
        Some((Self(process), output))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Stops a reader for some time, during which more is said than its backlog holds. The reader then sees each line or a
/// notice in its place, and no other member waits for it.
fn stop_reader(time: Duration) {
    const SAID: usize = 1_000;
    let mut server = ServerProcess::start(&with_arguments(&[]));
    let (mut alice, mut bob) = server.join_pair("room", "alice", "bob");
    let Some((mut reader, output)) = Reader::join(&server, "room", "reader") else { return };
    for client in [&mut alice, &mut bob] {
        client.expect_line("reader has joined");
    }
    let text = |number: usize| format!("{number} {}", "x".repeat(10_000));
    while_stopped(reader.0.id(), || {
        for number in 0..SAID {
            alice.send(text(number) + "\n");
            for client in [&mut alice, &mut bob] {
                client.expect_line(&format!("alice: {}", text(number)));
            }
        }
        thread::sleep(time);
    });
    let (mut next, mut skipped) = (0, 0);
    let mut lines = output.lines();
    while next < SAID {
        let line = lines.next().expect("the server closed the stopped reader").unwrap();
        if let Some(notice) = line.strip_prefix("*** ") {
            let count: usize = notice.split(' ').next().unwrap().parse().unwrap();
            (next, skipped) = (next + count, skipped + count);
        } else {
            assert!(line == format!("alice: {}", text(next)), "line {next} is missing without a notice");
            next += 1;
        }
    }
    assert!(skipped > 0 && next == SAID, "{skipped} lines skipped up to line {next}");
    bob.send("welcome back\n");
    assert_eq!(lines.next().unwrap().unwrap(), "bob: welcome back");
    server.send_signal("TERM");
    assert_eq!(lines.next().unwrap().unwrap(), NOTICE);
    // This nc ends when its input has ended, too.
    drop(reader.0.stdin.take());
    assert!(lines.next().is_none(), "a line after the notice");
    assert_eq!(server.wait_for_exit().0, Some(0));
}

#[test]
fn stopped_reader_sees_each_line_or_a_notice_in_its_place() {
    stop_reader(Duration::ZERO);
}

#[test]
#[ignore = "half a minute: longer than the server's shorter timeouts"]
fn reader_that_is_stopped_for_half_a_minute_stays_a_member() {
    stop_reader(LONG_STOP);
}

#[test]
#[ignore = "half a minute: longer than the server's shorter timeouts"]
fn server_that_is_stopped_for_half_a_minute_loses_no_line_and_closes_no_connection() {
    assert!(LONG_STOP < DEADLINE);
    stop_server(&mut ServerProcess::start(&with_arguments(&[])), LONG_STOP);
}
