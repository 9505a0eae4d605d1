//! QEMU without hardware acceleration: the command, the exit codes.

use std::process::Command;

use anyhow::{Context, Result};

use super::{Boot, Status};
use crate::setup::Emulators;

/// The file, in the directory of the boot, that is the memory of a machine that [saves](super::Guest::saved) a guest.
pub const MEMORY: &str = "memory.bin";

/// The command that starts a run.
pub fn command(boot: &Boot, command_line: &str, emulators: &Emulators) -> Result<Command> {
    let program = emulators.qemu.as_ref().context("QEMU is not there")?;
    let mut command = Command::new(program);
    command.args(arguments(boot, command_line));
    Ok(command)
}

fn arguments(boot: &Boot, command_line: &str) -> Vec<String> {
    let image = boot.image.elf.display().to_string();
    let cpus = boot.cpus.to_string();
    let memory = boot.memory.to_string();
    let log = format!("file:{}", super::LOG);
    let arguments = [
        "-machine",
        "q35,accel=tcg",
        "-cpu",
        &boot.machine.model,
        "-smp",
        &cpus,
        "-m",
        &memory,
        "-display",
        "none",
        "-nodefaults",
        "-no-reboot",
        "-device",
        "isa-debug-exit,iobase=0xf4,iosize=4",
        "-kernel",
        &image,
        "-append",
        command_line,
    ];
    let mut arguments: Vec<String> = arguments.into_iter().map(String::from).collect();
    if let Some(guest) = &boot.guest {
        let console = guest.console;
        arguments.extend([
            "-chardev".into(),
            format!("socket,id=console,host={},port={},nodelay=on", console.ip(), console.port()),
            "-serial".into(),
            "chardev:console".into(),
            "-initrd".into(),
            super::PACKAGE.into(),
        ]);
        if guest.saved.is_some() {
            arguments.extend([
                "-object".into(),
                format!("memory-backend-file,id=memory,size={memory}M,mem-path={MEMORY},share=on"),
                "-machine".into(),
                "memory-backend=memory".into(),
            ]);
        }
    }
    if boot.module.is_some() {
        arguments.extend(["-initrd".into(), super::PACKAGE.into()]);
    }
    arguments.extend(["-serial".into(), log]);
    if boot.cpus == 1 && !boot.guest.as_ref().is_some_and(|guest| guest.real_time) {
        // One instruction, one tick: runs repeat to the bit and the TSC counts instructions.
        arguments.extend(["-icount".into(), "shift=0,sleep=off".into()]);
    }
    arguments
}

/// `isa-debug-exit` turns the value v into (v << 1) | 1; a triple fault and a power-off give 0.
pub fn status(code: i32) -> Status {
    match code {
        33 => Status::Finished,
        35 => Status::Stopped("the image failed".into()),
        0 => Status::Stopped("the machine was reset or switched off (a triple fault)".into()),
        other => Status::Stopped(format!("QEMU stopped with code {other}")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::image::Image;
    use crate::machines::{Emulator, Machine};

    #[test]
    fn the_arguments_name_the_model_and_the_image() {
        let image = Image { elf: "/i/elf".into(), rom: "r".into() };
        let machine = Machine::unlisted(Emulator::Qemu, "EPYC,+svm");
        let mut boot = Boot {
            machine: &machine,
            image: &image,
            command_line: "scenario=real",
            cpus: 1,
            memory: super::super::MEMORY,
            limit: Some(Duration::from_secs(1)),
            directory: PathBuf::from("/nowhere"),
            module: None,
            guest: None,
        };
        let line = arguments(&boot, "scenario=real cpus=1").join(" ");
        for part in
            ["-cpu EPYC,+svm", "-smp 1", "-icount shift=0,sleep=off", "-kernel /i/elf -append scenario=real cpus=1"]
        {
            assert!(line.contains(part), "no `{part}` in {line}");
        }
        boot.cpus = 2;
        let line = arguments(&boot, "").join(" ");
        assert!(line.contains("-smp 2") && !line.contains("-icount"), "{line}");
    }

    #[test]
    fn zero_is_never_success() {
        assert_eq!(status(33), Status::Finished);
        assert_ne!(status(0), Status::Finished);
        assert_ne!(status(35), Status::Finished);
    }
}
