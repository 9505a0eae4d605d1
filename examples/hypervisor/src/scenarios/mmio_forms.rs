//! Instructions at a device of two pages, with memory before and behind it, and what the VMM is asked for.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use x86_vcpu::nested::{MemoryType, Permissions};
use x86_vcpu::{NestedFault, PhysFrame, StartState, Vcpu, VcpuConfig, VmExit};

use super::machine::judge;
use super::{Outcome, Reason};
use crate::guests::{self, Guest, Mode};
use crate::memory::FRAME_SIZE;
use crate::vm::{GuestMemory, PAGE_MAP};
use crate::{cpu, interrupts, print};

const PORT_PRINT: u16 = 0xE9;
const PORT_DONE: u16 = 0xF4;
/// The device: registers that keep what is written.
const DEVICE: Range<u64> = 0xA_0000..0xA_2000;
/// More accesses than a guest makes that is well.
const PATIENCE: usize = 1000;
const ACCESSES_PER_LINE: usize = 12;

/// 64-bit mode.
pub fn long() -> Outcome {
    run(guests::mmio_forms())
}

/// 32-bit protected mode, without paging.
pub fn protected() -> Outcome {
    run(guests::mmio_forms_protected())
}

/// Real mode.
pub fn real() -> Outcome {
    run(guests::mmio_forms_real())
}

/// What the guest's VMM knows of it. The vCPU goes first, because it uses the memory.
struct Machine {
    vcpu: Vcpu,
    memory: GuestMemory,
    _behind: PhysFrame,
    device: Vec<u8>,
    accesses: Vec<String>,
    output: Vec<u8>,
}

fn run(guest: Guest) -> Outcome {
    let mut memory = GuestMemory::new()?;
    let behind: PhysFrame = PhysFrame::alloc_zero()?;
    memory.table().map(DEVICE.end, behind.start_paddr(), FRAME_SIZE as u64, Permissions::ALL, MemoryType::WriteBack)?;
    let mut vcpu: Vcpu = match Vcpu::new(VcpuConfig::new(0)) {
        Err(x86_vcpu::Error::Unsupported(what)) => return Err(Reason::Refused(what.into())),
        other => other?,
    };
    // SAFETY: what the table maps is the guest's memory, and a frame; the machine keeps both as long as the vCPU.
    unsafe { vcpu.set_nested_table(memory.table()) }?;
    let start = match guest.mode {
        Mode::Real => StartState::RealMode { entry: guest.entry },
        Mode::Protected => StartState::Protected { entry: guest.entry as u32 },
        Mode::Long => StartState::Long { entry: guest.entry, cr3: PAGE_MAP },
    };
    match vcpu.start(start) {
        Err(x86_vcpu::Error::Unsupported(what)) => return Err(Reason::Refused(what.into())),
        other => other?,
    }
    vcpu.bind()?;
    let device = Vec::from_iter((0..DEVICE.end - DEVICE.start).map(|_| 0));
    let mut machine = Machine { vcpu, memory, _behind: behind, device, accesses: Vec::new(), output: Vec::new() };
    let outcome = machine.run();
    for line in String::from_utf8_lossy(&machine.output).lines() {
        print!("> {line}\n");
    }
    for line in machine.accesses.chunks(ACCESSES_PER_LINE) {
        print!("> {}\n", line.join(" "));
    }
    outcome
}

impl Machine {
    fn run(&mut self) -> Outcome {
        loop {
            let exit = match self.vcpu.run()? {
                VmExit::NestedPageFault(fault) => self.answer(fault)?,
                exit => exit,
            };
            match exit {
                VmExit::IoWrite { port: PORT_PRINT, data, .. } => self.output.push(data as u8),
                VmExit::IoWrite { port: PORT_DONE, data, .. } => return judge(data as u8),
                VmExit::MmioRead { gpa, width, .. } => {
                    let mut value = [0; 8];
                    let bytes = width.bytes();
                    value[..bytes].copy_from_slice(self.registers(gpa, bytes)?);
                    self.note('r', gpa, bytes)?;
                    self.vcpu.complete_read(u64::from_le_bytes(value))?;
                }
                VmExit::MmioWrite { gpa, width, data } => {
                    let bytes = width.bytes();
                    self.registers(gpa, bytes)?.copy_from_slice(&data.to_le_bytes()[..bytes]);
                    self.note('w', gpa, bytes)?;
                }
                VmExit::ExternalInterrupt { vector: Some(vector) } => interrupts::external(vector),
                VmExit::ExternalInterrupt { vector: None } | VmExit::Interrupted => cpu::take_pending_interrupts(),
                VmExit::Nothing => {}
                other => return Err(Reason::Failed(format!("unexpected: {other:x?}"))),
            }
        }
    }

    /// What a nested page fault means: an access to the device, or memory that is mapped now.
    fn answer(&mut self, fault: NestedFault) -> Result<VmExit, Reason> {
        let mut fault = fault;
        // The device, memory that is missing, and each of them in two pages.
        for _ in 0..4 {
            if !DEVICE.contains(&fault.gpa) {
                self.accesses.push(format!("map:{:x}", fault.gpa & !0xFFF));
                self.memory.map_on_demand(fault.gpa, fault.access.write)?;
                return Ok(VmExit::Nothing);
            }
            match self.vcpu.decode_mmio()? {
                VmExit::NestedPageFault(other) => fault = other,
                exit => return Ok(exit),
            }
        }
        Err(Reason::Failed(format!("still a fault: {fault:x?}")))
    }

    fn registers(&mut self, gpa: u64, bytes: usize) -> Result<&mut [u8], Reason> {
        let place = gpa.wrapping_sub(DEVICE.start) as usize;
        self.device
            .get_mut(place..place + bytes)
            .ok_or_else(|| Reason::Failed(format!("an access of {bytes} bytes at {gpa:#x}")))
    }

    fn note(&mut self, what: char, gpa: u64, bytes: usize) -> Outcome {
        if self.accesses.len() == PATIENCE {
            return Err(Reason::Failed("accesses without end".into()));
        }
        self.accesses.push(format!("{what}{bytes}:{:x}", gpa - DEVICE.start));
        Ok(())
    }
}
