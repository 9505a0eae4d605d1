//! Address-space identifiers: the tag that keeps a guest's translations apart from all others in one CPU's TLB.
//!
//! APM volume 2, "TLB Control". There are few (16 in one emulator), so a vCPU does not own one: it gets the next free one on
//! the CPU that it runs on. When all are given out, a new generation starts: the CPU forgets all translations at the next
//! VMRUN, and every vCPU needs a new identifier there.

use core::sync::atomic::Ordering::Relaxed;

use crate::{
    cpu::{CpuIndex, CpuSlot},
    spec::amd::exit_info::TlbControl,
};

/// The identifier of a vCPU, and where it is valid.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asid {
    number: u32,
    generation: u64,
    cpu: Option<CpuIndex>,
}

impl Asid {
    /// None yet, or no longer.
    pub(super) const NONE: Self = Self { number: 0, generation: 0, cpu: None };

    /// The number for the VMCB.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Whether it is still this vCPU's alone on this CPU.
    #[inline]
    pub(super) fn is_valid_on(&self, cpu: CpuIndex) -> bool {
        self.cpu == Some(cpu) && self.generation == cpu.slot().asid_generation.load(Relaxed)
    }

    /// Takes a new one on the CPU that executes this, and says what the next VMRUN has to forget. That VMRUN must come before
    /// another vCPU runs here; if it fails, [`start_over`] must be called.
    pub(super) fn renew(&mut self, cpu: CpuIndex, count: u32) -> TlbControl {
        let slot = cpu.slot();
        let now = State { generation: slot.asid_generation.load(Relaxed), next: slot.next_asid.load(Relaxed) };
        let (number, state) = now.take(count);
        // Nobody else writes them: a CPU's identifiers are given out on that CPU, with interrupts held.
        slot.asid_generation.store(state.generation, Relaxed);
        slot.next_asid.store(state.next, Relaxed);
        *self = Self { number, generation: state.generation, cpu: Some(cpu) };
        if state.generation == now.generation { TlbControl::DO_NOTHING } else { TlbControl::FLUSH_ENTIRE }
    }
}

/// Makes the next identifier on this CPU start a new generation, as nothing is known of what its TLB holds.
pub(super) fn start_over(slot: &CpuSlot) {
    slot.next_asid.store(u32::MAX, Relaxed);
}

/// A CPU's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    generation: u64,
    next: u32,
}

impl State {
    /// The next identifier when there are `count` of them, of which 0 is the host's; and the state after.
    fn take(self, count: u32) -> (u32, Self) {
        if self.next != 0 && self.next < count {
            (self.next, Self { next: self.next.wrapping_add(1), ..self })
        } else {
            (1, Self { generation: self.generation.wrapping_add(1), next: 2 })
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::{collections::BTreeSet, vec::Vec};

    use super::*;

    #[test]
    fn identifiers_are_unique_within_a_generation_and_never_the_hosts() {
        for count in [2, 3, 16] {
            let mut state = State { generation: 7, next: u32::MAX };
            let mut given: Vec<(u64, u32)> = Vec::new();
            for _ in 0..100 {
                let (number, after) = state.take(count);
                assert!((1..count).contains(&number));
                given.push((after.generation, number));
                state = after;
            }
            let different: BTreeSet<_> = given.iter().copied().collect();
            assert_eq!(different.len(), given.len());
            // All of a generation are used before the next one starts.
            assert_eq!(state.generation, 7 + 100_u64.div_ceil(u64::from(count) - 1));
        }
    }

    #[test]
    fn a_slot_that_was_never_used_starts_a_generation() {
        assert_eq!(State { generation: 0, next: 0 }.take(16), (1, State { generation: 1, next: 2 }));
    }
}
