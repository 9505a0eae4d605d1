//! AMD SVM: what only AMD's CPUs do. AMD64 APM volume 2, chapter "Secure Virtual Machine".

mod asid;
mod capabilities;
mod code_page;
mod cpu;
mod emulation;
mod entry;
mod events;
mod exits;
mod instructions;
mod local_apic;
mod nested;
mod observed;
pub mod payload;
mod permission_maps;
mod raw;
mod register_access;
#[cfg(feature = "replay")]
mod replay;
mod run;
mod save;
mod segments;
mod setup;
mod state;
mod tsc;
mod vcpu;
mod vmcb;
mod world_switch;

pub use capabilities::Capabilities;
pub use cpu::{SvmPerCpu, has_hardware_support};
pub(crate) use nested::nested_capabilities;
pub use vcpu::SvmVcpu;
