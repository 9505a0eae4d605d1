//! The handlers, on a map in place of a VMCS.

extern crate std;

use super::*;
use crate::{
    RegisterIndex, StartState, SystemRegisters, UnknownMsr, VcpuConfig,
    guest::registers::GuestRegisters,
    nested::mock::MockFrames,
    random::Random,
    spec::{
        intel::{
            controls::{EntryControls, SecondaryControls},
            exit_qualifications::{CrAccessQualification, GeneralRegister},
            structures::{EntryInterruptionInformation, InterruptibilityState},
        },
        map::ExitClass,
        x86::{
            msrs::{IA32_APIC_BASE, IA32_EFER, IA32_PAT},
            registers::Cr4,
        },
    },
    vmx::{
        Backend, Capabilities, MapBackend,
        mock::{Vcpu, capabilities, vcpu},
    },
};

fn put<T: crate::spec::FieldValue, A: Copy, C: Copy>(vmcs: &Vmcs<'_>, field: crate::spec::Field<T, A, C>, value: u64) {
    vmcs.backend().put(field.encoding(), value);
}

fn exit(vcpu: &mut Vcpu, vmcs: &Vmcs<'_>, reason: ExitReason) -> Option<VmExit> {
    answer(vcpu, vmcs, ExitReasonWord::from_bits(reason.0.into()))
}

fn answer(vcpu: &mut Vcpu, vmcs: &Vmcs<'_>, reason: ExitReasonWord) -> Option<VmExit> {
    match vcpu.handle_exit::<false>(vmcs, reason, None) {
        Outcome::Exit => Some(vcpu.exit),
        Outcome::Again => None,
    }
}

fn in_long_mode(vcpu: &mut Vcpu, vmcs: &Vmcs<'_>) {
    let start = SystemRegisters::start(StartState::Long { entry: 0x1000, cr3: 0x2000 }).expect("canonical");
    vcpu.write_system(vmcs, &start).expect("allowed");
}

#[test]
fn everything_that_a_cpu_may_report_has_an_answer() {
    // What a CPU reports is not random, but nothing that it reports may lead to a panic.
    let (mut vcpu, vmcs) = vcpu();
    let mut numbers = Random(0x9e37_79b9_7f4a_7c15);
    let mut random = move || numbers.next();
    for round in 0..200_000u32 {
        let reason = if round % 4 == 0 { random() as u32 } else { (random() % 90) as u32 };
        for field in [EXIT_QUALIFICATION, GUEST_LINEAR_ADDRESS] {
            put(&vmcs, field, random());
        }
        put(&vmcs, VM_EXIT_INTERRUPTION_INFORMATION, random() & u64::from(u32::MAX));
        put(&vmcs, IDT_VECTORING_INFORMATION, random() & u64::from(u32::MAX));
        put(&vmcs, VM_EXIT_INSTRUCTION_LENGTH, random() % 16);
        put(&vmcs, VM_EXIT_INSTRUCTION_INFORMATION, random() & u64::from(u32::MAX));
        put(&vmcs, GUEST_RIP, random());
        put(&vmcs, GUEST_RFLAGS, random() | 2);
        put(&vmcs, GUEST_CS_ACCESS_RIGHTS, random() & 0x1_ffff);
        vcpu.guest.registers = GuestRegisters {
            rax: random(),
            rcx: random() % 0x2000,
            rdx: random(),
            rbx: random(),
            ..vcpu.guest.registers
        };
        let outcome = answer(&mut vcpu, &vmcs, ExitReasonWord::from_bits(reason & 0x7fff_ffff));
        if let Some(exit) = outcome {
            assert_in_map(ExitReason(reason as u16), &exit);
        }
        if vcpu.guest.events.any() {
            vcpu.plan_events(&vmcs);
        }
    }
}

