//! The child process of an attack, and the handle of its parent.
//!
//! The parent writes an order and then the tick of the end, one JSON line each, to the child's standard input. The child
//! writes a line when it is ready, attacks from the second line on, and writes its report to standard output. The end of
//! standard input stops it earlier.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::catalog::kinds;
use super::event_loop::{AttackReport, EventLoop};
use super::kind::Kind;
use crate::clock::{SECOND, Tick, now};
use crate::open_files;

/// The hidden subcommand of a child process.
pub const SUBCOMMAND: &str = "attack";

/// The niceness of a child process beside its parent's: it yields the CPU to the servers and to the good clients.
const NICENESS: i32 = 10;
/// Time after which a child that does not end is killed.
const END_TIMEOUT: Tick = 5 * SECOND;

/// The line of a child that waits for the start, as JSON.
const READY: &str = "ready";

/// The parameters of an attack.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AttackOrder {
    /// The server.
    pub target: SocketAddr,
    /// The names of the kinds that attack together.
    pub kinds: Vec<String>,
    /// The seed of all random bytes.
    pub seed: u64,
}

/// A child process. Dropping it ends the attack.
#[derive(Debug)]
pub struct Attack {
    child: Child,
    /// The child's standard input; `None` after it was closed.
    input: Option<ChildStdin>,
    /// The child's standard output: a line when it is ready, and its report.
    output: BufReader<ChildStdout>,
}

impl Attack {
    /// Starts a child process, and waits until it is ready. It waits for [`Attack::start`].
    ///
    /// # Errors
    /// Fails when the process cannot be started, or ends at once.
    pub fn spawn(program: &std::path::Path, order: &AttackOrder) -> Result<Self> {
        let mut child = Command::new(program)
            .arg(SUBCOMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A process group of its own keeps the terminal's Ctrl-C from the child: its parent stops it.
            .process_group(0)
            .spawn()
            .context("cannot start the process of the bad clients")?;
        let mut input = child.stdin.take().context("the process of the bad clients has no standard input")?;
        let output = child.stdout.take().context("the process of the bad clients has no standard output")?;
        let mut attack = Self { child, input: None, output: BufReader::new(output) };
        write_line(&mut input, order)?;
        attack.input = Some(input);
        let mut line = String::new();
        attack.output.read_line(&mut line)?;
        anyhow::ensure!(
            line.trim().trim_matches('"') == READY,
            "the process of the bad clients ended instead of attacking"
        );
        Ok(attack)
    }

    /// Starts the attack, which ends at the tick `until`.
    ///
    /// # Errors
    /// Fails when the process has ended.
    pub fn start(&mut self, until: Tick) -> io::Result<()> {
        self.input.as_mut().map_or(Ok(()), |input| write_line(input, &until))
    }

    /// Returns the process's ID.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the attack, and returns its report.
    ///
    /// # Errors
    /// Fails when the process ended without a report.
    pub fn stop(mut self) -> Result<AttackReport> {
        self.end();
        let mut text = String::new();
        self.output.read_to_string(&mut text)?;
        serde_json::from_str(&text).context("the process of the bad clients ended without a report")
    }

    /// Closes the child's standard input, and waits for its end. A report fits into the pipe, so that the child does
    /// not wait for a reader.
    fn end(&mut self) {
        self.input = None;
        let deadline = now() + END_TIMEOUT;
        while now() < deadline {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs a child process: reads its order and the tick of its end, attacks, and writes its report.
///
/// # Errors
/// Fails when standard input holds no order, or names an unknown kind.
pub fn run_child_process() -> Result<()> {
    open_files::raise_limit()?;
    // Real attackers use no CPU of the server's machine. A failure leaves the priority as it is.
    let _ = rustix::process::nice(NICENESS);
    let mut lines = BufReader::new(io::stdin()).lines();
    let order: AttackOrder = serde_json::from_str(&lines.next().context("no order on standard input")??)?;
    let known = |name: &String| kinds().find(|kind| kind.name == *name).with_context(|| format!("no kind {name}"));
    let chosen: Vec<&'static Kind> = order.kinds.iter().map(known).collect::<Result<_>>()?;
    let event_loop = EventLoop::new(order.target, &chosen, order.seed)?;
    write_line(&mut io::stdout(), &READY)?;
    // The parent may end the attack before it begins.
    let report = match lines.next() {
        None => AttackReport::default(),
        Some(line) => {
            let until: Tick = serde_json::from_str(&line?)?;
            let stop = Arc::new(AtomicBool::new(false));
            let flag = Arc::clone(&stop);
            thread::spawn(move || {
                lines.for_each(drop);
                // Relaxed: pairs with the load of the event loop, and no other data is published with it.
                flag.store(true, Ordering::Relaxed);
            });
            event_loop.run(until, &stop)?
        }
    };
    let _ = write_line(&mut io::stdout(), &report);
    Ok(())
}

fn write_line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    out.write_all(&line)?;
    out.flush()
}
