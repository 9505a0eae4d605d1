//! ACPI: the tables that tell a guest of its CPUs, interrupt controllers, timer and power switch, and that timer and switch.
//!
//! ACPI specification 6.5, "ACPI Software Programming Model" (the tables) and "ACPI Hardware Specification" (PM1, PM timer).
//! The tables come from the crate `acpi_tables`; its own FADT is for machines without these registers.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use acpi_tables::aml::{self, Name, Package};
use acpi_tables::facs::FACS;
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;
use acpi_tables::{Aml, AmlSink};

use super::clock::Clock;
use super::memory::GuestMemory;
use super::snapshot::codec::saved;

/// The ports of the registers, in this order: PM1 status and enable, PM1 control, the timer.
pub const FIRST_PORT: u16 = 0x600;
pub const LAST_PORT: u16 = 0x60B;
const PM1_EVENT: u16 = 0x600;
const PM1_CONTROL: u16 = 0x604;
pub const PM_TIMER: u16 = 0x608;
/// Its rate, in Hz.
const PM_TIMER_HZ: u64 = 3_579_545;

const SCI_ENABLED: u16 = 1 << 0;
const SLEEP_TYPE: u16 = 7 << 10;
const SLEEP_ENABLE: u16 = 1 << 13;
/// What the tables name as the type of sleep that is "off".
const OFF: u8 = 5;

/// The interrupt line of ACPI events, of which there are none.
const SCI_LINE: u8 = 9;

/// The addresses at which the guest finds its interrupt controllers.
pub const LOCAL_APIC: u32 = 0xFEE0_0000;
const IO_APIC: u32 = 0xFEC0_0000;

/// Where the root pointer lies, and where the tables begin: in the memory that is searched for it.
const ROOT: u64 = 0xF_0000;
const TABLES: u64 = 0xF_0040;

const OEM: [u8; 6] = *b"X86VCP";
const TABLE: [u8; 8] = *b"X86VCPU ";

/// The power-management registers.
pub struct PowerManagement {
    clock: Clock,
    registers: Registers,
}

/// What is saved of them.
#[derive(Clone, Copy)]
pub struct Registers {
    enable: u16,
    control: u16,
}

saved!(Registers { enable, control });

impl PowerManagement {
    /// After reset.
    pub fn new(clock: Clock) -> Self {
        Self::restore(clock, Registers { enable: 0, control: SCI_ENABLED })
    }

    /// As they were saved.
    pub fn restore(clock: Clock, registers: Registers) -> Self {
        Self { clock, registers }
    }

    /// What is saved.
    pub fn registers(&self) -> Registers {
        self.registers
    }

    /// A byte is read. The timer is best read as a whole.
    pub fn read(&self, port: u16, now: u64) -> u8 {
        let byte = |value: u32, first: u16| (value >> (8 * (port - first))) as u8;
        match port {
            PM1_EVENT..=0x603 => byte(u32::from(self.registers.enable) << 16, PM1_EVENT),
            PM1_CONTROL | 0x605 => byte(self.registers.control.into(), PM1_CONTROL),
            PM_TIMER..=LAST_PORT => byte(self.timer(now), PM_TIMER),
            _ => 0,
        }
    }

    /// The timer.
    pub fn timer(&self, now: u64) -> u32 {
        self.clock.ticks(now, PM_TIMER_HZ) as u32
    }

    /// A byte is written; true when the guest switches its machine off.
    pub fn write(&mut self, port: u16, value: u8) -> bool {
        let put = |old: u16, high: bool| {
            if high { old & 0xFF | u16::from(value) << 8 } else { old & 0xFF00 | u16::from(value) }
        };
        match port {
            0x602 | 0x603 => self.registers.enable = put(self.registers.enable, port == 0x603),
            PM1_CONTROL | 0x605 => {
                let control = put(self.registers.control, port == 0x605) | SCI_ENABLED;
                self.registers.control = control & !SLEEP_ENABLE;
                return control & SLEEP_ENABLE != 0 && control & SLEEP_TYPE == u16::from(OFF) << 10;
            }
            _ => {}
        }
        false
    }
}

/// Writes the tables for a machine with so many vCPUs. The result is the address of the root pointer.
pub fn write_tables(memory: &mut GuestMemory, vcpus: usize) -> Result<u64, String> {
    let mut place = TABLES;
    let mut put = |bytes: &[u8]| {
        let at = place;
        place = (place + bytes.len() as u64).next_multiple_of(64);
        memory.write(at, bytes).map(|()| at)
    };
    let dsdt = put(dsdt().as_slice())?;
    let facs = put(&bytes(&FACS::new()))?;
    let fadt = put(fadt(dsdt, facs).as_slice())?;
    let madt = put(madt(vcpus).as_slice())?;
    let mut roots = XSDT::new(OEM, TABLE, 1);
    roots.add_entry(fadt);
    roots.add_entry(madt);
    let roots = put(&bytes(&roots))?;
    memory.write(ROOT, &bytes(&Rsdp::new(OEM, roots)))?;
    Ok(ROOT)
}

