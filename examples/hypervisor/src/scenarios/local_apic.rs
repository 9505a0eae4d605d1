//! Guests with the library's local APIC.

use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use memory_addr::PhysAddr;
use x86_vcpu::guest::snapshot::Activity;
use x86_vcpu::nested::{MemoryType, Permissions};
use x86_vcpu::spec::intel::controls::{PrimaryControls, SecondaryControls};
use x86_vcpu::spec::x86::apic::ApicDeliveryMode;
use x86_vcpu::vmx::Capabilities;
use x86_vcpu::{
    ApicBus, ApicConfig, ApicMessage, ApicVirtualization, Error, LocalInterrupt, Result, StartState, State, Vcpu,
    VcpuConfig, VcpuHost, VmExit,
};

use super::machine::judge;
use super::{Outcome, Reason, check};
use crate::guests::{Guest, Mode};
use crate::vm::replacement::{self, Make};
use crate::vm::{PAGE_MAP, SCRATCH, Vm};
use crate::{apic, cpu, guests, interrupts, print, println, smp};

const PORT_PRINT: u16 = 0xE9;
const PORT_DONE: u16 = 0xF4;
const PORT_YIELD: u16 = 0xF5;

/// The CPU of the second vCPU.
const OTHER: usize = 1;

/// The host of the scenarios: the vCPU with APIC id n runs on CPU n, or halts there.
pub struct Host;

/// The only one.
pub static HOST: Host = Host;

impl VcpuHost for Host {
    fn kick(&self, cpu: usize) {
        apic::send(cpu as u32, interrupts::KICK);
    }

    fn wake(&self, apic_id: u32) {
        apic::send(apic_id, interrupts::KICK);
    }

    fn set_timer(&self, deadline: Option<u64>) {
        match deadline {
            Some(deadline) => apic::start_timer_once(deadline),
            None => apic::stop_timer(),
        }
    }
}

/// A vCPU with a local APIC.
pub struct ApicCpu {
    /// The vCPU.
    pub vcpu: Vcpu,
    bound: bool,
    /// It halts before it runs.
    halted: bool,
    /// What the guest has printed.
    pub output: Vec<u8>,
    /// What another vCPU in its place is made of.
    id: u32,
    config: ApicConfig,
    bus: ApicBus,
    root: PhysAddr,
}

/// What the VMM has to do.
pub enum Event {
    /// The guest is done, with this verdict.
    Done(u8),
    /// The guest lets the VMM do something.
    Yield,
    /// It was to be stopped here.
    Suspended,
    /// Any other exit.
    Exit(VmExit),
}

impl ApicCpu {
    /// A vCPU with this id on a bus.
    pub fn new(vm: &Vm, id: u32, bus: &ApicBus) -> Result<Self> {
        Self::virtualized(vm, id, bus, ApicVirtualization::Auto)
    }

    fn virtualized(vm: &Vm, id: u32, bus: &ApicBus, virtualization: ApicVirtualization) -> Result<Self> {
        let mut vcpu: Vcpu = Vcpu::new(VcpuConfig::new(id))?;
        let mut config = ApicConfig::new();
        config.virtualization = virtualization;
        vcpu.add_local_apic(config, Some(bus))?;
        let root = vm.memory.lock().root();
        // SAFETY: the table is the machine's, of this vendor's format, and outlives the vCPU.
        unsafe { vcpu.set_nested_root(root) }?;
        Ok(Self { vcpu, bound: false, halted: false, output: Vec::new(), id, config, bus: bus.clone(), root })
    }

    /// The same, which starts at `guest`.
    pub fn starting(vm: &Vm, id: u32, bus: &ApicBus, guest: Guest) -> Result<Self> {
        let mut new = Self::new(vm, id, bus)?;
        new.start(guest)?;
        Ok(new)
    }

    /// Goes on as another one was, halted or not.
    pub fn restore(&mut self, state: &State) -> Result<()> {
        self.halted = state.events.activity == Activity::Halted;
        self.vcpu.restore(state)
    }

    fn start(&mut self, guest: Guest) -> Result<()> {
        self.vcpu.start(match guest.mode {
            Mode::Real => StartState::RealMode { entry: guest.entry },
            Mode::Protected => StartState::Protected { entry: guest.entry as u32 },
            Mode::Long => StartState::Long { entry: guest.entry, cr3: PAGE_MAP },
        })
    }

    /// Runs the guest until there is something that no device answers. A halted guest sleeps until it is woken.
    pub fn run(&mut self) -> Result<Event> {
        loop {
            if let Some(event) = self.run_until(&AtomicBool::new(false))? {
                return Ok(event);
            }
        }
    }

