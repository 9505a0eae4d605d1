//! The seam between the run loops and whoever watches them: [statistics](crate::statistics) and [trace](crate::trace).
//!
//! A run loop says what happens, once; without the features nobody listens, and all of it vanishes.

use crate::{
    Result, VcpuConfig, exit::VmExit, frame::FrameSource, guest::events::Event, statistics::Statistics, trace::Trace,
};

/// An exit as it is known right after it. What is asked for is read then, and nothing else.
#[cfg_attr(
    not(all(feature = "statistics", feature = "trace")),
    allow(dead_code, reason = "what nobody listens for is not asked for")
)]
pub(crate) trait Exited {
    /// The basic exit reason, or the exit code.
    fn code(&self) -> u64;
    /// The exit-reason word, or the lower half of the exit code.
    fn word(&self) -> u32;
    /// The guest's RIP.
    fn rip(&self) -> u64;
    /// The guest's EAX and ECX.
    fn registers(&self) -> (u32, u32);
}

/// Whether anybody can be there to watch.
pub(crate) const BUILT_IN: bool = cfg!(any(feature = "statistics", feature = "trace"));

/// Whoever watches a vCPU.
pub(crate) struct Observer<S: FrameSource> {
    pub(crate) statistics: Statistics<S>,
    pub(crate) trace: Trace<S>,
}

impl<S: FrameSource> Observer<S> {
    pub(crate) fn new(config: &VcpuConfig) -> Result<Self> {
        Ok(Self { statistics: Statistics::new()?, trace: Trace::new(config)? })
    }

    /// The vCPU has come to this CPU.
    pub(crate) fn arrive(&mut self) {
        self.statistics.arrive();
    }

    /// The VMM is done.
    #[inline(always)]
    pub(crate) fn enter_run(&mut self) {
        self.statistics.enter_run();
    }

    /// The VMM goes on.
    #[inline(always)]
    pub(crate) fn leave_run(&mut self) {
        self.statistics.leave_run();
    }

    /// Whether somebody watches the next run. If not, none of the following needs to be called.
    #[inline(always)]
    pub(crate) fn is_on(&self) -> bool {
        cfg!(feature = "statistics") || self.trace.is_on()
    }

    /// Right before an entry.
    #[inline(always)]
    pub(crate) fn enter_guest(&mut self) {
        let now = self.statistics.enter_guest();
        self.trace.enter_guest(now);
    }

    /// Right after an exit.
    #[inline(always)]
    pub(crate) fn exited(&mut self, exit: &impl Exited) {
        let now = self.statistics.exited(|| exit.code());
        self.trace.exited(exit, now);
    }

    /// What the CPU says of the last exit. VMX: the exit qualification, and the guest-physical address or the interruption
    /// information. SVM: EXITINFO1 and EXITINFO2. Not needed for one that has neither.
    #[inline(always)]
    pub(crate) fn information(&mut self, information: [u64; 2]) {
        self.trace.information(information);
    }

    /// The last exit is not answered here; `run` comes back with this.
    #[inline(always)]
    pub(crate) fn left_to_vmm(&mut self, exit: &VmExit) {
        self.statistics.left_to_vmm();
        self.trace.left_to_vmm(exit);
    }

    /// The last exit turns out to have been an access to a device.
    #[inline(always)]
    pub(crate) fn decoded(&mut self, exit: &VmExit) {
        if self.trace.is_on() {
            self.note_decoded(exit);
        }
    }

    /// Out of the way of those who are not watched.
    #[cold]
    #[inline(never)]
    fn note_decoded(&mut self, exit: &VmExit) {
        // Of an instruction that raises an exception nothing new is known.
        if !matches!(exit, VmExit::Nothing) {
            self.trace.left_to_vmm(exit);
        }
    }

    /// The next entry injects this event.
    #[inline(always)]
    pub(crate) fn injected(&mut self, event: &Event) {
        self.trace.injected(event);
    }

    /// The instruction that exited has read or written this.
    #[inline(always)]
    pub(crate) fn completed(&mut self, value: u64) {
        self.trace.completed(value);
    }
}
