//! Everything that is in a VMCS or VMCB, and what the CPU can do, as text: for a person, and for `cargo spec doctor`.

use core::fmt;

#[cfg(feature = "amd")]
use crate::spec::amd;
#[cfg(feature = "vmx")]
use crate::{entry::ENTRY, spec::intel};
use crate::{
    entry::{EntryCapabilities, EntryState},
    spec::{Meaning, Msr, x86::cpuid::CpuidLeaf},
};

/// More than a VMCS has fields, and a VMCB members.
const PLACES: usize = 256;
/// More than there are capability MSRs.
const MSRS: usize = 32;

/// As many entries of the MSR area that a VM entry loads are kept.
const ENTRIES: usize = 8;

/// The leaves and subleaves of CPUID that say something about what a VM entry accepts.
const LEAVES: [(CpuidLeaf, u32); 14] = [
    (CpuidLeaf::VENDOR, 0),
    (CpuidLeaf::FEATURES, 0),
    (CpuidLeaf::STRUCTURED_FEATURES, 0),
    (CpuidLeaf::STRUCTURED_FEATURES, 1),
    (CpuidLeaf::PERFORMANCE_MONITORING, 0),
    (CpuidLeaf::EXTENDED_STATE, 0),
    (CpuidLeaf::EXTENDED_STATE, 1),
    (CpuidLeaf::PROCESSOR_TRACE, 0),
    (CpuidLeaf::EXTENDED_MAXIMUM, 0),
    (CpuidLeaf::EXTENDED_FEATURES, 0),
    (CpuidLeaf::ADDRESS_SIZES, 0),
    (CpuidLeaf::SVM, 0),
    (CpuidLeaf::ENCRYPTED_MEMORY, 0),
    (CpuidLeaf::EXTENDED_FEATURES_2, 0),
];

/// A VMCS or VMCB as it was at a moment, with the CPU's capabilities: what [`Vcpu::dump`](crate::Vcpu::dump) gives.
///
/// Printed, it is a line for each field that the CPU has, with its value and what that means, under the header
/// `x86_vcpu dump 1 vmx` or `svm`: the text that `cargo spec doctor` reads.
///
/// ```text
/// x86_vcpu dump 1 vmx
/// GUEST_CR0 = 0x80000031 (PE, ET, NE, PG)
/// msr.IA32_VMX_BASIC = 0xda100000000008
/// cpuid.0x80000008.0x0 = 0x3027 0x0 0x0 0x0
/// ```
///
/// Of a VM-entry MSR-load area that a VMM has given, the first eight entries are in it: `VM_ENTRY_MSR_LOAD[0] = 0x175 0x1000`
/// is the register, with the reserved bits above it, and its value.
///
/// It is itself something of which the rules of a VM entry can be asked:
/// [`intel::entry_checks::check`](crate::spec::intel::entry_checks::check).
#[derive(Clone)]
pub struct Dump {
    tables: &'static Tables,
    present: [u64; PLACES / 64],
    values: [u64; PLACES],
    msrs: [Option<u64>; MSRS],
    leaves: [[u32; 4]; LEAVES.len()],
    /// The first entries of the VM-entry MSR-load area: the lower eight bytes and the upper ones.
    area: [Option<[u64; 2]>; ENTRIES],
}

/// What a vendor has.
pub(crate) struct Tables {
    vendor: &'static str,
    place: fn(usize) -> Option<Place>,
    msrs: &'static [(&'static str, Msr)],
}

/// A field or member.
struct Place {
    name: &'static str,
    number: u32,
    bytes: u32,
    meaning: Meaning,
}

macro_rules! names {
    ($($msr:ident)*) => { &[$((stringify!($msr), $msr)),*] };
}

