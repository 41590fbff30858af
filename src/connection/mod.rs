//! Connections: one task each, which reads its peer's lines, runs its commands, and ends for one named reason.
//!
//! The event loop, the state, input, commands, telnet, the input line, output and the end of a connection live here.
//! Rooms, sockets and the meaning of bytes are the layers' below; nothing below knows a connection.

mod agreement;
mod close;
pub(crate) mod close_reason;
mod commands;
mod decoding;
mod delayed_line;
mod directory;
mod display;
mod event_loop;
pub(crate) mod handover;
mod input;
mod input_flush;
mod input_line;
mod input_memory;
mod input_pause;
mod lines;
mod login;
mod operator_requests;
mod output;
mod poll_slice;
pub(crate) mod readiness;
mod state;
mod telnet;
#[cfg(test)]
mod tests;
mod timers;
mod transport;
mod web;

use crate::config::{AllowedOrigin, Live};
use crate::limits::handshake_budget::HandshakeBudget;
use crate::limits::login_queue::LoginTicket;
use crate::limits::memory::MemoryCharge;
use crate::limits::rate::RateLimiter;
use crate::limits::slice_budget::SliceBudget;
use crate::metrics::listener_counts::{ListenerCounts, ListenerNumber};
use crate::net::codec::Codec;
use crate::net::{ListenerProtocol, PeerAddress, Socket};
use crate::peer::{OutputOp, Peer, PeerId};
use crate::protocol::line_decoder::LineDecoder;
use crate::room::registry::Registry;
use bytes::Bytes;
use delayed_line::DelayedLine;
pub(crate) use directory::ConnectionDirectory;
use display::LineDisplay;
use handover::HandoverStep;
pub(crate) use handover::{CopiedConnection, HandoverGate, MovedConnection};
use input_flush::InputFlush;
pub(crate) use input_flush::UnflushedInputs;
use lines::BlockedInput;
use login::Login;
pub(crate) use operator_requests::ConnectionReport;
use poll_slice::PollSlice;
use readiness::AcceptLoops;
use state::ConnectionState;
use std::collections::VecDeque;
use std::sync::Arc;
use telnet::TelnetState;
use timers::{Deadline, Deadlines};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use transport::Transport;
use web::WebState;

/// The values that all connections share.
#[derive(Debug)]
pub(crate) struct ServerContext {
    /// The settings and the message of the day in force.
    pub(crate) live: Live,
    /// All rooms.
    pub(crate) registry: Arc<Registry>,
    /// Cancelled when the server begins to end.
    pub(crate) shutdown: CancellationToken,
    /// Cancelled when the server takes no new connections any more: it drains, or begins to end.
    pub(crate) draining: CancellationToken,
    /// Cancelled when the time for a graceful end is over: what connections still wait for is cut.
    pub(crate) abort: CancellationToken,
    /// The budget of polls that use up their slices.
    pub(crate) slices: SliceBudget,
    /// The budget of TLS handshakes.
    pub(crate) handshakes: HandshakeBudget,
    /// The connections whose input the rooms' shutdown notices wait for.
    pub(crate) unflushed_inputs: UnflushedInputs,
    /// The accept loops of the listeners.
    pub(crate) accept_loops: AcceptLoops,
    /// The connections of each listener.
    pub(crate) listener_counts: ListenerCounts,
    /// The step that a handover to another process asks of the connections.
    pub(crate) handover: HandoverGate,
    /// The origins whose pages may connect, beside the server's own.
    pub(crate) allowed_origins: Box<[AllowedOrigin]>,
    /// The live connections; `None` where no operator can ask for them.
    pub(crate) directory: Option<Arc<ConnectionDirectory>>,
}

/// The state of the output buffer, as far as the connection knows.
#[derive(Debug, PartialEq, Eq)]
enum OutputStatus {
    /// Nothing waits.
    Empty,
    /// Bytes wait: the connection writes them when the socket takes bytes.
    Waiting,
    /// Bytes wait, and another thread held the write lock: the connection tries again at its next turn.
    Contended,
}

/// Output of the connection's own that waits for the write lock, in order.
#[derive(Debug, Default)]
struct PendingOutput(VecDeque<OutputOp>);

