//! Tests of the close of one connection: its log record, its last words, and how long it reads on.

use super::super::close_reason::CloseReason;
use super::pair::{Pair, pair};
use super::*;
use crate::metrics::counters::MetricsDelta;
use crate::metrics::listener_counts::ListenerNumber;
use crate::metrics::reasons::CloseKind;
use crate::peer::line_batch::LineBatch;
use crate::protocol::join::JoinError;
use crate::text::messages;
use crate::text::time::Minute;

/// Closes the connection of `pair` and returns the log of that.
async fn log_of_close(pair: &mut Pair, reason: CloseReason) -> String {
    let log = Log::default();
    let _second = Dispatch::new(NoSubscriber::default());
    let _guard = tracing::subscriber::set_default(log.subscriber());
    pair.close(reason).await;
    log.text()
}

#[tokio::test(start_paused = true)]
async fn lines_that_were_received_and_dropped_are_logged_unless_the_peer_quits() {
    for (reason, held, logged) in [
        (CloseReason::RoomFailed, "one\ntwo\nunfinished", Some("lines_dropped=2")),
        (CloseReason::RoomFailed, "unfinished", None),
        (CloseReason::Quit, "one\ntwo\n", None),
    ] {
        let mut pair = pair(ListenerProtocol::Raw);
        pair.connection.held_input = Some(Box::new(Bytes::from(held)));
        let log = log_of_close(&mut pair, reason).await;
        assert!(log.contains("closed"), "{log}");
        assert_eq!(log.contains("lines_dropped"), logged.is_some(), "{log}");
        assert!(log.contains(logged.unwrap_or_default()), "{log}");
    }
}

#[tokio::test(start_paused = true)]
async fn lines_that_the_peer_got_are_logged_also_when_the_close_is_cut_short() {
    for is_cut in [false, true] {
        let mut pair = pair(ListenerProtocol::Raw);
        let lines = LineBatch::new(Bytes::from_static(b"one\ntwo\nthree\n"), 3, Minute(1));
        pair.connection.peer.deliver(&lines, &mut MetricsDelta::default());
        if is_cut {
            pair.context.abort.cancel();
        }
        let log = log_of_close(&mut pair, CloseReason::Quit).await;
        assert!(log.contains("lines_out=3"), "{log}");
    }
}

#[tokio::test]
async fn closed_output_counts_its_lines_and_takes_no_more() {
    let mut pair = pair(ListenerProtocol::Raw);
    let lines = LineBatch::new(Bytes::from_static(b"one\ntwo\nthree\n"), 3, Minute(1));
    pair.connection.peer.deliver(&lines, &mut MetricsDelta::default());
    assert_eq!(pair.connection.try_close_output(), Some(3));
    pair.connection.peer.deliver(&lines, &mut MetricsDelta::default());
    assert_eq!(pair.received(), "one\ntwo\nthree\n");
}

/// The client keeps its side open and sends nothing.
#[tokio::test(start_paused = true)]
async fn close_reads_on_for_a_second_unless_the_peer_sends_nothing_more_or_its_place_is_wanted() {
    for (reason, input_closed, seconds) in [
        (CloseReason::Quit, false, 1),
        (CloseReason::Eof, true, 0),
        (CloseReason::Lost(io::ErrorKind::BrokenPipe), false, 0),
        (CloseReason::Lost(io::ErrorKind::BrokenPipe), true, 0),
        (CloseReason::MadeWay, false, 0),
    ] {
        let mut pair = pair(ListenerProtocol::Raw);
        pair.connection.input_closed = input_closed;
        assert_eq!(pair.close(reason).await, seconds, "{reason:?}, input closed: {input_closed}");
    }
}

#[tokio::test(start_paused = true)]
async fn peer_is_told_why_its_connection_is_closed() {
    let bad_join = CloseReason::BadJoin(JoinError::EndOfInput);
    let error = messages::error_lines(&bad_join.to_peer(false).unwrap());
    for (reason, told) in [(CloseReason::Idle, messages::IDLE), (CloseReason::Quit, ""), (bad_join, &*error)] {
        let mut pair = pair(ListenerProtocol::Raw);
        pair.close(reason).await;
        assert_eq!(pair.received(), told, "{reason:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn member_leaves_its_room_at_the_close() {
    let mut pair = Pair::member().await;
    pair.send("last words\n");
    pair.take_turn().unwrap();
    pair.close(CloseReason::Quit).await;
    assert!(matches!(pair.connection.state, ConnectionState::Left));
    assert_eq!(pair.received(), "alice: last words\n");
}

#[tokio::test(start_paused = true)]
async fn closed_connection_is_counted_by_its_reason_and_no_longer_by_its_listener() {
    let mut pair = pair(ListenerProtocol::Raw);
    let context = Arc::clone(&pair.context);
    pair.connection = pair.connection.count_for(ListenerNumber::from_index(0));
    assert!(context.listener_counts.read().eq([1]));
    pair.close(CloseReason::Idle).await;
    let counted: Vec<_> = context.registry.counters().closes().filter(|(_, count)| *count > 0).collect();
    assert_eq!(counted, [(CloseKind::Idle, 1)]);
    assert!(context.listener_counts.read().eq([0]));
}
