//! The first program of the measured Linux: it ends the run. A guest ends by its exit port, the bare machine at Bochs' magic break.

use std::io::Write as _;

use anyhow::Result;
use cpio::newc;

/// Where it lies in its address space.
const BASE: u64 = 0x40_0000;
const HEADERS: u64 = 64 + 56;

const CODE: [u8; 21] = [
    0xB8, 0xAC, 0x00, 0x00, 0x00, // mov $172, %eax: iopl
    0xBF, 0x03, 0x00, 0x00, 0x00, // mov $3, %edi
    0x0F, 0x05, // syscall
    0x31, 0xC0, // xor %eax, %eax
    0xE6, 0xF4, // out %al, $0xf4
    0x66, 0x87, 0xDB, // 1: xchg %bx, %bx
    0xEB, 0xFB, // jmp 1b
];

/// An archive with nothing else in it.
pub fn initrd() -> Result<Vec<u8>> {
    let program = program();
    let mut archive = Vec::new();
    let entry = newc::Builder::new("init").ino(1).nlink(1).mode(0o100_755);
    let mut writer = entry.write(&mut archive, u32::try_from(program.len())?);
    writer.write_all(&program)?;
    writer.finish()?;
    newc::trailer(&mut archive)?;
    Ok(archive)
}

/// An ELF file with one segment: the headers and the code.
fn program() -> Vec<u8> {
    let size = HEADERS + CODE.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let mut put = |bytes: &[u8]| file.extend_from_slice(bytes);
    // An executable (2) for x86-64 (62), version 1; the entry, the program header at 64, no sections, no flags.
    put(&[2, 0, 62, 0, 1, 0, 0, 0]);
    for word in [BASE + HEADERS, 64, 0] {
        put(&word.to_le_bytes());
    }
    put(&[0, 0, 0, 0]);
    for half in [64_u16, 56, 1, 64, 0, 0] {
        put(&half.to_le_bytes());
    }
    // A segment to load (1), readable and executable (5), from the file's start.
    put(&[1, 0, 0, 0, 5, 0, 0, 0]);
    for word in [0, BASE, BASE, size, size, 4096] {
        put(&word.to_le_bytes());
    }
    put(&CODE);
    file
}

#[cfg(test)]
mod tests {
    use object::{Object as _, ObjectSegment as _};

    use super::*;

    #[test]
    fn the_program_is_an_elf_file() {
        let program = program();
        let file = object::File::parse(program.as_slice()).expect("an ELF file");
        assert_eq!(file.entry(), BASE + HEADERS);
        let segment = file.segments().next().expect("a segment");
        assert_eq!(segment.data().expect("bytes")[HEADERS as usize..], CODE);
    }
}
