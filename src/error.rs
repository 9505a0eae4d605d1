//! What can go wrong, in enough detail to act on it.

use core::fmt;

/// The result of the library's operations.
pub type Result<T = ()> = core::result::Result<T, Error>;

/// Why an operation of the library failed.
///
/// At the ArceOS boundary it becomes an [`axerrno::AxError`], which cannot carry the detail; the detail is logged there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The embedder's frame allocator gave no frame. Everything that the failed operation had allocated is given back.
    NoMemory,
    /// The frame allocator has frames, but gave no consecutive ones (SVM's permission maps need 2 and 3). Nothing stays
    /// allocated; an allocator for them can be registered with `register_contiguous_allocator`.
    NoContiguousMemory {
        /// How many consecutive frames were needed.
        frames: usize,
    },
    /// The CPU, or the firmware's setting of it, lacks something; the text names it.
    Unsupported(&'static str),
    /// A control that the library cannot do without is not offered by this CPU.
    MissingControls {
        /// The control word, as the manual names it.
        word: &'static str,
        /// The bits that are needed and not offered.
        bits: u64,
        /// The manual's name of the lowest missing bit.
        first: &'static str,
    },
    /// The controls that this CPU offers and insists on cannot be used together: VM entry would refuse them.
    #[cfg(feature = "vmx")]
    ConflictingControls(&'static crate::spec::control_set::Dependency),
    /// The operation does not fit the state of the vCPU or the CPU; the text says which state was expected.
    BadState(&'static str),
    /// An argument is out of its range; the text says which.
    InvalidInput(&'static str),
    /// A VMX instruction failed.
    Vmx(VmxInstruction),
    /// The guest's instruction accesses a device and is none of those that the library emulates. The guest has not been
    /// advanced.
    NotEmulated(NotEmulated),
    /// More CPUs were enabled than the library keeps account of.
    TooManyCpus,
    /// All tags (VPIDs) are taken by living vCPUs.
    OutOfTags,
}

/// The bytes of an instruction that the library does not emulate, for the VMM to emulate or to report.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NotEmulated {
    bytes: [u8; 15],
    length: u8,
}

impl NotEmulated {
    pub(crate) fn new(given: &[u8]) -> Self {
        let mut bytes = [0; 15];
        for (to, from) in bytes.iter_mut().zip(given) {
            *to = *from;
        }
        Self { bytes, length: given.len().min(bytes.len()) as u8 }
    }

    /// The bytes from the instruction's first one on. The instruction may be shorter, since its length is not known, but goes on
    /// behind them only if the guest's next page cannot be read.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length.into()).unwrap_or(&self.bytes)
    }
}

impl fmt::Debug for NotEmulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NotEmulated({:02x?})", self.bytes())
    }
}

/// A VMX instruction that failed, and the VM-instruction error that it left (0: VMfailInvalid, there is none).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VmxInstruction {
    /// The instruction's mnemonic.
    pub mnemonic: &'static str,
    /// The VM-instruction error number; [`InstructionError`](crate::spec::intel::exits::InstructionError) puts it in words.
    pub error: u32,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMemory => f.write_str("out of physical frames"),
            Self::NoContiguousMemory { frames } => {
                write!(f, "the frame allocator gave no {frames} consecutive frames, and none is registered for them")
            }
            Self::Unsupported(what) => write!(f, "not supported by this CPU: {what}"),
            Self::MissingControls { word, bits, first } => {
                write!(f, "this CPU does not offer \"{first}\" of the {word} (missing bits {bits:#x})")
            }
            #[cfg(feature = "vmx")]
            Self::ConflictingControls(conflict) => write!(f, "this CPU's controls do not go together: {conflict}"),
            Self::BadState(what) => write!(f, "bad state: {what}"),
            Self::InvalidInput(what) => write!(f, "invalid input: {what}"),
            Self::Vmx(VmxInstruction { mnemonic, error: 0 }) => write!(f, "{mnemonic} failed: no current VMCS"),
            Self::Vmx(VmxInstruction { mnemonic, error }) => {
                write!(f, "{mnemonic} failed: VM-instruction error {error}")?;
                #[cfg(feature = "vmx")]
                if let Some(text) = crate::spec::intel::exits::InstructionError(*error).description() {
                    write!(f, " ({text})")?;
                }
                Ok(())
            }
            Self::NotEmulated(instruction) => {
                f.write_str("no emulation at a device of the instruction")?;
                instruction.bytes().iter().try_for_each(|byte| write!(f, " {byte:02x}"))
            }
            Self::TooManyCpus => f.write_str("more CPUs than the library keeps account of"),
            Self::OutOfTags => f.write_str("all virtual-processor identifiers are in use"),
        }
    }
}

impl core::error::Error for Error {}

impl From<Error> for axerrno::AxError {
    fn from(error: Error) -> Self {
        match error {
            Error::NoMemory | Error::NoContiguousMemory { .. } | Error::OutOfTags | Error::TooManyCpus => {
                Self::NoMemory
            }
            Error::Unsupported(_) | Error::MissingControls { .. } | Error::NotEmulated(_) => Self::Unsupported,
            #[cfg(feature = "vmx")]
            Error::ConflictingControls(_) => Self::Unsupported,
            Error::BadState(_) | Error::Vmx(_) => Self::BadState,
            Error::InvalidInput(_) => Self::InvalidInput,
        }
    }
}
