//! What the guest's CPUID answers.
//!
//! A table, filled once when the vCPU is made, from the host's CPUID cut down to what the library virtualizes; the VMM may
//! change it. The words that follow the guest's CR4 and XCR0 are patched when those change, so that answering is one look-up
//! and never executes CPUID.
//!
//! SDM volume 2A, "CPUID: CPU Identification"; APM volume 3, "Obtaining Processor Information Via the CPUID Instruction".

mod build;
mod features;
#[cfg(test)]
mod tests;
mod xstate;

use core::fmt;

pub use self::build::CpuidConfig;
use crate::{
    Error, GuestRegisters, Result,
    spec::x86::{
        cpuid::{CpuidBEcx, CpuidLeaf},
        registers::{Cpuid1Ebx, Cpuid1Ecx, Cpuid1Edx, Cpuid7Ecx, Cpuid80000008Eax, Cr4, Xcr0},
    },
};

/// What CPUID puts into EAX, EBX, ECX and EDX.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[expect(missing_docs, reason = "a register's name says it all")]
pub struct CpuidEntry {
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
}

impl CpuidEntry {
    /// What leaves that do not exist answer.
    pub const ZERO: Self = Self { eax: 0, ebx: 0, ecx: 0, edx: 0 };

    #[inline(always)]
    fn load(&self, registers: &mut GuestRegisters) {
        registers.rax = self.eax.into();
        registers.rbx = self.ebx.into();
        registers.rcx = self.ecx.into();
        registers.rdx = self.edx.into();
    }
}

/// Where the entries of a leaf stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(4))]
struct Index {
    first: u8,
    /// How many sub-leaves it has; 0: the leaf is not in the table.
    count: u8,
    /// The part of ECX that counts: none of it (0) or all (-1), for leaves that [`has_subleaves`] names.
    subleaf_mask: i8,
}

impl Index {
    const ABSENT: Self = Self { first: 0, count: 0, subleaf_mask: 0 };

    /// Where the entry of a sub-leaf stands, if there is one.
    #[inline]
    const fn position(self, subleaf: u32) -> Option<usize> {
        let subleaf = subleaf & self.subleaf_mask as u32;
        if subleaf < self.count as u32 { Some(self.first as usize + subleaf as usize) } else { None }
    }
}

/// Leaves whose answer depends on ECX.
const fn has_subleaves(leaf: u32) -> bool {
    matches!(
        CpuidLeaf(leaf),
        CpuidLeaf::CACHE_PARAMETERS
            | CpuidLeaf::STRUCTURED_FEATURES
            | CpuidLeaf::TOPOLOGY
            | CpuidLeaf::EXTENDED_STATE
            | CpuidLeaf::TOPOLOGY_V2
            | CpuidLeaf::CACHE_TOPOLOGY
    )
}

/// How many leaves each of the ranges from 0, from 4000_0000H and from 8000_0000H has in the table.
const RANGE: u32 = 64;
/// How many entries there are: what is left of a 4 KiB frame.
const ENTRIES: usize = 188;

/// The answers of CPUID for one vCPU.
///
/// It has no pointers and fits into a 4 KiB frame.
#[derive(Clone)]
#[repr(C)]
pub struct CpuidPolicy {
    /// By the two upper bits of a leaf and its six lower ones.
    index: [Index; 256],
    entries: [CpuidEntry; ENTRIES],
    used: u8,
    /// Leaves above the highest answer as Intel's CPUs do: with the highest basic leaf. Else, as on AMD, with zeros.
    repeats_highest: bool,
    cr4: Cr4,
    xcr0: Xcr0,
}

const _: () = assert!(size_of::<CpuidPolicy>() <= 4096 && ENTRIES < 256);

/// The bits of CR4 that CPUID shows.
const SHOWN_CR4: Cr4 = Cr4::OSXSAVE.with(Cr4::PKE);

impl CpuidPolicy {
    /// A table in which every leaf answers zeros.
    pub const fn empty() -> Self {
        Self {
            index: [Index::ABSENT; 256],
            entries: [CpuidEntry::ZERO; ENTRIES],
            used: 0,
            repeats_highest: false,
            cr4: Cr4::empty(),
            xcr0: Xcr0::X87,
        }
    }

    /// Shows what a local APIC brings with it.
    pub(crate) fn add_local_apic(&mut self, x2apic: bool, tsc_deadline: bool) {
        if let Some(entry) = self.get_mut(CpuidLeaf::FEATURES.0, 0) {
            let mut ecx = Cpuid1Ecx::from_bits(entry.ecx);
            ecx.set(Cpuid1Ecx::X2APIC, x2apic);
            ecx.set(Cpuid1Ecx::TSC_DEADLINE, tsc_deadline);
            entry.ecx = ecx.bits();
        }
        self.show_local_apic(true);
    }

