//! A vCPU as a [`State`], and back: what the VMCB has of it.

use super::{events::NmiState, vcpu::SvmVcpu};
use crate::{
    Error, Result, State,
    frame::FrameSource,
    guest::{
        debug::MET,
        snapshot::{Activity, Hardware, InterruptShadow, Watched},
    },
    host::InterruptsOff,
    spec::{
        amd::{intercepts::InterceptMisc1, vmcb::InterruptShadow as Shadow},
        x86::{
            msrs::{IA32_TSC_AUX, Pat},
            registers::{Dr6, Rflags},
        },
    },
};

impl<S: FrameSource> SvmVcpu<S> {
    /// The whole architectural state, of a vCPU that is bound here or not at all. It is not changed by that.
    ///
    /// # Errors
    /// [`Error::BadState`] while an instruction is half done, or when the vCPU is bound to another CPU.
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
        self.check_here()?;
        self.guest.check_savable()?;
        self.guest.take_in_mail();
        self.with_registers_in_memory(|vcpu| vcpu.save_with(to))
    }

    /// Makes the vCPU go on from a state, whichever vendor's CPU saved it. It may be bound here, or not at all.
    ///
    /// # Errors
    /// [`Error::Unsupported`] and [`Error::InvalidInput`] name the first thing that does not fit this CPU or what the vCPU
    /// offers its guest, which is unchanged then; and [`Error::BadState`] as for [`save`](Self::save).
    pub fn restore(&mut self, from: &State) -> Result {
        self.check_here()?;
        let hardware = Hardware {
            physical_bits: self.cpuid.physical_bits(),
            rdtscp: super::setup::has_rdtscp(),
            tsc_scaling: self.assists.tsc_ratio,
        };
        self.guest.check_state(&hardware, from)?;
        if from.events.shadow.is_any() && from.debug.pending.intersects(MET) {
            return Err(Error::Unsupported("SVM cannot hold back a breakpoint, as the saved MOV SS does"));
        }
        self.with_registers_in_memory(|vcpu| vcpu.restore_with(from))
    }

    /// Whether the vCPU may be changed by this CPU.
    fn check_here(&self) -> Result {
        if self.guest.cpu.is_some() {
            self.check_bound_here()?;
        }
        Ok(())
    }

    /// Runs `f` while the registers that only a bound vCPU has in the CPU are in memory.
    fn with_registers_in_memory(&mut self, f: impl FnOnce(&mut Self) -> Result) -> Result {
        let bound = self.guest.cpu.is_some();
        let _interrupts_off = bound.then(InterruptsOff::new);
        if bound {
            self.msrs.store();
            self.guest.xstate.put_down();
        }
        let result = f(self);
        if bound {
            self.guest.xstate.take_up();
            self.msrs.load();
        }
        result
    }

    fn save_with(&mut self, to: &mut State) -> Result {
        self.collect_debug_causes();
        self.notice_nmi_return();
        self.guest.interrupts.follow_task_priority(self.vmcb.virtual_interrupt().v_tpr());
        to.system = self.system()?;
        if let NmiState::Returning { stepping: true, .. } = self.nmi {
            // The library's own, over the IRET that is next.
            to.system.rflags.remove(Rflags::TF);
        }
        to.pdptes = None;
        let vmcb = &*self.vmcb;
        to.msrs.star = vmcb.star();
        to.msrs.lstar = vmcb.lstar();
        to.msrs.cstar = vmcb.cstar();
        to.msrs.fmask = vmcb.sfmask();
        to.msrs.kernel_gs_base = vmcb.kernel_gs_base();
        to.msrs.sysenter_cs = vmcb.sysenter_cs();
        to.msrs.sysenter_esp = vmcb.sysenter_esp();
        to.msrs.sysenter_eip = vmcb.sysenter_eip();
        to.msrs.pat = vmcb.g_pat().bits();
        to.msrs.tsc_aux = self.msrs.get(IA32_TSC_AUX).unwrap_or(0);
        to.events.nmi_blocked = self.nmi != NmiState::Open;
        to.events.shadow = if vmcb.interrupt_shadow().contains(Shadow::INTERRUPT_SHADOW) {
            InterruptShadow::Either
        } else {
            InterruptShadow::None
        };
        to.debug.pending = Dr6::empty();
        let port = if self.guest.skip != 0 { self.port_of_exit() } else { None };
        to.debug.watched = port.filter(|_| self.guest.debug.breakpoints_enabled()).map_or(Watched::None, Watched::from);
        self.guest.save_shared(&self.exit, to);
        if self.shut_down {
            to.events.activity = Activity::Shutdown;
        }
        Ok(())
    }

    fn restore_with(&mut self, from: &State) -> Result {
        self.guest.xstate.restore(&from.extended);
        self.msrs.set(IA32_TSC_AUX, from.msrs.tsc_aux);
        self.guest.xstate.edges.restore_control(from.msrs.spec_ctrl);
        self.guest.restore_shared(from);
        let blocked = from.events.nmi_blocked;
        self.nmi = if blocked { NmiState::Handling } else { NmiState::Open };
        self.set_intercept_misc1(InterceptMisc1::IRET, blocked);
        self.set_system(&from.system)?;
        let control = self.guest.xstate.edges.control_for_vmcb();
        let vmcb = &mut *self.vmcb;
        vmcb.set_star(from.msrs.star);
        vmcb.set_lstar(from.msrs.lstar);
        vmcb.set_cstar(from.msrs.cstar);
        vmcb.set_sfmask(from.msrs.fmask);
        vmcb.set_kernel_gs_base(from.msrs.kernel_gs_base);
        vmcb.set_sysenter_cs(from.msrs.sysenter_cs);
        vmcb.set_sysenter_esp(from.msrs.sysenter_esp);
        vmcb.set_sysenter_eip(from.msrs.sysenter_eip);
        vmcb.set_g_pat(Pat::from_bits(from.msrs.pat));
        if let Some(control) = control {
            vmcb.set_spec_ctrl(control);
        }
        let priority = vmcb.virtual_interrupt().with_v_tpr(from.cr8);
        vmcb.set_virtual_interrupt(priority);
        if from.events.shadow.is_any() {
            vmcb.set_interrupt_shadow(Shadow::INTERRUPT_SHADOW);
        } else if !from.debug.pending.is_empty() && from.events.next.is_none() {
            // Nothing delays it, and SVM has no place for it.
            self.guest.raise_debug(from.debug.pending);
        }
        self.write_tsc_offset();
        self.load_tsc_ratio();
        if let Some(apic) = self.guest.interrupts.apic() {
            self.cpuid.show_local_apic(apic.is_enabled());
        }
        self.exit = from.events.last_exit();
        Ok(())
    }
}
