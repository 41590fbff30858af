//! Rooms' last lines that NATS keeps in a stream of `JetStream` (`--history-for`), over real NATS servers.

#![cfg(feature = "cluster")]
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::nats::{NatsServer, Node, nats_programs, with_jetstream};
use common::{Client, wait_until};
use roomcast::text::time::Minute;
use std::path::Path;

const STREAM_INFO: &str = "$JS.API.STREAM.INFO.RC_roomcast_HISTORY";

/// The arguments of a server whose lines are kept.
const KEPT: [&str; 4] = ["--history-for", "7d", "--replay", "3"];

/// Starts a server whose lines are kept, and waits until they are.
fn start(nats: &NatsServer, name: &str, more: &[&str]) -> Node {
    let node = Node::start(nats, name, &[&KEPT, more].concat());
    wait_until("NATS has the stream", || nats.request(STREAM_INFO, "")["config"].is_object());
    node
}

/// Ends a server in the planned way.
fn stop(mut node: Node) {
    node.server.send_signal("TERM");
    assert_eq!(node.server.wait_for_exit().0, Some(0));
}

/// Waits until the last message that NATS keeps of the lobby ends in a text.
fn wait_for_message(nats: &NatsServer, end: &str) {
    let subject = "$JS.API.DIRECT.GET.RC_roomcast_HISTORY";
    let last = || nats.request_raw(subject, "{\"last_by_subj\": \"rc.roomcast.l.lobby.c\"}");
    wait_until("NATS has kept the line", || last().ends_with(end.as_bytes()));
}

/// Says lines one after the other.
fn say(client: &mut Client, name: &str, lines: &[&str]) {
    for line in lines {
        client.send(format!("{line}\n"));
        client.expect_line(&format!("{name}: {line}"));
    }
}

/// Joins a room and returns the lines before the own join, those that are replayed.
fn replayed(node: &Node, room: &str, name: &str) -> (Client, Vec<String>) {
    let mut client = Client::connect(node.server.address);
    client.send(format!("JOIN {room} {name}\n"));
    let mut lines = client.lines_up_to(&format!("{name} has joined"));
    lines.pop();
    (client, lines)
}

/// Returns the lines of `/last` in the lobby, without the answer's beginnings.
fn last(client: &mut Client, count: usize) -> Vec<String> {
    client.send(format!("/last {count}\n/who\n"));
    let lines: Vec<String> =
        std::iter::from_fn(|| Some(client.read_line()).filter(|line| !line.contains(" in lobby: "))).collect();
    // A member of another server may join or leave meanwhile.
    lines.iter().filter_map(|line| line.strip_prefix("*** ")).map(str::to_owned).collect()
}

#[test]
fn lines_survive_a_restart_of_all_servers() {
    with_jetstream(|nats, _| {
        let (one, two) = (start(nats, "n1", &[]), start(nats, "n2", &[]));
        one.wait_for_others(1);
        two.wait_for_others(1);
        let before = Minute::now();
        let mut alice = one.server.join("lobby", "alice");
        let mut bob = replayed(&two, "lobby", "bob").0;
        alice.expect_line("bob has joined");
        say(&mut alice, "alice", &["1", "2"]);
        bob.expect_line("alice: 1");
        bob.expect_line("alice: 2");
        bob.send("/me waves\n/nick bo\n");
        bob.expect_line("* bob waves");
        bob.expect_line("bob is now known as bo");
        drop(bob);
        alice.skip_to_line("bo has left");
        stop(two);
        stop(one);
        let after = Minute::now();
        let node = start(nats, "n3", &[]);
        let (mut carol, shown) = replayed(&node, "lobby", "carol");
        assert_eq!(shown, ["*** * bob waves", "*** bo has left", "*** alice has left"]);
        let lines = [
            "alice has joined",
            "bob has joined",
            "alice: 1",
            "alice: 2",
            "* bob waves",
            "bob is now known as bo",
            "bo has left",
            "alice has left",
            "carol has joined",
        ];
        assert_eq!(last(&mut carol, 50), lines);
        carol.send("/time on\n");
        carol.read_line();
        carol.send("/last 8\n");
        let times: Vec<String> = (0..7).map(|_| carol.read_line()[..5].to_owned()).collect();
        let minutes: Vec<String> = (before.0..=after.0).map(|minute| Minute(minute).format(0)).collect();
        assert!(times.iter().all(|time| minutes.contains(time)), "{times:?} {minutes:?}");
        let reads = |result| node.metric(&format!("roomcast_cluster_history_reads_total{{result=\"{result}\"}}"));
        wait_until("the reading is counted", || reads("lines") == 1);
        assert_eq!((reads("empty"), reads("failed"), reads("late")), (0, 0, 0));
        assert_eq!(node.metric("roomcast_cluster_keeps_lines"), 1);
    });
}

