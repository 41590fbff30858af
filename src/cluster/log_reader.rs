//! The reader of one room's log: every frame that the stream keeps, in its order, and each once.
//!
//! Frames come as the stream publishes them again. Each names the one before it in the room, so a hole shows with the next
//! frame; the end of a quiet room is asked for now and then, since no frame follows it.

use crate::cluster::bus::BusEvent;
use crate::cluster::core::Channel;
use crate::cluster::room_log::{RETRY_PAUSE, RoomLog, TIMEOUT, created};
use crate::text::names::RoomName;
use async_nats::header::{HeaderMap, NATS_LAST_SEQUENCE, NATS_SEQUENCE};
use async_nats::{HeaderName, Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

/// How long a reader that begins waits before it asks for the last frame: NATS may lose what is published in the moment of a
/// subscription. Each pause is twice the one before.
const FIRST_CHECK_PAUSE: Duration = Duration::from_millis(100);

/// How long a room is quiet before its reader asks for the last frame.
const CHECK_PAUSE: Duration = Duration::from_secs(2);

/// The longest pause between two questions for the last frame.
const LONGEST_CHECK_PAUSE: Duration = Duration::from_secs(30);

/// How long the reader tries to read a frame of a hole before it leaves the hole to the next check.
const HOLE_TIMEOUT: Duration = Duration::from_secs(3);

/// The outcome of reading what is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filled {
    /// Nothing is missing.
    Whole,
    /// Something is missing, and can't be read now.
    GaveUp,
    /// The cluster's task has ended.
    Closed,
}

/// The reader.
pub(super) struct Reader {
    log: RoomLog,
    room: RoomName,
    /// The room's subject in the stream.
    subject: String,
    /// The place up to which nothing is missing; `None` as long as the beginning is not known.
    seen: Option<u64>,
    /// The place of the last frame that was forwarded: a frame up to there comes a second time.
    forwarded: u64,
    /// The time at which the stream was made that has these places.
    created: Option<i128>,
    /// The time of the last question whether it is still that stream.
    checked_at: Option<Instant>,
}

impl Reader {
    pub(super) fn new(
        log: RoomLog,
        (room, subject): (RoomName, String),
        seen: Option<u64>,
        created: Option<i128>,
    ) -> Self {
        Self { log, room, subject, seen, forwarded: 0, created, checked_at: None }
    }

    /// Forwards frames until nobody takes them.
    pub(super) async fn run(mut self, mut subscriber: Subscriber, check: Arc<Notify>) {
        let mut pause = FIRST_CHECK_PAUSE;
        let mut reconnected = self.log.reconnected.clone();
        reconnected.mark_unchanged();
        loop {
            tokio::select! {
                message = subscriber.next() => {
                    let Some(message) = message else { return };
                    match self.on_message(message).await {
                        Filled::Whole => pause = pause.max(CHECK_PAUSE),
                        Filled::GaveUp => pause = FIRST_CHECK_PAUSE,
                        Filled::Closed => return,
                    }
                }
                () = sleep(pause) => {
                    pause = (2 * pause).min(LONGEST_CHECK_PAUSE);
                    if self.check().await == Filled::Closed {
                        return;
                    }
                }
                () = check.notified() => pause = FIRST_CHECK_PAUSE,
                changed = reconnected.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    pause = FIRST_CHECK_PAUSE;
                }
            }
        }
    }

    /// Follows a frame that the stream has published again.
    async fn on_message(&mut self, Message { payload, headers, .. }: Message) -> Filled {
        let place = |name| headers.as_ref().and_then(|headers| number(headers, name));
        // A frame without a place was not published by the stream.
        let (Some(sequence), Some(last)) = (place(NATS_SEQUENCE), place(NATS_LAST_SEQUENCE)) else {
            return Filled::Whole;
        };
        if sequence <= self.forwarded && !self.is_other_stream().await {
            return Filled::Whole;
        }
        if self.seen.is_some_and(|seen| last > seen) {
            let filled = self.read_up_to(sequence.saturating_sub(1)).await;
            if filled != Filled::Whole {
                // The frame is read with those before it.
                return filled;
            }
        }
        self.forward(sequence, payload).await
    }

    /// Asks for the last frame of the room, and reads what is missing.
    async fn check(&mut self) -> Filled {
        let Some(last) = self.log.last_sequence(&self.subject).await else { return Filled::GaveUp };
        match self.seen {
            None => {
                self.seen = Some(last);
                Filled::Whole
            }
            Some(seen) if last < seen => {
                // A replica may be behind.
                self.is_other_stream().await;
                self.read_up_to(last).await
            }
            Some(_) => self.read_up_to(last).await,
        }
    }

    /// Reads the frames up to a place that were not read yet.
    async fn read_up_to(&mut self, until: u64) -> Filled {
        let deadline = Instant::now() + HOLE_TIMEOUT;
        let Ok(stream) = self.log.context.get_stream_no_info(&self.log.config.name).await else {
            return Filled::GaveUp;
        };
        while let Some(seen) = self.seen.filter(|seen| *seen < until) {
            if self.log.events.is_closed() {
                return Filled::Closed;
            }
            let next = stream.direct_get_next_for_subject(self.subject.as_str(), Some(seen.saturating_add(1)));
            match timeout(TIMEOUT, next).await {
                Ok(Ok(message)) if message.sequence <= until => {
                    if self.forward(message.sequence, message.payload).await == Filled::Closed {
                        return Filled::Closed;
                    }
                }
                Ok(Ok(_)) => break,
                // The place was said by the stream: a replica that does not know it is behind.
                _ if Instant::now() >= deadline || !self.log.is_connected() => return Filled::GaveUp,
                _ => sleep(RETRY_PAUSE).await,
            }
        }
        Filled::Whole
    }

    async fn forward(&mut self, sequence: u64, bytes: Bytes) -> Filled {
        (self.seen, self.forwarded) = (self.seen.max(Some(sequence)), sequence);
        let channel = Channel::Room(self.room);
        match self.log.events.send(BusEvent::Frame { channel, bytes, reply: None }).await {
            Ok(()) => Filled::Whole,
            Err(_) => Filled::Closed,
        }
    }

    /// Returns true if the places of before mean nothing: NATS has lost the stream, or they were not said by it. Asks at most
    /// once a second.
    async fn is_other_stream(&mut self) -> bool {
        if self.checked_at.is_some_and(|at| at.elapsed() < TIMEOUT) {
            return false;
        }
        self.checked_at = Some(Instant::now());
        let stream = timeout(TIMEOUT, self.log.context.get_stream(&self.log.config.name)).await;
        let Ok(Ok(stream)) = stream else { return false };
        let before = self.created.replace(created(&stream));
        let is_made_again = before.is_some() && before != self.created;
        let last = stream.cached_info().state.last_sequence;
        let is_beyond = self.seen.is_some_and(|seen| seen > last);
        if is_made_again {
            warn!(room = self.room.as_str(), "NATS has lost the log of rooms: it begins anew");
            (self.seen, self.forwarded) = (Some(0), 0);
        } else if is_beyond {
            warn!(room = self.room.as_str(), "a frame was not published by the log of rooms");
            (self.seen, self.forwarded) = (Some(last), 0);
        }
        is_made_again || is_beyond
    }
}

fn number(headers: &HeaderMap, name: HeaderName) -> Option<u64> {
    headers.get(name)?.as_str().parse().ok()
}
