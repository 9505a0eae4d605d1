//! How often a guest came out, why, and what it cost: the library's counts by exit reason, and the VMM's own by port.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use x86_vcpu::{Vcpu, VmExit};

use crate::println;

/// How many ports are listed.
const LISTED: usize = 12;

/// What the VMM counts of one vCPU.
pub struct Statistics {
    exits: u64,
    /// Time-stamp counts between the end of `run` and its next begin: in emulators that count instructions, the VMM's.
    instructions: u64,
    ports: Box<[u32]>,
}

impl Statistics {
    /// Nothing has happened.
    pub fn new() -> Self {
        Self { exits: 0, instructions: 0, ports: vec![0; 1 << 16].into_boxed_slice() }
    }

    /// An exit was answered.
    #[inline]
    pub fn add(&mut self, exit: &VmExit, instructions: u64) {
        self.exits += 1;
        self.instructions += instructions;
        if let VmExit::IoRead { port, .. } | VmExit::IoWrite { port, .. } = exit {
            self.ports[usize::from(*port)] += 1;
        }
    }

    /// The VMM let the CPU wait, which is nobody's work.
    pub fn waited(vcpu: &mut Vcpu, instructions: u64) {
        #[cfg(feature = "statistics")]
        vcpu.exclude_from_statistics(instructions);
        #[cfg(not(feature = "statistics"))]
        let _ = (vcpu, instructions);
    }

    /// Prints all of it: a line for each exit reason, and for the ports with the most accesses.
    pub fn print(&self, number: usize, vcpu: &Vcpu, total: u64) {
        print_exits(number, vcpu);
        let mut ports: Vec<(u16, u32)> =
            (0..=u16::MAX).zip(self.ports.iter().copied()).filter(|(_, count)| *count > 0).collect();
        ports.sort_by_key(|(_, count)| u32::MAX - count);
        for (port, count) in ports.iter().take(LISTED) {
            println!("PORTS {{\"vcpu\":{number},\"port\":\"{port:#x}\",\"count\":{count}}}");
        }
        println!(
            "TOTAL {{\"vcpu\":{number},\"exits\":{},\"vmm_instructions\":{},\"instructions\":{total}}}",
            self.exits, self.instructions
        );
    }
}

#[cfg(feature = "statistics")]
fn print_exits(number: usize, vcpu: &Vcpu) {
    for row in vcpu.statistics() {
        let reason = match (row.name, row.code) {
            (Some(name), _) => name.into(),
            (None, Some(code)) => alloc::format!("{code:#x}"),
            (None, None) => "other".into(),
        };
        println!(
            "EXITS {{\"vcpu\":{number},\"reason\":\"{reason}\",\"count\":{},\"inside\":{},\"instructions_inside\":{},\"instructions\":{}}}",
            row.exits,
            row.answered_inside,
            row.instructions_inside,
            row.instructions()
        );
    }
}

#[cfg(not(feature = "statistics"))]
fn print_exits(_: usize, _: &Vcpu) {}
