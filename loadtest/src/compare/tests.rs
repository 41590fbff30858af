//! Comparisons of recorded results with known figures.

use serde_json::json;

use super::bootstrap::{Interval, median_interval};
use super::*;
use crate::outcome::{Outcome, ServerFigures};
use crate::scenario::Percentage;
use crate::verdict::Verdict;

/// Throughputs of ten runs with a spread of about 2 %.
const NOISY: [f64; 10] = [1000.0, 1012.0, 987.0, 1005.0, 993.0, 1018.0, 981.0, 1009.0, 996.0, 1003.0];

/// Returns a result with a throughput, recorded at a time.
fn result(deliveries_per_second: f64, recorded_unix_ms: u64) -> TestResult {
    let parameters = json!({
        "target": "127.0.0.1:1234", "protocol": "line", "connections": 200, "rooms": 1, "senders": 1, "size_bytes": 64,
        "lines_per_second_per_room": null, "in_flight": 32, "duration_seconds": 5.0, "lines": null, "warmup_seconds": 1.0,
        "read_every_seconds": 0.005,
        "patience_seconds": 5.0, "connecting": 128, "sources": 8, "first_room": 0, "threads": 1, "processes": 1,
    });
    let mut outcome = Outcome {
        scenario: "flood".into(),
        parameters: parameters.as_object().unwrap().clone(),
        deliveries_per_second,
        recorded_unix_ms: Some(recorded_unix_ms),
        ..Outcome::default()
    };
    (outcome.latency_us.count, outcome.latency_us.p99) = (1, 1500);
    outcome.server =
        Some(ServerFigures { cpu_ns_per_delivery: 1e9 / deliveries_per_second, ..ServerFigures::default() });
    TestResult { outcome, verdict: Verdict::default() }
}

/// Returns runs with these throughputs; run `n` is recorded at `times(n)`.
fn runs(name: &str, throughputs: &[f64], times: impl Fn(u64) -> u64) -> Vec<Run> {
    let numbered = (1..).zip(throughputs);
    numbered
        .map(|(number, value)| Run::new(format!("{name}-{number}"), result(*value, times(number))).unwrap())
        .collect()
}

/// Returns runs of two sides that took turns.
fn in_turns(first: &[f64], second: &[f64]) -> (Vec<Run>, Vec<Run>) {
    // Two runs of a round are recorded at an even time and the odd one after it: A B B A A B B A.
    let odd = |number: u64| number % 2;
    (runs("a", first, |number| 2 * number + 1 - odd(number)), runs("b", second, |number| 2 * number + odd(number)))
}

fn rules() -> Rules {
    let figures = ["deliveries/s", "p99", "ns/delivery"].map(String::from).to_vec();
    let bound = WorseningArgs { fail_if_slower: None, figures };
    Rules { bound, seed: 1, across_machines: false, include_bad: false }
}

fn failing_above(percent: f64) -> Rules {
    let mut rules = rules();
    rules.bound.fail_if_slower = Some(Percentage { percent });
    rules
}

fn scaled(values: &[f64], factor: f64) -> Vec<f64> {
    values.iter().map(|value| value * factor).collect()
}

/// Returns the line of a table that begins with a name.
fn line<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or_else(|| panic!("no {name} in {text}"))
}

/// Returns the error of a comparison of three equal pairs, after a change of the last run of the second side.
fn refusal(change: impl Fn(&mut TestResult)) -> String {
    let (first, mut second) = in_turns(&NOISY[..3], &NOISY[..3]);
    let mut changed = second.pop().unwrap();
    change(&mut changed.result);
    second.push(Run::new(changed.name, changed.result).unwrap());
    compare(&first, &second, &rules()).unwrap_err().to_string()
}

#[test]
fn equal_sides_show_no_difference() {
    let reversed: Vec<f64> = NOISY.iter().rev().copied().collect();
    let (first, second) = in_turns(&NOISY, &reversed);
    let (text, code) = compare(&first, &second, &rules()).unwrap();
    assert_eq!(code, 0, "{text}");
    for name in ["deliveries/s", "p99", "ns/delivery"] {
        assert!(line(&text, name).contains("no difference (smallest that would show: "), "{text}");
    }
    assert!(text.ends_with("GOOD: all 20 runs\n"), "{text}");
    assert!(text.contains("of 3 figures without a true difference about 0.2 would be marked anyway"), "{text}");
}

