//! The program as a process: its output, exit codes, argument errors and log.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use assert_cmd::Command;
use common::{Client, ServerProcess};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;

fn roomcast(args: &[&str]) -> assert_cmd::assert::Assert {
    Command::new(env!("CARGO_BIN_EXE_roomcast")).args(args).timeout(common::DEADLINE).assert()
}

/// Asserts that the program exits with this code and one line on stderr that contains `what`.
fn expect_refusal(args: &[&str], code: i32, what: &str) {
    let output = roomcast(args).code(code).get_output().clone();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(message.starts_with("roomcast: ") && message.contains(what), "{message}");
    assert!(output.stdout.is_empty());
}

#[test]
fn wrong_argument_gets_one_line_and_exit_code_2() {
    expect_refusal(&["--no-such-flag"], 2, "--no-such-flag");
    expect_refusal(&["--workers", "0"], 2, "--workers");
    expect_refusal(&["70000"], 2, "70000");
    expect_refusal(&["port"], 2, "port");
    expect_refusal(&["--backlog", "much"], 2, "--backlog");
    expect_refusal(&["--max-line", "0"], 2, "--max-line");
    expect_refusal(&["--login-timeout", "30"], 2, "--login-timeout");
    expect_refusal(&["--idle-timeout", "soon"], 2, "or 0 for no limit");
    expect_refusal(&["--byte-rate", "2GiB/s"], 2, "as 128KiB/s");
    expect_refusal(&["--byte-burst", "0"], 2, "--byte-burst");
    expect_refusal(&["--connect-burst", "0"], 2, "--connect-burst");
    expect_refusal(&["--max-per-address", "few"], 2, "--max-per-address");
    expect_refusal(&["--exempt", "10.0.0.0/33"], 2, "as 10.0.0.0/8,::1,unix");
    expect_refusal(&["--memory", "much"], 2, "--memory");
    expect_refusal(&["--max-rooms", "few"], 2, "--max-rooms");
    expect_refusal(&["--slow-reader", "shout"], 2, "skip, kick");
    expect_refusal(&["--bind", "nowhere"], 2, "--bind");
    expect_refusal(&["--burst", "0"], 2, "--burst");
    expect_refusal(&["--login-timeout", "500000000000years"], 2, "--login-timeout");
    expect_refusal(&["--drain", "5"], 2, "as 0s, 500ms, 30s or 1h");
    expect_refusal(&["--dead-timeout", "10h"], 2, "up to 9h");
    expect_refusal(&["--workers", "3000"], 2, "--workers");
    expect_refusal(&["--bell", "loud"], 2, "off, on");
    expect_refusal(&["--metrics", "9464"], 2, "--metrics <ADDR:PORT>': an IP address and a port are wanted");
}

#[test]
fn port_in_use_gets_one_line_and_exit_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    expect_refusal(&[&port, "--bind", "127.0.0.1"], 1, &format!("127.0.0.1:{port}: the port is in use"));
    expect_refusal(&[&port], 1, "the port is in use");
    expect_refusal(&["0", "--bind", "192.0.2.1"], 1, "no such address");
    let metrics = format!("127.0.0.1:{port}");
    let told = format!("can't listen on http://{metrics}/metrics: the port is in use, choose another one: --metrics");
    expect_refusal(&["0", "--bind", "127.0.0.1", "--metrics", &metrics], 1, &told);
}

