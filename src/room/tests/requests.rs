//! Tests of requests: lists of members and rooms, whispers, renames, the history.

use super::*;
use crate::peer::route::Route;
use crate::peer::{DrainStatus, OutputOp};
use crate::room::batch::{Batch, CarriedState};
use crate::room::line_runs::{LineKind, LineRuns};
use crate::room::operation::MemberListing;
use crate::room::replies::DeferredReply;
use crate::text::time::Minute;
use std::collections::VecDeque;

/// Without a runtime, each request is answered before it returns.
#[test]
fn whisper_with_duplicate_names_reaches_the_one_member_of_that_name_or_none() {
    let registry = registry_with(RoomSettings { allow_duplicate_names: true, ..RoomSettings::default() });
    let peers = [peer(1), peer(2), peer(3), peer(4)];
    let mut members: Vec<_> =
        peers.iter().zip(["al", "bob", "Bob", "Carl"]).map(|(peer, name)| join(&registry, peer, name)).collect();
    let reached = |members: &[Membership], to: &str| {
        let before = peers.each_ref().map(|peer| text(peer));
        members[0].send_whisper(name(to), "psst");
        (1..4).filter(|&at| text(&peers[at]) != before[at]).collect::<Vec<_>>()
    };
    assert_eq!(reached(&members, "CARL"), [3]);
    assert!(text(&peers[0]).ends_with("*** you whisper to Carl: psst\n"), "the echo has the member's own letters");
    assert_eq!(reached(&members, "bob"), [0; 0]);
    assert_eq!(last_line(&peers[0]), "*** 2 members here are called bob: nothing was sent");
    assert_eq!(reached(&members, "dora"), [0; 0]);
    assert_eq!(last_line(&peers[0]), "*** no member here is called dora: /who lists the members");
    drop(members.remove(1));
    assert_eq!(reached(&members, "bob"), [2], "one member of the name is left");
    // A reply goes to the member that whispered, whatever other members are called.
    let _other = join(&registry, &peer(5), "al");
    members[1].send_reply("hi");
    assert_eq!(last_line(&peers[0]), "*** Bob whispers: hi");
}

#[test]
fn reply_goes_to_the_member_that_whispered_last() {
    let registry = registry_with(RoomSettings::default());
    let peers = [peer(1), peer(2), peer(3)];
    let mut members: Vec<_> =
        peers.iter().zip(["al", "Bob", "carl"]).map(|(peer, name)| join(&registry, peer, name)).collect();
    members[0].send_reply("hi");
    assert_eq!(last_line(&peers[0]), "*** no member has whispered to you in this room yet; write: /msg NAME TEXT");
    members[2].send_whisper(name("AL"), "one");
    members[1].send_whisper(name("al"), "two");
    members[0].send_reply("hi");
    assert_eq!(last_line(&peers[1]), "*** al whispers: hi");
    assert_eq!(last_line(&peers[0]), "*** you whisper to Bob: hi");
    // A rename changes the whisperer's name and not the member.
    members[1].request_rename(name("robert"));
    members[1].resolve_rename(true);
    members[0].send_reply("hello");
    assert_eq!(last_line(&peers[0]), "*** you whisper to robert: hello");
    members[1].send_reply("bye");
    assert_eq!(last_line(&peers[0]), "*** robert whispers: bye");
    // The name goes to another member when the whisperer has left.
    drop(members.remove(1));
    members[0].send_reply("still there?");
    assert_eq!(last_line(&peers[0]), "*** no member here is called robert: /who lists the members");
    let other = peer(4);
    let _other = join(&registry, &other, "robert");
    let before = text(&other);
    members[0].send_reply("still there?");
    assert_eq!(text(&other), before, "another member has the name");
    assert!(last_line(&peers[0]).starts_with("*** robert, the member that whispered to you, has left: "));
    // The addressee's entry ends with its membership.
    drop(members.remove(0));
    members.insert(0, join(&registry, &peers[0], "al"));
    members[0].send_reply("hi");
    assert!(last_line(&peers[0]).starts_with("*** no member has whispered to you"));
}

