//! Login: what a connection is told first, its JOIN line, and what it is told as a new member.

use super::Connection;
use super::close_reason::CloseReason;
use super::delayed_line::Payment;
use super::timers::Deadline;
use crate::limits::login_queue::LoginTicket;
use crate::net::ListenerProtocol;
use crate::peer::Peer;
use crate::peer::byte_sink::ByteSink;
use crate::peer::events::MembershipSlot;
use crate::protocol::commands::{self, Command, ParsedLine};
use crate::protocol::join::{JoinError, JoinRequest, parse_join};
use crate::room::operation::MemberListing;
use crate::text::messages;
use crate::text::sanitize::sanitize;
use std::num::NonZeroU8;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio_util::sync::WaitForCancellationFutureOwned;

/// How many first lines a person may try on a telnet listener.
const TELNET_ATTEMPTS: NonZeroU8 = NonZeroU8::MIN.saturating_add(2);

/// The login of a connection that no room has admitted yet.
pub(super) struct Login {
    /// The entry in the queue of connections that have not joined.
    ticket: Arc<LoginTicket>,
    /// Completes when the server begins to end, or when the connection has to make way for another one; `None` after the
    /// JOIN line: from then on the room's SHUTDOWN event replaces it.
    end: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// How many first lines the connection may still send.
    attempts: NonZeroU8,
}

/// Returns the attempts of a new connection: programs compare the first line after a wrong JOIN line, so a plain
/// listener allows one.
fn login_attempts(protocol: ListenerProtocol) -> NonZeroU8 {
    match protocol {
        ListenerProtocol::Raw | ListenerProtocol::Tls | ListenerProtocol::Web | ListenerProtocol::WebTls => {
            NonZeroU8::MIN
        }
        ListenerProtocol::Telnet => TELNET_ATTEMPTS,
    }
}

impl Login {
    /// Returns the login of a new connection.
    pub(super) fn new(ticket: Arc<LoginTicket>, protocol: ListenerProtocol) -> Self {
        Self::with_attempts(ticket, login_attempts(protocol))
    }

    /// Returns the login of a connection that has so many first lines left.
    pub(super) fn with_attempts(ticket: Arc<LoginTicket>, attempts: NonZeroU8) -> Self {
        Self { end: Some(Box::pin(ticket.ended())), attempts, ticket }
    }

    /// Returns how many first lines the connection may still send.
    pub(super) fn attempts(&self) -> NonZeroU8 {
        self.attempts
    }

    /// Returns whether the connection has to make way for another one.
    pub(super) fn makes_way(&self) -> bool {
        self.ticket.makes_way()
    }

    /// Waits until the server begins to end, or until the connection has to make way. Completes once.
    pub(super) fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(end) = &mut self.end else {
            return Poll::Pending;
        };
        ready!(end.as_mut().poll(context));
        self.end = None;
        Poll::Ready(())
    }
}

impl Connection {
    /// Sends the welcome, after the negotiation on a telnet listener.
    pub(super) fn greet(&mut self) {
        if self.protocol == ListenerProtocol::Telnet {
            self.peer.end_lines_in_cr_lf();
            self.request_input_line();
        }
        self.send_notice(messages::WELCOME);
    }

    /// Asks for the room of a JOIN line, or refuses the line.
    pub(super) fn handle_first_line(&mut self, line: &[u8], payment: Payment) -> Result<(), CloseReason> {
        match parse_join(line) {
            Ok(request) => {
                if payment == Payment::Due && self.delay_join(line)? {
                    return Ok(());
                }
                self.join(request)
            }
            Err(_) if self.is_quit(line) => Err(CloseReason::Quit),
            Err(error) => self.refuse_login(CloseReason::BadJoin(error)),
        }
    }

    /// Returns whether a first line is a person's `/quit`. A plain listener has no command before the JOIN line.
    fn is_quit(&self, line: &[u8]) -> bool {
        self.protocol == ListenerProtocol::Telnet
            && matches!(commands::parse(&sanitize(line)), Ok(ParsedLine::Command(Command::Quit(_))))
    }

    fn join(&mut self, JoinRequest { room, user }: JoinRequest) -> Result<(), CloseReason> {
        if self.login.as_ref().is_some_and(|login| !login.ticket.begin_joining()) {
            return Err(CloseReason::MadeWay);
        }
        // From now on the room tells when the server ends.
        self.ignore_shutdown();
        let peer: Arc<Peer<dyn ByteSink>> = Arc::clone(&self.peer) as _;
        let membership = self.context.registry.join(room, user, peer, MembershipSlot::A);
        self.state.begin_joining(membership.map_err(CloseReason::from)?);
        Ok(())
    }

    /// Waits no longer for the beginning of the server's end, nor for the call to make way.
    pub(super) fn ignore_shutdown(&mut self) {
        if let Some(login) = &mut self.login {
            login.end = None;
        }
    }

    /// Tells the peer why its first line is refused, and lets it try again if it has attempts left. The time for the
    /// login goes on.
    ///
    /// # Errors
    /// The reason, after the last attempt or for a client of another protocol.
    pub(super) fn refuse_login(&mut self, reason: CloseReason) -> Result<(), CloseReason> {
        let is_other_protocol =
            matches!(reason, CloseReason::BadJoin(JoinError::Http | JoinError::Tls | JoinError::Ssh));
        let left = self.login.as_ref().and_then(|login| NonZeroU8::new(login.attempts.get() - 1));
        let (Some(left), false, Some(error)) = (left, is_other_protocol, reason.to_peer(false)) else {
            return Err(reason);
        };
        if !self.deadlines.is_set(Deadline::Login) && !self.context.live.get().login_timeout.is_zero() {
            // The time was over while the room decided.
            return Err(reason);
        }
        self.state.return_to_login();
        if let Some(login) = &mut self.login {
            login.attempts = left;
            login.ticket.return_to_login();
            login.end = Some(Box::pin(login.ticket.ended()));
        }
        let noun = if left.get() == 1 { "try is" } else { "tries are" };
        self.reply_line(&format_args!("{error} ({left} more {noun} left)"));
        Ok(())
    }

    /// Ends the login of a peer that a room has admitted: the message of the day, and a hint for people.
    pub(super) fn complete_login(&mut self) {
        if self.login.take().is_none() {
            return;
        }
        self.deadlines.clear(Deadline::Login);
        self.deadlines.set_after(Deadline::Idle, self.context.live.get().idle_timeout);
        if let Some(motd) = self.context.live.motd() {
            self.reply(motd.as_str().into());
        }
        if self.protocol == ListenerProtocol::Telnet && self.context.live.commands() {
            self.request(|membership| membership.request_members(MemberListing::JoinHint));
        }
    }
}
