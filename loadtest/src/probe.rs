//! A check before the load: the server accepts a connection and speaks the protocol.

use std::io::Read;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};

use anyhow::{Context, Result, bail};

use crate::format::escape_controls;
use crate::plan::{Plan, UsageError};
use crate::protocol::{Frame, ProtocolKind};

/// The most bytes of a greeting that are read.
const MAX_GREETING: usize = 4096;

/// Resolves a host name and a port to an address.
///
/// # Errors
/// Fails when the text is not an address with a port, or has no address.
pub fn resolve_target(target: &str) -> Result<SocketAddr> {
    let mut addresses = target.to_socket_addrs().map_err(|error| {
        UsageError::new(format!("--target {target} is not an address with a port ({error}): give HOST:PORT"))
    })?;
    addresses.next().with_context(|| format!("--target {target} has no address"))
}

/// Opens one connection, and reads the greeting where the protocol has one.
///
/// # Errors
/// Returns one line that names the problem and the remedy.
pub fn probe(plan: &Plan) -> Result<()> {
    let (target, kind) = (plan.target, plan.protocol);
    let mut stream = match TcpStream::connect_timeout(&target, plan.patience) {
        Ok(stream) => stream,
        Err(error) if kind == ProtocolKind::Line => bail!(
            "nothing to measure at {target} ({error}): start the server with `cargo run --release`, \
             or add --spawn to start one for this run"
        ),
        Err(error) => bail!("nothing to measure at {target} ({error}): start the server, or give its --target"),
    };
    let protocol = kind.protocol();
    if !protocol.server_greets() {
        return Ok(());
    }
    stream.set_read_timeout(Some(plan.patience))?;
    let mut received = Vec::new();
    let mut chunk = [0; MAX_GREETING];
    while received.len() < MAX_GREETING {
        let mut at = 0;
        while let Some((length, frame)) = protocol.decode(&received[at..]) {
            at += length;
            match frame {
                Frame::Ready => return Ok(()),
                Frame::Ignored => {}
                _ => bail!("{target} does not speak --protocol {kind}: it sent `{}`", first_line(&received)),
            }
        }
        match stream.read(&mut chunk) {
            Ok(count) if count > 0 => received.extend_from_slice(&chunk[..count]),
            Ok(_) => {
                bail!("{target} closed the connection instead of greeting; it sent `{}`", first_line(&received))
            }
            Err(_) => bail!(
                "{target} accepted a connection but did not greet in {}: does it speak --protocol {kind}?",
                humantime::format_duration(plan.patience)
            ),
        }
    }
    bail!("{target} does not speak --protocol {kind}: it sent `{}`", first_line(&received))
}

/// Returns the start of the first received line, with its control characters escaped.
fn first_line(received: &[u8]) -> String {
    let text = String::from_utf8_lossy(received);
    escape_controls(&text.lines().next().unwrap_or_default().chars().take(80).collect::<String>())
}
