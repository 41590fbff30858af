//! `tls://` listeners: members of the same rooms as all others, bounded and told like them.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use assert_cmd::Command as AssertCommand;
use common::folder::Folder;
use common::pty::is_installed;
use common::telnet::{AGREEMENT, INPUT_LINE_REQUEST};
#[cfg(feature = "aws-lc-rs")]
use common::tls::client_config_with;
use common::tls::{TLS_LOOPBACK, TestCertificate, TlsClient, client_config, connect_socket};
use common::{Client, TestServer, check_lines_and_skip_notices, test_settings};
use roomcast::config::{LiveLog, ProxyVersions};
use roomcast::limits::bans::BansFile;
use roomcast::{BoundAddress, Server, SlowReader, TlsAcceptor};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion};
use std::io::{BufRead, BufReader, Read, Write};
use std::num::NonZeroUsize;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// A server with a TLS listener, and a client configuration that trusts its certificate.
fn start() -> (TestServer, TestCertificate, Arc<ClientConfig>) {
    let certificate = TestCertificate::new();
    let server = TestServer::start_tls(&certificate, |_| {});
    let config = client_config(&[&certificate]);
    (server, certificate, config)
}

#[test]
fn members_inside_and_outside_of_tls_see_one_order() {
    let (server, _certificate, config) = start();
    let mut alice = TlsClient::join(server.tls_address(), &config, "lobby", "alice");
    let mut bob = server.join("lobby", "bob");
    alice.expect_line("bob has joined");
    let mut carol = TlsClient::join(server.tls_address(), &config, "lobby", "carol");
    alice.expect_line("carol has joined");
    bob.expect_line("carol has joined");
    assert_eq!(alice.tls().protocol_version(), Some(ProtocolVersion::TLSv1_3));
    for number in 0..200 {
        alice.send(format!("a{number}\n"));
        bob.send(format!("b{number}\n"));
        carol.send(format!("c{number}\n/me waves {number}\n"));
    }
    let read = |client: &mut TlsClient| (0..800).map(|_| client.read_line()).collect::<Vec<_>>();
    let (seen_by_alice, seen_by_carol) = (read(&mut alice), read(&mut carol));
    let seen_by_bob: Vec<String> = (0..800).map(|_| bob.read_line()).collect();
    assert!(seen_by_alice == seen_by_bob && seen_by_bob == seen_by_carol, "the orders differ");
    for number in 0..200 {
        for line in [format!("alice: a{number}"), format!("bob: b{number}"), format!("* carol waves {number}")] {
            assert_eq!(seen_by_bob.iter().filter(|seen| **seen == line).count(), 1, "{line}");
        }
    }
    alice.send("/who\n");
    alice.expect_line("*** 3 in lobby: alice, bob, carol");
}

/// The last line has no line end, and the client keeps its own input open.
#[test]
fn end_of_tls_output_is_an_end_of_input_and_is_answered_with_close_notify() {
    let (server, _certificate, config) = start();
    let mut bob = server.join("lobby", "bob");
    let mut alice = TlsClient::join(server.tls_address(), &config, "lobby", "alice");
    bob.expect_line("alice has joined");
    alice.send("bye");
    alice.send_close_notify();
    assert_eq!(alice.read_to_end(), ["alice: bye"]);
    bob.expect_line("alice: bye");
    bob.expect_line("alice has left");
}

/// An attacker on the network may have cut the line.
#[test]
fn unfinished_line_at_an_end_without_close_notify_is_dropped() {
    let (server, _certificate, config) = start();
    let mut bob = server.join("lobby", "bob");
    let mut alice = TlsClient::join(server.tls_address(), &config, "lobby", "alice");
    bob.expect_line("alice has joined");
    alice.send("one\npay bob 1");
    alice.socket().shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(alice.read_to_end(), ["alice: one"]);
    bob.expect_line("alice: one");
    bob.expect_line("alice has left");
}

#[test]
fn longest_line_passes_and_a_longer_one_is_an_error() {
    let (server, _certificate, config) = start();
    let mut bob = server.join("lobby", "bob");
    let mut alice = TlsClient::join(server.tls_address(), &config, "lobby", "alice");
    bob.expect_line("alice has joined");
    let text = "x".repeat(20_000);
    for (sender, name) in [(true, "alice"), (false, "bob")] {
        let line = format!("{text}\n");
        if sender {
            alice.send(line);
        } else {
            bob.send(line);
        }
        alice.expect_line(&format!("{name}: {text}"));
        bob.expect_line(&format!("{name}: {text}"));
    }
    alice.send(format!("{text}x\n"));
    assert_eq!(alice.expect_error(), "the line was longer than 20000 bytes: send shorter lines");
    bob.expect_line("alice has left");
}

