//! The generated files, and writing them.

use std::path::Path;
use std::{fs, io};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The first line of every generated file.
const HEADER: &str = "// Generated from the tables in spec/ by x86_vcpu_codegen. Edit those instead.\n";

/// A generated file.
#[derive(Clone, Debug)]
pub struct GeneratedFile {
    /// Its path under the output directory, with `/`.
    pub path: String,
    /// What it holds.
    pub tokens: TokenStream,
}

/// All generated files, in a fixed order.
#[derive(Clone, Debug, Default)]
pub struct GeneratedFiles {
    /// The files.
    pub files: Vec<GeneratedFile>,
}

impl GeneratedFiles {
    pub(super) fn push(&mut self, path: String, tokens: TokenStream) {
        self.files.push(GeneratedFile { path, tokens });
    }

    /// Writes every file under `out`.
    pub fn write(&self, out: &Path) -> io::Result<()> {
        self.write_with(out, |tokens| Ok(lines(tokens)))
    }

    /// Writes every file under `out`, as `format` renders it. A file that would not change is not touched.
    pub fn write_with(&self, out: &Path, format: impl Fn(&TokenStream) -> io::Result<String>) -> io::Result<()> {
        for file in &self.files {
            let path = out.join(&file.path);
            let text = format!("{HEADER}{}", format(&file.tokens)?);
            if fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
                continue;
            }
            fs::create_dir_all(path.parent().unwrap_or(out))?;
            fs::write(path, text)?;
        }
        Ok(())
    }
}

/// The tokens with a line per item, so that a compiler error shows something readable.
fn lines(tokens: &TokenStream) -> String {
    let (mut text, mut line) = (String::new(), TokenStream::new());
    for token in tokens.clone() {
        let ends = match &token {
            TokenTree::Punct(punct) => punct.as_char() == ';',
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            _ => false,
        };
        line.extend([token]);
        if ends {
            text.push_str(&std::mem::take(&mut line).to_string());
            text.push('\n');
        }
    }
    text.push_str(&line.to_string());
    text
}
