//! What VM entry checks, asked of the VMCS and of this CPU: before an entry, or after one that failed.

use memory_addr::PhysAddr;

use super::{
    capabilities::Capabilities,
    loaded::{Backend, Vmcs},
    vcpu::VmxVcpu,
};
use crate::{
    Dump, Result, dump,
    entry::{ENTRIES, ENTRY, EntryCapabilities, EntryState},
    exit::EntryFailure,
    fixup::{Probe, probe_msr},
    frame::{FrameSource, read_bytes},
    host::{self, rdmsr},
    spec::{
        FieldInfo, Msr,
        intel::{
            controls::{ExitControls, PrimaryControls, SecondaryControls},
            msrs::*,
            vmcs::{FIELDS, VM_ENTRY_MSR_LOAD_ADDRESS, VM_ENTRY_MSR_LOAD_COUNT},
        },
        x86::{
            cpuid::CpuidLeaf,
            msrs::{IA32_EFER, IA32_PERF_CAPABILITIES, IA32_RTIT_CTL},
            registers::{Cpuid1Ecx, Cpuid7Ebx},
        },
    },
};
#[cfg(feature = "doctor")]
use crate::{entry::Violations, spec::intel::entry_checks::CHECKS};

/// What is known of the field with this encoding.
pub(super) fn field_info(encoding: u32) -> Option<&'static FieldInfo> {
    let place = FIELDS.binary_search_by_key(&encoding, FieldInfo::encoding).ok()?;
    FIELDS.get(place)
}

/// Fields that the CPU does not have are not known. Nor is memory: of addresses in fields a VMCS does not say who may read
/// there.
impl<B: Backend> EntryState for Vmcs<'_, B> {
    fn field(&self, number: u32, _bytes: u32) -> Option<u64> {
        field_info(number)?.exists(self.allowed()).then(|| self.backend().try_read(number).ok())?
    }

    fn memory(&self, _address: u64, _bytes: u32) -> Option<u64> {
        None
    }
}

/// Where these bytes are, if they are of an area of so many entries.
fn in_msr_area(start: u64, entries: u64, address: u64, bytes: u32) -> Option<PhysAddr> {
    // An area where the CPU would not look is none.
    let aligned = start != 0 && start.is_multiple_of(ENTRY);
    let end = start.checked_add(entries.min(ENTRIES).wrapping_mul(ENTRY))?;
    let inside = address >= start && address.checked_add(bytes.into())? <= end;
    (aligned && inside).then(|| usize::try_from(address).ok().map(PhysAddr::from))?
}

/// What is to be entered next: the VMCS as it is, known while the vCPU is bound to the CPU that asks. Of memory the frames that
/// the vCPU owns are known, where the library has put every address of the VMCS, and the MSR area of a VMM that has given one.
impl<S: FrameSource> EntryState for VmxVcpu<S> {
    fn field(&self, number: u32, bytes: u32) -> Option<u64> {
        self.check_owner().ok()?;
        self.vmcs().field(number, bytes)
    }

    fn memory(&self, address: u64, bytes: u32) -> Option<u64> {
        let apic = self.guest.interrupts.apic().map(|apic| apic.page_frame());
        let frames = [Some(&self.msr_bitmap), self.modification_log.as_ref(), apic];
        frames.into_iter().flatten().find_map(|frame| frame.peek(address, bytes)).or_else(|| {
            let field = |field: u32| self.field(field, 8);
            let (start, entries) =
                (field(VM_ENTRY_MSR_LOAD_ADDRESS.encoding())?, field(VM_ENTRY_MSR_LOAD_COUNT.encoding())?);
            let place = S::phys_to_virt(in_msr_area(start, entries, address, bytes)?).as_ptr();
            // SAFETY: whoever wrote this address promised in `write_vmcs_field` that the area is memory that the host sees
            // there; the bytes are inside of it.
            (!place.is_null()).then(|| unsafe { read_bytes(place, bytes) })
        })
    }