#[test]
fn difference_of_twenty_percent_is_found_in_each_direction() {
    let faster = scaled(&NOISY, 1.2);
    for (first, second, rate, cost) in [
        (&NOISY[..], &faster[..], "faster by 20.0 % (95 %: ", "less by 16.7 % (95 %: "),
        (&faster, &NOISY, "slower by 16.7 % (95 %: ", "more by 20.0 % (95 %: "),
    ] {
        let (first, second) = in_turns(first, second);
        let (text, code) = compare(&first, &second, &rules()).unwrap();
        assert_eq!(code, 0, "{text}");
        assert!(line(&text, "deliveries/s").contains(rate), "{text}");
        assert!(line(&text, "ns/delivery").contains(cost), "{text}");
        assert!(line(&text, "p99").contains("no difference"), "{text}");
    }
}

#[test]
fn equal_results_and_seed_give_an_equal_text() {
    let (first, second) = in_turns(&NOISY, &scaled(&NOISY, 1.01));
    let text = |seed: u64| {
        let mut rules = rules();
        rules.seed = seed;
        compare(&first, &second, &rules).unwrap().0
    };
    assert_eq!(text(7), text(7));
    assert!(text(7).contains("seed 7"));
}

#[test]
fn ratio_that_is_equal_in_all_pairs_has_an_interval_without_width() {
    let pairs = NOISY.map(|value| (value, value * 1.1)).to_vec();
    let interval = Samples::Paired(pairs).ratio_interval(1).unwrap();
    assert!(interval.half_width() < 1e-9 && (interval.low - 1.1).abs() < 1e-9, "{interval:?}");
    let unpaired = Samples::Unpaired(NOISY.to_vec(), scaled(&NOISY, 1.1)).ratio_interval(1).unwrap();
    assert!(unpaired.half_width() > 0.005 && unpaired.contains(1.1), "{unpaired:?}");
}

#[test]
fn interval_of_a_median_is_that_of_the_exact_distribution() {
    // The median of n values that are drawn with replacement from the values 1 to n is at most k with the probability of
    // (n + 1) / 2 or more successes in n trials of probability k / n. The lower bound is the first k at which that exceeds
    // 2.5 %; in Python:
    //   from math import comb
    //   p = lambda n, k: sum(comb(n, i) * (k/n)**i * (1 - k/n)**(n - i) for i in range((n + 1) // 2, n + 1))
    //   [(n, next(k for k in range(1, n) if p(n, k) > 0.025)) for n in (7, 11, 13, 21)]
    // No p is near 2.5 %: the nearest ones are 1.6 % (n = 13, k = 3) and 5.1 % (n = 11, k = 3).
    for (count, low) in [(7_u32, 2_u32), (11, 3), (13, 4), (21, 7)] {
        let values: Vec<f64> = (1..=count).rev().map(f64::from).collect();
        for seed in [1, 2, 3] {
            let interval = median_interval(&values, seed).unwrap();
            assert_eq!(interval, Interval { low: low.into(), high: (count + 1 - low).into() }, "{count} values");
        }
    }
}

#[test]
fn interval_of_a_ratio_agrees_with_an_independent_computation() {
    // Python's `random` and `statistics` with 200,000 resamples of both lists, where A is NOISY:
    //   d = random.choices(range(10), k=10); median([B[i] for i in d]) / median([A[i] for i in d])
    // and, unpaired, median(random.choices(B, k=10)) / median(random.choices(A, k=10)); the statistics of rank 5000 from
    // both ends were 1.0780 and 1.0964 for pairs, 1.0714 and 1.1034 without them.
    let second = [1090.0, 1105.0, 1062.0, 1101.0, 1077.0, 1113.0, 1069.0, 1088.0, 1094.0, 1081.0];
    let close = |interval: Interval, low: f64, high: f64| {
        (interval.low - low).abs() < 0.002 && (interval.high - high).abs() < 0.002
    };
    for seed in [1, 2, 3] {
        let pairs = NOISY.into_iter().zip(second).collect();
        let paired = Samples::Paired(pairs).ratio_interval(seed).unwrap();
        assert!(close(paired, 1.0780, 1.0964), "{paired:?}");
        let unpaired = Samples::Unpaired(NOISY.to_vec(), second.to_vec()).ratio_interval(seed).unwrap();
        assert!(close(unpaired, 1.0714, 1.1034), "{unpaired:?}");
    }
}

#[test]
fn sides_that_did_not_take_turns_are_not_paired() {
    let (first, second) = in_turns(&NOISY, &NOISY);
    assert!(compare(&first, &second, &rules()).unwrap().0.contains("10 runs a side that took turns"));
    let one_after_the_other = runs("b", &NOISY, |number| 1000 + number);
    let (text, _) = compare(&first, &one_after_the_other, &rules()).unwrap();
    assert!(text.contains("medians of 10 and 10 runs") && text.contains("the sides did not take turns"), "{text}");
    let fewer = &second[..9];
    assert!(compare(&first, fewer, &rules()).unwrap().0.contains("medians of 10 and 9 runs"));
    let mut without_time = second.clone();
    without_time[0].result.outcome.recorded_unix_ms = None;
    assert!(compare(&first, &without_time, &rules()).unwrap().0.contains("the sides did not take turns"));
}

