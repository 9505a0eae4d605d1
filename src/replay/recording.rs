//! Recording: the vCPU as the VMM knows it, and a log of everything that enters it.

use super::{
    engine::{Engine, Happened, Stop},
    error::ReplayError,
    kind,
    log::{Header, LogWriter, MEMORY_BYTES, Record, Sink},
    track::Track,
};
use crate::{
    Error, Event, FrameSource, GuestRegisters, LocalInterrupt, RegisterIndex, Result, SystemRegisters, Vcpu,
    VcpuHandle, VmExit,
    guest::events::InterruptSource,
    handle::Mail,
    host::{self, InterruptsOff},
};

/// Which [`Record::Mail`] bit says what.
pub(super) const MAIL_EXIT: u8 = 1 << 0;
pub(super) const MAIL_NMI: u8 = 1 << 1;
pub(super) const MAIL_INIT: u8 = 1 << 2;
pub(super) const MAIL_START_UP: u8 = 1 << 3;

/// A vCPU whose runs are recorded: [`Vcpu::record`].
///
/// It has the methods of [`Vcpu`] that a VMM needs between runs, and logs what they change. What the VMM writes to the guest's
/// memory it tells with [`memory`](Self::memory). Dropped, the vCPU is as it was; a log without [`finish`](Self::finish) has no
/// end, and its replay says so when it comes there.
#[derive(Debug)]
pub struct Recording<'a, S: FrameSource, W: Sink> {
    vcpu: &'a mut Vcpu<S>,
    tape: Tape<W>,
    /// The registers as the log has them.
    registers: GuestRegisters,
}

/// The log and what is to be known to write it.
#[derive(Debug)]
struct Tape<W: Sink> {
    log: LogWriter<W>,
    /// What went wrong with it where nothing could be said.
    failed: Option<ReplayError>,
    track: Track,
    /// The last run came back for the host alone: the log has the run go on.
    inside_run: bool,
    exits: u64,
}

impl<W: Sink> Tape<W> {
    fn write(&mut self, record: &Record) {
        if self.failed.is_none()
            && let Err(error) = self.log.record(record)
        {
            self.failed = Some(error.into());
        }
    }

    /// Something enters here. After an exit of the guest's own the log knows where that is.
    fn position<S: FrameSource>(&mut self, engine: &mut impl Engine<S>) {
        if !self.track.disturbed {
            return;
        }
        if let Err(error) = self.track.check() {
            self.failed = self.failed.or(Some(error.into()));
        }
        let place = engine.place();
        let state = engine.state();
        let instructions = self.track.instructions;
        self.write(&Record::Position { instructions, rip: place.rip, resume: place.resume, state });
        self.track.anchor();
    }

    /// The VMM does something after a run that came back for the host alone.
    fn leave_run<S: FrameSource>(&mut self, engine: &mut impl Engine<S>) {
        if self.inside_run {
            self.inside_run = false;
            self.position(engine);
            self.write(&Record::Returned { kind: kind::HOST, digest: 0 });
        }
    }

    fn run<S: FrameSource>(&mut self, engine: &mut impl Engine<S>) -> Result<VmExit> {
        let _interrupts_off = InterruptsOff::new();
        let first = engine.begin()?;
        if !self.inside_run {
            self.write(&Record::Run);
        }
        self.inside_run = false;
        let exit = match first {
            Some(exit) => Some(exit),
            None => self.run_until_exit(engine),
        };
        engine.finish();
        if let Some(exit) = exit
            && !self.inside_run
        {
            let (kind, digest) = kind::of(&exit);
            self.write(&Record::Returned { kind, digest });
        }
        Ok(exit.unwrap_or(VmExit::Interrupted))
    }

