//! The ROM that Bochs starts in place of a BIOS. Larger images cannot be handed to Bochs as RAM contents, so the ROM
//! holds the image as well: compressed (LZ4) from its start, and in its last 64 KiB the code that unpacks it.

use anyhow::{Context, Result, ensure};

use crate::flat::Flat;

/// The whole ROM: the largest that Bochs takes.
const SIZE: usize = 2 << 20;
/// Where it stands: its end is 4 GiB.
pub const BASE: u64 = (1 << 32) - SIZE as u64;
/// The code's part.
const CODE: usize = 64 << 10;
/// Where the code unpacks the image to, and enters it.
pub const IMAGE: u64 = 1 << 20;

/// Puts the image and the code together.
pub fn assemble(image: &Flat, code: &Flat) -> Result<Vec<u8>> {
    let room = SIZE - CODE;
    ensure!(image.base == IMAGE, "the image is linked at {:#x}, but the ROM enters it at {IMAGE:#x}", image.base);
    let packed = lz4_flex::block::compress(&image.bytes);
    let length = u32::try_from(packed.len()).context("a compressed image of more than 4 GiB")?.to_le_bytes();
    let taken = length.len() + packed.len();
    ensure!(taken <= room, "the image has {taken} bytes when it is compressed, but the ROM has room for {room}");
    let start = BASE + room as u64;
    ensure!(code.base == start, "the ROM's code is linked at {:#x} instead of {start:#x}", code.base);
    ensure!(code.bytes.len() == CODE, "the ROM's code has {} bytes instead of {CODE}", code.bytes.len());
    let mut rom = Vec::from(length);
    rom.extend(&packed);
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

    /// Bytes that no compression makes shorter.
    fn noise(bytes: usize) -> Flat {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        Flat { base: IMAGE, bytes: (0..bytes).map(|_| next()).collect() }
    }

    fn unpacked(rom: &[u8], bytes: usize) -> Vec<u8> {
        let length = u32::from_le_bytes(rom[..4].try_into().expect("four bytes")) as usize;
        lz4_flex::block::decompress(&rom[4..4 + length], bytes).expect("a block of LZ4")
    }

    #[test]
    fn the_image_is_at_the_start_and_the_code_at_the_end() {
        let (image, other) = (noise(100_000), flat(IMAGE, 3_000_000));
        let rom = assemble(&image, &flat(0xffff_0000, CODE)).expect("it fits");
        assert_eq!((rom.len(), unpacked(&rom, image.bytes.len())), (SIZE, image.bytes));
        assert_eq!((rom[SIZE - CODE - 1], rom[SIZE - CODE]), (0, 1));
        let second = with_image(&rom, &other).expect("it fits");
        assert_eq!(unpacked(&second, other.bytes.len()), other.bytes);
        assert_eq!(&second[SIZE - CODE..], &rom[SIZE - CODE..]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(assemble(&noise(SIZE), &flat(0xffff_0000, CODE)).is_err());
        assert!(assemble(&flat(0, 5), &flat(0xffff_0000, CODE)).is_err());
        assert!(assemble(&flat(IMAGE, 5), &flat(0xffff_0000, 16)).is_err());
        assert!(assemble(&flat(IMAGE, 5), &flat(0xfffe_0000, CODE)).is_err());
    }
}
