//! Proxied listeners: the PROXY header, whom it is believed from, and `HAProxy` and nginx before a server.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::proxy::{Proxy, connect_from};
use common::{Client, ServerProcess, TestServer, WELCOME, skip, test_settings, wait_until};
use roomcast::Settings;
use roomcast::config::{NetworkItem, PeerNetworks};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

/// A header of version 1 for a client at 203.0.113.9, port 56324.
const HEADER: &str = "PROXY TCP4 203.0.113.9 192.0.2.1 56324 1234\r\n";

/// A header of version 2 for a proxy that connects for itself.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// Returns a header of version 2 for a client at 203.0.113.9, port 56324.
fn header_v2() -> Vec<u8> {
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &[203, 0, 113, 9, 192, 0, 2, 1, 0xdc, 0x04, 0x04, 0xd2]].concat()
}

fn networks(list: &str) -> PeerNetworks {
    let items: Vec<NetworkItem> = list.split(',').map(|item| item.parse().unwrap()).collect();
    PeerNetworks::from_items(&items).unwrap()
}

/// Returns settings with a proxied listener of each kind on TCP, in which no address is exempt.
fn proxied_settings(change: impl FnOnce(&mut Settings)) -> Settings {
    test_settings(|settings| {
        let urls = ["tcp://127.0.0.1:0?proxy=v1v2", "telnet://127.0.0.1:0?proxy=v1v2"];
        settings.network.listen = urls.map(|url| url.parse().unwrap()).into();
        settings.network.exempt = networks("none");
        change(settings);
    })
}

/// Connects as a proxy does for a client, and reads the welcome.
fn connect_with(header: impl AsRef<[u8]>, address: SocketAddr) -> Client {
    let mut client = Client::connect_raw(address);
    client.send(header);
    client.expect_text(WELCOME);
    client
}

/// Reads as many bytes as `text` has, which must equal it.
#[track_caller]
fn expect_bytes(mut stream: &TcpStream, text: &str) {
    let mut seen = vec![0; text.len()];
    stream.read_exact(&mut seen).unwrap();
    assert_eq!(String::from_utf8_lossy(&seen), text);
}

#[test]
fn join_line_in_the_packet_of_the_header_is_kept() {
    let server = TestServer::start_listening(&proxied_settings(|_| {}));
    for (number, header) in [HEADER.as_bytes(), &header_v2(), b"PROXY UNKNOWN\r\n", LOCAL].into_iter().enumerate() {
        let (room, join) = (format!("room{number}"), format!("JOIN room{number} alice\nhi\n"));
        let mut alice = connect_with([header, join.as_bytes()].concat(), server.address);
        alice.expect_line("alice has joined");
        alice.expect_line("alice: hi");
        let mut bob = connect_with(HEADER, server.address);
        bob.send(format!("JOIN {room} bob\n"));
        alice.expect_line("bob has joined");
    }
}

#[test]
fn telnet_listener_negotiates_after_the_header() {
    let server = TestServer::start_listening(&proxied_settings(|_| {}));
    let mut client = Client::connect_raw(server.telnet_address.unwrap());
    client.send([HEADER, "/quit\r\n"].concat());
    let seen = client.read_to_end_lossy();
    assert!(seen.contains("Welcome! Use the command:\r\n") && seen.starts_with('\u{fffd}'), "{seen:?}");
}

#[test]
fn unix_listener_takes_a_header() {
    let path = std::env::temp_dir().join(format!("roomcast-proxy-{}", std::process::id()));
    let url = format!("unix:{}?proxy=v2", path.display());
    let server = TestServer::start_listening(&proxied_settings(|settings| {
        settings.network.listen.push(url.parse().unwrap());
    }));
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(&[&header_v2()[..], b"JOIN room alice\n"].concat()).unwrap();
    let mut seen = vec![0; WELCOME.len() + "alice has joined\n".len()];
    stream.read_exact(&mut seen).unwrap();
    assert_eq!(String::from_utf8(seen).unwrap(), format!("{WELCOME}alice has joined\n"));
    let mut stranger = UnixStream::connect(&path).unwrap();
    stranger.write_all(HEADER.as_bytes()).unwrap();
    let mut seen = String::new();
    stranger.read_to_string(&mut seen).unwrap();
    assert_eq!(seen, "ERROR\nthe PROXY header is of a version that this port does not take: send v2\n");
    drop(server);
}

