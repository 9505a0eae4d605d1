//! The registers as they lie on the page of the xAPIC, which is also the layout of VMX's virtual-APIC page.

use crate::{
    Result,
    frame::{FrameSource, PhysFrame},
    spec::x86::apic::ApicRegister,
};

/// The page. Registers are 32 bits wide and 16 bytes apart; in x2APIC mode the interrupt command has 64 bits.
pub(super) struct RegisterPage<S: FrameSource> {
    frame: PhysFrame<S>,
    /// What software has written last, a place for each register: where hardware lets the guest write to the page, it overwrites
    /// what the register held.
    #[cfg(feature = "vmx")]
    written: [u32; REGISTERS],
}

/// How many registers the page has room for that software uses.
#[cfg(feature = "vmx")]
const REGISTERS: usize = 64;

/// A register of 256 bits, a bit for each vector: the first of its eight parts.
#[derive(Clone, Copy)]
pub(super) struct VectorSet(ApicRegister);

pub(super) const IN_SERVICE: VectorSet = VectorSet(ApicRegister::IN_SERVICE_0);
pub(super) const TRIGGER_MODE: VectorSet = VectorSet(ApicRegister::TRIGGER_MODE_0);
pub(super) const INTERRUPT_REQUEST: VectorSet = VectorSet(ApicRegister::INTERRUPT_REQUEST_0);

/// How far registers are apart.
const STRIDE: u16 = ApicRegister::IN_SERVICE_1.0 - ApicRegister::IN_SERVICE_0.0;
/// How many parts a set has.
const PARTS: u16 = 8;

impl VectorSet {
    const fn part(self, index: u16) -> ApicRegister {
        ApicRegister(self.0.0.wrapping_add(STRIDE * (index % PARTS)))
    }

    const fn of(self, vector: u8) -> (ApicRegister, u32) {
        (self.part(vector as u16 / 32), 1 << (vector % 32))
    }
}

impl<S: FrameSource> RegisterPage<S> {
    /// A page of zeros.
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            frame: PhysFrame::alloc_zero()?,
            #[cfg(feature = "vmx")]
            written: [0; REGISTERS],
        })
    }

    /// The frame that it is in.
    #[cfg(feature = "vmx")]
    pub(super) fn frame(&self) -> &PhysFrame<S> {
        &self.frame
    }

    pub(super) fn clear(&mut self) {
        self.frame.fill(0);
        #[cfg(feature = "vmx")]
        self.written.fill(0);
    }

    /// Its physical address.
    #[cfg(feature = "vmx")]
    pub(super) fn address(&self) -> u64 {
        self.frame.address()
    }

    /// What hardware has written to a register for the guest. The register holds what it held before.
    #[cfg(feature = "vmx")]
    pub(super) fn take_written(&mut self, register: ApicRegister) -> u32 {
        let value = self.read(register);
        let before = self.written.get(usize::from(register.0 / STRIDE)).copied().unwrap_or(0);
        self.write(register, before);
        value
    }

    fn place(&self, register: ApicRegister) -> *mut u32 {
        // Whatever the number, it is on the page.
        let offset = usize::from(register.0) & (memory_addr::PAGE_SIZE_4K - 8);
        // SAFETY: the offset is inside the frame's 4096 bytes.
        unsafe { self.frame.as_mut_ptr().add(offset).cast() }
    }

    #[inline]
    pub(super) fn read(&self, register: ApicRegister) -> u32 {
        // SAFETY: `place` gives an aligned address on the page, which is ours; the CPU uses it too only while the guest
        // runs.
        unsafe { self.place(register).read_volatile() }
    }

    #[inline]
    pub(super) fn write(&mut self, register: ApicRegister, value: u32) {
        #[cfg(feature = "vmx")]
        if let Some(written) = self.written.get_mut(usize::from(register.0 / STRIDE)) {
            *written = value;
        }
        // SAFETY: as in `read`.
        unsafe { self.place(register).write_volatile(value) }
    }

    /// Reads 64 bits.
    pub(super) fn read_wide(&self, register: ApicRegister) -> u64 {
        // SAFETY: as in `read`; the address is aligned to 8.
        unsafe { self.place(register).cast::<u64>().read_volatile() }
    }

    /// Writes 64 bits.
    pub(super) fn write_wide(&mut self, register: ApicRegister, value: u64) {
        // SAFETY: as in `read_wide`.
        unsafe { self.place(register).cast::<u64>().write_volatile(value) }
    }

    pub(super) fn contains(&self, set: VectorSet, vector: u8) -> bool {
        let (register, bit) = set.of(vector);
        self.read(register) & bit != 0
    }

    pub(super) fn set(&mut self, set: VectorSet, vector: u8, value: bool) {
        let (register, bit) = set.of(vector);
        let old = self.read(register);
        self.write(register, if value { old | bit } else { old & !bit });
    }

    /// All of a set, a bit for each vector.
    #[cfg(feature = "vmx")]
    pub(super) fn words(&self, set: VectorSet) -> [u64; 4] {
        [(0, 1), (2, 3), (4, 5), (6, 7)].map(|(low, high)| {
            let part = |index| u64::from(self.read(set.part(index)));
            part(low) | part(high) << 32
        })
    }

    /// All of a set, as its eight registers.
    pub(super) fn parts(&self, set: VectorSet) -> [u32; PARTS as usize] {
        [0, 1, 2, 3, 4, 5, 6, 7].map(|part| self.read(set.part(part)))
    }

    /// Sets all of a set.
    pub(super) fn set_parts(&mut self, set: VectorSet, parts: &[u32; PARTS as usize]) {
        for (index, part) in (0..PARTS).zip(parts) {
            self.write(set.part(index), *part);
        }
    }

    /// The highest vector of a set.
    pub(super) fn highest(&self, set: VectorSet) -> Option<u8> {
        (0..PARTS).rev().find_map(|part| {
            let word = self.read(set.part(part));
            let bit = 31u32.checked_sub(word.leading_zeros())?;
            Some((part << 5) as u8 | bit as u8)
        })
    }
}

/// Whether a register is a part of one of the sets.
pub(super) fn is_vector_set(register: ApicRegister) -> bool {
    (ApicRegister::IN_SERVICE_0.0..=ApicRegister::INTERRUPT_REQUEST_7.0).contains(&register.0)
        && register.0.is_multiple_of(STRIDE)
}
