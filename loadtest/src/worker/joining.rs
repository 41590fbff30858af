//! The phase of joining: opens a bounded number of connections at a time until all members have joined.

use std::io;
use std::net::SocketAddr;

use mio::{Interest, Token};

use super::{Phase, Worker};
use crate::clock::{SECOND, Tick, now};
use crate::connection::{Connection, SLOW_RECEIVE_BUFFER, source_address};
use crate::message::Event;
use crate::room::{Received, ServerFault};

/// Time without progress after which join notices that servers may leave out are no longer awaited.
const REMOTE_JOIN_PATIENCE: Tick = SECOND;

impl Worker<'_> {
    /// Opens connections up to the bound of joining ones, and checks whether all have joined.
    pub(super) fn open_connections(&mut self) {
        while self.joining < self.share.plan.connecting && self.opened < self.connections.len() {
            if let Err(error) = self.open(self.opened) {
                return self.fail_connect(self.opened, &error);
            }
            self.opened += 1;
            self.joining += 1;
        }
        let (joined, all) = (self.report.metrics.counters.joined, self.connections.len() as u64);
        if joined == all {
            // Join notices that do not arrive within the plan's patience count as lost.
            if self.timed_out() || self.joins_are_announced() {
                self.enter(Phase::Idle);
                (self.send_event)(Event::AllJoined);
            }
        } else if self.timed_out() {
            let (target, remedy) = (self.share.plan.server_list(), self.share.plan.protocol.describe_silence());
            self.fail(format!("{joined} of {all} connections joined, then {target} let no further one in: {remedy}"));
        }
    }

    /// Returns whether all join notices have arrived. Those that servers may leave out count as long as progress is made.
    fn joins_are_announced(&self) -> bool {
        let gives_up = now() >= self.last_progress.saturating_add(REMOTE_JOIN_PATIENCE);
        self.rooms.iter().all(|room| room.all_joins_announced() && (gives_up || !room.awaits_optional_joins()))
    }

    /// Returns the server of a connection.
    pub(super) fn server_of(&self, index: usize) -> SocketAddr {
        let (room, member) = self.position(index);
        self.share.plan.server_of(self.share.rooms.start + room, member)
    }

    /// Returns the room of a connection, and its index among the room's members.
    pub(super) fn position(&self, index: usize) -> (usize, usize) {
        let room = self.rooms.partition_point(|room| room.connections.end <= index);
        (room, index - self.rooms[room].connections.start)
    }

    /// Starts to connect.
    pub(super) fn open(&mut self, index: usize) -> io::Result<()> {
        let (room, member) = self.position(index);
        let plan = &self.share.plan;
        let number = plan.first_connection(self.share.rooms.start) + index;
        let target = self.server_of(index);
        let from = source_address(target, number, plan.sources);
        let receive_buffer = self.rooms[room].is_slow(member).then_some(SLOW_RECEIVE_BUFFER);
        let mut connection = Connection::open(target, (from, receive_buffer), (room, member), now())?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        // All connections are read immediately until sending starts, because the time of each join is measured.
        self.poll.registry().register(connection.stream(), Token(index), interest)?;
        self.connections[index] = Some(connection);
        Ok(())
    }

    /// Lets a member that comes back try again where the server did not accept its connection, and ends the run at any other
    /// error. While all members leave, a connection that was not established counts as closed.
    pub(super) fn handle_connect_error(&mut self, index: usize, error: &io::Error) {
        let is_returning = self.is_returning(index);
        if is_returning && self.phase == Phase::Leaving {
            self.connections[index] = None;
            self.ended += 1;
        } else if is_returning && is_refusal(error) {
            self.absences.first_error.get_or_insert_with(|| error.to_string());
            self.retry_return(index);
        } else {
            self.fail_connect(index, error);
        }
    }

    /// Ends the run because the server does not accept a connection.
    fn fail_connect(&mut self, index: usize, error: &io::Error) {
        let (target, joined) = (self.server_of(index), self.report.metrics.counters.joined);
        self.fail(format!("cannot connect to {target} after {joined} connections: {error}"));
    }

    /// Sends the first bytes of the protocol.
    pub(super) fn send_opening(&mut self, index: usize) {
        let Some(connection) = self.connections[index].as_mut() else { return };
        let room = &self.rooms[connection.room];
        let name = room.member_name(connection.member);
        self.share.plan.protocol.protocol().encode_open(&name, &room.name, connection.pending.buffer());
        connection.flush();
    }

    /// Sends the join request of the protocol.
    pub(super) fn send_join(&mut self, index: usize) {
        let Some(connection) = self.connections[index].as_mut() else { return };
        let room = &self.rooms[connection.room];
        let name = room.member_name(connection.member);
        self.share.plan.protocol.protocol().encode_join(&name, &room.name, connection.pending.buffer());
        connection.flush();
    }

    /// Reacts to received frames: sends join and reply bytes, counts a join, and handles a fault.
    pub(super) fn handle_received(&mut self, index: usize, received: &Received, now: Tick) {
        if !(received.ready || received.entered || received.fault.is_some() || !received.reply.is_empty()) {
            return;
        }
        let Some(connection) = self.connections[index].as_mut() else { return };
        let (room, member, started) = (connection.room, connection.member, connection.started);
        connection.pending.buffer().extend_from_slice(&received.reply);
        connection.flush();
        if received.name_taken {
            self.note_taken_name(index);
        }
        if received.ready {
            self.note_own_lag(index, now);
            if self.rooms[room].request_join(member) {
                self.send_join(index);
            } else {
                self.note_waiting_join(index);
            }
        }
        if received.entered && self.is_returning(index) {
            self.note_own_lag(index, now);
            self.finish_absence(index, now);
            self.send_waiting_joins(room);
        } else if received.entered {
            self.report.metrics.join.record(now.saturating_sub(started), 1);
            self.report.metrics.counters.joined += 1;
            self.report.joining.1 = now;
            self.joining = self.joining.saturating_sub(1);
        }
        if let Some(fault) = &received.fault {
            self.handle_fault(index, fault);
        }
    }

    /// Ends the run at a refusal while joining, and at an unknown frame in any phase but leaving.
    pub(super) fn handle_fault(&mut self, index: usize, fault: &ServerFault) {
        let (target, protocol) = (self.server_of(index), self.share.plan.protocol);
        if let ServerFault::Refused(words) = fault {
            self.report.refusal.get_or_insert_with(|| words.clone());
        }
        match fault {
            ServerFault::UnknownFrame(words) if self.phase != Phase::Leaving => {
                self.fail(format!("{target} does not speak --protocol {protocol}: it sent `{words}`"));
            }
            ServerFault::AheadOfRoom(room) => {
                self.fail(format!("{target} sent a member of room {room} many lines that it sent no other member"));
            }
            ServerFault::Refused(words) if self.phase == Phase::Joining => {
                let refusal = protocol.describe_refusal(words);
                self.fail(format!("{target} refused a connection: it sent {refusal}"));
            }
            _ => {}
        }
    }
}

/// Returns whether a connect failed at the server. Any other error is one of this machine: it has no port or descriptor left.
fn is_refusal(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, TimedOut};
    matches!(error.kind(), ConnectionRefused | ConnectionReset | TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_of_the_own_machine_is_no_refusal_by_the_server() {
        let kinds = |codes: &[i32]| codes.iter().map(|code| is_refusal(&io::Error::from_raw_os_error(*code))).collect();
        // ECONNREFUSED, ECONNRESET and ETIMEDOUT; EADDRNOTAVAIL, EMFILE and ENFILE.
        let (server, machine): (Vec<bool>, Vec<bool>) = (kinds(&[111, 104, 110]), kinds(&[99, 24, 23]));
        assert_eq!((server, machine), (vec![true; 3], vec![false; 3]));
    }
}
