//! A local APIC as a part of a saved vCPU.

use super::{
    LocalApic, Moment,
    page::{IN_SERVICE, INTERRUPT_REQUEST, TRIGGER_MODE},
    timer::Timer,
};
use crate::{
    Error, Result,
    frame::FrameSource,
    guest::snapshot::ApicState,
    spec::x86::{
        apic::{ApicRegister, ApicTimerMode, ErrorStatus, InterruptCommand, LvtTimer},
        msrs::ApicBase,
    },
};

impl<S: FrameSource> LocalApic<S> {
    /// What is in it.
    pub(crate) fn save(&self, now: Moment) -> ApicState {
        let read = |register| self.page.read(register);
        ApicState {
            base: self.base.bits(),
            id: self.id,
            task_priority: read(ApicRegister::TASK_PRIORITY),
            logical_destination: read(ApicRegister::LOGICAL_DESTINATION),
            destination_format: read(ApicRegister::DESTINATION_FORMAT),
            spurious_interrupt_vector: read(ApicRegister::SPURIOUS_INTERRUPT_VECTOR),
            in_service: self.page.parts(IN_SERVICE),
            trigger_mode: self.page.parts(TRIGGER_MODE),
            interrupt_request: self.page.parts(INTERRUPT_REQUEST),
            error_status: read(ApicRegister::ERROR_STATUS),
            errors: self.errors.bits(),
            interrupt_command: if self.is_x2apic() {
                self.page.read_wide(ApicRegister::INTERRUPT_COMMAND_LOW)
            } else {
                u64::from(read(ApicRegister::INTERRUPT_COMMAND_HIGH)) << 32
                    | u64::from(read(ApicRegister::INTERRUPT_COMMAND_LOW))
            },
            lvt_timer: read(ApicRegister::LVT_TIMER),
            lvt_thermal: read(ApicRegister::LVT_THERMAL),
            lvt_performance: read(ApicRegister::LVT_PERFORMANCE),
            lvt_lint0: read(ApicRegister::LVT_LINT0),
            lvt_lint1: read(ApicRegister::LVT_LINT1),
            lvt_error: read(ApicRegister::LVT_ERROR),
            initial_count: read(ApicRegister::INITIAL_COUNT),
            divide_configuration: read(ApicRegister::DIVIDE_CONFIGURATION),
            timer_left: self.timer.expiry.map(|expiry| expiry.saturating_sub(now.host)),
            tsc_deadline: self.timer.deadline,
            timer_ratio: self.config.timer_ratio.get(),
        }
    }

    /// Whether this one can go on from there.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for what it does not offer, [`Error::InvalidInput`] for what none has.
    pub(crate) fn check(&self, saved: &ApicState, physical_bits: u8) -> Result {
        let base = ApicBase::from_bits(saved.base);
        let defined =
            ApicBase::BSP.with(ApicBase::GLOBAL_ENABLE).with(ApicBase::X2APIC_ENABLE).with(ApicBase::ADDRESS_PAGE_MASK);
        let beyond = match physical_bits {
            1..64 => u64::MAX << physical_bits,
            _ => 0,
        };
        if saved.id != self.id {
            return Err(Error::InvalidInput("the saved local APIC has another id than this one"));
        }
        let (on, x2apic) = (base.contains(ApicBase::GLOBAL_ENABLE), base.contains(ApicBase::X2APIC_ENABLE));
        if !defined.contains(base) || saved.base & beyond != 0 || x2apic && !on {
            return Err(Error::InvalidInput("the saved IA32_APIC_BASE is none that a vCPU can have"));
        }
        if x2apic && !self.config.x2apic {
            return Err(Error::Unsupported("the saved local APIC is in x2APIC mode, which this one does not offer"));
        }
        let deadline = LvtTimer::from_bits(saved.lvt_timer).mode() == ApicTimerMode::TSC_DEADLINE;
        if deadline && !self.config.tsc_deadline {
            return Err(Error::Unsupported("the saved timer is in TSC-deadline mode, which this one does not offer"));
        }
        if saved.timer_ratio != self.config.timer_ratio.get() {
            return Err(Error::Unsupported("the timer of the saved local APIC has another ratio than this one's"));
        }
        let places = self.registers(saved).into_iter().chain(self.writable_places(saved));
        for (register, value) in places {
            if !self.can_hold(register, value) {
                return Err(Error::InvalidInput("a register of the saved local APIC has reserved bits"));
            }
        }
        let low = (1 << super::interrupts::FIRST_VECTOR) - 1;
        for set in [&saved.in_service, &saved.interrupt_request] {
            if set.first().is_some_and(|first| first & low != 0) {
                return Err(Error::InvalidInput("the saved local APIC has interrupts with the vectors of exceptions"));
            }
        }
        Ok(())
    }

    /// Goes on from there; it was found to fit.
    pub(crate) fn restore(&mut self, saved: &ApicState, now: Moment) {
        self.base = ApicBase::from_bits(saved.base);
        self.reset_registers();
        for (register, value) in self.registers(saved).into_iter().chain(self.writable_places(saved)) {
            self.page.write(register, value);
        }
        if self.is_x2apic() {
            self.page.write_wide(ApicRegister::INTERRUPT_COMMAND_LOW, saved.interrupt_command);
        } else {
            self.page.write(ApicRegister::INTERRUPT_COMMAND_LOW, saved.interrupt_command as u32);
            let destination = saved.interrupt_command & InterruptCommand::DESTINATION_MASK.bits();
            self.page.write(ApicRegister::INTERRUPT_COMMAND_HIGH, (destination >> 32) as u32);
            self.page.write(ApicRegister::LOGICAL_DESTINATION, saved.logical_destination);
            self.page.write(ApicRegister::DESTINATION_FORMAT, saved.destination_format);
        }
        self.page.set_parts(IN_SERVICE, &saved.in_service);
        self.page.set_parts(TRIGGER_MODE, &saved.trigger_mode);
        self.page.set_parts(INTERRUPT_REQUEST, &saved.interrupt_request);
        self.errors = ErrorStatus::from_bits(saved.errors);
        self.timer =
            Timer { expiry: saved.timer_left.map(|left| now.host.saturating_add(left)), deadline: saved.tsc_deadline };
        self.update_priority();
        self.publish();
    }

    /// The registers of the local vector table.
    fn registers(&self, saved: &ApicState) -> [(ApicRegister, u32); 6] {
        [
            (ApicRegister::LVT_TIMER, saved.lvt_timer),
            (ApicRegister::LVT_THERMAL, saved.lvt_thermal),
            (ApicRegister::LVT_PERFORMANCE, saved.lvt_performance),
            (ApicRegister::LVT_LINT0, saved.lvt_lint0),
            (ApicRegister::LVT_LINT1, saved.lvt_lint1),
            (ApicRegister::LVT_ERROR, saved.lvt_error),
        ]
    }

    /// The others that are the same in both modes.
    fn writable_places(&self, saved: &ApicState) -> [(ApicRegister, u32); 5] {
        [
            (ApicRegister::TASK_PRIORITY, saved.task_priority),
            (ApicRegister::SPURIOUS_INTERRUPT_VECTOR, saved.spurious_interrupt_vector),
            (ApicRegister::ERROR_STATUS, saved.error_status),
            (ApicRegister::INITIAL_COUNT, saved.initial_count),
            (ApicRegister::DIVIDE_CONFIGURATION, saved.divide_configuration),
        ]
    }
}
