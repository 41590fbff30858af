//! Input memory: the input that a connection keeps, charged to the memory budget of the server.

use super::Connection;
use super::input_line::InputLine;
use crate::limits::memory::{KERNEL_RECEIVE_BUFFER, MemoryBudget};
use crate::peer::byte_sink::ByteSink;

/// The bytes of input that a connection has charged. Its drop gives them back.
#[derive(Debug, Default)]
pub(super) struct ChargedInput(u32);

impl ChargedInput {
    /// Charges the difference to `bytes`.
    fn set(&mut self, bytes: usize, memory: &MemoryBudget) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        if bytes > self.0 {
            memory.charge((bytes - self.0) as usize);
        } else {
            memory.release((self.0 - bytes) as usize);
        }
        self.0 = bytes;
    }
}

impl Connection {
    /// Charges the input that is kept now. A connection whose input ends in a whole line keeps none and touches no counter.
    pub(super) fn charge_kept_input(&mut self) {
        let kept = self.kept_input();
        if kept != self.charged_input.0 as usize
            && let Some(memory) = self.peer.sink().memory()
        {
            self.charged_input.set(kept, memory);
        }
    }

    /// Gives back what is charged.
    pub(super) fn release_kept_input(&mut self) {
        if let Some(memory) = self.peer.sink().memory() {
            self.charged_input.set(0, memory);
        }
    }

    /// Returns the bytes of the unfinished line, of held input, and of an input line. While input is held the kernel's
    /// receive buffer may be full, too.
    fn kept_input(&self) -> usize {
        let held = self.held_input.as_ref().map_or(0, |held| held.len() + KERNEL_RECEIVE_BUFFER);
        let input_line = self.display.as_ref().and_then(|display| display.input_line.as_ref());
        let delayed = self.delayed_line.as_ref().map_or(0, |delayed| delayed.len());
        let blocked = self.blocked_command_len();
        self.line_decoder.held_bytes() + blocked + held + input_line.map_or(0, InputLine::held_bytes) + delayed
    }
}
