//! Into the rooms: so many at once, each told how, until all have been announced.

use std::io;

use mio::{Interest, Token};

use super::{Phase, Worker};
use crate::clock::{SECOND, Tick, now};
use crate::connection::{Connection, source};
use crate::message::Event;
use crate::room::{Heard, Trouble};

/// How long notices of newcomers may be silent before the missing ones count as lost.
const SILENCE: Tick = SECOND;

impl Worker<'_> {
    /// Opens as many connections as may be on their way, and looks whether all are in.
    pub(super) fn join_more(&mut self) {
        while self.underway < self.share.plan.connecting && self.opened < self.connections.len() {
            if let Err(error) = self.open(self.opened) {
                return self.refused(&error);
            }
            self.opened += 1;
            self.underway += 1;
        }
        let (joined, all) = (self.report.metrics.counters.joined, self.connections.len() as u64);
        if joined == all {
            let quiet = now() >= self.heard + SILENCE;
            if quiet || self.rooms.iter().all(crate::room::Room::introduced) {
                self.phase = Phase::Waiting;
                (self.tell)(Event::AllJoined);
            }
        } else if self.out_of_patience() {
            let target = self.share.plan.target;
            self.fail(format!("{target} let {joined} of {all} into their rooms, and then nothing more happened"));
        }
    }

    fn open(&mut self, index: usize) -> io::Result<()> {
        let room = self.rooms.partition_point(|room| room.connections.end <= index);
        let member = index - self.rooms[room].connections.start;
        let plan = &self.share.plan;
        let number = plan.first_connection(self.share.rooms.start) + index;
        let from = source(plan.target, number, plan.sources);
        let mut connection = Connection::open(plan.target, from, (room, member), now())?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        // All are read at once until talking begins: what they are told of their entry is timed.
        self.poll.registry().register(connection.stream(), Token(index), interest)?;
        self.connections[index] = Some(connection);
        Ok(())
    }

    /// Gives up because the server doesn't let a connection in.
    pub(super) fn refused(&mut self, error: &io::Error) {
        let (target, joined) = (self.share.plan.target, self.report.metrics.counters.joined);
        self.fail(format!("cannot connect to {target} after {joined} connections: {error}"));
    }

    /// Says what a protocol says first.
    pub(super) fn greet(&mut self, index: usize) {
        let Some(connection) = self.connections[index].as_mut() else { return };
        let room = &self.rooms[connection.room];
        let name = room.member_name(connection.member);
        self.share.plan.protocol.protocol().open(&name, &room.name, &mut connection.pending);
        connection.flush();
    }

    /// Does what the words of the server ask for.
    pub(super) fn react(&mut self, index: usize, heard: &Heard, now: Tick) {
        if !(heard.ready || heard.entered || heard.trouble.is_some() || !heard.answer.is_empty()) {
            return;
        }
        let Some(connection) = self.connections[index].as_mut() else { return };
        if heard.ready {
            let room = &self.rooms[connection.room];
            let name = room.member_name(connection.member);
            self.share.plan.protocol.protocol().enter(&name, &room.name, &mut connection.pending);
        }
        connection.pending.extend_from_slice(&heard.answer);
        connection.flush();
        if heard.entered {
            self.report.metrics.join.record(now.saturating_sub(connection.started), 1);
            self.report.metrics.counters.joined += 1;
            self.report.joining.1 = now;
            self.underway = self.underway.saturating_sub(1);
        }
        if let Some(trouble) = &heard.trouble {
            self.trouble(trouble);
        }
    }

    /// A refusal ends the run while joining; words of another protocol end it at any time.
    pub(super) fn trouble(&mut self, trouble: &Trouble) {
        let (target, protocol) = (self.share.plan.target, self.share.plan.protocol);
        if let Trouble::Refused(words) = trouble {
            self.report.refusal.get_or_insert_with(|| words.clone());
        }
        match trouble {
            Trouble::Alien(words) if self.phase != Phase::Leaving => {
                self.fail(format!("{target} does not speak --protocol {protocol}: it said `{words}`"));
            }
            Trouble::Refused(words) if self.phase == Phase::Joining => {
                self.fail(format!("{target} refused a connection: it said `{words}`"));
            }
            _ => {}
        }
    }
}
