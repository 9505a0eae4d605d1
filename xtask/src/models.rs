//! The CPU models that an emulator knows, as it lists them itself: so that a wrong one is told in one sentence.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::command;
use crate::machines::{Emulator, Machine};
use crate::setup::Emulators;

/// Fails when the emulator of `machine` does not know its model. An emulator that does not list its models may know it.
pub fn check(emulators: &Emulators, machine: &Machine) -> Result<()> {
    let known = match (machine.emulator, &emulators.bochs, &emulators.qemu) {
        (Emulator::Bochs, Some(program), _) => ask(program, &["-help", "cpu"]).map(|text| of_bochs(&text)),
        (Emulator::Qemu, _, Some(program)) => ask(program, &["-cpu", "help"]).map(|text| of_qemu(&text)),
        _ => None,
    };
    let Some(known) = known.filter(|known| !known.is_empty()) else { return Ok(()) };
    // QEMU's models take features: `EPYC,+svm`.
    let model = machine.model.split(',').next().unwrap_or_default();
    if known.iter().any(|name| name == model) {
        return Ok(());
    }
    // QEMU has several versions of each.
    let plain: Vec<&str> = known.iter().map(String::as_str).filter(|name| !is_version(name)).collect();
    bail!("{} has no CPU model `{model}`; it has {}", machine.emulator.name(), plain.join(", "))
}

/// True for `NAME-v1`.
fn is_version(name: &str) -> bool {
    name.rsplit_once("-v").is_some_and(|(_, number)| number.parse::<u32>().is_ok())
}

/// Both outputs: Bochs lists them among its messages.
fn ask(program: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).env("TERM", "dumb");
    let ended = command::run(&mut command, Duration::from_secs(10), &mut |_| {}).ok()?;
    ended.success().then_some(ended.output)
}

/// One name a line, after a heading, until an empty line.
fn of_bochs(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim).skip_while(|line| !line.starts_with("Supported CPU models"));
    let names = lines.skip(1).skip_while(|line| line.is_empty()).take_while(|line| !line.is_empty());
    names.map(String::from).collect()
}

/// `x86 NAME  what it is`, one a line, then the features.
fn of_qemu(text: &str) -> Vec<String> {
    let lines = text.lines().take_while(|line| !line.starts_with("Recognized CPUID flags"));
    lines.filter_map(|line| line.strip_prefix("x86 ")?.split_whitespace().next()).map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lists_are_read() {
        let bochs =
            "000i[      ] LTDL_LIBRARY_PATH\nSupported CPU models:\n\nbx_generic\nryzen\n\n000i[SIM   ] quit_sim\n";
        assert_eq!(of_bochs(bochs), ["bx_generic", "ryzen"]);
        let qemu = "Available CPUs:\nx86 486                   (alias)\nx86 EPYC-v1  AMD\nx86 max  all\n\nRecognized CPUID flags:\n  3dnow\n";
        assert_eq!(of_qemu(qemu), ["486", "EPYC-v1", "max"]);
        assert!(of_bochs("").is_empty());
        assert!(is_version("EPYC-v1") && !is_version("core2-vpro") && !is_version("EPYC"));
    }
}
