//! Delayed lines: a command or a JOIN line that waits until the budget of its address allows it.

use super::Connection;
use super::close_reason::CloseReason;
use super::input::with_scratch;
use super::timers::Deadline;
use crate::protocol::commands::{self, CommandError, CostScale, ParsedLine};
use bytes::Bytes;
use std::time::Instant;

/// Whether the budget of the address has paid for a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payment {
    /// The line is charged before it does something.
    Due,
    /// The line has waited for its turn.
    Paid,
}

impl Connection {
    /// Charges a parsed line to the budget of the address. Returns true if the line has to wait; it is kept then, input is
    /// paused, and the line is handled after [`Deadline::AddressBudget`].
    pub(super) fn delay_command(&mut self, parsed: &Result<ParsedLine<'_>, CommandError<'_>>, line: &[u8]) -> bool {
        let Some(membership) = self.state.admitted_membership() else {
            return false;
        };
        let units =
            commands::cost(parsed, CostScale { members: membership.member_count(), rooms: membership.room_count() });
        if units == 0 || self.has_no_line_limit() {
            return false;
        }
        let now = Instant::now();
        let budget = self.peer.sink().address_budget();
        let mut allowed_at = budget.spend_command(units, now);
        if matches!(parsed, Ok(ParsedLine::Command(command)) if command.changes_membership()) {
            allowed_at = allowed_at.max(budget.membership_change_allowed_at(now));
        }
        self.delay_line(line, allowed_at, now)
    }

    /// Returns true if a JOIN line has to wait until its address has paid for earlier joins and leaves; the line is kept
    /// then.
    pub(super) fn delay_join(&mut self, line: &[u8]) -> bool {
        if self.has_no_line_limit() {
            return false;
        }
        let now = Instant::now();
        let allowed_at = self.peer.sink().address_budget().membership_change_allowed_at(now);
        self.delay_line(line, allowed_at, now)
    }

    /// Handles the line that waited for the budget of its address, if one did.
    pub(super) fn handle_delayed_line(&mut self) -> Result<(), CloseReason> {
        self.deadlines.clear(Deadline::AddressBudget);
        let Some(line) = self.delayed_line.take() else {
            return Ok(());
        };
        with_scratch(|scratch| {
            let outcome = self.handle_line(&line, Payment::Paid, &mut scratch.lines);
            self.send_lines(&mut scratch.lines);
            outcome
        })
    }

    /// Returns whether lines and commands are not limited: by the settings, or while the input is flushed.
    fn has_no_line_limit(&self) -> bool {
        self.is_flushing_input() || self.context.live.get().rate == 0
    }

    fn delay_line(&mut self, line: &[u8], allowed_at: Instant, now: Instant) -> bool {
        let is_delayed = allowed_at > now;
        if is_delayed {
            self.delayed_line = Some(Box::new(Bytes::copy_from_slice(line)));
            self.deadlines.set(Deadline::AddressBudget, allowed_at.into());
        }
        is_delayed
    }
}
