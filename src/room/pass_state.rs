//! Pass state: what a room's passes keep from one batch to the next.

use crate::room::heavy_senders::HeavySenders;
use crate::room::history::History;
use crate::room::whisperers::Whisperers;

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
}
