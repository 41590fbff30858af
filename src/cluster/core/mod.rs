//! The state machine of one server of a cluster, without I/O and without a clock.
//!
//! Events go in: changes of this server's rooms, frames of other servers, the time. Updates for rooms and frames for the
//! bus come out. A frame may be lost, cut, late or doubled: rooms agree again once the bus works. Whoever may publish may
//! speak for any server, so the permissions of the bus are the border; a forged frame still can't forge a line of the
//! server, harm a terminal, or stop a server (`hostile.rs`).
//!
//! | file | what it holds |
//! |---|---|
//! | `nodes.rs` | the other servers: alive, suspect or dead, and their epochs |
//! | `rooms.rs` | the rooms that are open here, and when each is looked at |
//! | `opening.rs` | opening a room, and comparing it after an interruption |
//! | `publishing.rs` | publishing a room of this server |
//! | `following.rs` | how a room follows what other servers say of it |
//! | `origin_room.rs` | the stream of one other server in one room |
//! | `receive.rs` | frames |
//! | `counts.rs` | the numbers of members of all rooms |
//! | `outgoing.rs` | the frames that wait |
//! | `log.rs` | the frames that wait for the log, which gives rooms their order in a cluster with one order |
//! | `ordered.rs` | what this server does in such a room: it happens when it comes back from the log |
//! | `stored.rs` | the frames that NATS has kept |

mod counts;
mod following;
#[cfg(test)]
mod hostile;
mod lines;
mod log;
mod nodes;
mod opening;
mod ordered;
mod origin_room;
mod outgoing;
mod publishing;
mod receive;
mod rooms;
#[cfg(test)]
mod simulation;
mod stored;

pub(crate) use log::LogFrame;
pub(crate) use outgoing::Channel;
#[cfg(any(feature = "cluster", test))]
pub(crate) use stored::count_talk;
pub(crate) use stored::{OwnPlace, StoredFrame};

use crate::cluster::frame::{Head, HistoryLine, Origin, encode, version};
use crate::config::ClusterOrder;
use crate::room::remote::{EarlierLine, RemoteUpdate, RemoteWhisper};
use crate::text::names::{NodeName, RoomName, UserName};
use bytes::Bytes;
use counts::Counts;
use log::Log;
use nodes::{Hearing, Node, is_alive};
use outgoing::Outgoing;
use rooms::OpenRoom;
use std::collections::{BTreeMap, BTreeSet};

/// The most bytes of frames that wait for a bus which takes none.
const MAX_WAITING: usize = 8 << 20;

/// How long a frame may wait, in milliseconds: what is older is a hole that others are told of.
const MAX_AGE: u64 = 5_000;

/// How long a whisper to another server may take, in milliseconds.
const WHISPER_TIMEOUT: u64 = 3_000;

/// A request of the state machine to the program around it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Receive the frames of a room from now on.
    Subscribe(RoomName),
    /// Receive them no more.
    Unsubscribe(RoomName),
    /// Apply changes in a room, if this instance of it is open.
    Update(RoomName, u64, RemoteUpdate),
    /// Deliver a whisper, and return its outcome with the id.
    Deliver { room: RoomName, node: NodeName, id: u64, from: UserName, to: UserName, text: Box<str> },
    /// A whisper that was sent has an outcome.
    Whispered { id: u64, outcome: WhisperOutcome },
    /// Ask a server for an answer, and report when none listens there.
    Ping(NodeName),
    /// Answer a ping on the subject that it names.
    Pong,
    /// Run the line of another server's operator.
    Operator(NodeName, String),
    /// Read the last lines that NATS keeps of a room, for this instance of it: those up to this place among them.
    ReadStored(RoomName, u64, Option<OwnPlace>),
    /// A record for the log.
    Log(Event),
}

/// The outcome of a whisper to another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhisperOutcome {
    /// The whisper was delivered to the member; holds the member's own spelling of its name.
    Delivered(UserName),
    /// No such member is there.
    NoSuchMember,
    /// No answer came in time.
    NoAnswer,
}

/// An event for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A server was heard for the first time, or again.
    NodeUp(NodeName),
    /// A server was heard no more.
    NodeDead(NodeName),
    /// A server has stopped.
    NodeLeft(NodeName),
    /// Another process has this server's name.
    NameShared(NodeName),
    /// Own heartbeats come back no more.
    Deaf,
    /// Own heartbeats come back again.
    Hears,
    /// No server can be reached: rooms are this server's alone.
    Alone,
}

