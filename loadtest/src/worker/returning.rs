//! Members that leave their rooms while lines are sent, and come back.
//!
//! In a churn each leaver follows its own random times: it shuts its sending side down, waits for the close by the server,
//! stays away, and connects again. A cut takes the connections of all leavers away at once, at a moment at which every line
//! has arrived, so that no line of a cut sender is in transit. Lines that are planned for a room without a sender are
//! withheld.

use std::cmp::Reverse;

use super::absences::{FIRST_STREAM, Stage, Step};
use super::{Phase, Worker};
use crate::clock::{SECOND, Tick, now, ticks};
use crate::connection::Connection;
use crate::departures::Departures;
use crate::random::stream;

/// Time after which a refused member tries again.
const RETRY_AFTER: Tick = SECOND / 50;
/// Interval at which a cut that is due checks whether every line has arrived.
const QUIET_CHECK_INTERVAL: Tick = SECOND / 1000;

impl Worker<'_> {
    /// Plans the first departures of a run whose sending starts at a tick.
    pub(super) fn start_departures(&mut self, start: Tick) {
        let (plan, first_room) = (&self.share.plan, self.share.rooms.start);
        if !plan.departures.exist() {
            return;
        }
        let first = plan.first_connection(first_room);
        for room in &mut self.rooms {
            room.start_departures();
            for member in plan.departures.leavers(room.connections.len(), plan.senders) {
                let index = room.connections.start + member;
                let random = stream(plan.seed, FIRST_STREAM + (first + index) as u64);
                self.absences.random.insert(index, random);
                if let Departures::Churn { stay, .. } = plan.departures {
                    let stay = self.absences.random_time(index, ticks(stay));
                    self.absences.push(start.saturating_add(stay), index, Step::Leave);
                }
            }
        }
        if let Departures::Cuts { first, .. } = plan.departures {
            self.absences.next_cut = Some(self.report.metrics.window.0.saturating_add(ticks(first)));
        }
    }

    /// Takes the steps that are due.
    pub(super) fn advance_departures(&mut self) {
        if !self.share.plan.departures.exist() {
            return;
        }
        let now = now();
        if self.phase == Phase::Draining && !self.absences.is_over {
            self.absences.end(now);
        }
        while let Some(&Reverse((tick, index, step))) = self.absences.due.peek()
            && tick <= now
            && self.phase != Phase::Done
        {
            self.absences.due.pop();
            match step {
                Step::Leave => self.leave(index, now),
                Step::Connect => self.connect_again(index),
                Step::Deadline => self.check_deadline(index, tick, now),
            }
        }
        if self.phase == Phase::Sending && self.absences.cut_is_due(now) && now >= self.absences.next_quiet_check {
            self.absences.next_quiet_check = now + QUIET_CHECK_INTERVAL;
            self.cut_when_quiet(now);
        }
    }

    fn patience(&self) -> Tick {
        ticks(self.share.plan.patience)
    }

    /// Shuts the sending side of a member down.
    fn leave(&mut self, index: usize, now: Tick) {
        let Some(connection) = self.connections[index].as_mut() else { return };
        self.rooms[connection.room].start_departure(connection.member);
        connection.shutdown_write();
        self.report.metrics.counters.departures += 1;
        self.absences.start(index, Stage::Leaving, now);
        self.absences.start_deadline(index, now, self.patience());
    }

    /// Cuts all leavers when every line and notice has arrived and every member is back, or when none of these has happened
    /// for the plan's patience.
    fn cut_when_quiet(&mut self, now: Tick) {
        let Departures::Cuts { every, jitter, reset, .. } = self.share.plan.departures else { return };
        let Some(cut) = self.absences.next_cut else { return };
        if !self.is_quiet() && now < self.last_progress.max(cut).saturating_add(self.patience()) {
            return;
        }
        for index in self.absences.present_leavers() {
            let Some(mut connection) = self.connections[index].take() else { continue };
            // A cut after the patience may come before all lines are written. No member waits for those.
            self.retract_lines(&mut connection);
            self.rooms[connection.room].cut(connection.member, &mut self.report.metrics);
            connection.cut(reset);
            self.report.metrics.counters.departures += 1;
            self.absences.start(index, Stage::Away, now);
            let away = self.absences.random.get_mut(&index).map_or(0, |random| random.u64(0..=ticks(jitter)));
            self.absences.plan_return(index, now.saturating_add(away));
        }
        let end = self.report.metrics.window.1;
        self.absences.next_cut = every.map(|every| cut.saturating_add(ticks(every))).filter(|next| *next < end);
    }

    /// Opens the next connection of a member that is away.
    fn connect_again(&mut self, index: usize) {
        // Many members may connect in one turn.
        let now = now();
        let (room, member) = self.position(index);
        let patience = self.patience();
        if !self.rooms[room].is_away(member) {
            // Another member has yet to show the position of the last stay.
            if self.absences.by_connection.get(&index).is_some_and(|absence| absence.deadline.is_none()) {
                self.absences.start_deadline(index, now, patience);
            }
            return self.absences.push(now + RETRY_AFTER, index, Step::Connect);
        }
        let Some(absence) = self.absences.by_connection.get_mut(&index) else { return };
        (absence.stage, absence.name_taken) = (Stage::Joining, false);
        if std::mem::replace(&mut absence.was_opened, true) {
            // The wait until a refused member tries again is not counted.
            absence.add_own_lag(now, now);
        } else {
            absence.add_own_lag(absence.planned, now);
            self.absences.start_deadline(index, now, patience);
        }
        self.rooms[room].prepare_return(member);
        if let Err(error) = self.open(index) {
            self.handle_connect_error(index, &error);
        }
    }

    /// Counts a connection that was refused or closed before its member was in the room, and plans the next one.
    pub(super) fn retry_return(&mut self, index: usize) {
        let (room, member) = self.position(index);
        self.connections[index] = None;
        self.rooms[room].cancel_return(member);
        if let Some(absence) = self.absences.by_connection.get_mut(&index) {
            let counters = &mut self.report.metrics.counters;
            *(if absence.name_taken { &mut counters.names_taken } else { &mut counters.connections_refused }) += 1;
            absence.stage = Stage::Away;
            absence.end_wait(now());
            self.absences.push(now() + RETRY_AFTER, index, Step::Connect);
        }
        self.send_waiting_joins(room);
    }

    /// Returns whether a member is connecting again.
    pub(super) fn is_returning(&self, index: usize) -> bool {
        self.absences.by_connection.get(&index).is_some_and(|absence| absence.stage == Stage::Joining)
    }

    /// Records that the name of a returning member is still taken.
    pub(super) fn note_taken_name(&mut self, index: usize) {
        if let Some(absence) = self.absences.by_connection.get_mut(&index) {
            absence.name_taken = true;
        }
    }

    /// Records that a returning member waits with its join request for that of another member.
    pub(super) fn note_waiting_join(&mut self, index: usize) {
        if let Some(absence) = self.absences.by_connection.get_mut(&index) {
            absence.waits_since = Some(now());
        }
    }

    /// Sends the join requests of a room that waited for another member.
    pub(super) fn send_waiting_joins(&mut self, room: usize) {
        let members = self.rooms[room].take_join_requests();
        let first = self.rooms[room].connections.start;
        for index in members.into_iter().map(|member| first + member) {
            if let Some(absence) = self.absences.by_connection.get_mut(&index) {
                absence.end_wait(now());
            }
            self.send_join(index);
        }
    }

    /// Counts the time that an event of a returning member has waited for the worker.
    pub(super) fn note_own_lag(&mut self, index: usize, now: Tick) {
        let lag = self.poll_times.receive_lag(now);
        if let Some(absence) = self.absences.by_connection.get_mut(&index) {
            absence.add_own_lag(now.saturating_sub(lag), now);
        }
    }

    /// Ends the absence of a member that is in its room again.
    pub(super) fn finish_absence(&mut self, index: usize, now: Tick) {
        let Some(absence) = self.absences.by_connection.remove(&index) else { return };
        let metrics = &mut self.report.metrics;
        let join = now.saturating_sub(absence.planned);
        metrics.return_join.record(join, 1);
        metrics.return_join_without_lag.record(join.saturating_sub(absence.own_lag), 1);
        metrics.absence.record(now.saturating_sub(absence.since), 1);
        metrics.counters.returned += 1;
        if let Departures::Churn { stay, .. } = self.share.plan.departures
            && !self.absences.is_over
        {
            let stay = self.absences.random_time(index, ticks(stay));
            self.absences.push(now.saturating_add(stay), index, Step::Leave);
        }
    }

    /// Handles the close of an absent member's connection. Returns whether the member is absent.
    pub(super) fn handle_absent_close(&mut self, index: usize, connection: &Connection) -> bool {
        let Some(absence) = self.absences.by_connection.get(&index).filter(|_| self.phase != Phase::Leaving) else {
            return false;
        };
        if absence.stage == Stage::Joining {
            self.retry_return(index);
            return true;
        }
        self.rooms[connection.room].end_stay(connection.member, &mut self.report.metrics);
        let away = match self.share.plan.departures {
            Departures::Churn { away, .. } if !self.absences.is_over => self.absences.random_time(index, ticks(away)),
            _ => 0,
        };
        self.absences.plan_return(index, now().saturating_add(away));
        true
    }

    /// Gives the last stay of a member up that waits with its return because no other member has shown that stay. The notices
    /// of the stay count as lost. Returns whether the member was waiting.
    fn give_up_stay(&mut self, index: usize) -> bool {
        let (room, member) = self.position(index);
        let Some(absence) = self.absences.by_connection.get_mut(&index) else { return false };
        if absence.stage != Stage::Away || absence.was_opened {
            return false;
        }
        // The next connection has a deadline of its own.
        absence.deadline = None;
        self.last_progress = now();
        if !self.rooms[room].is_away(member) {
            self.rooms[room].give_up(member);
        }
        true
    }

    /// Gives all stays up that keep absent members from coming back. Returns whether there were any.
    pub(super) fn give_up_stays(&mut self) -> bool {
        let absent: Vec<usize> = self.absences.by_connection.keys().copied().collect();
        absent.into_iter().filter(|index| self.give_up_stay(*index)).count() > 0
    }

    /// Ends the run where the server has not closed the connection of a leaving member, or not let a member back in, within
    /// the plan's patience. A stay that no other member has shown in that time is given up, and the run goes on.
    fn check_deadline(&mut self, index: usize, planned: Tick, now: Tick) {
        if !self.absences.deadline_is_over(index, planned, now) || self.give_up_stay(index) {
            return;
        }
        let Some(absence) = self.absences.by_connection.get(&index) else { return };
        let (target, patience) = (self.share.plan.server_list(), humantime::format_duration(self.share.plan.patience));
        self.fail(match absence.stage {
            Stage::Leaving => {
                format!("{target} kept the connection of a leaving member open for {patience} after its sending side was shut down")
            }
            Stage::Away | Stage::Joining => self.describe_absence(),
        });
    }

    /// Describes a member that the server does not let back in.
    pub(super) fn describe_absence(&self) -> String {
        let (target, patience) = (self.share.plan.server_list(), humantime::format_duration(self.share.plan.patience));
        let counters = &self.report.metrics.counters;
        let refusal = self.report.refusal.as_ref().map_or(String::new(), |words| format!(", first with `{words}`"));
        let error = self.absences.first_error.as_ref().map_or(String::new(), |error| format!(" (first: {error})"));
        format!(
            "{target} kept a member that came back out of its room for {patience}: {} connections were refused{error}, {} names were \
             taken{refusal}",
            counters.connections_refused, counters.names_taken
        )
    }
}
