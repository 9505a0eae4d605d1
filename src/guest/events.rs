//! What waits to be delivered to the guest, and in which order.
//!
//! Pure: it sees a snapshot of the guest's ability to take events and says what to inject and which windows to ask for.
//! Intel SDM volume 3, "Event Injection" and "Priority Among Simultaneous Events"; AMD APM volume 2, "Event Injection".

use crate::spec::{intel::structures::InterruptionType, x86::registers::ExceptionVector};

/// An event on its way to the guest.
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
}

/// Two exceptions that meet make a third: see "Conditions for Generating a Double Fault".
enum Combined {
    Serial,
    DoubleFault,
    Shutdown,
}

/// The events that wait.
#[derive(Clone, Copy, Debug, Default)]
pub struct Events {
    /// Was being delivered when an exit hit, or was raised by an emulated instruction: comes before all else.
    first: Option<Event>,
    nmi: bool,
    /// Pending external interrupts, a bit per vector.
    interrupts: [u64; 4],
    /// CR8: interrupts of this priority class and below wait.
    task_priority: u8,
    /// A fault on the way to the double-fault handler.
    shutdown: bool,
    /// Whether any of the above waits: the one word that the run loop looks at.
    any: bool,
}

impl Events {
    /// Whether the next entry has something to decide.
    #[inline(always)]
    pub fn any(&self) -> bool {
        self.any
    }

    fn anything(&self) -> bool {
        self.first.is_some() || self.nmi || self.shutdown || self.interrupts != [0; 4]
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
                    self.first = None;
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

    /// Makes an external interrupt pending.
    pub fn queue_interrupt(&mut self, vector: u8) {
        self.any = true;
        self.interrupts[usize::from(vector >> 6) & 3] |= 1 << (vector & 63);
    }

    /// Makes all of these external interrupts pending.
    pub fn queue_interrupts(&mut self, vectors: &[u64; 4]) {
        for (pending, new) in self.interrupts.iter_mut().zip(vectors) {
            *pending |= new;
        }
        self.any = self.anything();
    }

    /// Whether interrupts are pending that wait for nothing but a lower CR8.
    #[cfg_attr(not(feature = "amd"), expect(dead_code, reason = "VMX sees every write of CR8"))]
    pub fn held_back(&self) -> bool {
        self.interrupts != [0; 4] && self.highest().is_none()
    }

    /// The guest's CR8.
    pub fn task_priority(&self) -> u8 {
        self.task_priority
    }

    /// Sets the guest's CR8 (4 bits).
    pub fn set_task_priority(&mut self, class: u8) {
        self.task_priority = class & 0xf;
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
    pub fn would_wake(&self, interrupts_enabled: bool) -> bool {
        self.first.is_some() || self.nmi || interrupts_enabled && self.highest().is_some()
    }

    /// The pending interrupt of the highest priority, unless CR8 holds it back.
    fn highest(&self) -> Option<u8> {
        let (index, word) = self.interrupts.iter().enumerate().rev().find(|(_, word)| **word != 0)?;
        let vector = (index as u8) << 6 | (63 - word.leading_zeros() as u8);
        (vector >> 4 > self.task_priority).then_some(vector)
    }

    /// Decides what the next entry injects, and takes it out of the queues.
    pub fn plan(&mut self, ready: Readiness) -> Plan {
        let mut plan = Plan::default();
        if let Some(first) = self.first.take() {
            plan.inject = Some(first);
        }
        if self.nmi {
            if plan.inject.is_none() && !ready.nmi_blocked && !ready.shadow {
                self.nmi = false;
                plan.inject = Some(Event::nmi());
            } else {
                plan.nmi_window = true;
            }
        }
        if let Some(vector) = self.highest() {
            if plan.inject.is_none() && ready.interrupts_enabled && !ready.shadow {
                self.interrupts[usize::from(vector >> 6) & 3] &= !(1 << (vector & 63));
                plan.inject = Some(Event::external(vector));
                plan.interrupt_window = self.highest().is_some();
            } else {
                plan.interrupt_window = true;
            }
        }
        self.any = self.anything();
        plan
    }

    /// Puts an event back that a failed entry did not deliver.
    pub fn undo(&mut self, event: Event) {
        self.any = true;
        match event.kind {
            InterruptionType::EXTERNAL_INTERRUPT => self.queue_interrupt(event.vector),
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

    const READY: Readiness = Readiness { interrupts_enabled: true, shadow: false, nmi_blocked: false };

    #[test]
    fn order_is_exception_nmi_then_highest_vector() {
        let mut events = Events::default();
        events.queue_interrupt(0x30);
        events.queue_interrupt(0xf0);
        events.queue_nmi();
        events.raise(Event::general_protection());
        assert_eq!(events.plan(READY).inject, Some(Event::general_protection()));
        let plan = events.plan(READY);
        assert_eq!(plan.inject, Some(Event::nmi()));
        assert!(plan.interrupt_window);
        assert_eq!(events.plan(READY).inject, Some(Event::external(0xf0)));
        let last = events.plan(READY);
        assert_eq!(last, Plan { inject: Some(Event::external(0x30)), ..Plan::default() });
        assert!(!events.any());
    }

    #[test]
    fn blocked_events_ask_for_their_window() {
        let mut events = Events::default();
        events.queue_interrupt(0x20);
        events.queue_nmi();
        for ready in [
            Readiness { shadow: true, ..READY },
            Readiness { interrupts_enabled: false, nmi_blocked: true, shadow: false },
        ] {
            assert_eq!(events.plan(ready), Plan { inject: None, interrupt_window: true, nmi_window: true });
        }
        assert!(events.any());
    }

    #[test]
    fn task_priority_holds_interrupts_back() {
        let mut events = Events::default();
        events.queue_interrupt(0x45);
        events.set_task_priority(4);
        assert_eq!(events.plan(READY), Plan::default());
        events.set_task_priority(3);
        assert_eq!(events.plan(READY).inject, Some(Event::external(0x45)));
    }

    #[test]
    fn faults_combine_to_double_fault_and_shutdown() {
        let pf = Event::exception(ExceptionVector::PF, Some(2));
        let mut events = Events::default();
        events.reinject(Event::external(0x20));
        events.raise(pf);
        assert_eq!(events.first, Some(pf));
        assert_eq!(events.highest(), Some(0x20));
        events.raise(pf);
        assert_eq!(events.first, Some(Event::exception(ExceptionVector::DF, Some(0))));
        assert!(!events.is_shutdown());
        events.raise(Event::general_protection());
        assert!(events.is_shutdown());
    }

    #[test]
    fn what_an_entry_did_not_deliver_comes_back() {
        let mut events = Events::default();
        events.queue_interrupt(0x31);
        let taken = events.plan(READY).inject.expect("one is pending");
        assert!(!events.any());
        events.undo(taken);
        assert_eq!(events.plan(READY).inject, Some(taken));
    }
}
