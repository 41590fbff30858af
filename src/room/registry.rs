//! The registry: rooms by name, and what it means to be a member of one.

use crate::metrics::counters::{Counters, MetricsDelta};
use crate::peer::Peer;
use crate::peer::events::PeerEvents;
use crate::peer::output_buffer::ByteSink;
use crate::room::Room;
use crate::room::inbox::{Inbox, MemberRef, Operation, PassToken, Whisper};
use crate::room::roster::{MemberKey, Members, holds_key};
use crate::text::names::{RoomName, UserName};
use dashmap::DashMap;
use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::yield_now;

/// All rooms, in a map of independently locked shards.
///
/// A shard is locked while somebody joins, while an empty room is removed and while rooms are
/// listed; never for a line. What is handed out is an `Arc<Room>`, never a guard.
#[derive(Debug)]
pub struct Registry {
    /// Room names come from outside: the hash is `SipHash` with a random seed.
    rooms: DashMap<RoomName, Arc<Room>, RandomState>,
    /// The bound of a room's inbox, in bytes of lines.
    inbox_bytes: usize,
    /// Whether a name may be had more than once in a room.
    allow_duplicate_names: bool,
    /// Lines that a room remembers.
    history: usize,
    /// Lines of these that a newcomer is shown.
    replay: usize,
    /// Whether the server ends: no room opens any more.
    closing: AtomicBool,
    counters: Counters,
}

/// The server ends: nobody joins any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShuttingDown;

impl Registry {
    /// No rooms. `inbox_bytes` bounds each room's inbox; `allow_duplicate_names` lets names be had twice.
    #[must_use]
    pub fn new(inbox_bytes: usize, allow_duplicate_names: bool) -> Self {
        Self {
            rooms: DashMap::with_hasher(RandomState::new()),
            inbox_bytes,
            allow_duplicate_names,
            history: 0,
            replay: 0,
            closing: AtomicBool::new(false),
            counters: Counters::default(),
        }
    }

    /// Lets each room remember its last `history` lines, and show `replay` of them to newcomers.
    #[must_use]
    pub fn with_history(self, history: usize, replay: usize) -> Self {
        Self { history, replay, ..self }
    }

    /// Every room's name and how many are in it. Locks one shard after the other, for reading.
    pub fn rooms(&self) -> impl Iterator<Item = (RoomName, usize)> {
        self.rooms.iter().map(|entry| (*entry.key(), entry.value().roster().len()))
    }

    /// How many rooms there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Whether there is no room.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// What all passes and connections did so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Asks for a seat in `room`, which appears if it is not there. The peer is told `JOINED`,
    /// `NAME_TAKEN` or `ROOM_CLOSED` by the room's next pass.
    ///
    /// # Errors
    /// [`ShuttingDown`], when the server ends.
    pub fn join(
        self: &Arc<Self>,
        room: RoomName,
        user: UserName,
        peer: Arc<Peer<dyn ByteSink>>,
    ) -> Result<Membership, ShuttingDown> {
        let key = MemberKey {
            name: user,
            disambiguator: if self.allow_duplicate_names { peer.id().non_zero() } else { None },
        };
        let joiner = Box::new(MemberRef { key, peer: Arc::clone(&peer) });
        let entry = self.rooms.entry(room);
        // Read under the shard's lock: `close` sets it first and then locks each shard, so either
        // it finds this room or this finds it set.
        if self.closing.load(Ordering::Acquire) {
            return Err(ShuttingDown);
        }
        let entry = entry.or_insert_with(|| Arc::new(Room::new(room, self.inbox_bytes, self.history, self.replay)));
        let room = Arc::clone(&entry);
        // Sent under the shard's lock, under which alone an empty room is removed: the room that
        // was found can't be gone before it knows of this peer.
        let token = room.inbox.send(Operation::Join(joiner));
        drop(entry);
        let membership = Membership { registry: Arc::clone(self), room, peer, key, pending_name: None };
        membership.spawn_pass(token);
        Ok(membership)
    }

    /// Ends all rooms: each says goodbye and tells its members to close.
    pub fn close(self: &Arc<Self>) {
        self.closing.store(true, Ordering::Release);
        let rooms: Vec<Arc<Room>> = self.rooms.iter().map(|entry| Arc::clone(entry.value())).collect();
        for room in rooms {
            let token = room.inbox.send(Operation::Close);
            spawn_pass(token, self, &room);
        }
    }

