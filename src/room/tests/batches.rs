//! Tests of a batch before it is delivered: its marks, its memory and what its work costs.

use super::*;
use crate::room::batch::{Batch, CarriedState};
use crate::room::passes::COST_PER_GATHER;
use crate::room::whisperers::Whisperer;

/// Returns the first batch of a quiet room.
fn batch_of(room: &Room) -> Batch {
    Batch::new(room, CarriedState { pass_state: room.pass_state.take(), ..CarriedState::default() })
}

fn send_as(sender: u16, text: &str) -> Operation {
    Operation::SendLines { bytes: text.as_bytes().into(), lines: 1, sender }
}

/// Returns a room whose members are `u0` up to the one before `u` and `count`.
async fn room_of(count: u64, history_lines: usize, replay_lines: usize) -> (Room, Vec<Arc<Peer<TextSink>>>) {
    let (room, peers) = (room_with(history_lines, replay_lines), (0..count).map(peer).collect::<Vec<_>>());
    push(&room, peers.iter().map(|peer| Operation::Join(Box::new(joiner(peer)))));
    pass(&room).await;
    (room, peers)
}

#[test]
fn successive_lines_of_heavy_senders_are_one_mark_and_lines_of_light_senders_are_in_none() {
    let room = room();
    let mut batch = batch_of(&room);
    let flood = format!("u1: {}\n", "x".repeat(100_000));
    let mut marks = Vec::new();
    for (sender, text) in [(1, &*flood), (2, "u2: a\n"), (1, "u1: b\n"), (1, "u1: c\n"), (2, "u2: d\n"), (1, "u1: e\n")]
    {
        let start = batch.bytes.len();
        batch.apply_or_queue(send_as(sender, text));
        if sender == 1 && start > 0 {
            marks.push(start..batch.bytes.len());
        }
    }
    assert_eq!(marks.len(), 3, "no other sender is light when the first line comes");
    let (both, last) = (marks[0].start..marks[1].end, marks[2].clone());
    assert_eq!(batch.heavy, [both, last]);
}

/// A copy of the history costs up to 64 KiB.
#[test]
fn join_copies_the_history_only_where_joiners_are_shown_earlier_lines() {
    for (replay_lines, is_copied) in [(0, false), (1, true)] {
        let room = room_with(100, replay_lines);
        let mut batch = batch_of(&room);
        batch.apply_or_queue(Operation::Join(Box::new(joiner(&peer(1)))));
        assert_eq!(batch.replay.is_some(), is_copied, "{replay_lines} lines are shown to joiners");
    }
}

#[tokio::test]
async fn lines_are_charged_to_the_memory_from_their_gathering_to_the_end_of_their_delivery() {
    let (room, _peers) = room_of(400, 0, 0).await;
    push(&room, [send_as(1, "u1: a\n")]);
    let counters = Counters::default();
    let mut run = pin!(room.run_passes(&counters));
    let mut poll = || run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll().is_pending());
    assert_eq!(room.memory.used(), 6, "the lines that are delivered");
    push(&room, [send_as(1, "u1: next\n")]);
    assert!(poll().is_pending());
    assert_eq!(room.memory.used(), 6 + 9, "the lines of the next batch, too");
    while poll().is_pending() {}
    assert_eq!(room.memory.used(), 0);
}

#[tokio::test]
async fn delivery_costs_more_for_a_large_batch_and_a_batch_without_lines_has_no_deliveries() {
    let (room, peers) = room_of(2, 0, 0).await;
    for (len, cost) in [(6, 1), ((8 << 10) - 1, 1), (8 << 10, 2), (20 << 10, 3)] {
        let mut batch = batch_of(&room);
        batch.apply_or_queue(send_as(1, &format!("{}\n", "x".repeat(len - 1))));
        let fanout = batch.commit(room.roster(), &room.inbox).fanout;
        assert_eq!((fanout.delivery_cost(), fanout.deliveries()), (cost, 2), "{len} bytes");
    }
    let mut batch = batch_of(&room);
    batch.apply_or_queue(show_history(&peers[0], 1));
    assert_eq!(batch.commit(room.roster(), &room.inbox).fanout.deliveries(), 0);
}

#[tokio::test]
async fn operation_costs_as_much_as_the_bytes_and_the_members_that_it_handles() {
    let (room, peers) = room_of(100, 100, 1).await;
    let mut batch = batch_of(&room);
    let join = || Operation::Join(Box::new(joiner(&peer(200))));
    let costs = |batch: &Batch| {
        let changes = [join(), Operation::Leave(Box::new(joiner(&peers[0]))), rename(&peers[0], "u0", "al")];
        let changes = changes.map(|operation| batch.operation_cost(&operation));
        (changes, batch.operation_cost(&Operation::FlushInput))
    };
    let (copy, history) = (100 / 8, 1 + 64 / 4);
    assert_eq!(costs(&batch), ([1 + copy + history, 1 + copy, 1 + copy], 1 + 100));
    batch.apply_or_queue(join());
    assert_eq!(costs(&batch), ([1, 1, 1], 1 + 101), "the members and the history are copied already");
    let lines = |len: usize| batch.operation_cost(&send_as(1, &"x".repeat(len)));
    assert_eq!([10, 4_095, 4_096, 10_000].map(lines), [1, 1, 2, 3]);
    assert_eq!(batch.operation_cost(&show_history(&peers[0], 1)), 1);
}

