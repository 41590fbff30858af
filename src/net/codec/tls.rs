//! TLS of one peer: rustls as a codec without I/O, and without buffers at rest.
//!
//! The unbuffered interface of rustls is used here and in no other file. A quiet peer keeps the state of its connection
//! and no buffer: received bytes are decrypted where they were read, and only those of an unfinished record are kept.

use super::{Codec, CodecError, Decoded, Inbound};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic};
use rustls::{Error, ServerConfig};
use std::mem;
use std::sync::Arc;

/// The longest record of TLS 1.2, which is longer than that of TLS 1.3, in bytes: a header, 2^14 bytes of content and
/// 2,048 bytes of expansion (RFC 5246, section 6.2.3). No handshake message of a client may be longer, either.
const MAX_RECORD: usize = 5 + (16 << 10) + (2 << 10);

/// The alert record that refuses a peer before its handshake: fatal, internal error (RFC 8446, section 6).
pub(crate) const REFUSAL: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];

/// The alert record for a first message that rustls refuses without one: fatal, decode error.
const DECODE_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 50];

/// The content type of a handshake record, with which a client begins (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// The bytes that a record adds to its content at the most, rounded up.
const RECORD_OVERHEAD: usize = 64;

/// The most records that one call decodes. A key update takes some microseconds and 22 bytes, so a read may hold 700.
const RECORDS_PER_CALL: u32 = 32;

/// The bytes before the content of a record: type, version and length (RFC 8446, section 5.1).
const RECORD_HEADER: usize = 5;

/// The server's side of one TLS connection.
pub(crate) struct TlsCodec {
    connection: UnbufferedServerConnection,
    /// The units of the handshake in the budgets of the server and of the address.
    handshake_units: u32,
    /// Received bytes of records, or of a handshake message, that are not complete or not decoded yet. Without capacity
    /// while there are none.
    partial: Vec<u8>,
    /// How many bytes of `partial` are whole records that rustls has seen, and keeps until their message is complete.
    seen: usize,
    /// Whether `partial` has records that rustls has not seen.
    is_waiting: bool,
    /// Whether a byte was received.
    has_begun: bool,
    /// Whether the peer has broken the protocol: rustls is asked for nothing any more.
    has_failed: bool,
}

/// How one step of the state machine of rustls ends.
enum Step {
    /// The next step follows.
    Continue,
    /// The input is used up, as far as it is complete.
    Done(Inbound),
}

/// The part of received bytes that one call decodes.
struct Section {
    /// Where it ends: after the most records that a call decodes, or with the bytes.
    end: usize,
    /// Where its last whole record ends.
    whole_end: usize,
    /// The whole records in it.
    records: u32,
}

impl Section {
    /// Returns the section of `bytes` whose records begin at `start`.
    fn after(start: usize, bytes: &[u8]) -> Self {
        let (mut whole_end, mut records) = (start, 0);
        while let Some(&[_, _, _, high, low]) = bytes.get(whole_end..whole_end + RECORD_HEADER) {
            let end = whole_end + RECORD_HEADER + usize::from(u16::from_be_bytes([high, low]));
            if end > bytes.len() {
                break;
            }
            (whole_end, records) = (end, records + 1);
            if records == RECORDS_PER_CALL {
                return Self { end, whole_end, records };
            }
        }
        // rustls refuses a bad header before its record is complete.
        Self { end: bytes.len(), whole_end, records }
    }
}

impl TlsCodec {
    /// Returns the codec of a new connection.
    ///
    /// # Errors
    /// The error of rustls, for a configuration that no connection can have.
    pub(crate) fn new(config: Arc<ServerConfig>, handshake_units: u32) -> Result<Self, Error> {
        let connection = UnbufferedServerConnection::new(config)?;
        Ok(Self {
            connection,
            handshake_units,
            partial: Vec::new(),
            seen: 0,
            is_waiting: false,
            has_begun: false,
            has_failed: false,
        })
    }