    /// Shows the local APIC, or that it is turned off (IA32_APIC_BASE).
    pub(crate) fn show_local_apic(&mut self, enabled: bool) {
        if let Some(entry) = self.get_mut(CpuidLeaf::FEATURES.0, 0) {
            let mut edx = Cpuid1Edx::from_bits(entry.edx);
            edx.set(Cpuid1Edx::APIC, enabled);
            entry.edx = edx.bits();
        }
    }

    /// Hides RDRAND and RDSEED.
    #[cfg(feature = "replay")]
    pub(crate) fn hide_random(&mut self) {
        use crate::spec::x86::registers::Cpuid7Ebx;

        if let Some(entry) = self.get_mut(CpuidLeaf::FEATURES.0, 0) {
            entry.ecx = Cpuid1Ecx::from_bits(entry.ecx).without(Cpuid1Ecx::RDRAND).bits();
        }
        if let Some(entry) = self.get_mut(CpuidLeaf::STRUCTURED_FEATURES.0, 0) {
            entry.ebx = Cpuid7Ebx::from_bits(entry.ebx).without(Cpuid7Ebx::RDSEED).bits();
        }
    }

    /// Family, model and stepping.
    pub(crate) fn signature(&self) -> u32 {
        self.get(CpuidLeaf::FEATURES.0, 0).map_or(0, |entry| entry.eax)
    }

    /// The answer to CPUID with `leaf` in EAX and `subleaf` in ECX.
    #[inline]
    pub fn lookup(&self, leaf: u32, subleaf: u32) -> CpuidEntry {
        match self.find(leaf, subleaf) {
            Some(entry) => *entry,
            None => self.lookup_absent(leaf, subleaf),
        }
    }

    /// Answers the CPUID that the guest executes with these registers.
    #[inline]
    pub fn execute(&self, registers: &mut GuestRegisters) {
        let (leaf, subleaf) = (registers.rax as u32, registers.rcx as u32);
        if let Some(entry) = self.find(leaf, subleaf) {
            entry.load(registers);
        } else {
            self.lookup_absent(leaf, subleaf).load(registers);
        }
    }

    /// How many bits physical addresses have, as the guest is told; 0 when it is not.
    pub fn physical_bits(&self) -> u8 {
        let entry = self.find(CpuidLeaf::ADDRESS_SIZES.0, 0);
        entry.map_or(0, |entry| Cpuid80000008Eax::from_bits(entry.eax).physical_address_bits())
    }

    #[inline(always)]
    fn find(&self, leaf: u32, subleaf: u32) -> Option<&CpuidEntry> {
        self.entries.get(self.index[place(leaf)?].position(subleaf)?)
    }

    #[cold]
    fn lookup_absent(&self, leaf: u32, subleaf: u32) -> CpuidEntry {
        let entry = |leaf: CpuidLeaf| self.get(leaf.0, 0).unwrap_or(CpuidEntry::ZERO);
        let highest = match leaf >> 30 {
            0 => entry(CpuidLeaf::VENDOR).eax,
            1 => entry(CpuidLeaf::HYPERVISOR).eax.max(CpuidLeaf::HYPERVISOR.0 | (RANGE - 1)),
            2 => entry(CpuidLeaf::EXTENDED_MAXIMUM).eax,
            _ => 0,
        };
        let basic = entry(CpuidLeaf::VENDOR).eax;
        if leaf > highest && self.repeats_highest && leaf != basic && place(basic).is_some() {
            return self.lookup(basic, subleaf);
        }
        if matches!(CpuidLeaf(leaf), CpuidLeaf::TOPOLOGY | CpuidLeaf::TOPOLOGY_V2)
            && let Some(first) = self.get(leaf, 0)
        {
            // The sub-leaves that follow the last level repeat their number and the x2APIC id.
            return CpuidEntry {
                ecx: subleaf & CpuidBEcx::LEVEL_NUMBER_MASK.bits(),
                edx: first.edx,
                ..CpuidEntry::ZERO
            };
        }
        CpuidEntry::ZERO
    }

    /// The entry of a leaf and sub-leaf, if the table has one.
    pub fn get(&self, leaf: u32, subleaf: u32) -> Option<CpuidEntry> {
        self.entries.get(self.position(leaf, subleaf)?).copied()
    }

    /// The entry of a leaf and sub-leaf, to change it, if the table has one.
    pub fn get_mut(&mut self, leaf: u32, subleaf: u32) -> Option<&mut CpuidEntry> {
        let position = self.position(leaf, subleaf)?;
        self.entries.get_mut(position)
    }

