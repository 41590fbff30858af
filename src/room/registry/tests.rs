use super::*;
use crate::config::SlowReader;
use crate::limits::memory::MemoryCharge;
use crate::peer::PeerId;
use crate::peer::events::{MembershipSlot, PeerEvents};
use crate::room::membership::SendStatus;
use crate::room::operation::{BlockedLines, Requester};
use std::io;
use std::task::{Context, Waker};
use tokio::task::yield_now;

/// A sink that takes all bytes, or panics.
struct Sink {
    panics: bool,
}

impl ByteSink for Sink {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!self.panics, "this sink panics at each write");
        Ok(bytes.len())
    }
}

fn peer(id: u64, panics: bool) -> Arc<Peer<Sink>> {
    Arc::new(Peer::new(PeerId(id), 1 << 20, SlowReader::Skip, Sink { panics }))
}

fn registry_with(settings: RoomSettings) -> Arc<Registry> {
    Arc::new(Registry::new(settings, TaskTracker::new()))
}

fn join(registry: &Arc<Registry>, peer: &Arc<Peer<Sink>>) -> Membership {
    let (room, user) = (RoomName::parse("room").unwrap(), UserName::parse(&format!("u{}", peer.id().0)).unwrap());
    registry.join(room, user, Arc::clone(peer) as _, MembershipSlot::A).unwrap()
}

/// Yields until all due passes have run: they are tasks of this thread.
async fn settle() {
    for _ in 0..100 {
        yield_now().await;
    }
}

fn events_of(peer: &Peer<Sink>) -> PeerEvents {
    peer.take_events(&Context::from_waker(Waker::noop()))
}

/// A leaver is preempted between sending and counting, and a join is sent in between: the pass takes the
/// leave for the join that was counted. The registry keeps the room for the join.
#[tokio::test]
async fn room_with_a_join_in_its_queue_stays_in_the_registry() {
    let registry = registry_with(RoomSettings::default());
    let (first, second) = (peer(1, false), peer(2, false));
    let old = join(&registry, &first);
    settle().await;
    let leave = MemberRef { key: old.key, peer: Arc::clone(&first) as _ };
    old.inbox().send_unmarked(Operation::Leave(Box::new(leave)));
    let new = join(&registry, &second);
    settle().await;
    assert!(old.room.roster().is_empty(), "the pass took the leave");
    assert_eq!(registry.len(), 1, "the registry keeps the room");
    old.spawn_pass(old.inbox().mark_sent());
    settle().await;
    assert_eq!(events_of(&second), PeerEvents::JOINED);
    assert_eq!((registry.len(), new.room.roster().len()), (1, 1));
    drop(new);
    settle().await;
    assert!(registry.is_empty());
}

/// The history is part of the room, and is freed with it.
#[tokio::test]
async fn removed_room_keeps_no_memory() {
    let registry = registry_with(RoomSettings { replay_lines: 10, ..RoomSettings::default() });
    let first = peer(1, false);
    let member = join(&registry, &first);
    settle().await;
    for _ in 0..100 {
        assert_eq!(member.send_lines(vec![b'\n'; 10_000].into(), 10_000), SendStatus::Accepted);
        settle().await;
    }
    let room = Arc::downgrade(&member.room);
    assert!(room.upgrade().is_some());
    drop(member);
    settle().await;
    assert!(room.upgrade().is_none() && registry.is_empty());
}

#[tokio::test]
async fn panic_in_a_pass_closes_its_room_and_no_other() {
    let registry = registry_with(RoomSettings::default());
    let (good, bad) = (peer(1, false), peer(2, true));
    let leaver = peer(4, false);
    let (old, left) = (join(&registry, &good), join(&registry, &leaver));
    settle().await;
    assert_eq!(events_of(&leaver), PeerEvents::JOINED);
    // One batch has the join of the peer whose sink panics, and a leave after it.
    let broken = join(&registry, &bad);
    drop(left);
    settle().await;
    assert!(registry.is_empty());
    for peer in [&good, &bad, &leaver] {
        assert!(events_of(peer).contains(PeerEvents::ROOM_FAILED), "{:?}", peer.id());
    }
    let third = peer(3, false);
    let new = join(&registry, &third);
    settle().await;
    assert_eq!((events_of(&third), registry.len()), (PeerEvents::JOINED, 1), "the name opens a new room");
    drop((old, broken));
    settle().await;
    assert_eq!(new.room.roster().len(), 1);
}

