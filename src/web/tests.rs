//! Answers to whole heads, as a web listener gets them.

use super::*;
use crate::http::HeadReader;

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Returns the answer to a head and what comes with it.
fn ask(head: &str) -> Answer {
    let mut reader = HeadReader::default();
    let request = reader.push(head.as_bytes()).expect("the head is complete");
    answer(&request, &reader, &[])
}

/// Returns the text of an answer that is no upgrade.
#[track_caller]
fn response(head: &str) -> String {
    match ask(head) {
        Answer::Response(bytes, status) => {
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.starts_with(&format!("HTTP/1.1 {}\r\n", status.line())), "{text}");
            text
        }
        Answer::Upgrade(_) => panic!("upgraded: {head}"),
    }
}

fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: chat.example\r\n{fields}\r\n")
}

fn handshake(fields: &str) -> String {
    get("/ws", &format!("Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n{fields}"))
}

#[track_caller]
fn assert_status(head: &str, status: &str) {
    let text = response(head);
    assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {text}");
    let connection = if status == "426" { "Upgrade, close" } else { "close" };
    assert!(text.contains(&format!("\r\nConnection: {connection}\r\n")), "{text}");
    assert!(text.contains("\r\nX-Content-Type-Options: nosniff\r\n"), "{text}");
    assert!(text.contains("\r\nReferrer-Policy: no-referrer\r\n"), "{text}");
    assert!(text.contains("\r\nContent-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"), "{text}");
}

#[test]
fn files_of_the_page_are_served_and_nothing_else() {
    for (path, content_type) in
        [("/", "text/html"), ("/?a", "text/html"), ("/app.js", "text/javascript"), ("/app.css", "text/css")]
    {
        assert_status(&get(path, ""), "200");
        let text = response(&get(path, ""));
        assert!(text.contains(&format!("\r\nContent-Type: {content_type}; charset=utf-8\r\n")), "{text}");
        assert!(text.contains("\r\nCache-Control: no-cache\r\n"), "{text}");
    }
    for path in
        ["/index.html", "/metrics", "/healthz", "/app.js/", "//", "/../Cargo.toml", "/%2e%2e/", "/WS", "/favicon.ico"]
    {
        assert_status(&get(path, ""), "404");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let head = get("/", "Content-Length: 0\r\n").replace("GET", method);
        assert_status(&head, "405");
        assert!(response(&head).contains("\r\nAllow: GET, HEAD\r\n"));
    }
    assert_status("JOIN lobby alice\n\n", "400");
}

#[test]
fn head_is_answered_as_get_without_a_body() {
    for path in ["/", "/app.js", "/app.css", "/none", "/ws"] {
        let (with, without) = (response(&get(path, "")), response(&get(path, "").replace("GET", "HEAD")));
        let (head, body) = with.split_once("\r\n\r\n").unwrap();
        assert_eq!(without, format!("{head}\r\n\r\n"));
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
    }
}

#[test]
fn head_that_is_no_request_is_refused_without_a_body() {
    for (head, status) in [
        ("HEAD /\r\n\r\n", "400"),
        ("HEAD / HTTP/1.1\r\n\r\n", "400"),
        (&*format!("HEAD / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(100)), "431"),
        (&*format!("HEAD / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(10_000)), "431"),
    ] {
        assert_status(head, status);
        assert!(response(head).ends_with("\r\n\r\n"), "{head}");
    }
    assert!(!response("GET /\r\n\r\n").ends_with("\r\n\r\n"));
}

#[test]
fn browser_that_has_a_file_gets_no_body() {
    let text = response(&get("/app.js", ""));
    let etag = text.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap();
    for known in [etag.to_owned(), format!("W/{etag}"), format!("\"other\", {etag}"), "*".to_owned()] {
        let text = response(&get("/app.js", &format!("If-None-Match: {known}\r\n")));
        assert!(text.starts_with("HTTP/1.1 304 Not Modified\r\n") && text.ends_with("\r\n\r\n"), "{text}");
        assert!(text.contains(&format!("\r\nETag: {etag}\r\n")) && !text.contains("Content-Length"), "{text}");
    }
    assert_status(&get("/app.css", &format!("If-None-Match: {etag}\r\n")), "200");
}

#[test]
fn handshake_is_answered_with_the_accept_value_and_the_subprotocol() {
    for (fields, subprotocol) in [
        ("", ""),
        ("Sec-WebSocket-Protocol: roomcast.1\r\n", "Sec-WebSocket-Protocol: roomcast.1\r\n"),
        ("Sec-WebSocket-Protocol: other, roomcast.1\r\n", "Sec-WebSocket-Protocol: roomcast.1\r\n"),
        ("Sec-WebSocket-Protocol: other\r\n", ""),
        ("Sec-WebSocket-Extensions: permessage-deflate\r\n", ""),
        ("Origin: https://chat.example\r\n", ""),
        ("Content-Length: 0\r\n", ""),
    ] {
        let head = handshake(&format!("Sec-WebSocket-Version: 13\r\n{KEY}{fields}"));
        let Answer::Upgrade(response) = ask(&head) else { panic!("{head}") };
        let expected = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n{subprotocol}\r\n"
        );
        assert_eq!(String::from_utf8(response).unwrap(), expected);
    }
}

#[test]
fn request_that_is_no_handshake_is_told_which_one_it_wants() {
    let version = "Sec-WebSocket-Version: 13\r\n";
    for head in [
        get("/ws", ""),
        get("/ws", &format!("Upgrade: websocket\r\n{version}{KEY}")),
        get("/ws", &format!("Connection: Upgrade\r\n{version}{KEY}")),
        get("/ws", &format!("Upgrade: h2c\r\nConnection: Upgrade\r\n{version}{KEY}")),
        handshake(KEY),
        handshake(&format!("Sec-WebSocket-Version: 8\r\n{KEY}")),
        handshake(&format!("{version}{version}{KEY}")),
        handshake(&format!("{version}{KEY}")).replace("HTTP/1.1", "HTTP/1.0"),
        handshake(&format!("{version}{KEY}")).replace("GET", "HEAD"),
    ] {
        assert_status(&head, "426");
        let text = response(&head);
        assert!(text.contains("\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"), "{text}");
    }
}

#[test]
fn handshake_with_a_bad_key_or_something_after_it_is_refused() {
    let valid = handshake(&format!("Sec-WebSocket-Version: 13\r\n{KEY}"));
    for head in [
        handshake("Sec-WebSocket-Version: 13\r\n"),
        handshake(&format!("Sec-WebSocket-Version: 13\r\n{KEY}{KEY}")),
        handshake("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n"),
        format!("{valid}GET /other HTTP/1.1\r\nHost: chat.example\r\n\r\n"),
        format!("{valid}\u{81}"),
        valid.replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\n"),
        valid.replace("\r\n\r\n", "\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n"),
        valid.replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n"),
        valid.replace("Host", "Host: other\r\nHost"),
    ] {
        assert_status(&head, "400");
    }
}

#[test]
fn page_of_another_origin_may_not_connect() {
    let fields = format!("Sec-WebSocket-Version: 13\r\n{KEY}");
    for origin in ["https://evil.example", "null", "https://chat.example:8443"] {
        assert_status(&handshake(&format!("{fields}Origin: {origin}\r\n")), "403");
    }
    assert_status(&handshake(&format!("{fields}Origin: http://chat.example\r\nOrigin: http://a\r\n")), "403");
}
