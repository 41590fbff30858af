//! Operators: `roomcast ctl` and the socket that it talks to, with the real program.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::ctl::{ctl, ctl_done};
use common::{Client, DEADLINE, ServerProcess, wait_until};
use roomcast::admin::{AdminHook, AdminHooks};
use roomcast::{Server, Settings};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::thread;

/// A server with an operators' socket and a file of bans, in a folder of its own.
struct Moderated {
    server: ServerProcess,
    folder: PathBuf,
}

/// The second client's address; the first one has 127.0.0.1.
const OTHER: [u8; 4] = [127, 0, 0, 2];

impl Moderated {
    fn start(name: &str, args: &[&str]) -> Self {
        let folder = std::env::temp_dir().join(format!("roomcast-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let server = start_in(&folder, args);
        Self { server, folder }
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("admin")
    }

    /// Runs `roomcast ctl` with these words.
    fn ctl(&self, words: &[&str]) -> Output {
        ctl(&self.socket(), words)
    }

    /// Runs a command that is done, and returns what it prints.
    #[track_caller]
    fn done(&self, words: &[&str]) -> String {
        ctl_done(&self.socket(), words)
    }

    /// Runs a command that is done, and returns the object.
    #[track_caller]
    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.done(&[words, &["--json"]].concat())).unwrap()
    }

    /// Runs a command that is not done, and returns the line on stderr.
    #[track_caller]
    fn refused(&self, code: i32, words: &[&str]) -> String {
        refusal(&self.ctl(words), code)
    }

    /// Returns the number of the member's connection.
    fn number_of(&self, name: &str) -> String {
        let peers = self.json(&["peers"]);
        let peer = peers["peers"].as_array().unwrap().iter().find(|peer| peer["name"] == name).unwrap().clone();
        peer["connection"].to_string()
    }

    fn session(&self) -> Session {
        Session::open(&self.socket())
    }

    /// Joins from another address than [`ServerProcess::join`].
    fn join_from_other_address(&self, room: &str, name: &str) -> Client {
        let mut client = Client::connect_from(OTHER, self.server.address);
        client.expect_text(common::WELCOME);
        client.send(format!("JOIN {room} {name}\n"));
        client.expect_line(&format!("{name} has joined"));
        client
    }
}

