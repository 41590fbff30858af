//! The frames that wait for the log of a cluster with one order: one at a time a room, so that a frame which is tried again
//! can't come after a later one.

use crate::cluster::core::outgoing::{Body, Change, Waiting};
use crate::cluster::core::{Channel, Core, MAX_WAITING};
use crate::cluster::frame::{Head, Item, Origin, Position, StreamId};
use crate::text::names::RoomName;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// A frame for the log of a room.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LogFrame {
    pub(crate) room: RoomName,
    /// Distinguishes the frames of this process.
    pub(crate) number: u64,
    pub(crate) bytes: Bytes,
}

/// A frame that was given to the log, and has not come back.
#[derive(Debug)]
struct InFlight {
    number: u64,
    frame: Waiting,
    /// The frame, encoded.
    bytes: Bytes,
    since: u64,
    /// True once the log has the frame.
    is_appended: bool,
}

/// The frames of all rooms that have not come back from the log.
#[derive(Debug, Default)]
pub(super) struct Log {
    waiting: BTreeMap<RoomName, VecDeque<Waiting>>,
    in_flight: BTreeMap<RoomName, InFlight>,
    /// The rooms whose next frame can be given to the log, each once.
    ready: VecDeque<RoomName>,
    /// The bytes of all frames.
    bytes: usize,
    /// The number of the last frame.
    last_number: u64,
    /// True once the log is there.
    pub(super) is_there: bool,
    /// True while changes go through the log; false while rooms are this server's alone.
    pub(super) is_shared: bool,
    /// True once the server stops: nobody waits for what comes back.
    pub(super) is_ending: bool,
}

impl Log {
    /// Returns the bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns true if lines of this length do not go into the queue.
    pub(super) fn is_full(&self, bytes: usize) -> bool {
        self.bytes.saturating_add(bytes) > MAX_WAITING
    }

    /// Appends a change of a room, merged with those that wait.
    pub(super) fn push_change(&mut self, of: StreamId, from: Position, change: Change, is_shown: bool, now: u64) {
        let merged = match self.waiting.get_mut(&of.room).and_then(VecDeque::back_mut) {
            Some(last) => last.merge((of, from), change, is_shown),
            None => Err(change),
        };
        match merged {
            Ok(cost) => self.bytes += cost,
            Err(change) => self.push(of.room, Waiting::change(of, from, change, is_shown, now)),
        }
    }

    /// Appends any other frame of a room, unless the last one says the same. A number in place of lines makes it differ from
    /// all others.
    pub(super) fn push_head(&mut self, room: RoomName, head: Head, now: u64) {
        let last = self.waiting.get(&room).and_then(VecDeque::back);
        if !matches!(last, Some(Waiting { body: Body::Other(last, _), .. }) if *last == head) {
            self.last_number += 1;
            let number = Bytes::copy_from_slice(&self.last_number.to_le_bytes());
            self.push(room, Waiting::other(Channel::Room(room), head, number, now));
        }
    }

    fn push(&mut self, room: RoomName, frame: Waiting) {
        self.bytes += frame.bytes;
        let waiting = self.waiting.entry(room).or_default();
        waiting.push_back(frame);
        if waiting.len() == 1 && !self.in_flight.contains_key(&room) {
            self.ready.push_back(room);
        }
    }

    /// Takes the next frame that can be given to the log.
    fn pop(&mut self, version: u8, origin: &Origin, now: u64) -> Option<LogFrame> {
        let room = self.ready.pop_front()?;
        let waiting = self.waiting.get_mut(&room)?;
        let frame = waiting.pop_front()?;
        if waiting.is_empty() {
            self.waiting.remove(&room);
        }
        let bytes = Bytes::from(frame.encode(version, origin));
        self.last_number += 1;
        let number = self.last_number;
        self.in_flight.insert(room, InFlight { number, frame, bytes: bytes.clone(), since: now, is_appended: false });
        Some(LogFrame { room, number, bytes })
    }

    /// Lets the next frame of a room go if `is_done` holds for the one before. Returns whether it does.
    fn complete(&mut self, room: RoomName, is_done: impl FnOnce(&InFlight) -> bool) -> bool {
        let is_done = self.in_flight.get(&room).is_some_and(is_done);
        if is_done {
            self.take_in_flight(room);
        }
        is_done
    }

    fn take_in_flight(&mut self, room: RoomName) -> Option<Waiting> {
        let InFlight { frame, .. } = self.in_flight.remove(&room)?;
        self.bytes -= frame.bytes;
        if self.waiting.contains_key(&room) {
            self.ready.push_back(room);
        }
        Some(frame)
    }

    /// Records that a frame has come back. Returns false if it is none that this server waits for.
    pub(super) fn on_returned(&mut self, room: RoomName, bytes: &Bytes) -> bool {
        self.complete(room, |in_flight| in_flight.bytes == *bytes)
    }

