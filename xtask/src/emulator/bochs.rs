//! Bochs: the configuration file, the command, the exit codes.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Boot, Room, SAVED, Status, multiboot};
use crate::machines::Vendor;
use crate::rom;
use crate::setup::{self, Emulators};

/// Writes the run's files and gives the command that starts it.
pub fn command(boot: &Boot, command_line: &str, emulators: &Emulators) -> Result<Command> {
    let program = emulators.bochs.as_ref().context("Bochs is not there")?;
    let directory = &boot.directory;
    let module = boot.guest.as_ref().map(|guest| guest.package_size).or(boot.module);
    let information = boot.guest.as_ref().and_then(|guest| guest.information.clone());
    let information = information.unwrap_or_else(|| multiboot::information(command_line, boot.memory, module));
    fs::write(directory.join("boot.bin"), information)?;
    fs::write(directory.join("bochsrc"), configuration(boot))?;
    fs::write(directory.join("rc"), orders(room(boot)))?;
    // What the image sends to the debugging port is Bochs' standard output: a line at a time, or the last ones would be lost when
    // Bochs has to be killed.
    let mut command = match setup::program("stdbuf") {
        Some(stdbuf) => {
            let mut command = Command::new(stdbuf);
            command.arg("-oL").arg(program);
            command
        }
        None => Command::new(program),
    };
    command.args(["-q", "-f", "bochsrc", "-rc", "rc"]).env("TERM", "dumb");
    Ok(command)
}

/// What Bochs does when it stops: at first and after every stop it continues, until it quits. The magic break at the image's
/// end stops it; on SVM so does a guest's triple fault, before Bochs gives it to the host as an exit. The image's end breaks
/// again and again, so some orders too many do no harm. A guest that was saved is in memory at the first stop.
fn orders(saved: Option<Room>) -> String {
    match saved {
        Some(Room { start, size }) => format!("c\nwritemem \"{SAVED}\" {start:#x} {size}\nc\nq\n"),
        None => "c\n".repeat(32) + "q\n",
    }
}

fn room(boot: &Boot) -> Option<Room> {
    boot.guest.as_ref().and_then(|guest| guest.saved)
}

/// What a panic does. Bochs calls an SVM guest's triple fault a panic of the CPU, and goes on as it should when told to.
fn panics(vendor: Vendor, cpus: u32) -> String {
    let mut panics = "action=fatal".to_owned();
    if vendor == Vendor::Svm {
        (0..cpus).for_each(|cpu| panics.push_str(&format!(", CPU{cpu}=report")));
    }
    panics
}

/// The configuration of one run. Sound has its dummy drivers: the thread that mixes for a real one still runs when Bochs 2.7
/// ends, and one run in a hundred crashes there.
fn configuration(boot: &Boot) -> String {
    let (rom, model, cpus, memory) = (boot.image.rom.display(), &boot.machine.model, boot.cpus, boot.memory);
    let panic = panics(boot.machine.vendor, cpus);
    // What is not ours, bare Linux, reads registers of these CPUs that Bochs does not have.
    let lenient = u8::from(boot.guest.as_ref().is_some_and(|guest| guest.information.is_some()));
    let (package, serial) = match &boot.guest {
        None if boot.module.is_some() => (
            format!("optramimage2: file={}, address={:#x}\n", super::PACKAGE, multiboot::MODULE),
            "com1: enabled=1, mode=file, dev=serial.log".to_owned(),
        ),
        None => (String::new(), "com1: enabled=1, mode=file, dev=serial.log".to_owned()),
        // The order of the RAM images matters: of the last one all blocks but the first are still without an address.
        Some(guest) => (
            format!("optramimage2: file={}, address={:#x}\n", super::PACKAGE, multiboot::MODULE),
            format!(
                "com1: enabled=1, mode=socket-client, dev={}\ncom2: enabled=1, mode=file, dev={}",
                guest.console,
                super::LOG
            ),
        ),
    };
    format!(
        "config_interface: textconfig\n\
         display_library: term\n\
         memory: guest={memory}, host={memory}\n\
         romimage: file={rom}, address={:#x}\n\
         optramimage1: file=boot.bin, address={:#x}\n\
         {package}\
         magic_break: enabled=1\n\
         cpu: model={model}, count={cpus}, ips=100000000, reset_on_triple_fault=0, ignore_bad_msrs={lenient}\n\
         clock: sync=none, time0=1000000000\n\
         {serial}\n\
         port_e9_hack: enabled=1\n\
         sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy\n\
         speaker: enabled=0\n\
         log: bochs.log\n\
         panic: {panic}\n\
         error: action=report\n\
         info: action=report\n\
         debug: action=ignore\n",
        rom::BASE,
        multiboot::ADDRESS
    )
}

/// Exit code 0 comes from the magic break at the image's end; a triple fault, a panic and the image's failure give 1.
pub fn status(code: i32) -> Status {
    match code {
        0 => Status::Finished,
        other => Status::Stopped(format!("Bochs stopped with code {other}")),
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
    fn the_configuration_names_the_model_and_the_files() {
        let image = Image { elf: "e".into(), rom: "/i/rom.bin".into() };
        let machine = Machine::unlisted(Emulator::Bochs, "corei7_icelake_u");
        let boot = Boot {
            machine: &machine,
            image: &image,
            command_line: "scenario=real",
            cpus: 2,
            memory: super::super::MEMORY,
            limit: Some(Duration::from_secs(1)),
            directory: PathBuf::from("/nowhere"),
            module: None,
            guest: None,
        };
        let text = configuration(&boot);
        for line in [
            "romimage: file=/i/rom.bin, address=0xffe00000",
            "memory: guest=256, host=256",
            "optramimage1: file=boot.bin, address=0x8f000",
            "magic_break: enabled=1",
            "panic: action=fatal",
            "clock: sync=none, time0=1000000000",
            "com1: enabled=1, mode=file, dev=serial.log",
        ] {
            assert!(text.lines().any(|other| other == line), "no line `{line}` in\n{text}");
        }
        assert!(text.contains("\ncpu: model=corei7_icelake_u, count=2, "), "{text}");
        assert!(text.lines().all(|line| !line.starts_with(' ')), "{text}");
    }

    #[test]
    fn triple_faults_of_svm_guests_do_not_end_bochs() {
        assert_eq!(panics(Vendor::Vmx, 2), "action=fatal");
        assert_eq!(panics(Vendor::Svm, 1), "action=fatal, CPU0=report");
        assert_eq!(panics(Vendor::Svm, 2), "action=fatal, CPU0=report, CPU1=report");
        assert!(orders(None).starts_with("c\nc\n") && orders(None).ends_with("c\nq\n"));
        let saved = orders(Some(Room { start: 0x1000, size: 4096 }));
        assert_eq!(saved, "c\nwritemem \"saved.bin\" 0x1000 4096\nc\nq\n");
    }

    #[test]
    fn only_zero_is_the_end() {
        assert_eq!(status(0), Status::Finished);
        assert_ne!(status(1), Status::Finished);
    }
}
