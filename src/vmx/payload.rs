//! What a VM exit reports, read from the VMCS on demand: SDM volume 3, chapter "VM Exits", "Recording VM-Exit Information and
//! Updating VM-Entry Control Fields".

use super::loaded::{Backend, Vmcs};
use crate::spec::{
    Field, FieldValue,
    intel::{
        structures::{ExitInterruptionInformation, IdtVectoringInformation},
        vmcs::*,
    },
    payload::{
        HasGuestLinearAddress, HasGuestPhysicalAddress, HasIdtVectoring, HasInstructionInformation,
        HasInstructionLength, HasInterruptionInformation, HasIoState, HasQualification, Payload,
    },
};

/// An event that an exit reports, and the error code that belongs to it if the information says so.
#[derive(Clone, Copy, Debug)]
pub struct Vectored<I> {
    /// The interruption information or the IDT-vectoring information.
    pub information: I,
    /// The error code.
    pub error_code: Option<u32>,
}

impl Vectored<IdtVectoringInformation> {
    /// The event whose delivery the last exit interrupted, if it interrupted one.
    #[inline(always)]
    pub(super) fn from_idt_vectoring<B: Backend>(vmcs: &Vmcs<'_, B>) -> Option<Self> {
        let information = vmcs.read(IDT_VECTORING_INFORMATION);
        if !information.contains(IdtVectoringInformation::VALID) {
            return None;
        }
        let has_code = information.contains(IdtVectoringInformation::ERROR_CODE_VALID);
        Some(Vectored { information, error_code: has_code.then(|| vmcs.read(IDT_VECTORING_ERROR_CODE)) })
    }
}

/// An exit of kind `K`, as the handlers get it.
pub(super) type OnExit<'v, K> = Payload<&'v Vmcs<'v>, K>;

impl<K, B: Backend> Payload<&Vmcs<'_, B>, K> {
    /// A field that an exit of this kind has filled in, and that therefore exists.
    #[inline(always)]
    fn field<T: FieldValue, A: Copy, C: Copy>(&self, field: Field<T, A, C>) -> u64 {
        self.source().backend().read(field.encoding())
    }

    /// The exit qualification.
    #[inline(always)]
    pub fn qualification(&self) -> K::Value
    where
        K: HasQualification,
    {
        K::Value::from_raw(self.field(EXIT_QUALIFICATION))
    }

    /// The guest-linear address.
    #[inline(always)]
    pub fn guest_linear_address(&self) -> u64
    where
        K: HasGuestLinearAddress,
    {
        self.field(GUEST_LINEAR_ADDRESS)
    }

    /// The guest-physical address.
    #[inline(always)]
    pub fn guest_physical_address(&self) -> u64
    where
        K: HasGuestPhysicalAddress,
    {
        self.field(GUEST_PHYSICAL_ADDRESS)
    }

    /// The VM-exit instruction length, in bytes.
    #[inline(always)]
    pub fn instruction_length(&self) -> u32
    where
        K: HasInstructionLength,
    {
        self.field(VM_EXIT_INSTRUCTION_LENGTH) as u32
    }

    /// The VM-exit instruction information.
    #[inline(always)]
    pub fn instruction_information(&self) -> K::Value
    where
        K: HasInstructionInformation,
    {
        K::Value::from_raw(self.field(VM_EXIT_INSTRUCTION_INFORMATION))
    }

    /// The event that exited.
    #[inline(always)]
    pub fn interruption(&self) -> Vectored<ExitInterruptionInformation>
    where
        K: HasInterruptionInformation,
    {
        let information = ExitInterruptionInformation::from_raw(self.field(VM_EXIT_INTERRUPTION_INFORMATION));
        let has_code = information.contains(ExitInterruptionInformation::ERROR_CODE_VALID);
        let error_code = has_code.then(|| self.field(VM_EXIT_INTERRUPTION_ERROR_CODE) as u32);
        Vectored { information, error_code }
    }

    /// The event whose delivery the exit interrupted, if it interrupted one.
    #[inline(always)]
    pub fn idt_vectoring(&self) -> Option<Vectored<IdtVectoringInformation>>
    where
        K: HasIdtVectoring,
    {
        Vectored::from_idt_vectoring(self.source())
    }

    /// RCX, RSI, RDI and RIP before the I/O instruction that an SMI followed.
    #[inline(always)]
    pub fn io_state(&self) -> [u64; 4]
    where
        K: HasIoState,
    {
        [self.field(IO_RCX), self.field(IO_RSI), self.field(IO_RDI), self.field(IO_RIP)]
    }
}
