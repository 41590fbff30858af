//! A client that keeps the members of its room from `/who` and the notices after it has the right list at any time.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::telnet::AGREEMENT_WITHOUT_WINDOW;
use common::{Client, TestServer, test_settings, wait_until};
use std::collections::BTreeSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// The number of peers that come and go. With the watchers they are few enough for one `/who` to list all.
const CHURNERS: usize = 20;

/// The number of clients that keep a list; every other one has an input line.
const WATCHERS: usize = 4;

/// The number of times that a peer joins, is renamed and leaves.
const VISITS: usize = 15;

/// A list of members that follows the notices.
#[derive(Default)]
struct MemberList(BTreeSet<String>);

impl MemberList {
    /// Replaces the list by the answer to `/who`.
    fn parse(answer: &str) -> Self {
        let (count, names) = answer.strip_prefix("*** ").unwrap().split_once(" in room: ").unwrap();
        let names: BTreeSet<String> = names.split(", ").map(str::to_owned).collect();
        assert_eq!(names.len(), count.parse::<usize>().unwrap(), "{answer}");
        Self(names)
    }

    /// Follows a line that the room sent. Returns false if the line contradicts the list.
    fn follow(&mut self, line: &str) -> bool {
        if let Some(name) = line.strip_suffix(" has joined") {
            self.0.insert(name.to_owned())
        } else if let Some(name) = line.strip_suffix(" has left") {
            self.0.remove(name)
        } else if let Some((old, new)) = line.split_once(" is now known as ") {
            self.0.remove(old) && self.0.insert(new.to_owned())
        } else {
            true
        }
    }
}

/// Joins as `name`, on a plain socket or with an input line, and asks for the members.
fn join_and_ask(server: &TestServer, name: &str, has_input_line: bool) -> Client {
    let mut client = server.connect();
    if has_input_line {
        client.send([format!("JOIN room {name}\r\n/ui on\r\n").as_bytes(), AGREEMENT_WITHOUT_WINDOW].concat());
        client.read_until_bytes("*** ui is on\r\n");
        client.send("/who\r");
    } else {
        client.send(format!("JOIN room {name}\n/who\n"));
        client.expect_line(&format!("{name} has joined"));
    }
    client
}

/// Reads a line, without what an input line draws before it.
fn read_printed_line(client: &mut Client) -> String {
    let line = client.read_line();
    line.rsplit("\x1B[K").next().unwrap_or_default().to_owned()
}

/// Joins, asks at once, and compares each answer with the list that the notices since the first answer give. Returns the
/// number of answers that were compared.
fn watch(server: &TestServer, watcher: usize, done: &AtomicBool) -> usize {
    let mut compared = 0;
    for visit in 0.. {
        let name = format!("w{watcher}v{visit}");
        let mut client = join_and_ask(server, &name, watcher % 2 == 1);
        let mut list: Option<MemberList> = None;
        let mut answers = 0;
        // Notices before the first answer are in it.
        while answers < 10 {
            let line = read_printed_line(&mut client);
            if !line.starts_with("*** ") {
                let follows = list.as_mut().is_none_or(|list| list.follow(&line));
                assert!(follows, "{line} contradicts the list of {name}");
                continue;
            }
            let answer = MemberList::parse(&line);
            assert!(answer.0.contains(&name), "{line} lacks its asker {name}");
            if let Some(list) = &list {
                assert_eq!(list.0, answer.0, "the list of {name} differs from answer {answers}");
                compared += 1;
            }
            list = Some(answer);
            answers += 1;
            client.send("/who\n");
        }
        client.half_close();
        client.read_to_end_lossy();
        if done.load(Ordering::Relaxed) {
            break;
        }
    }
    compared
}

