//! Requests, priorities and EOIs against sets of vectors that know nothing of bits and registers.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::{Random, enabled, read, write};
use crate::{
    guest::{apic::Effect, events::InterruptSource},
    spec::x86::apic::ApicRegister,
};

extern crate std;

/// What SDM volume 3 says of fixed interrupts, in the plainest words.
#[derive(Default)]
struct Model {
    requested: BTreeSet<u8>,
    /// The handlers in service, and whether each vector was triggered by level when it was requested last.
    in_service: BTreeSet<u8>,
    level: BTreeMap<u8, bool>,
    task_priority: u8,
    errors: u32,
    error_status: u32,
    on: bool,
}

impl Model {
    fn processor_priority(&self) -> u8 {
        let in_service = self.in_service.last().copied().unwrap_or(0) / 16;
        if self.task_priority / 16 >= in_service { self.task_priority } else { in_service * 16 }
    }

    fn next(&self) -> Option<u8> {
        self.requested.last().copied().filter(|vector| vector / 16 > self.processor_priority() / 16)
    }

    fn request(&mut self, vector: u8, level: bool) {
        if !self.on {
        } else if vector < 16 {
            self.errors |= 0x40;
        } else {
            self.requested.insert(vector);
            self.level.insert(vector, level);
        }
    }

    fn end(&mut self) -> Option<u8> {
        let vector = self.in_service.pop_last()?;
        self.level[&vector].then_some(vector)
    }
}

fn words(set: &BTreeSet<u8>) -> [u32; 8] {
    let mut words = [0; 8];
    for vector in set {
        words[usize::from(vector / 32)] |= 1 << (vector % 32);
    }
    words
}

#[test]
fn priorities_are_those_of_the_model() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut delivered = 0;
    for round in 0..200 {
        let mut apic = enabled(0);
        let mut model = Model { on: true, ..Model::default() };
        // Few vectors, so that they meet; now and then all of them.
        let span = if round % 4 == 0 { 256 } else { 24 };
        let base = random.below(256 - span + 1);
        for step in 0..10_000u32 {
            let vector = (base + random.below(span)) as u8;
            match random.below(12) {
                0..4 => {
                    let level = random.below(2) != 0;
                    apic.receive(vector, level);
                    model.request(vector, level);
                }
                4 => {
                    let mut bits = [0; 4];
                    bits[usize::from(vector / 64)] |= 1 << (vector % 64);
                    apic.receive_all(&bits, &[0; 4]);
                    model.request(vector, false);
                }
                5..8 => {
                    assert_eq!(apic.highest(), model.next(), "round {round} step {step}");
                    if let Some(vector) = model.next() {
                        apic.acknowledge(vector);
                        model.requested.remove(&vector);
                        model.in_service.insert(vector);
                        delivered += 1;
                    }
                }
                8..10 => {
                    let told = match write(&mut apic, ApicRegister::END_OF_INTERRUPT, 0) {
                        Effect::EndOfInterrupt { vector } => Some(vector),
                        _ => None,
                    };
                    assert_eq!(told, model.end(), "round {round} step {step}");
                }
                10 => {
                    if random.below(2) == 0 {
                        write(&mut apic, ApicRegister::TASK_PRIORITY, vector.into());
                        model.task_priority = vector;
                    } else {
                        apic.set_task_priority(vector / 16, false);
                        model.task_priority = vector & 0xf0;
                    }
                }
                _ => match random.below(4) {
                    0 => {
                        model.on = random.below(8) != 0;
                        let value = if model.on { 0x1ff } else { 0xff };
                        write(&mut apic, ApicRegister::SPURIOUS_INTERRUPT_VECTOR, value);
                    }
                    1 => {
                        write(&mut apic, ApicRegister::ERROR_STATUS, 0);
                        model.error_status = core::mem::take(&mut model.errors);
                    }
                    _ => {
                        // To itself; an illegal vector is not sent.
                        write(&mut apic, ApicRegister::INTERRUPT_COMMAND_LOW, 0x4_0000 | u32::from(vector));
                        if vector < 16 { model.errors |= 0x20 } else { model.request(vector, false) }
                    }
                },
            }
            if step % 64 == 0 {
                let sets = [
                    (ApicRegister::INTERRUPT_REQUEST_0, words(&model.requested)),
                    (ApicRegister::IN_SERVICE_0, words(&model.in_service)),
                ];
                for (first, words) in sets {
                    for (index, word) in (0u16..).zip(words) {
                        assert_eq!(read(&mut apic, ApicRegister(first.0 + 16 * index)), word);
                    }
                }
                assert_eq!(read(&mut apic, ApicRegister::PROCESSOR_PRIORITY), u32::from(model.processor_priority()));
                assert_eq!(read(&mut apic, ApicRegister::TASK_PRIORITY), u32::from(model.task_priority));
                assert_eq!(read(&mut apic, ApicRegister::ERROR_STATUS), model.error_status);
            }
            // What a source says of itself lets no interrupt be forgotten.
            assert!(apic.any() || apic.highest().is_none());
        }
    }
    assert!(delivered > 100_000, "{delivered}");
}
