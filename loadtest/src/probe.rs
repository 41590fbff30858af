//! A check before the load: the server accepts a connection and speaks the protocol.
//!
//! Every wait of the check is cut into short ones, so that a signal ends it.

use std::io::{self, ErrorKind, Read};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::clock::{Tick, now, ticks};
use crate::format::escape_first_line;
use crate::interrupt::{self, CaughtSignal};
use crate::plan::{Plan, UsageError};
use crate::protocol::{Frame, Protocol, ProtocolKind};

/// The most bytes of a greeting that are read.
const MAX_GREETING: usize = 4096;
/// Interval at which signals are checked while the server is awaited.
const SIGNAL_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// Resolves a host name and a port, which an option names, to an address.
///
/// # Errors
/// Fails when the text is not an address with a port, or has no address, or when a signal ends the wait for a name server.
pub fn resolve_target(option: &'static str, target: &str) -> Result<SocketAddr> {
    let resolve = |target: String| target.to_socket_addrs().map(|mut addresses| addresses.next());
    resolve_with((option, target), resolve, || interrupt::caught_signal().map(CaughtSignal::name))
}

/// Resolves a target in a thread, which outlives a wait that a signal has ended: the call of the system has no timeout.
fn resolve_with(
    (option, target): (&'static str, &str),
    resolve: impl FnOnce(String) -> io::Result<Option<SocketAddr>> + Send + 'static,
    caught_signal: impl Fn() -> Option<&'static str>,
) -> Result<SocketAddr> {
    let (sender, resolved) = mpsc::channel();
    let name = target.to_owned();
    // The receiver is gone after a signal.
    thread::spawn(move || _ = sender.send(resolve(name)));
    let address = loop {
        match resolved.recv_timeout(SIGNAL_CHECK_INTERVAL) {
            Ok(address) => break address,
            Err(RecvTimeoutError::Disconnected) => bail!("cannot resolve {option} {target}"),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Some(signal) = caught_signal() {
            bail!("stopped by {signal} while {option} {target} was resolved: nothing was measured");
        }
    };
    let address = address.map_err(|error| {
        UsageError::new(format!("{option} {target} is not an address with a port ({error}): give HOST:PORT"))
    })?;
    address.with_context(|| format!("{option} {target} has no address"))
}

/// The meaning of a greeting.
#[derive(Debug, PartialEq, Eq)]
enum Greeting {
    /// More bytes are needed.
    Incomplete,
    /// The server accepts a client.
    Ready,
    /// The server refuses a client with this text.
    Refusal(String),
    /// The bytes are no greeting of the protocol.
    OtherProtocol,
}

/// A connection whose waits end at a deadline or at a signal.
struct ProbeStream {
    stream: TcpStream,
    poll: Poll,
    events: Events,
    /// The tick at which every wait ends.
    deadline: Tick,
}

impl ProbeStream {
    /// Connects to a server within `patience`, which reads have in common with the connect.
    fn connect(target: SocketAddr, patience: Duration) -> io::Result<Self> {
        let mut stream = TcpStream::connect(target)?;
        let poll = Poll::new()?;
        poll.registry().register(&mut stream, Token(0), Interest::READABLE | Interest::WRITABLE)?;
        let deadline = now().saturating_add(ticks(patience));
        let mut connection = Self { stream, poll, events: Events::with_capacity(1), deadline };
        loop {
            connection.wait()?;
            if let Some(error) = connection.stream.take_error()? {
                return Err(error);
            }
            if connection.stream.peer_addr().is_ok() {
                return Ok(connection);
            }
        }
    }

    /// Reads some bytes; returns 0 at the end of the connection.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait()?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    /// Waits for an event of the socket.
    ///
    /// # Errors
    /// `TimedOut` at the deadline, `Interrupted` at a signal.
    fn wait(&mut self) -> io::Result<()> {
        loop {
            if let Some(signal) = interrupt::caught_signal() {
                return Err(io::Error::new(ErrorKind::Interrupted, format!("stopped by {}", signal.name())));
            }
            if now() >= self.deadline {
                return Err(ErrorKind::TimedOut.into());
            }
            match self.poll.poll(&mut self.events, Some(SIGNAL_CHECK_INTERVAL)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(()) if self.events.is_empty() => {}
                Ok(()) => return Ok(()),
            }
        }
    }
}

/// Opens one connection to each server, and reads its greeting where the protocol has one.
///
/// # Errors
/// Returns one line that names the problem and the remedy, or the signal that ended the check.
pub fn probe(plan: &Plan) -> Result<()> {
    plan.servers().iter().try_for_each(|server| probe_server(*server, plan))
}

fn probe_server(target: SocketAddr, plan: &Plan) -> Result<()> {
    let kind = plan.protocol;
    let mut stream = connect(target, plan)?;
    if !kind.protocol().server_greets() {
        return Ok(());
    }
    let mut received = Vec::new();
    let mut chunk = [0; MAX_GREETING];
    while received.len() < MAX_GREETING {
        match stream.read(&mut chunk) {
            Ok(count) if count > 0 => received.extend_from_slice(&chunk[..count]),
            Ok(_) => {
                bail!("{target} closed the connection instead of greeting; it sent `{}`", escape_first_line(&received))
            }
            Err(error) => bail!(describe_missing_greeting(target, plan, &error)),
        }
        match classify_greeting(kind.protocol(), &received) {
            Greeting::Incomplete => {}
            Greeting::Ready => return Ok(()),
            Greeting::Refusal(words) => {
                bail!("{target} refused a connection: it sent {}", kind.describe_refusal(&words))
            }
            Greeting::OtherProtocol => break,
        }
    }
    bail!("{target} does not speak --protocol {kind}: it sent `{}`", escape_first_line(&received))
}

/// Describes a read that failed while the greeting was awaited.
fn describe_missing_greeting(target: SocketAddr, plan: &Plan, error: &io::Error) -> String {
    let kind = plan.protocol;
    match error.kind() {
        ErrorKind::Interrupted => format!("{error} while {target} was awaited to greet: nothing was measured"),
        ErrorKind::TimedOut => format!(
            "{target} accepted a connection but did not greet in {}: does it speak --protocol {kind}?",
            humantime::format_duration(plan.patience)
        ),
        _ => format!("{target} accepted a connection but did not greet ({error}): does it speak --protocol {kind}?"),
    }
}

/// Connects to a server of a plan.
fn connect(target: SocketAddr, plan: &Plan) -> Result<ProbeStream> {
    match ProbeStream::connect(target, plan.patience) {
        Ok(stream) => Ok(stream),
        Err(error) if error.kind() == ErrorKind::Interrupted => {
            bail!("{error} while {target} was awaited to accept a connection: nothing was measured")
        }
        Err(error) if !plan.servers.is_empty() => {
            bail!("nothing to measure at {target} ({error}): start the server, or leave it out of --servers")
        }
        Err(error) if plan.protocol == ProtocolKind::Line => bail!(
            "nothing to measure at {target} ({error}): start the server with `cargo run --release`, \
             or add --spawn to start one for this run"
        ),
        Err(error) => bail!("nothing to measure at {target} ({error}): start the server, or give its --target"),
    }
}

/// Returns the meaning of the first bytes of a server.
fn classify_greeting(protocol: &dyn Protocol, received: &[u8]) -> Greeting {
    let mut at = 0;
    while let Some((length, frame)) = protocol.decode(&received[at..]) {
        at += length;
        match frame {
            Frame::Ready => return Greeting::Ready,
            Frame::Ignored => {}
            // The reason follows in the next line.
            Frame::Error(b"ERROR") if received[at..].contains(&b'\n') => {
                return Greeting::Refusal(format!("ERROR: {}", escape_first_line(&received[at..])));
            }
            Frame::Error(b"ERROR") => return Greeting::Incomplete,
            Frame::Error(words) => return Greeting::Refusal(escape_first_line(words)),
            _ => return Greeting::OtherProtocol,
        }
    }
    Greeting::Incomplete
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Pacing;
    use crate::plan::tests::plan;

    fn classify(kind: ProtocolKind, received: &str) -> Greeting {
        classify_greeting(kind.protocol(), received.as_bytes())
    }

    #[test]
    fn refusal_in_place_of_a_greeting_is_told_with_its_reason() {
        let full = "ERROR: the server is full";
        assert_eq!(classify(ProtocolKind::Line, "ERROR\nthe server is full\n"), Greeting::Refusal(full.into()));
        assert_eq!(classify(ProtocolKind::Line, "ERROR\nthe ser"), Greeting::Incomplete);
        let exceeded = "-ERR 'maximum connections exceeded'";
        assert_eq!(classify(ProtocolKind::Nats, &format!("{exceeded}\r\n")), Greeting::Refusal(exceeded.into()));
    }

    #[test]
    fn signal_ends_the_wait_for_a_name_server() {
        let (silent, answer) = mpsc::channel::<Option<SocketAddr>>();
        let resolve = move |_| answer.recv().map_err(io::Error::other);
        let error = resolve_with(("--target", "host:1"), resolve, || Some("SIGINT")).unwrap_err().to_string();
        assert_eq!(error, "stopped by SIGINT while --target host:1 was resolved: nothing was measured");
        drop(silent);
    }

    #[test]
    fn reset_in_place_of_a_greeting_is_told_from_silence() {
        let plan = plan(Pacing::Quiet);
        let describe = |error: io::Error| describe_missing_greeting(plan.target, &plan, &error);
        let reset = describe(io::Error::from_raw_os_error(104));
        assert!(reset.contains("did not greet (Connection reset by peer"), "{reset}");
        let silence = describe(ErrorKind::TimedOut.into());
        assert!(silence.contains("did not greet in "), "{silence}");
    }

    #[test]
    fn greeting_is_told_from_other_protocols() {
        let welcome = "Welcome! Use the command:\nJOIN <ROOMNAME> <USERNAME>\n";
        assert_eq!(classify(ProtocolKind::Line, welcome), Greeting::Ready);
        assert_eq!(classify(ProtocolKind::Line, &welcome[..40]), Greeting::Incomplete);
        assert_eq!(classify(ProtocolKind::Line, "INFO {}\r\n"), Greeting::OtherProtocol);
        assert_eq!(classify(ProtocolKind::Nats, "INFO {}\r\n"), Greeting::Ready);
    }
}
