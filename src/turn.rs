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
//! somebody wrote next. With it: either the leaver's second try comes after the release, and
//! succeeds, or its piece was in the list before the release, and the holder's look finds it.
//! A `SeqCst` fence stands between the two steps on both sides, since each writes one place and
//! then reads the other's (Dekker's pattern): acquire and release alone would let both miss.
//!
//! The mutex is only ever tried, never waited for (clippy.toml forbids `lock`). `tests/loom.rs`
//! runs this very file under loom, which tries all interleavings of the turn and the fences; the
//! late list is a stand-in there, since loom can't see into arc-swap.

use crate::late::{Late, Piece};
use crate::sync::{Mutex, MutexGuard, Ordering, TryLockError, fence};

/// A desk that one thread at a time works at, and what the others left for it.
#[derive(Debug)]
pub(crate) struct Turn<D, T> {
    /// What the holder of the turn works on.
    desk: Mutex<D>,
    /// Pieces left by those who found the turn taken.
    late: Late<T>,
}

impl<D, T: Piece> Turn<D, T> {
    pub(crate) fn new(desk: D) -> Self {
        Self { desk: Mutex::new(desk), late: Late::new() }
    }

    /// Works `piece` in with `accept` now, or leaves it to whoever holds the turn.
    ///
    /// `limit` bounds the weight of what lies in the late list. `accept` is called once for every
    /// piece that this call took in, others' late ones among them.
    pub(crate) fn offer(&self, piece: &T, limit: usize, mut accept: impl FnMut(&mut D, &T)) {
        if let Some(mut desk) = self.try_desk() {
            self.take_late(&mut desk, &mut accept);
            accept(&mut desk, piece);
        } else {
            self.late.push(piece, limit);
        }
        self.look_again(accept);
    }

    /// Does `work` if the turn is free, after taking in with `accept` what came late.
    pub(crate) fn try_work<R>(&self, mut accept: impl FnMut(&mut D, &T), work: impl FnOnce(&mut D) -> R) -> Option<R> {
        let done = self.try_desk().map(|mut desk| {
            self.take_late(&mut desk, &mut accept);
            work(&mut desk)
        });
        self.look_again(accept);
        done
    }

    fn take_late(&self, desk: &mut D, accept: &mut impl FnMut(&mut D, &T)) {
        for piece in &self.late.take() {
            accept(desk, piece);
        }
    }

    /// Rule 3: no turn is held here.
    fn look_again(&self, mut accept: impl FnMut(&mut D, &T)) {
        loop {
            // Between my release and my look, or my piece and my try: pairs with the same fence
            // in the other thread.
            fence(Ordering::SeqCst);
            if self.late.is_empty() {
                return;
            }
            let Some(mut desk) = self.try_desk() else {
                return;
            };
            self.take_late(&mut desk, &mut accept);
        }
    }

    /// The desk, if nobody is at it.
    fn try_desk(&self) -> Option<MutexGuard<'_, D>> {
        match self.desk.try_lock() {
            Ok(desk) => Some(desk),
            // A panic in somebody's turn must not mute the peer: its bytes may be cut short, its
            // desk is whole.
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}
