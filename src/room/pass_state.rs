//! Pass state: what a room's passes keep from one batch to the next.

use crate::config::RoomSettings;
use crate::limits::memory::MemoryBudget;
use crate::room::heavy_senders::HeavySenders;
use crate::room::history::History;
use crate::room::waiting_joins::WaitingJoins;
use crate::room::whisperers::Whisperers;
use std::sync::Arc;

/// The state of a room that passes alone access, and that lasts as long as the room.
#[derive(Debug)]
pub(crate) struct PassState {
    /// `None` where the settings keep no line.
    pub(crate) history: Option<Box<History>>,
    /// The number of lines that a joiner is shown.
    pub(crate) replay: usize,
    /// The last whisperer to each member.
    pub(crate) whisperers: Whisperers,
    /// The recent bytes of senders.
    pub(crate) heavy_senders: HeavySenders,
    /// The joins that wait for other servers; `None` on a server of its own, and where none waited yet.
    pub(crate) joins: Option<Box<WaitingJoins>>,
}

impl PassState {
    /// Returns the state of a room without lines, whose history is charged to `memory`.
    pub(crate) fn new(settings: &RoomSettings, memory: &Arc<MemoryBudget>) -> Self {
        let keeps_history = settings.history_lines > 0;
        Self {
            history: keeps_history.then(|| Box::new(History::with_memory(settings.history_lines, memory))),
            replay: settings.replay_lines,
            whisperers: Whisperers::default(),
            heavy_senders: HeavySenders::default(),
            joins: None,
        }
    }
}
