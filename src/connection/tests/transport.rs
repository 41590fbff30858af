//! Tests of a connection whose transport is not plain: what its handshake is charged, and what is sent when.

use super::super::close_reason::CloseReason;
use super::super::timers::Deadline;
use super::pair::{Pair, pair_with_codec};
use super::*;
use crate::metrics::counters::MetricsDelta;
use crate::net::codec::{CodecError, Decoded, Inbound};
use crate::peer::line_batch::LineBatch;
use crate::peer::route::Route;
use crate::text::messages;
use crate::text::time::Minute;

/// A codec that can be read: `\x16` is the client's handshake, `E` its end, `!` a mistake, `0` a record without content, after
/// which others wait, and all other bytes are plain.
#[derive(Default)]
struct Stub {
    is_open: bool,
    units: u32,
    /// How many bytes one read takes; 16 KiB if it is 0.
    capacity: usize,
    /// Bytes that wait after a record without content.
    waiting: Vec<u8>,
    /// Bytes between `(` and `)` are kept until the second one comes.
    partial: Vec<u8>,
}

impl Codec for Stub {
    fn decode(&mut self, wire: &mut [u8], plain: &mut Vec<u8>, reply: &mut Vec<u8>) -> Result<Decoded, CodecError> {
        let wire = [std::mem::take(&mut self.waiting), wire.to_vec()].concat();
        let decoded = |inbound, empty_records| Ok(Decoded { inbound, records: 1, empty_records });
        for (at, byte) in wire.iter().copied().enumerate() {
            match byte {
                0x16 => {
                    self.is_open = true;
                    reply.extend_from_slice(b"<hello>");
                }
                b'E' => return decoded(Inbound::Ended, 0),
                b'!' => {
                    reply.extend_from_slice(b"<alert>");
                    return Err(CodecError::BadRecord);
                }
                b'?' => return Err(CodecError::NotTls),
                b'0' => {
                    self.waiting = wire[at + 1..].to_vec();
                    return decoded(if self.waiting.is_empty() { Inbound::Open } else { Inbound::Waiting }, 1);
                }
                b')' => self.partial = Vec::new(),
                _ if byte == b'(' || !self.partial.is_empty() => self.partial.push(byte),
                _ => plain.push(byte),
            }
        }
        decoded(Inbound::Open, 0)
    }

    fn encode(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), CodecError> {
        if !self.is_open {
            return Err(CodecError::Closed);
        }
        wire.extend([b"[", plain, b"]"].concat());
        Ok(())
    }

    fn close(&mut self, wire: &mut Vec<u8>) {
        if self.is_open {
            wire.extend_from_slice(b"<end>");
        }
    }

    fn is_open(&self) -> bool {
        self.is_open
    }

    fn handshake_units(&self) -> u32 {
        self.units
    }

    fn held_bytes(&self) -> usize {
        self.partial.len() + self.waiting.len()
    }

    fn read_capacity(&self) -> usize {
        if self.capacity == 0 { 1 << 14 } else { self.capacity }
    }
}

/// Returns a connection that waits for its handshake.
fn stub_pair() -> Pair {
    stub_pair_of(1)
}

/// Returns a connection that waits for a handshake of so many units.
fn stub_pair_of(units: u32) -> Pair {
    let stub = Box::new(Stub { units, ..Stub::default() });
    let mut pair = pair_with_codec(Some(stub), ListenerProtocol::Tls, Settings::default(), u64::MAX);
    pair.connection.begin();
    pair
}

/// Returns a connection whose client is a member.
async fn member() -> Pair {
    let mut pair = stub_pair();
    pair.send("\x16JOIN room alice\n");
    read(&mut pair).unwrap();
    pair.follow_until_joined().await;
    pair
}

/// Spends all that the server's budget allows at `now`.
fn use_up_turns(pair: &Pair, now: std::time::Instant) {
    while pair.context.handshakes.spend(1, now).is_some_and(|allowed_at| allowed_at <= now) {}
}

/// Reads as the event loop does, but what the system has received, whether or not the runtime knows of it.
fn read(pair: &mut Pair) -> Result<(), CloseReason> {
    if pair.connection.delay_handshake()? { Ok(()) } else { pair.take_turn() }
}

fn sealed(text: &str) -> String {
    format!("[{text}]")
}

