extern crate std;

use std::{collections::BTreeMap, vec::Vec};

use super::{mock::MockFrames, *};
use crate::random::Random;

type Table = NestedTable<MockFrames>;

const FORMATS: [NestedFormat; 2] = [NestedFormat::Ept, NestedFormat::Npt];
const MIB2: u64 = 2 << 20;
const GIB: u64 = 1 << 30;

/// A CPU that has everything.
fn everything(format: NestedFormat) -> NestedCapabilities {
    NestedCapabilities {
        largest_page: PageSize::Size1G,
        execute_only: format == NestedFormat::Ept,
        accessed_dirty: true,
        page_modification_log: format == NestedFormat::Ept,
        ..format.into()
    }
}

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
        let mut table = Table::new(everything(format)).unwrap();
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

#[test]
fn what_a_cpu_lacks_is_refused() {
    let mut ept = Table::new(NestedFormat::Ept).unwrap();
    assert!(matches!(ept.set_largest_page(PageSize::Size1G), Err(Error::Unsupported(_))));
    ept.set_largest_page(PageSize::Size4K).unwrap();
    let map = |table: &mut Table, permissions, caching: Caching| table.map(0, host(0), 0x1000, permissions, caching);
    let write_back: Caching = MemoryType::WriteBack.into();
    assert!(matches!(map(&mut ept, Permissions::EXECUTE, write_back), Err(Error::Unsupported(_))));
    for (write, execute) in [(false, false), (true, false), (true, true)] {
        let permissions = Permissions { read: false, write, execute };
        assert!(matches!(map(&mut ept, permissions, write_back), Err(Error::InvalidInput(_))));
    }
    assert_eq!(ept.translate(0), None);
    assert!(matches!(ept.clear_dirty(0, 0x1000), Err(Error::Unsupported(_))));
    let mut npt = Table::new(NestedCapabilities { execute_disable: false, ..NestedFormat::Npt.into() }).unwrap();
    assert!(matches!(map(&mut npt, Permissions::READ, write_back), Err(Error::Unsupported(_))));
    assert!(matches!(map(&mut npt, Permissions::EXECUTE, write_back), Err(Error::Unsupported(_))));
    // At reset the PAT has WB, WT, UC- and UC.
    for missing in [MemoryType::WriteCombining, MemoryType::WriteProtected] {
        assert!(matches!(map(&mut npt, Permissions::ALL, missing.into()), Err(Error::Unsupported(_))));
    }
    let ignoring = Caching::ignoring_pat(MemoryType::WriteBack);
    assert!(matches!(map(&mut npt, Permissions::ALL, ignoring), Err(Error::Unsupported(_))));
    let strange = NestedCapabilities { host_pat: 0, ..NestedFormat::Npt.into() };
    assert!(matches!(Table::new(strange), Err(Error::Unsupported(_))));
    assert_eq!(MockFrames::live(), 2);
}

/// The PAT that Linux uses: WB, WC, UC-, UC, WB, WP, UC-, WT.
const PAT_OF_LINUX: u64 = 0x0407_0506_0007_0106;

