//! Task switches, which are not allowed in a VMX guest: SDM volume 3, "Treatment of Task Switches", "Exit Qualification for Task
//! Switches".

use super::{emulation::VmcsCpu, events::is_software, loaded::Vmcs, payload::OnExit, vcpu::VmxVcpu};
use crate::{
    exit::VmExit,
    frame::FrameSource,
    guest::{
        emulation::{Cpu, access_fault},
        task_memory::LinearMemory,
        task_switch::{self, Cause, Refused, Switched},
    },
    spec::{
        intel::{
            exit_qualifications::TaskSwitchSource,
            payloads::TaskSwitch,
            structures::{InterruptibilityState, InterruptionType},
            vmcs::*,
        },
        x86::registers::Dr6,
    },
};

impl<S: FrameSource> VmxVcpu<S> {
    /// The guest's switch to another task is done as the CPU would outside of VMX operation.
    #[cold]
    #[inline(never)]
    pub(super) fn task_switch(&mut self, exit: OnExit<'_, TaskSwitch>) -> Option<VmExit> {
        let vmcs = exit.source();
        let qualification = exit.qualification();
        let event = exit.idt_vectoring();
        let kind = event.as_ref().map(|event| event.information.interruption_type());
        let cause = match qualification.source() {
            TaskSwitchSource::CALL => Cause::Call,
            TaskSwitchSource::IRET => Cause::Return,
            TaskSwitchSource::JMP => Cause::Jump,
            _ => Cause::Event {
                external: !kind.is_some_and(|kind| {
                    [InterruptionType::SOFTWARE_INTERRUPT, InterruptionType::SOFTWARE_EXCEPTION].contains(&kind)
                }),
                error_code: event.as_ref().and_then(|event| event.error_code),
            },
        };
        let is_event = matches!(cause, Cause::Event { .. });
        let mut system = self.read_system(vmcs);
        if !is_event || kind.is_some_and(is_software) {
            system.rip = system.rip.wrapping_add(exit.instruction_length().into()) & u64::from(u32::MAX);
        }
        let mut registers = self.guest.registers;
        let result = {
            let paging = self.cpu_of(vmcs).paging();
            let memory = self.guest.memory::<VmcsCpu<'_>>()?;
            let mut memory = LinearMemory { memory, paging };
            task_switch::switch(&mut system, &mut registers, &mut memory, qualification.tss_selector(), cause)
        };
        match result {
            Ok(switched) => {
                self.guest.registers = registers;
                let nmi = match cause {
                    Cause::Return => Some(false),
                    Cause::Event { .. } if kind == Some(InterruptionType::NMI) => Some(true),
                    _ => None,
                };
                self.enter_task(vmcs, &system, nmi, switched)
            }
            Err(refused) => {
                if is_event {
                    self.recover_interrupted_event(exit);
                }
                self.refuse_task(vmcs, refused)
            }
        }
    }

    fn enter_task(
        &mut self,
        vmcs: &Vmcs<'_>,
        system: &crate::SystemRegisters,
        nmi_blocked: Option<bool>,
        switched: Switched,
    ) -> Option<VmExit> {
        let mut state = vmcs.read(GUEST_INTERRUPTIBILITY_STATE) & InterruptibilityState::BLOCKING_BY_NMI;
        if let Some(blocked) = nmi_blocked {
            state.set(InterruptibilityState::BLOCKING_BY_NMI, blocked);
        }
        self.guest.debug.task_switched(switched.debug_trap);
        if self.write_system(vmcs, system).is_err() || self.forget_tagged().is_err() {
            return self.unhandled(vmcs, vmcs.read(EXIT_REASON));
        }
        vmcs.write(GUEST_INTERRUPTIBILITY_STATE, state);
        self.skipped = false;
        if self.control_state(vmcs).uses_pae_paging()
            && let Err(outcome) = self.load_pdptes(vmcs)
        {
            return outcome;
        }
        if let Some(refused) = switched.fault {
            return self.refuse_task(vmcs, refused);
        }
        if switched.debug_trap {
            self.guest.raise_debug(Dr6::empty());
        }
        None
    }

    /// The exception in the way, or the memory that the VMM has to provide: then the guest tries again.
    fn refuse_task(&mut self, vmcs: &Vmcs<'_>, refused: Refused) -> Option<VmExit> {
        match refused {
            Refused::Raise(event) => self.raise(event),
            Refused::Access(fault) => self.after(vmcs, access_fault(&fault)),
        }
    }
}
