//! What kind of kernel a file is, and whether it fits into the guest's memory: told before anything is booted.

use std::fmt;

use super::memory::Mebibytes;

/// A kernel that the image knows how to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kernel {
    Linux(Linux),
    Multiboot,
}

/// What the header of a bzImage says (Linux' Documentation/arch/x86/boot.rst).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linux {
    /// The version of the boot protocol.
    pub protocol: u16,
    /// What the kernel says of itself, such as `6.1.0-37-cloud-amd64 (…)`.
    pub version: Option<String>,
    /// Where it wants to be.
    preferred_address: u64,
    /// How much memory it needs from there until it knows how much there is.
    init_size: u32,
    /// The highest address that the initial RAM disk may have.
    initrd_max: u32,
}

/// Why a file is not started.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Neither Linux nor multiboot.
    Unknown,
    /// A kernel of a kind that is too old or otherwise not known, in words.
    Unsupported(String),
    /// It needs more memory than the guest has.
    Memory { needed: u64 },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Refusal::Unknown => write!(f, "is neither a Linux bzImage nor a multiboot 1 image"),
            Refusal::Unsupported(why) => write!(f, "{why}"),
            Refusal::Memory { needed } => {
                write!(f, "does not fit into the guest's memory: at least {} MiB are needed", needed.div_ceil(1 << 20))
            }
        }
    }
}

/// The first boot protocol that says how much memory the kernel needs.
const OLDEST_PROTOCOL: u16 = 0x20A;
/// The multiboot header is in the first 8 KiB of the file, at a multiple of 4.
const MULTIBOOT_SEARCH: usize = 8192;
const MULTIBOOT_MAGIC: u32 = 0x1BAD_B002;
/// The flag of a multiboot header that has addresses, so that the file's format does not matter.
const MULTIBOOT_ADDRESSES: u32 = 1 << 16;
/// Below this address a guest's memory is the firmware's.
const LOW_MEMORY: u64 = 1 << 20;

impl Kernel {
    /// What `file` is, by what it contains.
    pub fn identify(file: &[u8]) -> Result<Kernel, Refusal> {
        if half(file, 0x1FE) == Some(0xAA55) && file.get(0x202..0x206) == Some(b"HdrS") {
            return linux(file).map(Kernel::Linux);
        }
        match multiboot_header(file) {
            None => Err(Refusal::Unknown),
            Some(flags) if flags & MULTIBOOT_ADDRESSES == 0 && file.get(..4) != Some(b"\x7fELF") => {
                Err(Refusal::Unsupported("has a multiboot header without addresses, and is no ELF file".into()))
            }
            Some(_) => Ok(Kernel::Multiboot),
        }
    }

    /// Whether the kernel, a file of `size` bytes, and what comes with it, of `others` bytes, fit into `memory`.
    pub fn fits(&self, size: u64, others: u64, memory: Mebibytes) -> Result<(), Refusal> {
        let needed = match self {
            Kernel::Linux(linux) => {
                if others > u64::from(linux.initrd_max) {
                    let most = linux.initrd_max >> 20;
                    return Err(Refusal::Unsupported(format!("takes no initial RAM disk above {most} MiB")));
                }
                linux.preferred_address + u64::from(linux.init_size) + others
            }
            Kernel::Multiboot => LOW_MEMORY + size + others,
        };
        if needed > memory.bytes() { Err(Refusal::Memory { needed }) } else { Ok(()) }
    }
}

fn linux(file: &[u8]) -> Result<Linux, Refusal> {
    let short = || Refusal::Unsupported("is a Linux kernel that was cut off".into());
    let protocol = half(file, 0x206).ok_or_else(short)?;
    if protocol < OLDEST_PROTOCOL {
        let (major, minor) = (protocol >> 8, protocol & 0xFF);
        return Err(Refusal::Unsupported(format!(
            "speaks version {major}.{minor} of Linux' boot protocol, which is too old"
        )));
    }
    let loaded_high = file.get(0x211).ok_or_else(short)? & 1 != 0;
    if !loaded_high {
        return Err(Refusal::Unsupported("is a zImage; only a bzImage can be started".into()));
    }
    // Sectors of 512 bytes before the part that runs in protected mode, the first one not counted; 0 means 4.
    let setup = usize::from(match file[0x1F1] {
        0 => 4,
        sectors => sectors,
    });
    // In units of 16 bytes, the last of which need not be whole.
    let paragraphs = u64::from(word(file, 0x1F4).ok_or_else(short)?);
    if (setup as u64 + 1) * 32 + paragraphs > (file.len() as u64).div_ceil(16) {
        return Err(short());
    }
    let version = half(file, 0x20E).filter(|offset| *offset != 0).and_then(|offset| {
        let text = file.get(usize::from(offset) + 0x200..)?;
        let text = &text[..text.iter().take(256).position(|byte| *byte == 0)?];
        Some(String::from_utf8_lossy(text).into_owned())
    });
    Ok(Linux {
        protocol,
        version,
        preferred_address: word(file, 0x258)
            .zip(word(file, 0x25C))
            .map(|(low, high)| u64::from(low) | u64::from(high) << 32)
            .ok_or_else(short)?,
        init_size: word(file, 0x260).ok_or_else(short)?,
        initrd_max: word(file, 0x22C).ok_or_else(short)?,
    })
}

