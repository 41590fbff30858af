//! Well-formed frames of a publisher that lies: no frame makes the machine panic, hold much, or forge a line.

use super::{Channel, Core, Effect, LogFrame, StoredFrame};
use crate::cluster::frame::{CountsPart, Head, HistoryLine, Item, Member, Origin, Position, StreamId, encode, version};
use crate::config::ClusterOrder;
use crate::room::remote::{LocalChange, RemoteChange};
use crate::text::names::{NodeName, RoomName, UserName};
use crate::text::sanitize::sanitize;
use crate::text::time::Minute;
use bytes::Bytes;
use proptest::prelude::*;

const NOW: u64 = 1_000_000;

fn room() -> RoomName {
    RoomName::parse("lobby").unwrap()
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..4, Just(NOW), Just(u64::MAX - 1), Just(u64::MAX), any::<u64>()]
}

fn small() -> impl Strategy<Value = u32> {
    prop_oneof![0u32..40, Just(u32::MAX), any::<u32>()]
}

fn name() -> impl Strategy<Value = UserName> {
    prop_oneof![Just("alice"), Just("bob"), Just("has"), Just("~")].prop_map(|name| UserName::parse(name).unwrap())
}

fn member() -> impl Strategy<Value = Member> {
    (name(), number()).prop_map(|(name, since)| Member { name, since })
}

fn item() -> impl Strategy<Value = Item> {
    prop_oneof![
        (small(), small()).prop_map(|(bytes, lines)| Item::Lines { bytes, lines }),
        member().prop_map(Item::Joined),
        name().prop_map(Item::Left),
        (name(), member()).prop_map(|(from, to)| Item::Renamed(from, to)),
        name().prop_map(Item::Claimed),
        name().prop_map(Item::Unclaimed),
    ]
}

fn position() -> impl Strategy<Value = Position> {
    (number(), number()).prop_map(|(lines, changes)| Position { lines, changes })
}

fn stream() -> impl Strategy<Value = StreamId> {
    number().prop_map(|stream| StreamId { room: room(), stream })
}

fn origin() -> impl Strategy<Value = Origin> {
    let node = prop_oneof![Just("n1"), Just("n2"), Just("n3")];
    (node, number(), small()).prop_map(|(node, boot, epoch)| Origin {
        node: NodeName::parse(node).unwrap(),
        boot,
        epoch,
    })
}

fn head() -> impl Strategy<Value = Head> {
    let items = proptest::collection::vec(item(), 0..6);
    let members = proptest::collection::vec(member(), 0..6);
    let lines = proptest::collection::vec((small(), any::<bool>(), small()), 0..4);
    prop_oneof![
        4 => (stream(), position(), items, any::<bool>())
            .prop_map(|(of, from, items, is_shown)| Head::Changes { of, from, items, is_shown }),
        2 => (stream(), position()).prop_map(|(of, at)| Head::Tail { of, at }),
        3 => (stream(), position(), members, name(), any::<bool>(), any::<bool>())
            .prop_map(|(of, at, members, name, is_first, is_last)| {
                Head::Snapshot { of, at, members, claims: vec![name], is_first, is_last }
            }),
        1 => stream().prop_map(|of| Head::Closed { of }),
        1 => Just(Head::Hello { room: room() }),
        1 => Just(Head::HistoryWanted { room: room() }),
        1 => lines.prop_map(|lines| {
            let line = |(minute, is_notice, bytes)| HistoryLine { minute, is_notice, bytes };
            Head::History { room: room(), lines: lines.into_iter().map(line).collect() }
        }),
        1 => number().prop_map(|counts| Head::Heartbeat { counts }),
        1 => Just(Head::Bye),
        1 => origin().prop_map(Head::TakenForDead),
        1 => (number(), any::<bool>(), any::<bool>(), small()).prop_map(|(number, is_first, is_last, count)| {
            let part = CountsPart::All { is_first, is_last };
            Head::Counts { number, part, rooms: vec![(room(), count)] }
        }),
        1 => (number(), small())
            .prop_map(|(number, count)| Head::Counts { number, part: CountsPart::Changed, rooms: vec![(room(), count)] }),
        1 => Just(Head::CountsWanted),
        1 => Just(Head::Ping),
        1 => Just(Head::Pong),
        1 => (number(), name(), name()).prop_map(|(id, from, to)| Head::Whisper { id, room: room(), from, to }),
        1 => (number(), proptest::option::of(name())).prop_map(|(id, to)| Head::Whispered { id, to }),
    ]
}

