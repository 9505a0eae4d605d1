//! Replaying: a log in the place of the VMM's devices and of the world.

use super::{
    engine::{Engine, Happened, Place, Stop},
    error::{Difference, Divergence, Reason, ReplayError},
    kind,
    log::{LogReader, MEMORY_BYTES, Record, Source},
    recording::{MAIL_EXIT, MAIL_INIT, MAIL_NMI, MAIL_START_UP, check, each},
    track::Track,
};
use crate::{
    FrameSource, LocalInterrupt, RegisterIndex, Vcpu, VcpuHost, VmExit,
    guest::state::GuestState,
    handle::Mail,
    host::{self, InterruptsOff},
};

/// The same for a timer of the host's, which is set before the guest is entered, and whose interrupt the host has to handle.
const FAR_BY_HOST: u64 = 4000;
const NEAR_BY_HOST: u64 = 800;
/// Farther from the place where the guest is to stop, a timer of the CPU's lets it run without a breakpoint, ...
const FAR: u64 = 1000;
/// ... until it is so near: more than a timer of the CPU's is late.
const NEAR: u64 = 200;

/// What comes next in a replay.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// The guest did this, as it did when it was recorded, and the log answers it. A VMM that maps memory on demand does that
    /// now; nothing else is to be done.
    Exit(VmExit),
    /// Not of the guest: an interrupt of this host's, which the VMM handles as it always does.
    Host(VmExit),
    /// The recorded VMM wrote to the guest's memory: the VMM does that now.
    Memory {
        /// Where, guest-physical.
        gpa: u64,
        /// How many of the bytes count.
        length: u8,
        /// What.
        bytes: [u8; MEMORY_BYTES],
    },
    /// The number that the recorded VMM gave here.
    Checkpoint(u64),
    /// The log has ended, and all was as it was.
    End,
}

/// A vCPU that does what it did when it was recorded: [`Vcpu::replay`].
#[derive(Debug)]
pub struct Replaying<'a, S: FrameSource, R: Source> {
    vcpu: &'a mut Vcpu<S>,
    tape: Tape<R>,
}

#[derive(Debug)]
struct Tape<R: Source> {
    log: LogReader<R>,
    /// The next record, if it was looked at.
    next: Option<Record>,
    track: Track,
    /// The guest was let go on and is where the log has nothing yet.
    between: bool,
    exits: u64,
    inside_run: bool,
    /// Who has a timer for a CPU that has none.
    host: Option<Host>,
}

#[derive(Clone, Copy)]
struct Host(&'static dyn VcpuHost);

impl core::fmt::Debug for Host {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Host")
    }
}

/// How a run ended.
enum End {
    /// As recorded.
    Exit(VmExit),
    /// For the host.
    Host(VmExit),
}

impl<R: Source> Tape<R> {
    fn peek(&mut self) -> Result<Record, ReplayError> {
        match self.next {
            Some(record) => Ok(record),
            None => {
                let record = self.log.record()?;
                self.next = Some(record);
                Ok(record)
            }
        }
    }

    /// The record that was looked at is done with.
    fn pass(&mut self) {
        self.next = None;
    }

    fn diverged(&self, what: Difference) -> ReplayError {
        ReplayError::Diverged(Divergence { exit: self.exits, offset: self.log.read(), what })
    }

    fn run<S: FrameSource, E: Engine<S>>(&mut self, engine: &mut E) -> Result<End, ReplayError> {
        let _interrupts_off = InterruptsOff::new();
        let first = engine.begin()?;
        let end = match first {
            Some(exit) => Ok(End::Exit(exit)),
            None => self.run_until_exit(engine),
        };
        engine.finish();
        let end = end?;
        if let End::Exit(exit) = &end {
            let (kind, digest) = kind::of(exit);
            self.returned(kind, digest)?;
        }
        self.inside_run = matches!(end, End::Host(_));
        Ok(end)
    }

    /// What came back is what came back when it was recorded.
    fn returned(&mut self, kind: u8, digest: u64) -> Result<(), ReplayError> {
        let (expected, same) = match self.peek()? {
            Record::Returned { kind: expected, digest: recorded } => {
                (expected, kind == kind::HOST || recorded == digest)
            }
            other => {
                let what = Difference::Unexpected { expected: other.name(), found: kind::name(kind) };
                return Err(self.diverged(what));
            }
        };
        if expected != kind || !same {
            return Err(self.diverged(Difference::Returned { expected, found: kind }));
        }
        self.pass();
        Ok(())
    }

