//! Tests of the history: bounds, order, what is shown, and the cost of a push.

use super::line_ring::SPARE_BYTES;
use super::*;
use crate::peer::route::Route;
use proptest::prelude::*;

/// A batch of lines that are notices if they begin with `n`, else talk.
#[derive(Default)]
struct TestBatch {
    bytes: Vec<u8>,
    runs: LineRuns,
}

impl TestBatch {
    fn add(&mut self, line: &str) {
        self.bytes.extend_from_slice(line.as_bytes());
        self.bytes.push(b'\n');
        let kind = if line.starts_with('n') { LineKind::Notice } else { LineKind::Talk };
        self.runs.extend(kind, self.bytes.len(), 1);
    }

    fn push(&self, history: &mut History, minute: u32) {
        history.push(Minute(minute), &self.bytes, &self.runs);
    }
}

fn push<'a>(history: &mut History, minute: u32, lines: impl IntoIterator<Item = &'a str>) {
    let mut batch = TestBatch::default();
    lines.into_iter().for_each(|line| batch.add(line));
    batch.push(history, minute);
}

/// Returns the last lines as they are shown, each after its minute.
fn shown(history: &mut History, count: usize) -> Vec<String> {
    let batch = history.render_last(count).into_batch();
    let whole = batch.whole(Route::Buffered);
    let mut lines = Vec::new();
    for (minute, _, run) in whole.runs_after(0) {
        let run = str::from_utf8(run).unwrap().lines();
        lines.extend(run.map(|line| format!("{} {}", minute.0, line.strip_prefix("*** ").unwrap())));
    }
    assert_eq!(lines.len() as u64, batch.lines());
    lines
}

fn texts(history: &mut History, count: usize) -> Vec<String> {
    shown(history, count).into_iter().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
}

#[test]
fn last_lines_are_in_order_with_their_minutes() {
    let mut history = History::new(3);
    assert_eq!((shown(&mut history, 9), history.is_empty()), (vec![], true));
    push(&mut history, 5, ["a: 1"]);
    push(&mut history, 6, ["a: 2", "n b joined", "", "b: 3"]);
    assert_eq!(shown(&mut history, 9), ["6 a: 2", "6 n b joined", "6 ", "6 b: 3"]);
    assert_eq!(shown(&mut history, 1), ["6 b: 3"]);
    assert_eq!(shown(&mut history, 0), [""; 0]);
    push(&mut history, 7, []);
    push(&mut history, 8, ["n c joined", "c: 4"]);
    assert_eq!(shown(&mut history, 9), ["6 n b joined", "6 ", "6 b: 3", "8 n c joined", "8 c: 4"]);
    history.clear();
    assert!(history.is_empty());
    push(&mut history, 9, ["n d joined", "d: 5"]);
    assert_eq!(shown(&mut history, 9), ["9 n d joined", "9 d: 5"]);
}

#[test]
fn history_is_empty_until_its_first_line_and_once_it_is_cleared() {
    let mut history = History::new(10);
    assert!(history.is_empty());
    push(&mut history, 1, ["alice has joined"]);
    assert!(!history.is_empty());
    history.clear();
    assert!(history.is_empty());
}

/// Fifty-five peers visit a room in which ten lines were said.
#[test]
fn visits_hide_no_talk() {
    let mut history = History::new(100);
    let talk: Vec<String> = (0..10).map(|number| format!("a: {number}")).collect();
    push(&mut history, 1, talk.iter().map(String::as_str));
    for visit in 0..55 {
        push(&mut history, 2, [&*format!("n v{visit} joined")]);
        push(&mut history, 3, [&*format!("n v{visit} left")]);
    }
    for count in [20, 50, 100] {
        let shown = texts(&mut history, count);
        assert_eq!(shown[..10], talk, "the last {count} lines");
        assert_eq!(shown.last().unwrap(), "n v54 left");
        assert_eq!(shown.len(), count.min(10 + MAX_NOTICES));
    }
    assert_eq!(texts(&mut history, 5), ["a: 8", "a: 9", "n v53 left", "n v54 joined", "n v54 left"]);
    // Talk after the visits is later than they are.
    push(&mut history, 4, ["a: 10", "a: 11"]);
    assert_eq!(texts(&mut history, 3), ["n v54 left", "a: 10", "a: 11"]);
}

