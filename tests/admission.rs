//! Admission: the bounds of one address, the reserved places, and the connections that make way.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::{Client, ServerProcess, TestServer, WELCOME, test_settings, wait_until};
use roomcast::Settings;
use roomcast::config::{NetworkItem, PeerNetworks};
use socket2::{Domain, Socket, Type};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::process::Command;
use std::sync::Barrier;
use std::time::Duration;

/// Returns settings in which no address is exempt.
fn strict_settings(change: impl FnOnce(&mut Settings)) -> Settings {
    test_settings(|settings| {
        settings.network.exempt = PeerNetworks::from_items(&[NetworkItem::None]).unwrap();
        change(settings);
    })
}

/// Connects from 127.0.0.`last`.
fn connect_from(last: u8, address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)).into()).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.set_read_timeout(Some(common::DEADLINE)).unwrap();
    socket.into()
}

/// Reads the reason for a refusal, and the end of the stream.
fn read_refusal(mut stream: &TcpStream) -> String {
    let mut seen = String::new();
    stream.read_to_string(&mut seen).unwrap();
    let reason = seen.strip_prefix("ERROR\n").unwrap_or_else(|| panic!("{seen:?} is no refusal"));
    assert_eq!(reason.matches('\n').count(), 1, "{reason:?}");
    reason.trim_end().to_owned()
}

/// Reads the welcome, which each connection gets that is clients.
fn read_welcome(mut stream: &TcpStream) {
    let mut seen = vec![0; WELCOME.len()];
    stream.read_exact(&mut seen).unwrap();
    assert_eq!(String::from_utf8_lossy(&seen), WELCOME);
}

#[test]
fn address_gets_its_connections_and_the_next_one_is_told_why() {
    let server = TestServer::start_with(strict_settings(|_| {}));
    let mut clients: Vec<Client> = (0..50).map(|_| server.connect()).collect();
    for _ in 0..3 {
        let reason = Client::connect_raw(server.address).expect_error();
        assert_eq!(reason, "your address has as many connections as it may have (50): close one and connect again");
    }
    read_welcome(&connect_from(2, server.address));
    clients.pop().unwrap().leave();
    wait_until("one connection is closed", || server.stats.connections() == 49);
    clients.push(server.connect());
}

#[test]
fn loopback_is_exempt_from_the_bounds_of_one_address_by_default() {
    let server = TestServer::start_with(test_settings(|settings| {
        settings.network.max_per_address = 1;
        settings.network.connect_rate = 1;
        settings.network.connect_burst = NonZeroU32::MIN;
    }));
    let _served: Vec<Client> = (0..150).map(|_| server.connect()).collect();
}

#[test]
fn address_that_connects_too_fast_is_told_why() {
    let server = TestServer::start_with(strict_settings(|settings| {
        settings.network.connect_burst = NonZeroU32::new(10).unwrap();
        settings.network.connect_rate = 1;
    }));
    let mut refused = Vec::new();
    // More than the rate allows within the deadline of a test.
    for _ in 0..200 {
        let mut client = Client::connect_raw(server.address);
        if client.read_line() == "ERROR" {
            refused.push(client.read_line());
        }
    }
    let reason = "your address opens connections faster than 1 a second: wait a few seconds and connect again";
    assert!(refused.len() >= 100 && refused.iter().all(|refused| refused == reason), "{refused:?}");
    read_welcome(&connect_from(2, server.address));
}

#[test]
fn last_tenth_of_the_places_is_for_addresses_without_a_connection() {
    let server = TestServer::start_with(strict_settings(|settings| {
        settings.network.max_connections = NonZeroUsize::new(20);
    }));
    let mut clients: Vec<TcpStream> = Vec::new();
    for _ in 0..18 {
        clients.push(connect_from(1, server.address));
        read_welcome(clients.last().unwrap());
    }
    assert!(read_refusal(&connect_from(1, server.address)).starts_with("server is full: its last places are for"));
    for last in [2, 3] {
        clients.push(connect_from(last, server.address));
        read_welcome(clients.last().unwrap());
    }
    assert!(read_refusal(&connect_from(1, server.address)).starts_with("server is full"));
    assert_eq!(server.stats.connections(), 20);
}

