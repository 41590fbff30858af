//! Client programs in a terminal: telnet, `PuTTY`, MUD clients and netcats, connected to a server.

use super::screen::Screen;
use super::{Client, TestServer, find_or_skip};
use pty_process::blocking::Command;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::OnceLock;

/// A program that connects to the server from a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientProgram {
    /// GNU telnet.
    Telnet,
    /// `PuTTY`'s client for a terminal, speaking telnet.
    Plink,
    /// The telnet of busybox.
    BusyboxTelnet,
    /// tintin++, a MUD client with an input line of its own.
    TinTin,
    /// `TinyFugue`, a MUD client with an input window of its own.
    TinyFugue,
    /// socat in raw mode: each key is sent at once, Enter as a CR, and nothing is echoed.
    SocatRaw,
    /// netcat, which ends lines in LF.
    Nc,
    /// `nc -C`, which ends lines in CR LF.
    NcCrlf,
}

impl ClientProgram {
    /// Starts the program in a terminal of its own and waits for the welcome; `None` if it is not installed.
    pub fn connect(self, server: &TestServer) -> Option<Screen> {
        self.connect_to(server.address)
    }

    /// Starts the program as [`ClientProgram::connect`] does, connected to this address.
    pub fn connect_to(self, address: SocketAddr) -> Option<Screen> {
        let (ip, port) = (&*address.ip().to_string(), &*address.port().to_string());
        let session = &*format!("#session {{roomcast}} {{{ip}}} {{{port}}}");
        let target = &*format!("TCP:{address}");
        let (program, args): (_, &[&str]) = match self {
            Self::Telnet => ("telnet", &[ip, port]),
            Self::Plink => ("plink", &["-telnet", "-P", port, ip]),
            Self::BusyboxTelnet => ("busybox", &["telnet", ip, port]),
            // -G leaves the greeting out.
            Self::TinTin => ("tt++", &["-G", "-e", session]),
            // -n connects to no configured world, -v shows no status line.
            Self::TinyFugue => ("tf", &["-n", "-v", ip, port]),
            Self::SocatRaw => ("socat", &["-,raw,echo=0", target]),
            Self::Nc => ("nc", &[ip, port]),
            Self::NcCrlf => ("nc", &["-C", ip, port]),
        };
        let program = find_or_skip(program)?;
        let mut screen = Screen::spawn(program.to_str().unwrap(), args);
        screen.expect_row("JOIN <ROOMNAME> <USERNAME>");
        Some(screen)
    }

    /// Starts a server, joins `bob` on a plain socket to the room `lobby`, and then `alice` in this program;
    /// `None` if it is not installed.
    pub fn join_lobby(self) -> Option<Lobby> {
        let server = TestServer::start();
        self.join_lobby_of(server, |server| server.address)
    }

    /// Joins the two members as [`ClientProgram::join_lobby`] does, `alice` through the `telnet://` listener.
    pub fn join_lobby_by_telnet_listener(self) -> Option<Lobby> {
        self.join_lobby_of(TestServer::start_telnet(), |server| server.telnet_address.unwrap())
    }

    fn join_lobby_of(self, server: TestServer, address: impl Fn(&TestServer) -> SocketAddr) -> Option<Lobby> {
        let mut alice = self.connect_to(address(&server))?;
        let mut bob = server.join("lobby", "bob");
        alice.type_keys("JOIN lobby alice\r");
        alice.expect_row("alice has joined");
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

impl Lobby {
    /// Types a line in alice's program and reads it on bob's socket, byte for byte.
    #[track_caller]
    pub fn say(&mut self, line: &str) {
        self.alice.type_keys(&format!("{line}\r"));
        self.bob.expect_line(&format!("alice: {line}"));
    }

    /// Says a line on bob's socket and waits until alice's program shows it. What the server sent before that
    /// line has arrived then, too.
    #[track_caller]
    pub fn answer(&mut self, line: &str) {
        self.bob.send(format!("{line}\n"));
        self.bob.expect_line(&format!("bob: {line}"));
        self.alice.expect_row(&format!("bob: {line}"));
    }

    /// Switches the input line on in alice's program.
    #[track_caller]
    pub fn switch_input_line_on(&mut self) {
        self.alice.type_keys("/ui on\r");
        self.alice.expect_row("*** ui is on");
        self.alice.expect_draft("");
    }
}

impl Screen {
    /// Waits until a row equals `row`, wherever the cursor is and with any blanks around it: socat in raw mode
    /// shows a bare LF as a step down.
    #[track_caller]
    pub fn expect_row(&mut self, row: &str) {
        let is_shown = |shown: &String| shown.replace(super::screen::CURSOR, "").trim() == row;
        self.wait_for(&format!("a row is {row:?}"), |screen| screen.rows().iter().any(is_shown));
    }

    /// Waits until a row begins with `start`.
    #[track_caller]
    pub fn expect_row_start(&mut self, start: &str) {
        self.wait_for(&format!("a row begins with {start:?}"), |screen| {
            screen.rows().iter().any(|row| row.starts_with(start))
        });
    }

    /// Waits until the server's input line is the last row and shows `draft`, with [`super::screen::CURSOR`] at
    /// its end.
    #[track_caller]
    pub fn expect_draft(&mut self, draft: &str) {
        let end = format!("> {draft}{}", super::screen::CURSOR);
        self.wait_for(&format!("the last row ends in {end:?}"), |screen| {
            screen.rows().last().is_some_and(|row| row.ends_with(&end))
        });
    }
}

/// Returns whether a program is installed. Where it is missing, its test is skipped with a message, unless
/// `ROOMCAST_REQUIRE_ALL=1` makes that a failure.
pub fn is_installed(program: &str) -> bool {
    find_or_skip(program).is_some()
}

/// Returns a command that runs `program` as a terminal emulator does: Backspace erases a whole UTF-8 character
/// (`stty iutf8`), Ctrl-C and Ctrl-\ have their default reactions, and no file of the user's home is read.
///
/// A process inherits which signals are ignored, and a shell ignores these two for the jobs that it starts
/// in the background. Without `env --default-signal` the program keeps what this process has inherited.
pub fn with_default_signals(program: &str) -> Command {
    const ENV: [&str; 2] = ["env", "--default-signal=INT,QUIT"];
    const SHELL: [&str; 3] = ["sh", "-c", "stty iutf8; exec \"$0\" \"$@\""];
    static IS_SUPPORTED: OnceLock<bool> = OnceLock::new();
    let probe = || std::process::Command::new(ENV[0]).args([ENV[1], "true"]).output();
    let command = if *IS_SUPPORTED.get_or_init(|| probe().is_ok_and(|output| output.status.success())) {
        Command::new(ENV[0]).arg(ENV[1]).args(SHELL)
    } else {
        Command::new(SHELL[0]).args(&SHELL[1..])
    };
    command.arg(program).env("HOME", Path::new(env!("CARGO_TARGET_TMPDIR")))
}

/// Declares a test for each of some programs, so that each program passes or fails alone.
///
/// `join` is the method of [`ClientProgram`] that starts it, `check` a function that takes the [`Lobby`].
#[allow(unused_macros)]
macro_rules! test_each_program {
    ($test:ident, $join:ident, $check:expr; $($name:ident: $program:ident),+) => {
        mod $test {
            use super::*;
            $(
                #[test]
                fn $name() {
                    if let Some(lobby) = ClientProgram::$program.$join() {
                        let check: fn(Lobby) = $check;
                        check(lobby);
                    }
                }
            )+
        }
    };
}
#[allow(unused_imports)]
pub(crate) use test_each_program;
