//! Saving and restoring, on a map in place of a VMCS.

extern crate std;

use super::*;
use crate::{
    ApicConfig, Event, StartState,
    guest::snapshot::Activity,
    random::Random,
    spec::x86::registers::{Cr4, Efer, Xcr0},
    vmx::{
        loaded::Vmcs,
        mock::{Vcpu, vcpu},
    },
};

/// Without what moves on by itself.
fn saved(vcpu: &mut Vcpu, vmcs: &Vmcs<'_>) -> State {
    let mut state = State::default();
    vcpu.guest.check_savable().expect("nothing is half done");
    vcpu.save_with(vmcs, &mut state);
    state.time.tsc = 0;
    state
}

/// A guest in the middle of things.
fn busy() -> State {
    let (mut vcpu, vmcs) = vcpu();
    let start = SystemRegisters::start(StartState::Long { entry: 0x1000, cr3: 0x2000 }).expect("canonical");
    vcpu.write_system(&vmcs, &start).expect("allowed");
    let mut state = saved(&mut vcpu, &vmcs);
    state.registers.rax = 0x1234;
    state.system.rsp = 0x8000;
    state.registers.rsp = 0x8000;
    state.system.rflags = Rflags::RESERVED_TO_1 | Rflags::IF;
    state.system.cr2 = 0xdead;
    state.cr8 = 3;
    state.debug.addresses = [1, 2, 3, u64::MAX];
    state.debug.dr7.insert(crate::spec::x86::registers::Dr7::L0);
    state.debug.dr6.insert(Dr6::B1);
    state.debug.watched = Watched::Port { port: 0x60, size: 1 };
    state.msrs.star = 0x23_0010_0000_0000;
    state.msrs.lstar = 0xffff_ffff_8000_0000;
    state.msrs.kernel_gs_base = 0x7fff_0000_0000;
    state.msrs.sysenter_cs = 0x10;
    state.msrs.sysenter_eip = 0xffff_ffff_8000_1000;
    state.msrs.pat = 0x0007_0106_0007_0106;
    state.extended.xmm[3] = 77;
    state.extended.fcw = 0x27f;
    state.extended.st[0] = 0x3fff_8000_0000_0000_0000;
    state.extended.ftw = 0x80;
    state.events.requests = [0, 1 << 5, 0, 0];
    state.events.shadow = InterruptShadow::Sti;
    state.events.nmi_pending = true;
    state.events.nmi_blocked = true;
    state.events.next = Some(Event::exception(crate::spec::x86::registers::ExceptionVector::PF, Some(2)));
    state.events.completed = 2;
    state.time.tsc_adjust = 5;
    state
}

#[test]
fn what_is_restored_is_saved_again() {
    let state = busy();
    let (mut vcpu, vmcs) = vcpu();
    assert_eq!(vcpu.restore_with(&vmcs, &state), Ok(()));
    let again = saved(&mut vcpu, &vmcs);
    let mut lines = std::string::String::new();
    state.differences(&again, |name, values| {
        lines += &std::format!("{name}: {} {}\n", values.mine, values.theirs);
    });
    assert_eq!(lines, "");
    assert_eq!(again, state);
    assert_eq!(again.hash(), state.hash());
}

