//! A connection: one task that reads its peer's lines, and ends for one named reason.

use crate::close::CloseReason;
use crate::config::Config;
use crate::counters::Tally;
use crate::deadlines::{Deadline, Deadlines};
use crate::lines::{Lines, TooLong};
use crate::name::{PeerId, RoomName, UserName};
use crate::outbox::{Drained, Outlet};
use crate::peer::Peer;
use crate::rate::{Limit, Pace};
use crate::registry::{Membership, Registry};
use crate::session::{BadJoin, Effect, Session};
use crate::signals::Signal;
use crate::wire;
use bytes::{Buf, Bytes};
use std::cell::RefCell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tracing::info;

/// The most that one read takes, in bytes.
const READ: usize = 64 << 10;

/// A parcel is handed to the room when it has grown to this many bytes: small lines grow, by a
/// name each, and one read could be a parcel far beyond a room's budget.
const PARCEL: usize = 16 << 10;

/// Stretches of a backlog that are written before others get their turn.
const STRETCHES: usize = 8;

thread_local! {
    /// The buffers that a connection reads into and lays out in. They belong to the worker thread:
    /// a quiet connection has none.
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch { input: vec![0; READ], parcel: Draft::default() });
}

struct Scratch {
    input: Vec<u8>,
    parcel: Draft,
}

/// Lines laid out, on their way into a parcel.
#[derive(Default)]
struct Draft {
    bytes: Vec<u8>,
    lines: u32,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) config: Config,
    pub(crate) limit: Limit,
    pub(crate) registry: Arc<Registry>,
    /// Cancelled when the server ends.
    pub(crate) ending: CancellationToken,
}

/// Where the peer is.
#[derive(Debug)]
pub(crate) enum Place {
    /// In no room.
    Outside,
    /// At the door: the room has not answered yet.
    Waiting(Membership),
    /// In the room.
    Inside(Membership),
}

/// What happened.
pub(crate) enum Event {
    Signals(Signal),
    Deadline(Deadline),
    Ending,
    Writable,
    Readable,
}

/// One connection's life.
pub(crate) struct Connection {
    host: Arc<Host>,
    pub(crate) peer: Arc<Peer<TcpStream>>,
    session: Session,
    pub(crate) place: Place,
    lines: Lines,
    /// Input that was read and can't be worked on yet: something is waited for.
    held: Bytes,
    /// Lines that the room's inbox had no room for.
    pub(crate) unsent: Option<(Box<[u8]>, u32)>,
    pace: Pace,
    pub(crate) deadlines: Deadlines,
    /// Tells that the server ends; only as long as no room does.
    pub(crate) ending: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// Whether there is a backlog to write.
    pub(crate) draining: bool,
    /// Whether somebody else had the turn to write: try again after a breath.
    contended: bool,
    /// Whether input has ended, or is of no interest any more.
    pub(crate) deaf: bool,
    /// Whether the room has let the peer go.
    pub(crate) released: bool,
    pub(crate) lines_in: u64,
}

/// How a connection went, for the log.
pub(crate) struct Report {
    pub(crate) reason: CloseReason,
    pub(crate) seat: Option<(RoomName, UserName)>,
    pub(crate) lines_in: u64,
    pub(crate) lines_out: u64,
}

impl Report {
    /// The connection's last line in the log. Names are printable ASCII without blanks: they
    /// can't forge one.
    pub(crate) fn log(&self, address: SocketAddr) {
        let (room, name) = self.seat.unzip();
        let (room, name) = (room.as_ref().map(RoomName::as_str), name.as_ref().map(UserName::as_str));
        let Self { reason, lines_in, lines_out, .. } = self;
        let reason = reason.to_string();
        info!(%address, room, name, reason, lines_in, lines_out, "closed");
    }
}

impl Connection {
    pub(crate) fn new(host: Arc<Host>, socket: TcpStream, id: PeerId) -> Self {
        let config = &host.config;
        let peer = Arc::new(Peer::new(id, config.backlog, config.slow_reader, socket));
        let mut deadlines = Deadlines::default();
        deadlines.set(Deadline::Login, Instant::now() + config.login_timeout);
        Self {
            peer,
            session: Session::Greeting,
            place: Place::Outside,
            lines: Lines::new(config.max_line),
            held: Bytes::new(),
            unsent: None,
            pace: Pace::new(Instant::now().into_std()),
            deadlines,
            ending: Some(Box::pin(host.ending.clone().cancelled_owned())),
            draining: false,
            contended: false,
            deaf: false,
            released: false,
            lines_in: 0,
            host,
        }
    }

    /// Talks with the peer until there is a reason to end, and ends.
    pub(crate) async fn serve(mut self) -> Report {
        self.answer(wire::WELCOME).await;
        let reason = loop {
            if let Err(reason) = self.step().await {
                break reason;
            }
        };
        self.end(reason).await
    }

