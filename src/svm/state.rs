//! The guest's registers that live in the VMCB: APM volume 2, "VMCB Layout, State Save Area", "Canonicalization and Consistency
//! Checks".

use super::{code_page::CodePage, emulation, segments, vcpu::SvmVcpu};
use crate::{
    Result,
    frame::FrameSource,
    guest::{
        control::ControlState,
        debug::DebugRegisters,
        registers::{DescriptorTable, Segment, SystemRegisters},
        segmentation::SegmentRegister,
    },
    host,
    spec::{
        amd::{
            intercepts::InterceptCr,
            vmcb::{InterruptShadow, Vmcb},
        },
        x86::registers::{Cr0, Cr4, Efer, Rflags},
    },
};

/// Reading and writing a segment register's four members.
macro_rules! segment {
    ($read:ident $write:ident: $selector:ident $set_selector:ident, $attributes:ident $set_attributes:ident,
     $limit:ident $set_limit:ident, $base:ident $set_base:ident) => {
        pub(super) fn $read(vmcb: &Vmcb) -> Segment {
            segments::segment(vmcb.$selector(), vmcb.$attributes(), vmcb.$limit(), vmcb.$base())
        }

        fn $write(vmcb: &mut Vmcb, segment: &Segment) {
            vmcb.$set_selector(segment.selector);
            vmcb.$set_attributes(segments::attributes(segment.rights));
            vmcb.$set_limit(segment.limit);
            vmcb.$set_base(segment.base);
        }
    };
}

segment!(es write_es: es_selector set_es_selector, es_attributes set_es_attributes, es_limit set_es_limit, es_base set_es_base);
segment!(cs write_cs: cs_selector set_cs_selector, cs_attributes set_cs_attributes, cs_limit set_cs_limit, cs_base set_cs_base);
segment!(ss write_ss: ss_selector set_ss_selector, ss_attributes set_ss_attributes, ss_limit set_ss_limit, ss_base set_ss_base);
segment!(ds write_ds: ds_selector set_ds_selector, ds_attributes set_ds_attributes, ds_limit set_ds_limit, ds_base set_ds_base);
segment!(fs write_fs: fs_selector set_fs_selector, fs_attributes set_fs_attributes, fs_limit set_fs_limit, fs_base set_fs_base);
segment!(gs write_gs: gs_selector set_gs_selector, gs_attributes set_gs_attributes, gs_limit set_gs_limit, gs_base set_gs_base);
segment!(ldtr write_ldtr: ldtr_selector set_ldtr_selector, ldtr_attributes set_ldtr_attributes, ldtr_limit set_ldtr_limit, ldtr_base set_ldtr_base);
segment!(tr write_tr: tr_selector set_tr_selector, tr_attributes set_tr_attributes, tr_limit set_tr_limit, tr_base set_tr_base);

/// The segment register that a data access names.
pub(super) fn data_segment(vmcb: &Vmcb, register: SegmentRegister) -> Segment {
    match register {
        SegmentRegister::Es => es(vmcb),
        SegmentRegister::Cs => cs(vmcb),
        SegmentRegister::Ss => ss(vmcb),
        SegmentRegister::Ds => ds(vmcb),
        SegmentRegister::Fs => fs(vmcb),
        SegmentRegister::Gs => gs(vmcb),
    }
}

/// The bits of CR0 that are the guest's to see and not the CPU's to obey: its caches are the host's too, and nested paging
/// gives the guest its memory types.
const CR0_HIDDEN: Cr0 = Cr0::CD.with(Cr0::NW);

impl<S: FrameSource> SvmVcpu<S> {
    /// The guest's segment registers, control registers, tables, RFLAGS, RIP and RSP.
    ///
    /// # Errors
    /// None on SVM; as a VMCB is memory, the vCPU need not be where it is bound.
    pub fn system(&mut self) -> Result<SystemRegisters> {
        let control = self.control_state();
        let vmcb = &*self.vmcb;
        Ok(SystemRegisters {
            es: es(vmcb),
            cs: cs(vmcb),
            ss: self.stack_segment(),
            ds: ds(vmcb),
            fs: fs(vmcb),
            gs: gs(vmcb),
            ldtr: ldtr(vmcb),
            tr: tr(vmcb),
            gdtr: DescriptorTable { base: vmcb.gdtr_base(), limit: vmcb.gdtr_limit() as u16 },
            idtr: DescriptorTable { base: vmcb.idtr_base(), limit: vmcb.idtr_limit() as u16 },
            cr0: control.cr0,
            cr2: vmcb.cr2(),
            cr3: vmcb.cr3(),
            cr4: control.cr4,
            efer: control.efer,
            rflags: self.rflags(),
            rip: vmcb.rip(),
            rsp: vmcb.rsp(),
        })
    }

