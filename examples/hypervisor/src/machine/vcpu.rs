//! The vCPUs, and the loop that answers what their guests do.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};

use spin::Mutex;
use x86_vcpu::{StartState, Vcpu, VcpuConfig, VmExit};

use super::End;
use super::board::Board;
use super::clock::Clock;
use super::memory::GuestMemory;
use super::statistics::{Statistics, kind};
use crate::command_line::Settings;
use crate::cpu::timestamp;
use crate::{apic, cpu, interrupts, println};

/// RFLAGS.IF.
const INTERRUPTS_ENABLED: u64 = 1 << 9;
/// The leaves of CPUID that tell the rates of clocks; this machine has its own.
const TSC_LEAF: u32 = 0x15;
const FREQUENCY_LEAF: u32 = 0x16;

/// How the guest's first vCPU starts: in 32-bit protected mode, with flat segments.
pub struct Entry {
    /// The first instruction.
    pub address: u32,
    /// The selectors.
    pub code_selector: u16,
    pub data_selector: u16,
    /// The registers that are not zero.
    pub rax: u64,
    pub rbx: u64,
    pub rsi: u64,
}

/// What the vCPUs share.
pub struct Machine {
    board: Mutex<Board>,
    memory: Mutex<GuestMemory>,
    clock: Clock,
    /// When the guest's time is over.
    limit: u64,
    /// How often the host's timer counts while the time-stamp counter counts 65536.
    timer_rate: u64,
    /// The model-specific registers that were asked for and are not there.
    refused: Mutex<BTreeSet<(u32, bool)>>,
}

impl Machine {
    /// A machine, switched on.
    pub fn new(board: Board, memory: GuestMemory, clock: Clock, settings: &Settings) -> Self {
        let limit = settings.timeout.map_or(u64::MAX, |seconds| clock.when(seconds, 1));
        Self {
            board: Mutex::new(board),
            memory: Mutex::new(memory),
            clock,
            limit,
            timer_rate: apic::timer_rate(),
            refused: Mutex::default(),
        }
    }

    /// Runs the guest to its end.
    pub fn run(&self, entry: &Entry) -> Result<End, String> {
        let mut statistics = Statistics::new();
        let end = self.run_vcpu(entry, &mut statistics).map_err(|error| error.to_string());
        apic::stop_timer();
        self.board.lock().drain();
        statistics.print(0, timestamp() - self.clock.start);
        end
    }

    fn vcpu(&self, entry: &Entry) -> x86_vcpu::Result<Vcpu> {
        let mut vcpu: Vcpu = Vcpu::new(VcpuConfig::new(0))?;
        // SAFETY: the table maps nothing but the guest's memory, and both outlive the vCPU: it is gone when `run` ends.
        unsafe { vcpu.set_nested_root(self.memory.lock().root()) }?;
        vcpu.start(StartState::Protected { entry: entry.address })?;
        let mut system = vcpu.system()?;
        system.cs.selector = entry.code_selector;
        for segment in [&mut system.ds, &mut system.es, &mut system.ss, &mut system.fs, &mut system.gs] {
            segment.selector = entry.data_selector;
        }
        vcpu.set_system(&system)?;
        let registers = vcpu.registers_mut();
        (registers.rax, registers.rbx, registers.rsi) = (entry.rax, entry.rbx, entry.rsi);
        for leaf in [TSC_LEAF, FREQUENCY_LEAF] {
            if let Some(entry) = vcpu.cpuid_mut().get_mut(leaf, 0) {
                (entry.eax, entry.ebx, entry.ecx, entry.edx) = (0, 0, 0, 0);
            }
        }
        Ok(vcpu)
    }

    fn run_vcpu(&self, entry: &Entry, statistics: &mut Statistics) -> x86_vcpu::Result<End> {
        let mut vcpu = self.vcpu(entry)?;
        vcpu.bind()?;
        let end = self.run_bound(&mut vcpu, statistics);
        if let Ok(End::Unhandled(_) | End::TripleFault) = end {
            let system = vcpu.system()?;
            println!("{system:x?}");
            println!("{:x?}", vcpu.registers());
        }
        vcpu.unbind()?;
        end
    }

