//! The file of bans: its format, and the mistakes in a file that is no list of bans.
//!
//! The first line is `roomcast-bans 1`, the last one is `end`. Each line between them is a ban: its network, its end, its
//! reason and the user that made it, with a TAB between two of them. A file that was cut off anywhere has no last line, so
//! it is never taken for a shorter list.

use super::network::{NetworkError, shorten};
use super::table::BanTable;
use super::{Ban, MAX_BANS, MAX_REASON, parse_network};
use crate::text::sanitize::sanitize;
use crate::text::text_file::open_text_file;
use std::fmt::Write;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The word before the version in the first line.
const HEADER: &str = "roomcast-bans ";

/// The version of the format.
const VERSION: u32 = 1;

/// The last line.
const END: &str = "end";

/// The end of a ban that has none.
const NEVER: &str = "-";

/// The largest file that is read, in bytes: more than the most bans take.
const MAX_BYTES: u64 = 8 << 20;

/// The bans of a file, and where a change of them is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BansFile {
    /// The file.
    pub path: PathBuf,
    /// The bans at the time of the read.
    pub bans: Vec<Arc<Ban>>,
}

/// A file that can't be read as a list of bans. Shown, it names the file, the line and the value.
#[derive(Debug, thiserror::Error)]
pub enum BansFileError {
    /// The system does not let the file be read.
    #[error("{}: {error}: name a file that can be read, or leave --bans and ROOMCAST_BANS out", show(path))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error; the message holds it already, so it is no source.
        error: io::Error,
    },
    /// A line is not what is wanted there.
    #[error("{}:{line}: {problem}", show(path))]
    Line {
        /// The file.
        path: PathBuf,
        /// The number of the line, counted from 1.
        line: usize,
        /// The mistake in it.
        problem: LineProblem,
    },
}

/// A mistake in a line of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineProblem {
    /// The file has no line.
    #[error("the file is empty, its first line {HEADER}{VERSION} is missing: remove it to begin without bans")]
    Empty,
    /// The first line is no header; holds its start.
    #[error("{0:?} is no first line of a file of bans, which is: {HEADER}{VERSION}")]
    Header(String),
    /// Another version wrote the file; holds its number.
    #[error(
        "version {0} of the format is unknown, this roomcast has version {VERSION}: use the one that wrote the file"
    )]
    Version(u32),
    /// A line is not UTF-8, or no line's end follows its last bytes, or the last line is missing.
    #[error(
        "the file is cut off here, its last line {END} is missing: restore it, or write {END} if all bans are there"
    )]
    CutOff,
    /// The line is no UTF-8.
    #[error("the line is no UTF-8 text: restore the file, or remove the line")]
    NotUtf8,
    /// The line has too many or too few parts; holds its start.
    #[error("{0:?} is no ban: write its network, its end, its reason and its author, with a TAB between two of them")]
    Parts(String),
    /// The first part is no network.
    #[error("{0}")]
    Network(#[from] NetworkError),
    /// The second part is no time; holds its start.
    #[error("{0:?} is no end of a ban: write a time as 2026-11-27T05:00:00Z, or {NEVER} for a ban without an end")]
    Expires(String),
    /// The reason or the author is too long; holds its start.
    #[error("{0:?} is too long: a reason and an author have at most {MAX_REASON} bytes")]
    Long(String),
    /// A line follows the last one; holds its start.
    #[error("{0:?} follows the last line {END}: remove it, or write it before that line")]
    AfterEnd(String),
    /// The file has too many bans.
    #[error("the file has more than {MAX_BANS} bans: remove some, or ban whole networks")]
    TooMany,
}

fn show(path: &Path) -> String {
    path.display().to_string().escape_debug().to_string()
}

impl BansFile {
    /// Reads the bans of a file. A file that does not exist has none, and the first ban makes it; its folder exists.
    ///
    /// # Errors
    /// [`BansFileError`] if the file can't be read, or is no complete list of bans of this version.
    pub fn read(path: PathBuf) -> Result<Self, BansFileError> {
        match read_bytes(&path) {
            Ok(bytes) => match parse(&bytes) {
                Ok(bans) => Ok(Self { path, bans }),
                Err((line, problem)) => Err(BansFileError::Line { path, line, problem }),
            },
            Err(error) => Err(BansFileError::Unreadable { path, error }),
        }
    }
}

