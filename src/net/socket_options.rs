//! Socket options: what every connection gets.

use crate::limits::memory::{KERNEL_RECEIVE_BUFFER, KERNEL_SEND_BUFFER};
use crate::net::PeerAddress;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::time::Duration;
use tracing::debug;

/// Fixes the kernel's buffers of a socket, which bound the kernel memory of a peer that reads nothing and the input that
/// the server has received and not read. A TCP socket that a listener accepts has the listener's buffers of the moment at
/// which the connection came; they have to be set before `listen`, because the window scale of a connection follows from
/// them. The system doubles what is asked
/// for (socket(7)).
///
/// # Errors
/// The system's error.
pub(super) fn set_buffer_sizes(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_send_buffer_size(KERNEL_SEND_BUFFER / 2)?;
    socket.set_recv_buffer_size(KERNEL_RECEIVE_BUFFER / 2)
}

/// Sets what every TCP connection needs; `address` is the peer's, for the log. An option that the system refuses keeps its value: a connection without
/// keepalive is better than none, and one that is gone already is found by its first read. A `dead_timeout` of zero
/// leaves keepalive off and the system's own time for unacknowledged bytes.
pub(super) fn set_tcp_options(socket: &SockRef<'_>, address: PeerAddress, dead_timeout: Duration) {
    // A machine that is gone is noticed while nothing is sent …
    let probe = (dead_timeout / 6).max(Duration::from_secs(1));
    let keepalive = TcpKeepalive::new().with_time((dead_timeout / 2).max(probe)).with_interval(probe).with_retries(3);
    let options = [
        // Without it, Nagle's algorithm and delayed acknowledgements delay a line by 40 ms.
        socket.set_tcp_nodelay(true),
        if dead_timeout.is_zero() { Ok(()) } else { socket.set_tcp_keepalive(&keepalive) },
        // Or the urgent byte of a telnet Synch would be taken out of the stream (RFC 854, page 8).
        socket.set_out_of_band_inline(true),
        // … and while something is: the kernel closes a peer that acknowledges nothing, or reads nothing, for so
        // long. That is why a stall timeout can't be longer.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if dead_timeout.is_zero() { Ok(()) } else { socket.set_tcp_user_timeout(Some(dead_timeout)) },
    ];
    if let Some(error) = options.into_iter().find_map(Result::err) {
        debug!(%address, %error, "can't set an option of a socket");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn accepted_socket_has_the_buffers_of_its_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        set_buffer_sizes(&SockRef::from(&listener)).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let socket = SockRef::from(&accepted);
        assert_eq!(socket.send_buffer_size().unwrap(), KERNEL_SEND_BUFFER);
        assert_eq!(socket.recv_buffer_size().unwrap(), KERNEL_RECEIVE_BUFFER);
    }

    /// At the default, and with the shortest and the longest time that the flag takes.
    #[test]
    fn the_options_can_be_read_back() {
        for (dead, idle) in [(60, 30), (9 * 3600, 16_200), (1, 1)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let socket = SockRef::from(&stream);
            set_tcp_options(&socket, PeerAddress::Unix(None), Duration::from_secs(dead));
            assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
            assert!(socket.out_of_band_inline().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(idle));
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(dead)));
        }
    }

    #[test]
    fn no_dead_timeout_leaves_keepalive_off() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = SockRef::from(&stream);
        set_tcp_options(&socket, PeerAddress::Unix(None), Duration::ZERO);
        assert!(socket.tcp_nodelay().unwrap() && !socket.keepalive().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), None);
    }
}
