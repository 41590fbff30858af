//! The handover to a new process of the program: members stay connected, and each of their bytes arrives once and in order.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::ctl::{ctl, ctl_done};
use common::folder::Folder;
use common::systemd::{Manager, activated, tcp_socket};
use common::tls::{TestCertificate, TlsClient, client_config};
use common::web::WebClient;
use common::{Client, ServerProcess, check_lines_and_skip_notices, numbered_lines, wait_until};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use tungstenite::Message;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};

const PROGRAM: &str = env!("CARGO_BIN_EXE_roomcast");

/// A server with an operators' socket, whichever process serves. Its drop kills the last one.
struct Upgradable {
    server: ServerProcess,
    folder: Folder,
    /// The process that serves after an upgrade.
    successor: Option<u32>,
}

impl Upgradable {
    fn start(name: &str, args: &[&str]) -> Self {
        Self::start_program(Folder::new(name), PROGRAM, args)
    }

    fn start_program(folder: Folder, program: &str, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(["--admin", &folder.text("admin")]).args(args);
        if !args.contains(&"--listen") {
            command.args(["0", "--bind", "127.0.0.1"]);
        }
        Self { server: ServerProcess::start_command(&mut command), folder, successor: None }
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("admin")
    }

    fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Upgrades, and waits for the end of the process that served before.
    #[track_caller]
    fn upgrade(&mut self) -> String {
        let told = ctl_done(&self.socket(), &["upgrade"]);
        let successor = told.strip_prefix("process ").unwrap().split(' ').next().unwrap().parse().unwrap();
        match self.successor.replace(successor) {
            None => assert_eq!(self.server.process.wait().unwrap().code(), Some(0)),
            Some(before) => wait_until("the process has ended", || !is_running(before)),
        }
        told
    }

    /// Fails to upgrade; returns the reason.
    #[track_caller]
    fn fail_to_upgrade(&self) -> String {
        let output = ctl(&self.socket(), &["upgrade"]);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    }
}

impl Drop for Upgradable {
    fn drop(&mut self) {
        if let Some(successor) = self.successor {
            let _ = Command::new("kill").args(["-KILL", &successor.to_string()]).status();
        }
    }
}

