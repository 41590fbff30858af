//! Narrowing: finds where the editor's row is after the terminal has become narrower than the row.
//!
//! Some terminals cut the row, others move its end to further rows (reflow). The cursor's column tells which: a
//! terminal that cuts leaves the cursor in its last column. So the editor asks for the cursor's position (DSR; ECMA-48,
//! section 8.3.35) and erases the row when the answer is there or does not come.
//!
//! One case stays open: if the reflow leaves the cursor in the last column, too, the editor takes the row for cut, so
//! that it never erases a line above.

use super::viewport::RenderedRow;
use super::width::character_width;
use serde::{Deserialize, Serialize};

/// Asks the terminal for the position of its cursor.
const REQUEST_CURSOR_REPORT: &[u8] = b"\x1b[6n";

/// Where the row is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    /// In the cursor's row.
    #[default]
    OneRow,
    /// In the cursor's row and perhaps in rows below.
    CursorInFirstRow,
    /// Unknown, and the editor has to ask.
    Unknown,
    /// Unknown until the answer comes.
    ReportRequested,
    /// From so many rows above the cursor on.
    Reflowed(usize),
}

/// The state of a row in a terminal that may have become too narrow for it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Narrowing {
    state: State,
    /// How many reports the terminal still owes to requests that are out of date.
    outdated_requests: u16,
}

impl Narrowing {
    /// Notes that the terminal has `columns` columns now and shows `row`, which was drawn for other widths.
    pub(super) fn on_resize(&mut self, row: &RenderedRow, columns: usize) {
        if self.state == State::ReportRequested {
            self.outdated_requests = self.outdated_requests.saturating_add(1);
        }
        self.state = if row.cursor >= columns { State::Unknown } else { State::CursorInFirstRow };
    }

    /// Notes a report that the cursor is in `column`, counted from 1, while the terminal has `columns` columns and
    /// shows `row`. Reports that no request waits for are ignored.
    pub(super) fn on_report(&mut self, column: u16, row: &RenderedRow, columns: usize) {
        if self.outdated_requests > 0 {
            self.outdated_requests -= 1;
        } else if self.state == State::ReportRequested {
            // A terminal may report a cursor that stands beyond its last column.
            let is_cut = usize::from(column) >= columns;
            self.state = if is_cut { State::CursorInFirstRow } else { State::Reflowed(rows_above(row, columns)) };
        }
    }

    /// Returns whether a report is awaited.
    pub(super) fn awaits_report(&self) -> bool {
        self.state == State::ReportRequested
    }

    /// Writes the request for a report if one is needed; returns whether it was.
    pub(super) fn request_report(&mut self, out: &mut Vec<u8>) -> bool {
        let is_needed = self.state == State::Unknown;
        if is_needed {
            out.extend_from_slice(REQUEST_CURSOR_REPORT);
            self.state = State::ReportRequested;
        }
        is_needed
    }

    /// Erases the row, as far as its place is known, and moves the cursor to its start.
    pub(super) fn clear_row(&mut self, out: &mut Vec<u8>) {
        out.push(b'\r');
        match std::mem::take(&mut self.state) {
            State::OneRow => return out.extend_from_slice(b"\x1b[K"),
            State::CursorInFirstRow | State::Unknown | State::Reflowed(0) => {}
            State::ReportRequested => self.outdated_requests = self.outdated_requests.saturating_add(1),
            State::Reflowed(rows) => out.extend_from_slice(format!("\x1b[{rows}A").as_bytes()),
        }
        out.extend_from_slice(b"\x1b[J");
    }
}

/// Returns how many rows above the cursor `row` begins, in a terminal that has moved its end to further rows of
/// `columns` columns.
fn rows_above(row: &RenderedRow, columns: usize) -> usize {
    let (mut rows, mut column, mut width_before) = (0, 0, 0);
    for character in row.text.chars().chain(std::iter::repeat(' ')) {
        let width = character_width(character);
        if column + width > columns {
            // A wide character that does not fit moves to the next row as a whole.
            (rows, column) = (rows + 1, 0);
        }
        if width_before >= row.cursor {
            break;
        }
        column += width;
        width_before += width;
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &str, cursor: usize) -> RenderedRow {
        RenderedRow { text: text.to_owned(), cursor }
    }

    #[test]
    fn rows_above_the_cursor_are_counted_as_the_terminal_moves_them() {
        let text = "x".repeat(70);
        for (cursor, columns, rows) in
            [(69, 40, 1), (40, 40, 1), (39, 40, 0), (69, 30, 2), (70, 35, 2), (0, 1, 0), (5, 1, 5)]
        {
            assert_eq!(rows_above(&row(&text, cursor), columns), rows, "{cursor} {columns}");
        }
        assert_eq!(rows_above(&row(&"漢".repeat(10), 20), 5), 4, "the fifth column of each row is free");
    }

    #[test]
    fn row_is_asked_for_only_if_the_cursor_has_no_column_any_more() {
        for (cursor, columns, asks) in [(70, 40, true), (40, 40, true), (39, 40, false), (70, 100, false)] {
            let mut narrowing = Narrowing::default();
            narrowing.on_resize(&row(&"x".repeat(70), cursor), columns);
            let mut out = Vec::new();
            assert_eq!(
                (narrowing.request_report(&mut out), narrowing.awaits_report()),
                (asks, asks),
                "{cursor} {columns}"
            );
            assert_eq!(out, if asks { REQUEST_CURSOR_REPORT } else { b"" });
        }
    }

    /// tmux reports the column after the last one for a row that fills the new width.
    #[test]
    fn cursor_beyond_the_last_column_is_that_of_a_cut_row() {
        for column in [40, 41] {
            let row = row(&"x".repeat(40), 40);
            let (mut narrowing, mut out) = (Narrowing::default(), Vec::new());
            narrowing.on_resize(&row, 40);
            assert!(narrowing.request_report(&mut out));
            narrowing.on_report(column, &row, 40);
            assert_eq!(narrowing.state, State::CursorInFirstRow);
        }
    }

    #[test]
    fn each_report_answers_its_own_request() {
        let row = row(&"x".repeat(70), 70);
        let (mut narrowing, mut out) = (Narrowing::default(), Vec::new());
        narrowing.on_report(5, &row, 40);
        assert_eq!(narrowing.state, State::OneRow);
        narrowing.on_resize(&row, 40);
        assert!(narrowing.request_report(&mut out));
        narrowing.on_resize(&row, 20);
        assert!(narrowing.request_report(&mut out));
        narrowing.on_report(31, &row, 20);
        assert!(narrowing.awaits_report(), "the first report belongs to the first width");
        narrowing.on_report(11, &row, 20);
        assert_eq!(narrowing.state, State::Reflowed(3));
        out.clear();
        narrowing.clear_row(&mut out);
        assert_eq!(out, b"\r\x1b[3A\x1b[J");
        narrowing.on_resize(&row, 40);
        assert!(narrowing.request_report(&mut out));
        narrowing.clear_row(&mut out);
        narrowing.on_resize(&row, 40);
        assert!(narrowing.request_report(&mut out));
        narrowing.on_report(31, &row, 40);
        assert!(narrowing.awaits_report(), "a late report is not taken for the next one");
    }
}
