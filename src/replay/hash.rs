//! The hash of a guest's state, of its memory, and of a log.

use crate::{
    guest::registers::{GuestRegisters, RegisterIndex, Segment, SystemRegisters},
    spec::x86::registers::Rflags,
};

/// A hash of 64 bits over bytes and numbers (FNV-1a): stable from build to build, and no protection against anybody who wants
/// two things to look alike.
///
/// ```
/// # #[cfg(feature = "replay")] {
/// use x86_vcpu::replay::Hasher;
///
/// let mut hasher = Hasher::new();
/// hasher.bytes(b"guest memory");
/// assert_eq!(hasher.value(), 0x380e_9ea3_c2b3_5922);
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hasher(u64);

impl Hasher {
    /// Of nothing.
    pub const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Goes on with these bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Goes on with this number.
    pub fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    /// The hash of everything so far.
    pub const fn value(&self) -> u64 {
        self.0
    }

    fn segment(&mut self, segment: &Segment) {
        self.number(u64::from(segment.selector) | u64::from(segment.limit) << 32);
        self.number(segment.base);
        self.number(segment.rights.bits().into());
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

/// What a guest can see of its registers. RF is left out: a breakpoint of the library's may set it, which no guest sees.
pub(crate) fn hash_registers(registers: &GuestRegisters, system: &SystemRegisters, hasher: &mut Hasher) {
    for number in 0..16 {
        let index = RegisterIndex::new(number);
        // RSP is one of the system registers.
        if index != RegisterIndex::RSP {
            hasher.number(registers.get(index));
        }
    }
    let SystemRegisters { es, cs, ss, ds, fs, gs, ldtr, tr, gdtr, idtr, cr0, cr2, cr3, cr4, efer, rflags, rip, rsp } =
        system;
    for segment in [es, cs, ss, ds, fs, gs, ldtr, tr] {
        hasher.segment(segment);
    }
    for table in [gdtr, idtr] {
        hasher.number(table.base);
        hasher.number(table.limit.into());
    }
    let rflags = rflags.without(Rflags::RF).bits();
    for number in [cr0.bits(), *cr2, *cr3, cr4.bits(), efer.bits(), rflags, *rip, *rsp] {
        hasher.number(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_register_counts_but_not_the_resume_flag() {
        let of = |registers: &GuestRegisters, system: &SystemRegisters| {
            let mut hasher = Hasher::new();
            hash_registers(registers, system, &mut hasher);
            hasher.value()
        };
        let (mut registers, mut system) = (GuestRegisters::default(), SystemRegisters::default());
        let mut seen = std::vec![of(&registers, &system)];
        let mut is_new = |hash| {
            assert!(!seen.contains(&hash));
            seen.push(hash);
        };
        registers.r15 = 1;
        is_new(of(&registers, &system));
        system.rip = 1;
        is_new(of(&registers, &system));
        system.tr.base = 1;
        is_new(of(&registers, &system));
        system.rflags = Rflags::IF;
        let hash = of(&registers, &system);
        is_new(hash);
        system.rflags = Rflags::IF.with(Rflags::RF);
        assert_eq!(of(&registers, &system), hash);
    }
}
