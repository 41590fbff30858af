//! The row: the part of a draft that stands on the terminal's last row, behind the prompt.
//!
//! A long draft scrolls sideways in its one row. To wrap it would need to know where the terminal
//! wraps, and terminals differ there.

use super::line_buffer::LineBuffer;
use unicode_width::UnicodeWidthChar;

/// What stands before the row.
pub(super) const PROMPT: &str = "> ";

/// The most marks, as accents, that are shown on one character.
const MAX_COMBINING_MARKS: usize = 4;

/// What shows that there is more at the left, or at the right.
const OVERFLOW_MARKS: [char; 2] = ['<', '>'];

/// Clears the row that the cursor is in, and goes to its beginning.
pub(super) const CLEAR_ROW: &[u8] = b"\r\x1b[K";

/// What stands in the row, without the prompt.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RenderedRow {
    /// What is seen.
    pub(super) text: String,
    /// The column of the cursor in it.
    pub(super) cursor: usize,
}

/// Where a draft is looked at: a window that follows the cursor.
#[derive(Debug)]
pub(super) struct Viewport {
    /// How many columns there are for a row; the cursor has one more.
    columns: usize,
    /// Where in the draft the row begins.
    start: usize,
}

impl Viewport {
    /// The window of a terminal with so many columns; 0, if it doesn't know, is 80.
    ///
    /// At fewer than 10 there would be nothing to see, and of more than 500, which no screen has, the
    /// rest stays empty: each key costs the time and the bytes of a row.
    pub(super) fn new(columns: u16) -> Self {
        let columns = if columns == 0 { 80 } else { usize::from(columns).clamp(10, 500) };
        // The last column stays free: what terminals do behind a character there differs.
        Self { columns: columns - PROMPT.len() - 1, start: 0 }
    }

    /// The row that shows the draft's part around its cursor.
    pub(super) fn render(&mut self, line: &LineBuffer) -> RenderedRow {
        let (text, cursor) = (line.text(), line.cursor());
        for start in [0, self.start] {
            if let Some(row) = self.render_from(text, cursor, start) {
                self.start = start;
                return row;
            }
        }
        // Half a window before the cursor; then there is place for it and a character behind it.
        let mut before = 0;
        let fits = |(_, character): &(usize, char)| {
            before += character_width(*character);
            before <= self.columns / 2
        };
        self.start = text[..cursor].char_indices().rev().take_while(fits).last().map_or(cursor, |(at, _)| at);
        self.render_from(text, cursor, self.start).unwrap_or_default()
    }

    /// The row that begins at `first`; `None` if the cursor is not in it, or stands at a side
    /// where there is more.
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
    /// Makes the terminal show this where it shows `old`, with as little as that needs.
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

    /// How many bytes of the two rows fill the same cells with the same.
    fn common_prefix(&self, old: &Self) -> usize {
        let prefix = self.text.bytes().zip(old.text.bytes()).take_while(|(new, old)| new == old).count();
        let starts_cell = |text: &str, at| {
            text.is_char_boundary(at)
                && text[at..].chars().next().is_none_or(|character| character_width(character) > 0)
        };
        (0..=prefix).rev().find(|at| starts_cell(&self.text, *at) && starts_cell(&old.text, *at)).unwrap_or(0)
    }
}

/// Takes as much of `text` as fills at most `available` columns: how many bytes, and what is shown of it.
///
/// A character is as wide as it is alone, which nearly all terminals go by; those that join
/// several into one picture don't agree on its width, so nothing is sent that would join them. Marks
/// are shown on a character that is in the row, and not without a bound.
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

/// Whether a character makes one picture of those around it: the zero-width joiner and the
/// variation selectors.
fn is_joiner(character: char) -> bool {
    matches!(character, '\u{200D}' | '\u{FE00}'..='\u{FE0F}')
}

/// How many columns a character takes.
pub(super) fn character_width(character: char) -> usize {
    character.width().unwrap_or(0).min(2)
}

/// How many columns a text takes.
pub(super) fn text_width(text: &str) -> usize {
    text.chars().map(character_width).sum()
}

/// Moves the cursor within the row.
fn move_cursor(out: &mut Vec<u8>, from: usize, to: usize) {
    if to + 1 == from {
        out.push(0x08);
    } else if to != from {
        // Columns are counted from 1.
        out.extend_from_slice(format!("\x1b[{}G", PROMPT.len() + to + 1).as_bytes());
    }
}
