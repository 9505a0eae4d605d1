//! Entries of the trace, on a map in place of a VMCS.

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
        observer.exited(&JustExited { reason, rip: vmcs.read(GUEST_RIP), registers: &registers });
        observer.information(information(&vmcs, reason));
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
