//! Tests of passes: batches, order, joins and leaves, slices. `batches`, `requests` and `shutdown` have tests of their own.

mod announcements;
mod batches;
mod blocked_lines;
mod requests;
mod shutdown;

use super::passes::{DELIVERIES_PER_YIELD, PassHost, REPLY_COST};
use super::*;
use crate::config::SlowReader;
use crate::metrics::counters::{Counters, MetricsDelta};
use crate::peer::Peer;
use crate::peer::PeerId;
use crate::peer::byte_sink::ByteSink;
use crate::peer::events::{MembershipSlot, PeerEvents};
use crate::room::membership::{Membership, SendStatus};
use crate::room::operation::{Addressee, MemberRef, Operation, Requester, Whisper};
use crate::room::registry::Registry;
use crate::room::roster::MemberKey;
use crate::text::names::UserName;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Instant;
use tokio::task::yield_now;
use tokio_util::task::TaskTracker;

/// A sink that takes all bytes and counts the writes.
#[derive(Default)]
struct TextSink(Mutex<(usize, String)>);

impl ByteSink for TextSink {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = self.0.try_lock().unwrap();
        written.0 += 1;
        written.1.push_str(str::from_utf8(bytes).unwrap());
        Ok(bytes.len())
    }
}

/// The host of a room that is in no registry.
impl PassHost for Counters {
    fn counters(&self) -> &Counters {
        self
    }

    fn room_count(&self) -> usize {
        1
    }

    fn rooms(&self) -> Vec<(RoomName, usize)> {
        vec![(RoomName::parse("room").unwrap(), 1)]
    }

    fn on_quiet(&self) {}
}

fn peer(id: u64) -> Arc<Peer<TextSink>> {
    Arc::new(Peer::new(PeerId(id), 1 << 20, SlowReader::Skip, TextSink::default()))
}

