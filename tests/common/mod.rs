//! A server and its clients for tests: port 0, no sleeps, one deadline.

// Each test file uses a part of this.
#![allow(dead_code, unreachable_pub, clippy::expect_used, clippy::unwrap_used)]

pub mod browser;
pub mod ctl;
pub mod folder;
pub mod http;
#[cfg(feature = "cluster")]
pub mod link;
#[cfg(feature = "cluster")]
pub mod nats;
pub mod prometheus;
pub mod proxy;
pub mod pty;
pub mod relay;
pub mod screen;
pub mod systemd;
#[cfg(feature = "cluster")]
pub mod talk;
pub mod telnet;
pub mod tls;
pub mod web;

use roomcast::config::{ListenAddress, ListenUrl, TrustedProxies};
use roomcast::{BoundAddress, Server, ServerStats, Settings, TlsAcceptor};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The longest time that one wait may take before its test fails.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The bytes that each connection begins with.
pub const WELCOME: &str = "Welcome! Use the command:\nJOIN <ROOMNAME> <USERNAME>\n";

/// A listener on a free port of the loopback interface.
pub const LOOPBACK: ListenUrl =
    ListenUrl { address: ListenAddress::Tcp { ip: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), port: 0 }, proxy: None };

/// A server inside this process. Dropping it stops it and waits for its end.
pub struct TestServer {
    /// The address of the `tcp://` listener.
    pub address: SocketAddr,
    /// The address of the `telnet://` listener of [`TestServer::start_telnet`].
    pub telnet_address: Option<SocketAddr>,
    /// The address of metrics and health checks, if the settings ask for them.
    pub metrics_address: Option<SocketAddr>,
    /// The address of the `tls://` listener of [`TestServer::start_tls`], and its certificate.
    pub tls: Option<(SocketAddr, TlsAcceptor)>,
    pub stats: ServerStats,
    pub trusted_proxies: Arc<TrustedProxies>,
    runtime: Runtime,
    stop: Option<oneshot::Sender<()>>,
    done: Option<JoinHandle<()>>,
}

impl TestServer {
    /// Starts a server with [`test_settings`]: a connection that hangs at shutdown fails the test.
    pub fn start() -> Self {
        Self::start_with(test_settings(|_| {}))
    }

    /// Starts a server with these settings on a free port of the loopback interface.
    pub fn start_with(mut settings: Settings) -> Self {
        settings.network.listen = vec![LOOPBACK];
        Self::start_listening(&settings)
    }

    /// Starts a server that also listens on `telnet://`, on another free port.
    pub fn start_telnet() -> Self {
        let telnet = ListenAddress::Telnet { ip: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), port: 0 };
        Self::start_listening(&test_settings(|settings| settings.network.listen = vec![LOOPBACK, telnet.into()]))
    }

    /// Starts a server with these settings and their listeners.
    pub fn start_listening(settings: &Settings) -> Self {
        let connections = settings.network.max_connections.map_or(10_000, usize::from);
        let workers = settings.network.workers.map_or(2, usize::from);
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(workers).enable_all().build().unwrap();
        let server = runtime.block_on(async { Server::bind(settings, connections) }).unwrap();
        let mut addresses = server.addresses().into_iter().map(|address| socket_address(&address));
        let (address, second, stats) = (addresses.next().unwrap(), addresses.next(), server.stats());
        let tls = second.zip(server.tls());
        let telnet_address = if tls.is_some() { None } else { second };
        let metrics_address = server.metrics_address().map(|address| match address {
            BoundAddress::Metrics(address) => *address,
            other => panic!("{other} is no address of metrics"),
        });
        let trusted_proxies = server.trusted_proxies();
        let (stop, stopped) = oneshot::channel();
        let done = runtime.spawn(server.run(async move {
            let _ = stopped.await;
        }));
        Self {
            address,
            telnet_address,
            metrics_address,
            tls,
            stats,
            trusted_proxies,
            runtime,
            stop: Some(stop),
            done: Some(done),
        }
    }

    /// Connects a client and reads the welcome.
    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Connects a client and joins a room.
    pub fn join(&self, room: &str, name: &str) -> Client {
        Client::join(self.address, room, name)
    }

    /// Joins two clients to a room, one after the other, and reads both join notices.
    pub fn join_pair(&self, room: &str, first: &str, second: &str) -> (Client, Client) {
        Client::join_pair(self.address, room, first, second)
    }

    /// Starts the shutdown, as a signal does.
    pub fn begin_shutdown(&mut self) {
        self.stop.take();
    }

    /// Returns how many tasks of the server's runtime have not ended.
    pub fn alive_tasks(&self) -> usize {
        self.runtime.metrics().num_alive_tasks()
    }

    /// Waits until the server has ended.
    pub fn wait_for_exit(&mut self) {
        if let Some(done) = self.done.take() {
            let ended = self.runtime.block_on(async { tokio::time::timeout(DEADLINE, done).await });
            ended.expect("the server did not end").expect("the server panicked");
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.begin_shutdown();
        if !std::thread::panicking() {
            self.wait_for_exit();
        }
    }
}

