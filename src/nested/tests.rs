extern crate std;

use std::{collections::BTreeMap, vec::Vec};

use super::{mock::MockFrames, *};

type Table = NestedTable<MockFrames>;

const FORMATS: [NestedFormat; 2] = [NestedFormat::Ept, NestedFormat::Npt];
const MIB2: u64 = 2 << 20;
const GIB: u64 = 1 << 30;

fn host(address: u64) -> PhysAddr {
    PhysAddr::from(address as usize)
}

fn entry(table: &Table, gpa: u64) -> u64 {
    table.leaf_entry(gpa)
}

/// The bits as the manuals draw them, written out once more.
#[test]
fn entries_are_what_the_cpu_expects() {
    let mut ept = Table::new(NestedFormat::Ept).unwrap();
    ept.map(0, host(0x1000), 0x1000, Permissions::ALL, MemoryType::WriteBack).unwrap();
    assert_eq!(entry(&ept, 0), 0x1000 | 0b110_111);
    ept.map(0x1000, host(0x8000), 0x1000, Permissions::READ, MemoryType::Uncacheable).unwrap();
    assert_eq!(entry(&ept, 0x1000), 0x8000 | 1);
    ept.map(MIB2, host(MIB2), MIB2, Permissions::READ_WRITE, MemoryType::WriteBack).unwrap();
    assert_eq!(entry(&ept, MIB2), MIB2 | 0b1011_0011);
    let mut npt = Table::new(NestedFormat::Npt).unwrap();
    npt.map(0, host(0x1000), 0x1000, Permissions::ALL, MemoryType::WriteBack).unwrap();
    assert_eq!(entry(&npt, 0), 0x1000 | 7);
    npt.map(0x1000, host(0x8000), 0x1000, Permissions::READ, MemoryType::Uncacheable).unwrap();
    assert_eq!(entry(&npt, 0x1000), 0x8000 | 0b1_1101 | 1 << 63);
    npt.map(MIB2, host(MIB2), MIB2, Permissions::READ_EXECUTE, MemoryType::WriteBack).unwrap();
    assert_eq!(entry(&npt, MIB2), MIB2 | 5 | 1 << 7);
}

#[test]
fn the_largest_pages_that_fit_are_used() {
    for format in FORMATS {
        let mut table = Table::new(format).unwrap();
        table.set_largest_page(PageSize::Size1G);
        table
            .map(
                GIB - MIB2 - 0x1000,
                host(3 * GIB - MIB2 - 0x1000),
                GIB + MIB2 + 0x3000,
                Permissions::ALL,
                MemoryType::WriteBack,
            )
            .unwrap();
        for (gpa, size) in [
            (GIB - MIB2 - 0x1000, PageSize::Size4K),
            (GIB - MIB2, PageSize::Size2M),
            (GIB, PageSize::Size1G),
            (2 * GIB - 1, PageSize::Size1G),
            (2 * GIB, PageSize::Size4K),
        ] {
            let found = table.translate(gpa).unwrap();
            assert_eq!((found.size, found.hpa), (size, gpa + 2 * GIB));
        }
        assert_eq!(table.translate(GIB - MIB2 - 0x1001), None);
        assert_eq!(table.translate(2 * GIB + 0x2000), None);
        assert_eq!(table.translate(1 << 48), None);
        // Misaligned to each other: only small pages fit.
        table.map(4 * GIB, host(0x5000), MIB2, Permissions::ALL, MemoryType::WriteBack).unwrap();
        assert_eq!(table.translate(4 * GIB).unwrap().size, PageSize::Size4K);
    }
    assert_eq!(MockFrames::live(), 0);
}

#[test]
fn bad_ranges_are_refused() {
    let mut table = Table::new(NestedFormat::Ept).unwrap();
    for (gpa, hpa, size) in [
        (1, 0, 0x1000),
        (0, 1, 0x1000),
        (0, 0, 1),
        (1 << 48, 0, 0x1000),
        ((1 << 48) - 0x1000, 0, 0x2000),
        (!0xfff, 0, 0x1000),
        (0, 1 << 52, 0x1000),
        (0, !0xfff, 0x1000),
    ] {
        let result = table.map(gpa, host(hpa), size, Permissions::ALL, MemoryType::WriteBack);
        assert_eq!(result, Err(BAD_RANGE), "{gpa:#x} {hpa:#x} {size:#x}");
    }
    table.map((1 << 48) - 0x1000, host((1 << 52) - 0x1000), 0x1000, Permissions::ALL, MemoryType::WriteBack).unwrap();
    assert_eq!(table.translate((1 << 48) - 1).unwrap().hpa, (1 << 52) - 1);
    assert_eq!(table.unmap((1 << 48) - 0x1000, 0x1000), Ok(()));
    assert_eq!(table.protect((1 << 48) - 0x1000, 0x1000, Permissions::READ), Err(HOLE));
}

