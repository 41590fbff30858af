//! The schedule of an open loop: for which tick and for which room each line of a worker is planned.

use fastrand::Rng;

use crate::clock::{SECOND, Tick};
use crate::plan::{Arrivals, Pacing, Share};
use crate::random::{exponential, stream};

/// The lines of one worker in the order of their planned times.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// The tick of the first line's slot.
    start: Tick,
    /// The number of the worker's rooms.
    rooms: usize,
    /// Lines in 1000 seconds in all rooms of the worker; 0 without an open loop.
    millilines: u128,
    /// The worker's index, and the number of workers.
    worker: (usize, usize),
    /// The random numbers of a Poisson process; `None` for equal intervals.
    random: Option<Rng>,
    /// The next line.
    next: PlannedLine,
}

/// A line that is planned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PlannedLine {
    /// The number of the line, from 0.
    pub(super) number: u64,
    /// The tick for which it is planned.
    pub(super) planned: Tick,
    /// The index of its room in the worker.
    pub(super) room: usize,
}

impl Schedule {
    /// Returns the schedule of a share with a number of rooms, which must not be 0.
    pub(super) fn new(share: &Share, start: Tick, rooms: usize) -> Self {
        let millilines = match share.plan.pacing {
            Pacing::Open { millilines_per_second } => u128::from(millilines_per_second) * rooms as u128,
            Pacing::Quiet | Pacing::Closed { .. } => 0,
        };
        let random = (share.plan.arrivals == Arrivals::Poisson).then(|| stream(share.plan.seed, share.worker.0 as u64));
        let first = PlannedLine { planned: start, ..PlannedLine::default() };
        let mut schedule = Self { start, rooms, millilines, worker: share.worker, random, next: first };
        if millilines > 0 {
            schedule.next = schedule.line(0, start);
        }
        schedule
    }

    /// Returns the next line.
    pub(super) fn next(&self) -> PlannedLine {
        self.next
    }

    /// Goes on to the line after the next one.
    pub(super) fn advance(&mut self) {
        let PlannedLine { number, planned, .. } = self.next;
        self.next = self.line(number + 1, planned);
    }

    /// Returns how many lines from the next one on are planned before a tick; for a Poisson process the expected number.
    pub(super) fn lines_before(&self, end: Tick) -> u64 {
        if self.next.planned >= end || self.millilines == 0 {
            return 0;
        }
        let more = u128::from(end - 1 - self.next.planned) * self.millilines / (u128::from(SECOND) * 1000);
        u64::try_from(more).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// Returns the line with a number, which follows one that was planned at `before`.
    fn line(&mut self, number: u64, before: Tick) -> PlannedLine {
        let interval = SECOND as f64 * 1000.0 / self.millilines as f64;
        let Some(random) = &mut self.random else {
            let room = usize::try_from(number % self.rooms as u64).unwrap_or(0);
            return PlannedLine { number, planned: self.fixed(number), room };
        };
        // A float of the gap holds it to far below a nanosecond; the conversion saturates.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a gap is positive and saturates")]
        let gap = (exponential(random) * interval) as u64;
        PlannedLine { number, planned: before.saturating_add(gap), room: random.usize(..self.rooms) }
    }

    /// Returns the planned time of a line at equal intervals. The rooms take turns, and the workers are staggered.
    fn fixed(&self, number: u64) -> Tick {
        let (worker, workers) = self.worker;
        let part = u128::from(number) * workers as u128 + worker as u128;
        let offset = part * u128::from(SECOND) * 1000 / (self.millilines * workers as u128);
        self.start.saturating_add(u64::try_from(offset).unwrap_or(u64::MAX / 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::plan;

    /// Returns the schedule of a worker with four rooms of 250 lines a second each, from 1 s on.
    fn schedule(arrivals: Arrivals, worker: (usize, usize)) -> Schedule {
        let mut plan = plan(Pacing::Open { millilines_per_second: 250_000 });
        (plan.arrivals, plan.seed) = (arrivals, 7);
        Schedule::new(&Share { plan, rooms: 0..4, worker, epoch: 0 }, SECOND, 4)
    }

    /// Returns the next `count` lines.
    fn take(schedule: &mut Schedule, count: usize) -> Vec<PlannedLine> {
        let next = |_| {
            let line = schedule.next();
            schedule.advance();
            line
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn fixed_lines_come_at_equal_intervals_and_the_rooms_take_turns() {
        let lines = take(&mut schedule(Arrivals::Fixed, (0, 1)), 6);
        let expected = (0..6).map(|number| (SECOND + number * SECOND / 1000, usize::try_from(number % 4).unwrap()));
        assert_eq!(
            lines.iter().map(|line| (line.planned, line.room)).collect::<Vec<_>>(),
            expected.collect::<Vec<_>>()
        );
        let second = take(&mut schedule(Arrivals::Fixed, (1, 2)), 1);
        assert_eq!(second[0].planned, SECOND + SECOND / 2000, "the workers are staggered");
    }

    #[test]
    fn poisson_lines_have_the_rate_and_its_deviation_and_reach_each_room() {
        let count = 20_000;
        let lines = take(&mut schedule(Arrivals::Poisson, (0, 1)), count);
        let gaps: Vec<f64> = lines.windows(2).map(|pair| (pair[1].planned - pair[0].planned) as f64 / 1e6).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean - 1.0).abs() < 0.05 && (variance - 1.0).abs() < 0.1, "{mean} ms, variance {variance}");
        for room in 0..4 {
            let share = lines.iter().filter(|line| line.room == room).count() * 4;
            assert!(share.abs_diff(count) < count / 10, "room {room} has {share} of {count}");
        }
        assert_eq!(take(&mut schedule(Arrivals::Poisson, (0, 1)), count), lines, "the seed gives the same schedule");
        assert!(take(&mut schedule(Arrivals::Poisson, (1, 2)), count) != lines);
    }

    #[test]
    fn lines_before_a_tick_are_those_that_are_left() {
        let mut schedule = schedule(Arrivals::Fixed, (0, 1));
        assert_eq!(schedule.lines_before(SECOND), 0);
        assert_eq!(schedule.lines_before(SECOND + 1), 1);
        assert_eq!(schedule.lines_before(2 * SECOND), 1000);
        take(&mut schedule, 400);
        assert_eq!(schedule.lines_before(2 * SECOND), 600);
        assert_eq!(schedule.lines_before(SECOND / 2), 0);
    }
}
