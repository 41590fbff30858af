//! The close of a connection: it delivers the lines that it took, leaves its room, and tells its peer the reason.

use super::close_reason::CloseReason;
use super::event_loop::Event;
use super::handover::LeavingCount;
use super::state::ConnectionState;
use super::timers::Deadline;
use super::{Connection, OutputStatus};
use crate::metrics::counters::MetricsDelta;
use crate::metrics::reasons::CloseKind;
use crate::net::{PeerAddress, linger_close};
use crate::peer::PeerId;
use crate::peer::events::{MembershipSlot, PeerEvents};
use crate::text::names::{RoomName, UserName};
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, error, info};

/// How long a peer that is closed may take no byte of its output buffer.
const FLUSH_STALL: Duration = Duration::from_secs(2);

/// How long a peer that is closed may take for its whole output buffer.
const FLUSH_TOTAL: Duration = Duration::from_secs(30);

/// How a connection went, for the log.
struct ConnectionSummary {
    reason: String,
    identity: Option<(RoomName, UserName)>,
    lines_in: u64,
    lines_out: u64,
    /// Lines that the server received and dropped, without the commands that have no effect after a reset.
    lines_dropped: u64,
}

impl ConnectionSummary {
    /// Returns the summary of a connection that a panic ended.
    fn after_panic(identity: Option<(RoomName, UserName)>, lines_in: u64, lines_out: u64) -> Self {
        Self { reason: "panic".to_owned(), identity, lines_in, lines_out, lines_dropped: 0 }
    }

    /// Writes the connection's last record to the log. Names are printable ASCII without blanks: they can't forge one.
    fn log(&self, connection: PeerId, address: PeerAddress) {
        let room = self.identity.as_ref().map(|(room, _)| room.as_str());
        let name = self.identity.as_ref().map(|(_, name)| name.as_str());
        let Self { reason, lines_in, lines_out, .. } = self;
        if address.is_proxy() && *lines_in == 0 {
            debug!(connection = connection.0, %address, reason, "closed by a proxy");
            return;
        }
        let lines_dropped = Some(self.lines_dropped).filter(|lines| *lines > 0);
        info!(connection = connection.0, %address, room, name, reason, lines_in, lines_out, lines_dropped, "closed");
    }
}

impl Connection {
    /// Returns the room and the name that the peer has, or has asked for.
    pub(super) fn identity(&self) -> Option<(RoomName, UserName)> {
        self.state.membership().map(|membership| (membership.room(), membership.user()))
    }

    /// Leaves the room, sends the close reason, flushes the output buffer, closes the socket and logs how
    /// the connection went. The waits in it are cut when the time for the server's graceful end is over.
    pub(super) async fn close(&mut self, reason: CloseReason) {
        let identity = self.identity();
        // Lines after `/quit` were not meant for the room.
        let lines_dropped = if reason == CloseReason::Quit { 0 } else { self.count_unprocessed_lines() };
        let abort = self.context.abort.clone();
        let leaving = self.begin_leaving();
        // An operator's request may have come while the connection ended for another reason.
        let told = self.leave_directory().filter(|request| request.reason == reason).map(|request| request.told);
        let closing = self.close_gracefully(reason, told, leaving);
        let lines_out = if let Some(lines_out) = abort.run_until_cancelled(closing).await {
            lines_out
        } else {
            self.close_output().await
        };
        self.count_close(reason.kind());
        let (reason, lines_in) = (reason.to_string(), self.lines_in);
        ConnectionSummary { reason, identity, lines_in, lines_out, lines_dropped }.log(self.peer.id(), self.address);
    }

    /// Logs a panic of this connection. The drop of its state, which follows, leaves its rooms.
    pub(super) fn release_after_panic(&mut self, cause: &str) {
        let connection = self.peer.id();
        error!(connection = connection.0, address = %self.address, cause, "a connection panicked: this is a bug");
        let lines_out = self.try_close_output().unwrap_or_default();
        self.count_close(CloseKind::Panic);
        ConnectionSummary::after_panic(self.identity(), self.lines_in, lines_out).log(connection, self.address);
    }