#[test]
fn memory_types_are_read_back_in_every_size() {
    let types = [
        MemoryType::WriteBack,
        MemoryType::WriteThrough,
        MemoryType::WriteCombining,
        MemoryType::WriteProtected,
        MemoryType::Uncacheable,
    ];
    let mut ept = Table::new(everything(NestedFormat::Ept)).unwrap();
    for (at, memory_type) in (1..).map(|at| at * GIB).zip(types) {
        for ignore_pat in [false, true] {
            let caching = Caching { memory_type, ignore_pat };
            for (offset, size) in [(0, GIB), (0x10_0000_0000, MIB2), (0x20_0000_0000, 0x1000)] {
                ept.map(at + offset, host(at), size, Permissions::ALL, caching).unwrap();
                let found = ept.translate(at + offset + size - 1).unwrap();
                assert_eq!((found.memory_type, found.ignore_pat, found.size.bytes()), (memory_type, ignore_pat, size));
                ept.unmap(at + offset, size).unwrap();
            }
        }
    }
    let npt = NestedCapabilities { host_pat: PAT_OF_LINUX, ..everything(NestedFormat::Npt) };
    let mut npt = Table::new(npt).unwrap();
    for (at, memory_type) in (1..).map(|at| at * GIB).zip(types) {
        let result = npt.map(at, host(at), GIB, Permissions::ALL, memory_type);
        if memory_type == MemoryType::WriteThrough {
            // Its entry of that PAT is one that marks devices.
            assert!(matches!(result, Err(Error::Unsupported(_))));
            continue;
        }
        result.unwrap();
        // Splitting moves the PAT bit, and merging moves it back.
        for protected in [at, at + MIB2 + 0x5000] {
            npt.protect(protected, 0x1000, Permissions::READ).unwrap();
            for gpa in [at, at + 0x1000, at + MIB2, at + 2 * MIB2, at + GIB - 1] {
                let found = npt.translate(gpa).unwrap();
                assert_eq!((found.memory_type, found.hpa), (memory_type, gpa));
            }
        }
        npt.protect(at, GIB, Permissions::ALL).unwrap();
        assert_eq!(npt.merge(at, GIB).unwrap(), 3);
        let found = npt.translate(at + 5).unwrap();
        assert_eq!((found.memory_type, found.hpa, found.size), (memory_type, at + 5, PageSize::Size1G));
    }
    // WP has the PAT bit: bit 7 in small pages, bit 12 in larger ones.
    npt.map(0, host(0x1000), 0x1000, Permissions::ALL, MemoryType::WriteProtected).unwrap();
    assert_eq!(entry(&npt, 0), 0x1000 | 7 | 1 << 7 | 1 << 3);
    npt.map(MIB2, host(MIB2), MIB2, Permissions::ALL, MemoryType::WriteProtected).unwrap();
    assert_eq!(entry(&npt, MIB2), MIB2 | 7 | 1 << 7 | 1 << 3 | 1 << 12);
}

#[test]
fn flags_are_read_and_cleared() {
    for format in FORMATS {
        let mut table = Table::new(everything(format)).unwrap();
        table.map(0, host(0), 2 * MIB2 + 0x2000, Permissions::ALL, MemoryType::WriteBack).unwrap();
        let flags = format.entries().accessed | format.entries().dirty;
        // As the CPU would.
        for gpa in [MIB2, 2 * MIB2 + 0x1000] {
            table.slot(gpa, BOTTOM_SHIFT).update(|value| Some(value | flags));
        }
        let used: Vec<u64> =
            table.leaves(0, 4 * MIB2).unwrap().filter(|(_, leaf)| leaf.dirty).map(|(at, _)| at).collect();
        assert_eq!(used, [MIB2, 2 * MIB2 + 0x1000]);
        assert_eq!(table.leaves(0, 4 * MIB2).unwrap().count(), 4);
        assert!(!table.is_stale());
        table.clear_dirty(MIB2 + 0x5000, 0x1000).unwrap();
        assert!(table.is_stale());
        let found = table.translate(MIB2).unwrap();
        assert!(found.accessed && !found.dirty);
        table.clear_accessed(0, 4 * MIB2).unwrap();
        let found = table.translate(2 * MIB2 + 0x1000).unwrap();
        assert!(!found.accessed && found.dirty);
        // Small pages are as dirty as the large one was.
        table.slot(MIB2, BOTTOM_SHIFT).update(|value| Some(value | flags));
        table.unmap(MIB2, 0x1000).unwrap();
        assert!(table.translate(MIB2 + 0x1000).unwrap().dirty);
    }
}

