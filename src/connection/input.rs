//! Input: from the bytes of a read to what the room gets.

use super::{Connection, Place};
use crate::close::CloseReason;
use crate::deadlines::Deadline;
use crate::lines::TooLong;
use crate::name::{RoomName, UserName};
use crate::outbox::Outlet;
use crate::peer::Peer;
use crate::session::{BadJoin, Effect, Session};
use crate::wire;
use bytes::{Buf, Bytes};
use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use tokio::time::Instant;

/// The most that one read takes, in bytes.
const READ: usize = 64 << 10;

/// A parcel is handed to the room when it has grown to this many bytes: small lines grow, by a
/// name each, and one read could be a parcel far beyond a room's budget.
const PARCEL: usize = 16 << 10;

thread_local! {
    /// The buffers that a connection reads into and lays out in. They belong to the worker thread:
    /// a quiet connection has none.
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch { input: vec![0; READ], parcel: Draft::default() });
}

struct Scratch {
    input: Vec<u8>,
    parcel: Draft,
}

/// Lines laid out, on their way into a parcel.
#[derive(Default)]
struct Draft {
    bytes: Vec<u8>,
    lines: u32,
}

impl Connection {
    pub(super) fn read(&mut self) -> Result<(), CloseReason> {
        SCRATCH.with_borrow_mut(|Scratch { input, parcel }| match self.peer.outlet().try_read(input) {
            Ok(0) => {
                self.deaf = true;
                self.check_connected()?;
                self.end_of_input(parcel)
            }
            Ok(count) => {
                let (rest, outcome) = self.feed(&input[..count], parcel);
                self.held = Bytes::copy_from_slice(rest);
                outcome
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(CloseReason::Lost(error.kind())),
        })
    }

    /// A reset is reported once, and a delivery's write may have met it first: then a read finds
    /// what looks like the end of input. But a socket that was reset has no peer any more.
    fn check_connected(&self) -> Result<(), CloseReason> {
        let lost = |_| CloseReason::Lost(io::ErrorKind::ConnectionReset);
        self.peer.outlet().peer_addr().map(drop).map_err(lost)
    }

    /// Goes on with the input that is held, if nothing is waited for any more.
    pub(super) fn go_on(&mut self) -> Result<(), CloseReason> {
        SCRATCH.with_borrow_mut(|Scratch { parcel, .. }| {
            if !self.held.is_empty() {
                let held = self.held.clone();
                let (rest, outcome) = self.feed(&held, parcel);
                self.held.advance(held.len() - rest.len());
                outcome?;
            }
            if self.held.is_empty() {
                self.held = Bytes::new();
                if self.deaf {
                    return self.end_of_input(parcel);
                }
            }
            Ok(())
        })
    }

    /// Works on `input` line by line until something has to be waited for; what is left of it.
    fn feed<'a>(&mut self, mut input: &'a [u8], parcel: &mut Draft) -> (&'a [u8], Result<(), CloseReason>) {
        let outcome = self.take_lines(&mut input, parcel);
        self.post(parcel);
        (input, outcome)
    }

    fn take_lines(&mut self, input: &mut &[u8], parcel: &mut Draft) -> Result<(), CloseReason> {
        let now = Instant::now().into_std();
        while !input.is_empty() && !self.is_waiting() {
            if let Err(later) = self.pace.check(&self.host.limit, now) {
                self.deadlines.set(Deadline::Pace, later.into());
                break;
            }
            match self.lines.next(input) {
                None => break,
                Some(Err(TooLong)) => return Err(CloseReason::LineTooLong(self.host.config.max_line)),
                Some(Ok(line)) => {
                    self.pace.spend(&self.host.limit, now);
                    self.take_line(&line, parcel)?;
                }
            }
        }
        Ok(())
    }

    fn take_line(&mut self, line: &[u8], parcel: &mut Draft) -> Result<(), CloseReason> {
        self.lines_in += 1;
        match self.session.line(line).map_err(CloseReason::BadJoin)? {
            Effect::Join { room, user } => self.join(room, user),
            Effect::Say(text) => {
                if let Place::Inside(membership) = &self.place {
                    wire::said(&mut parcel.bytes, &membership.user(), &text);
                    parcel.lines += 1;
                }
                if parcel.bytes.len() >= PARCEL {
                    self.post(parcel);
                }
                Ok(())
            }
        }
    }

    fn join(&mut self, room: RoomName, user: UserName) -> Result<(), CloseReason> {
        self.deadlines.clear(Deadline::Login);
        // From now on the room tells when the server ends.
        self.ending = None;
        let peer: Arc<Peer<dyn Outlet>> = Arc::clone(&self.peer) as _;
        let asked = self.host.registry.join(room, user, peer);
        self.place = Place::Waiting(asked.map_err(|_| CloseReason::Shutdown)?);
        Ok(())
    }

    /// Hands the draft in, and empties it.
    fn post(&mut self, draft: &mut Draft) {
        if draft.lines > 0 {
            self.hand_in(Box::from(&draft.bytes[..]), draft.lines);
            draft.bytes.clear();
            draft.lines = 0;
        }
    }

    /// Hands lines to the room, or keeps them until its inbox has room.
    pub(super) fn hand_in(&mut self, bytes: Box<[u8]>, lines: u32) {
        if let Place::Inside(membership) = &self.place {
            self.unsent = membership.say(bytes, lines).err().map(|bytes| (bytes, lines));
        }
    }

    /// The peer's side has ended: its last line counts, finished or not.
    fn end_of_input(&mut self, parcel: &mut Draft) -> Result<(), CloseReason> {
        if self.is_waiting() {
            return Ok(());
        }
        if let Some(line) = self.lines.finish() {
            let outcome = self.take_line(&line, parcel);
            self.post(parcel);
            outcome?;
        }
        match self.session {
            _ if self.is_waiting() => Ok(()),
            Session::Greeting => Err(CloseReason::BadJoin(BadJoin::Nothing)),
            Session::Joined => Err(CloseReason::Eof),
        }
    }
}
