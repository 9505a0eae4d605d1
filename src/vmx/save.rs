//! A vCPU as a [`State`], and back: what the VMCS has of it.

use super::{
    emulation::{pdptes, write_pdptes},
    loaded::Vmcs,
    vcpu::VmxVcpu,
};
use crate::{
    Error, Result, State, SystemRegisters,
    frame::FrameSource,
    guest::{
        control::ControlState,
        debug::MET,
        snapshot::{Hardware, InterruptShadow, Watched},
        start::BUSY_TSS,
    },
    host::InterruptsOff,
    spec::{
        intel::{
            conditions::AllowedControls,
            controls::SecondaryControls,
            structures::{InterruptibilityState, PendingDebugExceptions, SegmentAccessRights},
            vmcs::*,
        },
        x86::{
            msrs::*,
            paging::{PaePdpte, SegmentType},
            registers::{Cr0, Dr6, Rflags},
        },
    },
};

impl<S: FrameSource> VmxVcpu<S> {
    /// The whole architectural state, of a vCPU that is bound here or not at all. It is not changed by that.
    ///
    /// # Errors
    /// [`Error::BadState`] while an instruction is half done, when this CPU is not enabled, or the vCPU is bound to another.
    pub fn save(&mut self) -> Result<State> {
        let mut state = State::default();
        self.save_to(&mut state)?;
        Ok(state)
    }

    /// The same, into memory that the caller has.
    ///
    /// # Errors
    /// As [`save`](Self::save).
    pub fn save_to(&mut self, to: &mut State) -> Result {
        self.guest.check_savable()?;
        self.with_vmcs(|vcpu, vmcs| {
            vcpu.guest.take_in_mail();
            vcpu.with_registers_in_memory(|vcpu| vcpu.save_with(vmcs, to));
            Ok(())
        })
    }

    /// Makes the vCPU go on from a state, whichever vendor's CPU saved it. It may be bound here, or not at all.
    ///
    /// # Errors
    /// [`Error::Unsupported`] and [`Error::InvalidInput`] name the first thing that does not fit this CPU or what the vCPU
    /// offers its guest, which is unchanged then; and [`Error::BadState`] as for [`save`](Self::save), or when
    /// page-directory-pointer-table entries are to be read and there is no nested page table.
    pub fn restore(&mut self, from: &State) -> Result {
        self.with_vmcs(|vcpu, vmcs| vcpu.restore_with(vmcs, from))
    }

    /// Runs `f` while the registers that only a bound vCPU has in the CPU are in memory.
    pub(super) fn with_registers_in_memory(&mut self, f: impl FnOnce(&mut Self)) {
        let bound = self.guest.cpu.is_some();
        let _interrupts_off = bound.then(InterruptsOff::new);
        if bound {
            self.msrs.store();
            self.guest.xstate.put_down();
        }
        f(self);
        if bound {
            self.guest.xstate.take_up();
            self.msrs.load();
        }
    }

    pub(super) fn save_with(&mut self, vmcs: &Vmcs<'_>, to: &mut State) {
        to.system = self.read_system(vmcs);
        to.pdptes = if self.control_state(vmcs).uses_pae_paging() {
            pdptes(vmcs).map(|entries| entries.map(PaePdpte::bits))
        } else {
            None
        };
        let switched = |msr| self.msrs.get(msr).unwrap_or(0);
        to.msrs.star = switched(IA32_STAR);
        to.msrs.lstar = switched(IA32_LSTAR);
        to.msrs.cstar = switched(IA32_CSTAR);
        to.msrs.fmask = switched(IA32_FMASK);
        to.msrs.kernel_gs_base = switched(IA32_KERNEL_GS_BASE);
        to.msrs.tsc_aux = switched(IA32_TSC_AUX);
        to.msrs.sysenter_cs = vmcs.read(GUEST_IA32_SYSENTER_CS).into();
        to.msrs.sysenter_esp = vmcs.read(GUEST_IA32_SYSENTER_ESP);
        to.msrs.sysenter_eip = vmcs.read(GUEST_IA32_SYSENTER_EIP);
        to.msrs.pat = vmcs.has().map_or(IA32_PAT_RESET, |witness| vmcs.read_if(GUEST_IA32_PAT, witness).bits());
        let state = vmcs.read(GUEST_INTERRUPTIBILITY_STATE);
        to.events.nmi_blocked = state.contains(InterruptibilityState::BLOCKING_BY_NMI);
        to.events.shadow = if state.contains(InterruptibilityState::BLOCKING_BY_MOV_SS) {
            InterruptShadow::MovSs
        } else if state.contains(InterruptibilityState::BLOCKING_BY_STI) {
            InterruptShadow::Sti
        } else {
            InterruptShadow::None
        };
        to.debug.pending = pending_causes(vmcs.read(GUEST_PENDING_DEBUG_EXCEPTIONS));
        let port = if self.guest.skip != 0 { self.port_of_exit(vmcs) } else { None };
        to.debug.watched = port.filter(|_| self.guest.debug.breakpoints_enabled()).map_or(Watched::None, Watched::from);
        self.guest.save_shared(&self.exit, to);
    }