#[test]
fn wrong_first_line_gets_its_error_inside_tls() {
    let (server, _certificate, config) = start();
    let mut alice = TlsClient::connect(server.tls_address(), &config);
    alice.send("hello\n");
    assert!(alice.expect_error().starts_with("the first line did not start with JOIN"));
}

/// Telnet clients reach the server through a program such as `stunnel`.
#[test]
fn telnet_is_spoken_inside_tls_as_outside() {
    let (server, _certificate, config) = start();
    let mut bob = server.join("lobby", "bob");
    let mut alice = TlsClient::join(server.tls_address(), &config, "lobby", "alice");
    // DO TIMING-MARK: the answers are WONT TIMING-MARK and, to the first command, DO BINARY.
    alice.send(b"\xFF\xFD\x06");
    alice.expect_bytes(b"\xFF\xFD\x00\xFF\xFC\x06");
    alice.send("hi\r\n");
    alice.expect_text("alice: hi\r\n");
    alice.send("/ui on\r\n");
    alice.read_until(INPUT_LINE_REQUEST);
    alice.send(AGREEMENT);
    alice.read_until("*** ui is on\r\n");
    alice.read_until("lobby> ");
    alice.send("typ");
    alice.read_until("typ");
    bob.send("look out\n");
    alice.read_until("bob: look out\r\n");
    alice.send("ed\r");
    alice.read_until("alice: typed\r\n");
    for line in ["alice has joined", "alice: hi", "bob: look out", "alice: typed"] {
        bob.expect_line(line);
    }
    alice.send("/quit\r");
    bob.expect_line("alice has left");
}

/// Lines for it are dropped and counted outside of TLS: records are never torn.
#[test]
fn slow_tls_reader_is_told_how_many_lines_it_missed() {
    const LINES: usize = 3_000;
    let certificate = TestCertificate::new();
    let server = TestServer::start_tls(&certificate, |settings| {
        (settings.live.rate, settings.live.byte_rate) = (0, 0);
        settings.live.backlog = 64 << 10;
    });
    let mut talker = server.join("room", "talker");
    let mut slow = TlsClient::join(server.tls_address(), &client_config(&[&certificate]), "room", "slow");
    talker.expect_line("slow has joined");
    let line = |number: usize| format!("{number:0>6} {}", "x".repeat(2_000));
    for number in 0..LINES {
        talker.send(format!("{}\n", line(number)));
        talker.expect_line(&format!("talker: {}", line(number)));
    }
    let expected = |number| format!("talker: {}", line(number));
    let lost = check_lines_and_skip_notices(|| slow.read_line(), LINES, expected);
    assert!(lost > LINES / 4, "only {lost} of {LINES} lines were skipped");
    talker.send("end\n");
    slow.expect_line("talker: end");
    slow.send("I read again\n");
    talker.expect_line("talker: end");
    talker.expect_line("slow: I read again");
}

/// The output waits in the kernel's buffers and in the server, and its end is authentic.
#[test]
fn slow_tls_reader_that_is_kicked_gets_whole_lines_the_reason_and_close_notify() {
    let certificate = TestCertificate::new();
    let server = TestServer::start_tls(&certificate, |settings| {
        (settings.live.rate, settings.live.byte_rate) = (0, 0);
        (settings.live.backlog, settings.live.slow_reader) = (64 << 10, SlowReader::Kick);
    });
    let mut talker = server.join("room", "talker");
    let mut slow = TlsClient::join(server.tls_address(), &client_config(&[&certificate]), "room", "slow");
    talker.expect_line("slow has joined");
    let line = |number: usize| format!("{number:0>6} {}", "x".repeat(2_000));
    let mut sent = 0;
    loop {
        talker.send(format!("{}\n", line(sent)));
        sent += 1;
        assert!(sent < 5_000, "the slow reader is not kicked");
        // The leave comes with its own line, before or after the talker's.
        let seen = talker.read_line();
        if seen == "slow has left" {
            break;
        }
        assert_eq!(seen, format!("talker: {}", line(sent - 1)));
    }
    let mut seen = slow.read_to_end();
    let reason = seen.pop().unwrap();
    assert_eq!(reason, "more than 65536 bytes waited for you to read them: connect again and read faster");
    assert_eq!(seen.pop().unwrap(), "ERROR");
    // The line that was beyond the bound is counted.
    seen.pop_if(|line| line.starts_with("*** ") && line.ends_with(" skipped"));
    assert!(seen.len() > 20, "only {} lines", seen.len());
    for (number, seen) in seen.iter().enumerate() {
        assert_eq!(*seen, format!("talker: {}", line(number)));
    }
}

