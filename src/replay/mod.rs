//! Deterministic record and replay of a vCPU.
//!
//! [`Vcpu::record`] writes everything that enters the vCPU to a log: the VMM's answers, interrupts, time. [`Vcpu::replay`] lets a
//! vCPU in the same state, with the same memory, do the same again, with the log in the place of the VMM's devices; at each
//! exit it compares a hash of the guest's state, and where anything is different it says where and what. `docs/replay.md` in the
//! repository is about what enters a vCPU, and what this needs of the CPU: a time-stamp counter that counts instructions, as
//! that of an emulator does.
//!
//! A vCPU that is not recorded runs as it does without this feature.

mod clock;
#[cfg(any(feature = "vmx", feature = "amd"))]
mod engine;
mod error;
mod hash;
mod kind;
pub mod log;
#[cfg(any(feature = "vmx", feature = "amd"))]
mod recording;
#[cfg(any(feature = "vmx", feature = "amd"))]
mod replaying;
#[cfg(test)]
mod tests;
#[cfg(any(feature = "vmx", feature = "amd"))]
mod track;

pub(crate) use self::clock::Clock;
#[cfg(any(feature = "vmx", feature = "amd"))]
pub(crate) use self::engine::{Engine, Happened, Place, Step as EngineStep, Stop, repeats, with_breakpoint};
#[cfg(any(feature = "vmx", feature = "amd"))]
use self::log::{Sink, Source};
pub use self::{
    error::{Difference, Divergence, Reason, ReplayError},
    hash::Hasher,
};
#[cfg(any(feature = "vmx", feature = "amd"))]
pub use self::{
    recording::Recording,
    replaying::{Replaying, Step},
};
#[cfg(any(feature = "vmx", feature = "amd"))]
use crate::{FrameSource, Vcpu};

#[cfg(any(feature = "vmx", feature = "amd"))]
impl<S: FrameSource> Vcpu<S> {
    /// Records everything that enters the vCPU, until the [`Recording`] is dropped. Meanwhile RDTSC and RDTSCP exit, and the
    /// guest's CPUID has no RDRAND and no RDSEED; these stay hidden from it.
    ///
    /// # Errors
    /// [`ReplayError::Vcpu`] when the CPU cannot intercept RDTSC, when events are pending, dirty pages are logged or the vCPU is
    /// not alone on its APIC bus; [`ReplayError::Log`] when the sink takes nothing.
    pub fn record<W: Sink>(&mut self, sink: W) -> Result<Recording<'_, S, W>, ReplayError> {
        Recording::new(self, sink)
    }

    /// Replays a recording, on a vCPU that is as the recorded one was, with the same memory and policies.
    ///
    /// # Errors
    /// [`ReplayError::Log`] for what is no log of this version, [`ReplayError::Diverged`] when the vCPU is not in the state in which the
    /// recording began, and those of [`record`](Self::record).
    pub fn replay<R: Source>(&mut self, source: R) -> Result<Replaying<'_, S, R>, ReplayError> {
        Replaying::new(self, source)
    }
}
