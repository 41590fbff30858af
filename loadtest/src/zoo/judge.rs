//! The judgement of what was seen of a kind.

use super::result::{KindResult, Observation, PhaseFigures};
use crate::format::{bytes, micros, thousands};
use crate::verdict::{Verdict, VerdictKind};

/// The bounds that a server must keep under an attack.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The highest ratio of the 99th percentile here to the highest of control, calm and floor.
    pub ratio: f64,
    /// The floor of that comparison in microseconds.
    pub floor_us: u64,
    /// The 99th percentile of the calm phase in microseconds.
    pub calm_us: u64,
    /// The bound of memory in bytes.
    pub ceiling: u64,
}

/// The ratio that counts as an effect of the attack.
pub(super) const MAX_RATIO: f64 = 1.5;

/// The 99th percentile of a calm phase, in microseconds, above which a late generator leaves nothing to compare.
const MAX_CALM_US: u64 = 20_000;

impl Limits {
    /// Returns the ratio of the 99th percentile here to the highest of control, calm and floor.
    #[must_use]
    pub fn ratio_of(&self, seen: &Observation) -> f64 {
        let base = seen.control.latency_us.p99.max(self.calm_us).max(self.floor_us).max(1);
        seen.here.latency_us.p99 as f64 / base as f64
    }
}

/// Judges the rounds of a kind. The round with the median ratio stands for the latency; every other effect counts in
/// whichever round it was seen.
#[must_use]
pub fn judge(name: &str, about: &str, sockets: usize, mut rounds: Vec<Observation>, limits: &Limits) -> KindResult {
    rounds.sort_by(|one, other| limits.ratio_of(one).total_cmp(&limits.ratio_of(other)));
    let mut faults: Vec<String> = rounds.iter().flat_map(|seen| effects(seen, limits)).collect();
    faults.dedup();
    let count = rounds.len();
    let seen = if rounds.is_empty() { Observation::default() } else { rounds.swap_remove((count - 1) / 2) };
    let ratio = limits.ratio_of(&seen);
    let mut result =
        KindResult { name: name.into(), about: about.into(), sockets, rounds: count, ratio, ..KindResult::default() };
    if ratio > limits.ratio {
        faults.insert(0, slow_text(&seen, ratio));
    }
    result.kind = if faults.is_empty() { VerdictKind::Good } else { VerdictKind::Wrong };
    if faults.is_empty()
        && let Some(reason) = unmeasured(&seen)
    {
        result.kind = VerdictKind::Incomplete;
        faults.push(reason);
    }
    KindResult { seen, faults, ..result }
}

/// Returns the reason why a round has no figures to judge.
fn unmeasured(seen: &Observation) -> Option<String> {
    let control = &seen.control;
    if !control.problem.is_empty() {
        return Some(format!("the control failed: {}", control.problem));
    }
    let connects = |figures: &PhaseFigures| figures.attack.map_or(0, |attack| attack.connects);
    let missing = |figures: &PhaseFigures| figures.delivered == 0 || connects(figures) == 0;
    (missing(control) || missing(&seen.here)).then(|| "no line or no attack in a phase: raise --each".into())
}

fn slow_text(seen: &Observation, ratio: f64) -> String {
    let (here, control) = (micros(seen.here.latency_us.p99), micros(seen.control.latency_us.p99));
    format!("p99 {here} is {ratio:.1} times the highest of control ({control}), calm and floor")
}

