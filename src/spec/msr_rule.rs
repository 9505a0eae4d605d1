//! What becomes of accesses to model-specific registers: the types of `msr_policy.toml`.

use super::msr_policy::{MsrFeature, MsrHandler};

/// What becomes of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MsrAnswer {
    /// It reaches the register, which is switched between guest and host.
    PassThrough,
    /// Code of the library answers.
    Handler(MsrHandler),
    /// The rule's value, or the one that is kept for the vCPU.
    Emulate,
    /// The VMM is asked.
    Ask,
    /// #GP(0).
    Fault,
}

/// What becomes of the accesses to a register or a range of registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsrRule {
    /// The name of the row of `spec/msr_policy.toml`.
    pub name: &'static str,
    /// Why.
    pub reason: &'static str,
    /// The first register.
    pub first: u32,
    /// The last register.
    pub last: u32,
    /// What becomes of RDMSR.
    pub read: MsrAnswer,
    /// What becomes of WRMSR.
    pub write: MsrAnswer,
    /// What an emulated register holds at first.
    pub value: u64,
    /// The bits of it that a guest may change.
    pub writable: u64,
    /// The bits that a guest may write as it likes, and that stay as they are.
    pub ignored: u64,
    /// Where the vCPU's value is kept, if a guest may change it.
    pub slot: Option<u8>,
    /// Whether the register is switched between guest and host, so that a guest may reach it.
    pub switched: bool,
    /// Whether it belongs to the host.
    pub host: bool,
    /// What the vCPU has to offer; else accesses raise #GP(0).
    pub needs: Option<MsrFeature>,
}

/// A range of registers of an MSR bitmap or permission map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsrRange {
    /// The first register.
    pub first: u32,
    /// The last register.
    pub last: u32,
    /// The bit for reads of the first register.
    pub read: usize,
    /// The bit for writes of the first register.
    pub write: usize,
    /// How far the bits of the next register are.
    pub stride: usize,
}

impl MsrRange {
    /// The bit for an access, if it is in this range.
    pub const fn bit(&self, msr: u32, write: bool) -> Option<usize> {
        if msr < self.first || msr > self.last {
            return None;
        }
        let index = (msr.wrapping_sub(self.first) as usize).wrapping_mul(self.stride);
        Some(index.wrapping_add(if write { self.write } else { self.read }))
    }
}
