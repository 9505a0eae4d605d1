//! Which CPU this is, and what the library keeps about each one.
//!
//! A vCPU is bound to the CPU that owns it, and hardware keeps translations by tag per CPU, so the library must know one
//! CPU from another without an embedder's help. It asks CPUID for the APIC id when a CPU is enabled and when a vCPU is
//! bound, never while a guest runs.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::{
    Error, Result,
    spec::x86::{cpuid::CpuidLeaf, registers::Cpuid1Ebx},
};

/// How many CPUs may be enabled at a time.
pub const MAX_CPUS: usize = 256;

/// The library's account of one enabled CPU.
pub(crate) struct CpuSlot {
    /// The APIC id plus one; 0 when the slot is free.
    id: AtomicU64,
    /// The embedder's number for the CPU.
    number: AtomicU64,
    /// SVM: the current generation of address-space identifiers; VMX does not use it.
    pub(crate) asid_generation: AtomicU64,
    /// SVM: the next identifier to give out in this generation.
    pub(crate) next_asid: AtomicU32,
    /// The number of the vCPU that was bound to this CPU last, 0 for none.
    pub(crate) last_vcpu: AtomicU64,
    /// SVM: the physical address of the VMCB of the vCPU that is bound to this CPU, 0 for none; VMX asks VMPTRST.
    pub(crate) bound: AtomicU64,
}

static SLOTS: [CpuSlot; MAX_CPUS] = [const {
    CpuSlot {
        id: AtomicU64::new(0),
        number: AtomicU64::new(0),
        asid_generation: AtomicU64::new(0),
        next_asid: AtomicU32::new(0),
        last_vcpu: AtomicU64::new(0),
        bound: AtomicU64::new(0),
    }
}; MAX_CPUS];

/// The index of an enabled CPU's slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CpuIndex(usize);

impl CpuIndex {
    /// Its slot.
    pub(crate) fn slot(self) -> &'static CpuSlot {
        // The index is always below `MAX_CPUS`; the modulo keeps a panic out of the object code.
        &SLOTS[self.0 % MAX_CPUS]
    }

    /// The number that the embedder gave the CPU.
    pub(crate) fn number(self) -> usize {
        self.slot().number.load(Ordering::Relaxed) as usize
    }

    /// The slot of the CPU that executes this.
    ///
    /// # Errors
    /// [`Error::BadState`] when it is not enabled.
    pub(crate) fn current() -> Result<Self> {
        find(current_apic_id()).ok_or(Error::BadState("virtualization is not enabled on this CPU"))
    }

    /// Claims a slot for the CPU that executes this.
    ///
    /// # Errors
    /// [`Error::BadState`] when it has one, [`Error::TooManyCpus`] when there is none.
    pub(crate) fn claim(number: usize) -> Result<Self> {
        let id = current_apic_id();
        if find(id).is_some() {
            return Err(Error::BadState("virtualization is already enabled on this CPU"));
        }
        for (index, slot) in SLOTS.iter().enumerate() {
            // Acquire pairs with the release in `release`: what the previous owner wrote is behind us.
            if slot.id.compare_exchange(0, id, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                slot.number.store(number as u64, Ordering::Relaxed);
                return Ok(Self(index));
            }
        }
        Err(Error::TooManyCpus)
    }

    /// Gives the slot back.
    pub(crate) fn release(self) {
        self.slot().id.store(0, Ordering::Release);
    }
}

fn find(id: u64) -> Option<CpuIndex> {
    SLOTS.iter().position(|slot| slot.id.load(Ordering::Relaxed) == id).map(CpuIndex)
}

/// EAX, EBX, ECX and EDX of a leaf of this CPU; zeros where it has no such leaf, since some CPUs answer with another one's.
pub(crate) fn cpuid(leaf: u32, subleaf: u32) -> [u32; 4] {
    use raw_cpuid::native_cpuid::cpuid_count;
    // The first leaf of a range names its last one.
    if leaf > cpuid_count(leaf & 0xffff_0000, 0).eax {
        return [0; 4];
    }
    let found = cpuid_count(leaf, subleaf);
    [found.eax, found.ebx, found.ecx, found.edx]
}

/// How many bits physical addresses have on this CPU.
pub(crate) fn physical_bits() -> u8 {
    /// What CPUs have that do not say.
    const SMALLEST: u8 = 36;
    raw_cpuid::CpuId::new()
        .get_processor_capacity_feature_info()
        .map_or(SMALLEST, |capacity| capacity.physical_address_bits())
}

/// The APIC id of this CPU, plus one so that 0 can mean "none".
fn current_apic_id() -> u64 {
    let [_, logical_processors, _, x2apic_id] = cpuid(CpuidLeaf::TOPOLOGY.0, 0);
    let id = if logical_processors != 0 {
        x2apic_id
    } else {
        let [_, ebx, ..] = cpuid(CpuidLeaf::FEATURES.0, 0);
        Cpuid1Ebx::from_bits(ebx).initial_apic_id().into()
    };
    u64::from(id).wrapping_add(1)
}