#[test]
fn rooms_that_open_on_two_servers_at_a_time_have_the_lines_once() {
    with_jetstream(|nats, _| {
        let node = start(nats, "n1", &[]);
        let mut alice = node.server.join("lobby", "alice");
        say(&mut alice, "alice", &["1", "2", "3"]);
        drop(alice);
        stop(node);
        let nodes = [start(nats, "n1", &[]), start(nats, "n2", &[])];
        // A room opens without the lines if NATS is slow, and has them the next time.
        wait_until("both members have seen the lines", || {
            for node in &nodes {
                wait_until("the room is closed", || node.metric("roomcast_rooms") == 0);
            }
            let mut clients = nodes.each_ref().map(|node| Client::connect(node.server.address));
            for (client, name) in clients.iter_mut().zip(["bob", "carol"]) {
                client.send(format!("JOIN lobby {name}\n"));
            }
            clients.iter_mut().zip(["bob has joined", "carol has joined"]).all(|(client, joined)| {
                client.skip_to_line(joined);
                let mut lines = last(client, 100);
                lines.retain(|line| line.starts_with("alice: "));
                lines == ["alice: 1", "alice: 2", "alice: 3"]
            })
        });
    });
}

#[test]
fn lines_survive_nats_that_is_killed() {
    with_jetstream(|nats, _| {
        let node = start(nats, "n1", &[]);
        let mut alice = node.server.join("lobby", "alice");
        say(&mut alice, "alice", &["1", "2", "3"]);
        wait_for_message(nats, "alice: 3\n");
        nats.kill();
        drop(alice);
        drop(node);
        nats.restart();
        let node = start(nats, "n1", &[]);
        assert_eq!(replayed(&node, "lobby", "bob").1, ["*** alice: 1", "*** alice: 2", "*** alice: 3"]);
    });
}

#[test]
fn rooms_do_not_mix() {
    with_jetstream(|nats, _| {
        let rooms = ["lobby", "Lobby", "lobby.c", "*", ">", "#a=b.", "lobb=79", "~~~~~~~~~~~~~~~~~~~~"];
        let node = start(nats, "n1", &[]);
        let mut clients: Vec<Client> = rooms.iter().map(|room| node.server.join(room, "alice")).collect();
        for (client, room) in clients.iter_mut().zip(rooms) {
            say(client, "alice", &[&format!("in {room}"), "second"]);
        }
        drop(clients);
        stop(node);
        let node = start(nats, "n1", &[]);
        for room in rooms {
            let shown =
                [format!("*** alice: in {room}"), "*** alice: second".to_owned(), "*** alice has left".to_owned()];
            assert_eq!(replayed(&node, room, "bob").1, shown);
        }
        assert_eq!(replayed(&node, "another", "bob").1, [""; 0]);
    });
}

#[test]
fn room_that_is_closed_and_opened_again_has_its_lines_once() {
    with_jetstream(|nats, _| {
        let node = start(nats, "n1", &[]);
        let mut alice = node.server.join("lobby", "alice");
        for number in 0..20 {
            say(&mut alice, "alice", &[&number.to_string()]);
            alice.send("/join other\n/join lobby\n");
            while alice.read_line() != "alice has joined" {}
            while alice.read_line() != "alice has joined" {}
        }
        // A room opens without the lines if NATS is slow, and has them the next time.
        wait_until("the room has its lines", || {
            let mut lines = last(&mut alice, 100);
            lines.retain(|line| line.starts_with("alice: "));
            alice.send("/join other\n/join lobby\n");
            while alice.read_line() != "alice has joined" {}
            while alice.read_line() != "alice has joined" {}
            lines == (0..20).map(|number| format!("alice: {number}")).collect::<Vec<_>>()
        });
    });
}

