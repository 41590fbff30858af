//! Servers that share their rooms over a real NATS server.

#![cfg(feature = "cluster")]
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;
#[path = "common/load.rs"]
mod load;

use common::ctl::ctl;
use common::nats::{NatsServer, Node, nats_programs};
use common::{Client, ServerProcess, numbered_lines, wait_until};
use loadtest::plan::{Pacing, Plan, Stop};
use std::collections::HashMap;
use std::net::SocketAddr;

/// Reads lines until there are `count` of a kind. Returns all.
fn lines_of(client: &mut Client, count: usize, is_it: impl Fn(&str) -> bool) -> Vec<String> {
    let (mut lines, mut found) = (Vec::new(), 0);
    while found < count {
        lines.push(client.read_line());
        found += usize::from(is_it(lines.last().unwrap()));
    }
    lines
}

#[test]
fn members_of_three_servers_share_a_room() {
    for program in nats_programs() {
        let nats = NatsServer::start_program(&program);
        let nodes = Node::start_some(&nats, 3);
        let mut alice = nodes[0].server.join("lobby", "alice");
        let mut bob = nodes[1].server.join("lobby", "bob");
        alice.expect_line("bob has joined");
        let mut carol = nodes[2].server.join("lobby", "carol");
        alice.expect_line("carol has joined");
        bob.expect_line("carol has joined");
        carol.send("hello\n/me waves\n/nick caz\n");
        for client in [&mut alice, &mut bob, &mut carol] {
            for line in ["carol: hello", "* carol waves", "carol is now known as caz"] {
                client.expect_line(line);
            }
        }
        alice.send("/who\n/rooms\n");
        alice.expect_line("*** 3 in lobby: alice, bob, caz");
        wait_until("all servers have counted the room", || {
            alice.send("/rooms\n");
            alice.read_line() == "*** 1 room: lobby (3); you are in lobby"
        });
        alice.send("/msg CAZ psst\n/last 2\n");
        alice.skip_to_line("*** you whisper to caz: psst");
        alice.expect_line("*** * carol waves");
        alice.expect_line("*** carol is now known as caz");
        carol.expect_line("*** alice whispers: psst");
        carol.send("/reply yes?\n");
        carol.expect_line("*** you whisper to alice: yes?");
        alice.expect_line("*** caz whispers: yes?");
        let mut second = Client::connect(nodes[2].server.address);
        second.send("JOIN lobby ALICE\n");
        assert!(second.expect_error().starts_with("the name ALICE is taken in lobby"));
        drop(carol);
        alice.expect_line("caz has left");
        alice.send("/msg caz late\n");
        alice.expect_line("*** no member here is called caz: /who lists the members");
    }
}

/// Returns a load of 300 members in 20 rooms, spread over servers. One member of each room sends 10 lines a second.
fn spread_load(servers: &[SocketAddr]) -> Plan {
    Plan {
        servers: servers.to_vec(),
        connections: 300,
        rooms: 20,
        senders: 1,
        pacing: Pacing::Open { millilines_per_second: 10_000 },
        stop: Stop::Lines(50),
        ..load::plan(servers[0])
    }
}

#[test]
fn three_hundred_members_in_twenty_rooms_on_three_servers_lose_nothing() {
    let Some(nats) = NatsServer::start() else { return };
    let nodes = Node::start_some(&nats, 3);
    let servers: Vec<SocketAddr> = nodes.iter().map(|node| node.server.address).collect();
    let plan = spread_load(&servers);
    let result = load::run(&plan, &mut |_| {});
    assert!(load::is_judged(&result), "{:?}", result.verdict);
    let counters = &result.outcome.counters;
    assert_eq!((counters.sent, counters.lost, counters.duplicated, counters.misordered), (1_000, 0, 0, 0));
}

#[test]
fn room_that_opens_later_has_the_lines_from_before() {
    let Some(nats) = NatsServer::start() else { return };
    let one = Node::start(&nats, "n1", &[]);
    let two = Node::start(&nats, "n2", &["--replay", "3"]);
    one.wait_for_others(1);
    two.wait_for_others(1);
    let mut alice = one.server.join("lobby", "alice");
    alice.send("1\n2\n3\n");
    alice.skip_to_line("alice: 3");
    let mut bob = Client::connect(two.server.address);
    bob.send("JOIN lobby bob\n/last 4\n");
    for line in ["*** alice: 1", "*** alice: 2", "*** alice: 3", "bob has joined"] {
        bob.expect_line(line);
    }
    for line in ["*** alice: 1", "*** alice: 2", "*** alice: 3", "*** bob has joined"] {
        bob.expect_line(line);
    }
}