#[test]
fn the_time_goes_on_from_where_it_was() {
    let mut state = busy();
    state.time.tsc = 1 << 40;
    state.time.tsc_ratio = 3 << 47;
    let (mut vcpu, vmcs) = vcpu();
    vcpu.restore_with(&vmcs, &state).expect("TSC scaling is there");
    let now = vcpu.tsc();
    assert!((1 << 40..1 << 41).contains(&now), "{now:#x}");
    assert_eq!(vmcs.read(TSC_OFFSET), vcpu.tsc_offset());
    assert_eq!(vcpu.guest.tsc.adjust(), 5);
    let again = {
        let mut again = State::default();
        vcpu.save_with(&vmcs, &mut again);
        again
    };
    assert!(again.time.tsc >= now && again.time.tsc_ratio == 3 << 47);
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let good = busy();
    let change = |f: fn(&mut State)| {
        let mut state = good.clone();
        f(&mut state);
        state
    };
    let cases = [
        change(|state| state.system.cr4.insert(Cr4::VMXE)),
        change(|state| state.system.efer.insert(Efer::SVME)),
        change(|state| state.system.efer.remove(Efer::LMA)),
        change(|state| state.system.cr0.remove(Cr0::PE)),
        change(|state| state.system.cr3 = 1 << 60),
        change(|state| state.system.rflags = Rflags::from_bits(1 << 40 | 2)),
        change(|state| state.system.rip = 1 << 50),
        change(|state| state.system.fs.base = 1 << 63),
        change(|state| state.cr8 = 16),
        change(|state| state.msrs.lstar = 1 << 62),
        change(|state| state.msrs.tsc_aux = 1 << 32),
        change(|state| state.msrs.pat = 2),
        change(|state| state.msrs.spec_ctrl = 1),
        change(|state| state.extended.xcr0 = Xcr0::SSE),
        change(|state| state.extended.mxcsr = 1 << 16),
        change(|state| state.extended.st[1] = 1 << 80),
        change(|state| state.extended.pkru = 1),
        change(|state| assert!(state.emulated.set(0xc001_0015, 1))),
        change(|state| state.debug.dr7 = crate::spec::x86::registers::Dr7::empty()),
        change(|state| state.events.next = Some(Event { vector: 2, ..Event::general_protection() })),
        change(|state| state.events.next = Some(Event::software_interrupt(0x80, 0))),
        change(|state| state.events.completed = 16),
        change(|state| state.events.activity = Activity::WaitForStartUp),
        change(|state| state.local_apic = Some(Default::default())),
        change(|state| state.system.rflags = Rflags::RESERVED_TO_1),
        change(|state| state.time.tsc_ratio = 0),
    ];
    for (number, state) in cases.iter().enumerate() {
        let (mut vcpu, vmcs) = vcpu();
        let before = saved(&mut vcpu, &vmcs);
        let error = vcpu.restore_with(&vmcs, state).expect_err(&std::format!("case {number}"));
        assert!(matches!(error, Error::Unsupported(_) | Error::InvalidInput(_)), "case {number}: {error}");
        assert_eq!(saved(&mut vcpu, &vmcs), before, "case {number}");
    }
}

#[test]
fn a_local_apic_goes_along() {
    let with_apic = || {
        let (mut vcpu, vmcs) = vcpu();
        vcpu.add_local_apic(ApicConfig::new(), None).expect("a frame");
        (vcpu, vmcs)
    };
    let (mut first, vmcs) = with_apic();
    first.guest.inject_interrupt(0x41);
    let mut state = saved(&mut first, &vmcs);
    let apic = state.local_apic.as_mut().expect("it has one");
    apic.spurious_interrupt_vector = 0x1ff;
    apic.lvt_timer = 0x2_0031;
    apic.initial_count = 1000;
    apic.timer_left = Some(1 << 40);
    apic.in_service[2] = 2;
    apic.interrupt_request[7] = 1;
    apic.task_priority = 0x2f;
    state.cr8 = 2;
    let (mut second, vmcs) = with_apic();
    second.restore_with(&vmcs, &state).expect("it fits");
    let mut again = saved(&mut second, &vmcs);
    let left = again.local_apic.as_mut().and_then(|apic| apic.timer_left.replace(1 << 40)).expect("it counts");
    assert!(left <= 1 << 40 && left > 1 << 39);
    assert_eq!(again, state);
    assert!(second.timer_deadline().is_some());

    let refused = |f: fn(&mut crate::guest::snapshot::ApicState)| {
        let mut state = state.clone();
        f(state.local_apic.as_mut().expect("it has one"));
        let (mut vcpu, vmcs) = with_apic();
        let before = saved(&mut vcpu, &vmcs);
        assert!(vcpu.restore_with(&vmcs, &state).is_err());
        assert_eq!(saved(&mut vcpu, &vmcs), before);
    };
    refused(|apic| apic.id = 1);
    refused(|apic| apic.base = 0x400);
    refused(|apic| apic.lvt_lint0 = 1 << 20);
    refused(|apic| apic.timer_ratio = 7);
    refused(|apic| apic.interrupt_request[0] = 1);
    refused(|apic| apic.task_priority = 0x3f);
    let (mut without, vmcs) = vcpu();
    assert!(without.restore_with(&vmcs, &state).is_err());
}