#[tokio::test]
async fn welcome_follows_the_handshake_and_all_lines_are_sealed() {
    let mut pair = stub_pair();
    assert_eq!(pair.received(), "", "the welcome comes before the handshake");
    pair.send("\x16JOIN room alice\n");
    read(&mut pair).unwrap();
    assert_eq!(pair.received(), format!("<hello>{}", sealed(messages::WELCOME)));
    pair.follow_until_joined().await;
    assert_eq!(pair.connection.peer.route(), Route::Buffered);
    assert_eq!(pair.drained(), sealed("alice has joined\n"));
    pair.connection.update_route();
    assert_eq!(pair.connection.peer.route(), Route::Buffered, "a plain display hands the lines to the passes");
    pair.send("hi\r\n");
    read(&mut pair).unwrap();
    pair.settle_room().await;
    assert_eq!(pair.drained(), sealed("alice: hi\r\n"), "a network virtual terminal gets CR LF");
}

#[tokio::test]
async fn handshake_waits_for_the_budget_of_the_server() {
    let mut pair = stub_pair();
    let later = Instant::now().into_std() + Duration::from_secs(5);
    use_up_turns(&pair, later);
    pair.send("\x16");
    read(&mut pair).unwrap();
    assert!(pair.connection.deadlines.is_set(Deadline::RateLimit) && pair.connection.is_input_paused());
    assert_eq!(pair.received(), "", "the handshake has begun");
    pair.connection.deadlines.clear(Deadline::RateLimit);
    read(&mut pair).unwrap();
    assert!(pair.received().starts_with("<hello>"));
}

#[tokio::test]
async fn handshake_whose_turn_comes_too_late_is_refused_with_an_alert() {
    let mut pair = stub_pair();
    // The budget of the next minute is spent too, so that none comes back before the connection asks for a handshake.
    let later = Instant::now().into_std() + Duration::from_secs(60);
    while pair.context.handshakes.spend(1_000, later).is_some() {}
    while pair.context.handshakes.spend(1, later).is_some() {}
    pair.send("\x16");
    assert_eq!(read(&mut pair), Err(CloseReason::TooManyHandshakes));
    pair.connection.send_close_reason(CloseReason::TooManyHandshakes, None, false);
    assert_eq!(pair.received().as_bytes(), b"\x15\x03\x03\0\x02\x02P");
}

#[tokio::test]
async fn handshake_is_charged_to_its_address_and_given_back_if_it_does_not_begin() {
    let mut pair = stub_pair();
    let now = Instant::now().into_std();
    pair.connection.peer.sink().address_budget().spend_command(8_000, now);
    pair.send("\x16");
    read(&mut pair).unwrap();
    assert!(pair.connection.deadlines.is_set(Deadline::RateLimit), "the address has nothing left");
    pair.connection.cancel_handshake();
    let wait = pair.connection.peer.sink().address_budget().spend_command(1, now).saturating_duration_since(now);
    assert!(wait <= Duration::from_micros(250), "{wait:?}");
    pair.connection.cancel_handshake();
    let later = pair.connection.peer.sink().address_budget().spend_command(1, now).saturating_duration_since(now);
    assert!(later > wait, "the units are given back twice");
}

#[tokio::test]
async fn handshake_is_charged_by_its_certificate_to_the_server_and_to_the_address() {
    let mut pair = stub_pair_of(3_000);
    let now = Instant::now().into_std();
    pair.send("\x16");
    read(&mut pair).unwrap();
    assert!(pair.received().starts_with("<hello>"));
    // 840 and 5,000 units are left of the bursts.
    let server_allows_at = pair.context.handshakes.spend(1_500, now).unwrap();
    assert!(server_allows_at > now, "the server charged less");
    let address_allows_at = pair.connection.peer.sink().address_budget().spend_command(6_000, now);
    assert!(address_allows_at > now, "the address was charged less");
}

/// The turn of the server goes to others while an address is in debt, and is waited for after that.
#[tokio::test]
async fn address_in_debt_takes_no_turn_of_the_server() {
    let mut pair = stub_pair_of(3_000);
    let now = Instant::now().into_std();
    pair.connection.peer.sink().address_budget().spend_command(8_000, now);
    pair.send("\x16");
    read(&mut pair).unwrap();
    assert!(pair.connection.deadlines.is_set(Deadline::RateLimit), "the address has nothing left");
    assert_eq!(pair.context.handshakes.spend(3_000, now), Some(now), "the turn is taken");
    let later = Instant::now().into_std() + Duration::from_secs(5);
    use_up_turns(&pair, later);
    pair.connection.deadlines.clear(Deadline::RateLimit);
    read(&mut pair).unwrap();
    assert!(pair.connection.deadlines.is_set(Deadline::RateLimit), "the handshake has begun outside of its turn");
    assert_eq!(pair.received(), "");
    pair.connection.cancel_handshake();
    let wait = pair.connection.peer.sink().address_budget().spend_command(1, now).saturating_duration_since(now);
    assert!(wait <= Duration::from_micros(250), "the units are not given back: {wait:?}");
}

