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
    /// The servers on which a room is open: its changes, which a stream of JetStream may keep.
    Changes(RoomName),
    /// All servers.
    All,
    /// One server.
    Node(NodeName),
}

/// A frame that waits.
#[derive(Debug)]
struct Waiting {
    channel: Channel,
    body: Body,
    /// The bytes that it counts for.
    bytes: usize,
    /// The beginning of the wait, in milliseconds.
    since: u64,
}

#[derive(Debug)]
enum Body {
    /// Changes of a room. Neighbours are merged.
    Changes {
        of: StreamId,
        from: Position,
        items: Vec<Item>,
        raw: Vec<Bytes>,
        raw_bytes: usize,
    },
    Other(Head, Bytes),
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
    pub(super) fn push_change(&mut self, of: StreamId, from: Position, (item, raw): (Item, Bytes), now: u64) {
        let cost = size_of::<Item>() + raw.len();
        if let Some(last) = self.waiting.back_mut()
            && let Body::Changes { of: last_of, items, raw: chunks, raw_bytes, .. } = &mut last.body
            && *last_of == of
            && *raw_bytes + raw.len() <= MAX_RAW
            && items.len() < MAX_ITEMS
        {
            items.push(item);
            *raw_bytes += raw.len();
            chunks.push(raw);
            last.bytes += cost;
            self.bytes += cost;
        } else {
            let raw_bytes = raw.len();
            let body = Body::Changes { of, from, items: vec![item], raw: vec![raw], raw_bytes };
            self.push_body(Channel::Changes(of.room), body, cost, now);
        }
        self.drop_oldest(now);
    }

    /// Appends a frame.
    pub(super) fn push(&mut self, channel: Channel, head: Head, raw: Bytes, now: u64) {
        let members = if let Head::Snapshot { members, .. } = &head { members.len() * 32 } else { 0 };
        let rooms = if let Head::Counts { rooms, .. } = &head { rooms.len() * 28 } else { 0 };
        let cost = size_of::<Waiting>() + raw.len() + members + rooms;
        self.push_body(channel, Body::Other(head, raw), cost, now);
        self.drop_oldest(now);
    }

    fn push_body(&mut self, channel: Channel, body: Body, bytes: usize, since: u64) {
        self.bytes += bytes;
        self.waiting.push_back(Waiting { channel, body, bytes, since });
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
        if let Body::Changes { items, .. } = dropped.body {
            let lines =
                items.iter().map(|item| if let Item::Lines { lines, .. } = item { u64::from(*lines) } else { 0 });
            self.dropped_lines += lines.sum::<u64>();
        }
    }

    /// Drops all frames.
    pub(super) fn clear(&mut self) {
        while !self.waiting.is_empty() {
            self.drop_front();
        }
    }

    /// Takes the oldest frame, encoded.
    pub(super) fn pop(&mut self, origin: &Origin) -> Option<(Channel, Vec<u8>)> {
        let Waiting { channel, body, bytes, .. } = self.waiting.pop_front()?;
        self.bytes -= bytes;
        let frame = match body {
            Body::Changes { of, from, items, raw, .. } => {
                encode(origin, &Head::Changes { of, from, items: merge_lines(items) }, &raw.concat())
            }
            Body::Other(head, raw) => encode(origin, &head, &raw),
        };
        Some((channel, frame))
    }
}

/// Merges neighbouring items of lines.
fn merge_lines(items: Vec<Item>) -> Vec<Item> {
    let mut merged: Vec<Item> = Vec::with_capacity(items.len());
    for item in items {
        match (merged.last_mut(), &item) {
            (Some(Item::Lines { bytes, lines }), Item::Lines { bytes: more_bytes, lines: more_lines }) => {
                *bytes += more_bytes;
                *lines += more_lines;
            }
            _ => merged.push(item),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::frame::{Frame, decode};

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
        let (channel, bytes) = queue.pop(&origin()).unwrap();
        let Frame { head, raw, .. } = decode(&bytes).unwrap();
        assert_eq!((channel, raw), (Channel::Changes(of(1).room), &b"a: 1\na: 2\n"[..]));
        assert_eq!(head, Head::Changes { of: of(1), from: at(0), items: vec![Item::Lines { bytes: 10, lines: 2 }] });
        assert_eq!((queue.pop(&origin()), queue.bytes()), (None, 0));
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
