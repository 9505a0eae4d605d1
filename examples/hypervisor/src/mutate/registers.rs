//! The instructions that the harnesses of both vendors need.

use core::arch::asm;

/// Reads a register that this CPU has.
///
/// # Safety
/// This CPU has it.
pub unsafe fn rdmsr(address: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the caller's promise; reading changes nothing.
    unsafe {
        asm!("rdmsr", in("ecx") address, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Reads control registers and selectors of the host.
macro_rules! read {
    ($register:literal) => {{
        let value: u64;
        // SAFETY: reading changes nothing.
        unsafe { core::arch::asm!(concat!("mov {}, ", $register), out(reg) value, options(nomem, nostack, preserves_flags)) };
        value
    }};
}
pub(super) use read;

/// What SGDT and SIDT store.
#[derive(Default)]
#[repr(C, packed)]
pub struct Table {
    pub limit: u16,
    pub base: u64,
}

/// The global descriptor table's register.
pub fn gdtr() -> Table {
    let mut table = Table::default();
    // SAFETY: writes ten bytes into `table`.
    unsafe { asm!("sgdt [{}]", in(reg) &raw mut table, options(nostack, preserves_flags)) };
    table
}

/// The interrupt descriptor table's register.
pub fn idtr() -> Table {
    let mut table = Table::default();
    // SAFETY: writes ten bytes into `table`.
    unsafe { asm!("sidt [{}]", in(reg) &raw mut table, options(nostack, preserves_flags)) };
    table
}

/// The selector of the task register.
pub fn task_register() -> u16 {
    let value: u16;
    // SAFETY: reading changes nothing.
    unsafe { asm!("str {:x}", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// CPUID, zeros for a leaf that this CPU does not have.
pub fn cpuid(leaf: u32, subleaf: u32) -> [u32; 4] {
    use raw_cpuid::native_cpuid::cpuid_count;
    if leaf > cpuid_count(leaf & 0x8000_0000, 0).eax {
        return [0; 4];
    }
    let result = cpuid_count(leaf, subleaf);
    [result.eax, result.ebx, result.ecx, result.edx]
}

/// Physical memory, as a CPU sees it: behind its end every bit is 1.
///
/// # Safety
/// What is in memory there is nobody's reference.
pub unsafe fn physical(address: u64, bytes: u32, end: u64) -> Option<u64> {
    if address.checked_add(bytes.into())? > end {
        return Some(super::random::ones(8 * bytes));
    }
    // SAFETY: memory is mapped one to one up to its end; the caller's promise for the rest.
    Some(unsafe {
        match bytes {
            1 => (address as *const u8).read_volatile().into(),
            2 => (address as *const u16).read_unaligned().into(),
            4 => (address as *const u32).read_unaligned().into(),
            _ => (address as *const u64).read_unaligned(),
        }
    })
}
