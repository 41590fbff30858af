//! The phases of sending and draining: lines are sent when they are due, then the last deliveries arrive.

use std::collections::HashMap;
use std::io;

use mio::{Interest, Token};

use super::sampling::SAMPLE_INTERVAL;
use super::schedule::{PlannedLine, Schedule};
use super::{Phase, Worker};
use crate::clock::{SECOND, Tick, now, ticks};
use crate::connection::{Connection, MAX_PENDING_BYTES};
use crate::message::Event;
use crate::plan::{Pacing, Stop};
use crate::room::Room;
use crate::thread_usage::UsageMeter;

/// The state of sending.
#[derive(Debug, Default)]
pub(super) struct SendState {
    /// Whether the arrival of a line makes the next one due.
    pub(super) closed_loop: bool,
    /// The tick at which sending starts.
    start: Tick,
    /// The tick at which sending ends, where a duration ends it.
    end: Option<Tick>,
    /// The times of an open loop's lines.
    schedule: Schedule,
    /// The tick of the next check whether all deliveries have arrived.
    next_drain_check: Tick,
    /// The tick of the last delivery.
    pub(super) last_delivery: Tick,
    /// Whether more lines are due than one turn sends.
    pub(super) behind: bool,
}

/// Time since the last delivery after which the lines that are missing count as those that gap notices told.
const TOLD_LINE_PATIENCE: Tick = SECOND;
/// Lines that an open loop sends in one turn. Reads, commands and alarms come between two turns.
const LINES_PER_TURN: u64 = 1024;