/// `spec/map.toml` says what the VMM may get of an exit; what the library cannot read in the guest's memory apart.
fn assert_in_map(reason: ExitReason, exit: &VmExit) {
    let text = std::format!("{exit:?}");
    let variant = text.split([' ', '(']).next().unwrap_or_default();
    let listed = ExitClass::of_vmx(reason).map_or(&[][..], ExitClass::neutral);
    let known = listed.contains(&variant) || ["NestedPageFault", "Unhandled"].contains(&variant);
    assert!(known, "{reason:?} became {text}, and not one of {listed:?}");
}

#[test]
fn an_unknown_exit_goes_to_the_vmm_as_it_is() {
    let (mut vcpu, vmcs) = vcpu();
    put(&vmcs, EXIT_QUALIFICATION, 0x1234);
    let outcome = answer(&mut vcpu, &vmcs, ExitReasonWord::from_bits(0x5a5));
    let Some(VmExit::Unhandled(what)) = outcome else { panic!("it was handled") };
    assert_eq!((what.code, what.info1), (0x5a5, 0x1234));
}

#[test]
fn port_reads_and_writes_have_their_width() {
    let (mut vcpu, vmcs) = vcpu();
    vcpu.guest.registers.rax = 0x1122_3344_5566_7788;
    put(&vmcs, VM_EXIT_INSTRUCTION_LENGTH, 2);
    for (size, width, data) in [(0, Width::Byte, 0x88), (1, Width::Word, 0x7788), (3, Width::Dword, 0x5566_7788)] {
        put(&vmcs, EXIT_QUALIFICATION, 0x3f8 << 16 | size);
        let Some(exit) = exit(&mut vcpu, &vmcs, ExitReason::IO_INSTRUCTION) else { panic!("handled") };
        assert_eq!(exit, VmExit::IoWrite { port: 0x3f8, width, data });
        assert_eq!(core::mem::take(&mut vcpu.guest.skip), 2);
    }
    put(&vmcs, EXIT_QUALIFICATION, 0x60 << 16 | 8 | 1);
    let Some(exit) = exit(&mut vcpu, &vmcs, ExitReason::IO_INSTRUCTION) else { panic!("handled") };
    assert_eq!(exit, VmExit::IoRead { port: 0x60, width: Width::Word });
    assert_eq!(vcpu.guest.skip, 0, "an unanswered read is executed again");
    vcpu.complete_read(0xdead_beef).expect("a read waits");
    assert_eq!((vcpu.guest.registers.rax, vcpu.guest.skip), (0x1122_3344_5566_beef, 2));
    assert!(vcpu.complete_read(0).is_err());
}

#[test]
fn answers_in_full_width_change_what_the_instruction_changes() {
    let (mut vcpu, vmcs) = vcpu();
    put(&vmcs, VM_EXIT_INSTRUCTION_LENGTH, 1);
    // IN of 1, 2 and 4 bytes: only the last one clears the upper half.
    for (size, rax) in [(0, 0x1122_3344_5566_77ff), (1, 0x1122_3344_5566_ffff), (3, 0xffff_ffff)] {
        vcpu.guest.registers.rax = 0x1122_3344_5566_7788;
        put(&vmcs, EXIT_QUALIFICATION, 0x60 << 16 | 8 | size);
        assert!(matches!(exit(&mut vcpu, &vmcs, ExitReason::IO_INSTRUCTION), Some(VmExit::IoRead { .. })));
        vcpu.complete_read(u64::MAX).expect("a read waits");
        assert_eq!((vcpu.guest.registers.rax, core::mem::take(&mut vcpu.guest.skip)), (rax, 1));
    }
    // RDMSR: one value for EDX:EAX, and the upper halves are cleared.
    vcpu.guest.registers =
        GuestRegisters { rax: u64::MAX, rdx: u64::MAX, rcx: 0xffff_ffff_0000_1234, ..vcpu.guest.registers };
    assert_eq!(exit(&mut vcpu, &vmcs, ExitReason::RDMSR), Some(VmExit::MsrRead { msr: 0x1234 }));
    vcpu.complete_read(0x8899_aabb_ccdd_eeff).expect("a read waits");
    assert_eq!((vcpu.guest.registers.rax, vcpu.guest.registers.rdx), (0xccdd_eeff, 0x8899_aabb));
}