/// The client offers the hybrid key exchange alone.
#[cfg(feature = "aws-lc-rs")]
#[test]
fn hybrid_key_exchange_is_negotiated() {
    use rustls::NamedGroup;
    use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};

    let (server, certificate, _) = start();
    let kx_groups = vec![aws_lc_rs::kx_group::X25519MLKEM768];
    let provider = CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() };
    let config = client_config_with(provider, &[&certificate]);
    let mut alice = TlsClient::join(server.tls_address(), &config, "lobby", "alice");
    let group = alice.tls().negotiated_key_exchange_group().map(SupportedKxGroup::name);
    assert_eq!(group, Some(NamedGroup::X25519MLKEM768));
    let mut bob = TlsClient::join(server.tls_address(), &client_config(&[&certificate]), "lobby", "bob");
    assert_eq!(bob.tls().negotiated_key_exchange_group().map(SupportedKxGroup::name), Some(NamedGroup::X25519));
}

/// The end of the connection comes while records wait for their reader.
#[test]
fn close_notify_follows_a_backlog_of_several_records() {
    const LINES: usize = 200;
    let certificate = TestCertificate::new();
    let mut server = TestServer::start_tls(&certificate, |settings| {
        (settings.live.rate, settings.live.byte_rate) = (0, 0);
    });
    let mut talker = server.join("room", "talker");
    let mut slow = TlsClient::join(server.tls_address(), &client_config(&[&certificate]), "room", "slow");
    talker.expect_line("slow has joined");
    let line = |number: usize| format!("{number:0>6} {}", "x".repeat(4_000));
    for number in 0..LINES {
        talker.send(format!("{}\n", line(number)));
        talker.expect_line(&format!("talker: {}", line(number)));
    }
    server.begin_shutdown();
    let seen = slow.read_to_end();
    assert_eq!(seen.len(), LINES + 1);
    for (number, seen) in seen[..LINES].iter().enumerate() {
        assert_eq!(*seen, format!("talker: {}", line(number)));
    }
    assert_eq!(seen[LINES], "*** server is shutting down");
}

/// Returns what a client sends first to a TLS listener behind a proxy: the PROXY header, and the first message of TLS.
fn header_and_hello(config: &Arc<ClientConfig>) -> (Vec<u8>, ClientConnection) {
    let mut wire = b"PROXY TCP4 192.0.2.7 192.0.2.1 50000 6697\r\n".to_vec();
    let mut tls = ClientConnection::new(Arc::clone(config), "localhost".try_into().unwrap()).unwrap();
    while tls.wants_write() {
        tls.write_tls(&mut wire).unwrap();
    }
    (wire, tls)
}

#[test]
fn tls_follows_a_proxy_header_in_one_segment_and_at_every_cut() {
    let certificate = TestCertificate::new();
    let server = TestServer::start_tls(&certificate, |settings| {
        settings.live.rate = 0;
        settings.network.listen[1].proxy = Some(ProxyVersions::Both);
        settings.network.connect_rate = 0;
    });
    let config = client_config(&[&certificate]);
    let mut bob = server.join("lobby", "bob");
    let longest = header_and_hello(&config).0.len();
    for cut in 0..=longest {
        let (wire, tls) = header_and_hello(&config);
        let cut = cut.min(wire.len());
        let mut socket = connect_socket(server.tls_address());
        socket.write_all(&wire[..cut]).unwrap();
        // The server reads the first part alone, or both: each is right.
        thread::yield_now();
        socket.write_all(&wire[cut..]).unwrap();
        let mut alice = TlsClient::resume(socket, tls);
        alice.expect_text(common::WELCOME);
        if cut % 50 == 0 {
            alice.send("JOIN lobby alice\n");
            alice.expect_line("alice has joined");
            bob.expect_line("alice has joined");
            drop(alice);
            bob.expect_line("alice has left");
        }
    }
}

