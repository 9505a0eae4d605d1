#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
//! x86 virtual CPUs for hypervisors: Intel VMX and AMD SVM behind one API.
//!
//! A hypervisor gives the library three functions ([`PhysFrameIf`]), enables virtualization on each CPU ([`PerCpu`]), makes
//! a [`Vcpu`], points it at a nested page table, binds it to a CPU and calls [`Vcpu::run`] in a loop. Each time `run`
//! comes back it says in a [`VmExit`] what the guest did; the VMM answers, and runs it again. What needs no answer (CPUID,
//! most model-specific registers, control registers, pending interrupts) is handled inside.
//!
//! Hardware numbers are not written in this crate's code: the modules of [`spec`] are generated from the tables in
//! `spec/*.toml`, each with its citation.
//!
//! | for | see |
//! |---|---|
//! | the guest's registers | [`guest::registers`] |
//! | sending interrupts from other CPUs, and stopping a guest | [`VcpuHandle`] |
//! | building EPT or nested page tables | [`nested`] |
//! | saving a vCPU, and going on from that elsewhere | [`State`] |
//! | VM entries that fail, and the rules that a state breaks | [`EntryFailure`], [`entry`] |
//! | ArceOS | the module `axvcpu` (feature `axvcpu`) |
//! | recording what enters a vCPU, and replaying it | the module `replay` (feature `replay`) |
//! | probing registers that may fault | [`fixup`](mod@fixup) |
//!
//! Between [`bind`](Vcpu::bind) and [`unbind`](Vcpu::unbind) the CPU's extended registers (x87, SSE, AVX) and a few
//! model-specific registers belong to the guest; `docs/host-state.md` in the repository lists them.

// Without a vendor there is nothing to adapt.
#[cfg(all(feature = "axvcpu", any(feature = "vmx", feature = "amd")))]
pub mod axvcpu;
#[cfg(feature = "axvisor")]
mod axvisor;
#[cfg(test)]
extern crate std;

pub mod count;
#[cfg_attr(not(all(feature = "vmx", feature = "amd")), allow(dead_code, reason = "used by the other vendor"))]
mod cpu;
#[cfg(any(feature = "vmx", feature = "amd"))]
mod dump;
pub mod entry;
mod error;
pub mod exit;
pub mod fixup;
#[cfg_attr(not(all(feature = "vmx", feature = "amd")), allow(dead_code, reason = "used by the other vendor"))]
mod frame;
pub mod guest;
#[cfg_attr(not(any(feature = "vmx", feature = "amd")), allow(dead_code, reason = "used by the vendors"))]
mod handle;
#[cfg_attr(not(all(feature = "vmx", feature = "amd")), allow(dead_code, reason = "used by the other vendor"))]
mod host;
pub mod nested;
#[cfg_attr(not(any(feature = "vmx", feature = "amd")), allow(dead_code, reason = "used by the vendors"))]
mod observer;
#[cfg(any(feature = "vmx", feature = "amd"))]
mod percpu;
#[cfg(test)]
mod random;
#[cfg(feature = "replay")]
#[cfg_attr(not(any(feature = "vmx", feature = "amd")), allow(dead_code, reason = "used by the vendors"))]
pub mod replay;
pub mod spec;
#[cfg_attr(not(any(feature = "vmx", feature = "amd")), allow(dead_code, reason = "used by the vendors"))]
mod statistics;
#[cfg(feature = "amd")]
pub mod svm;
#[cfg_attr(not(any(feature = "vmx", feature = "amd")), allow(dead_code, reason = "used by the vendors"))]
mod trace;
#[cfg(any(feature = "vmx", feature = "amd"))]
mod vcpu;
#[cfg(feature = "vmx")]
pub mod vmx;

#[cfg(all(feature = "axvcpu", feature = "amd"))]
pub use axvcpu::{SvmArchPerCpuState, SvmArchVCpu};
#[cfg(all(feature = "axvcpu", feature = "vmx"))]
pub use axvcpu::{VmxArchPerCpuState, VmxArchVCpu};
#[cfg(all(feature = "axvcpu", any(feature = "vmx", feature = "amd")))]
pub use axvcpu::{X86ArchPerCpuState, X86ArchVCpu};
pub use cpu::MAX_CPUS;
#[cfg(any(feature = "vmx", feature = "amd"))]
pub use dump::{Diff, Dump};
pub use error::{Error, NotEmulated, Result, VmxInstruction};
#[cfg(feature = "trace")]
pub use exit::Answer as TraceAnswer;
pub use exit::{Access, EntryFailure, NestedFault, NestedFaultDetails, Unhandled, VmExit, Width};
#[cfg(feature = "amd")]
pub use frame::{ContiguousAllocator, register_contiguous_allocator};
pub use frame::{FrameSource, HostFrames, PhysFrame, PhysFrameIf};
pub use guest::{
    apic::{ApicBus, ApicConfig, ApicDestination, ApicMessage, ApicVirtualization, LocalInterrupt, VcpuHost},
    cpuid::{CpuidConfig, CpuidEntry, CpuidPolicy},
    events::Event,
    msr::{MsrAccess, MsrAction, MsrPolicy, UnknownMsr},
    registers::{DescriptorTable, GuestRegisters, RegisterIndex, Segment, StartState, SystemRegisters},
    snapshot::State,
    speculation::SpeculationPolicy,
    state::VcpuConfig,
};
pub use handle::{Forget, VcpuHandle};
#[cfg(any(feature = "vmx", feature = "amd"))]
pub use percpu::{PerCpu, has_hardware_support, nested_capabilities, nested_format};
#[cfg(feature = "statistics")]
pub use statistics::ExitStatistics;
#[cfg(feature = "trace")]
pub use trace::TraceEntry;
#[cfg(any(feature = "vmx", feature = "amd"))]
pub use vcpu::Vcpu;

/// The examples of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