    fn current_vmcs(&self) -> Option<u64> {
        Some(self.region_address())
    }
}

impl EntryCapabilities for Capabilities {
    fn msr(&self, address: u32) -> Option<u64> {
        let msr = Msr(address);
        let exists = match msr {
            // With VMX, and with the 64-bit mode that the library runs in.
            IA32_FEATURE_CONTROL
            | IA32_VMX_BASIC
            | IA32_VMX_PINBASED_CTLS
            | IA32_VMX_PROCBASED_CTLS
            | IA32_VMX_EXIT_CTLS
            | IA32_VMX_ENTRY_CTLS
            | IA32_VMX_MISC
            | IA32_VMX_CR0_FIXED0
            | IA32_VMX_CR0_FIXED1
            | IA32_VMX_CR4_FIXED0
            | IA32_VMX_CR4_FIXED1
            | IA32_VMX_VMCS_ENUM
            | IA32_EFER => true,
            IA32_VMX_TRUE_PINBASED_CTLS
            | IA32_VMX_TRUE_PROCBASED_CTLS
            | IA32_VMX_TRUE_EXIT_CTLS
            | IA32_VMX_TRUE_ENTRY_CTLS => self.basic.contains(VmxBasic::TRUE_CONTROLS),
            IA32_VMX_PROCBASED_CTLS2 => self.allowed.primary.contains(PrimaryControls::ACTIVATE_SECONDARY_CONTROLS),
            IA32_VMX_PROCBASED_CTLS3 => self.allowed.primary.contains(PrimaryControls::ACTIVATE_TERTIARY_CONTROLS),
            IA32_VMX_EXIT_CTLS2 => self.allowed.exit.contains(ExitControls::ACTIVATE_SECONDARY_CONTROLS),
            IA32_VMX_VMFUNC => self.allowed.secondary.contains(SecondaryControls::ENABLE_VM_FUNCTIONS),
            IA32_VMX_EPT_VPID_CAP => {
                let tags = SecondaryControls::ENABLE_EPT.with(SecondaryControls::ENABLE_VPID);
                self.allowed.secondary.intersects(tags)
            }
            IA32_PERF_CAPABILITIES => {
                let [_, _, ecx, _] = crate::cpu::cpuid(CpuidLeaf::FEATURES.0, 0);
                // An emulator announces it and does not have it.
                return match Cpuid1Ecx::from_bits(ecx).contains(Cpuid1Ecx::PDCM).then(|| probe_msr(msr)) {
                    Some(Probe::Value(value)) => Some(value),
                    _ => None,
                };
            }
            IA32_RTIT_CTL => {
                let [_, ebx, _, _] = crate::cpu::cpuid(CpuidLeaf::STRUCTURED_FEATURES.0, 0);
                Cpuid7Ebx::from_bits(ebx).contains(Cpuid7Ebx::INTEL_PT)
            }
            _ => false,
        };
        // SAFETY: whoever has the capabilities has a CPU with VMX, and the register is announced.
        exists.then(|| unsafe { rdmsr(msr) })
    }

    fn cpuid(&self, leaf: u32, subleaf: u32) -> Option<[u32; 4]> {
        Some(crate::cpu::cpuid(leaf, subleaf))
    }
}

/// What is to be done before the next entry, besides what every entry needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct BeforeEntry(u8);

impl BeforeEntry {
    pub(super) const NOTHING: Self = Self(0);
    /// Translations that were derived from the nested page table must be forgotten.
    pub(super) const FORGET_NESTED: Self = Self(1);
    /// The state has to be checked.
    #[cfg(feature = "doctor")]
    const CHECK: Self = Self(2);

    /// Whether there is something.
    #[inline(always)]
    pub(super) fn any(self) -> bool {
        self != Self::NOTHING
    }

    fn contains(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(super) fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }
}