#[test]
fn a_rejected_register_faults_without_moving() {
    let (mut vcpu, vmcs) = vcpu();
    vcpu.guest.registers.rcx = 0x1234;
    vcpu.guest.registers.set_edx_eax(7);
    let outcome = exit(&mut vcpu, &vmcs, ExitReason::WRMSR);
    assert!(matches!(outcome, Some(VmExit::MsrWrite { msr: 0x1234, value: 7 })));
    vcpu.reject().expect("an access waits");
    assert_eq!(vcpu.guest.skip, 0);
    assert_eq!(vcpu.plan_events(&vmcs).inject, Some(Event::general_protection()));
    assert!(vcpu.reject().is_err());
}

#[test]
fn policy_registers_are_answered_inside() {
    let (mut vcpu, vmcs) = vcpu();
    put(&vmcs, GUEST_RIP, 0x100);
    put(&vmcs, VM_EXIT_INSTRUCTION_LENGTH, 2);
    vcpu.guest.registers.rcx = IA32_APIC_BASE.0.into();
    assert!(exit(&mut vcpu, &vmcs, ExitReason::RDMSR).is_none());
    assert_eq!((vcpu.guest.registers.edx_eax(), vmcs.read(GUEST_RIP)), (0xfee0_0900, 0x102));
    vcpu.guest.registers.rcx = IA32_PAT.0.into();
    vcpu.guest.registers.set_edx_eax(0x0606_0606_0606_0602);
    assert!(exit(&mut vcpu, &vmcs, ExitReason::WRMSR).is_none(), "type 2 is reserved");
    assert!(vcpu.guest.events.any());
}

#[test]
fn unknown_registers_fault_when_the_vmm_wants_so() {
    let config = VcpuConfig { unknown_msrs: UnknownMsr::Fault, ..VcpuConfig::new(0) };
    let mut vcpu = Vcpu::with_capabilities(config, capabilities()).expect("frames");
    let vmcs = Vmcs::with_backend(MapBackend::new(), &vcpu.capabilities.allowed);
    vcpu.guest.registers.rcx = 0x1234;
    assert!(exit(&mut vcpu, &vmcs, ExitReason::RDMSR).is_none());
    assert!(vcpu.guest.events.any());
}

#[test]
fn writes_of_control_registers_reach_the_fields() {
    let (mut vcpu, vmcs) = vcpu();
    in_long_mode(&mut vcpu, &vmcs);
    put(&vmcs, VM_EXIT_INSTRUCTION_LENGTH, 3);
    // mov cr4, rbx
    vcpu.guest.registers.rbx = Cr4::PAE.with(Cr4::OSXSAVE).bits();
    let to_cr4 = CrAccessQualification::empty().with_cr_number(4).with_register(GeneralRegister::RBX);
    put(&vmcs, EXIT_QUALIFICATION, to_cr4.bits());
    let offers_xsave = vcpu.guest.offered.cr4.contains(Cr4::OSXSAVE);
    let outcome = exit(&mut vcpu, &vmcs, ExitReason::CR_ACCESS);
    assert!(outcome.is_none());
    assert_eq!(vcpu.skipped, offers_xsave);
    // A bit that is not offered: #GP, and nothing changes.
    let before = vmcs.read(CR4_READ_SHADOW);
    vcpu.skipped = false;
    vcpu.guest.registers.rbx = Cr4::PAE.with(Cr4::VMXE).bits();
    assert!(exit(&mut vcpu, &vmcs, ExitReason::CR_ACCESS).is_none() && !vcpu.skipped);
    assert_eq!(vmcs.read(CR4_READ_SHADOW), before);
    assert!(vmcs.read(GUEST_CR4).contains(Cr4::VMXE), "VMX operation needs it");
    assert!(!before.contains(Cr4::VMXE), "and the guest does not see it");
}

