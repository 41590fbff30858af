//! The bounds of a backlog: which lines are kept, dropped, counted and told (rules 3 to 7 of [`OutputBuffer`]).

use super::OutputBuffer;
use crate::limits::memory::MemoryPressure;
use crate::peer::line_batch::{DropPrecedence, LineBatch, count_lines};
use crate::peer::waiting_output::SegmentKind;
use crate::text::messages;
use crate::text::time::Minute;
use memchr::{memchr, memrchr};

impl OutputBuffer {
    /// Returns the bytes that count against the backlog's limit.
    pub(super) fn held(&self) -> usize {
        let encoded = if self.settings.route.is_direct() { self.encoded.len() } else { 0 };
        self.waiting.weight() + encoded
    }

    /// Returns the bound of the backlog for new lines (rules 6 and 7).
    pub(super) fn limit(&self) -> usize {
        let limit = self.settings.limit / if self.made_under_pressure { 4 } else { 1 };
        let is_allowed = !self.sink_blocked && self.charge.pressure() < MemoryPressure::High;
        limit + if is_allowed { self.settings.allowance } else { 0 }
    }

    /// Keeps as many whole lines as the limit allows, and drops the others (rules 3 to 7). Keeps them in the memory of
    /// their batch where that is shared.
    ///
    /// Lines of [`DropPrecedence::High`] may fill half of the limit. So a slow reader of a room with a flooder loses the
    /// flooder's lines, and the others reach it within the time that half a backlog takes.
    ///
    /// After a gap it starts again only when half of the limit is free, so that a reader just short of keeping up
    /// gets long stretches and few notices. After a gap in the lines of high precedence alone, lines of low precedence
    /// are kept at once.
    pub(super) fn keep(
        &mut self,
        (minute, precedence): (Minute, DropPrecedence),
        lines: &[u8],
        batch: Option<&LineBatch>,
    ) {
        let (mut limit, held) = (self.limit(), self.held());
        if self.charge.pressure() == MemoryPressure::Full {
            if let Some(budget) = self.charge.budget() {
                budget.note_refused(lines.len());
            }
            limit = 0;
        }
        let is_high = precedence == DropPrecedence::High;
        if is_high {
            limit /= 2;
        }
        if self.gap > 0 {
            if held > limit / 2 && (is_high || self.low_gap > 0) {
                return self.lose(count_lines(lines), precedence);
            }
            self.tell_gap();
        }
        let first = if held == 0 { memchr(b'\n', lines).map_or(lines.len(), |at| at + 1) } else { 0 };
        let free = limit.saturating_sub(self.held()).min(lines.len());
        let kept = memrchr(b'\n', &lines[..free]).map_or(0, |at| at + 1).max(first);
        match batch.and_then(|batch| batch.share(&lines[..kept], self.charge.budget())) {
            Some(shared) => self.waiting.push_shared(minute, shared),
            None => self.waiting.push(SegmentKind::Lines(minute), &lines[..kept]),
        }
        self.lose(count_lines(&lines[kept..]), precedence);
    }

    pub(super) fn lose(&mut self, lines: u64, precedence: DropPrecedence) {
        self.gap += lines;
        self.low_gap += if precedence == DropPrecedence::Low { lines } else { 0 };
        self.lines_lost += lines;
        self.skipped += lines;
    }

    pub(super) fn tell_gap(&mut self) {
        if self.gap > 0 {
            self.lines += 1;
            self.waiting.push_notice(Minute::now(), self.gap, messages::skipped_notice(self.gap).as_bytes());
            (self.gap, self.low_gap) = (0, 0);
        }
    }
}
