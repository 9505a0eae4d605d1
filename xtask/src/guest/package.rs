//! The guest's files as one file, which the image gets as its only module: a cpio archive of the format `newc` with the
//! entries `kernel`, `cmdline`, perhaps `initrd`, and `module-N` with `module-N.cmdline`; or, for a guest that was saved, `snapshot`.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use cpio::newc;

use super::kernel::Kernel;
use super::memory::Mebibytes;

/// A multiboot module and its command line: `FILE`, or `FILE WORDS…`, as QEMU and GRUB have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    pub file: PathBuf,
    pub command_line: String,
}

impl FromStr for Module {
    type Err = String;

    fn from_str(text: &str) -> Result<Module, String> {
        // A file whose name has spaces is taken as it is.
        let (file, command_line) =
            if Path::new(text).is_file() { (text, "") } else { text.split_once(' ').unwrap_or((text, "")) };
        if file.is_empty() {
            return Err("a module is written FILE, or \"FILE WORDS\" with its command line".into());
        }
        Ok(Module { file: file.into(), command_line: command_line.trim().into() })
    }
}

/// What the guest consists of.
#[derive(Clone, Debug)]
pub struct Files {
    pub kernel: PathBuf,
    pub initrd: Option<PathBuf>,
    pub modules: Vec<Module>,
    pub command_line: String,
}

/// The files, read and found to be good.
#[derive(Debug)]
pub struct Package {
    pub kernel: Kernel,
    pub archive: Vec<u8>,
}

/// The largest kernel, initial RAM disk or module: more fits into no guest.
const LARGEST: u64 = 1 << 30;
/// What Linux takes, with the byte at the end; multiboot has no limit.
const LONGEST_COMMAND_LINE: usize = 2047;

impl Package {
    /// Reads the files and puts them together for a guest with so much memory.
    pub fn read(files: &Files, memory: Mebibytes) -> Result<Package> {
        let name = files.kernel.display();
        let kernel = read(&files.kernel)?;
        let kind = Kernel::identify(&kernel).map_err(|refusal| anyhow::anyhow!("{name} {refusal}"))?;
        match kind {
            Kernel::Linux(_) if !files.modules.is_empty() => {
                bail!("{name} is Linux, which takes no modules: --module is for multiboot images")
            }
            Kernel::Multiboot if files.initrd.is_some() => {
                bail!("{name} is a multiboot image, which has no initial RAM disk: give it a --module")
            }
            _ => {}
        }
        ensure!(
            files.command_line.len() <= LONGEST_COMMAND_LINE,
            "the guest's command line has {} bytes, and {LONGEST_COMMAND_LINE} are the most",
            files.command_line.len()
        );
        let mut entries = vec![("cmdline".to_owned(), files.command_line.clone().into_bytes())];
        if let Some(initrd) = &files.initrd {
            entries.push(("initrd".into(), read(initrd)?));
        }
        for (number, module) in files.modules.iter().enumerate() {
            entries.push((format!("module-{number}.cmdline"), module.command_line.clone().into_bytes()));
            entries.push((format!("module-{number}"), read(&module.file)?));
        }
        let others = entries.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        kind.fits(kernel.len() as u64, others, memory).map_err(|refusal| {
            anyhow::anyhow!("{name}{} {refusal}", if others > 4096 { " with what comes with it" } else { "" })
        })?;
        entries.push(("kernel".into(), kernel));
        Ok(Package { kernel: kind, archive: archive(&entries)? })
    }
}

/// The archive of a guest that was saved.
pub fn of_snapshot(snapshot: &[u8]) -> Result<Vec<u8>> {
    archive(&[("snapshot".to_owned(), snapshot.to_vec())])
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let size = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    ensure!(size <= LARGEST, "{} has {} MiB, which fits into no guest", path.display(), size >> 20);
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn archive(entries: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
    let mut archive = Vec::new();
    for (name, bytes) in entries {
        let size = u32::try_from(bytes.len()).with_context(|| format!("{name} is too large"))?;
        let mut writer = newc::Builder::new(name).mode(0o100_644).write(&mut archive, size);
        writer.write_all(bytes)?;
        writer.finish()?;
    }
    newc::trailer(&mut archive)?;
    Ok(archive)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names and bytes of an archive.
    fn entries(mut archive: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        loop {
            let mut reader = newc::Reader::new(archive).expect("an entry");
            if reader.entry().is_trailer() {
                return found;
            }
            let mut bytes = Vec::new();
            let name = reader.entry().name().to_owned();
            std::io::Read::read_to_end(&mut reader, &mut bytes).expect("its bytes");
            found.push((name, bytes));
            archive = reader.finish().expect("the rest");
        }
    }

    fn directory(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("xtask-package-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        directory
    }

    fn multiboot() -> Vec<u8> {
        let words: [u32; 3] = [0x1BAD_B002, 1 << 16, 0_u32.wrapping_sub(0x1BAD_B002 + (1 << 16))];
        words.into_iter().flat_map(u32::to_le_bytes).collect()
    }

    #[test]
    fn everything_is_in_the_archive() {
        let directory = directory("whole");
        let path = |name: &str| directory.join(name);
        fs::write(path("kernel"), multiboot()).expect("written");
        fs::write(path("one"), b"1").expect("written");
        fs::write(path("two two"), b"22").expect("written");
        let modules = [format!("{} a b", path("one").display()), path("two two").display().to_string()];
        let files = Files {
            kernel: path("kernel"),
            initrd: None,
            modules: modules.iter().map(|text| text.parse().expect("a module")).collect(),
            command_line: "x y".into(),
        };
        let package = Package::read(&files, Mebibytes(4)).expect("a package");
        assert_eq!(package.kernel, Kernel::Multiboot);
        let expected: [(&str, &[u8]); 6] = [
            ("cmdline", b"x y"),
            ("module-0.cmdline", b"a b"),
            ("module-0", b"1"),
            ("module-1.cmdline", b""),
            ("module-1", b"22"),
            ("kernel", &multiboot()),
        ];
        assert_eq!(entries(&package.archive), expected.map(|(name, bytes)| (name.to_owned(), bytes.to_vec())));
        let why = |files: Files| format!("{:#}", Package::read(&files, Mebibytes(4)).expect_err("refused"));
        assert!(why(Files { initrd: Some(path("one")), ..files.clone() }).contains("no initial RAM disk"));
        assert!(why(Files { initrd: None, kernel: path("one"), ..files.clone() }).contains("is neither"));
        assert!(why(Files { kernel: path("none"), ..files.clone() }).contains("cannot read"));
        assert!(why(Files { command_line: "a".repeat(2048), ..files.clone() }).contains("command line"));
        fs::write(path("one"), vec![0; 4 << 20]).expect("written");
        assert!(why(files).contains("does not fit"));
        fs::remove_dir_all(directory).expect("removed");
    }

    #[test]
    fn a_module_needs_a_name() {
        assert!("".parse::<Module>().is_err());
        assert!(" x".parse::<Module>().is_err());
        assert_eq!("a  b c".parse(), Ok(Module { file: "a".into(), command_line: "b c".into() }));
    }
}
