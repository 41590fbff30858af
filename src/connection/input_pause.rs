//! The pause of input: the one place that decides whether a connection reads and processes input.

use super::Connection;
use super::timers::Deadline;

/// Why a connection reads no input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InputPause {
    /// A room has not answered yet.
    Room,
    /// The room's inbox is full.
    InboxFull,
    /// Another thread held the write lock when the connection had output of its own.
    OutputContended,
    /// The peer has to read what its input line drew.
    OutputFull,
    /// The peer has used up a rate.
    RateLimit,
}

impl Connection {
    /// Returns why input is paused; `None` when it is read. This is the one place that decides.
    fn input_pause(&self) -> Option<InputPause> {
        if self.state.awaits_room() {
            Some(InputPause::Room)
        } else if self.blocked_input.is_some() {
            Some(InputPause::InboxFull)
        } else if self.pending_output.is_some() {
            Some(InputPause::OutputContended)
        } else if self.input_line.as_ref().is_some_and(|input_line| input_line.is_full()) {
            Some(InputPause::OutputFull)
        } else if self.deadlines.is_set(Deadline::RateLimit) {
            Some(InputPause::RateLimit)
        } else {
            None
        }
    }

    pub(super) fn is_input_paused(&self) -> bool {
        self.input_pause().is_some()
    }
}