#[test]
fn help_names_every_flag_with_its_variable_and_default() {
    let output = roomcast(&["--help"]).code(0).get_output().stdout.clone();
    let help = String::from_utf8(output).unwrap();
    let options = help.split_once("Options:").unwrap().1;
    for (flag, default) in [
        ("BIND", "every interface, IPv4 and IPv6"),
        ("LISTEN", "telnet://ADDR:PORT for people"),
        ("SOCKET_MODE", "umask"),
        ("WORKERS", "one for each core"),
        ("MAX_LINE", "20000"),
        ("LOGIN_TIMEOUT", "all tries together; 0 = no limit [default: 30s]"),
        ("MAX_CONNECTIONS", "less 64"),
        ("MAX_PER_ADDRESS", "0 = no limit [default: 50]"),
        ("CONNECT_RATE", "0 = no limit [default: 20]"),
        ("CONNECT_BURST", "[default: 100]"),
        ("EXEMPT", "none for no peer [default: 127.0.0.0/8,::1/128,unix]"),
        ("MEMORY", "a quarter of the memory of the machine or the cgroup"),
        ("RATE", "joins and leaves of an address may make the server do [default: 100]"),
        ("BURST", "[default: 1000]"),
        ("BYTE_RATE", "0 = no limit [default: 128KiB/s]"),
        ("BYTE_BURST", "more than --max-line [default: 1MiB]"),
        ("BACKLOG", "1MiB"),
        ("IDLE_TIMEOUT", "0 = no limit [default: never]"),
        ("MAX_ROOMS", "0 = no limit [default: 0]"),
        ("SLOW_READER", "skip"),
        ("STALL_TIMEOUT", "1m"),
        ("DEAD_TIMEOUT", "TCP keepalive probes unanswered before the peer is closed; 0 = no limit [default: 1m]"),
        ("INBOX", "1MiB"),
        ("CONFIG", "[default: none]"),
        ("LOG_LEVEL", "[default: warn]"),
        ("LOG_FORMAT", "[default: text]"),
        ("DRAIN", "0s = at once [default: 5s]"),
        ("HISTORY", "100"),
        ("REPLAY", "0"),
        ("PLAIN", ""),
        ("MOTD", "4KiB"),
        ("BELL", "on"),
        ("ALLOW_DUPLICATE_NAMES", ""),
        ("METRICS", "port 0 picks a free one and prints it [default: no metrics]"),
    ] {
        let name = format!("--{}", flag.to_lowercase().replace('_', "-"));
        let from = [' ', '\n', '['].iter().find_map(|end| options.find(&format!("{name}{end}"))).expect(&name);
        let entry = options[from..].split("\n\n").take(3).collect::<Vec<_>>().join(" ");
        let entry = entry.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(entry.contains(&format!("ROOMCAST_{flag}")), "{entry}");
        assert!(entry.contains(default), "{name}: {entry}");
    }
    assert!(help.contains("[default: 1234]"));
}

#[test]
fn help_begins_with_an_example_and_the_form_of_values() {
    let output = roomcast(&["--help"]).code(0).get_output().stdout.clone();
    let help = String::from_utf8(output).unwrap();
    let introduction = help.split("Usage:").next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    for text in [
        "A multi-room chat server for browsers, telnet, PuTTY, nc and programs.",
        "roomcast --listen tcp://:1234 --listen telnet://:2323",
        "any client that reaches the port can join and read along",
        "30s or 1m, sizes as 20000, 64KiB or 1MiB; 0 lifts a bound",
        "by an environment variable, as ROOMCAST_MAX_LINE",
    ] {
        assert!(introduction.contains(text), "{introduction}");
    }
    for values in ["--slow-reader <skip|kick>", "--bell <on|off>", "--plain[=<on|off>]"] {
        assert!(help.contains(values), "{help}");
    }
    assert!(!help.contains("possible values"), "the help lists values that a placeholder shows: {help}");
}

#[test]
fn startup_lines_name_the_listeners_and_the_bounds() {
    // `--bind` was given twice, then.
    let server = ServerProcess::start(&["--rate", "0", "--bind", "::1", "-v"]);
    let version = env!("CARGO_PKG_VERSION");
    let [first, second, bounds, memory, join, stop] = &server.startup_lines[..] else {
        panic!("{:?}", server.startup_lines)
    };
    assert!(first.starts_with(&format!("roomcast {version} listening on tcp://127.0.0.1:")));
    assert!(second.starts_with(&format!("roomcast {version} listening on tcp://[::1]:")));
    assert!(bounds.starts_with("bounds: ") && bounds.contains("login 30s, rate unlimited"));
    assert!(memory.starts_with("memory ceiling: "), "{memory}");
    assert_eq!(
        *join,
        format!("join with: telnet 127.0.0.1 {}, then type: JOIN <ROOMNAME> <USERNAME>", server.address.port())
    );
    assert_eq!(stop, "Ctrl-C stops it");
    let second = second.rsplit('/').next().unwrap().parse().unwrap();
    Client::join(second, "room", "alice");
}

