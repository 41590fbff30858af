//! Browsers' connections on real sockets: HTTP, WebSocket, and the guarantees that all members have.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::http::ask;
use common::proxy::Proxy;
use common::tls::{TestCertificate, TlsClient, client_config};
use common::web::{WEB_LOOPBACK, WebClient, connect, start_web, start_web_tls};
use common::{LOOPBACK, TestServer, check_lines_and_skip_notices, test_settings, wait_until};
use roomcast::config::{NetworkItem, PeerNetworks};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;
use tungstenite::Message;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};

const NOTICE: &str = "*** server is shutting down";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

fn handshake(address: SocketAddr, fields: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: \
         13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
    )
}

/// Sends bytes and returns all that comes until the server closes.
fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = connect(address);
    stream.write_all(bytes).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn page_and_its_parts_are_served() {
    let (_server, address) = start_web(|_| {});
    let page = ask(address, &get("/"));
    assert_eq!((&*page.status, page.header("Content-Type")), ("200 OK", Some("text/html; charset=utf-8")));
    assert_eq!(page.header("Cross-Origin-Opener-Policy"), Some("same-origin"));
    for part in ["/app.js", "/app.css"] {
        assert!(page.body.contains(&format!("\"{part}\"")), "the page has no {part}");
        let response = ask(address, &get(part));
        assert_eq!(response.status, "200 OK");
        let etag = response.header("ETag").unwrap();
        let again = ask(address, &get(part).replace("\r\n\r\n", &format!("\r\nIf-None-Match: {etag}\r\n\r\n")));
        assert_eq!((&*again.status, &*again.body), ("304 Not Modified", ""));
    }
    assert_eq!(ask(address, &get("/metrics")).status, "404 Not Found");
    assert_eq!(ask(address, &get("/ws")).status, "426 Upgrade Required");
    assert_eq!(ask(address, &get("/").replace("GET", "POST")).status, "405 Method Not Allowed");
}

#[test]
fn second_request_of_a_connection_is_not_answered() {
    let (_server, address) = start_web(|_| {});
    for second in [get("/app.js"), "Content-Length: 3\r\n\r\nabc".to_owned(), handshake(address, "")] {
        let text = exchange(address, format!("{}{second}", get("/app.css")).as_bytes());
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{text}");
    }
    let text = exchange(address, format!("{}{}", handshake(address, ""), get("/")).as_bytes());
    assert!(text.starts_with("HTTP/1.1 400 ") && text.matches("HTTP/1.1 ").count() == 1, "{text}");
    let smuggling = handshake(address, "Transfer-Encoding: chunked\r\n") + "0\r\n\r\n";
    assert!(exchange(address, smuggling.as_bytes()).starts_with("HTTP/1.1 400 "));
}

#[test]
fn page_of_another_origin_may_not_connect_unless_it_is_allowed() {
    let (_server, address) = start_web(|settings| {
        settings.network.allow_origin = vec!["https://chat.example".parse().unwrap()];
    });
    let text = exchange(address, handshake(address, "Origin: https://evil.example\r\n").as_bytes());
    assert!(text.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{text}");
    for origin in [format!("http://{address}"), "https://chat.example".to_owned()] {
        WebClient::connect_over(Box::new(connect(address)), address, &[("Origin", &origin)]);
    }
}

#[test]
fn idle_browser_is_told_and_closed_for_policy() {
    let (_server, address) = start_web(|settings| settings.live.idle_timeout = Duration::from_millis(300));
    WebClient::join(address, "lobby", "alice").expect_close(&["*** idle for too long"], 1008);
}

#[test]
fn head_that_is_too_large_or_too_slow_is_answered_and_closed() {
    let (_server, address) = start_web(|settings| settings.live.login_timeout = Duration::from_millis(300));
    let large = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "x".repeat(9_000));
    assert!(exchange(address, large.as_bytes()).starts_with("HTTP/1.1 431 "));
    assert!(exchange(address, b"GET / HTTP/1.1\r\nHost: a\r\n").starts_with("HTTP/1.1 408 "));
    let late = exchange(address, b"HEAD / HTTP/1.1\r\nHost: a\r\n");
    assert!(late.starts_with("HTTP/1.1 408 ") && late.ends_with("\r\n\r\n"), "{late}");
    assert_eq!(exchange(address, b""), "", "a client that only connects is told nothing");
    let mut waits = WebClient::connect(address);
    let lines = waits.read_to_end();
    assert_eq!(lines[0], "ERROR");
    assert!(lines[1].starts_with("no JOIN line came within"), "{lines:?}");
    assert_eq!(waits.close_code, Some(1008));
}

