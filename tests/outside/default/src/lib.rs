//! A VMM over the `axvcpu` traits: what it uses of `x86_vcpu` are the two names that implement them.

use axaddrspace::{GuestPhysAddr, HostPhysAddr};
use axerrno::AxResult;
use axvcpu::{AxArchPerCpu, AxArchVCpu, AxVCpuExitReason};
use x86_vcpu::{VmxArchPerCpuState, VmxArchVCpu};

/// Runs a guest until it asks for something.
pub fn run(ept_root: HostPhysAddr, entry: GuestPhysAddr) -> AxResult<AxVCpuExitReason> {
    let mut cpu = VmxArchPerCpuState::new(0)?;
    cpu.hardware_enable()?;
    let mut vcpu = VmxArchVCpu::new(0, 0, ())?;
    vcpu.set_entry(entry)?;
    vcpu.set_ept_root(ept_root)?;
    vcpu.setup(Default::default())?;
    vcpu.bind()?;
    let exit = vcpu.run();
    vcpu.unbind()?;
    cpu.hardware_disable()?;
    exit
}
