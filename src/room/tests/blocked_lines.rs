//! Tests of blocked lines: whose turn it is, what comes after them, and what a pass delivers at most.

use super::*;
use crate::peer::DrainStatus;
use crate::room::batch::{Batch, CarriedState};
use crate::room::operation::{BlockedLines, MemberListing};
use proptest::prelude::*;
use std::collections::VecDeque;

/// Sends lines of a member as blocked lines, whatever the capacity.
fn send_blocked(room: &Room, peer: &Arc<Peer<TextSink>>, text: &str) {
    let block = |bytes: Box<[u8]>, lines| {
        let charge = room.charge_memory(bytes.len());
        let sender = Requester { peer: Arc::clone(peer) as _, slot: MembershipSlot::A };
        BlockedLines { bytes, lines, sender, charge }
    };
    // Lines of another sender are blocked, so the inbox accepts none at once.
    let lines = u32::try_from(text.lines().count()).unwrap();
    let (status, _) = room.inbox.send_lines((text.as_bytes().into(), lines), 0, block);
    assert_eq!(status, SendStatus::Blocked, "{text}");
}

/// Returns a room of these members with a capacity of 100 bytes, which has accepted 74 bytes already.
async fn full_room(members: u64) -> (Room, Vec<Arc<Peer<TextSink>>>) {
    let settings = RoomSettings { inbox_bytes: 100, history_lines: 0, ..RoomSettings::default() };
    let room = Room::new(RoomName::parse("room").unwrap(), &settings, &MemoryBudget::new(u64::MAX), None);
    let peers: Vec<_> = (0..members).map(peer).collect();
    push(&room, peers.iter().map(|peer| Operation::Join(Box::new(joiner(peer)))));
    pass(&room).await;
    for peer in &peers {
        assert_eq!(events_of(peer), PeerEvents::JOINED);
    }
    let filling = format!("u0: {}\n", "f".repeat(69));
    let (status, _) =
        room.inbox.send_lines((filling.into_bytes().into(), 1), 0, |_, _| unreachable!("the inbox is empty"));
    assert_eq!(status, SendStatus::Accepted);
    (room, peers)
}

/// Returns what a peer got after the filling line.
fn after_filling(peer: &Peer<TextSink>) -> String {
    text(peer).rsplit_once("ff\n").unwrap().1.to_owned()
}

#[tokio::test]
async fn short_line_of_a_light_sender_comes_before_the_lines_of_heavy_senders() {
    let (room, peers) = full_room(5).await;
    for heavy in &peers[1..4] {
        send_blocked(&room, heavy, &format!("{}: {}\n", joiner(heavy).key.name, "x".repeat(60)));
    }
    send_blocked(&room, &peers[4], "u4: hi\n");
    assert_eq!(room.memory.used(), 3 * 65 + 7, "blocked lines are charged to the server's memory");
    let metrics = pass(&room).await;
    let seen = after_filling(&peers[0]);
    let order: Vec<_> = seen.lines().map(|line| &line[..2]).collect();
    assert_eq!(order, ["u4", "u1", "u2", "u3"]);
    assert!(text(&peers[0]).contains("ff\nu4: hi\n"), "the light sender's line is in the first batch");
    // Batches of 74 + 7, 65, 65 and 65 bytes.
    assert_eq!((metrics.passes, metrics.lines), (4, 5));
    assert!(peers[1..].iter().all(|peer| events_of(peer) == PeerEvents::INBOX_READY));
    assert_eq!(room.memory.used(), 0);
    assert!(room.inbox.is_empty() && room.inbox.pending() == 0);
}

#[tokio::test]
async fn few_blocked_lines_are_taken_at_once_and_their_sender_goes_on() {
    let (room, peers) = full_room(400).await;
    send_blocked(&room, &peers[1], &format!("u1: {}\n", "x".repeat(30)));
    let counters = Counters::default();
    let mut run = pin!(room.run_passes(&counters));
    let mut poll = || run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll().is_pending());
    assert_eq!(
        (events_of(&peers[1]), counters.read().passes),
        (PeerEvents::INBOX_READY, 0),
        "the first pass still runs"
    );
    let (status, _) =
        room.inbox.send_lines((Box::from(&b"u1: b\n"[..]), 1), 0, |_, _| unreachable!("no lines are blocked"));
    assert_eq!(status, SendStatus::Accepted);
    while poll().is_pending() {}
    assert!(peers.iter().all(|peer| after_filling(peer).ends_with("x\nu1: b\n")));
}