#[tokio::test]
async fn handshake_uses_up_the_slice_of_its_poll_and_not_the_server_s_budget_of_slices() {
    let mut pair = stub_pair_of(60);
    pair.send("\x16JOIN room alice\n");
    read(&mut pair).unwrap();
    assert!(pair.connection.slice.is_used_up());
    assert!(pair.connection.slice.used() < 200, "{}", pair.connection.slice.used());
    assert!(pair.connection.held_input.is_some(), "the JOIN line belongs to the next poll");
    pair.take_turn().unwrap();
    assert!(pair.connection.held_input.is_none());
    pair.follow_until_joined().await;
}

/// Nothing is owed for it, and its reason comes at once, though the address and the server have nothing left.
#[tokio::test]
async fn client_without_tls_waits_for_no_turn_and_is_not_charged() {
    let mut pair = stub_pair();
    let now = Instant::now().into_std();
    use_up_turns(&pair, now + Duration::from_secs(5));
    pair.connection.peer.sink().address_budget().spend_command(80_000, now);
    pair.send("?JOIN lobby alice\n");
    assert_eq!(read(&mut pair), Err(CloseReason::Transport(CodecError::NotTls)));
}

#[tokio::test]
async fn records_without_content_are_delayed_like_short_reads_and_charged_to_the_slice() {
    let mut pair = member().await;
    let before = pair.connection.slice.used();
    pair.send("0".repeat(1_000));
    pair.take_turn().unwrap();
    assert!(pair.connection.has_waiting_records(), "all records are decoded at once");
    assert!(pair.connection.slice.used() >= before + 32, "{}", pair.connection.slice.used());
    let mut records = 1;
    while !pair.connection.deadlines.is_set(Deadline::RateLimit) {
        pair.connection.slice.restart();
        pair.connection.resume_input().unwrap();
        records += 1;
        assert!(records < 1_000, "the records are not delayed");
    }
    assert!((240..=260).contains(&records), "{records} records at once");
    pair.connection.resume_input().unwrap();
    assert!(pair.connection.has_waiting_records(), "a record is decoded in spite of the delay");
    pair.connection.charge_kept_input();
    assert_eq!(pair.memory.used(), 1_000 - records);
}

/// The event loop goes on with them without a new event of the socket.
#[tokio::test(start_paused = true)]
async fn records_that_wait_are_decoded_before_more_is_read() {
    let mut pair = member().await;
    pair.send("0one\n00two\nE");
    let outcome = loop {
        if let Err(reason) = pair.step().await {
            break reason;
        }
    };
    assert_eq!((outcome, pair.connection.lines_in), (CloseReason::Eof, 3));
}

#[tokio::test]
async fn unfinished_line_counts_after_the_end_of_the_transport_alone() {
    for (end, lines) in [("E", 3), ("", 2)] {
        let mut pair = member().await;
        pair.send(format!("one\ntwo{end}"));
        pair.client.shutdown(std::net::Shutdown::Write).unwrap();
        let reason = loop {
            if let Err(reason) = pair.take_turn() {
                break reason;
            }
        };
        assert_eq!((reason, pair.connection.lines_in), (CloseReason::Eof, lines), "end {end:?}");
    }
}

/// A client that pastes sends records of 16 KiB, which come in segments of the network.
#[tokio::test]
async fn segments_of_a_long_record_are_no_short_reads() {
    let mut pair = member().await;
    for number in 0..600 {
        pair.send(format!("({}", "x".repeat(1_400)));
        pair.take_turn().unwrap();
        assert!(!pair.connection.deadlines.is_set(Deadline::RateLimit), "segment {number} is delayed");
    }
}

#[tokio::test]
async fn flush_at_shutdown_reads_what_a_receive_buffer_holds_in_short_reads_too() {
    let stub = Box::new(Stub { is_open: true, capacity: 1_001, ..Stub::default() });
    let mut pair = pair_with_codec(Some(stub), ListenerProtocol::Tls, Settings::default(), u64::MAX);
    pair.connection.begin();
    pair.send("JOIN room alice\n");
    pair.take_turn().unwrap();
    pair.follow_until_joined().await;
    pair.send(format!("{}\n", "x".repeat(1_000)).repeat(33));
    pair.connection.begin_input_flush().unwrap();
    while pair.connection.is_flushing_input() {
        pair.connection.slice.restart();
        pair.connection.resume_input().unwrap();
        pair.settle_room().await;
    }
    assert_eq!(pair.connection.lines_in, 34);
}

