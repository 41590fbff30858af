//! Tests of the peer: contention for the write lock, failures, routes, events and counts.

mod atomic_slot;
mod deferred_list;
mod event_mailbox;

use super::*;
use crate::limits::memory::MemoryBudget;
use crate::text::time::Minute;
use bytes::Bytes;
use line_batch::count_lines;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Barrier, Mutex};
use std::task::Waker;
use std::thread;

/// A function that a pipe calls in its next write, while the writer holds the write lock.
type WriteHook = Box<dyn FnOnce() + Send>;

/// A sink that accepts as many bytes as it is allowed to, and then would block. It panics if two threads write at
/// the same time.
#[derive(Default)]
struct Pipe {
    allowed: AtomicUsize,
    broken: AtomicBool,
    written: Mutex<Vec<u8>>,
    hook: Mutex<Option<WriteHook>>,
}

impl Pipe {
    fn allow(&self, bytes: usize) {
        self.allowed.store(bytes, Ordering::Relaxed);
    }

    fn set_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::Relaxed);
    }

    fn in_next_write(&self, hook: impl FnOnce() + Send + 'static) {
        *self.hook.try_lock().unwrap() = Some(Box::new(hook));
    }

    fn text(&self) -> String {
        String::from_utf8(self.written.try_lock().unwrap().clone()).unwrap()
    }
}

impl ByteSink for Pipe {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let hook = self.hook.try_lock().unwrap().take();
        if let Some(hook) = hook {
            hook();
        }
        let mut written = self.written.try_lock().expect("two threads write at the same time");
        if self.broken.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = self.allowed.load(Ordering::Relaxed).min(bytes.len());
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.allowed.fetch_sub(count, Ordering::Relaxed);
        written.extend(&bytes[..count]);
        Ok(count)
    }
}

type TestPeer = Peer<Pipe>;

/// More bytes than any test writes.
const UNLIMITED: usize = usize::MAX / 2;

/// Returns a peer with this backlog whose pipe accepts `allowed` bytes.
fn peer(limit: usize, allowed: usize) -> Arc<TestPeer> {
    let peer = Peer::new(PeerId(1), limit, SlowReader::Skip, Pipe::default());
    peer.sink.allow(allowed);
    Arc::new(peer)
}

fn batch(text: &str) -> LineBatch {
    LineBatch::new(Bytes::copy_from_slice(text.as_bytes()), count_lines(text.as_bytes()), Minute::default())
}

impl TestPeer {
    /// Delivers lines as a pass does that chose them for the route of LF, and returns what that counted.
    fn deliver_text(&self, text: &str) -> MetricsDelta {
        let mut metrics = MetricsDelta::default();
        self.deliver(&batch(text), &mut metrics);
        metrics
    }

    /// Applies output of the connection while no other thread holds the lock.
    fn apply_ops<const N: usize>(&self, ops: [OutputOp; N]) -> usize {
        let mut ops = VecDeque::from(ops);
        let encoded = self.apply(&mut ops, &mut MetricsDelta::default()).expect("the lock is free");
        assert!(ops.is_empty(), "an operation was not applied: {ops:?}");
        encoded
    }

    /// Writes all that waits.
    fn drain_all(self: &Arc<Self>) {
        self.sink.allow(UNLIMITED);
        let mut metrics = MetricsDelta::default();
        while let Some((DrainStatus::Progress(_), _)) = self.drain(Some(&mut in_brackets), None, &mut metrics) {}
        assert_eq!(self.drain(None, None, &mut metrics), Some((DrainStatus::Empty, 0)));
    }

    /// Drains until the pipe blocks: a peer whose own task had no turn holds more than its limit.
    fn drain_until_blocked(self: &Arc<Self>) {
        let mut metrics = MetricsDelta::default();
        while let Some((DrainStatus::Progress(_), _)) = self.drain(Some(&mut in_brackets), None, &mut metrics) {}
        assert!(matches!(self.drain(None, None, &mut metrics), Some((DrainStatus::Blocked, _))));
    }

    fn has_buffer(&self) -> bool {
        self.with_buffer(&mut MetricsDelta::default(), |buffer| buffer.is_some()).expect("the lock is free")
    }

