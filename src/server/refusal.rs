//! Refusal: the answer to a connection that the full server does not serve.

use crate::limits::permits::Permit;
use crate::net::{Socket, linger_close};
use crate::text::messages;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Tells the peer that the server is full, in the one write that a new socket always takes. With a permit it returns
/// the lingering close, which `abort` cuts; without one it closes at once.
pub(super) fn refuse(
    stream: TcpStream,
    permit: Option<Permit>,
    abort: CancellationToken,
) -> Option<impl Future<Output = ()> + Send + 'static> {
    // Straight to the system: the runtime does not know yet that the new socket takes bytes. A peer that is gone
    // already needs no answer.
    SockRef::from(&stream).send(messages::error_lines(&messages::SERVER_FULL).as_bytes()).ok()?;
    let socket = Socket::new(stream, permit?);
    Some(async move {
        abort.run_until_cancelled(linger_close(&socket, true)).await;
    })
}