impl Drop for Moderated {
    fn drop(&mut self) {
        let _ = self.server.process.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn start_in(folder: &Path, args: &[&str]) -> ServerProcess {
    let path = |name: &str| folder.join(name).display().to_string();
    let (admin, bans) = (path("admin"), path("bans"));
    ServerProcess::start(&[&["--admin", &*admin, "--bans", &*bans][..], args].concat())
}

/// Returns the one line that a refused command prints.
#[track_caller]
fn refusal(output: &Output, code: i32) -> String {
    let told = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!((output.status.code(), told.lines().count()), (Some(code), 1), "{told}");
    assert!(output.stdout.is_empty());
    told.trim_end().strip_prefix("roomcast: ").unwrap().to_owned()
}

/// A session on the operators' socket.
struct Session(BufReader<UnixStream>);

impl Session {
    fn open(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Self(BufReader::new(stream))
    }

    fn send(&mut self, lines: &str) {
        self.0.get_mut().write_all(lines.as_bytes()).unwrap();
    }

    fn reply(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

#[test]
fn ban_closes_a_member_and_refuses_its_address_until_it_is_lifted() {
    let moderated = Moderated::start("ban", &[]);
    let mut bob = moderated.server.join("lobby", "bob");
    let mut alice = moderated.join_from_other_address("lobby", "alice");
    bob.expect_line("alice has joined");
    let told = moderated.done(&["ban", "127.0.0.2", "for", "1h", "flooding", "the", "lobby"]);
    assert!(told.starts_with("127.0.0.2/32 is banned until 2") && told.ends_with(", 1 connection closed\n"), "{told}");
    let reason = alice.expect_error();
    assert!(
        reason.starts_with("your address is banned until 2") && reason.ends_with("Z: flooding the lobby"),
        "{reason}"
    );
    bob.expect_line("alice has left");
    assert_eq!(Client::connect_from(OTHER, moderated.server.address).expect_error(), reason);
    bob.send("still here\n");
    bob.expect_line("bob: still here");
    let bans = moderated.done(&["bans"]);
    let lines: Vec<&str> = bans.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("NETWORK       UNTIL"), "{bans}");
    assert!(lines[1].starts_with("127.0.0.2/32  2") && lines[1].ends_with("flooding the lobby"), "{bans}");
    assert_eq!(moderated.done(&["unban", "127.0.0.2"]), "127.0.0.2/32 is no longer banned\n");
    drop(moderated.join_from_other_address("lobby", "alice"));
    let told = moderated.refused(1, &["unban", "127.0.0.2"]);
    assert_eq!(told, "there is no ban of 127.0.0.2/32: bans lists them");
    moderated.done(&["ban", "127.0.0.2/31"]);
    let told = moderated.refused(1, &["unban", "127.0.0.2"]);
    assert_eq!(told, "there is no ban of 127.0.0.2/32, 127.0.0.2/31 covers it: bans lists them");
}

/// The program is killed as soon as a ban is acknowledged.
#[test]
fn acknowledged_ban_survives_a_kill_of_the_program() {
    let mut moderated = Moderated::start("kill", &[]);
    for last in 2..12 {
        let network = format!("127.0.0.{last}");
        moderated.done(&["ban", &network, "reason", &network]);
        moderated.server.send_signal("KILL");
        moderated.server.wait_for_exit();
        moderated.server = start_in(&moderated.folder, &[]);
        for banned in 2..=last {
            let mut client = Client::connect_from([127, 0, 0, banned], moderated.server.address);
            assert_eq!(client.expect_error(), format!("your address is banned: reason 127.0.0.{banned}"));
        }
        drop(Client::connect(moderated.server.address));
    }
    assert_eq!(moderated.json(&["stats"])["bans"], 10);
}

#[test]
fn file_of_bans_that_is_cut_off_or_newer_ends_the_start_with_its_line() {
    let moderated = Moderated::start("file", &[]);
    moderated.done(&["ban", "192.0.2.0/24", "first"]);
    moderated.done(&["ban", "2001:db8::/32", "second"]);
    let content = fs::read_to_string(moderated.folder.join("bans")).unwrap();
    let file = moderated.folder.join("wrong").display().to_string();
    for (wrong, told) in [
        (content.replace("roomcast-bans 1", "roomcast-bans 2"), ":1: version 2 of the format is unknown"),
        (content[..content.len() / 2].to_owned(), ":2: the file is cut off here"),
        (content.replace("\nend\n", "\n"), ":3: the file is cut off here"),
        (content.replace("192.0.2.0/24", "192.0.2.0/99"), ":2: \"192.0.2.0/99\" is no address and no network"),
        (String::new(), ":1: the file is empty"),
    ] {
        fs::write(&file, wrong).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_roomcast")).args(["0", "--bans", &file]).output().unwrap();
        let line = refusal(&output, 2);
        assert!(line.starts_with(&format!("{file}{told}")), "{line}");
    }
    assert_eq!(moderated.json(&["stats"])["bans"], 2);
}

#[test]
fn muted_member_alone_sees_that_its_lines_reach_no_member() {
    let moderated = Moderated::start("mute", &[]);
    let (mut bob, mut alice) = moderated.server.join_pair("lobby", "bob", "alice");
    let told = moderated.done(&["mute", "in", "lobby", "Alice", "for", "1h"]);
    assert!(told.ends_with(" is muted for 1h\n"), "{told}");
    alice.send("hello\n/me waves\n");
    for _ in 0..2 {
        let reply = alice.read_line();
        assert!(
            reply.starts_with("*** you are muted for ") && reply.ends_with(": no member sees this line"),
            "{reply}"
        );
    }
    bob.send("anyone?\n");
    bob.expect_line("bob: anyone?");
    alice.expect_line("bob: anyone?");
    assert_eq!(moderated.json(&["peers", "in", "lobby"])["peers"][1]["muted"], true);
    moderated.done(&["unmute", &moderated.number_of("alice")]);
    // The report comes after the mute is lifted: both are requests to one connection.
    assert_eq!(moderated.json(&["peers", "in", "lobby"])["peers"][1]["muted"], false);
    alice.send("hello\n");
    bob.expect_line("alice: hello");
    assert_eq!(moderated.refused(1, &["mute", "in", "lobby", "carol"]).split(':').count(), 2);
    assert_eq!(moderated.refused(1, &["mute", "99"]), "there is no connection 99: peers lists them");
}

#[test]
fn announcement_has_the_same_place_for_all_members_of_a_room() {
    let moderated = Moderated::start("announce", &["--rate", "0"]);
    let (mut bob, mut alice) = moderated.server.join_pair("lobby", "bob", "alice");
    let mut carol = moderated.server.join("other", "carol");
    let mut sender = bob.sender();
    let talking = thread::spawn(move || {
        for number in 0..2_000 {
            sender.send(format!("{number}\n"));
        }
    });
    for number in 0..5 {
        moderated.done(&["announce", "in", "lobby", &format!("number\t{number} \x1b[2Jof five")]);
    }
    let told = moderated.done(&["announce", "all", "the end"]);
    assert_eq!(told, "announced to 3 members of 2 rooms\n");
    talking.join().unwrap();
    bob.send("last\n");
    let read = |client: &mut Client| {
        let lines = std::iter::from_fn(|| Some(client.read_line()));
        lines.take_while(|line| line != "bob: last").collect::<Vec<_>>()
    };
    let (seen_by_bob, seen_by_alice) = (read(&mut bob), read(&mut alice));
    assert_eq!(seen_by_bob, seen_by_alice);
    let announced: Vec<&str> = seen_by_bob.iter().filter_map(|line| line.strip_prefix("*** ")).collect();
    let numbers = (0..5).map(|number| format!("number {number} of five"));
    assert_eq!(announced, numbers.chain(["the end".to_owned()]).collect::<Vec<_>>());
    assert_eq!(seen_by_bob.len(), 2_006);
    carol.expect_line("*** the end");
    assert_eq!(
        moderated.refused(1, &["announce", "in", "nowhere", "hi"]),
        "there is no room nowhere: rooms lists them"
    );
}

#[test]
fn kick_by_number_by_name_and_by_network_closes_with_the_reason() {
    let moderated = Moderated::start("kick", &["-v"]);
    let mut bob = moderated.server.join("lobby", "bob");
    for (name, words) in [
        ("one", vec!["kick".to_owned(), "NUMBER".to_owned(), "too".to_owned(), "loud".to_owned()]),
        ("two", ["kick", "in", "lobby", "two", "too", "loud"].map(str::to_owned).to_vec()),
        ("three", ["kick", "127.0.0.2", "too", "loud"].map(str::to_owned).to_vec()),
    ] {
        let mut client = moderated.join_from_other_address("lobby", name);
        bob.expect_line(&format!("{name} has joined"));
        let number = moderated.number_of(name);
        let words: Vec<&str> = words.iter().map(|word| if word == "NUMBER" { &*number } else { &**word }).collect();
        let told = moderated.done(&words);
        assert!(told == "1 connection closed\n" || told == format!("connection {number} is closed\n"), "{told}");
        assert_eq!(client.expect_error(), "an operator closed your connection: too loud");
        bob.expect_line(&format!("{name} has left"));
    }
    let mut silent = Client::connect_from(OTHER, moderated.server.address);
    silent.expect_text(common::WELCOME);
    moderated.done(&["kick", "127.0.0.0/31"]);
    assert_eq!(
        moderated.refused(1, &["kick", "10.0.0.0/8"]),
        "no connection comes from 10.0.0.0/8: peers lists the connections"
    );
    assert_eq!(bob.expect_error(), "an operator closed your connection");
    moderated.done(&["kick", "127.0.0.2"]);
    assert_eq!(silent.expect_error(), "an operator closed your connection");
    wait_until("the connections have left the list", || moderated.json(&["stats"])["connections"] == 0);
}

#[test]
fn each_action_is_logged_with_its_author() {
    let mut moderated = Moderated::start("log", &["-v"]);
    let mut bob = moderated.server.join("lobby", "bob");
    moderated.done(&["kick", "in", "lobby", "bob", "too \x1b[31mloud"]);
    bob.expect_error();
    moderated.refused(1, &["kick", "in", "lobby", "bob"]);
    moderated.done(&["ban", "192.0.2.0/24", "for", "1h", "spam"]);
    moderated.done(&["stats"]);
    moderated.server.send_signal("TERM");
    let (code, log) = moderated.server.wait_for_exit();
    assert_eq!(code, Some(0));
    let uid = fs::metadata(&moderated.folder).unwrap().uid();
    let records: Vec<&str> = log.lines().filter(|line| line.contains("operator action=")).collect();
    assert_eq!(records.len(), 3, "{log}");
    let kick = "action=\"kick\" target=\"bob in lobby\" connection=0 reason=\"too loud\" by=\"uid ";
    assert!(records[0].contains(&format!("{kick}{uid} pid ")), "{}", records[0]);
    assert!(records[1].contains("error=\"there is no room lobby") || records[1].contains("error=\"no member"), "{log}");
    assert!(
        records[2].contains("action=\"ban\" target=\"192.0.2.0/24\" closed=0 time=\"1h\" reason=\"spam\" by=\"uid"),
        "{}",
        records[2]
    );
    assert!(log.contains("reason=\"kicked\""), "{log}");
}

#[test]
fn draining_server_serves_its_members_and_takes_no_new_connections() {
    let moderated = Moderated::start("drain", &[]);
    let (mut bob, mut alice) = moderated.server.join_pair("lobby", "bob", "alice");
    assert_eq!(moderated.done(&["ready"]), "ready\n");
    assert_eq!(moderated.done(&["drain"]), "no new connections are accepted, 2 connections served\n");
    assert_eq!(moderated.refused(1, &["ready"]), "not ready: draining: the server takes no new connection");
    wait_until("the listener is closed", || match TcpStream::connect(moderated.server.address) {
        Err(_) => true,
        Ok(mut queued) => {
            // A connection that came before the close is told why it is not served.
            let mut told = String::new();
            let _ = queued.read_to_string(&mut told);
            assert!(
                told.is_empty() || told == "ERROR\nthe server takes no new connections: try again later\n",
                "{told}"
            );
            false
        }
    });
    alice.send("still here\n");
    bob.expect_line("alice: still here");
    alice.expect_line("alice: still here");
    assert_eq!(moderated.json(&["stats"])["draining"], true);
    assert!(moderated.done(&["peers"]).contains("alice"));
}

#[test]
fn client_that_reads_no_answer_is_closed_and_blocks_no_other() {
    let moderated = Moderated::start("unread", &[]);
    let (mut bob, mut alice) = moderated.server.join_pair("lobby", "bob", "alice");
    let mut deaf = moderated.session();
    // More answers than its socket holds.
    deaf.send(&"help\n".repeat(800));
    alice.send("hello\n");
    bob.expect_line("alice: hello");
    assert_eq!(moderated.json(&["stats"])["connections"], 2);
    let mut sender = deaf.0.get_ref().try_clone().unwrap();
    wait_until("the session is closed", || sender.write_all(b"\n").is_err());
    let mut answers = String::new();
    // The rest of the answers, or the reset that follows the close.
    let _ = deaf.0.read_to_string(&mut answers);
    assert!(answers.lines().count() < 800, "{}", answers.lines().count());
    assert_eq!(moderated.json(&["stats"])["connections"], 2);
}

#[test]
fn flood_of_commands_delays_no_room() {
    let moderated = Moderated::start("flood", &[]);
    let (mut bob, mut alice) = moderated.server.join_pair("lobby", "bob", "alice");
    let mut sessions: Vec<Session> = (0..7).map(|_| moderated.session()).collect();
    for session in &mut sessions {
        session.send(&"peers\nstats\nrooms\nnonsense\n".repeat(15));
    }
    for number in 0..200 {
        alice.send(format!("{number}\n"));
        bob.expect_line(&format!("alice: {number}"));
    }
    for session in &mut sessions {
        for _ in 0..15 {
            assert_eq!(session.reply()["peers"].as_array().unwrap().len(), 2);
            assert_eq!(session.reply()["connections"], 2);
            assert_eq!(session.reply()["rooms"][0]["room"], "lobby");
            assert_eq!(session.reply()["usage"], true);
        }
    }
}

#[test]
fn sessions_are_bounded_and_a_long_line_ends_its_own() {
    let moderated = Moderated::start("sessions", &[]);
    let mut sessions: Vec<Session> = (0..8).map(|_| moderated.session()).collect();
    for session in &mut sessions {
        session.send("ready\n");
        assert_eq!(session.reply()["ok"], true);
    }
    assert_eq!(moderated.refused(1, &["stats"]), "8 operators are connected already: end a session");
    sessions[0].send("quit\n");
    assert_eq!(sessions[0].reply()["ok"], true);
    assert_eq!(sessions[0].0.read(&mut [0]).unwrap(), 0, "the session goes on");
    wait_until("the place is free", || moderated.ctl(&["stats"]).status.success());
    sessions[1].send(&"x".repeat(5_000));
    assert_eq!(sessions[1].reply()["error"], "a line has at most 4096 bytes: this one is longer");
}

#[test]
fn socket_is_for_the_servers_user_and_root_alone() {
    let moderated = Moderated::start("mode", &[]);
    let metadata = fs::metadata(moderated.socket()).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    if metadata.uid() != 0 {
        println!("skipped: only root can run the program as another user");
        return;
    }
    // The program may be in a folder that the other user can't enter.
    let program = moderated.folder.join("roomcast");
    fs::copy(env!("CARGO_BIN_EXE_roomcast"), &program).unwrap();
    fs::set_permissions(&moderated.folder, fs::Permissions::from_mode(0o755)).unwrap();
    let as_other = || {
        let mut command = Command::new(&program);
        command.arg("ctl").arg("--socket").arg(moderated.socket()).arg("stats").uid(65_534).gid(65_534);
        command.output().unwrap()
    };
    let told = refusal(&as_other(), 1);
    assert!(told.ends_with("not allowed: be the server's user or root"), "{told}");
    fs::set_permissions(moderated.socket(), fs::Permissions::from_mode(0o666)).unwrap();
    let told = refusal(&as_other(), 1);
    assert_eq!(told, "uid 65534 may not administer this server: its own user and root may");
}

#[test]
fn wrong_command_gets_one_line_and_the_exit_code_of_its_kind() {
    let moderated = Moderated::start("wrong", &[]);
    for (code, words, told) in [
        (2, &["ban", "10.0.0.0/33"][..], "\"10.0.0.0/33\" is no address and no network: write 192.0.2.7"),
        (2, &["ban", "10.0.0.1/8"], "10.0.0.1/8 has bits beyond its prefix: write 10.0.0.0/8"),
        (2, &["ban", "0.0.0.0/0"], "0.0.0.0/0 is every address: to admit no new connection at all write drain"),
        (2, &["ban", "10.0.0.1", "for", "ever"], "\"ever\" is no time"),
        (2, &["kik", "1"], "\"kik\" is no command: did you mean kick?"),
        (2, &["--no-such-flag"], "unexpected argument '--no-such-flag'"),
        (2, &[], "the following required arguments were not provided: <COMMAND>"),
        (1, &["kick", "99"], "there is no connection 99: peers lists them"),
        (1, &["log-level", "loud"], "\"loud\" is no level of the log: one of off"),
    ] {
        let line = moderated.refused(code, words);
        assert!(line.starts_with(told), "{line}");
    }
    assert!(moderated.json(&["bans"])["bans"].as_array().unwrap().is_empty());
    let nowhere = ctl(&moderated.folder.join("nowhere"), &["stats"]);
    assert!(refusal(&nowhere, 1).contains("nowhere: start one with --admin PATH"));
    let no_socket = Command::new(env!("CARGO_BIN_EXE_roomcast")).args(["ctl", "stats"]).output().unwrap();
    assert!(refusal(&no_socket, 2).contains("write --socket PATH, or set ROOMCAST_ADMIN"));
    // After an option of the server the word is no subcommand.
    let after_option = Command::new(env!("CARGO_BIN_EXE_roomcast")).args(["-v", "ctl"]).output().unwrap();
    assert!(refusal(&after_option, 2).contains("ctl"));
}

#[test]
fn help_shows_the_commands_and_json_is_the_reply_as_it_is() {
    let moderated = Moderated::start("help", &[]);
    let help = moderated.done(&["help"]);
    assert!(help.lines().any(|line| line.starts_with("  ban NET [for TIME] [REASON]  ")), "{help}");
    let long_help = moderated.done(&["--help"]);
    assert!(long_help.contains("ban NET [for TIME] [REASON]") && long_help.contains("log-level"), "{long_help}");
    assert!(
        help.contains("  reload  ") && help.contains("  log-level [LEVEL]  ") && help.contains("  config  "),
        "{help}"
    );
    let output = moderated.ctl(&["kick", "99", "--json"]);
    let reply: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &reply["ok"]), (Some(1), &Value::Bool(false)));
    let program = Command::new(env!("CARGO_BIN_EXE_roomcast")).arg("--help").output().unwrap();
    let program_help = String::from_utf8(program.stdout).unwrap();
    assert!(program_help.contains("ctl") && program_help.contains("--bans"), "{program_help}");
}

#[test]
fn socket_that_cannot_be_made_ends_the_start_with_one_line() {
    let output = Command::new(env!("CARGO_BIN_EXE_roomcast")).args(["0", "--admin", "/nonexistent/admin"]).output();
    let told = refusal(&output.unwrap(), 1);
    assert!(told.starts_with("can't listen on unix:/nonexistent/admin: No such file"), "{told}");
}

/// The program gives the server what these commands call.
#[test]
fn command_whose_hook_the_program_has_calls_it_and_is_listed() {
    let socket = std::env::temp_dir().join(format!("roomcast-{}-hooks", std::process::id()));
    let mut settings = Settings::default();
    settings.network.listen = vec![common::LOOPBACK];
    settings.moderation.admin_socket = Some(socket.clone());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut server = runtime.block_on(async { Server::bind(&settings, 10) }).unwrap();
    let level: AdminHook = Arc::new(|level| match level {
        "loud" => Err("loud is no level".to_owned()),
        level => Ok(format!("the level is {level}")),
    });
    server.set_admin_hooks(AdminHooks { log_level: Some(level), ..AdminHooks::default() });
    let running = runtime.spawn(server.run(std::future::pending()));
    let mut session = Session::open(&socket);
    session.send("log-level debug\nlog-level loud\nreload\nhelp\n");
    assert_eq!(session.reply()["message"], "the level is debug");
    assert_eq!(session.reply()["error"], "loud is no level");
    assert_eq!(session.reply()["error"], "this server has no such command: help lists them");
    let help = session.reply()["message"].to_string();
    assert!(help.contains("log-level") && !help.contains("reload"), "{help}");
    running.abort();
}

#[test]
fn reload_reads_bans_again_all_or_nothing_and_the_level_of_the_log_changes_at_run_time() {
    let moderated = Moderated::start("reload", &[]);
    moderated.done(&["ban", "127.0.0.2", "first"]);
    let file = moderated.folder.join("bans");
    let content = fs::read_to_string(&file).unwrap();
    fs::write(&file, &content[..content.len() - 1]).unwrap();
    let told = moderated.refused(1, &["reload"]);
    assert!(told.contains("bans:3: the file is cut off here"), "{told}");
    assert!(Client::connect_from(OTHER, moderated.server.address).expect_error().ends_with("first"));
    fs::write(&file, content.replace("first", "second").replace("127.0.0.2/32", "127.0.0.2/31")).unwrap();
    let mut member = Client::connect_from([127, 0, 0, 3], moderated.server.address);
    member.expect_text(common::WELCOME);
    assert_eq!(moderated.done(&["reload"]), "settings reloaded\n");
    assert!(member.expect_error().ends_with("second"), "a ban closes the connections from its network");
    assert!(Client::connect_from([127, 0, 0, 3], moderated.server.address).expect_error().ends_with("second"));
    assert_eq!(moderated.done(&["log-level"]), "the log's level is warn\n");
    moderated.done(&["log-level", "info"]);
    assert_eq!(moderated.done(&["log-level"]), "the log's level is info\n");
    let settings = moderated.done(&["config"]);
    assert!(
        settings.lines().any(|line| line.starts_with("rate = 100 ")) && settings.contains("\nadmin = "),
        "{settings}"
    );
}

#[test]
fn listing_comes_in_pages_and_counts_what_it_leaves_out() {
    let moderated = Moderated::start("pages", &["--max-per-address", "0", "--rate", "0"]);
    let clients: Vec<Client> = (0..105).map(|at| moderated.server.join(&format!("r{at}"), "bob")).collect();
    for listing in ["peers", "rooms"] {
        let first = moderated.json(&[listing]);
        assert_eq!((first[listing].as_array().unwrap().len(), &first["left_out"]), (100, &Value::from(5)));
        let next = first["next"].to_string().trim_matches('"').to_owned();
        let second = moderated.json(&[listing, "after", &next]);
        assert_eq!((second[listing].as_array().unwrap().len(), &second["next"]), (5, &Value::Null));
        let table = moderated.done(&[listing]);
        assert!(table.ends_with(&format!("5 more: roomcast ctl {listing} after {next}\n")), "{table}");
    }
    assert_eq!(moderated.json(&["peers", "in", "r7"])["peers"][0]["room"], "r7");
    drop(clients);
}
