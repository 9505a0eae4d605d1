//! The VMCS that is loaded on this CPU.

use core::marker::PhantomData;

use super::fail::VmFail;
use crate::spec::intel::conditions::AllowedControls;
use crate::spec::{Access, Condition, Field, FieldValue, Holds, If, OnEveryCpu, Writable};

mod fake;
mod hardware;

pub use fake::MapBackend;
pub use hardware::Hardware;

/// Where the fields of a loaded VMCS are: in the CPU, or in a map for tests.
pub trait Backend {
    /// The field's value; of a field that is not there some number.
    fn read(&self, encoding: u32) -> u64;

    /// Reads the field, or says why not.
    fn try_read(&self, encoding: u32) -> Result<u64, VmFail>;

    /// Writes the field, where that cannot fail: the field exists and is writable.
    fn write(&self, encoding: u32, value: u64);

    /// Writes the field, or says why not.
    fn try_write(&self, encoding: u32, value: u64) -> Result<(), VmFail>;
}

/// Where the library's own code expects the fields; in the unit tests the handlers run on a map.
#[cfg(not(test))]
type Current = Hardware;
#[cfg(test)]
type Current = MapBackend;

/// The VMCS that is current on this CPU.
///
/// Only loading a VMCS gives one. It belongs to the CPU that it was given on: it is neither [`Send`] nor [`Sync`], and
/// `'a` ends before another VMCS is loaded.
pub struct Vmcs<'a, B: Backend = Current> {
    backend: B,
    allowed: &'a AllowedControls,
    _this_cpu: ThisCpu,
}

/// What stays on its CPU: another has another current VMCS, and may lack some fields. An array of no pointers, since
/// pointers are neither `Send` nor `Sync`.
#[derive(Clone, Copy)]
struct ThisCpu([*const (); 0]);

/// The proof that this CPU has the fields of condition `C`: what [`Vmcs::has`] gives, for as long as the VMCS is loaded.
pub struct Witness<'v, C> {
    granted: PhantomData<(&'v (), C)>,
    _this_cpu: ThisCpu,
}

impl<C> Clone for Witness<'_, C> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Witness<'_, C> {}

impl<'a> Vmcs<'a, Hardware> {
    /// The handle to the VMCS that is current on this CPU.
    ///
    /// # Safety
    ///
    /// For all of `'a` this CPU is in VMX operation, the code stays on this CPU, the VMCS of the caller is current and
    /// active, and `allowed` are the controls that this CPU's capability MSRs allow to be 1. The fields of the VMCS are
    /// the caller's to change: what a VM entry then does is its responsibility.
    #[inline(always)]
    pub unsafe fn assume_current(allowed: &'a AllowedControls) -> Self {
        // SAFETY: the caller vouches for VMX operation and a current VMCS.
        Vmcs::with_backend(unsafe { Hardware::assume_current() }, allowed)
    }
}

impl<'a, B: Backend> Vmcs<'a, B> {
    /// A handle to fields somewhere else.
    #[inline(always)]
    pub fn with_backend(backend: B, allowed: &'a AllowedControls) -> Self {
        Vmcs { backend, allowed, _this_cpu: ThisCpu([]) }
    }

    /// The controls that this CPU allows to be 1.
    #[inline(always)]
    pub fn allowed(&self) -> &'a AllowedControls {
        self.allowed
    }

    /// Where the fields are.
    #[inline(always)]
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Reads a field that every CPU has.
    #[inline(always)]
    pub fn read<T: FieldValue, A: Access, C: OnEveryCpu>(&self, field: Field<T, A, C>) -> T {
        T::from_raw(self.backend.read(field.encoding()))
    }

    /// Writes a field that every CPU has.
    #[inline(always)]
    pub fn write<T: FieldValue, A: Writable, C: OnEveryCpu>(&self, field: Field<T, A, C>, value: impl Holds<T>) {
        self.backend.write(field.encoding(), value.into_field().into_raw());
    }

    /// Writes a field that every CPU has, and checks that the CPU took it.
    #[inline(always)]
    pub fn try_write<T: FieldValue, A: Writable, C: OnEveryCpu>(
        &self,
        field: Field<T, A, C>,
        value: impl Holds<T>,
    ) -> Result<(), VmFail> {
        self.backend.try_write(field.encoding(), value.into_field().into_raw())
    }

    /// Whether this CPU has the fields of condition `C`, with the proof if it has.
    #[inline(always)]
    pub fn has<C: Condition>(&self) -> Option<Witness<'_, C>> {
        let witness = Witness { granted: PhantomData, _this_cpu: ThisCpu([]) };
        C::holds(self.allowed).then_some(witness)
    }

    /// Reads a field that this CPU has.
    #[inline(always)]
    pub fn read_if<'v, T: FieldValue, A: Access, C: Condition>(
        &'v self,
        field: Field<T, A, If<C>>,
        _: Witness<'v, C>,
    ) -> T {
        T::from_raw(self.backend.read(field.encoding()))
    }

    /// Writes a field that this CPU has.
    #[inline(always)]
    pub fn write_if<'v, T: FieldValue, A: Writable, C: Condition>(
        &'v self,
        field: Field<T, A, If<C>>,
        value: impl Holds<T>,
        _: Witness<'v, C>,
    ) {
        self.backend.write(field.encoding(), value.into_field().into_raw());
    }

    /// Writes a field that this CPU has, and checks that the CPU took it.
    #[inline(always)]
    pub fn try_write_if<'v, T: FieldValue, A: Writable, C: Condition>(
        &'v self,
        field: Field<T, A, If<C>>,
        value: impl Holds<T>,
        _: Witness<'v, C>,
    ) -> Result<(), VmFail> {
        self.backend.try_write(field.encoding(), value.into_field().into_raw())
    }
}

#[cfg(test)]
mod tests;