#[test]
fn members_of_plain_and_of_web_listeners_are_in_the_same_rooms() {
    let (server, address) = start_web(|_| {});
    let mut alice = server.join("lobby", "alice");
    let mut bob = WebClient::join(address, "lobby", "bob");
    alice.expect_line("bob has joined");
    bob.send("hello");
    alice.send("grüße 🎉\n");
    let mut seen = [bob.next_line().unwrap(), bob.next_line().unwrap()];
    assert_eq!(seen, [alice.read_line(), alice.read_line()], "one order");
    seen.sort();
    assert_eq!(seen, ["alice: grüße 🎉", "bob: hello"]);
    bob.send("/who");
    bob.expect_line("*** 2 in lobby: alice, bob");
    bob.send("/msg alice pssst");
    bob.expect_line("*** you whisper to alice: pssst");
    bob.send("one\ntwo\r\n");
    for line in ["bob: one", "bob: two"] {
        bob.expect_line(line);
    }
    bob.send("/quit bye");
    bob.expect_line("bob: bye");
    assert_eq!(bob.read_to_end(), [""; 0]);
    assert_eq!(bob.close_code, Some(1000));
    alice.skip_to_line("bob has left");
}

#[test]
fn browsers_inside_tls_are_members_as_all_others() {
    let certificate = TestCertificate::new();
    let (server, address) = start_web_tls(&certificate);
    let mut alice = server.join("lobby", "alice");
    let mut bob = WebClient::connect_tls(address, &certificate).joined("lobby", "bob");
    alice.expect_line("bob has joined");
    for number in 0..300 {
        alice.send(format!("{number} {}\n", "x".repeat(200)));
    }
    for number in 0..300 {
        bob.expect_line(&format!("alice: {number} {}", "x".repeat(200)));
    }
    bob.send("thanks");
    bob.expect_line("bob: thanks");
    bob.socket.close(None).unwrap();
    assert_eq!(bob.read_to_end(), [""; 0]);
    alice.skip_to_line("bob has left");
}

#[test]
fn page_is_served_inside_tls() {
    let certificate = TestCertificate::new();
    let (_server, address) = start_web_tls(&certificate);
    let mut client = TlsClient::connect_raw(address, &client_config(&[&certificate]));
    client.send(get("/app.js"));
    let lines = client.read_to_end();
    assert_eq!(lines[0], "HTTP/1.1 200 OK");
    assert_eq!(lines.last().map(String::as_str), Some("})();"), "the whole file, and the end of TLS after it");
}

#[test]
fn lines_of_one_batch_come_in_few_frames() {
    let (server, address) = start_web(|settings| settings.live.rate = 0);
    let mut bob = WebClient::join(address, "lobby", "bob");
    let mut alice = server.join("lobby", "alice");
    bob.expect_line("alice has joined");
    let before = bob.frames;
    alice.send("some text\n".repeat(5_000));
    for _ in 0..5_000 {
        bob.expect_line("alice: some text");
    }
    assert!(bob.frames - before < 1_000, "{} frames", bob.frames - before);
}

#[test]
fn times_and_colors_are_shown_in_frames() {
    let (server, address) = start_web(|_| {});
    let mut bob = WebClient::join(address, "lobby", "bob");
    bob.send("/time +0");
    assert!(bob.next_line().unwrap().contains("time"), "the answer");
    let mut alice = server.join("lobby", "alice");
    let joined = bob.next_line().unwrap();
    assert!(joined.ends_with("alice has joined") && joined.len() > 16, "{joined}");
    bob.send("/ui on");
    assert!(bob.next_line().unwrap().contains("needs a telnet client"));
    alice.send("hi\n");
    assert!(bob.next_line().unwrap().ends_with("alice: hi"));
}

#[test]
fn each_mistake_has_its_close_code() {
    let (_server, address) = start_web(|settings| settings.live.max_line = 200);
    let mut long = WebClient::join(address, "a", "alice");
    long.send(&"x".repeat(201));
    long.expect_close(&["ERROR", "the line was longer than 200 bytes: send shorter lines"], 1009);
    let mut binary = WebClient::join(address, "b", "alice");
    binary.socket.send(Message::binary(&b"abc"[..])).unwrap();
    binary.expect_close(&[], 1003);
    let mut bad_text = WebClient::join(address, "c", "alice");
    bad_text.send_frame(Frame::message(&b"\xFF"[..], OpCode::Data(Data::Text), true));
    bad_text.expect_close(&[], 1007);
    let mut mixed = WebClient::join(address, "d", "alice");
    mixed.send_frame(Frame::message(&b"a"[..], OpCode::Data(Data::Continue), true));
    mixed.expect_close(&[], 1002);
    let mut bad_join = WebClient::connect(address);
    bad_join.send("hello");
    let lines = bad_join.read_to_end();
    assert_eq!((&*lines[0], bad_join.close_code), ("ERROR", Some(1008)));
    let _alice = WebClient::join(address, "e", "alice");
    let mut taken = WebClient::connect(address);
    taken.send("JOIN e alice");
    let lines = taken.read_to_end();
    assert!(lines[1].starts_with("the name alice is taken in e"), "{lines:?}");
    assert_eq!(taken.close_code, Some(1008));
}

