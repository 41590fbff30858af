//! Refusal: the answer to a connection that the full server does not serve.

use crate::net::{Socket, linger_close};
use crate::peer::byte_sink::ByteSink;
use crate::text::messages;
use tokio_util::sync::CancellationToken;

/// Tells the peer that the server is full, in the one write that a new socket always takes, and closes. `abort`
/// cuts the lingering close.
pub(super) async fn refuse(socket: Socket, abort: CancellationToken) {
    if socket.try_write(messages::error_lines(&messages::SERVER_FULL).as_bytes()).is_ok() {
        abort.run_until_cancelled(linger_close(&socket, true)).await;
    }
}
