//! The input line: the server edits the line of a peer that sends each key, and prints arriving lines above it.

use super::agreement::INPUT_LINE_OPTIONS;
use super::close_reason::CloseReason;
use super::poll_slice::{COMMAND_WORK, ITEM_WORK};
use super::timers::Deadline;
use super::{Connection, telnet};
use crate::peer::OutputOp;
use crate::room::membership::Membership;
use crate::terminal::line_style::LineFormatter;
use crate::terminal::{Editor, EditorEvent, EditorSettings};
use crate::text::names::{RoomName, UserName};
use crate::text::replies;
use crate::text::time::Minute;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// How many keys are charged as one byte: a key costs less than a telnet command, and a paste has many.
const KEYS_PER_BYTE: usize = 8;

/// How many bytes of the edited line are moved by a key for the cost of that key again.
const LINE_BYTES_PER_KEY: usize = 8 << 10;

/// How many bytes a redraw of the row is charged as: a key that is held down repeats 30 times a second, and each repetition
/// draws.
const REDRAW_BYTES: u32 = 200;

/// How many bytes a completion is charged as, beside one for each name that it looks at: 60 a second where a few members
/// are, and 15 in a room of 1,000.
const COMPLETION_BYTES: u32 = 256;

/// How many names a completion looks at for one unit of the slice.
const NAMES_PER_UNIT: u32 = 16;

/// Why a peer can't have an input line.
const NO_TERMINAL: &str = "ui is off: it needs a telnet client, such as telnet or PuTTY in telnet mode";

/// One peer's input line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct InputLine {
    editor: Box<Editor>,
    /// Bytes that the editor drew and the output buffer does not have yet.
    drawn: Vec<u8>,
    /// When the row was drawn last for a key.
    #[serde(skip, default = "Instant::now")]
    drawn_at: Instant,
}

impl InputLine {
    /// Returns an input line without a row: the row is drawn when it is due.
    fn new(settings: EditorSettings) -> Self {
        Self { editor: Editor::open(settings), drawn: Vec::new(), drawn_at: Instant::now() }
    }

    /// Appends arriving lines and the row below them to `out`.
    pub(super) fn print_above(&mut self, out: &mut Vec<u8>, formatter: &mut LineFormatter, lines: &[u8], said: Minute) {
        self.editor.print_above(out, formatter, [(said, lines)]);
    }

    /// Shows the room in the prompt.
    pub(super) fn set_room(&mut self, room: &RoomName) {
        self.editor.set_prompt(&prompt(Some(room)));
    }

    /// Returns how many bytes the editor keeps.
    pub(super) fn held_bytes(&self) -> usize {
        self.editor.held_bytes()
    }

    /// Takes the bytes that the editor drew.
    pub(super) fn take_drawn(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.drawn)
    }

    /// Notes the terminal's width.
    pub(super) fn resize(&mut self, columns: u16) {
        self.editor.resize(columns);
    }

    /// Erases the character before the cursor.
    pub(super) fn erase_character(&mut self) {
        self.editor.erase_character();
    }

    /// Erases what was typed.
    pub(super) fn erase_line(&mut self) {
        self.editor.erase_line();
    }
}

/// Returns the prompt of a member of `room`.
fn prompt(room: Option<&RoomName>) -> String {
    room.map(RoomName::as_str).unwrap_or_default().to_owned() + "> "
}

impl Connection {
    /// Returns the input line, if it is open.
    pub(super) fn input_line_mut(&mut self) -> Option<&mut InputLine> {
        self.display.as_mut()?.input_line.as_mut()
    }

    /// Switches the input line on or off, or answers with its state. It is on after the client's agreement.
    pub(super) fn switch_input_line(&mut self, on: Option<bool>) {
        let is_open = self.input_line_mut().is_some();
        match on {
            Some(true) if !self.is_nvt() => return self.reply_line(&NO_TERMINAL),
            Some(true) if !is_open => return self.request_input_line(),
            Some(false) => {
                self.end_agreement();
                self.close_input_line();
            }
            _ => {}
        }
        let is_open = self.input_line_mut().is_some();
        self.reply_with(|out| replies::push_switched(out, "ui", is_open));
    }

    /// Opens the input line of a client that has agreed, with what was typed of an unfinished line. From now on no pass
    /// writes to this peer: the connection encodes its lines.
    pub(super) fn open_input_line(&mut self) {
        let live = self.context.live.get();
        let room = self.state.admitted_membership().map(Membership::room);
        let settings = EditorSettings {
            columns: self.telnet.as_ref().map_or(telnet::UNKNOWN_WIDTH, |telnet| telnet.columns),
            max_line: self.line_decoder.max_line(),
            prompt: prompt(room.as_ref()),
            bell: live.bell,
        };
        let mut input_line = InputLine::new(settings);
        input_line.editor.set_draft(&self.line_decoder.take_draft());
        if room.is_some() {
            let mut answer = Vec::new();
            replies::push_switched(&mut answer, "ui", true);
            self.add_output([OutputOp::Reply(answer)]);
        }
        self.display_mut().input_line = Some(input_line);
        self.update_route();
        self.redraw_input_line();
    }

