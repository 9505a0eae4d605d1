//! What hardware that virtualizes the local APIC has to know of it, and what it tells: SDM volume 3, chapter "APIC
//! Virtualization and Virtual Interrupts".
//!
//! The page of the registers is that hardware's virtual-APIC page: what software finds there is what hardware has left.

use super::{
    Effect, LocalApic, Moment,
    page::{IN_SERVICE, INTERRUPT_REQUEST, TRIGGER_MODE},
};
use crate::{
    exit::Width,
    frame::{FrameSource, PhysFrame},
    guest::events::InterruptSource,
    spec::x86::{
        apic::{ApicRegister, TaskPriority},
        msrs::{ApicBase, IA32_APIC_BASE_RESET},
    },
};

/// How the guest reaches the registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ApicMode {
    /// On the page where it is after a reset.
    Page,
    /// As MSRs.
    X2apic,
    /// Not at all, or on a page that the guest has moved.
    Other,
}

impl<S: FrameSource> LocalApic<S> {
    /// The physical address of the registers.
    pub(crate) fn page_address(&self) -> u64 {
        self.page.address()
    }

    /// The frame of the registers.
    pub(crate) fn page_frame(&self) -> &PhysFrame<S> {
        self.page.frame()
    }

    /// The physical address of the page that stands for the registers in the nested page table, if there is one.
    pub(crate) fn access_page(&self) -> Option<u64> {
        let link = self.link.as_ref()?;
        link.bus().access_page().map(|address| address.as_usize() as u64)
    }

    /// How the guest reaches the registers.
    pub(crate) fn mode(&self) -> ApicMode {
        let place = ApicBase::from_bits(IA32_APIC_BASE_RESET).address_page();
        if self.is_x2apic() {
            ApicMode::X2apic
        } else if self.is_enabled() && self.base_page() == place {
            ApicMode::Page
        } else {
            ApicMode::Other
        }
    }

    /// The interrupts of the highest priority that are requested and in service; 0: none.
    pub(crate) fn requested_and_in_service(&self) -> (u8, u8) {
        let highest = |set| self.page.highest(set).unwrap_or(0);
        (highest(INTERRUPT_REQUEST), highest(IN_SERVICE))
    }

    /// The task priority has to fall below this class to let an interrupt through; 0: none waits for that alone.
    pub(crate) fn awaited_task_priority(&self) -> u8 {
        if self.highest().is_some() {
            return 0;
        }
        let (_, in_service) = self.requested_and_in_service();
        let held_back = self.above(TaskPriority::from_bits(in_service.into()).class());
        held_back.map_or(0, |vector| TaskPriority::from_bits(vector.into()).class())
    }

    /// The interrupts whose end other interrupt controllers may have to know of, a bit for each vector.
    pub(crate) fn level_triggered(&self) -> [u64; 4] {
        self.page.words(TRIGGER_MODE)
    }

    /// The guest has ended an interrupt, which hardware has taken out of service.
    pub(crate) fn ended_by_hardware(&mut self, vector: u8) -> Effect {
        self.update_priority();
        match self.ended(vector) {
            Some(vector) => Effect::EndOfInterrupt { vector },
            None => Effect::None,
        }
    }

    /// The guest has written a register, and hardware left what follows from it.
    pub(crate) fn written_by_hardware(&mut self, offset: u16, now: Moment) -> Effect {
        let register = ApicRegister(offset & !15);
        let value = self.page.take_written(register);
        if self.is_x2apic() {
            // The one that is left to the page: an IPI to itself with a vector that no interrupt has.
            return match register {
                ApicRegister::SELF_IPI => self.write(register, value, now),
                _ => Effect::None,
            };
        }
        self.write_page(register.0, Width::Dword, value.into(), now)
    }
}
