//! Tests of the shutdown: the notice is sent once, and is the last line.

use super::*;
use crate::room::operation::MemberListing;
use std::io::Read;
use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;

#[tokio::test]
async fn shutdown_is_sent_once_to_every_member_and_admits_no_joiner() {
    let (room, old, new, late) = (room(), peer(1), peer(2), peer(3));
    push(&room, [Operation::Join(Box::new(joiner(&old)))]);
    pass(&room).await;
    push(&room, [Operation::Join(Box::new(joiner(&new))), Operation::Shutdown, Operation::Shutdown]);
    pass(&room).await;
    push(&room, [rename(&new, "u2", "al"), Operation::Leave(Box::new(joiner(&old)))]);
    push(&room, [Operation::Join(Box::new(joiner(&late))), Operation::Shutdown]);
    pass(&room).await;
    assert_eq!(text(&old), "u1 has joined\nu2 has joined\n*** server is shutting down\n");
    assert_eq!(text(&new), "u2 has joined\n*** server is shutting down\n");
    assert_eq!(events_of(&old), PeerEvents::JOINED | PeerEvents::SHUTDOWN);
    assert_eq!(events_of(&new), PeerEvents::JOINED | PeerEvents::SHUTDOWN);
    assert_eq!((events_of(&late), text(&late)), (PeerEvents::ROOM_CLOSED, String::new()));
    assert!(room.roster().is_empty() && room.inbox.is_empty() && room.inbox.pending() == 0);
}

/// Each request comes before the shutdown, after it in the same batch, or while the pass runs.
#[tokio::test]
async fn shutdown_notice_is_the_last_line_whatever_is_requested() {
    const NOTICE: &str = "*** server is shutting down\n";
    let requests = |peer: &Arc<Peer<TextSink>>| {
        let sender = Requester { peer: Arc::clone(peer) as _, slot: MembershipSlot::A };
        [
            Operation::ShowMembers(Box::new(joiner(peer)), MemberListing::Who),
            Operation::ShowRooms { peer: Arc::clone(peer) as _, slot: MembershipSlot::A },
            show_history(peer, 9),
            whisper(sender, "u1"),
            Operation::SendLines { bytes: Box::from(&b"u0: a\n"[..]), lines: 1, sender: 0 },
            rename(peer, "u0", "al"),
        ]
    };
    for during_the_pass in [false, true] {
        let (room, counters) = (room(), Counters::default());
        let peers: Vec<_> = (0..400).map(peer).collect();
        push(&room, peers.iter().map(|peer| Operation::Join(Box::new(joiner(peer)))));
        pass(&room).await;
        push(&room, requests(&peers[0]).into_iter().take(5));
        push(&room, [Operation::Shutdown]);
        let mut run = pin!(room.run_passes(&counters));
        let mut poll = || run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if during_the_pass {
            assert!(poll().is_pending());
        }
        // A member has one request at a time, so its rename is in no batch with its other requests.
        push(&room, requests(&peers[0]).into_iter().take(if during_the_pass { 6 } else { 5 }));
        while poll().is_pending() {}
        for peer in &peers {
            let seen = text(peer);
            assert!(seen.ends_with(NOTICE) && seen.matches(NOTICE).count() == 1, "{seen}");
            assert!(seen.contains("u0: a\n"), "lines before the shutdown are said");
        }
        let asked = text(&peers[0]);
        for answer in ["*** 400 in room: ", "*** 1 room: ", "*** you whisper to u1: hi\n", "*** u399 has joined\n"] {
            assert!(asked.contains(answer), "{answer} is answered before the notice");
        }
        assert!(!asked.contains("no member here"));
        assert!(events_of(&peers[0]).contains(PeerEvents::SHUTDOWN));
        assert!(room.inbox.is_empty() && room.inbox.pending() == 0);
    }
}

/// The sender of the shutdown is preempted before it counts, and so is that of a line.
#[tokio::test]
async fn shutdown_that_is_not_counted_yet_is_applied_once() {
    let (room, member) = (room(), peer(1));
    push(&room, [Operation::Join(Box::new(joiner(&member)))]);
    pass(&room).await;
    let line = |text: &str| Operation::SendLines { bytes: Box::from(text.as_bytes()), lines: 1, sender: 0 };
    room.inbox.send_unmarked(Operation::Shutdown);
    push(&room, [line("u1: a\n")]);
    pass(&room).await;
    assert_eq!(text(&member), "u1 has joined\n*** server is shutting down\n");
    assert!(room.inbox.mark_sent().is_some(), "the room is quiet, so the count makes a pass due");
    pass(&room).await;
    assert_eq!(text(&member), "u1 has joined\n*** server is shutting down\n");
    assert!(room.inbox.is_empty() && room.inbox.pending() == 0);
}

/// The capacity of dropped lines is free again, and the log says that lines were lost.
#[test]
fn lines_that_a_closed_room_drops_are_logged_and_keep_no_capacity() {
    let settings = RoomSettings { inbox_bytes: 100, ..RoomSettings::default() };
    let room = Room::new(RoomName::parse("room").unwrap(), &settings, &MemoryBudget::new(u64::MAX), None);
    push(&room, [Operation::Shutdown]);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(pass(&room));
    let (mut log, writer) = io::pipe().unwrap();
    // With a single subscriber, tracing asks the thread that first logs a record whether it has one: a test without one
    // would switch that record off for all threads.
    let _second = Dispatch::new(NoSubscriber::default());
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(Mutex::new(writer)).finish();
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..3 {
            let lines = vec![b'\n'; 70].into_boxed_slice();
            let (status, _) = room.inbox.send_lines((lines, 70), 0, |_, _| unreachable!("the inbox has capacity"));
            assert_eq!(status, SendStatus::Accepted);
            runtime.block_on(pass(&room));
        }
    });
    let mut logged = String::new();
    log.read_to_string(&mut logged).unwrap();
    assert_eq!(logged.matches("lines were dropped: their room is shut down lines=70").count(), 3, "{logged}");
}
