//! Tests of the input of one connection: what one read takes, what waits, and how input ends.

use super::super::close_reason::CloseReason;
use super::super::delayed_line::Payment;
use super::super::input_flush::InputFlush;
use super::super::timers::Deadline;
use super::pair::{Pair, connection_of, context_of, pair};
use super::*;
use crate::config::LiveSettings;
use crate::limits::memory::{KERNEL_RECEIVE_BUFFER, MemoryBudget};
use crate::limits::rate::RateLimit;
use crate::peer::byte_sink::ByteSink;
use crate::protocol::join::JoinError;
use socket2::SockRef;
use std::num::NonZeroU32;
use std::pin::pin;
use std::task::{Context, Waker};
use tokio::net::TcpStream as TokioStream;

/// Returns a connection whose TCP client has reset it, which a write has reported.
fn reset_connection() -> Box<Connection> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    ours.set_nonblocking(true).unwrap();
    let stream = TokioStream::from_std(ours).unwrap();
    let context = context_of(Settings::default());
    let (connection, _queue) =
        connection_of(stream, None, ListenerProtocol::Raw, &context, &MemoryBudget::new(u64::MAX));
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    wait_until("the client has reset the connection", || !connection.peer.sink().is_connected());
    connection.peer.sink().try_write(b"x").unwrap_err();
    connection
}

#[tokio::test]
async fn reset_that_a_write_has_reported_is_no_end_of_input() {
    let mut connection = reset_connection();
    let reset = CloseReason::Lost(io::ErrorKind::ConnectionReset);
    assert_eq!(connection.check_connected(), Err(reset));
    assert_eq!(connection.read_received_input(), Err(reset));
}

/// The client closes with unread bytes: its system reports that as a reset.
#[tokio::test]
async fn failed_read_ends_the_connection() {
    let reset = CloseReason::Lost(io::ErrorKind::ConnectionReset);
    for waits_for_socket in [false, true] {
        let Pair { mut connection, client, .. } = pair(ListenerProtocol::Raw);
        connection.send_notice("unread\n");
        drop(client);
        let outcome =
            if waits_for_socket { connection.step().await } else { connection.read_received_input().map(|_| ()) };
        assert_eq!(outcome, Err(reset));
    }
}

#[tokio::test]
async fn read_takes_less_of_a_peer_that_has_used_half_of_a_rate() {
    for (lines, bytes, taken) in [(400, 1_000, 10_000), (900, 1_000, 2_048), (10, 900 << 10, 2_048)] {
        let mut pair = pair(ListenerProtocol::Raw);
        let live = pair.context.live.get();
        let now = Instant::now().into_std();
        pair.connection.line_rate.spend_many(lines, &RateLimit::new(live.rate, live.burst), now);
        pair.connection.byte_rate.spend_many(bytes, &RateLimit::new(live.byte_rate, live.byte_burst), now);
        pair.send("x".repeat(10_000));
        pair.connection.step().await.unwrap();
        assert_eq!(pair.connection.line_decoder.held_bytes(), taken, "{lines} lines and {bytes} bytes are used");
    }
}

#[tokio::test]
async fn bytes_beyond_their_rate_wait_before_they_are_processed() {
    let mut settings = Settings::default();
    settings.live.byte_burst = NonZeroU32::new(1_000).unwrap();
    let mut pair = Pair::member_of(settings).await;
    pair.send("x\n".repeat(1_000));
    pair.take_turn().unwrap();
    assert!(pair.connection.deadlines.is_set(Deadline::RateLimit));
    assert_eq!(pair.connection.held_input.as_ref().map(|held| held.len()), Some(2_000));
    assert_eq!(pair.connection.lines_in, 1);
}

/// Each turn reads one byte. The rate pays for 50 reads a second: a slow test reads some more.
#[tokio::test]
async fn many_reads_without_a_line_delay_the_next_one() {
    let mut pair = Pair::member().await;
    for reads in 1.. {
        pair.send("x");
        pair.take_turn().unwrap();
        if pair.connection.deadlines.is_set(Deadline::RateLimit) {
            assert!(reads >= 250, "{reads} reads are delayed");
            break;
        }
        assert!(reads < 100_000, "no number of reads delays the next one");
    }
    assert_eq!(pair.next_deadline().await, Deadline::RateLimit);
    assert!(!pair.connection.is_input_paused(), "the delayed read never comes");
}

#[tokio::test]
async fn reads_of_lines_and_reads_without_a_rate_of_lines_are_not_delayed() {
    let mut unlimited = Settings::default();
    unlimited.live.rate = 0;
    for (settings, segment) in [(Settings::default(), "x\n"), (unlimited, "x")] {
        let mut pair = Pair::member_of(settings).await;
        for _ in 0..400 {
            pair.send(segment);
            pair.take_turn().unwrap();
            assert!(!pair.connection.deadlines.is_set(Deadline::RateLimit), "{segment:?} is delayed");
        }
    }
}

