//! A connection: one task that reads its peer's lines, and ends for one named reason.

mod close;
pub mod close_reason;
mod commands;
mod input;
mod output;
mod telnet;
mod terminal;
pub(crate) mod timers;

use crate::config::Config;
use crate::connection::close_reason::CloseReason;
use crate::connection::timers::{Deadline, Deadlines};
use crate::limits::rate::{RateLimit, RateLimiter};
use crate::peer::Peer;
use crate::peer::PeerId;
use crate::peer::events::PeerEvents;
use crate::protocol::join::Session;
use crate::protocol::line_decoder::LineDecoder;
use crate::room::membership::Membership;
use crate::room::registry::Registry;
use crate::text::messages;
use crate::text::names::{RoomName, UserName};
use bytes::Bytes;
use output::PendingReply;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use telnet::Negotiation;
use terminal::Terminal;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tracing::info;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct ServerContext {
    pub(crate) config: Config,
    pub(crate) limit: RateLimit,
    pub(crate) registry: Arc<Registry>,
    /// Cancelled when the server ends.
    pub(crate) ending: CancellationToken,
}

/// Where the peer is.
#[derive(Debug)]
enum RoomState {
    /// In no room.
    Outside,
    /// At the door: the room has not answered yet.
    Waiting(Membership),
    /// In the room.
    Inside(Membership),
}

/// What a member has asked its room for, and can't go on without the answer.
#[derive(Debug)]
enum PendingRequest {
    /// Nothing.
    None,
    /// For another name.
    Renaming,
    /// For its last lines, or to say something to one member. One at a time, or a peer could fill the
    /// inbox with what costs it a word.
    Asking,
    /// Another room for a seat. This one is given up when that is had.
    Moving(Box<Membership>),
    /// The room that it has left, for its last lines.
    Leaving,
    /// For its goodbye, which is sure to come: the server ends.
    Ending,
}

/// Lines laid out, and how many.
type EncodedLines = (Box<[u8]>, u32);

/// What the room's inbox had no room for.
#[derive(Debug, Default)]
struct BlockedInput {
    /// Lines.
    encoder: Option<EncodedLines>,
    /// The line of a command, which has to come behind them.
    command: Option<Box<[u8]>>,
}

/// What this connection knows of its backlog.
#[derive(Debug, PartialEq, Eq)]
enum Backlog {
    /// There is none.
    Empty,
    /// There is one: write it when the socket takes bytes.
    Some,
    /// There is one, and somebody else had the turn to write: try again after a breath.
    Contended,
}

/// What happened.
enum Event {
    EventMailbox(PeerEvents),
    Deadline(Deadline),
    Ending,
    Writable,
    Readable,
}

/// One connection's life.
pub(crate) struct Connection {
    host: Arc<ServerContext>,
    peer: Arc<Peer<TcpStream>>,
    session: Session,
    room_state: RoomState,
    /// What the room is asked for.
    request: PendingRequest,
    lines: LineDecoder,
    /// What its telnet has said; nothing, until it is heard to be one.
    telnet: Option<Box<Negotiation>>,
    /// Its line editor, if it has asked for one.
    terminal: Option<Box<Terminal>>,
    /// Input that was read and can't be worked on yet: something is waited for. Never empty.
    held: Option<Box<Bytes>>,
    /// What the room's inbox had no room for.
    blocked_input: Option<Box<BlockedInput>>,
    /// What is to be said to the peer, and could not be yet: somebody else was writing to it.
    pending_reply: Option<Box<PendingReply>>,
    rate: RateLimiter,
    deadlines: Deadlines,
    /// Tells that the server ends; only as long as no room does.
    ending: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    backlog: Backlog,
    /// Whether input has ended, or is of no interest any more.
    input_closed: bool,
    /// Whether the room has let the peer go.
    released: bool,
    lines_in: u64,
    /// Where the peer is, for the log.
    address: SocketAddr,
    /// Its place among all connections, given up at its end.
    _permit: OwnedSemaphorePermit,
}