#[test]
fn shutdown_notice_is_the_last_line_before_close_notify() {
    let (mut server, _certificate, config) = start();
    let mut alice = TlsClient::join(server.tls_address(), &config, "lobby", "alice");
    let mut waiting = TlsClient::connect(server.tls_address(), &config);
    // A client that has sent nothing yet must not hold the end up.
    let silent = connect_socket(server.tls_address());
    alice.send("last words\n");
    alice.expect_line("alice: last words");
    server.begin_shutdown();
    assert_eq!(alice.read_to_end(), ["*** server is shutting down"]);
    assert_eq!(waiting.expect_error(), "the server is shutting down: come back later");
    drop((alice, waiting, silent));
    server.wait_for_exit();
}

#[test]
fn client_without_tls_is_told_in_plain_text() {
    let (server, _certificate, _) = start();
    for text in ["JOIN lobby alice\n", "\n", "GET / HTTP/1.1\r\n\r\n"] {
        let mut client = Client::connect_raw(server.tls_address());
        client.send(text);
        let reason = client.expect_error();
        assert_eq!(
            reason,
            "this port speaks TLS alone: connect with openssl s_client -quiet -connect HOST:PORT, or ncat --ssl HOST PORT"
        );
    }
}

/// The handshake is part of the time for the JOIN line.
#[test]
fn client_that_does_not_finish_its_handshake_is_closed_at_the_login_timeout() {
    let certificate = TestCertificate::new();
    let server = TestServer::start_tls(&certificate, |settings| {
        settings.live.login_timeout = Duration::from_millis(200);
    });
    for start in [&b""[..], b"\x16", b"\x16\x03\x01\x40\x00\x01\x00\x3F\xFC"] {
        let mut socket = connect_socket(server.tls_address());
        socket.write_all(start).unwrap();
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty(), "{}", rest.escape_ascii());
    }
}

#[test]
fn broken_records_end_their_own_connection_alone() {
    let (server, _certificate, config) = start();
    let mut bob = server.join("lobby", "bob");
    for (number, garbage) in
        [&b"\x17\x03\x03\x00\x05hello"[..], b"garbage", b"\x15\x03\x03\x00\x02\x02\x28", &[0xFF; 99]]
            .into_iter()
            .enumerate()
    {
        let mut alice = TlsClient::join(server.tls_address(), &config, "lobby", &format!("alice{number}"));
        bob.expect_line(&format!("alice{number} has joined"));
        alice.send("before\n");
        bob.expect_line(&format!("alice{number}: before"));
        alice.socket().write_all(garbage).unwrap();
        bob.expect_line(&format!("alice{number} has left"));
    }
    bob.send("still here\n");
    bob.expect_line("bob: still here");
}

#[test]
fn refused_tls_client_gets_an_alert() {
    let certificate = TestCertificate::new();
    let server = TestServer::start_tls(&certificate, |settings| {
        settings.network.max_connections = NonZeroUsize::new(1);
    });
    let _member = server.join("lobby", "alice");
    let mut socket = connect_socket(server.tls_address());
    let mut alert = Vec::new();
    socket.read_to_end(&mut alert).unwrap();
    assert_eq!(alert, [21, 3, 3, 0, 2, 2, 80]);
    let mut client = TlsClient::connect_raw(server.tls_address(), &client_config(&[&certificate]));
    assert_eq!(client.handshake_error(), "received fatal alert: InternalError");
}

#[test]
fn banned_tls_client_gets_an_alert() {
    let certificate = TestCertificate::new();
    let folder = Folder::new("tls-ban");
    folder.write("bans", "roomcast-bans 1\n127.0.0.1\t-\tflooding\tuid 0\nend\n");
    let server = TestServer::start_tls(&certificate, |settings| {
        settings.moderation.bans = Some(BansFile::read(folder.join("bans")).unwrap());
    });
    let mut client = TlsClient::connect_raw(server.tls_address(), &client_config(&[&certificate]));
    assert_eq!(client.handshake_error(), "received fatal alert: InternalError");
}

/// A flood of handshakes is done one after the other, and none of them is lost.
#[test]
fn handshakes_at_once_are_all_completed() {
    const CLIENTS: usize = 60;
    let (server, _certificate, config) = start();
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (server, config) = (&server, &config);
            scope.spawn(move || {
                let name = format!("m{number}");
                let mut client = TlsClient::join(server.tls_address(), config, &name, &name);
                client.send("hi\n");
                client.expect_line(&format!("{name}: hi"));
            });
        }
    });
}

#[test]
fn handshakes_of_one_address_beyond_its_budget_are_delayed_and_not_refused() {
    let (server, _certificate, config) = start();
    // The address pays for 133 handshakes at once, and for 66 a second after that.
    for number in 0..150 {
        TlsClient::join(server.tls_address(), &config, "lobby", &format!("m{number}"));
    }
}