/// Returns the default settings with a change, and a drain time that is longer than any test.
pub fn test_settings(change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings::default();
    settings.live.drain = 10 * DEADLINE;
    change(&mut settings);
    settings
}

/// Returns the address of a TCP listener.
fn socket_address(address: &BoundAddress) -> SocketAddr {
    match address {
        BoundAddress::Tcp(address)
        | BoundAddress::Telnet(address)
        | BoundAddress::Tls(address)
        | BoundAddress::Web(address)
        | BoundAddress::WebTls(address) => *address,
        other => panic!("{other} is no address of TCP clients"),
    }
}

/// The `roomcast` program as a process. Dropping it kills it.
pub struct ServerProcess {
    pub process: Child,
    pub address: SocketAddr,
    pub stdout: Option<BufReader<ChildStdout>>,
    /// The lines that the program printed at its start.
    pub startup_lines: Vec<String>,
}

impl ServerProcess {
    /// Starts the program on a free port of the loopback interface.
    pub fn start(args: &[&str]) -> Self {
        Self::start_command(&mut Self::command(args))
    }

    /// Runs a command that becomes the program, and reads its startup lines.
    pub fn start_command(command: &mut Command) -> Self {
        Self::start_with_stdin(command.stdin(Stdio::null()))
    }

    /// Runs a command as [`ServerProcess::start_command`] does, with its own standard input.
    pub fn start_with_stdin(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut startup_lines = Vec::new();
        while startup_lines.last().is_none_or(|line: &String| !line.starts_with("Ctrl-C stops it")) {
            let mut line = String::new();
            assert!(stdout.read_line(&mut line).unwrap() > 0, "the program ended at its start: {startup_lines:?}");
            startup_lines.push(line.trim_end().to_owned());
        }
        let address = startup_lines.iter().find_map(|line| {
            let (_, url) = line.split_once(" listening on ")?;
            let url = url.split('?').next()?;
            url.strip_prefix("tcp://").or_else(|| url.strip_prefix("telnet://"))
        });
        let address = address.unwrap().parse().unwrap();
        Self { process, address, stdout: Some(stdout), startup_lines }
    }

    /// Runs a command that becomes the program, and finds the address in the kernel's table of sockets: the command's
    /// standard output may be anything.
    pub fn start_without_reading(command: &mut Command) -> Self {
        let process = command.stdin(Stdio::null()).spawn().unwrap();
        let mut server =
            Self { process, address: (Ipv4Addr::LOCALHOST, 0).into(), stdout: None, startup_lines: Vec::new() };
        wait_until("the program listens", || {
            let port = listening_port(server.process.id());
            server.address.set_port(port.unwrap_or_default());
            port.is_some()
        });
        server
    }

    /// Returns a command that starts the program on a free port of the loopback interface.
    pub fn command(args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
        command.args(["0", "--bind", "127.0.0.1"]).args(args);
        command
    }

    pub fn join(&self, room: &str, name: &str) -> Client {
        Client::join(self.address, room, name)
    }

    pub fn join_pair(&self, room: &str, first: &str, second: &str) -> (Client, Client) {
        Client::join_pair(self.address, room, first, second)
    }