#[cfg(feature = "vmx")]
pub(crate) static VMX: Tables = {
    use crate::spec::{
        intel::msrs::*,
        x86::msrs::{IA32_EFER, IA32_PERF_CAPABILITIES, IA32_RTIT_CTL},
    };
    Tables {
        vendor: "vmx",
        place: |index| {
            let (field, meaning) = (intel::vmcs::FIELDS.get(index)?, intel::vmcs::FIELD_MEANINGS.get(index)?);
            Some(Place { name: field.name(), number: field.encoding(), bytes: 8, meaning: *meaning })
        },
        msrs: names! {
            IA32_FEATURE_CONTROL
            IA32_VMX_BASIC
            IA32_VMX_PINBASED_CTLS
            IA32_VMX_PROCBASED_CTLS
            IA32_VMX_EXIT_CTLS
            IA32_VMX_ENTRY_CTLS
            IA32_VMX_MISC
            IA32_VMX_CR0_FIXED0
            IA32_VMX_CR0_FIXED1
            IA32_VMX_CR4_FIXED0
            IA32_VMX_CR4_FIXED1
            IA32_VMX_VMCS_ENUM
            IA32_VMX_PROCBASED_CTLS2
            IA32_VMX_EPT_VPID_CAP
            IA32_VMX_TRUE_PINBASED_CTLS
            IA32_VMX_TRUE_PROCBASED_CTLS
            IA32_VMX_TRUE_EXIT_CTLS
            IA32_VMX_TRUE_ENTRY_CTLS
            IA32_VMX_VMFUNC
            IA32_VMX_PROCBASED_CTLS3
            IA32_VMX_EXIT_CTLS2
            IA32_EFER
            IA32_PERF_CAPABILITIES
            IA32_RTIT_CTL
        },
    }
};

#[cfg(feature = "amd")]
pub(crate) static SVM: Tables = {
    use crate::spec::{
        amd::msrs::VM_HSAVE_PA,
        x86::msrs::{IA32_EFER, IA32_PAT},
    };
    Tables {
        vendor: "svm",
        place: |index| {
            let (member, meaning) = (amd::vmcb::MEMBERS.get(index)?, amd::vmcb::MEMBER_MEANINGS.get(index)?);
            // What is reserved has no value.
            let (number, bytes) = (member.offset.into(), if member.reserved { 0 } else { member.size.into() });
            Some(Place { name: member.name, number, bytes, meaning: *meaning })
        },
        msrs: names! { IA32_EFER IA32_PAT VM_HSAVE_PA },
    }
};

#[cfg(feature = "vmx")]
const _: () = assert!(VMX.msrs.len() <= MSRS && intel::vmcs::FIELDS.len() <= PLACES);
#[cfg(feature = "amd")]
const _: () = assert!(amd::vmcb::MEMBERS.len() <= PLACES);

impl Dump {
    /// What is known now.
    pub(crate) fn new(tables: &'static Tables, state: &dyn EntryState, capabilities: &dyn EntryCapabilities) -> Self {
        let mut dump =
            Self { tables, present: [0; _], values: [0; _], msrs: [None; _], leaves: [[0; 4]; _], area: [None; _] };
        for (index, value) in dump.values.iter_mut().enumerate() {
            let Some(place) = (tables.place)(index) else { break };
            if let Some(now) = state.field(place.number, place.bytes)
                && let Some(word) = dump.present.get_mut(index / 64)
            {
                *value = now;
                *word |= 1 << (index % 64);
            }
        }
        for (value, (_, msr)) in dump.msrs.iter_mut().zip(tables.msrs) {
            *value = capabilities.msr(msr.0);
        }
        for (registers, (leaf, subleaf)) in dump.leaves.iter_mut().zip(LEAVES) {
            *registers = capabilities.cpuid(leaf.0, subleaf).unwrap_or_default();
        }
        dump
    }

    /// Adds the first entries of the VM-entry MSR-load area, as far as its memory is known.
    #[cfg(feature = "vmx")]
    pub(crate) fn with_area(mut self, memory: &dyn EntryState) -> Self {
        let mut area = self.area;
        for (index, entry) in (0..ENTRIES as u64).zip(&mut area) {
            let word = |offset| memory.memory(self.entry_address(index)?.checked_add(offset)?, 8);
            *entry = word(0).zip(word(8)).map(|(register, value)| [register, value]);
        }
        self.area = area;
        self
    }

    /// Where an entry of that area is, if it has so many.
    #[cfg(feature = "vmx")]
    fn entry_address(&self, index: u64) -> Option<u64> {
        let field = |number, bytes| EntryState::field(self, number, bytes);
        let count = field(intel::vmcs::VM_ENTRY_MSR_LOAD_COUNT.encoding(), 4)?;
        let start = field(intel::vmcs::VM_ENTRY_MSR_LOAD_ADDRESS.encoding(), 8)?;
        if index < count { start.checked_add(index.checked_mul(ENTRY)?) } else { None }
    }

    fn value(&self, index: usize) -> Option<u64> {
        let present = self.present.get(index / 64)? >> (index % 64) & 1 != 0;
        if present { self.values.get(index).copied() } else { None }
    }

    /// The fields that there are, with their values.
    fn places(&self) -> impl Iterator<Item = (Place, u64)> {
        (0..PLACES).filter_map(|index| Some(((self.tables.place)(index)?, self.value(index)?)))
    }

