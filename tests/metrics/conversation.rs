//! A conversation whose counts are known: each one is found in `/metrics`.

use crate::common::{Client, TestServer, read_lines_and_skip_notices, test_settings, wait_until};
use crate::scrape::Scrape;
use crate::start_with_metrics;
use std::net::{IpAddr, Ipv4Addr};
use std::thread;

/// Lines of the one member that talks. Together they are more than the buffers of a member that does not read.
const LINES: usize = 8_000;

/// Returns the text of a line with its number.
fn text(number: usize) -> String {
    format!("{number} {}", "x".repeat(1_000))
}

/// Sends all lines of alice, which bob and alice read while slow reads none; then slow reads. Returns how many lines the
/// three were told that they missed.
fn talk(alice: &mut Client, bob: &mut Client, slow: &mut Client) -> usize {
    let line = |number: usize| format!("alice: {}", text(number));
    let mut sender = alice.sender();
    let missed_by_readers = thread::scope(|scope| {
        scope.spawn(move || (0..LINES).for_each(|number| sender.send(text(number) + "\n")));
        let readers = [alice, bob].map(|client| scope.spawn(move || read_lines_and_skip_notices(client, LINES, line)));
        readers.into_iter().map(|reader| reader.join().unwrap()).sum::<usize>()
    });
    let missed_by_slow = read_lines_and_skip_notices(slow, LINES, line);
    assert!(missed_by_slow > 0, "the member that did not read missed nothing");
    missed_by_readers + missed_by_slow
}

/// Waits until lines and deliveries have these counts: a pass counts its work when it is done.
#[track_caller]
fn scrape_with(metrics: std::net::SocketAddr, lines: usize, deliveries: usize) -> Scrape {
    let expected = (lines as f64, deliveries as f64);
    let counts = |scrape: &Scrape| (scrape.value("roomcast_lines_total"), scrape.value("roomcast_deliveries_total"));
    let mut last = Scrape::of(metrics);
    let mut rounds = 0;
    while counts(&last) != expected {
        rounds += 1;
        let reached = counts(&last);
        assert!(reached.0 <= expected.0 && reached.1 <= expected.1 && rounds < 10_000, "{reached:?}, not {expected:?}");
        last = Scrape::of(metrics);
    }
    last
}

#[test]
fn conversation_has_its_exact_counts() {
    let args = ["--rate", "0", "--byte-rate", "0", "--backlog", "64KiB", "--max-per-address", "4", "--exempt", "none"];
    let (server, metrics) = start_with_metrics(&args);
    let listener = format!("roomcast_connections{{listener=\"tcp://{}\"}}", server.address);
    let (mut alice, mut bob) = server.join_pair("room", "alice", "bob");
    let mut slow = server.join("room", "slow");
    alice.expect_line("slow has joined");
    bob.expect_line("slow has joined");
    let missed = talk(&mut alice, &mut bob, &mut slow);

    // The notices of three joins went to one, two and three members.
    let scrape = scrape_with(metrics, 3 + LINES, 6 + 3 * LINES);
    assert_eq!(scrape.value("roomcast_skipped_lines_total"), missed as f64);
    assert_eq!((scrape.value("roomcast_rooms"), scrape.value(&listener)), (1.0, 3.0));
    assert_eq!((scrape.sum("roomcast_closes_total"), scrape.sum("roomcast_refused_total")), (0.0, 0.0));
    assert_eq!(scrape.value("roomcast_rate_limited_seconds_total"), 0.0, "the rates are off");
    assert!(scrape.value("roomcast_writes_total") <= scrape.value("roomcast_deliveries_total"));

    let mut carol = server.join("other", "carol");
    let reason = Client::connect_raw(server.address).expect_error();
    assert!(reason.starts_with("your address has as many connections as it may have"), "{reason}");
    carol.send("/quit\n");
    assert_eq!(carol.read_to_end(), [""; 0]);
    bob.leave();
    alice.expect_line("bob has left");
    slow.expect_line("bob has left");
    slow.reset();
    alice.expect_line("slow has left");
    for reason in ["quit", "end_of_input", "connection_lost"] {
        wait_for_close(metrics, reason);
    }
    for (first_line, reason) in [("HELLO\n", "bad_first_line"), ("JOIN room alice\n", "name_taken")] {
        let mut stranger = Client::connect(server.address);
        stranger.send(first_line);
        stranger.expect_error();
        wait_for_close(metrics, reason);
    }

    // Carol joined and left a room of her own, bob's leave went to two members and that of slow to one.
    let scrape = scrape_with(metrics, 3 + LINES + 4, 6 + 3 * LINES + 1 + 2 + 1);
    let closes =
        ["bad_first_line", "connection_lost", "end_of_input", "name_taken", "quit"].map(|reason| (reason, 1.0));
    assert_eq!(scrape.nonzero("roomcast_closes_total"), closes);
    assert_eq!(scrape.nonzero("roomcast_refused_total"), [("too_many_of_address", 1.0)]);
    assert_eq!((scrape.value("roomcast_rooms"), scrape.value(&listener)), (1.0, 1.0));
}

