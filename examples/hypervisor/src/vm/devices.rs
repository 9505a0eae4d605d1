//! The devices of a virtual machine: just enough to see that every byte arrives where it should.
//!
//! | port | what |
//! |---|---|
//! | E9h, F4h, F5h, F6h | the guest prints, ends, yields, asks for an interrupt: see [`cpu`](super::cpu) |
//! | 80h | keeps a byte |
//! | 500h, 502h, 504h | keep 8, 16 and 32 bits |
//! | 510h | reads count up, in the width of the read; writes are summed |
//! | 514h | the sum |
//!
//! At guest-physical A0000h is a device with 4 KiB of registers that keep what is written. The model-specific register 808h
//! keeps what is written; all others that reach the VMM are refused.

use core::ops::Range;

/// Where the memory-mapped device is.
pub const MMIO: Range<u64> = 0xA_0000..0xA_1000;

const KEPT_BYTE: u16 = 0x80;
const REGISTERS: Range<u16> = 0x500..0x508;
const STREAM: u16 = 0x510;
const STREAM_SUM: u16 = 0x514;
const KEPT_MSR: usize = 0x808;

/// The devices' state.
pub struct Devices {
    kept_byte: u8,
    registers: [u32; 4],
    stream: u32,
    sum: u32,
    mmio: [u8; 0x1000],
    msr: u64,
}

impl Default for Devices {
    fn default() -> Self {
        Self {
            kept_byte: 0,
            registers: [0; 4],
            stream: 0,
            sum: 0,
            mmio: [0; 0x1000],
            // What a guest reads first.
            msr: 0x0123_4567_89AB_CDEF,
        }
    }
}

impl Devices {
    /// What a port answers; `bytes` is 1, 2 or 4. Where no device is, all bits are 1.
    pub fn port_read(&mut self, port: u16, bytes: usize) -> u32 {
        match port {
            KEPT_BYTE => self.kept_byte.into(),
            _ if REGISTERS.contains(&port) => self.registers[usize::from(port - REGISTERS.start) / 2],
            STREAM => {
                // Bytes that count up, the lowest first.
                let mut value = 0;
                for index in 0..bytes {
                    self.stream += 1;
                    value |= (self.stream & 0xFF) << (8 * index);
                }
                value
            }
            STREAM_SUM => self.sum,
            _ => u32::MAX,
        }
    }

    /// A port is written, with `bytes` of data.
    pub fn port_write(&mut self, port: u16, _bytes: usize, data: u32) {
        match port {
            KEPT_BYTE => self.kept_byte = data as u8,
            _ if REGISTERS.contains(&port) => self.registers[usize::from(port - REGISTERS.start) / 2] = data,
            STREAM => self.sum = self.sum.wrapping_add(data),
            _ => {}
        }
    }

    /// What the memory-mapped device answers.
    pub fn mmio_read(&mut self, address: u64, bytes: usize) -> u64 {
        let mut value = [0; 8];
        value[..bytes].copy_from_slice(&self.mmio[Self::place(address, bytes)]);
        u64::from_le_bytes(value)
    }

    /// The memory-mapped device is written.
    pub fn mmio_write(&mut self, address: u64, bytes: usize, data: u64) {
        self.mmio[Self::place(address, bytes)].copy_from_slice(&data.to_le_bytes()[..bytes]);
    }

    /// What a model-specific register holds, if it is one of ours.
    pub fn msr_read(&mut self, register: usize) -> Option<u64> {
        (register == KEPT_MSR).then_some(self.msr)
    }

    /// Writes a model-specific register; false if it is none of ours.
    pub fn msr_write(&mut self, register: usize, value: u64) -> bool {
        if register == KEPT_MSR {
            self.msr = value;
        }
        register == KEPT_MSR
    }

    /// The registers of an access, cut where the device ends.
    fn place(address: u64, bytes: usize) -> Range<usize> {
        let end = (MMIO.end - MMIO.start) as usize;
        let start = (address - MMIO.start) as usize;
        start.min(end - bytes)..(start + bytes).min(end)
    }
}