#[test]
fn bounds_are_printed_only_when_asked_for() {
    let server = ServerProcess::start(&[]);
    assert!(!server.startup_lines.iter().any(|line| line.starts_with("bounds: ")), "{:?}", server.startup_lines);
    let server = ServerProcess::start(&["--memory", "2GiB"]);
    assert_eq!(server.startup_lines[1], "memory ceiling: 2.0GiB, at most 6.5MiB a peer");
}

#[test]
fn wrong_listener_is_one_line_and_exit_code_2() {
    expect_refusal(&["--listen", "wss://127.0.0.1:2323"], 2, "--listen wss://127.0.0.1:2323 wants a certificate");
    expect_refusal(&["--listen", "http://127.0.0.1:2323"], 2, "wss://ADDR:PORT or unix:PATH");
    expect_refusal(&["--allow-origin", "https://chat.example"], 2, "--allow-origin goes with a web listener");
    expect_refusal(&["--listen", "ws://:0", "--allow-origin", "chat.example"], 2, "write https://chat.example");
    expect_refusal(&["--listen", "tcp://nowhere"], 2, "--listen");
    expect_refusal(&["--listen", "telnet://nowhere"], 2, "write telnet://127.0.0.1:1234");
    expect_refusal(
        &["4000", "--listen", "tcp://127.0.0.1:0"],
        2,
        "--listen and a port (an argument or ROOMCAST_PORT) contradict each other",
    );
    expect_refusal(&["--socket-mode", "0600"], 2, "add --listen unix:PATH");
    expect_refusal(&["--replay", "200"], 2, "--replay 200 is more than --history 100");
    expect_refusal(&["--byte-burst", "10KiB"], 2, "--byte-burst 10KiB is too small for a line of --max-line 20000B");
    expect_refusal(&["--memory", "512KiB"], 2, "--memory 512.0KiB is less than --backlog 1MiB");
    let small = ["--memory", "64KiB", "--backlog", "32KiB", "--inbox", "32KiB"];
    expect_refusal(&small, 2, "--memory 64.0KiB is too small: at least 1MiB is wanted");
    expect_refusal(&["--exempt", "none,::1"], 2, "--exempt none goes alone");
    expect_refusal(&["--max-line", "10"], 2, "--max-line 10 is too small for a JOIN line");
}

