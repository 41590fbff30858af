//! The file of the message of the day: read at the start and at each reload.

use roomcast::config::{Motd, MotdError};
use roomcast::text::text_file::open_text_file;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A file that can't be the message of the day. Shown, it names the flag, the file and what to do.
#[derive(Debug)]
pub(super) struct MotdFileError {
    path: PathBuf,
    reason: MotdFileErrorReason,
}

/// Why a file can't be the message of the day.
#[derive(Debug)]
enum MotdFileErrorReason {
    /// The system does not let the file be read.
    Unreadable(io::Error),
    /// The content is no message.
    Content(MotdError),
}

/// Reads the message of the day; of a file that is too long, it reads no more than shows that.
///
/// # Errors
/// [`MotdFileError`] if the file can't be read, or is empty, too long or no UTF-8 text.
pub(super) fn read_motd(path: PathBuf) -> Result<Motd, MotdFileError> {
    let motd = read_start(&path).map_err(MotdFileErrorReason::Unreadable);
    let motd = motd.and_then(|text| Motd::new(&text).map_err(MotdFileErrorReason::Content));
    motd.map_err(|reason| MotdFileError { path, reason })
}

/// Returns the first bytes of a file, one more than a message may have.
fn read_start(path: &Path) -> io::Result<Vec<u8>> {
    let (mut text, most) = (Vec::new(), Motd::MAX_BYTES + 1);
    open_text_file(path)?.take(most as u64).read_to_end(&mut text)?;
    Ok(text)
}

impl std::fmt::Display for MotdFileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "--motd {}: ", self.path.display().to_string().escape_debug())?;
        match &self.reason {
            MotdFileErrorReason::Unreadable(error) => {
                write!(f, "{error}: name a file that can be read, or leave --motd and ROOMCAST_MOTD out")
            }
            MotdFileErrorReason::Content(error) => error.fmt(f),
        }
    }
}
