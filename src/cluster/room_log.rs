//! The log of rooms in JetStream, which gives the lines of all servers one order.
//!
//! One stream takes the frames of all rooms and publishes each again, with its place in the stream and the place of the frame
//! before it in the same room. A reader that finds a hole between them gets what is missing from the stream, so it has every
//! frame, in their order, as long as the stream keeps them.

use crate::cluster::bus::BusEvent;
use crate::cluster::core::{Channel, LogFrame};
use crate::cluster::subjects::{log_stream, log_subject, ordered_subject};
use crate::config::ClusterSettings;
use crate::text::names::{NodeName, RoomName};
use async_nats::connection::State;
use async_nats::header::{HeaderMap, NATS_LAST_SEQUENCE, NATS_SEQUENCE};
use async_nats::jetstream::context::{CreateStreamError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, DirectGetErrorKind, Republish, StorageType, Stream};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, warn};

/// How long JetStream may take for an answer.
const TIMEOUT: Duration = Duration::from_secs(1);

/// How long the place where a room's reader begins may take.
const BEGIN_TIMEOUT: Duration = Duration::from_millis(300);

/// The time between two tries.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The time between two tries to make the stream.
const STREAM_PAUSE: Duration = Duration::from_secs(1);

/// How long a reader that begins waits before it asks for the last frame: NATS may lose what is published in the moment of a
/// subscription. Each pause is twice the one before.
const FIRST_CHECK_PAUSE: Duration = Duration::from_millis(100);

/// How long a room is quiet before its reader asks for the last frame.
const CHECK_PAUSE: Duration = Duration::from_secs(2);

/// The longest pause between two questions for the last frame.
const LONGEST_CHECK_PAUSE: Duration = Duration::from_secs(30);

/// How long the stream keeps frames at least: a server that was out of reach for longer is told of a hole.
const MIN_AGE: Duration = Duration::from_secs(60 * 60);

/// The log, for one connection.
#[derive(Clone)]
pub(super) struct RoomLog {
    cluster: NodeName,
    client: Client,
    context: Context,
    config: Arc<Config>,
    /// The stream, with the time at which it was made, once it is there. A stream that is lost is made again.
    stream: Arc<Mutex<Option<KnownStream>>>,
    events: mpsc::Sender<BusEvent>,
    reconnected: watch::Receiver<u64>,
    /// Distinguishes processes.
    process: u64,
}

#[derive(Clone)]
struct KnownStream {
    stream: Stream,
    created: i128,
}

impl RoomLog {
    /// Makes the stream in the background, unless it is there, and reports that.
    pub(super) fn start(
        settings: &ClusterSettings,
        client: &Client,
        events: mpsc::Sender<BusEvent>,
        reconnected: watch::Receiver<u64>,
    ) -> Self {
        let mut context = jetstream::new(client.clone());
        context.set_timeout(TIMEOUT);
        let log = Self {
            cluster: settings.name,
            client: client.clone(),
            context,
            config: Arc::new(log_config(settings)),
            stream: Arc::default(),
            events,
            reconnected,
            process: fastrand::u64(..),
        };
        tokio::spawn(log.clone().make_stream());
        log
    }

    /// Tries to make the stream until it is there.
    async fn make_stream(self) {
        let mut has_failed = false;
        while !self.events.is_closed() {
            match timeout(2 * TIMEOUT, self.find_stream()).await {
                Ok(Ok(_)) => {
                    let _ = self.events.send(BusEvent::LogThere).await;
                    return;
                }
                Ok(Err(reason)) if !has_failed && self.is_connected() => {
                    has_failed = true;
                    error!(
                        %reason,
                        "--cluster-order total needs JetStream in NATS (nats-server -js): rooms are this server's alone until then"
                    );
                }
                _ => {}
            }
            sleep(STREAM_PAUSE).await;
        }
    }

    /// Returns the stream, which is made if NATS has none.
    async fn find_stream(&self) -> Result<KnownStream, CreateStreamError> {
        let mut known = self.stream.lock().await;
        if let Some(known) = &*known {
            return Ok(known.clone());
        }
        let found = self.context.get_or_create_stream((*self.config).clone()).await?;
        let created = created(&found);
        if found.cached_info().config.num_replicas != self.config.num_replicas {
            let stream = self.config.name.as_str();
            warn!(stream, "--cluster-replicas differs from the stream that is there, which stays as it is");
        }
        let found = KnownStream { stream: found, created };
        *known = Some(found.clone());
        Ok(found)
    }