#[test]
fn unfinished_message_is_no_line_when_its_sender_ends() {
    let (server, address) = start_web(|_| {});
    let mut alice = server.join("lobby", "alice");
    for ends_with_a_close in [true, false] {
        let mut bob = WebClient::join(address, "lobby", "bob");
        alice.expect_line("bob has joined");
        bob.send("whole");
        bob.send_frame(Frame::message(&b"cut"[..], OpCode::Data(Data::Text), false));
        if ends_with_a_close {
            bob.socket.close(None).unwrap();
            bob.read_to_end();
        } else {
            bob.socket.flush().unwrap();
        }
        drop(bob);
        alice.expect_line("bob: whole");
        alice.expect_line("bob has left");
    }
}

#[test]
fn ping_is_answered_with_its_payload() {
    let (_server, address) = start_web(|_| {});
    let mut bob = WebClient::join(address, "lobby", "bob");
    bob.socket.send(Message::Ping(vec![b'x'; 125].into())).unwrap();
    match bob.socket.read().unwrap() {
        Message::Pong(payload) => assert_eq!(payload.len(), 125),
        other => panic!("{other:?}"),
    }
}

#[test]
fn browser_that_does_not_answer_pings_is_closed_and_one_that_answers_is_not() {
    let (server, address) = start_web(|settings| {
        settings.live.dead_timeout = Duration::from_secs(2);
        settings.live.stall_timeout = Duration::from_secs(2);
    });
    let mut alice = server.join("lobby", "alice");
    let mut silent = WebClient::join(address, "lobby", "silent");
    alice.expect_line("silent has joined");
    let mut answering = WebClient::join(address, "lobby", "answering");
    alice.expect_line("answering has joined");
    silent.expect_line("answering has joined");
    // tungstenite answers pings while it reads.
    answering.expect_line("silent has left");
    alice.expect_line("silent has left");
    answering.send("still here");
    alice.expect_line("answering: still here");
}

#[test]
fn slow_browser_is_told_how_many_lines_it_missed_and_waits_for_nobody() {
    let (server, address) = start_web(|settings| {
        settings.live.rate = 0;
        settings.live.byte_rate = 0;
        settings.live.backlog = 64 << 10;
    });
    let mut slow = WebClient::join(address, "lobby", "slow");
    let mut alice = server.join("lobby", "alice");
    slow.expect_line("alice has joined");
    let total = 20_000;
    let mut sender = alice.sender();
    let sending = std::thread::spawn(move || {
        for number in 0..total {
            sender.send(format!("{number} {}\n", "x".repeat(60)));
        }
    });
    let expected = |number| format!("alice: {number} {}", "x".repeat(60));
    for number in 0..total {
        alice.expect_line(&expected(number));
    }
    sending.join().unwrap();
    let lost = check_lines_and_skip_notices(|| slow.next_line().unwrap(), total, expected);
    assert!(lost > 0, "the browser has missed nothing");
    alice.send("last\n");
    slow.expect_line("alice: last");
}

#[test]
fn shutdown_closes_browsers_with_its_code() {
    let (mut server, address) = start_web(|_| {});
    let mut member = WebClient::join(address, "lobby", "bob");
    let mut waits = WebClient::connect(address);
    let mut reads_head = connect(address);
    reads_head.write_all(b"GET / HTTP/1.1\r\nHost:").unwrap();
    let stats = server.stats.clone();
    wait_until("all are accepted", || stats.connections() == 3);
    server.begin_shutdown();
    member.expect_close(&[NOTICE], 1001);
    waits.expect_close(&["ERROR", "the server is shutting down: come back later"], 1001);
    let mut text = String::new();
    reads_head.read_to_string(&mut text).unwrap();
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 503 "), "{text}");
    server.wait_for_exit();
}

#[test]
fn full_server_tells_pages_and_requests_alike() {
    let (server, address) = start_web(|settings| settings.network.max_connections = NonZeroUsize::new(2));
    let _members = (server.join("lobby", "alice"), server.join("lobby", "bob"));
    let mut refused = WebClient::shake_hands(Box::new(connect(address)), address, &[]);
    let lines = refused.read_to_end();
    assert_eq!((&*lines[0], refused.close_code), ("ERROR", Some(1013)));
    assert!(lines[1].starts_with("server is full"), "{lines:?}");
    let response = ask(address, &get("/"));
    assert_eq!(response.status, "503 Service Unavailable");
    assert!(response.body.starts_with("server is full"), "{}", response.body);
}