/// Returns all effects of an attack but the one on latency.
fn effects(seen: &Observation, limits: &Limits) -> Vec<String> {
    let mut faults = Vec::new();
    if !seen.server_ended.is_empty() {
        faults.push(format!("the server {}", seen.server_ended));
    }
    // A wrong delivery is a fault in any phase; a failure in both phases is one of the machine.
    let (here, control) = (&seen.here.problem, &seen.control.problem);
    let wrong = |problem: &str| problem.starts_with("WRONG");
    if wrong(here) || (!here.is_empty() && control.is_empty()) {
        faults.push(here.clone());
    }
    if wrong(control) {
        faults.push(format!("while the control was attacked: {control}"));
    }
    if seen.memory.sum() > limits.ceiling {
        let (sum, ceiling) = (bytes(seen.memory.sum() as f64), bytes(limits.ceiling as f64));
        faults.push(format!("memory {sum} is above the ceiling {ceiling}"));
    }
    if seen.idle_after.is_none() {
        faults.push("the server was not idle 2 s after the attack".into());
    }
    if seen.descriptors_left > 0 {
        faults.push(format!("{} descriptors stayed open after the attack", thousands(seen.descriptors_left)));
    }
    if !seen.left_over.is_empty() {
        faults.push(format!("left over: {}", seen.left_over));
    }
    faults
}

/// Returns the verdict on all kinds that ran. A generator that was late in the calm phase only raises the base of the
/// comparison, unless it was so late that the comparison shows nothing.
pub(super) fn verdict(kinds: &[KindResult], calm: &PhaseFigures) -> Verdict {
    let too_late = !calm.saturated.is_empty() && calm.latency_us.p99 > MAX_CALM_US;
    let of = |kind: VerdictKind| kinds.iter().filter(move |result| result.kind == kind);
    let names = |kind: VerdictKind| of(kind).map(|result| result.name.as_str()).collect::<Vec<_>>().join(", ");
    let (kind, text) = if of(VerdictKind::Wrong).next().is_some() {
        let count = of(VerdictKind::Wrong).count();
        let names = names(VerdictKind::Wrong);
        (VerdictKind::Wrong, format!("WRONG: {count} of {} attacks had an effect: {names}", kinds.len()))
    } else if !calm.problem.is_empty() {
        (VerdictKind::Incomplete, calm.problem.clone())
    } else if too_late {
        (VerdictKind::Saturated, format!("{} (without any attack)", calm.saturated))
    } else if of(VerdictKind::Incomplete).next().is_some() {
        (VerdictKind::Incomplete, format!("INCOMPLETE: not measured: {}", names(VerdictKind::Incomplete)))
    } else {
        (VerdictKind::Good, format!("GOOD: {} attacks had no effect on the good clients", kinds.len()))
    };
    Verdict { kind, text }
}

#[cfg(test)]
mod tests {
    use super::super::result::MemoryPeak;
    use super::*;
    use crate::attack::AttackReport;

    const LIMITS: Limits = Limits { ratio: 1.5, floor_us: 1000, calm_us: 500, ceiling: 1 << 20 };

    fn phase(p99: u64) -> PhaseFigures {
        let mut figures = PhaseFigures {
            delivered: 10,
            attack: Some(AttackReport { connects: 1, ..AttackReport::default() }),
            ..PhaseFigures::default()
        };
        figures.latency_us.p99 = p99;
        figures
    }

    fn seen(control: u64, here: u64) -> Observation {
        Observation { control: phase(control), here: phase(here), idle_after: Some(0.1), ..Observation::default() }
    }

    fn judged(rounds: Vec<Observation>) -> KindResult {
        judge("kind", "about", 1, rounds, &LIMITS)
    }

    fn assert_fault(change: impl FnOnce(&mut Observation), words: &str) {
        let mut observation = seen(2000, 2000);
        change(&mut observation);
        let result = judged(vec![observation]);
        assert_eq!(result.kind, VerdictKind::Wrong);
        assert!(result.faults.len() == 1 && result.faults[0].contains(words), "{:?}", result.faults);
    }

    #[test]
    fn latency_is_compared_with_the_highest_of_control_calm_and_floor() {
        assert_eq!(judged(vec![seen(10, 1500)]).kind, VerdictKind::Good);
        assert_eq!(judged(vec![seen(10, 1501)]).kind, VerdictKind::Wrong);
        assert_eq!(judged(vec![seen(4000, 6000)]).kind, VerdictKind::Good);
        let slow = judged(vec![seen(4000, 8000)]);
        assert_eq!(slow.faults, ["p99 8 ms is 2.0 times the highest of control (4 ms), calm and floor"]);
        let calm = Limits { calm_us: 6000, ..LIMITS };
        assert_eq!(judge("kind", "", 1, vec![seen(4000, 8000)], &calm).kind, VerdictKind::Good);
    }