/// Returns whether a process runs; a dead one that nobody has waited for does not.
fn is_running(process: u32) -> bool {
    fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn members_in_each_state_go_on_in_the_new_process_and_in_the_one_after_it() {
    let mut server = Upgradable::start("states", &["--history", "10"]);
    let (mut alice, mut bob) = server.server.join_pair("lobby", "alice", "bob");
    // A line without its end, a client of CR LF, one that has not joined, and half of a telnet command.
    alice.send("first\nhalf of a li");
    bob.send("one\r\n/msg alice psst\r\n");
    let mut late = Client::connect(server.address());
    late.send("JOIN lob");
    alice.skip_to_line("*** bob whispers: psst");
    let mut telnet = server.server.join("lobby", "teo");
    telnet.send([0xff]);
    alice.skip_to_line("teo has joined");
    for round in 0..3 {
        let told = server.upgrade();
        assert!(told.contains("goes on with ") && told.contains("1 room"), "{told}");
        alice.send(format!("ne {round}\nhalf of a li"));
        alice.expect_line(&format!("alice: half of a line {round}"));
        bob.skip_to_line(&format!("alice: half of a line {round}"));
        alice.send("\u{8}".repeat(12));
        alice.send("/reply hi\nhalf of a li");
        bob.skip_to_line("*** alice whispers: hi");
        alice.expect_line("*** you whisper to bob: hi");
    }
    late.send("by late\n");
    late.expect_line("late has joined");
    // IAC AYT in two processes is one command.
    telnet.skip_to_line("late has joined");
    telnet.send([0xf6]);
    let mut told = Vec::new();
    while !told.ends_with(b"*** yes, roomcast is here\r\n") {
        let mut byte = [0];
        telnet.stream().read_exact(&mut byte).unwrap();
        told.push(byte[0]);
    }
    alice.skip_to_line("late has joined");
    let mut newcomer = server.server.join("lobby", "new");
    newcomer.send("/last 20\n/who\n");
    newcomer.skip_to_line("*** alice: half of a line 0");
    newcomer.skip_to_line("*** alice: half of a line 1");
    newcomer.skip_to_line("*** alice: half of a line 2");
    newcomer.skip_to_line("*** 5 in lobby: alice, bob, late, new, teo");
    drop(alice);
    newcomer.expect_line("alice has left");
}

#[test]
fn lines_of_all_senders_arrive_once_and_in_order_while_processes_follow_each_other() {
    const SENDERS: usize = 4;
    const BURST: usize = 50;
    // No reader misses a line, however busy the machine is.
    let mut server = Upgradable::start("order", &["--rate", "0", "--byte-rate", "0", "--backlog", "0"]);
    let address = server.address();
    let mut reader = server.server.join("lobby", "reader");
    let is_over = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let mut client = Client::join(address, "lobby", &format!("s{sender}"));
            let is_over = Arc::clone(&is_over);
            thread::spawn(move || {
                let mut sent = 0;
                while !is_over.load(Ordering::Relaxed) {
                    // Lines are on their way all the time, and no more than so many.
                    let burst: String =
                        (sent..sent + BURST).fold(String::new(), |lines, line| format!("{lines}{line}\n"));
                    sent += BURST;
                    client.send(burst);
                    client.skip_to_line(&format!("s{sender}: {}", sent - 1));
                }
                client.send("end\n");
                sent
            })
        })
        .collect();
    let checking = thread::spawn(move || {
        let mut next = [0_usize; SENDERS];
        let mut ended = 0;
        while ended < SENDERS {
            let line = reader.read_line();
            let Some((name, text)) = line.split_once(": ") else { continue };
            let sender: usize = name[1..].parse().unwrap();
            if text == "end" {
                ended += 1;
            } else {
                assert_eq!(text, next[sender].to_string(), "a line of {name} is missing, doubled or misplaced");
                next[sender] += 1;
            }
        }
        next
    });
    for _ in 0..3 {
        server.upgrade();
        // Clients connect all the time, and each is served by one of the processes.
        Client::join(address, "other", "guest").leave();
    }
    is_over.store(true, Ordering::Relaxed);
    let sent: Vec<usize> = senders.into_iter().map(|sender| sender.join().unwrap()).collect();
    assert_eq!(checking.join().unwrap()[..], sent[..]);
}

#[test]
fn slow_reader_is_told_of_each_line_that_it_missed_in_either_process() {
    const LINES: usize = 3_000;
    let args = ["--rate", "0", "--byte-rate", "0", "--backlog", "64KiB"];
    let mut server = Upgradable::start("slow", &args);
    let mut slow = server.server.join("lobby", "slow");
    let mut sender = server.server.join("lobby", "sender");
    let padding = "x".repeat(400);
    let lines =
        |from: usize, to: usize| (from..to).fold(String::new(), |lines, number| format!("{lines}{number} {padding}\n"));
    for (round, from) in (0..LINES).step_by(LINES / 3).enumerate() {
        sender.send(lines(from, from + LINES / 3));
        sender.skip_to_line(&format!("sender: {} {padding}", from + LINES / 3 - 1));
        if round < 2 {
            server.upgrade();
        }
    }
    slow.expect_line("sender has joined");
    let missed =
        check_lines_and_skip_notices(|| slow.read_line(), LINES, |number| format!("sender: {number} {padding}"));
    assert!(missed > 0 && missed < LINES, "{missed} lines were missed");
}

