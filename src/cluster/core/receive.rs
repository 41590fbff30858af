//! Frames: what each kind does, on which subject it may come, and what is dropped.

use crate::cluster::core::lines::is_history_line;
use crate::cluster::core::origin_room::{Changes, Snapshot};
use crate::cluster::core::{Channel, Core, Effect, Event, WhisperOutcome};
use crate::cluster::frame::{Frame, FrameError, Head, HistoryLine, Origin, decode};
use crate::config::ClusterOrder;
use crate::room::remote::{EarlierLine, RemoteChange};
use crate::text::names::{NodeName, RoomName, UserName};
use crate::text::sanitize::sanitize;
use crate::text::time::Minute;
use bytes::Bytes;

/// The longest line of an operator, in bytes, as on the operators' socket.
const MAX_OPERATOR_LINE: usize = 4 << 10;

impl Core {
    /// Handles a frame that came on the subject of `channel`.
    pub(crate) fn on_frame(&mut self, channel: Channel, bytes: &Bytes) {
        self.counts.frames_in += 1;
        let Frame { origin, head, raw } = match decode(self.version, bytes) {
            Ok(frame) => frame,
            Err(FrameError::Version(_)) => return self.counts.unknown_version += 1,
            Err(FrameError::Malformed) => return self.counts.malformed += 1,
        };
        if let (ClusterOrder::Total, Channel::Room(room)) = (self.order, channel) {
            return self.on_log_frame(room, &origin, head, bytes.slice_ref(raw), bytes);
        }
        let is_of_other_order = matches!(channel, Channel::Changes(_)) && self.order == ClusterOrder::Total;
        if is_of_other_order || !belongs(&head, channel) {
            self.counts.malformed += 1;
            return;
        }
        let raw = bytes.slice_ref(raw);
        if let Head::TakenForDead(named) = head {
            return self.on_taken_for_dead(&origin, named);
        }
        if head == Head::Bye {
            return self.on_bye(&origin);
        }
        if self.observe(&origin) {
            self.on_head(origin, head, raw);
        }
    }

    pub(super) fn on_head(&mut self, origin: Origin, head: Head, raw: Bytes) {
        let (node, boot) = (origin.node, origin.boot);
        match head {
            Head::Changes { of, from, items, .. } => {
                self.note_live(of.room, (node, boot, of.stream), from);
                let changes = Changes { stream: of.stream, from, items, raw };
                self.follow(of.room, (node, boot), |room, output, now| {
                    room.on_changes(boot, changes, output, now);
                });
            }
            Head::Tail { of, at } => {
                self.follow(of.room, (node, boot), |room, output, now| {
                    room.on_tail((boot, of.stream), at, output, now);
                });
            }
            Head::Snapshot { of, at, members, claims, is_first, is_last } => {
                let part = Snapshot { stream: of.stream, at, members, claims };
                let known = self.follow(of.room, (node, boot), |room, output, now| {
                    room.on_snapshot(boot, (part, is_first, is_last), output, now)
                });
                if known == Some(true) {
                    self.on_answer(of.room, node);
                }
            }
            Head::Closed { of } => {
                let known = self
                    .follow(of.room, (node, boot), |room, output, now| room.on_closed((boot, of.stream), output, now));
                if known == Some(true) {
                    self.on_answer(of.room, node);
                }
            }
            Head::Hello { room } => self.answer_hello(room),
            Head::HistoryWanted { room } => self.on_history_wanted(room, node),
            Head::History { room, lines } => self.on_history_frame(room, &lines, raw),
            Head::Heartbeat { counts } => self.check_counts_number(node, counts),
            Head::Bye | Head::TakenForDead(_) | Head::Pong => {}
            Head::Counts { number, part, rooms } => self.on_counts(&origin, (number, part), rooms),
            Head::CountsWanted => self.want_counts(node),
            Head::Ping => self.effects.push(Effect::Pong),
            Head::Whisper { id, room, from, to } => self.on_whisper(&origin, (id, room), (from, to), &raw),
            Head::Whispered { id, to } => self.on_whispered(&origin, id, to),
            Head::Operator { line } if line.len() > MAX_OPERATOR_LINE => self.counts.malformed += 1,
            Head::Operator { line } => self.effects.push(Effect::Operator(node, line)),
        }
    }

