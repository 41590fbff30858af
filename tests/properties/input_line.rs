//! The input line: an editor that gets keys, lines, widths and prompts, beside one that gets each key's bytes one by
//! one.

use super::terminal_output::{Allowed, Cursor, WIDEST_ROW};
use super::{assert_safe, take_header};
use crate::terminal::line_style::{LineFormatter, LineStyle};
use crate::terminal::{Editor, EditorEvent, EditorSettings};
use crate::text::names::UserName;
use crate::text::sanitize::sanitize;
use crate::text::time::Minute;

/// The byte between two steps, which no UTF-8 text holds.
const SEPARATOR: u8 = 0xFE;

/// The most steps of one input, so that the fuzzer does not spend its time on long ones.
const MAX_STEPS: usize = 64;

/// The candidates of each completion.
const NAMES: [&str; 5] = ["al", "Alice", "bea", "Bob", "me"];

/// The width of a terminal that has not told its width.
const DEFAULT_COLUMNS: usize = 80;

/// The most bytes that one render writes for each column, and besides.
const RENDERED: (usize, usize) = (16, 256);

/// How a member's keys arrive.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arrival {
    AtOnce,
    ByteByByte,
}

/// An editor with its terminal, for the member `me`.
struct InputLine {
    editor: Box<Editor>,
    formatter: LineFormatter,
    cursor: Cursor,
    columns: u16,
    max_line: usize,
    arrival: Arrival,
}

/// The effects of a step: events, and bytes for the terminal.
type Outcome = (Vec<EditorEvent>, Vec<u8>);

impl InputLine {
    fn open([columns, max_line, flags]: [u8; 3], arrival: Arrival) -> Self {
        let (columns, max_line) = (u16::from(columns), usize::from(max_line));
        let settings = EditorSettings { columns, max_line, prompt: "lobby> ".to_owned(), bell: flags & 1 == 0 };
        let mut formatter = LineFormatter::default();
        formatter.set_own_name(UserName::parse("me").expect("the name is valid"));
        formatter.style = LineStyle { time: flags & 2 != 0, offset: 120, color: flags & 4 != 0 };
        let cursor = Cursor::new(width(columns));
        Self { editor: Editor::open(settings), formatter, cursor, columns, max_line, arrival }
    }

    /// Takes a step, which its first byte names, and renders; checks the output.
    fn step(&mut self, step: &[u8]) -> Outcome {
        let (mut events, mut out) = (Vec::new(), Vec::new());
        let (name, argument) = step.split_first().unwrap_or((&b'k', step));
        let text = sanitize(argument);
        let mut allowed = Allowed::Row;
        match name {
            b'p' => {
                allowed = Allowed::LinesAndRow;
                self.print_above(&mut out, &text);
            }
            b'r' => {
                let columns = argument.iter().fold(0u16, |sum, byte| sum.saturating_add((*byte).into()));
                self.columns = columns;
                self.editor.resize(columns);
                self.cursor.resize(width(columns));
            }
            b't' => self.editor.set_prompt(&prompt(&text)),
            b'e' => self.editor.erase_character(),
            b'l' => self.editor.erase_line(),
            b'd' => self.editor.set_draft(argument),
            b'c' => {
                self.editor.close(&mut out);
                allowed = Allowed::LinesAndRow;
            }
            _ => self.type_keys(&step[usize::from(*name == b'k' && !step.is_empty())..], &mut events),
        }
        if self.editor.render_delay().is_some() {
            self.editor.render(&mut out);
        }
        self.check(&events, &out, allowed);
        (events, out)
    }

    /// Types keys. A TAB is a key at the end of what has arrived and text before that, so keys with a TAB always
    /// arrive at once.
    fn type_keys(&mut self, keys: &[u8], events: &mut Vec<EditorEvent>) {
        let at_once = self.arrival == Arrival::AtOnce || keys.contains(&b'\t');
        for mut arrived in keys.chunks(if at_once { keys.len().max(1) } else { 1 }) {
            while !arrived.is_empty() {
                let Some(event) = self.editor.feed(&mut arrived) else {
                    continue;
                };
                if event == EditorEvent::Complete {
                    self.editor.complete(&mut NAMES.into_iter());
                }
                events.push(event);
            }
        }
    }

    fn print_above(&mut self, out: &mut Vec<u8>, text: &str) {
        // The forms of a room's lines: only a name, which has no TAB, stands before a member's text.
        let lines = [
            format!("bob: {text}\n"),
            format!("* Alice {text}\n"),
            format!("*** {text}\n"),
            format!("*** bob whispers: {text}\nbea has joined\n"),
        ]
        .concat();
        self.editor.print_above(out, &mut self.formatter, [(Minute(1), lines.as_bytes())]);
        assert!(out.contains(&b'\n'), "the lines are shown");
    }

    fn check(&mut self, events: &[EditorEvent], out: &[u8], allowed: Allowed) {
        for event in events {
            if let EditorEvent::Line(line) = event {
                assert!((1..=self.max_line).contains(&line.len()), "a line of {} bytes", line.len());
                assert_safe(line);
            }
        }
        if allowed == Allowed::Row {
            let most = RENDERED.1 + RENDERED.0 * width(self.columns).min(WIDEST_ROW);
            assert!(out.len() <= most, "one render writes {} bytes", out.len());
        }
        // A terminal of fewer columns than the editor wraps for shows lines as they are.
        if allowed == Allowed::Row || self.columns >= 10 {
            self.cursor.process(out, allowed);
        } else {
            let row = out.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            self.cursor = Cursor::new(width(self.columns));
            self.cursor.process(&out[row..], allowed);
        }
    }
}

/// Returns the width of the terminal, in columns.
fn width(columns: u16) -> usize {
    if columns == 0 { DEFAULT_COLUMNS } else { columns.into() }
}

/// Returns a prompt for a room whose name has the printable characters of `text`.
fn prompt(text: &str) -> String {
    let name: String = text.chars().filter(char::is_ascii_graphic).take(20).collect();
    format!("{name}> ")
}

/// Checks that keys mean the same however they arrive, that an entered line is safe and within its bound, and that the
/// output stays in its row and within its bound.
///
/// The first three bytes are the width, the longest line, and flags: no bell, times, colors. The steps follow, with
/// [`SEPARATOR`] between them. The first byte of a step names it: keys (`k`), lines above the row (`p`), a new width
/// (`r`), a prompt (`t`), EC (`e`), EL (`l`), a draft (`d`), closed and drawn again (`c`); any other byte is a key.
pub fn check_input_line(mut bytes: &[u8]) {
    let Some(header) = take_header(&mut bytes) else {
        return;
    };
    let mut editors = [Arrival::AtOnce, Arrival::ByteByByte].map(|arrival| InputLine::open(*header, arrival));
    for step in bytes.split(|byte| *byte == SEPARATOR).take(MAX_STEPS) {
        let [at_once, byte_by_byte] = editors.each_mut().map(|input_line| input_line.step(step));
        assert_eq!(at_once, byte_by_byte, "step {:?}", step.escape_ascii().to_string());
    }
}