#[test]
fn delayed_lines_mutes_and_display_settings_are_kept() {
    let mut server = Upgradable::start("kept", &["--rate", "20", "--burst", "5"]);
    let (mut alice, mut bob) = server.server.join_pair("lobby", "alice", "bob");
    bob.send("/time +2\n/ignore mallory\n");
    while !bob.read_line().ends_with("*** lines of mallory are hidden from now on: /unignore mallory shows them") {}
    ctl_done(&server.socket(), &["mute", "in", "lobby", "bob", "for", "1h"]);
    alice.send(numbered_lines(30));
    server.upgrade();
    for number in 0..30 {
        alice.skip_to_line(&format!("alice: {number}"));
    }
    let mut mallory = server.server.join("lobby", "mallory");
    mallory.send("unseen\n");
    mallory.skip_to_line("mallory: unseen");
    alice.send("seen\n");
    loop {
        let line = bob.read_line();
        assert!(!line.ends_with("mallory: unseen"), "{line}");
        if line.ends_with(" alice: seen") {
            assert_eq!((line.len(), &line[2..3]), ("12:34 alice: seen".len(), ":"), "{line}");
            break;
        }
    }
    bob.send("hello?\n");
    let told = bob.read_line();
    assert!(told.contains("muted"), "{told}");
}

#[test]
fn all_listeners_go_on_and_clients_are_served_that_connect_meanwhile() {
    let folder = Folder::new("listeners");
    let unix = folder.text("chat");
    let url = format!("unix:{unix}");
    let args = ["--listen", "tcp://127.0.0.1:0", "--listen", &url, "--metrics", "127.0.0.1:0"];
    let mut server = Upgradable::start("listeners-admin", &args);
    let metrics = server
        .server
        .startup_lines
        .iter()
        .find_map(|line| line.split_once(" on http://").map(|(_, url)| url.to_owned()));
    let metrics: SocketAddr = metrics.unwrap().strip_suffix("/metrics").unwrap().parse().unwrap();
    for _ in 0..2 {
        server.upgrade();
        server.server.join("lobby", "tcp").leave();
        let mut local = UnixStream::connect(&unix).unwrap();
        local.write_all(b"JOIN lobby local\n").unwrap();
        let mut probe = TcpStream::connect(metrics).unwrap();
        probe.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").unwrap();
        let mut told = String::new();
        probe.read_to_string(&mut told).unwrap();
        assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
    }
    let successor = server.successor.unwrap();
    assert!(Command::new("kill").args(["-TERM", &successor.to_string()]).status().unwrap().success());
    wait_until("the last process removes the socket's file", || !fs::exists(&unix).unwrap());
}

#[test]
fn peer_inside_tls_is_told_and_leaves_its_room() {
    let certificate = TestCertificate::new();
    let (cert, key) = (certificate.certificate().to_owned(), certificate.key().to_owned());
    let args =
        ["--listen", "tcp://127.0.0.1:0", "--listen", "tls://127.0.0.1:0", "--tls-cert", &cert, "--tls-key", &key];
    let mut server = Upgradable::start("tls", &args);
    let tls =
        server.server.startup_lines.iter().find_map(|line| line.split_once(" on tls://").map(|(_, address)| address));
    let tls: SocketAddr = tls.unwrap().parse().unwrap();
    let mut alice = server.server.join("lobby", "alice");
    let mut bob = TlsClient::connect(tls, &client_config(&[&certificate]));
    bob.send("JOIN lobby bob\n");
    bob.expect_line("bob has joined");
    alice.expect_line("bob has joined");
    server.upgrade();
    bob.expect_line("*** server is upgraded: connect again");
    assert!(bob.read_to_end().is_empty(), "the end of the output is told");
    alice.expect_line("bob has left");
    let mut again = TlsClient::connect(tls, &client_config(&[&certificate]));
    again.send("JOIN lobby bob\n");
    alice.expect_line("bob has joined");
}

