//! `axvisor_api`, as an embedder implements it; nothing works, everything links. `black_box` hides from the optimizer that
//! there is no memory: it would leave out all that needs some.

extern crate alloc;

use alloc::boxed::Box;
use core::hint::black_box;

use axvisor_api::api_impl;
use axvisor_api::memory::{MemoryIf, PhysAddr, VirtAddr};
use axvisor_api::time::{CancelToken, Nanos, Ticks, TimeIf, TimeValue};
use axvisor_api::vmm::{InterruptVector, VCpuId, VCpuSet, VMId, VmmIf};

struct Memory;

#[api_impl]
impl MemoryIf for Memory {
    fn alloc_frame() -> Option<PhysAddr> {
        black_box(None)
    }

    fn alloc_contiguous_frames(_num_frames: usize, _frame_align_pow2: usize) -> Option<PhysAddr> {
        black_box(None)
    }

    fn dealloc_frame(_addr: PhysAddr) {}

    fn dealloc_contiguous_frames(_first_addr: PhysAddr, _num_frames: usize) {}

    fn phys_to_virt(addr: PhysAddr) -> VirtAddr {
        VirtAddr::from(addr.as_usize())
    }

    fn virt_to_phys(addr: VirtAddr) -> PhysAddr {
        PhysAddr::from(addr.as_usize())
    }
}

struct Time;

#[api_impl]
impl TimeIf for Time {
    fn current_ticks() -> Ticks {
        0
    }

    fn ticks_to_nanos(ticks: Ticks) -> Nanos {
        ticks
    }

    fn nanos_to_ticks(nanos: Nanos) -> Ticks {
        nanos
    }

    fn register_timer(_deadline: TimeValue, _callback: Box<dyn FnOnce(TimeValue) + Send + 'static>) -> CancelToken {
        0
    }

    fn cancel_timer(_token: CancelToken) {}
}

struct Vmm;

#[api_impl]
impl VmmIf for Vmm {
    fn current_vm_id() -> VMId {
        0
    }

    fn current_vcpu_id() -> VCpuId {
        0
    }

    fn vcpu_num(_vm_id: VMId) -> Option<usize> {
        None
    }

    fn active_vcpus(_vm_id: VMId) -> Option<usize> {
        None
    }

    fn inject_interrupt(_vm_id: VMId, _vcpu_id: VCpuId, _vector: InterruptVector) {}

    fn inject_interrupt_to_cpus(_vm_id: VMId, _vcpu_set: VCpuSet, _vector: InterruptVector) {}

    fn notify_vcpu_timer_expired(_vm_id: VMId, _vcpu_id: VCpuId) {}
}