#[test]
fn tables_that_merging_takes_out_live_until_everybody_has_forgotten() {
    for format in FORMATS {
        let mut table = Table::new(everything(format)).unwrap();
        table.set_largest_page(PageSize::Size4K).unwrap();
        table.map(0, host(0), 4 * MIB2, Permissions::ALL, MemoryType::WriteBack).unwrap();
        table.map(GIB, host(GIB), 0x1000, Permissions::ALL, MemoryType::WriteBack).unwrap();
        table.unmap(GIB, 0x1000).unwrap();
        table.unmap(2 * MIB2, 0x1000).unwrap();
        let before = MockFrames::live();
        table.set_largest_page(PageSize::Size1G).unwrap();
        MockFrames::limit(0);
        assert_eq!(table.merge(0, 2 * GIB), Err(Error::NoMemory));
        MockFrames::limit(usize::MAX);
        // Three of 2 MiB; the one with a hole stays. Above 1 GiB the lowest table is empty, and then the one above it.
        assert_eq!(table.merge(0, 2 * GIB), Ok(5));
        assert_eq!(MockFrames::live(), before + 1);
        for (gpa, size) in [(0, PageSize::Size2M), (2 * MIB2 + 0x1000, PageSize::Size4K), (3 * MIB2, PageSize::Size2M)]
        {
            let found = table.translate(gpa).unwrap();
            assert_eq!((found.size, found.hpa, found.permissions), (size, gpa, Permissions::ALL));
            assert!(size == PageSize::Size4K || found.dirty);
        }
        assert!(table.is_stale());
        // SAFETY: no CPU uses the table.
        unsafe { table.forgotten() };
        assert!(!table.is_stale());
        assert_eq!(MockFrames::live(), before - 5);
        // Enough for the list to take more than one frame, and dropped while they are in it.
        table.set_largest_page(PageSize::Size4K).unwrap();
        table.map(2 * GIB, host(2 * GIB), 3 * GIB, Permissions::ALL, MemoryType::WriteBack).unwrap();
        table.set_largest_page(PageSize::Size1G).unwrap();
        assert_eq!(table.merge(2 * GIB, 3 * GIB), Ok(3 * 513));
        assert_eq!(table.translate(5 * GIB - 1).unwrap().size, PageSize::Size1G);
    }
    assert_eq!(MockFrames::live(), 0);
}

#[test]
fn writes_to_logged_pages_are_marked_and_collected() {
    for format in FORMATS {
        for logging in [Logging::WriteProtection, Logging::Dirty] {
            let mut table = Table::new(everything(format)).unwrap();
            table.map(0, host(GIB), 2 * MIB2, Permissions::ALL, MemoryType::WriteBack).unwrap();
            table.protect(0x5000, 0x1000, Permissions::READ).unwrap();
            let log = DirtyLog::with(logging, 0x2000, MIB2).unwrap();
            let root = Some(table.root().as_usize() as u64);
            // SAFETY: the table lives.
            let write = |gpa| unsafe { answer_write(&log, root, format, gpa) };
            assert!(!write(0x3000));
            table.start_dirty_log(&log).unwrap();
            assert!(matches!(table.start_dirty_log(&log), Err(Error::BadState(_))));
            assert!(table.is_stale());
            // The guest's permissions are what they were.
            assert_eq!(table.translate(0x3000).unwrap().permissions, Permissions::ALL);
            assert_eq!(table.translate(0x5000).unwrap().permissions, Permissions::READ);
            let writable = |table: &Table, gpa| {
                let entries = format.entries();
                (entry(table, gpa) ^ entries.inverted) & entries.write == entries.write
            };
            let by_protection = logging == Logging::WriteProtection;
            assert_eq!(writable(&table, 0x3000), !by_protection);
            assert!(writable(&table, 0x1000) && !writable(&table, 0x5000));
            // Inside, outside, not writable, not mapped.
            assert!(write(0x3008) && write(MIB2 + 0x1fff));
            assert!(!write(0x1000) && !write(MIB2 + 0x2000) && !write(0x5000) && !write(8 * GIB) && !write(!0));
            assert!(writable(&table, 0x3000));
            table.slot(0x3000, BOTTOM_SHIFT).update(|value| Some(value | format.entries().dirty));
            let collect = |table: &mut Table| {
                let mut pages = Vec::new();
                table.collect_dirty(|page| pages.push(page)).unwrap();
                pages
            };
            log.mark(0, 0x2800);
            assert_eq!(collect(&mut table), [0x2000, 0x3000, MIB2 + 0x1000]);
            assert_eq!(writable(&table, 0x3000), !by_protection);
            assert!(by_protection || !table.translate(0x3000).unwrap().dirty);
            assert!(collect(&mut table).is_empty());
            // What is mapped, moved or opened meanwhile is logged too.
            table.unmap(0x9000, 0x2000).unwrap();
            table.map(0x9000, host(0x9000), 0x1000, Permissions::ALL, MemoryType::WriteBack).unwrap();
            table.remap(0x3000, host(0x7000), 0x1000).unwrap();
            table.protect(0x5000, 0x1000, Permissions::ALL).unwrap();
            assert_eq!(collect(&mut table), [0x3000, 0x9000]);
            for gpa in [0x3000, 0x5000, 0x9000] {
                assert_eq!(writable(&table, gpa), !by_protection);
                assert!(write(gpa));
            }
            assert_eq!(table.merge(0, MIB2), Ok(0));
            assert_eq!(collect(&mut table), [0x3000, 0x5000, 0x9000]);
            table.stop_dirty_log();
            assert!(matches!(table.collect_dirty(|_| ()), Err(Error::BadState(_))));
            assert!(writable(&table, 0x3000) && writable(&table, 0x9000) && !write(0x9000));
            let before = entry(&table, 0x3000);
            assert_eq!(before & format.entries().logged, 0);
        }
    }
    assert_eq!(MockFrames::live(), 0);
}