fn name(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

fn joiner(peer: &Arc<Peer<TextSink>>) -> MemberRef {
    let name = UserName::parse(&format!("u{}", peer.id().0)).unwrap();
    MemberRef { key: MemberKey { name, disambiguator: None, slot: MembershipSlot::A }, peer: Arc::clone(peer) as _ }
}

fn show_history(peer: &Arc<Peer<TextSink>>, count: u16) -> Operation {
    Operation::ShowHistory { peer: Arc::clone(peer) as _, slot: MembershipSlot::A, count }
}

/// Returns a whisper of u0.
fn whisper(sender: Requester, to: &str) -> Operation {
    let (to, text) = (Addressee::Named(name(to)), "hi".into());
    let charge = MemoryCharge::default();
    Operation::Whisper(Box::new(Whisper { sender, from: name("u0"), to, text, _charge: charge }))
}

fn room_with(history_lines: usize, replay_lines: usize) -> Room {
    let settings = RoomSettings { history_lines, replay_lines, ..RoomSettings::default() };
    Room::new(RoomName::parse("room").unwrap(), &settings, &MemoryBudget::new(u64::MAX), None)
}

fn room() -> Room {
    room_with(100, 0)
}

fn push(room: &Room, operations: impl IntoIterator<Item = Operation>) {
    for operation in operations {
        let _ = room.inbox.send(operation);
    }
}

/// Runs passes until the room is quiet, and returns their work.
async fn pass(room: &Room) -> MetricsDelta {
    let counters = Counters::default();
    if room.inbox.pending() > 0 {
        room.run_passes(&counters).await;
    }
    counters.read()
}

fn events_of(peer: &Peer<TextSink>) -> PeerEvents {
    peer.take_events(&Context::from_waker(Waker::noop()))
}

fn text(peer: &Peer<TextSink>) -> String {
    peer.sink().0.try_lock().unwrap().1.clone()
}

#[tokio::test]
async fn many_joins_in_one_batch_cost_one_copy_and_one_write_each() {
    let (room, peers) = (room(), (0..2_000).map(peer).collect::<Vec<_>>());
    push(&room, peers.iter().map(|peer| Operation::Join(Box::new(joiner(peer)))));
    let metrics = pass(&room).await;
    assert_eq!((metrics.passes, metrics.copies, metrics.joins, metrics.lines), (1, 1, 2_000, 2_000));
    assert_eq!((metrics.writes, metrics.deliveries), (2_000, 2_000 * 2_001 / 2));
    assert!(peers.iter().all(|peer| events_of(peer) == PeerEvents::JOINED));
    assert!(text(&peers[0]).starts_with("u0 has joined\nu1 has joined\n"));
    assert_eq!(text(&peers[1_999]), "u1999 has joined\n", "a joiner gets no line from before its own join");
}

#[tokio::test]
async fn many_leaves_in_one_batch_cost_one_copy_and_one_write_each() {
    let (room, peers) = (room(), (0..1_000).map(peer).collect::<Vec<_>>());
    push(&room, peers.iter().map(|peer| Operation::Join(Box::new(joiner(peer)))));
    pass(&room).await;
    push(&room, peers[1..].iter().map(|peer| Operation::Leave(Box::new(joiner(peer)))));
    let metrics = pass(&room).await;
    assert_eq!((metrics.passes, metrics.copies, metrics.leaves), (1, 1, 999));
    assert_eq!(metrics.entries_copied, 1_000);
    assert!(metrics.writes <= 1_000, "one write a peer, not one a line: {}", metrics.writes);
    assert_eq!(room.roster().len(), 1);
    assert!(text(&peers[0]).ends_with("u998 has left\nu999 has left\n"));
    assert!(text(&peers[1]).ends_with("u999 has joined\n"), "the first leaver gets no leave");
    assert!(text(&peers[3]).ends_with("u1 has left\nu2 has left\n"), "a leaver does not get its own leave");
}

#[tokio::test]
async fn peer_that_joins_and_leaves_in_one_batch_gets_that_part() {
    let (room, stays, visits) = (room(), peer(1), peer(2));
    push(&room, [Operation::Join(Box::new(joiner(&stays)))]);
    pass(&room).await;
    let send = |text: &str| Operation::SendLines { bytes: Box::from(text.as_bytes()), lines: 1, sender: 0 };
    push(&room, [send("u1: a\n"), Operation::Join(Box::new(joiner(&visits))), send("u1: b\n")]);
    push(&room, [Operation::Leave(Box::new(joiner(&visits))), send("u1: c\n")]);
    let metrics = pass(&room).await;
    assert_eq!((metrics.passes, metrics.writes), (1, 2));
    assert_eq!(text(&visits), "u2 has joined\nu1: b\n");
    assert_eq!(events_of(&visits), PeerEvents::JOINED | PeerEvents::LEFT_ROOM);
    assert_eq!(text(&stays), "u1 has joined\nu1: a\nu2 has joined\nu1: b\nu2 has left\nu1: c\n");
}

#[tokio::test]
async fn name_is_given_once_and_only_its_holder_leaves_it() {
    let (room, first, second) = (room(), peer(1), peer(2));
    let mut rival = joiner(&second);
    rival.key.name = UserName::parse("U1").unwrap();
    let leave = Operation::Leave(Box::new(MemberRef { key: rival.key, peer: Arc::clone(&rival.peer) }));
    push(&room, [Operation::Join(Box::new(joiner(&first))), Operation::Join(Box::new(rival)), leave]);
    let metrics = pass(&room).await;
    assert_eq!((metrics.joins, metrics.leaves, room.roster().len()), (1, 0, 1));
    assert_eq!((events_of(&first), events_of(&second)), (PeerEvents::JOINED, PeerEvents::NAME_TAKEN));
    assert_eq!(text(&second), "");
}

/// A refused join must cost less than an admitted one: a peer can ask on and on.
#[tokio::test]
async fn refused_join_copies_no_roster() {
    let (room, first, second) = (room(), peer(1), peer(2));
    push(&room, [Operation::Join(Box::new(joiner(&first)))]);
    pass(&room).await;
    let mut rival = joiner(&second);
    rival.key.name = UserName::parse("u1").unwrap();
    push(&room, [Operation::Join(Box::new(rival))]);
    let metrics = pass(&room).await;
    assert_eq!(events_of(&second), PeerEvents::NAME_TAKEN);
    assert_eq!((metrics.copies, metrics.joins), (0, 0));
}

/// A join, a leave and lines come during a pass: the joiner is admitted before the pass ends, and gets the
/// same lines as the other members.
#[tokio::test]
async fn joiner_during_a_pass_is_admitted_before_its_end() {
    let (room, peers, counters) = (room(), (0..1_000).map(peer).collect::<Vec<_>>(), Counters::default());
    push(&room, peers.iter().map(|peer| Operation::Join(Box::new(joiner(peer)))));
    pass(&room).await;
    let send = |text: &str| Operation::SendLines { bytes: Box::from(text.as_bytes()), lines: 1, sender: 0 };
    let (stays, visits) = (peer(2_000), peer(2_001));
    push(&room, [send("u1: a\n")]);
    let mut run = pin!(room.run_passes(&counters));
    // Each poll runs to the next yield.
    let mut checkpoint = || run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(checkpoint(), Poll::Pending);
    push(&room, [Operation::Join(Box::new(joiner(&stays))), send("u1: b\n")]);
    push(&room, [Operation::Join(Box::new(joiner(&visits)))]);
    assert_eq!(checkpoint(), Poll::Pending);
    assert_eq!((events_of(&stays), events_of(&visits)), (PeerEvents::JOINED, PeerEvents::JOINED));
    assert_eq!(text(&stays), "u2000 has joined\nu1: b\nu2001 has joined\n");
    assert_eq!(text(&visits), "u2001 has joined\n");
    let reached = peers.iter().filter(|peer| text(peer).ends_with("u1: a\n")).count();
    assert!(reached <= 2 * DELIVERIES_PER_YIELD, "the others wait for the earlier line: {reached}");
    push(&room, [send("u1: c\n"), Operation::Leave(Box::new(joiner(&visits))), send("u1: d\n")]);
    assert_eq!(checkpoint(), Poll::Pending);
    assert_eq!(events_of(&visits), PeerEvents::NONE, "a leaver gets its events after its last line");
    while checkpoint().is_pending() {}
    assert_eq!(events_of(&visits), PeerEvents::LEFT_ROOM);
    assert_eq!(text(&visits), "u2001 has joined\nu1: c\n");
    let since = "u2000 has joined\nu1: b\nu2001 has joined\nu1: c\nu2001 has left\nu1: d\n";
    assert_eq!(text(&stays), since);
    assert!(peers.iter().all(|peer| text(peer).ends_with(&format!("u1: a\n{since}"))));
    let metrics = counters.read();
    assert_eq!((metrics.passes, metrics.copies), (2, 1), "one copy for all that came in a pass");
    assert_eq!(metrics.deliveries, 1_000 + 6 * 1_000 + 6 + 2, "lines of the first batch, and six of the second");
}

fn rename(peer: &Arc<Peer<TextSink>>, from: &str, to: &str) -> Operation {
    let key = MemberKey { name: UserName::parse(from).unwrap(), disambiguator: None, slot: MembershipSlot::A };
    Operation::Rename(Box::new(MemberRef { key, peer: Arc::clone(peer) as _ }), Box::new(UserName::parse(to).unwrap()))
}

fn leave_as(peer: &Arc<Peer<TextSink>>, name: &str) -> Operation {
    let key = MemberKey { name: UserName::parse(name).unwrap(), disambiguator: None, slot: MembershipSlot::A };
    Operation::Leave(Box::new(MemberRef { key, peer: Arc::clone(peer) as _ }))
}

#[tokio::test]
async fn rename_to_a_taken_name_is_refused() {
    let (room, first, second) = (room(), peer(1), peer(2));
    push(&room, [&first, &second].map(|peer| Operation::Join(Box::new(joiner(peer)))));
    pass(&room).await;
    let _ = (events_of(&first), events_of(&second));
    push(&room, [rename(&first, "u1", "U2")]);
    pass(&room).await;
    assert_eq!(events_of(&first), PeerEvents::NAME_TAKEN);
    push(&room, [rename(&first, "u1", "al"), rename(&second, "u2", "u1"), rename(&first, "al", "AL")]);
    pass(&room).await;
    assert_eq!((events_of(&first), events_of(&second)), (PeerEvents::RENAMED, PeerEvents::RENAMED));
    let seen = "u1 is now known as al\nu2 is now known as u1\nal is now known as AL\n";
    assert!(text(&first).ends_with(seen) && text(&second).ends_with(seen), "{}", text(&first));
    assert_eq!(room.roster().len(), 2);
}

/// A rename and a leave after it in one batch, then in the reverse order.
#[tokio::test]
async fn leave_after_a_rename_is_applied_once() {
    let (room, first, second) = (room(), peer(1), peer(2));
    push(&room, [&first, &second].map(|peer| Operation::Join(Box::new(joiner(peer)))));
    pass(&room).await;
    let _ = (events_of(&first), events_of(&second));
    // The membership sends a leave for both names, since it can't know which one the room gave it.
    push(&room, [rename(&first, "u1", "al"), leave_as(&first, "u1"), leave_as(&first, "al")]);
    let metrics = pass(&room).await;
    assert_eq!((events_of(&first), metrics.leaves), (PeerEvents::RENAMED | PeerEvents::LEFT_ROOM, 1));
    assert!(text(&first).ends_with("u1 is now known as al\n"));
    assert!(text(&second).ends_with("u1 is now known as al\nal has left\n"));
    push(&room, [leave_as(&second, "u2"), rename(&second, "u2", "x"), leave_as(&second, "x")]);
    pass(&room).await;
    assert_eq!(events_of(&second), PeerEvents::NAME_TAKEN | PeerEvents::LEFT_ROOM);
    assert!(room.roster().is_empty());
}

/// The new name is the old one in other letters, so both leaves match it.
#[tokio::test]
async fn leave_after_a_change_of_case_shows_the_new_letters() {
    let (room, first, second) = (room(), peer(1), peer(2));
    push(&room, [&first, &second].map(|peer| Operation::Join(Box::new(joiner(peer)))));
    push(&room, [rename(&first, "u1", "U1"), leave_as(&first, "u1"), leave_as(&first, "U1")]);
    assert_eq!(pass(&room).await.leaves, 1);
    assert!(text(&second).ends_with("u1 is now known as U1\nU1 has left\n"), "{}", text(&second));
}

#[tokio::test]
async fn joiner_is_shown_the_replay_before_its_own_join() {
    let room = room_with(100, 2);
    let (old, new, late) = (peer(1), peer(2), peer(3));
    let send = |text: &str| Operation::SendLines { bytes: Box::from(text.as_bytes()), lines: 1, sender: 0 };
    push(&room, [Operation::Join(Box::new(joiner(&old))), send("u1: a\n")]);
    pass(&room).await;
    push(&room, [send("u1: b\n"), Operation::Join(Box::new(joiner(&new))), send("u1: c\n")]);
    pass(&room).await;
    assert_eq!(text(&new), "*** u1: a\n*** u1: b\nu2 has joined\nu1: c\n");
    push(&room, [Operation::Join(Box::new(joiner(&late)))]);
    pass(&room).await;
    assert_eq!(text(&late), "*** u2 has joined\n*** u1: c\nu3 has joined\n");
    push(&room, [send("u1: d\n"), show_history(&late, 3)]);
    pass(&room).await;
    assert!(text(&late).ends_with("\nu1: d\n*** u1: c\n*** u3 has joined\n*** u1: d\n"), "{}", text(&late));
}

/// `RENAMED` is raised when the roster has the new name and the member has the line that announces it.
#[tokio::test]
async fn renamed_is_raised_after_the_roster_and_the_line() {
    let (room, peers, counters) = (room(), (0..1_000).map(peer).collect::<Vec<_>>(), Counters::default());
    push(&room, peers.iter().map(|peer| Operation::Join(Box::new(joiner(peer)))));
    pass(&room).await;
    assert!(peers.iter().all(|peer| events_of(peer) == PeerEvents::JOINED));
    push(&room, [Operation::SendLines { bytes: Box::from(&b"u1: a\n"[..]), lines: 1, sender: 0 }]);
    let mut run = pin!(room.run_passes(&counters));
    let mut checkpoint = || run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(checkpoint(), Poll::Pending);
    push(&room, [rename(&peers[0], "u0", "al")]);
    let al = MemberKey { name: UserName::parse("al").unwrap(), disambiguator: None, slot: MembershipSlot::A };
    loop {
        let told = events_of(&peers[0]) == PeerEvents::RENAMED;
        assert!(
            !told || room.roster().snapshot().contains_key(&al),
            "RENAMED is raised before the roster has the name"
        );
        assert!(
            !told || text(&peers[0]).ends_with("u0 is now known as al\n"),
            "RENAMED is raised before the line is delivered"
        );
        if checkpoint().is_ready() {
            break;
        }
    }
    assert_eq!(events_of(&peers[0]), PeerEvents::RENAMED);
}

#[tokio::test]
async fn history_replies_yield_to_other_tasks() {
    let (room, asks) = (room(), peer(1));
    push(&room, [Operation::Join(Box::new(joiner(&asks)))]);
    pass(&room).await;
    push(&room, (0..1_000).map(|_| show_history(&asks, 1)));
    let mut yields = 0;
    tokio::select! {
        biased;
        _ = pass(&room) => {}
        () = async { loop { yields += 1; yield_now().await } } => {}
    }
    assert!(yields >= 1_000 * REPLY_COST / DELIVERIES_PER_YIELD, "{yields}");
    assert_eq!(text(&asks).matches("*** u1 has joined\n").count(), 1_000);
}

#[tokio::test]
async fn joiner_of_an_empty_room_is_shown_no_earlier_line() {
    let room = room_with(100, 2);
    let (old, new) = (peer(1), peer(2));
    push(&room, [Operation::Join(Box::new(joiner(&old))), Operation::Leave(Box::new(joiner(&old)))]);
    pass(&room).await;
    push(&room, [Operation::Join(Box::new(joiner(&new)))]);
    pass(&room).await;
    assert_eq!(text(&new), "u2 has joined\n");
    // One batch has all of it, and a history request after it.
    let (next, last) = (peer(3), peer(4));
    push(&room, [Operation::Leave(Box::new(joiner(&new))), Operation::Join(Box::new(joiner(&next)))]);
    push(&room, [Operation::Leave(Box::new(joiner(&next))), Operation::Join(Box::new(joiner(&last)))]);
    push(&room, [show_history(&last, 9)]);
    pass(&room).await;
    assert_eq!(text(&next), "u3 has joined\n");
    assert_eq!(text(&last), "u4 has joined\n*** u4 has joined\n");
}

#[tokio::test]
async fn history_request_without_history_is_answered() {
    let room = room_with(0, 5);
    let asks = peer(1);
    push(&room, [Operation::Join(Box::new(joiner(&asks))), show_history(&asks, 3)]);
    pass(&room).await;
    assert_eq!(text(&asks), format!("u1 has joined\n{}", crate::text::replies::NO_HISTORY));
}

#[tokio::test]
async fn long_pass_yields_to_other_tasks() {
    let (room, peers) = (room(), (0..1_000).map(peer).collect::<Vec<_>>());
    push(&room, peers.iter().map(|peer| Operation::Join(Box::new(joiner(peer)))));
    pass(&room).await;
    push(&room, [Operation::SendLines { bytes: Box::from(&b"u1: a\n"[..]), lines: 1, sender: 0 }]);
    let mut yields = 0;
    tokio::select! {
        biased;
        metrics = pass(&room) => assert_eq!(metrics.writes, 1_000),
        () = async { loop { yields += 1; yield_now().await } } => {}
    }
    assert_eq!(yields, 1_000 / DELIVERIES_PER_YIELD);
}

/// A sink that sends an operation to its room at each write.
#[derive(Default)]
struct RefillingSink {
    room: OnceLock<Weak<Room>>,
    refills_left: AtomicUsize,
}

impl ByteSink for RefillingSink {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let left = |left: usize| left.checked_sub(1);
        if self.refills_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok()
            && let Some(room) = self.room.get().and_then(Weak::upgrade)
        {
            let _ = room.inbox.send(Operation::SendLines { bytes: Box::from(&b"u1: a\n"[..]), lines: 1, sender: 0 });
        }
        Ok(bytes.len())
    }
}

