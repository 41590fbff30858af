//! Input memory: the input that a connection keeps, charged to the memory budget of the server.

use super::Connection;
use super::input_line::InputLine;
use crate::limits::memory::{KERNEL_RECEIVE_BUFFER, MemoryCharge};
use crate::peer::byte_sink::ByteSink;

impl Connection {
    /// Charges the input that is kept now. A connection whose input ends in a whole line keeps none and touches no counter.
    pub(super) fn charge_kept_input(&mut self) {
        let kept = self.kept_input();
        if kept == 0 {
            self.charged_input = None;
            return;
        }
        let memory = self.peer.sink().memory();
        self.charged_input.get_or_insert_with(|| Box::new(MemoryCharge::new(memory))).set(kept);
    }

    /// Returns the bytes of the unfinished line, of an unfinished TLS record or HTTP head, of held input, and of an input line. While input is held the kernel's
    /// receive buffer may be full, too.
    fn kept_input(&self) -> usize {
        let held = self.held_input.as_ref().map_or(0, |held| held.len() + KERNEL_RECEIVE_BUFFER);
        let input_line = self.display.as_ref().and_then(|display| display.input_line.as_ref());
        let transport = self.transport.as_ref().map_or(0, |transport| transport.held_bytes());
        let delayed = self.delayed_line.as_ref().map_or(0, |delayed| delayed.len());
        let blocked = self.blocked_command_len();
        let input_line = input_line.map_or(0, InputLine::held_bytes);
        let web = self.web.as_ref().map_or(0, |web| web.held_bytes());
        self.line_decoder.held_bytes() + transport + web + blocked + held + input_line + delayed
    }
}
