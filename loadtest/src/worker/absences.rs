//! The absences of a worker's members, and the steps that are due: pure bookkeeping of ticks.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use fastrand::Rng;

use crate::clock::{SECOND, Tick};
use crate::random::exponential;

/// Interval between the connects of the members that are still away when sending ends.
const LAST_RETURN_INTERVAL: Tick = SECOND / 1000;
/// The number of the first random stream of departures. Lines use the streams before.
pub(super) const FIRST_STREAM: u64 = 1 << 32;

/// The step that is due for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Leave the room.
    Leave,
    /// Connect again.
    Connect,
    /// Check whether the patience with the server is over.
    Deadline,
}

/// The stages of an absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The sending side is shut down, and the server has to close the connection.
    Leaving,
    /// There is no connection.
    Away,
    /// There is a connection, and the member is not in its room yet.
    Joining,
}

/// The absence of one member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Absence {
    pub(super) stage: Stage,
    /// The tick at which the member left or was cut.
    pub(super) since: Tick,
    /// The tick for which its return is planned.
    pub(super) planned: Tick,
    /// The part of the time since then that is the generator's own.
    pub(super) own_lag: Tick,
    /// The tick up to which that part is counted.
    own_lag_until: Tick,
    /// Whether a connection has been opened for the return.
    pub(super) was_opened: bool,
    /// The tick from which its join request waits for that of another member.
    pub(super) waits_since: Option<Tick>,
    /// Whether the server has refused its current connection because the name is taken.
    pub(super) name_taken: bool,
    /// The end of the patience with the server, on a clock without the stops of the generator. `None` while the server
    /// owes nothing.
    pub(super) deadline: Option<Tick>,
    /// The tick of the step that checks this deadline. Steps of earlier deadlines remain among those that are due.
    pub(super) deadline_step: Tick,
}

impl Absence {
    /// Adds the time between two ticks to the part that is the generator's own, as far as it is not counted already.
    pub(super) fn add_own_lag(&mut self, from: Tick, to: Tick) {
        self.own_lag += to.saturating_sub(from.max(self.own_lag_until));
        self.own_lag_until = self.own_lag_until.max(to);
    }

    /// Ends the wait for the join request of another member, if there is one: the wait was the generator's own.
    pub(super) fn end_wait(&mut self, now: Tick) {
        if let Some(since) = self.waits_since.take() {
            self.add_own_lag(since, now);
        }
    }
}

/// The members that are absent, and the steps that are due.
#[derive(Debug, Default)]
pub(super) struct Absences {
    /// The next steps, by tick and connection.
    pub(super) due: BinaryHeap<Reverse<(Tick, usize, Step)>>,
    /// The absences, by connection.
    pub(super) by_connection: BTreeMap<usize, Absence>,
    /// The random numbers of each connection that leaves.
    pub(super) random: BTreeMap<usize, Rng>,
    /// The tick of the next cut.
    pub(super) next_cut: Option<Tick>,
    /// The tick of the next check whether every line has arrived before a cut.
    pub(super) next_quiet_check: Tick,
    /// The time in which the generator was stopped.
    pub(super) stopped: Tick,
    /// Whether no further member leaves.
    pub(super) is_over: bool,
    /// The first error of a connect that the server did not accept.
    pub(super) first_error: Option<String>,
}

impl Absences {
    /// Returns whether no member is absent.
    pub(super) fn are_over(&self) -> bool {
        self.by_connection.is_empty()
    }

    /// Returns the connections of the members that leave and are not absent now.
    pub(super) fn present_leavers(&self) -> Vec<usize> {
        self.random.keys().copied().filter(|index| !self.by_connection.contains_key(index)).collect()
    }

    /// Returns whether a cut is due. No line is sent until it has happened.
    pub(super) fn cut_is_due(&self, now: Tick) -> bool {
        self.next_cut.is_some_and(|cut| now >= cut)
    }