/// Few members, whose writes refill the inbox: every pass is short, but all of them count.
#[tokio::test]
async fn passes_of_a_refilling_room_yield_on_one_slice() {
    const REFILLS: usize = 10_000;
    for members in [1, 7, 100] {
        let (room, counters) = (Arc::new(room()), Counters::default());
        let sink = RefillingSink { room: OnceLock::new(), refills_left: AtomicUsize::new(0) };
        let refilling = Arc::new(Peer::new(PeerId(0), 1 << 20, SlowReader::Skip, sink));
        refilling.sink().room.set(Arc::downgrade(&room)).unwrap();
        let key = MemberKey { name: UserName::parse("u0").unwrap(), disambiguator: None, slot: MembershipSlot::A };
        push(&room, [Operation::Join(Box::new(MemberRef { key, peer: Arc::clone(&refilling) as _ }))]);
        push(&room, (1..members).map(|id| Operation::Join(Box::new(joiner(&peer(id))))));
        pass(&room).await;
        refilling.sink().refills_left.store(REFILLS, Ordering::Relaxed);
        push(&room, [Operation::SendLines { bytes: Box::from(&b"u1: a\n"[..]), lines: 1, sender: 0 }]);
        let mut run = pin!(room.run_passes(&counters));
        let mut writes = 0;
        while run.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            let now = counters.read().writes;
            assert!(now - writes <= 2 * DELIVERIES_PER_YIELD as u64, "{} writes in one poll", now - writes);
            writes = now;
        }
        let metrics = counters.read();
        assert_eq!(metrics.lines, REFILLS as u64 + 1);
        assert_eq!(metrics.writes, metrics.passes * members, "every member gets every batch");
    }
}

