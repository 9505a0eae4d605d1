//! The guests' code: assembled into one blob, see `guests/prelude.S`.

use core::arch::global_asm;

global_asm!(
    include_str!("../guests/prelude.S"),
    include_str!("../guests/runtime16.S"),
    include_str!("../guests/runtime32.S"),
    include_str!("../guests/runtime64.S"),
    include_str!("../guests/real.S"),
    include_str!("../guests/protected.S"),
    include_str!("../guests/long.S"),
    include_str!("../guests/modes.S"),
    include_str!("../guests/cpuid.S"),
    include_str!("../guests/msr.S"),
    include_str!("../guests/port_io.S"),
    include_str!("../guests/string_io.S"),
    include_str!("../guests/halt.S"),
    include_str!("../guests/mmio.S"),
    include_str!("../guests/hypercall.S"),
    include_str!("../guests/invalid_opcode.S"),
    include_str!("../guests/xsetbv.S"),
    include_str!("../guests/triple_fault.S"),
    include_str!("../guests/entry_failure.S"),
    include_str!("../guests/host_timer.S"),
    include_str!("../guests/fpu.S"),
    include_str!("../guests/nested_fault.S"),
    include_str!("../guests/single_step.S"),
    include_str!("../guests/interrupt_shadow.S"),
    include_str!("../guests/control_registers.S"),
    include_str!("../guests/bench.S"),
    "    .balign 16",
    "    .globl guests_end",
    "guests_end:",
    "    .text",
    "    .code64",
    options(att_syntax, raw)
);