    /// `None`: the log is full.
    fn run_until_exit<S: FrameSource>(&mut self, engine: &mut impl Engine<S>) -> Option<VmExit> {
        loop {
            if self.failed.is_some() {
                return None;
            }
            if let Some(exit) = self.let_in(engine) {
                return Some(exit);
            }
            let measures = self.track.has_to_measure();
            let mut injected = None;
            if !measures && engine.guest().events.any() {
                if self.track.disturbed {
                    self.position(engine);
                    self.write(&Record::Resumed);
                }
                match engine.plan() {
                    Ok(event) => injected = event,
                    Err(exit) => return Some(exit),
                }
            }
            let left = engine.guest().time_left();
            if !engine.exit_after(left) && left.is_some() {
                engine.guest_mut().ask_host_timer();
            }
            let place = engine.place();
            if measures {
                engine.set_resume(false);
            }
            let step = engine.step(injected, measures.then_some(Stop::At(place.linear)), None);
            self.track.entered(&step);
            match step.happened {
                Happened::Stopped => {
                    self.track.measured(&step);
                    engine.set_resume(place.resume);
                }
                Happened::Host(None) => {}
                Happened::Host(told) => {
                    self.inside_run = true;
                    return told;
                }
                Happened::Exit { reason, state, time, told } => {
                    if measures {
                        self.track.not_measured();
                    }
                    self.write(&Record::Exit { reason, state, time });
                    self.exits += 1;
                    self.track.anchor();
                    if told.is_some() {
                        return told;
                    }
                }
            }
        }
    }

    /// Mail, and what is due.
    fn let_in<S: FrameSource>(&mut self, engine: &mut impl Engine<S>) -> Option<VmExit> {
        if engine.guest().handle.has_mail() {
            let mail = engine.guest_mut().handle.take();
            if (Mail { forget: None, ..mail }) != Mail::default() {
                self.position(engine);
                self.write(&record_of(&mail));
            }
            if engine.take_in(mail) {
                return Some(engine.guest().mail_exit());
            }
        }
        let now = host::timestamp();
        if engine.guest().deadlines.next.is_some_and(|next| next <= now) {
            self.position(engine);
            engine.guest_mut().clock.fix(now);
            let exit = engine.guest_mut().pass_time();
            engine.guest_mut().clock.release();
            self.write(&Record::Due { time: now, slice: exit.is_some() });
            return exit;
        }
        None
    }
}

fn record_of(mail: &Mail) -> Record {
    let bit = |on: bool, bit: u8| if on { bit } else { 0 };
    Record::Mail {
        what: bit(mail.exit, MAIL_EXIT)
            | bit(mail.nmi, MAIL_NMI)
            | bit(mail.init, MAIL_INIT)
            | bit(mail.start_up.is_some(), MAIL_START_UP),
        start_up: mail.start_up.unwrap_or(0),
        interrupts: mail.interrupts,
        levels: mail.levels,
    }
}

/// The same of whichever vendor's it is.
macro_rules! each {
    ($vcpu:expr, $engine:ident => $call:expr) => {
        match $vcpu {
            #[cfg(feature = "vmx")]
            Vcpu::Vmx($engine) => $call,
            #[cfg(feature = "amd")]
            Vcpu::Svm($engine) => $call,
        }
    };
}
pub(super) use each;

/// What is to be so before a recording or a replay.
pub(super) fn check<S: FrameSource>(engine: &impl Engine<S>) -> Result {
    let guest = engine.guest();
    if guest.dirty_log.is_some() {
        return Err(Error::BadState("a vCPU with a log of dirty pages is neither recorded nor replayed"));
    }
    if guest.interrupts.apic().is_some_and(|apic| apic.shares_bus()) {
        return Err(Error::BadState("a vCPU that shares its APIC bus is neither recorded nor replayed"));
    }
    if guest.interrupts.any() || guest.events.any() && guest.interrupts.apic().is_none() {
        return Err(Error::BadState("events are pending: a recording starts before them"));
    }
    Ok(())
}

fn header<S: FrameSource, E: Engine<S>>(engine: &mut E) -> Header {
    let state = engine.state();
    let [tsc_ratio, tsc_offset, tsc_adjust] = engine.guest().tsc.numbers();
    Header { vendor: E::VENDOR, state, tsc_ratio, tsc_offset, tsc_adjust }
}