#[test]
fn oldest_connection_that_has_not_joined_makes_way() {
    let server = TestServer::start_with(test_settings(|settings| {
        settings.network.max_connections = NonZeroUsize::new(3);
    }));
    let mut alice = server.join("room", "alice");
    let (mut first, mut second) = (server.connect(), server.connect());
    let told =
        "server is full, and no JOIN line had come: connect again and send it at once: JOIN <ROOMNAME> <USERNAME>";
    let mut bob = server.join("room", "bob");
    assert_eq!(first.expect_error(), told);
    let _carol = server.join("room", "carol");
    assert_eq!(second.expect_error(), told);
    assert_eq!(Client::connect_raw(server.address).expect_error(), "server is full: try again later");
    for line in ["bob has joined", "carol has joined"] {
        alice.expect_line(line);
    }
    bob.send("still here\n");
    alice.expect_line("bob: still here");
}

/// Clients come as fast as they can and never join; people still get in.
#[test]
fn flood_of_silent_connections_keeps_no_member_out() {
    let server = TestServer::start_with(test_settings(|settings| {
        settings.network.max_connections = NonZeroUsize::new(8);
    }));
    let _silent: Vec<Client> = (0..8).map(|_| server.connect()).collect();
    let mut members = Vec::new();
    for name in ["alice", "bob", "carol", "dave"] {
        members.push(server.join("room", name));
        members.push({
            let mut client = Client::connect(server.address);
            client.send(format!("JOIN room {name}2\n"));
            client.expect_line(&format!("{name}2 has joined"));
            client
        });
    }
    assert_eq!(server.stats.connections(), 8);
}

#[test]
fn telnet_peer_whose_name_is_taken_may_have_to_make_way() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    let urls = ["--max-connections", "2", "--listen", "tcp://127.0.0.1:0", "--listen", "telnet://127.0.0.1:0"];
    let server = ServerProcess::start_command(command.args(urls));
    let _alice = server.join("room", "alice");
    let telnet = server.startup_lines[1].rsplit('/').next().unwrap().parse().unwrap();
    let mut person = Client::connect_raw(telnet);
    person.send("JOIN room alice\r\n");
    person.read_until_bytes("(2 more tries are left)\r\n");
    let _bob = server.join("room", "bob");
    assert!(person.read_to_end_lossy().contains("ERROR\r\nserver is full, and no JOIN line had come"));
}

/// Without a login timeout no deadline is set, and a person still has all tries.
#[test]
fn lifted_login_timeout_leaves_a_person_all_tries() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    let server =
        ServerProcess::start_command(command.args(["--login-timeout", "0", "--listen", "telnet://127.0.0.1:0"]));
    let mut person = Client::connect_raw(server.address);
    for left in ["(2 more tries are left)", "(1 more try is left)"] {
        person.send("hello\r\n");
        person.read_until_bytes(format!("{left}\r\n"));
    }
    person.send("JOIN room alice\r\n");
    person.read_until_bytes("alice has joined\r\n");
}

#[test]
fn statistics_show_the_memory_ceiling_and_what_is_used() {
    let server = TestServer::start_with(test_settings(|settings| {
        settings.network.memory = NonZeroU64::new(64 << 20);
    }));
    assert_eq!(server.stats.memory().ceiling(), 64 << 20);
    assert!(server.stats.memory().used() < 64 << 20);
    server.join("room", "alice");
}

