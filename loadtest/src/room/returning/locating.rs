//! The position of a member that has come back, which other members show.

use super::super::notice_log::{Notice, NoticeKind};
use super::super::stays::Receipt;
use super::super::{Received, Room, ServerFault};
use crate::clock::Tick;
use crate::cursor::{MemberState, Unlocated};
use crate::metrics::Metrics;
use crate::payload;
use crate::protocol::Frame;

/// The most bytes that are kept for a member whose position is not known. A correct server has shown it to another member
/// long before.
const MAX_HELD_BYTES: usize = 8 * 1024 * 1024;

impl Room {
    /// Records a notice that a member received. Returns whether the member has entered the room with it.
    pub(in super::super) fn on_notice(&mut self, receiver: usize, notice: Notice, metrics: &mut Metrics) -> bool {
        if self.returns.as_ref().is_some_and(|returns| returns.is_stopped) {
            return false;
        }
        let own_join = notice == (Notice { kind: NoticeKind::Join, subject: receiver });
        let line = self.exact_line(receiver);
        let cursor = &self.cursors[receiver];
        let enters = own_join && cursor.unlocated.is_some() && cursor.state == MemberState::Joining;
        if enters {
            count_notice(NoticeKind::Join, metrics);
            self.enter(receiver);
            return true;
        }
        let stays = self.returns.as_mut().filter(|_| cursor.unlocated.is_none()).map(|returns| &mut returns.stays);
        match stays.map_or(Receipt::Untrue, |stays| stays.receive(receiver, notice, line)) {
            Receipt::Expected(number) => {
                count_notice(notice.kind, metrics);
                self.on_notice_shown(notice, number, line);
            }
            Receipt::Late => {
                count_notice(notice.kind, metrics);
                metrics.counters.untrue_notices += 1;
            }
            Receipt::Untrue => metrics.counters.untrue_notices += 1,
        }
        false
    }

    /// Returns the number of lines that a member has received, where each has a position in the log.
    fn exact_line(&self, member: usize) -> Option<usize> {
        let cursor = &self.cursors[member];
        cursor.divergence.as_ref().is_none_or(|divergence| divergence.pending.is_empty()).then_some(cursor.line)
    }

    /// Locates the subject of a join notice that a member received after `line` lines, or checks its position. A leave notice
    /// is the last chance to locate its subject.
    fn on_notice_shown(&mut self, notice: Notice, number: usize, line: Option<usize>) {
        let Some(returns) = &mut self.returns else { return };
        let subject = notice.subject;
        let cursor = &mut self.cursors[subject];
        if notice.kind == NoticeKind::Join
            && let Some(line) = line
        {
            let grown = returns.stays.raise_line(number, notice, line);
            if cursor.unlocated.is_none() {
                cursor.base += grown as u64;
            }
        }
        let known = returns.stays.own_join(subject);
        if cursor.unlocated.is_none() || cursor.state != MemberState::Joined {
            return;
        }
        match known {
            Some((number, line)) => self.locate(subject, line, number),
            // A late reader may show the leave of an earlier stay.
            None if cursor.ended && notice.kind == NoticeKind::Leave && !returns.stays.has_unannounced(subject) => {
                self.give_up(subject);
            }
            None => {}
        }
    }

    /// Records that a member that comes back has joined.
    fn enter(&mut self, member: usize) {
        self.cursors[member].state = MemberState::Joined;
        let (is_alone, lines) = (self.has_no_located_member(), self.order(member).log.lines());
        let Some(returns) = &mut self.returns else { return };
        if let Some((number, line)) = returns.stays.own_join(member) {
            self.locate(member, line, number);
        } else if is_alone {
            let number = returns.stays.announce_own_join(member, lines);
            // Every line was sent before all members were cut. A line that none of them has received is not to come.
            let order = self.order_number(member);
            self.orders[order].logged.clone_from(&self.sent);
            self.locate(member, lines, number);
        } else {
            returns.unlocated.push(member);
        }
    }

