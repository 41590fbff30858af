//! The pass clock: how long a pass takes, and how long its lines waited, with a few readings of the time for each pass.

use crate::metrics::counters::MetricsDelta;
use crate::metrics::pass_histograms::PassFigures;
use std::time::{Duration, Instant};

/// The times of the pass that runs.
#[derive(Debug)]
pub(super) struct PassClock {
    /// The start of the pass, which is the end of the one before.
    started: Instant,
    /// The time at which the first operation of the next batch was sent, if it is known: lines of a quiet room wait for
    /// the start of its first pass.
    first_sent_at: Option<Instant>,
    /// The time at which the batch's first lines came; `None` for a batch without lines of members.
    lines_came_at: Option<Instant>,
    delivery_latency: Option<Duration>,
}

impl PassClock {
    /// Starts the clock of a room that was quiet. The first operation was sent at `first_sent_at`.
    pub(super) fn start(first_sent_at: Option<Instant>) -> Self {
        Self { started: Instant::now(), first_sent_at, lines_came_at: None, delivery_latency: None }
    }

    /// Begins a committed batch, whose first lines were gathered at `first_lines_at`.
    pub(super) fn begin_batch(&mut self, first_lines_at: Option<Instant>) {
        let sent_at = self.first_sent_at.take();
        self.lines_came_at = first_lines_at.map(|gathered| sent_at.map_or(gathered, |sent| sent.min(gathered)));
    }

    /// Ends the delivery of the batch: its last write is done.
    pub(super) fn end_delivery(&mut self) {
        self.delivery_latency = self.lines_came_at.take().map(|came| came.elapsed());
    }

    /// Ends the pass, and starts the next one; returns the figures of the pass, of which `metrics` is the work.
    pub(super) fn end_pass(&mut self, members: usize, metrics: &MetricsDelta) -> PassFigures {
        let now = Instant::now();
        let duration = now.duration_since(std::mem::replace(&mut self.started, now));
        let delivery_latency = self.delivery_latency.take();
        let MetricsDelta { deliveries, writes, .. } = *metrics;
        PassFigures { duration, delivery_latency, members, deliveries, writes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a time so long ago.
    fn ago(seconds: u64) -> Instant {
        Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap()
    }

    /// Returns whole thousands of seconds: the time that a test takes does not count.
    fn thousands(duration: Duration) -> u64 {
        duration.as_secs() / 1_000
    }

    fn latency_of_batch(clock: &mut PassClock, first_lines_at: Option<Instant>) -> Option<u64> {
        clock.begin_batch(first_lines_at);
        clock.end_delivery();
        clock.end_pass(1, &MetricsDelta::default()).delivery_latency.map(thousands)
    }

    #[test]
    fn first_batch_of_a_quiet_room_counts_from_the_send_and_the_next_from_its_gathering() {
        let mut clock = PassClock::start(Some(ago(3_000)));
        assert_eq!(latency_of_batch(&mut clock, Some(ago(2_000))), Some(3));
        assert_eq!(latency_of_batch(&mut clock, Some(ago(1_000))), Some(1));
    }

    #[test]
    fn batch_without_lines_has_no_latency() {
        let mut clock = PassClock::start(Some(ago(3_000)));
        assert_eq!(latency_of_batch(&mut clock, None), None);
        assert_eq!(latency_of_batch(&mut clock, Some(ago(1_000))), Some(1), "the send was of another batch");
    }

    #[test]
    fn pass_lasts_from_the_end_of_the_one_before() {
        let mut clock = PassClock { started: ago(1_000), ..PassClock::start(None) };
        let metrics = MetricsDelta { deliveries: 8, writes: 2, ..MetricsDelta::default() };
        let figures = clock.end_pass(4, &metrics);
        assert_eq!((thousands(figures.duration), figures.members), (1, 4));
        assert_eq!((figures.deliveries, figures.writes), (8, 2));
        assert_eq!(thousands(clock.end_pass(4, &metrics).duration), 0);
    }
}
