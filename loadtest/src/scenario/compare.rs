//! The options of `compare`, and those of every comparison.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use crate::plan::UsageError;

/// The seed of the resampling where the options name no other one.
pub const DEFAULT_SEED: u64 = 1;

/// The rules of a comparison, for `--help`.
const RULES: &str = "\
Example: loadtest compare before-*.json --to after-*.json

The table shows the median of each figure on both sides, the ratio of the medians, and its 95 % confidence interval. With
one result a side there is no interval.

Results of different work are refused, and the error names the parameter that differs. Only the target, the protocol, the
server's arguments and the shape of the generator may differ between the sides; such differences are shown.

Results that are not good are refused, since their figures may describe the generator, or a server that did less work. Run
them again: a side would gain if its bad runs were only left out. --include-bad is for a first look: it names them, leaves
failed ones out of the medians, and exits with code 3.

Exit codes: 0 all results are good; 2 wrong usage, or different work; 3 a result is not good; 4 a figure is worse than
--fail-if-slower allows.";

/// The options of `compare`.
#[derive(Args, Clone, Debug)]
#[command(after_help = RULES)]
pub struct CompareArgs {
    /// Results of the first side, the base of the ratios: files, or directories of files. Without --to: one result of each
    /// side
    #[arg(required = true, value_name = "FIRST")]
    pub first: Vec<PathBuf>,
    /// Results of the second side
    #[arg(long, num_args = 1.., value_name = "SECOND")]
    pub to: Vec<PathBuf>,
    /// Compare results of different machines: the ratios are those of machine and server together
    #[arg(long)]
    pub across_machines: bool,
    /// Compare results that are not good, too
    #[arg(long)]
    pub include_bad: bool,
    /// Seed of the resampling: equal results and an equal seed give an equal text
    #[arg(long, default_value_t = DEFAULT_SEED, value_name = "N")]
    pub seed: u64,
    /// The bound of a worsening.
    #[command(flatten)]
    pub bound: WorseningArgs,
}

/// The bound of a worsening that a comparison may show.
#[derive(Args, Clone, Debug)]
pub struct WorseningArgs {
    /// Exit with code 4 when a figure of --figures is worse on the second side by more than this, with 95 % confidence
    #[arg(long, value_name = "PERCENT")]
    pub fail_if_slower: Option<Percentage>,
    /// Figures that --fail-if-slower judges, separated by commas: those in the comparison's table, by the names that --fail-if takes
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "deliveries/s,p99,ns/delivery",
        requires = "fail_if_slower",
        value_name = "NAME"
    )]
    pub figures: Vec<String>,
}

/// A percentage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percentage {
    /// The number before the percent sign.
    pub percent: f64,
}

impl WorseningArgs {
    /// Checks that `runs` runs on each side can be judged.
    ///
    /// # Errors
    /// Fails with `--fail-if-slower` and fewer than two runs.
    pub fn check(&self, runs: usize) -> Result<(), UsageError> {
        match self.fail_if_slower {
            Some(bound) if runs < 2 => Err(UsageError::new(format!(
                "--fail-if-slower {bound} needs two runs or more on each side: one run has no interval"
            ))),
            _ => Ok(()),
        }
    }
}

impl Percentage {
    /// Returns the percentage as a part of 1.
    pub(super) fn fraction(self) -> f64 {
        self.percent / 100.0
    }
}

impl FromStr for Percentage {
    type Err = String;

    /// Parses `5%`, `0.5%` or `5`.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').unwrap_or(text).trim();
        match number.parse() {
            Ok(percent) if (0.0..1000.0).contains(&percent) => Ok(Self { percent }),
            _ => Err("a percentage is like 5% or 0.5%, and below 1000%".into()),
        }
    }
}

impl fmt::Display for Percentage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} %", self.percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentage_is_parsed_with_and_without_its_sign() {
        let parse = |text: &str| text.parse::<Percentage>().map(|percentage| percentage.percent);
        assert_eq!((parse("5%"), parse("0.5 %"), parse("12")), (Ok(5.0), Ok(0.5), Ok(12.0)));
        assert!(parse("5 percent").is_err() && parse("-1%").is_err() && parse("nan").is_err() && parse("").is_err());
    }
}
