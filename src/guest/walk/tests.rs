use super::*;
use crate::{
    guest::memory::{
        MemoryFaultReason,
        test_guest::{KINDS, RAM, TestGuest},
    },
    nested::PageSize,
    random::Random,
};

const SUPERVISOR: Privilege = Privilege { user: false, alignment_check: false };
const USER_MODE: Privilege = Privilege { user: true, alignment_check: false };

fn long() -> Paging {
    Paging {
        cr0: Cr0::PE | Cr0::PG | Cr0::WP,
        cr3: 0x1000,
        cr4: Cr4::PAE,
        efer: Efer::LME | Efer::LMA | Efer::NXE,
        pdptes: None,
        physical_bits: 46,
        pkru: Pkru::Unused,
    }
}

/// P, RW, US, A and D, as the manuals number them.
const FULL: u64 = 0x67;

fn error_code(result: Result<u64, WalkFault>) -> u32 {
    match result {
        Err(WalkFault::PageFault(fault)) => fault.error_code.bits(),
        other => panic!("no page fault but {other:x?}"),
    }
}

#[test]
fn four_levels_of_small_pages() {
    for kind in KINDS {
        let guest = TestGuest::new(kind);
        let linear = 0xffff_8123_4567_8000;
        guest.map_linear(linear, 0x9_a000, FULL);
        let mut memory = guest.memory();
        for access in [
            LinearAccess::Done,
            LinearAccess::Read(SUPERVISOR),
            LinearAccess::Write(USER_MODE),
            LinearAccess::Fetch(USER_MODE),
        ] {
            assert_eq!(long().translate(&mut memory, linear | 0x123, access), Ok(0x9_a123));
        }
        // The next page is not there.
        let result = long().translate(&mut memory, linear + 0x1000, LinearAccess::Read(USER_MODE));
        let fault = PageFault { error_code: PageFaultErrorCode::U, address: linear + 0x1000 };
        assert_eq!(result, Err(WalkFault::PageFault(fault)));
        assert_eq!(error_code(long().translate(&mut memory, 0, LinearAccess::Write(SUPERVISOR))), 2);
        assert_eq!(error_code(long().translate(&mut memory, 0, LinearAccess::Fetch(USER_MODE))), 0x14);
        let no_nx = Paging { efer: Efer::LMA, ..long() };
        assert_eq!(error_code(no_nx.translate(&mut memory, 0, LinearAccess::Fetch(USER_MODE))), 4);
    }
}

#[test]
fn large_pages() {
    let guest = TestGuest::new(KINDS[0]);
    guest.map_linear(0, 0, FULL);
    let mut memory = guest.memory();
    // Entry 1 of the level-3 table and of the level-2 table; PAT is the lowest bit of the address.
    guest.set_u64(0x2008, 0xc000_0000 | 0x1000 | FULL | 0x80);
    guest.set_u64(0x3008, 0x0060_0000 | 0x1000 | FULL | 0x80);
    let access = LinearAccess::Read(SUPERVISOR);
    assert_eq!(long().translate(&mut memory, 0x7fff_ffff, access), Ok(0xffff_ffff));
    assert_eq!(long().translate(&mut memory, 0x003f_ffff, access), Ok(0x007f_ffff));
    // A bit of the address below the page's size is reserved.
    guest.set_u64(0x2008, 0xc020_0000 | FULL | 0x80);
    guest.set_u64(0x3008, 0x0060_2000 | FULL | 0x80);
    assert_eq!(error_code(long().translate(&mut memory, 0x4000_0000, access)), 9);
    assert_eq!(error_code(long().translate(&mut memory, 0x0020_0000, access)), 9);
    // So is the size bit on level 4, and the bits beyond the physical address, and NX without NXE.
    guest.set_u64(0x1008, 0x2000 | FULL | 0x80);
    assert_eq!(error_code(long().translate(&mut memory, 1 << 39, access)), 9);
    guest.set_u64(0x1008, 1 << 46 | 0x2000 | FULL);
    assert_eq!(error_code(long().translate(&mut memory, 1 << 39, LinearAccess::Write(USER_MODE))), 0xf);
    guest.set_u64(0x1008, 1 << 63 | 0x2000 | FULL);
    let no_nx = Paging { efer: Efer::LMA, ..long() };
    assert_eq!(error_code(no_nx.translate(&mut memory, 1 << 39, access)), 9);
    assert_eq!(long().translate(&mut memory, 1 << 39, access), Ok(0));
}

