//! Which files a spec directory has, and what each is for.

use std::fs;
use std::path::Path;

use crate::diagnostics::Diagnostic;
use crate::model::{FileId, Module, ModuleId, Sources, Span, Vendor};

use super::nearest::nearest;
use super::text::{self, Refused};

/// The file for the documents.
const MANUALS: &str = "manuals.toml";

/// The file for what corresponds to what; a spec may do without.
const MAP: &str = "map.toml";

/// The file for what becomes of accesses to MSRs; a spec may do without.
const MSR_POLICY: &str = "msr_policy.toml";

/// Which file is the place for a table that not every file may have.
pub(super) fn home_of(table: &str) -> Option<&'static str> {
    Some(match table {
        "manual" => MANUALS,
        "exit_map" | "state_map" => MAP,
        "msr_policy" => MSR_POLICY,
        "msr_bitmap" => "intel/msrs.toml or amd/msrs.toml",
        "field" => "intel/vmcs.toml",
        "control" => "intel/controls.toml",
        "exit" => "intel/exits.toml or amd/exits.toml",
        "instruction_error" => "intel/exits.toml",
        "msr" => "a file `msrs.toml`, or one of x86/",
        "clean" => "amd/vmcb.toml",
        "member" => "amd/vmcb.toml or amd/vmsa.toml",
        "define" | "check" => "intel/entry_checks.toml or amd/entry_checks.toml",
        "word" | "intercept" => "amd/intercepts.toml",
        _ => return None,
    })
}

/// What a file is for.
pub(super) enum Home {
    Manuals,
    Map,
    MsrPolicy,
    Module(ModuleId),
}

/// The files of a spec directory that could be read, in a fixed order.
pub(super) struct Files {
    pub sources: Sources,
    pub modules: Vec<Module>,
    pub homes: Vec<(FileId, Home)>,
    pub errors: Vec<Diagnostic>,
}

impl Files {
    pub fn read(dir: &Path) -> Files {
        let mut files =
            Files { sources: Sources::default(), modules: Vec::new(), homes: Vec::new(), errors: Vec::new() };
        let Some(entries) = files.list(dir) else { return files };
        files.top_level(dir, &entries);
        if entries.iter().any(|name| name == MANUALS)
            && let Some(file) = files.text(&dir.join(MANUALS))
        {
            files.homes.push((file, Home::Manuals));
        }
        if entries.iter().any(|name| name == MAP)
            && let Some(file) = files.text(&dir.join(MAP))
        {
            files.homes.push((file, Home::Map));
        }
        if entries.iter().any(|name| name == MSR_POLICY)
            && let Some(file) = files.text(&dir.join(MSR_POLICY))
        {
            files.homes.push((file, Home::MsrPolicy));
        }
        for vendor in Vendor::ALL {
            if !entries.iter().any(|name| name == vendor.name()) {
                continue;
            }
            let dir = dir.join(vendor.name());
            for entry in files.list(&dir).unwrap_or_default() {
                if let Some(stem) = entry.strip_suffix(".toml") {
                    files.module(&dir.join(&entry), vendor, stem);
                } else if dir.join(&entry).is_dir() {
                    files.error(&dir.join(&entry), "a directory where only tables can be");
                } else if entry.to_ascii_lowercase().ends_with(".toml") {
                    files.error(&dir.join(&entry), "the names of files with tables end in `.toml`, in lower case");
                }
            }
        }
        files
    }

    /// Refuses what looks like tables but would be passed over.
    fn top_level(&mut self, dir: &Path, entries: &[String]) {
        for entry in entries {
            let path = dir.join(entry);
            let known = [MANUALS, MAP, MSR_POLICY].contains(&entry.as_str())
                || Vendor::ALL.iter().any(|vendor| vendor.name() == entry);
            if known || !(path.is_dir() || entry.ends_with(".toml")) {
                continue;
            }
            let names = Vendor::ALL.iter().map(|vendor| vendor.name()).chain([MANUALS, MAP, MSR_POLICY]);
            let error = Diagnostic::new(self.unread(&path), format!("nothing is known to be in `{entry}`"));
            self.errors.push(match nearest(entry, names) {
                Some(name) => error.help(format!("there is `{name}`")),
                None => error.help("tables are in intel/, amd/, x86/, manuals.toml, map.toml and msr_policy.toml"),
            });
        }
        if !entries.iter().any(|name| name == MANUALS) {
            self.error(&dir.join(MANUALS), "no such file");
        }
    }

    fn module(&mut self, path: &Path, vendor: Vendor, stem: &str) {
        let Some(file) = self.text(path) else { return };
        if !super::row::is_snake_case(stem) || matches!(stem, "mod" | "lib" | "main") || crate::lint::is_keyword(stem) {
            self.error(
                path,
                "the name of the file is that of a Rust module: lower-case letters, digits and `_`, no keyword",
            );
            return;
        }
        match (vendor, stem) {
            (Vendor::Intel, "conditions") => {
                return self.error(path, "the module of that name is generated from `exists_if`");
            }
            (Vendor::Intel | Vendor::Amd, "payloads") => {
                return self.error(path, "the module of that name is generated from `[[exit]]`");
            }
            _ => {}
        }
        self.homes.push((file, Home::Module(ModuleId(self.modules.len()))));
        self.modules.push(Module { vendor, name: stem.to_owned(), file });
    }

    /// The names in a directory, sorted, hidden ones left out.
    fn list(&mut self, dir: &Path) -> Option<Vec<String>> {
        let read = fs::read_dir(dir).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
        match read {
            Ok(entries) => {
                let mut names = Vec::new();
                for entry in entries {
                    match entry.file_name().into_string() {
                        Ok(name) if !name.starts_with('.') => names.push(name),
                        Ok(_) => {}
                        Err(_) => self.error(&entry.path(), "the name of this file is not UTF-8"),
                    }
                }
                names.sort();
                Some(names)
            }
            Err(error) => {
                self.error(dir, &format!("cannot read the directory: {error}"));
                None
            }
        }
    }

    /// Reads a file.
    fn text(&mut self, path: &Path) -> Option<FileId> {
        match text::read(path) {
            Ok(text) => return Some(self.sources.add(shown(path), text)),
            Err(Refused::Unread(message)) => self.error(path, &message),
            Err(Refused::NotUtf8(before)) => {
                // With the part before it the place can be shown as a line and a column.
                let at = u32::try_from(before.len()).unwrap_or(u32::MAX);
                let span = Span { file: self.sources.add(shown(path), before), start: at, end: at };
                self.errors.push(Diagnostic::new(span, "not UTF-8 from here on"));
            }
        }
        None
    }

    fn error(&mut self, path: &Path, message: &str) {
        let span = self.unread(path);
        self.errors.push(Diagnostic::new(span, message));
    }

    /// A place for something that has no text.
    fn unread(&mut self, path: &Path) -> Span {
        Span { file: self.sources.add(shown(path), String::new()), start: 0, end: 0 }
    }
}

/// A path as it is printed: the same on every system.
fn shown(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "/")
}
