//! A processor's event logic, written from the manuals' rules and not from the engine, which is held to it by random
//! sequences.
//!
//! SDM volume 3, "Priority Among Concurrent Events", "Masking Maskable Hardware Interrupts", "Masking Exceptions and Interrupts
//! When Switching Stacks", "Handling Multiple NMIs", "Interrupt 8 - Double Fault Exception (#DF)" with "Interrupt and
//! Exception Classes" and "Conditions for Generating a Double Fault", "Interrupt, Task, and Processor Priority".
//!
//! The rules are here in the plainest form: sets instead of bits, tables instead of conditions, and everything recomputed
//! for each question.

use std::{collections::BTreeSet, env, vec::Vec};

use super::{Event, Events, InterruptQueue, InterruptSource, Readiness};
use crate::random::Random;
use crate::spec::{intel::structures::InterruptionType, x86::registers::ExceptionVector};

/// What a processor can be delivering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivery {
    Exception(u8),
    Software(u8),
    Nmi,
    Interrupt(u8),
}

/// The classes of "Interrupt and Exception Classes", with #DF for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Benign,
    Contributory,
    PageFault,
    DoubleFault,
}

fn class(delivery: Delivery) -> Class {
    match delivery {
        Delivery::Exception(0 | 10 | 11 | 12 | 13 | 21) => Class::Contributory,
        Delivery::Exception(14 | 20) => Class::PageFault,
        Delivery::Exception(8) => Class::DoubleFault,
        _ => Class::Benign,
    }
}

/// What happens at an instruction boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Boundary {
    Deliver(Delivery),
    /// The VMM acknowledges its interrupt controller.
    TellVmm,
    Shutdown,
    Execute,
}

/// The processor, with an interrupt controller that knows requests and a task priority.
#[derive(Clone, Debug, Default)]
struct Processor {
    interrupt_flag: bool,
    /// The last instruction was an STI that set IF, or loaded SS.
    inhibited: bool,
    nmi_handler_runs: bool,
    trap: bool,
    task_priority: u8,
    /// Interrupts that were asked for, and not acknowledged.
    asked: BTreeSet<u8>,
    /// One that was acknowledged, whose handler has not begun.
    accepted: Option<u8>,
    vmm_waits: bool,
    nmi_latched: bool,
    /// The event that has begun and must end before anything else begins.
    begun: Option<Delivery>,
    dead: bool,
}

impl Processor {
    /// The instruction, or the delivery that has begun, meets an exception.
    fn meet(&mut self, vector: u8) {
        let second = Delivery::Exception(vector);
        let Some(first) = self.begun else {
            self.begun = Some(second);
            return;
        };
        let double = match (class(first), class(second)) {
            (Class::DoubleFault, _) => {
                self.begun = None;
                self.dead = true;
                return;
            }
            (Class::Benign, _) => false,
            (Class::Contributory, Class::Contributory) => true,
            (Class::Contributory, _) => false,
            (Class::PageFault, Class::Contributory | Class::PageFault) => true,
            (Class::PageFault, _) => false,
        };
        // In the other cases the handler of the second runs first; what no instruction would raise again is not lost.
        match first {
            _ if double => {}
            Delivery::Nmi => self.nmi_latched = true,
            Delivery::Interrupt(vector) => self.accepted = Some(vector),
            _ => {}
        }
        self.begun = Some(if double { Delivery::Exception(8) } else { second });
    }

    /// The one of the highest priority class above the task priority's; 0 holds nothing back.
    fn best_asked(&self) -> Option<u8> {
        let best = *self.asked.last()?;
        (self.task_priority == 0 || best / 16 > self.task_priority).then_some(best)
    }

