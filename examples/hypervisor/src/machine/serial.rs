//! COM1 of the guest: a 16550A in front of the host's COM1. (`vm-superio` has one, for hosts with an operating system.)
//!
//! What the guest sends waits in a queue and goes out as fast as the host's port takes it; the guest never waits. What the
//! host's port receives waits in another, and there is an interrupt for it.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::snapshot::{self, codec::saved};
use crate::cpu::{in8, out8};
use crate::serial::{COM1, DATA_READY, HOLDING_EMPTY, flush, line_status};

/// The ports of COM1.
pub const FIRST_PORT: u16 = COM1;
/// Its interrupt line.
pub const LINE: u8 = 4;

const DIVISOR_ACCESS: u8 = 0x80;
const RECEIVED_DATA: u8 = 1 << 0;
const TRANSMITTER_EMPTY: u8 = 1 << 1;
const LOOPBACK: u8 = 1 << 4;
const FIFO_ENABLED: u8 = 1 << 0;

/// How many bytes the guest may send before it waits for the host's port, and how many it may leave unread.
const LONGEST_OUTPUT: usize = 1 << 16;
const LONGEST_INPUT: usize = 1 << 12;
/// What the host's 16550 takes at once.
const FIFO: usize = 16;

/// The port's registers and queues.
#[derive(Default)]
pub struct Serial {
    registers: Registers,
    output: VecDeque<u8>,
    input: VecDeque<u8>,
    /// The text that somebody waits for the guest to send, how much of it has come, and whether all of it has.
    awaited: &'static [u8],
    seen: usize,
    has_come: bool,
}

#[derive(Clone, Copy, Default)]
struct Registers {
    divisor: [u8; 2],
    interrupt_enable: u8,
    fifo_control: u8,
    line_control: u8,
    modem_control: u8,
    scratch: u8,
    transmitter_interrupt: bool,
}

saved!(Registers {
    divisor,
    interrupt_enable,
    fifo_control,
    line_control,
    modem_control,
    scratch,
    transmitter_interrupt,
});

/// What is saved of it, when all output has left.
pub struct Content {
    registers: Registers,
    input: Vec<u8>,
}

saved!(Content { registers, input } if it => it.input.len() <= LONGEST_INPUT);

impl Serial {
    /// What is to be saved. What the guest has sent has left already.
    pub fn content(&self) -> Content {
        Content { registers: self.registers, input: self.input.iter().copied().collect() }
    }

    /// Goes on from there.
    pub fn restore(from: Content) -> Self {
        Self { registers: from.registers, input: from.input.into(), ..Self::default() }
    }

    /// Waits for a text.
    pub fn await_text(&mut self, text: &'static [u8]) {
        self.awaited = text;
    }

    /// Whether it has come since this was asked the last time.
    pub fn take_awaited(&mut self) -> bool {
        core::mem::take(&mut self.has_come)
    }

    /// The level of the interrupt line.
    pub fn interrupt(&self) -> bool {
        self.cause().is_some()
    }

    fn cause(&self) -> Option<u8> {
        const RECEIVED: u8 = 0x04;
        const EMPTY: u8 = 0x02;
        if self.registers.interrupt_enable & RECEIVED_DATA != 0 && !self.input.is_empty() {
            Some(RECEIVED)
        } else if self.registers.interrupt_enable & TRANSMITTER_EMPTY != 0 && self.registers.transmitter_interrupt {
            Some(EMPTY)
        } else {
            None
        }
    }

    /// Exchanges bytes with the host's port, as far as it is ready. True when a byte has come in.
    pub fn exchange(&mut self) -> bool {
        let mut status = line_status(COM1);
        // A port that is not there.
        if status == 0xFF {
            self.output.clear();
            return false;
        }
        let mut received = false;
        while status & DATA_READY != 0 && self.input.len() < LONGEST_INPUT {
            // SAFETY: the host's COM1 is the guest's; nobody else reads it.
            self.input.push_back(unsafe { in8(COM1) });
            received = true;
            status = line_status(COM1);
        }
        if status & HOLDING_EMPTY != 0 {
            for _ in 0..FIFO {
                let Some(byte) = self.output.pop_front() else { break };
                // SAFETY: as above; its FIFO is empty.
                unsafe { out8(COM1, byte) };
            }
        }
        received
    }

    /// Whether there is something to send.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Sends everything and waits until it has left.
    pub fn drain(&mut self) {
        while self.has_output() {
            self.exchange();
        }
        flush(COM1);
    }

    /// A port is read.
    pub fn read(&mut self, port: u16) -> u8 {
        let divisor = self.registers.line_control & DIVISOR_ACCESS != 0;
        match port - FIRST_PORT {
            0 if divisor => self.registers.divisor[0],
            1 if divisor => self.registers.divisor[1],
            0 => self.input.pop_front().unwrap_or(0),
            1 => self.registers.interrupt_enable,
            2 => {
                const NONE: u8 = 0x01;
                let cause = self.cause();
                if cause == Some(0x02) {
                    self.registers.transmitter_interrupt = false;
                }
                let fifo = if self.registers.fifo_control & FIFO_ENABLED != 0 { 0xC0 } else { 0 };
                cause.unwrap_or(NONE) | fifo
            }
            3 => self.registers.line_control,
            4 => self.registers.modem_control,
            5 => 0x60 | u8::from(!self.input.is_empty()),
            6 if self.registers.modem_control & LOOPBACK != 0 => {
                // RTS to CTS, DTR to DSR, OUT1 to RI, OUT2 to DCD.
                let out = self.registers.modem_control;
                (out & 2) << 3 | (out & 1) << 5 | (out & 4) << 4 | (out & 8) << 4
            }
            // Carrier, data set ready, clear to send.
            6 => 0xB0,
            _ => self.registers.scratch,
        }
    }

    /// A port is written.
    pub fn write(&mut self, port: u16, value: u8) {
        let divisor = self.registers.line_control & DIVISOR_ACCESS != 0;
        match port - FIRST_PORT {
            0 if divisor => self.registers.divisor[0] = value,
            1 if divisor => self.registers.divisor[1] = value,
            0 => self.send(value),
            1 => {
                if value & !self.registers.interrupt_enable & TRANSMITTER_EMPTY != 0 {
                    self.registers.transmitter_interrupt = true;
                }
                self.registers.interrupt_enable = value & 0x0F;
            }
            2 => {
                if value & 2 != 0 {
                    self.input.clear();
                }
                self.registers.fifo_control = value;
            }
            3 => self.registers.line_control = value,
            4 => self.registers.modem_control = value & 0x1F,
            7 => self.registers.scratch = value,
            _ => {}
        }
    }

    fn send(&mut self, byte: u8) {
        self.registers.transmitter_interrupt = true;
        if self.registers.modem_control & LOOPBACK != 0 {
            if self.input.len() < LONGEST_INPUT {
                self.input.push_back(byte);
            }
            return;
        }
        self.has_come |= snapshot::is_wanted(self.awaited, &mut self.seen, byte);
        self.output.push_back(byte);
        if self.output.len() >= LONGEST_OUTPUT {
            self.drain();
        } else if self.output.len().is_multiple_of(FIFO) {
            self.exchange();
        }
    }
}
