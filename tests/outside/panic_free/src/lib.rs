#![no_std]
//! Everything that a VMM calls while a guest runs, as functions that `cargo xtask test panic-free` starts from: their names
//! begin with `root_`. The embedder's own functions do nothing.

use core::{
    fmt::{Result as Written, Write},
    panic::PanicInfo,
};

use memory_addr::{PhysAddr, VirtAddr};
use x86_vcpu::{
    ApicBus, ApicConfig, ApicMessage, Dump, EntryFailure, Error, Event, LocalInterrupt, MsrPolicy, NestedFaultDetails,
    PhysFrameIf, RegisterIndex, Result, StartState, SystemRegisters, Vcpu, VcpuHandle, VmExit,
    nested::{Caching, DirtyLog, NestedTable, Permissions, Translation},
};

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
    root_start(vcpu, state: StartState) -> Result = vcpu.start(state);
    root_set_msr_policy(vcpu, policy: MsrPolicy) -> Result = vcpu.set_msr_policy(policy);
    root_intercept_ports(vcpu, first: u16, last: u16) -> () = vcpu.intercept_ports(first..=last);
    root_nested_fault_details(vcpu) -> Result<NestedFaultDetails> = vcpu.nested_fault_details();
    root_set_dirty_log(vcpu, log: Option<&DirtyLog>) -> Result = vcpu.set_dirty_log(log);
    root_add_local_apic(vcpu, config: ApicConfig, bus: &ApicBus) -> Result = vcpu.add_local_apic(config, Some(bus));
    root_timer_deadline(vcpu) -> Option<u64> = vcpu.timer_deadline();
    root_set_time_slice(vcpu, end: Option<u64>) -> () = vcpu.set_time_slice(end);
    root_accepts_pic(vcpu) -> bool = vcpu.accepts_pic();
    root_signal_local_interrupt(vcpu, source: LocalInterrupt) -> () = vcpu.signal_local_interrupt(source);
}

/// # Safety
/// As for `Vcpu::pass_ports_through`.
#[unsafe(no_mangle)]
pub unsafe fn root_pass_ports_through(vcpu: &mut Vcpu, first: u16, last: u16) -> Result {
    // SAFETY: the caller's promise.
    unsafe { vcpu.pass_ports_through(first..=last) }
}

/// # Safety
/// As for `Vcpu::set_nested_table`.
#[unsafe(no_mangle)]
pub unsafe fn root_set_nested_table(vcpu: &mut Vcpu, table: &NestedTable) -> Result {
    // SAFETY: the caller's promise.
    unsafe { vcpu.set_nested_table(table) }
}

/// What a device of the VMM sends, as a guest has programmed it.
#[unsafe(no_mangle)]
pub fn root_deliver(bus: &ApicBus, message: ApicMessage) -> bool {
    bus.deliver(message)
}

#[unsafe(no_mangle)]
pub fn root_message_of_msi(address: u64, data: u32) -> Option<ApicMessage> {
    ApicMessage::from_msi(address, data)
}

macro_rules! roots_of_tables {
    ($($name:ident($table:ident $(, $argument:ident: $type:ty)*) -> $result:ty = $call:expr;)*) => {$(
        #[unsafe(no_mangle)]
        pub fn $name($table: &mut NestedTable $(, $argument: $type)*) -> $result {
            $call
        }
    )*};
}

// What a VMM does with the nested page table, at addresses that a guest has chosen.
roots_of_tables! {
    root_map(table, gpa: u64, hpa: PhysAddr, size: u64, permissions: Permissions, caching: Caching) -> Result =
        table.map(gpa, hpa, size, permissions, caching);
    root_unmap(table, gpa: u64, size: u64) -> Result = table.unmap(gpa, size);
    root_protect(table, gpa: u64, size: u64, permissions: Permissions) -> Result = table.protect(gpa, size, permissions);
    root_remap(table, gpa: u64, hpa: PhysAddr, size: u64) -> Result = table.remap(gpa, hpa, size);
    root_merge(table, gpa: u64, size: u64) -> Result<usize> = table.merge(gpa, size);
    root_translate(table, gpa: u64) -> Option<Translation> = table.translate(gpa);
    root_leaves(table, gpa: u64, size: u64) -> Result<Option<u64>> = Ok(table.leaves(gpa, size)?.last().map(|leaf| leaf.0));
    root_clear_accessed(table, gpa: u64, size: u64) -> Result = table.clear_accessed(gpa, size);
    root_clear_dirty(table, gpa: u64, size: u64) -> Result = table.clear_dirty(gpa, size);
    root_start_dirty_log(table, log: &DirtyLog) -> Result = table.start_dirty_log(log);
    root_stop_dirty_log(table) -> () = table.stop_dirty_log();
    root_collect_dirty(table) -> Result<u64> = {
        let mut last = 0;
        table.collect_dirty(|gpa| last = gpa).map(|()| last)
    };
}

#[unsafe(no_mangle)]
pub fn root_new_dirty_log(table: &NestedTable, gpa: u64, size: u64) -> Result<DirtyLog> {
    DirtyLog::new(table.capabilities(), gpa, size)
}

#[unsafe(no_mangle)]
pub fn root_mark(log: &DirtyLog, gpa: u64, size: u64) {
    log.mark(gpa, size);
}

/// What a VMM writes into its log.
#[unsafe(no_mangle)]
pub fn root_log(exit: &VmExit, error: &Error, log: &mut dyn Write) -> Written {
    write!(log, "{exit:?} {exit:x?} {error:?} {error}")
}

/// The same of an entry that failed, and of everything that is in the VMCS or VMCB.
#[unsafe(no_mangle)]
pub fn root_log_failure(vcpu: &mut Vcpu, failure: &EntryFailure, old: &Dump, log: &mut dyn Write) -> Written {
    write!(log, "{failure} {failure:#} {failure:?} {}", failure.verdict())?;
    if let Ok(violations) = vcpu.check_entry() {
        violations.into_iter().try_for_each(|violation| write!(log, "{violation} {violation:#}"))?;
    }
    let Ok(new) = vcpu.dump() else { return Ok(()) };
    write!(log, "{new} {} {:?}", old.diff(&new), new.get("GUEST_RIP"))
}

/// Entries are checked before.
#[unsafe(no_mangle)]
pub fn root_set_strict_entry(vcpu: &mut Vcpu, strict: bool) {
    vcpu.set_strict_entry(strict);
}

/// The same of the last exits.
#[cfg(feature = "trace")]
#[unsafe(no_mangle)]
pub fn root_log_trace(vcpu: &Vcpu, log: &mut dyn Write) -> Written {
    vcpu.trace_from(1).rev().try_for_each(|entry| write!(log, "{entry}"))
}

/// How many of them are kept.
#[cfg(feature = "trace")]
#[unsafe(no_mangle)]
pub fn root_set_trace(vcpu: &mut Vcpu, exits: usize) -> Result {
    vcpu.set_trace(exits)
}

/// What other CPUs do while the guest runs.
#[unsafe(no_mangle)]
pub fn root_of_other_cpus(handle: &VcpuHandle, vector: u8) -> Option<usize> {
    handle.inject_interrupt(vector);
    handle.inject_nmi();
    handle.request_exit();
    drop(handle.clone());
    let forget = handle.forget_nested_translations();
    if handle.has_forgotten(forget) { None } else { handle.running_on() }
}