/// The counts of a state machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClusterCounts {
    /// Other servers that are alive.
    pub(crate) nodes: u64,
    pub(crate) frames_in: u64,
    pub(crate) frames_out: u64,
    /// Frames of another version.
    pub(crate) unknown_version: u64,
    /// Frames that can't be decoded, or that came where they do not belong.
    pub(crate) malformed: u64,
    /// Frames of an epoch that is over.
    pub(crate) stale: u64,
    /// Lines that other servers said and this one has not got.
    pub(crate) missing_lines: u64,
    /// Lines of other servers that no member could have said.
    pub(crate) rejected_lines: u64,
    /// Frames and lines of this server that were dropped before the bus had them.
    pub(crate) dropped_frames: u64,
    pub(crate) dropped_lines: u64,
    /// Bytes that wait for the bus.
    pub(crate) waiting_bytes: u64,
    /// Readings of the lines that NATS keeps: those that gave a room lines, that found none, that failed, and that came too
    /// late.
    pub(crate) stored_found: u64,
    pub(crate) stored_empty: u64,
    pub(crate) stored_failed: u64,
    pub(crate) stored_late: u64,
}

/// The state machine.
pub(crate) struct Core {
    origin: Origin,
    order: ClusterOrder,
    /// The version of frames.
    version: u8,
    /// The time of the current event, in milliseconds of Unix time that never go back.
    now: u64,
    max_line: usize,
    nodes: BTreeMap<NodeName, Node>,
    rooms: BTreeMap<RoomName, OpenRoom>,
    /// The number of the last stream of changes of any room.
    last_stream: u64,
    /// When each room is looked at next.
    timers: BTreeSet<(u64, RoomName)>,
    /// Whether this server hears itself.
    hearing: Hearing,
    counts_of_rooms: Counts,
    /// True while lines that NATS keeps can be read.
    has_store: bool,
    /// The last places of rooms that were closed a moment ago, and how long they are remembered.
    closed_rooms: BTreeMap<RoomName, (OwnPlace, u64)>,
    /// Changes of rooms, hellos and snapshots: one connection carries them in this order.
    data: Outgoing,
    /// All else.
    control: Outgoing,
    /// Changes of rooms and snapshots, in a cluster with one order.
    log: Log,
    next_heartbeat: u64,
    last_tick: u64,
    /// The whispers that have no outcome, with their deadlines.
    whispers: BTreeMap<u64, (NodeName, u64)>,
    next_whisper: u64,
    counts: ClusterCounts,
    effects: Vec<Effect>,
}

impl Core {
    /// Creates the machine of a server that starts `now`. Lines of other servers are `max_line` bytes long at most.
    pub(crate) fn new(node: NodeName, now: u64, max_line: usize, order: ClusterOrder) -> Self {
        Self {
            origin: Origin { node, boot: now, epoch: 0 },
            order,
            version: version(order),
            now,
            max_line,
            nodes: BTreeMap::new(),
            rooms: BTreeMap::new(),
            last_stream: 0,
            timers: BTreeSet::new(),
            hearing: Hearing::new(now),
            counts_of_rooms: Counts::default(),
            has_store: false,
            closed_rooms: BTreeMap::new(),
            data: Outgoing::new(MAX_WAITING, MAX_AGE),
            control: Outgoing::new(MAX_WAITING, MAX_AGE),
            log: Log::default(),
            next_heartbeat: now,
            last_tick: now,
            whispers: BTreeMap::new(),
            next_whisper: now,
            counts: ClusterCounts::default(),
            effects: Vec::new(),
        }
    }

    /// Sets the time of the events that follow. Time never goes back.
    pub(crate) fn set_time(&mut self, now: u64) {
        self.now = self.now.max(now);
    }

    /// Does what is due. To be called several times a second.
    pub(crate) fn on_tick(&mut self) {
        self.skip_pause();
        if self.now >= self.next_heartbeat {
            self.next_heartbeat = self.now + nodes::HEARTBEAT;
            self.send_counts();
            self.send_heartbeat();
        }
        self.check_hearing();
        self.join_log();
        self.check_nodes();
        self.run_timers();
        self.expire_whispers();
        self.forget_places();
        self.data.drop_oldest(self.now);
        self.control.drop_oldest(self.now);
    }

    /// Takes what the machine asks for.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Takes the next frame for the connection that carries rooms.
    pub(crate) fn take_data_frame(&mut self) -> Option<(Channel, Vec<u8>)> {
        let frame = self.data.pop(self.version, &self.origin);
        self.counts.frames_out += u64::from(frame.is_some());
        frame
    }

    /// Takes the next frame for the connection that carries all else.
    pub(crate) fn take_control_frame(&mut self) -> Option<(Channel, Vec<u8>)> {
        let frame = self.control.pop(self.version, &self.origin);
        self.counts.frames_out += u64::from(frame.is_some());
        frame
    }

