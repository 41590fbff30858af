//! A server for the run: found or built, started on a free port, and stopped at the end.

use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::clock::{SECOND, now};
use crate::format::escape_controls;
use crate::interrupt;
use crate::plan::UsageError;

/// Arguments that turn the bounds on a sender's rate off. The bounds would hide what a scenario measures; only `zoo`
/// starts servers without these arguments.
pub const NO_RATE_BOUNDS: [&str; 4] = ["--rate", "0", "--byte-rate", "0"];
/// Time after which a server that does not stop is killed.
const STOP_TIMEOUT: u64 = 10 * SECOND;
/// The same time after a signal, which the user expects to end the program at once.
const STOP_TIMEOUT_AFTER_SIGNAL: u64 = SECOND / 5;
/// Time within which a server must print its address.
const START_TIMEOUT: u64 = 10 * SECOND;
/// Lines of a server's output that are kept.
pub const KEPT_LINES: usize = 32;
/// Interval at which signals are checked during that time.
const SIGNAL_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// A running server. Dropping it stops the server.
#[derive(Debug)]
pub struct Server {
    /// The server's process.
    child: Child,
    /// The address that the server listens on.
    address: SocketAddr,
    /// The name and version that the server prints before its address.
    version: Option<String>,
    /// The first lines that the server prints, the one with the address excluded.
    later_lines: Receiver<String>,
}

impl Server {
    /// Starts a server on a free port of this machine with additional arguments.
    ///
    /// # Errors
    /// Fails when the server does not start or does not print its address.
    pub fn spawn(program: &Path, arguments: &[String]) -> Result<Self> {
        let mut child = Command::new(program)
            .arg("0")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // A process group of its own keeps the terminal's Ctrl-C from the server: the run must end before the
            // server does.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start the server {}", program.display()))?;
        let out = child.stdout.take().context("a server without standard output")?;
        let (first, later_lines) = read_first_line(out);
        let version = printed_version(&first).map(ToOwned::to_owned);
        let mut server = Self { child, address: (Ipv4Addr::LOCALHOST, 0).into(), version, later_lines };
        if let Some(port) = first.rsplit(':').next().and_then(|port| port.trim().parse().ok()) {
            server.address.set_port(port);
            return Ok(server);
        }
        match (server.wait_exit_status(), first.as_str()) {
            (Some(how), _) => bail!("{} {how} instead of listening; it printed `{first}`", program.display()),
            (None, "") => bail!("{} printed no address to connect to", program.display()),
            (None, _) => bail!("{} printed no address but `{first}`", program.display()),
        }
    }

    /// Returns how the server ended, if it has ended: `ended with exit status: 1`.
    pub fn exit_status(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok()??;
        Some(format!("ended with {status}"))
    }

    /// Returns how the server ended, if it ends within a second. Its output and connections close a moment earlier.
    pub fn wait_exit_status(&mut self) -> Option<String> {
        let deadline = now() + SECOND;
        while self.exit_status().is_none() && now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        self.exit_status()
    }

    /// Returns the address that the server listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the name and version that the server printed before its address, if it printed any: `roomcast 0.1.0`.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Returns the lines that the server has printed since the last call, up to [`KEPT_LINES`] in all. The line with the
    /// address is not among them.
    pub fn printed_lines(&mut self) -> Vec<String> {
        self.later_lines.try_iter().collect()
    }

    /// Returns the server's process ID.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let asked = pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
        let timeout = if interrupt::caught_signal().is_some() { STOP_TIMEOUT_AFTER_SIGNAL } else { STOP_TIMEOUT };
        let deadline = now() + timeout;
        while asked && now() < deadline {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the words before the address in a server's first line, where one of them starts with a digit.
fn printed_version(first: &str) -> Option<&str> {
    let (words, _) = first.split_once(" listening on ")?;
    words.split(' ').any(|word| word.starts_with(|letter: char| letter.is_ascii_digit())).then_some(words)
}

/// Returns the first line that a server prints, or an empty string when none arrives in time, and the lines after it. The
/// control characters of all lines are escaped. A thread reads all output, so that the server never blocks on a full
/// pipe.
fn read_first_line(out: ChildStdout) -> (String, Receiver<String>) {
    let (line_sender, first_line) = channel();
    let (later_sender, later_lines) = channel();
    thread::spawn(move || {
        let mut lines = BufReader::new(out).lines().map(|line| line.map(|line| escape_controls(&line)));
        let _ = line_sender.send(lines.next().and_then(io::Result::ok).unwrap_or_default());
        for line in lines.by_ref().take(KEPT_LINES).map_while(io::Result::ok) {
            let _ = later_sender.send(line);
        }
        lines.for_each(drop);
    });
    let deadline = now() + START_TIMEOUT;
    while now() < deadline && interrupt::caught_signal().is_none() {
        match first_line.recv_timeout(SIGNAL_CHECK_INTERVAL) {
            Ok(line) => return (line, later_lines),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
    (String::new(), later_lines)
}

/// Returns the path of the server's program: the given one, the one beside this program, or a new release build.
///
/// # Errors
/// Fails when the given path is no file, or the build fails.
pub fn find_program(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        if !path.is_file() {
            return Err(UsageError::new(format!("--server {} is not a file", path.display())).into());
        }
        return Ok(path.to_owned());
    }
    let beside = std::env::current_exe()?.with_file_name("roomcast");
    if beside.is_file() {
        return Ok(beside);
    }
    eprintln!("no `roomcast` beside this program: building it with `cargo build --release -p roomcast`");
    let status = Command::new("cargo").args(["build", "--release", "-p", "roomcast"]).status();
    if !status.context("cannot run cargo: give --server PATH")?.success() {
        bail!("the server does not build: give --server PATH");
    }
    let target =
        beside.parent().and_then(Path::parent).context("the program is in no target directory: give --server PATH")?;
    let built = target.join("release").join("roomcast");
    if !built.is_file() {
        bail!("the build left no {}: give --server PATH", built.display());
    }
    Ok(built)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_that_ends_at_once_is_reported_with_its_status() {
        let error = Server::spawn(Path::new("/bin/false"), &[]).unwrap_err().to_string();
        assert_eq!(error, "/bin/false ended with exit status: 1 instead of listening; it printed ``");
    }

    #[test]
    fn version_is_read_from_the_line_with_the_address() {
        assert_eq!(printed_version("roomcast 0.1.0 listening on 127.0.0.1:4000"), Some("roomcast 0.1.0"));
        assert_eq!(printed_version("toy listening on tcp://127.0.0.1:4000"), None);
        assert_eq!(printed_version("127.0.0.1:4000"), None);
    }

    #[test]
    fn lines_of_a_server_are_escaped() {
        let error = Server::spawn(Path::new("/bin/echo"), &["-e".into(), "\x1b[31mred".into()]).unwrap_err();
        assert!(error.to_string().contains("it printed `0 -e \\x1b[31mred`"), "{error}");
    }
}
