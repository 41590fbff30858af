//! A terminal with a real program in it, and the screen that it shows.
//!
//! The program's output is drawn as a terminal draws it, and each wait for a screen has the one deadline.
//! Tests write a screen as its rows, with [`CURSOR`] at the cursor.

use super::DEADLINE;
use super::pty::with_default_signals;
use pty_process::Size;
use pty_process::blocking::{Pty, open};
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

/// The mark for the cursor. It stands before the character under the cursor.
pub const CURSOR: char = '█';

/// A terminal's rows.
pub const ROWS: u16 = 24;

/// A terminal's columns, until it is resized.
pub const COLUMNS: u16 = 80;

/// Rows that are kept after they leave the screen: more than the longest line fills.
const SCROLLBACK: usize = 1_000;

/// The side effect of a bell.
const BELL: &str = "a bell";

/// A terminal with a program. Dropping it kills the program.
pub struct Screen {
    pty: Arc<Pty>,
    program: Child,
    /// The program's output. It ends when no process has the terminal open.
    output: Receiver<Vec<u8>>,
    terminal: vt100::Parser<SideEffects>,
}

/// Everything that reached the terminal and is neither text nor a cursor movement.
#[derive(Debug, Default)]
struct SideEffects(Vec<String>);

impl Screen {
    /// Starts a program in a terminal of its own.
    pub fn spawn(program: &str, args: &[&str]) -> Self {
        let (pty, inside) = open().unwrap();
        pty.resize(Size::new(ROWS, COLUMNS)).unwrap();
        let command = with_default_signals(program).args(args).env("TERM", "xterm").env("LC_ALL", "C.UTF-8");
        let program = command.spawn(inside).unwrap();
        let pty = Arc::new(pty);
        let reader = Arc::clone(&pty);
        let (drawn, output) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Linux reports the end as an error: no process has the terminal open.
            while let Ok(count @ 1..) = (&*reader).read(&mut bytes) {
                if drawn.send(bytes[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        let terminal = vt100::Parser::new_with_callbacks(size(ROWS), size(COLUMNS), SCROLLBACK, SideEffects::default());
        Self { pty, program, output, terminal }
    }

    /// Sends the JOIN line and waits for the `has joined`.
    pub fn join(&mut self, room: &str, name: &str) {
        self.type_keys(&format!("JOIN {room} {name}\r"));
        self.expect_rows(&[&format!("JOIN {room} {name}"), &format!("{name} has joined"), "█"]);
    }

    /// Switches the line editor on, for a member.
    pub fn switch_line_editor_on(&mut self) {
        self.type_keys("/ui on\r");
        self.wait_for("the input line is open", |screen| {
            let rows = screen.rows();
            let end = &rows[rows.len().saturating_sub(3)..];
            end.len() == 3 && end[..2] == ["/ui on", "*** ui is on"] && end[2].ends_with("> █")
        });
    }

    /// Presses keys; Enter is a CR.
    pub fn type_keys(&mut self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).unwrap();
    }

    /// Changes the terminal's width.
    pub fn resize(&mut self, columns: u16) {
        self.terminal.set_size(size(ROWS), size(columns));
        self.pty.resize(Size::new(ROWS, columns)).unwrap();
    }

    /// Waits until the screen ends in these rows, or in the last of them that fit.
    #[track_caller]
    pub fn expect_rows(&mut self, rows: &[&str]) {
        let on_screen = &rows[rows.len().saturating_sub(ROWS.into())..];
        self.wait_for(&format!("the last rows are {on_screen:#?}"), |screen| {
            let shown = screen.rows();
            shown.len() >= on_screen.len() && shown[shown.len() - on_screen.len()..] == *on_screen
        });
    }

    /// Waits until `holds` returns true.
    #[track_caller]
    pub fn wait_for(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            match self.output.recv_timeout(DEADLINE.saturating_sub(start.elapsed())) {
                Ok(bytes) => self.terminal.process(&bytes),
                Err(RecvTimeoutError::Timeout) => self.fail(&format!("not within the deadline: {what}")),
                Err(RecvTimeoutError::Disconnected) => self.fail(&format!("the program ended before: {what}")),
            }
        }
    }

    /// Waits for the end of the program.
    #[track_caller]
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            match self.output.recv_timeout(DEADLINE.saturating_sub(start.elapsed())) {
                Ok(bytes) => self.terminal.process(&bytes),
                Err(RecvTimeoutError::Timeout) => self.fail("the program did not end within the deadline"),
                Err(RecvTimeoutError::Disconnected) => return self.program.wait().unwrap(),
            }
        }
    }

    #[track_caller]
    fn fail(&self, why: &str) -> ! {
        let side_effects = &self.terminal.callbacks().0;
        panic!("{why}\nthe screen shows:\n{}\nother effects: {side_effects:?}", self.rows().join("\n"));
    }

    /// Returns all rows down to the last one with text or the cursor.
    pub fn rows(&self) -> Vec<String> {
        let (lines, columns) = self.terminal.screen().size();
        let mut rows: Vec<String> = (0..lines.get()).map(|row| self.row(row, columns.get())).collect();
        let last = rows.iter().rposition(|row| !row.is_empty()).unwrap_or_default();
        rows.truncate(last + 1);
        rows
    }

    fn row(&self, row: u16, columns: u16) -> String {
        let screen = self.terminal.screen();
        let mut text = String::new();
        // After the last column the cursor stays there until the next character starts a new row.
        for column in 0..=columns {
            if screen.cursor_position() == (row, column) {
                text.push(CURSOR);
            }
            match screen.cell(row, column) {
                Some(cell) if cell.is_wide_continuation() => {}
                Some(cell) if cell.has_contents() => text.push_str(cell.contents()),
                _ => text.push(' '),
            }
        }
        text.truncate(text.trim_end().len());
        text
    }

    /// Returns the cell in a column of the last row that equals `row`.
    #[track_caller]
    pub fn cell(&self, row: &str, column: u16) -> &vt100::Cell {
        let found = self.rows().iter().rposition(|shown| shown == row);
        let found = found.unwrap_or_else(|| self.fail(&format!("no row equals {row:?}")));
        self.terminal.screen().cell(found.try_into().unwrap(), column).unwrap()
    }

    /// Returns the oldest rows that are kept, including those that have left the screen.
    pub fn oldest_rows(&mut self) -> Vec<String> {
        self.terminal.screen_mut().set_scrollback(SCROLLBACK);
        let rows = self.terminal.screen().rows(0, COLUMNS).collect();
        self.terminal.screen_mut().set_scrollback(0);
        rows
    }

    /// Returns how many bells have reached the terminal.
    pub fn bells(&self) -> usize {
        self.terminal.callbacks().0.iter().filter(|effect| *effect == BELL).count()
    }

    /// Fails if anything but text and bells has reached the terminal, such as a title or a hidden cursor.
    #[track_caller]
    pub fn assert_only_text(&self) {
        let screen = self.terminal.screen();
        let plain = !screen.hide_cursor() && !screen.alternate_screen() && !screen.application_keypad();
        if !plain || self.terminal.callbacks().0.len() > self.bells() {
            self.fail("output other than text reached the terminal");
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Killing fails when the program has already ended.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

impl vt100::Callbacks for SideEffects {
    fn audible_bell(&mut self, _: &mut vt100::Screen) {
        self.0.push(BELL.to_owned());
    }

    fn visual_bell(&mut self, _: &mut vt100::Screen) {
        self.0.push("a flash".to_owned());
    }

    fn resize(&mut self, _: &mut vt100::Screen, _: (u16, u16)) {
        self.0.push("another size".to_owned());
    }

    fn set_window_icon_name(&mut self, _: &mut vt100::Screen, name: &[u8]) {
        self.0.push(format!("an icon's name, {}", name.escape_ascii()));
    }

    fn set_window_title(&mut self, _: &mut vt100::Screen, title: &[u8]) {
        self.0.push(format!("a title, {}", title.escape_ascii()));
    }

    fn copy_to_clipboard(&mut self, _: &mut vt100::Screen, _: &[u8], _: &[u8]) {
        self.0.push("a copy to the clipboard".to_owned());
    }

    fn paste_from_clipboard(&mut self, _: &mut vt100::Screen, _: &[u8]) {
        self.0.push("a look at the clipboard".to_owned());
    }

    fn unhandled_char(&mut self, _: &mut vt100::Screen, character: char) {
        // Real terminals show this character; this one draws nothing.
        if character != char::REPLACEMENT_CHARACTER {
            self.0.push(format!("character {character:?}"));
        }
    }

    fn unhandled_control(&mut self, _: &mut vt100::Screen, byte: u8) {
        self.0.push(format!("control {byte:#x}"));
    }

    fn unhandled_escape(&mut self, _: &mut vt100::Screen, _: Option<u8>, _: Option<u8>, last: u8) {
        self.0.push(format!("an escape sequence of {last:#x}"));
    }

    fn unhandled_csi(&mut self, _: &mut vt100::Screen, _: Option<u8>, _: Option<u8>, _: &[&[u16]], last: char) {
        self.0.push(format!("a control sequence of {last:?}"));
    }

    fn unhandled_osc(&mut self, _: &mut vt100::Screen, _: &[&[u8]]) {
        self.0.push("a system command".to_owned());
    }
}

fn size(size: u16) -> NonZeroU16 {
    NonZeroU16::new(size).unwrap()
}
