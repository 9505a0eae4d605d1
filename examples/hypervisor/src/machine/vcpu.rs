//! The vCPUs, and the loop that answers what their guests do.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use spin::{Mutex, RwLock, RwLockReadGuard};
use x86_vcpu::guest::snapshot::Activity;
use x86_vcpu::{ApicBus, ApicConfig, Error, StartState, State, Vcpu, VcpuConfig, VcpuHandle, VmExit};

use super::End;
use super::board::Board;
use super::clock::Clock;
use super::common_cpu;
use super::host::HOST;
use super::memory::GuestMemory;
use super::snapshot::{self, Description, SavedCpu};
use super::statistics::Statistics;
use crate::command_line::{Settings, Trace};
use crate::cpu::timestamp;
use crate::trace::{self, Printed};
use crate::vm::replacement::{self, Make};
use crate::{cpu, interrupts, println, smp};

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

/// How the vCPUs begin.
#[derive(Clone, Copy)]
pub enum Begin<'a> {
    /// The first one here, the others when it starts them.
    Start(&'a Entry),
    /// Where they were saved.
    GoOn(&'a [SavedCpu]),
}

/// What the vCPUs share.
pub struct Machine {
    board: Mutex<Board>,
    memory: Mutex<GuestMemory>,
    clock: Clock,
    /// When the guest's time is over.
    limit: u64,
    /// The model-specific registers that were asked for and are not there, and what the first write of each was.
    refused: Mutex<BTreeMap<(u32, bool), u64>>,
    handles: Vec<Mutex<VcpuHandle>>,
    bus: ApicBus,
    /// Whoever replaces a vCPU writes; else nothing is sent, and no guest runs.
    world: RwLock<()>,
    /// Somebody waits for that.
    replacing: AtomicBool,
    /// How many vCPUs will not go on by themselves: halted with interrupts off, or waiting for their start.
    stopped: AtomicUsize,
    ended: AtomicBool,
    end: Mutex<Option<End>>,
    saving: Saving,
    common_cpu: bool,
}

/// The machine is being saved: every vCPU comes to a place where it can be, when all are there each is saved, and then everything is
/// written.
#[derive(Default)]
struct Saving {
    wanted: AtomicBool,
    /// How many vCPUs have stopped, and how many have been saved.
    stopped: AtomicUsize,
    saved: AtomicUsize,
    /// The time at which all of them have been stopped, when it is known.
    moment: AtomicU64,
    vcpus: Mutex<BTreeMap<usize, SavedCpu>>,
    /// The memory to write to.
    room: Range<usize>,
}

/// A vCPU, and what it did.
struct Runner<'a> {
    machine: &'a Machine,
    number: usize,
    vcpu: Vcpu,
    /// It was saved while it waited, and goes on waiting; whether with interrupts off.
    waits: Option<bool>,
    statistics: Statistics,
    trace: Trace,
    printed: Printed,
    /// After how many exits the vCPU is replaced, how many there were since, and how often it was.
    replace: Option<u64>,
    exits: u64,
    replaced: u64,
}