/// Each client gets the certificate that is installed when its connection is accepted.
#[test]
fn certificates_are_replaced_under_load_and_no_handshake_fails() {
    const CLIENTS: usize = 120;
    let certificates = [TestCertificate::new(), TestCertificate::new()];
    let server = TestServer::start_tls(&certificates[0], |settings| settings.live.rate = 0);
    let acceptor = server.tls.as_ref().unwrap().1.clone();
    let config = client_config(&[&certificates[0], &certificates[1]]);
    let mut old = TlsClient::join(server.tls_address(), &config, "old", "old");
    let is_done = AtomicBool::new(false);
    let seen: Vec<Vec<u8>> = thread::scope(|scope| {
        let reloading = scope.spawn(|| {
            let mut reloads = 0;
            while !is_done.load(Ordering::Relaxed) {
                reloads += 1;
                let prepared = TlsAcceptor::prepare(&certificates[reloads % 2].files).unwrap();
                acceptor.install(prepared);
            }
            reloads
        });
        let seen = (0..CLIENTS).map(|number| {
            let mut client = TlsClient::join(server.tls_address(), &config, "lobby", &format!("m{number}"));
            client.tls().peer_certificates().unwrap()[0].to_vec()
        });
        let seen = seen.collect();
        is_done.store(true, Ordering::Relaxed);
        assert!(reloading.join().unwrap() > 2);
        seen
    });
    for certificate in &certificates {
        assert!(seen.iter().any(|seen| **seen == *certificate.der), "a certificate was never used");
    }
    old.send("still here\n");
    old.expect_line("old: still here");
}

#[test]
fn certificate_that_can_not_be_used_leaves_the_installed_one_in_place() {
    let certificate = TestCertificate::new();
    let server = TestServer::start_tls(&certificate, |_| {});
    let (expired, other) = (TestCertificate::valid_between(2000, 2020), TestCertificate::new());
    let told = TlsAcceptor::prepare(&expired.files).unwrap_err().to_string();
    assert!(told.contains("the certificate expired on 2020-01-01T00:00:00Z"), "{told}");
    let mut mismatch = certificate.files.clone();
    mismatch.key = other.files.key.clone();
    assert!(TlsAcceptor::prepare(&mismatch).unwrap_err().to_string().contains("does not belong to the certificate"));
    TlsClient::join(server.tls_address(), &client_config(&[&certificate]), "lobby", "alice");
}

/// The reload is that of a SIGHUP and of the operators' command.
#[test]
fn reload_of_the_settings_reads_the_certificate_again_all_or_nothing() {
    let (old, new) = (TestCertificate::new(), TestCertificate::new());
    let mut settings = test_settings(|settings| settings.network.tls = Some(old.files.clone()));
    settings.network.listen = vec![TLS_LOOPBACK.into()];
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let server = runtime.block_on(async { Server::bind(&settings, 10) }).unwrap();
    let BoundAddress::Tls(address) = server.addresses()[0] else { panic!("{:?}", server.addresses()) };
    let handle = server.handle(Arc::new(LiveLog::new(settings.log)), move || Ok(settings.clone()));
    runtime.spawn(server.run(std::future::pending()));
    let (trusts_old, trusts_new) = (client_config(&[&old]), client_config(&[&new]));
    let mut alice = TlsClient::join(address, &trusts_old, "lobby", "alice");

    std::fs::copy(&new.files.certificate, &old.files.certificate).unwrap();
    let told = runtime.block_on(handle.reload()).unwrap_err();
    assert!(told.contains("does not belong to the certificate"), "{told}");
    let _bob = TlsClient::join(address, &trusts_old, "lobby", "bob");
    alice.expect_line("bob has joined");

    std::fs::copy(&new.files.key, &old.files.key).unwrap();
    runtime.block_on(handle.reload()).unwrap();
    let _carol = TlsClient::join(address, &trusts_new, "lobby", "carol");
    alice.expect_line("carol has joined");
}

/// Asserts that the program exits with code 2 and one line on stderr that contains `told`.
fn expect_refusal(certificate: &str, key: &str, told: &str) {
    let program = env!("CARGO_BIN_EXE_roomcast");
    let args = ["--listen", "tls://127.0.0.1:0", "--tls-cert", certificate, "--tls-key", key];
    let output = AssertCommand::new(program).args(args).timeout(common::DEADLINE).assert().code(2).get_output().clone();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(message.starts_with("roomcast: --tls-") && message.contains(told), "{message}");
    assert!(output.stdout.is_empty());
}

