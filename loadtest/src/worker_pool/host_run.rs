//! One run of a worker host: the shares of a coordinator, their workers, and the messages of the link.
//!
//! The end of the link ends the run, so a coordinator that disappears leaves no load running. Every message is checked:
//! it comes from another machine.

use std::io::{self, BufReader};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::NumberedEvent;
use super::host::SIGNAL_CHECK_INTERVAL;
use super::json_lines::{MAX_LINE_BYTES, decode, read_line, write_line};
use super::link::{HostReply, HostRequest};
use super::thread::{ThreadLink, send_to_all};
use crate::clock::{Tick, now};
use crate::clock_offset::shift;
use crate::interrupt;
use crate::message::{Command, Event};
use crate::plan::Share;

/// Time in which a coordinator closes the link after a signal has ended its run.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A link to a coordinator that has the worker host.
pub(super) struct HostRun<'a> {
    /// The link's socket, to which messages are written.
    stream: &'a TcpStream,
    /// The link's socket, from which messages are read.
    input: BufReader<TcpStream>,
    clock: HostClock,
}

/// The clock of a worker host: the machine's clock, or one that is `offset` ahead of it in a test.
#[derive(Clone, Copy)]
struct HostClock {
    offset: i64,
}

/// The shares of a run, checked.
pub(super) struct HostShares(Vec<(usize, Share)>);

impl<'a> HostRun<'a> {
    /// Takes over a link after its first lines.
    ///
    /// # Errors
    /// Fails at the limit of open files.
    pub(super) fn new(stream: &'a TcpStream, clock_offset: i64) -> io::Result<Self> {
        Ok(Self { stream, input: BufReader::new(stream.try_clone()?), clock: HostClock { offset: clock_offset } })
    }

    /// Replies to requests for the clock until the shares arrive. Returns `None` when the coordinator closes the link
    /// before, because it does not start the run.
    ///
    /// # Errors
    /// Fails when the link is broken, or when the shares are invalid or have more than `max_connections` connections.
    pub(super) fn wait_for_shares(&mut self, max_connections: usize) -> io::Result<Option<HostShares>> {
        loop {
            match receive(&mut self.input, self.clock)? {
                Some(HostRequest::ReadClock) => {}
                Some(HostRequest::Start(shares)) => return HostShares::check(shares, max_connections).map(Some),
                Some(HostRequest::Command(_)) => return Err(io::Error::other("it sent a command before its shares")),
                None => return Ok(None),
            }
        }
    }

    /// Runs one worker for each share, and returns after the end of the link.
    pub(super) fn run_workers(self, shares: HostShares) {
        let (events_out, events) = mpsc::channel();
        let start = |share| ThreadLink::start(share, &events_out);
        let workers: Vec<ThreadLink> = shares.0.into_iter().map(start).collect();
        drop(events_out);
        let (link_open, link_end) = mpsc::channel::<()>();
        let Self { stream, input, clock } = self;
        let workers = &workers[..];
        thread::scope(|scope| {
            scope.spawn(move || {
                forward_commands(input, clock, workers);
                drop(link_open);
            });
            forward_events(&events, workers, stream, clock);
            wait_for_end(&link_end);
            // A coordinator that keeps the link open after a signal must not keep this program running.
            let _ = stream.shutdown(Shutdown::Read);
        });
    }
}

impl HostClock {
    fn now(self) -> Tick {
        shift(now(), self.offset)
    }
}

impl HostShares {
    /// Checks that all shares have rooms of one valid plan, and that this process may open their connections.
    fn check(shares: Vec<(usize, Share)>, max_connections: usize) -> io::Result<Self> {
        let error = |text: String| Err(io::Error::other(text));
        let Some((_, first)) = shares.first() else { return error("it sent no share".into()) };
        if let Err(problem) = first.plan.check() {
            return error(format!("it sent an invalid plan: {problem}"));
        }
        let valid = |(_, share): &(usize, Share)| {
            let (worker, workers) = share.worker;
            let rooms = &share.rooms;
            share.plan == first.plan && worker < workers && rooms.start < rooms.end && rooms.end <= share.plan.rooms
        };
        if !shares.iter().all(valid) {
            return error("it sent invalid shares".into());
        }
        let connections: usize = shares.iter().map(|(_, share)| share.connections()).sum();
        if connections > max_connections {
            return error(format!("it asked for {connections} connections of {max_connections} possible ones"));
        }
        Ok(Self(shares))
    }

    /// Describes the shares for the user of the worker host: their size and their target.
    pub(super) fn describe(&self) -> String {
        let connections: usize = self.0.iter().map(|(_, share)| share.connections()).sum();
        let rooms: usize = self.0.iter().map(|(_, share)| share.rooms.len()).sum();
        let plan = self.0.first().map(|(_, share)| &share.plan);
        let target = plan.map_or(String::new(), |plan| format!(" of {} ({})", plan.server_list(), plan.protocol));
        format!("{connections} connections in {rooms} rooms{target}")
    }
}