/// Runs a guest on a machine with these devices to its end. vCPU n runs on CPU n.
pub fn run(
    begin: Begin<'_>,
    bus: &ApicBus,
    mut board: Board,
    memory: GuestMemory,
    clock: Clock,
    settings: &Settings,
) -> Result<End, String> {
    let limit =
        settings.timeout.map_or(u64::MAX, |seconds| clock.start.saturating_add(clock.hz.saturating_mul(seconds)));
    if let Some(text) = settings.save_when {
        board.await_text(from_hexadecimal(text)?.leak());
    }
    let mut machine = Machine {
        board: Mutex::new(board),
        memory: Mutex::new(memory),
        clock,
        limit,
        refused: Mutex::default(),
        handles: Vec::new(),
        bus: bus.clone(),
        world: RwLock::new(()),
        replacing: AtomicBool::new(false),
        stopped: AtomicUsize::new(0),
        ended: AtomicBool::new(false),
        end: Mutex::new(None),
        saving: Saving { room: settings.save_room.clone(), ..Saving::default() },
        common_cpu: settings.common_cpu,
    };
    let mut vcpus = Vec::new();
    for number in 0..settings.vcpus {
        let mut vcpu = machine.vcpu(number, settings.vcpus, bus)?;
        match begin {
            Begin::Start(entry) if number == 0 => start(&mut vcpu, entry).map_err(|error| error.to_string())?,
            Begin::Start(_) => {}
            Begin::GoOn(saved) => {
                let saved = saved.get(number).ok_or("the snapshot has too few vCPUs")?;
                go_on(&mut vcpu, saved, clock.start).map_err(|why| format!("vCPU {number}: {why}"))?;
            }
        }
        trace::prepare(settings.trace, &mut vcpu).map_err(|error| error.to_string())?;
        machine.handles.push(Mutex::new(vcpu.handle()));
        vcpus.push(vcpu);
    }
    let runners = vcpus.into_iter().enumerate().map(|(number, mut vcpu)| Runner {
        machine: &machine,
        number,
        waits: waits(&mut vcpu, begin),
        vcpu,
        statistics: Statistics::new(),
        trace: settings.trace,
        printed: Printed::default(),
        replace: settings.replace,
        exits: 0,
        replaced: 0,
    });
    trace::begin(settings.trace, settings.vcpus, clock.hz);
    let mut runners = run_all(runners.collect());
    machine.board.lock().drain();
    let total = timestamp() - machine.clock.start;
    machine.print_refused();
    for runner in &mut runners {
        runner.printed.finish(runner.trace, &runner.vcpu, runner.number);
        if runner.replace.is_some() {
            println!("vCPU {}: replaced {} times", runner.number, runner.replaced);
        }
        runner.statistics.print(runner.number, &runner.vcpu, total);
    }
    drop(runners);
    let end = machine.end.lock().take();
    end.ok_or_else(|| "the vCPUs stopped without a reason".into())
}

