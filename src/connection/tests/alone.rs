//! Tests of one connection without its event loop: what its input is charged, and when it ends.

use super::super::close_reason::CloseReason;
use super::super::delayed_line::Payment;
use super::super::event_loop::Event;
use super::super::timers::Deadline;
use super::pair::{Pair, pair};
use super::*;
use crate::metrics::counters::MetricsDelta;
use crate::peer::events::{MembershipSlot, PeerEvents};
use crate::peer::line_batch::LineBatch;
use crate::text::time::Minute;
use std::io::Read;
use std::net::Shutdown;
use std::time::Duration;

/// More command bytes than the telnet budget has at once.
const BEYOND_THE_BUDGET: usize = 40 << 10;

#[tokio::test]
async fn line_after_many_telnet_commands_waits_for_their_budget() {
    let mut pair = pair(ListenerProtocol::Raw);
    pair.send([&b"\xFF\xF1".repeat(BEYOND_THE_BUDGET / 2)[..], b"JOIN room alice\n"].concat());
    pair.take_turns_until_delayed();
    assert!(pair.connection.is_input_paused());
    assert_eq!(pair.connection.lines_in, 0, "the line is taken although its telnet commands are not paid for");
}

/// The server ends: a telnet client's last lines are said although its commands are not paid for.
#[tokio::test]
async fn line_after_many_telnet_commands_does_not_wait_in_the_flush_at_shutdown() {
    let mut pair = pair(ListenerProtocol::Raw);
    pair.connection.begin_input_flush().unwrap();
    pair.send([&b"\xFF\xF1".repeat(BEYOND_THE_BUDGET / 2)[..], b"JOIN room alice\n"].concat());
    for _ in 0..20 {
        pair.take_turn().unwrap();
        assert!(!pair.connection.deadlines.is_set(Deadline::RateLimit), "the flush is delayed");
    }
    assert_eq!(pair.connection.lines_in, 1);
}

#[tokio::test]
async fn no_input_is_charged_to_the_telnet_budget_without_telnet_commands() {
    let mut pair = pair(ListenerProtocol::Raw);
    pair.send("x".repeat(15_000));
    pair.take_turn().unwrap();
    assert!(!pair.connection.deadlines.is_set(Deadline::RateLimit) && !pair.connection.is_input_paused());
}

#[tokio::test]
async fn join_after_the_rooms_are_shut_down_ends_its_connection() {
    let mut pair = pair(ListenerProtocol::Raw);
    pair.context.registry.shut_down();
    pair.send("JOIN room alice\n");
    assert_eq!(pair.take_turn(), Err(CloseReason::Shutdown));
}

#[tokio::test]
async fn member_that_joins_another_room_after_the_shutdown_waits_for_the_notice_of_its_own() {
    let mut pair = Pair::member().await;
    pair.context.registry.shut_down();
    pair.send("/join other\n");
    assert_eq!(pair.take_turn(), Ok(()));
    let end = loop {
        if let Event::Raised(events) = pair.connection.next_event().await {
            let ends =
                MembershipSlot::ALL.map(|slot| pair.connection.handle_room_events(slot, events.of_slot(slot)).end);
            if let Some(end) = ends.into_iter().flatten().next() {
                break end;
            }
        }
    };
    assert!(matches!(end, super::super::state::MembershipEnd::Shutdown), "{end:?}");
}

/// The client reads nothing and sends nothing, and its room goes on: only the grace ends the membership.
#[tokio::test(start_paused = true)]
async fn member_that_cannot_be_written_to_leaves_after_the_read_grace() {
    let mut pair = pair(ListenerProtocol::Raw);
    pair.client.shutdown(Shutdown::Read).unwrap();
    pair.send("JOIN room alice\nlast words\n");
    let (start, registry) = (Instant::now(), Arc::clone(&pair.context.registry));
    let serving = tokio::spawn(pair.connection.serve());
    tokio::time::timeout(Duration::from_secs(30), serving).await.expect("the member stays").unwrap();
    assert!((5..=8).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    registry.tracker().close();
    registry.tracker().wait().await;
    assert!(registry.is_empty());
}

/// Events come all the time; none of them moves the deadline.
#[tokio::test(start_paused = true)]
async fn peer_that_takes_nothing_is_closed_after_its_flush_deadline_whatever_events_come() {
    let mut pair = pair(ListenerProtocol::Raw);
    let lines = LineBatch::new(Bytes::from(vec![b'\n'; 900_000]), 900_000, Minute(1));
    let mut metrics = MetricsDelta::default();
    pair.connection.peer.deliver(&lines, &mut metrics);
    pair.connection.begin_draining();
    pair.connection.drain_output();
    assert_eq!(pair.connection.output_status, OutputStatus::Waiting, "the socket has taken all");
    let peer = Arc::clone(&pair.connection.peer);
    let raising = tokio::spawn(async move {
        for _ in 0..1_000 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            peer.raise(PeerEvents::OUTPUT_BLOCKED, &mut MetricsDelta::default());
        }
    });
    let seconds = pair.close(CloseReason::Quit).await;
    // The flush takes 2 s, and the lingering close one more.
    assert!((2..=4).contains(&seconds), "{seconds}");
    raising.abort();
}