    /// Has a room send its last lines, or sends that there are none.
    fn on_history_wanted(&mut self, room: RoomName, node: NodeName) {
        if self.is_open(room) {
            self.update_room(room, vec![RemoteChange::HistoryWanted(node)]);
        } else {
            self.send_history(room, node, Vec::new());
        }
    }

    /// Takes the last lines of a room that is opened, those that stand the check.
    fn on_history_frame(&mut self, room: RoomName, lines: &[HistoryLine], mut raw: Bytes) {
        let mut earlier = Vec::new();
        for HistoryLine { minute, is_notice, bytes } in lines {
            let text = raw.split_to((*bytes as usize).min(raw.len()));
            if is_history_line(&text, *is_notice, self.max_line) {
                earlier.push(EarlierLine { minute: Minute(*minute), is_notice: *is_notice, text });
            } else {
                self.counts.rejected_lines += 1;
            }
        }
        self.on_history(room, RemoteChange::Earlier(earlier));
    }

    /// Begins a new epoch if another server has taken this one for dead.
    fn on_taken_for_dead(&mut self, by: &Origin, named: Origin) {
        if named == self.origin && by.node != self.origin.node {
            self.renew();
        }
    }

    fn on_bye(&mut self, origin: &Origin) {
        let Some(node) = self.nodes.get_mut(&origin.node) else { return };
        if *origin < node.origin || !node.is_alive() {
            return;
        }
        node.origin = *origin;
        self.log(Event::NodeLeft(origin.node));
        self.end_node(origin.node);
    }

    /// Delivers a whisper of a member of another server to a member of this one.
    fn on_whisper(
        &mut self,
        origin: &Origin,
        (id, room): (u64, RoomName),
        (from, to): (UserName, UserName),
        raw: &Bytes,
    ) {
        let is_member = self.is_member_of(room, origin, &from);
        let text = sanitize(raw).replace('\n', " ");
        if !is_member || text.len() > self.max_line {
            // The sender may have joined a moment ago: that it gets no answer is true, and that nobody is here is not.
            self.counts.rejected_lines += 1;
            return;
        }
        let node = origin.node;
        self.effects.push(Effect::Deliver { room, node, id, from, to, text: text.into() });
    }

    fn on_whispered(&mut self, origin: &Origin, id: u64, to: Option<UserName>) {
        if self.whispers.get(&id).is_some_and(|(node, _)| *node == origin.node) {
            self.whispers.remove(&id);
            let outcome = to.map_or(WhisperOutcome::NoSuchMember, WhisperOutcome::Delivered);
            self.effects.push(Effect::Whispered { id, outcome });
        }
    }
}

/// Returns whether a frame of this kind may come on a subject.
fn belongs(head: &Head, channel: Channel) -> bool {
    match head {
        Head::Changes { of, .. } => channel == Channel::Changes(of.room),
        Head::Tail { of, .. } | Head::Snapshot { of, .. } | Head::Closed { of } => channel == Channel::Room(of.room),
        Head::Hello { .. } | Head::Counts { .. } => matches!(channel, Channel::All | Channel::Node(_)),
        Head::Heartbeat { .. } | Head::Bye | Head::TakenForDead(_) | Head::Operator { .. } => channel == Channel::All,
        Head::HistoryWanted { .. }
        | Head::History { .. }
        | Head::CountsWanted
        | Head::Ping
        | Head::Pong
        | Head::Whisper { .. }
        | Head::Whispered { .. } => {
            matches!(channel, Channel::Node(_))
        }
    }
}