impl Worker<'_> {
    /// Enters the phase of sending, whose first line is due at a tick.
    pub(super) fn start_sending(&mut self, start: Tick) {
        let from = start + ticks(self.share.plan.warmup);
        let end = self.planned_window().map(|length| from + length);
        let schedule = Schedule::new(&self.share, start, self.rooms.len());
        self.sending = SendState { start, end, schedule, ..SendState::default() };
        self.sending.closed_loop = matches!(self.share.plan.pacing, Pacing::Closed { .. });
        self.report.metrics.set_window(start, (from, end.unwrap_or(Tick::MAX)));
        self.ready_rooms.extend(0..self.rooms.len());
        self.enter(Phase::Sending);
        self.last_progress = start;
        self.next_rotation = start + SAMPLE_INTERVAL;
        self.start_departures(start);
        self.slow_reads.start(start);
        if let Err(error) = self.move_deferred_to_own_poll() {
            self.fail(format!("cannot poll: {error}"));
        }
    }

    /// Moves the members whose reads are deferred to their own poll, and the slow ones to no poll.
    fn move_deferred_to_own_poll(&mut self) -> io::Result<()> {
        for (index, connection) in self.connections.iter_mut().enumerate() {
            let Some(connection) = connection else { continue };
            if self.rooms[connection.room].is_slow(connection.member) {
                self.poll.registry().deregister(connection.stream())?;
                self.slow_reads.push(index);
            } else if !self.rooms[connection.room].is_read_immediately(connection.member) {
                self.poll.registry().deregister(connection.stream())?;
                let interest = Interest::READABLE | Interest::WRITABLE;
                self.deferred_poll.registry().register(connection.stream(), Token(index), interest)?;
            }
        }
        Ok(())
    }

    /// Sends every line that is due, and sets the alarm to the next one.
    pub(super) fn send_due_lines(&mut self) {
        let now = now();
        if now < self.sending.start {
            return self.wake_at(self.sending.start);
        }
        if !self.meter.is_running() && now >= self.report.metrics.window.0 {
            self.meter = UsageMeter::start();
        }
        let all_sent = match self.share.plan.pacing {
            Pacing::Quiet => self.sending.end.is_none(),
            Pacing::Open { .. } => self.send_scheduled(now),
            Pacing::Closed { window } => self.fill_windows(now, window),
        };
        let stalled = self.sending.closed_loop && self.timed_out();
        let over = self.sending.end.map_or(all_sent, |end| now >= end);
        if over || stalled {
            self.report.finished = now;
            self.count_unsent_lines();
            if self.sending.end.is_some() {
                self.stop_meter();
            }
            self.sending.behind = false;
            self.enter(Phase::Draining);
            self.resume_reading();
        } else {
            self.wake_at(self.sending.end.unwrap_or(Tick::MAX));
        }
    }

    /// Counts the lines that an open loop planned before its end and has not sent: the generator was too slow for them.
    fn count_unsent_lines(&mut self) {
        if let (Pacing::Open { .. }, Some(end)) = (self.share.plan.pacing, self.sending.end) {
            self.report.metrics.counters.unsent += self.sending.schedule.lines_before(end);
        }
    }

    fn wake_at(&mut self, tick: Tick) {
        let tick = if self.share.plan.departures.exist() { self.absences.next_tick(now()).min(tick) } else { tick };
        let next = match self.share.plan.pacing {
            Pacing::Open { .. } if self.sending.start <= now() => self.sending.schedule.next().planned.min(tick),
            _ => tick,
        };
        self.set_alarm(next);
    }

    fn set_alarm(&mut self, tick: Tick) {
        if let Err(error) = self.alarm.set(tick) {
            self.fail(format!("cannot set the alarm: {error}"));
        }
    }

    /// Sends the lines of an open loop that are planned until `due`, as many as one turn allows. Returns whether all lines have been sent.
    fn send_scheduled(&mut self, due: Tick) -> bool {
        self.sending.behind = false;
        let cut_is_due = self.absences.cut_is_due(due);
        for _ in 0..LINES_PER_TURN {
            let PlannedLine { number, planned, room } = self.sending.schedule.next();
            let enough = match self.share.plan.stop {
                Stop::Lines(lines) => number >= lines.saturating_mul(self.rooms.len() as u64),
                Stop::After(_) => self.sending.end.is_some_and(|end| planned >= end),
            };
            if enough {
                return true;
            }
            if planned > due {
                return false;
            }
            self.sending.schedule.advance();
            let sender = if cut_is_due { None } else { self.queue_line(room, planned, now()) };
            match sender {
                Some(sender) => self.flush_sender(sender, planned, 1),
                None => self.report.metrics.counters.withheld += 1,
            }
        }
        self.sending.behind = true;
        false
    }

    /// Fills the windows of a closed loop: each room with free capacity gets new lines, and each sender writes once.
    /// Returns whether all lines have been sent.
    fn fill_windows(&mut self, now: Tick, window: usize) -> bool {
        let most = match self.share.plan.stop {
            Stop::Lines(lines) => lines,
            Stop::After(_) => u64::MAX,
        };
        let mut rooms = std::mem::take(&mut self.ready_rooms);
        // The senders that have new lines, each once, with their number.
        let mut senders: HashMap<usize, u64> = HashMap::new();
        for room in rooms.drain(..) {
            if self.rooms[room].awaits_deferred_reads() {
                // Reading the deferred members makes the room ready again.
                self.next_deferred_read = 0;
                continue;
            }
            while self.rooms[room].in_flight() < window && self.rooms[room].lines_sent() < most {
                let Some(sender) = self.queue_line(room, now, now) else { break };
                *senders.entry(sender).or_default() += 1;
            }
            for (sender, lines) in senders.drain() {
                self.flush_sender(sender, now, lines);
            }
        }
        self.ready_rooms = rooms;
        most != u64::MAX && self.rooms.iter().all(|room| room.lines_sent() >= most)
    }

    /// Appends a room's next line to the pending bytes of its sender's connection. Returns that connection's index.
    fn queue_line(&mut self, room: usize, planned: Tick, sent: Tick) -> Option<usize> {
        let room = &mut self.rooms[room];
        let member = room.next_line(planned, sent, &mut self.payload)?;
        let index = room.connections.start + member;
        if let Some(connection) = self.connections[index].as_mut() {
            self.share.plan.protocol.protocol().encode_line(&room.name, &self.payload, connection.pending.buffer());
            connection.note_line(planned);
        }
        Some(index)
    }

    /// Writes a sender's pending bytes, the last of which are `lines` lines that were planned at one tick. The send lag
    /// ends here. A socket that accepts no more bytes delays the lines further: then the server reads slowly.
    fn flush_sender(&mut self, index: usize, planned: Tick, lines: u64) {
        let Some(connection) = self.connections[index].as_mut() else { return };
        connection.flush();
        let now = now();
        let pending_bytes = connection.pending.len();
        let metrics = &mut self.report.metrics;
        if metrics.in_window(planned) {
            metrics.send_lag.record(now.saturating_sub(planned), lines);
        }
        connection.record_written(now, metrics);
        metrics.counters.writes += 1;
        metrics.counters.window_writes += u64::from(metrics.in_window(now));
        if pending_bytes > MAX_PENDING_BYTES {
            let target = self.server_of(index);
            let option = if self.sending.closed_loop { "--in-flight" } else { "--rate" };
            self.fail(format!(
                "{target} reads a sender's lines more slowly than the generator sends them: lower {option}"
            ));
        }
    }

    /// Ends the phase of draining when all deliveries have arrived, or none arrives within the plan's patience.
    pub(super) fn check_drained(&mut self) {
        let now = now();
        if now < self.sending.next_drain_check {
            return self.wake_at_drain_check(now);
        }
        self.sending.next_drain_check = now + SECOND / 100;
        if (self.is_quiet() && !self.awaits_told_lines(now)) || self.timed_out() {
            if self.give_up_stays() {
                return self.wake_at_drain_check(now);
            }
            if !self.absences.are_over() {
                return self.fail(self.describe_absence());
            }
            self.retract_unwritten_lines();
            if self.report.metrics.window.1 == Tick::MAX {
                // A line that was planned has been sent, but perhaps none has arrived.
                self.report.metrics.window.1 = self.sending.last_delivery.max(self.report.metrics.window.0);
            }
            self.stop_meter();
            self.report.finished = self.report.finished.max(self.report.metrics.window.1);
            self.enter(Phase::Idle);
            (self.send_event)(Event::Drained);
        } else {
            self.wake_at_drain_check(now);
        }
    }

    /// Returns whether every line is written and has arrived, every notice has arrived, and no member is absent.
    pub(super) fn is_quiet(&self) -> bool {
        self.connections.iter().flatten().all(|connection| connection.pending.is_empty())
            && self.absences.are_over()
            && self.rooms.iter().all(Room::is_complete)
    }

    /// Returns whether lines may still arrive although their members were told of as many missing ones: those that were told
    /// may be others.
    fn awaits_told_lines(&self, now: Tick) -> bool {
        now < self.sending.last_delivery.saturating_add(TOLD_LINE_PATIENCE) && self.rooms.iter().any(Room::has_gaps)
    }

    /// Sets the alarm to the next check of the drain, or to an earlier return of a member.
    fn wake_at_drain_check(&mut self, now: Tick) {
        self.set_alarm(self.sending.next_drain_check.min(self.absences.next_tick(now)));
    }

    /// Subtracts the lines that no socket has accepted whole: they count as not sent.
    pub(super) fn retract_unwritten_lines(&mut self) {
        let mut connections = std::mem::take(&mut self.connections);
        connections.iter_mut().flatten().for_each(|connection| self.retract_lines(connection));
        self.connections = connections;
    }

    /// Subtracts the lines that the socket of a connection has not accepted whole.
    pub(super) fn retract_lines(&mut self, connection: &mut Connection) {
        let lines = connection.take_unwritten_lines();
        // A member that is no sender has none.
        if lines > 0 {
            self.rooms[connection.room].retract_lines(connection.member, u32::try_from(lines).unwrap_or(u32::MAX));
        }
    }
}
