//! Tests of the editor with an emulated terminal, which processes all bytes that the editor writes.

mod arriving;
mod properties;
mod resize;
mod typing;

use super::*;
use crate::terminal::line_style::LineStyle;
use crate::terminal::row::{BELL, RENDER_DELAY, REPORT_DELAY};
use crate::terminal::width::character_width;
use crate::text::names::UserName;
use std::num::NonZeroU16;
use unicode_width::UnicodeWidthChar;

const ROWS: u16 = 6;

/// An emulated terminal and its editor, for the member `me`.
struct Screen {
    terminal: vt100::Parser,
    editor: Box<Editor>,
    formatter: LineFormatter,
    columns: u16,
    /// The bytes that the editor wrote last.
    sent: Vec<u8>,
}

impl Screen {
    /// Opens an editor with the prompt `> `.
    fn new(columns: u16, max_line: usize) -> Self {
        Self::with_settings(settings(columns, max_line))
    }

    fn with_settings(settings: EditorSettings) -> Self {
        let columns = settings.columns;
        let mut formatter = LineFormatter::default();
        formatter.set_own_name(UserName::parse("me").unwrap());
        let mut screen = Self {
            terminal: vt100::Parser::new(size(ROWS), size(columns), 0),
            editor: Editor::open(settings),
            formatter,
            columns,
            sent: Vec::new(),
        };
        screen.render();
        screen
    }

    /// Types `bytes` in one read and renders; returns the events. Each completion gets `NAMES`.
    fn events(&mut self, bytes: impl AsRef<[u8]>) -> Vec<EditorEvent> {
        let (mut input, mut events) = (bytes.as_ref(), Vec::new());
        while !input.is_empty() {
            if let Some(event) = self.editor.feed(&mut input) {
                if event == EditorEvent::Complete {
                    self.editor.complete(&mut NAMES.into_iter());
                }
                events.push(event);
            }
        }
        self.render();
        events
    }

    /// Types `bytes`; returns the entered lines, which are all events.
    fn type_bytes(&mut self, bytes: impl AsRef<[u8]>) -> Vec<String> {
        let line = |event| if let EditorEvent::Line(line) = event { line } else { panic!("{event:?}") };
        self.events(bytes).into_iter().map(line).collect()
    }

    /// Types `bytes` without Enter; returns the last row after that.
    fn row_after(&mut self, bytes: impl AsRef<[u8]>) -> String {
        assert!(self.type_bytes(bytes).is_empty());
        self.last_row()
    }

    fn print_above(&mut self, lines: &str) {
        let mut out = Vec::new();
        self.editor.print_above(&mut out, &mut self.formatter, [(Minute(0), lines.as_bytes())]);
        self.show(out);
    }

    /// Changes the width of the terminal, which cuts its rows, and of the editor.
    fn resize(&mut self, columns: u16) {
        self.columns = columns;
        self.terminal.screen_mut().set_size(size(ROWS), size(columns));
        self.editor.resize(columns);
    }

    /// Renders if the editor asks for it.
    fn render(&mut self) {
        let mut out = Vec::new();
        if self.editor.render_delay().is_some() {
            self.editor.render(&mut out);
        }
        self.show(out);
    }

    /// Processes bytes that the editor wrote.
    fn show(&mut self, out: Vec<u8>) {
        self.terminal.process(emulated(&String::from_utf8(out.clone()).unwrap()).as_bytes());
        self.sent = out;
    }

    fn rows(&self) -> Vec<String> {
        let rows = self.terminal.screen().rows(0, self.columns).map(|row| row.trim_end().to_owned());
        rows.filter(|row| !row.is_empty()).collect()
    }

    /// Returns the row of the cursor, with a bar at the cursor.
    fn last_row(&self) -> String {
        let screen = self.terminal.screen();
        let (row, column) = screen.cursor_position();
        let cells = |columns: std::ops::Range<u16>| -> String {
            let cells = columns.map(|column| screen.cell(row, column).unwrap());
            let seen = cells.filter(|cell| !cell.is_wide_continuation());
            seen.map(|cell| if cell.has_contents() { cell.contents() } else { " " }).collect()
        };
        format!("{}|{}", cells(0..column), cells(column..self.columns).trim_end())
    }

    /// Returns how many bells the editor wrote last.
    fn bells(&self) -> usize {
        memchr::memchr_iter(BELL, &self.sent).count()
    }
}

/// Returns `text` for the emulator, with one `?` for each column of a character that is wider on real terminals.
fn emulated(text: &str) -> String {
    let show = |character: char| {
        let columns = character_width(character);
        let is_wider =
            character == char::REPLACEMENT_CHARACTER || character.width().is_some_and(|width| width < columns);
        if is_wider { "?".repeat(columns) } else { character.to_string() }
    };
    text.chars().map(show).collect()
}

/// The candidates of each completion.
const NAMES: [&str; 4] = ["carl", "Bob", "bea", "me"];

fn settings(columns: u16, max_line: usize) -> EditorSettings {
    EditorSettings { columns, max_line, prompt: "> ".to_owned(), bell: true }
}

fn size(size: u16) -> NonZeroU16 {
    NonZeroU16::new(size).unwrap()
}
