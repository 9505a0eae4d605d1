//! What a multiboot loader tells the image, for Bochs, which has no loader: the information block with the command line, the
//! memory, and perhaps one module. It becomes a RAM image; the ROM passes its address on.

/// Where the block lies; the ROM says the same.
pub const ADDRESS: u32 = 0x8_F000;
/// Where a module lies: at the start of one of Bochs' 128 KiB blocks, and above the image with its heap.
pub const MODULE: u32 = 64 << 20;

const MEMORY_MAP: u32 = ADDRESS + 0x100;
const MODULES: u32 = ADDRESS + 0x200;
const MODULE_NAME: u32 = ADDRESS + 0x300;
const COMMAND_LINE: u32 = ADDRESS + 0x1000;

/// The flags of the block: which of its fields mean something.
const HAS_MEMORY: u32 = 1 << 0;
const HAS_COMMAND_LINE: u32 = 1 << 2;
const HAS_MODULES: u32 = 1 << 3;
const HAS_MEMORY_MAP: u32 = 1 << 6;
/// The type of memory that may be used.
const USABLE: u32 = 1;
/// What a disk's sector is; Bochs wants its files in such pieces.
const SECTOR: usize = 512;

/// The bytes at [`ADDRESS`], for a machine with so many MiB and a module of so many bytes.
pub fn information(command_line: &str, mebibytes: u32, module: Option<u32>) -> Vec<u8> {
    let low = 0x9_0000 + 0x1_0000; // everything below the display's memory
    let high = (u64::from(mebibytes) << 20) - (1 << 20);
    let map = [(0_u64, u64::from(low)), (1 << 20, high)];
    let mut block = Bytes(Vec::new());
    block.at(0, HAS_MEMORY | HAS_COMMAND_LINE | HAS_MEMORY_MAP | if module.is_some() { HAS_MODULES } else { 0 });
    block.at(4, low >> 10);
    block.at(8, (high >> 10) as u32);
    block.at(16, COMMAND_LINE);
    if let Some(length) = module {
        block.at(20, 1);
        block.at(24, MODULES);
        for (index, value) in [MODULE, MODULE + length, MODULE_NAME, 0].into_iter().enumerate() {
            block.at(MODULES - ADDRESS + 4 * index as u32, value);
        }
        block.text(MODULE_NAME - ADDRESS, "package");
    }
    block.at(44, 24 * map.len() as u32);
    block.at(48, MEMORY_MAP);
    for (index, (start, length)) in map.into_iter().enumerate() {
        let entry = MEMORY_MAP - ADDRESS + 24 * index as u32;
        block.at(entry, 20); // the entry's size without this field
        for (offset, value) in [(4, start), (12, length)] {
            block.at(entry + offset, value as u32);
            block.at(entry + offset + 4, (value >> 32) as u32);
        }
        block.at(entry + 20, USABLE);
    }
    block.text(COMMAND_LINE - ADDRESS, command_line);
    let mut bytes = block.0;
    bytes.resize(bytes.len().next_multiple_of(SECTOR), 0);
    bytes
}

/// Puts bytes at an address behind the block.
pub fn put(information: &mut Vec<u8>, address: u32, bytes: &[u8]) {
    let mut block = Bytes(std::mem::take(information));
    block.put(address - ADDRESS, bytes);
    *information = block.0;
    information.resize(information.len().next_multiple_of(SECTOR), 0);
}

/// Bytes that grow when something is written behind their end.
struct Bytes(Vec<u8>);

impl Bytes {
    fn put(&mut self, offset: u32, bytes: &[u8]) {
        let start = offset as usize;
        let end = start + bytes.len();
        self.0.resize(self.0.len().max(end), 0);
        self.0[start..end].copy_from_slice(bytes);
    }

    fn at(&mut self, offset: u32, value: u32) {
        self.put(offset, &value.to_le_bytes());
    }

    fn text(&mut self, offset: u32, text: &str) {
        self.put(offset, text.as_bytes());
        self.put(offset + text.len() as u32, &[0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(bytes: &[u8], offset: u32) -> u32 {
        let start = offset as usize;
        u32::from_le_bytes(bytes[start..start + 4].try_into().expect("four bytes"))
    }

    #[test]
    fn a_command_line_alone() {
        let bytes = information("scenario=real cpus=1", 256, None);
        assert_eq!(word(&bytes, 0), 0b100_0101);
        assert_eq!((word(&bytes, 4), word(&bytes, 8)), (640, 255 << 10));
        let line = (word(&bytes, 16) - ADDRESS) as usize;
        assert_eq!(&bytes[line..line + 21], b"scenario=real cpus=1\0");
        assert_eq!(bytes.len() % SECTOR, 0);
        let map = word(&bytes, 48) - ADDRESS;
        let entry = |index: u32| [0, 4, 12, 20].map(|offset| word(&bytes, map + 24 * index + offset));
        assert_eq!((word(&bytes, 44), entry(0), entry(1)), (48, [20, 0, 640 << 10, 1], [20, 1 << 20, 255 << 20, 1]));
    }

    #[test]
    fn a_module_has_its_place() {
        let bytes = information("guest", 512, Some(0x12345));
        assert_eq!(word(&bytes, 0) & HAS_MODULES, HAS_MODULES);
        assert_eq!(word(&bytes, 20), 1);
        let list = word(&bytes, 24) - ADDRESS;
        assert_eq!((word(&bytes, list), word(&bytes, list + 4)), (MODULE, MODULE + 0x12345));
        assert_eq!(MODULE % (128 << 10), 0, "only the first of Bochs' blocks is where it should be from the start");
    }
}
