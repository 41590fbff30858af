//! What connections have to say: polled, read into the one buffer, and given to their rooms.

use std::io;
use std::time::Duration;

use mio::Events;

use super::{ALARM, BUFFER, EVENTS, Phase, WAKE, Worker};
use crate::clock::{now, ticks};
use crate::connection::Arrived;
use crate::room::Trouble;

impl Worker<'_> {
    /// Serves what a poll found.
    pub(super) fn serve(&mut self, events: &Events, polled: io::Result<()>) {
        match polled {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return,
            Err(error) => return self.fail(format!("cannot poll: {error}")),
            Ok(()) => {}
        }
        for event in events {
            if event.token() != WAKE && event.token() != ALARM {
                let end = event.is_read_closed() || event.is_error();
                self.turn_to(event.token().0, event.is_writable(), end);
            }
        }
    }

    /// Reads the members that are read now and then, when it is time.
    pub(super) fn read_the_lazy(&mut self, events: &mut Events) {
        let read_every = ticks(self.share.plan.read_every);
        if read_every == 0 || now() < self.lazy_at {
            return;
        }
        loop {
            let polled = self.lazy.poll(events, Some(Duration::ZERO));
            self.serve(events, polled);
            if events.iter().count() < EVENTS || self.phase == Phase::Done {
                break;
            }
        }
        self.lazy_at = now() + read_every;
    }

    /// Serves one connection.
    fn turn_to(&mut self, index: usize, writable: bool, end: bool) {
        let Some(connection) = self.connections[index].as_mut() else { return };
        if !connection.connected {
            match connection.finish_connecting() {
                Ok(true) => self.greet(index),
                Ok(false) => return,
                Err(error) => return self.refused(&error),
            }
        } else if writable && !connection.pending.is_empty() {
            connection.flush();
        }
        self.read(index, end);
    }

    /// Reads a connection until it has nothing more. A read that leaves room in the buffer took all there was,
    /// unless the connection has ended: then the end is still to be read.
    fn read(&mut self, index: usize, end: bool) {
        while let Some(connection) = self.connections[index].as_mut() {
            let arrived = connection.read(&mut self.buffer);
            let (room, member) = (connection.room, connection.member);
            match arrived {
                Arrived::Nothing => return,
                Arrived::End => return self.closed(index),
                Arrived::Bytes(count) => {
                    let now = now();
                    self.heard = now;
                    let metrics = &mut self.report.metrics;
                    metrics.record_read(now, count);
                    let heard = self.rooms[room].receive(member, &self.buffer[..count], now, metrics);
                    self.react(index, &heard, now);
                    if self.talk.closed_loop && self.phase == Phase::Talking {
                        self.ready_rooms.push(room);
                    }
                    if count < BUFFER && !end {
                        return;
                    }
                }
            }
        }
    }

    /// Notes the end of a connection.
    fn closed(&mut self, index: usize) {
        let Some(connection) = self.connections[index].take() else { return };
        self.ended += 1;
        if self.rooms[connection.room].unexplained(connection.member) {
            self.trouble(&Trouble::Refused("ERROR".into()));
        }
        let inside = self.rooms[connection.room].gone(connection.member);
        if self.phase == Phase::Leaving {
            self.heard = now();
            self.report.leaving.1 = self.heard;
            self.report.metrics.counters.left += 1;
            return;
        }
        self.report.metrics.counters.closed += 1;
        self.underway -= usize::from(!inside);
        let target = self.share.plan.target;
        if !inside {
            self.fail(format!("{target} closed a connection before it was in its room"));
        } else if self.ended == self.connections.len() {
            self.fail(format!("{target} closed every connection in mid-run"));
        }
    }
}
