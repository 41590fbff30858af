//! HTTP as a client sees it, and the answers of the server to requests that are none of its paths.

use crate::common::DEADLINE;
use crate::start_with_metrics;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// A response, whose connection is closed.
pub(crate) struct Response {
    /// The code and the phrase.
    pub(crate) status: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Response {
    /// Returns the value of a header field.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(field, _)| field == name).map(|(_, value)| &**value)
    }
}

/// Sends GET for a path and reads the response.
#[track_caller]
pub(crate) fn get(address: SocketAddr, path: &str) -> Response {
    ask(address, &format!("GET {path} HTTP/1.0\r\n\r\n"))
}

/// Sends a request and reads until the server closes.
#[track_caller]
pub(crate) fn ask(address: SocketAddr, request: &str) -> Response {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?} is no response"));
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split_once(' ').unwrap().1.to_owned();
    let headers =
        lines.map(|line| line.split_once(": ").unwrap()).map(|(name, value)| (name.to_owned(), value.to_owned()));
    Response { status, headers: headers.collect(), body: body.to_owned() }
}

#[test]
fn each_path_and_method_gets_its_answer() {
    let (_server, metrics) = start_with_metrics(&[]);
    for (request, status, body) in [
        ("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", "200 OK", "alive\n"),
        ("GET /readyz?verbose=1 HTTP/1.1\r\nHost: a\r\n\r\n", "200 OK", "ready\n"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "404 Not Found", "the paths are /metrics, /healthz and /readyz\n"),
        ("POST /metrics HTTP/1.1\r\nHost: a\r\n\r\n", "405 Method Not Allowed", "only GET and HEAD are allowed\n"),
        ("JOIN lobby alice\n\n", "400 Bad Request", "this is no request of HTTP/1.1\n"),
        ("GET /healthz HTTP/1.1\r\n\r\n", "400 Bad Request", "this is no request of HTTP/1.1\n"),
    ] {
        let response = ask(metrics, request);
        assert_eq!((&*response.status, &*response.body), (status, body), "{request:?}");
        assert_eq!(response.header("Connection"), Some("close"));
    }
    assert_eq!(ask(metrics, "PUT / HTTP/1.0\r\n\r\n").header("Allow"), Some("GET, HEAD"));
    let large = format!("GET / HTTP/1.0\r\nX: {}\r\n\r\n", "x".repeat(9_000));
    assert_eq!(ask(metrics, &large).status, "431 Request Header Fields Too Large");
}

#[test]
fn head_of_the_metrics_has_their_length_and_no_body() {
    let (_server, metrics) = start_with_metrics(&[]);
    let response = ask(metrics, "HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    let length: usize = response.header("Content-Length").unwrap().parse().unwrap();
    assert!(length > 5_000 && response.body.is_empty(), "{length} bytes and {:?}", response.body);
}
