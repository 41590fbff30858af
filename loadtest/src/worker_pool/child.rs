//! A child process with several workers.
//!
//! The parent writes the shares and then commands to the child's standard input; the child writes events to its standard
//! output. Both are JSON lines. The end of standard input means that the parent has ended, and ends the child.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command as Program, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use super::NumberedEvent;
use super::json_lines::write_line;
use super::thread::{ThreadLink, send_to_all};
use crate::message::{Command, Event};
use crate::plan::Share;

/// The hidden subcommand of a child process.
pub const SUBCOMMAND: &str = "child-worker";

/// The link to a child process. Dropping it ends the child.
pub(super) struct ChildLink {
    /// The child's process.
    child: Child,
    /// The child's standard input; `None` after it was closed.
    commands: Option<ChildStdin>,
}

impl ChildLink {
    /// Starts a child process with one worker for each share.
    ///
    /// # Errors
    /// Fails when the process cannot be started.
    pub(super) fn start(shares: &[(usize, Share)], events_out: &Sender<NumberedEvent>) -> io::Result<Self> {
        let mut child = Program::new(std::env::current_exe()?)
            .arg(SUBCOMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A process group of its own keeps the terminal's Ctrl-C from the child: the parent sends it a command instead.
            .process_group(0)
            .spawn()?;
        let broken = || io::Error::other("a worker process has no pipes");
        let mut commands = child.stdin.take().ok_or_else(broken)?;
        let events = child.stdout.take().ok_or_else(broken)?;
        write_line(&mut commands, &shares)?;
        let workers = shares.iter().map(|(number, _)| *number).collect();
        let events_out = events_out.clone();
        thread::spawn(move || read_events(events, workers, &events_out));
        Ok(Self { child, commands: Some(commands) })
    }

    /// Sends a command to all workers of the child. A child that has ended ignores it.
    pub(super) fn send(&mut self, command: Command) {
        if let Some(commands) = &mut self.commands {
            let _ = write_line(commands, &command);
        }
    }
}

impl Drop for ChildLink {
    /// Closes the standard input of the child process, which ends it, and waits for it.
    fn drop(&mut self) {
        self.commands = None;
        let _ = self.child.wait();
    }
}

/// Forwards the events of a child process. When the child ends early, sends a failure for each worker that has not
/// finished.
fn read_events(events: ChildStdout, mut workers: HashSet<usize>, events_out: &Sender<NumberedEvent>) {
    for line in BufReader::new(events).lines() {
        let Ok(event) = line.and_then(|line| Ok(serde_json::from_str::<NumberedEvent>(&line)?)) else { break };
        if matches!(event.1, Event::Finished(_)) {
            workers.remove(&event.0);
        }
        if events_out.send(event).is_err() {
            return;
        }
    }
    for worker in workers {
        let _ = events_out.send((worker, Event::failed("a worker process ended before its workers finished")));
    }
}

/// Runs a child process: reads its shares from the first line of standard input, then commands, and writes events to
/// standard output.
///
/// # Errors
/// Fails when standard input holds no shares, or when standard output is closed.
pub fn run_child_process() -> io::Result<()> {
    let mut input = BufReader::new(io::stdin()).lines();
    let first = input.next().ok_or_else(|| io::Error::other("no plan on standard input"))??;
    let shares: Vec<(usize, Share)> = serde_json::from_str(&first)?;
    let (events_out, events) = mpsc::channel();
    let workers: Vec<ThreadLink> = shares.into_iter().map(|share| ThreadLink::start(share, &events_out)).collect();
    let count = workers.len();
    thread::spawn(move || {
        for line in input {
            let Some(command) = line.ok().and_then(|line| serde_json::from_str(&line).ok()) else { break };
            send_to_all(&workers, command);
        }
        // The end of standard input means that the parent has ended.
        send_to_all(&workers, Command::Leave);
    });
    write_events(&events, count, &mut io::stdout().lock())
}

/// Writes all events of some workers until every worker has finished.
fn write_events(events: &Receiver<NumberedEvent>, workers: usize, out: &mut impl Write) -> io::Result<()> {
    let mut unfinished = workers;
    while unfinished > 0 {
        let Ok(event) = events.recv() else { break };
        unfinished -= usize::from(matches!(event.1, Event::Finished(_)));
        write_line(out, &event)?;
    }
    Ok(())
}
