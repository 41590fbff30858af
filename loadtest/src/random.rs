//! Pseudo-random numbers that follow from a seed, so that a run can be repeated.

use fastrand::Rng;

/// Returns the next number of the generator `SplitMix64` (Steele, Lea and Flood, 2014) after a state.
pub(crate) fn mix(state: u64) -> u64 {
    let mut number = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Returns the generator of a seed and the number of a stream. Streams of one seed are independent.
pub(crate) fn stream(seed: u64, number: u64) -> Rng {
    Rng::with_seed(mix(seed ^ mix(number)))
}

/// Returns the next gap of a Poisson process with the mean gap 1: an exponentially distributed number.
pub(crate) fn exponential(random: &mut Rng) -> f64 {
    // A number in (0, 1]: zero has no logarithm.
    -(1.0 - random.f64()).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_from_seed_and_stream() {
        let numbers = |seed, number| {
            let mut random = stream(seed, number);
            [random.u64(..), random.u64(..)]
        };
        assert_eq!(numbers(1, 2), numbers(1, 2));
        assert!(numbers(1, 2) != numbers(2, 1) && numbers(1, 2) != numbers(1, 3));
    }

    #[test]
    fn exponential_gaps_have_their_mean_and_deviation() {
        let mut random = stream(7, 0);
        let gaps: Vec<f64> = (0..100_000).map(|_| exponential(&mut random)).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean - 1.0).abs() < 0.02 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    }
}
