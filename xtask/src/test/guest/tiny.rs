//! Multiboot images of a few instructions, each with one end. In machine code, since they are so short.

/// Where they are loaded and entered, with this header before the first instruction.
const ADDRESS: u32 = 2 << 20;
const HEADER: usize = 32;
/// Where [`triple_fault`] has an empty interrupt table: the bytes behind the header, and six zeroes behind those of the code.
const FLAGS: u32 = 1 << 16;
const MAGIC: u32 = 0x1BAD_B002;

/// The image with this code.
fn image(code: &[u8]) -> Vec<u8> {
    let end = ADDRESS + (HEADER + code.len()) as u32;
    let checksum = 0_u32.wrapping_sub(MAGIC.wrapping_add(FLAGS));
    // Magic, flags, checksum; then the addresses of the header, the first byte, the end of the file and of memory, the entry.
    let header = [MAGIC, FLAGS, checksum, ADDRESS, ADDRESS, end, end, ADDRESS + HEADER as u32];
    header.into_iter().flat_map(u32::to_le_bytes).chain(code.iter().copied()).collect()
}

/// Stays where it is.
const FOREVER: [u8; 2] = [0xEB, 0xFE]; // 1: jmp 1b

fn then_forever(code: &[u8]) -> Vec<u8> {
    image(&[code, &FOREVER].concat())
}

/// Writes a byte to the exit port.
pub fn exit(value: u8) -> Vec<u8> {
    then_forever(&[
        0xB0, value, // mov $value, %al
        0xE6, 0xF4, // out %al, $0xf4
    ])
}

/// Writes ABCD07h to the exit port, in one piece.
pub fn exit_wide() -> Vec<u8> {
    then_forever(&[
        0xB8, 0x07, 0xCD, 0xAB, 0x00, // mov $0xabcd07, %eax
        0xE7, 0xF4, // out %eax, $0xf4
    ])
}

/// Switches the machine off through its ACPI register.
pub fn power_off() -> Vec<u8> {
    then_forever(&[
        0xBA, 0x04, 0x06, 0x00, 0x00, // mov $0x604, %edx
        0xB8, 0x00, 0x34, 0x00, 0x00, // mov $0x3400, %eax: sleep enable, type 5
        0x66, 0xEF, // out %ax, %dx
    ])
}

/// Has no interrupt table and causes a fault.
pub fn triple_fault() -> Vec<u8> {
    let table = ADDRESS + HEADER as u32 + 9;
    let [a, b, c, d] = table.to_le_bytes();
    image(&[
        0x0F, 0x01, 0x1D, a, b, c, d, // lidt table
        0x0F, 0x0B, // ud2
        0, 0, 0, 0, 0, 0, // table: a limit of 0, at 0
    ])
}

/// Resets the machine through its reset register.
pub fn reset() -> Vec<u8> {
    then_forever(&[
        0xBA, 0xF9, 0x0C, 0x00, 0x00, // mov $0xcf9, %edx
        0xB0, 0x06, // mov $6, %al
        0xEE, // out %al, %dx
    ])
}

/// Halts with interrupts off.
pub fn halt() -> Vec<u8> {
    then_forever(&[
        0xFA, // cli
        0xF4, // hlt
    ])
}

/// Reads a floating-point number from where no memory is.
pub fn strange() -> Vec<u8> {
    then_forever(&[
        0x0F, 0x06, // clts
        0xDB, 0xE3, // fninit
        0xDD, 0x05, 0x00, 0x00, 0x00, 0xE0, // fldl 0xe0000000
    ])
}

/// Executes CPUID so often, and writes 0 to the exit port.
pub fn identify(times: u32) -> Vec<u8> {
    let [a, b, c, d] = times.to_le_bytes();
    then_forever(&[
        0xBE, a, b, c, d, // mov $times, %esi
        0x31, 0xC0, // 1: xor %eax, %eax
        0x0F, 0xA2, // cpuid
        0x4E, // dec %esi
        0x75, 0xF9, // jnz 1b
        0xB0, 0x00, // mov $0, %al
        0xE6, 0xF4, // out %al, $0xf4
    ])
}

/// Never ends.
pub fn forever() -> Vec<u8> {
    image(&FOREVER)
}

/// Sends back what comes in through COM1, until there is a `q`: then it writes 42 to the exit port.
pub fn echo() -> Vec<u8> {
    image(&[
        0xBA, 0xFD, 0x03, 0x00, 0x00, // 1: mov $0x3fd, %edx
        0xEC, // in %dx, %al
        0xA8, 0x01, // test $1, %al: data ready
        0x74, 0xF6, // jz 1b
        0xBA, 0xF8, 0x03, 0x00, 0x00, // mov $0x3f8, %edx
        0xEC, // in %dx, %al
        0xEE, // out %al, %dx
        0x3C, 0x71, // cmp $'q', %al
        0x75, 0xEB, // jne 1b
        0xB0, 0x2A, // mov $42, %al
        0xE6, 0xF4, // out %al, $0xf4
        0xEB, 0xFE, // 2: jmp 2b
    ])
}

/// Sends a checksum of its first module through COM1, four bytes, and switches the machine off.
pub fn checksum() -> Vec<u8> {
    image(&[
        0x8B, 0x73, 0x18, // mov 24(%ebx), %esi: the list of modules
        0x8B, 0x7E, 0x04, // mov 4(%esi), %edi: the end
        0x8B, 0x36, // mov (%esi), %esi
        0x31, 0xC0, // xor %eax, %eax
        0x39, 0xFE, // 1: cmp %edi, %esi
        0x73, 0x0B, // jae 2f
        0xC1, 0xC0, 0x05, // rol $5, %eax
        0x0F, 0xB6, 0x0E, // movzbl (%esi), %ecx
        0x31, 0xC8, // xor %ecx, %eax
        0x46, // inc %esi
        0xEB, 0xF1, // jmp 1b
        0xBA, 0xF8, 0x03, 0x00, 0x00, // 2: mov $0x3f8, %edx
        0xEE, // out %al, %dx
        0xC1, 0xE8, 0x08, // shr $8, %eax
        0xEE, // out %al, %dx
        0xC1, 0xE8, 0x08, // shr $8, %eax
        0xEE, // out %al, %dx
        0xC1, 0xE8, 0x08, // shr $8, %eax
        0xEE, // out %al, %dx
        0xBA, 0x04, 0x06, 0x00, 0x00, // mov $0x604, %edx
        0xB8, 0x00, 0x34, 0x00, 0x00, // mov $0x3400, %eax
        0x66, 0xEF, // out %ax, %dx
        0xEB, 0xFE, // 3: jmp 3b
    ])
}

/// What [`checksum`] sends for these bytes.
pub fn checksum_of(bytes: &[u8]) -> [u8; 4] {
    bytes.iter().fold(0_u32, |sum, byte| sum.rotate_left(5) ^ u32::from(*byte)).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::kernel::Kernel;

    #[test]
    fn they_are_multiboot_images() {
        for image in [exit(1), triple_fault(), echo(), checksum()] {
            assert_eq!(Kernel::identify(&image), Ok(Kernel::Multiboot));
        }
    }

    #[test]
    fn the_checksum_knows_the_order() {
        assert_ne!(checksum_of(&[1, 2]), checksum_of(&[2, 1]));
        assert_eq!(checksum_of(&[1, 2]), [0x22, 0, 0, 0]);
    }
}
