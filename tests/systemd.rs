//! The program under a service manager: activated sockets, messages to it, and the units for systemd.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::folder::Folder;
use common::systemd::{Manager, activated, tcp_socket};
use common::{Client, ServerProcess, find_or_skip, wait_until};
use roomcast::limits::memory::{KERNEL_RECEIVE_BUFFER, KERNEL_SEND_BUFFER};
use std::fs;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_roomcast");

/// Runs a command that becomes the program, which refuses to start; returns its one line on stderr.
#[track_caller]
fn refusal(command: &mut Command, code: i32) -> String {
    let Output { status, stdout, stderr } =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    let message = String::from_utf8(stderr).unwrap();
    assert_eq!((status.code(), stdout.len(), message.lines().count()), (Some(code), 0, 1), "{message}");
    message.trim_end().to_owned()
}

#[test]
fn activated_sockets_are_served_in_place_of_the_default_port() {
    let ((lines, lines_address), (telnet, telnet_address)) = (tcp_socket(), tcp_socket());
    // The client connects before the program starts.
    let mut early = Client::connect_raw(lines_address);
    early.send("JOIN room alice\n");
    let server = ServerProcess::start_with_stdin(&mut activated([lines, telnet], "tcp:telnet", &[]));
    let listening = |number: usize| server.startup_lines[number].rsplit(' ').next().unwrap();
    assert_eq!(listening(0), format!("tcp://{lines_address}"));
    assert_eq!(listening(1), format!("telnet://{telnet_address}"));
    early.expect_text(common::WELCOME);
    early.expect_line("alice has joined");
    let mut person = Client::connect_raw(telnet_address);
    let mut first = [0];
    person.stream().read_exact(&mut first).unwrap();
    assert_eq!(first, [0xff], "the negotiation of telnet comes first");
    person.send("JOIN room bob\r\n");
    early.expect_line("bob has joined");
}

#[test]
fn activated_socket_may_be_a_unix_socket_or_stand_behind_a_proxy() {
    let folder = Folder::new("unix");
    let path = folder.join("chat");
    let listener = UnixListener::bind(&path).unwrap();
    let (tcp, address) = tcp_socket();
    let args = ["--listen", "fd:tcp?proxy=v1", "--listen", "fd:unix"];
    let mut server = ServerProcess::start_with_stdin(&mut activated([listener.into(), tcp], "unix:tcp", &args));
    assert!(server.startup_lines[0].ends_with(&format!("tcp://{address}?proxy=v1")), "{:?}", server.startup_lines);
    assert!(server.startup_lines[1].ends_with(&format!("unix:{}", path.display())), "{:?}", server.startup_lines);
    let trusted = "PROXY headers are taken from: 127.0.0.0/8,::1/128,unix (--trust)";
    assert!(server.startup_lines.iter().any(|line| line == trusted), "{:?}", server.startup_lines);
    let mut client = Client::connect_raw(address);
    client.send("PROXY TCP4 203.0.113.9 192.0.2.1 56324 1234\r\nJOIN room alice\n");
    client.expect_text(common::WELCOME);
    client.expect_line("alice has joined");
    server.send_signal("TERM");
    assert_eq!(server.wait_for_exit().0, Some(0));
    assert!(path.exists(), "the file of an activated socket is the service manager's");
}

#[test]
fn activation_that_does_not_fit_is_one_line() {
    let told = refusal(&mut activated([tcp_socket().0], "tlenet", &[]), 2);
    assert!(
        told.starts_with(
            "roomcast: LISTEN_FDNAMES: a socket is named \"tlenet\"; name it tcp, telnet, tls, ws, wss or unix"
        ),
        "{told}"
    );
    let told = refusal(&mut activated([tcp_socket().0], "tcp", &["--listen", "tcp://127.0.0.1:0"]), 2);
    assert!(told.contains("passed a socket \"tcp\" that no listener takes: add --listen fd:tcp"), "{told}");
    for default in [&["--listen", "tcp://:1234"][..], &["1234"]] {
        let told = refusal(&mut activated([tcp_socket().0], "tcp", default), 2);
        assert!(told.contains("passed a socket \"tcp\" that no listener takes"), "{default:?}: {told}");
    }
    let told = refusal(Command::new(PROGRAM).args(["--listen", "fd:tcp"]), 2);
    assert!(told.contains("--listen fd:tcp: the service manager passed no socket of this name"), "{told}");
    let file = fs::File::open("/dev/null").unwrap();
    let told = refusal(&mut activated([file.into()], "tcp", &[]), 1);
    assert!(told.starts_with("roomcast: LISTEN_FDS: descriptor 3 (tcp) is no listening socket"), "{told}");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let told = refusal(&mut activated([connected.into()], "tcp", &[]), 1);
    assert!(told.starts_with("roomcast: LISTEN_FDS: descriptor 3 (tcp) is no listening socket"), "{told}");
}

#[test]
fn variables_of_another_process_are_ignored() {
    let mut command = ServerProcess::command(&[]);
    command.env("LISTEN_PID", "1").env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "tlenet");
    command.env("NOTIFY_SOCKET", "").env("WATCHDOG_USEC", "1").env("WATCHDOG_PID", "1");
    ServerProcess::start_command(&mut command).join("room", "alice");
}