#[tokio::test]
async fn blocked_lines_cost_as_much_as_their_bytes_and_the_operations_after_them() {
    let (room, sender) = (room(), peer(1));
    let mut batch = Batch::new(&room, CarriedState::default());
    let from = Requester { peer: Arc::clone(&sender) as _, slot: MembershipSlot::A };
    let lines =
        BlockedLines { bytes: vec![b'\n'; 5_000].into(), lines: 5_000, sender: from, charge: room.charge_memory(0) };
    batch.apply_or_queue(Operation::SendBlockedLines(Box::new(lines)));
    assert_eq!(batch.blocked_lines_cost(9_000), Some(2), "two operations for 5,000 bytes");
    batch.apply_or_queue(Operation::Leave(Box::new(joiner(&sender))));
    assert_eq!(batch.blocked_lines_cost(9_000), Some(3), "one more for the leave");
    while batch.blocked_lines_cost(9_000).is_some() {
        batch.take_blocked_lines(&room.inbox);
    }
}

/// Lines beyond half of a batch wait, so that the line of a light sender that comes during the pass is before them.
#[tokio::test]
async fn many_blocked_lines_are_chosen_after_the_pass() {
    for (bytes, is_taken_at_once) in [(50, true), (51, false)] {
        let (room, peers) = full_room(400).await;
        send_blocked(&room, &peers[1], &format!("u1: {}\n", "x".repeat(bytes - 5)));
        let counters = Counters::default();
        let mut run = pin!(room.run_passes(&counters));
        let mut poll = || run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(poll().is_pending());
        let ready = events_of(&peers[1]) == PeerEvents::INBOX_READY;
        assert_eq!((ready, counters.read().passes), (is_taken_at_once, 0), "{bytes} of 100 bytes are blocked");
        while poll().is_pending() {}
        assert_eq!(room.inbox.pending(), 0);
    }
}

/// A batch of 74 bytes has capacity for 26 more.
#[tokio::test]
async fn blocked_lines_that_just_fit_are_in_the_first_batch() {
    for (bytes, passes) in [(26, 1), (27, 2)] {
        let (room, peers) = full_room(2).await;
        send_blocked(&room, &peers[1], &format!("u1: {}\n", "x".repeat(bytes - 5)));
        assert_eq!(pass(&room).await.passes, passes, "{bytes} bytes");
    }
}

#[tokio::test]
async fn operations_of_a_blocked_sender_come_after_its_lines_and_those_of_others_do_not() {
    let (room, peers) = full_room(4).await;
    let long = format!("u1: {}\n", "x".repeat(60));
    send_blocked(&room, &peers[1], &long);
    let sender = Requester { peer: Arc::clone(&peers[1]) as _, slot: MembershipSlot::A };
    push(&room, [whisper(sender, "u0"), Operation::ShowMembers(Box::new(joiner(&peers[2])), MemberListing::Who)]);
    push(&room, [rename(&peers[1], "u1", "al"), leave_as(&peers[1], "u1"), leave_as(&peers[1], "al")]);
    push(&room, [Operation::Leave(Box::new(joiner(&peers[3])))]);
    pass(&room).await;
    let seen = after_filling(&peers[0]);
    assert_eq!(seen, format!("u3 has left\n{long}u1 is now known as al\nal has left\n*** u0 whispers: hi\n"));
    assert!(text(&peers[2]).contains("ff\nu3 has left\n*** 3 in room: u0, u1, u2\nu1: x"), "{}", text(&peers[2]));
    let left = PeerEvents::INBOX_READY | PeerEvents::LEFT_ROOM | PeerEvents::RENAMED | PeerEvents::REQUEST_DONE;
    assert_eq!(events_of(&peers[1]), left);
    assert_eq!((room.roster().len(), room.inbox.pending()), (2, 0));
}

