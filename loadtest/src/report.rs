//! placeholder
use crate::outcome::Outcome;
/// page
///
/// # Errors
/// none
pub fn page(_outcome: &Outcome) -> anyhow::Result<String> { Ok(String::new()) }
