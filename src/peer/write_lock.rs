//! Turns: who may write to a peer's socket now, when several want to.
//!
//! A peer is written by its room's delivery pass, and by its own connection when it drains a
//! backlog or answers. Nobody may wait for the other, and no piece may be lost or overtaken:
//!
//! 1. Whoever gets the turn takes in what came late, then does its own work.
//! 2. Whoever fails to get the turn leaves its piece in the late list.
//! 3. **Both look again at the end**, the one after releasing, the other after leaving its piece:
//!    while there is something late and the turn is free, take it and go to 1.
//!
//! Without 3 a piece left between the holder's last look and its release would lie there until
//! somebody wrote next. With it: if the leaver's second try comes after the release, it succeeds.
//! If it comes before, it fails; but a failed try swaps the slot, too, and the release, which is
//! the next swap of the slot, reads what that try wrote. So the release acquires the leaver's
//! piece, and the holder's look behind it finds it. That needs every move of the slot to be a
//! read-modify-write with `AcqRel`: with less, both could miss (Dekker's pattern).
//!
//! Having the turn is having the desk, which is there only while something is on it: it is taken
//! out of its slot and put back. `tests/loom.rs`
//! runs this very file under loom, which tries the interleavings of all that is below; the slot
//! and the late list are stand-ins there, since loom can't see into crossbeam and arc-swap.

use crate::peer::atomic_slot::Slot;
use crate::peer::deferred_list::{Late, Piece};

/// What one thread at a time works on, if there is anything; the others leave their pieces there.
pub(crate) type Desk<D> = Option<Box<D>>;

/// A desk that one thread at a time works at, and what the others left for it.
pub(crate) struct Turn<D, T> {
    /// What the holder of the turn works on.
    desk: Slot<D>,
    /// Pieces left by those who found the turn taken.
    late: Late<T>,
}

/// The desk in somebody's hands. It is put back however its holder's work ends, even in a
/// panic: that must not mute the peer.
struct Held<'a, D> {
    slot: &'a Slot<D>,
    desk: Desk<D>,
}

impl<D> Drop for Held<'_, D> {
    fn drop(&mut self) {
        self.slot.put(self.desk.take());
    }
}

impl<D, T: Piece> Turn<D, T> {
    pub(crate) fn new() -> Self {
        Self { desk: Slot::new(), late: Late::new() }
    }

    /// Works `piece` in with `accept` now, or leaves it to whoever holds the turn.
    ///
    /// `limit` bounds the weight of what lies in the late list. `accept` is called once for every
    /// piece that this call took in, others' late ones among them.
    pub(crate) fn offer(&self, piece: &T, limit: usize, mut accept: impl FnMut(&mut Desk<D>, &T)) {
        if self.in_turn(&mut accept, |desk, accept| accept(desk, piece)).is_none() {
            self.late.push(piece, limit);
        }
        self.look_again(accept);
    }

    /// Does `work` if the turn is free, after taking in with `accept` what came late.
    pub(crate) fn try_work<R>(
        &self,
        mut accept: impl FnMut(&mut Desk<D>, &T),
        work: impl FnOnce(&mut Desk<D>) -> R,
    ) -> Option<R> {
        let done = self.in_turn(&mut accept, |desk, _| work(desk));
        self.look_again(accept);
        done
    }

    /// Rule 1, if nobody has the turn.
    fn in_turn<A: FnMut(&mut Desk<D>, &T), R>(
        &self,
        accept: &mut A,
        work: impl FnOnce(&mut Desk<D>, &mut A) -> R,
    ) -> Option<R> {
        let mut held = Held { slot: &self.desk, desk: self.desk.take()? };
        for piece in &self.late.take() {
            accept(&mut held.desk, piece);
        }
        Some(work(&mut held.desk, accept))
    }

    /// Rule 3: no turn is held here.
    fn look_again(&self, mut accept: impl FnMut(&mut Desk<D>, &T)) {
        while !self.late.is_empty() && self.in_turn(&mut accept, |_, _| ()).is_some() {}
    }
}
