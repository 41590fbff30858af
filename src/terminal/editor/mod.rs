//! The editor: one line that is typed key by key, and the row of the terminal that shows it.
//!
//! Keys become events here or edits in `edits.rs`, and edits become bytes for the terminal when the row is rendered.
//! Decoding keys, the text, its history and the row have files of their own beside this folder.

mod edits;

use crate::terminal::completion::Completion;
use crate::terminal::input_history::InputHistory;
use crate::terminal::keys::{Key, KeyDecoder};
use crate::terminal::line_buffer::LineBuffer;
use crate::terminal::line_style::{Attention, Layout, LineFormatter};
use crate::terminal::room_line::RoomLine;
use crate::terminal::row::Row;
use crate::terminal::speakers::Speakers;
use crate::terminal::viewport::Prompt;
use crate::text::time::Minute;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The most bytes of keys that one call of [`Editor::feed`] takes.
const FEED_BYTES: usize = 1 << 10;

/// The properties of the terminal and the connection that an editor depends on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct EditorSettings {
    /// The width of the terminal in columns; 0 if unknown, which counts as 80 for the row and wraps no lines.
    pub(crate) columns: u16,
    /// The longest line in bytes. The line end does not count, since Enter sends none.
    pub(crate) max_line: usize,
    /// The text before the edited line, such as `lobby> `.
    pub(crate) prompt: String,
    /// Whether lines for the user ring the bell. A refused key always does.
    pub(crate) bell: bool,
}

/// A request of the user that the connection carries out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EditorEvent {
    /// Enter: this line, which is not empty and has no line end.
    Line(String),
    /// Ctrl-D on an empty line: to leave.
    Leave,
    /// Ctrl-C: the line is empty now.
    Interrupt,
    /// TAB: to complete a name, by [`Editor::complete`].
    Complete,
}

/// The line editor of one terminal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Editor {
    settings: EditorSettings,
    /// Decodes the terminal's bytes.
    keys: KeyDecoder,
    /// The edited line.
    line: LineBuffer,
    /// Whether the line has refused text and has not become shorter since.
    is_full: bool,
    /// The entered lines.
    history: InputHistory,
    /// The text that was erased last by a key for more than one character.
    erased: String,
    /// The names of the room by their last activity.
    speakers: Speakers,
    /// The names that TAB shows one after the other; `None` after any other key.
    completion: Option<Completion>,
    /// The row of the terminal.
    row: Row,
}

impl Editor {
    /// Creates an editor for the cursor's row, which must be empty; the first render writes the prompt.
    #[must_use]
    pub(crate) fn open(settings: EditorSettings) -> Box<Self> {
        Box::new(Self {
            row: Row::new(settings.columns),
            settings,
            keys: KeyDecoder::default(),
            line: LineBuffer::default(),
            is_full: false,
            history: InputHistory::default(),
            erased: String::new(),
            speakers: Speakers::default(),
            completion: None,
        })
    }

    /// Erases the row and leaves the cursor at its start. The edited line is dropped with the editor.
    pub(crate) fn close(&mut self, out: &mut Vec<u8>) {
        self.row.clear(out);
    }

    /// Returns whether the last byte was a CR: an LF or NUL right after it belongs to the same Enter.
    #[must_use]
    pub(crate) fn is_after_cr(&self) -> bool {
        self.keys.is_after_cr()
    }

    /// Returns the length of the edited line in bytes: a key may move all of them.
    #[must_use]
    pub(crate) fn line_len(&self) -> usize {
        self.line.text().len()
    }

    /// Returns how many bytes the editor keeps: the edited line, the erased text and the entered lines.
    #[must_use]
    pub(crate) fn held_bytes(&self) -> usize {
        self.line.text().len() + self.erased.len() + self.history.held_bytes()
    }

    /// Removes keys from the front of `input` up to one that causes an event, at most 1 KiB, so that the
    /// caller can charge them. Draws nothing: [`render_delay`](Self::render_delay) tells when to render.
    ///
    /// `input` is all that has arrived: a TAB at its end was typed, and a TAB before other bytes was pasted and is
    /// text. `None` means that the taken bytes cause no event; `input` is empty then unless it was longer than the
    /// bound.
    pub(crate) fn feed(&mut self, input: &mut &[u8]) -> Option<EditorEvent> {
        let (mut keys, later) = input.split_at(input.len().min(FEED_BYTES));
        let mut event = None;
        while event.is_none()
            && let Some(key) = self.keys.next_key(&mut keys)
        {
            event = self.handle_key(key, keys.is_empty() && later.is_empty());
        }
        *input = &input[input.len() - later.len() - keys.len()..];
        event
    }

    /// Sets the edited line to `text`, an unfinished line of line mode, with the cursor at its end. Causes no event:
    /// printable characters and TABs become text, up to the longest line, and all other keys are dropped. Keys that
    /// follow complete a character whose first bytes `text` ends in.
    pub(crate) fn set_draft(&mut self, text: &[u8]) {
        self.take_line();
        let mut bytes = text;
        while let Some(key) = self.keys.next_key(&mut bytes) {
            if matches!(key, Key::Char(_) | Key::Tab) {
                self.apply_key(key);
            }
        }
    }

