//! Counts allocations: none for a delivery, and at most two for a line.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::{Client, TestServer};
use dhat::{HeapStats, Profiler};
use std::io::{Read, Write};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// The number of lines that are measured.
const LINES: u64 = 620;

const LINE: &[u8] = b"the quick brown fox jumps over the lazy dog\n";

/// Sends lines one by one: each after every member has received the one before it.
fn send_lines(members: &mut [Client], lines: u64, buffer: &mut [u8]) {
    for _ in 0..lines {
        members[0].stream().write_all(LINE).unwrap();
        for member in &mut *members {
            member.stream().read_exact(buffer).unwrap();
        }
    }
}

/// Returns the allocations for each line. This process is the server and its clients.
#[allow(clippy::cast_precision_loss, reason = "counts are small")]
fn allocations_per_line(count: usize) -> f64 {
    let server = TestServer::start();
    let mut members: Vec<Client> = (0..count).map(|number| server.join("room", &format!("m{number}"))).collect();
    for (at, member) in members.iter_mut().enumerate() {
        for number in at + 1..count {
            member.expect_line(&format!("m{number} has joined"));
        }
    }
    let mut buffer = vec![0; "m0: ".len() + LINE.len()];
    // The first lines grow buffers and allocate the first blocks of queues.
    send_lines(&mut members, 100, &mut buffer);
    let before = HeapStats::get().total_blocks;
    send_lines(&mut members, LINES, &mut buffer);
    (HeapStats::get().total_blocks - before) as f64 / LINES as f64
}

/// A line into a quiet room allocates its bytes and the task of the pass, unless a pass still runs. A
/// block of the queue holds 31 operations. The number of receivers makes no difference.
#[test]
fn delivery_allocates_nothing_and_a_line_at_most_twice() {
    let _profiler = Profiler::builder().testing().build();
    for members in [5, 105] {
        let allocations = allocations_per_line(members);
        println!("{allocations:.2} allocations a line to {members} members");
        assert!(allocations <= 2.0 + 2.0 / 31.0, "{allocations} allocations a line to {members} members");
    }
}