    fn run_until_exit<S: FrameSource, E: Engine<S>>(&mut self, engine: &mut E) -> Result<End, ReplayError> {
        loop {
            let mut injected = None;
            if !self.between && !self.track.has_to_measure() {
                if let Some(exit) = self.let_in(engine)? {
                    return Ok(End::Exit(exit));
                }
                if engine.guest().events.any() {
                    match engine.plan() {
                        Ok(event) => injected = event,
                        Err(exit) => return Ok(End::Exit(exit)),
                    }
                }
            }
            if self.track.has_to_measure() {
                let place = engine.place();
                engine.set_resume(false);
                let end = self.step(engine, None, Some(Stop::At(place.linear)), None)?;
                if !self.track.has_to_measure() {
                    engine.set_resume(place.resume);
                }
                match end {
                    Some(end) => return Ok(end),
                    None => continue,
                }
            }
            let end = match self.peek()? {
                Record::Exit { time, .. } => {
                    engine.exit_after(None);
                    self.step(engine, injected, None, time)?
                }
                Record::Position { instructions, rip, resume, state } => {
                    self.approach(engine, injected, (instructions, rip, resume, state))?
                }
                other => {
                    let what = Difference::Unexpected { expected: other.name(), found: "an entry" };
                    return Err(self.diverged(what));
                }
            };
            if let Some(end) = end {
                return Ok(end);
            }
        }
    }

    /// What enters the vCPU here.
    fn let_in<S: FrameSource, E: Engine<S>>(&mut self, engine: &mut E) -> Result<Option<VmExit>, ReplayError> {
        loop {
            match self.peek()? {
                record @ Record::Mail { .. } => {
                    self.pass();
                    // What the guest sends itself is here too, and in the log.
                    let real = engine.guest_mut().handle.take();
                    let mail = Mail { forget: real.forget, ..mail_of(&record) };
                    if engine.take_in(mail) {
                        return Ok(Some(engine.guest().mail_exit()));
                    }
                }
                Record::Due { time, slice } => {
                    self.pass();
                    be_due(engine.guest_mut(), time);
                    if slice {
                        return Ok(Some(VmExit::TimeSlice));
                    }
                }
                Record::Resumed => self.pass(),
                // The run that was disturbed here came back, and the VMM did something.
                Record::Returned { kind: kind::HOST, .. } => {
                    return Ok(Some(VmExit::ExternalInterrupt { vector: None }));
                }
                _ => return Ok(None),
            }
        }
    }

    /// An entry, and what came of it.
    fn step<S: FrameSource, E: Engine<S>>(
        &mut self,
        engine: &mut E,
        injected: Option<crate::Event>,
        stop: Option<Stop>,
        time: Option<u64>,
    ) -> Result<Option<End>, ReplayError> {
        let step = engine.step(injected, stop, Some(time.unwrap_or(0)));
        self.track.entered(&step);
        self.between = true;
        match step.happened {
            Happened::Stopped if self.track.has_to_measure() => {
                self.track.measured(&step);
                self.between = false;
                Ok(None)
            }
            Happened::Stopped | Happened::Host(None) => Ok(None),
            Happened::Host(Some(exit)) => Ok(Some(End::Host(exit))),
            Happened::Exit { reason, state, time: used, told } => {
                self.compare::<S, E>(engine, reason, state, used.is_some())?;
                if self.track.has_to_measure() {
                    self.track.not_measured();
                }
                self.between = false;
                self.track.anchor();
                Ok(told.map(End::Exit))
            }
        }
    }

    /// The exit is the recorded one.
    fn compare<S: FrameSource, E: Engine<S>>(
        &mut self,
        engine: &mut E,
        found: u64,
        found_state: u64,
        used_time: bool,
    ) -> Result<(), ReplayError> {
        let named = |code| Reason { code, name: E::reason_name(code) };
        let what = match self.peek()? {
            Record::Exit { reason, state, time } if reason == found => {
                let rip = engine.place().rip;
                if state != found_state {
                    Difference::State { reason: named(reason), expected: state, found: found_state, rip }
                } else if used_time && time.is_none() {
                    Difference::Unexpected { expected: "an exit", found: "a question for the time" }
                } else {
                    self.pass();
                    self.exits += 1;
                    return Ok(());
                }
            }
            Record::Exit { reason, .. } => Difference::Exit { expected: named(reason), found: named(found) },
            Record::Position { instructions, rip, .. } => {
                let here = (self.track.instructions, engine.place().rip);
                Difference::Position { expected: (instructions, rip), found: here }
            }
            other => Difference::Unexpected { expected: other.name(), found: "an exit" },
        };
        Err(self.diverged(what))
    }

