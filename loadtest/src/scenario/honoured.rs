//! The common options that a subcommand honours. An option without an effect is refused and not ignored.

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command};

use crate::args::CommonArgs;
use crate::plan::UsageError;

/// The subcommands that honour some of the common options only, and the names of those options. A subcommand that is not
/// listed honours all.
const HONOURED: [(&str, &[&str]); 6] = [
    (
        "zoo",
        &[
            "connecting",
            "first_room",
            "json",
            "patience",
            "processes",
            "quiet",
            "report",
            "server",
            "server_arg",
            "sources",
            "spawn",
            "threads",
        ],
    ),
    ("zoo --list", &[]),
    ("limit", &["json", "quiet"]),
    ("compare", &[]),
    ("markdown", &[]),
    ("worker", &["token"]),
];

/// Checks that the subcommand honours every common option of the command line.
///
/// # Errors
/// Names the first option that it does not honour.
pub(super) fn check_options(matches: &ArgMatches) -> Result<(), UsageError> {
    let Some((name, matches)) = matches.subcommand() else { return Ok(()) };
    let name = if name == "zoo" && matches.get_flag("list") { "zoo --list" } else { name };
    let Some((_, honoured)) = HONOURED.iter().find(|(subcommand, _)| *subcommand == name) else { return Ok(()) };
    let common = CommonArgs::augment_args(Command::new(""));
    let is_given = |option: &str| matches.value_source(option) == Some(ValueSource::CommandLine);
    let refused = common.get_arguments().find(|option| {
        let id = option.get_id().as_str();
        !honoured.contains(&id) && is_given(id)
    });
    match refused.and_then(|option| option.get_long()) {
        Some(option) => Err(UsageError::new(format!("`{name}` does not honour --{option}: leave it out"))),
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
    fn option_that_a_subcommand_does_not_honour_is_refused_on_either_side_of_it() {
        for arguments in [
            &["limit", "--report", "x"][..],
            &["--report", "x", "limit"],
            &["compare", "--report", "x", "a", "b"],
            &["markdown", "--report", "x", "a"],
            &["zoo", "--list", "--report", "x"],
        ] {
            let error = check(arguments).unwrap_err();
            assert!(error.contains("` does not honour --report: leave it out"), "{arguments:?}: {error}");
        }
        assert!(check(&["zoo", "--fail-if", "p99>5ms"]).unwrap_err().starts_with("`zoo` does not honour --fail-if"));
    }

    #[test]
    fn honoured_options_and_defaults_are_accepted() {
        for arguments in [
            &["limit", "--json", "x", "--quiet"][..],
            &["zoo", "--spawn", "--json", "x", "--threads", "2"],
            &["zoo", "--list"],
            &["compare", "a", "b"],
            &["steady", "--csv", "x", "--fail-if", "p99>5ms"],
        ] {
            assert_eq!(check(arguments), Ok(()), "{arguments:?}");
        }
    }

    #[test]
    fn every_name_of_the_table_is_a_common_option() {
        let common = CommonArgs::augment_args(Command::new(""));
        let names: Vec<&str> = common.get_arguments().map(|option| option.get_id().as_str()).collect();
        for option in HONOURED.iter().flat_map(|(_, options)| *options) {
            assert!(names.contains(option), "{option}");
        }
    }
}
