//! Rooms: `Room` is an inbox, a roster and a history, which one delivery pass at a time joins.
//!
//! `Registry` maps names to rooms, `Membership` is a connection's handle to one room, and the pass
//! modules turn the operations of an inbox into batches of lines that every member gets.

mod batch;
mod batch_cluster;
mod batch_costs;
mod batch_operations;
mod blocked_lines;
mod fair_queue;
mod fanout;
mod heavy_senders;
pub mod history;
pub(crate) mod inbox;
mod line_runs;
pub mod membership;
mod membership_charges;
pub(crate) mod moved;
pub(crate) mod operation;
mod pass_clock;
mod pass_counter;
mod pass_state;
mod pass_token;
mod passes;
pub mod registry;
pub(crate) mod remote;
mod replay;
mod replies;
pub mod roster;
mod waiting_joins;
mod whisperers;

use crate::config::RoomSettings;
use crate::limits::memory::{MemoryBudget, MemoryCharge};
use crate::room::inbox::Inbox;
use crate::room::pass_state::PassState;
use crate::room::remote::{RemoteMembers, RoomLink};
use crate::room::roster::Roster;
use crate::text::names::RoomName;
use crossbeam_utils::atomic::AtomicCell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// One room. The registry's map holds it from its first member to its last.
pub struct Room {
    name: RoomName,
    /// The operations for the next passes.
    pub(crate) inbox: Inbox,
    /// The members. Any thread reads them; the pass alone replaces them.
    roster: Roster,
    /// True once the room is shut down. The pass alone reads and writes it. An atomic, because passes run
    /// on different threads; relaxed, because `Inbox::complete` and `Inbox::mark_sent` order passes.
    closed: AtomicBool,
    /// The number of times that passes have gathered operations, which shows that they go on. The pass alone writes it.
    /// Relaxed: it publishes no other memory.
    gathers: AtomicU64,
    /// The state of passes. A pass takes it out and puts it back when the room is quiet.
    pass_state: AtomicCell<Option<Box<PassState>>>,
    /// The budget of the lines in the inbox and in batches.
    memory: Arc<MemoryBudget>,
    /// The exchange with other servers; `None` on a server of its own.
    link: Option<Arc<RoomLink>>,
}

impl Room {
    /// Creates a room without members, whose lines are charged to `memory`, and which has members on other servers, too, if
    /// there is a link.
    pub(crate) fn new(
        name: RoomName,
        settings: &RoomSettings,
        memory: &Arc<MemoryBudget>,
        link: Option<Arc<RoomLink>>,
    ) -> Self {
        let (inbox, roster) = (Inbox::new(settings.inbox_bytes), Roster::new());
        let pass_state = AtomicCell::new(Some(Box::new(PassState::new(settings, memory))));
        let (closed, gathers) = (AtomicBool::new(false), AtomicU64::new(0));
        Self { name, inbox, roster, closed, gathers, pass_state, memory: Arc::clone(memory), link }
    }

    /// Returns the room's name.
    pub fn name(&self) -> RoomName {
        self.name
    }

    /// Returns the number of times that passes have gathered operations.
    pub(crate) fn gathers(&self) -> u64 {
        self.gathers.load(Ordering::Relaxed)
    }

    /// Charges `bytes` to the server's memory, until the return value is dropped.
    fn charge_memory(&self, bytes: usize) -> MemoryCharge {
        let mut charge = MemoryCharge::new(Some(&self.memory));
        charge.set(bytes);
        charge
    }

    /// Returns the members on other servers.
    pub(crate) fn remote_members(&self) -> Option<Arc<RemoteMembers>> {
        self.link.as_ref().map(|link| link.members.load_full())
    }

    /// Returns the members.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, inbox, roster, closed, gathers: _, pass_state: _, memory: _, link: _ } = self;
        let mut room = f.debug_struct("Room");
        room.field("name", name).field("inbox", inbox).field("roster", roster).field("closed", closed);
        room.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
