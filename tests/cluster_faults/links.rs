//! A link between one server and NATS that breaks, for a moment or for so long that the server is taken for dead.

use crate::common::find_or_skip;
use crate::common::folder::Folder;
use crate::common::link::Direction::{self, ToNats, ToNode};
use crate::common::link::{Faults, Link};
use crate::common::nats::{NatsServer, Node};
use crate::common::talk::{Conversation, Talk};
use std::collections::HashSet;
use std::thread;
use std::time::Duration;

/// A time in which no server takes another one for dead, nor itself for deaf.
const SHORT: Duration = Duration::from_millis(1_200);

/// Has three servers talk while the link of the second one has faults; `hold` returns when these should end.
fn talk_with_faults(name: &str, faults: Faults, hold: impl FnOnce(&Link, &Conversation)) -> Option<Talk> {
    let nats = NatsServer::start()?;
    let link = Link::start(nats.address);
    let nodes = Node::start_each(&[nats.url(), link.url(), nats.url()]);
    let talk = talk_over(&link, &nodes, faults, hold);
    for (one, other) in [("u1", "u3"), ("u3", "u1")] {
        assert_eq!(talk.missing(one, other), 0, "{name}: the others miss nothing of each other");
    }
    Some(talk)
}

fn talk_over(link: &Link, nodes: &[Node], faults: Faults, hold: impl FnOnce(&Link, &Conversation)) -> Talk {
    let conversation = Conversation::start(nodes);
    link.set(faults);
    hold(link, &conversation);
    link.set(Faults::default());
    conversation.wait_for_news();
    conversation.finish()
}

/// Does what [`talk_with_faults`] does with servers of one order, and asserts that each two have their common lines in one.
fn talk_in_one_order(name: &str, faults: Faults, hold: impl FnOnce(&Link, &Conversation)) {
    let Some(program) = find_or_skip("nats-server") else { return };
    let folder = Folder::new(&format!("one-order-{}", name.replace(' ', "-")));
    let nats = NatsServer::start_jetstream(&program, &folder.join("store"));
    let link = Link::start(nats.address);
    let urls = [nats.url(), link.url(), nats.url()];
    let nodes = Node::start_in_one_order(&urls, &[]);
    let talk = talk_over(&link, &nodes, faults, hold);
    for (one, lines) in &talk.lines {
        for (other, others) in &talk.lines {
            let common = |lines: &[String], others: &[String]| -> Vec<String> {
                let others: HashSet<&String> = others.iter().collect();
                lines.iter().filter(|line| line.contains(": ") && others.contains(line)).cloned().collect()
            };
            assert_eq!(common(lines, others), common(others, lines), "{name}: {one} and {other}");
        }
    }
}

fn wait_until_alone(_: &Link, conversation: &Conversation) {
    let line = "*** this room is on n2 only for now".to_owned();
    conversation.talkers[1].log.wait(&line, |lines| lines.contains(&line));
}

fn stop(directions: &[Direction]) -> Faults {
    Faults { stopped: directions.to_vec(), ..Faults::default() }
}

fn delay(direction: Direction, milliseconds: u64) -> Faults {
    Faults { delay: Some((direction, Duration::from_millis(milliseconds))), ..Faults::default() }
}

fn rooms_only(faults: Faults) -> Faults {
    Faults { rooms_only: true, ..faults }
}

fn refuse() -> Faults {
    Faults { refuses: true, ..Faults::default() }
}

/// Runs cases at the same time.
fn run_all(cases: Vec<(&'static str, Faults)>, run: impl Fn(&'static str, Faults) + Sync) {
    thread::scope(|scope| {
        for (name, faults) in cases {
            let run = &run;
            thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, move || run(name, faults)).unwrap();
        }
    });
}

#[test]
fn link_that_breaks_for_a_moment_makes_nobody_leave() {
    let cases = vec![
        ("cut", Faults::default()),
        ("refuse", refuse()),
        ("stop both ways", stop(&[ToNats, ToNode])),
        ("stop to the node", stop(&[ToNode])),
        ("stop to NATS", stop(&[ToNats])),
        ("delay to the node", delay(ToNode, 300)),
        ("delay to NATS", delay(ToNats, 300)),
        ("refuse rooms", rooms_only(refuse())),
        ("stop rooms to the node", rooms_only(stop(&[ToNode]))),
        ("stop rooms to NATS", rooms_only(stop(&[ToNats]))),
    ];
    run_all(cases, |name, faults| {
        let talk = talk_with_faults(name, faults, |link, _| {
            if name == "cut" {
                link.cut();
            }
            thread::sleep(SHORT);
        });
        let Some(talk) = talk else { return };
        assert!(talk.departures.iter().all(|(_, left)| *left == 0), "{name}: nobody has left: {talk:?}");
    });
}

#[test]
fn link_that_breaks_for_long_is_told_and_all_agree_after_it() {
    let cases = vec![
        ("refuse", refuse()),
        ("stop both ways", stop(&[ToNats, ToNode])),
        ("stop to the node", stop(&[ToNode])),
        ("stop to NATS", stop(&[ToNats])),
        ("refuse rooms", rooms_only(refuse())),
        ("stop rooms to the node", rooms_only(stop(&[ToNode]))),
        ("stop rooms to NATS", rooms_only(stop(&[ToNats]))),
    ];
    run_all(cases, |name, faults| {
        talk_with_faults(name, faults, wait_until_alone);
    });
}

#[test]
fn link_that_delays_for_longer_than_a_server_is_deaf_after_loses_no_count() {
    let cases = vec![
        ("delay to the node", delay(ToNode, 2_500)),
        ("delay to NATS", delay(ToNats, 2_500)),
        ("delay rooms to the node", rooms_only(delay(ToNode, 2_500))),
        ("delay rooms to NATS", rooms_only(delay(ToNats, 2_500))),
    ];
    run_all(cases, |name, faults| {
        talk_with_faults(name, faults, |_, _| thread::sleep(5 * SHORT));
    });
}

#[test]
fn one_order_holds_while_a_link_breaks() {
    let cases = vec![
        ("refuse", refuse()),
        ("stop both ways", stop(&[ToNats, ToNode])),
        ("stop to the node", stop(&[ToNode])),
        ("stop rooms to NATS", rooms_only(stop(&[ToNats]))),
    ];
    run_all(cases, |name, faults| talk_in_one_order(name, faults, wait_until_alone));
    let cases = vec![
        ("cut", Faults::default()),
        ("delay to NATS", delay(ToNats, 2_500)),
        ("delay rooms to the node", rooms_only(delay(ToNode, 2_500))),
    ];
    run_all(cases, |name, faults| {
        talk_in_one_order(name, faults, |link, _| {
            if name == "cut" {
                link.cut();
            }
            thread::sleep(3 * SHORT);
        });
    });
}