#[tokio::test]
async fn commit_costs_as_much_as_the_kept_bytes_the_members_and_the_senders_that_it_handles() {
    let (room, peers) = room_of(100, 100, 0).await;
    let mut batch = batch_of(&room);
    for id in 0..9 {
        let whisperer = Whisperer { id: PeerId(99), name: name("u99"), node: None };
        batch.pass_state().as_mut().unwrap().whisperers.record(PeerId(id), whisperer);
    }
    assert_eq!(batch.commit_cost(), 1, "a batch without lines and changes");
    batch.apply_or_queue(send_as(1, &format!("{}\n", "x".repeat(9_000))));
    assert_eq!(batch.commit_cost(), 3, "a batch of 9,001 bytes");
    batch.apply_or_queue(Operation::Join(Box::new(joiner(&peer(200)))));
    let walked = (101 + 100 + 9) / 8;
    assert_eq!(batch.commit_cost(), 3 + walked);
    batch
        .ready_senders
        .extend([0, 1].map(|at| Requester { peer: Arc::clone(&peers[at]) as _, slot: MembershipSlot::A }));
    assert_eq!(batch.commit_cost(), 3 + walked + 2);
    batch.apply_or_queue(send_as(1, &format!("{}\n", "x".repeat(100_000))));
    assert_eq!(batch.commit_cost(), 1 + 64 / 4 + walked + 2, "the history keeps 64 KiB");
}

#[tokio::test]
async fn shutdown_costs_as_much_as_the_members_once_it_is_due() {
    let (room, _peers) = room_of(100, 0, 0).await;
    let batch = |closed, shutdown_requested| {
        Batch::new(&room, CarriedState { closed, shutdown_requested, ..CarriedState::default() })
    };
    let cost = |closed, shutdown_requested| batch(closed, shutdown_requested).shutdown_cost();
    assert_eq!([cost(false, true), cost(false, false), cost(true, true)], [Some(1 + 100), None, None]);
    let mut waits = batch(false, true);
    waits.blocked = Some(Box::default());
    assert_eq!(waits.shutdown_cost(), None, "lines of a sender are blocked");
}

#[test]
fn deliveries_to_joiners_cost_as_much_as_their_lines_and_earlier_lines() {
    for (replay_lines, cost) in [(0, 1), (1, REPLY_COST)] {
        let room = room_with(100, replay_lines);
        let mut batch = batch_of(&room);
        for id in 0..5 {
            batch.apply_or_queue(Operation::Join(Box::new(joiner(&peer(id)))));
        }
        assert_eq!((batch.joiners_cost(8), batch.joiners_cost(3)), (5 * cost, 3 * cost));
        batch.deliver_to_joiners(2);
        assert_eq!((batch.joiners_cost(8), batch.joiners_cost(1)), (3 * cost, cost), "two have their lines");
        batch.apply_or_queue(send_as(1, &format!("{}\n", "x".repeat(20_000))));
        assert_eq!(batch.joiners_cost(8), 3 * (cost + 2), "two more for 20 KB");
    }
}

/// A crowd sends operations on and on: a pass that gathered all of them would deliver nothing meanwhile.
#[tokio::test]
async fn pass_delivers_lines_between_the_gathers_of_a_full_inbox() {
    let (room, peers) = room_of(1_000, 0, 0).await;
    push(&room, [send_as(1, "u1: a\n")]);
    let counters = Counters::default();
    let mut run = pin!(room.run_passes(&counters));
    let mut poll = || run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    let reached = || peers.iter().filter(|peer| text(peer).ends_with("u1: a\n")).count();
    assert!(poll().is_pending());
    push(&room, (0..100 * COST_PER_GATHER).map(|_| send_as(1, "u1: b\n")));
    for _ in 0..8 {
        let before = reached();
        assert!(poll().is_pending());
        assert!(reached() >= before + DELIVERIES_PER_YIELD / 4, "{before} members, then {}", reached());
    }
    while poll().is_pending() {}
}

/// A slice has capacity for 16 deliveries with earlier lines, beside those of the batch before.
#[tokio::test]
async fn deliveries_of_earlier_lines_to_joiners_are_charged_to_the_slice() {
    let (room, _peers) = room_of(1_000, 100, 5).await;
    push(&room, [send_as(1, "u1: a\n")]);
    let counters = Counters::default();
    let mut run = pin!(room.run_passes(&counters));
    let mut poll = || run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll().is_pending());
    let joiners: Vec<_> = (2_000..2_300).map(peer).collect();
    push(&room, joiners.iter().map(|peer| Operation::Join(Box::new(joiner(peer)))));
    for _ in 0..8 {
        assert!(poll().is_pending());
        let joined = joiners.iter().filter(|peer| events_of(peer).contains(PeerEvents::JOINED)).count();
        assert!(joined <= 2 * DELIVERIES_PER_YIELD / REPLY_COST, "{joined} joiners in one poll");
    }
    while poll().is_pending() {}
}

#[tokio::test]
async fn flush_of_input_is_counted_as_a_wake_of_each_member() {
    let (room, peers) = room_of(2, 0, 0).await;
    assert!(peers.iter().all(|peer| events_of(peer) == PeerEvents::JOINED));
    push(&room, [Operation::FlushInput]);
    assert_eq!(pass(&room).await.wakes, 2);
}

/// The registry makes the `Debug` of a room part of its own.
#[test]
fn room_is_shown_with_its_name_and_its_inbox() {
    let shown = format!("{:?}", room());
    assert!(shown.starts_with("Room { name: ") && shown.contains("inbox: Inbox { pending: "), "{shown}");
}
