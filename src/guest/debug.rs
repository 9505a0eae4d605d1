//! The guest's debug registers: SDM volume 3, "Debug Registers", "Debug Exceptions"; APM volume 2, "Software-Debug Resources".
//!
//! MOV to and from them always exits, and what the guest reads is what is kept here. DR0 to DR3 reach the CPU when DR7 enables
//! a breakpoint, and stay there until the vCPU is unbound; DR7 is the CPU's while the guest runs. On hardware breakpoints fire
//! by themselves; here is what is left to the library: the breakpoints and the single step of an instruction that it has
//! completed in the CPU's place, and what a #DB leaves in DR6 and DR7.

use super::{control::Fault, snapshot::DebugState};
use crate::{
    exit::Width,
    spec::x86::registers::{BreakpointCondition, BreakpointLength, Dr6, Dr7, Rflags},
};

/// DR7 after reset.
const DR7_RESET: Dr7 = Dr7::RESERVED_TO_1;

/// The bits that enable the four breakpoints.
pub(crate) const ENABLES: Dr7 =
    Dr7::L0.with(Dr7::G0).with(Dr7::L1).with(Dr7::G1).with(Dr7::L2).with(Dr7::G2).with(Dr7::L3).with(Dr7::G3);

/// What a guest may set in DR7; RTM is not offered.
const DR7_DEFINED: Dr7 = ENABLES
    .with(Dr7::LE)
    .with(Dr7::GE)
    .with(Dr7::GD)
    .with(Dr7::RW0_MASK)
    .with(Dr7::LEN0_MASK)
    .with(Dr7::RW1_MASK)
    .with(Dr7::LEN1_MASK)
    .with(Dr7::RW2_MASK)
    .with(Dr7::LEN2_MASK)
    .with(Dr7::RW3_MASK)
    .with(Dr7::LEN3_MASK);

/// What a #DB reports in DR6.
const CAUSES: Dr6 = Dr6::B0.with(Dr6::B1).with(Dr6::B2).with(Dr6::B3).with(Dr6::BD).with(Dr6::BS);
/// Which breakpoints were met.
pub(crate) const MET: Dr6 = Dr6::B0.with(Dr6::B1).with(Dr6::B2).with(Dr6::B3);

/// What an instruction that the library completes did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// It used a port.
    Port { port: u16, width: Width },
    /// It accessed so many bytes of memory at this linear address.
    Memory { linear: u64, size: u8, write: bool },
}

/// The registers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DebugRegisters {
    addresses: [u64; 4],
    dr6: Dr6,
    dr7: Dr7,
    /// TF while breakpoints are enabled, so that one test finds both.
    watch: Rflags,
    /// The access to a device that the current instruction makes. Kept while breakpoints are enabled.
    memory_access: Option<Access>,
    /// That access is all that is known: the last exit was another instruction's.
    restored: bool,
}

impl DebugRegisters {
    /// DR6 after reset. BLD and RTM say "no" by being 1, always on a CPU that is not said to have them.
    pub(crate) const DR6_RESET: Dr6 = Dr6::RESERVED_TO_1.with(Dr6::BLD).with(Dr6::RTM);

    /// After reset.
    pub(crate) const RESET: Self = Self {
        addresses: [0; 4],
        dr6: Self::DR6_RESET,
        dr7: DR7_RESET,
        watch: Rflags::empty(),
        memory_access: None,
        restored: false,
    };

    /// MOV from DR. `None` is #UD: DR4 and DR5 are DR6 and DR7 under other names unless CR4.DE is 1.
    pub(crate) fn read(&self, number: u8, debug_extensions: bool) -> Option<u64> {
        match number {
            4 | 5 if debug_extensions => None,
            4 | 6 => Some(self.dr6.bits()),
            5 | 7 => Some(self.dr7.bits()),
            0..4 => self.addresses.get(usize::from(number)).copied(),
            _ => None,
        }
    }

    /// MOV to DR. Bits 63:32 of DR6 and DR7 must be 0, or #GP; reserved bits keep their values.
    pub(crate) fn write(&mut self, number: u8, value: u64) -> Result<(), Fault> {
        match number & 7 {
            4..8 if value >> 32 != 0 => return Err(Fault),
            4 | 6 => self.dr6 = Dr6::from_bits(value) & (CAUSES | Dr6::BT) | Self::DR6_RESET,
            5 | 7 => {
                self.dr7 = Dr7::from_bits(value) & DR7_DEFINED | DR7_RESET;
                self.watch = if self.breakpoints_enabled() { Rflags::TF } else { Rflags::empty() };
            }
            number => {
                if let Some(address) = self.addresses.get_mut(usize::from(number)) {
                    *address = value;
                }
            }
        }
        Ok(())
    }

