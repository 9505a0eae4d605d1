//! A vCPU of a virtual machine, and the loop that runs it: over the traits of `axvcpu`, answering as `axvm` does.

use alloc::vec::Vec;

use axaddrspace::GuestPhysAddr;
use axerrno::{AxError, AxResult};
use axvcpu::{AxVCpu, AxVCpuExitReason, VCpuState};
use x86_vcpu::axvcpu::{SetupConfig, StartMode};
use x86_vcpu::{UnknownMsr, Vcpu, VcpuConfig, X86ArchVCpu};

use super::Vm;
use super::devices::MMIO;
use super::memory::{ON_DEMAND, PAGE_MAP};
use super::replacement::{self, Make};
use crate::guests::{Guest, Mode};
use crate::{cpu, interrupts, smp};

/// The guest prints a byte.
const PORT_PRINT: u16 = 0xE9;
/// More than any guest prints that is well.
const LONGEST_OUTPUT: usize = 4096;
/// The guest ends.
const PORT_DONE: u16 = 0xF4;
/// The guest lets the VMM do something.
const PORT_YIELD: u16 = 0xF5;
/// The guest asks for an interrupt.
const PORT_INJECT: u16 = 0xF6;

/// A vCPU, and what its guest has printed.
pub struct VmCpu {
    vcpu: AxVCpu<X86ArchVCpu>,
    /// What the guest printed.
    pub output: Vec<u8>,
}

/// Why [`VmCpu::run`] came back: what no device answers.
#[derive(Debug, PartialEq, Eq)]
pub enum Exit {
    /// The guest ended, with this verdict.
    Done(u8),
    /// The guest lets the VMM do something.
    Yield,
    /// The guest halted.
    Halt,
    /// The guest made a hypercall; the answer goes to [`VmCpu::set_return_value`].
    Hypercall {
        /// RAX.
        number: u64,
        /// RDI, RSI, RDX, RCX, R8, R9.
        arguments: [u64; 6],
    },
    /// A triple fault.
    Shutdown,
    /// The guest was not entered.
    EntryFailure,
    /// The guest prints without end.
    TooMuchOutput,
    /// The guest touched memory that is not there, and no device either.
    Fault {
        /// The guest-physical address.
        address: u64,
    },
    /// The host had an interrupt, which it has handled.
    Interrupt,
    /// It was to be stopped here.
    Suspended,
}

impl VmCpu {
    /// The vCPU with number `number`, which will start at `guest`.
    pub fn new(vm: &Vm, number: usize, guest: Guest) -> AxResult<Self> {
        Self::with_config(vm, number, guest, true)
    }

    /// The same for a guest that touches memory which is mapped on demand: such accesses are not taken for accesses to a
    /// device.
    pub fn on_demand(vm: &Vm, number: usize, guest: Guest) -> AxResult<Self> {
        Self::with_config(vm, number, guest, false)
    }

    fn with_config(vm: &Vm, number: usize, guest: Guest, decode_mmio: bool) -> AxResult<Self> {
        const VM_ID: usize = 1;
        let vcpu = AxVCpu::<X86ArchVCpu>::new(VM_ID, number, 0, None, ())?;
        let mut config = SetupConfig::default();
        config.decode_mmio = decode_mmio;
        config.mode = match guest.mode {
            Mode::Real => StartMode::RealMode,
            Mode::Protected => StartMode::Protected,
            Mode::Long => StartMode::Long { cr3: PAGE_MAP },
        };
        vcpu.setup(GuestPhysAddr::from(guest.entry as usize), vm.memory.lock().root(), config)?;
        Ok(Self { vcpu, output: Vec::new() })
    }

    /// Sets a general-purpose register, by its number in instructions.
    pub fn set_register(&mut self, number: usize, value: u64) {
        self.vcpu.set_gpr(number, value as usize);
    }

    /// Sets the answer to a hypercall.
    pub fn set_return_value(&mut self, value: u64) {
        self.vcpu.set_return_value(value as usize);
    }

    /// Makes an interrupt pending.
    pub fn inject_interrupt(&mut self, vector: u8) -> AxResult {
        self.vcpu.inject_interrupt(vector.into())
    }

    /// The library's vCPU, for what the traits do not offer.
    pub fn inner(&mut self) -> &mut Vcpu {
        self.vcpu.get_arch_vcpu().inner_mut()
    }

