//! Rooms: `Room` is an inbox, a roster and a history, which one delivery pass at a time joins.
//!
//! `Registry` maps names to rooms, `Membership` is a connection's handle to one room, and the pass
//! modules turn the operations of an inbox into batches of lines that every member gets.

mod batch;
mod fanout;
pub mod history;
pub(crate) mod inbox;
pub mod membership;
mod operations;
mod pass_token;
mod passes;
pub mod registry;
mod replay;
mod replies;
pub mod roster;

use crate::room::batch::HistoryState;
use crate::room::history::History;
use crate::room::inbox::Inbox;
use crate::room::registry::RoomSettings;
use crate::room::roster::Roster;
use crate::text::names::RoomName;
use crossbeam_utils::atomic::AtomicCell;
use std::fmt;
use std::sync::atomic::AtomicBool;

/// One room. It exists from its first member to its last, in the registry's map.
pub struct Room {
    name: RoomName,
    /// What is to be done next.
    pub(crate) inbox: Inbox,
    /// Who is here. Read by anybody, written by the pass alone.
    roster: Roster,
    /// Whether the room has said goodbye. Read and written by the pass alone; an atomic so that
    /// passes on different threads can share it, relaxed since `Inbox::complete` orders passes.
    closed: AtomicBool,
    /// What was said here. Taken out by whoever runs the passes, and put back at the end.
    history_state: AtomicCell<Option<Box<HistoryState>>>,
}

impl Room {
    /// Creates a room without members.
    pub(crate) fn new(name: RoomName, settings: &RoomSettings) -> Self {
        let (inbox, roster) = (Inbox::new(settings.inbox_bytes), Roster::new());
        let history = (settings.history_lines > 0).then(|| Box::new(History::new(settings.history_lines)));
        let history_state = HistoryState { history, replay: settings.replay_lines };
        let history_state = AtomicCell::new(Some(Box::new(history_state)));
        Self { name, inbox, roster, closed: AtomicBool::new(false), history_state }
    }

    /// The room's name.
    pub fn name(&self) -> RoomName {
        self.name
    }

    /// Who is here.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, inbox, roster, closed, history_state: _ } = self;
        let mut room = f.debug_struct("Room");
        room.field("name", name).field("inbox", inbox).field("roster", roster).field("closed", closed);
        room.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