#[test]
fn certificate_that_can_not_be_used_is_one_line_and_exit_code_2() {
    let (good, other) = (TestCertificate::new(), TestCertificate::new());
    let expired = TestCertificate::valid_between(2000, 2020);
    expect_refusal(expired.certificate(), expired.key(), "the certificate expired on 2020-01-01T00:00:00Z: renew it");
    expect_refusal(good.certificate(), other.key(), "the key does not belong to the certificate in ");
    expect_refusal(good.key(), good.key(), "the file holds no certificate: ");
    expect_refusal(good.certificate(), good.certificate(), "the file holds no private key: ");
    expect_refusal("/nowhere/cert.pem", good.key(), "--tls-cert /nowhere/cert.pem: No such file or directory");
    expect_refusal(good.certificate(), "/nowhere/key.pem", "--tls-key /nowhere/key.pem: No such file or directory");
}

#[test]
fn program_prints_its_tls_listener_and_how_to_join_it() {
    let certificate = TestCertificate::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    command.args(["--listen", "tls://127.0.0.1:0", "--tls-cert", certificate.certificate()]);
    command.args(["--tls-key", certificate.key()]).stdout(Stdio::piped()).stdin(Stdio::null());
    let mut process = Killed(command.spawn().unwrap());
    let lines: Vec<String> =
        BufReader::new(process.0.stdout.take().unwrap()).lines().take(3).collect::<Result<_, _>>().unwrap();
    let (_, address) = lines[0].split_once(" listening on tls://").expect("no TLS listener");
    let port = address.rsplit(':').next().unwrap();
    let join = format!(
        "join with: openssl s_client -quiet -connect {address} (or ncat --ssl 127.0.0.1 {port}), then type: JOIN"
    );
    assert!(lines[2].starts_with(&join), "{}", lines[2]);
    TlsClient::join(address.parse().unwrap(), &client_config(&[&certificate]), "lobby", "alice");
}

/// A process that is killed at the end.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `openssl s_client` with these arguments.
fn openssl(server: &TestServer, arguments: &[&str]) -> Killed {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &server.tls_address().to_string()]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Killed(command.spawn().unwrap())
}

#[test]
fn openssl_verifies_the_certificate_and_talks_until_the_server_ends() {
    if !is_installed("openssl") {
        return;
    }
    for version in ["-tls1_2", "-tls1_3"] {
        let (mut server, certificate, _) = start();
        let mut bob = server.join("lobby", "bob");
        let verify = ["-CAfile", certificate.certificate(), "-verify_return_error", "-verify_hostname", "localhost"];
        let mut client = openssl(&server, &[&["-quiet", version][..], &verify].concat());
        let mut input = client.0.stdin.take().unwrap();
        let mut output = BufReader::new(client.0.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut expect = |lines: &[&str]| {
            for line in lines {
                assert_eq!(output.next().as_deref(), Some(*line));
            }
        };
        expect(&["Welcome! Use the command:", "JOIN <ROOMNAME> <USERNAME>"]);
        input.write_all(b"JOIN lobby alice\nhello\n").unwrap();
        expect(&["alice has joined", "alice: hello"]);
        for line in ["alice has joined", "alice: hello"] {
            bob.expect_line(line);
        }
        bob.send("hi\n");
        expect(&["bob: hi"]);
        server.begin_shutdown();
        expect(&["*** server is shutting down"]);
        assert_eq!(output.next(), None);
        assert!(client.0.wait().unwrap().success(), "openssl saw no clean end");
    }
}

/// A client that asks for a renegotiation is refused, and no other member notices.
#[test]
fn renegotiation_that_openssl_asks_for_is_refused() {
    if !is_installed("openssl") {
        return;
    }
    let (server, _certificate, _) = start();
    let mut bob = server.join("lobby", "bob");
    let mut client = openssl(&server, &["-tls1_2"]);
    let mut input = client.0.stdin.take().unwrap();
    input.write_all(b"JOIN lobby alice\n").unwrap();
    bob.expect_line("alice has joined");
    // openssl takes no line while it waits for the answer to its request.
    let mut shown = BufReader::new(client.0.stdout.take().unwrap()).lines();
    assert!(shown.any(|line| line.unwrap() == "alice has joined"));
    input.write_all(b"R\n").unwrap();
    bob.expect_line("alice has left");
    let mut told = String::new();
    client.0.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(told.contains("no renegotiation"), "{told}");
}