    pub(super) fn restore_with(&mut self, vmcs: &Vmcs<'_>, from: &State) -> Result {
        let hardware = Hardware {
            physical_bits: self.cpuid.physical_bits(),
            rdtscp: self.controls.rdtscp(),
            tsc_scaling: self.has_tsc_scaling(),
        };
        self.guest.check_state(&hardware, from)?;
        if !self.controls.unrestricted_guest() && !from.system.cr0.contains(Cr0::PE.with(Cr0::PG)) {
            return Err(Error::Unsupported("guests without paging (\"unrestricted guest\")"));
        }
        if from.events.shadow == InterruptShadow::Sti && !from.system.rflags.contains(Rflags::IF) {
            return Err(Error::InvalidInput("the saved shadow is that of an STI, and RFLAGS.IF is 0"));
        }
        let pdptes = self.pdptes_of(from)?;

        self.with_registers_in_memory(|vcpu| {
            vcpu.guest.xstate.restore(&from.extended);
            for (msr, value) in [
                (IA32_STAR, from.msrs.star),
                (IA32_LSTAR, from.msrs.lstar),
                (IA32_CSTAR, from.msrs.cstar),
                (IA32_FMASK, from.msrs.fmask),
                (IA32_KERNEL_GS_BASE, from.msrs.kernel_gs_base),
                (IA32_TSC_AUX, from.msrs.tsc_aux),
            ] {
                vcpu.msrs.set(msr, value);
            }
        });
        self.guest.xstate.edges.restore_control(from.msrs.spec_ctrl);
        self.guest.restore_shared(from);
        self.write_system(vmcs, &as_entry_wants(&from.system))?;
        if let Some(entries) = pdptes {
            write_pdptes(vmcs, entries);
        }
        vmcs.write(GUEST_IA32_SYSENTER_CS, from.msrs.sysenter_cs as u32);
        vmcs.write(GUEST_IA32_SYSENTER_ESP, from.msrs.sysenter_esp);
        vmcs.write(GUEST_IA32_SYSENTER_EIP, from.msrs.sysenter_eip);
        if let Some(witness) = vmcs.has() {
            vmcs.write_if(GUEST_IA32_PAT, Pat::from_bits(from.msrs.pat), witness);
        }
        let (interruptibility, pending) = delays(from);
        vmcs.write(GUEST_INTERRUPTIBILITY_STATE, interruptibility);
        vmcs.write(GUEST_PENDING_DEBUG_EXCEPTIONS, pending);
        self.write_tsc_ratio(vmcs);
        self.show_local_apic();
        // The CPU is told anew what it does of the local APIC.
        self.local_apic.forget_bitmap();
        self.skipped = false;
        self.exit = from.events.last_exit();
        Ok(())
    }

    /// What the CPU is to hold of the four entries of PAE paging: what was saved, or what is in memory.
    fn pdptes_of(&self, from: &State) -> Result<Option<[PaePdpte; 4]>> {
        let control = ControlState { cr0: from.system.cr0, cr4: from.system.cr4, efer: from.system.efer };
        if !control.uses_pae_paging() {
            return Ok(None);
        }
        let entries = match from.pdptes {
            Some(saved) => saved.map(PaePdpte::from_bits),
            None => self.read_pdptes(from.system.cr3).map_err(|_| {
                Error::BadState(
                    "the page-directory-pointer-table entries cannot be read: map the guest's memory before restoring",
                )
            })?,
        };
        if self.takes_pdptes(&entries) {
            Ok(Some(entries))
        } else {
            Err(Error::InvalidInput("a saved page-directory-pointer-table entry has reserved bits"))
        }
    }