    /// Returns whether frames wait, for either connection.
    pub(crate) fn has_frames(&self) -> (bool, bool) {
        (!self.data.is_empty(), !self.control.is_empty())
    }

    /// Returns what was counted.
    pub(crate) fn counts(&self) -> ClusterCounts {
        let (data, control) = (self.data.dropped(), self.control.dropped());
        ClusterCounts {
            nodes: self.nodes.values().filter(|node| node.is_alive()).count() as u64,
            dropped_frames: data.0 + control.0,
            dropped_lines: self.counts.dropped_lines + data.1 + control.1,
            waiting_bytes: (self.data.bytes() + self.control.bytes() + self.log.bytes()) as u64,
            ..self.counts
        }
    }

    /// Sends a whisper, and returns its id.
    pub(crate) fn send_whisper(&mut self, whisper: RemoteWhisper) -> u64 {
        let RemoteWhisper { node, room, from, to, text } = whisper;
        self.next_whisper = self.next_whisper.wrapping_add(1);
        let id = self.next_whisper;
        self.whispers.insert(id, (node, self.now + WHISPER_TIMEOUT));
        let head = Head::Whisper { id, room, from, to };
        // Its sender's join and lines go the same way, and come first, unless they go through a log.
        self.data.push(Channel::Node(node), head, Bytes::from(text.into_string().into_bytes()), self.now);
        id
    }

    /// Sends the last lines of a room to a server that opens it.
    pub(crate) fn send_history(&mut self, room: RoomName, node: NodeName, lines: Vec<EarlierLine>) {
        let mut raw = Vec::new();
        let mut heads = Vec::with_capacity(lines.len());
        for EarlierLine { minute, is_notice, text } in lines {
            raw.extend_from_slice(&text);
            let bytes = u32::try_from(text.len()).unwrap_or(u32::MAX);
            heads.push(HistoryLine { minute: minute.0, is_notice, bytes });
        }
        let head = Head::History { room, lines: heads };
        self.control.push(Channel::Node(node), head, Bytes::from(raw), self.now);
    }

    /// Returns the outcome of a whisper to the server that sent it.
    pub(crate) fn return_whisper(&mut self, node: NodeName, id: u64, to: Option<UserName>) {
        self.send_control(Channel::Node(node), Head::Whispered { id, to });
    }

    /// Tells all servers that this one stops. No frame follows.
    pub(crate) fn stop(&mut self) {
        self.data.clear();
        self.send_control(Channel::All, Head::Bye);
    }

    /// Returns the answer to a ping.
    pub(crate) fn pong_frame(&self) -> Vec<u8> {
        encode(self.version, &self.origin, &Head::Pong, &[])
    }

    /// Returns a frame that asks for an answer.
    pub(crate) fn ping_frame(&self) -> Vec<u8> {
        encode(self.version, &self.origin, &Head::Ping, &[])
    }

    /// Counts lines that a room had no capacity for.
    pub(crate) fn count_missing(&mut self, lines: u64) {
        self.counts.missing_lines += lines;
    }

    /// Has other servers run an operator's line.
    pub(crate) fn send_operator_line(&mut self, line: String) {
        self.send_control(Channel::All, Head::Operator { line });
    }

    fn expire_whispers(&mut self) {
        let (now, nodes) = (self.now, &self.nodes);
        let is_over = |(node, deadline): &(NodeName, u64)| *deadline <= now || !is_alive(nodes, node);
        let over: Vec<u64> = self.whispers.iter().filter(|(_, whisper)| is_over(whisper)).map(|(id, _)| *id).collect();
        for id in over {
            self.whispers.remove(&id);
            self.effects.push(Effect::Whispered { id, outcome: WhisperOutcome::NoAnswer });
        }
    }

    fn send_control(&mut self, channel: Channel, head: Head) {
        self.control.push(channel, head, Bytes::new(), self.now);
    }

    fn send_data(&mut self, channel: Channel, head: Head) {
        self.data.push(channel, head, Bytes::new(), self.now);
    }

    fn log(&mut self, event: Event) {
        self.effects.push(Effect::Log(event));
    }
}

/// Returns a list in parts of at most `most` entries, each with whether it is the first and the last one. An empty list
/// has one empty part.
fn parts<T>(list: &[T], most: usize) -> impl Iterator<Item = (&[T], bool, bool)> {
    let count = list.len().div_ceil(most).max(1);
    (0..count).map(move |index| {
        let (from, to) = (index * most, list.len().min((index + 1) * most));
        (&list[from..to], index == 0, index + 1 == count)
    })
}
