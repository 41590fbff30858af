//! A connection without its event loop, and its client.

use super::super::close_reason::CloseReason;
use super::super::event_loop::Event;
use super::super::timers::Deadline;
use super::*;
use crate::connection::readiness::AcceptLoops;
use crate::limits::connection_permit::ConnectionPermit;
use crate::limits::connection_permit::tests::slots_within;
use crate::limits::handshake_budget::HandshakeBudget;
use crate::limits::login_queue::LoginQueue;
use crate::limits::memory::MemoryBudget;
use crate::limits::slice_budget::SliceBudget;
use crate::metrics::listener_counts::ListenerCounts;
use crate::peer::events::MembershipSlot;
use socket2::SockRef;
use std::future::poll_fn;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use tokio::net::TcpStream as TokioStream;
use tokio_util::task::TaskTracker;

/// A connection, its client, and what they share with other connections.
pub(super) struct Pair {
    pub(super) connection: Box<Connection>,
    pub(super) client: UnixStream,
    pub(super) context: Arc<ServerContext>,
    /// The queue of connections that have not joined, in which the connection is the only one.
    pub(super) queue: LoginQueue,
    pub(super) memory: Arc<MemoryBudget>,
}

/// Returns a connection of the default settings over a socket pair, on which written bytes arrive at once, and which
/// takes few bytes before the client reads.
pub(super) fn pair(protocol: ListenerProtocol) -> Pair {
    pair_of(protocol, Settings::default(), u64::MAX)
}

/// Returns a pair as [`pair`] does, with these settings and this memory ceiling.
pub(super) fn pair_of(protocol: ListenerProtocol, settings: Settings, ceiling: u64) -> Pair {
    pair_with_codec(None, protocol, settings, ceiling)
}

/// Returns a pair as [`pair_of`] does, with a codec between the socket and the connection.
pub(super) fn pair_with_codec(
    codec: Option<Box<dyn Codec>>,
    protocol: ListenerProtocol,
    settings: Settings,
    ceiling: u64,
) -> Pair {
    let (ours, client) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    SockRef::from(&ours).set_send_buffer_size(4_096).unwrap();
    let stream = TokioStream::from_std(OwnedFd::from(ours).into()).unwrap();
    let (context, memory) = (context_of(settings), MemoryBudget::new(ceiling));
    let (connection, queue) = connection_of(stream, codec, protocol, &context, &memory);
    Pair { connection, client, context, queue, memory }
}

/// Returns what connections share, with these settings.
pub(super) fn context_of(settings: Settings) -> Arc<ServerContext> {
    Arc::new(ServerContext {
        allowed_origins: Box::default(),
        handover: HandoverGate::default(),
        live: Live::new(settings.live, settings.motd),
        registry: Arc::new(Registry::new(settings.rooms, TaskTracker::new())),
        shutdown: CancellationToken::new(),
        draining: CancellationToken::new(),
        abort: CancellationToken::new(),
        slices: SliceBudget::new(1, Instant::now().into_std()),
        handshakes: HandshakeBudget::new(1, Instant::now().into_std()),
        unflushed_inputs: UnflushedInputs::default(),
        accept_loops: AcceptLoops::new(0),
        listener_counts: ListenerCounts::new(1),
        directory: Some(Arc::default()),
    })
}

/// Returns a connection over `stream`, and the queue of connections that have not joined, in which it is the only one.
pub(super) fn connection_of(
    stream: TokioStream,
    codec: Option<Box<dyn Codec>>,
    protocol: ListenerProtocol,
    context: &Arc<ServerContext>,
    memory: &Arc<MemoryBudget>,
) -> (Box<Connection>, LoginQueue) {
    let mut queue = LoginQueue::default();
    let (_server, mut slots) = slots_within(1, 1, Arc::clone(memory));
    let permit = ConnectionPermit::try_acquire(slots.pop().unwrap()).unwrap();
    let (socket, ticket) = (Socket::new(stream, permit), queue.push(&context.shutdown));
    let connection =
        Connection::new(Arc::clone(context), socket, codec, (PeerAddress::Unix(None), protocol), PeerId(1), ticket);
    (connection, queue)
}

