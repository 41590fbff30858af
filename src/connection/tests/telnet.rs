//! Tests of the telnet commands of one connection: what answers them, and how many of them are answered.

use super::super::timers::Deadline;
use super::pair::{Pair, pair};
use super::*;
use std::io::Read;

/// Returns all bytes for the client, which reads them.
fn read_all(pair: &mut Pair) -> Vec<u8> {
    let (mut all, mut part) = (Vec::new(), vec![0; 64 << 10]);
    pair.client.set_nonblocking(true).unwrap();
    while let Ok(count) = pair.client.read(&mut part) {
        all.extend_from_slice(&part[..count]);
        pair.connection.drain_output();
    }
    all
}

#[tokio::test]
async fn peer_is_a_network_virtual_terminal_by_its_commands_its_line_ends_or_its_listener() {
    assert!(pair(ListenerProtocol::Telnet).connection.is_nvt());
    for (sent, is_nvt) in [(&b"hello"[..], false), (b"\xFF\xF1hello", true), (b"JOIN room alice\r\0", true)] {
        let mut pair = pair(ListenerProtocol::Raw);
        pair.send(sent);
        pair.take_turn().unwrap();
        assert_eq!(pair.connection.is_nvt(), is_nvt, "{sent:?}");
    }
}

#[tokio::test]
async fn are_you_there_is_answered_once_in_a_read() {
    let mut pair = Pair::member().await;
    pair.send(b"\xFF\xF6\xFF\xF6\xFF\xF6");
    pair.take_turn().unwrap();
    assert_eq!(pair.received().matches("*** yes, roomcast is here").count(), 1);
}

#[tokio::test]
async fn requests_of_unknown_options_are_refused_up_to_a_bound() {
    let mut pair = Pair::member().await;
    pair.send(b"\xFF\xFD\x63".repeat(1_000));
    pair.take_turn().unwrap();
    while pair.connection.held_input.is_some() {
        pair.take_turn().unwrap();
    }
    let received = read_all(&mut pair);
    let refusals = received.windows(3).filter(|bytes| *bytes == b"\xFF\xFC\x63").count();
    // The budget is 200 at once, and a few more that become due meanwhile.
    assert!((200..900).contains(&refusals), "{refusals}");
}

#[tokio::test(start_paused = true)]
async fn notice_about_an_interrupt_follows_its_timing_mark() {
    let mut pair = Pair::member().await;
    pair.send(b"typed\xFF\xF4\xFF\xFD\x63");
    pair.take_turn().unwrap();
    assert_eq!(pair.connection.line_decoder.held_bytes(), 0, "the interrupt does not drop the line");
    assert!(pair.connection.deadlines.is_set(Deadline::InterruptNotice), "another option than the mark ends the wait");
    assert!(!pair.received().contains("***"));
    pair.send(b"\xFF\xFD\x06");
    pair.take_turn().unwrap();
    assert!(pair.received().ends_with("*** the line was dropped; /quit leaves\r\n"));
    assert!(!pair.connection.deadlines.is_set(Deadline::InterruptNotice));
}

#[tokio::test(start_paused = true)]
async fn notice_about_an_interrupt_without_a_timing_mark_follows_after_a_moment() {
    let mut pair = Pair::member().await;
    pair.send(b"typed\xFF\xF4");
    pair.take_turn().unwrap();
    let start = Instant::now();
    assert_eq!(pair.next_deadline().await, Deadline::InterruptNotice);
    assert_eq!(start.elapsed().as_millis() / 100, 2);
    pair.connection.handle_deadline(Deadline::InterruptNotice).unwrap();
    assert!(pair.received().ends_with("*** the line was dropped; /quit leaves\r\n"));
}