    /// The same, until somebody wants it to stop and kicks or wakes it. The vCPU is bound to this CPU from then on.
    pub fn run_until(&mut self, stop: &AtomicBool) -> Result<Option<Event>> {
        if !self.bound {
            self.vcpu.bind()?;
            self.bound = true;
        }
        if core::mem::take(&mut self.halted) {
            self.sleep(stop);
        }
        while !stop.load(Ordering::Acquire) {
            if replacement::is_suspended(&mut self.vcpu) {
                return Ok(Some(Event::Suspended));
            }
            replacement::replace_if_wanted(&mut self.vcpu, || Make {
                config: VcpuConfig::new(self.id),
                apic: Some((self.config, self.bus.clone())),
                root: self.root,
                bound: true,
            })?;
            match self.vcpu.run()? {
                VmExit::IoWrite { port: PORT_PRINT, data, .. } => self.output.push(data as u8),
                VmExit::IoWrite { port: PORT_DONE, data, .. } => return Ok(Some(Event::Done(data as u8))),
                VmExit::IoWrite { port: PORT_YIELD, .. } => return Ok(Some(Event::Yield)),
                VmExit::ExternalInterrupt { vector: Some(vector) } => interrupts::external(vector),
                VmExit::ExternalInterrupt { vector: None } | VmExit::Interrupted => cpu::take_pending_interrupts(),
                VmExit::Halt if replacement::is_suspended_halted(&mut self.vcpu) => return Ok(Some(Event::Suspended)),
                VmExit::Halt | VmExit::WaitForStartup => self.sleep(stop),
                other => return Ok(Some(Event::Exit(other))),
            }
        }
        Ok(None)
    }

    /// Takes the vCPU off this CPU, where it is bound.
    fn leave(&mut self) {
        if core::mem::take(&mut self.bound) && self.vcpu.unbind().is_err() {
            print!("a vCPU cannot leave its CPU\n");
        }
        cpu::take_pending_interrupts();
    }

    /// Waits until something has come for the vCPU. Interrupts are off between the look and the sleep, so that none is
    /// missed. The host's timer is set each time: an interrupt that came too early may have been taken already.
    fn sleep(&mut self, stop: &AtomicBool) {
        while !self.vcpu.has_pending_event() && !stop.load(Ordering::Acquire) {
            if let deadline @ Some(_) = self.vcpu.timer_deadline() {
                HOST.set_timer(deadline);
            }
            cpu::wait_for_interrupt();
        }
    }
}

impl Drop for ApicCpu {
    fn drop(&mut self) {
        self.leave();
        for line in alloc::string::String::from_utf8_lossy(&self.output).lines() {
            print!("> {line}\n");
        }
    }
}

/// Who virtualizes a local APIC, and whether the page of its registers is mapped. A guest cannot tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Way {
    virtualization: ApicVirtualization,
    mapped: bool,
}

const WAYS: [Way; 4] = [
    Way { virtualization: ApicVirtualization::Software, mapped: false },
    Way { virtualization: ApicVirtualization::Software, mapped: true },
    Way { virtualization: ApicVirtualization::Auto, mapped: false },
    Way { virtualization: ApicVirtualization::Auto, mapped: true },
];

/// Maps the page of the registers, if the CPU makes something of it.
fn map_access_page(vm: &Vm, bus: &ApicBus) -> Result<bool> {
    const PAGE: u64 = 0xFEE0_0000;
    let Some(page) = bus.access_page() else { return Ok(false) };
    vm.memory.lock().table().map(PAGE, page, 0x1000, Permissions::READ_WRITE, MemoryType::WriteBack)?;
    Ok(true)
}

/// A guest alone in each of the ways, with `handle` for what it and its local APIC do not settle between them. What it prints
/// is the same in all of them.
fn alone(guest: fn() -> Guest, mut handle: impl FnMut(Way, &mut Vcpu, &ApicBus, Event) -> Outcome) -> Outcome {
    let mut first = None;
    for way in WAYS {
        let vm = Vm::new()?;
        let bus = ApicBus::new(&HOST)?;
        if way.mapped && !map_access_page(&vm, &bus)? {
            continue;
        }
        let mut cpu = ApicCpu::virtualized(&vm, 0, &bus, way.virtualization).map_err(refused)?;
        cpu.start(guest()).map_err(refused)?;
        let verdict = loop {
            match cpu.run() {
                Ok(Event::Done(verdict)) => break judge(verdict),
                Ok(other) => handle(way, &mut cpu.vcpu, &bus, other)?,
                Err(error) => break Err(error.into()),
            }
        };
        if let Err(reason) = verdict {
            println!("{way:?}");
            return Err(reason);
        }
        let Some(expected) = &first else {
            first = Some(cpu.output.clone());
            continue;
        };
        if cpu.output != *expected {
            return Err(Reason::Failed(format!("{way:?}: the guest prints something else")));
        }
        cpu.output.clear();
    }
    Ok(())
}