#[test]
fn few_runs_are_called_too_rough_and_single_ones_have_no_interval() {
    let (first, second) = in_turns(&NOISY[..4], &scaled(&NOISY[..4], 1.5));
    let (text, _) = compare(&first, &second, &rules()).unwrap();
    assert!(text.contains("4 runs a side: the intervals are too rough to publish"), "{text}");
    let (text, code) = compare(&first[..1], &second[..1], &rules()).unwrap();
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("1 and 1 runs: no intervals") && !text.contains("95 %:"), "{text}");
    assert!(line(&text, "deliveries/s").ends_with("1000       1500   1.500"), "{text}");
}

#[test]
fn figure_that_only_some_runs_have_tells_from_how_many() {
    let (first, mut second) = in_turns(&NOISY[..6], &NOISY[..6]);
    let mut changed = second.pop().unwrap();
    changed.result.outcome.server = None;
    second.push(Run::new(changed.name, changed.result).unwrap());
    let (text, _) = compare(&first, &second, &rules()).unwrap();
    assert!(line(&text, "ns/delivery").ends_with(" [from 5 and 5 runs]"), "{text}");
    assert!(!line(&text, "deliveries/s").contains("[from"), "{text}");
}

#[test]
fn ratio_to_zero_is_not_shown() {
    let (mut first, mut second) = in_turns(&NOISY[..2], &NOISY[..2]);
    for (run, lost) in first.iter_mut().chain(&mut second).zip([0, 0, 3, 4]) {
        run.result.outcome.counters.lost = lost;
        *run = Run::new(run.name.clone(), run.result.clone()).unwrap();
    }
    let (text, _) = compare(&first, &second, &rules()).unwrap();
    assert!(line(&text, "lost").ends_with("0       3.50       -"), "{text}");
}

#[test]
fn each_parameter_of_the_work_is_refused_by_its_name() {
    for (key, value) in [
        ("connections", json!(201)),
        ("warmup_seconds", json!(2.0)),
        ("read_every_seconds", json!(0.0)),
        ("in_flight", json!(33)),
        ("size_bytes", json!(65)),
        ("a_later_parameter", json!(true)),
    ] {
        let error = refusal(|result| _ = result.outcome.parameters.insert(key.into(), value.clone()));
        assert!(error.starts_with(&format!("different work cannot be compared: {key} is ")), "{error}");
        assert!(error.ends_with("(a-1, b-3)"), "{error}");
    }
    let error = refusal(|result| result.outcome.scenario = "steady".into());
    assert_eq!(error, "different work cannot be compared: scenario is flood and steady (a-1, b-3)");
}

#[test]
fn each_exception_is_a_parameter_that_results_have() {
    let plan = crate::plan::tests::plan(crate::plan::Pacing::Quiet);
    let parameters = Outcome::new("idle", &plan, &crate::coordinator::RunRecord::default()).parameters;
    for key in work::EXCEPTIONS.into_iter().chain(work::REACHED).filter(|key| *key != "server_arguments") {
        assert!(parameters.contains_key(key), "{key} is no parameter of {parameters:?}");
    }
}

#[test]
fn another_machine_is_refused_unless_the_options_allow_it() {
    let error = refusal(|result| result.outcome.machine.kernel = "6.99".into());
    assert!(
        error.starts_with("results of different machines cannot be compared: kernel is \"\" and \"6.99\""),
        "{error}"
    );
    let (first, mut second) = in_turns(&NOISY[..1], &NOISY[..1]);
    second[0].result.outcome.machine.cores = 64;
    let across = Rules { across_machines: true, ..rules() };
    let (text, code) = compare(&first, &second, &across).unwrap();
    assert_eq!(code, 0);
    assert!(
        text.contains("the machines differ, and the ratios are theirs, too: cores is 0 and 64 (a-1 and b-1)"),
        "{text}"
    );
}

#[test]
fn result_that_is_not_good_is_refused_unless_the_options_include_it() {
    let spoil = |result: &mut TestResult, kind: VerdictKind| {
        result.verdict = Verdict { kind, text: "SATURATED: busy".into() };
    };
    let error = refusal(|result| spoil(result, VerdictKind::Saturated));
    assert!(error.contains("not good cannot be compared: b-3: SATURATED: busy: run them again"), "{error}");
    let (first, mut second) = in_turns(&NOISY[..6], &NOISY[..6]);
    let including = Rules { include_bad: true, ..failing_above(5.0) };
    spoil(&mut second[5].result, VerdictKind::Saturated);
    let (text, code) = compare(&first, &second, &including).unwrap();
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("  b-6: SATURATED: busy\nNOT GOOD: 1 of 12 runs"), "{text}");
    assert!(!line(&text, "deliveries/s").contains("[from"), "{text}");
    spoil(&mut second[5].result, VerdictKind::Incomplete);
    let (text, code) = compare(&first, &second, &including).unwrap();
    assert_eq!(code, 3, "{text}");
    assert!(line(&text, "deliveries/s").ends_with(" [from 5 and 5 runs]"), "a failed run has no figures: {text}");
}

