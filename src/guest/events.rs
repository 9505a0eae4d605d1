//! What waits to be delivered to the guest, and in which order.
//!
//! Pure: it sees a snapshot of the guest's ability to take events and says what to inject and which windows to ask for.
//! Intel SDM volume 3, "Event Injection" and "Priority Among Simultaneous Events"; AMD APM volume 2, "Event Injection".

#[cfg(test)]
mod reference;
mod source;

pub(crate) use source::{InterruptQueue, InterruptSource};

use crate::spec::{intel::structures::InterruptionType, x86::registers::ExceptionVector};

/// An event on its way to the guest.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The vector.
    pub vector: u8,
    /// What it is, in VMX's words; SVM uses the same numbers for the types that it has.
    pub kind: InterruptionType,
    /// The error code that is pushed, if the vector has one.
    pub error_code: Option<u32>,
    /// The length of the instruction that raised a software event.
    pub instruction_length: u8,
}

impl Event {
    /// An exception that the CPU would have raised.
    pub const fn exception(vector: ExceptionVector, error_code: Option<u32>) -> Self {
        Self { vector: vector.0, kind: InterruptionType::HARDWARE_EXCEPTION, error_code, instruction_length: 0 }
    }

    /// #GP(0).
    pub const fn general_protection() -> Self {
        Self::exception(ExceptionVector::GP, Some(0))
    }

    /// #UD.
    pub const fn invalid_opcode() -> Self {
        Self::exception(ExceptionVector::UD, None)
    }

    /// #DB, whose causes DR6 has.
    pub(crate) const fn debug() -> Self {
        Self::exception(ExceptionVector::DB, None)
    }

    /// INT n, whose instruction has this length in bytes. RIP is at the instruction; the handler returns behind it.
    pub const fn software_interrupt(vector: u8, instruction_length: u8) -> Self {
        Self { vector, kind: InterruptionType::SOFTWARE_INTERRUPT, error_code: None, instruction_length }
    }

    /// INT3 (#BP) or INTO (#OF), whose instruction has this length in bytes. RIP is at the instruction.
    pub const fn software_exception(vector: ExceptionVector, instruction_length: u8) -> Self {
        Self { vector: vector.0, kind: InterruptionType::SOFTWARE_EXCEPTION, error_code: None, instruction_length }
    }

    /// INT1, whose instruction has this length in bytes. RIP is at the instruction.
    pub const fn privileged_software_exception(instruction_length: u8) -> Self {
        let vector = ExceptionVector::DB.0;
        Self { vector, kind: InterruptionType::PRIVILEGED_SOFTWARE_EXCEPTION, error_code: None, instruction_length }
    }

    /// With an error code if and only if the exception has one: a CPU refuses to deliver any other. (In real mode none is
    /// pushed; that is decided when it is delivered.)
    pub(crate) fn normalized(self) -> Self {
        let error_code = match ExceptionVector(self.vector) {
            _ if !self.is_exception() => None,
            ExceptionVector::DF => Some(0),
            vector if has_error_code(vector) => Some(self.error_code.unwrap_or(0)),
            _ => None,
        };
        Self { error_code, ..self }
    }

    /// Whether the guest goes on with the instruction that raised it, once its handler returns: its image of RFLAGS has RF.
    pub(crate) fn is_fault(&self) -> bool {
        let others =
            [ExceptionVector::DB, ExceptionVector::BP, ExceptionVector::OF, ExceptionVector::DF, ExceptionVector::MC];
        self.is_exception() && self.vector != ExceptionVector::NMI.0 && !others.contains(&ExceptionVector(self.vector))
    }

    /// Whether an instruction of the guest raises it on purpose, and its handler returns behind that.
    pub(crate) fn is_software(&self) -> bool {
        matches!(
            self.kind,
            InterruptionType::SOFTWARE_INTERRUPT
                | InterruptionType::SOFTWARE_EXCEPTION
                | InterruptionType::PRIVILEGED_SOFTWARE_EXCEPTION
        )
    }

