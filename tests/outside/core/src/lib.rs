#![no_std]
//! A hypervisor that uses the core of `x86_vcpu` without ArceOS: gives it memory, makes a vCPU and runs it.

use memory_addr::{PhysAddr, VirtAddr};
use x86_vcpu::{PerCpu, PhysFrameIf, Result, StartState, Vcpu, VcpuConfig, VmExit};

struct Frames;

#[crate_interface::impl_interface]
impl PhysFrameIf for Frames {
    fn alloc_frame() -> Option<PhysAddr> {
        None
    }

    fn dealloc_frame(_frame: PhysAddr) {}

    fn phys_to_virt(address: PhysAddr) -> VirtAddr {
        VirtAddr::from(address.as_usize())
    }
}

/// Enables this CPU and runs a guest in real mode until it halts; answers every port with zero.
///
/// # Safety
/// As of [`Vcpu::set_nested_root`].
pub unsafe fn run(nested_root: PhysAddr, entry: u64) -> Result {
    let mut cpu: PerCpu = PerCpu::new(0);
    cpu.enable()?;
    let mut vcpu: Vcpu = Vcpu::new(VcpuConfig::new(0))?;
    // SAFETY: the caller vouches for the table.
    unsafe { vcpu.set_nested_root(nested_root)? };
    vcpu.start(StartState::RealMode { entry })?;
    vcpu.bind()?;
    loop {
        match vcpu.run()? {
            VmExit::IoRead { .. } => vcpu.complete_read(0)?,
            VmExit::Halt | VmExit::Shutdown => break,
            _ => {}
        }
    }
    vcpu.unbind()?;
    drop(vcpu);
    cpu.disable()
}
