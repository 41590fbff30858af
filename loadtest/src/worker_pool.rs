//! The workers of a run: threads of this process, or threads of child processes that are controlled through pipes.

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

/// The hidden subcommand of a child process.
pub const SUBCOMMAND: &str = "worker";

/// All workers of a run.
pub(crate) struct WorkerPool {
    /// The connections to the workers.
    links: Vec<Link>,
    /// The workers' events, each with the worker's number.
    events: Receiver<(usize, Event)>,
    /// The number of workers.
    workers: usize,
}

/// The connection to one worker, or to the workers of one child process.
enum Link {
    /// A worker that is a thread of this process.
    Thread { commands: Sender<Command>, waker: Arc<OnceLock<Arc<Waker>>> },
    /// A child process with several workers.
    Process { child: Child, commands: ChildStdin },
}

impl WorkerPool {
    /// Starts one worker for each share: as threads of this process, or spread over `processes` child processes.
    ///
    /// # Errors
    /// Fails when a process cannot be started.
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

    /// Returns the number of workers.
    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    /// Sends a command to all workers. A worker that has finished ignores it.
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

    /// Returns the next event before a deadline, if there is one.
    pub(crate) fn next_event(&self, deadline: Tick) -> Option<(usize, Event)> {
        let wait = std::time::Duration::from_nanos(deadline.saturating_sub(now()));
        self.events.recv_timeout(wait).ok()
    }

    /// Writes all events of a child process to `out` until every worker has finished.
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
    /// Closes the standard input of each child process, which ends it, and waits for it.
    fn drop(&mut self) {
        for link in self.links.drain(..) {
            if let Link::Process { mut child, commands } = link {
                drop(commands);
                let _ = child.wait();
            }
        }
    }
}

/// Sends a failure when its worker's thread panics, so that the coordinator does not wait for it.
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
        // Sending fails only when the coordinator has ended.
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
        // A process group of its own keeps the terminal's Ctrl-C from the child: the parent sends it a command instead.
        .process_group(0)
        .spawn()?;
    let broken = || io::Error::other("a worker process has no pipes");
    let mut commands = child.stdin.take().ok_or_else(broken)?;
    let events = child.stdout.take().ok_or_else(broken)?;
    write_line(&mut commands, &shares)?;
    let workers = shares.iter().map(|(number, _)| *number).collect();
    let events_out = events_out.clone();
    thread::spawn(move || read_child_events(events, workers, &events_out));
    Ok(Link::Process { child, commands })
}

/// Forwards the events of a child process. When the child ends early, sends a failure for each worker that has not
/// finished.
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
    let workers = shares.len();
    let links: Vec<Link> = shares.into_iter().map(|share| start_thread(share, &events_out)).collect();
    let (_, nothing) = mpsc::channel();
    let mut workers_here = WorkerPool { links, events: nothing, workers };
    thread::spawn(move || {
        for line in input {
            let Some(command) = line.ok().and_then(|line| serde_json::from_str(&line).ok()) else { break };
            workers_here.broadcast(command);
        }
        // The end of standard input means that the parent has ended.
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
    fn panicking_worker_sends_a_failure() {
        let (events_out, events) = mpsc::channel();
        let panicked = thread::spawn(move || {
            let _panic_reporter = PanicReporter { number: 7, events_out };
            panic!("panic of the test");
        });
        assert!(panicked.join().is_err());
        let Ok((7, Event::Finished(report))) = events.recv() else { panic!("no event") };
        assert!(report.failure.is_some_and(|words| words.contains("a worker panicked")));
    }
}
