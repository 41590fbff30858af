//! All operators' features in one test: the program is started under systemd's protocol, serves TLS clients of `HAProxy`, is
//! read by Prometheus, bans a client and reloads its limits, while the load generator checks each line of other members.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;
#[path = "common/load.rs"]
mod load;

use common::ctl::ctl_done;
use common::folder::Folder;
use common::prometheus::Prometheus;
use common::proxy::{Proxy, connect_from};
use common::systemd::{Manager, activated, tcp_socket};
use common::tls::{TestCertificate, TlsClient, client_config};
use common::{Client, ServerProcess, WELCOME, find_or_skip, wait_until};
use loadtest::coordinator::ProgressSnapshot;
use loadtest::test_result::TestResult;
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

/// The last byte of the address of the client that is banned; all other clients have 127.0.0.1.
const BANNED: u8 = 5;

/// A load whose runs follow one another until it is stopped.
struct Load {
    /// The lines that all runs have sent.
    sent: Arc<AtomicU64>,
    is_stopped: Arc<AtomicBool>,
    runs: JoinHandle<Vec<TestResult>>,
}

impl Load {
    /// Starts the load, and returns when its members send.
    fn start(target: SocketAddr) -> Self {
        let (sent, is_stopped) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, stopped) = (Arc::clone(&sent), Arc::clone(&is_stopped));
        let runs = thread::spawn(move || {
            let (plan, mut results) = (load::plan(target), Vec::<TestResult>::new());
            while !stopped.load(Ordering::Relaxed) && results.iter().all(is_lossless) {
                let before = counter.load(Ordering::Relaxed);
                let on_progress = &mut |snapshot: &ProgressSnapshot| {
                    counter.store(before + snapshot.progress.sent, Ordering::Relaxed);
                };
                results.push(load::run(&plan, on_progress));
            }
            results
        });
        let load = Self { sent, is_stopped, runs };
        load.expect_progress();
        load
    }

    /// Waits until the load reports more sent lines than before.
    #[track_caller]
    fn expect_progress(&self) {
        let before = self.sent.load(Ordering::Relaxed);
        wait_until("the load goes on", || {
            assert!(!self.runs.is_finished(), "a run of the load has failed");
            self.sent.load(Ordering::Relaxed) > before
        });
    }

    /// Ends the load after its current run; returns the results of all runs.
    fn stop(self) -> Vec<TestResult> {
        self.is_stopped.store(true, Ordering::Relaxed);
        self.runs.join().unwrap()
    }
}

/// Returns whether each line of a run arrived once and in order.
fn is_lossless(result: &TestResult) -> bool {
    let counters = &result.outcome.counters;
    load::is_judged(result)
        && counters.sent == 400
        && (counters.lost, counters.duplicated, counters.misordered) == (0, 0, 0)
}

/// Writes the server's configuration with a longest line.
fn write_settings(folder: &Folder, certificate: &TestCertificate, max_line: usize) -> String {
    let (chain, key) = (certificate.certificate(), certificate.key());
    folder.write(
        "roomcast.toml",
        &format!(
            "listen = ['fd:tcp', 'fd:tls?proxy=v2']\ntrust = ['127.0.0.1']\ntls-cert = '{chain}'\ntls-key = '{key}'\n\
             max-line = {max_line}\n"
        ),
    )
}

/// Starts the program as systemd does, with the sockets of a plain listener and of a TLS listener.
fn start_service(config: &str, folder: &Folder, manager: &Manager) -> (ServerProcess, SocketAddr) {
    let ((plain, plain_address), (tls, tls_address)) = (tcp_socket(), tcp_socket());
    let (admin, bans) = (folder.text("admin"), folder.text("bans"));
    let args = ["--config", config, "--metrics", "127.0.0.1:0", "--admin", &admin, "--bans", &bans, "-v"];
    let mut command = activated([plain, tls], "tcp:tls", &args);
    command.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "1000000");
    let server = ServerProcess::start_with_stdin(&mut command);
    assert_eq!(server.address, plain_address);
    (server, tls_address)
}

/// Starts a Prometheus that reads the server's metrics each second.
fn start_prometheus(server: &ServerProcess, folder: &Folder) -> Prometheus {
    let line = server.startup_lines.iter().find_map(|line| line.split_once(" listening on http://"));
    let metrics = line.expect("no line for metrics").1.strip_suffix("/metrics").unwrap();
    let config = format!(
        "global:\n  scrape_interval: 1s\nscrape_configs:\n- job_name: roomcast\n  static_configs:\n  \
         - targets: ['{metrics}']\n"
    );
    Prometheus::start(&folder.write("prometheus.yml", &config), &folder.text("data"))
}

/// Returns the address of a member by what `roomcast ctl` says.
fn address_of(admin: &Path, name: &str) -> String {
    let peers: Value = serde_json::from_str(&ctl_done(admin, &["peers", "in", "talk", "--json"])).unwrap();
    let peer = peers["peers"].as_array().unwrap().iter().find(|peer| peer["name"] == name).unwrap();
    peer["address"].as_str().unwrap().to_owned()
}

