//! An exit as a VMM gets to see it.

use core::fmt;

use crate::{exit::Answer, spec::intel::structures::InterruptionType};

/// How a vendor's exits are called.
pub(crate) struct Vocabulary {
    /// The exit-reason word or the exit code, from 32 bits of it.
    pub(crate) code: fn(u32) -> u64,
    /// The name of the exit with this code.
    pub(crate) name: fn(u64) -> Option<&'static str>,
    /// Whether such an exit fills in the first and the second word of information.
    pub(crate) has_information: fn(u64) -> [bool; 2],
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
    /// VMX: the exit qualification. SVM: EXITINFO1. 0 where the exit has none.
    pub info1: u64,
    /// VMX: the guest-physical address, or the interruption information (its error code in the upper half), where the exit has
    /// one of them; else 0. SVM: EXITINFO2, or 0 where the exit has none.
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