#[test]
fn stream_has_the_bounds_of_the_settings() {
    with_jetstream(|nats, _| {
        let config = || nats.request(STREAM_INFO, "")["config"].clone();
        let node = start(nats, "n1", &["--history-size", "3MiB"]);
        let week = 7 * 24 * 60 * 60 * 1_000_000_000_u64;
        let first = config();
        assert_eq!((&first["max_age"], &first["max_bytes"]), (&week.into(), &(3 << 20).into()));
        assert_eq!(first["subjects"], serde_json::json!(["rc.roomcast.l.*.c"]));
        assert_eq!((&first["discard"], &first["storage"]), (&"old".into(), &"file".into()));
        let mut alice = node.server.join("lobby", "alice");
        say(&mut alice, "alice", &["kept"]);
        drop(alice);
        stop(node);
        let node = Node::start(nats, "n1", &["--history-for", "1m", "--history-size", "0", "--replay", "1"]);
        wait_until("the bounds are changed", || config()["max_age"] == 60_000_000_000_u64);
        assert_eq!(config()["max_bytes"], -1);
        assert_eq!(replayed(&node, "lobby", "bob").1, ["*** alice has left"]);
    });
}

#[test]
fn full_stream_drops_the_oldest_lines() {
    with_jetstream(|nats, _| {
        let node = start(nats, "n1", &["--history-size", "64KiB"]);
        let mut alice = node.server.join("lobby", "alice");
        for number in 0..100 {
            say(&mut alice, "alice", &[&format!("{number} {}", "x".repeat(2_000))]);
        }
        drop(alice);
        stop(node);
        assert!(nats.request(STREAM_INFO, "")["state"]["bytes"].as_u64().unwrap() <= 64 << 10);
        let node = start(nats, "n1", &["--history-size", "64KiB"]);
        let (_, shown) = replayed(&node, "lobby", "bob");
        assert!(shown[0].starts_with("*** alice: 98 ") && shown[1].starts_with("*** alice: 99 "), "{shown:?}");
    });
}

#[test]
fn rubbish_in_the_stream_is_counted_and_passed_over() {
    with_jetstream(|nats, _| {
        let node = start(nats, "n1", &[]);
        let mut alice = node.server.join("lobby", "alice");
        say(&mut alice, "alice", &["good"]);
        drop(alice);
        wait_until("the room is closed", || node.metric("roomcast_rooms") == 0);
        for payload in [&b""[..], b"\x09a frame of a later version", b"\x02rubbish", &vec![0xFF; 1 << 20]] {
            nats.publish("rc.roomcast.l.lobby.c", payload);
        }
        let mut number = 0;
        wait_until("the room has its lines", || {
            number += 1;
            let (mut client, _) = replayed(&node, "lobby", &format!("bob{number}"));
            last(&mut client, 20).iter().filter(|line| *line == "alice: good").count() == 1
        });
        let dropped = |reason| node.metric(&format!("roomcast_cluster_frames_dropped_total{{reason=\"{reason}\"}}"));
        wait_until("bad frames are counted", || dropped("version") >= 2 && dropped("malformed") >= 2);
    });
}

fn serves_without_jetstream(program: &Path) {
    let nats = NatsServer::start_program(program);
    let one = Node::start(&nats, "n1", &KEPT);
    let two = Node::start(&nats, "n2", &KEPT);
    one.wait_for_others(1);
    two.wait_for_others(1);
    wait_until("the servers know that nothing is kept", || one.metric("roomcast_cluster_keeps_lines") == 0);
    let mut alice = one.server.join("lobby", "alice");
    let mut bob = replayed(&two, "lobby", "bob").0;
    alice.expect_line("bob has joined");
    say(&mut bob, "bob", &["here"]);
    alice.expect_line("bob: here");
    let mut carol = Client::connect(one.server.address);
    carol.send("JOIN elsewhere carol\n");
    carol.expect_line("carol has joined");
}

#[test]
fn servers_without_jetstream_share_rooms_and_keep_no_lines() {
    for program in nats_programs() {
        serves_without_jetstream(&program);
    }
}

#[test]
fn room_opens_while_nats_is_away_or_does_not_answer() {
    with_jetstream(|nats, _| {
        let node = start(nats, "n1", &[]);
        nats.send_signal("STOP");
        drop(node.server.join("lobby", "alice"));
        nats.send_signal("CONT");
        nats.kill();
        wait_until("the server knows it", || node.metric("roomcast_cluster_keeps_lines") == 0);
        drop(node.server.join("elsewhere", "alice"));
        nats.restart();
        wait_until("NATS is back", || node.metric("roomcast_cluster_keeps_lines") == 1);
        drop(node.server.join("third", "alice"));
    });
}
