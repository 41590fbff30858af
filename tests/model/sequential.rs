//! The sequential driver: runs a history step by step against a real server and the model, and compares them after
//! each step.

use crate::comparison::{compare_step, compare_with_gaps};
use crate::history::{ClientKind, FirstLine, History, Line, LineEnd, Names, Profile, SLOTS, Step};
use crate::reference::{ClientId, Model, Rules};
use crate::server::{InProcessServer, Socket};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::yield_now;

/// The longest time that the effects of one step may take.
const STEP_DEADLINE: Duration = Duration::from_secs(10);

/// The same while a history that failed is shrunk.
const SHRINKING_DEADLINE: Duration = Duration::from_millis(300);

/// The number of polls that a server gets for its shutdown before slow readers read on.
const SHUTDOWN_POLLS: usize = 20;

/// The number of polls after which a wait sleeps between polls.
const BUSY_POLLS: usize = 200;

/// The number of the next case, which is in the names of its rooms.
static NEXT_CASE: AtomicU64 = AtomicU64::new(0);

/// The servers that histories share, one for each profile. A server that a history has failed on is not used again.
#[derive(Default)]
pub struct SequentialDriver {
    servers: RefCell<HashMap<Profile, InProcessServer>>,
    /// Whether a history has failed, so that the ones after it shrink it.
    has_failed: Cell<bool>,
}

impl SequentialDriver {
    /// Runs a history.
    ///
    /// # Errors
    /// A text that shows the first difference between the server and the model.
    pub fn run(&self, history: &History) -> Result<(), String> {
        let shared = if history.shuts_down { None } else { self.servers.borrow_mut().remove(&history.profile) };
        let mut server = shared.unwrap_or_else(|| InProcessServer::start(history.profile));
        let deadline = if self.has_failed.get() { SHRINKING_DEADLINE } else { STEP_DEADLINE };
        let outcome = server.run(async |server| Case::new(server, history, deadline).run(history).await);
        self.has_failed.set(self.has_failed.get() || outcome.is_err());
        outcome?;
        if !history.shuts_down {
            self.servers.borrow_mut().insert(history.profile, server);
        }
        Ok(())
    }
}

/// One case that runs.
struct Case<'a> {
    server: &'a mut InProcessServer,
    model: Model,
    names: Names,
    has_gaps: bool,
    /// The longest time that the effects of one step may take.
    deadline: Duration,
    slots: [Option<Client>; SLOTS],
}

/// The client in a slot.
struct Client {
    socket: Socket,
    id: ClientId,
    kind: ClientKind,
    /// Whether the client reads.
    reads: bool,
    /// The bytes that were received and not compared yet.
    received: Vec<u8>,
    /// The number of output lines that were compared.
    compared: usize,
}

impl<'a> Case<'a> {
    fn new(server: &'a mut InProcessServer, history: &History, deadline: Duration) -> Self {
        let Rules { max_line, .. } = server.rules;
        Self {
            model: Model::new(server.rules.clone()),
            names: Names::new(NEXT_CASE.fetch_add(1, Ordering::Relaxed), history.profile, max_line),
            has_gaps: history.profile == Profile::SmallBacklog,
            server,
            deadline,
            slots: [const { None }; SLOTS],
        }
    }

    async fn run(&mut self, history: &History) -> Result<(), String> {
        for (index, step) in history.steps.iter().enumerate() {
            let outcome = self.take_step(step).await;
            outcome.map_err(|error| format!("step {index}, {step:?}: {error}"))?;
        }
        self.finish(history.shuts_down).await.map_err(|error| format!("at the end: {error}"))
    }