impl<S: FrameSource> VmxVcpu<S> {
    /// Does that; the failure because of which the guest must not be entered.
    #[cold]
    #[inline(never)]
    pub(super) fn prepare_entry(&mut self) -> Option<EntryFailure> {
        if self.before_entry.contains(BeforeEntry::FORGET_NESTED)
            && let Some(error) = self.forget_nested_now()
        {
            return Some(EntryFailure::instruction(error));
        }
        #[cfg(feature = "doctor")]
        if self.before_entry.contains(BeforeEntry::CHECK) {
            return EntryFailure::foresee(CHECKS, self, self.capabilities);
        }
        None
    }

    /// Finds out why an entry failed, while what is in the VMCS is still what was to be entered, and tells the log. Within
    /// `run`, where the extended registers and CR2 are the guest's.
    #[cold]
    #[inline(never)]
    pub(super) fn explain_failure(&mut self, failure: EntryFailure) -> EntryFailure {
        let cr2 = host::cr2();
        self.guest.xstate.leave_run();
        #[cfg(feature = "doctor")]
        let failure = failure.explain(self, self.capabilities).ask_for_msr(|msr| probe_msr(msr) == Probe::Absent);
        #[cfg(not(feature = "doctor"))]
        log::error!("{failure}");
        self.guest.xstate.enter_run();
        host::set_cr2(cr2);
        failure
    }

    /// Everything that is in the VMCS and that the CPU can do. It has 3 KiB.
    ///
    /// # Errors
    /// [`Error::BadState`](crate::Error::BadState) when this CPU is not enabled, or the vCPU is bound to another.
    pub fn dump(&mut self) -> Result<Dump> {
        self.with_vmcs(|vcpu, vmcs| Ok(Dump::new(&dump::VMX, vmcs, vcpu.capabilities).with_area(vcpu)))
    }

    /// Which rules of the manual for VM entries the state breaks that the vCPU would be entered with, in the order in which the
    /// CPU checks them. The CPU goes by the first one that it finds.
    ///
    /// It is the state as it is in the VMCS: what the next [`run`](Self::run) writes before it enters, such as an event that it
    /// injects, is not there yet, and after a failed entry no longer.
    ///
    /// # Errors
    /// [`Error::BadState`](crate::Error::BadState) when the vCPU is not bound to this CPU.
    #[cfg(feature = "doctor")]
    pub fn check_entry(&self) -> Result<Violations<'_>> {
        self.check_owner()?;
        Ok(Violations::of(CHECKS, self, self.capabilities))
    }

    /// Checks the state before each entry, from now on or no longer: one that breaks a rule of the manual is not entered, and
    /// [`run`](Self::run) comes back with what the CPU would have said. An entry takes several hundred times as long then.
    #[cfg(feature = "doctor")]
    pub fn set_strict_entry(&mut self, strict: bool) {
        if strict {
            self.before_entry.insert(BeforeEntry::CHECK);
        } else {
            self.before_entry.remove(BeforeEntry::CHECK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::in_msr_area;

    #[test]
    fn only_an_area_that_the_cpu_would_look_at_is_read() {
        let at = |start, entries, address| in_msr_area(start, entries, address, 8).map(|place| place.as_usize());
        assert_eq!(at(0x1000, 2, 0x1000), Some(0x1000));
        assert_eq!(at(0x1000, 2, 0x1018), Some(0x1018));
        for (start, entries, address) in [
            (0x1000, 2, 0x1019),
            (0x1000, 2, 0xfff),
            (0x1000, 0, 0x1000),
            (0x1008, 2, 0x1008),
            (0, 2, 0),
            (0x1000, u64::MAX, 0x1000 + 512 * 16),
            (u64::MAX - 15, 2, u64::MAX - 15),
            (0x1000, 2, u64::MAX),
        ] {
            assert_eq!(at(start, entries, address), None, "{start:#x} {entries} {address:#x}");
        }
    }
}
