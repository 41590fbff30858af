//! The transport of a connection that is not plain: a codec, such as TLS, between the socket and everything else.
//!
//! The handshake is charged before it begins, to the server and to the address, and the welcome follows it.

use super::Connection;
use super::close_reason::CloseReason;
use super::lines::LineEncoder;
use super::poll_slice::SYSTEM_CALL_WORK;
use super::timers::Deadline;
use crate::net::codec::{Codec, CodecError, Decoded, Inbound, REFUSAL, may_be_tls};
use crate::peer::OutputOp;
use crate::peer::route::Route;
use crate::text::messages;
use std::io;
use std::time::Instant;
use tracing::debug;

/// The units of a poll's slice for a unit of a handshake: 5 µs and a quarter of a microsecond.
const SLICE_UNITS: u32 = 20;

/// The units of a poll's slice for a record, beside those of its bytes: about 1 µs.
const RECORD_WORK: u32 = 4;

/// The further units for a record without content: a key update derives keys, and may have to be answered.
const EMPTY_RECORD_WORK: u32 = 28;

/// The codec of a connection, and whether its handshake is paid for.
pub(super) struct Transport {
    codec: Box<dyn Codec>,
    payment: HandshakePayment,
    /// Whether received records wait in the codec.
    is_waiting: bool,
}

/// The payment for a handshake: its address pays first, and then the server. An address in debt takes no turn of the server's,
/// which others use meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HandshakePayment {
    /// Nothing was received.
    Due,
    /// The address has paid these units, and may have to wait for the time from which they are allowed.
    ByAddress(u32),
    /// The server has paid, too, and the handshake waits for its turn. Holds the units that the address has paid.
    ByServer(u32),
    /// The handshake has begun.
    Done,
}

impl Transport {
    /// Returns the transport of a new connection.
    pub(super) fn new(codec: Box<dyn Codec>) -> Self {
        Self { codec, payment: HandshakePayment::Due, is_waiting: false }
    }

    /// Seals bytes for the wire; returns false if the transport takes nothing any more.
    pub(super) fn seal(&mut self, bytes: &[u8], wire: &mut Vec<u8>) -> bool {
        self.codec.encode(bytes, wire).is_ok()
    }

    /// Returns whether the handshake is complete.
    pub(super) fn is_open(&self) -> bool {
        self.codec.is_open()
    }