    /// Waits for the next event and does what it asks for.
    async fn step(&mut self) -> Result<(), CloseReason> {
        match self.next().await {
            Event::Signals(signals) => self.heed(signals),
            Event::Deadline(deadline) => self.overdue(deadline),
            Event::Ending => Err(CloseReason::Shutdown),
            Event::Writable => self.drain(),
            Event::Readable => self.read(),
        }
    }

    pub(crate) async fn next(&mut self) -> Event {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        let signals = self.peer.signals(context);
        if signals != Signal::NONE {
            // Noted here and not where it is waited for: it may come together with another
            // signal that ends the connection first.
            self.released |= signals.has_any(Signal::RELEASED | Signal::CLOSE);
            return Poll::Ready(Event::Signals(signals));
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
        if std::mem::take(&mut self.contended) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.draining && self.peer.outlet().poll_write_ready(context).is_ready() {
            return Poll::Ready(Event::Writable);
        }
        if self.deaf || self.is_waiting() {
            return Poll::Pending;
        }
        // An error is found again, and named, by the read.
        let _ = ready!(self.peer.outlet().poll_read_ready(context));
        Poll::Ready(Event::Readable)
    }

    /// The room and the name that the peer has, or asked for.
    pub(crate) fn seat(&self) -> Option<(RoomName, UserName)> {
        match &self.place {
            Place::Outside => None,
            Place::Waiting(membership) | Place::Inside(membership) => Some((membership.room(), membership.user())),
        }
    }

    /// Whether input has to wait: for the room's answer, for its inbox, or for the rate limit.
    fn is_waiting(&self) -> bool {
        matches!(self.place, Place::Waiting(_)) || self.unsent.is_some() || self.deadlines.is_set(Deadline::Pace)
    }
}

/// Input: from bytes to what the room gets.
impl Connection {
    fn read(&mut self) -> Result<(), CloseReason> {
        SCRATCH.with_borrow_mut(|Scratch { input, parcel }| match self.peer.outlet().try_read(input) {
            Ok(0) => {
                self.deaf = true;
                self.end_of_input(parcel)
            }
            Ok(count) => {
                let (rest, outcome) = self.feed(&input[..count], parcel);
                self.held = Bytes::copy_from_slice(rest);
                outcome
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(CloseReason::Lost(error.kind())),
        })
    }

    /// Goes on with the input that is held, if nothing is waited for any more.
    fn go_on(&mut self) -> Result<(), CloseReason> {
        SCRATCH.with_borrow_mut(|Scratch { parcel, .. }| {
            if !self.held.is_empty() {
                let held = self.held.clone();
                let (rest, outcome) = self.feed(&held, parcel);
                self.held.advance(held.len() - rest.len());
                outcome?;
            }
            if self.held.is_empty() {
                self.held = Bytes::new();
                if self.deaf {
                    return self.end_of_input(parcel);
                }
            }
            Ok(())
        })
    }

    /// Works on `input` line by line until something has to be waited for; what is left of it.
    fn feed<'a>(&mut self, mut input: &'a [u8], parcel: &mut Draft) -> (&'a [u8], Result<(), CloseReason>) {
        let outcome = self.take_lines(&mut input, parcel);
        self.post(parcel);
        (input, outcome)
    }

    fn take_lines(&mut self, input: &mut &[u8], parcel: &mut Draft) -> Result<(), CloseReason> {
        let now = Instant::now().into_std();
        while !input.is_empty() && !self.is_waiting() {
            if let Err(later) = self.pace.check(&self.host.limit, now) {
                self.deadlines.set(Deadline::Pace, later.into());
                break;
            }
            match self.lines.next(input) {
                None => break,
                Some(Err(TooLong)) => return Err(CloseReason::LineTooLong(self.host.config.max_line)),
                Some(Ok(line)) => {
                    self.pace.spend(&self.host.limit, now);
                    self.take_line(&line, parcel)?;
                }
            }
        }
        Ok(())
    }

    fn take_line(&mut self, line: &[u8], parcel: &mut Draft) -> Result<(), CloseReason> {
        self.lines_in += 1;
        match self.session.line(line).map_err(CloseReason::BadJoin)? {
            Effect::Join { room, user } => self.join(room, user),
            Effect::Say(text) => {
                if let Place::Inside(membership) = &self.place {
                    wire::said(&mut parcel.bytes, &membership.user(), &text);
                    parcel.lines += 1;
                }
                if parcel.bytes.len() >= PARCEL {
                    self.post(parcel);
                }
                Ok(())
            }
        }
    }

