//! The tables of a git revision, by the git command line.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fmt, fs, io, process};

/// Where the tables are when the argument does not say.
const DEFAULT_PATH: &str = "spec";

/// Why a revision cannot be read.
pub enum Error {
    /// There is no git.
    NoGit,
    /// There is no such revision, or no repository.
    NoRevision,
    /// The revision has no such directory.
    NoDirectory(String),
    /// Git, or writing what it gives, failed.
    Failed(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoGit => f.write_str("git was not found; give directories, or install it"),
            Error::NoRevision => f.write_str("no such revision"),
            Error::NoDirectory(path) => write!(f, "the revision has no directory `{path}`"),
            Error::Failed(why) => f.write_str(why),
        }
    }
}

/// The files of a revision, in a temporary directory that is removed with the value.
pub struct Checkout {
    /// `HEAD~3:spec`
    pub name: String,
    /// The `Cargo.toml` beside the tables.
    pub manifest: Option<String>,
    directory: Temporary,
}

impl Checkout {
    /// The tables that `REV` or `REV:PATH` means.
    pub fn of(argument: &str) -> Result<Checkout, Error> {
        let (revision, path) = argument.split_once(':').unwrap_or((argument, DEFAULT_PATH));
        let path = path.trim_end_matches('/');
        // Refused by git for an empty name too, but `:path` would be the index.
        if revision.is_empty() {
            return Err(Error::NoRevision);
        }
        let name = format!("{revision}:{path}");
        let commit = resolve(&format!("{revision}^{{tree}}"))?.ok_or(Error::NoRevision)?;
        let no_directory = || Error::NoDirectory(path.to_owned());
        // Without a path in it `REV:` is the root. Git knows what `./` means.
        let tree = resolve(&name)?.ok_or_else(no_directory)?;
        if text(&git(&["cat-file", "-t", &tree])?) != "tree" {
            return Err(no_directory());
        }
        let directory = Temporary::new().map_err(|error| Error::Failed(format!("temporary directory: {error}")))?;
        write(&tree, &directory.0)?;
        let manifest = match path.rsplit_once('/') {
            Some((parent, _)) => format!("{revision}:{parent}/Cargo.toml"),
            None => format!("{commit}:Cargo.toml"),
        };
        let manifest = git(&["show", "--end-of-options", &manifest])?;
        let manifest = manifest.status.success().then(|| String::from_utf8_lossy(&manifest.stdout).into_owned());
        Ok(Checkout { name, manifest, directory })
    }

    /// Where the tables are.
    pub fn directory(&self) -> &Path {
        &self.directory.0
    }
}

/// The id of an object; none if there is none. Names that start with `-` are no options.
fn resolve(name: &str) -> Result<Option<String>, Error> {
    let output = git(&["rev-parse", "--verify", "--quiet", "--end-of-options", name])?;
    let id = text(&output);
    Ok((output.status.success() && !id.is_empty()).then_some(id))
}

/// Writes the files of a tree. Links and submodules are no tables.
fn write(tree: &str, to: &Path) -> Result<(), Error> {
    let listed = checked(git(&["ls-tree", "-r", "-z", "--full-tree", tree])?)?;
    for line in listed.stdout.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
        let line = String::from_utf8_lossy(line);
        let Some((facts, path)) = line.split_once('\t') else { continue };
        let facts: Vec<_> = facts.split(' ').collect();
        let [mode, "blob", id] = facts[..] else { continue };
        if !mode.starts_with("100") {
            continue;
        }
        let content = checked(git(&["cat-file", "blob", id])?)?.stdout;
        let file = to.join(path);
        let written = fs::create_dir_all(file.parent().unwrap_or(to)).and_then(|()| fs::write(&file, content));
        written.map_err(|error| Error::Failed(format!("{}: {error}", file.display())))?;
    }
    Ok(())
}

fn git(arguments: &[&str]) -> Result<Output, Error> {
    match Command::new("git").args(arguments).output() {
        Ok(output) => Ok(output),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::NoGit),
        Err(error) => Err(Error::Failed(format!("git: {error}"))),
    }
}

fn checked(output: Output) -> Result<Output, Error> {
    if output.status.success() {
        return Ok(output);
    }
    Err(Error::Failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A directory that goes with the value.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> io::Result<Temporary> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("x86-vcpu-spec-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = env::temp_dir().join(name);
        // Fails if somebody else has put something there.
        fs::create_dir(&path)?;
        Ok(Temporary(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What is left behind in a temporary directory harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}