/// Bans the address of a member that talks through the proxy: its connection is closed, and the next ones are refused.
fn check_ban(admin: &Path, server: &ServerProcess, proxy: &Proxy, certificate: &TestCertificate, bob: &mut Client) {
    let config = client_config(&[certificate]);
    let (socket, port) = connect_from(BANNED, proxy.address);
    let mut alice = TlsClient::over(socket, &config);
    alice.expect_text(WELCOME);
    alice.send("JOIN talk alice\nhi\n");
    alice.expect_line("alice has joined");
    alice.expect_line("alice: hi");
    bob.expect_line("alice has joined");
    bob.expect_line("alice: hi");
    bob.send("welcome\n");
    alice.expect_line("bob: welcome");
    bob.expect_line("bob: welcome");
    let address = address_of(admin, "alice");
    assert_eq!(address, format!("127.0.0.{BANNED}:{port}"), "the proxy says whose connection it passes on");
    let told = ctl_done(admin, &["ban", &format!("127.0.0.{BANNED}"), "flooding"]);
    assert!(told.ends_with(", 1 connection closed\n"), "{told}");
    let reason = "your address is banned: flooding";
    assert_eq!(alice.expect_error(), reason);
    bob.expect_line("alice has left");
    // A refused client gets no handshake: an alert through the proxy, the reason on the plain listener.
    let mut alert = Vec::new();
    connect_from(BANNED, proxy.address).0.read_to_end(&mut alert).unwrap();
    assert_eq!(alert, [21, 3, 3, 0, 2, 2, 80]);
    assert_eq!(Client::connect_from([127, 0, 0, BANNED], server.address).expect_error(), reason);
    let mut carol = TlsClient::join(proxy.address, &config, "talk", "carol");
    bob.expect_line("carol has joined");
    carol.send("/quit\n");
    bob.expect_line("carol has left");
}

/// Lowers the longest line from 2,000 bytes to 1,000 by a reload.
fn check_reload(admin: &Path, server: &ServerProcess, write: impl FnOnce(usize), bob: &mut Client) {
    let long_line = "x".repeat(1_500);
    let mut dora = server.join("talk", "dora");
    bob.expect_line("dora has joined");
    dora.send(format!("{long_line}\n"));
    bob.expect_line(&format!("dora: {long_line}"));
    dora.leave();
    bob.expect_line("dora has left");
    write(1_000);
    server.send_signal("HUP");
    wait_until("the new limit is in force", || {
        let settings = ctl_done(admin, &["config"]);
        settings.lines().any(|line| line.starts_with("max-line = 1000 "))
    });
    let mut dora = server.join("talk", "dora");
    bob.expect_line("dora has joined");
    dora.send(format!("{long_line}\n"));
    assert_eq!(dora.expect_error(), "the line was longer than 1000 bytes: send shorter lines");
    bob.expect_line("dora has left");
}

#[test]
fn server_loses_no_line_while_its_operators_ban_reload_and_measure() {
    if find_or_skip("prometheus").is_none() || find_or_skip("haproxy").is_none() {
        return;
    }
    let (folder, certificate) = (Folder::new("operations"), TestCertificate::new());
    let manager = Manager::new(&folder);
    let config = write_settings(&folder, &certificate, 2_000);
    let (mut server, tls_address) = start_service(&config, &folder, &manager);
    assert_eq!(manager.receive(), "READY=1\nSTATUS=0 connections, 0 rooms");
    let proxy = Proxy::start_haproxy(tls_address, "send-proxy-v2", "").unwrap();
    let prometheus = start_prometheus(&server, &folder);
    let admin = folder.join("admin");
    let mut bob = server.join("talk", "bob");

    let load = Load::start(server.address);
    check_ban(&admin, &server, &proxy, &certificate, &mut bob);
    load.expect_progress();
    check_reload(&admin, &server, |max_line| drop(write_settings(&folder, &certificate, max_line)), &mut bob);
    load.expect_progress();
    // The braces and quotes of a label are escaped, since the query is part of a URL.
    let query = |query: &str, value: &str| {
        wait_until(query, || prometheus.query(query).as_deref() == Some(value));
    };
    query("up", "1");
    query("roomcast_refused_total%7Breason=%22banned%22%7D", "2");
    query("roomcast_closes_total%7Breason=%22banned%22%7D", "1");
    manager.receive_until("WATCHDOG=1");
    load.expect_progress();
    let results = load.stop();

    for result in &results {
        assert!(is_lossless(result), "{}", result.verdict.text);
    }
    assert!(fs::read_to_string(folder.join("bans")).unwrap().contains(&format!("127.0.0.{BANNED}/32")));
    drop((proxy, bob));
    server.send_signal("TERM");
    manager.receive_until("STOPPING=1\nSTATUS=shutting down");
    let (code, log) = server.wait_for_exit();
    assert_eq!(code, Some(0));
    assert!(log.contains("settings reloaded"), "{log}");
}
