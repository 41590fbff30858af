//! Operators' requests to one connection, and how the connection's task follows them.

use super::Connection;
use super::close_reason::CloseReason;
use super::lines::LineEncoder;
use super::poll_slice::COMMAND_WORK;
use super::timers::Deadline;
use crate::metrics::counters::MetricsDelta;
use crate::protocol::commands::{Command, CommandError, ParsedLine};
use crate::text::names::{RoomName, UserName};
use crate::text::replies;
use std::mem;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// The time of a mute without an end: longer than a connection lasts.
const UNTIL_CLOSED: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The requests of operators to a connection.
#[derive(Debug, Default)]
pub(super) struct OperatorRequests {
    /// Why the connection is to be closed.
    pub(super) close: Option<CloseRequest>,
    pub(super) mute: Option<MuteRequest>,
    /// Where the figures of the connection go.
    reports: Vec<oneshot::Sender<ConnectionReport>>,
}

/// A close that operators ask for.
#[derive(Clone, Debug)]
pub(super) struct CloseRequest {
    /// The reason for the log.
    pub(super) reason: CloseReason,
    /// The line that the peer is told after `ERROR`.
    pub(super) told: String,
}

/// A change of a connection's mute.
#[derive(Clone, Copy, Debug)]
pub(super) enum MuteRequest {
    /// Mutes for this time, or until the connection closes.
    Mute(Option<Duration>),
    Unmute,
}

/// The figures of a connection, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionReport {
    /// Where the peer connects from, as the log shows it.
    pub(crate) address: String,
    /// The room and the name that the peer has, or has asked for.
    pub(crate) identity: Option<(RoomName, UserName)>,
    /// Lines that the peer sent.
    pub(crate) lines_in: u64,
    /// Bytes that wait until the peer reads; `None` while another thread writes to it.
    pub(crate) backlog: Option<usize>,
    /// The time since the peer last sent something, less the time that its rate takes for what it sent.
    pub(crate) idle: Duration,
    pub(crate) muted: bool,
}

impl OperatorRequests {
    /// Adds a request for the figures, and drops those for which no operator waits any more.
    pub(super) fn add_report(&mut self, sender: oneshot::Sender<ConnectionReport>) {
        self.reports.retain(|waiting| !waiting.is_closed());
        self.reports.push(sender);
    }

    /// Takes the requests, of which the one to close stays, too.
    pub(super) fn take_all_but_close(&mut self) -> Self {
        let kept = Self { close: self.close.clone(), ..Self::default() };
        mem::replace(self, kept)
    }
}

impl Connection {
    /// Does what operators want of the connection.
    ///
    /// # Errors
    /// The reason for which they close it.
    pub(super) fn handle_operator_requests(&mut self) -> Result<(), CloseReason> {
        let OperatorRequests { close, mute, reports } = self.take_operator_requests();
        match mute {
            Some(MuteRequest::Mute(time)) => {
                self.deadlines.set(Deadline::Mute, Instant::now() + time.unwrap_or(UNTIL_CLOSED));
            }
            Some(MuteRequest::Unmute) => self.deadlines.clear(Deadline::Mute),
            None => {}
        }
        for sender in reports {
            // An operator that waits no longer needs no report.
            let _ = sender.send(self.report());
        }
        close.map_or(Ok(()), |close| Err(close.reason))
    }

    fn report(&self) -> ConnectionReport {
        // The look at the output may deliver lines that waited for the lock.
        let mut metrics = MetricsDelta::default();
        let backlog = self.peer.waiting_bytes(&mut metrics);
        self.context.registry.counters().add(&metrics);
        ConnectionReport {
            address: self.address.to_string(),
            identity: self.identity(),
            lines_in: self.lines_in,
            backlog,
            idle: self.byte_rate.unused_for(Instant::now().into_std()),
            muted: self.is_muted(),
        }
    }

    /// Returns whether operators have muted the peer.
    pub(super) fn is_muted(&self) -> bool {
        self.deadlines.is_set(Deadline::Mute)
    }

    /// Handles a line of a muted peer: nothing that its room would see of it is sent, and the peer is told so.
    pub(super) fn handle_muted_line(
        &mut self,
        parsed: Result<ParsedLine<'_>, CommandError<'_>>,
        lines: &mut LineEncoder,
    ) -> Result<(), CloseReason> {
        match parsed {
            // The text would be a line of the room.
            Ok(ParsedLine::Command(Command::Quit(_))) => self.run_command(Command::Quit(None), lines),
            Ok(ParsedLine::Command(command)) if !is_seen_by_others(&command) => self.run_command(command, lines),
            Ok(_) => {
                self.slice.charge(COMMAND_WORK);
                let left = self.deadlines.time_left(Deadline::Mute).filter(|left| *left < UNTIL_CLOSED / 2);
                self.reply_with(|out| replies::push_muted(out, left));
                Ok(())
            }
            Err(error) => {
                self.reply_line(&error);
                Ok(())
            }
        }
    }
}

/// Returns whether a command shows other members a text or a name that the peer chose.
fn is_seen_by_others(command: &Command<'_>) -> bool {
    matches!(
        command,
        Command::Me(_)
            | Command::Msg { .. }
            | Command::Reply(_)
            | Command::Nick(_)
            | Command::Join { user: Some(_), .. }
    )
}
