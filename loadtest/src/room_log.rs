//! A room's common order: the bytes that its members receive, as they first arrive at any member.
//!
//! The server must send every member the same bytes. The first member that receives a line has it decoded and checked;
//! the bytes of all other members are compared with the log. A comparison of memory is cheaper than decoding the line
//! again. It is also stricter, because it covers the order of all lines and every byte.

use std::collections::{HashMap, VecDeque};

use crate::metrics::LineTimes;

/// Bytes of discarded lines that the log keeps until moving the rest is cheap in comparison.
const COMPACT_BYTES: usize = 64 * 1024;

/// One line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogEntry {
    /// The offset of the line's end, counted from the start of the run.
    pub(crate) end: usize,
    /// The times of the line.
    pub(crate) times: LineTimes,
    /// The sender's index among the room's senders.
    pub(crate) sender: usize,
    /// The line's number among the lines of its sender.
    pub(crate) sequence: u32,
}

/// The lines of one room in their common order. Lines that every member has received are discarded.
#[derive(Debug, Default)]
pub(crate) struct RoomLog {
    /// The bytes of the kept lines.
    bytes: Vec<u8>,
    /// The offset of the first kept byte, counted from the start of the run.
    base: usize,
    /// The lines kept.
    entries: VecDeque<LogEntry>,
    /// The number of the first kept line.
    first: usize,
    /// The offset of the first kept line.
    first_start: usize,
    /// The numbers of the kept lines by sender and sequence number; `None` until a member diverges.
    index: Option<HashMap<(usize, u32), usize>>,
}

impl RoomLog {
    /// Returns the offset of the log's end.
    pub(crate) fn end(&self) -> usize {
        self.base + self.bytes.len()
    }

    /// Returns the bytes of lines that at least one member has not received.
    pub(crate) fn retained_bytes(&self) -> usize {
        self.end() - self.first_start
    }

    /// Returns how many lines were ever appended.
    pub(crate) fn lines(&self) -> usize {
        self.first + self.entries.len()
    }

    /// Returns a line by its number, if it is kept.
    pub(crate) fn entry(&self, line: usize) -> Option<&LogEntry> {
        self.entries.get(line.checked_sub(self.first)?)
    }

    /// Returns the offset of a line's start; for the next line to be appended, the offset of the log's end.
    pub(crate) fn start_of(&self, line: usize) -> usize {
        match line.checked_sub(self.first) {
            None | Some(0) => self.first_start,
            Some(at) => self.entries[at - 1].end,
        }
    }

    /// Returns the bytes between two offsets.
    pub(crate) fn slice(&self, from: usize, to: usize) -> &[u8] {
        &self.bytes[from - self.base..to - self.base]
    }

    /// Returns the bytes of a kept line.
    pub(crate) fn line_bytes(&self, line: usize) -> &[u8] {
        self.slice(self.start_of(line), self.start_of(line + 1))
    }

    /// Returns how many leading bytes of `chunk` match the log from offset `at` on.
    pub(crate) fn matching_prefix(&self, at: usize, chunk: &[u8]) -> usize {
        let ours = &self.bytes[at - self.base..];
        let length = ours.len().min(chunk.len());
        let (ours, theirs) = (&ours[..length], &chunk[..length]);
        if ours == theirs {
            return length;
        }
        ours.iter().zip(theirs).position(|(a, b)| a != b).unwrap_or(length)
    }

    /// Appends a line.
    pub(crate) fn append(&mut self, raw: &[u8], times: LineTimes, sender: usize, sequence: u32) {
        self.bytes.extend_from_slice(raw);
        if let Some(index) = &mut self.index {
            index.insert((sender, sequence), self.first + self.entries.len());
        }
        self.entries.push_back(LogEntry { end: self.end(), times, sender, sequence });
    }

    /// Returns the kept lines from a number on.
    pub(crate) fn entries_from(&self, line: usize) -> impl Iterator<Item = &LogEntry> {
        self.entries.range(line.saturating_sub(self.first).min(self.entries.len())..)
    }

    /// Builds the index that [`Self::find`] uses. Appends and discards keep it up to date from then on.
    pub(crate) fn build_index(&mut self) {
        let numbered = self.entries.iter().zip(self.first..);
        self.index
            .get_or_insert_with(|| numbered.map(|(entry, line)| ((entry.sender, entry.sequence), line)).collect());
    }

    /// Returns the number of a kept line; `None` without an index.
    pub(crate) fn find(&self, sender: usize, sequence: u32) -> Option<usize> {
        self.index.as_ref()?.get(&(sender, sequence)).copied()
    }

    /// Discards the lines before `line`, which every member has received.
    pub(crate) fn discard_before(&mut self, line: usize) {
        let count = line.saturating_sub(self.first).min(self.entries.len());
        if count == 0 {
            return;
        }
        self.first_start = self.start_of(self.first + count);
        self.first += count;
        for entry in self.entries.drain(..count) {
            if let Some(index) = &mut self.index {
                index.remove(&(entry.sender, entry.sequence));
            }
        }
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
    fn log_keeps_lines_that_are_not_discarded() {
        let mut log = RoomLog::default();
        for sequence in 0..4 {
            log.append(b"line\n", LineTimes::default(), 0, sequence);
        }
        assert_eq!((log.lines(), log.end(), log.start_of(2)), (4, 20, 10));
        log.build_index();
        log.discard_before(3);
        assert_eq!((log.start_of(3), log.find(0, 2), log.find(0, 3)), (15, None, Some(3)));
        assert_eq!(log.matching_prefix(15, b"line\nmore"), 5);
        assert_eq!(log.matching_prefix(15, b"lin?\n"), 3);
        log.discard_before(4);
        assert_eq!((log.lines(), log.end(), log.start_of(4)), (4, 20, 20));
        log.append(b"line\n", LineTimes::default(), 0, 4);
        assert_eq!((log.find(0, 3), log.find(0, 4)), (None, Some(4)), "the index follows appends and discards");
    }
}
