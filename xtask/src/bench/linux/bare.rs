//! Linux in Bochs without a hypervisor and without a BIOS: the 32-bit boot protocol, by hand (Linux' Documentation/arch/x86/boot.rst).
//! The kernel and the initial RAM disk lie where a guest's package lies otherwise; a few instructions in place of the image
//! enter the kernel.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::emulator::{self, Boot, Guest, Status};
use crate::flat::Flat;
use crate::guest::console::Console;
use crate::guest::linux;
use crate::guest::package::Files;
use crate::image::Image;
use crate::machines::Machine;
use crate::rom;
use crate::setup::Emulators;

/// Behind the multiboot information block: the zero page, a GDT and the command line.
const ZERO_PAGE: u32 = 0x9_1000;
const GDT: u32 = 0x9_2000;
const COMMAND_LINE: u32 = 0x9_3000;
/// The selectors that the protocol asks for.
const CODE: u16 = 0x10;
const DATA: u8 = 0x18;
/// The GDT, and behind it what LGDT takes.
const DESCRIPTORS: [u64; 4] = [0, 0, 0x00CF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF];
/// A RAM disk starts at a page.
const PAGE: usize = 4096;

/// Boots, and gives the instructions from the kernel's first to the first program's.
pub fn boot(
    machine: &Machine,
    files: &Files,
    image: &Image,
    emulators: &Emulators,
    limit: Duration,
    directory: PathBuf,
) -> Result<u64> {
    let kernel = fs::read(&files.kernel)?;
    let initrd = files.initrd.as_ref().map_or_else(|| Ok(Vec::new()), fs::read)?;
    let memory = linux::MEMORY.0;
    let placed = Placed::new(&kernel, &initrd, files.command_line.len())?;
    fs::write(directory.join(emulator::PACKAGE), &placed.bytes)?;
    let package_size = u32::try_from(placed.bytes.len())?;
    let mut information = emulator::information("", memory, package_size);
    for (address, bytes) in [
        (ZERO_PAGE, placed.zero_page(&kernel, memory)?),
        (GDT, gdt()),
        (COMMAND_LINE, [files.command_line.as_bytes(), b"\0"].concat()),
    ] {
        emulator::put(&mut information, address, &bytes);
    }
    let rom = directory.join("rom.bin");
    let old = fs::read(&image.rom)?;
    fs::write(&rom, rom::with_image(&old, &Flat { base: rom::IMAGE, bytes: stub() })?)?;

    let console = Console::listen()?;
    let stop = AtomicBool::new(false);
    let bare = Image { elf: image.elf.clone(), rom };
    let boot = Boot {
        machine,
        image: &bare,
        command_line: "",
        cpus: 1,
        memory,
        limit: Some(limit),
        directory: directory.clone(),
        module: None,
        guest: Some(Guest {
            package_size,
            console: console.address(),
            stop: &stop,
            real_time: false,
            saved: None,
            information: Some(information),
        }),
    };
    let mut output = Vec::new();
    let done = AtomicBool::new(false);
    let ended = thread::scope(|scope| {
        scope.spawn(|| console.carry(&done, |_| {}, |bytes| output.extend_from_slice(bytes)));
        let ended = emulator::boot(&boot, emulators, &mut |_| {});
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        ended
    })?;
    let _ = fs::remove_file(directory.join(emulator::PACKAGE));
    let output = String::from_utf8_lossy(&output);
    ensure!(ended.status == Status::Finished, "bare Linux on {}: {:?}\n{output}", machine.name, ended.status);
    let said = String::from_utf8_lossy(&fs::read(directory.join("output.txt"))?).into_owned();
    let stops = stops(&said);
    let (first, last) =
        stops.first().zip(stops.get(1)).with_context(|| format!("bare Linux did not end:\n{output}"))?;
    Ok(last - first)
}

/// The kernel without what is for real mode, room for it to unpack itself, and the initial RAM disk.
struct Placed {
    bytes: Vec<u8>,
    initrd: (u32, u32),
    command_line_size: usize,
}

impl Placed {
    fn new(kernel: &[u8], initrd: &[u8], command_line_size: usize) -> Result<Placed> {
        let setup = match kernel.get(0x1F1).copied().context("no kernel")? {
            0 => 4,
            sectors => usize::from(sectors),
        };
        let protected = kernel.get((setup + 1) * 512..).context("no kernel")?;
        let needed = u32::from_le_bytes(kernel.get(0x260..0x264).context("no kernel")?.try_into()?);
        let mut bytes = protected.to_vec();
        bytes.resize(bytes.len().max(needed as usize).next_multiple_of(PAGE), 0);
        let address = emulator::PACKAGE_ADDRESS + u32::try_from(bytes.len())?;
        bytes.extend_from_slice(initrd);
        Ok(Placed { bytes, initrd: (address, u32::try_from(initrd.len())?), command_line_size })
    }

