//! Several NATS servers with routes between them.

use crate::common::nats::{NatsServer, Node};
use crate::common::talk::Conversation;
use std::thread;

#[test]
fn conversation_goes_on_while_one_nats_server_after_the_other_is_killed() {
    let Some(mut nats) = NatsServer::start_cluster(3) else { return };
    // Each server hears of the other NATS servers from its own one.
    let urls: Vec<String> = nats.iter().map(NatsServer::url).collect();
    let nodes = Node::start_each(&urls);
    let conversation = Conversation::start(&nodes);
    for at in 0..3 {
        nats[at].kill();
        conversation.wait_for_news();
        nats[at].restart();
        let (one, rest) = nats[at..].split_first().unwrap();
        one.wait_for_routes(rest.iter().chain(&nats[..at]));
        conversation.wait_for_news();
    }
    let talk = conversation.finish();
    assert!(talk.departures.iter().all(|(_, left)| *left == 0), "nobody has left: {talk:?}");
}

/// Plays rounds with one member on each of two servers. In each the first one joins a room in which the second one is, and
/// the second one speaks as soon as it sees that.
fn play_rounds(nodes: &[Node], player: usize, rounds: usize) {
    let mut bob = nodes[1].server.join(&format!("first{player}"), "bob");
    for round in 0..rounds {
        let room = format!("r{player}-{round}");
        bob.send(format!("/join {room}\n"));
        bob.skip_to_line("bob has joined");
        let mut alice = nodes[0].server.join(&room, "alice");
        bob.skip_to_line("alice has joined");
        bob.send(format!("{round}\n"));
        let line = alice.read_line();
        let is_told = line == "*** 1 line from node n2 is missing";
        assert!(is_told || line == format!("bob: {round}"), "{line:?}");
        alice.send("/who\n");
        alice.expect_line(&format!("*** 2 in {room}: alice, bob"));
    }
}

/// nats-server#1142: a server of NATS may not know yet what is subscribed at another one.
#[test]
fn line_that_follows_a_join_is_received_across_a_route_a_thousand_times() {
    const PLAYERS: usize = 10;
    let Some(nats) = NatsServer::start_cluster(2) else { return };
    let nodes = Node::start_each(&[nats[0].url(), nats[1].url()]);
    thread::scope(|scope| {
        for player in 0..PLAYERS {
            let nodes = &nodes;
            scope.spawn(move || play_rounds(nodes, player, 1_000 / PLAYERS));
        }
    });
}
