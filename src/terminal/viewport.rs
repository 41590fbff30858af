//! Viewport: the part of the edited line that the terminal's last row shows after the prompt.
//!
//! A long line scrolls sideways within one row. Wrapping it would depend on where the terminal wraps, and
//! terminals differ there.

use super::line_buffer::LineBuffer;
use unicode_width::UnicodeWidthChar;

/// The prompt before the row.
pub(super) const PROMPT: &str = "> ";

/// The most combining marks, such as accents, that one character shows.
const MAX_COMBINING_MARKS: usize = 4;

/// The marks for more text on the left and on the right.
const OVERFLOW_MARKS: [char; 2] = ['<', '>'];

/// Clears the cursor's row and moves the cursor to its start.
pub(super) const CLEAR_ROW: &[u8] = b"\r\x1b[K";

/// The content of the row, without the prompt.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RenderedRow {
    /// The visible text.
    pub(super) text: String,
    /// The column of the cursor, counted from 0 after the prompt.
    pub(super) cursor: usize,
}

/// A window onto the edited line that follows the cursor.
#[derive(Debug)]
pub(super) struct Viewport {
    /// The columns for the row's text; the cursor may stand one column further.
    columns: usize,
    /// The byte index in the line at which the row starts.
    start: usize,
}

impl Viewport {
    /// Creates the viewport of a terminal with `columns` columns; 0 means unknown and counts as 80.
    ///
    /// The width is at least 10, so that some text is visible, and at most 500, since each key costs the time
    /// and the bytes of a row.
    pub(super) fn new(columns: u16) -> Self {
        let columns = if columns == 0 { 80 } else { usize::from(columns).clamp(10, 500) };
        // The last column stays free: terminals differ in where a character there leaves the cursor.
        Self { columns: columns - PROMPT.len() - 1, start: 0 }
    }

    /// Renders the part of `line` around its cursor, and scrolls only if needed.
    pub(super) fn render(&mut self, line: &LineBuffer) -> RenderedRow {
        let (text, cursor) = (line.text(), line.cursor());
        for start in [0, self.start] {
            if let Some(row) = self.render_from(text, cursor, start) {
                self.start = start;
                return row;
            }
        }
        // Half a row before the cursor leaves space for the cursor and a character after it.
        let mut before = 0;
        let fits = |(_, character): &(usize, char)| {
            before += character_width(*character);
            before <= self.columns / 2
        };
        self.start = text[..cursor].char_indices().rev().take_while(fits).last().map_or(cursor, |(at, _)| at);
        self.render_from(text, cursor, self.start).unwrap_or_default()
    }

    /// Renders the row that starts at byte `start` of `text`; returns `None` if the cursor is outside it, or
    /// at an edge beyond which there is more text.
    fn render_from(&self, text: &str, cursor: usize, start: usize) -> Option<RenderedRow> {
        let before = text_width(text.get(start..cursor)?);
        let mut row = RenderedRow::default();
        if start > 0 {
            row.text.push(OVERFLOW_MARKS[0]);
            if before == 0 {
                return None;
            }
        }
        let rest = &text[start..];
        let available = self.columns - row.text.len();
        let (mut end, mut shown) = fit(rest, available);
        if end < rest.len() {
            (end, shown) = fit(rest, available - 1);
            shown.push(OVERFLOW_MARKS[1]);
        }
        if start + end <= cursor && end < rest.len() {
            return None;
        }
        row.cursor = row.text.len() + before;
        row.text.push_str(&shown);
        Some(row)
    }
}

impl RenderedRow {
    /// Writes the shortest change that turns the terminal's row from `old` into this row.
    pub(super) fn write_changes(&self, out: &mut Vec<u8>, old: &Self) {
        let prefix = self.common_prefix(old);
        if prefix < self.text.len() || prefix < old.text.len() {
            let column = text_width(&self.text[..prefix]);
            move_cursor(out, old.cursor, column);
            out.extend_from_slice(&self.text.as_bytes()[prefix..]);
            let end = text_width(&self.text);
            if text_width(&old.text) > end {
                out.extend_from_slice(b"\x1b[K");
            }
            move_cursor(out, end, self.cursor);
        } else {
            move_cursor(out, old.cursor, self.cursor);
        }
    }

    /// Returns how many bytes at the start of both rows fill the same cells with the same text.
    fn common_prefix(&self, old: &Self) -> usize {
        let prefix = self.text.bytes().zip(old.text.bytes()).take_while(|(new, old)| new == old).count();
        let starts_cell = |text: &str, at| {
            text.is_char_boundary(at)
                && text[at..].chars().next().is_none_or(|character| character_width(character) > 0)
        };
        (0..=prefix).rev().find(|at| starts_cell(&self.text, *at) && starts_cell(&old.text, *at)).unwrap_or(0)
    }
}

/// Fits the start of `text` into `available` columns; returns how many bytes fit, and their visible text.
///
/// Each character has the width that it has alone, as on nearly all terminals. Terminals disagree on the
/// width of joined emoji, so the visible text omits joiners. A combining mark is visible only on a character
/// of the row, and at most [`MAX_COMBINING_MARKS`] are.
fn fit(text: &str, available: usize) -> (usize, String) {
    let (mut shown, mut width, mut marks) = (String::new(), 0, 0);
    for (at, character) in text.char_indices() {
        let columns = character_width(character);
        if width + columns > available {
            return (at, shown);
        }
        marks = if columns > 0 { 0 } else { marks + 1 };
        if columns > 0 || (width > 0 && marks <= MAX_COMBINING_MARKS && !is_joiner(character)) {
            shown.push(character);
        }
        width += columns;
    }
    (text.len(), shown)
}

/// Returns whether a character changes how its neighbors are drawn: the zero-width joiner or a variation
/// selector.
fn is_joiner(character: char) -> bool {
    matches!(character, '\u{200D}' | '\u{FE00}'..='\u{FE0F}')
}

/// Returns the width of a character in columns.
pub(super) fn character_width(character: char) -> usize {
    character.width().unwrap_or(0).min(2)
}

/// Returns the width of a text in columns.
pub(super) fn text_width(text: &str) -> usize {
    text.chars().map(character_width).sum()
}

/// Writes the move of the cursor from column `from` to column `to` of the row.
fn move_cursor(out: &mut Vec<u8>, from: usize, to: usize) {
    if to + 1 == from {
        out.push(0x08);
    } else if to != from {
        // CHA (ECMA-48, section 8.3.9) counts columns from 1.
        out.extend_from_slice(format!("\x1b[{}G", PROMPT.len() + to + 1).as_bytes());
    }
}