    fn join(&mut self, room: RoomName, user: UserName) -> Result<(), CloseReason> {
        self.deadlines.clear(Deadline::Login);
        let peer: Arc<Peer<dyn Outlet>> = Arc::clone(&self.peer) as _;
        let asked = self.host.registry.join(room, user, peer);
        self.place = Place::Waiting(asked.map_err(|_| CloseReason::Shutdown)?);
        Ok(())
    }

    /// Hands the draft in, and empties it.
    fn post(&mut self, draft: &mut Draft) {
        if draft.lines > 0 {
            self.hand_in(Box::from(&draft.bytes[..]), draft.lines);
            draft.bytes.clear();
            draft.lines = 0;
        }
    }

    /// Hands lines to the room, or keeps them until its inbox has room.
    pub(crate) fn hand_in(&mut self, bytes: Box<[u8]>, lines: u32) {
        if let Place::Inside(membership) = &self.place {
            self.unsent = membership.say(bytes, lines).err().map(|bytes| (bytes, lines));
        }
    }

    /// The peer's side has ended: its last line counts, finished or not.
    fn end_of_input(&mut self, parcel: &mut Draft) -> Result<(), CloseReason> {
        if self.is_waiting() {
            return Ok(());
        }
        if let Some(line) = self.lines.finish() {
            let outcome = self.take_line(&line, parcel);
            self.post(parcel);
            outcome?;
        }
        match self.session {
            _ if self.is_waiting() => Ok(()),
            Session::Greeting => Err(CloseReason::BadJoin(BadJoin::Nothing)),
            Session::Joined => Err(CloseReason::Eof),
        }
    }
}

/// What the room, the clock and the socket ask for.
impl Connection {
    fn heed(&mut self, signals: Signal) -> Result<(), CloseReason> {
        if signals.has(Signal::ADMITTED) {
            self.place = match std::mem::replace(&mut self.place, Place::Outside) {
                Place::Waiting(membership) => Place::Inside(membership),
                place => place,
            };
            // From now on the room tells when the server ends.
            self.ending = None;
        }
        if signals.has(Signal::BACKLOG) {
            self.begin_draining();
        }
        if signals.has(Signal::REFUSED) {
            return Err(CloseReason::NameTaken);
        }
        if signals.has(Signal::BROKEN) {
            return Err(CloseReason::Lost(std::io::ErrorKind::BrokenPipe));
        }
        if signals.has(Signal::CLOSE) {
            return Err(CloseReason::Shutdown);
        }
        if signals.has(Signal::TOO_SLOW) {
            return Err(CloseReason::TooSlow(self.host.config.backlog));
        }
        if signals.has(Signal::ROOMY)
            && let Some((bytes, lines)) = self.unsent.take()
        {
            self.hand_in(bytes, lines);
        }
        if self.is_waiting() { Ok(()) } else { self.go_on() }
    }

    fn overdue(&mut self, deadline: Deadline) -> Result<(), CloseReason> {
        match deadline {
            Deadline::Login => Err(CloseReason::LoginTimeout(self.host.config.login_timeout)),
            Deadline::Stall => Err(CloseReason::Stalled(self.host.config.stall_timeout)),
            Deadline::Pace => self.go_on(),
            Deadline::Close => Ok(()),
        }
    }

    pub(crate) fn begin_draining(&mut self) {
        self.draining = true;
        self.deadlines.set(Deadline::Stall, Instant::now() + self.host.config.stall_timeout);
    }

    /// Writes of the backlog what the socket takes.
    pub(crate) fn drain(&mut self) -> Result<(), CloseReason> {
        let mut tally = Tally::default();
        let outcome = self.drain_some(&mut tally);
        self.host.registry.counters().add(&tally);
        outcome
    }

    fn drain_some(&mut self, tally: &mut Tally) -> Result<(), CloseReason> {
        for _ in 0..STRETCHES {
            match self.peer.drain(tally) {
                Some(Drained::Some(_)) => {
                    self.deadlines.set(Deadline::Stall, Instant::now() + self.host.config.stall_timeout);
                }
                Some(Drained::Empty) => {
                    self.draining = false;
                    self.deadlines.clear(Deadline::Stall);
                    break;
                }
                Some(Drained::Blocked) => break,
                Some(Drained::Broken) => {
                    self.draining = false;
                    return Err(CloseReason::Lost(std::io::ErrorKind::BrokenPipe));
                }
                None => {
                    self.contended = true;
                    break;
                }
            }
        }
        Ok(())
    }

    /// Says `text` to this peer alone, behind all that it is owed.
    pub(crate) async fn answer(&mut self, text: &str) {
        let mut tally = Tally::default();
        while !self.peer.answer(text, &mut tally) {
            tokio::task::yield_now().await;
        }
        self.host.registry.counters().add(&tally);
        self.begin_draining();
        // A broken socket is found again by whoever reads or flushes.
        let _ = self.drain();
    }
}
