//! A VM entry that fails, and what the library says of it: for each phase of the CPU's checks one.

use alloc::format;
use alloc::string::{String, ToString};

use x86_vcpu::entry::{EntryField, EntrySeverity, Violation};
use x86_vcpu::spec::intel::msrs::IA32_VMX_BASIC;
use x86_vcpu::spec::x86::msrs::{IA32_EFER, IA32_FS_BASE, IA32_LSTAR, IA32_SMBASE, IA32_SYSENTER_ESP};
use x86_vcpu::spec::{amd, intel};
use x86_vcpu::{EntryFailure, PhysFrame, StartState, Vcpu, VcpuConfig, VmExit};

use super::{Outcome, Reason, check};
use crate::vm::{GuestMemory, PAGE_MAP};
use crate::{cpu, guests, interrupts, print};

/// Something that breaks a rule, and what it is called.
struct Spoiled {
    what: &'static str,
    field: &'static str,
    change: fn(u64) -> u64,
}

/// On VMX a failure of each phase.
const VMX: &[Spoiled] = &[
    Spoiled { what: "controls", field: "CR3_TARGET_COUNT", change: |_| 5 },
    Spoiled { what: "host state", field: "HOST_TR_SELECTOR", change: |_| 0 },
    Spoiled { what: "guest state", field: "GUEST_CR4", change: |value| value & !0x20 },
    Spoiled { what: "guest state", field: "GUEST_RFLAGS", change: |value| value & !2 },
    Spoiled { what: "guest state", field: "VMCS_LINK_POINTER", change: |_| 1 },
];

/// VMRUN has one phase.
const SVM: &[Spoiled] = &[
    Spoiled { what: "controls", field: "control.GUEST_ASID", change: |_| 0 },
    Spoiled { what: "controls", field: "control.INTERCEPT_MISC2", change: |value| value & !1 },
    Spoiled { what: "guest state", field: "save.CR4", change: |value| value & !0x20 },
];

/// The field of this name, as the rules have it.
fn field(name: &str) -> Result<EntryField, Reason> {
    let rules = intel::entry_checks::CHECKS.iter().chain(amd::entry_checks::CHECKS);
    let mut fields = rules.flat_map(|rule| rule.inputs().iter().copied().chain([rule.field()]));
    fields.find(|field| field.name == name).ok_or_else(|| Reason::Failed(format!("no rule looks at {name}")))
}

fn read(vcpu: &mut Vcpu, field: EntryField) -> x86_vcpu::Result<u64> {
    match vcpu {
        Vcpu::Vmx(vcpu) => vcpu.read_vmcs_field(field.number),
        #[cfg(feature = "amd")]
        Vcpu::Svm(vcpu) => vcpu.read_vmcb(field.number, field.bytes),
    }
}

fn write(vcpu: &mut Vcpu, field: EntryField, value: u64) -> x86_vcpu::Result {
    match vcpu {
        // SAFETY: the value either is the library's own, or no CPU enters a guest with it.
        Vcpu::Vmx(vcpu) => unsafe { vcpu.write_vmcs_field(field.number, value) },
        #[cfg(feature = "amd")]
        // SAFETY: as above.
        Vcpu::Svm(vcpu) => unsafe { vcpu.write_vmcb(field.number, field.bytes, value) },
    }
}

/// Runs the guest for a step.
fn step(vcpu: &mut Vcpu) -> Result<VmExit, Reason> {
    loop {
        match vcpu.run()? {
            VmExit::ExternalInterrupt { vector: Some(vector) } => interrupts::external(vector),
            VmExit::ExternalInterrupt { vector: None } => cpu::take_pending_interrupts(),
            exit => return Ok(exit),
        }
    }
}

fn enters(vcpu: &mut Vcpu) -> Outcome {
    let exit = step(vcpu)?;
    check(matches!(exit, VmExit::IoWrite { .. }), || format!("the guest should have made a step: {exit:x?}"))
}

