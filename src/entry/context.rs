//! What the code of a rule asks. A value that is not known makes the whole outcome unknown, which the context remembers, so
//! that the code of a rule has no branch for it.

use core::cell::Cell;

use super::{EntryCapabilities, EntryState};

/// Everything that a rule may look at, while it is judged.
#[allow(dead_code, reason = "a spec need not use every function of the language")]
pub(crate) struct Context<'a> {
    state: &'a dyn EntryState,
    capabilities: &'a dyn EntryCapabilities,
    /// The address of the entry of an MSR area.
    entry: Option<u64>,
    unknown: Cell<bool>,
}

#[allow(dead_code, reason = "a spec need not use every function of the language")]
impl<'a> Context<'a> {
    pub(super) fn new(state: &'a dyn EntryState, capabilities: &'a dyn EntryCapabilities, entry: Option<u64>) -> Self {
        Context { state, capabilities, entry, unknown: Cell::new(false) }
    }

    /// The outcome, if everything that it came from was known.
    pub(super) fn known<T>(&self, outcome: T) -> Option<T> {
        if self.unknown.get() { None } else { Some(outcome) }
    }

    /// What is asked for, unless something was not known already: then nothing more is asked, since for instance the address
    /// would be wrong.
    fn ask(&self, value: impl FnOnce() -> Option<u64>) -> u64 {
        if !self.unknown.get() {
            if let Some(value) = value() {
                return value;
            }
            self.unknown.set(true);
        }
        0
    }

    #[inline(never)]
    pub(crate) fn field(&self, number: u32, bytes: u32) -> u64 {
        self.ask(|| self.state.field(number, bytes).map(|value| low(value, bytes)))
    }

    #[inline(never)]
    pub(crate) fn memory(&self, address: u64, bytes: u32) -> u64 {
        self.ask(|| self.state.memory(address, bytes).map(|value| low(value, bytes)))
    }

    #[inline(never)]
    pub(crate) fn msr(&self, address: u32) -> u64 {
        self.ask(|| self.capabilities.msr(address))
    }

    /// One of EAX, EBX, ECX and EDX.
    #[inline(never)]
    pub(crate) fn cpuid(&self, leaf: u32, subleaf: u32, register: usize) -> u64 {
        self.ask(|| self.capabilities.cpuid(leaf, subleaf)?.get(register).copied().map(u64::from))
    }

    pub(crate) fn current_vmcs(&self) -> u64 {
        self.ask(|| self.state.current_vmcs())
    }

    /// Bytes of the entry of an MSR area, from an offset on.
    #[inline(never)]
    pub(crate) fn entry(&self, offset: u64, bytes: u32) -> u64 {
        let address = self.ask(|| self.entry);
        self.memory(address.wrapping_add(offset), bytes)
    }

    /// No bit of `value` is above a physical address of so many bits; 0 is for a width that is not known.
    #[inline(never)]
    pub(crate) fn physical(&self, value: u64, width: u64) -> bool {
        let width = self.ask(|| if width == 0 { None } else { Some(width) });
        shift_right(value, width) == 0
    }

    /// Controls are as a capability MSR wants them: its low half has those that have to be 1, its high half those that may
    /// be; of a word of 64 bits it has the latter alone.
    #[inline(never)]
    pub(crate) fn allowed(&self, value: u64, msr: u64, wide: bool) -> bool {
        let (required, possible) = if wide { (0, msr) } else { (low(msr, 4), msr >> 32) };
        value & required == required && value & !possible == 0
    }
}

/// The lowest bytes.
pub(super) fn low(value: u64, bytes: u32) -> u64 {
    match bytes {
        0..8 => value & !(u64::MAX << (bytes * 8)),
        _ => value,
    }
}

/// 0 from 64 on.
#[allow(dead_code, reason = "a spec need not use every operator of the language")]
pub(crate) fn shift_left(value: u64, by: u64) -> u64 {
    if by < 64 { value << by } else { 0 }
}

/// 0 from 64 on.
#[allow(dead_code, reason = "a spec need not use every operator of the language")]
pub(crate) fn shift_right(value: u64, by: u64) -> u64 {
    if by < 64 { value >> by } else { 0 }
}

/// Whether all bits from `width - 1` up are the same. Widths of 0 and of more than 64 count as the nearest that there is.
#[allow(dead_code, reason = "a spec need not use every function of the language")]
pub(crate) fn canonical(value: u64, width: u64) -> bool {
    let unused = 64 - width.clamp(1, 64);
    (value << unused).cast_signed() >> unused == value.cast_signed()
}