    /// Erases the row, ends what was negotiated for it, and lets passes write to the peer again. What was typed and
    /// not entered is dropped.
    pub(super) fn close_input_line(&mut self) {
        let mut end = Vec::new();
        if let Some(mut input_line) = self.display.as_mut().and_then(|display| display.input_line.take()) {
            self.deadlines.clear(Deadline::Redraw);
            // The other half of the Enter that was pressed is no line.
            if input_line.editor.is_after_cr() {
                self.line_decoder.continue_after_cr();
            }
            end = input_line.take_drawn();
            input_line.editor.close(&mut end);
        }
        if let Some(telnet) = &mut self.telnet {
            end.extend(telnet.decoder.withdraw(&INPUT_LINE_OPTIONS));
        }
        if !end.is_empty() {
            self.add_output([OutputOp::Encoded(end)]);
            self.update_route();
        }
    }

    /// Takes keys off the front of `data`; returns the line that they enter, if one.
    ///
    /// # Errors
    /// [`CloseReason::Quit`], when the peer presses Ctrl-D on an empty row.
    pub(super) fn take_keys(
        &mut self,
        data: &mut &[u8],
        now: std::time::Instant,
    ) -> Result<Option<String>, CloseReason> {
        let Some(input_line) = self.input_line_mut() else {
            return Ok(None);
        };
        let before = data.len();
        let event = input_line.editor.feed(data);
        let cost = (before - data.len()) * (1 + input_line.editor.line_len() / LINE_BYTES_PER_KEY);
        self.slice.charge(u32::try_from(cost).unwrap_or(u32::MAX));
        self.charge_bytes(u32::try_from(cost.div_ceil(KEYS_PER_BYTE)).unwrap_or(u32::MAX), now);
        match event {
            Some(EditorEvent::Line(line)) => return Ok(Some(line)),
            Some(EditorEvent::Leave) => return Err(CloseReason::Quit),
            Some(EditorEvent::Interrupt) => self.tell_how_to_leave(),
            Some(EditorEvent::Complete) => self.complete_name(now),
            None => {}
        }
        Ok(None)
    }

    /// Completes the word before the cursor with the name of a member.
    fn complete_name(&mut self, now: std::time::Instant) {
        let mut looked_at = 0;
        if let (Some(member), Some(display)) = (self.state.admitted_membership(), &mut self.display)
            && let Some(input_line) = &mut display.input_line
        {
            let own_name = member.user();
            member.visit_members(|total, names| {
                looked_at = total;
                input_line.editor.complete(&mut names.filter(|name| **name != own_name).map(UserName::as_str));
            });
        } else if let Some(input_line) = self.input_line_mut() {
            input_line.editor.complete(&mut std::iter::empty());
        }
        let names = u32::try_from(looked_at).unwrap_or(u32::MAX);
        self.slice.charge(ITEM_WORK.saturating_add(names / NAMES_PER_UNIT));
        self.charge_bytes(COMPLETION_BYTES.saturating_add(names), now);
    }

    /// Draws the row if it has changed and the time between two drawings is over, or sets the deadline for that.
    pub(super) fn schedule_redraw(&mut self) {
        let Some(input_line) = self.input_line_mut() else {
            return;
        };
        let Some(delay) = input_line.editor.render_delay() else {
            return;
        };
        let due = input_line.drawn_at + delay;
        if due <= Instant::now() {
            self.redraw_input_line();
        } else if !self.deadlines.is_set(Deadline::Redraw) {
            self.deadlines.set(Deadline::Redraw, due);
        }
    }

    /// Draws the row, and writes that.
    pub(super) fn redraw_input_line(&mut self) {
        self.deadlines.clear(Deadline::Redraw);
        let now = Instant::now();
        if let Some(input_line) = self.input_line_mut() {
            input_line.editor.render(&mut input_line.drawn);
            input_line.drawn_at = now;
            let has_drawn = !input_line.drawn.is_empty();
            self.slice.charge(COMMAND_WORK);
            self.charge_bytes(REDRAW_BYTES, now.into_std());
            if has_drawn {
                self.begin_draining();
                self.drain_output();
            }
        }
        // The editor may have asked the terminal for its cursor, and draws the row after the answer.
        self.schedule_redraw();
    }
}
