//! Pseudo-random numbers that follow from a seed, so that a run can be repeated.

/// Returns the next number of the generator `SplitMix64` (Steele, Lea and Flood, 2014) after a state.
pub(crate) fn mix(state: u64) -> u64 {
    let mut number = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// A sequence of pseudo-random numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Random(u64);

impl Random {
    /// Returns the sequence of a seed and the number of a stream. Streams of one seed are independent.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        Self(mix(seed ^ mix(stream)))
    }

    /// Returns the next number.
    pub(crate) fn next_number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Returns a number below `bound`, which must not be 0. Its bias is below `bound` / 2^64.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let product = u128::from(self.next_number()) * bound as u128;
        usize::try_from(product >> 64).unwrap_or(0)
    }

    /// Returns the next gap of a Poisson process with the mean gap 1: an exponentially distributed number.
    pub(crate) fn exponential(&mut self) -> f64 {
        // 53 random bits, of which zero is excluded, give a number in (0, 1].
        let unit = ((self.next_number() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        -unit.ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_follows_from_seed_and_stream() {
        let numbers = |seed, stream| {
            let mut random = Random::new(seed, stream);
            [random.next_number(), random.next_number()]
        };
        assert_eq!(numbers(1, 2), numbers(1, 2));
        assert!(numbers(1, 2) != numbers(2, 1) && numbers(1, 2) != numbers(1, 3));
    }

    #[test]
    fn exponential_gaps_have_their_mean_and_deviation() {
        let mut random = Random::new(7, 0);
        let gaps: Vec<f64> = (0..100_000).map(|_| random.exponential()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean - 1.0).abs() < 0.02 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    }

    #[test]
    fn bounded_numbers_reach_each_value() {
        let mut random = Random::new(7, 0);
        let mut counts = [0; 5];
        (0..5000).for_each(|_| counts[random.below(5)] += 1);
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
    }
}