#[test]
fn five_levels() {
    let guest = TestGuest::new(KINDS[1]);
    let linear = 0x0123_4567_89ab_c000;
    guest.map_linear_at(0x1000, 48, linear, 0x7000, FULL);
    let paging = Paging { cr4: Cr4::PAE | Cr4::LA57, ..long() };
    assert_eq!(paging.translate(&mut guest.memory(), linear | 1, LinearAccess::Done), Ok(0x7001));
    assert_eq!(error_code(paging.translate(&mut guest.memory(), 0, LinearAccess::Done)), 0x10);
}

#[test]
fn without_paging_and_with_32_bits() {
    let guest = TestGuest::new(KINDS[3]);
    let mut memory = guest.memory();
    let real = Paging::default();
    assert_eq!(real.translate(&mut memory, 0x1_2345_6789, LinearAccess::Write(SUPERVISOR)), Ok(0x2345_6789));

    let flat = Paging { cr0: Cr0::PE | Cr0::PG | Cr0::WP, cr3: 0x1018, ..Paging::default() };
    let linear = 0xc040_3123;
    guest.set(0x1000 + (linear >> 22) * 4, &(0x2000_u32 | 0x27).to_le_bytes());
    guest.set(0x2000 + (linear >> 12 & 0x3ff) * 4, &(0x5000_u32 | 0x65).to_le_bytes());
    assert_eq!(flat.translate(&mut memory, linear, LinearAccess::Read(USER_MODE)), Ok(0x5123));
    assert_eq!(error_code(flat.translate(&mut memory, linear, LinearAccess::Write(USER_MODE))), 7);
    let no_wp = Paging { cr0: Cr0::PE | Cr0::PG, ..flat };
    assert_eq!(no_wp.translate(&mut memory, linear, LinearAccess::Write(SUPERVISOR)), Ok(0x5123));
    assert_eq!(error_code(no_wp.translate(&mut memory, linear, LinearAccess::Write(USER_MODE))), 7);

    // 4 MiB: only with PSE, else the bit is ignored; bits 20:13 are bits 39:32 of the address.
    guest.set(0x1000, &(0x0140_6000_u32 | 0xe7).to_le_bytes());
    let pse = Paging { cr4: Cr4::PSE, physical_bits: 40, ..flat };
    assert_eq!(pse.translate(&mut memory, 0x003f_ffff, LinearAccess::Read(USER_MODE)), Ok(0x3_017f_ffff));
    let narrow = Paging { physical_bits: 32, ..pse };
    assert_eq!(error_code(narrow.translate(&mut memory, 0, LinearAccess::Read(USER_MODE))), 0xd);
    guest.set(0x1000, &(0x0160_0000_u32 | 0xe7).to_le_bytes());
    assert_eq!(error_code(pse.translate(&mut memory, 0, LinearAccess::Read(SUPERVISOR))), 9);
    guest.set(0x1000, &(0x0000_2000_u32 | 0xa7).to_le_bytes());
    assert_eq!(flat.translate(&mut memory, 0x0000_3000, LinearAccess::Read(USER_MODE)), Ok(0x5000));
}

#[test]
fn pae() {
    let guest = TestGuest::new(KINDS[0]);
    guest.map_linear_at(0x8000, 21, 0x0012_3000, 0x6000, FULL);
    guest.set_u64(0x1020 + 16, 0x8001);
    let paging = Paging { cr3: 0x1020, efer: Efer::NXE, ..long() };
    let mut memory = guest.memory();
    let linear = 0x8012_3456;
    let access = LinearAccess::Write(USER_MODE);
    assert_eq!(paging.translate(&mut memory, linear, access), Ok(0x6456));
    assert_eq!(error_code(paging.translate(&mut memory, 0, access)), 6);
    // What the CPU holds counts, not what is in memory.
    let held = Paging { pdptes: Some([0x8001, 0, 0, 0]), ..paging };
    assert_eq!(held.translate(&mut memory, 0x0012_3456, access), Ok(0x6456));
    assert_eq!(error_code(held.translate(&mut memory, linear, access)), 6);
    // Bits that long mode ignores are reserved.
    guest.set_u64(0x8000, guest.get_u64(0x8000) | 1 << 52);
    assert_eq!(error_code(paging.translate(&mut memory, linear, access)), 0xf);
    // A PDPTE has no rights, and no accessed bit.
    assert_eq!(guest.get_u64(0x1030), 0x8001);
}

