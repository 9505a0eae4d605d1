//! The ROM that Bochs starts in place of a BIOS. Larger images cannot be handed to Bochs as RAM contents, so the ROM
//! holds the image as well: the image's bytes from its start, and in its last 64 KiB the code that copies them.

use anyhow::{Result, ensure};

use crate::flat::Flat;

/// The whole ROM: the largest that Bochs takes.
const SIZE: usize = 2 << 20;
/// Where it stands: its end is 4 GiB.
pub const BASE: u64 = (1 << 32) - SIZE as u64;
/// The code's part.
const CODE: usize = 64 << 10;
/// Where the code copies the image to, and enters it.
pub const IMAGE: u64 = 1 << 20;

/// Puts the image and the code together.
pub fn assemble(image: &Flat, code: &Flat) -> Result<Vec<u8>> {
    let room = SIZE - CODE;
    ensure!(image.base == IMAGE, "the image is linked at {:#x}, but the ROM enters it at {IMAGE:#x}", image.base);
    ensure!(image.bytes.len() <= room, "the image has {} bytes, but the ROM has room for {room}", image.bytes.len());
    let start = BASE + room as u64;
    ensure!(code.base == start, "the ROM's code is linked at {:#x} instead of {start:#x}", code.base);
    ensure!(code.bytes.len() == CODE, "the ROM's code has {} bytes instead of {CODE}", code.bytes.len());
    let mut rom = image.bytes.clone();
    rom.resize(room, 0);
    rom.extend(&code.bytes);
    Ok(rom)
}

/// The same ROM with another image.
pub fn with_image(rom: &[u8], image: &Flat) -> Result<Vec<u8>> {
    ensure!(rom.len() == SIZE, "this is no ROM");
    let code = Flat { base: BASE + (SIZE - CODE) as u64, bytes: rom[SIZE - CODE..].to_vec() };
    assemble(image, &code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(base: u64, bytes: usize) -> Flat {
        Flat { base, bytes: vec![1; bytes] }
    }

    #[test]
    fn the_code_is_at_the_end() {
        let rom = assemble(&flat(IMAGE, 5), &flat(0xffff_0000, CODE)).expect("it fits");
        assert_eq!(rom.len(), SIZE);
        let other = with_image(&rom, &flat(IMAGE, 3)).expect("it fits");
        assert_eq!((other[2], other[3], &other[SIZE - CODE..]), (1, 0, &rom[SIZE - CODE..]));
        assert_eq!((rom[4], rom[5], rom[SIZE - CODE - 1], rom[SIZE - CODE]), (1, 0, 0, 1));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(assemble(&flat(IMAGE, SIZE), &flat(0xffff_0000, CODE)).is_err());
        assert!(assemble(&flat(0, 5), &flat(0xffff_0000, CODE)).is_err());
        assert!(assemble(&flat(IMAGE, 5), &flat(0xffff_0000, 16)).is_err());
        assert!(assemble(&flat(IMAGE, 5), &flat(0xfffe_0000, CODE)).is_err());
    }
}
