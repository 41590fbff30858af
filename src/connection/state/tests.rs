//! Tests of the state: each transition, and that an event is taken for its own membership alone.

use super::*;
use crate::config::{RoomSettings, SlowReader};
use crate::peer::byte_sink::ByteSink;
use crate::peer::events::PeerEvents;
use crate::peer::{Peer, PeerId};
use crate::room::registry::Registry;
use crate::text::names::{RoomName, UserName};
use std::sync::Arc;
use tokio_util::task::TaskTracker;

/// Takes everything.
struct Sink;

impl ByteSink for Sink {
    fn try_write(&self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }
}

/// A membership of a room that is asked for without a runtime: the events in these tests are made by hand.
fn membership(room: &str, slot: MembershipSlot) -> Membership {
    let registry = Arc::new(Registry::new(RoomSettings::default(), TaskTracker::new()));
    let peer = Arc::new(Peer::new(PeerId(1), 100, SlowReader::Skip, Sink));
    let (room, user) = (RoomName::parse(room).unwrap(), UserName::parse("alice").unwrap());
    registry.join(room, user, peer, slot).unwrap()
}

const A: MembershipSlot = MembershipSlot::A;
const B: MembershipSlot = MembershipSlot::B;

fn joined() -> ConnectionState {
    let mut state = ConnectionState::NotJoined;
    state.begin_joining(membership("a", A));
    assert!(state.awaits_room() && state.admitted_membership().is_none());
    assert!(state.apply_room_events(A, PeerEvents::JOINED).admitted);
    assert!(!state.awaits_room());
    state
}

/// A member of room a that has asked room b.
fn switching() -> ConnectionState {
    let mut state = joined();
    state.begin_switching(membership("b", B));
    state
}

fn room(state: &ConnectionState) -> String {
    state.admitted_membership().unwrap().room().as_str().to_owned()
}

#[test]
fn a_switch_ends_when_the_previous_room_has_sent_its_last_line() {
    let mut state = switching();
    assert!(state.apply_room_events(B, PeerEvents::JOINED).admitted);
    assert!(state.awaits_room(), "the previous room may still send lines");
    assert_eq!(room(&state), "b");
    state.apply_room_events(B, PeerEvents::LEFT_ROOM.in_slot(A).of_slot(B));
    assert!(state.awaits_room());
    let outcome = state.apply_room_events(A, PeerEvents::LEFT_ROOM);
    assert!(outcome.end.is_none() && !state.awaits_room());
    assert_eq!(room(&state), "b");
}

#[test]
fn a_room_that_refuses_a_switch_leaves_the_member_where_it_is() {
    for (event, refusal) in [
        (
            PeerEvents::NAME_TAKEN,
            Refusal::NameTakenThere(RoomName::parse("b").unwrap(), UserName::parse("alice").unwrap()),
        ),
        (PeerEvents::ROOM_FAILED, Refusal::RoomFailed(RoomName::parse("b").unwrap())),
    ] {
        let mut state = switching();
        let outcome = state.apply_room_events(B, event);
        assert_eq!((outcome.refused, outcome.end), (Some(refusal), None));
        assert!(!state.awaits_room());
        assert_eq!(room(&state), "a");
    }
}

/// A pass of room a panics after the peer has moved to room b, and room a raises its failure twice.
#[test]
fn a_late_failure_of_the_previous_room_ends_no_other_membership() {
    let mut state = switching();
    state.apply_room_events(B, PeerEvents::JOINED);
    for _ in 0..2 {
        assert!(state.apply_room_events(A, PeerEvents::ROOM_FAILED).end.is_none());
        assert_eq!((room(&state).as_str(), state.awaits_room()), ("b", false));
    }
    assert!(state.begin_request(|_| {}));
    state.apply_room_events(A, PeerEvents::REQUEST_DONE | PeerEvents::RENAMED);
    assert!(state.awaits_room(), "room b has not answered");
    assert_eq!(state.apply_room_events(B, PeerEvents::ROOM_FAILED).end, Some(MembershipEnd::RoomFailed));
}

/// A peer moves from room a to room b and is closed while room a's last line is outstanding.
#[test]
fn a_close_in_the_middle_of_a_switch_waits_for_both_rooms() {
    let mut state = switching();
    state.apply_room_events(B, PeerEvents::JOINED);
    state.begin_leaving();
    state.apply_room_events(A, PeerEvents::LEFT_ROOM);
    assert!(matches!(state, ConnectionState::Leaving(_)), "room b's lines are outstanding");
    state.apply_room_events(B, PeerEvents::LEFT_ROOM);
    assert!(matches!(state, ConnectionState::Left));
}

