//! A reading of one room's frames from the newest back, in windows of the stream of all rooms: the stream knows the next
//! frame of a room after a place, and none before it.
//!
//! A window is read from its beginning to its end, and then belongs to the frames that are found: they have no gap up to the
//! newest one at any time, so that a reading may end early.

use crate::cluster::core::{StoredFrame, count_talk};
use crate::room::history::MAX_BYTES;
use bytes::Bytes;
use std::collections::VecDeque;

/// The most frames that one reading asks for.
const MAX_GETS: usize = 2_000;

/// The bytes of frames with changes after which a reading ends.
const MAX_READ: usize = 1 << 20;

/// The places in the first window. It is small, so that a slow reading has some of the newest lines at its deadline.
const FIRST_WINDOW: u64 = 8;

/// The frames that a window should have at most.
const FRAMES_PER_WINDOW: usize = 64;

/// How much wider than the one before a window may be.
const MAX_GROWTH: u64 = 16;

/// A reading.
#[derive(Debug)]
pub(super) struct BackwardReading {
    /// The lines of members that are wanted.
    wanted_lines: usize,
    /// The frames of the windows that are read, the oldest first.
    found: VecDeque<StoredFrame>,
    /// The lines of members in them, and their bytes.
    talk: (usize, usize),
    /// The frames of the window that is read now, with the members' lines in each and their bytes.
    window: Vec<(StoredFrame, (usize, usize))>,
    /// The places of the window: from its beginning to the one after it.
    begin: u64,
    end: u64,
    /// The place from which on the next frame is wanted.
    next: u64,
    gets: usize,
    bytes: usize,
}

impl BackwardReading {
    /// Creates a reading of a room whose newest frame is `newest`: frames with `wanted_lines` lines of members, or with as
    /// many bytes of them as a history holds.
    pub(super) fn new(newest: StoredFrame, wanted_lines: usize) -> Self {
        let end = newest.sequence;
        let (newest, talk) = without_rubbish(newest);
        let bytes = newest.bytes.len();
        let mut reading = Self {
            wanted_lines,
            found: VecDeque::from([newest]),
            talk,
            window: Vec::new(),
            begin: end,
            end,
            next: end,
            gets: 1,
            bytes,
        };
        reading.begin_window(FIRST_WINDOW);
        reading
    }

    /// Returns the place from which on the next frame is wanted; `None` at the end of the reading.
    pub(super) fn next(&self) -> Option<u64> {
        let has_enough = self.talk.0 >= self.wanted_lines || self.talk.1 >= MAX_BYTES;
        let is_over = has_enough || self.gets >= MAX_GETS || self.bytes >= MAX_READ;
        (!is_over && self.next < self.end).then_some(self.next)
    }

    /// Takes the first frame from the wanted place on, if there is one.
    pub(super) fn on_frame(&mut self, frame: Option<StoredFrame>) {
        self.gets += 1;
        match frame.filter(|frame| (self.next..self.end).contains(&frame.sequence)) {
            Some(frame) => {
                self.next = frame.sequence + 1;
                let (frame, talk) = without_rubbish(frame);
                self.bytes += frame.bytes.len();
                self.window.push((frame, talk));
            }
            None => self.next = self.end,
        }
        if self.next == self.end {
            self.end_window();
        }
    }

    /// Takes the frames of a window that is read, and begins the window before it.
    fn end_window(&mut self) {
        let (frames, width) = (self.window.len(), self.end - self.begin);
        for (frame, (lines, bytes)) in self.window.drain(..).rev() {
            self.talk = (self.talk.0.saturating_add(lines), self.talk.1.saturating_add(bytes));
            self.found.push_front(frame);
        }
        // As many frames again as are found, if they lie as close as in this window.
        let wanted = self.found.len().min(FRAMES_PER_WINDOW) as u64;
        let width = width.saturating_mul(wanted.max(FIRST_WINDOW)).checked_div(frames as u64).unwrap_or(u64::MAX);
        let widest = (self.end - self.begin).saturating_mul(MAX_GROWTH);
        self.end = self.begin;
        self.begin_window(width.clamp(1, widest));
    }

    fn begin_window(&mut self, width: u64) {
        // The first place of a stream is 1. A window that begins there is the last one.
        self.begin = self.end.saturating_sub(width).max(1);
        self.next = self.begin;
    }

    /// Returns the frames that are found, the oldest first.
    pub(super) fn into_frames(self) -> Vec<StoredFrame> {
        self.found.into()
    }
}

