//! Keys: which arguments a configuration file may set, under which names.

use super::error::quote;
use clap::{Arg, ArgAction, Command};

/// Arguments that a file can't set, and what to do in place of that.
const REFUSED: [(&str, &str); 6] = [
    ("config", "name the file with --config or ROOMCAST_CONFIG"),
    ("check_config", "write it as a flag"),
    ("show_config", "write it as a flag"),
    ("help", "write it as a flag"),
    ("version", "write it as a flag"),
    ("verbose", "write log-level = \"info\", or -v as a flag"),
];

/// The most changes of one character that make a name out of a key that is meant to be that name.
const MAX_TYPOS: usize = 2;

/// Returns whether a file may set the argument with this id.
pub(in crate::cli) fn is_key(id: &str) -> bool {
    !REFUSED.iter().any(|(refused, _)| *refused == id)
}

/// Returns the key of an argument: `max-line` of `max_line`.
pub(in crate::cli) fn key_of(id: &str) -> String {
    id.replace('_', "-")
}

/// Returns whether an argument is on or off, so that a boolean can be its value.
pub(in crate::cli) fn is_switch(arg: &Arg) -> bool {
    arg.get_possible_values().iter().any(|value| value.get_name() == "on")
}

/// Returns whether an argument takes several values.
pub(super) fn is_repeatable(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// Returns the argument that a key names, written as the flag or with underscores.
///
/// # Errors
/// The mistake, with the nearest key.
pub(super) fn find_argument<'a>(command: &'a Command, key: &str) -> Result<&'a Arg, String> {
    let id = key.replace('-', "_");
    if let Some((_, advice)) = REFUSED.into_iter().find(|(refused, _)| *refused == id) {
        return Err(format!("'{}' can't be set in a configuration file: {advice}", quote(key)));
    }
    let known = command.get_arguments().find(|arg| arg.get_id().as_str() == id);
    known.ok_or_else(|| {
        let advice = match nearest_key(command, &key_of(&id)) {
            Some(near) => format!("did you mean '{near}'?"),
            None => "roomcast --help lists the flags, which are the keys; there are no tables".to_owned(),
        };
        format!("unknown key '{}'; {advice}", quote(key))
    })
}

fn nearest_key(command: &Command, key: &str) -> Option<String> {
    // Longer keys are nobody's typo, and comparing them takes long.
    if key.len() > 64 {
        return None;
    }
    let keys = command.get_arguments().map(|arg| arg.get_id().as_str()).filter(|id| is_key(id)).map(key_of);
    let with_distance = keys.map(|known| (strsim::osa_distance(&known, key), known));
    let (distance, nearest) = with_distance.min_by_key(|(distance, _)| *distance)?;
    (distance <= MAX_TYPOS.min(key.chars().count() / 2)).then_some(nearest)
}
