//! The frames of a room that NATS has kept, and how they become the first lines of its history.

use crate::cluster::core::lines::is_history_line;
use crate::cluster::core::{Core, Effect};
use crate::cluster::frame::{Frame, FrameError, Head, Item, Origin, Position, decode, decode_of_any_order};
use crate::config::ClusterOrder;
use crate::room::history::MAX_BYTES;
use crate::room::remote::{EarlierLine, RemoteChange};
use crate::text::messages;
use crate::text::names::{NodeName, RoomName};
use crate::text::time::Minute;
use bytes::Bytes;
use memchr::memchr_iter;
use std::collections::HashMap;

/// The most lines that one reading gives a room: a history holds fewer, since `a: ` and its end have 4 bytes.
const MAX_LINES: usize = MAX_BYTES / 4;

/// How long the last place of a room that was closed is remembered, in milliseconds: NATS has the frame long before that.
const CLOSED_FOR: u64 = 2_000;

/// The streams of one opening that are remembered: of as many servers as there may be.
const MAX_LIVE: usize = 1_000;

/// The stream of one server in one room: its node, its process, and the number of the stream.
type StreamKey = (NodeName, u64, u64);

/// The first place of each stream whose changes came while a room was opened.
pub(super) type LivePlaces = HashMap<StreamKey, u64>;

/// A frame that NATS has kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredFrame {
    /// Its place in the stream of all rooms.
    pub(crate) sequence: u64,
    /// The time at which NATS got it.
    pub(crate) minute: Minute,
    pub(crate) bytes: Bytes,
}

/// The place up to which this server has published changes of a room that was closed a moment ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnPlace {
    node: NodeName,
    boot: u64,
    stream: u64,
    /// The lines and changes before the place.
    total: u64,
}

impl OwnPlace {
    /// Returns false if the newest frame that NATS has is an earlier one of this server: NATS does not keep a frame in the
    /// moment in which it gets it.
    #[cfg_attr(not(any(feature = "cluster", test)), expect(dead_code, reason = "a build without NATS reads nothing"))]
    pub(crate) fn is_reached(&self, newest: Option<&[u8]>) -> bool {
        let Some(newest) = newest else { return false };
        let Ok(Frame { origin, head: Head::Changes { of, from, items, .. }, .. }) = decode_of_any_order(newest) else {
            return true;
        };
        let is_own = (origin.node, origin.boot) == (self.node, self.boot);
        let total = items.iter().fold(from, Position::after).total();
        !is_own || (of.stream, total) >= (self.stream, self.total)
    }
}

/// Returns the number and the bytes of the members' lines in a frame, as its head tells them; `None` if it has no changes.
#[cfg_attr(
    not(any(feature = "cluster", test)),
    expect(dead_code, reason = "a build without NATS reads nothing from it")
)]
pub(crate) fn count_talk(bytes: &[u8]) -> Option<(usize, usize)> {
    let Ok(Frame { head: Head::Changes { items, .. }, raw, .. }) = decode_of_any_order(bytes) else { return None };
    let lines = items.iter().map(|item| if let Item::Lines { lines, .. } = item { *lines as usize } else { 0 });
    Some((lines.fold(0, usize::saturating_add).min(raw.len()), raw.len()))
}

impl Core {
    /// Records whether the lines that NATS keeps can be read now.
    pub(crate) fn set_store(&mut self, is_usable: bool) {
        self.has_store = is_usable;
    }

    /// Asks NATS for the last lines of a room that is opened, if it keeps them.
    pub(super) fn read_stored(&mut self, room: RoomName, instance: u64) -> bool {
        if self.has_store {
            let after = self.closed_rooms.get(&room).map(|(place, _)| *place);
            self.effects.push(Effect::ReadStored(room, instance, after));
        }
        self.has_store
    }

    /// Notes changes that come while a room is opened: NATS may have kept them, too.
    pub(super) fn note_live(&mut self, room: RoomName, stream: StreamKey, from: Position) {
        if let Some(opening) = self.opening_mut(room).filter(|opening| opening.live.len() < MAX_LIVE) {
            let first = opening.live.entry(stream).or_insert(u64::MAX);
            *first = from.total().min(*first);
        }
    }