#[test]
fn tables_outside_of_memory() {
    for kind in KINDS {
        let guest = TestGuest::new(kind);
        let paging = Paging { cr3: RAM, ..long() };
        let result = paging.translate(&mut guest.memory(), 8 << 39, LinearAccess::Done);
        let Err(WalkFault::Memory(fault)) = result else { panic!("{result:?}") };
        assert_eq!((fault.gpa, fault.reason), (RAM + 64, MemoryFaultReason::NotMapped));
        guest.set_u64(0x1000, 0x000f_ffff_ffff_f000 | FULL);
        let open = Paging { physical_bits: 0, ..long() };
        assert!(matches!(open.translate(&mut guest.memory(), 0, LinearAccess::Done), Err(WalkFault::Memory(_))));
    }
}

#[test]
fn accessed_and_dirty_bits() {
    for kind in KINDS {
        let mut guest = TestGuest::new(kind);
        let bits = FULL & !0x60;
        guest.map_linear(0, 0x7000, bits);
        let entries = [0x1000, 0x2000, 0x3000, 0x4000];
        let marks = |guest: &TestGuest| entries.map(|entry| guest.get_u64(entry) & 0x60);
        let mut memory = guest.memory();
        assert_eq!(long().translate(&mut memory, 0, LinearAccess::Done), Ok(0x7000));
        assert_eq!(marks(&guest), [0; 4], "the CPU has set them, or they are none of ours");
        assert_eq!(long().translate(&mut memory, 0, LinearAccess::Read(SUPERVISOR)), Ok(0x7000));
        assert_eq!(marks(&guest), [0x20; 4]);
        assert_eq!(long().translate(&mut memory, 0, LinearAccess::Write(SUPERVISOR)), Ok(0x7000));
        assert_eq!(marks(&guest), [0x20, 0x20, 0x20, 0x60]);
        // A fault leaves none, and tables that cannot be written are reported.
        guest.map_linear(0x1000, 0x8000, bits & !2);
        assert_eq!(error_code(long().translate(&mut guest.memory(), 0x1000, LinearAccess::Write(SUPERVISOR))), 3);
        assert_eq!(guest.get_u64(0x4008) & 0x60, 0);
        guest.table.protect(0x4000, 0x1000, crate::nested::Permissions::READ).unwrap();
        let result = long().translate(&mut guest.memory(), 0x1000, LinearAccess::Read(SUPERVISOR));
        assert!(matches!(result, Err(WalkFault::Memory(fault)) if fault.gpa == 0x4008 && fault.access.write));
    }
}

/// Random rights on every level against the rules as the manual lists them.
#[test]
fn rights() {
    let guest = TestGuest::new((crate::nested::NestedFormat::Ept, PageSize::Size2M));
    let mut random = Random(0x1234_5678_9abc_def1);
    for _ in 0..40_000 {
        let mut writable = true;
        let mut user_page = true;
        let mut executable = true;
        for level in 0..4_u64 {
            let (rw, us, nx) = (random.below(4) != 0, random.below(4) != 0, random.below(6) == 0);
            writable &= rw;
            user_page &= us;
            executable &= !nx;
            let entry =
                (0x2000 + level * 0x1000) | 0x61 | u64::from(rw) << 1 | u64::from(us) << 2 | u64::from(nx) << 63;
            guest.set_u64(0x1000 + level * 0x1000, entry);
        }
        let (wp, smep, smap) = (random.flip(), random.flip(), random.flip());
        let mut paging = long();
        paging.cr0.set(Cr0::WP, wp);
        paging.cr4.set(Cr4::SMEP, smep);
        paging.cr4.set(Cr4::SMAP, smap);
        let privilege = Privilege { user: random.flip(), alignment_check: random.flip() };
        let (access, allowed, code) = match (random.below(3), privilege.user) {
            (0, true) => (LinearAccess::Read(privilege), user_page, 5),
            (0, false) => (LinearAccess::Read(privilege), !(user_page && smap && !privilege.alignment_check), 1),
            (1, true) => (LinearAccess::Write(privilege), user_page && writable, 7),
            (1, false) if user_page => {
                let data = !smap || privilege.alignment_check;
                (LinearAccess::Write(privilege), data && (writable || !wp), 3)
            }
            (1, false) => (LinearAccess::Write(privilege), writable || !wp, 3),
            (_, true) => (LinearAccess::Fetch(privilege), user_page && executable, 0x15),
            (_, false) => (LinearAccess::Fetch(privilege), executable && !(user_page && smep), 0x11),
        };
        let result = paging.translate(&mut guest.memory(), 0x123, access);
        if allowed {
            assert_eq!(result, Ok(0x5123));
        } else {
            assert_eq!(error_code(result), code);
        }
    }
}

