#![no_std]
//! A hypervisor for a CPU with fields that the library does not know: each is one entry in its tables.

#[cfg(feature = "layout")]
use x86_vcpu::spec::intel::conditions::EnableEpt;
use x86_vcpu::spec::intel::vmcs::EXAMPLE_CONTROL;
#[cfg(feature = "layout")]
use x86_vcpu::spec::intel::vmcs::{EXAMPLE_TYPED, Example};
use x86_vcpu::vmx::Vmcs;

// Built again when the table says another number.
const _: () = assert!(EXAMPLE_CONTROL.encoding() == 0x43fe);

/// The field is read and written in its width.
pub fn double(vmcs: &Vmcs) -> u32 {
    let value: u32 = vmcs.read(EXAMPLE_CONTROL);
    vmcs.write(EXAMPLE_CONTROL, value * 2);
    value
}

/// The field is there on CPUs with EPT, and holds a word with bits.
#[cfg(feature = "layout")]
pub fn level(vmcs: &Vmcs) -> Option<u8> {
    let witness = vmcs.has::<EnableEpt>()?;
    let value: Example = vmcs.read_if(EXAMPLE_TYPED, witness);
    vmcs.write_if(EXAMPLE_TYPED, value.with(Example::VALID).with_level(3), witness);
    Some(value.level())
}