    /// Returns the frames of changes that have not come back, in their order, with whether each was given to the log.
    pub(super) fn pending(&self) -> Vec<(Waiting, bool)> {
        let in_flight = self.in_flight.values().map(|in_flight| (&in_flight.frame, true));
        let waiting = self.waiting.values().flatten().map(|frame| (frame, false));
        in_flight.chain(waiting).map(|(frame, was_given)| (frame.clone(), was_given)).collect()
    }

    /// Drops the frames that were not given to the log. Returns the number of lines in them.
    pub(super) fn clear_waiting(&mut self) -> u64 {
        self.ready.clear();
        let waiting = std::mem::take(&mut self.waiting).into_values().flatten();
        waiting
            .map(|frame| {
                self.bytes -= frame.bytes;
                frame.lines()
            })
            .sum()
    }

    /// Takes time in which this process did not run out of the clocks.
    pub(super) fn skip_pause(&mut self, pause: u64) {
        self.in_flight.values_mut().for_each(|in_flight| in_flight.since += pause);
        self.waiting.values_mut().flatten().for_each(|frame| frame.since += pause);
    }
}

/// Returns the stream that a frame belongs to.
fn stream_of(frame: &Waiting) -> Option<StreamId> {
    match &frame.body {
        Body::Changes { of, .. } | Body::Other(Head::Snapshot { of, .. } | Head::Closed { of }, _) => Some(*of),
        Body::Other(..) => None,
    }
}

impl Core {
    /// Takes the next frame for the log of a room. The bus tries it until the log has it.
    pub(crate) fn take_log_frame(&mut self) -> Option<LogFrame> {
        let frame = self.log.pop(self.version, &self.origin, self.now);
        self.counts.frames_out += u64::from(frame.is_some());
        frame
    }

    /// Returns whether a frame can be given to the log.
    pub(crate) fn has_log_frames(&self) -> bool {
        !self.log.ready.is_empty()
    }

    /// Returns true if all frames have gone through the log.
    pub(crate) fn is_log_idle(&self) -> bool {
        self.log.in_flight.is_empty() && self.log.waiting.is_empty()
    }

    /// Records that the log is there.
    pub(crate) fn on_log_there(&mut self) {
        self.log.is_there = true;
    }

    /// Records that the log has a frame of a room.
    pub(crate) fn on_appended(&mut self, room: RoomName, number: u64) {
        if let Some(in_flight) = self.log.in_flight.get_mut(&room).filter(|in_flight| in_flight.number == number) {
            in_flight.is_appended = true;
            self.complete_unless_awaited(room);
        }
    }

    /// Waits no more for the returns of frames that the log has, since nothing waits for them.
    pub(super) fn complete_appended(&mut self) {
        for room in self.log.in_flight.keys().copied().collect::<Vec<_>>() {
            self.complete_unless_awaited(room);
        }
    }

    /// Records that the log can't take a frame, which is too long for NATS: its lines are lost, and all else in it happens on
    /// this server. Other servers learn of that from a snapshot.
    pub(crate) fn on_refused(&mut self, room: RoomName, number: u64) {
        if self.log.in_flight.get(&room).is_none_or(|in_flight| in_flight.number != number) {
            return;
        }
        let Some(Waiting { body: Body::Changes { of, to, changes, is_shown, .. }, .. }) = self.log.take_in_flight(room)
        else {
            return;
        };
        if self.stream_of(room) != Some(of.stream) {
            return;
        }
        for (item, raw) in changes.into_iter().filter(|_| !is_shown) {
            match item {
                Item::Lines { lines, .. } => self.tell_own_missing(room, lines),
                _ => self.show_own(room, &item, raw),
            }
        }
        self.end_own_changes(room, to);
        self.want_own_snapshot(room);
    }

    /// Waits no more for the return of a frame that the log has, in a room where nothing waits for it.
    pub(super) fn complete_unless_awaited(&mut self, room: RoomName) {
        let stream = self.stream_of(room).filter(|_| self.log.is_shared && !self.log.is_ending);
        self.log.complete(room, |in_flight| {
            let is_awaited = stream.is_some() && stream == stream_of(&in_flight.frame).map(|of| of.stream);
            in_flight.is_appended && !is_awaited
        });
    }

    /// Returns true if a frame waits for the log, or for its return from there, for longer than `most`.
    pub(super) fn is_log_late(&self, most: u64) -> bool {
        let since = |waiting: &VecDeque<Waiting>| waiting.front().map(|frame| frame.since);
        let waiting = self.log.waiting.values().filter_map(since);
        let in_flight = self.log.in_flight.values().map(|in_flight| in_flight.since);
        waiting.chain(in_flight).any(|since| self.now.saturating_sub(since) > most)
    }
}