/// The peer empties the socket every 1.9 s, so each time moves the deadline of the flush, up to its total time.
#[tokio::test(start_paused = true)]
async fn peer_that_reads_slowly_at_its_close_is_cut_off_after_the_total_time() {
    let mut pair = pair(ListenerProtocol::Raw);
    let lines = LineBatch::new(Bytes::from(vec![b'\n'; 900_000]), 900_000, Minute(1));
    pair.connection.peer.deliver(&lines, &mut MetricsDelta::default());
    pair.connection.begin_draining();
    pair.connection.drain_output();
    let mut client = pair.client.try_clone().unwrap();
    client.set_nonblocking(true).unwrap();
    let reading = tokio::spawn(async move {
        let mut read = vec![0; 1 << 20];
        loop {
            tokio::time::sleep(Duration::from_millis(1_900)).await;
            while client.read(&mut read).is_ok_and(|count| count > 0) {}
        }
    });
    let seconds = pair.close(CloseReason::Quit).await;
    assert!((29..=33).contains(&seconds), "{seconds}");
    reading.abort();
}

/// The commands before it have used the budget of their address up.
#[tokio::test]
async fn command_that_waits_for_its_address_is_given_back_at_the_close() {
    let mut pair = Pair::member().await;
    let now = Instant::now().into_std();
    pair.connection.peer.sink().address_budget().spend_command(8_000, now);
    pair.send("/nick al\n");
    pair.take_turn().unwrap();
    assert!(pair.connection.delayed_line.is_some() && pair.connection.is_input_paused());
    pair.connection.cancel_delayed_line();
    // One unit is allowed a quarter of a millisecond after the burst, and the rename's five units are not owed.
    let wait = pair.connection.peer.sink().address_budget().spend_command(1, now).saturating_duration_since(now);
    assert!(wait <= Duration::from_micros(250), "{wait:?}");
}

#[tokio::test]
async fn delayed_line_waits_until_its_address_has_paid() {
    let mut pair = Pair::member().await;
    let now = Instant::now().into_std();
    pair.connection.peer.sink().address_budget().spend_command(80_000, now);
    pair.send("/who\n");
    pair.take_turn().unwrap();
    assert!(pair.connection.deadlines.is_set(Deadline::AddressBudget));
    pair.connection.deadlines.clear(Deadline::AddressBudget);
    assert_eq!(pair.connection.check_delayed_line(), Ok(()));
    assert!(pair.connection.delayed_line.is_some(), "the line waits on");
    assert!(pair.connection.deadlines.is_set(Deadline::AddressBudget), "a later check is due");
    pair.connection.handle_delayed_line().unwrap();
    assert!(pair.connection.state.awaits_room(), "the command runs once its address has paid");
}

#[tokio::test]
async fn join_line_waits_until_its_address_has_paid_for_earlier_joins() {
    let mut pair = pair(ListenerProtocol::Raw);
    let now = Instant::now().into_std();
    pair.connection.peer.sink().address_budget().charge_membership_change(u32::MAX, now);
    pair.send("JOIN room alice\n");
    pair.take_turn().unwrap();
    assert!(pair.connection.delayed_line.is_some() && pair.connection.deadlines.is_set(Deadline::AddressBudget));
    assert!(matches!(pair.connection.state, ConnectionState::NotJoined));
    pair.connection.handle_delayed_line().unwrap();
    assert!(pair.connection.state.awaits_room(), "the connection joins once its address has paid");
}

