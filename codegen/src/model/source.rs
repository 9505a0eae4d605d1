//! The texts, and places in them.

use std::fmt;

/// A file of [`Sources`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId(pub u32);

/// A range of bytes in a file. Ordered by file, then by place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// The first byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

/// A value and the place where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// The place.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// The same place with another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Spanned<U> {
        Spanned { value: f(self.value), span: self.span }
    }
}

/// The files of a spec: their paths as they are printed, and their texts.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: Vec<File>,
}

#[derive(Clone, Debug)]
struct File {
    path: String,
    text: String,
    /// Where lines start, so that thousands of mistakes are placed without reading the text for each.
    lines: Vec<usize>,
}

impl Sources {
    /// Adds a file. One that could not be read has no text, and is pointed at in its first column.
    pub fn add(&mut self, path: String, text: String) -> FileId {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = [0].into_iter().chain(newlines.map(|(at, _)| at + 1)).collect();
        self.files.push(File { path, text, lines });
        FileId(u32::try_from(self.files.len() - 1).expect("fewer than 2^32 files"))
    }

    /// The path of a file, as it is printed.
    pub fn path(&self, file: FileId) -> &str {
        &self.files[file.0 as usize].path
    }

    /// The text of a file.
    pub fn text(&self, file: FileId) -> &str {
        &self.files[file.0 as usize].text
    }

    /// The line and the column, counted in characters from 1, where `span` starts.
    pub fn line_column(&self, span: Span) -> (usize, usize) {
        let File { text, lines, .. } = &self.files[span.file.0 as usize];
        let at = (span.start as usize).min(text.len());
        let line = lines.partition_point(|start| *start <= at);
        let before = text.get(lines[line - 1]..at).unwrap_or_default();
        (line, before.chars().count() + 1)
    }

    /// `path:line:col`
    pub fn place(&self, span: Span) -> impl fmt::Display {
        let (line, column) = self.line_column(span);
        format!("{}:{line}:{column}", self.path(span.file))
    }
}
