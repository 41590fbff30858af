//! Runs against servers of other projects: Redis, NATS and an IRC server, and against servers that refuse clients as
//! theirs do.
//!
//! Each server of another project is the one of Debian's package, started on a free port of the loopback interface.
//! `ROOMCAST_REQUIRE_ALL=1` makes a missing program a failure.

#![allow(clippy::unwrap_used, reason = "a test stops at the first error")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use loadtest::protocol::ProtocolKind;
use loadtest::test_result::TestResult;
use loadtest::verdict::VerdictKind;

/// The longest time that a server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The members of a run, in 3 rooms of 4.
const SHAPE: [&str; 6] = ["--connections", "12", "--rooms", "3", "--patience", "60s"];

/// A server of another project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Redis,
    Nats,
    InspIrcd,
}

impl Program {
    fn protocol(self) -> ProtocolKind {
        match self {
            Self::Redis => ProtocolKind::Redis,
            Self::Nats => ProtocolKind::Nats,
            Self::InspIrcd => ProtocolKind::Irc,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::Nats => "nats-server",
            Self::InspIrcd => "inspircd",
        }
    }

    /// Returns a configuration that listens on a port of the loopback interface, and bounds neither rates nor queues.
    fn config(self, port: u16, directory: &Path) -> String {
        let directory = directory.display();
        match self {
            Self::Redis => format!(
                "bind 127.0.0.1\nprotected-mode no\nport {port}\ndir {directory}\nsave \"\"\nappendonly no\n\
                 client-output-buffer-limit pubsub 0 0 0\n"
            ),
            Self::Nats => format!("host: 127.0.0.1\nport: {port}\nwrite_deadline: \"60s\"\n"),
            Self::InspIrcd => format!(
                r#"<config format="xml">
<server name="irc.example.net" description="load" network="load">
<admin name="load" nick="load" email="load@example.net">
<bind address="127.0.0.1" port="{port}" type="clients">
<connect name="all" allow="*" timeout="60" pingfreq="1h" hardsendq="1073741824" softsendq="1073741824"
  recvq="1048576" threshold="1000000" commandrate="1000000000" fakelag="no" localmax="1000" globalmax="1000"
  resolvehostnames="no" useident="no">
<performance netbuffersize="65536" clonesonconnect="no" timeskipwarn="0">
<options defaultmodes="">
<limits maxnick="30" maxchan="64">
<files motd="/dev/null">
<pid file="{directory}/pid">
<log method="file" type="* -USERINPUT -USEROUTPUT" level="default" target="{directory}/log">
<path configdir="{directory}" datadir="{directory}" logdir="{directory}" runtimedir="{directory}">
"#
            ),
        }
    }

    /// Returns the command that runs the program in the foreground with a configuration file.
    fn command(self, program: &Path, config: &Path) -> Command {
        let mut command = Command::new(program);
        match self {
            Self::Redis => _ = command.arg(config),
            Self::Nats => _ = command.arg("-c").arg(config),
            Self::InspIrcd => {
                command.arg("--nofork").arg("--config").arg(config);
                if rustix::process::geteuid().is_root() {
                    command.arg("--runasroot");
                }
            }
        }
        command
    }
}

/// A running server of another project. Dropping it kills it.
struct Rival {
    program: Program,
    child: Child,
    address: SocketAddr,
    directory: PathBuf,
}

