//! The whole architectural state of a vCPU as one value: [`State`].
//!
//! The same words for VMX and SVM, so that what was saved on one may go on on the other. `docs/state.md` in the repository
//! says what is in it, what is not, and how a VMM moves a guest with it.

mod extended;
mod format;
mod item;
mod of_guest;
mod parts;
mod print;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use self::format::mend_checksum;
#[cfg(any(feature = "vmx", feature = "amd"))]
pub(crate) use self::of_guest::Hardware;
pub use self::{
    extended::ExtendedRegisters,
    format::{FORMAT_MAJOR, FORMAT_MINOR, FormatError, MAX_ENCODED},
    item::Value,
    parts::{
        Activity, ApicState, DebugState, EmulatedMsr, EmulatedMsrs, EventState, InterruptShadow, MsrState, State,
        TimeState, Watched,
    },
    print::Difference,
};