    fn run_bound(&self, vcpu: &mut Vcpu, statistics: &mut Statistics) -> x86_vcpu::Result<End> {
        let mut armed = 0;
        let mut left = timestamp();
        let mut last = VmExit::Interrupted;
        loop {
            // What is due, and what is due next.
            let mut due = {
                let mut board = self.board.lock();
                let due = board.advance(left);
                if let Some(end) = board.end.take() {
                    return Ok(end);
                }
                if board.pics.wants_attention() {
                    vcpu.request_interrupt_window();
                }
                due
            };
            if left >= self.limit {
                return Ok(End::TimeLimit);
            }
            due = due.min(self.limit);
            if due != armed {
                apic::start_one_shot(due.saturating_sub(left), self.timer_rate);
                armed = due;
            }
            let entered = timestamp();
            statistics.add(kind(&last), &last, entered.saturating_sub(left));
            let exit = vcpu.run()?;
            left = timestamp();
            last = exit;
            match exit {
                VmExit::IoRead { port, width } => {
                    let value = self.board.lock().port_read(port, width, left);
                    vcpu.complete_read(value.into())?;
                }
                VmExit::IoWrite { port, width, data } => self.board.lock().port_write(port, width, data, left),
                VmExit::MsrRead { msr } => {
                    self.report(msr, None);
                    vcpu.reject()?;
                }
                VmExit::MsrWrite { msr, value } => {
                    self.report(msr, Some(value));
                    vcpu.reject()?;
                }
                VmExit::NestedPageFault(fault) if !self.memory.lock().contains(fault.gpa) => match vcpu.decode_mmio() {
                    Ok(VmExit::MmioRead { gpa, width, .. }) => {
                        let value = self.board.lock().mmio_read(gpa, width);
                        vcpu.complete_read(value)?;
                    }
                    Ok(VmExit::MmioWrite { gpa, width, data }) => self.board.lock().mmio_write(gpa, width, data),
                    answer => {
                        return Ok(End::Unhandled(format!("{fault:x?}: {answer:?}")));
                    }
                },
                // The later accesses of an instruction that makes several.
                VmExit::MmioRead { gpa, width, .. } => {
                    let value = self.board.lock().mmio_read(gpa, width);
                    vcpu.complete_read(value)?;
                }
                VmExit::MmioWrite { gpa, width, data } => self.board.lock().mmio_write(gpa, width, data),
                VmExit::InterruptWindow => {
                    let mut board = self.board.lock();
                    if board.pics.wants_attention() {
                        vcpu.inject_interrupt(board.pics.acknowledge());
                    }
                }
                VmExit::ExternalInterrupt { vector } => {
                    match vector {
                        Some(vector) => interrupts::external(vector),
                        None => cpu::take_pending_interrupts(),
                    }
                    armed = 0;
                }
                VmExit::Halt => {
                    if vcpu.system()?.rflags.bits() & INTERRUPTS_ENABLED == 0 {
                        return Ok(End::Halted);
                    }
                    if let Some(end) = self.wait(&mut armed) {
                        return Ok(end);
                    }
                }
                VmExit::Hypercall { .. } => vcpu.set_return_value(u64::MAX),
                VmExit::Interrupted => {}
                VmExit::Shutdown => return Ok(End::TripleFault),
                other => {
                    return Ok(End::Unhandled(format!("{other:x?}")));
                }
            }
        }
    }

    /// Lets the host wait until a device asks for the CPU.
    fn wait(&self, armed: &mut u64) -> Option<End> {
        loop {
            let now = timestamp();
            let due = {
                let mut board = self.board.lock();
                let due = board.advance(now);
                if board.pics.wants_attention() {
                    return None;
                }
                due.min(self.limit)
            };
            if now >= self.limit {
                return Some(End::TimeLimit);
            }
            apic::start_one_shot(due.saturating_sub(now), self.timer_rate);
            *armed = 0;
            cpu::wait_for_interrupt();
        }
    }

    /// Says which register is not there, once.
    fn report(&self, msr: u32, written: Option<u64>) {
        if self.refused.lock().insert((msr, written.is_some())) {
            match written {
                Some(value) => println!("refused: WRMSR {msr:#x} = {value:#x}"),
                None => println!("refused: RDMSR {msr:#x}"),
            }
        }
    }
}
