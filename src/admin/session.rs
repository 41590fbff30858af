//! Sessions: one operator's connection, which sends a command a line and gets an object a line.

use super::AdminContext;
use super::outcome::Outcome;
use crate::limits::permits::Permit;
use crate::limits::rate::{RateLimit, RateLimiter};
use crate::net::LocalPeer;
use memchr::memchr;
use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::warn;

/// The right to serve one session.
pub(super) type SessionPermit = Permit;

/// The longest line of a command, in bytes.
const MAX_LINE: usize = 4 << 10;

/// How long a session may send no whole line.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a client may take to read an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Commands a second of one session, and at once. More wait.
const COMMAND_RATE: RateLimit = RateLimit::new(20, NonZeroU32::MIN.saturating_add(49));

/// One operator's connection.
pub(super) struct Session {
    stream: UnixStream,
    peer: LocalPeer,
    context: Arc<AdminContext>,
    /// Bytes that were read and not used, at most a line and its end.
    input: Vec<u8>,
    /// How much of [`COMMAND_RATE`] is used.
    rate: RateLimiter,
}

impl Session {
    pub(super) fn new(stream: UnixStream, peer: LocalPeer, context: Arc<AdminContext>) -> Self {
        let rate = RateLimiter::new(Instant::now().into_std());
        Self { stream, peer, context, input: Vec::new(), rate }
    }

    /// Runs the commands of the session until it ends, sends nothing for a time, or does not read its answers.
    pub(super) async fn serve(mut self, permit: SessionPermit) {
        while let Ok(Ok(line)) = timeout(IDLE_TIMEOUT, self.next_line()).await {
            self.wait_for_turn().await;
            let (outcome, goes_on) = match line {
                Some(line) => self.context.run(&line, self.peer).await,
                None => (Outcome::Refused(format!("a line has at most {MAX_LINE} bytes: this one is longer")), false),
            };
            match timeout(ANSWER_TIMEOUT, self.write(outcome.into_line().as_bytes())).await {
                Ok(Ok(())) if goes_on => {}
                Ok(_) => break,
                Err(_) => {
                    warn!(by = self.peer.to_string(), "an operator's client does not read its answer: it is closed");
                    break;
                }
            }
        }
        // The permit is free only when the descriptor is.
        drop(self);
        drop(permit);
    }

    /// Waits until the rate of commands allows the next one.
    async fn wait_for_turn(&mut self) {
        while let Err(later) = self.rate.check(&COMMAND_RATE, Instant::now().into_std()) {
            sleep_until(later.into()).await;
        }
        self.rate.spend(&COMMAND_RATE, Instant::now().into_std());
    }

    /// Reads the next line, without its end; `None` for one that is too long.
    async fn next_line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = memchr(b'\n', &self.input) {
                let line: Vec<u8> = self.input.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line[..end]).into_owned()));
            }
            if self.input.len() > MAX_LINE {
                return Ok(None);
            }
            self.stream.readable().await?;
            let mut bytes = [0; 1 << 10];
            match self.stream.try_read(&mut bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.input.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.writable().await?;
            match self.stream.try_write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
