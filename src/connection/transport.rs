//! The transport of a connection that is not plain: a codec, such as TLS, between the socket and everything else.
//!
//! The handshake is charged before it begins, to the server and to the address, and the welcome follows it.

use super::Connection;
use super::close_reason::CloseReason;
use super::lines::LineEncoder;
use super::timers::Deadline;
use crate::net::codec::{Codec, CodecError, Inbound, REFUSAL};
use crate::peer::OutputOp;
use crate::peer::route::Route;
use crate::text::messages;
use std::time::Instant;
use tracing::debug;

/// The units of a handshake in the budget of its address: 250 to 330 µs, and about 5 µs a unit.
const HANDSHAKE_UNITS: u32 = 60;

/// The codec of a connection, and whether its handshake is paid for.
pub(super) struct Transport {
    codec: Box<dyn Codec>,
    payment: HandshakePayment,
}

/// Whether the server's budget and the address have paid for a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HandshakePayment {
    /// Nothing was received.
    Due,
    /// The handshake is charged and waits for its turn. Holds the units that the address has paid.
    Delayed(u32),
    /// The handshake has begun.
    Done,
}

impl Transport {
    /// Returns the transport of a new connection.
    pub(super) fn new(codec: Box<dyn Codec>) -> Self {
        Self { codec, payment: HandshakePayment::Due }
    }

    /// Seals bytes for the wire; returns false if the transport takes nothing any more.
    pub(super) fn seal(&mut self, bytes: &[u8], wire: &mut Vec<u8>) -> bool {
        self.codec.encode(bytes, wire).is_ok()
    }

    /// Returns the bytes of memory that hold received input which is not complete.
    pub(super) fn held_bytes(&self) -> usize {
        self.codec.held_bytes()
    }

    /// Returns how many bytes the next read may take.
    pub(super) fn read_capacity(&self) -> usize {
        self.codec.read_capacity()
    }
}

impl Connection {
    /// Sends the welcome; with a transport that is not plain, waits for its handshake, after which the welcome is sent.
    pub(super) fn begin(&mut self) {
        if self.transport.is_some() {
            // No pass writes to this peer.
            self.add_output([OutputOp::Route(Route::Buffered)]);
        } else {
            self.greet();
        }
    }

    /// Returns whether lines can be sent: false before the end of a handshake.
    fn is_open(&self) -> bool {
        self.transport.as_ref().is_none_or(|transport| transport.codec.is_open())
    }

    /// Charges the handshake before the first byte of it is read. Returns true if it has to wait for its turn: input is
    /// paused then.
    ///
    /// # Errors
    /// [`CloseReason::TooManyHandshakes`] if its turn would come too late.
    pub(super) fn delay_handshake(&mut self) -> Result<bool, CloseReason> {
        match self.transport.as_ref().map(|transport| transport.payment) {
            None | Some(HandshakePayment::Done) => return Ok(false),
            Some(HandshakePayment::Delayed(_)) => {
                self.set_payment(HandshakePayment::Done);
                return Ok(false);
            }
            Some(HandshakePayment::Due) => {}
        }
        let now = Instant::now();
        let server_allows_at = self.context.handshakes.spend(now).ok_or(CloseReason::TooManyHandshakes)?;
        let units = if self.has_no_line_limit() { 0 } else { HANDSHAKE_UNITS };
        let address_allows_at = match units {
            0 => now,
            units => self.peer.sink().address_budget().spend_command(units, now),
        };
        let allowed_at = server_allows_at.max(address_allows_at);
        if allowed_at <= now {
            self.set_payment(HandshakePayment::Done);
            return Ok(false);
        }
        self.set_payment(HandshakePayment::Delayed(units));
        self.deadlines.extend(Deadline::RateLimit, allowed_at.into());
        Ok(true)
    }

    /// Returns whether a handshake has not been paid for, so that no byte of it may be read.
    pub(super) fn has_unpaid_handshake(&self) -> bool {
        self.transport.as_ref().is_some_and(|transport| transport.payment != HandshakePayment::Done)
    }

    /// Gives back what was paid for a handshake that has not begun: a connection that ends must not leave a debt.
    pub(super) fn cancel_handshake(&mut self) {
        if let Some(Transport { payment: HandshakePayment::Delayed(units), .. }) = self.transport.as_deref() {
            let now = Instant::now();
            self.context.handshakes.refund(now);
            self.peer.sink().address_budget().refund_command(*units, now);
            self.set_payment(HandshakePayment::Done);
        }
    }

    fn set_payment(&mut self, payment: HandshakePayment) {
        if let Some(transport) = &mut self.transport {
            transport.payment = payment;
        }
    }

    /// Decodes received bytes into `plain`, sends the reply of the transport, and processes what was decoded.
    pub(super) fn process_sealed(
        &mut self,
        wire: &mut [u8],
        plain: &mut Vec<u8>,
        lines: &mut LineEncoder,
    ) -> Result<(), CloseReason> {
        plain.clear();
        let Some(transport) = &mut self.transport else {
            return Ok(());
        };
        let (was_open, mut reply) = (transport.codec.is_open(), Vec::new());
        let decoded = transport.codec.decode(wire, plain, &mut reply);
        let is_open = transport.codec.is_open();
        self.slice.charge_bytes(wire.len());
        if !reply.is_empty() {
            self.add_output([OutputOp::Sealed(reply)]);
        }
        if is_open && !was_open {
            debug!(address = %self.address, "TLS handshake completed");
            self.greet();
        }
        if !plain.is_empty() {
            self.process_plain(plain, lines)?;
        }
        match decoded {
            Ok(Inbound::Open) => Ok(()),
            Ok(Inbound::Ended) => {
                self.input_closed = true;
                if self.held_input.is_none() { self.end_of_input(lines) } else { Ok(()) }
            }
            Err(error) => Err(CloseReason::Transport(error)),
        }
    }

    /// Tells the peer the reason of its close, as far as it can be told: before the end of a handshake a peer gets an alert,
    /// and one that speaks plain text gets plain text.
    pub(super) fn send_close_reason(&mut self, reason: CloseReason, told: Option<String>, has_joined: bool) {
        match reason {
            CloseReason::Idle => self.send_notice(messages::IDLE),
            CloseReason::TooManyHandshakes => self.add_output([OutputOp::Sealed(REFUSAL.to_vec())]),
            CloseReason::Transport(CodecError::NotTls) => {
                let lines = messages::error_lines(&messages::NOT_TLS);
                self.add_output([OutputOp::Sealed(lines.into_bytes())]);
            }
            _ => {
                if let Some(error) = told.or_else(|| reason.to_peer(has_joined)).filter(|_| self.is_open()) {
                    self.send_notice(&messages::error_lines(&error));
                }
            }
        }
    }

    /// Ends the output of a transport that is not plain, after all output that waited; returns false if nothing is to be
    /// sent for that.
    pub(super) fn end_transport(&mut self) -> bool {
        let Some(transport) = &mut self.transport else {
            return false;
        };
        let mut wire = Vec::new();
        transport.codec.close(&mut wire);
        if wire.is_empty() {
            return false;
        }
        self.add_output([OutputOp::Sealed(wire)]);
        true
    }
}