#[test]
fn lines_of_any_legal_length_and_bytes_reach_other_servers() {
    let Some(nats) = NatsServer::start() else { return };
    let nodes = Node::start_some(&nats, 2);
    let mut alice = nodes[0].server.join("lobby", "alice");
    let mut bob = nodes[1].server.join("lobby", "bob");
    alice.expect_line("bob has joined");
    let long = "x".repeat(20_000);
    alice.send(format!("{long}\n"));
    bob.expect_line(&format!("alice: {long}"));
    // Each byte that is no UTF-8 becomes three.
    alice.send([vec![0xFE; 20_000], b"\n".to_vec()].concat());
    bob.expect_line(&format!("alice: {}", "\u{FFFD}".repeat(20_000)));
    assert_eq!(nodes[1].metric("roomcast_cluster_lines_lost_total{reason=\"rejected\"}"), 0);
}

#[test]
fn each_senders_lines_keep_their_order_on_all_servers() {
    const LINES: usize = 400;
    let Some(nats) = NatsServer::start() else { return };
    let nodes = Node::start_some(&nats, 3);
    let mut clients: Vec<Client> = Vec::new();
    for number in 0..9 {
        let client = nodes[number % 3].server.join("busy", &format!("u{number}"));
        for other in &mut clients {
            other.expect_line(&format!("u{number} has joined"));
        }
        clients.push(client);
    }
    let text = numbered_lines(LINES);
    for client in &mut clients {
        client.send(&text);
    }
    let seen: Vec<Vec<String>> =
        clients.iter_mut().map(|client| (0..LINES * 9).map(|_| client.read_line()).collect()).collect();
    for (number, lines) in seen.iter().enumerate() {
        assert_eq!(*lines, seen[number % 3], "one order on one server");
        let mut next: HashMap<&str, usize> = HashMap::new();
        for line in lines {
            let (sender, said) = line.split_once(": ").unwrap();
            let expected = next.entry(sender).or_default();
            assert_eq!(said.parse(), Ok(*expected), "{line}");
            *expected += 1;
        }
    }
}

#[test]
fn members_of_a_killed_server_leave_once_and_get_their_names_back() {
    let Some(nats) = NatsServer::start() else { return };
    let mut nodes = Node::start_some(&nats, 3);
    let mut alice = nodes[0].server.join("lobby", "alice");
    let bob = nodes[1].server.join("lobby", "bob");
    alice.expect_line("bob has joined");
    nodes[1].server.send_signal("KILL");
    drop(bob);
    // The join waits until it is known that the server which has the name is dead.
    let mut bob = Client::connect(nodes[2].server.address);
    bob.send("JOIN lobby bob\n");
    bob.expect_line("bob has joined");
    bob.send("back\n/who\n");
    bob.expect_line("bob: back");
    bob.expect_line("*** 2 in lobby: alice, bob");
    // The servers may find out one after the other, so that the old member leaves after the new one has come.
    let mut lines: Vec<String> = (0..3).map(|_| alice.read_line()).collect();
    lines.sort();
    assert_eq!(lines, ["bob has joined", "bob has left", "bob: back"]);
    bob.send("once\n");
    alice.expect_line("bob: once");
    nodes.remove(1);
}

#[test]
fn members_of_a_server_that_stops_leave_at_once() {
    let Some(nats) = NatsServer::start() else { return };
    let mut nodes = Node::start_some(&nats, 2);
    let mut alice = nodes[0].server.join("lobby", "alice");
    let mut bob = nodes[1].server.join("lobby", "bob");
    alice.expect_line("bob has joined");
    bob.send("last words\n");
    nodes[1].server.send_signal("TERM");
    alice.expect_line("bob: last words");
    alice.expect_line("bob has left");
    assert_eq!(nodes[1].server.wait_for_exit().0, Some(0));
    bob.skip_to_line("*** server is shutting down");
    // The next process of that name is another one.
    nodes[1] = Node::start(&nats, "n2", &[]);
    nodes[1].wait_for_others(1);
    let mut bob = nodes[1].server.join("lobby", "bob");
    alice.expect_line("bob has joined");
    alice.send("hi\n");
    bob.expect_line("alice: hi");
}

