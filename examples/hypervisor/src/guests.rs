//! The guests' code: assembled into one blob, see `guests/prelude.S`, and a list of its entries.

use core::arch::global_asm;
use core::slice;

global_asm!(
    include_str!("../guests/prelude.S"),
    include_str!("../guests/runtime16.S"),
    include_str!("../guests/runtime32.S"),
    include_str!("../guests/runtime64.S"),
    include_str!("../guests/real.S"),
    // Low: Bochs wants the privilege level 0 in the selector of CS, in real mode too, and one above 64 KiB may have another.
    include_str!("../guests/bench.S"),
    include_str!("../guests/protected.S"),
    include_str!("../guests/long.S"),
    include_str!("../guests/modes.S"),
    include_str!("../guests/task_switch.S"),
    include_str!("../guests/cpuid.S"),
    include_str!("../guests/msr.S"),
    include_str!("../guests/port_io.S"),
    include_str!("../guests/string_io.S"),
    include_str!("../guests/halt.S"),
    include_str!("../guests/nmi.S"),
    include_str!("../guests/mmio.S"),
    include_str!("../guests/mmio_forms_real.S"),
    include_str!("../guests/replay_real.S"),
    include_str!("../guests/hypercall.S"),
    include_str!("../guests/invalid_opcode.S"),
    include_str!("../guests/policies.S"),
    include_str!("../guests/xsetbv.S"),
    include_str!("../guests/triple_fault.S"),
    include_str!("../guests/entry_failure.S"),
    include_str!("../guests/doctor.S"),
    include_str!("../guests/host_timer.S"),
    include_str!("../guests/host_nmi.S"),
    include_str!("../guests/fpu.S"),
    include_str!("../guests/nested_fault.S"),
    include_str!("../guests/memory.S"),
    include_str!("../guests/single_step.S"),
    include_str!("../guests/breakpoints.S"),
    include_str!("../guests/events.S"),
    include_str!("../guests/interrupt_shadow.S"),
    include_str!("../guests/control_registers.S"),
    include_str!("../guests/tsc.S"),
    include_str!("../guests/vectors.S"),
    include_str!("../guests/local_apic.S"),
    include_str!("../guests/apic_exits.S"),
    include_str!("../guests/speculation.S"),
    include_str!("../guests/apic_smp.S"),
    include_str!("../guests/mmio_forms.S"),
    include_str!("../guests/instructions.S"),
    include_str!("../guests/control_faults.S"),
    include_str!("../guests/string_io_limits.S"),
    include_str!("../guests/apic_init.S"),
    include_str!("../guests/exit_trace.S"),
    include_str!("../guests/replay.S"),
    "    .balign 16",
    "    .globl guests_end",
    "guests_end:",
    "    .text",
    "    .code64",
    options(att_syntax, raw)
);

/// The guest-physical address of the blob's first byte.
pub const ADDRESS: u64 = 0x8000;

/// The mode in which a guest starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// 16-bit real mode.
    Real,
    /// 32-bit protected mode, without paging.
    Protected,
    /// 64-bit mode, with page tables of the VMM's making.
    Long,
}

/// An entry of the blob.
#[derive(Clone, Copy, Debug)]
pub struct Guest {
    /// The guest-physical, and linear, address.
    pub entry: u64,
    /// The mode in which it starts.
    pub mode: Mode,
}

unsafe extern "C" {
    static guests_start: u8;
    static guests_end: u8;
}

/// The blob, as it is copied to guest-physical [`ADDRESS`].
pub fn blob() -> &'static [u8] {
    let start = &raw const guests_start;
    // SAFETY: the assembly above puts the blob between the two symbols, in read-only memory.
    unsafe { slice::from_raw_parts(start, (&raw const guests_end) as usize - start as usize) }
}

macro_rules! guests {
    ($($name:ident, $symbol:literal, $mode:ident;)*) => {$(
        #[doc = concat!("The entry `", $symbol, "`.")]
        #[cfg_attr(
            not(all(feature = "trace", feature = "replay")),
            allow(dead_code, reason = "a guest of the build with a trace, or with record and replay")
        )]
        pub fn $name() -> Guest {
            unsafe extern "C" {
                #[link_name = $symbol]
                static ENTRY: u8;
            }
            let offset = (&raw const ENTRY) as u64 - (&raw const guests_start) as u64;
            Guest { entry: ADDRESS + offset, mode: Mode::$mode }
        }
    )*};
}