/// The addressee of a whisper leaves while the pass that delivers the whisper still runs.
#[tokio::test]
async fn whisper_to_a_member_that_leaves_meanwhile_leaves_no_entry() {
    let (room, counters) = (room(), Counters::default());
    let peers: Vec<_> = (0..400).map(peer).collect();
    push(&room, peers.iter().map(|peer| Operation::Join(Box::new(joiner(peer)))));
    pass(&room).await;
    let sender = Requester { peer: Arc::clone(&peers[0]) as _, slot: MembershipSlot::A };
    push(&room, [Operation::SendLines { bytes: Box::from(&b"u1: a\n"[..]), lines: 1, sender: 0 }]);
    push(&room, [whisper(sender, "u1")]);
    let mut run = pin!(room.run_passes(&counters));
    let mut poll = || run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll().is_pending());
    push(&room, [Operation::Leave(Box::new(joiner(&peers[1])))]);
    while poll().is_pending() {}
    assert_eq!(last_line(&peers[1]), "*** u0 whispers: hi");
    let state = room.pass_state.take().unwrap();
    assert_eq!(state.whisperers.last(PeerId(1)), None);
}

/// The whisperer leaves, comes back and takes another name in one batch.
#[tokio::test]
async fn reply_reaches_a_whisperer_that_is_renamed_right_after_its_return() {
    let (room, peers) = (room(), [0, 1].map(peer));
    let [sender, answers] =
        peers.each_ref().map(|peer| Requester { peer: Arc::clone(peer) as _, slot: MembershipSlot::A });
    push(&room, peers.iter().map(|peer| Operation::Join(Box::new(joiner(peer)))));
    push(&room, [whisper(sender, "u1")]);
    pass(&room).await;
    push(
        &room,
        [leave_as(&peers[0], "u0"), Operation::Join(Box::new(joiner(&peers[0]))), rename(&peers[0], "u0", "al")],
    );
    pass(&room).await;
    let (from, charge) = (name("u1"), MemoryCharge::default());
    let reply = Whisper { sender: answers, from, to: Addressee::LastWhisperer, text: "hi".into(), _charge: charge };
    push(&room, [Operation::Whisper(Box::new(reply))]);
    pass(&room).await;
    assert_eq!(last_line(&peers[0]), "*** u1 whispers: hi");
    assert_eq!(last_line(&peers[1]), "*** you whisper to al: hi");
}

#[test]
fn rename_to_the_same_name_is_answered_to_its_member_alone() {
    let registry = registry_with(RoomSettings::default());
    let peers = [peer(1), peer(2)];
    let mut members: Vec<_> =
        peers.iter().zip(["carl", "bob"]).map(|(peer, name)| join(&registry, peer, name)).collect();
    let before = text(&peers[1]);
    let _ = events_of(&peers[0]);
    members[0].request_rename(name("carl"));
    assert_eq!(last_line(&peers[0]), "*** you are called carl already");
    assert_eq!((events_of(&peers[0]), text(&peers[1])), (PeerEvents::RENAMED, before));
    members[0].resolve_rename(true);
    members[0].request_rename(name("Carl"));
    assert_eq!(last_line(&peers[1]), "carl is now known as Carl");
    assert_eq!(last_line(&peers[0]), "carl is now known as Carl");
}

#[tokio::test]
async fn talk_of_a_quiet_room_outlasts_its_visits() {
    let (room, stays) = (room_with(100, 6), peer(0));
    push(&room, [Operation::Join(Box::new(joiner(&stays)))]);
    for number in 0..3 {
        let bytes = format!("u0: {number}\n").into_bytes().into();
        push(&room, [Operation::SendLines { bytes, lines: 1, sender: 0 }]);
    }
    for id in 1..56 {
        push(&room, [Operation::Join(Box::new(joiner(&peer(id)))), Operation::Leave(Box::new(joiner(&peer(id))))]);
        pass(&room).await;
    }
    let new = peer(100);
    push(&room, [Operation::Join(Box::new(joiner(&new))), show_history(&new, 4)]);
    pass(&room).await;
    let replayed = "*** u0: 0\n*** u0: 1\n*** u0: 2\n*** u54 has left\n*** u55 has joined\n*** u55 has left\n";
    let listed = "*** u0: 1\n*** u0: 2\n*** u55 has left\n*** u100 has joined\n";
    let seen = text(&new);
    let (before, after) = seen.split_once("u100 has joined\n").unwrap();
    assert_eq!((before, after), (replayed, listed));
}

/// Joins these many members, whose names are `u` and a number.
async fn registry_with_members(count: u64) -> (Arc<Registry>, Vec<Arc<Peer<TextSink>>>, Vec<Membership>) {
    let (registry, peers) = (registry_with(RoomSettings::default()), (0..count).map(peer).collect::<Vec<_>>());
    let members = peers.iter().map(|peer| join(&registry, peer, &format!("u{}", peer.id().0))).collect();
    registry.tracker().close();
    registry.tracker().wait().await;
    (registry, peers, members)
}