#[test]
fn notices_fill_up_where_there_is_less_talk() {
    let mut history = History::new(100);
    push(&mut history, 1, ["n 1", "n 2", "a: 1", "n 3", "n 4", "n 5", "n 6"]);
    assert_eq!(texts(&mut history, 4), ["a: 1", "n 4", "n 5", "n 6"]);
    assert_eq!(texts(&mut history, 6), ["n 2", "a: 1", "n 3", "n 4", "n 5", "n 6"]);
}

/// A notice from before dropped talk would be shown right before talk that came much later.
#[test]
fn notices_before_dropped_talk_are_dropped() {
    let mut history = History::new(2);
    push(&mut history, 1, ["n 1", "a: 1", "n 2", "a: 2"]);
    assert_eq!(texts(&mut history, 9), ["n 1", "a: 1", "n 2", "a: 2"]);
    push(&mut history, 1, ["a: 3"]);
    assert_eq!(texts(&mut history, 9), ["n 2", "a: 2", "a: 3"]);
}

#[test]
fn history_of_no_lines_allocates_nothing() {
    let mut history = History::new(0);
    push(&mut history, 1, std::iter::repeat_n("a: hello", 1_000));
    assert_eq!((history.len(), history.talk.capacity(), history.notices.capacity()), (0, (0, 0), (0, 0)));
}

#[test]
fn line_beyond_the_bound_leaves_no_gap() {
    let mut history = History::new(100);
    let mut longest = "x".repeat(MAX_BYTES - 1);
    push(&mut history, 1, ["n 1", "a: 1"]);
    push(&mut history, 1, [&*longest]);
    assert_eq!((history.len(), history.talk.bytes()), (1, MAX_BYTES));
    longest.push('x');
    push(&mut history, 1, ["a: 2", &*longest]);
    assert!(history.is_empty());
    push(&mut history, 1, ["a: 3", "n 2"]);
    assert_eq!(texts(&mut history, 9), ["a: 3", "n 2"]);
}

#[test]
fn push_scans_only_the_end_of_a_large_batch() {
    // A scan of the whole batch would read 60 GB in 10,000 pushes.
    let (mut batch, mut history) = (TestBatch::default(), History::new(100));
    for _ in 0..250_000 {
        batch.add("n joined 123");
    }
    for _ in 0..250_000 {
        batch.add("user: hello");
    }
    for _ in 0..10_000 {
        batch.push(&mut history, 1);
    }
    assert_eq!((history.talk.len(), history.talk.bytes(), history.notices.len()), (100, 1_200, 0));
}

#[test]
fn storm_of_notices_is_one_run_and_its_last_ones_are_kept() {
    let (mut batch, mut history) = (TestBatch::default(), History::new(100));
    push(&mut history, 1, ["a: 1"]);
    for number in 0..10_000 {
        batch.add(&format!("n {number}"));
    }
    for _ in 0..10_000 {
        batch.push(&mut history, 2);
    }
    let all = texts(&mut history, 100);
    assert_eq!((all.len(), &*all[0], &*all[1], &*all[64]), (65, "a: 1", "n 9936", "n 9999"));
}

#[test]
fn capacity_is_bounded_and_freed() {
    let mut history = History::new(100);
    let long = "x".repeat(999);
    for _ in 0..200 {
        push(&mut history, 1, [&*long]);
    }
    let capacity = history.talk.capacity().0;
    assert!((60_000..=MAX_BYTES).contains(&capacity), "{capacity}");
    for _ in 0..200 {
        push(&mut history, 1, ["short", "n 1"]);
    }
    assert_eq!(history.len(), 100 + MAX_NOTICES);
    let (bytes, lines) = history.talk.capacity();
    assert!(bytes <= 2 * SPARE_BYTES && lines <= 256, "{bytes} bytes, {lines} lines");
    assert!(history.notices.capacity().1 <= 2 * MAX_NOTICES);
}

#[test]
fn line_that_just_fits_drops_no_earlier_line() {
    for (length, lines) in [(10, 2), (11, 1)] {
        let mut history = History::new(100);
        push(&mut history, 1, [&*"x".repeat(MAX_BYTES - 11)]);
        push(&mut history, 1, [&*"y".repeat(length - 1)]);
        assert_eq!(history.len(), lines, "{length} bytes after {} bytes", MAX_BYTES - 10);
    }
}

