//! Viewport: the part of the edited line that the terminal's last row shows after the prompt.
//!
//! A long line scrolls sideways within one row. Wrapping it would depend on where the terminal wraps, and
//! terminals differ there. The work for a row depends on the width of the terminal, not on the length of the line.

use super::line_buffer::LineBuffer;
use super::width::{MAX_BYTES_PER_COLUMN, character_width, floor_char_boundary, text_width};
use serde::{Deserialize, Serialize};

/// The most combining marks, such as accents, that one character shows.
const MAX_COMBINING_MARKS: usize = 4;

/// The marks for more text on the left and on the right.
const OVERFLOW_MARKS: [char; 2] = ['<', '>'];

/// The fewest columns in which a row shows both overflow marks and wide characters on both sides of the cursor.
const MIN_MARKED_COLUMNS: usize = 7;

/// The fewest columns that a prompt leaves for the line, its last free column included.
const MIN_COLUMNS_AFTER_PROMPT: usize = 10;

/// The width of a terminal that has not told its width.
const DEFAULT_COLUMNS: usize = 80;

/// The widest row, in columns: a key may cost the bytes of a row.
const MAX_COLUMNS: usize = 500;

/// The prompt of a terminal without capacity for a longer one.
const SHORT_PROMPT: &str = "> ";

/// The content of the row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RenderedRow {
    /// The visible text, the prompt included.
    pub(super) text: String,
    /// The column of the cursor, counted from 0.
    pub(super) cursor: usize,
}

/// The prompt before the edited line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prompt<'a> {
    /// The text, such as `lobby> `.
    pub(super) text: &'a str,
    /// Whether the prompt says that the line is full.
    pub(super) is_full: bool,
}

/// A window onto the edited line that follows the cursor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Viewport {
    /// The columns of the terminal, at most [`MAX_COLUMNS`].
    columns: usize,
    /// The byte index in the line at which the row starts.
    start: usize,
}

impl Viewport {
    /// Creates the viewport of a terminal with `columns` columns; 0 means unknown and counts as 80.
    pub(super) fn new(columns: u16) -> Self {
        let columns = if columns == 0 { DEFAULT_COLUMNS } else { usize::from(columns).min(MAX_COLUMNS) };
        Self { columns, start: 0 }
    }

    /// Returns the columns of the terminal, at most 500.
    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// Renders the prompt and the part of `line` around its cursor, and scrolls only if needed.
    ///
    /// The row never fills the terminal's last column: terminals differ in where a character there leaves the cursor.
    pub(super) fn render(&mut self, line: &LineBuffer, prompt: Prompt<'_>) -> RenderedRow {
        let mut row = RenderedRow { text: prompt.fit(self.columns), cursor: 0 };
        let prompt_width = text_width(&row.text);
        let shown = self.render_line(line, self.columns.saturating_sub(prompt_width + 1));
        row.text.push_str(&shown.text);
        row.cursor = prompt_width + shown.cursor;
        row
    }

    /// Renders the part of `line` around its cursor in `columns` columns.
    fn render_line(&mut self, line: &LineBuffer, columns: usize) -> RenderedRow {
        let (text, cursor) = (line.text(), line.cursor());
        if columns >= MIN_MARKED_COLUMNS {
            let centered = start_before(text, cursor, columns / 2);
            for start in [0, self.start, centered] {
                if let Some(row) = render_from(text, cursor, start, columns) {
                    self.start = start;
                    return row;
                }
            }
        }
        self.start = start_before(text, cursor, columns);
        let row_text = fit(&text[self.start..], columns, max_bytes(columns)).1;
        RenderedRow { text: row_text, cursor: text_width(&text[self.start..cursor]) }
    }
}

