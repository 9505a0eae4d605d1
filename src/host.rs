//! The few host registers that the library reads and writes, each access in one place.

use core::arch::asm;

use crate::spec::{
    Msr,
    x86::{
        msrs::{IA32_FS_BASE, IA32_GS_BASE},
        registers::{Cr4, Dr7, Rflags},
    },
};

/// Reads a model-specific register.
///
/// # Safety
/// This CPU must have it.
#[inline(always)]
pub(crate) unsafe fn rdmsr(msr: Msr) -> u64 {
    crate::count::rdmsr();
    let (low, high): (u32, u32);
    // SAFETY: the caller knows that the register exists; reading has no effect on memory.
    unsafe {
        asm!("rdmsr", in("ecx") msr.0, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags))
    };
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a model-specific register.
///
/// # Safety
/// This CPU must have it, take the value, and the host must bear the consequence.
#[inline(always)]
pub(crate) unsafe fn wrmsr(msr: Msr, value: u64) {
    crate::count::wrmsr();
    // SAFETY: the caller's promise. Not `nomem`: a register may change what memory accesses mean.
    unsafe {
        asm!("wrmsr", in("ecx") msr.0, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack, preserves_flags));
    }
}

/// Host interrupts are off as long as this lives; then IF is what it was.
pub(crate) struct InterruptsOff {
    flags: u64,
}

impl InterruptsOff {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        let flags: u64;
        // SAFETY: in ring 0 CLI only delays interrupts; the flags go back in `drop`. The stack is used below RSP, which
        // `asm!` without `nostack` allows.
        unsafe { asm!("pushfq", "pop {}", "cli", out(reg) flags) };
        Self { flags }
    }
}

#[cfg(feature = "amd")]
impl InterruptsOff {
    /// Whether they were on before.
    #[inline(always)]
    pub(crate) fn were_on(&self) -> bool {
        Rflags::from_bits(self.flags).contains(Rflags::IF)
    }
}

impl Drop for InterruptsOff {
    #[inline(always)]
    fn drop(&mut self) {
        if Rflags::from_bits(self.flags).contains(Rflags::IF) {
            // SAFETY: interrupts were on before, so the host is ready for them.
            unsafe { asm!("sti", options(nostack)) };
        }
    }
}

/// The base of a segment that has no register of its own: with RDFSBASE where the host has enabled it, else from the MSR.
macro_rules! segment_base {
    ($name:ident, $instruction:literal, $msr:expr, $doc:literal) => {
        #[doc = $doc]
        #[inline(always)]
        pub(crate) fn $name(cr4: Cr4) -> u64 {
            if cr4.contains(Cr4::FSGSBASE) {
                let value: u64;
                // SAFETY: CR4.FSGSBASE is 1, and reading has no effect.
                unsafe { asm!(concat!($instruction, " {}"), out(reg) value, options(nomem, nostack, preserves_flags)) };
                value
            } else {
                // SAFETY: every CPU with 64-bit mode has the register.
                unsafe { rdmsr($msr) }
            }
        }
    };
}

segment_base!(fs_base, "rdfsbase", IA32_FS_BASE, "The host's FS base.");
segment_base!(gs_base, "rdgsbase", IA32_GS_BASE, "The host's GS base.");

macro_rules! control_register {
    ($name:ident, $register:ident, $doc:literal) => {
        #[doc = $doc]
        #[inline(always)]
        pub(crate) fn $name() -> u64 {
            // The unit tests run in ring 3.
            if cfg!(test) { 0 } else { x86_64::registers::control::$register::read_raw() }
        }
    };
}

control_register!(cr0, Cr0, "The host's CR0.");
control_register!(cr2, Cr2, "CR2.");
control_register!(cr4_bits, Cr4, "The host's CR4, raw.");

/// The host's CR4.
#[inline(always)]
pub(crate) fn cr4() -> Cr4 {
    Cr4::from_bits(cr4_bits())
}

