//! What a member received, byte for byte: compared with the log, and taken apart where that doesn't know it.

use super::order::Line;
use super::{Heard, Room, Trouble};
use crate::clock::Tick;
use crate::metrics::Metrics;
use crate::protocol::Frame;

impl Room {
    /// Takes in what a member received.
    pub(crate) fn receive(&mut self, member: usize, chunk: &[u8], now: Tick, metrics: &mut Metrics) -> Heard {
        let mut heard = Heard::default();
        let cursor = &mut self.cursors[member];
        if !cursor.partial.is_empty() || cursor.stray.is_some() {
            let mut bytes = std::mem::take(&mut cursor.partial);
            bytes.extend_from_slice(chunk);
            self.frames(member, &bytes, now, metrics, &mut heard);
            return heard;
        }
        let from = cursor.at;
        let same = self.log.matching_prefix(from, chunk);
        self.pass(member, from + same, now, metrics);
        if same == chunk.len() {
            return heard;
        }
        if from + same == self.log.end() {
            self.frames(member, &chunk[same..], now, metrics, &mut heard);
            return heard;
        }
        // Something else came within a line: go back to where that line starts.
        let cursor = &mut self.cursors[member];
        let start = self.log.start_of(cursor.line);
        let mut bytes = self.log.slice(start, from + same).to_vec();
        cursor.at = start;
        bytes.extend_from_slice(&chunk[same..]);
        self.frames(member, &bytes, now, metrics, &mut heard);
        heard
    }

    /// Reads bytes frame by frame, and keeps the unfinished rest.
    fn frames(&mut self, member: usize, bytes: &[u8], now: Tick, metrics: &mut Metrics, heard: &mut Heard) {
        let protocol = self.protocol;
        let mut at = 0;
        while let Some((length, frame)) = protocol.decode(&bytes[at..]) {
            let raw = &bytes[at..at + length];
            at += length;
            if let Frame::Said { by, text } = frame {
                self.line(member, &Line { raw, by, text }, now, metrics);
            } else {
                self.notice(member, &frame, metrics, heard);
            }
        }
        self.cursors[member].partial = bytes[at..].to_vec();
    }

    /// Takes in a newcomer's notice, which everybody is told once. Returns whether the member itself is in now.
    fn joined(&mut self, member: usize, name: &[u8], metrics: &mut Metrics) -> bool {
        let newcomer = self.member_named(name);
        let Some(newcomer) = newcomer.filter(|newcomer| self.cursors[member].introduce(*newcomer)) else {
            metrics.counters.untrue_notices += 1;
            return false;
        };
        metrics.counters.join_notices += 1;
        self.join_notices += 1;
        newcomer == member && self.enter(member)
    }

    /// Takes in a leaver's notice. It may come before the end of the leaver's own connection is seen: whether it was
    /// true is looked at in the room's account.
    fn left(&mut self, name: &[u8], metrics: &mut Metrics) {
        match self.member_named(name) {
            Some(leaver) => {
                metrics.counters.leave_notices += 1;
                self.leavers.push(leaver);
            }
            None => metrics.counters.untrue_notices += 1,
        }
    }

    /// The member with a name.
    fn member_named(&self, name: &[u8]) -> Option<usize> {
        let digits = std::str::from_utf8(name).ok()?.rsplit_once('x')?.1;
        let member = digits.parse().ok().filter(|member| *member < self.cursors.len())?;
        (self.member_name(member).as_bytes() == name).then_some(member)
    }

    /// Takes in anything but a line.
    fn notice(&mut self, member: usize, frame: &Frame<'_>, metrics: &mut Metrics, heard: &mut Heard) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().take(80).collect::<String>();
        match frame {
            Frame::Ready => heard.ready = true,
            Frame::Entered => heard.entered |= self.enter(member),
            Frame::Joined(name) => heard.entered |= self.joined(member, name, metrics),
            Frame::Left(name) => self.left(name, metrics),
            Frame::Skipped(lines) => {
                metrics.counters.skip_notices += 1;
                metrics.counters.skipped += lines;
            }
            Frame::Ping(token) => self.protocol.pong(token, &mut heard.answer),
            Frame::Error(words) => {
                metrics.counters.errors += 1;
                if *words == b"ERROR" {
                    // The next line gives the reason; it may come with other bytes.
                    self.cursors[member].refused = true;
                } else {
                    heard.trouble.get_or_insert(Trouble::Refused(text(words)));
                }
            }
            Frame::Alien(words) => {
                let words = text(words);
                heard.trouble.get_or_insert(if self.unexplained(member) {
                    Trouble::Refused(format!("ERROR: {words}"))
                } else {
                    Trouble::Alien(words)
                });
            }
            Frame::Said { .. } | Frame::Other => {}
        }
    }
}