    /// Runs the guest on this CPU until something happens that no device answers. The vCPU is bound only meanwhile, so the
    /// next time it may run on another CPU.
    pub fn run(&mut self, vm: &Vm) -> AxResult<Exit> {
        self.vcpu.bind()?;
        let exit = self.run_bound(vm);
        // After an error the framework lets a vCPU go only when it is told that this is fine.
        if self.vcpu.state() == VCpuState::Invalid {
            // SAFETY: the vCPU is still bound to this CPU, which is what the state means.
            unsafe { self.vcpu.set_state(VCpuState::Ready) };
        }
        self.vcpu.unbind()?;
        exit
    }

    fn run_bound(&mut self, vm: &Vm) -> AxResult<Exit> {
        loop {
            if replacement::is_suspended(self.inner()) {
                return Ok(Exit::Suspended);
            }
            let number = self.vcpu.id();
            replacement::replace_if_wanted(self.inner(), || {
                let mut config = VcpuConfig::new(number as u32);
                config.unknown_msrs = UnknownMsr::Fault;
                config.x2apic_msrs_to_vmm = true;
                Make { config, apic: None, root: vm.memory.lock().root(), bound: true }
            })
            .map_err(|error| {
                crate::println!("CPU {}: {error}", smp::number());
                AxError::from(error)
            })?;
            match self.vcpu.run()? {
                AxVCpuExitReason::IoWrite { port, width, data } => match port.number() {
                    PORT_PRINT if self.output.len() >= LONGEST_OUTPUT => return Ok(Exit::TooMuchOutput),
                    PORT_PRINT => self.output.push(data as u8),
                    PORT_DONE => return Ok(Exit::Done(data as u8)),
                    PORT_YIELD => return Ok(Exit::Yield),
                    PORT_INJECT => self.vcpu.inject_interrupt(data as usize & 0xFF)?,
                    port => vm.devices.lock().port_write(port, width.size(), data as u32),
                },
                AxVCpuExitReason::IoRead { port, width } => {
                    let value = vm.devices.lock().port_read(port.number(), width.size());
                    self.vcpu.set_gpr(0, value as usize);
                }
                AxVCpuExitReason::MmioRead { addr, width, reg, .. } if is_mmio(addr) => {
                    let value = vm.devices.lock().mmio_read(addr.as_usize() as u64, width.size());
                    self.vcpu.set_gpr(reg, value as usize);
                }
                AxVCpuExitReason::MmioWrite { addr, width, data } if is_mmio(addr) => {
                    vm.devices.lock().mmio_write(addr.as_usize() as u64, width.size(), data);
                }
                AxVCpuExitReason::SysRegRead { addr, reg } => match vm.devices.lock().msr_read(addr.addr()) {
                    Some(value) => self.vcpu.set_gpr(reg, value as usize),
                    None => self.inner().reject().map_err(AxError::from)?,
                },
                AxVCpuExitReason::SysRegWrite { addr, value } => {
                    if !vm.devices.lock().msr_write(addr.addr(), value) {
                        self.inner().reject().map_err(AxError::from)?;
                    }
                }
                AxVCpuExitReason::NestedPageFault { addr, access_flags } => {
                    let address = addr.as_usize() as u64;
                    if !ON_DEMAND.contains(&address) {
                        return Ok(Exit::Fault { address });
                    }
                    let write = access_flags.contains(axaddrspace::MappingFlags::WRITE);
                    vm.memory.lock().map_on_demand(address, write).map_err(AxError::from)?;
                }
                AxVCpuExitReason::MmioRead { addr, .. } | AxVCpuExitReason::MmioWrite { addr, .. } => {
                    return Ok(Exit::Fault { address: addr.as_usize() as u64 });
                }
                AxVCpuExitReason::ExternalInterrupt { vector } => {
                    // Intel: the CPU has taken it from the interrupt controller.
                    interrupts::external(vector as u8);
                    return Ok(Exit::Interrupt);
                }
                AxVCpuExitReason::Nothing => {
                    // AMD: an interrupt is pending. Or somebody has asked for the vCPU's attention.
                    cpu::take_pending_interrupts();
                    return Ok(Exit::Interrupt);
                }
                AxVCpuExitReason::Halt => return Ok(Exit::Halt),
                AxVCpuExitReason::Hypercall { nr, args } => {
                    return Ok(Exit::Hypercall { number: nr, arguments: args });
                }
                AxVCpuExitReason::SystemDown => return Ok(Exit::Shutdown),
                AxVCpuExitReason::FailEntry { .. } => return Ok(Exit::EntryFailure),
                other => {
                    crate::println!("CPU {}: no answer to {other:?}", smp::number());
                    return Err(AxError::Unsupported);
                }
            }
        }
    }
}

fn is_mmio(address: GuestPhysAddr) -> bool {
    MMIO.contains(&(address.as_usize() as u64))
}
