//! A VMCS without a CPU.

use core::cell::Cell;

use super::{Backend, VmFail};
use crate::spec::intel::exits::InstructionError;

/// More than a VMCS has fields.
const CAPACITY: usize = 256;

/// The bits that encodings have: others a CPU refuses whatever its model.
const ENCODING_BITS: u32 = 0x6fff;

/// The error for an encoding that no CPU has.
const UNSUPPORTED: VmFail = VmFail::Valid(InstructionError::UNSUPPORTED_VMCS_COMPONENT);

/// A map from encodings to values, for tests on a host: what was never written reads as 0.
pub struct MapBackend {
    cells: [Cell<(u32, u64)>; CAPACITY],
    used: Cell<usize>,
}

impl MapBackend {
    /// A VMCS of zeros.
    pub const fn new() -> Self {
        MapBackend { cells: [const { Cell::new((0, 0)) }; CAPACITY], used: Cell::new(0) }
    }

    /// Puts a value where the CPU would, into VM-exit information too.
    ///
    /// # Panics
    ///
    /// If more fields are written than a VMCS has.
    pub fn put(&self, encoding: u32, value: u64) {
        let cell = self.cell(encoding).unwrap_or_else(|| {
            let next = self.used.get();
            self.used.set(next + 1);
            &self.cells[next]
        });
        cell.set((encoding, value));
    }

    fn cell(&self, encoding: u32) -> Option<&Cell<(u32, u64)>> {
        self.cells[..self.used.get()].iter().find(|cell| cell.get().0 == encoding)
    }
}

impl Default for MapBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl Backend for MapBackend {
    fn read(&self, encoding: u32) -> u64 {
        self.cell(encoding).map_or(0, |cell| cell.get().1)
    }

    fn write(&self, encoding: u32, value: u64) {
        self.put(encoding, value);
    }

    fn try_read(&self, encoding: u32) -> Result<u64, VmFail> {
        if encoding & !ENCODING_BITS != 0 { Err(UNSUPPORTED) } else { Ok(self.read(encoding)) }
    }

    fn try_write(&self, encoding: u32, value: u64) -> Result<(), VmFail> {
        if encoding & !ENCODING_BITS != 0 {
            return Err(UNSUPPORTED);
        }
        self.put(encoding, value);
        Ok(())
    }
}
