//! An exit has what the processor reports on it, and nothing else.

use x86_vcpu::spec::{
    intel::payloads::{Cpuid, EptViolation, IoInstruction},
    payload::Payload,
};
use x86_vcpu::vmx::Vmcs;

fn on_io(exit: Payload<&Vmcs<'_>, IoInstruction>) -> u16 {
    exit.qualification().port()
}

fn on_cpuid(exit: Payload<&Vmcs<'_>, Cpuid>) -> u64 {
    exit.guest_physical_address()
}

fn on_violation(exit: Payload<&Vmcs<'_>, EptViolation>) {
    exit.instruction_information();
}

fn main() {}
