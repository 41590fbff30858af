//! The text of a configuration file: bounded, and UTF-8.

use super::error::{Mistake, Position};
use roomcast::config::units::show_size;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// The largest file, in bytes: 1 MiB, far above what all keys take.
pub(super) const MAX_FILE: usize = 1 << 20;

/// Reads the file at `path`, without a byte order mark.
///
/// # Errors
/// The [`Mistake`] of a file that is no regular file, can't be read, is too large or is no UTF-8.
pub(super) fn read(path: &Path) -> Result<String, Mistake> {
    let bytes = read_bytes(path).map_err(|error| Mistake {
        position: None,
        message: format!("{error}: name a file that can be read with --config or ROOMCAST_CONFIG"),
    })?;
    decode(bytes)
}

/// Returns the bytes of the file, one more than a file may have at the most.
fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    // Asked before the file is opened: opening a pipe waits for its writer.
    let kind = fs::metadata(path)?.file_type();
    if !kind.is_file() {
        let what = if kind.is_dir() { "it is a directory" } else { "it is no regular file" };
        return Err(io::Error::other(what));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns the bytes as text.
pub(super) fn decode(bytes: Vec<u8>) -> Result<String, Mistake> {
    if bytes.len() > MAX_FILE {
        let message = format!("it is larger than {}: shorten it", show_size(MAX_FILE));
        return Err(Mistake { position: None, message });
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{FEFF}').map(str::to_owned).unwrap_or(text)),
        Err(error) => {
            let (offset, bytes) = (error.utf8_error().valid_up_to(), error.into_bytes());
            let position = Position::of(&String::from_utf8_lossy(&bytes[..offset]), offset);
            let message = format!("the byte 0x{:02X} is no UTF-8: write the file in UTF-8", bytes[offset]);
            Err(Mistake { position: Some(position), message })
        }
    }
}
