//! The answers over HTTP of the server, also to requests for none of its paths.

use crate::common::http::ask;
use crate::start_with_metrics;

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
