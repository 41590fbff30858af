//! Costs: what the work on a batch costs, so that a pass charges it to its slice before it does it.

use crate::room::batch::Batch;
use crate::room::fanout::BYTES_PER_DELIVERY;
use crate::room::history;
use crate::room::operation::Operation;
use crate::room::passes::{BYTES_PER_OPERATION, ENTRIES_PER_OPERATION, REPLY_COST};

impl Batch {
    /// Returns the cost in operations of appending `len` bytes of lines.
    pub(super) fn lines_cost(len: usize) -> usize {
        1 + len / BYTES_PER_OPERATION
    }

    /// Returns the cost in operations of applying `operation`: more than 1 for one that walks through the members.
    pub(crate) fn operation_cost(&self, operation: &Operation) -> usize {
        let copy = if self.members_after.is_none() { self.members_before.len() / ENTRIES_PER_OPERATION } else { 0 };
        match operation {
            Operation::SendLines { bytes, .. } => Self::lines_cost(bytes.len()),
            Operation::Announce(line) => Self::lines_cost(line.len()),
            Operation::Join(_) if self.replay.is_none() => 1 + copy + Self::lines_cost(history::MAX_BYTES),
            Operation::Join(_) | Operation::Leave(_) | Operation::Rename(..) => 1 + copy,
            Operation::FlushInput => 1 + self.members_now().len(),
            Operation::Update(update) => {
                let (_, update) = &**update;
                let remote = self.cluster.as_ref().map_or(0, |cluster| cluster.members_now().len());
                let whisperers = self.pass_state.as_ref().map_or(0, |state| state.whisperers.len());
                let walks = (remote + whisperers) / ENTRIES_PER_OPERATION;
                let joins = self.waiting_joins();
                1 + joins + update.0.len() + Self::lines_cost(update.bytes()) + walks
            }
            _ => 1,
        }
    }

    /// Returns the cost in operations of the commit, and of what follows from the batch's size alone.
    pub(crate) fn commit_cost(&self) -> usize {
        let whisperers = self.pass_state.as_ref().map_or(0, |state| state.whisperers.len());
        let is_changed = self.members_after.is_some();
        let walked = if is_changed { self.members_now().len() + self.members_before.len() + whisperers } else { 0 };
        let kept = self.bytes.len().min(history::MAX_BYTES);
        Self::lines_cost(kept) + walked / ENTRIES_PER_OPERATION + self.ready_senders.len()
    }

    /// Returns the cost in operations of [`Batch::apply_shutdown`]; `None` if no shutdown is due.
    pub(crate) fn shutdown_cost(&self) -> Option<usize> {
        let is_due = self.awaits_shutdown && !self.closed && self.blocked.is_none();
        is_due.then(|| 1 + self.members_before.len())
    }

    /// Returns the cost in deliveries of [`Batch::deliver_to_joiners`].
    pub(crate) fn joiners_cost(&self, most: usize) -> usize {
        let count = (self.partials.0.len() - self.joiners_visited).min(most);
        count * (if self.replay.is_some() { REPLY_COST } else { 1 } + self.end.bytes / BYTES_PER_DELIVERY)
    }
}
