//! Tests of the PROXY header: each form, every cut and split, what follows it, and what is no header.

use super::*;
use futures::FutureExt;
use proptest::collection::vec;
use proptest::prelude::{any, prop_assert_eq, proptest};
use proptest::sample::{Index, select};
use std::io::{Read, Write};
use std::net::{self, Ipv4Addr};
use std::pin::pin;
use tokio::task::yield_now;

/// Lines of a client in the packet of its proxy's header.
const JOIN: &[u8] = b"JOIN room alice\nhi\n";

/// Where the test's connections come from.
const PEER: PeerAddress = PeerAddress::Unix(None);

fn client(address: &str) -> NamedClient {
    NamedClient::Tcp(address.parse().unwrap())
}

/// Returns a header of version 2: its command, its address family with the transport, and the rest.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [V2_START, &[0x20 | command, family], &length, rest].concat()
}

/// The rest of a header of version 2 for a client at 203.0.113.9:56324.
const V2_TCP4: [u8; 12] = [203, 0, 113, 9, 192, 0, 2, 1, 0xdc, 0x04, 0x04, 0xd2];

/// Returns headers of each form, with the client that they name.
fn headers() -> Vec<(Vec<u8>, NamedClient)> {
    let v6 = [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7][..], &[0; 16], &[0xdc, 4, 4, 0xd2]].concat();
    let longest_v1 = format!("PROXY UNKNOWN {0} {0} 65535 65535\r\n", ["ffff"; 8].join(":")).into_bytes();
    assert_eq!(longest_v1.len(), MAX_V1);
    let longest_v2 = v2(1, 0x11, &[&V2_TCP4[..], &[4, 1, 0xf9], &[0; 505]].concat());
    assert_eq!(longest_v2.len(), MAX_V2);
    vec![
        (b"PROXY TCP4 203.0.113.9 192.0.2.1 56324 1234\r\n".to_vec(), client("203.0.113.9:56324")),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 1234\r\n".to_vec(), client("[2001:db8::7]:56324")),
        (b"PROXY UNKNOWN\r\n".to_vec(), NamedClient::None),
        (longest_v1, NamedClient::None),
        (v2(1, 0x11, &V2_TCP4), client("203.0.113.9:56324")),
        (v2(1, 0x21, &v6), client("[2001:db8::7]:56324")),
        (longest_v2, client("203.0.113.9:56324")),
        (v2(0, 0, &[]), NamedClient::None),
        (v2(0, 0x11, &V2_TCP4), NamedClient::None),
        (v2(1, 0, &[]), NamedClient::None),
        (v2(1, 0x31, &[b'/'; 216]), NamedClient::None),
    ]
}

/// Returns both ends of a connection, on which each write of the proxy is a packet.
fn connection() -> (TcpStream, net::TcpStream) {
    let listener = net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let theirs = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    theirs.set_nodelay(true).unwrap();
    let (ours, _) = listener.accept().unwrap();
    ours.set_nonblocking(true).unwrap();
    (TcpStream::from_std(ours).unwrap(), theirs)
}

/// Returns where the server takes a peer to come from whose header names this client.
fn address_of(client: NamedClient) -> PeerAddress {
    match client {
        NamedClient::Tcp(address) => PeerAddress::Tcp(address),
        NamedClient::None => PEER,
    }
}

#[test]
fn header_is_complete_at_its_last_byte_and_ends_there() {
    for (header, named) in headers() {
        for cut in 0..header.len() {
            assert_eq!(parse(&header[..cut], ProxyVersions::Both), Ok(None), "{cut} bytes of {header:?}");
        }
        for rest in [&[][..], b"\n", JOIN, &header] {
            let received = [&header, rest].concat();
            assert_eq!(parse(&received, ProxyVersions::Both), Ok(Some((named, header.len()))), "{header:?}");
        }
    }
}

