//! Reading: polls the connections, reads them into the shared buffer, and passes the bytes to their rooms.

use std::io;
use std::time::Duration;

use mio::Events;

use super::{ALARM, EVENTS, Phase, WAKE, Worker};
use crate::clock::{now, ticks};
use crate::connection::{READ_BUFFER_BYTES, ReadOutcome};
use crate::room::ServerFault;

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
        loop {
            let polled = self.deferred_poll.poll(events, Some(Duration::ZERO));
            self.handle_events(events, polled);
            if events.iter().count() < EVENTS || self.phase == Phase::Done {
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
                Ok(true) => self.send_opening(index),
                Ok(false) => return,
                Err(error) => return self.fail_connect(&error),
            }
        } else if writable && !connection.pending.is_empty() {
            connection.flush();
        }
        self.read_connection(index, end);
    }

    /// Reads a connection until no bytes are available. A read that does not fill the buffer has returned all bytes;
    /// only a closed connection is read once more, to receive its end.
    pub(super) fn read_connection(&mut self, index: usize, end: bool) {
        while let Some(connection) = self.connections[index].as_mut() {
            let outcome = connection.read(&mut self.buffer);
            let (room, member) = (connection.room, connection.member);
            match outcome {
                ReadOutcome::WouldBlock => return,
                ReadOutcome::Closed => return self.handle_close(index),
                ReadOutcome::Bytes(count) => {
                    let now = now();
                    self.last_receive = now;
                    let metrics = &mut self.report.metrics;
                    metrics.record_read(now, count);
                    let received = self.rooms[room].receive(member, &self.buffer[..count], now, metrics);
                    self.handle_received(index, &received, now);
                    if self.sending.closed_loop && self.phase == Phase::Sending {
                        self.ready_rooms.push(room);
                    }
                    if count < READ_BUFFER_BYTES && !end {
                        return;
                    }
                }
            }
        }
    }

    /// Records the close of a connection.
    fn handle_close(&mut self, index: usize) {
        let Some(connection) = self.connections[index].take() else { return };
        self.ended += 1;
        if self.rooms[connection.room].take_unexplained_refusal(connection.member) {
            self.handle_fault(&ServerFault::Refused("ERROR".into()));
        }
        let inside = self.rooms[connection.room].mark_left(connection.member);
        if self.phase == Phase::Leaving {
            self.last_receive = now();
            self.report.leaving.1 = self.last_receive;
            self.report.metrics.counters.left += 1;
            return;
        }
        self.report.metrics.counters.closed += 1;
        self.joining -= usize::from(!inside);
        let target = self.share.plan.target;
        if !inside {
            self.fail(format!("{target} closed a connection before it was in its room"));
        } else if self.ended == self.connections.len() {
            self.fail(format!("{target} closed every connection during the run"));
        }
    }
}
