//! Tests of the display of one connection: who encodes its lines, and what its settings answer.

use super::super::timers::Deadline;
use super::pair::Pair;
use super::*;
use crate::peer::route::Route;
use crate::protocol::commands::TimeSetting;
use crate::text::names::UserName;

#[tokio::test]
async fn connection_encodes_the_lines_of_a_display_that_is_not_plain() {
    let mut pair = Pair::member().await;
    pair.connection.set_time(None);
    assert_eq!(pair.connection.peer.route(), Route::DirectLf, "a plain display is encoded");
    pair.connection.set_time(Some(TimeSetting::On));
    assert_eq!(pair.connection.peer.route(), Route::Buffered);
    let told = pair.drained();
    assert!(told.ends_with(" *** time is on, shown in UTC\n"), "{told:?}");
    pair.connection.set_time(Some(TimeSetting::Off));
    assert_eq!(pair.connection.peer.route(), Route::DirectLf);
}

#[tokio::test(start_paused = true)]
async fn delay_of_encoding_ends_with_the_encoding() {
    let mut pair = Pair::member().await;
    pair.connection.set_time(Some(TimeSetting::On));
    let budget = pair.connection.peer.sink().address_budget();
    budget.charge_encoding(u32::MAX, Instant::now().into_std());
    assert!(pair.connection.waits_to_encode() && pair.connection.deadlines.is_set(Deadline::Encoding));
    pair.connection.set_time(Some(TimeSetting::Off));
    assert!(!pair.connection.deadlines.is_set(Deadline::Encoding));
}

#[tokio::test]
async fn settings_of_the_display_are_answered() {
    let mut pair = Pair::member().await;
    let bob = UserName::parse("bob").unwrap();
    pair.connection.set_color(None);
    assert!(pair.received().starts_with("*** color is off"));
    pair.connection.ignore(None);
    assert!(pair.received().starts_with("*** "));
    pair.connection.unignore(bob);
    assert!(pair.received().contains("bob"));
    pair.connection.ignore(Some(bob));
    pair.connection.drain_output();
    assert!(pair.received().contains("bob"));
    assert_eq!(pair.connection.peer.route(), Route::Buffered);
    pair.connection.unignore(bob);
    pair.connection.drain_output();
    assert!(pair.received().contains("bob"));
    assert_eq!(pair.connection.peer.route(), Route::DirectLf);
}
