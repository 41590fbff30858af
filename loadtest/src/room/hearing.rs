//! What a member received, byte for byte: compared with the log, and taken apart where that doesn't know it.

use super::{Heard, Room, Trouble};
use crate::clock::Tick;
use crate::cursor::Stage;
use crate::protocol::Frame;
use crate::sheet::Sheet;

impl Room {
    /// Takes in what a member received.
    pub(crate) fn receive(&mut self, member: usize, chunk: &[u8], now: Tick, sheet: &mut Sheet) -> Heard {
        let mut heard = Heard::default();
        let cursor = &mut self.cursors[member];
        if !cursor.partial.is_empty() || cursor.stray.is_some() {
            let mut bytes = std::mem::take(&mut cursor.partial);
            bytes.extend_from_slice(chunk);
            self.frames(member, &bytes, now, sheet, &mut heard);
            return heard;
        }
        let from = cursor.at;
        let same = self.log.common(from, chunk);
        self.pass(member, from + same, now, sheet);
        if same == chunk.len() {
            return heard;
        }
        if from + same == self.log.end() {
            self.frames(member, &chunk[same..], now, sheet, &mut heard);
            return heard;
        }
        // Something else came within a line: go back to where that line starts.
        let cursor = &mut self.cursors[member];
        let start = self.log.start_of(cursor.line);
        let mut bytes = self.log.slice(start, from + same).to_vec();
        cursor.at = start;
        bytes.extend_from_slice(&chunk[same..]);
        self.frames(member, &bytes, now, sheet, &mut heard);
        heard
    }

    /// Reads bytes frame by frame, and keeps the unfinished rest.
    fn frames(&mut self, member: usize, bytes: &[u8], now: Tick, sheet: &mut Sheet, heard: &mut Heard) {
        let protocol = self.protocol;
        let mut at = 0;
        while let Some((length, frame)) = protocol.decode(&bytes[at..]) {
            let raw = &bytes[at..at + length];
            at += length;
            if let Frame::Said(text) = frame {
                self.line(member, raw, text, now, sheet);
            } else {
                self.notice(member, &frame, sheet, heard);
            }
        }
        self.cursors[member].partial = bytes[at..].to_vec();
    }

    /// Takes in anything but a line.
    fn notice(&mut self, member: usize, frame: &Frame<'_>, sheet: &mut Sheet, heard: &mut Heard) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().take(80).collect::<String>();
        match frame {
            Frame::Ready => heard.ready = true,
            Frame::Entered => heard.entered |= self.enter(member),
            Frame::Joined(name) => {
                sheet.tally.join_notices += 1;
                self.join_notices += 1;
                if self.cursors[member].stage == Stage::Outside && *name == self.member_name(member).as_bytes() {
                    heard.entered |= self.enter(member);
                }
            }
            Frame::Left(_) => sheet.tally.leave_notices += 1,
            Frame::Skipped(lines) => {
                sheet.tally.skip_notices += 1;
                sheet.tally.skipped += lines;
            }
            Frame::Ping(token) => self.protocol.pong(token, &mut heard.answer),
            Frame::Error(words) => {
                sheet.tally.errors += 1;
                heard.trouble.get_or_insert(Trouble::Refused(text(words)));
            }
            // An ERROR is followed by a line that gives the reason.
            Frame::Alien(words) => match &mut heard.trouble {
                Some(Trouble::Refused(reason)) if reason == "ERROR" => *reason = format!("ERROR: {}", text(words)),
                Some(_) => {}
                none => *none = Some(Trouble::Alien(text(words))),
            },
            Frame::Said(_) | Frame::Other => {}
        }
    }
}