    /// Counts the end of the connection, which its listener counts no longer.
    fn count_close(&mut self, kind: CloseKind) {
        self.context.registry.counters().count_close(kind);
        if let Some(listener) = self.listener.take() {
            self.context.listener_counts.remove(listener);
        }
    }

    /// `told` is the line after `ERROR` if it is not that of the reason itself.
    async fn close_gracefully(&mut self, reason: CloseReason, told: Option<String>, leaving: LeavingCount) -> u64 {
        let has_joined = self.state.admitted_membership().is_some();
        let is_lost = matches!(reason, CloseReason::Lost(_));
        // The place of a connection that makes way is wanted at once.
        let peer_may_send = !self.input_closed && !is_lost && reason != CloseReason::MadeWay;
        self.input_closed = true;
        self.cancel_delayed_line();
        self.cancel_handshake();
        self.ignore_shutdown();
        for deadline in [
            Deadline::Login,
            Deadline::RateLimit,
            Deadline::AddressBudget,
            Deadline::ReadGrace,
            Deadline::Idle,
            Deadline::Ping,
            Deadline::Mute,
        ] {
            self.deadlines.clear(deadline);
        }
        self.end_encoding_delay();
        if is_lost {
            self.close_output().await;
        }
        self.leave_rooms().await;
        drop(leaving);
        self.close_input_line();
        self.send_close_reason(reason, told, has_joined);
        let start = Instant::now();
        self.flush_output(reason == CloseReason::Shutdown, start).await;
        if self.output_status == OutputStatus::Empty && self.end_frames(reason.close_code()) {
            self.flush_output(reason == CloseReason::Shutdown, start).await;
        }
        if self.output_status == OutputStatus::Empty && self.end_transport() {
            self.flush_output(reason == CloseReason::Shutdown, start).await;
        }
        let lines_out = self.close_output().await;
        linger_close(self.peer.sink(), peer_may_send).await;
        lines_out
    }

    /// Leaves all rooms, after the last line that was taken from the peer; waits until they have sent their last
    /// line to it, so that the peer gets all that was said until then before it is told why.
    async fn leave_rooms(&mut self) {
        self.state.begin_leaving();
        self.end_input_flush();
        while matches!(self.state, ConnectionState::Leaving(_)) {
            match self.next_event().await {
                Event::Raised(events) => self.handle_events_while_leaving(events),
                Event::Writable => {
                    self.drain_output();
                }
                Event::Deadline(_) | Event::Shutdown | Event::Readable => {}
            }
        }
    }

    fn handle_events_while_leaving(&mut self, events: PeerEvents) {
        if events.contains(PeerEvents::OUTPUT_BLOCKED) {
            self.output_status = OutputStatus::Waiting;
        }
        for slot in MembershipSlot::ALL {
            self.handle_room_events(slot, events.of_slot(slot));
        }
    }

    /// Writes the output buffer until it is empty, the peer takes nothing, or the time from `start` on is up. At shutdown
    /// the server's own deadline is the only one: it cuts this short.
    async fn flush_output(&mut self, at_shutdown: bool, start: Instant) {
        let mut progress = true;
        while self.output_status != OutputStatus::Empty {
            if progress && !at_shutdown {
                let deadline = (Instant::now() + FLUSH_STALL).min(start + FLUSH_TOTAL);
                self.deadlines.set(Deadline::Flush, deadline);
            }
            progress = match self.next_event().await {
                Event::Writable => self.drain_output(),
                Event::Deadline(Deadline::Flush) => return,
                _ => false,
            };
        }
    }

    /// Ends the output buffer; returns how many lines the peer got.
    async fn close_output(&mut self) -> u64 {
        loop {
            if let Some(lines_out) = self.try_close_output() {
                return lines_out;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Ends the output buffer; returns how many lines the peer got, `None` while another thread holds the write lock.
    pub(super) fn try_close_output(&self) -> Option<u64> {
        let mut metrics = MetricsDelta::default();
        self.peer.close(&mut metrics)
    }
}
