//! The input line: the server edits the line of a peer that sends each key, and prints arriving lines above it.

use super::Connection;
use super::telnet::Negotiation;
use crate::net::codec::{Codec, CodecError};
use crate::peer::OutputOp;
use crate::peer::route::Route;
use crate::protocol::telnet::TelnetOption;
use crate::terminal::line_style::{LineFormatter, LineStyle};
use crate::terminal::{Editor, EditorEvent, EditorSettings};
use crate::text::replies;
use crate::text::time::Minute;
use std::collections::VecDeque;
use std::time::Instant;

/// Bytes of keys that are processed before they are charged.
pub(super) const KEYS_AT_A_TIME: usize = 1 << 10;

/// The options with which a client sends each key and its width.
pub(super) const INPUT_LINE_OPTIONS: [TelnetOption; 3] =
    [TelnetOption::Echo, TelnetOption::SuppressGoAhead, TelnetOption::WindowSize];

/// Why a peer can't have an input line.
const NO_TERMINAL: &str = "/ui needs a telnet client, such as telnet or PuTTY";

/// One peer's input line: the codec between its keys and screen and the lines of its room.
pub(super) struct InputLine {
    editor: Box<Editor>,
    formatter: LineFormatter,
    /// Bytes that the editor drew and the output buffer does not have yet.
    drawn: Vec<u8>,
}

impl InputLine {
    /// Draws the prompt on the row of the cursor. `columns` is the terminal's width, 0 if unknown.
    fn open(columns: u16, max_line: usize) -> Self {
        let settings = EditorSettings { columns, max_line, prompt: "> ".to_owned(), bell: true };
        let mut input_line =
            Self { editor: Editor::open(settings), formatter: LineFormatter::default(), drawn: Vec::new() };
        input_line.editor.render(&mut input_line.drawn);
        input_line
    }

    /// Returns how arriving lines are shown.
    pub(super) fn style(&mut self) -> &mut LineStyle {
        &mut self.formatter.style
    }

    /// Returns how many bytes the editor drew that the output buffer does not have yet.
    pub(super) fn drawn_len(&self) -> usize {
        self.drawn.len()
    }

    /// Takes the bytes that the editor drew.
    pub(super) fn take_drawn(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.drawn)
    }

    /// Puts back the bytes that the editor drew.
    pub(super) fn set_drawn(&mut self, drawn: Vec<u8>) {
        self.drawn = drawn;
    }

    /// Draws the row for a terminal of another width.
    pub(super) fn resize(&mut self, columns: u16) {
        self.editor.resize(columns);
        self.render();
    }

    /// Erases the character before the cursor.
    pub(super) fn erase_character(&mut self) {
        self.editor.erase_character();
        self.render();
    }

    /// Erases what was typed.
    pub(super) fn erase_line(&mut self) {
        self.editor.erase_line();
        self.render();
    }

    /// Draws the changes of the row.
    fn render(&mut self) {
        self.editor.render(&mut self.drawn);
    }
}

impl Codec for InputLine {
    /// Takes keys up to the end of one line, since that line may be a command that ends the input line; appends the
    /// line with its LF to `app` and what the keys drew to `reply`.
    fn decode(&mut self, wire: &[u8], app: &mut Vec<u8>, reply: &mut Vec<u8>) -> Result<usize, CodecError> {
        let mut keys = wire;
        match self.editor.feed(&mut keys) {
            Some(EditorEvent::Line(line)) => app.extend_from_slice(line.as_bytes()),
            Some(EditorEvent::Leave) => app.extend_from_slice(b"/quit"),
            Some(EditorEvent::Complete) => self.editor.complete(&mut std::iter::empty()),
            Some(EditorEvent::Interrupt) | None => {}
        }
        if !app.is_empty() {
            app.push(b'\n');
        }
        if self.editor.render_delay().is_some() {
            self.editor.render(reply);
        }
        Ok(wire.len() - keys.len())
    }

    fn encode(&mut self, app: &[u8], wire: &mut VecDeque<u8>) {
        let mut out = Vec::new();
        self.editor.print_above(&mut out, &mut self.formatter, [(Minute::now(), app)]);
        wire.extend(out);
    }

    fn close(&mut self, wire: &mut VecDeque<u8>) {
        wire.extend(self.take_drawn());
        let mut out = Vec::new();
        self.editor.close(&mut out);
        wire.extend(out);
    }
}

impl Connection {
    /// Switches the input line on or off, and answers with its state.
    pub(super) fn switch_input_line(&mut self, on: bool) {
        if self.peer.route() == Route::DirectLf {
            return self.reply_line(&NO_TERMINAL);
        }
        if on && self.input_line.is_none() {
            return self.open_input_line();
        }
        if !on {
            self.close_input_line();
        }
        self.reply_with(|out| replies::push_switched(out, "ui", on));
    }

    /// Offers the options that make a client send each key, answers, and draws the prompt after that. From now on
    /// no pass writes to this peer: its lines are encoded by the connection.
    fn open_input_line(&mut self) {
        let telnet = self.telnet.get_or_insert_with(|| Box::new(Negotiation::new(Instant::now())));
        let (offer, columns) = (telnet.decoder.request(&INPUT_LINE_OPTIONS), telnet.columns);
        let mut answer = Vec::new();
        replies::push_switched(&mut answer, "ui", true);
        let max_line = self.context.live.get().max_line;
        self.add_output([OutputOp::Encoded(offer), OutputOp::Reply(answer)]);
        self.input_line = Some(Box::new(InputLine::open(columns, max_line)));
        self.add_output([OutputOp::Route(Route::Buffered)]);
    }

    /// Erases the row, ends what was negotiated for it, and lets passes write to the peer again. What was typed and
    /// not entered is dropped. Does nothing without an input line.
    pub(super) fn close_input_line(&mut self) {
        let Some(mut input_line) = self.input_line.take() else {
            return;
        };
        // The other half of the Enter that was pressed is no line.
        if input_line.editor.is_after_cr() {
            self.line_decoder.continue_after_cr();
        }
        let mut end = VecDeque::new();
        input_line.close(&mut end);
        if let Some(telnet) = &mut self.telnet {
            end.extend(telnet.decoder.withdraw(&INPUT_LINE_OPTIONS));
        }
        self.add_output([OutputOp::Encoded(end.into()), OutputOp::Route(Route::DirectCrLf)]);
    }

    /// Writes what the input line drew.
    pub(super) fn show_drawn(&mut self) {
        if self.input_line.as_ref().is_some_and(|input_line| input_line.drawn_len() > 0) {
            self.begin_draining();
            self.drain_output();
        }
    }
}
