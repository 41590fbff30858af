//! The lines of rooms that NATS keeps in a stream of `JetStream`, so that they survive all servers.
//!
//! Nothing is published to the stream: it takes the changes of rooms by their subjects, and no line waits for it. In a
//! cluster with one order the log of rooms has their lines, and is read in the stream's place. A room that is opened reads its last frames with direct gets, which need no state in NATS.

use crate::cluster::backward::BackwardReading;
use crate::cluster::bus::Reading;
use crate::cluster::core::{Channel, OwnPlace, StoredFrame};
use crate::cluster::room_log::log_config;
use crate::cluster::subjects::{changes_of_all_rooms, log_subject, subject};
use crate::config::units::{show_duration, show_memory};
use crate::config::{ClusterOrder, ClusterSettings};
use crate::text::names::NodeName;
use crate::text::time::Minute;
use async_nats::Client;
use async_nats::jetstream::context::{CreateStreamError, GetStreamError};
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{Config, DirectGetError, DirectGetErrorKind, DiscardPolicy, StorageType, Stream};
use async_nats::jetstream::{self, Context};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{info, warn};

/// How long `JetStream` may take for a change of the stream.
const STREAM_TIMEOUT: Duration = Duration::from_secs(3);

/// How long NATS may take for one frame.
const GET_TIMEOUT: Duration = Duration::from_millis(250);

/// How often a reading waits for NATS to have stored a frame that it has got, and for how long each time.
const STORE_TRIES: u32 = 20;
const STORE_PAUSE: Duration = Duration::from_millis(2);

/// The readings at a time: more of them make each one slower.
const MAX_READINGS: usize = 32;

/// The frames that the stream keeps of one room. A frame has at least one line, join, leave or rename.
const MAX_FRAMES: i64 = 2_000;

/// The stream of one cluster. Clones share its state.
#[derive(Clone)]
pub(super) struct LineStore {
    context: Context,
    cluster: NodeName,
    order: ClusterOrder,
    config: Arc<Config>,
    readings: Arc<Semaphore>,
    state: Arc<State>,
}

/// Relaxed: the flags order nothing.
#[derive(Default)]
struct State {
    /// True once the stream had the settings of this server: those of another one are not changed back.
    is_settled: AtomicBool,
    /// True after the record that nothing is kept.
    has_warned: AtomicBool,
}