    #[test]
    fn median_of_several_rounds_counts() {
        let result = judged(vec![seen(1000, 9000), seen(1000, 1000), seen(1000, 1200)]);
        assert_eq!((result.kind, result.rounds, result.seen.here.latency_us.p99), (VerdictKind::Good, 3, 1200));
        assert_eq!(judged(vec![seen(1000, 9000), seen(1000, 1000), seen(1000, 8000)]).kind, VerdictKind::Wrong);
    }

    #[test]
    fn every_other_effect_is_a_fault() {
        assert_fault(|seen| seen.here.problem = "WRONG: 1 of 9 deliveries lost".into(), "1 of 9 deliveries lost");
        assert_fault(|seen| seen.memory = MemoryPeak { rss: 1 << 20, kernel: 1 }, "above the ceiling 1.00 MiB");
        assert_fault(|seen| seen.idle_after = None, "not idle 2 s after the attack");
        assert_fault(|seen| seen.descriptors_left = 3, "3 descriptors stayed open after the attack");
        assert_fault(|seen| seen.left_over = "*** 2 rooms".into(), "left over: *** 2 rooms");
        assert_fault(|seen| seen.server_ended = "ended with signal: 11".into(), "the server ended with signal: 11");
    }

    #[test]
    fn effect_of_any_round_counts() {
        let mut lossy = seen(1000, 900);
        lossy.here.problem = "WRONG: lost".into();
        assert_eq!(judged(vec![seen(1000, 1000), lossy, seen(1000, 1000)]).faults, ["WRONG: lost"]);
    }

    #[test]
    fn failure_in_both_phases_is_no_fault_of_the_server() {
        let mut observation = seen(1000, 1000);
        observation.control.problem = "INCOMPLETE: 3 closed".into();
        observation.here.problem = "INCOMPLETE: 4 closed".into();
        let result = judged(vec![observation.clone()]);
        assert_eq!((result.kind, result.faults.len()), (VerdictKind::Incomplete, 1), "{:?}", result.faults);
        observation.control.problem = "WRONG: 3 lost".into();
        let result = judged(vec![observation]);
        assert_eq!((result.kind, result.faults.len()), (VerdictKind::Wrong, 1), "{:?}", result.faults);
        let mut without_attack = seen(1000, 1000);
        without_attack.here.attack = Some(AttackReport::default());
        assert_eq!(judged(vec![without_attack]).kind, VerdictKind::Incomplete);
        assert_eq!(judged(Vec::new()).kind, VerdictKind::Incomplete, "no round was measured");
    }

    #[test]
    fn verdict_names_the_kinds_and_has_an_exit_code() {
        let (good, bad) = (judged(vec![seen(1000, 1000)]), judged(vec![seen(1000, 9000)]));
        let calm = PhaseFigures::default();
        let mut late = PhaseFigures { saturated: "SATURATED: late".into(), ..PhaseFigures::default() };
        let failed = PhaseFigures { problem: "INCOMPLETE: no server".into(), ..PhaseFigures::default() };
        let all = verdict(&[good.clone(), bad], &failed);
        assert_eq!((all.text.as_str(), all.exit_code()), ("WRONG: 1 of 2 attacks had an effect: kind", 1));
        let exit_code = |calm: &PhaseFigures| verdict(std::slice::from_ref(&good), calm).exit_code();
        assert_eq!((exit_code(&calm), exit_code(&failed), exit_code(&late)), (0, 3, 0));
        late.latency_us.p99 = MAX_CALM_US + 1;
        assert_eq!(exit_code(&late), 3);
    }
}