/// Calls `check` with the path of a file that holds `text`, and removes the file.
fn with_file(name: &str, text: &[u8], check: impl FnOnce(&str)) {
    let path = std::env::temp_dir().join(format!("roomcast-{name}-{}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    check(path.to_str().unwrap());
    std::fs::remove_file(path).unwrap();
}

#[test]
fn wrong_message_of_the_day_is_one_line_and_exit_code_2() {
    expect_refusal(&["--motd", "/no/such/file"], 2, "--motd /no/such/file: No such file");
    expect_refusal(&["--motd", "/no/such/file"], 2, "name a file that can be read");
    expect_refusal(&["--motd", "/no/such\nfile"], 2, "--motd /no/such\\nfile: ");
    expect_refusal(&["--motd", "/"], 2, "--motd /: it is a directory");
    expect_refusal(&["--motd", "/dev/zero"], 2, "--motd /dev/zero: it is no regular file: name a file");
    with_file("motd-empty", b"", |path| expect_refusal(&["--motd", path], 2, ": it is empty"));
    let pipe = std::env::temp_dir().join(format!("roomcast-motd-pipe-{}", std::process::id()));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    expect_refusal(&["--motd", pipe.to_str().unwrap()], 2, ": it is no regular file: name a file");
    std::fs::remove_file(pipe).unwrap();
    with_file("motd-long", &[b'x'; 4097], |path| expect_refusal(&["--motd", path], 2, "longer than 4KiB"));
    with_file("motd-bytes", b"one\n\xFF\n", |path| expect_refusal(&["--motd", path], 2, "its line 2 is no UTF-8"));
}

#[test]
fn message_of_the_day_and_bell_are_taken_from_flags_and_variables() {
    with_file("motd", "Welcome, здравствуйте\n\n".as_bytes(), |path| {
        let server = ServerProcess::start(&["--motd", path, "--bell", "off"]);
        server.join("room", "alice");
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    command.env("ROOMCAST_MOTD", "/no/such/file");
    command.timeout(common::DEADLINE).assert().code(2);
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    command.env("ROOMCAST_BELL", "loud");
    command.timeout(common::DEADLINE).assert().code(2);
}

#[test]
fn telnet_listener_is_named_and_people_are_sent_to_it() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_roomcast"));
    let urls = ["--listen", "tcp://127.0.0.1:0", "--listen", "telnet://127.0.0.1:0"];
    let server = ServerProcess::start_command(command.args(urls));
    let version = env!("CARGO_PKG_VERSION");
    let [tcp, telnet, _, join, _] = &server.startup_lines[..] else { panic!("{:?}", server.startup_lines) };
    assert!(tcp.starts_with(&format!("roomcast {version} listening on tcp://127.0.0.1:")));
    let address = telnet.strip_prefix(&format!("roomcast {version} listening on telnet://")).expect(telnet);
    let (host, port) = address.split_once(':').unwrap();
    assert_eq!(*join, format!("join with: telnet {host} {port}, then type: JOIN <ROOMNAME> <USERNAME>"));
    std::net::TcpStream::connect(address).expect("the telnet listener is not listened on");
}

#[test]
fn full_server_tells_clients_of_each_listener_in_its_line_ends() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_roomcast"));
    let urls = ["--max-connections", "1", "--listen", "tcp://127.0.0.1:0", "--listen", "telnet://127.0.0.1:0"];
    let server = ServerProcess::start_command(command.args(urls));
    let _member = server.join("room", "alice");
    for (line, end) in server.startup_lines.iter().zip(["\n", "\r\n"]) {
        let mut seen = String::new();
        let address = line.rsplit('/').next().unwrap();
        std::net::TcpStream::connect(address).unwrap().read_to_string(&mut seen).unwrap();
        assert_eq!(seen, format!("ERROR{end}server is full: try again later{end}"));
    }
}

#[test]
fn full_server_tells_clients_of_each_listener() {
    let path = std::env::temp_dir().join(format!("roomcast-full-{}", std::process::id()));
    let url = format!("unix:{}", path.display());
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_roomcast"));
    let arguments = ["--max-connections", "1", "--listen", "tcp://127.0.0.1:0", "--listen", &url];
    let server = ServerProcess::start_command(command.args(arguments));
    let _member = server.join("room", "alice");
    for _ in 0..50 {
        let mut seen = String::new();
        UnixStream::connect(&path).unwrap().read_to_string(&mut seen).unwrap();
        assert_eq!(seen, "ERROR\nserver is full: try again later\n");
    }
    assert!(Client::connect_raw(server.address).expect_error().contains("server is full"));
    drop(server);
    std::fs::remove_file(path).unwrap();
}

/// A member on TCP and a member on a Unix socket are in one room; the file is gone after the end.
#[test]
fn unix_listener_serves_the_same_rooms_and_removes_its_file() {
    let path = std::env::temp_dir().join(format!("roomcast-program-{}", std::process::id()));
    let url = format!("unix:{}", path.display());
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_roomcast"));
    let mut server =
        ServerProcess::start_command(command.args(["--listen", "tcp://127.0.0.1:0", "--listen", &url, "-v"]));
    assert!(server.startup_lines[1].ends_with(&format!("listening on {url}")), "{:?}", server.startup_lines);
    let mut alice = server.join("room", "alice");
    let mut bob = UnixStream::connect(&path).unwrap();
    bob.write_all(b"JOIN room bob\nhi\n").unwrap();
    for line in ["bob has joined", "bob: hi"] {
        alice.expect_line(line);
    }
    server.send_signal("HUP");
    let mut seen = String::new();
    bob.read_to_string(&mut seen).unwrap();
    assert!(seen.ends_with("bob: hi\n*** server is shutting down\n"), "{seen}");
    assert_eq!(alice.read_to_end(), ["*** server is shutting down"]);
    let (code, log) = server.wait_for_exit();
    assert_eq!(code, Some(0), "a hangup is a graceful end, too");
    assert!(log.contains("opened connection=1 address=\"unix:pid=") && !path.exists(), "{log}");
}

#[test]
fn server_without_bind_serves_ipv4_and_ipv6() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_roomcast"));
    let server = ServerProcess::start_command(command.arg("0"));
    let port = server.address.port();
    let mut four = Client::join(([127, 0, 0, 1], port).into(), "room", "four");
    if server.address.is_ipv6() {
        let _six = Client::join((std::net::Ipv6Addr::LOCALHOST, port).into(), "room", "six");
        four.expect_line("six has joined");
    }
}

#[test]
fn variables_set_what_no_flag_sets() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_roomcast"));
    command.env("ROOMCAST_PORT", "0").env("ROOMCAST_BIND", "127.0.0.1").env("ROOMCAST_BACKLOG", "3MiB");
    command.env("ROOMCAST_EXEMPT", "10.0.0.0/8,::1").env("ROOMCAST_CONNECT_RATE", "7");
    command.env("ROOMCAST_MAX_PER_ADDRESS", "9").env("ROOMCAST_CONNECT_BURST", "8").env("ROOMCAST_MAX_ROOMS", "6");
    command.env("ROOMCAST_BYTE_RATE", "64KiB/s").env("ROOMCAST_BYTE_BURST", "2MiB").env("ROOMCAST_IDLE_TIMEOUT", "1h");
    command.env("ROOMCAST_MEMORY", "64GiB").env("ROOMCAST_LOGIN_TIMEOUT", "0");
    command.env("ROOMCAST_ALLOW_DUPLICATE_NAMES", "1").env("ROOMCAST_DRAIN", "9s").args(["--drain", "7s", "-v"]);
    let startup_lines = ServerProcess::start_command(&mut command).startup_lines.clone();
    let (bounds, memory) = (&startup_lines[1], &startup_lines[2]);
    for part in [
        "backlog 3MiB",
        "drain 7s",
        "duplicate names allowed",
        "9 an address, connect rate 7/s burst 8, exempt 10.0.0.0/8,::1/128,",
        "login never",
        "byte rate 64KiB/s burst 2MiB",
        "idle 1h",
        "rooms 6",
    ] {
        assert!(bounds.contains(part), "{bounds}");
    }
    assert_eq!(memory, "memory ceiling: 64.0GiB, at most 10.5MiB a peer");
}

