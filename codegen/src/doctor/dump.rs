//! What was read of a log: dumps, each with its values.

use std::collections::BTreeMap;

use crate::model::Vendor;

use super::Capabilities;

/// Who printed a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `x86_vcpu`
    Own,
    /// Linux: `dump_vmcs()`, `dump_vmcb()`.
    Kvm,
    /// Xen.
    Xen,
    /// Lines with names and values.
    Plain,
}

impl Source {
    /// In a sentence: "a dump of …".
    pub fn name(self) -> &'static str {
        match self {
            Source::Own => "x86_vcpu",
            Source::Kvm => "KVM",
            Source::Xen => "Xen",
            Source::Plain => "lines of names and values",
        }
    }
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Bits that nobody printed are 0.
    pub value: u64,
    /// The bits that were printed.
    pub known: u64,
    /// The line of the first of them, counted from 1.
    pub line: usize,
    /// What the program said of it: `autoload`.
    pub remark: Option<String>,
}

/// An entry of the MSR area that a VM entry loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadedMsr {
    /// The line.
    pub line: usize,
    /// The register's number, and above it the reserved bits 63:32.
    pub register: u64,
    /// Its value.
    pub value: u64,
}

/// Something about a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Counted from 1.
    pub line: usize,
    /// The line, or what is wrong with it.
    pub text: String,
}

/// A VMCS or a VMCB, as far as it was printed.
#[derive(Clone, Debug)]
pub struct Dump {
    /// Who printed it.
    pub source: Source,
    /// Intel for a VMCS, AMD for a VMCB; nothing when its names do not tell.
    pub vendor: Option<Vendor>,
    /// The first and the last line that is of it.
    pub lines: (usize, usize),
    /// What the log says of it: which vCPU, which CPU.
    pub about: Vec<String>,
    /// By the names that rules use: `GUEST_RIP`, `save.RIP`.
    pub values: BTreeMap<String, Value>,
    /// The MSRs that the entry loads, by their places in the area, the first of which is 0.
    pub msrs: BTreeMap<u64, LoadedMsr>,
    /// What it says of the CPU.
    pub capabilities: Capabilities,
    /// What the log says of the entry that failed, with its line: an exit reason, an exit code or a VM-instruction error.
    pub failure: Option<(usize, u64)>,
    /// Lines that mean nothing known.
    pub unknown: Vec<Note>,
    /// Values that do not fit, or contradict others.
    pub problems: Vec<Note>,
    /// Fields that every dump of this program has, and this one has not: a part of it is lost.
    pub missing: Vec<&'static str>,
    /// The entries of an MSR area that follow are those that a VM entry loads.
    pub(super) in_area: bool,
}

impl Dump {
    pub(super) fn new(source: Source, vendor: Option<Vendor>, line: usize) -> Self {
        Dump {
            source,
            vendor,
            lines: (line, line),
            about: Vec::new(),
            values: BTreeMap::new(),
            msrs: BTreeMap::new(),
            capabilities: Capabilities::default(),
            failure: None,
            unknown: Vec::new(),
            problems: Vec::new(),
            missing: Vec::new(),
            in_area: false,
        }
    }

    /// The value of a field, if it was printed.
    pub fn value(&self, name: &str) -> Option<u64> {
        self.values.get(name).map(|value| value.value)
    }

    /// Takes an entry of the MSR area, if it is one.
    pub(super) fn msr(&mut self, line: usize, place: &str, register: Option<u64>, value: Option<u64>) -> bool {
        let (Ok(place), Some(register), Some(value)) = (place.trim().parse::<u64>(), register, value) else {
            return false;
        };
        let new = LoadedMsr { line, register, value };
        match self.msrs.get(&place) {
            Some(old) if (old.register, old.value) != (register, value) => {
                let text =
                    format!("entry {place} of the MSR area is not that of line {}: the first one counts", old.line);
                self.problem(line, text);
            }
            Some(_) => {}
            None => _ = self.msrs.insert(place, new),
        }
        true
    }

    pub(super) fn problem(&mut self, line: usize, text: impl Into<String>) {
        self.problems.push(Note { line, text: text.into() });
    }
}

/// What a file holds.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// In their order.
    pub dumps: Vec<Dump>,
    /// What it says of the CPU outside of dumps.
    pub capabilities: Capabilities,
    /// How many lines are outside of all dumps, and were not looked at.
    pub outside: usize,
    /// Lines of a file without dumps that mean nothing known.
    pub unknown: Vec<Note>,
    /// The first line of a list of the guest's registers as QEMU prints it, which is no dump: the VMCS or VMCB may have other
    /// values in the fields of the same names, and has more.
    pub registers: Option<usize>,
}
