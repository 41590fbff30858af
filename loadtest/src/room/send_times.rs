//! The times at which a sender sent its lines, kept until a line is in each log of the room.

use std::collections::VecDeque;

use crate::clock::Tick;

/// The send times of the newest lines of one sender.
#[derive(Clone, Debug, Default)]
pub(super) struct SendTimes {
    /// The number of the first line that is kept.
    first: u32,
    times: VecDeque<Tick>,
}

impl SendTimes {
    /// Adds the next line.
    pub(super) fn push(&mut self, sent: Tick) {
        self.times.push_back(sent);
    }

    /// Returns the send time of a line, if it is kept.
    pub(super) fn get(&self, sequence: u32) -> Option<Tick> {
        self.times.get(sequence.checked_sub(self.first)? as usize).copied()
    }

    /// Removes the lines before one.
    pub(super) fn forget_before(&mut self, sequence: u32) {
        let count = sequence.saturating_sub(self.first).min(u32::try_from(self.times.len()).unwrap_or(u32::MAX));
        self.times.drain(..count as usize);
        self.first += count;
    }

    /// Removes the last lines, which were not written.
    pub(super) fn remove_last(&mut self, lines: u32) {
        self.times.truncate(self.times.len().saturating_sub(lines as usize));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_by_number_until_they_are_forgotten() {
        let mut times = SendTimes::default();
        (100..105).for_each(|sent| times.push(sent));
        assert_eq!((times.get(0), times.get(4), times.get(5)), (Some(100), Some(104), None));
        times.forget_before(2);
        times.forget_before(1);
        assert_eq!((times.get(1), times.get(2), times.get(4)), (None, Some(102), Some(104)));
        times.remove_last(2);
        assert_eq!((times.get(2), times.get(3)), (Some(102), None));
        times.push(200);
        assert_eq!(times.get(3), Some(200));
        times.forget_before(10);
        assert_eq!(times.get(3), None);
    }
}
