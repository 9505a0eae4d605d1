//! `[[exit]]`: what an exit is, and what is known on it.

use super::intel::{camel, keywords};
use super::{Head, LayoutBit, ModuleId, Spanned};

keywords! {
    /// When an information field is valid.
    Valid {
        /// On every such exit.
        Always = "always",
        /// On some; a bit of another field or the note says on which.
        Conditional = "conditional",
    }
}

/// `[[exit]]`: a basic exit reason of VMX, or an exit code of SVM.
#[derive(Clone, Debug)]
pub struct Exit {
    /// The file.
    pub module: ModuleId,
    /// What every row has.
    pub head: Head,
    /// As written: codes with the top bits set are negative.
    pub number: Spanned<i64>,
    /// The Rust type that exits share.
    pub payload: Option<Spanned<String>>,
    /// What is known on such an exit.
    pub information: Information,
}

impl Exit {
    /// The name of the Rust type.
    pub fn payload_name(&self) -> String {
        self.payload.as_ref().map_or_else(|| camel(self.head.name()), |name| name.value.clone())
    }
}

/// Which information is valid on an exit; by vendor.
#[derive(Clone, Debug)]
pub enum Information {
    /// Of a basic exit reason of VMX.
    Vmx(VmxInformation),
    /// Of an exit code of SVM.
    Svm(SvmInformation),
}

/// Which VM-exit information fields are valid. A type is the name of one, or `u64`.
#[derive(Clone, Debug, Default)]
pub struct VmxInformation {
    /// The type of the exit qualification.
    pub qualification: Option<Spanned<String>>,
    /// The guest-linear address.
    pub guest_linear_address: Option<Spanned<Valid>>,
    /// The guest-physical address.
    pub guest_physical_address: Option<Spanned<Valid>>,
    /// The VM-exit instruction length.
    pub instruction_length: Option<Spanned<Valid>>,
    /// The type of the VM-exit instruction information.
    pub instruction_information: Option<Spanned<String>>,
    /// The VM-exit interruption information and error code.
    pub interruption_information: Option<Spanned<Valid>>,
    /// The IDT-vectoring information and error code.
    pub idt_vectoring: Option<Spanned<Valid>>,
    /// I/O RCX, RSI, RDI and RIP.
    pub io_state: Option<Spanned<Valid>>,
}

impl VmxInformation {
    /// The fields that are valid or not, each with its key and the trait that says so in Rust.
    pub fn flags(&self) -> [(&'static str, &'static str, Option<&Spanned<Valid>>); 6] {
        [
            ("guest_linear_address", "HasGuestLinearAddress", self.guest_linear_address.as_ref()),
            ("guest_physical_address", "HasGuestPhysicalAddress", self.guest_physical_address.as_ref()),
            ("instruction_length", "HasInstructionLength", self.instruction_length.as_ref()),
            ("interruption_information", "HasInterruptionInformation", self.interruption_information.as_ref()),
            ("idt_vectoring", "HasIdtVectoring", self.idt_vectoring.as_ref()),
            ("io_state", "HasIoState", self.io_state.as_ref()),
        ]
    }
}

/// What of a VMCB is valid. A type is the name of one, or `u64`.
#[derive(Clone, Debug, Default)]
pub struct SvmInformation {
    /// The type of EXITINFO1.
    pub exit_info1: Option<Spanned<String>>,
    /// The type of EXITINFO2.
    pub exit_info2: Option<Spanned<String>>,
    /// The CPUID bit without which both are undefined.
    pub info_if: Option<LayoutBit>,
    /// The address of the next instruction, on CPUs that save it.
    pub next_rip: Option<Spanned<Valid>>,
    /// The bytes of the instruction, on CPUs with decode assists.
    pub instruction_bytes: Option<Spanned<Valid>>,
}
