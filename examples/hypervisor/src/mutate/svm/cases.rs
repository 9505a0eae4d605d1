//! The cases of SVM.

use alloc::vec::Vec;

use super::super::random::boundaries;
use super::super::session::{Change, Session};
use super::Svm;

/// Where the state save area begins.
const SAVE: u16 = 0x400;

/// Enters all.
pub fn cases(session: &mut Session<Svm>) {
    for base in 0..session.harness.bases.len() {
        session.case('r', base, (), &[]);
    }
    let fields = |save: bool| -> Vec<usize> {
        let fields = session.harness.fields.iter().enumerate();
        fields.filter(|(_, field)| (field.offset >= SAVE) == save).map(|(index, _)| index).collect()
    };
    let (controls, save) = (fields(false), fields(true));
    singles(session, 'c', 0, &controls);
    for base in 0..session.harness.bases.len() {
        singles(session, 'g', base, &save);
    }
    pairs(session, 'c', &controls, &controls);
    pairs(session, 'g', &controls, &save);
    pairs(session, 'g', &save, &save);
    events(session);
    modes(session);
}

fn bits(session: &Session<Svm>, field: usize) -> u32 {
    8 * u32::from(session.harness.fields[field].size)
}

/// Each member with its boundaries, each bit flipped, and random values.
fn singles(session: &mut Session<Svm>, kind: char, base: usize, fields: &[usize]) {
    for &field in fields {
        let (bits, valid) = (bits(session, field), session.harness.valid(base, field));
        for value in boundaries(bits, valid) {
            session.case(kind, base, (), &[(field, value)]);
        }
        for _ in 0..session.settings.random {
            let value = session.random.value(bits, valid);
            session.case(kind, base, (), &[(field, value)]);
        }
    }
}

/// Random values for one member of each list, in any base.
fn pairs(session: &mut Session<Svm>, kind: char, first: &[usize], second: &[usize]) {
    for _ in 0..session.settings.pairs {
        let base = session.random.below(session.harness.bases.len());
        let changes = [first, second].map(|fields| {
            let field = session.random.pick(fields);
            let (bits, valid) = (bits(session, field), session.harness.valid(base, field));
            let value = if session.random.once_in(2) {
                valid ^ 1 << session.random.below(bits as usize)
            } else {
                session.random.value(bits, valid)
            };
            (field, value)
        });
        session.case(kind, base, (), &changes);
    }
}

/// What is injected.
fn events(session: &mut Session<Svm>) {
    let field = session.harness.find("control.EVENTINJ");
    for kind in 0..8 {
        for vector in (0..34).chain([255]) {
            let value = 1 << 31 | kind << 8 | vector;
            session.case('e', 0, (), &[(field, value)]);
        }
    }
    for _ in 0..session.settings.pairs {
        let base = session.random.below(session.harness.bases.len());
        let random = &mut session.random;
        let vector = random.pick(&[0, 1, 2, 3, 4, 6, 8, 10, 11, 13, 14, 17, 18, 21, 31, 32, 255]);
        let value = (u64::from(!random.once_in(8)) << 31)
            | (random.below(8) as u64 * 0x100)
            | (u64::from(random.once_in(2)) << 11)
            | if random.once_in(3) { 1 << (12 + random.below(52)) } else { 0 }
            | vector;
        session.case('e', base, (), &[(field, value)]);
    }
}

/// Control registers and EFER, in every combination.
fn modes(session: &mut Session<Svm>) {
    for _ in 0..4 * session.settings.pairs {
        let base = session.random.below(session.harness.bases.len());
        let mut changes: Vec<Change> = Vec::new();
        for (name, masks) in [
            // PE, WP, NW, CD, both, PG, PG and PE
            ("save.CR0", &[1u64, 1 << 16, 1 << 29, 1 << 30, 3 << 29, 1 << 31, 1 << 31 | 1, 1 << 32][..]),
            // PAE, PCIDE, CET, LA57, VMXE, VME, SMEP
            ("save.CR4", &[1 << 5, 1 << 17, 1 << 23, 1 << 12, 1 << 13, 1, 1 << 20]),
            // LME, LMA, both, SCE, SVME, NXE
            ("save.EFER", &[1 << 8, 1 << 10, 5 << 8, 1, 1 << 12, 1 << 11]),
            // D, L
            ("save.CS_ATTRIBUTES", &[1 << 10, 1 << 9, 3 << 9]),
            ("save.RFLAGS", &[1 << 17, 1 << 1, 1 << 15]),
            ("save.CR3", &[1 << 3, 1 << 5, 1 << 52, 1 << 63]),
            ("control.NESTED_CONTROL", &[1]),
            ("save.CPL", &[3]),
        ] {
            if session.random.once_in(3) {
                let field = session.harness.find(name);
                let flip = session.random.pick(masks);
                changes.push((field, session.harness.valid(base, field) ^ flip));
            }
        }
        session.case('m', base, (), &changes);
    }
}