    fn raised(&self) -> PeerEvents {
        self.take_events(&Context::from_waker(Waker::noop()))
    }

    fn close_and_count(&self) -> u64 {
        self.close(&mut MetricsDelta::default()).expect("the lock is free")
    }
}

/// Encodes each line as `[line]` without a line end, as no direct route does.
fn in_brackets(lines: &[u8], _: Minute, out: &mut VecDeque<u8>) {
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        out.push_back(b'[');
        out.extend(&line[..line.len() - 1]);
        out.push_back(b']');
    }
}

/// Returns the number of lost lines that a notice tells; `None` for any other line.
fn told_by_notice(line: &str) -> Option<u64> {
    line.strip_prefix("*** ")?.split(' ').next()?.parse().ok()
}

#[test]
fn batches_deferred_during_a_write_are_bounded_and_the_rest_is_told() {
    const SENT: u64 = 20;
    /// So long that eight lines are the allowance of the deferred list.
    const LINE: usize = UNBLOCKED_ALLOWANCE / 8;
    let line = |id: u64| format!("{id:07}{}\n", "x".repeat(LINE - 8));
    let peer = peer(1, UNLIMITED);
    let other = Arc::clone(&peer);
    peer.sink.in_next_write(move || {
        // A delivery that waited for the lock would never return, since the write that holds it waits here.
        let sender = thread::spawn(move || {
            for id in 0..SENT {
                other.deliver_text(&line(id));
            }
        });
        sender.join().unwrap();
    });
    let metrics = peer.deliver_text("first\n");
    let deferred: Vec<String> = (0..8).map(line).collect();
    let expected = format!("first\n{}", deferred.concat());
    assert!(peer.sink.text() == expected, "the holder writes what the limit allowed to be deferred");
    assert_eq!((metrics.writes, metrics.deliveries), (9, 1));
    assert_eq!(peer.raised(), PeerEvents::OUTPUT_BLOCKED, "the connection has a notice to write");
    peer.drain_all();
    assert!(peer.sink.text() == expected + "*** 12 lines skipped\n");
    assert_eq!(peer.close_and_count(), 1 + 8 + 1);
}

/// The connection writes while passes deliver: a peer with a short backlog that reads is not slow for that.
#[test]
fn lines_that_wait_for_the_lock_need_no_backlog() {
    let peer = peer(1, UNLIMITED);
    let other = Arc::clone(&peer);
    peer.sink.in_next_write(move || {
        for id in 0..100 {
            other.deliver_text(&format!("{id}\n"));
        }
    });
    peer.deliver_text("first\n");
    let lines: Vec<String> = (0..100).map(|id| format!("{id}\n")).collect();
    assert_eq!(peer.sink.text(), format!("first\n{}", lines.concat()));
}

#[test]
fn notice_counts_the_lines_of_dropped_batches_in_their_place() {
    let [first, second] = ["a", "b"].map(|byte| byte.repeat(UNBLOCKED_ALLOWANCE / 2 - 1) + "\n");
    let peer = peer(1, UNLIMITED);
    let (other, deferred) = (Arc::clone(&peer), [first.clone(), second.clone(), "c\nd\ne\n".into(), "f\n".into()]);
    peer.sink.in_next_write(move || {
        for text in &deferred {
            other.deliver_text(text);
        }
    });
    peer.deliver_text("holder\n");
    peer.deliver_text("last\n");
    peer.drain_all();
    assert!(peer.sink.text() == format!("holder\n{first}{second}*** 4 lines skipped\nlast\n"));
}

#[test]
fn connection_keeps_its_output_while_another_thread_holds_the_lock() {
    let peer = peer(100, UNLIMITED);
    let other = Arc::clone(&peer);
    peer.sink.in_next_write(move || {
        let (mut ops, mut metrics) = (VecDeque::from([OutputOp::Lines(b"reply\n".to_vec())]), MetricsDelta::default());
        assert_eq!(other.apply(&mut ops, &mut metrics), None);
        assert_eq!(ops.len(), 1, "the connection applies the operation again later");
        assert_eq!(other.drain(None, None, &mut metrics), None);
        assert_eq!(other.close(&mut metrics), None);
        assert_eq!(metrics, MetricsDelta::default());
    });
    peer.deliver_text("line\n");
    assert_eq!(peer.sink.text(), "line\n");
}