    /// Takes the room out of the map if nobody is in it or on the way in.
    ///
    /// Asks the queue and not its count of operations: what a pass took may not be what was
    /// counted. A join is sent under the shard's lock, so there it is either in the queue, or
    /// taken, and its peer in the roster, or not sent at all.
    fn remove_if_empty(&self, room: &Arc<Room>) {
        if room.roster().is_empty() {
            self.rooms.remove_if(&room.name(), |_, found| Arc::ptr_eq(found, room) && room.inbox.is_empty());
        }
    }
}

/// A seat in a room, asked for or had. Dropping it gives it up: the others see `has left`.
#[derive(Debug)]
pub struct Membership {
    registry: Arc<Registry>,
    room: Arc<Room>,
    peer: Arc<Peer<dyn ByteSink>>,
    key: MemberKey,
    /// The name that was asked for, until the room has answered. Boxed: that is seldom.
    pending_name: Option<Box<UserName>>,
}

impl Membership {
    /// The room.
    #[must_use]
    pub fn room(&self) -> RoomName {
        self.room.name()
    }

    /// The name in the room.
    #[must_use]
    pub fn user(&self) -> UserName {
        self.key.name
    }

    /// Hands in `lines` lines, laid out with their line ends, for everybody in the room.
    ///
    /// # Errors
    /// Gives the bytes back when the room's inbox is full; the peer is told `INBOX_READY` when it is
    /// worth trying again.
    pub fn say(&self, bytes: Box<[u8]>, lines: u32) -> Result<(), Box<[u8]>> {
        match self.inbox().say(bytes, lines) {
            Ok(token) => {
                self.spawn_pass(token);
                Ok(())
            }
            Err(bytes) => {
                // Whatever fills the inbox now is in front of this: when the pass gets here, it
                // has taken all that.
                self.spawn_pass(self.inbox().send(Operation::Notify(Arc::clone(&self.peer))));
                Err(bytes)
            }
        }
    }

    /// Asks for another name in the room. The peer is told `RENAMED` or `NAME_TAKEN`; either is to be
    /// noted with [`Membership::resolve_rename`].
    pub(crate) fn rename(&mut self, name: UserName) {
        self.pending_name = Some(Box::new(name));
        let member = MemberRef { key: self.key, peer: Arc::clone(&self.peer) };
        self.spawn_pass(self.inbox().send(Operation::Rename(Box::new(member), Box::new(name))));
    }

    /// Notes what came of [`Membership::rename`]; the name that was asked for.
    pub(crate) fn resolve_rename(&mut self, given: bool) -> Option<UserName> {
        let pending_name = self.pending_name.take().map(|name| *name);
        if let Some(name) = pending_name.filter(|_| given) {
            self.key.name = name;
        }
        pending_name
    }

    /// Asks for `text` to be said to one member alone, behind all that was said before. The peer is
    /// shown what came of it and told `REQUEST_DONE`. False when the room's inbox is full: the peer is
    /// told `INBOX_READY` when it is worth trying again.
    pub(crate) fn whisper(&self, to: UserName, text: &str) -> bool {
        let whisper = Whisper { peer: Arc::clone(&self.peer), from: self.user(), to, text: text.into() };
        let sent = self.inbox().whisper(Box::new(whisper));
        let full = sent.is_err();
        self.spawn_pass(sent.unwrap_or_else(|_| self.inbox().send(Operation::Notify(Arc::clone(&self.peer)))));
        !full
    }

    /// Asks to be shown the room's last `count` lines. The peer is told `REQUEST_DONE`.
    pub(crate) fn recall(&self, count: u16) {
        self.spawn_pass(self.inbox().send(Operation::ShowHistory(Arc::clone(&self.peer), count)));
    }

    /// How many are in the room now, and their names. One that was let in a moment ago may be in no
    /// snapshot yet, but knows that it is here.
    pub(crate) fn who(&self, show: impl FnOnce(usize, &mut dyn Iterator<Item = &UserName>)) {
        let members = self.room.roster().snapshot();
        let own = (!holds_key(&members, &self.key, self.peer.id())).then_some(&self.key.name);
        let total = members.len() + usize::from(own.is_some());
        show(total, &mut own.into_iter().chain(members.keys().map(|key| &key.name)));
    }

    /// Hands in a leaver's last lines, budget or not: each connection has one such parcel.
    pub(crate) fn send_final_lines(&self, bytes: Box<[u8]>, lines: u32) {
        self.spawn_pass(self.inbox().send_final_lines(bytes, lines));
    }

    fn inbox(&self) -> &Inbox {
        &self.room.inbox
    }

    fn spawn_pass(&self, token: Option<PassToken>) {
        spawn_pass(token, &self.registry, &self.room);
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        // One that has asked for another name may have either: only the one it has is given up.
        let pending_name = self.pending_name.as_ref().map(|name| MemberKey { name: **name, ..self.key });
        for key in [Some(self.key), pending_name].into_iter().flatten() {
            let leaver = MemberRef { key, peer: Arc::clone(&self.peer) };
            self.spawn_pass(self.inbox().send(Operation::Leave(Box::new(leaver))));
        }
    }
}