#[test]
fn peer_that_is_no_trusted_proxy_is_told_so_whatever_it_sends() {
    let settings = proxied_settings(|settings| settings.network.trust = networks("10.0.0.0/8,unix"));
    let server = TestServer::start_listening(&settings);
    for sent in [HEADER, "JOIN room alice\n", ""] {
        let mut stranger = Client::connect_raw(server.address);
        // The server may have closed already.
        let _ = stranger.try_send(sent);
        assert_eq!(
            stranger.expect_error(),
            "this port takes connections from its proxy alone: connect to the proxy, or to another port"
        );
    }
    server.trusted_proxies.replace(networks("127.0.0.0/8"));
    connect_with(HEADER, server.address);
    server.trusted_proxies.replace(networks("none"));
    assert!(
        Client::connect_raw(server.address).expect_error().starts_with("this port takes connections from its proxy")
    );
}

#[test]
fn proxy_that_sends_no_header_is_told_why() {
    let server = TestServer::start_listening(&proxied_settings(|_| {}));
    let too_long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(93));
    for (sent, told) in [
        ("JOIN room alice\n", "the connection did not begin with a PROXY header: connect to the proxy of this port"),
        ("PROXY TCP4 somewhere\r\n", "the PROXY header is broken: send one of version 1 or 2"),
        (&too_long, "the PROXY header is too long: send at most 107 bytes of version 1, or 536 of version 2"),
    ] {
        let mut client = Client::connect_raw(server.address);
        client.send(sent);
        assert_eq!(client.expect_error(), told);
    }
}

#[test]
fn header_on_a_listener_without_a_proxy_is_a_bad_first_line() {
    let server = TestServer::start();
    for (header, told) in
        [(HEADER.as_bytes(), "the first line did not start with JOIN"), (&header_v2(), "the first line was empty")]
    {
        let mut client = server.connect();
        client.send(header);
        assert!(client.expect_error().starts_with(told));
    }
}

#[test]
fn bounds_of_one_address_count_clients_and_not_their_proxy() {
    let server = TestServer::start_listening(&proxied_settings(|settings| settings.network.max_per_address = 2));
    let header = |last| format!("PROXY TCP4 203.0.113.{last} 192.0.2.1 56324 1234\r\n");
    let _served: Vec<Client> = (1..=20)
        .flat_map(|last| [header(last), header(last)])
        .map(|header| connect_with(header, server.address))
        .collect();
    let mut refused = Client::connect_raw(server.address);
    refused.send(header(7));
    assert!(refused.expect_error().starts_with("your address has as many connections as it may have (2)"));
    assert_eq!(server.stats.connections(), 40);
}

#[test]
fn connections_without_their_header_are_bounded_and_delay_no_other() {
    let settings = proxied_settings(|settings| settings.network.max_connections = NonZeroUsize::new(10));
    let server = TestServer::start_listening(&settings);
    let mut waiting: Vec<Client> = Vec::new();
    let mut reasons = Vec::new();
    while reasons.last().is_none_or(|reason: &String| !reason.starts_with("server is full")) {
        assert!(waiting.len() < 1_000, "no connection is refused but for {reasons:?}");
        let client = Client::connect_raw(server.address);
        client.stream().set_nonblocking(true).unwrap();
        waiting.push(client);
        if waiting.len() == 20 {
            connect_with(HEADER, server.address);
        }
        // On a slow machine a connection may come to the end of its 5 s.
        if let Some(at) = waiting.iter().position(|client| client.stream().peek(&mut [0]).is_ok()) {
            let mut refused = waiting.swap_remove(at);
            refused.stream().set_nonblocking(false).unwrap();
            reasons.push(refused.expect_error());
        }
    }
    assert!(waiting.len() >= 20, "{} connections wait for their header", waiting.len());
    drop(waiting);
    wait_until("a connection is served", || {
        let mut client = Client::connect_raw(server.address);
        client.send(HEADER);
        client.read_line() != "ERROR"
    });
}