#[test]
fn lines_that_take_the_place_of_others_go_on_with_the_numbering() {
    let mut history = History::new(100);
    push(&mut history, 1, ["a: 1", "n 1", "a: 2"]);
    history.number_lines();
    let numbering = history.numbering();
    history.drop_lines();
    assert_eq!((texts(&mut history, 9), history.next_id()), (vec![], 3));
    push(&mut history, 1, ["n 0", "b: 1", "a: 1", "n 1", "a: 2"]);
    assert_eq!((history.numbering(), history.numbers_lines(), history.next_id()), (numbering, true, 6));
    assert_eq!(texts(&mut history, 9), ["n 0", "b: 1", "a: 1", "n 1", "a: 2"]);
    let mut missed = TimedLines::default();
    history.render_after(3, &mut missed);
    assert_eq!(missed.into_batch().whole(Route::Buffered).lf(), b"*** #4 a: 1\n*** #5 a: 2\n");
    history.clear();
    assert_eq!((history.numbers_lines(), history.next_id()), (false, 1), "a room that is opened anew begins again");
}

/// Returns a ring that has the capacity for a line of `reserved` bytes, and a line of `length` bytes.
fn ring_of(reserved: usize, length: usize) -> LineRing<()> {
    let mut ring = LineRing::default();
    for length in [reserved, length] {
        ring.skip(0);
        ring.append(format!("{}\n", "x".repeat(length - 1)).as_bytes(), Minute(1), ());
    }
    ring
}

#[test]
fn ring_frees_the_capacity_beyond_twice_its_spare() {
    let shrunk = |reserved, length| {
        let mut ring = ring_of(reserved, length);
        let before = ring.capacity().0;
        ring.shrink();
        (before, ring.capacity().0)
    };
    assert_eq!(shrunk(5_000, 10), (2 * SPARE_BYTES, 2 * SPARE_BYTES));
    assert_eq!(shrunk(9_000, 10), (4 * SPARE_BYTES, SPARE_BYTES));
    assert_eq!(shrunk(60_000, 3_000), (MAX_BYTES, 6_000));
    assert_eq!(shrunk(60_000, 20_000), (MAX_BYTES, MAX_BYTES));
}

#[test]
fn ring_that_is_filled_to_its_capacity_reserves_no_more() {
    let mut ring = ring_of(60_000, 3_000);
    ring.shrink();
    ring.append(format!("{}\n", "x".repeat(2_999)).as_bytes(), Minute(1), ());
    assert_eq!((ring.bytes(), ring.capacity().0), (6_000, 6_000));
    ring.append(b"\n", Minute(1), ());
    assert_eq!(ring.capacity().0, 8_192);
}

#[test]
fn memory_of_a_ring_is_that_of_its_text_and_of_its_records() {
    let mut ring = LineRing::default();
    ring.append(&[b'\n'; 1_000], Minute(1), ());
    let (bytes, lines) = ring.capacity();
    assert!(bytes >= 1_000 && lines >= 1_000);
    assert_eq!(ring.memory(), bytes + lines * size_of::<(u32, Minute)>());
}

#[test]
fn eviction_for_more_bytes_than_a_ring_keeps_drops_all_lines() {
    let mut ring = ring_of(10, 10);
    ring.evict_for(1, MAX_BYTES + 1, 9);
    assert_eq!((ring.len(), ring.bytes()), (0, 0));
}

/// A copy for joiners has more lines than a history keeps.
#[test]
fn lines_beyond_the_bound_of_a_copy_are_not_shown() {
    let mut history = History::new(100);
    let (text, runs) = talk(65);
    history.push(Minute(1), &text, &runs);
    let bound = MAX_BYTES - 65 * 1_000;
    push(&mut history, 1, [&*"y".repeat(bound - 1)]);
    assert_eq!((history.talk.len(), history.talk.bytes()), (66, MAX_BYTES));
    assert_eq!(texts(&mut history, 100).len(), 66, "lines of just so many bytes are shown");
    let mut copy = history.clone();
    copy.append_unbounded(LineKind::Talk, Minute(2), &text);
    assert_eq!((copy.talk.len(), texts(&mut copy, 100).len()), (131, 66));
}

#[test]
fn memory_of_lines_that_a_copy_appends_is_charged() {
    let budget = MemoryBudget::new(1 << 20);
    let mut copy = History::with_memory(100, &budget);
    let (text, _) = talk(10);
    copy.append_unbounded(LineKind::Talk, Minute(1), &text);
    assert_eq!(budget.used(), copy.talk.memory() as u64);
    copy.append_unbounded(LineKind::Notice, Minute(1), &text);
    assert_eq!(budget.used(), (copy.talk.memory() + copy.notices.memory()) as u64);
}