    async fn take_step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Connect { slot, client, first } if self.slots[*slot].is_none() => {
                self.connect(*slot, *client).await?;
                let first = self.names.first_line(first);
                let line_end = client.line_ends.choose(LineEnd::Lf, true);
                self.send(*slot, &[first.as_bytes(), line_end.bytes()].concat(), &[]).await?;
            }
            Step::Send { slot, lines, cuts } => {
                self.connect_if_free(*slot).await?;
                self.send_lines(*slot, lines, cuts).await?;
            }
            Step::Flood { slot, lines, length } if self.has_gaps => {
                self.connect_if_free(*slot).await?;
                self.send_flood(*slot, *lines, *length).await?;
            }
            Step::StopReading { slot } if self.has_gaps => {
                if let Some(client) = &mut self.slots[*slot] {
                    client.reads = false;
                }
            }
            Step::ReadOn { slot } => self.read_on(*slot),
            Step::HalfClose { slot, lines, unfinished } => {
                self.send_unfinished(*slot, None).await?;
                self.send_lines(*slot, lines, &[]).await?;
                if let Some(line) = unfinished {
                    self.send(*slot, self.names.line(line).as_bytes(), &[]).await?;
                }
                if let Some(client) = &mut self.slots[*slot] {
                    client.socket.shut_down_output();
                    self.model.end_of_input(client.id);
                }
            }
            Step::Close { slot, unfinished } => {
                self.send_unfinished(*slot, unfinished.as_ref()).await?;
                if let Some(client) = self.slots[*slot].take() {
                    self.model.end_of_input(client.id);
                }
            }
            Step::Reset { slot } => {
                self.send_unfinished(*slot, Some(&Line::Chat(0))).await?;
                if let Some(client) = self.slots[*slot].take() {
                    if client.kind.is_tcp {
                        self.model.reset(client.id);
                        client.socket.reset();
                    } else {
                        self.model.end_of_input(client.id);
                    }
                }
            }
            Step::Connect { .. } | Step::Flood { .. } | Step::StopReading { .. } => return Ok(()),
        }
        self.settle().await
    }

    /// Ends all clients, or the server, and checks that the server keeps nothing.
    async fn finish(&mut self, shuts_down: bool) -> Result<(), String> {
        if shuts_down {
            self.model.shut_down();
            self.server.begin_shutdown();
            // The server ends while clients read nothing.
            for _ in 0..SHUTDOWN_POLLS {
                yield_now().await;
            }
        }
        for slot in 0..SLOTS {
            self.read_on(slot);
            if let Some(client) = self.slots[slot].as_ref().filter(|_| !shuts_down) {
                client.socket.shut_down_output();
                self.model.end_of_input(client.id);
            }
            if !shuts_down {
                self.settle().await?;
            }
        }
        self.settle().await?;
        let rooms = self.server.stats.rooms();
        if rooms == 0 { Ok(()) } else { Err(format!("{rooms} rooms are left without a member")) }
    }

    // Steps of clients.

    async fn connect(&mut self, slot: usize, kind: ClientKind) -> Result<(), String> {
        let socket = self.server.connect(kind.is_tcp).map_err(|error| error.to_string())?;
        let id = self.model.connect();
        let received = Vec::new();
        self.slots[slot] = Some(Client { socket, id, kind, reads: true, received, compared: 0 });
        self.settle().await
    }

    /// Connects a client in a free slot, which joins a room under a name that is its own if no other client took it.
    async fn connect_if_free(&mut self, slot: usize) -> Result<(), String> {
        if self.slots[slot].is_none() {
            self.connect(slot, ClientKind::default()).await?;
            let first = self.names.first_line(&FirstLine::Join { room: 0, name: slot });
            self.send(slot, format!("{first}\n").as_bytes(), &[]).await?;
            self.settle().await?;
        }
        Ok(())
    }

    async fn send_lines(&mut self, slot: usize, lines: &[(Line, LineEnd)], cuts: &[u8]) -> Result<(), String> {
        let Some(client) = &self.slots[slot] else { return Ok(()) };
        let line_ends = client.kind.line_ends;
        // A packet of a small-backlog case holds lines of one kind, since its comparison knows one order alone.
        let is_chat = lines.iter().all(|(line, _)| line.is_chat());
        let count = if self.has_gaps && !is_chat { 1 } else { lines.len() };
        if !is_chat {
            self.read_on(slot);
            self.settle().await?;
        }
        let mut bytes = Vec::new();
        for (line, line_end) in &lines[..count] {
            bytes.extend_from_slice(self.names.line(line).as_bytes());
            bytes.extend_from_slice(line_ends.choose(*line_end, false).bytes());
        }
        self.send(slot, &bytes, cuts).await
    }

    async fn send_flood(&mut self, slot: usize, lines: usize, length: usize) -> Result<(), String> {
        let Some(client) = &self.slots[slot] else { return Ok(()) };
        // A client that ends its lines with CR may never send LF: after it, a CR ends no line.
        let line_end = client.kind.line_ends.choose(LineEnd::Lf, false);
        let line = ["f".repeat(length).as_bytes(), line_end.bytes()].concat();
        let is_member = self.model.is_member(client.id);
        let said_before = self.server.stats.counters().lines;
        self.send(slot, &line.repeat(lines), &[]).await?;
        // The socket holds lines that the server has not read yet, and members that do not read can't show when it has: the
        // next client's line must not come before them.
        let start = Instant::now();
        while is_member && self.server.stats.counters().lines < said_before + lines as u64 {
            if start.elapsed() > self.deadline {
                return Err("the lines of a flood were not said within the deadline".to_owned());
            }
            yield_now().await;
        }
        Ok(())
    }

    async fn send_unfinished(&mut self, slot: usize, line: Option<&Line>) -> Result<(), String> {
        self.read_on(slot);
        self.settle().await?;
        match line {
            Some(line) => self.send(slot, self.names.line(line).as_bytes(), &[]).await,
            None => Ok(()),
        }
    }

    /// Sends bytes in packets, and gives the server the time to read each.
    async fn send(&mut self, slot: usize, bytes: &[u8], cuts: &[u8]) -> Result<(), String> {
        let Some(client) = &mut self.slots[slot] else { return Ok(()) };
        self.model.receive(client.id, bytes);
        let mut places: Vec<usize> = cuts.iter().map(|cut| usize::from(*cut) * bytes.len() / 256).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        for ends in places.windows(2) {
            let mut packet = &bytes[ends[0]..ends[1]];
            while !packet.is_empty() {
                match client.socket.write(packet) {
                    Ok(written) => packet = &packet[written..],
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    // The server may have closed at an earlier packet; the comparison shows whether it had to.
                    Err(_) => return Ok(()),
                }
                yield_now().await;
            }
        }
        Ok(())
    }

    fn read_on(&mut self, slot: usize) {
        if let Some(client) = &mut self.slots[slot] {
            client.reads = true;
        }
    }

    // Steps of the server.

    /// Waits until every client that reads has received what the model says, and until the server has closed the
    /// connections that have ended.
    async fn settle(&mut self) -> Result<(), String> {
        let start = Instant::now();
        let mut polls = 0;
        loop {
            let mut is_settled = true;
            for slot in &mut self.slots {
                let Some(client) = slot.as_mut().filter(|client| client.reads) else { continue };
                let has_ended = self.model.has_ended(client.id);
                let is_closed = client.receive()?;
                let is_complete = client.compare(&self.model, self.has_gaps)?;
                if is_closed && !(is_complete && has_ended) {
                    return Err(format!("client {} was closed; {}", client.id, client.missing(&self.model)));
                }
                is_settled &= is_complete && (is_closed || !has_ended);
                if is_closed {
                    *slot = None;
                }
            }
            let connected = self.slots.iter().flatten().count();
            if is_settled && self.server.stats.connections() == connected {
                return Ok(());
            }
            if start.elapsed() > self.deadline {
                let missing: Vec<String> =
                    self.slots.iter().flatten().map(|client| client.missing(&self.model)).collect();
                let connections = self.server.stats.connections();
                return Err(format!("{connections} of {connected} connections after the deadline; {missing:?}"));
            }
            polls += 1;
            if polls < BUSY_POLLS {
                yield_now().await;
            } else {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
}

impl Client {
    /// Reads what has arrived; returns whether the server has closed the connection.
    fn receive(&mut self) -> Result<bool, String> {
        let mut buffer = [0; 16 << 10];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return Ok(true),
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(format!("client {} can't read: {error}", self.id)),
            }
        }
    }

    /// Compares what was received if it is complete; returns whether it is.
    fn compare(&mut self, model: &Model, has_gaps: bool) -> Result<bool, String> {
        let expected = &model.output(self.id)[self.compared..];
        let difference = |error| format!("client {}: {error}", self.id);
        if has_gaps {
            let whole_lines = self.received.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            self.compared += compare_with_gaps(&self.received[..whole_lines], expected).map_err(difference)?;
            self.received.drain(..whole_lines);
            return Ok(self.compared == model.output(self.id).len() && self.received.is_empty());
        }
        let length: usize = expected.iter().map(|line| line.text.len()).sum();
        if self.received.len() < length {
            return Ok(false);
        }
        compare_step(&self.received, expected).map_err(difference)?;
        self.compared += expected.len();
        self.received.clear();
        Ok(true)
    }

    /// Returns what is missing, for a failure.
    fn missing(&self, model: &Model) -> String {
        let received = String::from_utf8_lossy(&self.received[..self.received.len().min(300)]).into_owned();
        let expected: String = model.output(self.id)[self.compared..].iter().map(|line| line.text.as_str()).collect();
        let expected: String = expected.chars().take(300).collect();
        format!("client {} has received {received:?} of {expected:?}", self.id)
    }
}