#[tokio::test]
async fn gathering_a_full_inbox_yields() {
    const OPERATIONS: usize = 100_000;
    let (room, member) = (room(), peer(1));
    push(&room, [Operation::Join(Box::new(joiner(&member)))]);
    pass(&room).await;
    push(&room, (0..OPERATIONS).map(|_| Operation::SendLines { bytes: Box::from(&b"a\n"[..]), lines: 1, sender: 0 }));
    let mut yields = 0;
    tokio::select! {
        biased;
        metrics = pass(&room) => assert_eq!((metrics.passes, metrics.writes), (1, 1), "one batch"),
        () = async { loop { yields += 1; yield_now().await } } => {}
    }
    assert!(yields >= OPERATIONS / (16 * DELIVERIES_PER_YIELD), "{yields}");
}

#[tokio::test]
async fn operation_that_is_not_counted_yet_is_delivered_once() {
    let (room, member) = (room(), peer(1));
    push(&room, [Operation::Join(Box::new(joiner(&member)))]);
    pass(&room).await;
    let line = |text: &str| Operation::SendLines { bytes: Box::from(text.as_bytes()), lines: 1, sender: 0 };
    // The first line's sender is preempted before it counts: the pass takes that line for the second.
    room.inbox.send_unmarked(line("u1: a\n"));
    push(&room, [line("u1: b\n")]);
    pass(&room).await;
    assert_eq!(text(&member), "u1 has joined\nu1: a\n");
    assert!(room.inbox.mark_sent().is_some(), "the room is quiet, so the count makes a pass due");
    pass(&room).await;
    assert_eq!(text(&member), "u1 has joined\nu1: a\nu1: b\n");
    assert!(room.inbox.is_empty() && room.inbox.pending() == 0);
    // The same while a pass runs.
    let counters = Counters::default();
    push(&room, (2..400).map(|id| Operation::Join(Box::new(joiner(&peer(id))))));
    let mut run = pin!(room.run_passes(&counters));
    let mut poll = || run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll().is_pending());
    room.inbox.send_unmarked(line("u1: c\n"));
    push(&room, [line("u1: d\n")]);
    assert!(poll().is_pending());
    assert!(!room.inbox.is_empty(), "the pass takes no more operations than are counted");
    assert!(room.inbox.mark_sent().is_none(), "a pass runs and takes the operation");
    while poll().is_pending() {}
    assert!(text(&member).ends_with("u399 has joined\nu1: c\nu1: d\n"));
    assert!(room.inbox.is_empty() && room.inbox.pending() == 0);
}