impl<'a, S: FrameSource, W: Sink> Recording<'a, S, W> {
    pub(crate) fn new(vcpu: &'a mut Vcpu<S>, sink: W) -> core::result::Result<Self, ReplayError> {
        each!(vcpu, engine => {
            check(engine)?;
            engine.watch(true)?;
        });
        let header = each!(vcpu, engine => header(engine));
        let registers = *vcpu.registers();
        let tape = |log| Tape { log, failed: None, track: Track::default(), inside_run: false, exits: 0 };
        match LogWriter::new(sink, header) {
            Ok(log) => Ok(Self { vcpu, tape: tape(log), registers }),
            Err(error) => {
                each!(vcpu, engine => engine.watch(false))?;
                Err(error.into())
            }
        }
    }

    /// Runs the guest until the VMM has to do something, as [`Vcpu::run`] does.
    ///
    /// # Errors
    /// Those of [`Vcpu::run`], and [`ReplayError::Log`] when the sink takes no more: the recording ends there.
    pub fn run(&mut self) -> core::result::Result<VmExit, ReplayError> {
        self.log_registers();
        let exit = each!(&mut *self.vcpu, engine => self.tape.run(engine))?;
        self.registers = *self.vcpu.registers();
        match self.tape.failed {
            None => Ok(exit),
            Some(error) => Err(error),
        }
    }

    /// The VMM wrote these bytes to the guest's memory at this guest-physical address: a device's DMA.
    pub fn memory(&mut self, gpa: u64, bytes: &[u8]) {
        for (part, at) in bytes.chunks(MEMORY_BYTES).zip((gpa..).step_by(MEMORY_BYTES)) {
            let mut padded = [0; MEMORY_BYTES];
            for (to, from) in padded.iter_mut().zip(part) {
                *to = *from;
            }
            self.log(&Record::Memory { gpa: at, length: part.len() as u8, bytes: padded });
        }
    }

    /// A number that a replay is to meet here again: a [hash](super::Hasher) of the guest's memory, for instance.
    pub fn checkpoint(&mut self, value: u64) {
        self.log(&Record::Checkpoint(value));
    }

    /// How many exits were recorded.
    pub fn exits(&self) -> u64 {
        self.tape.exits
    }

    /// How many bytes the log has.
    pub fn written(&self) -> u64 {
        self.tape.log.written()
    }

    /// Ends the log.
    ///
    /// # Errors
    /// [`ReplayError::Log`] when the sink did not take all of it.
    pub fn finish(mut self) -> core::result::Result<(), ReplayError> {
        self.log(&Record::End);
        self.tape.failed.map_or(Ok(()), Err)
    }

    /// The vCPU, to look at.
    pub fn vcpu(&self) -> &Vcpu<S> {
        self.vcpu
    }

    /// As [`Vcpu::complete_read`].
    ///
    /// # Errors
    /// As there.
    pub fn complete_read(&mut self, value: u64) -> Result {
        self.log(&Record::CompleteRead(value));
        let result = self.vcpu.complete_read(value);
        self.registers = *self.vcpu.registers();
        result
    }

    /// As [`Vcpu::reject`].
    ///
    /// # Errors
    /// As there.
    pub fn reject(&mut self) -> Result {
        self.log(&Record::Reject);
        self.vcpu.reject()
    }

    /// As [`Vcpu::decode_mmio`].
    ///
    /// # Errors
    /// As there.
    pub fn decode_mmio(&mut self) -> Result<VmExit> {
        self.log_registers();
        let exit = self.vcpu.decode_mmio();
        self.registers = *self.vcpu.registers();
        let (kind, digest) = exit.as_ref().map_or((kind::ERROR, 0), kind::of);
        self.tape.write(&Record::DecodeMmio { kind, digest });
        exit
    }

    /// As [`Vcpu::registers`].
    pub fn registers(&self) -> &GuestRegisters {
        self.vcpu.registers()
    }

    /// As [`Vcpu::registers_mut`]: what has changed is logged with the next call.
    pub fn registers_mut(&mut self) -> &mut GuestRegisters {
        self.vcpu.registers_mut()
    }

    /// As [`Vcpu::set_register`].
    pub fn set_register(&mut self, register: RegisterIndex, value: u64) {
        self.log(&Record::Register { number: register.number() as u8, value });
        self.vcpu.set_register(register, value);
        self.registers = *self.vcpu.registers();
    }

    /// As [`Vcpu::set_return_value`].
    pub fn set_return_value(&mut self, value: u64) {
        self.set_register(RegisterIndex::RAX, value);
    }

