//! What `cargo bench` and its user ask of a bench without a harness: as libtest and criterion have it.

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Another bench was asked for by name.
    Nothing,
    /// Only its name.
    List,
    /// To see that it runs.
    Test,
    /// All that it measures.
    Figures,
}

/// Options of libtest and criterion that have a value after them.
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

impl Wanted {
    /// Reads the arguments of a bench of this name. Without `--bench`, which `cargo bench` gives, it
    /// is a test; options that mean nothing here are passed over.
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
            () => Self::Figures,
        }
    }
}
