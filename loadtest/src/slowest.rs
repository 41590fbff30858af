//! The members and rooms with the highest latency: percentiles over all deliveries hide one slow member of a thousand.

use serde::{Deserialize, Serialize};

use crate::clock::Tick;

/// The number of members and the number of rooms that a result lists.
const LISTED: usize = 10;

/// The latencies of some deliveries as a sum: it takes the same memory for any number of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LatencySum {
    /// The number of deliveries.
    count: u64,
    /// The sum of their latencies in nanoseconds.
    sum: Tick,
    /// The highest latency in nanoseconds.
    max: Tick,
}

impl LatencySum {
    /// Adds `count` deliveries of one latency.
    pub(crate) fn record(&mut self, latency: Tick, count: u64) {
        self.count += count;
        self.sum = self.sum.saturating_add(latency.saturating_mul(count));
        self.max = self.max.max(latency);
    }

    /// Adds the deliveries of another sum.
    pub(crate) fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }

    /// Returns the figures of these deliveries, which belong to a room or to one member of it; `None` without any.
    pub(crate) fn figures(&self, room: u32, member: Option<usize>) -> Option<SlowFigures> {
        let mean = self.sum.checked_div(self.count)?;
        // Rounding up ensures that no latency is reported as shorter than it was.
        let (mean_us, max_us) = (mean.div_ceil(1000), self.max.div_ceil(1000));
        Some(SlowFigures { room, member, count: self.count, mean_us, max_us })
    }
}

/// The latency of one member, or of all members of a room, in the measured window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SlowFigures {
    /// The room's number in the run.
    pub room: u32,
    /// The member's index in its room; `None` for all members of the room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<usize>,
    /// The number of deliveries.
    pub count: u64,
    /// The mean of their latencies in microseconds. The latency of a delivery that was read at an interval counts up to
    /// the previous read, so that it contains no time in which the generator left the delivery unread.
    pub mean_us: u64,
    /// The highest of these latencies in microseconds.
    pub max_us: u64,
}

/// The members and the rooms with the highest mean latency, in falling order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slowest {
    /// At most ten members.
    pub members: Vec<SlowFigures>,
    /// At most ten rooms.
    pub rooms: Vec<SlowFigures>,
}

impl Slowest {
    /// Adds the figures of a member or of a room.
    pub(crate) fn insert(&mut self, figures: SlowFigures) {
        let list = if figures.member.is_some() { &mut self.members } else { &mut self.rooms };
        let key = |figures: &SlowFigures| (figures.mean_us, figures.max_us);
        let at = list.partition_point(|listed| key(listed) >= key(&figures));
        if at < LISTED {
            list.insert(at, figures);
            list.truncate(LISTED);
        }
    }

    /// Adds the members and rooms of another worker.
    pub(crate) fn add(&mut self, other: &Self) {
        other.members.iter().chain(&other.rooms).for_each(|figures| self.insert(*figures));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(member: usize, latencies: &[Tick]) -> SlowFigures {
        let mut sum = LatencySum::default();
        for latency in latencies {
            sum.record(*latency, 1);
        }
        sum.figures(7, Some(member)).unwrap()
    }

    #[test]
    fn ten_members_with_the_highest_mean_are_listed_in_falling_order() {
        let (mut one, mut other) = (Slowest::default(), Slowest::default());
        for member in 0..40 {
            let latency = 1_000_000 * ((member as Tick * 7) % 40 + 1);
            (if member % 2 == 0 { &mut one } else { &mut other }).insert(figures(member, &[latency, latency]));
        }
        one.add(&other);
        let means: Vec<u64> = one.members.iter().map(|slow| slow.mean_us).collect();
        assert_eq!(means, (31..=40).rev().map(|ms| ms * 1000).collect::<Vec<u64>>());
        assert!(one.rooms.is_empty());
    }

    #[test]
    fn figures_hold_mean_and_maximum_in_microseconds() {
        let slow = figures(3, &[1000, 2000, 6000]);
        assert_eq!((slow.room, slow.member, slow.count, slow.mean_us, slow.max_us), (7, Some(3), 3, 3, 6));
        assert_eq!(LatencySum::default().figures(7, None), None);
    }
}