    /// Decodes the complete records of `wire`, of which there are `records`; returns how many bytes they take.
    fn decode_records(
        &mut self,
        wire: &mut [u8],
        records: u32,
        plain: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> (usize, Result<Decoded, CodecError>) {
        let (mut used, mut empty_records) = (0, records);
        loop {
            let UnbufferedStatus { mut discard, state, .. } = self.connection.process_tls_records(&mut wire[used..]);
            let step = state.map_err(|error| classify(&error)).and_then(|state| match state {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(|error| classify(&error))?;
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                        if !record.payload.is_empty() {
                            empty_records = empty_records.saturating_sub(1);
                        }
                    }
                    Ok(Step::Continue)
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    append(reply, 0, |out| data.encode(out).map_err(Missing::from))?;
                    Ok(Step::Continue)
                }
                ConnectionState::TransmitTlsData(data) => {
                    // The reply is sent before anything that is encoded later.
                    data.done();
                    Ok(Step::Continue)
                }
                ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) => Ok(Step::Done(Inbound::Open)),
                ConnectionState::PeerClosed | ConnectionState::Closed => Ok(Step::Done(Inbound::Ended)),
                // Early data is not offered.
                _ => Err(CodecError::Violation),
            });
            used += discard;
            match step {
                Ok(Step::Continue) => {}
                Ok(Step::Done(inbound)) => return (used, Ok(Decoded { inbound, records, empty_records })),
                Err(error) => return (used, Err(error)),
            }
        }
    }

    /// Appends what rustls has queued when it fails: the alert that tells the peer its error. Input must not be decoded again.
    fn append_alert(&mut self, reply: &mut Vec<u8>) {
        if !self.connection.wants_write() && self.connection.protocol_version().is_none() {
            // Nothing was sent yet, so nothing is encrypted.
            return reply.extend_from_slice(&DECODE_ERROR);
        }
        while self.connection.wants_write() {
            match self.connection.process_tls_records(&mut []).state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    // Without the alert the peer finds the end of the connection alone.
                    let _ = append(reply, 0, |out| data.encode(out).map_err(Missing::from));
                }
                _ => return,
            }
        }
    }

    /// Appends what rustls has queued, and then what `write` writes, to `wire`. `len` is the length of its content.
    fn write(
        &mut self,
        wire: &mut Vec<u8>,
        len: usize,
        mut write: impl FnMut(&mut WriteTraffic<'_, ServerConnectionData>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), CodecError> {
        // Records that wait are decoded by the next call of `decode` alone.
        let seen = if self.is_waiting { self.seen } else { self.partial.len() };
        while !self.has_failed {
            match self.connection.process_tls_records(&mut self.partial[..seen]).state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(wire, 0, |out| data.encode(out).map_err(Missing::from))?;
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                // The peer may have ended its output alone.
                Ok(ConnectionState::PeerClosed) => {}
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    return append(wire, len, |out| write(&mut traffic, out).map_err(Missing::from));
                }
                _ => break,
            }
        }
        Err(CodecError::Closed)
    }
}

