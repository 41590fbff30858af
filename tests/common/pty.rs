//! Client programs in a terminal: telnet, plink and nc, connected to a server.

use super::screen::Screen;
use super::{Client, TestServer};
use pty_process::blocking::Command;
use std::sync::OnceLock;

/// A program that connects to the server from a terminal.
#[derive(Clone, Copy)]
pub enum ClientProgram {
    /// GNU telnet.
    Telnet,
    /// `PuTTY`'s client for a terminal, speaking telnet.
    Plink,
    /// netcat.
    Nc,
}

impl ClientProgram {
    /// Starts the program in a terminal of its own and waits for the welcome; `None` if it is not installed.
    pub fn connect(self, server: &TestServer) -> Option<Screen> {
        let (ip, port) = (server.address.ip().to_string(), server.address.port().to_string());
        let (program, args) = match self {
            Self::Telnet => ("telnet", &[&*ip, &*port][..]),
            Self::Plink => ("plink", &["-telnet", "-P", &*port, &*ip][..]),
            Self::Nc => ("nc", &[&*ip, &*port][..]),
        };
        is_installed(program).then(|| {
            let mut screen = Screen::spawn(program, args);
            screen.expect_rows(&["Welcome! Use the command:", "JOIN <ROOMNAME> <USERNAME>", "█"]);
            screen
        })
    }

    /// Starts a server, joins `bob` on a plain socket to the room `lobby`, and then `alice` in this program;
    /// `None` if it is not installed.
    pub fn join_lobby(self) -> Option<Lobby> {
        let server = TestServer::start();
        let mut alice = self.connect(&server)?;
        let mut bob = server.join("lobby", "bob");
        alice.join("lobby", "alice");
        bob.expect_line("alice has joined");
        Some(Lobby { alice, bob, server })
    }
}

/// Two members of one room. The server is the last field, so that it ends after its clients.
pub struct Lobby {
    pub alice: Screen,
    pub bob: Client,
    pub server: TestServer,
}

/// Returns whether a program is installed. Where it is missing, its test is skipped with a message, unless
/// `ROOMCAST_REQUIRE_ALL=1` makes that a failure.
pub fn is_installed(program: &str) -> bool {
    let found = std::process::Command::new(program).arg("--version").output().is_ok();
    if !found {
        assert_ne!(std::env::var("ROOMCAST_REQUIRE_ALL").as_deref(), Ok("1"), "{program} is missing");
        eprintln!("SKIPPED: `{program}` is missing (.ci/setup installs it)");
    }
    found
}

/// Returns a command that runs `program` with the default reactions to Ctrl-C and Ctrl-\.
///
/// A process inherits which signals are ignored, and a shell ignores these two for the jobs that it starts
/// in the background. Without `env --default-signal` the program keeps what this process has inherited.
pub fn with_default_signals(program: &str) -> Command {
    const ENV: [&str; 2] = ["env", "--default-signal=INT,QUIT"];
    static IS_SUPPORTED: OnceLock<bool> = OnceLock::new();
    let probe = || std::process::Command::new(ENV[0]).args([ENV[1], "true"]).output();
    if *IS_SUPPORTED.get_or_init(|| probe().is_ok_and(|output| output.status.success())) {
        Command::new(ENV[0]).args([ENV[1], program])
    } else {
        Command::new(program)
    }
}
