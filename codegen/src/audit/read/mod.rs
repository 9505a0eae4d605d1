//! From files to [`Source`]s. A document is recognised by its content, never by its name.

pub mod intel;
pub mod pdf;

use std::fmt;
use std::path::{Path, PathBuf};

use super::source::Source;

mod amd;
mod amd_control;
mod amd_rows;
mod c_expr;
mod c_header;
mod c_header_names;
mod c_header_structs;
mod c_header_tables;
mod date;
mod export;
mod export_facts;
mod rust_consts;

/// A file to be read.
pub struct Input<'a> {
    /// Its path, for messages and for programs that want a file.
    pub path: &'a Path,
    /// Its content.
    pub bytes: &'a [u8],
}

impl Input<'_> {
    /// Why it could not be read, and what to do.
    pub fn error(&self, message: &str, help: &str) -> ReadError {
        ReadError { path: self.path.into(), message: message.into(), help: Some(help.into()) }
    }
}

/// Why a document could not be read.
#[derive(Debug)]
pub struct ReadError {
    /// The document.
    pub path: PathBuf,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n    help: {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ReadError {}

/// Told how far a reader is: what it does, how much is done, and of how much.
pub type Progress<'a> = &'a mut dyn FnMut(&str, usize, usize);

/// A kind of document.
pub struct Reader {
    /// What it reads, for messages.
    pub what: &'static str,
    /// Whether a file is such a document.
    pub recognises: fn(&Input) -> bool,
    /// Reads it.
    pub read: fn(&Input, Progress) -> Result<Source, ReadError>,
}

/// All of them; the first that recognises a file reads it.
pub const READERS: &[Reader] =
    &[intel::READER, c_header::READER, rust_consts::READER, export::READER, amd::READER, pdf::UNKNOWN];
