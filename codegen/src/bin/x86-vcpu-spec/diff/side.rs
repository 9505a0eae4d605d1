//! One side of a comparison: a directory, or a git revision.

use std::fs;
use std::path::{Path, PathBuf};

use x86_vcpu_codegen::{Diagnostics, Spec, lint};

use super::git::{self, Checkout};
use crate::snippets;

/// Tables that are somewhere.
pub struct Side {
    /// What the reader calls it.
    name: String,
    directory: PathBuf,
    /// The `Cargo.toml` beside the tables.
    manifest: Option<String>,
    /// Keeps the files of a revision until they are read.
    _checkout: Option<Checkout>,
}

/// Tables that were read.
pub struct Loaded {
    pub name: String,
    pub spec: Spec,
    pub version: Option<String>,
    directory: PathBuf,
}

impl Loaded {
    /// Text with places in these tables, with the name of the side.
    pub fn named(&self, text: &str) -> String {
        text.replace(&*self.directory.to_string_lossy(), &self.name)
    }
}

impl Side {
    /// What the argument means: a directory that is there, else a revision.
    pub fn of(argument: &str) -> Result<Side, String> {
        let path = Path::new(argument);
        if path.is_dir() {
            return Side::directory(path);
        }
        let checkout = Checkout::of(argument).map_err(|error| match error {
            git::Error::NoRevision if path.exists() => format!("error: `{argument}` is not a directory\n"),
            git::Error::NoRevision => format!("error: `{argument}` is neither a directory nor a git revision\n"),
            other => format!("error: {argument}: {other}\n"),
        })?;
        Ok(Side {
            name: checkout.name.clone(),
            directory: checkout.directory().to_owned(),
            manifest: checkout.manifest.clone(),
            _checkout: Some(checkout),
        })
    }

    /// A directory.
    pub fn directory(path: &Path) -> Result<Side, String> {
        let absolute = fs::canonicalize(path).map_err(|error| format!("error: {}: {error}\n", path.display()))?;
        let manifest = absolute.parent().and_then(|parent| fs::read_to_string(parent.join("Cargo.toml")).ok());
        Ok(Side { name: path.display().to_string(), directory: path.to_owned(), manifest, _checkout: None })
    }

    /// Reads the tables. What lints have against them is said, but does not stop a comparison.
    pub fn load(self, pretty: bool, verbose: bool) -> Result<Loaded, String> {
        let say = |errors: &Diagnostics| {
            snippets::render(errors, pretty).replace(&*self.directory.to_string_lossy(), &self.name)
        };
        let mut spec = Spec::load(&self.directory).map_err(|errors| say(&errors))?;
        let mistakes = lint(&spec);
        if !mistakes.is_empty() {
            let errors = Diagnostics::new(spec.sources, mistakes);
            let (name, count) = (&self.name, errors.list.len());
            // An older revision may have many, since lints get stricter.
            if verbose {
                anstream::eprint!("{}", say(&errors));
            } else if let Some(first) = errors.list.first() {
                let first = Diagnostics { sources: errors.sources.clone(), list: vec![first.clone()] };
                eprint!("{}", first.to_string().replace(&*self.directory.to_string_lossy(), name));
            }
            let more = if count > 1 && !verbose { "; --verbose shows all" } else { "" };
            let mistakes = if count == 1 { "mistake" } else { "mistakes" };
            eprintln!("warning: {name}: {count} {mistakes}, compared nevertheless{more}");
            spec.sources = errors.sources;
        }
        let version = self.manifest.as_deref().and_then(version);
        Ok(Loaded { name: self.name, spec, version, directory: self.directory })
    }
}

/// The version in a manifest; none when it is the workspace's.
fn version(manifest: &str) -> Option<String> {
    let mut lines = manifest.lines().map(str::trim).skip_while(|line| *line != "[package]").skip(1);
    let line = lines.by_ref().take_while(|line| !line.starts_with('[')).find_map(|line| {
        let rest = line.strip_prefix("version")?.trim_start();
        rest.strip_prefix('=').map(str::trim_start)
    })?;
    let quote = line.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    line[1..].split(quote).next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn the_version_is_that_of_the_package() {
        let manifest = "[workspace.package]\nversion = \"9.0.0\"\n[package]\nname = \"a\"\nversion = \"0.1.0\" # x\n";
        assert_eq!(version(manifest).as_deref(), Some("0.1.0"));
        assert_eq!(version("[package]\nversion.workspace = true\n"), None);
        assert_eq!(version("[package]\n[dependencies]\nversion = \"1\"\n"), None);
    }
}
