//! The handle, on a map.

use super::*;
use crate::spec::intel::conditions::{EnableEpt, EnableVpid};
use crate::spec::intel::controls::SecondaryControls;
use crate::spec::intel::structures::EptPointer;
use crate::spec::intel::vmcs::{EPT_POINTER, FIELDS, GUEST_CS_SELECTOR, GUEST_RIP, VM_EXIT_INSTRUCTION_LENGTH};

#[test]
fn what_was_written_is_read() {
    let allowed = AllowedControls::default();
    let vmcs = Vmcs::with_backend(MapBackend::new(), &allowed);
    assert_eq!(vmcs.read(GUEST_RIP), 0);
    vmcs.write(GUEST_RIP, 0xfff0);
    vmcs.write(GUEST_CS_SELECTOR, 8);
    vmcs.write(GUEST_RIP, 0x7c00);
    assert_eq!((vmcs.read(GUEST_RIP), vmcs.read(GUEST_CS_SELECTOR)), (0x7c00, 8));
}

#[test]
fn exit_information_comes_from_the_backend() {
    let allowed = AllowedControls::default();
    let vmcs = Vmcs::with_backend(MapBackend::new(), &allowed);
    vmcs.backend().put(VM_EXIT_INSTRUCTION_LENGTH.encoding(), 2);
    assert_eq!(vmcs.read(VM_EXIT_INSTRUCTION_LENGTH), 2_u32);
}

#[test]
fn a_witness_is_given_for_what_is_allowed_only() {
    let allowed = AllowedControls { secondary: SecondaryControls::ENABLE_EPT, ..AllowedControls::default() };
    let vmcs = Vmcs::with_backend(MapBackend::new(), &allowed);
    assert!(vmcs.has::<EnableVpid>().is_none());
    let witness = vmcs.has::<EnableEpt>().expect("EPT is allowed");
    let pointer = EptPointer::from_bits(0x1000);
    vmcs.write_if(EPT_POINTER, pointer, witness);
    assert_eq!(vmcs.try_write_if(EPT_POINTER, pointer, witness), Ok(()));
    assert_eq!(vmcs.read_if(EPT_POINTER, witness), pointer);
}

#[test]
fn the_map_has_room_for_every_field() {
    let map = MapBackend::new();
    for field in FIELDS {
        map.put(field.encoding(), field.encoding().into());
    }
    assert!(FIELDS.iter().all(|field| map.read(field.encoding()) == u64::from(field.encoding())));
}

#[test]
fn a_table_of_fields_says_which_of_them_a_cpu_has() {
    let all = |allowed: &AllowedControls| FIELDS.iter().filter(|field| field.exists(allowed)).count();
    let without = all(&AllowedControls::default());
    let with = all(&AllowedControls { secondary: SecondaryControls::ENABLE_EPT, ..AllowedControls::default() });
    assert!(without < with && with < FIELDS.len());
}