    /// An access to any of them is a #DB with BD, which this is the state for.
    pub(crate) fn detects_accesses(&self) -> bool {
        self.dr7.contains(Dr7::GD)
    }

    /// Whether DR0 to DR3 matter.
    pub(crate) fn breakpoints_enabled(&self) -> bool {
        self.dr7.intersects(ENABLES)
    }

    /// TF if breakpoints are enabled: with the guest's RFLAGS, whether a completed instruction may be followed by a #DB.
    #[inline(always)]
    pub(crate) fn watch(&self) -> Rflags {
        self.watch
    }

    /// Whether a breakpoint on memory accesses is enabled: the delivery of an event may hit one, #DB too.
    pub(crate) fn data_breakpoints_enabled(&self) -> bool {
        !self
            .enabled(|condition| matches!(condition, BreakpointCondition::WRITE | BreakpointCondition::READ_WRITE))
            .is_empty()
    }

    /// The causes of enabled breakpoints on such conditions.
    fn enabled(&self, wanted: impl Fn(BreakpointCondition) -> bool) -> Dr6 {
        let dr7 = self.dr7;
        let breakpoints = [
            (Dr7::L0.with(Dr7::G0), dr7.rw0(), Dr6::B0),
            (Dr7::L1.with(Dr7::G1), dr7.rw1(), Dr6::B1),
            (Dr7::L2.with(Dr7::G2), dr7.rw2(), Dr6::B2),
            (Dr7::L3.with(Dr7::G3), dr7.rw3(), Dr6::B3),
        ];
        breakpoints
            .into_iter()
            .filter(|(enable, condition, _)| dr7.intersects(*enable) && wanted(*condition))
            .fold(Dr6::empty(), |causes, (_, _, cause)| causes | cause)
    }

    /// What may have caused a #DB of which the CPU says nothing: the single step, else the breakpoints that may have been hit.
    /// `rip` is the linear address of the next instruction: one that has a breakpoint has not been executed.
    pub(crate) fn likely_causes(&self, rflags: Rflags, rip: u64) -> Dr6 {
        if rflags.contains(Rflags::TF) {
            return Dr6::BS;
        }
        let here = self.matching(rip);
        if here.is_empty() {
            self.enabled(|condition| !matches!(condition, BreakpointCondition::IO | BreakpointCondition::EXECUTION))
        } else {
            here
        }
    }

    /// The breakpoints on the instruction at this linear address.
    fn matching(&self, rip: u64) -> Dr6 {
        let instructions = self.enabled(|condition| condition == BreakpointCondition::EXECUTION);
        [Dr6::B0, Dr6::B1, Dr6::B2, Dr6::B3]
            .into_iter()
            .zip(self.addresses)
            .filter(|(_, address)| *address == rip)
            .fold(Dr6::empty(), |causes, (cause, _)| causes | cause)
            & instructions
    }

    /// For a [`State`](crate::State).
    pub(crate) fn save(&self, to: &mut DebugState) {
        let watched = self.memory_access.filter(|_| self.breakpoints_enabled()).map_or(to.watched, Into::into);
        *to = DebugState { addresses: self.addresses, dr6: self.dr6, dr7: self.dr7, watched, ..*to };
    }

    /// Whether a guest could have left them so.
    pub(crate) fn takes(&self, from: &DebugState) -> bool {
        let mut other = *self;
        let (dr6, dr7) = (from.dr6.bits(), from.dr7.bits());
        other.write(6, dr6).is_ok()
            && other.write(7, dr7).is_ok()
            && other.read(6, false) == Some(dr6)
            && other.read(7, false) == Some(dr7)
    }

    /// Takes over what was found to be possible. `completed`: the next run completes an instruction, and not the one that
    /// exited last.
    pub(crate) fn restore(&mut self, from: &DebugState, completed: bool) {
        *self = Self { addresses: from.addresses, dr6: from.dr6, ..Self::RESET };
        // It was found to be one that can be written.
        let _ = self.write(7, from.dr7.bits());
        self.memory_access = from.watched.access().filter(|_| self.breakpoints_enabled());
        self.restored = completed && self.breakpoints_enabled();
    }

    /// The instruction that was completed when the state was saved is not completed after all.
    pub(crate) fn forget_completed(&mut self) {
        self.restored = false;
    }

    /// DR0 to DR3.
    pub(crate) fn addresses(&self) -> [u64; 4] {
        self.addresses
    }

    /// DR7 as the CPU gets it. Accesses exit before it looks at GD.
    pub(crate) fn hardware_dr7(&self) -> Dr7 {
        self.dr7.without(Dr7::GD)
    }