    /// Returns the number of files that the process has open.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).map_or(0, Iterator::count)
    }

    pub fn send_signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.process.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Returns a field of the process's status in the kernel, in KiB.
    pub fn status_kib(&self, field: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Waits for the end of the process. Returns its exit code and its output after the startup lines.
    pub fn wait_for_exit(&mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        if let Some(stdout) = &mut self.stdout {
            stdout.read_to_string(&mut rest).unwrap();
        }
        (self.process.wait().unwrap().code(), rest)
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Killing fails when the process has already ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns the port of a process's listening IPv4 socket, if it has one.
pub fn listening_port(pid: u32) -> Option<u16> {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    let links: Vec<_> = files.filter_map(|file| std::fs::read_link(file.path()).ok()).collect();
    std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).ok()?.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // The local address and the port, the state (0A is a listener's) and the inode.
        let (address, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let is_listener = *state == "0A" && links.iter().any(|link| link.as_os_str() == &*format!("socket:[{inode}]"));
        u16::from_str_radix(address.split_once(':')?.1, 16).ok().filter(|_| is_listener)
    })
}

/// One client on a real socket.
pub struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    /// Connects without reading.
    pub fn connect_raw(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { reader: BufReader::new(stream) }
    }

    /// Connects from an address of the loopback interface, without reading.
    pub fn connect_from(ip: [u8; 4], address: SocketAddr) -> Self {
        Self::try_connect_from(ip, address).unwrap()
    }

    /// Connects as [`Client::connect_from`] does, or returns the error of a server that has ended.
    pub fn try_connect_from(ip: [u8; 4], address: SocketAddr) -> std::io::Result<Self> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((ip, 0)).into())?;
        socket.connect(&address.into())?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    /// Connects and reads the welcome.
    pub fn connect(address: SocketAddr) -> Self {
        let mut client = Self::connect_raw(address);
        client.expect_text(WELCOME);
        client
    }

    /// Connects, joins, and reads its own `has joined`.
    pub fn join(address: SocketAddr, room: &str, name: &str) -> Self {
        let mut client = Self::connect(address);
        client.send(format!("JOIN {room} {name}\n"));
        client.expect_line(&format!("{name} has joined"));
        client
    }

    /// Joins two clients to a room, one after the other, and reads both join notices.
    pub fn join_pair(address: SocketAddr, room: &str, first: &str, second: &str) -> (Self, Self) {
        let mut one = Self::join(address, room, first);
        let other = Self::join(address, room, second);
        one.expect_line(&format!("{second} has joined"));
        (one, other)
    }

    /// Returns the same socket for a thread that only sends while another one reads.
    pub fn sender(&self) -> ClientSender {
        ClientSender(self.stream().try_clone().unwrap())
    }

    pub fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.reader.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// Sends bytes, or returns the error of a socket that the server has closed.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.reader.get_mut().write_all(bytes.as_ref())
    }

    /// Reads one line, without its LF or CR LF. Returns `None` at the end of the stream.
    pub fn try_read_line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line).expect("no line within the deadline");
        let line = String::from_utf8(line).unwrap();
        line.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line).to_owned())
    }

    /// Reads one line, without its LF. Returns `None` after the end of the server's process, too.
    pub fn read_line_or_end(&mut self) -> Option<String> {
        let mut line = Vec::new();
        match self.reader.read_until(b'\n', &mut line) {
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
            result => result.expect("no line within the deadline"),
        };
        String::from_utf8(line).unwrap().strip_suffix('\n').map(str::to_owned)
    }

    pub fn read_line(&mut self) -> String {
        self.try_read_line().expect("the server closed the connection")
    }

    /// Reads one line, which must equal `line`.
    #[track_caller]
    pub fn expect_line(&mut self, line: &str) {
        assert_eq!(self.read_line(), line);
    }

    #[track_caller]
    pub fn expect_text(&mut self, text: &str) {
        assert_eq!(String::from_utf8_lossy(&self.read_bytes(text.len())), text);
    }

    /// Reads `ERROR`, the reason and the end of the stream. Returns the reason.
    #[track_caller]
    pub fn expect_error(&mut self) -> String {
        self.expect_line("ERROR");
        let reason = self.read_line();
        assert_eq!(self.try_read_line(), None, "a line after the reason");
        reason
    }

    /// Reads lines until one equals `line`.
    pub fn skip_to_line(&mut self, line: &str) {
        while self.read_line() != line {}
    }

    /// Reads lines up to and including one that equals `line`, and returns them.
    pub fn lines_up_to(&mut self, line: &str) -> Vec<String> {
        let mut lines = Vec::new();
        while lines.last().is_none_or(|last| last != line) {
            lines.push(self.read_line());
        }
        lines
    }

    /// Closes the sending side, so that the server reads the end of input.
    pub fn half_close(&mut self) {
        // Closing fails when the server has already closed.
        let _ = self.stream().shutdown(Shutdown::Write);
    }

    /// Reads all lines until the server closes.
    pub fn read_to_end(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.try_read_line()).collect()
    }

    /// Reads all bytes until the server closes, telnet commands included.
    pub fn read_to_end_lossy(&mut self) -> String {
        let mut bytes = Vec::new();
        self.reader.read_to_end(&mut bytes).expect("no end of the stream within the deadline");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Closes the sending side and reads all lines until the server closes.
    pub fn leave(mut self) -> Vec<String> {
        self.half_close();
        self.read_to_end()
    }

    /// Closes the socket with a reset.
    pub fn reset(self) {
        socket2::SockRef::from(self.stream()).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// The sending half of a client.
pub struct ClientSender(TcpStream);

impl ClientSender {
    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends bytes, or returns the error of a socket that the server has closed.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.0.write_all(bytes.as_ref())
    }

    /// Closes the sending side, so that the server reads the end of input.
    pub fn half_close(&mut self) {
        // Closing fails when the server has already closed.
        let _ = self.0.shutdown(Shutdown::Write);
    }
}

/// Returns `lines` lines, each with its number as text.
pub fn numbered_lines(lines: usize) -> String {
    (0..lines).fold(String::new(), |text, number| text + &number.to_string() + "\n")
}

/// Reads lines up to number `total`. Each equals `expected` of its number, or a skip notice in its place
/// counts it. Returns the number of skipped lines.
#[track_caller]
pub fn read_lines_and_skip_notices(client: &mut Client, total: usize, expected: impl Fn(usize) -> String) -> usize {
    check_lines_and_skip_notices(|| client.read_line(), total, expected)
}

/// Checks lines as [`read_lines_and_skip_notices`] does, which `read_line` returns one by one.
#[track_caller]
pub fn check_lines_and_skip_notices(
    mut read_line: impl FnMut() -> String,
    total: usize,
    expected: impl Fn(usize) -> String,
) -> usize {
    let (mut next, mut lost) = (0, 0);
    while next < total {
        let line = read_line();
        let Some(notice) = line.strip_prefix("*** ") else {
            assert_eq!(line, expected(next), "lines are missing without a skip notice");
            next += 1;
            continue;
        };
        let count: usize = notice.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(notice, format!("{count} {} skipped", if count == 1 { "line" } else { "lines" }));
        (next, lost) = (next + count, lost + count);
    }
    lost
}

/// Waits until `condition` holds, and fails after the deadline.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "not within the deadline: {what}");
        std::thread::yield_now();
    }
}

/// Returns the path of a program; `None` after a message if it is missing, which is a failure where all programs are
/// required.
///
/// The program is looked for and not run, since some of them wait for input whatever their arguments are. Debian keeps
/// tintin++ in `/usr/games` and servers in `/usr/sbin`, which a search path need not have.
pub fn find_or_skip(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/games", "/usr/sbin"].map(PathBuf::from));
    let found = folders.map(|folder| folder.join(program)).find(|path| path.is_file());
    if found.is_none() {
        skip(&format!("`{program}` is missing (.ci/setup installs it)"));
    }
    found
}

/// Says what a test passes over; fails where all programs are required.
pub fn skip(what: &str) {
    assert_ne!(std::env::var("ROOMCAST_REQUIRE_ALL").as_deref(), Ok("1"), "{what}");
    eprintln!("SKIPPED: {what}");
}
