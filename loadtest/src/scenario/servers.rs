//! The options that `--servers` excludes: those that describe one server, or another one beside it.

use clap::ArgMatches;
use clap::parser::ValueSource;

use crate::plan::UsageError;

/// The options that cannot be given with `--servers`, by their names in the parser, and the reasons.
const EXCLUDED: [(&str, &str, &str); 7] = [
    ("target", "--target", "name every server in --servers"),
    ("spawn", "--spawn", "--servers names servers that run already"),
    ("server", "--server", "--servers names servers that run already"),
    ("server_arg", "--server-arg", "--servers names servers that run already"),
    ("pid", "--pid", "--pid names the process of one server"),
    ("against", "--against", "a comparison is one of single servers"),
    ("against_server", "--against-server", "a comparison is one of single servers"),
];

/// Checks that no option contradicts `--servers`, and that an option which needs it is not given without.
///
/// # Errors
/// Names both options.
pub(super) fn check_options(matches: &ArgMatches) -> Result<(), UsageError> {
    let Some((_, matches)) = matches.subcommand() else { return Ok(()) };
    let is_given = |option: &str| {
        let is_known = matches.try_contains_id(option).is_ok();
        is_known && matches.value_source(option) == Some(ValueSource::CommandLine)
    };
    if !is_given("servers") {
        return Ok(());
    }
    match EXCLUDED.iter().find(|(name, ..)| is_given(name)) {
        Some((_, option, reason)) => {
            Err(UsageError::new(format!("--servers and {option} exclude each other: {reason}")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::scenario::Cli;

    fn check(arguments: &[&str]) -> Result<(), String> {
        let matches = Cli::command().try_get_matches_from([&["loadtest"], arguments].concat()).unwrap();
        check_options(&matches).map_err(|error| error.to_string())
    }

    #[test]
    fn option_that_assumes_one_server_is_refused_on_either_side_of_the_subcommand() {
        for (name, option, _) in EXCLUDED {
            let value: &[&str] = if name == "spawn" { &[] } else { &["1"] };
            let given = [&[option], value].concat();
            for arguments in [
                [&["steady", "--servers", "a:1,b:1"], &given[..]].concat(),
                [&["--servers", "a:1,b:1", "steady"], &given[..]].concat(),
            ] {
                let error = check(&arguments).unwrap_err();
                assert!(error.starts_with(&format!("--servers and {option} exclude each other: ")), "{error}");
            }
        }
    }

    #[test]
    fn other_options_are_accepted() {
        for arguments in [
            &["steady", "--servers", "a:1,b:1", "--total-order", "--protocol", "line", "--repeat", "3"][..],
            &["step", "--servers", "a:1,b:1"],
            &["limit"],
            &["steady", "--spawn"],
        ] {
            assert_eq!(check(arguments), Ok(()), "{arguments:?}");
        }
    }
}
