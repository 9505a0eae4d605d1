//! Building the image of `examples/hypervisor` and the ROM that starts it in Bochs.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command;
use crate::flat::Flat;
use crate::progress::Progress;
use crate::repo::Repo;
use crate::rom;

/// The example's directory.
pub const DIRECTORY: &str = "examples/hypervisor";
/// A hosted target: its prebuilt `core` is everywhere where Rust is. Named on the command line, so that the flags do
/// not reach build scripts and proc macros.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// What a kernel needs: it is linked at a fixed address, and interrupts come in on its stacks.
const FLAGS: [&str; 4] = ["relocation-model=static", "code-model=small", "no-redzone=yes", "force-frame-pointers=yes"];

/// The files that an emulator boots.
pub struct Image {
    /// For QEMU, and for looking at symbols.
    pub elf: PathBuf,
    /// In place of Bochs' BIOS: the image's bytes, and the code that copies them into memory and enters them.
    pub rom: PathBuf,
}

/// The builds of the image.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// The plain release build.
    Plain,
    /// Counts VMREAD and the like: for the columns of `bench` that are no instruction counts.
    Counting,
    /// With the table of exits and the last ones, for guests from files: some instructions more for each exit than the plain one.
    Watched,
    /// With some features, for the bench of what they cost; and the same, which counts as [`Variant::Counting`] does.
    With(Features, bool),
}

/// Features of the library that a plain build does not have.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Features {
    pub statistics: bool,
    pub trace: bool,
    pub replay: bool,
}

impl Features {
    fn names(self, separator: &str) -> String {
        let names = [(self.statistics, "statistics"), (self.trace, "trace"), (self.replay, "replay")];
        let names: Vec<&str> = names.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
        names.join(separator)
    }
}

impl Variant {
    /// Where it is built: flags differ, so that in one place each build would throw away the other's.
    fn target(self, repo: &Repo) -> PathBuf {
        repo.target.join(match self {
            Variant::Plain => "image".into(),
            _ => format!("image-{}", self.name()),
        })
    }

    fn name(self) -> String {
        match self {
            Variant::Plain => "plain".into(),
            Variant::Counting => "counting".into(),
            Variant::Watched => "watched".into(),
            Variant::With(features, false) => format!("with-{}", features.names("-")),
            Variant::With(features, true) => format!("with-{}-counting", features.names("-")),
        }
    }

    fn features(self) -> Vec<String> {
        let features = match self {
            Variant::Plain | Variant::Counting => Features::default(),
            Variant::Watched => Features { statistics: true, trace: true, replay: true },
            Variant::With(features, _) => features,
        };
        let names = features.names(",");
        if names.is_empty() { Vec::new() } else { vec!["--features".into(), names] }
    }
}

/// Builds a variant, or gives what the compiler said.
pub fn build(repo: &Repo, variant: Variant, progress: &Progress) -> Result<Image> {
    let name = variant.name();
    let mut command = command(repo, "build", variant);
    command.arg("--release");
    let bar = progress.start(&format!("building the image ({name})"));
    let ended =
        command::run(&mut command, Duration::from_secs(1800), &mut |line| bar.set_message(line.trim().to_owned()));
    bar.finish_and_clear();
    let ended = ended?;
    if !ended.success() {
        bail!("the image ({name}) does not build:\n{}", ended.tail(60));
    }
    let built = variant.target(repo).join(TARGET).join("release");
    let directory = repo.scratch(&format!("image-{name}"))?;
    let image = Image { elf: directory.join("hypervisor.elf"), rom: directory.join("rom.bin") };
    fs::copy(built.join("hypervisor"), &image.elf).context("the build left no image")?;
    let rom = rom::assemble(&flatten(&image.elf)?, &flatten(&built.join("rom"))?)?;
    fs::write(&image.rom, rom).with_context(|| format!("cannot write {}", image.rom.display()))?;
    Ok(image)
}

/// A cargo command for the image's workspace with the flags that the image needs and the user's own.
pub fn command(repo: &Repo, subcommand: &str, variant: Variant) -> Command {
    let mut command = repo.cargo(DIRECTORY);
    // A RUSTFLAGS variable would silently replace the flags of configuration files; as part of the configuration
    // the user's flags are joined with them.
    let flags = [users_flags(), own_flags(variant)].concat();
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    command.env("CARGO_TARGET_DIR", variant.target(repo));
    command.args([subcommand, "--target", TARGET, "--config", &configuration(&flags)]).args(variant.features());
    command
}

fn own_flags(variant: Variant) -> Vec<String> {
    let mut flags: Vec<String> = FLAGS.iter().flat_map(|flag| ["-C".to_owned(), (*flag).to_owned()]).collect();
    if matches!(variant, Variant::Counting | Variant::With(_, true)) {
        flags.extend(["--cfg".to_owned(), "x86_vcpu_count".to_owned()]);
    }
    flags
}

/// The flags of the environment, as cargo reads them.
fn users_flags() -> Vec<String> {
    if let Ok(encoded) = env::var("CARGO_ENCODED_RUSTFLAGS") {
        return encoded.split('\x1f').filter(|flag| !flag.is_empty()).map(String::from).collect();
    }
    env::var("RUSTFLAGS").unwrap_or_default().split_whitespace().map(String::from).collect()
}

/// The flags as an argument of `--config`, in TOML.
fn configuration(flags: &[String]) -> String {
    let quoted: Vec<String> = flags.iter().map(|flag| toml::Value::from(flag.as_str()).to_string()).collect();
    format!("target.{TARGET}.rustflags=[{}]", quoted.join(", "))
}

fn flatten(elf: &Path) -> Result<Flat> {
    let data = fs::read(elf).with_context(|| format!("cannot read {}", elf.display()))?;
    Flat::of_elf(&data).with_context(|| format!("in {}", elf.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_toml() {
        let flags = ["--cfg".to_owned(), "feature=\"x\"".to_owned()];
        let text = configuration(&flags);
        let value = text.split_once('=').expect("a key and a value").1;
        let parsed: toml::Table = toml::from_str(&format!("flags = {value}")).expect("TOML");
        assert_eq!(parsed["flags"][1].as_str(), Some("feature=\"x\""));
    }

    #[test]
    fn the_red_zone_is_off() {
        assert!(own_flags(Variant::Plain).windows(2).any(|pair| pair == ["-C", "no-redzone=yes"]));
    }
}
