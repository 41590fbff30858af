//! The lingering close: ends the output, then discards input for a moment, so that the last bytes are not lost.

use crate::net::Socket;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::time::Duration;
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
    if socket.shutdown_output().is_ok() && peer_may_send {
        // Either the peer closes or the time is up.
        let _ = timeout(LINGER, discard_input(socket)).await;
    }
}

async fn discard_input(socket: &Socket) {
    let mut left = LINGER_BYTES;
    while left > 0 {
        poll_fn(|context| socket.poll_readable(context)).await;
        match DISCARDED.with_borrow_mut(|buffer| socket.try_read(buffer)) {
            Ok(0) => return,
            Ok(count) => left = left.saturating_sub(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