fn raw() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just(&b"alice: hi\n"[..]),
        Just(&b"*** server is shutting down\n"[..]),
        Just(&b"alice: \x1b[2J\n"[..]),
        Just(&b"bob has joined\n"[..]),
        Just(&b"* bob waves\n"[..]),
        Just(&b"\xff\xfe"[..]),
        Just(&b"\n"[..]),
    ];
    proptest::collection::vec(part, 0..5).prop_map(|parts| parts.concat())
}

fn channel(head: &Head, order: ClusterOrder) -> Channel {
    match head {
        Head::Changes { .. } if order == ClusterOrder::Total => Channel::Room(room()),
        Head::Changes { .. } => Channel::Changes(room()),
        Head::Tail { .. } | Head::Snapshot { .. } | Head::Closed { .. } => Channel::Room(room()),
        Head::Heartbeat { .. } | Head::Bye | Head::TakenForDead(_) | Head::Operator { .. } => Channel::All,
        _ => Channel::Node(NodeName::parse("n1").unwrap()),
    }
}

/// Checks that an update forges no line of the server and controls no terminal.
fn check(effects: Vec<Effect>) {
    for effect in effects {
        let Effect::Update(_, _, update) = effect else { continue };
        for change in update.0 {
            let RemoteChange::Lines { bytes, lines, .. } = change else { continue };
            assert!(bytes.ends_with(b"\n"));
            let text = str::from_utf8(&bytes).unwrap();
            assert_eq!(text.lines().count(), lines as usize);
            for line in text.lines() {
                assert!(!line.starts_with("*** ") && !line.ends_with(" has joined"), "{line:?}");
                assert_eq!(sanitize(line.as_bytes()), line);
            }
        }
    }
}

proptest! {
    #[test]
    fn no_frame_panics_or_forges_a_line(
        frames in proptest::collection::vec((origin(), head(), raw(), 0u64..3_000), 1..40),
        order in prop_oneof![Just(ClusterOrder::Sender), Just(ClusterOrder::Total)],
    ) {
        let mut core = Core::new(NodeName::parse("n1").unwrap(), NOW, 20_000, order);
        let alice = UserName::parse("alice").unwrap();
        core.on_batch(room(), 1, vec![LocalChange::Joined(alice)], true);
        core.on_log_there();
        let own = Bytes::from(encode(core.version, &core.origin, &Head::Heartbeat { counts: 0 }, &[]));
        core.on_frame(Channel::All, &own);
        let mut now = NOW;
        for (origin, head, raw, wait) in frames {
            now += wait;
            core.set_time(now);
            core.on_frame(channel(&head, order), &Bytes::from(encode(core.version, &origin, &head, &raw)));
            core.on_tick();
            check(core.take_effects());
            while core.take_data_frame().or_else(|| core.take_control_frame()).is_some() {}
            while let Some(LogFrame { room, number, .. }) = core.take_log_frame() {
                core.on_appended(room, number);
            }
        }
        prop_assert!(core.nodes.len() <= 2 && core.rooms.len() == 1);
    }

    #[test]
    fn no_stored_frame_panics_or_forges_a_line(frames in proptest::collection::vec((origin(), head(), raw()), 1..40)) {
        let mut core = Core::new(NodeName::parse("n1").unwrap(), NOW, 20_000, ClusterOrder::Sender);
        core.set_store(true);
        core.open_room(room(), 1);
        core.take_effects();
        let stored = |(number, (origin, head, raw)): (u64, (Origin, Head, Vec<u8>))| StoredFrame {
            sequence: number,
            minute: Minute(7),
            bytes: encode(version(ClusterOrder::Sender), &origin, &head, &raw).into(),
        };
        let frames: Vec<StoredFrame> = (1..).zip(frames).map(stored).collect();
        core.on_stored(room(), 1, Some(&frames));
        for effect in core.take_effects() {
            let Effect::Update(_, _, update) = effect else { continue };
            for change in update.0 {
                let RemoteChange::Stored(lines) = change else { continue };
                for line in lines {
                    let text = str::from_utf8(&line.text).unwrap();
                    prop_assert_eq!(sanitize(text.as_bytes()), text);
                    prop_assert!(!text.contains('\n'));
                    prop_assert!(line.is_notice || !(text.starts_with("*** ") || text.ends_with(" has joined")));
                    let is_told = text.starts_with("*** ") && text.ends_with(" missing");
                    let is_change = [" has joined", " has left"].iter().any(|end| text.ends_with(end));
                    prop_assert!(!line.is_notice || is_told || is_change || text.contains(" is now known as "));
                }
            }
        }
    }
}
