//! The phases of sending and draining: lines are sent when they are due, then the last deliveries arrive.

use std::io;

use mio::{Interest, Token};

use super::sampling::SAMPLE_INTERVAL;
use super::{Phase, Worker};
use crate::clock::{SECOND, Tick, now, ticks};
use crate::connection::MAX_PENDING_BYTES;
use crate::message::Event;
use crate::plan::{Pacing, Stop};
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
    /// Lines planned so far.
    planned: u64,
    /// The tick of the next check whether all deliveries have arrived.
    next_drain_check: Tick,
    /// Whether the CPU use of the window is being measured.
    measuring: bool,
}

impl Worker<'_> {
    /// Enters the phase of sending, whose first line is due at a tick.
    pub(super) fn start_sending(&mut self, start: Tick) {
        let from = start + ticks(self.share.plan.warmup);
        let end = self.planned_window().map(|length| from + length);
        self.sending = SendState { start, end, ..SendState::default() };
        self.sending.closed_loop = matches!(self.share.plan.pacing, Pacing::Closed { .. });
        self.report.metrics.set_window(start, (from, end.unwrap_or(Tick::MAX)));
        self.ready_rooms.extend(0..self.rooms.len());
        self.last_receive = start;
        self.next_rotation = start + SAMPLE_INTERVAL;
        self.phase = Phase::Sending;
        if let Err(error) = self.move_deferred_to_own_poll() {
            self.fail(format!("cannot poll: {error}"));
        }
    }

    /// Moves the members whose reads are deferred to their own poll.
    fn move_deferred_to_own_poll(&mut self) -> io::Result<()> {
        for (index, connection) in self.connections.iter_mut().enumerate() {
            let Some(connection) = connection else { continue };
            if !self.rooms[connection.room].is_read_immediately(connection.member) {
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
        if !self.sending.measuring && now >= self.report.metrics.window.0 {
            self.sending.measuring = true;
            self.meter = UsageMeter::start();
        }
        let all_sent = match self.share.plan.pacing {
            Pacing::Quiet => self.sending.end.is_none(),
            Pacing::Open { millilines_per_second } => self.send_scheduled(now, millilines_per_second),
            Pacing::Closed { window } => self.fill_windows(now, window),
        };
        let stalled = self.sending.closed_loop && self.timed_out();
        let over = self.sending.end.map_or(all_sent, |end| now >= end);
        if over || stalled {
            self.report.finished = now;
            if self.sending.end.is_some() {
                self.meter.stop(&mut self.report.usage);
            }
            self.phase = Phase::Draining;
        } else {
            self.wake_at(self.sending.end.unwrap_or(Tick::MAX));
        }
    }

    fn wake_at(&mut self, tick: Tick) {
        let next = match self.share.plan.pacing {
            Pacing::Open { millilines_per_second } if self.sending.start <= now() => {
                self.planned_at(self.sending.planned, millilines_per_second).min(tick)
            }
            _ => tick,
        };
        self.set_alarm(next);
    }

    fn set_alarm(&mut self, tick: Tick) {
        if let Err(error) = self.alarm.set(tick) {
            self.fail(format!("cannot set the alarm: {error}"));
        }
    }

    /// Returns the planned time of a line in an open loop. The rooms take turns at equal intervals, and the workers are
    /// staggered.
    fn planned_at(&self, line: u64, millilines: u64) -> Tick {
        let rate = u128::from(millilines) * self.rooms.len() as u128;
        let (worker, workers) = self.share.worker;
        let part = u128::from(line) * workers as u128 + worker as u128;
        let offset = part * u128::from(SECOND) * 1000 / (rate * workers as u128);
        self.sending.start + u64::try_from(offset).unwrap_or(u64::MAX / 2)
    }

    /// Sends the due lines of an open loop. Returns whether all lines have been sent.
    fn send_scheduled(&mut self, now: Tick, millilines: u64) -> bool {
        loop {
            let planned = self.planned_at(self.sending.planned, millilines);
            let room = usize::try_from(self.sending.planned).unwrap_or(usize::MAX) % self.rooms.len();
            let enough = match self.share.plan.stop {
                Stop::Lines(lines) => self.sending.planned >= lines * self.rooms.len() as u64,
                Stop::After(_) => self.sending.end.is_some_and(|end| planned >= end),
            };
            if enough {
                return true;
            }
            if planned > now {
                return false;
            }
            self.sending.planned += 1;
            if let Some(sender) = self.queue_line(room, planned) {
                self.flush_sender(sender, planned);
            }
        }
    }

    /// Fills the windows of a closed loop: each room with free capacity gets new lines, and each sender writes once.
    /// Returns whether all lines have been sent.
    fn fill_windows(&mut self, now: Tick, window: usize) -> bool {
        let most = match self.share.plan.stop {
            Stop::Lines(lines) => lines,
            Stop::After(_) => u64::MAX,
        };
        let mut rooms = std::mem::take(&mut self.ready_rooms);
        let mut senders = Vec::new();
        for room in rooms.drain(..) {
            if self.rooms[room].awaits_deferred_reads() {
                // Reading the deferred members makes the room ready again.
                self.next_deferred_read = 0;
                continue;
            }
            while self.rooms[room].in_flight() < window && self.rooms[room].lines_sent() < most {
                let Some(sender) = self.queue_line(room, now) else { break };
                if !senders.contains(&sender) {
                    senders.push(sender);
                }
            }
            for sender in senders.drain(..) {
                self.flush_sender(sender, now);
            }
        }
        self.ready_rooms = rooms;
        most != u64::MAX && self.rooms.iter().all(|room| room.lines_sent() >= most)
    }

    /// Appends a room's next line to the pending bytes of its sender's connection. Returns that connection's index.
    fn queue_line(&mut self, room: usize, planned: Tick) -> Option<usize> {
        let room = &mut self.rooms[room];
        let member = room.next_line(planned, &mut self.payload)?;
        let index = room.connections.start + member;
        if let Some(connection) = self.connections[index].as_mut() {
            self.share.plan.protocol.protocol().encode_line(&room.name, &self.payload, &mut connection.pending);
        }
        Some(index)
    }

    fn flush_sender(&mut self, index: usize, planned: Tick) {
        let Some(connection) = self.connections[index].as_mut() else { return };
        connection.flush();
        let pending_bytes = connection.pending.len();
        let now = now();
        let metrics = &mut self.report.metrics;
        if metrics.in_window(planned) {
            metrics.send_lag.record(now.saturating_sub(planned), 1);
        }
        metrics.counters.writes += 1;
        metrics.counters.window_writes += u64::from(metrics.in_window(now));
        if pending_bytes > MAX_PENDING_BYTES {
            let target = self.share.plan.target;
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
            return self.set_alarm(self.sending.next_drain_check);
        }
        self.sending.next_drain_check = now + SECOND / 100;
        let written = self.connections.iter().flatten().all(|connection| connection.pending.is_empty());
        if (written && self.rooms.iter().all(crate::room::Room::is_complete)) || self.timed_out() {
            self.retract_unwritten_lines();
            if self.report.metrics.window.1 == Tick::MAX {
                self.report.metrics.window.1 = self.last_receive;
            }
            self.meter.stop(&mut self.report.usage);
            self.report.finished = self.report.finished.max(self.report.metrics.window.1);
            self.phase = Phase::Idle;
            (self.send_event)(Event::Drained);
        } else {
            self.set_alarm(self.sending.next_drain_check);
        }
    }

    /// Subtracts the lines that no socket has accepted: they count as not sent.
    pub(super) fn retract_unwritten_lines(&mut self) {
        for connection in self.connections.iter_mut().flatten().filter(|connection| !connection.pending.is_empty()) {
            let room = &mut self.rooms[connection.room];
            let mut line = Vec::new();
            self.share.plan.protocol.protocol().encode_line(&room.name, &self.payload, &mut line);
            let lines = connection.pending.len().div_ceil(line.len());
            room.retract_lines(connection.member, u32::try_from(lines).unwrap_or(u32::MAX));
            connection.pending = Vec::new();
        }
    }
}
