//! The instructions that Rust has no name for.

use core::arch::asm;
use core::arch::x86_64::_rdtsc;

use raw_cpuid::{CpuIdResult, native_cpuid::cpuid_count};

/// Reads a byte from a port.
///
/// # Safety
/// Reading some ports has effects on the device.
pub unsafe fn in8(port: u16) -> u8 {
    let value;
    // SAFETY: the caller answers for the device; the instruction touches no memory.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Writes a byte to a port.
///
/// # Safety
/// The device behind the port may do anything, also to memory.
pub unsafe fn out8(port: u16, value: u8) {
    // SAFETY: the caller answers for the device.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nostack, preserves_flags)) };
}

/// The time-stamp counter. In Bochs, and in QEMU with `-icount`, it counts instructions.
#[inline(always)]
pub fn timestamp() -> u64 {
    // SAFETY: every CPU with long mode has it, and ring 0 may always read it.
    unsafe { _rdtsc() }
}

/// One leaf of CPUID; zeros when the CPU does not have it.
fn cpuid(leaf: u32) -> CpuIdResult {
    if leaf > cpuid_count(0, 0).eax { CpuIdResult { eax: 0, ebx: 0, ecx: 0, edx: 0 } } else { cpuid_count(leaf, 0) }
}

/// Takes the interrupts that are pending now: interrupts are on for a moment.
pub fn take_pending_interrupts() {
    // SAFETY: the handlers are in place before the first Rust code that calls this. The instruction after STI is still
    // in its shadow, hence the NOPs.
    unsafe { asm!("sti", "nop", "nop", "cli", options(nostack)) };
}

/// Stops this CPU until the next interrupt, which is handled.
pub fn wait_for_interrupt() {
    // SAFETY: as above; STI's shadow covers the HLT, so no interrupt comes between the two.
    unsafe { asm!("sti", "hlt", "cli", options(nostack)) };
}

/// Stops this CPU for good.
pub fn stop() -> ! {
    loop {
        // SAFETY: nothing runs on this CPU any more.
        unsafe { asm!("cli", "hlt", options(nostack)) };
    }
}

/// Turns on what the CPU has beyond the boot code's: XSAVE, with x87 and SSE in XCR0, and the instructions that read and
/// write the bases of FS and GS. The FPU is in its initial state afterwards.
pub fn enable_features() {
    const HAS_XSAVE: u32 = 1 << 26;
    const HAS_FSGSBASE: u32 = 1 << 0;
    const CR4_OSXSAVE: u64 = 1 << 18;
    const CR4_FSGSBASE: u64 = 1 << 16;
    const XCR0_X87_SSE: u32 = 0b11;

    let has_xsave = cpuid(1).ecx & HAS_XSAVE != 0;
    let has_fsgsbase = cpuid(7).ebx & HAS_FSGSBASE != 0;
    // SAFETY: the bits are set only where CPUID says that they exist, and allow instructions without changing what any
    // other does; x87 and SSE are always valid in XCR0. Nobody has used the FPU yet.
    unsafe {
        asm!("fninit", options(nostack));
        let mut cr4: u64;
        asm!("mov {}, cr4", out(reg) cr4, options(nomem, nostack, preserves_flags));
        if has_xsave {
            cr4 |= CR4_OSXSAVE;
        }
        if has_fsgsbase {
            cr4 |= CR4_FSGSBASE;
        }
        asm!("mov cr4, {}", in(reg) cr4, options(nostack, preserves_flags));
        if has_xsave {
            asm!("xsetbv", in("ecx") 0, in("eax") XCR0_X87_SSE, in("edx") 0, options(nostack, preserves_flags));
        }
    }
}
