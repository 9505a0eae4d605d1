//! What the loader's module holds: a cpio archive, format "newc", of files with these names:
//!
//! | | |
//! |---|---|
//! | `kernel` | the guest |
//! | `cmdline` | its command line |
//! | `initrd` | a Linux kernel's initial file system |
//! | `snapshot` | instead of all others: a guest that was saved, see [`snapshot`](super::snapshot) |
//! | `module-0`, `module-1`, … | a multiboot image's modules |
//! | `module-0.cmdline`, … | their strings |

use alloc::string::String;
use alloc::vec::Vec;

use cpio_reader::iter_files;

/// The most modules that are looked for.
const MODULES: usize = 64;

/// The guest's files.
pub struct Package {
    /// The kernel or multiboot image.
    pub kernel: &'static [u8],
    /// Its command line, without what ends it.
    pub command_line: &'static [u8],
    /// The initial file system.
    pub initrd: Option<&'static [u8]>,
    /// A guest that was saved.
    pub snapshot: Option<&'static [u8]>,
    /// Modules and their strings.
    pub modules: Vec<(&'static [u8], &'static [u8])>,
}

impl Package {
    /// Looks into the archive.
    pub fn read(archive: Option<&'static [u8]>) -> Result<Self, String> {
        let archive = archive.ok_or("there is no guest: the image was started without a module")?;
        let mut package = Self { kernel: &[], command_line: &[], initrd: None, snapshot: None, modules: Vec::new() };
        let mut files: [(Option<&[u8]>, &[u8]); MODULES] = [(None, &[]); MODULES];
        for entry in iter_files(archive) {
            let name = entry.name().trim_end_matches('\0').trim_start_matches("./");
            let file = entry.file();
            match name {
                "kernel" => package.kernel = file,
                "cmdline" => package.command_line = line(file),
                "snapshot" => package.snapshot = Some(file),
                "initrd" => package.initrd = Some(file),
                _ => {
                    let Some(module) = name.strip_prefix("module-") else { continue };
                    let (number, string) = match module.strip_suffix(".cmdline") {
                        Some(number) => (number, true),
                        None => (module, false),
                    };
                    let Some(slot) = number.parse().ok().and_then(|number: usize| files.get_mut(number)) else {
                        continue;
                    };
                    if string {
                        slot.1 = line(file);
                    } else {
                        slot.0 = Some(file);
                    }
                }
            }
        }
        if package.kernel.is_empty() && package.snapshot.is_none() {
            return Err("the guest package is no cpio archive with a file `kernel`".into());
        }
        for (file, string) in files {
            let Some(file) = file else { break };
            package.modules.push((file, string));
        }
        Ok(package)
    }
}

/// A file's only line.
fn line(file: &[u8]) -> &[u8] {
    let end = file.iter().position(|byte| matches!(byte, 0 | b'\n')).unwrap_or(file.len());
    file.get(..end).unwrap_or(file)
}
