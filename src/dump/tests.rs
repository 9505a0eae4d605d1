//! Dumps of states that are maps.

extern crate std;

use std::string::{String, ToString};

use super::*;
use crate::entry::mock::Known;

/// A CPU with one register and one leaf.
struct Cpu;

impl EntryCapabilities for Cpu {
    fn msr(&self, address: u32) -> Option<u64> {
        (address == intel::msrs::IA32_VMX_BASIC.0).then_some(0x1234)
    }

    fn cpuid(&self, leaf: u32, subleaf: u32) -> Option<[u32; 4]> {
        (leaf == CpuidLeaf::ADDRESS_SIZES.0 && subleaf == 0).then_some([0x3027, 0, 0xf, 0])
    }
}

const OLD: Known = Known(&[
    (0x4826, 1),      // GUEST_ACTIVITY_STATE
    (0x4816, 0xa09b), // GUEST_CS_ACCESS_RIGHTS
    (0x681e, 0x8000), // GUEST_RIP
    (0x6820, 0x46),   // GUEST_RFLAGS
]);
const NEW: Known = Known(&[(0x4826, 0), (0x4816, 0xa09b), (0x681e, 0x8002), (0x6820, 0x3003)]);

fn lines(dump: &Dump) -> String {
    let text = dump.to_string();
    let without_leaves = text.lines().filter(|line| !line.ends_with(" = 0x0 0x0 0x0 0x0"));
    without_leaves.map(|line| line.to_string() + "\n").collect()
}

#[test]
fn a_line_for_each_field_that_there_is() {
    assert_eq!(
        lines(&Dump::new(&VMX, &OLD, &Cpu)),
        "x86_vcpu dump 1 vmx\n\
         GUEST_CS_ACCESS_RIGHTS = 0xa09b (S, P, L, G, SEGMENT_TYPE: 0xb)\n\
         GUEST_ACTIVITY_STATE = 0x1 (HLT)\n\
         GUEST_RIP = 0x8000\n\
         GUEST_RFLAGS = 0x46 (PF, ZF, 0x2)\n\
         msr.IA32_VMX_BASIC = 0x1234\n\
         cpuid.0x80000008.0x0 = 0x3027 0x0 0xf 0x0\n"
    );
    let vmcb = Known(&[(0x90, 1), (0x578, 0x10)]); // NESTED_CONTROL, RIP
    assert_eq!(
        lines(&Dump::new(&SVM, &vmcb, &Cpu)).lines().take(3).collect::<std::vec::Vec<_>>(),
        ["x86_vcpu dump 1 svm", "control.NESTED_CONTROL = 0x1 (NP_ENABLE)", "save.RIP = 0x10"]
    );
}

#[test]
fn a_line_for_each_change() {
    let (old, new) = (Dump::new(&VMX, &OLD, &Cpu), Dump::new(&VMX, &NEW, &Cpu));
    assert_eq!(
        old.diff(&new).to_string(),
        "GUEST_ACTIVITY_STATE: 0x1 -> 0x0 (HLT -> ACTIVE)\n\
         GUEST_RIP: 0x8000 -> 0x8002\n\
         GUEST_RFLAGS: 0x46 -> 0x3003 (+CF, -PF, -ZF, IOPL: 0x0 -> 0x3)\n"
    );
    assert!(!old.diff(&new).is_empty() && old.diff(&old.clone()).is_empty());
    assert_eq!(old.diff(&old).to_string(), "");
    let less = Dump::new(&VMX, &Known(&[(0x681e, 0x8000)]), &Cpu);
    assert!(old.diff(&less).to_string().contains("GUEST_RFLAGS: 0x46 -> not there\n"));
    assert_eq!(old.diff(&Dump::new(&SVM, &OLD, &Cpu)).to_string(), "vmx -> svm\n");
}

#[test]
fn rules_can_be_asked_of_it() {
    let dump = Dump::new(&VMX, &OLD, &Cpu);
    assert_eq!((dump.get("GUEST_RIP"), dump.field(0x681e, 8)), (Some(0x8000), Some(0x8000)));
    assert_eq!((dump.get("GUEST_RSP"), dump.field(0x681c, 8)), (None, None));
    assert_eq!(dump.msr(intel::msrs::IA32_VMX_BASIC.0), Some(0x1234));
    assert_eq!(dump.cpuid(CpuidLeaf::ADDRESS_SIZES.0, 0), Some([0x3027, 0, 0xf, 0]));
    assert_eq!(intel::entry_checks::check(&dump, &dump).count(), intel::entry_checks::check(&OLD, &dump).count());
}

/// The registers that the entry loads: two, and what lies behind them in memory.
struct Area;

impl EntryState for Area {
    fn field(&self, number: u32, _bytes: u32) -> Option<u64> {
        match number {
            _ if number == intel::vmcs::VM_ENTRY_MSR_LOAD_COUNT.encoding() => Some(2),
            _ if number == intel::vmcs::VM_ENTRY_MSR_LOAD_ADDRESS.encoding() => Some(0x1000),
            _ => None,
        }
    }

    fn memory(&self, address: u64, bytes: u32) -> Option<u64> {
        let words = [0x175, 0x1000, 0x7_0000_0808, 9, 0x1234, 5];
        (bytes == 8).then(|| words.get(usize::try_from(address - 0x1000).ok()? / 8).copied())?
    }
}

#[test]
fn entries_of_the_msr_area_are_printed_and_judged() {
    let dump = Dump::new(&VMX, &Area, &Cpu).with_area(&Area);
    let text = std::format!("{dump}");
    let lines: std::vec::Vec<_> = text.lines().filter(|line| line.starts_with("VM_ENTRY_MSR_LOAD[")).collect();
    assert_eq!(lines, ["VM_ENTRY_MSR_LOAD[0] = 0x175 0x1000", "VM_ENTRY_MSR_LOAD[1] = 0x700000808 0x9"]);
    let broken: std::vec::Vec<_> =
        intel::entry_checks::check(&dump, &dump).filter_map(|one| Some((one.check.name(), one.entry?))).collect();
    assert_eq!(broken, [("MSR_LOAD_RESERVED", 1), ("MSR_LOAD_X2APIC", 1)]);
}