impl Pair {
    /// Returns the pair of a plain client that is the member alice of a room.
    pub(super) async fn member() -> Self {
        Self::member_of(Settings::default()).await
    }

    /// Returns the pair of a member as [`Pair::member`] does, with these settings.
    pub(super) async fn member_of(settings: Settings) -> Self {
        let mut pair = pair_of(ListenerProtocol::Raw, settings, u64::MAX);
        pair.join().await;
        pair
    }

    /// Makes the connection a member, and drops what its client is told of that.
    pub(super) async fn join(&mut self) {
        self.send("JOIN room alice\n");
        self.take_turn().unwrap();
        self.follow_until_joined().await;
        self.connection.slice.restart();
        self.received();
    }

    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.client.write_all(bytes.as_ref()).unwrap();
    }

    /// Returns what the client's system has received.
    pub(super) fn received(&mut self) -> String {
        let mut received = Vec::new();
        self.client.set_nonblocking(true).unwrap();
        let end = self.client.read_to_end(&mut received);
        assert!(end.is_ok() || end.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock));
        self.client.set_nonblocking(false).unwrap();
        String::from_utf8_lossy(&received).into_owned()
    }

    /// Processes received input as one turn of the event loop does.
    pub(super) fn take_turn(&mut self) -> Result<(), CloseReason> {
        self.connection.slice.restart();
        if self.connection.held_input.is_some() {
            return self.connection.resume_input();
        }
        self.connection.read_received_input().map(|_| ())
    }

    /// Takes turns until the rates pause input, at most 20.
    pub(super) fn take_turns_until_delayed(&mut self) {
        for _ in 0..20 {
            self.take_turn().unwrap();
            if self.connection.deadlines.is_set(Deadline::RateLimit) {
                return;
            }
        }
        panic!("the rates do not delay the input");
    }

    /// Waits for the next event, at most a day of a paused clock, and does what it asks for.
    pub(super) async fn step(&mut self) -> Result<(), CloseReason> {
        let day = Duration::from_secs(24 * 60 * 60);
        tokio::time::timeout(day, self.connection.step()).await.expect("no event comes")
    }

    /// Does what events ask for until a second of a paused clock passes without one.
    pub(super) async fn settle(&mut self) {
        while let Ok(outcome) = tokio::time::timeout(Duration::from_secs(1), self.connection.step()).await {
            outcome.unwrap();
        }
    }

    /// Waits until the passes of the connection's room have ended.
    pub(super) async fn settle_room(&self) {
        while !self.context.registry.tracker().is_empty() {
            tokio::task::yield_now().await;
        }
    }

    /// Writes what waits; returns what the client's system has received.
    pub(super) fn drained(&mut self) -> String {
        self.connection.begin_draining();
        self.connection.drain_output();
        self.received()
    }

    /// Closes the connection, in at most a day of a paused clock; returns how long that took in seconds.
    pub(super) async fn close(&mut self, reason: CloseReason) -> u64 {
        let (day, start) = (Duration::from_secs(24 * 60 * 60), Instant::now());
        tokio::time::timeout(day, self.connection.close(reason)).await.expect("the close does not end");
        start.elapsed().as_secs()
    }

    /// Waits for the next deadline of a paused clock alone.
    pub(super) async fn next_deadline(&mut self) -> Deadline {
        let deadline = poll_fn(|context| self.connection.deadlines.poll(context));
        tokio::time::timeout(Duration::from_secs(24 * 60 * 60), deadline).await.expect("no deadline comes")
    }

    /// Follows rooms' events until the connection is a member.
    pub(super) async fn follow_until_joined(&mut self) {
        while self.connection.state.admitted_membership().is_none() {
            if let Event::Raised(events) = self.connection.next_event().await {
                for slot in MembershipSlot::ALL {
                    self.connection.handle_room_events(slot, events.of_slot(slot));
                }
            }
        }
    }
}
