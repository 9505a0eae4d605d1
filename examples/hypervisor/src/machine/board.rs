//! The devices, where they are, and how their interrupt lines are connected.

use x86_vcpu::spec::x86::apic::ApicDeliveryMode;
use x86_vcpu::{ApicBus, ApicMessage, Width};

use super::End;
use super::acpi::{self, PowerManagement};
use super::clock::Clock;
use super::io_apic::{self, IoApic, Message};
use super::pic::{self, Pics};
use super::pit::{self, Pit};
use super::rtc::{self, Rtc};
use super::serial::{self, Serial};
use super::snapshot::codec::saved;

/// `isa-debug-exit` of QEMU: a write ends the guest.
const EXIT_PORT: u16 = 0xF4;
const KEYBOARD_COMMAND: u16 = 0x64;
const PULSE_RESET: u8 = 0xFE;
const RESET_CONTROL: u16 = 0xCF9;
const RESET_NOW: u8 = 1 << 2;
const PCI_ADDRESS: u16 = 0xCF8;
/// Delays of old drivers write here.
const DELAY_PORT: u16 = 0x80;

const TIMER_LINE: u8 = 0;
/// Where the I/O APIC has it.
const TIMER_INPUT: usize = 2;

/// How often the host's serial port is looked after, in Hz.
const SERIAL_RATE: u64 = 100;
/// How long it is not while there is something to send: two dozen bytes at 115200 baud.
const SEND_RATE: u64 = 500;

/// All devices.
pub struct Board {
    clock: Clock,
    bus: ApicBus,
    pub pics: Pics,
    io_apic: IoApic,
    pit: Pit,
    rtc: Rtc,
    serial: Serial,
    power: PowerManagement,
    pci_address: u32,
    delay: u8,
    next_exchange: u64,
    /// When something is due; 0: that has to be worked out anew.
    due: u64,
    /// Set when the guest has ended itself.
    pub end: Option<End>,
}

/// What of all devices is saved.
pub struct Devices {
    pics: Pics,
    io_apic: IoApic,
    pit: pit::Registers,
    rtc: Rtc,
    serial: serial::Content,
    power: acpi::Registers,
    pci_address: u32,
    delay: u8,
}

saved!(Devices { pics, io_apic, pit, rtc, serial, power, pci_address, delay });

impl Board {
    /// The devices as they were saved.
    pub fn restore(clock: Clock, bus: ApicBus, devices: Devices) -> Self {
        Self {
            pics: devices.pics,
            io_apic: devices.io_apic,
            pit: Pit::restore(clock, devices.pit),
            rtc: devices.rtc,
            serial: Serial::restore(devices.serial),
            power: PowerManagement::restore(clock, devices.power),
            pci_address: devices.pci_address,
            delay: devices.delay,
            ..Self::new(clock, bus)
        }
    }

    /// What is saved of them, when everything that the guest has written has been sent.
    pub fn devices(&mut self) -> Devices {
        self.drain();
        Devices {
            pics: self.pics.clone(),
            io_apic: self.io_apic.clone(),
            pit: self.pit.registers(),
            rtc: self.rtc.clone(),
            serial: self.serial.content(),
            power: self.power.registers(),
            pci_address: self.pci_address,
            delay: self.delay,
        }
    }

    /// Waits for the guest to write a text on its console.
    pub fn await_text(&mut self, text: &'static [u8]) {
        self.serial.await_text(text);
    }

    /// Whether it has written it since this was asked the last time.
    pub fn take_awaited(&mut self) -> bool {
        self.serial.take_awaited()
    }

    /// The devices after reset.
    pub fn new(clock: Clock, bus: ApicBus) -> Self {
        Self {
            clock,
            bus,
            pics: Pics::default(),
            io_apic: IoApic::new(),
            pit: Pit::new(clock),
            rtc: Rtc::default(),
            power: PowerManagement::new(clock),
            serial: Serial::default(),
            pci_address: 0,
            delay: 0,
            next_exchange: 0,
            due: 0,
            end: None,
        }
    }

    /// Lets the devices do what is due, and says when something is due again.
    #[inline]
    pub fn advance(&mut self, now: u64) -> u64 {
        if now >= self.due {
            self.due = self.advance_devices(now);
        }
        self.due
    }

    fn advance_devices(&mut self, now: u64) -> u64 {
        if self.pit.take_interrupt(now) {
            // The output is low for a moment, or half a period, and rises.
            self.set_line(TIMER_LINE, false);
            self.set_line(TIMER_LINE, true);
        }
        if now >= self.next_exchange {
            self.serial.exchange();
            self.update_serial();
            let rate = if self.serial.has_output() { SEND_RATE } else { SERIAL_RATE };
            self.next_exchange = now + self.clock.hz / rate;
        }
        self.pit.next_interrupt(now).map_or(self.next_exchange, |next| next.min(self.next_exchange))
    }

