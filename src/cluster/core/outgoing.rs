//! The queue of frames that wait for the bus: bounded in bytes and in age.
//!
//! Changes of one room that wait are merged into one frame. What the bounds drop leaves a hole in the positions, of which
//! receivers tell the exact number of lines.

use crate::cluster::frame::{Head, Item, MAX_RAW, Origin, Position, StreamId, encode};
use crate::text::names::{NodeName, RoomName};
use bytes::Bytes;
use std::collections::VecDeque;

/// The most changes in one frame: some of a few dozen bytes each.
const MAX_ITEMS: usize = 4_096;

/// The subject of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Channel {
    /// The servers on which a room is open: all of its frames but changes.
    Room(RoomName),
    /// The servers on which a room is open: its changes, which a stream of `JetStream` may keep.
    Changes(RoomName),
    /// All servers.
    All,
    /// One server.
    Node(NodeName),
}

/// A change of a room, and the raw lines of it.
pub(super) type Change = (Item, Bytes);

/// A frame that waits.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    channel: Channel,
    pub(super) body: Body,
    /// The bytes that it counts for.
    pub(super) bytes: usize,
    /// The beginning of the wait, in milliseconds.
    pub(super) since: u64,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    /// Changes of a room. Neighbours are merged.
    Changes {
        of: StreamId,
        from: Position,
        to: Position,
        changes: Vec<Change>,
        raw_bytes: usize,
        is_shown: bool,
    },
    Other(Head, Bytes),
}

impl Waiting {
    /// Returns a frame of one change.
    pub(super) fn change(of: StreamId, from: Position, change: Change, is_shown: bool, since: u64) -> Self {
        let (bytes, raw_bytes, to) = (cost_of(&change), change.1.len(), from.after(&change.0));
        let body = Body::Changes { of, from, to, changes: vec![change], raw_bytes, is_shown };
        Self { channel: Channel::Changes(of.room), body, bytes, since }
    }

    /// Returns a frame of any other kind.
    pub(super) fn other(channel: Channel, head: Head, raw: Bytes, since: u64) -> Self {
        let members = match &head {
            Head::Snapshot { members, claims, .. } => (members.len() + claims.len()) * 32,
            _ => 0,
        };
        let rooms = if let Head::Counts { rooms, .. } = &head { rooms.len() * 28 } else { 0 };
        let bytes = size_of::<Self>() + raw.len() + members + rooms;
        Self { channel, body: Body::Other(head, raw), bytes, since }
    }

    /// Appends a change to a frame of changes that end where it begins; returns the change if it does not go there.
    pub(super) fn merge(
        &mut self,
        (of, from): (StreamId, Position),
        change: Change,
        is_shown: bool,
    ) -> Result<usize, Change> {
        let Body::Changes { of: own, to, changes, raw_bytes, is_shown: own_shown, .. } = &mut self.body else {
            return Err(change);
        };
        let is_full = *raw_bytes + change.1.len() > MAX_RAW || changes.len() >= MAX_ITEMS;
        if (*own, *to, *own_shown) != (of, from, is_shown) || is_full {
            return Err(change);
        }
        let cost = cost_of(&change);
        *raw_bytes += change.1.len();
        *to = from.after(&change.0);
        self.bytes += cost;
        changes.push(change);
        Ok(cost)
    }

    /// Encodes the frame.
    pub(super) fn encode(&self, version: u8, origin: &Origin) -> Vec<u8> {
        match &self.body {
            Body::Changes { of, from, changes, is_shown, .. } => {
                let raw: Vec<&[u8]> = changes.iter().map(|(_, raw)| &**raw).collect();
                let items = merge_lines(changes.iter().map(|(item, _)| item));
                let head = Head::Changes { of: *of, from: *from, items, is_shown: *is_shown };
                encode(version, origin, &head, &raw.concat())
            }
            Body::Other(head, raw) => encode(version, origin, head, raw),
        }
    }

    /// Returns the number of lines of members.
    pub(super) fn lines(&self) -> u64 {
        let Body::Changes { changes, .. } = &self.body else { return 0 };
        changes.iter().map(|(item, _)| if let Item::Lines { lines, .. } = item { u64::from(*lines) } else { 0 }).sum()
    }
}

/// Returns the bytes that a change counts for.
fn cost_of((_, raw): &Change) -> usize {
    size_of::<Change>() + raw.len()
}

/// The frames that wait, the oldest first.
#[derive(Debug)]
pub(super) struct Outgoing {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    max_bytes: usize,
    /// How long a frame may wait, in milliseconds.
    max_age: u64,
    /// Frames and lines that were dropped.
    dropped_frames: u64,
    dropped_lines: u64,
}

impl Outgoing {
    pub(super) fn new(max_bytes: usize, max_age: u64) -> Self {
        Self { waiting: VecDeque::new(), bytes: 0, max_bytes, max_age, dropped_frames: 0, dropped_lines: 0 }
    }

