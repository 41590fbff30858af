//! The configuration file: TOML whose keys are the flags, and whose values are their defaults.
//!
//! Each key is looked up as an argument of the command, and its value goes through the parser of that argument, so that a
//! new flag is a new key without code here. Every mistake has its place in the file.

mod error;
mod keys;
#[cfg(test)]
mod tests;
mod text;
mod values;

pub(super) use error::FileError;
pub(super) use keys::{is_key, is_switch, key_of};

use clap::Command;
use error::Position;
use keys::find_argument;
use std::path::Path;
use toml::de::DeTable;
use values::values_of;

/// Mistakes of one file that are kept: a file of another kind has thousands.
const MAX_ERRORS: usize = 50;

/// A configuration file whose keys are arguments and whose values their parsers accept.
#[derive(Debug)]
pub(super) struct ConfigFile {
    /// The file's name, as it was given.
    name: String,
    entries: Vec<Entry>,
}

/// One key and its values.
#[derive(Debug)]
struct Entry {
    /// The id of the argument.
    id: String,
    position: Position,
    /// The values as the flag takes them: more than one for a repeatable flag alone.
    values: Vec<String>,
}

impl ConfigFile {
    /// Reads the file at `path`; its keys are arguments of `command`.
    ///
    /// # Errors
    /// The mistakes in the order of the file, at most [`MAX_ERRORS`].
    pub(super) fn read(path: &Path, command: &Command) -> Result<Self, Vec<FileError>> {
        let name = path.display().to_string();
        let text = text::read(path).map_err(|mistake| vec![mistake.of_file(&name)])?;
        Self::parse(name, &text, command)
    }

    fn parse(name: String, text: &str, command: &Command) -> Result<Self, Vec<FileError>> {
        let table = DeTable::parse(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            vec![FileError::at(&name, Position::of(text, offset), &format!("no TOML: {}", error.message()))]
        })?;
        let mut keys: Vec<_> = table.into_inner().into_iter().collect();
        keys.sort_unstable_by_key(|(key, _)| key.span().start);
        let (mut entries, mut errors): (Vec<Entry>, Vec<FileError>) = (Vec::new(), Vec::new());
        for (key, value) in keys {
            let position = Position::of(text, key.span().start);
            let argument = find_argument(command, key.get_ref()).and_then(|argument| {
                let twin = entries.iter().find(|entry| entry.id == argument.get_id().as_str());
                twin.map_or(Ok(argument), |twin| Err(twin.position.already(key.get_ref())))
            });
            match argument {
                Ok(argument) => match values_of(command, argument, key.get_ref(), &value) {
                    Ok(values) => entries.push(Entry { id: argument.get_id().to_string(), position, values }),
                    Err((offset, mistake)) => errors.push(FileError::at(&name, Position::of(text, offset), &mistake)),
                },
                Err(mistake) => errors.push(FileError::at(&name, position, &mistake)),
            }
            if errors.len() == MAX_ERRORS {
                break;
            }
        }
        if errors.is_empty() { Ok(Self { name, entries }) } else { Err(errors) }
    }

    /// Returns `command` with the values of the file as defaults: a flag and a variable come before them.
    pub(super) fn set_defaults(&self, command: Command) -> Command {
        command.mut_args(|arg| match self.entry(arg.get_id().as_str()) {
            Some(entry) => arg.default_values(entry.values.clone()),
            None => arg,
        })
    }

    /// Returns the place of the key of an argument: `roomcast.toml:3:1`.
    pub(super) fn place(&self, id: &str) -> Option<String> {
        let Entry { position, .. } = self.entry(id)?;
        Some(error::place(&self.name, Some(*position)))
    }

    fn entry(&self, id: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.id == id)
    }
}
