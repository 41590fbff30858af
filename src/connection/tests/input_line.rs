//! Tests of the input line of one connection: its agreement, its row, and what its keys cost.

use super::super::telnet::UNKNOWN_WIDTH;
use super::super::timers::Deadline;
use super::pair::{Pair, pair};
use super::*;
use crate::config::SlowReader;
use crate::peer::byte_sink::ByteSink;
use crate::peer::events::MembershipSlot;
use crate::room::membership::Membership;
use crate::text::names::{RoomName, UserName};
use std::io::Read;

/// A telnet client's agreement to an input line, without the type and the size of its terminal.
const AGREEMENT: &[u8] = b"\xFF\xFC\x18\xFF\xFC\x1F\xFF\xFD\x03\xFF\xFD\x01";

/// Takes everything.
struct Sink;

impl ByteSink for Sink {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }
}

/// Returns the pair of a telnet client that has been asked for its agreement.
fn asked() -> Pair {
    let mut pair = pair(ListenerProtocol::Telnet);
    pair.connection.greet();
    pair.received();
    pair
}

/// Returns the pair of a telnet client with an input line, on which the client has typed `draft` before.
fn editing(draft: &str) -> Pair {
    let mut pair = asked();
    pair.send(draft);
    pair.send(AGREEMENT);
    for _ in 0..=draft.len() / (16 << 10) {
        pair.take_turn().unwrap();
    }
    assert!(pair.has_input_line(), "the client has agreed");
    pair
}

/// Returns the pair of a member with an input line, the row of which is drawn.
async fn editing_member() -> Pair {
    let mut pair = editing("");
    pair.join().await;
    pair.settle().await;
    pair.redraw();
    pair
}

impl Pair {
    fn has_input_line(&mut self) -> bool {
        self.connection.input_line_mut().is_some()
    }

    /// Draws the row at once; returns what the client has received.
    fn redraw(&mut self) -> String {
        self.connection.redraw_input_line();
        self.received()
    }

    /// Sends `bytes` and processes them; returns what the client has received until it has received `text`.
    async fn send_until(&mut self, bytes: impl AsRef<[u8]>, text: &str) -> String {
        self.send(bytes);
        let mut received = String::new();
        while !received.contains(text) {
            self.step().await.unwrap();
            received += &self.received();
        }
        received
    }

    /// Takes all of `keys` at one instant, after `spent` bytes of the telnet budget. Returns whether the budget delays
    /// the keys.
    fn are_keys_delayed(&mut self, spent: u32, mut keys: &[u8]) -> bool {
        let now = Instant::now().into_std();
        self.connection.charge_bytes(spent, now);
        while !keys.is_empty() {
            self.connection.take_keys(&mut keys, now).unwrap();
        }
        self.connection.deadlines.is_set(Deadline::RateLimit)
    }

    /// Lets a member with this name join the connection's room.
    async fn add_member(&self, name: &str) -> Membership {
        let peer = Arc::new(Peer::new(PeerId(2), 1 << 20, SlowReader::Skip, Sink));
        let (room, user) = (RoomName::parse("room").unwrap(), UserName::parse(name).unwrap());
        let own = self.connection.state.admitted_membership().unwrap();
        let before = own.member_count();
        let membership = self.context.registry.join(room, user, peer, MembershipSlot::A).unwrap();
        while own.member_count() == before {
            tokio::task::yield_now().await;
        }
        membership
    }
}

