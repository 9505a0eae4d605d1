//! The guest's time-stamp counter.

use x86_vcpu::Error;

use super::machine::{Machine, unexpected};
use super::{Outcome, Reason, check};
use crate::guests;
use crate::vm::Exit;

/// The guest moves its counter, and so does the VMM.
pub fn tsc() -> Outcome {
    Machine::new(guests::tsc())?.run(|_, cpu, exit| match exit {
        Exit::Yield => {
            let vcpu = cpu.inner();
            let before = vcpu.tsc();
            let offset = vcpu.tsc_offset().wrapping_add(16 << 40);
            vcpu.set_tsc_offset(offset)?;
            check(vcpu.tsc_offset() == offset && vcpu.tsc() - before >= 16 << 40, || "the offset is another".into())
        }
        other => unexpected(&other),
    })
}

/// The guest's counter runs four times as fast as the host's.
pub fn tsc_frequency() -> Outcome {
    Machine::new(guests::tsc_frequency())?.run(|_, cpu, exit| match exit {
        Exit::Yield => match cpu.inner().set_tsc_frequency(4, 1) {
            Err(Error::Unsupported(what)) => Err(Reason::Refused(what.into())),
            other => Ok(other?),
        },
        other => unexpected(&other),
    })
}
