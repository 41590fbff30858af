//! Pass histograms: one observation for each pass, and none for a line or a delivery.

use crate::metrics::histogram::{HistogramShard, HistogramSums, Scale};
use crate::metrics::shards::{SHARDS, own_shard};
use crossbeam_utils::CachePadded;
use std::time::Duration;

/// Nanoseconds in a microsecond, and in a second.
const MICRO: u64 = 1_000;
const SECOND: u64 = 1_000_000_000;

/// The scale of durations of passes: from a pass of a few writes to one through a crowd, which yields often.
pub(crate) const PASS_DURATION: Scale = Scale {
    bounds: [
        50 * MICRO,
        100 * MICRO,
        250 * MICRO,
        500 * MICRO,
        1_000 * MICRO,
        2_500 * MICRO,
        5_000 * MICRO,
        10_000 * MICRO,
        25_000 * MICRO,
        50_000 * MICRO,
        100_000 * MICRO,
        500_000 * MICRO,
    ],
    units: SECOND,
};

/// The scale of the time from a line's arrival in its room to the last write of its batch.
pub(crate) const DELIVERY_LATENCY: Scale = Scale {
    bounds: [
        100 * MICRO,
        250 * MICRO,
        500 * MICRO,
        1_000 * MICRO,
        2_500 * MICRO,
        5_000 * MICRO,
        10_000 * MICRO,
        25_000 * MICRO,
        50_000 * MICRO,
        100_000 * MICRO,
        500_000 * MICRO,
        2_500_000 * MICRO,
    ],
    units: SECOND,
};

/// The scale of the members of a room.
pub(crate) const MEMBERS: Scale =
    Scale { bounds: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000, 10_000], units: 1 };

/// The scale of the lines in one write.
pub(crate) const LINES_PER_WRITE: Scale =
    Scale { bounds: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 4_096], units: 1 };

/// The figures of one pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PassFigures {
    /// The time from the pass's first operation to its last reply.
    pub(crate) duration: Duration,
    /// The time from the arrival of the batch's first line to its last write; `None` for a batch without lines of members.
    pub(crate) delivery_latency: Option<Duration>,
    /// The room's members after the batch.
    pub(crate) members: usize,
    /// The lines delivered, one for each line and member, and the writes that carried them.
    pub(crate) deliveries: u64,
    pub(crate) writes: u64,
}

/// The observations of the threads of one shard.
#[derive(Debug, Default)]
struct Shard {
    duration: HistogramShard,
    delivery_latency: HistogramShard,
    members: HistogramShard,
    lines_per_write: HistogramShard,
}

/// The observations of all passes since the start. Each thread adds to a shard of its own cache lines.
#[derive(Debug, Default)]
pub(crate) struct PassHistograms {
    shards: [CachePadded<Shard>; SHARDS],
}

/// The sums of all observations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PassSums {
    pub(crate) duration: HistogramSums,
    pub(crate) delivery_latency: HistogramSums,
    pub(crate) members: HistogramSums,
    pub(crate) lines_per_write: HistogramSums,
}

impl PassHistograms {
    /// Adds one observation of each kind for a pass.
    pub(crate) fn observe(&self, figures: &PassFigures) {
        let shard = &self.shards[own_shard()];
        shard.duration.observe(&PASS_DURATION, nanoseconds(figures.duration));
        if let Some(latency) = figures.delivery_latency {
            shard.delivery_latency.observe(&DELIVERY_LATENCY, nanoseconds(latency));
        }
        shard.members.observe(&MEMBERS, figures.members as u64);
        if let Some(lines) = (figures.deliveries + figures.writes / 2).checked_div(figures.writes) {
            shard.lines_per_write.observe(&LINES_PER_WRITE, lines);
        }
    }

    /// Returns the sums. Two of them may be from slightly different moments.
    pub(crate) fn read(&self) -> PassSums {
        let mut sums = PassSums::default();
        for shard in &self.shards {
            sums.duration.add(&shard.duration);
            sums.delivery_latency.add(&shard.delivery_latency);
            sums.members.add(&shard.members);
            sums.lines_per_write.add(&shard.lines_per_write);
        }
        sums
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn bounds_of_each_scale_ascend() {
        for scale in [PASS_DURATION, DELIVERY_LATENCY, MEMBERS, LINES_PER_WRITE] {
            assert!(scale.bounds.is_sorted_by(|lower, upper| lower < upper), "{scale:?}");
        }
    }

    #[test]
    fn pass_is_one_observation_of_each_kind() {
        let histograms = PassHistograms::default();
        let figures = PassFigures {
            duration: Duration::from_micros(70),
            delivery_latency: Some(Duration::from_millis(3)),
            members: 7,
            deliveries: 28,
            writes: 7,
        };
        histograms.observe(&figures);
        let sums = histograms.read();
        for (histogram, sum) in
            [(sums.duration, 70_000), (sums.delivery_latency, 3_000_000), (sums.members, 7), (sums.lines_per_write, 4)]
        {
            assert_eq!((histogram.count(), histogram.sum), (1, sum));
        }
    }

    #[test]
    fn pass_without_lines_and_writes_is_no_latency_and_no_write() {
        let histograms = PassHistograms::default();
        histograms.observe(&PassFigures { members: 1, ..PassFigures::default() });
        let sums = histograms.read();
        assert_eq!((sums.duration.count(), sums.members.count()), (1, 1));
        assert_eq!((sums.delivery_latency.count(), sums.lines_per_write.count()), (0, 0));
    }

    #[test]
    fn sums_include_the_passes_of_all_threads() {
        let histograms = PassHistograms::default();
        thread::scope(|scope| {
            for _ in 0..2 * SHARDS {
                scope.spawn(|| histograms.observe(&PassFigures { members: 3, ..PassFigures::default() }));
            }
        });
        let members = histograms.read().members;
        assert_eq!((members.count(), members.sum), (2 * SHARDS as u64, 6 * SHARDS as u64));
    }
}