/// A page comes back after such a refusal by itself, and a ban would keep it away.
#[test]
fn address_with_as_many_connections_as_it_may_have_is_told_to_try_again_later() {
    let (server, address) = start_web(|settings| {
        settings.network.max_per_address = 1;
        settings.network.exempt = PeerNetworks::from_items(&[NetworkItem::None]).unwrap();
    });
    let _alice = server.join("lobby", "alice");
    let mut refused = WebClient::shake_hands(Box::new(connect(address)), address, &[]);
    let lines = refused.read_to_end();
    assert_eq!((&*lines[0], refused.close_code), ("ERROR", Some(1013)));
    assert!(lines[1].starts_with("your address has as many connections as it may have (1)"), "{lines:?}");
}

#[test]
fn rate_of_lines_holds_for_browsers() {
    let (server, address) = start_web(|settings| {
        settings.live.rate = 50;
        settings.live.burst = std::num::NonZeroU32::new(10).unwrap();
    });
    let mut alice = server.join("lobby", "alice");
    let mut bob = WebClient::join(address, "lobby", "bob");
    alice.expect_line("bob has joined");
    bob.send(&"x\n".repeat(40));
    bob.socket.close(None).unwrap();
    for _ in 0..40 {
        alice.expect_line("bob: x");
    }
    alice.expect_line("bob has left");
}

#[test]
fn proxy_header_gives_the_address_of_a_browser() {
    let settings = test_settings(|settings| {
        settings.network.listen = vec![LOOPBACK, format!("{WEB_LOOPBACK}?proxy=v1v2").parse().unwrap()];
        settings.network.trust = PeerNetworks::from_items(&["127.0.0.0/8".parse().unwrap()]).unwrap();
    });
    let server = TestServer::start_listening(&settings);
    let address = server.telnet_address.unwrap();
    let mut stream = connect(address);
    stream.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 80\r\n").unwrap();
    let mut bob = WebClient::connect_over(Box::new(stream), address, &[]).joined("lobby", "bob");
    bob.send("through a proxy");
    bob.expect_line("bob: through a proxy");
}

/// A proxy that speaks HTTP, as an operator puts before the page.
#[test]
fn page_and_chat_work_behind_haproxy_and_nginx() {
    let (server, address) = start_web(|settings| {
        settings.network.allow_origin = vec!["https://chat.example".parse().unwrap()];
    });
    let mut alice = server.join("lobby", "alice");
    let haproxy = |listen: SocketAddr| {
        format!(
            "global\n  maxconn 100\ndefaults\n  mode http\n  timeout connect 10s\n  timeout client 60s\n  timeout \
             server 60s\n  timeout tunnel 1h\nfrontend f\n  bind {listen}\n  default_backend b\nbackend b\n  server s \
             {address}\n"
        )
    };
    let nginx = |listen: SocketAddr| {
        format!(
            "daemon off; master_process off; error_log stderr; pid /dev/null;\nevents {{ worker_connections 100; }}\n\
             http {{ access_log off; server {{ listen {listen}; location / {{ proxy_pass http://{address}; \
             proxy_http_version 1.1; proxy_set_header Host $http_host; proxy_set_header Upgrade $http_upgrade; \
             proxy_set_header Connection \"upgrade\"; proxy_read_timeout 1h; }} }} }}\n"
        )
    };
    let proxies = [
        Proxy::start("haproxy", haproxy, |file| vec!["-f".to_owned(), file.to_str().unwrap().to_owned()]),
        Proxy::start("nginx", nginx, |file| vec!["-c".to_owned(), file.to_str().unwrap().to_owned()]),
    ];
    for proxy in proxies.into_iter().flatten() {
        let page = ask(proxy.address, &get("/").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
        assert!(page.status.starts_with("200") && page.body.contains("app.js"), "{}", page.status);
        let origin = format!("http://{}", proxy.address);
        let stream = Box::new(connect(proxy.address));
        let mut bob = WebClient::connect_over(stream, proxy.address, &[("Origin", &origin)]).joined("lobby", "bob");
        alice.expect_line("bob has joined");
        bob.send("hello");
        alice.expect_line("bob: hello");
        bob.expect_line("bob: hello");
        bob.socket.close(None).unwrap();
        bob.read_to_end();
        alice.expect_line("bob has left");
    }
}

/// Any bytes on a web listener end at most their own connection.
#[test]
fn bytes_of_other_protocols_are_answered_or_closed() {
    let (server, address) = start_web(|settings| settings.live.login_timeout = Duration::from_millis(500));
    let mut alice = server.join("lobby", "alice");
    for bytes in [
        &b"JOIN lobby mallory\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"SSH-2.0-x\r\n",
        b"\xFF\xFD\x01",
        b"\0\n\0\n\n\n",
    ] {
        let text = exchange(address, bytes);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{bytes:?}: {text}");
    }
    alice.send("quiet here\n");
    alice.expect_line("alice: quiet here");
}
