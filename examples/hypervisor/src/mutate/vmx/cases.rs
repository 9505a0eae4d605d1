//! The cases of VMX, in this order: those that always come back first, those that may take the machine down last.

use alloc::vec::Vec;

use x86_vcpu::spec::Group;
use x86_vcpu::spec::intel::vmcs::*;

use super::super::random::boundaries;
use super::super::session::{Change, Session};
use super::base::{POOR, RICH};
use super::{ENTRY_INDEX, ENTRY_RESERVED, ENTRY_VALUE, Stop, Vmx};

/// Fields whose accepted values may take the machine down: the MSRs that are loaded when the guest state is refused.
const LAST: [u32; 2] = [VM_EXIT_MSR_LOAD_ADDRESS.encoding(), VM_EXIT_MSR_LOAD_COUNT.encoding()];
/// Fields that keep the guest from running, and so are not part of random states that may be accepted.
const AREA: [u32; 2] = [VM_ENTRY_MSR_LOAD_ADDRESS.encoding(), VM_ENTRY_MSR_LOAD_COUNT.encoding()];

/// Enters all.
pub fn cases(session: &mut Session<Vmx>) {
    for base in 0..session.harness.bases.len() {
        session.case('r', base, Stop::Nothing, &[]);
    }
    let fields = |session: &Session<Vmx>, group: Group, last: bool| -> Vec<usize> {
        let fields = session.harness.fields.iter().enumerate();
        let fields = fields.filter(|(_, field)| field.group() == group && LAST.contains(&field.encoding()) == last);
        fields.map(|(index, _)| index).collect()
    };
    let controls = fields(session, Group::Control, false);
    let guest = fields(session, Group::Guest, false);
    let host = fields(session, Group::Host, false);
    let last = fields(session, Group::Control, true);
    singles(session, 'c', RICH, Stop::Guest, &controls);
    singles(session, 'c', POOR, Stop::Guest, &controls);
    for base in 0..session.harness.bases.len() {
        let of_mode = |field: &&usize| depends_on_mode(session.harness.fields[**field].name());
        let fields: Vec<usize> = match base {
            RICH | POOR => guest.clone(),
            _ => guest.iter().filter(of_mode).copied().collect(),
        };
        singles(session, 'g', base, Stop::Msr, &fields);
    }
    pairs(session, 'c', Stop::Guest, &controls, &controls);
    pairs(session, 'g', Stop::Msr, &guest, &guest);
    let harmless: Vec<usize> =
        controls.iter().copied().filter(|field| !AREA.contains(&session.harness.fields[*field].encoding())).collect();
    pairs(session, 'g', Stop::Msr, &harmless, &guest);
    events(session);
    segments(session);
    modes(session);
    msr_area(session);
    singles(session, 'h', RICH, Stop::Guest, &host);
    // Every accepted HOST_CR3 that points outside memory takes a boot, and no control has to do with it.
    let others: Vec<usize> =
        host.iter().copied().filter(|field| session.harness.fields[*field].encoding() != HOST_CR3.encoding()).collect();
    singles(session, 'h', POOR, Stop::Guest, &others);
    pairs(session, 'h', Stop::Guest, &host, &host);
    pairs(session, 'h', Stop::Guest, &harmless, &host);
    singles(session, 'c', RICH, Stop::Guest, &last);
}

/// Fields for whose rules the mode of the guest matters: they are tried in each.
fn depends_on_mode(field: &str) -> bool {
    let parts = ["_SELECTOR", "_BASE", "_LIMIT", "_ACCESS_RIGHTS", "_CR0", "_CR3", "_CR4", "_EFER", "_RFLAGS", "_RIP"];
    let states = ["_ACTIVITY_STATE", "_INTERRUPTIBILITY_STATE", "_PDPTE0"];
    !field.contains("DTR_") && parts.iter().chain(&states).any(|part| field.ends_with(part))
}

