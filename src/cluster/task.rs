//! The task of a cluster: the one place where the state machine, the rooms and the bus meet.

use crate::cluster::bus::{Bus, BusEvent, BusRequest, Reading, Reply};
use crate::cluster::core::{Core, Effect, Event, WhisperOutcome};
use crate::cluster::tap::{LocalEvent, Shared};
use crate::room::operation::Requester;
use crate::room::registry::Registry;
use crate::room::remote::{IncomingWhisper, RemoteWhisper};
use crate::text::names::{NodeName, RoomName, UserName};
use crate::text::replies;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracing::{error, info, warn};

/// The time between two ticks of the state machine.
const TICK: Duration = Duration::from_millis(100);

/// The time between two publications of the rooms of other servers, in ticks.
const ROOMS_EVERY: u32 = 10;

/// The questions and answers that wait for the bus.
const MAX_QUESTIONS: usize = 1_000;

/// How long the bus may take for what is said last.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);

/// The time between two checks that NATS keeps lines, in ticks.
const KEEP_EVERY: u32 = 100;

/// How long NATS may take for the last lines of a room: a little less than the room waits.
const READ_TIMEOUT: Duration = Duration::from_millis(270);

/// The time between the last lines and the end of a server.
const END_PAUSE: Duration = Duration::from_millis(100);

/// A whisper whose outcome is awaited.
struct SentWhisper {
    room: RoomName,
    node: NodeName,
    to: UserName,
    text: Box<str>,
    sender: Requester,
}

/// The task.
pub(super) struct ClusterTask {
    pub(super) core: Core,
    pub(super) registry: Weak<Registry>,
    pub(super) bus: Bus,
    pub(super) local: UnboundedReceiver<LocalEvent>,
    pub(super) shared: Arc<Shared>,
    pub(super) clock: Clock,
    operator_lines: mpsc::Sender<(NodeName, String)>,
    whispers: HashMap<u64, SentWhisper>,
    /// The rooms whose subscription is to be changed, and whether they are wanted: before the frames that follow.
    subscriptions: BTreeMap<RoomName, bool>,
    /// The rooms that the bus has subscribed to.
    subscribed: HashSet<RoomName>,
    /// Questions and answers; beyond [`MAX_QUESTIONS`] the oldest are dropped.
    questions: VecDeque<BusRequest>,
    /// Rooms whose last lines are to be read, after the frames that wait.
    readings: VecDeque<Reading>,
    /// The lines of a room's history, if NATS is to keep them.
    kept_lines: Option<usize>,
    is_data_connected: bool,
    was_connected: bool,
    ticks: u32,
}

