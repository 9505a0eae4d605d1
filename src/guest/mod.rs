//! What VMX and SVM share: the guest's registers, the policies, the events, and the emulation of what hardware leaves to us.

// Some of it serves one vendor alone; a build without that vendor leaves it to the linker.
#![cfg_attr(not(all(feature = "vmx", feature = "amd")), allow(dead_code, reason = "used by the other vendor"))]

#[cfg(any(feature = "vmx", feature = "amd"))]
pub(crate) mod accessors;
pub mod apic;
pub(crate) mod control;
pub(crate) mod cpuid;
pub(crate) mod debug;
pub(crate) mod decode;
pub(crate) mod edges;
pub(crate) mod emulation;
pub(crate) mod events;
pub(crate) mod fast_mov;
pub(crate) mod fetch;
pub(crate) mod interrupts;
pub(crate) mod linear;
pub(crate) mod local_apic;
pub(crate) mod memory;
pub(crate) mod mmio;
pub(crate) mod msr;
pub(crate) mod protection_keys;
pub mod registers;
#[cfg(any(feature = "vmx", feature = "amd"))]
pub(crate) mod return_stack;
pub(crate) mod segmentation;
pub mod snapshot;
pub(crate) mod speculation;
pub(crate) mod start;
pub(crate) mod state;
pub(crate) mod string;
pub(crate) mod string_io;
pub(crate) mod task_memory;
pub(crate) mod task_switch;
pub(crate) mod tsc;
pub(crate) mod walk;
pub(crate) mod xstate;