/// Joins, is renamed and leaves, again and again.
fn come_and_go(server: &TestServer, churner: usize) {
    for visit in 0..VISITS {
        let mut client = server.connect();
        client.send(format!("JOIN room c{churner}v{visit}\n/nick d{churner}v{visit}\n/nick D{churner}v{visit}\n"));
        client.skip_to_line(&format!("d{churner}v{visit} is now known as D{churner}v{visit}"));
        if visit % 3 == 0 { client.reset() } else { drop(client.leave()) }
    }
}

#[test]
fn list_from_who_and_notices_equals_the_roster_at_each_answer() {
    for workers in [1, 2, 4] {
        let server = TestServer::start_with(test_settings(|settings| {
            settings.network.workers = Some(workers);
            (settings.live.rate, settings.live.byte_rate) = (0, 0);
        }));
        let mut keeper = server.join("room", "keeper");
        keeper.send("/who\n");
        let mut list = MemberList::parse(&keeper.read_line());
        let (start, done) = (Barrier::new(CHURNERS + WATCHERS), AtomicBool::new(false));
        thread::scope(|scope| {
            let churners: Vec<_> = (0..CHURNERS)
                .map(|churner| {
                    let (server, start) = (&server, &start);
                    scope.spawn(move || {
                        start.wait();
                        come_and_go(server, churner);
                    })
                })
                .collect();
            let watchers: Vec<_> = (0..WATCHERS)
                .map(|watcher| {
                    let (server, start, done) = (&server, &start, &done);
                    scope.spawn(move || {
                        start.wait();
                        watch(server, watcher, done)
                    })
                })
                .collect();
            for churner in churners {
                churner.join().unwrap();
            }
            done.store(true, Ordering::Relaxed);
            for watcher in watchers {
                assert!(watcher.join().unwrap() >= 9, "answers were compared");
            }
        });
        // The keeper's list has followed every notice of the run.
        let joins = (CHURNERS * VISITS) as u64;
        wait_until("all peers but the keeper have left", || {
            let counters = server.stats.counters();
            counters.joins >= joins && counters.joins == counters.leaves + 1
        });
        keeper.send("/who\n");
        let answer = loop {
            let line = keeper.read_line();
            if line.starts_with("*** ") {
                break MemberList::parse(&line);
            }
            assert!(list.follow(&line), "{line} contradicts the list");
        };
        assert_eq!(list.0, answer.0);
        assert_eq!(answer.0.into_iter().collect::<Vec<_>>(), ["keeper"]);
    }
}

/// Peers join rooms and ask for all rooms at once: each sees its own room with itself in it, and no empty one.
#[test]
fn room_list_has_the_asker_and_no_empty_room() {
    for workers in [1, 2, 4] {
        let server = TestServer::start_with(test_settings(|settings| settings.network.workers = Some(workers)));
        let start = Barrier::new(12);
        thread::scope(|scope| {
            for peer in 0..12 {
                let (server, start) = (&server, &start);
                scope.spawn(move || {
                    start.wait();
                    for visit in 0..20 {
                        let room = format!("r{}", (peer + visit) % 6);
                        let mut client = server.connect();
                        client.send(format!("JOIN {room} p{peer}v{visit}\n/rooms\n"));
                        let (mut seen, mut line) = (BTreeSet::new(), client.read_line());
                        while !line.starts_with("*** ") {
                            if let Some(name) = line.strip_suffix(" has joined") {
                                seen.insert(name.to_owned());
                            } else if let Some(name) = line.strip_suffix(" has left") {
                                seen.remove(name);
                            }
                            line = client.read_line();
                        }
                        assert!(line.ends_with(&format!("; you are in {room}")), "{line}");
                        let count = line.split_once(&format!("{room} (")).unwrap().1.split_once(')').unwrap().0;
                        let own = format!("p{peer}v{visit}");
                        assert!(
                            seen.contains(&own) && count.parse::<usize>().unwrap() >= seen.len(),
                            "{seen:?}: {line}"
                        );
                        assert!(!line.contains("(0)"), "{line}");
                        client.leave();
                    }
                });
            }
        });
    }
}
