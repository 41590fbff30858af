//! The memory ceiling: many readers stop reading, and what the server keeps for them stays bounded and is given back.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::{Client, DEADLINE, TestServer, read_lines_and_skip_notices, test_settings, wait_until};
use roomcast::limits::memory::{MemoryBudget, UNBLOCKED_ALLOWANCE, memory_beyond_ceiling};
use std::fs;
use std::num::NonZeroU64;

/// The text of each line, in bytes.
const TEXT: usize = 1_000;

/// The bytes that a talker sends at a time.
const WINDOW: usize = 16;

/// The bound of a backlog, in bytes.
const BACKLOG: usize = 1 << 20;

/// The worker threads of the server.
const WORKERS: u16 = 2;

/// The load of one test.
struct Load {
    rooms: usize,
    /// Readers of each room that stop.
    stopped: usize,
    /// Lines that the talker of each room says.
    lines: usize,
    ceiling: u64,
}

/// One room: a talker that reads, and readers that stopped.
struct Room {
    talker: Client,
    stopped: Vec<Client>,
}

impl Load {
    /// Returns the most bytes that may be charged, as the documentation of the budget computes them.
    fn most_charged(&self) -> u64 {
        let connections = (self.rooms * (self.stopped + 1)) as u64;
        let deferred = u64::from(WORKERS) * (BACKLOG + UNBLOCKED_ALLOWANCE) as u64;
        self.ceiling + connections * memory_beyond_ceiling(20_000) + deferred
    }

    fn join(&self, server: &TestServer, room: usize) -> Room {
        let room = format!("r{room}");
        let mut talker = server.join(&room, "talker");
        let join = |number| {
            let name = format!("s{number}");
            let client = server.join(&room, &name);
            talker.expect_line(&format!("{name} has joined"));
            client
        };
        let mut stopped: Vec<Client> = (0..self.stopped).map(join).collect();
        for (at, client) in stopped.iter_mut().enumerate() {
            (at + 1..self.stopped).for_each(|number| client.expect_line(&format!("s{number} has joined")));
        }
        Room { talker, stopped }
    }

    /// Lets the talkers of all rooms say their lines; each of them receives every line of its room, without a gap.
    fn say_all(&self, rooms: &mut [Room], memory: &MemoryBudget) -> u64 {
        let mut most = 0;
        for first in (0..self.lines).step_by(WINDOW) {
            let numbers = first..self.lines.min(first + WINDOW);
            for room in &mut *rooms {
                let lines: Vec<String> = numbers.clone().map(|number| line(number) + "\n").collect();
                room.talker.send(lines.concat());
                for number in numbers.clone() {
                    assert_eq!(room.talker.read_line(), format!("talker: {}", line(number)));
                }
                most = memory.used().max(most);
                assert!(most <= self.most_charged(), "{most} bytes are charged, {} may be", self.most_charged());
            }
        }
        most
    }
}

fn line(number: usize) -> String {
    format!("{number:08} {}", "x".repeat(TEXT - 9))
}

/// Reads all lines of each stopped reader; returns how many of them it was told as skipped.
fn read_all(rooms: &mut [Room], lines: usize) -> usize {
    let mut skipped = 0;
    for room in rooms {
        room.talker.send("end\n");
        room.talker.expect_line("talker: end");
        let expected = |number| if number < lines { format!("talker: {}", line(number)) } else { "talker: end".into() };
        let readers = room.stopped.iter_mut();
        skipped += readers.map(|reader| read_lines_and_skip_notices(reader, lines + 1, expected)).sum::<usize>();
    }
    skipped
}

/// Returns the resident memory of this process and the kernel memory of all TCP sockets of the machine, in bytes.
fn resident_and_kernel_memory() -> u64 {
    let number = |text: &str| text.split_whitespace().last().and_then(|word| word.parse::<u64>().ok()).unwrap();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    let sockets = fs::read_to_string("/proc/net/sockstat").unwrap();
    let tcp = sockets.lines().find(|line| line.starts_with("TCP:")).unwrap();
    number(resident.trim_end_matches(" kB")) * 1024 + number(tcp) * 4096
}