#[test]
fn exceptions_of_the_work_may_differ_between_sides_but_not_within_one() {
    let (first, mut second) = in_turns(&NOISY[..3], &NOISY[..3]);
    for (port, run) in second.iter_mut().enumerate() {
        let parameters = &mut run.result.outcome.parameters;
        parameters.insert("target".into(), json!(format!("127.0.0.1:{port}")));
        parameters.insert("protocol".into(), json!("redis"));
        parameters.insert("threads".into(), json!(2));
        parameters.insert("server_arguments".into(), json!(["--rate", "0"]));
    }
    let (text, code) = compare(&first, &second, &rules()).unwrap();
    assert_eq!(code, 0, "{text}");
    for words in ["protocol differs: \"line\" and \"redis\"", "threads differs: 1 and 2", "null and [\"--rate\",\"0\"]"]
    {
        assert!(text.contains(words), "{text}");
    }
    second[1].result.outcome.parameters.insert("threads".into(), json!(3));
    let error = compare(&first, &second, &rules()).unwrap_err().to_string();
    assert_eq!(error, "the runs of one side must be alike: threads is 2 and 3 (b-1, b-2)");
}

#[test]
fn loss_beyond_the_bound_with_confidence_gives_exit_code_4() {
    let code = |factor: f64, rules: &Rules| {
        let (first, second) = in_turns(&NOISY, &scaled(&NOISY, factor));
        compare(&first, &second, rules).unwrap()
    };
    let (text, exit_code) = code(0.8, &failing_above(5.0));
    assert_eq!(exit_code, 4, "{text}");
    let last = text.lines().last().unwrap();
    assert_eq!(
        last,
        "SLOWER: the second side is worse by more than 5 %: deliveries/s by at least 20.0 %, ns/delivery by at least 25.0 %"
    );
    let (text, exit_code) = code(0.97, &failing_above(5.0));
    assert_eq!(exit_code, 0, "{text}");
    assert!(text.ends_with("not worse by more than 5 % with confidence: deliveries/s, p99, ns/delivery\n"), "{text}");
    assert_eq!(code(1.5, &failing_above(5.0)).1, 0, "a gain is no loss");
    let mut other = failing_above(5.0);
    other.bound.figures = vec!["p99".into()];
    assert_eq!(code(0.8, &other).1, 0, "p99 is equal");
    other.bound.figures = vec!["deliveries_per_second".into()];
    assert_eq!(code(0.8, &other).1, 4, "the path in the JSON names the figure, too");
    other.bound.figures = vec!["joins/s".into()];
    let (text, exit_code) = code(0.8, &other);
    assert!(exit_code == 3 && text.contains("UNDECIDED: --fail-if-slower judges joins/s"), "{text}");
}

#[test]
fn bound_without_an_interval_and_unknown_figures_are_wrong_usage() {
    let (first, second) = in_turns(&NOISY[..1], &NOISY[..1]);
    let error = compare(&first, &second, &failing_above(5.0)).unwrap_err().to_string();
    assert!(error.contains("--fail-if-slower 5 % needs two runs or more on each side"), "{error}");
    let mut unknown = rules();
    unknown.bound.figures = vec!["speed".into()];
    let error = compare(&first, &second, &unknown).unwrap_err().to_string();
    assert!(error.starts_with("--figures speed is no figure of a comparison: use deliveries/s, p50"), "{error}");
}

#[test]
fn medians_of_one_side_have_intervals_and_the_worst_exit_code() {
    let (mut first, _) = in_turns(&NOISY, &NOISY);
    let text = render_medians(&first, 1);
    assert!(line(&text, "deliveries/s").contains("1002"), "{text}");
    assert!(line(&text, "deliveries/s").ends_with("981       1018"), "{text}");
    assert!(text.ends_with("GOOD: all 10 runs\n") && !text.contains("too rough"), "{text}");
    assert_eq!(exit_code(&first), 0);
    first[2].result.verdict = Verdict { kind: VerdictKind::Saturated, text: "SATURATED: busy".into() };
    assert_eq!(exit_code(&first), 3);
    first[4].result.verdict = Verdict { kind: VerdictKind::Wrong, text: "WRONG: 1 lost".into() };
    assert_eq!(exit_code(&first), 1);
    let text = render_medians(&first[..3], 1);
    assert!(text.contains("3 runs: the intervals are too rough") && text.contains("a-3: SATURATED: busy"), "{text}");
}
