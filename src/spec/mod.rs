//! The hardware's numbers: what `spec/*.toml` becomes, and the types that the generated code builds on.
//!
//! Each file of tables is a module: `spec/intel/vmcs.toml` is [`intel::vmcs`]. The documentation of every item names
//! the table of the manual that it was taken from. `cargo spec generate --out DIR` writes the generated code to read.
//!
//! - A word with bits, such as `Cr0`, is a type of its own ([`Word64`] of its [`Layout`]) with a constant per single bit,
//!   a getter and a `with_` setter per range of bits, and [`bitflags::Flags`].
//! - Enumerations are open: a newtype with constants, since hardware may report what no table lists.
//! - A VMCS field is a [`Field`] that knows the type of its value, whether it may be written, and which controls a CPU
//!   must have to have it.
//! - An exit is decoded into a payload ([`intel::payloads`], [`amd::payloads`]) from which only that can be read which the
//!   processor reports on it ([`payload`]).
//! - [`control_set`] says which VMX controls ask for others, [`map`] what of VMX corresponds to what of SVM.

pub mod control_set;
mod field;
mod field_info;
mod meaning;
mod msr;
mod msr_rule;
mod open_enum;
pub mod payload;
mod state_place;
mod word;

pub use field::{
    Access, Always, Condition, ExitInfo, Field, FieldValue, Holds, If, OnEveryCpu, Presence, ReadWrite, Writable,
};
pub use field_info::{FieldInfo, Group, Width};
pub use meaning::Meaning;
pub use msr::Msr;
pub use msr_rule::{MsrAnswer, MsrRange, MsrRule};
pub(crate) use open_enum::open_enum;
pub use state_place::{StatePlace, VmcbMember, VmcbPlace};
pub use word::{Layout, Names, Word8, Word16, Word32, Word64};

include!(concat!(env!("OUT_DIR"), "/spec/mod.rs"));