#[tokio::test]
async fn peer_that_leaves_joins_and_leaves_in_one_batch_gets_each_part_once() {
    let (room, stays, moves) = (room(), peer(1), peer(2));
    push(&room, [&stays, &moves].map(|peer| Operation::Join(Box::new(joiner(peer)))));
    pass(&room).await;
    let before = text(&moves);
    let line = |text: &str| Operation::SendLines { bytes: Box::from(text.as_bytes()), lines: 1, sender: 0 };
    push(&room, [line("u1: a\n"), Operation::Leave(Box::new(joiner(&moves))), line("u1: b\n")]);
    push(&room, [Operation::Join(Box::new(joiner(&moves))), Operation::Leave(Box::new(joiner(&moves)))]);
    pass(&room).await;
    assert_eq!(text(&moves), before + "u1: a\nu2 has joined\n");
    assert_eq!(room.roster().len(), 1);
}

#[tokio::test]
async fn joiner_during_a_pass_gets_its_replay() {
    let (room, counters) = (room_with(100, 2), Counters::default());
    push(&room, (0..1_000).map(|id| Operation::Join(Box::new(joiner(&peer(id))))));
    pass(&room).await;
    let line = |text: &str| Operation::SendLines { bytes: Box::from(text.as_bytes()), lines: 1, sender: 0 };
    push(&room, [line("u1: a\n")]);
    let mut run = pin!(room.run_passes(&counters));
    let mut poll = || run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll().is_pending());
    let new = peer(2_000);
    push(&room, [line("u1: b\n"), Operation::Join(Box::new(joiner(&new)))]);
    assert!(poll().is_pending());
    assert_eq!((events_of(&new), counters.read().passes), (PeerEvents::JOINED, 0), "the pass still runs");
    assert_eq!(text(&new), "*** u1: a\n*** u1: b\nu2000 has joined\n");
    while poll().is_pending() {}
    assert_eq!(text(&new), "*** u1: a\n*** u1: b\nu2000 has joined\n");
}