impl Rival {
    /// Starts a server for a test, with a change of its configuration; `None` if it is not installed.
    fn start(program: Program, test: &str, change: impl Fn(String) -> String) -> Option<Self> {
        let path = find_or_skip(program.name())?;
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("rivals-{test}"));
        fs::create_dir_all(&directory).unwrap();
        let (config, output) = (directory.join("config"), directory.join("output"));
        // Another program may take the free port before the server does.
        for _ in 0..10 {
            let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
            fs::write(&config, change(program.config(address.port(), &directory))).unwrap();
            let log = File::create(&output).unwrap();
            let mut command = program.command(&path, &config);
            command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).current_dir(&directory);
            let child = command.spawn().unwrap();
            let mut rival = Self { program, child, address, directory: directory.clone() };
            if rival.wait_until_listening() {
                return Some(rival);
            }
        }
        panic!("{} does not start: {}", program.name(), fs::read_to_string(output).unwrap());
    }

    /// Waits until the server listens on its port. Returns `false` if it ends or does not in time.
    fn wait_until_listening(&mut self) -> bool {
        let started = Instant::now();
        while started.elapsed() < START_TIMEOUT && self.child.try_wait().unwrap().is_none() {
            if listens(self.child.id(), self.address.port()) {
                return true;
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    }

    /// Runs a scenario against the server. Returns the output, and the result if there is one.
    fn load(&self, scenario: &str, options: &[&str]) -> (Output, Option<TestResult>) {
        let json = self.directory.join("result.json");
        let _ = fs::remove_file(&json);
        let pid = self.child.id().to_string();
        let files = ["--pid", &pid, "--json", json.to_str().unwrap()];
        let output = load(scenario, self.address, self.program.protocol(), &[&SHAPE[..], &files[..], options].concat());
        (output, TestResult::read(&json).ok())
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        // Killing fails when the server has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the path of a program. Where it is missing, its test is skipped with a message that the test's harness does
/// not capture, unless `ROOMCAST_REQUIRE_ALL=1` makes that a failure.
fn find_or_skip(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // The search path of a user need not have the folder of Debian's IRC servers.
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.map(|folder| folder.join(program)).find(|path| path.is_file());
    if found.is_none() {
        assert_ne!(std::env::var("ROOMCAST_REQUIRE_ALL").as_deref(), Ok("1"), "{program} is missing");
        let message = format!("SKIPPED: `{program}` is missing (.ci/setup installs it)\n");
        std::io::stderr().write_all(message.as_bytes()).unwrap();
    }
    found
}

/// Returns whether a process has a listening IPv4 socket on a port.
fn listens(pid: u32, port: u16) -> bool {
    let sockets = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    let files: Vec<PathBuf> = fs::read_dir(format!("/proc/{pid}/fd"))
        .map(|files| files.flatten().filter_map(|file| fs::read_link(file.path()).ok()).collect())
        .unwrap_or_default();
    sockets.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // The local address and the port, the state (0A is a listener's) and the inode.
        let [_, address, _, "0A", _, _, _, _, _, inode, ..] = fields[..] else { return false };
        let socket = format!("socket:[{inode}]");
        address.ends_with(&format!(":{port:04X}")) && files.iter().any(|file| file.as_os_str() == &*socket)
    })
}

/// Runs a scenario of the program.
fn load(scenario: &str, target: SocketAddr, protocol: ProtocolKind, options: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args([scenario, "--target", &target.to_string(), "--protocol", &protocol.to_string()])
        .args(options)
        .output()
        .unwrap()
}

/// Returns all that the program has written.
fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs `steady` with 10 lines and `flood` with 200 lines in each room. Each line has to arrive once, at `receivers`
/// members of its room.
fn assert_all_lines_are_delivered(program: Program, receivers: u64) {
    let Some(rival) = Rival::start(program, &format!("{program:?}-lines"), |config| config) else { return };
    for (scenario, lines, options) in
        [("steady", 10, ["--rate", "100/s", "--lines", "10"]), ("flood", 200, ["--in-flight", "4", "--lines", "200"])]
    {
        let (output, result) = rival.load(scenario, &options);
        let result = result.unwrap_or_else(|| panic!("no result: {}", text(&output)));
        let counters = &result.outcome.counters;
        let found = (counters.sent, counters.expected, counters.delivered);
        assert_eq!(found, (3 * lines, 3 * lines * receivers, 3 * lines * receivers), "{scenario}: {}", text(&output));
        let faults = [counters.lost, counters.duplicated, counters.misordered, counters.corrupt];
        let troubles = [counters.untrue_notices, counters.closed, counters.errors, counters.in_flight];
        assert_eq!((faults, troubles), ([0; 4], [0; 4]), "{scenario}: {}", text(&output));
        assert_eq!(counters.join_notices, counters.join_notices_expected, "{scenario}: {}", text(&output));
        assert_eq!((counters.joined, counters.left), (12, 12), "{scenario}: {}", text(&output));
        // Whether the generator had enough CPU time depends on the machine.
        let kind = result.verdict.kind;
        assert!(matches!(kind, VerdictKind::Good | VerdictKind::Saturated), "{scenario}: {}", text(&output));
        assert_eq!(output.status.code(), Some(i32::from(result.verdict.exit_code())), "{scenario}: {}", text(&output));
        assert!(result.outcome.server.is_some_and(|server| server.rss_bytes > 0), "{scenario}: {}", text(&output));
        assert!(result.outcome.join.server_cpu_seconds > Some(0.0), "{scenario}: {}", text(&output));
    }
}

#[test]
fn redis_delivers_all_lines() {
    assert_all_lines_are_delivered(Program::Redis, 4);
}

#[test]
fn nats_delivers_all_lines() {
    assert_all_lines_are_delivered(Program::Nats, 4);
}

#[test]
fn inspircd_delivers_all_lines() {
    // An IRC server does not send a line to its sender.
    assert_all_lines_are_delivered(Program::InspIrcd, 3);
}

/// Asserts that a server with a change of its configuration refuses a run, and that the error names the setting.
fn assert_refusal(program: Program, test: &str, change: impl Fn(String) -> String, words: [&str; 2]) {
    let Some(rival) = Rival::start(program, test, change) else { return };
    let (output, _) = rival.load("idle", &["--duration", "1s"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    for words in words {
        assert!(text(&output).contains(words), "{words:?} is not in {}", text(&output));
    }
}

#[test]
fn refusal_of_redis_names_its_setting() {
    let protected = |config: String| config.replace("protected-mode no\n", "");
    assert_refusal(Program::Redis, "redis-protected", protected, ["`-DENIED ", "set `protected-mode no`"]);
    let few = |config: String| config + "maxclients 5\n";
    assert_refusal(Program::Redis, "redis-few", few, ["`-ERR max number of clients reached`", "raise `maxclients`"]);
    let password = |config: String| config + "requirepass secret\n";
    assert_refusal(Program::Redis, "redis-password", password, ["`-NOAUTH ", "remove `requirepass`"]);
    let denied = |config: String| config + "user default on nopass -@all +hello\n";
    assert_refusal(Program::Redis, "redis-denied", denied, ["`-NOPERM ", "allchannels"]);
    let renamed = |config: String| config + "rename-command HELLO \"\"\n";
    assert_refusal(Program::Redis, "redis-renamed", renamed, ["`-ERR unknown command", "Redis 6"]);
}

#[test]
fn refusal_of_nats_names_its_setting() {
    let few = |config: String| config + "max_connections: 5\n";
    assert_refusal(Program::Nats, "nats-few", few, ["'maximum connections exceeded'`", "raise `max_connections`"]);
    let token = |config: String| config + "authorization: { token: secret }\n";
    assert_refusal(Program::Nats, "nats-token", token, ["'Authorization Violation'`", "`no_auth_user`"]);
    let denied = |config: String| {
        config
            + "authorization: { users: [ { user: a, password: a, permissions: { subscribe: { deny: \"*\" } } } ] }\n"
            + "no_auth_user: a\n"
    };
    assert_refusal(Program::Nats, "nats-denied", denied, ["Permissions Violation", "`permissions`"]);
}

#[test]
fn refusal_of_inspircd_names_its_setting() {
    // The generator connects from 8 addresses.
    let few = |config: String| config.replace("localmax=\"1000\"", "localmax=\"1\"");
    let words = ["No more connections allowed from your host", "`localmax`"];
    assert_refusal(Program::InspIrcd, "inspircd-few", few, words);
    let full = |config: String| config.replace("<performance ", "<performance softlimit=\"10\" ");
    assert_refusal(Program::InspIrcd, "inspircd-full", full, ["No more connections allowed", "`softlimit`"]);
    let password = |config: String| config.replace("<connect ", "<connect password=\"secret\" ");
    assert_refusal(Program::InspIrcd, "inspircd-password", password, ["Access denied by configuration", "`password`"]);
    let short = |config: String| config.replace("maxnick=\"30\"", "maxnick=\"9\"");
    assert_refusal(Program::InspIrcd, "inspircd-nick", short, ["`:irc.example.net 432 ", "`maxnick`"]);
}

/// Starts a server on a free port that sends the same text to each client, and ends its sending side if `closes`.
fn serve_text(text: &'static str, closes: bool) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let _ = stream.write_all(text.as_bytes());
                if closes {
                    let _ = stream.shutdown(Shutdown::Write);
                }
                // A close with unread bytes would be a reset, which can overtake the text.
                let _ = stream.read_to_end(&mut Vec::new());
            });
        }
    });
    address
}

