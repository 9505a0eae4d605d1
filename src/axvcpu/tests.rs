//! What the framework is told of exits, and what is remembered for its answers.

use super::*;
use crate::{Access, Unhandled};

fn told(adapter: &mut Adapter, exit: VmExit) -> AxVCpuExitReason {
    adapter.translate(exit, &GuestRegisters::default()).expect("a word for it")
}

fn ipi(adapter: &mut Adapter, destination: ApicDestination, delivery: ApicDeliveryMode) -> AxVCpuExitReason {
    told(adapter, VmExit::Ipi(ApicMessage { destination, delivery, vector: 0x9a, level: false }))
}

/// Whom the next exits of a message name: start-up messages by their entry point, interrupts by their vector.
fn target(exit: Option<AxVCpuExitReason>) -> Option<(u64, usize)> {
    match exit? {
        AxVCpuExitReason::CpuUp { target_cpu, entry_point, arg: 0 } => Some((target_cpu, entry_point.as_usize())),
        AxVCpuExitReason::SendIPI { target_cpu, send_to_all: false, send_to_self: false, vector, .. } => {
            Some((target_cpu, vector as usize))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_read_waits_for_the_register_that_it_names() {
    let mut adapter = Adapter::default();
    let exit = told(&mut adapter, VmExit::IoRead { port: 0x60, width: Width::Word });
    assert!(matches!(exit, AxVCpuExitReason::IoRead { port: Port(0x60), width: AccessWidth::Word }));
    assert_eq!(adapter.awaited, Some(0));

    let exit = told(&mut adapter, VmExit::MsrRead { msr: 0x802 });
    assert!(matches!(exit, AxVCpuExitReason::SysRegRead { addr: SysRegAddr(0x802), reg: 0 }));
    assert_eq!(adapter.awaited, Some(0));

    // MOVSX RBX, and an instruction without a destination of its own (TEST, say).
    for (register, number) in [(Some(RegisterIndex::RBX), RegisterIndex::RBX.number()), (None, 0)] {
        let read = VmExit::MmioRead {
            gpa: 0xfec0_0010,
            width: Width::Byte,
            register,
            register_width: Width::Dword,
            sign_extend: true,
        };
        let AxVCpuExitReason::MmioRead { addr, width, reg, reg_width, signed_ext } = told(&mut adapter, read) else {
            panic!("another exit")
        };
        assert_eq!(
            (addr.as_usize(), width, reg, reg_width),
            (0xfec0_0010, AccessWidth::Byte, number, AccessWidth::Dword)
        );
        assert!(signed_ext);
        assert_eq!(adapter.awaited, Some(number));
    }
}

#[test]
fn writes_wait_for_nothing() {
    let mut adapter = Adapter::default();
    for exit in [
        VmExit::IoWrite { port: 0x80, width: Width::Dword, data: 0xffff_ffff },
        VmExit::MmioWrite { gpa: 0xfec0_0000, width: Width::Qword, data: u64::MAX },
        VmExit::MsrWrite { msr: 0x830, value: u64::MAX },
        VmExit::Halt,
    ] {
        told(&mut adapter, exit);
        assert_eq!(adapter.awaited, None);
    }
    let exit = told(&mut adapter, VmExit::IoWrite { port: 0x80, width: Width::Dword, data: 0xffff_ffff });
    assert!(matches!(exit, AxVCpuExitReason::IoWrite { port: Port(0x80), data: 0xffff_ffff, .. }));
    let exit = told(&mut adapter, VmExit::MsrWrite { msr: 0x830, value: u64::MAX });
    assert!(matches!(exit, AxVCpuExitReason::SysRegWrite { addr: SysRegAddr(0x830), value: u64::MAX }));
}

#[test]
fn a_nested_page_fault_has_the_flags_of_the_access() {
    for bits in 0..8 {
        let access = Access { read: bits & 1 != 0, write: bits & 2 != 0, fetch: bits & 4 != 0 };
        let fault = NestedFault { gpa: 0x1234_5678, gva: None, access, present: false, table_walk: false };
        let AxVCpuExitReason::NestedPageFault { addr, access_flags } = nested_page_fault(&fault) else {
            panic!("another exit")
        };
        assert_eq!(addr.as_usize(), 0x1234_5678);
        assert_eq!(access_flags.contains(MappingFlags::READ), access.read);
        assert_eq!(access_flags.contains(MappingFlags::WRITE), access.write);
        assert_eq!(access_flags.contains(MappingFlags::EXECUTE), access.fetch);
    }
}

#[test]
fn a_failed_entry_has_a_code_and_its_details_stay() {
    // VMX: the exit reason with its flag, or the error of VMLAUNCH; SVM: VMEXIT_INVALID.
    for (failure, told_code) in [
        (EntryFailure::exit(0x8000_0021, 3), 0x8000_0021),
        (EntryFailure::instruction(7), 7),
        (EntryFailure::svm(u64::MAX), u64::MAX),
        (EntryFailure::svm(u32::MAX.into()), u32::MAX.into()),
    ] {
        let mut adapter = Adapter::default();
        let exit = told(&mut adapter, VmExit::EntryFailure(failure));
        let AxVCpuExitReason::FailEntry { hardware_entry_failure_reason } = exit else { panic!("{exit:?}") };
        assert_eq!(hardware_entry_failure_reason, told_code);
        assert_eq!(adapter.last_entry_failure, Some(failure));
    }
}

#[test]
fn interrupts_of_the_host_and_other_ends() {
    let mut adapter = Adapter::default();
    let exit = told(&mut adapter, VmExit::ExternalInterrupt { vector: Some(0x41) });
    assert!(matches!(exit, AxVCpuExitReason::ExternalInterrupt { vector: 0x41 }));
    for exit in [
        VmExit::ExternalInterrupt { vector: None },
        VmExit::Interrupted,
        VmExit::Nothing,
        VmExit::TimeSlice,
        VmExit::EndOfInterrupt { vector: 0x30 },
    ] {
        assert!(matches!(told(&mut adapter, exit), AxVCpuExitReason::Nothing), "{exit:?}");
    }
    for exit in [VmExit::Halt, VmExit::WaitForStartup] {
        assert!(matches!(told(&mut adapter, exit), AxVCpuExitReason::Halt), "{exit:?}");
    }
    assert!(matches!(told(&mut adapter, VmExit::Shutdown), AxVCpuExitReason::SystemDown));
    let registers = GuestRegisters { rdi: 1, rsi: 2, rdx: 3, rcx: 4, r8: 5, r9: 6, ..GuestRegisters::default() };
    let exit = adapter.translate(VmExit::Hypercall { nr: 7 }, &registers);
    assert!(matches!(exit, Ok(AxVCpuExitReason::Hypercall { nr: 7, args: [1, 2, 3, 4, 5, 6] })));
    let unknown = VmExit::Unhandled(Unhandled { code: 0x5a5, info1: 0, info2: 0 });
    assert!(matches!(adapter.translate(unknown, &registers), Err(AxError::Unsupported)));
}

#[test]
fn messages_between_vcpus_are_told_one_target_at_a_time() {
    let mut adapter = Adapter::default();
    let first = ipi(&mut adapter, ApicDestination::Physical(3), ApicDeliveryMode::START_UP);
    assert_eq!(target(Some(first)), Some((3, 0x9a000)));
    assert!(adapter.next_target().is_none());

    let first = ipi(&mut adapter, ApicDestination::Physical(5), ApicDeliveryMode::FIXED);
    assert_eq!(target(Some(first)), Some((5, 0x9a)));
    assert!(adapter.next_target().is_none());

    // The second cluster of x2APIC mode: ids 16 to 31.
    let several = ApicDestination::Logical(1 << 16 | 0x8005);
    let first = ipi(&mut adapter, several, ApicDeliveryMode::FIXED);
    assert_eq!(target(Some(first)), Some((16, 0x9a)));
    assert_eq!(target(adapter.next_target()), Some((18, 0x9a)));
    assert_eq!(target(adapter.next_target()), Some((31, 0x9a)));
    assert!(adapter.next_target().is_none());

    // Of those that a message with the lowest priority names, one gets it.
    let first = ipi(&mut adapter, several, ApicDeliveryMode::LOWEST_PRIORITY);
    assert_eq!(target(Some(first)), Some((16, 0x9a)));
    assert!(adapter.next_target().is_none());

    // For nobody.
    let none = ipi(&mut adapter, ApicDestination::Logical(0), ApicDeliveryMode::FIXED);
    assert!(matches!(none, AxVCpuExitReason::Nothing));
}

#[test]
fn messages_for_all_and_those_without_a_word() {
    let mut adapter = Adapter::default();
    for destination in [ApicDestination::All, ApicDestination::Others] {
        let exit = ipi(&mut adapter, destination, ApicDeliveryMode::FIXED);
        let AxVCpuExitReason::SendIPI { send_to_all: true, send_to_self: false, vector: 0x9a, .. } = exit else {
            panic!("{exit:?}")
        };
        assert!(matches!(ipi(&mut adapter, destination, ApicDeliveryMode::INIT), AxVCpuExitReason::Nothing));
    }
    // The start-up message that follows it starts the vCPU.
    for delivery in [ApicDeliveryMode::INIT, ApicDeliveryMode::NMI, ApicDeliveryMode::SMI] {
        let exit = ipi(&mut adapter, ApicDestination::Physical(1), delivery);
        assert!(matches!(exit, AxVCpuExitReason::Nothing), "{delivery:?}");
        assert!(adapter.next_target().is_none());
    }
}

#[test]
fn modes_of_the_start() {
    let adapter = Adapter { entry: Some(0x7c00), ..Adapter::default() };
    assert_eq!(adapter.start_state(StartMode::RealMode), Ok(StartState::RealMode { entry: 0x7c00 }));
    assert_eq!(adapter.start_state(StartMode::Protected), Ok(StartState::Protected { entry: 0x7c00 }));
    let long = StartState::Long { entry: 0x7c00, cr3: 0x1000 };
    assert_eq!(adapter.start_state(StartMode::Long { cr3: 0x1000 }), Ok(long));
    assert_eq!(Adapter::default().start_state(StartMode::RealMode), Err(AxError::BadState));
    let far = Adapter { entry: Some(1 << 32), ..Adapter::default() };
    assert_eq!(far.start_state(StartMode::Protected), Err(AxError::InvalidInput));
}