/// Each field with its boundaries, each bit flipped, and random values.
fn singles(session: &mut Session<Vmx>, kind: char, base: usize, stop: Stop, fields: &[usize]) {
    for &field in fields {
        let (bits, valid) = (bits(session, field), session.harness.valid(base, field));
        for value in boundaries(bits, valid) {
            session.case(kind, base, stop, &[(field, value)]);
        }
        for _ in 0..session.settings.random {
            let value = session.random.value(bits, valid);
            session.case(kind, base, stop, &[(field, value)]);
        }
    }
}

/// Random values for one field of each list, in any base.
fn pairs(session: &mut Session<Vmx>, kind: char, stop: Stop, first: &[usize], second: &[usize]) {
    for _ in 0..session.settings.pairs {
        let base = session.random.below(session.harness.bases.len());
        let changes = [first, second].map(|fields| {
            let field = session.random.pick(fields);
            let (bits, valid) = (bits(session, field), session.harness.valid(base, field));
            // Single bits are refused less often than anything else.
            let value = if session.random.once_in(2) {
                valid ^ 1 << session.random.below(bits as usize)
            } else {
                session.random.value(bits, valid)
            };
            (field, value)
        });
        session.case(kind, base, stop, &changes);
    }
}

fn bits(session: &Session<Vmx>, field: usize) -> u32 {
    use x86_vcpu::spec::Width;
    match session.harness.fields[field].width() {
        Width::W16 => 16,
        Width::W32 => 32,
        Width::W64 | Width::Natural => 64,
    }
}

/// Changes of fields by name; those that this CPU does not have are left out.
fn named(session: &Session<Vmx>, changes: &[(u32, u64)]) -> Vec<Change> {
    changes.iter().filter_map(|(field, value)| Some((session.harness.find(*field)?, *value))).collect()
}

/// What is injected, in each activity state, with each kind of blocking.
fn events(session: &mut Session<Vmx>) {
    for _ in 0..3 * session.settings.pairs {
        let random = &mut session.random;
        let base = random.below(session.harness.bases.len());
        let vector = random.pick(&[0, 1, 2, 3, 4, 6, 8, 10, 11, 13, 14, 17, 18, 21, 31, 32, 255]);
        let information = 1 << 31
            | vector
            | random.pick(&[0, 0, 1, 2, 3, 3, 4, 5, 6, 7]) << 8
            | u64::from(random.once_in(3)) << 11
            | if random.once_in(10) { 1 << (12 + random.below(19)) } else { 0 };
        let error_code = random.pick(&[0, 0, 1, 0x7FFF, 0x8000, 0x1_0000, 0xFFFF_FFFF]);
        let length = random.pick(&[0, 1, 1, 2, 15, 16]);
        let activity = random.pick(&[0, 0, 0, 1, 2, 3, 4]);
        let blocking = random.pick(&[0, 0, 0, 1, 2, 3, 4, 8, 9, 10, 16, 32]);
        let pending = random.pick(&[0, 0, 0, 1 << 14, 1 << 12, 1 << 16, 1 << 4, 0x100F]);
        let flags = session.random.pick(&[0, 1 << 9, 1 << 8, 1 << 9 | 1 << 8]);
        let rflags =
            session.harness.find(GUEST_RFLAGS.encoding()).map_or(2, |field| session.harness.valid(base, field));
        let debug_control = session.random.pick(&[0, 0, 1 << 1]);
        let mut changes = named(
            session,
            &[
                (GUEST_ACTIVITY_STATE.encoding(), activity),
                (GUEST_INTERRUPTIBILITY_STATE.encoding(), blocking),
                (GUEST_PENDING_DEBUG_EXCEPTIONS.encoding(), pending),
                (GUEST_RFLAGS.encoding(), rflags | flags),
                (GUEST_IA32_DEBUGCTL.encoding(), debug_control),
            ],
        );
        if !session.random.once_in(4) {
            changes.extend(named(
                session,
                &[
                    (VM_ENTRY_INTERRUPTION_INFORMATION.encoding(), information),
                    (VM_ENTRY_EXCEPTION_ERROR_CODE.encoding(), error_code),
                    (VM_ENTRY_INSTRUCTION_LENGTH.encoding(), length),
                ],
            ));
        }
        session.case('e', base, Stop::Msr, &changes);
    }
}

