//! Servers whose members see one order of all lines, joins and leaves (`--cluster-order total`), over real NATS servers.

#![cfg(feature = "cluster")]
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;
#[path = "common/load.rs"]
mod load;

use common::folder::Folder;
use common::nats::{NatsServer, Node, ONE_ORDER, nats_programs, with_jetstream};
use common::{Client, ServerProcess, numbered_lines, wait_until};
use loadtest::metrics::Counters;
use loadtest::plan::{Pacing, Plan, Stop};
use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;

/// Starts servers with one order at a NATS server.
fn start_some(nats: &NatsServer, count: usize) -> Vec<Node> {
    Node::start_in_one_order(&vec![nats.url(); count], &[])
}

#[test]
fn all_members_see_lines_joins_renames_and_leaves_in_one_order() {
    const LINES: usize = 300;
    with_jetstream(|nats, _| {
        let nodes = start_some(nats, 3);
        let mut watchers: Vec<Client> = Vec::new();
        for (number, node) in nodes.iter().enumerate() {
            let watcher = node.server.join("busy", &format!("w{number}"));
            for other in &mut watchers {
                other.expect_line(&format!("w{number} has joined"));
            }
            watchers.push(watcher);
        }
        thread::scope(|scope| {
            for number in 0..6 {
                let server = &nodes[number % 3].server;
                scope.spawn(move || {
                    let mut client = server.join("busy", &format!("u{number}"));
                    client.send(numbered_lines(LINES));
                    client.send(format!("/nick v{number}\nlast\n"));
                    let lines = client.lines_up_to(&format!("v{number}: last"));
                    let prefix = format!("u{number}: ");
                    let own: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix(&prefix)).collect();
                    assert_eq!(own, (0..LINES).map(|line| line.to_string()).collect::<Vec<_>>());
                });
            }
        });
        let seen: Vec<Vec<String>> = watchers.iter_mut().map(lines_until_six_have_left).collect();
        assert_eq!(seen[0].len(), 6 * (LINES + 4));
        assert!(seen[0] == seen[1] && seen[0] == seen[2], "three servers have three orders");
    });
}

fn lines_until_six_have_left(client: &mut Client) -> Vec<String> {
    let (mut lines, mut left) = (Vec::new(), 0);
    while left < 6 {
        lines.push(client.read_line());
        left += usize::from(lines.last().unwrap().ends_with(" has left"));
    }
    lines
}

#[test]
fn name_that_is_wanted_on_three_servers_at_one_moment_is_given_once() {
    const ROUNDS: usize = 40;
    with_jetstream(|nats, _| {
        let nodes = start_some(nats, 3);
        let barrier = Barrier::new(3);
        let won: Vec<Vec<bool>> = thread::scope(|scope| {
            let tries = nodes.iter().map(|node| {
                let barrier = &barrier;
                scope.spawn(move || (0..ROUNDS).map(|round| wins_name(node, barrier, round)).collect())
            });
            tries.collect::<Vec<_>>().into_iter().map(|tries| tries.join().unwrap()).collect()
        });
        for round in 0..ROUNDS {
            assert_eq!(won.iter().filter(|rounds| rounds[round]).count(), 1, "round {round}");
        }
    });
}

/// Joins with the name that two other servers' peers want as well. Returns true if this peer gets it.
fn wins_name(node: &Node, barrier: &Barrier, round: usize) -> bool {
    let mut client = Client::connect(node.server.address);
    barrier.wait();
    client.send(format!("JOIN room{round} bob\n"));
    // The greeting comes first, and lines of a peer that has the name already may.
    let first = client.read_line();
    let is_won = if first == "ERROR" { false } else { first == "bob has joined" };
    if !is_won {
        assert_eq!(
            client.read_line(),
            format!(
                "the name bob is taken in room{round}: connect again and choose another, for example: JOIN room{round} bob2"
            )
        );
    }
    // The winner stays until all have tried.
    barrier.wait();
    is_won
}

