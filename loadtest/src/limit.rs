//! The machine's limit: bare writes of lines to many sockets, without a server.
//!
//! One thread writes in rounds. Another thread reads like a worker, and reports the arrival of each round. Only the CPU
//! time of the writing thread counts: it is what a server would use if it only wrote.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mio::{Events, Interest, Poll, Token};
use serde::{Deserialize, Serialize};

use crate::clock::{SECOND, now, thread_cpu, ticks};
use crate::connection::{READ_BUFFER_BYTES, source_address};
use crate::interrupt;
use crate::plan::UsageError;

/// Rounds before the measurement, in which buffers grow and the scheduler places the threads.
const WARMUP_ROUNDS: u64 = 20;
/// Number of source addresses of the sockets.
const SOURCES: u8 = 8;

/// The cost of bare writes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Limit {
    /// Sockets that are written to in turn.
    pub sockets: usize,
    /// Lines in each write.
    pub lines_per_write: usize,
    /// Bytes of each line.
    pub line_bytes: usize,
    /// Lines delivered per second.
    pub deliveries_per_second: f64,
    /// CPU nanoseconds of the writing thread per delivered line.
    pub cpu_ns_per_delivery: f64,
    /// The server's CPU time per delivery divided by the one of bare writes, where there is a server.
    pub distance: Option<f64>,
}

/// Measures bare writes for a duration.
///
/// # Errors
/// Fails when the sockets cannot be opened.
pub fn measure(sockets: usize, lines: usize, line_bytes: usize, duration: Duration) -> Result<Limit> {
    if sockets == 0 || lines == 0 || line_bytes == 0 || duration.is_zero() {
        return Err(UsageError::new("--sockets, --lines, --size and --duration must all be more than 0".into()).into());
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen")?;
    let address = listener.local_addr()?;
    let round_bytes = sockets * lines * line_bytes;
    let (arrived, rounds) = channel();
    let reader = thread::spawn(move || read_rounds(address, sockets, round_bytes, &arrived));
    let mut peers = Vec::with_capacity(sockets);
    for _ in 0..sockets {
        let (peer, _) =
            listener.accept().context("cannot accept a connection: lower --sockets, or raise the limit (ulimit -n)")?;
        peer.set_nodelay(true)?;
        peers.push(peer);
    }
    let written = write_rounds(&mut peers, &vec![b'x'; lines * line_bytes], duration, &rounds);
    drop(peers);
    match reader.join() {
        Ok(read) => read.context("cannot read")?,
        Err(_) => bail!("the reading thread panicked"),
    }
    let (count, cpu, wall) = written?;
    let deliveries = (count * sockets as u64 * lines as u64) as f64;
    Ok(Limit {
        sockets,
        lines_per_write: lines,
        line_bytes,
        deliveries_per_second: deliveries * SECOND as f64 / wall as f64,
        cpu_ns_per_delivery: cpu as f64 / deliveries,
        distance: None,
    })
}

/// Writes rounds. Returns the number of measured rounds, and their CPU and wall time.
fn write_rounds(
    peers: &mut [TcpStream],
    lines: &[u8],
    duration: Duration,
    rounds: &Receiver<()>,
) -> Result<(u64, u64, u64)> {
    let (mut count, mut start, mut cpu) = (0, now(), thread_cpu());
    loop {
        for peer in &mut *peers {
            peer.write_all(lines)?;
        }
        rounds.recv().context("the reading thread ended early")?;
        if let Some(signal) = interrupt::caught_signal() {
            bail!("stopped by {}", signal.name());
        }
        count += 1;
        if count == WARMUP_ROUNDS {
            (start, cpu) = (now(), thread_cpu());
        }
        let wall = now() - start;
        if count > WARMUP_ROUNDS && wall >= ticks(duration) {
            return Ok((count - WARMUP_ROUNDS, thread_cpu() - cpu, wall));
        }
    }
}

/// Reads all sockets until they are closed, and reports the arrival of each round.
fn read_rounds(address: SocketAddr, sockets: usize, round_bytes: usize, arrived: &Sender<()>) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut streams = Vec::with_capacity(sockets);
    for number in 0..sockets {
        let mut stream = connect(address, number)?;
        poll.registry().register(&mut stream, Token(number), Interest::READABLE)?;
        streams.push(stream);
    }
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; READ_BUFFER_BYTES];
    let (mut ended, mut missing) = (0, round_bytes);
    while ended < sockets {
        poll.poll(&mut events, None)?;
        for event in &events {
            let (count, end) = read_all(&mut streams[event.token().0], &mut buffer)?;
            ended += usize::from(end);
            missing -= count;
            if missing == 0 {
                missing = round_bytes;
                // Sending fails only when the writer has finished its last round.
                let _ = arrived.send(());
            }
        }
    }
    Ok(())
}

/// Reads all available bytes, since the poll is edge-triggered. Returns their number, and whether the socket was
/// closed.
fn read_all(stream: &mut mio::net::TcpStream, buffer: &mut [u8]) -> io::Result<(usize, bool)> {
    let mut sum = 0;
    loop {
        match stream.read(buffer) {
            Ok(0) => return Ok((sum, true)),
            Ok(count) => {
                sum += count;
                if count < buffer.len() {
                    return Ok((sum, false));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok((sum, false)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn connect(address: SocketAddr, number: usize) -> io::Result<mio::net::TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    if let Some(source) = source_address(address, number, SOURCES) {
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    socket.connect(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(mio::net::TcpStream::from_std(socket.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_writes_have_a_cost_and_a_rate() {
        let limit = measure(3, 2, 64, Duration::from_millis(20)).unwrap();
        assert_eq!((limit.sockets, limit.lines_per_write, limit.line_bytes), (3, 2, 64));
        assert!(limit.cpu_ns_per_delivery > 0.0 && limit.deliveries_per_second > 0.0, "{limit:?}");
    }

    #[test]
    fn write_larger_than_the_read_buffer_is_measured() {
        let lines = 3 * READ_BUFFER_BYTES / 1024;
        assert!(measure(2, lines, 1024, Duration::from_millis(1)).is_ok());
    }

    #[test]
    fn measurement_without_sockets_is_refused() {
        assert!(measure(0, 1, 64, Duration::from_millis(1)).is_err());
    }
}