/// Runs each on its CPU, until all have ended.
fn run_all(mut runners: Vec<Runner<'_>>) -> Vec<Runner<'_>> {
    let Some(mut last) = runners.pop() else { return runners };
    if last.number == 0 {
        last.run();
        return alloc::vec![last];
    }
    let number = last.number;
    let (mut others, last) = smp::both(
        number,
        || run_all(runners),
        move || {
            last.run();
            last
        },
    );
    others.push(last);
    others
}

impl Machine {
    /// A vCPU as after its reset.
    fn vcpu(&self, number: usize, vcpus: usize, bus: &ApicBus) -> Result<Vcpu, String> {
        let failed = |error: Error| error.to_string();
        let (config, apic) = configuration(number, vcpus);
        let mut vcpu: Vcpu = Vcpu::new(config).map_err(failed)?;
        if self.common_cpu {
            let policy = common_cpu::policy(config.processors, number as u32, vcpu.cpuid())?;
            *vcpu.cpuid_mut() = policy;
        }
        vcpu.add_local_apic(apic, Some(bus)).map_err(failed)?;
        // SAFETY: the table maps nothing but the guest's memory, and both outlive the vCPUs: those are gone when `run` ends.
        unsafe { vcpu.set_nested_root(self.memory.lock().root()) }.map_err(failed)?;
        for leaf in [TSC_LEAF, FREQUENCY_LEAF] {
            if let Some(entry) = vcpu.cpuid_mut().get_mut(leaf, 0) {
                (entry.eax, entry.ebx, entry.ecx, entry.edx) = (0, 0, 0, 0);
            }
        }
        Ok(vcpu)
    }

    fn is_being_saved(&self) -> bool {
        self.saving.wanted.load(Ordering::SeqCst)
    }

    /// The guest has written what it was waited for to write: all vCPUs stop.
    fn start_saving(&self) {
        self.saving.wanted.store(true, Ordering::SeqCst);
        for cpu in (0..self.handles.len()).filter(|cpu| *cpu != smp::number()) {
            HOST.interrupt(cpu);
        }
    }

    /// Writes everything down; all vCPUs stand still.
    fn write_down(&self) -> Result<End, String> {
        let mut output = snapshot::Output::new(self.saving.room.clone())?;
        let memory = self.memory.lock();
        let machine = Description {
            memory: memory.end(),
            vcpus: self.handles.len() as u32,
            common_cpu: self.common_cpu,
            hz: self.clock.hz,
            passed: self.clock.passed(self.saving.moment.load(Ordering::SeqCst)),
        };
        let vcpus = core::mem::take(&mut *self.saving.vcpus.lock()).into_values().collect::<Vec<_>>();
        snapshot::write(&mut output, &machine, &vcpus, &self.board.lock().devices(), &memory)?;
        Ok(End::Saved(output.written))
    }

    /// The guest is at its end; the first reason counts. All vCPUs stop.
    fn finish(&self, end: End) {
        self.end.lock().get_or_insert(end);
        self.ended.store(true, Ordering::SeqCst);
        for (cpu, handle) in self.handles.iter().enumerate() {
            handle.lock().request_exit();
            if cpu != smp::number() {
                HOST.interrupt(cpu);
            }
        }
    }

    /// Waits while somebody replaces a vCPU. Until the result is dropped nobody does.
    fn stand_still_if_wanted(&self) -> RwLockReadGuard<'_, ()> {
        while self.replacing.load(Ordering::SeqCst) {
            core::hint::spin_loop();
        }
        self.world.read()
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Remembers which register is not there. What is printed takes a thousand times as long, so that comes after the end.
    fn refuse(&self, msr: u32, written: Option<u64>) {
        /// A guest that asks for every number there is must not fill the heap.
        const MOST: usize = 64;
        let mut refused = self.refused.lock();
        if refused.len() < MOST {
            refused.entry((msr, written.is_some())).or_insert(written.unwrap_or(0));
        }
    }

    fn print_refused(&self) {
        for ((msr, written), value) in &*self.refused.lock() {
            if *written {
                println!("refused: WRMSR {msr:#x} = {value:#x}");
            } else {
                println!("refused: RDMSR {msr:#x}");
            }
        }
    }
}

/// Lets the first vCPU start.
fn start(vcpu: &mut Vcpu, entry: &Entry) -> x86_vcpu::Result {
    vcpu.start(StartState::Protected { entry: entry.address })?;
    let mut system = vcpu.system()?;
    system.cs.selector = entry.code_selector;
    for segment in [&mut system.ds, &mut system.es, &mut system.ss, &mut system.fs, &mut system.gs] {
        segment.selector = entry.data_selector;
    }
    vcpu.set_system(&system)?;
    let registers = vcpu.registers_mut();
    (registers.rax, registers.rbx, registers.rsi) = (entry.rax, entry.rbx, entry.rsi);
    Ok(())
}

/// Lets a vCPU go on from where it was saved. The machine's clock goes on at `now`, and so does the vCPU's.
fn go_on(vcpu: &mut Vcpu, saved: &SavedCpu, now: u64) -> Result<(), String> {
    let failed = |error: Error| error.to_string();
    let state = State::read_from(&saved.state).map_err(|error| error.to_string())?;
    vcpu.restore(&state).map_err(failed)?;
    vcpu.set_tsc_offset(state.time.tsc.wrapping_sub(now)).map_err(failed)?;
    match snapshot::difference(&saved.cpuid, &snapshot::leaves(vcpu.cpuid())) {
        Some(why) => Err(why),
        None => Ok(()),
    }
}

/// Whether a vCPU that goes on goes on waiting, and whether with interrupts off.
fn waits(vcpu: &mut Vcpu, begin: Begin<'_>) -> Option<bool> {
    let Begin::GoOn(_) = begin else { return None };
    let state = vcpu.save().ok()?;
    match state.events.activity {
        Activity::Halted => Some(state.system.rflags.bits() & INTERRUPTS_ENABLED == 0),
        Activity::WaitForStartUp => Some(true),
        _ => None,
    }
}

/// The bytes that pairs of digits stand for.
fn from_hexadecimal(digits: &str) -> Result<Vec<u8>, String> {
    let byte = |index| digits.get(index..index + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
    bytes.filter(|bytes| !bytes.is_empty()).ok_or_else(|| "save_when= wants hexadecimal digits".into())
}

/// How a vCPU is made.
fn configuration(number: usize, vcpus: usize) -> (VcpuConfig, ApicConfig) {
    let mut config = VcpuConfig::new(number as u32);
    config.processors = vcpus as u16;
    let mut apic = ApicConfig::new();
    apic.virtual_wire = true;
    (config, apic)
}

impl Runner<'_> {
    /// Saves the vCPU, drops it, and goes on with a new one, if it is time for that. All other vCPUs stand still meanwhile: what
    /// they would send would be lost.
    fn replace(&mut self) -> x86_vcpu::Result {
        self.exits += 1;
        if self.replace.is_none_or(|after| self.exits < after) {
            return Ok(());
        }
        let machine = self.machine;
        if machine.replacing.swap(true, Ordering::SeqCst) {
            // Another vCPU is at it.
            return Ok(());
        }
        let result = self.replace_alone();
        machine.replacing.store(false, Ordering::SeqCst);
        result
    }

    fn replace_alone(&mut self) -> x86_vcpu::Result {
        let machine = self.machine;
        for cpu in (0..machine.handles.len()).filter(|cpu| *cpu != self.number) {
            HOST.interrupt(cpu);
        }
        let _world = machine.world.write();
        let (config, apic) = configuration(self.number, machine.handles.len());
        let root = machine.memory.lock().root();
        let make = Make { config, apic: Some((apic, machine.bus.clone())), root, bound: true };
        if replacement::replace(&mut self.vcpu, &make)? {
            *machine.handles[self.number].lock() = self.vcpu.handle();
            self.exits = 0;
            self.replaced += 1;
        }
        Ok(())
    }

    /// Saves the vCPU, and the machine when all others are saved. Nothing comes of it when the vCPU is in the middle of an instruction: it
    /// comes back when that is done.
    fn save(&mut self) -> x86_vcpu::Result<Option<Option<End>>> {
        let machine = self.machine;
        let saving = &machine.saving;
        match self.vcpu.save() {
            Ok(_) => {}
            Err(Error::BadState(_)) => {
                self.vcpu.handle().request_exit();
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        let all = machine.handles.len();
        let arrive = |count: &AtomicUsize| {
            count.fetch_add(1, Ordering::SeqCst);
            while count.load(Ordering::SeqCst) < all && !machine.has_ended() {
                core::hint::spin_loop();
            }
        };
        arrive(&saving.stopped);
        // From here on no guest runs. The time is one for all.
        let _ = saving.moment.compare_exchange(0, timestamp(), Ordering::SeqCst, Ordering::SeqCst);
        let mut state = self.vcpu.save()?;
        state.time.tsc = saving.moment.load(Ordering::SeqCst).wrapping_add(self.vcpu.tsc_offset());
        let mut bytes = vec![0; state.encoded_len()];
        state.write_to(&mut bytes)?;
        let saved = SavedCpu { cpuid: snapshot::leaves(self.vcpu.cpuid()), state: bytes };
        saving.vcpus.lock().insert(self.number, saved);
        arrive(&saving.saved);
        if self.number != 0 || machine.has_ended() {
            return Ok(Some(None));
        }
        Ok(Some(Some(machine.write_down().unwrap_or_else(End::Failed))))
    }

    /// Runs until the guest's end.
    fn run(&mut self) {
        let end = self.vcpu.bind().and_then(|()| self.run_bound());
        if let Ok(Some(End::Unhandled(_) | End::TripleFault)) = &end
            && let Ok(system) = self.vcpu.system()
        {
            println!("vCPU {}: {system:x?}", self.number);
            println!("{:x?}", self.vcpu.registers());
            trace::in_words(&self.vcpu, self.number);
        }
        match end {
            Ok(Some(end)) => self.machine.finish(end),
            Ok(None) => {}
            Err(error) => self.machine.finish(End::Failed(error.to_string())),
        }
        HOST.set_device_timer(u64::MAX);
        if let Err(error) = self.vcpu.unbind() {
            println!("vCPU {}: {error}", self.number);
        }
        // A kick may still be on its way.
        cpu::take_pending_interrupts();
    }

    /// What is due, if this is the vCPU that looks after the devices; when something is due again.
    fn advance(&mut self, now: u64) -> (u64, Option<End>) {
        if self.number != 0 {
            return (u64::MAX, None);
        }
        let mut board = self.machine.board.lock();
        let due = board.advance(now).min(self.machine.limit);
        if board.pics.wants_attention() && self.vcpu.accepts_pic() {
            self.vcpu.request_interrupt_window();
        }
        let end = board.end.take().or((now >= self.machine.limit).then_some(End::TimeLimit));
        (due, end)
    }

    fn run_bound(&mut self) -> x86_vcpu::Result<Option<End>> {
        let machine = self.machine;
        let mut left = timestamp();
        let mut last = VmExit::Interrupted;
        if let Some(stopped) = self.waits.take()
            && let Some(end) = self.wait(stopped)
        {
            return Ok(Some(end));
        }
        loop {
            self.replace()?;
            if machine.is_being_saved()
                && let Some(end) = self.save()?
            {
                return Ok(end);
            }
            let world = machine.stand_still_if_wanted();
            let (due, end) = self.advance(left);
            if end.is_some() || machine.has_ended() {
                return Ok(end);
            }
            self.printed.go_on(self.trace, &self.vcpu, self.number);
            HOST.set_device_timer(due);
            let entered = timestamp();
            self.statistics.add(&last, entered.saturating_sub(left));
            let exit = self.vcpu.run()?;
            left = timestamp();
            last = exit;
            let vcpu = &mut self.vcpu;
            match exit {
                VmExit::IoRead { port, width } => {
                    let value = machine.board.lock().port_read(port, width, left);
                    vcpu.complete_read(value.into())?;
                }
                VmExit::IoWrite { port, width, data } => {
                    let mut board = machine.board.lock();
                    board.port_write(port, width, data, left);
                    if board.take_awaited() {
                        drop(board);
                        machine.start_saving();
                    }
                }
                VmExit::MsrRead { msr } => {
                    machine.refuse(msr, None);
                    vcpu.reject()?;
                }
                VmExit::MsrWrite { msr, value } => {
                    machine.refuse(msr, Some(value));
                    vcpu.reject()?;
                }
                VmExit::NestedPageFault(fault) => match vcpu.decode_mmio() {
                    Ok(VmExit::MmioRead { gpa, width, .. }) => {
                        let value = machine.board.lock().mmio_read(gpa, width);
                        vcpu.complete_read(value)?;
                    }
                    Ok(VmExit::MmioWrite { gpa, data, .. }) => machine.board.lock().mmio_write(gpa, data),
                    answer => return Ok(Some(End::Unhandled(format!("{fault:x?}: {answer:?}")))),
                },
                // The later accesses of an instruction that makes several.
                VmExit::MmioRead { gpa, width, .. } => {
                    let value = machine.board.lock().mmio_read(gpa, width);
                    vcpu.complete_read(value)?;
                }
                VmExit::MmioWrite { gpa, data, .. } => machine.board.lock().mmio_write(gpa, data),
                VmExit::InterruptWindow => {
                    let mut board = machine.board.lock();
                    if board.pics.wants_attention() {
                        vcpu.inject_interrupt(board.pics.acknowledge());
                    }
                }
                VmExit::EndOfInterrupt { vector } => machine.board.lock().end_of_interrupt(vector),
                VmExit::ExternalInterrupt { vector } => {
                    match vector {
                        Some(vector) => interrupts::external(vector),
                        None => cpu::take_pending_interrupts(),
                    }
                    HOST.interrupted();
                }
                VmExit::Halt => {
                    let stopped = vcpu.system()?.rflags.bits() & INTERRUPTS_ENABLED == 0;
                    let begin = timestamp();
                    drop(world);
                    if let Some(end) = self.wait(stopped) {
                        return Ok(Some(end));
                    }
                    left = timestamp();
                    Statistics::waited(&mut self.vcpu, left.saturating_sub(begin));
                }
                VmExit::WaitForStartup => {
                    let begin = timestamp();
                    drop(world);
                    if let Some(end) = self.wait(true) {
                        return Ok(Some(end));
                    }
                    left = timestamp();
                    Statistics::waited(&mut self.vcpu, left.saturating_sub(begin));
                }
                VmExit::Hypercall { .. } => vcpu.set_return_value(u64::MAX),
                VmExit::Interrupted | VmExit::TimeSlice => {}
                VmExit::Shutdown => return Ok(Some(End::TripleFault)),
                other => return Ok(Some(End::Unhandled(format!("{other:x?}")))),
            }
        }
    }

    /// Lets the host wait until something has come for the vCPU, or the guest has ended. `stopped`: only another vCPU, or an
    /// NMI, can get it going again.
    fn wait(&mut self, stopped: bool) -> Option<End> {
        let machine = self.machine;
        if stopped && machine.stopped.fetch_add(1, Ordering::SeqCst) + 1 == machine.handles.len() {
            return Some(End::Halted);
        }
        let end = loop {
            let world = machine.stand_still_if_wanted();
            let now = timestamp();
            let (due, end) = self.advance(now);
            if end.is_some() || machine.has_ended() {
                break end;
            }
            if machine.is_being_saved() {
                break None;
            }
            let pic = self.number == 0 && self.vcpu.accepts_pic() && machine.board.lock().pics.wants_attention();
            let timer = self.vcpu.timer_deadline().unwrap_or(u64::MAX);
            if self.vcpu.has_pending_event() || timer <= timestamp() || pic && !stopped {
                break None;
            }
            HOST.set_device_timer(due.min(timer));
            drop(world);
            cpu::wait_for_interrupt();
            HOST.interrupted();
        };
        if stopped {
            machine.stopped.fetch_sub(1, Ordering::SeqCst);
        }
        end
    }
}