/// A line that a pass defers while the connection drains waits for no later write.
#[test]
fn line_deferred_during_a_drain_is_written_when_the_drain_ends() {
    let peer = peer(100, 3);
    peer.deliver_text("one\n");
    peer.sink.allow(UNLIMITED);
    let other = Arc::clone(&peer);
    peer.sink.in_next_write(move || {
        other.deliver_text("two\n");
    });
    let mut metrics = MetricsDelta::default();
    assert_eq!(peer.drain(None, None, &mut metrics), Some((DrainStatus::Progress(1), 0)));
    assert_eq!(peer.sink.text(), "one\ntwo\n");
}

#[test]
fn blocked_sinks_of_one_pass_are_all_counted() {
    let mut metrics = MetricsDelta::default();
    for _ in 0..3 {
        peer(100, 0).deliver(&batch("a\n"), &mut metrics);
    }
    assert_eq!((metrics.would_blocks, metrics.writes, metrics.deliveries), (3, 3, 3));
}

#[test]
fn broken_sink_raises_write_failed_once_and_keeps_nothing() {
    let peer = peer(100, UNLIMITED);
    peer.sink.set_broken(true);
    assert_eq!(peer.deliver_text("a\n").writes, 1);
    assert_eq!(peer.raised(), PeerEvents::WRITE_FAILED);
    peer.sink.set_broken(false);
    assert_eq!(peer.deliver_text("b\n").writes, 0, "a peer whose write failed is written to no more");
    peer.apply_ops([OutputOp::Lines(b"c\n".to_vec()), OutputOp::Encoded(b"d".to_vec())]);
    assert_eq!(peer.raised(), PeerEvents::NONE);
    peer.drain_all();
    assert_eq!((peer.sink.text().as_str(), peer.close_and_count()), ("", 0));
}

#[test]
fn backlog_is_lost_when_the_sink_breaks() {
    let peer = peer(100, 2);
    peer.deliver_text("a\nb\n");
    peer.sink.set_broken(true);
    assert_eq!(peer.drain(None, None, &mut MetricsDelta::default()), Some((DrainStatus::Failed, 0)));
    peer.sink.set_broken(false);
    peer.deliver_text("c\n");
    peer.drain_all();
    assert_eq!((peer.sink.text().as_str(), peer.close_and_count()), ("a\n", 1));
}

#[test]
fn batch_chosen_for_the_old_route_is_delivered_for_the_new_route() {
    let text = "a\n\nb\n";
    for (old, new, expected) in [
        (Route::DirectLf, Route::DirectCrLf, "a\r\n\r\nb\r\n"),
        (Route::DirectCrLf, Route::DirectLf, "a\n\nb\n"),
        (Route::DirectLf, Route::Buffered, "[a][][b]"),
        (Route::DirectCrLf, Route::Buffered, "[a][][b]"),
        (Route::Buffered, Route::DirectCrLf, "a\r\n\r\nb\r\n"),
    ] {
        let shared = EncodedBatch::new(Bytes::from_static(text.as_bytes()), 3);
        for allowed in 0..=expected.len() {
            let peer = peer(100, allowed);
            peer.apply_ops([OutputOp::Route(old)]);
            let chosen = shared.whole(peer.route());
            peer.apply_ops([OutputOp::Route(new)]);
            peer.deliver(chosen, &mut MetricsDelta::default());
            let direct = new != Route::Buffered && allowed == expected.len();
            assert_eq!(peer.has_buffer(), !direct, "{old:?} to {new:?}: the delivery writes if the pipe accepts all");
            peer.drain_all();
            assert_eq!(peer.sink.text(), expected, "{old:?} to {new:?}, {allowed} bytes at first");
            assert_eq!(peer.close_and_count(), 3);
        }
    }
}

