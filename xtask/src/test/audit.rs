//! The tables against Linux's headers, which Debian's packages have, and against manuals, where there is a directory of them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::cargo::{succeeds, tests};
use super::{Check, Context};
use crate::command;
use crate::report::Outcome;
use crate::setup::{self, program};

/// The variable by which the tests find the headers.
const VARIABLE: &str = "X86_VCPU_LINUX_HEADERS";
/// The variable that names a directory of manuals; else `shared/manuals` beside the repository is one.
const MANUALS: &str = "X86_VCPU_MANUALS";
const LIMIT: Duration = Duration::from_secs(300);

pub fn checks() -> Vec<Check> {
    let headers = Check::new("audit: Linux's headers", false, |context| match headers(context) {
        Err(reason) => Outcome::Skipped(reason),
        Ok(headers) => {
            let mut command = context.repo.cargo(".");
            command.args(["test", "--package", "x86_vcpu_codegen", "--features", "cli", "--test", "audit_headers"]);
            command.args(["headers_of_linux_agree"]).env(VARIABLE, headers);
            tests(context, "cargo test", &mut command)
        }
    });
    let read = Check::new("audit: the manuals are read whole", false, |context| match manuals(context) {
        Err(reason) => Outcome::Skipped(reason),
        Ok((directory, _)) => {
            let mut command = context.repo.cargo(".");
            command.args([
                "test",
                "--package",
                "x86_vcpu_codegen",
                "--features",
                "cli",
                "--test",
                "audit_intel_manuals",
            ]);
            tests(context, "cargo test", command.env(MANUALS, directory))
        }
    });
    // Its exit status says whether anything is contradicted, or missing without an excuse.
    let agree = Check::new("audit: the manuals", false, |context| match manuals(context) {
        Err(reason) => Outcome::Skipped(reason),
        Ok((_, files)) => {
            let mut command = context.repo.cargo(".");
            command.args(["run", "--quiet", "--package", "x86_vcpu_codegen", "--features", "cli"]);
            command.args(["--bin", "x86-vcpu-spec", "--", "audit", "--against"]).args(files);
            succeeds(context, "cargo spec audit", &mut command)
        }
    });
    vec![headers, read, agree]
}

/// The directory of manuals and the PDFs in it, with what reads them; or why not.
fn manuals(context: &Context) -> Result<(PathBuf, Vec<PathBuf>), String> {
    let beside = context.repo.root.join("../shared/manuals");
    let directory = std::env::var_os(MANUALS).map_or(beside, PathBuf::from);
    let mut files = entries(&directory);
    files.retain(|path| path.extension().is_some_and(|extension| extension == "pdf"));
    files.sort();
    if files.is_empty() {
        return Err(format!("no directory of manuals; {MANUALS} may name one"));
    }
    setup::pdftotext(&context.progress)?;
    Ok((directory, files))
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
    let known = || newest(&command::ask(Command::new("apt-cache").args(["pkgnames", "linux-headers-"]))?);
    if known().is_none() {
        setup::update_packages(&context.progress);
    }
    let package = known().ok_or("apt knows no package linux-headers-…-common")?;
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
