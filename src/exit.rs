//! What the guest did that the VMM has to answer: the same words for VMX and SVM.

#[cfg(any(feature = "trace", feature = "replay"))]
mod answer;
#[cfg(feature = "doctor")]
#[cfg_attr(not(any(feature = "vmx", feature = "amd")), allow(dead_code, reason = "used by the vendors"))]
mod diagnosis;
#[cfg_attr(not(all(feature = "vmx", feature = "amd")), allow(dead_code, reason = "used by the other vendor"))]
mod entry_failure;

#[cfg(any(feature = "trace", feature = "replay"))]
pub use answer::Answer;
pub use entry_failure::EntryFailure;

use crate::{
    guest::{apic::ApicMessage, registers::RegisterIndex},
    nested::{Misconfiguration, Permissions},
};

/// How many bytes an access moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Width {
    /// 8 bits.
    Byte = 1,
    /// 16 bits.
    Word = 2,
    /// 32 bits.
    Dword = 4,
    /// 64 bits.
    Qword = 8,
}

impl Width {
    /// The number of bytes.
    pub const fn bytes(self) -> usize {
        self as usize
    }

    /// A mask of the bits that such an access moves.
    pub const fn mask(self) -> u64 {
        // A table: shorter than computing it. It has 16 entries so that no index needs a check.
        const MASKS: [u64; 16] = [0, 0xff, 0xffff, 0, 0xffff_ffff, 0, 0, 0, u64::MAX, 0, 0, 0, 0, 0, 0, 0];
        MASKS[self as usize & 15]
    }

    /// The width of so many bytes, if there is one.
    pub const fn from_bytes(bytes: u64) -> Option<Self> {
        match bytes {
            1 => Some(Self::Byte),
            2 => Some(Self::Word),
            4 => Some(Self::Dword),
            8 => Some(Self::Qword),
            _ => None,
        }
    }
}

/// What an access to memory wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// To read data. On VMX an access that reads and writes reports both; SVM reports the write alone.
    pub read: bool,
    /// To write data.
    pub write: bool,
    /// To fetch an instruction.
    pub fetch: bool,
}

/// A guest-physical access that the nested page table (EPT or NPT) does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NestedFault {
    /// The guest-physical address of the access, in full on both vendors.
    pub gpa: u64,
    /// The guest-linear address, where the CPU reports it (VMX, for accesses that have one).
    pub gva: Option<u64>,
    /// What the access wanted.
    pub access: Access,
    /// Whether a translation was present and merely lacked the permission.
    pub present: bool,
    /// Whether the access was the CPU's walk of the guest's page tables, and not the final access.
    pub table_walk: bool,
}

/// What a CPU says of the access behind a [`NestedFault`] beside that: see
/// [`nested_fault_details`](crate::Vcpu::nested_fault_details). `None`: it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NestedFaultDetails {
    /// The access was made with user privilege (by the guest's paging). VMX: with advanced VM-exit information.
    pub user: Option<bool>,
    /// The guest's paging lets the page be written. VMX with advanced VM-exit information.
    pub guest_writable: Option<bool>,
    /// The guest's paging lets the page be executed. As above.
    pub guest_executable: Option<bool>,
    /// The nested page table let the page be read, written and executed. VMX.
    pub permissions: Option<Permissions>,
}

/// An exit for which the library knows no answer. The guest has not been advanced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unhandled {
    /// VMX: the exit-reason word. SVM: the exit code.
    pub code: u64,
    /// VMX: the exit qualification. SVM: EXITINFO1.
    pub info1: u64,
    /// VMX: the instruction information. SVM: EXITINFO2.
    pub info2: u64,
}