#[test]
fn a_log_that_cannot_be_had() {
    for bad in [(0, 0), (1, 0x1000), (0, 1 << 40)] {
        assert_eq!(DirtyLog::<MockFrames>::by_write_protection(bad.0, bad.1).err(), Some(BAD_RANGE));
    }
    // Two frames of marks and one beside.
    for frames in 0..3 {
        MockFrames::limit(frames);
        assert_eq!(DirtyLog::<MockFrames>::by_write_protection(0, 256 << 20).err(), Some(Error::NoMemory));
        assert_eq!(MockFrames::live(), 0);
    }
    MockFrames::limit(usize::MAX);
    let log = DirtyLog::<MockFrames>::by_write_protection(0, 256 << 20).unwrap();
    let other = log.clone();
    drop(log);
    other.mark((256 << 20) - 1, u64::MAX);
    let mut table = Table::new(NestedFormat::Ept).unwrap();
    table.map(0, host(0), 256 << 20, Permissions::ALL, MemoryType::WriteBack).unwrap();
    MockFrames::limit(100);
    assert_eq!(table.start_dirty_log(&other), Err(Error::NoMemory));
    assert!(matches!(table.collect_dirty(|_| ()), Err(Error::BadState(_))));
    MockFrames::limit(usize::MAX);
    table.start_dirty_log(&other).unwrap();
    let mut pages = Vec::new();
    table.collect_dirty(|page| pages.push(page)).unwrap();
    assert_eq!(pages, [(256 << 20) - 0x1000]);
    drop((table, other));
    assert_eq!(MockFrames::live(), 0);
}

#[test]
fn what_the_cpu_does_not_accept_is_found() {
    let look = |table: &Table, gpa: u64| {
        let capabilities = NestedCapabilities { execute_only: false, physical_bits: 48, ..everything(table.format()) };
        // SAFETY: the table lives.
        let found = unsafe { inspect::inspect::<MockFrames>(Some(table.root().as_usize() as u64), gpa, &capabilities) };
        (found.level, found.problem)
    };
    for format in FORMATS {
        let mut table = Table::new(everything(format)).unwrap();
        table.map(0, host(0), MIB2 + 0x1000, Permissions::ALL, MemoryType::WriteBack).unwrap();
        assert_eq!(look(&table, 0), (0, Problem::Unknown));
        assert_eq!(look(&table, 5 * GIB), (0, Problem::Unknown));
        let spoil = |gpa, change: fn(u64) -> u64| {
            let slot = table.slot(gpa, BOTTOM_SHIFT);
            let before = slot.leaf().unwrap();
            slot.replace(change(before));
            let found = look(&table, gpa);
            slot.replace(before);
            found
        };
        assert_eq!(spoil(MIB2, |entry| entry | 1 << 50), (1, Problem::Address));
        assert_eq!(spoil(0, |entry| entry | 1 << 13), (2, Problem::Address));
        if format == NestedFormat::Ept {
            assert_eq!(spoil(MIB2, |entry| entry & !1), (1, Problem::WriteWithoutRead));
            assert_eq!(spoil(MIB2, |entry| entry & !3), (1, Problem::ExecuteOnly));
            assert_eq!(spoil(0, |entry| entry | 3 << 3), (2, Problem::MemoryType));
        } else {
            assert_eq!(spoil(0, |entry| entry | 1 << 12), (0, Problem::Unknown));
        }
        let root = table.root();
        assert_eq!(look(&table, u64::MAX), (0, Problem::Unknown));
        let top = Slot::of_table::<MockFrames>(format, root, 0, TOP_SHIFT);
        let before = top.table().unwrap().as_usize() as u64 | 7;
        top.replace(before | format.entries().large);
        assert_eq!(look(&table, 0), (4, Problem::ReservedBits));
        top.replace(before);
    }
}