    fn boundary(&mut self) -> Boundary {
        if self.dead {
            return Boundary::Shutdown;
        }
        if let Some(Delivery::Interrupt(vector)) = self.begun
            && !self.interrupt_flag
        {
            // The VMM has taken the flag away meanwhile.
            self.begun = None;
            self.accepted = Some(vector);
        }
        if let Some(event) = self.begun.take() {
            return self.begin(event);
        }
        if self.trap {
            // Delivered by the processor itself, before all that comes from outside.
            return Boundary::Execute;
        }
        if self.nmi_latched && !self.nmi_handler_runs && !self.inhibited {
            self.nmi_latched = false;
            return self.begin(Delivery::Nmi);
        }
        if !self.interrupt_flag || self.inhibited {
            return Boundary::Execute;
        }
        if let Some(vector) = self.accepted.take() {
            return self.begin(Delivery::Interrupt(vector));
        }
        if self.vmm_waits {
            self.vmm_waits = false;
            return Boundary::TellVmm;
        }
        if let Some(vector) = self.best_asked() {
            self.asked.remove(&vector);
            return self.begin(Delivery::Interrupt(vector));
        }
        Boundary::Execute
    }

    fn begin(&mut self, event: Delivery) -> Boundary {
        self.inhibited = false;
        match event {
            Delivery::Nmi => self.nmi_handler_runs = true,
            Delivery::Interrupt(_) => self.interrupt_flag = false,
            _ => {}
        }
        Boundary::Deliver(event)
    }

    /// Whether something waits that a later boundary delivers.
    fn waits(&self) -> bool {
        self.dead
            || self.begun.is_some()
            || self.nmi_latched
            || self.accepted.is_some()
            || self.vmm_waits
            || self.best_asked().is_some()
    }

    /// Whether an exit is needed as soon as interrupts can be taken.
    fn wants_interrupt_window(&self) -> bool {
        self.accepted.is_some() || self.vmm_waits || self.best_asked().is_some()
    }
}

fn delivery(event: &Event) -> Delivery {
    match event.kind {
        InterruptionType::EXTERNAL_INTERRUPT => Delivery::Interrupt(event.vector),
        InterruptionType::NMI => Delivery::Nmi,
        InterruptionType::HARDWARE_EXCEPTION => Delivery::Exception(event.vector),
        _ => Delivery::Software(event.vector),
    }
}

/// A vector: few, so that they meet; the lowest, the highest, and neighbours of one class.
fn any_vector(random: &mut Random) -> u8 {
    const VECTORS: [u8; 8] = [8, 0x20, 0x31, 0x32, 0x3f, 0x40, 0xe0, 0xff];
    VECTORS[random.below(8) as usize]
}

/// The vCPU beside the processor.
struct Pair {
    events: Events,
    queue: InterruptQueue,
    model: Processor,
    /// What was delivered last: the next exit may have interrupted it.
    last: Option<Event>,
    log: Vec<std::string::String>,
}

impl Pair {
    fn step(&mut self, random: &mut Random) {
        let what = random.below(18);
        self.log.push(std::format!("{what}"));
        let Self { events, queue, model, .. } = self;
        match what {
            // The instruction meets an exception, possibly after its delivery, or another's, was interrupted.
            0 | 1 => {
                const EXCEPTIONS: [u8; 10] = [0, 1, 6, 8, 11, 12, 13, 14, 17, 14];
                let vector = EXCEPTIONS[random.below(10) as usize];
                events.raise(Event::exception(ExceptionVector(vector), Some(vector.into())).normalized());
                model.meet(vector);
            }
            2 => {
                events.queue_nmi();
                model.nmi_latched = true;
            }
            3..6 => {
                let vector = any_vector(random);
                queue.request(vector);
                events.wake();
                model.asked.insert(vector);
            }
            6 => {
                let class = random.below(16) as u8;
                queue.set_task_priority(class);
                model.task_priority = class;
            }
            7 => model.interrupt_flag = false,
            8 | 9 => {
                // STI inhibits when it sets the flag.
                model.inhibited |= !model.interrupt_flag;
                model.interrupt_flag = true;
            }
            10 => model.inhibited = true,
            11 | 12 => model.inhibited = false,
            13 => {
                // IRET, to code with interrupts on.
                model.nmi_handler_runs = false;
                model.interrupt_flag = true;
                model.inhibited = false;
            }
            14 => {
                events.request_interrupt_window();
                model.vmm_waits = true;
            }
            15 => model.trap = !model.trap,
            16 => {
                // INT n, whose delivery an exit interrupts.
                if model.begun.is_none() && !model.dead {
                    events.reinject(Event::software_interrupt(0x80, 2));
                    model.begun = Some(Delivery::Software(0x80));
                }
            }
            // An exit interrupts the last delivery, or the entry failed.
            _ => {
                let fails = random.below(2) == 0;
                if let Some(event) = self.last
                    && model.begun.is_none()
                {
                    let event_begun = delivery(&event);
                    match event_begun {
                        // The flag is as before the delivery.
                        Delivery::Interrupt(_) => model.interrupt_flag = true,
                        Delivery::Nmi => model.nmi_handler_runs = false,
                        _ => {}
                    }
                    if !fails {
                        events.reinject(event);
                        model.begun = Some(event_begun);
                    } else {
                        events.undo(event);
                        match event_begun {
                            Delivery::Interrupt(vector) => model.accepted = Some(vector),
                            Delivery::Nmi => model.nmi_latched = true,
                            other => model.begun = Some(other),
                        }
                    }
                }
            }
        }
        self.last = None;
        if random.below(3) != 0 {
            self.enter(random);
        }
    }

