//! Into the rooms: so many at once, each told how, until all have been announced.

use std::io;

use mio::{Interest, Token};

use super::{Phase, Worker};
use crate::clock::{SECOND, Tick, now};
use crate::connection::{Connection, source_address};
use crate::message::Event;
use crate::room::{Received, ServerFault};

/// How long notices of newcomers may be silent before the missing ones count as lost.
const NOTICE_TIMEOUT: Tick = SECOND;

impl Worker<'_> {
    /// Opens as many connections as may be on their way, and looks whether all are in.
    pub(super) fn open_connections(&mut self) {
        while self.joining < self.share.plan.connecting && self.opened < self.connections.len() {
            if let Err(error) = self.open(self.opened) {
                return self.fail_connect(&error);
            }
            self.opened += 1;
            self.joining += 1;
        }
        let (joined, all) = (self.report.metrics.counters.joined, self.connections.len() as u64);
        if joined == all {
            let quiet = now() >= self.last_receive + NOTICE_TIMEOUT;
            if quiet || self.rooms.iter().all(crate::room::Room::all_joins_announced) {
                self.phase = Phase::Idle;
                (self.send_event)(Event::AllJoined);
            }
        } else if self.timed_out() {
            let target = self.share.plan.target;
            self.fail(format!("{target} let {joined} of {all} into their rooms, and then nothing more happened"));
        }
    }

    fn open(&mut self, index: usize) -> io::Result<()> {
        let room = self.rooms.partition_point(|room| room.connections.end <= index);
        let member = index - self.rooms[room].connections.start;
        let plan = &self.share.plan;
        let number = plan.first_connection(self.share.rooms.start) + index;
        let from = source_address(plan.target, number, plan.sources);
        let mut connection = Connection::open(plan.target, from, (room, member), now())?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        // All are read at once until talking begins: what they are told of their entry is timed.
        self.poll.registry().register(connection.stream(), Token(index), interest)?;
        self.connections[index] = Some(connection);
        Ok(())
    }

    /// Gives up because the server doesn't let a connection in.
    pub(super) fn fail_connect(&mut self, error: &io::Error) {
        let (target, joined) = (self.share.plan.target, self.report.metrics.counters.joined);
        self.fail(format!("cannot connect to {target} after {joined} connections: {error}"));
    }

    /// Says what a protocol says first.
    pub(super) fn send_opening(&mut self, index: usize) {
        let Some(connection) = self.connections[index].as_mut() else { return };
        let room = &self.rooms[connection.room];
        let name = room.member_name(connection.member);
        self.share.plan.protocol.protocol().encode_open(&name, &room.name, &mut connection.pending);
        connection.flush();
    }

    /// Does what the words of the server ask for.
    pub(super) fn handle_received(&mut self, index: usize, received: &Received, now: Tick) {
        if !(received.ready || received.entered || received.fault.is_some() || !received.reply.is_empty()) {
            return;
        }
        let Some(connection) = self.connections[index].as_mut() else { return };
        if received.ready {
            let room = &self.rooms[connection.room];
            let name = room.member_name(connection.member);
            self.share.plan.protocol.protocol().encode_join(&name, &room.name, &mut connection.pending);
        }
        connection.pending.extend_from_slice(&received.reply);
        connection.flush();
        if received.entered {
            self.report.metrics.join.record(now.saturating_sub(connection.started), 1);
            self.report.metrics.counters.joined += 1;
            self.report.joining.1 = now;
            self.joining = self.joining.saturating_sub(1);
        }
        if let Some(fault) = &received.fault {
            self.handle_fault(fault);
        }
    }

    /// A refusal ends the run while joining; words of another protocol end it at any time.
    pub(super) fn handle_fault(&mut self, fault: &ServerFault) {
        let (target, protocol) = (self.share.plan.target, self.share.plan.protocol);
        if let ServerFault::Refused(words) = fault {
            self.report.refusal.get_or_insert_with(|| words.clone());
        }
        match fault {
            ServerFault::UnknownFrame(words) if self.phase != Phase::Leaving => {
                self.fail(format!("{target} does not speak --protocol {protocol}: it said `{words}`"));
            }
            ServerFault::Refused(words) if self.phase == Phase::Joining => {
                self.fail(format!("{target} refused a connection: it said `{words}`"));
            }
            _ => {}
        }
    }
}