/// A pass panics while lines wait for their turn, with the leave of their sender after them.
#[tokio::test]
async fn panic_in_a_pass_reaches_senders_whose_lines_are_blocked() {
    let memory = MemoryBudget::new(u64::MAX);
    let settings = RoomSettings { inbox_bytes: 100, history_lines: 0, ..RoomSettings::default() };
    let registry = Arc::new(Registry::with_memory(settings, Arc::clone(&memory), TaskTracker::new()));
    let (good, leaver, bad) = (peer(1, false), peer(2, false), peer(3, true));
    let (old, left) = (join(&registry, &good), join(&registry, &leaver));
    settle().await;
    assert_eq!(events_of(&leaver), PeerEvents::JOINED);
    let lines = || vec![b'\n'; 90].into_boxed_slice();
    let statuses = [old.send_lines(lines(), 90), left.send_lines(lines(), 90), old.send_lines(lines(), 90)];
    assert_eq!(statuses, [SendStatus::Accepted, SendStatus::Blocked, SendStatus::Blocked]);
    let broken = join(&registry, &bad);
    drop(left);
    settle().await;
    assert!(registry.is_empty());
    for peer in [&good, &leaver, &bad] {
        assert!(events_of(peer).contains(PeerEvents::ROOM_FAILED), "{:?}", peer.id());
    }
    drop((old, broken));
    settle().await;
    assert_eq!(memory.used(), 0, "the memory of lost lines is released");
}

/// The pass takes one operation, since the others are not counted yet. The peers are in no roster.
#[tokio::test]
async fn panic_in_a_pass_reaches_peers_whose_operations_wait_in_the_inbox() {
    let registry = registry_with(RoomSettings::default());
    let (good, bad) = (peer(1, false), peer(2, true));
    let peers = [3, 4, 5].map(|id| peer(id, false));
    let old = join(&registry, &good);
    settle().await;
    let _broken = join(&registry, &bad);
    let [joins, leaves, sends] = peers.each_ref().map(|peer| MemberRef { key: old.key, peer: Arc::clone(peer) as _ });
    let sender = Requester { peer: sends.peer, slot: MembershipSlot::B };
    let lines = BlockedLines { bytes: Box::from(&b"a\n"[..]), lines: 1, sender, charge: MemoryCharge::default() };
    let waiting = [Operation::Join(Box::new(joins)), Operation::Leave(Box::new(leaves))];
    for operation in waiting.into_iter().chain([Operation::SendBlockedLines(Box::new(lines))]) {
        old.inbox().send_unmarked(operation);
    }
    settle().await;
    let failed = PeerEvents::ROOM_FAILED;
    assert_eq!(peers.each_ref().map(|peer| events_of(peer)), [failed, failed, failed.in_slot(MembershipSlot::B)]);
}

#[test]
fn membership_dropped_outside_a_runtime_leaves_its_room() {
    let registry = registry_with(RoomSettings::default());
    let (stays, leaves) = (peer(1, false), peer(2, false));
    let old = join(&registry, &stays);
    let membership = join(&registry, &leaves);
    assert_eq!(old.room.roster().len(), 2, "without a runtime the caller runs the passes");
    drop(membership);
    assert_eq!(old.room.roster().len(), 1);
    assert_eq!(events_of(&leaves), PeerEvents::JOINED | PeerEvents::LEFT_ROOM);
    drop(old);
    assert!(registry.is_empty());
}

#[test]
fn passes_of_a_runtime_that_shuts_down_are_run_to_their_end() {
    let registry = registry_with(RoomSettings::default());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let context = runtime.enter();
    let joined = peer(1, false);
    let membership = join(&registry, &joined);
    assert_eq!(events_of(&joined), PeerEvents::NONE, "the task is not polled yet");
    drop(context);
    drop(runtime);
    assert_eq!(events_of(&joined), PeerEvents::JOINED);
    assert!(registry.tracker().is_empty());
    drop(membership);
    assert!(registry.is_empty());
}

#[tokio::test]
async fn tracker_waits_for_passes() {
    let registry = registry_with(RoomSettings::default());
    let joined = peer(1, false);
    let _membership = join(&registry, &joined);
    registry.tracker().close();
    registry.tracker().wait().await;
    assert_eq!(events_of(&joined), PeerEvents::JOINED);
}

#[test]
fn listing_rooms_locks_nothing_while_its_caller_joins() {
    let registry = registry_with(RoomSettings::default());
    let user = UserName::parse("al").unwrap();
    let join = |room: RoomName, id| registry.join(room, user, peer(id, false), MembershipSlot::A).unwrap();
    let mut memberships: Vec<_> = (0..50).map(|id| join(RoomName::parse(&format!("r{id}")).unwrap(), id)).collect();
    for (room, members) in registry.rooms() {
        assert_eq!(members, 1);
        memberships.push(join(room, 100));
    }
    assert_eq!((memberships.len(), registry.len()), (100, 50));
}

