//! Readiness: before the server runs, while it runs, near its memory ceiling, and while it drains.

use crate::common::http;
use crate::common::{Client, LOOPBACK, TestServer, test_settings, wait_until};
use crate::scrape::Scrape;
use roomcast::{BoundAddress, Server, Settings};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::num::NonZeroU64;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// Returns settings with metrics on a free port.
fn metrics_settings(change: impl FnOnce(&mut Settings)) -> Settings {
    test_settings(|settings| {
        settings.metrics.listen = Some((IpAddr::V4(Ipv4Addr::LOCALHOST), 0).into());
        change(settings);
    })
}

#[track_caller]
fn assert_readiness(address: SocketAddr, status: &str, body: &str) {
    let response = http::get(address, "/readyz");
    assert_eq!((&*response.status, &*response.body), (status, body));
    assert_eq!(http::get(address, "/healthz").status, "200 OK", "a server that is not ready is alive");
}

#[test]
fn server_that_does_not_run_yet_is_starting() {
    let mut settings = metrics_settings(|_| {});
    settings.network.listen = vec![LOOPBACK];
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(async { Server::bind(&settings, 100) }).unwrap();
    let Some(&BoundAddress::Metrics(address)) = server.metrics_address() else { panic!("no address of metrics") };
    let not_ready = "starting: the listeners do not accept connections yet\n";
    assert_readiness(address, "503 Service Unavailable", not_ready);
    let (stop, stopped) = oneshot::channel::<()>();
    let running = runtime.spawn(server.run(async { drop(stopped.await) }));
    wait_until("the server is ready", || http::get(address, "/readyz").body == "ready\n");
    drop(stop);
    runtime.block_on(running).unwrap();
    assert!(TcpStream::connect(address).is_err(), "the port for metrics is open after the end");
}

#[test]
fn server_that_is_dropped_before_it_runs_closes_the_port() {
    let mut settings = metrics_settings(|_| {});
    settings.network.listen = vec![LOOPBACK];
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(async { Server::bind(&settings, 100) }).unwrap();
    let Some(&BoundAddress::Metrics(address)) = server.metrics_address() else { panic!("no address of metrics") };
    drop(server);
    wait_until("the port is closed", || TcpStream::connect(address).is_err());
}

#[test]
fn server_at_nine_tenths_of_its_memory_is_not_ready() {
    let server = TestServer::start_with(metrics_settings(|settings| {
        settings.network.memory = NonZeroU64::new(100 << 20);
    }));
    let address = server.metrics_address.unwrap();
    assert_readiness(address, "200 OK", "ready\n");
    let charge = (90 << 20) - usize::try_from(server.stats.memory().used()).unwrap();
    server.stats.memory().charge(charge - 1);
    assert_readiness(address, "200 OK", "ready\n");
    server.stats.memory().charge(1);
    let not_ready = "memory: 90 % of the ceiling are in use, and no connection is admitted\n";
    assert_readiness(address, "503 Service Unavailable", not_ready);
    server.stats.memory().release(charge);
    assert_readiness(address, "200 OK", "ready\n");
}

/// A member that does not read keeps the server from its end.
#[test]
fn server_that_waits_for_a_slow_reader_at_its_end_is_draining() {
    const LINES: usize = 3_000;
    let mut server = TestServer::start_with(metrics_settings(|settings| {
        (settings.live.rate, settings.live.byte_rate) = (0, 0);
        settings.live.backlog = usize::MAX;
    }));
    let address = server.metrics_address.unwrap();
    let (mut alice, mut slow) = server.join_pair("room", "alice", "slow");
    let line = "x".repeat(1_000);
    let mut sender = alice.sender();
    let sending = std::thread::spawn(move || (0..LINES).for_each(|_| sender.send(format!("{line}\n"))));
    (0..LINES).for_each(|_| assert!(alice.read_line().starts_with("alice: x")));
    sending.join().unwrap();
    assert_memory_of_one_blocked_reader(address, &server);
    server.begin_shutdown();
    assert_eq!(alice.read_to_end(), ["*** server is shutting down"]);
    assert_readiness(address, "503 Service Unavailable", "draining: the server takes no new connection\n");
    assert_eq!(http::get(address, "/metrics").status, "200 OK", "metrics are there until the end");
    slow_reads_all(&mut slow, LINES);
    server.wait_for_exit();
    assert!(TcpStream::connect(address).is_err(), "the port for metrics is open after the end");
}

/// Asserts that the memory of a reader that takes nothing is shown by its parts, which are all that is charged.
fn assert_memory_of_one_blocked_reader(address: SocketAddr, server: &TestServer) {
    let kernel = |scrape: &Scrape| scrape.value("roomcast_memory_bytes{what=\"kernel\"}");
    let send_buffer_of_one_socket = f64::from(128 << 10);
    wait_until("one backlog is known", || kernel(&Scrape::of(address)) == send_buffer_of_one_socket);
    let scrape = Scrape::of(address);
    assert_eq!(scrape.sum("roomcast_memory_bytes"), server.stats.memory().used() as f64);
    let (backlog, queues) =
        (scrape.value("roomcast_backlog_bytes"), scrape.sum("roomcast_memory_bytes") - kernel(&scrape));
    assert!(backlog > 1e6 && backlog <= 2.0 * queues, "{backlog} bytes wait, {queues} bytes are in queues");
}

fn slow_reads_all(slow: &mut Client, lines: usize) {
    (0..lines).for_each(|_| assert!(slow.read_line().starts_with("alice: x")));
    assert_eq!(slow.read_to_end().last().unwrap(), "*** server is shutting down");
}
