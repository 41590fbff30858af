//! The event loop of an attack: one thread steps all bad clients in turn until the attack's end.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mio::{Events, Poll, Token};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::bad_client::{BadClient, Step};
use super::kind::Kind;
use crate::clock::{SECOND, Tick, now};

/// The most events taken from the poll at a time.
const EVENTS: usize = 1024;
/// Bytes of the buffer into which all sockets are read.
const READ_BYTES: usize = 64 * 1024;
/// The timeout of the poll when no client can go on. Paces and slow reads have this resolution.
const IDLE_TIMEOUT: Duration = Duration::from_millis(2);
/// Connections that the whole attack opens at most each second: each closed one occupies a local port for a minute.
const CONNECTS_PER_SECOND: u64 = 3000;
/// Connections that are opened in one pass over all clients, so that no pass takes long.
const CONNECTS_PER_PASS: u64 = 256;
/// Source addresses of an attack on 127.0.0.0/8. Each has its own ports, and none is an address of good clients.
const SOURCES: u8 = 8;

/// The work of an attack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AttackReport {
    /// Connections that were established.
    pub connects: u64,
    /// Connections that were refused or broke before they were established.
    pub failed_connects: u64,
    /// Connections that the server closed.
    pub closed_by_server: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// CPU time of the attacking process in nanoseconds.
    #[serde(rename = "cpu_ns")]
    pub cpu: u64,
}

impl AttackReport {
    /// Adds the work of another attack.
    pub fn add(&mut self, other: &Self) {
        self.connects += other.connects;
        self.failed_connects += other.failed_connects;
        self.closed_by_server += other.closed_by_server;
        self.bytes_written += other.bytes_written;
        self.bytes_read += other.bytes_read;
        self.cpu += other.cpu;
    }
}

/// An attack that is being carried out.
pub(super) struct EventLoop {
    target: SocketAddr,
    seed: u64,
    poll: Poll,
    clients: Vec<BadClient>,
    /// The client that a pass begins with: the one after the last that connected, so that each gets its turn.
    first: usize,
    /// Connections opened so far, whether or not they were established.
    opened: u64,
    report: AttackReport,
}

impl EventLoop {
    /// Creates the clients of some kinds. No connection is opened.
    ///
    /// # Errors
    /// Fails when the system cannot create a poll.
    pub(super) fn new(target: SocketAddr, kinds: &[&'static Kind], seed: u64) -> io::Result<Self> {
        let groups = kinds.iter().flat_map(|kind| kind.groups.iter().enumerate());
        let clients = groups.flat_map(|(number, group)| {
            (0..group.sockets)
                .map(move |socket| BadClient::new(group, (number, socket), source_address(target, socket)))
        });
        let (clients, report) = (clients.collect(), AttackReport::default());
        Ok(Self { target, seed, poll: Poll::new()?, clients, first: 0, opened: 0, report })
    }

    /// Runs the attack until a tick, or until `stop` is set, and resets all connections at the end.
    ///
    /// # Errors
    /// Fails when the poll fails.
    pub(super) fn run(mut self, until: Tick, stop: &AtomicBool) -> io::Result<AttackReport> {
        let started = now();
        let mut events = Events::with_capacity(EVENTS);
        let mut buffer = vec![0; READ_BYTES];
        let mut progress = true;
        // Relaxed: no other data is published with the flag.
        while now() < until && !stop.load(Ordering::Relaxed) {
            let timeout = if progress { Duration::ZERO } else { IDLE_TIMEOUT };
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                if let Some(client) = self.clients.get_mut(event.token().0) {
                    client.mark_ready(event.is_readable(), event.is_writable());
                }
            }
            progress = self.step_clients(started, &mut buffer);
        }
        self.clients.iter_mut().for_each(BadClient::reset);
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        self.report.cpu = u64::try_from(cpu.tv_sec).unwrap_or(0) * SECOND + u64::try_from(cpu.tv_nsec).unwrap_or(0);
        Ok(self.report)
    }