impl Codec for TlsCodec {
    fn decode(&mut self, wire: &mut [u8], plain: &mut Vec<u8>, reply: &mut Vec<u8>) -> Result<Decoded, CodecError> {
        if !mem::replace(&mut self.has_begun, true) && wire.first().is_some_and(|first| !may_be_tls(*first)) {
            self.has_failed = true;
            return Err(CodecError::NotTls);
        }
        let mut rest = mem::take(&mut self.partial);
        let (section, used, decoded, received) = if rest.is_empty() {
            let section = Section::after(0, wire);
            let (used, decoded) = self.decode_records(&mut wire[..section.end], section.records, plain, reply);
            rest.reserve_exact(wire.len() - used);
            rest.extend_from_slice(&wire[used..]);
            (section, used, decoded, wire.len())
        } else {
            rest.reserve_exact(wire.len());
            rest.extend_from_slice(wire);
            let (section, received) = (Section::after(self.seen, &rest), rest.len());
            let (used, decoded) = self.decode_records(&mut rest[..section.end], section.records, plain, reply);
            rest.drain(..used);
            (section, used, decoded, received)
        };
        let is_waiting = section.end < received;
        let error = match decoded {
            Ok(Decoded { inbound: Inbound::Open, .. }) if !is_waiting && rest.len() >= MAX_RECORD => {
                CodecError::BadRecord
            }
            Ok(decoded @ Decoded { inbound: Inbound::Open, .. }) => {
                self.partial = if rest.is_empty() { Vec::new() } else { rest };
                (self.seen, self.is_waiting) = (section.whole_end.saturating_sub(used), is_waiting);
                let inbound = if is_waiting { Inbound::Waiting } else { Inbound::Open };
                return Ok(Decoded { inbound, ..decoded });
            }
            // Bytes after the end are no input.
            Ok(decoded) => {
                (self.seen, self.is_waiting) = (0, false);
                return Ok(decoded);
            }
            Err(error) => {
                self.append_alert(reply);
                error
            }
        };
        self.has_failed = true;
        Err(error)
    }

    fn encode(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), CodecError> {
        self.write(wire, plain.len(), |traffic, out| traffic.encrypt(plain, out))
    }

    fn close(&mut self, wire: &mut Vec<u8>) {
        // Before the handshake is complete, and after an alert, there is nothing to end.
        let _ = self.write(wire, 0, queue_close_notify);
    }

    fn is_open(&self) -> bool {
        !self.connection.is_handshaking()
    }

    fn handshake_units(&self) -> u32 {
        self.handshake_units
    }

    fn held_bytes(&self) -> usize {
        self.partial.capacity()
    }

    fn read_capacity(&self) -> usize {
        MAX_RECORD.saturating_sub(self.partial.len()).max(1)
    }
}

/// Why rustls wrote nothing.
enum Missing {
    /// This many bytes are wanted.
    Space(usize),
    /// Nothing can be written any more.
    Closed,
}

/// Returns whether a connection that begins with this byte may be TLS, and not plain text.
pub(crate) fn may_be_tls(first: u8) -> bool {
    first == HANDSHAKE
}

impl From<EncodeError> for Missing {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::InsufficientSize(size) => Self::Space(size.required_size),
            EncodeError::AlreadyEncoded => Self::Closed,
        }
    }
}

impl From<EncryptError> for Missing {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::InsufficientSize(size) => Self::Space(size.required_size),
            EncryptError::EncryptExhausted => Self::Closed,
        }
    }
}

/// Writes the alert that ends the output.
fn queue_close_notify(
    traffic: &mut WriteTraffic<'_, ServerConnectionData>,
    out: &mut [u8],
) -> Result<usize, EncryptError> {
    traffic.queue_close_notify(out)
}

/// Appends to `wire` what `write` writes; `len` is the length of its content, if it is known.
fn append(
    wire: &mut Vec<u8>,
    len: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Missing>,
) -> Result<(), CodecError> {
    let start = wire.len();
    let mut space = len + RECORD_OVERHEAD * (2 + len / (16 << 10));
    // The second attempt has the space that the first one asked for.
    for _ in 0..2 {
        wire.resize(start + space, 0);
        match write(&mut wire[start..]) {
            Ok(written) => {
                wire.truncate(start + written);
                return Ok(());
            }
            Err(Missing::Space(wanted)) => space = wanted,
            Err(Missing::Closed) => break,
        }
    }
    wire.truncate(start);
    Err(CodecError::Closed)
}

/// Returns the reason for the log.
fn classify(error: &Error) -> CodecError {
    match error {
        Error::AlertReceived(alert) => CodecError::Alert(*alert),
        Error::PeerIncompatible(_) => CodecError::Incompatible,
        Error::InvalidMessage(_) | Error::DecryptError | Error::PeerSentOversizedRecord => CodecError::BadRecord,
        _ => CodecError::Violation,
    }
}

#[cfg(test)]
mod tests;