#[test]
fn browsers_go_on_in_the_new_process_in_the_middle_of_a_message_and_those_inside_tls_are_told() {
    let certificate = TestCertificate::new();
    let (cert, key) = (certificate.certificate().to_owned(), certificate.key().to_owned());
    let listen = ["tcp://127.0.0.1:0", "ws://127.0.0.1:0", "wss://127.0.0.1:0"];
    let args: Vec<&str> = listen.iter().flat_map(|url| ["--listen", url]).collect();
    let mut server = Upgradable::start("web", &[&args[..], &["--tls-cert", &cert, "--tls-key", &key]].concat());
    let address = |scheme: &str| -> SocketAddr {
        let lines = &server.server.startup_lines;
        lines.iter().find_map(|line| line.split_once(&format!(" on {scheme}"))).unwrap().1.parse().unwrap()
    };
    let (ws, wss) = (address("ws://"), address("wss://"));
    let mut alice = server.server.join("lobby", "alice");
    let mut bob = WebClient::join(ws, "lobby", "bob");
    alice.expect_line("bob has joined");
    bob.send("/ids on");
    assert!(bob.next_line().unwrap().starts_with("*** ids is on"));
    let mut late = WebClient::connect(ws);
    let mut sealed = WebClient::connect_tls(wss, &certificate).joined("hall", "carol");
    let cut = "gr\u{fc}\u{df}e".as_bytes().split_at(3);
    bob.send_frame(Frame::message(cut.0, OpCode::Data(Data::Text), false));
    bob.send_frame(Frame::ping(&b"arrived?"[..]));
    assert!(matches!(bob.socket.read().unwrap(), Message::Pong(_)), "the first part has arrived");
    server.upgrade();
    sealed.expect_close(&["*** server is upgraded: connect again"], 1012);
    bob.send_frame(Frame::message(cut.1, OpCode::Data(Data::Continue), true));
    alice.expect_line("bob: gr\u{fc}\u{df}e");
    bob.expect_line("#1 bob: gr\u{fc}\u{df}e");
    late.send("JOIN lobby dave");
    late.expect_line("dave has joined");
    bob.expect_line("dave has joined");
    let _erin = WebClient::join(ws, "lobby", "erin");
    bob.expect_line("erin has joined");
}

#[test]
fn signal_upgrades_under_a_service_manager_that_learns_the_new_process() {
    let folder = Folder::new("manager");
    let manager = Manager::new(&folder);
    let (socket, address) = tcp_socket();
    let mut command = activated([socket], "tcp", &["--admin", &folder.text("admin")]);
    command.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "1000000");
    let mut server = ServerProcess::start_with_stdin(&mut command);
    let mut alice = Client::join(address, "lobby", "alice");
    server.send_signal("USR2");
    let told = loop {
        let message = manager.receive();
        if let Some(process) = message.strip_prefix("MAINPID=") {
            break process.lines().next().unwrap().to_owned();
        }
    };
    assert_eq!(server.process.wait().unwrap().code(), Some(0));
    alice.send("still here\n");
    alice.expect_line("alice: still here");
    manager.receive_until("WATCHDOG=1");
    Client::join(address, "lobby", "bob");
    assert!(Command::new("kill").args(["-TERM", &told]).status().unwrap().success());
    alice.skip_to_line("*** server is shutting down");
    manager.receive_until("STOPPING=1\nSTATUS=shutting down");
}

/// Writes a program that takes the place of the server's.
fn replace_program(server: &Upgradable, text: &str, mode: u32) {
    let new = server.folder.write("new", text);
    fs::set_permissions(&new, fs::Permissions::from_mode(mode)).unwrap();
    fs::rename(new, server.folder.join("roomcast")).unwrap();
}

#[test]
fn program_or_configuration_that_is_wrong_lets_the_old_process_go_on() {
    let folder = Folder::new("programs");
    let (config, program) = (folder.text("roomcast.toml"), folder.text("roomcast"));
    fs::write(&config, "history = 5\n").unwrap();
    fs::copy(PROGRAM, &program).unwrap();
    let mut server = Upgradable::start_program(folder, &program, &["--config", &config]);
    let refusal = || server.fail_to_upgrade();
    let (mut alice, _bob) = server.server.join_pair("lobby", "alice", "bob");
    let mut number = 0;
    let mut still_serves = || {
        number += 1;
        alice.send(format!("{number}\n"));
        alice.expect_line(&format!("alice: {number}"));
        server.server.join("other", "guest").leave();
    };
    fs::write(&config, "histery = 5\n").unwrap();
    let told = refusal();
    assert!(told.contains("roomcast.toml:1:1: unknown key 'histery'; did you mean 'history'?"), "{told}");
    still_serves();
    fs::write(&config, "history = 5\nmax-connections = 1\n").unwrap();
    for _ in 0..5 {
        let told = refusal();
        assert!(told.contains("--max-connections is less than the"), "{told}");
    }
    still_serves();
    fs::write(&config, "history = 5\n").unwrap();
    replace_program(&server, "no program", 0o755);
    let told = refusal();
    assert!(told.contains("can't be started: ") || told.contains("has ended"), "{told}");
    still_serves();
    replace_program(&server, "#!/bin/sh\nexit 3\n", 0o755);
    assert!(refusal().contains("the other process has ended"));
    still_serves();
    replace_program(&server, "#!/bin/sh\necho hello, is this a server >&0\nsleep 60\n", 0o755);
    assert!(refusal().contains("does not speak the protocol of a handover"));
    still_serves();
    replace_program(&server, "#!/bin/sh\n", 0o644);
    assert!(refusal().contains("Permission denied"));
    still_serves();
    fs::remove_file(server.folder.join("roomcast")).unwrap();
    assert!(refusal().contains("can't be started: No such file"));
    still_serves();
    fs::copy(PROGRAM, server.folder.join("roomcast")).unwrap();
    server.upgrade();
    alice.send("upgraded\n");
    alice.expect_line("alice: upgraded");
}

