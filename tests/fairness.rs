//! Fairness in a room whose inbox is full: each sender gets its share, counted in bytes and not in time.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::{Client, TestServer, test_settings};
use std::collections::HashMap;
use std::io::{ErrorKind, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Starts a server without limits of rates.
fn start_without_rates() -> TestServer {
    TestServer::start_with(test_settings(|settings| {
        settings.live.rate = 0;
        settings.live.byte_rate = 0;
        settings.live.backlog = 16 << 20;
    }))
}

/// Sends lines of `length` bytes until `done`, or until `total` bytes are sent.
fn flood(client: &Client, length: usize, total: usize, done: &AtomicBool) {
    let mut sender = client.sender();
    let line = "x".repeat(length - 1) + "\n";
    let lines = line.repeat((20_000 / length).max(1));
    let mut sent = 0;
    while sent < total && !done.load(Ordering::Relaxed) && sender.try_send(&lines).is_ok() {
        sent += lines.len();
    }
}

/// 50 members of a room of 100 send long lines as fast as they can, and 3 send short ones. Once all of them are heard, no
/// member is served much more than a sender of short lines.
#[test]
fn senders_of_short_lines_get_their_share_among_flooders() {
    const FLOODERS: usize = 50;
    const INNOCENTS: usize = 3;
    const BYTES: usize = 60_000 * (FLOODERS + INNOCENTS);
    let server = start_without_rates();
    let mut witness = server.join("room", "witness");
    let join = |kind: &str, count| (0..count).map(|id| server.join("room", &format!("{kind}{id}"))).collect::<Vec<_>>();
    let (flooders, innocents, _others) = (join("flooder", FLOODERS), join("innocent", INNOCENTS), join("other", 46));
    witness.skip_to_line("other45 has joined");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let done = &done;
        for client in &innocents {
            scope.spawn(move || flood(client, 40, usize::MAX, done));
        }
        for client in &flooders {
            scope.spawn(move || flood(client, 2_000, usize::MAX, done));
        }
        // The bytes of each sender, since all of them were heard.
        let (mut bytes, mut total) = (HashMap::<String, usize>::new(), 0);
        while total < BYTES {
            let line = witness.read_line();
            if let Some((name, _)) = line.split_once(": ") {
                if bytes.len() < FLOODERS + INNOCENTS {
                    bytes.insert(name.to_owned(), 0);
                    continue;
                }
                total += line.len() + 1;
                *bytes.entry(name.to_owned()).or_default() += line.len() + 1;
            }
        }
        done.store(true, Ordering::Relaxed);
        // The flooders' sockets end, so that none of them waits for the server any more.
        for client in flooders.iter().chain(&innocents) {
            let _ = client.stream().shutdown(std::net::Shutdown::Both);
        }
        let most = bytes.values().max().unwrap();
        let innocents: Vec<_> = (0..INNOCENTS).map(|id| bytes[&format!("innocent{id}")]).collect();
        println!("innocents {innocents:?}, the most of any sender {most}");
        assert!(innocents.iter().all(|bytes| bytes * 3 >= *most), "{innocents:?} of {most}");
    });
}

/// Measures how long lines of three members take in a room of 500 in which 50 flood, and prints the percentiles:
/// `cargo test --release --test fairness -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement of some seconds"]
fn latency_of_innocents_in_a_flooded_room_of_500() {
    const MEMBERS: usize = 500;
    const FLOODERS: usize = 50;
    let server = start_without_rates();
    let members: Vec<_> = (0..MEMBERS).map(|id| server.join("room", &format!("m{id}"))).collect();
    let done = AtomicBool::new(false);
    let mut latencies = thread::scope(|scope| {
        let done = &done;
        for client in &members[..FLOODERS] {
            scope.spawn(move || flood(client, 2_000, usize::MAX, done));
        }
        let measured = members.len() - 3;
        let readers: Vec<_> = [&members[..measured / 2], &members[measured / 2..measured]].into();
        for clients in readers {
            scope.spawn(move || drain_until(clients, done));
        }
        let innocents: Vec<_> =
            members[measured..].iter().map(|client| scope.spawn(move || echo_times(client, done))).collect();
        thread::sleep(Duration::from_secs(10));
        done.store(true, Ordering::Relaxed);
        let latencies: Vec<_> = innocents.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        for client in &members {
            drop(client.stream().shutdown(std::net::Shutdown::Both));
        }
        latencies
    });
    latencies.sort_unstable();
    let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
    println!("{} lines: p50 {:?}, p99 {:?}, longest {:?}", latencies.len(), at(50), at(99), at(100));
}

/// Reads whatever comes on all sockets until `done`.
fn drain_until(clients: &[Client], done: &AtomicBool) {
    let mut buffer = vec![0; 256 << 10];
    for client in clients {
        client.stream().set_nonblocking(true).unwrap();
    }
    while !done.load(Ordering::Relaxed) {
        for client in clients {
            let _ = client.stream().read(&mut buffer);
        }
    }
}

/// Sends a line five times a second, and measures how long it takes until it comes back.
fn echo_times(client: &Client, done: &AtomicBool) -> Vec<Duration> {
    let (mut latencies, mut sender, mut buffer, mut tail) =
        (Vec::new(), client.sender(), vec![0; 256 << 10], Vec::new());
    client.stream().set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    while !done.load(Ordering::Relaxed) {
        let (start, marker) = (Instant::now(), format!("innocent-{}\n", latencies.len()));
        sender.send(&marker);
        let mut is_seen = false;
        while !(is_seen && start.elapsed() >= Duration::from_millis(200)) {
            match client.stream().read(&mut buffer) {
                Ok(0) => return latencies,
                Ok(count) => tail.extend_from_slice(&buffer[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return latencies,
            }
            if !is_seen && memchr::memmem::find(&tail, marker.as_bytes()).is_some() {
                is_seen = true;
                latencies.push(start.elapsed());
            }
            tail.drain(..tail.len().saturating_sub(marker.len()));
            if done.load(Ordering::Relaxed) {
                return latencies;
            }
        }
    }
    latencies
}