/// Returns a load of 60 members in 12 rooms, two of which send 10 lines a second each.
fn spread_load(servers: &[SocketAddr]) -> Plan {
    Plan {
        servers: servers.to_vec(),
        total_order: true,
        connections: 60,
        rooms: 12,
        senders: 2,
        pacing: Pacing::Open { millilines_per_second: 20_000 },
        stop: Stop::Lines(120),
        ..load::plan(servers[0])
    }
}

/// Runs a load on servers with one order, and a fault once its lines are said. Returns what was counted.
fn run_while(nodes: &[Node], fault: impl FnOnce()) -> Counters {
    let servers: Vec<SocketAddr> = nodes.iter().map(|node| node.server.address).collect();
    let plan = spread_load(&servers);
    let result = thread::scope(|scope| {
        let run = scope.spawn(|| load::run(&plan, &mut |_| {}));
        let frames = || nodes[0].metric("roomcast_cluster_frames_total{direction=\"in\"}");
        let before = frames();
        wait_until("lines are said", || frames() > before + 400);
        fault();
        run.join().unwrap()
    });
    assert!(load::is_judged(&result), "{:?}", result.verdict);
    result.outcome.counters
}

#[test]
fn killed_nats_costs_time_and_no_line() {
    with_jetstream(|nats, _| {
        let nodes = start_some(nats, 3);
        let counters = run_while(&nodes, || {
            nats.kill();
            nats.restart();
        });
        assert_eq!(counters.sent, 120 * 12);
        assert_eq!((counters.lost, counters.duplicated, counters.misordered, counters.told_missing), (0, 0, 0, 0));
    });
}

#[test]
fn killed_leader_of_three_nats_servers_costs_no_line() {
    for (number, program) in nats_programs().iter().enumerate() {
        let folder = Folder::new(&format!("killed-leader-{number}"));
        let mut nats = NatsServer::start_jetstream_cluster(program, 3, &folder.join("stores"));
        let urls = nats.iter().map(NatsServer::url).collect::<Vec<_>>().join(",");
        let nodes = Node::start_in_one_order(&vec![urls; 3], &["--cluster-replicas", "3"]);
        let counters = run_while(&nodes, || {
            let leader = leader_of_log(&nats[0]).unwrap();
            nats[leader].kill();
            let other = usize::from(leader == 0);
            wait_until("the log has another leader", || leader_of_log(&nats[other]).is_some_and(|new| new != leader));
            nats[leader].restart();
        });
        assert_eq!((counters.lost, counters.duplicated, counters.misordered, counters.told_missing), (0, 0, 0, 0));
    }
}

/// Returns the number of the NATS server that leads the log, if one does.
fn leader_of_log(nats: &NatsServer) -> Option<usize> {
    let info = nats.try_request("$JS.API.STREAM.INFO.RC_roomcast_LOG", "")?;
    info["cluster"]["leader"].as_str()?.strip_prefix('s')?.parse().ok()
}

#[test]
fn conversation_goes_on_when_nats_has_lost_the_log() {
    with_jetstream(|nats, folder| {
        let nodes = start_some(nats, 2);
        let mut alice = nodes[0].server.join("lobby", "alice");
        let mut bob = nodes[1].server.join("lobby", "bob");
        alice.expect_line("bob has joined");
        for line in 0..20 {
            alice.send(format!("{line}\n"));
            bob.expect_line(&format!("alice: {line}"));
        }
        nats.kill();
        std::fs::remove_dir_all(folder.join("store")).unwrap();
        nats.restart();
        alice.send("after\n");
        bob.send("me, too\n");
        for client in [&mut alice, &mut bob] {
            let mut lines = client.lines_up_to("alice: after");
            if !lines.contains(&"bob: me, too".to_owned()) {
                lines.extend(client.lines_up_to("bob: me, too"));
            }
        }
        alice.send("/who\n");
        alice.skip_to_line("*** 2 in lobby: alice, bob");
    });
}

