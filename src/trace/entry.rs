//! An exit as a VMM gets to see it.

use core::fmt;

use crate::{exit::VmExit, spec::intel::structures::InterruptionType};

/// What became of an exit. The numbers are those of traces that are kept in files: none ever changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
pub enum Answer {
    /// [`run`](crate::Vcpu::run) answered it, and the guest went on without the VMM.
    Inside = 0,
    /// `run` came back with [`VmExit::IoRead`].
    IoRead = 1,
    /// `run` came back with [`VmExit::IoWrite`].
    IoWrite = 2,
    /// `run` came back with [`VmExit::MsrRead`].
    MsrRead = 3,
    /// `run` came back with [`VmExit::MsrWrite`].
    MsrWrite = 4,
    /// [`decode_mmio`](crate::Vcpu::decode_mmio) found [`VmExit::MmioRead`].
    MmioRead = 5,
    /// [`decode_mmio`](crate::Vcpu::decode_mmio) found [`VmExit::MmioWrite`].
    MmioWrite = 6,
    /// `run` came back with [`VmExit::NestedPageFault`].
    NestedPageFault = 7,
    /// `run` came back with [`VmExit::NestedMisconfiguration`].
    NestedMisconfiguration = 8,
    /// `run` came back with [`VmExit::Hypercall`].
    Hypercall = 9,
    /// `run` came back with [`VmExit::InterruptWindow`].
    InterruptWindow = 10,
    /// `run` came back with [`VmExit::Halt`].
    Halt = 11,
    /// `run` came back with [`VmExit::ExternalInterrupt`].
    ExternalInterrupt = 12,
    /// `run` came back with [`VmExit::EndOfInterrupt`].
    EndOfInterrupt = 13,
    /// `run` came back with [`VmExit::Ipi`].
    Ipi = 14,
    /// `run` came back with [`VmExit::WaitForStartup`].
    WaitForStartup = 15,
    /// `run` came back with [`VmExit::TimeSlice`].
    TimeSlice = 16,
    /// `run` came back with [`VmExit::Shutdown`].
    Shutdown = 17,
    /// `run` came back with [`VmExit::EntryFailure`].
    EntryFailure = 18,
    /// `run` came back with [`VmExit::Interrupted`].
    Interrupted = 19,
    /// `run` came back with [`VmExit::Unhandled`].
    Unhandled = 20,
    /// `run` came back with what this list does not have.
    Other = 21,
}

impl Answer {
    const ALL: [(Self, &'static str); 22] = [
        (Self::Inside, "inside"),
        (Self::IoRead, "IoRead"),
        (Self::IoWrite, "IoWrite"),
        (Self::MsrRead, "MsrRead"),
        (Self::MsrWrite, "MsrWrite"),
        (Self::MmioRead, "MmioRead"),
        (Self::MmioWrite, "MmioWrite"),
        (Self::NestedPageFault, "NestedPageFault"),
        (Self::NestedMisconfiguration, "NestedMisconfiguration"),
        (Self::Hypercall, "Hypercall"),
        (Self::InterruptWindow, "InterruptWindow"),
        (Self::Halt, "Halt"),
        (Self::ExternalInterrupt, "ExternalInterrupt"),
        (Self::EndOfInterrupt, "EndOfInterrupt"),
        (Self::Ipi, "Ipi"),
        (Self::WaitForStartup, "WaitForStartup"),
        (Self::TimeSlice, "TimeSlice"),
        (Self::Shutdown, "Shutdown"),
        (Self::EntryFailure, "EntryFailure"),
        (Self::Interrupted, "Interrupted"),
        (Self::Unhandled, "Unhandled"),
        (Self::Other, "other"),
    ];

    pub(super) fn of(exit: &VmExit) -> Self {
        match exit {
            VmExit::IoRead { .. } => Self::IoRead,
            VmExit::IoWrite { .. } => Self::IoWrite,
            VmExit::MsrRead { .. } => Self::MsrRead,
            VmExit::MsrWrite { .. } => Self::MsrWrite,
            VmExit::MmioRead { .. } => Self::MmioRead,
            VmExit::MmioWrite { .. } => Self::MmioWrite,
            VmExit::NestedPageFault(_) => Self::NestedPageFault,
            VmExit::NestedMisconfiguration(_) => Self::NestedMisconfiguration,
            VmExit::Hypercall { .. } => Self::Hypercall,
            VmExit::InterruptWindow => Self::InterruptWindow,
            VmExit::Halt => Self::Halt,
            VmExit::ExternalInterrupt { .. } => Self::ExternalInterrupt,
            VmExit::EndOfInterrupt { .. } => Self::EndOfInterrupt,
            VmExit::Ipi(_) => Self::Ipi,
            VmExit::WaitForStartup => Self::WaitForStartup,
            VmExit::TimeSlice => Self::TimeSlice,
            VmExit::Shutdown => Self::Shutdown,
            VmExit::EntryFailure(_) => Self::EntryFailure,
            VmExit::Interrupted => Self::Interrupted,
            VmExit::Unhandled(_) => Self::Unhandled,
            VmExit::Nothing => Self::Other,
        }
    }

    pub(super) fn numbered(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).map_or(Self::Other, |(answer, _)| *answer)
    }