fn fails(vcpu: &mut Vcpu) -> Result<EntryFailure, Reason> {
    match step(vcpu)? {
        VmExit::EntryFailure(failure) => Ok(failure),
        exit => Err(Reason::Failed(format!("the entry should have failed: {exit:x?}"))),
    }
}

/// What is in the VMCS or VMCB, and what changes from one step to the next. The whole of it is for people.
fn look_at(vcpu: &mut Vcpu) -> Outcome {
    let before = vcpu.dump()?;
    crate::println!("{before}");
    let text = before.to_string();
    let shown = ["x86_vcpu dump", "GUEST_CS_ACCESS_RIGHTS", "save.CS_ATTRIBUTES"];
    for line in text.lines().filter(|line| shown.iter().any(|start| line.starts_with(start))) {
        print!("> {line}\n");
    }
    enters(vcpu)?;
    let after = vcpu.dump()?;
    let changes = before.diff(&after).to_string();
    crate::println!("{changes}");
    // Where the guest's code is depends on all the other guests.
    let shown = ["GUEST_RIP", "GUEST_RFLAGS", "save.RIP", "save.RFLAGS"];
    for (name, change) in changes.lines().filter_map(|line| line.split_once(": ")) {
        if shown.contains(&name) {
            let bits = change.split_once(" (").map_or(String::new(), |(_, bits)| format!(" ({bits}"));
            print!("> a step changes {name}{bits}\n");
        }
    }
    let rules = if matches!(vcpu, Vcpu::Vmx(_)) {
        intel::entry_checks::check(&after, &after).filter(is_fatal).count()
    } else {
        amd::entry_checks::check(&after, &after).filter(is_fatal).count()
    };
    print!("> the dump breaks {rules} rules\n");
    Ok(())
}

/// Whether an entry fails because of it.
fn is_fatal(violation: &Violation) -> bool {
    violation.check.severity() == EntrySeverity::Failure
}

/// The rules by which an entry with the state as it is would fail.
fn rules(vcpu: &Vcpu) -> Result<usize, Reason> {
    Ok(vcpu.check_entry()?.filter(is_fatal).count())
}

fn say(failure: &EntryFailure) {
    print!("> {}\n", failure.verdict());
    for violation in failure.violations() {
        let rule = violation.check;
        let value = violation.value.map_or_else(Default::default, |value| format!(" = {value:#x}"));
        print!("> - {}{value}: {}\n", rule.field().name, rule.name());
    }
    crate::println!("{failure:#}");
}

/// Entries of the VM-entry MSR-load area, the word with the register's number and the value, that the CPU refuses.
const REFUSED: &[(u64, u64)] = &[
    (IA32_FS_BASE.0 as u64, 0x1234),
    (X2APIC_ID, 0),
    (IA32_SMBASE.0 as u64, 0x3_0000),
    (1 << 32 | IA32_SYSENTER_ESP.0 as u64, 0),
    (IA32_LSTAR.0 as u64, 1 << 60),
    (IA32_EFER.0 as u64, 1 << 63),
    (IA32_VMX_BASIC.0 as u64, 0),
    // No CPU has this one, and no rule says so.
    (NO_REGISTER, 0),
];

/// The first registers of the local APIC in x2APIC mode are not those of a table.
const X2APIC_ID: u64 = 0x802;
const NO_REGISTER: u64 = 0x5a5a_5a5a;