/// Why [`run`](crate::Vcpu::run) came back, and what the VMM has to do before it runs the vCPU again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VmExit {
    /// IN or one element of INS. Answer with [`complete_read`](crate::Vcpu::complete_read); without an answer the guest
    /// executes the instruction again and the VMM is asked again.
    IoRead {
        /// The port.
        port: u16,
        /// The width of the access (never [`Width::Qword`]).
        width: Width,
    },
    /// OUT or one element of OUTS. The next run goes on behind it.
    IoWrite {
        /// The port.
        port: u16,
        /// The width of the access (never [`Width::Qword`]).
        width: Width,
        /// The data, zero-extended.
        data: u32,
    },
    /// RDMSR of a register that the policy leaves to the VMM. Answer with
    /// [`complete_read`](crate::Vcpu::complete_read) or [`reject`](crate::Vcpu::reject) (#GP(0)); an unanswered one is
    /// asked again.
    MsrRead {
        /// The register (ECX).
        msr: u32,
    },
    /// WRMSR of a register that the policy leaves to the VMM. The next run goes on behind it, unless the VMM said
    /// [`reject`](crate::Vcpu::reject).
    MsrWrite {
        /// The register (ECX).
        msr: u32,
        /// EDX:EAX.
        value: u64,
    },
    /// A read of device memory, after [`decode_mmio`](crate::Vcpu::decode_mmio). Answer with
    /// [`complete_read`](crate::Vcpu::complete_read). Accesses of more than 64 bits, across pages, and by instructions that
    /// write what they read, take several such exits in a row.
    MmioRead {
        /// The guest-physical address.
        gpa: u64,
        /// The width of the access to memory.
        width: Width,
        /// The register that will receive it, where it is one.
        register: Option<RegisterIndex>,
        /// The width of that register's part that is written.
        register_width: Width,
        /// Whether the value is sign-extended to it (else zero-extended).
        sign_extend: bool,
    },
    /// A write of device memory, after [`decode_mmio`](crate::Vcpu::decode_mmio). The next run goes on behind it, which may
    /// be another access of the same instruction.
    MmioWrite {
        /// The guest-physical address.
        gpa: u64,
        /// The width of the access.
        width: Width,
        /// The data, zero-extended.
        data: u64,
    },
    /// The nested page table does not allow an access. The VMM maps the page and runs again, or, when it is a device,
    /// asks for the access with [`decode_mmio`](crate::Vcpu::decode_mmio). That may answer with another fault, of another
    /// page which the same instruction accesses.
    NestedPageFault(NestedFault),
    /// The CPU met an entry of the nested page table that no CPU accepts: the table is wrong. VMX: EPT misconfiguration; SVM: a
    /// nested page fault with RSV. Running the guest again meets it again, until the table is mended.
    NestedMisconfiguration(Misconfiguration),
    /// VMCALL on VMX, VMMCALL on SVM (the other one is #UD, as on hardware). The next run goes on behind it. The arguments are
    /// [`hypercall_arguments`](crate::Vcpu::hypercall_arguments), and
    /// [`set_return_value`](crate::Vcpu::set_return_value) sets RAX.
    Hypercall {
        /// RAX.
        nr: u64,
    },
    /// The guest can take an external interrupt, as
    /// [`request_interrupt_window`](crate::Vcpu::request_interrupt_window) asked. The VMM acknowledges its interrupt
    /// controller and answers with [`inject_interrupt`](crate::Vcpu::inject_interrupt); the next run delivers it.
    InterruptWindow,
    /// HLT, with nothing pending that would wake the guest. The next run goes on behind it.
    Halt,
    /// An interrupt for the host arrived. VMX has acknowledged it and gives its vector: the VMM must call the host's
    /// handler. SVM cannot know it (`None`): it is still pending, and the host takes it through its IDT as soon as IF is 1.
    ExternalInterrupt {
        /// The vector, where it is known.
        vector: Option<u8>,
    },
    /// The guest has handled a level-triggered interrupt: its local APIC tells the I/O APICs, which are the VMM's, that they
    /// may send it again. The next run goes on.
    EndOfInterrupt {
        /// The vector.
        vector: u8,
    },
    /// The guest sends an interprocessor interrupt, and its local APIC is not on a [bus](crate::ApicBus) that would deliver it.
    /// The next run goes on.
    Ipi(ApicMessage),
    /// The vCPU waits for a start-up message (SIPI): after its creation, if it has a local APIC and is not the bootstrap
    /// processor, or after an INIT. Running it again reports the same until the message is there, which
    /// [`has_pending_event`](crate::Vcpu::has_pending_event) says.
    WaitForStartup,
    /// The [time slice](crate::Vcpu::set_time_slice) is over. The next run has none.
    TimeSlice,
    /// The guest shut down (triple fault). Running it again reports the same.
    Shutdown,
    /// The CPU refused to enter the guest.
    EntryFailure(EntryFailure),
    /// There is nothing to answer; run again. Only [`decode_mmio`](crate::Vcpu::decode_mmio) says so: the instruction raises
    /// an exception in the guest, or another CPU of the guest has changed it meanwhile.
    Nothing,
    /// [`request_exit`](crate::VcpuHandle::request_exit) was called.
    Interrupted,
    /// An exit that nobody knows, or that no policy covers.
    Unhandled(Unhandled),
}

#[cfg(any(feature = "trace", feature = "replay"))]
impl VmExit {
    /// What becomes of the exit that it is about.
    pub(crate) fn answer(&self) -> Answer {
        match self {
            Self::IoRead { .. } => Answer::IoRead,
            Self::IoWrite { .. } => Answer::IoWrite,
            Self::MsrRead { .. } => Answer::MsrRead,
            Self::MsrWrite { .. } => Answer::MsrWrite,
            Self::MmioRead { .. } => Answer::MmioRead,
            Self::MmioWrite { .. } => Answer::MmioWrite,
            Self::NestedPageFault(_) => Answer::NestedPageFault,
            Self::NestedMisconfiguration(_) => Answer::NestedMisconfiguration,
            Self::Hypercall { .. } => Answer::Hypercall,
            Self::InterruptWindow => Answer::InterruptWindow,
            Self::Halt => Answer::Halt,
            Self::ExternalInterrupt { .. } => Answer::ExternalInterrupt,
            Self::EndOfInterrupt { .. } => Answer::EndOfInterrupt,
            Self::Ipi(_) => Answer::Ipi,
            Self::WaitForStartup => Answer::WaitForStartup,
            Self::TimeSlice => Answer::TimeSlice,
            Self::Shutdown => Answer::Shutdown,
            Self::EntryFailure(_) => Answer::EntryFailure,
            Self::Interrupted => Answer::Interrupted,
            Self::Unhandled(_) => Answer::Unhandled,
            Self::Nothing => Answer::Nothing,
        }
    }
}
