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
    pub(super) vmcs: &'a Vmcs<'a>,
    pub(super) reason: ExitReasonWord,
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
        self.vmcs.read(GUEST_RIP)
    }

    /// A VMREAD for each that the exit has, and none for another.
    #[inline(always)]
    fn information(&self) -> [u64; 2] {
        let reason = ExitReason(self.reason.basic_reason());
        let qualification = if payloads::has_qualification(reason) { self.vmcs.read(EXIT_QUALIFICATION) } else { 0 };
        let more = if payloads::has_guest_physical_address(reason) {
            // Only a CPU with EPT has such exits, and the field.
            self.vmcs.has().map_or(0, |witness| self.vmcs.read_if(GUEST_PHYSICAL_ADDRESS, witness))
        } else if payloads::has_interruption_information(reason) {
            u64::from(self.vmcs.read(VM_EXIT_INTERRUPTION_ERROR_CODE)) << 32
                | u64::from(self.vmcs.read(VM_EXIT_INTERRUPTION_INFORMATION).bits())
        } else {
            0
        };
        [qualification, more]
    }

    #[inline(always)]
    fn registers(&self) -> (u32, u32) {
        (self.registers.rax as u32, self.registers.rcx as u32)
    }
}

/// The names of VMX's exits.
#[cfg(feature = "trace")]
pub(super) static VOCABULARY: Vocabulary = Vocabulary { code: u64::from, name, details };

#[cfg(feature = "trace")]
fn reason(code: u64) -> ExitReason {
    ExitReason(ExitReasonWord::from_bits(code as u32).basic_reason())
}

#[cfg(feature = "trace")]
fn name(code: u64) -> Option<&'static str> {
    reason(code).name()
}

#[cfg(feature = "trace")]
fn details(entry: &TraceEntry, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
    use crate::spec::intel::structures::ExitInterruptionInformation;

    let reason = reason(entry.code);
    let flags = ExitReasonWord::from_bits(entry.code as u32).with_basic_reason(0);
    if !flags.is_empty() {
        write!(f, ", {flags:?}")?;
    }
    if payloads::has_qualification(reason) && entry.info1 != 0 {
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
mod tests {
    use std::{format, string::String};

    use super::{
        super::{capabilities::Capabilities, loaded::MapBackend},
        *,
    };
    use crate::{
        exit::VmExit, frame::FrameSource, nested::mock::MockFrames, observer::Observer,
        spec::intel::exit_qualifications::IoQualification,
    };

    fn last<S: FrameSource>(observer: &Observer<S>) -> String {
        let entry = observer.trace.entries(0, &VOCABULARY).next_back().expect("an exit");
        let line = format!("{entry}");
        line.split(';').next().unwrap_or_default().into()
    }

    #[test]
    fn exits_in_words() {
        let allowed = Capabilities::with_everything().allowed;
        let vmcs = Vmcs::with_backend(MapBackend::new(), &allowed);
        let registers = GuestRegisters { rax: 0x1_4000_0000, rcx: 0x1b, ..GuestRegisters::default() };
        let mut observer = Observer::<MockFrames>::new(&crate::VcpuConfig::new(0)).expect("frames");
        vmcs.backend().put(GUEST_RIP.encoding(), 0x7c00);
        vmcs.backend().put(EXIT_QUALIFICATION.encoding(), 0x3f8 << 16 | 1 << 3);
        vmcs.backend().put(GUEST_PHYSICAL_ADDRESS.encoding(), 0xfee0_0300);
        vmcs.backend().put(VM_EXIT_INTERRUPTION_INFORMATION.encoding(), 1 << 31 | 1 << 11 | 3 << 8 | 14);
        vmcs.backend().put(VM_EXIT_INTERRUPTION_ERROR_CODE.encoding(), 2);
        let mut on = |reason: u32| {
            observer.enter_guest();
            let reason = ExitReasonWord::from_bits(reason);
            observer.exited(&JustExited { vmcs: &vmcs, reason, registers: &registers });
            last(&observer)
        };
        let port = IoQualification::DIRECTION_IN.with_port(0x3f8);
        assert_eq!(on(30), format!("#0 IO_INSTRUCTION at 0x7c00, {port:?}"));
        assert_eq!(on(10), "#1 CPUID at 0x7c00, EAX 0x40000000, ECX 0x1b");
        assert_eq!(on(31), "#2 RDMSR at 0x7c00, ECX 0x1b");
        assert_eq!(on(12), "#3 HLT at 0x7c00");
        let word = ExitReasonWord::ENTRY_FAILURE;
        assert_eq!(
            on(word.bits() | 33),
            format!("#4 ENTRY_FAILURE_GUEST_STATE at 0x7c00, {word:?}, EntryFailureQualification(0x3f80008)")
        );
        assert!(on(48).ends_with(", guest-physical 0xfee00300"));
        assert!(on(0).ends_with(", error code 0x2"), "{}", on(0));
        assert!(on(1).contains("VECTOR: 0xe"), "{}", on(1));
        assert_eq!(on(200), "#8 exit 0xc8 at 0x7c00");
        observer.left_to_vmm(&VmExit::Shutdown);
        assert_eq!(observer.trace.count(), 9);
    }
}