    /// The next entry.
    fn enter(&mut self, random: &mut Random) {
        let Self { events, queue, model, log, .. } = self;
        let ready = Readiness {
            interrupts_enabled: model.interrupt_flag,
            shadow: model.inhibited,
            nmi_blocked: model.nmi_handler_runs,
            debug_pending: model.trap,
        };
        if !events.any() {
            assert!(!model.waits(), "{log:?}: nothing is said to wait, but {model:?}");
            assert_eq!(model.boundary(), Boundary::Execute);
            return;
        }
        assert_eq!(events.is_shutdown(), model.dead, "{log:?}");
        if model.dead {
            assert_eq!(model.boundary(), Boundary::Shutdown);
            return;
        }
        let wakes =
            model.begun.is_some() || model.nmi_latched || model.interrupt_flag && model.wants_interrupt_window();
        assert_eq!(events.would_wake(model.interrupt_flag, queue), wakes, "{log:?} {model:?}");
        let before = model.clone();
        let plan = events.plan(ready, queue);
        let expected = model.boundary();
        let planned = match plan.inject {
            _ if plan.tell_vmm => Boundary::TellVmm,
            Some(event) => Boundary::Deliver(delivery(&event)),
            None => Boundary::Execute,
        };
        assert_eq!(planned, expected, "{log:?} {before:?}");
        assert_eq!(plan.interrupt_window, model.wants_interrupt_window(), "{log:?} {before:?}");
        assert_eq!(plan.nmi_window, model.nmi_latched, "{log:?} {before:?}");
        if let Some(event) = plan.inject {
            let has_code =
                matches!(event.vector, 8 | 10..=14 | 17) && delivery(&event) == Delivery::Exception(event.vector);
            assert_eq!(event.error_code.is_some(), has_code, "{log:?} {event:?}");
        }
        if plan.tell_vmm && random.below(2) == 0 {
            let vector = any_vector(random);
            events.deliver_acknowledged(vector);
            model.accepted = Some(vector);
        }
        self.last = plan.inject;
        assert_eq!(queue.any(), !model.asked.is_empty());
    }
}

#[test]
fn the_engine_does_what_a_processor_does() {
    let default = if cfg!(debug_assertions) { 150_000 } else { 3_000_000 };
    let sequences = env::var("X86_VCPU_SEQUENCES").ok().and_then(|number| number.parse().ok()).unwrap_or(default);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..sequences {
        let mut pair = Pair {
            events: Events::default(),
            queue: InterruptQueue::default(),
            model: Processor::default(),
            last: None,
            log: Vec::new(),
        };
        for _ in 0..1 + random.below(24) {
            pair.step(&mut random);
        }
    }
}
