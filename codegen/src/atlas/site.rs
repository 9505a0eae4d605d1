//! The files of the site, and writing them.

use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};

/// The list of the files that are ours: what is not in it is never overwritten nor removed.
const LIST: &str = "atlas.files";

/// A static site.
#[derive(Debug, Default)]
pub struct Site {
    /// Names, without directories, and contents.
    pub files: Vec<(String, String)>,
}

impl Site {
    /// Writes the site into `out`: a new or empty directory, or one that holds an atlas already. Files of that older atlas
    /// which this one lacks are removed; files of others stay.
    pub fn write(&self, out: &Path) -> io::Result<()> {
        let named = |error: io::Error, path: &Path| {
            io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display()))
        };
        fs::create_dir_all(out).map_err(|error| named(error, out))?;
        let old = listed(out)?;
        if old.is_empty() && fs::read_dir(out).map_err(|error| named(error, out))?.next().is_some() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{} has files already that are no atlas; name an empty directory or a new one", out.display()),
            ));
        }
        let new: BTreeSet<&str> = self.files.iter().map(|(name, _)| name.as_str()).collect();
        for name in new.iter().filter(|name| !old.contains(**name)) {
            let path = out.join(name);
            if path.symlink_metadata().is_ok() {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    format!("{} is there already and no file of the atlas; move it away", path.display()),
                ));
            }
        }
        // The list comes first: a site that is written by half can be written again.
        let all: BTreeSet<&str> = new.iter().copied().chain(old.iter().map(String::as_str)).collect();
        write_list(out, &all)?;
        for (name, text) in &self.files {
            let path = out.join(name);
            if fs::read(&path).is_ok_and(|there| there == text.as_bytes()) {
                continue;
            }
            fs::write(&path, text).map_err(|error| named(error, &path))?;
        }
        for name in old.iter().filter(|name| !new.contains(name.as_str())) {
            match fs::remove_file(out.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(named(error, &out.join(name))),
                _ => {}
            }
        }
        write_list(out, &new)
    }

    /// How many of the files are pages.
    pub fn pages(&self) -> usize {
        self.files.iter().filter(|(name, _)| name.ends_with(".html")).count()
    }

    /// Bytes.
    pub fn size(&self) -> usize {
        self.files.iter().map(|(_, text)| text.len()).sum()
    }
}

fn write_list(out: &Path, names: &BTreeSet<&str>) -> io::Result<()> {
    let text: String = names.iter().map(|name| format!("{name}\n")).collect();
    fs::write(out.join(LIST), text)
}

/// The files of the atlas in `out`. A name that leads out of the directory is nobody's.
fn listed(out: &Path) -> io::Result<BTreeSet<String>> {
    let ours = |name: &&str| !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', ':']);
    match fs::read_to_string(out.join(LIST)) {
        Ok(text) => Ok(text.lines().filter(ours).map(str::to_owned).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(io::Error::new(error.kind(), format!("cannot read {}: {error}", out.join(LIST).display()))),
    }
}