/// Where the CPU lacks something, it is a refusal.
pub fn refused(error: Error) -> Reason {
    match error {
        Error::Unsupported(_) => Reason::Refused(format!("{error}")),
        other => other.into(),
    }
}

/// The vector of the level-triggered interrupt.
const LEVEL: u8 = 0x3C;
/// The vector that the PIC would give.
const PIC: u8 = 0x22;

/// What the guest finds at the inputs of its local APIC.
#[derive(Default)]
pub struct Inputs {
    yields: usize,
    /// How many level-triggered interrupts have ended.
    ends: usize,
}

impl Inputs {
    /// What the VMM does for the guest.
    pub fn answer(&mut self, vcpu: &mut Vcpu, bus: &ApicBus, event: Event) -> Outcome {
        match event {
            Event::Yield => {
                self.yields += 1;
                match self.yields % 3 {
                    1 => {
                        let message = ApicMessage { level: true, ..ApicMessage::fixed(0, LEVEL) };
                        check(bus.deliver(message), || "nobody took the message".into())
                    }
                    2 => {
                        check(vcpu.accepts_pic(), || "the PIC is not accepted".into())?;
                        vcpu.signal_local_interrupt(LocalInterrupt::Lint1);
                        vcpu.request_interrupt_window();
                        Ok(())
                    }
                    _ => check(!vcpu.accepts_pic(), || "the PIC is accepted".into()),
                }
            }
            Event::Exit(VmExit::InterruptWindow) => {
                vcpu.inject_interrupt(PIC);
                Ok(())
            }
            Event::Exit(VmExit::EndOfInterrupt { vector: LEVEL }) => {
                self.ends += 1;
                Ok(())
            }
            other => unexpected(&other),
        }
    }
}

/// The registers through the page of the xAPIC, and everything behind them.
pub fn local_apic() -> Outcome {
    let mut inputs = Inputs::default();
    alone(guests::local_apic, |_, vcpu, bus, event| inputs.answer(vcpu, bus, event))?;
    let Inputs { yields, ends } = inputs;
    check(ends != 0 && yields == 3 * ends, || format!("{yields} yields, {ends} ends of level-triggered interrupts"))
}

/// The registers as MSRs.
pub fn x2apic() -> Outcome {
    alone(guests::x2apic, |_, _, _, event| unexpected(&event))
}

/// What a guest does, between two yields.
const KINDS: [&str; 7] = [
    "TPR, page",
    "CR8",
    "self-IPI and EOI, page",
    "reads, page",
    "TPR, x2APIC",
    "self-IPI and EOI, x2APIC",
    "reads, x2APIC",
];
/// How often.
const ROUNDS: u64 = 64;

/// What this CPU does by itself of each kind, of a local APIC whose page is mapped or not.
fn done_by_hardware(mapped: bool) -> [bool; KINDS.len()] {
    let Ok(capabilities) = Capabilities::get() else { return [false; KINDS.len()] };
    let has = |control| capabilities.allowed.secondary.contains(control);
    let shadow = capabilities.allowed.primary.contains(PrimaryControls::USE_TPR_SHADOW);
    let accesses = shadow && mapped && has(SecondaryControls::VIRTUALIZE_APIC_ACCESSES);
    let x2apic = shadow && has(SecondaryControls::VIRTUALIZE_X2APIC_MODE);
    let registers = has(SecondaryControls::APIC_REGISTER_VIRTUALIZATION);
    let delivery = has(SecondaryControls::VIRTUAL_INTERRUPT_DELIVERY);
    [accesses, shadow, accesses && delivery, accesses && registers, x2apic, x2apic && delivery, x2apic && registers]
}

/// Whether the CPU does what it can: exits and instructions of what guests do all the time.
pub fn apic_exits() -> Outcome {
    // The last yield, if it began something: what, and the counts.
    let mut last: Option<(usize, u64, u64)> = None;
    alone(guests::apic_exits, |way, vcpu, _, event| {
        let Event::Yield = event else { return unexpected(&event) };
        let (exits, time) = (vcpu.local_apic_exits(), cpu::timestamp());
        let mut next = 0;
        if let Some((kind, exits_before, before)) = last.take() {
            let (exits, time) = (exits - exits_before, time - before);
            let name = KINDS[kind];
            println!("{way:?}: {name}: {exits} exits, {} instructions a round", time / ROUNDS);
            let hardware = way.virtualization == ApicVirtualization::Auto && done_by_hardware(way.mapped)[kind];
            // Between two kinds there may be a write or two.
            let right = if hardware { exits <= 2 } else { Capabilities::get().is_err() || exits >= ROUNDS };
            check(right, || format!("{way:?}: {name}: {exits} exits"))?;
            next = kind + 1;
        }
        if next < KINDS.len() {
            last = Some((next, vcpu.local_apic_exits(), cpu::timestamp()));
        }
        Ok(())
    })
}

