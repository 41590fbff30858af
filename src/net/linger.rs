//! The lingering close: ends the output, then discards input for a moment, so that the last bytes are not lost.

use crate::net::Socket;
use socket2::SockRef;
use std::cell::RefCell;
use std::io;
use std::net::Shutdown;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a closed peer's input is still read, and discarded.
///
/// A socket that is closed with input unread sends a reset, and the reset can overtake the `ERROR` line
/// (RFC 2525, section 2.17).
const LINGER: Duration = Duration::from_secs(1);

/// The most input that is discarded, in bytes.
const LINGER_BYTES: usize = 16 << 20;

thread_local! {
    /// The buffer of discarded input. It belongs to the worker thread: thousands may be closed at a time.
    static DISCARDED: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 << 10]);
}

/// Ends the output of `socket`, then discards what still comes if the peer may be sending: until it closes, for
/// at most 1 s and 16 MiB.
pub(crate) async fn linger_close(socket: &Socket, peer_may_send: bool) {
    linger_close_stream(socket.stream(), peer_may_send).await;
}

/// Closes a stream without a permit, as [`linger_close`] does.
pub(crate) async fn linger_close_stream(stream: &TcpStream, peer_may_send: bool) {
    let is_connected = SockRef::from(stream).shutdown(Shutdown::Write).is_ok();
    if is_connected && peer_may_send {
        // Either the peer closes or the time is up.
        let _ = timeout(LINGER, discard_input(stream)).await;
    }
}

async fn discard_input(stream: &TcpStream) {
    let mut left = LINGER_BYTES;
    while left > 0 {
        // An error is found again by the read.
        let _ = stream.readable().await;
        match DISCARDED.with_borrow_mut(|buffer| stream.try_read(buffer)) {
            Ok(0) => return,
            Ok(count) => left = left.saturating_sub(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
