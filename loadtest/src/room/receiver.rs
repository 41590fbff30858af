//! Received bytes: compared with the log, and decoded where they differ from it or extend it.

use super::notice_log::{Notice, NoticeKind};
use super::order::ReceivedLine;
use super::{Received, Room, ServerFault};
use crate::clock::Tick;
use crate::cursor::MemberState;
use crate::format::escape_start;
use crate::metrics::Metrics;
use crate::protocol::Frame;

impl Room {
    /// Processes bytes that a member received.
    pub(crate) fn receive(&mut self, member: usize, chunk: &[u8], now: Tick, metrics: &mut Metrics) -> Received {
        let mut received = Received::default();
        self.receive_bytes(member, chunk, now, metrics, &mut received);
        if self.returns.is_some() {
            self.receive_located(metrics, &mut received);
        }
        received
    }

    /// Compares bytes with the log, and decodes those that differ from it.
    pub(super) fn receive_bytes(
        &mut self,
        member: usize,
        chunk: &[u8],
        now: Tick,
        metrics: &mut Metrics,
        received: &mut Received,
    ) {
        let order = self.order_number(member);
        let cursor = &mut self.cursors[member];
        if cursor.state == MemberState::Left {
            // The run has ended before another member has shown the position of this one: its bytes cannot be judged.
            return;
        }
        if !cursor.partial.is_empty() || cursor.divergence.is_some() || cursor.unlocated.is_some() {
            if self.is_held(member) {
                return self.hold(member, chunk, now, received);
            }
            let mut bytes = std::mem::take(&mut self.cursors[member].partial);
            bytes.extend_from_slice(chunk);
            return self.decode_frames(member, &bytes, now, metrics, received);
        }
        let from = cursor.at;
        let same = self.orders[order].log.matching_prefix(from, chunk);
        self.advance(member, from + same, now, metrics);
        if same == chunk.len() {
            return;
        }
        let log = &self.orders[order].log;
        if from + same == log.end() {
            return self.decode_frames(member, &chunk[same..], now, metrics, received);
        }
        // Bytes within a line differ from the log: decoding restarts at the start of that line.
        let cursor = &mut self.cursors[member];
        let start = log.start_of(cursor.line);
        let mut bytes = log.slice(start, from + same).to_vec();
        cursor.at = start;
        bytes.extend_from_slice(&chunk[same..]);
        self.decode_frames(member, &bytes, now, metrics, received);
    }

    /// Decodes frame by frame, and keeps an unfinished frame for the next bytes.
    fn decode_frames(
        &mut self,
        member: usize,
        bytes: &[u8],
        now: Tick,
        metrics: &mut Metrics,
        received: &mut Received,
    ) {
        let protocol = self.protocol;
        let mut at = 0;
        while let Some((length, frame)) = protocol.decode(&bytes[at..]) {
            let raw = &bytes[at..at + length];
            at += length;
            if let Frame::Line { sender, text } = frame {
                self.receive_line(member, &ReceivedLine { raw, sender, text }, now, metrics);
            } else {
                self.handle_frame(member, &frame, metrics, received);
            }
            if self.is_held(member) {
                return self.hold(member, &bytes[at..], now, received);
            }
        }
        self.cursors[member].partial = bytes[at..].to_vec();
    }

    /// Records a join notice. Returns whether it announces the receiving member itself.
    fn on_join_notice(&mut self, member: usize, name: &[u8], metrics: &mut Metrics) -> bool {
        let subject = self.member_named(name);
        if let Some(subject) = subject.filter(|_| self.returns.is_some()) {
            return self.on_notice(member, Notice { kind: NoticeKind::Join, subject }, metrics);
        }
        let Some(subject) = subject.filter(|subject| self.membership.on_join_notice(member, *subject)) else {
            metrics.counters.untrue_notices += 1;
            return false;
        };
        metrics.counters.join_notices += 1;
        subject == member && self.mark_joined(member)
    }

    /// Records a leave notice.
    fn on_leave_notice(&mut self, member: usize, name: &[u8], metrics: &mut Metrics) {
        let subject = self.member_named(name);
        if let Some(subject) = subject.filter(|_| self.returns.is_some()) {
            self.on_notice(member, Notice { kind: NoticeKind::Leave, subject }, metrics);
            return;
        }
        let valid = subject.is_some_and(|subject| self.membership.on_leave_notice(member, subject));
        *(if valid { &mut metrics.counters.leave_notices } else { &mut metrics.counters.untrue_notices }) += 1;
    }

    /// Records a notice of skipped lines.
    fn on_skip_notice(&mut self, member: usize, lines: u64, metrics: &mut Metrics) {
        metrics.counters.skip_notices += 1;
        metrics.counters.skipped += lines;
        let announced = &mut self.cursors[member].skipped;
        *announced = announced.saturating_add(lines);
        if let Some(slow) = self.slow.get_mut(&member) {
            slow.on_notice(lines);
        }
    }

    /// Returns whether a member has left, and is connecting again.
    fn is_returning(&self, member: usize) -> bool {
        self.cursors[member].unlocated.is_some() && self.cursors[member].state == MemberState::Joining
    }

    /// Returns the member with a name.
    fn member_named(&self, name: &[u8]) -> Option<usize> {
        let digits = std::str::from_utf8(name).ok()?.rsplit_once('x')?.1;
        let member = digits.parse().ok().filter(|member| *member < self.cursors.len())?;
        (self.member_name(member).as_bytes() == name).then_some(member)
    }

    /// Processes a frame that is not a line.
    fn handle_frame(&mut self, member: usize, frame: &Frame<'_>, metrics: &mut Metrics, received: &mut Received) {
        let text = |bytes: &[u8]| escape_start(&String::from_utf8_lossy(bytes));
        match frame {
            Frame::Ready => {
                received.ready = true;
                if self.returns.is_none() {
                    self.membership.on_join_request(member);
                }
            }
            Frame::Entered => received.entered |= self.mark_joined(member),
            Frame::Joined(name) => received.entered |= self.on_join_notice(member, name, metrics),
            Frame::Left(name) => self.on_leave_notice(member, name, metrics),
            Frame::Skipped(lines) => self.on_skip_notice(member, *lines, metrics),
            Frame::Missing(lines) => self.on_gap_notice(member, *lines, metrics),
            Frame::Split => metrics.counters.split_notices += 1,
            Frame::Ping(token) => self.protocol.encode_pong(token, &mut received.reply),
            Frame::Error(words) => {
                // A member that comes back tries again, and a slow member may be closed.
                metrics.counters.errors += u64::from(!self.is_returning(member) && !self.may_be_closed(member));
                if let Some(unlocated) = &mut self.cursors[member].unlocated {
                    unlocated.refused = true;
                }
                if *words == b"ERROR" {
                    // The next line gives the reason. It may arrive with later bytes.
                    self.cursors[member].refusal_pending = true;
                } else {
                    received.fault.get_or_insert(ServerFault::Refused(text(words)));
                }
            }
            Frame::Unknown(words) if self.may_be_closed(member) && self.take_unexplained_refusal(member) => {
                self.on_close_reason(member, text(words));
            }
            Frame::Unknown(words) => {
                let words = text(words);
                received.name_taken |= self.is_returning(member) && self.protocol.is_name_taken(&words);
                received.fault.get_or_insert(if self.take_unexplained_refusal(member) {
                    ServerFault::Refused(format!("ERROR: {words}"))
                } else {
                    ServerFault::UnknownFrame(words)
                });
            }
            Frame::Line { .. } | Frame::Ignored => {}
        }
    }
}