#[test]
fn empty_variable_counts_as_unset() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_roomcast"));
    let lists = ["LISTEN", "BIND", "EXEMPT"];
    let bounds = ["RATE", "BURST", "BACKLOG", "MAX_CONNECTIONS", "MAX_PER_ADDRESS", "CONNECT_RATE", "CONNECT_BURST"];
    let sizes = ["BYTE_RATE", "BYTE_BURST", "MEMORY", "MAX_LINE", "INBOX", "MAX_ROOMS", "HISTORY", "REPLAY"];
    let times = ["DRAIN", "IDLE_TIMEOUT", "LOGIN_TIMEOUT", "STALL_TIMEOUT", "DEAD_TIMEOUT"];
    let config = ["CONFIG", "LOG_LEVEL", "LOG_FORMAT"];
    let others = ["PLAIN", "SLOW_READER", "MOTD", "BELL", "WORKERS", "SOCKET_MODE", "PORT", "ALLOW_DUPLICATE_NAMES"];
    for name in [&lists[..], &bounds, &sizes, &times, &config, &others].concat() {
        command.env(format!("ROOMCAST_{name}"), "");
    }
    let server = ServerProcess::start_command(command.args(["0", "--bind", "127.0.0.1", "-v"]));
    assert!(server.startup_lines[1].contains("rate 100/s burst 1000, byte rate"), "{:?}", server.startup_lines);
    assert!(server.startup_lines[1].contains("exempt 127.0.0.0/8,::1/128,unix"), "{:?}", server.startup_lines);
}

