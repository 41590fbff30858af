//! A publisher that reads the frames of two servers and sends them again: cut, changed, late, and where they do not belong.

use crate::common::nats::{NatsServer, Node, Subscription};
use crate::common::{Client, wait_until};

/// The subjects of a room.
const CHANGES: &str = "rc.roomcast.l.lobby.c";
const STATE: &str = "rc.roomcast.l.lobby.s";

/// A frame, and the subject on which it came.
type Captured = (String, Vec<u8>);

/// Returns the frames up to the one that fulfils a condition.
fn capture(subscription: &mut Subscription, is_last: impl Fn(&Captured) -> bool) -> Vec<Captured> {
    let mut captured = Vec::new();
    while !captured.last().is_some_and(&is_last) {
        captured.push(subscription.next());
    }
    captured
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Reads a number as frames hold it: seven bits a byte, the lowest first.
fn read_number(bytes: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        number |= u64::from(byte & 0x7F) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return number;
        }
    }
}

/// Appends a number of less than 16,384.
fn push_number(bytes: &mut Vec<u8>, number: u64) {
    assert!(number < 1 << 14);
    if number >= 0x80 {
        bytes.push(u8::try_from(number & 0x7F).unwrap() | 0x80);
    }
    bytes.push(u8::try_from(if number >= 0x80 { number >> 7 } else { number }).unwrap());
}

/// The beginning of a frame with changes of a room, and the place after them.
struct Stream {
    /// The version, the origin, the kind of the frame, the room and the number of its stream.
    start: Vec<u8>,
    lines: u64,
    changes: u64,
}

impl Stream {
    /// Reads a frame with one line of the room.
    fn read(frame: &[u8]) -> Self {
        let mut rest = &frame[1..];
        let skip_text = |rest: &mut &[u8]| {
            let length = usize::try_from(read_number(rest)).unwrap();
            *rest = &rest[length..];
        };
        skip_text(&mut rest);
        let (_boot, _epoch, kind) = (read_number(&mut rest), read_number(&mut rest), read_number(&mut rest));
        assert_eq!(kind, 0, "a frame with changes");
        skip_text(&mut rest);
        read_number(&mut rest);
        let start = frame[..frame.len() - rest.len()].to_vec();
        let (lines, changes) = (read_number(&mut rest) + 1, read_number(&mut rest));
        Self { start, lines, changes }
    }

    /// Returns a frame with one item, which moves the place not at all, and raw lines.
    fn forge(&self, item: &[u8], raw: &[u8]) -> Vec<u8> {
        let mut frame = self.start.clone();
        push_number(&mut frame, self.lines);
        push_number(&mut frame, self.changes);
        frame.push(1);
        frame.extend_from_slice(item);
        // The sender has shown the item.
        frame.push(1);
        frame.extend_from_slice(raw);
        frame
    }

    /// Returns a frame with one line, which is said to be none, so that the lines that follow are no duplicates.
    fn forge_line(&self, line: &[u8]) -> Vec<u8> {
        let raw = [line, b"\n"].concat();
        let mut item = vec![0];
        push_number(&mut item, raw.len() as u64);
        push_number(&mut item, 0);
        self.forge(&item, &raw)
    }

    /// Returns a frame with the join of a member.
    fn forge_join(&self, name: &[u8]) -> Vec<u8> {
        let mut item = vec![1];
        push_number(&mut item, name.len() as u64);
        item.extend_from_slice(name);
        push_number(&mut item, 5);
        self.forge(&item, b"")
    }
}

/// Asserts that both have the same two members, and that what one says reaches the other one.
fn check_conversation(alice: &mut Client, bob: &mut Client, text: &str) {
    wait_until("both servers know both members", || {
        [&mut *alice, &mut *bob].into_iter().all(|client| {
            client.send("/who\n");
            let mut line = client.read_line();
            while !line.contains(" in lobby: ") {
                assert!(!line.contains('\x1b') && !line.contains("forged"), "{line:?}");
                line = client.read_line();
            }
            line == "*** 2 in lobby: alice, bob"
        })
    });
    bob.send(format!("{text}\n"));
    alice.skip_to_line(&format!("bob: {text}"));
    alice.send(format!("{text}\n"));
    bob.skip_to_line(&format!("alice: {text}"));
}