#[test]
fn shutdown_tells_connections_that_wait_for_their_header() {
    let mut server = TestServer::start_listening(&proxied_settings(|_| {}));
    let mut waiting = Client::connect_raw(server.address);
    waiting.send("PROXY TCP4");
    let mut member = connect_with([HEADER, "JOIN room alice\n"].concat(), server.address);
    member.expect_line("alice has joined");
    server.begin_shutdown();
    assert_eq!(waiting.expect_error(), "the server is shutting down: come back later");
    member.skip_to_line("*** server is shutting down");
}

/// All connections of a proxy whose server has restarted: each connects before any header is sent.
#[test]
fn many_connections_that_wait_for_their_headers_are_all_served() {
    let server = TestServer::start_listening(&proxied_settings(|_| {}));
    let mut clients: Vec<Client> = (0..500).map(|_| Client::connect_raw(server.address)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(format!("PROXY TCP4 198.51.{}.{} 192.0.2.1 56324 1234\r\n", number / 250, number % 250));
    }
    for client in &mut clients {
        client.expect_text(WELCOME);
    }
    assert_eq!(server.stats.connections(), 500);
}

/// Cut headers and health checks of every form, and one client at the end: its records are the only ones.
#[test]
fn connection_that_ends_with_its_header_leaves_no_record_and_no_connection() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    let mut server = ServerProcess::start_command(command.args(["--listen", "tcp://127.0.0.1:0?proxy=v1v2", "-v"]));
    for header in [HEADER.as_bytes(), &header_v2(), b"PROXY UNKNOWN\r\n", LOCAL] {
        for cut in 0..=header.len() {
            let mut client = Client::connect_raw(server.address);
            client.send(&header[..cut]);
            // A close after the whole header of a client may come later than the header, which is then served.
            let has_client = cut == header.len() && header != LOCAL && !header.starts_with(b"PROXY UNKNOWN");
            if !has_client {
                client.half_close();
                let mut seen = Vec::new();
                // The server closes with the cut header unread, which may be a reset.
                let _ = client.stream().read_to_end(&mut seen);
                assert_eq!(seen, b"", "{cut} bytes of {header:?}");
            }
        }
    }
    let mut check = Client::connect_raw(server.address);
    let own_port = check.stream().local_addr().unwrap().port();
    check.send(format!("PROXY TCP4 127.0.0.1 127.0.0.1 {own_port} 1234\r\n"));
    check.half_close();
    assert_eq!(check.try_read_line(), None, "a header that names its own connection");
    let mut alice = connect_with([HEADER, "JOIN room alice\n"].concat(), server.address);
    alice.expect_line("alice has joined");
    assert_eq!(alice.leave(), [""; 0]);
    server.send_signal("TERM");
    let (code, log) = server.wait_for_exit();
    assert_eq!(code, Some(0));
    assert!(["opened", "closed"].iter().all(|event| has_record(&log, event, "203.0.113.9:56324")), "{log}");
    assert!(!log.contains("127.0.0.1"), "{log}");
}

