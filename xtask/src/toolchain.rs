//! The compiler: recent enough, with the components that the checks use.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::command;
use crate::progress::Progress;

/// The oldest compiler that this repository promises to build with; `rust-version` in Cargo.toml says the same.
pub const OLDEST: (u32, u32) = (1, 88);

/// Says which compiler is used, and fails when it is too old.
pub fn check() -> Result<String> {
    let said = command::ask(Command::new("rustc").arg("--version"));
    let Some(said) = said else { bail!("rustc cannot be run; Rust comes from rustup, https://rustup.rs") };
    let said = said.trim();
    match version(said) {
        Some(version) if version >= OLDEST => Ok(said.to_owned()),
        Some(_) => bail!("{said} is too old: Rust {}.{} or newer is needed", OLDEST.0, OLDEST.1),
        None => bail!("cannot read the version in `{said}`"),
    }
}

fn version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.split_whitespace().nth(1)?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// A cargo subcommand's component, installed through rustup when it is missing. The error says why there is none.
pub fn component(name: &str, progress: &Progress) -> Result<(), String> {
    let subcommand = name.trim_start_matches("rust");
    if command::ask(Command::new("cargo").args([subcommand, "--version"])).is_some() {
        return Ok(());
    }
    progress.say(&format!("setup: rustup component add {name}"));
    let mut command = Command::new("rustup");
    command.args(["component", "add", name]);
    match command::run(&mut command, Duration::from_secs(600), &mut |_| {}) {
        Ok(ended) if ended.success() => Ok(()),
        Ok(ended) => Err(format!("rustup has no {name}: {}", ended.tail(1))),
        Err(_) => Err(format!("no {name}, and no rustup to install it")),
    }
}

/// The name of an installed toolchain of the oldest version, to build with.
pub fn oldest_installed() -> Option<String> {
    let wanted = format!("{}.{}", OLDEST.0, OLDEST.1);
    let list = command::ask(Command::new("rustup").args(["toolchain", "list"]))?;
    list.lines()
        .find(|line| line.starts_with(&wanted))
        .and_then(|line| line.split_whitespace().next())
        .map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(version("rustc 1.95.0 (59807616e 2026-04-14)"), Some((1, 95)));
        assert_eq!(version("rustc 1.97.0-nightly (abc 2026-05-01)"), Some((1, 97)));
        assert_eq!(version("nonsense"), None);
    }

    #[test]
    fn the_manifest_says_the_same() {
        let manifest = include_str!("../../Cargo.toml");
        assert!(manifest.contains(&format!("rust-version = \"{}.{}\"", OLDEST.0, OLDEST.1)));
    }
}
