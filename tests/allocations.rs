//! What a line costs in allocations: none for a delivery, and few for the line.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::{Client, TestServer};
use dhat::{HeapStats, Profiler};
use std::io::{Read, Write};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Lines that are measured.
const LINES: u64 = 620;

const LINE: &[u8] = b"the quick brown fox jumps over the lazy dog\n";

/// One by one: a line is said when all have the one before it.
fn say(members: &mut [Client], lines: u64, buffer: &mut [u8]) {
    for _ in 0..lines {
        members[0].stream().write_all(LINE).unwrap();
        for member in &mut *members {
            member.stream().read_exact(buffer).unwrap();
        }
    }
}

/// Allocations a line, this process being the server and its quiet clients.
#[allow(clippy::cast_precision_loss, reason = "counts are small")]
fn allocations_a_line(count: usize) -> f64 {
    let server = TestServer::start();
    let mut members: Vec<Client> = (0..count).map(|number| server.join("room", &format!("m{number}"))).collect();
    for (at, member) in members.iter_mut().enumerate() {
        for number in at + 1..count {
            member.expect_line(&format!("m{number} has joined"));
        }
    }
    let mut buffer = vec![0; "m0: ".len() + LINE.len()];
    // Buffers grow, and queues get their first blocks.
    say(&mut members, 100, &mut buffer);
    let before = HeapStats::get().total_blocks;
    say(&mut members, LINES, &mut buffer);
    (HeapStats::get().total_blocks - before) as f64 / LINES as f64
}

/// A line into a quiet room costs its parcel and the task of the pass, unless that runs still; a
/// block of the queue holds 31 operations. How many get the line makes no difference.
#[test]
fn delivery_allocates_nothing_and_a_line_at_most_twice() {
    let _profiler = Profiler::builder().testing().build();
    for members in [5, 105] {
        let allocations = allocations_a_line(members);
        println!("{allocations:.2} allocations a line to {members} members");
        assert!(allocations <= 2.0 + 2.0 / 31.0, "{allocations} allocations a line to {members} members");
    }
}