impl Proxy {
    /// Starts nginx before the server at `server`.
    fn start_nginx(server: SocketAddr) -> Option<Self> {
        let module = ["/usr/lib/nginx/modules/ngx_stream_module.so", "/usr/share/nginx/modules/ngx_stream_module.so"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        let Some(module) = module else {
            skip("the stream module of nginx is missing (.ci/setup installs it)");
            return None;
        };
        let configuration = |address| {
            format!(
                "load_module {module};\ndaemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr;\n\
                 events {{ worker_connections 64; }}\nstream {{ server {{\n  listen {address};\n  proxy_pass {server};\n  \
                 proxy_protocol on;\n}} }}\n"
            )
        };
        let arguments = |file: &Path| {
            let folder = file.parent().unwrap().display();
            vec![
                "-p".to_owned(),
                folder.to_string(),
                "-c".to_owned(),
                file.display().to_string(),
                "-e".to_owned(),
                "stderr".to_owned(),
            ]
        };
        Self::start("nginx", configuration, arguments)
    }

    /// Connects from 127.0.0.`last` through the proxy, and reads the welcome.
    fn connect_from(&self, last: u8) -> (TcpStream, u16) {
        let (stream, port) = connect_from(last, self.address);
        expect_bytes(&stream, WELCOME);
        (stream, port)
    }
}

/// Starts a server that logs, and serves two connections of each address.
fn start_server(versions: &str) -> ServerProcess {
    let url = format!("tcp://127.0.0.1:0?proxy={versions}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    ServerProcess::start_command(command.args(["--listen", &url, "--exempt", "none", "--max-per-address", "2", "-v"]))
}

/// Asserts that the server knows the clients of a proxy by their own addresses, in its bounds and in its log.
fn check_true_addresses(mut server: ServerProcess, proxy: Proxy) {
    let (mut alice, alice_port) = proxy.connect_from(5);
    alice.write_all(b"JOIN room alice\n").unwrap();
    expect_bytes(&alice, "alice has joined\n");
    let (mut bob, _) = proxy.connect_from(5);
    bob.write_all(b"JOIN room bob\nhi\n").unwrap();
    expect_bytes(&alice, "bob has joined\nbob: hi\n");
    let (mut refused, _) = connect_from(5, proxy.address);
    let mut seen = String::new();
    refused.read_to_string(&mut seen).unwrap();
    assert!(seen.starts_with("ERROR\nyour address has as many connections as it may have (2)"), "{seen}");
    let (carol, carol_port) = proxy.connect_from(6);
    drop((bob, carol));
    alice.shutdown(Shutdown::Write).unwrap();
    alice.read_to_string(&mut seen).unwrap();
    drop(proxy);
    server.send_signal("TERM");
    let (code, log) = server.wait_for_exit();
    assert_eq!(code, Some(0));
    for (event, address) in [
        ("opened", format!("127.0.0.5:{alice_port}")),
        ("closed", format!("127.0.0.5:{alice_port}")),
        ("refused", "127.0.0.5:".to_owned()),
        ("opened", format!("127.0.0.6:{carol_port}")),
    ] {
        assert!(has_record(&log, event, &address), "no record {event} of {address} in\n{log}");
    }
    let of_the_proxy = log.lines().find(|line| line.contains("address=127.0.0.1:") && line.contains(" INFO "));
    assert_eq!(of_the_proxy, None, "a record of the proxy's own connections");
}

/// Returns whether the log has a record of an event of a connection from an address that begins with `address`.
fn has_record(log: &str, event: &str, address: &str) -> bool {
    let (event, address) = (format!(" {event} connection="), format!(" address={address}"));
    log.lines().any(|line| line.contains(&event) && line.contains(&address))
}

/// Reads log records until as many as `count` have `part`.
fn read_log_until(server: &mut ServerProcess, part: &str, count: usize) {
    let stdout: &mut BufReader<_> = server.stdout.as_mut().unwrap();
    let mut seen = 0;
    while seen < count {
        let mut line = String::new();
        assert!(stdout.read_line(&mut line).unwrap() > 0, "the server has ended");
        assert!(!line.contains(" INFO "), "a health check is logged: {line}");
        if line.contains(part) {
            assert!(line.contains(" connection="), "a record without the number of its connection: {line}");
            seen += 1;
        }
    }
}

#[test]
fn haproxy_with_version_1_names_its_clients() {
    let server = start_server("v1");
    if let Some(proxy) = Proxy::start_haproxy(server.address, "send-proxy", "") {
        check_true_addresses(server, proxy);
    }
}

#[test]
fn haproxy_with_version_2_names_its_clients() {
    let server = start_server("v2");
    if let Some(proxy) = Proxy::start_haproxy(server.address, "send-proxy-v2", "") {
        check_true_addresses(server, proxy);
    }
}

#[test]
fn nginx_names_its_clients() {
    let server = start_server("v1v2");
    if let Some(proxy) = Proxy::start_nginx(server.address) {
        check_true_addresses(server, proxy);
    }
}

/// Each form of `HAProxy`'s health checks: its own header, or none at all, and one that waits for the welcome.
#[test]
fn health_checks_of_haproxy_are_records_for_debugging_alone() {
    for (words, backend, record) in [
        ("send-proxy check inter 20ms", "", "closed by a proxy"),
        ("send-proxy-v2 check inter 20ms", "", "closed by a proxy"),
        ("send-proxy-v2 check inter 20ms", "option tcp-check\n  tcp-check expect string Welcome", "opened by a proxy"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
        let mut server =
            ServerProcess::start_command(command.args(["--listen", "tcp://127.0.0.1:0?proxy=v1v2", "-vv"]));
        let Some(proxy) = Proxy::start_haproxy(server.address, words, backend) else { return };
        read_log_until(&mut server, record, 3);
        drop(proxy);
    }
}
