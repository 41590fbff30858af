//! A large room and a small one in one design, with senders in the large one.

use crate::models::locks::ShardLocks;
use crate::models::ours::{IN_FLIGHT, InMemoryServer, Member, chat_line, peer, sender, user_name};
use crate::models::sink::{SEND_COST, Sink};
use crate::models::{Model, ours};
use loadtest::clock::{Tick, now};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::available_parallelism;
use std::time::Instant;

/// Members that send lines without pause.
pub(crate) const SENDERS: usize = 2;
/// The large room's name.
const BUSY: &str = "busy";
/// The small room's name. Only the model with a single lock has both rooms under one lock.
const OTHER: &str = "other";
/// Members of the small room.
const FEW: usize = 10;

/// The time in which senders send lines: until [`end`](Self::end) or the last moment.
#[derive(Clone)]
pub(crate) struct LoadPeriod {
    /// Relaxed: the flag orders no other memory.
    ended: Arc<AtomicBool>,
    last: Instant,
}

impl LoadPeriod {
    pub(crate) fn new(last: Instant) -> Self {
        Self { ended: Arc::default(), last }
    }

    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed) || Instant::now() > self.last
    }
}

/// The times of one join, from the call.
pub(crate) struct JoinTimes {
    /// Until the new member is in.
    pub(crate) join: Tick,
    /// Until the new member has its own `has joined`.
    pub(crate) told: Tick,
}

/// A large and a small room in one design.
pub(crate) trait RoomPair: Sync {
    /// The design's name in ids and tables.
    const NAME: &'static str;
    /// A member that has joined for a visit.
    type Guest;

    /// Creates both rooms, with `members` in the large one.
    fn create(members: usize) -> Self;

    /// Sends lines from one of [`SENDERS`] until the period ends.
    fn send_lines(&self, sender: usize, period: LoadPeriod);

    /// Joins a visitor to the large room or the small one.
    fn join(&self, small: bool) -> (Self::Guest, JoinTimes);

    /// Leaves the room. Returns the time that it took.
    fn leave(&self, visitor: Self::Guest) -> Tick;
}

/// Rooms of Roomcast's own registry.
pub(crate) struct RoomcastRooms {
    ours: InMemoryServer,
    /// The number of the next visitor.
    next: AtomicU64,
}

/// A visitor of [`RoomcastRooms`].
pub(crate) struct Visitor {
    member: Member,
    /// The member whose sink receives the `has left`.
    witness: Arc<Member>,
}

/// The text that ends a join: the first such notice in a visitor's sink is its own.
const JOINED: &str = " has joined\n";
/// The text that ends a leave: only visitors leave.
const LEFT: &str = " has left\n";

impl RoomPair for RoomcastRooms {
    const NAME: &'static str = ours::NAME;
    type Guest = Visitor;

    fn create(members: usize) -> Self {
        let mut ours = InMemoryServer::new(available_parallelism().map_or(1, usize::from));
        // The senders come first, then a witness, then members that only receive.
        let sink = |number| match number {
            ..SENDERS => sender(number, SEND_COST),
            SENDERS => Sink::awaiting(SEND_COST, LEFT),
            _ => Sink::new(SEND_COST),
        };
        ours.add_members(BUSY, (0..members).map(sink));
        let sink = |number| if number == 0 { Sink::awaiting(SEND_COST, LEFT) } else { Sink::new(SEND_COST) };
        ours.add_members(OTHER, (0..FEW).map(sink));
        let next = AtomicU64::new(ours.residents.len() as u64);
        Self { ours, next }
    }

    fn send_lines(&self, sender: usize, period: LoadPeriod) {
        let member = Arc::clone(&self.ours.residents[sender]);
        self.ours.run(async move {
            while !period.has_ended() {
                member.send_burst(IN_FLIGHT).await;
            }
        });
    }

    fn join(&self, small: bool) -> (Visitor, JoinTimes) {
        let registry = Arc::clone(self.ours.registry());
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let residents = &self.ours.residents;
        let (room, witness) = if small { (OTHER, residents.len() - FEW) } else { (BUSY, SENDERS) };
        let witness = Arc::clone(&residents[witness]);
        self.ours.run(async move {
            let peer = peer(number, Sink::awaiting(SEND_COST, JOINED));
            let start = now();
            let member = Member::join(&registry, room, peer);
            let took = member.sink().wait_for_text().await - start;
            (Visitor { member, witness }, JoinTimes { join: took, told: took })
        })
    }

    fn leave(&self, visitor: Visitor) -> Tick {
        self.ours.run(async move {
            visitor.witness.sink().reset();
            let start = now();
            drop(visitor.member);
            visitor.witness.sink().wait_for_text().await - start
        })
    }
}

/// Rooms in a design with locks. Each sender has a thread, and the visits have one.
pub(crate) struct LockedRooms<M> {
    model: M,
    next: AtomicU64,
}

impl<M: Model> RoomPair for LockedRooms<M> {
    const NAME: &'static str = M::NAME;
    type Guest = (&'static str, String);

    fn create(members: usize) -> Self {
        assert!(
            !ShardLocks::default().share_a_lock(BUSY, OTHER),
            "the two rooms must have different shards, as most rooms do"
        );
        let model = M::default();
        let rooms = [(BUSY, members), (OTHER, FEW)].into_iter();
        for (number, room) in rooms.flat_map(|(room, members)| std::iter::repeat_n(room, members)).enumerate() {
            model.insert(room, user_name(number as u64), Arc::new(Sink::new(SEND_COST)));
        }
        Self { model, next: AtomicU64::new((members + FEW) as u64) }
    }

    fn send_lines(&self, sender: usize, period: LoadPeriod) {
        let user = user_name(sender as u64);
        while !period.has_ended() {
            self.model.broadcast(BUSY, chat_line(&user).as_bytes());
        }
    }

    fn join(&self, small: bool) -> (Self::Guest, JoinTimes) {
        let room = if small { OTHER } else { BUSY };
        let user = user_name(self.next.fetch_add(1, Ordering::Relaxed));
        let (name, sink) = (user.clone(), Arc::new(Sink::awaiting(SEND_COST, JOINED)));
        let start = now();
        self.model.insert(room, name, Arc::clone(&sink) as _);
        let join = now() - start;
        self.model.broadcast(room, format!("{user}{JOINED}").as_bytes());
        let told = sink.seen_at().unwrap_or_else(|| unreachable!("it is a member")) - start;
        ((room, user), JoinTimes { join, told })
    }

    fn leave(&self, (room, user): Self::Guest) -> Tick {
        let start = now();
        self.model.remove(room, &user);
        let took = now() - start;
        self.model.broadcast(room, format!("{user}{LEFT}").as_bytes());
        took
    }
}