/// Where a CPU fetches its first instruction after a reset, when nothing is there.
const RESET_VECTOR: u64 = 0xFFFF_FFF0;

/// The page of the xAPIC elsewhere, and an INIT to the bootstrap processor, which starts anew at its reset vector.
pub fn apic_init() -> Outcome {
    let vm = Vm::new()?;
    let bus = ApicBus::new(&HOST)?;
    let mut cpu = ApicCpu::starting(&vm, 0, &bus, guests::apic_init()).map_err(refused)?;
    match cpu.run()? {
        Event::Yield => {
            let message = ApicMessage { delivery: ApicDeliveryMode::INIT, ..ApicMessage::fixed(0, 0) };
            check(bus.deliver(message), || "nobody took the INIT".into())?;
        }
        other => return unexpected(&other),
    }
    match cpu.run() {
        Ok(Event::Exit(VmExit::NestedPageFault(fault))) => {
            check(fault.gpa == RESET_VECTOR && fault.access.fetch, || format!("unexpected: {fault:x?}"))
        }
        Ok(Event::Done(verdict)) => judge(verdict),
        Ok(other) => unexpected(&other),
        Err(error) => Err(refused(error)),
    }
}

/// A guest that never exits, which its time slice stops twice.
pub fn time_slice() -> Outcome {
    const SLICE: u64 = 500_000;
    let vm = Vm::new()?;
    let bus = ApicBus::new(&HOST)?;
    let mut cpu = ApicCpu::starting(&vm, 0, &bus, guests::host_timer()).map_err(refused)?;
    let mut slices = 0;
    loop {
        let end = cpu::timestamp() + SLICE;
        cpu.vcpu.set_time_slice(Some(end));
        match cpu.run()? {
            Event::Exit(VmExit::TimeSlice) => {
                check(cpu::timestamp() >= end, || "the time slice ended early".into())?;
                slices += 1;
                vm.memory.lock().write_u32(SCRATCH, 1);
            }
            Event::Yield => {}
            Event::Done(verdict) => {
                judge(verdict)?;
                return check(slices >= 2, || format!("{slices} time slices"));
            }
            other => unexpected(&other)?,
        }
    }
}

/// Two vCPUs on two CPUs, of which the guest starts the second.
pub fn apic_smp() -> Outcome {
    let vm = Vm::new()?;
    let bus = ApicBus::new(&HOST)?;
    map_access_page(&vm, &bus)?;
    let (stop, failed) = (AtomicBool::new(false), AtomicBool::new(false));
    let mut cpus = [
        ApicCpu::starting(&vm, 0, &bus, guests::apic_smp()).map_err(refused)?,
        ApicCpu::new(&vm, OTHER as u32, &bus).map_err(refused)?,
    ];
    let [bootstrap, other] = &mut cpus;
    let (here, there) = smp::both(
        OTHER,
        || {
            let outcome = first(bootstrap, &failed);
            stop.store(true, Ordering::Release);
            HOST.wake(OTHER as u32);
            outcome
        },
        || {
            let outcome = second(other, &stop);
            // The first one would wait for ever.
            failed.store(outcome.is_err(), Ordering::Release);
            HOST.wake(0);
            outcome
        },
    );
    there.and(here)
}

/// The bootstrap processor, until its guest is done.
fn first(cpu: &mut ApicCpu, failed: &AtomicBool) -> Outcome {
    let outcome = match cpu.run_until(failed)? {
        None => Ok(()),
        Some(Event::Done(verdict)) => judge(verdict),
        Some(other) => unexpected(&other),
    };
    cpu.leave();
    outcome
}

/// The other one, which waits for its start, until the guest is done.
fn second(cpu: &mut ApicCpu, stop: &AtomicBool) -> Outcome {
    let outcome = match cpu.run_until(stop) {
        Ok(None) => Ok(()),
        Ok(Some(other)) => unexpected(&other),
        Err(error) => Err(refused(error)),
    };
    cpu.leave();
    outcome
}

/// What a scenario does not expect.
fn unexpected(event: &Event) -> Outcome {
    Err(Reason::Failed(match event {
        Event::Done(_) | Event::Yield | Event::Suspended => "a yield that nobody expects".into(),
        Event::Exit(exit) => format!("unexpected: {exit:x?}"),
    }))
}
