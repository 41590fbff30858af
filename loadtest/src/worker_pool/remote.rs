//! The coordinator's side of a link to a worker host.
//!
//! The offset of the host's clock is measured when the link is made and again when all workers of the host have finished.
//! The first measurement converts every tick that crosses the link; the second one shows the drift in between.

use std::collections::HashSet;
use std::io::{self, BufReader, ErrorKind, Read};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};

use super::handshake::{describe_error, greet_host};
use super::json_lines::{MAX_LINE_BYTES, decode, read_line, write_line};
use super::link::{HostReply, HostRequest, LINK_TIMEOUT, LinkReader, prepare_link};
use super::{HostFigures, NumberedEvent};
use crate::clock::{Tick, now};
use crate::clock_offset::{ClockOffset, RoundTrip};
use crate::machine::Machine;
use crate::message::{Command, Event};
use crate::plan::{Plan, Share, UsageError};

/// Time for the connect to one address of a host.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The number of round trips of one measurement of the offset.
const ROUND_TRIPS: usize = 20;

/// A connection to a worker host that has no shares yet.
pub(super) struct HostConnection {
    /// The host's address, as the plan names it.
    address: String,
    /// The connection. Writes use the socket below the buffer.
    input: BufReader<LinkReader>,
    /// The connections that the host may open.
    max_connections: usize,
    /// The host's machine.
    machine: Machine,
    /// The offset of the host's clock.
    clock: ClockOffset,
}

/// A link to the workers of a worker host. Dropping it ends their run.
pub(super) struct HostLink {
    /// The socket to which commands are written.
    stream: TcpStream,
    /// The thread that forwards the events. It returns the connection when all workers of the host have finished.
    reader: Option<JoinHandle<Option<BufReader<LinkReader>>>>,
    /// The offset of the host's clock when the link was made.
    clock: ClockOffset,
    /// The figures of the host.
    figures: HostFigures,
}

impl HostConnection {
    /// Connects to a worker host, and measures the offset of its clock.
    ///
    /// # Errors
    /// Returns one line that names the host and the remedy.
    pub(super) fn open(address: &str, plan: &Plan) -> Result<Self> {
        let stream = connect(address, plan)?;
        let failed = |error: io::Error| lost(address, &error);
        prepare_link(&stream).map_err(failed)?;
        let greeted = greet_host(&stream, plan.hosts.token.as_ref());
        let (max_connections, machine) = greeted.map_err(|problem| anyhow!("worker host {address} {problem}"))?;
        let mut input = BufReader::new(LinkReader::new(stream).map_err(failed)?);
        let clock = measure_offset(&mut input).map_err(failed)?;
        Ok(Self { address: address.into(), input, max_connections, machine, clock })
    }

    /// Returns the number of connections that the host may open.
    pub(super) fn max_connections(&self) -> usize {
        self.max_connections
    }

    /// Starts one worker of the host for each share.
    ///
    /// # Errors
    /// Fails when the link is broken.
    pub(super) fn start(self, shares: &[(usize, Share)], events_out: &Sender<NumberedEvent>) -> Result<HostLink> {
        let offset = self.clock.offset;
        let shifted = shares.iter().map(|(number, share)| (*number, share.clone().shifted(offset))).collect();
        let failed = |error: io::Error| lost(&self.address, &error);
        write_line(&mut self.input.get_ref().stream(), &HostRequest::Start(shifted)).map_err(failed)?;
        let stream = self.input.get_ref().stream().try_clone().map_err(failed)?;
        let figures = HostFigures {
            address: self.address.clone(),
            machine: self.machine,
            threads: shares.len(),
            connections: shares.iter().map(|(_, share)| share.connections()).sum(),
            offset_us: offset as f64 / 1e3,
            error_us: self.clock.error as f64 / 1e3,
            drift_us: None,
        };
        let reader = EventReader {
            address: self.address,
            unfinished: shares.iter().map(|(number, _)| *number).collect(),
            offset,
            events_out: events_out.clone(),
        };
        let input = self.input;
        let reader = Some(thread::spawn(move || reader.forward_events(input)));
        Ok(HostLink { stream, reader, clock: self.clock, figures })
    }
}

impl HostLink {
    /// Sends a command to all workers of the host. The event reader reports a broken link.
    pub(super) fn send(&mut self, command: Command) {
        let _ = write_line(&mut self.stream, &HostRequest::Command(command.shifted(self.clock.offset)));
    }

    /// Returns the time of the fastest round trip to the host.
    pub(super) fn round_trip_time(&self) -> Tick {
        self.clock.error * 2
    }

    /// Ends the link, and returns the host's figures. `complete` tells whether all workers have finished.
    pub(super) fn finish(&mut self, complete: bool) -> HostFigures {
        if !complete {
            // The event reader of a host that has not finished waits for the next event, which a shutdown ends.
            let _ = self.stream.shutdown(Shutdown::Both);
        }
        let input = self.reader.take().and_then(|reader| reader.join().ok().flatten());
        if let Some(mut input) = input {
            let end = measure_offset(&mut input).ok();
            self.figures.drift_us = end.map(|end| end.offset.saturating_sub(self.clock.offset) as f64 / 1e3);
            let _ = close(input);
        }
        std::mem::take(&mut self.figures)
    }
}

