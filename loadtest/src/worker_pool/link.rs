//! A TCP link between a coordinator and a worker host: its socket, and the messages that follow the first lines.
//!
//! A machine that disappears does not close its connections. The coordinator therefore bounds the time without an event. On
//! both sides, keepalive probes and the user timeout of the kernel bound the time without an acknowledgement.

use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use socket2::{SockRef, TcpKeepalive};

use super::handshake::silence;
use crate::clock::{Tick, now, ticks};
use crate::interrupt;
use crate::message::{Command, Event};
use crate::plan::Share;

/// The longest time without a message after which the other side of a link counts as gone. Workers send progress
/// four times per second. The bound is below the coordinator's own bound of 30 seconds without an event, so that the
/// failure names the host.
pub(super) const LINK_TIMEOUT: Duration = Duration::from_secs(25);
/// The longest time without a message after a signal: a host that is gone must not delay the end of the program.
const LINK_TIMEOUT_AFTER_SIGNAL: Duration = Duration::from_secs(3);
/// Interval at which a read without a byte checks these times.
const SILENCE_CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// A message to a worker host.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum HostRequest {
    /// Reply with the host's clock.
    ReadClock,
    /// Start one worker for each share. Sent once.
    Start(Vec<(usize, Share)>),
    /// Send a command to all workers.
    Command(Command),
}

/// A message from a worker host. All ticks are those of the host's clock.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum HostReply {
    /// The reply to [`HostRequest::ReadClock`].
    Clock {
        /// The tick at which the request was received.
        received: Tick,
        /// The tick at which the reply is sent.
        replied: Tick,
    },
    /// An event of a worker.
    Event(usize, Event),
}

/// The receiving side of a link. A read fails after [`LINK_TIMEOUT`] without a byte, or sooner after a signal.
pub(super) struct LinkReader(TcpStream);

impl LinkReader {
    /// Returns the receiving side of a socket.
    ///
    /// # Errors
    /// Fails when the socket rejects a timeout.
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(SILENCE_CHECK_INTERVAL))?;
        Ok(Self(stream))
    }

    /// Returns the socket, for writing.
    pub(super) fn stream(&self) -> &TcpStream {
        &self.0
    }
}

impl Read for LinkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let start = now();
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
            let bound = interrupt::caught_signal().map_or(LINK_TIMEOUT, |_| LINK_TIMEOUT_AFTER_SIGNAL);
            if now() >= start + ticks(bound) {
                return Err(io::Error::other(silence(bound)));
            }
        }
    }
}

/// Prepares the socket of a link: small messages are sent at once, and a machine that disappeared without closing the
/// connection breaks it after [`LINK_TIMEOUT`].
pub(super) fn prepare_link(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(LINK_TIMEOUT / 2).with_interval(LINK_TIMEOUT / 5);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(LINK_TIMEOUT))?;
    stream.set_write_timeout(Some(LINK_TIMEOUT))
}
