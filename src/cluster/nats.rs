//! The bus over NATS: two connections, one for rooms and one for all else. In a cluster with one order rooms go through a
//! log ([`RoomLog`]).

use crate::cluster::bus::{Bus, BusEvent, BusRequest, EVENTS, QUEUE, Reading, Reply};
use crate::cluster::core::Channel;
use crate::cluster::history::LineStore;
use crate::cluster::room_log::RoomLog;
use crate::cluster::subjects::{received_on, subject, subscription};
use crate::config::{ClusterOrder, ClusterSettings};
use crate::text::names::{NodeName, RoomName};
use async_nats::client::RequestErrorKind;
use async_nats::connection::State;
use async_nats::{Client, ConnectError, ConnectOptions, Event, Message, Request, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

/// The time after which a connection without an answer is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a connection is checked: a server that is gone is noticed after two of these.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// How long an answer of NATS may take until a connection is opened anew. Frames that are older are dropped anyway.
const ROUND_TRIP_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest time between two tries to connect.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// How long an answer of another server may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);

/// The messages of one subscription that wait here. Beyond that NATS' client drops them, and the hole is told.
const SUBSCRIPTION_CAPACITY: usize = 1_024;

/// Why NATS can't be used at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NatsError {
    /// A file of the settings can't be used.
    #[error("{flag} {path}: {error}")]
    File { flag: &'static str, path: String, error: std::io::Error },
    /// The settings make no connection.
    #[error("--cluster: {0}")]
    Connect(#[from] ConnectError),
}

/// One connection, and the subscriptions that it feeds.
struct Connection {
    cluster: NodeName,
    /// The subject on which this server answers itself.
    echo: String,
    client: Client,
    events: mpsc::Sender<BusEvent>,
    rooms: HashMap<RoomName, RoomTask>,
    /// The log that rooms go through, in a cluster with one order.
    log: Option<RoomLog>,
    /// `None` where the settings keep no lines.
    store: Option<LineStore>,
}

/// The task that forwards the frames of a room. Its drop ends it.
struct RoomTask {
    task: JoinHandle<()>,
    /// Has the reader of a log ask for the last frame soon.
    check: Option<Arc<Notify>>,
}

impl Drop for RoomTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connects to NATS, in the background, as often as it takes. Needs a runtime.
///
/// # Errors
/// [`NatsError`] for settings that no NATS server could be reached with.
pub(crate) async fn connect(settings: &ClusterSettings, node: NodeName) -> Result<Bus, NatsError> {
    let (data_sender, data_events) = mpsc::channel(EVENTS);
    let (control_sender, control_events) = mpsc::channel(EVENTS);
    let (data, data_requests) = mpsc::channel(QUEUE);
    let (control, control_requests) = mpsc::channel(QUEUE);
    let (connections, reconnected) = watch::channel(0);
    let data_options = options(settings, node, (data_sender.clone(), true), connections.clone()).await?;
    let data_client = data_options.no_echo().connect(&settings.servers).await?;
    let control_options = options(settings, node, (control_sender.clone(), false), connections).await?;
    let control_client = control_options.connect(&settings.servers).await?;
    let log = (settings.order == ClusterOrder::Total)
        .then(|| RoomLog::start(settings, &data_client, data_sender.clone(), reconnected));
    // A room's frames, and the request to read them, go the same way.
    let store = LineStore::new(settings, data_client.clone());
    let echo = format!("{}.echo", subject(settings.name, Channel::Node(node)));
    let connection = |client, events, log| Connection {
        cluster: settings.name,
        echo: echo.clone(),
        client,
        events,
        rooms: HashMap::new(),
        log,
        store: store.clone(),
    };
    tokio::spawn(connection(data_client, data_sender, log).run(data_requests, Vec::new()));
    let own_channels = vec![Channel::All, Channel::Node(node)];
    tokio::spawn(connection(control_client, control_sender, None).run(control_requests, own_channels));
    Ok(Bus { data, control, data_events, control_events })
}

/// Returns the options of a connection, which reports its state to `events`, and counts its connections.
async fn options(
    settings: &ClusterSettings,
    node: NodeName,
    (events, is_data): (mpsc::Sender<BusEvent>, bool),
    connections: watch::Sender<u64>,
) -> Result<ConnectOptions, NatsError> {
    let has_failed = Arc::new(AtomicBool::new(false));
    let mut options = ConnectOptions::new()
        .name(format!("roomcast {node}"))
        .retry_on_initial_connect()
        .connection_timeout(CONNECT_TIMEOUT)
        .ping_interval(PING_INTERVAL)
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .reconnect_delay_callback(reconnect_pause)
        .event_callback(move |event| {
            if matches!(event, Event::Connected) {
                connections.send_modify(|count| *count += 1);
            }
            let (events, has_failed) = (events.clone(), Arc::clone(&has_failed));
            async move { report(event, (events, is_data), &has_failed).await }
        });
    if let Some(path) = &settings.credentials {
        options =
            options.credentials_file(path).await.map_err(|error| file_error("--cluster-credentials", path, error))?;
    }
    if let Some(path) = &settings.ca {
        std::fs::metadata(path).map_err(|error| file_error("--cluster-ca", path, error))?;
        options = options.add_root_certificates(path.clone());
    }
    Ok(options)
}

fn file_error(flag: &'static str, path: &Path, error: std::io::Error) -> NatsError {
    NatsError::File { flag, path: path.display().to_string(), error }
}

/// Returns the time until a try to connect: longer after each one, and never the same, so that servers that lost NATS at one
/// moment do not come back at one.
fn reconnect_pause(tries: usize) -> Duration {
    let longest = RECONNECT_PAUSE.min(Duration::from_millis(10 << tries.min(10)));
    longest.mul_f64(fastrand::f64())
}

/// Logs what the client says of its connection, and reports whether it is connected.
async fn report(event: Event, (events, is_data): (mpsc::Sender<BusEvent>, bool), has_failed: &AtomicBool) {
    let told = match event {
        Event::Connected => {
            info!(rooms = is_data, "connected to NATS");
            has_failed.store(false, Ordering::Relaxed);
            Some(BusEvent::Connected { is_data })
        }
        Event::Disconnected => {
            warn!(rooms = is_data, "disconnected from NATS");
            Some(BusEvent::Disconnected { is_data })
        }
        // One record says why NATS can't be reached, and not one each try. Relaxed: it orders nothing.
        Event::ClientError(_) if is_data || has_failed.swap(true, Ordering::Relaxed) => None,
        Event::Closed | Event::Draining => None,
        other => {
            warn!(event = %other, "NATS");
            None
        }
    };
    if let Some(told) = told {
        let _ = events.send(told).await;
    }
}

impl Connection {
    /// Carries out requests until their queue ends.
    async fn run(mut self, mut requests: mpsc::Receiver<BusRequest>, channels: Vec<Channel>) {
        let mut subscriptions = vec![tokio::spawn(check_round_trips(self.client.clone(), self.echo.clone()))];
        if !channels.is_empty() {
            subscriptions.push(tokio::spawn(answer_round_trips(self.client.clone(), self.echo.clone())));
        }
        for channel in channels {
            subscriptions.extend(self.subscribe(channel).await);
        }
        while let Some(request) = requests.recv().await {
            self.carry_out(request).await;
        }
        subscriptions.iter().for_each(JoinHandle::abort);
        self.rooms.clear();
        // The last frame says that this server stops.
        let _ = timeout(CONNECT_TIMEOUT, self.client.flush()).await;
    }

    async fn carry_out(&mut self, request: BusRequest) {
        let result = match request {
            BusRequest::Subscribe(room) => {
                if let Some(task) = self.subscribe_room(room).await {
                    self.rooms.insert(room, task);
                }
                return;
            }
            BusRequest::Unsubscribe(room) => {
                self.rooms.remove(&room);
                return;
            }
            BusRequest::Append(frame) => {
                if let Some(log) = &self.log {
                    let check = self.rooms.get(&frame.room).and_then(|room| room.check.clone());
                    tokio::spawn(log.clone().append(frame, check));
                }
                return;
            }
            BusRequest::Ask(node, frame) => return self.ask(node, frame),
            BusRequest::KeepLines => return self.keep_lines(),
            BusRequest::ReadLines(reading) => return self.read_lines(reading),
            BusRequest::Flush(_flushed) => {
                let _ = self.client.flush().await;
                return;
            }
            BusRequest::Publish(channel, frame) => {
                self.client.publish(subject(self.cluster, channel), frame.into()).await
            }
            BusRequest::Answer(Reply(subject), frame) => self.client.publish(subject, frame.into()).await,
        };
        if let Err(error) = result {
            warn!(%error, "NATS took no frame");
        }
    }

    async fn subscribe_room(&self, room: RoomName) -> Option<RoomTask> {
        let Some(log) = &self.log else {
            return self.subscribe(Channel::Room(room)).await.map(|task| RoomTask { task, check: None });
        };
        log.subscribe(room).await.map(|(task, check)| RoomTask { task, check: Some(check) })
    }

    /// Subscribes to a channel, and forwards its frames in a task.
    async fn subscribe(&self, channel: Channel) -> Option<JoinHandle<()>> {
        match self.client.subscribe(subscription(self.cluster, channel)).await {
            Ok(subscriber) => Some(tokio::spawn(forward(subscriber, channel, self.events.clone()))),
            Err(error) => {
                warn!(%error, "NATS took no subscription");
                None
            }
        }
    }

    /// Has lines of rooms kept, in a task.
    fn keep_lines(&self) {
        let Some((store, events)) = self.store.clone().map(|store| (store, self.events.clone())) else { return };
        tokio::spawn(async move {
            let is_kept = store.keep().await;
            let _ = events.send(BusEvent::LinesKept(is_kept)).await;
        });
    }

    /// Reads the frames that are kept of a room, in a task.
    fn read_lines(&self, reading: Reading) {
        let Some((store, events)) = self.store.clone().map(|store| (store, self.events.clone())) else { return };
        tokio::spawn(async move {
            // The frames are in memory until the event is taken.
            let _permit = store.admit(&reading).await;
            let frames = store.read(reading).await;
            if let Err(error) = &frames {
                debug!(%error, "the lines that NATS keeps of a room can't be read");
            }
            let Reading { room, instance, .. } = reading;
            let _ = events.send(BusEvent::Stored { room, instance, frames: frames.ok() }).await;
        });
    }

    /// Asks a server in a task. Its answer is a frame; that nobody receives the question is an event.
    fn ask(&self, node: NodeName, frame: Vec<u8>) {
        let (client, events) = (self.client.clone(), self.events.clone());
        let subject = subject(self.cluster, Channel::Node(node));
        tokio::spawn(async move {
            let request = Request::new().payload(frame.into()).timeout(Some(ASK_TIMEOUT));
            let told = match client.send_request(subject, request).await {
                Ok(Message { payload, .. }) => {
                    BusEvent::Frame { channel: Channel::Node(node), bytes: payload, reply: None }
                }
                Err(error) if error.kind() == RequestErrorKind::NoResponders => BusEvent::NobodyAt(node),
                Err(_) => return,
            };
            let _ = events.send(told).await;
        });
    }
}

/// Asks this server itself every second over a connection, and opens the connection anew when no answer comes. NATS' client
/// sends a ping only when nothing comes in, so that it does not notice that NATS receives nothing while frames of other
/// servers come.
async fn check_round_trips(client: Client, echo: String) {
    // Relaxed: the number alone matters.
    let connects = || client.statistics().connects.load(Ordering::Relaxed);
    loop {
        sleep(PING_INTERVAL).await;
        let before = connects();
        // That nobody receives the question is an answer of NATS.
        let answer = client.send_request(echo.clone(), Request::new().timeout(None));
        let has_answered = timeout(ROUND_TRIP_TIMEOUT, answer).await.is_ok();
        if !has_answered && client.connection_state() == State::Connected && connects() == before {
            warn!("NATS does not answer: the connection is opened anew");
            let _ = timeout(ROUND_TRIP_TIMEOUT, client.force_reconnect()).await;
        }
    }
}

/// Answers the questions of [`check_round_trips`]: another subscriber on the subject, such as a tool that shows all messages,
/// keeps NATS from answering.
async fn answer_round_trips(client: Client, echo: String) {
    let Ok(mut questions) = client.subscribe(echo).await else { return };
    while let Some(Message { reply, .. }) = questions.next().await {
        if let Some(reply) = reply {
            let _ = client.publish(reply, Bytes::new()).await;
        }
    }
}

/// Forwards the frames of a subscription.
async fn forward(mut subscriber: Subscriber, channel: Channel, events: mpsc::Sender<BusEvent>) {
    while let Some(Message { subject, payload, reply, .. }) = subscriber.next().await {
        let channel = received_on(channel, &subject);
        let reply = reply.map(|reply| Reply(reply.to_string()));
        if events.send(BusEvent::Frame { channel, bytes: payload, reply }).await.is_err() {
            return;
        }
    }
}