impl Drop for HostLink {
    /// Ends the connection, which ends the workers of the host.
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// Forwards the events of a worker host.
struct EventReader {
    /// The host's address.
    address: String,
    /// The numbers of the workers that have not finished.
    unfinished: HashSet<usize>,
    /// The offset of the host's clock.
    offset: i64,
    events_out: Sender<NumberedEvent>,
}

impl EventReader {
    /// Forwards events until all workers of the host have finished, and returns the connection then. When the link ends
    /// before, sends a failure for each worker that has not finished.
    fn forward_events(mut self, mut input: BufReader<LinkReader>) -> Option<BufReader<LinkReader>> {
        while !self.unfinished.is_empty() {
            if let Err(error) = self.forward_event(&mut input) {
                let failure = lost(&self.address, &error).to_string();
                for worker in self.unfinished {
                    let _ = self.events_out.send((worker, Event::failed(&failure)));
                }
                return None;
            }
        }
        Some(input)
    }

    /// Forwards the next event, with its ticks converted to this machine's clock.
    fn forward_event(&mut self, input: &mut BufReader<LinkReader>) -> io::Result<()> {
        let HostReply::Event(worker, event) = receive(input)? else { return Err(out_of_turn()) };
        // A number that is not the host's own would count for another host's worker.
        if !self.unfinished.contains(&worker) {
            return Err(out_of_turn());
        }
        let mut event = event.shifted(self.offset.saturating_neg());
        if let Event::Finished(report) = &mut event {
            self.unfinished.remove(&worker);
            report.failure = report.failure.take().map(|failure| format!("worker host {}: {failure}", self.address));
        }
        // Sending fails only when the coordinator has ended.
        let _ = self.events_out.send((worker, event));
        Ok(())
    }
}

/// Connects to the first address of a host that accepts.
fn connect(address: &str, plan: &Plan) -> Result<TcpStream> {
    let addresses = address.to_socket_addrs().map_err(|error| {
        UsageError::new(format!("--workers {address} is not an address with a port ({error}): give HOST:PORT"))
    })?;
    let mut failure = None;
    for socket_address in addresses {
        check_target(address, socket_address, plan)?;
        match TcpStream::connect_timeout(&socket_address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = Some(error),
        }
    }
    let failure = failure.map_or_else(|| "it has no address".into(), |error| error.to_string());
    bail!("worker host {address} is not reachable ({failure}): start `loadtest worker --listen` there")
}

/// Refuses a loopback target for a worker host on another machine: each machine has a loopback address of its own.
fn check_target(address: &str, host: SocketAddr, plan: &Plan) -> Result<(), UsageError> {
    let loopback = plan.servers().iter().find(|server| server.ip().is_loopback());
    match loopback.filter(|_| !host.ip().is_loopback()) {
        Some(server) => Err(UsageError::new(format!(
            "{} {server} is a loopback address, which worker host {address} would look for on its own machine: give an \
             address that all hosts reach",
            if plan.servers.is_empty() { "--target" } else { "--servers" }
        ))),
        None => Ok(()),
    }
}

/// Measures the offset of the host's clock by several round trips.
fn measure_offset(input: &mut BufReader<LinkReader>) -> io::Result<ClockOffset> {
    let mut round_trips = Vec::with_capacity(ROUND_TRIPS);
    for _ in 0..ROUND_TRIPS {
        let sent = now();
        write_line(&mut input.get_ref().stream(), &HostRequest::ReadClock)?;
        let line = read_line(input, MAX_LINE_BYTES)?.ok_or(ErrorKind::UnexpectedEof)?;
        let returned = now();
        let HostReply::Clock { received, replied } = decode(&line)? else { return Err(out_of_turn()) };
        round_trips.push(RoundTrip { sent, received, replied, returned });
    }
    ClockOffset::estimate(&round_trips).ok_or_else(|| io::Error::other("it sent an impossible clock"))
}

fn receive(input: &mut BufReader<LinkReader>) -> io::Result<HostReply> {
    decode(&read_line(input, MAX_LINE_BYTES)?.ok_or(ErrorKind::UnexpectedEof)?)
}

fn out_of_turn() -> io::Error {
    io::Error::other("it sent a message out of turn")
}

/// Closes a connection, and waits until the host has closed its end: the host is free for the next run then.
fn close(mut input: BufReader<LinkReader>) -> io::Result<()> {
    input.get_ref().stream().shutdown(Shutdown::Write)?;
    input.read(&mut [0]).map(drop)
}

/// Returns the failure of a link that ended early.
fn lost(address: &str, error: &io::Error) -> anyhow::Error {
    let words = describe_error(error, LINK_TIMEOUT);
    anyhow!(
        "the link to worker host {address} ended early ({words}): check that the host runs, and that its network works"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Pacing;
    use crate::plan::tests::plan;

    #[test]
    fn loopback_target_is_refused_for_a_host_on_another_machine() {
        let mut plan = plan(Pacing::Quiet);
        let check = |host: &str, plan: &Plan| check_target("host:7000", host.parse().unwrap(), plan);
        assert!(check("127.0.0.1:7000", &plan).is_ok() && check("[::1]:7000", &plan).is_ok());
        let error = check("10.0.0.2:7000", &plan).unwrap_err().to_string();
        assert!(
            error.contains("--target 127.0.0.1:1234 is a loopback address, which worker host host:7000"),
            "{error}"
        );
        plan.target = ([10, 0, 0, 1], 1234).into();
        assert!(check("10.0.0.2:7000", &plan).is_ok() && check("127.0.0.1:7000", &plan).is_ok());
    }

    #[test]
    fn failure_of_a_silent_link_names_the_time_and_the_host() {
        let error = lost("host:7000", &ErrorKind::WouldBlock.into()).to_string();
        assert!(
            error.starts_with("the link to worker host host:7000 ended early (it sent nothing for 25s)"),
            "{error}"
        );
    }
}