#[test]
fn what_a_failed_call_leaves_behind() {
    for format in FORMATS {
        // Three tables below the root are needed for the first page, and a fourth for the second.
        for frames in 0..4 {
            let mut table = Table::new(format).unwrap();
            MockFrames::limit(frames);
            let result = table.map(MIB2 - 0x1000, host(0), 0x2000, Permissions::ALL, MemoryType::WriteBack);
            assert_eq!(result, Err(Error::NoMemory));
            assert_eq!(table.translate(MIB2 - 0x1000), None);
            assert_eq!(table.translate(MIB2), None);
            // What was kept serves the next call.
            MockFrames::limit(4 - frames);
            table.map(MIB2 - 0x1000, host(0), 0x2000, Permissions::ALL, MemoryType::WriteBack).unwrap();
            assert_eq!(MockFrames::live(), 5);
            MockFrames::limit(usize::MAX);
        }
        let mut table = Table::new(format).unwrap();
        table.map(0, host(0), MIB2, Permissions::ALL, MemoryType::WriteBack).unwrap();
        MockFrames::limit(0);
        assert_eq!(table.unmap(0x1000, 0x1000), Err(Error::NoMemory));
        assert_eq!(table.protect(0x1000, 0x1000, Permissions::READ), Err(Error::NoMemory));
        assert_eq!(table.translate(0x1000).unwrap().size, PageSize::Size2M);
        MockFrames::limit(usize::MAX);
        drop(table);
        assert_eq!(MockFrames::live(), 0);
        MockFrames::limit(0);
        assert_eq!(Table::new(format).err(), Some(Error::NoMemory));
        MockFrames::limit(usize::MAX);
    }
}

/// Random calls against a map from page to page.
#[test]
fn agrees_with_a_model() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let rights = [Permissions::READ, Permissions::READ_WRITE, Permissions::READ_EXECUTE, Permissions::ALL];
    for round in 0..60 {
        let format = FORMATS[round % 2];
        let mut table = Table::new(format).unwrap();
        table.set_largest_page([PageSize::Size4K, PageSize::Size2M, PageSize::Size1G][round % 3]);
        let mut model: BTreeMap<u64, (u64, Permissions)> = BTreeMap::new();
        for _ in 0..60 {
            // Around a border of 1 GiB, within six pieces of 2 MiB.
            let base = GIB - 3 * MIB2;
            let (first, pages) =
                if next(2) == 0 { (next(6) * 512, 512 * (1 + next(3))) } else { (next(3072), 1 + next(1500)) };
            let pages = pages.min(3072 - first);
            let (gpa, size) = (base + first * 4096, pages * 4096);
            let range: Vec<u64> = (0..pages).map(|page| gpa + page * 4096).collect();
            let permissions = rights[next(4) as usize];
            match next(4) {
                0 | 1 => {
                    let hpa = (1 + next(3)) * GIB + if next(2) == 0 { gpa } else { next(1 << 18) * 4096 };
                    let free = range.iter().all(|page| !model.contains_key(page));
                    let result = table.map(gpa, host(hpa), size, permissions, MemoryType::WriteBack);
                    assert_eq!(result, if free { Ok(()) } else { Err(OVERLAP) });
                    if free {
                        model.extend(range.iter().map(|page| (*page, (hpa + (page - gpa), permissions))));
                    }
                }
                2 => {
                    table.unmap(gpa, size).unwrap();
                    for page in &range {
                        model.remove(page);
                    }
                }
                _ => {
                    let full = range.iter().all(|page| model.contains_key(page));
                    let result = table.protect(gpa, size, permissions);
                    assert_eq!(result, if full { Ok(()) } else { Err(HOLE) });
                    if full {
                        range.iter().for_each(|page| model.get_mut(page).unwrap().1 = permissions);
                    }
                }
            }
            for page in 0..3072 {
                let gpa = base + page * 4096;
                let found = table.translate(gpa + 5).map(|found| (found.hpa - 5, found.permissions));
                assert_eq!(found, model.get(&gpa).copied());
            }
        }
    }
    assert_eq!(MockFrames::live(), 0);
}
