//! Tests of a connection whose transport is not plain: what its handshake is charged, and what is sent when.

use super::super::close_reason::CloseReason;
use super::super::timers::Deadline;
use super::pair::{Pair, pair_with_codec};
use super::*;
use crate::net::codec::{CodecError, Inbound};
use crate::peer::route::Route;
use crate::text::messages;

/// A codec that can be read: `H` is the client's handshake, `E` its end, `!` a mistake, and all other bytes are plain.
#[derive(Default)]
struct Stub {
    is_open: bool,
    /// Bytes between `(` and `)` are kept until the second one comes.
    partial: Vec<u8>,
}

impl Codec for Stub {
    fn decode(&mut self, wire: &mut [u8], plain: &mut Vec<u8>, reply: &mut Vec<u8>) -> Result<Inbound, CodecError> {
        for byte in wire.iter().copied() {
            match byte {
                b'H' => {
                    self.is_open = true;
                    reply.extend_from_slice(b"<hello>");
                }
                b'E' => return Ok(Inbound::Ended),
                b'!' => {
                    reply.extend_from_slice(b"<alert>");
                    return Err(CodecError::BadRecord);
                }
                b'?' => return Err(CodecError::NotTls),
                b')' => self.partial = Vec::new(),
                _ if byte == b'(' || !self.partial.is_empty() => self.partial.push(byte),
                _ => plain.push(byte),
            }
        }
        Ok(Inbound::Open)
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

    fn held_bytes(&self) -> usize {
        self.partial.len()
    }

    fn read_capacity(&self) -> usize {
        1 << 14
    }
}

/// Returns a connection that waits for its handshake.
fn stub_pair() -> Pair {
    let mut pair = pair_with_codec(Some(Box::<Stub>::default()), ListenerProtocol::Tls, Settings::default(), u64::MAX);
    pair.connection.begin();
    pair
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
    pair.send("HJOIN room alice\n");
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
    while pair.context.handshakes.spend(later).is_some_and(|allowed_at| allowed_at <= later) {}
    pair.send("H");
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
    while pair.context.handshakes.spend(later).is_some() {}
    pair.send("H");
    assert_eq!(read(&mut pair), Err(CloseReason::TooManyHandshakes));
    pair.connection.send_close_reason(CloseReason::TooManyHandshakes, None, false);
    assert_eq!(pair.received().as_bytes(), b"\x15\x03\x03\0\x02\x02P");
}

#[tokio::test]
async fn handshake_is_charged_to_its_address_and_given_back_if_it_does_not_begin() {
    let mut pair = stub_pair();
    let now = Instant::now().into_std();
    pair.connection.peer.sink().address_budget().spend_command(8_000, now);
    pair.send("H");
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
async fn address_without_a_limit_of_lines_pays_for_no_handshake() {
    let mut pair = stub_pair();
    let mut live = pair.context.live.get();
    live.rate = 0;
    pair.context.live.replace(live);
    pair.connection.peer.sink().address_budget().spend_command(80_000, Instant::now().into_std());
    pair.send("H");
    read(&mut pair).unwrap();
    assert!(pair.received().starts_with("<hello>"));
}

#[tokio::test]
async fn record_that_is_not_complete_is_charged_to_the_memory() {
    let mut pair = stub_pair();
    pair.send(format!("H({}", "x".repeat(999)));
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
        pair.send("HJOIN room alice\n");
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
    pair.send("HJOIN room alice\none\ntwoE");
    read(&mut pair).unwrap();
    assert!(pair.connection.held_input.is_some() && pair.connection.input_closed);
    pair.follow_until_joined().await;
    assert_eq!(pair.connection.resume_input(), Err(CloseReason::Eof));
    assert_eq!(pair.connection.lines_in, 3);
}

#[tokio::test(start_paused = true)]
async fn close_sends_its_reason_and_then_the_end_of_the_transport() {
    let mut pair = stub_pair();
    pair.send("H");
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
    pair.send("HJOIN room alice\n");
    read(&mut pair).unwrap();
    pair.follow_until_joined().await;
    pair.connection.peer.sink().address_budget().charge_encoding(u32::MAX, Instant::now().into_std());
    assert!(!pair.connection.waits_to_encode());
    pair.connection.set_time(Some(crate::protocol::commands::TimeSetting::On));
    assert!(pair.connection.waits_to_encode(), "times are encoded for the display");
}