#[tokio::test(start_paused = true)]
async fn client_that_does_not_answer_has_no_input_line_after_the_agreement_timeout() {
    let (start, mut pair) = (Instant::now(), asked());
    pair.step().await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 2);
    assert!(!pair.has_input_line() && !pair.connection.awaits_agreement());
    let told = pair.received();
    assert!(told.contains("*** ui is off: this client did not agree to it within 2 s"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn client_that_has_agreed_and_does_not_tell_its_type_has_an_input_line_after_the_timeout() {
    let mut pair = asked();
    pair.send(b"\xFF\xFB\x18\xFF\xFD\x03\xFF\xFD\x01");
    pair.take_turn().unwrap();
    assert!(!pair.has_input_line(), "the type of the terminal is awaited");
    assert_eq!(pair.connection.handle_deadline(Deadline::Agreement), Ok(()));
    assert!(pair.has_input_line());
}

#[tokio::test(start_paused = true)]
async fn client_that_refuses_is_told_once() {
    let mut pair = asked();
    pair.send(b"\xFF\xFE\x01\xFF\xFE\x03");
    pair.take_turn().unwrap();
    assert!(!pair.connection.awaits_agreement());
    let told = pair.received();
    assert_eq!(told.matches("*** ui is off: the client refused it").count(), 1, "{told}");
}

#[tokio::test(start_paused = true)]
async fn client_that_refuses_later_loses_its_input_line() {
    let mut pair = editing("");
    pair.send(b"\xFF\xFE\x01");
    pair.take_turn().unwrap();
    assert!(!pair.has_input_line());
    let told = pair.received();
    assert!(told.contains("*** ui is off: the client refused it"), "{told}");
}

#[tokio::test]
async fn client_with_a_terminal_type_is_asked_for_it() {
    let mut pair = asked();
    pair.send(b"\xFF\xFB\x18");
    pair.take_turn().unwrap();
    let mut request = [0; 6];
    pair.client.set_nonblocking(true).unwrap();
    pair.client.read_exact(&mut request).unwrap();
    assert_eq!(&request, b"\xFF\xFA\x18\x01\xFF\xF0");
}

#[tokio::test]
async fn width_is_unknown_after_the_client_withdraws_it() {
    let mut pair = asked();
    pair.send(b"\xFF\xFB\x1F\xFF\xFA\x1F\0\x28\0\x18\xFF\xF0");
    pair.take_turn().unwrap();
    assert_eq!(pair.connection.telnet.as_ref().unwrap().columns, 40);
    pair.send(b"\xFF\xFC\x18");
    pair.take_turn().unwrap();
    assert_eq!(pair.connection.telnet.as_ref().unwrap().columns, 40, "another option is refused");
    pair.send(b"\xFF\xFC\x1F");
    pair.take_turn().unwrap();
    assert_eq!(pair.connection.telnet.as_ref().unwrap().columns, UNKNOWN_WIDTH);
}

#[tokio::test(start_paused = true)]
async fn input_line_is_switched_off_and_its_state_is_told() {
    let mut pair = editing_member().await;
    pair.send("typed");
    pair.take_turn().unwrap();
    pair.connection.switch_input_line(Some(true));
    let told = pair.drained();
    assert!(pair.has_input_line() && told.contains("*** ui is on"), "{told:?}");
    pair.send_until("\r", "alice: typed\r\n").await;
    pair.connection.switch_input_line(Some(false));
    let told = pair.drained();
    assert!(!pair.has_input_line() && told.contains("*** ui is off"), "{told:?}");
    pair.connection.switch_input_line(Some(true));
    assert!(pair.connection.awaits_agreement(), "an input line that was switched off stays off");
    let mut plain = Pair::member().await;
    plain.connection.switch_input_line(Some(true));
    assert!(!plain.connection.awaits_agreement());
    assert!(plain.received().starts_with("*** ui is off: it needs a telnet client"));
}

#[tokio::test(start_paused = true)]
async fn typed_keys_are_drawn_after_the_time_between_two_drawings() {
    let mut pair = editing_member().await;
    pair.send("xyz");
    pair.take_turn().unwrap();
    assert!(pair.connection.deadlines.is_set(Deadline::Redraw));
    assert_eq!(pair.received(), "", "each key draws the row");
    pair.settle().await;
    assert_eq!(pair.received(), "xyz");
    pair.send("!");
    pair.take_turn().unwrap();
    assert_eq!(pair.received(), "!", "a key after a pause is drawn late");
}

#[tokio::test(start_paused = true)]
async fn prompt_shows_the_room_of_the_member() {
    let mut pair = editing_member().await;
    pair.send("/join other\r");
    let room = RoomName::parse("other").unwrap();
    while pair.connection.identity().is_none_or(|(current, _)| current != room) {
        pair.step().await.unwrap();
    }
    pair.send("x");
    pair.take_turn().unwrap();
    let row = pair.redraw();
    assert!(row.contains("other> "), "{row:?}");
}

#[tokio::test(start_paused = true)]
async fn telnet_commands_erase_a_character_or_all_of_the_input_line() {
    let mut pair = editing_member().await;
    pair.send_until(b"abc\xFF\xF7\r", "alice: ab\r\n").await;
    pair.send_until(b"abc\xFF\xF8x\r", "alice: x\r\n").await;
}

#[tokio::test(start_paused = true)]
async fn row_is_as_wide_as_the_terminal() {
    let mut pair = editing_member().await;
    pair.connection.input_line_mut().unwrap().resize(12);
    pair.send("x".repeat(60));
    pair.take_turn().unwrap();
    let row = pair.redraw();
    assert!((1..=12).contains(&row.matches('x').count()), "{row:?}");
}

#[tokio::test(start_paused = true)]
async fn first_ctrl_c_in_an_input_line_tells_how_to_leave() {
    let mut pair = editing_member().await;
    for is_told in [true, false] {
        pair.send(b"abc\x03");
        pair.take_turn().unwrap();
        let received = pair.drained();
        assert_eq!(received.contains("the line was dropped"), is_told, "{received:?}");
    }
}

#[tokio::test]
async fn text_of_an_input_line_is_charged_to_the_memory_budget() {
    let mut pair = editing("");
    pair.connection.take_keys(&mut &b"x".repeat(100)[..], Instant::now().into_std()).unwrap();
    pair.connection.charge_kept_input();
    assert_eq!(pair.memory.used(), 100);
}

#[tokio::test]
async fn keys_of_the_input_line_are_charged_to_the_telnet_budget() {
    assert!(!editing("").are_keys_delayed(0, &b"ab\x7F\x7F".repeat(10 << 10)));
    assert!(editing("").are_keys_delayed(0, &b"ab\x7F\x7F".repeat(40 << 10)));
}

#[tokio::test]
async fn keys_cost_more_the_longer_the_line_is() {
    let arrows = b"\x1B[D".repeat(8_000);
    assert!(!editing("").are_keys_delayed(12_000, &arrows));
    assert!(editing(&"x".repeat(17_000)).are_keys_delayed(12_000, &arrows));
    assert!(!editing("").are_keys_delayed(12_000, &b"x".repeat(8_000)));
}

#[tokio::test]
async fn line_of_a_paste_costs_its_own_keys_alone() {
    assert!(!editing("").are_keys_delayed(4_000, &b"x\r".repeat(4_000)));
}

#[tokio::test]
async fn no_bytes_delay_nothing_when_the_telnet_budget_is_used_up() {
    let mut pair = editing("");
    let now = Instant::now().into_std();
    pair.connection.charge_bytes(40 << 10, now);
    pair.connection.deadlines.clear(Deadline::RateLimit);
    pair.connection.charge_bytes(0, now);
    assert!(!pair.connection.deadlines.is_set(Deadline::RateLimit));
}

#[tokio::test(start_paused = true)]
async fn tab_completes_the_name_of_another_member() {
    let mut pair = editing_member().await;
    let _bob = pair.add_member("bob").await;
    pair.settle().await;
    pair.redraw();
    for (keys, shown) in [("b\t", true), ("\x15al\t", false)] {
        pair.connection.take_keys(&mut keys.as_bytes(), Instant::now().into_std()).unwrap();
        let row = pair.redraw();
        assert_eq!(row.contains("ob"), shown, "{row:?}");
        assert!(!row.contains("alice"), "{row:?}");
    }
}

/// Returns how many completions beside `others` members, all in one instant, the budget of the connection allows.
async fn completions_until_delayed(others: usize) -> usize {
    let mut pair = editing_member().await;
    let mut members = Vec::new();
    for index in 0..others {
        members.push(pair.add_member(&format!("bob{index}")).await);
    }
    pair.connection.take_keys(&mut &b"zz"[..], Instant::now().into_std()).unwrap();
    let now = Instant::now().into_std();
    for completions in 1..1_000 {
        pair.connection.take_keys(&mut &b"\t"[..], now).unwrap();
        if pair.connection.deadlines.is_set(Deadline::RateLimit) {
            return completions;
        }
    }
    panic!("no number of completions is delayed");
}

#[tokio::test(start_paused = true)]
async fn completions_have_the_budget_of_keys() {
    let completions = completions_until_delayed(1).await;
    assert!((60..=64).contains(&completions), "{completions}");
}

#[tokio::test(start_paused = true)]
async fn completion_costs_more_in_a_larger_room() {
    let completions = completions_until_delayed(100).await;
    assert!((42..=46).contains(&completions), "{completions}");
}
