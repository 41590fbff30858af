use super::*;
use crate::config::SlowReader;
use crate::peer::PeerId;
use crate::peer::events::{MembershipSlot, PeerEvents};
use std::io;
use std::task::{Context, Waker};
use tokio::task::yield_now;

/// Takes everything, or panics.
struct Sink {
    panics: bool,
}

impl ByteSink for Sink {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!self.panics, "as a bug would");
        Ok(bytes.len())
    }
}

fn peer(id: u64, panics: bool) -> Arc<Peer<Sink>> {
    Arc::new(Peer::new(PeerId(id), 1 << 20, SlowReader::Skip, Sink { panics }))
}

fn join(registry: &Arc<Registry>, peer: &Arc<Peer<Sink>>) -> Membership {
    let (room, user) = (RoomName::parse("room").unwrap(), UserName::parse(&format!("u{}", peer.id().0)).unwrap());
    registry.join(room, user, Arc::clone(peer) as _, MembershipSlot::A).unwrap()
}

/// Lets all that is due run: this is the only thread.
async fn settle() {
    for _ in 0..100 {
        yield_now().await;
    }
}

fn events_of(peer: &Peer<Sink>) -> PeerEvents {
    peer.take_events(&Context::from_waker(Waker::noop()))
}

/// A leaver is preempted between sending and counting, and a join gets in between: the pass
/// takes the leave for the join that was counted. The room must not go: somebody is coming.
#[tokio::test]
async fn a_room_stays_while_a_join_is_in_its_queue() {
    let registry = Arc::new(Registry::new(1 << 20, false));
    let (first, second) = (peer(1, false), peer(2, false));
    let old = join(&registry, &first);
    settle().await;
    let leave = MemberRef { key: old.key, peer: Arc::clone(&first) as _ };
    old.inbox().send_unmarked(Operation::Leave(Box::new(leave)));
    let new = join(&registry, &second);
    settle().await;
    assert!(old.room.roster().is_empty(), "the pass took the leave");
    assert_eq!(registry.len(), 1, "and the room stays");
    old.spawn_pass(old.inbox().mark_sent());
    settle().await;
    assert_eq!(events_of(&second), PeerEvents::JOINED);
    assert_eq!((registry.len(), new.room.roster().len()), (1, 1));
    drop(new);
    settle().await;
    assert!(registry.is_empty());
}

/// A room's history is the room's: at most 64 KiB (`history.rs`), and gone with it.
#[tokio::test]
async fn a_room_that_is_gone_keeps_no_memory() {
    let registry = Arc::new(Registry::new(1 << 20, false).with_history(100, 10));
    let first = peer(1, false);
    let member = join(&registry, &first);
    settle().await;
    for _ in 0..100 {
        member.send_lines(vec![b'\n'; 10_000].into(), 10_000).unwrap();
        settle().await;
    }
    let room = Arc::downgrade(&member.room);
    assert!(room.upgrade().is_some());
    drop(member);
    settle().await;
    assert!(room.upgrade().is_none() && registry.is_empty());
}

#[tokio::test]
async fn a_panic_in_a_pass_closes_its_room_and_no_other() {
    let registry = Arc::new(Registry::new(1 << 20, false));
    let (good, bad) = (peer(1, false), peer(2, true));
    let leaver = peer(4, false);
    let (old, left) = (join(&registry, &good), join(&registry, &leaver));
    settle().await;
    assert_eq!(events_of(&leaver), PeerEvents::JOINED);
    // In one batch: whose write panics, and who leaves behind that.
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