#[test]
fn a_close_before_a_room_has_answered_waits_for_its_answer() {
    for last in [PeerEvents::NAME_TAKEN, PeerEvents::ROOM_CLOSED, PeerEvents::JOINED | PeerEvents::LEFT_ROOM] {
        let mut state = switching();
        state.begin_leaving();
        state.apply_room_events(A, PeerEvents::LEFT_ROOM);
        assert!(matches!(state, ConnectionState::Leaving(_)));
        state.apply_room_events(B, last);
        assert!(matches!(state, ConnectionState::Left), "{last:?}");
    }
}

#[test]
fn a_member_that_leaves_is_not_done_when_its_rename_is_refused() {
    let mut state = joined();
    state.begin_leaving();
    state.apply_room_events(A, PeerEvents::NAME_TAKEN);
    assert!(matches!(state, ConnectionState::Leaving(_)));
    state.apply_room_events(A, PeerEvents::LEFT_ROOM);
    assert!(matches!(state, ConnectionState::Left));
}

#[test]
fn a_refused_join_and_a_shut_down_room_leave_nothing_outstanding() {
    for (event, end) in [
        (
            PeerEvents::NAME_TAKEN,
            MembershipEnd::NameTaken(RoomName::parse("a").unwrap(), UserName::parse("alice").unwrap()),
        ),
        (PeerEvents::ROOM_CLOSED, MembershipEnd::Shutdown),
        (PeerEvents::ROOM_FAILED, MembershipEnd::RoomFailed),
    ] {
        let mut state = ConnectionState::NotJoined;
        state.begin_joining(membership("a", A));
        assert_eq!(state.apply_room_events(A, event).end, Some(end));
        assert!(state.membership().is_some() && state.admitted_membership().is_none(), "the log names the room");
        state.begin_leaving();
        assert!(matches!(state, ConnectionState::Left));
    }
    let mut state = joined();
    assert_eq!(state.apply_room_events(A, PeerEvents::SHUTDOWN).end, Some(MembershipEnd::Shutdown));
    assert!(state.admitted_membership().is_some(), "the room's notice has told it");
    state.begin_leaving();
    assert!(matches!(state, ConnectionState::Left));
}

/// The notice of room a and the refusal of room b come in one batch of events, in either order.
#[test]
fn a_shutdown_in_the_middle_of_a_switch_leaves_nothing_outstanding() {
    for order in [
        [(A, PeerEvents::SHUTDOWN), (B, PeerEvents::ROOM_CLOSED)],
        [(B, PeerEvents::ROOM_CLOSED), (A, PeerEvents::SHUTDOWN)],
    ] {
        let mut state = switching();
        let ends = order.map(|(slot, events)| state.apply_room_events(slot, events).end);
        assert!(ends.contains(&Some(MembershipEnd::Shutdown)));
        state.begin_leaving();
        assert!(matches!(state, ConnectionState::Left), "{state:?}");
    }
}

#[test]
fn a_request_pauses_input_until_it_is_answered() {
    for answer in [PeerEvents::REQUEST_DONE, PeerEvents::RENAMED, PeerEvents::NAME_TAKEN] {
        let mut state = joined();
        assert!(state.begin_request(|_| {}) && state.awaits_room());
        assert!(!state.begin_request(|_| {}), "one at a time");
        state.apply_room_events(A, answer);
        assert!(!state.awaits_room());
    }
}

#[test]
fn switch_goes_on_when_the_room_of_the_member_answers() {
    for event in [PeerEvents::JOINED, PeerEvents::NAME_TAKEN] {
        let mut state = switching();
        let outcome = state.apply_room_events(A, event);
        assert!(!outcome.admitted && outcome.refused.is_none() && outcome.end.is_none());
        assert!(matches!(state, ConnectionState::SwitchingRooms { .. }), "{event:?}");
    }
}

#[test]
fn failure_of_the_new_room_ends_the_membership_while_the_previous_room_is_left() {
    let mut state = switching();
    state.apply_room_events(B, PeerEvents::JOINED);
    assert_eq!(state.apply_room_events(B, PeerEvents::ROOM_FAILED).end, Some(MembershipEnd::RoomFailed));
    assert!(matches!(state, ConnectionState::MembershipEnded { .. }));
}

#[test]
fn peer_that_a_room_refused_may_join_again() {
    let mut state = ConnectionState::NotJoined;
    state.begin_joining(membership("a", A));
    state.apply_room_events(A, PeerEvents::NAME_TAKEN);
    state.return_to_login();
    assert!(matches!(state, ConnectionState::NotJoined) && !state.awaits_room());
}
