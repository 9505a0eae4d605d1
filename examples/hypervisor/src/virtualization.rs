//! Turning virtualization on, on each CPU, and what the library asks of its embedder.

use axerrno::AxResult;
use axvcpu::AxPerCpu;
use memory_addr::{PhysAddr, VirtAddr};
use x86_vcpu::{PhysFrameIf, X86ArchPerCpuState};

use crate::{memory, smp};

#[percpu::def_percpu]
static VIRTUALIZATION: AxPerCpu<X86ArchPerCpuState> = AxPerCpu::new_uninit();

struct Frames;

#[crate_interface::impl_interface]
impl PhysFrameIf for Frames {
    fn alloc_frame() -> Option<PhysAddr> {
        memory::allocate_frames(1).map(PhysAddr::from)
    }

    fn dealloc_frame(paddr: PhysAddr) {
        memory::free_frames(paddr.as_usize(), 1);
    }

    fn phys_to_virt(paddr: PhysAddr) -> VirtAddr {
        VirtAddr::from(paddr.as_usize())
    }
}

/// Turns virtualization on for this CPU.
pub fn enable() -> AxResult {
    // The #GP handler asks the library, so the library may probe.
    x86_vcpu::fixup::enable();
    VIRTUALIZATION.with_current(|cpu| {
        cpu.init(smp::number())?;
        cpu.hardware_enable()
    })
}

/// Turns it off again. No vCPU may be bound to this CPU.
pub fn disable() -> AxResult {
    VIRTUALIZATION.with_current(AxPerCpu::hardware_disable)
}