/// The budget of one worker allows 20 slices at once and 1,000 in a second: a slow test uses some more.
#[tokio::test]
async fn connection_that_uses_up_many_slices_is_delayed_unless_the_rates_are_off() {
    let mut unlimited = Settings::default();
    unlimited.live.rate = 0;
    for (settings, is_delayed) in [(Settings::default(), true), (unlimited, false)] {
        let mut pair = Pair::member_of(settings).await;
        let mut slices = 0;
        while slices < 2_000 && !pair.connection.deadlines.is_set(Deadline::RateLimit) {
            pair.connection.slice.charge(1_024);
            pair.connection.charge_used_slice();
            pair.connection.slice.restart();
            slices += 1;
        }
        assert_eq!(pair.connection.deadlines.is_set(Deadline::RateLimit), is_delayed, "after {slices} slices");
        assert!(slices >= 20, "{slices} slices are delayed");
    }
}

#[tokio::test]
async fn held_input_is_processed_before_the_next_read() {
    let mut pair = Pair::member().await;
    pair.connection.held_input = Some(Box::new(Bytes::from_static(b"one\ntwo\n")));
    pair.send("three\n");
    pair.connection.read_input().unwrap();
    assert!(pair.connection.held_input.is_none());
    assert_eq!(pair.connection.lines_in, 3, "the next read came first");
}

/// The rate allows a line per second: a slow test processes a few lines more.
#[tokio::test]
async fn lines_beyond_their_rate_are_held_and_processed_later() {
    let mut settings = Settings::default();
    (settings.live.rate, settings.live.burst) = (1, NonZeroU32::new(3).unwrap());
    for prefix in [&b""[..], b"\xFF\xF1"] {
        let mut pair = Pair::member_of(settings.clone()).await;
        let lines = (1..=60).map(|number| format!("line {number:02}\n")).collect::<Vec<_>>().concat();
        pair.send([prefix, lines.as_bytes()].concat());
        for burst in [3, 6] {
            let mut live = pair.context.live.get();
            live.burst = NonZeroU32::new(burst).unwrap();
            pair.context.live.replace(live);
            pair.connection.deadlines.clear(Deadline::RateLimit);
            pair.take_turn().unwrap();
            let held = pair.connection.held_input.as_deref().unwrap();
            assert!(pair.connection.lines_in >= burst.into(), "lines within the burst wait");
            // The JOIN line was the first.
            let taken = usize::try_from(pair.connection.lines_in).unwrap() - 1;
            assert_eq!(&held[..], &lines.as_bytes()["line 00\n".len() * taken..]);
        }
    }
}

/// The byte 255 is sent twice, and begins a line that waits.
#[tokio::test]
async fn literal_byte_255_that_waits_is_kept() {
    let mut pair = Pair::member().await;
    let live = pair.context.live.get();
    // Lines wait for a thousand seconds.
    pair.connection.line_rate.spend_many(101_000, &RateLimit::new(live.rate, live.burst), Instant::now().into_std());
    pair.send(b"\xFF\xFFrest");
    pair.take_turn().unwrap();
    assert_eq!(pair.connection.held_input.as_deref().map(|held| &held[..]), Some(&b"rest"[..]));
    pair.context.live.replace(LiveSettings { rate: 0, ..live });
    pair.connection.deadlines.clear(Deadline::RateLimit);
    pair.take_turn().unwrap();
    assert_eq!(pair.connection.line_decoder.held_bytes(), 5);
}

#[tokio::test]
async fn one_read_of_chat_lines_stays_within_a_slice() {
    let mut pair = Pair::member().await;
    pair.send([&b"x".repeat(119)[..], b"\n"].concat().repeat(100));
    pair.take_turn().unwrap();
    assert_eq!(pair.connection.lines_in, 101);
    assert!(!pair.connection.slice.is_used_up());
}

#[tokio::test]
async fn end_of_input_ends_the_last_line() {
    let mut joining = pair(ListenerProtocol::Raw);
    joining.send("JOIN room alice");
    joining.client.shutdown(std::net::Shutdown::Write).unwrap();
    joining.take_turn().unwrap();
    assert_eq!(joining.take_turn(), Ok(()), "the connection ends before its room has answered");
    assert!(joining.connection.state.awaits_room());
    assert_eq!(joining.connection.lines_in, 1);
    let mut member = Pair::member().await;
    member.send("unfinished");
    member.client.shutdown(std::net::Shutdown::Write).unwrap();
    member.take_turn().unwrap();
    assert_eq!(member.take_turn(), Err(CloseReason::Eof));
    assert_eq!(member.connection.lines_in, 2);
}

