//! A VMCS field as a typed constant.

use core::fmt;
use core::marker::PhantomData;

use super::FieldInfo;
use super::intel::conditions::AllowedControls;

/// A VMCS field that holds a `T`.
///
/// `A` says whether it may be written: [`ReadWrite`] or [`ExitInfo`]. `C` says which CPUs have it: [`Always`], or
/// [`If`] with a [`Condition`].
pub struct Field<T, A, C = Always> {
    encoding: u32,
    marker: PhantomData<(T, A, C)>,
}

// By hand: derived ones would ask the same of the types that only mark it.
impl<T, A, C> Clone for Field<T, A, C> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, A, C> Copy for Field<T, A, C> {}

impl<T, A, C> fmt::Debug for Field<T, A, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Field({:#x})", self.encoding)
    }
}

impl<T, A, C> Field<T, A, C> {
    /// The field with this encoding. The generated constants are all there are, hence not for others.
    pub(crate) const fn new(encoding: u32) -> Self {
        Field { encoding, marker: PhantomData }
    }

    /// What VMREAD and VMWRITE take.
    #[inline(always)]
    pub const fn encoding(self) -> u32 {
        self.encoding
    }

    /// The field without its types, for a table of all.
    pub(crate) const fn info(&self, name: &'static str) -> FieldInfo
    where
        A: Access,
        C: Presence,
    {
        FieldInfo::new(name, self.encoding, A::WRITABLE, C::holds)
    }
}

/// A field that VMWRITE may change.
#[derive(Clone, Copy, Debug)]
pub struct ReadWrite;

/// A VM-exit information field, which VMWRITE may not change.
#[derive(Clone, Copy, Debug)]
pub struct ExitInfo;

/// Whether VMWRITE may change a field.
pub trait Access {
    /// Whether it may.
    const WRITABLE: bool;
}

impl Access for ReadWrite {
    const WRITABLE: bool = true;
}

impl Access for ExitInfo {
    const WRITABLE: bool = false;
}

/// The access of fields that VMWRITE may change.
#[diagnostic::on_unimplemented(
    message = "VM-exit information is read-only",
    label = "the CPU writes this VMCS field, VMWRITE may not",
    note = "fields of type `Field<_, ReadWrite, _>` can be written"
)]
pub trait Writable: Access {}

impl Writable for ReadWrite {}

/// A field that every CPU with VMX has.
#[derive(Clone, Copy, Debug)]
pub struct Always;

/// A field that a CPU has if [`Condition`] `C` holds.
pub struct If<C>(PhantomData<C>);

impl<C> Clone for If<C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for If<C> {}

/// Controls that a CPU must allow to be 1 for a field to exist.
pub trait Condition {
    /// Whether a CPU that allows these controls to be 1 has such fields.
    fn holds(allowed: &AllowedControls) -> bool;
}

/// Which CPUs have a field: [`Always`] or [`If`].
pub trait Presence {
    /// Whether a CPU that allows these controls to be 1 has the field.
    fn holds(allowed: &AllowedControls) -> bool;
}

impl Presence for Always {
    fn holds(_: &AllowedControls) -> bool {
        true
    }
}

impl<C: Condition> Presence for If<C> {
    fn holds(allowed: &AllowedControls) -> bool {
        C::holds(allowed)
    }
}

/// The presence of fields that need no witness.
#[diagnostic::on_unimplemented(
    message = "not every CPU has this VMCS field",
    label = "accessing it needs a witness that this CPU does: `{Self}`",
    note = "`if let Some(witness) = vmcs.has() {{ vmcs.read_if(FIELD, witness) }}`; likewise `write_if`, `try_write_if`"
)]
pub trait OnEveryCpu: Presence {}

impl OnEveryCpu for Always {}

/// A value that a VMCS field can hold.
pub trait FieldValue: Copy {
    /// Its width in bits.
    const BITS: u32;

    /// The value that VMREAD gave.
    fn from_raw(raw: u64) -> Self;

    /// The value for VMWRITE.
    fn into_raw(self) -> u64;
}

macro_rules! integers {
    ($($int:ident)*) => { $(
        impl FieldValue for $int {
            const BITS: u32 = $int::BITS;

            #[inline(always)]
            fn from_raw(raw: u64) -> Self {
                raw as $int
            }

            #[inline(always)]
            fn into_raw(self) -> u64 {
                self as u64
            }
        }
    )* };
}

integers!(u16 u32 u64);

/// A value that can be written to a field of type `T`: a `T`, and nothing else.
#[diagnostic::on_unimplemented(
    message = "this VMCS field holds `{T}`, not `{Self}`",
    label = "expected `{T}`",
    note = "a value of the wrong width or kind is never converted silently"
)]
pub trait Holds<T: FieldValue>: Copy {
    /// The value.
    fn into_field(self) -> T;
}

impl<T: FieldValue> Holds<T> for T {
    #[inline(always)]
    fn into_field(self) -> T {
        self
    }
}
