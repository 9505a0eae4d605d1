//! Guests that need nothing but the devices: they look at themselves, and end with a verdict.

use super::Outcome;
use super::machine::{Machine, unexpected};
use crate::guests;
use crate::vm::Exit;

macro_rules! alone {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name() -> Outcome {
            Machine::new(guests::$name())?.run(|_, _, exit| match exit {
                Exit::Yield => Ok(()),
                other => unexpected(&other),
            })
        }
    )*};
}

alone! {
    /// Real mode.
    real;
    /// Protected mode, with and without paging.
    protected;
    /// 64-bit mode.
    long;
    /// From real mode to long mode and back.
    modes;
    /// Tasks.
    task_switch;
    /// CPUID: what it says, and how long it is.
    cpuid;
    /// Model-specific registers.
    msr;
    /// CR0, CR4, CR8, EFER.
    control_registers;
    /// IN and OUT.
    port_io;
    /// INS and OUTS.
    string_io;
    /// INS into a page that is not there.
    string_io_fault;
    /// INS and OUTS at the limits of segments.
    string_io_limits;
    /// INS and OUTS in real mode.
    string_io_real;
    /// Accesses to a memory-mapped device.
    mmio;
    /// The same in real mode.
    mmio_real;
    /// What STI and MOV SS hold back.
    interrupt_shadow;
    /// The trap flag.
    single_step;
    /// The debug registers, and breakpoints that the hypervisor finds.
    breakpoints;
    /// Breakpoints that the CPU finds.
    breakpoints_of_cpu;
    /// #UD.
    invalid_opcode;
    /// XSETBV.
    xsetbv;
    /// Instructions in every mode and at every privilege.
    instructions;
    /// Reserved bits of the control registers.
    control_faults;
    /// The same without paging and with PAE paging.
    control_faults_pae;
}
