//! The VMM changes what a guest may do, between two runs.

use x86_vcpu::{Error, MsrAccess, MsrAction};

use super::machine::{Machine, unexpected};
use super::{Outcome, check};
use crate::guests;
use crate::vm::Exit;

/// A register of no CPU.
const OF_NOBODY: u32 = 0x4000_0000;
/// IA32_SYSENTER_CS.
const SYSENTER_CS: u32 = 0x174;
/// VM_HSAVE_PA: who writes it owns the host.
const VM_HSAVE_PA: u32 = 0xC001_0117;
/// The mask of the host's first interrupt controller, which the image does not use.
const PIC_MASK: u16 = 0x21;

/// Registers and ports that the VMM opens, closes and answers.
pub fn policies() -> Outcome {
    let mut yields = 0;
    Machine::new(guests::policies())?.run(|_, cpu, exit| {
        if exit != Exit::Yield {
            return unexpected(&exit);
        }
        yields += 1;
        let vcpu = cpu.inner();
        let mut policy = vcpu.msr_policy().clone();
        if yields == 1 {
            policy.set(OF_NOBODY..=OF_NOBODY, MsrAccess::Both, MsrAction::Value(0x1122_3344_5566_7788))?;
            policy.set(SYSENTER_CS..=SYSENTER_CS, MsrAccess::Both, MsrAction::Fault)?;
            for register in [VM_HSAVE_PA, OF_NOBODY] {
                let opened = policy.set(register..=register, MsrAccess::Both, MsrAction::PassThrough);
                check(matches!(opened, Err(Error::InvalidInput(_))), || "a register of the host was opened".into())?;
            }
            vcpu.set_msr_policy(policy)?;
            // SAFETY: the image masks all interrupts of this controller, and the guest lets none through but that of the
            // second one, which masks all of its own.
            unsafe { vcpu.pass_ports_through(PIC_MASK..=PIC_MASK) }?;
        } else {
            policy.set(0..=u32::MAX, MsrAccess::Both, MsrAction::Library)?;
            vcpu.set_msr_policy(policy)?;
            vcpu.intercept_ports(PIC_MASK..=PIC_MASK);
        }
        Ok(())
    })
}