/// How a connection went, for the log.
struct Report {
    reason: CloseReason,
    identity: Option<(RoomName, UserName)>,
    lines_in: u64,
    lines_out: u64,
}

impl Report {
    /// The connection's last line in the log. Names are printable ASCII without blanks: they
    /// can't forge one.
    fn log(&self, address: SocketAddr) {
        let (room, name) = self.identity.unzip();
        let (room, name) = (room.as_ref().map(RoomName::as_str), name.as_ref().map(UserName::as_str));
        let Self { reason, lines_in, lines_out, .. } = self;
        let reason = reason.to_string();
        info!(%address, room, name, reason, lines_in, lines_out, "closed");
    }
}

impl Connection {
    pub(crate) fn new(
        host: Arc<ServerContext>,
        socket: TcpStream,
        address: SocketAddr,
        id: PeerId,
        permit: OwnedSemaphorePermit,
    ) -> Box<Self> {
        let config = &host.config;
        let peer = Arc::new(Peer::new(id, config.backlog, config.slow_reader, socket));
        let mut deadlines = Deadlines::default();
        deadlines.set(Deadline::Login, Instant::now() + config.login_timeout);
        Box::new(Self {
            peer,
            session: Session::Greeting,
            room_state: RoomState::Outside,
            request: PendingRequest::None,
            lines: LineDecoder::new(config.max_line),
            telnet: None,
            terminal: None,
            held: None,
            blocked_input: None,
            pending_reply: None,
            rate: RateLimiter::new(Instant::now().into_std()),
            deadlines,
            ending: Some(Box::pin(host.ending.clone().cancelled_owned())),
            backlog: Backlog::Empty,
            input_closed: false,
            released: false,
            lines_in: 0,
            address,
            _permit: permit,
            host,
        })
    }

    /// Talks with the peer until there is a reason to end, and ends.
    ///
    /// Boxed: what an async function takes by value its future holds twice. The farewell is boxed
    /// too: it is larger than all the rest of the future, which is there for the whole life.
    pub(crate) async fn serve(mut self: Box<Self>) {
        self.send_unbounded(messages::WELCOME.as_bytes());
        let reason = loop {
            if let Err(reason) = self.step().await {
                break reason;
            }
        };
        Box::pin(self.end(reason)).await.log(self.address);
    }

    /// Waits for the next event and does what it asks for.
    async fn step(&mut self) -> Result<(), CloseReason> {
        match self.next().await {
            Event::EventMailbox(events) => self.handle_events(events),
            Event::Deadline(deadline) => self.handle_deadline(deadline),
            Event::Ending => Err(CloseReason::Shutdown),
            Event::Writable => {
                self.drain();
                if self.is_input_paused() { Ok(()) } else { self.resume_input() }
            }
            Event::Readable => self.read(),
        }
    }

