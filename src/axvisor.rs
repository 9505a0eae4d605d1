//! `PhysFrameIf` over `axvisor_api`, so that an embedder of `axvm` links without writing one.

use axvisor_api::memory;
use memory_addr::{PhysAddr, VirtAddr};

use crate::PhysFrameIf;

struct AxvisorFrames;

#[crate_interface::impl_interface]
impl PhysFrameIf for AxvisorFrames {
    fn alloc_frame() -> Option<PhysAddr> {
        memory::alloc_frame()
    }

    fn dealloc_frame(paddr: PhysAddr) {
        memory::dealloc_frame(paddr);
    }

    fn phys_to_virt(paddr: PhysAddr) -> VirtAddr {
        memory::phys_to_virt(paddr)
    }
}
