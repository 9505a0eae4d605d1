//! What is known on an exit: a [`Payload`] per kind of exit, from which nothing can be read that the processor did not report.
//!
//! The kinds are generated, in `intel::payloads` and `amd::payloads`; so are the implementations of the traits here, from
//! the information keys of each `[[exit]]`.

use core::fmt;
use core::marker::PhantomData;

use super::FieldValue;
use super::amd::exits::ExitCode;
use super::intel::exits::ExitReason;

/// An exit of kind `K`; what is known on it is read from `S` when asked for.
pub struct Payload<S, K> {
    source: S,
    kind: PhantomData<K>,
}

impl<S, K> Payload<S, K> {
    /// For an exit that is of this kind.
    #[inline(always)]
    pub(crate) const fn new(source: S) -> Self {
        Payload { source, kind: PhantomData }
    }

    /// Where it is read from.
    #[inline(always)]
    pub const fn source(&self) -> &S {
        &self.source
    }
}

impl<S: Clone, K> Clone for Payload<S, K> {
    #[inline(always)]
    fn clone(&self) -> Self {
        Payload::new(self.source.clone())
    }
}

impl<S: Copy, K> Copy for Payload<S, K> {}

impl<S: fmt::Debug, K> fmt::Debug for Payload<S, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

/// A kind of VMX exit.
pub trait VmxKind {
    /// Its basic exit reasons.
    const NUMBERS: &'static [ExitReason];
}

/// A kind of SVM exit.
pub trait SvmKind {
    /// Its exit codes.
    const NUMBERS: &'static [ExitCode];
}

macro_rules! known {
    ($($(#[$doc:meta])* $name:ident $(= $value:ident)? { $message:literal })*) => { $(
        $(#[$doc])*
        #[diagnostic::on_unimplemented(
            message = $message,
            label = "not on an exit of kind `{Self}`",
            note = "the information keys of the `[[exit]]` in the spec say what is known on it"
        )]
        pub trait $name {
            $(
                /// The type of the value.
                type $value: FieldValue;
            )?
        }
    )* };
}

known! {
    /// The exit qualification is valid. SDM volume 3, "Basic VM-Exit Information".
    HasQualification = Value { "on this exit there is no exit qualification" }
    /// The guest-linear address is valid.
    HasGuestLinearAddress { "on this exit there is no guest-linear address" }
    /// The guest-physical address is valid.
    HasGuestPhysicalAddress { "on this exit there is no guest-physical address" }
    /// The VM-exit instruction length is valid.
    HasInstructionLength { "on this exit there is no instruction length" }
    /// The VM-exit instruction information is valid.
    HasInstructionInformation = Value { "on this exit there is no instruction information" }
    /// The VM-exit interruption information and error code are valid. SDM volume 3, "Information for VM Exits Due to
    /// Vectored Events".
    HasInterruptionInformation { "this exit is not due to a vectored event" }
    /// The exit can hit the delivery of an event. SDM volume 3, "Information for VM Exits That Occur During Event Delivery".
    HasIdtVectoring { "this exit does not hit the delivery of an event" }
    /// I/O RCX, RSI, RDI and RIP are valid. SDM volume 3, "Information for VM Exits Due to Instruction Execution".
    HasIoState { "on this exit there is no state of an I/O instruction" }
    /// EXITINFO1 is valid.
    HasExitInfo1 = Value { "on this exit EXITINFO1 says nothing" }
    /// EXITINFO2 is valid.
    HasExitInfo2 = Value { "on this exit EXITINFO2 says nothing" }
    /// nRIP is valid, on CPUs that save it.
    HasNextRip { "on this exit the processor does not save the address of the next instruction" }
    /// The bytes of the instruction are valid, on CPUs with decode assists.
    HasInstructionBytes { "on this exit the processor does not save the bytes of the instruction" }
}

/// EXITINFO1 and EXITINFO2 are valid on every CPU.
#[diagnostic::on_unimplemented(
    message = "not every CPU fills in EXITINFO1 and EXITINFO2 on this exit",
    label = "reading them needs a proof that this CPU does",
    note = "`exit_info1_if(proof)` with the [`Reported`] bit of CPUID"
)]
pub trait InfoAlways {}

/// EXITINFO1 and EXITINFO2 are valid on CPUs that report a bit of CPUID.
pub trait InfoIf {
    /// The bit.
    type Condition: CpuidBit;
}

/// A bit of CPUID that announces what an exit reports.
pub trait CpuidBit {
    /// The word of CPUID.
    type Word;

    /// Whether it is set.
    fn is_in(word: Self::Word) -> bool;
}

/// The proof that CPUID reports bit `C`.
pub struct Reported<C>(PhantomData<C>);

impl<C: CpuidBit> Reported<C> {
    /// The proof, if the bit is set in the word that CPUID gave.
    #[inline]
    pub fn by(word: C::Word) -> Option<Self> {
        C::is_in(word).then_some(Reported(PhantomData))
    }
}

impl<C> Clone for Reported<C> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Reported<C> {}

impl<C> fmt::Debug for Reported<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reported")
    }
}