    /// Sets the position of a member that has come back: its stay begins after `line` lines and its own join notice.
    fn locate(&mut self, member: usize, line: usize, own_join: usize) {
        let Some(returns) = &mut self.returns else { return };
        let Some(unlocated) = self.cursors[member].unlocated.take() else { return };
        returns.forget(member);
        returns.stays.start_stay(member, own_join);
        returns.located.push_back((member, *unlocated));
        let line = line.max(self.cursors[member].line);
        let base = self.expected_sequences(member, line).into_iter().map(u64::from).sum();
        let number = self.order_number(member);
        let (order, cursor) = (&mut self.orders[number], &mut self.cursors[member]);
        (cursor.line, cursor.at, cursor.base) = (line, order.log.start_of(line), base);
        order.outside_members -= 1;
        self.recompute_floor(number);
    }

    /// Locates a member by its first line, which has a place in the log, where no notice has shown its position.
    fn locate_by_line(&mut self, member: usize, place: usize) {
        let Some(returns) = &mut self.returns else { return };
        if returns.stays.own_join_number(member).is_none() {
            returns.stays.append_unannounced_of(member);
        }
        if let Some(number) = returns.stays.own_join_number(member) {
            returns.stays.raise_line(number, Notice { kind: NoticeKind::Join, subject: member }, place);
            self.locate(member, place, number);
        }
    }

    /// Locates the members whose first line has just been appended to the log.
    pub(in super::super) fn locate_first_lines(&mut self, sender: usize, sequence: u32) {
        let Some(returns) = self.returns.as_ref().filter(|returns| !returns.unlocated.is_empty()) else { return };
        let first = |member: usize| self.cursors[member].unlocated.as_ref().and_then(|state| state.first_line);
        let is_first = |member: &usize| first(*member) == Some((sender, sequence));
        let members: Vec<usize> = returns.unlocated.iter().copied().filter(is_first).collect();
        for member in members {
            self.locate_by_line(member, self.order(member).log.lines() - 1);
        }
    }

    /// Returns whether the bytes of a member are kept until its position is known.
    pub(in super::super) fn is_held(&self, member: usize) -> bool {
        let cursor = &self.cursors[member];
        cursor.unlocated.is_some() && cursor.state == MemberState::Joined
    }

    /// Keeps bytes of a member until its position is known.
    pub(in super::super) fn hold(&mut self, member: usize, bytes: &[u8], now: Tick, received: &mut Received) {
        let Some(mut unlocated) = self.cursors[member].unlocated.take() else { return };
        unlocated.bytes.extend_from_slice(bytes);
        unlocated.reads.push((unlocated.bytes.len(), now));
        if unlocated.bytes.len() > MAX_HELD_BYTES {
            received.fault.get_or_insert(ServerFault::AheadOfRoom(self.number));
        }
        self.search_first_line(&mut unlocated);
        let place = unlocated.first_line.and_then(|(sender, sequence)| self.order(member).log.find(sender, sequence));
        self.cursors[member].unlocated = Some(unlocated);
        if let Some(place) = place {
            self.locate_by_line(member, place);
        }
    }

    /// Searches the frames that have not been searched yet for a line.
    fn search_first_line(&self, unlocated: &mut Unlocated) {
        while unlocated.first_line.is_none()
            && let Some((length, frame)) = self.protocol.decode(&unlocated.bytes[unlocated.searched..])
        {
            if let Frame::Line { text, .. } = frame {
                let stamp = payload::decode(text, |stamp| self.size_of(stamp));
                unlocated.first_line = stamp.map(|stamp| (stamp.sender as usize, stamp.sequence));
            }
            unlocated.searched += length;
        }
    }

    /// Processes the kept bytes of the members whose position has become known.
    pub(in super::super) fn receive_located(&mut self, metrics: &mut Metrics, received: &mut Received) {
        while let Some((member, unlocated)) = self.returns.as_mut().and_then(|returns| returns.located.pop_front()) {
            let mut from = 0;
            for (end, now) in unlocated.reads {
                self.receive_bytes(member, &unlocated.bytes[from..end], now, metrics, received);
                from = end;
            }
            if self.cursors[member].ended {
                self.finish_stay(member, metrics);
            }
        }
    }
}

/// Counts a notice that was expected and has arrived.
fn count_notice(kind: NoticeKind, metrics: &mut Metrics) {
    let counters = &mut metrics.counters;
    let (arrived, expected) = match kind {
        NoticeKind::Join => (&mut counters.join_notices, &mut counters.join_notices_expected),
        NoticeKind::Leave => (&mut counters.leave_notices, &mut counters.leave_notices_expected),
    };
    *arrived += 1;
    *expected += 1;
}