    const fn external(vector: u8) -> Self {
        Self { vector, kind: InterruptionType::EXTERNAL_INTERRUPT, error_code: None, instruction_length: 0 }
    }

    const fn nmi() -> Self {
        Self { vector: ExceptionVector::NMI.0, kind: InterruptionType::NMI, error_code: None, instruction_length: 0 }
    }

    fn is_exception(&self) -> bool {
        self.kind == InterruptionType::HARDWARE_EXCEPTION
    }
}

/// What the guest can take right now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// RFLAGS.IF.
    pub interrupts_enabled: bool,
    /// The instruction after STI, MOV SS or POP SS comes next.
    pub shadow: bool,
    /// An NMI is being handled (no IRET yet).
    pub nmi_blocked: bool,
    /// The CPU will deliver a #DB for the last instruction: it comes before NMIs and interrupts.
    pub debug_pending: bool,
}

/// What to do at the next entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to inject.
    pub inject: Option<Event>,
    /// Whether to exit as soon as the guest can take an interrupt.
    pub interrupt_window: bool,
    /// Whether to exit as soon as the guest can take an NMI.
    pub nmi_window: bool,
    /// The guest can take an external interrupt now, which the VMM asked to be told.
    pub tell_vmm: bool,
}

/// Two exceptions that meet make a third: see "Conditions for Generating a Double Fault".
enum Combined {
    Serial,
    DoubleFault,
    Shutdown,
}

/// The events that wait, but for the interrupts of an [`InterruptSource`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Events {
    /// Was being delivered when an exit hit, or was raised by an emulated instruction: comes before all else.
    pub(super) first: Option<Event>,
    pub(super) nmi: bool,
    /// An external interrupt that its controller thinks delivered: it comes before those of the source.
    pub(super) acknowledged: Option<u8>,
    /// The VMM wants to know when the guest can take an external interrupt.
    pub(super) window_requested: bool,
    /// A fault on the way to the double-fault handler.
    pub(super) shutdown: bool,
    /// Whether any of the above waits, or the source has to be asked: the one word that the run loop looks at.
    any: bool,
}

impl Events {
    /// Whether the next entry has something to decide.
    #[inline(always)]
    pub fn any(&self) -> bool {
        self.any
    }

    /// The source may have something new.
    #[inline(always)]
    pub fn wake(&mut self) {
        self.any = true;
    }

    fn anything(&self) -> bool {
        self.first.is_some() || self.nmi || self.shutdown || self.acknowledged.is_some() || self.window_requested
    }

    /// Raises an exception on behalf of the guest's current instruction.
    pub fn raise(&mut self, event: Event) {
        self.any = true;
        match self.first {
            None => self.first = Some(event),
            Some(earlier) => match combine(&earlier, &event) {
                // An interrupt waits for the handler of the fault that its delivery met. Anything else is raised again by
                // the instruction that raised it, which is executed again.
                Combined::Serial => {
                    self.undo(earlier);
                    self.first = Some(event);
                }
                Combined::DoubleFault => self.first = Some(Event::exception(ExceptionVector::DF, Some(0))),
                Combined::Shutdown => {
                    self.first = None;
                    self.shutdown = true;
                }
            },
        }
    }

    /// Remembers an event whose delivery an exit interrupted; it goes first at the next entry.
    pub fn reinject(&mut self, event: Event) {
        self.any = true;
        self.first = Some(event);
    }

    /// Makes an NMI pending; a second one merges with it, as in hardware one is latched.
    pub fn queue_nmi(&mut self) {
        self.any = true;
        self.nmi = true;
    }

    /// Makes an interrupt pending that its controller thinks delivered, and that no task priority holds back.
    pub fn deliver_acknowledged(&mut self, vector: u8) {
        self.any = true;
        self.acknowledged = Some(vector);
    }

