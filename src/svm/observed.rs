//! What is read of an exit for whoever watches the run loop, and how a trace says it.

#[cfg(feature = "trace")]
use crate::spec::amd::{exits::ExitCode, payloads};
#[cfg(feature = "trace")]
use crate::trace::{TraceEntry, Vocabulary};
use crate::{guest::registers::GuestRegisters, observer::Exited, spec::amd::vmcb::Vmcb};

/// The exit that has just happened.
pub(super) struct JustExited<'a> {
    pub(super) vmcb: &'a Vmcb,
    pub(super) registers: &'a GuestRegisters,
}

impl Exited for JustExited<'_> {
    #[inline(always)]
    fn code(&self) -> u64 {
        self.vmcb.exitcode().0
    }

    #[inline(always)]
    fn word(&self) -> u32 {
        self.vmcb.exitcode().0 as u32
    }

    #[inline(always)]
    fn rip(&self) -> u64 {
        self.vmcb.rip()
    }

    #[inline(always)]
    fn registers(&self) -> (u32, u32) {
        (self.vmcb.rax() as u32, self.registers.rcx as u32)
    }
}

/// The names of SVM's exits.
#[cfg(feature = "trace")]
pub(super) static VOCABULARY: Vocabulary = Vocabulary { code, name, has_information, details };

/// All codes are small numbers, of either sign.
#[cfg(feature = "trace")]
fn code(word: u32) -> u64 {
    i64::from(word as i32) as u64
}

#[cfg(feature = "trace")]
fn name(code: u64) -> Option<&'static str> {
    ExitCode(code).name()
}

#[cfg(feature = "trace")]
fn has_information(code: u64) -> [bool; 2] {
    [payloads::has_exit_info1(ExitCode(code)), payloads::has_exit_info2(ExitCode(code))]
}

#[cfg(feature = "trace")]
fn details(entry: &TraceEntry, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
    let code = ExitCode(entry.code);
    if entry.info1 != 0 {
        f.write_str(", ")?;
        payloads::write_exit_info1(code, entry.info1, f)?;
    }
    match code {
        ExitCode::NPF => write!(f, ", guest-physical {:#x}", entry.info2)?,
        // The address of the next instruction.
        ExitCode::IOIO => {}
        _ if entry.info2 != 0 => {
            f.write_str(", ")?;
            payloads::write_exit_info2(code, entry.info2, f)?;
        }
        _ => {}
    }
    match code {
        ExitCode::CPUID => write!(f, ", EAX {:#x}, ECX {:#x}", entry.eax, entry.ecx),
        ExitCode::MSR | ExitCode::XSETBV => write!(f, ", ECX {:#x}", entry.ecx),
        ExitCode::VMMCALL => write!(f, ", EAX {:#x}", entry.eax),
        _ => Ok(()),
    }
}