    /// Returns the bytes of memory that hold received input which is not decoded.
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
        if self.web.is_some() {
            // The handshake of WebSocket comes first.
            self.add_output([OutputOp::Route(self.web_route(false))]);
        } else if self.transport.is_some() {
            // No pass writes to this peer.
            self.add_output([OutputOp::Route(Route::Buffered)]);
        } else {
            self.greet();
        }
    }

    /// Returns whether lines can be sent: false before the end of a handshake.
    fn is_open(&self) -> bool {
        self.transport.as_ref().is_none_or(|transport| transport.is_open())
            && self.web.as_ref().is_none_or(|web| web.is_open())
    }

    /// Charges the handshake before the first byte of it is read. Returns true if it has to wait for its turn: input is
    /// paused then, or nothing was received. A client that does not begin one is not charged, and does not wait.
    ///
    /// # Errors
    /// [`CloseReason::TooManyHandshakes`] if its turn would come too late.
    pub(super) fn delay_handshake(&mut self) -> Result<bool, CloseReason> {
        let Some((payment, units)) = self.transport.as_ref().map(|to| (to.payment, to.codec.handshake_units())) else {
            return Ok(false);
        };
        let now = Instant::now();
        let (address_units, address_allows_at) = match payment {
            HandshakePayment::Done => return Ok(false),
            HandshakePayment::ByServer(_) => {
                self.set_payment(HandshakePayment::Done);
                return Ok(false);
            }
            HandshakePayment::ByAddress(units) => (units, now),
            HandshakePayment::Due => match self.peek_input() {
                Ok(Some(first)) if may_be_tls(first) => self.charge_handshake_to_address(units, now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                // The read finds the end, the error or the other protocol.
                _ => return Ok(false),
            },
        };
        self.set_payment(HandshakePayment::ByAddress(address_units));
        if address_allows_at > now {
            self.deadlines.extend(Deadline::RateLimit, address_allows_at.into());
            return Ok(true);
        }
        let server_allows_at = self.context.handshakes.spend(units, now).ok_or(CloseReason::TooManyHandshakes)?;
        if server_allows_at > now {
            self.set_payment(HandshakePayment::ByServer(address_units));
            self.deadlines.extend(Deadline::RateLimit, server_allows_at.into());
            return Ok(true);
        }
        self.set_payment(HandshakePayment::Done);
        Ok(false)
    }

    /// Returns the first byte of the input, which the next read finds again.
    fn peek_input(&mut self) -> io::Result<Option<u8>> {
        self.slice.charge(SYSTEM_CALL_WORK);
        self.peer.sink().peek_received()
    }

    /// Charges a handshake to the address; returns the units that it has paid, and the time from which they are allowed.
    fn charge_handshake_to_address(&self, units: u32, now: Instant) -> (u32, Instant) {
        if self.has_no_line_limit() {
            return (0, now);
        }
        (units, self.peer.sink().address_budget().spend_command(units, now))
    }

    /// Returns whether a handshake has not been paid for, so that no byte of it may be read.
    pub(super) fn has_unpaid_handshake(&self) -> bool {
        self.transport.as_ref().is_some_and(|transport| transport.payment != HandshakePayment::Done)
    }

    /// Gives back what was paid for a handshake that has not begun: a connection that ends must not leave a debt.
    pub(super) fn cancel_handshake(&mut self) {
        let Some(transport) = &mut self.transport else {
            return;
        };
        let (now, units) = (Instant::now(), transport.codec.handshake_units());
        match std::mem::replace(&mut transport.payment, HandshakePayment::Done) {
            HandshakePayment::ByAddress(paid) => self.peer.sink().address_budget().refund_command(paid, now),
            HandshakePayment::ByServer(paid) => {
                self.context.handshakes.refund(units, now);
                self.peer.sink().address_budget().refund_command(paid, now);
            }
            HandshakePayment::Due | HandshakePayment::Done => {}
        }
    }

    fn set_payment(&mut self, payment: HandshakePayment) {
        if let Some(transport) = &mut self.transport {
            transport.payment = payment;
        }
    }

    /// Returns whether received records wait in the codec: no more is read before they are decoded.
    pub(super) fn has_waiting_records(&self) -> bool {
        self.transport.as_ref().is_some_and(|transport| transport.is_waiting)
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
        transport.is_waiting = decoded.is_ok_and(|decoded| decoded.inbound == Inbound::Waiting);
        if !was_open && !reply.is_empty() {
            // Each part of a handshake that costs time is followed by a reply.
            self.slice.charge_prepaid(transport.codec.handshake_units().saturating_mul(SLICE_UNITS));
        }
        self.slice.charge_bytes(wire.len());
        if let Ok(decoded) = decoded {
            self.charge_records(decoded, was_open);
        }
        if !reply.is_empty() {
            self.add_output([OutputOp::Sealed(reply)]);
        }
        if is_open && !was_open {
            debug!(address = %self.address, "TLS handshake completed");
            if self.web.is_none() {
                self.greet();
            }
        }
        if !plain.is_empty() {
            self.process_plain(plain, lines)?;
        }
        match decoded.map(|decoded| decoded.inbound) {
            Ok(Inbound::Open | Inbound::Waiting) => Ok(()),
            Ok(Inbound::Ended) => {
                self.input_closed = true;
                if self.held_input.is_none() { self.end_of_input(lines) } else { Ok(()) }
            }
            Err(error) => Err(CloseReason::Transport(error)),
        }
    }

    /// Charges decoded records to the slice of the poll, and those without content to the rate of reads without a line's
    /// end: their bytes are few, and their lines none. The records of the handshake are part of its units.
    fn charge_records(&mut self, Decoded { records, empty_records, .. }: Decoded, was_open: bool) {
        self.slice.charge(records.saturating_mul(RECORD_WORK));
        if was_open && empty_records > 0 {
            self.slice.charge(empty_records.saturating_mul(EMPTY_RECORD_WORK));
            self.charge_partial_reads(empty_records);
        }
    }

    /// Drops an unfinished line at an end of the socket that the transport has not announced: an attacker on the network may
    /// have cut it (RFC 8446, section 6.1).
    pub(super) fn drop_truncated_line(&mut self) {
        if self.transport.is_none() {
            return;
        }
        let telnet_rest = self.telnet.as_mut().and_then(|telnet| telnet.decoder.finish());
        if self.line_decoder.finish().is_some() || telnet_rest.is_some() {
            debug!(address = %self.address, "TLS ended without close_notify: the unfinished line is dropped");
        }
    }

    /// Tells the peer the reason of its close, as far as it can be told: before the end of a handshake a peer gets an alert,
    /// and one that speaks plain text gets plain text.
    pub(super) fn send_close_reason(&mut self, reason: CloseReason, told: Option<String>, has_joined: bool) {
        match reason {
            CloseReason::Idle if self.is_open() => self.send_notice(messages::IDLE),
            CloseReason::TooManyHandshakes => self.add_output([OutputOp::Sealed(REFUSAL.to_vec())]),
            CloseReason::Transport(CodecError::NotTls) => {
                let lines = messages::error_lines(&messages::NOT_TLS);
                self.add_output([OutputOp::Sealed(lines.into_bytes())]);
            }
            _ => {
                let Some(error) = told.or_else(|| reason.to_peer(has_joined)) else {
                    return;
                };
                if self.is_open() {
                    self.send_notice(&messages::error_lines(&error));
                } else {
                    self.send_web_refusal(reason, &error);
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
