//! The tables against documents that can be had without asking anybody: Linux's headers, from Debian's packages.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::cargo::tests;
use super::{Check, Context};
use crate::command;
use crate::report::Outcome;
use crate::setup::program;

/// The variable by which the tests find the headers.
const VARIABLE: &str = "X86_VCPU_LINUX_HEADERS";
const LIMIT: Duration = Duration::from_secs(300);

pub fn checks() -> Vec<Check> {
    vec![Check::new("audit: Linux's headers", false, |context| match headers(context) {
        Err(reason) => Outcome::Skipped(reason),
        Ok(headers) => {
            let mut command = context.repo.cargo(".");
            command.args(["test", "--package", "x86_vcpu_codegen", "--features", "cli", "--test", "audit_headers"]);
            command.args(["headers_of_linux_agree"]).env(VARIABLE, headers);
            tests(context, "cargo test", &mut command)
        }
    })]
}

/// The directory above `arch/`, unpacked below the target directory and never installed; or why there is none.
fn headers(context: &Context) -> Result<PathBuf, String> {
    let directory = context.repo.scratch("linux-headers").map_err(|error| format!("{error:#}"))?;
    if let Some(found) = unpacked(&directory) {
        return Ok(found);
    }
    for needed in ["apt-get", "apt-cache", "dpkg"] {
        program(needed).ok_or_else(|| format!("there is no {needed} here to download linux-headers with"))?;
    }
    let names = command::ask(Command::new("apt-cache").args(["pkgnames", "linux-headers-"]));
    let package = newest(&names.unwrap_or_default()).ok_or("apt knows no package linux-headers-…-common")?;
    run(context, Command::new("apt-get").args(["download", &package]).current_dir(&directory))?;
    let archive = entries(&directory).into_iter().find(|path| path.extension().is_some_and(|end| end == "deb"));
    let archive = archive.ok_or_else(|| format!("apt-get downloaded no {package}"))?;
    run(context, Command::new("dpkg").arg("-x").args([&archive, &directory]))?;
    unpacked(&directory).ok_or_else(|| format!("{package} has no headers of x86"))
}

fn unpacked(directory: &Path) -> Option<PathBuf> {
    let found = entries(&directory.join("usr/src"));
    found.into_iter().find(|path| path.join("arch/x86/include/asm/vmx.h").is_file())
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let read = std::fs::read_dir(directory).into_iter().flatten().flatten();
    read.map(|entry| entry.path()).collect()
}

fn run(context: &Context, command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let bar = context.progress.start(&name);
    let ended = command::run(command, LIMIT, &mut |line| bar.set_message(line.trim().to_owned()));
    bar.finish_and_clear();
    match ended {
        Ok(ended) if ended.success() => Ok(()),
        Ok(ended) => Err(format!("{name} failed: {}", ended.tail(3).replace('\n', "; "))),
        Err(error) => Err(format!("{error:#}")),
    }
}

/// The package of the newest kernel among those that apt names; the real-time kernels have the same headers.
fn newest(names: &str) -> Option<String> {
    let common = names.split_whitespace().filter(|name| name.ends_with("-common"));
    let numbers = |name: &str| -> Vec<u64> {
        name.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
    };
    common.max_by_key(|name| numbers(name)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::newest;

    #[test]
    fn the_newest_headers() {
        let names = "linux-headers-6.1.0-9-common\nlinux-headers-6.1.0-55-common\nlinux-headers-6.1.0-55-common-rt\n\
                     linux-headers-6.1.0-60-amd64\nlinux-headers-6.1.0-10-common\n";
        assert_eq!(newest(names).as_deref(), Some("linux-headers-6.1.0-55-common"));
        assert_eq!(newest("linux-headers-amd64"), None);
    }
}