impl Prompt<'_> {
    /// Returns the longest form of the prompt that leaves columns for the line, in a terminal with `columns` columns.
    pub(super) fn fit(self, columns: usize) -> String {
        let (forms, shortest) = if self.is_full {
            ([format!("[full] {}", self.text), "[full]> ".to_owned(), "!> ".to_owned()], "!")
        } else {
            ([self.text.to_owned(), SHORT_PROMPT.to_owned(), String::new()], "")
        };
        // The shortest forms leave fewer columns: a terminal of 10 columns has a prompt, too.
        let leaves = |form: &String| {
            let required = if form.len() > 3 { MIN_COLUMNS_AFTER_PROMPT } else { MIN_MARKED_COLUMNS + 1 };
            text_width(form) + required <= columns
        };
        let shortest = if columns > shortest.len() { shortest } else { "" };
        forms.into_iter().find(leaves).unwrap_or_else(|| shortest.to_owned())
    }
}

/// Returns the byte index from which at most `columns` columns of `text` lead to `cursor`.
fn start_before(text: &str, cursor: usize, columns: usize) -> usize {
    let from = floor_char_boundary(text, cursor.saturating_sub(max_bytes(columns)));
    let mut width = 0;
    let fits = |(_, character): &(usize, char)| {
        width += character_width(*character);
        width <= columns
    };
    text[from..cursor].char_indices().rev().take_while(fits).last().map_or(cursor, |(at, _)| from + at)
}

/// Renders the row that starts at byte `start` of `text`; returns `None` if the cursor is outside it, or
/// at an edge beyond which there is more text.
fn render_from(text: &str, cursor: usize, start: usize, columns: usize) -> Option<RenderedRow> {
    let limit = max_bytes(columns);
    if cursor.checked_sub(start)? > limit {
        return None;
    }
    let before = text_width(text.get(start..cursor)?);
    let mut row = RenderedRow::default();
    if start > 0 {
        row.text.push(OVERFLOW_MARKS[0]);
        if before == 0 {
            return None;
        }
    }
    let rest = &text[start..];
    let available = columns - row.text.len();
    let (mut end, mut shown) = fit(rest, available, limit);
    if end < rest.len() {
        (end, shown) = fit(rest, available - 1, limit);
        shown.push(OVERFLOW_MARKS[1]);
    }
    if start + end <= cursor && end < rest.len() {
        return None;
    }
    row.cursor = row.text.len() + before;
    row.text.push_str(&shown);
    Some(row)
}

/// Returns how many bytes of the line a row of `columns` columns shows at most.
fn max_bytes(columns: usize) -> usize {
    columns * MAX_BYTES_PER_COLUMN
}

/// Fits the start of `text` into `available` columns; returns how many bytes fit, at most about `limit`, and their
/// visible text.
///
/// The visible text omits joiners, since terminals disagree on the width of joined emoji. A combining mark is visible
/// only on a character of the row, and at most [`MAX_COMBINING_MARKS`] are. A TAB is one blank.
fn fit(text: &str, available: usize, limit: usize) -> (usize, String) {
    let (mut shown, mut width, mut marks) = (String::new(), 0, 0);
    for (at, character) in text.char_indices() {
        let columns = character_width(character);
        if width + columns > available || at > limit {
            return (at, shown);
        }
        marks = if columns > 0 { 0 } else { marks + 1 };
        if columns > 0 || (width > 0 && marks <= MAX_COMBINING_MARKS && !is_not_drawn(character)) {
            shown.push(if character == '\t' { ' ' } else { character });
        }
        width += columns;
    }
    (text.len(), shown)
}

/// Returns whether a character without a width is not drawn, since terminals disagree on what it does to its neighbors
/// or on its width: the zero-width joiner, variation selectors, tags and invisible operators.
fn is_not_drawn(character: char) -> bool {
    matches!(
        character,
        '\u{180B}'..='\u{180F}'
            | '\u{200D}'
            | '\u{2060}'..='\u{2064}'
            | '\u{FE00}'..='\u{FE0F}'
            | '\u{E0000}'..='\u{E0FFF}'
    )
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

/// Writes the move of the cursor from column `from` to column `to` of the row.
fn move_cursor(out: &mut Vec<u8>, from: usize, to: usize) {
    if to + 1 == from {
        out.push(0x08);
    } else if to != from {
        // CHA (ECMA-48, section 8.3.9) counts columns from 1.
        out.extend_from_slice(format!("\x1b[{}G", to + 1).as_bytes());
    }
}
