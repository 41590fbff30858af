//! `roomcast ctl`: sends an operator's command to a running server, and shows its reply.

use super::{admin_hooks, ctl_tables, report};
use clap::{CommandFactory, FromArgMatches};
use roomcast::admin::{check_command, usage};
use serde_json::Value;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// The first argument of the program that makes it send a command.
pub(super) const WORD: &str = "ctl";

/// The longest reply that is read, in bytes.
const MAX_REPLY: u64 = 1 << 20;

/// How long the server may take for its reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// The exit code of a command that the server refuses, or that can't be sent.
const REFUSED: u8 = 1;

/// The exit code of a line that is no command.
const USAGE: u8 = 2;

/// Moderate a running server through its operators' socket.
///
/// The server is started with --admin PATH. Exit code 0: done; 1: refused, or no server listens there; 2: no such command.
#[derive(Debug, clap::Parser)]
#[command(name = WORD, bin_name = "roomcast ctl", max_term_width = 100)]
pub(super) struct CtlArgs {
    /// The server's operators' socket
    #[arg(long, value_name = "PATH", env = "ROOMCAST_ADMIN")]
    socket: Option<PathBuf>,

    /// Print the server's reply as it is: one JSON object
    #[arg(long)]
    json: bool,

    /// The command and its arguments
    #[arg(required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Adds the subcommand to the program's command. A port is no word, so the subcommand hides none; after an option of the
/// server the word is an argument.
pub(super) fn add_to(program: clap::Command) -> clap::Command {
    program.subcommand(command()).args_conflicts_with_subcommands(true).disable_help_subcommand(true)
}

/// Returns the subcommand, with the operators' commands in its help.
pub(super) fn command() -> clap::Command {
    CtlArgs::command().after_help(format!("Commands:\n{}", usage(&admin_hooks::stand_ins())))
}

/// Sends the command of `arguments`, which begin with [`WORD`]; returns the exit code.
pub(super) fn main(arguments: &[OsString]) -> ExitCode {
    let parsed = command().try_get_matches_from(arguments).and_then(|matches| CtlArgs::from_arg_matches(&matches));
    match parsed {
        Ok(args) => match run(&args) {
            Ok(()) => ExitCode::SUCCESS,
            Err((code, error)) => {
                report::complain(&error);
                ExitCode::from(code)
            }
        },
        Err(error) if !error.use_stderr() => {
            // A closed stdout is no failure of the help.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        Err(error) => {
            report::complain(&format!("{}; see roomcast ctl --help", report::one_line(&error.to_string())));
            ExitCode::from(USAGE)
        }
    }
}

/// Sends the command and shows the reply; returns the exit code and the line for stderr if the command is not done.
fn run(CtlArgs { socket, json, command }: &CtlArgs) -> Result<(), (u8, String)> {
    let line = command.join(" ");
    if line.contains('\n') {
        return Err((USAGE, "a command is one line: leave the line's end out".to_owned()));
    }
    check_command(&line).map_err(|error| (USAGE, error.to_string()))?;
    let Some(path) = socket.as_deref().filter(|path| !path.as_os_str().is_empty()) else {
        let wanted = "the server's socket is missing: write --socket PATH, or set ROOMCAST_ADMIN";
        return Err((USAGE, wanted.to_owned()));
    };
    let reply = exchange(path, &line).map_err(|error| (REFUSED, explain(path, &error)))?;
    let value: Value = serde_json::from_str(&reply)
        .map_err(|_| (REFUSED, format!("{}: the reply is no JSON object: is a roomcast server there?", show(path))))?;
    let is_done = value["ok"] == Value::Bool(true);
    if *json {
        print(reply.trim_end());
        print("\n");
    } else if is_done {
        print(&ctl_tables::render(&value, command));
    }
    let code = if value["usage"] == Value::Bool(true) { USAGE } else { REFUSED };
    let error = ctl_tables::safe(value["error"].as_str().unwrap_or("refused without a reason"));
    if is_done { Ok(()) } else { Err((code, error)) }
}

/// Returns the line that the server replies.
fn exchange(path: &Path, line: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
    stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
    // A server that refuses the session has replied already, and reads nothing.
    let sent = stream.write_all(format!("{line}\n").as_bytes());
    let mut reply = String::new();
    match BufReader::new(stream.take(MAX_REPLY)).read_line(&mut reply) {
        Ok(_) if reply.ends_with('\n') => Ok(reply),
        Ok(_) => sent.and(Err(io::ErrorKind::UnexpectedEof.into())),
        Err(error) => Err(error),
    }
}

/// Returns the line for an error of the socket at `path`.
fn explain(path: &Path, error: &io::Error) -> String {
    let path = show(path);
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            format!("no server listens on {path}: start one with --admin PATH, or write its path after --socket")
        }
        io::ErrorKind::PermissionDenied => format!("{path}: not allowed: be the server's user or root"),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => format!("{path}: the server does not reply"),
        io::ErrorKind::UnexpectedEof => format!("{path}: the server closed the session without a reply"),
        _ => format!("{path}: {error}"),
    }
}