    /// Returns the tick of the next step.
    pub(super) fn next_tick(&self, now: Tick) -> Tick {
        let step = self.due.peek().map_or(Tick::MAX, |Reverse((tick, ..))| *tick);
        let cut = if self.cut_is_due(now) { self.next_quiet_check } else { self.next_cut.unwrap_or(Tick::MAX) };
        step.min(cut)
    }

    pub(super) fn push(&mut self, tick: Tick, index: usize, step: Step) {
        self.due.push(Reverse((tick, index, step)));
    }

    /// Returns a random time with a mean of `mean`, exponentially distributed.
    pub(super) fn random_time(&mut self, index: usize, mean: Tick) -> Tick {
        let Some(random) = self.random.get_mut(&index) else { return mean };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time is positive and saturates")]
        let time = (exponential(random) * mean as f64) as Tick;
        time
    }

    /// Starts the absence of a member.
    pub(super) fn start(&mut self, index: usize, stage: Stage, now: Tick) {
        let absence = Absence {
            stage,
            since: now,
            planned: now,
            own_lag: 0,
            own_lag_until: 0,
            was_opened: false,
            waits_since: None,
            name_taken: false,
            deadline: None,
            deadline_step: 0,
        };
        self.by_connection.insert(index, absence);
    }

    /// Grants the server the patience for the current stage of an absence.
    pub(super) fn start_deadline(&mut self, index: usize, now: Tick, patience: Tick) {
        let deadline = now.saturating_sub(self.stopped).saturating_add(patience);
        if let Some(absence) = self.by_connection.get_mut(&index) {
            (absence.deadline, absence.deadline_step) = (Some(deadline), now.saturating_add(patience));
            self.push(now.saturating_add(patience), index, Step::Deadline);
        }
    }

    /// Returns whether the deadline is over that a step for `planned` checks. Plans the next step where the generator was
    /// stopped since then, and ignores a step of an earlier deadline.
    pub(super) fn deadline_is_over(&mut self, index: usize, planned: Tick, now: Tick) -> bool {
        let Some(absence) = self.by_connection.get_mut(&index) else { return false };
        let Some(deadline) = absence.deadline.filter(|_| absence.deadline_step == planned) else { return false };
        let left = deadline.saturating_sub(now.saturating_sub(self.stopped));
        if left > 0 {
            absence.deadline_step = now.saturating_add(left);
            self.push(now.saturating_add(left), index, Step::Deadline);
        }
        left == 0
    }

    /// Plans the return of a member.
    pub(super) fn plan_return(&mut self, index: usize, planned: Tick) {
        if let Some(absence) = self.by_connection.get_mut(&index) {
            (absence.stage, absence.planned, absence.deadline) = (Stage::Away, planned, None);
            self.push(planned, index, Step::Connect);
        }
    }