    /// Completes the word before the cursor to a name that begins with it, without ASCII case: the names that said
    /// something last first, then `candidates` in alphabetical order. Rings the bell if there is none.
    ///
    /// Further TABs show the next names, at most 50, without a further event. The cost is one visit of each candidate.
    pub(crate) fn complete(&mut self, candidates: &mut dyn Iterator<Item = &str>) {
        let start = self.line.word_start();
        let word = &self.line.text()[start..self.line.cursor()];
        self.completion = Completion::find(start, word, self.speakers.names(), candidates);
        if self.completion.is_some() {
            self.show_completion();
        } else {
            self.row.ring_bell();
        }
    }

    /// Writes arriving lines above the row, as `formatter` shows them, and renders the row. Each item of `lines` holds
    /// whole lines, each with its LF, and the minute in which they were said. Rings the bell at most once.
    ///
    /// Writes nothing if there is no line to show.
    pub(crate) fn print_above<'a>(
        &mut self,
        out: &mut Vec<u8>,
        formatter: &mut LineFormatter,
        lines: impl IntoIterator<Item = (Minute, &'a [u8])>,
    ) {
        let mut shown = Vec::new();
        for (said, lines) in lines {
            self.format_lines(&mut shown, formatter, lines, said);
        }
        if !shown.is_empty() {
            self.row.clear(out);
            out.append(&mut shown);
            self.render(out);
        }
    }

    /// Formats arriving lines of one minute, and notes their speakers and whether they ring the bell.
    fn format_lines(&mut self, out: &mut Vec<u8>, formatter: &mut LineFormatter, lines: &[u8], said: Minute) {
        let time = formatter.format_time(said);
        let layout = Layout { time: &time, row_end: "\r\n", columns: self.settings.columns.into() };
        for line in String::from_utf8_lossy(lines).lines() {
            let parsed = RoomLine::parse(line);
            self.speakers.note(parsed, formatter.own_name());
            let attention = formatter.format_line(out, line, parsed, layout);
            if self.settings.bell && attention == Attention::Wanted {
                self.row.ring_bell();
            }
        }
    }

    /// Notes a new width of the terminal; 0 means unknown. The same width again changes nothing.
    pub(crate) fn resize(&mut self, columns: u16) {
        if columns != self.settings.columns {
            self.settings.columns = columns;
            self.row.resize(columns);
        }
    }

    /// Sets the prompt, which changes with the room, and forgets the names of the old room.
    pub(crate) fn set_prompt(&mut self, prompt: &str) {
        if prompt != self.settings.prompt {
            prompt.clone_into(&mut self.settings.prompt);
            self.speakers.clear();
            self.row.note_change();
        }
    }

    /// Erases the character before the cursor, as telnet's EC does.
    pub(crate) fn erase_character(&mut self) {
        self.apply_key(Key::Backspace);
    }

    /// Erases the edited line, as telnet's EL and IP do.
    pub(crate) fn erase_line(&mut self) {
        self.take_line();
    }

    /// Returns how long after the first change the row should be rendered, so that many changes are one render: `None`
    /// if there is nothing to render. The delay is longer while the terminal's report of its cursor is awaited.
    #[must_use]
    pub(crate) fn render_delay(&self) -> Option<Duration> {
        self.row.render_delay()
    }

    /// Writes the changes of the row since the last render, and a pending bell, to `out`. After the terminal became
    /// narrower than the row, the first call asks where the cursor is, and the next one writes the row.
    ///
    /// The work and the bytes depend on the width of the terminal alone.
    pub(crate) fn render(&mut self, out: &mut Vec<u8>) {
        let prompt = Prompt { text: &self.settings.prompt, is_full: self.is_full };
        self.row.render(out, &self.line, prompt);
    }

    /// Applies a key; returns the event that it causes. `is_last` is whether the key is the last that has arrived.
    fn handle_key(&mut self, key: Key, is_last: bool) -> Option<EditorEvent> {
        match key {
            Key::CursorReport { column } => {
                self.row.on_cursor_report(column);
                None
            }
            Key::Tab if is_last && self.completion.is_some() => {
                self.show_next_completion();
                None
            }
            Key::Tab if is_last => Some(EditorEvent::Complete),
            Key::Enter => self.enter_line().map(EditorEvent::Line),
            Key::Interrupt => {
                self.take_line();
                Some(EditorEvent::Interrupt)
            }
            Key::DeleteOrLeave if self.line.text().is_empty() => Some(EditorEvent::Leave),
            _ => {
                self.apply_key(key);
                None
            }
        }
    }

    /// Takes the line and adds it to the history; `None` if the line is empty.
    fn enter_line(&mut self) -> Option<String> {
        let line = self.take_line();
        self.history.add(&line);
        (!line.is_empty()).then_some(line)
    }

    /// Takes the line and leaves an empty one.
    fn take_line(&mut self) -> String {
        self.completion = None;
        self.history.reset();
        self.is_full = false;
        self.row.note_change();
        self.line.take()
    }
}

#[cfg(test)]
mod tests;
