//! Tests of the events of one connection: how it ends at its deadlines, and how its input goes on.

use super::super::close_reason::CloseReason;
use super::super::delayed_line::Payment;
use super::super::event_loop::Event;
use super::super::timers::Deadline;
use super::pair::{Pair, pair};
use super::*;
use crate::peer::events::{MembershipSlot, PeerEvents};
use tokio::time::advance;

/// Returns the settings of a server that closes idle members after a minute.
fn idle_settings() -> Settings {
    let mut settings = Settings::default();
    settings.live.idle_timeout = Duration::from_secs(60);
    settings
}

#[tokio::test(start_paused = true)]
async fn peer_that_has_not_joined_is_told_apart_whether_the_server_ends_or_its_place_is_wanted() {
    let mut ending = pair(ListenerProtocol::Raw);
    ending.context.shutdown.cancel();
    assert_eq!(ending.step().await, Err(CloseReason::Shutdown));
    let mut making_way = pair(ListenerProtocol::Raw);
    assert!(making_way.queue.make_way());
    assert_eq!(making_way.step().await, Err(CloseReason::MadeWay));
}

#[tokio::test(start_paused = true)]
async fn timer_whose_limit_was_lifted_meanwhile_closes_no_connection() {
    let mut pair = pair(ListenerProtocol::Raw);
    let mut live = pair.context.live.get();
    (live.login_timeout, live.stall_timeout, live.idle_timeout) = Default::default();
    pair.context.live.replace(live);
    for deadline in [Deadline::Login, Deadline::Stall, Deadline::Idle] {
        assert_eq!(pair.connection.handle_deadline(deadline), Ok(()), "{deadline:?}");
    }
    assert!(!pair.connection.deadlines.is_set(Deadline::Idle));
}

#[tokio::test(start_paused = true)]
async fn login_ends_after_its_timeout() {
    let mut pair = pair(ListenerProtocol::Raw);
    let start = Instant::now();
    assert_eq!(pair.step().await, Err(CloseReason::LoginTimeout(Duration::from_secs(30))));
    assert_eq!(start.elapsed().as_secs(), 30);
}

/// The process was stopped meanwhile: the deadline and the input come at once.
#[tokio::test(start_paused = true)]
async fn join_line_that_waits_in_the_socket_at_the_login_timeout_is_in_time() {
    let mut whole = pair(ListenerProtocol::Raw);
    whole.send("JOIN room alice\n");
    advance(Duration::from_secs(31)).await;
    assert_eq!(whole.step().await, Ok(()));
    assert!(whole.connection.state.awaits_room(), "the JOIN line is not read at the deadline");
    let mut part = pair(ListenerProtocol::Raw);
    part.send("JOIN room");
    advance(Duration::from_secs(31)).await;
    assert_eq!(part.step().await, Err(CloseReason::LoginTimeout(Duration::from_secs(30))));
}