/// Two segments with whatever a descriptor may hold.
fn segments(session: &mut Session<Vmx>) {
    let segments = [
        (GUEST_CS_SELECTOR, GUEST_CS_BASE, GUEST_CS_LIMIT, GUEST_CS_ACCESS_RIGHTS),
        (GUEST_SS_SELECTOR, GUEST_SS_BASE, GUEST_SS_LIMIT, GUEST_SS_ACCESS_RIGHTS),
        (GUEST_DS_SELECTOR, GUEST_DS_BASE, GUEST_DS_LIMIT, GUEST_DS_ACCESS_RIGHTS),
        (GUEST_ES_SELECTOR, GUEST_ES_BASE, GUEST_ES_LIMIT, GUEST_ES_ACCESS_RIGHTS),
        (GUEST_FS_SELECTOR, GUEST_FS_BASE, GUEST_FS_LIMIT, GUEST_FS_ACCESS_RIGHTS),
        (GUEST_GS_SELECTOR, GUEST_GS_BASE, GUEST_GS_LIMIT, GUEST_GS_ACCESS_RIGHTS),
        (GUEST_LDTR_SELECTOR, GUEST_LDTR_BASE, GUEST_LDTR_LIMIT, GUEST_LDTR_ACCESS_RIGHTS),
        (GUEST_TR_SELECTOR, GUEST_TR_BASE, GUEST_TR_LIMIT, GUEST_TR_ACCESS_RIGHTS),
    ];
    for number in 0..4 * session.settings.pairs as usize {
        let base = session.random.below(session.harness.bases.len());
        let mut changes = Vec::new();
        // The first ones go through all of them; CS and SS matter to each other.
        for (selector, address, limit, rights) in [segments[number % 8], session.random.pick(&segments)] {
            let of = |field: u32| session.harness.find(field).map_or(0, |field| session.harness.valid(base, field));
            let (old_selector, old_base, old_limit, old_rights) =
                (of(selector.encoding()), of(address.encoding()), of(limit.encoding()), of(rights.encoding()));
            let random = &mut session.random;
            let new_rights = match random.below(4) {
                0 => old_rights ^ 1 << random.below(17),
                1 => old_rights & !0xF | random.below(16) as u64,
                2 => old_rights & !0x60 | (random.below(4) as u64) << 5,
                _ => {
                    random.next() & random.pick(&[0xF0FF, 0x1_F0FF, 0x1_FFFF])
                        | random.pick(&[0, 0x80, 0x90, 0x91, 0x93])
                }
            };
            let new_selector = random.pick(&[old_selector, old_selector, 0, old_selector ^ 3, old_selector | 4, 0x33]);
            let new_base = random.pick(&[
                old_base,
                old_base,
                new_selector << 4,
                0x1_0000_0000,
                0x8000_0000_0000,
                0xFFFF_8000_0000_0000,
            ]);
            let new_limit = random.pick(&[old_limit, old_limit, 0xFFFF, 0xF_FFFF, 0xFFFF_F000, 0x10_0000, 0]);
            changes.extend(named(
                session,
                &[
                    (selector.encoding(), new_selector),
                    (address.encoding(), new_base),
                    (limit.encoding(), new_limit),
                    (rights.encoding(), new_rights),
                ],
            ));
        }
        session.case('s', base, Stop::Msr, &changes);
    }
}

