//! SIGTERM while bad clients attack the server.

use super::conversation::NOTICE;
use crate::common::{Client, ServerProcess, wait_until};
use loadtest::attack::{Attack, AttackOrder};
use loadtest::clock::{SECOND, now};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::thread;

/// The members that talk during each attack.
const MEMBERS: usize = 4;

/// Lines that each member has said, with the attack at work, before the signal.
const LINES: usize = 50;

/// The files that the attack must have opened in the server before its lines count.
const ATTACKERS: usize = 4;

/// Builds the program of the bad clients once, in this test's profile and target directory, and returns its path.
fn build_attacker() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--package", "loadtest", "--bin", "loadtest"]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        assert!(cargo.status().unwrap().success(), "the program of the bad clients does not build");
        Path::new(env!("CARGO_BIN_EXE_roomcast")).with_file_name("loadtest")
    })
}

/// Says lines, each after the echo of the one before, until the server closes. Returns all lines after the members' joins.
fn talk(mut client: Client, name: &str, (barrier, said): (&Barrier, &AtomicUsize)) -> Vec<String> {
    barrier.wait();
    let mut lines = Vec::new();
    for number in 0.. {
        // The server may have closed the connection.
        let _ = client.try_send(format!("{number}\n"));
        let echo = format!("{name}: {number}");
        while lines.last() != Some(&echo) {
            let Some(line) = client.try_read_line() else { return lines };
            lines.push(line);
        }
        said.fetch_add(1, Ordering::Relaxed);
    }
    lines
}

/// Attacks a server in which members talk, and sends SIGTERM in the middle.
fn end_during(kind: &str) {
    let mut command = ServerProcess::command(&["--drain", "5s"]);
    let mut server = ServerProcess::start_command(command.stderr(Stdio::piped()));
    let order = AttackOrder { target: server.address, kinds: vec![kind.to_owned()], seed: 1 };
    let mut attack = Attack::spawn(build_attacker(), &order).unwrap();
    let mut names = Vec::new();
    for number in 0..MEMBERS {
        names.push((format!("member{number}"), Client::connect(server.address)));
    }
    for (name, client) in &mut names {
        client.send(format!("JOIN room {name}\n"));
        client.expect_line(&format!("{name} has joined"));
    }
    let last = format!("member{} has joined", MEMBERS - 1);
    names.iter_mut().take(MEMBERS - 1).for_each(|(_, client)| client.skip_to_line(&last));
    let before = server.open_files();
    let (barrier, said) = (Arc::new(Barrier::new(MEMBERS)), Arc::new(AtomicUsize::new(0)));
    // Threads without a scope: a failure below drops the server, and that ends them.
    let talks = names.into_iter().map(|(name, client)| {
        let (barrier, said) = (Arc::clone(&barrier), Arc::clone(&said));
        thread::spawn(move || talk(client, &name, (&barrier, &said)))
    });
    let talks: Vec<_> = talks.collect();
    attack.start(now() + 120 * SECOND).unwrap();
    wait_until("the attack has begun", || server.open_files() >= before + ATTACKERS);
    let begun = said.load(Ordering::Relaxed);
    wait_until("the members talk", || said.load(Ordering::Relaxed) >= begun + MEMBERS * LINES);
    server.send_signal("TERM");
    let streams: Vec<Vec<String>> = talks.into_iter().map(|talk| talk.join().unwrap()).collect();
    let (code, _) = server.wait_for_exit();
    assert_eq!(code, Some(0), "{kind}");
    let mut warnings = String::new();
    std::io::Read::read_to_string(&mut server.process.stderr.take().unwrap(), &mut warnings).unwrap();
    assert!(!warnings.contains("bug") && !warnings.contains("panicked"), "{kind}: {warnings}");
    for (number, stream) in streams.iter().enumerate() {
        assert_eq!(stream.last().map(String::as_str), Some(NOTICE), "{kind}: member {number}");
        assert_eq!(stream.iter().filter(|line| *line == NOTICE).count(), 1, "{kind}: member {number}");
        assert!(*stream == streams[0], "{kind}: member {number} sees other lines than the first member");
    }
    attack.stop().unwrap();
}

macro_rules! signal_during {
    ($($name:ident: $kind:literal,)*) => {
        $(#[test]
        fn $name() {
            end_during($kind);
        })*
    };
}

signal_during! {
    sigterm_during_flood_of_who_ends_gracefully: "who",
    sigterm_during_flood_of_joins_ends_gracefully: "join",
    sigterm_during_whispers_to_stopped_readers_ends_gracefully: "msg",
    sigterm_during_silent_connections_ends_gracefully: "silent",
    sigterm_during_storm_of_connections_ends_gracefully: "storm",
    sigterm_during_repeated_joins_ends_gracefully: "join-again",
    sigterm_during_resets_ends_gracefully: "reset",
    sigterm_during_half_closed_connections_ends_gracefully: "half-close",
    sigterm_during_flood_by_stopped_readers_ends_gracefully: "deaf-flood",
    sigterm_during_redraws_ends_gracefully: "redraw",
    sigterm_during_unfinished_subnegotiations_ends_gracefully: "telnet-sb",
    sigterm_during_flood_of_empty_lines_ends_gracefully: "empty-lines",
    sigterm_during_new_rooms_ends_gracefully: "new-rooms",
}
