#![no_std]
//! Uses `axvm` 0.3 as a hypervisor does. That this type-checks says that `axvm` finds in this `x86_vcpu` what it needs.

use axvm::{AxVM, AxVMPerCpu, AxVMRef};

/// A host CPU, before it is enabled.
pub static PER_CPU: AxVMPerCpuCell = AxVMPerCpuCell(core::cell::UnsafeCell::new(AxVMPerCpu::new_uninit()));

/// The state of one host CPU.
pub struct AxVMPerCpuCell(pub core::cell::UnsafeCell<AxVMPerCpu>);

// SAFETY: nothing here touches the cell; it shows that the type can be put into a static.
unsafe impl Sync for AxVMPerCpuCell {}

/// Makes a virtual machine and runs its first vCPU once.
pub fn run(config: axvm::config::AxVMConfig) -> bool {
    let vm: AxVMRef = match AxVM::new(config) {
        Ok(vm) => vm,
        Err(_) => return false,
    };
    axvm::has_hardware_support() && vm.init().is_ok() && vm.boot().is_ok() && vm.run_vcpu(0).is_ok()
}
