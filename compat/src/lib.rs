#![no_std]
//! [`x86_vcpu`](ours) 0.1 under the version number that `axvm` 0.3 asks for: a `[patch.crates-io]` takes only a package
//! whose version matches. `axvm` 0.3 uses [`VmxArchVCpu`], [`VmxArchPerCpuState`] and [`has_hardware_support`].

pub use ours::*;
