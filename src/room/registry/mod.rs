//! The registry: rooms by name.
//!
//! Rooms are made, found, listed, shut down and removed here. Nothing here delivers a line.

mod pass_progress;

pub(crate) use pass_progress::PassSample;

use crate::config::RoomSettings;
use crate::limits::memory::MemoryBudget;
use crate::metrics::counters::Counters;
use crate::peer::byte_sink::ByteSink;
use crate::peer::events::MembershipSlot;
use crate::peer::{Peer, PeerId};
use crate::room::Room;
use crate::room::inbox::PassDue;
use crate::room::membership::Membership;
use crate::room::operation::{MemberRef, Operation, Requester};
use crate::room::pass_token::pass_token;
use crate::room::remote::{IncomingWhisper, RemoteUpdate, RoomLink, Tap};
use crate::room::roster::{MemberKey, Members};
use crate::text::names::{RoomName, UserName};
use dashmap::DashMap;
use std::hash::RandomState;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use tokio_util::task::TaskTracker;

/// All rooms, in a map of independently locked shards.
///
/// A join, the removal of an empty room and a listing lock a shard; sending and delivering lines lock
/// none. The registry hands out an `Arc<Room>` or copies, and no guard of the map.
#[derive(Debug)]
pub struct Registry {
    /// Room names come from outside: the hash is `SipHash` with a random seed.
    rooms: DashMap<RoomName, Arc<Room>, RandomState>,
    settings: RoomSettings,
    /// The budget of the lines in inboxes and histories.
    memory: Arc<MemoryBudget>,
    /// The number of rooms, for the bound on it. Relaxed: it publishes no other memory. It counts a room before
    /// the map holds it and until the map holds it no longer, so the map never holds more.
    open_rooms: AtomicUsize,
    /// True once the server shuts down: no room opens any more.
    shutting_down: AtomicBool,
    counters: Counters,
    /// Tracks the tasks that run passes.
    tracker: TaskTracker,
    /// The exchange with other servers, set before the first room opens; empty on a server of its own.
    tap: OnceLock<Arc<dyn Tap>>,
    /// The last instance of a room that was given: see [`RoomLink`].
    last_instance: Arc<AtomicU64>,
}

/// Why a join is refused at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinRefused {
    /// The server is shutting down.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The join would open a room more than the setting allows; holds the setting.
    #[error("no more than {0} rooms may be open")]
    TooManyRooms(usize),
}

impl Registry {
    /// Creates a registry without rooms. `tracker` tracks the tasks that run passes: a server that stops
    /// closes it and waits for it.
    #[must_use]
    pub fn new(settings: RoomSettings, tracker: TaskTracker) -> Self {
        Self::with_memory(settings, MemoryBudget::new(u64::MAX), tracker)
    }

    /// Creates a registry, as [`Registry::new`] does, whose rooms charge inboxes and histories to `memory`.
    pub(crate) fn with_memory(settings: RoomSettings, memory: Arc<MemoryBudget>, tracker: TaskTracker) -> Self {
        Self {
            memory,
            rooms: DashMap::with_hasher(RandomState::new()),
            settings,
            open_rooms: AtomicUsize::new(0),
            shutting_down: AtomicBool::new(false),
            counters: Counters::default(),
            tracker,
            tap: OnceLock::new(),
            last_instance: Arc::default(),
        }
    }

    /// Connects the rooms that open from now on with other servers. Only the first call has an effect.
    pub(crate) fn set_tap(&self, tap: Arc<dyn Tap>) {
        let _ = self.tap.set(tap);
    }

    /// Sends changes that come from other servers to a room, if that instance of it is open. Returns the number of lines
    /// that were dropped, since the room's inbox had no capacity for them.
    pub(crate) fn send_update(self: &Arc<Self>, room: RoomName, instance: u64, mut update: RemoteUpdate) -> u64 {
        let Some(room) = self.find(room) else { return 0 };
        let Some(link) = room.link.as_ref().filter(|link| link.instance() == instance) else { return 0 };
        let dropped = link.admit_update(&mut update, room.inbox.batch_capacity());
        self.spawn_pass(room.inbox.send(Operation::Update(Box::new((instance, update)))), &room);
        dropped
    }

