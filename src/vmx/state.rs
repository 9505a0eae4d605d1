//! The guest-state area as registers: SDM volume 3, "Guest Register State", and how control registers are virtualized.

use super::{loaded::Vmcs, setup::CR0_GUEST_OWNED, vcpu::VmxVcpu};
use crate::{
    Error, Result,
    frame::FrameSource,
    guest::{
        control::ControlState,
        registers::{DescriptorTable, Segment, SystemRegisters},
        segmentation::SegmentRegister,
    },
    spec::{
        Field, ReadWrite,
        intel::{
            controls::EntryControls,
            structures::{InterruptibilityState, PendingDebugExceptions, SegmentAccessRights},
            vmcs::*,
        },
        x86::registers::{Cr0, Cr3, Cr4, Efer},
    },
};

/// The four fields of a segment register.
struct SegmentFields {
    selector: Field<u16, ReadWrite>,
    base: Field<u64, ReadWrite>,
    limit: Field<u32, ReadWrite>,
    rights: Field<SegmentAccessRights, ReadWrite>,
}

macro_rules! fields {
    ($selector:ident $base:ident $limit:ident $rights:ident) => {
        SegmentFields { selector: $selector, base: $base, limit: $limit, rights: $rights }
    };
}

const ES: SegmentFields = fields!(GUEST_ES_SELECTOR GUEST_ES_BASE GUEST_ES_LIMIT GUEST_ES_ACCESS_RIGHTS);
const CS: SegmentFields = fields!(GUEST_CS_SELECTOR GUEST_CS_BASE GUEST_CS_LIMIT GUEST_CS_ACCESS_RIGHTS);
const SS: SegmentFields = fields!(GUEST_SS_SELECTOR GUEST_SS_BASE GUEST_SS_LIMIT GUEST_SS_ACCESS_RIGHTS);
const DS: SegmentFields = fields!(GUEST_DS_SELECTOR GUEST_DS_BASE GUEST_DS_LIMIT GUEST_DS_ACCESS_RIGHTS);
const FS: SegmentFields = fields!(GUEST_FS_SELECTOR GUEST_FS_BASE GUEST_FS_LIMIT GUEST_FS_ACCESS_RIGHTS);
const GS: SegmentFields = fields!(GUEST_GS_SELECTOR GUEST_GS_BASE GUEST_GS_LIMIT GUEST_GS_ACCESS_RIGHTS);
const LDTR: SegmentFields = fields!(GUEST_LDTR_SELECTOR GUEST_LDTR_BASE GUEST_LDTR_LIMIT GUEST_LDTR_ACCESS_RIGHTS);
const TR: SegmentFields = fields!(GUEST_TR_SELECTOR GUEST_TR_BASE GUEST_TR_LIMIT GUEST_TR_ACCESS_RIGHTS);

impl SegmentFields {
    fn read(&self, vmcs: &Vmcs<'_>) -> Segment {
        Segment {
            selector: vmcs.read(self.selector),
            base: vmcs.read(self.base),
            limit: vmcs.read(self.limit),
            rights: vmcs.read(self.rights),
        }
    }

    fn write(&self, vmcs: &Vmcs<'_>, segment: &Segment) {
        vmcs.write(self.selector, segment.selector);
        vmcs.write(self.base, segment.base);
        vmcs.write(self.limit, segment.limit);
        vmcs.write(self.rights, segment.rights);
    }
}

/// One of the segment registers that instructions name.
pub(super) fn segment(vmcs: &Vmcs<'_>, register: SegmentRegister) -> Segment {
    match register {
        SegmentRegister::Es => ES.read(vmcs),
        SegmentRegister::Cs => CS.read(vmcs),
        SegmentRegister::Ss => SS.read(vmcs),
        SegmentRegister::Ds => DS.read(vmcs),
        SegmentRegister::Fs => FS.read(vmcs),
        SegmentRegister::Gs => GS.read(vmcs),
    }
}