#[test]
fn draining_server_is_not_upgraded() {
    let server = Upgradable::start("drain", &[]);
    ctl_done(&server.socket(), &["drain"]);
    assert!(server.fail_to_upgrade().contains("the server is draining"));
}

#[test]
fn variable_of_a_handover_is_no_users_business() {
    let output =
        Command::new(PROGRAM).env("ROOMCAST_HANDOVER", "stdin").stdin(std::process::Stdio::null()).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), told.lines().count()), (Some(2), 1), "{told}");
    assert!(told.contains("ROOMCAST_HANDOVER is set by a server that upgrades itself"), "{told}");
}

#[test]
fn many_members_are_moved() {
    const MEMBERS: usize = 500;
    let mut server = Upgradable::start("many", &["--rate", "0"]);
    let mut clients: Vec<Client> =
        (0..MEMBERS).map(|number| server.server.join(&format!("r{}", number % 50), &format!("m{number}"))).collect();
    let told = server.upgrade();
    assert!(told.contains(&format!("goes on with {MEMBERS} connections and 50 rooms")), "{told}");
    for (number, client) in clients.iter_mut().enumerate() {
        client.send("here\n");
        client.skip_to_line(&format!("m{number}: here"));
    }
}

/// The format of the state of a handover, and the sum of the definitions of all its types. If the sum changes and the format does
/// not, another version of the program may take the state for something else.
const FINGERPRINT: (u32, u64) = (2, 0xef07_8881_923b_4103);

/// Returns the definitions of serialized types in a source file, without comments.
fn serialized_types(source: &str) -> Vec<String> {
    let mut types = Vec::new();
    let lines: Vec<&str> = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    for (at, _) in lines.iter().enumerate().filter(|(_, line)| line.contains("derive(") && line.contains("Deserialize"))
    {
        let end = lines[at..]
            .iter()
            .position(|line| *line == "}" || line.ends_with(");"))
            .map_or(lines.len(), |end| at + end);
        types.push(lines[at + 1..=end.min(lines.len() - 1)].join("\n"));
    }
    types
}

fn collect_types(folder: &Path, types: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.ends_with("src/cluster") {
            // Frames have a version of their own.
        } else if path.is_dir() {
            collect_types(&path, types);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            types.extend(serialized_types(&fs::read_to_string(path).unwrap()));
        }
    }
}

#[test]
fn types_of_the_state_are_those_of_its_format() {
    let mut types = Vec::new();
    collect_types(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut types);
    types.sort();
    assert!(types.len() > 40 && types.iter().any(|text| text.contains("struct MovedConnection")));
    // FNV-1a, which is the same in each version of the compiler.
    let sum = types
        .concat()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let format = roomcast::handover::FORMAT;
    assert_eq!(
        (format, sum),
        FINGERPRINT,
        "a type of the state has changed: if a version with FORMAT {format} was released, raise FORMAT in \
         src/handover/mod.rs; then set FINGERPRINT to both, the sum to {sum:#x}"
    );
}
