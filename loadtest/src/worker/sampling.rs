//! The rotation of the members that are read immediately, so that the latency of every member is sampled over a run.

use std::io;

use mio::{Interest, Token};

use super::{Phase, Worker};
use crate::clock::{SECOND, Tick, now};

/// Time for which a sample is kept. All members of a room belong to a sample once in 32 of these times.
pub(super) const SAMPLE_INTERVAL: Tick = SECOND / 20;

impl Worker<'_> {
    /// Replaces the samples of all rooms when their time has passed.
    pub(super) fn rotate_samples(&mut self) {
        if self.phase != Phase::Sending || self.share.plan.read_every.is_zero() || now() < self.next_rotation {
            return;
        }
        for room in 0..self.rooms.len() {
            if let Err(error) = self.rotate_sample(room) {
                return self.fail(format!("cannot poll: {error}"));
            }
        }
        if self.sending.closed_loop {
            // The members that pace a room have changed, so its next lines may be due.
            self.ready_rooms.extend(0..self.rooms.len());
        }
        self.next_rotation = now() + SAMPLE_INTERVAL;
    }

    /// Replaces the sample of a room. The entering members are read before their latency counts as measured: bytes that
    /// arrive later have not waited for the next read of the deferred members.
    fn rotate_sample(&mut self, room: usize) -> io::Result<()> {
        let first = self.rooms[room].connections.start;
        let change = self.rooms[room].next_sample_change();
        for index in change.entering.iter().map(|member| first + member) {
            self.move_connection(index, false)?;
            self.read_connection(index, false);
        }
        self.rooms[room].rotate_sample();
        for index in change.leaving.iter().map(|member| first + member) {
            self.move_connection(index, true)?;
        }
        Ok(())
    }

    /// Moves a connection from the poll of the deferred members to the other poll; with `deferred` the other way round.
    fn move_connection(&mut self, index: usize, deferred: bool) -> io::Result<()> {
        let Some(connection) = self.connections[index].as_mut() else { return Ok(()) };
        let (mut from, mut to) = (&self.deferred_poll, &self.poll);
        if deferred {
            std::mem::swap(&mut from, &mut to);
        }
        from.registry().deregister(connection.stream())?;
        to.registry().register(connection.stream(), Token(index), Interest::READABLE | Interest::WRITABLE)
    }
}