fn show(path: &Path) -> String {
    path.display().to_string().escape_debug().to_string()
}

/// Prints a text. A closed stdout is no failure of the command.
fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::thread;

    fn parse(arguments: &[&str]) -> CtlArgs {
        let matches = command().try_get_matches_from([&["ctl"][..], arguments].concat()).unwrap();
        CtlArgs::from_arg_matches(&matches).unwrap()
    }

    /// Runs a command against a server that replies `reply`; returns the outcome and the line that the server got.
    fn run_against(name: &str, arguments: &[&str], reply: &'static str) -> (Result<(), (u8, String)>, String) {
        let path = std::env::temp_dir().join(format!("roomcast-{}-ctl-{name}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let server = thread::spawn(move || {
            let mut stream = BufReader::new(listener.accept().unwrap().0);
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            stream.get_mut().write_all(reply.as_bytes()).unwrap();
            line
        });
        let socket = path.display().to_string();
        let outcome = run(&parse(&[&["--socket", &*socket][..], arguments].concat()));
        std::fs::remove_file(path).unwrap();
        (outcome, server.join().unwrap())
    }

    #[test]
    fn options_may_stand_on_either_side_of_the_command() {
        for arguments in [["--json", "kick", "17"], ["kick", "17", "--json"]] {
            let args = parse(&arguments);
            assert!(args.json && args.command == ["kick", "17"]);
        }
    }

    #[test]
    fn command_is_sent_as_one_line_and_its_reply_decides_the_exit_code() {
        let (outcome, line) = run_against("done", &["kick", "17", "too loud"], "{\"ok\":true,\"message\":\"done\"}\n");
        assert_eq!((outcome, &*line), (Ok(()), "kick 17 too loud\n"));
        let (outcome, _) = run_against("refused", &["stats"], "{\"ok\":false,\"error\":\"no \\u001b[2Jroom\"}\n");
        assert_eq!(outcome, Err((REFUSED, "no room".to_owned())));
        let (outcome, _) = run_against("usage", &["stats"], "{\"ok\":false,\"error\":\"what?\",\"usage\":true}\n");
        assert_eq!(outcome, Err((USAGE, "what?".to_owned())));
        let (outcome, _) = run_against("other", &["stats"], "Welcome! Use the command:\n");
        assert!(outcome.unwrap_err().1.ends_with("is a roomcast server there?"));
        let (outcome, _) = run_against("cut", &["stats"], "{\"ok\":true");
        assert!(outcome.unwrap_err().1.ends_with("closed the session without a reply"));
    }

    #[test]
    fn wrong_command_is_refused_without_a_server() {
        for (arguments, told) in [
            (&["frobnicate"][..], "\"frobnicate\" is no command: help lists them"),
            (&["ban", "10.0.0.0/33"], "\"10.0.0.0/33\" is no address and no network: write"),
            (&["announce", "all", "a\nb"], "a command is one line"),
        ] {
            let (code, error) = run(&parse(arguments)).unwrap_err();
            assert!(code == USAGE && error.starts_with(told), "{code} {error}");
        }
    }

    #[test]
    fn path_without_a_server_is_named() {
        let (code, error) = run(&parse(&["--socket", "/nonexistent/admin", "stats"])).unwrap_err();
        assert!(code == REFUSED && error.starts_with("no server listens on /nonexistent/admin: start one"), "{error}");
    }
}
