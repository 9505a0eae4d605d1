//! The exits that `run` gives to the VMM, as the log has them: a number for the kind, and a hash of what it says.

use super::hash::Hasher;
use crate::{
    exit::{NestedFault, VmExit},
    guest::apic::ApicMessage,
};

/// An interrupt of the host's: nothing of the guest's.
pub(super) const HOST: u8 = 12;

/// The kinds' names, by their numbers.
const NAMES: [&str; 23] = [
    "nothing",
    "IoRead",
    "IoWrite",
    "MsrRead",
    "MsrWrite",
    "MmioRead",
    "MmioWrite",
    "NestedPageFault",
    "NestedMisconfiguration",
    "Hypercall",
    "InterruptWindow",
    "Halt",
    "ExternalInterrupt",
    "EndOfInterrupt",
    "Ipi",
    "WaitForStartup",
    "TimeSlice",
    "Shutdown",
    "EntryFailure",
    "Nothing",
    "Interrupted",
    "Unhandled",
    "an error",
];

/// What [`decode_mmio`](crate::Vcpu::decode_mmio) gives when it fails.
pub(super) const ERROR: u8 = 22;

/// The name of a kind.
pub(super) fn name(kind: u8) -> &'static str {
    NAMES.get(usize::from(kind)).copied().unwrap_or("an exit that nobody knows")
}

/// The number of an exit's kind, and a hash of what it says.
pub(super) fn of(exit: &VmExit) -> (u8, u64) {
    let mut hasher = Hasher::new();
    let mut all = |numbers: &[u64]| numbers.iter().for_each(|number| hasher.number(*number));
    let kind = match exit {
        VmExit::IoRead { port, width } => {
            all(&[u64::from(*port), *width as u64]);
            1
        }
        VmExit::IoWrite { port, width, data } => {
            all(&[u64::from(*port), *width as u64, u64::from(*data)]);
            2
        }
        VmExit::MsrRead { msr } => {
            all(&[u64::from(*msr)]);
            3
        }
        VmExit::MsrWrite { msr, value } => {
            all(&[u64::from(*msr), *value]);
            4
        }
        VmExit::MmioRead { gpa, width, .. } => {
            all(&[*gpa, *width as u64]);
            5
        }
        VmExit::MmioWrite { gpa, width, data } => {
            all(&[*gpa, *width as u64, *data]);
            6
        }
        // How the page is mapped meanwhile is the host's business.
        VmExit::NestedPageFault(NestedFault { gpa, access, .. }) => {
            all(&[*gpa, u64::from(access.read), u64::from(access.write), u64::from(access.fetch)]);
            7
        }
        VmExit::NestedMisconfiguration(_) => 8,
        VmExit::Hypercall { nr } => {
            all(&[*nr]);
            9
        }
        VmExit::InterruptWindow => 10,
        VmExit::Halt => 11,
        VmExit::ExternalInterrupt { .. } => HOST,
        VmExit::EndOfInterrupt { vector } => {
            all(&[u64::from(*vector)]);
            13
        }
        VmExit::Ipi(ApicMessage { vector, .. }) => {
            all(&[u64::from(*vector)]);
            14
        }
        VmExit::WaitForStartup => 15,
        VmExit::TimeSlice => 16,
        VmExit::Shutdown => 17,
        VmExit::EntryFailure(failure) => {
            all(&[failure.code(), failure.qualification(), u64::from(failure.instruction_error())]);
            18
        }
        VmExit::Nothing => 19,
        VmExit::Interrupted => 20,
        VmExit::Unhandled(unhandled) => {
            all(&[unhandled.code, unhandled.info1, unhandled.info2]);
            21
        }
    };
    (kind, hasher.value())
}
