//! Handover: how a connection stops for a moment, is copied for another process, and goes on here or there.
//!
//! ```text
//! Running ─► Stopping ─► Stopped ─► Copied        (all of them ─► Running, if the handover fails)
//! ```
//!
//! A connection that is stopping takes no input any more, and is stopped once its room owes it no answer. A stopped connection
//! still writes what rooms deliver, and its deadlines do not come. When all connections are stopped the rooms become quiet, and
//! then each connection is copied: from then on it writes nothing.

use super::Connection;
use super::close_reason::CloseReason;
use super::delayed_line::DelayedLine;
use super::display::LineDisplay;
use super::login::Login;
use super::state::ConnectionState;
use super::telnet::TelnetState;
use super::timers::{Deadline, Deadlines};
use super::web::WebState;
use super::{InputFlush, OutputStatus, PollSlice, ServerContext};
use crate::limits::login_queue::LoginTicket;
use crate::limits::rate::RateLimiter;
use crate::metrics::counters::MetricsDelta;
use crate::metrics::listener_counts::ListenerNumber;
use crate::net::codec::websocket::CloseCode;
use crate::net::{ListenerProtocol, PeerAddress, Socket};
use crate::peer::byte_sink::ByteSink;
use crate::peer::{MovedOutput, Peer, PeerId};
use crate::protocol::line_decoder::LineDecoder;
use crate::room::membership::Membership;
use crate::room::moved::MovedMembership;
use crate::text::messages;
use crate::text::names::{RoomName, UserName};
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, unbounded};
use serde::{Deserialize, Serialize};
use std::num::NonZeroU8;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// The longest time until a deadline: longer than a connection lasts, and short enough for every clock.
const FAR: Duration = Duration::from_secs(20 * 365 * 24 * 3600);

/// How far the handover of a connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum HandoverStep {
    /// The connection serves its peer.
    #[default]
    Running,
    /// The connection takes no input, and waits for its room.
    Stopping,
    /// No room owes the connection an answer.
    Stopped,
    /// The connection is copied, and writes nothing.
    Copied,
    /// Another process serves the connection; one that can't be moved says so and ends.
    HandedOver,
}

/// The step that a handover asks of all connections, and the outcome. Nothing but a handover touches the gate.
#[derive(Debug)]
pub(crate) struct HandoverGate {
    /// The step that connections take when they look: a [`HandoverStep`]. Relaxed: the event that makes them look is
    /// raised later, and orders it.
    wanted: AtomicU8,
    /// Whether a handover runs. Relaxed: it only makes operators' commands and health checks say so.
    active: AtomicBool,
    /// The connections that are stopped. Relaxed, as are all counts here: their reader looks again and again.
    stopped: AtomicUsize,
    /// The connections that are ending and may still send an operation to a room.
    leaving: AtomicUsize,
    /// The connections that could not be moved and have told their peers so.
    ended: AtomicUsize,
    /// The copies, in a queue without a lock.
    copies: (Sender<CopiedConnection>, Receiver<CopiedConnection>),
}

impl Default for HandoverGate {
    fn default() -> Self {
        Self {
            wanted: AtomicU8::default(),
            active: AtomicBool::default(),
            stopped: AtomicUsize::default(),
            leaving: AtomicUsize::default(),
            ended: AtomicUsize::default(),
            // Allocates nothing until the first copy.
            copies: unbounded(),
        }
    }
}

/// One copied connection.
#[derive(Debug)]
pub(crate) enum CopiedConnection {
    /// Its state and its socket, which stays open in this process, too.
    Moved(Box<MovedConnection>, Arc<Peer<Socket>>),
    /// The place of a peer whose transport can't be moved, as TLS; `None` if it has joined no room.
    Unmovable(Option<(RoomName, UserName)>),
}

/// A connection as another process continues it. Times are durations from the copy on.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MovedConnection {
    pub(crate) id: PeerId,
    pub(crate) address: PeerAddress,
    protocol: ListenerProtocol,
    /// The listener that counts it, by its place among the listeners of its process.
    pub(crate) listener: Option<usize>,
    output: MovedOutput,
    pub(crate) membership: Option<MovedMembership>,
    /// How many first lines a connection may still send that has not joined.
    login_attempts: Option<NonZeroU8>,
    line_decoder: LineDecoder,
    telnet: Option<Box<TelnetState>>,
    web: Option<Box<WebState>>,
    display: Option<Box<LineDisplay>>,
    held_input: Vec<u8>,
    delayed_line: Option<Box<DelayedLine>>,
    line_rate: RateLimiter,
    byte_rate: RateLimiter,
    partial_read_rate: RateLimiter,
    deadlines: Vec<(Deadline, Duration)>,
    input_closed: bool,
    lines_in: u64,
}

/// Counts a connection that is ending, until it has left its rooms.
#[derive(Debug)]
pub(super) struct LeavingCount(Arc<ServerContext>);

impl Drop for LeavingCount {
    fn drop(&mut self) {
        self.0.handover.leaving.fetch_sub(1, Ordering::Relaxed);
    }
}