    /// Sends what the guest has written.
    pub fn drain(&mut self) {
        self.serial.drain();
    }

    /// A line is connected to both interrupt controllers; the guest masks it where it does not want it.
    fn set_line(&mut self, line: u8, high: bool) {
        self.pics.set_line(line, high);
        let input = if line == TIMER_LINE { TIMER_INPUT } else { usize::from(line) };
        if let Some(message) = self.io_apic.set_line(input, high) {
            deliver(&self.bus, message);
        }
    }

    /// A CPU has handled a level-triggered interrupt.
    pub fn end_of_interrupt(&mut self, vector: u8) {
        for message in self.io_apic.end_of_interrupt(vector) {
            deliver(&self.bus, message);
        }
    }

    fn update_serial(&mut self) {
        let level = self.serial.interrupt();
        self.set_line(serial::LINE, level);
    }

    /// A port is read. Where no device is, all bits are 1.
    pub fn port_read(&mut self, port: u16, width: Width, now: u64) -> u32 {
        match (port, width) {
            (PCI_ADDRESS, Width::Dword) => self.pci_address,
            // In one piece, so that it does not move on between its bytes.
            (acpi::PM_TIMER, Width::Dword) => self.power.timer(now),
            (_, Width::Byte) => self.read_byte(port, now).into(),
            _ => {
                let mut value = 0;
                for index in (0..width.bytes() as u16).rev() {
                    value = value << 8 | u32::from(self.read_byte(port.wrapping_add(index), now));
                }
                value
            }
        }
    }

    /// A port is written.
    pub fn port_write(&mut self, port: u16, width: Width, data: u32, now: u64) {
        match (port, width) {
            (EXIT_PORT, _) => self.end = Some(End::ExitPort(data)),
            (PCI_ADDRESS, Width::Dword) => self.pci_address = data,
            (_, Width::Byte) => self.write_byte(port, data as u8, now),
            _ => {
                for index in 0..width.bytes() as u16 {
                    self.write_byte(port.wrapping_add(index), (data >> (8 * index)) as u8, now);
                }
            }
        }
    }

    fn read_byte(&mut self, port: u16, now: u64) -> u8 {
        match port {
            0x20 | 0x21 | 0xA0 | 0xA1 | pic::EDGE_LEVEL | 0x4D1 => self.pics.read(port),
            0x40..=0x43 | pit::SPEAKER_PORT => self.pit.read(port, now),
            rtc::INDEX_PORT | rtc::DATA_PORT => self.rtc.read(port),
            0x3F8..=0x3FF => {
                let value = self.serial.read(port);
                self.update_serial();
                value
            }
            acpi::FIRST_PORT..=acpi::LAST_PORT => self.power.read(port, now),
            DELAY_PORT => self.delay,
            _ => 0xFF,
        }
    }

    fn write_byte(&mut self, port: u16, value: u8, now: u64) {
        match port {
            0x20 | 0x21 | 0xA0 | 0xA1 | pic::EDGE_LEVEL | 0x4D1 => self.pics.write(port, value),
            0x40..=0x43 | pit::SPEAKER_PORT => {
                self.pit.write(port, value, now);
                self.due = 0;
            }
            rtc::INDEX_PORT | rtc::DATA_PORT => self.rtc.write(port, value),
            0x3F8..=0x3FF => {
                self.serial.write(port, value);
                self.update_serial();
            }
            acpi::FIRST_PORT..=acpi::LAST_PORT => {
                let off = self.power.write(port, value);
                self.end = self.end.take().or(off.then_some(End::PowerOff));
            }
            DELAY_PORT => self.delay = value,
            KEYBOARD_COMMAND if value == PULSE_RESET => self.end = Some(End::Reset),
            RESET_CONTROL if value & RESET_NOW != 0 => self.end = Some(End::Reset),
            _ => {}
        }
    }

    /// Device memory is read. Where no device is, all bits are 1.
    pub fn mmio_read(&mut self, address: u64, width: Width) -> u64 {
        if io_apic::REGISTERS.contains(&address) { self.io_apic.read(address).into() } else { width.mask() }
    }

    /// Device memory is written.
    pub fn mmio_write(&mut self, address: u64, data: u64) {
        if io_apic::REGISTERS.contains(&address)
            && let Some(message) = self.io_apic.write(address, data as u32)
        {
            deliver(&self.bus, message);
        }
    }
}

/// Tells the local APICs. Nobody is there for a message that the guest has set up wrongly: it is lost, as on a PC.
fn deliver(bus: &ApicBus, message: Message) {
    let Message { destination, logical, mode, vector, level } = message;
    bus.deliver(ApicMessage::from_io_apic(destination, logical, ApicDeliveryMode(mode), vector, level));
}