/// The host's CR3, with all its bits.
#[inline(always)]
pub(crate) fn cr3() -> u64 {
    if cfg!(test) {
        return 0;
    }
    let value: u64;
    // SAFETY: reading a control register in ring 0 has no effect.
    unsafe { asm!("mov {}, cr3", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// The host's time-stamp counter.
pub(crate) fn timestamp() -> u64 {
    // SAFETY: every CPU with virtualization has RDTSC, and the host runs in ring 0.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Stores it, in the two halves in which the CPU gives it: nobody has to put them together.
#[cfg(feature = "trace")]
#[inline(always)]
pub(crate) fn store_timestamp(to: &mut u64) {
    let (low, high): (u32, u32);
    // SAFETY: as above; it changes nothing but these registers.
    unsafe { asm!("rdtsc", out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags)) };
    let to = core::ptr::from_mut(to).cast::<u32>();
    // SAFETY: both are in the `u64`. Volatile, since the compiler would put them together otherwise, to store them as one.
    unsafe {
        to.write_volatile(low);
        to.add(1).write_volatile(high);
    }
}

/// Writes CR2, which neither VMX nor its VMCS switches.
#[inline(always)]
pub(crate) fn set_cr2(value: u64) {
    if cfg!(test) {
        return;
    }
    // SAFETY: CR2 only tells a page-fault handler an address; the host's handler reads it right after its own fault.
    unsafe { asm!("mov cr2, {}", in(reg) value, options(nomem, nostack, preserves_flags)) };
}

/// Calls the host's handler of an exception vector, as if the exception had happened right here.
#[inline(always)]
pub(crate) fn raise<const VECTOR: u8>() {
    if cfg!(test) {
        return;
    }
    // SAFETY: the host's IDT has gates for the vectors that the CPU may deliver at any time, NMI and machine check, which
    // are the only ones that the library uses this for; their handlers return here.
    unsafe { asm!("int {vector}", vector = const VECTOR) };
}

/// The host's debug registers, which a guest's run changes: an exit sets DR7 to its reset value on both vendors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostDebug {
    /// DR7, if it enables a breakpoint; else 0.
    dr7: u64,
    dr6: u64,
    breakpoints: [u64; 4],
}

impl HostDebug {
    /// Of a host that uses no breakpoints.
    pub(crate) const NONE: Self = Self { dr7: 0, dr6: 0, breakpoints: [0; 4] };

    /// Reads them and switches the host's breakpoints off. Only those of a host that uses some are worth the time.
    pub(crate) fn save() -> Self {
        if cfg!(test) {
            return Self::NONE;
        }
        let mut saved = Self::NONE;
        // SAFETY: reading debug registers in ring 0 has no effect.
        unsafe {
            asm!("mov {}, dr7", out(reg) saved.dr7, options(nomem, nostack, preserves_flags));
            if !Dr7::from_bits(saved.dr7).intersects(crate::guest::debug::ENABLES) {
                return Self::NONE;
            }
            asm!("mov {}, dr6", out(reg) saved.dr6, options(nomem, nostack, preserves_flags));
            asm!("mov {}, dr0", out(reg) saved.breakpoints[0], options(nomem, nostack, preserves_flags));
            asm!("mov {}, dr1", out(reg) saved.breakpoints[1], options(nomem, nostack, preserves_flags));
            asm!("mov {}, dr2", out(reg) saved.breakpoints[2], options(nomem, nostack, preserves_flags));
            asm!("mov {}, dr3", out(reg) saved.breakpoints[3], options(nomem, nostack, preserves_flags));
            let none = Dr7::from_bits(saved.dr7).without(crate::guest::debug::ENABLES).bits();
            asm!("mov dr7, {}", in(reg) none, options(nomem, nostack, preserves_flags));
        }
        saved
    }

    /// Writes them back, on the same CPU.
    pub(crate) fn restore(&self) {
        if self.dr7 == 0 {
            return;
        }
        set_breakpoints(self.breakpoints);
        // SAFETY: these are the host's own values from `save`.
        unsafe {
            asm!("mov dr6, {}", in(reg) self.dr6, options(nomem, nostack, preserves_flags));
            asm!("mov dr7, {}", in(reg) self.dr7, options(nomem, nostack, preserves_flags));
        }
    }
}

/// Writes DR0 to DR3.
pub(crate) fn set_breakpoints(addresses: [u64; 4]) {
    if cfg!(test) {
        return;
    }
    let [dr0, dr1, dr2, dr3] = addresses;
    // SAFETY: while a vCPU is bound the host has no breakpoint enabled: `HostDebug::save` switches them off, and an exit does.
    unsafe {
        asm!("mov dr0, {}", in(reg) dr0, options(nomem, nostack, preserves_flags));
        asm!("mov dr1, {}", in(reg) dr1, options(nomem, nostack, preserves_flags));
        asm!("mov dr2, {}", in(reg) dr2, options(nomem, nostack, preserves_flags));
        asm!("mov dr3, {}", in(reg) dr3, options(nomem, nostack, preserves_flags));
    }
}
