//! Tests of what operators do to one connection.

use super::super::close_reason::CloseReason;
use super::super::timers::Deadline;
use super::pair::Pair;
use super::*;

/// The number of a pair's connection.
const ID: PeerId = PeerId(1);

fn directory(pair: &Pair) -> Arc<ConnectionDirectory> {
    pair.context.directory.clone().unwrap()
}

/// Takes turns until the room has answered all input.
async fn take_turns(pair: &mut Pair) {
    for _ in 0..10 {
        pair.take_turn().unwrap();
        pair.settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn muted_member_is_told_so_and_its_room_sees_nothing_until_its_time_is_over() {
    let mut pair = Pair::member().await;
    assert!(directory(&pair).request_mute(ID, Some(Duration::from_secs(60))));
    pair.settle().await;
    pair.send("hello\n/me waves\n/msg alice hi\n/nick al\n/join other al\n/who\n/unknown\n");
    take_turns(&mut pair).await;
    let seen = pair.received();
    assert_eq!(seen.matches("*** you are muted for ").count(), 5, "{seen}");
    assert!(seen.contains("*** 1 in room: alice\n") && seen.contains("unknown"), "{seen}");
    assert!(!seen.contains("hello") && !seen.contains("waves") && !seen.contains("whisper"), "{seen}");
    while pair.connection.is_muted() {
        pair.step().await.unwrap();
    }
    pair.send("hello\n");
    take_turns(&mut pair).await;
    assert_eq!(pair.received(), "alice: hello\n");
}

#[tokio::test(start_paused = true)]
async fn mute_without_an_end_lasts_until_it_is_lifted() {
    let mut pair = Pair::member().await;
    assert!(directory(&pair).request_mute(ID, None));
    pair.settle().await;
    tokio::time::advance(Duration::from_secs(365 * 24 * 3600)).await;
    pair.send("hello\n");
    take_turns(&mut pair).await;
    assert_eq!(pair.received(), "*** you are muted: no member sees this line\n");
    assert!(directory(&pair).request_unmute(ID));
    pair.settle().await;
    assert!(!pair.connection.deadlines.is_set(Deadline::Mute));
    pair.send("hello\n");
    take_turns(&mut pair).await;
    assert_eq!(pair.received(), "alice: hello\n");
}

#[tokio::test(start_paused = true)]
async fn muted_member_quits_without_its_last_text() {
    let mut pair = Pair::member().await;
    assert!(directory(&pair).request_mute(ID, None));
    pair.settle().await;
    pair.send("/quit you all are bad\n");
    assert_eq!(pair.take_turn(), Err(CloseReason::Quit));
    pair.close(CloseReason::Quit).await;
    assert_eq!(pair.received(), "");
}

#[tokio::test(start_paused = true)]
async fn kicked_member_is_told_the_reason_and_leaves_the_directory() {
    let mut pair = Pair::member().await;
    let told = "an operator closed your connection: flooding";
    assert!(directory(&pair).request_close(ID, CloseReason::Kicked, told.to_owned()));
    let outcome = pair.step().await;
    assert_eq!(outcome, Err(CloseReason::Kicked));
    pair.close(CloseReason::Kicked).await;
    assert_eq!(pair.received(), format!("ERROR\n{told}\n"));
    assert_eq!(directory(&pair).len(), 0);
}

/// The kick comes while the connection ends for a reason of its own.
#[tokio::test(start_paused = true)]
async fn line_of_a_kick_is_not_told_for_another_reason() {
    let mut pair = Pair::member().await;
    assert!(directory(&pair).request_close(ID, CloseReason::Kicked, "kicked".to_owned()));
    pair.close(CloseReason::RoomFailed).await;
    assert_eq!(pair.received(), "ERROR\nthe room has failed: connect again\n");
}

#[tokio::test(start_paused = true)]
async fn connection_reports_its_figures_at_its_next_turn() {
    let mut pair = Pair::member().await;
    pair.send("hello\n");
    take_turns(&mut pair).await;
    let report = directory(&pair).request_report(ID).unwrap();
    pair.settle().await;
    let ConnectionReport { address, identity, lines_in, backlog, muted, .. } = report.await.unwrap();
    let (room, name) = identity.unwrap();
    assert_eq!((&*address, room.as_str(), name.as_str()), ("unix", "room", "alice"));
    assert_eq!((lines_in, backlog, muted), (2, Some(0), false), "the JOIN line counts, too");
}

#[tokio::test(start_paused = true)]
async fn connection_that_closes_drops_the_requests_for_its_figures() {
    let mut pair = Pair::member().await;
    let report = directory(&pair).request_report(ID).unwrap();
    pair.close(CloseReason::Quit).await;
    assert!(report.await.is_err());
    assert!(directory(&pair).request_report(ID).is_none());
}

#[test]
fn connection_that_panics_leaves_the_directory() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let pair = Pair::member().await;
        let directory = directory(&pair);
        assert_eq!(directory.len(), 1);
        drop(pair.connection);
        assert_eq!(directory.len(), 0);
    });
}
