//! Codecs: what transforms bytes between a transport and the lines, without any I/O.

use std::collections::VecDeque;

/// Transforms a connection's bytes both ways. It belongs to the connection's task; a delivery pass never calls it.
///
/// The input line is the codec in use. It stands between telnet and the lines, so the telnet decoder takes commands
/// out before it. A codec of a transport, such as TLS, has its place between the socket and telnet: it decodes what a
/// read gives, and encodes all that leaves the output buffer.
///
/// A peer with a codec has [`Route::Buffered`](crate::peer::route::Route): passes leave shared lines in its
/// output buffer, and its task encodes them under the peer's write lock.
pub(crate) trait Codec: Send {
    /// Decodes a prefix of `wire`: appends the application's bytes to `app` and bytes for the peer, as an echo or
    /// a protocol's answer, to `reply`. Returns how many bytes of `wire` were taken, at least 1 of a non-empty
    /// `wire`; the codec may stop early where the caller has to act on `app` before it goes on.
    ///
    /// # Errors
    /// [`CodecError`], after which the connection is closed.
    fn decode(&mut self, wire: &[u8], app: &mut Vec<u8>, reply: &mut Vec<u8>) -> Result<usize, CodecError>;

    /// Encodes whole lines, each with its LF, and appends the result to `wire`.
    fn encode(&mut self, app: &[u8], wire: &mut VecDeque<u8>);

    /// Appends what ends the codec's use of the connection to `wire`. No other method is called after that.
    fn close(&mut self, wire: &mut VecDeque<u8>);
}

/// A transport's bytes that break its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the transport's bytes break its protocol")]
pub(crate) struct CodecError;