    /// Goes on to the place where the recorded guest was disturbed.
    fn approach<S: FrameSource, E: Engine<S>>(
        &mut self,
        engine: &mut E,
        injected: Option<crate::Event>,
        (instructions, rip, resume, state): (u64, u64, bool, u64),
    ) -> Result<Option<End>, ReplayError> {
        self.track.check()?;
        let left = instructions.saturating_sub(self.track.instructions);
        if left > FAR && engine.exit_after(Some(left - NEAR)) {
            let end = self.step(engine, injected, None, None);
            engine.exit_after(None);
            return end;
        }
        if left > FAR_BY_HOST
            && let Some(Host(host)) = self.host
        {
            host.set_timer(Some(host::timestamp().saturating_add(left - NEAR_BY_HOST)));
            return self.step(engine, injected, None, None);
        }
        let here = engine.place();
        let linear = here.linear.wrapping_add(rip.wrapping_sub(here.rip));
        let mut stop = Stop::At(linear);
        // The breakpoint is here: the guest gets over it. In a string instruction that is not far enough.
        if self.between && here.rip == rip {
            if engine.repeats() {
                stop = Stop::Iteration;
            } else {
                engine.set_resume(true);
            }
        }
        let end = self.step(engine, injected, Some(stop), None)?;
        let found: Place = engine.place();
        let at = (self.track.instructions, found.rip);
        if at.0 > instructions || at.0 == instructions && at.1 != rip && end.is_none() {
            return Err(self.diverged(Difference::Position { expected: (instructions, rip), found: at }));
        }
        if at != (instructions, rip) {
            return Ok(end);
        }
        engine.set_resume(resume);
        let found = engine.state();
        if found != state {
            return Err(self.diverged(Difference::PositionState { rip, expected: state, found }));
        }
        self.pass();
        self.track.anchor();
        self.between = false;
        // An interrupt of this host's has come at the same place.
        Ok(end)
    }
}

fn mail_of(record: &Record) -> Mail {
    let Record::Mail { what, start_up, interrupts, levels } = record else { return Mail::default() };
    let has = |bit| what & bit != 0;
    Mail {
        exit: has(MAIL_EXIT),
        nmi: has(MAIL_NMI),
        init: has(MAIL_INIT),
        start_up: has(MAIL_START_UP).then_some(*start_up),
        interrupts: *interrupts,
        levels: *levels,
        forget: None,
    }
}

/// What was due then happens, as [`GuestState::pass_time`] had it happen.
fn be_due<S: FrameSource>(guest: &mut GuestState<S>, time: u64) {
    guest.clock.fix(time);
    let now = guest.now();
    if let Some(apic) = guest.interrupts.apic_mut() {
        apic.advance_timer(now);
        guest.events.wake();
    }
    guest.update_deadline();
    guest.clock.release();
}

fn start<S: FrameSource, E: Engine<S>, R: Source>(engine: &mut E, log: &LogReader<R>) -> Result<(), ReplayError> {
    let header = *log.header();
    let diverged = |what| ReplayError::Diverged(Divergence { exit: 0, offset: log.read(), what });
    if header.vendor != E::VENDOR {
        return Err(diverged(Difference::Vendor { expected: header.vendor, found: E::VENDOR }));
    }
    check(engine)?;
    let [ratio, ..] = engine.guest().tsc.numbers();
    let found = engine.state();
    if found != header.state || ratio != header.tsc_ratio {
        return Err(diverged(Difference::Start { expected: header.state, found }));
    }
    engine.watch(true)?;
    engine.guest_mut().tsc.set_numbers(header.tsc_offset, header.tsc_adjust);
    engine.write_tsc()?;
    engine.guest_mut().clock.set_replaying(true);
    Ok(())
}

impl<'a, S: FrameSource, R: Source> Replaying<'a, S, R> {
    pub(crate) fn new(vcpu: &'a mut Vcpu<S>, source: R) -> Result<Self, ReplayError> {
        let log = LogReader::new(source)?;
        each!(vcpu, engine => start(engine, &log))?;
        let tape =
            Tape { log, next: None, track: Track::default(), between: false, exits: 0, inside_run: false, host: None };
        Ok(Self { vcpu, tape })
    }

