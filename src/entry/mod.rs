//! What a processor checks before it enters a guest, as rules that can be asked.
//!
//! A VM entry that fails says little: an error number, an exit reason, on AMD a single code. The tables
//! `spec/intel/entry_checks.toml` and `spec/amd/entry_checks.toml` have the rules that the manuals give; each is an
//! [`EntryCheck`] of [`spec::intel::entry_checks`](crate::spec::intel::entry_checks) or
//! [`spec::amd::entry_checks`](crate::spec::amd::entry_checks), and `check` there tells which of them a state breaks:
//!
//! ```
//! use x86_vcpu::entry::{EntryCapabilities, EntryState};
//!
//! /// A VMCS in which every field is 0.
//! struct Empty;
//! impl EntryState for Empty {
//!     fn field(&self, _number: u32, _bytes: u32) -> Option<u64> { Some(0) }
//!     fn memory(&self, _address: u64, _bytes: u32) -> Option<u64> { None }
//! }
//!
//! /// A CPU of which nothing is known.
//! struct Unknown;
//! impl EntryCapabilities for Unknown {
//!     fn msr(&self, _address: u32) -> Option<u64> { None }
//!     fn cpuid(&self, _leaf: u32, _subleaf: u32) -> Option<[u32; 4]> { None }
//! }
//!
//! for violation in x86_vcpu::spec::intel::entry_checks::check(&Empty, &Unknown) {
//!     println!("{violation}");
//! }
//! ```
//!
//! Nothing here allocates, panics or touches hardware: values come from the two traits. What they do not know, no rule is
//! judged by: a rule that needs it is neither broken nor kept.

mod check;
mod context;
#[cfg(test)]
pub(crate) mod mock;
mod violation;
mod violations;

#[cfg(test)]
mod tests;

#[cfg_attr(not(feature = "vmx"), allow(unused_imports, reason = "VMX alone has MSR areas"))]
pub(crate) use check::{ENTRIES, ENTRY};
pub use check::{EntryCheck, EntryField, EntryPhase, EntrySeverity};
#[allow(unused_imports, reason = "only rules of the tables use it, and a spec may do without")]
pub(crate) use context::{Context, canonical, shift_left, shift_right};
pub use violation::Violation;
pub use violations::Violations;

/// What is to be entered: a VMCS or a VMCB, and the memory that it points at.
pub trait EntryState {
    /// A value of so many bytes: of VMX the field with this encoding, of SVM what is at this offset of the VMCB (the state
    /// save area starts at 400H). Nothing if it is not known, or the CPU has no such field.
    fn field(&self, number: u32, bytes: u32) -> Option<u64>;

    /// Physical memory of the host: 1, 4 or 8 bytes, little-endian. Nothing if it cannot be read. The address comes from
    /// fields, and may be anything.
    fn memory(&self, address: u64, bytes: u32) -> Option<u64>;

    /// The physical address of the VMCS that is to be entered, if it is known. Some rules of VMX ask for it.
    fn current_vmcs(&self) -> Option<u64> {
        None
    }
}

/// The CPU that is to enter.
pub trait EntryCapabilities {
    /// The value of an MSR, such as the ones with the capabilities of VMX. Nothing if it is not known or not there.
    fn msr(&self, address: u32) -> Option<u64>;

    /// EAX, EBX, ECX and EDX of a leaf and subleaf of CPUID. Nothing if they are not known.
    fn cpuid(&self, leaf: u32, subleaf: u32) -> Option<[u32; 4]>;
}
