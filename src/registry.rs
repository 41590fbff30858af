//! The registry: rooms by name, and what it means to be a member of one.

use crate::counters::Counters;
use crate::inbox::{Due, Inbox, Newcomer, Operation};
use crate::name::{RoomName, UserName};
use crate::outbox::Outlet;
use crate::peer::Peer;
use crate::room::Room;
use crate::roster::Seat;
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
    twins: bool,
    /// Whether the server ends: no room opens any more.
    closing: AtomicBool,
    counters: Counters,
}

/// The server ends: nobody joins any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing;

impl Registry {
    /// No rooms. `inbox_bytes` bounds each room's inbox; `twins` lets names be had twice.
    #[must_use]
    pub fn new(inbox_bytes: usize, twins: bool) -> Self {
        Self {
            rooms: DashMap::with_hasher(RandomState::new()),
            inbox_bytes,
            twins,
            closing: AtomicBool::new(false),
            counters: Counters::default(),
        }
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

    /// Asks for a seat in `room`, which appears if it is not there. The peer is told `ADMITTED`,
    /// `REFUSED` or `CLOSE` by the room's next pass.
    ///
    /// # Errors
    /// [`Closing`], when the server ends.
    pub fn join(
        self: &Arc<Self>,
        room: RoomName,
        user: UserName,
        peer: Arc<Peer<dyn Outlet>>,
    ) -> Result<Membership, Closing> {
        let seat = Seat { name: user, twin: self.twins.then(|| peer.id()) };
        let newcomer = Box::new(Newcomer { seat, peer: Arc::clone(&peer) });
        let entry = self.rooms.entry(room);
        // Read under the shard's lock: `close` sets it first and then locks each shard, so either
        // it finds this room or this finds it set.
        if self.closing.load(Ordering::Acquire) {
            return Err(Closing);
        }
        let entry = entry.or_insert_with(|| Arc::new(Room::new(room, self.inbox_bytes)));
        let room = Arc::clone(&entry);
        // Sent under the shard's lock, under which alone an empty room is removed: the room that
        // was found can't be gone before it knows of this peer.
        let due = room.inbox.send(Operation::Join(newcomer));
        drop(entry);
        let membership = Membership { registry: Arc::clone(self), room, peer, seat };
        membership.run_if(due);
        Ok(membership)
    }

    /// Ends all rooms: each says goodbye and tells its members to close.
    pub fn close(self: &Arc<Self>) {
        self.closing.store(true, Ordering::Release);
        let rooms: Vec<Arc<Room>> = self.rooms.iter().map(|entry| Arc::clone(entry.value())).collect();
        for room in rooms {
            let due = room.inbox.send(Operation::Close);
            run_if(due, self, &room);
        }
    }

    /// Takes the room out of the map if it is empty and nothing but the `taken` operations of the
    /// running pass is in its inbox: nobody can be on the way in.
    fn remove_if_empty(&self, room: &Arc<Room>, taken: usize) {
        if room.roster().is_empty() {
            self.rooms.remove_if(&room.name(), |_, found| {
                Arc::ptr_eq(found, room) && room.inbox.pending() == taken && room.roster().is_empty()
            });
        }
    }
}

/// A seat in a room, asked for or had. Dropping it gives it up: the others see `has left`.
#[derive(Debug)]
pub struct Membership {
    registry: Arc<Registry>,
    room: Arc<Room>,
    peer: Arc<Peer<dyn Outlet>>,
    seat: Seat,
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
        self.seat.name
    }

    /// Hands in `lines` lines, laid out with their line ends, for everybody in the room.
    ///
    /// # Errors
    /// Gives the bytes back when the room's inbox is full; the peer is told `ROOMY` when it is
    /// worth trying again.
    pub fn say(&self, bytes: Box<[u8]>, lines: u32) -> Result<(), Box<[u8]>> {
        match self.inbox().say(bytes, lines) {
            Ok(due) => {
                self.run_if(due);
                Ok(())
            }
            Err(bytes) => {
                // Whatever fills the inbox now is in front of this: when the pass gets here, it
                // has taken all that.
                self.run_if(self.inbox().send(Operation::Notify(Arc::clone(&self.peer))));
                Err(bytes)
            }
        }
    }

    fn inbox(&self) -> &Inbox {
        &self.room.inbox
    }

    fn run_if(&self, due: Option<Due>) {
        run_if(due, &self.registry, &self.room);
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let leaver = Newcomer { seat: self.seat, peer: Arc::clone(&self.peer) };
        self.run_if(self.inbox().send(Operation::Leave(Box::new(leaver))));
    }
}

/// Runs the room's passes, if they are due, in a task that ends when the room is quiet.
fn run_if(due: Option<Due>, registry: &Arc<Registry>, room: &Arc<Room>) {
    if let Some(due) = due {
        tokio::spawn(run(due, Arc::clone(registry), Arc::clone(room)));
    }
}

/// Runs passes until the room is quiet.
async fn run(_due: Due, registry: Arc<Registry>, room: Arc<Room>) {
    // Everything that is readable already is read first, and comes into the same batch.
    yield_now().await;
    loop {
        let taken = room.pass(&registry.counters).await;
        registry.remove_if_empty(&room, taken);
        if !room.inbox.settle(taken) {
            return;
        }
    }
}