/// A pass delivers a line while a peer joins, sees its own join at once, and asks.
#[tokio::test]
async fn member_list_has_its_asker_and_every_member_that_the_asker_has_seen() {
    let (registry, peers, members) = registry_with_members(1_000).await;
    assert_eq!(members[0].send_lines(Box::from(&b"u0: a\n"[..]), 1), SendStatus::Accepted);
    while !text(&peers[0]).ends_with("u0: a\n") && !text(&peers[999]).ends_with("u0: a\n") {
        yield_now().await;
    }
    let (new, next) = (peer(1_000), peer(1_001));
    let memberships = [join(&registry, &new, "new"), join(&registry, &next, "next")];
    while events_of(&new) != PeerEvents::JOINED {
        yield_now().await;
    }
    assert!(text(&new).contains("next has joined\n"));
    memberships[0].request_members(MemberListing::Who);
    memberships[0].request_rooms();
    registry.tracker().wait().await;
    let seen = text(&new);
    let (list, rooms) = (seen.lines().nth_back(1).unwrap(), seen.lines().last().unwrap());
    assert!(list.starts_with("*** 1002 in room: ") && list.ends_with(", and 952 more"), "{list}");
    assert!(list.split([' ', ',']).any(|name| name == "new"), "{list}");
    assert_eq!(rooms, "*** 1 room: room (1002); you are in room");
    assert!(events_of(&new).contains(PeerEvents::REQUEST_DONE));
}

/// Without a runtime, each request is answered before it returns.
#[test]
fn member_list_follows_joins_renames_and_leaves() {
    let registry = registry_with(RoomSettings::default());
    let peers = [peer(1), peer(2)];
    let mut members: Vec<_> = peers.iter().zip(["bob", "Al"]).map(|(peer, name)| join(&registry, peer, name)).collect();
    members[0].request_members(MemberListing::Who);
    assert_eq!(last_line(&peers[0]), "*** 2 in room: Al, bob");
    let name = UserName::parse("AL").unwrap();
    members[1].request_rename(name);
    members[1].resolve_rename(true);
    members[1].request_members(MemberListing::Who);
    assert_eq!(last_line(&peers[1]), "*** 2 in room: AL, bob");
    members.remove(0);
    members[0].request_members(MemberListing::Who);
    assert_eq!(last_line(&peers[1]), "*** 1 in room: AL");
}

#[tokio::test]
async fn request_of_a_member_that_leaves_in_the_same_batch_gets_no_list() {
    let (room, stays, leaves) = (room(), peer(1), peer(2));
    push(&room, [&stays, &leaves].map(|peer| Operation::Join(Box::new(joiner(peer)))));
    pass(&room).await;
    push(
        &room,
        [
            Operation::ShowMembers(Box::new(joiner(&leaves)), MemberListing::Who),
            Operation::Leave(Box::new(joiner(&leaves))),
        ],
    );
    pass(&room).await;
    assert!(!text(&leaves).contains("***"), "{}", text(&leaves));
}

/// The figures are printed and not judged: `cargo test listings_of -- --nocapture`.
#[test]
fn listings_of_ten_thousand_members_and_rooms_are_short() {
    let registry = registry_with(RoomSettings::default());
    let user = UserName::parse("al").unwrap();
    let join = |room: String, user, peer: &Arc<Peer<TextSink>>| {
        registry.join(RoomName::parse(&room).unwrap(), user, Arc::clone(peer) as _, MembershipSlot::A).unwrap()
    };
    let _rooms: Vec<_> = (0..10_000).map(|id| join(format!("r{id}"), user, &peer(id))).collect();
    let asker = peer(20_000);
    let asks = join("own".to_owned(), user, &asker);
    let start = Instant::now();
    asks.request_rooms();
    println!("10,001 rooms listed in {} us", start.elapsed().as_micros());
    let reply = last_line(&asker);
    assert!(reply.starts_with("*** 10001 rooms: ") && reply.ends_with(", and 9951 more; you are in own"), "{reply}");
    let room = room();
    let peers: Vec<_> = (0..10_000).map(peer).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    push(&room, peers.iter().map(|peer| Operation::Join(Box::new(joiner(peer)))));
    runtime.block_on(pass(&room));
    push(&room, [Operation::ShowMembers(Box::new(joiner(&peers[7])), MemberListing::Who)]);
    let start = Instant::now();
    runtime.block_on(pass(&room));
    println!("10,000 members listed in {} us", start.elapsed().as_micros());
    let reply = last_line(&peers[7]);
    assert!(reply.starts_with("*** 10000 in room: ") && reply.contains(", u7") && reply.len() < 500, "{reply}");
}