#[test]
fn error_names_the_refusal_and_the_setting_that_mends_it() {
    let (redis, nats, irc) = (ProtocolKind::Redis, ProtocolKind::Nats, ProtocolKind::Irc);
    for (protocol, sent, words) in [
        (redis, "-DENIED Redis is running in protected mode because protected\r\n", "set `protected-mode no`"),
        (redis, "-ERR max number of clients reached\r\n", "raise `maxclients`"),
        (redis, "-NOAUTH Authentication required.\r\n", "remove `requirepass`"),
        (nats, "-ERR 'maximum connections exceeded'\r\n", "raise `max_connections`"),
        (nats, "INFO {\"auth_required\":true}\r\n-ERR 'Authorization Violation'\r\n", "remove `authorization`"),
        (irc, "ERROR :Connection refused, too many connections from your IP address\r\n", "raise `MaxConnectionsIP`"),
        (irc, ":irc 020 * :Please wait\r\nERROR :Trying to reconnect too fast.\r\n", "lower --connecting"),
        (irc, ":irc 432 * u00000x00000 :Nickname too long, max. 9 characters\r\n", "set `MaxNickLength = 12`"),
        (irc, ":irc 464 * :Password incorrect\r\n", "remove `Password`"),
        (irc, "NOTICE * :*** Checking Ident\r\nERROR :Registration timeout\r\n", "`Ident = no`"),
    ] {
        for closes in [false, true] {
            let output = load("idle", serve_text(sent, closes), protocol, &SHAPE);
            assert_eq!(output.status.code(), Some(3), "{sent:?}: {}", text(&output));
            let refusal = sent.trim_end().lines().last().unwrap();
            let words = ["refused a connection: it sent `", refusal, words];
            assert!(words.iter().all(|words| text(&output).contains(words)), "{sent:?}: {}", text(&output));
        }
    }
}

