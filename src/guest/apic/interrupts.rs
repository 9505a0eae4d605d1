//! Which interrupt comes next: SDM volume 3, "Interrupt Acceptance for Fixed Interrupts", "Task Priority", "EOI".

use super::{
    LocalApic,
    page::{IN_SERVICE, INTERRUPT_REQUEST, TRIGGER_MODE},
};
use crate::{
    frame::FrameSource,
    guest::events::InterruptSource,
    spec::x86::apic::{ApicRegister, ErrorStatus, LvtLint, SpuriousInterruptVector, TaskPriority},
};

/// Vectors below this one are the exceptions': no interrupt of a local APIC has them.
pub(super) const FIRST_VECTOR: u8 = 16;

impl<S: FrameSource> LocalApic<S> {
    /// A fixed interrupt arrives from elsewhere. A local APIC that software has turned off takes none.
    pub(crate) fn receive(&mut self, vector: u8, level: bool) {
        if self.is_software_enabled() {
            self.request(vector, level);
        }
    }

    /// All of these fixed interrupts arrive; those in `levels` are triggered by level.
    pub(crate) fn receive_all(&mut self, vectors: &[u64; 4], levels: &[u64; 4]) {
        for (word, (bits, levels)) in (0u8..).zip(vectors.iter().zip(levels)) {
            let mut left = *bits;
            while left != 0 {
                let bit = left.trailing_zeros() as u8;
                left &= left - 1;
                self.receive(word * 64 + bit, levels >> bit & 1 != 0);
            }
        }
    }

    /// Requests a fixed interrupt.
    pub(super) fn request(&mut self, vector: u8, level: bool) {
        if vector < FIRST_VECTOR {
            self.error(ErrorStatus::RECEIVE_ILLEGAL_VECTOR);
            return;
        }
        self.page.set(TRIGGER_MODE, vector, level);
        self.page.set(INTERRUPT_REQUEST, vector, true);
    }

    /// The end of the interrupt that is in service with the highest priority; its vector if other interrupt controllers are to
    /// know of it.
    pub(super) fn end_of_interrupt(&mut self) -> Option<u8> {
        let vector = self.page.highest(IN_SERVICE)?;
        self.page.set(IN_SERVICE, vector, false);
        self.update_priority();
        self.ended(vector)
    }

    /// The interrupt is no longer in service. Its vector if other interrupt controllers are to know.
    pub(super) fn ended(&mut self, vector: u8) -> Option<u8> {
        if !self.page.contains(TRIGGER_MODE, vector) {
            return None;
        }
        for pin in [ApicRegister::LVT_LINT0, ApicRegister::LVT_LINT1] {
            let entry = LvtLint::from_bits(self.page.read(pin));
            if entry.vector() == vector {
                self.page.write(pin, entry.without(LvtLint::REMOTE_IRR).bits());
            }
        }
        let suppressed = self.spurious().contains(SpuriousInterruptVector::EOI_BROADCAST_SUPPRESSION);
        (!suppressed).then_some(vector)
    }

    /// CR8: the class of the task priority.
    pub(crate) fn task_priority(&self) -> u8 {
        self.task_priority_register().class()
    }

    /// Sets it as a write of CR8 does; the same class leaves the register as it is if `follow` says that this is no write,
    /// but what hardware has kept meanwhile.
    pub(crate) fn set_task_priority(&mut self, class: u8, follow: bool) {
        if !(follow && class == self.task_priority()) {
            self.write_task_priority(TaskPriority::empty().with_class(class));
        }
    }

    pub(super) fn write_task_priority(&mut self, value: TaskPriority) {
        self.page.write(ApicRegister::TASK_PRIORITY, value.bits());
        self.update_priority();
    }

    fn task_priority_register(&self) -> TaskPriority {
        TaskPriority::from_bits(self.page.read(ApicRegister::TASK_PRIORITY))
    }

    /// The processor priority. SDM volume 3, "PPR Virtualization", says which subclass it has.
    ///
    /// The page has what it was when software saw it last: hardware that keeps the task priority changes that.
    fn processor_priority(&self) -> TaskPriority {
        let task = self.task_priority_register();
        let in_service = TaskPriority::from_bits(self.page.highest(IN_SERVICE).unwrap_or(0).into());
        if task.class() >= in_service.class() { task } else { TaskPriority::empty().with_class(in_service.class()) }
    }

    /// Works out the processor priority anew.
    pub(super) fn update_priority(&mut self) {
        let priority = self.processor_priority();
        self.page.write(ApicRegister::PROCESSOR_PRIORITY, priority.bits());
        if let Some(link) = &self.link {
            link.publish_priority(priority.bits());
        }
    }

    /// The requested interrupt of the highest priority, if it is of a class above this one.
    pub(super) fn above(&self, class: u8) -> Option<u8> {
        let vector = self.page.highest(INTERRUPT_REQUEST)?;
        (TaskPriority::from_bits(vector.into()).class() > class).then_some(vector)
    }
}

impl<S: FrameSource> InterruptSource for LocalApic<S> {
    fn highest(&self) -> Option<u8> {
        self.above(self.processor_priority().class())
    }

    fn acknowledge(&mut self, vector: u8) {
        self.page.set(INTERRUPT_REQUEST, vector, false);
        self.page.set(IN_SERVICE, vector, true);
        self.update_priority();
    }

    /// A task priority that hardware keeps may fall at any time; what a handler in service holds back, its EOI lets go.
    fn any(&self) -> bool {
        let in_service = TaskPriority::from_bits(self.page.highest(IN_SERVICE).unwrap_or(0).into());
        self.above(in_service.class()).is_some()
    }
}
