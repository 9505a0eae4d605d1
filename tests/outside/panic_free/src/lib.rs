#![no_std]
//! Everything that a VMM calls while a guest runs, as functions that `cargo xtask test panic-free` starts from: their names
//! begin with `root_`. The embedder's own functions do nothing.

use core::{
    fmt::{Result as Written, Write},
    panic::PanicInfo,
};

use memory_addr::{PhysAddr, VirtAddr};
use x86_vcpu::{Error, Event, PhysFrameIf, RegisterIndex, Result, SystemRegisters, Vcpu, VcpuHandle, VmExit};

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

struct Frames;

#[crate_interface::impl_interface]
impl PhysFrameIf for Frames {
    fn alloc_frame() -> Option<PhysAddr> {
        None
    }

    fn dealloc_frame(_frame: PhysAddr) {}

    #[cfg(not(feature = "seeded"))]
    fn phys_to_virt(address: PhysAddr) -> VirtAddr {
        VirtAddr::from(address.as_usize())
    }

    #[cfg(feature = "seeded")]
    fn phys_to_virt(address: PhysAddr) -> VirtAddr {
        // Where a guest's page tables lead, the library asks for: a guest may choose this panic.
        VirtAddr::from(address.as_usize().checked_add(1 << 40).unwrap())
    }
}

macro_rules! roots {
    ($($(#[$attribute:meta])* $name:ident($vcpu:ident $(, $argument:ident: $type:ty)*) -> $result:ty = $call:expr;)*) => {$(
        $(#[$attribute])*
        #[unsafe(no_mangle)]
        pub fn $name($vcpu: &mut Vcpu $(, $argument: $type)*) -> $result {
            $call
        }
    )*};
}

roots! {
    root_run(vcpu) -> Result<VmExit> = vcpu.run();
    root_complete_read(vcpu, value: u64) -> Result = vcpu.complete_read(value);
    root_reject(vcpu) -> Result = vcpu.reject();
    root_decode_mmio(vcpu) -> Result<VmExit> = vcpu.decode_mmio();
    root_registers(vcpu) -> u64 = vcpu.registers_mut().rax;
    root_set_register(vcpu, index: RegisterIndex, value: u64) -> () = vcpu.set_register(index, value);
    root_set_return_value(vcpu, value: u64) -> () = vcpu.set_return_value(value);
    root_hypercall_arguments(vcpu) -> [u64; 6] = vcpu.hypercall_arguments();
    root_system(vcpu) -> Result<SystemRegisters> = vcpu.system();
    root_set_system(vcpu, system: &SystemRegisters) -> Result = vcpu.set_system(system);
    root_inject_interrupt(vcpu, vector: u8) -> () = vcpu.inject_interrupt(vector);
    root_request_interrupt_window(vcpu) -> () = vcpu.request_interrupt_window();
    root_set_speculation_policy(vcpu) -> () = vcpu.set_speculation_policy(vcpu.speculation_policy());
    root_tsc(vcpu) -> u64 = vcpu.tsc();
    root_set_tsc_offset(vcpu, offset: u64) -> Result = vcpu.set_tsc_offset(offset);
    root_set_tsc_frequency(vcpu, guest: u64, host: u64) -> Result = vcpu.set_tsc_frequency(guest, host);
    root_inject_nmi(vcpu) -> () = vcpu.inject_nmi();
    root_inject_exception(vcpu, event: Event) -> () = vcpu.inject_exception(event);
    root_has_pending_event(vcpu) -> bool = vcpu.has_pending_event();
    root_forget_nested_translations(vcpu) -> () = vcpu.forget_nested_translations();
    root_bind(vcpu) -> Result = vcpu.bind();
    root_unbind(vcpu) -> Result = vcpu.unbind();
    root_handle(vcpu) -> VcpuHandle = vcpu.handle();
}

/// What a VMM writes into its log.
#[unsafe(no_mangle)]
pub fn root_log(exit: &VmExit, error: &Error, log: &mut dyn Write) -> Written {
    write!(log, "{exit:?} {exit:x?} {error:?} {error}")
}

/// What other CPUs do while the guest runs.
#[unsafe(no_mangle)]
pub fn root_of_other_cpus(handle: &VcpuHandle, vector: u8) -> Option<usize> {
    handle.inject_interrupt(vector);
    handle.inject_nmi();
    handle.request_exit();
    drop(handle.clone());
    handle.running_on()
}