    /// The fields that the CPU has, by name, with their values: `GUEST_RIP`, `save.RIP`.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.places().map(|(place, value)| (place.name, value))
    }

    /// The value of the field of this name, if the CPU has it.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.fields().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// What changed from here to `later`: a line for each field, with both values and what changed in them. Nothing where
    /// nothing did.
    pub fn diff<'d>(&'d self, later: &'d Dump) -> Diff<'d> {
        Diff { old: self, new: later }
    }
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "x86_vcpu dump 1 {}", self.tables.vendor)?;
        for (place, value) in self.places() {
            write!(f, "{} = {value:#x}", place.name)?;
            place.meaning.write(value, f)?;
            writeln!(f)?;
        }
        for (index, entry) in self.area.iter().enumerate() {
            if let Some([register, value]) = entry {
                writeln!(f, "VM_ENTRY_MSR_LOAD[{index}] = {register:#x} {value:#x}")?;
            }
        }
        for (value, (name, _)) in self.msrs.iter().zip(self.tables.msrs) {
            if let Some(value) = value {
                writeln!(f, "msr.{name} = {value:#x}")?;
            }
        }
        for ([eax, ebx, ecx, edx], (leaf, subleaf)) in self.leaves.iter().zip(LEAVES) {
            writeln!(f, "cpuid.{:#x}.{subleaf:#x} = {eax:#x} {ebx:#x} {ecx:#x} {edx:#x}", leaf.0)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dump").field("vendor", &self.tables.vendor).finish_non_exhaustive()
    }
}

impl EntryState for Dump {
    fn field(&self, number: u32, bytes: u32) -> Option<u64> {
        // A rule looks at a member as a whole.
        let same = |place: &Place| place.number == number && place.bytes >= bytes;
        self.places().find(|(place, _)| same(place)).map(|(_, value)| value)
    }

    #[cfg(feature = "vmx")]
    fn memory(&self, address: u64, bytes: u32) -> Option<u64> {
        (0..ENTRIES as u64).zip(&self.area).find_map(|(index, entry)| {
            let [register, value] = (*entry)?;
            match (address.checked_sub(self.entry_address(index)?)?, bytes) {
                (0, 4) => Some(register & u64::from(u32::MAX)),
                (4, 4) => Some(register >> 32),
                (0, 8) => Some(register),
                (8, 8) => Some(value),
                _ => None,
            }
        })
    }

    #[cfg(not(feature = "vmx"))]
    fn memory(&self, _address: u64, _bytes: u32) -> Option<u64> {
        None
    }
}

impl EntryCapabilities for Dump {
    fn msr(&self, address: u32) -> Option<u64> {
        self.msrs.iter().zip(self.tables.msrs).find(|(_, (_, msr))| msr.0 == address).and_then(|(value, _)| *value)
    }

    fn cpuid(&self, leaf: u32, subleaf: u32) -> Option<[u32; 4]> {
        let same = |(_, (other, sub)): &(_, (CpuidLeaf, u32))| other.0 == leaf && *sub == subleaf;
        self.leaves.iter().copied().zip(LEAVES).find(same).map(|(registers, _)| registers)
    }
}

/// What changed between two dumps, to be printed.
#[derive(Clone, Copy, Debug)]
pub struct Diff<'d> {
    old: &'d Dump,
    new: &'d Dump,
}

impl Diff<'_> {
    fn is_of_one_vendor(&self) -> bool {
        core::ptr::eq(self.old.tables, self.new.tables)
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.is_of_one_vendor() && (0..PLACES).all(|index| self.old.value(index) == self.new.value(index))
    }
}

impl fmt::Display for Diff<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_of_one_vendor() {
            return writeln!(f, "{} -> {}", self.old.tables.vendor, self.new.tables.vendor);
        }
        for index in 0..PLACES {
            let (Some(place), old, new) =
                ((self.old.tables.place)(index), self.old.value(index), self.new.value(index))
            else {
                break;
            };
            match (old, new) {
                (Some(old), Some(new)) if old != new => {
                    write!(f, "{}: {old:#x} -> {new:#x}", place.name)?;
                    place.meaning.write_change(old, new, f)?;
                    writeln!(f)?;
                }
                (Some(old), None) => writeln!(f, "{}: {old:#x} -> not there", place.name)?,
                (None, Some(new)) => writeln!(f, "{}: not there -> {new:#x}", place.name)?,
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(all(test, feature = "vmx", feature = "amd"))]
mod tests;