#[tokio::test]
async fn shutdown_waits_until_all_blocked_lines_are_said() {
    let (room, peers) = full_room(9).await;
    for sender in &peers[1..] {
        send_blocked(&room, sender, &format!("{}: {}\n", joiner(sender).key.name, "x".repeat(60)));
    }
    push(&room, [Operation::Leave(Box::new(joiner(&peers[8]))), Operation::Shutdown]);
    let counters = Counters::default();
    room.run_passes(&counters).await;
    let seen = after_filling(&peers[0]);
    let order: Vec<_> = seen.lines().map(|line| &line[..2]).collect();
    assert_eq!(order, ["u1", "u2", "u3", "u4", "u5", "u6", "u7", "u8", "u8", "**"], "{seen}");
    assert!(seen.ends_with("u8 has left\n*** server is shutting down\n"));
    assert_eq!(events_of(&peers[8]), PeerEvents::INBOX_READY | PeerEvents::LEFT_ROOM);
    assert_eq!(events_of(&peers[1]), PeerEvents::INBOX_READY | PeerEvents::SHUTDOWN);
    assert!(room.roster().is_empty() && room.inbox.is_empty() && room.inbox.pending() == 0);
}

/// Returns a room with members, three senders of blocked lines among them, and a shutdown after those lines.
async fn room_that_waits_to_shut_down() -> (Room, Vec<Arc<Peer<TextSink>>>) {
    let (room, peers) = full_room(400).await;
    for sender in &peers[1..4] {
        send_blocked(&room, sender, &format!("{}: {}\n", joiner(sender).key.name, "x".repeat(60)));
    }
    push(&room, [Operation::Shutdown]);
    (room, peers)
}

/// Lines that come while the shutdown waits would delay it for ever if the room took them.
#[tokio::test]
async fn lines_sent_after_a_shutdown_that_waits_are_dropped_and_their_sender_is_told() {
    let (room, peers) = room_that_waits_to_shut_down().await;
    let counters = Counters::default();
    let mut run = pin!(room.run_passes(&counters));
    let mut poll = || run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll().is_pending());
    send_blocked(&room, &peers[5], "u5: late\n");
    push(&room, [Operation::Shutdown]);
    while poll().is_pending() {}
    let seen = after_filling(&peers[0]);
    assert!(seen.matches("x\n").count() == 3 && seen.ends_with("x\n*** server is shutting down\n"), "{seen}");
    assert!(!seen.contains("late"), "{seen}");
    assert_eq!(events_of(&peers[5]), PeerEvents::INBOX_READY | PeerEvents::SHUTDOWN);
    assert_eq!((room.inbox.pending(), room.memory.used()), (0, 0));
    let accepted =
        room.inbox.send_lines((Box::from(&b"a\n"[..]), 1), 0, |_, _| unreachable!("no lines are counted any more"));
    assert_eq!(accepted.0, SendStatus::Accepted);
}

#[tokio::test]
async fn lines_of_an_unblocked_sender_are_dropped_after_a_shutdown_that_waits() {
    let (room, peers) = room_that_waits_to_shut_down().await;
    let counters = Counters::default();
    let mut run = pin!(room.run_passes(&counters));
    let mut poll = || run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll().is_pending());
    push(&room, [Operation::SendLines { bytes: Box::from(&b"u5: late\n"[..]), lines: 1, sender: 5 }]);
    while poll().is_pending() {}
    let seen = after_filling(&peers[0]);
    assert!(!seen.contains("late") && seen.ends_with("x\n*** server is shutting down\n"), "{seen}");
    assert!(room.inbox.is_empty() && room.inbox.pending() == 0);
}

/// The blocked lines are counted, and wait in no inbox any more.
#[tokio::test]
async fn operation_that_is_not_counted_yet_is_not_taken_while_lines_are_blocked() {
    let (room, peers) = full_room(400).await;
    for sender in &peers[1..4] {
        send_blocked(&room, sender, &format!("{}: {}\n", joiner(sender).key.name, "x".repeat(60)));
    }
    let counters = Counters::default();
    let mut run = pin!(room.run_passes(&counters));
    let mut poll = || run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll().is_pending());
    room.inbox.send_unmarked(Operation::Leave(Box::new(joiner(&peers[399]))));
    assert!(poll().is_pending());
    assert!(!room.inbox.is_empty(), "the pass takes no more operations than are counted");
    assert!(room.inbox.mark_sent().is_none(), "a pass runs and takes the operation");
    while poll().is_pending() {}
    assert_eq!(text(&peers[0]).matches("u399 has left\n").count(), 1);
    assert!(room.inbox.is_empty() && room.inbox.pending() == 0);
}

/// A sink that keeps the longest write, and what it was charged.
#[derive(Default)]
struct MeasuringSink {
    longest: AtomicUsize,
    charged: AtomicUsize,
}

