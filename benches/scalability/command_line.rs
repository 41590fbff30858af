//! The command line of a bench without a harness: the options of libtest and criterion.

/// The tasks of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nothing: the filter names another bench.
    Nothing,
    /// Print its name.
    List,
    /// Run once as a test.
    Test,
    /// Measure and write the results.
    Measure,
}

/// Options of libtest and criterion that take a value.
const WITH_VALUE: [&str; 15] = [
    "--baseline",
    "--color",
    "--confidence-level",
    "--format",
    "--load-baseline",
    "--logfile",
    "--measurement-time",
    "--output-format",
    "--profile-time",
    "--sample-size",
    "--save-baseline",
    "--skip",
    "--test-threads",
    "--warm-up-time",
    "-Z",
];

impl Mode {
    /// Reads the arguments of a bench of this name. Without `--bench`, which `cargo bench` adds, the mode is a
    /// test. Other options are ignored.
    pub(crate) fn read(arguments: impl Iterator<Item = String>, name: &str) -> Self {
        let (mut bench, mut test, mut list, mut filtered, mut named) = (false, false, false, false, false);
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--bench" => bench = true,
                "--test" => test = true,
                "--list" => list = true,
                option if WITH_VALUE.contains(&option) => _ = arguments.next(),
                option if option.starts_with('-') => {}
                filter => {
                    filtered = true;
                    named |= name.contains(filter);
                }
            }
        }
        match () {
            () if filtered && !named => Self::Nothing,
            () if list => Self::List,
            () if test || !bench => Self::Test,
            () => Self::Measure,
        }
    }
}