/// Returns the content of a file, or that of an empty list if there is no such file.
fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match open_text_file(path) {
        Ok(file) => file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // A folder that is missing is a mistake in the path.
            super::storage::folder_of(path).metadata()?;
            bytes = render(&BanTable::default()).into_bytes();
            bytes.len()
        }
        Err(error) => return Err(error),
    };
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("the file is too large for a list of bans"));
    }
    Ok(bytes)
}

/// Returns the content of the file for these bans.
pub(super) fn render(table: &BanTable) -> String {
    let mut out = format!("{HEADER}{VERSION}\n");
    for ban in table.bans() {
        let expires = ban.expires_text();
        let expires = expires.as_deref().unwrap_or(NEVER);
        // A write to a string never fails.
        let _ = writeln!(out, "{}\t{expires}\t{}\t{}", ban.network, ban.reason, ban.by);
    }
    out + END + "\n"
}

/// Returns the bans of a file's content, or the number of a wrong line and the mistake in it.
fn parse(bytes: &[u8]) -> Result<Vec<Arc<Ban>>, (usize, LineProblem)> {
    if bytes.is_empty() {
        return Err((1, LineProblem::Empty));
    }
    let (mut bans, mut number, mut ended) = (Vec::new(), 0, false);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        number += 1;
        parse_line(line, number, &mut ended, &mut bans).map_err(|problem| (number, problem))?;
    }
    if ended { Ok(bans) } else { Err((number, LineProblem::CutOff)) }
}

/// Reads one line with its end: the header, a ban or the last line.
fn parse_line(line: &[u8], number: usize, ended: &mut bool, bans: &mut Vec<Arc<Ban>>) -> Result<(), LineProblem> {
    let line = line.strip_suffix(b"\n").ok_or(LineProblem::CutOff)?;
    let text = str::from_utf8(line).map_err(|_| LineProblem::NotUtf8)?;
    match text {
        _ if number == 1 => parse_header(text)?,
        _ if *ended => return Err(LineProblem::AfterEnd(shorten(text))),
        END => *ended = true,
        _ if bans.len() == MAX_BANS => return Err(LineProblem::TooMany),
        _ => bans.push(Arc::new(parse_ban(text)?)),
    }
    Ok(())
}

fn parse_header(text: &str) -> Result<(), LineProblem> {
    match text.strip_prefix(HEADER).and_then(|version| version.parse().ok()) {
        Some(VERSION) => Ok(()),
        Some(version) => Err(LineProblem::Version(version)),
        None => Err(LineProblem::Header(shorten(text))),
    }
}

fn parse_ban(text: &str) -> Result<Ban, LineProblem> {
    let parts: Vec<&str> = text.split('\t').collect();
    let [network, expires, reason, by] = parts[..] else {
        return Err(LineProblem::Parts(shorten(text)));
    };
    let expires = match expires {
        NEVER => None,
        time => Some(humantime::parse_rfc3339(time).map_err(|_| LineProblem::Expires(shorten(time)))?),
    };
    if let Some(long) = [reason, by].into_iter().find(|part| part.len() > MAX_REASON) {
        return Err(LineProblem::Long(shorten(long)));
    }
    // An operator may have edited the file, and peers see the reason.
    let (reason, by) = (sanitize(reason.as_bytes()).into_owned(), sanitize(by.as_bytes()).into_owned());
    Ok(Ban { network: parse_network(network)?, expires, reason, by })
}

