//! A multiboot image, and its modules. "Multiboot Specification", version 0.6.96.
//!
//! The image is an ELF file of 32 or 64 bits, loaded by its physical addresses, or says in its multiboot header where it wants to
//! lie, whatever its format. It starts in 32-bit protected mode in any case.
//!
//! | guest-physical | what |
//! |---|---|
//! | as it says | the image |
//! | the pages behind it | the modules |
//! | 90000h | the information structure, and what it points to |

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use elf::ElfBytes;
use elf::abi::PT_LOAD;
use elf::endian::AnyEndian;

use super::memory::{EXTENDED_BIOS, GuestMemory, HIGH, HOLE, map};
use super::package::Package;
use super::vcpu::Entry;

const MAGIC: u32 = 0x1BAD_B002;
const LOADER_MAGIC: u64 = 0x2BAD_B002;
/// The header is within this, aligned to 4 bytes.
const SEARCHED: usize = 8192;
/// The flags of the header: whoever does not know one of the low 16 must not load the image.
const ALIGN_MODULES: u32 = 1 << 0;
const WANTS_MEMORY: u32 = 1 << 1;
const ADDRESSES: u32 = 1 << 16;
const MUST_KNOW: u32 = 0xFFFF;

const INFORMATION: u64 = 0x9_0000;
const INFORMATION_SIZE: usize = 120;
const PAGE: u64 = 4096;
/// The flags of the information structure.
const HAS_MEMORY: u32 = 1 << 0;
const HAS_COMMAND_LINE: u32 = 1 << 2;
const HAS_MODULES: u32 = 1 << 3;
const HAS_MAP: u32 = 1 << 6;
const HAS_LOADER_NAME: u32 = 1 << 9;
const LOADER_NAME: &[u8] = b"x86_vcpu";

/// What a header says.
struct Header {
    /// Where it is in the file.
    offset: usize,
    flags: u32,
    /// header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr.
    addresses: [u32; 5],
}

/// Where an image lies, and starts.
struct Loaded {
    start: u64,
    end: u64,
    entry: u64,
}

/// Whether a file says that it is a multiboot image.
pub fn is_multiboot(file: &[u8]) -> bool {
    header(file).is_some()
}

/// Puts an image, its modules and what it is told into memory.
pub fn load(package: &Package, memory: &mut GuestMemory) -> Result<Entry, String> {
    let header = header(package.kernel).ok_or("the file has no multiboot header")?;
    let unknown = header.flags & MUST_KNOW & !(ALIGN_MODULES | WANTS_MEMORY);
    if unknown != 0 {
        return Err(format!("the multiboot image wants what is not there: header flags {unknown:#x}"));
    }
    let image = if header.flags & ADDRESSES != 0 {
        load_by_header(package.kernel, &header, memory)?
    } else {
        load_elf(package.kernel, memory)?
    };
    if image.start < EXTENDED_BIOS && image.end > INFORMATION {
        return Err(format!("the multiboot image lies at {INFORMATION:#x}, where its loader's information is"));
    }
    let address = u32::try_from(image.entry).map_err(|_| "the multiboot image starts above 4 GiB")?;

    let mut modules = Vec::new();
    let mut place = image.end.max(HIGH).next_multiple_of(PAGE);
    for (file, string) in &package.modules {
        memory.write(place, file)?;
        modules.push((place, place + file.len() as u64, *string));
        place = (place + file.len() as u64).next_multiple_of(PAGE);
    }
    inform(package.command_line, &modules, memory)?;
    Ok(Entry { address, code_selector: 8, data_selector: 0x10, rax: LOADER_MAGIC, rbx: INFORMATION, rsi: 0 })
}

fn header(file: &[u8]) -> Option<Header> {
    let word = |at: usize| file.get(at..)?.first_chunk().copied().map(u32::from_le_bytes);
    let offset = (0..SEARCHED.min(file.len())).step_by(4).find(|at| {
        let (Some(magic), Some(flags), Some(sum)) = (word(*at), word(at + 4), word(at + 8)) else { return false };
        magic == MAGIC && magic.wrapping_add(flags).wrapping_add(sum) == 0
    })?;
    let flags = word(offset + 4)?;
    let mut addresses = [0; 5];
    if flags & ADDRESSES != 0 {
        for (index, address) in addresses.iter_mut().enumerate() {
            *address = word(offset + 12 + 4 * index)?;
        }
    }
    Some(Header { offset, flags, addresses })
}