#[tokio::test(start_paused = true)]
async fn join_line_that_waits_for_its_room_or_its_address_is_in_time() {
    let mut waits_for_room = pair(ListenerProtocol::Raw);
    waits_for_room.send("JOIN room alice\n");
    waits_for_room.take_turn().unwrap();
    assert_eq!(waits_for_room.connection.handle_deadline(Deadline::Login), Ok(()));
    let mut waits_for_address = pair(ListenerProtocol::Raw);
    let budget = waits_for_address.connection.peer.sink().address_budget();
    budget.charge_membership_change(u32::MAX, std::time::Instant::now());
    waits_for_address.send("JOIN room alice\n");
    waits_for_address.take_turn().unwrap();
    assert!(waits_for_address.connection.delayed_line.is_some());
    assert_eq!(waits_for_address.connection.handle_deadline(Deadline::Login), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn member_is_idle_after_the_timeout_from_its_last_input() {
    let mut pair = Pair::member_of(idle_settings()).await;
    let start = Instant::now();
    advance(Duration::from_secs(50)).await;
    pair.send("hi\n");
    pair.take_turn().unwrap();
    let reason = loop {
        if let Err(reason) = pair.step().await {
            break reason;
        }
    };
    assert_eq!((reason, start.elapsed().as_secs()), (CloseReason::Idle, 110));
}

#[tokio::test(start_paused = true)]
async fn member_whose_input_is_not_processed_is_not_idle() {
    let mut pair = Pair::member_of(idle_settings()).await;
    assert_eq!(pair.connection.handle_deadline(Deadline::Idle), Err(CloseReason::Idle));
    pair.send("in the socket\n");
    assert_eq!(pair.connection.handle_deadline(Deadline::Idle), Ok(()));
    assert_eq!(pair.connection.lines_in, 2, "the input in the socket is not read");
    assert_eq!(pair.connection.handle_deadline(Deadline::Idle), Err(CloseReason::Idle));
    pair.connection.held_input = Some(Box::new(Bytes::from_static(b"held\n")));
    assert_eq!(pair.connection.handle_deadline(Deadline::Idle), Ok(()));
    pair.connection.held_input = None;
    pair.connection.deadlines.set_after(Deadline::RateLimit, Duration::from_secs(1));
    assert_eq!(pair.connection.handle_deadline(Deadline::Idle), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn read_grace_starts_again_while_input_is_not_processed() {
    let mut pair = Pair::member().await;
    let lost = CloseReason::Lost(io::ErrorKind::BrokenPipe);
    assert_eq!(pair.connection.handle_deadline(Deadline::ReadGrace), Err(lost));
    assert!(!pair.connection.deadlines.is_set(Deadline::ReadGrace));
    pair.connection.held_input = Some(Box::new(Bytes::from_static(b"held\n")));
    assert_eq!(pair.connection.handle_deadline(Deadline::ReadGrace), Ok(()));
    assert!(pair.connection.deadlines.is_set(Deadline::ReadGrace));
}

#[tokio::test(start_paused = true)]
async fn late_input_is_not_read_before_earlier_input() {
    let mut pair = Pair::member().await;
    assert_eq!(pair.connection.read_late_input(), Ok(false));
    pair.send("late\n");
    pair.connection.held_input = Some(Box::new(Bytes::from_static(b"held\n")));
    assert_eq!(pair.connection.read_late_input(), Ok(false));
    pair.connection.held_input = None;
    pair.connection.deadlines.set_after(Deadline::RateLimit, Duration::from_secs(1));
    assert_eq!(pair.connection.read_late_input(), Ok(false));
    pair.connection.deadlines.clear(Deadline::RateLimit);
    assert_eq!(pair.connection.read_late_input(), Ok(true));
    assert_eq!(pair.connection.lines_in, 2);
}

/// The client sends nothing: no event of the socket would wake the connection.
#[tokio::test(start_paused = true)]
async fn input_goes_on_without_an_event_of_the_socket_for_each_of_its_reasons() {
    let mut held = Pair::member().await;
    held.connection.held_input = Some(Box::new(Bytes::from_static(b"held\n")));
    let mut closed = Pair::member().await;
    closed.connection.input_closed = true;
    let mut flushing = Pair::member().await;
    flushing.connection.begin_input_flush().unwrap();
    for (mut pair, reason) in [(held, "held input"), (closed, "the end of input"), (flushing, "the flush")] {
        let readable = async { while !matches!(pair.connection.next_event().await, Event::Readable) {} };
        let is_readable = tokio::time::timeout(Duration::from_secs(1), readable).await.is_ok();
        assert!(is_readable, "{reason} waits for the socket");
    }
}

/// Both rooms' inboxes raise their events, in one batch.
#[tokio::test]
async fn blocked_command_runs_when_either_room_has_capacity() {
    for slot in MembershipSlot::ALL {
        let mut pair = Pair::member().await;
        let own = pair.connection.state.admitted_membership().unwrap().slot();
        pair.connection.blocked_input.get_or_insert_default();
        pair.connection.handle_waiting_line(b"/who", Payment::Due).unwrap();
        pair.connection.handle_events(PeerEvents::INBOX_READY.in_slot(slot)).unwrap();
        assert_eq!(pair.connection.blocked_input.is_none(), slot == own, "{slot:?}");
    }
}