/// A connection that moves: the events of its old room are in the old slot, those of the new room in the
/// new slot.
#[test]
fn rooms_raise_events_in_the_slot_of_the_membership() {
    let registry = registry_with(RoomSettings::default());
    let (moves, user) = (peer(1, false), UserName::parse("al").unwrap());
    let join =
        |room: &str, slot| registry.join(RoomName::parse(room).unwrap(), user, Arc::clone(&moves) as _, slot).unwrap();
    let mut old = join("old", MembershipSlot::A);
    let new = join("new", MembershipSlot::B);
    old.request_rename(UserName::parse("alan").unwrap());
    let events = events_of(&moves);
    assert_eq!(events.of_slot(MembershipSlot::A), PeerEvents::JOINED | PeerEvents::RENAMED);
    assert_eq!(events.of_slot(MembershipSlot::B), PeerEvents::JOINED);
    new.request_history(1);
    drop(old);
    let events = events_of(&moves);
    assert_eq!(events.of_slot(MembershipSlot::A), PeerEvents::LEFT_ROOM);
    assert_eq!(events.of_slot(MembershipSlot::B), PeerEvents::REQUEST_DONE);
    registry.shut_down();
    let events = events_of(&moves);
    assert_eq!(events.of_slot(MembershipSlot::A), PeerEvents::NONE);
    assert_eq!(events.of_slot(MembershipSlot::B), PeerEvents::SHUTDOWN);
}

/// The name that the room gave is not known to the membership when it is dropped.
#[tokio::test]
async fn membership_dropped_with_a_rename_pending_leaves_under_either_name() {
    for name in ["al", "u2"] {
        let registry = registry_with(RoomSettings::default());
        let (first, second) = (peer(1, false), peer(2, false));
        let (mut renamed, other) = (join(&registry, &first), join(&registry, &second));
        settle().await;
        assert_eq!(events_of(&first), PeerEvents::JOINED);
        renamed.request_rename(UserName::parse(name).unwrap());
        settle().await;
        let expected = if name == "al" { PeerEvents::RENAMED } else { PeerEvents::NAME_TAKEN };
        assert_eq!(events_of(&first), expected);
        let room = Arc::clone(&renamed.room);
        drop(renamed);
        settle().await;
        assert_eq!(room.roster().len(), 1, "the rename to {name}");
        assert_eq!(events_of(&first), PeerEvents::LEFT_ROOM);
        drop(other);
        settle().await;
        assert!(room.roster().is_empty() && registry.is_empty(), "the rename to {name}");
    }
}

#[test]
fn panic_in_a_pass_without_a_runtime_closes_its_room() {
    let registry = registry_with(RoomSettings::default());
    let (good, bad) = (peer(1, false), peer(2, true));
    let old = join(&registry, &good);
    let broken = join(&registry, &bad);
    assert!(registry.is_empty() && old.room.roster().is_empty());
    assert_eq!(events_of(&good), PeerEvents::JOINED | PeerEvents::ROOM_FAILED);
    assert!(events_of(&bad).contains(PeerEvents::ROOM_FAILED));
    drop((old, broken));
    assert!(registry.is_empty());
}

/// The pass has delivered to some members when its task is dropped, and delivers to the others in the drop.
#[test]
fn pass_that_is_dropped_between_two_slices_goes_on_where_it_was() {
    let registry = registry_with(RoomSettings::default());
    let peers: Vec<_> = (0..400).map(|id| peer(id, false)).collect();
    let members: Vec<_> = peers.iter().map(|peer| join(&registry, peer)).collect();
    let before = registry.counters().read();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        assert_eq!(members[0].send_lines(Box::from(&b"u0: a\n"[..]), 1), SendStatus::Accepted);
        for _ in 0..2 {
            yield_now().await;
        }
        assert!(!registry.tracker().is_empty(), "the pass still runs");
    });
    drop(runtime);
    let after = registry.counters().read();
    assert_eq!((after.passes - before.passes, after.writes - before.writes), (1, 400));
    drop(members);
    assert!(registry.is_empty());
}

/// A pass through 400 members takes several slices, and each of them shows that it goes on.
#[tokio::test]
async fn pass_that_goes_on_is_no_stall() {
    let registry = registry_with(RoomSettings::default());
    let peers: Vec<_> = (0..400).map(|id| peer(id, false)).collect();
    let members: Vec<_> = peers.iter().map(|peer| join(&registry, peer)).collect();
    settle().await;
    assert!(registry.due_passes().is_empty(), "a quiet room");
    assert_eq!(members[0].send_lines(Box::from(&b"u0: a\n"[..]), 1), SendStatus::Accepted);
    let mut samples = 0;
    while let [sample] = &registry.due_passes()[..] {
        samples += 1;
        assert_eq!(registry.find_stall(sample), Some(members[0].room.name()), "nothing ran since the sample");
        // The pass waits for the runtime once before its first slice.
        for _ in 0..2 {
            yield_now().await;
        }
        assert_eq!(registry.find_stall(sample), None);
    }
    assert!(samples > 1, "the pass took one slice");
}