    /// Remembers the place of a room that is closed.
    pub(super) fn remember_place(&mut self, room: RoomName, stream: u64, at: Position) {
        if self.has_store && at.total() > 0 {
            let Origin { node, boot, .. } = self.origin;
            let place = OwnPlace { node, boot, stream, total: at.total() };
            self.closed_rooms.insert(room, (place, self.now + CLOSED_FOR));
        }
    }

    /// Forgets the places of rooms that were closed a while ago.
    pub(super) fn forget_places(&mut self) {
        let now = self.now;
        self.closed_rooms.retain(|_, (_, until)| *until > now);
    }

    /// Takes the frames of a room that NATS has kept, the oldest first; `None` if they could not be read.
    pub(crate) fn on_stored(&mut self, room: RoomName, instance: u64, frames: Option<&[StoredFrame]>) {
        if !self.awaits_history(room, instance) {
            self.counts.stored_late += 1;
            return;
        }
        let lines = frames.map(|frames| self.lines_of(room, frames)).unwrap_or_default();
        let count = match frames {
            None => &mut self.counts.stored_failed,
            Some(_) if lines.is_empty() => &mut self.counts.stored_empty,
            Some(_) => &mut self.counts.stored_found,
        };
        *count += 1;
        self.on_history(room, RemoteChange::Stored(lines));
    }

    fn lines_of(&mut self, room: RoomName, frames: &[StoredFrame]) -> Vec<EarlierLine> {
        let live = self.opening_mut(room).map(|opening| std::mem::take(&mut opening.live)).unwrap_or_default();
        let mut collector = LineCollector::new(self.max_line, live);
        for StoredFrame { minute, bytes, .. } in frames {
            match decode(self.version, bytes) {
                Ok(Frame { origin, head: Head::Changes { of, from, items, .. }, raw }) if of.room == room => {
                    let stream = (origin.node, origin.boot, of.stream);
                    collector.push_frame(stream, (from, &items), bytes.slice_ref(raw), *minute);
                }
                Err(FrameError::Version(_)) => self.counts.unknown_version += 1,
                // A log has snapshots, too.
                Ok(Frame { head: Head::Snapshot { .. } | Head::Closed { .. }, .. })
                    if self.order == ClusterOrder::Total => {}
                Ok(_) | Err(FrameError::Malformed) => self.counts.malformed += 1,
            }
        }
        self.counts.rejected_lines += collector.rejected;
        collector.into_newest()
    }
}

/// Collects the lines of frames in their order, each once.
struct LineCollector {
    max_line: usize,
    lines: Vec<EarlierLine>,
    /// The place up to which each stream is collected.
    places: HashMap<StreamKey, Position>,
    live: LivePlaces,
    /// Lines that no member could have said.
    rejected: u64,
}

impl LineCollector {
    fn new(max_line: usize, live: LivePlaces) -> Self {
        Self { max_line, lines: Vec::new(), places: HashMap::new(), live, rejected: 0 }
    }

    /// Appends the lines of a frame, unless it was there before or has come to the room, and tells what is missing before them.
    fn push_frame(&mut self, stream: StreamKey, (from, items): (Position, &[Item]), mut raw: Bytes, minute: Minute) {
        if self.live.get(&stream).is_some_and(|first| from.total() >= *first) {
            return;
        }
        if let Some(at) = self.places.get(&stream) {
            if from.total() < at.total() {
                return;
            }
            let missing = from.lines.saturating_sub(at.lines);
            if missing > 0 {
                self.push_notice(minute, |out| out.extend(messages::missing_notice(missing, &stream.0).into_bytes()));
            }
        }
        self.places.insert(stream, items.iter().fold(from, Position::after));
        for item in items {
            match item {
                Item::Lines { bytes, .. } => {
                    let said = raw.split_to((*bytes as usize).min(raw.len()));
                    self.push_talk(minute, &said);
                }
                Item::Joined(member) => self.push_notice(minute, |out| messages::push_joined(out, &member.name)),
                Item::Claimed(_) | Item::Unclaimed(_) => {}
                Item::Left(name) => self.push_notice(minute, |out| messages::push_left(out, name)),
                Item::Renamed(name, member) => {
                    self.push_notice(minute, |out| messages::push_renamed(out, name, &member.name));
                }
            }
        }
    }