#[test]
fn shadows_and_pending_traps_are_as_an_entry_wants_them() {
    let mut state = busy();
    let with = |state: &State| {
        let (mut vcpu, vmcs) = vcpu();
        vcpu.restore_with(&vmcs, state).expect("it fits");
        (vmcs.read(GUEST_INTERRUPTIBILITY_STATE), vmcs.read(GUEST_PENDING_DEBUG_EXCEPTIONS))
    };
    let nmi = InterruptibilityState::BLOCKING_BY_NMI;
    let sti = InterruptibilityState::BLOCKING_BY_STI;
    let mov_ss = InterruptibilityState::BLOCKING_BY_MOV_SS;
    let none = PendingDebugExceptions::empty();
    assert_eq!(with(&state), (nmi | sti, none));
    state.events.shadow = InterruptShadow::Either;
    assert_eq!(with(&state), (nmi | sti, none));
    state.system.rflags.insert(Rflags::TF);
    assert_eq!(with(&state), (nmi | mov_ss, PendingDebugExceptions::BS));
    state.events.nmi_blocked = false;
    state.events.shadow = InterruptShadow::None;
    assert_eq!(with(&state), (InterruptibilityState::empty(), none));
    state.debug.pending = Dr6::B1;
    let breakpoint = PendingDebugExceptions::from_bits(2) | PendingDebugExceptions::ENABLED_BREAKPOINT;
    assert_eq!(with(&state), (InterruptibilityState::empty(), breakpoint));
}

#[test]
fn segments_of_another_cpu_become_what_an_entry_takes() {
    let mut state = busy();
    state.system.tr.rights = SegmentAccessRights::P.with_segment_type(9);
    state.system.ds.rights = SegmentAccessRights::from_bits(0xc092);
    let (mut vcpu, vmcs) = vcpu();
    vcpu.restore_with(&vmcs, &state).expect("it fits");
    let system = vcpu.read_system(&vmcs);
    assert_eq!((system.tr.rights.bits(), system.ds.rights.bits()), (0x8b, 0xc093));
    state.system.tr.rights = SegmentAccessRights::UNUSABLE;
    vcpu.restore_with(&vmcs, &state).expect("it fits");
    assert_eq!(vcpu.read_system(&vmcs).tr.rights.bits(), 0x8b);
}

#[test]
fn whatever_is_restored_without_an_error_does_not_panic() {
    let mut bytes = [0; crate::guest::snapshot::MAX_ENCODED];
    let length = busy().write_to(&mut bytes).expect("room");
    let mut numbers = Random(0x1357_9bdf_2468_ace0);
    let mut random = move || numbers.next();
    let mut taken = 0;
    for _ in 0..3_000 {
        let mut damaged = bytes;
        for _ in 0..random() % 4 + 1 {
            damaged[random() as usize % length] = random() as u8;
        }
        crate::guest::snapshot::mend_checksum(&mut damaged[..length]);
        let Ok(state) = State::read_from(&damaged[..length]) else { continue };
        let (mut vcpu, vmcs) = vcpu();
        if vcpu.restore_with(&vmcs, &state).is_ok() {
            taken += 1;
            vcpu.guest.skip = 0;
            vcpu.plan_events(&vmcs);
            let _ = std::format!("{state}");
        }
    }
    assert!(taken > 50, "{taken}");
}