guests! {
    real, "guest_real", Real;
    protected, "guest_protected", Protected;
    long, "guest_long", Long;
    modes, "guest_modes", Real;
    task_switch, "guest_task_switch", Protected;
    cpuid, "guest_cpuid", Long;
    msr, "guest_msr", Long;
    port_io, "guest_port_io", Long;
    string_io, "guest_string_io", Long;
    string_io_fault, "guest_string_io_fault", Long;
    string_io_limits, "guest_string_io_limits", Protected;
    string_io_real, "guest_string_io_real", Real;
    halt, "guest_halt", Long;
    nmi, "guest_nmi", Long;
    mmio, "guest_mmio", Long;
    mmio_real, "guest_mmio_real", Real;
    mmio_forms, "guest_mmio_forms", Long;
    mmio_forms_protected, "guest_mmio_forms_protected", Protected;
    mmio_forms_real, "guest_mmio_forms_real", Real;
    hypercall, "guest_hypercall", Long;
    invalid_opcode, "guest_invalid_opcode", Long;
    policies, "guest_policies", Long;
    instructions, "guest_instructions", Long;
    control_faults, "guest_control_faults", Long;
    control_faults_pae, "guest_control_faults_pae", Protected;
    xsetbv, "guest_xsetbv", Long;
    triple_fault, "guest_triple_fault", Long;
    entry_failure, "guest_entry_failure", Long;
    doctor, "guest_doctor", Long;
    host_timer, "guest_host_timer", Long;
    host_nmi, "guest_host_nmi", Long;
    fpu, "guest_fpu", Long;
    numbered, "guest_numbered", Long;
    nested_fault, "guest_nested_fault", Long;
    memory, "guest_memory", Long;
    single_step, "guest_single_step", Long;
    breakpoints, "guest_breakpoints", Long;
    events, "guest_events", Long;
    events_protected, "guest_events_protected", Protected;
    events_real, "guest_events_real", Real;
    breakpoints_of_cpu, "guest_breakpoints_of_cpu", Long;
    interrupt_shadow, "guest_interrupt_shadow", Long;
    control_registers, "guest_control_registers", Long;
    tsc, "guest_tsc", Long;
    tsc_frequency, "guest_tsc_frequency", Long;
    vectors, "guest_vectors", Long;
    protection_keys, "guest_protection_keys", Long;
    local_apic, "guest_local_apic", Long;
    x2apic, "guest_x2apic", Long;
    apic_exits, "guest_apic_exits", Long;
    apic_init, "guest_apic_init", Long;
    exit_trace, "guest_exit_trace", Long;
    speculation, "guest_speculation", Long;
    apic_smp, "guest_apic_smp", Long;
    replay, "guest_replay", Long;
    replay_apic, "guest_replay_apic", Long;
    replay_real, "guest_replay_real", Real;
    bench_cpuid, "guest_bench_cpuid", Long;
    bench_rdmsr, "guest_bench_rdmsr", Long;
    bench_out, "guest_bench_out", Long;
    bench_in, "guest_bench_in", Long;
    bench_hlt, "guest_bench_hlt", Long;
    bench_vmcall, "guest_bench_vmcall", Long;
    bench_vmmcall, "guest_bench_vmmcall", Long;
    bench_mmio_long, "guest_bench_mmio_long", Long;
    bench_nested_fault, "guest_bench_nested_fault", Long;
    bench_mmio_real, "guest_bench_mmio_real", Real;
}

#[cfg(feature = "trace")]
macro_rules! traced {
    ($($name:ident, $symbol:literal;)*) => {$(
        #[doc = concat!("The guest-physical address of `", $symbol, "`.")]
        pub fn $name() -> u64 {
            unsafe extern "C" {
                #[link_name = $symbol]
                static PLACE: u8;
            }
            super::ADDRESS + ((&raw const PLACE) as u64 - (&raw const super::guests_start) as u64)
        }
    )*};
}

/// Where the instructions of the guest `exit_trace` are that exit.
#[cfg(feature = "trace")]
pub mod traced {
    traced! {
        cpuid, "traced_cpuid";
        rdmsr, "traced_rdmsr";
        out, "traced_out";
        r#in, "traced_in";
        vmcall, "traced_vmcall";
        vmmcall, "traced_vmmcall";
        inject, "traced_inject";
        fault, "traced_fault";
        mmio_write, "traced_mmio_write";
        mmio_read, "traced_mmio_read";
        r#yield, "traced_yield";
        r#loop, "traced_loop";
        second_yield, "traced_second_yield";
        long_loop, "traced_long_loop";
    }
}