impl HandoverGate {
    /// Notes whether a handover runs.
    pub(crate) fn set_active(&self, active: bool) {
        self.active.store(active, Ordering::Relaxed);
    }

    /// Returns whether a handover runs.
    pub(crate) fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    /// Makes all connections take a step when they look next.
    pub(crate) fn set_wanted(&self, step: HandoverStep) {
        self.wanted.store(step as u8, Ordering::Relaxed);
    }

    fn wanted(&self) -> HandoverStep {
        let steps = [HandoverStep::Stopping, HandoverStep::Copied, HandoverStep::HandedOver];
        let wanted = self.wanted.load(Ordering::Relaxed);
        steps.into_iter().find(|step| *step as u8 == wanted).unwrap_or_default()
    }

    /// Returns how many connections are stopped.
    pub(crate) fn stopped(&self) -> usize {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Returns how many connections are ending and may still send an operation to a room.
    pub(crate) fn leaving(&self) -> usize {
        self.leaving.load(Ordering::Relaxed)
    }

    /// Returns how many connections that could not be moved have told their peers so.
    pub(crate) fn ended(&self) -> usize {
        self.ended.load(Ordering::Relaxed)
    }

    /// Returns how many connections are copied.
    pub(crate) fn copied(&self) -> usize {
        self.copies.1.len()
    }

    /// Takes the copies.
    pub(crate) fn take_copies(&self) -> Vec<CopiedConnection> {
        self.copies.1.try_iter().collect()
    }

    fn add_copy(&self, copy: CopiedConnection) {
        // The gate has the receiver, so the queue takes it.
        let _ = self.copies.0.send(copy);
    }
}

impl Connection {
    /// Counts the connection as one that is ending.
    pub(super) fn begin_leaving(&mut self) -> LeavingCount {
        self.context.handover.leaving.fetch_add(1, Ordering::Relaxed);
        self.leave_handover();
        LeavingCount(Arc::clone(&self.context))
    }

