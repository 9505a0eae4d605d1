//! Probing of registers that may fault.
//!
//! Some CPUs raise #GP on a register that their CPUID promises (an emulator on VM_CR, for instance). The library reads
//! such registers with an instruction whose address is in a table: when the embedder's #GP handler finds the interrupted
//! RIP there, it continues at the address that [`fixup`] gives, and the probe reports "absent". An embedder that does so
//! calls [`enable`] once; without that the library does not probe at all.

use core::sync::atomic::{AtomicBool, Ordering};

#[cfg(any(feature = "vmx", feature = "amd"))]
use crate::spec::Msr;

static ENABLED: AtomicBool = AtomicBool::new(false);

/// Says that the host's #GP handler consults [`fixup`].
pub fn enable() {
    ENABLED.store(true, Ordering::Relaxed);
}

/// Where a #GP handler should continue when the fault was raised by a probe of this library; `None` for any other fault.
///
/// A handler replaces the saved RIP by the result and returns (dropping the error code).
pub fn fixup(rip: usize) -> Option<usize> {
    (rip == (&raw const x86_vcpu_probe_rdmsr_access).addr()).then(|| (&raw const x86_vcpu_probe_rdmsr_fault).addr())
}

unsafe extern "C" {
    static x86_vcpu_probe_rdmsr_access: u8;
    static x86_vcpu_probe_rdmsr_fault: u8;
    #[cfg(any(feature = "vmx", feature = "amd"))]
    fn x86_vcpu_probe_rdmsr(msr: u32, value: *mut u64) -> u32;
}

core::arch::global_asm!(
    ".pushsection .text.x86_vcpu_probe_rdmsr, \"ax\", @progbits",
    ".global x86_vcpu_probe_rdmsr",
    ".global x86_vcpu_probe_rdmsr_access",
    ".global x86_vcpu_probe_rdmsr_fault",
    "x86_vcpu_probe_rdmsr:", // edi: the register; rsi: where its value goes
    "mov ecx, edi",
    "x86_vcpu_probe_rdmsr_access:",
    "rdmsr",
    "mov [rsi], eax",
    "mov [rsi + 4], edx",
    "mov eax, 1",
    "ret",
    "x86_vcpu_probe_rdmsr_fault:",
    "xor eax, eax",
    "ret",
    ".popsection",
);

/// What a probe found.
#[cfg(any(feature = "vmx", feature = "amd"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// The register's value.
    Value(u64),
    /// Reading it faulted.
    Absent,
    /// The embedder has no fix-up handler; nothing was read.
    Skipped,
}

/// Reads a register that this CPU may not have.
#[cfg(any(feature = "vmx", feature = "amd"))]
pub(crate) fn probe_msr(msr: Msr) -> Probe {
    if !ENABLED.load(Ordering::Relaxed) {
        return Probe::Skipped;
    }
    let mut value = 0;
    // SAFETY: RDMSR is allowed in ring 0, where the library's embedders run; a #GP is caught by the handler that the
    // embedder vouched for with `enable`, which continues at the second label. `value` is writable for 8 bytes.
    if unsafe { x86_vcpu_probe_rdmsr(msr.0, &raw mut value) } == 0 { Probe::Absent } else { Probe::Value(value) }
}
