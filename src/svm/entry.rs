//! What VMRUN checks, asked of the VMCB and of this CPU: before an entry, or after one that failed.

use memory_addr::PAGE_SIZE_4K;

#[cfg(feature = "doctor")]
use super::run::EVERY_ENTRY;
use super::{raw, vcpu::SvmVcpu, world_switch};
use crate::{
    Dump, Result, dump,
    entry::{EntryCapabilities, EntryState},
    exit::EntryFailure,
    frame::FrameSource,
    host::rdmsr,
    spec::{
        Msr,
        amd::{msrs::VM_HSAVE_PA, vmcb::Vmcb},
        x86::msrs::{IA32_EFER, IA32_PAT},
    },
};
#[cfg(feature = "doctor")]
use crate::{entry::Violations, spec::amd::entry_checks::CHECKS};

/// What it points at is not looked at.
impl EntryState for Vmcb {
    fn field(&self, number: u32, bytes: u32) -> Option<u64> {
        // SAFETY: a `Vmcb` is 4096 bytes of integers, with a member for each of them.
        let all = unsafe { &*core::ptr::from_ref(self).cast::<[u8; PAGE_SIZE_4K]>() };
        raw::read(all, number, bytes).ok()
    }

    fn memory(&self, _address: u64, _bytes: u32) -> Option<u64> {
        None
    }
}

/// The CPU that executes this.
pub(super) struct ThisCpu;

impl EntryCapabilities for ThisCpu {
    fn msr(&self, address: u32) -> Option<u64> {
        let msr = Msr(address);
        // SAFETY: there is a vCPU, so this CPU has SVM and 64-bit mode, and with them these registers.
        matches!(msr, IA32_EFER | IA32_PAT | VM_HSAVE_PA).then(|| unsafe { rdmsr(msr) })
    }

    fn cpuid(&self, leaf: u32, subleaf: u32) -> Option<[u32; 4]> {
        Some(crate::cpu::cpuid(leaf, subleaf))
    }
}

impl<S: FrameSource> SvmVcpu<S> {
    /// Finds out why an entry failed, while what is in the VMCB is still what was to be entered, and tells the log. Within
    /// `run`: meanwhile the CPU is the host's.
    #[cold]
    #[inline(never)]
    pub(super) fn explain_failure(&mut self, failure: EntryFailure) -> EntryFailure {
        let (host, guest) = (self.host_area.address(), self.vmcb.address());
        self.guest.xstate.leave_run();
        // SAFETY: exits are handled between `enter_world` and `leave_world` with these addresses.
        unsafe { world_switch::leave_world(host, guest) };
        #[cfg(feature = "doctor")]
        let failure = failure.explain(&*self.vmcb, &ThisCpu);
        #[cfg(not(feature = "doctor"))]
        log::error!("{failure}");
        // SAFETY: as above.
        unsafe { world_switch::enter_world(host, guest) };
        self.guest.xstate.enter_run();
        failure
    }

    /// The failure because of which the guest must not be entered: of a vCPU whose state is checked, if it breaks a rule.
    pub(super) fn foresee_failure(&self) -> Option<EntryFailure> {
        #[cfg(feature = "doctor")]
        if self.strict {
            return EntryFailure::foresee(CHECKS, &*self.vmcb, &ThisCpu);
        }
        None
    }

    /// Whether every entry has to be checked.
    pub(super) fn is_strict(&self) -> bool {
        #[cfg(feature = "doctor")]
        return self.strict;
        #[cfg(not(feature = "doctor"))]
        false
    }

    /// Everything that is in the VMCB and that the CPU can do. It has 3 KiB.
    ///
    /// # Errors
    /// None on SVM; as a VMCB is memory, the vCPU need not be where it is bound.
    pub fn dump(&self) -> Result<Dump> {
        Ok(Dump::new(&dump::SVM, &*self.vmcb, &ThisCpu))
    }

    /// Which rules of the manual for VMRUN the state breaks that the vCPU would be entered with.
    ///
    /// It is the state as it is in the VMCB: what the next [`run`](Self::run) writes before it enters, such as an event that it
    /// injects or the address-space identifier of a vCPU that has none yet, is not there yet.
    ///
    /// # Errors
    /// None on SVM; as a VMCB is memory, the vCPU need not be bound.
    #[cfg(feature = "doctor")]
    pub fn check_entry(&self) -> Result<Violations<'_>> {
        Ok(Violations::of(CHECKS, &*self.vmcb, &ThisCpu))
    }

    /// Checks the state before each entry, from now on or no longer: one that breaks a rule of the manual is not entered, and
    /// [`run`](Self::run) comes back with what the CPU would have said. An entry takes several hundred times as long then.
    #[cfg(feature = "doctor")]
    pub fn set_strict_entry(&mut self, strict: bool) {
        self.strict = strict;
        // The next entry looks at it.
        self.vmcb.mark_dirty(EVERY_ENTRY);
    }
}
