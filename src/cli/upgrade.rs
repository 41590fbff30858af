//! Upgrade: starts the program anew and hands the server over to it, or takes the server over from the program that started
//! this one.

use super::os_signals::UpgradeSignal;
use super::report::{self, format_count};
use super::service_manager::ServiceManager;
use roomcast::handover::{HandoverError, NewProcess, OldProcess, Taken};
use roomcast::{Freeze, Server, ServerHandle};
use rustix::stdio::dup2_stdin;
use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{self, Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::{error, info};

/// The variable that tells the program that its standard input is the channel of a handover. Its value is [`ON_STDIN`], and
/// after it, each with a blank before it, the names of the sockets that the service manager has passed to the first process.
const CHANNEL: &str = "ROOMCAST_HANDOVER";

/// The first word of the variable.
const ON_STDIN: &str = "stdin";

/// How long an operator's client may take to read its answer, before this process ends.
const ANSWER_TIME: Duration = Duration::from_millis(200);

/// How long the new process may take for its configuration, for the state and for its answers, and how long the server may take
/// to stop: each less than a service manager waits for the end of the server, which waits for an upgrade.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the new process waits for the state: the old one stops the server meanwhile.
const STATE_PATIENCE: Duration = Duration::from_secs(30);

/// The number of the process whose end is the end of a container or of the system.
const FIRST_PROCESS: u32 = 1;

/// Hands the server over to a new process of the program.
pub(super) struct Upgrader {
    server: ServerHandle,
    /// The path of the program's file, as this process was started with it. Not the file that runs: a new version has replaced
    /// it, or a link to it.
    program: io::Result<PathBuf>,
    arguments: Vec<OsString>,
    /// The names of the sockets that the service manager has passed.
    socket_names: Vec<String>,
    manager: Option<Arc<ServiceManager>>,
    /// Notified when a new process serves, and this one has to end without a word to any peer.
    handed_over: Arc<Notify>,
    runtime: Handle,
}

/// A new process of the program, until it serves.
struct NewProgram {
    child: Child,
    channel: OldProcess,
}

impl Upgrader {
    /// Returns an upgrader of a server whose process was started with `arguments`. Needs a runtime.
    pub(super) fn new(
        server: ServerHandle,
        (arguments, socket_names): (Vec<OsString>, Vec<String>),
        manager: Option<Arc<ServiceManager>>,
        handed_over: Arc<Notify>,
    ) -> Self {
        let (program, runtime) = (program_path(arguments.first()), Handle::current());
        Self { server, program, arguments, socket_names, manager, handed_over, runtime }
    }

    /// Hands the server over at each signal, until a new process serves.
    pub(super) async fn upgrade_at_each(self: Arc<Self>, mut signal: UpgradeSignal) {
        while signal.next().await {
            let upgrader = Arc::clone(&self);
            // Processes and their channels block. The upgrade has logged its outcome.
            if let Ok(Ok(_)) = spawn_blocking(move || upgrader.upgrade()).await {
                self.handed_over.notify_one();
            }
        }
    }

    /// Hands the server over for an operator; returns the answer. This process ends after the time for the answer.
    ///
    /// # Errors
    /// As for [`Upgrader::upgrade`].
    pub(super) fn upgrade_and_answer(&self) -> Result<String, String> {
        let Taken { process, version, connections, rooms } = self.upgrade()?;
        let handed_over = Arc::clone(&self.handed_over);
        self.runtime.spawn(async move {
            sleep(ANSWER_TIME).await;
            handed_over.notify_one();
        });
        let (connections, rooms) = (format_count(connections, "connection"), format_count(rooms, "room"));
        Ok(format!("process {process} of version {version} goes on with {connections} and {rooms}"))
    }

    /// Hands the server over; returns what the new process has taken over. The log has the outcome. Blocks.
    ///
    /// # Errors
    /// One line that says why this process goes on.
    fn upgrade(&self) -> Result<Taken, String> {
        let upgraded = self.hand_over();
        match &upgraded {
            Ok(Taken { process, version, connections, rooms }) => {
                info!(process, version, connections, rooms, "handed over: this process ends");
            }
            Err(reason) => error!(reason, "not upgraded: this process goes on"),
        }
        upgraded
    }

    fn hand_over(&self) -> Result<Taken, String> {
        if std::process::id() == FIRST_PROCESS {
            return Err("process 1 can't be replaced, its end is that of the container: start a new one".to_owned());
        }
        let turn = self.server.begin_handover().map_err(|error| error.to_string())?;
        let mut new = self.start_program()?;
        new.channel.expect_hello().map_err(|error| error.to_string())?;
        let freeze = self.runtime.block_on(turn.freeze(PATIENCE)).map_err(|error| error.to_string())?;
        let taken = match new.take_over(&freeze) {
            Ok(taken) => taken,
            Err(error) => {
                // The new process has ended before this one goes on: both must not serve.
                drop(new);
                return Err(error.to_string());
            }
        };
        // From here on the new process serves. It is not waited for: it outlives this one.
        std::mem::forget(new);
        if let Some(manager) = &self.manager {
            manager.notify_main_process(taken.process);
        }
        self.runtime.block_on(freeze.end());
        Ok(taken)
    }

    fn start_program(&self) -> Result<NewProgram, String> {
        let program = self.program.as_ref().map_err(|error| format!("the program's file is not known: {error}"))?;
        let explain = |error: io::Error| format!("{}: can't be started: {error}", program.display());
        let (own, childs) = UnixStream::pair().map_err(explain)?;
        let channel = OldProcess::new(own, PATIENCE).map_err(explain)?;
        let words: Vec<&str> = [ON_STDIN].into_iter().chain(self.socket_names.iter().map(String::as_str)).collect();
        let mut command = Command::new(program);
        command.args(self.arguments.iter().skip(1)).env(CHANNEL, words.join(" ")).stdin(OwnedFd::from(childs));
        // The watchdog is for the server, whichever process it is.
        command.env_remove("WATCHDOG_PID");
        Ok(NewProgram { child: command.spawn().map_err(explain)?, channel })
    }
}

impl NewProgram {
    fn take_over(&mut self, freeze: &Freeze) -> Result<Taken, HandoverError> {
        let taken = self.channel.send_state(freeze.state(), &freeze.descriptors())?;
        self.channel.commit()?;
        Ok(taken)
    }
}

impl Drop for NewProgram {
    /// Ends a process that does not serve.
    fn drop(&mut self) {
        // One that has ended by itself is reaped all the same.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that another process hands over, until this one has rebuilt it.
pub(super) struct Offer {
    channel: NewProcess,
    /// The names of the sockets that the service manager has passed to the first process.
    pub(super) socket_names: Vec<String>,
    start: Instant,
}

impl Offer {
    /// Returns the offer of the process that has started this one, if it has started it to take the server over. Standard
    /// input is empty from then on.
    ///
    /// # Errors
    /// One line, where somebody else has set the variable.
    pub(super) fn from_env() -> Result<Option<Self>, String> {
        let Some(value) = env::var_os(CHANNEL).filter(|value| !value.is_empty()) else { return Ok(None) };
        let wrong = || format!("{CHANNEL} is set by a server that upgrades itself, and by nobody else: unset it");
        let words = value.to_str().and_then(|value| value.strip_prefix(ON_STDIN)).ok_or_else(wrong)?;
        let socket_names = words.split_whitespace().map(str::to_owned).collect();
        let channel = Self::take_stdin().map_err(|_| wrong())?;
        Ok(Some(Self { channel, socket_names, start: Instant::now() }))
    }

    /// Takes the channel out of standard input.
    fn take_stdin() -> io::Result<NewProcess> {
        let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        // An error for anything but a connected socket.
        socket.peer_addr()?;
        dup2_stdin(File::open("/dev/null")?)?;
        NewProcess::new(socket, STATE_PATIENCE)
    }

    /// Tells why this process can't take the server over.
    pub(super) fn refuse(&mut self, reason: &str) {
        self.channel.report_failure(&report::one_line(reason));
    }

    /// Waits for the server.
    ///
    /// # Errors
    /// One line; the other process goes on then.
    pub(super) fn receive(&mut self) -> Result<(Vec<u8>, Vec<OwnedFd>), String> {
        self.channel.receive_state().map_err(|error| error.to_string())
    }

    /// Waits until this process may serve, and says that it does.
    ///
    /// # Errors
    /// One line; the other process goes on then.
    pub(super) fn accept(mut self, server: &Server) -> Result<(), String> {
        let (connections, rooms) = server.taken_over();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let taken = Taken { version, process: std::process::id(), connections, rooms };
        self.channel.report_ready(&taken).map_err(|error| error.to_string())?;
        self.channel.report_committed();
        info!(connections, rooms, milliseconds = self.start.elapsed().as_millis(), "taken over from another process");
        Ok(())
    }
}

/// Returns the path of the program's file: the first argument where that is a path, or else what the system says.
fn program_path(first: Option<&OsString>) -> io::Result<PathBuf> {
    match first.map(Path::new).filter(|first| first.components().count() > 1) {
        Some(path) => path::absolute(path),
        None => env::current_exe(),
    }
}