    async fn next(&mut self) -> Event {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        let events = self.peer.take_events(context);
        if events != PeerEvents::NONE {
            // Noted here and not where it is waited for: it may come together with another
            // signal that ends the connection first.
            self.released |= events.intersects(PeerEvents::LEFT_ROOM | PeerEvents::SHUTDOWN | PeerEvents::ROOM_FAILED);
            return Poll::Ready(Event::EventMailbox(events));
        }
        if let Poll::Ready(deadline) = self.deadlines.poll(context) {
            return Poll::Ready(Event::Deadline(deadline));
        }
        if let Some(ending) = &mut self.ending
            && ending.as_mut().poll(context).is_ready()
        {
            self.ending = None;
            return Poll::Ready(Event::Ending);
        }
        match self.backlog {
            Backlog::Empty => {}
            Backlog::Contended => {
                self.backlog = Backlog::Some;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Backlog::Some => {
                if self.peer.sink().poll_write_ready(context).is_ready() {
                    return Poll::Ready(Event::Writable);
                }
            }
        }
        if self.input_closed || self.is_input_paused() {
            return Poll::Pending;
        }
        // An error is found again, and named, by the read.
        let _ = ready!(self.peer.sink().poll_read_ready(context));
        Poll::Ready(Event::Readable)
    }

    /// The room and the name that the peer has, or asked for.
    fn identity(&self) -> Option<(RoomName, UserName)> {
        match &self.room_state {
            RoomState::Outside => None,
            RoomState::Waiting(membership) | RoomState::Inside(membership) => {
                Some((membership.room(), membership.user()))
            }
        }
    }

    /// Whether input has to wait: for a room's answer, for its inbox, for an answer to the peer to
    /// be said, for the peer to read what it typed, or for the rate limit.
    fn is_input_paused(&self) -> bool {
        matches!(self.room_state, RoomState::Waiting(_))
            || !matches!(self.request, PendingRequest::None)
            || self.blocked_input.is_some()
            || self.pending_reply.is_some()
            || self.terminal.as_ref().is_some_and(|terminal| terminal.is_full())
            || self.deadlines.is_set(Deadline::RateLimit)
    }
}

/// What the room, the clock and the socket ask for.
impl Connection {
    fn handle_events(&mut self, events: PeerEvents) -> Result<(), CloseReason> {
        if events.contains(PeerEvents::JOINED) {
            self.enter();
        }
        if events.contains(PeerEvents::OUTPUT_BLOCKED) {
            self.begin_draining();
        }
        if events.contains(PeerEvents::NAME_TAKEN) {
            self.refused()?;
        }
        if events.contains(PeerEvents::ROOM_CLOSED) {
            self.on_room_closed()?;
        }
        if events.contains(PeerEvents::RENAMED) {
            self.renamed();
        }
        if events.contains(PeerEvents::REQUEST_DONE) {
            self.request = PendingRequest::None;
        }
        if events.contains(PeerEvents::LEFT_ROOM) {
            self.moved();
        }
        if events.contains(PeerEvents::SHUTDOWN) {
            return Err(CloseReason::Shutdown);
        }
        if events.contains(PeerEvents::ROOM_FAILED) {
            return Err(CloseReason::RoomFailed);
        }
        if events.contains(PeerEvents::WRITE_FAILED) {
            self.start_read_grace();
        }
        if events.contains(PeerEvents::TOO_SLOW) {
            return Err(CloseReason::TooSlow(self.host.config.backlog));
        }
        if events.contains(PeerEvents::INBOX_READY)
            && let Some(blocked_input) = self.blocked_input.take()
        {
            self.try_again(*blocked_input)?;
        }
        if self.is_input_paused() { Ok(()) } else { self.resume_input() }
    }

    fn handle_deadline(&mut self, deadline: Deadline) -> Result<(), CloseReason> {
        match deadline {
            Deadline::Login => Err(CloseReason::LoginTimeout(self.host.config.login_timeout)),
            Deadline::Stall => Err(CloseReason::Stalled(self.host.config.stall_timeout)),
            Deadline::RateLimit => self.resume_input(),
            Deadline::Close => Err(CloseReason::Lost(std::io::ErrorKind::BrokenPipe)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn future_size<F: Future>(_: impl FnOnce(Box<Connection>) -> F) -> usize {
        size_of::<F>()
    }

    /// Thousands of quiet connections have one each. A task's memory comes in steps of 128 bytes:
    /// about 100 of tokio's own, and this future, which has to stay within the second step.
    #[test]
    fn a_connection_is_small() {
        assert!(size_of::<Connection>() <= 288, "{}", size_of::<Connection>());
        let future = future_size(Connection::serve);
        assert!(future <= 128, "{future}");
        assert!(size_of::<Peer<TcpStream>>() <= 128, "{}", size_of::<Peer<TcpStream>>());
    }
}