    /// Returns the bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the frames and the lines that were dropped so far.
    pub(super) fn dropped(&self) -> (u64, u64) {
        (self.dropped_frames, self.dropped_lines)
    }

    /// Returns true if no frame waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Appends changes of a room, merged with those that wait at the end of the queue. Lines beyond the bound are dropped.
    pub(super) fn push_change(&mut self, of: StreamId, from: Position, change: Change, now: u64) {
        let merged = match self.waiting.back_mut() {
            Some(last) => last.merge((of, from), change, true),
            None => Err(change),
        };
        match merged {
            Ok(cost) => self.bytes += cost,
            Err(change) => self.push_waiting(Waiting::change(of, from, change, true, now)),
        }
        self.drop_oldest(now);
    }

    /// Appends a frame.
    pub(super) fn push(&mut self, channel: Channel, head: Head, raw: Bytes, now: u64) {
        self.push_waiting(Waiting::other(channel, head, raw, now));
        self.drop_oldest(now);
    }

    fn push_waiting(&mut self, waiting: Waiting) {
        self.bytes += waiting.bytes;
        self.waiting.push_back(waiting);
    }

    /// Drops the oldest frames until both bounds hold. The newest frame stays.
    pub(super) fn drop_oldest(&mut self, now: u64) {
        while self.waiting.len() > 1
            && let Some(oldest) = self.waiting.front()
            && (self.bytes > self.max_bytes || now.saturating_sub(oldest.since) > self.max_age)
        {
            self.drop_front();
        }
    }

    fn drop_front(&mut self) {
        let Some(dropped) = self.waiting.pop_front() else { return };
        self.bytes -= dropped.bytes;
        self.dropped_frames += 1;
        self.dropped_lines += dropped.lines();
    }

    /// Drops all frames.
    pub(super) fn clear(&mut self) {
        while !self.waiting.is_empty() {
            self.drop_front();
        }
    }

    /// Takes the oldest frame, encoded.
    pub(super) fn pop(&mut self, version: u8, origin: &Origin) -> Option<(Channel, Vec<u8>)> {
        let waiting = self.waiting.pop_front()?;
        self.bytes -= waiting.bytes;
        Some((waiting.channel, waiting.encode(version, origin)))
    }
}

/// Merges neighbouring items of lines.
fn merge_lines<'a>(items: impl Iterator<Item = &'a Item>) -> Vec<Item> {
    let mut merged: Vec<Item> = Vec::new();
    for item in items {
        match (merged.last_mut(), item) {
            (Some(Item::Lines { bytes, lines }), Item::Lines { bytes: more_bytes, lines: more_lines }) => {
                *bytes += more_bytes;
                *lines += more_lines;
            }
            _ => merged.push(item.clone()),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::frame::{Frame, decode};

    const VERSION: u8 = 2;

    fn of(stream: u64) -> StreamId {
        StreamId { room: RoomName::parse("lobby").unwrap(), stream }
    }

    fn origin() -> Origin {
        Origin { node: NodeName::parse("n1").unwrap(), boot: 1, epoch: 0 }
    }

    fn line(text: &'static str) -> (Item, Bytes) {
        (Item::Lines { bytes: u32::try_from(text.len()).unwrap(), lines: 1 }, Bytes::from_static(text.as_bytes()))
    }

    fn at(lines: u64) -> Position {
        Position { lines, changes: 0 }
    }

    #[test]
    fn waiting_changes_of_a_room_are_one_frame() {
        let mut queue = Outgoing::new(1 << 20, 5_000);
        queue.push_change(of(1), at(0), line("a: 1\n"), 0);
        queue.push_change(of(1), at(1), line("a: 2\n"), 0);
        let (channel, bytes) = queue.pop(VERSION, &origin()).unwrap();
        let Frame { head, raw, .. } = decode(VERSION, &bytes).unwrap();
        assert_eq!((channel, raw), (Channel::Changes(of(1).room), &b"a: 1\na: 2\n"[..]));
        assert_eq!(
            head,
            Head::Changes { of: of(1), from: at(0), items: vec![Item::Lines { bytes: 10, lines: 2 }], is_shown: true }
        );
        assert_eq!((queue.pop(VERSION, &origin()), queue.bytes()), (None, 0));
    }

    #[test]
    fn bounds_drop_the_oldest_frames_and_count_their_lines() {
        let mut queue = Outgoing::new(400, 5_000);
        for stream in 1..10 {
            queue.push_change(of(stream), at(0), line("a: a line of some length, which is repeated\n"), 0);
        }
        let (frames, lines) = queue.dropped();
        assert!(frames > 0 && frames == lines && queue.bytes() <= 400, "{frames} {lines} {}", queue.bytes());
        queue.push_change(of(20), at(0), line("a: 1\n"), 5_001);
        assert_eq!(queue.dropped(), (9, 9), "all old ones are too old");
        assert_eq!(queue.waiting.len(), 1);
    }
}
