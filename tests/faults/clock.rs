//! The system's clock jumps: times of day follow it, and timeouts do not.

use super::conversation::Conversation;
use crate::common::{Client, ServerProcess};
use std::path::{Path, PathBuf};
use std::{env, fs, process};

/// Returns the path of the library that changes the clock of a process; `None` after a message where it is missing.
fn find_library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").unwrap().flatten().map(|entry| entry.path());
    let found = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|path| path.is_file());
    if found.is_none() {
        assert_ne!(env::var("ROOMCAST_REQUIRE_ALL").as_deref(), Ok("1"), "libfaketime is missing");
        eprintln!("SKIPPED: libfaketime is missing (.ci/setup installs it)");
    }
    found
}

/// A clock that stands still at the time in a file. Dropping it removes the file.
struct Clock(PathBuf);

impl Clock {
    fn set(&self, time: &str) {
        // The server must never read half a time.
        let new = self.0.with_extension("new");
        fs::write(&new, time).unwrap();
        fs::rename(new, &self.0).unwrap();
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Starts the program with this clock for the time of day. Its monotonic clock is the machine's.
fn start_with_clock(library: &Path, clock: &Clock, args: &[&str]) -> ServerProcess {
    let mut command = ServerProcess::command(args);
    command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", &clock.0).env("TZ", "UTC");
    command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
    ServerProcess::start_command(&mut command)
}

/// The jumps, each with the time of day that a line said after it must have.
const JUMPS: [(&str, &str); 5] = [
    ("2030-01-02 12:34:00", "12:34"),
    ("2030-01-03 13:35:59", "13:35"),
    ("2030-01-01 23:59:59", "23:59"),
    ("1970-01-01 00:00:00", "00:00"),
    ("2099-12-31 06:07:08", "06:07"),
];

/// Each bound of time is shorter than the jumps: if one followed the system's clock, a client would be closed.
#[test]
fn clock_that_jumps_by_days_changes_times_of_day_and_fires_no_timeout() {
    let Some(library) = find_library() else { return };
    let clock = Clock(env::temp_dir().join(format!("roomcast-clock-{}", process::id())));
    clock.set(JUMPS[0].0);
    let bounds = ["--idle-timeout", "1h", "--login-timeout", "1h", "--stall-timeout", "1m", "--rate", "0", "-v"];
    let mut server = start_with_clock(&library, &clock, &bounds);
    let (mut clara, mut dave) = server.join_pair("room", "clara", "dave");
    let mut stranger = Client::connect(server.address);
    dave.send("/time on\n");
    dave.expect_line("12:34 *** time is on, shown in UTC");
    let conversation = Conversation::start(server.address, "talk");
    for (number, (time, shown)) in JUMPS.into_iter().enumerate() {
        clock.set(time);
        clara.send(format!("line {number}\n"));
        clara.expect_line(&format!("clara: line {number}"));
        dave.expect_line(&format!("{shown} clara: line {number}"));
        conversation.wait_for_lines(50);
    }
    dave.send(format!("/last {}\n", JUMPS.len()));
    for (number, (_, shown)) in JUMPS.into_iter().enumerate() {
        dave.expect_line(&format!("{shown} *** clara: line {number}"));
    }
    stranger.send("JOIN room stranger\n");
    stranger.expect_line("stranger has joined");
    conversation.finish();
    server.send_signal("TERM");
    let (code, log) = server.wait_for_exit();
    assert_eq!(code, Some(0));
    assert!(!log.contains("panicked"), "{log}");
}