fn registry_with(settings: RoomSettings) -> Arc<Registry> {
    Arc::new(Registry::new(settings, TaskTracker::new()))
}

fn join(registry: &Arc<Registry>, peer: &Arc<Peer<TextSink>>, name: &str) -> Membership {
    let (room, user) = (RoomName::parse("room").unwrap(), UserName::parse(name).unwrap());
    registry.join(room, user, Arc::clone(peer) as _, MembershipSlot::A).unwrap()
}

#[tokio::test]
async fn room_that_a_peer_joins_during_a_mass_exit_stays_in_the_registry() {
    let (registry, leavers) = (registry_with(RoomSettings::default()), (0..300).map(peer).collect::<Vec<_>>());
    let members: Vec<_> = leavers.iter().map(|peer| join(&registry, peer, &format!("u{}", peer.id().0))).collect();
    registry.tracker().close();
    registry.tracker().wait().await;
    drop(members);
    while !leavers.iter().any(|peer| events_of(peer).contains(PeerEvents::LEFT_ROOM)) {
        yield_now().await;
    }
    assert!(!registry.tracker().is_empty(), "the pass still runs");
    let new = peer(1_000);
    let membership = join(&registry, &new, "new");
    registry.tracker().wait().await;
    assert_eq!((events_of(&new), registry.len()), (PeerEvents::JOINED, 1));
    assert_eq!(registry.rooms(), [(membership.room(), 1)]);
    let again = join(&registry, &peer(1_001), "again");
    registry.tracker().wait().await;
    assert!(text(&new).ends_with("again has joined\n"), "both are in the same room");
    drop((membership, again));
    registry.tracker().wait().await;
    assert!(registry.is_empty());
}

