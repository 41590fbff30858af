//! Values: what TOML has, as the text that the flag takes, checked by the parser of the flag.

use super::error::quote;
use super::keys::{is_repeatable, is_switch};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};
use std::error::Error;
use std::num::ParseIntError;
use toml::Spanned;
use toml::de::DeValue;

/// The most values of a key. Each one is checked on its own, and a reload must not take long.
pub(super) const MAX_VALUES: usize = 1000;

/// A mistake in a value, and the offset of that value in the file.
type ValueMistake = (usize, String);

/// Returns the values of a key as its flag takes them.
///
/// # Errors
/// The mistake, if the value has a wrong type or the flag's parser refuses it.
pub(super) fn values_of(
    command: &Command,
    arg: &Arg,
    key: &str,
    value: &Spanned<DeValue<'_>>,
) -> Result<Vec<String>, ValueMistake> {
    match value.get_ref() {
        DeValue::Array(_) if !is_repeatable(arg) => {
            Err((value.span().start, format!("'{}' takes one value and no list: {}", quote(key), wanted_type(arg))))
        }
        DeValue::Array(items) if items.is_empty() => {
            let message = format!("'{}' has an empty list: write a value, or leave the key out", quote(key));
            Err((value.span().start, message))
        }
        DeValue::Array(items) if items.len() > MAX_VALUES => {
            Err((value.span().start, format!("'{}' has more than {MAX_VALUES} values: shorten the list", quote(key))))
        }
        DeValue::Array(items) => items.iter().map(|item| value_of(command, arg, key, item)).collect(),
        _ => Ok(vec![value_of(command, arg, key, value)?]),
    }
}

/// Returns one value as the flag takes it.
fn value_of(command: &Command, arg: &Arg, key: &str, value: &Spanned<DeValue<'_>>) -> Result<String, ValueMistake> {
    let start = value.span().start;
    let text = match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        // With the prefix of its base: only a flag that takes one accepts it.
        DeValue::Integer(number) => number.to_string(),
        DeValue::Boolean(on) if is_switch(arg) => if *on { "on" } else { "off" }.to_owned(),
        other => {
            let message = format!("'{}' takes no {}: {}", quote(key), other.type_str(), wanted_type(arg));
            return Err((start, message));
        }
    };
    check(command, arg, &text)
        .map_err(|wanted| (start, format!("invalid value '{}' for '{}': {wanted}", quote(&text), quote(key))))?;
    Ok(text)
}

/// Returns which types of TOML the argument takes.
fn wanted_type(arg: &Arg) -> &'static str {
    if is_switch(arg) {
        "true or false is wanted"
    } else if is_repeatable(arg) {
        "a string or a list of strings is wanted"
    } else {
        "a string or a whole number is wanted"
    }
}

/// Checks a value as if its flag stood on the command line.
///
/// # Errors
/// The value that is wanted.
fn check(command: &Command, arg: &Arg, text: &str) -> Result<(), String> {
    let name = command.get_name().to_owned();
    let arguments = match arg.get_long() {
        Some(long) => vec![name, format!("--{long}={text}")],
        None => vec![name, "--".to_owned(), text.to_owned()],
    };
    match command.clone().try_get_matches_from(arguments) {
        Err(error) if is_of_value(error.kind()) => Err(wanted(&error)),
        // Other mistakes are of several arguments together, and the last parse of the command finds them.
        _ => Ok(()),
    }
}

/// Returns whether a mistake is one of a single value.
fn is_of_value(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::InvalidUtf8 | ErrorKind::TooManyValues
    )
}

/// Returns what the flag's parser wants.
fn wanted(error: &clap::Error) -> String {
    match (error.source(), error.get(ContextKind::ValidValue)) {
        (Some(source), _) if source.is::<ParseIntError>() => format!("a whole number is wanted ({source})"),
        (Some(source), _) => source.to_string(),
        (None, Some(ContextValue::Strings(values))) if values.len() > 2 => {
            format!("one of {} is wanted", values.join(", "))
        }
        (None, Some(ContextValue::Strings(values))) if !values.is_empty() => {
            format!("{} is wanted", values.join(" or "))
        }
        _ => "a value that is not empty is wanted".to_owned(),
    }
}