/// Returns the lines that a history has to show, from a list of all lines.
fn expected(all: &[String], max_lines: usize, count: usize) -> Vec<String> {
    let is_notice = |line: &&String| line.starts_with('n');
    let mut bytes = 0;
    let talk = all.iter().rev().filter(|line| !is_notice(line)).take(max_lines).take_while(|line| {
        bytes += line.len() + 1;
        bytes <= MAX_BYTES
    });
    let talk = talk.count();
    // The part of the list without a gap begins after the last line that is dropped.
    let talk_in = |from: usize| all[from..].iter().filter(|line| !is_notice(line)).count();
    let begin = (0..=all.len()).find(|&from| talk_in(from) == talk).unwrap();
    let notices = all[begin..].iter().filter(is_notice).count().min(max_lines.min(MAX_NOTICES));
    let most_notices = count.div_ceil(2).max(count.saturating_sub(talk)).min(notices);
    let (mut left, mut notices_left, mut shown) = (count, most_notices, Vec::new());
    for line in all[begin..].iter().rev() {
        if left > 0 && (!is_notice(&line) || notices_left > 0) {
            left -= 1;
            notices_left -= usize::from(is_notice(&line));
            shown.push(line.clone());
        }
    }
    shown.reverse();
    shown
}

proptest! {
    /// The history equals what a list of all lines gives, however the lines come in batches.
    #[test]
    fn history_is_the_end_of_all_pushed_lines(
        batches in prop::collection::vec(prop::collection::vec(
            (any::<bool>(), prop_oneof![8 => 0usize..30, 1 => 0usize..70_000]), 0..12), 0..12),
        max_lines in 0usize..20,
        count in 0usize..25,
    ) {
        let mut history = History::new(max_lines);
        let mut all: Vec<String> = Vec::new();
        for lines in batches {
            let mut batch = TestBatch::default();
            for (notice, length) in lines {
                let line = if notice { format!("n {}", all.len()) } else { format!("{} {}", all.len(), "x".repeat(length)) };
                batch.add(&line);
                all.push(line);
            }
            batch.push(&mut history, 1);
            prop_assert_eq!(texts(&mut history, count), expected(&all, max_lines, count));
            prop_assert!(history.talk.capacity().0 <= MAX_BYTES);
        }
    }
}

/// Returns lines of 1,000 bytes, and their runs.
fn talk(lines: usize) -> (Vec<u8>, LineRuns) {
    let text = format!("{}\n", "x".repeat(999)).repeat(lines).into_bytes();
    let mut runs = LineRuns::default();
    runs.extend(LineKind::Talk, text.len(), lines as u64);
    (text, runs)
}

#[test]
fn memory_of_a_history_and_of_its_copies_is_charged_and_released() {
    let budget = MemoryBudget::new(1 << 20);
    let mut history = History::with_memory(100, &budget);
    assert_eq!(budget.used(), 0);
    let (text, runs) = talk(10);
    history.push(Minute(1), &text, &runs);
    let used = budget.used();
    assert!((10_000..20_000).contains(&used), "{used}");
    let copy = history.clone();
    assert!((used + 10_000..=2 * used).contains(&budget.used()), "{}", budget.used());
    drop(copy);
    assert_eq!(budget.used(), used);
    history.clear();
    assert_eq!(budget.used(), 0);
    history.push(Minute(1), &text, &runs);
    drop(history);
    assert_eq!(budget.used(), 0);
}

#[test]
fn history_without_memory_replaces_its_lines_and_grows_by_its_newest_line_at_most() {
    let budget = MemoryBudget::new(1 << 20);
    let mut history = History::with_memory(100, &budget);
    let (text, runs) = talk(10);
    history.push(Minute(1), &text, &runs);
    budget.charge(1 << 20);
    for _ in 0..10 {
        history.push(Minute(2), &text, &runs);
        assert_eq!(history.len(), 10);
    }
    let mut new = History::with_memory(100, &budget);
    new.push(Minute(2), &text, &runs);
    assert_eq!(new.len(), 1, "an empty history keeps its newest line");
    budget.release(1 << 20);
    history.push(Minute(3), &text, &runs);
    assert_eq!(history.len(), 20);
}
