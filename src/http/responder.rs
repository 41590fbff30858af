//! The responder: accepts connections, reads one request from each, answers it, and closes.

use super::head::{HeadReader, Request};
use super::response::{Response, Status, explanation};
use crate::limits::permits::{Permit, Permits};
use socket2::SockRef;
use std::io::{self, Read};
use std::net::Shutdown;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

/// The most connections at a time. Their descriptors come out of the reserve beside those of chat clients.
const MAX_CONNECTIONS: usize = 8;

/// How long a connection may take for its head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client may take for the response, of which the kernel's buffers take most at once.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the input of a client is discarded after its response, until it closes: a close with input unread is a reset,
/// which may overtake the response (RFC 9112, section 9.6).
const LINGER: Duration = Duration::from_secs(1);

/// The most bytes that are discarded after a response.
const MAX_DISCARDED: usize = 64 << 10;

/// The most bytes of one read.
const READ_BYTES: usize = 1 << 10;

/// The pause after a failed accept: most likely no descriptor is left, and the error would come again at once.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Answers requests.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Returns the answer to a request for `path`. Runs on a thread for blocking work, and not on one of those that serve
    /// connections: it may read files.
    fn respond(&self, path: &str) -> Response;
}

/// A listener whose clients get answers of a handler.
#[derive(Debug)]
pub(crate) struct Responder<H> {
    listener: Arc<TcpListener>,
    handler: Arc<H>,
    places: Arc<Permits>,
}

impl<H: Handler> Responder<H> {
    /// Returns a responder that accepts nothing before it runs.
    pub(crate) fn new(listener: TcpListener, handler: H) -> Self {
        let listener = Arc::new(listener);
        Self { listener, handler: Arc::new(handler), places: Permits::new(MAX_CONNECTIONS) }
    }

    /// Returns the listener, which closes with the responder.
    pub(crate) fn listener(&self) -> Weak<TcpListener> {
        Arc::downgrade(&self.listener)
    }

    /// Serves until `stop` is cancelled, which also cuts the connections that are open. None is left when this returns.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let connections = TaskTracker::new();
        while let Some(accepted) = stop.run_until_cancelled(self.listener.accept()).await {
            match accepted {
                Ok((stream, _)) => match self.places.try_acquire() {
                    Some(place) => {
                        let serving = serve(stream, Arc::clone(&self.handler), place);
                        connections.spawn(stop.clone().run_until_cancelled_owned(serving));
                    }
                    None => refuse(&stream),
                },
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    warn!(%error, pause = ?ACCEPT_PAUSE, "can't accept a connection for metrics");
                    stop.run_until_cancelled(sleep(ACCEPT_PAUSE)).await;
                }
            }
        }
        connections.close();
        connections.wait().await;
    }
}

/// Serves one connection. An error ends it alone, and is of no interest: the client is gone.
async fn serve<H: Handler>(stream: TcpStream, handler: Arc<H>, place: Permit) {
    let _ = answer(&stream, handler).await;
    // The place is free only when the descriptor is.
    drop(stream);
    drop(place);
}

async fn answer<H: Handler>(stream: &TcpStream, handler: Arc<H>) -> io::Result<()> {
    let mut head = HeadReader::default();
    let (response, with_body) = match timeout(HEAD_TIMEOUT, read_head(stream, &mut head)).await {
        Ok(request) => match request? {
            Some(Ok(Request { path, is_head, .. })) => (respond(handler, path).await, !is_head),
            Some(Err(status)) => (Response::plain(status, explanation(status)), !head.is_of_head_method()),
            None => return Ok(()),
        },
        // A client that only connects, as some health checks do.
        Err(_) if head.is_empty() => return Ok(()),
        Err(_) => {
            let response = Response::plain(Status::RequestTimeout, explanation(Status::RequestTimeout));
            (response, !head.is_of_head_method())
        }
    };
    timeout(RESPONSE_TIMEOUT, write_all(stream, &response.encode(with_body))).await??;
    SockRef::from(stream).shutdown(Shutdown::Write)?;
    timeout(LINGER, discard_input(stream)).await?
}

/// Reads until the head is complete or wrong; returns `None` if the client closes before that.
async fn read_head(stream: &TcpStream, head: &mut HeadReader) -> io::Result<Option<Result<Request, Status>>> {
    let mut buffer = [0; READ_BYTES];
    loop {
        let count = read_some(stream, &mut buffer).await?;
        if count == 0 {
            return Ok(None);
        }
        if let Some(request) = head.push(&buffer[..count]) {
            return Ok(Some(request));
        }
    }
}

/// Reads some bytes; 0 at the end of the input.
async fn read_some(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Discards input until its end, or until it is more than a client sends that waits for its response.
async fn discard_input(stream: &TcpStream) -> io::Result<()> {
    let (mut buffer, mut discarded) = ([0; READ_BYTES], 0);
    while discarded < MAX_DISCARDED {
        match read_some(stream, &mut buffer).await? {
            0 => break,
            count => discarded += count,
        }
    }
    Ok(())
}

/// Asks the handler on a thread for blocking work.
async fn respond<H: Handler>(handler: Arc<H>, path: String) -> Response {
    spawn_blocking(move || handler.respond(&path)).await.unwrap_or_else(|error| {
        error!(%error, "the answer to an HTTP request panicked: this is a bug");
        Response::plain(Status::InternalError, explanation(Status::InternalError))
    })
}

/// Tells a client that there are too many connections, in the one write that a new socket takes. Closes at once, without a
/// lingering close, which would need a place.
fn refuse(stream: &TcpStream) {
    let response = Response::plain(Status::Unavailable, explanation(Status::Unavailable)).encode(true);
    let socket = SockRef::from(stream);
    // A client that is gone already needs no answer.
    let _ = socket.send(&response);
    // Unread input would make the close a reset, which may overtake the response.
    let _ = (&*socket).read(&mut [0; READ_BYTES]);
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
