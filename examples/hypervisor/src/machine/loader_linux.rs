//! A Linux kernel (bzImage), by the 32-bit boot protocol.
//!
//! Linux' own documentation: "The Linux/x86 Boot Protocol", "Zero Page". (`linux-loader` does the same for hosts that use
//! `vm-memory`.)
//!
//! | guest-physical | what |
//! |---|---|
//! | 10000h | the zero page |
//! | 20000h | the command line |
//! | the kernel's preferred address | the kernel |
//! | the end of memory, as far as the kernel reaches | the initial file system |

use alloc::format;
use alloc::string::String;

use super::memory::{GuestMemory, HIGH, map};
use super::package::Package;
use super::vcpu::Entry;

const ZERO_PAGE: u64 = 0x1_0000;
const COMMAND_LINE: u64 = 0x2_0000;
/// The most that fits between the command line and the hole.
const LONGEST_LINE: usize = 0x1_0000;

/// Offsets in the zero page, and, from `SETUP_SECTORS` on, in the file as well.
mod offset {
    pub const ACPI_RSDP: usize = 0x070;
    pub const E820_COUNT: usize = 0x1E8;
    pub const SETUP_SECTORS: usize = 0x1F1;
    pub const BOOT_FLAG: usize = 0x1FE;
    pub const JUMP: usize = 0x201;
    pub const HEADER: usize = 0x202;
    pub const VERSION: usize = 0x206;
    pub const LOADER_TYPE: usize = 0x210;
    pub const LOAD_FLAGS: usize = 0x211;
    pub const CODE32_START: usize = 0x214;
    pub const INITRD_ADDRESS: usize = 0x218;
    pub const INITRD_SIZE: usize = 0x21C;
    pub const COMMAND_LINE: usize = 0x228;
    pub const INITRD_MAXIMUM: usize = 0x22C;
    pub const RELOCATABLE: usize = 0x234;
    pub const COMMAND_LINE_SIZE: usize = 0x238;
    pub const PREFERRED_ADDRESS: usize = 0x258;
    pub const INIT_SIZE: usize = 0x260;
    pub const E820_TABLE: usize = 0x2D0;
}

/// The newest header that matters here has `init_size`: protocol 2.10, Linux 2.6.31.
const OLDEST_PROTOCOL: u16 = 0x020A;
const LOADED_HIGH: u8 = 1 << 0;
const UNKNOWN_LOADER: u8 = 0xFF;

/// Whether a file says that it is a Linux kernel.
pub fn is_linux(file: &[u8]) -> bool {
    file.get(offset::HEADER..offset::HEADER + 4) == Some(b"HdrS")
}