#[cfg(test)]
mod tests {
    use super::super::table::tests::ban;
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn example() -> BanTable {
        let expires = Some(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let flooder = Ban { expires, reason: "flooding, twice: łąka".to_owned(), ..ban("10.0.0.0/8") };
        BanTable::new([flooder, ban("2001:db8::1"), Ban { reason: String::new(), ..ban("192.0.2.7") }].map(Arc::new))
    }

    fn problem(text: &str) -> String {
        let (line, problem) = parse(text.as_bytes()).unwrap_err();
        format!("{line}: {problem}")
    }

    #[test]
    fn rendered_bans_are_read_again() {
        let table = example();
        let text = render(&table);
        assert!(text.starts_with("roomcast-bans 1\n10.0.0.0/8\t2027-01-15T08:00:00Z\tflooding, twice: łąka\tuid 0\n"));
        assert!(text.ends_with("\nend\n"), "{text}");
        assert_eq!(parse(text.as_bytes()).unwrap(), table.bans());
    }

    #[test]
    fn file_that_is_cut_off_at_any_byte_is_refused_with_its_line() {
        let text = render(&example());
        for end in 0..text.len() {
            let (line, problem) = parse(&text.as_bytes()[..end]).unwrap_err();
            let lines = text.as_bytes()[..end].split_inclusive(|byte| *byte == b'\n').count();
            assert_eq!(line, lines.max(1), "cut at {end}");
            assert!(matches!(problem, LineProblem::CutOff | LineProblem::Empty), "cut at {end}: {problem}");
        }
    }

    #[test]
    fn newer_version_is_refused_with_both_numbers() {
        let told = problem(&render(&example()).replace("roomcast-bans 1", "roomcast-bans 2"));
        assert_eq!(
            told,
            "1: version 2 of the format is unknown, this roomcast has version 1: use the one that wrote the file"
        );
    }

    #[test]
    fn wrong_line_is_refused_with_its_number_and_value() {
        let file = |line: &str| format!("roomcast-bans 1\n10.0.0.0/8\t-\t\tuid 0\n{line}\nend\n");
        for (line, told) in [
            ("", "3: \"\" is no ban: write its network"),
            ("bob\t-\t\tuid 0", "3: \"bob\" is no address and no network"),
            ("10.0.0.1/8\t-\t\tuid 0", "3: 10.0.0.1/8 has bits beyond its prefix"),
            ("10.0.0.1\ttomorrow\t\tuid 0", "3: \"tomorrow\" is no end of a ban"),
            ("10.0.0.1\t-\tuid 0", "3: \"10.0.0.1\\t-\\tuid 0\" is no ban"),
            ("10.0.0.1\t-\t\tuid 0\tmore", "3: \"10.0.0.1\\t-\\t\\tuid 0\\tmore\" is no ban"),
            ("end\n10.0.0.1\t-\t\tuid 0", "4: \"10.0.0.1\\t-\\t\\tuid 0\" follows the last line end"),
        ] {
            let problem = problem(&file(line));
            assert!(problem.starts_with(told), "{problem}");
        }
        assert!(problem("bans\n").starts_with("1: \"bans\" is no first line of a file of bans"));
        assert!(problem(&file(&format!("10.0.0.1\t-\t{}\tuid 0", "x".repeat(201)))).contains("too long"));
        assert_eq!(parse(b"roomcast-bans 1\n10.0.0.1\xFF\t-\t\tx\nend\n").unwrap_err(), (2, LineProblem::NotUtf8));
        let many = (0..=MAX_BANS).fold("roomcast-bans 1\n".to_owned(), |text, at| {
            text + &format!("10.{}.{}.1\t-\t\tx\n", at / 256, at % 256)
        });
        assert_eq!(parse(many.as_bytes()).unwrap_err(), (MAX_BANS + 2, LineProblem::TooMany));
    }

    #[test]
    fn reason_from_an_edited_file_controls_no_terminal() {
        let bans = parse(b"roomcast-bans 1\n10.0.0.1\t-\tred \x1b[31mtext\tuid 0\nend\n").unwrap();
        assert_eq!(bans[0].reason, "red text");
    }

    #[test]
    fn missing_file_has_no_bans_and_missing_folder_is_an_error() {
        let folder = std::env::temp_dir().join(format!("roomcast-{}-no-bans", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert!(BansFile::read(folder.join("bans")).unwrap().bans.is_empty());
        let error = BansFile::read(folder.join("missing/bans")).unwrap_err().to_string();
        assert!(error.contains("missing/bans: ") && error.contains("leave --bans"), "{error}");
        let error = BansFile::read(folder.clone()).unwrap_err().to_string();
        assert!(error.contains("directory"), "{error}");
        std::fs::remove_dir(folder).unwrap();
    }

    #[test]
    fn error_names_the_file_the_line_and_the_value() {
        let path = std::env::temp_dir().join(format!("roomcast-{}-wrong-bans", std::process::id()));
        std::fs::write(&path, "roomcast-bans 1\n10.0.0.0/33\t-\t\tuid 0\nend\n").unwrap();
        let error = BansFile::read(path.clone()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}:2: \"10.0.0.0/33\" is no address", path.display())), "{error}");
        std::fs::remove_file(path).unwrap();
    }
}
