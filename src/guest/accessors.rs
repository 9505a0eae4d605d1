//! What a vCPU says of its [`GuestState`](super::state::GuestState), and what it lets the VMM set there: the same methods on both
//! vendors' types.

macro_rules! guest_accessors {
    ($vcpu:ident) => {
        impl<S: FrameSource> $vcpu<S> {
            /// The handle with which other CPUs reach this vCPU.
            pub fn handle(&self) -> $crate::VcpuHandle<S> {
                self.guest.handle.clone()
            }

            /// The guest's general-purpose registers. RSP is up to date in [`system`](Self::system) only.
            pub fn registers(&self) -> &$crate::GuestRegisters {
                &self.guest.registers
            }

            /// The guest's general-purpose registers, to change them.
            pub fn registers_mut(&mut self) -> &mut $crate::GuestRegisters {
                &mut self.guest.registers
            }

            /// What becomes of the guest's accesses to model-specific registers.
            pub fn msr_policy(&self) -> &$crate::MsrPolicy {
                self.guest.msrs.policy()
            }

            /// What is done against speculation across the borders of this vCPU.
            pub fn speculation_policy(&self) -> $crate::SpeculationPolicy {
                self.guest.xstate.edges.policy()
            }

            /// The policy that answers the guest's CPUID.
            pub fn cpuid(&self) -> &$crate::guest::cpuid::CpuidPolicy {
                &self.cpuid
            }

            /// The policy that answers the guest's CPUID, to change it.
            pub fn cpuid_mut(&mut self) -> &mut $crate::guest::cpuid::CpuidPolicy {
                &mut self.cpuid
            }

            /// Makes an external interrupt pending; as the answer to [`VmExit::InterruptWindow`] it is delivered at once, whatever CR8
            /// says.
            pub fn inject_interrupt(&mut self, vector: u8) {
                self.guest.inject_interrupt(vector);
            }

            /// Makes the current or next run come back with [`VmExit::InterruptWindow`] when the guest can take an external
            /// interrupt.
            pub fn request_interrupt_window(&mut self) {
                self.guest.events.request_interrupt_window();
            }

            /// Makes an NMI pending.
            pub fn inject_nmi(&mut self) {
                self.guest.events.queue_nmi();
            }

            /// Raises an event at the guest's current instruction. A fault takes the place of the instruction that exited, which is not
            /// completed.
            pub fn inject_exception(&mut self, event: $crate::Event) {
                self.guest.inject_exception(event);
            }

            /// Whether something is pending that would end a HLT of a guest with interrupts enabled.
            pub fn has_pending_event(&self) -> bool {
                self.guest.has_pending_event()
            }

            /// What the guest's exits have come to since the vCPU was made: a row for each reason there was, by its number.
            #[cfg(feature = "statistics")]
            pub fn statistics(&self) -> impl Iterator<Item = $crate::ExitStatistics> {
                let (statistics, name) = self.counted();
                statistics.rows(name)
            }

            /// The VMM did something since the last run that is not to be counted as work for that exit: it let the CPU wait, or ran
            /// something else. `instructions` is how far the host's time-stamp counter went meanwhile.
            #[cfg(feature = "statistics")]
            pub fn exclude_from_statistics(&mut self, instructions: u64) {
                self.guest.observer.statistics.exclude(instructions);
            }

            /// Keeps so many of the last exits from here on; 0: none.
            ///
            /// # Errors
            /// [`Error::NoMemory`]; [`Error::InvalidInput`] for more than 16384. Then those that are kept stay.
            #[cfg(feature = "trace")]
            pub fn set_trace(&mut self, exits: usize) -> $crate::Result {
                self.guest.observer.trace.set_length(exits)
            }

            /// The last exits from the one with this number on, the oldest first.
            #[cfg(feature = "trace")]
            pub fn trace_from(&self, number: u64) -> impl DoubleEndedIterator<Item = $crate::TraceEntry> {
                let (trace, vocabulary) = self.traced();
                trace.entries(number, vocabulary)
            }

            /// How many exits the local APIC was the reason of.
            pub fn local_apic_exits(&self) -> u64 {
                self.guest.local_apic_exits
            }

            /// The host's time-stamp counter when the guest's local APIC timer is due, if it is armed.
            pub fn timer_deadline(&self) -> Option<u64> {
                self.guest.timer_deadline()
            }

            /// Makes a run come back with [`VmExit::TimeSlice`] when the host's time-stamp counter reaches `end`.
            pub fn set_time_slice(&mut self, end: Option<u64>) {
                self.guest.set_time_slice(end);
            }

            /// Whether the CPU takes the interrupts of a PIC that is wired to LINT0 of its local APIC.
            pub fn accepts_pic(&self) -> bool {
                self.guest.accepts_pic()
            }

            /// A source of interrupts with an entry of its own in the local vector table signals.
            pub fn signal_local_interrupt(&mut self, source: $crate::LocalInterrupt) {
                self.guest.signal(source);
            }

            /// Sets RAX, where a hypercall's result is expected.
            pub fn set_return_value(&mut self, value: u64) {
                self.guest.registers.rax = value;
            }

            /// The VMM's value for [`VmExit::IoRead`], [`VmExit::MsrRead`] or [`VmExit::MmioRead`].
            ///
            /// # Errors
            /// [`Error::BadState`] when no read waits.
            pub fn complete_read(&mut self, value: u64) -> $crate::Result {
                self.guest.complete_read(value)
            }

            /// The VMM refuses the access of [`VmExit::MsrRead`] or [`VmExit::MsrWrite`]: the guest gets #GP(0).
            ///
            /// # Errors
            /// [`Error::BadState`] when no such access waits.
            pub fn reject(&mut self) -> $crate::Result {
                self.guest.reject()
            }
        }
    };
}
pub(crate) use guest_accessors;