/// Waits until a connection is closed for this reason: the server counts it after its client has seen the end.
#[track_caller]
fn wait_for_close(metrics: std::net::SocketAddr, reason: &str) {
    let count = format!("roomcast_closes_total{{reason=\"{reason}\"}}");
    wait_until(reason, || Scrape::of(metrics).value(&count) == 1.0);
}

#[test]
fn histograms_have_one_observation_a_pass() {
    let server = TestServer::start_with(test_settings(|settings| {
        settings.metrics.listen = Some((IpAddr::V4(Ipv4Addr::LOCALHOST), 0).into());
    }));
    let metrics = server.metrics_address.unwrap();
    let (mut alice, mut bob) = server.join_pair("room", "alice", "bob");
    for number in 0..50 {
        alice.send(format!("{number}\n"));
        alice.expect_line(&format!("alice: {number}"));
        bob.expect_line(&format!("alice: {number}"));
    }
    // Each line was said after the one before had arrived, so each has a pass of its own.
    scrape_with(metrics, 2 + 50, 3 + 2 * 50);
    let passes = server.stats.counters().passes as f64;
    let is_observed = || Scrape::of(metrics).value("roomcast_pass_duration_seconds_count") == passes;
    wait_until("the last pass is observed", is_observed);
    let scrape = Scrape::of(metrics);
    assert_eq!(scrape.assert_histogram("roomcast_pass_duration_seconds"), passes);
    assert_eq!(scrape.assert_histogram("roomcast_pass_members"), passes);
    assert_eq!(scrape.assert_histogram("roomcast_delivery_latency_seconds"), 50.0);
    assert!(scrape.assert_histogram("roomcast_pass_lines_per_write") >= 50.0);
    assert!(scrape.value("roomcast_pass_members_bucket{le=\"2\"}") == passes, "no pass saw more than two members");
    let latency = scrape.value("roomcast_delivery_latency_seconds_sum");
    assert!(latency > 0.0 && latency <= scrape.value("process_cpu_seconds_total") + 60.0, "{latency}");
}

#[test]
fn delays_by_the_rate_are_counted_in_seconds() {
    let server = TestServer::start_with(test_settings(|settings| {
        settings.metrics.listen = Some((IpAddr::V4(Ipv4Addr::LOCALHOST), 0).into());
        settings.live.rate = 20;
        settings.live.burst = std::num::NonZeroU32::MIN;
    }));
    let mut alice = server.join("room", "alice");
    alice.send("1\n2\n3\n4\n5\n");
    alice.skip_to_line("alice: 5");
    let delayed = Scrape::of(server.metrics_address.unwrap()).value("roomcast_rate_limited_seconds_total");
    // The JOIN line was the burst, and each of the lines waits for up to 50 ms.
    assert!(delayed > 0.0 && delayed <= 0.25 + 1e-6, "{delayed}");
}