#[test]
fn service_manager_is_told_when_the_server_listens_and_when_it_ends() {
    let folder = Folder::new("notify");
    let manager = Manager::new(&folder);
    let mut server = ServerProcess::start_command(ServerProcess::command(&[]).env("NOTIFY_SOCKET", &manager.path));
    assert_eq!(manager.receive(), "READY=1\nSTATUS=0 connections, 0 rooms");
    server.send_signal("TERM");
    assert_eq!(manager.receive(), "STOPPING=1\nSTATUS=shutting down");
    assert_eq!(server.wait_for_exit().0, Some(0));
}

#[test]
fn watchdog_is_told_again_and_again_and_the_status_follows_the_counts() {
    let folder = Folder::new("watchdog");
    let manager = Manager::new(&folder);
    let mut command = ServerProcess::command(&[]);
    command.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "100000");
    let mut server = ServerProcess::start_command(&mut command);
    assert!(manager.receive().starts_with("READY=1\n"));
    for _ in 0..3 {
        assert_eq!(manager.receive(), "WATCHDOG=1");
    }
    let alice = server.join("room", "alice");
    manager.receive_until("STATUS=1 connection, 1 room");
    manager.receive_until("WATCHDOG=1");
    drop(alice);
    manager.receive_until("STATUS=0 connections, 0 rooms");
    server.send_signal("TERM");
    manager.receive_until("STOPPING=1\nSTATUS=shutting down");
    assert_eq!(server.wait_for_exit().0, Some(0));
}

/// A service manager that takes no message fills its socket; the server serves and ends nevertheless.
#[test]
fn service_manager_that_hangs_does_not_stop_the_server() {
    let folder = Folder::new("hang");
    let path = folder.join("notify");
    let _socket = UnixDatagram::bind(&path).unwrap();
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    while filler.send_to(b"full", &path).is_ok() {}
    let mut command = ServerProcess::command(&[]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "1000");
    let mut server = ServerProcess::start_command(&mut command);
    server.join("room", "alice").leave();
    server.send_signal("TERM");
    assert_eq!(server.wait_for_exit().0, Some(0));
}

#[test]
fn service_manager_that_is_gone_is_a_warning() {
    let mut command = ServerProcess::command(&[]);
    command.env("NOTIFY_SOCKET", "/nonexistent/notify").stderr(Stdio::piped());
    let mut server = ServerProcess::start_command(&mut command);
    server.send_signal("TERM");
    assert_eq!(server.wait_for_exit().0, Some(0));
    let mut told = String::new();
    server.process.stderr.as_mut().unwrap().read_to_string(&mut told).unwrap();
    assert!(told.contains("can't reach the service manager that NOTIFY_SOCKET names"), "{told}");
}

#[test]
fn systemd_activates_the_program_at_the_first_connection() {
    let Some(activate) = find_or_skip("systemd-socket-activate") else { return };
    let (socket, address) = tcp_socket();
    drop(socket);
    let mut command = Command::new(activate);
    command.args(["--listen", &address.to_string(), "--fdname", "tcp", PROGRAM]);
    let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let server = ServerProcess { process, address, stdout: None, startup_lines: Vec::new() };
    wait_until("systemd listens", || common::listening_port(server.process.id()) == Some(address.port()));
    let mut alice = server.join("room", "alice");
    alice.send("hi\n");
    alice.expect_line("alice: hi");
}

/// Returns the folder of the units, and a copy of it in which the service runs this program.
fn units(folder: &Folder) -> PathBuf {
    let packaged = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd");
    for unit in ["roomcast.service", "roomcast.socket"] {
        let text = fs::read_to_string(packaged.join(unit)).unwrap();
        fs::write(folder.join(unit), text.replace("/usr/bin/roomcast", PROGRAM)).unwrap();
    }
    folder.join("roomcast.service")
}

#[test]
fn units_are_correct() {
    let Some(analyze) = find_or_skip("systemd-analyze") else { return };
    let folder = Folder::new("verify");
    let service = units(&folder);
    let output = Command::new(analyze)
        .arg("verify")
        .arg("--man=no")
        .args([&service, &folder.join("roomcast.socket")])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && !told.contains("roomcast"), "{told}");
}

/// Connections that wait for the service have the buffers that the service gives, of which the system doubles each.
#[test]
fn socket_unit_has_the_buffers_of_the_service() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd/roomcast.socket");
    let text = fs::read_to_string(unit).unwrap();
    for (key, size) in [("ReceiveBuffer", KERNEL_RECEIVE_BUFFER), ("SendBuffer", KERNEL_SEND_BUFFER)] {
        let line = format!("{key}={}K", size / 2 / 1024);
        assert!(text.lines().any(|other| other == line), "no line {line} in\n{text}");
    }
}

/// The exposure that `systemd-analyze security` gives is at most 1.3 of 10.
#[test]
fn service_is_confined() {
    let Some(analyze) = find_or_skip("systemd-analyze") else { return };
    let folder = Folder::new("security");
    let service = units(&folder);
    let output =
        Command::new(analyze).args(["security", "--offline=true", "--no-pager"]).arg(service).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let line = told.lines().find(|line| line.contains("Overall exposure level")).unwrap_or_else(|| panic!("{told}"));
    let exposure: f64 = line.split_whitespace().find_map(|word| word.parse().ok()).unwrap();
    assert!(exposure <= 1.3, "{told}");
}