#[test]
fn server_that_was_stopped_for_a_while_comes_back() {
    let Some(nats) = NatsServer::start() else { return };
    let nodes = Node::start_some(&nats, 2);
    let mut alice = nodes[0].server.join("lobby", "alice");
    let mut bob = nodes[1].server.join("lobby", "bob");
    alice.expect_line("bob has joined");
    nodes[1].server.send_signal("STOP");
    alice.expect_line("bob has left");
    alice.send("while you were away\n");
    nodes[1].server.send_signal("CONT");
    assert_eq!(alice.lines_up_to("bob has joined"), ["alice: while you were away", "bob has joined"]);
    bob.send("here again\n");
    alice.expect_line("bob: here again");
    let mut lines = [bob.read_line(), bob.read_line()];
    lines.sort();
    assert_eq!(lines, ["alice: while you were away", "bob: here again"]);
}

#[test]
fn rooms_are_told_of_a_split_and_of_its_end() {
    let Some(mut nats) = NatsServer::start() else { return };
    let nodes = Node::start_some(&nats, 2);
    let mut alice = nodes[0].server.join("lobby", "alice");
    let mut bob = nodes[1].server.join("lobby", "bob");
    alice.expect_line("bob has joined");
    nats.kill();
    // A room that is opened at this moment waits for nobody who can't be reached.
    let _erin = nodes[0].server.join("elsewhere", "erin");
    alice.expect_line("*** this room is on n1 only for now");
    bob.expect_line("*** this room is on n2 only for now");
    alice.send("/who\n");
    alice.expect_line("*** 1 in lobby: alice");
    alice.send(numbered_lines(3));
    for line in ["alice: 0", "alice: 1", "alice: 2"] {
        alice.expect_line(line);
    }
    let mut carol = nodes[0].server.join("lobby", "carol");
    let _dave = nodes[1].server.join("lobby", "dave");
    let mut second_bob = nodes[0].server.join("lobby", "Bob");
    alice.expect_line("carol has joined");
    alice.expect_line("Bob has joined");
    nats.restart();
    let lines = alice.lines_up_to("*** the room is whole again");
    assert_eq!(lines, ["*** the room is whole again"]);
    let lines = alice.lines_up_to("dave has joined");
    assert!(lines.iter().all(|line| !line.ends_with(" has left")), "nobody has left: {lines:?}");
    // Of two members of one name the older one keeps it.
    second_bob.skip_to_line(
        "*** the name Bob belongs to a member on another server: you are called Bob~2 now; write: /nick NAME",
    );
    second_bob.skip_to_line("Bob is now known as Bob~2");
    bob.skip_to_line("*** the room is whole again");
    carol.send("done\n");
    let mut lines = bob.lines_up_to("carol: done");
    let told = |line: &String| line.starts_with("alice: ") || line.contains("lines from node n1 are missing");
    lines.retain(|line| told(line));
    assert!(
        lines == ["alice: 0", "alice: 1", "alice: 2"] || lines == ["*** 3 lines from node n1 are missing"],
        "{lines:?}"
    );
    bob.send("/who\n");
    wait_until("both servers have the same members", || {
        bob.send("/who\n");
        bob.read_line() == "*** 5 in lobby: alice, bob, Bob~2, carol, dave"
    });
}

#[test]
fn stalled_nats_slows_no_local_member_and_the_hole_is_told() {
    const LINES: usize = 25_000;
    let Some(nats) = NatsServer::start() else { return };
    // No line is skipped for members whose reading the machine delays.
    let start = |name| Node::start(&nats, name, &["--backlog", "64MiB"]);
    let nodes = [start("n1"), start("n2")];
    for node in &nodes {
        node.wait_for_others(1);
    }
    let mut alice = nodes[0].server.join("lobby", "alice");
    let mut carol = nodes[0].server.join("lobby", "carol");
    let mut bob = nodes[1].server.join("lobby", "bob");
    alice.expect_line("carol has joined");
    alice.expect_line("bob has joined");
    carol.expect_line("bob has joined");
    nats.send_signal("STOP");
    // About 22 MB, nearly three times what may wait.
    let text: Vec<String> = (0..LINES).map(|number| format!("{number}{}\n", " ".repeat(890))).collect();
    let mut sender = alice.sender();
    let sending = std::thread::spawn(move || sender.send(text.concat()));
    let reading = std::thread::spawn(move || {
        lines_of(&mut alice, LINES, |line| line.starts_with("alice: "));
        alice
    });
    let mut told = lines_of(&mut carol, LINES, |line| line.starts_with("alice: "));
    told.retain(|line| line.starts_with("alice: "));
    assert!(told.iter().enumerate().all(|(number, line)| line.trim_end() == format!("alice: {number}")));
    sending.join().unwrap();
    let mut alice = reading.join().unwrap();
    let waiting = nodes[0].metric("roomcast_cluster_waiting_bytes");
    assert!(waiting < 17 << 20, "{waiting} bytes wait");
    nats.send_signal("CONT");
    let (mut got, mut missing) = (0, 0);
    while got + missing < LINES {
        let line = bob.read_line();
        got += usize::from(line.starts_with("alice: "));
        if line.contains("from node n1 ") {
            missing += line.split(' ').nth(1).unwrap().parse::<usize>().unwrap();
        }
    }
    assert_eq!(got + missing, LINES, "{got} lines and {missing} missing ones");
    alice.send("/nick al\n");
    bob.expect_line("alice is now known as al");
}