#[tokio::test]
async fn end_of_input_without_a_join_line_is_a_bad_first_line() {
    let mut pair = pair(ListenerProtocol::Raw);
    pair.client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(pair.take_turn(), Err(CloseReason::BadJoin(JoinError::EndOfInput)));
}

#[tokio::test]
async fn flush_reads_all_that_the_system_has_received_and_then_ends() {
    let mut pair = Pair::member().await;
    pair.send([b"x".repeat(19_000), b"\n".to_vec(), b"y".repeat(19_000), b"\n".to_vec()].concat());
    pair.connection.begin_input_flush().unwrap();
    pair.connection.resume_input().unwrap();
    assert_eq!(pair.connection.input_flush, InputFlush::Done);
    assert_eq!(pair.connection.lines_in, 3);
}

/// The input is telnet commands without effect, so that nothing pauses the flush.
#[tokio::test]
async fn flush_of_a_peer_that_sends_on_and_on_ends_after_eight_reads() {
    let (flushed, sent) = (8 * (16 << 10), 150_000);
    let mut pair = pair(ListenerProtocol::Raw);
    SockRef::from(&pair.client).set_send_buffer_size(400_000).unwrap();
    pair.send(b"\xFF\xF1".repeat(sent / 2));
    pair.connection.begin_input_flush().unwrap();
    for _ in 0..1_000 {
        pair.connection.slice.restart();
        pair.connection.resume_input().unwrap();
    }
    assert_eq!(pair.connection.input_flush, InputFlush::Done);
    let mut rest = vec![0; sent];
    assert_eq!(pair.connection.peer.sink().read_received(&mut rest).unwrap(), sent - flushed);
}

#[tokio::test]
async fn flush_that_is_paused_reads_nothing() {
    let mut pair = Pair::member().await;
    pair.send("hi\n");
    pair.connection.begin_input_flush().unwrap();
    pair.connection.pending_output = Some(Box::default());
    pair.connection.continue_input_flush().unwrap();
    assert_eq!(pair.connection.lines_in, 1);
    assert!(pair.connection.is_flushing_input());
}

#[tokio::test]
async fn rooms_wait_until_each_connection_has_flushed_its_input() {
    let Pair { connection, context, .. } = pair(ListenerProtocol::Raw);
    let mut none_left = pin!(context.unflushed_inputs.wait_until_none());
    let mut waker = Context::from_waker(Waker::noop());
    assert!(none_left.as_mut().poll(&mut waker).is_pending(), "no connection is waited for");
    drop(connection);
    assert!(none_left.as_mut().poll(&mut waker).is_ready(), "a dropped connection is waited for");
}

#[tokio::test]
async fn each_kind_of_kept_input_is_charged_to_the_memory_budget() {
    let mut pair = Pair::member().await;
    assert_eq!(pair.memory.used(), 0);
    assert!(pair.connection.line_decoder.next_line(&mut &b"x".repeat(100)[..]).is_none());
    pair.connection.charge_kept_input();
    assert_eq!(pair.memory.used(), 100);
    pair.connection.held_input = Some(Box::new(Bytes::from(vec![b'x'; 1_000])));
    pair.connection.charge_kept_input();
    let held = 1_000 + KERNEL_RECEIVE_BUFFER as u64;
    assert_eq!(pair.memory.used(), 100 + held);
    pair.connection.blocked_input.get_or_insert_default();
    pair.connection.handle_waiting_line(b"/who", Payment::Due).unwrap();
    pair.connection.charge_kept_input();
    assert_eq!(pair.memory.used(), 100 + held + 4);
    pair.connection.take_blocked_command();
    pair.connection.peer.sink().address_budget().spend_command(80_000, Instant::now().into_std());
    pair.connection.handle_waiting_line(b"/nick al", Payment::Due).unwrap();
    pair.connection.charge_kept_input();
    assert_eq!(pair.memory.used(), 100 + held + 8);
}

#[tokio::test(start_paused = true)]
async fn delay_is_counted_by_how_much_it_is_later_than_the_one_before() {
    let mut pair = pair(ListenerProtocol::Raw);
    let now = Instant::now().into_std();
    for (seconds, counted) in [(2, 2), (5, 5), (3, 5)] {
        pair.connection.delay_input(now + Duration::from_secs(seconds), now);
        assert_eq!(pair.context.registry.counters().read().rate_limited_micros, counted * 1_000_000);
    }
    assert_eq!(pair.next_deadline().await, Deadline::RateLimit);
}