    /// Makes [`plan`](Self::plan) tell when the guest can take an external interrupt.
    pub fn request_interrupt_window(&mut self) {
        self.any = true;
        self.window_requested = true;
    }

    /// Whether the next entry goes on with a delivery that an exit interrupted.
    pub fn is_delivering(&self) -> bool {
        self.first.is_some()
    }

    /// Whether the guest has shut down on a triple fault of emulated events.
    pub fn is_shutdown(&self) -> bool {
        self.shutdown
    }

    /// Whether something would end a HLT of a guest with these flags.
    pub fn would_wake(&self, interrupts_enabled: bool, source: &impl InterruptSource) -> bool {
        self.first.is_some()
            || self.nmi
            || interrupts_enabled
                && (self.acknowledged.is_some() || self.window_requested || source.highest().is_some())
    }

    /// Decides what the next entry injects, and takes it out of the queues.
    pub fn plan(&mut self, ready: Readiness, source: &mut impl InterruptSource) -> Plan {
        // An interrupt whose delivery was interrupted waits again, if the VMM has cleared RFLAGS.IF since.
        if let Some(Event { kind: InterruptionType::EXTERNAL_INTERRUPT, vector, .. }) = self.first
            && !ready.interrupts_enabled
        {
            self.first = None;
            self.acknowledged = Some(vector);
        }
        let mut plan = Plan { inject: self.first.take(), ..Plan::default() };
        if self.nmi {
            if plan.inject.is_none() && !ready.nmi_blocked && !ready.shadow && !ready.debug_pending {
                self.nmi = false;
                plan.inject = Some(Event::nmi());
            } else {
                plan.nmi_window = true;
            }
        }
        let open = plan.inject.is_none() && ready.interrupts_enabled && !ready.shadow && !ready.debug_pending;
        if open && let Some(vector) = self.acknowledged.take() {
            plan.inject = Some(Event::external(vector));
        } else if open && self.window_requested {
            self.window_requested = false;
            plan.tell_vmm = true;
        } else if open && let Some(vector) = source.highest() {
            source.acknowledge(vector);
            plan.inject = Some(Event::external(vector));
        }
        // Nothing else fits into this entry.
        plan.interrupt_window = self.acknowledged.is_some() || self.window_requested || source.highest().is_some();
        self.any = self.anything() || source.any();
        plan
    }

    /// Puts an event back that a failed entry did not deliver.
    pub fn undo(&mut self, event: Event) {
        self.any = true;
        match event.kind {
            InterruptionType::EXTERNAL_INTERRUPT => self.acknowledged = Some(event.vector),
            InterruptionType::NMI => self.nmi = true,
            _ => self.first = Some(event),
        }
    }
}

fn combine(earlier: &Event, later: &Event) -> Combined {
    if !earlier.is_exception() || !later.is_exception() {
        return Combined::Serial;
    }
    let earlier = ExceptionVector(earlier.vector);
    let later = ExceptionVector(later.vector);
    if earlier == ExceptionVector::DF {
        return Combined::Shutdown;
    }
    let double = contributory(earlier) && contributory(later)
        || earlier == ExceptionVector::PF && (contributory(later) || later == ExceptionVector::PF);
    if double { Combined::DoubleFault } else { Combined::Serial }
}

/// SDM volume 3, "Exception and Interrupt Vectors", of the exceptions that a guest may meet.
fn has_error_code(vector: ExceptionVector) -> bool {
    matches!(
        vector,
        ExceptionVector::DF
            | ExceptionVector::TS
            | ExceptionVector::NP
            | ExceptionVector::SS
            | ExceptionVector::GP
            | ExceptionVector::PF
            | ExceptionVector::AC
    )
}

