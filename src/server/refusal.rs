//! Refusal: the answer to a connection that the full server does not serve.

use crate::limits::memory::MemoryBudget;
use crate::limits::permits::Permit;
use crate::net::{ListenerProtocol, Socket, linger_close};
use crate::text::messages;
use socket2::SockRef;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Tells the peer that the server is full, in the one write that a new socket always takes. With a permit it returns
/// the lingering close, which `abort` cuts; without one it closes at once. Lines end in CR LF for telnet (RFC 854).
pub(super) fn refuse(
    stream: TcpStream,
    permit: Option<Permit>,
    protocol: ListenerProtocol,
    (memory, abort): (Arc<MemoryBudget>, CancellationToken),
) -> Option<impl Future<Output = ()> + Send + 'static> {
    let lines = messages::error_lines(&messages::SERVER_FULL);
    let lines = match protocol {
        ListenerProtocol::Raw => lines,
        ListenerProtocol::Telnet => lines.replace('\n', "\r\n"),
    };
    // Straight to the system: the runtime does not know yet that the new socket takes bytes. A peer that is gone
    // already needs no answer.
    SockRef::from(&stream).send(lines.as_bytes()).ok()?;
    let socket = Socket::new(stream, permit?, memory);
    Some(async move {
        abort.run_until_cancelled(linger_close(&socket, true)).await;
    })
}
