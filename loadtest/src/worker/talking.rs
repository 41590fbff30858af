//! Talk: lines are sent when their pace makes them due; then what was sent arrives.

use std::io;

use mio::{Interest, Token};

use super::{ALARM, Phase, Worker};
use crate::clock::{SECOND, Tick, now, ticks};
use crate::message::Event;
use crate::plan::{Pacing, Stop};
use crate::thread_usage::Meter;

/// What one connection may hold back because the server doesn't read it, before the run is pointless.
pub(crate) const HELD_BACK: usize = 8 * 1024 * 1024;

/// Where talking is.
#[derive(Debug, Default)]
pub(super) struct Talk {
    /// Whether the arrival of a line makes the next one due.
    pub(super) closed_loop: bool,
    /// When it began.
    start: Tick,
    /// When it ends, if time ends it.
    end: Option<Tick>,
    /// Lines planned so far.
    planned: u64,
    /// Deliveries when quiet was last looked for.
    drain_look: Tick,
    /// Whether the effort of the window is being measured.
    measuring: bool,
}

impl Worker<'_> {
    /// Sets out to talk at a tick.
    pub(super) fn begin_talking(&mut self, start: Tick) {
        let from = start + ticks(self.share.plan.warmup);
        let end = self.window().map(|length| from + length);
        self.talk = Talk { start, end, ..Talk::default() };
        self.talk.closed_loop = matches!(self.share.plan.pacing, Pacing::Closed { .. });
        self.report.metrics.set_window(start, (from, end.unwrap_or(Tick::MAX)));
        self.ready_rooms.extend(0..self.rooms.len());
        self.heard = start;
        self.phase = Phase::Talking;
        if let Err(error) = self.part_the_lazy() {
            self.fail(format!("cannot poll: {error}"));
        }
    }

    /// Moves members that are read now and then to their own poll.
    fn part_the_lazy(&mut self) -> io::Result<()> {
        for (index, connection) in self.connections.iter_mut().enumerate() {
            let Some(connection) = connection else { continue };
            if !self.rooms[connection.room].is_prompt(connection.member) {
                self.poll.registry().deregister(connection.stream())?;
                let interest = Interest::READABLE | Interest::WRITABLE;
                self.lazy.registry().register(connection.stream(), Token(index), interest)?;
            }
        }
        Ok(())
    }

    /// Sends every line whose time has come, and sets the alarm to the next one's.
    pub(super) fn say_what_is_due(&mut self) {
        let now = now();
        if now < self.talk.start {
            return self.wake_at(self.talk.start);
        }
        if !self.talk.measuring && now >= self.report.metrics.window.0 {
            self.talk.measuring = true;
            self.meter = Meter::start();
        }
        let all_said = match self.share.plan.pacing {
            Pacing::Quiet => self.talk.end.is_none(),
            Pacing::Open { millilines_per_second } => self.say_planned(now, millilines_per_second),
            Pacing::Closed { window } => self.say_into_windows(now, window),
        };
        let stalled = self.talk.closed_loop && self.out_of_patience();
        let over = self.talk.end.map_or(all_said, |end| now >= end);
        if over || stalled {
            self.report.finished = now;
            if self.talk.end.is_some() {
                self.meter.stop(&mut self.report.usage);
            }
            self.phase = Phase::Draining;
        } else {
            self.wake_at(self.talk.end.unwrap_or(Tick::MAX));
        }
    }

    fn wake_at(&mut self, tick: Tick) {
        let next = match self.share.plan.pacing {
            Pacing::Open { millilines_per_second } if self.talk.start <= now() => {
                self.planned_at(self.talk.planned, millilines_per_second).min(tick)
            }
            _ => tick,
        };
        if let Err(error) = self.alarm.set(next) {
            self.fail(format!("cannot set alarm {}: {error}", ALARM.0));
        }
    }

    /// When an open loop's line is planned: the rooms take turns at equal distances, and so do the workers.
    fn planned_at(&self, line: u64, millilines: u64) -> Tick {
        let rate = u128::from(millilines) * self.rooms.len() as u128;
        let (worker, workers) = self.share.worker;
        let part = u128::from(line) * workers as u128 + worker as u128;
        let offset = part * u128::from(SECOND) * 1000 / (rate * workers as u128);
        self.talk.start + u64::try_from(offset).unwrap_or(u64::MAX / 2)
    }

    /// The open loop. Returns whether it has said all.
    fn say_planned(&mut self, now: Tick, millilines: u64) -> bool {
        loop {
            let planned = self.planned_at(self.talk.planned, millilines);
            let room = usize::try_from(self.talk.planned).unwrap_or(usize::MAX) % self.rooms.len();
            let enough = match self.share.plan.stop {
                Stop::Lines(lines) => self.talk.planned >= lines * self.rooms.len() as u64,
                Stop::After(_) => self.talk.end.is_some_and(|end| planned >= end),
            };
            if enough {
                return true;
            }
            if planned > now {
                return false;
            }
            self.talk.planned += 1;
            if let Some(sender) = self.say(room, planned) {
                self.send(sender, planned);
            }
        }
    }

    /// The closed loop: each room whose lines came through gets new ones, one write for each sender.
    /// Returns whether it has said all.
    fn say_into_windows(&mut self, now: Tick, window: usize) -> bool {
        let most = match self.share.plan.stop {
            Stop::Lines(lines) => lines,
            Stop::After(_) => u64::MAX,
        };
        let mut rooms = std::mem::take(&mut self.ready_rooms);
        let mut senders = Vec::new();
        for room in rooms.drain(..) {
            if self.rooms[room].waits_for_the_lazy() {
                // Reading them makes the room ready again.
                self.lazy_at = 0;
                continue;
            }
            while self.rooms[room].in_flight() < window && self.rooms[room].lines_sent() < most {
                let Some(sender) = self.say(room, now) else { break };
                if !senders.contains(&sender) {
                    senders.push(sender);
                }
            }
            for sender in senders.drain(..) {
                self.send(sender, now);
            }
        }
        self.ready_rooms = rooms;
        most != u64::MAX && self.rooms.iter().all(|room| room.lines_sent() >= most)
    }

    /// Puts a room's next line to what its sender's connection is to write.
    fn say(&mut self, room: usize, planned: Tick) -> Option<usize> {
        let room = &mut self.rooms[room];
        let member = room.say(planned, &mut self.text)?;
        let index = room.connections.start + member;
        if let Some(connection) = self.connections[index].as_mut() {
            self.share.plan.protocol.protocol().say(&room.name, &self.text, &mut connection.pending);
        }
        Some(index)
    }

    fn send(&mut self, index: usize, planned: Tick) {
        let Some(connection) = self.connections[index].as_mut() else { return };
        connection.flush();
        let held_back = connection.pending.len();
        let now = now();
        let metrics = &mut self.report.metrics;
        if metrics.in_window(planned) {
            metrics.send_lag.record(now.saturating_sub(planned), 1);
        }
        metrics.counters.writes += 1;
        metrics.counters.window_writes += u64::from(metrics.in_window(now));
        if held_back > HELD_BACK {
            let target = self.share.plan.target;
            let option = if self.talk.closed_loop { "--in-flight" } else { "--rate" };
            self.fail(format!("{target} reads a sender's lines more slowly than they are sent: lower {option}"));
        }
    }

    /// Ends the wait for the last lines: when all are there, or when nothing comes any more.
    pub(super) fn look_whether_drained(&mut self) {
        let now = now();
        if now < self.talk.drain_look {
            return self.wake_at_look();
        }
        self.talk.drain_look = now + SECOND / 100;
        let written = self.connections.iter().flatten().all(|connection| connection.pending.is_empty());
        if (written && self.rooms.iter().all(crate::room::Room::complete)) || self.out_of_patience() {
            self.take_back_unwritten();
            if self.report.metrics.window.1 == Tick::MAX {
                self.report.metrics.window.1 = self.heard;
            }
            self.meter.stop(&mut self.report.usage);
            self.report.finished = self.report.finished.max(self.report.metrics.window.1);
            self.phase = Phase::Waiting;
            (self.tell)(Event::Drained);
        } else {
            self.wake_at_look();
        }
    }

    fn wake_at_look(&mut self) {
        if let Err(error) = self.alarm.set(self.talk.drain_look) {
            self.fail(format!("cannot set the alarm: {error}"));
        }
    }

    /// Lines that the server never read were not sent.
    pub(super) fn take_back_unwritten(&mut self) {
        for connection in self.connections.iter_mut().flatten().filter(|connection| !connection.pending.is_empty()) {
            let room = &mut self.rooms[connection.room];
            let mut line = Vec::new();
            self.share.plan.protocol.protocol().say(&room.name, &self.text, &mut line);
            let lines = connection.pending.len().div_ceil(line.len());
            room.unsay(connection.member, u32::try_from(lines).unwrap_or(u32::MAX));
            connection.pending = Vec::new();
        }
    }
}