/// A VMM of which the library knows nothing but the fields has the CPU load registers: the one that is refused is named.
fn msr_area(vcpu: &mut Vcpu) -> Outcome {
    let area: PhysFrame = PhysFrame::alloc_zero()?;
    let words = area.as_mut_ptr().cast::<u64>();
    let entry = |index: usize, (register, value): (u64, u64)| {
        // SAFETY: the frame is this function's, and has 256 entries.
        unsafe {
            words.add(2 * index).write_volatile(register);
            words.add(2 * index + 1).write_volatile(value);
        }
    };
    // The CPU has to have taken this one before it gets to the next: an exit gives the register back to the host.
    entry(0, (IA32_SYSENTER_ESP.0.into(), 0x1000));
    let [address, count] = [field("VM_ENTRY_MSR_LOAD_ADDRESS")?, field("VM_ENTRY_MSR_LOAD_COUNT")?];
    write(vcpu, address, area.start_paddr().as_usize() as u64)?;
    write(vcpu, count, 1)?;
    enters(vcpu)?;
    check(rules(vcpu)? == 0, || "a sound area breaks a rule".to_string())?;
    write(vcpu, count, 2)?;
    for refused in REFUSED {
        entry(1, *refused);
        let expected = rules(vcpu)?;
        let failure = fails(vcpu)?;
        print!("> MSR {:#x} is to be loaded:\n", refused.0);
        say(&failure);
        if refused.0 == X2APIC_ID {
            crate::println!("{}", vcpu.dump()?);
        }
        let named = failure.refused_msr().map(|(register, value)| (register.0, value));
        check(named == Some((refused.0 as u32, refused.1)), || format!("{failure}"))?;
        check(failure.broken_rules() == expected, || format!("{expected} rules before, then {failure}"))?;
        vcpu.set_strict_entry(true);
        let foreseen = fails(vcpu)?;
        vcpu.set_strict_entry(false);
        check(foreseen.is_foreseen() == (expected != 0), || format!("{foreseen}"))?;
        check(foreseen.refused_msr() == failure.refused_msr(), || format!("{foreseen}"))?;
        if expected == 0 {
            let text = failure.to_string();
            print!("> {}\n", text.split_once("; ").map_or("", |(_, rest)| rest));
        }
    }
    write(vcpu, count, 0)?;
    enters(vcpu)
}

/// Each state is refused with a diagnosis, by the CPU and, in strict mode, before it is asked; mended, it is entered.
pub fn doctor() -> Outcome {
    let memory = GuestMemory::new()?;
    let mut vcpu: Vcpu = Vcpu::new(VcpuConfig::new(0))?;
    // SAFETY: what the table maps is the guest's own memory, and both outlive the vCPU.
    unsafe { vcpu.set_nested_root(memory.root()) }?;
    vcpu.start(StartState::Long { entry: guests::doctor().entry, cr3: PAGE_MAP })?;
    vcpu.bind()?;
    enters(&mut vcpu)?;
    print!("> a sound state: {} rules are broken\n", rules(&vcpu)?);
    vcpu.set_strict_entry(true);
    enters(&mut vcpu)?;
    vcpu.set_strict_entry(false);
    enters(&mut vcpu)?;
    look_at(&mut vcpu)?;
    let spoiled = if matches!(vcpu, Vcpu::Vmx(_)) { VMX } else { SVM };
    for case in spoiled {
        let place = field(case.field)?;
        let sound = read(&mut vcpu, place)?;
        write(&mut vcpu, place, (case.change)(sound))?;
        print!("> {} spoiled:\n", case.what);
        let expected = rules(&vcpu)?;
        vcpu.set_strict_entry(true);
        let foreseen = fails(&mut vcpu)?;
        vcpu.set_strict_entry(false);
        let failure = fails(&mut vcpu)?;
        say(&failure);
        // What one would hand to `cargo spec doctor`.
        if case.field.ends_with("CR4") {
            crate::println!("{}", vcpu.dump()?);
        }
        check(failure.broken_rules() == expected, || format!("{} rules before, then {failure}", expected))?;
        check(foreseen.is_foreseen() && foreseen.violations().eq(failure.violations()), || format!("{foreseen}"))?;
        // One emulator reports the lower half of an exit code only.
        let same = foreseen.code() as u32 == failure.code() as u32
            && foreseen.instruction_error() == failure.instruction_error()
            && foreseen.qualification() == failure.qualification();
        check(same, || format!("{failure:?}, but {foreseen:?} was foreseen"))?;
        write(&mut vcpu, place, sound)?;
        enters(&mut vcpu)?;
    }
    if matches!(vcpu, Vcpu::Vmx(_)) {
        msr_area(&mut vcpu)?;
    }
    print!("> mended: {} rules are broken\n", rules(&vcpu)?);
    Ok(vcpu.unbind()?)
}