    fn has_tsc_scaling(&self) -> bool {
        let allowed: &AllowedControls = &self.capabilities.allowed;
        allowed.secondary.contains(SecondaryControls::USE_TSC_SCALING)
    }
}

/// The segment registers as a VM entry wants them, whichever CPU they come from: SDM volume 3, "Checks on Guest Segment
/// Registers".
fn as_entry_wants(system: &SystemRegisters) -> SystemRegisters {
    let mut system = *system;
    // Some CPUs keep the task register as it was loaded, before the descriptor was marked as busy, and one that was never
    // loaded as not present.
    let rights = system.tr.rights;
    let kind = rights.segment_type();
    system.tr.rights = if rights.contains(SegmentAccessRights::UNUSABLE) {
        SegmentAccessRights::P.with_segment_type(BUSY_TSS)
    } else {
        rights.with_segment_type(kind | BUSY_BIT)
    };
    let v8086 = system.rflags.contains(Rflags::VM);
    for segment in [&mut system.es, &mut system.cs, &mut system.ss, &mut system.ds, &mut system.fs, &mut system.gs] {
        if v8086 {
            segment.base = u64::from(segment.selector) << 4;
            segment.limit = u16::MAX.into();
            segment.rights = V8086_RIGHTS;
        } else if !segment.rights.contains(SegmentAccessRights::UNUSABLE) {
            let kind = segment.rights.segment_type();
            segment.rights = segment.rights.with_segment_type(kind | SegmentType::ACCESSED.bits() as u8);
        }
    }
    system
}

/// What tells the types of a busy TSS from those of one that is available.
const BUSY_BIT: u8 = 1 << 1;
/// A segment in virtual-8086 mode: present, DPL 3, data, writable, accessed.
const V8086_RIGHTS: SegmentAccessRights = SegmentAccessRights::P
    .with(SegmentAccessRights::S)
    .with_dpl(3)
    .with_segment_type(SegmentType::ACCESSED.with(SegmentType::WRITABLE_OR_READABLE).bits() as u8);

/// Pending debug exceptions in the words of DR6: those that will be delivered.
fn pending_causes(pending: PendingDebugExceptions) -> Dr6 {
    let mut causes = Dr6::empty();
    if pending.contains(PendingDebugExceptions::ENABLED_BREAKPOINT) {
        causes = Dr6::from_bits(pending.bits()) & MET;
    }
    causes.set(Dr6::BS, pending.contains(PendingDebugExceptions::BS));
    causes
}

/// The interruptibility state and the pending debug exceptions of a state: SDM volume 3, "Checks on Guest Non-Register
/// State".
fn delays(from: &State) -> (InterruptibilityState, PendingDebugExceptions) {
    let flags = from.system.rflags;
    let (sti, mov_ss) = (InterruptibilityState::BLOCKING_BY_STI, InterruptibilityState::BLOCKING_BY_MOV_SS);
    let mut state = match from.events.shadow {
        InterruptShadow::None => InterruptibilityState::empty(),
        InterruptShadow::Sti => sti,
        InterruptShadow::MovSs => mov_ss,
        // An STI leaves IF set. With single-step the trap comes behind the next instruction, as after a MOV SS.
        InterruptShadow::Either if flags.contains(Rflags::IF) && !flags.contains(Rflags::TF) => sti,
        InterruptShadow::Either => mov_ss,
    };
    state.set(InterruptibilityState::BLOCKING_BY_NMI, from.events.nmi_blocked);
    let met = from.debug.pending & MET;
    let mut pending = PendingDebugExceptions::from_bits(met.bits());
    pending.set(PendingDebugExceptions::ENABLED_BREAKPOINT, !met.is_empty());
    // In a shadow the one has to be as the other.
    let single_step =
        if from.events.shadow.is_any() { flags.contains(Rflags::TF) } else { from.debug.pending.contains(Dr6::BS) };
    pending.set(PendingDebugExceptions::BS, single_step);
    (state, pending)
}

#[cfg(test)]
mod tests;
