//! A room's common order: the bytes that its members receive, as whoever was first saw them.
//!
//! Every member must be sent the same bytes. So the first to receive a line has it taken apart and checked, and all
//! others are only compared with it: a comparison of memory, which is both cheaper than reading the line again and
//! stricter, as it covers the order of all the room's lines and every byte of them.

use std::collections::VecDeque;

use crate::clock::Tick;

/// Bytes of lines that everybody has, kept until moving the rest is cheap beside them.
const COMPACT_BYTES: usize = 64 * 1024;

/// One line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogEntry {
    /// Where its bytes end, counted from the start of the run.
    pub(crate) end: usize,
    /// When it was planned to be sent.
    pub(crate) planned: Tick,
    /// Who said it: a place among the room's senders.
    pub(crate) sender: usize,
    /// Which one of its sender's lines it is.
    pub(crate) sequence: u32,
}

/// The lines of one room in their common order; those that every member has are forgotten.
#[derive(Debug, Default)]
pub(crate) struct RoomLog {
    /// The bytes kept.
    bytes: Vec<u8>,
    /// Where those begin, counted from the start of the run.
    base: usize,
    /// The lines kept.
    entries: VecDeque<LogEntry>,
    /// The number of the first of them.
    first: usize,
    /// Where the first of them begins.
    first_start: usize,
}

impl RoomLog {
    /// Where the log ends, in bytes.
    pub(crate) fn end(&self) -> usize {
        self.base + self.bytes.len()
    }

    /// Bytes of lines that somebody still needs.
    pub(crate) fn retained_bytes(&self) -> usize {
        self.end() - self.first_start
    }

    /// How many lines were ever logged.
    pub(crate) fn lines(&self) -> usize {
        self.first + self.entries.len()
    }

    /// A line by its number, if it is still kept.
    pub(crate) fn entry(&self, line: usize) -> Option<&LogEntry> {
        self.entries.get(line.checked_sub(self.first)?)
    }

    /// Where a line starts; for the line to come next, the end of the log.
    pub(crate) fn start_of(&self, line: usize) -> usize {
        match line.checked_sub(self.first) {
            None | Some(0) => self.first_start,
            Some(at) => self.entries[at - 1].end,
        }
    }

    /// The bytes between two places.
    pub(crate) fn slice(&self, from: usize, to: usize) -> &[u8] {
        &self.bytes[from - self.base..to - self.base]
    }

    /// The bytes of a kept line.
    pub(crate) fn line_bytes(&self, line: usize) -> &[u8] {
        self.slice(self.start_of(line), self.start_of(line + 1))
    }

    /// How many bytes of `chunk` are as the log has them from `at` on.
    pub(crate) fn matching_prefix(&self, at: usize, chunk: &[u8]) -> usize {
        let ours = &self.bytes[at - self.base..];
        let length = ours.len().min(chunk.len());
        let (ours, theirs) = (&ours[..length], &chunk[..length]);
        if ours == theirs {
            return length;
        }
        ours.iter().zip(theirs).position(|(a, b)| a != b).unwrap_or(length)
    }

    /// Adds a line; its end is set here.
    pub(crate) fn append(&mut self, raw: &[u8], planned: Tick, sender: usize, sequence: u32) {
        self.bytes.extend_from_slice(raw);
        self.entries.push_back(LogEntry { end: self.end(), planned, sender, sequence });
    }

    /// The lines from a number on.
    pub(crate) fn entries_from(&self, line: usize) -> impl Iterator<Item = &LogEntry> {
        self.entries.iter().skip(line.saturating_sub(self.first))
    }

    /// The number of a kept line.
    pub(crate) fn find(&self, sender: usize, sequence: u32) -> Option<usize> {
        let at = self.entries.iter().position(|entry| entry.sender == sender && entry.sequence == sequence)?;
        Some(self.first + at)
    }

    /// Forgets the lines before `line`: every member has them.
    pub(crate) fn discard_before(&mut self, line: usize) {
        let count = line.saturating_sub(self.first).min(self.entries.len());
        if count == 0 {
            return;
        }
        self.first_start = self.start_of(self.first + count);
        self.first += count;
        self.entries.drain(..count);
        if self.entries.is_empty() {
            self.bytes.clear();
            self.base = self.first_start;
        } else if self.first_start - self.base > COMPACT_BYTES.max(self.bytes.len() / 2) {
            self.bytes.drain(..self.first_start - self.base);
            self.base = self.first_start;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_somebody_still_needs() {
        let mut log = RoomLog::default();
        for sequence in 0..4 {
            log.append(b"line\n", 7, 0, sequence);
        }
        assert_eq!((log.lines(), log.end(), log.start_of(2)), (4, 20, 10));
        log.discard_before(3);
        assert_eq!((log.start_of(3), log.find(0, 2), log.find(0, 3)), (15, None, Some(3)));
        assert_eq!(log.matching_prefix(15, b"line\nmore"), 5);
        assert_eq!(log.matching_prefix(15, b"lin?\n"), 3);
        log.discard_before(4);
        assert_eq!((log.lines(), log.end(), log.start_of(4)), (4, 20, 20));
    }
}