/// The host of a server with many rooms.
struct ManyRooms(Counters);

impl PassHost for ManyRooms {
    fn counters(&self) -> &Counters {
        &self.0
    }

    fn room_count(&self) -> usize {
        10_000
    }

    fn rooms(&self) -> Vec<(RoomName, usize)> {
        self.0.rooms()
    }

    fn on_quiet(&self) {}
}

#[tokio::test]
async fn reply_costs_more_where_it_lists_rooms_or_compares_names() {
    let host = ManyRooms(Counters::default());
    for (allows_duplicate_names, whisper_cost) in [(false, REPLY_COST), (true, REPLY_COST + 300 / 128)] {
        let (room, peers) = (room(), (0..300).map(peer).collect::<Vec<_>>());
        let member = |peer| {
            let mut member = joiner(peer);
            member.key.disambiguator = peer.id().non_zero().filter(|_| allows_duplicate_names);
            Operation::Join(Box::new(member))
        };
        push(&room, peers[1..].iter().chain([&peer(300)]).map(member));
        pass(&room).await;
        let batch = Batch::new(&room, CarriedState::default());
        let sender = Requester { peer: Arc::clone(&peers[1]) as _, slot: MembershipSlot::A };
        let Operation::Whisper(whisper) = whisper(sender, "u2") else { unreachable!("the operation is a whisper") };
        assert_eq!(batch.reply_cost(&host, &DeferredReply::Whisper(whisper)), whisper_cost);
        assert_eq!(batch.reply_cost(&host, &DeferredReply::Rooms), REPLY_COST + 10_000 / 32);
        assert_eq!(batch.reply_cost(&host, &DeferredReply::History(9)), REPLY_COST);
    }
}

/// A room of few members, of which one asks for all rooms of a large server on and on.
#[tokio::test]
async fn room_listings_are_charged_by_the_number_of_rooms() {
    let (room, asks, host) = (room(), peer(1), ManyRooms(Counters::default()));
    push(&room, [Operation::Join(Box::new(joiner(&asks)))]);
    pass(&room).await;
    push(&room, (0..50).map(|_| Operation::ShowRooms { peer: Arc::clone(&asks) as _, slot: MembershipSlot::A }));
    let mut yields = 0;
    tokio::select! {
        biased;
        () = room.run_passes(&host) => {}
        () = async { loop { yields += 1; yield_now().await } } => {}
    }
    assert!(yields >= 49, "each listing of 10,000 rooms uses a slice up: {yields}");
}

/// Drains a peer of the buffered route, and returns each run of lines after its minute.
fn drained(peer: &Arc<Peer<TextSink>>) -> Vec<(Minute, String)> {
    let mut runs = Vec::new();
    let mut encode = |lines: &[u8], minute: Minute, out: &mut VecDeque<u8>| {
        runs.push((minute, str::from_utf8(lines).unwrap().to_owned()));
        out.extend(lines);
    };
    while let Some((DrainStatus::Progress(_), _)) = peer.drain(Some(&mut encode), None, &mut MetricsDelta::default()) {}
    runs
}

#[tokio::test]
async fn live_and_earlier_lines_carry_the_minute_in_which_they_were_said() {
    let (room, start) = (room_with(100, 5), Minute::now());
    // Lines of long ago are in the history.
    let mut state = room.pass_state.take().unwrap();
    for minute in [1, 1, 2] {
        let mut runs = LineRuns::default();
        runs.extend(LineKind::Talk, 5, 1);
        state.history.as_mut().unwrap().push(Minute(minute), b"a: b\n", &runs);
    }
    room.pass_state.store(Some(state));
    let buffered = peer(1);
    let route = OutputOp::Route(Route::Buffered);
    buffered.apply(&mut VecDeque::from([route]), &mut MetricsDelta::default()).unwrap();
    push(&room, [Operation::Join(Box::new(joiner(&buffered)))]);
    pass(&room).await;
    let replay = [(Minute(1), "*** a: b\n*** a: b\n".to_owned()), (Minute(2), "*** a: b\n".to_owned())];
    let seen = drained(&buffered);
    assert_eq!(seen[..2], replay);
    assert!(seen[2].1 == "u1 has joined\n" && (start..=Minute::now()).contains(&seen[2].0), "{seen:?}");
    push(&room, [show_history(&buffered, 5)]);
    pass(&room).await;
    let seen = drained(&buffered);
    assert_eq!(seen[..2], replay);
    assert!(seen[2].1 == "*** u1 has joined\n" && (start..=Minute::now()).contains(&seen[2].0), "{seen:?}");
}