    /// Sends a whisper of another server's member to a room. Returns the whisper if the room is not open.
    pub(crate) fn send_incoming_whisper(
        self: &Arc<Self>,
        room: RoomName,
        whisper: IncomingWhisper,
    ) -> Result<(), IncomingWhisper> {
        let Some(room) = self.find(room) else { return Err(whisper) };
        self.spawn_pass(room.inbox.send(Operation::DeliverWhisper(Box::new(whisper))), &room);
        Ok(())
    }

    /// Gives a member the outcome of its whisper to another server, in lines with their line ends.
    pub(crate) fn send_whisper_outcome(self: &Arc<Self>, room: RoomName, requester: Requester, lines: Vec<u8>) {
        if let Some(room) = self.find(room) {
            self.spawn_pass(room.inbox.send(Operation::WhisperOutcome(Box::new((requester, lines)))), &room);
        }
    }

    /// Returns every room that has members, with their number. Locks one shard after the other for
    /// reading, and none once it has returned.
    #[must_use]
    pub fn rooms(&self) -> Vec<(RoomName, usize)> {
        let counts = self.rooms.iter().map(|entry| (*entry.key(), entry.value().roster().len()));
        counts.filter(|(_, members)| *members > 0).collect()
    }

    /// Returns the number of rooms.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Returns true if there is no room.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// Returns the members of a room; `None` if there is no such room. Locks one shard for an instant.
    #[must_use]
    pub(crate) fn members_of(&self, room: &RoomName) -> Option<Arc<Members>> {
        self.rooms.get(room).map(|entry| entry.value().roster().snapshot())
    }

    /// Sends a line, which has its line end, to the members of one room, or of all rooms, in the order of each room's
    /// lines. Returns the number of rooms, and of the members that they had.
    pub(crate) fn announce(self: &Arc<Self>, room: Option<&RoomName>, line: &Arc<[u8]>) -> (usize, usize) {
        let rooms: Vec<Arc<Room>> = match room {
            Some(room) => self.find(*room).into_iter().collect(),
            None => self.all_rooms(),
        };
        let mut members = 0;
        for room in &rooms {
            members += room.roster().len();
            self.spawn_pass(room.inbox.send(Operation::Announce(Arc::clone(line))), room);
        }
        (rooms.len(), members)
    }

    /// Returns the counters that all passes and connections add to.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns the budget of what waits for peers and of the histories.
    pub(crate) fn memory(&self) -> &Arc<MemoryBudget> {
        &self.memory
    }

    /// Returns the tracker of the tasks that run passes.
    #[must_use]
    pub fn tracker(&self) -> &TaskTracker {
        &self.tracker
    }

    /// Sends a join to `room`, which is created if it does not exist. The room's next pass raises
    /// `JOINED`, `NAME_TAKEN` or `ROOM_CLOSED` for the peer, and it raises all events of this membership
    /// in `slot`.
    ///
    /// # Errors
    /// [`JoinRefused::TooManyRooms`] if the room does not exist and no more rooms may be open, and
    /// [`JoinRefused::ShuttingDown`] after [`Registry::request_input_flush`] or [`Registry::shut_down`].
    pub fn join(
        self: &Arc<Self>,
        room: RoomName,
        user: UserName,
        peer: Arc<Peer<dyn ByteSink>>,
        slot: MembershipSlot,
    ) -> Result<Membership, JoinRefused> {
        let key = MemberKey { name: user, disambiguator: self.disambiguator(peer.id()), slot };
        let joiner = Box::new(MemberRef { key, peer: Arc::clone(&peer) });
        let entry = self.rooms.entry(room);
        // Acquire: pairs with the Release in `refuse_joins_and_send`, which stores first and then locks each shard. This
        // load holds the shard's lock, so either that function finds this room or this load finds true.
        if self.shutting_down.load(Ordering::Acquire) {
            return Err(JoinRefused::ShuttingDown);
        }
        let entry = entry.or_try_insert_with(|| self.open_room(room))?;
        let room = Arc::clone(&entry);
        // The join is sent while the shard is locked. An empty room is removed under the same lock, so the
        // room is not removed before its inbox holds this join.
        let due = room.inbox.send(Operation::Join(joiner));
        drop(entry);
        self.spawn_pass(due, &room);
        Ok(Membership::new(Arc::clone(self), room, peer, key))
    }

