//! The exits that `run` gives to the VMM, as the log has them: a number for the kind, and a hash of what it says.

use super::hash::Hasher;
use crate::{
    exit::{Answer, NestedFault, VmExit},
    guest::apic::ApicMessage,
};

/// An interrupt of the host's: nothing of the guest's.
pub(super) const HOST: u8 = Answer::ExternalInterrupt as u8;

/// What [`decode_mmio`](crate::Vcpu::decode_mmio) gives when it fails.
pub(super) const ERROR: u8 = u8::MAX;

/// The name of a kind.
pub(super) fn name(kind: u8) -> &'static str {
    match Answer::numbered(kind) {
        _ if kind == ERROR => "an error",
        Answer::Other => "an exit that nobody knows",
        known => known.name(),
    }
}

/// The number of an exit's kind, and a hash of what it says.
pub(super) fn of(exit: &VmExit) -> (u8, u64) {
    let mut hasher = Hasher::new();
    let mut all = |numbers: &[u64]| numbers.iter().for_each(|number| hasher.number(*number));
    match exit {
        VmExit::IoRead { port, width } => all(&[u64::from(*port), *width as u64]),
        VmExit::IoWrite { port, width, data } => all(&[u64::from(*port), *width as u64, u64::from(*data)]),
        VmExit::MsrRead { msr } => all(&[u64::from(*msr)]),
        VmExit::MsrWrite { msr, value } => all(&[u64::from(*msr), *value]),
        VmExit::MmioRead { gpa, width, .. } => all(&[*gpa, *width as u64]),
        VmExit::MmioWrite { gpa, width, data } => all(&[*gpa, *width as u64, *data]),
        // How the page is mapped meanwhile is the host's business.
        VmExit::NestedPageFault(NestedFault { gpa, access, .. }) => {
            all(&[*gpa, u64::from(access.read), u64::from(access.write), u64::from(access.fetch)])
        }
        VmExit::Hypercall { nr } => all(&[*nr]),
        VmExit::EndOfInterrupt { vector } => all(&[u64::from(*vector)]),
        VmExit::Ipi(ApicMessage { vector, .. }) => all(&[u64::from(*vector)]),
        VmExit::EntryFailure(failure) => {
            all(&[failure.code(), failure.qualification(), u64::from(failure.instruction_error())])
        }
        VmExit::Unhandled(unhandled) => all(&[unhandled.code, unhandled.info1, unhandled.info2]),
        VmExit::NestedMisconfiguration(_)
        | VmExit::InterruptWindow
        | VmExit::Halt
        | VmExit::ExternalInterrupt { .. }
        | VmExit::WaitForStartup
        | VmExit::TimeSlice
        | VmExit::Shutdown
        | VmExit::Nothing
        | VmExit::Interrupted => {}
    }
    (exit.answer() as u8, hasher.value())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_names() {
        assert_eq!((name(of(&VmExit::Halt).0), name(HOST), name(ERROR)), ("Halt", "ExternalInterrupt", "an error"));
        assert_eq!((name(of(&VmExit::Nothing).0), name(99)), ("Nothing", "an exit that nobody knows"));
    }
}