impl<S: FrameSource> VmxVcpu<S> {
    /// The guest's segment registers, control registers, tables, RFLAGS, RIP and RSP.
    ///
    /// # Errors
    /// [`Error::BadState`] when VMX is not enabled on this CPU, or the vCPU is bound to another.
    pub fn system(&mut self) -> Result<SystemRegisters> {
        self.with_vmcs(|vcpu, vmcs| Ok(vcpu.read_system(vmcs)))
    }

    pub(super) fn read_system(&self, vmcs: &Vmcs<'_>) -> SystemRegisters {
        let control = self.control_state(vmcs);
        SystemRegisters {
            es: ES.read(vmcs),
            cs: CS.read(vmcs),
            ss: SS.read(vmcs),
            ds: DS.read(vmcs),
            fs: FS.read(vmcs),
            gs: GS.read(vmcs),
            ldtr: LDTR.read(vmcs),
            tr: TR.read(vmcs),
            gdtr: DescriptorTable { base: vmcs.read(GUEST_GDTR_BASE), limit: vmcs.read(GUEST_GDTR_LIMIT) as u16 },
            idtr: DescriptorTable { base: vmcs.read(GUEST_IDTR_BASE), limit: vmcs.read(GUEST_IDTR_LIMIT) as u16 },
            cr0: control.cr0,
            cr2: self.guest.cr2,
            cr3: vmcs.read(GUEST_CR3).bits(),
            cr4: control.cr4,
            efer: control.efer,
            rflags: vmcs.read(GUEST_RFLAGS),
            rip: vmcs.read(GUEST_RIP),
            rsp: vmcs.read(GUEST_RSP),
        }
    }

    /// Sets them. Values that the CPU does not accept make the next entry fail:
    /// [`VmExit::EntryFailure`](crate::VmExit::EntryFailure).
    ///
    /// # Errors
    /// As [`system`](Self::system).
    pub fn set_system(&mut self, system: &SystemRegisters) -> Result {
        self.with_vmcs(|vcpu, vmcs| vcpu.write_system(vmcs, system))
    }

    pub(super) fn write_system(&mut self, vmcs: &Vmcs<'_>, system: &SystemRegisters) -> Result {
        for (fields, segment) in [
            (&ES, &system.es),
            (&CS, &system.cs),
            (&SS, &system.ss),
            (&DS, &system.ds),
            (&FS, &system.fs),
            (&GS, &system.gs),
            (&LDTR, &system.ldtr),
            (&TR, &system.tr),
        ] {
            fields.write(vmcs, segment);
        }
        vmcs.write(GUEST_GDTR_BASE, system.gdtr.base);
        vmcs.write(GUEST_GDTR_LIMIT, u32::from(system.gdtr.limit));
        vmcs.write(GUEST_IDTR_BASE, system.idtr.base);
        vmcs.write(GUEST_IDTR_LIMIT, u32::from(system.idtr.limit));
        vmcs.write(GUEST_CR3, Cr3::from_bits(system.cr3));
        vmcs.write(GUEST_RFLAGS, system.rflags);
        vmcs.write(GUEST_RIP, system.rip);
        vmcs.write(GUEST_RSP, system.rsp);
        vmcs.write(GUEST_DR7, self.guest.debug.hardware_dr7());
        vmcs.write(GUEST_INTERRUPTIBILITY_STATE, InterruptibilityState::empty());
        vmcs.write(GUEST_PENDING_DEBUG_EXCEPTIONS, PendingDebugExceptions::empty());
        self.guest.cr2 = system.cr2;
        if self.guest.cpu.is_some() {
            self.forget_tagged()?;
        } else {
            self.last_cpu = None;
        }
        let control = ControlState { cr0: system.cr0, cr4: system.cr4, efer: system.efer };
        self.write_control_state(vmcs, control, false)
    }