/// As many threads as rooms that are wanted join at one moment; exactly the bound of them get in.
#[test]
fn rooms_are_counted_exactly_when_many_open_at_once() {
    const CLIENTS: usize = 16;
    const ROOMS: usize = 5;
    let server = TestServer::start_with(test_settings(|settings| settings.rooms.max_rooms = ROOMS));
    for round in 0..10 {
        let barrier = Barrier::new(CLIENTS);
        let join = |id: usize| {
            let mut client = server.connect();
            barrier.wait();
            client.send(format!("JOIN room{round}.{id} alice\n"));
            let line = client.read_line();
            (line == "alice has joined").then_some(client).ok_or(line)
        };
        let answers: Vec<_> = std::thread::scope(|scope| {
            let joins: Vec<_> = (0..CLIENTS).map(|id| scope.spawn(move || join(id))).collect();
            joins.into_iter().map(|join| join.join().unwrap()).collect()
        });
        let (members, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        assert_eq!((members.len(), server.stats.rooms()), (ROOMS, ROOMS));
        assert!(refused.into_iter().all(|line| line.is_err_and(|line| line == "ERROR")));
        drop(members);
        wait_until("all rooms are removed", || server.stats.rooms() == 0 && server.stats.connections() == 0);
    }
}

#[test]
fn room_beyond_the_bound_is_refused_to_a_newcomer_and_to_a_member() {
    let server = TestServer::start_with(test_settings(|settings| settings.rooms.max_rooms = 1));
    let mut alice = server.join("room", "alice");
    let mut bob = server.connect();
    bob.send("JOIN other bob\n");
    let reason = "the server has 1 room, and no more may be open: join one that is open, or try again later";
    assert_eq!(bob.expect_error(), reason);
    alice.send("/join other\nstill here\n");
    alice.expect_line(&format!("*** {reason}"));
    alice.expect_line("alice: still here");
    server.join("room", "carol");
}

#[test]
fn idle_member_is_told_and_closed() {
    let server = TestServer::start_with(test_settings(|settings| settings.live.idle_timeout = Duration::from_secs(2)));
    let (mut alice, mut bob) = server.join_pair("room", "alice", "bob");
    for client in [&mut alice, &mut bob] {
        assert_eq!(client.read_to_end().last().unwrap(), "*** idle for too long");
    }
}

#[test]
fn member_that_sends_is_not_idle() {
    let server = TestServer::start_with(test_settings(|settings| settings.live.idle_timeout = Duration::from_secs(2)));
    let (mut alice, mut bob) = server.join_pair("room", "alice", "bob");
    let is_closed = |client: &mut Client| client.read_line() == "*** idle for too long";
    // Lines of other members are no sign of life: bob reads them and sends nothing.
    loop {
        alice.send("here\n");
        while alice.read_line() != "alice: here" {}
        if is_closed(&mut bob) {
            break;
        }
    }
    alice.send("still here\n");
    alice.skip_to_line("alice: still here");
}

/// The limit of open files is lowered below what is open, and raised again.
#[test]
fn server_whose_file_limit_is_lowered_recovers() {
    let mut server = ServerProcess::start(&["-v"]);
    let mut members: Vec<Client> = (0..20).map(|id| server.join("room", &format!("u{id}"))).collect();
    let limit = |files: &str| {
        let pid = server.process.id().to_string();
        let status = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={files}:")]).status();
        status.is_ok_and(|status| status.success())
    };
    if !limit("8") {
        eprintln!("skipped: no prlimit");
        return;
    }
    let waiting: Vec<TcpStream> = (0..10).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    let last = members.last_mut().unwrap();
    for _ in 0..100 {
        last.send("still here\n");
        last.expect_line("u19: still here");
    }
    assert!(limit("1000"));
    for stream in &waiting {
        stream.set_read_timeout(Some(common::DEADLINE)).unwrap();
        read_welcome(stream);
    }
    server.send_signal("TERM");
    drop(members);
    let (code, log) = server.wait_for_exit();
    assert_eq!(code, Some(0));
    let complaints = log.lines().filter(|line| line.contains("can't accept")).count();
    assert!((1..50).contains(&complaints), "the pauses between attempts do not grow: {complaints} attempts");
}

/// Waiting and refused connections take descriptors of the reserve, and no more than it has.
#[test]
fn crowd_before_a_full_server_never_uses_up_its_descriptors() {
    let mut command = Command::new("sh");
    let script = format!("ulimit -n 100; exec {} 0 --bind 127.0.0.1 -v", env!("CARGO_BIN_EXE_roomcast"));
    let mut server = ServerProcess::start_command(command.args(["-c", &script]));
    let _members: Vec<Client> = (0..18).map(|id| server.join("room", &format!("u{id}"))).collect();
    for _ in 0..3 {
        let crowd: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(server.address).unwrap()).collect();
        let answered = crowd.iter().filter(|stream| {
            stream.set_read_timeout(Some(common::DEADLINE)).unwrap();
            // The first byte is of the welcome or of the reason; a reset may have overtaken it.
            (&**stream).read(&mut [0]).is_ok_and(|count| count == 1)
        });
        assert!(answered.count() > 250, "too few clients were answered");
        drop(crowd);
        server.join("room", "visitor").leave();
    }
    server.send_signal("TERM");
    let (code, log) = server.wait_for_exit();
    assert_eq!(code, Some(0));
    assert!(!log.contains("can't accept"), "no descriptor was left: {log}");
}

#[test]
fn refusals_are_logged_with_their_reason() {
    let mut server = ServerProcess::start(&["-v", "--exempt", "none", "--max-per-address", "1"]);
    let _alice = server.join("room", "alice");
    Client::connect_raw(server.address).expect_error();
    server.send_signal("TERM");
    let (_, log) = server.wait_for_exit();
    let refused: Vec<&str> = log.lines().filter(|line| line.contains("refused")).collect();
    assert_eq!(refused.len(), 1, "{log}");
    assert!(
        refused[0].contains("address=127.0.0.1:")
            && refused[0].contains("reason=\"your address has as many connections as it may have (1)"),
        "{log}"
    );
}