#[test]
fn rooms_are_this_servers_alone_while_the_log_is_out_of_reach() {
    with_jetstream(|nats, _| {
        let nodes = start_some(nats, 2);
        let mut alice = nodes[0].server.join("lobby", "alice");
        let mut bob = nodes[1].server.join("lobby", "bob");
        alice.expect_line("bob has joined");
        nats.send_signal("STOP");
        for (client, node) in [(&mut alice, "n1"), (&mut bob, "n2")] {
            // The first line may have reached the log, and is given up; those that follow it are shown.
            client.send("1\n");
            client.skip_to_line(&format!("*** this room is on {node} only for now"));
            client.send("2\n");
        }
        alice.skip_to_line("alice: 2");
        bob.skip_to_line("bob: 2");
        drop(nodes[0].server.join("other", "eve"));
        nats.send_signal("CONT");
        alice.skip_to_line("*** the room is whole again");
        bob.skip_to_line("*** the room is whole again");
        nodes.iter().for_each(Node::wait_for_log);
        alice.send("3\n");
        alice.skip_to_line("alice: 3");
        bob.skip_to_line("alice: 3");
        bob.send("/who\n");
        bob.expect_line("*** 2 in lobby: alice, bob");
    });
}

#[test]
fn member_that_leaves_has_said_its_last_lines_before() {
    with_jetstream(|nats, _| {
        let nodes = start_some(nats, 2);
        let mut alice = nodes[0].server.join("lobby", "alice");
        for round in 0..30 {
            let mut bob = nodes[round % 2].server.join("lobby", "bob");
            bob.send("1\n2\nbye\n");
            drop(bob);
            for line in ["bob has joined", "bob: 1", "bob: 2", "bob: bye", "bob has left"] {
                alice.expect_line(line);
            }
        }
    });
}

#[test]
fn last_lines_come_before_the_end_of_a_server() {
    with_jetstream(|nats, _| {
        let mut nodes = start_some(nats, 2);
        let mut alice = nodes[0].server.join("lobby", "alice");
        let mut bob = nodes[1].server.join("lobby", "bob");
        alice.expect_line("bob has joined");
        bob.send(numbered_lines(50));
        nodes[1].server.send_signal("TERM");
        for line in 0..50 {
            bob.expect_line(&format!("bob: {line}"));
        }
        bob.expect_line("*** server is shutting down");
        assert_eq!(nodes[1].server.wait_for_exit().0, Some(0));
        for line in 0..50 {
            alice.expect_line(&format!("bob: {line}"));
        }
        alice.expect_line("bob has left");
    });
}

#[test]
fn servers_without_jetstream_serve_their_own_members() {
    for program in nats_programs() {
        let nats = NatsServer::start_program(&program);
        let node = Node::start(&nats, "n1", &ONE_ORDER);
        let mut alice = node.server.join("lobby", "alice");
        alice.send("hello\n");
        alice.expect_line("alice: hello");
        assert_eq!(node.metric("roomcast_cluster_ordered"), 0);
        let url = nats.url();
        let args = ["--cluster", &*url, "--node", "n2", "--cluster-required", ONE_ORDER[0], ONE_ORDER[1]];
        let output = ServerProcess::command(&args).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.contains("--cluster-order total: NATS has no JetStream"), "{errors}");
    }
}

#[test]
fn servers_of_two_orders_share_no_room() {
    with_jetstream(|nats, _| {
        let ordered = Node::start(nats, "n1", &ONE_ORDER);
        ordered.wait_for_log();
        let other = Node::start(nats, "n2", &[]);
        let mut alice = ordered.server.join("lobby", "alice");
        let unknown = "roomcast_cluster_frames_dropped_total{reason=\"version\"}";
        wait_until("frames of the other order are counted", || {
            ordered.metric(unknown) > 0 && other.metric(unknown) > 0
        });
        let mut bob = other.server.join("lobby", "alice");
        bob.send("hello\n/who\n");
        bob.expect_line("alice: hello");
        bob.expect_line("*** 1 in lobby: alice");
        alice.send("/who\n");
        alice.expect_line("*** 1 in lobby: alice");
    });
}