impl ByteSink for MeasuringSink {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.longest.fetch_max(bytes.len(), Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn charge_membership_change(&self, deliveries: u32) {
        self.charged.fetch_add(deliveries as usize, Ordering::Relaxed);
    }
}

fn measuring_peers(count: u64) -> Vec<Arc<Peer<MeasuringSink>>> {
    let peer = |id| Peer::new(PeerId(id), 1 << 20, SlowReader::Skip, MeasuringSink::default());
    (0..count).map(|id| Arc::new(peer(id))).collect()
}

fn join_all(registry: &Arc<Registry>, peers: &[Arc<Peer<MeasuringSink>>]) -> Vec<Membership> {
    let room = RoomName::parse("room").unwrap();
    let join = |peer: &Arc<Peer<MeasuringSink>>| {
        let user = name(&format!("u{}", peer.id().0));
        registry.join(room, user, Arc::clone(peer) as _, MembershipSlot::A).unwrap()
    };
    peers.iter().map(join).collect()
}

/// Fifty members of a room of 500 send as much as they can.
#[tokio::test]
async fn batch_of_a_flooded_room_is_bounded_by_its_number_of_members() {
    const BYTES: usize = 16 << 10;
    let (registry, peers) = (registry_with(RoomSettings::default()), measuring_peers(500));
    let members = join_all(&registry, &peers);
    registry.tracker().close();
    registry.tracker().wait().await;
    let mut sent = 0;
    for _ in 0..3 {
        for member in &members[..50] {
            sent += 1;
            let _status = member.send_lines(vec![b'\n'; BYTES].into(), 16 << 10);
        }
    }
    registry.tracker().wait().await;
    let longest = peers[499].sink().longest.load(Ordering::Relaxed);
    assert!(longest <= (20 << 20) / 500 && longest > BYTES, "{longest}");
    assert_eq!(registry.counters().read().lines, 500 + sent * (16 << 10), "all lines are delivered");
}

#[tokio::test]
async fn joins_leaves_and_renames_share_the_deliveries_that_they_cause() {
    let (registry, peers) = (registry_with(RoomSettings::default()), measuring_peers(1_000));
    let charged = |peers: &[Arc<Peer<MeasuringSink>>]| -> Vec<usize> {
        peers.iter().map(|peer| peer.sink().charged.swap(0, Ordering::Relaxed)).collect()
    };
    let mut members = join_all(&registry, &peers[..999]);
    registry.tracker().close();
    registry.tracker().wait().await;
    assert!(charged(&peers).iter().take(999).all(|charge| *charge == 1), "999 joins share 999 deliveries");
    members.extend(join_all(&registry, &peers[999..]));
    registry.tracker().wait().await;
    assert_eq!(charged(&peers)[999], 1_000, "a single join pays for all deliveries");
    // Three renames, a leave and a line: each pays, and the line's share is not theirs.
    for (member, name_) in members.iter_mut().zip(["a", "b", "c"]) {
        member.request_rename(name(name_));
    }
    let _status = members[5].send_lines(Box::from(&b"u5: a\n"[..]), 1);
    drop(members.pop());
    registry.tracker().wait().await;
    let shares = charged(&peers);
    assert_eq!((&shares[..4], shares[999], shares[5]), (&[200, 200, 200, 0][..], 200, 0));
    // A rename to a name that is taken causes no delivery to others.
    members[4].request_rename(name("u7"));
    registry.tracker().wait().await;
    assert_eq!(charged(&peers).iter().sum::<usize>(), 0);
}

/// A member of the model: what it has sent, and whether its lines are blocked.
struct Sender {
    peer: Arc<Peer<TextSink>>,
    membership: Option<Membership>,
    sent: usize,
    is_blocked: bool,
    unsent: VecDeque<String>,
}

proptest! {
    /// Members send lines of any length at any moment and leave at any moment, also while their lines are blocked.
    /// Every line that was sent is delivered once, in its sender's order, before the sender's `has left`.
    #[test]
    fn every_line_is_delivered_in_its_senders_order(
        steps in prop::collection::vec((0_usize..6, 0_usize..80, 0_usize..12), 0..120),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let registry = registry_with(RoomSettings { inbox_bytes: 100, ..RoomSettings::default() });
            let witness = peer(100);
            let _stays = join(&registry, &witness, "witness");
            let mut senders: Vec<_> = (0..6).map(|id| {
                let peer = peer(id);
                let membership = Some(join(&registry, &peer, &format!("u{id}")));
                Sender { peer, membership, sent: 0, is_blocked: false, unsent: VecDeque::new() }
            }).collect();
            registry.tracker().close();
            registry.tracker().wait().await;
            for (id, len, action) in steps {
                let sender = &mut senders[id];
                match action {
                    0 => sender.membership = None,
                    1..=3 => yield_now().await,
                    _ => {
                        sender.unsent.push_back(format!("u{id}: {} {}\n", sender.sent, "x".repeat(len)));
                        sender.sent += usize::from(sender.membership.is_some());
                    }
                }
                for sender in &mut senders {
                    sender.is_blocked &= !events_of(&sender.peer).contains(PeerEvents::INBOX_READY);
                    let Some(membership) = &sender.membership else { continue };
                    while !sender.is_blocked && let Some(line) = sender.unsent.pop_front() {
                        sender.is_blocked = membership.send_lines(line.into_bytes().into(), 1) == SendStatus::Blocked;
                    }
                    // The connection keeps what it could not send: a member that leaves loses it.
                }
            }
            let delivered: Vec<_> = senders.iter().map(|sender| sender.sent - match &sender.membership {
                Some(_) => sender.unsent.len(),
                None => 0,
            }).collect();
            for sender in &mut senders {
                sender.membership = None;
            }
            registry.tracker().wait().await;
            let seen = text(&witness);
            for (id, count) in delivered.iter().enumerate() {
                let of_sender: Vec<_> = seen.lines().filter(|line| line.starts_with(&format!("u{id}"))).collect();
                let numbers = of_sender[1..of_sender.len() - 1].iter().map(|line| line.split(' ').nth(1).unwrap());
                let numbers: Vec<usize> = numbers.map(|number| number.parse().unwrap()).collect();
                assert!(numbers.iter().copied().eq(0..numbers.len()), "u{id}: {numbers:?}");
                assert!(senders[id].unsent.is_empty() || numbers.len() <= *count, "u{id}");
                assert_eq!(of_sender.last(), Some(&&*format!("u{id} has left")));
            }
        });
    }
}