    /// Lets no further member leave, and lets the members that are away connect soon.
    pub(super) fn end(&mut self, now: Tick) {
        (self.is_over, self.next_cut) = (true, None);
        let mut soon = now;
        // The sorted steps begin with the last one.
        for Reverse((tick, index, step)) in std::mem::take(&mut self.due).into_sorted_vec().into_iter().rev() {
            match step {
                Step::Leave => {}
                Step::Deadline => self.push(tick, index, step),
                Step::Connect => {
                    soon += LAST_RETURN_INTERVAL;
                    self.push(tick.min(soon), index, step);
                    if let Some(absence) = self.by_connection.get_mut(&index) {
                        absence.planned = absence.planned.min(soon);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::stream;

    /// Returns absences of two connections with random numbers of a seed.
    fn absences(seed: u64) -> Absences {
        let random = |index: usize| (index, stream(seed, FIRST_STREAM + index as u64));
        Absences { random: [random(3), random(4)].into(), ..Absences::default() }
    }

    #[test]
    fn random_times_follow_from_the_seed_and_have_their_mean() {
        let times = |seed, index| {
            let mut absences = absences(seed);
            (0..10_000).map(|_| absences.random_time(index, SECOND)).collect::<Vec<Tick>>()
        };
        assert!(times(1, 3) == times(1, 3));
        assert!(times(1, 3) != times(1, 4) && times(1, 3) != times(2, 3));
        let mean = times(1, 3).iter().sum::<Tick>() / 10_000;
        assert!(mean.abs_diff(SECOND) < SECOND / 20, "{mean}");
    }

    #[test]
    fn members_that_are_away_at_the_end_come_back_soon() {
        let mut absences = absences(1);
        absences.next_cut = Some(9 * SECOND);
        absences.push(5 * SECOND, 7, Step::Leave);
        for index in [3, 4] {
            absences.start(index, Stage::Leaving, SECOND);
            absences.plan_return(index, 100 * SECOND);
        }
        absences.end(2 * SECOND);
        assert_eq!(absences.next_tick(2 * SECOND), 2 * SECOND + LAST_RETURN_INTERVAL, "the leave is cancelled");
        let planned: Vec<Tick> = absences.by_connection.values().map(|absence| absence.planned).collect();
        let soon = [1, 2].map(|number| 2 * SECOND + number * LAST_RETURN_INTERVAL);
        assert_eq!(planned, soon, "the wait is not counted as a delay of the return");
        assert!(!absences.cut_is_due(10 * SECOND));
    }

    #[test]
    fn own_lag_of_a_return_counts_each_time_once() {
        let mut absences = absences(1);
        absences.start(3, Stage::Away, 0);
        let absence = absences.by_connection.get_mut(&3).unwrap();
        // The member connects 4 s late. The connect, the greeting and the notice are read by polls whose waits overlap.
        for (from, to) in [(10, 14), (12, 16), (15, 16), (20, 21), (19, 22)] {
            absence.add_own_lag(from * SECOND, to * SECOND);
        }
        assert_eq!(absence.own_lag, (16 - 10 + 22 - 20) * SECOND);
    }

    #[test]
    fn patience_is_longer_by_the_stops_of_the_generator() {
        let mut absences = absences(1);
        absences.start(3, Stage::Leaving, SECOND);
        absences.start_deadline(3, SECOND, 5 * SECOND);
        absences.stopped += 7 * SECOND;
        absences.start(4, Stage::Leaving, 9 * SECOND);
        absences.start_deadline(4, 9 * SECOND, 5 * SECOND);
        let deadlines: Vec<Option<Tick>> = absences.by_connection.values().map(|absence| absence.deadline).collect();
        assert_eq!(deadlines, [Some(6 * SECOND), Some(7 * SECOND)], "on a clock without the stops");
        assert_eq!(absences.next_tick(0), 6 * SECOND);
        absences.stopped += SECOND;
        assert!(!absences.deadline_is_over(4, 14 * SECOND, 14 * SECOND), "the generator was stopped for 1 s");
        assert!(absences.deadline_is_over(4, 15 * SECOND, 15 * SECOND));
    }

    #[test]
    fn each_absence_has_one_step_for_its_deadline() {
        let mut absences = absences(1);
        absences.start(3, Stage::Leaving, 0);
        // Each of these deadlines begins while the step of the one before it is still due.
        for second in 0..4 {
            absences.start_deadline(3, second * SECOND, 5 * SECOND);
        }
        let mut over = Vec::new();
        while let Some(Reverse((tick, index, _))) = absences.due.pop() {
            if absences.deadline_is_over(index, tick, tick) {
                over.push(tick);
            }
        }
        assert_eq!(over, [8 * SECOND]);
        absences.start_deadline(3, 0, 5 * SECOND);
        absences.start_deadline(3, SECOND, 5 * SECOND);
        absences.due.pop();
        assert!(!absences.deadline_is_over(3, 5 * SECOND, 5 * SECOND));
        assert_eq!(absences.due.len(), 1, "the step of the first deadline plans no other one");
    }
}