/// Runs the room's passes, if they are due, in a task that ends when the room is quiet.
fn spawn_pass(token: Option<PassToken>, registry: &Arc<Registry>, room: &Arc<Room>) {
    if let Some(token) = token {
        tokio::spawn(run(token, Arc::clone(registry), Arc::clone(room)));
    }
}

/// Runs passes until the room is quiet.
async fn run(_due: PassToken, registry: Arc<Registry>, room: Arc<Room>) {
    let fuse = Fuse { registry: &registry, room: &room };
    // Everything that is readable already is read first, and comes into the same batch.
    yield_now().await;
    room.deliver(&registry.counters, || registry.remove_if_empty(&room)).await;
    std::mem::forget(fuse);
}

/// Blows when a pass does not come to its end: there was a panic in it, or the runtime is gone.
/// Nobody would run the room's next pass; so the room goes, and its members are told to close,
/// rather than that they sit in a mute room for ever.
struct Fuse<'a> {
    registry: &'a Registry,
    room: &'a Arc<Room>,
}

impl Drop for Fuse<'_> {
    fn drop(&mut self) {
        self.registry.rooms.remove_if(&self.room.name(), |_, found| Arc::ptr_eq(found, self.room));
        let mut metrics = MetricsDelta::default();
        for operation in self.room.inbox.take(usize::MAX) {
            if let Operation::Join(blocked_senders) | Operation::Leave(blocked_senders) = operation {
                blocked_senders.peer.raise(PeerEvents::ROOM_FAILED, &mut metrics);
            }
        }
        for peer in self.room.roster().snapshot().values() {
            peer.raise(PeerEvents::ROOM_FAILED, &mut metrics);
        }
        self.room.roster().replace(Members::default());
        self.registry.counters.add(&metrics);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SlowReader;
    use crate::peer::PeerId;
    use std::io;
    use std::task::{Context, Waker};

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
        registry.join(room, user, Arc::clone(peer) as _).unwrap()
    }

    /// Lets all that is due run: this is the only thread.
    async fn complete() {
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
        complete().await;
        let leave = MemberRef { key: old.key, peer: Arc::clone(&first) as _ };
        old.inbox().send_unmarked(Operation::Leave(Box::new(leave)));
        let new = join(&registry, &second);
        complete().await;
        assert!(old.room.roster().is_empty(), "the pass took the leave");
        assert_eq!(registry.len(), 1, "and the room stays");
        old.spawn_pass(old.inbox().count());
        complete().await;
        assert_eq!(events_of(&second), PeerEvents::JOINED);
        assert_eq!((registry.len(), new.room.roster().len()), (1, 1));
        drop(new);
        complete().await;
        assert!(registry.is_empty());
    }

    /// A room's history is the room's: at most 64 KiB (`history.rs`), and gone with it.
    #[tokio::test]
    async fn a_room_that_is_gone_keeps_no_memory() {
        let registry = Arc::new(Registry::new(1 << 20, false).with_history(100, 10));
        let first = peer(1, false);
        let member = join(&registry, &first);
        complete().await;
        for _ in 0..100 {
            member.say(vec![b'\n'; 10_000].into(), 10_000).unwrap();
            complete().await;
        }
        let room = Arc::downgrade(&member.room);
        assert!(room.upgrade().is_some());
        drop(member);
        complete().await;
        assert!(room.upgrade().is_none() && registry.is_empty());
    }

    #[tokio::test]
    async fn a_panic_in_a_pass_closes_its_room_and_no_other() {
        let registry = Arc::new(Registry::new(1 << 20, false));
        let (good, bad) = (peer(1, false), peer(2, true));
        let leaver = peer(4, false);
        let (old, left) = (join(&registry, &good), join(&registry, &leaver));
        complete().await;
        assert_eq!(events_of(&leaver), PeerEvents::JOINED);
        // In one batch: whose write panics, and who leaves behind that.
        let broken = join(&registry, &bad);
        drop(left);
        complete().await;
        assert!(registry.is_empty());
        for peer in [&good, &bad, &leaver] {
            assert!(events_of(peer).contains(PeerEvents::ROOM_FAILED), "{:?}", peer.id());
        }
        let third = peer(3, false);
        let new = join(&registry, &third);
        complete().await;
        assert_eq!((events_of(&third), registry.len()), (PeerEvents::JOINED, 1), "the name opens a new room");
        drop((old, broken));
        complete().await;
        assert_eq!(new.room.roster().len(), 1);
    }
}