/// Why `JetStream` keeps no lines.
#[derive(Debug, thiserror::Error)]
enum StoreError {
    #[error("no answer within 3 s")]
    NoAnswer,
    #[error("{0}")]
    Refused(#[from] CreateStreamError),
}

/// Why a room's frames can't be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("no answer in time")]
    NoAnswer,
    #[error("{0}")]
    Stream(#[from] GetStreamError),
    #[error("{0}")]
    Get(#[from] DirectGetError),
}

impl LineStore {
    /// Creates the access to the stream of a cluster; `None` if the settings keep no lines.
    pub(super) fn new(settings: &ClusterSettings, client: Client) -> Option<Self> {
        let config = settings.keeps_history().then(|| config(settings))?;
        let mut context = jetstream::new(client);
        context.set_timeout(STREAM_TIMEOUT);
        Some(Self {
            context,
            cluster: settings.name,
            order: settings.order,
            config: Arc::new(config),
            readings: Arc::new(Semaphore::new(MAX_READINGS)),
            state: Arc::default(),
        })
    }

    /// Creates the stream if it is missing, or gives it the settings of this server. Returns whether lines are kept. One
    /// record tells that none are, and one that they are again.
    pub(super) async fn keep(&self) -> bool {
        let kept = match timeout(STREAM_TIMEOUT, self.ensure()).await {
            Ok(kept) => kept,
            Err(_) => Err(StoreError::NoAnswer),
        };
        match &kept {
            Ok(()) => {
                self.state.is_settled.store(true, Ordering::Relaxed);
                if self.state.has_warned.swap(false, Ordering::Relaxed) {
                    info!(stream = self.config.name, "NATS keeps the lines of rooms again");
                }
            }
            Err(error) if !self.state.has_warned.swap(true, Ordering::Relaxed) => {
                warn!(stream = self.config.name, %error, "NATS keeps no lines of rooms: start it with JetStream (nats-server -js)");
            }
            Err(_) => {}
        }
        kept.is_ok()
    }

    async fn ensure(&self) -> Result<(), StoreError> {
        let wanted = &*self.config;
        let found = match self.context.get_stream(&wanted.name).await {
            Ok(stream) => stream.cached_info().config.clone(),
            Err(_) => match self.context.create_stream(wanted.clone()).await {
                Ok(_) => {
                    info!(stream = wanted.name, "NATS keeps the lines of rooms from now on");
                    return Ok(());
                }
                // Another server may have created it at this moment.
                Err(refused) => match self.context.get_stream(&wanted.name).await {
                    Ok(stream) => stream.cached_info().config.clone(),
                    Err(_) => return Err(refused.into()),
                },
            },
        };
        let is_same = adjusted(found.clone(), wanted) == found;
        if is_same || self.state.is_settled.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.context.update_stream(adjusted(found, wanted)).await?;
        let (age, size) =
            (show_duration(wanted.max_age), show_memory(u64::try_from(wanted.max_bytes).unwrap_or(u64::MAX)));
        info!(stream = wanted.name, age, size, "the stream of rooms' lines has other bounds now");
        Ok(())
    }

    /// Waits until few enough readings run, which is when the permit is dropped; `None` at the deadline.
    pub(super) async fn admit(&self, reading: &Reading) -> Option<SemaphorePermit<'_>> {
        timeout_at(reading.deadline, self.readings.acquire()).await.ok()?.ok()
    }

    /// Returns the last frames of a room, the oldest first, with as many lines as are wanted. At the deadline these are the
    /// newest ones without a gap.
    pub(super) async fn read(&self, reading: Reading) -> Result<Vec<StoredFrame>, ReadError> {
        let Reading { room, lines, after, deadline, .. } = reading;
        let stream = self.context.get_stream_no_info(&self.config.name).await?;
        let subject = match self.order {
            ClusterOrder::Sender => subject(self.cluster, Channel::Changes(room)),
            ClusterOrder::Total => log_subject(self.cluster, Some(room)),
        };
        let Some(newest) = newest(&stream, &subject, (after, deadline)).await? else { return Ok(Vec::new()) };
        let mut reading = BackwardReading::new(newest, lines);
        while let Some(next) = reading.next() {
            match get(stream.direct_get_next_for_subject(&*subject, Some(next)), deadline).await {
                Ok(frame) => reading.on_frame(frame),
                Err(_) => break,
            }
        }
        Ok(reading.into_frames())
    }
}

/// Returns the newest frame of a room, after a short wait if NATS has not stored the own frame before it.
async fn newest(
    stream: &Stream<()>,
    subject: &str,
    (after, deadline): (Option<OwnPlace>, Instant),
) -> Result<Option<StoredFrame>, ReadError> {
    let mut tries = 0;
    loop {
        let newest = get(stream.direct_get_last_for_subject(subject), deadline).await?;
        let is_reached = after.is_none_or(|place| place.is_reached(newest.as_ref().map(|frame| &*frame.bytes)));
        if is_reached || tries >= STORE_TRIES {
            return Ok(newest);
        }
        tries += 1;
        sleep(STORE_PAUSE).await;
    }
}

/// Waits for a frame, but not beyond a deadline; `None` if there is none.
async fn get(
    message: impl Future<Output = Result<StreamMessage, DirectGetError>>,
    deadline: Instant,
) -> Result<Option<StoredFrame>, ReadError> {
    let deadline = deadline.min(Instant::now() + GET_TIMEOUT);
    match timeout_at(deadline, message).await.map_err(|_| ReadError::NoAnswer)? {
        Ok(StreamMessage { sequence, time, payload, .. }) => {
            let minute = Minute(u32::try_from(time.unix_timestamp() / 60).unwrap_or_default());
            Ok(Some(StoredFrame { sequence, minute, bytes: payload }))
        }
        Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Returns the stream's configuration. A cluster's name is a legal part of a stream's name. In a cluster with one order the
/// log of rooms has their lines.
fn config(settings: &ClusterSettings) -> Config {
    if settings.order == ClusterOrder::Total {
        return log_config(settings);
    }
    Config {
        name: format!("RC_{}_HISTORY", settings.name),
        subjects: vec![changes_of_all_rooms(settings.name)],
        max_age: settings.history_for,
        max_bytes: i64::try_from(settings.history_size.get()).unwrap_or(-1),
        max_messages_per_subject: MAX_FRAMES,
        max_messages: -1,
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        num_replicas: settings.replicas,
        allow_direct: true,
        description: Some("The last lines of Roomcast's rooms".to_owned()),
        ..Config::default()
    }
}

/// Returns a configuration with the bounds and subjects of another one, and all else as it is.
fn adjusted(found: Config, wanted: &Config) -> Config {
    Config {
        subjects: wanted.subjects.clone(),
        max_age: wanted.max_age,
        max_bytes: wanted.max_bytes,
        max_messages_per_subject: wanted.max_messages_per_subject,
        num_replicas: wanted.num_replicas,
        discard: wanted.discard,
        allow_direct: true,
        // NATS chooses one that fits the age.
        duplicate_window: if found.max_age == wanted.max_age { found.duplicate_window } else { Duration::ZERO },
        ..found
    }
}