#[test]
fn batch_deferred_before_a_route_change_goes_out_on_the_old_route() {
    let peer = peer(100, 0);
    // The batch is deferred as by a thread that found the lock taken.
    peer.write_lock.apply_or_defer(&batch("holder\n"), 100, |buffer, batch| {
        if batch.lf() == b"holder\n" {
            peer.deliver_text("deferred\n");
        }
        peer.put(buffer, batch, &mut MetricsDelta::default());
    });
    peer.drain_all();
    peer.apply_ops([OutputOp::Route(Route::DirectCrLf)]);
    peer.deliver_text("late\n");
    assert_eq!(peer.sink.text(), "holder\ndeferred\nlate\r\n");
}

#[test]
fn operations_are_applied_in_order_and_encoded_bytes_precede_waiting_lines() {
    let peer = peer(100, 3);
    peer.deliver_text("one\ntwo\n");
    assert_eq!(peer.raised(), PeerEvents::OUTPUT_BLOCKED);
    let encoded = peer.apply_ops([
        OutputOp::Raw(b"<raw>".to_vec()),
        OutputOp::Encoded(b"<echo>".to_vec()),
        OutputOp::Lines(b"reply\n".to_vec()),
        OutputOp::Encoded(b"<more>".to_vec()),
    ]);
    assert_eq!(encoded, "\n<echo><more>".len(), "the rest of the begun line, and the encoded bytes");
    peer.deliver_text("three\n");
    assert_eq!(peer.raised(), PeerEvents::NONE, "the connection knows of the backlog");
    peer.drain_all();
    assert_eq!(peer.sink.text(), "one\n<echo><more>two\n<raw>reply\nthree\n");
}

#[test]
fn operations_that_leave_no_output_leave_no_buffer() {
    let peer = peer(100, UNLIMITED);
    assert_eq!(peer.apply_ops([OutputOp::Route(Route::DirectCrLf)]), 0);
    assert!(!peer.has_buffer());
    assert_eq!(peer.route(), Route::DirectCrLf);
    peer.apply_ops([OutputOp::Lines(b"reply\n".to_vec())]);
    assert!(peer.has_buffer());
    peer.drain_all();
    assert!(!peer.has_buffer());
}

#[test]
fn encoded_lines_are_counted_when_they_are_written_and_when_they_are_lost() {
    let peer = peer(100, 0);
    let encoded = |lines: usize| OutputOp::Encoded(b"a\n".repeat(lines));
    assert_eq!(peer.apply_ops([encoded(32)]), 64);
    peer.sink.allow(32);
    peer.drain_until_blocked();
    // The bytes go on at the beginning of their memory.
    assert_eq!(peer.apply_ops([encoded(10)]), 32 + 20);
    assert_eq!(peer.close_and_count(), 16, "16 lines are written, and 26 are lost");
}

#[test]
fn line_ends_become_cr_lf_on_the_route_of_lf_alone() {
    for (route, changed) in [(Route::DirectLf, Route::DirectCrLf), (Route::Buffered, Route::Buffered)] {
        let peer = peer(100, UNLIMITED);
        peer.apply_ops([OutputOp::Route(route)]);
        peer.end_lines_in_cr_lf();
        assert_eq!(peer.route(), changed);
    }
}

#[test]
fn deferred_lines_are_bounded_by_the_backlog_and_the_allowance() {
    assert_eq!(peer(100, 0).deferral_limit(), 100 + UNBLOCKED_ALLOWANCE);
}

#[test]
fn drains_that_reach_the_sink_are_counted_as_writes() {
    let peer = peer(100, 0);
    peer.apply_ops([OutputOp::Encoded(b"abcd".to_vec())]);
    let mut metrics = MetricsDelta::default();
    peer.sink.allow(2);
    while let Some((DrainStatus::Progress(_), _)) = peer.drain(None, None, &mut metrics) {}
    assert_eq!(metrics.writes, 2, "one takes two bytes, and one would block");
    peer.sink.allow(2);
    while let Some((DrainStatus::Progress(_), _)) = peer.drain(None, None, &mut metrics) {}
    assert_eq!(metrics.writes, 3, "nothing waits for the last drain");
}

#[test]
fn peer_is_shown_with_its_number() {
    assert_eq!(format!("{:?}", peer(100, 0)), "Peer { id: PeerId(1), .. }");
}