    /// Sets them. Values that the CPU does not accept make the next entry fail:
    /// [`VmExit::EntryFailure`](crate::VmExit::EntryFailure).
    ///
    /// # Errors
    /// As [`system`](Self::system).
    pub fn set_system(&mut self, system: &SystemRegisters) -> Result {
        let vmcb = &mut *self.vmcb;
        write_es(vmcb, &system.es);
        write_cs(vmcb, &system.cs);
        write_ss(vmcb, &system.ss);
        write_ds(vmcb, &system.ds);
        write_fs(vmcb, &system.fs);
        write_gs(vmcb, &system.gs);
        write_ldtr(vmcb, &system.ldtr);
        write_tr(vmcb, &system.tr);
        // The CPU takes 0 in real mode and 3 in virtual-8086 mode, whatever stands here.
        vmcb.set_cpl(system.ss.rights.dpl());
        vmcb.set_gdtr_base(system.gdtr.base);
        vmcb.set_gdtr_limit(system.gdtr.limit.into());
        vmcb.set_idtr_base(system.idtr.base);
        vmcb.set_idtr_limit(system.idtr.limit.into());
        vmcb.set_cr2(system.cr2);
        vmcb.set_cr3(system.cr3);
        vmcb.set_rflags(system.rflags);
        vmcb.set_rip(system.rip);
        vmcb.set_rsp(system.rsp);
        vmcb.set_dr6(DebugRegisters::DR6_RESET);
        vmcb.set_interrupt_shadow(InterruptShadow::empty());
        self.load_debug();
        self.write_control_state(ControlState { cr0: system.cr0, cr4: system.cr4, efer: system.efer }, false);
        // A MOV to CR3 would have forgotten translations.
        self.forget_later();
        self.shut_down = false;
        Ok(())
    }

    /// SS with the CPL as its DPL: the two are one on the other vendor, and a null SS in 64-bit mode has no DPL of its own.
    pub(super) fn stack_segment(&self) -> Segment {
        let mut segment = ss(&self.vmcb);
        if segment.rights.contains(crate::spec::intel::structures::SegmentAccessRights::UNUSABLE) {
            segment.rights = segment.rights.with_dpl(self.vmcb.cpl());
        }
        segment
    }

    /// CR0, CR4 and EFER as the guest sees them.
    pub(super) fn control_state(&self) -> ControlState {
        ControlState {
            cr0: self.vmcb.cr0() | self.hidden.cr0,
            cr4: self.vmcb.cr4().without(self.hidden.cr4),
            efer: emulation::efer(&self.vmcb).without(Efer::SVME),
        }
    }

    /// Makes the guest see this CR0, CR4 and EFER, and the CPU run it so.
    pub(super) fn write_control_state(&mut self, control: ControlState, inside_run: bool) {
        // Machine checks are the host's: were they off while the guest runs, one would shut the machine down.
        let host_mce = host::cr4() & Cr4::MCE;
        self.hidden = Hidden { cr0: control.cr0 & CR0_HIDDEN, cr4: host_mce.without(control.cr4) };
        let new = (
            control.cr0.without(CR0_HIDDEN),
            control.cr4 | self.hidden.cr4,
            // VMRUN fails without SVME.
            control.efer.with(Efer::SVME),
        );
        let vmcb = &mut *self.vmcb;
        // A MOV to a control register would have forgotten translations.
        let forget = new != (vmcb.cr0(), vmcb.cr4(), vmcb.efer());
        vmcb.set_cr0(new.0);
        vmcb.set_cr4(new.1);
        vmcb.set_efer(new.2);
        if forget {
            self.forget_later();
        }
        // The guest reads what the CPU does not have.
        self.set_intercept_cr(InterceptCr::CR0_READ, !self.hidden.cr0.is_empty());
        self.set_intercept_cr(InterceptCr::CR4_READ, !self.hidden.cr4.is_empty());
        self.proven = false;
        self.code_page = CodePage::NONE;
        self.guest.xstate.follow_cr4(control.cr4, inside_run);
        self.cpuid.update(control.cr4, self.guest.xstate.guest_xcr0);
    }

    /// The guest's RFLAGS.
    #[inline(always)]
    pub(super) fn rflags(&self) -> Rflags {
        self.vmcb.rflags()
    }

    pub(super) fn set_rflags(&mut self, flags: Rflags) {
        self.vmcb.set_rflags(flags);
    }
}

/// Where the guest's view of its control registers differs from the CPU's.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hidden {
    /// Bits of CR0 that the guest sees as 1 and the CPU has as 0.
    cr0: Cr0,
    /// Bits of CR4 that the guest sees as 0 and the CPU has as 1.
    cr4: Cr4,
}
