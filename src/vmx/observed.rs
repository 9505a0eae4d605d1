//! What is read of an exit for whoever watches the run loop, and how a trace says it.

use super::loaded::Vmcs;
#[cfg(feature = "trace")]
use crate::trace::{TraceEntry, Vocabulary};
use crate::{
    guest::registers::GuestRegisters,
    observer::Exited,
    spec::intel::{
        exits::{ExitReason, ExitReasonWord},
        payloads,
        vmcs::*,
    },
};

/// The exit that has just happened.
pub(super) struct JustExited<'a> {
    pub(super) reason: ExitReasonWord,
    pub(super) rip: u64,
    pub(super) registers: &'a GuestRegisters,
}

impl Exited for JustExited<'_> {
    #[inline(always)]
    fn code(&self) -> u64 {
        self.reason.basic_reason().into()
    }

    #[inline(always)]
    fn word(&self) -> u32 {
        self.reason.bits()
    }

    #[inline(always)]
    fn rip(&self) -> u64 {
        self.rip
    }

    #[inline(always)]
    fn registers(&self) -> (u32, u32) {
        (self.registers.rax as u32, self.registers.rcx as u32)
    }
}

/// What the VMCS says of an exit with this reason besides: the exit qualification, and the guest-physical address or the
/// interruption information. A VMREAD for each that the exit has, and none for another.
#[inline(never)]
pub(super) fn information(vmcs: &Vmcs<'_>, reason: ExitReasonWord) -> [u64; 2] {
    let reason = ExitReason(reason.basic_reason());
    let qualification = if payloads::has_qualification(reason) { vmcs.read(EXIT_QUALIFICATION) } else { 0 };
    let more = if payloads::has_guest_physical_address(reason) {
        // Only a CPU with EPT has such exits, and the field.
        vmcs.has().map_or(0, |witness| vmcs.read_if(GUEST_PHYSICAL_ADDRESS, witness))
    } else if payloads::has_interruption_information(reason) {
        u64::from(vmcs.read(VM_EXIT_INTERRUPTION_ERROR_CODE)) << 32
            | u64::from(vmcs.read(VM_EXIT_INTERRUPTION_INFORMATION).bits())
    } else {
        0
    };
    [qualification, more]
}

/// The names of VMX's exits.
#[cfg(feature = "trace")]
pub(super) static VOCABULARY: Vocabulary = Vocabulary { code: u64::from, name, has_information, details };

#[cfg(feature = "trace")]
fn reason(code: u64) -> ExitReason {
    ExitReason(ExitReasonWord::from_bits(code as u32).basic_reason())
}

#[cfg(feature = "trace")]
fn name(code: u64) -> Option<&'static str> {
    reason(code).name()
}

#[cfg(feature = "trace")]
fn has_information(code: u64) -> [bool; 2] {
    let reason = reason(code);
    let more = payloads::has_guest_physical_address(reason) || payloads::has_interruption_information(reason);
    [payloads::has_qualification(reason), more]
}

#[cfg(feature = "trace")]
fn details(entry: &TraceEntry, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
    use crate::spec::intel::structures::ExitInterruptionInformation;

    let reason = reason(entry.code);
    let flags = ExitReasonWord::from_bits(entry.code as u32).with_basic_reason(0);
    if !flags.is_empty() {
        write!(f, ", {flags:?}")?;
    }
    if entry.info1 != 0 {
        f.write_str(", ")?;
        payloads::write_qualification(reason, entry.info1, f)?;
    }
    if payloads::has_guest_physical_address(reason) {
        write!(f, ", guest-physical {:#x}", entry.info2)?;
    } else if payloads::has_interruption_information(reason) {
        let information = ExitInterruptionInformation::from_bits(entry.info2 as u32);
        write!(f, ", {information:?}")?;
        if information.contains(ExitInterruptionInformation::ERROR_CODE_VALID) {
            write!(f, ", error code {:#x}", entry.info2 >> 32)?;
        }
    }
    match reason {
        ExitReason::CPUID => write!(f, ", EAX {:#x}, ECX {:#x}", entry.eax, entry.ecx),
        ExitReason::RDMSR | ExitReason::WRMSR | ExitReason::XSETBV => write!(f, ", ECX {:#x}", entry.ecx),
        ExitReason::VMCALL => write!(f, ", EAX {:#x}", entry.eax),
        _ => Ok(()),
    }
}

#[cfg(all(test, feature = "trace"))]
mod tests;
