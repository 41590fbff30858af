//! Tests of announcements: a line of the operators in the order of the room's lines.

use super::*;

fn announcement() -> Operation {
    Operation::Announce(b"*** restart at five\n"[..].into())
}

fn say(text: &str) -> Operation {
    Operation::SendLines { bytes: text.as_bytes().into(), lines: 1, sender: 0 }
}

#[tokio::test]
async fn announcement_has_one_place_among_the_lines_of_its_room() {
    let (room, first, second) = (room(), peer(1), peer(2));
    push(&room, [Operation::Join(Box::new(joiner(&first))), say("u1: before\n"), announcement()]);
    push(&room, [Operation::Join(Box::new(joiner(&second))), say("u1: after\n")]);
    let work = pass(&room).await;
    let after = "u2 has joined\nu1: after\n";
    assert_eq!(text(&first), format!("u1 has joined\nu1: before\n*** restart at five\n{after}"));
    assert_eq!(text(&second), after);
    assert_eq!(work.lines, 5);
}

#[tokio::test]
async fn shutdown_notice_stays_the_last_line_of_a_room_with_announcements() {
    let (room, member) = (room(), peer(1));
    push(&room, [Operation::Join(Box::new(joiner(&member))), announcement(), Operation::Shutdown, announcement()]);
    pass(&room).await;
    push(&room, [announcement()]);
    pass(&room).await;
    let seen = text(&member);
    assert!(seen.starts_with("u1 has joined\n*** restart at five\n"), "{seen}");
    assert!(seen.ends_with("*** server is shutting down\n"), "{seen}");
    assert!(room.inbox.is_empty() && room.inbox.pending() == 0);
}

#[tokio::test]
async fn announcement_to_an_empty_room_is_dropped() {
    let room = room();
    push(&room, [announcement()]);
    pass(&room).await;
    assert!(room.roster().is_empty() && room.inbox.is_empty());
}