    /// `inside`, or the name of the [`VmExit`].
    pub fn name(self) -> &'static str {
        Self::ALL.get(usize::from(self as u8)).map_or("other", |(_, name)| name)
    }
}

/// How a vendor's exits are called.
pub(crate) struct Vocabulary {
    /// The exit-reason word or the exit code, from 32 bits of it.
    pub(crate) code: fn(u32) -> u64,
    /// The name of the exit with this code.
    pub(crate) name: fn(u64) -> Option<&'static str>,
    /// Writes what else is known of the exit, each part with a comma and a blank before it.
    pub(crate) details: fn(&TraceEntry, &mut fmt::Formatter<'_>) -> fmt::Result,
}

/// One exit of a guest: [`Vcpu::trace`](crate::Vcpu::trace).
///
/// Printed it is a line with the exit's name and its information in words. All times are of the host's time-stamp counter:
/// instructions in emulators that count those.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct TraceEntry {
    /// How many exits were recorded before it.
    pub number: u64,
    /// VMX: the exit-reason word, with its flags. SVM: the exit code.
    pub code: u64,
    /// The guest's RIP: of the instruction that exited, or of the next one after an exit between two.
    pub rip: u64,
    /// VMX: the exit qualification, 0 where the exit has none. SVM: EXITINFO1.
    pub info1: u64,
    /// VMX: the guest-physical address, or the interruption information (its error code in the upper half), where the exit has
    /// one of them; else 0. SVM: EXITINFO2.
    pub info2: u64,
    /// The guest's EAX at the exit: the leaf of CPUID, what OUT and WRMSR write, the number of a hypercall.
    pub eax: u32,
    /// The guest's ECX at the exit: the subleaf of CPUID, the number of a model-specific register.
    pub ecx: u32,
    /// The time-stamp counter right before the entry that this exit ended.
    pub entered: u64,
    /// The time-stamp counter right after the exit.
    pub exited: u64,
    /// What the host executed between this exit and the next entry, the VMM included; of the last exit it is not known yet.
    pub host: Option<u64>,
    /// What became of it.
    pub answer: Answer,
    /// What the instruction read or wrote, as far as it was noted: IN, OUT, RDMSR, WRMSR and accesses to devices.
    pub value: Option<u64>,
    /// The type and the vector of the event that the entry after it injected, if one did. Interrupts that a CPU delivers by
    /// itself from a virtual-APIC page are not seen.
    pub injected: Option<(InterruptionType, u8)>,
    pub(super) vocabulary: &'static Vocabulary,
}

impl TraceEntry {
    /// The exit's name in the tables of `spec/`, if they have it.
    pub fn name(&self) -> Option<&'static str> {
        (self.vocabulary.name)(self.code)
    }

    /// What was executed from the entry to the exit: all of the guest's, and the last and first steps of the library's.
    pub fn guest(&self) -> u64 {
        self.exited.saturating_sub(self.entered)
    }
}

impl fmt::Display for TraceEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} ", self.number)?;
        match self.name() {
            Some(name) => f.write_str(name)?,
            None => write!(f, "exit {:#x}", self.code)?,
        }
        write!(f, " at {:#x}", self.rip)?;
        (self.vocabulary.details)(self, f)?;
        write!(f, "; guest {}", self.guest())?;
        if let Some(host) = self.host {
            write!(f, ", host {host}")?;
        }
        write!(f, "; {}", self.answer.name())?;
        if let Some(value) = self.value {
            write!(f, ", value {value:#x}")?;
        }
        if let Some((kind, vector)) = self.injected {
            write!(f, "; injects {kind:?} {vector:#x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for TraceEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