    /// Goes on to what is next.
    ///
    /// # Errors
    /// [`ReplayError::Diverged`] where it is not what was recorded, [`ReplayError::Log`] for a log that cannot be read on, and
    /// those of [`Vcpu::run`]. There is no going on after that.
    pub fn next_step(&mut self) -> Result<Step, ReplayError> {
        loop {
            if self.tape.inside_run {
                return self.run();
            }
            let record = self.tape.peek()?;
            match record {
                Record::End => return Ok(Step::End),
                Record::Run => {
                    self.tape.pass();
                    return self.run();
                }
                Record::Memory { gpa, length, bytes } => {
                    self.tape.pass();
                    return Ok(Step::Memory { gpa, length, bytes });
                }
                Record::Checkpoint(value) => {
                    self.tape.pass();
                    return Ok(Step::Checkpoint(value));
                }
                Record::DecodeMmio { kind: expected, digest } => {
                    let exit = self.vcpu.decode_mmio();
                    let (kind, found) = exit.as_ref().map_or((kind::ERROR, 0), kind::of);
                    if (kind, found) != (expected, digest) {
                        return Err(self.tape.diverged(Difference::Returned { expected, found: kind }));
                    }
                    self.tape.pass();
                    if let Ok(exit) = exit {
                        return Ok(Step::Exit(exit));
                    }
                }
                other => {
                    self.answer(&other)?;
                    self.tape.pass();
                }
            }
        }
    }

    fn run(&mut self) -> Result<Step, ReplayError> {
        Ok(match each!(&mut *self.vcpu, engine => self.tape.run(engine))? {
            End::Exit(exit) => Step::Exit(exit),
            End::Host(exit) => Step::Host(exit),
        })
    }

    /// What the recorded VMM did, between two runs.
    fn answer(&mut self, record: &Record) -> Result<(), ReplayError> {
        let vcpu = &mut *self.vcpu;
        // An answer that was refused when it was recorded is refused again, and changes nothing either time.
        let _ = match *record {
            Record::CompleteRead(value) => vcpu.complete_read(value),
            Record::Reject => vcpu.reject(),
            Record::System(system) => vcpu.set_system(&system),
            Record::TscOffset(offset) => vcpu.set_tsc_offset(offset),
            Record::Register { number, value } => {
                vcpu.set_register(RegisterIndex::new(number), value);
                Ok(())
            }
            Record::Interrupt(vector) => {
                vcpu.inject_interrupt(vector);
                Ok(())
            }
            Record::InterruptWindow => {
                vcpu.request_interrupt_window();
                Ok(())
            }
            Record::Nmi => {
                vcpu.inject_nmi();
                Ok(())
            }
            Record::Exception(event) => {
                vcpu.inject_exception(event);
                Ok(())
            }
            Record::Signal(number) => {
                let sources = [
                    LocalInterrupt::Lint0,
                    LocalInterrupt::Lint1,
                    LocalInterrupt::Thermal,
                    LocalInterrupt::Performance,
                ];
                if let Some(source) = sources.into_iter().find(|source| *source as u8 == number) {
                    vcpu.signal_local_interrupt(source);
                }
                Ok(())
            }
            _ => {
                let what = Difference::Unexpected { expected: record.name(), found: "the VMM's turn" };
                return Err(self.tape.diverged(what));
            }
        };
        Ok(())
    }

    /// Uses this host's [timer](VcpuHost::set_timer) to bring the guest near to where it was disturbed, on a CPU that has none for
    /// that: all but Intel's. Without it the guest is stopped again and again at the instruction at which it was disturbed.
    pub fn set_host(&mut self, host: &'static dyn VcpuHost) {
        self.tape.host = Some(Host(host));
    }

    /// How many exits were the recorded ones.
    pub fn exits(&self) -> u64 {
        self.tape.exits
    }

    /// The vCPU, to look at.
    pub fn vcpu(&mut self) -> &Vcpu<S> {
        self.vcpu
    }
}

impl<S: FrameSource, R: Source> Drop for Replaying<'_, S, R> {
    fn drop(&mut self) {
        each!(&mut *self.vcpu, engine => engine.guest_mut().clock.set_replaying(false));
        if let Err(error) = each!(&mut *self.vcpu, engine => engine.watch(false)) {
            log::error!("the vCPU goes on exiting for its replay: {error}");
        }
    }
}
