//! The interrupt controller of a vCPU: a local APIC, or the plain queue of one that has none.

use super::{
    apic::LocalApic,
    events::{InterruptQueue, InterruptSource},
};
use crate::{frame::FrameSource, handle::Mail};

/// Where external interrupts come from.
#[allow(clippy::large_enum_variant, reason = "a vCPU has one, in its place; nothing moves it")]
pub(crate) enum Interrupts<S: FrameSource> {
    /// The interrupt controller is the VMM's business.
    Queue(InterruptQueue),
    /// The library's local APIC.
    Apic(LocalApic<S>),
}

impl<S: FrameSource> Interrupts<S> {
    /// The local APIC, if the vCPU has one.
    pub(crate) fn apic(&self) -> Option<&LocalApic<S>> {
        match self {
            Self::Queue(_) => None,
            Self::Apic(apic) => Some(apic),
        }
    }

    /// The local APIC, if the vCPU has one.
    pub(crate) fn apic_mut(&mut self) -> Option<&mut LocalApic<S>> {
        match self {
            Self::Queue(_) => None,
            Self::Apic(apic) => Some(apic),
        }
    }

    /// After a reset nothing is pending.
    pub(crate) fn reset(&mut self) {
        match self {
            Self::Queue(queue) => *queue = InterruptQueue::default(),
            Self::Apic(apic) => apic.reset(),
        }
    }

    /// Makes an interrupt pending.
    pub(crate) fn request(&mut self, vector: u8) {
        match self {
            Self::Queue(queue) => queue.request(vector),
            Self::Apic(apic) => apic.receive(vector, false),
        }
    }

    /// Makes those that came by mail pending.
    pub(crate) fn receive(&mut self, mail: &Mail) {
        match self {
            Self::Queue(queue) => queue.request_all(&mail.interrupts),
            Self::Apic(apic) => apic.receive_all(&mail.interrupts, &mail.levels),
        }
    }

    /// The guest's CR8.
    pub(crate) fn task_priority(&self) -> u8 {
        match self {
            Self::Queue(queue) => queue.task_priority(),
            Self::Apic(apic) => apic.task_priority(),
        }
    }

    /// The guest writes CR8 (4 bits).
    pub(crate) fn set_task_priority(&mut self, class: u8) {
        match self {
            Self::Queue(queue) => queue.set_task_priority(class),
            Self::Apic(apic) => apic.set_task_priority(class, false),
        }
    }

    /// What hardware has kept of CR8 while the guest ran.
    pub(crate) fn follow_task_priority(&mut self, class: u8) {
        match self {
            Self::Queue(queue) => queue.set_task_priority(class),
            Self::Apic(apic) => apic.set_task_priority(class, true),
        }
    }
}

impl<S: FrameSource> InterruptSource for Interrupts<S> {
    fn highest(&self) -> Option<u8> {
        match self {
            Self::Queue(queue) => queue.highest(),
            Self::Apic(apic) => apic.highest(),
        }
    }

    fn acknowledge(&mut self, vector: u8) {
        match self {
            Self::Queue(queue) => queue.acknowledge(vector),
            Self::Apic(apic) => apic.acknowledge(vector),
        }
    }

    fn any(&self) -> bool {
        match self {
            Self::Queue(queue) => queue.any(),
            Self::Apic(apic) => apic.any(),
        }
    }
}