/// Unix time that never goes back, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    at_start: u64,
    start: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { at_start: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX), start: Instant::now() }
    }

    pub(super) fn now(self) -> u64 {
        self.at_start.saturating_add(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

impl ClusterTask {
    pub(super) fn new(
        core: Core,
        registry: Weak<Registry>,
        bus: Bus,
        (local, shared): (UnboundedReceiver<LocalEvent>, Arc<Shared>),
        operator_lines: mpsc::Sender<(NodeName, String)>,
        clock: Clock,
    ) -> Self {
        let (whispers, subscriptions, questions) = (HashMap::new(), BTreeMap::new(), VecDeque::new());
        let (was_connected, ticks) = (false, 0);
        Self {
            core,
            registry,
            bus,
            local,
            shared,
            clock,
            operator_lines,
            whispers,
            subscriptions,
            subscribed: HashSet::new(),
            questions,
            readings: VecDeque::new(),
            kept_lines: None,
            is_data_connected: false,
            was_connected,
            ticks,
        }
    }

    /// Has NATS keep the lines of rooms: so many as a room's history holds at least.
    pub(super) fn keeping_lines(self, kept_lines: Option<usize>) -> Self {
        Self { kept_lines, ..self }
    }

    /// Runs until the server stops.
    pub(super) async fn run(mut self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (has_data, has_control) = self.has_requests();
            let (data, control) = (self.bus.data.clone(), self.bus.control.clone());
            tokio::select! {
                event = self.local.recv() => match event {
                    Some(LocalEvent::Stop) | None => return self.stop().await,
                    Some(event) => self.on_local(event),
                },
                Some(event) = self.bus.control_events.recv() => {
                    if !self.catch_up() {
                        return self.stop().await;
                    }
                    self.on_bus(event);
                }
                Some(event) = self.bus.data_events.recv() => {
                    if !self.catch_up() {
                        return self.stop().await;
                    }
                    self.on_bus(event);
                }
                Ok(permit) = data.reserve(), if has_data => self.send_data(permit),
                Ok(permit) = control.reserve(), if has_control => self.send_control(permit),
                _ = ticks.tick() => self.on_tick(),
            }
            self.carry_out(None);
        }
    }

    /// Handles the local events that wait, before an event of the bus: members have seen these changes already, so that a
    /// server that asks for the members of a room must not get an answer without them. Returns false if the server stops.
    fn catch_up(&mut self) -> bool {
        for _ in 0..self.local.len() {
            match self.local.try_recv() {
                Ok(LocalEvent::Stop) => return false,
                Ok(event) => self.on_local(event),
                Err(_) => return true,
            }
        }
        true
    }

    fn has_requests(&self) -> (bool, bool) {
        let (data, control) = self.core.has_frames();
        let has_data =
            data || self.core.has_log_frames() || !self.subscriptions.is_empty() || !self.readings.is_empty();
        (has_data, control || !self.questions.is_empty())
    }

    fn send_data(&mut self, permit: mpsc::Permit<'_, BusRequest>) {
        let request = match self.subscriptions.pop_first() {
            Some((room, true)) => {
                self.subscribed.insert(room);
                Some(BusRequest::Subscribe(room))
            }
            Some((room, false)) => {
                self.subscribed.remove(&room);
                Some(BusRequest::Unsubscribe(room))
            }
            None => self.next_data_frame().or_else(|| self.take_reading()),
        };
        if let Some(request) = request {
            permit.send(request);
        }
    }

    fn next_data_frame(&mut self) -> Option<BusRequest> {
        let publish = |(channel, bytes)| BusRequest::Publish(channel, bytes);
        self.core.take_log_frame().map(BusRequest::Append).or_else(|| self.core.take_data_frame().map(publish))
    }

    /// Takes the next reading that is not too late.
    fn take_reading(&mut self) -> Option<BusRequest> {
        let now = Instant::now();
        let mut readings = std::iter::from_fn(|| self.readings.pop_front());
        readings.find(|reading| reading.deadline > now).map(BusRequest::ReadLines)
    }

    fn send_control(&mut self, permit: mpsc::Permit<'_, BusRequest>) {
        let frame =
            |core: &mut Core| core.take_control_frame().map(|(channel, bytes)| BusRequest::Publish(channel, bytes));
        if let Some(request) = self.questions.pop_front().or_else(|| frame(&mut self.core)) {
            permit.send(request);
        }
    }

    fn on_local(&mut self, event: LocalEvent) {
        self.core.set_time(self.clock.now());
        match event {
            LocalEvent::Open(room, instance) => self.core.open_room(room, instance),
            LocalEvent::Batch(room, instance, changes, is_shown) => {
                self.shared.release(&changes);
                self.core.on_batch(room, instance, changes, is_shown);
            }
            LocalEvent::EndWaiting(_done) => {
                self.core.end_waiting();
                self.carry_out(None);
                self.shared.end_ordered();
            }
            LocalEvent::Close(room, instance) => self.core.close_room(room, instance),
            LocalEvent::CheckNode(room, node) => self.core.check_node(room, node),
            LocalEvent::Whisper(whisper, sender) => {
                let RemoteWhisper { node, room, to, text, .. } = whisper.clone();
                let id = self.core.send_whisper(whisper);
                self.whispers.insert(id, SentWhisper { room, node, to, text, sender });
            }
            LocalEvent::History(room, node, lines) => self.core.send_history(room, node, lines),
            LocalEvent::Returned(node, id, addressee) => self.core.return_whisper(node, id, addressee),
            LocalEvent::Operator(line) => self.core.send_operator_line(line),
            LocalEvent::Stop => {}
        }
    }

    fn on_bus(&mut self, event: BusEvent) {
        self.core.set_time(self.clock.now());
        match event {
            BusEvent::Connected { is_data: true } => {
                self.core.set_data_down(false);
                self.is_data_connected = true;
                self.set_store(true);
                self.keep_lines();
            }
            BusEvent::Disconnected { is_data: true } => {
                self.core.set_data_down(true);
                self.is_data_connected = false;
                self.set_store(false);
            }
            BusEvent::Connected { is_data: false } => {
                self.shared.set_connected(true);
                if self.was_connected {
                    self.core.renew();
                }
                self.was_connected = true;
            }
            BusEvent::Disconnected { is_data: false } => self.shared.set_connected(false),
            BusEvent::Frame { channel, bytes, reply } => {
                self.core.on_frame(channel, &bytes);
                self.carry_out(reply);
            }
            BusEvent::NobodyAt(node) => self.core.on_ping_failed(node),
            BusEvent::LogThere => {
                self.shared.set_log_there();
                self.core.on_log_there();
            }
            BusEvent::Refused(room, number) => self.core.on_refused(room, number),
            BusEvent::Appended(room, number) => self.core.on_appended(room, number),
            BusEvent::LinesKept(is_kept) => self.set_store(is_kept),
            BusEvent::Stored { room, instance, frames } => self.core.on_stored(room, instance, frames.as_deref()),
        }
    }

    /// Records whether lines can be read, unless none are kept.
    fn set_store(&mut self, is_usable: bool) {
        let is_usable = is_usable && self.is_data_connected && self.kept_lines.is_some();
        self.core.set_store(is_usable);
        self.shared.set_store(is_usable);
    }

    /// Has NATS keep the lines of rooms, if it is to.
    fn keep_lines(&mut self) {
        if self.kept_lines.is_some() {
            self.push_question(BusRequest::KeepLines);
        }
    }

    fn on_tick(&mut self) {
        self.core.set_time(self.clock.now());
        self.core.on_tick();
        self.shared.set_counts(self.core.counts());
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(KEEP_EVERY) && self.shared.is_connected() {
            self.keep_lines();
        }
        if self.ticks.is_multiple_of(ROOMS_EVERY) {
            self.shared.set_rooms(self.core.remote_rooms());
        }
    }

    /// Carries out what the state machine asks for. `reply` is where an answer to the current frame is expected.
    fn carry_out(&mut self, mut reply: Option<Reply>) {
        let effects = self.core.take_effects();
        self.shared.set_other_nodes(self.core.has_other_nodes());
        // Members wait for the log before its changes come, and as long as changes come that have waited for it.
        if self.core.is_ordered() {
            self.shared.set_ordered(true);
        }
        let Some(registry) = self.registry.upgrade() else { return };
        for effect in effects {
            match effect {
                Effect::Subscribe(room) => self.change_subscription(room, true),
                Effect::Unsubscribe(room) => self.change_subscription(room, false),
                Effect::Update(room, instance, update) => {
                    let dropped = registry.send_update(room, instance, update);
                    self.core.count_missing(dropped);
                }
                Effect::Deliver { room, node, id, from, to, text } => {
                    let whisper = IncomingWhisper { node, id, from, to, text };
                    if registry.send_incoming_whisper(room, whisper).is_err() {
                        self.core.return_whisper(node, id, None);
                    }
                }
                Effect::Whispered { id, outcome } => self.on_whispered(&registry, id, outcome),
                Effect::Ping(node) => self.push_question(BusRequest::Ask(node, self.core.ping_frame())),
                Effect::Pong => {
                    if let Some(reply) = reply.take() {
                        self.push_question(BusRequest::Answer(reply, self.core.pong_frame()));
                    }
                }
                Effect::Operator(node, line) => {
                    if self.operator_lines.try_send((node, line)).is_err() {
                        warn!(node = node.as_str(), "an operator's line is dropped: there are too many");
                    }
                }
                Effect::ReadStored(room, instance, after) => {
                    let (lines, deadline) = (self.kept_lines.unwrap_or_default(), Instant::now() + READ_TIMEOUT);
                    self.readings.push_back(Reading { room, instance, lines, after, deadline });
                }
                Effect::Log(event) => log(&event),
            }
        }
        if !self.core.is_ordered() {
            self.shared.set_ordered(false);
        }
    }

    /// Notes whether the frames of a room are wanted. What the bus has anyway is no change.
    fn change_subscription(&mut self, room: RoomName, is_wanted: bool) {
        if self.subscribed.contains(&room) == is_wanted {
            self.subscriptions.remove(&room);
        } else {
            self.subscriptions.insert(room, is_wanted);
        }
    }

    fn push_question(&mut self, question: BusRequest) {
        if self.questions.len() >= MAX_QUESTIONS {
            self.questions.pop_front();
        }
        self.questions.push_back(question);
    }

    /// Gives the sender of a whisper its outcome.
    fn on_whispered(&mut self, registry: &Arc<Registry>, id: u64, outcome: WhisperOutcome) {
        let Some(SentWhisper { room, node, to, text, sender }) = self.whispers.remove(&id) else { return };
        let mut lines = Vec::new();
        match outcome {
            WhisperOutcome::Delivered(name) => replies::push_whisper_sent(&mut lines, &name, &text),
            WhisperOutcome::NoSuchMember => replies::push_no_such_member(&mut lines, &to),
            WhisperOutcome::NoAnswer => replies::push_whisper_unanswered(&mut lines, &to, &node),
        }
        registry.send_whisper_outcome(room, sender, lines);
    }

    /// Tells the other servers that this one stops, after the last lines of rooms. What the bus does not take in time is lost.
    async fn stop(mut self) {
        self.core.set_time(self.clock.now());
        self.core.publish_end();
        if timeout(STOP_TIMEOUT, self.send_all_data()).await.is_err() {
            warn!("the cluster did not take the last lines in time");
        }
        // The end comes on another connection, and must not overtake them.
        sleep(END_PAUSE).await;
        self.core.stop();
        while let Some((channel, bytes)) = self.core.take_control_frame() {
            let sent = self.bus.control.send(BusRequest::Publish(channel, bytes));
            if !matches!(timeout(STOP_TIMEOUT, sent).await, Ok(Ok(()))) {
                return;
            }
        }
        let _ = timeout(STOP_TIMEOUT, flush(&self.bus.control)).await;
        info!("the other servers are told that this one stops");
    }

    /// Sends all frames of rooms, and waits until they are written, or the log has them.
    async fn send_all_data(&mut self) {
        loop {
            while let Some(request) = self.next_data_frame() {
                if self.bus.data.send(request).await.is_err() {
                    return;
                }
            }
            if self.core.is_log_idle() {
                return flush(&self.bus.data).await;
            }
            let Some(event) = self.bus.data_events.recv().await else { return };
            self.on_bus(event);
        }
    }
}

/// Waits until all requests of a queue are carried out and written.
async fn flush(requests: &mpsc::Sender<BusRequest>) {
    let (flush, flushed) = oneshot::channel();
    if requests.send(BusRequest::Flush(flush)).await.is_ok() {
        let _ = flushed.await;
    }
}

fn log(event: &Event) {
    match event {
        Event::NodeUp(node) => info!(node = node.as_str(), "another server is in the cluster"),
        Event::NodeDead(node) => warn!(node = node.as_str(), "a server of the cluster is dead: its members have left"),
        Event::NodeLeft(node) => info!(node = node.as_str(), "a server of the cluster has stopped"),
        Event::NameShared(node) => error!(
            node = node.as_str(),
            "another process has the name of this server: give each server a --node of its own"
        ),
        Event::Deaf => warn!("the cluster is out of reach"),
        Event::Hears => info!("the cluster is in reach again"),
        Event::Alone => warn!("the rooms are this server's alone until the cluster is in reach again"),
    }
}