/// Returns the next request, with its ticks converted to the machine's clock; `None` at the end of the link. Replies to a
/// request for the clock at once.
fn receive(input: &mut BufReader<TcpStream>, clock: HostClock) -> io::Result<Option<HostRequest>> {
    let Some(line) = read_line(input, MAX_LINE_BYTES)? else { return Ok(None) };
    let received = clock.now();
    let back = clock.offset.saturating_neg();
    let request = match decode(&line)? {
        HostRequest::ReadClock => {
            write_line(&mut input.get_ref(), &HostReply::Clock { received, replied: clock.now() })?;
            HostRequest::ReadClock
        }
        HostRequest::Start(shares) => {
            HostRequest::Start(shares.into_iter().map(|(number, share)| (number, share.shifted(back))).collect())
        }
        HostRequest::Command(command) => HostRequest::Command(command.shifted(back)),
    };
    Ok(Some(request))
}

/// Sends the coordinator's commands to the workers until the link ends, and lets them leave then.
///
/// The coordinator asks for the clock only after all workers have finished, so the reply meets no event in the socket.
fn forward_commands(mut input: BufReader<TcpStream>, clock: HostClock, workers: &[ThreadLink]) {
    loop {
        match receive(&mut input, clock) {
            Ok(Some(HostRequest::Command(command))) => send_to_all(workers, command),
            Ok(Some(HostRequest::ReadClock)) => {}
            Ok(Some(HostRequest::Start(_)) | None) | Err(_) => break,
        }
    }
    send_to_all(workers, Command::Leave);
}

/// Writes the workers' events to the link until all workers have finished. A signal lets the workers leave, and is the
/// failure of their reports.
fn forward_events(events: &Receiver<NumberedEvent>, workers: &[ThreadLink], mut link: &TcpStream, clock: HostClock) {
    let (mut unfinished, mut stopped, mut link_works) = (workers.len(), None, true);
    while unfinished > 0 {
        if stopped.is_none() {
            stopped = interrupt::caught_signal();
            if stopped.is_some() {
                send_to_all(workers, Command::Leave);
            }
        }
        let (number, mut event) = match events.recv_timeout(SIGNAL_CHECK_INTERVAL) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if let Event::Finished(report) = &mut event {
            unfinished -= 1;
            if let Some(signal) = stopped {
                report.failure.get_or_insert_with(|| format!("stopped by {}", signal.name()));
            }
        }
        // The events of a broken link are dropped. Its other direction tells the workers to leave.
        let reply = HostReply::Event(number, event.shifted(clock.offset));
        link_works = link_works && write_line(&mut link, &reply).is_ok();
    }
}

/// Waits until the coordinator has closed the link; after a signal, at most for [`CLOSE_TIMEOUT`].
fn wait_for_end(link_end: &Receiver<()>) {
    let mut deadline = None;
    while matches!(link_end.recv_timeout(SIGNAL_CHECK_INTERVAL), Err(RecvTimeoutError::Timeout)) {
        if interrupt::caught_signal().is_some()
            && Instant::now() >= *deadline.get_or_insert_with(|| Instant::now() + CLOSE_TIMEOUT)
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Pacing;
    use crate::plan::tests::plan;

    type Shares = Vec<(usize, Share)>;

    fn shares() -> Shares {
        let mut plan = plan(Pacing::Quiet);
        (plan.connections, plan.rooms, plan.threads, plan.patience) = (10, 4, 2, Duration::from_secs(1));
        plan.shares(1).into_iter().enumerate().collect()
    }

    #[test]
    fn invalid_shares_are_refused() {
        let refusal = |change: fn(&mut Shares)| {
            let mut shares = shares();
            change(&mut shares);
            HostShares::check(shares, 10).err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(refusal(|_| ()), "");
        assert_eq!(refusal(Vec::clear), "it sent no share");
        assert!(
            refusal(|shares| shares[0].1.plan.rooms = 0).contains("it sent an invalid plan: --connections and --rooms")
        );
        assert_eq!(refusal(|shares| shares[1].1.plan.rooms = 0), "it sent invalid shares");
        assert_eq!(refusal(|shares| shares[1].1.rooms.end = 5), "it sent invalid shares");
        assert_eq!(refusal(|shares| shares[1].1.rooms.end = 0), "it sent invalid shares");
        assert_eq!(refusal(|shares| shares[1].1.worker = (0, 0)), "it sent invalid shares");
        assert_eq!(refusal(|shares| shares[0].1.rooms.end = 4), "it asked for 14 connections of 10 possible ones");
    }

    #[test]
    fn shares_are_described_with_their_target() {
        let shares = HostShares::check(shares(), 10).unwrap();
        assert_eq!(shares.describe(), "10 connections in 4 rooms of 127.0.0.1:1234 (line)");
    }
}