fn contributory(vector: ExceptionVector) -> bool {
    matches!(
        vector,
        ExceptionVector::DE
            | ExceptionVector::TS
            | ExceptionVector::NP
            | ExceptionVector::SS
            | ExceptionVector::GP
            | ExceptionVector::CP
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: Readiness =
        Readiness { interrupts_enabled: true, shadow: false, nmi_blocked: false, debug_pending: false };

    #[test]
    fn order_is_exception_nmi_then_highest_vector() {
        let (mut events, mut queue) = (Events::default(), InterruptQueue::default());
        queue.request(0x30);
        queue.request(0xf0);
        events.queue_nmi();
        events.raise(Event::general_protection());
        assert_eq!(events.plan(READY, &mut queue).inject, Some(Event::general_protection()));
        let plan = events.plan(READY, &mut queue);
        assert_eq!(plan.inject, Some(Event::nmi()));
        assert!(plan.interrupt_window);
        assert_eq!(events.plan(READY, &mut queue).inject, Some(Event::external(0xf0)));
        let last = events.plan(READY, &mut queue);
        assert_eq!(last, Plan { inject: Some(Event::external(0x30)), ..Plan::default() });
        assert!(!events.any());
    }

    #[test]
    fn blocked_events_ask_for_their_window() {
        let (mut events, mut queue) = (Events::default(), InterruptQueue::default());
        queue.request(0x20);
        events.queue_nmi();
        for ready in [
            Readiness { shadow: true, ..READY },
            Readiness { interrupts_enabled: false, nmi_blocked: true, ..READY },
            Readiness { debug_pending: true, ..READY },
        ] {
            let plan = events.plan(ready, &mut queue);
            assert_eq!(plan, Plan { interrupt_window: true, nmi_window: true, ..Plan::default() });
        }
        assert!(events.any());
    }

    #[test]
    fn what_the_task_priority_holds_back_is_looked_at_again() {
        let (mut events, mut queue) = (Events::default(), InterruptQueue::default());
        queue.request(0x45);
        queue.set_task_priority(4);
        assert_eq!(events.plan(READY, &mut queue), Plan::default());
        assert!(events.any());
        queue.set_task_priority(3);
        assert_eq!(events.plan(READY, &mut queue).inject, Some(Event::external(0x45)));
        assert!(!events.any());
    }

    #[test]
    fn the_vmm_is_told_of_its_window_before_the_queue_uses_it() {
        let (mut events, mut queue) = (Events::default(), InterruptQueue::default());
        queue.request(0x45);
        events.request_interrupt_window();
        let closed = Readiness { interrupts_enabled: false, ..READY };
        assert_eq!(events.plan(closed, &mut queue), Plan { interrupt_window: true, ..Plan::default() });
        let told = events.plan(READY, &mut queue);
        assert_eq!(told, Plan { tell_vmm: true, interrupt_window: true, ..Plan::default() });
        // What the VMM has acknowledged no CR8 holds back.
        events.deliver_acknowledged(8);
        queue.set_task_priority(15);
        assert_eq!(events.plan(READY, &mut queue).inject, Some(Event::external(8)));
        assert_eq!(events.plan(READY, &mut queue), Plan::default());
    }

    #[test]
    fn faults_combine_to_double_fault_and_shutdown() {
        let pf = Event::exception(ExceptionVector::PF, Some(2));
        let mut events = Events::default();
        events.reinject(Event::external(0x20));
        events.raise(pf);
        assert_eq!((events.first, events.acknowledged), (Some(pf), Some(0x20)));
        events.raise(pf);
        assert_eq!(events.first, Some(Event::exception(ExceptionVector::DF, Some(0))));
        assert!(!events.is_shutdown());
        events.raise(Event::general_protection());
        assert!(events.is_shutdown());
    }

    #[test]
    fn what_an_entry_did_not_deliver_comes_back() {
        let (mut events, mut queue) = (Events::default(), InterruptQueue::default());
        queue.request(0x31);
        let taken = events.plan(READY, &mut queue).inject.expect("one is pending");
        assert!(!events.any());
        events.undo(taken);
        assert_eq!(events.plan(READY, &mut queue).inject, Some(taken));
    }
}
