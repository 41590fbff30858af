//! Tests of the output of one connection: its stall deadline, its encoding budget, and its part in the memory's.

use super::super::close_reason::CloseReason;
use super::super::event_loop::Event;
use super::super::timers::Deadline;
use super::pair::{Pair, pair, pair_of};
use super::*;
use crate::config::SlowReader;
use crate::limits::memory::KERNEL_SEND_BUFFER;
use crate::metrics::counters::MetricsDelta;
use crate::peer::events::PeerEvents;
use crate::peer::line_batch::LineBatch;
use crate::peer::route::Route;
use crate::protocol::commands::TimeSetting;
use crate::text::time::Minute;
use tokio::time::advance;

/// More bytes than one address may encode at once.
const BEYOND_ENCODING_BURST: usize = 5 << 20;

impl Pair {
    /// Adds more encoded bytes than the socket takes.
    fn fill_socket(&mut self) {
        self.connection.add_output([OutputOp::Encoded(vec![b'x'; 300 << 10])]);
    }

    /// Delivers lines, as a room does, and fewer bytes of them than the socket takes.
    fn deliver_lines(&mut self, count: usize) {
        let lines = LineBatch::new(Bytes::from(b"bob: hi\n".repeat(count)), count as u64, Minute(1));
        self.connection.peer.deliver(&lines, &mut MetricsDelta::default());
    }

    fn may_encode(&self) -> bool {
        let now = Instant::now().into_std();
        self.connection.peer.sink().address_budget().encoding_allowed_at(now) <= now
    }

    /// Uses up what the address may encode.
    fn use_up_encoding(&self) {
        self.connection.peer.sink().address_budget().charge_encoding(u32::MAX, Instant::now().into_std());
    }
}

