//! All peers of some rooms are reset at one moment.

use crate::common::{Client, DEADLINE, TestServer, test_settings, wait_until};
use roomcast::Settings;
use socket2::{Domain, SockRef, Socket, Type};
use std::collections::BTreeSet;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU64;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

const ROOMS: usize = 5;
const MEMBERS: usize = 500;

/// Threads that reset members at the same moment.
const RESETTERS: usize = 4;

/// Lines that each witness says, and their bytes: more than the sockets of a member take that reads nothing.
const LINES: usize = 30;
const LINE_BYTES: usize = 15_000;

/// Memory that the server charges for each member that reads nothing: its kernel send buffer.
const CHARGED_FOR_MEMBER: u64 = 128 << 10;

/// Joins a member that reads nothing and whose kernel keeps few bytes for it.
fn join_without_reading(address: SocketAddr, number: usize) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(format!("JOIN room{} member{number}\n", number % ROOMS).as_bytes()).unwrap();
    stream
}

/// Returns the notices about all members of one room.
fn notices(room: usize, what: &str) -> BTreeSet<String> {
    (room..MEMBERS).step_by(ROOMS).map(|member| format!("member{member} has {what}")).collect()
}

/// Reads as many lines, none of which comes twice.
#[track_caller]
fn read_distinct_lines(client: &mut Client, count: usize) -> BTreeSet<String> {
    let lines: BTreeSet<String> = (0..count).map(|_| client.read_line()).collect();
    assert_eq!(lines.len(), count, "a line came twice: {lines:?}");
    lines
}

/// Resets all connections at the same moment, from several threads.
fn reset_at_once(members: Vec<TcpStream>) {
    let barrier = Barrier::new(RESETTERS);
    let mut shares: Vec<Vec<TcpStream>> = (0..RESETTERS).map(|_| Vec::new()).collect();
    for (number, member) in members.into_iter().enumerate() {
        SockRef::from(&member).set_linger(Some(Duration::ZERO)).unwrap();
        shares[number % RESETTERS].push(member);
    }
    thread::scope(|scope| {
        for share in shares {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                drop(share);
            });
        }
    });
}

fn settings(settings: &mut Settings) {
    (settings.live.rate, settings.live.byte_rate) = (0, 0);
    settings.rooms.history_lines = 0;
    settings.network.memory = NonZeroU64::new(1 << 30);
}

#[test]
fn members_that_are_reset_at_once_leave_once_each_and_release_what_they_held() {
    let server = TestServer::start_with(test_settings(settings));
    let mut witnesses: Vec<Client> = (0..ROOMS).map(|room| server.join(&format!("room{room}"), "witness")).collect();
    let (mut alice, mut bob) = server.join_pair("elsewhere", "alice", "bob");
    // Without a history, rooms hold memory in their passes alone.
    wait_until("the passes of the joins have ended", || server.stats.memory().used() == 0);
    let tasks = server.alive_tasks();

    let members: Vec<TcpStream> = (0..MEMBERS).map(|number| join_without_reading(server.address, number)).collect();
    for (room, witness) in witnesses.iter_mut().enumerate() {
        assert_eq!(read_distinct_lines(witness, MEMBERS / ROOMS), notices(room, "joined"));
        let text = "x".repeat(LINE_BYTES);
        for _ in 0..LINES {
            witness.send(format!("{text}\n"));
            witness.expect_line(&format!("witness: {text}"));
        }
    }
    let owed = CHARGED_FOR_MEMBER * MEMBERS as u64;
    wait_until("all members have a backlog", || server.stats.memory().used() > owed);

    reset_at_once(members);
    for (room, witness) in witnesses.iter_mut().enumerate() {
        assert_eq!(read_distinct_lines(witness, MEMBERS / ROOMS), notices(room, "left"));
        witness.send("done\n");
        witness.expect_line("witness: done");
    }
    alice.send("still here\n");
    for client in [&mut alice, &mut bob] {
        client.expect_line("alice: still here");
    }
    wait_until("all connections are closed", || server.stats.connections() == ROOMS + 2);
    wait_until("all tasks have ended", || server.alive_tasks() <= tasks);
    wait_until("all memory is released", || server.stats.memory().used() == 0);
    assert_eq!(server.stats.rooms(), ROOMS + 1);
}
