//! Opening documents.

use std::fs;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::read::{Input, Progress, READERS, ReadError, Reader};
use super::source::Source;

/// Reads a document with the reader that recognises it.
pub fn open(path: &Path, progress: Progress) -> Result<Source, ReadError> {
    open_with(READERS, path, progress)
}

fn open_with(readers: &[Reader], path: &Path, progress: Progress) -> Result<Source, ReadError> {
    let error = |message: String, help: Option<String>| ReadError { path: path.to_owned(), message, help };
    if path.is_dir() {
        let help = "name the files in it that have the tables";
        return Err(error("it is a directory".to_owned(), Some(help.to_owned())));
    }
    let bytes = fs::read(path).map_err(|why| error(why.to_string(), None))?;
    if bytes.is_empty() {
        return Err(error("the file is empty".to_owned(), None));
    }
    let input = Input { path, bytes: &bytes };
    let Some(reader) = readers.iter().find(|reader| (reader.recognises)(&input)) else {
        let known: Vec<_> = readers.iter().map(|reader| reader.what).collect();
        let help = format!("known are: {}", if known.is_empty() { "none".to_owned() } else { known.join("; ") });
        return Err(error("no kind of document that is known".to_owned(), Some(help)));
    };
    let mut source = (reader.read)(&input, progress)?;
    source.path = path.to_string_lossy().replace('\\', "/");
    source.identity.sha256.get_or_insert_with(|| sum(&bytes));
    Ok(source)
}

/// The SHA-256 sum, in digits.
fn sum(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::new(), |mut out, byte| {
        // Writing into a string does not fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}
