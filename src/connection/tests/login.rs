//! Tests of the login of one connection: its attempts, and what ends with it.

use super::super::close_reason::CloseReason;
use super::super::timers::Deadline;
use super::pair::{pair, pair_of};
use super::*;

const TELNET: ListenerProtocol = ListenerProtocol::Telnet;

#[tokio::test]
async fn telnet_listener_allows_three_first_lines_and_a_plain_listener_one() {
    let mut telnet = pair(TELNET);
    for left in ["(2 more tries are left)", "(1 more try is left)"] {
        telnet.send("hello\r\n");
        assert_eq!(telnet.take_turn(), Ok(()));
        let told = telnet.received();
        assert!(told.contains(left), "{told:?}");
    }
    telnet.send("hello\r\n");
    assert!(matches!(telnet.take_turn(), Err(CloseReason::BadJoin(_))));
    let mut plain = pair(ListenerProtocol::Raw);
    plain.send("hello\n");
    assert!(matches!(plain.take_turn(), Err(CloseReason::BadJoin(_))));
}

#[tokio::test]
async fn quit_before_the_join_line_is_a_command_of_telnet_listeners_alone() {
    let mut telnet = pair(TELNET);
    telnet.send("/who\r\n/quit\r\n");
    assert_eq!(telnet.take_turn(), Err(CloseReason::Quit));
    assert!(telnet.received().contains("(2 more tries are left)"), "another command ends the login");
    let mut plain = pair(ListenerProtocol::Raw);
    plain.send("/quit\n");
    assert!(matches!(plain.take_turn(), Err(CloseReason::BadJoin(_))));
}

#[tokio::test]
async fn first_line_that_is_refused_after_the_login_timeout_is_the_last() {
    let mut late = pair(TELNET);
    late.connection.deadlines.clear(Deadline::Login);
    late.send("hello\r\n");
    assert!(matches!(late.take_turn(), Err(CloseReason::BadJoin(_))));
    let mut settings = Settings::default();
    settings.live.login_timeout = Duration::ZERO;
    let mut unlimited = pair_of(TELNET, settings, u64::MAX);
    assert!(!unlimited.connection.deadlines.is_set(Deadline::Login));
    unlimited.send("hello\r\n");
    assert_eq!(unlimited.take_turn(), Ok(()), "a login without a timeout is over");
}

#[tokio::test]
async fn admitted_peer_leaves_the_login_queue_and_gets_the_message_of_the_day() {
    let mut settings = Settings { motd: Some(Motd::new(b"be kind").unwrap()), ..Settings::default() };
    settings.live.idle_timeout = Duration::from_secs(60);
    let mut pair = pair_of(ListenerProtocol::Raw, settings, u64::MAX);
    pair.send("JOIN room alice\n");
    pair.take_turn().unwrap();
    assert!(pair.connection.login.is_some() && pair.connection.deadlines.is_set(Deadline::Login));
    pair.follow_until_joined().await;
    assert!(pair.connection.login.is_none() && !pair.queue.make_way());
    assert!(!pair.connection.deadlines.is_set(Deadline::Login) && pair.connection.deadlines.is_set(Deadline::Idle));
    assert!(pair.received().contains("be kind"));
}
