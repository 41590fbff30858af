//! The time after an attack: the server must become idle, and nothing of the attack may be left.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use super::monitor::descriptors;
use super::result::Observation;
use super::server_pair::WatchedServer;
use crate::clock::{SECOND, Tick, now, ticks};
use crate::format::escape_controls;
use crate::interrupt;

/// Time after which the server must be idle.
const IDLE_BOUND: Tick = 2 * SECOND;
/// Length of the windows in which the server's CPU time is measured.
const IDLE_WINDOW: Duration = Duration::from_millis(250);
/// Cores above the calm ones that count as noise.
const IDLE_SLACK: f64 = 0.05;
/// The factor by which an idle server's CPU time may exceed the calm one.
const IDLE_FACTOR: f64 = 1.5;
/// Time within which the server must have delivered the lines that it has received: a receive buffer of empty lines, at the
/// default rate.
const LINES_TIME: Duration = Duration::from_secs(300);
/// Interval of the checks after the attack.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);
/// Time within which the server must answer the probe.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The resources that a server without clients uses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rest {
    /// Open descriptors.
    pub(super) descriptors: u64,
    /// Cores.
    pub(super) cores: f64,
}

/// Measures a server that has no clients.
pub(super) fn measure_rest(watched: &WatchedServer) -> Rest {
    Rest { descriptors: descriptors(watched.server.pid()), cores: cores_in_window(watched) }
}

/// Waits until a server without clients is idle and has released everything, and stores what it did not release within
/// the time to settle. After an attack that leaves lines the server is idle when it has delivered them.
pub(super) fn check_aftermath(
    watched: &WatchedServer,
    rest: Rest,
    (settle, leaves_lines): (Duration, bool),
    seen: &mut Observation,
) {
    let pid = watched.server.pid();
    let left = || descriptors(pid).saturating_sub(rest.descriptors);
    let settle = if leaves_lines { settle.max(LINES_TIME) } else { settle };
    let deadline = now().saturating_add(ticks(settle));
    if leaves_lines {
        wait_until(deadline, || left() == 0);
    }
    let start = now();
    let bound = rest.cores * IDLE_FACTOR + IDLE_SLACK;
    seen.idle_after = loop {
        let from = now().saturating_sub(start);
        if cores_in_window(watched) <= bound {
            break Some(from as f64 / SECOND as f64);
        }
        if from >= IDLE_BOUND || interrupt::caught_signal().is_some() {
            break None;
        }
    };
    wait_until(deadline, || left() == 0);
    seen.descriptors_left = left();
    seen.left_over = probe_left_over(watched.server.address(), deadline);
}

/// Returns the cores that a server uses over [`IDLE_WINDOW`].
fn cores_in_window(watched: &WatchedServer) -> f64 {
    let (start, cpu) = (now(), watched.cpu());
    thread::sleep(IDLE_WINDOW);
    watched.cpu().saturating_sub(cpu) as f64 / now().saturating_sub(start).max(1) as f64
}

/// Waits until a condition holds, a signal arrives or the deadline is over.
fn wait_until(deadline: Tick, condition: impl Fn() -> bool) {
    while !condition() && now() < deadline && interrupt::caught_signal().is_none() {
        thread::sleep(CHECK_INTERVAL);
    }
}

/// Returns what a probe client sees of rooms and members other than its own, at the latest at a deadline; an empty text
/// where it sees itself only.
fn probe_left_over(address: SocketAddr, deadline: Tick) -> String {
    loop {
        let seen = ask(address).unwrap_or_else(|error| format!("the probe got no answer: {error}"));
        if seen.is_empty() || now() >= deadline || interrupt::caught_signal().is_some() {
            return seen;
        }
        thread::sleep(CHECK_INTERVAL * 10);
    }
}

/// Joins a room as a probe, and asks for rooms and members. Returns the answers that name more than the probe.
fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_TIMEOUT)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(b"JOIN zoo-probe probe\n/rooms\n/who\n")?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let mut answers = lines.by_ref().map_while(Result::ok).filter(|line| line.starts_with("*** "));
    let (rooms, members) = (answers.next().unwrap_or_default(), answers.next().unwrap_or_default());
    drop(answers);
    stream.write_all(b"/quit\n")?;
    lines.map_while(Result::ok).for_each(drop);
    Ok(left_over(&rooms, &members))
}

/// Returns the answers to `/rooms` and `/who` that name more than one room or member. The text is shortened.
fn left_over(rooms: &str, members: &str) -> String {
    let alone = |answer: &str| answer.strip_prefix("*** 1 ").is_some();
    let extra: Vec<String> = [rooms, members]
        .into_iter()
        .filter(|answer| !alone(answer))
        .map(|answer| escape_controls(&answer.chars().take(120).collect::<String>()))
        .collect();
    extra.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_name_the_probe_alone_show_nothing_left() {
        let rooms = "*** 1 room: zoo-probe (1); you are in zoo-probe";
        assert_eq!(left_over(rooms, "*** 1 in zoo-probe: probe"), "");
        assert_eq!(
            left_over("*** 2 rooms: pit (1), zoo-probe (1)", "*** 1 in zoo-probe: probe"),
            "*** 2 rooms: pit (1), zoo-probe (1)"
        );
        assert_eq!(left_over(rooms, "*** 12 in zoo-probe: a"), "*** 12 in zoo-probe: a");
    }
}