/// One connection.
pub(crate) struct Connection {
    context: Arc<ServerContext>,
    /// The login; `None` once a room has admitted the peer. Before the peer, so that it is dropped first: a connection whose
    /// place is free already can't make way.
    login: Option<Box<Login>>,
    peer: Arc<Peer<Socket>>,
    /// The codec between the socket and everything else; `None` for a plain transport.
    transport: Option<Box<Transport>>,
    /// The request or the frames of a browser; `None` on other listeners.
    web: Option<Box<WebState>>,
    state: ConnectionState,
    line_decoder: LineDecoder,
    /// The peer's telnet; `None` until a telnet command arrives.
    telnet: Option<Box<TelnetState>>,
    /// How lines are shown; `None` until the peer asks for more than plain lines.
    display: Option<Box<LineDisplay>>,
    /// Input that was read while input was paused. Never empty.
    held_input: Option<Box<Bytes>>,
    /// Lines and a command for which the room's inbox had no capacity.
    blocked_input: Option<Box<BlockedInput>>,
    /// Output that waits for the write lock. Never empty.
    pending_output: Option<Box<PendingOutput>>,
    /// A command or a JOIN line that waits for the budget of its address.
    delayed_line: Option<Box<DelayedLine>>,
    /// How much of its rate of lines the peer has used.
    line_rate: RateLimiter,
    /// How much of its rate of bytes the peer has used.
    byte_rate: RateLimiter,
    /// How much of the rate of reads without a line's end is used.
    partial_read_rate: RateLimiter,
    /// The work of the current poll.
    slice: PollSlice,
    /// The charge of unfinished and held input to the memory budget; `None` while no input is kept.
    charged_input: Option<Box<MemoryCharge>>,
    deadlines: Deadlines,
    output_status: OutputStatus,
    /// Encoded bytes in the output buffer when it was last asked.
    unwritten: u32,
    /// Whether input has ended, or is of no interest any more.
    input_closed: bool,
    /// How far the flush of the input at shutdown is.
    input_flush: InputFlush,
    /// How far the handover of the connection to another process is.
    handover: HandoverStep,
    /// Lines that the peer sent.
    lines_in: u64,
    /// Where the peer connects from, for the log.
    address: PeerAddress,
    /// The protocol of its listener.
    protocol: ListenerProtocol,
    /// The listener that counts the connection.
    listener: Option<ListenerNumber>,
}

impl Connection {
    /// Returns a connection that has said nothing yet. The login deadline runs from now on.
    pub(crate) fn new(
        context: Arc<ServerContext>,
        socket: Socket,
        codec: Option<Box<dyn Codec>>,
        (address, protocol): (PeerAddress, ListenerProtocol),
        id: PeerId,
        login_ticket: Arc<LoginTicket>,
    ) -> Box<Self> {
        let live = context.live.get();
        let mut deadlines = Deadlines::default();
        deadlines.set_after(Deadline::Login, live.login_timeout);
        context.unflushed_inputs.add();
        let connection = Box::new(Self {
            peer: Arc::new(Peer::new(id, live.backlog, live.slow_reader, socket)),
            transport: codec.map(|codec| Box::new(Transport::new(codec))),
            web: protocol.is_web().then(|| Box::new(WebState::new())),
            state: ConnectionState::NotJoined,
            line_decoder: LineDecoder::new(live.max_line),
            telnet: None,
            display: None,
            held_input: None,
            blocked_input: None,
            pending_output: None,
            delayed_line: None,
            line_rate: RateLimiter::new(Instant::now().into_std()),
            byte_rate: RateLimiter::new(Instant::now().into_std()),
            partial_read_rate: RateLimiter::new(Instant::now().into_std()),
            slice: PollSlice::default(),
            charged_input: None,
            deadlines,
            output_status: OutputStatus::Empty,
            unwritten: 0,
            input_closed: false,
            input_flush: InputFlush::default(),
            handover: HandoverStep::default(),
            lines_in: 0,
            address,
            protocol,
            listener: None,
            login: Some(Box::new(Login::new(login_ticket, protocol))),
            context,
        });
        connection.enter_directory();
        connection
    }

    /// Counts the connection as one of `listener`, until it is closed.
    pub(crate) fn count_for(mut self: Box<Self>, listener: ListenerNumber) -> Box<Self> {
        self.context.listener_counts.add(listener);
        self.listener = Some(listener);
        self
    }
}
