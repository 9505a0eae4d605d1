//! The Linux guest of the demo, the tests and the bench: Debian's kernel with the small initial RAM disk.

use std::fs;

use anyhow::{Context, Result};

use super::debian::Debian;
use super::initrd;
use super::memory::Mebibytes;
use super::package::{Files, Package};
use crate::repo::Repo;

/// Debian's kernel as a package; the initial RAM disk is ours and the command line is `command_line` unless `files` has others.
pub fn package(debian: &Debian, repo: &Repo, files: &Files, command_line: &str, memory: Mebibytes) -> Result<Package> {
    let mut files = files.clone();
    files.kernel.clone_from(&debian.kernel);
    if files.initrd.is_none() {
        let path = repo.scratch("debian")?.join("initrd");
        // Whole at every moment: another run may read it.
        let new = path.with_extension(std::process::id().to_string());
        fs::write(&new, initrd::build(debian)?).with_context(|| format!("cannot write {}", new.display()))?;
        fs::rename(&new, &path)?;
        files.initrd = Some(path);
    }
    if files.command_line.is_empty() {
        files.command_line = command_line.into();
    }
    Package::read(&files, memory)
}