    /// The CPU has delivered a #DB for these reasons.
    pub(crate) fn happened(&mut self, causes: Dr6) {
        self.add(causes & (CAUSES | Dr6::BT));
    }

    /// A #DB tells anew which breakpoints were met, and leaves all other causes as they are. INT1 has none, and changes nothing.
    fn add(&mut self, causes: Dr6) {
        if !causes.is_empty() {
            self.dr6 = self.dr6.without(MET) | causes;
        }
    }

    /// The guest has switched to another task, whose task-state segment asks for a #DB or does not. "Local" breakpoints are
    /// those of a task.
    pub(crate) fn task_switched(&mut self, trap: bool) {
        self.dr7.remove(Dr7::L0.with(Dr7::L1).with(Dr7::L2).with(Dr7::L3));
        self.watch = if self.breakpoints_enabled() { Rflags::TF } else { Rflags::empty() };
        self.dr6.set(Dr6::BT, trap || self.dr6.contains(Dr6::BT));
    }

    /// A #DB is delivered for these reasons; none for INT1. It ends the detection of accesses.
    pub(crate) fn delivered(&mut self, causes: Dr6) {
        self.add(causes & CAUSES);
        self.dr7.remove(Dr7::GD);
    }

    /// An instruction that the library completes will access memory there.
    pub(crate) fn will_access(&mut self, access: Access) {
        self.memory_access = Some(access);
    }

    /// Why a #DB follows an instruction that the library has completed; empty if none does. `port` is the port that it used.
    pub(crate) fn causes_after(&mut self, rflags: Rflags, port: Option<Access>, debug_extensions: bool) -> Dr6 {
        let mut causes = Dr6::empty();
        let port = if core::mem::take(&mut self.restored) { None } else { port };
        for access in [port, self.memory_access.take()].into_iter().flatten() {
            causes |= self.matches(access, debug_extensions);
        }
        causes.set(Dr6::BS, rflags.contains(Rflags::TF));
        causes
    }

    fn matches(&self, access: Access, debug_extensions: bool) -> Dr6 {
        let dr7 = self.dr7;
        let breakpoints = [
            (Dr7::L0.with(Dr7::G0), dr7.rw0(), dr7.len0(), Dr6::B0),
            (Dr7::L1.with(Dr7::G1), dr7.rw1(), dr7.len1(), Dr6::B1),
            (Dr7::L2.with(Dr7::G2), dr7.rw2(), dr7.len2(), Dr6::B2),
            (Dr7::L3.with(Dr7::G3), dr7.rw3(), dr7.len3(), Dr6::B3),
        ];
        let mut causes = Dr6::empty();
        for ((enable, condition, length, cause), address) in breakpoints.into_iter().zip(self.addresses) {
            let (at, size) = match (access, condition) {
                (Access::Port { port, width }, BreakpointCondition::IO) if debug_extensions => {
                    (u64::from(port), width as u8)
                }
                (Access::Memory { linear, size, .. }, BreakpointCondition::READ_WRITE) => (linear, size),
                (Access::Memory { linear, size, write: true }, BreakpointCondition::WRITE) => (linear, size),
                _ => continue,
            };
            if dr7.intersects(enable) && overlap(address, length, at, size) {
                causes |= cause;
            }
        }
        causes
    }
}