/// A sink that takes nothing until it is opened.
#[derive(Default)]
struct GatedSink {
    is_open: std::sync::atomic::AtomicBool,
    text: Mutex<String>,
}

impl ByteSink for GatedSink {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_open.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.text.try_lock().unwrap().push_str(str::from_utf8(bytes).unwrap());
        Ok(bytes.len())
    }
}

/// Without a runtime each line is delivered before its call returns.
#[test]
fn member_that_reads_nothing_loses_the_lines_of_a_flooder_and_no_other() {
    let registry = registry_with(RoomSettings::default());
    let slow = Arc::new(Peer::new(PeerId(9), 1 << 20, SlowReader::Skip, GatedSink::default()));
    let room = RoomName::parse("room").unwrap();
    let _slow = registry.join(room, name("slow"), Arc::clone(&slow) as _, MembershipSlot::A).unwrap();
    let [flooder, light] = [(1, "flooder"), (2, "light")].map(|(id, name)| join(&registry, &peer(id), name));
    let heavy = format!("flooder: {}\n", "x".repeat(10_000));
    let mut expected = Vec::new();
    for number in 0..50 {
        for _ in 0..20 {
            let _status = flooder.send_lines(heavy.as_bytes().into(), 1);
        }
        let line = format!("light: {number}\n");
        let _status = light.send_lines(line.as_bytes().into(), 1);
        expected.push(line.trim_end().to_owned());
        // The connection finds the sink blocked.
        let _ = slow.drain(None, None, &mut MetricsDelta::default());
    }
    slow.sink().is_open.store(true, Ordering::Relaxed);
    while let Some((DrainStatus::Progress(_), _)) = slow.drain(None, None, &mut MetricsDelta::default()) {}
    let seen = slow.sink().text.try_lock().unwrap().clone();
    // The first line of the light sender tells the room that there is one: the flooder's lines before it are not marked.
    let from = seen.find("light: ").unwrap();
    let kept: Vec<_> = seen[from..].lines().filter(|line| line.starts_with("light")).collect();
    assert!(kept.len() >= 49 && expected.ends_with(&kept.iter().map(|&line| line.to_owned()).collect::<Vec<_>>()));
    assert!(seen.len() < 700_000, "the flooder's lines fill half of the backlog: {}", seen.len());
}
