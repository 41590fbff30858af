//! The first line in each direction of a link between a coordinator and a worker host.
//!
//! Both lines hold a magic word, the version of the link's messages and the version of the program. The coordinator adds
//! its token. The worker host adds its machine and its limit of open files, or the reason why it refuses the coordinator.
//! Nothing follows a first line before the answer to it, so a first line is read without a buffer.

use std::fmt;
use std::io::{self, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::json_lines::{decode, write_line};
use crate::format::escape_first_line;
use crate::machine::Machine;
use crate::worker_hosts::Token;

/// The magic word. A program that does not send it is no part of this one.
const MAGIC: &str = "roomcast-loadtest";
/// The version of the messages between coordinator and worker host. Each change of a message raises it.
const LINK_VERSION: u32 = 1;
/// The most bytes of a first line. Any program that reaches a worker host's port may send one.
const MAX_FIRST_LINE: usize = 4096;
/// Time within which a first line must arrive.
const FIRST_LINE_TIMEOUT: Duration = Duration::from_secs(10);

/// The program at one end of a link. Its fields stay the same in all versions, so that each version names the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Program {
    magic: String,
    link: u32,
    version: String,
}

/// The first line of a coordinator.
#[derive(Debug, Serialize, Deserialize)]
struct CoordinatorLine {
    #[serde(flatten)]
    program: Program,
    token: Option<String>,
}

/// The first line of a worker host.
#[derive(Debug, Serialize, Deserialize)]
struct HostLine {
    #[serde(flatten)]
    program: Program,
    answer: HostAnswer,
}

/// The answer of a worker host to a coordinator's first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum HostAnswer {
    /// The worker host waits for its shares.
    Accepted {
        /// The connections that the worker host may open.
        max_connections: usize,
        /// The worker host's machine.
        machine: Machine,
    },
    /// The worker host closes the link.
    Refused(Refusal),
}

/// The reason why a worker host refuses a coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Refusal {
    /// The versions differ.
    Version,
    /// The token is missing or another one.
    Token,
    /// Another run is in progress.
    Busy,
}

impl Program {
    /// Returns this program.
    fn here() -> Self {
        Self { magic: MAGIC.into(), link: LINK_VERSION, version: env!("CARGO_PKG_VERSION").into() }
    }

    /// Decodes the program of a first line; `None` where another kind of program sent it.
    fn decode(line: &[u8]) -> Option<Self> {
        decode::<Self>(line).ok().filter(|program| program.magic == MAGIC)
    }
}

impl fmt::Display for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "version {} (link version {})", self.version.escape_debug(), self.link)
    }
}

/// Sends the coordinator's first line, and returns the connections that the worker host may open, and its machine.
///
/// # Errors
/// Returns the end of a sentence that starts with the host: the problem and the remedy.
pub(super) fn greet_host(stream: &TcpStream, token: Option<&Token>) -> Result<(usize, Machine), String> {
    let line = CoordinatorLine { program: Program::here(), token: token.map(|token| token.text().to_owned()) };
    let line = write_line(&mut &*stream, &line).and_then(|()| read_first_line(stream)).map_err(|error| {
        format!(
            "did not answer ({}): check that `loadtest worker` listens there",
            describe_error(&error, FIRST_LINE_TIMEOUT)
        )
    })?;
    let (here, there) = (Program::here(), Program::decode(&line));
    let Some(there) = there else {
        return Err(format!("is no `loadtest worker`: it sent `{}`", escape_first_line(&line)));
    };
    if there != here {
        return Err(format!("runs {there}, and this is {here}: install one version on both machines"));
    }
    let malformed = |error: io::Error| format!("sent a first line that is malformed: {error}");
    match decode::<HostLine>(&line).map_err(malformed)?.answer {
        HostAnswer::Accepted { max_connections, machine } => Ok((max_connections, machine)),
        HostAnswer::Refused(Refusal::Version) => Err(format!("refused {here}: install one version on both machines")),
        HostAnswer::Refused(Refusal::Token) => {
            Err("refused the token: give the host's own one with --token or LOADTEST_TOKEN".into())
        }
        HostAnswer::Refused(Refusal::Busy) => {
            Err("is busy with another run: wait for its end, or name another host".into())
        }
    }
}

