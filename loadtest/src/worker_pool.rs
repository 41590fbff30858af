//! The workers of a run, wherever they are: threads of this process, or threads of others that are told by pipes.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command as Program, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, OnceLock};
use std::thread;

use mio::Waker;

use crate::clock::{Tick, now};
use crate::message::{Command, Event};
use crate::plan::Share;
use crate::worker::run_worker;

/// The hidden subcommand that a child process is started with.
pub const SUBCOMMAND: &str = "worker";

/// All workers of a run.
pub(crate) struct WorkerPool {
    /// How to reach them.
    links: Vec<Link>,
    /// What they tell: who, and what.
    events: Receiver<(usize, Event)>,
    /// How many there are.
    workers: usize,
}

/// A way to one worker or several.
enum Link {
    /// A thread here.
    Thread { commands: Sender<Command>, waker: Arc<OnceLock<Arc<Waker>>> },
    /// A process with some threads.
    Process { child: Child, commands: ChildStdin },
}

impl WorkerPool {
    /// Starts the shares: as threads if all are to be in one process, else in `processes` children.
    ///
    /// # Errors
    /// When a process cannot be started.
    pub(crate) fn start(shares: Vec<Share>, processes: usize) -> io::Result<Self> {
        let (events_out, events) = mpsc::channel();
        let workers = shares.len();
        let numbered: Vec<(usize, Share)> = shares.into_iter().enumerate().collect();
        let links = if processes <= 1 {
            numbered.into_iter().map(|share| start_thread(share, &events_out)).collect()
        } else {
            let size = workers.div_ceil(processes).max(1);
            numbered.chunks(size).map(|shares| start_process(shares, &events_out)).collect::<io::Result<_>>()?
        };
        Ok(Self { links, events, workers })
    }

    /// How many workers there are.
    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    /// Tells all of them something. A worker that is gone has said so, and is told nothing.
    pub(crate) fn broadcast(&mut self, command: Command) {
        for link in &mut self.links {
            match link {
                Link::Thread { commands, waker } => {
                    if commands.send(command).is_ok()
                        && let Some(waker) = waker.get()
                    {
                        let _ = waker.wake();
                    }
                }
                Link::Process { commands, .. } => {
                    let _ = write_line(commands, &command);
                }
            }
        }
    }

    /// The next event before a deadline, if there is one.
    pub(crate) fn next_event(&self, deadline: Tick) -> Option<(usize, Event)> {
        let wait = std::time::Duration::from_nanos(deadline.saturating_sub(now()));
        self.events.recv_timeout(wait).ok()
    }

    /// Passes all events on until every worker is done: what a child process does.
    fn forward(self, out: &mut impl Write) -> io::Result<()> {
        let mut left = 0;
        while left < self.workers {
            let Ok(event) = self.events.recv() else { break };
            left += usize::from(matches!(event.1, Event::Finished(_)));
            write_line(out, &event)?;
        }
        Ok(())
    }
}

impl Drop for WorkerPool {
    /// Children end when their standard input does.
    fn drop(&mut self) {
        for link in self.links.drain(..) {
            if let Link::Process { mut child, commands } = link {
                drop(commands);
                let _ = child.wait();
            }
        }
    }
}

/// Says in a worker's name that it panicked, lest it be waited for.
struct PanicReporter {
    number: usize,
    events_out: Sender<(usize, Event)>,
}

impl Drop for PanicReporter {
    fn drop(&mut self) {
        if thread::panicking() {
            let event = Event::failed("a worker panicked: its measurements are missing");
            let _ = self.events_out.send((self.number, event));
        }
    }
}

fn start_thread((number, share): (usize, Share), events_out: &Sender<(usize, Event)>) -> Link {
    let (commands, commands_in) = mpsc::channel();
    let waker = Arc::new(OnceLock::new());
    let (thread_waker, events_out) = (Arc::clone(&waker), events_out.clone());
    thread::spawn(move || {
        // Nobody is left to hear it when sending fails.
        let panic_reporter = PanicReporter { number, events_out: events_out.clone() };
        let events_out = |event| _ = events_out.send((number, event));
        run_worker(share, &commands_in, &|waker| _ = thread_waker.set(waker), &events_out);
        drop(panic_reporter);
    });
    Link::Thread { commands, waker }
}

fn start_process(shares: &[(usize, Share)], events_out: &Sender<(usize, Event)>) -> io::Result<Link> {
    let mut child = Program::new(std::env::current_exe()?)
        .arg(SUBCOMMAND)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // The terminal's Ctrl-C is for us: we tell the children.
        .process_group(0)
        .spawn()?;
    let broken = || io::Error::other("a worker process without pipes");
    let mut commands = child.stdin.take().ok_or_else(broken)?;
    let events = child.stdout.take().ok_or_else(broken)?;
    write_line(&mut commands, &shares)?;
    let workers = shares.iter().map(|(number, _)| *number).collect();
    let events_out = events_out.clone();
    thread::spawn(move || read_child_events(events, workers, &events_out));
    Ok(Link::Process { child, commands })
}

/// Reads a child's events; when it ends before its workers did, says so in their name.
fn read_child_events(events: ChildStdout, mut workers: HashSet<usize>, events_out: &Sender<(usize, Event)>) {
    for line in BufReader::new(events).lines() {
        let Ok(event) = line.and_then(|line| Ok(serde_json::from_str::<(usize, Event)>(&line)?)) else { break };
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

/// A child process: its shares come as the first line of standard input, then commands; events go to standard output.
///
/// # Errors
/// When its parent is gone, or is not one of ours.
pub fn run_child_process() -> io::Result<()> {
    let mut input = BufReader::new(io::stdin()).lines();
    let first = input.next().ok_or_else(|| io::Error::other("no plan on standard input"))??;
    let shares: Vec<(usize, Share)> = serde_json::from_str(&first)?;
    let (events_out, events) = mpsc::channel();
    let workers = shares.len();
    let links: Vec<Link> = shares.into_iter().map(|share| start_thread(share, &events_out)).collect();
    let (_, nothing) = mpsc::channel();
    let mut workers_here = WorkerPool { links, events: nothing, workers };
    thread::spawn(move || {
        for line in input {
            let Some(command) = line.ok().and_then(|line| serde_json::from_str(&line).ok()) else { break };
            workers_here.broadcast(command);
        }
        // The parent is gone: so are its commands.
        workers_here.broadcast(Command::Leave);
    });
    WorkerPool { links: Vec::new(), events, workers }.forward(&mut io::stdout().lock())
}

fn write_line(out: &mut impl Write, value: &impl serde::Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    out.write_all(&line)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_panics_has_left() {
        let (events_out, events) = mpsc::channel();
        let panicked = thread::spawn(move || {
            let _panic_reporter = PanicReporter { number: 7, events_out };
            panic!("as the test wants it");
        });
        assert!(panicked.join().is_err());
        let Ok((7, Event::Finished(report))) = events.recv() else { panic!("not a word") };
        assert!(report.failure.is_some_and(|words| words.contains("a worker panicked")));
    }
}