/// The one thing that has to be in it: how to switch off.
fn dsdt() -> Sdt {
    let mut table = Sdt::new(*b"DSDT", 36, 2, OEM, TABLE, 1);
    let zero = aml::ZERO;
    let off = Name::new("_S5_".into(), &Package::new(vec![&OFF, &zero, &zero, &zero]));
    table.append_slice(&bytes(&off));
    table
}

/// The fixed registers. Offsets as in "Fixed ACPI Description Table Format".
fn fadt(dsdt: u64, facs: u64) -> Sdt {
    const REVISION: u8 = 3;
    const LENGTH: u32 = 244;
    /// WBINVD works; C1 works; no power and sleep buttons among the fixed registers; the timer has 32 bits; there is a reset
    /// register.
    const FLAGS: u32 = 1 << 0 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 10;
    /// Legacy devices; no keyboard controller to look for; no VGA.
    const BOOT_ARCHITECTURE: u16 = 1 << 0 | 1 << 2;
    /// Longer than allowed: there is no C2 and no C3.
    const NO_C2: u16 = 0xFFFF;
    const NO_C3: u16 = 0xFFFF;
    const RESET_PORT: u64 = 0xCF9;
    const RESET_VALUE: u8 = 6;

    let mut table = Sdt::new(*b"FACP", LENGTH, REVISION, OEM, TABLE, 1);
    table.write_u32(36, facs as u32);
    table.write_u32(40, dsdt as u32);
    table.write_u16(46, SCI_LINE.into());
    table.write_u32(56, PM1_EVENT.into());
    table.write_u32(64, PM1_CONTROL.into());
    table.write_u32(76, PM_TIMER.into());
    table.write_bytes(88, &[4, 2, 0, 4]);
    table.write_u16(96, NO_C2);
    table.write_u16(98, NO_C3);
    table.write_u8(108, super::rtc::CENTURY);
    table.write_u16(109, BOOT_ARCHITECTURE);
    table.write_u32(112, FLAGS);
    table.write_bytes(116, &port_address(8, 1, RESET_PORT));
    table.write_u8(128, RESET_VALUE);
    table.write_u64(140, dsdt);
    table.write_bytes(148, &port_address(32, 2, PM1_EVENT.into()));
    table.write_bytes(172, &port_address(16, 2, PM1_CONTROL.into()));
    table.write_bytes(208, &port_address(32, 3, PM_TIMER.into()));
    table.update_checksum();
    table
}

/// A "Generic Address Structure" of a port.
fn port_address(bits: u8, access: u8, port: u64) -> [u8; 12] {
    const SYSTEM_IO: u8 = 1;
    let mut address = [0; 12];
    address[..4].copy_from_slice(&[SYSTEM_IO, bits, 0, access]);
    address[4..].copy_from_slice(&port.to_le_bytes());
    address
}

/// The CPUs and interrupt controllers. Structures as in "Multiple APIC Description Table (MADT)".
fn madt(vcpus: usize) -> Sdt {
    const PICS_TOO: u32 = 1;
    const ENABLED: u32 = 1;
    /// Line 0 of the PIC is line 2 of the I/O APIC, as on every PC.
    const TIMER: [u8; 10] = [2, 10, 0, 0, 2, 0, 0, 0, 0, 0];
    /// ACPI's events: level-triggered, active high.
    const SCI: [u8; 10] = [2, 10, 0, SCI_LINE, SCI_LINE, 0, 0, 0, 0x0D, 0];
    /// NMIs arrive at LINT1 of all CPUs.
    const NMI: [u8; 6] = [4, 6, 0xFF, 0, 0, 1];

    let mut table = Sdt::new(*b"APIC", 36, 3, OEM, TABLE, 1);
    table.append_slice(&LOCAL_APIC.to_le_bytes());
    table.append_slice(&PICS_TOO.to_le_bytes());
    for vcpu in 0..vcpus.min(usize::from(u8::MAX)) as u8 {
        table.append_slice(&[0, 8, vcpu, vcpu]);
        table.append_slice(&ENABLED.to_le_bytes());
    }
    table.append_slice(&[1, 12, vcpus as u8, 0]);
    table.append_slice(&IO_APIC.to_le_bytes());
    table.append_slice(&0u32.to_le_bytes());
    table.append_slice(&TIMER);
    table.append_slice(&SCI);
    table.append_slice(&NMI);
    table
}

fn bytes(aml: &dyn Aml) -> Vec<u8> {
    struct Sink(Vec<u8>);
    impl AmlSink for Sink {
        fn byte(&mut self, byte: u8) {
            self.0.push(byte);
        }
    }
    let mut sink = Sink(Vec::new());
    aml.to_aml_bytes(&mut sink);
    sink.0
}