#[test]
fn error_about_a_silent_irc_server_names_its_lookups() {
    let target = serve_text("NOTICE * :*** Looking up your hostname\r\n", false);
    let options = ["--connections", "3", "--rooms", "1", "--patience", "300ms"];
    let output = load("idle", target, ProtocolKind::Irc, &options);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    for words in ["0 of 3 connections joined", "`Ident = no`", "`useident=\"no\"`"] {
        assert!(text(&output).contains(words), "{words:?} is not in {}", text(&output));
    }
}

/// Serves one client of an IRC server that sends a PING before registration, and welcomes the client after its answer.
fn serve_irc_client(stream: TcpStream) {
    let mut out = stream.try_clone().unwrap();
    let (mut nick, mut is_welcome) = (String::new(), false);
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let answer = match line.split(' ').collect::<Vec<_>>()[..] {
            ["NICK", name] => {
                name.clone_into(&mut nick);
                "NOTICE * :*** Checking Ident\r\nPING :c0ffee\r\n".to_owned()
            }
            ["PONG", ":c0ffee"] => {
                is_welcome = true;
                format!(":irc 001 {nick} :Welcome\r\n")
            }
            ["JOIN", channel] if is_welcome => format!(":{nick}!user@host JOIN :{channel}\r\n"),
            _ => continue,
        };
        let _ = out.write_all(answer.as_bytes());
    }
    let _ = out.shutdown(Shutdown::Both);
}

#[test]
fn ping_of_an_irc_server_before_registration_is_answered() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let target = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || serve_irc_client(stream));
        }
    });
    let options = ["--connections", "3", "--rooms", "3", "--duration", "10ms", "--patience", "60s"];
    let output = load("idle", target, ProtocolKind::Irc, &options);
    assert!(text(&output).contains("3 of 3 joins"), "{}", text(&output));
    assert!(text(&output).contains("joined        3 in "), "{}", text(&output));
}
