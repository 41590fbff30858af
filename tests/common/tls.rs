//! A TLS listener, its certificates, and a client that trusts them.

use super::{DEADLINE, LOOPBACK, TestServer, WELCOME, test_settings};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use roomcast::Settings;
use roomcast::config::{ListenAddress, TlsFiles};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The listener that [`TestServer::start_tls`] adds.
pub const TLS_LOOPBACK: ListenAddress = ListenAddress::Tls { ip: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), port: 0 };

/// A certificate for `localhost` and its key, in files of a folder that is removed at the end.
pub struct TestCertificate {
    pub files: TlsFiles,
    pub der: CertificateDer<'static>,
    folder: PathBuf,
}

impl TestCertificate {
    /// Returns a certificate that is valid now.
    pub fn new() -> Self {
        Self::valid_between(2000, 4000)
    }

    /// Returns a certificate that is valid between the first days of two years.
    pub fn valid_between(from: i32, until: i32) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("roomcast-tls-{}-{number}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let files = TlsFiles { certificate: folder.join("cert.pem"), key: folder.join("key.pem") };
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
        let certificate = params.self_signed(&key).unwrap();
        fs::write(&files.certificate, certificate.pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        Self { files, der: certificate.der().clone(), folder }
    }

    /// Returns the path of the certificate as an argument.
    pub fn certificate(&self) -> &str {
        self.files.certificate.to_str().unwrap()
    }

    /// Returns the path of the key as an argument.
    pub fn key(&self) -> &str {
        self.files.key.to_str().unwrap()
    }
}

impl Drop for TestCertificate {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Returns the configuration of a client that trusts these certificates.
pub fn client_config(trusted: &[&TestCertificate]) -> Arc<ClientConfig> {
    client_config_with(ring::default_provider(), trusted)
}

/// Returns the configuration of a client with this cryptography that trusts these certificates.
pub fn client_config_with(provider: CryptoProvider, trusted: &[&TestCertificate]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add(certificate.der.clone()).unwrap();
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// Returns a socket of a client with the deadline of all tests.
pub fn connect_socket(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.set_write_timeout(Some(DEADLINE)).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

impl TestServer {
    /// Starts a server with a plain listener and a TLS listener, and a change of the test settings.
    pub fn start_tls(certificate: &TestCertificate, change: impl FnOnce(&mut Settings)) -> Self {
        Self::start_listening(&test_settings(|settings| {
            settings.network.listen = vec![LOOPBACK, TLS_LOOPBACK.into()];
            settings.network.tls = Some(certificate.files.clone());
            change(settings);
        }))
    }

    /// Returns the address of the TLS listener.
    pub fn tls_address(&self) -> SocketAddr {
        self.tls.as_ref().unwrap().0
    }
}

/// One client inside TLS.
pub struct TlsClient {
    reader: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

impl TlsClient {
    /// Connects without reading.
    pub fn connect_raw(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        Self::over(connect_socket(address), config)
    }

    /// Returns a client over a connected socket, without reading.
    pub fn over(socket: TcpStream, config: &Arc<ClientConfig>) -> Self {
        let connection = ClientConnection::new(Arc::clone(config), "localhost".try_into().unwrap()).unwrap();
        Self { reader: BufReader::new(StreamOwned::new(connection, socket)) }
    }

    /// Returns a client over a connected socket on which the first bytes of this TLS were sent.
    pub fn resume(socket: TcpStream, tls: ClientConnection) -> Self {
        Self { reader: BufReader::new(StreamOwned::new(tls, socket)) }
    }

    /// Returns the stream of a client that has read nothing.
    pub fn into_stream(self) -> StreamOwned<ClientConnection, TcpStream> {
        self.reader.into_inner()
    }

    /// Returns the error with which the handshake fails.
    pub fn handshake_error(&mut self) -> String {
        let stream = self.reader.get_mut();
        stream.conn.complete_io(&mut stream.sock).unwrap_err().to_string()
    }

    /// Connects and reads the welcome.
    pub fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        let mut client = Self::connect_raw(address, config);
        client.expect_text(WELCOME);
        client
    }

    /// Connects, joins, and reads its own `has joined`.
    pub fn join(address: SocketAddr, config: &Arc<ClientConfig>, room: &str, name: &str) -> Self {
        let mut client = Self::connect(address, config);
        client.send(format!("JOIN {room} {name}\n"));
        client.expect_line(&format!("{name} has joined"));
        client
    }

    /// Returns the TLS of the client.
    pub fn tls(&mut self) -> &mut ClientConnection {
        &mut self.reader.get_mut().conn
    }

    /// Returns the socket of the client.
    pub fn socket(&self) -> &TcpStream {
        &self.reader.get_ref().sock
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let stream = self.reader.get_mut();
        stream.write_all(bytes.as_ref()).unwrap();
        stream.flush().unwrap();
    }

    /// Ends the client's output as TLS does, and leaves its input open.
    pub fn send_close_notify(&mut self) {
        let stream = self.reader.get_mut();
        stream.conn.send_close_notify();
        stream.conn.complete_io(&mut stream.sock).unwrap();
    }

    /// Reads one line, without its LF or CR LF. Returns `None` at the end that TLS tells; an end without `close_notify` fails.
    pub fn try_read_line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line).expect("no line within the deadline, or no close_notify");
        let line = String::from_utf8(line).unwrap();
        line.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line).to_owned())
    }

    #[track_caller]
    pub fn read_line(&mut self) -> String {
        self.try_read_line().expect("the server closed the connection")
    }

    #[track_caller]
    pub fn expect_line(&mut self, line: &str) {
        assert_eq!(self.read_line(), line);
    }

    #[track_caller]
    pub fn expect_bytes(&mut self, bytes: &[u8]) {
        let mut read = vec![0; bytes.len()];
        self.reader.read_exact(&mut read).expect("too few bytes within the deadline");
        assert_eq!(read.escape_ascii().to_string(), bytes.escape_ascii().to_string());
    }

    #[track_caller]
    pub fn expect_text(&mut self, text: &str) {
        self.expect_bytes(text.as_bytes());
    }

    /// Reads up to and including `end`.
    pub fn read_until(&mut self, end: impl AsRef<[u8]>) {
        let (mut bytes, end) = (Vec::new(), end.as_ref());
        let last = *end.last().unwrap();
        while !bytes.ends_with(end) {
            let read = self.reader.read_until(last, &mut bytes).expect("no bytes within the deadline");
            assert!(read > 0, "the server closed the connection after {}", bytes.escape_ascii());
        }
    }

    /// Reads `ERROR`, the reason and the end of the stream. Returns the reason.
    #[track_caller]
    pub fn expect_error(&mut self) -> String {
        self.expect_line("ERROR");
        let reason = self.read_line();
        assert_eq!(self.try_read_line(), None, "a line after the reason");
        reason
    }

    /// Reads all lines until the server closes, with `close_notify`.
    pub fn read_to_end(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.try_read_line()).collect()
    }
}