/// Control registers, EFER and the controls that go with them, in every combination.
fn modes(session: &mut Session<Vmx>) {
    for _ in 0..4 * session.settings.pairs {
        let base = session.random.below(session.harness.bases.len());
        let of = |session: &Session<Vmx>, field: u32| {
            session.harness.find(field).map_or(0, |field| session.harness.valid(base, field))
        };
        let mut changes = Vec::new();
        for (field, masks) in [
            // PE, NE, WP, NW, CD, PG
            (GUEST_CR0.encoding(), &[1, 1 << 5, 1 << 16, 1 << 29, 3 << 29, 1 << 31, 1 << 31 | 1][..]),
            // PAE, PCIDE, CET, LA57, SMXE, VMXE, VME
            (GUEST_CR4.encoding(), &[1 << 5, 1 << 17, 1 << 23, 1 << 12, 1 << 14, 1 << 13, 1]),
            // LME, LMA, both, SCE, NXE
            (GUEST_IA32_EFER.encoding(), &[1 << 8, 1 << 10, 5 << 8, 1, 1 << 11, 1 << 12]),
            // IA-32e mode guest, load EFER, PAT, debug controls, CET
            (VM_ENTRY_CONTROLS.encoding(), &[1 << 9, 1 << 15, 1 << 14, 1 << 2, 1 << 20]),
            // VM, IF, reserved ones
            (GUEST_RFLAGS.encoding(), &[1 << 17, 1 << 9, 1 << 1, 1 << 15]),
            // unrestricted guest, EPT
            (SECONDARY_PROCESSOR_CONTROLS.encoding(), &[1 << 7, 1 << 1]),
            // D, L
            (GUEST_CS_ACCESS_RIGHTS.encoding(), &[1 << 14, 1 << 13, 3 << 13]),
            (GUEST_RIP.encoding(), &[1 << 32, 1 << 47, 1 << 48, 0xFFFF << 48]),
        ] {
            if session.random.once_in(3) {
                let flip = session.random.pick(masks);
                changes.extend(named(session, &[(field, of(session, field) ^ flip)]));
            }
        }
        session.case('m', base, Stop::Msr, &changes);
    }
}

/// The first entry of the area of MSRs to load.
fn msr_area(session: &mut Session<Vmx>) {
    use x86_vcpu::spec::x86::msrs::*;
    let harmless = [IA32_SYSENTER_CS, IA32_SYSENTER_ESP, IA32_STAR, IA32_LSTAR, IA32_FMASK, IA32_KERNEL_GS_BASE];
    let base = RICH;
    for msr in harmless {
        session.case('l', base, Stop::Msr, &[(ENTRY_INDEX, msr.0.into()), (ENTRY_VALUE, 0)]);
    }
    for reserved in boundaries(32, 0).skip(1) {
        let index = IA32_SYSENTER_CS.0.into();
        session.case('l', base, Stop::Msr, &[(ENTRY_INDEX, index), (ENTRY_RESERVED, reserved)]);
    }
    // What no entry loads: bases of FS and GS, the local APIC's registers, those of SMM, microcode updates, what only reads.
    let refused = [IA32_FS_BASE.0, IA32_GS_BASE.0, 0x79, 0x9B, 0x9E, 0x480, 0x48A];
    for index in refused.into_iter().chain(0x800..=0x83F).chain([0x8FF, 0x7FF, 0x900]) {
        session.case('l', base, Stop::Msr, &[(ENTRY_INDEX, index.into())]);
    }
    for bit in 0..32 {
        let index = u64::from(IA32_KERNEL_GS_BASE.0) ^ 1 << bit;
        session.case('l', base, Stop::Msr, &[(ENTRY_INDEX, index)]);
    }
    for (msr, values) in [
        (IA32_EFER, &[0, 1, 1 << 8, 1 << 10, 5 << 8, 1 << 1, 1 << 63, 0xD01][..]),
        (IA32_PAT, &[0, 2, 3, 7, 8, 0xFF << 56]),
        (IA32_LSTAR, &[1 << 46, 1 << 47, 1 << 63, 0xFFFF_8000_0000_0000]),
        (IA32_KERNEL_GS_BASE, &[1 << 46, 1 << 47, 1 << 63, 0xFFFF_8000_0000_0000]),
        (IA32_SYSENTER_EIP, &[1 << 46, 1 << 47, 1 << 63, 0xFFFF_8000_0000_0000]),
        (IA32_SYSENTER_CS, &[1 << 31, 1 << 32, 1 << 63]),
    ] {
        for value in values {
            session.case('l', base, Stop::Msr, &[(ENTRY_INDEX, msr.0.into()), (ENTRY_VALUE, *value)]);
        }
    }
}