/// The connection of a peer on a direct route registers the backlog after a pass has found the socket blocked. A peer of
/// the buffered route does it in its own drain, and only if its socket is blocked.
#[test]
fn backlog_is_registered_once_and_by_the_writer_that_finds_the_sink_blocked() {
    let budget = MemoryBudget::new(1 << 20);
    let mut metrics = MetricsDelta::default();
    for route in [Route::DirectLf, Route::Buffered] {
        let pipe = ChargedSink(Pipe::default(), Arc::clone(&budget));
        let peer = Arc::new(Peer::new(PeerId(1), 1 << 20, SlowReader::Skip, pipe));
        peer.register_waiting_output(&mut metrics);
        assert_eq!(budget.backlogs(), 0, "nothing waits");
        peer.apply(&mut VecDeque::from([OutputOp::Route(route), OutputOp::Lines(b"a\n".repeat(20_000))]), &mut metrics);
        peer.sink.0.allow(2);
        let mut encode = |lines: &[u8], _: Minute, out: &mut VecDeque<u8>| out.extend(lines);
        assert!(matches!(peer.drain(Some(&mut encode), None, &mut metrics), Some((DrainStatus::Progress(_), _))));
        assert_eq!(budget.backlogs(), 0, "the sink takes bytes");
        peer.register_waiting_output(&mut metrics);
        assert_eq!(budget.backlogs(), usize::from(route != Route::Buffered));
        assert!(matches!(peer.drain(Some(&mut encode), None, &mut metrics), Some((DrainStatus::Blocked, _))));
        peer.register_waiting_output(&mut metrics);
        assert_eq!(budget.backlogs(), 1);
    }
}

fn last_lines(text: &str) -> LineBatch {
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    EncodedBatch::new(bytes, count_lines(text.as_bytes())).into_last().whole(Route::DirectLf).clone()
}

#[test]
fn output_takes_no_line_after_the_last_lines_of_its_peer() {
    for (route, expected) in [
        (Route::DirectLf, "a\nend\n<erase>"),
        (Route::DirectCrLf, "a\r\nend\r\n<erase>"),
        (Route::Buffered, "[a]<erase>end\r\n"),
    ] {
        let peer = peer(100, UNLIMITED);
        peer.apply_ops([OutputOp::Route(route)]);
        peer.deliver_text("a\n");
        peer.drain(Some(&mut in_brackets), None, &mut MetricsDelta::default());
        peer.deliver(&last_lines("end\n"), &mut MetricsDelta::default());
        assert_eq!(peer.deliver_text("late\n").writes, 0, "{route:?}");
        peer.apply_ops([OutputOp::Reply(b"reply\n".to_vec()), OutputOp::Lines(b"ERROR\n".to_vec())]);
        peer.apply_ops([OutputOp::Encoded(b"<erase>".to_vec()), OutputOp::Route(Route::DirectCrLf)]);
        peer.deliver(&last_lines("again\n"), &mut MetricsDelta::default());
        peer.drain_all();
        assert_eq!(peer.sink.text(), expected, "{route:?}");
        assert_eq!(peer.route(), Route::DirectCrLf);
    }
}

/// The backlog is full, and another thread holds the write lock with a full list of deferred lines.
#[test]
fn last_lines_reach_a_slow_reader_and_no_deferred_line_follows() {
    let peer = peer(4, 0);
    peer.deliver_text("one\n");
    peer.drain_until_blocked();
    peer.deliver_text("lost\n");
    peer.write_lock.apply_or_defer(&batch("lost, too\n"), 4, |buffer, batch| {
        if batch.lf() == b"lost, too\n" {
            for text in ["two\n", "three\n", "four\n"] {
                peer.deliver_text(text);
            }
            peer.deliver(&last_lines("end\n"), &mut MetricsDelta::default());
            peer.deliver_text("late\n");
            peer.deliver(&last_lines("again\n"), &mut MetricsDelta::default());
        }
        peer.put(buffer, batch, &mut MetricsDelta::default());
    });
    peer.drain_all();
    assert_eq!(peer.sink.text(), "one\n*** 5 lines skipped\nend\n");
}

