//! The bus: what a cluster needs of the engine that carries its frames.

use crate::cluster::core::{Channel, LogFrame, OwnPlace, StoredFrame};
use crate::text::names::{NodeName, RoomName};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// A report of the bus.
#[derive(Debug)]
pub(crate) enum BusEvent {
    /// A connection to the bus is there, for the first time or again: the one that carries rooms, or the other.
    Connected { is_data: bool },
    /// A connection to the bus is there no more, and is tried again.
    Disconnected { is_data: bool },
    /// A frame has come. `reply` is where an answer is expected.
    Frame { channel: Channel, bytes: Bytes, reply: Option<Reply> },
    /// No server has subscribed to the subject of this one.
    NobodyAt(NodeName),
    /// The log of rooms is there, for a cluster with one order.
    LogThere,
    /// The log has the frame of this number, which it was given for a room.
    Appended(RoomName, u64),
    /// The log can't take the frame of this number, since it is too long.
    Refused(RoomName, u64),
    /// Lines of rooms are kept, or can't be kept.
    LinesKept(bool),
    /// The frames that are kept of a room, the oldest first, for an instance of it; `None` if they can't be read.
    Stored { room: RoomName, instance: u64, frames: Option<Vec<StoredFrame>> },
}

/// The address of an answer, in the engine's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply(pub(crate) String);

/// A reading of the frames that are kept of a room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) room: RoomName,
    /// The instance of the room that waits.
    pub(crate) instance: u64,
    /// The lines of members that are enough.
    pub(crate) lines: usize,
    /// A place that the frames should reach.
    pub(crate) after: Option<OwnPlace>,
    /// The end of the wait.
    pub(crate) deadline: Instant,
}

/// A request to the bus. Requests of one queue are carried out in their order.
#[derive(Debug)]
pub(crate) enum BusRequest {
    /// Receive the frames of a room.
    Subscribe(RoomName),
    /// Receive them no more.
    Unsubscribe(RoomName),
    /// Send a frame.
    Publish(Channel, Vec<u8>),
    /// Append a frame to the log of a room, as often as it takes: the log has it once. Frames of one room come one after
    /// the other.
    Append(LogFrame),
    /// Send a frame to where an answer is expected.
    Answer(Reply, Vec<u8>),
    /// Send a frame to a server that has to answer.
    Ask(NodeName, Vec<u8>),
    /// Keep the lines of rooms from now on, as the settings say. [`BusEvent::LinesKept`] answers.
    KeepLines,
    /// Read the last frames that are kept of a room. [`BusEvent::Stored`] answers.
    ReadLines(Reading),
    /// Write all that was sent to the connection, and drop this.
    Flush(oneshot::Sender<()>),
}

/// An engine that runs: two queues of requests, and the events. What the queues hold when they are dropped is lost.
pub(crate) struct Bus {
    /// Rooms: their frames, and the frames that ask for them. The engine loses none to another queue.
    pub(crate) data: mpsc::Sender<BusRequest>,
    /// All else. A flood of rooms delays none of it.
    pub(crate) control: mpsc::Sender<BusRequest>,
    pub(crate) data_events: mpsc::Receiver<BusEvent>,
    /// The events of the other connection. A flood of rooms delays none of them.
    pub(crate) control_events: mpsc::Receiver<BusEvent>,
}

/// The requests that a queue holds. The state machine keeps the rest, and bounds it.
pub(crate) const QUEUE: usize = 16;

/// The events of one connection that wait for the cluster's task.
pub(crate) const EVENTS: usize = 256;