/// Returns a frame with the members' lines in it and their bytes. Of a message without changes of a room the first byte
/// remains, which says whether another version made it.
fn without_rubbish(frame: StoredFrame) -> (StoredFrame, (usize, usize)) {
    if let Some(talk) = count_talk(&frame.bytes) {
        return (frame, talk);
    }
    let bytes = Bytes::copy_from_slice(&frame.bytes[..frame.bytes.len().min(1)]);
    (StoredFrame { bytes, ..frame }, (0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::frame::{Head, Item, Origin, Position, StreamId, encode};
    use crate::text::names::{NodeName, RoomName};
    use crate::text::time::Minute;
    use proptest::prelude::*;

    /// Returns the frame of one line at a place.
    fn frame(sequence: u64) -> StoredFrame {
        let origin = Origin { node: NodeName::parse("n1").unwrap(), boot: 1, epoch: 0 };
        let of = StreamId { room: RoomName::parse("lobby").unwrap(), stream: 1 };
        let items = vec![Item::Lines { bytes: 5, lines: 1 }];
        let head = Head::Changes { of, from: Position { lines: sequence, changes: 0 }, items, is_shown: true };
        StoredFrame { sequence, minute: Minute(1), bytes: encode(2, &origin, &head, b"a: 1\n").into() }
    }

    /// Reads a room whose frames are at `places`, with at most `gets` gets. Returns the places, and the gets.
    fn read(places: &[u64], wanted: usize, most: usize) -> (Vec<u64>, usize) {
        let mut reading = BackwardReading::new(frame(*places.last().unwrap()), wanted);
        while let Some(next) = reading.next().filter(|_| reading.gets < most) {
            reading.on_frame(places.iter().find(|place| **place >= next).map(|place| frame(*place)));
        }
        let gets = reading.gets;
        (reading.into_frames().iter().map(|frame| frame.sequence).collect(), gets)
    }

    #[test]
    fn last_lines_of_a_room_that_is_alone_cost_about_one_get_each() {
        let places: Vec<u64> = (1..=1_000).collect();
        let (found, gets) = read(&places, 100, usize::MAX);
        assert!(found.len() >= 100 && found.len() <= 200 && gets <= 205, "{} {gets}", found.len());
        assert_eq!(found, places[1_000 - found.len()..]);
    }

    #[test]
    fn quiet_room_in_a_long_stream_costs_few_gets_more() {
        let places = [1_000, 2_000_000, 50_000_000];
        let (found, gets) = read(&places, 100, usize::MAX);
        assert_eq!(found, places);
        assert!(gets < 20, "{gets}");
    }

    #[test]
    fn readings_have_bounds_for_gets_and_bytes() {
        let rubbish = |sequence| StoredFrame { bytes: vec![0; 100_000].into(), ..frame(sequence) };
        let mut reading = BackwardReading::new(rubbish(u64::MAX), 100);
        while let Some(next) = reading.next() {
            reading.on_frame(Some(rubbish(next)));
        }
        assert!(reading.gets == MAX_GETS && reading.bytes <= MAX_GETS);
        let mut large = frame(u64::MAX);
        large.bytes = [&large.bytes[..large.bytes.len() - 5], &vec![b'a'; 40_000]].concat().into();
        let mut reading = BackwardReading::new(large.clone(), usize::MAX);
        while let Some(next) = reading.next() {
            reading.on_frame(Some(StoredFrame { sequence: next, ..large.clone() }));
        }
        assert!(reading.bytes < MAX_READ + 50_000);
    }

    #[test]
    fn frame_outside_of_the_window_ends_it() {
        let mut reading = BackwardReading::new(frame(1_000), 100);
        let next = reading.next().unwrap();
        reading.on_frame(Some(frame(next - 1)));
        assert!(reading.next().unwrap() < next);
        assert_eq!(reading.into_frames().len(), 1);
    }

    proptest! {
        #[test]
        fn reading_finds_the_newest_frames_without_a_gap(
            gaps in proptest::collection::vec(prop_oneof![1u64..4, 1u64..100_000], 1..300),
            wanted in 1usize..200,
            most in 1usize..400,
        ) {
            let places: Vec<u64> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
            let (found, gets) = read(&places, wanted, usize::MAX);
            prop_assert!(found.len() >= wanted.min(places.len()), "{} of {} in {gets}", found.len(), places.len());
            prop_assert_eq!(&found[..], &places[places.len() - found.len()..]);
            let (found, _) = read(&places, wanted, most);
            prop_assert_eq!(&found[..], &places[places.len() - found.len()..]);
        }
    }
}