/// "The address fields of Multiboot header".
fn load_by_header(file: &[u8], header: &Header, memory: &mut GuestMemory) -> Result<Loaded, String> {
    const WRONG: &str = "the addresses in the multiboot header contradict each other";
    let [header_at, start, load_end, bss_end, entry] = header.addresses.map(u64::from);
    let before = header_at.checked_sub(start).ok_or(WRONG)? as usize;
    let first = header.offset.checked_sub(before).ok_or(WRONG)?;
    let rest = file.get(first..).ok_or(WRONG)?;
    let bytes = if load_end == 0 {
        rest
    } else {
        let length = load_end.checked_sub(start).ok_or(WRONG)? as usize;
        rest.get(..length).ok_or("the multiboot image is truncated: its header says that it is longer")?
    };
    let end = (start + bytes.len() as u64).max(bss_end);
    memory.write(start, bytes)?;
    memory.check(start, end - start)?;
    Ok(Loaded { start, end, entry })
}

fn load_elf(file: &[u8], memory: &mut GuestMemory) -> Result<Loaded, String> {
    let elf = ElfBytes::<AnyEndian>::minimal_parse(file)
        .map_err(|_| "the multiboot image is neither an ELF file nor has it addresses in its header")?;
    let segments = elf.segments().ok_or("the ELF file has no segments")?;
    let mut image = Loaded { start: u64::MAX, end: 0, entry: elf.ehdr.e_entry };
    for segment in segments.iter().filter(|segment| segment.p_type == PT_LOAD && segment.p_memsz > 0) {
        let range = segment.p_offset as usize..segment.p_offset.saturating_add(segment.p_filesz) as usize;
        let bytes = file.get(range).ok_or("the ELF file is truncated: a segment ends behind it")?;
        if segment.p_filesz > segment.p_memsz {
            return Err("the ELF file has a segment that is larger than its memory".into());
        }
        memory.check(segment.p_paddr, segment.p_memsz)?;
        memory.write(segment.p_paddr, bytes)?;
        image.start = image.start.min(segment.p_paddr);
        image.end = image.end.max(segment.p_paddr + segment.p_memsz);
        // The entry is a virtual address, and paging is off.
        let offset = elf.ehdr.e_entry.wrapping_sub(segment.p_vaddr);
        if offset < segment.p_memsz {
            image.entry = segment.p_paddr + offset;
        }
    }
    if image.end == 0 {
        return Err("the ELF file has nothing to load".into());
    }
    Ok(image)
}

/// Writes the information structure.
fn inform(command_line: &[u8], modules: &[(u64, u64, &[u8])], memory: &mut GuestMemory) -> Result<(), String> {
    let mut block = Block(alloc::vec![0; INFORMATION_SIZE]);
    block.word(0, HAS_MEMORY | HAS_COMMAND_LINE | HAS_MODULES | HAS_MAP | HAS_LOADER_NAME);
    block.word(4, (EXTENDED_BIOS.min(HOLE.start) >> 10) as u32);
    block.word(8, (memory.end().saturating_sub(HIGH) >> 10) as u32);
    let line = block.string(command_line);
    block.word(16, line);
    block.word(20, modules.len() as u32);
    let list = block.room(16 * modules.len());
    block.word(24, INFORMATION as u32 + list as u32);
    for (index, (start, end, string)) in modules.iter().enumerate() {
        let string = block.string(string);
        for (word, value) in [*start as u32, *end as u32, string, 0].into_iter().enumerate() {
            block.word(list + 16 * index + 4 * word, value);
        }
    }
    let entries = map(memory.end());
    /// The size of an entry, which it begins with and which does not count itself.
    const ENTRY: usize = 20;
    let place = block.room((ENTRY + 4) * entries.len());
    block.word(44, ((ENTRY + 4) * entries.len()) as u32);
    block.word(48, INFORMATION as u32 + place as u32);
    for (index, (range, kind)) in entries.into_iter().enumerate() {
        let length = range.end - range.start;
        let words =
            [ENTRY as u32, range.start as u32, (range.start >> 32) as u32, length as u32, (length >> 32) as u32, kind];
        for (word, value) in words.into_iter().enumerate() {
            block.word(place + (ENTRY + 4) * index + 4 * word, value);
        }
    }
    let name = block.string(LOADER_NAME);
    block.word(64, name);
    if block.0.len() as u64 > EXTENDED_BIOS - INFORMATION {
        return Err(format!(
            "the command lines of the image and its modules are too long together: {} bytes",
            block.0.len()
        ));
    }
    memory.write(INFORMATION, &block.0)
}

/// The information structure with what follows it.
struct Block(Vec<u8>);

impl Block {
    fn word(&mut self, at: usize, value: u32) {
        if let Some(place) = self.0.get_mut(at..at + 4) {
            place.copy_from_slice(&value.to_le_bytes());
        }
    }

    /// Zeros at the end; where they begin.
    fn room(&mut self, bytes: usize) -> usize {
        let at = self.0.len().next_multiple_of(4);
        self.0.resize(at + bytes, 0);
        at
    }

    /// A string at the end; its address.
    fn string(&mut self, bytes: &[u8]) -> u32 {
        let at = self.0.len();
        self.0.extend_from_slice(bytes);
        self.0.push(0);
        INFORMATION as u32 + at as u32
    }
}