    /// Returns a new room that is counted.
    pub(super) fn open_room(&self, name: RoomName) -> Result<Arc<Room>, JoinRefused> {
        let max = self.settings.max_rooms;
        let more = |open| (max == 0 || open < max).then_some(open + 1);
        let counted = self.open_rooms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        counted.map_err(|_| JoinRefused::TooManyRooms(max))?;
        let link = self.tap.get().map(|tap| Arc::new(RoomLink::new(Arc::clone(tap), &self.last_instance)));
        Ok(Arc::new(Room::new(name, &self.settings, &self.memory, link)))
    }

    /// Returns all rooms. Locks one shard after the other for reading, and none once it has returned.
    pub(super) fn all_rooms(&self) -> Vec<Arc<Room>> {
        self.rooms.iter().map(|entry| Arc::clone(entry.value())).collect()
    }

    /// Returns the room of a name. Locks one shard for an instant.
    pub(super) fn find(&self, name: RoomName) -> Option<Arc<Room>> {
        self.rooms.get(&name).map(|entry| Arc::clone(entry.value()))
    }

    /// Puts a room that is counted into the map.
    pub(super) fn insert(&self, room: Arc<Room>) {
        self.rooms.insert(room.name(), room);
    }

    /// Returns what distinguishes a peer from others of its name in one room, if several may have one.
    pub(super) fn disambiguator(&self, id: PeerId) -> Option<NonZeroU64> {
        if self.settings.allow_duplicate_names { id.non_zero() } else { None }
    }

    /// Uncounts a room that the map held.
    fn count_removal(&self, removed: bool) {
        if removed {
            self.open_rooms.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Refuses joins from now on, and raises `FLUSH_INPUT` for every member of every room.
    pub fn request_input_flush(self: &Arc<Self>) {
        self.refuse_joins_and_send(|| Operation::FlushInput);
    }

    /// Shuts all rooms down: each sends its members the shutdown notice, raises `SHUTDOWN` and admits no
    /// member any more.
    pub fn shut_down(self: &Arc<Self>) {
        self.refuse_joins_and_send(|| Operation::Shutdown);
    }

    /// Refuses joins from now on, and sends an operation to each room.
    fn refuse_joins_and_send(self: &Arc<Self>, operation: fn() -> Operation) {
        // Release: pairs with the Acquire in `join`.
        self.shutting_down.store(true, Ordering::Release);
        for room in self.all_rooms() {
            let due = room.inbox.send(operation());
            self.spawn_pass(due, &room);
        }
    }

    /// Runs the room's passes if they are due.
    pub(super) fn spawn_pass(self: &Arc<Self>, due: Option<PassDue>, room: &Arc<Room>) {
        if let Some(due) = due {
            pass_token(due, Arc::clone(self), Arc::clone(room)).spawn(&self.tracker);
        }
    }

    /// Removes the room if it has no member and its inbox holds no operation.
    ///
    /// The condition reads the queue and not the count of operations: a pass may have taken an operation
    /// that is not counted yet in place of a counted one. A join is sent under the shard's lock, so the
    /// condition finds it in the queue, or its peer is in the roster, or it is not sent yet.
    pub(super) fn remove_if_empty(&self, room: &Arc<Room>) {
        if room.roster().is_empty() && !room.link.as_ref().is_some_and(|link| link.has_waiting_joins()) {
            let is_empty = |found: &Arc<Room>| Arc::ptr_eq(found, room) && room.inbox.is_empty();
            self.count_removal(self.rooms.remove_if(&room.name(), |_, found| is_empty(found)).is_some());
        }
    }

    /// Removes the room, whatever it holds, unless its name belongs to another room by now.
    pub(super) fn remove(&self, room: &Arc<Room>) {
        self.count_removal(self.rooms.remove_if(&room.name(), |_, found| Arc::ptr_eq(found, room)).is_some());
    }
}

#[cfg(test)]
mod tests;