#[test]
fn first_bytes_of_no_header_are_refused_at_the_first_wrong_one() {
    for (bytes, wrong_at) in [
        (&b"JOIN room alice\n"[..], 0),
        (b"GET / HTTP/1.1\r\n", 0),
        (b"POST / HTTP/1.1\r\n", 1),
        (b"PROXY\tTCP4 ", 5),
        (b"proxy UNKNOWN\r\n", 0),
        (b"\n", 0),
        (b"\r\n\r\nQUIT\n", 4),
        (b"\xff\xfb\x18", 0),
        (b"\x16\x03\x01\x02", 0),
    ] {
        assert_eq!(parse(&bytes[..wrong_at], ProxyVersions::Both), Ok(None), "{bytes:?}");
        let refused = Err(ProxyHeaderError::Missing);
        assert_eq!(parse(&bytes[..=wrong_at], ProxyVersions::Both), refused, "{bytes:?}");
        assert_eq!(parse(bytes, ProxyVersions::Both), refused, "{bytes:?}");
    }
}

#[test]
fn version_that_the_listener_does_not_take_is_refused() {
    for (header, named) in headers() {
        let is_v1 = header[0] == b'P';
        for versions in [ProxyVersions::V1, ProxyVersions::V2] {
            let taken = is_v1 == (versions == ProxyVersions::V1);
            let expected =
                if taken { Ok(Some((named, header.len()))) } else { Err(ProxyHeaderError::Version(versions)) };
            assert_eq!(parse(&header, versions), expected, "{header:?}");
        }
    }
}

#[test]
fn header_that_is_too_long_is_refused_when_that_is_known() {
    let v1 = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
    assert_eq!(parse(&v1[..MAX_V1 - 1], ProxyVersions::Both), Ok(None));
    assert_eq!(parse(&v1[..MAX_V1], ProxyVersions::Both), Err(ProxyHeaderError::TooLong));
    let late_end = [&b"PROXY UNKNOWN "[..], &[b'x'; MAX_V1 - 15], b"\r\n"].concat();
    assert_eq!(late_end.len(), MAX_V1 + 1);
    assert_eq!(parse(&late_end, ProxyVersions::Both), Err(ProxyHeaderError::TooLong));
    for rest in [MAX_V2 - V2_FIXED + 1, 65_535] {
        let v2 = v2(1, 0x11, &vec![0; rest]);
        assert_eq!(parse(&v2[..V2_FIXED - 1], ProxyVersions::Both), Ok(None));
        assert_eq!(parse(&v2[..V2_FIXED], ProxyVersions::Both), Err(ProxyHeaderError::TooLong));
    }
}

#[test]
fn broken_header_is_refused_whatever_follows_it() {
    let broken = [
        &b"PROXY \r\n"[..],
        b"PROXY TCP4\r\n",
        b"PROXY TCP4 203.0.113.9\r\n",
        b"PROXY TCP4 203.0.113.9 192.0.2.1 56324\r\n",
        b"PROXY TCP4 203.0.113.256 192.0.2.1 56324 1234\r\n",
        b"PROXY TCP4 2001:db8::7 2001:db8::1 56324 1234\r\n",
        b"PROXY TCP6 203.0.113.9 192.0.2.1 56324 1234\r\n",
        b"PROXY TCP4 203.0.113.9 192.0.2.1 65536 1234\r\n",
        b"PROXY TCP4 203.0.113.9 192.0.2.1 56324 1234\n",
        b"PROXY TCP4  203.0.113.9 192.0.2.1 56324 1234\r\n",
        b"PROXY UDP4 203.0.113.9 192.0.2.1 56324 1234\r\n",
        &v2(2, 0x11, &V2_TCP4),
        &v2(1, 0x41, &V2_TCP4),
        // Datagrams do not come over a stream.
        &v2(1, 0x12, &V2_TCP4),
        // The addresses are longer than the header.
        &v2(1, 0x11, &V2_TCP4[..11]),
        &v2(1, 0x21, &V2_TCP4),
        &v2(1, 0x31, &V2_TCP4),
        &[V2_START, &[0x11, 0x11, 0, 12], &V2_TCP4].concat(),
    ];
    for header in broken {
        for rest in [&b""[..], b" 192.0.2.1 1 2\r\n", JOIN] {
            let received = [header, rest].concat();
            assert_eq!(parse(&received, ProxyVersions::Both), Err(ProxyHeaderError::Invalid), "{received:?}");
        }
    }
}