    /// Appends members' lines, those that some member could have said.
    fn push_talk(&mut self, minute: Minute, said: &Bytes) {
        let mut start = 0;
        for end in memchr_iter(b'\n', said) {
            let text = said.slice(start..end);
            start = end + 1;
            if is_history_line(&text, false, self.max_line) {
                self.lines.push(EarlierLine { minute, is_notice: false, text });
            } else {
                self.rejected += 1;
            }
        }
    }

    fn push_notice(&mut self, minute: Minute, push: impl FnOnce(&mut Vec<u8>)) {
        let mut text = Vec::new();
        push(&mut text);
        // An earlier line has no LF.
        text.pop();
        self.lines.push(EarlierLine { minute, is_notice: true, text: text.into() });
    }

    /// Returns the newest lines, as many as a history holds.
    fn into_newest(mut self) -> Vec<EarlierLine> {
        let mut bytes = 0;
        let is_beyond = |line: &EarlierLine| {
            bytes += if line.is_notice { 0 } else { line.text.len() + 1 };
            bytes > MAX_BYTES
        };
        let dropped = self.lines.iter().rposition(is_beyond).map_or(0, |last| last + 1);
        self.lines.split_off(dropped.max(self.lines.len().saturating_sub(MAX_LINES)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::core::Channel;
    use crate::cluster::frame::{Member, StreamId, encode};
    use crate::room::remote::{LocalChange, RemoteUpdate};
    use crate::text::names::UserName;

    const VERSION: u8 = 2;
    const NOW: u64 = 1_000_000;

    fn room() -> RoomName {
        RoomName::parse("lobby").unwrap()
    }

    fn name(name: &str) -> UserName {
        UserName::parse(name).unwrap()
    }

    /// Returns a frame of a server's stream in the lobby that begins at a place.
    fn stored(node: &str, (stream, lines, changes): (u64, u64, u64), items: Vec<Item>, raw: &str) -> StoredFrame {
        let origin = Origin { node: NodeName::parse(node).unwrap(), boot: 7, epoch: 0 };
        let of = StreamId { room: room(), stream };
        let head = Head::Changes { of, from: Position { lines, changes }, items, is_shown: true };
        StoredFrame { sequence: 0, minute: Minute(9), bytes: encode(VERSION, &origin, &head, raw.as_bytes()).into() }
    }

    fn talk(raw: &str) -> Vec<Item> {
        let lines = u32::try_from(raw.lines().count()).unwrap();
        vec![Item::Lines { bytes: u32::try_from(raw.len()).unwrap(), lines }]
    }

    fn said(node: &str, (stream, lines): (u64, u64), raw: &str) -> StoredFrame {
        stored(node, (stream, lines, 0), talk(raw), raw)
    }

    /// Opens a room that asks NATS for its lines.
    fn opening() -> Core {
        let mut core = Core::new(NodeName::parse("n9").unwrap(), NOW, 20_000, ClusterOrder::Sender);
        core.set_store(true);
        core.open_room(room(), 1);
        assert!(core.take_effects().contains(&Effect::ReadStored(room(), 1, None)));
        core
    }

    /// Returns the lines that the room is opened with; `None` if it is not open.
    fn opened(core: &mut Core) -> Option<Vec<EarlierLine>> {
        let updates = core.take_effects().into_iter().filter_map(|effect| match effect {
            Effect::Update(_, 1, RemoteUpdate(changes)) => Some(changes),
            _ => None,
        });
        let mut changes = updates.flatten().peekable();
        changes.peek()?;
        let lines = changes.next_if(|change| matches!(change, RemoteChange::Stored(_)));
        assert_eq!(changes.collect::<Vec<_>>(), [RemoteChange::Opened]);
        Some(if let Some(RemoteChange::Stored(lines)) = lines { lines } else { Vec::new() })
    }

    fn texts(frames: &[StoredFrame]) -> Vec<String> {
        let mut core = opening();
        core.on_stored(room(), 1, Some(frames));
        let lines = opened(&mut core).unwrap();
        assert!(lines.iter().all(|line| line.minute == Minute(9)));
        lines.iter().map(|line| String::from_utf8(line.text.to_vec()).unwrap()).collect()
    }

    #[test]
    fn frames_of_all_servers_become_lines_in_the_order_of_the_stream() {
        let joined = vec![Item::Joined(Member { name: name("al"), since: 3 })];
        let renamed = vec![Item::Renamed(name("al"), Member { name: name("bo"), since: 4 }), Item::Left(name("bo"))];
        let frames = vec![
            stored("n1", (1, 0, 0), joined, ""),
            stored("n1", (1, 0, 1), talk("al: 1\n* al waves\n"), "al: 1\n* al waves\n"),
            said("n2", (1, 0), "eve: 2\n"),
            stored("n1", (1, 2, 1), renamed, ""),
        ];
        let lines = ["al has joined", "al: 1", "* al waves", "eve: 2", "al is now known as bo", "bo has left"];
        assert_eq!(texts(&frames), lines);
    }

    #[test]
    fn frame_that_is_there_twice_counts_once() {
        let frames = vec![said("n1", (1, 0), "a: 1\n"), said("n1", (1, 0), "a: 1\n"), said("n1", (1, 1), "a: 2\n")];
        assert_eq!(texts(&frames), ["a: 1", "a: 2"]);
        // Another stream of the same server begins again.
        let frames = vec![said("n1", (1, 0), "a: 1\n"), said("n1", (2, 0), "a: 1\n")];
        assert_eq!(texts(&frames), ["a: 1", "a: 1"]);
    }

    #[test]
    fn changes_that_came_while_the_room_was_opened_are_no_earlier_lines() {
        let mut core = opening();
        let live = stored("n1", (5, 0, 0), vec![Item::Joined(Member { name: name("a"), since: 3 })], "");
        core.on_frame(Channel::Changes(room()), &live.bytes);
        let update = core.take_effects();
        assert!(update.iter().any(|effect| matches!(effect, Effect::Update(..))), "{update:?}");
        let later = stored("n1", (5, 0, 1), talk("a: 2\n"), "a: 2\n");
        core.on_stored(room(), 1, Some(&[said("n1", (4, 0), "a: 1\n"), live, later]));
        let lines: Vec<Bytes> = opened(&mut core).unwrap().into_iter().map(|line| line.text).collect();
        assert_eq!(lines, ["a: 1"]);
    }

    #[test]
    fn hole_in_a_stream_is_told() {
        let frames = vec![said("n1", (1, 90), "a: 1\n"), said("n1", (1, 94), "a: 2\n")];
        assert_eq!(texts(&frames), ["a: 1", "*** 3 lines from node n1 are missing", "a: 2"]);
    }

    #[test]
    fn forged_frames_give_no_line_and_are_counted() {
        let mut later = said("n1", (1, 0), "a: later\n");
        let mut bytes = later.bytes.to_vec();
        bytes[0] += 1;
        later.bytes = bytes.into();
        let heartbeat = encode(
            VERSION,
            &Origin { node: NodeName::parse("n1").unwrap(), boot: 7, epoch: 0 },
            &Head::Heartbeat { counts: 1 },
            b"",
        );
        let rubbish = StoredFrame { bytes: Bytes::from_static(b"\x02rubbish"), ..later.clone() };
        let misplaced = StoredFrame { bytes: heartbeat.into(), ..later.clone() };
        let bad = "*** server is shutting down\nbob has joined\nno name\na: \x1b[2J\na: good\na: without an end";
        let mut core = opening();
        core.on_stored(room(), 1, Some(&[later, rubbish, misplaced, said("n1", (1, 0), bad)]));
        let lines: Vec<Bytes> = opened(&mut core).unwrap().into_iter().map(|line| line.text).collect();
        assert_eq!(lines, ["a: good"]);
        let counts = core.counts();
        assert_eq!((counts.unknown_version, counts.malformed, counts.rejected_lines), (1, 2, 4));
    }

    #[test]
    fn newest_lines_are_kept_as_far_as_a_history_holds_them() {
        let line = format!("a: {}\n", "x".repeat(996));
        let frames: Vec<StoredFrame> = (0..100).map(|number| said("n1", (1, number), &line)).collect();
        assert_eq!(texts(&frames).len(), MAX_BYTES / 1_000);
        let many: String = "a: \n".repeat(MAX_LINES);
        let left = (0..30_000).map(|_| Item::Left(name("a"))).collect();
        assert_eq!(texts(&[said("n1", (1, 0), &many), stored("n2", (1, 0, 0), left, "")]).len(), MAX_LINES);
    }

    #[test]
    fn room_opens_without_lines_when_nothing_can_be_read_or_no_answer_comes() {
        let mut core = opening();
        core.on_stored(room(), 1, None);
        assert_eq!((opened(&mut core), core.counts().stored_failed), (Some(Vec::new()), 1));
        let mut core = opening();
        core.set_time(NOW + 200);
        core.on_tick();
        assert_eq!(opened(&mut core), None);
        core.set_time(NOW + 300);
        core.on_tick();
        assert_eq!(opened(&mut core), Some(Vec::new()));
        core.on_stored(room(), 1, Some(&[said("n1", (1, 0), "a: late\n")]));
        assert_eq!((opened(&mut core), core.counts().stored_late), (None, 1));
    }

    #[test]
    fn answer_for_an_earlier_opening_has_no_effect() {
        let mut core = opening();
        core.close_room(room(), 1);
        core.open_room(room(), 2);
        core.take_effects();
        core.on_stored(room(), 1, Some(&[said("n1", (1, 0), "a: old\n")]));
        assert_eq!(core.take_effects(), []);
    }

    #[test]
    fn room_opens_at_once_while_nothing_is_kept() {
        let mut core = opening();
        core.set_store(false);
        core.close_room(room(), 1);
        core.take_effects();
        core.open_room(room(), 1);
        assert_eq!(opened(&mut core), Some(Vec::new()));
    }

    #[test]
    fn room_that_was_closed_a_moment_ago_waits_for_its_own_last_frame() {
        let mut core = opening();
        core.on_stored(room(), 1, None);
        core.on_batch(room(), 1, vec![LocalChange::Joined(name("a"))], true);
        core.close_room(room(), 1);
        core.take_effects();
        core.open_room(room(), 2);
        let place = core.take_effects().into_iter().find_map(|effect| match effect {
            Effect::ReadStored(_, 2, place) => place,
            _ => None,
        });
        let place = place.unwrap();
        // The member's join, and its leave at the room's end.
        assert_eq!((place.stream, place.total), (1, 2));
        let own = |stream, lines| {
            let (of, from) = (StreamId { room: room(), stream }, Position { lines, changes: 0 });
            encode(
                VERSION,
                &core.origin,
                &Head::Changes { of, from, items: vec![Item::Left(name("a"))], is_shown: true },
                b"",
            )
        };
        assert!(!place.is_reached(None) && !place.is_reached(Some(&own(1, 0))));
        assert!(place.is_reached(Some(&own(1, 1))) && place.is_reached(Some(&own(2, 0))));
        assert!(place.is_reached(Some(&said("n1", (1, 0), "a: 1\n").bytes)) && place.is_reached(Some(b"rubbish")));
        core.set_time(NOW + CLOSED_FOR);
        core.on_tick();
        core.close_room(room(), 2);
        core.set_time(NOW + 2 * CLOSED_FOR);
        core.on_tick();
        assert!(core.closed_rooms.is_empty());
    }

    #[test]
    fn talk_of_a_frame_is_counted_by_its_head() {
        let frame = said("n1", (1, 0), "a: 1\na: 2\n");
        assert_eq!(count_talk(&frame.bytes), Some((2, 10)));
        let claims = stored("n1", (1, 0, 0), vec![Item::Lines { bytes: 9, lines: u32::MAX }], "a: 1\n");
        assert_eq!(count_talk(&claims.bytes), Some((5, 5)));
        assert_eq!(count_talk(b"\x02rubbish"), None);
    }
}