/// Random calls against a map from page to page.
#[test]
fn agrees_with_a_model() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut next = |below: u64| random.below(below);
    let rights = [Permissions::READ, Permissions::READ_WRITE, Permissions::READ_EXECUTE, Permissions::ALL];
    let types = [MemoryType::WriteBack, MemoryType::WriteThrough, MemoryType::Uncacheable];
    for round in 0..60 {
        let format = FORMATS[round % 2];
        let mut table = Table::new(everything(format)).unwrap();
        table.set_largest_page([PageSize::Size4K, PageSize::Size2M, PageSize::Size1G][round % 3]).unwrap();
        let mut model: BTreeMap<u64, (u64, Permissions, MemoryType)> = BTreeMap::new();
        for step in 0..60 {
            // Around a border of 1 GiB, within six pieces of 2 MiB.
            let base = GIB - 3 * MIB2;
            let (first, pages) =
                if next(2) == 0 { (next(6) * 512, 512 * (1 + next(3))) } else { (next(3072), 1 + next(1500)) };
            let pages = pages.min(3072 - first);
            let (gpa, size) = (base + first * 4096, pages * 4096);
            let range: Vec<u64> = (0..pages).map(|page| gpa + page * 4096).collect();
            let permissions = rights[next(4) as usize];
            match next(7) {
                0 | 1 => {
                    let hpa = (1 + next(3)) * GIB + if next(2) == 0 { gpa } else { next(1 << 18) * 4096 };
                    let free = range.iter().all(|page| !model.contains_key(page));
                    let memory_type = types[next(3) as usize];
                    let result = table.map(gpa, host(hpa), size, permissions, memory_type);
                    assert_eq!(result, if free { Ok(()) } else { Err(OVERLAP) });
                    if free {
                        model.extend(range.iter().map(|page| (*page, (hpa + (page - gpa), permissions, memory_type))));
                    }
                }
                2 => {
                    table.unmap(gpa, size).unwrap();
                    for page in &range {
                        model.remove(page);
                    }
                }
                3 => {
                    let full = range.iter().all(|page| model.contains_key(page));
                    let hpa = (1 + next(3)) * GIB + if next(2) == 0 { gpa } else { next(1 << 18) * 4096 };
                    assert_eq!(table.remap(gpa, host(hpa), size), if full { Ok(()) } else { Err(HOLE) });
                    if full {
                        range.iter().for_each(|page| model.get_mut(page).unwrap().0 = hpa + (page - gpa));
                    }
                }
                4 => {
                    table.merge(gpa & !(MIB2 - 1), MIB2 * (1 + next(4))).unwrap();
                    if next(2) == 0 {
                        // SAFETY: no CPU uses the table.
                        unsafe { table.forgotten() };
                    }
                }
                5 => match next(3) {
                    0 => table.stop_dirty_log(),
                    _ => {
                        let log = DirtyLog::new(table.capabilities(), gpa, size).unwrap();
                        let _ = table.start_dirty_log(&log);
                    }
                },
                _ => {
                    let full = range.iter().all(|page| model.contains_key(page));
                    let result = table.protect(gpa, size, permissions);
                    assert_eq!(result, if full { Ok(()) } else { Err(HOLE) });
                    if full {
                        range.iter().for_each(|page| model.get_mut(page).unwrap().1 = permissions);
                    }
                }
            }
            // A look at everything takes its time; a mistake stays until the next one.
            for page in (0..3072).filter(|_| step % 6 == 5) {
                let gpa = base + page * 4096;
                let found = table.translate(gpa + 5).map(|found| (found.hpa - 5, found.permissions, found.memory_type));
                assert_eq!(found, model.get(&gpa).copied());
            }
        }
    }
    assert_eq!(MockFrames::live(), 0);
}