    /// `struct boot_params`: the kernel's own header, completed, and the memory map.
    fn zero_page(&self, kernel: &[u8], mebibytes: u32) -> Result<Vec<u8>> {
        let mut page = vec![0; PAGE];
        let end = 0x202 + usize::from(kernel[0x201]);
        page[0x1F1..end].copy_from_slice(kernel.get(0x1F1..end).context("no kernel")?);
        let mut word = |offset: usize, value: u32| page[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        word(0x214, emulator::PACKAGE_ADDRESS); // code32_start
        word(0x218, self.initrd.0);
        word(0x21C, self.initrd.1);
        word(0x228, COMMAND_LINE);
        word(0x238, u32::try_from(self.command_line_size)?);
        let map = [(0, 0x9_FC00), (1 << 20, (u64::from(mebibytes) << 20) - (1 << 20))];
        for (index, (start, length)) in map.into_iter().enumerate() {
            let entry = 0x2D0 + 20 * index;
            for (offset, value) in [(0, start), (8, length)] {
                word(entry + offset, value as u32);
                word(entry + offset + 4, (value >> 32) as u32);
            }
            word(entry + 16, 1); // usable
        }
        page[0x1E8] = map.len() as u8;
        page[0x210] = 0xFF; // a loader without a number
        Ok(page)
    }
}

fn gdt() -> Vec<u8> {
    let table = DESCRIPTORS.iter().flat_map(|descriptor| descriptor.to_le_bytes());
    let limit = (DESCRIPTORS.len() * 8 - 1) as u16;
    table.chain(limit.to_le_bytes()).chain(GDT.to_le_bytes()).collect()
}

/// What the ROM enters in place of the image: sets what the kernel wants, stops for Bochs to say the time, and goes there.
fn stub() -> Vec<u8> {
    let mut code = vec![0x0F, 0x01, 0x15]; // lgdt
    code.extend((GDT + 8 * DESCRIPTORS.len() as u32).to_le_bytes());
    code.extend([0xB8, DATA, 0, 0, 0]); // mov $DATA, %eax
    code.extend([0x8E, 0xD8, 0x8E, 0xC0, 0x8E, 0xD0, 0x8E, 0xE0, 0x8E, 0xE8]); // mov %eax, %ds, %es, %ss, %fs, %gs
    code.push(0xBE); // mov $ZERO_PAGE, %esi
    code.extend(ZERO_PAGE.to_le_bytes());
    code.extend([0x31, 0xED, 0x31, 0xFF, 0x31, 0xDB]); // xor %ebp, %ebp; xor %edi, %edi; xor %ebx, %ebx
    code.extend([0x66, 0x87, 0xDB]); // xchg %bx, %bx
    code.push(0xEA); // ljmp $CODE, $kernel
    code.extend(emulator::PACKAGE_ADDRESS.to_le_bytes());
    code.extend(CODE.to_le_bytes());
    code
}

/// The times at which Bochs stopped at a magic break, in instructions.
fn stops(said: &str) -> Vec<u64> {
    let mut lines = said.lines();
    let mut times = Vec::new();
    while lines.any(|line| line.contains("Magic breakpoint")) {
        let time: Option<u64> = lines.next().and_then(|line| line.trim().strip_prefix("Next at t=")?.parse().ok());
        times.extend(time);
    }
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bochs_says_when_it_stopped() {
        let said = "<bochs:1> (0) Magic breakpoint\nNext at t=507931\n(0) [0x0010] jmpf\n<bochs:2> (0) Magic breakpoint\nNext at t=1438000000\n";
        assert_eq!(stops(said), [507_931, 1_438_000_000]);
        assert!(stops("").is_empty());
    }

    #[test]
    fn the_kernel_has_room_and_its_header() {
        let mut kernel = vec![0; 8192];
        kernel[0x1F1] = 4;
        kernel[0x201] = 0x66;
        kernel[0x206] = 0x0F;
        kernel[0x260..0x264].copy_from_slice(&0x1_0001_u32.to_le_bytes());
        let placed = Placed::new(&kernel, b"disk", 3).expect("placed");
        assert_eq!(placed.initrd, (emulator::PACKAGE_ADDRESS + 0x1_1000, 4));
        assert_eq!(&placed.bytes[0x1_1000..], b"disk");
        let page = placed.zero_page(&kernel, 256).expect("a page");
        assert_eq!((page[0x206], page[0x1E8], page[0x210]), (0x0F, 2, 0xFF));
    }
}
