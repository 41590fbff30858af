//! Service manager: tells systemd that the server is ready, that it works, and that it ends (`sd_notify(3)`).
//!
//! Each message is one datagram that is sent or dropped at once: a service manager that hangs must not stop the server.

use super::report::format_count;
use roomcast::{ServerProbe, ServerStats};
use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{debug, warn};

/// How often the service manager gets the counts where it has no watchdog.
const STATUS_INTERVAL: Duration = Duration::from_secs(30);

/// The service manager that has started the process, and wants to be told how it is.
#[derive(Debug)]
pub(super) struct ServiceManager {
    socket: UnixDatagram,
    /// Half the time after which the watchdog takes the server for dead; `None` without a watchdog.
    watchdog_interval: Option<Duration>,
}

impl ServiceManager {
    /// Returns the service manager that the process's variables name, if they name one.
    ///
    /// # Errors
    /// The system's error when its socket can't be reached.
    pub(super) fn from_env() -> io::Result<Option<Self>> {
        let Some(address) = env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty()) else {
            return Ok(None);
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&socket_address(&address)?)?;
        socket.set_nonblocking(true)?;
        let (time, pid) = (env::var("WATCHDOG_USEC").ok(), env::var("WATCHDOG_PID").ok());
        let watchdog_interval = watchdog_interval(time.as_deref(), pid.as_deref(), std::process::id());
        Ok(Some(Self { socket, watchdog_interval }))
    }

    /// Tells that the server listens.
    pub(super) fn notify_ready(&self, stats: &ServerStats) {
        self.notify(&format!("READY=1\nSTATUS={}", status(stats.connections(), stats.rooms())));
    }

    /// Tells that another process is the server from now on.
    pub(super) fn notify_main_process(&self, process: u32) {
        self.notify(&format!("MAINPID={process}\nSTATUS=upgraded"));
    }

    /// Tells that the server begins to end.
    pub(super) fn notify_stopping(&self) {
        self.notify("STOPPING=1\nSTATUS=shutting down");
    }

    /// Tells the counts when they have changed and, where there is a watchdog, that the server works, as long as the probe finds
    /// that it does. Never ends.
    pub(super) async fn report(&self, stats: ServerStats, mut probe: Option<ServerProbe>) {
        let mut ticks = interval(self.watchdog_interval.unwrap_or(STATUS_INTERVAL));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut counts = (0, 0);
        loop {
            ticks.tick().await;
            if let Some((within, probe)) = self.watchdog_interval.zip(probe.as_mut()) {
                self.report_work(within, probe).await;
            }
            let now = (stats.connections(), stats.rooms());
            if now != counts {
                counts = now;
                self.notify(&format!("STATUS={}", status(now.0, now.1)));
            }
        }
    }

    /// Tells the watchdog that the server works, if the probe finds so within this time.
    async fn report_work(&self, within: Duration, probe: &mut ServerProbe) {
        match timeout(within, probe.check()).await {
            Ok(Ok(())) => self.notify("WATCHDOG=1"),
            Ok(Err(stall)) => warn!(%stall, "the watchdog is not told that the server works"),
            Err(_) => {
                warn!(?within, stall = "no delivery pass answers", "the watchdog is not told that the server works");
            }
        }
    }

    /// Sends lines of `NAME=value`.
    fn notify(&self, state: &str) {
        if let Err(error) = self.socket.send(state.as_bytes()) {
            debug!(%error, state, "can't tell the service manager");
        }
    }
}

/// Returns the address of a socket that `NOTIFY_SOCKET` names: a path, or `@` and an abstract name.
fn socket_address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    }
}

/// Returns half of the watchdog's time in microseconds, if the watchdog is for the process of this number
/// (`sd_watchdog_enabled(3)`).
fn watchdog_interval(time: Option<&str>, pid: Option<&str>, own_pid: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| pid != own_pid.to_string()) {
        return None;
    }
    let half = Duration::from_micros(time?.parse().ok()?) / 2;
    (!half.is_zero()).then_some(half)
}

/// Returns the counts as `systemctl status` shows them.
fn status(connections: usize, rooms: usize) -> String {
    format!("{}, {}", format_count(connections, "connection"), format_count(rooms, "room"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use roomcast::{Server, Settings};
    use std::sync::mpsc::channel;
    use tokio::runtime;

    /// One of two workers stays in a task, and the other one runs all passes.
    #[test]
    fn watchdog_is_told_nothing_while_a_worker_is_blocked() {
        const WITHIN: Duration = Duration::from_secs(60);
        let (socket, manager) = UnixDatagram::pair().unwrap();
        manager.set_nonblocking(true).unwrap();
        let told = || {
            let mut buffer = [0; 100];
            manager.recv(&mut buffer).ok().map(|count| String::from_utf8_lossy(&buffer[..count]).into_owned())
        };
        let service = ServiceManager { socket, watchdog_interval: Some(WITHIN) };
        let mut settings = Settings::default();
        settings.network.listen = vec!["tcp://127.0.0.1:0".parse().unwrap()];
        let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let server = runtime.block_on(async { Server::bind(&settings, 10) }).unwrap();
        let mut probe = runtime.block_on(async { server.probe() }).unwrap();
        // Before a worker is blocked, so that no pass waits for that worker.
        runtime.block_on(service.report_work(WITHIN, &mut probe));
        assert_eq!(told().as_deref(), Some("WATCHDOG=1"));
        let (release, released) = channel::<()>();
        let (begin, beginning) = channel();
        runtime.spawn(async move {
            begin.send(()).unwrap();
            released.recv()
        });
        beginning.recv().unwrap();
        // The first report sees the worker in the task for the first time.
        runtime.block_on(service.report_work(WITHIN, &mut probe));
        let _ = told();
        for _ in 0..3 {
            runtime.block_on(service.report_work(WITHIN, &mut probe));
            assert_eq!(told(), None, "the worker has not come back");
        }
        release.send(()).unwrap();
        while told().is_none() {
            runtime.block_on(service.report_work(WITHIN, &mut probe));
        }
    }

    #[test]
    fn watchdog_has_half_of_its_time_and_is_for_one_process() {
        let fifteen = Some(Duration::from_secs(15));
        assert_eq!(watchdog_interval(Some("30000000"), Some("7"), 7), fifteen);
        assert_eq!(watchdog_interval(Some("30000000"), None, 7), fifteen);
        for (time, pid) in [(Some("30000000"), Some("8")), (None, Some("7")), (Some("0"), None), (Some("soon"), None)] {
            assert_eq!(watchdog_interval(time, pid, 7), None, "{time:?}, {pid:?}");
        }
    }

    #[test]
    fn status_counts_connections_and_rooms() {
        assert_eq!(status(1, 2), "1 connection, 2 rooms");
        assert_eq!(status(0, 1), "0 connections, 1 room");
    }

    #[test]
    fn notify_socket_is_a_path_or_an_abstract_name() {
        let path = socket_address(OsStr::new("/run/notify")).unwrap();
        assert_eq!(path.as_pathname().unwrap().to_str(), Some("/run/notify"));
        let name = socket_address(OsStr::new("@notify")).unwrap();
        assert_eq!(name.as_abstract_name(), Some(&b"notify"[..]));
    }
}