    /// Steps each client once. Returns whether some client can go on at once.
    fn step_clients(&mut self, started: Tick, buffer: &mut [u8]) -> bool {
        let mut progress = false;
        let now = now();
        let allowed = CONNECTS_PER_SECOND + now.saturating_sub(started) * CONNECTS_PER_SECOND / SECOND;
        let mut left = allowed.saturating_sub(self.opened).min(CONNECTS_PER_PASS);
        let count = self.clients.len();
        for index in (self.first..count).chain(0..self.first) {
            let client = &mut self.clients[index];
            let mut step = client.step(now, buffer, &mut self.report);
            if step == Step::WantsConnection && left > 0 {
                (left, self.opened) = (left - 1, self.opened + 1);
                self.first = (index + 1) % count;
                progress = true;
                let place = (self.poll.registry(), Token(index));
                if client.connect(self.target, place, self.seed, now).is_err() {
                    self.report.failed_connects += 1;
                }
                step = Step::Waiting;
            }
            progress |= step == Step::Progress;
        }
        progress
    }
}

/// Returns the source address of a socket: 127.66.0.x where the server is on 127.0.0.0/8.
fn source_address(target: SocketAddr, socket: usize) -> Option<Ipv4Addr> {
    let last = u8::try_from(socket % usize::from(SOURCES)).unwrap_or(0) + 1;
    matches!(target.ip(), IpAddr::V4(ip) if ip.is_loopback()).then(|| Ipv4Addr::new(127, 66, 0, last))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener};
    use std::sync::Arc;
    use std::thread;

    use super::super::kind::{End, Ending, Group, QUIET, Reads, Room, Writes};
    use super::*;

    /// Runs a kind against a listener until `enough` connections have been handled.
    fn run(kind: &'static Kind, enough: usize, mut handle: impl FnMut(std::net::TcpStream)) -> AttackReport {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let target = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let attack = thread::spawn({
            let stop = Arc::clone(&stop);
            move || EventLoop::new(target, &[kind], 1).unwrap().run(now() + 60 * SECOND, &stop).unwrap()
        });
        listener.incoming().take(enough).for_each(|stream| handle(stream.unwrap()));
        stop.store(true, Ordering::Relaxed);
        attack.join().unwrap()
    }

    #[test]
    fn connection_writes_its_script_closes_and_comes_again() {
        static KIND: Kind = Kind {
            name: "test",
            about: "",
            leaves_lines: false,
            groups: &[Group {
                room: Room::Shared("pit"),
                writes: Writes::Cycle(&[b"line {n} of {c}\n"]),
                ends: End::After { segments: 2, hold: Duration::ZERO, how: Ending::Close },
                ..QUIET
            }],
        };
        let mut texts = Vec::new();
        let report = run(&KIND, 3, |mut stream| {
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            texts.push(text);
        });
        let text = |number| format!("JOIN pit b0x0x{number}\r\nline 0 of {number}\nline 1 of {number}\n");
        assert_eq!(texts, [text(0), text(1), text(2)]);
        assert!(report.connects >= 3 && report.bytes_written >= 3 * texts[0].len() as u64, "{report:?}");
    }

    #[test]
    fn reset_and_half_close_arrive_as_such() {
        static RESET: Kind = Kind {
            name: "reset",
            about: "",
            leaves_lines: false,
            groups: &[Group { ends: End::After { segments: 0, hold: Duration::ZERO, how: Ending::Reset }, ..QUIET }],
        };
        static HALF: Kind = Kind {
            name: "half",
            about: "",
            leaves_lines: false,
            groups: &[Group {
                writes: Writes::Cycle(&[b"hi"]),
                reads: Reads::All,
                ends: End::After { segments: 1, hold: Duration::from_secs(3600), how: Ending::HalfClose },
                ..QUIET
            }],
        };
        run(&RESET, 2, |mut stream| {
            assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        });
        let report = run(&HALF, 1, |mut stream| {
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            assert_eq!(text, "hi");
            stream.write_all(b"still open").unwrap();
        });
        assert_eq!(report.failed_connects, 0);
    }

    #[test]
    fn deaf_client_leaves_bytes_unread_and_slow_one_reads_some() {
        static DEAF: Kind =
            Kind { name: "deaf", about: "", leaves_lines: false, groups: &[Group { reads: Reads::Nothing, ..QUIET }] };
        static SLOW: Kind = Kind {
            name: "slow",
            about: "",
            leaves_lines: false,
            groups: &[Group { reads: Reads::Slowly(100), ..QUIET }],
        };
        let fill = |mut stream: std::net::TcpStream| {
            stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
            while stream.write(&[b'x'; 4096]).is_ok() {}
        };
        assert_eq!(run(&DEAF, 1, fill).bytes_read, 0);
        assert!((1..100_000).contains(&run(&SLOW, 1, fill).bytes_read));
    }
}