#[tokio::test]
async fn last_lines_of_a_leaver_come_before_its_leave() {
    let registry = registry_with(RoomSettings { inbox_bytes: 10, ..RoomSettings::default() });
    let (stays, leaves) = (peer(1), peer(2));
    let (_old, membership) = (join(&registry, &stays, "u1"), join(&registry, &leaves, "u2"));
    registry.tracker().close();
    registry.tracker().wait().await;
    let statuses = ["u2: first\n", "u2: last\n"].map(|line| membership.send_lines(line.as_bytes().into(), 1));
    assert_eq!(statuses, [SendStatus::Accepted, SendStatus::Blocked]);
    drop(membership);
    registry.tracker().wait().await;
    assert!(text(&stays).ends_with("u2: first\nu2: last\nu2 has left\n"), "{}", text(&stays));
}

/// Returns how often a peer's sink was written to.
fn writes(peer: &Peer<TextSink>) -> usize {
    peer.sink().0.try_lock().unwrap().0
}

#[tokio::test]
async fn batch_without_lines_writes_nothing_but_its_replies() {
    let (room, peers) = (room(), [1, 2, 3].map(peer));
    push(&room, peers.iter().map(|peer| Operation::Join(Box::new(joiner(peer)))));
    pass(&room).await;
    let before = peers.each_ref().map(|peer| writes(peer));
    push(&room, [show_history(&peers[0], 1)]);
    let metrics = pass(&room).await;
    assert_eq!((metrics.lines, metrics.writes), (0, 1));
    assert_eq!(peers.each_ref().map(|peer| writes(peer)), [before[0] + 1, before[1], before[2]]);
}

#[tokio::test]
async fn leaver_of_the_first_line_of_a_batch_gets_no_write() {
    let (room, peers) = (room(), [1, 2].map(peer));
    push(&room, peers.iter().map(|peer| Operation::Join(Box::new(joiner(peer)))));
    pass(&room).await;
    let before = writes(&peers[0]);
    push(&room, [Operation::Leave(Box::new(joiner(&peers[0])))]);
    assert_eq!(pass(&room).await.writes, 1);
    assert_eq!((writes(&peers[0]), events_of(&peers[0])), (before, PeerEvents::JOINED | PeerEvents::LEFT_ROOM));
}

fn last_line(peer: &Peer<TextSink>) -> String {
    text(peer).lines().last().unwrap().to_owned()
}

/// Tokio allocates a second time for the task of a larger future: from 2 KiB on in a build with debug assertions.
#[test]
fn passes_fit_into_the_allocation_of_their_task() {
    let (room, counters) = (room(), Counters::default());
    let size = size_of_val(&room.run_passes(&counters));
    println!("{size} bytes");
    assert!(size <= 2_000, "{size}");
}