/// Runs the load. Checks the charged bytes during it, what each reader is told after it, and that all is given back.
fn run(load: &Load, checks_process: bool) {
    let server = TestServer::start_with(test_settings(|settings| {
        settings.network.memory = NonZeroU64::new(load.ceiling);
        settings.network.workers = Some(WORKERS);
        settings.live.rate = 0;
        settings.live.byte_rate = 0;
        settings.live.backlog = BACKLOG;
        // The readers stop for longer on a busy machine.
        (settings.live.stall_timeout, settings.live.dead_timeout) = (10 * DEADLINE, 10 * DEADLINE);
        settings.network.max_per_address = 0;
    }));
    let memory = server.stats.memory();
    assert_eq!(memory.used(), 0);
    let mut rooms: Vec<Room> = (0..load.rooms).map(|room| load.join(&server, room)).collect();
    let before = resident_and_kernel_memory();
    let most = load.say_all(&mut rooms, memory);
    assert!(most > load.ceiling / 4 * 3, "the load does not come near the ceiling: {most} bytes");
    if checks_process {
        let grown = resident_and_kernel_memory().saturating_sub(before);
        assert!(grown <= load.most_charged(), "{grown} bytes more, {} may be charged", load.most_charged());
    }
    let skipped = read_all(&mut rooms, load.lines);
    assert!(skipped > 0, "no line was skipped at the ceiling");
    wait_until("readers that caught up are charged for nothing", || memory.backlogs() == 0);
    drop(rooms);
    wait_until("all memory is released", || memory.used() == 0);
    wait_until("all connections end", || server.stats.connections() == 0);
}

/// Each room has a batch of its own, so the backlogs of all rooms exceed the ceiling.
#[test]
fn stopped_readers_of_many_rooms_stay_within_the_ceiling_and_are_told_what_they_missed() {
    run(&Load { rooms: 12, stopped: 2, lines: 1_600, ceiling: 8 << 20 }, false);
}

/// One room shares the memory of its lines among its readers: their kernel buffers take most of the ceiling.
#[test]
fn stopped_readers_of_one_room_share_its_lines() {
    run(&Load { rooms: 1, stopped: 19, lines: 3_000, ceiling: 5 << 20 }, false);
}

#[test]
#[ignore = "stress: run it in release mode"]
fn thousand_stopped_readers_with_a_gigabyte_owed_stay_within_the_ceiling() {
    run(&Load { rooms: 500, stopped: 2, lines: 1_500, ceiling: 256 << 20 }, true);
}

/// The kernel's buffers of the stopped readers alone are twice the ceiling, and no line that is dropped frees them.
#[test]
fn stopped_readers_beyond_the_ceiling_are_closed_until_the_others_fit() {
    const READERS: usize = 64;
    const CEILING: u64 = 4 << 20;
    let server = TestServer::start_with(test_settings(|settings| {
        (settings.live.rate, settings.live.byte_rate) = (0, 0);
        settings.live.backlog = 256 << 10;
        settings.network.memory = NonZeroU64::new(CEILING);
    }));
    let mut talker = server.join("room", "talker");
    let readers: Vec<_> = (0..READERS).map(|number| server.join("room", &format!("s{number}"))).collect();
    talker.skip_to_line(&format!("s{} has joined", READERS - 1));
    // The clients' own kernel buffers take some megabytes first.
    for number in (0..40_000).take_while(|_| server.stats.connections() == 1 + READERS) {
        let text = line(number);
        talker.send(format!("{text}\n"));
        // Notices of readers that were closed may come between the lines.
        talker.skip_to_line(&format!("talker: {text}"));
    }
    assert!(server.stats.connections() < 1 + READERS, "no reader was closed");
    wait_until("the charged memory is within the ceiling", || server.stats.memory().used() <= CEILING);
    drop(readers);
    wait_until("the memory of all readers is released", || server.stats.connections() == 1);
}
