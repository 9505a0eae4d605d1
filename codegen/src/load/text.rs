//! Reading one file, whatever it turns out to be.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// No table comes near. What is larger is some other file, and would take memory and time to be refused.
const LIMIT: u64 = 1 << 20;

/// Why a file has no text.
pub(super) enum Refused {
    /// Nothing of it could be read.
    Unread(String),
    /// The text before the first byte that is not UTF-8.
    NotUtf8(String),
}

/// The text of a file.
pub(super) fn read(path: &Path) -> Result<String, Refused> {
    let cannot = |error: io::Error| Refused::Unread(format!("cannot read: {error}"));
    // A pipe or a device would block or never end.
    let metadata = fs::metadata(path).map_err(cannot)?;
    if !metadata.is_file() {
        return Err(Refused::Unread("cannot read: not a file".to_owned()));
    }
    let mut bytes = Vec::new();
    if metadata.len() <= LIMIT {
        // It may grow while it is read.
        File::open(path).and_then(|file| file.take(LIMIT + 1).read_to_end(&mut bytes)).map_err(cannot)?;
    }
    let size = metadata.len().max(bytes.len() as u64);
    if size > LIMIT {
        return Err(Refused::Unread(format!("the file is too long: {size} bytes, and tables have at most {LIMIT}")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        Refused::NotUtf8(String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned())
    })
}