/// The flags of the multiboot header, when there is one.
fn multiboot_header(file: &[u8]) -> Option<u32> {
    let searched = &file[..file.len().min(MULTIBOOT_SEARCH)];
    (0..searched.len()).step_by(4).find_map(|offset| {
        let (magic, flags, checksum) =
            (word(searched, offset)?, word(searched, offset + 4)?, word(searched, offset + 8)?);
        let good = magic == MULTIBOOT_MAGIC && magic.wrapping_add(flags).wrapping_add(checksum) == 0;
        good.then_some(flags)
    })
}

fn half(file: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_le_bytes(file.get(offset..offset + 2)?.try_into().ok()?))
}

fn word(file: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(file.get(offset..offset + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(file: &mut [u8], offset: usize, bytes: &[u8]) {
        file[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// A header as of Linux 6.1: 16 MiB, and 32 MiB from there.
    fn bzimage() -> Vec<u8> {
        let mut file = vec![0; 8192];
        put(&mut file, 0x1F1, &[4]);
        put(&mut file, 0x1F4, &16_u32.to_le_bytes());
        put(&mut file, 0x1FE, &[0x55, 0xAA]);
        put(&mut file, 0x202, b"HdrS");
        put(&mut file, 0x206, &0x20F_u16.to_le_bytes());
        put(&mut file, 0x20E, &0x400_u16.to_le_bytes());
        put(&mut file, 0x600, b"6.1.0 (someone)\0");
        put(&mut file, 0x211, &[1]);
        put(&mut file, 0x22C, &0x7FFF_FFFF_u32.to_le_bytes());
        put(&mut file, 0x258, &(16_u64 << 20).to_le_bytes());
        put(&mut file, 0x260, &(32_u32 << 20).to_le_bytes());
        file
    }

    fn multiboot(flags: u32, offset: usize) -> Vec<u8> {
        let mut file = vec![0; 9000];
        for (index, value) in [MULTIBOOT_MAGIC, flags, (MULTIBOOT_MAGIC + flags).wrapping_neg()].into_iter().enumerate()
        {
            put(&mut file, offset + 4 * index, &value.to_le_bytes());
        }
        file
    }

    #[test]
    fn linux_is_known_by_its_header() {
        let Ok(Kernel::Linux(linux)) = Kernel::identify(&bzimage()) else { panic!("no Linux") };
        assert_eq!((linux.protocol, linux.version.as_deref()), (0x20F, Some("6.1.0 (someone)")));
    }

    #[test]
    fn linux_kernels_that_cannot_be_started_are_told() {
        let why = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut file = bzimage();
            change(&mut file);
            Kernel::identify(&file).expect_err("refused").to_string()
        };
        assert!(why(&|file| put(file, 0x206, &0x203_u16.to_le_bytes())).contains("too old"));
        assert!(why(&|file| put(file, 0x211, &[0])).contains("zImage"));
        assert!(why(&|file| file.truncate(2600)).contains("cut off"));
        assert!(why(&|file| file.truncate(0x210)).contains("cut off"));
        assert!(why(&|file| put(file, 0x1FE, &[0, 0])).contains("neither"));
    }

    #[test]
    fn multiboot_is_known_by_its_checksum() {
        assert_eq!(Kernel::identify(&multiboot(MULTIBOOT_ADDRESSES, 16)), Ok(Kernel::Multiboot));
        let mut elf = multiboot(0, 64);
        assert!(matches!(Kernel::identify(&elf), Err(Refusal::Unsupported(_))));
        put(&mut elf, 0, b"\x7fELF");
        assert_eq!(Kernel::identify(&elf), Ok(Kernel::Multiboot));
        let mut wrong = multiboot(MULTIBOOT_ADDRESSES, 16);
        wrong[24] ^= 1;
        assert_eq!(Kernel::identify(&wrong), Err(Refusal::Unknown));
        assert_eq!(Kernel::identify(&multiboot(MULTIBOOT_ADDRESSES, 8192)), Err(Refusal::Unknown));
    }

    #[test]
    fn any_other_file_is_refused() {
        assert_eq!(Kernel::identify(b""), Err(Refusal::Unknown));
        assert_eq!(Kernel::identify(b"#!/bin/sh\n"), Err(Refusal::Unknown));
    }

    #[test]
    fn memory_must_suffice() {
        let linux = Kernel::identify(&bzimage()).expect("Linux");
        assert_eq!(linux.fits(8 << 20, 1 << 20, Mebibytes(49)), Ok(()));
        let refusal = linux.fits(8 << 20, 1 << 20, Mebibytes(48)).expect_err("too little");
        assert_eq!(refusal.to_string(), "does not fit into the guest's memory: at least 49 MiB are needed");
        assert_eq!(Kernel::Multiboot.fits(1 << 20, 0, Mebibytes(2)), Ok(()));
        assert!(Kernel::Multiboot.fits(1 << 20, 1, Mebibytes(2)).is_err());
    }
}
