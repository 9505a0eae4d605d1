//! What the loops of a recording and of a replay need of a vendor's vCPU.

use super::hash::{Hasher, hash_registers};
use crate::{
    Result,
    exit::VmExit,
    frame::FrameSource,
    guest::{
        debug::DebugRegisters,
        decode::is_repeated_string,
        emulation::Cpu,
        events::Event,
        fetch::{CodeAddress, InstructionBytes},
        registers::SystemRegisters,
        segmentation::SegmentRegister,
        state::GuestState,
    },
    handle::Mail,
    spec::x86::registers::{BreakpointCondition, BreakpointLength, Dr7},
};

/// Where a guest is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) rip: u64,
    /// The linear address of the instruction there.
    pub(crate) linear: u64,
    /// RFLAGS.RF.
    pub(crate) resume: bool,
}

/// Where an entry is to end, if nothing else ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Before the instruction at this linear address.
    At(u64),
    /// After one iteration of the string instruction that is next. It sees no RFLAGS, so TF may be set meanwhile.
    Iteration,
}

/// What an entry has come to.
pub(crate) struct Step {
    /// How far the host's time-stamp counter went from before the entry to behind the exit.
    pub(crate) ticks: u64,
    pub(crate) happened: Happened,
}

pub(crate) enum Happened {
    /// Something of the host's: the guest was interrupted at some instruction, and has not noticed. The VMM may have to.
    Host(Option<VmExit>),
    /// The guest is about to execute the instruction where it was to stop.
    Stopped,
    /// The guest's own execution led to an exit, which is answered.
    Exit {
        reason: u64,
        /// The guest's state at the exit.
        state: u64,
        /// The time, if the answer took it.
        time: Option<u64>,
        told: Option<VmExit>,
    },
}

/// The vCPU of a vendor, an entry at a time.
pub(crate) trait Engine<S: FrameSource> {
    /// 0: VMX; 1: SVM.
    const VENDOR: u8;

    fn guest(&self) -> &GuestState<S>;
    fn guest_mut(&mut self) -> &mut GuestState<S>;

    /// The manual's name of an exit.
    fn reason_name(code: u64) -> Option<&'static str>;

    /// Makes what a recording has to know of exit, or no longer.
    ///
    /// # Errors
    /// [`Error::Unsupported`](crate::Error::Unsupported) when the CPU cannot.
    fn watch(&mut self, on: bool) -> Result;

    /// The state of the guest's time-stamp counter goes to the CPU.
    ///
    /// # Errors
    /// [`Error::BadState`](crate::Error::BadState) when the vCPU is bound elsewhere.
    fn write_tsc(&mut self) -> Result;

    /// The start of a run, with the host's interrupts off.
    ///
    /// # Errors
    /// [`Error::BadState`](crate::Error::BadState) when the vCPU is not bound to this CPU.
    fn begin(&mut self) -> Result<Option<VmExit>>;
    /// The end of a run.
    fn finish(&mut self);

    /// Takes in what other CPUs sent. Whether `run` comes back.
    fn take_in(&mut self, mail: Mail) -> bool;
    /// Decides what the next entry injects.
    ///
    /// # Errors
    /// What the VMM is told instead.
    fn plan(&mut self) -> core::result::Result<Option<Event>, VmExit>;
    /// Makes the guest exit after so many counts of the host's time-stamp counter, or not. `false`: the CPU has no timer for it.
    fn exit_after(&mut self, ticks: Option<u64>) -> bool;
    /// Enters the guest and answers its exit. The time is `time` for all of the answer, or what it is.
    fn step(&mut self, injected: Option<Event>, stop: Option<Stop>, time: Option<u64>) -> Step;
    /// Whether a string instruction with a repeat prefix is next.
    fn repeats(&mut self) -> bool;

    fn place(&mut self) -> Place;
    fn set_resume(&mut self, on: bool);
    /// What [`Vcpu::system`](crate::Vcpu::system) says.
    ///
    /// # Errors
    /// As it has.
    fn system_registers(&mut self) -> Result<SystemRegisters>;

    /// The hash of the guest's state.
    fn state(&mut self) -> u64 {
        let mut hasher = Hasher::new();
        if let Ok(system) = self.system_registers() {
            hash_registers(&self.guest().registers, &system, &mut hasher);
        }
        hasher.value()
    }
}

/// [`Engine::repeats`] of a vCPU that is where `cpu` says.
pub(crate) fn repeats<S: FrameSource, C: Cpu>(guest: &GuestState<S>, cpu: &C) -> bool {
    let size = cpu.code_size();
    let code = CodeAddress { linear: size.linear(cpu.base(SegmentRegister::Cs), cpu.rip()), size };
    let Some(mut memory) = guest.memory::<C>() else { return false };
    let bytes = InstructionBytes::fetch(&mut memory, &cpu.paging(), code);
    bytes.is_ok_and(|bytes| is_repeated_string(bytes.as_slice(), size))
}

/// DR7 and DR0 to DR3 with a breakpoint of the library's on an instruction beside the guest's own; `None` when the guest uses
/// all four.
pub(crate) fn with_breakpoint(guest: &DebugRegisters, linear: u64) -> Option<(Dr7, [u64; 4])> {
    let dr7 = guest.hardware_dr7();
    let mut addresses = guest.addresses();
    let slots = [
        (Dr7::L0.with(Dr7::G0), Dr7::L0),
        (Dr7::L1.with(Dr7::G1), Dr7::L1),
        (Dr7::L2.with(Dr7::G2), Dr7::L2),
        (Dr7::L3.with(Dr7::G3), Dr7::L3),
    ];
    let free =
        slots.into_iter().enumerate().zip(&mut addresses).find(|((_, (enables, _)), _)| !dr7.intersects(*enables));
    let ((number, (_, enable)), address) = free?;
    *address = linear;
    let (condition, length) = (BreakpointCondition::EXECUTION, BreakpointLength::BYTES_1);
    let dr7 = dr7.with(enable);
    let dr7 = match number {
        0 => dr7.with_rw0(condition).with_len0(length),
        1 => dr7.with_rw1(condition).with_len1(length),
        2 => dr7.with_rw2(condition).with_len2(length),
        _ => dr7.with_rw3(condition).with_len3(length),
    };
    Some((dr7, addresses))
}