/// Whether an access touches the bytes of a breakpoint, whose address is taken to be aligned to its length.
fn overlap(address: u64, length: BreakpointLength, at: u64, size: u8) -> bool {
    let length = match length {
        BreakpointLength::BYTES_1 => 1,
        BreakpointLength::BYTES_2 => 2,
        BreakpointLength::BYTES_4 => 4,
        _ => 8,
    };
    let first = address & !(length - 1);
    // The distance of the later one from the earlier one, around the end of the address space too.
    first.wrapping_sub(at) < u64::from(size) || at.wrapping_sub(first) < length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_bits_and_aliases() {
        let mut registers = DebugRegisters::RESET;
        assert_eq!(registers.write(7, 1 << 32), Err(Fault));
        assert_eq!(registers.write(5, 3), Ok(()));
        assert_eq!(registers.read(7, true), Some(0x403));
        assert_eq!(registers.write(0, u64::MAX), Ok(()));
        assert_eq!(registers.read(0, false), Some(u64::MAX));
        registers.delivered(Dr6::BS.with(Dr6::B1));
        assert_eq!(registers.read(4, false), Some(0xffff_4ff2));
        // INT1 changes nothing; the next breakpoint takes the place of the last, and BS stays.
        registers.delivered(Dr6::empty());
        assert_eq!(registers.read(4, false), Some(0xffff_4ff2));
        registers.delivered(Dr6::B2);
        assert_eq!(registers.read(4, false), Some(0xffff_4ff4));
        registers.happened(DebugRegisters::DR6_RESET.with(Dr6::B3));
        assert_eq!(registers.read(4, false), Some(0xffff_4ff8));
        assert_eq!(registers.read(4, true), None);
        assert_eq!(registers.read(5, true), None);
        // What is reserved does not change, nor what the CPU is not said to have.
        assert_eq!((registers.write(6, 0), registers.read(6, false)), (Ok(()), Some(0xffff_0ff0)));
        assert_eq!((registers.write(6, 0xffff_ffff), registers.read(6, false)), (Ok(()), Some(0xffff_efff)));
        assert_eq!((registers.write(7, 0xffff_ffff), registers.read(7, false)), (Ok(()), Some(0xffff_27ff)));
    }

    #[test]
    fn breakpoints_are_watched_for_while_one_is_enabled() {
        let mut registers = DebugRegisters::RESET;
        for (dr7, watch) in [(0x300, false), (0x1, true), (0x80, true), (0x2000, false)] {
            assert_eq!(registers.write(7, dr7), Ok(()));
            assert_eq!((registers.breakpoints_enabled(), !registers.watch().is_empty()), (watch, watch));
            assert!(!registers.hardware_dr7().contains(Dr7::GD));
        }
        assert!(registers.detects_accesses());
        registers.delivered(Dr6::BD);
        assert!(!registers.detects_accesses());
    }

    #[test]
    fn after_a_restore_the_last_exit_is_another_instructions() {
        let mut registers = DebugRegisters::RESET;
        for (number, value) in [(0, 0x500), (7, 1 | 0b00_10 << 16)] {
            assert_eq!(registers.write(number, value), Ok(()));
        }
        let mut state = DebugState::default();
        registers.save(&mut state);
        assert!(registers.takes(&state));
        let port = Some(Access::Port { port: 0x500, width: Width::Byte });
        let none = Rflags::empty();
        // The completed instruction was no access, whatever the last exit of the CPU was.
        for last in [port, None] {
            registers.restore(&state, true);
            assert_eq!(registers.causes_after(none, last, true), Dr6::empty());
            assert_eq!(registers.causes_after(none, port, true), Dr6::B0);
        }
        state.watched = port.map_or(state.watched, Into::into);
        registers.restore(&state, true);
        assert_eq!(registers.causes_after(none, None, true), Dr6::B0);
        registers.restore(&state, true);
        registers.forget_completed();
        assert_eq!(registers.causes_after(none, port, true), Dr6::B0);
    }

    #[test]
    fn ports_and_memory_match_by_their_bytes() {
        let mut registers = DebugRegisters::RESET;
        // 0: I/O, 2 bytes; 1: write, 4 bytes; 2: read and write, 8 bytes; 3: execution.
        let dr7 = 0x55 | 0b01_10 << 16 | 0b11_01 << 20 | 0b10_11 << 24;
        for (number, value) in [(0, 0x501), (1, 0x1002), (2, 0x2007), (3, 0x1000), (7, dr7)] {
            assert_eq!(registers.write(number, value), Ok(()));
        }
        let port = |port, width| Some(Access::Port { port, width });
        let none = Rflags::empty();
        assert_eq!(registers.causes_after(none, port(0x500, Width::Byte), true), Dr6::B0);
        assert_eq!(registers.causes_after(none, port(0x500, Width::Byte), false), Dr6::empty());
        assert_eq!(registers.causes_after(none, port(0x4ff, Width::Byte), true), Dr6::empty());
        assert_eq!(registers.causes_after(none, port(0x4ff, Width::Word), true), Dr6::B0);
        assert_eq!(registers.causes_after(none, port(0x502, Width::Byte), true), Dr6::empty());
        for (linear, size, write, causes) in [
            (0x1000, 1, true, Dr6::B1),
            (0x1003, 1, true, Dr6::B1),
            (0x1004, 1, true, Dr6::empty()),
            (0x0ffd, 4, true, Dr6::B1),
            (0x0ff4, 16, true, Dr6::B1),
            (0x0ff0, 16, true, Dr6::empty()),
            (0x1000, 4, false, Dr6::empty()),
            (0x2000, 1, false, Dr6::B2),
            (0x1fff, 1, false, Dr6::empty()),
        ] {
            registers.will_access(Access::Memory { linear, size, write });
            assert_eq!(registers.causes_after(none, None, true), causes, "{linear:x}");
        }
        assert_eq!(registers.causes_after(Rflags::TF, None, true), Dr6::BS, "the last access is forgotten");
    }
}
