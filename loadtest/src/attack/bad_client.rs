//! A bad client: one socket that writes its script at its pace, reads at its speed, ends and connects again.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::SockRef;

use super::event_loop::AttackReport;
use super::kind::{End, Ending, Group, Reads};
use super::script::Script;
use crate::clock::{SECOND, Tick, ticks};
use crate::connection::start_connect;

/// Bytes that are composed at a time. A connection holds at most this many unwritten bytes, plus one segment.
const BATCH_BYTES: usize = 16 * 1024;
/// The receive buffer of a connection that does not read everything, in bytes; the kernel doubles it.
const SMALL_BUFFER: usize = 4096;
/// The pause before a connection that the server closed or refused is replaced.
const RECONNECT_PAUSE: Tick = SECOND / 100;

/// One socket of a group.
#[derive(Debug)]
pub(super) struct BadClient {
    group: &'static Group,
    /// The number of the group in the attack.
    group_number: usize,
    /// The number of the socket in its group.
    socket: usize,
    /// The address to connect from, where the server is on this machine.
    source: Option<Ipv4Addr>,
    /// The number of the next connection.
    connections: u64,
    /// The open connection.
    open: Option<Open>,
    /// The tick from which the next connection may be opened.
    reconnect_at: Tick,
}

/// An open connection.
#[derive(Debug)]
struct Open {
    stream: TcpStream,
    script: Script,
    /// Unwritten bytes, of which `at` are written.
    out: Vec<u8>,
    at: usize,
    connected: bool,
    readable: bool,
    writable: bool,
    /// The tick from which the next segment may be written.
    write_at: Tick,
    /// The tick from which the next read may happen.
    read_at: Tick,
    /// The tick at which the connection ends; set after its last segment.
    end_at: Option<Tick>,
}

/// The outcome of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The client waits for its socket or for a tick.
    Waiting,
    /// The client read, wrote or closed, and may do so again.
    Progress,
    /// The client wants to connect.
    WantsConnection,
}

impl BadClient {
    pub(super) fn new(group: &'static Group, (group_number, socket): (usize, usize), source: Option<Ipv4Addr>) -> Self {
        Self { group, group_number, socket, source, connections: 0, open: None, reconnect_at: 0 }
    }

    /// Starts to connect. The connection is registered under `token`.
    pub(super) fn connect(
        &mut self,
        target: SocketAddr,
        (registry, token): (&Registry, Token),
        seed: u64,
        now: Tick,
    ) -> io::Result<()> {
        self.reconnect_at = now + RECONNECT_PAUSE;
        let receive_buffer = (self.group.reads != Reads::All).then_some(SMALL_BUFFER);
        let mut stream = start_connect(target, self.source, receive_buffer)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        let script = Script::new(self.group, self.group_number, self.socket, self.connections, seed);
        let mut out = Vec::new();
        script.open(&mut out);
        self.connections += 1;
        self.open = Some(Open {
            stream,
            script,
            out,
            at: 0,
            connected: false,
            readable: false,
            writable: false,
            write_at: 0,
            read_at: 0,
            end_at: None,
        });
        Ok(())
    }

    /// Stores what the poll reported about the socket.
    pub(super) fn mark_ready(&mut self, readable: bool, writable: bool) {
        if let Some(open) = &mut self.open {
            open.readable |= readable;
            open.writable |= writable;
        }
    }

    /// Reads once and writes one batch, as far as the socket and the pace allow, and ends a connection that is due.
    pub(super) fn step(&mut self, now: Tick, buffer: &mut [u8], report: &mut AttackReport) -> Step {
        let Some(open) = &mut self.open else {
            return if now >= self.reconnect_at { Step::WantsConnection } else { Step::Waiting };
        };
        if !open.connected {
            if !open.writable {
                return Step::Waiting;
            }
            if open.stream.peer_addr().is_err() {
                report.failed_connects += 1;
                return self.close();
            }
            open.connected = true;
            report.connects += 1;
        }
        let read = open.read(self.group, now, buffer, report);
        let written = if read.is_ok() { open.write(self.group, now, report) } else { Ok(false) };
        let (Ok(read), Ok(written)) = (read, written) else {
            report.closed_by_server += 1;
            return self.close();
        };
        if open.end_at.is_some_and(|end| now >= end) {
            self.end();
            return Step::Progress;
        }
        if read || written { Step::Progress } else { Step::Waiting }
    }

    /// Drops a connection that the server closed.
    fn close(&mut self) -> Step {
        self.open = None;
        Step::Waiting
    }

    /// Ends the connection as its group describes. The next connection may follow at once.
    fn end(&mut self) {
        if matches!(self.group.ends, End::After { how: Ending::Reset, .. }) {
            self.reset();
        }
        self.open = None;
        self.reconnect_at = 0;
    }

    /// Resets the connection, which discards bytes that have not been sent or read.
    pub(super) fn reset(&mut self) {
        if let Some(open) = self.open.take() {
            let _ = SockRef::from(&open.stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl Open {
    /// Reads once where the group reads and bytes are due. Returns whether more may follow; an error where the server
    /// has closed.
    fn read(&mut self, group: &Group, now: Tick, buffer: &mut [u8], report: &mut AttackReport) -> io::Result<bool> {
        let most = match group.reads {
            Reads::Nothing => return Ok(false),
            _ if !self.readable || now < self.read_at => return Ok(false),
            Reads::All => buffer.len(),
            // A hundredth of a second's bytes at a time, or a single byte at a longer interval.
            Reads::Slowly(bytes) => usize::try_from(bytes / 100).unwrap_or(1).clamp(1, buffer.len()),
        };
        match self.stream.read(&mut buffer[..most]) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                report.bytes_read += count as u64;
                if let Reads::Slowly(bytes) = group.reads {
                    self.read_at = now + count as u64 * SECOND / u64::from(bytes.max(1));
                    return Ok(false);
                }
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(false)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Writes one batch. Returns whether more may follow; an error where the server has closed.
    fn write(&mut self, group: &Group, now: Tick, report: &mut AttackReport) -> io::Result<bool> {
        if !self.writable || self.end_at.is_some() {
            return Ok(false);
        }
        if self.at == self.out.len() && now >= self.write_at {
            self.compose(group, now);
        }
        if self.at == self.out.len() {
            return Ok(false);
        }
        match self.stream.write(&self.out[self.at..]) {
            Ok(count) => {
                self.at += count;
                report.bytes_written += count as u64;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.writable = false;
                Ok(false)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Composes the next segment, or a batch of segments where the group writes without a pause. Sets the end of a
    /// connection whose last segment has been written.
    fn compose(&mut self, group: &Group, now: Tick) {
        (self.at, self.write_at) = (0, now + ticks(group.every));
        self.out.clear();
        let single = group.alone || !group.every.is_zero();
        while self.script.next_segment(&mut self.out) {
            if single || self.out.len() >= BATCH_BYTES {
                return;
            }
        }
        if let (true, End::After { hold, how, .. }) = (self.out.is_empty(), group.ends) {
            self.end_at = Some(now.saturating_add(ticks(hold)));
            if how == Ending::HalfClose {
                let _ = self.stream.shutdown(Shutdown::Write);
            }
        }
    }
}