#[test]
fn leaving_long_mode_clears_the_entry_control() {
    let (mut vcpu, vmcs) = vcpu();
    in_long_mode(&mut vcpu, &vmcs);
    assert!(vmcs.read(VM_ENTRY_CONTROLS).contains(EntryControls::IA32E_MODE_GUEST));
    // From compatibility mode.
    let rights = vmcs.read(GUEST_CS_ACCESS_RIGHTS).without(SegmentAccessRights::L);
    vmcs.write(GUEST_CS_ACCESS_RIGHTS, rights);
    vcpu.guest.registers.rax = Cr0::PE.bits();
    put(&vmcs, EXIT_QUALIFICATION, 0);
    assert!(exit(&mut vcpu, &vmcs, ExitReason::CR_ACCESS).is_none());
    assert!(!vmcs.read(VM_ENTRY_CONTROLS).contains(EntryControls::IA32E_MODE_GUEST));
    let efer = vcpu.control_state(&vmcs).efer;
    assert!(efer.contains(Efer::LME) && !efer.contains(Efer::LMA));
    vcpu.guest.registers.rcx = IA32_EFER.0.into();
    assert!(exit(&mut vcpu, &vmcs, ExitReason::RDMSR).is_none());
    assert_eq!(vcpu.guest.registers.edx_eax(), efer.bits());
}

#[test]
fn skipping_wraps_and_steps() {
    let (mut vcpu, vmcs) = vcpu();
    put(&vmcs, GUEST_RIP, 0xffff_ffff);
    put(&vmcs, GUEST_RFLAGS, Rflags::TF.bits());
    put(&vmcs, GUEST_INTERRUPTIBILITY_STATE, InterruptibilityState::BLOCKING_BY_STI.bits().into());
    vcpu.skip_by(&vmcs, 2);
    assert_eq!(vmcs.read(GUEST_RIP), 1, "EIP has 32 bits");
    assert_eq!(vcpu.plan_events(&vmcs).inject, Some(Event::debug()));
    assert!(vmcs.read(GUEST_INTERRUPTIBILITY_STATE).is_empty());
    in_long_mode(&mut vcpu, &vmcs);
    put(&vmcs, GUEST_RIP, 0xffff_ffff);
    vcpu.skip_by(&vmcs, 2);
    assert_eq!(vmcs.read(GUEST_RIP), 0x1_0000_0001);
}

#[test]
fn an_interrupted_delivery_goes_first() {
    let (mut vcpu, vmcs) = vcpu();
    let blocked = InterruptibilityState::BLOCKING_BY_NMI;
    vmcs.write(GUEST_INTERRUPTIBILITY_STATE, blocked);
    let vectoring = crate::spec::intel::structures::IdtVectoringInformation::VALID
        .with_vector(2)
        .with_interruption_type(InterruptionType::NMI);
    put(&vmcs, IDT_VECTORING_INFORMATION, vectoring.bits().into());
    vcpu.guest.inject_interrupt(0x40);
    assert!(matches!(exit(&mut vcpu, &vmcs, ExitReason::EPT_VIOLATION), Some(VmExit::NestedPageFault(_))));
    assert!(vmcs.read(GUEST_INTERRUPTIBILITY_STATE).is_empty());
    let injected = vcpu.plan_events(&vmcs).inject.expect("the NMI");
    assert_eq!(injected.kind, InterruptionType::NMI);
    let information = vmcs.read(VM_ENTRY_INTERRUPTION_INFORMATION);
    assert!(information.contains(EntryInterruptionInformation::VALID));
    assert_eq!((information.vector(), information.interruption_type()), (2, InterruptionType::NMI));
}