#[test]
fn lost_line_raises_too_slow_only_if_slow_readers_are_closed() {
    for (slow_reader, too_slow) in [(SlowReader::Kick, true), (SlowReader::Skip, false)] {
        let peer = Arc::new(Peer::new(PeerId(1), 4, slow_reader, Pipe::default()));
        assert_eq!(peer.deliver_text("abc\n").would_blocks, 1);
        assert_eq!(peer.raised(), PeerEvents::OUTPUT_BLOCKED, "the backlog is full, but no line is lost");
        peer.drain_until_blocked();
        peer.deliver_text("lost\n");
        assert_eq!(peer.raised().contains(PeerEvents::TOO_SLOW), too_slow, "{slow_reader:?}");
    }
}

#[test]
fn written_lines_are_counted_once_across_buffers() {
    let peer = peer(8, UNLIMITED);
    let mut expected = 0;
    for round in 0..3 {
        peer.deliver_text("a\nb\n");
        assert!(!peer.has_buffer(), "round {round}: all lines were written at once");
        peer.sink.allow(3);
        peer.deliver_text("12345\n");
        peer.drain_until_blocked();
        // One line is kept, and two exceed the limit.
        peer.deliver_text("abc\ndef\nghi\n");
        assert!(peer.has_buffer());
        peer.drain_all();
        assert!(!peer.has_buffer(), "round {round}: all lines were written by the connection");
        expected += 2 + 2 + 1;
    }
    assert_eq!(count_lines(peer.sink.text().as_bytes()), expected);
    peer.sink.allow(2);
    peer.deliver_text("c\nd\n");
    assert_eq!(peer.close_and_count(), expected + 1, "the waiting line is lost with the buffer");
    peer.deliver_text("e\n");
    assert_eq!(peer.close_and_count(), expected + 1, "a closed peer accepts no line");
}

/// The lines that one sender of the concurrent test sends.
const LINES_OF_A_SENDER: u64 = 5_000;

/// Drains the peer and applies a reply now and then until the senders end; returns how many replies it applied.
fn run_connection(peer: &Arc<TestPeer>, senders_done: &AtomicUsize) -> u64 {
    let (mut ops, mut replies, mut metrics) = (VecDeque::new(), 0, MetricsDelta::default());
    for round in 0_usize.. {
        peer.sink.allow(round * 7_919 % 97);
        peer.drain(None, None, &mut metrics);
        if ops.is_empty() && round % 5 == 0 {
            ops.push_back(OutputOp::Lines(format!("R {replies}\n").into_bytes()));
            replies += 1;
        }
        peer.apply(&mut ops, &mut metrics);
        // Acquire: pairs with the Release of each sender.
        if senders_done.load(Ordering::Acquire) == 2 && ops.is_empty() {
            break;
        }
    }
    replies
}

/// Two passes deliver while the connection drains and applies: each line is written or told as skipped, and each
/// sender's lines keep their order.
#[test]
fn concurrent_deliveries_and_drains_account_for_each_line() {
    let (peer, start, senders_done) = (peer(256, 0), Barrier::new(3), AtomicUsize::new(0));
    let replies = thread::scope(|scope| {
        for sender in ["A", "B"] {
            let (peer, start, senders_done) = (&peer, &start, &senders_done);
            scope.spawn(move || {
                start.wait();
                for number in 0..LINES_OF_A_SENDER {
                    peer.deliver_text(&format!("{sender} {number}\n"));
                }
                // Release: pairs with the Acquire in `run_connection`.
                senders_done.fetch_add(1, Ordering::Release);
            });
        }
        start.wait();
        run_connection(&peer, &senders_done)
    });
    peer.drain_all();
    let text = peer.sink.text();
    let numbers_of = |sender: &str| -> Vec<u64> {
        text.lines().filter_map(|line| line.strip_prefix(sender)?.trim_start().parse().ok()).collect()
    };
    let (from_a, from_b) = (numbers_of("A"), numbers_of("B"));
    assert!(from_a.is_sorted_by(|one, next| one < next) && from_b.is_sorted_by(|one, next| one < next));
    assert!(numbers_of("R").into_iter().eq(0..replies), "no reply is lost");
    let written = (from_a.len() + from_b.len()) as u64;
    let skipped: u64 = text.lines().filter_map(told_by_notice).sum();
    assert_eq!(written + skipped, 2 * LINES_OF_A_SENDER, "{written} lines written, {skipped} skipped");
    assert_eq!(peer.close_and_count(), count_lines(text.as_bytes()), "notices and replies are counted, too");
}

