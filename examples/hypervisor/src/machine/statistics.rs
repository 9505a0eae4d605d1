//! How often a guest came out, why, and what it cost.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use x86_vcpu::VmExit;

use crate::println;

/// How many ports are listed.
const LISTED: usize = 12;

/// The counts of one vCPU.
pub struct Statistics {
    kinds: [Count; NAMES.len()],
    ports: Box<[u32]>,
}

/// What one kind of exit came to.
#[derive(Clone, Copy, Default)]
struct Count {
    exits: u64,
    /// Time-stamp counts between the end of `run` and its next begin: in emulators that count instructions, the VMM's.
    instructions: u64,
}

const NAMES: [&str; 12] = [
    "io_read",
    "io_write",
    "msr_read",
    "msr_write",
    "mmio_read",
    "mmio_write",
    "hypercall",
    "halt",
    "interrupt_window",
    "external_interrupt",
    "interrupted",
    "other",
];

/// Which of [`NAMES`] an exit is.
pub fn kind(exit: &VmExit) -> usize {
    match exit {
        VmExit::IoRead { .. } => 0,
        VmExit::IoWrite { .. } => 1,
        VmExit::MsrRead { .. } => 2,
        VmExit::MsrWrite { .. } => 3,
        VmExit::NestedPageFault(fault) if !fault.access.write => 4,
        VmExit::MmioRead { .. } => 4,
        VmExit::NestedPageFault(_) | VmExit::MmioWrite { .. } => 5,
        VmExit::Hypercall { .. } => 6,
        VmExit::Halt => 7,
        VmExit::InterruptWindow => 8,
        VmExit::ExternalInterrupt { .. } => 9,
        VmExit::Interrupted => 10,
        _ => 11,
    }
}

impl Statistics {
    /// Nothing has happened.
    pub fn new() -> Self {
        Self { kinds: [Count::default(); NAMES.len()], ports: vec![0; 1 << 16].into_boxed_slice() }
    }

    /// An exit was answered.
    #[inline]
    pub fn add(&mut self, kind: usize, exit: &VmExit, instructions: u64) {
        if let Some(count) = self.kinds.get_mut(kind) {
            count.exits += 1;
            count.instructions += instructions;
        }
        if let VmExit::IoRead { port, .. } | VmExit::IoWrite { port, .. } = exit {
            self.ports[usize::from(*port)] += 1;
        }
    }

    /// Prints all of it: a line for each kind of exit, and for the ports with the most accesses.
    pub fn print(&self, vcpu: usize, total: u64) {
        for (name, count) in NAMES.iter().zip(&self.kinds).filter(|(_, count)| count.exits > 0) {
            println!(
                "EXITS {{\"vcpu\":{vcpu},\"reason\":\"{name}\",\"count\":{},\"instructions\":{}}}",
                count.exits, count.instructions
            );
        }
        let mut ports: Vec<(u16, u32)> =
            (0..=u16::MAX).zip(self.ports.iter().copied()).filter(|(_, count)| *count > 0).collect();
        ports.sort_by_key(|(_, count)| u32::MAX - count);
        for (port, count) in ports.iter().take(LISTED) {
            println!("PORTS {{\"vcpu\":{vcpu},\"port\":\"{port:#x}\",\"count\":{count}}}");
        }
        let exits: u64 = self.kinds.iter().map(|count| count.exits).sum();
        let instructions: u64 = self.kinds.iter().map(|count| count.instructions).sum();
        println!(
            "TOTAL {{\"vcpu\":{vcpu},\"exits\":{exits},\"vmm_instructions\":{instructions},\"instructions\":{total}}}"
        );
    }
}