    /// As [`Vcpu::hypercall_arguments`].
    pub fn hypercall_arguments(&self) -> [u64; 6] {
        self.vcpu.hypercall_arguments()
    }

    /// As [`Vcpu::system`].
    ///
    /// # Errors
    /// As there.
    pub fn system(&mut self) -> Result<SystemRegisters> {
        self.vcpu.system()
    }

    /// As [`Vcpu::set_system`].
    ///
    /// # Errors
    /// As there.
    pub fn set_system(&mut self, system: &SystemRegisters) -> Result {
        self.log(&Record::System(*system));
        self.vcpu.set_system(system)
    }

    /// As [`Vcpu::inject_interrupt`].
    pub fn inject_interrupt(&mut self, vector: u8) {
        self.log(&Record::Interrupt(vector));
        self.vcpu.inject_interrupt(vector);
    }

    /// As [`Vcpu::request_interrupt_window`].
    pub fn request_interrupt_window(&mut self) {
        self.log(&Record::InterruptWindow);
        self.vcpu.request_interrupt_window();
    }

    /// As [`Vcpu::inject_nmi`].
    pub fn inject_nmi(&mut self) {
        self.log(&Record::Nmi);
        self.vcpu.inject_nmi();
    }

    /// As [`Vcpu::inject_exception`].
    pub fn inject_exception(&mut self, event: Event) {
        self.log(&Record::Exception(event));
        self.vcpu.inject_exception(event);
    }

    /// As [`Vcpu::signal_local_interrupt`].
    pub fn signal_local_interrupt(&mut self, source: LocalInterrupt) {
        self.log(&Record::Signal(source as u8));
        self.vcpu.signal_local_interrupt(source);
    }

    /// As [`Vcpu::set_tsc_offset`].
    ///
    /// # Errors
    /// As there.
    pub fn set_tsc_offset(&mut self, offset: u64) -> Result {
        self.log(&Record::TscOffset(offset));
        self.vcpu.set_tsc_offset(offset)
    }

    /// As [`Vcpu::set_time_slice`]. The log has the moments at which slices ended.
    pub fn set_time_slice(&mut self, end: Option<u64>) {
        self.vcpu.set_time_slice(end);
    }

    /// As [`Vcpu::timer_deadline`].
    pub fn timer_deadline(&self) -> Option<u64> {
        self.vcpu.timer_deadline()
    }

    /// As [`Vcpu::has_pending_event`].
    pub fn has_pending_event(&self) -> bool {
        self.vcpu.has_pending_event()
    }

    /// As [`Vcpu::accepts_pic`].
    pub fn accepts_pic(&self) -> bool {
        self.vcpu.accepts_pic()
    }

    /// As [`Vcpu::handle`]. What is sent with it is recorded when it arrives.
    pub fn handle(&self) -> VcpuHandle<S> {
        self.vcpu.handle()
    }

    /// The VMM does this.
    fn log(&mut self, record: &Record) {
        self.log_registers();
        each!(&mut *self.vcpu, engine => self.tape.leave_run(engine));
        self.tape.write(record);
    }

    /// The VMM may have changed registers.
    fn log_registers(&mut self) {
        let now = *self.vcpu.registers();
        for number in 0..16 {
            let index = RegisterIndex::new(number);
            let value = now.get(index);
            // RSP is elsewhere: `set_register` changes it.
            if index != RegisterIndex::RSP && value != self.registers.get(index) {
                if self.tape.inside_run {
                    // The place is to be logged as it was before.
                    let mut before = self.registers;
                    before.rsp = now.rsp;
                    *self.vcpu.registers_mut() = before;
                    each!(&mut *self.vcpu, engine => self.tape.leave_run(engine));
                    *self.vcpu.registers_mut() = now;
                }
                self.tape.write(&Record::Register { number, value });
            }
        }
        self.registers = now;
    }
}

impl<S: FrameSource, W: Sink> Drop for Recording<'_, S, W> {
    fn drop(&mut self) {
        if let Err(error) = each!(&mut *self.vcpu, engine => engine.watch(false)) {
            log::error!("the vCPU goes on exiting for its recording: {error}");
        }
    }
}