/// Reads a coordinator's first line, and checks its version and token.
///
/// # Errors
/// Fails when no coordinator is at the other end. A coordinator that is to be refused is no error.
pub(super) fn receive_coordinator(stream: &TcpStream, token: Option<&Token>) -> io::Result<Result<(), Refusal>> {
    let line = read_first_line(stream)?;
    let Some(program) = Program::decode(&line) else {
        return Err(io::Error::other(format!("it is no coordinator: it sent `{}`", escape_first_line(&line))));
    };
    if program != Program::here() {
        return Ok(Err(Refusal::Version));
    }
    let given = decode::<CoordinatorLine>(&line)?.token.unwrap_or_default();
    Ok(if token.is_none_or(|token| token.matches(&given)) { Ok(()) } else { Err(Refusal::Token) })
}

/// Sends a worker host's first line.
pub(super) fn answer_coordinator(stream: &TcpStream, answer: HostAnswer) -> io::Result<()> {
    write_line(&mut &*stream, &HostLine { program: Program::here(), answer })
}

/// Reads a first line within [`FIRST_LINE_TIMEOUT`], and then resets the socket's read timeout.
fn read_first_line(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + FIRST_LINE_TIMEOUT;
    let mut line = Vec::new();
    let mut chunk = [0; MAX_FIRST_LINE];
    loop {
        // A peer that sends single bytes does not extend the deadline.
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let count = stream.read(&mut chunk)?;
        line.extend_from_slice(&chunk[..count]);
        if line.pop_if(|last| *last == b'\n').is_some() {
            stream.set_read_timeout(None)?;
            return Ok(line);
        }
        if count == 0 || line.len() > MAX_FIRST_LINE || line.contains(&b'\n') {
            // The start of the line shows what kind of program sent it.
            return if line.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(line) };
        }
    }
}

/// Describes an error of a link whose reads end after `timeout`.
pub(super) fn describe_error(error: &io::Error, timeout: Duration) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => silence(timeout),
        io::ErrorKind::UnexpectedEof => "it closed the connection".into(),
        _ => error.to_string(),
    }
}

/// Describes a time without a message.
pub(super) fn silence(time: Duration) -> String {
    format!("it sent nothing for {}", humantime::format_duration(time))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Returns the answer of a worker host with the token `secret` to a coordinator's first line.
    fn receive(line: &'static [u8]) -> io::Result<Result<(), Refusal>> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let coordinator = thread::spawn(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(line).unwrap();
            stream
        });
        let stream = listener.accept().unwrap().0;
        // The thread returns its socket, so that the end of the connection is seen only after the whole line.
        drop(coordinator.join().unwrap());
        receive_coordinator(&stream, Token::new("secret").as_ref())
    }

    #[test]
    fn coordinator_needs_the_version_and_the_token() {
        let line = |version: &str, token: &str| {
            let line = format!(
                "{{\"magic\":\"{MAGIC}\",\"link\":{LINK_VERSION},\"version\":\"{version}\",\"token\":{token}}}\n"
            );
            receive(line.into_bytes().leak()).unwrap()
        };
        let here = env!("CARGO_PKG_VERSION");
        assert_eq!(line(here, "\"secret\""), Ok(()));
        assert_eq!(line(here, "\"secrets\""), Err(Refusal::Token));
        assert_eq!(line(here, "null"), Err(Refusal::Token));
        assert_eq!(line("99.0.0", "\"secret\""), Err(Refusal::Version));
    }

    #[test]
    fn other_programs_are_told_from_coordinators() {
        for line in
            [&b"GET / HTTP/1.1\r\n\r\n"[..], b"{\"magic\":\"x\",\"link\":1,\"version\":\"1\"}\n", b"{}\n", b"\n\n"]
        {
            let error = receive(line).unwrap_err().to_string();
            assert!(error.contains("it is no coordinator"), "{error}");
        }
        assert_eq!(receive(b"").unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let endless = vec![b'x'; 3 * MAX_FIRST_LINE].leak();
        assert!(receive(endless).unwrap_err().to_string().contains("it is no coordinator"));
    }
}
