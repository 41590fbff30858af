//! Slow members: each is read a bounded number of bytes at a time while lines are sent, and at once after the last line.

use mio::{Interest, Token};

use super::{Phase, Worker};
use crate::clock::{SECOND, Tick, now};
use crate::connection::{READ_BUFFER_BYTES, ReadOutcome};

/// Reads of each slow member in a second. They are spread evenly over the second, so that they delay no other read.
const READS_PER_SECOND: u64 = 10;

/// The slow members, and the times of their reads.
#[derive(Debug, Default)]
pub(super) struct SlowReads {
    /// The connections of the members, in the order of their reads.
    members: Vec<usize>,
    /// The tick of the first read.
    start: Tick,
    /// The number of reads of all members so far, those that were left out included.
    done: u64,
}

impl SlowReads {
    /// Sets the tick of the first read.
    pub(super) fn start(&mut self, start: Tick) {
        self.start = start;
    }

    /// Adds a connection.
    pub(super) fn push(&mut self, index: usize) {
        self.members.push(index);
    }

    /// Returns the connection of the next read that is due, and the number of earlier reads of it. Reads that are due for longer
    /// than one read of each member are left out, so that the rate is never exceeded.
    fn next_due(&mut self, now: Tick) -> Option<(usize, u64)> {
        let members = self.members.len() as u64;
        let due =
            u128::from(now.saturating_sub(self.start)) * u128::from(members * READS_PER_SECOND) / u128::from(SECOND);
        let due = u64::try_from(due).unwrap_or(u64::MAX);
        self.done = self.done.max(due.saturating_sub(members));
        if self.done >= due {
            return None;
        }
        let (round, at) = (self.done / members, self.done % members);
        self.done += 1;
        Some((self.members[usize::try_from(at).ok()?], round))
    }
}

/// Returns the bytes that a read may take after `earlier` reads at a rate.
fn read_size(bytes_per_second: u64, earlier: u64) -> usize {
    let until = |reads: u64| u128::from(bytes_per_second) * u128::from(reads) / u128::from(READS_PER_SECOND);
    usize::try_from(until(earlier + 1) - until(earlier)).unwrap_or(READ_BUFFER_BYTES).min(READ_BUFFER_BYTES)
}

impl Worker<'_> {
    /// Reads the slow members whose reads are due.
    pub(super) fn read_slow_members(&mut self) {
        let Some(readers) = self.share.plan.slow_readers else { return };
        let now = now();
        while self.phase == Phase::Sending
            && let Some((index, earlier)) = self.slow_reads.next_due(now)
        {
            self.read_part(index, read_size(readers.rate.bytes_per_second, earlier));
        }
    }

    /// Reads at most `size` bytes of a connection.
    fn read_part(&mut self, index: usize, size: usize) {
        let Some(connection) = self.connections[index].as_mut() else { return };
        let position = (connection.room, connection.member);
        match connection.read(&mut self.buffer[..size]) {
            ReadOutcome::WouldBlock => {}
            ReadOutcome::Closed => self.handle_close(index),
            ReadOutcome::Bytes(count) => self.receive(index, position, count),
        }
    }

    /// Lets the slow members be read at once from now on.
    pub(super) fn resume_reading(&mut self) {
        for index in std::mem::take(&mut self.slow_reads.members) {
            let Some(connection) = self.connections[index].as_mut() else { continue };
            connection.enlarge_receive_buffer();
            let interest = Interest::READABLE | Interest::WRITABLE;
            if let Err(error) = self.poll.registry().register(connection.stream(), Token(index), interest) {
                return self.fail(format!("cannot poll: {error}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the connections of all reads that are due at a tick.
    fn due(reads: &mut SlowReads, now: Tick) -> Vec<usize> {
        std::iter::from_fn(|| reads.next_due(now)).map(|(index, _)| index).collect()
    }

    #[test]
    fn reads_are_spread_over_the_interval_and_in_turn() {
        let mut reads = SlowReads { members: vec![7, 8, 9, 10], start: SECOND, done: 0 };
        assert_eq!((due(&mut reads, 0), due(&mut reads, SECOND)), (vec![], vec![]));
        let step = SECOND / READS_PER_SECOND / 4;
        assert_eq!(due(&mut reads, SECOND + step), [7]);
        assert_eq!(due(&mut reads, SECOND + step), [0; 0]);
        assert_eq!(due(&mut reads, SECOND + 5 * step), [8, 9, 10, 7]);
    }

    #[test]
    fn late_worker_reads_each_member_once() {
        let mut reads = SlowReads { members: vec![1, 2, 3], start: 0, done: 0 };
        let mut late = due(&mut reads, 100 * SECOND);
        late.sort_unstable();
        assert_eq!(late, [1, 2, 3]);
        assert_eq!(due(&mut SlowReads::default(), SECOND), [0; 0]);
    }

    #[test]
    fn reads_of_a_second_take_the_rate() {
        for rate in [100, 4096, 12_345, 2 << 20] {
            let sum: usize = (30..40).map(|earlier| read_size(rate, earlier)).sum();
            assert_eq!(sum as u64, rate);
        }
    }
}
