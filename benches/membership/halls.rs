//! A hall: a big room and a small one, in some design, with speakers in the big one.

use crate::models::locks::ShardLocks;
use crate::models::ours::{IN_FLIGHT, Member, Ours, line, peer, speaker, user};
use crate::models::sink::{SEND, Sink};
use crate::models::{Model, ours};
use loadtest::clock::{Tick, now};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::available_parallelism;
use std::time::Instant;

/// Members that talk without pause.
pub(crate) const SPEAKERS: usize = 2;
/// The big room.
const BUSY: &str = "busy";
/// The small one; no model has both behind one lock but the one that has only one.
const OTHER: &str = "other";
/// Members of the small room.
const FEW: usize = 10;

/// The time in which speakers speak: until it is told to end, or its last moment.
#[derive(Clone)]
pub(crate) struct Shift {
    /// Relaxed: it orders nothing.
    ended: Arc<AtomicBool>,
    last: Instant,
}

impl Shift {
    pub(crate) fn new(last: Instant) -> Self {
        Self { ended: Arc::default(), last }
    }

    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.ended.load(Ordering::Relaxed) || Instant::now() > self.last
    }
}

/// How long it took to come in, from the call.
pub(crate) struct Joined {
    /// Until the newcomer is in.
    pub(crate) join: Tick,
    /// Until it has its own `has joined`.
    pub(crate) told: Tick,
}

/// A hall in some design.
pub(crate) trait Hall: Sync {
    /// The design.
    const NAME: &'static str;
    /// Who came and has not gone.
    type Guest;

    /// With so many members in the big room.
    fn gather(members: usize) -> Self;

    /// Lets one of [`SPEAKERS`] speak through a shift.
    fn speak(&self, speaker: usize, shift: Shift);

    /// Lets a guest into the big room, or the small one.
    fn join(&self, small: bool) -> (Self::Guest, Joined);

    /// Lets it go; how long it took.
    fn leave(&self, guest: Self::Guest) -> Tick;
}

/// Ours.
pub(crate) struct OurHall {
    ours: Ours,
    /// The number of the next guest.
    next: AtomicU64,
}

/// A guest of [`OurHall`].
pub(crate) struct Visitor {
    member: Member,
    /// Who is to see it leave.
    witness: Arc<Member>,
}

/// What guests wait for: the first such notice that one gets is its own.
const JOINED: &str = " has joined\n";
/// What witnesses wait for: nobody leaves but guests.
const LEFT: &str = " has left\n";

impl Hall for OurHall {
    const NAME: &'static str = ours::NAME;
    type Guest = Visitor;

    fn gather(members: usize) -> Self {
        let mut ours = Ours::new(available_parallelism().map_or(1, usize::from));
        // First the speakers, then a witness, then those who only listen.
        let sink = |number| match number {
            ..SPEAKERS => speaker(number, SEND),
            SPEAKERS => Sink::watched(SEND, LEFT),
            _ => Sink::new(SEND),
        };
        ours.settle(BUSY, (0..members).map(sink));
        let sink = |number| if number == 0 { Sink::watched(SEND, LEFT) } else { Sink::new(SEND) };
        ours.settle(OTHER, (0..FEW).map(sink));
        let next = AtomicU64::new(ours.residents.len() as u64);
        Self { ours, next }
    }

    fn speak(&self, speaker: usize, shift: Shift) {
        let member = Arc::clone(&self.ours.residents[speaker]);
        self.ours.run(async move {
            while !shift.is_over() {
                member.burst(IN_FLIGHT).await;
            }
        });
    }

    fn join(&self, small: bool) -> (Visitor, Joined) {
        let registry = Arc::clone(self.ours.registry());
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let residents = &self.ours.residents;
        let (room, witness) = if small { (OTHER, residents.len() - FEW) } else { (BUSY, SPEAKERS) };
        let witness = Arc::clone(&residents[witness]);
        self.ours.run(async move {
            let peer = peer(number, Sink::watched(SEND, JOINED));
            let start = now();
            let member = Member::join(&registry, room, peer);
            let took = member.sink().seen().await - start;
            (Visitor { member, witness }, Joined { join: took, told: took })
        })
    }

    fn leave(&self, guest: Visitor) -> Tick {
        self.ours.run(async move {
            guest.witness.sink().forget();
            let start = now();
            drop(guest.member);
            guest.witness.sink().seen().await - start
        })
    }
}

/// A design with locks. Each speaker, and who lets guests in and out, has a thread.
pub(crate) struct LockedHall<M> {
    model: M,
    next: AtomicU64,
}

impl<M: Model> Hall for LockedHall<M> {
    const NAME: &'static str = M::NAME;
    type Guest = (&'static str, String);

    fn gather(members: usize) -> Self {
        assert!(!ShardLocks::default().together(BUSY, OTHER), "a shard for each room: what most rooms have");
        let model = M::default();
        let rooms = [(BUSY, members), (OTHER, FEW)].into_iter();
        for (number, room) in rooms.flat_map(|(room, members)| std::iter::repeat_n(room, members)).enumerate() {
            model.insert(room, user(number as u64), Arc::new(Sink::new(SEND)));
        }
        Self { model, next: AtomicU64::new((members + FEW) as u64) }
    }

    fn speak(&self, speaker: usize, shift: Shift) {
        let user = user(speaker as u64);
        while !shift.is_over() {
            self.model.broadcast(BUSY, line(&user).as_bytes());
        }
    }

    fn join(&self, small: bool) -> (Self::Guest, Joined) {
        let room = if small { OTHER } else { BUSY };
        let user = user(self.next.fetch_add(1, Ordering::Relaxed));
        let (name, sink) = (user.clone(), Arc::new(Sink::watched(SEND, JOINED)));
        let start = now();
        self.model.insert(room, name, Arc::clone(&sink) as _);
        let join = now() - start;
        self.model.broadcast(room, format!("{user}{JOINED}").as_bytes());
        let told = sink.moment().unwrap_or_else(|| unreachable!("it is a member")) - start;
        ((room, user), Joined { join, told })
    }

    fn leave(&self, (room, user): Self::Guest) -> Tick {
        let start = now();
        self.model.remove(room, &user);
        let took = now() - start;
        self.model.broadcast(room, format!("{user}{LEFT}").as_bytes());
        took
    }
}