/// Puts a kernel, its command line and its initial file system into memory.
pub fn load(package: &Package, memory: &mut GuestMemory, rsdp: u64) -> Result<Entry, String> {
    let file = package.kernel;
    let header = Header(file);
    if header.u16(offset::BOOT_FLAG)? != 0xAA55 {
        return Err("the Linux kernel has no boot signature".into());
    }
    let version = header.u16(offset::VERSION)?;
    if version < OLDEST_PROTOCOL || header.u8(offset::LOAD_FLAGS)? & LOADED_HIGH == 0 {
        return Err(format!(
            "the Linux kernel speaks boot protocol {}.{}; 2.10 and a bzImage are needed",
            version >> 8,
            version & 0xFF
        ));
    }
    let setup_sectors = match header.u8(offset::SETUP_SECTORS)? {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let code = file.get((setup_sectors + 1) * 512..).filter(|code| !code.is_empty());
    let code = code.ok_or("the Linux kernel is truncated: it ends in its set-up part")?;
    // The size is told in units of 16 bytes, the last of which need not be whole.
    let paragraphs = header.u32(0x1F4)? as usize;
    if code.len().div_ceil(16) < paragraphs {
        return Err(format!(
            "the Linux kernel is truncated: {} bytes of {} are there",
            code.len(),
            paragraphs.saturating_mul(16)
        ));
    }

    let relocatable = header.u8(offset::RELOCATABLE)? != 0;
    let preferred = header.u64(offset::PREFERRED_ADDRESS)?;
    let address = if relocatable && preferred >= HIGH { preferred } else { HIGH };
    let kernel_end = address.saturating_add(u64::from(header.u32(offset::INIT_SIZE)?)).max(address + code.len() as u64);
    if kernel_end > memory.end() || address >> 32 != 0 {
        return Err(format!(
            "too little memory: the Linux kernel needs {} MiB, the guest has {}",
            kernel_end.div_ceil(1 << 20),
            memory.end() >> 20
        ));
    }
    memory.write(address, code)?;

    let longest = (header.u32(offset::COMMAND_LINE_SIZE)? as usize).min(LONGEST_LINE - 1);
    if package.command_line.len() > longest {
        return Err(format!("the command line is longer than the kernel's {longest} bytes"));
    }
    memory.write(COMMAND_LINE, package.command_line)?;
    memory.write(COMMAND_LINE + package.command_line.len() as u64, &[0])?;

    let mut page = ZeroPage([0; 4096]);
    let header_end = (offset::HEADER + usize::from(header.u8(offset::JUMP)?)).min(offset::E820_TABLE);
    let known = file.get(offset::SETUP_SECTORS..header_end).ok_or("the Linux kernel is truncated in its header")?;
    page.put(offset::SETUP_SECTORS, known);
    page.put(offset::LOADER_TYPE, &[UNKNOWN_LOADER]);
    page.put(offset::CODE32_START, &(address as u32).to_le_bytes());
    page.put(offset::COMMAND_LINE, &(COMMAND_LINE as u32).to_le_bytes());
    page.put(offset::ACPI_RSDP, &rsdp.to_le_bytes());
    if let Some(initrd) = package.initrd.filter(|initrd| !initrd.is_empty()) {
        let limit = memory.end().min(u64::from(header.u32(offset::INITRD_MAXIMUM)?) + 1);
        let place =
            limit.checked_sub(initrd.len() as u64).map(|place| place & !0xFFF).filter(|place| *place >= kernel_end);
        let place = place.ok_or_else(|| {
            format!(
                "too little memory: the Linux kernel needs {} MiB and its initrd {} more, the guest has {}",
                kernel_end.div_ceil(1 << 20),
                (initrd.len() as u64).div_ceil(1 << 20),
                memory.end() >> 20
            )
        })?;
        memory.write(place, initrd)?;
        page.put(offset::INITRD_ADDRESS, &(place as u32).to_le_bytes());
        page.put(offset::INITRD_SIZE, &(initrd.len() as u32).to_le_bytes());
    }
    let entries = map(memory.end());
    page.put(offset::E820_COUNT, &[entries.len() as u8]);
    for (index, (range, kind)) in entries.into_iter().enumerate() {
        let at = offset::E820_TABLE + 20 * index;
        page.put(at, &range.start.to_le_bytes());
        page.put(at + 8, &(range.end - range.start).to_le_bytes());
        page.put(at + 16, &kind.to_le_bytes());
    }
    memory.write(ZERO_PAGE, &page.0)?;

    Ok(Entry {
        address: address as u32,
        // The protocol's __BOOT_CS and __BOOT_DS.
        code_selector: 0x10,
        data_selector: 0x18,
        rax: 0,
        rbx: 0,
        rsi: ZERO_PAGE,
    })
}

/// The kernel's set-up header, little-endian.
struct Header<'a>(&'a [u8]);

impl Header<'_> {
    fn bytes<const N: usize>(&self, at: usize) -> Result<[u8; N], String> {
        let bytes = self.0.get(at..).and_then(|rest| rest.first_chunk());
        bytes.copied().ok_or_else(|| "the Linux kernel is truncated in its header".into())
    }

    fn u8(&self, at: usize) -> Result<u8, String> {
        self.bytes(at).map(|[byte]| byte)
    }

    fn u16(&self, at: usize) -> Result<u16, String> {
        self.bytes(at).map(u16::from_le_bytes)
    }

    fn u32(&self, at: usize) -> Result<u32, String> {
        self.bytes(at).map(u32::from_le_bytes)
    }

    fn u64(&self, at: usize) -> Result<u64, String> {
        self.bytes(at).map(u64::from_le_bytes)
    }
}

/// `struct boot_params`.
struct ZeroPage([u8; 4096]);

impl ZeroPage {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }
}
