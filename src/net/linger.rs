//! The lingering close: ends the output, then discards input for a moment, so that the last bytes are not lost.

use crate::limits::address_budget::AddressBudget;
use crate::net::Socket;
use socket2::SockRef;
use std::cell::RefCell;
use std::io;
use std::net::Shutdown;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// How long a closed peer's input is still read, and discarded.
///
/// A socket that is closed with input unread sends a reset, and the reset can overtake the `ERROR` line
/// (RFC 2525, section 2.17).
const LINGER: Duration = Duration::from_secs(1);

/// The most bytes that are discarded at a time.
const DISCARD_BYTES: u32 = 16 << 10;

thread_local! {
    /// The buffer of discarded input. It belongs to the worker thread: thousands may be closed at a time.
    static DISCARDED: RefCell<Vec<u8>> = RefCell::new(vec![0; DISCARD_BYTES as usize]);
}

/// Ends the output of `socket`, then discards what still comes if the peer may be sending: until it closes, for
/// at most 1 s, and as fast as the budget of its address allows. What the peer writes faster stays in the kernel's
/// buffers, where it stops the peer.
pub(crate) async fn linger_close(socket: &Socket, peer_may_send: bool) {
    linger_close_stream(socket.stream(), socket.address_budget(), peer_may_send).await;
}

/// Closes a stream without a permit, as [`linger_close`] does, against `budget`.
pub(crate) async fn linger_close_stream(stream: &TcpStream, budget: &AddressBudget, peer_may_send: bool) {
    let is_connected = SockRef::from(stream).shutdown(Shutdown::Write).is_ok();
    if is_connected && peer_may_send {
        // Either the peer closes or the time is up.
        let _ = timeout(LINGER, discard_input(stream, budget)).await;
    }
}

async fn discard_input(stream: &TcpStream, budget: &AddressBudget) {
    loop {
        // An error is found again by the read.
        let _ = stream.readable().await;
        let now = Instant::now();
        let allowed_at = Instant::from(budget.spend_discarding(DISCARD_BYTES, now.into_std()));
        if allowed_at > now + LINGER {
            // The turn would come after the end of the lingering.
            budget.refund_discarding(DISCARD_BYTES, now.into_std());
            return sleep(LINGER).await;
        }
        sleep_until(allowed_at).await;
        let read = DISCARDED.with_borrow_mut(|buffer| stream.try_read(buffer));
        let unread = DISCARD_BYTES.saturating_sub(u32::try_from(*read.as_ref().unwrap_or(&0)).unwrap_or(u32::MAX));
        budget.refund_discarding(unread, Instant::now().into_std());
        match read {
            Ok(0) => return,
            // A peer that always has more must not keep the worker.
            Ok(_) => yield_now().await,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Socket, Type};
    use std::io::{Read, Write};
    use std::net::Ipv4Addr;
    use std::thread;
    use tokio::net::TcpListener;

    const LAST_BYTES: &[u8] = b"ERROR Too long\n";

    /// Returns a budget of which nothing is used.
    fn budget() -> AddressBudget {
        AddressBudget::new(Instant::now().into_std())
    }

    /// Returns the two ends of a connection whose kernel buffers hold little; the last bytes are written to the client.
    async fn small_connection() -> (std::net::TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        SockRef::from(&listener).set_recv_buffer_size(32 << 10).unwrap();
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        client.set_send_buffer_size(32 << 10).unwrap();
        client.connect(&listener.local_addr().unwrap().into()).unwrap();
        let server = listener.accept().await.unwrap().0;
        SockRef::from(&server).send(LAST_BYTES).unwrap();
        (client.into(), server)
    }

    #[tokio::test]
    async fn closed_peer_whose_address_owes_is_not_read_and_gets_the_last_bytes() {
        let (mut client, server) = small_connection().await;
        let budget = budget();
        budget.spend_discarding(u32::MAX, Instant::now().into_std());
        let writing = thread::spawn(move || {
            let mut written = 0;
            while let Ok(count) = client.write(&[b'e'; 16 << 10]) {
                written += count;
            }
            let mut received = [0; LAST_BYTES.len()];
            client.read_exact(&mut received).unwrap();
            (written, received)
        });
        linger_close_stream(&server, &budget, true).await;
        drop(server);
        let (written, received) = writing.join().unwrap();
        assert_eq!(received, LAST_BYTES);
        assert!(written < 1 << 20, "{written} bytes were taken");
    }

    #[tokio::test]
    async fn closed_peer_within_its_budget_writes_all_before_it_reads_the_last_bytes() {
        let (mut client, server) = small_connection().await;
        let writing = thread::spawn(move || {
            client.write_all(&vec![b'e'; 2 << 20]).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let mut received = Vec::new();
            client.read_to_end(&mut received).unwrap();
            received
        });
        // Without the time limit of the whole close: the end of the peer's output ends it.
        discard_input(&server, &budget()).await;
        drop(server);
        assert_eq!(writing.join().unwrap(), LAST_BYTES);
    }
}
