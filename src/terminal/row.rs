//! Row: the terminal's last row, as it is on the screen and as it should be.
//!
//! Changes are collected here until the next render writes them, so that many keys cost one render.

use super::line_buffer::LineBuffer;
use super::narrowing::Narrowing;
use super::viewport::{Prompt, RenderedRow, Viewport};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long after a change the row is rendered: a fast typist makes a key every 50 ms, and a paste is rendered once.
pub(super) const RENDER_DELAY: Duration = Duration::from_millis(10);

/// How long the editor waits for the terminal to report the position of its cursor.
pub(super) const REPORT_DELAY: Duration = Duration::from_millis(300);

/// BEL (ECMA-48, section 8.3.3).
pub(super) const BELL: u8 = 0x07;

/// The row of one terminal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Row {
    /// The part of the line that the row shows.
    viewport: Viewport,
    /// The row that the terminal shows now.
    rendered: RenderedRow,
    /// Where the row is in a terminal that has become narrower.
    narrowing: Narrowing,
    /// How much the next render writes.
    pending: PendingRender,
    /// Whether the next render rings the bell.
    bell_pending: bool,
}

/// How much the next render writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum PendingRender {
    /// Nothing, since the row shows the line.
    Nothing,
    /// The differences between the rendered row and the line.
    Changes,
    /// The whole row, since the terminal may not show the rendered row any more.
    WholeRow,
}

impl Row {
    /// Creates the row of a terminal with `columns` columns, 0 if unknown. The terminal shows nothing in it yet.
    pub(super) fn new(columns: u16) -> Self {
        Self {
            viewport: Viewport::new(columns),
            rendered: RenderedRow::default(),
            narrowing: Narrowing::default(),
            pending: PendingRender::WholeRow,
            bell_pending: false,
        }
    }

    /// Returns the row that the terminal shows.
    #[cfg(test)]
    pub(super) fn rendered(&self) -> &RenderedRow {
        &self.rendered
    }

    /// Notes that the line or the prompt may have changed.
    pub(super) fn note_change(&mut self) {
        self.pending = self.pending.max(PendingRender::Changes);
    }

    /// Notes that the terminal may not show the rendered row any more.
    pub(super) fn request_redraw(&mut self) {
        self.pending = PendingRender::WholeRow;
    }

    /// Rings the bell with the next render.
    pub(super) fn ring_bell(&mut self) {
        self.bell_pending = true;
    }

    /// Notes a new width of the terminal; 0 means unknown.
    pub(super) fn resize(&mut self, columns: u16) {
        self.viewport = Viewport::new(columns);
        self.narrowing.on_resize(&self.rendered, self.viewport.columns());
        self.request_redraw();
    }

    /// Notes the terminal's report that its cursor is in `column`, counted from 1.
    pub(super) fn on_cursor_report(&mut self, column: u16) {
        self.narrowing.on_report(column, &self.rendered, self.viewport.columns());
    }

    /// Returns how long after the first change the row should be rendered; `None` if there is nothing to render.
    pub(super) fn render_delay(&self) -> Option<Duration> {
        if self.narrowing.awaits_report() {
            return Some(REPORT_DELAY);
        }
        (self.pending > PendingRender::Nothing || self.bell_pending).then_some(RENDER_DELAY)
    }

    /// Writes what the terminal needs to show `prompt` and `line`, and a pending bell. If the place of the row is
    /// unknown, writes a request for the cursor's position instead, once.
    pub(super) fn render(&mut self, out: &mut Vec<u8>, line: &LineBuffer, prompt: Prompt<'_>) {
        if self.narrowing.request_report(out) {
            return;
        }
        if self.pending == PendingRender::WholeRow {
            self.clear(out);
        }
        self.pending = PendingRender::Nothing;
        let row = self.viewport.render(line, prompt);
        row.write_changes(out, &self.rendered);
        self.rendered = row;
        if std::mem::take(&mut self.bell_pending) {
            out.push(BELL);
        }
    }

    /// Erases the row and leaves the cursor at its start. The next render writes the row where the cursor is then.
    pub(super) fn clear(&mut self, out: &mut Vec<u8>) {
        self.narrowing.clear_row(out);
        self.rendered = RenderedRow::default();
        self.pending = PendingRender::Changes;
    }
}
