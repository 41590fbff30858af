//! A browser's connection: WebSocket through tungstenite, plain or inside TLS.

use super::tls::{TestCertificate, TlsClient, client_config};
use super::{DEADLINE, LOOPBACK, TestServer, test_settings};
use roomcast::Settings;
use roomcast::config::ListenAddress;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::protocol::frame::Frame;
use tungstenite::{Message, WebSocket};

/// The listener that [`start_web`] adds.
pub const WEB_LOOPBACK: ListenAddress = ListenAddress::Web { ip: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), port: 0 };

/// The listener of a page inside TLS.
pub const WEB_TLS_LOOPBACK: ListenAddress =
    ListenAddress::WebTls { ip: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), port: 0 };

/// A stream of bytes.
pub trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

/// Starts a server with a `tcp://` and a `ws://` listener; returns it with the address of the second one.
pub fn start_web(change: impl FnOnce(&mut Settings)) -> (TestServer, SocketAddr) {
    let settings = test_settings(|settings| {
        settings.network.listen = vec![LOOPBACK, WEB_LOOPBACK.into()];
        change(settings);
    });
    let server = TestServer::start_listening(&settings);
    let address = server.telnet_address.unwrap();
    (server, address)
}

/// Starts a server with a `tcp://` and a `wss://` listener, for `certificate`.
pub fn start_web_tls(certificate: &TestCertificate) -> (TestServer, SocketAddr) {
    let settings = test_settings(|settings| {
        settings.network.listen = vec![LOOPBACK, WEB_TLS_LOOPBACK.into()];
        settings.network.tls = Some(certificate.files.clone());
    });
    let server = TestServer::start_listening(&settings);
    let address = server.tls.as_ref().unwrap().0;
    (server, address)
}

/// One browser's connection.
pub struct WebClient {
    pub socket: WebSocket<Box<dyn Stream>>,
    /// The lines that were received and not expected yet.
    lines: VecDeque<String>,
    /// The text frames that were received.
    pub frames: usize,
    /// The code of the close frame that was received.
    pub close_code: Option<u16>,
}

impl WebClient {
    /// Connects, and reads the welcome.
    pub fn connect(address: SocketAddr) -> Self {
        Self::connect_over(Box::new(connect(address)), address, &[])
    }

    /// Connects inside TLS, and reads the welcome.
    pub fn connect_tls(address: SocketAddr, certificate: &TestCertificate) -> Self {
        let stream = TlsClient::connect_raw(address, &client_config(&[certificate])).into_stream();
        Self::connect_over(Box::new(stream), address, &[])
    }

    /// Connects over a stream with header fields of its own, and reads the welcome.
    pub fn connect_over(stream: Box<dyn Stream>, address: SocketAddr, fields: &[(&'static str, &str)]) -> Self {
        let mut client = Self::shake_hands(stream, address, fields);
        client.expect_line("Welcome! Use the command:");
        client.expect_line("JOIN <ROOMNAME> <USERNAME>");
        client
    }

    /// Connects without reading.
    pub fn shake_hands(stream: Box<dyn Stream>, address: SocketAddr, fields: &[(&'static str, &str)]) -> Self {
        let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
        for (name, value) in fields {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
        }
        let (socket, _) = tungstenite::client(request, stream).unwrap();
        Self { socket, lines: VecDeque::new(), frames: 0, close_code: None }
    }

    /// Connects, joins, and reads its own `has joined`.
    pub fn join(address: SocketAddr, room: &str, name: &str) -> Self {
        Self::connect(address).joined(room, name)
    }

    /// Joins, and reads its own `has joined`.
    pub fn joined(mut self, room: &str, name: &str) -> Self {
        self.send(&format!("JOIN {room} {name}"));
        self.expect_line(&format!("{name} has joined"));
        self
    }

    /// Sends one message.
    pub fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap();
    }

    /// Sends a frame as it is.
    pub fn send_frame(&mut self, frame: Frame) {
        self.socket.send(Message::Frame(frame)).unwrap();
    }

    /// Returns the next line; `None` after the server's close.
    pub fn next_line(&mut self) -> Option<String> {
        while self.lines.is_empty() {
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    assert!(text.ends_with('\n'), "{text:?}");
                    self.frames += 1;
                    self.lines.extend(text.lines().map(str::to_owned));
                }
                Ok(Message::Close(close)) => self.close_code = close.map(|close| close.code.into()),
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(other) => panic!("{other:?}"),
                Err(tungstenite::Error::ConnectionClosed) => return None,
                Err(error) => panic!("{error}"),
            }
        }
        self.lines.pop_front()
    }

    #[track_caller]
    pub fn expect_line(&mut self, expected: &str) {
        assert_eq!(self.next_line().as_deref(), Some(expected));
    }

    /// Returns all lines until the server's close.
    pub fn read_to_end(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.next_line()).collect()
    }

    /// Expects that the server closes with these lines and this code.
    #[track_caller]
    pub fn expect_close(&mut self, lines: &[&str], code: u16) {
        assert_eq!(self.read_to_end(), lines);
        assert_eq!(self.close_code, Some(code));
    }
}

/// Connects a stream with the tests' deadline.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}