#[test]
fn connection_maximum_beyond_the_file_limit_is_reduced_with_a_notice() {
    let mut command = std::process::Command::new("sh");
    let script = format!("ulimit -n 100; exec {} 0 -v --max-connections 5000 2>&1", env!("CARGO_BIN_EXE_roomcast"));
    let startup_lines = ServerProcess::start_command(command.args(["-c", &script])).startup_lines.clone();
    assert!(startup_lines[0].contains("--max-connections 5000 is cut to 36"), "{startup_lines:?}");
    assert!(startup_lines.iter().any(|line| line.starts_with("bounds: 36 connections")), "{startup_lines:?}");
}

#[test]
fn verbose_log_names_each_connection_at_its_open_and_close() {
    let mut server = ServerProcess::start(&["-v"]);
    let mut alice = server.join("lobby", "alice");
    alice.send("one\ntwo\n\x1b[2J forged\r reason=kicked\n");
    for line in ["alice: one", "alice: two"] {
        alice.expect_line(line);
    }
    alice.read_line();
    alice.leave();
    let mut mallory = Client::connect(server.address);
    mallory.send("JOIN lobby \x1b[2Jmallory\n");
    mallory.expect_error();
    server.send_signal("TERM");
    let (code, log) = server.wait_for_exit();
    assert_eq!(code, Some(0));
    assert_eq!(
        log.lines().filter(|line| line.contains(" opened connection=") && line.contains(" address=127.0.0.1:")).count(),
        2,
        "{log}"
    );
    let ends: Vec<&str> = log
        .lines()
        .filter(|line| line.contains(" closed connection=") && line.contains(" address=127.0.0.1:"))
        .collect();
    assert_eq!(ends.len(), 2, "{log}");
    assert!(ends[0].ends_with(r#"room="lobby" name="alice" reason="end of input" lines_in=4 lines_out=6"#), "{log}");
    assert!(ends[1].ends_with(r#"reason="bad first line" lines_in=1 lines_out=4"#), "{log}");
    assert!(!log.contains("forged") && !log.contains('\x1b'), "the log contains input of a user: {log}");
}

#[test]
fn server_without_v_logs_nothing() {
    let mut server = ServerProcess::start(&[]);
    server.join("lobby", "alice").leave();
    server.send_signal("TERM");
    assert_eq!(server.wait_for_exit(), (Some(0), String::new()));
}

#[test]
fn closed_output_pipes_do_not_stop_the_server() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_roomcast"));
    command.args(["0", "--bind", "127.0.0.1", "-v"]).stderr(std::process::Stdio::piped());
    let mut server = ServerProcess::start_command(&mut command);
    // Dropping them closes both pipes.
    (server.stdout, server.process.stderr) = (None, None);
    for n in 0..20 {
        server.join("lobby", &format!("u{n}")).leave();
    }
    server.send_signal("TERM");
    assert_eq!(server.wait_for_exit().0, Some(0));
}

/// The server drops log lines when the pipe is full, and does not wait for its reader.
#[test]
fn full_log_pipe_does_not_stop_the_server() {
    let mut server = ServerProcess::start(&["-v"]);
    let mut alice = server.join("lobby", "alice");
    for n in 0..1_500 {
        server.join("other", &format!("u{n}")).leave();
    }
    alice.send("still here\n");
    alice.expect_line("alice: still here");
    server.send_signal("TERM");
    assert_eq!(alice.read_to_end(), ["*** server is shutting down"]);
    // Waiting for the exit reads the pipe for the first time.
    assert_eq!(server.wait_for_exit().0, Some(0));
}

#[test]
fn stall_timeout_beyond_the_dead_timeout_is_an_error() {
    expect_refusal(&["--stall-timeout", "30days"], 2, "--stall-timeout 30days is longer than --dead-timeout 1m");
}