    /// Sets an entry, which is made if there is none. It does not change the leaves that say how many leaves there are.
    ///
    /// Of the leaves whose answer does not depend on ECX, `subleaf` is ignored.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for leaves beyond the first 64 of the basic, hypervisor and extended ranges, and sub-leaves
    /// beyond the first 64;
    /// [`Error::NoMemory`] when the table is full.
    pub fn set(&mut self, leaf: u32, subleaf: u32, entry: CpuidEntry) -> Result {
        let place = place(leaf).ok_or(Error::InvalidInput("the CPUID leaf is outside the table"))?;
        let subleaf = if has_subleaves(leaf) { subleaf } else { 0 };
        if subleaf >= RANGE {
            return Err(Error::InvalidInput("the CPUID sub-leaf is outside the table"));
        }
        while u32::from(self.index[place].count) <= subleaf {
            self.insert(place, has_subleaves(leaf))?;
        }
        match self.get_mut(leaf, subleaf) {
            Some(slot) => *slot = entry,
            // It was just inserted.
            None => return Err(Error::NoMemory),
        }
        self.patch();
        Ok(())
    }

    /// Adds a sub-leaf of zeros behind the last one of a leaf.
    fn insert(&mut self, place: usize, has_subleaves: bool) -> Result {
        let used = usize::from(self.used);
        if used >= ENTRIES {
            return Err(Error::NoMemory);
        }
        let Index { first, count, .. } = self.index[place & 0xff];
        let position = if count == 0 { used } else { usize::from(first) + usize::from(count) };
        if position > used {
            return Err(Error::NoMemory);
        }
        self.entries.copy_within(position..used, position + 1);
        if let Some(entry) = self.entries.get_mut(position) {
            *entry = CpuidEntry::ZERO;
        }
        for index in &mut self.index {
            if index.count != 0 && usize::from(index.first) >= position {
                index.first += 1;
            }
        }
        self.index[place & 0xff] = Index {
            first: if count == 0 { position as u8 } else { first },
            count: count + 1,
            subleaf_mask: -i8::from(has_subleaves),
        };
        self.used += 1;
        Ok(())
    }

    fn position(&self, leaf: u32, subleaf: u32) -> Option<usize> {
        self.index[place(leaf)?].position(subleaf)
    }

    /// Follows the guest's CR4 and XCR0: OSXSAVE, OSPKE and the sizes of the XSAVE area. Cheap when nothing of it changed.
    #[inline]
    pub fn update(&mut self, cr4: Cr4, xcr0: Xcr0) {
        let cr4 = cr4 & SHOWN_CR4;
        if cr4 != self.cr4 || xcr0 != self.xcr0 {
            self.cr4 = cr4;
            self.xcr0 = xcr0;
            self.patch();
        }
    }

    #[cold]
    fn patch(&mut self) {
        let (cr4, xcr0) = (self.cr4, self.xcr0);
        if let Some(entry) = self.get_mut(CpuidLeaf::FEATURES.0, 0) {
            let mut ecx = Cpuid1Ecx::from_bits(entry.ecx);
            ecx.set(Cpuid1Ecx::OSXSAVE, ecx.contains(Cpuid1Ecx::XSAVE) && cr4.contains(Cr4::OSXSAVE));
            entry.ecx = ecx.bits();
        }
        if let Some(entry) = self.get_mut(CpuidLeaf::STRUCTURED_FEATURES.0, 0) {
            let mut ecx = Cpuid7Ecx::from_bits(entry.ecx);
            ecx.set(Cpuid7Ecx::OSPKE, ecx.contains(Cpuid7Ecx::PKU) && cr4.contains(Cr4::PKE));
            entry.ecx = ecx.bits();
        }
        xstate::update_sizes(self, xcr0);
    }

    /// The APIC id in all leaves that show it.
    pub fn set_apic_id(&mut self, apic_id: u32) {
        if let Some(entry) = self.get_mut(CpuidLeaf::FEATURES.0, 0) {
            // The field has 8 bits; CPUs with larger ids show their low ones.
            entry.ebx = Cpuid1Ebx::from_bits(entry.ebx).with_initial_apic_id(apic_id as u8).bits();
        }
        for leaf in [CpuidLeaf::TOPOLOGY, CpuidLeaf::TOPOLOGY_V2] {
            let mut subleaf = 0;
            while let Some(entry) = self.get_mut(leaf.0, subleaf) {
                entry.edx = apic_id;
                subleaf += 1;
            }
        }
        if let Some(entry) = self.get_mut(CpuidLeaf::PROCESSOR_TOPOLOGY.0, 0) {
            entry.eax = apic_id;
        }
    }
}

/// Where the index of a leaf stands.
#[inline]
const fn place(leaf: u32) -> Option<usize> {
    let middle = u32::MAX >> 2 & !(RANGE - 1);
    if leaf & middle != 0 { None } else { Some(((leaf >> 24 | leaf) & 0xff) as usize) }
}

impl fmt::Debug for CpuidPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for range in 0..4 {
            for low in 0..RANGE {
                let leaf = range << 30 | low;
                let mut subleaf = 0;
                while let Some(entry) = self.get(leaf, subleaf) {
                    map.entry(&format_args!("{leaf:#x}.{subleaf}"), &format_args!("{entry:x?}"));
                    subleaf += 1;
                    if !has_subleaves(leaf) {
                        break;
                    }
                }
            }
        }
        map.finish()
    }
}
