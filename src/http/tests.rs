//! The responder over real sockets. The clock of the tests is paused, so a timeout takes no time.

use super::*;
use crate::http::head::MAX_HEAD;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::task::{JoinHandle, yield_now};

/// Answers `/ok` with its body, panics for `/panic`, and knows no other path.
struct Pages;

impl Handler for Pages {
    fn respond(&self, path: &str) -> Response {
        match path {
            "/ok" => Response::ok("text/plain", "fine".to_owned()),
            "/large" => Response::ok("text/plain", "x".repeat(4 << 20)),
            "/panic" => panic!("asked for"),
            _ => Response::plain(Status::NotFound, "no such path"),
        }
    }
}

/// A responder that runs until it is dropped.
struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn start<H: Handler>(handler: H) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // As the server's listeners have it: a socket takes a part of a large response at once.
    SockRef::from(&listener).set_send_buffer_size(64 << 10).unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let task = tokio::spawn(Responder::new(listener, handler).run(stop.clone()));
    Running { address, stop, task }
}

impl Running {
    /// Sends `request` and returns all that comes until the responder closes.
    async fn ask(&self, request: &str) -> String {
        let stream = TcpStream::connect(self.address).await.unwrap();
        write_all(&stream, request.as_bytes()).await.unwrap();
        read_to_end(&stream).await
    }
}

async fn read_to_end(stream: &TcpStream) -> String {
    let (mut text, mut buffer) = (Vec::new(), [0; 4 << 10]);
    loop {
        match read_some(stream, &mut buffer).await.unwrap() {
            0 => return String::from_utf8(text).unwrap(),
            count => text.extend_from_slice(&buffer[..count]),
        }
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

#[track_caller]
fn assert_status(response: &str, status: &str) {
    assert!(response.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{response}");
}

#[tokio::test]
async fn each_request_gets_its_status() {
    let running = start(Pages).await;
    for (request, status) in [
        (get("/ok"), "200 OK"),
        (get("/other"), "404 Not Found"),
        (get("/panic"), "500 Internal Server Error"),
        (get("/ok").replace("GET", "POST"), "405 Method Not Allowed"),
        ("no request\r\n\r\n".to_owned(), "400 Bad Request"),
        (get("/ok").replace("localhost", &"x".repeat(MAX_HEAD)), "431 Request Header Fields Too Large"),
    ] {
        assert_status(&running.ask(&request).await, status);
    }
    assert!(running.ask(&get("/ok")).await.ends_with("\r\n\r\nfine"), "the responder serves on after errors");
}

#[tokio::test]
async fn head_request_is_answered_without_a_body() {
    let running = start(Pages).await;
    let response = running.ask(&get("/ok").replace("GET", "HEAD")).await;
    assert_status(&response, "200 OK");
    assert!(response.contains("\r\nContent-Length: 4\r\n") && response.ends_with("\r\n\r\n"), "{response}");
}

#[tokio::test]
async fn second_request_of_a_connection_is_not_answered() {
    let running = start(Pages).await;
    let response = running.ask(&format!("{}{}", get("/ok"), get("/other"))).await;
    assert_eq!(response.matches("HTTP/1.1 ").count(), 1, "{response}");
    assert!(response.contains("\r\nConnection: close\r\n") && response.ends_with("fine"), "{response}");
}

#[tokio::test]
async fn response_that_exceeds_the_buffers_of_the_socket_arrives_whole() {
    let running = start(Pages).await;
    assert!(running.ask(&get("/large")).await.ends_with(&"x".repeat(4 << 20)));
}

#[tokio::test(start_paused = true)]
async fn head_that_does_not_come_in_time_is_answered_and_closed() {
    let running = start(Pages).await;
    let start = tokio::time::Instant::now();
    assert_status(&running.ask("GET /ok HTTP/1.1\r\nHost:").await, "408 Request Timeout");
    assert!(start.elapsed() >= HEAD_TIMEOUT, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn client_that_only_connects_is_closed_without_a_word() {
    let running = start(Pages).await;
    assert_eq!(running.ask("").await, "");
}

#[tokio::test(start_paused = true)]
async fn client_that_does_not_read_its_response_is_closed() {
    let running = start(Pages).await;
    let stream = TcpStream::connect(running.address).await.unwrap();
    write_all(&stream, get("/large").as_bytes()).await.unwrap();
    // The responder's timeouts pass while this task waits.
    sleep(HEAD_TIMEOUT + RESPONSE_TIMEOUT + LINGER).await;
    let mut buffer = vec![0; 1 << 20];
    let (mut received, mut ended) = (0, false);
    while !ended {
        match read_some(&stream, &mut buffer).await {
            Ok(0) | Err(_) => ended = true,
            Ok(count) => received += count,
        }
    }
    assert!(received < 4 << 20, "the whole response was written to a client that read nothing");
}

/// Connections that send nothing take all places; they are free again after the time for a head.
#[tokio::test(start_paused = true)]
async fn connections_beyond_the_bound_are_refused_until_a_place_is_free() {
    let running = start(Pages).await;
    let mut silent = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        silent.push(TcpStream::connect(running.address).await.unwrap());
    }
    let refused = running.ask(&get("/ok")).await;
    assert_status(&refused, "503 Service Unavailable");
    assert!(refused.ends_with("too many connections: try again\n"), "{refused}");
    for stream in &silent {
        assert_eq!(read_to_end(stream).await, "");
    }
    assert_status(&running.ask(&get("/ok")).await, "200 OK");
}

#[tokio::test]
async fn stop_cuts_open_connections_and_leaves_none() {
    let running = start(Pages).await;
    let stream = TcpStream::connect(running.address).await.unwrap();
    write_all(&stream, b"GET /ok HTTP/1.1\r\n").await.unwrap();
    assert_status(&running.ask(&get("/ok")).await, "200 OK");
    running.stop.cancel();
    running.task.await.unwrap();
    assert_eq!(read_to_end(&stream).await, "");
    assert!(TcpStream::connect(running.address).await.is_err(), "nothing listens any more");
}

/// The handler waits until another request has been answered by the runtime's one thread.
#[tokio::test]
async fn handler_that_takes_long_does_not_block_the_runtime() {
    static POLLS: AtomicUsize = AtomicUsize::new(0);
    struct Slow;
    impl Handler for Slow {
        fn respond(&self, _: &str) -> Response {
            let before = POLLS.load(Ordering::Relaxed);
            while POLLS.load(Ordering::Relaxed) < before + 10 {
                std::thread::yield_now();
            }
            Response::plain(Status::Ok, "done")
        }
    }
    let running = start(Slow).await;
    let ticking = tokio::spawn(async {
        loop {
            POLLS.fetch_add(1, Ordering::Relaxed);
            yield_now().await;
        }
    });
    assert_status(&running.ask(&get("/ok")).await, "200 OK");
    ticking.abort();
}