#[test]
fn frames_that_are_cut_changed_late_or_out_of_place_harm_nobody() {
    let Some(nats) = NatsServer::start() else { return };
    let nodes = Node::start_some(&nats, 2);
    let mut subscription = nats.subscribe("rc.roomcast.>");
    let mut alice = nodes[0].server.join("lobby", "alice");
    let mut bob = nodes[1].server.join("lobby", "bob");
    alice.expect_line("bob has joined");
    // A room is closed and opened on the way, and members have other names for a while.
    bob.send("/nick bert\n/join other\n/nick bob\n/join lobby\nline one\n");
    alice.skip_to_line("bob: line one");
    let is_line = |(_, frame): &Captured| holds(frame, "bob: line one\n");
    let captured = capture(&mut subscription, is_line);
    let malformed = || nodes[0].metric("roomcast_cluster_frames_dropped_total{reason=\"malformed\"}");
    let before = malformed();
    for (subject, frame) in &captured {
        // The whole one is late.
        nats.publish_all((0..=frame.len()).map(|length| (&**subject, &frame[..length])));
    }
    check_conversation(&mut alice, &mut bob, "after frames that were cut");
    for subject in ["rc.roomcast.a", "rc.roomcast.n.n1", "rc.roomcast.n.n2", CHANGES, STATE, "rc.roomcast.l.x.c"] {
        nats.publish_all(captured.iter().filter(|(own, _)| own != subject).map(|(_, frame)| (subject, &**frame)));
    }
    check_conversation(&mut alice, &mut bob, "after frames out of place");
    wait_until("bad frames are counted", || malformed() >= before + 100);
}

#[test]
fn forged_lines_and_names_reach_no_member() {
    let Some(nats) = NatsServer::start() else { return };
    let nodes = Node::start_some(&nats, 2);
    let mut alice = nodes[0].server.join("lobby", "alice");
    let mut bob = nodes[1].server.join("lobby", "bob");
    alice.expect_line("bob has joined");
    let mut subscription = nats.subscribe(CHANGES);
    bob.send("line one\n");
    alice.expect_line("bob: line one");
    let captured = capture(&mut subscription, |(_, frame)| holds(frame, "bob: line one\n"));
    let stream = Stream::read(&captured.last().unwrap().1);
    let rejected = "roomcast_cluster_lines_lost_total{reason=\"rejected\"}";
    let lines: [&[u8]; 9] = [
        b"*** forged: server is shutting down",
        b"alice: forged",
        b"carol: forged",
        b"* alice forged",
        b"forged has joined",
        b"bob: forged \x1b[2J",
        b"bob: forged \xC2\x9B2J",
        b"bob: forged \r*** forged",
        "bob: forged \u{202E}".as_bytes(),
    ];
    nats.publish_all(lines.map(|line| stream.forge_line(line)).iter().map(|frame| (CHANGES, &**frame)));
    for _ in lines {
        alice.expect_line("*** 1 line from node n2 is missing");
    }
    wait_until("forged lines are counted", || nodes[0].metric(rejected) == lines.len() as u64);
    let names: [&[u8]; 6] = [b"\x1b[2J", b"***", b"/forged", b"", b"a name", b"a-name-of-more-than-twenty-bytes"];
    let malformed = || nodes[0].metric("roomcast_cluster_frames_dropped_total{reason=\"malformed\"}");
    let before = malformed();
    nats.publish_all(names.map(|name| stream.forge_join(name)).iter().map(|frame| (CHANGES, &**frame)));
    wait_until("names that no member can have are no frames", || malformed() == before + names.len() as u64);
    // A line that its member can say can't be told from its own, since the permissions of NATS are the border.
    nats.publish(CHANGES, &stream.forge_line(b"bob: possible"));
    alice.expect_line("bob: possible");
    check_conversation(&mut alice, &mut bob, "the end");
}