#[test]
fn server_without_nats_serves_its_own_members() {
    let Some(mut nats) = NatsServer::start() else { return };
    nats.kill();
    let node = Node::start(&nats, "n1", &[]);
    let mut alice = node.server.join("lobby", "alice");
    alice.send("alone\n");
    alice.expect_line("alice: alone");
    let url = nats.url();
    let output = ServerProcess::command(&["--cluster", &url, "--node", "n2", "--cluster-required"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    let last = told.lines().last().unwrap();
    assert!(last.starts_with(&format!("roomcast: --cluster {url}: no NATS server answers")), "{told}");
    // NATS comes later, and both servers find each other's members.
    let other = Node::start(&nats, "n2", &[]);
    let mut bob = other.server.join("lobby", "bob");
    nats.restart();
    node.wait_for_others(1);
    wait_until("the members know each other", || {
        bob.send("/who\n");
        bob.read_line() == "*** 2 in lobby: alice, bob"
    });
}

#[test]
fn operators_commands_reach_all_servers() {
    let Some(nats) = NatsServer::start() else { return };
    let folder = common::folder::Folder::new("cluster-admin");
    let socket = folder.text("admin");
    let one = Node::start(&nats, "n1", &["--admin", &socket]);
    let two = Node::start(&nats, "n2", &[]);
    one.wait_for_others(1);
    two.wait_for_others(1);
    let mut alice = one.server.join("lobby", "alice");
    let mut bob = two.server.join("lobby", "bob");
    alice.expect_line("bob has joined");
    let ctl = |words: &[&str]| {
        let output = ctl(socket.as_ref(), words);
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    ctl(&["announce", "in", "lobby", "news"]);
    bob.expect_line("*** news");
    alice.expect_line("*** news");
    let told = ctl(&["kick", "in", "lobby", "bob", "enough"]);
    assert!(told.contains("the other servers of the cluster are asked"), "{told}");
    assert_eq!(bob.expect_error(), "an operator closed your connection: enough");
    alice.expect_line("bob has left");
    ctl(&["ban", "127.0.0.9", "for", "10m", "spam"]);
    wait_until("the ban is in force on the other server", || {
        let mut banned = Client::connect_from([127, 0, 0, 9], two.server.address);
        banned.read_line() == "ERROR"
    });
}

#[test]
fn bad_frames_are_counted_and_harm_nobody() {
    /// The version of frames.
    const VERSION: u8 = 2;
    let Some(nats) = NatsServer::start() else { return };
    let nodes = Node::start_some(&nats, 2);
    let mut alice = nodes[0].server.join("lobby", "alice");
    let mut bob = nodes[1].server.join("lobby", "bob");
    alice.expect_line("bob has joined");
    let dropped =
        |reason: &str| nodes[0].metric(&format!("roomcast_cluster_frames_dropped_total{{reason=\"{reason}\"}}"));
    let (versions, malformed) = (dropped("version"), dropped("malformed"));
    let mut random = fastrand::Rng::with_seed(7);
    for subject in ["rc.roomcast.l.lobby.c", "rc.roomcast.l.lobby.s", "rc.roomcast.a", "rc.roomcast.n.n1"] {
        nats.publish(subject, b"");
        nats.publish(subject, b"\x09a frame of a later version");
        nats.publish(subject, &[VERSION; 3]);
        nats.publish(subject, &vec![0xFF; 1 << 20]);
        for length in 1..200 {
            let mut frame: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
            frame[0] = VERSION;
            nats.publish(subject, &frame);
        }
    }
    wait_until("frames of another version are counted", || dropped("version") >= versions + 3);
    wait_until("frames without a head are counted", || dropped("malformed") > malformed + 100);
    bob.send("still here\n");
    alice.expect_line("bob: still here");
}