#[tokio::test(start_paused = true)]
async fn stall_deadline_counts_from_the_first_byte_that_waits() {
    let mut pair = Pair::member().await;
    let start = Instant::now();
    pair.fill_socket();
    advance(Duration::from_secs(10)).await;
    pair.connection.begin_draining();
    assert!(!pair.connection.drain_output(), "a full socket takes bytes");
    assert_eq!(pair.next_deadline().await, Deadline::Stall);
    assert_eq!(start.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn stall_deadline_counts_from_the_last_byte_that_the_peer_took_and_ends_with_the_output() {
    let mut pair = Pair::member().await;
    let start = Instant::now();
    pair.fill_socket();
    advance(Duration::from_secs(10)).await;
    pair.received();
    assert!(pair.connection.drain_output(), "the socket takes nothing after the client has read");
    assert_eq!(pair.next_deadline().await, Deadline::Stall);
    assert_eq!(start.elapsed().as_secs(), 70);
    pair.connection.begin_draining();
    while pair.connection.output_status != OutputStatus::Empty {
        pair.received();
        pair.connection.drain_output();
    }
    assert!(!pair.connection.deadlines.is_set(Deadline::Stall), "a peer without output can stall");
}

#[tokio::test(start_paused = true)]
async fn peer_is_stalled_at_its_deadline_unless_it_has_read_meanwhile() {
    let mut pair = Pair::member().await;
    pair.fill_socket();
    let stalled = CloseReason::Stalled(Duration::from_secs(60));
    assert_eq!(pair.connection.handle_deadline(Deadline::Stall), Err(stalled));
    pair.received();
    assert_eq!(pair.connection.handle_deadline(Deadline::Stall), Ok(()));
}

#[tokio::test]
async fn connection_knows_how_many_encoded_bytes_wait() {
    let mut pair = Pair::member().await;
    assert_eq!(pair.connection.unwritten, 0);
    pair.fill_socket();
    assert!((250 << 10..300 << 10).contains(&pair.connection.unwritten), "{}", pair.connection.unwritten);
    assert!(pair.connection.is_input_paused());
}

#[tokio::test]
async fn blocked_peer_is_registered_with_the_memory_budget() {
    let mut pair = pair_of(ListenerProtocol::Raw, Settings::default(), KERNEL_SEND_BUFFER as u64);
    pair.join().await;
    pair.deliver_lines(20_000);
    assert_eq!(pair.memory.backlogs(), 0);
    pair.connection.register_waiting_output();
    assert_eq!(pair.memory.backlogs(), 1);
}

#[tokio::test]
async fn blocked_peer_ends_at_the_memory_ceiling_if_slow_readers_do_or_kernel_buffers_use_the_memory_up() {
    let kicking = || {
        let mut settings = Settings::default();
        settings.live.slow_reader = SlowReader::Kick;
        settings
    };
    for (settings, ceiling, is_blocked, ends) in [
        (Settings::default(), u64::MAX, true, false),
        (Settings::default(), KERNEL_SEND_BUFFER as u64, true, true),
        (kicking(), u64::MAX, true, true),
        (kicking(), u64::MAX, false, false),
    ] {
        let mut pair = pair_of(ListenerProtocol::Raw, settings, ceiling);
        pair.join().await;
        if is_blocked {
            pair.fill_socket();
        }
        assert_eq!(pair.connection.has_to_free_memory(), ends, "ceiling {ceiling}, blocked {is_blocked}");
        pair.connection.handle_events(PeerEvents::NONE).unwrap();
        let end = pair.connection.handle_events(PeerEvents::RECLAIM);
        assert_eq!(end, if ends { Err(CloseReason::NoMemory) } else { Ok(()) });
    }
}

#[tokio::test(start_paused = true)]
async fn encoding_for_a_member_is_charged_to_its_slice_and_its_address() {
    let mut pair = Pair::member().await;
    pair.connection.charge_encoding(BEYOND_ENCODING_BURST);
    assert!(pair.connection.slice.is_used_up());
    assert!(!pair.may_encode());
}

#[tokio::test(start_paused = true)]
async fn encoding_is_charged_to_no_address_before_the_join_and_without_a_rate() {
    let mut newcomer = pair(ListenerProtocol::Raw);
    newcomer.connection.charge_encoding(BEYOND_ENCODING_BURST);
    assert!(newcomer.may_encode(), "the address pays for a peer that has not joined");
    let mut settings = Settings::default();
    settings.live.rate = 0;
    let mut unlimited = Pair::member_of(settings).await;
    unlimited.connection.charge_encoding(BEYOND_ENCODING_BURST);
    assert!(unlimited.may_encode(), "the address pays although its lines are not limited");
}

#[tokio::test(start_paused = true)]
async fn lines_with_times_are_charged_to_the_encoding_budget() {
    let mut pair = Pair::member().await;
    pair.connection.set_time(Some(TimeSetting::On));
    while pair.may_encode() {
        let now = Instant::now().into_std();
        pair.connection.peer.sink().address_budget().charge_encoding(1_000, now);
    }
    // A millisecond allows 2,097 bytes.
    advance(Duration::from_millis(1)).await;
    assert!(pair.may_encode(), "the budget is not used up");
    pair.deliver_lines(300);
    pair.connection.drain_output();
    assert!(!pair.may_encode(), "2,400 bytes of lines are free");
}

/// Encoded output that the budget of the address delays.
async fn delayed_encoding() -> Pair {
    let mut pair = Pair::member().await;
    pair.connection.set_time(Some(TimeSetting::On));
    pair.connection.drain_output();
    assert!(!pair.connection.waits_to_encode(), "the address has used nothing");
    assert!(!pair.connection.deadlines.is_set(Deadline::Encoding), "a deadline is set for no delay");
    pair.use_up_encoding();
    pair
}

#[tokio::test(start_paused = true)]
async fn encoding_waits_for_the_budget_of_the_address_and_the_peer_does_not_stall_meanwhile() {
    let mut pair = delayed_encoding().await;
    pair.connection.begin_draining();
    assert!(pair.connection.deadlines.is_set(Deadline::Stall));
    assert!(pair.connection.waits_to_encode());
    assert!(pair.connection.deadlines.is_set(Deadline::Encoding));
    assert!(!pair.connection.deadlines.is_set(Deadline::Stall), "the peer stalls although the server delays its lines");
    pair.connection.end_encoding_delay();
    assert!(!pair.connection.deadlines.is_set(Deadline::Encoding) && pair.connection.deadlines.is_set(Deadline::Stall));
}

#[tokio::test(start_paused = true)]
async fn encoded_bytes_direct_lines_and_unlimited_lines_do_not_wait_for_the_encoding_budget() {
    let mut pair = delayed_encoding().await;
    pair.connection.unwritten = 1;
    assert!(!pair.connection.waits_to_encode(), "bytes that are encoded already wait");
    pair.connection.unwritten = 0;
    pair.connection.add_output([OutputOp::Route(Route::DirectLf)]);
    assert!(!pair.connection.waits_to_encode(), "lines that are not encoded wait");
    pair.connection.add_output([OutputOp::Route(Route::Buffered)]);
    assert!(pair.connection.waits_to_encode());
    let mut live = pair.context.live.get();
    live.rate = 0;
    pair.context.live.replace(live);
    assert!(!pair.connection.waits_to_encode(), "the budget counts although lines are not limited");
    let mut newcomer = self::pair(ListenerProtocol::Raw);
    newcomer.connection.set_time(Some(TimeSetting::On));
    newcomer.use_up_encoding();
    assert!(!newcomer.connection.waits_to_encode(), "a peer that has not joined waits");
}

#[tokio::test(start_paused = true)]
async fn delayed_encoding_raises_no_event_before_its_deadline() {
    let mut pair = delayed_encoding().await;
    pair.deliver_lines(1);
    pair.connection.begin_draining();
    pair.connection.drain_output();
    assert!(pair.connection.deadlines.is_set(Deadline::Encoding));
    let events = async { while let Event::Raised(_) = pair.connection.next_event().await {} };
    assert!(tokio::time::timeout(Duration::from_secs(1), events).await.is_err(), "delayed output is writable");
}
