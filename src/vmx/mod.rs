//! Intel VMX: what only Intel's CPUs do. Intel SDM volume 3, chapters "Introduction to Virtual Machine Extensions" and after.

mod apic_virtualization;
mod capabilities;
mod controls;
mod cpu;
mod emulation;
mod entry;
mod events;
mod exits;
mod fail;
mod instructions;
mod io_bitmaps;
mod loaded;
mod local_apic;
#[cfg(test)]
mod mock;
mod nested;
mod observed;
pub mod payload;
mod raw;
mod region;
#[cfg(feature = "replay")]
mod replay;
mod run;
mod save;
mod setup;
mod state;
mod task_switch;
mod tsc;
mod vcpu;
mod vpid;
mod world_switch;

pub(crate) use apic_virtualization::has_apic_access_pages;
pub use capabilities::Capabilities;
pub use cpu::{VmxPerCpu, has_hardware_support};
pub use fail::VmFail;
pub use loaded::{Backend, Hardware, MapBackend, Vmcs, Witness};
pub(crate) use nested::nested_capabilities;
pub use vcpu::VmxVcpu;
