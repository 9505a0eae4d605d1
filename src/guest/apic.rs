//! The local APIC of a vCPU, and the bus that connects those of a virtual machine.
//!
//! Emulated in software on both vendors; its registers lie in a frame in the layout of the xAPIC's page, so that VMX may use
//! the same frame as virtual-APIC page. Intel SDM volume 3, chapter "Advanced Programmable Interrupt Controller (APIC)"; AMD
//! APM volume 2, chapter of the same name. `docs/local-apic.md` in the repository says what is emulated and what the VMM
//! does for it.

mod base;
mod bus;
mod command;
#[cfg(feature = "vmx")]
mod hardware;
mod interrupts;
mod local;
mod message;
mod page;
mod registers;
mod saved;
#[cfg(test)]
mod tests;
mod timer;

pub use self::{
    bus::{ApicBus, VcpuHost},
    local::{ApicConfig, ApicVirtualization, LocalInterrupt},
    message::{ApicDestination, ApicMessage},
};
#[cfg(feature = "vmx")]
pub(crate) use self::{hardware::ApicMode, registers::msr_of};
pub(crate) use self::{
    local::{Effect, LocalApic},
    timer::Moment,
};