    /// Returns the stream, if it is there.
    async fn known_stream(&self) -> Option<KnownStream> {
        self.stream.lock().await.clone()
    }

    fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Gives a frame to the log, as often as it takes. The log has it once: it drops a frame whose number it knows.
    pub(super) async fn append(self, LogFrame { room, number, bytes }: LogFrame) {
        let id = format!("{:x}-{number:x}", self.process);
        let subject = log_subject(self.cluster, Some(room));
        while !self.events.is_closed() {
            // The client would hold a frame for each try.
            if self.is_connected() {
                let message = PublishMessage::build().payload(bytes.clone()).message_id(&id);
                let sent = self.context.send_publish(subject.clone(), message).await;
                let result = match sent {
                    Ok(stored) => stored.await.map(drop),
                    Err(error) => Err(error),
                };
                match result {
                    Ok(()) => {
                        let _ = self.events.send(BusEvent::Appended(room, number)).await;
                        return;
                    }
                    Err(error) if error.kind() == PublishErrorKind::StreamNotFound => self.find_stream_again().await,
                    Err(_) => {}
                }
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    /// Makes the stream again if NATS has lost it.
    async fn find_stream_again(&self) {
        let Ok(mut known) = self.stream.try_lock() else { return };
        *known = None;
        drop(known);
        let _ = timeout(2 * TIMEOUT, self.find_stream()).await;
    }

    /// Begins to read the log of a room, in a task.
    pub(super) async fn subscribe(&self, room: RoomName) -> Option<JoinHandle<()>> {
        let subject = log_subject(self.cluster, Some(room));
        // The place is asked for first: what comes after it is a hole that the reader finds.
        let known = self.stream.try_lock().ok().and_then(|known| known.clone());
        let seen = match &known {
            Some(known) => timeout(BEGIN_TIMEOUT, last_sequence(&known.stream, &subject)).await.ok().flatten(),
            None => None,
        };
        let created = known.map(|known| known.created);
        match self.client.subscribe(ordered_subject(self.cluster, Some(room))).await {
            Ok(subscriber) => {
                let reader = Reader { log: self.clone(), room, subject, seen, created, checked_at: None };
                Some(tokio::spawn(reader.run(subscriber)))
            }
            Err(error) => {
                warn!(%error, "NATS took no subscription");
                None
            }
        }
    }
}

/// Returns the configuration of the stream.
pub(super) fn log_config(settings: &ClusterSettings) -> Config {
    let republish = Republish {
        source: log_subject(settings.name, None),
        destination: ordered_subject(settings.name, None),
        headers_only: false,
    };
    Config {
        name: log_stream(settings.name),
        subjects: vec![log_subject(settings.name, None)],
        storage: StorageType::File,
        num_replicas: settings.replicas,
        max_age: settings.history_for.max(MIN_AGE),
        max_bytes: i64::try_from(settings.history_size.get()).unwrap_or(-1),
        max_messages: -1,
        allow_direct: true,
        republish: Some(republish),
        description: Some("The order of Roomcast's rooms".to_owned()),
        ..Config::default()
    }
}

/// The reader of one room.
struct Reader {
    log: RoomLog,
    room: RoomName,
    /// The room's subject in the stream.
    subject: String,
    /// The place of the last frame that was read; `None` as long as the beginning is not known.
    seen: Option<u64>,
    /// The time at which the stream was made that has this place.
    created: Option<i128>,
    /// The time of the last question whether it is still that stream.
    checked_at: Option<Instant>,
}

impl Reader {
    async fn run(mut self, mut subscriber: Subscriber) {
        let mut pause = FIRST_CHECK_PAUSE;
        let mut reconnected = self.log.reconnected.clone();
        reconnected.mark_unchanged();
        loop {
            let is_read = tokio::select! {
                message = subscriber.next() => match message {
                    Some(message) => {
                        pause = CHECK_PAUSE;
                        self.on_message(message).await
                    }
                    None => return,
                },
                () = sleep(pause) => {
                    pause = (2 * pause).min(LONGEST_CHECK_PAUSE);
                    self.read_missing(u64::MAX).await
                }
                changed = reconnected.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    pause = FIRST_CHECK_PAUSE;
                    self.read_missing(u64::MAX).await
                }
            };
            if !is_read {
                return;
            }
        }
    }

    /// Follows a frame that the stream has published again. Returns false once nobody reads.
    async fn on_message(&mut self, Message { payload, headers, .. }: Message) -> bool {
        let place = |name| headers.as_ref().and_then(|headers| number(headers, name));
        // A frame without a place was not published by the stream.
        let (Some(sequence), Some(last)) = (place(NATS_SEQUENCE), place(NATS_LAST_SEQUENCE)) else { return true };
        if self.seen.is_some_and(|seen| sequence <= seen) {
            // Most such frames were read from the stream a moment ago.
            let is_checked = self.checked_at.is_some_and(|at| at.elapsed() < TIMEOUT);
            if is_checked || !self.is_other_stream().await {
                return true;
            }
            warn!(room = self.room.as_str(), "NATS has lost the log of rooms: it begins anew");
            self.seen = Some(0);
        }
        if self.seen.is_none() {
            self.created = self.log.known_stream().await.map(|known| known.created);
        }
        if self.seen.is_some_and(|seen| last > seen) && !self.read_missing(sequence - 1).await {
            return false;
        }
        self.forward(sequence, payload).await
    }

    /// Reads the frames up to a place that were not read yet. Returns false once nobody reads.
    async fn read_missing(&mut self, until: u64) -> bool {
        while let Some(known) = self.log.known_stream().await {
            if self.log.events.is_closed() {
                return false;
            }
            let Some(seen) = self.seen else {
                self.seen = last_sequence(&known.stream, &self.subject).await;
                self.created = Some(known.created);
                return true;
            };
            if !self.log.is_connected() {
                // The next connection is a reason to ask again.
                return true;
            }
            let next = known.stream.direct_get_next_for_subject(self.subject.as_str(), Some(seen + 1));
            match timeout(TIMEOUT, next).await {
                Ok(Ok(message)) if message.sequence <= until => {
                    if !self.forward(message.sequence, message.payload).await {
                        return false;
                    }
                }
                Ok(Ok(_)) => return true,
                Ok(Err(error)) if error.kind() == DirectGetErrorKind::NotFound => return true,
                _ if until == u64::MAX => return true,
                _ => sleep(RETRY_PAUSE).await,
            }
        }
        true
    }

    async fn forward(&mut self, sequence: u64, bytes: Bytes) -> bool {
        self.seen = Some(sequence);
        let channel = Channel::Room(self.room);
        self.log.events.send(BusEvent::Frame { channel, bytes, reply: None }).await.is_ok()
    }

    /// Returns true if the stream is another one than before, since NATS has lost that.
    async fn is_other_stream(&mut self) -> bool {
        self.checked_at = Some(Instant::now());
        let stream = timeout(TIMEOUT, self.log.context.get_stream(&self.log.config.name)).await;
        let created = stream.ok().and_then(Result::ok).map(|stream| created(&stream));
        let is_other = created.is_some() && created != self.created;
        if is_other {
            self.created = created;
        }
        is_other
    }
}

/// Returns the time at which a stream was made, in nanoseconds of Unix time.
fn created(stream: &Stream) -> i128 {
    stream.cached_info().created.unix_timestamp_nanos()
}

/// Returns the place of the last frame of a room, 0 if there is none; `None` without an answer.
async fn last_sequence(stream: &Stream, subject: &str) -> Option<u64> {
    match timeout(TIMEOUT, stream.direct_get_last_for_subject(subject)).await {
        Ok(Ok(message)) => Some(message.sequence),
        Ok(Err(error)) if error.kind() == DirectGetErrorKind::NotFound => Some(0),
        _ => None,
    }
}

fn number(headers: &HeaderMap, name: async_nats::HeaderName) -> Option<u64> {
    headers.get(name)?.as_str().parse().ok()
}
