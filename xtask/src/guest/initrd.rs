//! A small initial RAM disk: busybox, and a script that shows what the guest is and switches it off.

use std::fs;
use std::io::Write as _;

use anyhow::{Context, Result};
use cpio::newc;

use super::debian::Debian;

/// What the script says when user space is reached, and last of all.
pub const REACHED: &str = "guest: user space";
pub const DONE: &str = "guest: switching off";
/// The first words of the lines that tests look at.
pub const RELEASE: &str = "guest: release ";
pub const CPUS: &str = "guest: CPUs ";

/// The programs that the script uses; busybox goes by the name that it is called by.
const PROGRAMS: [&str; 8] = ["sh", "cat", "date", "grep", "mount", "poweroff", "uname", "uptime"];
const DIRECTORIES: [&str; 4] = ["bin", "dev", "proc", "sys"];

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;
const CHARACTER_DEVICE: u32 = 0o020_600;
/// The device numbers of the console.
const CONSOLE: (u32, u32) = (5, 1);

/// The archive. Not compressed: the guest needs no instructions to unpack what a host has room for.
pub fn build(debian: &Debian) -> Result<Vec<u8>> {
    let busybox = fs::read(&debian.busybox).with_context(|| format!("cannot read {}", debian.busybox.display()))?;
    of(&busybox)
}

fn of(busybox: &[u8]) -> Result<Vec<u8>> {
    let mut archive = Vec::new();
    let mut inode = 0;
    let mut add = |name: &str, mode: u32, device: (u32, u32), bytes: &[u8]| -> Result<()> {
        inode += 1;
        let entry = newc::Builder::new(name).ino(inode).nlink(1).mode(mode).rdev_major(device.0).rdev_minor(device.1);
        let mut writer = entry.write(&mut archive, u32::try_from(bytes.len())?);
        writer.write_all(bytes)?;
        writer.finish()?;
        Ok(())
    };
    for name in DIRECTORIES {
        add(name, DIRECTORY, (0, 0), b"")?;
    }
    add("dev/console", CHARACTER_DEVICE, CONSOLE, b"")?;
    add("bin/busybox", PROGRAM, (0, 0), busybox)?;
    for name in PROGRAMS {
        add(&format!("bin/{name}"), LINK, (0, 0), b"busybox")?;
    }
    add("init", PROGRAM, (0, 0), script().as_bytes())?;
    newc::trailer(&mut archive)?;
    Ok(archive)
}

fn script() -> String {
    format!(
        "#!/bin/sh\n\
         echo '{REACHED}'\n\
         mount -t proc proc /proc\n\
         mount -t sysfs sysfs /sys\n\
         uname -a\n\
         echo \"{RELEASE}$(uname -r)\"\n\
         cat /proc/cpuinfo\n\
         echo \"{CPUS}$(grep -c '^processor' /proc/cpuinfo)\"\n\
         cat /proc/interrupts\n\
         echo \"clock $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)\"\n\
         date\n\
         uptime\n\
         echo '{DONE}'\n\
         poweroff -f\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_has_a_console_programs_and_init() {
        let archive = of(b"BUSYBOX").expect("an archive");
        let mut rest = archive.as_slice();
        let mut found = Vec::new();
        loop {
            let reader = newc::Reader::new(rest).expect("an entry");
            let entry = reader.entry();
            if entry.is_trailer() {
                break;
            }
            found.push((entry.name().to_owned(), entry.mode(), (entry.rdev_major(), entry.rdev_minor())));
            rest = reader.finish().expect("the rest");
        }
        assert!(found.contains(&("dev/console".into(), CHARACTER_DEVICE, CONSOLE)));
        assert!(found.contains(&("bin/busybox".into(), PROGRAM, (0, 0))));
        assert!(found.contains(&("init".into(), PROGRAM, (0, 0))));
        let used = script();
        for program in PROGRAMS {
            assert!(used.contains(program), "{program} is not used");
        }
    }
}
