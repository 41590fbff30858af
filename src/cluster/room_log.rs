//! The log of rooms in JetStream, which gives the lines of all servers one order.
//!
//! One stream takes the frames of all rooms and publishes each again, with its place in the stream and the place of the frame
//! before it in the same room. A reader that finds a hole between them gets what is missing from the stream
//! (`src/cluster/log_reader.rs`).

use crate::cluster::bus::BusEvent;
use crate::cluster::core::LogFrame;
use crate::cluster::log_reader::Reader;
use crate::cluster::subjects::{log_stream, log_subject, ordered_subject};
use crate::config::ClusterSettings;
use crate::text::names::{NodeName, RoomName};
use async_nats::Client;
use async_nats::connection::State;
use async_nats::jetstream::context::{CreateStreamError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, DirectGetErrorKind, Republish, StorageType, Stream};
use async_nats::jetstream::{self, Context};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{error, warn};

/// How long JetStream may take for an answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(1);

/// How long the place where a room's reader begins may take.
const BEGIN_TIMEOUT: Duration = Duration::from_millis(100);

/// The time between two tries.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The time between two tries to make the stream.
const STREAM_PAUSE: Duration = Duration::from_secs(1);

/// The longest time between two tries to append a frame. Each is about twice the one before.
const LONGEST_RETRY_PAUSE: Duration = Duration::from_secs(2);

/// How long the stream keeps frames at least, within its bytes: a server that was out of reach for longer is told of a hole.
const MIN_AGE: Duration = Duration::from_secs(60 * 60);

/// The log, for one connection.
#[derive(Clone)]
pub(super) struct RoomLog {
    cluster: NodeName,
    client: Client,
    pub(super) context: Context,
    pub(super) config: Arc<Config>,
    /// The time at which the stream was made, once it is there. One task at a time makes it.
    created: Arc<Mutex<Option<i128>>>,
    pub(super) events: mpsc::Sender<BusEvent>,
    pub(super) reconnected: watch::Receiver<u64>,
    /// Distinguishes processes.
    process: u64,
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
            created: Arc::default(),
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
            let mut created = self.created.lock().await;
            match timeout(3 * TIMEOUT, self.find_stream()).await {
                Ok(Ok(found)) => {
                    *created = Some(found);
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
            drop(created);
            sleep(STREAM_PAUSE).await;
        }
    }

    /// Returns the time at which the stream was made, which is made if NATS has none, and which gets what a log needs.
    async fn find_stream(&self) -> Result<i128, CreateStreamError> {
        let wanted = &*self.config;
        let found = self.context.get_or_create_stream(wanted.clone()).await?;
        let config = &found.cached_info().config;
        if config.num_replicas != wanted.num_replicas {
            let (stream, replicas) = (wanted.name.as_str(), config.num_replicas);
            warn!(stream, replicas, "--cluster-replicas differs from that of the stream");
        }
        if config.republish != wanted.republish || !config.allow_direct {
            let needed = Config { republish: wanted.republish.clone(), allow_direct: true, ..config.clone() };
            self.context.update_stream(needed).await?;
        }
        Ok(created(&found))
    }

    pub(super) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Gives a frame to the log, as often as it takes. The log drops a frame whose number came in the two minutes before.
    pub(super) async fn append(self, LogFrame { room, number, bytes }: LogFrame, check: Option<Arc<Notify>>) {
        let id = format!("{:x}-{number:x}", self.process);
        let subject = log_subject(self.cluster, Some(room));
        let mut pause = RETRY_PAUSE;
        while !self.events.is_closed() {
            // The client would hold a frame for each try.
            if self.is_connected() {
                let message = PublishMessage::build().payload(bytes.clone()).message_id(&id);
                let result = match self.context.send_publish(subject.clone(), message).await {
                    Ok(stored) => stored.await.map(drop),
                    Err(error) => Err(error),
                };
                match result.map_err(|error| error.kind()) {
                    Ok(()) => {
                        if pause > RETRY_PAUSE
                            && let Some(check) = check
                        {
                            // The log may have had the frame before, and publishes it once.
                            check.notify_one();
                        }
                        let _ = self.events.send(BusEvent::Appended(room, number)).await;
                        return;
                    }
                    Err(PublishErrorKind::MaxPayloadExceeded) => {
                        error!(bytes = bytes.len(), "a frame is too long for NATS: its max_payload is below 1 MiB");
                        let _ = self.events.send(BusEvent::Refused(room, number)).await;
                        return;
                    }
                    Err(PublishErrorKind::StreamNotFound) => self.find_stream_again().await,
                    Err(_) => {}
                }
            }
            sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            pause = (2 * pause).min(LONGEST_RETRY_PAUSE);
        }
    }

    /// Makes the stream again if NATS has lost it, unless another task does.
    async fn find_stream_again(&self) {
        let Ok(mut created) = self.created.try_lock() else { return };
        if let Ok(Ok(found)) = timeout(2 * TIMEOUT, self.find_stream()).await {
            *created = Some(found);
        }
    }

    /// Begins to read the log of a room, in a task. Returns the task, and what has it ask for the last frame soon.
    pub(super) async fn subscribe(&self, room: RoomName) -> Option<(JoinHandle<()>, Arc<Notify>)> {
        let subject = log_subject(self.cluster, Some(room));
        // The place is asked for first: what comes after it is a hole that the reader finds.
        let created = self.created.try_lock().ok().and_then(|created| *created);
        let seen = match created {
            Some(_) => timeout(BEGIN_TIMEOUT, self.last_sequence(&subject)).await.ok().flatten(),
            None => None,
        };
        match self.client.subscribe(ordered_subject(self.cluster, Some(room))).await {
            Ok(subscriber) => {
                let check = Arc::new(Notify::new());
                let reader = Reader::new(self.clone(), (room, subject), seen, created);
                let task = tokio::spawn(reader.run(subscriber, Arc::clone(&check)));
                Some((task, check))
            }
            Err(error) => {
                warn!(%error, "NATS took no subscription");
                None
            }
        }
    }

    /// Returns the place of the last frame of a room, 0 if there is none; `None` without an answer.
    pub(super) async fn last_sequence(&self, subject: &str) -> Option<u64> {
        let stream = self.context.get_stream_no_info(&self.config.name).await.ok()?;
        match timeout(TIMEOUT, stream.direct_get_last_for_subject(subject)).await {
            Ok(Ok(message)) => Some(message.sequence),
            Ok(Err(error)) if error.kind() == DirectGetErrorKind::NotFound => Some(0),
            _ => None,
        }
    }
}

/// Returns the time at which a stream was made, in nanoseconds of Unix time.
pub(super) fn created(stream: &Stream) -> i128 {
    stream.cached_info().created.unix_timestamp_nanos()
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
