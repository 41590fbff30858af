//! Reading: polls the connections, reads them into the shared buffer, and passes the bytes to their rooms.

use std::io;
use std::time::Duration;

use mio::Events;

use super::{ALARM, EVENTS, Phase, WAKE, Worker, is_full};
use crate::clock::{now, ticks};
use crate::connection::{Connection, READ_BUFFER_BYTES, ReadOutcome};
use crate::room::ServerFault;

/// Reads of one connection until the others get their turn: a server that sends without end must not hold the worker.
const READS_PER_TURN: usize = 16;

impl Worker<'_> {
    /// Handles the events of a poll.
    pub(super) fn handle_events(&mut self, events: &Events, polled: io::Result<()>) {
        match polled {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return,
            Err(error) => return self.fail(format!("cannot poll: {error}")),
            Ok(()) => {}
        }
        for event in events {
            if event.token() != WAKE && event.token() != ALARM {
                let end = event.is_read_closed() || event.is_error();
                self.handle_ready(event.token().0, event.is_writable(), end);
            }
        }
    }

    /// Reads the deferred connections when their interval has passed.
    pub(super) fn read_deferred(&mut self, events: &mut Events) {
        let read_every = ticks(self.share.plan.read_every);
        if read_every == 0 || now() < self.next_deferred_read {
            return;
        }
        let start = now();
        // A batch of events for each connection, and then the others get their turn.
        for _ in 0..=self.connections.len() / EVENTS {
            let polled = self.deferred_poll.poll(events, Some(Duration::ZERO));
            self.handle_events(events, polled);
            if !is_full(events) || self.phase == Phase::Done {
                break;
            }
        }
        self.report.metrics.previous_deferred_read = start;
        self.next_deferred_read = now() + read_every;
    }

    /// Handles one connection that is ready.
    fn handle_ready(&mut self, index: usize, writable: bool, end: bool) {
        let Some(connection) = self.connections[index].as_mut() else { return };
        if !connection.connected {
            match connection.check_connected() {
                Ok(true) => {
                    self.note_own_lag(index, now());
                    self.send_opening(index);
                }
                Ok(false) => return,
                Err(error) => return self.handle_connect_error(index, &error),
            }
        } else if writable {
            connection.flush_writable();
            connection.record_written(now(), &mut self.report.metrics);
        }
        self.read_connection(index, end);
    }

    /// Reads the connections that had more bytes than their turn.
    pub(super) fn read_unread(&mut self) {
        for index in std::mem::take(&mut self.unread) {
            self.read_connection(index, true);
        }
    }

    /// Reads a connection until no bytes are available, or its turn is over. A read that does not fill the buffer has
    /// returned all bytes; only a closed connection is read once more, to receive its end.
    pub(super) fn read_connection(&mut self, index: usize, end: bool) {
        for _ in 0..READS_PER_TURN {
            let Some(connection) = self.connections[index].as_mut() else { return };
            let outcome = connection.read(&mut self.buffer);
            let (room, member) = (connection.room, connection.member);
            match outcome {
                ReadOutcome::WouldBlock => return,
                ReadOutcome::Closed => return self.handle_close(index),
                ReadOutcome::Bytes(count) => {
                    self.receive(index, (room, member), count);
                    if count < READ_BUFFER_BYTES && !end {
                        return;
                    }
                }
            }
        }
        self.unread.push(index);
    }

    /// Passes the bytes of a read to their room, and reacts to them.
    pub(super) fn receive(&mut self, index: usize, (room, member): (usize, usize), count: usize) {
        let now = now();
        let metrics = &mut self.report.metrics;
        metrics.record_read(now, count, self.poll_times.receive_lag(now));
        let before = (metrics.counters.progress(), metrics.counters.delivered);
        let received = self.rooms[room].receive(member, &self.buffer[..count], now, metrics);
        if metrics.counters.progress() != before.0 || received.ready || received.entered {
            self.last_progress = now;
        }
        if metrics.counters.delivered != before.1 {
            self.sending.last_delivery = now;
        }
        self.handle_received(index, &received, now);
        if self.sending.closed_loop && self.phase == Phase::Sending {
            self.ready_rooms.push(room);
        }
    }

    /// Records the close of a connection.
    pub(super) fn handle_close(&mut self, index: usize) {
        let Some(mut connection) = self.connections[index].take() else { return };
        self.retract_lines(&mut connection);
        if self.handle_absent_close(index, &connection) {
            return;
        }
        self.ended += 1;
        let is_expected = self.rooms[connection.room].is_leaving(connection.member);
        let is_permitted = !is_expected && self.rooms[connection.room].may_be_closed(connection.member);
        if is_permitted {
            self.count_slow_close(&connection);
        } else if self.rooms[connection.room].take_unexplained_refusal(connection.member) {
            self.handle_fault(index, &ServerFault::Refused("ERROR".into()));
        }
        let inside = self.rooms[connection.room].mark_left(connection.member);
        self.send_waiting_joins(connection.room);
        if self.phase == Phase::Leaving {
            self.last_progress = now();
            self.report.leaving.1 = self.last_progress;
            let counters = &mut self.report.metrics.counters;
            *(if is_expected { &mut counters.left } else { &mut counters.closed }) += u64::from(!is_permitted);
            return;
        }
        self.report.metrics.counters.closed += u64::from(!is_permitted);
        self.joining -= usize::from(!inside);
        if !inside {
            self.fail(format!("{} closed a connection before it was in its room", self.server_of(index)));
        } else if self.ended == self.connections.len() {
            self.fail(format!("{} closed every connection during the run", self.share.plan.server_list()));
        }
    }

    /// Counts a slow member that the server has closed, by the reason that the server gave.
    fn count_slow_close(&mut self, connection: &Connection) {
        let reason = self.rooms[connection.room].take_close_reason(connection.member);
        self.report.metrics.counters.slow_closed += 1;
        let untold = if connection.was_reset { "reset without a reason" } else { "without a reason" };
        self.report.metrics.slow_closes.count(reason.as_deref().unwrap_or(untold), 1);
    }
}
