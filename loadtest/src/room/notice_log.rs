//! The join and leave notices of a room in their common order.
//!
//! The server sends all members the same notices in the same order, as it does with lines. The first member that receives a
//! notice adds it, and all other members are compared with the log.

use std::collections::VecDeque;

/// Entries that the log keeps until discarding the read ones is cheap in comparison.
const MIN_DISCARD: usize = 64;

/// The kinds of notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoticeKind {
    /// A member has joined.
    Join,
    /// A member has left.
    Leave,
}

/// A notice of a member's join or leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    /// Whether the member has joined or left.
    pub(super) kind: NoticeKind,
    /// The member.
    pub(super) subject: usize,
}

/// A notice at its place in the common order.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoticeEntry {
    /// The notice.
    pub(super) notice: Notice,
    /// The number of lines before it in the room's order; `None` where no member has shown it.
    pub(super) line: Option<usize>,
    /// A member has to receive the notice if its own stay began with this notice number or an earlier one.
    pub(super) since: usize,
}

/// The notices of one room, numbered from 0. Notices that every member has received are discarded.
#[derive(Debug, Default)]
pub(super) struct NoticeLog {
    /// The number of the first kept notice.
    first: usize,
    entries: VecDeque<NoticeEntry>,
    /// The number of kept notices at which the next discard is due.
    discard_at: usize,
}

impl NoticeLog {
    /// Returns the number of the next notice.
    pub(super) fn end(&self) -> usize {
        self.first + self.entries.len()
    }

    /// Returns a notice by its number, if it is kept.
    pub(super) fn get(&self, number: usize) -> Option<&NoticeEntry> {
        self.entries.get(number.checked_sub(self.first)?)
    }

    /// Returns the kept notices from a number on, with their numbers.
    pub(super) fn entries_from(&self, number: usize) -> impl Iterator<Item = (usize, &NoticeEntry)> {
        let skipped = number.saturating_sub(self.first).min(self.entries.len());
        (self.first + skipped..).zip(self.entries.range(skipped..))
    }

    /// Appends a notice.
    pub(super) fn push(&mut self, entry: NoticeEntry) {
        self.entries.push_back(entry);
    }

    /// Records that a member has shown `line` lines before a notice. A member that has lost lines shows fewer, so the
    /// highest number counts. Returns by how much the known number has grown.
    pub(super) fn raise_line(&mut self, number: usize, line: usize) -> usize {
        let entry = number.checked_sub(self.first).and_then(|at| self.entries.get_mut(at));
        let Some(entry) = entry else { return 0 };
        let before = entry.line.unwrap_or(line);
        entry.line = Some(line.max(before));
        line.saturating_sub(before)
    }

    /// Returns whether a discard is due: the log has doubled since the last one.
    pub(super) fn needs_discard(&self) -> bool {
        self.entries.len() > self.discard_at.max(MIN_DISCARD)
    }

    /// Discards the notices before `number`, which every member has received.
    pub(super) fn discard_before(&mut self, number: usize) {
        let count = number.saturating_sub(self.first).min(self.entries.len());
        self.entries.drain(..count);
        self.first += count;
        self.discard_at = self.entries.len() * 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_keep_their_numbers_and_the_highest_line() {
        let mut log = NoticeLog::default();
        for subject in 0..100 {
            log.push(NoticeEntry {
                notice: Notice { kind: NoticeKind::Join, subject },
                line: (subject > 0).then_some(subject),
                since: 0,
            });
        }
        assert!(log.needs_discard());
        log.discard_before(90);
        assert!(!log.needs_discard() && log.get(89).is_none());
        assert_eq!((log.end(), log.get(90).map(|entry| entry.notice.subject)), (100, Some(90)));
        assert_eq!(log.entries_from(98).map(|(number, _)| number).collect::<Vec<_>>(), [98, 99]);
        assert_eq!((log.raise_line(95, 97), log.raise_line(95, 96), log.get(95).unwrap().line), (2, 0, Some(97)));
        assert_eq!(log.raise_line(3, 9), 0, "the notice is discarded");
    }
}