#[tokio::test]
async fn room_beyond_the_limit_is_refused_until_another_room_is_removed() {
    let registry = registry_with(RoomSettings { max_rooms: 2, ..RoomSettings::default() });
    assert!(registry.is_empty());
    let member = peer(1, false);
    let join_room = |room: &str| {
        let (room, user) = (RoomName::parse(room).unwrap(), UserName::parse("alice").unwrap());
        registry.join(room, user, Arc::clone(&member) as _, MembershipSlot::A)
    };
    let (first, _second) = (join_room("first").unwrap(), join_room("second").unwrap());
    assert!(!registry.is_empty());
    assert_eq!(join_room("third").unwrap_err(), JoinRefused::TooManyRooms(2));
    settle().await;
    drop(first);
    settle().await;
    assert_eq!(registry.len(), 1, "the first room is removed");
    let _third = join_room("third").unwrap();
    assert_eq!(join_room("fourth").unwrap_err(), JoinRefused::TooManyRooms(2));
}

#[tokio::test]
async fn only_rooms_with_members_are_listed() {
    let registry = registry_with(RoomSettings::default());
    let member = join(&registry, &peer(1, false));
    assert_eq!((registry.len(), registry.rooms()), (1, vec![]), "the join is not applied yet");
    settle().await;
    assert_eq!(registry.rooms(), [(member.room(), 1)]);
    assert_eq!((member.member_count(), member.room_count()), (1, 1));
    let second = join(&registry, &peer(2, false));
    settle().await;
    let mut seen = Vec::new();
    member.visit_members(|count, names| {
        seen.extend(names.copied());
        seen.sort_by_key(ToString::to_string);
        assert_eq!(count, 2);
    });
    assert_eq!(seen, [member.user(), second.user()]);
    assert_eq!((member.member_count(), member.room_count()), (2, 1));
}

#[tokio::test]
async fn flush_of_the_input_is_raised_for_every_member_and_joins_are_refused() {
    let registry = registry_with(RoomSettings::default());
    let (first, second) = (peer(1, false), peer(2, false));
    let _members = (join(&registry, &first), join(&registry, &second));
    settle().await;
    let _ = (events_of(&first), events_of(&second));
    registry.request_input_flush();
    settle().await;
    assert_eq!([events_of(&first), events_of(&second)], [PeerEvents::FLUSH_INPUT; 2]);
    let (room, user) = (RoomName::parse("room").unwrap(), UserName::parse("late").unwrap());
    assert!(registry.join(room, user, peer(3, false) as _, MembershipSlot::A).is_err());
}

#[tokio::test]
async fn membership_returns_its_slot_and_counts_the_rooms_of_the_server() {
    let registry = registry_with(RoomSettings::default());
    let member = peer(1, false);
    let first = join(&registry, &member);
    let (room, user) = (RoomName::parse("other").unwrap(), UserName::parse("u1").unwrap());
    let second = registry.join(room, user, Arc::clone(&member) as _, MembershipSlot::B).unwrap();
    assert_eq!([first.slot(), second.slot()], [MembershipSlot::A, MembershipSlot::B]);
    assert_eq!([first.room_count(), second.room_count()], [2, 2]);
}

#[tokio::test]
async fn announcement_reaches_the_members_of_one_room_or_of_all() {
    let registry = registry_with(RoomSettings::default());
    let line: Arc<[u8]> = b"*** hi\n"[..].into();
    assert_eq!(registry.announce(None, &line), (0, 0));
    let (one, other) = (peer(1, false), peer(2, false));
    let first = join(&registry, &one);
    let name = UserName::parse("u2").unwrap();
    let other_room = RoomName::parse("other").unwrap();
    let second = registry.join(other_room, name, Arc::clone(&other) as _, MembershipSlot::A).unwrap();
    settle().await;
    assert_eq!(registry.announce(Some(&other_room), &line), (1, 1));
    assert_eq!(registry.announce(Some(&RoomName::parse("nowhere").unwrap()), &line), (0, 0));
    assert_eq!(registry.announce(None, &line), (2, 2));
    settle().await;
    // Two joins and three deliveries of an announcement.
    assert_eq!(registry.counters().read().deliveries, 5);
    assert_eq!(registry.members_of(&other_room).map(|members| members.len()), Some(1));
    drop((first, second));
    settle().await;
    assert!(registry.is_empty() && registry.members_of(&other_room).is_none());
}