#[test]
fn each_skipped_line_is_counted_once_in_the_metrics() {
    let (peer, mut metrics) = (peer(20, 0), MetricsDelta::default());
    peer.deliver(&batch("first\n"), &mut metrics);
    peer.drain_until_blocked();
    assert_eq!(metrics.skipped_lines, 0);
    peer.deliver(&batch(&"123456789\n".repeat(10)), &mut metrics);
    let beyond_the_limit = metrics.skipped_lines;
    peer.apply(&mut VecDeque::from([OutputOp::DropLines]), &mut metrics);
    let dropped = metrics.skipped_lines - beyond_the_limit;
    assert!(beyond_the_limit > 0 && dropped > 0 && beyond_the_limit + dropped == 10, "{beyond_the_limit}, {dropped}");
    peer.drain_all();
    assert_eq!(peer.sink.text().lines().filter_map(told_by_notice).sum::<u64>(), 10);
}

/// A sink whose peer's output is charged to a budget.
pub(super) struct ChargedSink<S>(pub(super) S, pub(super) Arc<MemoryBudget>);

impl<S: ByteSink> ByteSink for ChargedSink<S> {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn memory(&self) -> Option<&Arc<MemoryBudget>> {
        Some(&self.1)
    }
}

#[test]
fn largest_backlog_of_a_blocked_peer_is_asked_to_drop_its_lines_at_the_ceiling() {
    let events = PeerEvents::RECLAIM;
    for slow_reader in [SlowReader::Skip, SlowReader::Kick] {
        let budget = MemoryBudget::new(1 << 20);
        let [small, large] = [1, 2].map(|id| {
            let pipe = ChargedSink(Pipe::default(), Arc::clone(&budget));
            Arc::new(Peer::new(PeerId(id), 1 << 20, slow_reader, pipe))
        });
        let (mut metrics, context) = (MetricsDelta::default(), Context::from_waker(Waker::noop()));
        for (peer, bytes) in [(&small, 1_000), (&large, 400_000)] {
            peer.deliver(&batch(&("x".repeat(bytes - 1) + "\n")), &mut metrics);
            assert_eq!(peer.take_events(&context), PeerEvents::OUTPUT_BLOCKED);
            assert!(matches!(peer.drain(None, None, &mut metrics), Some((DrainStatus::Blocked, _))));
        }
        // The line of 400,000 bytes is encoded, since it is about to be written, and stays.
        large.deliver(&batch(&("y".repeat(99_999) + "\n")), &mut metrics);
        budget.charge(1 << 20);
        assert_eq!(large.take_events(&context), events);
        assert_eq!(small.take_events(&context), events, "its only line is encoded, and it has the kernel's buffer");
        large.apply(&mut VecDeque::from([OutputOp::DropLines]), &mut metrics);
        budget.release(1 << 20);
        large.sink.0.allow(UNLIMITED);
        while let Some((DrainStatus::Progress(_), _)) = large.drain(None, None, &mut metrics) {}
        assert!(large.sink.0.text().ends_with("x\n*** 1 line skipped\n"));
        assert_eq!(budget.backlogs(), 1);
        drop((small, large));
        assert_eq!((budget.used(), budget.backlogs()), (0, 0));
    }
}

/// The holder of the write lock panics in a write, during which another line was deferred.
#[test]
fn line_that_was_deferred_to_a_holder_that_panics_is_written_by_the_next_operation() {
    let peer = peer(1 << 20, UNLIMITED);
    let weak = Arc::downgrade(&peer);
    peer.sink.in_next_write(move || {
        weak.upgrade().unwrap().deliver_text("deferred\n");
        panic!("this write panics");
    });
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| peer.deliver_text("lost\n")));
    assert!(outcome.is_err() && peer.sink.text().is_empty());
    peer.deliver_text("next\n");
    assert_eq!(peer.sink.text(), "deferred\nnext\n");
    assert_eq!(peer.close_and_count(), 2);
}