#[test]
fn real_mode_pushes_no_error_code() {
    let (mut vcpu, vmcs) = vcpu();
    vcpu.guest.events.raise(Event::general_protection());
    assert!(vcpu.plan_events(&vmcs).inject.is_some());
    let deliver = EntryInterruptionInformation::DELIVER_ERROR_CODE;
    assert!(!vmcs.read(VM_ENTRY_INTERRUPTION_INFORMATION).contains(deliver));
    in_long_mode(&mut vcpu, &vmcs);
    vcpu.guest.events.raise(Event::general_protection());
    assert!(vcpu.plan_events(&vmcs).inject.is_some());
    assert!(vmcs.read(VM_ENTRY_INTERRUPTION_INFORMATION).contains(deliver));
}

#[test]
fn frames_come_back_at_every_failure() {
    let capabilities = capabilities();
    for limit in 0.. {
        MockFrames::limit(limit);
        let made = Vcpu::with_capabilities(VcpuConfig::new(0), capabilities);
        MockFrames::limit(usize::MAX);
        match made {
            Err(error) => assert_eq!((error, MockFrames::live()), (crate::Error::NoMemory, 0), "after {limit} frames"),
            Ok(vcpu) => {
                assert_eq!(MockFrames::live(), limit, "each frame is used");
                let handle = vcpu.handle();
                drop(vcpu);
                assert_eq!(MockFrames::live(), 1, "the handle keeps the letter box");
                handle.request_exit();
                drop(handle);
                assert_eq!(MockFrames::live(), 0);
                break;
            }
        }
    }
}

#[test]
fn optional_controls_fall_back_and_required_ones_are_named() {
    let mut capabilities = Capabilities::with_everything();
    capabilities.secondary.may_be_1 &= !SecondaryControls::UNRESTRICTED_GUEST.bits();
    let leaked = std::boxed::Box::leak(std::boxed::Box::new(capabilities));
    let mut vcpu = Vcpu::with_capabilities(VcpuConfig::new(0), leaked).expect("it is optional");
    assert!(matches!(vcpu.start(StartState::RealMode { entry: 0 }), Err(crate::Error::Unsupported(_))));
    capabilities.secondary.may_be_1 &= !SecondaryControls::ENABLE_EPT.bits();
    let leaked = std::boxed::Box::leak(std::boxed::Box::new(capabilities));
    let error = Vcpu::with_capabilities(VcpuConfig::new(0), leaked).expect_err("it is required");
    assert!(matches!(error, crate::Error::MissingControls { first: "ENABLE_EPT", .. }));
}

#[test]
fn controls_that_do_not_go_together_are_named() {
    let mut capabilities = Capabilities::with_everything();
    // A CPU that insists on a control whose companion it does not offer.
    capabilities.secondary.must_be_1 |= SecondaryControls::VIRTUALIZE_X2APIC_MODE.bits();
    let leaked = std::boxed::Box::leak(std::boxed::Box::new(capabilities));
    let error = Vcpu::with_capabilities(VcpuConfig::new(0), leaked).expect_err("no guest could be entered");
    assert_eq!(
        std::format!("{error}"),
        "this CPU's controls do not go together: when secondary.VIRTUALIZE_X2APIC_MODE is 1, primary.USE_TPR_SHADOW must be 1"
    );
}

#[test]
fn rsp_is_where_the_cpu_keeps_it() {
    let (mut vcpu, vmcs) = vcpu();
    vmcs.write(GUEST_RSP, 0x8000u64);
    assert_eq!(vcpu.read_register(&vmcs, RegisterIndex::RSP), 0x8000);
    vcpu.write_register(&vmcs, RegisterIndex::RSP, 0x7ff8);
    assert_eq!(vmcs.read(GUEST_RSP), 0x7ff8);
    assert_eq!(vmcs.backend().read(GUEST_RSP.encoding()), 0x7ff8);
}
