//! A terminal: a peer whose lines the server edits, and who gets them drawn around the one it types.

use super::output::STRETCHES;
use super::telnet::Negotiation;
use super::{Backlog, Connection};
use crate::metrics::counters::MetricsDelta;
use crate::peer::line_batch::{Route, push_with_cr};
use crate::peer::output_buffer::DrainStatus;
use crate::terminal::{self, Editor};
use crate::text::replies;
use std::io;
use std::time::{Instant, SystemTime};

/// Bytes of a room's lines that are drawn at a time. What is drawn is a little longer.
const STRETCH: usize = 16 << 10;

/// Bytes of what was drawn and is not written, beyond which the peer's keys wait: what it types is
/// drawn whether it reads or not. A stretch of lines is less, however it is dressed.
const FULL: usize = 256 << 10;

/// Bytes of keys that are worked on before they are paid for.
pub(super) const KEYS: usize = 1 << 10;

/// Why there is no line editor for a peer.
const NO_TERMINAL: &str = "/ui needs a telnet client, such as telnet or PuTTY";

/// One peer's terminal.
pub(super) struct Terminal {
    /// `None` when it was switched off, and what was drawn is still to be written.
    pub(super) editor: Option<Box<Editor>>,
    /// What was drawn and is not written yet.
    pub(super) out: Vec<u8>,
}

impl Terminal {
    /// Whether the peer has to read before it may type more.
    pub(super) fn is_full(&self) -> bool {
        self.out.len() > FULL
    }
}

/// Says whether the line editor is on.
fn told(on: bool) -> Vec<u8> {
    let mut text = Vec::new();
    replies::push_switched(&mut text, "ui", on);
    text
}

impl Connection {
    /// Switches the line editor on or off.
    pub(super) fn switch_editor(&mut self, on: bool) {
        if self.peer.route() == Route::DirectLf {
            self.reply_line(&NO_TERMINAL);
            return;
        }
        let telnet = self.telnet.get_or_insert_with(|| Box::new(Negotiation::new(Instant::now())));
        match (&mut self.terminal, on) {
            (None, true) => {
                let mut out = telnet.decoder.enable_options();
                let max_line = self.host.config.max_line.min(terminal::MAX_LINE);
                push_with_cr(&mut out, &told(true));
                let editor = Editor::open(&mut out, telnet.columns, max_line);
                self.terminal = Some(Box::new(Terminal { editor: Some(editor), out }));
                // From now on no pass writes to this peer: what it gets is taken and drawn here.
                self.peer.set_route(Route::Buffered);
                self.begin_draining();
            }
            (Some(terminal), false) if terminal.editor.is_some() => {
                if let Some(editor) = terminal.editor.take() {
                    // The other half of the Enter that was pressed is no line.
                    if editor.is_after_cr() {
                        self.lines.continue_after_cr();
                    }
                    editor.close(&mut terminal.out);
                }
                terminal.out.extend(telnet.decoder.disable_options());
                push_with_cr(&mut terminal.out, &told(false));
                self.begin_draining();
            }
            (terminal, _) => {
                // Also where it is still being switched off: then it can't be had yet.
                let is_on = terminal.as_ref().is_some_and(|terminal| terminal.editor.is_some());
                self.reply(told(is_on));
            }
        }
    }

    /// The editor, if it is on.
    pub(super) fn editor(&mut self) -> Option<(&mut Editor, &mut Vec<u8>)> {
        let Terminal { editor, out } = self.terminal.as_deref_mut()?;
        editor.as_deref_mut().map(|editor| (editor, out))
    }

    /// Draws what came for the peer, and writes what the socket takes of that; true if it took
    /// something. A stretch is drawn when the one before it is written, so that what waits does so
    /// in the backlog, within its bound.
    pub(super) fn drain_drawn(&mut self, metrics: &mut MetricsDelta) -> bool {
        let mut moved = false;
        for _ in 0..STRETCHES {
            let Some(terminal) = &mut self.terminal else { break };
            if terminal.out.is_empty() && !self.draw(metrics) {
                break;
            }
            let Some(terminal) = &mut self.terminal else { break };
            metrics.writes += 1;
            match self.peer.sink().try_write(&terminal.out) {
                Ok(taken) => {
                    terminal.out.drain(..taken);
                    if terminal.out.is_empty() {
                        // A quiet terminal keeps no memory for a busy moment.
                        terminal.out = Vec::new();
                    }
                    moved = true;
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => break,
                Err(_) => {
                    self.terminal = None;
                    self.end_draining(DrainStatus::Failed);
                }
            }
        }
        moved
    }

    /// Takes what came for the peer and draws it; false if there is nothing to be drawn now.
    fn draw(&mut self, metrics: &mut MetricsDelta) -> bool {
        let Some(terminal) = &mut self.terminal else {
            return false;
        };
        let mut lines = Vec::new();
        if self.peer.take(STRETCH, &mut lines, metrics).is_none() {
            self.backlog = Backlog::Contended;
            return false;
        }
        lines.retain(|byte| *byte != b'\r');
        match &mut terminal.editor {
            _ if lines.is_empty() => {}
            Some(editor) => editor.print_above(&mut terminal.out, &lines, SystemTime::now()),
            None => push_with_cr(&mut terminal.out, &lines),
        }
        if !terminal.out.is_empty() {
            return true;
        }
        let switched_off = terminal.editor.is_none();
        self.end_draining(DrainStatus::Empty);
        if switched_off {
            if self.peer.change_route(Route::DirectCrLf, metrics) {
                self.terminal = None;
            } else {
                self.backlog = Backlog::Contended;
            }
        }
        false
    }
}
