//! Delayed lines: a command or a JOIN line that waits until the budget of its address allows it.

use super::Connection;
use super::close_reason::CloseReason;
use super::timers::Deadline;
use crate::protocol::commands::{self, CommandError, CostScale, ParsedLine};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// How often a connection with a delayed line looks whether it still has a peer: a reset peer must not stay a member
/// until its address has paid.
const CONNECTED_CHECK: Duration = Duration::from_secs(1);

/// Whether the budget of the address has paid for a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payment {
    /// The line is charged before it does something.
    Due,
    /// The line has waited for its turn.
    Paid,
}

/// A line that waits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct DelayedLine {
    line: Box<[u8]>,
    /// The units that were spent for the line.
    units: u32,
    /// Whether the line changes a membership: it waits until all changes before it are paid for.
    changes_membership: bool,
    /// The instant from which the budget of the address allows the line.
    #[serde(with = "super::handover::time_left")]
    allowed_at: Instant,
}

impl DelayedLine {
    /// Returns the length of the line in bytes.
    pub(super) fn len(&self) -> usize {
        self.line.len()
    }
}

impl Connection {
    /// Charges a parsed line to the budget of the address. Returns true if the line has to wait; it is kept then, input is
    /// paused, and the line is handled after [`Deadline::AddressBudget`].
    ///
    /// # Errors
    /// [`CloseReason::Lost`] if the line has to wait and the peer is gone: no client gets its answer, and the lines after it
    /// may be meant for another room or another name.
    pub(super) fn delay_command(
        &mut self,
        parsed: &Result<ParsedLine<'_>, CommandError<'_>>,
        line: &[u8],
    ) -> Result<bool, CloseReason> {
        let Some(membership) = self.state.admitted_membership() else {
            return Ok(false);
        };
        if self.has_no_line_limit() {
            return Ok(false);
        }
        let scale = CostScale { members: membership.member_count(), rooms: membership.room_count() };
        let units = commands::cost(parsed, scale);
        if units == 0 {
            return Ok(false);
        }
        let now = Instant::now();
        let budget = self.peer.sink().address_budget();
        let mut allowed_at = budget.spend_command(units, now);
        let changes_membership = matches!(parsed, Ok(ParsedLine::Command(command)) if command.changes_membership());
        if changes_membership {
            allowed_at = allowed_at.max(budget.membership_change_allowed_at(now));
        }
        if allowed_at <= now {
            return Ok(false);
        }
        self.delay_line(DelayedLine { line: line.into(), units, changes_membership, allowed_at })
    }

    /// Returns true if a JOIN line has to wait until its address has paid for earlier joins and leaves; the line is kept
    /// then.
    ///
    /// # Errors
    /// As for [`Connection::delay_command`].
    pub(super) fn delay_join(&mut self, line: &[u8]) -> Result<bool, CloseReason> {
        if self.has_no_line_limit() {
            return Ok(false);
        }
        let now = Instant::now();
        let allowed_at = self.peer.sink().address_budget().membership_change_allowed_at(now);
        if allowed_at <= now {
            return Ok(false);
        }
        self.delay_line(DelayedLine { line: line.into(), units: 0, changes_membership: true, allowed_at })
    }

    /// Handles the delayed line if its address has paid, or waits on.
    ///
    /// # Errors
    /// [`CloseReason::Lost`] if the peer is gone, and the reasons of the line itself.
    pub(super) fn check_delayed_line(&mut self) -> Result<(), CloseReason> {
        self.check_connected()?;
        let now = Instant::now();
        let budget = self.peer.sink().address_budget();
        let allowed_at = self.delayed_line.as_ref().map_or(now, |delayed| {
            // Lines that waited for the same instant must not go on together.
            let changes = if delayed.changes_membership { budget.membership_change_allowed_at(now) } else { now };
            delayed.allowed_at.max(changes)
        });
        if allowed_at > now {
            self.set_budget_deadline(allowed_at);
            return Ok(());
        }
        self.handle_delayed_line()
    }

    /// Handles the delayed line at once, if there is one.
    pub(super) fn handle_delayed_line(&mut self) -> Result<(), CloseReason> {
        self.deadlines.clear(Deadline::AddressBudget);
        let Some(delayed) = self.delayed_line.take() else {
            return Ok(());
        };
        self.handle_waiting_line(&delayed.line, Payment::Paid)
    }

    /// Returns whether lines and commands are not limited: by the settings, or while the input is flushed.
    pub(super) fn has_no_line_limit(&self) -> bool {
        self.is_flushing_input() || self.context.live.get().rate == 0
    }

    /// Drops the delayed line of a connection that ends, and gives its units back: many short connections must not leave
    /// their address a debt for what was never done.
    pub(super) fn cancel_delayed_line(&mut self) {
        if let Some(delayed) = self.delayed_line.take() {
            self.peer.sink().address_budget().refund_command(delayed.units, Instant::now());
        }
    }

    /// Keeps a line that is not allowed yet; returns true, since it has to wait.
    fn delay_line(&mut self, delayed: DelayedLine) -> Result<bool, CloseReason> {
        let allowed_at = delayed.allowed_at;
        self.delayed_line = Some(Box::new(delayed));
        self.check_connected()?;
        self.set_budget_deadline(allowed_at);
        Ok(true)
    }

    fn set_budget_deadline(&mut self, allowed_at: Instant) {
        let next_check = Instant::now() + CONNECTED_CHECK;
        self.deadlines.set(Deadline::AddressBudget, allowed_at.min(next_check).into());
    }
}
