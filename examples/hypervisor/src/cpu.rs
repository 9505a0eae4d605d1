//! The instructions that Rust has no name for.

use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count, _rdtsc, CpuidResult};

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

/// Reads a model-specific register.
///
/// # Safety
/// The CPU has the register, or the read raises #GP.
pub unsafe fn read_msr(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the caller says that the register is there.
    unsafe {
        asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a model-specific register.
///
/// # Safety
/// The register and the value are ones with which this program goes on.
pub unsafe fn write_msr(register: u32, value: u64) {
    // SAFETY: the caller answers for what the register does.
    unsafe {
        asm!("wrmsr", in("ecx") register, in("eax") value as u32, in("edx") (value >> 32) as u32,
             options(nostack, preserves_flags));
    }
}

/// The time-stamp counter. In Bochs, and in QEMU with `-icount`, it counts instructions.
#[inline(always)]
pub fn timestamp() -> u64 {
    // SAFETY: every CPU with long mode has it, and ring 0 may always read it.
    unsafe { _rdtsc() }
}

/// One leaf of CPUID.
pub fn cpuid(leaf: u32) -> CpuidResult {
    __cpuid(leaf)
}

/// One leaf of CPUID with a subleaf.
pub fn cpuid_count(leaf: u32, subleaf: u32) -> CpuidResult {
    __cpuid_count(leaf, subleaf)
}

/// Interrupts are taken from here on.
pub fn enable_interrupts() {
    // SAFETY: the IDT is loaded before the first Rust code that calls this.
    unsafe { asm!("sti", options(nostack)) };
}

/// No interrupt is taken from here on.
pub fn disable_interrupts() {
    // SAFETY: clearing the flag is always possible in ring 0.
    unsafe { asm!("cli", options(nostack)) };
}

/// Takes the interrupts that are pending now: interrupts are on for one instruction.
pub fn take_pending_interrupts() {
    // SAFETY: as for the two functions above. The instruction after STI is still in its shadow, hence the NOPs.
    unsafe { asm!("sti", "nop", "nop", "cli", options(nostack)) };
}

/// Sleeps until an interrupt has been taken; returns with interrupts off.
pub fn wait_for_interrupt() {
    // SAFETY: STI's shadow makes the pair atomic: no interrupt is lost between the two.
    unsafe { asm!("sti", "hlt", "cli", options(nostack)) };
}

/// Stops this CPU for good.
pub fn stop() -> ! {
    loop {
        // SAFETY: nothing runs on this CPU any more.
        unsafe { asm!("cli", "hlt", options(nostack)) };
    }
}

/// Turns on the extended state of the FPU: SSE, and XSAVE with x87 and SSE in XCR0 where the CPU has it.
///
/// The boot code has set what SSE needs already.
pub fn enable_extended_state() {
    const HAS_XSAVE: u32 = 1 << 26;
    const CR4_OSXSAVE: u64 = 1 << 18;
    const XCR0_X87_SSE: u32 = 0b11;

    // SAFETY: leaves the FPU in its initial state, on this CPU only; nobody has used it yet.
    unsafe { asm!("fninit", options(nostack)) };
    if cpuid(1).ecx & HAS_XSAVE == 0 {
        return;
    }
    // SAFETY: CPUID says that the CPU has XSAVE, so the bit exists and XSETBV after it; x87 and SSE are always valid.
    unsafe {
        let mut cr4: u64;
        asm!("mov {}, cr4", out(reg) cr4, options(nomem, nostack, preserves_flags));
        cr4 |= CR4_OSXSAVE;
        asm!("mov cr4, {}", in(reg) cr4, options(nostack, preserves_flags));
        asm!("xsetbv", in("ecx") 0, in("eax") XCR0_X87_SSE, in("edx") 0, options(nostack, preserves_flags));
    }
}