/// Random keys against the table of the manual: the rights of a key count for data in user pages, whoever accesses it, and its
/// write right for supervisors with CR0.WP alone.
#[test]
fn protection_keys() {
    let guest = TestGuest::new((crate::nested::NestedFormat::Ept, PageSize::Size2M));
    let mut random = Random(0x0f1e_2d3c_4b5a_6978);
    for number in 0..3 {
        guest.set_u64(0x1000 + number * 0x1000, (0x2000 + number * 0x1000) | 0x67);
    }
    let mut forbidden = 0;
    for _ in 0..40_000 {
        let (user_page, writable, key) = (random.below(4) != 0, random.below(4) != 0, random.below(16));
        guest.set_u64(0x4000, 0x5061 | u64::from(user_page) << 2 | u64::from(writable) << 1 | key << 59);
        let pkru = random.next() as u32;
        let (no_access, no_write) = (pkru >> (2 * key) & 1 == 1, pkru >> (2 * key + 1) & 1 == 1);
        let (wp, pke) = (random.flip(), random.below(4) != 0);
        let mut paging = Paging { pkru: Pkru::Value(pkru), ..long() };
        paging.cr0.set(Cr0::WP, wp);
        paging.cr4.set(Cr4::PKE, pke);
        let privilege = Privilege { user: random.flip(), alignment_check: false };
        let (access, by_rights, by_key, code) = match (random.below(3), privilege.user) {
            (0, true) => (LinearAccess::Read(privilege), user_page, !no_access, 5),
            (0, false) => (LinearAccess::Read(privilege), true, !no_access, 1),
            (1, true) => (LinearAccess::Write(privilege), user_page && writable, !no_access && !no_write, 7),
            (1, false) => (LinearAccess::Write(privilege), writable || !wp, !(no_access || no_write && wp), 3),
            (_, true) => (LinearAccess::Fetch(privilege), user_page, true, 0x15),
            (_, false) => (LinearAccess::Fetch(privilege), true, true, 0x11),
        };
        let by_key = by_key || !pke || !user_page;
        let result = paging.translate(&mut guest.memory(), 0x123, access);
        if by_rights && by_key {
            assert_eq!(result, Ok(0x5123));
        } else {
            assert_eq!(error_code(result), if by_key { code } else { code | 0x20 });
            forbidden += u32::from(by_rights);
        }
        assert_eq!(paging.translate(&mut guest.memory(), 0x123, LinearAccess::Done), Ok(0x5123));
    }
    assert!(forbidden > 1000, "{forbidden} accesses that the key alone forbids");
    // No other paging has keys.
    guest.set(0x1000, &(0x2000_u32 | 0x67).to_le_bytes());
    guest.set(0x2000, &(0x5000_u32 | 0x67).to_le_bytes());
    let flat =
        Paging { cr0: Cr0::PE | Cr0::PG, cr3: 0x1000, cr4: Cr4::PKE, pkru: Pkru::Value(!0), ..Paging::default() };
    assert_eq!(flat.translate(&mut guest.memory(), 0x123, LinearAccess::Write(USER_MODE)), Ok(0x5123));
}

/// Tables that point anywhere, in every mode: an answer, whatever it is.
#[test]
fn garbage_does_no_harm() {
    let guest = TestGuest::new(KINDS[2]);
    let mut random = Random(0xfeed_beef_0123_4567);
    for page in 0..16 {
        for word in 0..512 {
            let entry = match random.below(3) {
                0 => random.next(),
                1 => random.below(16) << 12 | random.next() & 0xfff,
                _ => random.below(16) << 12 | 0x67,
            };
            guest.set_u64(page << 12 | word << 3, entry);
        }
    }
    for _ in 0..200_000 {
        let paging = Paging {
            cr0: Cr0::from_bits(random.next()),
            cr3: if random.flip() { random.next() } else { random.below(16) << 12 },
            cr4: Cr4::from_bits(random.next()),
            efer: Efer::from_bits(random.next()),
            pdptes: random.flip().then(|| [random.next() & 0xffff, 0x1001, random.next(), 0]),
            physical_bits: random.next() as u8,
            pkru: Pkru::Value(random.next() as u32),
        };
        let privilege = Privilege { user: random.flip(), alignment_check: random.flip() };
        let access = match random.below(4) {
            0 => LinearAccess::Done,
            1 => LinearAccess::Read(privilege),
            2 => LinearAccess::Write(privilege),
            _ => LinearAccess::Fetch(privilege),
        };
        let linear = random.next();
        let _ = paging.translate(&mut guest.memory(), linear, access);
    }
}