proptest! {
    /// The decision on a connection depends on its first bytes alone: more bytes never change it, and no bytes panic.
    #[test]
    fn decision_on_any_bytes_is_final(
        (header, _) in select(headers()),
        changes in vec((any::<Index>(), any::<u8>()), 0..4),
        rest in vec(any::<u8>(), 0..64),
        versions in select(vec![ProxyVersions::V1, ProxyVersions::V2, ProxyVersions::Both]),
    ) {
        let mut received = [header, rest].concat();
        for (at, byte) in changes {
            let at = at.index(received.len());
            received[at] = byte;
        }
        let decisions = (0..=received.len()).map(|cut| parse(&received[..cut], versions));
        let decisions: Vec<_> = decisions.skip_while(|decision| *decision == Ok(None)).collect();
        for decision in &decisions {
            prop_assert_eq!(decision, &decisions[0]);
        }
    }
}

#[tokio::test]
async fn header_in_two_packets_is_read_and_what_follows_it_is_left() {
    for (header, named) in headers() {
        for split in 1..header.len() {
            let (stream, mut proxy) = connection();
            proxy.write_all(&header[..split]).unwrap();
            let mut reading = Box::pin(read_proxy_header(&stream, PEER, ProxyVersions::Both));
            for _ in 0..3 {
                assert!(reading.as_mut().now_or_never().is_none(), "{split} bytes of {header:?}");
                yield_now().await;
            }
            proxy.write_all(&[&header[split..], JOIN].concat()).unwrap();
            assert_eq!(reading.await.unwrap(), address_of(named));
            stream.readable().await.unwrap();
            let mut left = [0; 100];
            let count = stream.try_read(&mut left).unwrap();
            assert_eq!(&left[..count], JOIN);
        }
    }
}

#[tokio::test]
async fn header_that_comes_byte_by_byte_is_read_with_one_wait_for_each() {
    for (header, named) in headers() {
        let (stream, mut proxy) = connection();
        let mut reading = pin!(read_proxy_header(&stream, PEER, ProxyVersions::Both));
        for byte in &header {
            assert!(reading.as_mut().now_or_never().is_none(), "{header:?}");
            proxy.write_all(&[*byte]).unwrap();
            yield_now().await;
        }
        proxy.write_all(JOIN).unwrap();
        assert_eq!(reading.await.unwrap(), address_of(named));
    }
}

#[tokio::test]
async fn connection_that_ends_within_or_right_after_its_header_is_closed() {
    for (header, _) in headers() {
        for cut in 0..=header.len() {
            let (stream, mut proxy) = connection();
            proxy.write_all(&header[..cut]).unwrap();
            drop(proxy);
            let read = read_proxy_header(&stream, PEER, ProxyVersions::Both).await;
            assert_eq!(read, Err(ProxyHeaderError::Closed), "{cut} bytes of {header:?}");
        }
    }
}

#[tokio::test]
async fn connection_that_ends_after_lines_is_served() {
    for (header, named) in headers() {
        let (stream, mut proxy) = connection();
        proxy.write_all(&[&header, JOIN].concat()).unwrap();
        proxy.shutdown(std::net::Shutdown::Write).unwrap();
        let peer = read_proxy_header(&stream, PEER, ProxyVersions::Both).await.unwrap();
        assert_eq!(peer, address_of(named));
    }
}

#[tokio::test(start_paused = true)]
async fn header_that_does_not_come_in_time_is_an_error() {
    for (header, _) in headers() {
        for cut in [0, 1, header.len() - 1] {
            let (stream, mut proxy) = connection();
            proxy.write_all(&header[..cut]).unwrap();
            let read = read_proxy_header(&stream, PEER, ProxyVersions::Both).await;
            assert_eq!(read, Err(ProxyHeaderError::Timeout), "{cut} bytes of {header:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn proxy_that_connects_for_itself_and_stays_is_served_at_its_own_address() {
    let own: SocketAddr = "192.0.2.1:40000".parse().unwrap();
    for header in [&v2(0, 0, &[])[..], b"PROXY UNKNOWN\r\n", b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 1234\r\n"] {
        let (stream, mut proxy) = connection();
        proxy.write_all(header).unwrap();
        let peer = read_proxy_header(&stream, PeerAddress::Tcp(own), ProxyVersions::Both).await.unwrap();
        assert_eq!(peer, PeerAddress::Proxy(own.ip(), own.port()));
        proxy.set_nonblocking(true).unwrap();
        assert_eq!(proxy.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock, "the header is answered");
    }
    let peer = PeerAddress::Tcp(own).of_proxy();
    assert!(peer.is_proxy() && peer.ip() == Some(own.ip()) && peer.to_string() == "192.0.2.1:40000");
}