    /// CR0, CR4 and EFER as the guest sees them.
    pub(super) fn control_state(&self, vmcs: &Vmcs<'_>) -> ControlState {
        let cr4_owned = !vmcs.read(CR4_GUEST_HOST_MASK);
        ControlState {
            cr0: vmcs.read(GUEST_CR0) & CR0_GUEST_OWNED | vmcs.read(CR0_READ_SHADOW).without(CR0_GUEST_OWNED),
            cr4: vmcs.read(GUEST_CR4) & cr4_owned | vmcs.read(CR4_READ_SHADOW).without(cr4_owned),
            efer: vmcs.has().map_or(Efer::empty(), |witness| vmcs.read_if(GUEST_IA32_EFER, witness)),
        }
    }

    /// Makes the guest see this CR0, CR4 and EFER, and the CPU run it so. `inside_run` says where this happens.
    pub(super) fn write_control_state(&mut self, vmcs: &Vmcs<'_>, control: ControlState, inside_run: bool) -> Result {
        let capabilities = self.capabilities;
        // What VMX operation wants in CR0; an unrestricted guest may clear PE and PG. CD and NW of a guest do not reach the
        // CPU's caches: EPT gives its memory types.
        let mut cr0_fixed = capabilities.cr0_fixed_to_1;
        if self.controls.unrestricted_guest() {
            cr0_fixed = cr0_fixed.without(Cr0::PE.with(Cr0::PG));
        } else if !control.cr0.contains(cr0_fixed & (Cr0::PE | Cr0::PG)) {
            return Err(Error::Unsupported("guests without paging (\"unrestricted guest\")"));
        }
        let cr0 = (control.cr0.without(Cr0::CD.with(Cr0::NW)) | cr0_fixed) & capabilities.cr0_allowed;
        // Machine checks are the host's: were they off while the guest runs, one would shut the machine down.
        let host_mce = self.host.cr4 & Cr4::MCE;
        let cr4 = control.cr4 | capabilities.cr4_fixed_to_1 | host_mce;
        self.forget_for(vmcs, cr0, cr4, control.efer)?;
        vmcs.write(GUEST_CR0, cr0);
        vmcs.write(CR0_READ_SHADOW, control.cr0);
        vmcs.write(GUEST_CR4, cr4);
        vmcs.write(CR4_READ_SHADOW, control.cr4);
        if let Some(witness) = vmcs.has() {
            vmcs.write_if(GUEST_IA32_EFER, control.efer, witness);
        }
        self.controls.entry.set(EntryControls::IA32E_MODE_GUEST, control.efer.contains(Efer::LMA));
        vmcs.write(VM_ENTRY_CONTROLS, self.controls.entry);
        self.guest.xstate.follow_cr4(control.cr4, inside_run);
        self.cpuid.update(control.cr4, self.guest.xstate.guest_xcr0);
        Ok(())
    }

    /// With a VPID a VM entry forgets nothing, as a MOV to these registers would have.
    fn forget_for(&mut self, vmcs: &Vmcs<'_>, cr0: Cr0, cr4: Cr4, efer: Efer) -> Result {
        let old_efer = vmcs.has().map_or(efer, |witness| vmcs.read_if(GUEST_IA32_EFER, witness));
        let of_paging = Cr0::PG.with(Cr0::WP);
        let same =
            vmcs.read(GUEST_CR0) & of_paging == cr0 & of_paging && vmcs.read(GUEST_CR4) == cr4 && old_efer == efer;
        match self.guest.cpu {
            _ if same => Ok(()),
            Some(_) => self.forget_tagged(),
            None => {
                // The next `bind` forgets.
                self.last_cpu = None;
                Ok(())
            }
        }
    }

    /// The guest set or cleared PG in CR0 with EFER.LME: an entry to IA-32e mode wants a 64-bit TSS.
    pub(super) fn fix_task_register(&self, vmcs: &Vmcs<'_>) {
        let rights = vmcs.read(GUEST_TR_ACCESS_RIGHTS);
        vmcs.write(GUEST_TR_ACCESS_RIGHTS, rights.with_segment_type(crate::guest::start::BUSY_TSS));
    }
}
