//! A server on a runtime of this thread, and sockets that do not wait.

use crate::history::Profile;
use crate::reference::Rules;
use crate::wording::WELCOME;
use roomcast::config::ListenAddress;
use roomcast::{BoundAddress, Server, ServerStats, Settings};
use socket2::{Domain, SockAddr, Type};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// The longest line of all profiles but [`Profile::SmallBacklog`]: a short one, so that its bound is cheap to reach.
const MAX_LINE: usize = 100;

/// The number of the next Unix socket of this process.
static NEXT_SOCKET: AtomicU64 = AtomicU64::new(0);

/// A server on the thread that runs it. Dropping it drops its tasks and closes its sockets.
pub struct InProcessServer {
    pub rules: Rules,
    pub stats: ServerStats,
    unix: SockAddr,
    tcp: SockAddr,
    stop: Option<oneshot::Sender<()>>,
    runtime: Option<Runtime>,
    path: PathBuf,
}

/// Returns the settings of a profile.
pub fn settings(profile: Profile) -> Settings {
    let mut settings = Settings::default();
    let live = &mut settings.live;
    (live.rate, live.byte_rate, live.max_line) = (0, 0, MAX_LINE);
    live.drain = Duration::from_secs(60);
    match profile {
        Profile::Plain => {}
        Profile::DuplicateNames => settings.rooms.allow_duplicate_names = true,
        Profile::Replay => settings.rooms.replay_lines = 3,
        Profile::Delayed => {
            (live.rate, live.burst) = (5_000, NonZeroU32::MIN);
            (live.byte_rate, live.byte_burst) = (100_000, NonZeroU32::MIN.saturating_add(200));
        }
        Profile::SmallBacklog => (live.backlog, live.max_line) = (2 << 10, 20_000),
    }
    settings
}

impl InProcessServer {
    /// Starts a server, and asks it for its reply to `/help`, which is the same for all clients.
    pub fn start(profile: Profile) -> Self {
        let number = NEXT_SOCKET.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("roomcast-model-{}-{number}.sock", std::process::id()));
        let mut settings = settings(profile);
        let tcp = ListenAddress::Tcp { ip: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), port: 0 };
        settings.network.listen = vec![ListenAddress::Unix(path.clone()).into(), tcp.into()];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let server = runtime.block_on(async { Server::bind(&settings, 1_000) }).unwrap();
        let Some(BoundAddress::Tcp(tcp)) = server.addresses().pop() else { panic!("the TCP listener is the last one") };
        let stats = server.stats();
        let (stop, stopped) = oneshot::channel::<()>();
        runtime.spawn(server.run(async move {
            let _ = stopped.await;
        }));
        let rules = Rules {
            allow_duplicate_names: settings.rooms.allow_duplicate_names,
            replay: settings.rooms.replay_lines,
            max_line: settings.live.max_line,
            help: Vec::new(),
        };
        let unix = SockAddr::unix(&path).unwrap();
        let (stop, runtime) = (Some(stop), Some(runtime));
        let mut server = Self { rules, stats, unix, tcp: tcp.into(), stop, runtime, path };
        server.rules.help = server.run(async |server| server.ask_for_help().await);
        server
    }

    /// Runs a future on the server's thread, which serves meanwhile.
    pub fn run<T>(&mut self, work: impl AsyncFnOnce(&mut Self) -> T) -> T {
        let runtime = self.runtime.take().expect("the runtime is back after each run");
        let outcome = runtime.block_on(work(self));
        self.runtime = Some(runtime);
        outcome
    }

    pub fn begin_shutdown(&mut self) {
        self.stop.take();
    }

    /// Connects a client.
    ///
    /// # Errors
    /// The system's error.
    pub fn connect(&self, is_tcp: bool) -> io::Result<Socket> {
        let (domain, address) = if is_tcp { (Domain::IPV4, &self.tcp) } else { (Domain::UNIX, &self.unix) };
        let socket = socket2::Socket::new(domain, Type::STREAM, None)?;
        socket.connect(address)?;
        socket.set_nonblocking(true)?;
        if is_tcp {
            socket.set_tcp_nodelay(true)?;
        }
        Ok(Socket(socket))
    }

    /// Returns the reply to `/help`: one line for each command at least, each a line of the server.
    async fn ask_for_help(&self) -> Vec<String> {
        let mut socket = self.connect(false).unwrap();
        socket.write(b"JOIN help help\n/help\n/quit\n").unwrap();
        let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            match socket.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => received.extend_from_slice(&buffer[..count]),
                Err(_) => tokio::task::yield_now().await,
            }
        }
        drop(socket);
        while self.stats.connections() > 0 {
            tokio::task::yield_now().await;
        }
        let text = String::from_utf8(received).unwrap();
        let help: Vec<String> = text.lines().skip(WELCOME.len() + 1).map(str::to_owned).collect();
        assert!(help.len() > 10 && help.iter().all(|line| line.starts_with("*** ")), "no help: {text}");
        help
    }
}

impl Drop for InProcessServer {
    fn drop(&mut self) {
        // The file is gone already after a shutdown.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A client's socket. No call waits.
pub struct Socket(socket2::Socket);

impl Socket {
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    /// Ends the output. Fails when the server has closed, which is no matter here.
    pub fn shut_down_output(&self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }

    /// Closes the socket with a reset.
    pub fn reset(self) {
        self.0.set_linger(Some(Duration::ZERO)).unwrap();
    }
}
