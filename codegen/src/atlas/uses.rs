//! Where the library's own code names what the tables have.
//!
//! This reads identifiers, not Rust: a name counts where it stands as a whole word, outside of comments, texts and tests. What
//! precedes it (`Type::`, a dot) tells a bit of one type from a bit of another.

mod lex;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

pub(super) use lex::Before;

/// The identifiers of a directory of Rust files.
#[derive(Debug, Default)]
pub struct Uses {
    files: Vec<File>,
    words: BTreeMap<String, Vec<Occurrence>>,
}

#[derive(Debug)]
struct File {
    path: String,
    words: BTreeSet<String>,
}

#[derive(Debug)]
struct Occurrence {
    file: usize,
    line: u32,
    before: Before,
}

/// A file, and lines of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place<'u> {
    pub file: &'u str,
    pub lines: BTreeSet<u32>,
}

impl Uses {
    /// Reads every `.rs` file below `dir`. Paths start with the name of `dir`, whatever the path to it.
    pub fn scan(dir: &Path) -> io::Result<Uses> {
        let dir = dir.canonicalize()?;
        let root = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut paths = Vec::new();
        list(&dir, &mut paths)?;
        paths.sort();
        let mut uses = Uses::default();
        for path in paths {
            let Ok(relative) = path.strip_prefix(&dir) else { continue };
            let parts: Vec<_> = relative.components().map(|part| part.as_os_str().to_string_lossy()).collect();
            if parts.last().is_some_and(|name| name == "tests.rs") {
                continue;
            }
            uses.add(format!("{root}/{}", parts.join("/")), &String::from_utf8_lossy(&fs::read(&path)?));
        }
        Ok(uses)
    }

    /// Adds the text of a file.
    pub(super) fn add(&mut self, path: String, text: &str) {
        let file = self.files.len();
        let mut words = BTreeSet::new();
        for word in lex::words(text) {
            words.insert(word.text.to_owned());
            let occurrence = Occurrence { file, line: word.line, before: word.before };
            self.words.entry(word.text.to_owned()).or_default().push(occurrence);
        }
        self.files.push(File { path, words });
    }

    /// How many files were read.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// The places where one of `names` stands and `counts` says so, of its file's words and of what precedes it.
    pub(super) fn find(&self, names: &[&str], counts: impl Fn(&BTreeSet<String>, &Before) -> bool) -> Vec<Place<'_>> {
        let mut places: BTreeMap<usize, BTreeSet<u32>> = BTreeMap::new();
        for found in names.iter().filter_map(|name| self.words.get(*name)).flatten() {
            if counts(&self.files[found.file].words, &found.before) {
                places.entry(found.file).or_default().insert(found.line);
            }
        }
        places.into_iter().map(|(file, lines)| Place { file: &self.files[file].path, lines }).collect()
    }

    /// Where a constant of a module stands: `GUEST_RIP`, but not `Register::GUEST_RIP`.
    pub(super) fn constant(&self, names: &[&str]) -> Vec<Place<'_>> {
        self.find(names, |_, before| !matches!(before, Before::Path(path) if path.starts_with(char::is_uppercase)))
    }

    /// Where a constant of a type stands: `Cr4::PVI`.
    pub(super) fn of_type(&self, ty: &str, name: &str) -> Vec<Place<'_>> {
        self.find(&[name], |_, before| matches!(before, Before::Path(path) if path == ty))
    }

    /// Where methods stand, in files that name one of `types` as well.
    pub(super) fn methods(&self, types: &[&str], names: &[&str]) -> Vec<Place<'_>> {
        self.find(names, |words, before| match before {
            Before::Dot => types.iter().any(|ty| words.contains(*ty)),
            Before::Path(path) => types.contains(&path.as_str()),
            Before::Other => false,
        })
    }
}

fn list(dir: &Path, out: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // Links are not followed: they could lead round in circles.
        let kind = entry.file_type()?;
        if kind.is_dir() {
            list(&entry.path(), out)?;
        } else if kind.is_file() && entry.path().extension().is_some_and(|extension| extension == "rs") {
            out.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses() -> Uses {
        let mut uses = Uses::default();
        let text = "use vmcs::GUEST_RIP;\nfn f(vmcb: &Vmcb) {\n    Reason::CPUID; vmcb.rip(); // GUEST_RIP\n}\n\
                    #[cfg(test)]\nmod tests { GUEST_RIP; }\n";
        uses.add("src/a.rs".to_owned(), text);
        uses.add("src/b.rs".to_owned(), "Other::CPUID; registers.rip(); GUEST_RIP.encoding();\nGUEST_RIP_2");
        uses
    }

    fn places(places: Vec<Place>) -> Vec<String> {
        places.iter().map(|place| format!("{}:{:?}", place.file, place.lines)).collect()
    }

    #[test]
    fn names_are_found_as_whole_words_of_code() {
        assert_eq!(places(uses().constant(&["GUEST_RIP"])), ["src/a.rs:{1}", "src/b.rs:{1}"]);
    }

    #[test]
    fn constants_belong_to_their_type() {
        assert_eq!(places(uses().of_type("Reason", "CPUID")), ["src/a.rs:{3}"]);
        assert_eq!(places(uses().constant(&["CPUID"])), [""; 0]);
    }

    #[test]
    fn methods_count_in_files_that_name_the_type() {
        assert_eq!(places(uses().methods(&["Vmcb"], &["rip", "set_rip"])), ["src/a.rs:{3}"]);
    }
}