#[tokio::test]
async fn budget_of_the_address_is_lifted_by_a_rate_of_zero_or_by_the_flush_of_the_input() {
    let mut unlimited = pair(ListenerProtocol::Raw);
    assert!(!unlimited.connection.has_no_line_limit());
    let mut live = unlimited.context.live.get();
    live.rate = 0;
    unlimited.context.live.replace(live);
    assert!(unlimited.connection.has_no_line_limit());
    let mut flushed = pair(ListenerProtocol::Raw);
    flushed.connection.begin_input_flush().unwrap();
    assert!(flushed.connection.has_no_line_limit());
    unlimited.connection.peer.sink().address_budget().charge_membership_change(u32::MAX, Instant::now().into_std());
    unlimited.send("JOIN room alice\n");
    unlimited.take_turn().unwrap();
    assert!(unlimited.connection.state.awaits_room(), "the JOIN line is delayed");
}

#[tokio::test]
async fn command_waits_until_the_room_has_taken_the_lines_before_it() {
    let mut pair = Pair::member().await;
    pair.connection.slice.restart();
    assert!(!pair.connection.is_input_paused());
    pair.connection.blocked_input.get_or_insert_default();
    assert!(pair.connection.is_input_paused(), "blocked lines pause input");
    assert_eq!((pair.connection.blocked_command_len(), pair.connection.count_unprocessed_lines()), (0, 0));
    pair.connection.handle_waiting_line(b"/who", Payment::Due).unwrap();
    assert!(!pair.connection.state.awaits_room(), "the command runs before the lines");
    assert_eq!((pair.connection.blocked_command_len(), pair.connection.count_unprocessed_lines()), (4, 1));
    pair.connection.held_input = Some(Box::new(Bytes::from_static(b"one\ntwo\nunfinished")));
    assert_eq!(pair.connection.count_unprocessed_lines(), 3, "held lines are counted, too");
    pair.connection.run_blocked_command().unwrap();
    assert!(pair.connection.state.awaits_room(), "the command runs once the room has taken the lines");
    assert_eq!(pair.connection.blocked_command_len(), 0);
}

#[tokio::test]
async fn lines_after_a_delayed_command_are_counted_with_it() {
    let mut pair = Pair::member().await;
    pair.connection.peer.sink().address_budget().spend_command(80_000, Instant::now().into_std());
    pair.send("/nick al\none\ntwo\n");
    pair.take_turn().unwrap();
    assert_eq!(pair.connection.count_unprocessed_lines(), 3);
    assert_eq!(pair.connection.delayed_line.as_ref().map(|delayed| delayed.len()), Some("/nick al".len()));
}

#[tokio::test]
async fn input_waits_for_each_of_its_reasons_alone() {
    let mut pair = pair(ListenerProtocol::Raw);
    let connection = &mut pair.connection;
    assert!(!connection.is_input_paused());
    connection.pending_output = Some(Box::default());
    assert!(connection.is_input_paused(), "output of the connection waits for the write lock");
    connection.pending_output = None;
    connection.unwritten = 256 << 10;
    assert!(!connection.is_input_paused(), "unwritten bytes are at their limit, not beyond it");
    connection.unwritten += 1;
    assert!(connection.is_input_paused(), "unwritten bytes are beyond their limit");
    connection.begin_input_flush().unwrap();
    assert!(!connection.is_input_paused(), "the flush of the input waits for unwritten bytes");
}

#[tokio::test]
async fn delayed_rename_goes_on_as_soon_as_its_address_has_paid() {
    let mut pair = Pair::member().await;
    let now = std::time::Instant::now();
    pair.connection.peer.sink().address_budget().spend_command(8_000, now);
    pair.send("/nick al\n");
    pair.take_turn().unwrap();
    // The rename's five units are paid for in less than 2 ms.
    wait_until("the address has paid", || now.elapsed() >= Duration::from_millis(20));
    pair.connection.check_delayed_line().unwrap();
    assert!(pair.connection.delayed_line.is_none());
}

#[tokio::test(start_paused = true)]
async fn connection_with_a_delayed_line_is_checked_after_a_second() {
    let mut pair = Pair::member().await;
    pair.connection.peer.sink().address_budget().spend_command(80_000, std::time::Instant::now());
    pair.send("/who\n");
    pair.take_turn().unwrap();
    assert!(pair.connection.deadlines.is_set(Deadline::AddressBudget));
    assert!(tokio::time::timeout(Duration::ZERO, pair.next_deadline()).await.is_err(), "the check is due at once");
}