    /// Takes no further part in a handover.
    pub(super) fn leave_handover(&mut self) {
        if std::mem::take(&mut self.handover) >= HandoverStep::Stopped {
            self.context.handover.stopped.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Returns whether the connection takes no input until the end of a handover.
    pub(super) fn is_in_handover(&self) -> bool {
        self.handover != HandoverStep::Running
    }

    /// Returns whether deadlines and the login's end wait for the end of a handover.
    pub(super) fn is_stopped(&self) -> bool {
        self.handover >= HandoverStep::Stopped
    }

    /// Returns whether the connection may write nothing, and does nothing but look at the handover.
    pub(super) fn is_copied(&self) -> bool {
        self.handover >= HandoverStep::Copied
    }

    /// Looks at the handover, and takes the step that it asks for.
    ///
    /// # Errors
    /// The reason for which the connection ends when it goes on after a handover that failed.
    pub(super) fn follow_handover(&mut self) -> Result<(), CloseReason> {
        match (self.context.handover.wanted(), self.handover) {
            (HandoverStep::Running, HandoverStep::Running) => {}
            (HandoverStep::Running, _) => return self.go_on(),
            (HandoverStep::Stopping, HandoverStep::Running) => self.handover = HandoverStep::Stopping,
            (HandoverStep::Copied, HandoverStep::Stopped) => self.copy(),
            (HandoverStep::HandedOver, HandoverStep::Copied) if self.transport.is_some() => self.end_handed_over(),
            _ => {}
        }
        Ok(())
    }

    /// Counts the connection as stopped, once no room owes it an answer.
    pub(super) fn check_stopped(&mut self) {
        let is_settled = matches!(self.state, ConnectionState::NotJoined | ConnectionState::Joined(_));
        if self.handover == HandoverStep::Stopping
            && is_settled
            && self.blocked_input.is_none()
            && self.pending_output.is_none()
        {
            self.handover = HandoverStep::Stopped;
            self.context.handover.stopped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Goes on after a handover that failed.
    fn go_on(&mut self) -> Result<(), CloseReason> {
        self.leave_handover();
        self.resume_output();
        self.resume_input()
    }

    /// Writes what waits, as after a pause of which the connection knows nothing.
    fn resume_output(&mut self) {
        self.begin_draining();
        self.drain_output();
        self.schedule_redraw();
    }

    /// Adds a copy of the connection to the handover. While another thread holds the write lock, looks again.
    fn copy(&mut self) {
        let copy = if self.transport.is_some() {
            Some(CopiedConnection::Unmovable(self.identity()))
        } else {
            self.export().map(|moved| CopiedConnection::Moved(Box::new(moved), Arc::clone(&self.peer)))
        };
        match copy {
            Some(copy) => {
                self.context.handover.add_copy(copy);
                self.handover = HandoverStep::Copied;
            }
            None => self.peer.raise(crate::peer::events::PeerEvents::OPERATOR_REQUEST, &mut MetricsDelta::default()),
        }
    }

    /// Returns the connection as another process continues it; `None` while another thread holds the write lock.
    fn export(&mut self) -> Option<MovedConnection> {
        if self.pending_output.is_some() {
            self.drain_output();
        }
        if self.pending_output.is_some() {
            return None;
        }
        let mut metrics = MetricsDelta::default();
        let output = self.peer.export_output(&mut metrics)?;
        self.context.registry.counters().add(&metrics);
        let membership = self.state.admitted_membership().map(|membership| MovedMembership {
            room: membership.room(),
            user: membership.user(),
            slot: membership.slot(),
        });
        Some(MovedConnection {
            id: self.peer.id(),
            address: self.address,
            protocol: self.protocol,
            listener: self.listener.map(ListenerNumber::index),
            output,
            membership,
            login_attempts: self.login.as_ref().map(|login| login.attempts()),
            line_decoder: self.line_decoder.clone(),
            telnet: self.telnet.clone(),
            web: self.web.clone(),
            display: self.display.clone(),
            held_input: self.held_input.as_deref().map_or_else(Vec::new, |held| held.to_vec()),
            delayed_line: self.delayed_line.clone(),
            line_rate: self.line_rate,
            byte_rate: self.byte_rate,
            partial_read_rate: self.partial_read_rate,
            deadlines: self.deadlines.export(),
            input_closed: self.input_closed,
            lines_in: self.lines_in,
        })
    }

    /// Tells a peer that can't be moved that the server is upgraded, and ends its output. The connection leaves no room here:
    /// its room is another process's by now.
    pub(super) fn end_handed_over(&mut self) {
        self.handover = HandoverStep::HandedOver;
        if self.web.as_ref().is_none_or(|web| web.is_open()) {
            self.send_notice(messages::UPGRADED);
        }
        // Both overtake lines that wait. A peer that reads slowly sees its stream cut, as it is, and not a whole one.
        if self.output_status == OutputStatus::Empty {
            self.end_frames(CloseCode::Restart);
        }
        if self.output_status == OutputStatus::Empty {
            self.end_transport();
        }
        self.context.handover.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns a connection that goes on with the state of another process.
    pub(crate) fn import(
        context: Arc<ServerContext>,
        moved: MovedConnection,
        socket: Socket,
        ticket: Arc<LoginTicket>,
    ) -> Box<Self> {
        context.unflushed_inputs.add();
        let MovedConnection { held_input, login_attempts, protocol, .. } = moved;
        let login = login_attempts.map(|attempts| Box::new(Login::with_attempts(ticket, attempts)));
        let connection = Box::new(Self {
            peer: Arc::new(Peer::import(moved.id, moved.output, socket)),
            transport: None,
            state: ConnectionState::NotJoined,
            line_decoder: moved.line_decoder,
            telnet: moved.telnet,
            web: moved.web,
            display: moved.display,
            held_input: (!held_input.is_empty()).then(|| Box::new(Bytes::from(held_input))),
            blocked_input: None,
            pending_output: None,
            delayed_line: moved.delayed_line,
            line_rate: moved.line_rate,
            byte_rate: moved.byte_rate,
            partial_read_rate: moved.partial_read_rate,
            slice: PollSlice::default(),
            charged_input: None,
            deadlines: Deadlines::import(&moved.deadlines),
            output_status: OutputStatus::Empty,
            unwritten: 0,
            input_closed: moved.input_closed,
            input_flush: InputFlush::default(),
            handover: HandoverStep::Running,
            lines_in: moved.lines_in,
            address: moved.address,
            protocol,
            listener: None,
            login,
            context,
        });
        connection.enter_directory();
        connection
    }

    /// Returns the output of the connection, as rooms know it.
    pub(crate) fn shared_peer(&self) -> Arc<Peer<dyn ByteSink>> {
        Arc::clone(&self.peer) as _
    }

    /// Gives a connection of another process its place in a room.
    pub(crate) fn import_membership(&mut self, membership: Membership) {
        self.state = ConnectionState::Joined(membership);
    }

    /// Serves the peer of a connection of another process, as [`Connection::serve`] does, without a welcome.
    pub(crate) async fn serve_on(self: Box<Self>) {
        self.serve_from(|connection| {
            connection.resume_output();
            connection.resume_input()
        })
        .await;
    }
}

/// Instants as the time from now on, since the clock of another process has another origin.
pub(super) mod time_left {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::time::{Duration, Instant};

    pub(crate) fn serialize<S: Serializer>(at: &Instant, serializer: S) -> Result<S::Ok, S::Error> {
        at.saturating_duration_since(Instant::now()).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Instant, D::Error> {
        Ok(Instant::now() + Duration::deserialize(deserializer)?.min(super::FAR))
    }
}

impl Deadlines {
    /// Returns the time until each deadline that is set.
    fn export(&self) -> Vec<(Deadline, Duration)> {
        Deadline::ALL.into_iter().filter_map(|kind| Some((kind, self.time_left(kind)?))).collect()
    }

    /// Returns deadlines that come so far from now.
    fn import(moved: &[(Deadline, Duration)]) -> Self {
        let (mut deadlines, now) = (Self::default(), Instant::now());
        for (kind, left) in moved {
            deadlines.set(*kind, now + (*left).min(FAR));
        }
        deadlines
    }
}
