//! Debian's kernel for virtual machines and its busybox, out of their packages. Nothing is installed: the packages are
//! downloaded by apt and unpacked beside what is built here, where they stay.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::command;
use crate::progress::Progress;
use crate::repo::Repo;
use crate::setup;

/// Depends on the newest kernel.
const KERNEL: &str = "linux-image-cloud-amd64";
const BUSYBOX: &str = "busybox-static";
/// A download that takes longer does not come to an end.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a Linux guest is made of.
#[derive(Clone, Debug)]
pub struct Debian {
    pub kernel: PathBuf,
    /// What `uname -r` will say.
    pub release: String,
    pub busybox: PathBuf,
}

impl Debian {
    /// Unpacks the newest packages, unless that was done before; what was unpacked once also does without a network.
    pub fn fetch(repo: &Repo, progress: &Progress) -> Result<Debian> {
        for program in ["apt-get", "apt-cache", "dpkg-deb"] {
            ensure!(setup::program(program).is_some(), "there is no {program} here to get Debian's kernel with");
        }
        let directory = repo.scratch("debian")?;
        let here = |known: Option<(Package, Package)>| {
            known.and_then(|(kernel, busybox)| Debian::of(&kernel.place(&directory), &busybox.place(&directory)))
        };
        if let Some(debian) = here(newest()) {
            return Ok(debian);
        }
        // The lists of packages are missing or old.
        setup::update_packages(progress);
        let Some((kernel, busybox)) = newest() else {
            bail!("apt knows no {KERNEL} and {BUSYBOX}: they are Debian's, and `apt-get update` needs the network")
        };
        for package in [&kernel, &busybox] {
            if !package.place(&directory).is_dir() {
                package.unpack(&directory, progress)?;
            }
        }
        here(Some((kernel, busybox))).context("the packages bring no kernel or no busybox")
    }

    /// What is in the two unpacked packages.
    fn of(kernel: &Path, busybox: &Path) -> Option<Debian> {
        let names = fs::read_dir(kernel.join("boot")).ok()?.flatten();
        let (path, release) = names.into_iter().find_map(|entry| {
            let release = entry.file_name().to_str()?.strip_prefix("vmlinuz-")?.to_owned();
            Some((entry.path(), release))
        })?;
        let busybox =
            ["bin/busybox", "usr/bin/busybox"].iter().map(|name| busybox.join(name)).find(|path| path.is_file())?;
        Some(Debian { kernel: path, release, busybox })
    }
}

/// A package that apt knows.
#[derive(Debug, PartialEq, Eq)]
struct Package {
    name: String,
    version: String,
}

/// The kernel and busybox, as new as apt knows them.
fn newest() -> Option<(Package, Package)> {
    let depends = command::ask(Command::new("apt-cache").args(["depends", KERNEL]).env("LC_ALL", "C"))?;
    Some((Package::known(&kernel_name(&depends)?)?, Package::known(BUSYBOX)?))
}

/// The package with the kernel itself, from what `apt-cache depends` says.
fn kernel_name(depends: &str) -> Option<String> {
    let names = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends:"));
    names.map(str::trim).find(|name| name.starts_with("linux-image-")).map(String::from)
}

impl Package {
    fn known(name: &str) -> Option<Package> {
        let policy = command::ask(Command::new("apt-cache").args(["policy", name]).env("LC_ALL", "C"))?;
        let version = setup::candidate(&policy)?;
        Some(Package { name: name.into(), version })
    }

    /// Where it is unpacked.
    fn place(&self, directory: &Path) -> PathBuf {
        directory.join(format!("{}_{}", self.name, self.version.replace([':', '/'], "_")))
    }

    /// Downloads and unpacks it. What is in its place afterwards is whole.
    fn unpack(&self, directory: &Path, progress: &Progress) -> Result<()> {
        let wanted = format!("{}={}", self.name, self.version);
        progress.say(&format!("setup: apt-get download {wanted}"));
        let temporary = directory.join(format!("new-{}", std::process::id()));
        fs::create_dir_all(temporary.join("unpacked"))?;
        let bar = progress.start(&self.name);
        let done = (|| {
            let mut download = Command::new("apt-get");
            run(download.args(["download", &wanted]).env("LC_ALL", "C").current_dir(&temporary))?;
            let files = fs::read_dir(&temporary)?.flatten().map(|entry| entry.path());
            let file = files.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "deb"));
            let file = file.with_context(|| format!("apt-get brought no {wanted}"))?;
            run(Command::new("dpkg-deb").arg("-x").args([&file, &temporary.join("unpacked")]))?;
            // Another run may have been faster.
            let place = self.place(directory);
            fs::rename(temporary.join("unpacked"), &place)
                .or_else(|error| if place.is_dir() { Ok(()) } else { Err(error) })?;
            Ok(())
        })();
        bar.finish_and_clear();
        let _ = fs::remove_dir_all(&temporary);
        done
    }
}

fn run(command: &mut Command) -> Result<()> {
    let ended = command::run(command, PATIENCE, &mut |_| {})?;
    let name = command.get_program().to_string_lossy();
    ensure!(ended.success(), "{name} failed: {}", ended.tail(3).replace('\n', "; "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_own_package_is_found() {
        let said =
            "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-37-cloud-amd64\n  Recommends: firmware-linux-free\n";
        assert_eq!(kernel_name(said).as_deref(), Some("linux-image-6.1.0-37-cloud-amd64"));
        assert_eq!(kernel_name("linux-image-cloud-amd64\n"), None);
    }

    #[test]
    fn a_version_has_its_own_place() {
        let package = Package { name: "busybox-static".into(), version: "1:1.35.0-4+b1".into() };
        assert_eq!(package.place(Path::new("/d")), Path::new("/d/busybox-static_1_1.35.0-4+b1"));
    }

    #[test]
    fn unpacked_packages_are_looked_into() {
        let directory = std::env::temp_dir().join(format!("xtask-debian-{}", std::process::id()));
        for name in ["kernel/boot/config-6.1.0-x", "kernel/boot/vmlinuz-6.1.0-x", "busybox/usr/bin/busybox"] {
            let file = directory.join(name);
            fs::create_dir_all(file.parent().expect("a directory")).expect("created");
            fs::write(file, "").expect("written");
        }
        let debian = Debian::of(&directory.join("kernel"), &directory.join("busybox")).expect("both");
        assert_eq!(debian.release, "6.1.0-x");
        assert!(debian.busybox.ends_with("usr/bin/busybox"));
        assert!(Debian::of(&directory.join("none"), &directory.join("busybox")).is_none());
        fs::remove_dir_all(directory).expect("removed");
    }
}