#[tokio::test]
async fn address_without_a_limit_of_lines_pays_for_no_handshake() {
    let mut pair = stub_pair();
    let mut live = pair.context.live.get();
    live.rate = 0;
    pair.context.live.replace(live);
    pair.connection.peer.sink().address_budget().spend_command(80_000, Instant::now().into_std());
    pair.send("\x16");
    read(&mut pair).unwrap();
    assert!(pair.received().starts_with("<hello>"));
}

#[tokio::test]
async fn record_that_is_not_complete_is_charged_to_the_memory() {
    let mut pair = stub_pair();
    pair.send(format!("\x16({}", "x".repeat(999)));
    read(&mut pair).unwrap();
    pair.connection.charge_kept_input();
    assert_eq!(pair.memory.used(), 1_000);
    pair.send(")");
    read(&mut pair).unwrap();
    pair.connection.charge_kept_input();
    assert_eq!(pair.memory.used(), 0);
}

#[tokio::test]
async fn lines_before_a_mistake_and_before_the_end_are_processed() {
    for (end, reason) in [("!", CloseReason::Transport(CodecError::BadRecord)), ("E", CloseReason::Eof)] {
        let mut pair = stub_pair();
        pair.send("\x16JOIN room alice\n");
        read(&mut pair).unwrap();
        pair.follow_until_joined().await;
        pair.send(format!("one\ntwo{end}three\n"));
        assert_eq!(read(&mut pair), Err(reason), "{end}");
        let lines = if end == "E" { 3 } else { 2 };
        assert_eq!(pair.connection.lines_in, lines, "{end}: an unfinished line counts at the end alone");
    }
}

/// Nothing of the lines is lost, whatever pauses input.
#[tokio::test]
async fn end_of_the_transport_waits_for_held_lines() {
    let mut pair = stub_pair();
    pair.send("\x16JOIN room alice\none\ntwoE");
    read(&mut pair).unwrap();
    assert!(pair.connection.held_input.is_some() && pair.connection.input_closed);
    pair.follow_until_joined().await;
    assert_eq!(pair.connection.resume_input(), Err(CloseReason::Eof));
    assert_eq!(pair.connection.lines_in, 3);
}

#[tokio::test(start_paused = true)]
async fn close_sends_its_reason_and_then_the_end_of_the_transport() {
    let mut pair = stub_pair();
    pair.send("\x16");
    read(&mut pair).unwrap();
    pair.received();
    pair.client.shutdown(std::net::Shutdown::Write).unwrap();
    pair.close(CloseReason::Shutdown).await;
    let lines = messages::error_lines(&"the server is shutting down: come back later");
    assert_eq!(pair.received(), sealed(&lines) + "<end>");
}

#[tokio::test(start_paused = true)]
async fn close_before_the_end_of_the_handshake_sends_no_line() {
    for (reason, told) in [
        (CloseReason::LoginTimeout(Duration::from_secs(30)), String::new()),
        (CloseReason::Transport(CodecError::NotTls), messages::error_lines(&messages::NOT_TLS)),
    ] {
        let mut pair = stub_pair();
        pair.client.shutdown(std::net::Shutdown::Write).unwrap();
        pair.close(reason).await;
        assert_eq!(pair.received(), told, "{reason}");
    }
}

#[tokio::test]
async fn address_is_not_charged_for_the_encoding_of_plain_lines() {
    let mut pair = stub_pair();
    pair.send("\x16JOIN room alice\n");
    read(&mut pair).unwrap();
    pair.follow_until_joined().await;
    pair.connection.peer.sink().address_budget().charge_encoding(u32::MAX, Instant::now().into_std());
    assert!(!pair.connection.waits_to_encode());
    pair.connection.set_time(Some(crate::protocol::commands::TimeSetting::On));
    assert!(pair.connection.waits_to_encode(), "times are encoded for the display");
}

#[tokio::test]
async fn peer_that_reads_slowly_gets_no_end_before_its_lines_when_it_can_not_be_moved() {
    let mut pair = member().await;
    let lines = LineBatch::new(Bytes::from(vec![b'\n'; 900_000]), 900_000, Minute(1));
    pair.connection.peer.deliver(&lines, &mut MetricsDelta::default());
    pair.connection.begin_draining();
    pair.connection.drain_output();
    assert_eq!(pair.connection.output_status, OutputStatus::Waiting, "the socket has taken all");
    let mut all = pair.received();
    pair.connection.end_handed_over();
    for _ in 0..100 {
        all += &pair.drained();
    }
    assert!(all.contains("\n]") && !all.contains("<end>"), "{} bytes", all.len());
}

#[tokio::test]
async fn peer_that_can_not_be_moved_is_told_and_gets_the_end() {
    let mut pair = member().await;
    pair.drained();
    pair.connection.end_handed_over();
    assert_eq!(pair.drained(), sealed(messages::UPGRADED) + "<end>");
}
