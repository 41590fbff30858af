//! A worker host: waits for coordinators on a TCP port, and serves one run after the other.
//!
//! A worker host opens connections to the target of the plan, and does nothing else for a coordinator: it writes no file
//! and starts no program. Without a token it listens on loopback addresses only.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::handshake::{HostAnswer, Refusal, answer_coordinator, receive_coordinator};
use super::host_run::HostRun;
use super::link::prepare_link;
use crate::interrupt;
use crate::machine::Machine;
use crate::plan::UsageError;
use crate::worker_hosts::Token;

/// Interval at which signals are checked.
pub(super) const SIGNAL_CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// The most links at a time: the one of the run, and those whose first line is awaited.
const MAX_LINKS: usize = 16;

/// A worker host that listens for coordinators.
#[derive(Debug)]
pub struct WorkerHost {
    listener: TcpListener,
    /// The token that a coordinator must send.
    token: Option<Token>,
    /// The connections that this process may open.
    max_connections: usize,
    /// Nanoseconds that this host's clock is ahead of the machine's clock. Only tests set it.
    clock_offset: i64,
    /// Links that are open. All accesses are relaxed, since no other data is published with the number.
    links: AtomicUsize,
    /// Whether a coordinator has the host. The acquire of [`Claim::new`] is paired with the release of the drop of the
    /// claim before.
    busy: AtomicBool,
    /// Whether workers are running. The release store after a run is paired with the acquire load of [`Self::serve`].
    running: AtomicBool,
}

impl WorkerHost {
    /// Listens on an address.
    ///
    /// # Errors
    /// Fails when the address is not available, or when other machines reach it and there is no token.
    pub fn bind(listen: &str, token: Option<Token>, max_connections: usize) -> Result<Self> {
        let usage = |problem: String| UsageError::new(format!("--listen {listen} {problem}"));
        let resolved = listen.to_socket_addrs();
        let addresses: Vec<SocketAddr> = resolved
            .map_err(|error| usage(format!("is not an address with a port ({error}): give HOST:PORT")))?
            .collect();
        if token.is_none() && !addresses.iter().all(|address| address.ip().is_loopback()) {
            return Err(usage(
                "is open to other machines, and each of them could load any server from here: give a --token, or set \
                 LOADTEST_TOKEN, or listen on 127.0.0.1"
                    .into(),
            )
            .into());
        }
        let listener = TcpListener::bind(&addresses[..]).with_context(|| format!("cannot listen on {listen}"))?;
        Ok(Self {
            listener,
            token,
            max_connections,
            clock_offset: 0,
            links: AtomicUsize::new(0),
            busy: AtomicBool::new(false),
            running: AtomicBool::new(false),
        })
    }

    /// Sets the nanoseconds that this host's clock is ahead of the machine's clock. Tests simulate another machine by it.
    #[must_use]
    pub fn with_clock_offset(self, clock_offset: i64) -> Self {
        Self { clock_offset, ..self }
    }

    /// Returns the address that the host listens on.
    ///
    /// # Errors
    /// Fails when the system does not know it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves coordinators until a signal is caught. A run that is in progress ends before the return.
    ///
    /// # Errors
    /// Fails when the listener cannot be used.
    pub fn serve(self) -> io::Result<()> {
        self.listener.set_nonblocking(true)?;
        let host = Arc::new(self);
        while interrupt::caught_signal().is_none() {
            // Accepting also fails at the limit of open files, which the end of a run relieves.
            let Ok((stream, peer)) = host.listener.accept() else {
                thread::sleep(SIGNAL_CHECK_INTERVAL);
                continue;
            };
            let host = Arc::clone(&host);
            thread::spawn(move || {
                if host.links.fetch_add(1, Ordering::Relaxed) < MAX_LINKS
                    && let Err(error) = host.serve_link(&stream, peer)
                {
                    eprintln!("loadtest: the link to {peer} ended early: {error}");
                }
                host.links.fetch_sub(1, Ordering::Relaxed);
            });
        }
        while host.running.load(Ordering::Acquire) {
            thread::sleep(SIGNAL_CHECK_INTERVAL);
        }
        Ok(())
    }

    /// Serves one link from its first line to its end. The caller closes the stream, so that a coordinator that has seen
    /// the close finds the host free.
    fn serve_link(&self, stream: &TcpStream, peer: SocketAddr) -> io::Result<()> {
        // Linux does not pass the listener's mode on, but other systems do.
        stream.set_nonblocking(false)?;
        prepare_link(stream)?;
        let greeted = receive_coordinator(stream, self.token.as_ref())?;
        let claim = match greeted.and_then(|()| Claim::new(&self.busy).ok_or(Refusal::Busy)) {
            Ok(claim) => claim,
            Err(refusal) => return answer_coordinator(stream, HostAnswer::Refused(refusal)),
        };
        let (max_connections, machine) = (self.max_connections, Machine::here());
        answer_coordinator(stream, HostAnswer::Accepted { max_connections, machine })?;
        let mut run = HostRun::new(stream, self.clock_offset)?;
        let Some(shares) = run.wait_for_shares(max_connections)? else { return Ok(()) };
        print_line(&format!("run of {peer}: {}", shares.describe()));
        self.running.store(true, Ordering::Relaxed);
        run.run_workers(shares);
        print_line(&format!("run of {peer} ended"));
        // Before the claim ends: the next coordinator's run must not be taken for none.
        self.running.store(false, Ordering::Release);
        drop(claim);
        Ok(())
    }
}

/// The possession of a worker host by a coordinator. Dropping it makes the host free.
struct Claim<'a>(&'a AtomicBool);

impl<'a> Claim<'a> {
    /// Claims a host that is free.
    fn new(busy: &'a AtomicBool) -> Option<Self> {
        busy.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok().then_some(Self(busy))
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Prints a line. A closed standard output is no error.
fn print_line(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}
