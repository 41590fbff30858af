//! The memory of a quiet connection, counted by the allocator: plain, and inside TLS.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::tls::{TestCertificate, client_config, connect_socket};
use common::{TestServer, WELCOME, wait_until};
use dhat::{HeapStats, Profiler};
use rustls::{ClientConfig, ClientConnection, Stream};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Connections that are measured, after as many that are not: tables grow in steps.
const CONNECTIONS: usize = 64;

/// The most bytes that a quiet connection inside TLS takes: 4.5 KiB.
const MOST: usize = 4_608;

/// Joins a room of its own kind through any stream.
fn join(stream: &mut (impl Read + Write), name: &str) {
    let mut welcome = vec![0; WELCOME.len()];
    stream.read_exact(&mut welcome).unwrap();
    stream.write_all(format!("JOIN room {name}\n").as_bytes()).unwrap();
    stream.flush().unwrap();
    let mut joined = vec![0; format!("{name} has joined\n").len()];
    stream.read_exact(&mut joined).unwrap();
}

fn join_plain(server: &TestServer, name: &str) -> TcpStream {
    let mut socket = connect_socket(server.address);
    join(&mut socket, name);
    socket
}

/// Joins inside TLS; returns the socket alone, so that the client keeps no memory in this process.
fn join_tls(server: &TestServer, config: &Arc<ClientConfig>, name: &str) -> TcpStream {
    let mut socket = connect_socket(server.tls_address());
    let mut connection = ClientConnection::new(Arc::clone(config), "localhost".try_into().unwrap()).unwrap();
    join(&mut Stream::new(&mut connection, &mut socket), name);
    socket
}

/// Returns the bytes that each of some more connections takes once it is quiet.
fn bytes_of_each(mut connect: impl FnMut(usize) -> TcpStream, most: usize) -> usize {
    let mut sockets: Vec<TcpStream> = Vec::with_capacity(2 * CONNECTIONS);
    sockets.extend((0..CONNECTIONS).map(&mut connect));
    let before = HeapStats::get().curr_bytes;
    sockets.extend((CONNECTIONS..2 * CONNECTIONS).map(&mut connect));
    let of_each = || HeapStats::get().curr_bytes.saturating_sub(before) / CONNECTIONS;
    wait_until("quiet connections take no more than their bound", || of_each() <= most);
    of_each()
}

#[test]
fn quiet_connection_inside_tls_takes_at_most_four_and_a_half_kibibytes() {
    let _profiler = Profiler::builder().testing().build();
    let certificate = TestCertificate::new();
    let server = TestServer::start_tls(&certificate, |settings| {
        // Handshakes of one address are not delayed.
        settings.live.rate = 0;
        settings.rooms.history_lines = 0;
    });
    let config = client_config(&[&certificate]);
    let plain = bytes_of_each(|number| join_plain(&server, &format!("p{number}")), MOST);
    let tls = bytes_of_each(|number| join_tls(&server, &config, &format!("t{number}")), MOST);
    println!("a quiet connection takes at most {plain} bytes plain and {tls} bytes inside TLS");
    assert!(plain < tls, "{plain} bytes plain and {tls} inside TLS: the count is wrong");
}
