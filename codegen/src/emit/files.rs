//! The generated files, and writing them.

use std::path::Path;
use std::{fs, io};

use proc_macro2::TokenStream;

use super::render::render;

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

impl GeneratedFile {
    /// The text of the file.
    pub fn text(&self) -> String {
        format!("{HEADER}\n{}", render(&self.tokens))
    }
}

impl GeneratedFiles {
    pub(super) fn push(&mut self, path: String, tokens: TokenStream) {
        self.files.push(GeneratedFile { path, tokens });
    }

    /// Writes every file under `out`. A file that would not change is not touched.
    pub fn write(&self, out: &Path) -> io::Result<()> {
        for file in &self.files {
            let path = out.join(&file.path);
            let text = file.text();
            if fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
                continue;
            }
            fs::create_dir_all(path.parent().unwrap_or(out))?;
            fs::write(path, text)?;
        }
        Ok(())
    }
}
