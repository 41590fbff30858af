//! Codecs: what transforms the bytes of a transport that is not plain, such as TLS, without I/O.
//!
//! A codec stands between a socket and the lines of its peer. The task of the connection runs it: no delivery pass
//! encodes or decodes. WebSocket ([`websocket`]) is decoded here and has shared frames for output, so it is no [`Codec`].

mod tls;
pub(crate) mod websocket;

pub(crate) use tls::{REFUSAL, TlsCodec, may_be_tls};

/// Transforms between the bytes on the wire and the plain bytes of one peer. It does no I/O.
pub(crate) trait Codec: Send {
    /// Decodes received bytes, which it may overwrite. Appends the peer's plain bytes to `plain`, and bytes that the peer
    /// has to get, such as a handshake's or an alert's, to `reply`; both are valid also in the case of an error. One call
    /// decodes a bounded number of records and keeps the others.
    ///
    /// # Errors
    /// [`CodecError`] if the peer breaks the protocol; the codec decodes nothing more then.
    fn decode(&mut self, wire: &mut [u8], plain: &mut Vec<u8>, reply: &mut Vec<u8>) -> Result<Decoded, CodecError>;

    /// Encodes plain bytes and appends them to `wire`.
    ///
    /// # Errors
    /// [`CodecError::Closed`] before the handshake is complete, and after the output was closed.
    fn encode(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), CodecError>;

    /// Ends the output: appends what tells the peer that no byte is missing. Does nothing before the handshake is complete.
    fn close(&mut self, wire: &mut Vec<u8>);

    /// Returns whether the handshake is complete, so that plain bytes can be encoded.
    fn is_open(&self) -> bool;

    /// Returns the units of the handshake in the budgets of the server and of the address.
    fn handshake_units(&self) -> u32;

    /// Returns the bytes of memory that hold received input which is not decoded.
    fn held_bytes(&self) -> usize;

    /// Returns how many more bytes a read may take, so that the input which is not complete stays bounded; never 0.
    fn read_capacity(&self) -> usize;
}

/// The outcome of one decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// The input that follows.
    pub(crate) inbound: Inbound,
    /// The records that were decoded.
    pub(crate) records: u32,
    /// The decoded records that held no plain byte, such as key updates, warnings and empty fragments.
    pub(crate) empty_records: u32,
}

/// The input that follows the decoded bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inbound {
    /// More may come.
    Open,
    /// Received records wait in the codec: the next call decodes them, without new bytes.
    Waiting,
    /// The peer has ended its output, and nothing of it is missing.
    Ended,
}

/// Why a codec decodes or encodes nothing more. Shown, it is the reason in the log: no byte of the peer is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodecError {
    /// The first byte begins no TLS handshake: the peer speaks another protocol, most likely plain text.
    #[error("no TLS")]
    NotTls,
    /// The peer refused the connection, for example because it does not trust the certificate.
    #[error("TLS alert from the peer: {0:?}")]
    Alert(rustls::AlertDescription),
    /// The peer has no version, cipher or signature scheme that the server has.
    #[error("TLS: no version, cipher or signature scheme in common")]
    Incompatible,
    /// A record is malformed, or does not decrypt.
    #[error("TLS: bad record")]
    BadRecord,
    /// The peer broke the protocol in another way.
    #[error("TLS: protocol violation")]
    Violation,
    /// The handshake is not complete, or the output is closed.
    #[error("TLS: closed")]
    Closed,
}
